"""Writes into the pages what the code knows: the formulas of the optimizers, and their hyperparameters.

    python docs/generate.py

A page says `<!-- formula adam -->` or `<!-- options Adam -->` where something belongs, and everything from there to
`<!-- end -->` is written anew.
"""

import inspect
import re
from pathlib import Path

import minigrad as mg
from minigrad.optim.equations import LETTERS

PAGES = Path(__file__).parent / "optimizers"
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


def filled(page: str) -> str:
    """The text of a page with everything between marks written anew."""
    writers = {"formula": formula, "options": options}
    return MARK.sub(lambda mark: mark[1] + writers[mark["what"]](mark["name"]) + mark[4], page)


if __name__ == "__main__":
    for path in PAGES.glob("*.md"):
        path.write_text(filled(path.read_text()))
