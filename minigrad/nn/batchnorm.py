"""Normalisation of channels, over a batch, over groups of channels, or each by itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..tensor import Tensor, as_tensor, default_dtype
from .module import InputError, Module, Parameter, length

__all__ = ["BatchNorm1d", "BatchNorm2d", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d"]


def batch_norm(
    input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Channels brought to mean 0 and variance 1 over the batch, then scaled and shifted (Ioffe and Szegedy, 2015).

    input is (batch, channels, ...). In training, mean and variance are those of the batch, and the running ones, if
    given as tensors, move towards them by `momentum` (the variance unbiased, as PyTorch's). Otherwise the running ones
    are taken. Raises ValueError for one value a channel in training, whose variance says nothing.

    >>> import minigrad as mg
    >>> mg.nn.functional.batch_norm([[1.0], [3.0]], None, None, training=True, eps=0)
    tensor([[-1.],
            [ 1.]])
    """
    x = as_tensor(input)
    axes = (0, *range(2, x.ndim))
    if training:
        n = _count(x, axes)
        if n < 2:
            raise ValueError(f"batch_norm: input {x.shape} has {n} value a channel, and training needs two or more")
        if running_mean is not None and not x.dtype.hasobject:
            _move(running_mean, np.mean(x._data, axis=axes), momentum)
            _move(running_var, np.var(x._data, axis=axes, ddof=1), momentum)
        y = ops.standardize(x, axes, eps)
    else:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: without running_mean and running_var, it has to be training=True")
        y = (x - _over_channels(running_mean, x)) / ops.sqrt(_over_channels(running_var, x) + eps)
    return _scaled(y, weight, bias)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Groups of channels brought to mean 0 and variance 1 in each sample, then scaled and shifted by channel.

    input is (batch, channels, ...); from Wu and He (2018, arXiv:1803.08494). Raises ValueError where the channels
    cannot be cut into so many groups.

    >>> import minigrad as mg
    >>> mg.nn.functional.group_norm([[1.0, 3.0, 5.0, 5.0]], 2, eps=0.0001).data.round(3)
    array([[-1.,  1.,  0.,  0.]])
    """
    x = as_tensor(input)
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(f"group_norm: input {x.shape} cannot be cut into {num_groups} groups of channels along axis 1")
    groups = ops.reshape(x, (x.shape[0], num_groups, math.prod(x.shape[1:]) // num_groups))
    if not groups.shape[2]:
        return x
    return _scaled(ops.reshape(ops.standardize(groups, -1, eps), x.shape), weight, bias)


def instance_norm(input: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Each channel of each sample brought to mean 0 and variance 1, then scaled and shifted by channel.

    input is (batch, channels, ...). Raises ValueError for one value a channel, whose variance says nothing.

    >>> import minigrad as mg
    >>> mg.nn.functional.instance_norm([[[1.0, 3.0], [5.0, 5.0]]], eps=0.0001).data.round(3).tolist()
    [[[-1.0, 1.0], [0.0, 0.0]]]
    """
    x = as_tensor(input)
    axes = tuple(range(2, x.ndim))
    n = _count(x, axes)
    if n < 2:
        raise ValueError(f"instance_norm: input {x.shape} has {n} value a channel, and a variance needs two or more")
    return _scaled(ops.standardize(x, axes, eps), weight, bias)


def _count(x: Tensor, axes: tuple[int, ...]) -> int:
    return math.prod(x.shape[i] for i in axes)


def _over_channels(values: Any, x: Tensor) -> Tensor:
    """One value a channel, in the shape that broadcasts with x."""
    return ops.reshape(values, (1, -1) + (1,) * (x.ndim - 2))


def _scaled(y: Tensor, weight: Any, bias: Any) -> Tensor:
    y = y if weight is None else y * _over_channels(weight, y)
    return y if bias is None else y + _over_channels(bias, y)


def _move(running: Tensor, now: np.ndarray, momentum: float) -> None:
    running.data = ((1 - momentum) * running._data + momentum * now).astype(running.dtype)


class _Norm(Module):
    """What the layers share: a check of the input, and a weight and a bias for each channel."""

    axes: tuple[int, ...] = ()  # how many the input may have
    wanted = ""

    def _add_affine(self, channels: int, affine: bool) -> None:
        self.weight = Parameter(np.ones(channels), dtype=default_dtype()) if affine else None
        self.bias = Parameter(np.zeros(channels), dtype=default_dtype()) if affine else None

    def _checked(self, x: Any, channels: int, axis: int = 1) -> Tensor:
        x = as_tensor(x)
        if x.ndim not in self.axes:
            raise InputError(self, f"input {x.shape} has {x.ndim} axes; {self.wanted} is needed")
        if x.shape[axis] != channels:
            raise InputError(self, f"input {x.shape} has {x.shape[axis]} channels in axis {axis}, "
                                   f"this layer expects {channels}")  # fmt: skip
        return x


class _BatchNorm(_Norm):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:  # fmt: skip
        self.num_features = length(self, "num_features", num_features)
        self.eps, self.momentum, self.affine, self.track_running_stats = eps, momentum, affine, track_running_stats
        self._add_affine(num_features, affine)
        self.running_mean: Any = None
        self.running_var: Any = None
        self.num_batches_tracked: Any = None
        if track_running_stats:
            self.register_buffer("running_mean", np.zeros(num_features, default_dtype()))
            self.register_buffer("running_var", np.ones(num_features, default_dtype()))
            self.register_buffer("num_batches_tracked", np.array(0))

    def forward(self, input: Any) -> Tensor:
        x = self._checked(input, self.num_features)
        count, momentum = self.num_batches_tracked, self.momentum
        training = self.training or count is None
        if training:
            n = _count(x, (0, *range(2, x.ndim)))
            if n < 2:
                raise InputError(
                    self,
                    f"input {x.shape} has {n} value a channel, and training needs two or more (a last batch of one "
                    "sample? choose a batch size that leaves more)",
                )
            if count is not None:
                count.data = count._data + 1
                momentum = 1 / count._data if momentum is None else momentum  # the mean over all batches so far
        return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, training,
                          0.0 if momentum is None else momentum,                          self.eps)  # fmt: skip

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"track_running_stats={self.track_running_stats}")  # fmt: skip


class BatchNorm1d(_BatchNorm):
    """Bring each channel of (batch, channels) or (batch, channels, length) to mean 0 and variance 1 over the batch.

    Then scale by `weight`, ones at the start, and shift by `bias`, zeros, unless `affine` is False; see
    `functional.batch_norm`. Evaluation takes `running_mean` and `running_var`, which training moves towards the batch's
    by `momentum` (None: they are the mean over all batches so far). Without `track_running_stats` evaluation takes the
    batch's too. Raises ValueError for other shapes, and in training for one value a channel.

    >>> layer = mg.nn.BatchNorm1d(2)
    >>> layer(np.array([[1.0, 5.0], [3.0, 5.0]])).data.round(3).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    >>> layer.running_mean.tolist()
    [0.2, 0.5]
    """

    axes, wanted = (2, 3), "(batch, channels) or (batch, channels, length)"


class BatchNorm2d(_BatchNorm):
    """Bring each channel of (batch, channels, height, width) to mean 0 and variance 1; see `BatchNorm1d`.

    >>> mg.nn.BatchNorm2d(3)(np.zeros((2, 3, 4, 4))).shape
    (2, 3, 4, 4)
    """

    axes, wanted = (4,), "(batch, channels, height, width)"


class GroupNorm(_Norm):
    """Bring groups of channels to mean 0 and variance 1 in each sample of (batch, channels, ...).

    Then scale by `weight`, ones at the start, and shift by `bias`, zeros, unless `affine` is False; see
    `functional.group_norm`. One group normalises whole samples. Raises ValueError for channels that cannot be cut
    into `num_groups` groups.

    >>> mg.nn.GroupNorm(2, 4)(np.zeros((3, 4, 5))).shape
    (3, 4, 5)
    """

    axes, wanted = tuple(range(2, 33)), "(batch, channels, ...)"

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        self.num_groups = length(self, "num_groups", num_groups)
        self.num_channels = length(self, "num_channels", num_channels)
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_channels} channels cannot be cut into {num_groups} groups of one size")
        self.eps, self.affine = eps, affine
        self._add_affine(num_channels, affine)

    def forward(self, input: Any) -> Tensor:
        x = self._checked(input, self.num_channels)
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class _InstanceNorm(_Norm):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False,
    ) -> None:  # fmt: skip
        if track_running_stats:
            name = type(self).__name__
            raise ValueError(f"{name}: track_running_stats is not supported; the statistics are the sample's own")
        self.num_features = length(self, "num_features", num_features)
        self.eps, self.affine = eps, affine
        self._add_affine(num_features, affine)

    def forward(self, input: Any) -> Tensor:
        x = as_tensor(input)
        batched = x.ndim == max(self.axes)
        x = self._checked(x, self.num_features, axis=int(batched))
        n = math.prod(x.shape[1 + batched :])
        if n < 2:
            raise InputError(self, f"input {x.shape} has {n} value a channel, and a variance needs two or more")
        y = instance_norm(x if batched else x[None], self.weight, self.bias, self.eps)
        return y if batched else y[0]

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, affine={self.affine}"


class InstanceNorm1d(_InstanceNorm):
    """Bring each channel of each sample of (batch, channels, length) to mean 0 and variance 1, in evaluation too.

    With `affine`, then scale by `weight` and shift by `bias`; see `functional.instance_norm`. The batch may be left
    out. `momentum` is there for PyTorch's order of arguments: running statistics are not supported.
    """

    axes, wanted = (2, 3), "(batch, channels, length) or (channels, length)"


class InstanceNorm2d(_InstanceNorm):
    """Bring each channel of each sample of (batch, channels, height, width) to mean 0 and variance 1.

    See `InstanceNorm1d`.
    """

    axes, wanted = (3, 4), "(batch, channels, height, width) or (channels, height, width)"
