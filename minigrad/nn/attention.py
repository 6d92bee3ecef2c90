"""Attention, and the layers of the transformer (Vaswani et al., 2017, arXiv:1706.03762)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..batching import StandIn
from ..names import known
from ..ops.attention import attention, masked, safe_softmax
from ..tensor import Tensor, as_tensor, default_dtype, plain
from . import init
from .containers import ModuleList
from .dropout import Dropout, dropout
from .linear import Linear, linear
from .module import InputError, Module, length, new_parameter
from .normalization import LayerNorm

__all__ = [
    "MultiheadAttention", "PositionalEncoding", "TransformerDecoderLayer", "TransformerEncoder",
    "TransformerEncoderLayer",
]  # fmt: skip

ACTIVATIONS: dict[str, Callable] = {"relu": ops.relu, "gelu": ops.gelu}


def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:  # fmt: skip
    """softmax(scale query key^T + mask) value: the mean of the values, weighted by how well their keys fit the query.

    (Vaswani et al. 2017, eq. 1.) Queries have shape (..., L, E), keys (..., S, E), values (..., S, E_v) and the result
    (..., L, E_v); `scale` is 1 / sqrt(E) unless given. `attn_mask` broadcasts to (..., L, S): booleans (True: the query
    sees the key) or numbers that are added to the scores, -inf for what is not seen. `is_causal` has query i see the
    keys up to i. A query that sees no key gets zeros, and gradients of zero. `dropout_p` drops weights, also outside of
    training. Raises ValueError for shapes that do not fit and for both kinds of mask at once, TypeError for a mask of
    integers.

    >>> import minigrad as mg
    >>> x = mg.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> mg.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)[0]
    tensor([1., 0.])
    """
    q, k, v = as_tensor(query), as_tensor(key), as_tensor(value)
    mask = _checked("scaled_dot_product_attention", q, k, v, attn_mask)
    if mask is not None and is_causal:
        raise ValueError("scaled_dot_product_attention: give attn_mask or is_causal=True, not both")
    if scale is None:
        scale = 1 / math.sqrt(max(q.shape[-1], 1))
    if dropout_p == 0 and not (isinstance(mask, Tensor) and mask.requires_grad):
        return attention(q, k, v, plain(mask), is_causal, scale)
    weights = dropout(attention_weights(q, k, mask, is_causal, scale), dropout_p, training=True)
    return ops.matmul(weights, v)


def attention_weights(q: Any, k: Any, mask: Any, is_causal: bool, scale: float) -> Tensor:
    """How much each query takes of each value."""
    mask = plain(mask) if mask is not None and mask.dtype == bool else mask
    return safe_softmax(masked(ops.matmul(q * scale, ops.swapaxes(k, -1, -2)), mask, is_causal))


def _checked(name: str, q: Tensor, k: Tensor, v: Tensor, mask: Any) -> Any:
    """The mask, a tensor where it has a gradient, once all shapes have been found to fit."""
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise ValueError(f"{name}: query {q.shape}, key {k.shape} and value {v.shape} need two axes or more each")
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(f"{name}: query {q.shape} and key {k.shape} differ in their last axis, {q.shape[-1]} and "
                         f"{k.shape[-1]} features")  # fmt: skip
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"{name}: key {k.shape} and value {v.shape} differ in their last but one axis: every key has "
                         "a value")  # fmt: skip
    if mask is None:
        return None
    if not (isinstance(mask, Tensor) and mask.requires_grad):
        mask = plain(mask)
        mask = mask if isinstance(mask, StandIn) else np.asanyarray(mask)
    if mask.dtype.kind not in "bfO":
        raise TypeError(f"{name}: a mask is boolean, or floating numbers to add to the scores, not {mask.dtype}")
    try:
        scores = (*np.broadcast_shapes(q.shape[:-2], k.shape[:-2]), q.shape[-2], k.shape[-2])
        fits = np.broadcast_shapes(mask.shape, scores) == scores
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name}: a mask of shape {mask.shape} does not broadcast to the scores, which are "
                         f"{(*q.shape[:-1], k.shape[-2])}")  # fmt: skip
    return mask


class MultiheadAttention(Module):
    """Attend in several subspaces at once (Vaswani et al., 2017, section 3.2.2), with PyTorch's parameters.

    Queries, keys and values are mapped to `embed_dim` features each, cut into `num_heads` heads that attend by
    themselves, joined, and mapped once more. Inputs are (length, batch, features), (batch, length, features) with
    `batch_first`, or (length, features); keys and values have `kdim` and `vdim` features (embed_dim, for None).

    Returns the output and the weights (batch, length of query, length of key), averaged over the heads, or with an axis
    for these behind the batch if not `average_attn_weights`, or None if not `need_weights`, which is quicker.

    `attn_mask` is (L, S) or (batch * num_heads, L, S), `key_padding_mask` (batch, S). In both, as in PyTorch and unlike
    in `scaled_dot_product_attention`, True is for what is not seen; numbers are added to the scores. `is_causal`
    without a mask makes the causal one; with a mask, it only says what the mask is. A query that sees nothing gets
    weights of zero (where PyTorch has nan if weights are asked for).
    `dropout` is for the weights, in training. Raises ValueError for shapes that do not fit.

    >>> layer = mg.nn.MultiheadAttention(4, 2, batch_first=True)
    >>> x = np.zeros((3, 5, 4))
    >>> y, weights = layer(x, x, x)
    >>> y.shape, weights.shape
    ((3, 5, 4), (3, 5, 5))
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, kdim: int | None = None,
        vdim: int | None = None, batch_first: bool = False,
    ) -> None:  # fmt: skip
        self.embed_dim = n = length(self, "embed_dim", embed_dim)
        self.num_heads = length(self, "num_heads", num_heads)
        if n % self.num_heads:
            raise ValueError(f"MultiheadAttention: embed_dim {n} is not a multiple of num_heads {num_heads}")
        self.dropout, self.batch_first = dropout, batch_first
        self.kdim = n if kdim is None else length(self, "kdim", kdim)
        self.vdim = n if vdim is None else length(self, "vdim", vdim)
        self.in_proj_weight: Any = None
        self.q_proj_weight = self.k_proj_weight = self.v_proj_weight = None
        if self.kdim == self.vdim == n:
            self.in_proj_weight = init.xavier_uniform_(new_parameter(3 * n, n))
        else:
            for name, width in (("q", n), ("k", self.kdim), ("v", self.vdim)):
                setattr(self, f"{name}_proj_weight", init.xavier_uniform_(new_parameter(n, width)))
        self.in_proj_bias = new_parameter(3 * n) if bias else None
        self.out_proj = Linear(n, n, bias=bias)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Any, key: Any, value: Any, key_padding_mask: Any = None, need_weights: bool = True,
        attn_mask: Any = None, average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        inputs = self.checked(as_tensor(query), as_tensor(key), as_tensor(value))
        batched = inputs[0].ndim == 3
        if batched and not self.batch_first:
            inputs = [ops.swapaxes(x, 0, 1) for x in inputs]
        elif not batched:
            inputs = [ops.expand_dims(x, 0) for x in inputs]
            key_padding_mask = None if key_padding_mask is None else plain(key_padding_mask)[None]
        q, k, v = self.projected(inputs)
        mask = self.joined_mask(q, k, key_padding_mask, attn_mask)
        is_causal = is_causal and attn_mask is None
        if is_causal and mask is not None:
            mask = _added(mask, np.tri(q.shape[-2], k.shape[-2]) > 0, q.dtype)
            is_causal = False
        dropout_p = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            weights = attention_weights(q, k, mask, is_causal, 1 / math.sqrt(q.shape[-1]))
            weights = dropout(weights, dropout_p, training=True)
            y = ops.matmul(weights, v)
            weights = ops.mean(weights, axis=1) if average_attn_weights else weights
        else:
            y = scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal)
        n, _, rows, _ = y.shape
        y = self.out_proj(ops.reshape(ops.transpose(y, (0, 2, 1, 3)), (n, rows, self.embed_dim)))
        if not batched:
            return y[0], weights if weights is None else weights[0]
        return y if self.batch_first else ops.swapaxes(y, 0, 1), weights

    def projected(self, inputs: list[Tensor]) -> list[Tensor]:
        """Queries, keys and values of the heads: (batch, head, length, features of a head)."""
        n, heads = self.embed_dim, []
        for i, x in enumerate(inputs):
            part = slice(i * n, (i + 1) * n)
            separate = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)[i]
            weight = self.in_proj_weight[part] if separate is None else separate
            y = linear(x, weight, None if self.in_proj_bias is None else self.in_proj_bias[part])
            shape = (*y.shape[:2], self.num_heads, n // self.num_heads)
            heads.append(ops.transpose(ops.reshape(y, shape), (0, 2, 1, 3)))
        return heads

    def joined_mask(self, q: Tensor, k: Tensor, key_padding_mask: Any, attn_mask: Any) -> Any:
        """Both masks as one that broadcasts to (batch, heads, L, S): True where a query sees a key, or numbers."""
        batch, heads, rows, columns = (*q.shape[:3], k.shape[2])
        mask = None
        shapes: dict[tuple, tuple] = {
            (rows, columns): (rows, columns), (batch * heads, rows, columns): (batch, heads, rows, columns)
        }  # fmt: skip
        of_keys: dict[tuple, tuple] = {(batch, columns): (batch, 1, 1, columns)}
        for what, given, allowed in (("attn_mask", attn_mask, shapes), ("key_padding_mask", key_padding_mask, of_keys)):
            if given is None:
                continue
            if np.shape(given) not in allowed:
                fit = " or ".join(map(str, allowed))
                raise InputError(self, f"{what} has shape {np.shape(given)}; {fit} would fit")
            given = as_tensor(given)
            if given.dtype.kind not in "bf":
                raise InputError(self, f"{what} is boolean (True: not seen) or of floating numbers, not {given.dtype}")
            part = ops.reshape(given, allowed[given.shape])
            part = ~part._data if part.dtype == bool else part if part.requires_grad else part._data
            mask = part if mask is None else _added(mask, part, q.dtype)
        return mask

    def checked(self, *inputs: Tensor) -> list[Tensor]:
        """Query, key and value, if they go with each other and with the layer."""
        widths = (self.embed_dim, self.kdim, self.vdim)
        named = list(zip(("query", "key", "value"), inputs, widths, strict=True))
        shapes = ", ".join(f"{what} {x.shape}" for what, x, _ in named)
        for what, x, width in named:
            if x.ndim not in (2, 3) or x.ndim != inputs[0].ndim:
                raise InputError(self, f"{shapes}: all three have three axes, or two without a batch")
            if x.shape[-1] != width:
                raise InputError(self, f"{what} {x.shape} has {x.shape[-1]} features, this layer expects {width}")
        batch = 0 if self.batch_first else 1
        if len({x.shape[batch] for x in inputs}) > 1 and inputs[0].ndim == 3:
            raise InputError(self, f"{shapes} differ in the batch, which is axis {batch}")
        if inputs[1].shape[:-1] != inputs[2].shape[:-1]:
            raise InputError(self, f"{shapes}: every key has a value")
        return list(inputs)

    def extra_repr(self) -> str:
        more = f", dropout={self.dropout}" if self.dropout else ""
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}{more}, batch_first={self.batch_first}"


def _added(a: Any, b: Any, dtype: Any) -> Any:
    """Two masks as one."""
    if a.dtype == b.dtype == bool:
        return a & b
    return sum((np.where(m, 0, -np.inf).astype(dtype) if m.dtype == bool else m for m in (a, b)), 0)


class PositionalEncoding(Module):
    """Add to each position's features a code of the position, made of sines and cosines.

    Feature 2 i of position p gets sin(p / 10000^(2 i / d)), feature 2 i + 1 the cosine of the same (Vaswani et al.,
    2017, section 3.5), d the number of features. Inputs have shape (..., positions, features), or
    (positions, batch, features) if not `batch_first`. In training, `dropout` is applied to the sum. PyTorch has no
    such layer; it has no parameters and nothing in its state. Raises ValueError for more positions than `max_len`.

    >>> mg.nn.PositionalEncoding(4)(np.zeros((2, 4))).numpy().round(3).tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.841, 0.54, 0.01, 1.0]]
    """

    def __init__(self, d_model: int, dropout: float = 0.0, max_len: int = 5000, batch_first: bool = True) -> None:
        self.d_model = length(self, "d_model", d_model)
        self.max_len, self.batch_first = length(self, "max_len", max_len), batch_first
        self.dropout = Dropout(dropout)
        self.table = positions(self.max_len, self.d_model)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        axis = -2 if self.batch_first or x.ndim < 3 else 0
        if x.ndim < 2 or x.shape[-1] != self.d_model:
            raise InputError(self, f"input {x.shape} is not (..., positions, {self.d_model})")
        n = x.shape[axis]
        if n > self.max_len:
            raise InputError(self, f"input {x.shape} has {n} positions, more than max_len={self.max_len}")
        table = self.table[:n].astype(x.dtype if x.dtype.kind == "f" else default_dtype())
        return self.dropout(x + (table if axis == -2 else table[:, None]))

    def extra_repr(self) -> str:
        return f"{self.d_model}, max_len={self.max_len}, batch_first={self.batch_first}"


def positions(n: int, d: int) -> np.ndarray:
    """The codes of n positions in d features."""
    angles = np.arange(n)[:, None] / 10000 ** (np.arange(0, d, 2) / d)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(n, -1)[:, :d]


class _TransformerLayer(Module):
    """What the encoder's and the decoder's layers share: the network at each position, and residuals."""

    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention

    def add_parts(
        self, attentions: tuple[str, ...], d_model: int, nhead: int, dim_feedforward: int, dropout: float,
        activation: str | Callable, layer_norm_eps: float, batch_first: bool, norm_first: bool, bias: bool,
    ) -> None:  # fmt: skip
        for name in attentions:
            setattr(self, name, MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first))
        self.linear1 = Linear(d_model, dim_feedforward, bias)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        self.norm_first = norm_first
        for i in range(1, len(attentions) + 2):
            setattr(self, f"norm{i}", LayerNorm(d_model, layer_norm_eps, bias=bias))
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = ACTIVATIONS[known("activation", activation, ACTIVATIONS)] if isinstance(
            activation, str) else activation  # fmt: skip

    def residual(self, i: int, x: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        """x plus what part i makes of it, normalised before the part or after the sum."""
        norm, drop = getattr(self, f"norm{i}"), getattr(self, f"dropout{i}")
        return x + drop(part(norm(x))) if self.norm_first else norm(x + drop(part(x)))

    def feedforward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_TransformerLayer):
    """Self-attention, then a network of two layers at each position, each added to its input and normalised.

    (Vaswani et al., 2017, section 3.1; with `norm_first`, each part gets its input normalised: Xiong et al., 2020,
    arXiv:2002.04745.) `activation` is "relu", "gelu" or a function. Masks are those of `MultiheadAttention`.

    >>> layer = mg.nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=16, batch_first=True)
    >>> layer(np.zeros((3, 5, 8))).shape
    (3, 5, 8)
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: str | Callable = "relu", layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True,
    ) -> None:  # fmt: skip
        self.add_parts(("self_attn",), d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps,
                       batch_first, norm_first, bias)  # fmt: skip

    def forward(
        self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False
    ) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            return self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0]

        x = self.residual(1, as_tensor(src), attend)
        return self.residual(2, x, self.feedforward)


class TransformerEncoder(Module):
    """Apply copies of one `TransformerEncoderLayer` after another, and `norm`, if given, to the last one's output.

    The copies start with the same parameters, as PyTorch's do. `is_causal` without a mask makes the causal one.

    >>> layer = mg.nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=16)
    >>> sum(p.size for p in mg.nn.TransformerEncoder(layer, 3).parameters()) // 3
    600
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        self.num_layers = length(self, "num_layers", num_layers)
        self.layers = ModuleList(copy.deepcopy(encoder_layer) for _ in range(self.num_layers))
        self.norm = norm

    def forward(self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Tensor:
        x = src
        for layer in self.layers:
            x = layer(x, mask, src_key_padding_mask, is_causal)
        return x if self.norm is None else self.norm(x)


class TransformerDecoderLayer(_TransformerLayer):
    """Self-attention, attention to `memory` (an encoder's output), and a network of two layers at each position.

    (Vaswani et al., 2017, section 3.1.) Arguments and masks are those of `TransformerEncoderLayer`.

    >>> layer = mg.nn.TransformerDecoderLayer(8, nhead=2, dim_feedforward=16, batch_first=True)
    >>> layer(np.zeros((3, 5, 8)), np.zeros((3, 7, 8)), tgt_is_causal=True).shape
    (3, 5, 8)
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: str | Callable = "relu", layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True,
    ) -> None:  # fmt: skip
        self.add_parts(("self_attn", "multihead_attn"), d_model, nhead, dim_feedforward, dropout, activation,
                       layer_norm_eps, batch_first, norm_first, bias)  # fmt: skip

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None, tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None, tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        def attend(x: Tensor) -> Tensor:
            return self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)[0]

        def look_up(x: Tensor) -> Tensor:
            masks = memory_key_padding_mask, False, memory_mask
            return self.multihead_attn(x, memory, memory, *masks, is_causal=memory_is_causal)[0]

        x = self.residual(1, as_tensor(tgt), attend)
        return self.residual(3, self.residual(2, x, look_up), self.feedforward)
