"""Functions along axes: sums and extrema, running ones, sorting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .array import FUNCTIONS, BatchedArray, Level, innermost
from .levels import shifted


def _along(function: Callable, default: Any = None, several: bool = False) -> Callable:
    """A function with the axis in second place; `several` says that it takes more than one."""

    def along(level: Level, x: Any, axis: Any = default, *args: Any, **params: Any) -> Any:
        alone = type(x) is BatchedArray and x.level is level and innermost((args, params)) is None
        if not alone or "out" in params:
            return NotImplemented
        if axis is None and several:
            axis = tuple(range(1, x.ndim + 1))
        elif axis is None:
            if params.get("keepdims"):
                return NotImplemented
            x, axis = np.ravel(x), 1
        else:
            axis = shifted(axis, x.ndim)
        return BatchedArray(function(x.array, axis, *args, **params), level)

    return along


def _partitioned(function: Callable) -> Callable:
    def partitioned(level: Level, x: Any, kth: Any, axis: int | None = -1, **params: Any) -> Any:
        if innermost((kth, params)) is not None:
            return NotImplemented
        x, axis = (np.ravel(x), 0) if axis is None else (x, axis)
        return BatchedArray(function(x.array, kth, shifted(axis, x.ndim), **params), level)

    return partitioned


def _diff(level: Level, x: Any, n: int = 1, axis: int = -1, **params: Any) -> Any:
    return NotImplemented if params else BatchedArray(np.diff(x.array, n, shifted(axis, x.ndim)), level)


FUNCTIONS |= {f: _along(f, several=True) for f in (
    np.sum, np.mean, np.prod, np.max, np.min, np.any, np.all, np.var, np.std, np.nansum, np.nanmean, np.nanmax,
    np.nanmin, np.median, np.count_nonzero, np.flip,
)}  # fmt: skip
FUNCTIONS |= {f: _along(f) for f in (np.argmax, np.argmin, np.cumsum, np.cumprod)}
FUNCTIONS |= {f: _along(f, -1) for f in (np.sort, np.argsort)}
FUNCTIONS |= {f: _partitioned(f) for f in (np.partition, np.argpartition)}
FUNCTIONS[np.diff] = _diff
