"""Backpropagation with one rule altered, as somebody may have done it by hand.

Each row of `TWISTS` is a mistake that is made at one step back through the graph: the slope is left out, the path is
forgotten, the output is used where the input is meant. The walk is repeated with the mistake made at one
result, or at all results of one op; where it gives the gradient that was claimed, the mistake is found.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ..autodiff import below, unbroadcast, walk
from ..ops.reduce import count, spread
from ..tensor import PLAIN, Tensor, _ModeContext, recording

Place = tuple[int, int]  # which result in the order of the walk, and which of its inputs
WORK = 10_000  # steps back through a graph, after which the search ends
SIGN = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@", "power": "**"}
SLOPES = {  # of what students meet, for sentences
    "tanh": "1 - tanh(z)^2", "sigmoid": "s (1 - s), s the sigmoid", "relu": "1 where z > 0 and 0 elsewhere",
    "exp": "exp(z)", "log": "1 / z", "square": "2 z", "sqrt": "1 / (2 sqrt(z))", "sin": "cos(z)", "cos": "-sin(z)",
    "abs": "sign(z)", "multiply": "the other factor", "divide": "1 / the denominator", "power": "n z^(n - 1)",
    "negative": "-1", "reciprocal": "-1 / z^2", "softplus": "sigmoid(z)",
    "max": "1 for the largest and 0 elsewhere", "min": "1 for the smallest and 0 elsewhere",
    "maximum": "1 where it is the larger one and 0 elsewhere", "minimum": "1 where it is the smaller and 0 elsewhere",
    "clip": "1 between the bounds and 0 outside", "leaky_relu": "the slope of the side", "mean": "1 / n",
}  # fmt: skip


@dataclass
class Step:
    """One step of backpropagation: the gradient g of the result y, on its way to one of the inputs of y."""

    op: Any
    rule: Callable
    i: int  # which input
    g: Any
    y: Any
    xs: tuple
    params: dict[str, Any]

    @property
    def x(self) -> Any:
        return self.xs[self.i]

    def gradient(self, g: Any = None, y: Any = None, xs: Any = None, **params: Any) -> Any:
        """What the rule gives; with other values in their places."""
        g, y, xs = (new if new is not None else old for new, old in ((g, self.g), (y, self.y), (xs, self.xs)))
        return self.rule(g, y, *xs, **{**self.params, **params})

    def with_x(self, x: Any) -> tuple:
        """The inputs with another value in the place of this one."""
        return (*self.xs[: self.i], x, *self.xs[self.i + 1 :])

    @property
    def unary(self) -> bool:
        return self.op.domain is not None and self.op.arity == 1

    @property
    def elementwise(self) -> bool:
        return self.op.domain is not None

    def is_a(self, *names: str) -> bool:
        return self.op.name in names


Twisted = Callable[[Step], Any]  # the gradient as it is by mistake; None where the mistake cannot be made


class Twist(NamedTuple):
    kind: str
    sentence: str  # {d} the gradient, {op} the op, {x} the value that the step leads to, {slope} the right factor
    rule: Twisted


# ---- mistakes ------------------------------------------------------------------------------------------------------


def through(s: Step) -> Any:
    """The slope is left out."""
    if s.elementwise or s.is_a("softmax", "log_softmax"):
        return s.g
    return spread(s.g, s.x, **s.params) if s.is_a("max", "min", "prod", "logsumexp") else None


def summed(s: Step) -> Any:
    return s.gradient() * count(s.x, s.params["axis"]) if s.is_a("mean") else None


def averaged(s: Step) -> Any:
    return s.gradient() / count(s.x, s.params["axis"]) if s.is_a("sum") else None


def twice(s: Step) -> Any:
    return s.gradient(g=s.gradient()) if s.unary else None


def output_as_input(s: Step) -> Any:
    return s.gradient(xs=s.with_x(s.y)) if s.unary or s.is_a("logsumexp", "log_softmax", "softmax") else None


def input_as_output(s: Step) -> Any:
    return s.gradient(y=s.x) if s.unary or s.is_a("log_softmax", "softmax") else None


def operands_exchanged(s: Step) -> Any:
    same = s.op.arity == 2 and np.shape(s.xs[0]) == np.shape(s.xs[1])
    return s.gradient(xs=s.xs[::-1]) if same and s.is_a("multiply", "divide", "matmul", "power") else None


def value_as_slope(s: Step) -> Any:
    return s.g * s.y if s.unary else None


def input_as_slope(s: Step) -> Any:
    return s.g * s.x if s.unary else None


def slope_of_tanh(s: Step) -> Any:
    return s.g * (1 - s.y**2) if s.is_a("sigmoid", "relu") else None


def slope_of_sigmoid(s: Step) -> Any:
    return s.g * s.y * (1 - s.y) if s.is_a("tanh", "relu", "softmax") else None


def unsquared(s: Step) -> Any:
    return s.g * (1 - s.y) if s.is_a("tanh", "sigmoid") else None


def other_side(s: Step) -> Any:
    """The slope at -x."""
    if not s.is_a("relu", "leaky_relu", "elu", "abs", "softplus", "silu", "gelu"):
        return None
    return s.gradient(y=s.op.forward(-s.x, **s.params), xs=s.with_x(-s.x))


def by_sign(of: Twisted, positive: bool) -> Twisted:
    """The mistake is made only where the input of the op is positive, or only where it is negative."""

    def twisted(s: Step) -> Any:
        return np.where((s.x > 0) == positive, of(s), s.gradient()) if s.unary else None

    return twisted


def diagonal(s: Step) -> Any:
    p = s.y if s.is_a("softmax") else np.exp(s.y)
    return s.g * (p * (1 - p) if s.is_a("softmax") else 1 - p) if s.is_a("softmax", "log_softmax") else None


def no_sum(s: Step) -> Any:
    return s.g * s.y if s.is_a("softmax") else None


def other_axis(s: Step) -> Any:
    axis, n = s.params.get("axis"), np.ndim(s.x)
    if not isinstance(axis, int) or n != 2:
        return None
    return s.gradient(axis=(axis + 1) % 2)


def same_direction(s: Step) -> Any:
    return np.cumsum(s.g, axis=s.params["axis"]).reshape(s.x.shape) if s.is_a("cumsum") else None


def not_transposed(s: Step) -> Any:
    """The other operand as it was in the forward pass."""
    if not s.is_a("matmul") or np.ndim(s.xs[0]) < 2 or np.ndim(s.xs[1]) < 2:
        return None
    return s.g @ s.xs[1] if s.i == 0 else s.xs[0] @ s.g


def result_transposed(s: Step) -> Any:
    return np.swapaxes(s.gradient(), -1, -2) if s.is_a("matmul") and np.ndim(s.x) > 1 else None


def transpose_kept(s: Step) -> Any:
    return s.g if s.is_a("transpose") else None


def reshaped_by_columns(s: Step) -> Any:
    return s.g.reshape(s.x.shape, order="F") if s.is_a("reshape") else None


def assigned(s: Step) -> Any:
    """Where an index repeats, the last one wins."""
    if not s.is_a("getitem"):
        return None
    y = np.zeros_like(s.x)
    y[s.params["key"]] = s.g
    return y


def exponent_kept(s: Step) -> Any:
    return s.g * s.xs[1] * s.y if s.is_a("power") and s.i == 0 else None


def exponent_lost(s: Step) -> Any:
    return s.g * s.xs[0] ** (s.xs[1] - 1) if s.is_a("power") and s.i == 0 else None


def denominator_not_squared(s: Step) -> Any:
    return -s.g * s.xs[0] / s.xs[1] if s.is_a("divide") and s.i == 1 else None


def denominator_alone(s: Step) -> Any:
    return -s.g / s.xs[1] ** 2 if s.is_a("divide") and s.i == 1 else None


def numerator_alone(s: Step) -> Any:
    return -s.g * s.xs[0] if s.is_a("divide") and s.i == 1 else None


def one_row(which: int) -> Twisted:
    def twisted(s: Step) -> Any:
        full = s.gradient()
        return full[which] if np.shape(full)[1:] == np.shape(s.x) and np.ndim(full) == np.ndim(s.x) + 1 else None

    return twisted


def mean_of_rows(s: Step) -> Any:
    full = s.gradient()
    shape = np.shape(s.x)
    return unbroadcast(full, shape) * (np.size(s.x) / full.size) if np.shape(full) != shape else None


def sum_of_columns(s: Step) -> Any:
    full = s.gradient()
    square = np.ndim(full) == 2 and np.shape(s.x) == np.shape(full)[:1] == np.shape(full)[1:]
    return full.sum(axis=1) if square else None


def times(k: float) -> Twisted:
    return lambda s: k * s.gradient()


def nothing(s: Step) -> Any:
    return np.zeros(np.shape(s.x))


TWISTS = [
    Twist("dropped", "{d} lacks what flows back from {op} to {x}: {use}", nothing),
    Twist("chain", "{d} lacks the factor of {op}: multiply by {slope} on the way back", through),
    Twist("sign", "{d} has the wrong sign on the way from {op} to {x}", times(-1)),
    Twist("factor", "{d} takes the mean {op} for a sum: divide by the number of elements", summed),
    Twist("factor", "{d} takes the sum {op} for a mean: do not divide by the number of elements", averaged),
    Twist("saved", "{d}: at {op}, the slope is computed from its output where the input is meant", output_as_input),
    Twist("saved", "{d}: at {op}, the slope is computed from its input where the output is meant", input_as_output),
    Twist("chain", "{d} has the factor of {op} twice: multiply by {slope} once", twice),
    Twist("dropped", "{d} takes only the diagonal of the Jacobian of {op}: each output depends on all inputs",
          diagonal),
    Twist("dropped", "{d} at {op}: the term - s sum(g s) is missing, s the softmax", no_sum),
    Twist("chain", "{d} has the value of {op} where its derivative is meant, {slope}", value_as_slope),
    Twist("chain", "{d} has the input of {op} where its derivative is meant, {slope}", input_as_slope),
    Twist("chain", "{d} at {op}: it takes the derivative of tanh for that of this op, {slope}", slope_of_tanh),
    Twist("chain", "{d} at {op}: it takes the derivative of sigmoid for that of this op, {slope}", slope_of_sigmoid),
    Twist("chain", "{d} at {op}: the slope is taken as 1 - {op}, and it is {slope}", unsquared),
    Twist("branch", "{d} takes the slope of {op} on the wrong side of 0", other_side),
    Twist("branch", "{d} passes unchanged through {op} where its input is negative", by_sign(through, False)),
    Twist("branch", "{d} is stopped at {op} where its input is negative", by_sign(nothing, False)),
    Twist("branch", "{d} has the wrong sign at {op} where its input is negative", by_sign(times(-1), False)),
    Twist("branch", "{d} passes unchanged through {op} where its input is positive", by_sign(through, True)),
    Twist("branch", "{d} is stopped at {op} where its input is positive", by_sign(nothing, True)),
    Twist("branch", "{d} has the wrong sign at {op} where its input is positive", by_sign(times(-1), True)),
    Twist("axis", "{d} at {op}: it goes along the other axis", other_axis),
    Twist("axis", "{d} at {op}: the running sum of the gradient goes from the other end", same_direction),
    Twist("transposed", "{d} at {op}: the other matrix is to be transposed on the way back", not_transposed),
    Twist("transposed", "{d} at {op}: the gradient by {x} is transposed", result_transposed),
    Twist("transposed", "{d} at {op}: the transposition is not undone on the way back", transpose_kept),
    Twist("transposed", "{d} at {op}: the elements are read in another order than in the forward pass",
          reshaped_by_columns),
    Twist("other-input", "{d} at {op}: the two operands are exchanged", operands_exchanged),
    Twist("dropped", "{d} at {op}: indices repeat, and only the last of equal ones counts: add up (np.add.at)",
          assigned),
    Twist("chain", "{d} at {op}: the exponent is not lowered by one", exponent_kept),
    Twist("chain", "{d} at {op}: the factor n of n z^(n - 1) is missing", exponent_lost),
    Twist("chain", "{d} at {op}: the denominator is to be squared, -a / b^2", denominator_not_squared),
    Twist("chain", "{d} at {op}: the numerator is missing, -a / b^2", denominator_alone),
    Twist("chain", "{d} at {op}: the denominator is missing, -a / b^2", numerator_alone),
    Twist("broadcast", "{d} takes the first row only: {x} was broadcast at {op}, so sum over the rows", one_row(0)),
    Twist("broadcast", "{d} takes the last row only: {x} was broadcast at {op}, so sum over the rows", one_row(-1)),
    Twist("broadcast", "{d} takes the mean where {x} was broadcast at {op}: sum", mean_of_rows),
    Twist("axis", "{d} sums over the wrong axis where {x} was broadcast at {op}", sum_of_columns),
    Twist("factor", "{d} has a factor 2 too many on the way from {op} to {x}", times(2)),
    Twist("factor", "{d} lacks a factor 2 on the way from {op} to {x}", times(0.5)),
]  # fmt: skip
EXCESS: list[tuple[str, Callable]] = [  # slopes that the gradient of a result y is multiplied by, and should not be
    ("the slope of sigmoid at {y}", lambda y: sigmoid_slope(y)),
    ("the slope of softmax at {y}, p (1 - p)", lambda y: softmax_slope(y)),
    ("the slope of tanh at {y}", lambda y: 1 - np.tanh(y) ** 2),
    ("the slope of relu at {y}", lambda y: y > 0),
    ("{y} (1 - {y})", lambda y: y * (1 - y)),
    ("1 - {y}^2", lambda y: 1 - y * y),
    ("{y}", lambda y: y),
]


def sigmoid_slope(y: Any) -> Any:
    return 1 / (2 + np.exp(y) + np.exp(-y))


def softmax_slope(y: Any) -> Any:
    p = np.exp(y) / np.sum(np.exp(y), axis=-1, keepdims=True)
    return p * (1 - p)



# ---- the graph at one point ----------------------------------------------------------------------------------------


class Graph:
    """What f leaves behind at one point of a case: the results in the order of the walk."""

    def __init__(self, case: Any, k: int, exchange: tuple[int, int] | None = None) -> None:
        point = list(case.points[k])
        wanted = [c is not None and r is not None for c, r in zip(case.claimed[k], case.right[k], strict=True)]
        self.tensors = [
            Tensor(np.array(x, dtype=float), True, name) if w else x
            for x, w, name in zip(point, wanted, case.names, strict=True)
        ]
        self.names = {id(x): name for x, name in zip(self.tensors, case.names, strict=True)}
        given = list(self.tensors)
        if exchange:
            i, j = exchange
            given[i], given[j] = given[j], given[i]
        with recording(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.y = case.f(*given)
        if not isinstance(self.y, Tensor) or not self.y.requires_grad or self.y.size != 1:
            raise TypeError("no graph")
        self.order = below(self.y)
        self.seed = np.ones_like(self.y._data)

    def gradients(self, rules: dict[Place, Twisted]) -> list[Any]:
        """The gradients by the inputs (None for those without a claim) with these rules altered."""
        kept = {}
        for place in {place for place, _ in rules}:
            t = self.order[place]
            kept[t] = t._op
            n = len(t._inputs)
            vjp = list(itertools.islice(iter(t._op.vjp), n))
            t._op = SimpleNamespace(
                vjp=[twisted(t._op, vjp[i], i, rules[place, i]) if (place, i) in rules else vjp[i] for i in range(n)]
            )
        try:
            found = walk(self.order, self.seed, create_graph=False)
        finally:
            for t, op in kept.items():
                t._op = op
        return [
            np.asarray(found.get(x, np.zeros(x.shape)), float) if isinstance(x, Tensor) else None for x in self.tensors
        ]

    def steps(self) -> dict[Place, Step]:
        """Every step of the walk."""
        found: dict[Place, Step] = {}

        def note(place: Place) -> Twisted:
            def twisted(s: Step) -> Any:
                found[place] = s
                return s.gradient()

            return twisted

        places = [
            (k, i)
            for k, t in enumerate(self.order)
            if t._op is not None
            for i, x in enumerate(t._inputs)
            if isinstance(x, Tensor) and x.requires_grad
        ]
        self.gradients({place: note(place) for place in places})
        return found

    def same_as(self, other: Graph) -> bool:
        """Whether the same ops were called."""
        names = [[getattr(t._op, "name", "") for t in graph.order] for graph in (self, other)]
        return names[0] == names[1]

    # ---- in words

    def words(self, x: Any, depth: int = 3) -> str:
        """A value as the formula it comes from, or as the op that made it where that would be long."""
        if id(x) in self.names:
            return self.names[id(x)]
        op = getattr(x, "_op", None)
        if op is None:
            return f"{x:g}" if isinstance(x, int | float) else "..."
        if not depth:
            return f"{op.name.strip('_')}(...)"
        parts = [self.words(z, depth - 1) for z in x._inputs]
        if op.name in SIGN:
            text = f" {SIGN[op.name]} ".join(
                f"({p})" if " " in p and not (op.name == "add" and i == 0) else p for i, p in enumerate(parts)
            )
        else:
            text = f"{op.name.strip('_')}({', '.join(parts)})"
        return text if len(text) <= 40 else self.words(x, depth - 1)

    def values(self) -> list[tuple[str, Any]]:
        """The inputs and the results, with their words; oldest first."""
        inputs = [(self.names[id(x)], x._data if isinstance(x, Tensor) else x) for x in self.tensors]
        inputs = [(name, x) for name, x in inputs if getattr(x, "dtype", np.dtype("O")).kind in "fiub"]
        return inputs + [(self.words(t), t._data) for t in reversed(self.order) if t._op is not None]


def twisted(op: Any, rule: Callable, i: int, twist: Twisted) -> Callable:
    return lambda g, y, *xs, **params: twist(Step(op, rule, i, g, y, xs, params))


def graphs(case: Any) -> list[Graph]:
    """The graph at each point; none if f leaves none, or not the same everywhere."""
    try:
        found = [Graph(case, k) for k in range(len(case.points))]
    except Exception:  # f may be made for arrays only, or call another library
        return []
    return found if all(graph.same_as(found[0]) for graph in found) else []


def values(found: list[Graph], case: Any) -> list[tuple[str, list[Any]]]:
    """The inputs and the steps of f in words, each with its value at every point."""
    if not found:
        numeric = [i for i, x in enumerate(case.points[0]) if np.asarray(x).dtype.kind in "fiub"]
        return [(case.names[i], [np.asarray(point[i]) for point in case.points]) for i in numeric]
    rows = [graph.values() for graph in found]
    return [(row[0][0], [v for _, v in row]) for row in zip(*rows, strict=True)]


# ---- the search ----------------------------------------------------------------------------------------------------


class Alteration(NamedTuple):
    kind: str
    sentence: str  # with {d} for the gradient, {name} for the input
    rules: dict[Place, Twisted]


def alterations(graph: Graph) -> Iterator[Alteration]:
    """Every mistake that can be made in this graph and makes a difference: at all results of an op, or at one."""
    steps = graph.steps()
    groups: dict[tuple[str, int], list[Place]] = {}
    for place, s in steps.items():
        groups.setdefault((s.op.name, place[1] if s.op.arity else 0), []).append(place)
    statistics = [place for place, s in steps.items() if is_statistic(graph, place, s)]
    for twist in TWISTS:
        for places in [*(p for p in groups.values() if len(p) > 1), *([place] for place in steps)]:
            rules = {p: twist.rule for p in places if makes_a_difference(steps[p], twist.rule)}
            if len(rules) == len(places):
                yield Alteration(twist.kind, sentence(graph, twist, places, steps), rules)
        if twist.rule is nothing and len(statistics) > 1:
            names = " and ".join(dict.fromkeys(graph.words(graph.order[k]) for k, _ in statistics[:3]))
            text = f"{{d}} treats {names} as constants, and they depend on {{name}} too"
            yield Alteration("dropped", text, dict.fromkeys(statistics, nothing))
    yield from wrong_values(graph, steps)
    yield from factors_in_excess(graph, steps)


def is_statistic(graph: Graph, place: Place, s: Step) -> bool:
    """Whether a step leads back through a reduction whose result is spread over an array again, as in normalisation."""
    t = graph.order[place[0]]
    used = [u for u in graph.order if any(z is t for z in u._inputs)]
    return s.is_a("mean", "sum", "max", "min", "logsumexp") and any(np.size(u._data) > np.size(t._data) for u in used)


def makes_a_difference(s: Step, twist: Twisted) -> bool:
    """Whether a mistake can be made at this step, in the right shape, and changes the gradient there."""
    with _ModeContext(PLAIN):
        try:
            wrong, right = twist(s), s.gradient()
            if wrong is None or np.shape(wrong) not in (np.shape(right), np.shape(s.x)):
                return False
            shape = np.shape(s.x)
            wrong, right = (g if np.shape(g) == shape else unbroadcast(g, shape) for g in (wrong, right))
        except Exception:  # a rule that refuses these values
            return False
    return not np.allclose(wrong, right, rtol=1e-9, atol=1e-12 * np.max(np.abs(right), initial=0.0), equal_nan=True)


def wrong_values(graph: Graph, steps: dict[Place, Step]) -> Iterator[Alteration]:
    """A value of the forward pass is used where another one of the same shape is meant."""
    known = [(x, None) for x in graph.tensors] + [(t, t._op) for t in reversed(graph.order) if t._op is not None]
    for place, s in steps.items():
        if s.is_a("multiply", "matmul", "divide") and np.shape(s.xs[0]) != ():
            j = 1 - s.i
            meant = graph.order[place[0]]._inputs[j]
            for x, _ in known:
                if x is not meant and np.shape(x) == np.shape(s.xs[j]) and getattr(x, "dtype", None) is not None:
                    text = f"{{d}} is computed with {graph.words(x)} where {graph.words(meant)} is meant"
                    yield Alteration("saved", text, {place: with_operand(graph, x, j)})
        elif s.unary:
            t = graph.order[place[0]]
            for u, op in known:
                if u is not t and op is t._op and np.shape(u) == np.shape(s.y):
                    text = f"{{d}} takes the slope at {graph.words(u)} where that at {graph.words(t)} is meant"
                    yield Alteration("saved", text, {place: at_other(graph, u)})


def factors_in_excess(graph: Graph, steps: dict[Place, Step]) -> Iterator[Alteration]:
    """The gradient of a result is multiplied by a slope once too often before it is passed on."""
    for k, t in enumerate(graph.order):
        places = [place for place in steps if place[0] == k]
        for text, slope in EXCESS if np.ndim(t._data) else ():
            sentence = f"{{d}} has a factor in excess: {text.format(y=graph.words(t))}"
            yield Alteration("chain", sentence, dict.fromkeys(places, multiplied(slope)))


def multiplied(slope: Callable) -> Twisted:
    return lambda s: s.gradient(g=s.g * slope(s.y))


def position(graph: Graph, x: Any) -> tuple[str, int]:
    """Where a value is in a graph, so that it is found in another one."""
    for k, z in enumerate(graph.tensors):
        if z is x:
            return "tensors", k
    return "order", next(k for k, t in enumerate(graph.order) if t is x)


class FromGraph:
    """A mistake that needs a value from elsewhere in the graph; `at` gives it for the graph of another point."""

    def __init__(self, graph: Graph, x: Any, use: Callable[[Step, Any], Any]) -> None:
        self.where, self.use = position(graph, x), use
        self.x = x

    def at(self, graph: Graph) -> FromGraph:
        other = object.__new__(FromGraph)
        other.where, other.use = self.where, self.use
        other.x = getattr(graph, self.where[0])[self.where[1]]
        return other

    def __call__(self, s: Step) -> Any:
        return self.use(s, self.x)


def with_operand(graph: Graph, x: Any, j: int) -> FromGraph:
    def use(s: Step, x: Any) -> Any:
        value = x._data if isinstance(x, Tensor) else x
        return s.gradient(xs=tuple(value if i == j else z for i, z in enumerate(s.xs)))

    return FromGraph(graph, x, use)


def at_other(graph: Graph, u: Tensor) -> FromGraph:
    def use(s: Step, u: Any) -> Any:
        values = [x._data if isinstance(x, Tensor) else x for x in u._inputs]
        return s.gradient(y=u._data, xs=values)

    return FromGraph(graph, u, use)


def sentence(graph: Graph, twist: Twist, places: list[Place], steps: dict[Place, Step]) -> str:
    """The sentence of a mistake made at these places."""
    t, i = graph.order[places[0][0]], places[0][1]
    name = steps[places[0]].op.name.strip("_")
    alone = sum(u._op is not None and u._op.name == steps[places[0]].op.name for u in graph.order) == 1
    op, x = (f"every {name}", "its input") if len(places) > 1 else (graph.words(t), graph.words(t._inputs[i]))
    if len(places) == 1 and alone and twist.kind == "chain":
        op = name
    leaf = len(places) == 1 and getattr(t._inputs[i], "_op", None) is None
    uses = sum(z is t._inputs[i] for u in graph.order for z in u._inputs)
    use = f"{x} is treated as a constant there, and it depends on {{name}} too"
    if leaf:
        use = f"{x} is used {uses} times, and the gradients of all uses add up"
    return twist.sentence.format(d="{d}", op=op, x=x, slope=SLOPES.get(name, "its derivative"), use=use)


def explain(case: Any, found: list[Graph], suspects: list[Any], in_words: Callable) -> dict[str, tuple[str, str]]:
    """For each input, the alteration that gives its claimed gradient: of several, that which explains most inputs."""
    best: dict[str, tuple[tuple, tuple[str, str]]] = {}
    walks = max(30, WORK // max(1, len(found[0].order))) if found else 0
    for number, (kind, text, gradients) in enumerate(itertools.islice(candidates(case, found), walks)):
        at_first = gradients(0)
        hopeful = [s for s in suspects if at_first is not None and s.may_be(at_first[s.i])]
        if not hopeful:
            continue
        everywhere: list[Any] = [at_first, *(gradients(k) for k in range(1, len(case.points)))]
        if any(g is None for g in everywhere):
            continue
        factors = {s: s.multiple([g[s.i] for g in everywhere]) for s in hopeful}
        fitting = {s: k for s, k in factors.items() if k is not None}
        exact = all(k == 1 for k in fitting.values())
        for s, k in fitting.items():
            rank = (k != 1, -len(fitting), number)
            if s.name not in best or rank < best[s.name][0]:
                more = "" if k == 1 else f"; and it is {in_words(case, k)[0]} what that gives"
                best[s.name] = rank, (kind, text.format(d=s.d, name=s.name) + more)
        if exact and len(fitting) == len(suspects):
            break
    return {name: finding for name, (_, finding) in best.items()}


def candidates(case: Any, found: list[Graph]) -> Iterator[tuple[str, str, Callable[[int], list[Any] | None]]]:
    """Gradients that may have been computed by mistake: kind, sentence, and the gradients at each point."""
    n = len(case.names)
    for i, j in itertools.combinations(range(n), 2) if found else ():
        x, z = case.points[0][i], case.points[0][j]
        if np.shape(x) == np.shape(z) and np.ndim(x) and np.asarray(x).dtype.kind == np.asarray(z).dtype.kind == "f":
            text = f"{{d}} is the gradient of the function with {case.names[i]} and {case.names[j]} exchanged"
            yield "other-input", text, guarded(lambda k, pair=(i, j): Graph(case, k, pair).gradients({}))
    for kind, text, rules in alterations(found[0]) if found else ():

        def gradients(k: int, rules: dict = rules) -> list[Any]:
            graph = found[k]
            return graph.gradients({p: t.at(graph) if isinstance(t, FromGraph) else t for p, t in rules.items()})

        yield kind, text, guarded(gradients)


def guarded(gradients: Callable) -> Callable[[int], list[Any] | None]:
    def attempt(k: int) -> list[Any] | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return gradients(k)
        except Exception:  # rules that refuse altered values
            return None

    return attempt
