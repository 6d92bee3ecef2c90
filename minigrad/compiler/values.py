"""Values: what a node of a trace computes, as the source of any one of its elements.

Views (transposes, slices, broadcasts) and elementwise results are expressions of other values' elements and need no
memory of their own. What a product reads, what a sum makes, and what is dear and read several times gets a buffer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .indices import Index, Place, broadcast, contiguous, flat, picked, unravel

# Types of Numba's, under the names that generated code has for them.
TYPES = {
    "float32": "f4", "float64": "f8", "int64": "i8", "int32": "i4", "int16": "i2", "int8": "i1",
    "uint64": "u8", "uint32": "u4", "uint16": "u2", "uint8": "u1", "bool": "b1",
}  # fmt: skip


class NoNative(TypeError):
    """Something that has no native form."""


class Buffer:
    """Memory for an array. A local one is a variable of the loop that it is computed and read in, and of no other."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, name: str, swapped: bool = False) -> None:
        self.shape, self.dtype, self.name = shape, np.dtype(dtype), name
        self.strides = contiguous(shape)
        if swapped:  # the last two axes the other way round in memory
            *rest, m, n = contiguous((*shape[:-2], shape[-1], shape[-2]))
            self.strides = (*rest, n, m)
        self.local = False
        self.overwritten = False  # by another buffer of the same name, in whose computation it is read last

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def in_rows(self) -> bool:
        return self.strides == contiguous(self.shape)

    def element(self, index: Index) -> str:
        """The source of an element, to be written to."""
        place = flat(index, self.strides)
        note(self, index, place)
        return f"{self.name}[{place}]" if not self.local else local(self.name, place)

    def read(self, index: Index) -> str:
        """The source of an element, to be read. (Memory holds a byte for a truth value.)"""
        element = self.element(index)
        return f"({element} != 0)" if self.dtype == bool and not self.local else element

    def assign(self, index: Index, x: str) -> str:
        """The statement that writes an element."""
        return f"{self.element(index)} = " + (f"u1({x})" if self.dtype == bool and not self.local else x)


def local(name: str, place: Place) -> str:
    """The variable that stands for an element: one for each of the rows that are worked on at once."""
    return f"{name}_{place.constant}"


class Read:
    """An access to a buffer's element; or, with no buffer, an index that the source itself uses."""

    __slots__ = ("buffer", "index", "place")

    def __init__(self, buffer: Buffer | None, index: Index, place: Place) -> None:
        self.buffer, self.index, self.place = buffer, index, place


watchers: list[list[Read]] = []


def note(buffer: Buffer | None, index: Index, place: Place) -> None:
    if watchers:
        watchers[-1].append(Read(buffer, list(index), place))


@contextmanager
def watching() -> Iterator[list[Read]]:
    """Inside, every element of a buffer that is written into source is noted."""
    watchers.append([])
    try:
        yield watchers[-1]
    finally:
        watchers.pop()


numbers = itertools.count()


class Value:
    """What a node computes. `inputs` are the values that it reads; `at` gives the source of one element."""

    buffer: Buffer | None = None
    needs_buffer = False  # whether it cannot be an expression
    copied: Value | None = None  # the copy that is an output of the program in its place
    line = ""

    def __init__(self, shape: Sequence[int], dtype: Any, inputs: Sequence[Value], what: str = "") -> None:
        self.shape, self.dtype, self.inputs, self.what = tuple(shape), np.dtype(dtype), list(inputs), what
        self.readers: list[Value] = []
        self.number: float = next(numbers)  # values of a trace are made in its order
        self.names: list[str] = []  # of the nodes that it computes

    @property
    def home(self) -> Buffer:
        """The buffer, of a value that has one."""
        assert self.buffer is not None, self
        return self.buffer

    def at(self, index: Index) -> str:
        """The element at these indices: that of the buffer, if there is one."""
        return self.buffer.read(index) if self.buffer is not None else self.expression(index)

    def expression(self, index: Index) -> str:
        """The source that computes the element."""
        raise NotImplementedError(self)

    def located(self, index: Index) -> tuple[Buffer, Place] | None:
        """In which memory the element lies, and where; None where it is computed when it is read."""
        return None if self.buffer is None else (self.buffer, flat(index, self.buffer.strides))

    @property
    def domain(self) -> tuple[int, ...]:
        """What its loops go over."""
        return self.shape

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def cost(self) -> int:
        """What computing an element takes beside its inputs: 1 for a sum, more for a division or a function."""
        return 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.what} {self.shape}>"


class Input(Value):
    """An array that the caller gives, or a constant of the trace."""


class Scalar(Value):
    """A number, written into the source."""

    def __init__(self, value: Any, dtype: Any) -> None:
        super().__init__((), dtype, (), "number")
        self.value = value

    def expression(self, index: Index) -> str:
        return literal(self.value, self.dtype)


def literal(value: Any, dtype: np.dtype) -> str:
    """A number of this dtype as source."""
    kind = TYPES[dtype.name]
    if dtype.kind == "b":
        return f"{kind}({bool(value)})"
    if dtype.kind in "iu":
        return f"{kind}({int(value)})"
    x = float(value)
    return f"{kind}({x!r})"  # inf and nan are names of the module that is generated


class Map(Value):
    """An elementwise function of inputs, which broadcast."""

    def __init__(
        self, write: Callable[..., str], inputs: Sequence[Value], shape: Sequence[int], dtype: Any, what: str, cost: int
    ) -> None:
        super().__init__(shape, dtype, inputs, what)
        self.write, self._cost = write, cost

    @property
    def cost(self) -> int:
        return self._cost

    def expression(self, index: Index) -> str:
        return self.write(*[x.at(broadcast(index, x.shape)) for x in self.inputs])


class View(Value):
    """Elements of another array, at places that depend on the indices alone."""

    def __init__(self, base: Value, shape: Sequence[int], move: Callable[[Index], Index], what: str) -> None:
        super().__init__(shape, base.dtype, [base], what)
        self.move = move

    def expression(self, index: Index) -> str:
        return self.inputs[0].at(self.move(index))

    def located(self, index: Index) -> tuple[Buffer, Place] | None:
        if self.buffer is not None:
            return super().located(index)
        return self.inputs[0].located(self.move(index))


class Reshape(View):
    """The elements in the order of their rows, under other indices."""

    def __init__(self, base: Value, shape: Sequence[int]) -> None:
        super().__init__(base, shape, lambda index: unravel(flat(index, self.rows), base.shape), "reshape")
        self.rows = contiguous(shape)

    def expression(self, index: Index) -> str:
        buffer = self.inputs[0].buffer
        if buffer is None or not buffer.in_rows or buffer.local:
            return super().expression(index)
        place = flat(index, self.rows)
        return buffer.read(unravel(place, buffer.shape))

    def located(self, index: Index) -> tuple[Buffer, Place] | None:
        base = self.inputs[0].buffer
        if self.buffer is None and base is not None and base.in_rows:
            return base, flat(index, self.rows)
        return super().located(index)


def reshaped(base: Value, shape: Sequence[int]) -> Value:
    """The value under another shape."""
    if isinstance(base, Reshape):
        base = base.inputs[0]
    if base.shape == tuple(shape):
        return base
    return spread(base.inputs[0], shape) if one_number(base) else Reshape(base, shape)


def spread(base: Value, shape: Sequence[int]) -> Value:
    """The value broadcast to a shape."""
    if base.shape == tuple(shape):
        return base
    if is_spread(base):
        base = base.inputs[0]
    return View(base, shape, lambda index: broadcast(index, base.shape), "broadcast")


def viewed(base: Value, shape: Sequence[int], move: Callable[[Index], Index], what: str) -> Value:
    """Elements of a value, where `move` says: see `View`."""
    return spread(base.inputs[0], shape) if one_number(base) else View(base, shape, move, what)


def is_spread(x: Value) -> bool:
    return isinstance(x, View) and x.what == "broadcast"


def one_number(x: Value) -> bool:
    """Whether all elements are a number that is known."""
    return is_spread(x) and isinstance(x.inputs[0], Scalar)


def number_in(x: Value) -> Scalar | None:
    """The number that all elements are, if it is known."""
    x = x.inputs[0] if is_spread(x) else x
    return x if isinstance(x, Scalar) else None


class Steps(Value):
    """0, 1, 2, ... along the last axis."""

    def expression(self, index: Index) -> str:
        note(None, index, index[-1])
        return f"{TYPES[self.dtype.name]}({index[-1]})"


class Patches(Value):
    """An array put together from parts, each of them written where `moves` say, later ones over earlier ones.

    Where the parts lie in it as boxes, `starts` are their first elements.
    """

    needs_buffer = True

    def __init__(
        self, parts: Sequence[Value], moves: Sequence[Callable[[Index], Index]], shape: Sequence[int], what: str,
        starts: Sequence[Sequence[int]] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(shape, parts[0].dtype, parts, what)
        self.moves, self.starts = list(moves), starts


class Reduce(Value):
    """A sum, product or extremum over axes."""

    needs_buffer = True

    def __init__(self, ufunc: np.ufunc, base: Value, axes: tuple[int, ...], shape: Sequence[int], dtype: Any) -> None:
        super().__init__(shape, dtype, [base], f"{ufunc.__name__}.reduce")
        self.ufunc, self.axes = ufunc, axes

    @property
    def domain(self) -> tuple[int, ...]:
        return self.inputs[0].shape

    def place(self, index: Index) -> Index:
        """Where in the result an element of the input goes."""
        if len(self.shape) == len(index):  # keepdims
            return [Place() if k in self.axes else i for k, i in enumerate(index)]
        return [i for k, i in enumerate(index) if k not in self.axes]


class Dot(Value):
    """Products of matrices: (..., m, k) by (..., k, n)."""

    needs_buffer = True

    def __init__(self, a: Value, b: Value, shape: Sequence[int], dtype: Any) -> None:
        super().__init__(shape, dtype, [a, b], "dot")


class Kernel(Value):
    """What a native function of whole arrays makes: `kernel` has its `name` and `source`, and what it is cut into."""

    needs_buffer = True

    def __init__(self, kernel: Any, inputs: Sequence[Value], shape: Sequence[int], what: str) -> None:
        super().__init__(shape, kernel.dtype, inputs, what)
        self.kernel = kernel


class Checked(Value):
    """Integers that index an axis of n elements: negative ones count from the end, others out of range are refused."""

    needs_buffer = True

    def __init__(self, x: Value, n: int, code: int) -> None:
        super().__init__(x.shape, np.int64, [x], "index")
        self.n, self.code = n, code

    def expression(self, index: Index) -> str:
        return f"checked({self.inputs[0].at(index)}, {self.n}, status, {self.code})"


class Required(Value):
    """What has to hold; where it does not, the code is reported."""

    needs_buffer = True

    def __init__(self, x: Value, code: int) -> None:
        super().__init__(x.shape, np.bool_, [x], "require")
        self.code = code

    def expression(self, index: Index) -> str:
        return f"required({self.inputs[0].at(index)}, status, {self.code})"


def drawn(place: Value, index: Index, n: int) -> Place:
    """An index read from an array of integers, as the index of an axis of n elements."""
    if isinstance(place, Steps):
        return index[-1]
    text = place.at(index)
    names = frozenset().union(*(i.names() for i in index)) if index else frozenset()
    return picked(text, n, names)


class Pick(Value):
    """Elements at places that arrays of integers say."""

    def __init__(self, base: Value, places: Sequence[Value], shape: Sequence[int], move: Callable[[Index], Index]):
        super().__init__(shape, base.dtype, [base, *places], "getitem")
        self.move = move

    def expression(self, index: Index) -> str:
        return self.inputs[0].at(self.move(index))


class Scatter(Value):
    """A copy of a value, in which other elements are put or added where arrays of integers say."""

    needs_buffer = True

    def __init__(
        self, base: Value, places: Sequence[Value], part: Value, move: Callable[[Index], Index], add: bool
    ) -> None:
        super().__init__(base.shape, base.dtype, [base, part, *places], "add.at" if add else "setitem")
        self.move, self.add = move, add


class Running(Value):
    """A running sum or the like along an axis (np.cumsum, ufunc.accumulate)."""

    needs_buffer = True

    def __init__(self, ufunc: np.ufunc, base: Value, axis: int) -> None:
        super().__init__(base.shape, base.dtype, [base], f"{ufunc.__name__}.accumulate")
        self.ufunc, self.axis = ufunc, axis


class Host(Value):
    """What Python computes, called from the native code: for all that has no native form. Its results are `Part`s."""

    needs_buffer = True  # the parts have it

    def __init__(self, inputs: Sequence[Value], call: Callable[..., Any], what: str) -> None:
        super().__init__((), np.bool_, inputs, what)
        self.call = call  # a function of the inputs' arrays, that gives several
        self.parts: list[Part] = []


class Repeat(Value):
    """A loop: a program is run for each step. Its results are `Part`s: what the last step leaves, and stacked rows.

    `inputs` are those that the first step takes from the one before, then those of which each step reads a row, then
    those that are the same in all steps. They are `given` to the body as its inputs; what it leaves to the next step
    comes first among its results.
    """

    needs_buffer = True  # the parts have it

    def __init__(self, inputs: Sequence[Value], given: list[list[Input]], results: list[Value], loop: Any) -> None:
        super().__init__((), np.bool_, inputs, "loop")
        self.given, self.results = given, results
        self.length, self.reverse = loop.length, loop.reverse
        self.program: Any = None
        self.parts: list[Part] = []


class Part(Value):
    """One of the arrays that a host call or a loop makes."""

    needs_buffer = True

    def __init__(self, host: Host | Repeat, shape: Sequence[int], dtype: Any, i: int) -> None:
        super().__init__(shape, dtype, [host], host.what)
        self.i = i
        host.parts.append(self)


def cost(value: Value) -> int:
    """What computing an element again would cost."""
    if value.buffer is not None or not isinstance(value, Map | View | Pick):
        return 0
    return value.cost + sum(cost(x) for x in value.inputs)
