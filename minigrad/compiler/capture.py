"""Capture: a function runs once on tensors that hold traced arrays, and all is put back afterwards.

Every tensor that there is holds a traced array meanwhile, so whatever the function reads is an input of the trace,
which each call reads anew, and whatever it changes is noticed. What it makes itself holds arrays until it meets one of
the others: so constants are computed once.
"""

from __future__ import annotations

import gc
import random as python_random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import random
from ..batching import innermost_array
from ..ops.card import Op, each
from ..tensor import PLAIN, Tensor, as_tensor, describe, mode, recording
from ..transforms import pull
from .loops import record
from .trace import CaptureError, Node, Trace, TracedArray, noded, user_line


class Draw:
    """What is drawn at random: an input that every call draws anew, in the same order."""

    def __init__(self, node: Node, generator: Any, method: str, args: tuple, kwargs: dict[str, Any]) -> None:
        self.node, self.generator, self.method, self.args, self.kwargs = node, generator, method, args, kwargs

    def __call__(self) -> np.ndarray:
        generator = random.generator() if self.generator is None else self.generator
        return np.asarray(getattr(generator, self.method)(*self.args, **self.kwargs))

    def __iter__(self) -> Iterator[Any]:
        return iter((self.node, self.method, self.args, self.kwargs))


class Drawing:
    """Stands in for a random generator during a capture."""

    def __init__(self, capture: Capture, generator: Any, own: bool) -> None:
        self.capture, self.generator, self.own = capture, generator, own

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.generator, name)
        if not callable(method) or name in ("spawn", "shuffle"):
            return method

        def draw(*args: Any, **kwargs: Any) -> TracedArray:
            capture = self.capture
            if capture.checks is not None:
                raise CaptureError(
                    f"{user_line()}: numbers are drawn at random in the body of a loop, which is compiled once for all "
                    "steps: draw those of all steps before, as one of the xs"
                )
            key = id(self.generator), name, str((self.generator.bit_generator.state, args, kwargs))
            value = method(*args, **kwargs)
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
        self.draws: list[Draw] = []
        self.drawn: dict[tuple, Node] = {}
        self.checks: list[tuple[Any, list[Any]]] | None = (
            None  # in the body of a loop: errors, what must hold and be shown
        )
        self.states: dict[int, tuple[Any, Any]] = {}  # where the generators stood before the first draw
        self.modules: dict[Any, bool] = {}  # those that were called, and whether they were training
        self.required: list[tuple[list[Any], Callable[..., Exception]]] = []  # what must hold, what to show, the error
        self.inputs: list[tuple[Tensor, Node]] = []  # the tensors that hold traced arrays
        self.arguments: list[tuple[int, Node]] = []  # which argument an input is
        self.held: dict[int, Any] = {}  # by id of the tensor: what it held before
        self.changed: list[tuple[Tensor, Any, Any]] = []  # tensors whose data was changed: what they hold now, and held

    # ---- what the library asks a capture ------------------------------------------------------------------------

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
        if not any(isinstance(x, Tensor) for x in args):
            return self.host(rule, args, params)
        return HostRule(rule, params)(*args)

    def loop(self, *args: Any) -> tuple[list[Any], list[Any]]:
        """A loop, kept as one node: see `ops.steps.loop`."""
        return record(self, *args)

    def rules(self, rule: Callable, args: tuple, params: dict[str, Any], error: Exception) -> Any:
        """The same for a rule that gives the gradients by all inputs."""
        if not any(isinstance(x, Tensor) for x in args):
            return self.rule(rule, args, params, error)
        of_input = [lambda *xs, i=i, **ps: rule(*xs, **ps)[i] for i in range(len(args) - 2)]
        return [self.rule(of, args, params, error) if isinstance(x, Tensor) and x.requires_grad else None
                for of, x in zip(of_input, args[2:], strict=True)]  # fmt: skip

    def require(self, holds: Any, error: Callable[..., Exception], shown: tuple) -> None:
        """Note what has to hold when the compiled function has run, and the error that it raises otherwise."""
        if self.checks is not None:
            self.checks.append((error, [innermost_array(x) for x in (holds, *shown)]))
            return
        node = innermost_array(holds).node
        self.required.append(([node, *noded([innermost_array(x) for x in shown])], error))

    def drawing(self, generator: Any, own: bool) -> Drawing:
        if isinstance(generator, np.random.Generator):
            self.states.setdefault(id(generator), (generator, generator.bit_generator.state))
        return Drawing(self, generator, own)


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


@contextmanager
def capturing(tensors: Sequence[Tensor] | None = None, trace: Trace | None = None) -> Iterator[Capture]:
    """Inside, tensors (all that there are, unless some are given) hold traced arrays, and random draws are traced.

    Afterwards they hold what they held before, whatever happened.
    """
    capture = Capture()
    capture.trace = trace or capture.trace
    if gc.get_freeze_count():
        gc.unfreeze()  # which hides objects from the search below, and is for programs that are about to fork
    held = [x for x in gc.get_referrers(Tensor) if type(x) is Tensor] if tensors is None else list(tensors)
    held = [t for t in held if holds_numbers(t)]
    before = [(t, t._data, t._changed, t._born, t._grad) for t in held]
    capture.held = {id(t): t._data for t in held}
    generator, outer, others = random.generator(), mode.capture, other_generators()
    if outer is not None:
        raise RuntimeError("a capture inside a capture")
    mode.capture = capture
    try:
        for i, t in enumerate(held):
            data = np.asarray(t._data)
            t._data, t._changed = capture.trace.input(t.name or f"tensor{i}", data), 0
            capture.inputs.append((t, t._data.node))
        arrays = [t._data for t in held]
        yield capture
        for (t, node), array in zip(capture.inputs, arrays, strict=True):
            if not isinstance(t._data, TracedArray) or t._data.node is not node:
                capture.changed.append((t, t._data, array))
        check_effects(before, generator)
        if str(other_generators()) != str(others):
            raise CaptureError(
                "numbers are drawn from numpy.random or Python's random, which would be the same in every call: draw "
                "them by mg.random, which compiled functions draw anew"
            )
    finally:
        mode.capture = None
        np.random.get_bit_generator().state = others[0]  # type: ignore[attr-defined]
        python_random.setstate(others[1])
        random._generator = generator
        for drawn, state in capture.states.values():
            drawn.bit_generator.state = state
        for t, data, changed, born, grad in before:
            t._data, t._changed, t._born, t._grad = data, changed, born, grad


def other_generators() -> tuple[Any, Any]:
    """The states of the generators that are not ours: NumPy's global one, and Python's."""
    return np.random.get_bit_generator().state, python_random.getstate()  # type: ignore[attr-defined]


def holds_numbers(t: Tensor) -> bool:
    """Not so: symbols, what an earlier capture has left behind, and a tensor that is being made in another thread."""
    data = getattr(t, "_data", None)
    return isinstance(data, np.ndarray | np.generic) and not data.dtype.hasobject


def check_effects(before: list[tuple], generator: Any) -> None:
    """Raise CaptureError for effects of a function that a call of the compiled one would not have."""
    for t, _, _, _, grad in before:
        if t._grad is not grad:
            raise CaptureError(
                f"backward inside a compiled function would leave a gradient in .grad of {describe(t)}, and calls of "
                "the compiled function leave none: return mg.grad(f) or mg.value_and_grad(f) by what it needs instead"
            )
    if random._generator is not generator:
        raise CaptureError("mg.random.seed inside a compiled function would take effect once only: call it before")


@contextmanager
def traced(trace: Trace, tensors: list[Tensor]) -> Iterator[Capture]:
    """Inside, these tensors hold traced arrays, and what is drawn at random is traced."""
    with capturing(tensors, trace) as capture:
        yield capture
