"""Embeddings: a row of a table for each index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..batching import as_array, innermost_array, visible
from ..tensor import Tensor, as_tensor, mode, plain, require
from . import init
from .module import InputError, Module, length, new_parameter

__all__ = ["Embedding"]


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Tensor:
    """The rows of `weight` at the indices `input`, integers of any shape: a result of shape (*input.shape, width).

    No gradient flows to the row `padding_idx`. Raises ValueError for an index without a row, TypeError for floats.

    >>> import minigrad as mg
    >>> mg.nn.functional.embedding([1, 0, 1], mg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[3., 4.],
            [1., 2.],
            [3., 4.]])
    """
    index, weight = as_array(plain(input)), as_tensor(weight)
    kind = ValueError if index.dtype.kind in "iu" else TypeError
    index = _checked(index, weight.shape[0], lambda fault: kind(f"embedding: {fault}"))
    return _picked(index, weight, padding_idx)


def _picked(index: np.ndarray, weight: Tensor, padding_idx: int | None) -> Tensor:
    rows = ops.getitem(weight, index)
    if padding_idx is None:
        return rows
    padding = (index == padding_idx % weight.shape[0])[..., None]
    return ops.where(padding, rows.detach(), rows) if not visible(padding) or innermost_array(padding).any() else rows


def _checked(index: np.ndarray, n: int, error: Callable[[str], Exception]) -> np.ndarray:
    """The indices, which are to be those of n rows; raises the error of what is wrong with them otherwise."""
    if index.dtype.kind not in "iu":
        raise error(f"indices are integers, not {index.dtype}: .astype(int) makes integers of whole numbers")

    def outside(index: np.ndarray) -> Exception:
        return error(f"the table has rows 0 to {n - 1}, and the indices run from {index.min()} to {index.max()}")

    if visible(index):
        if index.size and index.view(f"u{index.itemsize}").max() >= n:  # negative ones are huge, seen unsigned
            raise outside(index)
        return index
    if mode.capture is None or not mode.capture.reads(index):
        return np.where(index < 0, n, index)  # out of range, and refused where it picks
    wrong = (index < 0) | (index >= n)
    require(~wrong, outside, index)
    return np.where(wrong, 0, index)


def one_hot(tensor: Any, num_classes: int = -1) -> np.ndarray:
    """1 at each index and 0 elsewhere: integers of shape (*tensor.shape, num_classes).

    -1 stands for as many classes as the largest index needs. Raises ValueError for an index that is no class.

    >>> import minigrad as mg
    >>> mg.nn.functional.one_hot([0, 2])
    array([[1, 0, 0],
           [0, 0, 1]])
    """
    index = as_array(plain(tensor))
    if index.dtype.kind not in "iu":
        raise TypeError(f"one_hot: classes are integers, not {index.dtype}")
    if num_classes == -1:
        if not index.size:
            raise ValueError("one_hot: no indices say how many classes there are; give num_classes")
        num_classes = int(index.max()) + 1
    classes = f"one_hot: classes are 0 to {num_classes - 1}, and the indices run from"
    inside = (index >= 0) & (index < num_classes)
    require(inside, lambda index: ValueError(f"{classes} {index.min()} to {index.max()}"), index)
    return (index[..., None] == np.arange(num_classes)).astype(np.int64)


class Embedding(Module):
    """Look up a row of a table for each index: what turns words, or other things that are counted, into vectors.

    The input holds integers of any shape, below `num_embeddings`; the output has an axis of `embedding_dim` behind. The
    table `weight` is drawn from N(0, 1). The row `padding_idx` starts as zeros and gets no gradient. PyTorch's other
    arguments (max_norm, scale_grad_by_freq, sparse) are not supported.

    >>> layer = mg.nn.Embedding(10, 3)
    >>> layer(np.array([[1, 2, 4, 5], [4, 3, 2, 9]])).shape
    (2, 4, 3)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
    ) -> None:  # fmt: skip
        unknown = {"max_norm": max_norm, "scale_grad_by_freq": scale_grad_by_freq, "sparse": sparse}
        if given := [f"{name}={value!r}" for name, value in unknown.items() if value]:
            raise ValueError(f"Embedding: {', '.join(given)} is not supported; of PyTorch's options padding_idx is")
        self.num_embeddings = length(self, "num_embeddings", num_embeddings)
        self.embedding_dim = length(self, "embedding_dim", embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"Embedding: padding_idx={padding_idx} is no row of {num_embeddings}")
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = init.normal_(new_parameter(num_embeddings, embedding_dim))
        if padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    def forward(self, input: Any) -> Tensor:
        roots = () if mode.capture is None else mode.capture.modules  # for an error that comes after all calls
        path = next((path for root in roots for path, module in root.named_modules() if module is self), "")
        index = _checked(as_array(plain(input)), self.num_embeddings, lambda fault: InputError(self, fault, path))
        return _picked(index, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
