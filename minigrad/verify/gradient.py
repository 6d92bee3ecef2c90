"""Is a gradient right? `gradient` asks it of ours, `claim` of one that somebody wrote by hand.

The function runs on symbols, which gives its formula; SymPy differentiates that, knowing nothing of the gradient in
question; the gradient runs on the same symbols; and the difference must simplify to zero. Then both run on numbers,
since those are what is used in the end. What symbols cannot carry is checked by numbers alone (`numeric.py`).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..autodiff import below
from ..names import known
from ..primitives import RuleError
from ..tensor import Tensor, plain
from . import numeric, slopes
from .candidates import Backpropagation, Claim
from .diagnose import Diagnosis, diagnose
from .examine import examined, misbehaviour, refused_rule
from .kinks import beside, kinks_at, points_on
from .problem import Problem, Values, copies, foreign_ops, problem, smaller
from .prove import AGREES, REFUTED, UNDECIDED, Judgement, Point, Sampler, evaluate, judge_all
from .reading import Reading, Sample, Unreadable, readings, samples
from .report import WORST_FIRST, Counterexample, Entry, Report
from .rules import rules
from .suspect import Case

METHODS = ("auto", "symbols", "numbers")
POINTS = 12  # where formulas are compared to 50 digits
RUNS = 4  # of the functions, on numbers
# How far a gradient computed in floats may be from the right one, relative to its largest element, by bytes a number.
SECOND_ORDER = (
    "The gradient is right, and the gradient of the gradient is not: a rule leaves the graph (by .data, .numpy() or "
    "float) or takes for constant what depends on the inputs. Rules in operators and ops can be differentiated again."
)
ROUNDING = {2: 2e-2, 4: 2e-5, 8: 1e-9, 16: 1e-9}


def gradient(
    f: Callable, *inputs: Any, argnums: Any = None, order: int = 1, method: str = "auto", seconds: float = 20.0,
    seed: int = 0,
) -> Report:  # fmt: skip
    """Check the gradient that backpropagation gives of `f`, written in minigrad's or NumPy's functions.

    The inputs are examples (arrays, tensors, floats, networks, or nests of these) or shapes (tuples of integers); f
    returns a tensor, or a nest of tensors, of which every element is looked at. `argnums` are the arguments to
    differentiate by (all of floating point numbers, for None); `order=2` looks at the second derivative too. `method`
    is "symbols", "numbers" or "auto": symbols, and numbers where the formula would be too large. A proof that takes
    longer than `seconds` is given up, and what was compared to 50 digits until then "agrees".

    Returns a Report. Raises TypeError or ValueError for a function that cannot be checked: one that changes its inputs,
    that depends on random numbers, that returns integers, nan or no tensor.

    >>> import minigrad as mg
    >>> report = mg.verify.gradient(lambda w, x: mg.tanh(x @ w).sum(), (3,), (2, 3))
    >>> report.verdict
    'proved'
    """
    if order not in (1, 2):
        raise ValueError(f"verify.gradient: order={order!r}; 1 is the gradient, 2 the second derivative too")
    given = problem("verify.gradient", f, inputs, argnums, seed)
    report = verified(given, Backpropagation(), method, seconds)
    if order == 2 and report.ok:
        second = verified(given, Backpropagation(order=2), method, seconds)
        if second.verdict == REFUTED:
            second.diagnoses.insert(0, Diagnosis("second-order", SECOND_ORDER))
            hinted(second, SECOND_ORDER)
        for entry in second.entries:
            entry.name += ", second order"
        report.entries += second.entries
        report.diagnoses += second.diagnoses
        report.hint = "\n".join(dict.fromkeys([*report.hint.splitlines(), *second.hint.splitlines()]))
    return report


def claim(
    f: Callable, claimed_grad: Any, *inputs: Any, argnums: Any = None, method: str = "auto", seconds: float = 20.0,
    seed: int = 0,
) -> Report:  # fmt: skip
    """Check a gradient of the loss `f` that was written by hand, and say what is wrong with it.

    `claimed_grad` is a function of the same inputs that returns one array for each input that is differentiated by (an
    array if it is one, a tuple, or a dict by the inputs' names; None for an input without a claim); or these arrays
    themselves, computed at the example inputs. It may be NumPy code, or call another library: it is run on symbols
    where it can be, else on numbers. The rest is as for `mg.verify.gradient`.

    >>> import minigrad as mg
    >>> def loss(w, x, y):
    ...     return np.mean((x @ w - y) ** 2)
    >>> def by_hand(w, x, y):
    ...     return x.T @ (x @ w - y) / len(y)
    >>> report = mg.verify.claim(loss, by_hand, (3,), (4, 3), (4,), argnums=0)
    >>> report.verdict, report.diagnoses[0].kind
    ('refuted', 'factor')
    """
    given = problem("verify.claim", f, inputs, argnums, seed)
    return verified(given, Claim(claimed_grad), method, seconds)


def verified(given: Problem, candidate: Backpropagation | Claim, method: str, seconds: float) -> Report:
    """The report on a gradient of a problem."""
    known(f"{given.what}: method", method, METHODS)
    if not (isinstance(seconds, int | float) and seconds > 0):
        raise ValueError(f"{given.what}: seconds={seconds!r}; a positive number of seconds is wanted")
    given = examined(given, claimed=isinstance(candidate, Claim))
    if found := misbehaviour(given, candidate) if isinstance(candidate, Claim) else refused_rule(given, candidate):
        return found
    reasons: list[str] = []
    for small in sizes(given) if method != "numbers" and not given_arrays(candidate) else ():
        try:
            report = by_symbols(small, candidate, seconds)
        except Unreadable as error:
            reasons.append(str(error))
            continue
        if small is given:
            return report
        as_given = by_numbers(given, candidate, [], seconds)
        if as_given.verdict == REFUTED and report.verdict != REFUTED:
            return hinted(as_given, "In smaller shapes it is right.")
        if report.verdict != REFUTED or as_given.verdict == REFUTED:
            shapes = ", ".join(f"{leaf.name} {leaf.value.shape}" for leaf in small.leaves if leaf.is_float)
            how = "was compared by numbers" if as_given.ok else "could not be compared by numbers"
            return hinted(report, f"The formulas are at smaller shapes, {shapes}; what was given {how}.")
        reasons.append("in smaller shapes it is another function")
    if method == "symbols":
        return undecided(given, candidate, reasons)
    return by_numbers(given, candidate, reasons, seconds)


def given_arrays(candidate: Any) -> bool:
    """Whether a claim is arrays, so that it can be looked at in one point only."""
    return isinstance(candidate, Claim) and not callable(candidate.claimed)


def sizes(given: Problem) -> Iterator[Problem]:
    """The problem itself, and the problem in smaller shapes."""
    yield given
    yield from smaller(given)


# ---- by symbols ----------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """A gradient computed on numbers, and the right one there."""

    sample: Sample
    found: Values
    right: Values

    def error(self, leaf: int) -> float:
        """How far off the gradient by a leaf is, relative to its largest element, in units of what rounding excuses."""
        found, right = self.found[leaf], self.right[leaf]
        if found.shape != right.shape:
            return np.inf
        if not right.size:
            return 0.0
        scale = np.abs(right).max() or 1.0
        error = np.abs(found - right).max() / scale / ROUNDING[found.dtype.itemsize]
        return float(error) if np.isfinite(error) else np.inf

    def worst(self, leaf: int) -> tuple[int, ...]:
        """The element that is furthest off."""
        found, right = self.found[leaf], self.right[leaf]
        if found.shape != right.shape:
            return ()
        off = np.abs(found - right)
        return tuple(int(i) for i in np.unravel_index(np.argmax(np.where(np.isnan(off), np.inf, off)), off.shape))


def by_symbols(given: Problem, candidate: Any, seconds: float) -> Report:
    """The report from formulas, and from runs on numbers compared with them. Raises Unreadable without formulas."""
    formulas = readings(given, candidate, seconds)
    runs = runs_of(given, candidate, formulas)
    if not runs:
        raise Unreadable("no point was found where the function and its gradient are real and finite")
    judged = [judgements(reading, seconds / len(formulas)) for reading in formulas]
    leaves = [i for i in given.active if runs[0].found[i] is not None]
    report = Report([entry(given, candidate, formulas, judged, runs, i) for i in leaves], columns=columns(candidate))
    if report.ok and candidate.order == 1:
        on_kinks(report, given, candidate, formulas, seconds / 2)
    if len(formulas) > 1:
        hinted(report, f"The function branches in Python; {len(formulas)} ways through it were looked at.")
    return diagnosed(report, given, candidate, runs)


def columns(candidate: Any) -> dict[str, str]:
    return {"input": "name", "shape": "", candidate.title: "ours", "SymPy's gradient": "right", "verdict": "verdict"}


def runs_of(given: Problem, candidate: Any, formulas: list[Reading]) -> list[Run]:
    """Runs of the gradient on numbers, at points where the formulas are real and finite."""
    runs = []
    for sample in itertools.islice(samples(given, candidate.order, given.seed), 100):
        at = formulas[0].point(sample)
        reading = next((r for r in formulas if r.holds(at)), None)
        right = reading.gradient(sample) if reading else None
        if right is not None:
            runs.append(Run(sample, computed(given, candidate, sample), right))
        if len(runs) == RUNS:
            break
    return runs


def computed(given: Problem, candidate: Any, sample: Sample) -> Values:
    """The gradient in question on the numbers of a sample."""
    return candidate(given.weighted(sample.weights), sample.values, sample.directions)


def judgements(reading: Reading, seconds: float) -> dict[int, list[tuple[tuple[int, ...], Judgement]]]:
    """The verdict on every element of the gradient's formula, by leaf."""
    where, pairs = [], []
    for i in reading.problem.active:
        found, theirs = reading.found[i] if reading.found else None, reading.theirs[i]
        if found is not None and found.shape == theirs.shape:
            for index in np.ndindex(theirs.shape):
                where.append((i, index))
                pairs.append((found[index], theirs[index]))

    anywhere = sampler(reading)
    sides = beside([ours for ours, _ in pairs], reading.symbols, anywhere)
    sides = [at for at in sides if reading.holds(at)]

    def sample(rng: random.Random) -> Point:
        return sides.pop() if sides else anywhere(rng)

    verdicts: dict[int, list] = {}
    for (i, index), judgement in zip(where, judge_all(pairs, sample, POINTS, seconds, [reading.total]), strict=True):
        verdicts.setdefault(i, []).append((index, judgement))
    return verdicts


def entry(
    given: Problem, candidate: Any, formulas: list[Reading], judged: list[dict], runs: list[Run], leaf: int
) -> Entry:
    """The verdict on the gradient by one leaf: that on its formulas, unless runs on numbers speak against it."""
    found = [(reading, *one) for reading, by_leaf in zip(formulas, judged) for one in by_leaf.get(leaf, [])]  # noqa: B905
    wrong = decidedly_wrong(runs, leaf)
    shape = {"shape": str(given.leaves[leaf].value.shape)}
    if not found:
        index = wrong.worst(leaf) if wrong else first_nonzero(formulas[0].theirs[leaf])
        right = text(formulas[0].theirs[leaf], index)
        new = Entry(given.leaves[leaf].name, REFUTED if wrong else AGREES, right=right, extra=shape)
        if not wrong:
            new.note = f"compared in {len(runs)} points, to 9 digits, as it has no formula: {formulas[0].why}"
    else:
        reading, index, judgement = min(
            found, key=lambda f: (WORST_FIRST.index(f[2].verdict), f[0].theirs[leaf][f[1]] == 0)
        )
        new = Entry(given.leaves[leaf].name, judgement.verdict, extra=shape, note=judgement.reason)
        if judgement.verdict == REFUTED:
            run = run_at(given, candidate, reading, judgement.at)
            if run and (run.error(leaf) > 1 or not wrong and nearly_equal(reading, leaf, index, judgement.at)):
                wrong = run
            elif wrong is None:
                new.verdict, new.note = UNDECIDED, "run on symbols it is wrong, and on numbers it is right"
        elif wrong:
            new.verdict, new.note = REFUTED, "its formula is right, and what it computes on numbers is not"
        if wrong:
            index = wrong.worst(leaf)
        new.ours, new.right = text(reading.found[leaf], index), text(reading.theirs[leaf], index)
    if wrong:
        new.counterexample = counterexample(given, candidate, wrong, leaf, index)
    return new


def sampler(reading: Reading) -> Sampler:
    """A function that draws points on the path of a reading."""
    stream = samples(reading.problem, 2 if reading.directions else 1, reading.problem.seed + 1)

    def sample(_: random.Random) -> Point:
        points = (reading.point(next(stream)) for _ in range(200))
        at = next(points)
        return next((other for other in points if reading.holds(other)), at)

    return sample


def on_kinks(report: Report, given: Problem, candidate: Any, formulas: list[Reading], seconds: float) -> None:
    """Judge a gradient that is right elsewhere on kinks of the function, and at the example if that lies on one."""
    entries = {entry.name: entry for entry in report.entries}
    for reading in formulas:
        example = reading.point(next(samples(given, 1, given.seed)))
        odd = reading.gradient(next(samples(given, 1, given.seed))) is None  # on a kink, or without a finite slope
        places = [("the example", example)] if odd else []
        places += points_on(reading.total, reading.symbols, sampler(reading), seconds)
        for where, at in places:
            if not reading.holds(at):
                continue
            sample = reading.sample(at)
            run = Run(sample, computed(given, candidate, sample), [])
            places_of = reading.places.items()
            claimed = {s: float(run.found[i][index]) for s, (i, index) in places_of if run.found[i] is not None}
            for kink in kinks_at(reading.total, claimed, at, where):
                leaf, index = reading.places[kink.symbol]
                entry = entries[given.leaves[leaf].name]
                if kink.verdict == REFUTED and entry.verdict != REFUTED:
                    entry.verdict = REFUTED
                    why = f"The gradient by {entry.name} is right, except on a kink: {kink.text}."
                    report.diagnoses.append(Diagnosis("kink", why, entry.name))
                    nearest = min(kink.left, kink.right, key=lambda slope: abs(slope - claimed[kink.symbol]))
                    run.right = [None if g is None else np.full(g.shape, float(nearest)) for g in run.found]
                    entry.counterexample = counterexample(given, candidate, run, leaf, index)
                elif entry.verdict != REFUTED and not entry.note:
                    entry.note = kink.text


def decidedly_wrong(runs: list[Run], leaf: int) -> Run | None:
    """A run that is off by more than rounding: by far, or like most of the others."""
    errors = [run.error(leaf) for run in runs]
    if not errors:
        return None
    worst = runs[int(np.argmax(errors))]
    return worst if max(errors) > 1000 or sum(e > 1 for e in errors) > len(runs) / 2 else None


def run_at(given: Problem, candidate: Any, reading: Reading, at: Point) -> Run | None:
    """The run at the point of a refutation."""
    sample = reading.sample(at)
    right = reading.gradient(sample)
    return Run(sample, computed(given, candidate, sample), right) if right is not None else None


def nearly_equal(reading: Reading, leaf: int, index: tuple[int, ...], at: Point) -> bool:
    """Whether two elements differ by so little that floats do not show it."""
    assert reading.found is not None
    ours, right = evaluate([reading.found[leaf][index], reading.theirs[leaf][index]], at)
    return bool(abs(ours - right) <= ROUNDING[8] * (1 + abs(right)))


def text(array: Any, index: tuple[int, ...]) -> str:
    return str(array[index]) if array is not None and array.size else ""


def first_nonzero(array: np.ndarray) -> tuple[int, ...]:
    """The place of the first element that is not zero, to show one that says something."""
    return next((index for index in np.ndindex(array.shape) if array[index] != 0), (0,) * array.ndim)


def counterexample(given: Problem, candidate: Any, run: Run, leaf: int, index: tuple[int, ...]) -> Counterexample:
    found, right = run.found[leaf], run.right[leaf]
    inputs = dict(zip(given.names, given.arguments(run.sample.values), strict=True))
    line = candidate.line(given.weighted(run.sample.weights), run.sample.values, leaf, index, run.sample.directions)
    if found.shape != right.shape:
        return Counterexample(inputs, given.leaves[leaf].name, (), found, right, line)
    return Counterexample(inputs, given.leaves[leaf].name, index, found[index].item(), right[index].item(), line)


# ---- by numbers ----------------------------------------------------------------------------------------------------


def undecided(given: Problem, candidate: Any, reasons: list[str]) -> Report:
    entries = [Entry(given.leaves[i].name, UNDECIDED) for i in given.active]
    return Report(entries, "\n".join(f"No formula: {reason}." for reason in reasons), columns(candidate))


def by_numbers(given: Problem, candidate: Any, reasons: list[str], seconds: float) -> Report:
    """The report from numbers alone: each op's rule by itself, and the whole by difference quotients.

    A claim is compared with our own gradient, once that has been looked at so, if the function is written in ops.
    """
    outputs = given.run(given.tensors(given.values))
    traced = all(isinstance(y, Tensor) and y.requires_grad for y in outputs)
    looked_at = Backpropagation() if isinstance(candidate, Claim) and traced else candidate
    if given_arrays(looked_at):
        raise ValueError(f"{given.what}: for a function without a graph, the claimed gradient has to be a function too")
    results = differences(given, looked_at, traced, seconds)
    found = {i: numeric_entry(given, looked_at, i, result) for i, result in results}
    runs: list[Run] = []
    if looked_at is not candidate:
        runs = compared(given, candidate)
        claimed = [i for i in found if runs and runs[0].found[i] is not None]
        found = {i: compared_entry(given, candidate, runs, i, found[i]) for i in claimed}
    report = Report(list(found.values()), columns=columns(candidate))
    if traced:
        report.entries += op_entries(outputs, seconds)
    if given_arrays(candidate):
        reasons = [*reasons, "the claim is arrays, so it was looked at in one point"]
    hinted(report, *(f"By numbers, since {reason}." for reason in reasons))
    hinted(report, f"The numbers are drawn from seed {given.seed}.")
    return diagnosed(report, given, candidate, runs) if runs else report


def op_entries(outputs: list[Tensor], seconds: float) -> list[Entry]:
    """The verdict on each op that the outputs were computed by; on a user's op, at small shapes like those it met."""
    foreign = foreign_ops(outputs)
    names = dict.fromkeys(t._op.name for y in outputs for t in below(y) if t._op is not None)
    ours = [name for name in names if name not in foreign]
    found = rules(ours, order=1, numbers=False).entries if ours else []
    for t, op in foreign.values():
        inputs = tuple(np.asarray(plain(x)) for x in t._inputs)
        by = [i for i, x in enumerate(t._inputs) if isinstance(x, Tensor) and x.requires_grad]
        alone = problem("verify.gradient", partial(op, **t._params) if t._params else op, inputs, by)
        for small in (alone, *smaller(alone)):
            try:
                checked = by_symbols(small.with_values(small.values), Backpropagation(), seconds)
            except (Unreadable, RuleError):
                continue
            worst = min(checked.entries, key=lambda entry: WORST_FIRST.index(entry.verdict))
            found.append(replace(worst, name=op.name, extra={}))
            break
    return [replace(entry, name=f"op {entry.name}") for entry in found]


def differences(
    given: Problem, candidate: Any, traced: bool, seconds: float
) -> Iterator[tuple[int, numeric.NumericResult]]:
    """What difference quotients say of the gradient by each leaf."""
    directions = next(samples(given, candidate.order, given.seed)).directions

    def f(*values: Any) -> Any:
        if directions:
            first = Backpropagation()(given, list(values))
            return sum(np.sum(first[i] * v) for i, v in zip(given.active, directions, strict=True))
        return given.scalar(given.tensors(values) if traced else values)

    def gradients(*values: Any) -> Values:
        found = candidate(given, list(values), directions)
        return [found[i] for i in given.active]

    found = numeric.check(f, gradients, given.values, given.active, seed=given.seed, seconds=seconds)
    return zip(given.active, found, strict=True)


def numeric_entry(given: Problem, candidate: Any, leaf: int, result: numeric.NumericResult) -> Entry:
    name, shape = given.leaves[leaf].name, {"shape": str(given.leaves[leaf].value.shape)}
    new = Entry(name, result.verdict, note=result.note, extra=shape)
    if result.verdict == REFUTED:
        values, index = list(result.at), result.index
        inputs = dict(zip(given.names, given.arguments(values), strict=True))
        line = "" if index is None else candidate.line(given, values, leaf, index)
        new.counterexample = Counterexample(inputs, name, index or (), result.claimed, result.right, line)
    return new


def compared_entry(given: Problem, candidate: Any, runs: list[Run], leaf: int, ours: Entry) -> Entry:
    """The verdict on a claim beside our own gradient, on which `ours` is the verdict."""
    wrong = decidedly_wrong([run for run in runs if not on_a_kink(given, run, leaf)], leaf)
    if ours.verdict != AGREES:
        return replace(ours, verdict=UNDECIDED, counterexample=None, note=f"our own gradient is {ours.verdict} there")
    if wrong is None:
        return replace(ours, note=f"equal to ours in {len(runs)} points; ours: {ours.note}")
    example = counterexample(given, candidate, wrong, leaf, wrong.worst(leaf))
    return replace(ours, verdict=REFUTED, note="", counterexample=example)


def on_a_kink(given: Problem, run: Run, leaf: int) -> bool:
    """Whether a run differs from ours only on a kink, where it keeps between the slopes from both sides."""
    index = run.worst(leaf)
    if run.error(leaf) <= 1 or run.found[leaf].shape != run.right[leaf].shape or not np.isfinite(run.found[leaf]).all():
        return False

    def phi(h: float) -> Any:
        values = copies(run.sample.values)
        values[leaf][index] += h
        return given.weighted(run.sample.weights).scalar(given.tensors(values))._data

    slope = slopes.derivative(phi)
    slack = ROUNDING[8] * max(abs(slope.left), abs(slope.right), 1e-300)
    low, high = sorted((slope.left, slope.right))
    return slope.kink and bool(low - 1e3 * slack <= run.found[leaf][index] <= high + 1e3 * slack)


def compared(given: Problem, candidate: Any) -> list[Run]:
    """Runs of a claimed gradient beside our own."""
    ours, runs = Backpropagation(), []
    for sample in itertools.islice(samples(given, 1, given.seed), 1 if given_arrays(candidate) else 20):
        with np.errstate(all="ignore"):
            right = computed(given, ours, sample)
        if all(g is None or np.isfinite(g).all() for g in right):
            runs.append(Run(sample, computed(given, candidate, sample), right))
    return runs[:RUNS]


def diagnosed(report: Report, given: Problem, candidate: Any, runs: list[Run]) -> Report:
    """The report, and what is probably wrong where something is."""
    if report.verdict == REFUTED:
        n = len(given.leaves)
        rest: Values = [None] * len(given.weights)  # these are inputs too, by which nothing is claimed

        def f(*values: Any) -> Any:
            return given.weighted(list(values[n:])).scalar(values[:n])

        case = Case(
            f, [*(leaf.name for leaf in given.leaves), *(f"g{k or ''}" for k in range(len(rest)))],
            [[*run.sample.values, *run.sample.weights] for run in runs],
            [run.found + rest for run in runs], [run.right + rest for run in runs],
        )  # fmt: skip
        report.diagnoses += diagnose(case)
        hinted(report, *(d.sentence for d in report.diagnoses))
    return report


def hinted(report: Report, *sentences: str) -> Report:
    report.hint = "\n".join([*report.hint.splitlines(), *sentences])
    return report
