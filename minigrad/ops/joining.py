"""Ops that join arrays, and cut them into parts."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..tensor import Tensor, as_tensor
from .card import composite, each, op
from .shape import along, broadcast_to, copy, expand_dims, fitting, ravel, reshape, unsupported

__all__ = [
    "append", "array_split", "atleast_1d", "atleast_2d", "atleast_3d", "block", "broadcast_arrays", "column_stack",
    "concatenate", "dsplit", "dstack", "ediff1d", "hsplit", "hstack", "meshgrid", "split", "stack", "unstack", "vsplit",
    "vstack",
]  # fmt: skip


def _part(i, g, y, *xs, axis):
    start = 0
    for x in xs[:i]:
        start += x.shape[axis]
    return g[along(axis % g.ndim, slice(start, start + xs[i].shape[axis]))]


@op(arity=None, vjp=each(_part), cases=[([(2, 3), (2, 1)], {"axis": 1}), ([(1, 2), (2, 2), (1, 2)], {})])
def concatenate_(*arrays, axis=0):
    return np.concatenate(arrays, axis)


@composite(np.concatenate, cases=[([[(2, 3), (2, 1)]], {"axis": 1}), ([[(2,), (3,)]], {})])
def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Tensor:
    """The arrays one after another along an axis (flattened, for None).

    >>> import minigrad as mg
    >>> mg.concatenate([[1.0, 2.0], mg.tensor([3.0])])
    tensor([1., 2., 3.])
    """
    if axis is None:
        arrays, axis = [ravel(a) for a in arrays], 0
    return concatenate_(*arrays, axis=axis)


@op(arity=None, cases=[([(2,), (2,)], {}), ([(2, 3), (2, 3)], {"axis": -1})],
    vjp=each(lambda i, g, y, *xs, axis: g[along(axis % g.ndim, i)]))
def stack_(*arrays, axis=0):
    return np.stack(arrays, axis)


@composite(np.stack, cases=[([[(2, 3), (2, 3)]], {"axis": 1})])
def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Arrays of one shape joined along a new axis.

    >>> import minigrad as mg
    >>> mg.stack([[1.0, 2.0], [3.0, 4.0]], axis=1)
    tensor([[1., 3.],
            [2., 4.]])
    """
    return stack_(*arrays, axis=axis)


@composite(np.append, cases=[([(2, 3), (2,)], {}), ([(2, 3), (2, 1)], {"axis": 1})])
def append(arr: Any, values: Any, axis: int | None = None) -> Tensor:
    """`arr` followed by `values` along an axis (both flattened, for None).

    >>> import minigrad as mg
    >>> mg.append([1.0, 2.0], 3.0)
    tensor([1., 2., 3.])
    """
    return concatenate([arr, values], axis)


@composite(np.vstack, cases=[([[(3,), (2, 3)]], {}), ([[(2,), (2,)]], {})])
def vstack(tup: Sequence[Any], *, dtype: Any = None, casting: Any = None) -> Tensor:
    """The arrays one below the other: joined along axis 0, vectors as rows.

    >>> import minigrad as mg
    >>> mg.vstack([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    unsupported("vstack", dtype=dtype, casting=casting)
    return concatenate([atleast_2d(a) for a in tup], 0)


@composite(np.hstack, cases=[([[(3,), (2,), ()]], {}), ([[(2, 3), (2, 1)]], {})])
def hstack(tup: Sequence[Any], *, dtype: Any = None, casting: Any = None) -> Tensor:
    """The arrays side by side: joined along axis 1, vectors along their only axis.

    >>> import minigrad as mg
    >>> mg.hstack([[1.0, 2.0], [3.0]])
    tensor([1., 2., 3.])
    """
    unsupported("hstack", dtype=dtype, casting=casting)
    arrays = [atleast_1d(a) for a in tup]
    return concatenate(arrays, 0 if arrays and arrays[0].ndim == 1 else 1)


@composite(np.dstack, cases=[([[(3,), (1, 3)]], {}), ([[(2, 2), (2, 2, 3)]], {})])
def dstack(tup: Sequence[Any]) -> Tensor:
    """The arrays one behind the other: joined along axis 2, which vectors and matrices get as `atleast_3d` says.

    >>> import minigrad as mg
    >>> mg.dstack([[1.0, 2.0], [3.0, 4.0]])
    tensor([[[1., 3.],
             [2., 4.]]])
    """
    return concatenate([atleast_3d(a) for a in tup], 2)


@composite(np.column_stack, cases=[([[(3,), (3, 2)]], {}), ([[(), (1,)]], {})])
def column_stack(tup: Sequence[Any]) -> Tensor:
    """Vectors as the columns of a matrix; matrices join as they are.

    >>> import minigrad as mg
    >>> mg.column_stack([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 3.],
            [2., 4.]])
    """
    return concatenate([reshape(a, (-1, 1)) if np.ndim(a) < 2 else as_tensor(a) for a in tup], 1)


@composite(np.block, cases=[([[[(2, 2), (2, 1)], [(1, 2), (1, 1)]]], {}), ([[(2,), ()]], {}), ([(3,)], {})])
def block(arrays: Any) -> Tensor:
    """One array from nested lists of blocks: innermost lists join along the last axis, the next ones along that before.

    Raises ValueError for lists of unequal depth and empty ones, TypeError for tuples.

    >>> import minigrad as mg
    >>> mg.block([[mg.ones((1, 1)), mg.zeros((1, 2))], [mg.full((1, 3), 2.0)]])
    tensor([[1., 0., 0.],
            [2., 2., 2.]])
    """
    depths = set(_depths(arrays))
    if len(depths) > 1:
        raise ValueError(f"block: every array must be in equally many lists, not some in {sorted(depths)}")
    (depth,) = depths
    ndim = max(depth, *map(np.ndim, _leaves(arrays)))

    def joined(part: Any, axis: int) -> Tensor:
        if type(part) is list:
            return concatenate([joined(p, axis + 1) for p in part], axis)
        return reshape(part, (1,) * (ndim - np.ndim(part)) + np.shape(part))

    return joined(arrays, ndim - depth) if depth else copy(arrays)


def _depths(arrays: Any, depth: int = 0) -> Any:
    """How many lists each array is in."""
    if isinstance(arrays, tuple):
        raise TypeError("block: a tuple is no list of blocks; write [...] for (...)")
    if not isinstance(arrays, list):
        yield depth
    elif not arrays:
        raise ValueError("block: a list of blocks is empty")
    else:
        for part in arrays:
            yield from _depths(part, depth + 1)


def _leaves(arrays: Any) -> Any:
    if isinstance(arrays, list):
        for part in arrays:
            yield from _leaves(part)
    else:
        yield arrays


# ---- cutting -------------------------------------------------------------------------------------------------------


@composite(np.array_split,
    cases=[([(5, 2)], {"indices_or_sections": 3}), ([(3, 4)], {"indices_or_sections": [1, 3], "axis": 1})])
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """The array cut along an axis: into parts as equal as can be, or before each of the given indices.

    >>> import minigrad as mg
    >>> mg.array_split([1.0, 2.0, 3.0], 2)
    [tensor([1., 2.]), tensor([3.])]
    """
    a = as_tensor(ary)
    axis = normalize_axis_index(axis, a.ndim, "split")
    n = a.shape[axis]
    if np.ndim(indices_or_sections) == 0:
        sections = operator.index(indices_or_sections)
        if sections < 1:
            raise ValueError(f"array_split: {sections} parts; there must be one or more")
        each_has, longer = divmod(n, sections)
        cuts = [i * each_has + min(i, longer) for i in range(sections + 1)]
    else:
        cuts = [0, *(int(i) for i in indices_or_sections), n]
    return [a[along(axis, slice(i, j))] for i, j in itertools.pairwise(cuts)]


@composite(np.split,
    cases=[([(4, 2)], {"indices_or_sections": 2}), ([(3, 4)], {"indices_or_sections": [1], "axis": 1})])
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """The array cut along an axis: into equal parts, or before each of the given indices.

    >>> import minigrad as mg
    >>> mg.split([1.0, 2.0, 3.0, 4.0], 2)
    [tensor([1., 2.]), tensor([3., 4.])]
    """
    if np.ndim(indices_or_sections) == 0:
        n = np.shape(ary)[normalize_axis_index(axis, np.ndim(ary), "split")]
        if indices_or_sections < 1 or n % indices_or_sections:
            parts = f"{indices_or_sections} equal parts"
            raise ValueError(f"split: {n} elements along axis {axis} cannot be cut into {parts}")
    return array_split(ary, indices_or_sections, axis)


def _has_axes(function: str, a: Any, n: int) -> None:
    if np.ndim(a) < n:
        raise ValueError(f"{function}: an array of shape {np.shape(a)} has fewer than {n} ax{'i' if n == 1 else 'e'}s")


@composite(np.hsplit, cases=[([(4,)], {"indices_or_sections": 2}), ([(2, 3)], {"indices_or_sections": [1]})])
def hsplit(ary: Any, indices_or_sections: Any) -> list[Tensor]:
    """The array cut along axis 1, a vector along its only axis, as by `split`.

    >>> import minigrad as mg
    >>> mg.hsplit([[1.0, 2.0]], 2)
    [tensor([[1.]]), tensor([[2.]])]
    """
    _has_axes("hsplit", ary, 1)
    return split(ary, indices_or_sections, 1 if np.ndim(ary) > 1 else 0)


@composite(np.vsplit, cases=[([(4, 2)], {"indices_or_sections": 2})])
def vsplit(ary: Any, indices_or_sections: Any) -> list[Tensor]:
    """The array cut along axis 0, as by `split`.

    >>> import minigrad as mg
    >>> mg.vsplit([[1.0], [2.0]], 2)
    [tensor([[1.]]), tensor([[2.]])]
    """
    _has_axes("vsplit", ary, 2)
    return split(ary, indices_or_sections, 0)


@composite(np.dsplit, cases=[([(1, 2, 4)], {"indices_or_sections": [1, 3]})])
def dsplit(ary: Any, indices_or_sections: Any) -> list[Tensor]:
    """The array cut along axis 2, as by `split`.

    >>> import minigrad as mg
    >>> [part.shape for part in mg.dsplit(mg.ones((2, 3, 4)), 2)]
    [(2, 3, 2), (2, 3, 2)]
    """
    _has_axes("dsplit", ary, 3)
    return split(ary, indices_or_sections, 2)


@composite(np.unstack, cases=[([(2, 3)], {}), ([(2, 3)], {"axis": -1})])
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The arrays that an array consists of along an axis: what `stack` joins.

    >>> import minigrad as mg
    >>> mg.unstack([[1.0, 2.0], [3.0, 4.0]])
    (tensor([1., 2.]), tensor([3., 4.]))
    """
    x = as_tensor(x)
    axis = normalize_axis_index(axis, x.ndim, "unstack")
    return tuple(x[along(axis, i)] for i in range(x.shape[axis]))


@composite(np.ediff1d, cases=[([(4,)], {}), ([(2, 2), (2,), ()], {}), ([(1,)], {})])
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Tensor:
    """The differences of neighbours in the flattened array, with other elements put before and after them.

    >>> import minigrad as mg
    >>> mg.ediff1d([1.0, 4.0, 9.0], to_begin=0.0)
    tensor([0., 3., 5.])
    """
    flat = ravel(ary)
    between = flat[1:] - flat[:-1]
    if to_end is None and to_begin is None:
        return between
    parts = [fitting("ediff1d", p, flat) for p in (to_begin, between, to_end) if p is not None]
    return concatenate(parts, None)


# ---- making shapes fit ---------------------------------------------------------------------------------------------


def _each_or_one(make: Callable[[Tensor], Tensor], arrays: tuple) -> Any:
    made = tuple(make(as_tensor(a)) for a in arrays)
    return made[0] if len(made) == 1 else made


@composite(np.atleast_1d, cases=[([()], {}), ([(2,), ()], {})])
def atleast_1d(*arys: Any) -> Any:
    """The array, and a number as a vector; of several a tuple.

    >>> import minigrad as mg
    >>> mg.atleast_1d(1.0)
    tensor([1.])
    """
    return _each_or_one(lambda a: a if a.ndim else reshape(a, (1,)), arys)


@composite(np.atleast_2d, cases=[([()], {}), ([(2,), (1, 2)], {})])
def atleast_2d(*arys: Any) -> Any:
    """The array, and a vector (n,) as a row (1, n); of several a tuple.

    >>> import minigrad as mg
    >>> mg.atleast_2d([1.0, 2.0]).shape
    (1, 2)
    """
    return _each_or_one(lambda a: a if a.ndim > 1 else reshape(a, (1, -1) if a.size else (1, 0)), arys)


@composite(np.atleast_3d, cases=[([()], {}), ([(2,), (3, 2)], {})])
def atleast_3d(*arys: Any) -> Any:
    """The array, a vector (n,) as (1, n, 1) and a matrix (m, n) as (m, n, 1); of several a tuple.

    >>> import minigrad as mg
    >>> mg.atleast_3d([1.0, 2.0]).shape
    (1, 2, 1)
    """
    return _each_or_one(lambda a: a if a.ndim > 2 else expand_dims(atleast_2d(a), 2), arys)


@composite(np.broadcast_arrays, cases=[([(2, 1), (3,)], {}), ([(2,)], {})])
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Tensor, ...]:
    """The arrays repeated to the shape that they broadcast to together; `subok` is NumPy's, and makes no difference.

    >>> import minigrad as mg
    >>> [a.shape for a in mg.broadcast_arrays(mg.ones((2, 1)), mg.ones(3))]
    [(2, 3), (2, 3)]
    """
    arrays = [as_tensor(a) for a in args]
    try:
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
    except ValueError:
        shapes = ", ".join(str(a.shape) for a in arrays)
        raise ValueError(f"broadcast_arrays: arrays of shapes {shapes} do not broadcast together") from None
    return tuple(a if a.shape == shape else broadcast_to(a, shape) for a in arrays)


@composite(np.meshgrid, cases=[([(2,), (3,)], {}), ([(2,), (3,), ()], {"indexing": "ij", "sparse": True})])
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Tensor, ...]:
    """The coordinates of a grid's points, an array for each axis of the grid, from the coordinates along the axes.

    With `indexing` "xy" the first two axes of the results are exchanged, as for pictures; "ij" keeps the order. With
    `sparse` the results have length one along the other axes. `copy` is NumPy's, and makes no difference.

    >>> import minigrad as mg
    >>> mg.meshgrid([1.0, 2.0], [3.0, 4.0])[0]
    tensor([[1., 2.],
            [1., 2.]])
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f'meshgrid: indexing={indexing!r} is neither "xy" nor "ij"')
    n = len(xi)
    axes = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else range(n)
    grid = tuple(reshape(x, [np.size(x) if j == i else 1 for j in range(n)]) for i, x in zip(axes, xi, strict=True))
    return grid if sparse or not grid else broadcast_arrays(*grid)
