"""Arrays that hide an axis, so that code for one sample runs on many: what `mg.vmap` puts into tensors.

A BatchedArray has the shape of one sample and holds all samples, along an axis in front that nobody sees. It answers
NumPy's calls itself: an elementwise function lines the hidden axes up, a reduction reduces the axes behind, `np.matmul`
multiplies stacks. So the forward functions and gradient rules on the cards run on it unchanged, as they do on symbols.
All ufuncs (of the gufuncs matmul and vecdot), indexing, and the functions in the tables at the end are computed for all
samples at once; every other function is called for each sample, and the results are stacked.

Calls of vmap nest, and so do these arrays: each belongs to a `Level`, and inside one of an inner level there may be one
of an outer level. To an operation at one level, arrays of other levels are the same for all samples.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple
from numpy.lib.stride_tricks import sliding_window_view

_here = Path(__file__).parent
_between = {str(_here / file) for file in ("batching.py", "tensor.py")}  # through which everybody asks for values
_number = itertools.count(1).__next__


class Level:
    """One call of vmap: how many samples there are. Levels made later are further in, and their arrays outermost."""

    __slots__ = ("number", "size")

    def __init__(self, size: int) -> None:
        self.number, self.size = _number(), size

    def __repr__(self) -> str:
        return f"{self.size} samples"


class NotBatched(TypeError):
    """The value of one sample was asked for where there are many."""


class Uneven(NotBatched):
    """The results for different samples have different shapes, or lengths that differ are asked for."""


class StandIn(np.lib.mixins.NDArrayOperatorsMixin):
    """What answers NumPy's calls in the place of an array: a batched array, or one of a function that is compiled."""

    __slots__ = ()
    weak = False  # whether it stands for a number of Python's, which leaves arrays their dtype

    if TYPE_CHECKING:  # they have what arrays have

        def __getattr__(self, name: str) -> Any: ...


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
        if method == "__call__":
            if ufunc.signature is None:
                return _elementwise(ufunc, level, inputs, params)
            if ufunc is np.matmul and not params:
                return _matmul(level, *inputs)
            if ufunc is np.vecdot and not params and all(map(_ndim, inputs)):
                return _wrapped(ufunc(*_aligned(level, inputs)), level)
        elif method in UFUNC_METHODS:
            done = UFUNC_METHODS[method](ufunc, level, *inputs, **params)
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
        level = innermost((self, key))
        assert level is not None
        x = lifted(self, level)
        places, order = _places(x.shape, key, level)
        picked = _for_key(x.array, places)[places]
        return BatchedArray(picked if order is None else picked.transpose(_all_axes(order, picked.ndim)), level)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._write(key, value, lambda array, places, values: array.__setitem__(places, values))

    def _write(self, key: Any, value: Any, write: Callable) -> None:
        """Change elements in place, by a function of the array, the places and the values."""
        if innermost((self, key, value)) is not self.level:
            raise NotBatched("values of an inner vmap would be written into an array of an outer one: use np.where")
        places, order = _places(self.shape, key, self.level)
        target = self.array[places]
        values = _spread(value, self.level, target.ndim - 1)
        if order is not None:
            axes = _all_axes(order, target.ndim)
            there = np.broadcast_to(values, tuple(target.shape[i] for i in axes))
            values = there.transpose(np.argsort(axes).tolist())
        write(self.array, places, values)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[BatchedArray]:
        return (self[i] for i in range(len(self)))

    # ---- what asks for the value of one sample ---------------------------------------------------------------

    def __bool__(self) -> bool:
        if _asked_by_the_library():  # which checks its arguments, mostly, and all samples pass
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
        return _reshape(self.level, self, shape[0] if len(shape) == 1 else shape, order)

    def transpose(self, *axes: Any) -> BatchedArray:
        return _transpose(self.level, self, (axes[0] if len(axes) == 1 else axes) or None)

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


NUMBERS = {np.ndarray, float, int, np.float64, np.float32}


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


def _asked_by_the_library() -> bool:
    """Whether the line that asks for a value is in the library's code, and not in the user's."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename in _between:
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(str(_here))


def asked_by_the_library(error: NotBatched) -> bool:
    """Whether it was a line of the library's code that needed the value of one sample."""
    trace, last = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        last, trace = last if file in _between else file, trace.tb_next
    return last.startswith(str(_here)) and not isinstance(error, Uneven)


# ---- levels ---------------------------------------------------------------------------------------------------------


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


def is_batched(x: Any, level: Level) -> bool:
    """Whether x has a value for each sample of this level."""
    while type(x) is BatchedArray:
        if x.level is level:
            return True
        x = x.array
    return False


def innermost_array(x: Any) -> Any:
    """The values behind all levels, with their hidden axes in front."""
    while type(x) is BatchedArray:
        x = x.array
    return x


def as_array(x: Any, dtype: Any = None) -> Any:
    """np.asarray, which leaves what stands in for an array as it is."""
    if not isinstance(x, StandIn):
        return np.asarray(x, dtype)
    return x if dtype is None else x.astype(dtype, copy=False)


def beneath(function: Callable, x: Any) -> Any:
    """function(x), for one that is indifferent to further axes in front, by the values behind all levels."""
    return x.beneath(function) if isinstance(x, StandIn) else function(x)


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
    return _stacked(function, ys, level)


def _stacked(function: Callable, ys: list[Any], level: Level) -> Any:
    first = ys[0]
    if isinstance(first, tuple | list):
        parts = [_stacked(function, list(column), level) for column in zip(*ys, strict=True)]
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
    return _stacked(forward, ys, level)


SHARED = (
    "a value for each sample would be written into an array that all samples share: write `a = a + b` for `a += b`, "
    "and make arrays to write into by np.zeros_like(x) of an x that vmap passes in"
)


# ---- ufuncs ---------------------------------------------------------------------------------------------------------


def _spread(x: Any, level: Level, ndim: int) -> Any:
    """The array behind x, with axes of length one filled in so that `ndim` axes follow the hidden one."""
    if type(x) is not BatchedArray or x.level is not level:
        return x
    missing = ndim - len(x.shape)
    return x.array if missing <= 0 else x.array[(slice(None), *(None,) * missing)]


def _ndim(x: Any) -> int:
    return x.ndim if type(x) is BatchedArray or type(x) is np.ndarray else 0 if type(x) in (float, int) else np.ndim(x)


def _aligned(level: Level, inputs: Any) -> list[Any]:
    """The arrays behind elementwise inputs, made to broadcast together."""
    ndims = [_ndim(x) for x in inputs]
    ndim = max(ndims)
    return [
        x if type(x) is not BatchedArray or x.level is not level else x.array if n == ndim else _spread(x, level, ndim)
        for x, n in zip(inputs, ndims, strict=True)
    ]


def _elementwise(function: Callable, level: Level, inputs: tuple, params: dict[str, Any]) -> Any:
    """A function of each element: NumPy broadcasts, once as many axes follow the hidden one everywhere."""
    if not params:
        return _wrapped(function(*_aligned(level, inputs)), level)
    out, *others = params.pop("out", (None,))
    where = (params.pop("where"),) if "where" in params else ()
    arrays = _aligned(level, (*inputs, *where, *(() if out is None else (out,))))
    if where:
        params["where"] = arrays[len(inputs)]
    if out is None:
        return _wrapped(function(*arrays[: len(inputs)], **params), level)
    if type(out) is not BatchedArray or out.level is not level or others:
        raise NotBatched(SHARED)
    function(*arrays[: len(inputs)], out=arrays[-1], **params)
    return out


def _wrapped(y: Any, level: Level) -> Any:
    """What a function returned for all samples at once, as batched arrays."""
    if isinstance(y, tuple):
        parts = [BatchedArray(part, level) for part in y]
        return type(y)(*parts) if hasattr(y, "_fields") else tuple(parts)
    return BatchedArray(y, level)


def _shifted(axis: Any, ndim: int) -> Any:
    """An axis, or several, of one sample, counted in the array behind it."""
    if isinstance(axis, int | np.integer):
        return normalize_axis_index(int(axis), ndim) + 1
    return tuple(i + 1 for i in normalize_axis_tuple(axis, ndim))


def _reduce(ufunc: np.ufunc, level: Level, x: Any, axis: Any = 0, *args: Any, **params: Any) -> Any:
    if args or params.keys() - {"keepdims", "initial", "dtype"}:
        return NotImplemented
    ndim = x.ndim
    if axis is None:
        axis = tuple(range(1, ndim + 1))
    elif ndim == 0 and axis in (0, -1):  # which ufuncs allow
        axis = ()
    else:
        axis = _shifted(axis, ndim)
    return BatchedArray(ufunc.reduce(x.array, axis=axis, **params), level)


def _accumulate(ufunc: np.ufunc, level: Level, x: Any, axis: int = 0) -> Any:
    return BatchedArray(ufunc.accumulate(x.array, axis=_shifted(axis, x.ndim)), level)


def _ufunc_outer(ufunc: np.ufunc, level: Level, a: Any, b: Any) -> Any:
    return ufunc(np.reshape(a, (*np.shape(a), *(1,) * _ndim(b))), b)


def _at(ufunc: np.ufunc, level: Level, x: Any, key: Any, *values: Any) -> Any:
    if len(values) != 1:
        return NotImplemented
    if type(x) is not BatchedArray:
        raise NotBatched(SHARED)
    x._write(key, values[0], ufunc.at)
    return None


UFUNC_METHODS: dict[str, Callable] = {"reduce": _reduce, "accumulate": _accumulate, "outer": _ufunc_outer, "at": _at}


# ---- indexing -------------------------------------------------------------------------------------------------------


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
    ndim = max(_ndim(parts[i]) for i in index)
    if not any(type(p) is BatchedArray and p.level is level for p in parts):
        # Indices that do not stand together give axes in front, before the hidden one.
        return (slice(None), *whole), None if together else [ndim, *range(ndim)]
    samples = np.arange(level.size).reshape(-1, *(1,) * ndim)
    places = (samples, *[_spread(p, level, ndim) for p in parts])
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


# ---- products -------------------------------------------------------------------------------------------------------


def _matmul(level: Level, a: Any, b: Any) -> Any:
    """The product of stacks; one product in all, where the other factor is the same for all samples."""
    m, n = _ndim(a), _ndim(b)
    if not m or not n:
        raise ValueError("a matrix product needs at least one axis on each side")
    if np.shape(a)[-1] != np.shape(b)[-2 if n > 1 else -1]:
        raise ValueError(f"{np.shape(a)} and {np.shape(b)} do not fit")
    in_a, in_b = (type(x) is BatchedArray and x.level is level for x in (a, b))
    x, y = (x.array if batched else x for x, batched in ((a, in_a), (b, in_b)))
    if m == 1 and n == 1:
        z = _row_by_row(x, y) if in_a and in_b else np.matmul(x, y) if in_a else np.matmul(y, x)
    elif m <= 2 and n <= 2 and not in_b:
        rows = x.reshape((-1, x.shape[-1])) if m == 2 else x
        z = np.matmul(rows, y)
        z = z.reshape((*x.shape[:2], *z.shape[1:])) if m == 2 else z
    elif m == 2 and n == 1 and not in_a:
        z = np.matmul(y, x.T)
    else:
        z = _stacks(a, b, x, y, in_a, in_b, m, n)
    return BatchedArray(z, level)


def _row_by_row(x: Any, y: Any) -> Any:
    return np.add.reduce(x * y, axis=1)


def _stacks(a: Any, b: Any, x: Any, y: Any, in_a: bool, in_b: bool, m: int, n: int) -> Any:
    """The general case: every factor a matrix, with as many axes of stacks before it."""
    x, y = (x[..., None, :] if m == 1 else x), (y[..., None] if n == 1 else y)
    ndim = max(m, n, 2)
    x, y = (
        z[(slice(None), *(None,) * (ndim - max(k, 2)))] if batched else z
        for z, batched, k in ((x, in_a, m), (y, in_b, n))
    )
    if x.shape[-1] == 1 and not x.dtype.hasobject:  # a column by a row: NumPy's matmul would start BLAS for each
        z = np.einsum("...i,...j->...ij", x[..., 0], y[..., 0, :])
    else:
        z = np.matmul(x, y)
    z = z[..., 0] if n == 1 else z
    return z[..., 0, :] if m == 1 and n > 1 else z[..., 0] if m == 1 else z


def _dot(level: Level, a: Any, b: Any) -> Any:
    if not _ndim(a) or not _ndim(b):
        return np.multiply(a, b)
    return _matmul(level, a, b) if _ndim(b) <= 2 else NotImplemented


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


# ---- moving elements ------------------------------------------------------------------------------------------------


def _reshape(level: Level, x: Any, shape: Any, order: str = "C", copy: Any = None) -> Any:
    if order != "C" or copy is not None:
        return NotImplemented
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
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
    return BatchedArray(np.moveaxis(x.array, _shifted(source, x.ndim), _shifted(destination, x.ndim)), level)


def _swapaxes(level: Level, x: Any, axis1: int, axis2: int) -> Any:
    return BatchedArray(np.swapaxes(x.array, _shifted(axis1, x.ndim), _shifted(axis2, x.ndim)), level)


def _expand_dims(level: Level, x: Any, axis: Any) -> Any:
    n = 1 if isinstance(axis, int | np.integer) else len(axis)
    return BatchedArray(np.expand_dims(x.array, _shifted(axis, x.ndim + n)), level)


def _squeeze(level: Level, x: Any, axis: Any = None) -> Any:
    axes = tuple(i for i, n in enumerate(x.shape) if n == 1) if axis is None else axis
    return BatchedArray(np.squeeze(x.array, _shifted(axes, x.ndim)), level)


def _broadcast_to(level: Level, x: Any, shape: Any, subok: bool = False) -> Any:
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    return BatchedArray(np.broadcast_to(_spread(x, level, len(shape)), (level.size, *shape)), level)


def _concatenate(level: Level, arrays: Any, axis: int | None = 0, **params: Any) -> Any:
    if params:
        return NotImplemented
    if axis is None:
        arrays, axis = [np.ravel(x) for x in arrays], 0
    ready = [lifted(x, level) for x in arrays]
    return BatchedArray(np.concatenate([x.array for x in ready], _shifted(axis, ready[0].ndim)), level)


def _stack(level: Level, arrays: Any, axis: int = 0, **params: Any) -> Any:
    if params:
        return NotImplemented
    ready = [lifted(x, level) for x in arrays]
    return BatchedArray(np.stack([x.array for x in ready], _shifted(axis, ready[0].ndim + 1)), level)


def _repeat(level: Level, x: Any, repeats: Any, axis: int | None = None) -> Any:
    if innermost((repeats,)) is not None:
        return NotImplemented
    x = np.ravel(x) if axis is None else x
    return BatchedArray(np.repeat(x.array, repeats, _shifted(0 if axis is None else axis, x.ndim)), level)


def _pad(level: Level, x: Any, pad_width: Any, mode: Any = "constant", **params: Any) -> Any:
    if isinstance(pad_width, dict) or params:
        return NotImplemented
    widths = np.broadcast_to(pad_width, (x.ndim, 2)).tolist()
    return BatchedArray(np.pad(x.array, [(0, 0), *widths], mode), level)


def _take_along_axis(level: Level, x: Any, indices: Any, axis: int | None = -1) -> Any:
    if axis is None:
        x, axis = np.ravel(x), 0
    x, indices = lifted(x, level), lifted(indices, level)
    if x.ndim != indices.ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    return BatchedArray(np.take_along_axis(x.array, indices.array, _shifted(axis, x.ndim)), level)


def _take(level: Level, x: Any, indices: Any, axis: int | None = None) -> Any:
    x, axis = (np.ravel(x), 0) if axis is None else (x, axis)
    indices = indices if isinstance(indices, BatchedArray) else np.asarray(indices)
    return lifted(x, level)[(*(slice(None),) * normalize_axis_index(axis, _ndim(x)), indices)]


def _roll(level: Level, x: Any, shift: Any, axis: Any = None) -> Any:
    if axis is None:
        return np.reshape(_roll(level, np.ravel(x), shift, 0), x.shape)
    return BatchedArray(np.roll(x.array, shift, _shifted(axis, x.ndim)), level)


# ---- functions along axes, of each element, and of matrices ---------------------------------------------------------


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
            axis = _shifted(axis, x.ndim)
        return BatchedArray(function(x.array, axis, *args, **params), level)

    return along


def _partitioned(function: Callable) -> Callable:
    def partitioned(level: Level, x: Any, kth: Any, axis: int | None = -1, **params: Any) -> Any:
        if innermost((kth, params)) is not None:
            return NotImplemented
        x, axis = (np.ravel(x), 0) if axis is None else (x, axis)
        return BatchedArray(function(x.array, kth, _shifted(axis, x.ndim), **params), level)

    return partitioned


def _windows(level: Level, x: Any, window_shape: Any, axis: Any = None, **params: Any) -> Any:
    axis = _shifted(tuple(range(x.ndim)) if axis is None else axis, x.ndim)
    return BatchedArray(sliding_window_view(x.array, window_shape, axis, **params), level)


def _each(function: Callable) -> Callable:
    """A function of each element of one array."""

    def each(level: Level, x: Any, *args: Any, **params: Any) -> Any:
        if innermost((args, params)) is not None:
            return NotImplemented
        return _wrapped(function(x.array, *args, **params), level)

    return each


def _of_matrices(function: Callable) -> Callable:
    """A function of matrices that NumPy maps over stacks of them."""

    def of_matrices(level: Level, x: Any, *args: Any, **params: Any) -> Any:
        if x.ndim < 2 or innermost((args, params)) is not None:
            return NotImplemented
        return _wrapped(function(x.array, *args, **params), level)

    return of_matrices


def _solve(level: Level, a: Any, b: Any) -> Any:
    a, b = lifted(a, level), lifted(b, level)
    if a.ndim < 2 or not b.ndim:
        return NotImplemented
    columns = b[:, None] if b.ndim == 1 else b
    ndim = max(a.ndim, columns.ndim)
    x = np.linalg.solve(_spread(a, level, ndim), _spread(columns, level, ndim))
    return BatchedArray(x[..., 0] if b.ndim == 1 else x, level)


def _norm(level: Level, x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if axis is None and (keepdims or (x.ndim > 2 and ord is not None)):
        return NotImplemented
    if axis is None and (ord is None or x.ndim == 1):
        x, axis = np.ravel(x), 0
    axis = _shifted((0, 1) if axis is None else axis, x.ndim)
    return BatchedArray(np.linalg.norm(x.array, ord, axis, keepdims), level)


def _two_axes(function: Callable) -> Callable:
    def of_two_axes(level: Level, x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
        return BatchedArray(function(x.array, offset, _shifted(axis1, x.ndim), _shifted(axis2, x.ndim)), level)

    return of_two_axes


def _diff(level: Level, x: Any, n: int = 1, axis: int = -1, **params: Any) -> Any:
    return NotImplemented if params else BatchedArray(np.diff(x.array, n, _shifted(axis, x.ndim)), level)


def _where(level: Level, condition: Any, *branches: Any) -> Any:
    return _elementwise(np.where, level, (condition, *branches), {}) if len(branches) == 2 else NotImplemented


def _clip(level: Level, x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _filled(function: Callable) -> Callable:
    """np.zeros_like and its kin."""

    def filled(level: Level, x: Any, *value: Any, shape: Any = None, **params: Any) -> Any:
        if type(x) is not BatchedArray or x.level is not level or innermost(value) is not None:
            return NotImplemented
        shape = x.shape if shape is None else (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
        return BatchedArray(function(x.array, *value, shape=(level.size, *shape), **params), level)

    return filled


def _share_memory(level: Level, a: Any, b: Any, *args: Any) -> bool:
    return np.may_share_memory(innermost_array(a), innermost_array(b))


def _result_type(level: Level, *args: Any) -> np.dtype:
    return np.result_type(*[x.dtype if type(x) is BatchedArray else x for x in args])


# What is computed for all samples at once.
FUNCTIONS: dict[Any, Callable] = {
    np.where: _where, np.clip: _clip, np.dot: _dot, np.vdot: _vdot, np.outer: _outer, np.einsum: _einsum,
    np.reshape: _reshape, np.ravel: lambda level, x, order="C": _reshape(level, x, -1, order),
    np.transpose: _transpose, np.matrix_transpose: lambda level, x: _swapaxes(level, x, -1, -2),
    np.moveaxis: _moveaxis, np.swapaxes: _swapaxes, np.expand_dims: _expand_dims, np.squeeze: _squeeze,
    np.broadcast_to: _broadcast_to, np.concatenate: _concatenate, np.stack: _stack, np.repeat: _repeat, np.pad: _pad,
    np.take_along_axis: _take_along_axis, np.take: _take, np.roll: _roll, np.diff: _diff, np.linalg.solve: _solve,
    np.linalg.norm: _norm, np.trace: _two_axes(np.trace), np.diagonal: _two_axes(np.diagonal),
    sliding_window_view: _windows,
    np.copy: lambda level, x: x.copy(), np.shape: lambda level, x: x.shape, np.ndim: lambda level, x: x.ndim,
    np.size: lambda level, x, axis=None: x.size if axis is None else x.shape[axis],
    np.may_share_memory: _share_memory, np.shares_memory: _share_memory, np.result_type: _result_type,
    np.iscomplexobj: lambda level, x: np.iscomplexobj(x.array), np.isrealobj: lambda level, x: np.isrealobj(x.array),
    np.array_repr: lambda level, x, *args: repr(x), np.array_str: lambda level, x, *args: repr(x),
    np.array2string: lambda level, x, *args, **params: repr(x),
}  # fmt: skip
FUNCTIONS |= {f: _along(f, several=True) for f in (
    np.sum, np.mean, np.prod, np.max, np.min, np.any, np.all, np.var, np.std, np.nansum, np.nanmean, np.nanmax,
    np.nanmin, np.median, np.count_nonzero, np.flip,
)}  # fmt: skip
FUNCTIONS |= {f: _along(f) for f in (np.argmax, np.argmin, np.cumsum, np.cumprod)}
FUNCTIONS |= {f: _along(f, -1) for f in (np.sort, np.argsort)}
FUNCTIONS |= {f: _each(f) for f in (np.round, np.nan_to_num, np.sinc, np.real, np.i0, np.fix, np.isneginf)}
FUNCTIONS |= {f: _of_matrices(f) for f in (
    np.tril, np.triu, np.linalg.inv, np.linalg.det, np.linalg.slogdet, np.linalg.cholesky, np.linalg.eigh,
    np.linalg.eigvalsh, np.linalg.svd, np.linalg.pinv, np.linalg.qr, np.linalg.matrix_power,
)}  # fmt: skip
FUNCTIONS |= {f: _partitioned(f) for f in (np.partition, np.argpartition)}
FUNCTIONS |= {f: _filled(f) for f in (np.zeros_like, np.ones_like, np.empty_like, np.full_like)}

METHODS: dict[str, Callable] = {f.__name__: f for f in (
    np.sum, np.mean, np.prod, np.max, np.min, np.any, np.all, np.var, np.std, np.argmax, np.argmin, np.argsort,
    np.cumsum, np.cumprod, np.ravel, np.squeeze, np.swapaxes, np.clip, np.dot, np.repeat, np.take, np.round,
    np.trace, np.diagonal, np.nonzero, np.searchsorted,
)}  # fmt: skip
