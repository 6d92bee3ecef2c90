"""What follows forward and backward in a training step, as source: norms, clipping, and the optimizer's update."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..optim.kernel import function, loop
from .units import LEFT, Unit
from .values import Value

CLIP_NORM_EPS = 1e-6  # as in nn.utils.clip_grad_norm_
NORM = """
@njit(pipeline_class=Apart, **OPTIONS)
def squares_{real}(squares, g, n, lo, hi):
    spans = (n + {span} - 1) // {span}
    for k in range(lo, hi):
        total = 0.0
        for span in range(k * spans // {chunks}, (k + 1) * spans // {chunks}):
            part = {real}(0)
            for i in range(span * {span}, min((span + 1) * {span}, n)):
                part = plus(part, g[i] * g[i])
            total += part
        squares[k] = total


@njit(**OPTIONS)
def norm_{real}(squares):
    total = 0.0
    for k in range({chunks}):
        total += squares[k]
    return f8({real}(total))


@njit(**OPTIONS)
def clip_value_{real}(g, n, limit):
    for i in range(n):
        g[i] = {real}(min(max(f8(g[i]), -limit), limit)) if g[i] == g[i] else g[i]


@njit(**OPTIONS)
def scale_{real}(g, n, factor):
    for i in range(n):
        g[i] = g[i] * {real}(factor)

"""
SPAN = 1 << 12  # squares that are added up in the gradient's own precision: few enough for each vector's lane
CHUNKS = 4  # the squares of a gradient are added up in so many parts, however many threads there are
UPDATE = 16  # work for a parameter, most of it that of memory
REALS = {"float32": "f4", "float64": "f8"}  # types of parameters, as the source names them
ALONE = 1 << 14  # parameters that one thread updates sooner than several


def stores(kept: list[Value]) -> Iterator[str]:
    """What writes new values into the arrays of tensors that the model changes, such as running means."""
    for i, v in enumerate(kept):
        yield f"for c in range({v.size}):"
        yield f"    kept{i}[c] = {v.home.name}[c]"


class Part:
    """What is done to the parameters of one of the optimizer's blocks, the i-th: its lines, and the arrays in them."""

    def __init__(self, i: int, block: Any) -> None:
        self.i, self.block, self.real = i, block, REALS[block.dtype.name]
        self.gradient = f"p{i}_gradient, {block.size}"
        self.norm = f"norm_{self.real}(p{i}_squares)"
        self.shared = block.size > ALONE  # by threads
        self.updated = dict(zip(["values", *block.state], [block.values, *block.state.values()], strict=True))

    def arrays(self) -> dict[str, np.ndarray]:
        block = self.block
        scalars = np.ctypeslib.as_array(block.parts[0].args[2])
        others = {"gradient": block.joined_gradient, "scalars": scalars, "squares": np.zeros(CHUNKS)}
        return {f"p{self.i}_{name}": array for name, array in (self.updated | others).items()}

    def squares(self, bounds: str = f"0, {CHUNKS}") -> str:
        return f"squares_{self.real}(p{self.i}_squares, {self.gradient}, {bounds})"

    def squared(self) -> Unit:
        return Unit([self.squares("lo, hi")], CHUNKS, work=self.block.size) if self.shared else Unit([self.squares()])

    def stepped(self) -> Unit:
        size, names = self.block.size, ", ".join(f"p{self.i}_{name}" for name in self.updated)
        bounds = "lo, hi" if self.shared else f"0, {size}"
        call = f"rule{self.i}({bounds}, ({names},), p{self.i}_scalars, p{self.i}_gradient)"
        return Unit([call], size if self.shared else 0, 16, work=UPDATE * size)


def updates(blocks: list[Any]) -> tuple[str, dict[str, np.ndarray], tuple[list[Unit], list[str], list[Unit]]]:
    """The optimizer's work after backward: functions, arrays, and what is done before and after a step is certain."""
    parts = [Part(i, block) for i, block in enumerate(blocks)]
    functions = [NORM.format(real=real, chunks=CHUNKS, span=SPAN) for real in dict.fromkeys(p.real for p in parts)]
    functions += [rule_source(i, block) for i, block in enumerate(blocks)]
    arrays = {name: array for p in parts for name, array in p.arrays().items()}
    norm = f"norm = sqrt({' + '.join(p.norm for p in parts)})"
    certain = [
        norm,
        "record[2 * s], record[2 * s + 1] = loss, norm",
        "if not (abs(loss) < inf and abs(norm) < inf) or learning[0] == 0:",  # before it spoils the parameters
        f"    status[0] = {LEFT}",
    ]
    clip = [
        "if limits[0] < inf:",
        *(f"    clip_value_{p.real}({p.gradient}, limits[0])" for p in parts),
        *(f"    {p.squares()}" for p in parts),
        f"    {norm}",
        f"if limits[1] < norm + {CLIP_NORM_EPS}:",
        *(f"    scale_{p.real}({p.gradient}, limits[1] / (norm + {CLIP_NORM_EPS}))" for p in parts),
        *(f"p{p.i}_scalars[0] += 1" for p in parts),
    ]
    squares, steps = [p.squared() for p in parts], [p.stepped() for p in parts]
    return "".join(functions), arrays, (squares, certain, [Unit(clip), *steps])


def rule_source(i: int, block: Any) -> str:
    """The loop that applies a rule, for the parameters from `lo` to `hi`; who calls it counts the steps."""
    once, each = loop(block.rule, REALS[block.dtype.name])
    head = f"rule{i}(lo, hi, arrays, scalars, gradient)"
    return "\n@njit(**OPTIONS)\n" + function(head, once, "lo, hi", each)
