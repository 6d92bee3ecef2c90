"""The graph that a function leaves behind, laid open for the gradient doctor.

Backpropagation can be repeated on it with rules exchanged; users' own ops are replaced by what they are made of; and
formulas that are known ops written out, such as 1 / (1 + exp(-x)), are read as these ops. A graph says in words what
its values are.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..autodiff import below, walk
from ..ops.card import CARDS
from ..primitives import Primitive
from ..tensor import PLAIN, Tensor, _ModeContext, as_tensor, recording, tick
from .suspect import Case

Place = tuple[int, int]  # which result in the order of the walk, and which of its inputs
Where = tuple[str, int]  # where a value is in a graph: among its inputs, or in the order of the walk
SIGN = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@", "power": "**"}
AROUND = {"negative": "-{}", "transpose": "{}.T", "getitem": "{}[...]", "identity": "{}"}
LONGEST = 40  # of a formula in a sentence, in characters


@dataclass
class Step:
    """One step of backpropagation: the gradient g of the result y, on its way to one of the inputs of y."""

    graph: Graph
    place: Place
    op: Any
    rule: Callable
    g: Any
    y: Any
    xs: tuple
    params: dict[str, Any]

    @property
    def i(self) -> int:
        """Which input."""
        return self.place[1]

    @property
    def x(self) -> Any:
        return self.xs[self.i]

    @property
    def result(self) -> Tensor:
        return self.graph.order[self.place[0]]

    @property
    def source(self) -> Any:
        """What the step leads to, as it is in the graph."""
        return self.result._inputs[self.i]

    @property
    def elementwise(self) -> bool:
        return self.op.domain is not None

    @property
    def unary(self) -> bool:
        return self.elementwise and self.op.arity == 1

    def is_a(self, *names: str) -> bool:
        return self.op.name.strip("_") in names

    def gradient(self, g: Any = None, y: Any = None, xs: Any = None, **params: Any) -> Any:
        """What the rule gives; with other values in their places."""
        g, y, xs = (new if new is not None else old for new, old in ((g, self.g), (y, self.y), (xs, self.xs)))
        return self.rule(g, y, *xs, **{**self.params, **params})

    def with_x(self, x: Any, i: int | None = None) -> tuple:
        """The inputs with another value in the place of this one (or of the ith)."""
        i = self.i if i is None else i
        return (*self.xs[:i], x, *self.xs[i + 1 :])


Twisted = Callable[[Step], Any]  # the gradient as it is by mistake; None where the mistake cannot be made


class Graph:
    """What f leaves behind at one point of a case: the results in the order of the walk."""

    first: Graph  # the same at the first point
    before: Graph  # and at the point before, which is the last one for the first

    def __init__(self, case: Case, k: int, exchange: tuple[int, int] | None = None, opening: bool = True) -> None:
        wanted = [c is not None and r is not None for c, r in zip(case.claimed[k], case.right[k], strict=True)]
        self.inputs = [
            Tensor(np.array(x, dtype=float), True, name) if w else x
            for x, w, name in zip(case.points[k], wanted, case.names, strict=True)
        ]
        self.names = {id(x): name for x, name in zip(self.inputs, case.names, strict=True) if np.ndim(x) or name}
        given = list(self.inputs)
        if exchange:
            i, j = exchange
            given[i], given[j] = given[j], given[i]
        with recording(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.y = case.f(*given)
            if not isinstance(self.y, Tensor) or not self.y.requires_grad or self.y.size != 1:
                raise TypeError("no graph")
            self.y = opened(self.y) if opening else self.y
        self.order = below(self.y)

    def gradients(self, rules: dict[Place, Twisted]) -> list[Any]:
        """The gradients by the inputs (None for those without a claim) with these rules altered."""
        ops = {}
        for k in {k for k, _ in rules}:
            t = self.order[k]
            ops[t] = t._op
            n = len(t._inputs)
            vjp = list(itertools.islice(iter(t._op.vjp), n))
            altered = [self.altered(k, i, vjp[i], rules[k, i]) if (k, i) in rules else vjp[i] for i in range(n)]
            t._op = SimpleNamespace(vjp=altered)
        try:
            found = walk(self.order, np.ones_like(self.y._data), create_graph=False)
        finally:
            for t, op in ops.items():
                t._op = op
        return self.by_input(found)

    def by_input(self, found: dict[Tensor, Any]) -> list[Any]:
        """The gradients that a walk has found, as an array for each input to differentiate by."""
        zeros = [np.zeros(x.shape) if isinstance(x, Tensor) else None for x in self.inputs]
        pairs = zip(self.inputs, zeros, strict=True)
        return [None if zero is None else np.asarray(found.get(x, zero), float) for x, zero in pairs]

    def altered(self, k: int, i: int, rule: Callable, twisted: Twisted) -> Callable:
        op = self.order[k]._op
        return lambda g, y, *xs, **params: twisted(Step(self, (k, i), op, rule, g, y, xs, params))

    def steps(self) -> dict[Place, Step]:
        """Every step of the walk, in its order."""
        found: dict[Place, Step] = {}

        def note(s: Step) -> Any:
            found[s.place] = replace(s, g=np.array(s.g))  # a copy, lest a rule changes it
            return s.gradient()

        places = [(k, i) for k, t in enumerate(self.order) for i, x in enumerate(t._inputs) if requires_grad(x)]
        self.gradients(dict.fromkeys(places, note))
        return {place: found[place] for place in places if place in found}

    def without(self, k: int, i: int) -> list[Any]:
        """The gradients of the function in which a result is replaced by one of the values that it was made of."""
        instead: dict[Any, Any] = {self.order[k]: self.order[k]._inputs[i]}
        with recording():
            for j in reversed(range(k)):  # what was made after it
                t = self.order[j]
                given = [instead.get(x, x) if isinstance(x, Tensor) else x for x in t._inputs]
                if t._op is not None and any(a is not b for a, b in zip(given, t._inputs, strict=True)):
                    instead[t] = t._op(*given, **t._params)
        found = walk(below(instead[self.y]), np.ones_like(self.y._data), create_graph=False)
        return self.by_input(found)

    def value(self, where: Where) -> Any:
        """The array at a place."""
        x = getattr(self, where[0])[where[1]]
        return x._data if isinstance(x, Tensor) else x

    def known(self) -> Iterator[tuple[Where, Any]]:
        """The inputs and the results, oldest first, each with its place."""
        for k, x in enumerate(self.inputs):
            if np.asarray(x._data if isinstance(x, Tensor) else x).dtype.kind in "fiub":
                yield ("inputs", k), x
        for k in reversed(range(len(self.order))):
            if self.order[k]._op is not None:
                yield ("order", k), self.order[k]

    def like(self, other: Graph) -> bool:
        """Whether the same ops were called."""
        names = [[getattr(t._op, "name", "") for t in graph.order] for graph in (self, other)]
        return names[0] == names[1]

    def words(self, x: Any, depth: int = 3) -> str:
        """A value as the formula it comes from, or as the op that made it where that would be long."""
        if id(x) in self.names:
            return self.names[id(x)]
        op = getattr(x, "_op", None)
        if op is None:
            return f"{float(x):.4g}" if np.ndim(x) == 0 and not isinstance(x, Tensor) else "..."
        name = op.name.strip("_")
        if not depth:
            return f"{name}(...)"
        parts = [self.words(z, depth - 1) for z in x._inputs]
        if name in AROUND:
            text = AROUND[name].format(parts[0] if is_simple(parts[0]) else f"({parts[0]})")
        elif name in SIGN:
            bare = name in ("add", "subtract")  # a + b - c needs no brackets around a + b, and a - (b + c) does
            text = f" {SIGN[name]} ".join(
                p if is_simple(p) or (bare and i == 0) else f"({p})" for i, p in enumerate(parts)
            )
        else:
            text = f"{name}({', '.join(parts)})"
        return text if len(text) <= LONGEST else self.words(x, depth - 1)


def is_simple(text: str) -> bool:
    """Whether a formula stands as one factor: a name, or a call."""
    depth = 0
    for c in text:
        depth += (c == "(") - (c == ")")
        if c == " " and not depth:
            return False
    return True


def requires_grad(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def is_users(op: Any) -> bool:
    """Whether an op is none of the library's."""
    return CARDS.get(op.name) is not op


def opened(y: Tensor) -> Tensor:
    """The same result, with what users' own ops are made of in their place: their rules may be what is wrong."""
    instead: dict[Any, Tensor] = {}
    for t in reversed(below(y)):
        if t._op is None:
            continue
        t._inputs = tuple(instead.get(x, x) if isinstance(x, Tensor) else x for x in t._inputs)
        if is_users(t._op):
            function = getattr(t._op, "function", t._op.forward)  # as the user wrote it
            instead[t] = as_tensor(function(*t._inputs, **t._params))
        t._born = tick()  # results are still in order of birth
    return instead.get(y, y)


# ---- rules of users that are no functions --------------------------------------------------------------------------


def misbehaving_rule(case: Case) -> tuple[str, str] | None:
    """What a rule of a user's own op does beside computing the gradient from what it is given: kind and sentence."""
    try:
        results = [t for t in Graph(case, 0, opening=False).order if t._op is not None and is_users(t._op)]
        with _ModeContext(PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return next((found for t in results if (found := misbehaviour(t))), None)
    except Exception:  # no graph, or a rule that fails
        return None


def misbehaviour(t: Tensor) -> tuple[str, str] | None:
    xs = [np.array(x._data if isinstance(x, Tensor) else x) for x in t._inputs]
    ones = np.linspace(-1, 2, t.size).reshape(t.shape)
    rule = f"the rule of {t._op.name}"

    def gradients(g: Any, y: Any, *xs: Any) -> list[Any]:
        if not isinstance(t._op, Primitive):
            return [r(g, y, *xs, **t._params) for r, x in zip(t._op.vjp, t._inputs, strict=False) if requires_grad(x)]
        found = t._op.vjp.rule(g, y, *xs, **t._params)  # as it was written
        return [g for g in (found if isinstance(found, tuple | list) else [found]) if g is not None]

    given = copies((ones, t._data, *xs))
    result = gradients(*given)
    names = ("the gradient", "the output", *["an input"] * len(xs))
    for name, now, before in zip(names, given, (ones, t._data, *xs), strict=True):
        if not equal([now], [before]):
            return "aliasing", f"{rule} changes {name} that it is given, in place, while others still need it: copy it"
    kept = copies(result)
    gradients(2 * ones, t._data, *xs)
    if not equal(result, kept):
        return "aliasing", f"{rule} writes its result into one and the same array at each call: return a new one"
    function = getattr(t._op, "function", t._op.forward)
    function(*copies(xs), **t._params)
    here = copies(gradients(ones, t._data, *xs))
    function(*(0.5 * x + 0.25 if x.dtype.kind == "f" else x for x in xs), **t._params)
    if not equal(here, gradients(ones, t._data, *xs)):
        return "stale", f"{rule} uses what the last call of the function has left, and not the values that it is given"
    return None


def equal(some: Any, others: Any) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(some, others, strict=True))


def copies(arrays: Any) -> list[Any]:
    return [np.array(a) for a in arrays]


# ---- the graphs at all points --------------------------------------------------------------------------------------


def graphs(case: Case, exchange: tuple[int, int] | None = None) -> list[Graph]:
    """The graph at each point; none if f leaves none, or not the same everywhere."""
    try:
        found = [Graph(case, k, exchange) for k in range(len(case.points))]
    except Exception:  # f may be made for arrays only, or call another library
        return []
    for k, graph in enumerate(found):
        graph.first, graph.before = found[0], found[k - 1]
    return found if all(graph.like(found[0]) for graph in found) else []


def values(found: list[Graph], case: Case) -> list[tuple[str, list[Any]]]:
    """The inputs and the steps of f in words, each with its value at every point."""
    if not found:
        numeric = [i for i, x in enumerate(case.points[0]) if np.asarray(x).dtype.kind in "fiub"]
        return [(case.names[i], [np.asarray(point[i]) for point in case.points]) for i in numeric]
    return [(found[0].words(x), [graph.value(where) for graph in found]) for where, x in found[0].known()]


WRITTEN_OUT: list[tuple[str, list[dict[str, Any]]]] = [  # ops that functions are often written out for
    ("sigmoid", [{}]),
    ("tanh", [{}]),
    ("relu", [{}]),
    ("softmax", [{"axis": -1}, {"axis": 0}]),
    ("log_softmax", [{"axis": -1}, {"axis": 0}]),
]


def recognised(found: list[Graph]) -> bool:
    """Read in these graphs, of one function at several points, what is a known op written out as that op.

    Recognised by its values at all points. Says whether anything was.
    """
    if not found or len(found[0].order) > 100:
        return False
    readings = []
    for k, t in enumerate(found[0].order):
        if t._op is None or np.size(t._data) < 3:
            continue
        known = [(where, x) for where, x in found[0].known() if requires_grad(x) and x.shape == t.shape and x is not t]
        for (where, _), (name, params) in itertools.product(known, each_reading()):
            is_new = t._op.name != name and t.ndim >= bool(params)
            if is_new and all(is_that(CARDS[name], params, g.value(where), g.order[k]._data) for g in found):
                readings.append((k, where, CARDS[name], params))
                break
    for graph in found:
        results = list(graph.order)
        for k, where, card, params in readings:
            x = graph.inputs[where[1]] if where[0] == "inputs" else results[where[1]]
            if x in set(below(results[k])[1:]):
                results[k]._op, results[k]._inputs, results[k]._params = card, (x,), params
        graph.order = below(graph.y)
    return bool(readings)


def constants(found: list[Graph]) -> list[float]:
    """The numbers that a function is written with."""
    numbers = [x for t in (found[0].order if found else []) for x in t._inputs if isinstance(x, int | float)]
    return sorted({abs(float(x)) for x in numbers if np.isfinite(x)})


def each_reading() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, choices in WRITTEN_OUT:
        yield from ((name, params) for params in choices)


def is_that(card: Any, params: dict[str, Any], x: Any, y: Any) -> bool:
    """Whether y is what an op makes of x, and not x itself."""
    return bool(np.allclose(card.forward(x, **params), y, rtol=1e-12, atol=1e-14) and not np.allclose(x, y))
