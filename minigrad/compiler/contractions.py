"""Sums of products: matrix products, einsum and its kin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .elementwise import CHEAP, operator
from .trace import Node
from .values import (
    TYPES,
    Dot,
    Map,
    Reduce,
    Scalar,
    Value,
    View,
    number_in,
    reshaped,
    spread,
)  # fmt: skip
from .views import Rule, diagonal_of, padded, permuted

if TYPE_CHECKING:
    from .lower import Lowering


def dot(self: Lowering, node: Node, a: Any, b: Any, **kwargs: Any) -> Value | None:
    if kwargs or node.dtype.kind != "f":
        return None
    x, y = self.floats(a, node.dtype), self.floats(b, node.dtype)
    if not x.shape or not y.shape:
        return Map(operator("*"), [x, y], node.shape, node.dtype, "multiply", CHEAP)
    if node.function is np.dot and max(len(x.shape), len(y.shape)) > 2:
        return tensordot(self, node, a, b, axes=([-1], [max(len(y.shape) - 2, 0)]))
    if x.size == 0 or y.size == 0:
        return spread(Scalar(0.0, node.dtype), node.shape)
    if len(x.shape) == 1 and is_ones(x):
        return Reduce(np.add, y, (max(len(y.shape) - 2, 0),), node.shape, node.dtype)
    if len(x.shape) == 1:
        x = View(x, (1, *x.shape), lambda i: i[1:], "row")
    if len(y.shape) == 1:
        y = View(y, (*y.shape, 1), lambda i: i[:-1], "column")
    stack = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    return reshaped(product(x, y, (*stack, x.shape[-2], y.shape[-1]), node.dtype), node.shape)


def product(x: Value, y: Value, shape: tuple[int, ...], dtype: np.dtype) -> Value:
    """The product of two stacks of matrices; a sum of products, or products, where an axis has length 1."""
    m, n, k = shape[-2], shape[-1], x.shape[-1]
    if is_ones(x) and m == 1:
        return Reduce(np.add, spread(y, (*shape[:-2], k, n)), (len(shape) - 2,), shape, dtype)  # keeps the axis
    if 1 in (m, n, k):
        left = View(x, (*x.shape[:-1], 1, k), lambda i: [*i[:-2], i[-1]], "rows")
        right = View(y, (*y.shape[:-2], 1, n, k), lambda i: [*i[:-3], i[-1], i[-2]], "columns")
        whole = (*shape, k)
        terms = Map(operator("*"), [left, right], whole, dtype, "multiply", CHEAP)
        return Reduce(np.add, terms, (len(shape),), shape, dtype) if k > 1 else reshaped(terms, shape)
    return Dot(x, y, shape, dtype)


def is_ones(x: Value) -> bool:
    while isinstance(x, View):
        x = x.inputs[0]
    return isinstance(x, Scalar) and x.value == 1


def contracted(x: Value, xs: list, y: Value, ys: list, out: list, dtype: np.dtype) -> Value:
    """The sums of products of two arrays over all labels of axes that `out` has not, as a stack of matrix products.

    A label stands at one axis of an array at most, and its axes have the same length.
    """
    size = dict(zip(xs, x.shape, strict=True)) | dict(zip(ys, y.shape, strict=True))
    x, xs = summed(x, xs, [a for a in xs if a not in ys and a not in out])
    y, ys = summed(y, ys, [a for a in ys if a not in xs and a not in out])
    stack, over = [a for a in xs if a in ys and a in out], [a for a in xs if a in ys and a not in out]
    rows, columns = [a for a in xs if a not in ys], [a for a in ys if a not in xs]

    def length(labels: list) -> int:
        return int(np.prod([size[a] for a in labels], dtype=int))

    def arranged(x: Value, xs: list, *groups: list) -> Value:
        shape = [*(size[a] for a in stack), *map(length, groups)]
        return reshaped(permuted(x, [xs.index(a) for a in sum(groups, stack)]), shape)

    shape = (*(size[a] for a in stack), length(rows), length(columns))
    if length(over) * x.size * y.size == 0:
        return spread(Scalar(0, dtype), [size[a] for a in out])
    made = product(arranged(x, xs, rows, over), arranged(y, ys, over, columns), shape, dtype)
    labels = stack + rows + columns
    return permuted(reshaped(made, [size[a] for a in labels]), [labels.index(a) for a in out])


def summed(x: Value, xs: list, over: list) -> tuple[Value, list]:
    """The sums over some labels, and the labels that are left."""
    left = [a for a in xs if a not in over]
    return total(x, tuple(xs.index(a) for a in over), [x.shape[xs.index(a)] for a in left]), left


def total(x: Value, axes: tuple[int, ...], shape: Sequence[int]) -> Value:
    """The sums over axes."""
    number = number_in(x)
    if x.size == 0:
        return spread(Scalar(0, x.dtype), shape)
    if number is not None and number.value in (0, 1):  # so that it is exact
        return spread(Scalar(number.value * math.prod(x.shape[a] for a in axes), x.dtype), shape)
    return Reduce(np.add, x, axes, shape, x.dtype) if axes else reshaped(x, shape)


def einsum(self: Lowering, node: Node, subscripts: Any, *operands: Any, **kwargs: Any) -> Value | None:
    if set(kwargs) - {"optimize"} or not isinstance(subscripts, str) or node.dtype.kind != "f":
        return None
    given, _, out = subscripts.replace(" ", "").partition("->")
    arrays = [self.floats(x, node.dtype) for x in operands]
    terms = [labels(term, len(x.shape)) for term, x in zip(given.split(","), arrays, strict=True)]
    every = [a for term in terms for a in term]
    hidden = sorted({a for a in every if isinstance(a, int)})
    if "->" in subscripts:
        result = labels(out, len(node.shape))
    else:
        result = [*hidden, *sorted(a for a in every if isinstance(a, str) and every.count(a) == 1)]
    sizes: dict[Any, int] = {}
    for x, term in zip(arrays, terms, strict=True):
        if any(sizes.setdefault(a, n) != n for a, n in zip(term, x.shape, strict=True)):
            return None  # an axis of length 1 stands for a longer one
    (x, xs), *rest = [diagonal_of(x, term) for x, term in zip(arrays, terms, strict=True)]
    for i, (y, ys) in enumerate(rest):
        later = {a for _, term in rest[i + 1 :] for a in term}
        kept = [a for a in dict.fromkeys(xs + ys) if a in result or a in later] if i < len(rest) - 1 else result
        x, xs = contracted(x, xs, y, ys, kept, node.dtype), kept
    x, xs = summed(x, xs, [a for a in xs if a not in result])
    return permuted(x, [xs.index(a) for a in result])


def labels(term: str, ndim: int) -> list:
    """The labels of an array's axes; those that `...` stands for are numbers, the last is -1."""
    before, dots, after = term.partition("...")
    hidden = range(len(before) + len(after) - ndim, 0) if dots else ()
    return [*before, *hidden, *after]


def tensordot(self: Lowering, node: Node, a: Any, b: Any, axes: Any = 2) -> Value | None:
    if node.dtype.kind != "f":
        return None
    x, y = self.floats(a, node.dtype), self.floats(b, node.dtype)
    n, m = len(x.shape), len(y.shape)
    if isinstance(axes, int | np.integer):
        axes = list(range(n - axes, n)), list(range(axes))
    here, there = (list(np.atleast_1d(group)) for group in axes)
    xs: list = [f"x{i}" for i in range(n)]
    ys: list = [f"y{i}" for i in range(m)]
    for i, j in zip(here, there, strict=True):
        ys[j] = xs[i]
    return contracted(x, xs, y, ys, [k for k in xs if k not in ys] + [k for k in ys if k not in xs], node.dtype)


def inner(self: Lowering, node: Node, a: Any, b: Any) -> Value | None:
    if np.ndim(getattr(a, "value", a)) == 0 or np.ndim(getattr(b, "value", b)) == 0:
        return self.ufunc(np.multiply, (a, b), node)
    return tensordot(self, node, a, b, axes=([-1], [-1]))


def outer(self: Lowering, node: Node, a: Any, b: Any) -> Value | None:
    x, y = self.floats(a, node.dtype), self.floats(b, node.dtype)
    if node.dtype == bool:
        return None
    column, row = reshaped(x, (x.size, 1)), reshaped(y, (y.size,))
    kind = TYPES[node.dtype.name]
    return Map(lambda a, b: f"{kind}({a} * {b})", [column, row], node.shape, node.dtype, "multiply", CHEAP)


def vdot(self: Lowering, node: Node, a: Any, b: Any) -> Value | None:
    x, y = self.floats(a, node.dtype), self.floats(b, node.dtype)
    return sum_of_products(reshaped(x, (x.size,)), reshaped(y, (y.size,)), node)


def vecdot(self: Lowering, node: Node, a: Any, b: Any, **kwargs: Any) -> Value | None:
    return None if kwargs else sum_of_products(self.floats(a, node.dtype), self.floats(b, node.dtype), node)


def sum_of_products(x: Value, y: Value, node: Node) -> Value | None:
    """Of two arrays that broadcast, along their last axis."""
    shape = np.broadcast_shapes(x.shape, y.shape)
    if node.dtype.kind != "f" or 0 in shape:
        return None
    terms = Map(operator("*"), [x, y], shape, node.dtype, "multiply", CHEAP)
    return Reduce(np.add, terms, (len(shape) - 1,), node.shape, node.dtype)


def kron(self: Lowering, node: Node, a: Any, b: Any) -> Value | None:
    if node.dtype == bool:
        return None
    x, y = self.floats(a, node.dtype), self.floats(b, node.dtype)
    n = len(node.shape)
    x, y = (reshaped(v, (*[1] * (n - len(v.shape)), *v.shape)) for v in (x, y))
    x = reshaped(x, [k for m in x.shape for k in (m, 1)])
    y = reshaped(y, [k for m in y.shape for k in (1, m)])
    kind, shape = TYPES[node.dtype.name], np.broadcast_shapes(x.shape, y.shape)
    return reshaped(Map(lambda a, b: f"{kind}({a} * {b})", [x, y], shape, node.dtype, "multiply", CHEAP), node.shape)


def convolve(self: Lowering, node: Node, a: Any, v: Any, mode: str = "full") -> Value | None:
    """Sums over k of x[i - k] y[k], x with zeros around it."""
    if node.dtype.kind != "f" or mode not in ("full", "same", "valid"):
        return None
    x, y = sorted((self.floats(a, node.dtype), self.floats(v, node.dtype)), key=lambda z: -z.size)
    if len(x.shape) != 1 or len(y.shape) != 1:
        return None
    m = y.size
    wide = padded(x, [m - 1], (x.size + 2 * (m - 1),), Scalar(0, node.dtype))
    start = {"full": 0, "same": (m - 1) // 2, "valid": m - 1}[mode] + m - 1
    windows = View(wide, (*node.shape, m), lambda i: [i[0] + i[1] * -1 + start], "windows")
    return sum_of_products(windows, y, node)


RULES: dict[Any, Rule] = {
    np.dot: dot, np.matmul: dot, np.outer: outer, np.vdot: vdot, np.vecdot: vecdot, np.inner: inner,
    np.einsum: einsum, np.tensordot: tensordot, np.kron: kron, np.convolve: convolve,
}  # fmt: skip
