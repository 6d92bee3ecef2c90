"""The same elements in other places: reshaped, transposed, joined, repeated, rolled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.lib.stride_tricks import sliding_window_view

from .array import FUNCTIONS, BatchedArray, Level, innermost
from .levels import as_shape, lifted, shifted, spread


def _reshape(level: Level, x: Any, shape: Any, order: str = "C", copy: Any = None) -> Any:
    if order != "C" or copy is not None:
        return NotImplemented
    shape = shape if type(shape) is tuple else as_shape(shape)
    if -1 in shape:  # the hidden axis may be of length 0, and NumPy could not tell
        known = -math.prod(shape)
        if known <= 0 or x.size % known:
            raise ValueError(f"cannot reshape array of size {x.size} into shape {shape}")
        shape = tuple(x.size // known if n == -1 else n for n in shape)
    if math.prod(shape) != x.size:
        raise ValueError(f"cannot reshape array of size {x.size} into shape {shape}")
    return BatchedArray(x.array.reshape((level.size, *shape)), level)


def _transpose(level: Level, x: Any, axes: Any = None) -> Any:
    axes = range(x.ndim)[::-1] if axes is None else normalize_axis_tuple(axes, x.ndim)
    if len(axes) != x.ndim:
        raise ValueError("axes don't match array")
    return BatchedArray(x.array.transpose((0, *[i + 1 for i in axes])), level)


def _moveaxis(level: Level, x: Any, source: Any, destination: Any) -> Any:
    return BatchedArray(np.moveaxis(x.array, shifted(source, x.ndim), shifted(destination, x.ndim)), level)


def _swapaxes(level: Level, x: Any, axis1: int, axis2: int) -> Any:
    return BatchedArray(np.swapaxes(x.array, shifted(axis1, x.ndim), shifted(axis2, x.ndim)), level)


def _expand_dims(level: Level, x: Any, axis: Any) -> Any:
    n = 1 if isinstance(axis, int | np.integer) else len(axis)
    return BatchedArray(np.expand_dims(x.array, shifted(axis, x.ndim + n)), level)


def _squeeze(level: Level, x: Any, axis: Any = None) -> Any:
    axes = tuple(i for i, n in enumerate(x.shape) if n == 1) if axis is None else axis
    return BatchedArray(np.squeeze(x.array, shifted(axes, x.ndim)), level)


def _broadcast_to(level: Level, x: Any, shape: Any, subok: bool = False) -> Any:
    shape = as_shape(shape)
    return BatchedArray(np.broadcast_to(spread(x, level, len(shape)), (level.size, *shape)), level)


def _concatenate(level: Level, arrays: Any, axis: int | None = 0, **params: Any) -> Any:
    if params:
        return NotImplemented
    if axis is None:
        arrays, axis = [np.ravel(x) for x in arrays], 0
    ready = [lifted(x, level) for x in arrays]
    return BatchedArray(np.concatenate([x.array for x in ready], shifted(axis, ready[0].ndim)), level)


def _stack(level: Level, arrays: Any, axis: int = 0, **params: Any) -> Any:
    if params:
        return NotImplemented
    ready = [lifted(x, level) for x in arrays]
    return BatchedArray(np.stack([x.array for x in ready], shifted(axis, ready[0].ndim + 1)), level)


def _repeat(level: Level, x: Any, repeats: Any, axis: int | None = None) -> Any:
    if innermost((repeats,)) is not None:
        return NotImplemented
    x = np.ravel(x) if axis is None else x
    return BatchedArray(np.repeat(x.array, repeats, shifted(0 if axis is None else axis, x.ndim)), level)


def _pad(level: Level, x: Any, pad_width: Any, mode: Any = "constant", **params: Any) -> Any:
    if isinstance(pad_width, dict) or params:
        return NotImplemented
    widths = np.broadcast_to(pad_width, (x.ndim, 2)).tolist()
    return BatchedArray(np.pad(x.array, [(0, 0), *widths], mode), level)


def _roll(level: Level, x: Any, shift: Any, axis: Any = None) -> Any:
    if innermost((shift,)) is not None:
        return NotImplemented
    if axis is None:
        return np.reshape(_roll(level, np.ravel(x), shift, 0), x.shape)
    return BatchedArray(np.roll(x.array, shift, shifted(axis, x.ndim)), level)


def _windows(level: Level, x: Any, window_shape: Any, axis: Any = None, **params: Any) -> Any:
    axis = shifted(tuple(range(x.ndim)) if axis is None else axis, x.ndim)
    return BatchedArray(sliding_window_view(x.array, window_shape, axis, **params), level)


FUNCTIONS |= {
    np.reshape: _reshape, np.ravel: lambda level, x, order="C": _reshape(level, x, -1, order),
    np.transpose: _transpose, np.matrix_transpose: lambda level, x: _swapaxes(level, x, -1, -2),
    np.moveaxis: _moveaxis, np.swapaxes: _swapaxes, np.expand_dims: _expand_dims, np.squeeze: _squeeze,
    np.broadcast_to: _broadcast_to, np.concatenate: _concatenate, np.stack: _stack, np.repeat: _repeat, np.pad: _pad,
    np.roll: _roll, sliding_window_view: _windows,
}  # fmt: skip
