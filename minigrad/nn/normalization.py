"""Normalisation of each sample; what it computes is in `ops/normalization.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..tensor import Tensor
from . import init
from .module import InputError, Module, length, new_parameter

__all__ = ["LayerNorm", "RMSNorm"]


class _SampleNorm(Module):
    """What both share: the lengths of the last axes, that a sample consists of."""

    def __init__(self, normalized_shape: int | Sequence[int], eps: float | None, elementwise_affine: bool) -> None:
        one = isinstance(normalized_shape, int | np.integer)
        lengths: Any = (normalized_shape,) if one else tuple(normalized_shape)  # type: ignore[arg-type]
        if not lengths:
            raise ValueError(f"{type(self).__name__}: normalized_shape is empty, and a sample needs an axis or more")
        self.normalized_shape = tuple(length(self, "normalized_shape", n) for n in lengths)
        self.eps: Any = eps
        self.elementwise_affine = elementwise_affine
        self.weight = init.ones_(new_parameter(*self.normalized_shape)) if elementwise_affine else None

    def check(self, x: Any) -> None:
        """Raise InputError unless the input's last axes are those of a sample."""
        shape, wanted = np.shape(x), self.normalized_shape
        if shape[-len(wanted) :] != wanted:
            ends = f"{', '.join(map(str, wanted))})"
            raise InputError(self, f"input {shape} does not end in normalized_shape {wanted}; (..., {ends} is expected")

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LayerNorm(_SampleNorm):
    """Take each sample's mean off and divide by its deviation, over the last axes (Ba, Kiros and Hinton, 2016).

    `normalized_shape` is the length of the last axis, or the lengths of several; `weight` and `bias` have that shape
    and are 1 and 0 at first, or None (both without `elementwise_affine`). The variance has eps added to it.
    Raises ValueError for an input that does not end in that shape.

    >>> mg.nn.LayerNorm(2)(np.array([[1.0, 3.0]])).numpy().round(3).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(normalized_shape, eps, elementwise_affine)
        self.bias = new_parameter(*self.normalized_shape) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Tensor:
        self.check(x)
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(_SampleNorm):
    """Divide each sample by the root of its mean square, over the last axes (Zhang and Sennrich, 2019).

    `normalized_shape` is the length of the last axis, or the lengths of several; `weight` has that shape and is 1 at
    first, or None without `elementwise_affine`. `eps` is added to the mean square; None is the distance from 1 to the
    next float of the input's dtype. Raises ValueError for an input that does not end in that shape.

    >>> mg.nn.RMSNorm(2)(np.array([1.0, 7.0])).detach()
    tensor([0.2, 1.4])
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine)

    def forward(self, x: Any) -> Tensor:
        self.check(x)
        return ops.rms_norm(x, self.normalized_shape, self.weight, self.eps)
