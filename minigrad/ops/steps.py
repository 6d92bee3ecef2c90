"""Loops in which each step needs what the step before has left: over plain arrays, symbols, tensors, or kept as a loop.

In a function that is being compiled, the capture writes it down as one piece, whatever the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..tensor import Tensor, mode

Body = Callable[[list[Any], list[Any]], tuple[list[Any], list[Any]]]


def loop(body: Body, carry: list, xs: list, length: int | None = None, reverse: bool = False) -> tuple[list, list]:
    """`carry, y = body(carry, x)` for every x along the first axis of xs: the last carry, and all y stacked.

    `carry`, `xs` and the y are lists of arrays; without xs, `length` says how many steps there are. With `reverse` the
    last x comes first, and the y of each is where its x was.
    """
    length = len(xs[0]) if length is None else length
    if kept(carry + xs):
        return mode.capture.loop(body, carry, xs, length, reverse)
    return run(body, carry, xs, length, reverse)


def run(body: Body, carry: list, xs: list, length: int, reverse: bool) -> tuple[list, list]:
    """The loop in Python."""
    ys: list[Any] = [None] * length
    for t in order(length, reverse):
        carry, ys[t] = body(carry, [x[t] for x in xs])
    return carry, [np.stack(column) for column in zip(*ys, strict=True)]


def order(length: int, reverse: bool) -> Sequence[int]:
    """The steps in the order in which they are taken."""
    return range(length)[::-1] if reverse else range(length)


def kept(arrays: list[Any]) -> bool:
    """Whether a loop over such arrays is kept as one: in what is compiled, but not inside `mg.vmap` there."""
    return mode.capture is not None and not mode.levels and not any(isinstance(x, Tensor) for x in arrays)
