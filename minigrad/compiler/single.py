"""Blocks of one statement: products and convolutions, scattered and running sums, Python's own work, loops."""

from __future__ import annotations

from typing import Any

from .blocks import IN_ORDER, Block, Loops, nest, variables
from .indices import ZERO, Place, along, contiguous, everywhere, flat, variable
from .products import Product
from .values import Buffer, Dot, Host, Kernel, Patches, Read, Repeat, Running, Scatter, Value, View


class Called(Block):
    """A call of a native function that is written elsewhere."""

    product: Any  # its `name` and `source`, and how many elements of `scratch` memory it needs
    scratch: Buffer | None = None  # that memory, a row for each thread

    @property
    def room(self) -> str:
        """The name of the scratch memory; or of what is written, where the function needs none."""
        return (self.scratch or self.statements[0].home).name

    def scratch_read(self) -> list[Read]:
        return [Read(self.scratch, [], ZERO)] if self.scratch else []


class Products(Called):
    """A stack of products of matrices."""

    def __init__(self, s: Dot) -> None:
        super().__init__([s])
        *self.stack, self.m, self.n = s.shape
        self.k = s.inputs[0].shape[-1]
        (self.a, self.a0, sa), (self.b, self.b0, sb) = (operand(x, len(self.stack)) for x in s.inputs)
        if not s.home.in_rows:  # c.T = b.T a.T
            self.m, self.n = self.n, self.m
            self.a, self.a0, sa, self.b, self.b0, sb = self.b, self.b0, sb[::-1], self.a, self.a0, sa[::-1]
        self.product = Product(self.m, self.n, self.k, sa, sb, dtype=s.dtype.name)

    @property
    def loops(self) -> list[tuple[str, int]]:
        return variables(self.stack)[0]

    @property
    def extent(self) -> int:  # type: ignore[override]
        return self.loops[0][1] if self.loops else self.m

    @property
    def grain(self) -> int:  # type: ignore[override]
        return 1 if self.loops else self.product.rows

    @property
    def work(self) -> int:
        return product_work(self.statements[0])

    def reads(self) -> list[Read]:
        return [*(Read(b, [], ZERO) for b in (self.a, self.b)), *self.scratch_read()]

    def body(self) -> list[str]:
        s = self.statements[0]
        c0 = flat([*everywhere(self.stack), ZERO, ZERO], s.home.strides)
        rows = f"0, {self.m}" if self.loops else ", ".join(self.bounds)
        name = self.product.name
        call = f"{name}({s.home.name}, {c0}, {self.a.name}, {self.a0}, {self.b.name}, {self.b0}, {rows}, {self.room})"
        return nest(self.loops, [call], self.bounds)


def product_work(s: Value) -> int:
    """What a stack of products has to compute: so many multiplications are one instruction."""
    return s.size * s.inputs[0].shape[-1] // 16


def operand(x: Value, axes: int) -> tuple[Buffer, Place, tuple[int, int]]:
    """The memory of a stack of matrices: which, where a matrix of the stack starts, and the distances in it.

    Its axes are the last ones of the result's stack, which has so many.
    """
    stack = everywhere(x.shape[:-2], axes - len(x.shape[:-2]))
    rows, columns = variable("r", x.shape[-2]), variable("c", x.shape[-1])
    found = x.located([*stack, rows, columns])
    assert found is not None
    buffer, place = found
    assert place.affine
    start = x.located([*stack, ZERO, ZERO])
    assert start is not None
    return buffer, start[1], (place.stride("r"), place.stride("c"))


def lies_in_memory(x: Value) -> bool:
    """Whether a stack of matrices lies in memory with constant distances."""
    found = x.located(everywhere(x.shape))
    return found is not None and found[1].affine


class Kernels(Called):
    """A function of whole arrays."""

    def __init__(self, s: Kernel) -> None:
        super().__init__([s])
        self.product = s.kernel
        self.operands = [found for x in s.inputs if (found := in_rows(x))]
        self.grain = getattr(s.kernel, "grain", 1)

    @property
    def extent(self) -> int:  # type: ignore[override]
        return self.product.extent

    @property
    def work(self) -> int:
        return self.product.work

    def reads(self) -> list[Read]:
        return [*(Read(b, [], ZERO) for b, _ in self.operands), *self.scratch_read()]

    def body(self) -> list[str]:
        inputs = [f"{b.name}, {at}" for b, at in (self.operands * 3)[: max(3, len(self.operands))]]
        return [f"{self.product.name}({', '.join([self.statements[0].home.name, *inputs, *self.bounds, self.room])})"]


def in_rows(x: Value) -> tuple[Buffer, Place] | None:
    """The memory in which an array lies in rows without gaps, and where it begins; None where it does not."""
    places = everywhere(x.shape)
    start, found = x.located([ZERO for _ in x.shape]), x.located(places)
    if start is None or found is None or found[1] != start[1] + flat(places, contiguous(x.shape)):
        return None
    return start


class Writing(Block):
    """An array put together from parts."""

    def body(self) -> list[str]:
        s = self.statements[0]
        assert isinstance(s, Patches)
        lines = []
        for part, move in zip(s.inputs, s.moves, strict=True):
            if part.size:
                loops, index = variables(part.shape)
                lines += nest(loops, [s.home.assign(move(index), part.at(index))])
        return lines


class Scattering(Block):
    """An array into which elements are written, or to which they are added, at places read from other arrays."""

    def body(self) -> list[str]:
        s = self.statements[0]
        assert isinstance(s, Scatter)
        base, part = s.inputs[:2]
        loops, index = variables(s.shape)
        lines = nest(loops, [s.home.assign(index, base.at(index))])
        loops, index = variables(part.shape)
        place, x = s.move(index), part.at(index)
        if s.add:
            x = f"{s.home.read(place)} {'|' if s.dtype == bool else '+'} {x}"
        return lines + nest(loops, [s.home.assign(place, x)]) if part.size else lines


class RunningTotals(Block):
    """Running sums (products, extrema) along an axis."""

    def body(self) -> list[str]:
        s = self.statements[0]
        assert isinstance(s, Running)
        loops, index = variables(s.shape)
        name = along(s.axis)
        before = [i + -1 if k == s.axis else i for k, i in enumerate(index)]
        first = [ZERO if k == s.axis else i for k, i in enumerate(index)]
        start = f"{s.home.element(first)} = {s.inputs[0].at(first)}"
        x = s.inputs[0].at(index)
        step = f"{s.home.element(index)} = " + IN_ORDER[s.ufunc].format(a=s.home.element(before), x=x)
        others = [loop for loop in loops if loop[0] != name]
        n = s.shape[s.axis]
        body = [start] + ([f"for {name} in range(1, {n}):", f"    {step}"] if n > 1 else [])
        return nest(others, body)


class Calling(Block):
    """A call of what Python computes."""

    def body(self) -> list[str]:
        return []

    def reads(self) -> list[Read]:
        return [Read(x.home, [], ZERO) for x in self.statements[0].inputs]


class Repeating(Block):
    """A loop over the steps of a program."""

    def body(self) -> list[str]:
        return []

    def reads(self) -> list[Read]:
        s = self.statements[0]
        assert isinstance(s, Repeat)
        inner = [b for block in s.program.blocks for b in block.buffers()]
        return [Read(b, [], ZERO) for b in [*(x.home for x in s.inputs), *inner]]

    def copies(self) -> list[list[str]]:
        """Where arrays lie in all steps, what comes before the loop, at the start of a step, at its end, and after."""
        s = self.statements[0]
        assert isinstance(s, Repeat)
        carry, xs, outside = s.given
        n, m = len(carry), len(carry) + len(xs)
        last, ys = s.program.outputs[:n], s.program.outputs[n:]
        parts = {p.i: p.home for p in s.parts if p.buffer is not None}
        own = [f"{x.home.name} = {s.inputs[m + i].home.name}" for i, x in enumerate(outside) if x.buffer is not None]
        before = [line for x, start in zip(carry, s.inputs, strict=False) for line in copy(x.home, start.home)]
        step = [f"t = {s.length} - 1 - step" if s.reverse else "t = step"]
        for x, whole in zip(xs, s.inputs[n:m], strict=True):
            if x.buffer is not None:
                step.append(f"{x.home.name} = shift({whole.home.name}, t * {x.size})")
        for i, y in enumerate(ys):
            if n + i in parts:
                step.append(f"{y.home.name} = shift({parts[n + i].name}, t * {y.size})")
        after = [line for x, y in zip(carry, last, strict=True) for line in copy(x.home, y.home)]
        end = [line for i in range(n) if i in parts for line in copy(parts[i], carry[i].home)]
        return [own, before, step, after, end]


def copy(to: Buffer, source: Buffer) -> list[str]:
    return [f"for c in range({to.size}):", f"    {to.name}[c] = {source.name}[c]"]


def block_of(s: Value) -> Block:
    """The block that begins with a statement."""
    if isinstance(s, Dot):
        return Products(s)
    if isinstance(s, Kernel):
        return Kernels(s)
    for kind, block in (
        (Repeat, Repeating),
        (Patches, Writing),
        (Scatter, Scattering),
        (Running, RunningTotals),
        (Host, Calling),
    ):
        if isinstance(s, kind):
            return block([s])
    return Loops(s)


def solid(x: Value) -> Value:
    """The value under views of its elements."""
    while isinstance(x, View) and x.buffer is None:
        x = x.inputs[0]
    return x
