"""A whole training step, and a whole training, as one native function."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from .. import random
from ..data import columns, samples_of
from ..nn import Module
from ..nn.utils import check_limits
from ..optim import Optimizer
from ..tensor import Tensor, warn_once
from .assembly import MEMORY
from .capture import KEPT
from .memories import Watch
from .shuffling import permutations
from .step_code import StepCode
from .trace import CaptureError

SLICE = 0.2  # seconds of native code at a time: between two slices there is time for Ctrl-C
DRAWN = 1 << 26  # bytes of random numbers at a time, which are drawn before a slice
TOGETHER = 1 << 20  # samples of several epochs whose order is planned at a time


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
        found: list[np.ndarray] = [np.zeros(0)]
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
                what: tuple = self.order, start, stop, self.record
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
    given = x
    x, y = (samples_of(f"compile_step: {name}", a) for name, a in (("x", x), ("y", y)))
    for name, a in (("x", x), ("y", y)):
        if a.dtype.newbyteorder("=").name not in MEMORY:
            raise TypeError(f"compile_step: {name} is {a.dtype}, and native code reads float32 and float64")
    if len(x) != len(y):
        raise ValueError(
            f"compile_step: x {x.shape} and y {y.shape} have {len(x)} and {len(y)} samples; the first axis must "
            f"agree{columns(given)}"
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
