"""Initial values for parameters: each function fills a tensor in place and returns it.

Randomness comes from `mg.random`, or from the `generator` given. The fan of a weight (out, in, ...) is how many inputs
each output sums over (fan in), or how many outputs each input feeds (fan out).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import random
from ..names import known
from ..tensor import Tensor

Rng = np.random.Generator | None

GAINS = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Give the factor by which a nonlinearity asks for larger weights, as PyTorch's function of this name.

    `param` is the negative slope of "leaky_relu", whose gain is sqrt(2 / (1 + param^2)) (He et al., 2015). Raises
    ValueError for an unknown name.

    >>> mg.nn.init.calculate_gain("relu") ** 2
    2.0000000000000004
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    return GAINS[known("nonlinearity", nonlinearity, (*GAINS, "leaky_relu"))]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Rng = None) -> Tensor:
    """Fill with values drawn from U(a, b)."""
    return _fill(tensor, random.generator(generator).uniform(a, b, tensor.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Rng = None) -> Tensor:
    """Fill with values drawn from N(mean, std^2)."""
    return _fill(tensor, random.generator(generator).normal(mean, std, tensor.shape))


def constant_(tensor: Tensor, value: float) -> Tensor:
    """Fill with one value.

    >>> mg.nn.init.constant_(mg.zeros(2), 0.5).tolist()
    [0.5, 0.5]
    """
    return _fill(tensor, np.full(tensor.shape, value))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Rng = None) -> Tensor:
    """Fill from U(-r, r), r = gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010, eq. 16)."""
    return _uniform(tensor, _xavier(tensor, gain), generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Rng = None) -> Tensor:
    """Fill from N(0, s^2), s = gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010, eq. 12)."""
    return normal_(tensor, 0.0, _xavier(tensor, gain), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Rng = None,
) -> Tensor:
    """Fill from U(-r, r), r = gain * sqrt(3 / fan): `kaiming_normal_`, but uniform."""
    return _uniform(tensor, _kaiming(tensor, a, mode, nonlinearity), generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Rng = None,
) -> Tensor:
    """Fill from N(0, s^2), s = gain / sqrt(fan), for rectifiers of negative slope `a` (He et al., 2015, eq. 10, 14).

    `mode` is "fan_in" (the forward pass keeps its variance) or "fan_out" (the backward pass does).
    """
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity), generator)


def _fans(tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(f"a tensor of shape {tensor.shape} has no fan in and fan out: two axes (out, in) are needed")
    receptive_field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive_field, tensor.shape[0] * receptive_field


def _xavier(tensor: Tensor, gain: float) -> float:
    fan_in, fan_out = _fans(tensor)
    return gain * math.sqrt(2 / (fan_in + fan_out))


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fan = _fans(tensor)[("fan_in", "fan_out").index(known("mode", mode, ("fan_in", "fan_out")))]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def _uniform(tensor: Tensor, std: float, generator: Rng) -> Tensor:
    """Fill uniformly around 0 with this standard deviation, which is bound / sqrt(3)."""
    return uniform_(tensor, -math.sqrt(3) * std, math.sqrt(3) * std, generator)


def _fill(tensor: Tensor, values: Any) -> Tensor:
    tensor.data = values.astype(tensor.dtype)
    return tensor
