"""Trigonometric and hyperbolic functions."""

from __future__ import annotations

import numpy as np

from .card import elementwise

__all__ = ["arctan", "cos", "cosh", "sin", "sinh", "tan", "tanh"]

sin = elementwise("sin", np.sin,
    vjp=lambda g, y, x: g * np.cos(x),
    sympy="sin", domain=(-3, 3))

cos = elementwise("cos", np.cos,
    vjp=lambda g, y, x: -g * np.sin(x),
    sympy="cos", domain=(-3, 3))

tan = elementwise("tan", np.tan,
    vjp=lambda g, y, x: g * (1 + y * y),
    sympy="tan", domain=(-1.4, 1.4))

arctan = elementwise("arctan", np.arctan,
    vjp=lambda g, y, x: g / (1 + x * x),
    sympy="atan", domain=(-3, 3))

sinh = elementwise("sinh", np.sinh,
    vjp=lambda g, y, x: g * np.cosh(x),
    sympy="sinh", domain=(-3, 3))

cosh = elementwise("cosh", np.cosh,
    vjp=lambda g, y, x: g * np.sinh(x),
    sympy="cosh", domain=(-3, 3))

tanh = elementwise("tanh", np.tanh,
    vjp=lambda g, y, x: g * (1 - y * y),
    sympy="tanh", domain=(-3, 3))
