"""Ops that move elements without changing them: reshaping, joining, picking, repeating.

Everything that picks elements (flip, repeat, take_along_axis, pad by reflection) is indexing, so `getitem` and its
transpose `scatter` hold the only gradient of picking: an element picked several times receives the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..kernels import kernel
from ..tensor import Tensor, as_tensor, plain
from .card import composite, each, op

__all__ = [
    "broadcast_to", "concatenate", "expand_dims", "flip", "moveaxis", "pad", "ravel", "repeat", "reshape", "split",
    "squeeze", "stack", "swapaxes", "take_along_axis", "tile", "transpose",
]  # fmt: skip


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


# ---- joining and splitting -----------------------------------------------------------------------------------------


def _part(i, g, y, *xs, axis):
    start = 0
    for x in xs[:i]:
        start += x.shape[axis]
    return g[_along(axis % g.ndim, slice(start, start + xs[i].shape[axis]))]


def _along(axis, index):
    """The key that applies `index` to one axis and takes the others whole."""
    return (slice(None),) * axis + (index,)


@op(arity=None, vjp=each(_part), cases=[([(2, 3), (2, 1)], {"axis": 1}), ([(1, 2), (2, 2), (1, 2)], {})])
def concatenate_(*arrays, axis=0):
    return np.concatenate(arrays, axis)


@composite(np.concatenate, cases=[([[(2, 3), (2, 1)]], {"axis": 1}), ([[(2,), (3,)]], {})])
def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Tensor:
    """The arrays one after another along an axis (flattened, for None).

    >>> import minigrad as mg
    >>> mg.concatenate([[1.0, 2.0], mg.tensor([3.0])])
    tensor([1., 2., 3.])
    """
    if axis is None:
        arrays, axis = [ravel(a) for a in arrays], 0
    return concatenate_(*arrays, axis=axis)


@op(arity=None, cases=[([(2,), (2,)], {}), ([(2, 3), (2, 3)], {"axis": -1})],
    vjp=each(lambda i, g, y, *xs, axis: g[_along(axis % g.ndim, i)]))
def stack_(*arrays, axis=0):
    return np.stack(arrays, axis)


@composite(np.stack, cases=[([[(2, 3), (2, 3)]], {"axis": 1})])
def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Arrays of one shape joined along a new axis.

    >>> import minigrad as mg
    >>> mg.stack([[1.0, 2.0], [3.0, 4.0]], axis=1)
    tensor([[1., 3.],
            [2., 4.]])
    """
    return stack_(*arrays, axis=axis)


@composite(np.split,
    cases=[([(4, 2)], {"indices_or_sections": 2}), ([(3, 4)], {"indices_or_sections": [1], "axis": 1})])
def split(a: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """The array cut along an axis: into equal parts, or before each of the given indices.

    >>> import minigrad as mg
    >>> mg.split([1.0, 2.0, 3.0, 4.0], 2)
    [tensor([1., 2.]), tensor([3., 4.])]
    """
    a = as_tensor(a)
    axis = normalize_axis_index(axis, a.ndim, "split")
    n = a.shape[axis]
    if isinstance(indices_or_sections, int | np.integer):
        if indices_or_sections < 1 or n % indices_or_sections:
            parts = f"{indices_or_sections} equal parts"
            raise ValueError(f"split: {n} elements along axis {axis} cannot be cut into {parts}")
        cuts = list(range(0, n + 1, n // indices_or_sections)) if n else [0] * (indices_or_sections + 1)
    else:
        cuts = [0, *(int(i) for i in indices_or_sections), n]
    return [a[_along(axis, slice(i, j))] for i, j in zip(cuts, cuts[1:], strict=False)]


# ---- picking -------------------------------------------------------------------------------------------------------


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
    y = np.zeros_like(x, shape=shape, order="C")
    if is_basic(key):
        y[key] = x
    elif x.size > 4000 and x.dtype.char in "fd" and type(x) is np.ndarray:  # np.add.at takes 6 ns an element
        add_picked(key, x, y)
    else:
        np.add.at(y, key, x)
    return y


def add_picked(key, x, y):
    """Add x to y[key], in the order of x, by a kernel: as np.add.at does, but 20 times as fast for rows."""
    of_rows = isinstance(key, np.ndarray)
    n = len(y) if of_rows else y.size
    places = np.arange(n) if of_rows else np.arange(n).reshape(y.shape)
    places = places[key]  # counted from 0 on, and none is too large
    x = np.broadcast_to(x, places.shape + (y.shape[1:] if of_rows else ()))
    index = np.ascontiguousarray(places.ravel())
    add_rows(index, np.ascontiguousarray(x).reshape(index.size, -1), y.reshape(n, -1))


@kernel
def add_rows(index, x, y):
    for i in range(index.shape[0]):
        for j in range(x.shape[1]):
            y[index[i], j] += x[i, j]


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
    return a[_along(axis, np.repeat(np.arange(a.shape[axis]), repeats))]


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


