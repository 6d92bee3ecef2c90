"""The reading of the graph by SymPy: tensors that hold symbols."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import numpy as _numpy  # which fills the tables of array.py
from .array import SymbolicArray, exact, symbolic_array
from .code import on_symbols
from .deciding import NoReading, arrays_of_elements, deciding
from .formula import Formula, formula
from .function import Function, function
from .latex import latex
from .steps import symbols_of

__all__ = [
    "Formula", "Function", "NoReading", "SymbolicArray", "arrays_of_elements", "deciding", "exact", "formula",
    "function", "latex", "on_symbols", "symbolic_array", "symbols",
]  # fmt: skip


def symbols(names: str, shape: Any = None) -> Any:
    """Tensors of real symbols, one for each name; elements of an array are called name_i_j. They require grad.

    Returns a tensor for one name, a tuple of tensors for several. Raises ValueError for no name or a bad shape.

    >>> import minigrad as mg
    >>> x, w = mg.symbols("x w")
    >>> (x * w + mg.tanh(x)).backward()
    >>> x.grad.item()
    w - tanh(x)**2 + 1
    >>> mg.symbols("W", (2, 2))
    tensor([[W_0_0, W_0_1],
            [W_1_0, W_1_1]], name='W', requires_grad=True)
    """
    each = names.replace(",", " ").split()
    if not each:
        raise ValueError('symbols: no name in "' + names + '"; write mg.symbols("x") or mg.symbols("x w b")')
    made = tuple(Tensor(symbols_of(name, () if shape is None else shape), True, name) for name in each)
    return made[0] if len(made) == 1 else made
