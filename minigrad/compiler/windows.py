"""Convolutions and pools in native code: which of them, and how their loops are cut into tiles.

The vectors of a convolution lie along the images of a batch. Some images are copied so that the elements they have at
one place lie side by side, and then every place is a vector of its own: whatever the stride, the padding and the
dilation, a tile of the result is some channels times some places of a row, and stays in registers while products are
added to it. What reaches beyond the image is left out when the code is written. `window_tiles.py` writes it.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .indices import Index
from .products import even, processor
from .values import Kernel, Map, Reduce, Value, View, literal, reshaped

REVISION = zlib.crc32(b"".join((Path(__file__).parent / f).read_bytes() for f in ("window_tiles.py", "windows.py")))
PRELUDE = (
    "from minigrad.compiler.windows import Axis, Bands, ByWeight, Geometry, Pool, Sums\n"
    f"from minigrad.compiler.window_tiles import native  # {REVISION:08x}\n"
)

LARGEST = 1 << 24  # elements: a convolution that would copy more at a time is left to the host
WINDOW = 16  # elements: pools of larger windows, whose code would be long, are left to the host
ALIGNED = 16  # elements more, for memory that begins with a line of the cache
DIVISION = 3  # what it costs, as in lower.py
SIDE = 16  # elements of a kernel's row: longer ones are left to the host


class Axis(NamedTuple):
    """How a convolution meets one axis of x, of `length`: place i of its `size` results has k at i s + k d - p."""

    length: int
    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int

    def met(self, i: int, k: int) -> int | None:
        """Where on the axis of x it is, None if it is outside."""
        at = i * self.stride + k * self.dilation - self.padding
        return at if 0 <= at < self.length else None

    def meeting(self, at: int, k: int) -> int | None:
        """Whose k meets a place of x, None if there is no such result."""
        i, rest = divmod(at + self.padding - k * self.dilation, self.stride)
        return i if not rest and 0 <= i < self.size else None


class Geometry(NamedTuple):
    """The shapes of a convolution: `channels` and `outputs` are those of a group."""

    images: int
    groups: int
    channels: int
    outputs: int
    rows: Axis
    columns: Axis

    @property
    def taps(self) -> int:
        return self.rows.kernel * self.columns.kernel


class Bands(NamedTuple):
    """How images are cut into pieces of `high` rows of the result, so that few images fill a vector, too.

    The last band of an image begins earlier, so that it has as many. What a band that begins with a row needs of the
    other array begins with row `scale` row + `offset` of that one's `source` rows; those outside of it are zeros.
    """

    each: int  # in an image of so many `rows`
    high: int
    rows: int
    source: int
    scale: int
    offset: int


class Sums(NamedTuple):
    """A convolution, or (`turned`) its gradient by the input, in tiles of some channels times some columns."""

    geometry: Geometry  # with pieces for images
    bands: Bands
    turned: bool
    bias: bool
    dtype: str
    width: int  # pieces of images, one in each lane of a vector
    channels: int  # of a tile
    columns: int
    fused: bool

    @property
    def name(self) -> str:
        return named("sums", self)

    @property
    def extent(self) -> int:
        return -(-self.geometry.images // self.width)

    @property
    def sizes(self) -> tuple[int, int, int, int, int, int]:
        """Channels of a group, rows and columns: of what is summed up, and of the result."""
        g = self.geometry
        x = g.channels, g.rows.length, g.columns.length
        y = g.outputs, g.rows.size, g.columns.size
        return (*y, *x) if self.turned else (*x, *y)

    @property
    def work(self) -> int:
        g = self.geometry
        return g.images * g.groups * g.channels * g.outputs * g.taps * g.rows.size * g.columns.size // 16

    @property
    def tiles(self) -> int:
        """How many tiles a row has. The last may go beyond it."""
        return -(-self.sizes[5] // self.columns)

    def row_taps(self) -> list[list[tuple[int, int]]]:
        """For each row of the result: which rows are summed up for it, each with which row of the kernel."""
        rows = self.geometry.rows
        find = rows.meeting if self.turned else rows.met
        found = ((find(i, k), k) for i in range(self.sizes[4]) for k in range(rows.kernel))
        flat = [(at, k) for at, k in found]
        lines = [flat[i : i + rows.kernel] for i in range(0, len(flat), rows.kernel)]
        return [[(at, k) for at, k in line if at is not None] for line in lines]

    def column_taps(self) -> list[tuple[int, int, int]]:
        """For the first tile: which of its columns adds which place of a row, times which place of the kernel."""
        c = self.geometry.columns
        found = []
        for k in range(c.kernel):
            for j in range(self.columns):
                if self.turned:
                    at, rest = divmod(j + c.padding - k * c.dilation, c.stride)
                else:
                    at, rest = j * c.stride + k * c.dilation - c.padding, 0
                inside = 0 <= at < self.sizes[2] and j < self.sizes[5] if self.tiles == 1 else True
                if not rest and inside:
                    found.append((j, at, k))
        return found

    @property
    def step(self) -> int:
        """How far the next tile's places are."""
        s = self.geometry.columns.stride
        return self.columns // s if self.turned else self.columns * s

    @property
    def margins(self) -> tuple[int, int]:
        """How many zeros come before and after a row of what is summed up."""
        at = [at for _, at, _ in self.column_taps()] or [0]
        end = max(at) + (self.tiles - 1) * self.step
        return max(0, -min(at)), max(0, end + 1 - self.sizes[2])

    @property
    def room(self) -> tuple[int, int]:
        """Vectors of what is summed up, for all groups, and of what is made at a time."""
        c, h, w, _, rows, _ = self.sizes
        return self.geometry.groups * c * h * (w + sum(self.margins)), self.channels * rows * self.tiles * self.columns

    @property
    def scratch(self) -> int:
        return sum(self.room) * self.width + ALIGNED

    def source(self) -> str:
        return assigned(self)


class ByWeight(NamedTuple):
    """The gradient of a convolution by its weight: tiles of some outputs, times places of the kernel's rows.

    A tile has `outputs` of a group times the rows of the kernels of `channels`.
    """

    geometry: Geometry  # with pieces for images
    bands: Bands
    dtype: str
    width: int
    outputs: int
    channels: int
    fused: bool

    @property
    def name(self) -> str:
        return named("by_weight", self)

    @property
    def extent(self) -> int:
        return self.geometry.groups * self.geometry.outputs

    @property
    def grain(self) -> int:
        return self.outputs

    @property
    def work(self) -> int:
        g = self.geometry
        return g.images * self.extent * g.channels * g.taps * g.rows.size * g.columns.size // 16

    @property
    def margins(self) -> tuple[int, int]:
        c = self.geometry.columns
        end = (c.size - 1) * c.stride + (c.kernel - 1) * c.dilation + 1 - c.padding
        return c.padding, max(0, end - c.length)

    def row_taps(self) -> list[tuple[int, int]]:
        """For each row of the kernel: the first row of g that has it inside of x, and the first that has not again."""
        found = []
        for k in range(self.geometry.rows.kernel):
            inside = [i for i in range(self.geometry.rows.size) if self.geometry.rows.met(i, k) is not None]
            found.append((inside[0], inside[-1] + 1) if inside else (0, 0))
        return found

    @property
    def room(self) -> tuple[int, int]:
        """Vectors of x, and of g."""
        g = self.geometry
        x = g.groups * g.channels * g.rows.length * (g.columns.length + sum(self.margins))
        return x, self.extent * g.rows.size * g.columns.size

    @property
    def scratch(self) -> int:
        return sum(self.room) * self.width + ALIGNED

    def source(self) -> str:
        return assigned(self)


class Pool(NamedTuple):
    """What windows side by side, of `window` elements, make of `images` of a size; `kind` is the name of a card."""

    kind: str
    images: int
    size: tuple[int, int]
    windows: tuple[int, int]  # how many, along both axes
    window: tuple[int, int]
    divisor: int
    dtype: str
    width: int

    @property
    def name(self) -> str:
        return named(self.kind, self)

    @property
    def extent(self) -> int:
        return self.images

    @property
    def fused(self) -> bool:
        return False

    @property
    def scratch(self) -> int:
        return 0

    @property
    def work(self) -> int:
        return 2 * self.images * self.size[0] * self.size[1]

    def source(self) -> str:
        return assigned(self)


def named(kind: str, kernel: Any) -> str:
    """A name that equal kernels share, and others do not."""
    return f"{kind}_{zlib.crc32(repr(kernel).encode()):08x}"


def assigned(kernel: Any) -> str:
    """The source that defines the function of a kernel, to be read after `PRELUDE`."""
    return f"{kernel.name} = native({kernel!r})\n"


# ---- tiles ----------------------------------------------------------------------------------------------------------


def lanes(pieces: int, dtype: str) -> int:
    """How many pieces in a vector: a power of 2, no more than there are."""
    width = processor().bytes // np.dtype(dtype).itemsize
    return min(width, 1 << (pieces.bit_length() - 1))


def cut(geometry: Geometry, turned: bool, dtype: str) -> tuple[Geometry, Bands]:
    """The geometry with the pieces for images into which it is best to cut these."""
    axis, images = geometry.rows, geometry.images
    rows, source = (axis.length, axis.size) if turned else (axis.size, axis.length)
    best, whole = (math.inf, 0), Bands(1, rows, rows, source, 1, 0)
    for high in range(rows, 0, -1) if not turned or axis.stride == 1 else [rows]:
        count = -(-rows // high)
        cost = -(-images * count // lanes(images * count, dtype)) * (high + 1), count
        if cost < best:
            best, bands = cost, whole._replace(each=count, high=high)
    if bands.each == 1:
        return geometry, whole
    reach = (axis.kernel - 1) * axis.dilation
    if turned:
        rows_of_piece = axis._replace(length=bands.high, size=bands.high + reach, padding=reach)
        bands = bands._replace(offset=axis.padding - reach)
    else:
        rows_of_piece = axis._replace(length=(bands.high - 1) * axis.stride + reach + 1, size=bands.high, padding=0)
        bands = bands._replace(scale=axis.stride, offset=-axis.padding)
    return geometry._replace(images=images * bands.each, rows=rows_of_piece), bands


@functools.cache
def sums(geometry: Geometry, turned: bool, bias: bool, dtype: str) -> Sums | None:
    """The best tiles for a convolution, None if there are none."""
    how = processor()
    stride = geometry.columns.stride if turned else 1
    most = how.registers - 8 if how.registers > 16 else 12
    geometry, bands = cut(geometry, turned, dtype)
    first = Sums(geometry, bands, turned, bias, dtype, lanes(geometry.images, dtype), 1, stride, how.fused)
    if geometry.columns.kernel > SIDE:
        return None
    outputs, columns = first.sizes[3], first.sizes[5]
    choices = []
    for across in range(stride, most + 1, stride):
        for down in range(1, min(most // across, outputs) + 1):
            p = first._replace(channels=down, columns=across)
            products = down * len(p.column_taps()) / geometry.columns.kernel  # a cycle has two
            cycles = max(products / 2, 4, (down + across) / 2) + 1
            choices.append((cycles * p.tiles * -(-outputs // down), -down * min(across, columns), p))
    best = min(choices, key=lambda choice: choice[:2], default=(0, 0, None))[2]
    return best if best is not None and best.scratch <= LARGEST else None


@functools.cache
def by_weight(geometry: Geometry, dtype: str) -> ByWeight | None:
    how = processor()
    most = how.registers - 8 if how.registers > 16 else 12
    channels = max(1, 6 // geometry.columns.kernel)
    while geometry.channels % channels:
        channels -= 1
    outputs = even(geometry.outputs, max(1, min(8, most // (channels * geometry.columns.kernel))))
    while geometry.groups > 1 and geometry.outputs % outputs:  # a tile has outputs of one group
        outputs -= 1
    geometry, bands = cut(geometry, False, dtype)
    made = ByWeight(geometry, bands, dtype, lanes(geometry.images, dtype), outputs, channels, how.fused)
    if geometry.columns.kernel > SIDE or made.scratch > LARGEST:
        return None
    return made


# ---- from cards to kernels ------------------------------------------------------------------------------------------


def geometry_of(
    x: tuple, w: tuple, size: tuple, stride: tuple, padding: tuple, dilation: tuple, groups: int
) -> Geometry | None:
    """That of a convolution of arrays of these shapes, with an axis of length 1 before a single spatial one."""
    if 0 in (*x, *w, *size):
        return None
    each = list(zip(x[2:], size, w[2:], stride, padding, dilation, strict=True))
    rows, columns = [Axis(*map(int, a)) for a in [(1, 1, 1, 1, 0, 1)] * (2 - len(each)) + each]
    return Geometry(x[0], int(groups), w[1], w[0] // groups, rows, columns)


def convolution(x: Value, w: Value, *bias: Value, size: tuple, **where: Any) -> tuple[Any, list[Value]] | None:
    geometry = geometry_of(x.shape, w.shape, size, **where)
    return geometry and (sums(geometry, False, bool(bias), x.dtype.name), [x, w, *bias])


def convolution_by_input(g: Value, w: Value, *, size: tuple, **where: Any) -> tuple[Any, list[Value]] | None:
    x = g.shape[0], w.shape[1] * where["groups"], *size
    geometry = geometry_of(x, w.shape, g.shape[2:], **where)
    return geometry and (sums(geometry, True, False, g.dtype.name), [g, w])


def convolution_by_weight(x: Value, g: Value, *, size: tuple, **where: Any) -> tuple[Any, list[Value]] | None:
    w = g.shape[1], x.shape[1] // where["groups"], *size
    geometry = geometry_of(x.shape, w, g.shape[2:], **where)
    return geometry and (by_weight(geometry, x.dtype.name), [x, g])


def side_by_side(windows: tuple) -> tuple[int, ...]:
    """How many elements the windows have along each axis, if they lie side by side and have as many; else nothing."""
    lengths = tuple(len(axis[0]) if axis else 0 for axis in windows)
    tiles = [tuple(range(i * n, i * n + n) for i in range(len(axis))) for axis, n in zip(windows, lengths, strict=True)]
    return lengths if tiles == list(windows) and 0 not in lengths else ()


def pool(
    kind: str, inputs: list[Value], shape: tuple[int, ...], windows: tuple, divisors: tuple = ()
) -> tuple[Pool, list[Value]] | None:
    """What `kind` makes of images of a shape; None for windows that are not side by side, or too large."""
    window = side_by_side(windows)
    if not window or 0 in shape or math.prod(window) > WINDOW or any(len(set(axis)) > 1 for axis in divisors):
        return None
    one = (1,) * (2 - len(windows))
    (height, width), (rows, columns), (down, across) = one + shape[2:], one + tuple(map(len, windows)), one + window
    divisor, dtype = math.prod(axis[0] for axis in divisors), inputs[0].dtype.name
    lanes = min(processor().bytes // np.dtype(dtype).itemsize, 1 << (columns - 1).bit_length())
    made = Pool(
        kind, math.prod(shape[:2]), (height, width), (rows, columns), (down, across), divisor, dtype, lanes
    )  # fmt: skip
    return made, inputs


def window_max(x: Value, *, windows: tuple) -> tuple[Pool, list[Value]] | None:
    return pool("window_max", [x], x.shape, windows)


def window_put(g: Value, x: Value, *, windows: tuple) -> tuple[Pool, list[Value]] | None:
    return pool("window_put", [g, x], x.shape, windows)


def window_mean(
    x: Value, *, windows: tuple, divisors: tuple, size: tuple
) -> tuple[Pool, list[Value]] | Value | None:  # fmt: skip
    window = side_by_side(windows)
    if not fills(window, windows, size, divisors):
        return pool("window_mean", [x], x.shape, windows, divisors)
    parts = [n for count, length in zip(map(len, windows), window, strict=True) for n in (count, length)]
    shape = *x.shape[:2], *map(len, windows)
    inside = tuple(range(3, 3 + len(parts), 2))
    return by(Reduce(np.add, reshaped(x, (*x.shape[:2], *parts)), inside, shape, x.dtype), divisors)


def window_spread(
    g: Value, *, windows: tuple, divisors: tuple, size: tuple
) -> tuple[Pool, list[Value]] | Value | None:  # fmt: skip
    window, shape = side_by_side(windows), (*g.shape[:2], *size)
    if not fills(window, windows, size, divisors):
        return pool("window_spread", [g], shape, windows, divisors)

    def move(i: Index) -> Index:
        return [*i[:2], *(place.divide(n)[0] for place, n in zip(i[2:], window, strict=True))]

    return View(by(g, divisors), shape, move, "window_spread")


def fills(window: tuple[int, ...], windows: tuple, size: tuple, divisors: tuple) -> bool:
    """Whether windows, too large for a kernel, have every element of an image: sums of a view, then, and views."""
    all_of_it = all(len(axis) * n == length for axis, n, length in zip(windows, window, size, strict=False))
    return math.prod(window) > WINDOW and all_of_it and all(len(set(axis)) == 1 for axis in divisors)


def by(x: Value, divisors: tuple) -> Value:
    """x, divided by the product of the divisors."""
    n = literal(math.prod(axis[0] for axis in divisors), x.dtype)
    return Map(lambda a: f"({a} / {n})", [x], x.shape, x.dtype, "divide", DIVISION)


CARDS: dict[str, Callable[..., tuple[Any, list[Value]] | Value | None]] = {f.__name__: f for f in (
    convolution, convolution_by_input, convolution_by_weight, window_max, window_put, window_mean, window_spread,
)}  # fmt: skip


def lowered(card: str, inputs: list[Value], params: dict[str, Any], shape: tuple[int, ...]) -> Value | None:
    """A call of a card on values of one dtype; None where it has no native form."""
    found = CARDS[card](*inputs, **params)
    if found is None or isinstance(found, Value):
        return found
    kernel, inputs = found
    return Kernel(kernel, inputs, shape, card) if kernel is not None else None
