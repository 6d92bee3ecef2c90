"""Tables and pictures of what was measured."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from . import FLOOR, Row
from .nets import MIDDLE, NETS, SCALES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIBRARIES = ("minigrad", "numpy", "numba", "torch", "jax", "autograd", "pytensor")
MARK = re.compile(r"(<!-- bench (?P<what>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = version(library).split("+")[0]
        except PackageNotFoundError:
            continue
    return {"processor": processor(), "processors": os.cpu_count(), "python": platform.python_version()} | versions


def processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def conditions() -> str:
    """The same in a line."""
    about = machine()
    libraries = ", ".join(f"{name} {about[name]}" for name in LIBRARIES if name in about)
    return f"{about['processors']} processors ({about['processor']}), Python {about['python']}, {libraries}"


# Tables


def number(value: float | None, digits: int = 3) -> str:
    """With so many digits that count.

    >>> number(7.7312), number(1234.5), number(0.04), number(None)
    ('7.73', '1234', '0.04', '-')
    """
    if value is None:
        return "-"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def kilobytes(row: Row) -> float | None:
    return None if row.memory_bytes is None else row.memory_bytes / 1000


def seconds(row: Row) -> str:
    return "-" if row.first_seconds is None else f"{row.first_seconds:.2f}"


HEAD = f"{'net':10} {'peer':14} {'us/step':>9} {'ratio':>7} {'first s':>8} {'kB':>8}"


def lines(rows: list[Row]) -> list[str]:
    """The rows of a net as text, the fastest first; the reason where there is no figure."""
    found = []
    for row in sorted(rows, key=lambda row: (row.microseconds is None, row.microseconds or 0)):
        start = f"{row.net:10} {row.peer:14}"
        if row.microseconds is None:
            found.append(f"{start} {'-':>9}  {shorten(row.error, 120, placeholder=' ...')}")
            continue
        figures = f"{number(row.microseconds):>9} {number(row.ratio):>7} {seconds(row):>8}"
        note = differs(row, rows)
        found.append(f"{start} {figures} {number(kilobytes(row)):>8}{'  ' * bool(note)}{note}")
    return found


def differs(row: Row, rows: list[Row]) -> str:
    """A warning, where a peer computed something else than the others."""
    if row.agrees is not False:
        return ""
    others = ", ".join(f"{other.losses[-1]:.5g}" for other in rows if other is not row and other.losses)
    steps = len(row.losses)
    return f"! not the same work: its loss at step {steps} is {row.losses[-1]:.5g}, that of the others {others}"


def pivot(rows: list[Row], corner: str, value: Callable[[Row], str]) -> list[list[str]]:
    """A line for each net or size, and a column for each peer."""
    peers = list(dict.fromkeys(row.peer for row in rows))
    table = [[corner, *peers]]
    for net in dict.fromkeys(row.net for row in rows):
        of = {row.peer: value(row) for row in rows if row.net == net}
        table.append([net, *(of.get(peer, "-") for peer in peers)])
    return table


def time_of(row: Row) -> str:
    return number(row.microseconds) + " !" * (row.agrees is False)


def tables(rows: list[Row]) -> list[tuple[str, list[list[str]]]]:
    """Under their titles: times, compile times and memory."""
    views: list[tuple[str, Callable[[Row], str]]] = [
        ("microseconds a step", time_of),
        ("seconds of the first call, besides its step", seconds),
        ("memory in kB: parameters, optimizer's state, batch and activations", lambda row: number(kilobytes(row))),
    ]
    found = []
    for title, value in views:
        told = [row for row in rows if row.size is None or row.peer != FLOOR or value is time_of]
        table = pivot(told, "", value)
        if any(cell != "-" for line in table[1:] for cell in line[1:]):
            found.append((title, table))
    return found


def text(rows: list[Row]) -> str:
    """Tables for the terminal."""
    return "\n\n".join(f"{title}\n{aligned(table)}" for title, table in tables(rows))


def aligned(table: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    pad = [str.ljust, *[str.rjust] * (len(widths) - 1)]
    return "\n".join("  ".join(f(c, w) for f, c, w in zip(pad, row, widths, strict=True)).rstrip() for row in table)


def markdown(rows: list[Row]) -> str:
    """Tables for a page."""
    parts = []
    for title, (head, *body) in tables(rows):
        table = "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---", *["---:"] * (len(head) - 1)], *body])
        parts.append(f"{title[0].upper()}{title[1:]}:\n\n{table}\n")
    why = [f"- {row.net}, {row.peer}: {row.error}" for row in rows if row.error]
    return "\n".join([*parts, *why, *[""] * bool(why), f"On {conditions()}.", ""])


def filled(page: str, what: str, rows: list[Row]) -> str:
    """The text of a page with what stands between the marks for `what` written anew.

    >>> print(filled("<!-- bench batch --> ...", "batch", []))
    Traceback (most recent call last):
        ...
    ValueError: the page has no place for this table: lines <!-- bench batch --> and <!-- end --> around it
    """
    if what not in (mark["what"] for mark in MARK.finditer(page)):
        marks = f"lines <!-- bench {what} --> and <!-- end --> around it"
        raise ValueError(f"the page has no place for this table: {marks}")
    return MARK.sub(lambda mark: f"{mark[1]}\n{markdown(rows)}\n{mark[3]}" if mark["what"] == what else mark[0], page)


def as_json(rows: list[Row]) -> str:
    return json.dumps({"machine": machine(), "rows": list(map(asdict, rows))}, indent=1)


def as_csv(rows: Iterable[Row]) -> str:
    """Without the single rounds and losses."""
    names = [name for name in asdict(Row("", "")) if name not in ("rounds", "losses")]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, rows))
    return stream.getvalue().rstrip("\n")


# Pictures

OURS, THEIRS = "C3", "0.4"


def dots(rows: list[Row]) -> Figure:
    """For each net, the time of a step by each peer, on a logarithmic scale; ours in red."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row.net for row in rows))
    columns = min(3, len(names))
    figure = Figure(figsize=(4.2 * columns, 2.8 * -(-len(names) // columns)), layout="constrained")
    for i, net in enumerate(names):
        axis = figure.add_subplot(-(-len(names) // columns), columns, i + 1)
        timed = [row for row in rows if row.net == net and row.microseconds is not None]
        for row in sorted(timed, key=lambda row: -(row.microseconds or 0)):
            colour = OURS if row.peer.startswith("minigrad") else THEIRS
            place: Any = (row.microseconds, row.peer)
            axis.plot(*place, "o", color=colour)
            axis.annotate(time_of(row), place, (7, -3), textcoords="offset points", fontsize=8)
        axis.set(xscale="log", title=f"{net}: {NETS[net].shape}" if net in NETS else net)
        axis.title.set_fontsize(9)
        axis.margins(x=0.25, y=0.15)
        axis.grid(axis="y", color="0.9")
    figure.supxlabel("microseconds a step")
    return figure


def curves(rows: list[Row], axis_name: str) -> Figure:
    """How the time of a step, and that of compiling, grow with the size; the floor is dotted."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    times, first = figure.subplots(1, 2)
    for peer in dict.fromkeys(row.peer for row in rows):
        mine = [row for row in rows if row.peer == peer and row.microseconds is not None]
        if not mine:
            continue
        style = {"color": "black", "linestyle": ":"} if peer == FLOOR else {"marker": "o"}
        sizes = [row.size for row in mine]
        times.plot(sizes, [row.microseconds for row in mine], label=peer, **style)
        if peer != FLOOR:
            first.plot(sizes, [row.first_seconds for row in mine], label=peer, **style)
    fixed = ", ".join(f"{name} {value}" for name, value in MIDDLE.items() if name != axis_name)
    times.set(title=f"an MLP with {fixed}", ylabel="microseconds a step", yscale="log")
    first.set(title="compiling", ylabel="seconds of the first call")
    for axis in (times, first):
        axis.set_xscale("log", base=2)
        axis.set(xlabel=axis_name, xticks=SCALES[axis_name])
        axis.set_xticklabels(map(str, SCALES[axis_name]))
        axis.legend()
    return figure
