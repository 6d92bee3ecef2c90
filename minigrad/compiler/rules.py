"""What NumPy's functions mean as values.

Each rule is a function of the lowering, the node and the arguments of the call, and gives None for what it cannot say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple
from numpy.lib.stride_tricks import sliding_window_view

from . import contractions, indexing
from .contractions import total
from .elementwise import CHEAP, ROOT, call, operator
from .indices import Index
from .trace import Node
from .values import (
    TYPES,
    Map,
    Patches,
    Reduce,
    Running,
    Scalar,
    Steps,
    Value,
    View,
    reshaped,
    spread,
    viewed,
)  # fmt: skip
from .views import Rule, along, cut, diagonals, joined, padded, permuted, stacked

if TYPE_CHECKING:
    from .lower import Lowering

# ---- choices, bits ---------------------------------------------------------------------------------------------------


def where(self: Lowering, node: Node, condition: Any, *branches: Any) -> Value | None:
    if len(branches) != 2:
        return None
    x, y = (self.floats(x, node.dtype) for x in branches)
    return self.chosen(self.truth(self.value(condition)), x, y, node.shape)


def clip(self: Lowering, node: Node, x: Any, a_min: Any = None, a_max: Any = None, **kwargs: Any) -> Value | None:
    low, high = kwargs.pop("min", a_min), kwargs.pop("max", a_max)
    if kwargs or node.dtype == bool:
        return None
    value = self.floats(x, node.dtype)
    for bound, function in ((low, "largest"), (high, "smallest")):
        if bound is not None:
            value = Map(call(function), [value, self.floats(bound, node.dtype)], node.shape, node.dtype, "clip", CHEAP)
    return spread(value, node.shape)


def bits(self: Lowering, node: Node, x: Any) -> Value | None:
    """The bits of numbers as those of others, of the same size."""
    base = self.value(x)
    if base.dtype.itemsize != node.dtype.itemsize or base.shape != node.shape:
        return None
    if base.dtype == bool or node.dtype == bool:  # a byte that is 0 or 1
        return self.cast(base, node.dtype)
    there = TYPES[node.dtype.name]
    return Map(lambda a: f"bits_of({there}(0), {a})", [base], node.shape, node.dtype, "view", CHEAP)


def nan_to_num(
    self: Lowering, node: Node, x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Value:
    base, limits = self.value(x), np.finfo(node.dtype) if node.dtype.kind == "f" else None
    if limits is None:
        return base
    most = [(np.inf, limits.max if posinf is None else posinf), (-np.inf, limits.min if neginf is None else neginf)]
    for bad, good in most:
        test = Map(operator("=="), [base, Scalar(bad, node.dtype)], node.shape, bool, "equal", CHEAP)
        base = self.chosen(test, self.floats(good, node.dtype), base, node.shape)
    number = Map(lambda a: f"({a} == {a})", [base], node.shape, bool, "isnan", CHEAP)
    return self.chosen(number, base, self.floats(nan, node.dtype), node.shape)


def isclose(
    self: Lowering, node: Node, a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False
) -> Value | None:
    x, y = self.value(a), self.value(b)
    dtype = np.result_type(x.dtype, y.dtype)
    if dtype.kind != "f" or not all(isinstance(t, float | int) for t in (rtol, atol)):
        return None
    inputs = [self.cast(x, dtype), self.cast(y, dtype), Scalar(rtol, dtype), Scalar(atol, dtype)]
    return Map(call(f"close{'_or_nan' * equal_nan}"), inputs, node.shape, bool, "isclose", CHEAP)


def rounded(self: Lowering, node: Node, x: Any, decimals: int = 0, out: Any = None) -> Value | None:
    """To so many decimals, as NumPy does it: scaled, rounded, scaled back."""
    base, dtype = self.value(x), node.dtype
    if out is not None or dtype.kind != "f":
        return base if out is None and decimals >= 0 and dtype == base.dtype else None
    scale = Scalar(10.0 ** abs(decimals), dtype)
    there, back = ("*", "/") if decimals > 0 else ("/", "*")
    scaled = Map(operator(there), [base, scale], node.shape, dtype, "scale", ROOT) if decimals else base
    whole = Map(call("rint"), [scaled], node.shape, dtype, "round", CHEAP)
    return Map(operator(back), [whole, scale], node.shape, dtype, "scale", ROOT) if decimals else whole


def sinc(self: Lowering, node: Node, x: Any) -> Value | None:
    if node.dtype.kind != "f":
        return None
    kind = TYPES[node.dtype.name]
    inputs = [self.floats(x, node.dtype)]
    angle = Map(lambda a: f"nonzero({a} * {kind}({np.pi!r}))", inputs, node.shape, node.dtype, "sinc", CHEAP)
    return Map(lambda a: f"(sin_{kind}({a}) / {a})", [angle], node.shape, node.dtype, "sinc", 2 * ROOT)


def triangle(keep: str) -> Rule:
    def rule(self: Lowering, node: Node, x: Any, k: int = 0) -> Value | None:
        mask = getattr(np, keep)(np.ones(node.shape[-2:], bool), k)
        return self.chosen(self.value(mask), self.floats(x, node.dtype), Scalar(0, node.dtype), node.shape)

    return rule


# ---- views -----------------------------------------------------------------------------------------------------------


def transpose(self: Lowering, node: Node, x: Any, axes: Any = None) -> Value:
    base = self.value(x)
    n = len(base.shape)
    return permuted(base, range(n)[::-1] if axes is None else [normalize_axis_index(a, n) for a in axes])


def swapaxes(self: Lowering, node: Node, x: Any, a: int, b: int) -> Value:
    base = self.value(x)
    axes = list(range(len(base.shape)))
    axes[a], axes[b] = axes[b], axes[a]
    return permuted(base, axes)


def matrix_transpose(self: Lowering, node: Node, x: Any) -> Value:
    return swapaxes(self, node, x, -1, -2)


def moveaxis(self: Lowering, node: Node, x: Any, source: Any, destination: Any) -> Value:
    base = self.value(x)
    n = len(base.shape)
    there, here = normalize_axis_tuple(destination, n), normalize_axis_tuple(source, n)
    axes = [a for a in range(n) if a not in here]
    for to, a in sorted(zip(there, here, strict=True)):
        axes.insert(to, a)
    return permuted(base, axes)


def reshape(self: Lowering, node: Node, x: Any, *args: Any, order: str = "C", **kwargs: Any) -> Value | None:
    base = self.value(x)
    if order != "C" or (args and args[-1] in ("F", "A")):
        return None
    return base if base.shape == node.shape else reshaped(base, node.shape)


def broadcast_to(self: Lowering, node: Node, x: Any, *args: Any, **kwargs: Any) -> Value:
    return spread(self.value(x), node.shape)


def filled(value: float) -> Rule:
    return lambda self, node, *args, **kwargs: spread(Scalar(value, node.dtype), node.shape)


def full_like(self: Lowering, node: Node, x: Any, value: Any, *args: Any, **kwargs: Any) -> Value:
    return spread(self.floats(value, node.dtype), node.shape)


def same(self: Lowering, node: Node, x: Any, *args: Any, **kwargs: Any) -> Value:
    return self.cast(self.value(x), node.dtype)


def flip(self: Lowering, node: Node, x: Any, axis: Any = None) -> Value:
    base = self.value(x)
    axes = range(len(base.shape)) if axis is None else normalize_axis_tuple(axis, len(base.shape))

    def move(index: Index) -> Index:
        return [i * -1 + (n - 1) if k in axes else i for k, (i, n) in enumerate(zip(index, base.shape, strict=True))]

    return viewed(base, node.shape, move, "flip")


def flipping(axis: int) -> Rule:
    return lambda self, node, x: flip(self, node, x, axis)


def rot90(self: Lowering, node: Node, x: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Value:
    base = self.value(x)
    a, b = normalize_axis_tuple(axes, len(base.shape))
    turned = list(range(len(base.shape)))
    if k % 2:
        turned[a], turned[b] = b, a
    back = {a: k % 4 in (1, 2), b: k % 4 in (2, 3)}
    n = node.shape
    move = lambda index: [i * -1 + (n[k] - 1) if back.get(k) else i for k, i in enumerate(index)]  # noqa: E731
    return viewed(permuted(base, turned), n, move, "rot90")


def roll(self: Lowering, node: Node, x: Any, shift: Any, axis: Any = None) -> Value:
    base = self.value(x)
    if axis is None:
        return reshaped(rolled(reshaped(base, (base.size,)), int(np.sum(shift)), 0), node.shape)
    for by, a in np.broadcast(shift, axis):
        base = rolled(base, int(by), normalize_axis_index(int(a), len(base.shape)))
    return base


def rolled(base: Value, by: int, axis: int) -> Value:
    n = base.shape[axis]
    by %= max(n, 1)
    parts = [cut(base, axis, n - by, by), cut(base, axis, 0, n - by)]
    return joined(parts, axis, base.shape, "roll") if by else base


def tile(self: Lowering, node: Node, x: Any, reps: Any) -> Value:
    base = self.value(x)
    base = reshaped(base, (*[1] * (len(node.shape) - len(base.shape)), *base.shape))
    n = base.shape
    return viewed(base, node.shape, lambda i: [p.divide(m)[1] for p, m in zip(i, n, strict=True)], "tile")


def repeat(self: Lowering, node: Node, x: Any, repeats: Any, axis: Any = None) -> Value | None:
    if not isinstance(repeats, int) or repeats < 1:
        return None
    base = self.value(x)
    if axis is None:
        base, axis = reshaped(base, (base.size,)), 0
    axis = normalize_axis_index(axis, len(base.shape))
    return viewed(
        base, node.shape, lambda i: [p.divide(repeats)[0] if k == axis else p for k, p in enumerate(i)], "repeat"
    )


def windows(self: Lowering, node: Node, x: Any, window_shape: Any, axis: Any = None, **kwargs: Any) -> Value | None:
    """sliding_window_view: an axis of the windows' places, and at the end one of the places in a window."""
    base = self.value(x)
    if kwargs:
        return None
    n = len(base.shape)
    axes = tuple(range(n)) if axis is None else normalize_axis_tuple(axis, n, allow_duplicate=True)

    def move(index: Index) -> Index:
        moved = index[:n]
        for a, inside in zip(axes, index[n:], strict=True):
            moved[a] = moved[a] + inside
        return moved

    return viewed(base, node.shape, move, "windows")


def diagonal(self: Lowering, node: Node, x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Value:
    return diagonals(self.value(x), offset, axis1, axis2, node.shape[-1])


def diag(self: Lowering, node: Node, x: Any, k: int = 0) -> Value:
    base = self.value(x)
    if len(base.shape) == 2:
        return diagonals(base, k, 0, 1, node.shape[0])
    zeros = spread(Scalar(0, node.dtype), node.shape)
    move = lambda i: [i[0] + max(-k, 0), i[0] + max(k, 0)]  # noqa: E731
    return Patches([zeros, base], [lambda i: i, move], node.shape, "diag")


def split(self: Lowering, node: Node, x: Any, sections: Any, axis: int = 0) -> list[Value]:
    base, start = self.value(x), 0
    parts: list[Value] = []
    axis = normalize_axis_index(axis, len(base.shape))
    for value in node.value:
        at = start if isinstance(sections, int) else split_at(sections, len(parts), base.shape[axis])
        parts.append(cut(base, axis, at, value.shape[axis]))
        start = at + value.shape[axis]
    return parts


def split_at(sections: Sequence[int], i: int, n: int) -> int:
    """Where the part i begins."""
    return 0 if i == 0 else slice(int(sections[i - 1]), None).indices(n)[0]


# ---- sums and their kin ----------------------------------------------------------------------------------------------


def reducing(ufunc: np.ufunc) -> Rule:
    def rule(self: Lowering, node: Node, x: Any, axis: Any = None, *args: Any, **kwargs: Any) -> Value | None:
        return self.reduction(ufunc, x, axis, *args, node=node, **kwargs)

    return rule


def count_nonzero(self: Lowering, node: Node, x: Any, axis: Any = None, **kwargs: Any) -> Value | None:
    axes = tuple(range(len(x.shape))) if axis is None else normalize_axis_tuple(axis, len(x.shape))
    return total(self.cast(self.truth(self.value(x)), node.dtype), axes, node.shape)


def mean(self: Lowering, node: Node, x: Any, axis: Any = None, *args: Any, **kwargs: Any) -> Value | None:
    if args or set(kwargs) - {"keepdims", "dtype"} or node.dtype.kind != "f":
        return None
    base = self.value(x)
    if base.size == 0:
        return None
    summed = self.reduction(np.add, x, axis, node=node, **kwargs)
    return divided(summed, base.size // summed.size, "mean") if summed else None


def divided(x: Value, n: Any, what: str) -> Value:
    return Map(operator("/"), [x, Scalar(n, x.dtype)], x.shape, x.dtype, what, ROOT)


def spreading(root: bool) -> Rule:
    """Variance, and its root."""

    def rule(self: Lowering, node: Node, x: Any, axis: Any = None, *args: Any, **kwargs: Any) -> Value | None:
        ddof = kwargs.pop("ddof", kwargs.pop("correction", 0))
        keepdims = kwargs.pop("keepdims", False)
        base = self.value(x)
        if args or kwargs or base.size == 0 or node.dtype.kind != "f":
            return None
        axes = tuple(range(len(base.shape))) if axis is None else normalize_axis_tuple(axis, len(base.shape))
        base, kept = self.cast(base, node.dtype), [1 if k in axes else n for k, n in enumerate(base.shape)]
        n = base.size // int(np.prod(kept, dtype=int))
        middle = divided(total(base, axes, kept), n, "mean")
        apart = Map(operator("-"), [base, middle], base.shape, node.dtype, "subtract", CHEAP)
        squares = Map(call("square"), [apart], base.shape, node.dtype, "square", CHEAP)
        kept = kept if keepdims else [n for k, n in enumerate(base.shape) if k not in axes]
        found = divided(total(squares, axes, kept), max(n - ddof, 0), "var")
        return Map(call("sqrt"), [found], found.shape, node.dtype, "std", ROOT) if root else found

    return rule


def trace(
    self: Lowering, node: Node, x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None
) -> Value | None:
    base = self.cast(self.value(x), node.dtype)
    m, n = base.shape[axis1], base.shape[axis2]
    found = diagonals(base, offset, axis1, axis2, max(min(m - max(-offset, 0), n - max(offset, 0)), 0))
    return total(found, (len(found.shape) - 1,), node.shape)


def ptp(self: Lowering, node: Node, x: Any, axis: Any = None, **kwargs: Any) -> Value | None:
    most, least = (self.reduction(u, x, axis, node=node, **kwargs) for u in (np.maximum, np.minimum))
    kind = TYPES[node.dtype.name]
    if most is None or least is None or node.dtype == bool:
        return None
    return Map(lambda a, b: f"{kind}({a} - {b})", [most, least], node.shape, node.dtype, "ptp", CHEAP)


def diff(self: Lowering, node: Node, x: Any, n: int = 1, axis: int = -1, **kwargs: Any) -> Value | None:
    base = self.value(x)
    if kwargs or node.dtype == bool:
        return None
    axis, kind = normalize_axis_index(axis, len(base.shape)), TYPES[node.dtype.name]
    for _ in range(n):
        length = max(base.shape[axis] - 1, 0)
        after, before = (cut(base, axis, i, length) for i in (1, 0))
        base = Map(lambda a, b: f"{kind}({a} - {b})", [after, before], after.shape, node.dtype, "diff", CHEAP)
    return base


def place_of(ufunc: np.ufunc) -> Rule:
    """np.argmax and np.argmin: the least index at which there is the extremum; nan is one."""

    def rule(
        self: Lowering, node: Node, x: Any, axis: Any = None, out: Any = None, keepdims: bool = False
    ) -> Value | None:
        base = self.value(x)
        if out is not None or axis is None and keepdims:
            return None
        base = self.cast(base, np.uint8) if base.dtype == bool else base
        if axis is None:
            base, axis = reshaped(base, (base.size,)), 0
        axis, n = normalize_axis_index(axis, len(base.shape)), base.shape[axis]
        in_memory(base)
        kept = [1 if k == axis else m for k, m in enumerate(base.shape)]
        most = Reduce(ufunc, base, (axis,), kept, base.dtype)
        here = along(Steps((n,), np.int64, (), "arange"), axis, len(kept))
        write = lambda i, a, b: f"({i} if {a} == {b} or ({a} != {a} and {b} != {b}) else i8({n}))"  # noqa: E731
        places = Map(write, [here, base, most], base.shape, np.int64, "where", CHEAP)
        return Reduce(np.minimum, places, (axis,), node.shape, np.int64)

    return rule


def in_memory(x: Value) -> None:
    """Have its elements computed once: twice they might be rounded in two ways."""
    while isinstance(x, View):
        x = x.inputs[0]
    if isinstance(x, Map):
        x.needs_buffer = True


def running(self: Lowering, node: Node, ufunc: np.ufunc, x: Any, axis: Any = 0, *args: Any, **kwargs: Any) -> Any:
    base = self.value(x)
    if args or kwargs or base.size == 0 or node.dtype == bool:
        return None
    if axis is None:
        base, axis = reshaped(base, (base.size,)), 0
    return Running(ufunc, self.cast(base, node.dtype), normalize_axis_index(axis, len(base.shape)))


def cumulative(ufunc: np.ufunc) -> Callable[..., Any]:
    return lambda self, node, x, axis=None, *args, **kwargs: running(self, node, ufunc, x, axis, *args, **kwargs)


# ---- joining ---------------------------------------------------------------------------------------------------------


def concatenate(self: Lowering, node: Node, arrays: Any, axis: Any = 0, **kwargs: Any) -> Value | None:
    if set(kwargs) - {"dtype"} or not isinstance(arrays, tuple | list):
        return None
    parts = [self.floats(x, node.dtype) for x in arrays]
    if axis is None:
        parts, axis = [reshaped(x, (x.size,)) for x in parts], 0
    return joined(parts, normalize_axis_index(axis, len(node.shape)), node.shape, "concatenate")


def stack(self: Lowering, node: Node, arrays: Any, axis: int = 0, **kwargs: Any) -> Value | None:
    if set(kwargs) - {"dtype"} or not isinstance(arrays, tuple | list):
        return None
    return stacked([self.floats(x, node.dtype) for x in arrays], normalize_axis_index(axis, len(node.shape)), node)


def vstack(self: Lowering, node: Node, arrays: Any) -> Value | None:
    if not isinstance(arrays, tuple | list):
        return None
    parts = [self.floats(x, node.dtype) for x in arrays]
    return joined([reshaped(x, (*[1] * (2 - len(x.shape)), *x.shape)) for x in parts], 0, node.shape, "vstack")


def hstack(self: Lowering, node: Node, arrays: Any) -> Value | None:
    if not isinstance(arrays, tuple | list):
        return None
    parts = [self.floats(x, node.dtype) for x in arrays]
    return joined([reshaped(x, x.shape or (1,)) for x in parts], min(1, len(node.shape) - 1), node.shape, "hstack")


def pad(self: Lowering, node: Node, x: Any, widths: Any, mode: str = "constant", **kwargs: Any) -> Value | None:
    if mode != "constant" or set(kwargs) - {"constant_values"} or np.ndim(kwargs.get("constant_values", 0)):
        return None
    base = self.value(x)
    before = np.broadcast_to(widths, (len(base.shape), 2))[:, 0].tolist()
    edge = self.floats(kwargs.get("constant_values", 0), node.dtype)
    return padded(self.cast(base, node.dtype), before, node.shape, edge)


# ---- writing into the first argument ---------------------------------------------------------------------------------


def copyto(self: Lowering, node: Node, x: Any, source: Any, casting: Any = None, where: Any = True) -> Value:
    new = spread(self.floats(source, node.dtype), node.shape)
    return new if where is True else self.chosen(self.truth(self.value(where)), new, self.value(x), node.shape)


def fill_diagonal(self: Lowering, node: Node, x: Any, new: Any, wrap: bool = False) -> Value | None:
    base, part, n = self.value(x), self.floats(new, node.dtype), min(node.shape)
    if part.shape not in ((), (n,)) or wrap and len(node.shape) == 2 and node.shape[0] > n + 1:
        return None
    return Patches(
        [base, spread(part, (n,))], [lambda i: i, lambda i: i * len(node.shape)], node.shape, "fill_diagonal"
    )


RULES: dict[Any, Rule] = contractions.RULES | indexing.RULES | {
    np.where: where, np.clip: clip, "view": bits, np.nan_to_num: nan_to_num, np.isclose: isclose, np.sinc: sinc,
    np.round: rounded, np.around: rounded,
    np.transpose: transpose, np.swapaxes: swapaxes, np.moveaxis: moveaxis, np.matrix_transpose: matrix_transpose,
    np.reshape: reshape, np.ravel: reshape, np.expand_dims: reshape, np.squeeze: reshape,
    np.atleast_1d: reshape, np.atleast_2d: reshape,
    np.broadcast_to: broadcast_to, np.zeros_like: filled(0.0), np.ones_like: filled(1.0), np.empty_like: filled(0.0),
    np.full_like: full_like, np.copy: same, "astype": same, np.ascontiguousarray: same, np.real: same,
    np.sum: reducing(np.add), np.prod: reducing(np.multiply), np.max: reducing(np.maximum),
    np.min: reducing(np.minimum), np.amax: reducing(np.maximum), np.amin: reducing(np.minimum), np.mean: mean,
    np.any: reducing(np.logical_or), np.all: reducing(np.logical_and), np.count_nonzero: count_nonzero,
    np.var: spreading(root=False), np.std: spreading(root=True), np.ptp: ptp, np.diff: diff,
    np.argmax: place_of(np.maximum), np.argmin: place_of(np.minimum),
    np.flip: flip, np.flipud: flipping(0), np.fliplr: flipping(1), np.rot90: rot90, np.roll: roll, np.tile: tile,
    sliding_window_view: windows, np.diagonal: diagonal, np.trace: trace, np.diag: diag,
    np.repeat: repeat, np.concatenate: concatenate, np.stack: stack, np.pad: pad,
    np.vstack: vstack, np.hstack: hstack,
    np.triu: triangle("triu"), np.tril: triangle("tril"),
    np.cumsum: cumulative(np.add), np.cumprod: cumulative(np.multiply),
}  # fmt: skip
SEVERAL: dict[Any, Callable[..., list[Value]]] = {np.split: split, np.array_split: split}
INTO: dict[Any, Rule] = {
    np.copyto: copyto, np.fill_diagonal: fill_diagonal, np.put_along_axis: indexing.put_along_axis,
}  # fmt: skip
