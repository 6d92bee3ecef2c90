"""Scans: running sums, products and extrema along an axis (of the flattened array, for None).

Element i of a running result depends on all elements before it, so its gradient runs from the end: what arrives at
element i is its own g and, by some factor, what has arrived at element i + 1. That is a linear recurrence, and
`recurrence` is an op itself, whose gradient is the recurrence in the other direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import Tensor, as_tensor
from .card import composite, op
from .joining import concatenate
from .moving import flip
from .reduce import softmax_weights
from .shape import along

__all__ = [
    "cummax", "cummin", "cumprod", "cumsum", "cumulative_prod", "cumulative_sum", "logcumsumexp",
]  # fmt: skip

AXIS = [([(2, 3)], {}), ([(2, 3)], {"axis": 1}), ([(3, 2)], {"axis": 0})]


# ---- the linear recurrence -----------------------------------------------------------------------------------------


def before(x, axis, first=0):
    """Along the axis, the element before each; `first` before the first."""
    axis %= x.ndim
    return concatenate([np.full_like(x[along(axis, slice(1))], first), x[along(axis, slice(-1))]], axis)


def _recurrence_by_a(g, y, a, b, axis, reverse):
    arrived = recurrence(a, g, axis, not reverse)
    first, second = (arrived, y) if reverse else (y, arrived)
    axis %= y.ndim
    products = first[along(axis, slice(-1))] * second[along(axis, slice(1, None))]
    return concatenate([np.zeros_like(a[along(axis, slice(1))]), products], axis)


def _step_by_step(a, b, axis, reverse):
    a, b = (np.moveaxis(x, axis, 0)[:: -1 if reverse else 1] for x in (a, b))
    rows = [b[:1]]
    for i in range(1, len(b)):
        j = i - reverse
        rows.append(b[i : i + 1] + a[j : j + 1] * rows[-1])
    y = np.concatenate(rows[: len(b)] or [b])
    return np.moveaxis(y[:: -1 if reverse else 1], 0, axis)


@op(arity=2, sympy=_step_by_step, cases=[([(3,), (3,)], {}), ([(2, 3), (2, 3)], {"axis": 1, "reverse": True})],
    vjp=(_recurrence_by_a,
         lambda g, y, a, b, axis, reverse: recurrence(a, g, axis, not reverse)))
def recurrence(a, b, axis=0, reverse=False):
    """y[i] = b[i] + a[i] y[i-1] along an axis; in reverse, y[i] = b[i] + a[i+1] y[i+1]. What lies beyond the ends is 0.

    In time and memory proportional to the arrays, the latter about four times theirs.

    >>> import minigrad as mg
    >>> mg.ops.recurrence([9.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    tensor([ 1.,  3., 10.])
    """
    if a.shape != b.shape:
        raise ValueError("the two shapes differ")
    a, b = (np.moveaxis(x, axis, 0) for x in (a, b))
    if reverse:
        a, b = np.concatenate([a[:1], a[:0:-1]]), b[::-1]
    y = solved(a, b)
    return np.moveaxis(y[::-1] if reverse else y, 0, axis)


def solved(a, b):
    """The recurrence along axis 0, in about 2 sqrt(n) steps on rows: in blocks side by side, then from block to block.

    (Where products of the coefficients over a block overflow, what the block before hands on is multiplied by the
    largest of floats.)
    """
    n, dtype = len(b), np.result_type(a, b, np.float16)
    if n < 64 or math.prod(b.shape[1:]) > 1024:  # then a row is long enough to be worth a step of its own
        y = b.astype(dtype)
        for i in range(1, n):
            y[i] += a[i] * y[i - 1]
        return y
    m = math.isqrt(n)
    k = -(-n // m)  # k blocks of m, the last one filled up with zeros
    factors, y = np.zeros_like(b, dtype, shape=(2, k * m, *b.shape[1:]))
    factors[1:n], y[:n] = a[1:], b
    factors, y = (np.moveaxis(x.reshape(k, m, *b.shape[1:]), 1, 0).copy() for x in (factors, y))
    most = np.finfo(dtype).max
    for i in range(1, m):
        y[i] += factors[i] * y[i - 1]
        with np.errstate(over="ignore"):
            factors[i] = np.clip(factors[i] * factors[i - 1], -most, most)
    factors[:, 1:] *= solved(factors[-1], y[-1])[:-1]
    y[:, 1:] += factors[:, 1:]
    return np.moveaxis(y, 0, 1).reshape(k * m, *b.shape[1:])[:n]


# ---- sums and products ---------------------------------------------------------------------------------------------


@op(numpy=np.cumsum, cases=AXIS,
    vjp=lambda g, y, x, axis: flip(cumsum(flip(g, axis or 0), axis or 0), axis or 0).reshape(x.shape))
def cumsum(x, axis=None):
    """The running sum along an axis (of the flattened array, for None).

    >>> import minigrad as mg
    >>> mg.cumsum([1.0, 2.0, 3.0])
    tensor([1., 3., 6.])
    """
    return np.cumsum(x, axis=axis)


def _cumprod_rule(g, y, x, axis):
    along = axis or 0
    return (before(y, along, 1) * recurrence(x.reshape(y.shape), g, along, True)).reshape(x.shape)


@op(numpy=np.cumprod, cases=AXIS, vjp=_cumprod_rule, note="exact where elements are zero")
def cumprod(x, axis=None):
    """The running product along an axis (of the flattened array, for None).

    Gradients of every order are exact where elements are zero, since nothing is divided: the gradient of element i is
    the product of those before it, times what arrives from i, i + 1 and so on by the factors between.

    >>> import minigrad as mg
    >>> mg.cumprod([1.0, 2.0, 3.0])
    tensor([1., 2., 6.])
    """
    return np.cumprod(x, axis=axis)


def _cumulative(scan: Callable, name: str, x: Any, axis: int | None, include_initial: bool, initial: int) -> Tensor:
    x = as_tensor(x)
    x = x.reshape(1) if x.ndim == 0 else x
    if axis is None and x.ndim > 1:
        raise ValueError(f"{name}: an array {x.shape} has several axes: say along which one, by axis=")
    axis = 0 if axis is None else axis
    y = scan(x, axis=axis)
    if not include_initial:
        return y
    start = np.full_like(y._data, initial, shape=tuple(1 if i == axis % y.ndim else n for i, n in enumerate(y.shape)))
    return concatenate([start, y], axis)


INITIAL = [([(3,)], {}), ([(2, 3)], {"axis": -1, "include_initial": True})]


@composite(np.cumulative_sum, cases=INITIAL)
def cumulative_sum(x: Any, /, *, axis: int | None = None, include_initial: bool = False) -> Tensor:
    """The running sum along an axis, as in the array API standard; with `include_initial`, after a 0.

    Raises ValueError where no axis is given for an array of several.

    >>> import minigrad as mg
    >>> mg.cumulative_sum([1.0, 2.0, 3.0], include_initial=True)
    tensor([0., 1., 3., 6.])
    """
    return _cumulative(cumsum, "cumulative_sum", x, axis, include_initial, 0)


@composite(np.cumulative_prod, cases=INITIAL)
def cumulative_prod(x: Any, /, *, axis: int | None = None, include_initial: bool = False) -> Tensor:
    """The running product along an axis, as in the array API standard; with `include_initial`, after a 1.

    Raises ValueError where no axis is given for an array of several.

    >>> import minigrad as mg
    >>> mg.cumulative_prod([1.0, 2.0, 3.0], include_initial=True)
    tensor([1., 1., 2., 6.])
    """
    return _cumulative(cumprod, "cumulative_prod", x, axis, include_initial, 1)


# ---- sums of exponentials ------------------------------------------------------------------------------------------


def _logcumsumexp_rule(g, y, x, axis):
    along, x_ = axis or 0, x.reshape(y.shape)
    shrinking = softmax_weights(before(y, along, -np.inf), y)  # exp(y[i-1] - y[i]) <= 1
    return (softmax_weights(x_, y) * recurrence(shrinking, g, along, True)).reshape(x.shape)


@op(cases=AXIS, vjp=_logcumsumexp_rule, sympy=lambda x, axis: np.log(np.cumsum(np.exp(x), axis=axis)))
def logcumsumexp(x, axis=None):
    """log(cumsum(exp(x))) along an axis (of the flattened array, for None), without overflow.

    >>> import minigrad as mg
    >>> mg.logcumsumexp([1000.0, 1000.0])
    tensor([1000.        , 1000.69314718])
    """
    return np.logaddexp.accumulate(row(x, axis), axis=axis or 0)


def row(x, axis):
    """The flattened array for axis None; a number has one element to run along, as for np.cumsum."""
    return np.reshape(x, -1) if axis is None or np.ndim(x) == 0 else x


# ---- extrema -------------------------------------------------------------------------------------------------------


def _to_the_latest(g, y, x, axis):
    x_ = x.reshape(y.shape)
    chosen = (x_ == y) | (x_ != x_)  # nan is chosen, as by max
    passes = np.where(chosen, np.zeros_like(x_), 1)  # what later elements get stops where a new extremum begins
    return np.where(chosen, recurrence(passes, g, axis or 0, True), 0).reshape(x.shape)


LATEST = "the latest of equal extrema gets the gradient"


@op(cases=AXIS, vjp=_to_the_latest, note=LATEST)
def cummax(x, axis=None):
    """The largest element so far along an axis (of the flattened array, for None); nan from the first nan on.

    The latest of equal ones gets the gradient, as in PyTorch.

    >>> import minigrad as mg
    >>> mg.cummax([1.0, 3.0, 2.0])
    tensor([1., 3., 3.])
    """
    return np.maximum.accumulate(row(x, axis), axis=axis or 0)


@op(cases=AXIS, vjp=_to_the_latest, note=LATEST)
def cummin(x, axis=None):
    """The smallest element so far along an axis (of the flattened array, for None); nan from the first nan on.

    The latest of equal ones gets the gradient, as in PyTorch.

    >>> import minigrad as mg
    >>> mg.cummin([3.0, 1.0, 2.0])
    tensor([3., 1., 1.])
    """
    return np.minimum.accumulate(row(x, axis), axis=axis or 0)
