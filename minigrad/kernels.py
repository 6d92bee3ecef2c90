"""Loops over arrays, written in Python and run as native code: for what NumPy's functions do slowly or not at all.

A kernel is a function of arrays and numbers that reads and writes elements, and calls nothing but `math` and functions
of its own kind. Its source is compiled for the dtypes and numbers of axes that it is called with, and kept on disk.
"""

from __future__ import annotations

import ast
import ctypes
import functools
import inspect
import textwrap
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any, TypeVar

import numpy as np

from . import native, parallel
from .batching import StandIn

F = TypeVar("F", bound=Callable)


class Kernel:
    """A function compiled at its first call with arguments of some kinds; made by `@kernel`."""

    def __init__(self, function: Callable) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.built: dict[tuple, Callable] = {}

    def __call__(self, *arguments: Any) -> None:
        """Run the loops. Arrays are C-contiguous, of floats or integers; what the kernel writes to is among them."""
        self.bound(arguments)()

    def over(self, n: int, grain: int, *arguments: Any, own: list[np.ndarray] | None = None) -> None:
        """Run the loops for `start` to `stop`, the kernel's first two arguments, that together cover range(n).

        Where more than `grain` of the n are left, they are shared out among the processors: different ranges must
        write to different elements. Each range has the next one of the arrays `own` to itself, as the argument after
        `stop`, and there are no more ranges than such arrays.
        """
        pieces = max(1, min(parallel.threads(), n // max(grain, 1), n if own is None else len(own)))
        bounds = [n * i // pieces for i in range(pieces + 1)]
        calls = []
        for i in range(pieces):
            first = (bounds[i], bounds[i + 1]) if own is None else (bounds[i], bounds[i + 1], own[i])
            call: Any = self.bound((*first, *arguments))
            call.arrays = first, arguments  # which live while it runs, even if an exception ends the wait for it
            calls.append(call)
        parallel.run(calls) if pieces > 1 else calls[0]()

    def repeated(self, *arguments: Any) -> Callable[[int], object]:
        """The loops as a function of the kernel's last argument, an integer: for many calls on the same arrays.

        The caller keeps the arrays alive meanwhile.
        """
        call: Any = self.bound((*arguments, 0))
        return partial(call.func, *call.args[:-1])

    def bound(self, arguments: tuple) -> Callable[[], object]:
        """The native code with its arguments, ready to be called."""
        kinds = tuple([(x.dtype, x.ndim) if isinstance(x, np.ndarray) else type(x) for x in arguments])
        entry = self.built.get(kinds)
        if entry is None:
            for x in arguments:
                if isinstance(x, StandIn):  # refused here, before the compiler would find out
                    np.asarray(x)
                if isinstance(x, np.ndarray) and not x.dtype.isnative:
                    raise ValueError(f"{self.function.__name__}: {x.dtype} is not in the machine's order of bytes")
            entry = self.built[kinds] = compiled(self.function, arguments)
        values: list[Any] = []
        for x in arguments:
            if isinstance(x, np.ndarray):
                if not x.flags.c_contiguous:
                    raise ValueError(f"{self.function.__name__}: an array of shape {x.shape} is not contiguous")
                values.append(native.address_of(x))
                values += x.shape
            else:
                values.append(x)
        return partial(entry, *values)


def kernel(function: Callable) -> Kernel:
    """Decorator: native loops. See `Kernel`.

    >>> from minigrad.kernels import kernel
    >>> @kernel
    ... def add_rows(x, total):
    ...     for i in range(x.shape[0]):
    ...         for j in range(x.shape[1]):
    ...             total[j] += x[i, j]
    """
    return Kernel(function)


def compiled(function: Callable, arguments: tuple) -> Callable:
    """The native code for arguments of these kinds: a C function of pointers, lengths and numbers."""
    kinds: list[str] = []
    types: list[Any] = []
    for x in arguments:
        if isinstance(x, np.ndarray):
            kinds += [f"CPointer({x.dtype})", *["int64"] * x.ndim]
            types += [ctypes.c_void_p, *[ctypes.c_int64] * x.ndim]
        else:
            whole = isinstance(x, int | np.integer)
            kinds.append("int64" if whole else "float64")
            types.append(ctypes.c_int64 if whole else ctypes.c_double)
    axes = [x.ndim if isinstance(x, np.ndarray) else None for x in arguments]
    reals = {x.dtype for x in arguments if isinstance(x, np.ndarray) and x.dtype.kind == "f"}
    text = source(function, axes, next(iter(reals)) if reals else np.dtype(np.float64))
    address = native.build(text, function.__name__, f"void({', '.join(kinds)})")
    return ctypes.CFUNCTYPE(None, *types)(address)


def source(function: Callable, axes: list[int | None], real: np.dtype) -> str:
    """The text that is compiled: the function of pointers, before it the functions that it calls.

    `real(x)` in a kernel is x in the dtype of its floating arrays: a literal such as 0.5 would make float64 of a
    float32, and of all that it meets. `whole(n)` is n as an integer of as many bits, and `real(x).view(whole)` the
    bits of x.
    """
    tree = parsed(function)
    names = [a.arg for a in tree.args.args]
    arguments: list[str] = []
    views: list[str] = []
    for name, n in zip(names, axes, strict=True):
        lengths = [f"{name}_{i}" for i in range(n or 0)]
        arguments += [name] if n is None else [f"{name}_", *lengths]
        if n is not None:
            views.append(f"    {name} = carray({name}_, ({''.join(f'{x}, ' for x in lengths)}))")
    body = ast.unparse([s for s in tree.body if not is_docstring(s)])  # type: ignore[arg-type]
    return "\n".join([
        "import math",
        "from math import *",
        "from numba import carray, njit, uint64 as index",
        f"from numpy import {real} as real, int{8 * real.itemsize} as whole",
        *(f"\n@njit(**{options(f)})\n{ast.unparse(parsed(f))}" for f in called(function)),
        "",
        f"def {tree.name}({', '.join(arguments)}):",
        *views,
        textwrap.indent(body, "    "),
        "",
    ])  # fmt: skip


def in_any_order(function: F) -> F:
    """Decorator: a function that kernels call, whose sums may be taken in any order, and so several terms at a time.

    It is meant for a loop that does nothing but add up: nothing else in it should depend on how terms are grouped.
    """
    function.in_any_order = True  # type: ignore[attr-defined]
    return function


def options(function: Callable) -> dict[str, Any]:
    """How Numba compiles a function that a kernel calls."""
    if not getattr(function, "in_any_order", False):
        return native.OPTIONS
    return native.OPTIONS | {"fastmath": native.FASTMATH | {"reassoc": True}}


def called(function: Callable) -> list[FunctionType]:
    """The functions of ours that a kernel calls, each after those that it calls itself."""
    found: list[FunctionType] = []
    for node in ast.walk(parsed(function)):
        if isinstance(node, ast.Name) and node.id not in function.__code__.co_varnames:
            value = function.__globals__.get(node.id)
            if isinstance(value, FunctionType) and value not in (real, whole, index, *found):
                found += [f for f in [*called(value), value] if f not in found]
    return found


@functools.cache
def parsed(function: Callable) -> ast.FunctionDef:
    """The definition of a function, its decorators left out, and the constants of its module written in."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    tree.decorator_list = []
    return Constants(function.__globals__).visit(tree)


class Constants(ast.NodeTransformer):
    """Numbers in place of the names of a module's constants, and the terms of a polynomial written out."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace

    def visit_Name(self, node: ast.Name) -> Any:
        value = self.namespace.get(node.id)
        return ast.Constant(value) if isinstance(node.ctx, ast.Load) and isinstance(value, int | float) else node

    def visit_Call(self, node: ast.Call) -> Any:
        if not (isinstance(node.func, ast.Name) and self.namespace.get(node.func.id) is polynomial):
            return self.generic_visit(node)
        x, table = map(ast.unparse, node.args)
        terms = [f"real({c!r})" for c in self.namespace[table]]
        return ast.parse(f" + {x} * (".join(terms) + ")" * (len(terms) - 1), mode="eval").body


def is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def real(x: Any) -> Any:
    """In a kernel: x in the dtype of its floating arrays."""
    return x


def whole(n: Any) -> Any:
    """In a kernel: n as an integer of as many bits as its floating numbers have."""
    return n


def polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    """In a kernel: the sum of coefficients[i] * x^i by Horner's scheme. x is a name, the coefficients a module's."""
    return sum(c * x**i for i, c in enumerate(coefficients))


def index(i: Any) -> Any:
    """In a kernel: i as an integer without sign. A negative index counts from the end in Python, and looking out for
    one keeps a loop over `x[at + i]` from being vectorised, unless both are known not to be negative."""
    return i
