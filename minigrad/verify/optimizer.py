"""Does an optimizer's machine code compute its formula? Shown by running it: nothing but rounding errors may differ.

The formula is run on exact numbers that carry along how far rounding may lead away from them: a running error analysis
(Wilkinson 1963; Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.3). Each operation adds one
rounding of its result to what it passes on of the errors of its operands. What is the same for all parameters counts
as computed in float64 and rounded to the parameters' type once.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any, NamedTuple

import mpmath
import numpy as np

from ..names import known
from ..optim.equations import Formula
from ..optim.kernel import read
from ..optim.optimizer import SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop
from ..tensor import Tensor
from .prove import AGREES, REFUTED
from .report import Counterexample, Entry, Report
from .ulp import DTYPES, ulps

# The class and the options that select each rule; the numbers are as crooked as those of a search for good ones.
SELECTED: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "sgd": (SGD, {"lr": 0.0123}),
    "momentum": (SGD, {"lr": 0.0123, "momentum": 0.87}),
    "dampened_momentum": (SGD, {"lr": 0.0123, "momentum": 0.87, "dampening": 0.23}),
    "nesterov": (SGD, {"lr": 0.0123, "momentum": 0.87, "nesterov": True}),
    "adagrad": (Adagrad, {"lr": 0.0123, "lr_decay": 0.017, "initial_accumulator_value": 0.19}),
    "adadelta": (Adadelta, {"lr": 0.83}),
    "rmsprop": (RMSprop, {"lr": 0.0123}),
    "rmsprop_momentum": (RMSprop, {"lr": 0.0123, "momentum": 0.87}),
    "rmsprop_centered": (RMSprop, {"lr": 0.0123, "centered": True}),
    "rmsprop_centered_momentum": (RMSprop, {"lr": 0.0123, "centered": True, "momentum": 0.87}),
    "adam": (Adam, {"lr": 0.0123}),
    "adamw": (AdamW, {"lr": 0.0123}),
}
SIZE = 13  # parameters: a few that are computed side by side, and a rest
LATE = 1000  # steps before a second series starts, where the corrections for the start at zero have faded
BITS = 300
COLUMNS = {"optimizer": "name", "formula": "formula", "verdict": "verdict"}


def optimizer(
    name: str | Iterable[str] | type[Optimizer] | None = None, steps: int = 5, formula: Callable | None = None,
    seed: int = 0,
) -> Report:  # fmt: skip
    """Compare steps of the compiled optimizers, state included, with their formulas in exact arithmetic.

    `name` is that of a rule, as for `mg.optim.formula`, or several (None for all), or an `Optimizer` class of your own,
    which is made with its defaults. Random parameters and gradients of many sizes (and zeros) take `steps` steps from
    the start, and two from step 1000 on, with and without weight decay, in float64 and in float32. Every step is
    compared with the rule (or with `formula`, a function written as the rules are), computed from the state before
    it in 90 digits, and must be as near to that as rounding errors allow. What is measured is the machine code that
    trains, so the verdict is "agrees" at best: it was run, not proved. The columns give the largest error in ulp of
    the result, and the largest share of what rounding allows, in which cancellation counts.

    Raises ValueError for an unknown name, with the nearest, and for a formula with another state; TypeError for what is
    neither a name nor a class.

    >>> import minigrad as mg
    >>> print(mg.verify.optimizer("momentum"))
    optimizer  formula                         dtype    error, ulp  of allowed  verdict
    ---------  ------------------------------  -------  ----------  ----------  -------
    momentum   theta_t = theta_{t-1} - lr*b_t  float64  ...         ...%        agrees
    momentum   theta_t = theta_{t-1} - lr*b_t  float32  ...         ...%        agrees
    0 proved, 2 agrees, 0 refuted, 0 undecided
    """
    if isinstance(name, type) and issubclass(name, Optimizer):
        chosen: list[tuple[type[Optimizer], dict[str, Any]]] = [(name, {})]
    elif name is None or isinstance(name, Iterable):
        names = SELECTED if name is None else [name] if isinstance(name, str) else list(name)
        chosen = [SELECTED[known("optimizer", n, SELECTED)] for n in names]
    else:
        raise TypeError(f"optimizer: give the name of a rule, such as 'adam', or an Optimizer class, not {name!r}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"optimizer: steps must be a whole number from 1 up, not {steps!r}")
    entries = [examine(kind, options, formula, dtype, steps, seed) for kind, options in chosen for dtype in DTYPES]
    return Report(entries, columns=COLUMNS)


# ---- steps of the machine code -------------------------------------------------------------------------------------


class Step(NamedTuple):
    """One step of an optimizer: all that went in, and what came out, by name."""

    options: dict[str, Any]  # of the class
    scalars: dict[str, float]  # of the rule, `t` among them
    before: dict[str, np.ndarray]  # p, g and the state
    after: dict[str, np.ndarray]  # p and the state


def series(
    kind: type[Optimizer], options: dict[str, Any], dtype: np.dtype, steps: int, rng: np.random.Generator
) -> Iterator[Step]:
    """Steps from the start, and from a late one on; each parameter and its gradients keep to sizes of their own."""
    size = 10.0 ** rng.integers(*{"float64": (-12, 12), "float32": (-6, 6)}[dtype.name], (2, SIZE))
    p = Tensor((size[0] * rng.standard_normal(SIZE)).astype(dtype), True)
    run = kind([p], **options)
    for i in range(steps + 2):
        if i == steps:
            late = run.state_dict()
            late["state"][0]["step"] = LATE
            run.load_state_dict(late)
        g = size[1] * rng.standard_normal(SIZE)
        g[i % SIZE] = 0
        yield step(run, options, p, g.astype(dtype))


def step(run: Optimizer, options: dict[str, Any], p: Tensor, g: np.ndarray) -> Step:
    """Let the optimizer take a step."""
    group = run.param_groups[0]
    start = {name: np.full(p.shape, run.initial(group, name), p.dtype) for name in read(run.rule(group)).state}
    before = run.state_dict()["state"].get(0, {"step": 0, **start})
    t, old = before.pop("step"), {"p": p.numpy(), "g": g, **before}
    p.grad = Tensor(g.copy())
    run.step()
    after = run.state_dict()["state"][0]
    after.pop("step")
    return Step(options, {**run.scalars(group), "t": t + 1}, old, {"p": p.numpy(), **after})


# ---- beside the formula --------------------------------------------------------------------------------------------


def examine(
    kind: type[Optimizer], options: dict[str, Any], formula: Callable | None, dtype: np.dtype, steps: int, seed: int
) -> Entry:
    """The entry of one optimizer and dtype: its worst element."""
    rng = np.random.default_rng(seed)
    decays: list[dict] = [{"weight_decay": 0.0}, {"weight_decay": 0.037}]
    if "weight_decay" not in inspect.signature(kind).parameters:
        decays = [{}]
    worst, error = None, 0.0
    for decay in decays:
        given = {**options, **decay}
        own = kind.rule({**kind([Tensor(np.zeros(1), True)], **given).param_groups[0]})
        rule = formula or own
        check_formula(rule, own)
        for taken in series(kind, given, dtype, steps, rng):
            for found in compare(rule, taken, dtype):
                error = max(error, found.ulp)
                worst = found if worst is None or not found.share <= worst.share else worst
    assert worst is not None
    extra = {"dtype": str(dtype), "error, ulp": f"{error:.2g}", "of allowed": f"{worst.share:.0%}"}
    entry = Entry(read(own).name, AGREES, str(Formula(rule)).splitlines()[-1], extra=extra)
    if not worst.share <= 1:
        entry.verdict, entry.counterexample = REFUTED, counterexample(kind, worst, dtype)
    return entry


def check_formula(formula: Callable, own: Callable) -> None:
    """Raise ValueError unless the formula takes what the optimizer's own rule takes."""
    ours, theirs = read(own), read(formula)
    missing = sorted(set(theirs.scalars) - set(ours.scalars) - {"t"})
    if ours.state != theirs.state or missing:
        has = f"state {', '.join(ours.state) or 'none'} and hyperparameters {', '.join(ours.hyper)}"
        takes = f"state {', '.join(theirs.state) or 'none'} and hyperparameters {', '.join(theirs.hyper)}"
        raise ValueError(f"optimizer: {ours.name} has {has}, and the formula {theirs.name} {takes}")


class Found(NamedTuple):
    """One result of one step: by how much it is wrong, in ulp and as a share of what rounding allows."""

    step: Step
    element: int
    name: str
    right: float
    ulp: float
    share: float


def compare(rule: Callable, taken: Step, dtype: np.dtype) -> Iterator[Found]:
    """Every result of a step beside the rule's."""
    exactly = FunctionType(rule.__code__, {**rule.__globals__, "sqrt": sqrt}, closure=rule.__closure__)
    reading = read(rule)
    with mpmath.workprec(BITS):
        scalars = {name: Rounded(mpmath.mpf(taken.scalars[name])) for name in reading.scalars}
        for i in range(len(taken.before["p"])):
            inputs = {k: Rounded(mpmath.mpf(float(v[i])), unit=unit(dtype)) for k, v in taken.before.items()}
            new = exactly(**inputs, **scalars)
            for name, right in zip(("p", *reading.state), new if reading.state else [new], strict=True):
                ours = float(taken.after[name][i])
                off = abs(mpmath.mpf(ours) - right.value)
                share = float(off / right.bound) if right.bound else (0.0 if off == 0 else math.inf)
                if mpmath.isinf(right.bound):  # the formula divides by what may be nothing: all is right
                    share = 0.0
                yield Found(taken, i, name, float(right.value), ulps(ours, right.value, dtype), share)


def unit(dtype: np.dtype) -> float:
    """The largest relative error of rounding to this type."""
    return float(np.finfo(dtype).eps) / 2


SMALLEST = {unit(dtype): float(np.finfo(dtype).smallest_subnormal) for dtype in DTYPES}


@dataclass
class Rounded:
    """An exact number, and how far one that was computed with rounding errors may be from it.

    `unit` is that of the type it is computed in: an operation is in the less precise type of its operands, and the
    other operand is rounded to that first. Quotients and roots may take two roundings (a product with the reciprocal,
    a step of Newton's method), and all else one or none, where operations are fused.
    """

    value: Any
    bound: Any = 0
    unit: float = unit(np.dtype("float64"))

    def join(self, other: Any) -> tuple[Rounded, Rounded, float]:
        """Both operands in the type that they meet in."""
        other = other if isinstance(other, Rounded) else Rounded(mpmath.mpf(other))
        coarse = max(self.unit, other.unit)
        return self.cast(coarse), other.cast(coarse), coarse

    def cast(self, coarse: float) -> Rounded:
        if self.unit == coarse or (not self.bound and mpmath.mpf(float(np.float32(self.value))) == self.value):
            return self
        return Rounded(self.value, self.bound + coarse * abs(self.value), coarse)

    @staticmethod
    def result(value: Any, spread: Any, u: float, roundings: int = 1) -> Rounded:
        return Rounded(value, spread + roundings * (u * abs(value) + SMALLEST[u]), u)

    def __add__(self, other: Any) -> Rounded:
        a, b, u = self.join(other)
        return self.result(a.value + b.value, a.bound + b.bound, u)

    def __mul__(self, other: Any) -> Rounded:
        a, b, u = self.join(other)
        spread = abs(a.value) * b.bound + abs(b.value) * a.bound + a.bound * b.bound
        return self.result(a.value * b.value, spread, u)

    def __truediv__(self, other: Any) -> Rounded:
        a, b, u = self.join(other)
        least = abs(b.value) - b.bound
        if b.value == 0 or least <= 0:
            return Rounded(a.value / b.value if b.value else mpmath.mpf(0), mpmath.inf, u)
        return self.result(a.value / b.value, (abs(a.value / b.value) * b.bound + a.bound) / least, u, 2)

    def __pow__(self, other: Any) -> Rounded:
        a, b, u = self.join(other)
        spread = abs(b.value * a.value ** (b.value - 1)) * a.bound if a.bound else 0
        return self.result(a.value**b.value, spread, u, 2)

    def __neg__(self) -> Rounded:
        return Rounded(-self.value, self.bound, self.unit)

    def __abs__(self) -> Rounded:
        return Rounded(abs(self.value), self.bound, self.unit)

    def __sub__(self, other: Any) -> Rounded:
        return self + -other

    def __rsub__(self, other: Any) -> Rounded:
        return -self + other

    def __rtruediv__(self, other: Any) -> Rounded:
        return Rounded(mpmath.mpf(other)) / self

    __radd__, __rmul__ = __add__, __mul__

    def __lt__(self, other: Any) -> bool:
        return self.value < (other.value if isinstance(other, Rounded) else other)

    def __gt__(self, other: Any) -> bool:
        return self.value > (other.value if isinstance(other, Rounded) else other)


def sqrt(x: Rounded) -> Rounded:
    """The root; near zero, the error under it grows to its root."""
    if x.value < 0:
        return Rounded(mpmath.mpf(0), mpmath.inf, x.unit)
    y, low, high = (mpmath.sqrt(max(z, 0)) for z in (x.value, x.value - x.bound, x.value + x.bound))
    return Rounded.result(y, max(y - low, high - y), x.unit, 2)


# ---- what is wrong -------------------------------------------------------------------------------------------------


class WrongStep(Counterexample):
    """A step that is wrong."""

    def __str__(self) -> str:
        at = ", ".join(f"{name} = {value!r}" for name, value in self.inputs.items())
        sentence = f"the new {self.name} is {self.ours!r}, and {self.right!r} is right, for {at}"
        return f"{sentence}\n  to see it: {self.line}"


def counterexample(kind: type[Optimizer], found: Found, dtype: np.dtype) -> WrongStep:
    """The numbers of one parameter's step, and a line that takes it again."""
    taken, i = found.step, found.element
    before = {name: float(values[i]) for name, values in taken.before.items()}
    t = int(taken.scalars["t"])
    kept = {"step": t - 1, **{name: [value] for name, value in before.items() if name not in ("p", "g")}}
    options = ", ".join(f"{name}={value!r}" for name, value in taken.options.items())
    name = f"mg.optim.{kind.__name__}" if kind.__module__ == Optimizer.__module__ else kind.__name__
    line = "; ".join([
        f"p = mg.tensor([{before['p']!r}], dtype={dtype.name!r}, requires_grad=True)",
        f"o = {name}([p], {options})",
        f"o.load_state_dict({{**o.state_dict(), 'state': {{0: {kept!r}}}}})",
        f"p.grad = mg.tensor([{before['g']!r}], dtype={dtype.name!r})",
        "o.step()",
        "p.data[0]" if found.name == "p" else f"o.state_dict()['state'][0][{found.name!r}][0]",
    ])  # fmt: skip
    ours = float(taken.after[found.name][i])
    return WrongStep({**before, "t": t}, found.name, (i,), ours, found.right, line)
