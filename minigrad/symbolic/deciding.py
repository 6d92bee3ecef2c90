"""Whether a relation of symbols holds: unknown, unless a point is given at which Python's `if` is to decide."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sympy
from sympy.core.relational import Relational

Point = dict[sympy.Symbol, sympy.Rational]
Path = list[tuple[sympy.Basic, bool]]


class NoReading(TypeError):
    """Code that numbers can go through and symbols cannot."""


class _State(threading.local):
    at: Point | None = None
    path: Path = []  # never written to while `at` is None
    arrays_of_elements = False


state = _State()


@contextmanager
def deciding(at: Point) -> Iterator[Path]:
    """Inside, the truth of relations of symbols is that at the point `at`, and each one asked for is noted.

    The list that is given holds pairs (relation, outcome): what is computed inside is right where all of them come out
    the same. Elements of arrays of symbols stay arrays, as in `arrays_of_elements`.

    >>> x = mg.symbols("x")
    >>> with mg.symbolic.deciding({x.item(): 2}) as path:
    ...     y = x * x if x > 1 else -x
    >>> y.item(), path
    (x**2, [(x > 1, True)])
    """
    before = state.at, state.path, state.arrays_of_elements
    state.at = {s: v if isinstance(v, sympy.Basic) else sympy.Rational(v) for s, v in at.items()}
    state.path, state.arrays_of_elements = [], True
    try:
        yield state.path
    finally:
        state.at, state.path, state.arrays_of_elements = before


@contextmanager
def arrays_of_elements() -> Iterator[None]:
    """Inside, an element of an array of symbols is an array without axes, which NumPy's functions understand.

    Outside it is the bare SymPy expression, which is what one wants to look at.
    """
    before, state.arrays_of_elements = state.arrays_of_elements, True
    try:
        yield
    finally:
        state.arrays_of_elements = before


def decide(condition: Any) -> bool:
    """Whether the condition (a relation, several joined by And, Or and Not, or a number) holds at the point."""
    if isinstance(condition, sympy.Expr):
        condition = sympy.Ne(condition, 0)
    if condition in (sympy.true, sympy.false):
        return bool(condition)
    if state.at is None:
        raise NoReading(
            f"a symbol has no value, so neither `if` nor `while` can tell whether {str(condition)[:60]}: choose by "
            "np.where or mg.where, which keep both branches"
        )
    truth = condition.xreplace({r: _truth(r, state.at) for r in condition.atoms(Relational)})
    if truth not in (sympy.true, sympy.false):
        raise NoReading(f"whether {str(condition)[:60]} is not decided by the values of {sorted(map(str, state.at))}")
    if (condition, bool(truth)) not in state.path:
        state.path.append((condition, bool(truth)))
    return bool(truth)


def _truth(relation: Any, at: Point) -> Any:
    """A relation with the values in place of the symbols; as for NumPy, what is no real number compares as nan does."""
    left, right = (side.xreplace(at) for side in relation.args)
    difference = left - right
    if difference.free_symbols:
        return relation.func(left, right)
    if not difference.is_Rational:
        difference = difference.evalf(50, chop=sympy.Float(10) ** -45)
    if difference is sympy.nan or not difference.is_extended_real:
        return sympy.true if isinstance(relation, sympy.Ne) else sympy.false
    return relation.func(difference, 0)
