"""The trace: what NumPy is asked to do while a function runs once on traced arrays.

A tensor can hold symbols in place of numbers; here it holds traced arrays, which answer NumPy's calls themselves, as
symbols do. Each call becomes a node. So whatever a card's `forward` and its gradient rule do on arrays is captured by
the one mechanism, and the backward walk with it. The numbers of the first call go along: they give shapes and dtypes,
and what the compiled code is checked against.

What has no reading on traced arrays (kernels, SciPy, code that looks at values) is recorded as one node: a "host"
node, whose Python function is called with arrays when the trace runs.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from ..batching import BatchedArray, StandIn, innermost_array
from ..tensor import PLAIN, Tensor, mode, tick

HERE, NUMPY = str(Path(__file__).parents[1]), str(Path(np.__file__).parent)
PRINTING = (__file__, str(Path(HERE, "tensor.py")))  # what they print they are asked for


class CaptureError(TypeError):
    """A function that cannot be compiled: it looks at values, which later calls will not share."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if mode.capture is not None:  # which raises it in the end, even if the function does not let it through
            mode.capture.raised.append((self, list(frames())))


def frames() -> Iterator[FrameType]:
    """The calls that are running, the innermost first."""
    frame = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]


class NoAttribute(CaptureError, AttributeError):
    """An attribute that arrays have and traced arrays lack."""


class UnevenError(CaptureError):
    """A result whose shape depends on values."""

    final = True  # no way around it


class Node:
    """One result: a function, what it was called with (nodes in place of traced arrays), and its first value.

    The function is one of NumPy's, to be called as it stands, or
        "input"                 a value from outside; args are its name
        "getitem", "setitem"    x[key]; a copy of x with value at key, args (x, key, value)
        "astype", "view"        x in the node's dtype: its numbers, its bits
        "part"                  args (node, i): one of the results of a function that gives several
        ("at", ufunc)           a copy of args[0] changed by ufunc.at
        ("into", function)      a copy of args[0] changed by a function that writes into its first argument
        ("host", function)      Python code, to be called as it stands
        (method, ufunc)         ufunc.reduce, .accumulate, ...
    """

    __slots__ = ("args", "function", "index", "kind", "kwargs", "line", "value", "weak")

    def __init__(self, function: Any, args: tuple, kwargs: dict[str, Any], value: Any, index: int, line: str) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.value, self.kind = value, type(value)
        self.index, self.line = index, line
        self.weak = False  # a number of Python's, or a result of such numbers: it leaves arrays their dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def dtype(self) -> np.dtype:
        return self.value.dtype

    @property
    def name(self) -> str:
        return self.function if isinstance(self.function, str) else name_of(self.function)

    def inputs(self) -> Iterator[Node]:
        """The nodes among the arguments."""
        return nodes_in((self.args, self.kwargs))

    def __repr__(self) -> str:
        what = f"{self.shape} {self.dtype}" if isinstance(self.value, np.ndarray) else type(self.value).__name__
        return f"<{self.index}: {self.name} {what}>"


def nodes_in(nest: Any) -> Iterator[Node]:
    """The nodes in a nest."""
    return among(Node, nest)


def among(kind: type, nest: Any) -> Iterator[Any]:
    """The objects of a kind in a nest."""
    if isinstance(nest, kind):
        yield nest
    elif isinstance(nest, BatchedArray):
        yield from among(kind, nest.array)
    elif isinstance(nest, tuple | list):
        for x in nest:
            yield from among(kind, x)
    elif type(nest) is dict:
        for x in nest.values():
            yield from among(kind, x)


def name_of(function: Any) -> str:
    if isinstance(function, tuple):
        return f"{function[0]} {name_of(function[1])}"
    return getattr(function, "__name__", str(function))


class Trace:
    """The nodes of one capture, in the order in which they were made; or those of one step of a loop: see loops.py."""

    def __init__(self, root: Trace | None = None) -> None:
        self.root = root or self  # the trace of the whole function
        self.nodes: list[Node] = []
        self.number = tick()  # a loop's is higher than that of the trace around it
        self.outside: dict[Node, tuple[TracedArray, Node]] = {}  # what a loop uses of the traces around it: its inputs
        self.over = False  # when a step of a loop has been traced
        self.thread: int | None = None  # that captures, as long as it does

    def add(self, function: Any, args: tuple, kwargs: dict[str, Any], value: Any, memory: Memory | None = None) -> Any:
        if self.over:
            raise CaptureError(f"{user_line()}: a value of one step of a loop is used after the loop: return it as y")
        node = Node(function, args, kwargs, np.asarray(value), len(self.nodes), user_line())
        node.kind = type(value)
        self.nodes.append(node)
        return TracedArray(self, node, memory)

    def input(self, name: str, value: Any) -> TracedArray:
        traced = self.add("input", (name,), {}, value)
        traced._node.weak = type(value) is float
        return traced

    def constant(self, nest: Any) -> Any:
        """A nest with traced arrays in place of arrays, for code that takes but one kind."""
        return mapped(lambda x: self.add("constant", (), {}, x), np.ndarray, nest)

    def record(self, function: Any, args: Any, kwargs: dict[str, Any], value: Any) -> Any:
        """The result of a function, as a traced array or as a nest of them."""
        args, kwargs = tuple(args), dict(kwargs)
        trace = max((x.trace for x in traced_in((args, kwargs))), key=lambda t: t.number, default=self)
        if trace is not self:  # values of a loop's body are among the arguments
            return trace.record(function, args, kwargs, value)
        if isinstance(value, tuple | list):
            whole = Node(function, self.noded(args), self.noded(kwargs), tuple(value), len(self.nodes), user_line())
            self.nodes.append(whole)
            parts: list[Any] = [
                None if x is None else self.add("part", (whole, i), {}, x, shared(args, x)) for i, x in enumerate(value)
            ]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        result = self.add(function, self.noded(args), self.noded(kwargs), value, shared((args, kwargs), value))
        result._node.weak = type(value) is int or isinstance(function, np.ufunc) and all(is_weak(x) for x in args)
        return result

    def host(self, function: Callable, args: Any, params: dict[str, Any]) -> Any:
        """`function` of arrays, which has no reading on traced arrays, as one node."""
        bare = Host(function)
        result = self.record(("host", bare), args, params, bare(*values(args), **values(params)))
        if not isinstance(result, tuple):
            return behind(bare.levels[0], result)
        return [behind(levels, x) for levels, x in zip(bare.levels, result, strict=True)]

    def noded(self, nest: Any) -> Any:
        """A nest with nodes of this trace in place of traced arrays."""
        return mapped(self.node_of, TracedArray, nest)

    def node_of(self, x: TracedArray) -> Node:
        """The node of an array; of one of a trace around this one, an input that stands for it."""
        if x.trace is self:
            return x.node
        if x.node not in self.outside:
            inside = self.input(f"outside{len(self.outside)}", x.node.value).node
            self.outside[x.node], inside.weak = (x.copy(), inside), x.weak
        return self.outside[x.node][1]

    def reads(self, nest: Any) -> bool:
        """Whether there is a traced array in a nest."""
        return next(traced_in(nest), None) is not None


def is_weak(x: Any) -> bool:
    return x.weak if isinstance(x, TracedArray) else type(x) in (int, float, bool)


class Host:
    """A function of arrays as the trace calls it: by itself, outside of any capture, with bare arrays as results."""

    def __init__(self, function: Callable) -> None:
        self.function, self.__name__ = function, getattr(getattr(function, "__self__", None), "name", name_of(function))
        self.levels: list[list[Any]] = []  # of vmap, at which each result is
        self.shapes: list[tuple[int, ...]] = []  # of the results, which must not depend on values

    def __call__(self, *args: Any, **params: Any) -> Any:
        before, mode.now, mode.capture = (mode.now, mode.capture), PLAIN, None
        try:
            result = self.function(*args, **params)
        finally:
            mode.now, mode.capture = before
        several = result if isinstance(result, tuple | list) else [result]
        self.levels = [levels_of(x) for x in several]
        arrays = [x if x is None else np.asarray(innermost_array(x)) for x in several]
        shapes = [np.shape(x) for x in arrays]  # type: ignore[arg-type]
        if shapes != (self.shapes or shapes):
            raise uneven(f"a result of {self.__name__} has")
        self.shapes = shapes
        return tuple(arrays) if isinstance(result, tuple | list) else arrays[0]


def levels_of(x: Any) -> list[Any]:
    return [x.level, *levels_of(x.array)] if isinstance(x, BatchedArray) else []


def behind(levels: list[Any], x: Any) -> Any:
    """An array with its first axes hidden at some levels of vmap."""
    return BatchedArray(behind(levels[1:], x), levels[0]) if levels else x


def shared(args: Any, value: Any) -> Memory | None:
    """The memory of that argument that a result is a view of."""
    return next((x.memory for x in traced_in(args) if np.may_share_memory(x._node.value, value)), None)


def user_line() -> str:
    """The line of the program, outside this library, that is being run."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((HERE, NUMPY)):
        frame = frame.f_back  # type: ignore[assignment]
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame is not None else ""


class Memory:
    """What an array and its views share: they know by it whether another of them has been written into since."""

    __slots__ = ("version",)

    def __init__(self) -> None:
        self.version = 0


class TracedArray(StandIn):
    """An array whose elements are known only when the compiled function runs."""

    __slots__ = ("__weakref__", "_node", "memory", "origin", "trace", "version")

    def __init__(self, trace: Trace, node: Node, memory: Memory | None = None) -> None:
        self.trace, self._node = trace, node
        self.memory = Memory() if memory is None else memory
        self.version = self.memory.version
        self.origin: tuple[TracedArray, Any] | None = None  # of a view: of which array, and its key (or a new shape)

    @property
    def node(self) -> Node:
        if self.version != self.memory.version:
            raise CaptureError(
                f"{user_line()}: this array shares its memory with another one, which has been written into since: "
                "copy it first, or build a new array with mg.setitem or mg.where"
            )
        if mode.capture is not None and mode.capture.trace is not self.trace.root:
            raise CaptureError(
                f"{user_line()}: a tensor is used that an earlier capture of a function has kept: return it, or make "
                "it outside of the function"
            )
        if self.trace.root.thread not in (None, threading.get_ident()):
            raise CaptureError(
                f"{user_line()}: a value of a function that is being captured is used in another thread, which is not "
                "captured: compute it in the function's own thread"
            )
        return self._node

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The type of what it stands for, to users who ask by isinstance: they go the way that they go with arrays."""
        ours = sys._getframe(1).f_code.co_filename.startswith((HERE, NUMPY))
        return TracedArray if ours else type(self._node.value.item()) if self.weak else self._node.kind

    # ---- what does not depend on the elements -------------------------------------------------------------------

    shape = property(lambda self: self._node.value.shape)
    dtype = property(lambda self: self._node.value.dtype)
    ndim = property(lambda self: self._node.value.ndim)
    size = property(lambda self: self._node.value.size)
    itemsize = property(lambda self: self._node.value.itemsize)
    nbytes = property(lambda self: self._node.value.nbytes)
    strides = property(lambda self: self._node.value.strides)
    flags = property(lambda self: self._node.value.flags)
    weak = property(lambda self: self._node.weak)
    kind = property(lambda self: self._node.kind)
    T = property(lambda self: np.transpose(self))
    mT = property(lambda self: np.swapaxes(self, -1, -2))
    real = property(lambda self: self)
    base = None

    def __len__(self) -> int:
        return len(self._node.value)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    # ---- NumPy's calls ------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        for x in inputs:
            if hasattr(x, "__array_ufunc__") and not isinstance(x, TracedArray | np.ndarray | np.generic):
                return NotImplemented  # and NumPy asks the tensor, or the batched array
        trace = self.trace
        if method == "at":
            target, *rest = inputs
            changed = own(target).copy()
            ufunc.at(changed, *values(rest))
            return write(target, trace.record(("at", ufunc), inputs, kwargs, changed))
        if method == "__call__" and "where" in kwargs and out is not None:
            chosen = kwargs.pop("where")
            with np.errstate(all="ignore"):  # which is computed everywhere
                result = trace.record(ufunc, inputs, kwargs, ufunc(*values(inputs), **values(kwargs)))
                kept: Any = np.where(chosen, result, out[0])
            return write(out[0], kept)
        function = ufunc if method == "__call__" else (method, ufunc)
        result = trace.record(function, inputs, kwargs, getattr(ufunc, method)(*values(inputs), **values(kwargs)))
        return result if out is None else write(out[0], result)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        for kind in types:
            if kind is not TracedArray and not issubclass(kind, np.ndarray):
                return NotImplemented
        if function in STATIC:
            return function(*values(args), **values(kwargs))
        if function in BY_VALUES or (function is np.where and len(args) == 1):
            raise leaving(f"needed for the shape of what np.{name_of(function)} gives")
        if function in REPEATED and self.trace.reads((args[1:], kwargs)):
            raise leaving(f"needed for the shape of what np.{name_of(function)} gives")
        if function in WRITING:
            target, *rest = args
            changed = own(target).copy()
            function(changed, *values(rest), **values(kwargs))
            write(target, self.trace.record(("into", function), args, kwargs, changed))
            return None
        if function in RESHAPING and isinstance(args[0], TracedArray):
            return args[0]._viewed(self.trace.record(function, args, kwargs, function(*values(args), **values(kwargs))))
        result = function(*values(args), **values(kwargs))
        bare = result is None or isinstance(result, str | bool | int | float) and not isinstance(result, np.generic)
        if bare and function is not np.count_nonzero:  # which gives a number of Python's before NumPy 2.3
            raise leaving(f"looked at by np.{name_of(function)}")
        return self.trace.record(function, args, kwargs, result)

    def _viewed(self, view: TracedArray, key: Any = None) -> TracedArray:
        """A result that may be a view of this array, which then changes with it."""
        if view.memory is self.memory:
            view.origin = self, key
        return view

    def __getitem__(self, key: Any) -> TracedArray:
        keys = key if type(key) is tuple else (key,)
        if any(isinstance(k, TracedArray) and k.dtype == bool for k in keys):
            raise uneven("x[mask] has")
        return self._viewed(self.trace.record("getitem", (self, key), {}, self.node.value[values(key)]), (key,))

    def __setitem__(self, key: Any, value: Any) -> None:
        changed = self.node.value.copy()
        changed[values(key)] = values(value)
        write(self, self.trace.record("setitem", (self, key, value), {}, changed))

    # ---- NumPy's methods ----------------------------------------------------------------------------------------

    def astype(self, dtype: Any, *args: Any, copy: bool = True, **kwargs: Any) -> TracedArray:
        if self.dtype == dtype and not self.weak:
            return self.copy() if copy else self
        return self.trace.add("astype", (self.node,), {}, self.node.value.astype(dtype))

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **kwargs)

    def transpose(self, *axes: Any) -> Any:
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def copy(self, *args: Any) -> TracedArray:
        return TracedArray(self.trace, self.node)

    def view(self, dtype: Any = None) -> TracedArray:
        if dtype is None or self.dtype == dtype:
            return TracedArray(self.trace, self.node, self.memory)
        return self.trace.add("view", (self.node,), {}, self.node.value.view(dtype), self.memory)

    def beneath(self, function: Callable) -> Any:
        return self.trace.host(function, (self,), {})

    def flatten(self) -> Any:
        return self.reshape(-1).copy()

    def __copy__(self) -> Any:
        return self if self.weak else np.copy(self)

    def __deepcopy__(self, memo: dict) -> Any:
        return self.__copy__()

    def fill(self, value: Any) -> None:
        self[...] = value

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            sentence = f"inside a function that is compiled, arrays have no attribute {name!r}"
            if name.startswith("_") or not hasattr(np.ndarray, name):
                raise AttributeError(sentence)
            raise NoAttribute(f"{user_line()}: {sentence}: use mg's or NumPy's functions")
        function = getattr(np, name)
        return lambda *args, **kwargs: function(self, *args, **kwargs)

    # ---- where the elements would leave -------------------------------------------------------------------------

    def __bool__(self) -> bool:
        raise leaving("asked for its truth value (`if`, `while`, `and`)")

    def __float__(self) -> float:
        raise leaving("made a Python number (float, int, .item(), .tolist())")

    __int__ = __complex__ = item = tolist = __float__

    def __index__(self) -> int:
        raise leaving("made a Python integer (an index, a length, range)")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise leaving("pickled")

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise leaving("made a NumPy array, or written into one (np.asarray)", WRITING_ANEW)

    def __repr__(self) -> str:
        frame = sys._getframe(1)
        while frame.f_code.co_filename in PRINTING and frame.f_back is not None:
            frame = frame.f_back
        if not frame.f_code.co_filename.startswith(HERE):
            raise leaving("printed")
        return f"<array of shape {self.shape}>"  # in a sentence of the library's, of what is wrong

    def __format__(self, spec: str) -> str:
        return repr(self)

    __str__ = __repr__


def leaving(how: str, more: str = "") -> CaptureError:
    return CaptureError(
        f"{user_line()}: a value that is known only when the compiled function runs is {how}: use mg.where to choose, "
        "mg's or NumPy's functions to compute, return what you want to look at, or compile a smaller function" + more
    )


# How to write traced values into an array that is none.
WRITING_ANEW = (
    "; in place of y[1:3] = x, write y = mg.setitem(y, np.s_[1:3], x), and of np.add.at(y, i, x), "
    "y = mg.index_add(y, 0, i, x)"
)


def uneven(what: str) -> UnevenError:
    return UnevenError(
        f"{user_line()}: {what} a shape that depends on values, which are known only when the compiled function runs: "
        "keep every element in its place, by mg.where(mask, x, 0)"
    )


# What does not depend on elements; what gives arrays of a shape that does, at any rate and if arguments after the first
# do; what writes into its first argument; and the methods that are functions of NumPy's, too.
STATIC = frozenset({
    np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.common_type, np.min_scalar_type, np.iscomplexobj,
    np.isrealobj, np.may_share_memory, np.shares_memory,
})  # fmt: skip
BY_VALUES = frozenset({
    np.nonzero, np.flatnonzero, np.argwhere, np.unique, np.extract, np.compress, np.trim_zeros, np.union1d,
    np.intersect1d, np.setdiff1d, np.setxor1d, np.unique_values, np.unique_counts, np.unique_inverse, np.unique_all,
    np.bincount,
})  # fmt: skip
REPEATED = frozenset({np.repeat, np.delete, np.insert, np.split, np.array_split, np.tile, np.pad})
RESHAPING = frozenset({np.reshape, np.ravel, np.squeeze, np.expand_dims})
WRITING = frozenset({np.copyto, np.put, np.place, np.putmask, np.fill_diagonal, np.put_along_axis})
METHODS = frozenset({
    "sum", "mean", "prod", "max", "min", "any", "all", "var", "std", "argmax", "argmin", "argsort", "cumsum", "cumprod",
    "ravel", "squeeze", "swapaxes", "clip", "dot", "repeat", "take", "round", "trace", "diagonal", "nonzero",
    "searchsorted", "conj", "compress", "choose", "argpartition", "ptp",
}) & frozenset(dir(np))  # fmt: skip


def own(target: Any) -> np.ndarray:
    """The values of an array that is written into."""
    if not isinstance(target, TracedArray):
        raise leaving("written into an array that is no result of traced ones", WRITING_ANEW)
    return target.node.value


def write(target: Any, result: TracedArray) -> TracedArray:
    """Writing in place: the array is another node from here on, and so is what it is a slice of."""
    shape, dtype = own(target).shape, target.dtype
    if result.dtype != dtype or result.shape != shape:
        result = target.trace.record(
            "setitem", (target, ..., result), {}, np.array(np.broadcast_to(result.node.value, shape), dtype)
        )
    if target.origin is not None:
        whole, key = target.origin
        whole[... if key is None else key[0]] = result.reshape(whole.shape) if key is None else result
    else:
        target.memory.version += 1
    target.trace, target._node, target.version = result.trace, result.node, target.memory.version
    return target


def traced_in(nest: Any) -> Iterator[TracedArray]:
    """The traced arrays in a nest."""
    return among(TracedArray, nest)


def mapped(function: Callable, kind: type, nest: Any) -> Any:
    """A nest with the function of each object of a kind in its place."""
    if isinstance(nest, kind):
        return function(nest)
    if isinstance(nest, BatchedArray):
        array = mapped(function, kind, nest.array)
        return nest if array is nest.array else BatchedArray(array, nest.level)
    if isinstance(nest, tuple | list):
        parts = [mapped(function, kind, x) for x in nest]
        return type(nest)(*parts) if hasattr(nest, "_fields") else type(nest)(parts)
    return {k: mapped(function, kind, v) for k, v in nest.items()} if type(nest) is dict else nest


def values(nest: Any) -> Any:
    """A nest with the first values in place of traced arrays."""
    return mapped(lambda x: x.node.value.item() if x.weak else x.node.value, TracedArray, nest)


def noded(nest: Any) -> Any:
    """A nest with nodes in place of traced arrays; constants are arrays again."""
    return mapped(lambda x: x.node.value if x.node.function == "constant" else x.node, TracedArray, nest)


def tensor_of(x: TracedArray) -> Tensor:
    """A tensor that holds a traced array."""
    return Tensor(x)  # type: ignore[arg-type]


def forget(nodes: Sequence[Node]) -> None:
    """Let go of the numbers of the first call; shapes and dtypes stay."""
    for node in nodes:
        if node.function not in ("input", "constant"):
            several = isinstance(node.value, tuple)
            node.value = tuple(map(hollow, node.value)) if several else hollow(node.value)
        forget(getattr(node.function, "nodes", ()))


def hollow(x: Any) -> Any:
    """An array of this shape and dtype that takes no memory."""
    return x if x is None else np.broadcast_to(np.zeros((), x.dtype), x.shape)


# ---- a trace read by NumPy ------------------------------------------------------------------------------------------


def live(outputs: Sequence[Node]) -> list[Node]:
    """The nodes that some outputs are computed from, and these, in the order in which they were made."""
    seen, todo = {node.index: node for node in outputs}, list(outputs)
    while todo:
        for node in todo.pop().inputs():
            if node.index not in seen:
                seen[node.index] = node
                todo.append(node)
    return [seen[i] for i in sorted(seen)]


class Replay:
    """The reference reading of a trace: NumPy runs its nodes, on other inputs."""

    def __init__(self, trace: Trace, inputs: Sequence[Node], outputs: Sequence[Node]) -> None:
        self.inputs, self.outputs, self.nodes = list(inputs), list(outputs), live(outputs)

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        found: dict[Node, Any] = dict(zip(self.inputs, arrays, strict=True))
        with np.errstate(all="ignore"):
            for node in self.nodes:
                if node not in found:
                    found[node] = self.evaluate(node, *mapped(found.__getitem__, Node, (node.args, node.kwargs)))
        return [np.asarray(found[node]) for node in self.outputs]

    def evaluate(self, node: Node, args: tuple, kwargs: dict[str, Any]) -> Any:
        return evaluate(node, args, kwargs)


def evaluate(node: Node, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What a node computes from arrays."""
    if node.function == "constant":
        return node.value
    if node.function in ("astype", "view"):
        return getattr(np.asarray(args[0]), node.function)(node.dtype)
    result = called(node.function, args, kwargs)
    return np.asarray(result).item() if node.weak else result


def called(function: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """The result of a function of a node: see `Node`."""
    if callable(function):
        return function(*args, **kwargs)
    if isinstance(function, str):
        return METHOD[function](*args)
    kind, function = function
    if kind == "host":
        return function(*args, **kwargs)
    if kind in ("at", "into"):
        changed = np.array(args[0])
        (function.at if kind == "at" else function)(changed, *args[1:], **kwargs)
        return changed
    return getattr(function, kind)(*args, **kwargs)


def setitem(x: np.ndarray, key: Any, value: Any) -> np.ndarray:
    changed = np.array(x)
    changed[key] = value
    return changed


METHOD: dict[str, Callable] = {
    "getitem": lambda x, key: x[key], "setitem": setitem, "part": lambda whole, i: whole[i],
}  # fmt: skip
