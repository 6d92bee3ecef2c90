"""Standardising: mean 0 and variance 1 along axes, what batch, group and instance normalisation consist of."""

from __future__ import annotations

import numpy as np

from .card import op
from .reduce import count

__all__: list[str] = []  # the functions in nn/batchnorm.py are the public face


def _mean(x, axis):
    return np.add.reduce(x, axis=axis, keepdims=True) / count(x, axis)


def _centred_and_deviation(x, axis, eps):
    d = x - _mean(x, axis)
    return d, np.sqrt(_mean(d * d, axis) + eps)


@op(cases=[([(3, 2)], {"axis": 0}), ([(2, 1, 2)], {"axis": (0, 2)})],
    vjp=lambda g, y, x, axis, eps:
        (g - _mean(g, axis) - y * _mean(g * y, axis)) / _centred_and_deviation(x, axis, eps)[1])
def standardize(x, axis=-1, eps=1e-5):
    """(x - mean) / sqrt(variance + eps) along one axis or several, the variance that of all elements (not unbiased).

    The gradient is that of Ioffe and Szegedy (2015, arXiv:1502.03167), without what is 0 in it. With s the root:
    (g - mean(g) - y mean(g y)) / s.
    """
    d, s = _centred_and_deviation(x, axis, eps)
    return d / s
