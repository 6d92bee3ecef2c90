"""Dropout: its statistics, its mask, and where it does nothing."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F

N = 40_000


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_share_of_zeros_and_the_scale_of_the_rest(p, dtype):
    mg.random.seed(0)
    y = F.dropout(np.ones(N, dtype), p).numpy()
    assert y.dtype == dtype
    assert set(y) == {dtype(0), dtype(1 / (1 - p))}
    assert abs((y == 0).mean() - p) < 5 * np.sqrt(p * (1 - p) / N)


def test_the_gradient_has_the_mask_of_the_forward_pass():
    x = mg.tensor(np.linspace(1, 2, 200), requires_grad=True)
    y = nn.Dropout(0.3)(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.where(y.numpy() == 0, 0, 1 / 0.7))
    np.testing.assert_allclose(y.numpy(), x.grad.numpy() * x.numpy(), rtol=1e-15)


def test_the_librarys_seed_decides():
    mg.random.seed(3)
    a, b = F.dropout(mg.ones(50)).tolist(), F.dropout(mg.ones(50)).tolist()
    mg.random.seed(3)
    assert F.dropout(mg.ones(50)).tolist() == a
    assert a != b


def test_evaluation_and_probabilities_of_zero_and_one():
    x = mg.tensor([1.0, -2.0], requires_grad=True)
    assert nn.Dropout(0.9).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    y = nn.Dropout(1.0)(x)
    y.sum().backward()
    assert y.tolist() == x.grad.tolist() == [0.0, 0.0]
    assert F.dropout(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(("layer", "shape"), [(nn.Dropout1d, (50, 8, 5)), (nn.Dropout1d, (400, 5)),
                                              (nn.Dropout2d, (50, 8, 2, 3)), (nn.Dropout2d, (400, 2, 3))])  # fmt: skip
def test_whole_channels_are_dropped(layer, shape):
    mg.random.seed(0)
    spatial = 1 if layer is nn.Dropout1d else 2
    rows = layer(0.5)(np.ones(shape)).numpy().reshape(400, -1)
    assert (rows == rows[:, :1]).all()
    assert set(rows[:, 0]) == {0.0, 2.0}
    assert abs((rows[:, 0] == 0).mean() - 0.5) < 5 * np.sqrt(0.25 / 400)
    assert len(shape) - spatial in (1, 2)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: nn.Dropout(1.5), r"Dropout: p=1.5 is the probability of a zero, in \[0, 1\]"),
        (lambda: nn.Dropout(float("nan")), r"Dropout: p=nan"),
        (lambda: F.dropout(mg.ones(2), -0.1), r"dropout: p=-0.1"),
        (lambda: nn.Sequential(nn.Dropout2d())(np.ones((2, 3))), r'Dropout2d "0": the input has shape \(2, 3\)'),
        (lambda: F.dropout1d(np.ones(3)), r"dropout1d: the input has shape \(3,\); \(channels, length\) is needed"),
    ],
)
def test_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
