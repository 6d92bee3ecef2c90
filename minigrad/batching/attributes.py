"""What an array is, whatever its elements: its shape, dtype, memory and text; and new arrays like it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .array import FUNCTIONS, BatchedArray, Level, innermost, innermost_array
from .levels import as_shape


def _filled(function: Callable) -> Callable:
    """np.zeros_like and its kin."""

    def filled(level: Level, x: Any, *value: Any, shape: Any = None, **params: Any) -> Any:
        if type(x) is not BatchedArray or x.level is not level or innermost(value) is not None:
            return NotImplemented
        shape = x.shape if shape is None else as_shape(shape)
        return BatchedArray(function(x.array, *value, shape=(level.size, *shape), **params), level)

    return filled


def _share_memory(level: Level, a: Any, b: Any, *args: Any) -> bool:
    return np.may_share_memory(innermost_array(a), innermost_array(b))


def _result_type(level: Level, *args: Any) -> np.dtype:
    return np.result_type(*[x.dtype if type(x) is BatchedArray else x for x in args])


FUNCTIONS |= {
    np.shape: lambda level, x: x.shape, np.ndim: lambda level, x: x.ndim,
    np.size: lambda level, x, axis=None: x.size if axis is None else x.shape[axis],
    np.result_type: _result_type,
    np.iscomplexobj: lambda level, x: np.iscomplexobj(x.array), np.isrealobj: lambda level, x: np.isrealobj(x.array),
    np.may_share_memory: _share_memory, np.shares_memory: _share_memory,
    np.copy: lambda level, x, *args, **params: x.copy(),
}  # fmt: skip
FUNCTIONS |= {f: lambda level, x, *args, **params: repr(x) for f in (np.array_repr, np.array_str, np.array2string)}
FUNCTIONS |= {f: _filled(f) for f in (np.zeros_like, np.ones_like, np.empty_like, np.full_like)}
