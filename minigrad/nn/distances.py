"""Distances and similarities of vectors, and the losses made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import linalg, ops
from ..tensor import Tensor, as_tensor, plain, require
from .losses import _Loss, _reduce
from .module import Module

__all__ = [
    "CosineEmbeddingLoss", "CosineSimilarity", "MarginRankingLoss", "PairwiseDistance", "TripletMarginLoss",
]  # fmt: skip


def _agree(name: str, **arrays: Tensor) -> None:
    """Refuse arrays of different shapes."""
    if len({x.shape for x in arrays.values()}) > 1:
        shapes = ", ".join(f"{what} {x.shape}" for what, x in arrays.items())
        raise ValueError(f"{name}: {shapes} would broadcast: they need one shape")


def cosine_similarity(x1: Any, x2: Any, axis: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along an axis: x1 . x2 / (max(|x1|, eps) max(|x2|, eps)).

    >>> import minigrad as mg
    >>> mg.nn.functional.cosine_similarity([[1.0, 0.0]], mg.tensor([[1.0, 1.0]]))
    tensor([0.70710678])
    """
    x1, x2 = as_tensor(x1), as_tensor(x2)
    lengths = (ops.maximum(linalg.norm(x, axis=axis), eps) for x in (x1, x2))
    return ops.sum(x1 * x2, axis=axis) / next(lengths) / next(lengths)


def normalize(input: Any, p: float = 2.0, axis: int = 1, eps: float = 1e-12) -> Tensor:
    """Vectors along an axis divided by their p-norm, which counts as `eps` where it is smaller.

    >>> import minigrad as mg
    >>> mg.nn.functional.normalize([[3.0, 4.0]])
    tensor([[0.6, 0.8]])
    """
    input = as_tensor(input)
    return input / ops.maximum(linalg.norm(input, ord=p, axis=axis, keepdims=True), eps)


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis; `eps` keeps it away from the kink at 0.

    >>> import minigrad as mg
    >>> mg.nn.functional.pairwise_distance([[3.0, 4.0]], mg.tensor([[0.0, 0.0]]), eps=0)
    tensor([5.])
    """
    x1, x2 = as_tensor(x1), as_tensor(x2)
    if x1.shape[-1:] != x2.shape[-1:]:
        raise ValueError(f"pairwise_distance: x1 {x1.shape} and x2 {x2.shape} differ in their last axis")
    return linalg.norm(x1 - x2 + eps, ord=p, axis=-1, keepdims=keepdim)


def _sign(name: str, target: Any, shape: tuple[int, ...]) -> Any:
    """The target as an array of this shape, if it holds 1 and -1 only."""
    target = plain(target)
    if np.shape(target) != shape:
        raise ValueError(f"{name}: the target has shape {np.shape(target)}, and these inputs need {shape}")
    if target.dtype != object:
        wrong = f"{name}: targets are 1 and -1, and these run from"
        require(np.abs(target) == 1, lambda x: ValueError(f"{wrong} {np.min(x)} to {np.max(x)}"), target)
    return target


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:  # fmt: skip
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1, cos the cosine similarity of the inputs.

    The inputs are (batch, width) or (width,), the target (batch,) or one number. Raises ValueError for other shapes and
    other targets.

    >>> import minigrad as mg
    >>> mg.nn.functional.cosine_embedding_loss(mg.tensor([[1.0, 0.0]]), mg.tensor([[0.0, 1.0]]), [1])
    tensor(1.)
    """
    name, a, b = "cosine_embedding_loss", as_tensor(input1), as_tensor(input2)
    _agree(name, input1=a, input2=b)
    if a.ndim not in (1, 2):
        raise ValueError(f"{name}: inputs of shape {a.shape}; (batch, width) is needed, or (width,)")
    target = _sign(name, target, a.shape[:-1])
    squares = [ops.sum(x * x, axis=-1) + 1e-12 for x in (a, b)]
    cosine = ops.sum(a * b, axis=-1) / ops.sqrt(squares[0] * squares[1])
    return _reduce(ops.where(target == 1, 1 - cosine, ops.clip(cosine - margin, 0.0)), reduction)


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:  # fmt: skip
    """max(0, -target * (input1 - input2) + margin): 1 says that input1 should be larger, -1 that input2 should.

    All three have one shape; raises ValueError where they have not, and for other targets.

    >>> import minigrad as mg
    >>> mg.nn.functional.margin_ranking_loss(mg.tensor([1.0]), mg.tensor([3.0]), [1], margin=0.5)
    tensor(2.5)
    """
    name, a, b = "margin_ranking_loss", as_tensor(input1), as_tensor(input2)
    _agree(name, input1=a, input2=b)
    target = _sign(name, target, a.shape)
    return _reduce(ops.clip((b - a) * target.astype(a.dtype) + margin, 0.0), reduction)


def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2, eps: float = 1e-6, swap: bool = False,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d the `pairwise_distance`.

    With `swap`, d(positive, negative) takes the place of d(anchor, negative) where it is smaller (Balntas et al.,
    2016). Raises ValueError where the shapes differ.

    >>> import minigrad as mg
    >>> anchor, near, far = (mg.tensor([[x]]) for x in (0.0, 1.0, 3.0))
    >>> mg.nn.functional.triplet_margin_loss(anchor, near, far, margin=4.0)
    tensor(2.)
    """
    a, near, far = as_tensor(anchor), as_tensor(positive), as_tensor(negative)
    _agree("triplet_margin_loss", anchor=a, positive=near, negative=far)
    away = pairwise_distance(a, far, p, eps)
    if swap:
        away = ops.minimum(away, pairwise_distance(near, far, p, eps))
    return _reduce(ops.clip(pairwise_distance(a, near, p, eps) - away + margin, 0.0), reduction)


# ---- as modules ----------------------------------------------------------------------------------------------------


class CosineSimilarity(Module):
    """Compute the cosine of the angle between vectors along an axis; see `functional.cosine_similarity`."""

    def __init__(self, axis: int = 1, eps: float = 1e-8) -> None:
        self.axis, self.eps = axis, eps

    def forward(self, x1: Any, x2: Any) -> Tensor:
        return cosine_similarity(x1, x2, self.axis, self.eps)


class PairwiseDistance(Module):
    """Compute the p-norm of differences of vectors in the last axis; see `functional.pairwise_distance`."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.p, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Any, x2: Any) -> Tensor:
        return pairwise_distance(x1, x2, self.p, self.eps, self.keepdim)


class CosineEmbeddingLoss(_Loss):
    """Compute 1 - cos for pairs that belong together, max(0, cos - margin) for others.

    See `functional.cosine_embedding_loss`.
    """

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        return cosine_embedding_loss(input1, input2, target, self.margin, self.reduction)


class MarginRankingLoss(_Loss):
    """Compute max(0, -target * (input1 - input2) + margin); see `functional.margin_ranking_loss`."""

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        return margin_ranking_loss(input1, input2, target, self.margin, self.reduction)


class TripletMarginLoss(_Loss):
    """Compute max(0, d(anchor, positive) - d(anchor, negative) + margin); see `functional.triplet_margin_loss`."""

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, *, reduction: str = "mean"
    ) -> None:  # fmt: skip
        super().__init__(reduction=reduction)
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        return triplet_margin_loss(anchor, positive, negative, self.margin, self.p, self.eps, self.swap, self.reduction)
