"""Assembly: the blocks of a program, its arrays and what repeats it, as one function that Numba compiles."""

from __future__ import annotations

import ctypes
import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from .. import approximations, native, parallel
from . import products, windows
from .blocks import Block, Called, Calling, Repeating, indented
from .elementwise import FUNCTIONS
from .program import ALIGNMENT, Program
from .units import FUNCTIONS as MEETING
from .units import LEFT, Round, Unit, Units, written
from .values import TYPES, Buffer, Host, Repeat, Value

FASTMATH = dict.fromkeys(
    ("contract", "arcp", "afn"), True
)  # but neither other signs of zeros nor other orders of terms

# Machine code is kept by its source, so what the source imports is in it as a checksum.
REVISION = zlib.crc32(b"".join((Path(__file__).parent / f"{n}.py").read_bytes() for n in ("intrinsics", "pipeline")))

PRELUDE = f"""\
from math import *
from numba import boolean as b1, float32 as f4, float64 as f8, int8 as i1, int16 as i2, int32 as i4, int64 as i8
from numba import uint8 as u1, uint16 as u2, uint32 as u4, uint64 as u8
from minigrad.compiler.intrinsics import *  # {REVISION:08x}
from minigrad.compiler.pipeline import *
{products.PRELUDE}{windows.PRELUDE}
PIPELINE = Inner
INSIDE = {{'error_model': 'numpy', 'forceinline': True, 'no_cpython_wrapper': True, 'no_cfunc_wrapper': True}}
OPTIONS = {{**INSIDE, 'fastmath': {FASTMATH}}}


"""

MEMORY = TYPES | {"bool": "u1"}  # what arrays in memory are made of: a byte for a truth value
MATH = {f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")}  # NumPy's names and math's
HEAD = [  # of `run`: what the words are that it is given
    "table, order, record = place(words, 0, i8), place(words, 6, i8), place(words, 7, f8)",
    "host, part, parts, start, stop = words[1], words[2], words[3], words[4], words[5]",
]
GATHER = 1 << 14  # elements of a batch: from there on, threads share in fetching it
NAMES = re.compile(r"[A-Za-z_]\w*")
ARRAYS = re.compile(r"\b(sum_)?([tx]\d+)(_\d+)?\b")


class Stream:
    """An array of many rows, of which each step reads some: into which buffer, how many, and which.

    With `order`, step s reads the rows that the order says; without, the next ones.
    """

    def __init__(self, name: str, buffer: Buffer, rows: int, order: bool) -> None:
        self.name, self.buffer, self.rows, self.order = name, buffer, rows, order

    def function(self) -> str:
        """The source that copies the rows of step s."""
        width = self.buffer.size // max(self.rows, 1)
        row = f"order[s * {self.rows} + r]" if self.order else f"(s * {self.rows} + r)"
        return "\n".join([
            f"\n@njit(pipeline_class=Apart, **OPTIONS)\ndef read_{self.name}(x, data, order, s, lo, hi):",
            "    for r in range(lo, hi):",
            f"        row = {row} * {width}",
            f"        for c in range({width}):",
            f"            x[r * {width} + c] = data[row + c]\n",
        ])  # fmt: skip

    def unit(self) -> Unit:
        step = "s" if self.order else "s - start"
        rows = self.rows if self.buffer.size > GATHER else 1
        bounds = "lo, hi" if rows > 1 else f"0, {self.rows}"
        read = f"read_{self.name}({self.buffer.name}, {self.name}, order, {step}, {bounds})"
        return Unit(["if gather[0]:", f"    {read}"], rows)


class Code:
    """Native code that runs a program again and again, on arrays that it knows the addresses of.

    `memory` holds the arrays of some buffers, the others are made here. `streams` are filled before each step;
    `after` is what runs after the blocks; `functions` the source of what that calls, and `extra` arrays by name.
    `checks` are the errors of what the program checks, and `shown` the values that they show.
    """

    def __init__(
        self, program: Program, memory: dict[Buffer, np.ndarray], *, streams: Sequence[Stream] = (),
        after: Units = (), functions: str = "", extra: dict[str, np.ndarray] | None = None,
        checks: Sequence[Callable[..., Exception]] = (), shown: Sequence[Sequence[Value]] = (),
    ) -> None:  # fmt: skip
        self.program, self.checks, self.shown = program, checks, shown
        self.arrays: dict[str, np.ndarray] = {}
        self.given = {b.name for b in memory}
        self.buffers = {b.name: b for b in program.buffers}
        for buffer in program.buffers:
            if not buffer.local:
                self.arrays[buffer.name] = memory[buffer] if buffer in memory else laid_out(buffer)
        self.arrays["status"] = np.zeros(1, np.int64)
        self.arrays["gather"] = np.ones(1, np.int64)  # whether streams are read, or lie where their buffers are
        self.status, self.gather = (self.arrays[name].data for name in ("status", "gather"))  # faster to index
        self.arrays["sync"] = np.zeros(32, np.int64)  # numbers that threads meet at, each in a line of the cache
        scratch = max([b.product.scratch for b in every(program) if isinstance(b, Called)], default=0)
        scratch = -(-scratch // ALIGNMENT) * ALIGNMENT
        for kind in ("f4", "f8"):
            self.arrays[f"scratch_{kind}"] = np.zeros(scratch * parallel.threads() or 1, np.dtype(kind))
        self.arrays.update(extra or {})
        self.streams = {s.name: s for s in streams}
        for s in self.streams.values():
            self.arrays[s.name] = np.zeros(0, s.buffer.dtype)
        self.places = {name: i for i, name in enumerate(self.arrays)}
        kinds = [MEMORY.get(a.dtype.name, "u1") for a in self.arrays.values()]  # bytes of what only Python looks into
        self.hosts: list[Host] = []
        functions = self.blocks(program.blocks) + functions
        units = [*(s.unit() for s in self.streams.values()), *self.calls, *after]
        threaded = any(unit.shared for unit in units)
        self.threads = parallel.threads() if threaded else 1
        body = [
            *HEAD,
            *(
                f"{name} = place(table, {i}, {kind})"
                for (name, i), kind in zip(self.places.items(), kinds, strict=True)
            ),
            *(f"scratch_{kind} = shift(scratch_{kind}, part * {scratch})" for kind in ("f4", "f8") if scratch),
            "for s in range(start, stop):",
            *indented(written(units, threaded) or ["pass"]),
        ]
        text = "\n".join([
            functions, *(s.function() for s in self.streams.values()),
            "def run(words):", *indented(body), "",
        ])  # fmt: skip
        self.source = PRELUDE + helpers(text) + text
        self.error: BaseException | None = None
        self.callback = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self.call_host)
        self.load()

    def blocks(self, blocks: Sequence[Block]) -> str:
        """The source of all blocks, and before them of the products that they call; the calls go to `self.calls`.

        Blocks that differ in the names of their arrays alone are one function.
        """
        self.functions: dict[str, str] = {}  # by source with neutral names: the name
        self.parts: dict[str, str] = {}  # by name: the source
        self.calls: list[Unit | Round] = [self.call(block) for block in blocks]
        return "".join(self.parts.values())

    def call(self, block: Block) -> Unit | Round:
        """The call of a block, whose function is written if there is none like it."""
        if isinstance(block, Calling):
            host = block.statements[0]
            assert isinstance(host, Host)
            self.hosts.append(host)
            return Unit([*block.comment(), f"call_host(host, {len(self.hosts) - 1})"], checks=True)
        if isinstance(block, Repeating):
            repeat = block.statements[0]
            assert isinstance(repeat, Repeat)
            own, before, step, after, end = block.copies()
            inside = [self.call(b) for b in repeat.program.blocks]
            steps = Round(own, f"for step in range({repeat.length}):", step, [*inside, Unit(after)])
            return Round(block.comment(), "if True:", [], [Unit(before), steps, Unit(end)])
        body, arguments = block.body(), [b.name for b in block.buffers()]
        if isinstance(block, Called):
            kind = TYPES[block.statements[0].dtype.name]
            arguments.append(f"scratch_{kind}")
            self.parts[block.product.name] = block.product.source()
            body = [line[:-1] + f", scratch_{kind})" if block.product.name in line else line for line in body]
        if block.checks:
            arguments.append("status")
        if block.shared:
            arguments[:0] = ["lo", "hi"]
        key = neutral("\n".join(body), arguments) + f"({len(arguments)})"
        if key not in self.functions:
            self.functions[key] = name = f"block{len(self.functions)}"
            head = f"\n@njit(pipeline_class=Apart, **OPTIONS)\ndef {name}({', '.join(arguments)}):"
            self.parts[name] = "\n".join([head, *(f"    {line}" for line in [*block.comment(), *body]), ""])
        call = f"{self.functions[key]}({', '.join(arguments)})"
        return Unit([call], block.extent if block.shared else 0, block.grain, block.checks)

    def load(self) -> None:
        """Compile, and lay the table of addresses out."""
        self.entry = ctypes.CFUNCTYPE(None)(native.build(without_comments(self.source), "run", "void(CPointer(int64))"))
        self.table = (ctypes.c_int64 * len(self.arrays))()
        for name, array in list(self.arrays.items()):
            self.point(name, array)

    def settle(self) -> None:
        """Let buffers that are not used at the same time share memory. Their values are lost at every run from now."""
        places, total = self.program.places(self.given | {v.home.name for v in self.program.outputs})
        memory = np.zeros(total + ALIGNMENT, np.uint8)
        shift = -memory.ctypes.data % ALIGNMENT
        for name, at in places.items():
            old = self.arrays[name]
            self.point(name, laid_out(self.buffers[name], memory[shift + at :][: old.nbytes].view(old.dtype)))

    def point(self, name: str, array: np.ndarray) -> None:
        """Have a name stand for this array, in rows, which has to live as long."""
        if not array.flags.c_contiguous and self.arrays[name].strides != array.strides:
            raise ValueError(f"{name}: an array of shape {array.shape} is not contiguous")
        self.arrays[name] = array
        self.table[self.places[name]] = native.address_of(array) or 0

    def prepared(
        self, start: int, stop: int, order: np.ndarray | None = None, record: np.ndarray | None = None
    ) -> Callable[[], object]:
        """The call of `run` with these arguments, ready to be made.

        All arguments are one, the address of some words (see HEAD): a call through ctypes pays for each.
        """
        addresses = [0 if x is None else native.address_of(x) or 0 for x in (order, record)]
        host, table = ctypes.cast(self.callback, ctypes.c_void_p).value or 0, ctypes.addressof(self.table)

        def shares(n: int) -> list[Callable[[], object]]:
            words = [(ctypes.c_int64 * 8)(table, host, i, n, start, stop, *addresses) for i in range(n)]
            return [partial(self.entry, ctypes.byref(w)) for w in words]

        (alone,) = shares(1)
        return alone if self.threads == 1 else partial(parallel.together, shares(self.threads), alone)

    def run(
        self, start: int = 0, stop: int = 1, order: np.ndarray | None = None, record: np.ndarray | None = None
    ) -> None:
        """Run the steps from `start` to `stop`: `order` holds the rows of the streams that they take.

        Raises IndexError where an index is out of range, and what a host call has raised.
        """
        self.prepared(start, stop, order, record)()
        if self.status[0]:
            self.failed()

    def failed(self) -> None:
        code, self.status[0] = int(self.status[0]), 0
        error, self.error = self.error, None
        if error is not None:
            raise error
        if code == LEFT:
            return
        raise self.checks[code - 1](*[self.arrays[v.home.name] for v in self.shown[code - 1]])

    def call_host(self, i: int) -> None:
        """Let Python compute what has no native form."""
        try:
            host = self.hosts[i]
            arrays = [self.arrays[x.home.name].reshape(x.shape) for x in host.inputs]
            for array in arrays:
                array.flags.writeable = False
            results = host.call(*arrays)
            for part in host.parts:
                if part.buffer is not None:
                    target, result = self.arrays[part.home.name], results[part.i]
                    if np.shape(result) != target.shape:
                        raise ValueError(f"{host.what} ({host.line}) gave {np.shape(result)} for {target.shape}")
                    target[...] = result
        except BaseException as error:
            self.error = error
            self.status[0] = -1


def without_comments(source: str) -> str:
    """What the machine code depends on: not on the names and line numbers in comments."""
    return "\n".join(line for line in source.splitlines() if not line.lstrip().startswith("#")) + "\n"


def every(program: Program) -> Iterator[Block]:
    """All blocks, those of loops' bodies too."""
    for block in program.blocks:
        yield block
        if isinstance(block, Repeating):
            yield from every(block.statements[0].program)  # type: ignore[attr-defined]


def laid_out(buffer: Buffer, memory: np.ndarray | None = None) -> np.ndarray:
    """An array as a buffer lies in memory: in rows, or with the last two axes the other way round."""
    memory = np.zeros(buffer.size, buffer.dtype) if memory is None else memory
    if buffer.in_rows:
        return memory.reshape(buffer.shape)
    *stack, m, n = buffer.shape
    return memory.reshape(*stack, n, m).swapaxes(-1, -2)


def neutral(text: str, arguments: Sequence[str]) -> str:
    """The text with the names of arrays, and of variables made of them, numbered as they come."""
    numbers: dict[str, int] = {}
    for name in arguments:
        numbers.setdefault(name, len(numbers))
    return ARRAYS.sub(lambda m: f"{m[1] or ''}_{numbers.setdefault(m[2], len(numbers))}{m[3] or ''}", text)


def helpers(text: str) -> str:
    """The source of the functions that a text calls."""
    used = set(NAMES.findall(text))
    lines = [f"\n@njit(**OPTIONS)\n{FUNCTIONS[name]}\n" for name in sorted(used & set(FUNCTIONS))]
    lines += [f"\n@njit(pipeline_class=Apart, **OPTIONS)\n{MEETING[name]}\n" for name in sorted(used & set(MEETING))]
    for kind in ("f4", "f8"):
        names = sorted(name[:-3] for name in used if name.endswith(f"_{kind}"))
        fast = [f"fast_{name}" for name in names if f"fast_{name}" in approximations.__all__]
        plain = [name for name in names if name in approximations.__all__]
        if fast or plain:
            lines.append(approximations.source(fast + plain, kind))
        for name in names:
            if f"fast_{name}" in fast:
                lines.append(f"{name}_{kind} = fast_{name}_{kind}\n")
            elif (called := MATH.get(name, name)) in vars(math):
                lines.append(f"\n@njit(**OPTIONS)\ndef {name}_{kind}(x):\n    return {kind}({called}(x))\n")
    return "".join(lines)
