"""Arrays of several levels: from one to another, and between an array and the one behind it, with the hidden axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from .array import BatchedArray, Level, innermost, innermost_array, sample, stacked
from .standin import StandIn


def is_batched(x: Any, level: Level) -> bool:
    """Whether x has a value for each sample of this level."""
    while type(x) is BatchedArray:
        if x.level is level:
            return True
        x = x.array
    return False


def visible(x: Any) -> bool:
    """Whether there are values to look at: in a function that is compiled, there are none before it runs."""
    return not isinstance(innermost_array(x), StandIn)


def hide(x: Any, level: Level) -> BatchedArray:
    """An array with its first axis hidden at a level. An array of a level further in stays outermost."""
    if type(x) is BatchedArray and x.level.number > level.number:
        return BatchedArray(hide(np.swapaxes(x.array, 0, 1), level), x.level)
    return BatchedArray(x, level)


def show(x: Any, level: Level) -> Any:
    """An array with the axis that is hidden at a level in front; what is the same for all samples is repeated."""
    if type(x) is BatchedArray:
        if x.level is level:
            return x.array
        if x.level.number > level.number:
            return BatchedArray(np.swapaxes(show(x.array, level), 0, 1), x.level)
    return np.broadcast_to(x, (level.size, *np.shape(x)))


def lifted(x: Any, level: Level) -> BatchedArray:
    """x as an array of this level, which is that of x or one further in."""
    return x if type(x) is BatchedArray and x.level is level else BatchedArray(show(x, level), level)


def computed(forward: Callable, inputs: Any, params: dict[str, Any]) -> Any:
    """What a card's forward function gives for inputs that it has failed on: for all samples alike, or one by one."""
    level = innermost((inputs, params))
    assert level is not None
    if any(isinstance(x, np.ndarray) or (type(x) is BatchedArray and x.level is not level) for x in inputs):
        alike = [lifted(x, level) if isinstance(x, np.ndarray | BatchedArray) else x for x in inputs]
        try:
            return forward(*alike, **params)
        except Exception:  # whatever it was: the function was not made for this
            pass
    ys = []
    for i in range(max(level.size, 1)):
        one, its = sample(inputs, i, level), sample(params, i, level)
        try:
            ys.append(forward(*one, **its))
        except Exception:
            if innermost((one, its)) is None:
                raise
            ys.append(computed(forward, one, its))
    return stacked(forward, ys, level)


def ndim_of(x: Any) -> int:
    return x.ndim if type(x) is BatchedArray or type(x) is np.ndarray else 0 if type(x) in (float, int) else np.ndim(x)


def spread(x: Any, level: Level, ndim: int) -> Any:
    """The array behind x, with axes of length one filled in so that `ndim` axes follow the hidden one."""
    if type(x) is not BatchedArray or x.level is not level:
        return x
    missing = ndim - len(x.shape)
    return x.array if missing <= 0 else x.array[(slice(None),) + (None,) * missing]


def wrapped(y: Any, level: Level) -> Any:
    """What a function returned for all samples at once, as batched arrays."""
    if isinstance(y, tuple):
        parts = [BatchedArray(part, level) for part in y]
        return type(y)(*parts) if hasattr(y, "_fields") else tuple(parts)
    return BatchedArray(y, level)


def shifted(axis: Any, ndim: int) -> Any:
    """An axis, or several, of one sample, counted in the array behind it."""
    if isinstance(axis, int | np.integer):
        return normalize_axis_index(int(axis), ndim) + 1
    return tuple(i + 1 for i in normalize_axis_tuple(axis, ndim))


def as_shape(shape: Any) -> tuple[int, ...]:
    return (int(shape),) if isinstance(shape, int | np.integer) else tuple(shape)
