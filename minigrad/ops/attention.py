"""Scaled dot-product attention."""

from __future__ import annotations

import numpy as np

from . import loops
from .card import op, together

__all__: list[str] = []  # offered as mg.nn.functional.scaled_dot_product_attention


def _safe_softmax(x):
    weights = np.exp(x)
    total = np.sum(weights, axis=-1, keepdims=True)
    return weights / np.where(total == 0, 1, total)


def _safe_softmax_slope(g, y):
    if loops.native(g, y):
        return loops.softmax_slope(np.array(g, order="C"), y)
    return y * (g - np.add.reduce(g * y, axis=-1, keepdims=True))


@op(sympy=_safe_softmax, cases=[([(2, 3)], {})], vjp=lambda g, y, x: _safe_softmax_slope(g, y))
def safe_softmax(x):
    """softmax over the last axis, for scores that are -inf where they are masked out: zeros where all are."""
    if not x.size:
        return x.copy()
    if loops.native(x):
        return loops.softmax(np.array(x, order="C"), safe=True)
    top = np.maximum.reduce(x, axis=-1, keepdims=True)
    weights = np.exp(x - np.where(top == -np.inf, 0, top))
    total = np.add.reduce(weights, axis=-1, keepdims=True)
    weights /= np.where(total == 0, 1, total)
    return weights


def masked(scores, mask, is_causal):
    """The scores with -inf where the mask, or causality, has a query not see a key."""
    if is_causal:
        scores = np.where(np.tri(*scores.shape[-2:]) > 0, scores, -np.inf)
    if mask is None:
        return scores
    if mask.dtype == bool:
        return np.where(mask, scores, -np.inf)
    return scores + (mask if mask.dtype == scores.dtype else mask.astype(scores.dtype))


def _scores(q, k, mask, is_causal, scale):
    """How well each query fits each key. q is scaled before the product, which is the larger array."""
    return masked(np.matmul(q * scale, np.swapaxes(k, -1, -2)), mask, is_causal)


def _weights(q, k, mask, is_causal, scale):
    """How much each query takes of each value: arrays large enough go through native loops, in place."""
    scores = np.matmul(q * scale, np.ascontiguousarray(np.swapaxes(k, -1, -2)))
    if not loops.native(scores):
        return safe_softmax.forward(masked(scores, mask, is_causal))
    if mask is not None:
        if mask.dtype == bool:
            np.copyto(scores, -np.inf, where=~mask)
        else:
            scores += mask
    return loops.softmax(scores, safe=True, causal=is_causal)


def _attention_rule(g, y, q, k, v, mask, is_causal, scale):
    """The weights are computed anew: keeping them would take more memory than all the inputs."""
    if loops.native(q, k, v, g):
        p = _weights(q, k, mask, is_causal, scale)
        g_scores = np.matmul(g, np.ascontiguousarray(np.swapaxes(v, -1, -2)))
        g_scores = loops.softmax_slope(g_scores, p, scale)
    else:
        p = safe_softmax(_scores(q, k, mask, is_causal, scale))
        g_scores = _safe_softmax_slope(np.matmul(g, np.swapaxes(v, -1, -2)), p) * scale
    return np.matmul(g_scores, k), np.matmul(np.swapaxes(g_scores, -1, -2), q), np.matmul(np.swapaxes(p, -1, -2), g)


QKV = [(2, 3), (2, 3), (2, 2)]


@op(arity=3, vjp=together(_attention_rule),
    cases=[(QKV, {"scale": 0.5}), (QKV, {"is_causal": True}),
           (QKV, {"mask": np.array([[True, False], [False, False]])}),
           ([(1, 2, 2), (2, 2, 2), (2, 2, 1)], {"mask": np.array([[0.5, -np.inf], [-1.0, 0.25]])})])
def attention(q, k, v, mask=None, is_causal=False, scale=1.0):
    """softmax(scale q k^T + mask) v, for stacks of queries (L, E), keys (S, E) and values (S, E_v).

    The mask is a constant: boolean (True: takes part) or added to the scores. A query that sees no key gets zeros.
    Takes memory for the scores, (L, S) a pair of stacks, and twice that backward.
    """
    native = loops.native(q, k, v)
    weights = _weights(q, k, mask, is_causal, scale) if native else safe_softmax.forward(
        _scores(q, k, mask, is_causal, scale))
    return np.matmul(weights, v)
