"""Ops that give the same elements another shape, or their axes another order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..tensor import Tensor, as_tensor
from .card import NUMPY, composite, op
from .elementwise import astype, astype_

__all__ = [
    "broadcast_to", "copy", "expand_dims", "matrix_transpose", "moveaxis", "ravel", "reshape", "rollaxis", "squeeze",
    "swapaxes", "transpose",
]  # fmt: skip

REMEDIES = {"out": "assign the result to a name", "dtype": "call .astype(dtype) on the result"}


def unsupported(function: str, **given: Any) -> None:
    """Refuse, in a sentence, arguments that NumPy's function has and ours has not, unless they are None."""
    for name, value in given.items():
        if value is not None:
            raise TypeError(f"{function}: {name}= is not supported: {REMEDIES.get(name, 'leave it out')}")


def along(axis, index):
    """The key that applies `index` to one axis and takes the others whole."""
    return (slice(None),) * axis + (index,)


def fitting(function: str, values: Any, x: Tensor) -> Tensor:
    """Values in the dtype of the array x that they are put into. Raises TypeError where that cannot hold them."""
    values = as_tensor(values)
    if values.dtype == x.dtype or values.dtype.hasobject or x.dtype.hasobject:
        return values
    if not np.can_cast(values.dtype, x.dtype, "same_kind"):
        remedy = f"make it one of {values.dtype} first, by .astype"
        raise TypeError(f"{function}: an array of {x.dtype} cannot hold values of {values.dtype}: {remedy}")
    return astype(values, x.dtype)


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


@composite(np.rollaxis, cases=[([(2, 1, 3)], {"axis": 2}), ([(2, 1, 3)], {"axis": 0, "start": -1})])
def rollaxis(a: Any, axis: int, start: int = 0) -> Tensor:
    """The array with one axis moved to before the axis `start`.

    >>> import minigrad as mg
    >>> mg.rollaxis(mg.ones((2, 3, 4)), 2).shape
    (4, 2, 3)
    """
    n = np.ndim(a)
    axis = normalize_axis_index(axis, n, "rollaxis")
    place = start + n if start < 0 else start
    if not 0 <= place <= n:
        raise ValueError(f"rollaxis: start={start} is none of the places {-n} to {n} of an array with {n} axes")
    return moveaxis(a, axis, place - (axis < place))


@composite(np.matrix_transpose, cases=[([(2, 1, 3)], {})])
def matrix_transpose(x: Any, /) -> Tensor:
    """The matrices in the last two axes transposed. Raises ValueError for fewer axes.

    >>> import minigrad as mg
    >>> mg.matrix_transpose(mg.ones((2, 3, 4))).shape
    (2, 4, 3)
    """
    if np.ndim(x) < 2:
        raise ValueError(f"matrix_transpose: an array of shape {np.shape(x)} holds no matrices, which have two axes")
    return swapaxes(x, -1, -2)


NUMPY[np.linalg.matrix_transpose] = matrix_transpose


@composite(np.copy, cases=[([(2, 3)], {})])
def copy(a: Any, order: str = "K", subok: bool = False) -> Tensor:
    """The same values in an array of their own; `order` and `subok` are NumPy's, and make no difference.

    >>> import minigrad as mg
    >>> mg.copy([1.0, 2.0])
    tensor([1., 2.])
    """
    a = as_tensor(a)
    return astype_(a, dtype=a.dtype)


def _numpys_astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    unsupported("astype", device=device)
    return astype(x, dtype)


NUMPY[np.astype] = _numpys_astype
