"""What a verification found, as data and as a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .prove import AGREES, PROVED, REFUTED, UNDECIDED


@dataclass
class Entry:
    """One gradient: our formula beside SymPy's, and the verdict."""

    op: str
    formula: str
    ours: str
    sympy: str
    verdict: str
    counterexample: dict[Any, Any] | None = None


@dataclass
class Report:
    """The entries of a verification; printed as a table.

    `verdict` is the worst one among the entries: "refuted", "undecided", "agrees" (equal to 50 digits at random points)
    or "proved" (the difference simplifies to zero). `ok` says that nothing is refuted or undecided.
    """

    entries: list[Entry] = field(default_factory=list)
    hint: str = ""

    @property
    def verdict(self) -> str:
        found = {entry.verdict for entry in self.entries}
        return next(v for v in (REFUTED, UNDECIDED, AGREES, PROVED) if v in found or v == PROVED)

    @property
    def ok(self) -> bool:
        return self.verdict in (PROVED, AGREES)

    @property
    def counterexample(self) -> dict[Any, Any] | None:
        """The input at which the first refuted entry is wrong."""
        return next((entry.counterexample for entry in self.entries if entry.verdict == REFUTED), None)

    def __str__(self) -> str:
        rows = [("op", "formula", "our gradient", "SymPy's gradient", "verdict")]
        rows += [(e.op, _short(e.formula), _short(e.ours), _short(e.sympy), e.verdict) for e in self.entries]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.insert(1, "  ".join("-" * w for w in widths))
        verdicts = [e.verdict for e in self.entries]
        counts = ", ".join(f"{verdicts.count(v)} {v}" for v in (PROVED, AGREES, REFUTED, UNDECIDED))
        for e in self.entries:
            if e.counterexample is not None:
                lines.append(f"{e.op} is {e.verdict} at {e.counterexample}")
        return "\n".join([*lines, counts, *([self.hint] if self.hint else [])])

    __repr__ = __str__


def _short(text: str, width: int = 44) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
