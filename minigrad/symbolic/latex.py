"""LaTeX of symbolic tensors, arrays and expressions: matrices as matrices, W_0_1 as an element of W."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import sympy

from ..tensor import Tensor

INDEXED = re.compile(r"^(.+?)((?:_\d+)+)$")
NUMBERED = re.compile(r"^(.*[A-Za-z])(\d+)$")


def latex(x: Any) -> str:
    """LaTeX of a tensor, an array, a SymPy expression, or anything that has a formula.

    Vectors are written as columns. An element of an array keeps its indices, and a number in the array's name goes on
    top: the symbol W1_0_2 is element (0, 2) of W1. Raises TypeError for what has no formula.

    >>> import minigrad as mg
    >>> x, W = mg.symbols("x", (2,)), mg.symbols("W", (1, 2))
    >>> print(mg.symbolic.latex(mg.tanh(W @ x)))
    \\begin{bmatrix}\\tanh{\\left(W_{0,0} x_{0} + W_{0,1} x_{1} \\right)}\\end{bmatrix}
    >>> print(mg.symbolic.latex(W.T))
    \\begin{bmatrix}W_{0,0}\\\\W_{0,1}\\end{bmatrix}
    """
    x = x._data if isinstance(x, Tensor) else x
    if isinstance(getattr(x, "latex", None), str):
        return x.latex
    if not isinstance(x, np.ndarray | np.generic | list | tuple | sympy.NDimArray | sympy.MatrixBase):
        return _expression(x)
    array = np.asarray(x.tolist() if isinstance(x, sympy.NDimArray | sympy.MatrixBase) else x)
    if array.ndim == 0:
        return _expression(array.item())
    if array.ndim > 2:
        return _environment(latex(part) for part in array)
    rows = array if array.ndim == 2 else array[:, None]
    return _environment(" & ".join(_expression(e) for e in row) for row in rows)


def _environment(rows: Any) -> str:
    return r"\begin{bmatrix}" + r"\\".join(rows) + r"\end{bmatrix}"


def _expression(x: Any) -> str:
    try:
        x = sympy.sympify(x, strict=not isinstance(x, np.generic))
    except sympy.SympifyError:
        raise TypeError(f"latex: {type(x).__name__} {str(x)[:40]!r} has no formula") from None
    return sympy.latex(x, symbol_names={s: symbol(s.name) for s in x.atoms(sympy.Symbol)})


def symbol(name: str, array: bool = False) -> str:
    """LaTeX of a symbol's name (of a whole array's, if `array`); dL/dh is a partial derivative.

    >>> symbol("theta_1"), symbol("W2_0_1"), symbol("x1"), symbol("W2", array=True)
    ('\\\\theta_{1}', 'W^{(2)}_{0,1}', 'x_{1}', 'W^{(2)}')
    >>> symbol("dL/dh_0")
    '\\\\frac{\\\\partial L}{\\\\partial h_{0}}'
    """
    top, slash, bottom = name.partition("/d")
    if slash and top.startswith("d"):
        return rf"\frac{{\partial {symbol(top[1:])}}}{{\partial {symbol(bottom, array)}}}"
    indexed, numbered = INDEXED.match(name), NUMBERED.match(name)
    if indexed:
        return f"{symbol(indexed[1], True)}_{{{indexed[2][1:].replace('_', ',')}}}"
    if numbered:
        low, high = ("^{(", ")}") if array else ("_{", "}")
        return f"{symbol(numbered[1])}{low}{numbered[2]}{high}"
    letter = sympy.latex(sympy.Symbol(name)) if "_" not in name else ""
    if letter and (len(name) == 1 or "\\" in letter):  # a letter, Greek ones by name
        return letter
    return rf"\mathrm{{{name.replace('_', chr(92) + '_')}}}"
