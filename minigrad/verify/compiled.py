"""Is compiled code right? The native reading of a function beside SymPy's reading of the same function.

The function runs on symbols, which gives its formula, and SymPy differentiates that: neither knows what the compiler
made of the function. Both are computed at the same floats, the formula to 50 digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np
import sympy

from ..compiler.function import Native, compile, compiled_by
from ..compiler.trace import Node, Trace
from ..compiler.trust import RUNS, CompiledDiffers, Roundings
from ..symbolic import symbolic_array
from ..transforms import grad
from .cells import on_kink
from .examine import examined
from .gradient import sizes
from .problem import Problem, Values, draw, example, problem
from .prove import AGREES, REFUTED, UNDECIDED, evaluate
from .reading import Reading, Sample, Unreadable, read
from .report import Counterexample, Entry, Report
from .ulp import ulps


def compiled(
    f: Callable, *inputs: Any, gradients: bool = False, argnums: Any = None, points: int = 4, seconds: float = 20.0,
    seed: int = 0,
) -> Report:  # fmt: skip
    """Check what `mg.compile` makes of `f` against SymPy's reading of `f`, and with `gradients` against its derivative.

    The inputs are small examples (arrays, tensors, floats, networks, or nests of these) or shapes; f returns tensors.
    They are compared at the examples and near them, at so many `points`. Each output has a line in the report: its
    formula, how many ulp (of its largest value) the native values are off at most, and how many those of NumPy. Values
    "agree" that are no further off than rounding moves them, which is measured as for the first run of compiled code.
    Gradients are those of a sum of all outputs with random weights, by the arguments `argnums` (all, for None).

    Returns a Report. Raises CaptureError (a TypeError) for a function that cannot be compiled, and TypeError or
    ValueError for one that cannot be checked, as `mg.verify.gradient` does.

    >>> import minigrad as mg
    >>> report = mg.verify.compiled(lambda w, x: mg.tanh(x @ w).sum(), (3,), (2, 3), gradients=True)
    >>> report.verdict, [entry.name for entry in report.entries]
    ('agrees', ['value', 'gradient by w', 'gradient by x'])
    """
    if not isinstance(points, int) or points < 1:
        raise ValueError(f"verify.compiled: points={points!r}; a positive number of points is wanted")
    given = examined(problem("verify.compiled", f, inputs, argnums, seed), claimed=False)
    reasons = []
    for small in sizes(given):
        try:
            reading = read(small, Outputs(), Sample(small.values, weights_of(small, small.seed), []), seconds)
            if reading.found is None:
                raise Unreadable(reading.why)
        except Unreadable as error:
            reasons.append(str(error))
            continue
        report = compared(small, reading, gradients, points)
        if small is not given:
            shapes = ", ".join(f"{leaf.name} {leaf.value.shape}" for leaf in small.leaves if leaf.is_float)
            report.hint = "\n".join([*report.hint.splitlines(), f"This is at smaller shapes, {shapes}."])
        return report
    return Report([Entry("value", UNDECIDED, note=f"no formula: {reasons[0]}")], columns=COLUMNS)


COLUMNS = {"output": "name", "formula": "formula", "native, ulp": "ours", "NumPy, ulp": "right", "verdict": "verdict"}


class Outputs:
    """What is read beside the sum that is differentiated: each output as it is."""

    order = 1

    def __call__(self, problem: Problem, values: Values, directions: Any = ()) -> Values:
        return [symbolic_array(y._data) for y in problem.run(problem.tensors(values))]


def weights_of(given: Problem, seed: Any) -> list[np.ndarray]:
    """New weights for the outputs, where there are any."""
    rng = np.random.default_rng(seed)
    return [example(rng, w.shape) for w in given.weights]


def neighbourhood(given: Problem, points: int) -> Iterator[Sample]:
    """The example, and other points near it."""
    rng = np.random.default_rng(given.seed)
    for i in range(points):
        yield Sample(given.values if i == 0 else draw(given, rng, 0), weights_of(given, [given.seed, i]), [])


# ---- the native reading ----------------------------------------------------------------------------------------------


class Unchecked(Native):
    """Native code that nobody compares with NumPy's first: SymPy is to judge it."""

    def __init__(self, trace: Trace, inputs: Sequence[Node], outputs: Sequence[Node]) -> None:
        super().__init__(trace, inputs, outputs)
        self.code.settle()
        self.first = False


class Bounds:
    """In place of each result: how far rounding may move it."""

    def __init__(self, trace: Trace, inputs: Sequence[Node], outputs: Sequence[Node]) -> None:
        bounds = Roundings(trace, RUNS).bounds
        self.bounds = [
            np.full(node.shape, bounds.get(node, 0.0)) if node.dtype.kind == "f" else node.value for node in outputs
        ]  # conditions that have to hold are among the outputs

    def __call__(self, arrays: Sequence[Any]) -> list[np.ndarray]:
        return self.bounds


def results(given: Problem, gradients: bool) -> Callable[[Values, list[np.ndarray]], tuple]:
    """A function of values and weights: the outputs, and the gradients of their weighted sum."""

    def both(values: Values, weights: list[np.ndarray]) -> tuple:
        def total(*by: Any) -> Any:
            moved = dict(zip(given.active, by, strict=True))
            return given.weighted(weights).scalar([moved.get(i, x) for i, x in enumerate(values)])

        by = [values[i] for i in given.active]
        return tuple(given.run(values)), grad(total, tuple(range(len(by))))(*by) if gradients else ()

    return both


# ---- beside SymPy's --------------------------------------------------------------------------------------------------


class Wrong(Counterexample):
    """Where a value or a gradient is wrong."""

    def __str__(self) -> str:
        return super().__str__().replace("the gradient by ", "", 1)


@dataclass
class Compared:
    """One output: its formulas, and how far off it was, in ulp of its largest value."""

    name: str
    formulas: list[sympy.Expr]
    native: float = -1.0  # the largest errors; nothing was compared so far
    numpy: float = -1.0
    excess: float = 1.0  # the largest error at the first point where values are wrong: see `off`
    wrong: Wrong | None = None
    blame: set[bool] = field(default_factory=set)  # whether NumPy's values are wrong, too, where the native ones are

    def add(self, ours: np.ndarray, eager: np.ndarray, bound: np.ndarray, right: list[Any], at: dict[str, Any]) -> None:
        """Note the errors at one point."""
        numbers = [array.ravel().tolist() for array in (ours, eager, bound)]
        scale = max([abs(true) for true in right if true is not None and mpmath.isfinite(true)], default=0)
        for index, x, y, allowed, true in zip(np.ndindex(ours.shape), *numbers, right, strict=True):
            if true is None or not mpmath.isfinite(true):
                continue
            self.native = max(self.native, ulps(x, true, ours.dtype, scale))
            self.numpy = max(self.numpy, ulps(y, true, eager.dtype, scale))
            excess, of_numpy = (off(z, true, allowed, ours.dtype) for z in (x, y))
            if excess > 1:
                self.blame.add(of_numpy > 1)
            if excess > self.excess and (self.wrong is None or self.wrong.inputs is at):
                self.excess = excess
                self.wrong = Wrong(at, f"the {self.name}", index, x, float(true))

    def entry(self) -> Entry:
        if self.native < 0:
            return Entry(self.name, UNDECIDED, str(self.formulas[0]), note="it was finite and smooth at no point")
        native, numpy = (f"{x:.2g}" for x in (self.native, self.numpy))
        verdict = REFUTED if self.wrong else AGREES
        formula = str(self.formulas[0]) + (", ..." if len(self.formulas) > 1 else "")
        return Entry(self.name, verdict, formula, native, numpy, counterexample=self.wrong)


def off(x: float, true: Any, allowed: float, dtype: np.dtype) -> float:
    """How far off a value is, in units of what rounding excuses; the spacing of floats at the true value, at least."""
    with np.errstate(over="ignore"):
        rounded = dtype.type(float(true))
    if x == rounded:
        return 0.0
    error = float(abs(mpmath.mpf(x) - true)) / max(allowed, float(np.spacing(abs(rounded))))
    return np.inf if np.isnan(error) else error


def compared(given: Problem, reading: Reading, gradients: bool, points: int) -> Report:
    """The report on the native code of a problem that has a formula."""
    found = [array.ravel().tolist() for array in reading.found or ()]
    slopes = [reading.theirs[i].ravel().tolist() for i in given.active] if gradients else []
    names = ["value"] if len(found) == 1 else [f"value {i}" for i in range(len(found))]
    legs = [Compared(name, formulas) for name, formulas in zip(names, found, strict=True) if formulas]
    by = [given.leaves[i].name for i in given.active] if gradients else []
    legs += [Compared(f"gradient by {name}", formulas) for name, formulas in zip(by, slopes, strict=True) if formulas]
    f = results(given, gradients)
    native = compiled_by(Unchecked, f)
    hint = ""
    for sample in neighbourhood(given, points):
        at = reading.point(sample)
        if not reading.holds(at):
            continue
        values = given.tensors(sample.values)
        runs = [flat(run(values, sample.weights)) for run in (native, f, compiled_by(Bounds, f))]
        smooth = not gradients or not on_kink([reading.total, *sum(slopes, [])], at)
        names_of = dict(zip(given.names, given.arguments(sample.values), strict=True))
        for i, (leg, ours, eager, bound) in enumerate(zip(legs, *runs, strict=True)):
            if i < len(found) or smooth:
                leg.add(ours, eager, bound, evaluate(leg.formulas, at), names_of)
        if not hint and any(leg.wrong for leg in legs):
            hint = named(f, values, sample)
    blamed = set().union(*(leg.blame for leg in legs))
    if blamed == {True}:
        hint = "NumPy's values are as wrong: it is not the compiler, but the function or an op, see mg.verify.rules"
    return Report([leg.entry() for leg in legs], hint, COLUMNS)


def flat(nest: tuple) -> list[np.ndarray]:
    """The arrays of all results that have elements."""
    return [x for x in (np.asarray(t._data) for part in nest for t in part) if x.size]


def named(f: Callable, values: Values, sample: Sample) -> str:
    """What the first run of compiled code says: the op that is wrong."""
    try:
        compile(f)(values, sample.weights)
    except CompiledDiffers as error:
        return str(error)
    return "No op is further from NumPy's than rounding: the first run of compiled code would not have noticed."
