"""Ops that give the same elements another shape, or their axes another order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..tensor import Tensor
from .card import composite, op

__all__ = [
    "broadcast_to", "expand_dims", "moveaxis", "ravel", "reshape", "squeeze", "swapaxes", "transpose",
]  # fmt: skip


def along(axis, index):
    """The key that applies `index` to one axis and takes the others whole."""
    return (slice(None),) * axis + (index,)


def inverse(axes):
    """The permutation that undoes `axes`."""
    return tuple(np.argsort([i % len(axes) for i in axes]).tolist())


@op(numpy=np.transpose, cases=[([(2, 3)], {}), ([(2, 1, 3)], {"axes": (2, 0, 1)})],
    vjp=lambda g, y, x, axes: transpose(g, None if axes is None else inverse(axes)))
def transpose(a, axes=None):
    """The axes in another order (reversed, for None).

    >>> import minigrad as mg
    >>> mg.transpose(mg.ones((2, 3, 4)), (1, 0, 2)).shape
    (3, 2, 4)
    """
    return a.T if axes is None else a.transpose(axes)


@op(numpy=np.reshape, cases=[([(2, 3)], {"shape": (3, 2)}), ([(2, 3)], {"shape": (-1,)})],
    vjp=lambda g, y, x, shape: reshape(g, x.shape))
def reshape(a, shape=()):
    """The same elements in another shape; one length may be -1 and follows from the others.

    >>> import minigrad as mg
    >>> mg.reshape([1, 2, 3, 4], (2, -1))
    tensor([[1, 2],
            [3, 4]])
    """
    return np.reshape(a, shape)


@op(numpy=np.broadcast_to, cases=[([(3,)], {"shape": (2, 3)}), ([(2, 1)], {"shape": (2, 3)}), ([()], {"shape": (2,)})],
    vjp=lambda g, y, x, shape: g)
def broadcast_to(x, shape=()):
    """A copy of the array repeated to the shape that it broadcasts to.

    >>> import minigrad as mg
    >>> mg.broadcast_to([1.0, 2.0], (2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """
    y = np.empty_like(x, shape=shape)
    y[...] = x
    return y


@op(numpy=np.squeeze, cases=[([(2, 1, 3)], {}), ([(1, 2, 1)], {"axis": 0})],
    vjp=lambda g, y, x, axis: reshape(g, x.shape))
def squeeze(a, axis=None):
    """The array without its axes of length one (all, or those named).

    >>> import minigrad as mg
    >>> mg.squeeze([[1.0, 2.0]]).shape
    (2,)
    """
    return np.squeeze(a, axis)


@op(numpy=np.expand_dims, cases=[([(2, 3)], {"axis": 1})],
    vjp=lambda g, y, x, axis: reshape(g, x.shape))
def expand_dims(a, axis=0):
    """The array with a new axis of length one at `axis` (one or several).

    >>> import minigrad as mg
    >>> mg.expand_dims([1.0, 2.0], 1).shape
    (2, 1)
    """
    return np.expand_dims(a, axis)


@composite(np.ravel, cases=[([(2, 3)], {})])
def ravel(a: Any) -> Tensor:
    """The elements in one row.

    >>> import minigrad as mg
    >>> mg.ravel([[1, 2], [3, 4]])
    tensor([1, 2, 3, 4])
    """
    return reshape(a, (-1,))


@composite(np.swapaxes, cases=[([(2, 3, 1)], {"axis1": 0, "axis2": -1})])
def swapaxes(a: Any, axis1: int, axis2: int) -> Tensor:
    """The array with two axes exchanged.

    >>> import minigrad as mg
    >>> mg.swapaxes(mg.ones((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    axes = list(range(np.ndim(a)))
    axis1, axis2 = (normalize_axis_index(i, len(axes), "swapaxes") for i in (axis1, axis2))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return transpose(a, tuple(axes))


@composite(np.moveaxis, cases=[([(2, 1, 3)], {"source": 0, "destination": -1})])
def moveaxis(a: Any, source: Any, destination: Any) -> Tensor:
    """The array with the axes `source` moved to the places `destination`.

    >>> import minigrad as mg
    >>> mg.moveaxis(mg.ones((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    places = np.moveaxis(np.empty((0,) * np.ndim(a), bool), source, destination)  # NumPy's checks of the axes
    n = places.ndim
    source, destination = ([i % n for i in np.atleast_1d(axes).tolist()] for axes in (source, destination))
    axes = [i for i in range(n) if i not in source]
    for to, axis in sorted(zip(destination, source, strict=True)):
        axes.insert(to, axis)
    return transpose(a, tuple(axes))
