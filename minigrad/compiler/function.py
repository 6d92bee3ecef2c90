"""Functions of tensors as native code."""

from __future__ import annotations

import functools
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from .. import autodiff
from ..batching import StandIn
from ..nests import flatten
from ..nn import Module
from ..tensor import RECORD, Tensor, default_dtype, describe, mode, plain, tick, warn_once
from .assembly import Code
from .capture import KEPT, Capture, capturing, remembering
from .lower import Lowering
from .memories import SIMPLE, State, Watch, contents
from .program import Program
from .pullback import Pullback, Pulled
from .trace import CaptureError, Node, Trace, TracedArray, live, noded
from .trust import check


class Native:
    """A trace as native code: a function of the arrays of its inputs that returns those of its outputs."""

    def __init__(self, trace: Trace, inputs: Sequence[Node], outputs: Sequence[Node]) -> None:
        self.trace, self.lowering = trace, Lowering()
        values = [self.lowering.input(node) for node in inputs]
        for node in live(outputs):
            if node.function != "input":
                self.lowering.lower(node)
        program = Program([self.lowering.value(node) for node in outputs], values)
        memory = {v.buffer: a for v, a in self.lowering.constants if v.buffer is not None}
        self.code = Code(program, memory, checks=self.lowering.checks, shown=self.lowering.shown)
        buffers = [v.buffer for v in values]
        self.inputs = [(i, b.name, b.dtype) for i, b in enumerate(buffers) if b is not None]
        results = zip(program.outputs, outputs, strict=True)
        self.outputs = [self.code.arrays[v.home.name].reshape(node.shape) for v, node in results]
        self.once, self.first = self.code.prepared(0, 1), True

    def __call__(self, arrays: Sequence[Any]) -> list[np.ndarray]:
        """The arrays of the outputs, which the next call overwrites."""
        for i, name, dtype in self.inputs:
            self.code.point(name, np.ascontiguousarray(arrays[i], dtype))
        if self.first:
            check(self.trace, self.lowering, self.code, self.code.run)
            self.first = False
            return self.outputs
        self.once()
        if self.code.status[0]:
            self.code.failed()
        return self.outputs


def check_results(name: str, results: list[Any], capture: Capture) -> None:
    """Raise CaptureError for results that would be the same objects at every call, with what was traced in them."""
    for x in results:
        parts: list[Any] = list(getattr(x, "__dict__", {}).values())
        parts += [contents(cell) for cell in getattr(x, "__closure__", None) or ()]
        parts += x if isinstance(x, set | deque) else ()
        parts = [part for part in flatten(parts)[0] if not isinstance(part, Tensor) or capture.seen(part) is part]
        if isinstance(x, Iterator) or any(isinstance(node_of(part), Node) for part in parts):
            raise CaptureError(
                f"{name} returns a {type(x).__name__}, which calls of the compiled function would not make anew: "
                "return tensors, arrays, numbers, and tuples, lists and dicts of them"
            )


class Captured:
    """A function for arguments of certain shapes and dtypes: what a call reads, runs, writes and returns."""

    def __init__(self, f: Callable, args: tuple, kwargs: dict, engine: Callable, outside: Outside) -> None:
        leaves, rebuild = flatten((args, kwargs))
        known = [known_of(x) for x in leaves]
        for last in (False, True):
            state = outside.states(leaves)
            with capturing(outside.generators(leaves)) as capture:
                given = arguments(capture, leaves, known)
                args, kwargs = rebuild(iter(given))
                result = f(*args, **kwargs)
                self.results, self.rebuild = flatten(result)
                check_results(getattr(f, "__name__", "the function"), self.results, capture)
                theirs = {id(x) for x in self.results if isinstance(x, Tensor) and capture.seen(x) is not x}
                nodes = list(capture.trace.nodes)
                made = {id(x): x for x in self.results if id(x) not in {*theirs, *map(id, given)}}  # each once
                tensors = [x for x in made.values() if isinstance(x, Tensor) and x.requires_grad]
                self.pullback = Pullback(capture, given, tensors) if tensors and mode.now is RECORD else None
            changed = differing(state, outside.states(leaves))
            if changed is None:
                break
            if last:  # it was not that the first call prepares what the next ones find
                raise remembering(changed, capture)
        outside.called(capture.modules)
        self.draws, self.required = capture.draws, capture.required
        self.tensors = [(t, t._data.dtype, t.requires_grad) for t, _ in capture.inputs]
        self.gradless = capture.gradless
        self.used = tick()
        self.lock = threading.RLock()
        arrays = [x._data if isinstance(x, Tensor) else x for x in given]
        traced = {i: x for i, x in enumerate(arrays) if isinstance(x, TracedArray)}
        sources: dict[Node, Any] = {node: t for t, node in capture.inputs}
        sources |= {draw.node: i for i, draw in enumerate(self.draws)}
        names = {id(x): i for i, x in reversed(list(enumerate(given))) if not static(x)}  # results may be among
        names |= {id(x): x for x in self.results if id(x) in theirs}  # these, and the tensors outside
        self.changed: list[tuple[Any, Any, bool]] = [(t, data, data is before) for t, data, before in capture.changed]
        for i, before in capture.arguments:
            sources[before] = (i,)
            if traced[i].node is not before:
                self.changed.append((i, traced[i], True))
        found = [node_of(x) for x in [*self.results, *(data for _, data, _ in self.changed)]]
        self.nodes = found + [x for shown, _ in self.required for x in shown]
        outputs = list({node.index: node for node in self.nodes if isinstance(node, Node)}.values())
        self.places = {node.index: i for i, node in enumerate(outputs)}
        inputs = [node for node in live(outputs) if node.function == "input"]
        self.sources = [sources[node] for node in inputs]
        trace = Trace()
        trace.nodes = nodes
        self.run = engine(trace, inputs, outputs)
        self.source = self.run.code.source if isinstance(self.run, Native) else ""
        makers = {id(x): self.maker(x, names) for x in self.results}  # one object for one object
        order = {key: i for i, key in enumerate(makers)}
        self.makers, self.order = list(makers.values()), [order[id(x)] for x in self.results]
        self.name = getattr(f, "__name__", "the function")
        if self.pullback is not None:
            self.pullback.engine = engine
            self.recorded = [order[id(x)] for x in tensors]
            among = dict.fromkeys([*inputs, *self.pullback.inputs])
            self.sources = [sources[node] for node in among]
            self.read_again = [list(among).index(node) for node in self.pullback.inputs]
            again = [sources[node] for node in self.pullback.inputs]  # tensors, places of arguments in tuples, draws
            places = [x[0] for x in again if isinstance(x, tuple)]
            fixed = [x for x in again if isinstance(x, Tensor) and not x.requires_grad]
            fixed += [i for i in places if isinstance(given[i], Tensor) and not given[i].requires_grad]
            self.under = [*self.pullback.wanted, *fixed]
        for x in self.results:
            if isinstance(x, Tensor) and id(x) not in theirs:  # it would keep the graph of the capture alive
                x._op, x._inputs = None, ()

    def fits(self) -> bool:
        """Whether the tensors that the function uses without being given them have the dtypes that they had."""
        for t, dtype, requires_grad in self.tensors:
            if t._data.dtype != dtype or t.requires_grad is not requires_grad:
                return False
        self.used = tick()
        return all(t._grad is None for t in self.gradless)

    def __call__(self, leaves: list[Any]) -> Any:
        with self.lock:  # the native code has its memory to itself until the results are copied
            if self.changed:
                self.apart(leaves)
            drawn = [draw() for draw in self.draws] if self.draws else []
            read = [self.read(source, leaves, drawn) for source in self.sources]
            found = self.run(read)
            if self.pullback is not None:
                read = self.remembered(read, leaves)
            if len(self.nodes) > len(self.results):
                self.follow(found, leaves)
            made = [make(found, leaves) for make in self.makers]
        if self.pullback is not None:
            op = Pulled(self.name, self.pullback, read, self.lock)
            inputs = [leaves[x] if isinstance(x, int) else x for x in self.under]
            for i, t in zip(self.recorded, op.of(inputs, [made[i]._data for i in self.recorded]), strict=True):
                made[i] = t
        return self.rebuild(iter([made[i] for i in self.order]))

    def follow(self, found: list[np.ndarray], leaves: list[Any]) -> None:
        """Check what has to hold, and write what the function has changed."""
        values = [found[self.places[x.index]] if isinstance(x, Node) else x for x in self.nodes[len(self.results) :]]
        start = len(self.changed)
        for shown, error in self.required:
            holds, *rest = values[start : start + len(shown)]
            start += len(shown)
            if not np.all(holds):
                raise error(*map(np.array, rest))
        for (target, _, in_place), value in zip(self.changed, values, strict=False):
            put(leaves[target] if isinstance(target, int) else target, value, in_place)

    def remembered(self, read: list[Any], leaves: list[Any]) -> list[Any]:
        """What backward will read: as it is now, before the function's changes are written."""
        read = [read[i] for i in self.read_again]
        changed = [self.target(x, leaves) for x, _, in_place in self.changed if in_place]
        if not changed:
            return read
        return [np.array(x) if any(np.may_share_memory(x, c) for c in changed) else x for x in read]

    def target(self, x: Any, leaves: list[Any]) -> Any:
        """The array of a tensor, or of the argument at a place."""
        return plain(leaves[x] if isinstance(x, int) else x)

    def apart(self, leaves: list[Any]) -> None:
        """Raise ValueError where the function writes into memory that it also reads by another name."""
        arguments = [i for i, leaf in enumerate(leaves) if not static(leaf)]
        for x in [x for x, _, in_place in self.changed if in_place]:
            for other in [*arguments, *(t for t, _, _ in self.tensors)] if isinstance(x, int) else arguments:
                a, b = (leaves[i] if isinstance(i, int) else i for i in (x, other))
                if a is not b and np.shares_memory(plain(a), plain(b)):
                    what = [f"argument {i}" if isinstance(i, int) else describe(i) for i in (x, other)]  # type: ignore[arg-type]
                    raise ValueError(
                        f"{self.name} writes into {what[0]}, which shares its memory with {what[1]}, and the compiled "
                        "function would not see that: pass a copy"
                    )

    def read(self, source: Any, leaves: list[Any], drawn: list[np.ndarray]) -> Any:
        if isinstance(source, tuple):
            return native_order(plain(leaves[source[0]]))
        return native_order(source._data) if isinstance(source, Tensor) else drawn[source]

    def maker(self, x: Any, names: dict[int, Any]) -> Callable[[list[np.ndarray], list[Any]], Any]:
        """What makes, of arrays that a run has found and of the arguments, what a call returns where f returned x."""
        if id(x) in names:
            source = names[id(x)]
            return lambda found, leaves: leaves[source] if isinstance(source, int) else source
        node = node_of(x)
        if isinstance(x, Tensor) and not isinstance(node, Node):
            return lambda found, leaves: Tensor(np.array(node))
        if not isinstance(x, Tensor | TracedArray):
            return lambda found, leaves: x
        i = self.places[node.index]
        if isinstance(x, Tensor):
            return lambda found, leaves: Tensor(np.array(found[i]))
        return (lambda found, leaves: found[i].item()) if x.weak else lambda found, leaves: np.array(found[i])[()]


def arguments(capture: Capture, leaves: list[Any], known: list[tuple]) -> list[Any]:
    """The arguments of the capture: traced arrays, and tensors that hold them, in place of arrays and tensors."""
    made: dict[int, Any] = {}
    for i, (x, (data, *rest)) in enumerate(zip(leaves, known, strict=True)):
        if static(x) or id(x) in made:
            continue
        traced = capture.trace.input(f"argument{i}", data)
        capture.arguments.append((i, traced.node))
        made[id(x)] = capture.stand_in(x, traced, *rest) if isinstance(x, Tensor) else traced
    return [made.get(id(x), x) for x in leaves]


def known_of(x: Any) -> tuple:
    """What is to be known of an argument before the capture, in which it would be taken for a tensor outside."""
    if static(x) or isinstance(x, float):
        return (x,)
    return (native_order(plain(x)), *((x.requires_grad, x.name, x._grad) if isinstance(x, Tensor) else ()))


def node_of(x: Any) -> Any:
    """The node of a result, or its value if it does not depend on what the function reads."""
    x = x._data if isinstance(x, Tensor) else x
    return noded(x)


def native_order(x: Any) -> Any:
    """An array in the machine's order of bytes."""
    return x.astype(x.dtype.newbyteorder("=")) if isinstance(x, np.ndarray) and not x.dtype.isnative else x


def put(target: Any, value: Any, in_place: bool) -> None:
    """Write what the function has changed."""
    if not isinstance(target, Tensor):
        target[...] = value
    elif in_place:
        target._data[...] = value
        target._touch()
    else:
        target._data = np.array(value)
        target._touch()


def static(x: Any) -> bool:
    """Whether an argument is part of the function rather than of its data: integers, texts, None."""
    return not isinstance(x, Tensor | np.ndarray | np.floating | float)


def form(x: Any, leaves: list[Any]) -> Any:
    """What of an argument, a nest, the code depends on; its leaves are added to the list."""
    if type(x) is np.ndarray:  # asked first, since most are
        leaves.append(x)
        return np.ndarray, x.shape, x.dtype
    if isinstance(x, tuple | list):
        return type(x), *[form(part, leaves) for part in x]
    if isinstance(x, dict):
        return dict, *[(key, form(part, leaves)) for key, part in x.items()]
    leaves.append(x)
    if isinstance(x, Tensor):
        return Tensor, x._data.shape, x._data.dtype, x.requires_grad
    if isinstance(x, np.ma.MaskedArray | np.matrix):
        raise TypeError(
            f"compile: an argument is a {type(x).__name__}, whose arithmetic is not that of arrays: pass an array, "
            "made of it by np.asarray or, of what is masked, by .filled(...)"
        )
    if isinstance(x, np.ndarray | np.floating):
        return type(x), x.shape, x.dtype
    if type(x).__hash__ is None and not isinstance(x, StandIn):
        raise TypeError(
            f"compile: an argument is a {type(x).__name__}, which may change unnoticed from call to call: arguments are"
            " tensors, arrays, floats and nests of them, and integers, texts and the like"
        )
    return float if type(x) is float else (type(x), id(x) if isinstance(x, StandIn) else x)


class Outside:
    """What a function reads beside the values of its arguments: see `Watch`."""

    def __init__(self, f: Any) -> None:
        self.watch = Watch(f)
        self.objects: dict[int, tuple[Any, Watch]] = {}  # by id: arguments, such as the self of a method

    def states(self, leaves: list[Any]) -> tuple[State, ...]:
        """What all of it is: where it is something else, another capture is needed."""
        return self.watch.state(), *[self.of(x).state() for x in leaves if type(x) not in KNOWN and static(x)]

    def generators(self, leaves: list[Any]) -> list[tuple[str, Any]]:
        """The generators of random numbers among it, and their names."""
        watches = self.watch, *[self.of(x) for x in leaves if type(x) not in KNOWN and static(x)]
        return [found for watch in watches for found in watch.walk.generators]

    def of(self, x: Any) -> Watch:
        if id(x) not in self.objects:
            if len(self.objects) > KEPT:
                self.objects.clear()
            self.objects[id(x)] = x, Watch(x)
        return self.objects[id(x)][1]

    def called(self, modules: Iterable[Module]) -> None:
        """Watch the layers that were called, too, however the function has come to them."""
        known = [watch.walk.modules for _, watch in self.objects.values()]
        self.watch.add([m for m in modules if not any(m in found for found in known)])


KNOWN = SIMPLE | {np.ndarray, Tensor, float}  # types of arguments that are no objects with attributes


def differing(before: tuple[State, ...], now: tuple[State, ...]) -> str | None:
    """The name of something that has changed."""
    found = (a.changed(b) for a, b in zip(before, now, strict=True) if a != b)
    return next(found, None)


def compile(f: Callable) -> Callable:
    """The function `f` of tensors as native code: the first call with given shapes and dtypes captures and compiles it.

    Arguments and results are nests (tuples, lists, dicts) of tensors, arrays and floats; integers, texts and None are
    taken as part of the function. Gradients taken inside `f` are compiled with it, and gradients flow through its
    results. Tensors that `f` uses without being given them, such as a model's parameters, are read anew at each call,
    and written where `f` changes them; random numbers of `mg.random` and of dropout are drawn anew, as f itself would
    draw them. Where a number, array or object that f reads by name has changed, it is captured anew. `source` of the
    result is what was compiled last.

    Inside `mg.debug()`, `mg.vmap`, another compiled function, and a transform that differentiates by an argument, `f`
    runs as it is.

    Raises CaptureError (a TypeError) where `f` looks at values or changes Python's state, NoNative (a TypeError) for a
    function that has no native form, and ValueError where f writes into an argument that shares memory with another.

    >>> import minigrad as mg
    >>> slope = mg.compile(mg.grad(lambda x: mg.sum(mg.tanh(x) ** 2)))
    >>> slope(np.array([0.0, 1.0]))
    tensor([0.        , 0.63970001])
    """
    if not callable(f) or isinstance(f, type):
        what = f"the class {f.__name__} itself" if isinstance(f, type) else repr(f)
        raise TypeError(f"compile: give a function of tensors, or a model, not {what}")
    return compiled_by(Native, f)


def compiled_by(engine: Callable, f: Callable) -> Callable:
    """The function, its traces run by an engine: see `Native`."""
    captures: dict[tuple, list[Captured]] = {}  # several where tensors outside have other dtypes
    outside, lock = Outside(f), threading.Lock()

    @functools.wraps(f)
    def compiled(*args: Any, **kwargs: Any) -> Any:
        leaves: list[Any] = []
        forms = form(args, leaves), form(kwargs, leaves) if kwargs else None
        if mode.capture is not None or autodiff.check_gradient is not None:
            return f(*args, **kwargs)
        for x in leaves:
            if type(x) is not np.ndarray and differentiated(x):
                return f(*args, **kwargs)
        key = *forms, equal(leaves), mode.now, default_dtype(), outside.states(leaves)
        for found in captures.get(key, ()):
            if found.fits():
                return found(leaves)
        found = Captured(f, args, kwargs, engine, outside)
        result = found(leaves)
        if found.pullback is not None:
            found.pullback.forget()  # what the first run has been compared with
        now = *key[:-1], outside.states(leaves)
        with lock:
            make_room(f, captures, now)
            captures.setdefault(now, []).append(found)  # once its first run was right
            compiled.source = found.source  # type: ignore[attr-defined]
        return result

    compiled.captures, compiled.source = captures, ""  # type: ignore[attr-defined]
    return compiled


def equal(leaves: list[Any]) -> tuple[int, ...] | None:
    """Which arguments are one object: for each the first that it is; None where all differ."""
    if len(set(map(id, leaves))) == len(leaves):
        return None
    first: dict[int, int] = {}
    same = [first.setdefault(id(x), i) for i, x in enumerate(leaves) if not static(x)]
    return tuple(same) if len(first) < len(same) else None


def differentiated(x: Any) -> bool:
    """Whether an argument is a variable of a transform, or holds symbols or the samples of vmap."""
    if not isinstance(x, Tensor):
        return isinstance(x, StandIn)
    varies = x.requires_grad and mode.transforms > 0 and mode.now is RECORD
    return varies or isinstance(x._data, StandIn) or x.dtype.hasobject


PARTS = "arguments", "keyword arguments", "equal arguments", "mode", "default dtype", "what is around it"  # of a key


def make_room(f: Callable, captures: dict[tuple, list[Captured]], key: tuple) -> None:
    """Where there are as many captures as are kept, say so once, and drop that which was not used for longest."""
    found = [(capture.used, old, capture) for old, those in captures.items() for capture in those]
    if len(found) < KEPT:
        return
    warn_once(f"captures of {id(captures)}", many(f, max(found, key=itemgetter(0))[1], key))
    _, old, capture = min(found, key=itemgetter(0))
    captures[old].remove(capture)
    if not captures[old]:
        del captures[old]


def many(f: Callable, before: tuple, now: tuple) -> str:
    """The warning: what was something else at the capture that was used last."""
    changed = [f"{what} {a} and now {b}" for what, a, b in zip(PARTS, before, now, strict=True) if a != b][:1]
    if before[:-1] == now[:-1]:
        path = differing(before[-1], now[-1])
        changed = [f"{path} {a.found.get(path)} and now {b.found.get(path)}"
                   for a, b in zip(before[-1], now[-1], strict=True) if a != b][:1]  # fmt: skip
    name = getattr(f, "__name__", "the function")
    what = re.sub(r"<class '(\w+\.)*(\w+)'>", r"\2", changed[0]) if changed else "tensors around it in another dtype"
    return (
        f"compile: {name} has been compiled {KEPT} times, each time for something else: {what}. From now on the "
        "code that was not used for longest is dropped. Numbers that change from call to call are better passed as "
        "floats or arrays, and arrays of many lengths padded to one"
    )
