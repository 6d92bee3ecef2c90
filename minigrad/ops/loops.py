"""When the cards hand their arrays to native loops, and what those loops share.

A kernel goes over its arrays once, where NumPy's functions go over them once each and put every step into an array of
its own. Symbols, tensors, other dtypes and small arrays stay with the NumPy code on the card, which says the same.
"""

from __future__ import annotations

from math import inf, log
from typing import Any

import numpy as np

from ..kernels import in_any_order, kernel, real

SMALL = 4096  # elements: below it, NumPy is done before a kernel has been called
SHARE = 1 << 17  # elements: below it, waking a second thread costs more than it brings

KINDS = (np.dtype(np.float32), np.dtype(np.float64))  # in the machine's byte order


def native(*arrays: Any) -> bool:
    """Whether a kernel is the way for these: they can go through one, and the first of them is large."""
    return type(arrays[0]) is np.ndarray and arrays[0].size >= SMALL and of_one_kind(*arrays)


def of_one_kind(*arrays: Any) -> bool:
    """Whether a kernel can take these: ndarrays of one dtype, float32 or float64."""
    dtype = arrays[0].dtype
    return dtype in KINDS and all(type(x) is np.ndarray and x.dtype == dtype for x in arrays)


def matrix(x: np.ndarray, columns: int) -> np.ndarray:
    """The elements in rows of so many, contiguous: the array itself where possible, else a copy."""
    return np.ascontiguousarray(x).reshape(-1, columns)


def grain(columns: int) -> int:
    """How many rows of so many elements are worth a thread."""
    return SHARE // max(columns, 1) + 1


def over_elements(loop: Any, *arrays: Any, out: Any = None) -> Any:
    """Run a loop over the elements of arrays and of `out`, a new array unless given, which is returned."""
    out = np.empty(arrays[0].shape, arrays[0].dtype) if out is None else out
    loop.over(out.size, SHARE, *(np.ascontiguousarray(x).reshape(-1) for x in arrays), out.reshape(-1))
    return out


# ---- what kernels call -----------------------------------------------------------------------------------------------


@in_any_order
def row_sum(x, i):
    total = real(0)
    for j in range(x.shape[1]):
        total += x[i, j]
    return total


@in_any_order
def row_squares(x, i, centre):
    total = real(0)
    for j in range(x.shape[1]):
        d = x[i, j] - centre
        total += d * d
    return total


@in_any_order
def row_products(a, b, i):
    total = real(0)
    for j in range(a.shape[1]):
        total += a[i, j] * b[i, j]
    return total


def row_max(x, i, n):
    """The largest of the first n elements of row i; nan is passed over. (Four in turn, as each waits for its last.)"""
    a = b = c = d = real(-inf)
    for k in range(n // 4):
        j = 4 * k
        a = x[i, j] if x[i, j] > a else a
        b = x[i, j + 1] if x[i, j + 1] > b else b
        c = x[i, j + 2] if x[i, j + 2] > c else c
        d = x[i, j + 3] if x[i, j + 3] > d else d
    for j in range(n - n % 4, n):
        a = x[i, j] if x[i, j] > a else a
    a = b if b > a else a
    c = d if d > c else c
    return c if c > a else a


# ---- softmax over the last axis --------------------------------------------------------------------------------------
# Exponentials are NumPy's, which are vectorised: one pass between two kernels.


def softmax(x: np.ndarray, safe: bool, causal: bool = False) -> np.ndarray:
    """exp(x) / sum(exp(x)) over the last axis, in place of x, or of a copy if it is not contiguous.

    `safe` has a row of -inf give zeros, where it is nan by the formula. With `causal`, row i of each matrix has -inf
    from column i + 1 on, whatever is there.
    """
    x = np.ascontiguousarray(x)
    rows = matrix(x, x.shape[-1])
    share = grain(rows.shape[1])
    shift.over(len(rows), share, rows, int(safe), x.shape[-2] if causal else 0)
    np.exp(x, out=x)
    divide.over(len(rows), share, rows, int(safe))
    return x


def softmax_slope(g: np.ndarray, y: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """y (g - sum(g y)) scale over the last axis, in place of g, or of a copy if it is not contiguous."""
    if not y.size:
        return g
    g, n = np.ascontiguousarray(g), y.shape[-1]
    slope.over(y.size // n, grain(n), matrix(y, n), scale, matrix(g, n))
    return g


def log_softmax(x: np.ndarray) -> np.ndarray:
    """x - log(sum(exp(x))) over the last axis, in place, for a contiguous array."""
    rows = matrix(x, x.shape[-1])
    shift.over(len(rows), grain(rows.shape[1]), rows, 0, 0)
    less_log_sum.over(len(rows), grain(rows.shape[1]), np.exp(rows), rows)
    return x


def log_softmax_slope(g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """g - exp(y) sum(g) over the last axis."""
    weights, n = np.exp(y, order="C"), y.shape[-1]
    less_share.over(y.size // n, grain(n), matrix(g, n), matrix(weights, n))
    return weights


@kernel
def shift(start, stop, x, safe, causal):
    """Take the largest element off each row, lest exp overflow."""
    for i in range(start, stop):
        n = min(i % causal + 1, x.shape[1]) if causal else x.shape[1]
        top = row_max(x, i, n)
        if safe and top == real(-inf):
            top = real(0)
        for j in range(n):
            x[i, j] -= top
        for j in range(n, x.shape[1]):
            x[i, j] = real(-inf)


@kernel
def divide(start, stop, x, safe):
    for i in range(start, stop):
        total = row_sum(x, i)
        if safe and total == real(0):
            total = real(1)
        for j in range(x.shape[1]):
            x[i, j] /= total


@kernel
def slope(start, stop, y, scale, g):
    for i in range(start, stop):
        mean = row_products(g, y, i)
        for j in range(y.shape[1]):
            g[i, j] = y[i, j] * (g[i, j] - mean) * real(scale)


@kernel
def less_log_sum(start, stop, weights, x):
    for i in range(start, stop):
        total = log(row_sum(weights, i))
        for j in range(x.shape[1]):
            x[i, j] -= total


@kernel
def less_share(start, stop, g, weights):
    for i in range(start, stop):
        total = row_sum(g, i)
        for j in range(g.shape[1]):
            weights[i, j] = g[i, j] - weights[i, j] * total
