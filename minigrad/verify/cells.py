"""The numbers of formulas at a point, to any number of digits, and the smooth formulas that hold around it.

Expressions share most of their parts, so each distinct part is one step of a tape, computed once for a point. A point
also settles every choice: in the cell around it each Max is one of its arguments, each Piecewise one of its branches,
each sign a number. What is left is smooth; kinks lie between cells.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mpmath
import sympy
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.logic.boolalg import Boolean

DIGITS = 50
GUARD = 20  # more digits, to compute with
HUGE = 3000  # bits before the point of a number, beyond which its exp and the like are not tried
MOST_STEPS = 300_000
Point = dict[sympy.Symbol, sympy.Rational]
CHOICES = (  # what settling replaces
    sympy.Piecewise, sympy.Max, sympy.Min, sympy.Abs, sympy.sign, sympy.Heaviside, sympy.DiracDelta, sympy.floor,
    sympy.ceiling, sympy.frac, sympy.Mod, sympy.Derivative, sympy.Subs,
)  # fmt: skip


class TooLarge(Exception):
    """A number, or a formula, that is too large to compute with."""


class Tape:
    """The distinct parts of some expressions, each after its own parts."""

    def __init__(self, exprs: Sequence[sympy.Basic]):
        self.steps: list[tuple[sympy.Basic, Callable, list[int]]] = []
        self.place: dict[sympy.Basic, int] = {}
        waiting = list(reversed(exprs))
        while waiting:  # no recursion, since formulas may be nested deeply
            expr = waiting[-1]
            args = (derived(expr),) if isinstance(expr, sympy.Derivative | sympy.Subs) else expr.args
            missing = [] if expr in self.place else [a for a in args if a not in self.place]
            if missing and args != (expr,):
                waiting += missing
                continue
            waiting.pop()
            if expr not in self.place:
                self.place[expr] = len(self.steps)
                self.steps.append((expr, meaning(expr), [self.place[a] for a in args if a != expr]))
            if len(self.steps) > MOST_STEPS:
                raise TooLarge(f"more than {MOST_STEPS} operations")
        self.roots = [self.place[e] for e in exprs]
        self.choices = any(isinstance(expr, CHOICES) for expr, _, _ in self.steps)

    def run(self, at: Point, digits: int = DIGITS + GUARD, fixed: Mapping[int, Any] = {}) -> list[Any]:
        """The value of every step: an mpf, a bool, nan where it is not real, None where it is too large to compute.

        Steps that are `fixed` have the values that are given.
        """
        values: list[Any] = []
        with mpmath.workdps(digits):
            for expr, compute, args in self.steps:
                try:
                    if len(values) in fixed:
                        values.append(fixed[len(values)])
                        continue
                    value = compute(at[expr]) if expr.is_Symbol else compute(*[values[i] for i in args])
                    values.append(mpmath.nan if isinstance(value, mpmath.mpc) else value)
                except (TooLarge, OverflowError, MemoryError):
                    values.append(None)
                except Exception:  # a pole, complex numbers compared, a symbol that the point does not name
                    values.append(None if any(values[i] is None for i in args) else mpmath.nan)
        return values

    def settle(self, values: list[Any]) -> tuple[list[sympy.Basic], list[bool]]:
        """Each expression as it is in the cell around the point that gave the values, and whether that is on a kink."""
        smooth: list[Any] = []
        kink: list[bool] = []
        for expr, _, args in self.steps:
            try:
                new, tie = around(expr, [values[j] for j in args], [smooth[j] for j in args], [kink[j] for j in args])
            except Exception:  # SymPy's, of a branch that is not chosen, as a rule: there it may do what it likes
                new, tie = sympy.nan, False
            smooth.append(expr if new == expr else new)
            kink.append(tie)
        return [smooth[i] for i in self.roots], [kink[i] for i in self.roots]


def settle(expr: sympy.Basic, at: Point) -> sympy.Basic:
    """`expr` without choices: the formula that holds in the cell around the point."""
    tape = Tape([sympy.sympify(expr)])
    return tape.settle(tape.run(at))[0][0]


@functools.lru_cache(maxsize=16)
def tape_of(exprs: tuple[sympy.Basic, ...]) -> Tape:
    return Tape(exprs)


def evaluate(exprs: Sequence[Any], at: Point) -> list[Any]:
    """The values at the point to 50 digits, as mpmath numbers; nan where one is not real, not finite or out of reach.

    Raises TooLarge for a formula of too many operations.

    >>> import sympy
    >>> from minigrad.verify.cells import evaluate
    >>> x = sympy.Symbol("x")
    >>> print(evaluate([sympy.sqrt(x), sympy.log(-x)], {x: sympy.Integer(4)}))
    [mpf('2.0'), mpf('nan')]
    """
    tape = tape_of(tuple(map(sympy.sympify, exprs)))
    digits = DIGITS + GUARD
    rough, fine = (tape.run(at, n) for n in (digits, 2 * digits))
    if not all(same(rough[i], fine[i]) for i in tape.roots):
        fine = tape.run(at, 10 * digits)
    return [finite(fine[i]) for i in tape.roots]


def on_kink(exprs: Sequence[Any], at: Point) -> bool:
    """Whether the point lies between cells, where a derivative is a matter of convention."""
    tape = tape_of(tuple(map(sympy.sympify, exprs)))
    return tape.choices and any(tape.settle(tape.run(at))[1])


def same(a: Any, b: Any) -> bool:
    """Whether two values are the same to 50 digits."""
    a, b = finite(a), finite(b)
    return bool(abs(a - b) <= mpmath.ldexp(abs(b), int(-3.33 * DIGITS))) or mpmath.isnan(a) and mpmath.isnan(b)


def finite(x: Any) -> Any:
    if isinstance(x, bool):
        return mpmath.mpf(x)
    return x if isinstance(x, mpmath.mpf) and mpmath.isfinite(x) else mpmath.nan


# ---- choices -------------------------------------------------------------------------------------------------------


def around(expr: Any, values: list[Any], smooth: list[Any], kink: list[bool]) -> tuple[Any, bool]:
    """One part of a formula around a point, from the values and forms of its arguments; and whether there is a kink.

    Where two arguments of Max are equal at the point, it is on a kink, unless they are equal in the whole cell.
    """
    if isinstance(expr, ExprCondPair):
        return smooth[0], kink[0] or kink[1]
    if isinstance(expr, sympy.Piecewise):
        tied = False
        for (_, condition), new, tie in zip(values, smooth, kink, strict=True):
            tied |= tie
            if condition:
                return new, tied
        return sympy.nan, tied
    if isinstance(expr, sympy.Max | sympy.Min):
        best = (max if isinstance(expr, sympy.Max) else min)(values)
        ties = [i for i, x in enumerate(values) if x == best]
        return smooth[ties[0]], any(smooth[i] != smooth[ties[0]] for i in ties) or kink[ties[0]]
    if isinstance(expr, Boolean) and expr.args:
        tied = expr.is_Relational and values[0] == values[1] and smooth[0] != smooth[1]
        return expr, tied or any(kink)
    if isinstance(expr, sympy.Abs | sympy.sign | sympy.Heaviside | sympy.DiracDelta):
        x, u = values[0], smooth[0]
        side = int(mpmath.sign(x))
        tied = (side == 0 and u != 0) or kink[0]
        if isinstance(expr, sympy.Abs):
            return side * u, tied
        if isinstance(expr, sympy.sign):
            return sympy.Integer(side), tied
        if isinstance(expr, sympy.Heaviside):
            return (sympy.Integer(side > 0) if side else smooth[1]), tied
        return sympy.S.Zero, tied
    if isinstance(expr, sympy.floor | sympy.ceiling | sympy.frac | sympy.Mod):
        x = values[0] / values[1] if isinstance(expr, sympy.Mod) else values[0]
        below, tied = sympy.Integer(int(mpmath.floor(x))), mpmath.isint(x) or any(kink)
        if isinstance(expr, sympy.ceiling):
            return below + (not mpmath.isint(x)), tied
        if isinstance(expr, sympy.Mod):
            return smooth[0] - smooth[1] * below, tied
        return (below if isinstance(expr, sympy.floor) else smooth[0] - below), tied
    if isinstance(expr, sympy.Derivative | sympy.Subs):
        return smooth[0], kink[0]
    if all(a is b for a, b in zip(expr.args, smooth, strict=True)):
        return expr, any(kink)
    return expr.func(*smooth), any(kink)


def derived(expr: Any) -> sympy.Basic:
    """A derivative that SymPy leaves standing, such as that of floor, which is 0 between the jumps."""
    if isinstance(expr, sympy.Subs):
        return derived(expr.expr).xreplace(dict(zip(expr.variables, expr.point, strict=True)))
    if not isinstance(expr, sympy.Derivative):
        return expr
    inner = derived(expr.expr).replace(sympy.Mod, lambda a, b: a - b * sympy.floor(a / b))
    inner = inner.replace(sympy.frac, lambda a: a - sympy.floor(a))
    steps = {step: sympy.Dummy() for step in inner.atoms(sympy.floor, sympy.ceiling)}
    result = sympy.diff(inner.xreplace(steps), *expr.variables)
    return result.xreplace({dummy: step for step, dummy in steps.items()})


# ---- what a part of a formula computes -------------------------------------------------------------------------------


def meaning(expr: sympy.Basic) -> Callable:
    """The function of mpmath numbers that an expression applies to the values of its arguments."""
    if expr.is_Symbol:
        return lambda x: mpmath.mpf(int(x.p)) / int(x.q) if getattr(x, "is_Rational", False) else mpmath.mpmathify(x)
    if expr.is_Rational:
        p, q = int(expr.p), int(expr.q)
        return lambda: mpmath.mpf(p) / q
    if expr in (sympy.oo, -sympy.oo):
        return lambda: mpmath.mpf("inf" if expr == sympy.oo else "-inf")
    if expr in (sympy.true, sympy.false):
        return lambda: expr == sympy.true
    if not expr.args:
        return lambda: mpmath.mpmathify(expr.evalf(mpmath.mp.dps))
    for kind, function in MEANINGS.items():
        if isinstance(expr, kind):
            return function
    name = type(expr).__name__
    if name in SMALL_ONLY:
        return guarded(getattr(mpmath.mp, SMALL_ONLY[name] or name))
    return generic(expr)


def generic(expr: sympy.Basic) -> Callable:
    """A function that has no entry in the table, as SymPy prints it for mpmath."""
    dummies = sympy.symbols(f"a:{len(expr.args)}", real=True)
    try:
        return guarded(sympy.lambdify(dummies, expr.func(*dummies), modules="mpmath"), bits=64)
    except Exception:
        return lambda *_: mpmath.nan


def guarded(function: Callable, bits: int = HUGE) -> Callable:
    """A function that refuses huge arguments, at which mpmath would need as many digits as they have."""

    def computed(*xs: Any) -> Any:
        if any(magnitude(x) > bits for x in xs):
            raise TooLarge
        return function(*xs)

    return computed


def magnitude(x: Any) -> int:
    """The bits of x before the point."""
    _, mantissa, exponent, count = mpmath.mpmathify(x)._mpf_
    return exponent + count if mantissa else 0


def add(*xs: Any) -> Any:
    """The sum; exactly 0 where only noise is left of it."""
    total = sum(xs[1:], start=xs[0])
    if total and abs(total) < mpmath.ldexp(max(map(abs, xs)), 16 - mpmath.mp.prec):
        return mpmath.mpf(0)
    return total


def power(b: Any, e: Any) -> Any:
    if magnitude(e) + max(0, abs(magnitude(b))).bit_length() > HUGE:
        raise TooLarge
    return b ** int(e) if mpmath.isint(e) else b**e


def piecewise(*branches: tuple[Any, Any]) -> Any:
    for value, condition in branches:
        if condition is None:
            raise TooLarge
        if condition:
            return value
    return mpmath.nan


def ordered(best: Callable) -> Callable:
    return lambda *xs: mpmath.nan if any(map(mpmath.isnan, xs)) else best(xs)


def heaviside(x: Any, middle: Any) -> Any:
    return middle if x == 0 else mpmath.mpf(x > 0)


def delta(x: Any, order: Any = 0) -> Any:
    return mpmath.mpf(0) if x else mpmath.nan


def real_log(x: Any) -> Any:
    return mpmath.log(x) if x > 0 else mpmath.nan


MEANINGS: dict[type, Callable] = {
    sympy.Add: add, sympy.Mul: lambda *xs: mpmath.fprod(xs) if None not in xs else xs[0] * None,
    sympy.Pow: power, sympy.exp: guarded(mpmath.exp), sympy.log: real_log,
    ExprCondPair: lambda value, condition: (value, condition), sympy.Piecewise: piecewise,
    sympy.Max: ordered(max), sympy.Min: ordered(min), sympy.Abs: abs, sympy.sign: mpmath.sign,
    sympy.Heaviside: heaviside, sympy.DiracDelta: delta, sympy.floor: guarded(mpmath.floor),
    sympy.ceiling: guarded(mpmath.ceil), sympy.frac: guarded(mpmath.frac),
    sympy.Mod: guarded(lambda a, b: a - b * mpmath.floor(a / b)),
    sympy.Gt: lambda a, b: a > b, sympy.Ge: lambda a, b: a >= b, sympy.Lt: lambda a, b: a < b,
    sympy.Le: lambda a, b: a <= b, sympy.Eq: lambda a, b: a == b, sympy.Ne: lambda a, b: a != b,
    sympy.And: lambda *xs: all(xs), sympy.Or: lambda *xs: any(xs), sympy.Not: lambda x: not x,
    sympy.ITE: lambda c, a, b: a if c else b, sympy.Xor: lambda *xs: sum(map(bool, xs)) % 2 == 1,
    sympy.Derivative: lambda x=mpmath.nan: x, sympy.Subs: lambda x=mpmath.nan: x,
}  # fmt: skip
SMALL_ONLY = dict.fromkeys(
    ["sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "atan2",
     "sinh", "cosh", "tanh", "coth", "sech", "csch", "asinh", "acosh", "atanh", "erf", "erfc"], ""
)
