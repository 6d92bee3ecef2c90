"""Proof that the gradient rule on each op's card is right, to the second order, and that its numbers are.

The card's formula is differentiated by `sympy.diff`, which knows nothing of our rules; our rule runs on the same
symbols, in `backward` itself. The gradient is linear in the incoming gradient g, whose elements are symbols too. For
the second order, the gradient times symbols h is differentiated again, by the inputs and by g, both ways.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import sympy

from ..names import known
from ..ops.card import CARDS, COMPOSITES, Op
from ..symbolic import SymbolicArray, exact, symbolic_array
from ..symbolic.array import sympy_function
from ..tensor import Tensor
from .prove import PROVED, REFUTED, Judgement, Point, evaluate, judge_all, settle
from .report import WORST_FIRST, Counterexample, Entry, Report
from .ulp import NEAR, Leg, array_legs, elementwise_legs, input_names, intervals

POINTS = 12  # where formulas are compared to 50 digits
NOTABLE = 100  # ulp from which on a place is named
TINY = sympy.Rational(1, 1024)  # how far beside a kink the slopes are taken
COLUMNS = {"op": "name", "our gradient": "ours", "SymPy's gradient": "right", "verdict": "verdict"}
HINT = """\
The gradient by an input, times the incoming g; "second" is the gradient of that. Value and gradient in floats: the
largest error in ulp at usual inputs / at all floats ("none": no number, or infinity, where there is a finite one)."""


def rules(
    ops: Iterable[str | Op] | str | Op | None = None, *, order: int = 2, numbers: bool = True, seconds: float = 20,
    progress: bool = False,
) -> Report:  # fmt: skip
    """Check the gradient rules of ops (all, for None) against SymPy, in several small shapes with broadcasting.

    `ops` are names, or cards such as a `mg.primitive` of yours. The parameters of elementwise ops are symbols too, so
    that a verdict holds for all their values; other ops are checked at those of their cases. `order` is 2, or 1 for the
    gradients alone. With `numbers`, the op and its gradient are also measured in floats beside the formula in
    50 digits and more: in float64 and in float32, elementwise ops over all floats. What then is another function than
    the formula, and not just rounded, is refuted. `seconds` is how long proofs of one op may take; `progress` shows a
    bar. A verdict is about the smooth pieces of a formula; at the kinks between them the slope is a convention, which
    must lie between those on both sides.

    Raises ValueError for an unknown op, with the nearest name, or another order, and TypeError for an op whose formula
    is missing.

    >>> import minigrad as mg
    >>> print(mg.verify.rules(["tanh"], order=1, numbers=False))
    op    formula  our gradient        SymPy's gradient    verdict
    ----  -------  ------------------  ------------------  -------
    tanh  tanh(x)  g*(1 - tanh(x)**2)  g*(1 - tanh(x)**2)  proved
    1 proved, 0 agrees, 0 refuted, 0 undecided
    """
    if order not in (1, 2):
        raise ValueError(f"rules: order={order!r}; it is 1, or 2 for the gradients of the gradients too")
    given = list(CARDS) if ops is None else [ops] if isinstance(ops, str | Op) else list(ops)
    cards = [name if isinstance(name, Op) else named(name) for name in given]
    entries = [rule(card, order, numbers, seconds) for card in _shown(cards, progress)]
    if order == 1 and not numbers:
        return Report(entries)
    return Report(entries, HINT if numbers else "", COLUMNS)


def named(name: str) -> Op:
    """The card of this name. Raises ValueError where there is none, for it may be composed of others."""
    if name in COMPOSITES and name not in CARDS:
        raise ValueError(
            f"rules: {name} is composed of other ops and has no rule of its own; mg.verify.gradient checks its gradient"
        )
    return CARDS[known("op", name, CARDS)]


def _shown(cards: list[Op], progress: bool) -> Iterable[Op]:
    if not progress:
        return cards
    from tqdm import tqdm

    return tqdm(cards, unit="op", leave=False, disable=None)  # none where nobody looks


def ops_of(result: Tensor) -> list[str]:
    """The names of the ops that a tensor was computed by, in the order of their first use.

    >>> import minigrad as mg
    >>> x = mg.tensor(1.0, requires_grad=True)
    >>> mg.verify.ops_of(mg.exp(x * x) + x)
    ['multiply', 'exp', 'add']
    """
    from ..autodiff import below

    return list(dict.fromkeys(t._op.name for t in reversed(below(result)) if t._op is not None))


# ---- one card ------------------------------------------------------------------------------------------------------


def rule(card: Op, order: int = 1, numbers: bool = False, seconds: float = 20) -> Entry:
    """The entry of one card: the worst of its cases, or the first."""
    looked = [Case(card, shapes, params) for shapes, params in cases(card)]
    share = seconds / len(looked) / order
    entry = worst([case.entry(case.first(), share) for case in looked])
    if order == 2:
        second = worst([case.entry(case.second(), share, order=2) for case in looked])
        entry.extra = {"first": entry.verdict, "second": second.verdict}
        if WORST_FIRST.index(second.verdict) < WORST_FIRST.index(entry.verdict):
            entry.verdict, entry.counterexample = second.verdict, second.counterexample
            entry.note = f"second order: {second.note}"
            if second.verdict == REFUTED:
                entry.ours, entry.right, entry.note = second.ours, second.right, "wrong at second order"
    kinks = at_kinks(card)
    for kink in kinks:
        if not kink.fits:
            entry.verdict, entry.note = REFUTED, str(kink)
    if numbers:
        measure(card, entry)
        entry.note = "; ".join(filter(None, [entry.note, str(kinks[0]) if kinks else "", card.note]))
    return entry


class Kink(NamedTuple):
    """A point where the slope jumps, by one input: the slopes on both sides, and ours there."""

    place: str
    left: float
    right: float
    ours: float

    @property
    def fits(self) -> bool:
        return min(self.left, self.right) - 1e-9 <= self.ours <= max(self.left, self.right) + 1e-9

    def __str__(self) -> str:
        sides = f"{self.left:g} to the left and {self.right:g} to the right"
        return f"at {self.place} the slope is {sides}, and {self.ours:g} here"


def at_kinks(card: Op) -> list[Kink]:
    """The kinks of an elementwise op where its card names them, or where two of its inputs are equal."""
    if not is_elementwise(card) or card.arity is None or "bool" in intervals(card):
        return []
    names = input_names(card, card.arity)
    symbols = [sympy.Symbol(name, real=True) for name in names]
    formula = sympy_function(card)(*symbols, *map(exact, card.defaults.values()))
    if card.arity > 1 and not formula.has(sympy.Max, sympy.Min, sympy.Piecewise):
        return []
    found = []
    for point in kink_points(card):
        for i, x in enumerate(symbols):
            slope, at = formula.diff(x), dict(zip(symbols, map(sympy.Rational, point), strict=True))
            left, right = (float(settle(slope, {**at, x: at[x] + h}).subs(at)) for h in (-TINY, TINY))
            if left != right:
                ours = slopes_at(card, point)[i]
                place = ", ".join(f"{name} = {v:g}" for name, v in zip(names, point, strict=True))
                place += f", by {names[i]}," if len(names) > 1 else ""
                found.append(Kink(place, left, right, ours))
    return found


def slopes_at(card: Op, point: Iterable[float]) -> list[float]:
    """Our gradient at numbers."""
    leaves = [Tensor(np.array(v), True) for v in point]
    card(*leaves).backward()
    return [0.0 if x.grad is None else x.grad.item() for x in leaves]


def kink_points(card: Op) -> list[tuple[float, ...]]:
    if card.arity == 1:
        return [(float(k),) for k in card.kinks]
    middle = [(low + high) / 2 for low, high in intervals(card)]
    return [
        tuple(middle[j] if k == i else v for k, v in enumerate(middle)) for i in range(len(middle)) for j in range(i)
    ]


def worst(entries: Sequence[Entry]) -> Entry:
    return min(entries, key=lambda entry: WORST_FIRST.index(entry.verdict))


def measure(card: Op, entry: Entry) -> None:
    """Add the errors of the op's numbers to its entry."""
    if is_elementwise(card):
        runs = [elementwise_legs(card)]
    else:
        runs = [array_legs(card, shapes, params) for shapes, params in cases(card)]
    notes = [entry.note]
    for legs in zip(*runs, strict=True):
        leg = Leg(legs[0].what).joined(legs)
        entry.extra = {**entry.extra, f"{leg.what}, ulp": str(leg)}
        if leg.other:
            entry.verdict = REFUTED
            notes.append(f"its {leg.what} is {leg.other}")
        elif leg.faults:
            notes.append(f"its {leg.what} is no finite number, and should be, at {leg.faults[0]}")
        elif leg.worst >= 2**52:
            notes.append(f"its {leg.what} has no digit right at {leg.place}")
        elif leg.worst > NOTABLE:
            notes.append(f"its {leg.what} is off by {leg.worst:.0e} ulp at {leg.place}")
    entry.note = "; ".join(filter(None, notes))


def is_elementwise(card: Op) -> bool:
    """Whether the card's formula is one of elements."""
    return card.domain is not None and getattr(card, "elementwise", None) is not False and card.sympy is not None


def cases(card: Op) -> list[tuple[list, dict]]:
    """What a card is checked on: shapes and parameters. In place of a shape may stand an array: of integers, for an
    input without a gradient; of floats, for one that is only tried near these values.

    The parameters of an elementwise op are symbols, and at its first shapes also the numbers that they are by default.
    Those of a primitive without a domain are these numbers, and at its first shapes others.
    """
    if card.cases is not None:
        return card.cases
    n = card.arity or 2
    params = {name: sympy.Symbol(name, positive=True) for name in card.defaults} if is_elementwise(card) else {}
    shapes: list[list] = [[()] * n, [(2,)] + [(2, 1)] * (n - 1), [(1,)] + [(2,)] * (n - 1)] if n > 1 else [[()], [(2,)]]
    floats = {k: 1.5 * v + 0.25 for k, v in card.defaults.items() if isinstance(v, float)}
    others = [(shapes[0], {})] if params else [(shapes[0], floats)] if floats else []
    return others + [(each, params) for each in shapes]


class Compared(NamedTuple):
    """One element of a gradient: of which variable, and the two formulas."""

    name: str
    place: tuple[int, ...]
    ours: sympy.Expr
    right: sympy.Expr


class Case:
    """A card in certain shapes: its inputs and its result, on symbols."""

    def __init__(self, card: Op, shapes: list, params: dict[str, Any]) -> None:
        # An array of one symbol, since SymPy's own symbols do not know how to meet tensors.
        self.card = card
        self.params = {k: symbolic_array(v) if isinstance(v, sympy.Symbol) else v for k, v in params.items()}
        self.free = [v for v in params.values() if isinstance(v, sympy.Symbol)]
        self.names = input_names(card, len(shapes))
        self.near: dict[sympy.Symbol, float] = {}
        self.inputs = [self.variable(i, shape) for i, shape in enumerate(shapes)]
        self.y = card(*self.inputs, **params)
        self.g = _symbols("g", self.y.shape)
        self.leaves = {
            name: x
            for name, x in zip(self.names, self.inputs, strict=True)
            if isinstance(x, Tensor) and x.requires_grad
        }
        self.total = _dot(self.y, self.g)
        self.slopes = {name: _diff(self.total, x) for name, x in self.leaves.items()}

    def variable(self, i: int, shape: Any) -> Any:
        """Input i as a tensor of symbols, as positive as its domain; a condition as relations of symbols."""
        values = shape if isinstance(shape, np.ndarray) else None
        if values is not None and values.dtype.kind != "f":
            return values
        shape = shape if values is None else values.shape
        positive = is_elementwise(self.card) and intervals(self.card)[i] != "bool" and intervals(self.card)[i][0] >= 0
        data = _symbols(self.names[i], shape, **({"positive": True} if positive else {"real": True}))
        if values is not None:
            self.near |= dict(zip(data.ravel().tolist(), values.ravel().tolist(), strict=True))
        differentiable = self.card.vjp[i] is not None if isinstance(self.card.vjp, tuple) and self.card.vjp else True
        return Tensor(data, True, self.names[i]) if differentiable else data > 0

    def first(self) -> list[Compared]:
        """The gradient by every element of every input, ours beside SymPy's."""
        return self.compared(self.backward(Tensor(self.g)), self.slopes)

    def second(self) -> list[Compared]:
        """The gradient, by the inputs and by g, of the sum of h times the gradient."""
        g = Tensor(self.g, True, "g")
        found = self.backward(g, create_graph=True)
        if "g" in self.leaves:
            raise ValueError(f"{self.card.name}: an input is called g, as the incoming gradient is; rename it")
        h = {name: _symbols(f"h_{name}", x.shape) for name, x in self.leaves.items()}
        total = sum((_dot(self.slopes[name], h[name]) for name in h), start=sympy.S.Zero)
        ours = [(found[name] * Tensor(h[name])).sum() for name in h if isinstance(found[name], Tensor)]
        variables = {**self.leaves, "g": g}
        linked = [s for s in ours if s.requires_grad]
        for x in variables.values():
            x.grad = None
        for s in linked:
            s.backward()
        gradients = {name: x.grad for name, x in variables.items()}
        return self.compared(gradients, {name: _diff(total, x) for name, x in variables.items()})

    def backward(self, g: Tensor, create_graph: bool = False) -> dict[str, Tensor | None]:
        for x in self.leaves.values():
            x.grad = None
        y = self.card(*self.inputs, **self.params)
        y.backward(g, create_graph=create_graph)
        return {name: x.grad for name, x in self.leaves.items()}

    def compared(self, ours: dict, right: dict[str, np.ndarray]) -> list[Compared]:
        """Element by element; no gradient is zero."""
        pairs = []
        for name, theirs in right.items():
            found = np.zeros(theirs.shape, object) if ours[name] is None else ours[name]._data
            pairs += [Compared(name, i, sympy.sympify(found[i]), theirs[i]) for i in np.ndindex(theirs.shape)]
        return pairs

    def entry(self, pairs: list[Compared], seconds: float, order: int = 1) -> Entry:
        """The verdict, and the worst element: among equals one that is not zero."""
        judged = judge_all([(p.ours, p.right) for p in pairs], self.sample, POINTS, seconds, [self.total])
        found = list(zip(pairs, judged, strict=True))
        first = self.y._data.ravel().tolist()[0] if self.y.size else ""
        entry = Entry(self.card.name, PROVED, str(first))
        if found:
            pair, judgement = min(found, key=lambda f: (WORST_FIRST.index(f[1].verdict), f[0].ours == f[0].right == 0))
            entry.verdict, entry.ours, entry.right = judgement.verdict, str(pair.ours), str(pair.right)
            entry.note = judgement.reason
            if judgement.at is not None:
                entry.counterexample = self.counterexample(pair, judgement, order)
        return entry

    # ---- points ----------------------------------------------------------------------------------------------

    def sample(self, rng: random.Random) -> Point:
        """A point of the card's domain: dyadic rationals, which floats hold exactly, and none of them round."""
        at = {s: draw(rng, 0.1, 3) for s in self.g.ravel().tolist() + self.hs()}
        at |= {s: draw(rng, 0.1, 3) for s in self.free}
        for i, x in enumerate(self.inputs):
            values = x._data if isinstance(x, Tensor) else np.asarray(x)
            low, high = interval(self.card, i)
            for s in {s for e in values.ravel().tolist() for s in getattr(e, "free_symbols", ())}:
                near = self.near.get(s)
                at[s] = draw(rng, low, high) if near is None else draw(rng, near - NEAR, near + NEAR)
        return at

    def hs(self) -> list[sympy.Symbol]:
        return [s for name, x in self.leaves.items() for s in _symbols(f"h_{name}", x.shape).ravel().tolist()]

    def counterexample(self, pair: Compared, judgement: Judgement, order: int) -> Counterexample:
        """The point that refutes, and a line that shows our gradient there."""
        assert judgement.at is not None
        at = judgement.at
        ours, right = (float(v) for v in evaluate([pair.ours, pair.right], at))
        arrays = {name: _numbers(x._data if isinstance(x, Tensor) else x, at) for name, x in self.given().items()}
        params = {name: _parameter(v, at) for name, v in self.params.items()}
        call = ", ".join([*self.names, *(f"{name}={value}" for name, value in params.items())])
        makes = [
            f"{name} = mg.tensor({x.tolist()}, requires_grad=True)" if name in self.leaves else f"{name} = {_source(x)}"
            for name, x in arrays.items()
        ]
        g = _numbers(self.g, at)
        makes.append(f"g = mg.tensor({g.tolist()}, requires_grad=True)")
        card = self.card.name if hasattr(self.card, "function") else f"mg.ops.CARDS[{self.card.name!r}]"
        steps = [*makes, f"{card}({call}).backward(g{', create_graph=True' if order == 2 else ''})"]
        if order == 2:
            names = list(self.leaves)
            h = {name: _numbers(_symbols(f"h_{name}", x.shape), at) for name, x in self.leaves.items()}
            steps.append("s = " + " + ".join(f"({name}.grad * np.array({h[name].tolist()})).sum()" for name in names))
            steps += [f"{name}.grad = None" for name in [*names, "g"]] + ["s.backward()"]
            arrays |= {f"h_{name}": values for name, values in h.items()}
        index = f"[{', '.join(map(str, pair.place))}]" if pair.place else ""
        steps.append(f"{pair.name}.grad.data{index}" if pair.ours != 0 else f"{pair.name}.grad")  # None stands for 0
        return Counterexample({**arrays, "g": g}, pair.name, pair.place, ours, right, "; ".join(steps))

    def given(self) -> dict[str, Any]:
        return dict(zip(self.names, self.inputs, strict=True))


def draw(rng: random.Random, low: float, high: float) -> sympy.Rational:
    """An odd multiple of 2**-16 between the bounds: exact in floats, too fine for two to be equal."""
    return sympy.Rational(2 * rng.randint(int(2**15 * low), int(2**15 * high) - 1) + 1, 2**16)


def interval(card: Op, i: int) -> tuple[float, float]:
    """Where input i is sampled."""
    domain = intervals(card)[min(i, len(intervals(card)) - 1)]
    return domain if isinstance(domain, tuple) else (-3, 3)


# ---- symbols and numbers -------------------------------------------------------------------------------------------


def _symbols(name: str, shape: tuple[int, ...], **assumptions: bool) -> SymbolicArray:
    data = np.empty(shape, object)
    for i in np.ndindex(data.shape):
        data[i] = sympy.Symbol("_".join([name, *map(str, i)]), **(assumptions or {"real": True}))
    return symbolic_array(data)


def _dot(a: Any, b: np.ndarray) -> sympy.Expr:
    a = a._data if isinstance(a, Tensor) else a
    return sympy.Add(*[x * y for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)])


def _diff(total: sympy.Expr, x: Tensor) -> np.ndarray:
    """The derivative by each element."""
    slopes = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        slopes[i] = sympy.diff(total, x._data[i])
    return slopes


def _numbers(x: Any, at: Point) -> np.ndarray:
    """The numbers of an array of symbols at a point; conditions as truth values."""
    x = np.asarray(x)
    if x.dtype != object:
        return x
    values = [exact(e).xreplace(at) for e in x.ravel().tolist()]
    return np.array([bool(v) if v in (True, False) else float(v) for v in values]).reshape(x.shape)


def _parameter(value: Any, at: Point) -> str:
    return repr(_numbers(value, at).item()) if isinstance(value, SymbolicArray) else _source(value)


def _source(value: Any) -> str:
    """Python that gives the value back."""
    if isinstance(value, np.ndarray):
        return f"np.array({value.tolist()})"
    return f"np.{np.dtype(value).name}" if isinstance(value, type) else repr(value)
