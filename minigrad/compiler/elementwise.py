"""Elementwise functions as source: what they compute from the source of their arguments, and what that costs.

The names that they call are those of the module that is generated: Python's, those of intrinsics.py, and `FUNCTIONS`.
A name with {} is a function for each dtype, such as exp_f4: see `helpers` in assembly.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Write = Callable[..., str]

CHEAP, ROOT, DEAR = 1, 3, 8  # what computing an element takes, roughly: an operator, a division, a function such as exp


def operator(symbol: str) -> Write:
    return lambda a, b: f"({a} {symbol} {b})"


def call(name: str) -> Write:
    return lambda *xs: f"{name}({', '.join(xs)})"


def times(factor: float) -> Write:
    return lambda x: f"({x} * {{}}({factor!r}))"


def kept(x: str) -> str:
    return x


# On floats and integers. What integers give is put into their dtype, since Numba computes with 64 bits.
NUMBERS: dict[Any, tuple[Write, int]] = {
    np.add: (operator("+"), CHEAP), np.subtract: (operator("-"), CHEAP), np.multiply: (operator("*"), CHEAP),
    np.negative: (lambda x: f"(-{x})", CHEAP), np.positive: (kept, 0), np.conjugate: (kept, 0),
    np.square: (call("square"), CHEAP), np.absolute: (call("abs"), CHEAP), np.sign: (call("sign"), CHEAP),
    np.maximum: (call("largest"), CHEAP), np.minimum: (call("smallest"), CHEAP),
}  # fmt: skip
FLOATS: dict[Any, tuple[Write, int]] = NUMBERS | {
    np.divide: (operator("/"), ROOT), np.reciprocal: (call("reciprocal"), ROOT), np.sqrt: (call("sqrt"), ROOT),
    np.fabs: (call("abs"), CHEAP), np.heaviside: (call("heaviside"), CHEAP), np.copysign: (call("copysign"), CHEAP),
    np.fmax: (call("fmax"), CHEAP), np.fmin: (call("fmin"), CHEAP),
    np.deg2rad: (times(np.pi / 180), CHEAP), np.radians: (times(np.pi / 180), CHEAP),
    np.rad2deg: (times(180 / np.pi), CHEAP), np.degrees: (times(180 / np.pi), CHEAP),
    **{getattr(np, name): (call(name), CHEAP) for name in ("floor", "ceil", "trunc", "rint")},
    **{getattr(np, name): (call(name), DEAR) for name in (
        "power", "hypot", "exp2", "log2", "log10", "cbrt", "fmod", "remainder", "floor_divide",
    )},
    **{getattr(np, name): (call(name + "_{}"), DEAR) for name in (
        "exp", "log", "tanh", "expm1", "log1p", "sin", "cos", "tan", "arctan", "sinh", "cosh", "arcsin", "arccos",
        "arcsinh", "arccosh", "arctanh", "logaddexp",
    )},
    np.arctan2: (call("atan2"), DEAR), np.float_power: (call("power"), DEAR),
    np.logaddexp2: (
        lambda a, b: f"(largest({a}, {b}) + log1p_{{}}(exp2(apart({a}, {b}))) * {{}}({1 / np.log(2).item()!r}))", DEAR
    ),
}  # fmt: skip
SCIPY: dict[str, tuple[Write, int]] = {
    "erf": (call("erf_{}"), DEAR), "erfc": (call("erfc_{}"), DEAR), "expit": (call("sigmoid_{}"), DEAR),
    "log_expit": (lambda x: f"(-softplus_{{}}(-{x}))", DEAR), "gammaln": (call("lgamma"), DEAR),
    "xlogy": (lambda x, y: f"product_or_0({x}, {y}, log_{{}}({y}))", DEAR),
    "xlog1py": (lambda x, y: f"product_or_0({x}, {y}, log1p_{{}}({y}))", DEAR),
    "entr": (lambda x: f"entropy({x}, log_{{}}({x}))", DEAR),
}  # fmt: skip
INTEGERS: dict[Any, tuple[Write, int]] = NUMBERS | {
    np.floor_divide: (call("quotient"), DEAR), np.remainder: (call("modulo"), DEAR),
    np.bitwise_and: (operator("&"), CHEAP), np.bitwise_or: (operator("|"), CHEAP),
    np.bitwise_xor: (operator("^"), CHEAP), np.invert: (lambda x: f"(~{x})", CHEAP),
    np.floor: (kept, 0), np.ceil: (kept, 0), np.trunc: (kept, 0), np.rint: (kept, 0),
}  # fmt: skip
WRAPPING = frozenset({np.add, np.subtract, np.multiply, np.square, np.power})  # to Numba, overflow never happens
TABLES = {"f": FLOATS, "i": INTEGERS, "u": INTEGERS | {np.floor_divide: (call("quotient_unsigned"), DEAR)}}  # by kind

# With truth values as results.
COMPARISONS: dict[Any, Write] = {
    np.equal: operator("=="), np.not_equal: operator("!="), np.less: operator("<"), np.less_equal: operator("<="),
    np.greater: operator(">"), np.greater_equal: operator(">="), np.isnan: lambda x: f"({x} != {x})",
    np.isfinite: lambda x: f"(abs({x}) < inf)", np.isinf: lambda x: f"(abs({x}) == inf)",
    np.signbit: call("signbit"),
}  # fmt: skip
LOGICAL: dict[Any, Write] = {
    np.logical_and: operator("&"), np.logical_or: operator("|"), np.logical_not: lambda x: f"(not {x})",
    np.logical_xor: operator("^"),
}  # fmt: skip
OF_TRUTHS: dict[Any, np.ufunc] = {  # what these are on truth values
    np.bitwise_and: np.logical_and, np.bitwise_or: np.logical_or, np.bitwise_xor: np.logical_xor,
    np.invert: np.logical_not, np.multiply: np.logical_and, np.minimum: np.logical_and, np.add: np.logical_or,
    np.maximum: np.logical_or,
}  # fmt: skip

MOST = 16  # the largest power that is a product


def product(n: int) -> str:
    """x to the power of n."""
    return "x" if n == 1 else f"({product(n - n // 2)} * {product(n // 2)})"


EXACTLY = frozenset({"power"})  # LLVM may not make square roots of them, which go wrong at 0 and infinity

# Functions that blocks call, by name; they are written into the source where they are used.
FUNCTIONS = {
    "square": "def square(x):\n    return x * x",
    **{f"power{n}": f"def power{n}(x):\n    return {product(n)}" for n in range(1, MOST + 1)},
    **{  # that of -inf is inf, and of -0.0 it is 0
        f"power{n}_and_half": (
            f"def power{n}_and_half(x):\n"
            f"    return abs({product(n) + ' * ' if n else ''}sqrt(x)) if x > -inf or x != x else abs(x)"
        )
        for n in range(MOST + 1)
    },
    "power": "def power(a, b):\n    return a ** b",
    "reciprocal": "def reciprocal(x):\n    return type_of(x, 1) / x",
    "sign": "def sign(x):\n    return type_of(x, 1) * (x > 0) - type_of(x, 1) * (x < 0) if x == x else x",
    "signbit": "def signbit(x):\n    return copysign(f8(1), f8(x)) < 0",
    "heaviside": (
        "def heaviside(x, middle):\n"
        "    return type_of(x, 1) if x > 0 else type_of(x, 0) if x < 0 else middle if x == 0 else x"
    ),
    "fmax": "def fmax(a, b):\n    return a if a >= b or b != b else b",
    "fmin": "def fmin(a, b):\n    return a if a <= b or b != b else b",
    "apart": "def apart(a, b):\n    return type_of(a, 0) if a == b else -abs(a - b)",
    "hypot": (
        "def hypot(a, b):\n    a, b = abs(a), abs(b)\n    most = largest(a, b)\n    share = smallest(a, b) / most\n"
        "    least = most if most == 0 else most * sqrt(share * share + type_of(a, 1))\n"
        "    return type_of(a, inf) if a == inf or b == inf else least"
    ),
    "remainder": (  # has the sign of b
        "def remainder(a, b):\n    rest = fmod(a, b)\n    if b == 0 or rest != rest:\n        return rest\n"
        "    if rest == 0:\n        return copysign(rest, b)\n"
        "    return rest + b if (b < 0) != (rest < 0) else rest"
    ),
    "floor_divide": (
        "def floor_divide(a, b):\n    if b == 0:\n        return a / b\n    rest = fmod(a, b)\n"
        "    ratio = (a - rest) / b\n"
        "    if rest != 0 and (b < 0) != (rest < 0):\n        ratio -= type_of(a, 1)\n"
        "    if ratio == 0:\n        return copysign(ratio, a / b)\n"
        "    below = floor(ratio)\n    return below + type_of(a, 1) if ratio - below > 0.5 else below"
    ),
    "quotient": (  # of the least number by -1 the processor makes an error
        "def quotient(a, b):\n    return type_of(a, 0) if b == 0 else type_of(a, -a) if b == -1 else a // b"
    ),
    "quotient_unsigned": "def quotient_unsigned(a, b):\n    return type_of(a, 0) if b == 0 else a // b",
    "modulo": "def modulo(a, b):\n    return type_of(a, 0) if b == 0 else a % b",
    "product_or_0": (
        "def product_or_0(x, y, of_y):\n    return type_of(x, 0) if x == 0 and y == y else x * of_y"
    ),
    "entropy": (
        "def entropy(x, log_x):\n"
        "    return -x * log_x if x > 0 else type_of(x, 0) if x == 0 else type_of(x, -inf) if x < 0 else x"
    ),
    "close": (
        "def close(x, y, rtol, atol):\n    return x == y or (abs(x - y) <= atol + rtol * abs(y) and abs(y) < inf)"
    ),
    "close_or_nan": (
        "def close_or_nan(x, y, rtol, atol):\n"
        "    return x == y or (x != x and y != y) or (abs(x - y) <= atol + rtol * abs(y) and abs(y) < inf)"
    ),
    "nonzero": "def nonzero(x):\n    return x if x != 0 else type_of(x, 1e-20)",
    "checked": (
        "def checked(i, n, status, code):\n    i = i8(i)\n    k = i + n if i < 0 else i\n"
        "    if k < 0 or k >= n:\n        status[0] = code\n        return 0\n    return k"
    ),
    "required": "def required(x, status, code):\n    if not x:\n        status[0] = code\n    return x",
}  # fmt: skip
