"""SciPy's special functions: the error function, gamma, Bessel and their kin.

The slopes of these functions are others of this file, so that there are derivatives of any order. Where a family of
functions has a recurrence that cancels no digits, the whole family is one card, with its order as a parameter.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..approximations import fast_erf
from ..batching import as_array, beneath
from ..kernels import kernel
from ..tensor import Tensor
from . import loops
from .card import SCIPY, elementwise
from .elementwise import cbrt, exp2, expm1, log1p, sigmoid

__all__ = ["erf", "i0"]  # what `mg` itself offers; all else is in `mg.special`

ROOT_HALF = float(np.sqrt(0.5))
ROOT_PI = float(np.sqrt(np.pi))
ROOT_2_PI = float(np.sqrt(2 * np.pi))
ROOT_2_OVER_PI = float(np.sqrt(2 / np.pi))


@functools.cache
def _special():
    from scipy import special  # SciPy takes a tenth of a second to load

    return special


def _of_two(name: str) -> Callable:
    """SciPy's function of two arguments, which takes a Python number beside a float32 for a float64."""

    def forward(a, b):
        dtype = np.result_type(a, b)
        return getattr(_special(), name)(as_array(a, dtype), as_array(b, dtype))

    return forward


# ---- the error function and the normal distribution ---------------------------------------------------------------

def _erf(x):
    return loops.over_elements(erf_loop, x) if loops.native(x) else _special().erf(x)


@kernel
def erf_loop(start, stop, x, y):
    x, y = x[start:stop], y[start:stop]
    for i in range(x.size):
        y[i] = fast_erf(x[i])


erf = elementwise("erf", _erf,
    vjp=lambda g, y, x: 2 * g * np.exp(-x * x) / ROOT_PI,
    sympy="erf", domain=(-3, 3))

# What is left of 1, without loss of digits. (SymPy's own erfc would only make formulas longer.)
erfc = elementwise("erfc", lambda x: _special().erfc(x),
    vjp=lambda g, y, x: -2 * g * np.exp(-x * x) / ROOT_PI,
    sympy="x: 1 - erf(x)", domain=(-3, 3))

erfinv = elementwise("erfinv", lambda x: _special().erfinv(x),
    vjp=lambda g, y, x: g * np.exp(y * y) * ROOT_PI / 2,
    sympy="erfinv", domain=(-0.95, 0.95))

erfcinv = elementwise("erfcinv", lambda x: _special().erfcinv(x),
    vjp=lambda g, y, x: -g * np.exp(y * y) * ROOT_PI / 2,
    sympy="x: erfinv(1 - x)", domain=(0.05, 1.95))

erfcx = elementwise("erfcx", lambda x: _special().erfcx(x),
    vjp=lambda g, y, x: -2 * g * ierfcx(x),
    sympy="x: exp(x**2) * erfc(x)", domain=(-2, 3))


def _ierfcx(x):
    """1/sqrt(pi) - x erfcx(x): the difference cancels for large x, where Tricomi's function U has its digits.

    The integral of erfc over (x, inf) is exp(-x^2) U(1, 1/2, x^2) / (2 sqrt(pi)) for x > 0 (DLMF 7.18.10), and
    U(1, 1/2, z) goes to 1 / z.
    """
    large = np.maximum(x, 8)
    reached = np.minimum(large, 1e8)
    tail = _special().hyperu(1, 0.5, reached * reached) * (reached / large) ** 2 / (2 * ROOT_PI)
    return np.where(x < 8, 1 / ROOT_PI - np.minimum(x, 8) * _special().erfcx(np.minimum(x, 8)), tail)


ierfcx = elementwise("ierfcx", _ierfcx,
    vjp=lambda g, y, x: g * (2 * (x * y) - erfcx(x)),
    sympy="x: 1 / sqrt(pi) - x * exp(x**2) * erfc(x)", domain=(-2, 1),
    note="exp(x^2) times the integral of erfc from x on; its slope, which log_ndtr needs thrice, cancels for large x")

ndtr = elementwise("ndtr", lambda x: _special().ndtr(x),
    vjp=lambda g, y, x: g * np.exp(x * x * -0.5) / ROOT_2_PI,
    sympy="x: (1 + erf(x / sqrt(2))) / 2", domain=(-3, 3))

log_ndtr = elementwise("log_ndtr", lambda x: _special().log_ndtr(x),
    vjp=lambda g, y, x: g * ROOT_2_OVER_PI / erfcx(-x * ROOT_HALF),
    sympy="x: log((1 + erf(x / sqrt(2))) / 2)", domain=(-3, 3))

ndtri = elementwise("ndtri", lambda x: _special().ndtri(x),
    vjp=lambda g, y, x: g * np.exp(y * y * 0.5) * ROOT_2_PI,
    sympy="x: sqrt(2) * erfinv(2 * x - 1)", domain=(0.02, 0.98))

# ---- logistic function and entropies ------------------------------------------------------------------------------

expit = sigmoid

logit = elementwise("logit", lambda x: _special().logit(x),
    vjp=lambda g, y, x: g / (x * (1 - x)),
    sympy="x: log(x / (1 - x))", domain=(0.02, 0.98))


def _xlogy_by_x(g, y, a, b):
    zero = (a == 0) & (b <= 0)
    return np.where(zero, 0, g * np.log(np.where(zero, 1, b)))


xlogy = elementwise("xlogy", _of_two("xlogy"),
    vjp=(_xlogy_by_x,
         lambda g, y, a, b: g * (a / np.where(a == 0, 1, b))),
    sympy="x, y: Piecewise((0, Eq(x, 0) & (y <= 0)), (x * log(y), True))", domain=[(-1, 3), (0.1, 3)],
    note="where x = 0, the slope by y is 0, and the slope by x too if y <= 0")


def _xlog1py_by_x(g, y, a, b):
    zero = (a == 0) & (b <= -1)
    return np.where(zero, 0, g * np.log1p(np.where(zero, 0, b)))


xlog1py = elementwise("xlog1py", _of_two("xlog1py"),
    vjp=(_xlog1py_by_x,
         lambda g, y, a, b: g * (a / np.where(a == 0, 1, 1 + b))),
    sympy="x, y: Piecewise((0, Eq(x, 0) & (y <= -1)), (x * log(1 + y), True))", domain=[(-1, 3), (-0.9, 3)],
    note="where x = 0, the slope by y is 0, and the slope by x too if y <= -1")

entr = elementwise("entr", lambda x: _special().entr(x),
    vjp=lambda g, y, x: g * (-1 - np.log(x)),
    sympy="x: Piecewise((-x * log(x), x > 0), (0, Eq(x, 0)), (-oo, True))", domain=(0.02, 3),
    note="entr(0) = 0, with an infinite slope; entr(x) = -inf for x < 0, with the slope nan")

# ---- gamma and its logarithmic derivatives ------------------------------------------------------------------------

gamma = elementwise("gamma", lambda x: _special().gamma(x),
    vjp=lambda g, y, x: g * y * digamma(x),
    sympy="gamma", domain=(0.2, 5))

gammaln = elementwise("gammaln", lambda x: _special().gammaln(x),
    vjp=lambda g, y, x: g * digamma(x),
    sympy="loggamma", domain=(0.2, 5))

digamma = elementwise("digamma", lambda x: _special().psi(x),
    vjp=lambda g, y, x: g * polygamma_(x, n=1),
    sympy="digamma", domain=(0.2, 5))


def _polygamma(x, n=2):
    """By the zeta function of Hurwitz (DLMF 25.11.12)."""
    return float((-1) ** (n + 1) * _special().gamma(n + 1.0)) * _special().zeta(n + 1, x)


polygamma_ = elementwise("polygamma", _polygamma,
    vjp=lambda g, y, x, n: g * polygamma_(x, n=n + 1),
    sympy="x, n: polygamma(n, x)", domain=(0.2, 5), cases=[([()], {"n": 1}), ([(2,)], {"n": 2})])

beta = elementwise("beta", _of_two("beta"),
    vjp=(lambda g, y, a, b: g * y * (digamma(a) - digamma(a + b)),
         lambda g, y, a, b: g * y * (digamma(b) - digamma(a + b))),
    sympy="a, b: beta(a, b)", domain=[(0.2, 4), (0.2, 4)])

betaln = elementwise("betaln", _of_two("betaln"),
    vjp=(lambda g, y, a, b: g * (digamma(a) - digamma(a + b)),
         lambda g, y, a, b: g * (digamma(b) - digamma(a + b))),
    sympy="a, b: loggamma(a) + loggamma(b) - loggamma(a + b)", domain=[(0.2, 4), (0.2, 4)])

# ---- Bessel functions: slopes by neighbouring orders (DLMF 10.6.1, 10.29.1, 10.51.2), without poles at 0 ------------

i0 = elementwise("i0", lambda x: _special().i0(x), numpy=np.i0,
    vjp=lambda g, y, x: g * i1(x),
    sympy="x: besseli(0, x)", domain=(-3, 3))

i1 = elementwise("i1", lambda x: _special().i1(x),
    vjp=lambda g, y, x: g * ((i0(x) + iv_(x, v=2)) / 2),
    sympy="x: besseli(1, x)", domain=(-3, 3))


def _iv(x, v=1):
    """By the start of its power series near 0, where SciPy's is nan for the smallest numbers, if the order is whole."""
    if v != int(v):
        return _special().iv(v, x)
    n, tiny = abs(int(v)), np.absolute(x) < 1e-8
    return np.where(tiny, (x / 2) ** n / float(_special().gamma(n + 1.0)), _special().iv(n, np.where(tiny, 1, x)))


iv_ = elementwise("iv", _iv,
    vjp=lambda g, y, x, v: g * ((iv_(x, v=v - 1) + iv_(x, v=v + 1)) / 2),
    sympy="x, v: besseli(v, x)", domain=(0.1, 3))

j0 = elementwise("j0", lambda x: _special().j0(x),
    vjp=lambda g, y, x: -g * j1(x),
    sympy="x: besselj(0, x)", domain=(-3, 3))

j1 = elementwise("j1", lambda x: _special().j1(x),
    vjp=lambda g, y, x: g * ((j0(x) - jv_(x, v=2)) / 2),
    sympy="x: besselj(1, x)", domain=(-3, 3))

jv_ = elementwise("jv", lambda x, v=1: _special().jv(v, x),
    vjp=lambda g, y, x, v: g * ((jv_(x, v=v - 1) - jv_(x, v=v + 1)) / 2),
    sympy="x, v: besselj(v, x)", domain=(0.1, 3))


def _spherical_jn_rule(g, y, x, n):
    if n == 0:
        return -g * spherical_jn_(x, n=1)
    return g * ((n * spherical_jn_(x, n=n - 1) - (n + 1) * spherical_jn_(x, n=n + 1)) / (2 * n + 1))


def _spherical_jn(x, n=2):
    """By the start of its power series near 0, where SciPy's loses digits, and nan comes of tiny numbers."""
    tiny = np.absolute(x) < 1e-4
    start = x**n / float(np.prod(np.arange(3.0, 2 * n + 2, 2))) * (1 - x * x / (4 * n + 6))
    y = beneath(lambda x: _special().spherical_jn(n, x), np.where(tiny, 1, x))
    return np.where(tiny, start, y.astype(np.result_type(x, 0.0)))


spherical_jn_ = elementwise("spherical_jn", _spherical_jn,
    vjp=_spherical_jn_rule,
    sympy="x, n: expand_func(jn(n, x))", domain=(0.1, 3), cases=[([()], {"n": 0}), ([(2,)], {"n": 2})])

# ---- functions with an order, which comes first, as in SciPy --------------------------------------------------------


def _order(function: str, order: Any, whole: bool) -> Any:
    """The order of a function as a number."""
    if isinstance(order, Tensor | np.ndarray) and np.ndim(order) == 0 and not getattr(order, "requires_grad", False):
        order = order.item()
    if isinstance(order, Tensor | np.ndarray | list | tuple):
        raise TypeError(f"{function}: its order is one number, and no gradient flows to it; it came as {order!r}")
    if whole and (order < 0 or order != int(order)):
        raise ValueError(f"{function}: its order is a whole number from 0 on, not {order!r}")
    return int(order) if whole else order


def polygamma(n: int, x: Any) -> Tensor:
    """The n-th derivative of digamma at `x`, elementwise, for one whole number n: (-1)^(n+1) n! zeta(n + 1, x).

    Raises ValueError for another order, and TypeError for several.

    >>> import minigrad as mg
    >>> mg.special.polygamma(1, 1.0)    # pi**2 / 6
    tensor(1.64493407)
    """
    n = _order("polygamma", n, whole=True)
    return polygamma_(x, n=n) if n else digamma(x)


def jv(v: float, z: Any) -> Tensor:
    """The Bessel function J of real order `v` (one number) at `z`, elementwise.

    No gradient flows to the order.

    >>> import minigrad as mg
    >>> mg.special.jv(0.5, 1.0)    # sqrt(2 / pi) * sin(1)
    tensor(0.67139671)
    """
    return jv_(z, v=_order("jv", v, whole=False))


def iv(v: float, z: Any) -> Tensor:
    """The modified Bessel function I of real order `v` (one number) at `z`, elementwise.

    No gradient flows to the order.

    >>> import minigrad as mg
    >>> mg.special.iv(0.5, 1.0)    # sqrt(2 / pi) * sinh(1)
    tensor(0.93767489)
    """
    return iv_(z, v=_order("iv", v, whole=False))


def spherical_jn(n: int, z: Any) -> Tensor:
    """The spherical Bessel function of order `n` (one whole number) at `z`, elementwise: j_0 is sin(z) / z.

    Raises ValueError for another order, and TypeError for several.

    >>> import minigrad as mg
    >>> mg.special.spherical_jn(0, 1.0)    # sin(1)
    tensor(0.84147098)
    """
    return spherical_jn_(z, n=_order("spherical_jn", n, whole=True))


# SciPy's own functions on tensors: their names, and what stands in for them.
SCIPY |= {
    "beta": beta, "betaln": betaln, "cbrt": cbrt, "entr": entr, "erf": erf, "erfc": erfc, "erfcinv": erfcinv,
    "erfcx": erfcx, "erfinv": erfinv, "exp2": exp2, "expit": expit, "expm1": expm1, "gamma": gamma,
    "gammaln": gammaln, "i0": i0, "i1": i1, "iv": iv, "j0": j0, "j1": j1, "jv": jv, "log1p": log1p,
    "log_ndtr": log_ndtr, "logit": logit, "ndtr": ndtr, "ndtri": ndtri, "psi": digamma, "xlog1py": xlog1py,
    "xlogy": xlogy,
}  # fmt: skip
