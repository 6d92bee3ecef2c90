"""Views of values, and values put together from others: in the simplest form that there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .indices import Index
from .trace import Node
from .values import (
    Patches,
    Value,
    View,
    number_in,
    one_number,
    reshaped,
    spread,
    viewed,
)  # fmt: skip

Move = Callable[[Index], Index]  # from the index of an element to that of where it is found, or put
Rule = Callable[..., Value | None]


class Transpose(View):
    """The axes in another order: axis i of the result is axis axes[i] of the base."""

    def __init__(self, base: Value, axes: list[int]) -> None:
        inverse = np.argsort(axes).tolist()
        super().__init__(base, [base.shape[a] for a in axes], lambda i: [i[a] for a in inverse], "transpose")
        self.axes = axes


def permuted(base: Value, axes: Sequence[int]) -> Value:
    """The axes in another order, as np.transpose has it."""
    if isinstance(base, Transpose):
        return permuted(base.inputs[0], [base.axes[a] for a in axes])
    if list(axes) == sorted(axes):
        return base
    return spread(base.inputs[0], [base.shape[a] for a in axes]) if one_number(base) else Transpose(base, list(axes))


def diagonal_of(x: Value, xs: list) -> tuple[Value, list]:
    """The elements where axes with the same label have the same index."""
    once = list(dict.fromkeys(xs))
    if len(once) == len(xs):
        return x, xs
    shape = [x.shape[xs.index(a)] for a in once]
    return viewed(x, shape, lambda index: [index[once.index(a)] for a in xs], "diagonal"), once


def along(x: Value, axis: int, ndim: int) -> Value:
    """A vector along one of several axes."""
    return reshaped(x, [x.size if k == axis else 1 for k in range(ndim)])


class Box(View):
    """The elements of a box of an array, along those of its axes that are not left out."""

    def __init__(self, base: Value, shape: Sequence[int], move: Move, box: list[tuple[int, int]]) -> None:
        super().__init__(base, shape, move, "getitem")
        self.box = box


def whole(x: Value) -> list[tuple[int, int]]:
    return [(0, n) for n in x.shape]


def boxed(base: Value, shape: Sequence[int], move: Move, box: list[tuple[int, int]] | None) -> Value:
    """A box of an array; of one that is put together, taken from the part in which it lies."""
    if box is None or one_number(base):
        return viewed(base, shape, move, "getitem")
    if isinstance(base, Patches) and base.starts is not None:
        for part, starts in reversed(list(zip(base.inputs, base.starts, strict=True))):
            edges = [(a, a + n, lo, hi) for a, n, (lo, hi) in zip(starts, part.shape, box, strict=True)]
            if all(a <= lo and hi <= b for a, b, lo, hi in edges):
                inside = [(lo - a, hi - a) for a, _, lo, hi in edges]
                return boxed(part, shape, after(move, shifted([-a for a in starts])), inside)
            if not any(hi <= a or b <= lo for a, b, lo, hi in edges):
                break  # it lies in several
    return Box(base, shape, move, box)


def after(first: Move, second: Move) -> Move:
    return lambda index: second(first(index))


def cut(base: Value, axis: int, start: int, length: int) -> Value:
    """So many elements along an axis."""
    box = [(start, start + length) if k == axis else (0, n) for k, n in enumerate(base.shape)]
    shape = [hi - lo for lo, hi in box]
    return boxed(base, shape, lambda i: [p + start if k == axis else p for k, p in enumerate(i)], box)


def patched(base: Value, part: Value, starts: Sequence[int], what: str) -> Value:
    """The array with a part of it replaced."""
    return Patches(
        [base, part], [lambda i: i, shifted(starts)], base.shape, what, starts=[[0] * len(starts), list(starts)]
    )


def side_by_side(x: Value, y: Value) -> Value | None:
    """The sum of two arrays that are zero but for parts at different places, such as gradients of slices."""
    if not all(isinstance(v, Patches) and v.starts is not None and zero(v.inputs[0]) for v in (x, y)):
        return None
    assert isinstance(x, Patches)
    assert isinstance(y, Patches)
    parts = [
        (part, list(start)) for v in (x, y) for part, start in list(zip(v.inputs, v.starts or (), strict=True))[1:]
    ]
    if any(meet(*a, *b) for i, a in enumerate(parts) for b in parts[:i]):
        return None
    if sum(part.size for part, _ in parts) < x.size:
        parts.insert(0, (x.inputs[0], [0] * len(x.shape)))
    starts = [start for _, start in parts]
    return Patches([part for part, _ in parts], [shifted(a) for a in starts], x.shape, "side by side", starts=starts)


def zero(x: Value) -> bool:
    number = number_in(x)
    return number is not None and number.value == 0


def meet(x: Value, at: Sequence[int], y: Value, there: Sequence[int]) -> bool:
    """Whether two parts of an array have elements in common."""
    return all(a < b + n and b < a + m for a, m, b, n in zip(at, x.shape, there, y.shape, strict=True))


def shifted(starts: Sequence[int]) -> Move:
    return lambda index: [i + start for i, start in zip(index, starts, strict=True)]


def diagonals(base: Value, offset: int, axis1: int, axis2: int, length: int) -> Value:
    a, b = normalize_axis_tuple((axis1, axis2), len(base.shape))
    others = [k for k in range(len(base.shape)) if k not in (a, b)]

    def move(index: Index) -> Index:
        at = dict(zip(others, index[:-1], strict=True))
        at |= {a: index[-1] + max(-offset, 0), b: index[-1] + max(offset, 0)}
        return [at[k] for k in range(len(at))]

    return viewed(base, (*(base.shape[k] for k in others), length), move, "diagonal")


def stacked(parts: Sequence[Value], axis: int, node: Node) -> Value:
    same = all_of([(x, [*x.shape[:axis], 1, *x.shape[axis:]]) for x in parts], axis)
    if same is not None:
        return same
    shape = (*node.shape[:axis], 1, *node.shape[axis + 1 :])
    return joined([reshaped(x, shape) for x in parts], axis, node.shape, "stack")


def joined(parts: Sequence[Value], axis: int, shape: tuple[int, ...], what: str) -> Value:
    """Arrays one after the other along an axis."""
    parts = [x for x in parts if x.shape[axis]] or list(parts[:1])
    if len(parts) == 1:
        return parts[0]
    same = all_of([(x, list(x.shape)) for x in parts], axis)
    if same is not None:
        return same
    starts = np.cumsum([0, *[x.shape[axis] for x in parts]]).tolist()[:-1]
    boxes = [[start if k == axis else 0 for k in range(len(shape))] for start in starts]
    return Patches(parts, [shifted(b) for b in boxes], shape, what, starts=boxes)


def all_of(parts: Sequence[tuple[Value, list[int]]], axis: int) -> Value | None:
    """The array of which these are all boxes of some shapes along an axis, in order."""
    base, at = parts[0][0].inputs[0] if isinstance(parts[0][0], Box) else None, 0
    for x, shape in parts:
        if base is None or not isinstance(x, Box) or x.inputs[0] is not base or len(shape) != len(base.shape):
            return None
        stop = at + shape[axis]
        if x.box != [(at, stop) if k == axis else (0, n) for k, n in enumerate(base.shape)]:
            return None
        if [hi - lo for lo, hi in x.box] != shape:
            return None
        at = stop
    return base if base is not None and at == base.shape[axis] else None


def padded(base: Value, before: Sequence[int], shape: tuple[int, ...], edge: Value) -> Value:
    return base if base.shape == shape else patched(spread(edge, shape), base, before, "pad")
