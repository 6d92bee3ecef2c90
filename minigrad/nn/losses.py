"""Losses: functions (prediction, target) -> a number, and modules of the same names in capitals.

A loss takes predictions first and targets second. Its shapes must agree exactly: (n, 1) against (n,) would broadcast to
(n, n) and train towards nonsense, so it is refused. `reduction` is "mean", "sum" or "none" (one value a sample).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..names import known
from ..ops import log_softmax, relu
from ..tensor import Tensor, as_tensor, plain, warn_once
from .module import Module

__all__ = ["BCEWithLogitsLoss", "CrossEntropyLoss", "HingeLoss", "HuberLoss", "MSELoss"]

REDUCTIONS = ("mean", "sum", "none")

def _reduce(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return ops.mean(loss)
    return loss if known("reduction", reduction, REDUCTIONS) == "none" else ops.sum(loss)


def _same_shape(name: str, prediction: Tensor, target: Any) -> None:
    a, b = prediction.shape, target.shape
    if a != b:
        fits = prediction.size == target.size
        remedy = f"reshape the target to {a}" if fits else "one of each is needed for every element"
        raise ValueError(f"{name}: the prediction has shape {a} and the target {b}; they would broadcast: {remedy}")


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared error (input - target)^2, for two arrays of one shape. Raises ValueError where the shapes differ.

    >>> import minigrad as mg
    >>> mg.nn.functional.mse_loss(mg.tensor([1.0, 2.0]), mg.tensor([0.0, 0.0]))
    tensor(2.5)
    """
    input, target = as_tensor(input), as_tensor(target)
    _same_shape("mse_loss", input, target)
    return _reduce(ops.square(input - target), reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """The squared error for small differences, linear beyond `delta` (Huber, Ann. Math. Statist. 35, 1964).

    With d = input - target: d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2). Raises ValueError where the
    shapes differ.

    >>> import minigrad as mg
    >>> mg.nn.functional.huber_loss(mg.tensor([0.5, 3.0]), mg.tensor([0.0, 0.0]), reduction="none")
    tensor([0.125, 2.5  ])
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta={delta!r} must be positive")
    input, target = as_tensor(input), as_tensor(target)
    _same_shape("huber_loss", input, target)
    inside = ops.clip(input - target, -delta, delta)  # d itself, or delta with d's sign
    return _reduce(inside * (input - target - inside / 2), reduction)


def cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """-log softmax(input)[target]: the loss of a classifier that gives a score (logit) to each class.

    `input` holds scores of shape (..., classes); softmax is part of the loss and must not be applied before.
    `target` holds the index of the right class, integers of shape (...), or a probability for each class, of the
    input's shape. The mean is over all targets. Raises ValueError for other shapes and for indices that name no class.

    >>> import minigrad as mg
    >>> mg.nn.functional.cross_entropy(mg.tensor([[0.0, 0.0]]), [1])
    tensor(0.69314718)
    """
    input = as_tensor(input)
    if input._op is ops.softmax:
        warn_once(
            "softmax before cross_entropy",
            "cross_entropy: its input was made by softmax, which the loss applies itself: give it the scores (logits)",
        )
    wanted = target
    target = plain(target)
    target = target if hasattr(target, "dtype") else np.asarray(target)
    classes = input.shape[-1] if input.ndim else 0
    if target.dtype.kind in "iu":
        if target.shape != input.shape[:-1]:
            raise ValueError(
                f"cross_entropy: scores of shape {input.shape} need class indices of shape {input.shape[:-1]}, and "
                f"these have shape {target.shape}"
            )
        if target.size and target.view(f"u{target.itemsize}").max() >= classes:  # negative ones are huge, seen unsigned
            low, high = target.min(), target.max()
            raise ValueError(f"cross_entropy: classes are 0 to {classes - 1}, and the targets run from {low} to {high}")
        return ops.nll_loss(log_softmax(input), target, reduction=known("reduction", reduction, REDUCTIONS))
    if target.shape != input.shape:
        raise ValueError(
            f"cross_entropy: the target of dtype {target.dtype} and shape {target.shape} is neither integers of shape "
            f"{input.shape[:-1]} nor probabilities of shape {input.shape}"
        )
    return _reduce(-ops.sum(wanted * log_softmax(input), axis=-1), reduction)


def binary_cross_entropy_with_logits(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """-(t log s(x) + (1 - t) log(1 - s(x))), s the sigmoid, which is part of the loss; targets t in [0, 1].

    Computed as log(1 + exp(x)) - x t, without overflow. Raises ValueError where the shapes differ.

    >>> import minigrad as mg
    >>> mg.nn.functional.binary_cross_entropy_with_logits(mg.tensor([0.0]), mg.tensor([1.0]))
    tensor(0.69314718)
    """
    input, target = as_tensor(input), as_tensor(target)
    _same_shape("binary_cross_entropy_with_logits", input, target)
    if input._op is ops.sigmoid:
        warn_once(
            "sigmoid before binary_cross_entropy_with_logits",
            "binary_cross_entropy_with_logits: its input was made by sigmoid, which the loss applies itself: give it "
            "the scores",
        )
    return _reduce(ops.logaddexp(0, input) - input * target, reduction)


def hinge_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """max(0, 1 - target * input), for targets -1 and 1 in the input's shape. Raises ValueError where the shapes differ.

    >>> import minigrad as mg
    >>> mg.nn.functional.hinge_loss(mg.tensor([0.5, -2.0]), mg.tensor([1.0, -1.0]), reduction="none")
    tensor([0.5, 0. ])
    """
    input, target = as_tensor(input), target if isinstance(target, Tensor) else plain(target)
    _same_shape("hinge_loss", input, target)
    return _reduce(relu(1 - input * target), reduction)


# ---- as modules ----------------------------------------------------------------------------------------------------


class _Loss(Module):
    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = reduction


class MSELoss(_Loss):
    """Compute the squared error, its mean unless `reduction` is "sum" or "none"; see `functional.mse_loss`.

    >>> mg.nn.MSELoss()(mg.tensor([1.0, 2.0]), np.array([0.0, 0.0])).item()
    2.5
    """

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return mse_loss(prediction, target, reduction=self.reduction)


class CrossEntropyLoss(_Loss):
    """Compute the cross-entropy of logits with class indices or probabilities; see `functional.cross_entropy`."""

    def forward(self, logits: Any, target: Any) -> Tensor:
        return cross_entropy(logits, target, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Compute the cross-entropy of yes-or-no logits; see `functional.binary_cross_entropy_with_logits`."""

    def forward(self, logits: Any, target: Any) -> Tensor:
        return binary_cross_entropy_with_logits(logits, target, reduction=self.reduction)


class HingeLoss(_Loss):
    """Compute max(0, 1 - target * score), the target being -1 or 1; see `functional.hinge_loss`."""

    def forward(self, score: Any, target: Any) -> Tensor:
        return hinge_loss(score, target, reduction=self.reduction)


class HuberLoss(_Loss):
    """Compute the squared error up to `delta` and the absolute error beyond; see `functional.huber_loss`."""

    def __init__(self, *, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return huber_loss(prediction, target, delta=self.delta, reduction=self.reduction)
