"""The nonlinear functions of networks."""

from __future__ import annotations

import numpy as np

from ..approximations import fast_erfc, fast_exp
from ..kernels import kernel, real
from . import loops
from .card import elementwise, op
from .elementwise import _sigmoid, sigmoid
from .reduce import largest
from .special import ROOT_2_OVER_PI, ROOT_2_PI, ROOT_HALF, _special, erfc

__all__ = [
    "elu", "gelu", "leaky_relu", "log_softmax", "relu", "silu", "softmax", "softplus",
]  # fmt: skip


def _where_positive(a, x):
    if a.dtype not in (np.float32, np.float64) or type(a) is not np.ndarray:
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

# ---- piecewise linear, and close to it ------------------------------------------------------------------------------

hardtanh = elementwise("hardtanh", lambda x, min_val=-1.0, max_val=1.0: np.minimum(np.maximum(x, min_val), max_val),
    vjp=lambda g, y, x, min_val, max_val: np.where((x > min_val) & (x < max_val), g, 0),
    sympy="x, min_val, max_val: Min(Max(x, min_val), max_val)", domain=(-3, 3), kinks=(-1, 1),
    note="hardtanh' = 0 at both bounds (where clip' = 1)")

hardsigmoid = elementwise("hardsigmoid", lambda x: np.minimum(np.maximum(x + 3, 0), 6) / 6,
    vjp=lambda g, y, x: np.where((x > -3) & (x < 3), g / 6, 0),
    sympy="x: Min(Max(x + 3, 0), 6) / 6", domain=(-5, 5), kinks=(-3, 3), note="hardsigmoid'(-3) = hardsigmoid'(3) = 0")

hardswish = elementwise("hardswish", lambda x: x * (np.minimum(np.maximum(x + 3, 0), 6) / 6),
    vjp=lambda g, y, x: np.where(x >= 3, g, np.where(x > -3, g * (2 * x + 3) / 6, 0)),
    sympy="x: x * Min(Max(x + 3, 0), 6) / 6", domain=(-5, 5), kinks=(-3, 3),
    note="hardswish'(-3) = 0, hardswish'(3) = 1")

softshrink = elementwise("softshrink", lambda x, lambd=0.5: x - np.minimum(np.maximum(x, -lambd), lambd),
    vjp=lambda g, y, x, lambd: np.where(np.absolute(x) > lambd, g, 0),
    sympy="x, lambd: x - Min(Max(x, -lambd), lambd)", domain=(-3, 3), kinks=(-0.5, 0.5),
    note="softshrink'(-lambd) = softshrink'(lambd) = 0")

hardshrink = elementwise("hardshrink", lambda x, lambd=0.5: np.where(np.absolute(x) <= lambd, 0, x),
    vjp=lambda g, y, x, lambd: np.where(np.absolute(x) > lambd, g, 0),
    sympy="x, lambd: Piecewise((0, Abs(x) <= lambd), (x, True))", domain=(-3, 3), kinks=(-0.5, 0.5),
    note="hardshrink'(-lambd) = hardshrink'(lambd) = 0")

threshold = elementwise("threshold", lambda x, threshold=0.0, value=0.0: np.where(x <= threshold, value, x),
    vjp=lambda g, y, x, threshold, value: np.where(x > threshold, g, 0),
    sympy="x, threshold, value: Piecewise((value, x <= threshold), (x, True))", domain=(-3, 3), kinks=(0,),
    note="threshold'(threshold) = 0")

prelu = elementwise("prelu", lambda x, w: np.where(x > 0, x, w * x),
    vjp=(lambda g, y, x, w: np.where(x > 0, g, w * g),
         lambda g, y, x, w: np.where(x > 0, 0, g * x)),
    sympy="x, w: Piecewise((x, x > 0), (w * x, True))", domain=[(-3, 3), (-1, 1)], note="prelu'(0) = w")

softsign = elementwise("softsign", lambda x: x / (1 + np.absolute(x)),
    vjp=lambda g, y, x: g / (1 + np.absolute(x)) / (1 + np.absolute(x)),
    sympy="x: x / (1 + Abs(x))", domain=(-3, 3))


def _tanhshrink(x):
    """x - tanh(x), near 0 by Lambert's continued fraction tanh(x) = x / (1 + c), c = x^2 / (3 + x^2 / (5 + ...))."""
    square, c = np.square(np.minimum(np.absolute(x), 1)), 0
    for k in (17, 15, 13, 11, 9, 7, 5, 3):
        c = square / (k + c)
    return np.where(np.absolute(x) < 1, x * (c / (1 + c)), x - np.tanh(x))


tanhshrink = elementwise("tanhshrink", _tanhshrink,
    vjp=lambda g, y, x: g * np.square(np.tanh(x)),
    sympy="x: x - tanh(x)", domain=(-3, 3))

logsigmoid = elementwise("logsigmoid", lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.absolute(x))),
    vjp=lambda g, y, x: g * sigmoid(-x),
    sympy="x: -log(1 + exp(-x))", domain=(-3, 3))


def _bce(x, t):
    with np.errstate(divide="ignore"):  # log(0) = -inf becomes -100
        return -(t * np.maximum(np.log(x), -100) + (1 - t) * np.maximum(np.log1p(-x), -100))


def _bce_by_probability(g, y, x, t):
    variance = x * (1 - x)
    return g * (x - t) / np.where(variance == 0, 1e-12, variance)


def _bce_by_target(g, y, x, t):
    with np.errstate(divide="ignore"):
        return g * (np.maximum(np.log1p(-x), -100) - np.maximum(np.log(x), -100))


# The binary cross-entropy of a probability x and a target t. Torch too stops logarithms at -100 and the slope at 1e12.
bce = elementwise("bce", _bce, vjp=(_bce_by_probability, _bce_by_target),
    sympy="x, t: -(t * log(x) + (1 - t) * log(1 - x))", domain=[(0.05, 0.95), (0, 1)],
    note="log(0) counts as -100")


def _gelu_erf(x):
    if loops.native(x):
        return loops.over_elements(gelu_erf_loop, x)
    return x * 0.5 * _special().erfc(-x * ROOT_HALF)


def _gelu_erf_slope(g, y, x):
    if loops.native(g, x):
        return loops.over_elements(gelu_erf_slope_loop, x, g)
    return g * (0.5 * erfc(-x * ROOT_HALF) + x * np.exp(x * x * -0.5) / ROOT_2_PI)


gelu_erf = elementwise("gelu", _gelu_erf, vjp=_gelu_erf_slope,
    sympy="x: x * (1 + erf(x / sqrt(2))) / 2", domain=(-3, 3))


def _gelu_tanh(x):
    if loops.native(x):
        y = loops.over_elements(gelu_tanh_angle, x)
        return loops.over_elements(gelu_tanh_loop, x, out=np.tanh(y, out=y))
    return 0.5 * x * (1 + np.tanh(ROOT_2_OVER_PI * x * (1 + 0.044715 * x * x)))


def _gelu_tanh_slope(g, y, x):
    if loops.native(g, x):
        t = loops.over_elements(gelu_tanh_angle, x)
        return loops.over_elements(gelu_tanh_slope_loop, x, g, out=np.tanh(t, out=t))
    t = np.tanh(ROOT_2_OVER_PI * x * (1 + 0.044715 * x * x))
    bend = ROOT_2_OVER_PI * (0.5 * x) * (1 - t * t)  # 0 for large x, before it meets an x * x that overflows
    return g * (0.5 * (1 + t) + bend + 3 * 0.044715 * bend * x * x)


gelu_tanh = elementwise("gelu_tanh", _gelu_tanh, vjp=_gelu_tanh_slope,
    sympy="x: x * (1 + tanh(sqrt(2 / pi) * (x + Rational(44715, 1000000) * x**3))) / 2", domain=(-3, 3))


# What the two do to large arrays, in one or two passes. The tanh in between is NumPy's, which is vectorised. (Slices,
# since an index that might be negative keeps a loop from being vectorised.)


@kernel
def gelu_erf_loop(start, stop, x, y):
    x, y = x[start:stop], y[start:stop]
    for i in range(x.size):
        y[i] = x[i] * real(0.5) * fast_erfc(-x[i] * real(ROOT_HALF))


@kernel
def gelu_erf_slope_loop(start, stop, x, g, gx):
    x, g, gx = x[start:stop], g[start:stop], gx[start:stop]
    for i in range(x.size):
        density = fast_exp(x[i] * x[i] * real(-0.5)) * real(1 / ROOT_2_PI)
        gx[i] = g[i] * (real(0.5) * fast_erfc(-x[i] * real(ROOT_HALF)) + x[i] * density)


@kernel
def gelu_tanh_angle(start, stop, x, u):
    x, u = x[start:stop], u[start:stop]
    for i in range(x.size):
        u[i] = real(ROOT_2_OVER_PI) * x[i] * (real(1) + real(0.044715) * x[i] * x[i])


@kernel
def gelu_tanh_loop(start, stop, x, t):
    """The result in place of the tanh."""
    x, t = x[start:stop], t[start:stop]
    for i in range(x.size):
        t[i] = real(0.5) * x[i] * (real(1) + t[i])


@kernel
def gelu_tanh_slope_loop(start, stop, x, g, t):
    """As `_gelu_tanh_slope`, the result in place of the tanh."""
    x, g, t = x[start:stop], g[start:stop], t[start:stop]
    for i in range(x.size):
        bend = real(ROOT_2_OVER_PI) * (real(0.5) * x[i]) * (real(1) - t[i] * t[i])
        t[i] = g[i] * (real(0.5) * (real(1) + t[i]) + bend + real(3 * 0.044715) * bend * x[i] * x[i])


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


def _is_last(axis, x):
    return axis == -1 or axis == x.ndim - 1


def _softmax_rule(g, y, x, axis):
    if loops.native(g, y) and _is_last(axis, y):
        return loops.softmax_slope(np.array(g, order="C"), y)
    return y * (g - np.add.reduce(g * y, axis=axis, keepdims=True))


@op(sympy=_softmax, cases=[([(2, 3)], {}), ([(2, 2)], {"axis": 0})],
    vjp=_softmax_rule)
def softmax(x, axis=-1):
    """exp(x) / sum(exp(x)) along an axis: positive numbers that add up to one. Without overflow.

    >>> import minigrad as mg
    >>> mg.softmax([0.0, 0.0])
    tensor([0.5, 0.5])
    """
    if loops.native(x) and _is_last(axis, x):
        return loops.softmax(np.array(x, order="C"), safe=False)
    weights = np.exp(x - largest(x, axis))
    weights /= np.add.reduce(weights, axis=axis, keepdims=True)
    return weights


def _log_softmax(x, axis):
    return x - np.log(np.sum(np.exp(x), axis=axis, keepdims=True))


def _log_softmax_rule(g, y, x, axis):
    if loops.native(g, y) and _is_last(axis, y):
        return loops.log_softmax_slope(g, y)
    return g - np.exp(y) * np.add.reduce(g, axis=axis, keepdims=True)


@op(sympy=_log_softmax, cases=[([(2, 3)], {}), ([(2, 2)], {"axis": 0})],
    vjp=_log_softmax_rule)
def log_softmax(x, axis=-1):
    """log(softmax(x)) along an axis, without overflow or loss of digits.

    >>> import minigrad as mg
    >>> mg.log_softmax([0.0, -1000.0])
    tensor([    0., -1000.])
    """
    if not x.size:
        return x.copy()
    if loops.native(x) and _is_last(axis, x):
        return loops.log_softmax(np.array(x, order="C"))
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
