"""What a verification found, as data and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .prove import AGREES, PROVED, REFUTED, UNDECIDED

WORST_FIRST = (REFUTED, UNDECIDED, AGREES, PROVED)
WIDTH = 110  # of a table, in characters


@dataclass
class Counterexample:
    """Where a gradient is wrong: the inputs by name, the element of the gradient, and its two values there.

    `line` is Python that shows the wrong value when it is pasted beside the functions that were verified.
    """

    inputs: dict[str, Any]
    name: str
    index: tuple[int, ...]
    ours: float
    right: float
    line: str = ""

    def __str__(self) -> str:
        at = ", ".join(f"{name} = {np.array2string(np.asarray(x), separator=', ')}" for name, x in self.inputs.items())
        element = self.name + (str(list(self.index)) if self.index else "")
        where = " ".join(at.split()) if len(at) <= 2 * WIDTH else "the inputs that .counterexample.inputs holds"
        lines = [f"the gradient by {element} is {_number(self.ours)}, and {_number(self.right)} is right, at {where}"]
        return "\n  ".join([*lines, *([f"to see it: {self.line}"] if self.line else [])])


@dataclass
class Entry:
    """One thing verified: its name (an op, an input, an optimizer), the formula found beside the right one, and why."""

    name: str
    verdict: str
    formula: str = ""
    ours: str = ""
    right: str = ""
    note: str = ""
    counterexample: Any = None
    extra: Mapping[str, str] = field(default_factory=dict)  # more columns of the table: title, text


@dataclass
class Report:
    """The entries of a verification; printed as a table, with the formulas of what is refuted.

    `verdict` is the worst one among the entries: "refuted" (wrong, at the `counterexample`), "undecided", "agrees"
    (equal wherever it was tried, and not proved) or "proved" (the difference simplifies to zero). `ok` says that
    nothing is refuted or undecided; `hint` what is probably wrong, and what was and was not looked at.
    """

    entries: list[Entry] = field(default_factory=list)
    hint: str = ""
    columns: Mapping[str, str] = field(  # title: the field of an entry
        default_factory=lambda: {"op": "name", "formula": "formula", "our gradient": "ours",
                                 "SymPy's gradient": "right", "verdict": "verdict"}
    )  # fmt: skip
    diagnoses: list[Any] = field(default_factory=list)  # each with .kind, .sentence and .input

    @property
    def verdict(self) -> str:
        found = {entry.verdict for entry in self.entries}
        return next(v for v in WORST_FIRST if v in found or v == PROVED)

    @property
    def ok(self) -> bool:
        return self.verdict in (PROVED, AGREES)

    @property
    def counterexample(self) -> Any:
        """Where the first refuted entry is wrong."""
        return next((entry.counterexample for entry in self.entries if entry.verdict == REFUTED), None)

    def __str__(self) -> str:
        verdicts = [e.verdict for e in self.entries]
        counts = ", ".join(f"{verdicts.count(v)} {v}" for v in (PROVED, AGREES, REFUTED, UNDECIDED))
        wrong = [line for e in self.entries if e.counterexample is not None for line in self._wrong(e)]
        notes = list(dict.fromkeys(f"{e.name}: {e.note}" for e in self.entries if e.note))
        return "\n".join([*self._table(), counts, *wrong, *notes, *([self.hint] if self.hint else [])])

    __repr__ = __str__

    def _wrong(self, entry: Entry) -> list[str]:
        """A refuted entry, with its formulas in full."""
        titles = {name: title for title, name in self.columns.items() if name in ("ours", "right")}
        formulas = [(title, getattr(entry, name)) for name, title in titles.items() if getattr(entry, name)]
        width = max((len(title) for title, _ in formulas), default=0)
        lines = [f"  {title.ljust(width)}  {_short(text, 4 * WIDTH)}" for title, text in formulas]
        return [f"{entry.name} is {entry.verdict}: {entry.counterexample}", *lines]

    def _table(self) -> list[str]:
        extra = dict.fromkeys(title for e in self.entries for title in e.extra if title not in self.columns)
        columns = [
            [title, *(e.extra.get(title) or getattr(e, name, "") for e in self.entries)]
            for title, name in self.columns.items()
        ]
        columns[-1:-1] = [[title, *(e.extra.get(title, "") for e in self.entries)] for title in extra]
        columns = [column for column in columns if any(column[1:])]
        widths = _fit([max(map(len, column)) for column in columns], WIDTH - 2 * len(columns))
        rows = [[_short(cell, w) for cell, w in zip(row, widths, strict=True)] for row in zip(*columns, strict=True)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return [*lines[:1], "  ".join("-" * w for w in widths), *lines[1:]]


def _number(x: Any) -> str:
    return f"{x:.12g}" if isinstance(x, int | float) else f"of shape {np.shape(x)}"


def _fit(widths: list[int], room: int) -> list[int]:
    """Widths that fit into the room: the widest columns are narrowed, to one common width."""
    widest = max(widths, default=0)
    while sum(min(w, widest) for w in widths) > room and widest > 12:
        widest -= 1
    return [min(w, widest) for w in widths]


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
