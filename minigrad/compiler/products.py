"""Products of matrices as source, for shapes that are known.

Each becomes a function of loops over tiles (`tiles.py`), and `plan` says which. Where the columns of b, not the rows,
have no gaps, as in x @ W.T, some columns at a time are transposed into scratch memory first; or, for few rows, both
sides are read along k. Where c has few columns, and the columns of a have no gaps, vectors lie along columns of c.
"""

from __future__ import annotations

import functools
import platform
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

# The checksum stands in the source because machine code is kept by its source, and depends on the tiles as well.
REVISION = zlib.crc32((Path(__file__).parent / "tiles.py").read_bytes())
PRELUDE = f"from minigrad.compiler.tiles import product  # {REVISION:08x}\n"

SUM = 3  # cycles to add up the lanes of a vector
DEARER = 1.25  # times that dots take longer: they need more of the cache
LATENCY = 4  # cycles until a sum can have its next term
TRANSPOSE = 3  # cycles to transpose a vector's worth of numbers
PAGE = 4096  # bytes: numbers this far apart compete for the same places of the cache
BLOCK = 512  # terms of the sums at a time: what these read stays in the second cache
COPY = 64  # rows that repay the copy of a strip of b


class Processor(NamedTuple):
    """What tiles depend on: bytes in a vector register, how many of them, and whether it has multiply-and-add."""

    bytes: int
    registers: int
    fused: bool


@functools.cache
def processor() -> Processor:
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if platform.machine().lower() in ("arm64", "aarch64"):
        return Processor(16, 32, True)
    if features.get("avx512f") and features.get("avx512vl"):
        return Processor(64, 32, True)
    return Processor(32 if features.get("avx2") else 16, 16, bool(features.get("fma")))


class Product(NamedTuple):
    """c (m, n) = a (m, k) b (k, n), or c += a b, as the source of a function that Numba compiles.

    `a` and `b` hold the distances in memory, in elements, along both axes; `c` that from row to row. None stands for
    rows without gaps.

    >>> product = Product(2, 3, 4, b=(1, 4))
    >>> product.name
    'product_2x4x3_b1_4_float32'
    """

    m: int
    n: int
    k: int
    a: tuple[int, int] | None = None
    b: tuple[int, int] | None = None
    c: int | None = None
    dtype: str = "float32"
    add: bool = False
    processor: Processor | None = None  # this one, if None

    @property
    def name(self) -> str:
        """An identifier that equal products share, and others do not."""
        strides = {"a": self.a_strides, "b": self.b_strides, "c": (self.row,)}
        usual = {"a": (self.k, 1), "b": (self.n, 1), "c": (self.n,)}
        parts = [f"product_{self.m}x{self.k}x{self.n}"]
        parts += [f"{x}{'_'.join(map(str, s))}".replace("-", "m") for x, s in strides.items() if s != usual[x]]
        parts += [self.dtype, *(["add"] if self.add else [])]
        if self.processor:
            parts += [f"{self.processor.bytes}_{self.processor.registers}{'f' if self.processor.fused else ''}"]
        return "_".join(parts)

    @property
    def a_strides(self) -> tuple[int, int]:
        return (self.k, 1) if self.a is None else self.a

    @property
    def b_strides(self) -> tuple[int, int]:
        return (self.n, 1) if self.b is None else self.b

    @property
    def row(self) -> int:
        return self.n if self.c is None else self.c

    @property
    def plan(self) -> Plan:
        return plan(self, self.processor or processor())

    @property
    def rows(self) -> int:
        """How many rows a tile has: threads that share a product should part its rows at multiples of this."""
        return self.plan.rows

    @property
    def scratch(self) -> int:
        """How many elements of scratch memory the function needs, for each thread that runs it."""
        return (self.k if self.k < 2 * BLOCK else BLOCK + self.k % BLOCK) * self.plan.columns * self.plan.packed

    def source(self) -> str:
        """The source that defines `name(c, at_c, a, at_a, b, at_b, lo, hi, scratch)`, to be read after `PRELUDE`.

        The arrays are pointers; at_c, at_a and at_b say where in them the matrices begin. Rows lo to hi of c are
        computed, each to the same bits whatever lo and hi.
        """
        plan, fused = self.plan, (self.processor or processor()).fused
        return (
            f"# c ({self.m}, {self.n}) {'+=' if self.add else '='} a ({self.m}, {self.k}) @ b ({self.k}, {self.n})\n"
            f"{self.name} = product(\n"
            f"    '{self.name}', {self.n}, {self.k}, a={self.a_strides}, b={self.b_strides}, c={self.row},\n"
            f"    add={self.add}, rows={plan.rows}, columns={plan.columns}, block={BLOCK}, along='{plan.along}',\n"
            f"    packed={plan.packed}, dtype='{self.dtype}', width={plan.width}, fused={fused},\n)\n"
        )


class Plan(NamedTuple):
    """How to compute a product: the shape of its tiles, and what lies along their vectors."""

    rows: int
    columns: int
    width: int  # numbers in a vector
    along: str  # what a vector lies along: 'n' (a row of c), 'm' (a column) or 'k' (the terms of a sum)
    packed: bool  # the columns of a tile are first transposed, or copied, to scratch memory


@functools.cache
def plan(p: Product, how: Processor) -> Plan:
    width = how.bytes // np.dtype(p.dtype).itemsize
    m, n = max(p.m, 1), max(p.n, 1)
    high, wide = -(-m // width), -(-n // width)  # vectors
    far = m >= COPY and p.b_strides[0] * np.dtype(p.dtype).itemsize >= PAGE
    packed = n > 1 and (p.b_strides[1] != 1 or far)
    cycles = p.k * wide * (m / 2 + TRANSPOSE * packed)  # a cycle has two multiplications
    if p.a_strides[1] == p.b_strides[0] == 1:
        dots = m * n * (-(-p.k // width) / 2 + SUM)
        if DEARER * dots < cycles:
            columns = even(n, 4 if m >= 4 else 8 // m)
            return Plan(even(m, max(4, 8 // columns)), columns, width, "k", False)
    if p.a_strides[0] == 1:
        columns = even(n, width)
        across = even(high, max(1, (how.registers - 1) // (columns + 1)))
        waiting = max(1, LATENCY / (columns * across / 2))
        if p.k * high * n / 2 * waiting + m * wide * TRANSPOSE < cycles:
            return Plan(across * width, columns, width, "m", False)
    # Eight sums or more on the way hide how long one takes; more than two vectors crowd the cache for no gain.
    across = even(wide, 3 if wide == 3 else 2 if m >= 4 else 8 // m)
    rows = even(m, max(1, min(8, (how.registers - 1) // across - 1)))
    return Plan(rows, min(n, across * width) if not packed else across * width, width, "n", packed)


def even(total: int, most: int) -> int:
    """The size of parts that have about the same size, and no more than the most."""
    return -(-total // -(-total // most))
