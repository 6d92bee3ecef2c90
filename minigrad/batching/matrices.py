"""Products, and functions of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .array import FUNCTIONS, BatchedArray, Level, innermost
from .elements import aligned
from .levels import lifted, ndim_of, shifted, spread, wrapped


def _matmul(level: Level, a: Any, b: Any, **params: Any) -> Any:
    """The product of stacks; one product in all, where the other factor is the same for all samples."""
    if params:
        return NotImplemented
    m, n = ndim_of(a), ndim_of(b)
    if not m or not n:
        raise ValueError("a matrix product needs at least one axis on each side")
    if np.shape(a)[-1] != np.shape(b)[-2 if n > 1 else -1]:
        raise ValueError(f"{np.shape(a)} and {np.shape(b)} do not fit")
    in_a, in_b = (type(x) is BatchedArray and x.level is level for x in (a, b))
    x, y = (x.array if batched else x for x, batched in ((a, in_a), (b, in_b)))
    if m == 1 and n == 1:
        z = np.add.reduce(x * y, axis=1) if in_a and in_b else np.matmul(x, y) if in_a else np.matmul(y, x)
    elif m <= 2 and n <= 2 and not in_b:
        rows = x.reshape((-1, x.shape[-1])) if m == 2 else x
        z = np.matmul(rows, y)
        z = z.reshape((*x.shape[:2], *z.shape[1:])) if m == 2 else z
    elif m == 2 and n == 1 and not in_a:
        z = np.matmul(y, x.T)
    else:
        z = _stacks(a, b, x, y, in_a, in_b, m, n)
    return BatchedArray(z, level)


def _stacks(a: Any, b: Any, x: Any, y: Any, in_a: bool, in_b: bool, m: int, n: int) -> Any:
    """The general case: every factor a matrix, with as many axes of stacks before it."""
    x, y = (x[..., None, :] if m == 1 else x), (y[..., None] if n == 1 else y)
    ndim = max(m, n, 2)
    x, y = (
        z[(slice(None),) + (None,) * (ndim - max(k, 2))] if batched else z
        for z, batched, k in ((x, in_a, m), (y, in_b, n))
    )
    if x.shape[-1] == 1 and not x.dtype.hasobject:  # a column by a row: NumPy's matmul would start BLAS for each
        z = np.einsum("...i,...j->...ij", x[..., 0], y[..., 0, :])
    else:
        z = np.matmul(x, y)
    z = z[..., 0] if n == 1 else z
    return z[..., 0, :] if m == 1 and n > 1 else z[..., 0] if m == 1 else z


def _vecdot(level: Level, a: Any, b: Any, **params: Any) -> Any:
    if params or not (ndim_of(a) and ndim_of(b)):
        return NotImplemented
    return BatchedArray(np.vecdot(*aligned(level, (a, b))), level)


def _dot(level: Level, a: Any, b: Any) -> Any:
    if not ndim_of(a) or not ndim_of(b):
        return np.multiply(a, b)
    return _matmul(level, a, b) if ndim_of(b) <= 2 else NotImplemented


def _vdot(level: Level, a: Any, b: Any) -> Any:
    return _matmul(level, np.ravel(a), np.ravel(b))


def _outer(level: Level, a: Any, b: Any) -> Any:
    return np.multiply(np.reshape(a, (-1, 1)), np.reshape(b, (1, -1)))


def _einsum(level: Level, subscripts: str, *operands: Any, optimize: Any = False, **params: Any) -> Any:
    if not isinstance(subscripts, str) or params:
        return NotImplemented
    left, arrow, out = subscripts.replace(" ", "").partition("->")
    if not arrow:
        named = sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1)
        out = ("..." if "..." in left else "") + "".join(named)
    unused = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBAzyxwvutsrqponmlkjihgfedcba" if c not in left]
    if not unused:
        return NotImplemented
    batched = [type(x) is BatchedArray and x.level is level for x in operands]
    terms = [unused[0] * it + term for term, it in zip(left.split(","), batched, strict=True)]
    arrays = [x.array if it else x for x, it in zip(operands, batched, strict=True)]
    return BatchedArray(np.einsum(f"{','.join(terms)}->{unused[0]}{out}", *arrays, optimize=optimize), level)


def _of_matrices(function: Callable) -> Callable:
    """A function of matrices that NumPy maps over stacks of them."""

    def of_matrices(level: Level, x: Any, *args: Any, **params: Any) -> Any:
        if x.ndim < 2 or innermost((args, params)) is not None:
            return NotImplemented
        return wrapped(function(x.array, *args, **params), level)

    return of_matrices


def _solve(level: Level, a: Any, b: Any) -> Any:
    a, b = lifted(a, level), lifted(b, level)
    if a.ndim < 2 or not b.ndim:
        return NotImplemented
    columns = b[:, None] if b.ndim == 1 else b
    ndim = max(a.ndim, columns.ndim)
    x = np.linalg.solve(spread(a, level, ndim), spread(columns, level, ndim))
    return BatchedArray(x[..., 0] if b.ndim == 1 else x, level)


def _norm(level: Level, x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if axis is None and (keepdims or (x.ndim > 2 and ord is not None)):
        return NotImplemented
    if axis is None and (ord is None or x.ndim == 1):
        x, axis = np.ravel(x), 0
    axis = shifted((0, 1) if axis is None else axis, x.ndim)
    return BatchedArray(np.linalg.norm(x.array, ord, axis, keepdims), level)


def _of_diagonals(function: Callable) -> Callable:
    """The diagonals of matrices, and their sums."""

    def of_diagonals(level: Level, x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, **params: Any) -> Any:
        if params:
            return NotImplemented
        return BatchedArray(function(x.array, offset, shifted(axis1, x.ndim), shifted(axis2, x.ndim)), level)

    return of_diagonals


FUNCTIONS |= {
    np.matmul: _matmul, np.vecdot: _vecdot, np.dot: _dot, np.vdot: _vdot, np.outer: _outer, np.einsum: _einsum,
    np.linalg.solve: _solve, np.linalg.norm: _norm, np.trace: _of_diagonals(np.trace),
    np.diagonal: _of_diagonals(np.diagonal),
}  # fmt: skip
FUNCTIONS |= {f: _of_matrices(f) for f in (
    np.tril, np.triu, np.linalg.inv, np.linalg.det, np.linalg.slogdet, np.linalg.cholesky, np.linalg.eigh,
    np.linalg.eigvalsh, np.linalg.svd, np.linalg.pinv, np.linalg.qr, np.linalg.matrix_power,
)}  # fmt: skip
