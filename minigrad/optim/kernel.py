"""From a rule on scalars to native code over arrays: reading a rule, writing its loop, running it."""

from __future__ import annotations

import ast
import copy
import ctypes
import functools
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import native

TAKEN = re.compile(r"i|lo|hi|size|arrays|scalars|gradient|c\d+|\w+_")  # names that the loops have for their own


class Reading(NamedTuple):
    """A rule taken apart."""

    name: str
    state: tuple[str, ...]
    scalars: tuple[str, ...]  # hyperparameters, and t where the rule uses it
    lines: list[Any]  # of ast.Assign
    new_p: ast.expr

    @property
    def hyper(self) -> list[str]:
        """The hyperparameters: the scalars that do not count steps."""
        return [name for name in self.scalars if name != "t"]


@functools.cache
def read(rule: Callable) -> Reading:
    """Take a rule apart: the state is what it returns after `p`, and the arguments after the state are scalars.

    Raises ValueError if the function is not shaped like a rule, or has a name that its loop needs.
    """
    function = ast.parse(textwrap.dedent(inspect.getsource(rule))).body[0]
    assert isinstance(function, ast.FunctionDef)
    *lines, last = [line for line in function.body if not isinstance(line, ast.Expr)]  # all but the docstring
    value = last.value if isinstance(last, ast.Return) else None
    new_p, *state = value.elts if isinstance(value, ast.Tuple) else [value]
    names = tuple(name.id for name in state if isinstance(name, ast.Name))
    arguments = tuple(argument.arg for argument in function.args.args)
    start = 2 + len(state)
    if new_p is None or arguments[:start] != ("p", "g", *names) or not all(isinstance(x, ast.Assign) for x in lines):
        raise ValueError(
            f"rule {function.name}: a rule takes p, g, its state and then scalars, assigns, and returns the new p "
            "and the state under the names and in the order of the arguments"
        )
    used = [x.id for x in ast.walk(function) if isinstance(x, ast.Name)]
    if taken := [name for name in (*arguments, *used) if TAKEN.fullmatch(name)]:
        raise ValueError(f"rule {function.name}: {taken[0]} is a name in the loop that is made of it: choose another")
    return Reading(function.name, names, arguments[start:], lines, new_p)


class Hoist(ast.NodeTransformer):
    """Replaces every maximal sub-expression that is the same for all elements by a name, and collects the names.

    Such a value is computed once a step in float64 and then cast, for two reasons: 1 - beta2 would lose digits in
    float32, and a float64 (even an integer literal) inside a float32 loop makes the whole loop float64.
    """

    def __init__(self, scalars: set[str]) -> None:
        self.scalars = scalars
        self.coefficients: dict[str, str] = {}  # source of the sub-expression: its name

    def rewrite(self, expression: ast.expr) -> str:
        """The source of the expression, with names for its coefficients."""
        return ast.unparse(self.visit(copy.deepcopy(expression)))

    def visit(self, node: ast.AST) -> Any:
        if not isinstance(node, ast.expr):
            return node
        if self.is_scalar(node):
            source = ast.unparse(node)
            return ast.Name(self.coefficients.setdefault(source, f"c{len(self.coefficients)}"))
        match node:
            case ast.BinOp(ast.Name(), ast.Pow(), ast.Constant(int(power))):  # x * x, since a Numba power may fail
                return functools.reduce(lambda x, y: ast.BinOp(x, ast.Mult(), y), [node.left] * power)
            case ast.Call():
                return ast.Call(node.func, [self.visit(argument) for argument in node.args], [])
        return self.generic_visit(node)

    def is_scalar(self, node: ast.expr) -> bool:
        functions = {call.func for call in ast.walk(node) if isinstance(call, ast.Call)}
        names = {x.id for x in ast.walk(node) if isinstance(x, ast.Name) and x not in functions}
        return names <= self.scalars


def kernel_source(rule: Callable, dtype: np.dtype) -> str:
    """The source of the loop that applies `rule` to arrays.

    >>> from minigrad.optim import rules
    >>> print(kernel_source(rules.sgd, np.dtype("float32")))
    from math import sqrt
    from numba import float32 as real
    <BLANKLINE>
    def sgd(size, arrays, scalars, gradient):
        scalars[0] += 1
        lr = scalars[1]
        weight_decay = scalars[2]
        p_ = arrays[0]
        c0 = real(weight_decay)
        c1 = real(lr)
        for i in range(size):
            p = p_[i]
            g = gradient[i]
            g = g + c0 * p
            p_[i] = p - c1 * g
    <BLANKLINE>
    """
    once, each = loop(rule, "real")
    return "\n".join([
        "from math import sqrt",
        f"from numba import {dtype} as real",
        "",
        function(f"{read(rule).name}(size, arrays, scalars, gradient)", ["scalars[0] += 1", *once], "size", each),
    ])  # fmt: skip


def function(head: str, once: list[str], extent: str, each: list[str]) -> str:
    """The source of a function that does something once, and then something for each `i` in a range."""
    loop = [*once, f"for i in range({extent}):", *(f"    {line}" for line in each)]
    return "\n".join([f"def {head}:", *(f"    {line}" for line in loop), ""])


def loop(rule: Callable, real: str) -> tuple[list[str], list[str]]:
    """The lines of a rule: what is done once a step, of which scalars[0] is the number, and what for each element i.

    `real` is the name of the parameters' type.
    """
    reading = read(rule)
    hoist = Hoist(set(reading.scalars))
    once, each = [], []
    for line in reading.lines:
        target = ast.unparse(line.targets[0])
        if hoist.is_scalar(line.value):
            once.append(ast.unparse(line))
            hoist.scalars.add(target)
        else:
            each.append(f"{target} = {hoist.rewrite(line.value)}")
    each.append(f"p_[i] = {hoist.rewrite(reading.new_p)}")
    once = [
        *(["t = scalars[0]"] if "t" in reading.scalars else []),
        *(f"{s} = scalars[{k}]" for k, s in enumerate(reading.hyper, 1)),
        *(f"{s}_ = arrays[{k}]" for k, s in enumerate(("p", *reading.state))),
        *once,
        *(f"{c} = {real}({source})" for source, c in hoist.coefficients.items()),
    ]
    held = [f"{s} = {s}_[i]" for s in ("p", *reading.state)]
    return once, [*held, "g = gradient[i]", *each, *(f"{s}_[i] = {s}" for s in reading.state)]


@functools.cache
def kernel(rule: Callable, dtype: np.dtype, threaded: bool) -> Any:
    """The loop that applies `rule` to arrays, compiled; `threaded` lets go of the interpreter lock meanwhile."""
    real = f"CPointer({dtype})"
    signature = f"void(int64, CPointer({real}), CPointer(float64), {real})"
    address = native.build(kernel_source(rule, dtype), read(rule).name, signature)
    return (ctypes.CFUNCTYPE if threaded else ctypes.PYFUNCTYPE)(None)(address)
