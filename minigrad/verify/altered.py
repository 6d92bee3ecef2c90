"""Backpropagation with one rule altered, as somebody may have done it by hand.

Each row of `TWISTS` is a mistake that is made at one step back through the graph: the slope is left out, the path is
forgotten, the output is used where the input is meant. The walk is repeated with the mistake made at one
result, or at all results of one op; where it gives the gradient that was claimed, the mistake is found.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..autodiff import unbroadcast
from ..ops.reduce import count, spread
from ..tensor import PLAIN, Tensor, _ModeContext
from .graphs import Graph, Place, Step, Twisted, Where, graphs, recognised
from .suspect import Case, Suspect
from .wording import factor_in_words

WORK = 10_000  # steps back through a graph, after which the search ends
MANY = 300  # steps in a graph, beyond which mistakes are looked for at all results of an op only, and not at each
SLOPES = {  # of what students meet, for sentences
    "tanh": "1 - tanh(z)^2", "sigmoid": "s (1 - s), s the sigmoid", "relu": "1 where z > 0 and 0 elsewhere",
    "exp": "exp(z)", "log": "1 / z", "square": "2 z", "sqrt": "1 / (2 sqrt(z))", "sin": "cos(z)", "cos": "-sin(z)",
    "abs": "sign(z)", "multiply": "the other factor", "divide": "1 / the denominator", "power": "n z^(n - 1)",
    "negative": "-1", "reciprocal": "-1 / z^2", "softplus": "sigmoid(z)",
    "max": "1 for the largest and 0 elsewhere", "min": "1 for the smallest and 0 elsewhere",
    "maximum": "1 where it is the larger one and 0 elsewhere", "minimum": "1 where it is the smaller and 0 elsewhere",
    "clip": "1 between the bounds and 0 outside", "leaky_relu": "the slope of the side", "mean": "1 / n",
}  # fmt: skip


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
    return s.gradient(xs=s.xs[::-1]) if same and s.is_a("multiply", "matmul", "power") else None


def value_as_slope(s: Step) -> Any:
    return s.g * s.y if s.unary else None


def input_as_slope(s: Step) -> Any:
    return s.g * s.x if s.unary else None


def slope_of_tanh(s: Step) -> Any:
    return s.g * (1 - s.y**2) if s.is_a("sigmoid", "relu") else None


def slope_of_sigmoid(s: Step) -> Any:
    return s.g * s.y * (1 - s.y) if s.is_a("tanh", "relu", "softmax") else None


def slope_of_tan(s: Step) -> Any:
    return s.g * (1 + s.y**2) if s.is_a("tanh") else None


def unsquared(s: Step) -> Any:
    return s.g * (1 - s.y) if s.is_a("tanh", "sigmoid") else None


def other_side(s: Step) -> Any:
    """The slope at -x."""
    if not s.is_a("relu", "leaky_relu", "elu", "abs", "softplus", "silu", "gelu"):
        return None
    return s.gradient(y=s.op.forward(-s.x, **s.params), xs=s.with_x(-s.x))


def other_branch(s: Step) -> Any:
    return s.g - s.gradient() if s.is_a("where", "maximum", "minimum") else None


def by_sign(of: Twisted, positive: bool) -> Twisted:
    """The mistake is made only where the input of the op is positive, or only where it is negative."""

    def twisted(s: Step) -> Any:
        return np.where((s.x > 0) == positive, of(s), s.gradient()) if s.unary else None

    return twisted


def diagonal(s: Step) -> Any:
    p = s.y if s.is_a("softmax") else np.exp(s.y)
    return s.g * (p * (1 - p) if s.is_a("softmax") else 1 - p) if s.is_a("softmax", "log_softmax") else None


def of_one_class(s: Step) -> Any:
    return s.g - np.exp(s.y) if s.is_a("log_softmax") else None


def masked_by_gradient(s: Step) -> Any:
    return np.where(s.g > 0, s.g, 0) if s.is_a("relu", "maximum") else None


def order_kept(s: Step) -> Any:
    """The elements were picked in another order, and their gradients are not put back."""
    return s.g if s.is_a("getitem") and np.shape(s.g) == np.shape(s.x) else None


def operand_reversed(s: Step) -> Any:
    return s.gradient(xs=s.with_x(np.flip(s.xs[1 - s.i]), 1 - s.i)) if s.is_a("multiply", "matmul") else None


def gradient_transposed(s: Step) -> Any:
    return s.gradient(g=np.swapaxes(s.g, -1, -2)) if np.ndim(s.g) > 1 else None


def extremum_of_other_axis(s: Step) -> Any:
    axis = s.params.get("axis")
    if not s.is_a("max", "min") or not isinstance(axis, int) or np.ndim(s.x) != 2:
        return None
    chosen = s.x == s.op.forward(s.x, axis=(axis + 1) % 2, keepdims=True)
    return np.where(chosen, spread(s.g, s.x, **s.params), 0)


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


def exponent_two_less(s: Step) -> Any:
    return s.g * s.xs[1] * s.xs[0] ** (s.xs[1] - 2) if s.is_a("power") and s.i == 0 else None


def logarithm_lost(s: Step) -> Any:
    return s.g * s.y if s.is_a("power") and s.i == 1 else None


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
    Twist("factor", "{d} at {op}: the mean is taken for a sum: divide by the number of elements", summed),
    Twist("factor", "{d} at {op}: the sum is taken for a mean: do not divide by the number of elements", averaged),
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
    Twist("sign", "{d} at {op}: a sign in the slope is wrong, 1 + y^2 is that of tan: it is {slope}", slope_of_tan),
    Twist("chain", "{d} at {op}: the slope is taken as 1 - {op}, and it is {slope}", unsquared),
    Twist("branch", "{d} takes the slope of {op} on the wrong side of 0", other_side),
    Twist("branch", "{d} at {op}: the gradient goes to the branch that was not taken", other_branch),
    Twist("branch", "{d} passes unchanged through {op} where its input is negative", by_sign(through, False)),
    Twist("branch", "{d} is stopped at {op} where its input is negative", by_sign(nothing, False)),
    Twist("branch", "{d} has the wrong sign at {op} where its input is negative", by_sign(times(-1), False)),
    Twist("branch", "{d} passes unchanged through {op} where its input is positive", by_sign(through, True)),
    Twist("branch", "{d} is stopped at {op} where its input is positive", by_sign(nothing, True)),
    Twist("branch", "{d} has the wrong sign at {op} where its input is positive", by_sign(times(-1), True)),
    Twist("dropped", "{d} at {op}: the sum of the gradient over the classes is missing, g - p sum(g)", of_one_class),
    Twist("branch", "{d} passes through {op} where the gradient is positive, and not where the input is",
          masked_by_gradient),
    Twist("permuted", "{d} at {op}: elements were picked in another order, and their gradients are not put back",
          order_kept),
    Twist("permuted", "{d} at {op}: the other factor is in reverse order (a kernel turned round)", operand_reversed),
    Twist("axis", "{d} at {op}: the largest of the other axis is taken", extremum_of_other_axis),
    Twist("axis", "{d} sums over the wrong axis where {x} was broadcast at {op}", sum_of_columns),
    Twist("axis", "{d} at {op}: it goes along the other axis", other_axis),
    Twist("axis", "{d} at {op}: the running sum of the gradient goes from the other end", same_direction),
    Twist("transposed", "{d} at {op}: the other matrix is to be transposed on the way back", not_transposed),
    Twist("transposed", "{d} at {op}: the gradient by {x} is transposed", result_transposed),
    Twist("transposed", "{d} at {op}: the gradient that arrives is transposed", gradient_transposed),
    Twist("transposed", "{d} at {op}: the transposition is not undone on the way back", transpose_kept),
    Twist("transposed", "{d} at {op}: the elements are read in another order than in the forward pass",
          reshaped_by_columns),
    Twist("other-input", "{d} at {op}: the two operands are exchanged", operands_exchanged),
    Twist("dropped", "{d} at {op}: indices repeat, and only the last of equal ones counts: add up (np.add.at)",
          assigned),
    Twist("chain", "{d} at {op}: the exponent is not lowered by one", exponent_kept),
    Twist("chain", "{d} at {op}: the factor n of n z^(n - 1) is missing", exponent_lost),
    Twist("chain", "{d} at {op}: the exponent is lowered by two, and not by one", exponent_two_less),
    Twist("chain", "{d} at {op}: the factor log(b) of the derivative of b^n by n is missing", logarithm_lost),
    Twist("chain", "{d} at {op}: the denominator is to be squared, -a / b^2", denominator_not_squared),
    Twist("chain", "{d} at {op}: the numerator is missing, -a / b^2", denominator_alone),
    Twist("chain", "{d} at {op}: the denominator is missing, -a / b^2", numerator_alone),
    Twist("broadcast", "{d} takes the first row only: {x} was broadcast at {op}, so sum over the rows", one_row(0)),
    Twist("broadcast", "{d} takes the last row only: {x} was broadcast at {op}, so sum over the rows", one_row(-1)),
    Twist("broadcast", "{d} takes the mean where {x} was broadcast at {op}: sum", mean_of_rows),
    Twist("factor", "{d} has a factor 2 too many on the way from {op} to {x}", times(2)),
    Twist("factor", "{d} lacks a factor 2 on the way from {op} to {x}", times(0.5)),
]  # fmt: skip
FACTORS: list[tuple[str, Callable]] = [  # what gradients are multiplied by, for a value v
    ("{v}", lambda v: v),
    ("1 - {v}", lambda v: 1 - v),
    ("{v} (1 - {v})", lambda v: v * (1 - v)),
    ("1 - {v}^2", lambda v: 1 - v * v),
    ("{v}^2", lambda v: v * v),
    ("sqrt({v})", lambda v: np.sqrt(v)),
    ("sign({v})", lambda v: np.sign(v)),
    ("exp({v})", lambda v: np.exp(v)),
    ("log({v})", lambda v: np.log(v)),
    ("the slope of sigmoid at {v}", lambda v: sigmoid_slope(v)),
    ("the slope of tanh at {v}", lambda v: 1 - np.tanh(v) ** 2),
    ("the slope of relu at {v}", lambda v: np.where(v > 0, 1, 0)),
    ("the slope of softmax at {v}, p (1 - p)", lambda v: softmax_slope(v)),
]


def sigmoid_slope(y: Any) -> Any:
    return 1 / (2 + np.exp(y) + np.exp(-y))


def softmax_slope(y: Any) -> Any:
    p = np.exp(y) / np.sum(np.exp(y), axis=-1, keepdims=True)
    return p * (1 - p)


# ---- the search ----------------------------------------------------------------------------------------------------


class Alteration(NamedTuple):
    """A way to go wrong, and the gradients that come of it at a point."""

    kind: str
    sentence: str  # with {d} for the gradient, {name} for the input
    gradients: Callable[[Graph], list[Any]]
    added: bool = False  # whether these gradients, times a constant, are what the claimed one has in excess


def made(kind: str, sentence: str, rules: dict[Place, Twisted]) -> Alteration:
    return Alteration(kind, sentence, lambda graph: graph.gradients(rules))


def alterations(family: list[Graph]) -> Iterator[Alteration]:
    """Every mistake that can be made in a graph and makes a difference: at all results of an op, or at one."""
    graph, at_points = family[0], [graph.steps() for graph in family]
    steps = at_points[0]
    statistics = reduced_and_spread(graph, steps)
    alone = [[place] for place in steps] if len(steps) <= MANY else []
    for twist in TWISTS:
        for places in [*groups(steps), *alone]:
            if all(any(makes_a_difference(other[p], twist.rule) for other in at_points) for p in places):
                yield made(twist.kind, sentence(twist, [steps[p] for p in places]), dict.fromkeys(places, twist.rule))
        if twist.rule is nothing and len(statistics) > 1:
            names = " and ".join(dict.fromkeys(graph.words(steps[place].result) for place in statistics[:3]))
            text = f"{{d}} treats {names} as constants, and they depend on {{name}} too"
            yield made("dropped", text, dict.fromkeys(statistics, nothing))
    for search in (values_of_another_call, wrong_values, factors_in_excess, updated_too_early, steps_left_out):
        yield from search(graph, steps) if alone else ()


def groups(steps: dict[Place, Step]) -> list[list[Place]]:
    """Steps at which a mistake is made together: all of one op, those in one shape, with one operand, at one result."""
    found: dict[Any, list[Place]] = {}
    for place, s in steps.items():
        i = s.i if s.op.arity else 0
        found.setdefault((s.op.name, i), []).append(place)
        found.setdefault((s.op.name, i, *map(np.shape, s.xs)), []).append(place)
        if s.op.arity == 2:
            found.setdefault((s.op.name, i, id(s.result._inputs[1 - i])), []).append(place)
        found.setdefault(place[0], []).append(place)
    return [list(places) for places in dict.fromkeys(tuple(p) for p in found.values() if len(p) > 1)]


def reduced_and_spread(graph: Graph, steps: dict[Place, Step]) -> list[Place]:
    """Steps back through reductions whose results are spread over an array again: statistics, as in normalisation."""
    largest: dict[int, int] = {}  # of what a result is used for, by id
    for t in graph.order:  # newest first, so users come before what they use
        size = max(largest.get(id(t), 0), t.size)
        for x in t._inputs:
            largest[id(x)] = max(largest.get(id(x), 0), size)
    reductions = ("mean", "sum", "max", "min", "logsumexp")
    return [p for p, s in steps.items() if s.is_a(*reductions) and largest.get(id(s.result), 0) > np.size(s.y)]


def makes_a_difference(s: Step, twisted: Twisted) -> bool:
    """Whether a mistake can be made at this step, in the right shape, and changes the gradient there."""
    with _ModeContext(PLAIN):
        try:
            wrong, right = twisted(s), s.gradient()
            if wrong is None or np.shape(wrong) not in (np.shape(right), np.shape(s.x)):
                return False
            shape = np.shape(s.x)
            wrong, right = (g if np.shape(g) == shape else unbroadcast(g, shape) for g in (wrong, right))
        except Exception:  # a rule that refuses these values
            return False
    return not np.allclose(wrong, right, rtol=1e-9, atol=1e-12 * np.max(np.abs(right), initial=0.0), equal_nan=True)


def wrong_values(graph: Graph, steps: dict[Place, Step]) -> Iterator[Alteration]:
    """A value of the forward pass is used where another one of the same shape is meant."""
    known = [(where, x) for where, x in graph.known() if np.ndim(x)]
    for (place, s), (where, x) in itertools.product(steps.items(), known):
        words = graph.words(x)
        if s.is_a("multiply", "matmul", "divide"):
            meant = s.result._inputs[1 - s.i]
            if x is not meant and np.shape(x) == np.shape(meant):
                text = f"{{d}} is computed with {words} where {graph.words(meant)} is meant"
                yield made("saved", text, {place: with_operand(where)})
        if x is s.source or np.shape(x) != np.shape(s.y):
            continue
        if s.unary:
            meant = graph.words(s.source)
            text = f"{{d}} takes the slope of {s.op.name} at {words} where that at {meant} is meant"
            yield made("saved", text, {place: slope_at(where)})
        if s.is_a("relu", "maximum", "minimum", "clip", "leaky_relu"):
            for sign, relation in ((1, ">"), (-1, "<")):
                here = graph.words(s.result)
                text = f"{{d}} passes through {here} where {words} {relation} 0: another condition is meant"
                yield made("branch", text, {place: passing_where(where, sign)})


def with_operand(where: Where) -> Twisted:
    return lambda s: s.gradient(xs=s.with_x(s.graph.value(where), 1 - s.i))


def slope_at(where: Where) -> Twisted:
    def twisted(s: Step) -> Any:
        x = s.graph.value(where)
        return s.gradient(y=s.op.forward(x, **s.params), xs=(x,))

    return twisted


def passing_where(where: Where, sign: int) -> Twisted:
    return lambda s: np.where(sign * s.graph.value(where) > 0, s.g, 0)


def values_of_another_call(graph: Graph, steps: dict[Place, Step]) -> Iterator[Alteration]:
    """The slope at one use of an op is computed from what a later use, or the first or last call, has left."""
    uses: dict[tuple, list[Place]] = {}
    for place, s in steps.items():
        uses.setdefault((s.op.name, np.shape(s.y), place[1]), []).append(place)
    for (name, *_), places in uses.items():
        if len(places) > 1:
            last = places[0][0]
            text = f"{{d}} takes the slope of every {name} at its last use: each use needs the values of its own"
            yield made("stale", text, dict.fromkeys(places, slope_of_result(lambda graph: graph, last)))
    for place, s in steps.items():
        if s.unary or s.is_a("maximum", "minimum"):
            for text, other in (("the first call", first_point), ("the call before", point_before)):
                text = f"{{d}} takes the slope of {graph.words(s.result)} from {text}: save it anew each time"
                yield made("stale", text, {place: slope_of_result(other, place[0])})


def first_point(graph: Graph) -> Graph:
    return graph.first


def point_before(graph: Graph) -> Graph:
    return graph.before


def slope_of_result(of: Callable[[Graph], Graph], k: int) -> Twisted:
    def twisted(s: Step) -> Any:
        t = of(s.graph).order[k]
        return s.gradient(y=t._data, xs=[x._data if isinstance(x, Tensor) else x for x in t._inputs])

    return twisted


def factors_in_excess(graph: Graph, steps: dict[Place, Step]) -> Iterator[Alteration]:
    """The gradient of a result is multiplied by a slope once too often before it is passed on."""
    for k, t in enumerate(graph.order):
        places = [place for place in steps if place[0] == k]
        for text, slope in FACTORS if places and t.ndim else ():
            sentence = f"{{d}} has a factor in excess: {text.format(v=graph.words(t))}"
            yield made("chain", sentence, dict.fromkeys(places, multiplied(slope)))


def multiplied(slope: Callable) -> Twisted:
    return lambda s: s.gradient(g=s.g * slope(s.y))


def updated_too_early(graph: Graph, steps: dict[Place, Step]) -> Iterator[Alteration]:
    """An operand has made its step down its own gradient when it is used on the way back."""
    for place, s in steps.items():
        operand = s.result._inputs[1 - s.i] if s.is_a("matmul", "multiply") else None
        other = next((k for k, x in enumerate(graph.inputs) if x is operand and isinstance(x, Tensor)), None)
        if other is not None:
            text = f"{{d}} is computed with {graph.words(operand)} after its update: compute all gradients first"
            yield Alteration("saved", text, excess_of_update(place, other), added=True)


def steps_left_out(graph: Graph, steps: dict[Place, Step]) -> Iterator[Alteration]:
    """The gradient is that of the function without one of its steps."""
    for (k, i), s in steps.items():
        if np.shape(s.x) == np.shape(s.y) and k:
            source, result = graph.words(s.source), graph.words(s.result)
            text = f"{{d}} is the gradient of a function with {source} in place of {result}"
            yield Alteration("dropped", text, lambda graph, k=k, i=i: graph.without(k, i))  # type: ignore[misc]


def excess_of_update(place: Place, other: int) -> Callable[[Graph], list[Any]]:
    """What a gradient has in excess when an operand at one place is changed by its own gradient."""

    def gradients(graph: Graph) -> list[Any]:
        change = graph.gradients({})[other]
        changed = graph.gradients({place: lambda s: s.gradient(xs=s.with_x(change, 1 - s.i))})
        without = graph.gradients({place: nothing})
        return [a - b if a is not None else None for a, b in zip(changed, without, strict=True)]

    return gradients


def sentence(twist: Twist, steps: list[Step]) -> str:
    """The sentence of a mistake made at these steps."""
    s, graph = steps[0], steps[0].graph
    name, source = s.op.name.strip("_"), s.source
    alone = sum(u._op is s.op for u in graph.order) == 1
    op, x = graph.words(s.result), graph.words(source)
    if len(steps) > 1:
        op, x = (f"every {name}" if steps[-1].result is not s.result else op), "its input"
    if len(steps) == 1 and alone and twist.kind == "chain":
        op = name
    uses = sum(z is source for u in graph.order for z in u._inputs)
    leaf = len(steps) == 1 and source._op is None
    use = f"{x} is treated as a constant there" + ("" if leaf else ", and it depends on {name} too")
    if leaf and uses > 1:
        use = f"{x} is used {uses} times, and the gradients of all uses add up"
    return twist.sentence.format(d="{d}", op=op, x=x, slope=SLOPES.get(name, "its derivative"), use=use)


def explain(case: Case, found: list[Graph], suspects: list[Suspect]) -> dict[str, tuple[str, str]]:
    """For each input, the alteration that gives its claimed gradient: of several, that which explains most inputs."""
    best: dict[str, tuple[tuple, tuple[str, str]]] = {}
    for number, (a, family) in enumerate(candidates(case, found)):
        at_first = attempt(a, family[0])
        hopeful = [s for s in suspects if at_first is not None and s.may_be(at_first[s.i], a.added)]
        if not hopeful:
            continue
        everywhere = [at_first, *(attempt(a, graph) for graph in family[1:])]
        if any(g is None for g in everywhere):
            continue
        factors = {s: s.multiple([g[s.i] for g in everywhere if g], a.added) for s in hopeful}
        fitting = {s: k for s, k in factors.items() if k is not None}
        for s, k in fitting.items():
            rank = (k != 1, -len(fitting), number)
            if s.name not in best or rank < best[s.name][0]:
                more = "" if k == 1 or a.added else f"; and it is {factor_in_words(case, k)[0]} what that gives"
                best[s.name] = rank, (a.kind, a.sentence.format(d=s.d, name=s.name) + more)
        if len(fitting) == len(suspects) and all(k == 1 for k in fitting.values()):
            break
    return {name: finding for name, (_, finding) in best.items()}


def candidates(case: Case, found: list[Graph]) -> Iterator[tuple[Alteration, list[Graph]]]:
    """Alterations with the graphs that they are made in: the function as it is, and read in larger ops."""
    if not found:
        return
    walks = max(30, WORK // len(found[0].order))
    read = graphs(case)
    for family in ([read, found] if recognised(read) else [found]):
        for alteration in itertools.islice(alterations(family), walks):
            yield alteration, family
    for i, j in itertools.combinations(range(len(case.names)), 2):
        x, z = case.points[0][i], case.points[0][j]
        if np.shape(x) == np.shape(z) and np.ndim(x) and np.asarray(x).dtype.kind == np.asarray(z).dtype.kind == "f":
            text = f"{{d}} is the gradient of the function with {case.names[i]} and {case.names[j]} exchanged"
            exchanged = graphs(case, (i, j))
            if exchanged:
                yield made("other-input", text, {}), exchanged


def attempt(alteration: Alteration, graph: Graph) -> list[Any] | None:
    """The gradients by mistake, None where the altered rules cannot be run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return alteration.gradients(graph)
    except Exception:  # a rule that refuses altered values
        return None
