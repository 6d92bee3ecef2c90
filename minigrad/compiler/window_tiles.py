"""The functions of `windows.py` in LLVM's vectors.

A convolution first copies some images into scratch memory, so that each vector there has one place of all of them
(`spread_out`); what it makes in the same form is copied back (`gather`). Both are transpositions in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .tiles import INDEX, STRICT, Value, Vectors, index
from .windows import ByWeight, Pool, Sums

LINE = 64  # bytes: of the cache


def native(kernel: Any) -> Any:
    """The function `name(y, a, at_a, b, at_b, c, at_c, lo, hi, scratch)` of a kernel for compiled code."""

    @intrinsic
    def call(
        context: Any, y: Any, a: Any, at_a: Any, b: Any, at_b: Any, c: Any, at_c: Any, lo: Any, hi: Any, scratch: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = [argument.type for argument in arguments]
            kind = ir.FunctionType(ir.VoidType(), kinds)
            function = cgutils.get_or_insert_function(builder.module, kind, kernel.name)
            if function.is_declaration:
                define(function, kernel)
            builder.call(function, arguments)
            return context.get_dummy_value()

        return types.void(y, a, at_a, b, at_b, c, at_c, lo, hi, scratch), codegen

    return call


def define(function: Any, kernel: Any) -> None:
    function.linkage = "linkonce_odr"  # wherever it is called from, it is the same
    function.attributes.add("noinline")
    function.attributes.add("optsize")  # its loops need no unrolling
    v = Vectors(ir.IRBuilder(function.append_basic_block()), kernel.dtype, kernel.width, kernel.fused)
    y, a, at_a, b, at_b, c, at_c, lo, hi, scratch = function.args
    inputs = v.at(a, at_a), v.at(b, at_b), v.at(c, at_c)
    write = {Sums: write_sums, ByWeight: write_by_weight, Pool: write_pool}[type(kernel)]
    write(v, kernel, y, inputs, lo, hi, aligned(v, scratch))  # type: ignore[operator]
    v.builder.ret_void()


def aligned(v: Vectors, pointer: Value) -> Value:
    """The pointer moved on to where a line of the cache begins."""
    address = v.builder.add(v.builder.ptrtoint(pointer, INDEX), index(LINE - 1))
    return v.builder.inttoptr(v.builder.and_(address, index(-LINE)), pointer.type)


def table(v: Vectors, name: str, numbers: Sequence[int]) -> Value:
    """Integers as a constant of the code: a pointer to them."""
    kind = ir.ArrayType(INDEX, len(numbers))
    constant = ir.GlobalVariable(v.builder.module, kind, name)
    constant.linkage, constant.global_constant = "internal", True
    constant.initializer = ir.Constant(kind, list(numbers))
    return v.builder.bitcast(constant, INDEX.as_pointer())


def clear(v: Vectors, pointer: Value, count: Value) -> None:
    """Zeros for so many vectors."""
    with v.range(0, count) as (i, _):
        v.store(v.zero, v.at(pointer, v.times(i, v.width)), v.width)


class Piece(NamedTuple):
    """What is in a lane: which piece, of which image, where its band begins, and where the one before has ended."""

    number: Value
    image: Value
    start: Value
    fresh: Value


def pieces(v: Vectors, p: Sums | ByWeight, first: Value) -> list[Piece]:
    """The pieces in all lanes."""
    found, bands = [], p.bands
    for lane in range(p.width):
        n = v.builder.add(first, index(lane))
        if bands.each == 1:
            found.append(Piece(n, n, index(0), index(0)))
        else:
            image = v.builder.sdiv(n, index(bands.each))
            begin = v.times(v.builder.sub(n, v.times(image, bands.each)), bands.high)
            found.append(Piece(n, image, v.least(begin, bands.rows - bands.high), begin))
    return found


def spread_out(
    v: Vectors, room: Value, sources: list[Value], runs: tuple[Value, int], steps: tuple[int, int],
    inside: Callable[[Value], list[Value]] | None = None, elsewhere: Value = None,
) -> None:  # fmt: skip
    """Copy runs of so many elements to vectors, from one place for each lane. `steps` are the distances of the runs.

    Runs that are not `inside` count as zeros; what is read instead of them is `elsewhere`.
    """
    count, length = runs
    size = min(length, v.width)
    with v.range(0, count) as (run, _), v.range(0, length, v.width) as (at, _):
        at = v.least(at, length - size)
        places = [v.at(source, v.times(run, steps[0])) for source in sources]
        if inside:
            keep = inside(run)
            places = [v.builder.select(k, place, elsewhere) for k, place in zip(keep, places, strict=True)]
        rows = [v.load(v.at(place, at), size) for place in places]
        if inside:
            rows = [v.builder.select(k, row, v.zero) for k, row in zip(keep, rows, strict=True)]
        target = v.at(room, v.times(v.builder.add(v.times(run, steps[1]), at), v.width))
        for k, vector in enumerate(v.transposed(rows)[:size]):
            v.store(vector, v.at(target, k * v.width), v.width)


def gather(v: Vectors, targets: list[Value], room: Value, runs: tuple[int, int], steps: tuple[int, int]) -> None:
    """The reverse: runs of vectors to one place for each lane."""
    count, length = runs
    size = min(length, v.width)
    with v.range(0, count) as (run, _), v.range(0, length, v.width) as (at, _):
        at = v.least(at, length - size)
        source = v.at(room, v.times(v.builder.add(v.times(run, steps[1]), at), v.width))
        vectors = [v.load(v.at(source, min(k, size - 1) * v.width), v.width) for k in range(v.width)]
        for target, row in zip(targets, v.transposed(vectors), strict=True):
            v.store(row, v.at(target, v.times(run, steps[0]), at), size)


def spread_images(
    v: Vectors, p: Sums | ByWeight, room: Value, x: Value, lanes: list[Piece], size: tuple[int, int, int]
) -> None:  # fmt: skip
    """Copy what the pieces in the lanes need of all channels of x, with margins; `size` is theirs."""
    channels, height, width = size
    bands, line = p.bands, width + sum(p.margins)
    image = channels * bands.source * width
    room = v.at(room, p.margins[0] * p.width)
    if bands.each == 1:
        runs = (channels * height, width) if line > width else (1, image)
        spread_out(v, room, [v.at(x, v.times(piece.image, image)) for piece in lanes], runs, (width, line))
        return
    firsts = [v.builder.add(v.times(piece.start, bands.scale), index(bands.offset)) for piece in lanes]

    def inside(run: Value) -> list[Value]:
        rows = [v.builder.add(first, run) for first in firsts]
        return [v.builder.icmp_unsigned("<", row, index(bands.source)) for row in rows]  # a negative one is huge

    with v.range(0, channels) as (c, _):
        channel = v.times(c, bands.source * width)
        sources = [
            v.at(x, v.times(piece.image, image), channel, v.times(first, width))
            for piece, first in zip(lanes, firsts, strict=True)
        ]
        into = v.at(room, v.times(c, height * line * p.width))
        spread_out(v, into, sources, (height, width), (width, line), inside, x)


def write_sums(
    v: Vectors, p: Sums, y: Value, inputs: tuple[Value, ...], lo: Value, hi: Value, room: Value
) -> None:  # fmt: skip
    x, w, bias = inputs
    channels, height, width, outputs, rows, columns = p.sizes
    groups, line, across = p.geometry.groups, width + sum(p.margins), p.tiles * p.columns
    lines = p.row_taps()
    tables = [
        table(v, f"{p.name}_firsts", [sum(map(len, lines[:i])) for i in range(rows + 1)]),
        table(v, f"{p.name}_places", [at * line * p.width for taps in lines for at, _ in taps]),
        table(v, f"{p.name}_kernels", [k * p.geometry.columns.kernel for taps in lines for _, k in taps]),
    ]
    made, plane = v.at(room, p.room[0] * p.width), p.bands.rows * columns
    if line > width:
        clear(v, room, p.room[0])
    with v.range(lo, hi) as (block, _):
        lanes = pieces(v, p, v.least(v.times(block, p.width), p.geometry.images - p.width))  # the last ones again
        spread_images(v, p, room, x, lanes, (groups * channels, height, width))
        whole = groups * outputs * plane
        images = [v.at(y, v.times(piece.image, whole), v.times(piece.start, columns)) for piece in lanes]
        with v.range(0, groups) as (group, _), v.range(0, outputs, p.channels) as (m, _):
            m = v.least(m, outputs - p.channels)
            into = v.builder.add(v.times(group, outputs), m)
            first = v.times(group, channels * outputs) if p.turned else v.times(into, channels)
            weights = v.at(w, v.times(v.builder.add(first, m) if p.turned else first, p.geometry.taps))
            source = v.at(room, v.times(group, channels * height * line * p.width))
            starts = [v.repeated(v.at(bias, into, r)) if p.bias else v.zero for r in range(p.channels)]
            sum_rows(v, p, made, source, weights, starts, tables)
            with v.range(0, p.channels) as (r, _):
                targets = [v.at(image, v.times(v.builder.add(into, r), plane)) for image in images]
                runs = (rows, columns) if across > columns else (1, rows * columns)
                gather(v, targets, v.at(made, v.times(r, rows * across * p.width)), runs, (columns, across))


def sum_rows(
    v: Vectors, p: Sums, y: Value, x: Value, w: Value, starts: list[Value], tables: list[Value]
) -> None:  # fmt: skip
    """The sums of some channels, row by row and tile by tile, from what they start with."""
    *_, rows, _ = p.sizes
    across = p.tiles * p.columns
    firsts, places, kernels = tables
    with v.range(0, rows) as (i, _):
        first, last = (v.builder.load(v.at(firsts, i, k)) for k in (0, 1))
        taps = [v.at(places, first), v.at(kernels, first), v.builder.sub(last, first)]
        with v.range(0, p.tiles) as (tile, _):
            totals = sum_tile(v, p, v.at(x, v.times(tile, p.step * p.width)), w, taps, starts)
            at = v.builder.add(v.times(i, across), v.times(tile, p.columns))
            target = v.at(y, v.times(at, p.width))
            for k, total in enumerate(totals):
                r, j = divmod(k, p.columns)
                v.store(total, v.at(target, (r * rows * across + j) * p.width), p.width)


def sum_tile(v: Vectors, p: Sums, x: Value, w: Value, taps: list[Value], starts: list[Value]) -> list[Value]:
    """The sums of a tile, channel by channel, from its rows' taps: places in x and w, and how many."""
    channels, height, width, outputs, *_ = p.sizes
    plane = height * (width + sum(p.margins)) * p.width
    each = p.geometry.taps * (outputs if p.turned else 1)  # the distance of the weights of channels that are added up
    other = p.geometry.taps * (1 if p.turned else channels)  # and of those of the tile
    columns = p.column_taps()

    def row(t: Value, totals: list[Value]) -> list[Value]:
        line, kernel = v.at(x, v.builder.load(v.at(taps[0], t))), v.at(w, v.builder.load(v.at(taps[1], t)))
        return v.repeat(channels, totals, lambda c, totals: add(c, line, kernel, totals))

    def add(c: Value, line: Value, kernel: Value, totals: list[Value]) -> list[Value]:
        line, kernel = v.at(line, v.times(c, plane)), v.at(kernel, v.times(c, each))
        totals, vectors = list(totals), {}
        for k in range(p.geometry.columns.kernel):
            here = [(j, at) for j, at, tap in columns if tap == k]
            numbers = [v.repeated(v.at(kernel, r * other + k)) for r in range(p.channels)] if here else []
            for j, at in here:
                if at not in vectors:
                    vectors[at] = v.load(v.at(line, (at + p.margins[0]) * p.width), p.width)
                some = slice(j, None, p.columns)
                totals[some] = v.add_products(totals[some], numbers, [vectors[at]])
        return totals

    return v.repeat(taps[2], [start for start in starts for _ in range(p.columns)], row)


def write_by_weight(
    v: Vectors, p: ByWeight, w: Value, inputs: tuple[Value, ...], lo: Value, hi: Value, room: Value
) -> None:  # fmt: skip
    x, g, _ = inputs
    q = p.geometry
    rows, columns = q.rows, q.columns
    line = columns.length + sum(p.margins)
    inside = table(v, f"{p.name}_inside", [bound for pair in p.row_taps() for bound in pair])
    other = v.at(room, p.room[0] * p.width)
    if line > columns.length:
        clear(v, room, p.room[0])
    with v.range(v.times(lo, q.channels * q.taps), v.times(hi, q.channels * q.taps)) as (i, _):
        v.builder.store(ir.Constant(v.number, 0.0), v.at(w, i))
    with v.range(0, -(-q.images // p.width)) as (block, _):
        start = v.times(block, p.width)
        lanes = pieces(v, p, v.least(start, q.images - p.width))
        spread_images(v, p, room, x, lanes, (q.groups * q.channels, rows.length, columns.length))
        spread_gradients(v, p, other, g, lanes, start, (lo, hi))
        with v.range(lo, hi, p.outputs) as (o, _):
            last = v.builder.sub(v.builder.sub(hi, o), index(1))
            outputs = [v.builder.add(o, v.least(r, last)) for r in range(p.outputs)]  # beyond hi, the last again
            with v.range(0, q.channels, p.channels) as (c, _), v.range(0, rows.kernel) as (k, _):
                bounds = [v.builder.load(v.at(inside, v.times(k, 2), i)) for i in (0, 1)]
                add_tile(v, p, w, room, other, outputs, c, k, bounds)


def add_tile(
    v: Vectors, p: ByWeight, w: Value, x: Value, g: Value, outputs: list[Value], c: Value, k: Value,
    bounds: list[Value],
) -> None:  # fmt: skip
    """Add the sums of a tile, some outputs times row k of the kernels of some channels, to w."""
    q, (first, end) = p.geometry, bounds
    rows, columns, line = q.rows, q.columns, q.columns.length + sum(p.margins)
    group = v.builder.sdiv(outputs[0], index(q.outputs))
    channel = v.builder.add(v.times(group, q.channels), c)
    at = v.builder.add(v.times(first, rows.stride), v.times(k, rows.dilation))
    at = v.builder.add(v.times(channel, rows.length), v.builder.sub(at, index(rows.padding)))
    starts = [v.times(o, rows.size * columns.size * p.width) for o in outputs]
    gs = [v.at(g, start, v.times(first, columns.size * p.width)) for start in starts]
    totals = dot_tile(v, p, v.at(x, v.times(at, line * p.width)), gs, v.builder.sub(end, first))
    targets = []
    for o in outputs:
        place = v.times(v.builder.add(v.times(o, q.channels), c), q.taps)
        target = v.at(w, place, v.times(k, columns.kernel))
        targets += [v.at(target, d * q.taps + j) for d in range(p.channels) for j in range(columns.kernel)]
    olds = [v.builder.load(target) for target in targets]  # all of them first: some outputs are there twice
    for old, total, target in zip(olds, totals, targets, strict=True):
        v.builder.store(v.plus(old, v.sum(total)), target)


def spread_gradients(
    v: Vectors, p: ByWeight, room: Value, g: Value, lanes: list[Piece], first: Value, outputs: tuple[Value, Value]
) -> None:  # fmt: skip
    """Copy the pieces in the lanes of some channels of g; what an earlier piece has counts as zeros in a later one."""
    bands, (height, width) = p.bands, (p.geometry.rows.size, p.geometry.columns.size)
    plane = bands.rows * width

    def inside(run: Value) -> list[Value]:
        again = [v.builder.icmp_signed("<", piece.number, first) for piece in lanes]
        before = [v.builder.icmp_signed("<", v.builder.add(piece.start, run), piece.fresh) for piece in lanes]
        return [v.builder.not_(v.builder.or_(a, b)) for a, b in zip(again, before, strict=True)]

    twice = p.geometry.images % p.width or bands.rows % bands.high
    with v.range(*outputs) as (o, _):
        sources = [
            v.at(g, v.times(piece.image, p.extent * plane), v.times(o, plane), v.times(piece.start, width))
            for piece in lanes
        ]
        runs = (height, width) if bands.each > 1 else (1, plane)
        into = v.at(room, v.times(o, height * width * p.width))
        spread_out(v, into, sources, runs, (width, width), inside if twice else None, g)


def dot_tile(v: Vectors, p: ByWeight, x: Value, gs: list[Value], rows: Value) -> list[Value]:
    """The sums over some rows of g, for each output, times x, for each channel and place of a kernel's row."""
    q = p.geometry
    line = q.columns.length + sum(p.margins)
    offsets = [
        d * q.rows.length * line + j * q.columns.dilation for d in range(p.channels) for j in range(q.columns.kernel)
    ]

    def row(i: Value, totals: list[Value]) -> list[Value]:
        here = v.at(x, v.times(i, q.rows.stride * line * p.width))
        others = [v.at(g, v.times(i, q.columns.size * p.width)) for g in gs]
        return v.repeat(q.columns.size, totals, lambda j, olds: place(here, others, j, olds))

    def place(x: Value, gs: list[Value], j: Value, totals: list[Value]) -> list[Value]:
        x = v.at(x, v.times(j, q.columns.stride * p.width))
        xs = [v.load(v.at(x, offset * p.width), p.width) for offset in offsets]
        ys = [v.load(v.at(g, v.times(j, p.width)), p.width) for g in gs]
        return v.add_products(totals, ys, xs)

    return v.repeat(rows, [v.zero] * (len(gs) * len(offsets)), row)


# ---- pools ----------------------------------------------------------------------------------------------------------


def write_pool(
    v: Vectors, p: Pool, y: Value, inputs: tuple[Value, ...], lo: Value, hi: Value, scratch: Value
) -> None:  # fmt: skip
    (height, width), (rows, columns), (down, across) = p.size, p.windows, p.window
    large, small, size = height * width, rows * columns, min(columns, p.width)
    wide = Vectors(v.builder, p.dtype, p.width * across, False)
    shrinking = p.kind in ("window_max", "window_mean")
    with v.range(lo, hi) as (n, _):
        if shrinking:
            x, g, y = v.at(inputs[0], v.times(n, large)), None, v.at(y, v.times(n, small))
        else:
            g, x, y = v.at(inputs[0], v.times(n, small)), v.at(inputs[1], v.times(n, large)), v.at(y, v.times(n, large))
            if (rows * down, columns * across) != p.size:  # what is in no window
                with v.range(0, large) as (i, _):
                    v.builder.store(ir.Constant(v.number, 0.0), v.at(y, i))
        with v.range(0, rows) as (i, _), v.range(0, columns, p.width) as (j, _):
            j = v.least(j, columns - size)
            place = v.builder.add(v.times(i, down * width), v.times(j, across))
            lines = [v.builder.add(place, index(k * width)) for k in range(down)]
            here = v.builder.add(v.times(i, columns), j)
            parts = []
            if p.kind != "window_spread":
                parts = [part for line in lines for part in apart(v, wide.load(v.at(x, line), size * across), across)]
            if shrinking:
                v.store((largest if p.kind == "window_max" else mean)(v, p, parts), v.at(y, here), size)
            else:
                parts = (put if p.kind == "window_put" else share)(v, p, parts, v.load(v.at(g, here), size))
                for k, line in enumerate(lines):
                    wide.store(together(v, parts[k * across : (k + 1) * across]), v.at(y, line), size * across)


def apart(v: Vectors, wide: Value, n: int) -> list[Value]:
    """Of a long vector, those of every n-th element."""
    return [v.shuffle(wide, wide, [k + n * lane for lane in range(v.width)]) for k in range(n)]


def together(v: Vectors, parts: list[Value]) -> Value:
    """The reverse."""
    n, size = len(parts), v.width
    while len(parts) > 1:
        parts = parts + parts[-1:] * (len(parts) % 2)
        parts = [v.shuffle(x, y, list(range(2 * size))) for x, y in zip(parts[::2], parts[1::2], strict=True)]
        size *= 2
    return v.shuffle(parts[0], parts[0], [k * v.width + lane for lane in range(v.width) for k in range(n)])


def replaced(v: Vectors, values: list[Value]) -> tuple[list[Value], Value]:
    """In which lanes each value but the first takes the place of the one found before, and what is found at last.

    It does if it is larger, or nan.
    """
    taken, most = [], values[0]
    for value in values[1:]:
        larger = v.builder.fcmp_ordered(">", value, most)
        taken.append(v.builder.or_(larger, v.builder.fcmp_unordered("uno", value, value)))
        most = v.builder.select(taken[-1], value, most)
    return taken, most


def largest(v: Vectors, p: Pool, parts: list[Value]) -> Value:
    return replaced(v, parts)[1]


def put(v: Vectors, p: Pool, parts: list[Value], g: Value) -> list[Value]:
    """g in the lanes of that part that has the largest element, 0 in the others."""
    taken, _ = replaced(v, parts)
    made: list[Value] = []
    for here in reversed(taken):
        made.insert(0, v.builder.select(here, g, v.zero))
        g = v.builder.select(here, v.zero, g)
    return [g, *made]


def mean(v: Vectors, p: Pool, parts: list[Value]) -> Value:
    total = v.zero
    for part in parts:
        total = v.plus(total, part)
    return divided(v, total, p.divisor)


def share(v: Vectors, p: Pool, parts: list[Value], g: Value) -> list[Value]:
    return [v.plus(v.zero, divided(v, g, p.divisor))] * (p.window[0] * p.window[1])


def divided(v: Vectors, x: Value, n: int) -> Value:
    return v.builder.fdiv(x, ir.Constant(v.type, [float(n)] * v.width), flags=STRICT)
