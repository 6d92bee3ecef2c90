"""The derivative of a function of one number, from its values alone, with an error that can be trusted.

Everybody who compares a gradient with finite differences has to choose a step. Too large, and the curvature of the
function looks like an error; too small, and rounding does. Here nobody chooses. A ladder of steps is climbed from the
finest one up, the rounding noise of the function is measured, and every estimate comes with an error that holds the
noise and the disagreement between steps.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..tensor import Tensor

Phi = Callable[[float], Any]

# The ladder: steps a factor of 4 apart, from 2**-42 (below that the step itself is mostly rounding) to about a third of
# the input. They are no powers of two: x + h is then rounded as it would be in a user's code, in float32 as well, and
# what that costs is measured with the rest.
RATIO = 4
STEPS = [1.40625 * 4.0**k for k in range(-21, 0)]
LARGE = [1.40625 * 4.0**k for k in range(20)]  # for inputs that are tiny beside the scale of the function
SPACINGS = [1.37 * 2.0**k for k in (-44, -32, -20, -8)]  # of the points where noise is measured
# These points, times the spacing: all on one side, since a kink at 0 itself is no noise.
NODES = np.array([0, 1, 2.3, 2.9, 4.2, 4.7, 6.1, 6.5, 7.9])
FIT = np.linalg.qr(np.vander(NODES, 5))[0]  # polynomials of degree 4 on them
NOISE = 5  # an estimate may be off by so many standard deviations of the noise in each value
SAFE = 3  # a claim is outside when it is off by so many times the error
COLUMNS = 6  # of the extrapolation


# ---- noise ---------------------------------------------------------------------------------------------------------


def spread(samples: np.ndarray) -> np.ndarray:
    """The standard deviation of the noise in samples of a smooth function at `NODES` (along the first axis).

    What a polynomial of degree 4 does not fit is noise: so close together, a smooth function is that polynomial. After
    Moré and Wild, Estimating computational noise, 2011, who take differences at equal distances. The distances here are
    unequal, since a line rounded to a grid, sampled in the grid's own rhythm, looks exact.

    >>> bool(spread(np.exp(NODES / 1000)) < 1e-14)
    True
    >>> bool(2e-9 < spread(np.exp(NODES / 1000) + 1e-8 * np.sin(1e6 * NODES)) < 2e-8)
    True
    """
    samples = samples - samples[0]  # exact, and no digits are lost on what they have in common
    left = samples - FIT @ (FIT.T @ samples)
    size = np.max(np.abs(left), axis=0, initial=np.finfo(float).tiny)  # squares of huge or tiny numbers are lost
    return size * np.sqrt(np.sum((left / size) ** 2, axis=0) / (len(NODES) - FIT.shape[1]))


def number(y: Any) -> tuple[float, float]:
    """A result as a float, and the rounding unit of its dtype. Whatever is no single real number becomes nan."""
    y = np.asarray(as_array(y))
    if y.size != 1 or y.dtype.kind not in "fiub":
        return math.nan, 0.0
    return float(y.reshape(())), float(np.finfo(y.dtype).eps if y.dtype.kind == "f" else 2.0**-52)


def as_array(y: Any) -> Any:
    """The array in a tensor, minigrad's or another library's."""
    if isinstance(y, Tensor):
        return y._data
    return y.detach().cpu().numpy() if hasattr(y, "detach") else y


@dataclass
class Ladder:
    """Values of phi at 0 and at both ends of every usable step, finest first, and the noise in each pair."""

    middle: float = math.nan
    unit: float = 0.0  # of rounding, relative
    steps: list[float] = field(default_factory=list)
    plus: list[float] = field(default_factory=list)
    minus: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)


def loudness(at: Callable[[float], tuple[float, float]], middle: float, unit: float) -> float:
    """The noise in phi near 0: the largest found on points of several spacings.

    What is rounded coarsely somewhere inside shows nothing on points closer than its grid. So a coarse spacing counts
    for fine steps too: else one input that moves freely would be taken for all, while the others stand still. (The
    price: what bends within a hundred-thousandth of its input is noise too.) The coarsest look, at which any function
    may bend, is for those that no finer one sees move.
    """
    noise, moved = unit * abs(middle) / 2, False
    for spacing in SPACINGS:
        if moved and spacing == SPACINGS[-1]:
            break
        samples = np.array([middle] + [at(t * spacing)[0] for t in NODES[1:]])
        if not np.isfinite(samples).all():
            break
        moved = moved or bool(np.ptp(samples) > 0)
        noise = max(noise, float(spread(samples)))
    return noise


def climb(phi: Phi, shift: float = 1.0, reach: float = 1.0) -> Ladder:
    """Phi on the ladder, its steps multiplied by `shift`, as far up as it is finite, and not beyond `reach`."""
    middle, unit = _at(phi, 0.0)
    ladder = Ladder(middle, unit)
    if not math.isfinite(middle):
        return ladder
    noise = loudness(lambda h: _at(phi, h), middle, unit)
    for step in [h * shift for h in STEPS + LARGE]:
        if step >= shift and (step > reach or not _worth_going_on(ladder)):
            break
        (plus, _), (minus, _) = _at(phi, step), _at(phi, -step)
        if not (math.isfinite(plus) and math.isfinite(minus)):
            break
        size = max(abs(plus), abs(minus))
        grown = max(1.0, size / abs(middle)) if middle else 1.0  # rounding grows with the values
        ladder.steps.append(step)
        ladder.plus.append(plus)
        ladder.minus.append(minus)
        ladder.noise.append(max(noise * grown, unit * size / 2))
    return ladder


def _at(phi: Phi, h: float) -> tuple[float, float]:
    """Phi at h; nan where it fails, since a step may leave the domain."""
    try:
        with np.errstate(all="ignore"):
            return number(phi(h))
    except Exception:  # whatever the user's function says outside its domain
        return math.nan, 0.0


def _worth_going_on(ladder: Ladder) -> bool:
    """Whether steps larger than the input may still sharpen the estimate."""
    if not ladder.steps:
        return False
    found = _estimate(ladder)
    return not found.kink and math.isfinite(found.error) and found.error > 1e-9 * abs(found.value)


# ---- one derivative ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A derivative, and how far off it may be: infinitely at a kink, where `left` and `right` are the two slopes.

    `noise` is what was found in the function's values.
    """

    value: float
    error: float
    noise: float = 0.0
    kink: bool = False
    left: float = math.nan
    right: float = math.nan


NOTHING = Estimate(math.nan, math.inf)


def derivative(phi: Phi, shift: float = 1.0, reach: float = 1.0) -> Estimate:
    """The derivative of a real function at 0, with an error that can be trusted. There is no step size to choose.

    Central differences on the ladder of steps are extrapolated to step 0 (Richardson 1911; Ridders 1982). Each has
    an interval that holds its rounding noise, which is measured. From the finest step up, an estimate is believed while
    it lies in the intervals of all finer ones (Lepski 1990): a function that oscillates between large steps misleads
    nobody. The error is what noise may do plus the distance to the next finer estimate. Where the left and the right
    slope do not approach each other, there is a kink, and no derivative: the error is infinite. Nothing is asked of phi
    beyond `reach` (or about a third, if that is more); all steps are multiplied by `shift`, for a second opinion.

    >>> found = derivative(lambda h: np.exp(1 + h))
    >>> abs(found.value - np.e) < found.error < 1e-10
    True
    >>> found = derivative(lambda h: abs(h) + 2 * h)
    >>> found.kink, round(found.left, 9), round(found.right, 9)
    (True, 1.0, 3.0)
    """
    with np.errstate(all="ignore"):
        ladder = climb(phi, shift, reach)
        return _estimate(ladder) if ladder.steps else NOTHING


def _estimate(ladder: Ladder) -> Estimate:
    steps, noise = np.array(ladder.steps), np.array(ladder.noise)
    widths = NOISE * noise / steps
    value, error, top = _limit(np.subtract(ladder.plus, ladder.minus) / (2 * steps), widths, 2)
    loudest = float(noise[: top + 1].max())
    if abs(value) <= error and loudest > 1e3 * ladder.unit * max(map(abs, ladder.plus[: top + 1])):
        return NOTHING  # it moves, as much at the finest steps as anywhere, and nowhere in a direction
    jump, doubt, _ = _limit((np.add(ladder.plus, ladder.minus) - 2 * ladder.middle) / steps, 2.5 * widths, 1)
    if not math.isfinite(error + doubt):
        return NOTHING
    if abs(jump) > SAFE * doubt:
        return Estimate(value, math.inf, loudest, True, value - jump / 2, value + jump / 2)
    return Estimate(value, error + max(abs(jump), doubt) / 2, loudest)  # a kink too small to be seen may be there


def _limit(values: np.ndarray, widths: np.ndarray, power: int) -> tuple[float, float, int]:
    """What values on the ladder go to as the step goes to 0, the error of that, and the largest step used for it.

    The values differ from the limit by a series in h**power, h**(power + 2), ...; and by noise, up to the widths.
    """
    best = (math.nan, math.inf, 0)
    for column in range(min(COLUMNS, len(values))):
        if column:  # removes one more term of the series
            factor = float(RATIO) ** (power + 2 * column - 2)
            values = (factor * values[:-1] - values[1:]) / (factor - 1)
            widths = (factor * widths[:-1] + widths[1:]) / (factor - 1)
        for k in range(1, _believed(values, widths)):
            error = 2 * widths[k] + abs(values[k] - values[k - 1])
            if error < best[1]:
                best = float(values[k]), float(error), k + column
    return best


def _believed(values: np.ndarray, widths: np.ndarray) -> int:
    """How many estimates from the finest up lie, within their noise, in the intervals of all finer ones."""
    low = np.maximum.accumulate(values - widths)
    high = np.minimum.accumulate(values + widths)
    apart = np.flatnonzero(low > high)
    return int(apart[0]) if apart.size else len(values)


def complex_step(f: Callable, inputs: Sequence[Any], direction: Sequence[Any]) -> float | None:
    """The derivative of f along a direction by a step into the complex plane, or None where f does not allow that.

    For an analytic f that is real on real numbers, Im f(x + ihv) / h differs from the derivative by O(h**2) and
    subtracts nothing, so h can be so small that the error is rounding alone (Squire and Trapp 1998). An f that
    refuses complex numbers gives None, and so does one that takes them and is not analytic as it is written (abs,
    conj, comparisons): that is seen by comparing with `derivative`. An entry of the direction may be None.

    >>> complex_step(lambda x: (x ** 3).sum(), [np.array([1.0, 2.0])], [np.array([1.0, 0.0])])
    3.0
    >>> complex_step(lambda x: np.abs(x).sum(), [np.array([1.0, 2.0])], [np.array([1.0, 1.0])]) is None
    True
    """
    return complex_step_beside(f, inputs, direction, derivative(_along(f, inputs, direction)))


def complex_step_beside(f: Callable, inputs: Sequence[Any], direction: Sequence[Any], found: Estimate) -> float | None:
    """The same, for a derivative that has been found already."""
    values = []
    for h in (2.0**-70, 2.0**-60):
        arguments = [
            x if v is None else np.asarray(x, float) + 1j * h * np.asarray(v)
            for x, v in zip(inputs, direction, strict=True)
        ]
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                y = np.asarray(as_array(f(*arguments)))
        except Exception:  # a function that was not made for complex numbers, or a warning that is an error
            return None
        if y.size != 1 or y.dtype.kind != "c":
            return None
        values.append(float(y.imag.reshape(())) / h)
    first, second = values
    if not (math.isfinite(first) and abs(first - second) <= 1e-12 * abs(first)):
        return None
    return first if abs(first - found.value) <= SAFE * found.error < math.inf else None


def _along(f: Callable, inputs: Sequence[Any], direction: Sequence[Any]) -> Phi:
    """f along the line from the inputs in the direction."""

    def phi(h: float) -> Any:
        pairs = zip(inputs, direction, strict=True)
        return f(*[x if v is None else (x + h * v).astype(np.asarray(x).dtype) for x, v in pairs])

    return phi


@dataclass(frozen=True)
class Slope:
    """How fast the remainder of the Taylor expansion falls with the step: `order` 2 where the slope is right, else 1.

    `order` is inf where no remainder stands out of the noise, nan where too few do. `error` is the size that an error
    of the claimed slope has if it is one. `steps` and `remainders` are those that stand out of the noise, finest first.
    """

    order: float
    error: float
    steps: tuple[float, ...] = ()
    remainders: tuple[float, ...] = ()

    @property
    def exact(self) -> bool:
        return self.order == math.inf


def slope(phi: Phi, claimed: float, shift: float = 1.0) -> Slope:
    """The Taylor test of a claimed derivative at 0: the order at which |phi(h) - phi(0) - h * claimed| falls.

    A right slope leaves a remainder of order 2 (or more; a linear function none). A wrong one leaves, at small steps,
    the error times h. The order is fitted to the finest three steps whose remainder stands out of the measured noise.

    >>> round(slope(lambda h: np.exp(h), 1.0).order, 1), round(slope(lambda h: np.exp(h), 1.01).order, 1)
    (2.0, 1.0)
    >>> slope(lambda h: 1 + 3 * h, 3.0).exact
    True
    """
    ladder = climb(phi, shift)
    if not ladder.steps:
        return Slope(math.nan, math.inf)
    steps, middle = np.array(ladder.steps), ladder.middle
    right = np.abs(np.array(ladder.plus) - middle - steps * claimed)
    left = np.abs(np.array(ladder.minus) - middle + steps * claimed)
    remainders = np.maximum(right, left)
    noise = 4 * NOISE * np.array(ladder.noise)
    clear = np.flatnonzero(remainders > noise)
    if not clear.size:
        return Slope(math.inf, float((noise / steps).min()))
    steps, remainders = steps[clear], remainders[clear]
    order = math.nan
    if clear.size > 1:
        order = float(np.polyfit(np.log(steps[:3]), np.log(remainders[:3]), 1)[0])
    return Slope(order, float(remainders[0] / steps[0]), tuple(steps.tolist()), tuple(remainders.tolist()))
