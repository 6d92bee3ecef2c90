"""Proof that the gradient rule on each op's card is right.

The card's formula is differentiated by `sympy.diff`, which knows nothing of our rules; our rule runs on the same
symbols, in `backward` itself. Both are linear in the incoming gradient g, whose elements are symbols too.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import sympy

from ..names import known
from ..ops.card import CARDS, Op
from ..symbolic import symbolic_array
from ..tensor import Tensor
from .prove import Point, judge_all
from .report import WORST_FIRST, Entry, Report


def rules(ops: Iterable[str] | str | None = None) -> Report:
    """Check the gradient rules of the named ops (of all, for None) against SymPy, at small shapes with broadcasting.

    Ops with parameters are checked at those of their cases. A verdict is about the smooth pieces of a formula; at the
    kinks between them the slope is a convention, which the op's card notes (`mg.relu.note`).

    Raises ValueError for an unknown op, with the nearest name.

    >>> import minigrad as mg
    >>> print(mg.verify.rules(["tanh"]))
    op    formula  our gradient        SymPy's gradient    verdict
    ----  -------  ------------------  ------------------  -------
    tanh  tanh(x)  g*(1 - tanh(x)**2)  g*(1 - tanh(x)**2)  proved
    1 proved, 0 agrees, 0 refuted, 0 undecided
    """
    names = list(CARDS) if ops is None else [ops] if isinstance(ops, str) else list(ops)
    for name in names:
        known("op", name, CARDS)
    return Report([rule(CARDS[name]) for name in names])


def ops_of(result: Tensor) -> list[str]:
    """The names of the ops that a tensor was computed by, in the order of their first use.

    >>> import minigrad as mg
    >>> x = mg.tensor(1.0, requires_grad=True)
    >>> mg.verify.ops_of(mg.exp(x * x) + x)
    ['multiply', 'exp', 'add']
    """
    from ..autodiff import below

    return list(dict.fromkeys(t._op.name for t in reversed(below(result)) if t._op is not None))


def rule(card: Op) -> Entry:
    """The entry of one card: the worst of its cases, or the first."""
    entries = [check(card, shapes, params) for shapes, params in cases(card)]
    return min(entries, key=lambda entry: WORST_FIRST.index(entry.verdict))


def cases(card: Op) -> list[tuple[list, dict]]:
    """What a card is checked on: shapes (or arrays, for inputs without a gradient) and parameters."""
    if card.cases is not None:
        return card.cases
    n = card.arity or 1
    broadcast: list = [(2,)] + [(2, 1)] * (n - 1)
    return [([()] * n, {})] + ([(broadcast, {})] if n > 1 else [])


def check(card: Op, shapes: list, params: dict[str, Any]) -> Entry:
    """One case: every element of every input's gradient, ours beside SymPy's."""
    inputs = [variables(card, i, shape, len(shapes)) for i, shape in enumerate(shapes)]
    y = card(*inputs, **params)
    g = symbolic_array(_symbols("g", y.shape))
    y.backward(g)
    total = sum((y._data * g).ravel().tolist(), start=sympy.S.Zero)
    compared = []
    for x in inputs:
        if isinstance(x, Tensor) and x.requires_grad:
            ours = x.grad._data if x.grad is not None else np.zeros(x.shape, object)
            pairs = zip(x._data.ravel().tolist(), ours.ravel().tolist(), strict=True)
            compared += [(sympy.sympify(a), sympy.diff(total, s)) for s, a in pairs]
    sample = sampler(card, inputs, g)
    judged = judge_all(compared, sample)
    verdicts = [(j.verdict, j.at, *pair) for j, pair in zip(judged, compared, strict=True)]
    # The one shown is the worst, and among equals one that is not zero.
    verdict, at, ours, theirs = min(verdicts, key=lambda v: (WORST_FIRST.index(v[0]), v[2] == v[3] == 0))
    first = y._data.ravel().tolist()[0] if y.size else ""
    return Entry(card.name, verdict, str(first), str(ours), str(theirs), counterexample=at)


NAMES = {1: ["x"], 2: ["a", "b"], 3: ["c", "a", "b"]}


def variables(card: Op, i: int, shape: Any, n: int) -> Any:
    """Input i as a tensor of symbols, as positive as its domain; a condition as relations of symbols."""
    if isinstance(shape, np.ndarray):
        return shape
    low, _ = interval(card, i)
    name = NAMES.get(n, list("abcdef"))[i]
    data = symbolic_array(_symbols(name, shape, **({"positive": True} if low > 0 else {"real": True})))
    differentiable = card.vjp[i] is not None if isinstance(card.vjp, tuple) else True
    return Tensor(data, True, name) if differentiable else data > 0


def interval(card: Op, i: int) -> tuple[float, float]:
    """Where input i is sampled."""
    domain = card.domain[i] if isinstance(card.domain, list) else card.domain
    return domain if isinstance(domain, tuple) else (-3, 3)


def sampler(card: Op, inputs: list, g: np.ndarray) -> Any:
    """A function that draws a point of the card's domain: odd multiples of 1/194, so never a round number."""

    def draw(rng: random.Random, low: float, high: float) -> sympy.Rational:
        return sympy.Rational(2 * rng.randint(int(97 * low), int(97 * high) - 1) + 1, 194)

    def sample(rng: random.Random) -> Point:
        at = {s: draw(rng, 0, 3) for s in g.ravel().tolist()}
        for i, x in enumerate(inputs):
            values = x._data if isinstance(x, Tensor) else np.asarray(x)
            for s in {s for e in values.ravel().tolist() for s in getattr(e, "free_symbols", ())}:
                at[s] = draw(rng, *interval(card, i))
        return at

    return sample


def _symbols(name: str, shape: tuple[int, ...], **assumptions: bool) -> np.ndarray:
    data = np.empty(shape, object)
    for i in np.ndindex(data.shape):
        data[i] = sympy.Symbol("_".join([name, *map(str, i)]), **(assumptions or {"real": True}))
    return data
