"""layer_norm and rms_norm beside torch's, to the second derivative, and where they are hard to compute."""

import numpy as np
import pytest
from catalogue import agree, layouts, leaf, rngs, torch
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg

F = torch.nn.functional
SAMPLES = st.sampled_from([(3,), (2, 2), (4, 1, 2)])
LEADS = st.sampled_from([(), (2,), (3, 2), (0,), (1, 1)])


@settings(max_examples=30)
@given(sample=SAMPLES, lead=LEADS, eps=st.sampled_from([1e-5, 0.5]), layout=layouts, rng=rngs, parts=st.integers(0, 2))
def test_layer_norm_is_torchs(sample, lead, eps, layout, rng, parts):
    arrays = [rng.standard_normal((*lead, *sample)), *(rng.standard_normal(sample) for _ in range(parts))]
    agree(lambda x, *more: mg.layer_norm(x, sample, *more, eps=eps),
          lambda x, *more: F.layer_norm(x, sample, *more, eps=eps), arrays, rng, layout)  # fmt: skip


@settings(max_examples=30)
@given(
    sample=SAMPLES, lead=LEADS, eps=st.sampled_from([None, 0.5]), layout=layouts, rng=rngs, weighted=st.booleans()
)
def test_rms_norm_is_torchs(sample, lead, eps, layout, rng, weighted):
    arrays = [rng.standard_normal((*lead, *sample)), *([rng.standard_normal(sample)] * weighted)]
    agree(lambda x, *w: mg.rms_norm(x, sample, *w, eps=eps),
          lambda x, *w: F.rms_norm(x, sample, *w, eps=eps), arrays, rng, layout)  # fmt: skip


@pytest.mark.parametrize("small", [1, 10**9], ids=["loops", "NumPy"])
def test_a_large_mean_costs_no_digits_of_the_deviation(monkeypatch, small):
    """mean(x^2) - mean(x)^2 would have none left here: float32 carries 1e4 to a thousandth."""
    monkeypatch.setattr("minigrad.ops.loops.SMALL", small)
    x = (1e4 + np.random.default_rng(0).standard_normal((8, 64))).astype(np.float32)
    exact = F.layer_norm(torch.tensor(x, dtype=torch.float64), (64,)).numpy()
    np.testing.assert_allclose(mg.layer_norm(x, 64).numpy(), exact, atol=1e-3)


def test_eps_of_rms_norm_is_that_of_the_dtype():
    tiny = np.full((1, 4), 1e-4, np.float32)
    assert mg.rms_norm(tiny, 4).numpy()[0, 0] == pytest.approx(1e-4 / np.sqrt(1e-8 + 2.0**-23), rel=1e-6)
    assert mg.rms_norm(tiny.astype(float), 4).numpy()[0, 0] == pytest.approx(1e-4 / np.sqrt(1e-8 + 2.0**-52))


def test_constant_samples_and_samples_of_one_or_of_nothing():
    x = leaf(np.full((2, 3), 7.0))
    y = mg.layer_norm(x, 3)
    y.backward(np.array([[1.0, 2.0, 4.0]] * 2))
    assert not y._data.any()
    np.testing.assert_allclose(x.grad._data, np.array([[-4 / 3, -1 / 3, 5 / 3]] * 2) / np.sqrt(1e-5))
    one = leaf(np.array([[3.0], [5.0]]))
    y = mg.layer_norm(one, 1)
    y.sum().backward()
    assert not y._data.any()
    assert not one.grad._data.any()
    nothing = leaf(np.ones((2, 0)))
    y = mg.layer_norm(nothing, 0)
    y.sum().backward()
    assert y.shape == nothing.grad.shape == (2, 0)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: mg.layer_norm(np.ones((2, 3)), 2), r"layer_norm: an input of shape \(2, 3\) does not end in"),
        (lambda: mg.layer_norm(np.ones(3), (2, 3)), r"does not end in the normalized_shape \(2, 3\)"),
        (lambda: mg.layer_norm(np.ones((2, 3)), ()), r"does not end in the normalized_shape \(\)"),
        (lambda: mg.layer_norm(np.ones((2, 3)), 3, np.ones(2)), r"the weight has shape \(2,\), the norm.* is \(3,\)"),
        (lambda: mg.layer_norm(np.ones((2, 3)), 3, bias=np.ones((1, 3))), r"the bias has shape \(1, 3\)"),
        (lambda: mg.rms_norm(np.ones((2, 3)), 3, np.ones(())), r"rms_norm: the weight has shape \(\)"),
    ],
)
def test_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
