"""Diagonals and triangles of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..tensor import Tensor, as_tensor
from .card import NUMPY, composite
from .elementwise import where
from .picking import scatter
from .reduce import sum
from .shape import ravel, reshape, transpose, unsupported

__all__ = [
    "diag", "diagflat", "diagonal", "trace", "tril", "triu",
]  # fmt: skip


def _diagonal(rows, columns, offset):
    """The diagonal of a matrix, as a slice of all its elements in a row."""
    n = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    start = offset if offset >= 0 else -offset * columns
    return slice(start, start + (n - 1) * (columns + 1) + 1, columns + 1) if n else slice(0, 0)


@composite(np.diagonal, cases=[([(2, 3)], {}), ([(2, 3, 4)], {"offset": -1, "axis1": 2, "axis2": 0})])
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The elements [i, i + offset] of the matrices in two axes, as a new last axis.

    >>> import minigrad as mg
    >>> mg.diagonal([[1.0, 2.0], [3.0, 4.0]])
    tensor([1., 4.])
    """
    a = as_tensor(a)
    if a.ndim < 2:
        raise ValueError(f"diagonal: an array of shape {a.shape} holds no matrices, which have two axes")
    pair = tuple(normalize_axis_index(i, a.ndim, "diagonal") for i in (axis1, axis2))
    if axis1 == axis2 or pair[0] == pair[1]:
        raise ValueError(f"diagonal: axis1={axis1} and axis2={axis2} are one and the same, and a matrix has two")
    others = tuple(i for i in range(a.ndim) if i not in pair)
    a = transpose(a, others + pair) if pair != (a.ndim - 2, a.ndim - 1) else a
    rows, columns = a.shape[-2:]
    return reshape(a, (*a.shape[:-2], rows * columns))[..., _diagonal(rows, columns, offset)]


def _numpys_linalg_diagonal(x: Any, /, *, offset: int = 0) -> Tensor:
    return diagonal(x, offset, -2, -1)


NUMPY[np.linalg.diagonal] = _numpys_linalg_diagonal


@composite(np.diag, cases=[([(2,)], {"k": 1}), ([(3,)], {}), ([(2, 3)], {"k": -1})])
def diag(v: Any, k: int = 0) -> Tensor:
    """The square matrix with the vector v on its kth diagonal and zeros elsewhere; of a matrix, its kth diagonal.

    >>> import minigrad as mg
    >>> mg.diag([1.0, 2.0])
    tensor([[1., 0.],
            [0., 2.]])
    >>> mg.diag([[1.0, 2.0], [3.0, 4.0]], k=1)
    tensor([2.])
    """
    v = as_tensor(v)
    if v.ndim not in (1, 2):
        raise ValueError(f"diag: it takes a vector or a matrix, and this has the shape {v.shape}")
    if v.ndim == 2:
        return diagonal(v, k)
    n = v.size + abs(k)
    return reshape(scatter(v, _diagonal(n, n, k), (n * n,)), (n, n))


@composite(np.diagflat, cases=[([(2, 1)], {}), ([(2,)], {"k": -1})])
def diagflat(v: Any, k: int = 0) -> Tensor:
    """The square matrix with the elements of v on its kth diagonal and zeros elsewhere.

    >>> import minigrad as mg
    >>> mg.diagflat([[1.0], [2.0]])
    tensor([[1., 0.],
            [0., 2.]])
    """
    return diag(ravel(v), k)


def _triangle(function, m, k):
    """Where a matrix is on or below its kth diagonal."""
    if np.ndim(m) == 0:
        raise ValueError(f"{function}: a number has no triangle; it takes matrices, in the last two axes")
    shape = np.shape(m)[-2:]
    return np.tri(shape[0], shape[-1], k, bool)


@composite(np.tril, cases=[([(3, 3)], {}), ([(2, 2, 3)], {"k": 1}), ([(2,)], {})])
def tril(m: Any, k: int = 0) -> Tensor:
    """The matrices in the last two axes with zeros above the kth diagonal.

    >>> import minigrad as mg
    >>> mg.tril([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 0.],
            [3., 4.]])
    """
    m = as_tensor(m)
    return where(_triangle("tril", m, k), m, m.dtype.type(0))


@composite(np.triu, cases=[([(3, 3)], {}), ([(2, 2, 3)], {"k": 1}), ([(2,)], {})])
def triu(m: Any, k: int = 0) -> Tensor:
    """The matrices in the last two axes with zeros below the kth diagonal.

    >>> import minigrad as mg
    >>> mg.triu([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [0., 4.]])
    """
    m = as_tensor(m)
    return where(_triangle("triu", m, k - 1), m.dtype.type(0), m)


@composite(np.trace, cases=[([(2, 3)], {}), ([(2, 3, 3)], {"offset": 1, "axis1": -1, "axis2": 1})])
def trace(
    a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: None = None, out: None = None
) -> Tensor:  # fmt: skip
    """The sum of the diagonal of the matrices in two axes.

    >>> import minigrad as mg
    >>> mg.trace([[1.0, 2.0], [3.0, 4.0]])
    tensor(5.)
    """
    unsupported("trace", dtype=dtype, out=out)
    return sum(diagonal(a, offset, axis1, axis2), axis=-1)


def _numpys_linalg_trace(x: Any, /, *, offset: int = 0, dtype: None = None) -> Tensor:
    return trace(x, offset, -2, -1, dtype)


NUMPY[np.linalg.trace] = _numpys_linalg_trace
