"""When the cards hand their arrays to native loops, and what those loops share.

A kernel goes over its arrays once, where NumPy's functions go over them once each and put every step into an array of
its own. Symbols, tensors, other dtypes and small arrays stay with the NumPy code on the card, which says the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import in_any_order, real

SMALL = 4096  # elements: below it, NumPy is done before a kernel has been called
SHARE = 16384  # elements: below it, waking a second thread costs more than it brings

KINDS = (np.dtype(np.float32), np.dtype(np.float64))


def native(*arrays: Any) -> bool:
    """Whether a kernel is the way for these: large ndarrays of one dtype, float32 or float64."""
    dtype = getattr(arrays[0], "dtype", None)
    return dtype in KINDS and arrays[0].size >= SMALL and all(type(x) is np.ndarray and x.dtype == dtype for x in arrays)


def matrix(x: np.ndarray, columns: int) -> np.ndarray:
    """The elements in rows of so many, contiguous: the array itself where possible, else a copy."""
    return np.ascontiguousarray(x).reshape(-1, columns)


def grain(columns: int) -> int:
    """How many rows of so many elements are worth a thread."""
    return SHARE // max(columns, 1) + 1


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
