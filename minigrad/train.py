"""Training: the loop that every gradient descent shares, what it records, and when it ends."""

from __future__ import annotations

import contextlib
import csv
import math
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from . import data, random
from .names import known
from .nn import Module
from .nn.utils import check_limits, clip_grad_norm_, clip_grad_value_
from .optim import Optimizer
from .tensor import MinigradWarning, Tensor, no_grad, warn_once

Array = np.ndarray
Metric = Callable[[Array, Array], float]
Stop = Callable[["History"], "str | None"]


@dataclass(repr=False)
class History:
    """What happened in each whole epoch of a training, in lists of one number an epoch, and why it ended.

    `loss` is the mean over the samples, each taken before its step. `grad_norm` is the Euclidean norm of the gradient
    of all parameters together, averaged over the epoch's steps. `lr` is that of the first parameter group.
    `validation_loss` and `metric` are empty where not asked for.
    """

    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    metric: list[float] = field(default_factory=list)
    stopped: str = ""

    def _add(self, row: dict[str, float]) -> None:
        for name, value in row.items():
            getattr(self, name).append(value)

    def _columns(self) -> dict[str, list[float]]:
        return {name: column for name, column in vars(self).items() if isinstance(column, list) and column}

    def rows(self) -> list[dict[str, float]]:
        """One dict for each epoch, which are counted from 1.

        >>> History(loss=[0.7, 0.3]).rows()
        [{'epoch': 1, 'loss': 0.7}, {'epoch': 2, 'loss': 0.3}]
        """
        columns = self._columns()
        return [
            {"epoch": epoch, **dict(zip(columns, row, strict=True))}
            for epoch, row in enumerate(zip(*columns.values(), strict=True), start=1)
        ]

    def save_csv(self, path: str | Path) -> None:
        """Write the rows to a CSV file, its first line the names of the columns."""
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, ["epoch", *self._columns()])
            writer.writeheader()
            writer.writerows(self.rows())

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the columns over the epochs as a Matplotlib figure, which is returned, and saved if a path is given.

        A learning rate that never changes is left out.
        Raises ModuleNotFoundError where Matplotlib is not installed.
        """
        try:
            from matplotlib import pyplot
        except ModuleNotFoundError:
            raise ModuleNotFoundError("plot draws with Matplotlib: pip install 'minigrad[plot]'") from None
        panels = [("loss", "validation_loss"), ("metric",), ("grad_norm",), ("lr",)]
        columns, epochs = self._columns(), range(1, len(self.loss) + 1)
        if len(set(self.lr)) < 2:
            panels.pop()
        drawn = [names for names in panels if names[0] in columns] or panels[:1]
        size = (3.5 * len(drawn), 3)
        figure, axes = pyplot.subplots(1, len(drawn), figsize=size, squeeze=False, layout="constrained")
        for names, axis in zip(drawn, axes.flat, strict=True):
            for name in names:
                if name in columns:
                    axis.plot(epochs, columns[name], label=name)
            axis.set(xlabel="epoch", ylabel=names[0])
            if len(axis.lines) > 1:
                axis.legend()
        if path is not None:
            figure.savefig(path)
            pyplot.close(figure)
        return figure

    def __repr__(self) -> str:
        loss = f"loss {self.loss[0]:.4g} to {self.loss[-1]:.4g}, " if self.loss else ""
        return f"History({len(self.loss)} epochs, {loss}{self.stopped})"


@dataclass(frozen=True)
class Convergence:
    """End training when nothing changes any more, for `patience` epochs in a row.

    With `on="loss"` nothing changes when |new - old| <= tol * max(|new|, |old|, 1e-8 |first|): relative to the loss,
    or, for one that goes to zero, to a hundred-millionth of the first epoch's. With `on="gradient"`, when the norm of
    the gradient is at most tol; the gradient of a mini-batch does not vanish at the minimum, so this is for batch
    gradient descent. Raises ValueError or TypeError for a bad argument.

    >>> rule = mg.Convergence(tol=0.01, patience=2)
    >>> rule(History(loss=[1.0, 0.5, 0.499, 0.498]))
    'converged: for 2 epochs the loss has changed by at most 0.01 of itself'
    """

    tol: float = 1e-6
    patience: int = 5
    on: str = "loss"

    def __post_init__(self) -> None:
        known("quantity for Convergence(on=...)", self.on, ("loss", "gradient"))
        _count("Convergence: patience", self.patience)
        if not self.tol > 0:
            raise ValueError(f"Convergence: tol must be a positive number, not {self.tol!r}")

    def __call__(self, history: History) -> str | None:
        if len(history.loss) <= self.patience:
            return None
        if self.on == "gradient":
            if max(history.grad_norm[-self.patience :]) <= self.tol:
                return f"converged: for {self.patience} epochs the norm of the gradient was at most {self.tol:g}"
            return None
        losses, floor = history.loss[-self.patience - 1 :], 1e-8 * abs(history.loss[0])
        if all(abs(b - a) <= self.tol * max(abs(a), abs(b), floor) for a, b in pairwise(losses)):
            return f"converged: for {self.patience} epochs the loss has changed by at most {self.tol:g} of itself"
        return None


def accuracy(prediction: Array, target: Array) -> float:
    """The share of samples that are classified right.

    Scores (n, classes) are judged by the largest, against class indices (n,) or one row of probabilities a sample; one
    score a sample by its sign, against targets 0 and 1, or -1 and 1. Raises ValueError for other shapes.

    >>> accuracy(np.array([[2.0, 1.0], [0.0, 3.0]]), np.array([0, 0]))
    0.5
    """
    if prediction.ndim > 1 and prediction.shape[-1] > 1:
        right: Array = target.argmax(-1) if target.shape == prediction.shape else target
        chosen: Array = prediction.argmax(-1)
    else:
        chosen, right = prediction > 0, target > 0
    if chosen.shape != right.shape:
        raise ValueError(f"accuracy: predictions {prediction.shape} do not go with targets {target.shape}")
    return float((chosen == right).mean())


METRICS: dict[str, Metric] = {"accuracy": accuracy}


class _Diverged(Exception):
    """A loss or gradient that is not finite; the message says which, and at which step."""


def fit(
    model: Callable[[Tensor], Tensor],
    loss_fn: Callable[[Tensor, Array], Tensor],
    samples: tuple[Any, Any],
    optimizer: Any,
    *,
    epochs: int = 100,
    batch_size: int | None = None,
    validation: tuple[Any, Any] | None = None,
    metric: Metric | str | None = None,
    schedule: Callable[[int], float] | None = None,
    stop: Stop | Sequence[Stop] | None = None,
    progress: bool = True,
    checkpoint: str | Path | None = None,
    seed: int | None = None,
    shuffle: bool = True,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    compile: bool | str = True,
) -> History:
    """Train a model by gradient descent on samples (X, Y), and return the history.

    Each step computes `loss_fn(model(x), y)`, a scalar tensor, on a batch, and its gradient, and the optimizer takes a
    step. The batch size makes the kind of gradient descent: None is batch (all samples, one step an epoch), 1
    stochastic, n mini-batch. Every epoch takes every sample once, in an order drawn anew from `seed` (or, if None, from
    the generator of `mg.random`).

    validation: samples (X, Y) held out; their loss is taken after each epoch, without gradients and in eval mode
    metric:     "accuracy", or a function of predictions and targets (arrays), taken after each epoch on the held-out
                samples, or on the training samples if there are none
    schedule:   a function of the epoch, counted from 0, that gives the factor on the initial learning rate of each
                parameter group; the initial rates are put back at the end
    stop:       `mg.Convergence`, or any function of the history that gives the reason to end, or None; or several
    checkpoint: an .npz file of the model's state, written whenever the loss (the validation's, if there is one)
                is the lowest so far; `model.load_state_dict(np.load(checkpoint))` reads it

    clip_norm:  what the norm of the whole gradient is limited to before each step; `history.grad_norm` is that before
    clip_value: what the absolute value of each element of the gradient is limited to, before `clip_norm` is

    compile:    whether epochs run as native code (`mg.compile_step`), where training is long enough to make up for the
                time that compiling takes: that is estimated from the number of steps and the sizes of batch and
                parameters. The results agree with those of eager steps to rounding. Where the model or the loss cannot
                be compiled, one warning says why, and training is eager. Native code whose first run differs from NumPy
                by more than rounding raises CompiledDiffers; with "fallback" that is a warning, too

    `history.stopped` says why training ended. A loss or gradient that is not finite ends it at once, before the step
    that would spoil the parameters, with a warning. Ctrl-C ends it between two steps. Raises ValueError or
    TypeError for bad arguments.

    >>> x = np.linspace(-1, 1, 20).reshape(-1, 1)
    >>> model = mg.nn.Linear(1, 1)
    >>> sgd = mg.optim.SGD(model.parameters(), lr=0.5)
    >>> history = mg.fit(model, mg.nn.MSELoss(), (x, 3 * x + 1), sgd, progress=False)
    >>> bool(np.allclose(model.weight.data, 3)), history.stopped
    (True, 'all epochs done')
    """
    from tqdm import tqdm

    for name, given in (("model", model), ("loss_fn", loss_fn)):
        if not callable(given) or isinstance(given, type):
            what = f"the class {given.__name__} itself" if isinstance(given, type) else repr(given)
            raise TypeError(f"fit: {name} must be something to call, such as mg.nn.MSELoss(), not {what}")
    clip = _clipping(clip_norm, clip_value)
    X, Y = _pair("samples", samples)
    held_out = None if validation is None else _pair("validation", validation)
    epochs, size = _count("epochs", epochs), None if batch_size is None else _count("batch_size", batch_size)
    if not isinstance(shuffle, bool):
        raise TypeError(f"fit: shuffle must be True or False, not {shuffle!r}")
    if isinstance(metric, str):
        metric = METRICS[known("metric", metric, METRICS)]
    rules = _rules(stop)
    if not isinstance(compile, bool):
        known("value for fit(compile=...), which is True, False or a text", compile, ("fallback",))
    save = None if checkpoint is None else _saver(checkpoint, model)
    _check_optimizer(model, optimizer)
    _check_dtypes(optimizer, X, Y, *(held_out or ()))
    rng = random.from_seed(seed)

    history = History()
    modules = list(model.modules()) if isinstance(model, Module) else []
    native: _Native | None = None
    why = ""
    if compile and _pays(optimizer, len(X), size or len(X), epochs):
        native = _Native(model, loss_fn, optimizer, (X, Y), size or len(X), (clip_norm, clip_value))
    initial_lr = [group["lr"] for group in optimizer.param_groups]
    ctrl_c = _CtrlC()
    bar = tqdm(total=epochs, unit="epoch", disable=not progress)
    try:
        # NumPy's warnings of overflow would only precede the one sentence on a loss that is not finite.
        with _restoring(optimizer, modules), ctrl_c.watched(), np.errstate(all="ignore"), bar:
            for epoch in range(epochs):
                if schedule is not None:
                    _set_lr(optimizer, initial_lr, schedule(epoch))
                _set_mode(modules, training=True)
                if native is not None and not native.ready(compile == "fallback"):
                    why, native = native.why, None
                if native is not None:
                    in_turn = size is None or not shuffle
                    row = native.epoch(np.arange(len(X)) if in_turn else rng.permutation(len(X)), ctrl_c)
                else:
                    batches = [(X, Y)] if size is None else data.batches(X, Y, size, shuffle, rng)
                    row = _epoch(model, loss_fn, optimizer, batches, ctrl_c, clip)
                    if why:  # and not an error of the model, which eager training has met as well
                        warn_once(f"fit: {why}", f"fit: training is eager, since it cannot be compiled: {why}")
                        why = ""
                if held_out is not None or metric is not None:
                    _set_mode(modules, training=False)
                    row |= _evaluate(model, loss_fn, metric, held_out, (X, Y))
                with ctrl_c:
                    history._add(row)
                if save is not None:
                    save(row.get("validation_loss", row["loss"]))
                if progress:
                    bar.set_postfix({name: f"{value:.4g}" for name, value in row.items()}, refresh=False)
                    bar.update()
                history.stopped = next((reason for rule in rules if (reason := rule(history))), "")
                if history.stopped:
                    break
            else:
                history.stopped = "all epochs done"
    except _Diverged as error:
        history.stopped = (
            f"diverged: in epoch {len(history.loss) + 1}, {error}; the parameters are those before that step. Try a "
            "smaller learning rate, or inputs scaled to mean 0 and deviation 1; `with mg.debug():` shows the op"
        )
        warnings.warn(history.stopped, MinigradWarning, stacklevel=2)
    except KeyboardInterrupt:
        history.stopped = f"interrupted in epoch {len(history.loss) + 1}"
    return history


# ---- the epoch -----------------------------------------------------------------------------------------------------


def _epoch(
    model: Callable, loss_fn: Callable, optimizer: Any, batches: Iterable[tuple[Array, Array]], ctrl_c: _CtrlC,
    clip: Callable[[list[Tensor]], object],
) -> dict[str, float]:
    """Take one step on each batch; return what the history records."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    losses = norms = 0.0
    samples = steps = 0
    for x, y in batches:
        steps += 1
        optimizer.zero_grad()
        loss = loss_fn(model(Tensor(x)), y)
        value = _finite("the loss", _scalar(loss), steps)
        loss.backward()
        norms += _finite("the norm of the gradient", _norm(parameters), steps)
        clip(parameters)
        with ctrl_c:
            optimizer.step()
        losses += value * len(x)
        samples += len(x)
    return {"loss": losses / samples, "lr": optimizer.param_groups[0]["lr"], "grad_norm": norms / steps}


class _Native:
    """Epochs as native code."""

    def __init__(
        self, model: Callable, loss_fn: Callable, optimizer: Any, samples: tuple[Array, Array], size: int,
        clip: tuple[float | None, float | None],
    ) -> None:  # fmt: skip
        self.parts, self.samples, self.clip = (model, loss_fn, optimizer), samples, clip
        self.size = min(size, len(samples[0]))
        self.step: Any = None
        self.why = ""  # it cannot be compiled

    def ready(self, fallback: bool) -> bool:
        """Compile what the next epoch needs and is not there; False if it cannot be, and then `why` says the reason."""
        from .compiler import CaptureError, CompiledDiffers, NoNative, compile_step

        X, Y = self.samples
        try:
            if self.step is None:
                if not isinstance(self.parts[2], Optimizer):
                    raise CaptureError("the optimizer is none of mg.optim's")
                self.step = compile_step(*self.parts, clip_norm=self.clip[0], clip_value=self.clip[1])
                self.samples = X, Y = np.ascontiguousarray(X), np.ascontiguousarray(Y)
            self.step.ready(X, Y, self.size)
        except Exception as error:
            if isinstance(error, CompiledDiffers) and not fallback:
                raise
            known = isinstance(error, CaptureError | NoNative | CompiledDiffers)
            self.why = str(error) if known else f"{type(error).__name__}: {' '.join(str(error).split())}"
            return False
        return True

    def epoch(self, order: Array, ctrl_c: _CtrlC) -> dict[str, float]:
        """Take one step on each batch; return what the history records."""
        from .compiler import Epoch

        epoch = Epoch(self.step, *self.samples, self.size, order)
        while epoch.left:
            with ctrl_c:
                epoch.advance()
        losses, norms = epoch.record[: epoch.done].T
        if epoch.failed:
            _finite("the loss", float(losses[-1]), epoch.done)
            _finite("the norm of the gradient", float(norms[-1]), epoch.done)
        sizes = np.full(len(losses), self.size)
        sizes[-1] = epoch.rest or self.size
        lr = self.parts[2].param_groups[0]["lr"]
        return {"loss": float(losses @ sizes) / len(order), "lr": lr, "grad_norm": float(norms.mean())}


# Compiling takes a second or two. Eager training takes some 0.1 ms a step, and in dense layers six operations for each
# sample and parameter. This time is estimated and not taken, so that the same call gives the same bits every time.
COMPILING, A_STEP, AN_OPERATION = 1.0, 1e-4, 1e-11  # seconds


def _pays(optimizer: Any, n: int, size: int, epochs: int) -> bool:
    """Whether training takes longer than compiling."""
    parameters = sum(parameter.size for group in optimizer.param_groups for parameter in group["params"])
    steps = epochs * -(-n // size)
    return steps * A_STEP + 6 * parameters * n * epochs * AN_OPERATION > COMPILING * (1 if n % size == 0 else 2)


def _clipping(norm: float | None, value: float | None) -> Callable[[list[Tensor]], object]:
    """What limits the gradients of the parameters, in place."""
    check_limits("fit", norm, value)

    def clip(parameters: list[Tensor]) -> None:
        if value is not None:
            clip_grad_value_(parameters, value)
        if norm is not None:
            clip_grad_norm_(parameters, norm)

    return clip


def _scalar(loss: Any) -> float:
    if not isinstance(loss, Tensor) or loss.size != 1:
        raise TypeError(f"fit: loss_fn must return a scalar tensor (a mean or a sum), not {loss!r:.80}")
    return float(loss._data)


def _finite(what: str, value: float, step: int) -> float:
    if not math.isfinite(value):
        raise _Diverged(f"step {step}, {what} became {value}")
    return value


def _norm(parameters: list[Tensor]) -> float:
    """The Euclidean norm of the gradient of all parameters together."""
    gradients = [parameter._grad._data for parameter in parameters if parameter._grad is not None]
    return math.sqrt(sum(float(np.vdot(g, g)) for g in gradients))


def _evaluate(
    model: Callable, loss_fn: Callable, metric: Metric | None, held_out: tuple | None, trained: tuple
) -> dict[str, float]:
    """The validation loss and the metric, as far as they are asked for."""
    X, Y = held_out or trained
    row = {}
    with no_grad():
        prediction = model(Tensor(X))
        if held_out is not None:
            row["validation_loss"] = _scalar(loss_fn(prediction, Y))
    if metric is not None:
        row["metric"] = float(metric(prediction.numpy(), Y))
    return row


class _CtrlC:
    """Inside `with ctrl_c:` an interrupt waits for the end of the block: a step is taken whole or not at all."""

    def __init__(self) -> None:
        self.held = False
        self.waiting: tuple | None = None

    def __enter__(self) -> None:
        self.held = True

    def __exit__(self, *exc: object) -> None:
        self.held = False
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            self.handler(*waiting)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Stand between the signal and the handler that was there before; only the main thread gets signals."""
        self.handler: Any = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(self.handler):
            yield
            return
        signal.signal(signal.SIGINT, self._receive)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, self.handler)

    def _receive(self, *signal_and_frame: Any) -> None:
        if self.held:
            self.waiting = signal_and_frame
        else:
            self.handler(*signal_and_frame)


@contextlib.contextmanager
def _restoring(optimizer: Any, modules: list[Module]) -> Iterator[None]:
    """Put learning rates and modes back at the end."""
    rates, modes = [group["lr"] for group in optimizer.param_groups], [module.training for module in modules]
    try:
        yield
    finally:
        _set_lr(optimizer, rates, 1)
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def _set_mode(modules: list[Module], training: bool) -> None:
    for module in modules:
        module.training = training


def _set_lr(optimizer: Any, initial: list[float], factor: Any) -> None:
    if not (isinstance(factor, Real) and math.isfinite(factor) and float(factor) >= 0):
        raise ValueError(f"fit: schedule must return a factor, a finite number of at least 0, not {factor!r}")
    for group, lr in zip(optimizer.param_groups, initial, strict=True):
        group["lr"] = lr * float(factor)


# ---- the arguments -------------------------------------------------------------------------------------------------


def _pair(what: str, pair: Any) -> tuple[Array, Array]:
    parts = tuple(pair) if isinstance(pair, (tuple, list, data.Dataset)) else ()
    if len(parts) != 2:
        raise TypeError(f"fit: {what} must be a pair (X, Y) of arrays, not {type(pair).__name__}")
    X, Y = (data.samples_of(f"fit: {name} of {what}", part) for name, part in zip("XY", parts, strict=True))
    for name, array in (("X", X), ("Y", Y)):
        if not np.isfinite(array).all():
            sample = int(np.argwhere(~np.isfinite(array))[0][0])
            raise ValueError(f"fit: {name} of {what} is not finite in sample {sample}; clean the data first")
    if len(X) != len(Y):
        raise ValueError(
            f"fit: {what} X {X.shape} and Y {Y.shape} have {len(X)} and {len(Y)} samples; they must "
            f"agree{data.columns(parts[0])}"
        )
    if len(X) == 0:
        raise ValueError(f"fit: no samples in {what}: X has shape {X.shape}")
    return X, Y


def _count(what: str, n: Any) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise TypeError(f"{what} must be a positive integer, not {n!r}")
    if n < 1:
        raise ValueError(f"{what} must be at least 1, not {n}")
    return int(n)


def _rules(stop: Any) -> list[Stop]:
    rules = [] if stop is None else list(stop) if isinstance(stop, (list, tuple)) else [stop]
    for rule in rules:
        if not callable(rule) or isinstance(rule, type):
            raise TypeError(f"fit: stop takes mg.Convergence(...) or a function of the history, not {rule!r}")
    return rules


def _check_optimizer(model: Any, optimizer: Any) -> None:
    """Catch an optimizer made for another model: training would run, and change nothing."""
    if not hasattr(optimizer, "param_groups") or isinstance(optimizer, type):
        raise TypeError(f"fit: optimizer must be one of mg.optim's, made of model.parameters(), not {optimizer!r}")
    if isinstance(model, Module):
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if not any(id(parameter) in held for parameter in model.parameters()):
            raise ValueError("fit: the optimizer holds none of the model's parameters; make it from model.parameters()")


def _check_dtypes(optimizer: Any, *arrays: Array) -> None:
    """Catch samples that would widen every result and gradient, or narrow them."""
    dtypes = {parameter.dtype for group in optimizer.param_groups for parameter in group["params"]}
    for array in arrays:
        if array.dtype.kind == "f" and array.dtype not in dtypes:
            needed = " or ".join(map(str, dtypes))
            raise TypeError(f"fit: samples are {array.dtype} and parameters {needed}; .astype makes them agree")


def _saver(path: str | Path, model: Any) -> Callable[[float], None]:
    """A function of the loss that writes the model's state when this one is the lowest so far."""
    if not isinstance(model, Module):
        raise TypeError(f"fit: checkpoint saves the state of a Module, and the model is a {type(model).__name__}")
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"fit: checkpoint {path}: there is no folder {path.parent}")

    best = math.inf

    def save(loss: float) -> None:
        nonlocal best
        if loss < best:
            best = loss
            part = path.with_name(path.name + ".part")  # replaced in one go: whoever reads it finds a whole file
            with open(part, "wb") as file:
                np.savez(file, **model.state_dict())  # type: ignore[arg-type]
            os.replace(part, path)

    return save
