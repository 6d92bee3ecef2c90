"""Writes into the pages what the code knows: the optimizers' formulas and hyperparameters, and compiled source.

    python docs/generate.py

A page says `<!-- formula adam -->`, `<!-- options Adam -->` or `<!-- block maximum -->` where something belongs, and
everything from there to `<!-- end -->` is written anew.
"""

import inspect
import itertools
import re
from pathlib import Path

import numpy as np

import minigrad as mg
from minigrad.optim.equations import LETTERS

PAGES = [*(Path(__file__).parent / "optimizers").glob("*.md"), Path(__file__).parent / "compiler.md"]
MARK = re.compile(r"(<!-- (?P<what>\w+) (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
BETAS = rf"{LETTERS['beta1']}, {LETTERS['beta2']}"


def formula(name: str) -> str:
    """The steps of a rule, as mathematics."""
    return f"\n$$\n{mg.optim.formula(name).latex}\n$$\n\n"


def options(name: str) -> str:
    """The hyperparameters of an optimizer: how it is called with them, and the letters of the formulas."""
    parameters = inspect.signature(getattr(mg.optim, name)).parameters.values()
    rows = [
        f"| `{p.name}` | {letter(p.name)} | `{p.default!r}` |"
        for p in parameters
        if p.default is not inspect.Parameter.empty
    ]
    return "\n".join([f"\n| `mg.optim.{name}` | in the formula | default |", "|---|---|---|", *rows, "\n"])


def letter(name: str) -> str:
    symbol = BETAS if name == "betas" else LETTERS.get(name)
    return f"${symbol}$" if symbol else ""


def block(name: str) -> str:
    """The first loops in a compiled step of a net for the two moons that compute a function of NumPy's."""
    mg.random.seed(0)
    nn = mg.nn
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    step = mg.compile_step(model, nn.HingeLoss(), mg.optim.SGD(model.parameters(), lr=0.5))
    points = np.random.default_rng(0).normal(size=(100, 2))
    step(points, np.sign(points[:, :1]))
    functions = step.source.split("@njit(pipeline_class=Apart, ")[1:]
    found = next(f for f in functions if f"= {name} of" in f or f", {name} of" in f)
    head, *rest = found.strip().splitlines()[1:]
    body = itertools.takewhile(lambda line: line.startswith(" "), rest)
    lines = [head, *(re.sub(r", \S+\.py:\d+$", "", line) for line in body)]
    return "\n".join(["```python", *lines, "```", ""])


def filled(page: str) -> str:
    """The text of a page with everything between marks written anew."""
    writers = {"formula": formula, "options": options, "block": block}
    return MARK.sub(lambda mark: mark[1] + writers[mark["what"]](mark["name"]) + mark[4], page)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text()))
