"""The order of work: what one thread does, and what threads share.

Every thread runs the whole function. What is not shared is done by the first one; before and after what is shared they
wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .blocks import indented

LEFT = -2  # the status of a run that ends without an error


class Unit(NamedTuple):
    """Some lines: about the places from `lo` to `hi` of so many, if threads share them."""

    lines: list[str]
    extent: int = 0
    grain: int = 1  # shares begin at a multiple of this
    checks: bool = False  # whether they may set the status

    @property
    def shared(self) -> bool:
        return self.extent > 1


class Round(NamedTuple):
    """Units that are repeated."""

    start: list[str]  # what every thread does before
    loop: str
    each: list[str]  # and what it does at the start of each step
    units: list[Unit | Round]

    @property
    def shared(self) -> bool:
        return any(unit.shared for unit in self.units)

    @property
    def checks(self) -> bool:
        return any(unit.checks for unit in self.units)

    def lines(self, threaded: bool = False) -> list[str]:
        return [*self.start, self.loop, *indented([*self.each, *written(self.units, threaded)])]


Units = Sequence[Unit | Round]


def written(units: Units, threaded: bool) -> list[str]:
    """The lines of some units."""
    lines: list[str] = []
    waiting: list[Unit] = []  # that the first thread does
    for unit in units:
        if isinstance(unit, Round) and not unit.shared and not unit.checks:
            unit = Unit(unit.lines())
        if isinstance(unit, Unit) and not (threaded and unit.shared):
            waiting.append(unit)
            continue
        lines += alone(waiting, threaded)
        waiting = []
        if isinstance(unit, Round):
            lines += unit.lines(threaded)
        else:
            bounds = [f"share({part}, parts, {unit.extent}, {unit.grain})" for part in ("part", "part + 1")]
            lines += [f"lo, hi = {', '.join(bounds)}", *unit.lines, *MEET]
    return lines + alone(waiting, threaded)


MEET = ["if not meet(sync, parts, status):", "    return"]


def alone(units: Sequence[Unit], threaded: bool) -> list[str]:
    """The lines of units that one thread does, one after the other until the status says stop."""
    lines: list[str] = []
    for unit in reversed(units):
        if unit.checks and threaded:
            lines = ["if status[0] == 0:", *indented(lines)] if lines else []
        elif unit.checks:
            lines = ["if status[0] != 0:", "    return", *lines]
        if unit.lines:
            lines = [*([f"lo, hi = 0, {unit.extent}"] if unit.shared else []), *unit.lines, *lines]
    return ["if part == 0:", *indented(lines), *MEET] if threaded and lines else lines


# What threads call: the bounds of a share, and the place where they wait for each other. The last to come decides for
# all whether to go on; two decisions are kept in turn, so that none is read after the next has been made.
FUNCTIONS = {
    "share": (
        "def share(part, parts, extent, grain):\n"
        "    return extent if part == parts else part * (extent // grain) // parts * grain"
    ),
    "meet": (
        "def meet(sync, parts, status):\n"
        "    time = look(shift(sync, 8))\n"
        "    if arrive(sync) == parts - 1:\n"
        "        sync[16 + 8 * (time % 2)] = status[0]\n"
        "        sync[0] = 0\n"
        "        arrive(shift(sync, 8))\n"
        "    else:\n"
        "        spins = 0\n"
        "        while look(shift(sync, 8)) == time:\n"
        "            spins += 1\n"
        "            if spins > 4000:\n"
        "                give_way()\n"
        "    return sync[16 + 8 * (time % 2)] == 0"
    ),
}
