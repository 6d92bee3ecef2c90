"""The order of work: what one thread does, and what threads share.

Every thread runs the whole function. What is not shared is done by the first one. Of what is shared, each does its own
part, and then those of threads that have not come yet: so nobody waits for a thread that the system does not run, only
for parts that have been begun. One that is late finds all parts taken, and goes on until it has caught up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .blocks import indented

LEFT = -2  # the status of a run that ends without an error
ENOUGH = 1_000_000  # work that a step shares (some 100 microseconds) for other threads to be worth waking
SPINS = 100_000  # looks, some 30 microseconds, until a thread that waits goes to sleep


class Unit(NamedTuple):
    """Some lines: about the places from `lo` to `hi` of so many, if threads share them."""

    lines: list[str]
    extent: int = 0
    grain: int = 1  # shares begin at a multiple of this
    checks: bool = False  # whether they may set the status
    work: int = 0  # as in `Block.work`

    @property
    def shared(self) -> bool:
        return self.extent > 1

    @property
    def common(self) -> int:
        """The work that threads share."""
        return self.work if self.shared else 0


class Round(NamedTuple):
    """Units that are repeated."""

    start: list[str]  # what every thread does before
    loop: str
    each: list[str]  # and what it does at the start of each step
    units: list[Unit | Round]
    times: int = 1  # how often

    @property
    def common(self) -> int:
        return self.times * sum(unit.common for unit in self.units)

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
            lines += sharing(unit)
    return lines + alone(waiting, threaded)


STOP = ["if status[0] != 0:", "    return"]


def sharing(unit: Unit) -> list[str]:
    """The lines of a unit whose parts are done by whoever takes them."""
    return [
        f"while another(words, sync, {unit.extent}, {unit.grain}):",
        "    lo, hi = words[LO], words[HI]",
        *indented(unit.lines),
        *STOP,
    ]


def alone(units: Sequence[Unit], threaded: bool) -> list[str]:
    """The lines of units that one thread does, one after the other until the status says stop."""
    lines: list[str] = []
    for unit in reversed(units):
        if unit.checks and threaded:
            lines = ["if status[0] == 0:", *indented(lines)] if lines else []
        elif unit.checks:
            lines = [*STOP, *lines]
        if unit.lines:
            lines = [*([f"lo, hi = 0, {unit.extent}"] if unit.shared else []), *unit.lines, *lines]
    return ["while first(words, sync):", *indented(lines), *STOP] if threaded and lines else lines


# What threads call, each with words of its own (see assembly.HEAD): the number of shared units that it has come to, of
# the parts that were due so far, and of those of the present unit that it has tried to take. In `sync`, the first
# number counts the parts that are done, and the others how often each part was taken. Who finds no more parts waits
# until all are done that were due. Then all go on, unless the status says stop: who sees it sooner than others leaves
# sooner, and is not missed.
FUNCTIONS = f"""
PART, PARTS, TURN, DUE, TRIED, LO, HI = 2, 3, 8, 9, 10, 11, 12

@njit(pipeline_class=Apart, **OPTIONS)
def another(words, sync, extent, grain):
    # Take the next part of a shared unit: from words[LO] to words[HI].
    part, parts, tried = words[PART], words[PARTS], words[TRIED]
    if tried:
        count(sync)
    else:
        words[TURN] += 1
        words[DUE] += parts
    while tried < parts:
        mine = (part + tried) % parts
        tried += 1
        if take(shift(sync, 8 * mine + 8), words[TURN]):
            words[TRIED] = tried
            words[LO] = mine * (extent // grain) // parts * grain
            words[HI] = extent if mine + 1 == parts else (mine + 1) * (extent // grain) // parts * grain
            return True
    return wait(words, sync)

@njit(pipeline_class=Apart, **OPTIONS)
def first(words, sync):
    # Whether this is the first thread, once: it does the unit alone.
    if words[TRIED]:
        count(sync)
    else:
        words[DUE] += 1
        words[TRIED] = 1
        if words[PART] == 0:
            return True
    return wait(words, sync)

@njit(pipeline_class=Apart, **OPTIONS)
def wait(words, sync):
    words[TRIED] = 0
    spins = 0
    while look(sync) < words[DUE]:
        spins += 1
        if spins > {SPINS}:
            give_way()
    return False
"""
