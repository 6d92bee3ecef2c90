"""The nonlinear functions of networks."""

from __future__ import annotations

import functools

import numpy as np

from .card import elementwise, op
from .elementwise import _sigmoid, sigmoid
from .reduce import largest

__all__ = [
    "elu", "erf", "gelu", "leaky_relu", "log_softmax", "relu", "silu", "softmax", "softplus",
]  # fmt: skip



def _where_positive(a, x):
    if a.dtype not in (np.float32, np.float64):
        return np.where(x > 0, a, 0)
    bits = np.int32 if a.dtype == np.float32 else np.int64  # all of them or none: np.where takes ten times as long
    return (a.view(bits) & -(x > 0).astype(bits)).view(a.dtype)


where_positive = elementwise("where_positive", _where_positive,
    vjp=(lambda g, y, a, x: where_positive(g, x), lambda g, y, a, x: np.zeros_like(g)),
    sympy="a, x: Piecewise((a, x > 0), (0, True))", domain=[(-3, 3), (-3, 3)],
    note="a where x > 0, else 0: the gradient of relu")

relu = elementwise("relu", lambda x: np.maximum(x, 0),
    vjp=lambda g, y, x: where_positive(g, y),
    sympy="x: Max(x, 0)", domain=(-3, 3), kinks=(0,), note="relu'(0) = 0")

leaky_relu = elementwise("leaky_relu", lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
    vjp=lambda g, y, x, negative_slope: np.where(x > 0, g, negative_slope * g),
    sympy="x, negative_slope: Piecewise((x, x > 0), (negative_slope * x, True))", domain=(-3, 3), kinks=(0,),
    note="leaky_relu'(0) = negative_slope")

elu = elementwise("elu", lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    vjp=lambda g, y, x, alpha: np.where(x > 0, g, g * (y + alpha)),
    sympy="x, alpha: Piecewise((x, x > 0), (alpha * (exp(x) - 1), True))", domain=(-3, 3), kinks=(0,),
    note="elu'(0) = alpha")


softplus = elementwise("softplus", lambda x, beta=1.0, threshold=20.0: np.where(
        beta * x > threshold, x, np.logaddexp(0, np.minimum(beta * x, threshold)) / beta),
    vjp=lambda g, y, x, beta, threshold: np.where(beta * x > threshold, g, g * sigmoid(beta * x)),
    sympy="x, beta, threshold: Piecewise((x, beta * x > threshold), (log(1 + exp(beta * x)) / beta, True))",
    domain=(-3, 3),    note="x itself from threshold / beta on")

silu = elementwise("silu", lambda x: x * _sigmoid(x),
    vjp=lambda g, y, x: g * (sigmoid(x) + y * (1 - sigmoid(x))),
    sympy="x: x / (1 + exp(-x))", domain=(-3, 3))

ROOT_HALF = float(np.sqrt(0.5))
ROOT_PI = float(np.sqrt(np.pi))
ROOT_2_PI = float(np.sqrt(2 * np.pi))
ROOT_2_OVER_PI = float(np.sqrt(2 / np.pi))


@functools.cache
def _special():
    from scipy import special  # SciPy takes a tenth of a second to load

    return special


erf = elementwise("erf", lambda x: _special().erf(x),
    vjp=lambda g, y, x: 2 * g * np.exp(-x * x) / ROOT_PI,
    sympy="erf", domain=(-3, 3))

# What is left of 1, without loss of digits. (SymPy's own erfc would only make formulas longer.)
erfc = elementwise("erfc", lambda x: _special().erfc(x),
    vjp=lambda g, y, x: -2 * g * np.exp(-x * x) / ROOT_PI,
    sympy="x: 1 - erf(x)", domain=(-3, 3))

gelu_erf = elementwise("gelu", lambda x: x * 0.5 * _special().erfc(-x * ROOT_HALF),
    vjp=lambda g, y, x: g * (0.5 * erfc(-x * ROOT_HALF) + x * np.exp(x * x * -0.5) / ROOT_2_PI),
    sympy="x: x * (1 + erf(x / sqrt(2))) / 2", domain=(-3, 3))


def _gelu_tanh_slope(g, y, x):
    t = np.tanh(ROOT_2_OVER_PI * x * (1 + 0.044715 * x * x))
    bend = ROOT_2_OVER_PI * (0.5 * x) * (1 - t * t)  # 0 for large x, before it meets an x * x that overflows
    return g * (0.5 * (1 + t) + bend + 3 * 0.044715 * bend * x * x)


gelu_tanh = elementwise("gelu_tanh", lambda x: 0.5 * x * (1 + np.tanh(ROOT_2_OVER_PI * x * (1 + 0.044715 * x * x))),
    vjp=_gelu_tanh_slope,
    sympy="x: x * (1 + tanh(sqrt(2 / pi) * (x + Rational(44715, 1000000) * x**3))) / 2", domain=(-3, 3))


def gelu(x, approximate="none"):
    """The Gaussian error linear unit x * P(N <= x) (Hendrycks and Gimpel, 2016, arXiv:1606.08415), elementwise.

    `approximate` is "none", or "tanh" for the approximation 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).

    >>> import minigrad as mg
    >>> mg.gelu(1.0)
    tensor(0.84134475)
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate={approximate!r} is neither "none" nor "tanh"')
    return gelu_tanh(x) if approximate == "tanh" else gelu_erf(x)


def _softmax(x, axis):
    weights = np.exp(x)
    return weights / np.sum(weights, axis=axis, keepdims=True)


@op(sympy=_softmax, cases=[([(2, 3)], {}), ([(2, 2)], {"axis": 0})],
    vjp=lambda g, y, x, axis: y * (g - np.add.reduce(g * y, axis=axis, keepdims=True)))
def softmax(x, axis=-1):
    """exp(x) / sum(exp(x)) along an axis: positive numbers that add up to one. Without overflow.

    >>> import minigrad as mg
    >>> mg.softmax([0.0, 0.0])
    tensor([0.5, 0.5])
    """
    weights = np.exp(x - largest(x, axis))
    weights /= np.add.reduce(weights, axis=axis, keepdims=True)
    return weights


def _log_softmax(x, axis):
    return x - np.log(np.sum(np.exp(x), axis=axis, keepdims=True))


@op(sympy=_log_softmax, cases=[([(2, 3)], {}), ([(2, 2)], {"axis": 0})],
    vjp=lambda g, y, x, axis: g - np.exp(y) * np.add.reduce(g, axis=axis, keepdims=True))
def log_softmax(x, axis=-1):
    """log(softmax(x)) along an axis, without overflow or loss of digits.

    >>> import minigrad as mg
    >>> mg.log_softmax([0.0, -1000.0])
    tensor([    0., -1000.])
    """
    if not x.size:
        return x.copy()
    shifted = x - largest(x, axis)
    return shifted - np.log(np.add.reduce(np.exp(shifted), axis=axis, keepdims=True))


def _nll_rule(g, y, log_p, target, reduction):
    share = g / target.size if reduction == "mean" else g[..., None]
    return np.where(target[..., None] == np.arange(log_p.shape[-1]), -share, 0)


@op(arity=2, vjp=(_nll_rule, None),
    cases=[([(2, 3), np.array([2, 0])], {"reduction": r}) for r in ("mean", "sum", "none")])
def nll_loss(log_p, target, reduction="mean"):
    """-log_p[..., target]: the negative log-likelihood of the class `target` (integers) in each row of `log_p`.

    >>> import minigrad as mg
    >>> mg.ops.nll_loss([[-1.0, -2.0], [-3.0, -4.0]], [1, 0], "none")
    tensor([2., 3.])
    """
    rows = log_p.reshape(-1, log_p.shape[-1])
    picked = -rows[np.arange(target.size), target.ravel()]
    if reduction == "none":
        return picked.reshape(target.shape)
    total = np.add.reduce(picked)
    return total / target.size if reduction == "mean" else total
