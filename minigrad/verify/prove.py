"""Is a SymPy expression zero? Shown cell by cell, where choices like Max and Piecewise cut space into cells.

A choice is settled by a point: in the cell around the point each Max is one of its arguments, each Piecewise one of
its branches, and what is left is a smooth formula, which simplifies to zero or does not. Kinks lie between cells.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import sympy

PROVED, AGREES, REFUTED, UNDECIDED = "proved", "agrees", "refuted", "undecided"
DIGITS = 50
Point = dict[sympy.Symbol, sympy.Rational]


def settle(expr: sympy.Basic, at: Point) -> sympy.Basic:
    """`expr` without choices: the formula that holds in the cell around the point."""
    if not expr.args:
        return expr
    if isinstance(expr, sympy.Piecewise):
        for branch, condition in expr.args:
            if holds(condition, at):
                return settle(branch, at)
        return sympy.nan
    if isinstance(expr, sympy.Max | sympy.Min):
        best = max if isinstance(expr, sympy.Max) else min
        return settle(best(expr.args, key=lambda a: value(a, at)), at)
    if isinstance(expr, sympy.Abs | sympy.sign | sympy.Heaviside):
        side = sympy.sign(value(expr.args[0], at))
        if isinstance(expr, sympy.Abs):
            return side * settle(expr.args[0], at)
        return side if isinstance(expr, sympy.sign) else sympy.Heaviside(side)
    if isinstance(expr, sympy.DiracDelta):
        return sympy.S.Zero
    return expr.func(*[settle(a, at) for a in expr.args])


def holds(condition: Any, at: Point) -> bool:
    """Whether a relation, or a combination of relations, is true at the point."""
    return bool(condition.xreplace(at))


def value(expr: sympy.Expr, at: Point) -> sympy.Expr:
    """The value at the point, to 50 digits (0 where these are all lost to cancellation)."""
    return expr.xreplace(at).evalf(DIGITS, chop=sympy.Float(10) ** -(DIGITS - 10))


def is_zero(expr: sympy.Expr) -> bool:
    """Whether a smooth formula simplifies to zero, the cheap ways first."""
    ways: Iterable[Callable] = (
        sympy.expand, sympy.cancel, lambda e: sympy.cancel(sympy.expand(e.rewrite(sympy.exp))), sympy.simplify,
    )  # fmt: skip
    return expr == 0 or any(way(expr) == 0 for way in ways)


def judge(
    ours: sympy.Expr, theirs: sympy.Expr, sample: Callable[[random.Random], Point], points: int = 12
) -> tuple[str, Point | None]:
    """The verdict on `ours` = `theirs` over a domain, and the point that refutes it where one does.

    `sample` draws a point of the domain. All points are compared to 50 digits; then each cell that they met is proved.
    """
    difference = ours - theirs
    if difference == 0:
        return PROVED, None
    rng = random.Random(0)
    cells = set()
    for _ in range(points):
        at = sample(rng)
        a, b = value(ours, at), value(theirs, at)
        if not (a.is_finite and b.is_finite):
            return UNDECIDED, at
        if abs(a - b) > sympy.Float(10) ** -(DIGITS - 20) * (1 + abs(b)):
            return REFUTED, at
        cells.add(settle(difference, at))
    return (PROVED if all(map(is_zero, cells)) else AGREES), None
