"""A whole training step, and a whole training, as one native function."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import autodiff, random
from ..autodiff import below, starting_gradient, walk
from ..data import samples_of
from ..hooks import Hooks
from ..native import DATA, pointer_at, zeros
from ..nn import Module
from ..nn.module import clock
from ..nn.utils import check_limits
from ..optim import Optimizer
from ..optim.kernel import kernel_source, read
from ..tensor import Tensor, describe, mode, recording, tick, warn_once
from .assembly import MEMORY, Code, Stream
from .capture import KEPT, Capture, capturing
from .lower import Lowering
from .memories import Watch
from .program import Program
from .shuffling import permutations
from .trace import CaptureError, Node, live, noded, tensor_of
from .trust import Updates, check, check_rows, held
from .units import LEFT, Unit
from .values import Value

SLICE = 0.2  # seconds of native code at a time: between two slices there is time for Ctrl-C
DRAWN = 1 << 26  # bytes of random numbers at a time, which are drawn before a slice
TOGETHER = 1 << 20  # samples of several epochs whose order is planned at a time
CLIP_NORM_EPS = 1e-6  # as in nn.utils.clip_grad_norm_


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
            raise CaptureError(f"{changed} is changed by every call of the model or the loss, which is Python's work")
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
        found = captured(step, x, y)
        step.watch.add(found.found.modules)
        self.watch, self.state = step.watch, step.watch.state()
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
            or x.dtype != self.dtypes[0] or y.dtype != self.dtypes[1]
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


# ---- what follows forward and backward -----------------------------------------------------------------------------

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
ALONE = 1 << 14  # parameters that one thread updates sooner than several


def stores(kept: list[Value]) -> Iterator[str]:
    """What writes new values into the arrays of tensors that the model changes, such as running means."""
    for i, v in enumerate(kept):
        yield f"for c in range({v.size}):"
        yield f"    kept{i}[c] = {v.home.name}[c]"


def updates(blocks: list[Any]) -> tuple[str, dict[str, np.ndarray], tuple[list[Unit], list[str], list[Unit]]]:
    """The optimizer's work after backward: functions, arrays, and what is done before and after a step is certain."""
    reals = [{"float32": "f4", "float64": "f8"}[block.dtype.name] for block in blocks]
    functions = [NORM.format(real=real, chunks=CHUNKS, span=SPAN) for real in dict.fromkeys(reals)]
    of = [(f"p{i}_gradient, {block.size}", real) for i, (block, real) in enumerate(zip(blocks, reals, strict=True))]
    squares = [
        Unit([f"squares_{real}(p{i}_squares, {g}, lo, hi)"], shared(block.size, CHUNKS), work=block.size)
        for i, (block, (g, real)) in enumerate(zip(blocks, of, strict=True))
    ]
    squares = [u if u.shared else Unit([u.lines[0].replace("lo, hi", f"0, {CHUNKS}")]) for u in squares]
    norm = f"norm = sqrt({' + '.join(f'norm_{real}(p{i}_squares)' for i, real in enumerate(reals))})"
    certain = [
        norm,
        "record[2 * s], record[2 * s + 1] = loss, norm",
        "if not (abs(loss) < inf and abs(norm) < inf) or learning[0] == 0:",  # before it spoils the parameters
        f"    status[0] = {LEFT}",
    ]
    clip = [
        "if limits[0] < inf:",
        *(f"    clip_value_{real}({g}, limits[0])" for g, real in of),
        *(f"    {u.lines[0].replace('lo, hi', f'0, {CHUNKS}')}" for u in squares),
        f"    {norm}",
        f"if limits[1] < norm + {CLIP_NORM_EPS}:",
        *(f"    scale_{real}({g}, limits[1] / (norm + {CLIP_NORM_EPS}))" for g, real in of),
        *(f"p{i}_scalars[0] += 1" for i in range(len(blocks))),
    ]
    update = [Unit(clip)]
    arrays: dict[str, np.ndarray] = {}
    for i, block in enumerate(blocks):
        names = [f"p{i}_{s}" for s in ("values", *block.state)]
        arrays |= dict(zip(names, (block.values, *block.state.values()), strict=True))
        scalars = np.ctypeslib.as_array(block.parts[0].args[2])
        arrays |= {f"p{i}_gradient": block.joined_gradient, f"p{i}_scalars": scalars, f"p{i}_squares": np.zeros(CHUNKS)}
        functions.append(rule_source(i, block))
        bounds = "lo, hi" if shared(block.size, block.size) else f"0, {block.size}"
        call = f"rule{i}({bounds}, ({', '.join(names)},), p{i}_scalars, p{i}_gradient)"
        update.append(Unit([call], shared(block.size, block.size), 16, work=UPDATE * block.size))
    return "".join(functions), arrays, (squares, certain, update)


def shared(size: int, extent: int) -> int:
    """How many places threads share where there are so many parameters."""
    return extent if size > ALONE else 0


def rule_source(i: int, block: Any) -> str:
    """The loop that applies a rule, for the parameters from `lo` to `hi`; who calls it counts the steps."""
    text = kernel_source(block.rule, block.dtype)
    for before, now in (
        (f"\ndef {read(block.rule).name}(size, ", f"\n@njit(**OPTIONS)\ndef rule{i}(lo, hi, "),
        ("    scalars[0] += 1\n", ""),
        ("in range(size):", "in range(lo, hi):"),
    ):
        assert before in text
        text = text.replace(before, now)
    return text


# ---- steps and epochs ----------------------------------------------------------------------------------------------


class CompiledStep:
    """A training step as one native function: see `mg.compile_step`."""

    def __init__(self, model: Callable, loss_fn: Callable, optimizer: Any) -> None:
        self.model, self.loss_fn, self.optimizer = model, loss_fn, optimizer
        self.watch = Watch(model, loss_fn)
        self.codes: list[StepCode] = []  # the one used last is the last
        self.limits = np.full(2, np.inf)  # of each element of the gradient, and of the norm

    @property
    def lock(self) -> AbstractContextManager:
        """One caller at a time has the memory of the parameters and of their gradient, which other steps may share."""
        return self.optimizer._lock

    def dicts(self) -> list[dict[str, Any]]:
        """The attributes of every module."""
        parts = [f for f in (self.model, self.loss_fn) if isinstance(f, Module)]
        return [vars(m) for part in parts for m in part.modules()]

    def code(self, x: np.ndarray, y: np.ndarray) -> StepCode:
        """The code for batches of this shape, with the model as it is now: captured anew if there is none."""
        for code in reversed(self.codes):
            if code.fits(x, y):
                break
        else:
            own = vars(self.optimizer).keys() | {n for c in type(self.optimizer).mro()[:-2] for n in vars(c)}
            if changed := own & {"step", "zero_grad"}:
                own_step = " and ".join(sorted(changed))
                raise CaptureError(f"the optimizer has its own {own_step}, which Python has to call")
            code = StepCode(self, x, y)
            if len(self.codes) == KEPT:
                del self.codes[0]
                warn_once(
                    "captures of a step",
                    f"compile_step: {KEPT} captures of one step, and another one: each shape of a batch and each "
                    "change of the model compiles anew; give batches of the same shapes",
                )
        if not self.codes or self.codes[-1] is not code:
            self.codes = [*(c for c in self.codes if c is not code), code]
        return code

    def __call__(self, x: Any, y: Any) -> Tensor:
        """Take one step on a batch; returns the loss before it.

        A loss or gradient that is not finite leaves everything as it was.
        """
        if not (type(x) is type(y) is np.ndarray and x.flags.c_contiguous and y.flags.c_contiguous):
            x, y = samples(x, y)
        with self.lock:
            code = self.codes[-1] if self.codes else None
            if code is None or not code.fits(x, y):
                x, y = samples(x, y)
                code = self.code(x, y)
            return code.take(x, y)

    def run(
        self, X: Any, Y: Any, batch_size: int | None = None, epochs: int = 1, shuffle: bool = True,
        seed: int | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Train for some epochs; returns the loss of every step, before it.

        Batches are drawn as `mg.fit` draws them: None is all samples, in their order. A loss or gradient that is not
        finite ends it, before that step. Raises ValueError or TypeError for bad arguments.
        """
        X, Y = samples(X, Y)
        size = len(X) if batch_size is None else min(count("batch_size", batch_size, 1), len(X))
        if not isinstance(shuffle, bool):
            raise TypeError(f"compile_step: shuffle must be True or False, not {shuffle!r}")
        epochs, shuffle = count("epochs", epochs, 0), shuffle and batch_size is not None
        rng = random.from_seed(seed)
        found = [np.zeros(0)]
        if epochs:
            draws = self.ready(X, Y, size).draws
            together = 1 if draws or len(X) % size else max(1, TOGETHER // len(X))
        while epochs:
            some, state = min(together, epochs), rng.bit_generator.state
            order = permutations(rng, len(X), some) if shuffle else np.tile(np.arange(len(X)), some)
            epoch = Epoch(self, X, Y, size, order)
            try:
                while epoch.left:
                    epoch.advance()
            finally:
                if shuffle and some > 1 and epoch.done < len(epoch.record):  # the epochs that were not begun
                    rng.bit_generator.state = state
                    permutations(rng, len(X), max(1, math.ceil(epoch.done / len(epoch.record) * some)))
            found.append(epoch.record[: epoch.done, 0])
            epochs = 0 if epoch.failed else epochs - some
        return np.concatenate(found)

    def ready(self, X: np.ndarray, Y: np.ndarray, size: int) -> StepCode:
        """Capture what an epoch in batches of this size needs, its last and smaller batch included."""
        with self.lock:
            if rest := len(X) % size:
                self.code(X[:rest], Y[:rest])
            return self.code(X[:size], Y[:size])

    @property
    def source(self) -> str:
        """The source of what was used last."""
        if not self.codes:
            raise RuntimeError("compile_step: nothing is compiled before the first step, so there is no source yet")
        return self.codes[-1].code.source


class Epoch:
    """One pass over the samples, or several, in slices: `advance` runs one. The result does not depend on them.

    `record` holds of each step its loss and the gradient's norm; the first `done` are valid, and the last of them is
    not finite if `failed`.
    """

    def __init__(self, step: CompiledStep, X: np.ndarray, Y: np.ndarray, size: int, order: np.ndarray) -> None:
        self.step, self.X, self.Y, self.order, self.size = step, X, Y, order, size
        self.whole, self.rest = divmod(len(order), size)
        self.record = np.zeros((self.whole + bool(self.rest), 2))
        self.done = 0
        self.failed = False

    @property
    def left(self) -> int:
        """How many steps are still to be taken."""
        return 0 if self.failed else len(self.record) - self.done

    def length(self, code: StepCode) -> int:
        """How many steps make a slice: none is known to take longer than the first."""
        by_time = SLICE / code.seconds if code.seconds > 0 else math.inf
        return int(max(1, min(by_time, DRAWN / code.drawn if code.drawn else math.inf, self.whole)))

    def advance(self) -> None:
        """Run the next slice."""
        start = self.done
        with self.step.lock:
            if start < self.whole:
                code = self.step.code(self.X[: self.size], self.Y[: self.size])
                stop = min(start + self.length(code), self.whole)
                what = self.order, start, stop, self.record
            else:
                code, stop = self.step.code(self.X[: self.rest], self.Y[: self.rest]), start + 1
                what = self.order[self.whole * self.size :], 0, 1, self.record[self.whole :]
            try:
                code.steps(self.X, self.Y, *what)
            finally:
                self.done = start + code.completed
        finite = np.isfinite(self.record[start:stop]).all(axis=1)
        self.failed = not finite.all()
        self.done = start + int(np.argmin(finite)) + 1 if self.failed else stop


def compile_step(
    model: Callable, loss_fn: Callable, optimizer: Any, *, clip_norm: float | None = None,
    clip_value: float | None = None,
) -> CompiledStep:  # fmt: skip
    """A training step as one native function: forward, backward and the optimizer's update.

    The result is called with a batch, `step(x, y) -> loss`, or runs whole epochs natively: `step.run(X, Y, batch_size,
    epochs, shuffle) -> losses`. The first batch of a shape captures the step and compiles it; `step.source` is what was
    compiled. Parameters, the optimizer's state and its hyperparameters are the same as outside, and may be changed
    between calls; buffers and random numbers (dropout) are as in eager steps, and `.grad` is None afterwards. A change
    of the model (a mode, an attribute, `requires_grad`), or of what model and loss read by name, is noticed, and
    captured anew. `clip_norm` and `clip_value` limit the gradient as in `mg.fit`.

    Raises CaptureError (a TypeError) where the model or the loss looks at values or changes Python's state, NoNative (a
    TypeError) for a function that has no native form, CompiledDiffers where the first run computes something else
    than NumPy, and ValueError or TypeError for bad arguments.

    >>> import minigrad as mg
    >>> model = mg.nn.Linear(1, 1)
    >>> step = mg.compile_step(model, mg.nn.MSELoss(), mg.optim.SGD(model.parameters(), lr=0.5))
    >>> x = np.linspace(-1, 1, 20).reshape(-1, 1)
    >>> losses = step.run(x, 3 * x + 1, epochs=100)
    >>> bool(losses[-1] < 1e-6), bool(np.allclose(model.weight.data, 3, atol=1e-3))
    (True, True)
    """
    for name, given in (("model", model), ("loss_fn", loss_fn)):
        if not callable(given) or isinstance(given, type):
            what = f"the class {given.__name__} itself" if isinstance(given, type) else repr(given)
            raise TypeError(f"compile_step: {name} must be something to call, such as mg.nn.MSELoss(), not {what}")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"compile_step: optimizer must be one of mg.optim's, made of the parameters, not {optimizer!r}")
    step = CompiledStep(model, loss_fn, optimizer)
    if isinstance(model, Module):
        held = {p for group in optimizer.param_groups for p in group["params"]}
        if held.isdisjoint(model.parameters()):
            raise ValueError(
                "compile_step: the optimizer holds none of the model's parameters; make it from model.parameters()"
            )
    check_limits("compile_step", clip_norm, clip_value)
    step.limits[:] = [np.inf if limit is None else limit for limit in (clip_value, clip_norm)]
    return step


def samples(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Samples as native code reads them."""
    x, y = (samples_of(f"compile_step: {name}", a) for name, a in (("x", x), ("y", y)))
    for name, a in (("x", x), ("y", y)):
        if a.dtype.newbyteorder("=").name not in MEMORY:
            raise TypeError(f"compile_step: {name} is {a.dtype}, and native code reads float32 and float64")
    if len(x) != len(y):
        raise ValueError(
            f"compile_step: x {x.shape} and y {y.shape} have {len(x)} and {len(y)} samples; the first axis must agree"
        )
    if not len(x):
        raise ValueError(f"compile_step: no samples: x has shape {x.shape}")
    return rows(x), rows(y)


def rows(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a, a.dtype.newbyteorder("="))


def count(what: str, n: Any, least: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise TypeError(f"compile_step: {what} must be an integer, not {n!r}")
    if n < least:
        raise ValueError(f"compile_step: {what} must be at least {least}, not {n}")
    return int(n)
