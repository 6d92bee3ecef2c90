"""Dropout."""

from __future__ import annotations

from typing import Any

from .. import random
from ..tensor import Tensor, as_tensor
from .module import Module

__all__ = ["Dropout"]


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """In training, x with each element put to 0 with probability p, and the others divided by 1 - p."""
    x = as_tensor(x)
    if not training or p == 0:
        return x
    keep = random.generator().random(x.shape) >= p
    return x * (keep.astype(x.dtype) / (1 - p) if p < 1 else keep)


class Dropout(Module):
    """Put each element to 0 with probability p in training, and divide the others by 1 - p."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def forward(self, x: Any) -> Tensor:
        return dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
