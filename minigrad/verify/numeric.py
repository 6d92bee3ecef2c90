"""Is a gradient right, by numbers alone? For what symbols cannot carry: nets too large, other libraries, foreign code.

A gradient is refuted only where it lies outside several times the error of the slopes that were measured (`slopes.py`),
on two ladders; what the data cannot tell is called undecided.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .prove import AGREES, REFUTED, UNDECIDED
from .slopes import (
    NODES,
    NOISE,
    SAFE,
    SPACINGS,
    Estimate,
    Phi,
    as_array,
    complex_step_beside,
    derivative,
    number,
    slope,
    spread,
)  # fmt: skip

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
    found = complex_step_beside(at.point.f, list(map(_copied, at.point.values)), direction, measured.found)
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
