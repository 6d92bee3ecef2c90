"""A wrong program fails early, with a sentence that says what to do: each of the silent killers, by its message."""

import math
import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad.nn import functional as nf
from minigrad.tensor import _warned, warn_once


@pytest.fixture(autouse=True)
def _nothing_warned_of_yet():
    """Each warning is given once a process: forget those of other tests, and leave none behind."""
    before = set(_warned)
    _warned.clear()
    yield
    _warned.clear()
    _warned.update(before)


def parameter(*values, name="w"):
    return mg.tensor(list(values), requires_grad=True, name=name)


# ---- warnings ------------------------------------------------------------------------------------------------------


def test_a_warning_comes_once():
    with pytest.warns(mg.MinigradWarning, match="one"):
        warn_once("key", "one")
    warn_once("key", "one")
    with pytest.warns(mg.MinigradWarning, match="two"):
        warn_once("another key", "two")
    assert issubclass(mg.MinigradWarning, UserWarning)


def test_a_warning_points_to_the_users_line():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mg.tensor(parameter(1.0) * 2)
    assert caught[0].filename == __file__


# ---- (n, 1) against (n,) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [nf.mse_loss, nf.huber_loss, nf.hinge_loss, nf.binary_cross_entropy_with_logits])
def test_a_column_against_a_row(loss):
    """x (4, 1) - t (4,) is (4, 4), and its mean a number like any other."""
    prediction, target = mg.nn.Linear(3, 1)(np.ones((4, 3))), np.ones(4)
    with pytest.raises(
        ValueError,
        match=(
            r"the prediction has shape \(4, 1\) and the target \(4,\); they would broadcast: "
            r"reshape the target to \(4, 1\)"
        ),
    ):
        loss(prediction, target)


# ---- a gradient carried over ---------------------------------------------------------------------------------------


def test_a_gradient_carried_over_from_the_step_before():
    w = parameter(1.0, 2.0)
    optimizer = mg.optim.SGD([w], lr=0.1)
    (w * w).sum().backward()
    optimizer.step()
    with pytest.warns(
        mg.MinigradWarning,
        match=(
            r"tensor 'w' of shape \(2,\) still holds the gradient that the optimizer used.*call "
            r"optimizer\.zero_grad\(\) before backward"
        ),
    ):
        (w * w).sum().backward()


def test_no_warning_where_gradients_are_cleared_or_meant_to_accumulate():
    w = parameter(1.0, 2.0)
    optimizer = mg.optim.SGD([w], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (w * w).sum().backward()
        (w**3).sum().backward()  # two losses before one step
        optimizer.step()
    w.grad = None
    (w * w).sum().backward()


# ---- a value changed in place, and an intermediate one (all ways to change it: test_engine.py) ---------------------


def test_a_value_changed_in_place():
    w = parameter(1.0, 2.0)
    loss = (w * w).sum()
    w.data -= 0.1
    with pytest.raises(
        RuntimeError,
        match=(
            r"tensor 'w' of shape \(2,\) was changed in place after .* made by multiply had used "
            r"it.*call backward before the change"
        ),
    ):
        loss.backward()


def test_an_optimizer_step_between_forward_and_backward():
    w = parameter(1.0, 2.0)
    optimizer = mg.optim.Adam([w])
    first, second = (w * w).sum(), (w**3).sum()
    first.backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"changed in place.*or before optimizer\.step\(\)"):
        second.backward()


# ---- a parameter rebound -------------------------------------------------------------------------------------------


def test_a_parameter_rebound():
    w = parameter(1.0, 2.0)
    for _ in range(1):
        (w * w).sum().backward()
        w = w - 0.1 * w.grad
    (w * w).sum().backward()
    with pytest.warns(
        mg.MinigradWarning,
        match=(
            r"made by subtract is no leaf.*rebound by `w = w - lr \* w\.grad`, update it in place: "
            r"`w\.data -= lr \* w\.grad\.data`"
        ),
    ):
        assert w.grad is None


def test_a_parameter_rebound_under_no_grad():
    w = parameter(1.0, 2.0)
    (w * w).sum().backward()
    with mg.no_grad():
        w = w - 0.1 * w.grad
    with pytest.raises(RuntimeError, match="was not computed from any tensor with requires_grad=True"):
        (w * w).sum().backward()


def test_no_warning_where_the_gradient_of_a_result_is_retained():
    w = parameter(1.0, 2.0)
    y = w * w
    y.retain_grad()
    assert y.grad is None
    y.sum().backward()
    np.testing.assert_array_equal(y.grad.data, [1.0, 1.0])


# ---- a tensor that left the graph ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "leave",
    [
        lambda t: mg.tensor(t.data),
        lambda t: mg.tensor(t.numpy()),
        lambda t: mg.tensor(t.sum().item()),
        lambda t: t.detach(),
        lambda t: mg.tensor(float(t.sum())),
    ],
    ids=[".data", ".numpy()", ".item()", ".detach()", "float()"],
)
def test_a_tensor_that_left_the_graph(leave):
    w = parameter(1.0, 2.0)
    with pytest.raises(
        RuntimeError,
        match=(
            r"backward: .* was not computed from any tensor with requires_grad=True\. A tensor "
            r"leaves the graph through \.data"
        ),
    ):
        (leave(w * w) * 2.0).sum().backward()


def test_a_tensor_made_of_a_tensor():
    with pytest.warns(
        mg.MinigradWarning,
        match=(
            r"mg\.tensor copies .* made by multiply out of its graph, and no gradient flows "
            r"through the copy; say \.detach\(\)"
        ),
    ):
        mg.tensor(parameter(1.0) * 2)


def test_a_tensor_made_of_tensors():
    w = parameter(1.0, 2.0)
    with pytest.raises(TypeError, match=r"would leave the graph here, and its gradient with it"):
        mg.tensor([w[0], w[1]])


def test_numpy_may_not_take_a_tensor_out():
    with pytest.raises(
        TypeError,
        match=r"would leave the graph here.*or \.detach\(\) or \.numpy\(\) where no gradient is meant to flow",
    ):
        np.asarray(parameter(1.0))


# ---- integers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda: mg.tensor([1, 2], requires_grad=True),
        lambda: mg.tensor([True, False], requires_grad=True),
        lambda: mg.tensor([1, 2]).requires_grad_(),
        lambda: mg.arange(3, requires_grad=True),
        lambda: mg.zeros(3, dtype=int, requires_grad=True),
        lambda: mg.grad(lambda x: x * x)(3),
        lambda: mg.tensor([1j], requires_grad=True),
    ],
)
def test_integers_asked_for_gradients(ask):
    with pytest.raises(
        TypeError,
        match=(
            r"gradients need floating point numbers, and these are (int64|bool|complex128): write "
            r"2\.0 for 2, or pass dtype=float"
        ),
    ):
        ask()


def test_integers_told_to_require_grad():
    x = mg.tensor([1, 2])
    x.requires_grad = True
    with pytest.raises(TypeError, match="gradients need floating point numbers"):
        (x * x).sum().backward()


def test_no_gradient_through_integers():
    x = parameter(1.5, 2.5)
    with pytest.raises(RuntimeError, match="was not computed from any tensor with requires_grad=True"):
        (x.astype(int) * 2.0).sum().backward()


# ---- softmax twice -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("softmax", [mg.softmax, nf.softmax, mg.nn.Softmax()], ids=["mg", "functional", "module"])
def test_softmax_before_cross_entropy(softmax):
    scores = mg.tensor([[1.0, 2.0]], requires_grad=True)
    with pytest.warns(
        mg.MinigradWarning,
        match=(
            r"cross_entropy: its input was made by softmax, which the loss applies itself: give it "
            r"the scores \(logits\)"
        ),
    ):
        nf.cross_entropy(softmax(scores), [1])


def test_softmax_at_the_end_of_a_model():
    model = mg.nn.Sequential(mg.nn.Linear(3, 2), mg.nn.Softmax())
    with pytest.warns(mg.MinigradWarning, match="made by softmax"):
        mg.nn.CrossEntropyLoss()(model(np.ones((4, 3))), [0, 1, 1, 0])


def test_sigmoid_before_binary_cross_entropy_with_logits():
    with pytest.warns(
        mg.MinigradWarning, match="its input was made by sigmoid, which the loss applies itself: give it the scores"
    ):
        nf.binary_cross_entropy_with_logits(mg.sigmoid(parameter(0.0)), [1.0])


def test_no_warning_for_scores():
    nf.cross_entropy(mg.tensor([[1.0, 2.0]], requires_grad=True) * 2, [1])
    nf.binary_cross_entropy_with_logits(parameter(0.0), [1.0])


# ---- backward ------------------------------------------------------------------------------------------------------


def test_backward_of_several_elements():
    with pytest.raises(
        RuntimeError,
        match=(
            r"backward: tensor of shape \(2,\) made by multiply has 2 elements.*reduce it first "
            r"\(\.sum\(\) or \.mean\(\)\), or pass the gradient"
        ),
    ):
        (parameter(1.0, 2.0) * 2).backward()


def test_backward_with_a_gradient_of_another_shape():
    with pytest.raises(
        ValueError,
        match=r"backward: the gradient of tensor of shape \(2,\) made by multiply needs that shape too, not \(3,\)",
    ):
        (parameter(1.0, 2.0) * 2).backward(np.ones(3))


def test_a_gradient_of_another_shape():
    w = parameter(1.0, 2.0)
    with pytest.raises(ValueError, match=r"tensor 'w' of shape \(2,\): .*\(3,\)"):
        w.grad = np.ones(3)


def test_data_of_another_shape():
    with pytest.raises(ValueError, match=r"data of shape \(3,\) cannot replace data of shape \(2,\)"):
        parameter(1.0, 2.0).data = np.ones(3)


def test_requires_grad_of_a_result():
    with pytest.raises(RuntimeError, match=r"made by multiply is no leaf: detach\(\) it first"):
        (parameter(1.0) * 2).requires_grad_(False)


def test_item_of_several():
    with pytest.raises(ValueError, match=r"item: a tensor of shape \(2,\) has 2 elements; index one first"):
        parameter(1.0, 2.0).item()


def test_an_error_names_the_tensors():
    x, w = mg.ones((32, 784)), mg.tensor(np.ones((128, 784)), name="W1")
    with pytest.raises(
        ValueError,
        match=(
            r"matmul\(tensor \(32, 784\), W1 \(128, 784\)\): 784 and 128 differ; the second one "
            r"transposed has shape \(784, 128\) and would fit"
        ),
    ):
        x @ w


def test_default_dtype():
    with pytest.raises(TypeError, match=r"set_default_dtype: int64 is no floating dtype"):
        mg.set_default_dtype(int)


# ---- mg.debug ------------------------------------------------------------------------------------------------------


def debugged(f, x):
    with mg.debug():
        f(x).sum().backward()


def test_debug_stops_at_the_first_value_that_is_not_finite():
    def f(x):
        y = mg.log(x) * 2
        return y

    sentence = (
        r"log: the value at \(1,\) is -inf, from the input 0\.0\. "
        r"Made by test_errors\.py, line \d+: y = mg\.log\(x\) \* 2"
    )
    with pytest.raises(FloatingPointError, match=sentence):
        debugged(f, parameter(1.0, 0.0))


def test_debug_finds_nan_in_the_unused_branch_of_where():
    """sqrt(0) = 0 is finite, and its slope is not: 0 * inf = nan reaches x although where did not choose it."""
    x = parameter(0.0, 4.0, name="x")

    def f(x):
        root = mg.sqrt(x)
        return mg.where(x > 0, root, 0.0)

    sentence = (
        r"sqrt: the gradient of tensor 'x' of shape \(2,\) at \(0,\) is nan.*test_errors\.py, "
        r"line \d+: root = mg\.sqrt\(x\).*`where` did not choose.*"
        r"mg\.where\(x > 0, mg\.log\(mg\.where\(x > 0, x, 1\)\), 0\)"
    )
    with pytest.raises(FloatingPointError, match=sentence):
        debugged(f, x)
    safe = mg.where(x > 0, mg.sqrt(mg.where(x > 0, x, 1.0)), 0.0)  # the remedy
    with mg.debug():
        safe.sum().backward()
    np.testing.assert_array_equal(x.grad.data, [0.0, 0.25])


def test_debug_is_over_at_the_end_of_its_block():
    x = parameter(0.0)
    with mg.debug():
        pass
    with np.errstate(divide="ignore"):
        assert mg.log(x).item() == -np.inf


def test_debug_is_over_after_an_error():
    with pytest.raises(ZeroDivisionError), mg.debug():
        raise ZeroDivisionError
    with np.errstate(divide="ignore"):
        assert mg.log(parameter(0.0)).item() == -np.inf


def test_debug_leaves_values_that_were_not_finite_before_to_the_user():
    x = mg.tensor([np.inf, 1.0])
    with mg.debug():
        assert (x * 2).tolist() == [np.inf, 2.0]


def test_debug_works_on_symbols_and_integers():
    with mg.debug():
        x = mg.symbols("x")
        (x * x).backward()
        mg.sum([1, 2])


def test_a_number_taken_inside_a_transform():
    """math.sin calls float(x), and the gradient of what it gives is lost."""
    with pytest.warns(mg.MinigradWarning, match=r"becomes a plain number inside a function.*mg\.sin for math\.sin"):
        mg.grad(lambda x: x * math.sin(x))(2.0)
    assert float(mg.tensor(1.0, requires_grad=True) * 2) == 2.0  # outside, one looks at a loss like this


def test_a_list_for_a_tensor():
    with pytest.raises(TypeError, match=r"Tensor holds an array, not list: use mg\.tensor"):
        mg.Tensor([1.0, 2.0])


def test_an_array_filled_in_a_loop_would_lose_the_gradient():
    """The usual shape of NumPy code: out = np.zeros_like(x); out[i] = x[i] ** 2."""

    def filled(x):
        out = np.zeros_like(x)
        for i in range(3):
            out[i] = x[i] ** 2
        return out.sum()

    with pytest.raises(RuntimeError, match=r"would leave the graph by being written into.*mg\.stack"):
        mg.grad(filled)(np.ones(3))


def test_an_unknown_name_of_the_package():
    with pytest.raises(AttributeError, match=r"no attribute 'sigmiod'; did you mean mg\.sigmoid\?"):
        mg.sigmiod  # noqa: B018


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"loss_fn": mg.nn.MSELoss}, r"loss_fn must be something to call, such as mg\.nn\.MSELoss\(\), not the class"),
        ({"model": None}, r"model must be something to call"),
        ({"optimizer": "adam"}, r"optimizer must be one of mg\.optim's, made of model\.parameters\(\), not 'adam'"),
        ({"optimizer": mg.optim.SGD}, r"optimizer must be one of mg\.optim's"),
    ],
)
def test_fit_called_wrongly(wrong, sentence):
    model = mg.nn.Linear(2, 1)
    call = {"model": model, "loss_fn": mg.nn.MSELoss(), "samples": (np.ones((3, 2)), np.ones((3, 1)))}
    call["optimizer"] = mg.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match=sentence):
        mg.fit(**{**call, **wrong}, progress=False)


@pytest.mark.parametrize("name", ["X", "Y"])
def test_data_that_are_not_finite_are_named(name):
    model = mg.nn.Linear(2, 1)
    data = {"X": np.ones((3, 2)), "Y": np.ones((3, 1))}
    data[name][1, 0] = np.nan
    with pytest.raises(ValueError, match=f"fit: {name} of samples is not finite in sample 1"):
        mg.fit(model, mg.nn.MSELoss(), (data["X"], data["Y"]), mg.optim.SGD(model.parameters(), lr=0.1), progress=False)


@pytest.mark.parametrize("params", [mg.nn.Linear(1, 1), mg.nn.Linear(1, 1).parameters, None])
def test_an_optimizer_of_no_list(params):
    with pytest.raises(TypeError, match=r"SGD: give a list of tensors, such as \[w, b\] or model\.parameters\(\), not"):
        mg.optim.SGD(params, lr=0.1)
