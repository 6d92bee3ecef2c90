"""Tiles of matrix products in LLVM's vectors: what keeps a processor's multipliers busy, and no compiler finds.

A tile of c stays in registers while a loop over k adds to it: some rows times some vectors are that many sums on the
way at a time, and each number of a and vector of b is read once for many of them (Goto and van de Geijn, "Anatomy of
High-Performance Matrix Multiplication", 2008). Every number of c is the sum of its terms in one order, whatever tile it
lies in: so tiles may overlap, and threads may part the rows as they like.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

INDEX = ir.IntType(64)
LANE = ir.IntType(32)
STRICT = ("arcp",)  # concerns divisions only: but what has no flags gets those of the calling function from Numba
Value = Any  # a number, vector or pointer in the code being built
Body = Callable[[Value, list[Value]], list[Value]]


class Vectors:
    """Instructions on vectors of some number of floats of a type, added to the code being built."""

    def __init__(self, builder: Any, dtype: str, width: int, fused: bool) -> None:
        self.builder, self.width, self.fused = builder, width, fused
        self.number = ir.FloatType() if dtype == "float32" else ir.DoubleType()
        self.size = 4 if dtype == "float32" else 8
        self.type = ir.VectorType(self.number, width)
        self.pointer = self.number.as_pointer()
        self.name = f"v{width}f{8 * self.size}"
        self.zero = ir.Constant(self.type, [0.0] * width)

    def at(self, pointer: Value, *offsets: Value) -> Value:
        """A pointer moved by some numbers of elements."""
        for offset in offsets:
            pointer = self.builder.gep(pointer, [index(offset)])
        return pointer

    def load(self, pointer: Value, lanes: Value) -> Value:
        """A vector from memory, of which only the first lanes are read; the others are 0."""
        pointer = self.builder.bitcast(pointer, self.type.as_pointer())
        if isinstance(lanes, int) and lanes == self.width:
            return self.builder.load(pointer, align=self.size)
        kinds = [self.type.as_pointer(), LANE, ir.VectorType(ir.IntType(1), self.width), self.type]
        masked = self.declared(f"llvm.masked.load.{self.name}.p0", self.type, kinds)
        return self.builder.call(masked, [pointer, ir.Constant(LANE, self.size), self.mask(lanes), self.zero])

    def store(self, vector: Value, pointer: Value, lanes: int) -> None:
        """The first lanes of a vector to memory."""
        pointer = self.builder.bitcast(pointer, self.type.as_pointer())
        if lanes == self.width:
            self.builder.store(vector, pointer, align=self.size)
            return
        kinds = [self.type, self.type.as_pointer(), LANE, ir.VectorType(ir.IntType(1), self.width)]
        masked = self.declared(f"llvm.masked.store.{self.name}.p0", ir.VoidType(), kinds)
        self.builder.call(masked, [vector, pointer, ir.Constant(LANE, self.size), self.mask(lanes)])

    def mask(self, lanes: Value) -> Value:
        if isinstance(lanes, int):
            return ir.Constant(ir.VectorType(ir.IntType(1), self.width), [lane < lanes for lane in range(self.width)])
        kind = ir.VectorType(INDEX, self.width)
        lanes = self.builder.insert_element(ir.Constant(kind, ir.Undefined), lanes, ir.Constant(LANE, 0))
        places = ir.Constant(kind, list(range(self.width)))
        return self.builder.icmp_signed("<", places, self.shuffle(lanes, lanes, [0] * self.width))

    def repeated(self, pointer: Value) -> Value:
        """A vector of one number in memory, again and again."""
        number = self.builder.load(pointer, align=self.size)
        vector = self.builder.insert_element(ir.Constant(self.type, ir.Undefined), number, ir.Constant(LANE, 0))
        return self.shuffle(vector, vector, [0] * self.width)

    def shuffle(self, x: Value, y: Value, lanes: list[int]) -> Value:
        """The vector of these lanes of x and, counted on, of y."""
        return self.builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(LANE, len(lanes)), lanes))

    def add_products(self, totals: list[Value], xs: list[Value], ys: list[Value]) -> list[Value]:
        """total + x y for every x with every y, with one rounding where the processor has an instruction for it."""
        pairs = [(x, y) for x in xs for y in ys]
        if not self.fused:
            products = [self.builder.fmul(x, y, flags=STRICT) for x, y in pairs]
            return [self.plus(total, product) for total, product in zip(totals, products, strict=True)]
        fma = self.declared(f"llvm.fma.{self.name}", self.type, [self.type] * 3)
        return [self.builder.call(fma, [x, y, total]) for total, (x, y) in zip(totals, pairs, strict=True)]

    def plus(self, x: Value, y: Value) -> Value:
        return self.builder.fadd(x, y, flags=STRICT)

    def sum(self, vector: Value) -> Value:
        """The sum of a vector's lanes: halves upon each other, until one lane is left."""
        half = self.width // 2
        while half:
            parts = [self.shuffle(vector, vector, [start + i for i in range(half)]) for start in (0, half)]
            vector, half = self.plus(*parts), half // 2
        return self.builder.extract_element(vector, ir.Constant(LANE, 0))

    def transposed(self, rows: list[Value]) -> list[Value]:
        """As many vectors as they have lanes, transposed.

        A round exchanges a bit of the numbers of rows for one of the numbers of lanes: first among the lanes of 16
        bytes each, then among these as a whole, since processors have fast instructions for either.
        """
        near = min(16 // self.size, self.width)
        lanes = range(2 * self.width)  # of two rows
        halves = [[i for i in lanes[: self.width] if (i % near >= near // 2) is late] for late in (False, True)]
        interleaved = [[lane for i in half for lane in (i, i + self.width)] for half in halves]
        parted = [[i for i in lanes if (i // near) % 2 == odd] for odd in (0, 1)]
        rounds = [(1 << k, interleaved) for k in range(near.bit_length() - 1)][::-1]
        rounds += [(1 << k, parted) for k in range(near.bit_length() - 1, self.width.bit_length() - 1)]
        for apart, parts in rounds:
            pairs = [(rows[r & ~apart], rows[r | apart], bool(r & apart)) for r in range(self.width)]
            rows = [self.shuffle(x, y, parts[second]) for x, y, second in pairs]
        return rows

    def repeat(self, count: Value, totals: list[Value], body: Body) -> list[Value]:
        """Run `body` on the indices up to count, and on the totals that it gave the last time."""
        if isinstance(count, int) and count == 0:
            return totals
        builder, before = self.builder, self.builder.block
        start, end = builder.append_basic_block("k"), builder.append_basic_block("end")
        builder.cbranch(builder.icmp_signed("<", index(0), index(count)), start, end)
        builder.position_at_end(start)
        carried = [builder.phi(x.type) for x in (index(0), *totals)]
        k, *olds = carried
        values = [builder.add(k, index(1)), *body(k, olds)]
        after = builder.block  # not `start`, if there is a loop in the body
        for phi, first, value in zip(carried, (index(0), *totals), values, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(value, after)
        builder.cbranch(builder.icmp_signed("<", values[0], index(count)), start, end)
        builder.position_at_end(end)
        results = [builder.phi(x.type) for x in totals]
        for phi, first, value in zip(results, totals, values[1:], strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(value, after)
        return results

    def range(self, start: Value, stop: Value, step: int = 1) -> Any:
        """A loop, as a context manager that gives its index."""
        return cgutils.for_range_slice(self.builder, index(start), index(stop), index(step), INDEX)

    def times(self, i: Value, stride: int) -> Value:
        return self.builder.mul(index(i), index(stride))

    def least(self, i: Value, j: Value) -> Value:
        return self.builder.select(self.builder.icmp_signed("<", index(i), index(j)), index(i), index(j))

    def declared(self, name: str, result: Value, kinds: list[Value]) -> Value:
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, kinds), name)


def index(i: Value) -> Value:
    return ir.Constant(INDEX, i) if isinstance(i, int) else i


def product(
    name: str, n: int, k: int, *, a: tuple[int, int], b: tuple[int, int], c: int, add: bool, rows: int, columns: int,
    block: int, along: str, packed: bool, dtype: str, width: int, fused: bool,
) -> Any:  # fmt: skip
    """The function `name(c, at_c, a, at_a, b, at_b, lo, hi, scratch)` for compiled code; see `products.py`."""

    @intrinsic
    def call(
        context: Any, c_: Any, at_c: Any, a_: Any, at_a: Any, b_: Any, at_b: Any, lo: Any, hi: Any, scratch: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = [argument.type for argument in arguments]
            function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
            if function.is_declaration:
                define(function)
            builder.call(function, arguments)
            return context.get_dummy_value()

        return types.void(c_, at_c, a_, at_a, b_, at_b, lo, hi, scratch), codegen

    def define(function: Any) -> None:
        function.linkage = "linkonce_odr"  # wherever it is called from, it is the same
        function.attributes.add("noinline")
        if along != "m":  # whose loop has so many instructions that it should begin with a line of the cache
            function.attributes.add("optsize")  # its loops need no unrolling
        v = Vectors(ir.IRBuilder(function.append_basic_block()), dtype, width, fused)
        into, at_c, left, at_a, right, at_b, lo, hi, scratch = function.args
        into, left, right = v.at(into, at_c), v.at(left, at_a), v.at(right, at_b)

        def sum_of(t: Value, terms: Value, old: Value) -> None:
            """Some terms from t on of all sums: instead of what is in c or, if `old` is true, in addition to it."""
            for start, stop, size in strips(n, columns, old is not False):
                with v.range(start, stop, columns) as (j, _):
                    j = v.least(j, n - size)
                    strip, strides = v.at(right, v.times(t, b[0]), v.times(j, b[1])), b
                    if packed:
                        pack(v, scratch, columns, strip, b, terms, size)
                        strip, strides = scratch, (columns, 1)
                    with v.range(lo, hi, rows) as (i, _):
                        if along == "m":
                            corner, start = v.at(into, v.times(i, c), j), v.at(left, i, v.times(t, a[1]))
                            count = v.builder.sub(hi, i)
                            turned_tile(v, corner, c, count, rows, start, a[1], strip, b, terms, size, old)
                            continue
                        last = v.builder.sub(v.least(v.builder.sub(hi, i), rows), index(1))
                        places = [v.builder.add(i, v.least(r, last)) for r in range(rows)]  # beyond hi, the last again
                        targets = [v.at(into, v.times(r, c), j) for r in places]
                        lefts = [v.at(left, v.times(r, a[0]), v.times(t, a[1])) for r in places]
                        if along == "k":
                            rights = [v.at(strip, r * strides[1]) for r in range(size)]
                            dot_tile(v, targets, lefts, rights, k, add)
                        else:
                            tile(v, targets, lefts, a[1], strip, strides[0], terms, size, old)

        if along == "k" or k < 2 * block:
            sum_of(index(0), k, add)
        else:  # so many terms at a time that what they are made of stays in the cache; the last take what is left
            with v.range(0, k - k % block, block) as (t, _):
                rest = v.builder.sub(index(k), t)
                terms = v.builder.select(v.builder.icmp_signed("<", rest, index(2 * block)), rest, index(block))
                sum_of(t, terms, add or v.builder.icmp_signed(">", t, index(0)))
        v.builder.ret_void()

    return call


def strips(n: int, columns: int, add: bool) -> list[tuple[int, int, int]]:
    """Where to begin and end with tiles of how many columns: the last begins earlier, so that it has as many.

    Not where c is added to: there tiles may not overlap, and the last has fewer.
    """
    whole = n - n % columns
    if add and 0 < whole < n:
        return [(0, whole, columns), (whole, n, n - whole)]
    return [(0, n, min(n, columns))]


def tile(
    v: Vectors, targets: list[Value], lefts: list[Value], along: int, strip: Value, row: int, terms: Value,
    columns: int, old: Value,
) -> None:  # fmt: skip
    """Rows of c with vectors along them, from rows of a, with the distance `along` them, and a strip of b's columns."""
    lanes = [min(v.width, columns - j) for j in range(0, columns, v.width)]
    places = [(v.at(target, j * v.width), n) for target in targets for j, n in enumerate(lanes)]

    def step(t: Value, totals: list[Value]) -> list[Value]:
        start = v.at(strip, v.times(t, row))
        vectors = [v.load(v.at(start, j * v.width), n) for j, n in enumerate(lanes)]
        numbers = [v.repeated(v.at(left, v.times(t, along))) for left in lefts]
        return v.add_products(totals, numbers, vectors)

    starts = [v.zero if old is False else v.load(*place) for place in places]
    if not isinstance(old, bool):
        starts = [v.builder.select(old, start, v.zero) for start in starts]
    totals = v.repeat(terms, starts, step)
    for total, place in zip(totals, places, strict=True):
        v.store(total, *place)


def turned_tile(
    v: Vectors, corner: Value, row: int, count: Value, rows: int, left: Value, along: int, strip: Value,
    b: tuple[int, int], terms: Value, columns: int, old: Value,
) -> None:  # fmt: skip
    """Columns of c with vectors along them: `count` rows, or all `rows` of the tile if there are as many."""
    counts = [v.builder.sub(count, index(i)) for i in range(0, rows, v.width)]
    last = v.builder.sub(count, index(1))

    def target(i: int) -> Value:
        """Where a row of c begins: beyond the count, that of the last."""
        return v.at(corner, v.times(v.least(i, last), row))

    def step(t: Value, totals: list[Value]) -> list[Value]:
        start = v.at(left, v.times(t, along))
        vectors = [v.load(v.at(start, i * v.width), n) for i, n in enumerate(counts)]
        numbers = [v.repeated(v.at(strip, v.times(t, b[0]), j * b[1])) for j in range(columns)]
        return v.add_products(totals, vectors, numbers)

    starts = []
    for i in range(0, rows, v.width):
        if old is False:
            starts += [v.zero] * columns
        else:
            starts += v.transposed([v.load(target(i + r), columns) for r in range(v.width)])[:columns]
    if not isinstance(old, bool):
        starts = [v.builder.select(old, start, v.zero) for start in starts]
    totals = v.repeat(terms, starts, step)
    unknown = ir.Constant(v.type, ir.Undefined)
    for i in range(0, rows, v.width)[::-1]:  # from the end, so that the last row of all is written over what is beyond
        first = i // v.width * columns
        vectors = v.transposed(totals[first : first + columns] + [unknown] * (v.width - columns))
        for r in range(v.width)[::-1]:
            v.store(vectors[r], target(i + r), columns)


def dot_tile(v: Vectors, targets: list[Value], lefts: list[Value], rights: list[Value], k: int, add: bool) -> None:
    """Rows of c with vectors along k, from rows of a and columns of b, both without gaps."""

    def step(t: Value, totals: list[Value], lanes: int = v.width) -> list[Value]:
        xs, ys = ([v.load(v.at(p, v.times(t, v.width)), lanes) for p in side] for side in (lefts, rights))
        return v.add_products(totals, xs, ys)

    totals = v.repeat(k // v.width, [v.zero] * (len(lefts) * len(rights)), step)
    if k % v.width:
        totals = step(index(k // v.width), totals, k % v.width)
    places = [v.at(target, j) for target in targets for j in range(len(rights))]
    sums = [v.sum(total) for total in totals]
    if add:
        sums = [v.plus(v.builder.load(p), total) for p, total in zip(places, sums, strict=True)]
    for total, p in zip(sums, places, strict=True):
        v.builder.store(total, p)


def pack(v: Vectors, panel: Value, row: int, strip: Value, b: tuple[int, int], terms: Value, columns: int) -> None:
    """Copy some columns of b to a panel, with `row` numbers in a row; those behind the columns are undefined."""
    if b[1] == 1:
        with v.range(0, terms) as (t, _):
            for j in range(0, columns, v.width):
                vector = v.load(v.at(strip, v.times(t, b[0]), j), min(v.width, columns - j))
                v.store(vector, v.at(panel, v.times(t, row), j), v.width)
    elif b[0] == 1:
        height = min(terms, v.width) if isinstance(terms, int) else v.width
        with v.range(0, terms, v.width) as (t, _), v.range(0, columns, v.width) as (j, _):
            t = v.least(t, v.builder.sub(index(terms), index(height)))  # the last block begins earlier
            last = v.builder.sub(index(columns - 1), j)
            block = v.at(strip, t, v.times(j, b[1]))
            vectors = [v.load(v.at(block, v.times(v.least(r, last), b[1])), height) for r in range(v.width)]
            for r, vector in enumerate(v.transposed(vectors)[:height]):
                v.store(vector, v.at(panel, v.times(t, row), r * row, j), v.width)
    else:
        with v.range(0, terms) as (t, _), v.range(0, columns) as (j, _):
            number = v.builder.load(v.at(strip, v.times(t, b[0]), v.times(j, b[1])))
            v.builder.store(number, v.at(panel, v.times(t, row), j))
