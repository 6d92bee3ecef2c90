"""Plan: which values get memory, which of them share their loops, and what memory is used again."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from .. import parallel
from ..native import ALIGNMENT
from .blocks import NARROW, SHARE, Block, Loops, made_by
from .indices import everywhere
from .single import Called, block_of, in_rows, lies_in_memory, product_work, solid
from .values import (
    TYPES,
    Buffer,
    Checked,
    Dot,
    Host,
    Input,
    Kernel,
    Map,
    Part,
    Pick,
    Reduce,
    Repeat,
    Reshape,
    Scalar,
    Scatter,
    Value,
    View,
    cost,
)  # fmt: skip

RECOMPUTE = 3  # what is read several times and costs more than this gets a buffer
DEEP = 24  # so many elementwise functions in one expression, no more
AHEAD = 96  # so many statements are looked at for one that may share a block's loops
NEAR, SMALL = 16, 1 << 13  # what has more elements than that is not computed so long before its turn: it takes memory
LATE = 40  # so many values later, what is large may rather be computed again than kept
STEP = 1e-4  # between the numbers of values that are put between two others


class Program:
    """What computes the outputs: buffers, and blocks in order.

    Every output gets a buffer of its own, in rows, which `self.outputs` holds in the given order.
    """

    def __init__(self, outputs: Sequence[Value], inputs: Sequence[Value], numbers: Iterator[int] | None = None) -> None:
        self.numbers = itertools.count() if numbers is None else numbers
        inside = numbers is not None
        self.outputs = list(self.apart(outputs, inside and any(isinstance(v, Host) for v in needed(outputs))))
        self.inputs = list(inputs)
        self.buffers: list[Buffer] = []
        self.final = {id(v) for v in self.outputs}
        order = self.computed_again(self.reachable())
        self.depth: dict[int, int] = {}
        for value in order:
            if isinstance(value, Input):
                self.give_buffer(value, "x")
        for value in order:
            self.choose(value)
        self.statements = [
            v
            for v in order
            if isinstance(v, Host | Repeat) or v.buffer is not None and v.size and not isinstance(v, Input | Part)
        ]
        self.blocks = list(self.scheduled())
        self.make_local()
        for block in self.blocks:
            if isinstance(block, Loops):
                block.collapse()
        self.overwrite()

    def apart(self, outputs: Sequence[Value], everything: bool) -> Iterator[Value]:
        """The outputs, with a copy of those that would lie in somebody else's memory.

        Or of `everything`, as in the body of a loop that Python sees: an output lies elsewhere in each step.
        """
        seen: set[int] = set()
        for v in outputs:
            if everything or id(v) in seen or isinstance(v, Input | View | Scalar | Part) and not own_part(v):
                v.copied = copied = copy_of(v)
                v = copied
            seen.add(id(v))
            yield v

    def reachable(self) -> list[Value]:
        """Every value that the outputs need, in the order of the trace; sets who reads whom.

        So a gradient is computed where backpropagation does it, and what it needs may be forgotten soon.
        """
        order = sorted(needed(self.outputs), key=lambda v: v.number)
        for value in order:
            value.readers = []
        for value in order:
            for x in value.inputs:
                x.readers.append(value)
        return order

    def computed_again(self, order: list[Value]) -> list[Value]:
        """The same values, large elementwise ones made anew where they are needed again much later.

        That takes less memory wherever what they are made of is kept until then anyway.
        """
        for v in order:
            if isinstance(v, View) and isinstance(v.inputs[0], Map) and v.size > SMALL:
                for r in v.readers[1:]:  # each has a view of its own, so that it is seen where that is needed
                    view = copied(v, r.number - STEP, {})
                    r.inputs = [view if x is v else x for x in r.inputs]
        order = self.reachable()
        last = {id(x): v.number for v in order for x in v.inputs}
        made: dict[int, Value] = {}
        for v in order:
            late = [r for r in v.readers if r.number > v.number + LATE]
            if (
                isinstance(v, Map) and v.size > SMALL and 0 < len(late) < len(v.readers) and id(v) not in self.final
                and not any(map(finds_again, readers_of(v)))
                and all(x.size <= SMALL or id(x) in made or last[id(x)] >= late[0].number for x in sources(v))
            ):  # fmt: skip
                made[id(v)] = again = copied(v, late[0].number - 0.5, made)
                last[id(again)] = late[-1].number  # others that are looked at after it may read it
                for r in late:
                    r.inputs = [again if x is v else x for x in r.inputs]
        return self.reachable() if made else order

    # ---- memory -----------------------------------------------------------------------------------------------------

    def give_buffer(self, value: Value, letter: str = "t") -> None:
        if value.buffer is not None or isinstance(value, Scalar) and value.shape == () and letter == "t":
            return
        narrow = len(value.shape) > 1 and value.shape[-1] < NARROW <= value.shape[-2]
        small = isinstance(value, Dot) and product_work(value) <= SHARE  # else threads share its rows, which are many
        swapped = narrow and (isinstance(value, Map | Pick) or small) and id(value) not in self.final
        swapped = swapped and not any(isinstance(x, Host | Kernel | Repeat) for x in value.readers)
        value.buffer = Buffer(value.shape, value.dtype, f"{letter}{next(self.numbers)}", swapped)
        self.buffers.append(value.buffer)

    def choose(self, value: Value) -> None:
        """Give memory to a value, and to what it has to read from memory."""
        if isinstance(value, Dot):
            for x in value.inputs:
                if not lies_in_memory(x):
                    self.give_memory(solid(x))
                if not lies_in_memory(x):
                    self.give_memory(x)
        if isinstance(value, Kernel):
            for x in value.inputs:
                if isinstance(x, Reshape) and in_rows(x) is None:
                    self.give_memory(x.inputs[0])
                if in_rows(x) is None:
                    self.give_memory(x)
        if isinstance(value, Repeat):
            value.program = Program(value.results, [x for group in value.given for x in group], self.numbers)
            for x in value.given[0]:  # the first step's are copied there, and then those of each step
                self.give_buffer(x)
            self.buffers += [b for b in value.program.buffers if b not in self.buffers]
        if isinstance(value, Host | Repeat):
            for x in value.inputs:
                if x.buffer is None or not x.buffer.in_rows:
                    self.give_memory(x)
        if (
            isinstance(value, Reshape) and not isinstance(value.inputs[0], Scalar) and not lies_flat(value.inputs[0])
            and not all(p.affine for p in value.move(everywhere(value.shape)))
        ):  # fmt: skip
            self.give_memory(value.inputs[0])
        if isinstance(value, Pick | Scatter):
            for x in value.inputs[1 + isinstance(value, Scatter) :]:
                if isinstance(x, Checked):
                    self.give_memory(x)
            if isinstance(value, Scatter) and len(value.inputs[1].readers) == 1 and cost(value.inputs[1]) > RECOMPUTE:
                self.give_memory(value.inputs[1])
        if finds_again(value):
            for x in map(origin, value.inputs):
                if isinstance(x, Map):
                    self.give_memory(x)
        for x in value.inputs:
            if x.size < value.size and cost(x) > RECOMPUTE:  # else computed again for each of its readers' elements
                self.give_memory(x)
        deep = self.depth[id(value)] = self.deep(value)
        if id(value) in self.final or (value.needs_buffer and not isinstance(value, Host | Repeat)):
            self.give_buffer(value)
        elif isinstance(value, Map | Pick) and (deep > DEEP or len(value.readers) > 1 and cost(value) > RECOMPUTE):
            self.give_memory(value)

    def deep(self, value: Value) -> int:
        """How many elementwise functions are one within the other where this is read."""
        below = max((self.depth[id(x)] for x in value.inputs if x.buffer is None), default=0)
        return below + isinstance(value, Map | Pick)

    def give_memory(self, value: Value) -> None:
        self.give_buffer(value)
        self.depth[id(value)] = 0

    # ---- order ------------------------------------------------------------------------------------------------------

    def scheduled(self) -> Iterator[Block]:
        """Blocks, each with all statements that may share its loops."""
        done = {id(v.buffer) for v in self.inputs if v.buffer is not None}
        done |= {id(b) for b in self.buffers if b.name[0] == "x" or not b.size}
        needs = {id(s): {id(x.buffer) for x in in_memory(s)} for s in self.statements}
        pending = list(self.statements)
        while pending:
            block = block_of(pending[0])
            rest = []
            made = {id(b) for b in made_by(pending[0])}
            for i, s in enumerate(pending[1:AHEAD]):
                far = i > NEAR and s.size > SMALL
                if not far and all(b in done or b in made for b in needs[id(s)]) and block.admits(s, done):
                    made |= {id(b) for b in made_by(s)}
                else:
                    rest.append(s)
            pending = rest + pending[AHEAD:]
            done |= made
            if isinstance(block, Called) and block.product.scratch:
                line = ALIGNMENT // block.statements[0].dtype.itemsize
                shape = (parallel.threads() if block.shared else 1, -(-block.product.scratch // line) * line)
                block.scratch = Buffer(shape, block.statements[0].dtype, f"t{next(self.numbers)}")
                self.buffers.append(block.scratch)
            yield block

    def make_local(self) -> None:
        """Keep in a variable what is read only where it is computed."""
        readers: dict[int, set[tuple[int, int]]] = {}
        for i, block in enumerate(self.blocks):
            if isinstance(block, Loops):
                for s in block.statements:
                    for read in block.reads_of(s):
                        readers.setdefault(id(read.buffer), set()).add((i, block.level[id(s)]))
            else:
                for read in block.reads():
                    readers.setdefault(id(read.buffer), set()).add((i, -2))
        for i, block in enumerate(self.blocks):
            if not isinstance(block, Loops):
                continue
            for s in block.statements:
                where, kind = readers.get(id(s.home), set()), block.kind(s)
                if id(s) in self.final or "total" in kind or not where or {b for b, _ in where} != {i}:
                    continue
                if kind != "full" or {level for _, level in where} == {block.level[id(s)]}:
                    s.home.local = True
            block.seen = {}

    def overwrite(self) -> None:
        """Have results take the memory of what is read for the last time where they are computed.

        Then both buffers have one name, and the source says what happens.
        """
        kept, lives = {v.home.name for v in self.outputs}, self.lives()
        for i, block in enumerate(self.blocks):
            if not isinstance(block, Loops) or block.checks:
                continue
            for s in block.statements:
                for old in block.overwritable(s):
                    first, last = lives.get(old.name, (i, i))
                    if first < i == last and old.name not in kept:
                        _, end = lives[s.home.name]
                        self.join(old, s.home, s.home.name if s.home.name in kept else old.name)
                        lives[s.home.name] = first, end
                        break

    def join(self, old: Buffer, new: Buffer, name: str) -> None:
        """Give a name to a buffer, to the one that is overwritten by it, and to what that has overwritten itself."""
        for b in [b for b in self.buffers if b.name == old.name]:
            b.name, b.overwritten = name, True
        new.name = name

    def lives(self) -> dict[str, tuple[int, int]]:
        """For each buffer that a block writes: the first and the last block that it is used in."""
        found: dict[str, tuple[int, int]] = {}
        for i, block in enumerate(self.blocks):
            for b in block.buffers():
                if b.name[0] == "t" and not b.local:
                    first, _ = found.get(b.name, (i, i))
                    found[b.name] = (first, i)
        return found

    def places(self, fixed: set[str], rooms: Sequence[Room] = ()) -> tuple[dict[str, tuple[int, int]], int]:
        """For each buffer that is not `fixed` the number of a room and where in it the buffer lies, in bytes.

        Two buffers share memory where one is written after the last use of the other. What finds no place in the given
        rooms lies in one more, and how large that has to be is the second result.
        """
        lives = {name: life for name, life in self.lives().items() if name not in fixed}
        by_name = {b.name: b for b in self.buffers if not b.overwritten}
        sizes = {name: -(-by_name[name].size * by_name[name].dtype.itemsize // ALIGNMENT) * ALIGNMENT for name in lives}
        span = {name: last - first for name, (first, last) in lives.items()}
        orders = [sorted(lives, key=key) for key in (lambda n: -sizes[n], lambda n: (-sizes[n] * span[n], -sizes[n]))]
        return min((packed(order, sizes, lives, rooms) for order in orders), key=itemgetter(1))


class Room(NamedTuple):
    """Memory of so many bytes, parts of which are taken: from where to where, and from which block to which."""

    size: float
    taken: list[tuple[int, int, int, int]]

    def place(self, size: int, first: int, last: int) -> int:
        """Where there is first so much room from one block to another."""
        at = 0
        for start, stop in sorted(t[:2] for t in self.taken if t[2] <= last and t[3] >= first):
            if at + size <= start:
                break
            at = max(at, -(-stop // ALIGNMENT) * ALIGNMENT)
        return at


def finds_again(value: Value) -> bool:
    """Whether it looks for the extremum of numbers among them: computed again, they might be rounded otherwise."""
    return isinstance(value, Map) and value.what == "equal" and any(isinstance(origin(x), Reduce) for x in value.inputs)


def origin(x: Value) -> Value:
    """What a value is a view of, or the value."""
    while isinstance(x, View):
        x = x.inputs[0]
    return x


def readers_of(value: Value) -> Iterator[Value]:
    """What reads a value, directly or through views."""
    for r in value.readers:
        yield r
        if isinstance(r, View):
            yield from readers_of(r)


def packed(
    order: Sequence[str], sizes: Mapping[str, int], lives: Mapping[str, tuple[int, int]], rooms: Sequence[Room]
) -> tuple[dict[str, tuple[int, int]], int]:
    """Places in rooms and in one more, given to buffers in this order, and the size of the one more."""
    rooms = [*(Room(room.size, list(room.taken)) for room in rooms), Room(math.inf, [])]
    places = {}
    for name in order:
        for i, room in enumerate(rooms):
            at = room.place(sizes[name], *lives[name])
            if at + sizes[name] <= room.size:
                room.taken.append((at, at + sizes[name], *lives[name]))
                places[name] = i, at
                break
    return places, max((stop for _, stop, *_ in rooms[-1].taken), default=0)


def needed(outputs: Sequence[Value]) -> list[Value]:
    """Every value that the outputs are computed from, and these."""
    found = {id(v): v for v in outputs}
    todo = list(outputs)
    while todo:
        for x in todo.pop().inputs:
            if id(x) not in found:
                found[id(x)] = x
                todo.append(x)
    return list(found.values())


def in_memory(s: Value) -> Iterator[Value]:
    """What has memory, of what a value is computed from."""
    todo = list(s.inputs)
    while todo:
        x = todo.pop()
        if x.buffer is not None:
            yield x
        else:
            todo += x.inputs


def own_part(v: Value) -> bool:
    """Whether it has memory of its own that native code could not copy."""
    return isinstance(v, Part) and v.dtype.name not in TYPES


def copy_of(v: Value) -> Value:
    """A copy, by Python where native code has no such dtype."""
    if v.dtype.name in TYPES:
        return Map(lambda x: x, [v], v.shape, v.dtype, "copy", 0)
    return Part(Host([v], lambda x: (x,), "copy"), v.shape, v.dtype, 0)


def sources(v: Value, depth: int = 0) -> Iterator[Value]:
    """What lies in memory, or will, of what an elementwise value is made of."""
    for x in v.inputs:
        if isinstance(x, Map | View) and len(x.readers) == 1 and depth < DEEP:
            yield from sources(x, depth + 1)
        else:
            yield x


def copied(v: Value, number: float, made: dict[int, Value], depth: int = 0) -> Value:
    """The same value once more, at another place in the order, made of what is `made` anew where there is such."""
    again = copy.copy(v)
    again.number = number
    again.inputs = []
    for x in v.inputs:
        if id(x) in made:
            x = made[id(x)]
            advance(x, number - STEP)
        elif isinstance(x, Map | View) and len(x.readers) == 1 and depth < DEEP:
            x = copied(x, number - STEP, made, depth + 1)
        again.inputs.append(x)
    return again


def advance(x: Value, number: float) -> None:
    """Have a value made no later than that, and what it is made of before."""
    if x.number > number:
        x.number = number
        for y in x.inputs:
            advance(y, number - STEP)


def lies_flat(x: Value) -> bool:
    return x.buffer is not None and x.buffer.in_rows
