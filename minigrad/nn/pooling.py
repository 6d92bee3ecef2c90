"""Layers that sum up windows of sequences and images by one number each."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..tensor import Tensor
from .convolution import fitted, refused
from .module import Module

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AvgPool1d", "AvgPool2d",
    "MaxPool1d", "MaxPool2d",
]  # fmt: skip


class _Pool(Module):
    """A function of `ops`, with the arguments that the layer was made with."""

    axes: int
    function: Any

    def _keep(self, given: dict[str, Any]) -> None:
        if given.pop("return_indices", False):
            raise ValueError(
                f"{type(self).__name__}: return_indices is not supported; the result has the largest elements alone"
            )
        self.arguments = {k: v for k, v in given.items() if k not in ("self", "__class__")}

    def forward(self, x: Any) -> Tensor:
        fitted(self, x, self.axes)
        try:
            return type(self).function(x, **self.arguments)
        except ValueError as error:
            raise refused(self, error) from None

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in self.arguments.items())


class MaxPool1d(_Pool):
    """Take the largest element of each window of sequences, as `MaxPool2d` does of images."""

    axes, function = 1, ops.max_pool1d

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        self._keep(locals())


class MaxPool2d(MaxPool1d):
    """Take the largest element of each window of images (batch, channels, height, width), or of one without batch.

    `stride` is `kernel_size` unless given; see `functional.max_pool2d`. Of equal maxima, the first has the gradient.

    >>> mg.nn.MaxPool2d(2)(np.arange(16.0).reshape(1, 1, 4, 4)).tolist()
    [[[[5.0, 7.0], [13.0, 15.0]]]]
    """

    axes, function = 2, ops.max_pool2d


class AvgPool1d(_Pool):
    """Take the mean of each window of sequences, as `AvgPool2d` does of images."""

    axes, function = 1, ops.avg_pool1d

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        self._keep(locals())


class AvgPool2d(_Pool):
    """Take the mean of each window of images (batch, channels, height, width), or of one without batch.

    `stride` is `kernel_size` unless given; see `functional.avg_pool2d`.

    >>> mg.nn.AvgPool2d(2)(np.arange(16.0).reshape(1, 1, 4, 4)).tolist()
    [[[[2.5, 4.5], [10.5, 12.5]]]]
    """

    axes, function = 2, ops.avg_pool2d

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        self._keep(locals())


class AdaptiveAvgPool1d(_Pool):
    """Take the means of `output_size` windows of sequences, as `AdaptiveAvgPool2d` does of images."""

    axes, function = 1, ops.adaptive_avg_pool1d

    def __init__(self, output_size: Any) -> None:
        self._keep(locals())


class AdaptiveAvgPool2d(AdaptiveAvgPool1d):
    """Take the means of `output_size` windows that cover each image, whatever its lengths.

    `output_size` is a number for both axes or a pair, with None for an axis that keeps its length.

    >>> mg.nn.AdaptiveAvgPool2d(1)(np.zeros((2, 6, 5, 7))).shape
    (2, 6, 1, 1)
    """

    axes, function = 2, ops.adaptive_avg_pool2d


class AdaptiveMaxPool1d(_Pool):
    """Take the largest elements of `output_size` windows of sequences, as `AdaptiveMaxPool2d` does of images."""

    axes, function = 1, ops.adaptive_max_pool1d

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        self._keep(locals())


class AdaptiveMaxPool2d(AdaptiveMaxPool1d):
    """Take the largest elements of `output_size` windows that cover each image, whatever its lengths.

    >>> mg.nn.AdaptiveMaxPool2d((1, None))(np.zeros((2, 6, 5, 7))).shape
    (2, 6, 1, 7)
    """

    axes, function = 2, ops.adaptive_max_pool2d
