"""Keys of arrays: parts taken, written and added to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from .elementwise import CHEAP
from .indices import ZERO, Index, Place, broadcast
from .trace import Node
from .values import (
    Checked,
    Map,
    NoNative,
    Patches,
    Pick,
    Scatter,
    Value,
    drawn,
    reshaped,
    spread,
)  # fmt: skip
from .views import Move, Rule, boxed, patched, whole

if TYPE_CHECKING:
    from .lower import Lowering


class Key:
    """A key of an array, taken apart: `[...]` written out, slices, integers, new axes and arrays of integers."""

    def __init__(self, lowering: Lowering, shape: tuple[int, ...], key: Any) -> None:
        parts = list(key) if type(key) is tuple else [key]
        parts = [np.asarray(k) if isinstance(k, list) else k for k in parts]
        parts = [p for k in parts for p in (np.nonzero(k) if isinstance(k, np.ndarray) and is_mask(k) else [k])]
        if any(isinstance(k, bool | np.bool_) or is_mask(k) for k in parts):
            raise NoNative("x[mask]")
        named = sum(k is not None and k is not Ellipsis for k in parts)
        at = next((i for i, k in enumerate(parts) if k is Ellipsis), None)
        if at is None:
            at = len(parts)
            parts.append(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (len(shape) - named)
        self.shape, self.parts = shape, parts
        arrays = [i for i, k in enumerate(parts) if isinstance(k, Node | np.ndarray)]
        if arrays:  # then integers are arrays as well
            parts[:] = [np.asarray(k) if isinstance(k, int | np.integer) else k for k in parts]
        self.arrays: dict[int, Value] = {}
        axis = 0
        for i, k in enumerate(parts):
            if isinstance(k, Node | np.ndarray):
                self.arrays[i] = checked(lowering, k, shape[axis])
            axis += k is not None
        self.picked = np.broadcast_shapes(*[x.shape for x in self.arrays.values()])
        places = list(self.arrays)
        together = places == list(range(places[0], places[-1] + 1)) if places else True
        first = places[0] if places else 0
        self.before = sum(isinstance(k, slice) or k is None for k in parts[:first]) if together else 0

    @property
    def box(self) -> list[tuple[int, int]] | None:
        """The first index and the one after the last along each axis, if the key selects a box."""
        found = []
        for k, n in zip([k for k in self.parts if k is not None], self.shape, strict=True):
            start, stop, step = (
                k.indices(n) if isinstance(k, slice) else (int(k) % max(n, 1), int(k) % max(n, 1) + 1, 1)
            )
            if step != 1:
                return None
            found.append((start, max(start, stop)))
        return found

    def move(self, index: Index) -> Index:
        """Where in the array the element lies that has this index in what the key selects."""
        n = len(self.picked) if self.arrays else 0
        chosen = index[self.before : self.before + n]
        rest = iter(index[: self.before] + index[self.before + n :])
        moved, axis = [], 0
        for i, k in enumerate(self.parts):
            if k is None:
                next(rest)
                continue
            length = self.shape[axis]
            if isinstance(k, slice):
                start, _, step = k.indices(length)
                moved.append(next(rest) * step + start)
            elif i in self.arrays:
                x = self.arrays[i]
                moved.append(drawn(x, broadcast(chosen, x.shape), length))
            else:
                moved.append(Place(int(k) % max(length, 1)))
            axis += 1
        return moved


def is_mask(k: Any) -> bool:
    return isinstance(k, Node | np.ndarray) and k.dtype == bool


def checked(self: Lowering, k: Any, n: int) -> Value:
    """Indices of an axis of n elements."""
    x = self.value(k)
    if x.dtype.kind not in "iu":
        raise NoNative("an index that is no integer")
    if not isinstance(k, Node):  # a constant, which NumPy has checked
        return self.value(np.asarray(k) % max(n, 1))
    key = ("index", id(x), n)
    if key not in self.known:
        sentence = f"{k.line}: an index is out of range, of an axis of {n} elements"
        self.known[key] = Checked(x, n, self.check(lambda: IndexError(sentence)))
    return self.known[key]


def getitem(self: Lowering, node: Node, x: Any, key: Any) -> Value:
    base = self.value(x)
    k = Key(self, base.shape, key)
    if k.arrays:
        return Pick(base, list(k.arrays.values()), node.shape, k.move)
    return base if node.shape == base.shape and k.box == whole(base) else boxed(base, node.shape, k.move, k.box)


def setitem(self: Lowering, node: Node, x: Any, key: Any, new: Any) -> Value | None:
    base = self.floats(x, node.dtype)
    if isinstance(key, Node) and key.dtype == bool:
        return masked(self, base, key, self.floats(new, node.dtype))
    k = Key(self, base.shape, key)
    shape = selected(k)
    part = self.floats(new, node.dtype)
    if len(part.shape) > len(shape):  # NumPy lets leading axes of length 1 go
        part = reshaped(part, part.shape[len(part.shape) - len(shape) :])
    part = spread(part, shape)
    if k.arrays:
        return Scatter(base, list(k.arrays.values()), part, k.move, add=False)
    if k.box is None:
        return Patches([base, part], [lambda index: index, k.move], base.shape, "setitem")
    part = reshaped(part, [hi - lo for lo, hi in k.box])
    return part if part.shape == base.shape else patched(base, part, [lo for lo, _ in k.box], "setitem")


def masked(self: Lowering, base: Value, mask: Node, new: Value) -> Value | None:
    """x[mask] = number."""
    if new.size != 1:
        return None
    condition = self.value(mask)
    condition = reshaped(condition, (*condition.shape, *[1] * (len(base.shape) - len(condition.shape))))
    return self.chosen(condition, reshaped(new, ()), base, base.shape)


def add_at(self: Lowering, node: Node, negative: bool, x: Any, key: Any, new: Any) -> Value:
    base = self.floats(x, node.dtype)
    k = Key(self, base.shape, key)
    part = spread(self.floats(new, node.dtype), selected(k))
    if negative:
        part = Map(lambda a: f"(-{a})", [part], part.shape, part.dtype, "negative", CHEAP)
    return Scatter(base, list(k.arrays.values()), part, k.move, add=True)


def selected(k: Key) -> tuple[int, ...]:
    """The shape of what a key selects."""
    zeros = [np.zeros(k.arrays[i].shape, int) if i in k.arrays else p for i, p in enumerate(k.parts)]
    return np.broadcast_to(np.empty((), np.bool_), k.shape)[tuple(zeros)].shape


def take(self: Lowering, node: Node, x: Any, indices: Any, axis: Any = None, **kwargs: Any) -> Value | None:
    if kwargs:
        return None
    base = self.value(x)
    if axis is None:
        base, axis = reshaped(base, (base.size,)), 0
    axis = normalize_axis_index(axis, len(base.shape))
    places = checked(self, indices, base.shape[axis])
    n = len(places.shape)

    def move(index: Index) -> Index:
        place = drawn(places, index[axis : axis + n], base.shape[axis])
        return [*index[:axis], place, *index[axis + n :]]

    return Pick(base, [places], node.shape, move)


def take_along_axis(self: Lowering, node: Node, x: Any, indices: Any, axis: Any = -1) -> Value | None:
    if axis is None:
        return None
    base = self.value(x)
    places, move = along_axis(self, base, indices, axis)
    return Pick(base, [places], node.shape, move)


def along_axis(self: Lowering, base: Value, indices: Any, axis: int) -> tuple[Value, Move]:
    axis = normalize_axis_index(axis, len(base.shape))
    places = checked(self, indices, base.shape[axis])

    def move(index: Index) -> Index:
        place = drawn(places, broadcast(index, places.shape), base.shape[axis])
        return [place if k == axis else ZERO if base.shape[k] == 1 else i for k, i in enumerate(index)]

    return places, move


def put_along_axis(self: Lowering, node: Node, x: Any, indices: Any, new: Any, axis: Any = -1) -> Value | None:
    if axis is None:
        return None
    base = self.value(x)
    places, move = along_axis(self, base, indices, axis)
    shape = [places.shape[axis] if k == axis % len(node.shape) else n for k, n in enumerate(node.shape)]
    return Scatter(base, [places], spread(self.floats(new, node.dtype), shape), move, add=False)


RULES: dict[Any, Rule] = {
    "getitem": getitem, "setitem": setitem, np.take: take, np.take_along_axis: take_along_axis,
}  # fmt: skip
