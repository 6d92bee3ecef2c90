"""Ops that put values into a copy of an array: all of them are `setitem`, or its kin that adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..batching import StandIn, as_array
from ..tensor import Tensor, as_tensor, describe, plain
from .card import NUMPY, composite, op
from .elementwise import where
from .joining import concatenate
from .picking import getitem, in_range, leading, one_each, picks_once, plain_key, scatter
from .shape import along, broadcast_to, fitting, moveaxis, ravel, reshape

__all__ = [
    "index_add", "insert", "put_along_axis", "setitem",
]  # fmt: skip


def _written(g, y, x, value, key):
    """The gradient of what was written: of values written to one place, the last has all of it."""
    picked: Any = getitem(g, key)
    if not picks_once(key):
        last = np.empty(leading(key, x.shape), np.intp)
        order = np.arange(last[key].size).reshape(last[key].shape)
        last[key] = order
        remains = last[key] == order
        picked = np.where(remains.reshape(remains.shape + (1,) * (picked.ndim - remains.ndim)), picked, 0)
    dropped = np.ndim(value) - picked.ndim  # axes of length one before the others, which NumPy leaves out
    return picked.reshape((1,) * dropped + picked.shape)


@op(arity=2, cases=[([(2, 3), (2,)], {"key": (slice(None), 1)}), ([(3,), (2,)], {"key": np.array([2, 0])}),
                    ([(2, 2), (3,)], {"key": np.array([[True, True], [False, True]])})],
    vjp=(lambda g, y, x, value, key: setitem_(g, 0, key=key),
         _written))
def setitem_(x, value, key=()):
    if as_array(value).dtype.hasobject and not x.dtype.hasobject:  # then y must hold symbols, too
        y = np.zeros_like(value, shape=x.shape)
        y[...] = x
    else:
        y = x.copy() if isinstance(x, StandIn) else np.array(x, subok=True)
    y[key] = value
    return y


@composite(cases=[([(2, 3), (slice(None), 1), (2,)], {}), ([(3,), np.array([2, 0, 2]), (3,)], {}),
                  ([(2, 3), np.array([1, 0]), ()], {})])
def setitem(x: Any, key: Any, value: Any) -> Tensor:
    """A copy of x with `value` at `key`, as `x[key] = value` would make of it; both get their gradient.

    The key may be any of NumPy's. Where it names a place several times, the last value is the one that is there, and
    that gets the gradient. Raises TypeError for an x of integers and a value of floats.

    >>> import minigrad as mg
    >>> v = mg.tensor(5.0, requires_grad=True)
    >>> y = mg.setitem([1.0, 2.0, 3.0], slice(1, None), v)
    >>> y
    tensor([1., 5., 5.], op=setitem)
    >>> y.sum().backward()
    >>> v.grad
    tensor(2.)
    """
    x, key = as_tensor(x), plain_key(key)
    value = fitting("setitem", value, x)
    if getattr(key, "is_mask", False):
        return _where_symbols_say(x, key, value)
    if not picks_once(key):  # NumPy writes in the order of memory
        key = tuple(map(_in_order, key)) if type(key) is tuple else _in_order(key)
        value = value if value._data.flags.c_contiguous else reshape(ravel(value), value.shape)
    return setitem_(x, value, key=key)


def _where_symbols_say(x, mask, value):
    """`setitem` with a mask of relations."""
    if value.ndim:
        raise TypeError("setitem: how many elements symbols pick is unknown, so the value must be one number")
    return where(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), value, x)


def _in_order(k):
    return np.array(k, order="C", copy=None, subok=True) if isinstance(k, np.ndarray) else k


@composite(cases=[([(2, 3), np.array([[2], [0]]), (2, 1)], {"axis": 1}),
                  ([(2, 2), np.array([3, 0]), ()], {"axis": None})])
def put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None) -> Tensor:
    """A copy of `arr` with one value for each element of `indices` (integers) put there, along an axis.

    >>> import minigrad as mg
    >>> mg.put_along_axis([[1.0, 2.0], [3.0, 4.0]], [[1], [0]], 9.0, axis=1)
    tensor([[1., 9.],
            [9., 4.]])
    """
    arr = as_tensor(arr)
    if axis is None:
        return reshape(put_along_axis(ravel(arr), indices, values, 0), arr.shape)
    return reshape(setitem(ravel(arr), one_each("put_along_axis", arr, indices, axis), values), arr.shape)


@composite(cases=[([(2, 3), 1, np.array([2, 0, 2]), (2, 3)], {"alpha": 2}), ([(3,), 0, [1], (1,)], {})])
def index_add(x: Any, axis: int, index: Any, source: Any, alpha: Any = 1) -> Tensor:
    """x with alpha times the slices of `source` added to those at `index` along an axis, as torch's index_add does.

    `index` is a row of integers, one for each slice of `source`; what is added to one place several times adds up.

    >>> import minigrad as mg
    >>> mg.index_add(mg.zeros(3), 0, [0, 2, 2], [1.0, 2.0, 3.0])
    tensor([1., 0., 5.])
    """
    x, source = as_tensor(x), as_tensor(source)
    axis = normalize_axis_index(axis, x.ndim, "index_add")
    index = as_array(in_range("index_add", index, x.shape[axis], "raise"))
    if index.ndim != 1:
        raise ValueError(f"index_add: index must be a row of integers, not of shape {index.shape}")
    right = (*x.shape[:axis], index.size, *x.shape[axis + 1 :])
    if source.shape != right:
        shapes = f"{index.size} indices along axis {axis} of x {x.shape} need a source of shape {right}"
        raise ValueError(f"index_add: {shapes}, not {source.shape}")
    return x + scatter(source * alpha, along(axis, index), x.shape)


@composite(np.insert, cases=[([(3,), 1, (2,)], {}), ([(2, 3), [1, 0, 1], (2, 3)], {"axis": 1}),
                             ([(2, 3), 1, (2,)], {"axis": 1}), ([(2, 2), slice(0, 2), ()], {"axis": 0})])
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Tensor:
    """`arr` with values put before the indices `obj` (an integer, several, or a slice) along an axis, or flattened.

    >>> import minigrad as mg
    >>> mg.insert([1.0, 2.0, 3.0], [0, 2], [8.0, 9.0])
    tensor([8., 1., 2., 9., 3.])
    """
    a = as_tensor(arr)
    values = fitting("insert", values, a)
    if axis is None:
        a, axis = ravel(a), 0
    axis, obj = normalize_axis_index(axis, a.ndim, "insert"), plain_key(obj)
    values = reshape(values, (1,) * (a.ndim - values.ndim) + values.shape)
    places = np.arange(a.shape[axis])[obj] if isinstance(obj, slice) else _places("insert", obj, a.shape[axis])
    if np.ndim(places) == 0:
        values, places = moveaxis(values, 0, axis), places[None]
    shape = list(a.shape)
    if len(places) == 1:
        (i,) = places.tolist()
        shape[axis] = values.shape[axis]
        parts = [a[along(axis, slice(i))], broadcast_to(values, tuple(shape)), a[along(axis, slice(i, None))]]
        return concatenate(parts, axis)
    shape[axis] += len(places)
    places[np.argsort(places, kind="stable")] += np.arange(len(places))
    old = np.ones(shape[axis], bool)
    old[places] = False
    return setitem(scatter(a, along(axis, old), tuple(shape)), along(axis, places), values)


def _places(function, obj, n):
    """Places between n elements: integers from 0 to n, in an array of their own."""
    places = np.asarray(obj)
    places = np.flatnonzero(places) if places.dtype == bool else in_range(function, places, n + 1, "raise")
    places = np.array(places)
    if places.ndim > 1:
        raise ValueError(f"{function}: the indices must be one integer or a row of them, not of shape {places.shape}")
    if np.any((places < -n) | (places > n)):
        raise IndexError(f"{function}: {np.asarray(obj).tolist()} is out of bounds for an axis of length {n}")
    return np.where(places < 0, places + n, places)


def _refuse_in_place(function: Callable, instead: str) -> None:
    """Have a function of NumPy's that writes into its first argument refuse tensors, in a sentence."""

    def refuse(array: Any, *args: Any, **params: Any) -> Any:
        given = [array, *args, *params.values()]
        for x in given:
            if isinstance(x, Tensor) and (x is array or x.requires_grad):
                name = f"np.{function.__name__}"
                raise TypeError(f"{name}: {describe(x)} would leave the graph by writing in place; use {instead}")
        return function(array, *map(plain, args), **{k: plain(v) for k, v in params.items()})

    NUMPY[function] = refuse


_refuse_in_place(np.put_along_axis, "mg.put_along_axis, which returns a new tensor")
for _function in (np.put, np.place, np.putmask, np.fill_diagonal):
    _refuse_in_place(_function, "mg.setitem, which returns a new tensor, or mg.where")
