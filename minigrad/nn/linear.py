"""Affine maps, and what reshapes without parameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..tensor import Tensor, as_tensor
from . import init
from .module import InputError, Module, length, new_parameter

__all__ = ["Bilinear", "Flatten", "Identity", "Linear"]


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """x @ weight.T + bias, for x of shape (..., in) and a weight of shape (out, in).

    >>> import minigrad as mg
    >>> mg.nn.functional.linear([1.0, 2.0], mg.tensor([[3.0, 4.0]]), mg.tensor([5.0]))
    tensor([16.])
    """
    return ops.matmul(x, as_tensor(weight).T) if bias is None else ops.linear(x, weight, bias)


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Tensor:
    """y_k = input1 weight[k] input2 + bias_k, for inputs (..., in1) and (..., in2) and a weight (out, in1, in2).

    >>> import minigrad as mg
    >>> mg.nn.functional.bilinear([1.0, 2.0], [3.0], mg.tensor([[[1.0], [1.0]]]))
    tensor([9.])
    """
    weight = as_tensor(weight)
    out, n, m = weight.shape
    by_pairs = ops.reshape(ops.matmul(input1, ops.reshape(ops.transpose(weight, (1, 0, 2)), (n, out * m))),
                           (*np.shape(input1)[:-1], out, m))  # fmt: skip
    y = ops.sum(by_pairs * ops.expand_dims(input2, -2), axis=-1)
    return y if bias is None else y + bias


class Linear(Module):
    """Apply the affine map y = x W^T + b to the last axis.

    x has shape (..., in_features), y (..., out_features); `weight` is (out_features, in_features), `bias`
    (out_features,) or None. Both are drawn as PyTorch draws them, from U(-1/sqrt(in_features), 1/sqrt(in_features)),
    which for the weight is `kaiming_uniform_` with a = sqrt(5).
    Raises ValueError for an input of other width, TypeError for a width that is no integer.

    >>> layer = mg.nn.Linear(3, 2)
    >>> layer(np.zeros((5, 3))).shape
    (5, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.in_features = length(self, "in_features", in_features)
        self.out_features = length(self, "out_features", out_features)
        bound = 1 / math.sqrt(self.in_features)
        self.weight = init.uniform_(new_parameter(self.out_features, self.in_features), -bound, bound)
        self.bias = init.uniform_(new_parameter(self.out_features), -bound, bound) if bias else None

    def forward(self, x: Any) -> Tensor:
        try:
            return linear(x, self.weight, self.bias)
        except ValueError:
            shape = np.shape(x)
            if shape[-1:] == (self.in_features,):
                raise
            raise InputError(
                self,
                f"input {shape} has {shape[-1] if shape else 'no'} features in its last axis, "
                f"this layer expects {self.in_features}",
            ) from None

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """Apply y_k = x1 W_k x2 + b_k to the last axes of two inputs.

    The inputs have shapes (..., in1_features) and (..., in2_features), y (..., out_features); `weight` is
    (out_features, in1_features, in2_features), `bias` (out_features,) or None. Both are drawn as PyTorch draws them,
    from U(-1/sqrt(in1_features), 1/sqrt(in1_features)). Raises ValueError for inputs of other shapes.

    >>> mg.nn.Bilinear(3, 4, 2)(np.zeros((5, 3)), np.zeros((5, 4))).shape
    (5, 2)
    """

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True) -> None:
        self.in1_features = length(self, "in1_features", in1_features)
        self.in2_features = length(self, "in2_features", in2_features)
        self.out_features = length(self, "out_features", out_features)
        bound = 1 / math.sqrt(self.in1_features)
        shape = (self.out_features, self.in1_features, self.in2_features)
        self.weight = init.uniform_(new_parameter(*shape), -bound, bound)
        self.bias = init.uniform_(new_parameter(self.out_features), -bound, bound) if bias else None

    def forward(self, input1: Any, input2: Any) -> Tensor:
        a, b = np.shape(input1), np.shape(input2)
        if a[-1:] != (self.in1_features,) or b[-1:] != (self.in2_features,) or a[:-1] != b[:-1]:
            wanted = f"(..., {self.in1_features}) and (..., {self.in2_features})"
            raise InputError(self, f"inputs {a} and {b}: {wanted}, alike in all but the last axis, are expected")
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        widths = f"in1_features={self.in1_features}, in2_features={self.in2_features}"
        return f"{widths}, out_features={self.out_features}, bias={self.bias is not None}"


class Identity(Module):
    """Return the input as it is."""

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """Merge the axes from `start_axis` to `end_axis`, both included; by default all but the first.

    Raises ValueError where the input has no such axes.

    >>> mg.nn.Flatten()(np.zeros((32, 8, 8))).shape
    (32, 64)
    """

    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        self.start_axis, self.end_axis = start_axis, end_axis

    def forward(self, x: Any) -> Tensor:
        shape = np.shape(x)
        start, end = (axis + len(shape) * (axis < 0) for axis in (self.start_axis, self.end_axis))
        if not 0 <= start <= end < len(shape):
            raise InputError(self, f"input {shape} has no axes {self.start_axis} to {self.end_axis} to merge")
        return ops.reshape(x, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))

    def extra_repr(self) -> str:
        return f"start_axis={self.start_axis}, end_axis={self.end_axis}"
