"""Writes docs/reference/ops.md: every op, its formula, its gradient's, what it does at kinks, and whether it is proved.

    python docs/reference.py

All of it comes from the cards: the formulas from running them on symbols, the verdicts from `mg.verify`. It takes a few
minutes.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import minigrad as mg
from minigrad import ops
from minigrad.ops.card import CARDS, COMPOSITES, Composite, Op, each
from minigrad.transforms import flatten
from minigrad.verify.report import WORST_FIRST
from minigrad.verify.rules import Case, cases, is_elementwise, rule

PAGE = Path(__file__).parent / "reference" / "ops.md"
TITLES = "| op | formula | gradient | proof | at kinks, and notes |\n|---|---|---|---|---|\n"
WIDTH = 76  # of a formula; a longer one is cut
HEAD = """\
# Every op

Written by `python docs/reference.py` from the ops themselves. An op with a rule of its own is a *card*: its formula is
what it says on symbols, the gradient is what its rule then writes, for an incoming gradient `g`. SymPy, which
differentiates the formula without knowing the rule, says whether that is right, for the gradient and for the gradient
of the gradient. Of ops on arrays, one element is shown, in the smallest shape that they are tried in. A *composed* op
has no rule; its gradient follows from those of the cards, and is checked in the shapes that it is tried in.

"proved" means that the difference of the two gradients simplifies to zero, "agrees" that both are equal at random
points to 50 digits, where algebra did not get there: [how the proof works](../verify/how.md).

"""


def rooms() -> dict[str, tuple[str, list[Op | Composite]]]:
    """The files of ops: the first sentence of each, and its ops by name."""
    names = [info.name for info in pkgutil.iter_modules(ops.__path__)]
    files = {name: importlib.import_module(f"minigrad.ops.{name}") for name in names}
    found: dict[str, list[Op | Composite]] = {name: [] for name in files}
    for card in CARDS.values():
        rule = card.vjp.rule if isinstance(card.vjp, each) else next(r for r in card.vjp if r is not None)
        found[rule.__module__.rpartition(".")[2]].append(card)
    for composite in COMPOSITES.values():
        if composite.function.__name__ not in CARDS:
            found[composite.function.__module__.rpartition(".")[2]].append(composite)
    return {name: (sentence(files[name]), sorted(its, key=name_of)) for name, its in found.items() if its}


def sentence(module: Any) -> str:
    """The first sentence of a file's docstring."""
    return " ".join(module.__doc__.split()).split(". ")[0].rstrip(".") + "."


def name_of(op: Op | Composite) -> str:
    return op.name if isinstance(op, Op) else op.function.__name__


# ---- one row -------------------------------------------------------------------------------------------------------


def row(op: Op | Composite) -> str:
    columns = card_columns(op) if isinstance(op, Op) else composite_columns(op)
    return "| " + " | ".join([f"`{name_of(op)}`", *columns]) + " |"


def card_columns(card: Op) -> list[str]:
    try:
        case = smallest(card)
    except TypeError as error:  # no reading
        return ["—", "—", "—", cell(card.note or str(error))]
    entry = rule(card, order=2)
    first, second = entry.extra["first"], entry.extra["second"]
    proof = first if first == second else f"{first}; second order: {second}"
    return [formula(case), gradients(case), proof, cell(card.note)]


def smallest(card: Op) -> Case:
    """The case with the shortest formula; scalars, for an elementwise op."""
    if is_elementwise(card):
        params = {name: mg.symbolic.symbolic_array(value).item() for name, value in card.defaults.items()}
        shapes, given = [()] * (card.arity or 2), cases(card)[0][1]
        return Case(card, shapes, given or params)
    return min((Case(card, *case) for case in cases(card)), key=lambda case: len(str(case.y._data.ravel().tolist())))


def formula(case: Case) -> str:
    y = case.y._data
    return code(f"y{[0] * y.ndim or ''} = {y.ravel().tolist()[0]}") if y.size else "—"


def gradients(case: Case) -> str:
    """By one element of every input: the first whose gradient is not zero."""
    lines = []
    for name, g in case.backward(mg.Tensor(case.g)).items():
        slopes = np.zeros(case.leaves[name].shape, object) if g is None else np.asarray(g._data)
        i = next((i for i in np.ndindex(slopes.shape) if slopes[i] != 0), (0,) * slopes.ndim)
        lines.append(code(f"{name}{list(i) or ''}: {slopes[i]}"))
    return "<br>".join(lines) or "—"


def composite_columns(op: Composite) -> list[str]:
    verdicts, used = [], []
    for inputs, params in op.cases:
        verdict, names = judged(op, inputs, params)
        verdicts.append(verdict)
        used += names
    verdict = min(verdicts, key=WORST_FIRST.index)
    return [f"composed of {', '.join(dict.fromkeys(used)) or 'nothing else'}", "", verdict, cell(op.note)]


def judged(op: Composite, inputs: list, params: dict) -> tuple[str, list[str]]:
    """The verdict on a call, and the ops in it."""
    random: list[np.ndarray] = []
    leaves, rebuild = flatten([filled(x, np.random.default_rng(0), random) for x in inputs])
    floats = [i for i, x in enumerate(leaves) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
    variables = [i for i in floats if any(leaves[i] is x for x in random)]

    def call(*xs: mg.Tensor) -> Any:
        given = dict(zip(variables or floats, xs, strict=True))
        return op.function(*rebuild(given.get(i, x) for i, x in enumerate(leaves)), **params)

    def with_signs(*logarithms: mg.Tensor) -> Any:
        return call(*[leaves[i] * mg.exp(x) for i, x in zip(floats, logarithms, strict=True)])

    # An array that a case gives stays as it is (it may have to ascend); where there are no others, its signs stay.
    if variables:
        report = mg.verify.gradient(call, *[leaves[i] for i in variables])
    else:
        report = mg.verify.gradient(with_signs, *[np.zeros(leaves[i].shape) for i in floats])
    results, _ = flatten(call(*[mg.tensor(leaves[i], requires_grad=True) for i in variables or floats]))
    return report.verdict, [name for y in results for name in mg.verify.ops_of(y)]


def filled(x: Any, rng: np.random.Generator, random: list[np.ndarray]) -> Any:
    """An input of a case: random numbers for a shape, which are put among the `random` ones."""
    if isinstance(x, list):
        return [filled(part, rng, random) for part in x]
    if not isinstance(x, tuple) or not all(isinstance(n, int) for n in x):
        return x
    random.append(np.asarray(rng.normal(size=x)))
    return random[-1]


def code(text: str) -> str:
    return f"`{text if len(text) <= WIDTH else text[: WIDTH - 3] + '...'}`".replace("|", "\\|")


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


# ---- the page ------------------------------------------------------------------------------------------------------


def page() -> str:
    parts = [HEAD]
    for name, (sentence, its) in rooms().items():
        parts.append(f"## {name}\n\n{sentence}\n\n{TITLES}")
        parts += [row(op) + "\n" for op in tqdm(its, desc=name, disable=None)]
        parts.append("\n")
    return "".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
