"""Trigonometric and hyperbolic functions, and their inverses."""

from __future__ import annotations

import numpy as np

from .card import elementwise
from .special import spherical_jn_

__all__ = [
    "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cos", "cosh", "deg2rad", "degrees",
    "hypot", "rad2deg", "radians", "sin", "sinc", "sinh", "tan", "tanh",
]  # fmt: skip

sin = elementwise("sin", np.sin,
    vjp=lambda g, y, x: g * np.cos(x),
    sympy="sin", domain=(-3, 3))

cos = elementwise("cos", np.cos,
    vjp=lambda g, y, x: -g * np.sin(x),
    sympy="cos", domain=(-3, 3))

tan = elementwise("tan", np.tan,
    vjp=lambda g, y, x: g * (1 + y * y),
    sympy="tan", domain=(-1.4, 1.4))

sinc = elementwise("sinc", np.sinc, numpy=np.sinc,
    vjp=lambda g, y, x: -g * spherical_jn_(np.pi * x, n=1) * np.pi,  # whose digits are right near 0 too, to any order
    sympy="x: sinc(pi * x)", domain=(-3, 3))

arcsin = elementwise("arcsin", np.arcsin,
    vjp=lambda g, y, x: g / np.sqrt((1 - x) * (1 + x)),
    sympy="asin", domain=(-0.95, 0.95))

arccos = elementwise("arccos", np.arccos,
    vjp=lambda g, y, x: -g / np.sqrt((1 - x) * (1 + x)),
    sympy="acos", domain=(-0.95, 0.95))

arctan = elementwise("arctan", np.arctan,
    vjp=lambda g, y, x: g / (1 + x * x),
    sympy="atan", domain=(-3, 3))


def _off_origin(r):
    """The distance from the origin; 1 there, where what is divided by it is 0."""
    return np.where(r == 0, 1, r)


hypot = elementwise("hypot", np.hypot,
    vjp=(lambda g, y, a, b: g * (a / _off_origin(y)),
         lambda g, y, a, b: g * (b / _off_origin(y))),
    sympy="a, b: sqrt(a**2 + b**2)", domain=[(-3, 3), (-3, 3)], note="at the origin both slopes are 0")


def _per_turn(a, r):
    """a / r^2, where r^2 might overflow."""
    r = _off_origin(r)
    return a / r / r


arctan2 = elementwise("arctan2", np.arctan2,
    vjp=(lambda g, y, a, b: g * _per_turn(b, np.hypot(a, b)),
         lambda g, y, a, b: -g * _per_turn(a, np.hypot(a, b))),
    sympy="atan2", domain=[(-3, 3), (-3, 3)], note="at the origin both slopes are 0")

deg2rad = elementwise("deg2rad", np.deg2rad, numpy=np.radians,
    vjp=lambda g, y, x: np.deg2rad(g),
    sympy="x: x * pi / 180", domain=(-180, 180))
radians = deg2rad

rad2deg = elementwise("rad2deg", np.rad2deg, numpy=np.degrees,
    vjp=lambda g, y, x: np.rad2deg(g),
    sympy="x: x * 180 / pi", domain=(-3, 3))
degrees = rad2deg

# ---- hyperbolic ----------------------------------------------------------------------------------------------------

sinh = elementwise("sinh", np.sinh,
    vjp=lambda g, y, x: g * np.cosh(x),
    sympy="sinh", domain=(-3, 3))

cosh = elementwise("cosh", np.cosh,
    vjp=lambda g, y, x: g * np.sinh(x),
    sympy="cosh", domain=(-3, 3))

tanh = elementwise("tanh", np.tanh,
    vjp=lambda g, y, x: g * (1 - y * y),
    sympy="tanh", domain=(-3, 3))

arcsinh = elementwise("arcsinh", np.arcsinh,
    vjp=lambda g, y, x: g / np.hypot(1, x),
    sympy="asinh", domain=(-3, 3))

arccosh = elementwise("arccosh", np.arccosh,
    vjp=lambda g, y, x: g / (np.sqrt(x - 1) * np.sqrt(x + 1)),
    sympy="acosh", domain=(1.1, 4))

arctanh = elementwise("arctanh", np.arctanh,
    vjp=lambda g, y, x: g / ((1 - x) * (1 + x)),
    sympy="atanh", domain=(-0.95, 0.95))
