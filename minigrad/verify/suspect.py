"""A wrong gradient by one input, beside the right one: comparisons, and where it is wrong, as a condition in words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

Arrays = list[Any]  # one for each input, or None
NICE = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 6.0)  # numbers that conditions may speak of


class Case(NamedTuple):
    """A wrong gradient: the function, and at several points what was claimed and what is right."""

    f: Callable[..., Any]  # f(*inputs) on tensors or arrays; a scalar
    names: list[str]  # of the inputs
    points: list[Arrays]  # the inputs, in the order in which the claimed gradient was computed at them
    claimed: list[Arrays]  # at each point, the claimed gradient by each input; None for an input without a claim
    right: list[Arrays]  # the same, and right to some 1e-14


class Suspect:
    """The claimed gradient by one input, beside the right one, at every point."""

    def __init__(self, case: Case, i: int) -> None:
        self.case, self.i, self.name = case, i, case.names[i]
        self.d = f"d{self.name}"
        self.x = [np.asarray(point[i], float) for point in case.points]
        self.claimed = [np.asarray(claimed[i]) for claimed in case.claimed]
        self.tolerance = max(1e-9, *(tolerance_of(c) for c in self.claimed))
        self.claimed = [np.asarray(c, float) for c in self.claimed]
        self.right = [np.asarray(right[i], float) for right in case.right]
        self.shape = self.x[0].shape
        self.fitting = all(c.shape == self.shape for c in self.claimed)
        self.values: list[tuple[str, Arrays]] = [(self.name, self.x)]  # what conditions and factors may speak of
        self.numbers: list[float] = []  # that conditions may speak of, beside round ones

    @property
    def is_wrong(self) -> bool:
        return not self.fits(self.right)

    def fits(self, candidate: Any) -> bool:
        """Whether this (one array for each point) is what was claimed."""
        return self.same(self.claimed, candidate)

    def same(self, some: Arrays, others: Arrays) -> bool:
        scale = max(map(largest, others))
        return all(close(a, b, self.tolerance, scale) for a, b in zip(some, others, strict=True))

    def factor(self, candidate: Any) -> float | None:
        """The constant k for which k times this is what was claimed, at all points."""
        return constant_factor(self.claimed, list(candidate), self.tolerance)

    def of(self, what: str, k: int) -> np.ndarray:
        """The entries of the claimed or the right gradient at a point, in one row."""
        return np.ravel(getattr(self, what)[k])

    def may_be(self, candidate: Any, added: bool = False) -> bool:
        """Whether this, at the first point, may be what was claimed (or added), or a multiple of it."""
        if added:
            return np.shape(candidate) == self.shape and bool(np.any(candidate))
        c = self.claimed[0]
        if c.shape != np.shape(candidate) or not np.all(np.isfinite(candidate)):
            return False
        norm = float(np.sum(candidate * candidate))
        k = float(np.sum(c * candidate)) / norm if norm else 0.0
        return close(c, k * candidate, self.tolerance, max(map(largest, self.claimed)))

    def multiple(self, candidate: Arrays, added: bool = False) -> float | None:
        """1.0 where this is what was claimed (or added), else the constant factor between them, if there is one."""
        if added:
            return 1.0 if self.excess_factor(candidate) is not None else None
        return 1.0 if self.fits(candidate) else self.factor(candidate)

    def excess_factor(self, basis: Arrays) -> float | None:
        """The k with claimed = right + k * basis; digits cancel in that difference."""
        difference = [c - r for c, r in zip(self.claimed, self.right, strict=True)]
        scale = min(largest(d) for d in difference) / max(largest(r) for r in self.right)
        return constant_factor(difference, basis, min(1e-3, 10 * self.tolerance / min(scale, 1)))

    def wrong_entries(self) -> Arrays:
        """At each point, where the claimed gradient is wrong."""
        scale = max(map(largest, self.right))
        return [~near(c, r, self.tolerance, scale) for c, r in zip(self.claimed, self.right, strict=True)]

    def each(self, function: Callable) -> Arrays:
        """A function of the right gradients."""
        return [function(r) for r in self.right]

    def pooled(self, arrays: Arrays) -> np.ndarray:
        """The entries at all points, in one row."""
        return np.concatenate([np.broadcast_to(a, self.shape).ravel() for a in arrays])


def tolerance_of(claimed: np.ndarray) -> float:
    """How far rounding may take a gradient that was computed in this dtype."""
    return {"float32": 2e-4, "float16": 2e-2}.get(claimed.dtype.name, 1e-9)


def close(a: Any, b: Any, tolerance: float, scale: float = 0.0) -> bool:
    """Whether two arrays of one shape are equal but for rounding; nan equals nothing."""
    return a.shape == b.shape and bool(np.all(near(a, b, tolerance, scale)))


def near(a: Any, b: Any, tolerance: float, scale: float = 0.0) -> Any:
    """The same, for each entry; `scale` is how large they may be elsewhere."""
    return np.abs(a - b) <= tolerance * np.abs(b) + 1e-3 * tolerance * largest(b) + 1e-15 * scale


def largest(a: Any) -> float:
    """The largest magnitude in an array, and never 0."""
    return float(np.max(np.abs(a), initial=1e-300))


def constant_factor(claimed: Arrays, candidate: Arrays, tolerance: float) -> float | None:
    """The k with claimed = k * candidate, from three numbers on (fewer would fit by chance)."""
    if any(c.shape != np.shape(v) for c, v in zip(claimed, candidate, strict=False)):
        return None
    c, v = (np.concatenate([np.ravel(a) for a in arrays]) for arrays in (claimed, candidate))
    norm = v @ v
    if np.count_nonzero(v) < 3 or not np.isfinite(norm):
        return None
    k = float(c @ v / norm)
    if not np.isfinite(k) or k == 0:
        return None
    scale = abs(k) * max(map(largest, candidate))
    return k if all(close(a, k * b, tolerance, scale) for a, b in zip(claimed, candidate, strict=True)) else None


# ---- conditions -----------------------------------------------------------------------------------------------------


def condition(s: Suspect, wrong: Arrays, strict: bool = True) -> str:
    """A condition in words that holds in just those entries, "" if none is found."""
    marked = s.pooled(wrong)
    if marked.all() or not marked.any():
        return ""
    lasting = len(wrong) > 2 and all(np.array_equal(mask, wrong[0]) for mask in wrong)  # by index, and not by value?
    for name, v in s.values:
        if not spreads(v[0], s.shape) or (lasting and not all(np.array_equal(a, v[0]) for a in v)):
            continue
        entries = s.pooled(v).astype(float)
        inside, outside = entries[marked], entries[~marked]
        equal = [f"{name} = {c:g}" for c in NICE if np.all(inside == c) and np.all(outside != c)]
        times = entries.size // sum(map(np.size, v))  # that each value is repeated, where it was broadcast
        ways = math.comb(entries.size // times, inside.size // times)  # to mark so many, by chance
        enough = ways >= (3000 if strict and v is not s.x else 50)
        found = equal or (list(relations(name, inside, outside, s.numbers)) if enough else [])
        if found:
            return found[0]
    return ""


def relations(name: str, inside: np.ndarray, outside: np.ndarray, numbers: list[float]) -> Iterator[str]:
    """Comparisons with round numbers, or the function's own, that tell the values inside from those outside."""
    for text, a, b in ((name, inside, outside), (f"|{name}|", np.abs(inside), np.abs(outside))):
        for c in (*NICE, *numbers):
            if a.max() <= c <= b.min() and a.max() < b.min():
                yield f"{text} < {c:g}"
            if b.max() <= c <= a.min() and b.max() < a.min():
                yield f"{text} > {c:g}"
    for low, high in itertools.combinations(sorted(NICE), 2):
        between = (outside > low) & (outside < high)
        if low <= inside.min() and inside.max() <= high and not between.any():
            yield f"{low:g} < {name} < {high:g}"


def spreads(v: Any, shape: tuple[int, ...]) -> bool:
    """Whether an array broadcasts to this shape."""
    try:
        return np.broadcast_shapes(np.shape(v), shape) == shape
    except ValueError:
        return False
