"""Assembly: the blocks of a program, its arrays and what repeats it, as one function that Numba compiles."""

from __future__ import annotations

import ctypes
import math
import re
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from .. import approximations, native, parallel
from . import products, windows
from .blocks import Block, indented
from .elementwise import EXACTLY, FUNCTIONS
from .program import Program, Room
from .single import Called, Calling, Repeating
from .units import ENOUGH, LEFT, Round, Unit, Units, written
from .units import FUNCTIONS as MEETING
from .values import TYPES, Buffer, Host, Repeat, Required, Value

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
    "host, part, start, stop = words[1], words[2], words[4], words[5]",
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
        return Unit(["if gather[0]:", f"    {read}"], rows, work=self.buffer.size)


class Code:
    """Native code that runs a program again and again, on arrays that it knows the addresses of.

    `memory` holds the arrays of some buffers, the others are made here. `streams` are filled before each step;
    `after` is what runs after the blocks; `functions` the source of what that calls, and `extra` arrays by name.
    `spare` are flat arrays that outputs lie in, whose memory is free until these are written.
    `checks` are the errors of what the program checks, and `shown` the values that they show.
    """

    def __init__(
        self, program: Program, memory: dict[Buffer, np.ndarray], *, streams: Sequence[Stream] = (),
        after: Units = (), functions: str = "", extra: dict[str, np.ndarray] | None = None,
        checks: Sequence[Callable[..., Exception]] = (), shown: Sequence[Sequence[Value]] = (),
        spare: Sequence[np.ndarray] = (),
    ) -> None:  # fmt: skip
        self.program, self.checks, self.spare = program, checks, spare
        self.outputs = [v.home.name for v in program.outputs if not isinstance(v, Required)]
        self.shown = [[(v.copied or v).home.name for v in values] for values in shown]
        self.arrays: dict[str, np.ndarray] = {}
        self.given = {b.name for b in memory}
        self.buffers = {b.name: b for b in program.buffers if not b.overwritten}
        for buffer in program.buffers:
            if not (buffer.local or buffer.overwritten):
                self.arrays[buffer.name] = memory[buffer] if buffer in memory else laid_out(buffer)
        self.arrays["status"] = np.zeros(1, np.int64)
        self.arrays["gather"] = np.ones(1, np.int64)  # whether streams are read, or lie where their buffers are
        self.status, self.gather = (self.arrays[name].data for name in ("status", "gather"))  # faster to index
        self.arrays["sync"] = np.zeros(0, np.int64)
        self.arrays.update(extra or {})
        self.streams = {s.name: s for s in streams}
        for s in self.streams.values():
            self.arrays[s.name] = np.zeros(0, s.buffer.dtype)
        self.places = {name: i for i, name in enumerate(self.arrays)}
        kinds = [MEMORY.get(a.dtype.name, "u1") for a in self.arrays.values()]  # bytes of what only Python looks into
        self.hosts: list[Host] = []
        functions = self.blocks(program.blocks) + functions
        units = [*(s.unit() for s in self.streams.values()), *self.calls, *after]
        work = sum(unit.common for unit in units)
        self.threads = parallel.threads() if work > ENOUGH else 1
        threaded = self.threads > 1
        if threaded:  # what is done, and how often each part of what is shared was taken: each in a line of the cache
            self.arrays["sync"] = np.zeros(8 * self.threads + 8, np.int64)
        body = [
            *HEAD,
            *(["words[TURN], words[DUE], words[TRIED] = 0, 0, 0"] if threaded else []),
            *(
                f"{name} = place(table, {i}, {kind})"
                for (name, i), kind in zip(self.places.items(), kinds, strict=True)
            ),
            "for s in range(start, stop):",
            *indented(written(units, threaded) or ["pass"]),
        ]
        text = "\n".join([
            functions, *(s.function() for s in self.streams.values()),
            "def run(words):", *indented(body), "",
        ])  # fmt: skip
        self.source = PRELUDE + helpers(text) + (MEETING if threaded else "") + text
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
            steps = Round(own, f"for step in range({repeat.length}):", step, [*inside, Unit(after)], repeat.length)
            return Round(block.comment(), "if True:", [], [Unit(before), steps, Unit(end)])
        body, arguments = block.body(), [b.name for b in block.buffers()]
        if isinstance(block, Called):
            self.parts[block.product.name] = block.product.source()
        if block.checks:
            arguments.append("status")
        if block.shared:
            arguments[:0] = ["lo", "hi"]
        key = neutral("\n".join(body), arguments) + f"({len(arguments)})"
        if key not in self.functions:
            self.functions[key] = name = f"block{len(self.functions)}"
            head = f"\n@njit(pipeline_class=Apart, **OPTIONS)\ndef {name}({', '.join(arguments)}):"
            self.parts[name] = "\n".join([head, *(f"    {line}" for line in [*block.comment(), *body]), ""])
        given = list(arguments)
        if isinstance(block, Called) and block.scratch is not None and block.shared:  # a row of it for each thread
            rows = block.scratch
            given[given.index(rows.name)] = f"shift({rows.name}, part * {rows.shape[1]})"
        call = f"{self.functions[key]}({', '.join(given)})"
        return Unit([call], block.extent if block.shared else 0, block.grain, block.checks, block.work)

    def load(self) -> None:
        """Compile, and lay the table of addresses out."""
        self.entry = ctypes.CFUNCTYPE(None)(native.build(without_comments(self.source), "run", "void(CPointer(int64))"))
        self.table = (ctypes.c_int64 * len(self.arrays))()
        for name, array in list(self.arrays.items()):
            self.point(name, array)

    def settle(self) -> None:
        """Let buffers that are not used at the same time share memory. Their values are lost at every run from now."""
        rooms = [self.room(array) for array in self.spare]
        places, total = self.program.places(self.given.union(self.outputs), [room for _, room in rooms])
        memories = [*(memory for memory, _ in rooms), native.zeros(total, np.uint8)]
        for name, (i, at) in places.items():
            old = self.arrays[name]
            self.point(name, laid_out(self.buffers[name], memories[i][at:][: old.nbytes].view(old.dtype)))
        del self.program  # all that it was made of takes more memory than small nets

    def room(self, array: np.ndarray) -> tuple[np.ndarray, Room]:
        """The bytes of an array as a room, whose parts are taken from where outputs are written on."""
        memory = native.aligned(array.view(np.uint8))
        start, lives, taken = memory.ctypes.data, self.program.lives(), []
        for name in self.outputs:
            first, a = lives.get(name, (0, 0))[0], self.arrays[name]
            at = a.ctypes.data - start
            if -a.nbytes < at < memory.nbytes:
                taken.append((max(at, 0), at + a.nbytes, first, len(self.program.blocks)))
        return memory, Room(memory.nbytes, taken)

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

        n, sync = self.threads, self.arrays["sync"]
        words = [(ctypes.c_int64 * 16)(table, host, i, n, start, stop, *addresses) for i in range(n)]
        parts = [partial(self.entry, ctypes.byref(w)) for w in words]

        def together() -> None:
            sync.fill(0)
            parallel.run(parts)

        return parts[0] if n == 1 else together

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
        raise self.checks[code - 1](*map(self.arrays.__getitem__, self.shown[code - 1]))

    def array(self, buffer: Buffer) -> np.ndarray:
        """The array of a buffer, whose memory may also be that of others with other shapes."""
        return laid_out(buffer, self.arrays[buffer.name].ravel(order="K"))

    def call_host(self, i: int) -> None:
        """Let Python compute what has no native form."""
        try:
            host = self.hosts[i]
            arrays = [self.array(x.home) for x in host.inputs]
            for array in arrays:
                array.flags.writeable = False
            results = host.call(*arrays)
            for part in host.parts:
                if part.buffer is not None:
                    target, result = self.array(part.home), np.asarray(results[part.i])
                    if (result.shape, result.dtype) != (target.shape, target.dtype):
                        raise ValueError(
                            f"{host.what} ({host.line}) gave {result.dtype} of shape {result.shape}, and when it was "
                            f"captured {target.dtype} of shape {target.shape}"
                        )
                    target[...] = result
        except BaseException as error:
            self.error = error
            self.status[0] = -1


def without_comments(source: str) -> str:
    """What the machine code depends on: not on the names and line numbers in comments."""
    return "\n".join(line for line in source.splitlines() if not line.lstrip().startswith("#")) + "\n"


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
    lines = [
        f"\n@njit(**{'INSIDE, fastmath=False' if name in EXACTLY else 'OPTIONS'})\n{FUNCTIONS[name]}\n"
        for name in sorted(used & set(FUNCTIONS))
    ]
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
