"""Is a gradient right, by numbers alone? For what symbols cannot carry: nets too large, other libraries, foreign code.

Everybody who compares a gradient with finite differences has to choose a step. Too large, and the curvature of the
function looks like an error; too small, and rounding does. Here nobody chooses. A ladder of steps is climbed from the
finest one up, the rounding noise of the function is measured, and every estimate comes with an error that holds the
noise and the disagreement between steps. A gradient is refuted only where it lies outside several times that error, on
two ladders; what the data cannot tell is called undecided.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..tensor import Tensor
from .prove import AGREES, REFUTED, UNDECIDED

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
    return _complex_step(f, inputs, direction, derivative(_along(f, inputs, direction)))


def _complex_step(f: Callable, inputs: Sequence[Any], direction: Sequence[Any], found: Estimate) -> float | None:
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


# ---- a whole gradient ----------------------------------------------------------------------------------------------

SMALL = 64  # up to so many elements, each is looked at by itself
GROUPS = 8  # of like elements, in larger inputs
VISIBLE = 1e6  # a slope that is not seen is wrong only if it would change f by so many times the noise
TELLING = 1e-2  # an estimate tells nothing if its error is more than this part of what is estimated


@dataclass(frozen=True)
class NumericResult:
    """What the numbers say of the gradient by one input.

    `verdict` is "agrees", "refuted" or "undecided", and `note` says how thoroughly, or why. If it agrees, so many
    `digits` are confirmed in whatever was measured worst. If it is refuted, then at the inputs `at`, in the element
    `index`: `claimed` stands there, and the estimate is `right`, give or take `error`. With `index` None the two are
    slopes along a direction.
    """

    argnum: int
    verdict: str
    note: str = ""
    digits: int = 0
    at: tuple = ()
    index: tuple[int, ...] | None = None
    claimed: float = math.nan
    right: float = math.nan
    error: float = math.nan


def check(
    f: Callable,
    gradients: Callable,
    inputs: Sequence[Any],
    argnums: Sequence[int] | None = None,
    *,
    seed: int = 0,
    seconds: float = 20.0,
) -> list[NumericResult]:
    """Compare a claimed gradient with the function itself, by numbers: one result for each input looked at.

    f takes the inputs and returns one number; gradients takes them and returns one array for each of the argnums (for
    each floating point input, if None), or None for one that is not claimed. Both are called often, with copies.
    Inputs of less than double precision are handed over in double precision, if f and gradients take them so.

    What is compared: at the given point every element of small inputs, and groups of elements of like size in large
    ones (a large gradient does not hide a small one); directions through all elements; the same at two points near by,
    where no sign differs, since zeros, ones and equal inputs hide mistakes. A direction that disagrees is halved until
    one element is left. `seconds` bounds the time: what was not looked at by then is mentioned.
    """
    examples = [np.array(x) if isinstance(x, float | np.ndarray | np.generic) else x for x in inputs]
    if argnums is None:
        argnums = [i for i, x in enumerate(examples) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
    with np.errstate(all="ignore"):
        examples, trouble = _in_full_precision(f, gradients, examples)
        if trouble:
            return [NumericResult(n, UNDECIDED, trouble) for n in argnums]
        rng = np.random.default_rng(seed)
        until = time.monotonic() + seconds
        points = _points(_Point(f, gradients, examples, argnums, until), rng)
        results = []
        for i, n in enumerate(argnums):
            now = time.monotonic()
            for point in points:  # an equal share of what is left, so that a large input leaves time for the others
                point.until = now + (until - now) / (len(argnums) - i)
            results.append(_check_input(points, i, n, rng))
        return results


def _in_full_precision(f: Callable, gradients: Callable, examples: list) -> tuple[list, str]:
    """The examples in double precision, or as they are if the functions refuse that; and what stands in the way."""
    floats = [isinstance(x, np.ndarray) and x.dtype.kind == "f" for x in examples]
    wide = [x.astype(np.float64) if is_float else x for x, is_float in zip(examples, floats, strict=True)]
    trouble = ""
    for values in (wide, examples):
        try:
            y, again = (as_array(f(*map(_copied, values))) for _ in range(2))
            gradients(*map(_copied, values))
        except Exception as error:  # the user's, as when another library has weights in single precision
            trouble = f"it fails at the given inputs: {type(error).__name__}: {str(error)[:200]}"
            continue
        first, second = number(y)[0], number(again)[0]
        if np.size(y) != 1:
            return values, f"it returns an array of shape {np.shape(y)}, and only one number has a gradient"
        if np.asarray(y).dtype.kind not in "f":
            return values, f"it returns {np.asarray(y).dtype}, and floating point numbers are needed"
        if not math.isfinite(first):
            return values, f"it returns {first} at the given inputs"
        if abs(first - second) > 1e-4 * max(abs(first), abs(second)):
            return values, f"called twice, it returned {first:.6g} and {second:.6g}: does it depend on random numbers?"
        return values, ""
    return examples, trouble


def _copied(x: Any) -> Any:
    return x.copy() if isinstance(x, np.ndarray) else x


class _Point:
    """Inputs, the gradients claimed there, and the rounding noise in each of their elements."""

    def __init__(self, f: Callable, gradients: Callable, values: list, argnums: Sequence[int], until: float) -> None:
        self.f, self.gradients, self.values, self.argnums, self.until = f, gradients, values, argnums, until
        self.size = abs(number(f(*map(_copied, values)))[0])
        self.claimed = self.stretched(0.0)
        self.noise = [None if g is None else _rounding(g) for g in self.claimed]
        for spacing in SPACINGS[:3]:
            self._measure_noise(spacing)

    @property
    def late(self) -> bool:
        return time.monotonic() > self.until

    def stretched(self, t: float) -> list[np.ndarray | None]:
        """The claimed gradients at inputs that are stretched by 1 + t."""
        values = [(x * (1 + t)).astype(x.dtype) if i in self.argnums else _copied(x) for i, x in enumerate(self.values)]
        return [None if g is None else np.asarray(as_array(g)) for g in self.gradients(*values)]

    def _measure_noise(self, spacing: float) -> None:
        """A gradient has rounding errors of its own, of which it must not be accused."""
        samples = [self.stretched(t * spacing) for t in NODES if not self.late]
        for i, (g, known) in enumerate(zip(self.claimed, self.noise, strict=True)):
            ours = [s[i] for s in samples]
            same = [s.ravel() for s in ours if s is not None and g is not None and s.shape == g.shape]
            if g is not None and known is not None and len(same) == len(NODES) and g.dtype.kind in "fiu":
                self.noise[i] = np.fmax(known, spread(np.array(same, float)).reshape(g.shape))

    def along(self, n: int, v: np.ndarray) -> Phi:
        """f along direction v of input n; it fails when time is up."""
        x = self.values[n]

        def phi(h: float) -> Any:
            if self.late:
                raise TimeoutError
            new = list(map(_copied, self.values))
            new[n] = np.asarray(x + h * v).astype(x.dtype)
            return self.f(*new)

        return phi


def _rounding(g: np.ndarray) -> np.ndarray:
    return np.abs(g).astype(np.float64) * (np.finfo(g.dtype).eps if g.dtype.kind == "f" else 2.0**-52)


def _points(given: _Point, rng: np.random.Generator) -> list[_Point]:
    """The given point and two near by: one where every input is scaled, one where something is added."""

    def scaled(x: np.ndarray) -> np.ndarray:
        return np.where(x == 0, 0.1 * typical(x) * rng.uniform(-1, 1, x.shape), x * rng.uniform(0.7, 1.3, x.shape))

    def moved(x: np.ndarray) -> np.ndarray:
        new = x + 0.2 * typical(x) * rng.uniform(-1, 1, x.shape)
        return np.where(x * new < 0, x / 2, new)  # nothing changes its sign, so what was positive stays so

    points = [given]
    for change in (scaled, moved):
        pairs = enumerate(given.values)
        values = [np.asarray(change(x)).astype(x.dtype) if i in given.argnums else x for i, x in pairs]
        try:
            points.append(_Point(given.f, given.gradients, values, given.argnums, given.until))
        except Exception:  # the point lies outside the domain
            continue
    return points


def typical(x: np.ndarray) -> float:
    """A number of the size of the elements: the median of those that are not zero, or 1."""
    sizes = np.abs(x[(x != 0) & np.isfinite(x)])
    return float(np.median(sizes)) if sizes.size else 1.0


@dataclass
class _Measured:
    """The slope along one direction: estimated and claimed, and how far apart they may be."""

    found: Estimate
    claimed: float
    movement: float  # of f, by the claim, when no element moves further than its own size
    rounding: float  # in the claim
    scale: float  # of the terms that make up the slope
    direction: np.ndarray

    @property
    def drowned(self) -> bool:
        """Whether f does not move, and what the claim says that it moves by is not far above the noise either.

        A function may go up and down by less than its noise within a short distance, and has a slope nevertheless.
        """
        return abs(self.found.value) <= SAFE * self.found.error and self.movement < VISIBLE * self.found.noise

    @property
    def excess(self) -> float:
        """How far the claim is outside: above 1 it is."""
        if self.drowned:
            return 0.0
        allowed = SAFE * self.found.error + self.rounding
        gap = abs(self.claimed - self.found.value)
        return gap / allowed if allowed else (math.inf if gap else 0.0)

    @property
    def part(self) -> float:
        """How much of the slope is uncertain; more than all of it where nothing was measured."""
        if self.drowned and self.claimed:
            return math.inf
        doubt = max(self.found.error + self.rounding, abs(self.claimed - self.found.value))
        return doubt / self.scale if self.scale and math.isfinite(doubt) else (math.inf if doubt else 0.0)


class _Input:
    """One input at one point: slopes along its directions, claimed and estimated."""

    def __init__(self, point: _Point, i: int, n: int) -> None:
        self.point, self.n = point, n
        self.x = point.values[n]
        claimed, noise = point.claimed[i], point.noise[i]
        assert claimed is not None
        assert noise is not None
        self.g, self.noise = claimed.astype(np.float64), noise
        sizes = np.abs(self.x)
        self.typical = typical(self.x)
        self.own = np.where(sizes == 0, self.typical, sizes).astype(np.float64)  # the size of each element
        terms = np.abs(self.g * self.own)
        self.largest = float(np.max(terms, initial=0.0, where=np.isfinite(terms)))

    def measure(self, v: np.ndarray, shift: float = 1.0) -> _Measured:
        used = v != 0
        terms = self.g[used] * v[used]
        # Zero is confirmed by an estimate that is nothing beside the largest element, or beside f if all are zero.
        scale = float(np.abs(terms).sum()) or 1e-3 * self.largest or 1e-3 * self.point.size
        rounding = 2 * NOISE * float((self.noise[used] * np.abs(v[used])).sum())
        # Elements that are tiny by themselves may be steps of a function whose scale is 1, or that of their neighbours.
        reach = max(1.0, self.typical) / float(np.max(np.abs(v), initial=0.0) or 1.0)
        found = derivative(self.point.along(self.n, v), shift, reach)
        if math.isfinite(found.value):
            scale = max(scale, abs(found.value))
        movement = float(np.abs(self.g[used] * np.minimum(np.abs(v), self.own)[used]).sum())
        return _Measured(found, float(terms.sum()), movement, rounding, scale, v)

    def unit(self, j: int) -> np.ndarray:
        """The direction of one element, given by its place in the flat array."""
        v = np.zeros(self.x.size)
        v[j] = self.own.ravel()[j]
        return v.reshape(self.x.shape)

    def random(self, rng: np.random.Generator, among: np.ndarray) -> np.ndarray:
        """A direction through these elements, each moved by its own size, but no two by the same part of it.

        (By one common size, small elements would move where large ones, rounded to a coarser grid, stand still.)
        """
        v = np.zeros(self.x.size)
        weights = rng.uniform(0.5, 1, among.size) * rng.choice([-1.0, 1.0], among.size)
        v[among] = weights * self.own.ravel()[among]
        return v.reshape(self.x.shape)

    def directions(self, rng: np.random.Generator, thorough: bool) -> list[np.ndarray]:
        """What to look at: everything at once, twice; then the parts."""
        finite = np.flatnonzero(np.isfinite(self.g))
        whole = [self.random(rng, finite), self.random(rng, finite)]
        if not thorough:
            return whole
        if self.x.size <= SMALL:
            return whole + [self.unit(int(j)) for j in finite]
        order = finite[np.argsort(np.abs(self.g * self.own).ravel()[finite])]
        groups = [g for g in np.array_split(order, GROUPS) if g.size]
        singles = [*order[-2:], *order[:2], *rng.choice(order, 4)] if order.size else []
        return whole + [self.random(rng, g) for g in groups] + [self.unit(int(j)) for j in singles]


def _check_input(points: list[_Point], i: int, n: int, rng: np.random.Generator) -> NumericResult:
    """The gradient by input n, the i-th of those looked at, at all points."""
    given = points[0]
    x, g = given.values[n], given.claimed[i]
    if g is None:
        return NumericResult(n, UNDECIDED, "no gradient is claimed")
    if g.shape != x.shape:
        note = f"the gradient has shape {g.shape}, and the input {x.shape}"
        return NumericResult(n, REFUTED, note, at=tuple(given.values))
    if g.dtype.kind not in "fiub":
        return NumericResult(n, REFUTED, f"the gradient has dtype {g.dtype}", at=tuple(given.values))
    if not x.size:
        return NumericResult(n, AGREES, "there are no elements", digits=15)
    looked: list[_Measured] = []
    late, complex_digits = False, 0
    for point in points:
        if (claimed := point.claimed[i]) is None or claimed.shape != x.shape:
            continue
        at = _Input(point, i, n)
        wrong = _not_finite(at)
        for v in [] if wrong else at.directions(rng, thorough=point is given):
            measured = at.measure(v)
            if not looked:
                complex_digits = _complex_digits(at, measured)
            if late := point.late:
                break
            looked.append(measured)
            if measured.excess > 1 and _again(at, measured):
                wrong = _culprit(at, measured)
                if wrong:
                    break
        if wrong:
            return wrong
    found = _summary(n, looked, given, late)
    if found.verdict == AGREES and complex_digits > found.digits:
        found = replace(found, note=f"{found.note}; to {complex_digits} by a complex step in one direction")
    return found


def _complex_digits(at: _Input, measured: _Measured) -> int:
    """To how many digits a step into the complex plane confirms the claim along a direction; 0 where it does not."""
    direction: list[Any] = [None] * len(at.point.values)
    direction[at.n] = measured.direction
    found = _complex_step(at.point.f, list(map(_copied, at.point.values)), direction, measured.found)
    if found is None or not measured.scale:
        return 0
    part = abs(found - measured.claimed) / measured.scale
    return max(0, min(15, int(-math.log10(part)))) if part else 15


def _again(at: _Input, measured: _Measured) -> bool:
    """Whether other steps say the same: the claim is outside there too, and the two estimates are the same."""
    other = at.measure(measured.direction, shift=0.61)
    apart = abs(other.found.value - measured.found.value)
    return other.excess > 1 and apart <= SAFE * (other.found.error + measured.found.error)


def _culprit(at: _Input, measured: _Measured) -> NumericResult | None:
    """The element that is wrong: the direction is halved, and the half that disagrees more is kept.

    None where a half lies on a kink: then so does the whole, and by chance its two slopes were about the same.
    """
    best = measured
    while np.count_nonzero(best.direction) > 1:
        places = np.flatnonzero(best.direction)
        halves = []
        for part in np.array_split(places, 2):
            v = np.zeros(at.x.size)
            v[part] = best.direction.ravel()[part]
            halves.append(at.measure(v.reshape(at.x.shape)))
        worse = max(halves, key=lambda m: m.excess)
        if not (worse.excess > 1 and _again(at, worse)):
            if not all(math.isfinite(half.found.error) for half in halves):
                return None
            break  # many errors, each too small to be seen by itself
        best = worse
    places = np.flatnonzero(best.direction)
    values = tuple(at.point.values)
    if len(places) > 1:
        note = f"the slope along a direction through {len(places)} elements is wrong"
        found = best.found
        return NumericResult(at.n, REFUTED, note, 0, values, None, best.claimed, found.value, found.error)
    j = int(places[0])
    step = float(best.direction.ravel()[j])
    order = slope(at.point.along(at.n, best.direction), best.claimed).order
    note = f"the Taylor test gives {order:.1f}, where 2 would be right" if math.isfinite(order) else ""
    return NumericResult(
        at.n, REFUTED, note, 0, values, tuple(map(int, np.unravel_index(j, at.x.shape))),
        float(at.g.ravel()[j]), best.found.value / step, best.found.error / abs(step),
    )  # fmt: skip


def _not_finite(at: _Input) -> NumericResult | None:
    """An element of the claim that is nan or infinite where there is a derivative."""
    for j in np.flatnonzero(~np.isfinite(at.g))[:8]:
        v = at.unit(int(j))
        found = derivative(at.point.along(at.n, v))
        step = float(v.ravel()[j])
        if found.error < TELLING * max(abs(found.value), at.point.size):
            index = tuple(map(int, np.unravel_index(j, at.x.shape)))
            claimed, right = float(at.g.ravel()[j]), found.value / step
            values = tuple(at.point.values)
            return NumericResult(at.n, REFUTED, "", 0, values, index, claimed, right, found.error / abs(step))
    return None


def _summary(n: int, looked: list[_Measured], given: _Point, late: bool) -> NumericResult:
    """What directions that do not disagree amount to."""
    telling = [m for m in looked if m.part <= TELLING]
    kinks = sum(m.found.kink for m in looked)
    covered = np.zeros(given.values[n].shape, bool)
    for m in telling:
        covered |= m.direction != 0
    missed = len(looked) - len(telling)
    why = f"{kinks} of {len(looked)} slopes lie on a kink" if kinks else ""
    if missed > kinks:
        why += f"{' and ' if kinks else ''}{missed - kinks} of {len(looked)} are lost in rounding"
    if late:
        why += f"{'; ' if why else ''}time was up"
    if not covered.all():
        blind = int((~covered).sum())
        return NumericResult(n, UNDECIDED, f"{blind} of {covered.size} elements could not be measured: {why}")
    worst = max((m.part for m in telling), default=0.0)
    digits = min(15, int(-math.log10(worst))) if worst else 15
    slopes = "slope" if len(telling) == 1 else "slopes"
    note = f"{len(telling)} {slopes}, to {digits} digits" + (f"; {why}" if why else "")
    return NumericResult(n, AGREES, note, digits)
