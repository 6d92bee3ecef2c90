"""Elementwise ops: arithmetic, exponentials, comparisons' kin."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..tensor import Tensor, as_tensor
from .card import NUMPY, composite, elementwise, op

__all__ = [
    "abs", "add", "astype", "cbrt", "ceil", "clip", "copysign", "divide", "exp", "exp2", "expm1", "fabs", "float_power",
    "floor", "floor_divide", "fmax", "fmin", "fmod", "heaviside", "log", "log1p", "log2", "log10", "logaddexp",
    "logaddexp2", "maximum", "minimum", "mod", "multiply", "nan_to_num", "negative", "positive", "power", "reciprocal",
    "remainder", "rint", "round", "sigmoid", "sign", "sqrt", "square", "subtract", "trunc", "where",
]  # fmt: skip

# ---- arithmetic: by Python's operators, which are faster than the ufuncs on NumPy's scalars ------------------------

add = elementwise("add", operator.add, numpy=np.add,
    vjp=(lambda g, y, a, b: g,
         lambda g, y, a, b: g),
    sympy="a, b: a + b", domain=[(-3, 3), (-3, 3)])

subtract = elementwise("subtract", operator.sub, numpy=np.subtract,
    vjp=(lambda g, y, a, b: g,
         lambda g, y, a, b: -g),
    sympy="a, b: a - b", domain=[(-3, 3), (-3, 3)])

multiply = elementwise("multiply", operator.mul, numpy=np.multiply,
    vjp=(lambda g, y, a, b: g * b,
         lambda g, y, a, b: g * a),
    sympy="a, b: a * b", domain=[(-3, 3), (-3, 3)])

divide = elementwise("divide", operator.truediv, numpy=np.divide,
    vjp=(lambda g, y, a, b: g / b,
         lambda g, y, a, b: -g * y / b),
    sympy="a, b: a / b", domain=[(-3, 3), (0.5, 3)])

negative = elementwise("negative", operator.neg, numpy=np.negative,
    vjp=lambda g, y, x: -g,
    sympy="x: -x", domain=(-3, 3))

positive = elementwise("positive", np.positive,
    vjp=lambda g, y, x: g,
    sympy="x: x", domain=(-3, 3))

square = elementwise("square", np.square,
    vjp=lambda g, y, x: g * (2 * x),
    sympy="x: x**2", domain=(-3, 3))

sqrt = elementwise("sqrt", np.sqrt,
    vjp=lambda g, y, x: g / (2 * y),
    sympy="sqrt", domain=(0.1, 4))

cbrt = elementwise("cbrt", np.cbrt,
    vjp=lambda g, y, x: g / (3 * y * y),
    sympy="x: sign(x) * cbrt(Abs(x))", domain=(-3, 3))

reciprocal = elementwise("reciprocal", np.reciprocal,
    vjp=lambda g, y, x: -g * y * y,
    sympy="x: 1 / x", domain=(0.3, 3))

abs = elementwise("abs", np.absolute,
    vjp=lambda g, y, x: g * np.sign(x),
    sympy="Abs", domain=(-3, 3), kinks=(0,), note="abs'(0) = 0")

fabs = elementwise("fabs", np.fabs,
    vjp=lambda g, y, x: g * np.sign(x),
    sympy="Abs", domain=(-3, 3), kinks=(0,), note="fabs'(0) = 0")

sign = elementwise("sign", np.sign,
    vjp=lambda g, y, x: 0 * g,
    sympy="sign", domain=(-3, 3), kinks=(0,), note="sign' = 0, at 0 too")


def _power_by_base(g, y, x, b):
    if type(b) in (int, float):  # the usual case, spared the arrays
        return g * (b * x ** (b - 1)) if b else 0 * g
    flat = (x == 0) & (b == 0)  # x**0 is flat at 0 too, where x**-1 is infinite
    return g * (b * np.where(flat, 1, x) ** (b - 1))


def _power_by_exponent(g, y, x, b):
    flat = (x == 0) & (b >= 0)  # 0**b is 0 for every b > 0: no slope, and log(0) must not spoil it
    return g * np.where(flat, 0, y * np.log(np.where(flat, 1, x)))


power = elementwise("power", operator.pow, numpy=np.power,
    vjp=(_power_by_base, _power_by_exponent),
    sympy="x, b: x**b", domain=[(0.3, 3), (-2, 2)], note="x**0 has slope 0 at x = 0")


@composite(np.float_power, cases=[([np.array([1.3, 2.5]), np.array([[2.0], [-1.5]])], {})],
    note="float32 becomes float64, as NumPy has it")
def float_power(x1: Any, x2: Any) -> Tensor:
    """`x1` to the power `x2` in float64 at least, elementwise: integers may have negative exponents.

    >>> import minigrad as mg
    >>> mg.float_power(2, [-1, 3])
    tensor([0.5, 8. ])
    """
    x1, x2 = as_tensor(x1), as_tensor(x2)
    wide = np.result_type(x1.dtype, x2.dtype, np.float64)
    return power(astype(x1, wide), astype(x2, wide))


# ---- remainders and whole numbers: between two jumps, all but a remainder is flat -----------------------------------

floor_divide = elementwise("floor_divide", np.floor_divide,
    vjp=(lambda g, y, a, b: 0 * g,
         lambda g, y, a, b: 0 * g),
    sympy="a, b: floor(a / b)", domain=[(-3, 3), (0.5, 3)], note="its slopes are 0")

mod = elementwise("mod", np.remainder,
    vjp=(lambda g, y, a, b: g,
         lambda g, y, a, b: -g * np.floor_divide(a, b)),
    sympy="Mod", domain=[(-3, 3), (0.5, 3)], note="where it jumps, the slopes are those of one side")
remainder = mod


def _fmod_by_divisor(g, y, a, b):
    below = np.floor_divide(a, b)  # which NumPy makes agree with the remainder, as no rounded a / b does
    return -g * np.where((below < 0) & (y != 0), below + 1, below)


fmod = elementwise("fmod", np.fmod,
    vjp=(lambda g, y, a, b: g, _fmod_by_divisor),
    sympy="a, b: a - sign(a) * Abs(b) * floor(Abs(a / b))", domain=[(-3, 3), (0.5, 3)],
    note="where it jumps, the slopes are those of one side")

floor = elementwise("floor", np.floor,
    vjp=lambda g, y, x: 0 * g,
    sympy="floor", domain=(-3, 3), note="its slope is 0")

ceil = elementwise("ceil", np.ceil,
    vjp=lambda g, y, x: 0 * g,
    sympy="ceiling", domain=(-3, 3), note="its slope is 0")

trunc = elementwise("trunc", np.trunc,
    vjp=lambda g, y, x: 0 * g,
    sympy="x: sign(x) * floor(Abs(x))", domain=(-3, 3), note="its slope is 0")

rint = elementwise("rint", np.rint,  # a half goes to the even neighbour
    vjp=lambda g, y, x: 0 * g,
    sympy="x: floor(x + S.Half) - Piecewise((1, Eq(Mod(x, 2), S.Half)), (0, True))", domain=(-3, 3),
    note="its slope is 0")


@composite(np.round, cases=[([(2, 3)], {}), ([np.array([0.31, -1.27])], {"decimals": 1}),
                            ([np.array([31.0, -127.0])], {"decimals": -1})])
def round(a: Any, decimals: int = 0) -> Tensor:
    """Rounded to `decimals` places after the point, halves to the even neighbour, elementwise. The gradient is 0.

    >>> import minigrad as mg
    >>> mg.round([0.5, 1.5, 2.25])
    tensor([0., 2., 2.])
    >>> mg.round(1.26, decimals=1)
    tensor(1.3)
    """
    a = as_tensor(a)
    if a.dtype.kind not in "fO":
        return Tensor(np.round(a._data, decimals))
    scale = 10.0 ** -decimals if decimals < 0 else 10.0**decimals
    if not decimals:
        return rint(a)
    return rint(a / scale) * scale if decimals < 0 else rint(a * scale) / scale


NUMPY[np.around] = round

# ---- exponentials and logarithms -----------------------------------------------------------------------------------

LOG_2 = float(np.log(2))

exp = elementwise("exp", np.exp,
    vjp=lambda g, y, x: g * y,
    sympy="exp", domain=(-3, 3))

exp2 = elementwise("exp2", np.exp2,
    vjp=lambda g, y, x: g * y * LOG_2,
    sympy="x: 2**x", domain=(-3, 3))

expm1 = elementwise("expm1", np.expm1,
    vjp=lambda g, y, x: g * np.exp(x),
    sympy="x: exp(x) - 1", domain=(-3, 3))

log = elementwise("log", np.log,
    vjp=lambda g, y, x: g / x,
    sympy="log", domain=(0.1, 4))

log1p = elementwise("log1p", np.log1p,
    vjp=lambda g, y, x: g / (1 + x),
    sympy="x: log(1 + x)", domain=(-0.9, 4))

log2 = elementwise("log2", np.log2,
    vjp=lambda g, y, x: g / LOG_2 / x,
    sympy="x: log(x) / log(2)", domain=(0.1, 4))

log10 = elementwise("log10", np.log10,
    vjp=lambda g, y, x: g / float(np.log(10)) / x,
    sympy="x: log(x) / log(10)", domain=(0.1, 4))


def _sigmoid(x):
    small = np.exp(-np.absolute(x))  # never overflows
    return np.where(x >= 0, 1, small) / (1 + small)


sigmoid = elementwise("sigmoid", _sigmoid,
    vjp=lambda g, y, x: g * y * (1 - y),
    sympy="x: 1 / (1 + exp(-x))", domain=(-3, 3))

logaddexp = elementwise("logaddexp", np.logaddexp,
    vjp=(lambda g, y, a, b: g * sigmoid(a - b),
         lambda g, y, a, b: g * sigmoid(b - a)),
    sympy="a, b: log(exp(a) + exp(b))", domain=[(-3, 3), (-3, 3)])

logaddexp2 = elementwise("logaddexp2", np.logaddexp2,
    vjp=(lambda g, y, a, b: g * sigmoid((a - b) * LOG_2),
         lambda g, y, a, b: g * sigmoid((b - a) * LOG_2)),
    sympy="a, b: log(2**a + 2**b) / log(2)", domain=[(-3, 3), (-3, 3)])

# ---- choices: kinks follow torch -----------------------------------------------------------------------------------


def _if_greater(g, a, b):
    """The share of the gradient g that a gets for having been chosen over b: all, none or, in a tie, half."""
    return np.where(a == b, g / 2, np.where(a > b, g, 0))


maximum = elementwise("maximum", np.maximum,
    vjp=(lambda g, y, a, b: _if_greater(g, a, b),
         lambda g, y, a, b: _if_greater(g, b, a)),
    sympy="Max", domain=[(-3, 3), (-3, 3)], note="a tie gives each half of the gradient")

minimum = elementwise("minimum", np.minimum,
    vjp=(lambda g, y, a, b: _if_greater(g, b, a),
         lambda g, y, a, b: _if_greater(g, a, b)),
    sympy="Min", domain=[(-3, 3), (-3, 3)], note="a tie gives each half of the gradient")

fmax = elementwise("fmax", np.fmax,
    vjp=(lambda g, y, a, b: np.where((a >= b) | np.isnan(b), g, 0),
         lambda g, y, a, b: np.where((a >= b) | np.isnan(b), 0, g)),
    sympy="Max", domain=[(-3, 3), (-3, 3)], note="a tie gives the first its gradient; nan gets none beside a number")

fmin = elementwise("fmin", np.fmin,
    vjp=(lambda g, y, a, b: np.where((a <= b) | np.isnan(b), g, 0),
         lambda g, y, a, b: np.where((a <= b) | np.isnan(b), 0, g)),
    sympy="Min", domain=[(-3, 3), (-3, 3)], note="a tie gives the first its gradient; nan gets none beside a number")

copysign = elementwise("copysign", np.copysign,
    vjp=(lambda g, y, a, b: g * np.sign(a) * np.sign(y),
         lambda g, y, a, b: 0 * g),
    sympy="a, b: Abs(a) * Piecewise((-1, b < 0), (1, True))", domain=[(-3, 3), (-3, 3)],
    note="at a = 0 the slope is 0")

heaviside = elementwise("heaviside", np.heaviside,
    vjp=(lambda g, y, a, b: 0 * g,
         lambda g, y, a, b: np.where(a == 0, g, 0)),
    sympy="a, b: Piecewise((0, a < 0), (b, Eq(a, 0)), (1, True))", domain=[(-3, 3), (-3, 3)],
    note="its slope by a is 0, at 0 too")

where_ = elementwise("where", np.where,
    vjp=(None,
         lambda g, y, c, a, b: np.where(c, g, 0),
         lambda g, y, c, a, b: np.where(c, 0, g)),
    sympy="c, a, b: Piecewise((a, c), (b, True))", domain=["bool", (-3, 3), (-3, 3)])


def where(condition: Any, x: Any = None, y: Any = None) -> Tensor:
    """`x` where the condition holds, else `y`, elementwise; all three broadcast. No gradient flows to the condition.

    The gradient is that of the chosen branch, but both are computed: an infinite slope in the branch that is
    not chosen gives 0 * inf = nan, so make its input safe first, as in `where(x > 0, log(where(x > 0, x, 1)), 0)`.

    >>> import minigrad as mg
    >>> mg.where([True, False], 1.0, mg.tensor([2.0, 3.0]))
    tensor([1., 3.])
    """
    if x is None or y is None:
        raise TypeError("where: it takes a condition and two branches; np.nonzero(condition) gives indices")
    if isinstance(condition, Tensor) and condition.requires_grad:
        condition = condition != 0
    return where_(condition, x, y)


NUMPY[np.where] = where

clip_ = elementwise("clip", lambda x, lo, hi: np.minimum(np.maximum(x, lo), hi),
    vjp=(lambda g, y, x, lo, hi: np.where((x >= lo) & (x <= hi), g, 0),
         lambda g, y, x, lo, hi: np.where((x < lo) & (lo < hi), g, 0),
         lambda g, y, x, lo, hi: np.where((x > hi) | (lo > hi), g, 0)),
    sympy="x, lo, hi: Min(Max(x, lo), hi)", domain=[(-3, 3), (-1, -0.5), (0.5, 1)],
    note="at a bound the gradient passes")


def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Tensor:
    """`a` limited to [a_min, a_max], elementwise; None is no limit. At a bound the gradient passes to `a`.

    >>> import minigrad as mg
    >>> mg.clip([-2.0, 0.5, 2.0], -1.0, 1.0)
    tensor([-1. ,  0.5,  1. ])
    """
    a = as_tensor(a)
    lo, hi = (a_min if min is None else min), (a_max if max is None else max)
    least, most = (np.iinfo(a.dtype).min, np.iinfo(a.dtype).max) if a.dtype.kind in "iu" else (-np.inf, np.inf)
    return clip_(a, least if lo is None else lo, most if hi is None else hi)


NUMPY[np.clip] = clip


@composite(np.nan_to_num, cases=[([(2, 3)], {})])
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Tensor:
    """`x` with numbers for what is none: `nan`, and the largest and smallest float for inf and -inf, if not others.

    The gradient passes where x is finite.

    >>> import minigrad as mg
    >>> mg.nan_to_num([1.0, np.nan, -np.inf], neginf=-9.0)
    tensor([ 1.,  0., -9.])
    """
    if not copy:
        raise TypeError("nan_to_num: copy=False would write into its input, which a graph does not see; leave it out")
    x = as_tensor(x)
    return where_(np.isfinite(x._data), x, np.nan_to_num(x._data, nan=nan, posinf=posinf, neginf=neginf))


# ---- dtypes --------------------------------------------------------------------------------------------------------


@op(vjp=lambda g, y, x: g)
def identity(x):
    """The same values as a result of its own."""
    return x


@op(vjp=lambda g, y, x, dtype: astype_(g, x.dtype), cases=[([(2, 3)], {"dtype": np.float64})])
def astype_(x, dtype=np.float64):
    return x if x.dtype == object else x.astype(dtype)


def astype(x: Any, dtype: Any) -> Tensor:
    """The values in another dtype; the gradient comes back in the dtype of x. Through integers, no gradient flows.

    >>> import minigrad as mg
    >>> mg.tensor([1.5, 2.5]).astype(np.float32).dtype
    dtype('float32')
    """
    return astype_(x if np.dtype(dtype).kind in "fO" else as_tensor(x).detach(), dtype)
