"""Dropout: noise in training that keeps units from relying on each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import random
from ..tensor import Tensor, as_tensor
from .module import InputError, Module

__all__ = ["Dropout", "Dropout1d", "Dropout2d"]


def dropout(input: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Each element set to 0 with probability `p`, the others divided by 1 - p, which keeps the mean.

    From Srivastava et al. (JMLR 15, 2014); the input as it is unless `training`. The draws come from the library's
    generator, which `mg.random.seed` starts anew. Raises ValueError unless p is in [0, 1].

    >>> import minigrad as mg
    >>> mg.nn.functional.dropout([1.0, 2.0], 0.5, training=False)
    tensor([1., 2.])
    >>> sorted(set(mg.nn.functional.dropout(mg.ones(100), 0.75).tolist()))
    [0.0, 4.0]
    """
    input = as_tensor(input)
    return _dropped("dropout", input, p, training, input.shape)


def dropout1d(input: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Whole channels of (batch, channels, length) or (channels, length) set to 0; see `dropout`.

    >>> import minigrad as mg
    >>> y = mg.nn.functional.dropout1d(mg.ones((50, 4)))
    >>> bool((y == y[:, :1]).all())
    True
    """
    return _channels("dropout1d", as_tensor(input), p, training, 1)


def dropout2d(input: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Whole channels of (batch, channels, height, width), or of one image without batch, set to 0; see `dropout`.

    >>> import minigrad as mg
    >>> y = mg.nn.functional.dropout2d(mg.ones((50, 2, 2)))
    >>> bool((y == y[:, :1, :1]).all())
    True
    """
    return _channels("dropout2d", as_tensor(input), p, training, 2)


def _channels(name: str, input: Tensor, p: float, training: bool, spatial: int) -> Tensor:
    if input.ndim not in (spatial + 1, spatial + 2):
        wanted = "(channels, length)" if spatial == 1 else "(channels, height, width)"
        raise ValueError(f"{name}: the input has shape {input.shape}; {wanted} is needed, or that with a batch before")
    return _dropped(name, input, p, training, input.shape[: input.ndim - spatial] + (1,) * spatial)


def _dropped(name: str, input: Tensor, p: float, training: bool, shape: tuple[int, ...]) -> Tensor:
    _check_probability(name, p)
    if not training or p == 0:
        return input
    dtype = input.dtype if input.dtype.kind == "f" else np.dtype(np.float64)
    draws = random.generator().random(shape, np.float32 if dtype == np.float32 else np.float64)
    scale = dtype.type(0 if p == 1 else 1 / (1 - p))
    return input * np.where(draws >= p, scale, dtype.type(0))


def _check_probability(name: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p={p!r} is the probability of a zero, in [0, 1]")


class Dropout(Module):
    """Set each element to 0 with probability `p`, in training only, and divide the others by 1 - p.

    >>> layer = mg.nn.Dropout(0.5)
    >>> layer.eval()(np.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(self, p: float = 0.5) -> None:
        _check_probability(type(self).__name__, p)
        self.p = p

    def forward(self, x: Any) -> Tensor:
        return dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout1d(Dropout):
    """Set whole channels of (batch, channels, length) to 0, in training only; see `functional.dropout1d`."""

    def forward(self, x: Any) -> Tensor:
        try:
            return dropout1d(x, self.p, self.training)
        except ValueError as error:
            raise InputError(self, str(error).partition(": ")[2]) from None


class Dropout2d(Dropout):
    """Set whole channels of (batch, channels, height, width) to 0, in training only; see `functional.dropout2d`."""

    def forward(self, x: Any) -> Tensor:
        try:
            return dropout2d(x, self.p, self.training)
        except ValueError as error:
            raise InputError(self, str(error).partition(": ")[2]) from None
