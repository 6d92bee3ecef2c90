"""Normalisation: of each sample over its last axes, and what that of channels consists of."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from ..kernels import in_any_order, kernel, real
from ..tensor import Tensor, as_tensor
from . import loops
from .card import op, together
from .loops import row_squares, row_sum
from .reduce import count

__all__ = ["layer_norm", "rms_norm"]

BLOCK = 64  # rows that share a sum of the gradients by weight and bias, however many threads there are

# All are y = weight h + bias with h = (x - m) s, where s = 1 / sqrt(mean((x - m)^2) + eps); the mean m is that of the
# sample in layer_norm and standardize (which has neither weight nor bias), and 0 in rms_norm. A sample's m and s depend
# on all its elements, and the gradient by x is
#     s (d - mean(d) - h mean(d h)),  d = g weight,
# without the term mean(d) where m is 0: the parts of d along 1 and along h change nothing.


def _axes(x, weight):
    """The axes of a sample, and those that samples are counted along."""
    return tuple(range(x.ndim - weight.ndim, x.ndim)), tuple(range(x.ndim - weight.ndim))


def _mean(x, axes):
    return np.add.reduce(x, axis=axes, keepdims=True) / max(count(x, axes), 1)


def _centred_and_scale(x, axes, eps, centred):
    """x - m and s."""
    d = x - _mean(x, axes) if centred else x
    return d, 1 / np.sqrt(_mean(d * d, axes) + eps)


def _by_sample(d, h, s, axes, centred):
    gx = d - h * _mean(d * h, axes)
    return (gx - _mean(d, axes) if centred else gx) * s


def _forward(x, weight, bias, eps, centred):
    if loops.native(x, weight, bias):
        x = np.ascontiguousarray(x)
        y, m = np.empty(x.shape, x.dtype), weight.size
        flat = weight.ravel(), bias.ravel(), eps, int(centred)
        normalise.over(x.size // m, loops.grain(m), loops.matrix(x, m), *flat, y.reshape(-1, m))
        return y
    d, s = _centred_and_scale(x, _axes(x, weight)[0], eps, centred)
    return d * s * weight + bias if centred else d * s * weight


def _gradients(g, x, weight, eps, centred):
    """By x, by the weight and by the bias."""
    if loops.native(g, x, weight):
        n, m = x.size // weight.size, weight.size
        gx, blocks = np.empty(x.shape, x.dtype), -(-n // BLOCK)
        sums = np.zeros((2, blocks, m), x.dtype)
        arrays = loops.matrix(g, m), loops.matrix(x, m), weight.ravel(), eps, int(centred), gx.reshape(n, m)
        normalise_back.over(blocks, loops.grain(BLOCK * m), *arrays, *sums)
        return gx, *(total.reshape(weight.shape) for total in np.add.reduce(sums, axis=1))
    axes, samples = _axes(x, weight)
    d, s = _centred_and_scale(x, axes, eps, centred)
    h = d * s
    gx = _by_sample(g * weight, h, s, axes, centred)
    return gx, np.add.reduce(g * h, axis=samples), np.add.reduce(g, axis=samples)


@kernel
def normalise(start, stop, x, weight, bias, eps, centred, y):
    m = x.shape[1]
    for i in range(start, stop):
        centre, scale = moments(x, i, eps, centred)
        for j in range(m):
            y[i, j] = (x[i, j] - centre) * scale * weight[j] + bias[j]


@kernel
def normalise_back(start, stop, g, x, weight, eps, centred, gx, g_weight, g_bias):
    """For blocks of rows, which leave their sums for weight and bias in a row each."""
    n, m = x.shape
    for block in range(start, stop):
        for i in range(block * BLOCK, min(n, (block + 1) * BLOCK)):
            centre, scale = moments(x, i, eps, centred)
            along_one = weighted_sum(g, weight, i) / real(m) * real(centred)
            along_h = weighted_sum_along_h(g, weight, x, i, centre) * scale / real(m)
            for j in range(m):
                h = (x[i, j] - centre) * scale
                gx[i, j] = (g[i, j] * weight[j] - along_one - h * along_h) * scale
                g_weight[block, j] += g[i, j] * h
                g_bias[block, j] += g[i, j]


def moments(x, i, eps, centred):
    """m and s of row i."""
    n = real(x.shape[1])
    centre = row_sum(x, i) / n if centred else real(0)
    return centre, real(1) / sqrt(row_squares(x, i, centre) / n + real(eps))


@in_any_order
def weighted_sum(g, weight, i):
    total = real(0)
    for j in range(g.shape[1]):
        total += g[i, j] * weight[j]
    return total


@in_any_order
def weighted_sum_along_h(g, weight, x, i, centre):
    total = real(0)
    for j in range(g.shape[1]):
        total += g[i, j] * weight[j] * (x[i, j] - centre)
    return total


def _layer_norm_rule(g, y, x, weight, bias, eps):
    return _gradients(g, x, weight, eps, True)


CASES = [([(2, 3), (3,), (3,)], {}), ([(3, 2, 2), (2, 2), (2, 2)], {"eps": 0.1})]


@op(arity=3, vjp=together(_layer_norm_rule), cases=CASES)
def layer_norm_(x, weight, bias, eps=1e-5):
    return _forward(x, weight, bias, eps, True)


@op(arity=2, vjp=together(lambda g, y, x, weight, eps: _gradients(g, x, weight, eps, False)),
    cases=[(shapes[:2], params) for shapes, params in CASES])
def rms_norm_(x, weight, eps=1e-5):
    return _forward(x, weight, np.zeros_like(weight), eps, False)


@op(cases=[([(3, 2)], {"axis": 0}), ([(2, 1, 2)], {"axis": (0, 2)})],
    vjp=lambda g, y, x, axis, eps: _by_sample(g, y, _centred_and_scale(x, axis, eps, True)[1], axis, True))
def standardize(x, axis=-1, eps=1e-5):
    """(x - mean) / sqrt(variance + eps) along one axis or several, the variance that of all elements (not unbiased).

    The gradient is that of Ioffe and Szegedy (2015, arXiv:1502.03167), without what is 0 in it.
    """
    d, s = _centred_and_scale(x, axis, eps, True)
    return d * s


def layer_norm(x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Each sample with its mean taken off and divided by its deviation, then times weight plus bias.

    A sample is what the last axes, of lengths `normalized_shape` (an integer for one axis), hold; weight and bias have
    that shape. y = (x - mean) / sqrt(var + eps) * weight + bias (Ba, Kiros and Hinton 2016, arXiv:1607.06450, eq. 4),
    with the variance's divisor n. Raises ValueError for other shapes.

    >>> import minigrad as mg
    >>> mg.layer_norm([[1.0, 3.0], [5.0, 5.0]], 2, eps=0.0001).numpy().round(3).tolist()
    [[-1.0, 1.0], [0.0, 0.0]]
    """
    x, weight = _with_weight("layer_norm", as_tensor(x), normalized_shape, weight, bias)
    return layer_norm_(x, weight, np.zeros_like(weight) if bias is None else bias, eps)


def rms_norm(x: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Tensor:
    """Each sample divided by the root of its mean square, then times weight; `layer_norm` without the mean.

    y = x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4); without `eps`, it is the
    distance from 1 to the next float of x's dtype. Raises ValueError for shapes that do not fit.

    >>> import minigrad as mg
    >>> mg.rms_norm([1.0, 7.0], 2)
    tensor([0.2, 1.4])
    """
    x, weight = _with_weight("rms_norm", as_tensor(x), normalized_shape, weight, None)
    if eps is None:
        eps = float(np.finfo(x.dtype if x.dtype.kind == "f" else np.float64).eps)
    return rms_norm_(x, weight, eps)


def _with_weight(name: str, x: Tensor, normalized_shape: Any, weight: Any, bias: Any) -> tuple[Tensor, Any]:
    """x and the weight (ones, if there is none), once their shapes have been checked."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int | np.integer) else tuple(normalized_shape)
    if not shape or x.shape[x.ndim - min(len(shape), x.ndim) :] != shape:
        raise ValueError(f"{name}: an input of shape {x.shape} does not end in the normalized_shape {shape}")
    for what, given in (("weight", weight), ("bias", bias)):
        if given is not None and np.shape(given) != shape:
            raise ValueError(f"{name}: the {what} has shape {np.shape(given)}, the normalized_shape is {shape}")
    return x, np.ones_like(x._data, shape=shape) if weight is None else weight
