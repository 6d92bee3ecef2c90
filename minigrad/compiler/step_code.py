"""The native code of a training step: forward and backward are traced, and the update is written behind them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import autodiff
from ..autodiff import below, starting_gradient, walk
from ..hooks import Hooks
from ..native import DATA, pointer_at, zeros
from ..nn.module import clock
from ..tensor import Tensor, default_dtype, describe, mode, recording, tick
from .assembly import Code, Stream
from .capture import Capture, capturing, remembering
from .lower import Lowering
from .program import Program
from .trace import CaptureError, Node, live, noded, tensor_of
from .trust import Updates, check, check_rows, held
from .units import Unit
from .update import stores, updates

if TYPE_CHECKING:
    from .step import CompiledStep

# ---- capture -------------------------------------------------------------------------------------------------------


class Captured(NamedTuple):
    """What one run of forward and backward on traced arrays has found."""

    found: Capture
    batch: list[Node]
    loss: Any
    gradients: dict[Tensor, Any]


def captured(step: CompiledStep, x: np.ndarray, y: np.ndarray) -> Captured:
    """Trace forward and backward on a batch. The model, the generator and all tensors are afterwards as before."""
    if autodiff.check_gradient is not None:
        raise CaptureError("inside mg.debug() every op is looked at, which native code cannot do")
    if mode.levels:
        raise CaptureError("inside mg.vmap nothing is compiled")
    dicts = step.dicts()
    before, state = [dict(d) for d in dicts], step.watch.state()
    try:
        with capturing(step.watch.walk.generators) as found, recording():
            tx, ty = found.trace.input("x", x), found.trace.input("y", y)
            batch = [tx.node, ty.node]
            loss = step.loss_fn(step.model(tensor_of(tx)), tensor_of(ty))
            check_loss(loss)
            order = below(loss)
            for t in order:
                if hooked(t):
                    raise CaptureError(f"{describe(t)} has a hook, a Python function that every step has to call")
            gradients = walk(order, starting_gradient(loss, None), create_graph=False)
            ended = loss._data
        changed = state.changed(step.watch.state())
        if changed is not None:
            raise remembering(changed, found)
        for t, now, array in found.changed:
            if (now.shape, now.dtype) != (array.shape, array.dtype):
                raise CaptureError(f"{describe(t)} becomes {now.dtype} of shape {now.shape} in the model or the loss")
    finally:
        for d, attributes in zip(dicts, before, strict=True):
            if list(d) != list(attributes):
                d.clear()
            d.update(attributes)  # in one go, for other threads that compute with the model
        clock[0] += 1
    return Captured(found, batch, ended, gradients)


def check_loss(loss: Any) -> None:
    if not isinstance(loss, Tensor) or loss.size != 1:
        what = f"a tensor of shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
        raise TypeError(f"loss_fn must return a scalar tensor (a mean or a sum), not {what}")
    if not loss.requires_grad:
        loss.backward()  # which says so


# ---- the code ------------------------------------------------------------------------------------------------------


class StepCode:
    """The native code of a training step, for batches of one shape and the model as it was when it was captured."""

    def __init__(self, step: CompiledStep, x: np.ndarray, y: np.ndarray) -> None:
        self.optimizer = step.optimizer
        for block in self.optimizer._blocks:
            block.configure()  # which may select another rule
            adopt(block)
        self.shapes = x.shape, y.shape
        self.dtypes = x.dtype, y.dtype
        self.default_dtype = default_dtype()
        found = captured(step, x, y)
        step.watch.add(found.found.modules)
        self.watch, self.state = step.watch, step.watch.state()
        if found.gradients.keys().isdisjoint(p for block in self.optimizer._blocks for p in block.params):
            raise CaptureError(
                "no parameter of the optimizer gets a gradient: the loss depends on none of them, or it left the graph "
                "on the way (through .data, .numpy() or .detach())"
            )
        self.blocks = step.optimizer._apart(found.gradients)
        self.all_blocks = list(step.optimizer._blocks)
        self.states = [(block, block.state) for block in self.all_blocks]
        self.counts = [[part.args[2] for part in block.parts] for block in self.blocks if len(block.parts) > 1]
        self.params = [p for block in self.blocks for p in block.params]
        self.draws = found.found.draws
        self.drawn = sum(draw.node.value.nbytes for draw in self.draws)
        self.seconds = math.inf  # that a step has taken
        lowering = self.assemble(found, step.limits)
        self.check(found, lowering, x, y)
        self.record = np.zeros((1, 2))
        self.once = self.code.prepared(0, 1, None, self.record)
        self.steps_taken = self.code.arrays["p0_scalars"]  # which the code counts
        self.completed = 0  # steps of the last slice
        buffers = {name: stream.buffer.name for name, stream in self.code.streams.items()}
        self.forms = [(name, self.code.arrays[name].shape, self.code.arrays[name].dtype) for name in buffers.values()]
        self.memory: list[tuple[str, np.ndarray]] = []  # for batches that are gathered: a single step needs none
        for name, _, dtype in self.forms:
            self.code.arrays[name] = np.zeros(0, dtype)
        batch = [buffers.get(name) for name in ("data_x", "data_y")]
        self.batch = [(self.code.places[name], name, i) for i, name in enumerate(batch) if name is not None]
        self.random = [(draw, buffers.get(f"data_r{i}")) for i, draw in enumerate(self.draws)]

    def assemble(self, found: Captured, limits: np.ndarray) -> Lowering:
        """From the trace to native code, whose arrays are those of the tensors and of the optimizer."""
        capture, batch = found.found, found.batch
        lowering = Lowering()
        wanted = [noded(a) for a in (found.loss, *map(found.gradients.get, self.params))]
        wanted += [noded(now) for _, now, _ in capture.changed]
        shown = [node for nodes, _ in capture.required for node in nodes]
        nodes = live([x for x in (*wanted, *shown) if isinstance(x, Node)])
        used = {n for n in nodes if n.function == "input"}
        tensors = [(t, n) for t, n in capture.inputs if n in used]
        inputs = [lowering.input(n) for n in (*(n for _, n in tensors), *batch, *(d.node for d in self.draws))]
        for n in nodes:
            if n.function != "input":
                lowering.lower(n)
        required = [v for nodes, error in capture.required for v in lowering.require(nodes[0], error, nodes[1:])]
        program = Program([*map(lowering.value, wanted), *required], inputs)
        outputs = program.outputs

        memory = {v.buffer: a for v, a in lowering.constants if v.buffer is not None}
        self.kept = [t for t, _, _ in capture.changed]
        self.names = [(t, v.buffer.name) for (t, _), v in zip(tensors, inputs, strict=False) if v.buffer is not None]
        self.names += [(t, f"kept{i}") for i, t in enumerate(self.kept)]
        held = list(dict.fromkeys([*self.params, *(t for t, _ in self.names)]))
        for t in held:
            t._data = in_one_piece(t._data)
        self.held = [(t, t._data, t.requires_grad) for t in held]
        memory |= {v.buffer: t._data for (t, _), v in zip(tensors, inputs, strict=False) if v.buffer is not None}
        places = [view for block in self.blocks for view in block.views(block.joined_gradient)]
        memory |= {v.home: view for v, view in zip(outputs[1:], places, strict=False)}
        read = inputs[len(tensors) :]
        rows = [("data_x", self.shapes[0][0], True), ("data_y", self.shapes[1][0], True)]
        rows += [(f"data_r{i}", 1, False) for i in range(len(self.draws))]
        streams = [
            Stream(name, v.buffer, n, in_order)
            for v, (name, n, in_order) in zip(read, rows, strict=True)
            if v.buffer is not None
        ]
        functions, extra, (squares, certain, update) = updates(self.blocks)
        kept = outputs[1 + len(self.params) :][: len(self.kept)]
        first = Unit([f"loss = f8({outputs[0].home.name}[0])", *certain], checks=True)
        lines = [*squares, first, Unit([*stores(kept)]), *update]
        extra |= {f"kept{i}": t._data for i, t in enumerate(self.kept)}
        self.changing = set(extra)  # the names of what a step changes, and of what is soon overwritten
        extra |= {"learning": np.zeros(1, np.int64), "limits": limits}
        self.code = Code(
            program, memory, streams=streams, after=lines, functions=functions, extra=extra,
            checks=lowering.checks, shown=lowering.shown, spare=[block.joined_gradient for block in self.blocks],
        )  # fmt: skip
        self.loss = self.code.arrays[outputs[0].home.name].reshape(-1)
        return lowering

    def check(self, found: Captured, lowering: Lowering, x: np.ndarray, y: np.ndarray) -> None:
        """Run on the batch of the capture, and compare with what NumPy computed; everything is as before then."""
        for i, draw in enumerate(self.draws):
            self.point(f"data_r{i}", np.ascontiguousarray(draw.node.value))
        self.point("data_x", x)
        self.point("data_y", y)
        record = np.zeros((1, 2))
        run = partial(self.code.run, 0, 1, np.arange(len(x)), record)
        check(found.found.trace, lowering, self.code, run)
        self.code.arrays["learning"][0] = 1
        if np.isfinite(record).all():
            self.check_update(run)

    def check_update(self, run: Callable[[], object]) -> None:
        """Take the step, compare what becomes of parameters and states with the eager update, and take it back."""
        updates = Updates(self.blocks, self.code.arrays["limits"])
        arrays = [a for name, a in self.code.arrays.items() if name in self.changing]
        before = [a.copy() for a in arrays]
        try:
            run()
            found = held(self.blocks)
        finally:
            for a, old in zip(arrays, before, strict=True):
                a[...] = old
        updates.compare(found)

    def check_rows(self, x: np.ndarray, y: np.ndarray, order: np.ndarray) -> None:
        """Gather the first batches that are planned, without learning from them, and look at the last of these."""
        rows = self.shapes[0][0]
        s = len(order) // rows > 1
        self.code.arrays["learning"][0] = 0
        try:
            self.code.run(s, s + 1, order[: (s + 1) * rows], np.zeros((2, 2)))
        except Exception:  # of the model or the loss, which is raised again when it is that batch's turn
            pass
        finally:
            self.code.arrays["learning"][0] = 1
        for name, whole in (("data_x", x), ("data_y", y)):
            if name in self.code.streams:
                batch = self.code.arrays[self.code.streams[name].buffer.name]
                right = whole[order[s * rows : (s + 1) * rows]]
                check_rows(name[-1], batch.reshape(right.shape), right)

    # ---- whether it is still right -----------------------------------------------------------------------------

    def fits(self, x: np.ndarray, y: np.ndarray) -> bool:
        """Whether batch, model and optimizer are as they were when this was captured, but for the numbers in them.

        An attribute of a module that is another object (a parameter, a mode, a rate of dropout) is a change.
        """
        if (
            x.shape != self.shapes[0] or y.shape != self.shapes[1]
            or x.dtype != self.dtypes[0] or y.dtype != self.dtypes[1] or default_dtype() != self.default_dtype
            or self.watch.state() is not self.state and not self.unchanged()
            or self.optimizer._blocks != self.all_blocks
            or autodiff.check_gradient is not None
        ):  # fmt: skip
            return False
        moved = False
        for t, array, requires_grad in self.held:
            if t.requires_grad is not requires_grad or t._keep is not False and hooked(t):
                return False
            if t._data is not array:
                moved = True
        for block, state in self.states:
            block.refresh()
            if block.state is not state:  # another rule, or the same again with a new state
                return False
        return not moved or self.follow()

    def unchanged(self) -> bool:
        """Whether modules, variables, and what else is read by name are what they were, though they have changed."""
        if (same := self.watch.state()) == self.state:
            self.state = same
        return same is self.state

    def follow(self) -> bool:
        """Take over arrays that have been replaced; False where they have another form."""
        for block in self.blocks:
            adopt(block)
        if any((t.shape, t.dtype) != (a.shape, a.dtype) for t, a, _ in self.held):
            return False
        for t, name in self.names:
            t._data = in_one_piece(t._data)
            self.code.point(name, t._data)
        self.held = [(t, t._data, flag) for t, _, flag in self.held]
        return True

    # ---- running -----------------------------------------------------------------------------------------------

    def point(self, name: str, array: np.ndarray) -> None:
        if name in self.code.streams:
            self.code.point(name, array)

    def draw(self, steps: int) -> None:
        """The random numbers of the next steps, in the order in which they would be drawn."""
        rows: list[list[np.ndarray]] = [[] for _ in self.draws]
        for _ in range(steps):
            for row, draw in zip(rows, self.draws, strict=True):
                row.append(draw())
        for i, row in enumerate(rows):
            self.point(f"data_r{i}", np.ascontiguousarray(row))

    def take(self, x: np.ndarray, y: np.ndarray) -> Tensor:
        """One step on a batch."""
        code, batch = self.code, (x, y)
        for place, name, which in self.batch:
            array = code.arrays[name] = batch[which]
            code.table[place] = pointer_at(id(array) + DATA).value or 0  # as `native.address_of`, without the call
        for draw, buffer in self.random:
            drawn = np.ascontiguousarray(draw())
            if buffer is not None:
                code.point(buffer, drawn)
        code.gather[0] = False  # what is read lies in one piece
        try:
            self.once()
            if code.status[0]:
                code.failed()
        finally:
            self.settle()
        return Tensor(self.loss[0])

    def steps(self, x: np.ndarray, y: np.ndarray, order: np.ndarray, start: int, stop: int, record: np.ndarray) -> None:
        """Take some steps of those that `order` plans; their losses and norms of gradients are recorded."""
        first = not self.memory
        self.memory = self.memory or [(n, zeros(math.prod(shape), d).reshape(shape)) for n, shape, d in self.forms]
        for name, memory in self.memory:
            self.code.point(name, memory)
        self.code.gather[0] = True
        self.point("data_x", x)
        self.point("data_y", y)
        self.completed = 0
        generators = {id(g): g for g in (draw.source() for draw in self.draws)}.values()
        states, taken = [g.bit_generator.state for g in generators], self.steps_taken[0]
        if self.draws:
            self.draw(stop - start)
        if first:
            self.check_rows(x, y, order)
        before = time.perf_counter()
        try:
            self.code.run(start, stop, order, record)
        finally:
            self.settle()
            self.completed = int(self.steps_taken[0] - taken)
            if self.draws and self.completed < stop - start:  # as far as the steps have come, with the one that failed
                for g, state in zip(generators, states, strict=True):
                    g.bit_generator.state = state
                for draw in self.draws * (self.completed + 1):
                    draw()
        self.seconds = (time.perf_counter() - before) / (stop - start)

    def settle(self) -> None:
        """Tell the tensors and the optimizer of the steps, also where Ctrl-C has come meanwhile."""
        now = tick()
        for first, *others in self.counts:
            for scalars in others:
                scalars[0] = first[0]
        for t in self.params:
            t._grad = None
            if t._changed < 0:  # somebody holds the array
                t._touch()
            else:
                t._changed = now
        for t in self.kept:
            t._touch()


def adopt(block: Any) -> None:
    """Take over the arrays that parameters have been given."""
    for p, view, *_ in block.members:
        if p._data is not view:
            block.adopt(p, view)


def hooked(t: Tensor) -> bool:
    return isinstance(t._keep, Hooks) and len(t._keep) > 0


def in_one_piece(array: Any) -> np.ndarray:
    """The array itself if it lies in memory in rows, and else a copy that does."""
    return array if type(array) is np.ndarray and array.flags.carray else np.array(array, order="C")
