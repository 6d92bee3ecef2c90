"""Are two formulas equal? Compared to 50 digits at random points, then proved, cell by cell, by algebra.

One clear difference refutes. What does not simplify, or not in time, agrees: a limit is never an error found.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import mpmath
import sympy

from .cells import DIGITS, GUARD, Point, Tape, TooLarge, evaluate, finite, settle
from .limits import OutOfTime, time_limit
from .zero import is_zero, shows, vanishes

__all__ = ["AGREES", "PROVED", "REFUTED", "UNDECIDED", "Judgement", "OutOfTime", "Point", "TooLarge", "evaluate",
           "is_zero", "judge", "judge_all", "settle", "time_limit"]  # fmt: skip

PROVED, AGREES, REFUTED, UNDECIDED = "proved", "agrees", "refuted", "undecided"
DRAWS = 200  # points that are drawn in search of some in the domain
FLOAT_DIGITS = 14  # to which formulas with floats in them are compared, as SymPy has rounded sums of these
MOST_CELLS = 40  # of one pair that are proved
Sampler = Callable[[random.Random], Point]


@dataclass
class Judgement:
    """The verdict on a pair of formulas, the point that refutes it where one does, and why it is no better."""

    verdict: str
    at: Point | None = None
    reason: str = ""


def judge(
    ours: sympy.Expr, theirs: sympy.Expr, sample: Sampler, points: int = 12, seconds: float = 20.0, domain: Any = ()
) -> Judgement:
    """The verdict on `ours` = `theirs`: `judge_all` for one pair.

    >>> import sympy
    >>> from minigrad.verify.prove import judge
    >>> x = sympy.Symbol("x", real=True)
    >>> def sample(rng):
    ...     return {x: sympy.Rational(2 * rng.randrange(-200, 200) + 1, 128)}
    >>> judge(1 - sympy.tanh(x) ** 2, 1 / sympy.cosh(x) ** 2, sample).verdict
    'proved'
    >>> judge(abs(x), x, sample).verdict
    'refuted'
    """
    return judge_all([(ours, theirs)], sample, points, seconds, domain)[0]


def judge_all(
    pairs: Sequence[tuple[Any, Any]], sample: Sampler, points: int = 12, seconds: float = 20.0, domain: Any = ()
) -> list[Judgement]:
    """The verdicts on pairs (ours, theirs) of formulas, all at the same points and within one limit of time.

    `sample` draws a point from a random.Random. `domain` are formulas that must be real and finite at a point for it to
    count, or a predicate of points; if it is given, ours is refuted where it alone is not real and finite. Points
    on a kink, where a difference may be a convention, do not count.
    """
    cases = [case_of(*map(sympy.sympify, pair)) for pair in pairs]
    end = time.monotonic() + seconds
    late = ""
    try:
        with time_limit(0.6 * seconds):
            compare(cases, sample, points, domain)
    except OutOfTime:
        late = f"there were no values within {0.6 * seconds:g} s"
    except TooLarge as error:
        late = f"the formulas are too large: {error}"
    except RecursionError:
        late = "the formulas are nested too deeply"
    for case in cases:
        if not case.compared and case.refuted is None:
            case.reason = case.reason or late or "no point was found where both sides are finite, off the kinks"
    for way in (vanishes, is_zero):
        prove(cases, way, end, seconds)
    return [case.judgement() for case in cases]


@dataclass
class Case:
    """A pair of formulas, and what is known of it."""

    ours: sympy.Basic
    theirs: sympy.Basic
    digits: int = DIGITS - 5  # to which the two are compared
    compared: int = 0  # points where they were equal
    # What the two are in the cells that were met, and whether they are proved equal there.
    cells: dict[tuple[sympy.Expr, sympy.Expr], bool] = field(default_factory=dict)
    refuted: Point | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        # Not by `shows`, for which 0 is already shown to be what it is asked for.
        self.identical = self.ours == self.theirs and not self.ours.has(sympy.nan, sympy.zoo)

    @property
    def proved(self) -> bool:
        return self.identical or 0 < len(self.cells) <= MOST_CELLS and all(self.cells.values())

    def judgement(self) -> Judgement:
        if self.refuted is not None:
            return Judgement(REFUTED, self.refuted, self.reason)
        if self.proved:
            return Judgement(PROVED)
        if not self.compared:
            return Judgement(UNDECIDED, None, self.reason)
        done = sum(self.cells.values())
        some = f"; it was in {done} of the {len(self.cells)} cells met" if done else ""
        why = self.reason or ("the difference was not simplified to zero" if self.cells else "all points lie on a kink")
        return Judgement(AGREES, None, f"equal to {self.digits} digits at {self.compared} points, and {why}{some}")


def case_of(ours: sympy.Basic, theirs: sympy.Basic) -> Case:
    """A pair, with each float in it as the decimal that it is printed as: nobody means the binary fraction."""
    floats = shows(lambda expr: bool(expr.atoms(sympy.Float)), sympy.Tuple(ours, theirs))
    if not floats:
        return Case(ours, theirs)
    floats_in_them = sympy.Tuple(ours, theirs).atoms(sympy.Float)
    exact = {x: sympy.Rational(str(x) if x._prec > 53 else repr(float(x))) for x in floats_in_them}
    return Case(ours.xreplace(exact), theirs.xreplace(exact), FLOAT_DIGITS)


# ---- by numbers ----------------------------------------------------------------------------------------------------


def compare(cases: list[Case], sample: Sampler, points: int, domain: Any) -> None:
    """Compare the pairs at random points of the domain, and note the cells that these lie in."""
    cases = [case for case in cases if not case.identical]
    formulas = () if callable(domain) else tuple(map(sympy.sympify, domain))
    tape = Tape([*formulas, *(side for case in cases for side in (case.ours, case.theirs))])
    rng, inside = random.Random(0), 0
    for _ in range(DRAWS):
        wanted = (3 if tape.choices else 1) * points  # more where there are cells to be met
        if all(case.refuted is not None or case.compared >= wanted for case in cases):
            return
        at = sample(rng)
        if callable(domain) and not domain(at):
            continue
        values = tape.run(at)
        if any(mpmath.isnan(finite(values[i])) for i in tape.roots[: len(formulas)]):
            continue
        inside += 1
        compare_at(at, cases, tape, values, len(formulas), strict=bool(domain))
    if not inside:
        for case in cases:
            case.reason = f"no point of the domain was found among {DRAWS}"


def compare_at(at: Point, cases: list[Case], tape: Tape, values: list[Any], skip: int, strict: bool) -> None:
    """Compare the pairs at one point, whose values are known."""
    smooth, kinks = tape.settle(values) if tape.choices else ([tape.steps[i][0] for i in tape.roots], None)
    closer: dict[int, list[Any]] = {}

    def differ(i: int, j: int, digits: int) -> bool:
        """Whether two values differ in earnest: a difference that shrinks when digits are added is one of rounding."""
        found = abs(values[i] - values[j])
        if found <= mpmath.mpf(10) ** -digits * (abs(values[i]) + abs(values[j])):
            return False
        for digits in (3 * (DIGITS + GUARD), 9 * (DIGITS + GUARD)):
            fine = closer[digits] = closer.get(digits) or tape.run(at, digits)
            before, found = found, abs(finite(fine[i]) - finite(fine[j]))
            if found > before / 2:
                return True
        return False

    for k, case in enumerate(cases):
        ours, theirs = skip + 2 * k, skip + 2 * k + 1
        i, j = tape.roots[ours], tape.roots[theirs]
        if case.refuted is not None or values[i] is None or mpmath.isnan(finite(values[j])):
            continue
        kink = kinks is not None and (kinks[ours] or kinks[theirs])
        if mpmath.isnan(finite(values[i])):
            if strict and not kink:
                case.refuted, case.reason = at, "it has no finite real value where the function has one"
        elif differ(i, j, case.digits):
            case.refuted = None if kink else at
        else:
            case.compared += 1
            if not kink:
                case.cells.setdefault((smooth[ours], smooth[theirs]), False)


# ---- by algebra ----------------------------------------------------------------------------------------------------


def prove(cases: list[Case], way: Callable[[sympy.Expr], bool], end: float, seconds: float) -> None:
    """Try to show that the differences are zero, the short ones first, each with its share of the time that is left."""
    todo = [case for case in cases if case.refuted is None and case.cells and not case.proved]
    for n, case in enumerate(sorted(todo, key=lambda case: max(map(size, case.cells)))):
        left = end - time.monotonic()
        case.reason = f"the difference was not simplified within the limit of {seconds:g} s"
        if left <= 0:
            continue
        try:
            with time_limit(left / (len(todo) - n) ** 0.5):
                for cell in [cell for cell, done in case.cells.items() if not done][:MOST_CELLS]:
                    case.cells[cell] = cell[0] == cell[1] or shows(way, cell[0] - cell[1])
                    if not case.cells[cell]:
                        break
                case.reason = ""
        except OutOfTime:
            pass


def size(cell: tuple[sympy.Expr, sympy.Expr]) -> int:
    """About how large two formulas are: their distinct parts."""
    return len(Tape(cell).steps)
