"""exp, log, tanh, erf and their kin, as sums and products: what a processor does on many elements at once.

The machine's own functions take one number at a time, and a loop that calls them is no faster than Python's. These
are written without a branch, so that a compiler can run the loop around them on whole vectors. They are for kernels
(see `kernels.py`), whose dtype they compute in, and for generated code (see `source`).

Errors over all floats, as far as tests/test_approximations.py finds: at most 3 ulp, but 9 for erfc. Where an exact
result is below 2^-125 (2^-1021 in float64), which is twice the smallest normal number, it may be 0. tanh and erf keep
the sign of zero, expm1 and log1p need not.

Each function is reduced to a short interval, and there a polynomial takes its place: for exp and log the one through
the exact values at the Chebyshev nodes, for erf and erfc the one whose largest error is least, by Remez's exchange.
(Trefethen, Approximation Theory and Approximation Practice, 2013, chapters 4 and 10. The coefficients were computed
with 50 digits, and rounded.)
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence
from math import inf, nan
from types import FunctionType
from typing import Any

from .kernels import called, parsed, polynomial, real, whole

__all__ = [
    "fast_erf", "fast_erfc", "fast_exp", "fast_expm1", "fast_log", "fast_log1p", "fast_logaddexp", "fast_sigmoid",
    "fast_softplus", "fast_tanh", "of_rank", "ranked", "source",
]  # fmt: skip

# (exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2. What is missing is 2.5e-8 of exp(r), and 4.1e-17.
EXP_SINGLE = (0.5, 0.16666576845993976, 0.04166655443768594, 0.008363202971575855, 0.0013926213466332443)
EXP_DOUBLE = (
    0.5, 0.16666666666666667, 0.04166666666662399, 8.333333333330051e-3, 1.3888888917281793e-3, 1.9841269863105969e-4,
    2.4801521190217728e-5, 2.7557268378683942e-6, 2.7620138719733996e-7, 2.5100424157005067e-8,
)  # fmt: skip

# (log((1 + s) / (1 - s)) / s - 2) / s^2 as a function of s^2, where (1 + s) / (1 - s) lies between 1/sqrt(2) and
# sqrt(2). What is missing is 2.8e-9 of the logarithm, and 4.6e-18.
LOG_SINGLE = (0.6666668504515603, 0.39988778282162807, 0.2958005304318844)
LOG_DOUBLE = (
    0.666666666666667, 0.39999999999899444, 0.2857142862600327, 0.22222211130259878, 0.18182889455674947,
    0.15331710618210773, 0.14616585424888623,
)  # fmt: skip

# -log(1 - erf(x)) / x - 1 for x up to 3.93, from where on erf(x) is 1 in float32, and up to 5.95 in float64. What is
# missing is 4.1e-9 of erf(x), and 7.1e-17.
ERF_SINGLE = (
    0.1283791716097713, 0.636619382086604, 0.10277782920604805, -0.01915305884262491, -0.00016040520224573407,
    0.0016670356454390324, -0.0006328403384059526, 0.0001176418272676114, -9.256266805621325e-06,
)  # fmt: skip
ERF_DOUBLE = (
    0.1283791670955125, 0.6366197723676116, 0.10277260330005886, -0.01912844696304424, -0.00020919523047590178,
    0.0016962105307995598, -0.0005901468156058644, 2.5955211785679087e-05, 6.429000491846304e-05,
    -2.9323532938193187e-05, 2.7958583285923473e-06, 3.5646902188377675e-06, -2.42980102706005e-06,
    8.537163969295139e-07, -1.7409322809461295e-07, 8.37030185777503e-09, 7.783067365448703e-09,
    -3.153348039622808e-09, 6.811482580581712e-10, -9.549075984563619e-11, 8.721928579953197e-12,
    -4.755394985999178e-13, 1.1801499055055712e-14,
)  # fmt: skip

# (erfc(x) exp(x^2) (1 + x/2) - 1) / v as a function of v = x / (2 + x), for x up to 9.4 in float32 and up to 26.7, from
# where on erfc(x) is too small for a float. What is missing is 7.2e-9 of erfc(x), and 1.3e-17.
ERFC_SINGLE = (
    -1.2567585013440463, 0.4864968511761483, 0.21138014977245656, -0.09559593740951326, -0.11392037315376326,
    0.06739882836498391, -0.13331518964400024, 0.23028347095667892, -0.14467055288523797, 0.030787241851472615,
)  # fmt: skip
ERFC_DOUBLE = (
    -1.2567583341910251, 0.4864833316179405, 0.211702772918659, -0.09912223486408006, -0.09284947345885501,
    -0.007341212237006603, 0.028650405098364633, 0.02016478692483623, 0.002487172563836319, -0.005481921325153175,
    -0.012183633159858376, 0.03516222565193767, -0.17103896569640967, 0.618351261536094, -1.757571958333655,
    4.010121832595611, -7.322983373760465, 10.68239158947571, -12.350684740517273, 11.154441986775922,
    -7.689669904163459, 3.8983262761754007, -1.365278690951104, 0.29402307382054654, -0.029247480724461535,
)  # fmt: skip


# ---- from exp ---------------------------------------------------------------------------------------------------


def fast_exp(x: Any) -> Any:
    """exp(x); inf from log of the largest number on, nan for nan."""
    p, scale = split(x, real(0))
    return (p + real(1)) * scale * real(2)  # 2^k itself would overflow for the largest x, where p < 0


def fast_expm1(x: Any) -> Any:
    """exp(x) - 1, of which no digits are lost near 0."""
    p, scale = split(x, real(0))
    return (p * scale + (scale - real(0.5))) * real(2)


def fast_sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return real(1) / (real(1) + fast_exp(-x))


def fast_tanh(x: Any) -> Any:
    """tanh(x) = -m / (m + 2) with m = exp(-2x) - 1, for x > 0."""
    m = fast_expm1(real(-2) * abs(x))
    return signed(-m / (m + real(2)), x)


def fast_erf(x: Any) -> Any:
    """erf(x), the integral of 2 exp(-t^2) / sqrt(pi) from 0 to x, as 1 - exp(-u) with u = -log(1 - erf(x)).

    u is x times a smooth function from 1.128 at 0 on: no digits are lost near 0, and errors of u fade for large x.
    """
    a = abs(x)
    if single():
        a = bounded(a, real(0), real(3.93))
        u = a + a * polynomial(a, ERF_SINGLE)
    else:
        a = bounded(a, real(0), real(5.95))
        u = a + a * polynomial(a, ERF_DOUBLE)
    return signed(-fast_expm1(-u), x)


def fast_erfc(x: Any) -> Any:
    """erfc(x) = 1 - erf(x), of which no digits are lost where erf(x) is next to 1.

    It is exp(-x^2) times a smooth function. x^2 takes more digits than x has, since errors of it are errors of the
    result: the square of the top half of x's digits is exact, and the rest is small.
    """
    a = bounded(abs(x), real(0), real(26.7))
    t = real(1) / (real(1) + real(0.5) * a)
    v = real(0.5) * a * t
    if single():
        top = floating(bits(a) & -4096)
        smooth = t + t * v * polynomial(v, ERFC_SINGLE)
    else:
        top = floating(bits(a) & -134217728)
        smooth = t + t * v * polynomial(v, ERFC_DOUBLE)
    p, scale = split(-(top * top), (top - a) * (top + a))
    y = (p + real(1)) * scale * (real(2) * smooth)
    return real(2) - y if x < real(0) else y


def split(x: Any, more: Any) -> tuple[Any, Any]:
    """The parts of exp(x + more): exp(r) - 1 and 2^(k - 1), with x = k log 2 + r, k whole and |r| <= log(2) / 2.

    `more` is small, and added to r.

    So do Cody and Waite (Software Manual for the Elementary Functions, 1980, chapter 6), who subtract k log 2 in two
    parts, of which the first has so few digits that its product with k is exact. Adding 1.5 * 2^23 (2^52) makes the
    last bits of a float those of a whole number, and shifts that number's bits to where a float has its exponent.
    """
    if single():
        x = bounded(x, real(-87.33654475), real(89))
        shifted = x * real(1.4426950408889634) + real(12582912)
        k = shifted - real(12582912)
        r = (x - k * real(0.693359375)) + (k * real(0.00021219444005469057) + more)
        q = polynomial(r, EXP_SINGLE)
        raised = bits(shifted - real(1)) << 23
    else:
        x = bounded(x, real(-708.3964185322641), real(710))
        shifted = x * real(1.4426950408889634) + real(6755399441055744)
        k = shifted - real(6755399441055744)
        r = (x - k * real(0.6931471804855391)) - (k * real(7.440617110012397e-11) - more)
        q = polynomial(r, EXP_DOUBLE)
        raised = bits(shifted - real(1)) << 52
    return r + r * r * q, floating(raised + bits(real(1)))


# ---- from log ---------------------------------------------------------------------------------------------------


def fast_log(x: Any) -> Any:
    """log(x): -inf for 0, nan below."""
    small = x < real(2.0**-100)  # the smallest floats have no exponent of their own
    normal = x * real(2.0**54) if small else x
    k, shift = exponent(normal)
    m = floating(bits(normal) - shift)
    return at_ends(x, logarithm(k - real(54) if small else k, m - real(1)))


def fast_log1p(x: Any) -> Any:
    """log(1 + x), of which no digits are lost near 0."""
    u = x + real(1)
    k, shift = exponent(u)
    m = floating(bits(u) - shift)
    lost = (x - (u - real(1))) * floating(bits(real(2)) - shift) * real(0.5)  # by rounding, times 2^-k
    return at_ends(u, logarithm(k, (m - real(1)) + lost))


def fast_softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return (x if x > real(0) else real(0)) + fast_log1p(fast_exp(-abs(x)))


def fast_logaddexp(a: Any, b: Any) -> Any:
    """log(exp(a) + exp(b)); where that is about 0, the error is that of the larger of a and b."""
    return (a if a > b else b) + fast_log1p(fast_exp(real(0) if a == b else -abs(a - b)))  # inf - inf would be nan


def exponent(x: Any) -> tuple[Any, Any]:
    """The whole number k with 1/sqrt(2) <= x / 2^k < sqrt(2), and what to subtract from the bits of x to divide so."""
    above = whole(bits(x) - bits(real(0.7071067811865476)))
    if single():
        k = whole(above >> 23)
        shift = whole(k << 23)
    else:
        k = whole(above >> 52)
        shift = whole(k << 52)
    return real(k), shift


def logarithm(k: Any, f: Any) -> Any:
    """k log 2 + log(1 + f), with log(1 + f) = 2 artanh(s) for s = f / (2 + f).

    2 artanh(s) = 2 s + s r, and 2 s = f - s f = f - (h - s h) with h = f^2 / 2: so f itself is added last, and what
    else there is, is small beside it. log 2 comes in two parts, of which the first times k is exact.
    """
    s = f / (real(2) + f)
    z, h = s * s, real(0.5) * f * f
    if single():
        rest = s * (h + z * polynomial(z, LOG_SINGLE)) - k * real(0.00021219444005469057)
        most = k * real(0.693359375)
    else:
        rest = s * (h + z * polynomial(z, LOG_DOUBLE)) + k * real(7.440617110012397e-11)
        most = k * real(0.6931471804855391)
    return most + (f - (h - rest))


def at_ends(x: Any, y: Any) -> Any:
    """The logarithm y of x, with what it has to be where x is 0, infinite, negative or nan."""
    y = y if x < real(inf) else x
    return y if x > real(0) else real(-inf) if x == real(0) else real(nan)


# ---- the order of floats --------------------------------------------------------------------------------------------


def ranked(x: Any) -> Any:
    """A whole number that is larger for larger x, and largest for nan.

    A loop over these finds a maximum in vectors, nan included, and an order of magnitude faster than one that compares
    floats: nan is neither larger nor smaller than others, so that the result depends on who comes first.
    """
    n = bits(abs(x))
    return whole(-n) if x < real(0) else n


def of_rank(n: Any) -> Any:
    """The float whose rank n is."""
    y = floating(abs(n))
    return -y if n < whole(0) else y


# ---- common parts ---------------------------------------------------------------------------------------------------


def single() -> Any:
    """Whether it is computed in float32 (known when it is compiled, so no branch is left of it)."""
    return real(1) + real(1e-10) == real(1)


def bounded(x: Any, low: Any, high: Any) -> Any:
    """x limited to [low, high]; nan stays nan."""
    x = high if x > high else x
    return low if x < low else x


def bits(x: Any) -> Any:
    """The bits of x as a whole number."""
    return real(x).view(whole)


def floating(n: Any) -> Any:
    """The float that has these bits."""
    return whole(n).view(real)


def signed(y: Any, x: Any) -> Any:
    """|y| with the sign of x."""
    return floating(bits(abs(y)) | (bits(x) ^ bits(abs(x))))


# ---- as source ------------------------------------------------------------------------------------------------------


def source(names: Sequence[str], kind: str) -> str:
    """The source of some of these functions, and of what they call, for floats of one kind: "f4" or "f8".

    Each name ends in the kind then: `fast_exp_f4`. The text that it becomes part of has `njit` and `OPTIONS` for it.

    >>> print(source(["fast_sigmoid"], "f8").split("@njit(**OPTIONS)\\n")[-1])
    def fast_sigmoid_f8(x):
        return float64(1) / (float64(1) + fast_exp_f8(-x))
    <BLANKLINE>
    """
    offered = [name for name in __all__ if name != "source"]
    for name in names:
        if name not in offered:
            raise ValueError(f"source: there is no approximation of {name}; there are {', '.join(offered)}")
    if kind not in ("f4", "f8"):
        raise ValueError(f'source: kind={kind!r} is neither "f4" nor "f8"')
    functions: list[Any] = []
    for name in names:
        functions += [f for f in [*called(globals()[name]), globals()[name]] if f not in functions]
    bits = {"f4": 32, "f8": 64}[kind]
    trees = [OfOneKind(kind, bits).visit(copy.deepcopy(parsed(f))) for f in functions if f is not single]
    return "\n\n".join([
        f"from math import nan\nfrom numpy import float{bits}, int{bits}",
        *(f"\n@njit(**OPTIONS)\n{ast.unparse(tree)}" for tree in trees),
        "",
    ])  # fmt: skip


class OfOneKind(ast.NodeTransformer):
    """A function's definition for floats of one kind, under a name that says so."""

    def __init__(self, kind: str, bits: int) -> None:
        self.kind, self.bits = kind, bits

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        arguments = ", ".join(a.arg for a in node.args.args)
        made = ast.parse(f"def {node.name}_{self.kind}({arguments}): pass").body[0]
        made.body = node.body[1:]  # type: ignore[attr-defined]  # without its docstring
        return self.generic_visit(made)

    def visit_If(self, node: ast.If) -> Any:
        """What of `if single(): ...` applies."""
        return [self.visit(s) for s in (node.body if self.bits == 32 else node.orelse)]

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id in ("real", "whole"):
            node.id = f"float{self.bits}" if node.id == "real" else f"int{self.bits}"
        elif isinstance(globals().get(node.id), FunctionType):
            node.id += f"_{self.kind}"
        return node
