"""Reductions: sums, means, extrema and what is built of them. `axis` is None (all axes), one axis or several."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..batching import visible
from ..tensor import Tensor, as_tensor, require
from .card import NUMPY, composite, elementwise, op
from .elementwise import square, where
from .joining import concatenate
from .moving import flip
from .shape import broadcast_to, moveaxis, reshape, transpose

__all__ = [
    "average", "logsumexp", "max", "mean", "min", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum",
    "nanvar", "prod", "ptp", "std", "sum", "var",
]  # fmt: skip

AXES = [([(2, 3)], {}), ([(2, 3)], {"axis": 1}), ([(3, 2)], {"axis": 0, "keepdims": True})]


def spread(g, x, axis, keepdims):
    """The gradient (or value) of a reduction, put back along the axes of x that were reduced."""
    if axis is None:
        return g * np.ones_like(x)  # the usual case, and the quickest way
    if not keepdims:
        g = g.reshape(kept(x, axis))
    return broadcast_to(g, x.shape)


def kept(x, axis):
    """The shape of a reduction of x with keepdims."""
    axes = {i % (x.ndim or 1) for i in ((axis,) if isinstance(axis, int | np.integer) else axis)}
    return tuple(1 if i in axes else n for i, n in enumerate(x.shape))


def count(x, axis):
    """How many elements of x are reduced into one."""
    if axis is None or x.ndim == 0:
        return x.size
    n = 1
    for i in (axis,) if isinstance(axis, int | np.integer) else axis:
        n *= x.shape[i]
    return n


@op(numpy=np.sum, cases=AXES,
    vjp=lambda g, y, x, axis, keepdims: spread(g, x, axis, keepdims))
def sum(x, axis=None, keepdims=False):
    """The sum over the axes.

    >>> import minigrad as mg
    >>> mg.sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    tensor([4., 6.])
    """
    return np.add.reduce(x, axis=axis, keepdims=keepdims)


@op(numpy=np.mean, cases=AXES,
    vjp=lambda g, y, x, axis, keepdims: spread(g / count(x, axis), x, axis, keepdims))
def mean(x, axis=None, keepdims=False):
    """The mean over the axes (nan for no elements).

    >>> import minigrad as mg
    >>> mg.mean([1.0, 2.0, 6.0])
    tensor(3.)
    """
    return np.add.reduce(x, axis=axis, keepdims=keepdims) / count(x, axis)


def _by_choice(g, y, x, axis, keepdims):
    chosen = (x == spread(y, x, axis, keepdims)) | (x != x)  # nan is what max and min choose where there is one
    return _shared(chosen, g, x, axis, keepdims)


def _shared(chosen, g, x, axis, keepdims):
    """The gradient of a reduction, in even shares for the chosen elements."""
    ties = spread(np.add.reduce(chosen.astype(x.dtype), axis=axis, keepdims=keepdims), x, axis, keepdims)
    return np.where(chosen, spread(g, x, axis, keepdims) / ties, 0)


@op(numpy=np.max, cases=AXES, vjp=_by_choice, note="equal maxima share the gradient evenly")
def max(x, axis=None, keepdims=False):
    """The largest element over the axes; equal ones share the gradient evenly. Raises ValueError for no elements.

    >>> import minigrad as mg
    >>> x = mg.tensor([1.0, 3.0, 3.0], requires_grad=True)
    >>> mg.max(x).backward()
    >>> x.grad
    tensor([0. , 0.5, 0.5])
    """
    return np.maximum.reduce(x, axis=axis, keepdims=keepdims)


@op(numpy=np.min, cases=AXES, vjp=_by_choice, note="equal minima share the gradient evenly")
def min(x, axis=None, keepdims=False):
    """The smallest element over the axes; equal ones share the gradient evenly. Raises ValueError for no elements.

    >>> import minigrad as mg
    >>> mg.min([[1.0, 2.0], [0.0, 4.0]], axis=1)
    tensor([1., 0.])
    """
    return np.minimum.reduce(x, axis=axis, keepdims=keepdims)


@composite(np.ptp, cases=AXES, note="equal extrema share the gradient evenly")
def ptp(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The largest element minus the smallest ("peak to peak") over the axes. Raises ValueError for no elements.

    >>> import minigrad as mg
    >>> mg.ptp([[1.0, 4.0], [0.0, 9.0]], axis=1)
    tensor([3., 9.])
    """
    a = as_tensor(a)
    return max(a, axis=axis, keepdims=keepdims) - min(a, axis=axis, keepdims=keepdims)


def _product_of_the_others(g, y, x, axis, keepdims):
    """y / x, but exact where x has zeros: the product of what comes before each element and what comes after."""
    if x.ndim == 0:
        return g
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int | np.integer) else axis
    first = range(len(axes))
    moved = moveaxis(x, axes, first)
    rows = reshape(moved, (count(x, axis), *moved.shape[len(axes) :]))
    others = products_before(rows) * flip(products_before(flip(rows, 0)), 0)
    return spread(g, x, axis, keepdims) * moveaxis(reshape(others, moved.shape), first, axes)


def products_before(x):
    """Along axis 0, the product of the elements before each, by doubling: log2(n) multiplications of the array."""
    ones = np.ones_like(x)
    y, step = concatenate([ones[:1], x[:-1]], 0), 1
    while step < len(x):
        y, step = y * concatenate([ones[:step], y[:-step]], 0), 2 * step
    return y


@op(numpy=np.prod, cases=AXES, vjp=_product_of_the_others, note="exact where elements are zero")
def prod(x, axis=None, keepdims=False):
    """The product over the axes; gradients of every order are exact where elements are zero.

    >>> import minigrad as mg
    >>> mg.grad(mg.prod)(mg.tensor([2.0, 0.0, 3.0]))
    tensor([0., 6., 0.])
    """
    return np.multiply.reduce(x, axis=axis, keepdims=keepdims)


def _logsumexp(x, axis, keepdims):
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


@op(cases=AXES, sympy=_logsumexp,
    vjp=lambda g, y, x, axis, keepdims: spread(g, x, axis, keepdims) * softmax_weights(x, spread(y, x, axis, keepdims)))
def logsumexp(x, axis=None, keepdims=False):
    """log(sum(exp(x))) over the axes, without overflow.

    >>> import minigrad as mg
    >>> mg.logsumexp([1000.0, 1000.0])
    tensor(1000.69314718)
    """
    shift = largest(x, axis)
    shift = np.where(np.isfinite(shift), shift, 0)
    with np.errstate(divide="ignore"):  # log(0) = -inf is meant, where there are no elements or all are -inf
        y = np.log(np.add.reduce(np.exp(x - shift), axis=axis, keepdims=True)) + shift
    return y if keepdims else y.reshape(np.add.reduce(x, axis=axis).shape)


def largest(x, axis):
    """What exponents are shifted by, lest exp overflow."""
    return np.maximum.reduce(x, axis=axis, keepdims=True) if x.size else x.dtype.type(0)


def softmax_weights(x, y):
    """exp(x - y), where y = logsumexp(x); 0 where all are -inf, as in a row that is masked out."""
    return np.exp(x - np.where(y == -np.inf, 0, y))


# The root of a sum of squares, or of nth powers (n > 1), has a kink where the sum is 0; the slope taken there is 0.
root = elementwise("root", lambda x, n=2: np.sqrt(x) if n == 2 else x ** (1 / n),
    vjp=lambda g, y, x, n: g / (n * np.where(y == 0, np.inf, y) ** (n - 1)),
    sympy="x, n: root(x, n)", domain=(0.1, 4), note="root'(0) = 0: norm(0) and std(constant) have gradient 0")


@composite(np.var, cases=[([(2, 3)], {"axis": 1, "ddof": 1}), ([(4,)], {})])
def var(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """The variance over the axes: mean((x - mean(x))^2), with `ddof` taken off the count.

    >>> import minigrad as mg
    >>> mg.var([1.0, 2.0, 3.0])
    tensor(0.66666667)
    """
    x = as_tensor(x)
    total = sum(square(x - mean(x, axis=axis, keepdims=True)), axis=axis, keepdims=keepdims)
    left = count(x, axis) - ddof
    return total / left if left > 0 else total / np.zeros((), total.dtype)  # as NumPy: inf or nan, with its warning


@composite(np.std, cases=[([(2, 3)], {"axis": 1, "ddof": 1}), ([(4,)], {})])
def std(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """The standard deviation over the axes, sqrt(var(x)); its gradient is 0 where all elements are equal.

    >>> import minigrad as mg
    >>> mg.std([1.0, 3.0])
    tensor(1.)
    """
    return root(var(x, axis=axis, ddof=ddof, keepdims=keepdims))


WEIGHED = [([(2, 3)], {"axis": 1}), ([(2, 3), None, np.array([[1.0, 2, 3], [4, 5, 0]])], {}),
           ([(2, 3)], {"axis": 0, "weights": [0.25, 0.75], "returned": True, "keepdims": True})]  # fmt: skip


@composite(np.average, cases=WEIGHED)
def average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The weighted mean over the axes, sum(weights * a) / sum(weights), differentiable in both.

    The weights have the shape of `a`, or its lengths along `axis` only. With `returned`, the sum of the weights is
    given too. Raises ZeroDivisionError where that is 0.

    >>> import minigrad as mg
    >>> mg.average([1.0, 5.0], weights=[3.0, 1.0])
    tensor(2.)
    """
    a = as_tensor(a)
    if weights is None:
        y = mean(a, axis=axis, keepdims=keepdims)
        return (y, Tensor(np.full(y.shape, count(a, axis), y.dtype))) if returned else y
    if isinstance(weights, list | tuple) and a.dtype.kind == "f":
        weights = np.asarray(weights, a.dtype)
    weights = _along_axes(as_tensor(weights), a, axis)
    total = sum(weights, axis=axis, keepdims=keepdims)
    if not total.dtype.hasobject:
        require(total._data != 0, lambda: ZeroDivisionError("average: the weights add up to 0"))
    y = sum(a * weights, axis=axis, keepdims=keepdims) / total
    return (y, broadcast_to(total, y.shape)) if returned else y


def _along_axes(weights, a, axis):
    """Weights for the axes alone, with axes of length one for the others."""
    if weights.shape == a.shape:
        return weights
    if axis is None:
        raise TypeError(f"average: weights {weights.shape} for an array {a.shape}: say along which axis they are")
    axes = normalize_axis_tuple(axis, a.ndim, "axis")
    lengths = tuple(a.shape[i] for i in axes)
    if weights.shape != lengths:
        raise ValueError(f"average: weights {weights.shape} fit neither the array {a.shape} nor its axes {lengths}")
    weights = transpose(weights, tuple(np.argsort(axes).tolist()))
    return reshape(weights, tuple(n if i in axes else 1 for i, n in enumerate(a.shape)))


# ---- leaving nan out: where all are nan, the value is NumPy's, without its warning ----------------------------------

NAN_GRADIENT = "nan elements have gradient 0"


def known(x, axis, keepdims):
    """Where x is not nan, and how many elements over the axes are not; None for an array that cannot hold nan."""
    if x.dtype.kind != "f":
        return None, None
    here = ~np.isnan(x._data)
    return here, np.add.reduce(here, axis=axis, keepdims=keepdims, dtype=x.dtype)


@composite(np.nansum, cases=AXES, note=NAN_GRADIENT)
def nansum(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The sum over the axes, nan counting as 0.

    >>> import minigrad as mg
    >>> mg.nansum([1.0, np.nan, 2.0])
    tensor(3.)
    """
    x = as_tensor(a)
    here, _ = known(x, axis, keepdims)
    return sum(x if here is None else where(here, x, 0), axis=axis, keepdims=keepdims)


@composite(np.nanprod, cases=AXES, note=NAN_GRADIENT)
def nanprod(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The product over the axes, nan counting as 1.

    >>> import minigrad as mg
    >>> mg.nanprod([1.0, np.nan, 2.0])
    tensor(2.)
    """
    x = as_tensor(a)
    here, _ = known(x, axis, keepdims)
    return prod(x if here is None else where(here, x, 1), axis=axis, keepdims=keepdims)


@composite(np.nanmean, cases=AXES, note=NAN_GRADIENT)
def nanmean(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The mean over the axes of the elements that are not nan; nan where there is none.

    >>> import minigrad as mg
    >>> mg.nanmean([1.0, np.nan, 2.0])
    tensor(1.5)
    """
    x = as_tensor(a)
    here, n = known(x, axis, keepdims)
    if here is None:
        return mean(x, axis=axis, keepdims=keepdims)
    y = nansum(x, axis=axis, keepdims=keepdims) / np.maximum(n, 1)
    return _or_nan(y, n > 0)


def _or_nan(y, enough):
    """nan, and flat, where there are not enough elements."""
    return y if visible(enough) and np.all(enough) else where(enough, y, np.nan)


def _spread_of_known(x, axis, ddof, keepdims):
    """The variance of the elements that are not nan, and where there are enough of them."""
    here, n = known(x, axis, keepdims)
    if here is None:
        return var(x, axis=axis, ddof=ddof, keepdims=keepdims), True
    apart = where(here, x - nanmean(x, axis=axis, keepdims=True), 0)
    enough = n > ddof
    return sum(square(apart), axis=axis, keepdims=keepdims) / np.where(enough, n - ddof, 1), enough


@composite(np.nanvar, cases=[*AXES, ([(5,)], {"ddof": 1})], note=NAN_GRADIENT)
def nanvar(a: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """The variance over the axes of the elements that are not nan; nan where there are no more than `ddof`.

    >>> import minigrad as mg
    >>> mg.nanvar([1.0, np.nan, 3.0])
    tensor(1.)
    """
    return _or_nan(*_spread_of_known(as_tensor(a), axis, ddof, keepdims))


@composite(np.nanstd, cases=[*AXES, ([(5,)], {"ddof": 1})], note=NAN_GRADIENT)
def nanstd(a: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """The standard deviation over the axes of the elements that are not nan, sqrt(nanvar(a)).

    >>> import minigrad as mg
    >>> mg.nanstd([1.0, np.nan, 3.0])
    tensor(1.)
    """
    variance, enough = _spread_of_known(as_tensor(a), axis, ddof, keepdims)
    return _or_nan(root(variance), enough)


def _by_choice_of_known(g, y, x, axis, keepdims):
    y = spread(y, x, axis, keepdims)
    return np.where(x == x, _shared((x == y) | (y != y), g, x, axis, keepdims), 0)


@op(numpy=np.nanmax, cases=AXES, vjp=_by_choice_of_known,
    note=f"equal maxima share the gradient evenly, {NAN_GRADIENT}")
def nanmax(x, axis=None, keepdims=False):
    """The largest element over the axes that is not nan; nan where all are. Raises ValueError for no elements.

    >>> import minigrad as mg
    >>> mg.nanmax([1.0, np.nan, 2.0])
    tensor(2.)
    """
    return np.fmax.reduce(x, axis=axis, keepdims=keepdims)


@op(numpy=np.nanmin, cases=AXES, vjp=_by_choice_of_known,
    note=f"equal minima share the gradient evenly, {NAN_GRADIENT}")
def nanmin(x, axis=None, keepdims=False):
    """The smallest element over the axes that is not nan; nan where all are. Raises ValueError for no elements.

    >>> import minigrad as mg
    >>> mg.nanmin([1.0, np.nan, 2.0])
    tensor(1.)
    """
    return np.fmin.reduce(x, axis=axis, keepdims=keepdims)


NUMPY[np.amax], NUMPY[np.amin] = max, min  # NumPy's older names
