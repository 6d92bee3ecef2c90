"""Sampled functions: differences, slopes, integrals, interpolation, convolution; and covariances."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy._globals import _NoValue
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..tensor import Tensor, as_tensor, require
from .card import composite, op
from .elementwise import sqrt, where
from .joining import concatenate
from .moving import flip
from .products import matmul
from .reduce import mean, sum
from .shape import along, broadcast_to, expand_dims, ravel, reshape, squeeze, transpose

__all__ = [
    "convolve", "corrcoef", "correlate", "cov", "diff", "gradient", "interp", "trapezoid",
]  # fmt: skip


# ---- differences and integrals -------------------------------------------------------------------------------------


@composite(np.diff, cases=[([(4,)], {}), ([(3, 2), 1, 0, (1, 2)], {}), ([(2, 4)], {"n": 2, "append": 0.5})])
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """Each element minus the one before it along an axis, `n` times over.

    `prepend` and `append`, numbers or arrays, are put before and after `a` first; gradients flow to them too.

    >>> import minigrad as mg
    >>> mg.diff([1.0, 4.0, 9.0], prepend=0.0)
    tensor([1., 3., 5.])
    """
    a = as_tensor(a)
    if n < 0:
        raise ValueError(f"diff: n={n}; it is how often differences are taken, so 0 or more")
    if a.ndim == 0:
        raise ValueError("diff: a number has no axis to take differences along")
    axis = normalize_axis_index(axis, a.ndim, "diff")
    if n == 0:
        return a
    parts = [x for x in (prepend, a, append) if x is not None and x is not _NoValue]
    if len(parts) > 1:
        one = tuple(1 if i == axis else m for i, m in enumerate(a.shape))
        a = concatenate([broadcast_to(_as_is(x, a), one) if np.ndim(x) == 0 else x for x in parts], axis)
    for _ in range(n):
        later, earlier = a[along(axis, slice(1, None))], a[along(axis, slice(-1))]
        a = as_tensor(later._data != earlier._data) if a.dtype == bool else later - earlier
    return a


def _as_is(x: Any, a: Tensor) -> Any:
    """Python's numbers in the dtype that they take on beside an array; anything else as it is."""
    return np.asarray(x, np.result_type(a.dtype, x)) if type(x) in (int, float, bool) else x


@composite(np.trapezoid,
    cases=[([(4,)], {}), ([(2, 3), (3,)], {}), ([(3, 2), (3, 2)], {"axis": 0}), ([(3, 2)], {"dx": 0.5, "axis": -2})])
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    """The integral of `y` along an axis by the trapezoidal rule, differentiable in `x` and `dx` too.

    `x` are the places of the samples, of one axis or in the shape of `y`; without them, samples are `dx` apart.

    >>> import minigrad as mg
    >>> mg.trapezoid([1.0, 2.0, 3.0], x=[0.0, 1.0, 3.0])
    tensor(6.5)
    """
    y = as_tensor(y)
    if x is not None:
        dx = diff(x, axis=axis if np.ndim(x) > 1 else -1)
    axis = normalize_axis_index(axis, y.ndim, "trapezoid")
    if np.ndim(x) == 1:
        if len(x) != y.shape[axis]:
            raise ValueError(f"trapezoid: {len(x)} places for {y.shape[axis]} samples along axis {axis}")
        dx = _along(dx, axis, y.ndim)
    return sum(dx * (y[along(axis, slice(1, None))] + y[along(axis, slice(-1))]) / 2, axis=axis)


def _along(x: Tensor, axis: int, ndim: int) -> Tensor:
    """A row, laid along an axis of an array of `ndim` axes."""
    return reshape(x, tuple(-1 if i == axis else 1 for i in range(ndim)))


SLOPES = [([(4,)], {}), ([(3, 4), 0.5], {"axis": 1, "edge_order": 2}), ([(2, 3), 2.0, np.array([0.5, 1.0, 2.5])], {}),
          ([(4,), np.array([0.0, 1.0, 1.5, 3.5])], {"edge_order": 2})]  # fmt: skip


@composite(np.gradient, cases=SLOPES)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Tensor | tuple[Tensor, ...]:
    """The slopes of a sampled function along the axes (all, for None): one array, or a tuple with one for each axis.

    `varargs` are nothing (samples are 1 apart), one distance for all axes, or for each axis a distance or the places of
    the samples; gradients flow to them too. Inside, the slope is that of the parabola through a sample and its two
    neighbours; at both ends that of the straight line, or with `edge_order=2` of the parabola, through the nearest.

    (The derivative of a function that is no table of samples is `mg.grad`.)

    >>> import minigrad as mg
    >>> mg.gradient([1.0, 4.0, 9.0, 16.0])
    tensor([3., 4., 6., 7.])
    """
    f = as_tensor(f)
    if f.dtype.kind in "biu":
        f = f.astype(float)
    axes = tuple(range(f.ndim)) if axis is None else normalize_axis_tuple(axis, f.ndim, "gradient")
    if edge_order not in (1, 2):
        raise ValueError(f"gradient: edge_order={edge_order!r} is neither 1 nor 2")
    if len(varargs) not in (0, 1, len(axes)) or (len(varargs) == 1 < len(axes) and np.ndim(varargs[0])):
        raise TypeError(f"gradient: {len(varargs)} distances for {len(axes)} axes; give none, one, or one for each")
    distances = varargs if len(varargs) == len(axes) else [varargs[0] if varargs else 1.0] * len(axes)
    slopes = tuple(_slope(f, d, i, edge_order) for d, i in zip(distances, axes, strict=True))
    return slopes[0] if len(slopes) == 1 else slopes


def _slope(f: Tensor, distance: Any, axis: int, edge_order: int) -> Tensor:
    n = f.shape[axis]
    if n <= edge_order:
        raise ValueError(f"gradient: {n} samples along axis {axis}; edge_order={edge_order} needs {edge_order + 1}")
    if np.ndim(distance) > 1 or (np.ndim(distance) == 1 and len(distance) != n):
        raise ValueError(f"gradient: places {np.shape(distance)} for {n} samples along axis {axis}")
    rises = f[along(axis, slice(1, None))] - f[along(axis, slice(-1))]
    if np.ndim(distance):
        h = _along(diff(distance), axis, f.ndim)
        left, right = h[along(axis, slice(-1))], h[along(axis, slice(1, None))]
        secants = rises / h
        before, after = secants[along(axis, slice(-1))], secants[along(axis, slice(1, None))]
        middle = before + left / (left + right) * (after - before)  # the nearer neighbour counts more
    else:
        secants = rises / distance
        middle = (f[along(axis, slice(2, None))] - f[along(axis, slice(-2))]) / (2 * distance)
    first, last = secants[along(axis, slice(1))], secants[along(axis, slice(-1, None))]
    if edge_order == 2:  # a parabola's slope is linear, so that of a secant lies halfway between those at its two ends
        first = 2 * first - middle[along(axis, slice(1))]
        last = 2 * last - middle[along(axis, slice(-1, None))]
    return concatenate([first, middle, last], axis)


# ---- interpolation -------------------------------------------------------------------------------------------------


TABLE = [np.array([-1.0, 0.5, 1.0, 3.0]), (4,)]
INTERP = [([np.array([-2.0, -0.3, 0.7, 2.9, 4.0]), *TABLE], {}), ([np.array([[0.7], [5.0]]), *TABLE, 1.0, 2.0], {}),
          ([np.array([-2.3, 0.7, 5.2]), *TABLE], {"period": 5.0})]  # fmt: skip


@composite(np.interp, cases=INTERP,
    note="at a sample's place, the slope is that on the right (at the last one, on the left)")
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: float | None = None) -> Tensor:
    """The values at `x` of the straight lines through the samples `fp` at places `xp`, which must ascend.

    Outside, they are `left` and `right`, or else the first and the last sample; with a `period`, the samples repeat.
    Differentiable in `x`, `xp`, `fp`, `left` and `right`. Raises ValueError where `xp` does not ascend.

    >>> import minigrad as mg
    >>> mg.grad(mg.interp)(1.5, [1.0, 2.0, 3.0], [0.0, 10.0, 15.0])
    tensor(10.)
    """
    x, xp, fp = as_tensor(x), as_tensor(xp), as_tensor(fp)
    if xp.ndim != 1 or xp.shape != fp.shape or not xp.size:
        raise ValueError(f"interp: places {xp.shape} and samples {fp.shape} must be two rows of one length, not empty")
    if period is not None:
        if period == 0:
            raise ValueError("interp: period=0; a period is a distance")
        x, xp, fp = _repeated(x, xp, fp, abs(period))
        left = right = None
    if not xp.dtype.hasobject:
        sentence = "interp: the places xp must ascend: sort them, and the samples with them"
        require(xp._data[1:] >= xp._data[:-1], lambda: ValueError(sentence))
    inside = ~((x < xp[0]) | (x > xp[-1]))
    safe = where(inside, x, xp[0])  # which is finite, and leaves x no gradient outside
    n = len(xp)
    i = np.clip(np.searchsorted(xp._data, x._data, side="right") - 1, 0, max(n - 2, 0))
    j = np.minimum(i + 1, n - 1)
    width = xp[j] - xp[i]
    empty = width._data == 0  # two samples at the last place: the last one counts
    share = where(empty, 1, (safe - xp[i]) / where(empty, 1, width))
    y = fp[i] + share * (fp[j] - fp[i])
    y = where(x < xp[0], fp[0] if left is None else left, y)
    return where(x > xp[-1], fp[-1] if right is None else right, y)


def _repeated(x: Tensor, xp: Tensor, fp: Tensor, period: float) -> tuple[Tensor, Tensor, Tensor]:
    """x moved into one period; the samples there too, in order, with one more on either side."""
    x, xp = (t - (t._data - np.remainder(t._data, period)) for t in (x, xp))
    order = np.argsort(xp._data, kind="stable")
    xp, fp = xp[order], fp[order]
    return x, concatenate([xp[-1:] - period, xp, xp[:1] + period]), concatenate([fp[-1:], fp, fp[:1]])


# ---- convolution ---------------------------------------------------------------------------------------------------


def _convolve_by_a(g, y, a, v, mode):
    return convolve_(g, flip(v), "valid" if mode == "full" else "full")


def _convolve_by_v(g, y, a, v, mode):
    return convolve_(g, flip(a), "valid") if mode == "full" else flip(convolve_(a, flip(g), "valid"))


@op(arity=2, vjp=(_convolve_by_a, _convolve_by_v),
    cases=[([(3,), (2,)], {}), ([(2,), (3,)], {}), ([(4,), (2,)], {"mode": "valid"})])
def convolve_(a, v, mode="full"):
    return np.convolve(a, v, mode)  # where "valid", v is no longer than a: so the rules need no other


BOTH = [([(4,), (3,)], {}), ([(2,), (4,)], {"mode": "same"}), ([(3,), (5,)], {"mode": "valid"})]


@composite(np.convolve, cases=BOTH)
def convolve(a: Any, v: Any, mode: str = "full") -> Tensor:
    """The sums of a[i] v[k - i] for each k, of two rows, as `np.convolve`.

    `mode` is "full" for every k, "same" for those in the middle, as many as the longer row has, or "valid" for those
    where the rows overlap whole.

    >>> import minigrad as mg
    >>> mg.convolve([1.0, 2.0, 3.0], [1.0, 10.0])
    tensor([ 1., 12., 23., 30.])
    """
    a, v = _two_rows(a, v, mode, "convolve")
    if v.size > a.size:
        a, v = v, a
    if mode != "same":
        return convolve_(a, v, mode)
    start = (v.size - 1) // 2
    return convolve_(a, v, "full")[start : start + a.size]


@composite(np.correlate, cases=BOTH)
def correlate(a: Any, v: Any, mode: str = "valid") -> Tensor:
    """The sums of a[i + k] v[i] for each k, of two rows, as `np.correlate`; for `mode` see `convolve`.

    >>> import minigrad as mg
    >>> mg.correlate([1.0, 2.0, 3.0], [1.0, 10.0])
    tensor([21., 32.])
    """
    a, v = _two_rows(a, v, mode, "correlate")
    if v.size > a.size:
        return flip(convolve(v, flip(a), mode))
    return convolve(a, flip(v), mode)


def _two_rows(a: Any, v: Any, mode: str, name: str) -> tuple[Tensor, Tensor]:
    if mode not in ("full", "same", "valid"):
        raise ValueError(f'{name}: mode={mode!r} is none of "full", "same", "valid"')
    a, v = (ravel(x) if np.ndim(x) == 0 else as_tensor(x) for x in (a, v))
    if a.ndim != 1 or v.ndim != 1 or not a.size or not v.size:
        raise ValueError(f"{name}: {a.shape} and {v.shape}: it takes two rows, neither empty")
    return a, v


# ---- covariances ---------------------------------------------------------------------------------------------------


@composite(np.cov, cases=[([(2, 4)], {}), ([(3,), (3,)], {"bias": True}), ([(4, 2)], {"rowvar": False, "ddof": 0})])
def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None) -> Tensor:
    """The covariances of variables: rows of `m` (columns, unless `rowvar`), and those of `y`.

    The sums of products are divided by the number of observations minus `ddof`: 1 by default, or 0 with `bias`.

    >>> import minigrad as mg
    >>> mg.cov([[1.0, 2.0, 3.0], [6.0, 4.0, 2.0]])
    tensor([[ 1., -2.],
            [-2.,  4.]])
    """
    rows = _variables(m, rowvar)
    if y is not None:
        other = _variables(y, rowvar)
        if other.shape[1] != rows.shape[1]:
            raise ValueError(f"cov: {rows.shape[1]} observations in m, and {other.shape[1]} in y")
        rows = concatenate([rows, other])
    n = rows.shape[1] - ((0 if bias else 1) if ddof is None else ddof)
    if n <= 0:
        raise ValueError(f"cov: {rows.shape[1]} observations leave {n} to divide by, with ddof taken off")
    apart = rows - mean(rows, axis=1, keepdims=True)
    return squeeze(matmul(apart, transpose(apart)) / n)


def _variables(m: Any, rowvar: bool) -> Tensor:
    m = as_tensor(m)
    if m.ndim > 2:
        raise ValueError(f"cov: an array {m.shape} has more than the axes of variables and observations")
    if m.ndim < 2:
        return reshape(m, (1, -1))
    return m if rowvar else transpose(m)


@composite(np.corrcoef, cases=[([(2, 4)], {}), ([(3, 2)], {"rowvar": False}), ([(4,), (4,)], {})])
def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Tensor:
    """The correlations of variables: their covariances, divided by both standard deviations.

    It is nan for a variable that is constant.

    >>> import minigrad as mg
    >>> mg.corrcoef([[1.0, 2.0, 3.0], [6.0, 4.0, 2.0]])
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    c = cov(x, y, rowvar)
    if c.ndim == 0:
        return c / c
    deviations = sqrt(c[np.arange(len(c)), np.arange(len(c))])
    return c / expand_dims(deviations, 1) / deviations
