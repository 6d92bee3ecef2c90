"""Random tensors, from one generator that `seed` starts anew, or from a generator that is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from .batching import Level, as_array, each_sample
from .tensor import Tensor, default_dtype, mode

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
    """The given generator, or the library's own; inside `mg.vmap`, one that draws for each sample."""
    if given is None and _generator is None:
        seed(None)
    chosen: Any = _generator if given is None else given
    if mode.capture is not None:
        chosen = mode.capture.drawing(chosen, given is None)
    for level in mode.levels:
        chosen = PerSample(chosen, level)
    return chosen


def from_seed(seed: Any) -> np.random.Generator:
    """The generator of a seed; or one that goes on: the library's own for None, or that which is given.

    Raises TypeError or ValueError for what is none of these.
    """
    if seed is None:
        return generator()
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        what = f"seed must be an integer of at least 0, a generator, or None, not {seed!r}"
        raise type(error)(what) from None


class PerSample:
    """A generator inside `mg.vmap`: the numbers that a method draws are others for each sample, drawn in turn."""

    def __init__(self, generator: Any, level: Level) -> None:
        self.generator, self.level = generator, level

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.generator, name)
        return lambda *args, **params: each_sample(method, args, params, self.level)


def state() -> Any:
    """Where the library's generator stands, for `resume`."""
    if _generator is None:
        seed(None)
    assert _generator is not None
    return _generator.bit_generator.state


def resume(state: Any) -> None:
    """Go on drawing from where the library's generator stood."""
    _generator.bit_generator.state = state  # type: ignore[union-attr]


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
    return Tensor(_array(_chosen(generator).integers(low, high, size)))


def permutation(n: int, *, generator: Any = None) -> Tensor:
    """The integers below n in random order."""
    return Tensor(_array(_chosen(generator).permutation(n)))


_chosen = generator


def _tensor(values: Any, dtype: Any) -> Tensor:
    return Tensor(_array(values).astype(default_dtype() if dtype is None else dtype, copy=False))


def _array(values: Any) -> Any:
    return as_array(values)
