"""Blocks: statements that share their loops, and the source of these loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .indices import ZERO, Index, along, everywhere, flat, variable
from .values import TYPES, Buffer, Checked, Host, Read, Reduce, Repeat, Required, Value, cost, literal, watching

NARROW = 16  # an axis with fewer elements has no room for vectors
ROWS, SHORT = (4, 5, 3), 64  # so many rows at a time, best without a rest, where a row has fewer elements than that
GAPS = 4  # reading a vector from memory with gaps takes so many times as long
SHARE = 20_000  # what a block has to compute (elements times cost) for a second thread to be worth its waiting
WIDE = 512  # elements of a row that threads share by columns: those of shorter ones lie too close in the cache

IDENTITY: dict[Any, float] = {np.add: 0.0, np.multiply: 1.0, np.maximum: -np.inf, np.minimum: np.inf}
# What a sum so far becomes with one more term. LLVM may choose the order of terms of `plus` and `times`: it is what
# vectors need, and better for the last digits.
STEP: dict[Any, str] = {
    np.add: "plus({a}, {x})", np.multiply: "times({a}, {x})",
    np.maximum: "largest({a}, {x})", np.minimum: "smallest({a}, {x})",
}  # fmt: skip
IN_ORDER = STEP | {np.add: "{a} + {x}", np.multiply: "{a} * {x}"}


def identity(ufunc: np.ufunc, dtype: np.dtype) -> str:
    """What a sum (product, extremum) of nothing is, as source."""
    value = IDENTITY[ufunc]
    if dtype.kind in "iu" and not math.isfinite(value):
        limits = np.iinfo(dtype)
        value = limits.min if value < 0 else limits.max
    return literal(value, dtype)


def squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def spelled(shape: Sequence[int], places: Index) -> Index:
    """An index of this shape, with places for its axes that are not of length 1."""
    left = iter(places)
    return [ZERO if n == 1 else next(left) for n in shape]


def without_ones(index: Index, shape: Sequence[int]) -> Index:
    return [i for i, n in zip(index, shape, strict=True) if n != 1]


def indented(lines: Sequence[str], by: int = 1) -> list[str]:
    return ["    " * by + line for line in lines]


def nest(loops: Sequence[tuple[str, int]], body: list[str], bounds: tuple[str, str] | None = None) -> list[str]:
    """Loops within one another; the outermost within these bounds."""
    for k, (name, n) in reversed(list(enumerate(loops))):
        start, stop = bounds if k == 0 and bounds else ("0", str(n))
        body = [f"for {name} in range({stop if start == '0' else f'{start}, {stop}'}):", *indented(body)]
    return body


def variables(shape: Sequence[int]) -> tuple[list[tuple[str, int]], Index]:
    """A loop for each axis of a shape that is longer than 1, and the index of the place where they are."""
    return [(along(k), n) for k, n in enumerate(shape) if n != 1], everywhere(shape)


class Block:
    """Some statements as one native function of buffers.

    `extent` is how many places the loop has that threads may share: then, one takes those from `lo` to `hi`.
    """

    checks = False  # whether it reports bad indices
    extent = 1
    grain = 1  # a share begins at a multiple of this

    def __init__(self, statements: list[Value]) -> None:
        self.statements = statements

    def admits(self, s: Value, done: set[int]) -> bool:
        """Add a statement if it may share the loops."""
        return False

    def body(self) -> list[str]:
        raise NotImplementedError

    def reads(self) -> list[Read]:
        """What it reads, as far as is known before the source is written."""
        with watching() as found:
            self.body()
        return found

    @property
    def work(self) -> int:
        return sum(math.prod(s.domain) * max(s.cost + sum(map(cost, s.inputs)), 1) for s in self.statements)

    @property
    def shared(self) -> bool:
        """Whether threads share it: however many there are, lest other bounds of loops give other bits."""
        return self.extent > 1 and self.work > SHARE

    @property
    def bounds(self) -> tuple[str, str]:
        """From where to where the loop goes that threads may share, as source."""
        return ("lo", "hi") if self.shared else ("0", str(self.extent))

    def buffers(self) -> list[Buffer]:
        """The arguments: what is written, then what is read."""
        found = {b.name: b for s in self.statements for b in made_by(s)}
        found |= {r.buffer.name: r.buffer for r in self.reads() if r.buffer is not None}
        return [b for b in found.values() if not b.local]

    def comment(self) -> list[str]:
        lines = []
        for s in self.statements:
            names = ", ".join(dict.fromkeys(s.names)) or s.what
            reads = " ".join(f"{tuple(x.shape)}" for x in s.inputs)
            result = f"{s.home.name} {s.shape}" if s.buffer is not None else ", ".join(b.name for b in made_by(s))
            lines.append(harmless(f"# {result} = {names} of {reads}" + (f", {s.line}" if s.line else "")))
        return lines


def harmless(comment: str) -> str:
    """A comment in one line of plain characters, whatever names a program has for its functions and files."""
    return "".join(c if " " <= c <= "~" else "?" for c in comment)


def made_by(s: Value) -> list[Buffer]:
    """The buffers that a statement writes."""
    if isinstance(s, Host | Repeat):
        return [p.home for p in s.parts if p.buffer is not None]
    return [s.home]


class Loops(Block):
    """Statements that share their loops: one loop over rows for each axis but one, and inside, loops over a row.

    A statement is "full" if it has an element at each place, and "rows" if it has one for each row. A reduction is a
    "fold" if it makes one number of each row, and else a "total", collected over all rows ("row total" of what there is
    once a row). What a fold makes is known when its loop over the row has ended: statements that read it are in a later
    loop over the same row.
    """

    def __init__(self, first: Value) -> None:
        super().__init__([])
        self.domain = squeezed(first.domain)
        self.inner = inner_axis(first, self.domain)
        self.level: dict[int, int] = {}  # of a statement: the loop over the row that it is in, or follows
        self.by: dict[int, Value] = {}
        self.groups = [[k] for k in range(len(self.domain))]  # axes that are one loop
        self.seen: dict[int, list[Read]] = {}
        self.add(first, -1 if self.kind(first) == "rows" else 0)

    def add(self, s: Value, level: int) -> None:
        self.statements.append(s)
        self.level[id(s)] = level
        self.by[id(s.home)] = s
        self.checks |= isinstance(s, Checked | Required)

    def kind(self, s: Value) -> str:
        here = squeezed(s.domain)
        if isinstance(s, Reduce):
            if here != self.domain:
                return "row total"
            long = [i for i, n in enumerate(s.domain) if n != 1]
            return "fold" if long and {a for a in s.axes if s.domain[a] != 1} == {long[self.inner]} else "total"
        return "full" if here == self.domain else "rows"

    @property
    def outer(self) -> list[int]:
        """The axes of the loops over rows, from the outermost on."""
        return [axis for axis in range(len(self.domain)) if axis != self.inner]

    def places(self, row: int = 0) -> Index:
        """Where the loops are, along each axis of the domain, some rows further on."""
        places = [ZERO] * len(self.domain)
        for group in self.groups:
            name = "j" if self.inner in group else along(group[-1])
            rows = row if self.loops and name == self.loops[-1][0] else 0
            places[group[-1]] = variable(name, math.prod(self.domain[k] for k in group) - rows) + rows
        return places

    def index(self, s: Value, row: int = 0) -> Index:
        """The indices of the place where a statement is worked on."""
        places = self.places(row)
        if self.kind(s) in ("rows", "row total"):
            places = [places[axis] for axis in self.outer]
        return spelled(s.domain, places)

    def where(self, s: Value) -> Index:
        """Where a statement's result is at the place that is worked on."""
        places = self.places()
        return places if self.kind(s) == "full" else [places[axis] for axis in self.outer]

    def reads_of(self, s: Value) -> list[Read]:
        if id(s) not in self.seen:
            self.seen[id(s)] = reads(s, self.index(s))
        return self.seen[id(s)]

    def admits(self, s: Value, done: set[int]) -> bool:
        if not isinstance(s, Reduce | Checked | Required) and s.needs_buffer:
            return False
        here = squeezed(s.domain)
        if here != self.domain and (not self.domain or here != tuple(self.domain[k] for k in self.outer)):
            return False
        kind = self.kind(s)
        level = -1 if kind in ("rows", "row total") else 0
        if kind == "total" and any(self.kind(x) == "fold" for x in self.statements) and self.size > SHARE:
            return False  # it would keep threads from sharing the rows
        for read in self.reads_of(s):
            buffer = read.buffer
            if buffer is None or id(buffer) in done:
                continue
            maker = self.by.get(id(buffer))
            if maker is None:
                return False
            made, at = self.kind(maker), self.level[id(maker)]
            if made in ("total", "row total") or without_ones(read.index, buffer.shape) != self.where(maker):
                return False
            if made == "full":
                if kind in ("rows", "row total") and self.domain:
                    return False
                level = max(level, at)
            else:
                level = max(level, at if kind in ("rows", "row total") else at + 1)
        self.add(s, level)
        return True

    @property
    def size(self) -> int:
        return math.prod(self.domain)

    def overwritable(self, s: Value) -> list[Buffer]:
        """What a statement could overwrite: arrays of which these loops read each element where it computes its own.

        And not later.
        """
        if isinstance(s, Reduce) or s.home.local:
            return []
        (to,) = self.written(s)
        found: dict[str, Buffer] = {}
        never = set()
        for x in self.statements:
            for read in self.reads_of(x):
                b = read.buffer
                if b is None:
                    continue
                found[b.name] = b
                if read.place != to.place or self.turn(x) > self.turn(s) or x.home.name == b.name:
                    never.add(b.name)
        return [
            b for name, b in found.items()
            if name not in never and not b.local and b.dtype == s.dtype
            and (b.in_rows and s.home.in_rows and b.size == s.size or (b.shape, b.strides) == (s.shape, s.home.strides))
        ]  # fmt: skip

    def turn(self, s: Value) -> tuple[int, bool, int]:
        """When a statement is worked on, for one row."""
        late = self.kind(s) in ("rows", "row total")
        return self.level[id(s)], late, self.statements.index(s)

    # ---- which loops ------------------------------------------------------------------------------------------------

    def collapse(self) -> None:
        """Make one loop of two where every array lies in memory as if they were one axis."""
        found = [r for s in self.statements for r in [*self.reads_of(s), *self.written(s)]]
        if any(r.buffer is None or not r.place.affine for r in found):
            return
        places = self.places()
        names = [next(iter(p.names()), "") for p in places]
        rows = any("row" in self.kind(s) for s in self.statements)  # what is done once a row needs rows
        for k in range(len(self.domain) - 1, 0, -1):
            if self.inner in (k - 1, k) and (rows or self.inner != len(self.domain) - 1):
                continue
            if all(r.place.stride(names[k - 1]) == r.place.stride(names[k]) * self.domain[k] for r in found):
                at = next(i for i, g in enumerate(self.groups) if g[0] == k)
                self.groups[at - 1 : at + 1] = [self.groups[at - 1] + self.groups[at]]
        self.seen = {}
        if not all(r.place.affine for s in self.statements for r in self.reads_of(s)):
            self.groups = [[k] for k in range(len(self.domain))]

    def written(self, s: Value) -> list[Read]:
        index = self.index(s)
        if isinstance(s, Reduce):
            index = s.place(index)
        return [Read(s.home, index, flat(index, s.home.strides))]

    @property
    def loops(self) -> list[tuple[str, int]]:
        """The variables of the loops over rows and how far they run, from the outermost on."""
        groups = [g for g in self.groups if self.inner not in g]
        return [(along(g[-1]), math.prod(self.domain[k] for k in g)) for g in groups]

    @property
    def row(self) -> int:
        """How many elements the loop over a row has."""
        return math.prod(self.domain[k] for g in self.groups if self.inner in g for k in g)

    @property
    def by_columns(self) -> bool:
        """Whether threads share the row rather than the rows: all that is collected is one number for each column."""
        totals = [s for s in self.statements if "total" in self.kind(s)]
        return bool(totals) and bool(self.loops) and all(
            self.kind(s) in ("full", "total") for s in self.statements
        ) and all(squeezed(s.shape) == (self.row,) and s.home.in_rows for s in totals)  # fmt: skip

    @property
    def extent(self) -> int:  # type: ignore[override]
        if any("total" in self.kind(s) for s in self.statements):
            return self.row if self.by_columns else 1
        if self.loops:
            return self.loops[0][1]
        return self.row if self.domain and all(self.kind(s) == "full" for s in self.statements) else 1

    @property
    def shared(self) -> bool:
        return super().shared and not (self.by_columns and self.row < WIDE)

    @property
    def tile(self) -> int:
        """How many rows at a time."""
        if not self.loops or self.row >= SHORT:
            return 1
        return next((n for n in ROWS if self.loops[-1][1] % n == 0), ROWS[0])

    @property
    def grain(self) -> int:  # type: ignore[override]
        if self.by_columns or not self.loops:
            return NARROW
        return self.tile if len(self.loops) == 1 else 1

    # ---- source -----------------------------------------------------------------------------------------------------

    def body(self) -> list[str]:
        """The loops over rows, some rows at a time where these are short: too few elements for vectors in a row."""
        before, after = self.around()
        columns, bounds = self.by_columns, self.bounds if self.extent > 1 else None
        row = bounds if bounds and (columns or not self.loops) else ("0", str(self.row))
        if not self.loops:
            return before + self.rows(1, row) + after
        *outer, (last, count) = self.loops
        start, stop = bounds if bounds and not outer and not columns else ("0", str(count))
        tile = min(self.tile, count)
        whole = f"{stop} - ({stop} - {start}) % {tile}" if start == "lo" else str(count - count % tile)
        body = []
        if tile > 1:
            body += [f"for {last} in range({start}, {whole}, {tile}):", *indented(self.rows(tile, row))]
            start = whole
        if start != stop:
            body += nest([(last, count)], self.rows(1, row), (start, stop))
        return before + nest(outer, body, None if columns else bounds) + after

    def around(self) -> tuple[list[str], list[str]]:
        """What comes before and after the loops: totals start from nothing, and single ones are kept at the end."""
        before, after = [], []
        for s in self.statements:
            if "total" in self.kind(s):
                name, zero = s.home.name, identity(s.ufunc, s.dtype)  # type: ignore[attr-defined]
                if s.home.size == 1:
                    before.append(f"sum_{name} = {zero}")
                    after.append(f"{name}[0] = sum_{name}")
                else:
                    bounds = self.bounds if self.by_columns else None
                    before += nest([("k", s.home.size)], [f"{name}[k] = {zero}"], bounds)
        return before, after

    def rows(self, count: int, bounds: tuple[str, str]) -> list[str]:
        """Some rows: in each loop over a row, its statements for all of these."""
        lines = []
        for level in range(-1, max(self.level.values()) + 1):
            first: list[str] = []
            inner: list[str] = []
            folds: list[str] = []
            end: list[str] = []
            for s in [s for s in self.statements if self.level[id(s)] == level]:
                b, kind = s.home, self.kind(s)
                for row in range(count):
                    index = self.index(s, row)
                    if not isinstance(s, Reduce):
                        line = b.assign(index, s.expression(index))
                        (end if kind == "rows" else inner).append(line)
                        continue
                    place, x = s.place(index), s.inputs[0].at(index)
                    if kind == "fold":
                        a = f"sum_{b.name}_{row}"
                        start, step, result = folding(s, a, x)
                        first.append(f"{a} = {start}")
                        folds.append(f"{b.element(place)} = {result}")
                    else:
                        a = b.element(place) if b.size > 1 else f"sum_{b.name}"
                        step = STEP[s.ufunc].format(a=a, x=x)
                    (end if kind == "row total" else inner).append(f"{a} = {step}")
            lines += first
            if inner and self.domain:
                lines += nest([("j", self.row)], inner, bounds)
            else:
                lines += inner
            lines += folds + end
        return lines

    def reads(self) -> list[Read]:
        return [r for s in self.statements for r in self.reads_of(s)]


def folding(s: Reduce, a: str, x: str) -> tuple[str, str, str]:
    """How the variable `a` begins, what it becomes when it meets x, and the result.

    Extrema of floats are found among integers of the same order, nan above all, because vectors can do that.
    """
    if s.ufunc not in (np.maximum, np.minimum) or s.dtype.kind != "f":
        return identity(s.ufunc, s.dtype), STEP[s.ufunc].format(a=a, x=x), a
    kind, sign = TYPES[s.dtype.name], "-" if s.ufunc is np.minimum else ""
    return f"ranked_{kind}({kind}(-inf))", f"max({a}, ranked_{kind}({sign}{x}))", f"{sign}of_rank_{kind}({a})"


def inner_axis(s: Value, domain: tuple[int, ...]) -> int:
    """The axis for the inner loop: a long one, along which arrays lie without gaps, so that vectors can be read."""
    if len(domain) < 2:
        return len(domain) - 1
    index = spelled(s.domain, everywhere(domain))
    to = s.place(index) if isinstance(s, Reduce) else index
    places = [flat(to, s.home.strides), *(r.place for r in reads(s, index))]

    def price(axis: int) -> float:
        strides = [p.stride(along(axis)) if p.affine else GAPS for p in places]
        each = sum(1 if n in (0, 1) else GAPS for n in strides)
        return each * (1 if domain[axis] >= NARROW else GAPS)

    return min(range(len(domain))[::-1], key=price)


def reads(s: Value, index: Index) -> list[Read]:
    """What the computation of an element reads."""
    with watching() as found:
        if isinstance(s, Reduce):
            s.inputs[0].at(index)
        else:
            s.expression(index)
    return found
