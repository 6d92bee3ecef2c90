"""Arrays that hide an axis, the levels they belong to, and how they answer NumPy's calls."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .asking import NotBatched, Uneven, asks_in_the_library
from .standin import StandIn, beneath

# What is computed for all samples at once, by handlers in the other files of this package, which fill these tables.
FUNCTIONS: dict[Any, Callable] = {}  # of NumPy, and those of `operator` that index: handler(level, *args, **params)
UFUNC_METHODS: dict[str, Callable] = {}  # "__call__", "reduce" and so on: handler(ufunc, level, inputs, params)

METHODS: dict[str, Callable] = {f.__name__: f for f in (
    np.sum, np.mean, np.prod, np.max, np.min, np.any, np.all, np.var, np.std, np.argmax, np.argmin, np.argsort,
    np.cumsum, np.cumprod, np.ravel, np.squeeze, np.swapaxes, np.clip, np.dot, np.repeat, np.take, np.round,
    np.trace, np.diagonal, np.nonzero, np.searchsorted,
)}  # fmt: skip
NUMBERS = {np.ndarray, float, int, np.float64, np.float32}

_number = itertools.count(1).__next__


class Level:
    """One call of vmap: how many samples there are. Levels made later are further in, and their arrays outermost."""

    __slots__ = ("number", "size")

    def __init__(self, size: int) -> None:
        self.number, self.size = _number(), size

    def __repr__(self) -> str:
        return f"{self.size} samples"


class BatchedArray(StandIn):
    """One array for each sample of a level: `array` has the samples along its first axis, and `shape` leaves it out."""

    __slots__ = ("array", "level", "ndim", "shape")

    def __init__(self, array: Any, level: Level) -> None:
        self.array, self.level = array, level
        self.shape = shape = array.shape[1:]
        self.ndim = len(shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def itemsize(self) -> int:
        return self.array.itemsize

    @property
    def flags(self) -> Any:
        return self.array.flags

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    @property
    def T(self) -> BatchedArray:
        return self.transpose()

    # ---- NumPy's protocols -----------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **params: Any) -> Any:
        level = self.level
        for x in inputs:
            kind = type(x)
            if kind is BatchedArray:
                level = level if level.number >= x.level.number else x.level
            elif kind not in NUMBERS and not isinstance(x, np.ndarray | StandIn) and hasattr(kind, "__array_ufunc__"):
                return NotImplemented  # and NumPy asks the tensor, which records what is done
        if params or method == "at":
            level = innermost((level, inputs, params))  # type: ignore[assignment]
        done: Any = NotImplemented
        if ufunc.signature is None:
            if method in UFUNC_METHODS:
                done = UFUNC_METHODS[method](ufunc, level, inputs, params)
        elif method == "__call__" and ufunc in FUNCTIONS:
            done = FUNCTIONS[ufunc](level, *inputs, **params)
        return each_sample(getattr(ufunc, method), inputs, params) if done is NotImplemented else done

    def __array_function__(self, function: Callable, types: Any, args: Any, params: Any) -> Any:
        for kind in types:
            if not issubclass(kind, np.ndarray | StandIn):
                return NotImplemented
        handler = FUNCTIONS.get(function)
        if handler is not None:
            done = handler(innermost((args, params) if params else args), *args, **params)
            if done is not NotImplemented:
                return done
        return each_sample(function, args, params)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise NotBatched(
            "the values of one array are asked for here, and inside vmap there is one for each sample: use mg's or "
            "NumPy's functions on what vmap passes in, rather than np.asarray or code that is not NumPy's"
        )

    # ---- elements --------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> BatchedArray:
        return FUNCTIONS[operator.getitem](innermost((self, key)), self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        FUNCTIONS[operator.setitem](innermost((self, key, value)), self, key, value)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[BatchedArray]:
        return (self[i] for i in range(len(self)))

    # ---- what asks for the value of one sample ---------------------------------------------------------------

    def __bool__(self) -> bool:
        if asks_in_the_library():  # which checks its arguments, mostly, and all samples pass
            values = innermost_array(self)
            if values.all() or not values.any():
                return bool(values.all())
        raise NotBatched(
            "an `if` (or `and`, `or`, `not`, `while`) needs one truth value, and inside vmap there is one for each "
            "sample: choose by mg.where(condition, a, b), and combine conditions by & and |"
        )

    def _value(self, what: str, kind: type = NotBatched) -> Any:
        raise kind(
            f"{what} needs one number, and inside vmap there is one for each sample: use mg's or NumPy's functions, "
            "such as mg.sin for math.sin, and mg.where(condition, a, b) to choose"
        )

    def __float__(self) -> float:
        return self._value("float()")

    def __int__(self) -> int:
        return self._value("int()")

    def __index__(self) -> int:
        return self._value("an index", Uneven)

    def item(self) -> Any:
        return self._value("item()")

    def tolist(self) -> Any:
        return self._value("tolist()")

    def __repr__(self) -> str:
        return f"<{self.level}, each an array {self.shape} of {self.dtype}>"

    def __format__(self, spec: str) -> str:
        return repr(self)

    # ---- methods ---------------------------------------------------------------------------------------------

    def beneath(self, function: Callable) -> Any:
        return BatchedArray(beneath(function, self.array), self.level)

    def reshape(self, *shape: Any, order: str = "C") -> BatchedArray:
        return FUNCTIONS[np.reshape](self.level, self, shape[0] if len(shape) == 1 else shape, order)

    def transpose(self, *axes: Any) -> BatchedArray:
        return FUNCTIONS[np.transpose](self.level, self, (axes[0] if len(axes) == 1 else axes) or None)

    def astype(self, dtype: Any, *args: Any, **params: Any) -> BatchedArray:
        return BatchedArray(self.array.astype(dtype, *args, **params), self.level)

    def copy(self) -> BatchedArray:
        return BatchedArray(self.array.copy(), self.level)

    def view(self, dtype: Any = None) -> BatchedArray:
        return BatchedArray(self.array.view() if dtype is None else self.array.view(dtype), self.level)

    def flatten(self) -> BatchedArray:
        return self.reshape(-1).copy()

    def fill(self, value: Any) -> None:
        self[...] = value

    def __getattr__(self, name: str) -> Any:
        """A method that NumPy has as a function, too; and the reading of cards, where the samples are symbols."""
        if name in METHODS:
            function = METHODS[name]
            return lambda *args, **params: function(self, *args, **params)
        if name == "read_card" and hasattr(self.array, "read_card"):
            return lambda card, inputs, params: each_sample(card.forward, inputs, params)
        raise AttributeError(f"inside vmap, arrays have no attribute {name!r}")


# ---- nests of arrays, and one sample after the other -----------------------------------------------------------------


def innermost(nest: Any) -> Level | None:
    """The level of the batched arrays in a nest that was made last, or None where there are none."""
    if type(nest) is BatchedArray:
        return nest.level
    if type(nest) is Level:
        return nest
    if type(nest) is dict:
        nest = nest.values()
    elif type(nest) not in (tuple, list):
        return None
    found: Level | None = None
    for x in nest:
        if type(x) is BatchedArray:
            level: Level | None = x.level
        elif type(x) in (tuple, list, dict, Level):
            level = innermost(x)
        else:
            continue
        if level is not None and (found is None or level.number > found.number):
            found = level
    return found


def innermost_array(x: Any) -> Any:
    """The values behind all levels, with their hidden axes in front."""
    while type(x) is BatchedArray:
        x = x.array
    return x


def sample(nest: Any, i: int, level: Level) -> Any:
    """A nest with sample i in place of every batched array of a level."""
    if type(nest) is BatchedArray and nest.level is level:
        return nest.array[i, ...] if level.size else np.zeros_like(nest.array, shape=nest.shape)
    if type(nest) in (tuple, list):
        return type(nest)([sample(x, i, level) for x in nest])
    if type(nest) is dict:
        return {k: sample(x, i, level) for k, x in nest.items()}
    return nest


def each_sample(function: Callable, args: Any, params: dict[str, Any], level: Level | None = None) -> Any:
    """The function of every sample by itself, and the results stacked."""
    level = innermost((args, params)) if level is None else level
    assert level is not None
    ys = [function(*sample(args, i, level), **sample(params, i, level)) for i in range(max(level.size, 1))]
    return stacked(function, ys, level)


def stacked(function: Callable, ys: list[Any], level: Level) -> Any:
    first = ys[0]
    if isinstance(first, tuple | list):
        parts = [stacked(function, list(column), level) for column in zip(*ys, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    if first is None or isinstance(first, str | type | np.dtype):
        return first
    if len({np.shape(y) for y in ys}) > 1:
        name, shapes = getattr(function, "__name__", function), sorted({np.shape(y) for y in ys})
        raise Uneven(
            f"{name} gives arrays of different shapes for different samples, {shapes[0]} and {shapes[-1]}, and vmap "
            "could not stack them: keep every element in its place, by np.where"
        )
    return BatchedArray(np.stack(ys)[: level.size], level)
