"""Functions of each element, and the methods of ufuncs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .array import FUNCTIONS, UFUNC_METHODS, BatchedArray, Level, innermost
from .asking import SHARED, NotBatched
from .levels import ndim_of, shifted, spread, wrapped


def aligned(level: Level, inputs: Any) -> list[Any]:
    """The arrays behind elementwise inputs, made to broadcast together."""
    ndims = [ndim_of(x) for x in inputs]
    ndim = max(ndims)
    return [
        x if type(x) is not BatchedArray or x.level is not level else x.array if n == ndim else spread(x, level, ndim)
        for x, n in zip(inputs, ndims, strict=True)
    ]


def elementwise(function: Callable, level: Level, inputs: tuple, params: dict[str, Any]) -> Any:
    """A function of each element: NumPy broadcasts, once as many axes follow the hidden one everywhere."""
    if not params:
        return wrapped(function(*aligned(level, inputs)), level)
    out, *others = params.pop("out", (None,))
    where = (params.pop("where"),) if "where" in params else ()
    arrays = aligned(level, (*inputs, *where, *(() if out is None else (out,))))
    if where:
        params["where"] = arrays[len(inputs)]
    if out is None:
        return wrapped(function(*arrays[: len(inputs)], **params), level)
    if type(out) is not BatchedArray or out.level is not level or others:
        raise NotBatched(SHARED)
    function(*arrays[: len(inputs)], out=arrays[-1], **params)
    return out


def _operator(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    """The mixin's operator, with a shorter way for the usual operands."""

    def operator(self: BatchedArray, other: Any) -> Any:
        if type(other) is BatchedArray and other.level is self.level and other.ndim == self.ndim:
            return BatchedArray(ufunc(self.array, other.array), self.level)
        return ufunc(self, other)

    return operator


def _in_place(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    def operator(self: BatchedArray, other: Any) -> Any:
        fits = innermost((self, other)) is self.level
        return ufunc(self, other, out=(self,)) if fits else ufunc(self, other)

    return operator


for _name, _ufunc in {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide}.items():
    setattr(BatchedArray, f"__{_name}__", _operator(_ufunc))
    setattr(BatchedArray, f"__i{_name}__", _in_place(_ufunc))


def _reduce(ufunc: np.ufunc, level: Level, inputs: tuple, params: dict[str, Any]) -> Any:
    if params.keys() - {"axis", "keepdims", "initial", "dtype"} or type(params.get("initial")) is BatchedArray:
        return NotImplemented
    (x,), axis = inputs, params.get("axis", 0)
    if axis is None:
        axis = tuple(range(1, x.ndim + 1))
    elif x.ndim == 0 and axis in (0, -1):  # which ufuncs allow
        axis = ()
    else:
        axis = shifted(axis, x.ndim)
    return BatchedArray(ufunc.reduce(x.array, **params | {"axis": axis}), level)


def _accumulate(ufunc: np.ufunc, level: Level, inputs: tuple, params: dict[str, Any]) -> Any:
    if params.keys() - {"axis"}:
        return NotImplemented
    (x,) = inputs
    return BatchedArray(ufunc.accumulate(x.array, shifted(params.get("axis", 0), x.ndim)), level)


def _outer(ufunc: np.ufunc, level: Level, inputs: tuple, params: dict[str, Any]) -> Any:
    a, b = inputs
    return ufunc(np.reshape(a, (*np.shape(a), *(1,) * ndim_of(b))), b, **params)


def _where(level: Level, condition: Any, *branches: Any) -> Any:
    return elementwise(np.where, level, (condition, *branches), {}) if len(branches) == 2 else NotImplemented


def _clip(level: Level, x: Any, a_min: Any = None, a_max: Any = None, **params: Any) -> Any:
    if params.keys() - {"min", "max"}:
        return NotImplemented
    low, high = params.get("min", a_min), params.get("max", a_max)
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _each(function: Callable) -> Callable:
    """A function of each element of one array."""

    def each(level: Level, x: Any, *args: Any, **params: Any) -> Any:
        if innermost((args, params)) is not None:
            return NotImplemented
        return wrapped(function(x.array, *args, **params), level)

    return each


UFUNC_METHODS |= {"__call__": elementwise, "reduce": _reduce, "accumulate": _accumulate, "outer": _outer}
FUNCTIONS |= {np.where: _where, np.clip: _clip}
FUNCTIONS |= {f: _each(f) for f in (np.round, np.nan_to_num, np.sinc, np.real, np.i0, np.fix, np.isneginf)}
