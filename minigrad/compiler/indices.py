"""Indices as sums: where an element lies, in terms of the variables of loops.

A place is `constant + sum of coefficient * atom`. An atom is a loop's variable, or source that is computed from some:
a quotient that cannot be simplified, or an index read from an array. Each atom runs from 0 to its size - 1; knowing
this, reshaping an array is arithmetic: (64 i + j) // 64 is i where j < 64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Atom(NamedTuple):
    """A variable, or source that stands for one: it is at least 0 and below `size`."""

    text: str
    size: int
    names: frozenset[str]  # the loops' variables in it

    @property
    def simple(self) -> bool:
        """Whether it is a loop's variable itself."""
        return self.text.isidentifier()


class Place:
    """A whole number that depends on the variables of loops."""

    __slots__ = ("constant", "terms")

    def __init__(self, constant: int = 0, terms: dict[Atom, int] | None = None) -> None:
        self.constant = constant
        self.terms = {a: c for a, c in (terms or {}).items() if c}

    def __add__(self, other: Place | int) -> Place:
        if isinstance(other, int):
            return Place(self.constant + other, self.terms)
        terms = dict(self.terms)
        for atom, c in other.terms.items():
            terms[atom] = terms.get(atom, 0) + c
        return Place(self.constant + other.constant, terms)

    def __mul__(self, n: int) -> Place:
        return Place(self.constant * n, {a: c * n for a, c in self.terms.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and self.constant == other.constant and self.terms == other.terms

    def __hash__(self) -> int:
        return hash((self.constant, frozenset(self.terms.items())))

    def bounds(self) -> tuple[int, int]:
        """The least and the largest value."""
        low = self.constant + sum(c * (a.size - 1) for a, c in self.terms.items() if c < 0)
        high = self.constant + sum(c * (a.size - 1) for a, c in self.terms.items() if c > 0)
        return low, high

    def divide(self, n: int) -> tuple[Place, Place]:
        """Quotient and remainder by n; of an array without elements, n = 0, there are no places."""
        if n == 0:
            return Place(), Place()
        low, high = self.bounds()
        if low >= 0 and high < n:
            return Place(), self
        quotient = Place(self.constant // n, {a: c // n for a, c in self.terms.items() if c % n == 0})
        rest = Place(self.constant % n, {a: c for a, c in self.terms.items() if c % n})
        low, high = rest.bounds()
        if low >= 0 and high < n:
            return quotient, rest
        names = rest.names()
        over = Atom(f"(({rest}) // {n})", max(high // n + 1, 1), names)
        left = Atom(f"(({rest}) % {n})", n, names)
        return quotient + Place(0, {over: 1}), Place(0, {left: 1})

    def names(self) -> frozenset[str]:
        """The variables that it depends on."""
        return frozenset().union(*(a.names for a in self.terms))

    @property
    def affine(self) -> bool:
        """Whether it is a sum of multiples of variables."""
        return all(a.simple for a in self.terms)

    def stride(self, name: str) -> int:
        """What one step of a variable adds, of a place that is affine."""
        return next((c for a, c in self.terms.items() if a.text == name), 0)

    def __str__(self) -> str:
        terms = [a.text if c == 1 else f"{a.text} * {c}" for a, c in self.terms.items()]
        if self.constant or not terms:
            terms.append(str(self.constant))
        return " + ".join(terms)

    __repr__ = __str__


ZERO = Place()
Index = list[Place]


def variable(name: str, size: int) -> Place:
    """A loop's variable."""
    return Place(0, {Atom(name, size, frozenset([name])): 1}) if size > 1 else ZERO


def along(axis: int) -> str:
    """The variable of the loop along an axis. (Named `i1` or `i2`, it would hide the integers of so many bytes.)"""
    return f"k{axis}"


def everywhere(shape: Sequence[int], first: int = 0) -> Index:
    """The index of the place where the loops along all axes are, of which the first has this number."""
    return [variable(along(k), n) for k, n in enumerate(shape, first)]


def picked(text: str, size: int, names: Iterable[str]) -> Place:
    """An index that is read from an array when the code runs."""
    return Place(0, {Atom(text, size, frozenset(names)): 1})


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """How far apart neighbours along each axis lie, of an array in rows."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def flat(index: Index, strides: Sequence[int]) -> Place:
    """Where an element lies in memory."""
    total = ZERO
    for place, step in zip(index, strides, strict=True):
        total = total + place * step
    return total


def unravel(place: Place, shape: Sequence[int]) -> Index:
    """The indices of the element that lies there in an array of this shape, in rows."""
    index = []
    for n in reversed(shape[1:]):
        place, rest = place.divide(n)
        index.append(rest)
    return [*([place] if len(shape) else []), *reversed(index)]


def broadcast(index: Index, shape: Sequence[int]) -> Index:
    """The indices into an array of this shape, where `index` goes into what it is broadcast to."""
    index = index[len(index) - len(shape) :]
    return [ZERO if n == 1 else i for i, n in zip(index, shape, strict=True)]
