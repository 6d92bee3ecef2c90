"""Ops that pick elements.

Nearly all of them are indexing, so `getitem` and its transpose `scatter` hold the only gradient of picking: an element
picked several times receives the sum. Where slices or a boolean mask say what is picked, that is the key, since it is
quicker than a list of places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..batching import StandIn, as_array
from ..kernels import kernel
from ..tensor import Tensor, as_tensor, plain, require
from .card import composite, op
from .elementwise import where
from .loops import native
from .shape import along, ravel, unsupported

__all__ = [
    "choose", "compress", "delete", "extract", "select", "take", "take_along_axis",
]  # fmt: skip


def picks_once(key):
    """Whether a key picks each element at most once, as slices, integers, None and boolean masks do."""
    parts = key if type(key) is tuple else (key,)
    return all(isinstance(k, slice | int | np.integer | None | type(...)) or is_mask(k) for k in parts)


def is_mask(k):
    """Whether a part of a key is an array of truth values, or one."""
    return isinstance(k, bool | np.bool_) or (isinstance(k, np.ndarray) and k.dtype.kind == "b")


def stands_in(key):
    """Whether there is no array to look at in a key, but what stands in for one."""
    return any(isinstance(k, StandIn) for k in (key if type(key) is tuple else (key,)))


def leading(key, shape):
    """The lengths of the axes that a key is about; the others, which follow, it takes whole."""
    parts = key if type(key) is tuple else (key,)
    if any(k is ... for k in parts):
        return shape
    return shape[: sum(np.ndim(k) if is_mask(k) else k is not None for k in parts)]


@op(cases=[([(3,)], {"key": np.array([0, 0, 1]), "shape": (3,)})], arity=1,
    vjp=lambda g, y, x, key, shape: getitem(g, key))
def scatter(x, key=(), shape=()):
    """Zeros to which x is added at `key`: the transpose of indexing."""
    y = np.zeros_like(x, order="C", shape=shape)
    if picks_once(key):
        y[key] = x
    elif stands_in(key):  # inside mg.vmap, other places for each sample
        np.add.at(y, key, x)
    elif y.ndim == 1 and isinstance(key, np.ndarray):
        np.add.at(y, key.ravel(), x.ravel())
    elif native(x):  # np.add.at takes 6 ns an element
        add_picked(key, x, y)
    else:  # np.add.at(y, key, x), but many times quicker, since the places are one row of integers
        rows = leading(key, shape)
        block = math.prod(shape[len(rows) :])
        places = np.arange(math.prod(rows)).reshape(rows)[key][..., None] * block + np.arange(block)
        np.add.at(y.ravel(), places.ravel(), x.ravel())
    return y


def add_picked(key, x, y):
    """Add x to y[key], in the order of x, by a kernel: as np.add.at does, but 20 times as fast for rows."""
    of_rows = isinstance(key, np.ndarray)
    n = len(y) if of_rows else y.size
    places = np.arange(n) if of_rows else np.arange(n).reshape(y.shape)
    places = places[key]  # counted from 0 on, and none is too large
    x = np.broadcast_to(x, places.shape + (y.shape[1:] if of_rows else ()))
    index = places.ravel()
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
    arr = as_tensor(arr)
    if axis is None:
        arr, axis = ravel(arr), 0
    return getitem(ravel(arr), one_each("take_along_axis", arr, indices, axis))


def one_each(function, arr, indices, axis):
    """The places, in `arr` as one row, of one element for each of `indices`, which are along `axis`."""
    indices = plain(indices)
    if indices.ndim != arr.ndim:
        raise ValueError(f"{function}: indices {indices.shape} and array {arr.shape} must have as many axes")
    axis = normalize_axis_index(axis, arr.ndim, function)
    n, steps = arr.shape[axis], [math.prod(arr.shape[i + 1 :]) for i in range(arr.ndim)]
    indices = as_array(in_range(function, indices, n, "raise"))
    outside = (indices < -n) | (indices >= n)
    say = lambda outside, indices: f"index {indices[outside][0]} is out of bounds for axis {axis} with size {n}"  # noqa: E731
    require(~outside, lambda *shown: IndexError(f"{function}: {say(*shown)}"), outside, indices)
    places = np.where(indices < 0, indices + n, indices) * steps[axis]
    for i, (n, step) in enumerate(zip(arr.shape, steps, strict=True)):
        if i != axis:
            places = places + (np.arange(n) * step).reshape([-1 if j == i else 1 for j in range(arr.ndim)])
    return places


@composite(np.take, cases=[([(2, 3), np.array([[2, 0], [1, 1]])], {}), ([(2, 3), [2, -1]], {"axis": 1}),
                           ([(2, 3), 5], {"axis": 1, "mode": "wrap"}),
                           ([(2, 3), [-1, 9]], {"axis": 0, "mode": "clip"})])
def take(a: Any, indices: Any, axis: int | None = None, out: None = None, mode: str = "raise") -> Tensor:
    """The elements at `indices` (integers, in any shape) along an axis (of the flattened array, for None).

    What is out of range raises IndexError, or with `mode` "wrap" counts on from the other end, or with "clip" means the
    first or the last element.

    >>> import minigrad as mg
    >>> mg.take([[1.0, 2.0], [3.0, 4.0]], [1, 1], axis=1)
    tensor([[2., 2.],
            [4., 4.]])
    """
    unsupported("take", out=out)
    a = as_tensor(a)
    if axis is None:
        a, axis = ravel(a), 0
    axis = normalize_axis_index(axis, a.ndim, "take")
    return getitem(a, along(axis, in_range("take", indices, a.shape[axis], mode)))


def in_range(function, indices, n, mode):
    """Integers as indices into n elements: checked, wrapped or clipped."""
    indices = as_array(plain_key(indices))
    if indices.dtype.kind not in "biu" and not indices.dtype.hasobject:
        raise TypeError(f"{function}: indices must be integers, not {indices.dtype}")
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f'{function}: mode={mode!r} is none of "raise", "wrap", "clip"')
    if indices.size and not n:
        raise IndexError(f"{function}: there is nothing to take from, since the axis has length 0")
    indices = indices.astype(np.intp)
    if n and mode != "raise":
        indices = indices % n if mode == "wrap" else indices.clip(0, n - 1)
    return indices if indices.ndim or isinstance(indices, StandIn) else int(indices)


@composite(np.compress,
    cases=[([[True, False, True], (2, 3)], {"axis": 1}), ([np.array([False, True]), (2, 3)], {})])
def compress(condition: Any, a: Any, axis: int | None = None, out: None = None) -> Tensor:
    """The slices along an axis (elements of the flattened array, for None) for which the condition, a row, holds.

    >>> import minigrad as mg
    >>> mg.compress([True, False, True], [1.0, 2.0, 3.0])
    tensor([1., 3.])
    """
    unsupported("compress", out=out)
    condition = plain(condition) if isinstance(condition, Tensor) else np.asanyarray(condition)
    if condition.ndim != 1:
        raise ValueError(f"compress: the condition must have one axis, and its shape is {condition.shape}")
    a = as_tensor(a)
    if axis is None:
        a, axis = ravel(a), 0
    axis = normalize_axis_index(axis, a.ndim, "compress")
    (places,) = np.nonzero(condition)
    n = a.shape[axis]
    if len(places) and places[-1] >= n:
        raise IndexError(f"compress: the condition holds at {places[-1]}, and axis {axis} has {n} elements")
    mask = np.zeros(n, bool)
    mask[places] = True
    return getitem(a, along(axis, mask))


@composite(np.extract, cases=[([np.array([[True, False], [True, True]]), (2, 2)], {})])
def extract(condition: Any, arr: Any) -> Tensor:
    """The elements where the condition holds, in a row.

    >>> import minigrad as mg
    >>> mg.extract([[True, False], [False, True]], [[1.0, 2.0], [3.0, 4.0]])
    tensor([1., 4.])
    """
    condition = plain(condition) if isinstance(condition, Tensor) else np.asanyarray(condition)
    return compress(np.ravel(condition), ravel(arr))


@composite(np.delete, cases=[([(4,), 1], {}), ([(2, 3), [0, -1]], {"axis": 1}),
                             ([(4, 2), slice(0, 3, 2)], {"axis": 0})])
def delete(arr: Any, obj: Any, axis: int | None = None) -> Tensor:
    """`arr` without what is at `obj` (an integer, several, a slice or a mask) along an axis, or flattened.

    >>> import minigrad as mg
    >>> mg.delete([1.0, 2.0, 3.0], [0, -1])
    tensor([2.])
    """
    a = as_tensor(arr)
    if axis is None:
        a, axis = ravel(a), 0
    axis, obj = normalize_axis_index(axis, a.ndim, "delete"), plain_key(obj)
    stays = np.ones(a.shape[axis], bool)
    try:
        stays[obj] = False
    except IndexError as error:
        raise IndexError(f"delete: along axis {axis} of {a.shape}, {str(error).replace(' 0 ', f' {axis} ')}") from None
    return getitem(a, along(axis, stays))


# ---- choosing ------------------------------------------------------------------------------------------------------


@composite(np.select, cases=[([[np.array([True, False, True]), np.array([True, True, False])], [(3,), (3,)]], {}),
                             ([[np.array([[True], [False]])], [(3,)], ()], {})])
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Tensor:
    """Elementwise, from the first of the choices whose condition holds, or else the default; all of them broadcast.

    >>> import minigrad as mg
    >>> x = mg.tensor([-1.0, 0.5, 3.0])
    >>> mg.select([x < 0, x < 1], [-x, x * x], 1.0)
    tensor([1.  , 0.25, 1.  ])
    """
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ValueError(f"select: there are {len(condlist)} conditions for {len(choicelist)} choices")
    y = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        condition = plain(condition)
        if as_array(condition).dtype.kind not in "bO":
            raise TypeError(f"select: a condition must be of bool, not {as_array(condition).dtype}, as in x > 0")
        y = where(condition, choice, y)
    return y


@composite(np.choose, cases=[([np.array([1, 0, 1]), [(3,), ()]], {}),
                             ([np.array([[1], [-3]]), [(2,), (2,)]], {"mode": "wrap"})])
def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Tensor:
    """Elementwise, from that one of the choices which `a` (integers) counts; all of them broadcast.

    Each choice takes a result's space. What is out of range raises ValueError, or is as `mode` says in `take`.

    >>> import minigrad as mg
    >>> mg.choose([1, 0, 1], [[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    tensor([10.,  2., 30.])
    """
    unsupported("choose", out=out)
    choices, n = list(choices), len(choices)
    a = as_array(in_range("choose", a, n, mode))
    if mode == "raise":
        sentence = f"choose: with {n} choices, the numbers must be from 0 to {n - 1}"
        require((a >= 0) & (a < n), lambda: ValueError(sentence))
    return select([a == i for i in range(n)], choices)
