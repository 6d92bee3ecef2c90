"""exp, tanh and the sigmoid of kernels beside NumPy's in more digits."""

import numpy as np
import pytest

from minigrad.approximations import fast_exp, fast_sigmoid, fast_tanh
from minigrad.kernels import kernel


@kernel
def exps(x, y):
    for i in range(x.shape[0]):
        y[i] = fast_exp(x[i])


@kernel
def tanhs(x, y):
    for i in range(x.shape[0]):
        y[i] = fast_tanh(x[i])


@kernel
def sigmoids(x, y):
    for i in range(x.shape[0]):
        y[i] = fast_sigmoid(x[i])


CASES = [(exps, np.exp, 2), (tanhs, np.tanh, 4), (sigmoids, lambda x: 1 / (1 + np.exp(-x)), 3)]
LARGEST = {np.float32: 88.72, np.float64: 709.78}
SMALLEST = {np.float32: -86.6, np.float64: -707.7}  # log of twice the smallest normal number


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("ours", "exact", "ulps"), CASES, ids=["exp", "tanh", "sigmoid"])
def test_errors_are_a_few_ulp(ours, exact, ulps, dtype):
    rng = np.random.default_rng(0)
    tiny = rng.normal(size=50_000) * 10.0 ** rng.uniform(-30, 0, 50_000)
    x = np.concatenate([rng.uniform(SMALLEST[dtype], LARGEST[dtype], 50_000), rng.normal(size=100_000) * 4, tiny])
    x = x.astype(dtype)
    more = np.longdouble if dtype is np.float64 else np.float64
    if np.finfo(more).eps >= np.finfo(dtype).eps:
        pytest.skip("this machine has no longer floats")
    y, expected = np.empty_like(x), exact(x.astype(more))
    ours(x, y)
    errors = np.abs(y - expected) / np.spacing(np.abs(expected.astype(dtype)))
    worst = np.argmax(errors)
    assert errors[worst] <= ulps, f"{errors[worst]} ulp at {x[worst]}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("ours", "ends"),
    [(exps, [1, np.inf, 0, np.nan, np.inf, 0]), (tanhs, [0, 1, -1, np.nan, 1, -1]),
     (sigmoids, [0.5, 1, 0, np.nan, 1, 0])],
    ids=["exp", "tanh", "sigmoid"],
)  # fmt: skip
def test_the_ends_of_the_floats(ours, ends, dtype):
    x = np.array([0, np.inf, -np.inf, np.nan, np.finfo(dtype).max, np.finfo(dtype).min], dtype)
    y = np.empty_like(x)
    ours(x, y)
    np.testing.assert_array_equal(y, np.array(ends, dtype))
