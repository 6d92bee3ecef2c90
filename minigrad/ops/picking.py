"""Ops that pick elements, and put them elsewhere: indexing, repeating, reversing, padding.

All of them are indexing, so `getitem` and its transpose `scatter` hold the only gradient of picking: an element picked
several times receives the sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..tensor import Tensor, as_tensor, plain
from .card import composite, op
from .shape import along, ravel

__all__ = [
    "flip", "pad", "repeat", "take_along_axis", "tile",
]  # fmt: skip


def is_basic(key):
    """Whether a key picks each element at most once, as slices, integers, None and boolean masks do."""
    parts = key if type(key) is tuple else (key,)
    return all(isinstance(k, slice | int | np.integer | type(None) | type(...)) for k in parts) or (
        isinstance(key, np.ndarray) and key.dtype == bool
    )


@op(cases=[([(3,)], {"key": np.array([0, 0, 1]), "shape": (3,)})], arity=1,
    vjp=lambda g, y, x, key, shape: getitem(g, key))
def scatter(x, key=(), shape=()):
    """Zeros to which x is added at `key`: the transpose of indexing."""
    y = np.zeros_like(x, shape=shape)
    if is_basic(key):
        y[key] = x
    else:
        np.add.at(y, key, x)
    return y


@op(cases=[([(2, 3)], {"key": (slice(None), 1)}), ([(3,)], {"key": np.array([0, 2, 0])}),
           ([(2, 3)], {"key": np.s_[None, ..., ::2]})],
    sympy=lambda x, key: x[key],  # which, of one element, is an expression and no array
    vjp=lambda g, y, x, key: scatter(g, key, x.shape))
def getitem_(x, key=()):
    return x[key]


def plain_key(key: Any) -> Any:
    """An index without tensors in it."""
    if type(key) is tuple:
        return tuple(plain_key(k) for k in key)
    if isinstance(key, list):
        key = plain(key)
        return key if key.size else key.astype(int)  # NumPy makes floats of an empty list
    return plain(key) if isinstance(key, Tensor) else key


def getitem(x: Any, key: Any) -> Tensor:
    """`x[key]` with NumPy's indexing, basic and advanced; where an index repeats, its gradients add up.

    >>> import minigrad as mg
    >>> x = mg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> x[[0, 0, 2]].sum().backward()
    >>> x.grad
    tensor([2., 0., 1.])
    """
    return getitem_(x, plain_key(key))


@composite(np.take_along_axis, cases=[([(2, 3), np.array([[2, 0], [1, 1]])], {"axis": 1})])
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Tensor:
    """One element of `arr` for each element of `indices` (integers), picked along an axis.

    >>> import minigrad as mg
    >>> mg.take_along_axis([[1.0, 2.0], [3.0, 4.0]], [[1], [0]], axis=1)
    tensor([[2.],
            [3.]])
    """
    arr, indices = as_tensor(arr), plain(indices)
    if axis is None:
        arr, axis = ravel(arr), 0
    if indices.ndim != arr.ndim:
        raise ValueError(f"take_along_axis: indices {indices.shape} and array {arr.shape} must have as many axes")
    axis = normalize_axis_index(axis, arr.ndim, "take_along_axis")
    key = [np.arange(n).reshape([-1 if j == i else 1 for j in range(arr.ndim)]) for i, n in enumerate(arr.shape)]
    key[axis] = indices
    return arr[tuple(key)]


@composite(np.flip, cases=[([(2, 3)], {}), ([(2, 3)], {"axis": 1})])
def flip(m: Any, axis: Any = None) -> Tensor:
    """The elements in reverse order along the axes (all, for None).

    >>> import minigrad as mg
    >>> mg.flip([1.0, 2.0, 3.0])
    tensor([3., 2., 1.])
    """
    ndim = np.ndim(m)
    axes = range(ndim) if axis is None else normalize_axis_tuple(axis, ndim, "flip")
    return getitem(m, tuple(slice(None, None, -1 if i in axes else None) for i in range(ndim)))


@composite(np.repeat, cases=[([(2, 3)], {"repeats": 2}), ([(2, 3)], {"repeats": [2, 0, 1], "axis": 1})])
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element repeated along an axis (of the flattened array, for None).

    >>> import minigrad as mg
    >>> mg.repeat([1.0, 2.0], 2)
    tensor([1., 1., 2., 2.])
    """
    a = as_tensor(a)
    if axis is None:
        a, axis = ravel(a), 0
    axis = normalize_axis_index(axis, a.ndim, "repeat")
    return a[along(axis, np.repeat(np.arange(a.shape[axis]), repeats))]


@composite(np.tile, cases=[([(2, 3)], {"reps": (2, 1)})])
def tile(A: Any, reps: Any) -> Tensor:
    """The whole array repeated `reps` times along each axis.

    >>> import minigrad as mg
    >>> mg.tile([1.0, 2.0], 2)
    tensor([1., 2., 1., 2.])
    """
    a = as_tensor(A)
    places = np.tile(np.arange(a.size).reshape(a.shape), reps)
    return ravel(a)[places]


@composite(np.pad, cases=[([(2, 3)], {"pad_width": 1}), ([(2, 3)], {"pad_width": ((0, 1), (2, 1)), "mode": "reflect"})])
def pad(array: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0) -> Tensor:
    """The array with `pad_width` elements added before and after along each axis.

    `mode` is "constant", or "edge", "reflect", "symmetric", "wrap", which repeat elements of the array.

    >>> import minigrad as mg
    >>> mg.pad([1.0, 2.0], (1, 2))
    tensor([0., 1., 2., 0., 0.])
    >>> mg.pad([1.0, 2.0, 3.0], 1, mode="reflect")
    tensor([2., 1., 2., 3., 2.])
    """
    a = as_tensor(array)
    if mode == "constant":
        inside = np.pad(np.ones(a.shape, bool), pad_width)
        padded = scatter(ravel(a), np.nonzero(inside.ravel())[0], (inside.size,)).reshape(inside.shape)
        if np.all(np.equal(constant_values, 0)):
            return padded
        return padded + np.pad(np.zeros(a.shape, a.dtype), pad_width, constant_values=constant_values)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ValueError(f'pad: mode {mode!r} is none of "constant", "edge", "reflect", "symmetric", "wrap"')
    return ravel(a)[np.pad(np.arange(a.size).reshape(a.shape), pad_width, mode=mode)]  # type: ignore[call-overload]
