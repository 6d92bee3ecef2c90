"""Elements that are picked, and written to: by keys, by masks, by indices along an axis."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from .array import FUNCTIONS, UFUNC_METHODS, BatchedArray, Level, innermost
from .asking import SHARED, NotBatched, Uneven
from .levels import lifted, ndim_of, shifted, spread


def _getitem(level: Level, x: BatchedArray, key: Any) -> BatchedArray:
    x = lifted(x, level)
    places, order = _places(x.shape, key, level)
    picked = _for_key(x.array, places)[places]
    return BatchedArray(picked if order is None else picked.transpose(_all_axes(order, picked.ndim)), level)


def _setitem(level: Level, x: BatchedArray, key: Any, value: Any) -> None:
    _write(level, x, key, value, operator.setitem)


def _at(ufunc: np.ufunc, level: Level, inputs: tuple, params: dict[str, Any]) -> Any:
    if len(inputs) != 3:
        return NotImplemented
    if type(inputs[0]) is not BatchedArray:
        raise NotBatched(SHARED)
    _write(level, *inputs, ufunc.at)
    return None


def _write(level: Level, x: BatchedArray, key: Any, value: Any, write: Callable) -> None:
    """Change elements in place, by a function of the array, the places and the values."""
    if level is not x.level:
        raise NotBatched("values of an inner vmap would be written into an array of an outer one: use np.where")
    places, order = _places(x.shape, key, level)
    target = x.array[places]
    values = spread(value, level, target.ndim - 1)
    if order is not None:
        axes = _all_axes(order, target.ndim)
        there = np.broadcast_to(values, tuple(target.shape[i] for i in axes))
        values = there.transpose(np.argsort(axes).tolist())
    write(x.array, places, values)


def _places(shape: tuple[int, ...], key: Any, level: Level) -> tuple[tuple, list[int] | None]:
    """The key for the array behind one of this shape, and the order to put the axes of what it picks in, if any."""
    parts: list[Any] = []
    for part in key if type(key) is tuple else (key,):
        part = np.asarray(part) if isinstance(part, list) else part
        if isinstance(part, bool) or (_is_mask(part) and part.ndim == 0):
            raise NotBatched("indexing by one truth value has no reading inside vmap: use np.where")
        parts += _chosen(part, level) if _is_mask(part) else [part]
    arrays = [i for i, p in enumerate(parts) if isinstance(p, BatchedArray | np.ndarray)]
    if not arrays:
        return (slice(None), *parts), None
    index = _indices(parts)
    together = index == list(range(index[0], index[-1] + 1))  # for NumPy, "..." stands between even as no axis
    whole = parts
    for i in [i for i, p in enumerate(parts) if p is Ellipsis]:
        missing = len(shape) - sum(p is not None and p is not Ellipsis for p in parts)
        parts = [*parts[:i], *[slice(None)] * missing, *parts[i + 1 :]]
    index = _indices(parts)
    ndim = max(ndim_of(parts[i]) for i in index)
    if not any(type(p) is BatchedArray and p.level is level for p in parts):
        # Indices that do not stand together give axes in front, before the hidden one.
        return (slice(None), *whole), None if together else [ndim, *range(ndim)]
    samples = np.arange(level.size).reshape(-1, *(1,) * ndim)
    places = (samples, *[spread(p, level, ndim) for p in parts])
    before = index[0] if together else 0
    order = [0, *range(1 + ndim, 1 + ndim + before), *range(1, 1 + ndim)]
    return places, order if before else None


def _indices(parts: list[Any]) -> list[int]:
    """Where in a key the arrays are, among which NumPy counts integers."""
    return [i for i, p in enumerate(parts) if p is not None and p is not Ellipsis and not isinstance(p, slice)]


def _is_mask(x: Any) -> bool:
    return hasattr(x, "dtype") and x.dtype.kind == "b"


def _all_axes(order: list[int], ndim: int) -> list[int]:
    """An order of the first axes, and the others as they are."""
    return [*order, *range(len(order), ndim)]


def _chosen(mask: Any, level: Level) -> list[Any]:
    """The places where a mask holds, which must be as many for each sample."""
    if type(mask) is not BatchedArray or mask.level is not level:
        return list(np.nonzero(mask))
    counts = {int(n) for n in np.count_nonzero(mask.array.reshape(level.size, -1), axis=1)}
    if len(counts) > 1:
        raise Uneven(
            f"x[mask] picks {min(counts)} elements of one sample and {max(counts)} of another, and vmap could not "
            "stack them: keep every element in its place, by mg.where(mask, x, 0)"
        )
    n = counts.pop() if counts else 0
    return [BatchedArray(i.reshape(level.size, n), level) for i in np.nonzero(mask.array)[1:]]


def _for_key(array: Any, places: tuple) -> Any:
    """The array, as one that can be indexed by what is among the places."""
    level = innermost(places)
    return array if level is None or type(array) is BatchedArray else lifted(array, level)


def _take(level: Level, x: Any, indices: Any, axis: int | None = None, **params: Any) -> Any:
    if params:
        return NotImplemented
    x, axis = (np.ravel(x), 0) if axis is None else (x, axis)
    indices = indices if isinstance(indices, BatchedArray) else np.asarray(indices)
    return lifted(x, level)[(slice(None),) * normalize_axis_index(axis, ndim_of(x)) + (indices,)]


def _take_along_axis(level: Level, x: Any, indices: Any, axis: int | None = -1) -> Any:
    if axis is None:
        x, axis = np.ravel(x), 0
    x, indices = lifted(x, level), lifted(indices, level)
    if x.ndim != indices.ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    return BatchedArray(np.take_along_axis(x.array, indices.array, shifted(axis, x.ndim)), level)


FUNCTIONS |= {
    operator.getitem: _getitem, operator.setitem: _setitem, np.take: _take, np.take_along_axis: _take_along_axis,
}  # fmt: skip
UFUNC_METHODS["at"] = _at
