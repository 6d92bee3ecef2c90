"""Capture: a function runs once on tensors that seem to hold traced arrays.

Meanwhile the slots of Tensor lead, in the thread that captures, to a shadow of every tensor that was there before: a
second tensor, which holds a traced array. So whatever the function reads is an input of the trace, which each call
reads anew; whatever it changes is noticed, and is a change of shadows; and other threads see nothing of it. What the
function makes itself has no shadow, and holds arrays until it meets one of the others: so constants are computed once.
"""

from __future__ import annotations

import random as python_random
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import numpy as np

from .. import random
from ..batching import StandIn, innermost_array
from ..ops.card import Op, each
from ..tensor import PLAIN, Tensor, as_tensor, describe, mode, recording, tick
from ..transforms import pull
from .loops import record
from .trace import CaptureError, Node, Trace, TracedArray, noded, user_line

KEPT = 16  # captures of one function, or of one step, that are kept
ABSENT = object()  # what an attribute holds that there is not


class Draw:
    """What is drawn at random: an input that every call draws anew, in the same order."""

    def __init__(self, node: Node, generator: Any, method: str, args: tuple, kwargs: dict[str, Any]) -> None:
        self.node, self.generator, self.method, self.args, self.kwargs = node, generator, method, args, kwargs

    def source(self) -> Any:
        """The generator that it is drawn from."""
        return random.generator() if self.generator is None else self.generator

    def __call__(self) -> np.ndarray:
        return np.asarray(getattr(self.source(), self.method)(*self.args, **self.kwargs))

    def __iter__(self) -> Iterator[Any]:
        return iter((self.node, self.method, self.args, self.kwargs))


class Drawing:
    """Stands in for a random generator during a capture."""

    def __init__(self, capture: Capture, generator: Any, own: bool) -> None:
        self.capture, self.generator, self.own = capture, generator, own

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.generator, name)
        if name in ("spawn", "shuffle"):
            raise CaptureError(
                f"{user_line()}: .{name} of a generator of mg.random would take effect once only: call it before, or "
                "draw by another method"
            )
        if not callable(method):
            return method

        def draw(*args: Any, **kwargs: Any) -> TracedArray:
            capture = self.capture
            if capture.checks is not None:
                raise CaptureError(
                    f"{user_line()}: numbers are drawn at random in the body of a loop, which is compiled once for all "
                    "steps: draw those of all steps before, as one of the xs"
                )
            before = standing(self.generator)
            key = id(self.generator), name, before, str((args, kwargs))
            value = method(*args, **kwargs)
            if before in (expected := capture.expected[id(self.generator)]):  # not after a draw that is not noted
                expected.add(standing(self.generator))
            if key not in capture.drawn:  # as it is when `checkpoint` draws the same again
                traced = capture.trace.input(
                    f"random{len(capture.draws)}", value if type(value) is float else np.array(value)
                )
                capture.draws.append(Draw(traced.node, None if self.own else self.generator, name, args, kwargs))
                capture.drawn[key] = traced.node
            return TracedArray(capture.trace, capture.drawn[key])

        return draw


class Capture:
    """What is found while a function runs: its trace, and what the trace reads and changes."""

    def __init__(self) -> None:
        self.trace = Trace()
        self.trace.thread = threading.get_ident()
        self.draws: list[Draw] = []
        self.drawn: dict[tuple, Node] = {}
        # In the body of a loop: errors, what must hold, and what to show.
        self.checks: list[tuple[Any, list[Any]]] | None = None
        self.began = 0  # after all tensors that are not refused for having been made by another thread
        self.states: dict[int, tuple[Any, Any]] = {}  # by id: generators, and their states before the first draw
        self.expected: dict[int, set[str]] = {}  # by id: where those draws leave generators that calls draw anew
        self.modules: dict[Any, bool] = {}  # those that were called, and whether they were training
        self.own: set[Any] = set()  # modules that the function makes itself
        self.assigned: dict[tuple[Any, str], tuple[str, Any]] = {}  # attributes of modules: by which line, and before
        self.required: list[tuple[list[Any], Callable[..., Exception]]] = []  # what must hold, what to show, the error
        self.inputs: list[tuple[Tensor, Node]] = []  # the tensors that hold traced arrays
        self.held: list[TracedArray] = []  # these
        self.arguments: list[tuple[int, Node]] = []  # which argument an input is
        self.raised: list[tuple[CaptureError, list[FrameType]]] = []  # what the function must let through, and where
        self.stand_ins: dict[int, tuple[Tensor, Any]] = {}  # by id: for arguments, and their gradients
        self.gradients: set[int] = set()  # the tensors, by id, whose .grad is the function's own
        self.gradless: list[Tensor] = []  # those whose .grad it found to be None
        self.shadows: dict[int, tuple[Tensor, Tensor]] = {}  # by id of the tensor, which is kept alive: its shadow
        self.made: dict[int, Any] = {}  # by id: weak references to the tensors that the function makes
        self.changed: list[tuple[Tensor, Any, Any]] = []  # tensors whose data was changed: what they hold now, and held

    def seen(self, t: Tensor) -> Tensor:
        """What this thread sees in place of a tensor: its shadow, or itself if it was made during the capture."""
        if id(t) in self.shadows:
            return self.shadows[id(t)][1]
        made = self.made.get(id(t))
        if made is not None and made() is t:
            return t
        if not has_data(t):
            self.made[id(t)] = weakref.ref(t)
            return t
        by_others, when = elsewhere.get(id(t), (None, 0))
        if by_others is not None and by_others() is t and when > self.began:
            raise CaptureError(
                f"{user_line()}: a tensor is used that another thread has made while this function was captured, and "
                "calls of the compiled function would not make it anew: compute it in the function's own thread"
            )
        shadow = Tensor.__new__(Tensor)
        for slot in SLOTS.values():
            with suppress(AttributeError):  # of a slot that was never set
                slot.__set__(shadow, slot.__get__(t))
        self.shadows[id(t)] = t, shadow
        data = SLOTS["_data"].__get__(t)
        if not isinstance(data, StandIn) and not data.dtype.hasobject:  # which hold symbols
            traced = self.trace.input(t.name or f"tensor{len(self.inputs)}", np.asarray(data))
            SLOTS["_data"].__set__(shadow, traced)
            SLOTS["_changed"].__set__(shadow, 0)
            self.inputs.append((t, traced.node))
            self.held.append(traced)
        return shadow

    def stand_in(self, x: Tensor, traced: Any, requires_grad: bool, name: str | None, gradient: Any) -> Tensor:
        """A tensor for the function in place of an argument."""
        made = Tensor(traced, requires_grad, name)
        SLOTS["_grad"].__set__(made, gradient)
        self.gradients.discard(id(made))
        self.stand_ins[id(made)] = made, gradient
        return made

    def reads_gradient(self, t: Tensor) -> None:
        """Note that .grad is looked at; refuse it where it is not the function's own."""
        outside = self.seen(t) is not t
        if id(t) in self.gradients or not outside and id(t) not in self.stand_ins:
            return
        if SLOTS["_grad"].__get__(self.seen(t)) is not None:
            raise CaptureError(
                f"{user_line()}: the .grad of {describe(t)} is looked at or added to, which is another tensor at every "
                "call: pass it as an argument, or take the gradient inside by mg.grad or mg.value_and_grad"
            )
        if outside:
            self.gradless.append(t)

    # ---- what the library asks a capture ------------------------------------------------------------------------

    def handled(self, up: int = 2) -> None:
        """Forget the errors of a call, so many calls up from here: the library has another way to do its work."""
        call = sys._getframe(up)
        self.raised = [(error, calls) for error, calls in self.raised if call not in calls]

    def reads(self, nest: Any) -> bool:
        return self.trace.reads(nest)

    def host(self, function: Callable, args: Any, params: dict[str, Any]) -> Any:
        return self.trace.host(function, args, params)

    def alike(self, nest: Any) -> Any:
        return self.trace.constant(nest)

    def rule(self, rule: Callable, args: tuple, params: dict[str, Any], error: Exception) -> Any:
        """What a rule gives that does not run on traced arrays (or on tensors that hold them): it runs as one piece."""
        arrays = [x._data if isinstance(x, Tensor) else x for x in args]
        if not self.reads((arrays, params)) or getattr(error, "final", False):
            raise error
        self.handled(3)
        if not any(isinstance(x, Tensor) for x in args):
            return self.host(rule, args, params)
        return HostRule(rule, params)(*args)

    def loop(self, *args: Any) -> tuple[list[Any], list[Any]]:
        """A loop, kept as one node: see `ops.steps.loop`."""
        return record(self, *args)

    def rules(self, rule: Callable, args: tuple, params: dict[str, Any], error: Exception) -> Any:
        """The same for a rule that gives the gradients by all inputs."""
        self.handled()
        if not any(isinstance(x, Tensor) for x in args):
            return self.rule(rule, args, params, error)
        of_input = [lambda *xs, i=i, **ps: rule(*xs, **ps)[i] for i in range(len(args) - 2)]
        return [self.rule(of, args, params, error) if isinstance(x, Tensor) and x.requires_grad else None
                for of, x in zip(of_input, args[2:], strict=True)]  # fmt: skip

    def assigns(self, module: Any, name: str) -> None:
        """Note that an attribute of a module is about to be set."""
        if module not in self.own:
            _, before = self.assigned.get((module, name), ("", vars(module).get(name, ABSENT)))
            self.assigned[module, name] = user_line(), before

    def left_in(self, module: Any, name: str) -> bool:
        """Whether an attribute of a module holds what is traced."""
        value = vars(module).get(name)
        return self.reads(SLOTS["_data"].__get__(value) if isinstance(value, Tensor) else value)

    def require(self, holds: Any, error: Callable[..., Exception], shown: tuple) -> None:
        """Note what has to hold when the compiled function has run, and the error that it raises otherwise."""
        if self.checks is not None:
            self.checks.append((error, [innermost_array(x) for x in (holds, *shown)]))
            return
        node = innermost_array(holds).node
        self.required.append(([node, *noded([innermost_array(x) for x in shown])], error))

    def drawing(self, generator: Any, own: bool) -> Drawing:
        self.remember(generator)
        return Drawing(self, generator, own)

    def remember(self, generator: Any) -> None:
        """Note where a generator stands, to set it back there."""
        if id(generator) not in self.states:
            self.states[id(generator)] = generator, state_of(generator)
            self.expected[id(generator)] = {standing(generator)}


class HostRule(Op):
    """A gradient rule that runs as one piece, as an op: its own gradient is found by running it on tensors."""

    def __init__(self, rule: Callable, params: dict[str, Any]) -> None:
        def pulled(g: Any, y: Any, *inputs: Any) -> Any:
            with recording():
                variables = [Tensor(x, True) if x is not None and x.dtype.kind == "f" else x for x in map(bare, inputs)]
                wanted = [x for x in variables if isinstance(x, Tensor)]
                found = iter(pull(as_tensor(rule(*variables, **params)), g, wanted, False))
            return [next(found)._data if isinstance(x, Tensor) else None for x in variables]

        def of_input(i: int, g: Any, y: Any, *inputs: Any) -> Any:
            args = (g, y, *inputs)
            whole = lambda *xs: pulled(*xs)[i]  # noqa: E731
            if any(isinstance(x, Tensor) for x in args):
                return HostRule(whole, {})(*args)
            return mode.capture.host(whole, args, {}) if mode.capture is not None else whole(*args)

        def run(*inputs: Any) -> Any:
            if mode.capture is not None and mode.capture.reads(inputs):
                return mode.capture.host(lambda *xs: rule(*xs, **params), inputs, {})
            before, mode.now = mode.now, PLAIN
            try:
                return rule(*inputs, **params)
            finally:
                mode.now = before

        super().__init__("gradient rule", run, each(of_input), arity=None)


def bare(x: Any) -> Any:
    return x._data if isinstance(x, Tensor) else x if x is None else np.asarray(x)


# ---- what tensors seem to be while a function is captured ----------------------------------------------------------

SLOTS = {name: vars(Tensor)[name] for name in Tensor.__slots__ if name != "__weakref__"}
# By id: weak references to the tensors that threads which capture nothing make meanwhile, and when each was made.
elsewhere: dict[int, tuple[Any, int]] = {}
captures, lock = 0, threading.Lock()


class Seen:
    """Stands in for a slot of Tensor: in a thread that captures it leads to shadows."""

    def __init__(self, slot: Any) -> None:
        self.slot = slot

    def __get__(self, t: Any, kind: Any = None) -> Any:
        capture = mode.capture
        if capture is None or t is None:
            return self.slot.__get__(t, kind)
        if self.slot is SLOTS["_grad"]:
            capture.reads_gradient(t)
        return self.slot.__get__(capture.seen(t), kind)

    def __set__(self, t: Any, value: Any) -> None:
        capture = mode.capture
        if capture is None and not has_data(t):
            elsewhere[id(t)] = weakref.ref(t), tick()
        if capture is not None and self.slot is SLOTS["_grad"]:
            capture.gradients.add(id(t))
        self.slot.__set__(t if capture is None else capture.seen(t), value)


def has_data(t: Tensor) -> bool:
    """Not so for a tensor that is being made."""
    try:
        SLOTS["_data"].__get__(t)
    except AttributeError:
        return False
    return True


@contextmanager
def shadows() -> Iterator[None]:
    """Inside, threads that capture see shadows of tensors."""
    global captures
    with lock:
        captures += 1
        if captures == 1:
            for name, slot in SLOTS.items():
                setattr(Tensor, name, Seen(slot))
    try:
        yield
    finally:
        with lock:
            captures -= 1
            if captures == 0:
                for name, slot in SLOTS.items():
                    setattr(Tensor, name, slot)
                elsewhere.clear()


@contextmanager
def capturing(generators: Iterable[tuple[str, Any]] = ()) -> Iterator[Capture]:
    """Inside, in this thread, tensors seem to hold traced arrays, and random draws are traced.

    Afterwards all is as it was before, whatever happened. From the generators, given by name, nothing may be drawn
    unless by mg.random, as from those of NumPy and Python.
    """
    if mode.capture is not None:
        raise RuntimeError("a capture inside a capture")
    capture, generator = Capture(), random.generator()
    watched = [("numpy.random", np.random), ("Python's random", python_random), *generators]
    for _, other in watched:
        capture.remember(other)
    with shadows():
        capture.began = tick()
        mode.capture = capture
        try:
            yield capture
            if capture.raised:
                raise capture.raised[0][0]
            for (t, node), held in zip(capture.inputs, capture.held, strict=True):
                if not isinstance(t._data, TracedArray) or t._data.node is not node:
                    capture.changed.append((t, t._data, held))
            check_effects(capture, generator)
            for name, other in watched:
                if standing(other) not in capture.expected[id(other)]:
                    raise CaptureError(
                        f"numbers are drawn from {name}, which would be the same in every call: draw them by mg.random "
                        "(mg.random.normal, ..., which take a generator=), whose numbers compiled functions draw anew"
                        + ("; or, if another thread has drawn them meanwhile, call again" if threaded() else "")
                    )
        finally:
            mode.capture = capture.trace.thread = None
            capture.raised = []  # with which go the calls
            random._generator = generator
            for drawn, state in capture.states.values():
                set_state(drawn, state)
            for (module, name), (_, before) in capture.assigned.items():
                if capture.left_in(module, name):  # where code that is not compiled would find it
                    delattr(module, name) if before is ABSENT else setattr(module, name, before)


def threaded() -> bool:
    """Whether there are other threads, which may draw from any generator: whose draw it was is not to be seen."""
    return threading.active_count() > 1


def state_of(generator: Any) -> Any:
    """The state of a generator of NumPy or Python, or of the one behind the functions of their modules."""
    if hasattr(generator, "getstate"):
        return generator.getstate()
    if hasattr(generator, "get_state"):  # of RandomState, which keeps a normal number for later beside the bits
        return generator.get_state(legacy=False)
    return getattr(generator, "bit_generator", generator).state


def set_state(generator: Any, state: Any) -> None:
    if hasattr(generator, "setstate"):
        generator.setstate(state)
    elif hasattr(generator, "set_state"):
        generator.set_state(state)
    else:
        getattr(generator, "bit_generator", generator).state = state


def standing(generator: Any) -> str:
    """Where a generator stands: its state, and how many others it has spawned."""
    seed = getattr(getattr(generator, "bit_generator", generator), "seed_seq", None)
    return str((state_of(generator), getattr(seed, "n_children_spawned", 0)))


def check_effects(capture: Capture, generator: Any) -> None:
    """Raise CaptureError for effects of a function that a call of the compiled one would not have."""
    for module, name in capture.assigned:
        if capture.left_in(module, name):
            raise remembering(f"{type(module).__name__}.{name}", capture)
    for t, gradient in capture.stand_ins.values():
        if SLOTS["_grad"].__get__(t) is not gradient:
            raise left_behind(t)
    for t, shadow in capture.shadows.values():
        before, now = ([SLOTS[name].__get__(x) for name in ("_grad", "requires_grad", "_keep")] for x in (t, shadow))
        if now[0] is not before[0]:
            raise left_behind(t)
        if now[1] is not before[1] or now[2] is not before[2]:
            raise CaptureError(
                f"requires_grad_, retain_grad or register_hook of {describe(t)} inside a compiled function would take "
                "effect once only: call it before"
            )
    if random._generator is not generator:
        raise CaptureError("mg.random.seed inside a compiled function would take effect once only: call it before")


def remembering(path: str, capture: Capture) -> CaptureError:
    """The error for what every call changes; for an attribute of a module, with the line."""
    line = way = ""
    for (module, name), (place, before) in capture.assigned.items():
        now = vars(module).get(name)
        if now is not before and name in path.replace("[", ".").split("."):
            counts = isinstance(now, int | float)
            line, way = f"{place}: ", f", by self.{name}.data[...] {'+= 1' if counts else '= ...'}"
            break
    return CaptureError(
        f"{line}{path} is changed by every call, and compiled code would not change it: keep it in a tensor, and write "
        f"into that{way}; or return it from the function"
    )


def left_behind(t: Tensor) -> CaptureError:
    return CaptureError(
        f"backward inside a compiled function would leave a gradient in .grad of {describe(t)}, and calls of the "
        "compiled function leave none: return mg.grad(f) or mg.value_and_grad(f) by what it needs instead"
    )
