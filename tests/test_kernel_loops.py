"""Loops over arrays as native code."""

import math
import weakref

import numpy as np
import pytest

import minigrad as mg
from minigrad import parallel
from minigrad.kernels import in_any_order, index, kernel, real, source

HALF = 0.5


def squared(x):
    return x * x


def energy(x):
    return squared(x) * real(HALF)


@kernel
def energies(start, stop, x, scale, y):
    """A comment for readers."""
    for i in range(start, stop):
        for j in range(x.shape[1]):
            y[i, j] = energy(x[i, j]) * real(scale) + real(math.exp(0))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_kernel_computes_what_it_says(monkeypatch, dtype, threads):
    monkeypatch.setattr(parallel, "threads", lambda: threads)
    x = np.random.default_rng(0).normal(size=(7, 5)).astype(dtype)
    y = np.zeros_like(x)
    energies.over(7, 2, x, 3.0, y)
    np.testing.assert_allclose(y, 1.5 * x * x + 1, rtol=1e-6)
    z = np.zeros_like(x)
    energies(2, 4, x, 3.0, z)
    np.testing.assert_array_equal(z[2:4], y[2:4])
    assert not z[:2].any()
    assert not z[4:].any()


def test_an_array_with_gaps_is_refused():
    x = np.zeros((4, 6))
    with pytest.raises(ValueError, match=r"energies: an array of shape \(3, 4\) is not contiguous"):
        energies(0, 3, x[:3, :4], 1.0, x)


def test_the_other_order_of_bytes_is_refused():
    x = np.zeros((4, 6))
    energies(0, 4, x, 1.0, x)  # compiled for these dtypes
    with pytest.raises(ValueError, match="energies: [<>]f8 is not in the machine's order of bytes"):
        energies(0, 4, x.astype(x.dtype.newbyteorder()), 1.0, x)


def test_functions_and_constants_are_written_into_the_source():
    text = source(energies.function, [None, None, 2, None, 2], np.dtype("f4"))
    assert "def squared(x):" in text
    assert "real(0.5)" in text
    assert "comment" not in text
    assert text.index("def squared") < text.index("def energy(") < text.index("def energies")


def scale():
    """Its name is that of an argument below."""


@in_any_order
def dot(x, at, n):
    total = real(0)
    for i in range(n):
        total += x[at + i] * x[at + i]
    return total


@kernel
def norms(start, stop, room, x, y):
    for i in range(start, stop):
        scale = index(2)
        for j in range(x.shape[1]):
            room[j] = x[i, j]
        y[i] = dot(room, index(0), index(x.shape[1])) / real(scale)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_each_range_has_working_space_of_its_own(monkeypatch, threads):
    monkeypatch.setattr(parallel, "threads", lambda: threads)
    x = np.random.default_rng(0).normal(size=(50, 70))
    rooms = [np.zeros(70), np.zeros(70)]
    y = np.zeros(50)
    norms.over(50, 1, x, y, own=rooms)
    np.testing.assert_allclose(y, (x * x).sum(1) / 2, rtol=1e-13)
    last = [x[-1]] if threads == 1 else [x[24], x[-1]]  # no more ranges than rooms
    for room, row in zip(rooms, last, strict=False):
        np.testing.assert_array_equal(room, row)


def test_arrays_live_as_long_as_a_part_that_uses_them(monkeypatch):
    """An exception, of a signal's handler say, may end the wait for a part that another thread is still running."""
    monkeypatch.setattr(parallel, "threads", lambda: 2)
    kept = []
    monkeypatch.setattr(parallel, "run", kept.extend)
    x, y = np.ones((7, 5)), np.zeros((7, 5))
    arrays = [weakref.ref(x), weakref.ref(y)]
    energies.over(7, 2, x, 3.0, y)
    del x, y
    assert all(array() is not None for array in arrays)
    del kept[:]
    assert all(array() is None for array in arrays)


def test_sums_are_reordered_only_where_a_function_allows_it():
    text = source(norms.function, [None, None, 1, 2, 1], np.dtype("f8"))
    assert text.count("'reassoc': True") == 1
    assert "def scale" not in text
    assert "reassoc" not in source(energies.function, [None, None, 2, None, 2], np.dtype("f4"))


@in_any_order
def total(x, i):
    t = real(0)
    for j in range(x.shape[1]):
        t += x[i, j]
    return t


@kernel
def beside_sums(x, y, less, back):
    for i in range(x.shape[0]):
        less[i] = -(x[i, 0] - x[i, 1])
        back[i] = (total(x, i) + y[i]) - y[i]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_signs_of_zeros_and_the_order_of_terms_beside_a_sum_are_numpys(dtype):
    x = np.array([[0.0, 0.0], [-0.0, 0.0], [1e-30, 2e-30], [1.0, 2.0], [-0.0, -0.0]], dtype)
    y, less, back = np.array([1, -1, 1, 1e8, -0.0], dtype), *np.full((2, 5), np.nan, dtype)
    beside_sums(x, y, less, back)
    for ours, right in ((less, -(x[:, 0] - x[:, 1])), (back, (x.sum(1) + y) - y)):
        np.testing.assert_array_equal(ours, right)
        np.testing.assert_array_equal(np.signbit(ours), np.signbit(right))


def test_layer_norm_far_from_zero_subtracts_the_mean_first():
    """A sum of (x - mean) * g with the mean taken out of it would lose all digits."""
    rng = np.random.default_rng(0)
    x, g = (4096 + np.round(rng.normal(size=(3, 64)) * 8)).astype(np.float32), rng.normal(size=(3, 64))
    t = mg.tensor(x, requires_grad=True)
    mg.nn.functional.layer_norm(t, (64,)).backward(g.astype(np.float32))
    exact = mg.tensor(x.astype(np.float64) - 4096, requires_grad=True)
    mg.nn.functional.layer_norm(exact, (64,)).backward(g)
    np.testing.assert_allclose(t.grad.data, exact.grad.data, rtol=0, atol=1e-6)
