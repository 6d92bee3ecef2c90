"""A model's layers in a table: what comes out, how many parameters there are, what a forward pass costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import random
from ..ops.card import Op
from ..tensor import Tensor, as_tensor, default_dtype, no_grad
from .module import Module

# Ops that move elements and compute nothing.
MOVES = {
    "astype", "broadcast_to", "concatenate", "expand_dims", "getitem", "identity", "reshape", "scatter", "setitem",
    "squeeze", "stack", "transpose",
}  # fmt: skip


@dataclass
class Row:
    """One layer: what it does beside the layers inside it."""

    path: str
    kind: str
    output: Any = None  # the shape of what it returned last, or a list of shapes; None where it was not called
    calls: int = 0
    parameters: int = 0
    trainable: int = 0
    operations: int = 0
    activation_bytes: int = 0


@dataclass(repr=False)
class Summary:
    """The rows of a table of layers, and their sums; printed as that table.

    A layer's numbers are its own, without those of the layers inside it, so that columns add up. A layer that occurs at
    several paths has one row, at the first, with the operations of all its calls; a shared parameter counts where it
    occurs first. Containers that compute nothing themselves have no row.

    operations:  multiply-adds of the forward pass: in matrix products, convolutions and attention, one for each
                 multiplication of two elements; in all other ops that compute, one for each element of their largest
                 array; in those that only move elements, none
    activations: bytes of the arrays that the forward pass makes, which a training step keeps for the backward pass
    """

    rows: list[Row] = field(default_factory=list)
    parameter_bytes: int = 0  # buffers included

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def trainable(self) -> int:
        return sum(row.trainable for row in self.rows)

    @property
    def operations(self) -> int:
        return sum(row.operations for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        return sum(row.activation_bytes for row in self.rows)

    def __repr__(self) -> str:
        frozen = any(row.trainable < row.parameters for row in self.rows)
        table = [["layer", "class", "output", "parameters", *["trainable"] * frozen, "operations", "activations"]]
        for row in self.rows:
            calls = f" x {row.calls}" if row.calls > 1 else ""
            output = "not called" if row.output is None else str(row.output).strip("[]") + calls
            counts = [row.parameters, *[row.trainable] * frozen, row.operations]
            table.append([row.path or "(model)", row.kind, output, *map(str, counts), size(row.activation_bytes)])
        counts = [self.parameters, *[self.trainable] * frozen, self.operations]
        table.append(["total", "", "", *map(str, counts), size(self.activation_bytes)])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(x.ljust(n) if i < 3 else x.rjust(n) for i, (x, n) in enumerate(zip(line, widths, strict=True)))
            for line in table
        ]
        cost = f"{size(self.parameter_bytes)}; {self.operations} multiply-adds forward"
        lines.append(f"{self.parameters} parameters ({self.trainable} trainable), {cost}")
        return "\n".join(line.rstrip() for line in lines)


def size(n: int) -> str:
    """A number of bytes in words."""
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
        if n >= unit:
            return f"{n / unit:.1f} {name}"
    return f"{n} B"


def count_parameters(model: Module, trainable: bool | None = None) -> int:
    """How many numbers the parameters of a model hold, a shared one counted once.

    With `trainable`, only those that require a gradient, or (False) only those that do not.

    >>> model = mg.nn.Sequential(mg.nn.Linear(2, 3), mg.nn.Tanh(), mg.nn.Linear(3, 1))
    >>> mg.count_parameters(model)
    13
    """
    return sum(p.size for p in model.parameters() if trainable is None or p.requires_grad is trainable)


def summary(model: Module, input_shape: Any, dtype: Any = None) -> Summary:
    """Run the model once, in eval mode and without gradients, and count; see `Module.summary`.

    The modes of layers, buffers and the generator of `mg.random` are put back as they were. Raises TypeError for what
    is neither a shape nor an array.
    """
    parameters = list(model.parameters())
    if dtype is None:
        dtype = next((p.dtype for p in parameters if p.dtype.kind == "f"), default_dtype())
    rows = {id(module): Row(path, type(module).__name__) for path, module in model.named_modules()}
    seen: set[int] = set()
    for module in model.modules():
        row = rows[id(module)]
        for _, p in module._own("parameter"):
            if id(p) not in seen:
                seen.add(id(p))
                row.parameters += p.size
                row.trainable += p.size * p.requires_grad
    inputs = [example(x, dtype) for x in separate(input_shape)]
    with as_it_was(model), no_grad(), counted(rows):
        model(*inputs)
    state = {id(t): t._data.nbytes for _, t in model._named("parameter", "buffer")}
    wanted = [row for row in rows.values() if row.parameters or row.operations or row.activation_bytes]
    called = [row for module, row in zip(model.modules(), rows.values(), strict=True) if not any(module.children())]
    shown = {id(row) for row in [*wanted, *called]}
    return Summary([row for row in rows.values() if id(row) in shown], sum(state.values()))


def separate(inputs: Any) -> list[Any]:
    """The inputs, one shape or array each."""
    if isinstance(inputs, Tensor | np.ndarray) or is_shape(inputs):
        return [inputs]
    if isinstance(inputs, tuple | list) and inputs:
        return list(inputs)
    raise TypeError(f"summary: give the shape of an input, such as (32, 784), or an example array, not {inputs!r}")


def is_shape(x: Any) -> bool:
    return isinstance(x, tuple | list) and all(isinstance(n, int | np.integer) for n in x)


def example(x: Any, dtype: Any) -> Tensor:
    """An input of the model."""
    if isinstance(x, Tensor | np.ndarray):
        return as_tensor(x)
    if not is_shape(x) or any(n < 0 for n in x):
        raise TypeError(f"summary: {x!r} is neither a shape, such as (32, 784), nor an array")
    return Tensor(np.zeros(tuple(x), dtype))


@contextmanager
def as_it_was(model: Module) -> Iterator[None]:
    """Eval mode inside the block; at its end the model and the generator are as they were."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(t, t.numpy()) for _, t in model._named("buffer")]
    bits = random.generator().bit_generator
    state = bits.state
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
        for t, values in buffers:
            if not np.array_equal(t._data, values, equal_nan=t.dtype.kind == "f"):
                t.data = values
        bits.state = state


@contextmanager
def counted(rows: dict[int, Row]) -> Iterator[None]:
    """Inside the block, every op adds to the row of the innermost layer that is being called."""
    inside: list[Row] = []
    op_call, module_call = Op.__call__, Module.__call__

    def count(self: Op, *inputs: Any, **params: Any) -> Any:
        out = op_call(self, *inputs, **params)
        if inside and isinstance(out, Tensor):
            arrays = [x._data if isinstance(x, Tensor) else np.asarray(x) for x in inputs if x is not None]
            inside[-1].operations += operations(self, arrays, out._data)
            shared = any(np.may_share_memory(out._data, x) for x in arrays)
            inside[-1].activation_bytes += 0 if shared else out._data.nbytes
        return out

    def enter(self: Module, *args: Any, **kwargs: Any) -> Any:
        row = rows.get(id(self))
        if row is None:  # made while the model runs
            return module_call(self, *args, **kwargs)
        inside.append(row)
        try:
            out = module_call(self, *args, **kwargs)
        finally:
            inside.pop()
        row.output = shapes(out)
        row.calls += 1
        return out

    Op.__call__, Module.__call__ = count, enter  # type: ignore[method-assign]
    try:
        yield
    finally:
        Op.__call__, Module.__call__ = op_call, module_call  # type: ignore[method-assign]


def shapes(out: Any) -> Any:
    """The shape of a result, or a list of shapes of the parts of one."""
    if isinstance(out, tuple | list):
        return [shapes(part) for part in out if part is not None]
    return getattr(out, "shape", ())


def operations(op: Op, arrays: list[Any], y: Any) -> int:
    """The multiply-adds of one op."""
    if op.name in MOVES:
        return 0
    if op.name in ("matmul", "linear"):
        return y.size * arrays[0].shape[-1]
    if op.name == "attention":
        q, k, v = arrays[:3]
        scores = math.prod(y.shape[:-1]) * k.shape[-2]
        return scores * (q.shape[-1] + v.shape[-1] + 1)
    if op.name.startswith("conv"):
        x, kernel = arrays[:2]  # which meets each place of the output, or if transposed, of the input
        return (x if "transpose" in op.name or op.name.endswith("by_input") else y).size * math.prod(kernel.shape[1:])
    return max(x.size for x in [*arrays, y])
