"""A function and a gradient of it as formulas, side by side with the gradient that SymPy derives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy

from ..autodiff import below
from ..symbolic import SymbolicArray, symbolic_array, symbols
from ..symbolic.array import deciding
from ..tensor import Tensor
from .cells import on_kink
from .problem import Problem, Values, draw, example
from .prove import OutOfTime, Point, evaluate, time_limit

LARGEST = 3000  # operations in a formula that is still worth writing
PATHS = 6  # ways through a function's `if`s that are looked for


class Unreadable(Exception):
    """A function that has no reading on symbols, and why."""


@dataclass
class Reading:
    """The formulas, valid where each `if` of the function goes as it did at one point: the `path`."""

    problem: Problem
    values: Values  # arrays of symbols for the floating point inputs
    weights: list[Any]  # of symbols, for the outputs
    directions: list[Any]  # of symbols, for the second order
    total: sympy.Expr  # what is differentiated
    theirs: Values  # SymPy's gradient of it, by leaf
    found: Values | None  # the gradient in question, or None where it has no reading
    why: str  # it has none
    path: list[tuple[Any, bool]]

    @property
    def places(self) -> dict[sympy.Symbol, tuple[int, tuple[int, ...]]]:
        """The leaf and the index of each symbol that is differentiated by."""
        return {
            self.values[i].view(np.ndarray)[index]: (i, index)
            for i in self.problem.active
            for index in np.ndindex(self.values[i].shape)
        }

    @property
    def symbols(self) -> list[sympy.Symbol]:
        return list(self.places)

    def point(self, sample: Sample) -> Point:
        """The sample's numbers, by symbol."""
        pairs = zip([*self.values, *self.weights, *self.directions], sample.arrays, strict=True)
        return {
            s: sympy.Rational(*float(x).as_integer_ratio())
            for symbol, numbers in pairs
            if isinstance(symbol, SymbolicArray)
            for s, x in zip(symbol.ravel().tolist(), np.ravel(numbers).tolist(), strict=True)
        }

    def holds(self, at: Point) -> bool:
        """Whether this is the path that the function takes at the point."""
        return all(bool(relation.xreplace(at)) == outcome for relation, outcome in self.path)

    def gradient(self, sample: Sample) -> Values | None:
        """SymPy's gradient at a sample, in floats; None on a kink, and where it or the function is not real."""
        at = self.point(sample)
        exprs = [self.total, *(e for array in self.theirs if array is not None for e in array.ravel().tolist())]
        if on_kink(exprs, at):
            return None
        value, *numbers = evaluate(exprs, at)
        rounded = np.array([float(x) for x in (value, *numbers)])
        if not np.isfinite(rounded).all():
            return None
        rest = iter(rounded[1:])
        return [None if a is None else np.array([next(rest) for _ in range(a.size)]).reshape(a.shape)
                for a in self.theirs]  # fmt: skip

    def sample(self, at: Point) -> Sample:
        """The numbers of a point, in the form of the inputs."""

        def numbers(x: Any, dtype: Any = float) -> np.ndarray:
            return np.array([float(at[s]) for s in x.ravel().tolist()], dtype).reshape(x.shape)

        values = [
            numbers(x, leaf.value.dtype) if leaf.is_float else x
            for x, leaf in zip(self.values, self.problem.leaves, strict=True)
        ]
        return Sample(values, list(map(numbers, self.weights)), list(map(numbers, self.directions)))


@dataclass
class Sample:
    """Numbers for a reading: the inputs, the weights of the outputs, and the directions of the second order."""

    values: Values
    weights: list[np.ndarray]
    directions: list[np.ndarray]

    @property
    def arrays(self) -> list[Any]:
        return [*self.values, *self.weights, *self.directions]


def samples(problem: Problem, order: int, seed: int) -> Iterator[Sample]:
    """The example, and then other points without end."""
    rng = np.random.default_rng(seed)
    for n in range(1_000_000):
        values = problem.values if n == 0 else draw(problem, rng, n % 3)
        weights = problem.weights if n == 0 else [example(rng, w.shape) for w in problem.weights]
        directions = [example(rng, problem.leaves[i].value.shape) for i in problem.active] if order == 2 else []
        yield Sample(values, weights, directions)


def readings(problem: Problem, candidate: Any, seconds: float) -> list[Reading]:
    """The formulas on every path that a few points lead through: one, unless the function branches in Python."""
    found: list[Reading] = []
    points = samples(problem, candidate.order, problem.seed)
    for sample in (next(points) for _ in range(PATHS)):
        if not any(reading.holds(reading.point(sample)) for reading in found):
            try:
                found.append(read(problem, candidate, sample, seconds))
            except Unreadable:
                if not found:
                    raise
    return found


def read(problem: Problem, candidate: Any, sample: Sample, seconds: float) -> Reading:
    """The formulas on the path through a sample. Raises Unreadable."""
    size = formula_size(problem)
    if size > LARGEST:
        raise Unreadable(f"its formula would have some {size} operations")
    taken = {leaf.name for leaf in problem.leaves}
    values = [symbols(leaf.name, leaf.value.shape)._data if leaf.is_float else leaf.value for leaf in problem.leaves]
    g = next(name for name in ("g", "gy", "g_y") if name not in taken)
    weights = [symbols(f"{g}{k}" if k else g, w.shape)._data for k, w in enumerate(problem.weights)]
    v = [symbols(f"v_{problem.leaves[i].name}", problem.leaves[i].value.shape)._data for i in problem.active]
    symbolic = problem.weighted(weights)
    directions = v if candidate.order == 2 else []
    reading = Reading(problem, values, weights, directions, sympy.S.Zero, [], None, "", [])
    try:
        with time_limit(seconds), deciding(reading.point(sample)) as reading.path:
            total = formula(symbolic, values)
            reading.theirs = differentiate(total, problem, values)
            if directions:
                along = [np.sum(reading.theirs[i] * d) for i, d in zip(problem.active, v, strict=True)]
                total = sum(along, sympy.S.Zero)
                reading.theirs = differentiate(total, problem, values)
            reading.total = total
            try:
                reading.found = candidate(symbolic, values, directions)
            except Exception as error:
                reading.why = said(error)
    except OutOfTime:
        raise Unreadable(f"writing its formula takes longer than {seconds:g} s") from None
    except RecursionError:
        raise Unreadable("its formula is nested too deeply") from None
    except Exception as error:
        raise Unreadable(said(error)) from error
    return reading


def formula(problem: Problem, values: Values) -> sympy.Expr:
    """The function's result on symbols, as one expression."""
    try:
        y = problem.scalar(problem.tensors(values))
    except Exception as error:
        try:  # code that writes into its arrays runs on arrays of symbols, and not on tensors
            y = problem.scalar([v.copy() if isinstance(v, np.ndarray) else v for v in values])
        except Exception:
            raise error from None
    return symbolic_array(y._data if isinstance(y, Tensor) else y).item()


def differentiate(total: sympy.Expr, problem: Problem, values: Values) -> Values:
    """SymPy's derivatives of an expression by the symbols of each active leaf."""
    found: Values = []
    for leaf, array in zip(problem.leaves, values, strict=True):
        slopes = None
        if leaf.active:
            bare, slopes = array.view(np.ndarray), np.empty(array.shape, object)
            for index in np.ndindex(array.shape):
                slopes[index] = sympy.diff(total, bare[index])
        found.append(slopes)
    return found


def formula_size(problem: Problem) -> int:
    """About how many operations the formula of the result has, written out, from a run on numbers."""
    outputs = problem.run(problem.tensors(problem.values))
    total = 0
    for y in outputs:
        if not isinstance(y, Tensor):
            return 0
        sizes: dict[Tensor, float] = {}
        for t in reversed(below(y)):
            inputs = [x for x in t._inputs if isinstance(x, Tensor)]
            sizes[t] = 1 + sum(elements_read(t, x) * sizes.get(x, 1) for x in inputs) if t._op is not None else 1
        total += int(min(sizes[y] * y.size, 1e15))
    return total


def elements_read(t: Tensor, x: Tensor) -> float:
    """How many elements of its input x one element of a result is made of."""
    if t._op.name in ("matmul", "linear", "einsum", "vdot"):
        return x.shape[-1] if x.ndim else 1
    if t._op.name in ("softmax", "log_softmax"):
        return x.shape[t._params["axis"]]
    return max(1.0, x.size / max(1, t.size))


def said(error: Exception) -> str:
    """The first line of an error, to be quoted."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:160]
