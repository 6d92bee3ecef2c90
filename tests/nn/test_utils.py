"""Clipping of gradients beside torch's, parameters as a vector, and containers."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
utils, their_utils = nn.utils, torch.nn.utils


def with_gradients(seed, dtype=np.float64, scale=1.0):
    """Ours and torch's parameters, with the same gradients; the third has none."""
    rng = np.random.default_rng(seed)
    shapes = [(2, 3), (4,), (2,), ()]
    ours = [mg.tensor(np.zeros(s, dtype), requires_grad=True) for s in shapes]
    theirs = [torch.zeros(s, dtype=torch.from_numpy(np.zeros(0, dtype)).dtype, requires_grad=True) for s in shapes]
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if i != 2:
            g = np.asarray(rng.normal(size=a.shape) * scale, dtype)
            a.grad, b.grad = mg.tensor(g), torch.tensor(g)
    return ours, theirs


def compare(ours, theirs, rtol=1e-13):
    for a, b in zip(ours, theirs, strict=True):
        assert (a.grad is None) is (b.grad is None)
        if a.grad is not None:
            np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=rtol)
            assert a.grad.dtype == b.grad.numpy().dtype


@settings(max_examples=30)
@given(
    seed=st.integers(0, 99), max_norm=st.floats(0, 10), norm_type=st.sampled_from([2.0, 1, math.inf, 3.5]),
    dtype=st.sampled_from([np.float32, np.float64]), scale=st.sampled_from([0.0, 1.0, 1e3]),
)  # fmt: skip
def test_clip_grad_norm_is_torchs(seed, max_norm, norm_type, dtype, scale):
    ours, theirs = with_gradients(seed, dtype, scale)
    rtol = 1e-13 if dtype == np.float64 else 1e-6
    norm = utils.clip_grad_norm_(iter(ours), max_norm, norm_type)
    assert norm.dtype == dtype
    np.testing.assert_allclose(norm.item(), their_utils.clip_grad_norm_(theirs, max_norm, norm_type).item(), rtol=rtol)
    compare(ours, theirs, rtol)


@settings(max_examples=20)
@given(seed=st.integers(0, 99), value=st.floats(0, 3))
def test_clip_grad_value_is_torchs(seed, value):
    ours, theirs = with_gradients(seed)
    assert utils.clip_grad_value_(ours, value) is None
    their_utils.clip_grad_value_(theirs, value)
    compare(ours, theirs)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_norm_that_is_not_finite(bad):
    ours, theirs = with_gradients(0)
    ours[0].grad.data[0, 0], theirs[0].grad.data[0, 0] = bad, bad
    before = ours[1].grad.numpy()
    with pytest.raises(RuntimeError, match=f"the norm of the gradients is {bad}.*mg.debug"):
        utils.clip_grad_norm_(ours, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(ours[1].grad.data, before)
    with np.errstate(invalid="ignore"):
        utils.clip_grad_norm_(ours, 1.0)
    their_utils.clip_grad_norm_(theirs, 1.0)
    compare(ours, theirs)


def test_a_norm_beyond_the_squares():
    """Squares of 1e200 overflow; the norm does not."""
    w = mg.tensor([0.0, 0.0], requires_grad=True)
    w.grad = mg.tensor([3e200, 4e200])
    assert utils.clip_grad_norm_(w, 1.0).item() == pytest.approx(5e200)
    np.testing.assert_allclose(w.grad.data, [0.6, 0.8])


def test_between_backward_and_step():
    """Clipping is no second use of a gradient: no warning, and the step is that of the clipped one."""
    w = mg.tensor([3.0, 4.0], requires_grad=True)
    optimizer = mg.optim.SGD([w], lr=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            optimizer.zero_grad()
            (w * w / 2).sum().backward()
            utils.clip_grad_norm_([w], 0.5)
            utils.clip_grad_value_([w], 0.35)
            optimizer.step()
    np.testing.assert_allclose(w.data, [3 - 2 * 0.3, 4 - 2 * 0.35], rtol=1e-2)


def test_a_gradient_with_a_graph_is_not_changed_behind_its_back():
    w = mg.tensor([3.0, 4.0], requires_grad=True)
    (w**3).sum().backward(create_graph=True)
    penalty = (w.grad * w.grad).sum()
    utils.clip_grad_norm_([w], 1.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        penalty.backward()


def test_fit_clips():
    x, y = np.array([[1.0]]), np.array([[100.0]])
    for options, step in (({"clip_norm": 0.5}, 0.5), ({"clip_value": 0.25}, 0.25)):
        model = nn.Linear(1, 1, bias=False)
        before = model.weight.item()
        sgd = mg.optim.SGD(model.parameters(), lr=1.0)
        history = mg.fit(model, nn.MSELoss(), (x, y), sgd, epochs=2, progress=False, **options)
        assert model.weight.item() - before == pytest.approx(2 * step, rel=1e-6)
        assert history.grad_norm[0] > 100, "the norm before clipping"
    with pytest.raises(ValueError, match="fit: clip_norm must be a positive number, not 0"):
        mg.fit(model, nn.MSELoss(), (x, y), sgd, clip_norm=0)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda w: utils.clip_grad_norm_([w], -1.0), "max_norm must be 0 or above, not -1.0"),
        (lambda w: utils.clip_grad_norm_([w], math.nan), "max_norm must be 0 or above, not nan"),
        (lambda w: utils.clip_grad_norm_([w], 1.0, norm_type=0), "norm_type must be a positive number or inf, not 0.0"),
        (lambda w: utils.clip_grad_value_([w], -1), "clip_value must be 0 or above, not -1"),
        (lambda w: utils.vector_to_parameters(np.ones(3), [w]), r"have 2 elements, the vector has shape \(3,\)"),
    ],
)
def test_refused(call, sentence):
    w = mg.tensor([1.0, 2.0], requires_grad=True)
    w.grad = mg.ones(2)
    with pytest.raises(ValueError, match=sentence):
        call(w)


def test_no_gradients_at_all():
    w = mg.tensor([1.0], requires_grad=True)
    assert utils.clip_grad_norm_([w], 1.0).item() == 0
    utils.clip_grad_value_([w], 1.0)


def test_parameters_as_a_vector_and_back():
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)).double()
    ours = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    ours.load_state_dict({path: array.numpy() for path, array in theirs.state_dict().items()})
    vector = utils.parameters_to_vector(ours.parameters())
    np.testing.assert_array_equal(vector._data, their_utils.parameters_to_vector(theirs.parameters()).detach().numpy())
    (vector * vector).sum().backward()
    np.testing.assert_allclose(ours[0].weight.grad.data, 2 * ours[0].weight.data)
    utils.vector_to_parameters(2 * vector.detach(), ours.parameters())
    np.testing.assert_array_equal(ours[1].bias.data, 2 * theirs[1].bias.detach().numpy())


# ---- containers ------------------------------------------------------------------------------------------------------


def test_module_dict():
    heads = nn.ModuleDict({"mean": nn.Linear(2, 1)})
    heads["scale"] = scale = nn.Linear(2, 1)
    heads.update([("more", nn.Tanh())])
    theirs = torch.nn.ModuleDict({"mean": torch.nn.Linear(2, 1), "scale": torch.nn.Linear(2, 1)})
    assert list(heads) == list(heads.keys()) == ["mean", "scale", "more"]
    assert heads.pop("more") is not None
    assert len(heads) == 2
    assert "scale" in heads
    assert "more" not in heads
    assert list(heads.values())[1] is heads["scale"] is scale
    assert dict(heads.items())["scale"] is scale
    assert list(heads.state_dict()) == list(theirs.state_dict())
    del heads["mean"]
    assert list(heads) == ["scale"]
    with pytest.raises(KeyError, match="ModuleDict has no 'mean'; it has scale"):
        heads["mean"]
    for name in ("a.b", "", "keys", 3):
        with pytest.raises(ValueError, match="cannot name a module"):
            heads[name] = nn.Tanh()
    with pytest.raises(TypeError, match=r"an instance is needed: Tanh\(...\)"):
        heads["act"] = nn.Tanh


def test_parameter_list_and_dict():
    shared = nn.Parameter([1.0, 2.0])
    values = nn.ParameterList([shared, np.ones(3)]).append([0.5])
    assert values[0] is shared
    assert len(values) == 3
    assert [p.shape for p in values] == [(2,), (3,), (1,)]
    assert all(p.requires_grad and p.is_leaf for p in values.extend([np.zeros(2)]))
    assert list(values.state_dict()) == ["0", "1", "2", "3"]
    named = nn.ParameterDict({"w": shared})
    named["b"] = np.zeros(2)
    assert named["w"] is shared
    assert list(named.state_dict()) == ["w", "b"]
    model = nn.Sequential(nn.Linear(1, 1))
    model[0].extra = named
    assert [path for path, _ in model.named_parameters()][-2:] == ["0.extra.w", "0.extra.b"]
    with pytest.raises(TypeError, match="integ|floating"):
        named["n"] = [1, 2]
    with pytest.raises(ValueError, match="'forward' cannot name a parameter"):
        named["forward"] = shared


def test_apply_goes_through_all_modules_children_first():
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.Tanh()))
    seen = []
    assert model.apply(seen.append) is model
    assert set(map(id, seen)) == set(map(id, model.modules()))
    assert seen[-1] is model
    assert seen.index(model[1][0]) < seen.index(model[1])
