"""Layers that slide a kernel over sequences and images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..ops.convolution import counted, per_axis
from ..tensor import Tensor
from . import init
from .module import InputError, Module, length, new_parameter

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"]

MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}  # PyTorch's names and NumPy's


def fitted(layer: Module, x: Any, n: int, channels: int | None = None) -> Any:
    """The input, if it has `n` spatial axes and this many channels; raises InputError otherwise."""
    shape = np.shape(x)
    if len(shape) not in (n + 1, n + 2):
        axes = ("channels, length", "channels, height, width")[n - 1]
        raise InputError(layer, f"input {shape} has {len(shape)} axes, expected is (batch, {axes}) or ({axes})")
    if channels is not None and shape[-n - 1] != channels:
        found = f"{counted(shape[-n - 1], 'channel')} in axis {len(shape) - n - 1}"
        raise InputError(layer, f"input {shape} has {found}, this layer expects {channels}")
    return x


def refused(layer: Module, error: ValueError) -> InputError:
    """The sentence of a function of `ops` as the layer's."""
    return InputError(layer, str(error).partition(": ")[2])


class _Conv(Module):
    """What the convolutions have in common."""

    axes: int
    turned = False  # whether the weight is (in, out, ...), as a transposed convolution has it

    def _set_up(self, in_channels, out_channels, kernel_size, stride, dilation, groups, bias):
        name = type(self).__name__
        self.in_channels = length(self, "in_channels", in_channels)
        self.out_channels = length(self, "out_channels", out_channels)
        self.groups = length(self, "groups", groups)
        for what, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{name}: {what}={channels} cannot be cut into groups={groups}")
        self.kernel_size = per_axis(f"{name}: kernel_size", kernel_size, self.axes, 1)
        self.stride = per_axis(f"{name}: stride", stride, self.axes, 1)
        self.dilation = per_axis(f"{name}: dilation", dilation, self.axes, 1)
        rows, columns = (in_channels, out_channels) if self.turned else (out_channels, in_channels)
        shape = rows, columns // groups, *self.kernel_size
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self.weight = init.uniform_(new_parameter(*shape), -bound, bound)
        self.bias = init.uniform_(new_parameter(out_channels), -bound, bound) if bias else None

    def extra_repr(self) -> str:
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding", "dilation")
        given = ", ".join(f"{name}={getattr(self, name)!r}" for name in names if hasattr(self, name))
        return f"{given}, groups={self.groups}, bias={self.bias is not None}"


class Conv1d(_Conv):
    """Cross-correlate sequences (batch, in_channels, length), or one without batch, with learnt kernels.

    Arguments, parameters and errors are those of `Conv2d`, with one spatial axis.

    >>> mg.nn.Conv1d(2, 4, 3, padding="same")(np.zeros((5, 2, 7))).shape
    (5, 4, 7)
    """

    axes = 1

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
    ) -> None:  # fmt: skip
        self._set_up(in_channels, out_channels, kernel_size, stride, dilation, groups, bias)
        name = type(self).__name__
        if padding_mode not in ("zeros", *MODES):
            raise ValueError(f'{name}: padding_mode={padding_mode!r} is none of "zeros", {str([*MODES])[1:-1]}')
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f'{name}: padding={padding!r} is neither "same", "valid" nor a number')
        if padding == "same" and set(self.stride) != {1}:
            raise ValueError(f'{name}: padding="same" keeps the lengths of the input, and stride={stride} does not')
        self.padding = padding if isinstance(padding, str) else per_axis(f"{name}: padding", padding, self.axes, 0)
        self.padding_mode = padding_mode

    def forward(self, x: Any) -> Tensor:
        fitted(self, x, self.axes, self.in_channels)
        padding: Any = self.padding
        convolve = ops.conv1d if self.axes == 1 else ops.conv2d
        if self.padding_mode != "zeros":
            x, padding = self._padded(x), 0
        try:
            return convolve(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        except ValueError as error:
            raise refused(self, error) from None

    def _padded(self, x: Any) -> Tensor:
        """The input with more of itself around it."""
        widths: Any = self.padding if self.padding != "valid" else (0,) * self.axes
        if widths == "same":
            totals = [(k - 1) * d for k, d in zip(self.kernel_size, self.dilation, strict=True)]
            pairs = [(total // 2, total - total // 2) for total in totals]
        else:
            pairs = [(p, p) for p in widths]
        for n, pair in zip(np.shape(x)[-self.axes :], pairs, strict=True):
            if max(pair) > n - (self.padding_mode == "reflect") and self.padding_mode != "replicate" or n == 0:
                raise InputError(self, f"input {np.shape(x)} is too small for {self.padding_mode} padding {pair}")
        return ops.pad(x, [(0, 0)] * (np.ndim(x) - self.axes) + pairs, mode=MODES[self.padding_mode])


class Conv2d(Conv1d):
    """Cross-correlate images (batch, in_channels, height, width), or one without batch, with learnt kernels.

    `kernel_size`, `stride`, `padding` and `dilation` are integers for both axes or pairs; `padding` may be "same" or
    "valid", `padding_mode` "zeros", "reflect", "replicate" or "circular". `weight` is (out_channels,
    in_channels / groups, kh, kw), `bias` (out_channels,) or None; both are drawn from U(-r, r), r = 1 / sqrt(fan in),
    as PyTorch draws them. What is computed is said at `functional.conv2d`. Raises ValueError for other shapes.

    >>> mg.nn.Conv2d(1, 6, 5)(np.zeros((2, 1, 28, 28))).shape
    (2, 6, 24, 24)
    """

    axes = 2


class ConvTranspose1d(_Conv):
    """The transposed convolution of sequences: arguments, parameters and errors are those of `ConvTranspose2d`.

    >>> mg.nn.ConvTranspose1d(2, 4, 2, stride=2)(np.zeros((5, 2, 7))).shape
    (5, 4, 14)
    """

    axes = 1
    turned = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1, padding_mode: str = "zeros",
    ) -> None:  # fmt: skip
        self._set_up(in_channels, out_channels, kernel_size, stride, dilation, groups, bias)
        name = type(self).__name__
        if padding_mode != "zeros":
            raise ValueError(f'{name}: padding_mode={padding_mode!r} is not "zeros", the only one that it has')
        self.padding = per_axis(f"{name}: padding", padding, self.axes, 0)
        self.output_padding = per_axis(f"{name}: output_padding", output_padding, self.axes, 0)

    def forward(self, x: Any) -> Tensor:
        fitted(self, x, self.axes, self.in_channels)
        convolve = ops.conv_transpose1d if self.axes == 1 else ops.conv_transpose2d
        try:
            return convolve(
                x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
            )
        except ValueError as error:
            raise refused(self, error) from None


class ConvTranspose2d(ConvTranspose1d):
    """The transposed convolution of images (batch, in_channels, height, width): the gradient of a `Conv2d`.

    A length n becomes (n - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1. `weight` is
    (in_channels, out_channels / groups, kh, kw), `bias` (out_channels,) or None, drawn as PyTorch draws them. Raises
    ValueError for other shapes.

    >>> mg.nn.ConvTranspose2d(6, 1, 2, stride=2)(np.zeros((2, 6, 12, 12))).shape
    (2, 1, 24, 24)
    """

    axes = 2
