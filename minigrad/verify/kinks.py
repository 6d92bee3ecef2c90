"""What a gradient says on a kink, where the slope jumps: judged between the slopes from the left and from the right.

Points on a kink are found exactly: where two arguments of Max are equal, or a condition of a Piecewise just holds, one
symbol is solved for, along which that is an affine equation.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import mpmath
import sympy

from .cells import Point, Tape, TooLarge, evaluate, finite, same
from .limits import OutOfTime, time_limit
from .prove import AGREES, REFUTED, UNDECIDED, Sampler

ASIDE = sympy.Rational(1, 2**60)  # how far beside a kink its two sides are looked at
NEAR = sympy.Rational(1, 64)  # how far beside a boundary formulas are compared
ROUNDING = 1e-9  # relative, in a gradient computed in floats
TRIES = 8  # points tried for each kink
MOST_WAYS = 256  # to settle the choices on a kink

IMPOSSIBLE = (TooLarge, RecursionError, ArithmeticError, ValueError, TypeError, NotImplementedError)


@dataclass
class Kink:
    """A point on a kink, the one-sided slopes of the function along a symbol there, and the gradient's value.

    The verdict is "agrees" where the value is a convention that backpropagation may follow, "refuted" where it is not,
    and "undecided" where the function has no slope.
    """

    symbol: sympy.Symbol
    boundary: str
    at: Point
    left: Any
    right: Any
    ours: Any
    verdict: str
    text: str


def kinks(
    f: sympy.Expr, gradient: Mapping[sympy.Symbol, sympy.Expr], sample: Sampler, most: int = 12, seconds: float = 10.0
) -> list[Kink]:
    """The gradient of `f` (its formula by each symbol) on kinks of f: on `most` of them, as they are found in time.

    >>> import sympy
    >>> from minigrad.verify.kinks import kinks
    >>> x = sympy.Symbol("x", real=True)
    >>> def sample(rng):
    ...     return {x: sympy.Rational(2 * rng.randrange(-200, 200) + 1, 128)}
    >>> print(kinks(sympy.Max(x, 0), {x: sympy.Heaviside(x, 0)}, sample)[0].text)
    at Max(0, x), x = 0: slope 0 from the left, 1 from the right, 0 is taken
    """
    places = points_on(f, list(gradient), sample, seconds, most)
    return [kink for where, at in places for s, ours in gradient.items() if (kink := look(f, s, ours, at, where))]


def points_on(
    f: sympy.Expr, symbols: list[sympy.Symbol], sample: Sampler, seconds: float, most: int = 12
) -> list[tuple[str, Point]]:
    """Points on kinks of f, each with the choice that turns over there."""
    found: list[tuple[str, Point]] = []
    try:
        with time_limit(seconds):
            for where, boundary in itertools.islice(boundaries(f), most):
                try:
                    at = point_on(boundary, f, symbols, sample)
                except IMPOSSIBLE:
                    continue  # SymPy could not find one: this kink is not looked at
                found += [(where, at)] if at else []
    except OutOfTime:
        pass
    return found


def kinks_at(f: sympy.Expr, gradient: Mapping[sympy.Symbol, float], at: Point, where: str) -> list[Kink]:
    """A gradient in floats, at one point on a kink: along each symbol, and along all those together that have a kink.

    Where several elements are tied, each alone may lie between its slopes, and their sum be too much.
    """
    values = {s: sympy.Rational(*x.as_integer_ratio()) if math.isfinite(x) else sympy.nan for s, x in gradient.items()}
    found: list[Kink] = []
    for s, ours in values.items():
        try:
            found += filter(None, [look(f, s, ours, at, where, ROUNDING)])
        except IMPOSSIBLE:
            continue
    tied = [kink.symbol for kink in found if not same(kink.left, kink.right)]
    if len(tied) > 1:
        left, right = slopes_along(f, tied, at)
        ours = mpmath.mpf(sum(gradient[s] for s in tied))
        if not (mpmath.isnan(left) or mpmath.isnan(right) or between(ours, [left, right], ROUNDING)):
            sides = f"slope {short(left)} from the left, {short(right)} from the right"
            together = ", ".join(map(str, tied))
            text = f"at {where}, {together} together: {sides}, and the elements add up to {short(ours)}"
            n = len(tied)
            found.append(Kink(tied[0], where, at, left / n, right / n, ours / n, REFUTED, text))
    judged = {kink.symbol for kink in found if kink.verdict == REFUTED}
    for s in [s for s, x in gradient.items() if not math.isfinite(x) and s not in judged]:
        left, right = slopes_along(f, [s], at)  # of a norm at 0, say, which has no formula for its slope there
        if not (mpmath.isnan(left) or mpmath.isnan(right)):
            sides = f"slope {short(left)} from the left, {short(right)} from the right"
            text = f"at {where}, {s} = {at[s]}: {sides}, and {gradient[s]} is claimed"
            found.append(Kink(s, where, at, left, right, mpmath.nan, REFUTED, text))
    return found


def slopes_along(f: sympy.Expr, symbols: list[sympy.Symbol], at: Point) -> tuple[Any, Any]:
    """The slopes to the left and to the right where all these symbols move together, to some 18 digits."""
    tape = Tape([f])
    below, here, above = (
        finite(tape.run({**at, **{s: at[s] + step for s in symbols}})[tape.roots[0]]) for step in (-ASIDE, 0, ASIDE)
    )
    step = mpmath.mpf(2) ** -60
    return (here - below) / step, (above - here) / step


def beside(exprs: Iterable[sympy.Expr], symbols: list[sympy.Symbol], sample: Sampler, most: int = 12) -> list[Point]:
    """Points on both sides of the boundaries between the cells of some formulas, so that no cell is missed."""
    found: list[Point] = []
    for _, boundary in itertools.islice(boundaries(sympy.Tuple(*exprs)), most):
        try:
            at = point_on(boundary, boundary, symbols, sample)
        except IMPOSSIBLE:
            continue
        moving = [s for s in symbols if s in boundary.free_symbols]
        found += [{**at, s: at[s] + step} for s in moving[:2] for step in (-NEAR, NEAR)] if at else []
    return found


def boundaries(f: sympy.Basic) -> Iterator[tuple[str, sympy.Expr]]:
    """The choices of a formula, as text, each with an expression that is zero where it turns over."""
    for expr, _, _ in Tape([f]).steps:
        if isinstance(expr, sympy.Max | sympy.Min):
            for a, b in itertools.combinations(expr.args, 2):
                yield brief(expr), a - b
        elif isinstance(expr, sympy.Abs | sympy.sign | sympy.Heaviside):
            yield brief(expr), expr.args[0]
        elif isinstance(expr, sympy.core.relational.Relational):
            yield brief(expr), expr.lhs - expr.rhs


def point_on(boundary: sympy.Expr, f: sympy.Expr, symbols: list[sympy.Symbol], sample: Sampler) -> Point | None:
    """A point where the boundary is exactly zero and f is finite, with values that floats hold exactly if possible."""
    rng, found = random.Random(0), None
    tape = Tape([boundary, f])
    for _ in range(TRIES):
        at = sample(rng)
        smooth = tape.settle(tape.run(at))[0][0]
        for s in [s for s in symbols if s in smooth.free_symbols]:
            if any(p.exp.is_Integer and abs(p.exp) > 64 for p in smooth.atoms(sympy.Pow)):
                continue  # the exact power of a rational would be a huge number
            line = smooth.xreplace({t: x for t, x in at.items() if t != s})
            slope, start = line.diff(s), line.xreplace({s: sympy.S.Zero})
            if not (slope.is_Rational and start.is_Rational and slope):
                continue
            new = {**at, s: -start / slope}
            values = tape.run(new)
            if values[tape.roots[0]] == 0 and not mpmath.isnan(finite(values[tape.roots[1]])):
                found = new
                if int(new[s].q).bit_count() == 1:
                    return new
    return found


def look(
    f: sympy.Expr, s: sympy.Symbol, ours: sympy.Expr, at: Point, where: str, slack: float = 0.0
) -> Kink | None:
    """The kink at a point, along one symbol; None where there is none along it, and the gradient knows that.

    `slack` is the relative error that rounding may have left in the gradient's value.
    """
    tape = Tape([f])
    sides = []
    for step in (-ASIDE, ASIDE):
        values = tape.run({**at, s: at[s] + step})
        (smooth,), (tied,) = tape.settle(values)
        if tied:  # the boundary runs along this symbol
            return None
        sides.append(smooth)
    here, below, above, left, right, value = evaluate(
        [f, *sides, *(sympy.diff(side, s) for side in sides), ours], at
    )  # fmt: skip
    place = f"at {where}, {s} = {at[s]}"

    def kink(verdict: str, text: str) -> Kink:
        return Kink(s, where, at, left, right, value, verdict, f"{place}: {text}")

    if not (same(below, here) and same(above, here)):
        return kink(UNDECIDED, f"the function jumps, from {short(below)} to {short(above)}, and has no slope")
    if mpmath.isnan(left) or mpmath.isnan(right):
        return kink(UNDECIDED, "the function has no finite slope")
    slopes = f"slope {short(left)} from the left, {short(right)} from the right"
    if mpmath.isnan(value):
        return kink(REFUTED, f"{slopes}, and the gradient is not a number")
    if between(value, [left, right], slack):
        return None if same(left, right) else kink(AGREES, f"{slopes}, {short(value)} is taken")
    if between(value, [left, right, *conventions(f, s, at)], slack):
        if same(left, right):
            slopes = f"the slope is {short(left)}"
        return kink(AGREES, f"{slopes}, and backpropagation's conventions add up to {short(value)}")
    return kink(REFUTED, f"{slopes}, and {short(value)} is not between them")


def conventions(f: sympy.Expr, s: sympy.Symbol, at: Point) -> list[Any]:
    """The slopes that come out when each choice that is undecided at the point is settled by itself, in all ways."""
    tape = Tape([sympy.diff(f, s)])
    values = tape.run(at)
    free: dict[int, tuple] = {}
    for i, (expr, _, args) in enumerate(tape.steps):
        if isinstance(expr, sympy.Heaviside) and values[args[0]] == 0:
            free[i] = (mpmath.mpf(0), mpmath.mpf(1))
        elif isinstance(expr, sympy.sign) and values[args[0]] == 0:
            free[i] = (mpmath.mpf(-1), mpmath.mpf(1))
        elif isinstance(expr, sympy.core.relational.Relational) and values[args[0]] == values[args[1]]:
            free[i] = (False, True)
        elif isinstance(expr, sympy.DiracDelta):
            free[i] = (mpmath.mpf(0),)
    ways = itertools.islice(itertools.product(*free.values()), MOST_WAYS)
    slopes = [finite(tape.run(at, fixed=dict(zip(free, way, strict=True)))[tape.roots[0]]) for way in ways]
    return [x for x in slopes if not mpmath.isnan(x)]


def between(x: Any, bounds: list[Any], slack: float) -> bool:
    low, high = min(bounds), max(bounds)
    margin = slack * (1 + max(abs(low), abs(high)))
    return low - margin <= x <= high + margin or same(x, low) or same(x, high)


def short(x: Any) -> str:
    return f"{float(x):.6g}"


def brief(expr: sympy.Basic, width: int = 50) -> str:
    text = str(expr)
    return text if len(text) <= width else text[: width - 3] + "..."
