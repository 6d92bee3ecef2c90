"""Loops in a trace: one node, whatever the number of steps.

The body is traced once, in a trace of its own. What it uses of the traces around it becomes an input of it, the same in
all steps; what it computes of such values alone is written down outside, and is not computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ops.steps import Body, run
from ..tensor import describe
from .trace import CaptureError, Node, Replay, Trace, TracedArray, live, user_line, values


class Loop:
    """A loop as the function of a node: `loop(carry, xs, outside)` is the last carry and the stacked ys, in one tuple.

    A step is `nodes`, in order. Its inputs are nodes too: `carry` is what the step before has left (the first gets the
    argument), `xs` are rows t of the arguments, and `outside` is the same in all steps. Its results are among the nodes
    and the inputs: `last` is left to the next step, in the shapes and dtypes of `carry`, and `ys` are rows t of what is
    stacked. There are `length` steps, t from 0 on, or down to 0 in `reverse`. Values of nodes are those of the first
    step.
    """

    __name__ = "loop"

    def __init__(self, inside: Trace, inputs: list[list[Node]], results: list[list[Node]], length: int, reverse: bool):
        self.last, self.ys = results
        needed = live(self.last + self.ys)
        self.nodes = [node for node in needed if node.function != "input"]
        self.inside, self.carry = inside, inputs[0]
        self.xs = [node for node in inputs[1] if node in set(needed)]
        self.outside = [node for _, node in inside.outside.values() if node in set(needed)]
        self.length, self.reverse = length, reverse

    def __call__(
        self, carry: Sequence, xs: Sequence, outside: Sequence, reading: Callable = Replay
    ) -> tuple[np.ndarray, ...]:
        """The results by NumPy, or by another reading of the trace of a step."""
        step = reading(self.inside, self.carry + self.xs + self.outside, self.last + self.ys)
        n = len(self.last)

        def body(carry: list, x: list) -> tuple[list, list]:
            results = step([*carry, *x, *outside])
            return results[:n], results[n:]

        last, ys = run(body, list(carry), list(xs), self.length, self.reverse)
        return (*last, *ys)


def record(
    capture: Any, body: Body, carry: list, xs: list, length: int, reverse: bool
) -> tuple[list[Any], list[Any]]:  # fmt: skip
    """Trace one step, and write the loop down as a node of the trace furthest in of those that it uses."""
    inside, first = Trace(capture.trace), -1 if reverse else 0
    rows = [x[first] for x in values(xs)]
    inputs = [
        [inside.input(f"{name}{i}", np.array(x)) for i, x in enumerate(group)]
        for name, group in (("carry", values(carry)), ("x", rows))
    ]
    before, capture.checks = capture.checks, []
    try:
        last, ys = body(*[list(group) for group in inputs])
        checks = capture.checks
    finally:
        capture.checks = before
    dtypes = [np.result_type(a.dtype, b.dtype) for a, b in zip(inputs[0], last, strict=True)]
    if dtypes != [x.dtype for x in inputs[0]]:  # float32 has met float64
        return record(capture, body, [x.astype(t) for x, t in zip(carry, dtypes, strict=True)], xs, length, reverse)
    check(capture, inside, inputs[0], last)
    looked_at = [x for _, arrays in checks for x in arrays]
    results = [[result(inside, x) for x in group] for group in (last, ys + looked_at)]
    inside.over = True
    loop = Loop(inside, inside.noded(inputs), results, length, reverse)
    given = dict(zip([x.node for x in inputs[1]], xs, strict=True)) | {node: x for x, node in inside.outside.values()}
    args = list(carry), [given[node] for node in loop.xs], [given[node] for node in loop.outside]
    parts = capture.trace.record(loop, args, {}, loop(*values(args)))
    rest = iter(parts)
    last, ys = ([next(rest) for _ in group] for group in (last, ys))
    for error, arrays in checks:  # of all steps at once
        holds, *shown = [next(rest) for _ in arrays]
        capture.require(holds, error, tuple(shown))
    return last, ys


def result(inside: Trace, x: Any) -> Node:
    """What a step returns as a node of its trace."""
    return inside.node_of(x) if isinstance(x, TracedArray) else inside.add("constant", ("result",), {}, x).node


def check(capture: Any, inside: Trace, carry: list, last: list) -> None:
    """Raise for a step that can't be repeated: it leaves other shapes than it takes, or changes a tensor."""
    before, after = [x.shape for x in carry], [x.shape for x in last]
    if before != after:
        raise ValueError(f"a step of a loop takes arrays of shapes {before} and leaves {after}")
    for t, _ in capture.inputs:
        if isinstance(t._data, TracedArray) and t._data.trace is inside:
            raise CaptureError(
                f"{user_line()}: {describe(t)} is changed in the body of a loop that is compiled: make it part of the "
                "carry, and set it after the loop"
            )
