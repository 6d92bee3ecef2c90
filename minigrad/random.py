"""Random tensors, from one generator that `seed` starts anew, or from a generator that is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from .tensor import Tensor, default_dtype

_generator: np.random.Generator | None = None  # made when first used: numpy.random takes a while to load


def seed(value: int | None) -> None:
    """Start the library's generator anew: the same seed gives the same numbers.

    >>> import minigrad as mg
    >>> mg.random.seed(0)
    >>> a = mg.random.normal(size=3)
    >>> mg.random.seed(0)
    >>> bool((a == mg.random.normal(size=3)).all())
    True
    """
    global _generator
    _generator = np.random.default_rng(value)


def generator(given: np.random.Generator | None = None) -> np.random.Generator:
    """The given generator, or the library's own."""
    if given is not None:
        return given
    if _generator is None:
        seed(None)
    assert _generator is not None
    return _generator


def normal(
    loc: float = 0.0, scale: float = 1.0, size: Any = None, *, dtype: Any = None, generator: Any = None
) -> Tensor:
    """A tensor of normally distributed numbers, in the default dtype unless another is given."""
    return _tensor(_chosen(generator).normal(loc, scale, size), dtype)


def uniform(
    low: float = 0.0, high: float = 1.0, size: Any = None, *, dtype: Any = None, generator: Any = None
) -> Tensor:
    """A tensor of numbers uniform in [low, high), in the default dtype unless another is given."""
    return _tensor(_chosen(generator).uniform(low, high, size), dtype)


def integers(low: int, high: int | None = None, size: Any = None, *, generator: Any = None) -> Tensor:
    """A tensor of integers in [low, high), or in [0, low)."""
    return Tensor(np.asarray(_chosen(generator).integers(low, high, size)))


def permutation(n: int, *, generator: Any = None) -> Tensor:
    """The integers below n in random order."""
    return Tensor(_chosen(generator).permutation(n))


_chosen = generator


def _tensor(values: Any, dtype: Any) -> Tensor:
    return Tensor(np.asarray(values, dtype=default_dtype() if dtype is None else dtype))
