"""A user's NumPy code, made ready for symbols: what makes new arrays makes ones that can hold symbols.

`np.zeros(shape)` and `np.array(list)` are not told that symbols are around, and give arrays of floats, into which no
symbol can be written. A function that is run on symbols is therefore given another `np`, and another `math`, by its own
global names: its code is the same, and nothing outside of it changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from .array import SymbolicArray, symbolic_array


def on_symbols(f: Any) -> Any:
    """The function f, and those of its module that it calls, with an `np` and a `math` that know of symbols.

    Anything but a function or method written in Python is returned as it is.

    >>> def gradient(x):
    ...     g = np.zeros(x.shape)
    ...     for i in range(len(x)):
    ...         g[i] = 2 * x[i]
    ...     return g
    >>> mg.symbolic.on_symbols(gradient)(mg.symbols("x", (2,)).data).tolist()
    [2*x_0, 2*x_1]
    """
    return Rebinding().of(f)


class Rebinding:
    """One set of copies of functions; functions that call each other do so among the copies."""

    def __init__(self) -> None:
        self.functions: dict[int, FunctionType] = {}
        self.globals: dict[int, dict[str, Any]] = {}

    def of(self, f: Any) -> Any:
        """f itself, or what stands for it where symbols are around."""
        if isinstance(f, ModuleType):
            return MODULES.get(f.__name__, f)
        if isinstance(f, MethodType):
            return MethodType(self.of(f.__func__), f.__self__)
        if not isinstance(f, FunctionType) or _is_of_a_library(f):
            return INSTEAD.get(id(f), f)
        if id(f) not in self.functions:
            cells = tuple(CellType() for _ in f.__closure__ or ())
            copy = FunctionType(f.__code__, self.around(f), f.__name__, f.__defaults__, cells or None)
            copy.__kwdefaults__ = f.__kwdefaults__
            self.functions[id(f)] = copy
            for cell, old in zip(cells, f.__closure__ or (), strict=True):
                with suppress(ValueError):  # of a variable that has no value yet
                    cell.cell_contents = self.of(old.cell_contents)
        return self.functions[id(f)]

    def around(self, f: FunctionType) -> dict[str, Any]:
        """The global names of f."""
        new = self.globals.get(id(f.__globals__))
        if new is None:
            new = self.globals[id(f.__globals__)] = dict(f.__globals__)
            for name, value in f.__globals__.items():
                if isinstance(value, ModuleType | FunctionType) or id(value) in INSTEAD:
                    new[name] = self.of(value)
        return new


def _is_of_a_library(f: FunctionType) -> bool:
    """Whether f is left alone; examples in docstrings are not, though they are called after the library."""
    return (f.__module__ or "").partition(".")[0] in LIBRARIES and not f.__code__.co_filename.startswith("<")


# ---- what stands for what -------------------------------------------------------------------------------------------


def _making(make: Callable) -> Callable:
    """np.zeros and its kin: floats become numbers that are exact."""

    def made(*args: Any, **params: Any) -> Any:
        array = make(*args, **params)
        return symbolic_array(array) if array.dtype.kind == "f" else array

    return made


def _keeping(make: Callable) -> Callable:
    """np.array and its kin: of symbols they make an array of symbols."""

    def made(x: Any, *args: Any, **params: Any) -> Any:
        return symbolic_array(_bare(x)).copy() if _holds_symbols(x) else make(x, *args, **params)

    return made


def _holds_symbols(x: Any) -> bool:
    return isinstance(x, SymbolicArray) or (isinstance(x, list | tuple) and any(map(_holds_symbols, x)))


def _bare(x: Any) -> Any:
    """Nests of arrays as nests of lists, which NumPy takes apart."""
    return x.tolist() if isinstance(x, np.ndarray) else list(map(_bare, x)) if isinstance(x, list | tuple) else x


def _of_math(name: str, numpy: Callable) -> Callable:
    own = getattr(math, name)
    return lambda *args: numpy(*args) if any(isinstance(x, SymbolicArray) for x in args) else own(*args)


class _Module:
    """A module in which some names stand for something else."""

    def __init__(self, module: ModuleType, names: dict[str, Any]) -> None:
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


NUMPY = {name: _making(getattr(np, name)) for name in ("zeros", "ones", "empty", "full")} | {
    name: _keeping(getattr(np, name)) for name in ("array", "asarray", "asanyarray", "ascontiguousarray")
}
MATH = {
    name: _of_math(name, numpy)
    for name, numpy in {
        "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos, "tan": np.tan, "tanh": np.tanh,
        "sinh": np.sinh, "cosh": np.cosh, "atan": np.arctan, "fabs": np.abs, "log1p": np.log1p, "expm1": np.expm1,
        "pow": np.power, "floor": np.floor, "ceil": np.ceil,
    }.items()
}  # fmt: skip
MODULES: dict[str, Any] = {"numpy": _Module(np, NUMPY), "math": _Module(math, MATH)}
INSTEAD = {id(getattr(np, name)): f for name, f in NUMPY.items()} | {
    id(getattr(math, name)): f for name, f in MATH.items()
}
LIBRARIES = {"numpy", "scipy", "sympy", "minigrad", "torch", "jax", "autograd"}
