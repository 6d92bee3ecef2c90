"""What NumPy's functions mean on arrays of symbols: the tables of array.py.

An elementwise function is the formula on its op's card. What has no card is written out here in SymPy's words.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy

from ..ops import card
from ..ops.card import CARDS, NUMPY, Op
from . import array
from .array import (
    ELEMENTWISE,
    FOLDS,
    FUNCTIONS,
    SCIPY,
    NoReading,
    SymbolicArray,
    numbers,
    over_elements,
    piecewise,
    symbolic_array,
    sympy_function,
)  # fmt: skip
from .deciding import decide

ELEMENTWISE |= {
    ufunc: sympy_function(card)
    for ufunc, card in NUMPY.items()
    if isinstance(ufunc, np.ufunc) and isinstance(card, Op) and card.domain
} | {
    np.equal: sympy.Eq, np.not_equal: sympy.Ne, np.less: sympy.Lt, np.less_equal: sympy.Le, np.greater: sympy.Gt,
    np.greater_equal: sympy.Ge, np.logical_and: sympy.And, np.bitwise_and: sympy.And, np.logical_or: sympy.Or,
    np.bitwise_or: sympy.Or, np.logical_not: sympy.Not, np.invert: sympy.Not, np.logical_xor: sympy.Xor,
    np.isfinite: lambda x: sympy.true, np.isnan: lambda x: sympy.false, np.isinf: lambda x: sympy.false,
    np.conjugate: lambda x: x, np.float_power: lambda x, b: x**b,
}  # fmt: skip
FOLDS |= {
    np.add: sympy.Add, np.multiply: sympy.Mul, np.maximum: sympy.Max, np.minimum: sympy.Min, np.fmax: sympy.Max,
    np.fmin: sympy.Min, np.logical_and: sympy.And, np.logical_or: sympy.Or,
}  # fmt: skip
SCIPY |= {name: sympy_function(op) for name, op in card.SCIPY.items() if isinstance(op, Op)} | {
    "log_expit": lambda x: -sympy.log(1 + sympy.exp(-x)), "iv": sympy.besseli, "jv": sympy.besselj,
}  # fmt: skip


def _full(x: Any, value: Any, shape: Any) -> SymbolicArray:
    return symbolic_array(np.full(np.shape(x) if shape is None else shape, value, object))


def _where(condition: Any, *branches: Any) -> Any:
    if len(branches) != 2:
        raise NoReading("np.where with a condition alone gives the places where it holds, which symbols do not tell")
    return over_elements(piecewise, condition, *branches)


def _clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None, **params: Any) -> Any:
    low, high = a_min if min is None else min, a_max if max is None else max
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _var(x: Any, axis: Any = None, *, ddof: int = 0, keepdims: Any = False) -> Any:
    x = symbolic_array(x)
    total = np.sum(np.square(x - np.mean(x, axis=axis, keepdims=True)), axis=axis, keepdims=keepdims)
    return total * total.size / (x.size - ddof * total.size)


def _std(x: Any, axis: Any = None, **params: Any) -> Any:
    return np.sqrt(_var(x, axis, **params))


def _average(x: Any, axis: Any = None, weights: Any = None, *, keepdims: Any = False) -> Any:
    x, weights = symbolic_array(x), np.ones(np.shape(x)) if weights is None else symbolic_array(weights)
    if weights.shape != x.shape:
        others = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
        weights = np.broadcast_to(np.expand_dims(weights, others), x.shape)
    return np.sum(x * weights, axis=axis, keepdims=keepdims) / np.sum(weights, axis=axis, keepdims=keepdims)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:
    if ord not in (None, 2, "fro", 1) or (np.ndim(x) > 1 and axis is None and ord not in (None, "fro")):
        raise NoReading(f"np.linalg.norm with ord={ord!r} and axis={axis!r} has no reading on symbols")
    parts = np.abs(x) if ord == 1 else np.square(x)
    total = np.sum(parts, axis=axis, keepdims=keepdims)
    return total if ord == 1 else np.sqrt(total)


def _product(function: Callable) -> Callable:
    """A product of NumPy's, in which truth values are 1 and 0."""

    def product(*arrays: Any, **params: Any) -> Any:
        plain = [np.asarray(numbers(x)) if isinstance(x, np.ndarray) else x for x in arrays]
        return symbolic_array(function(*plain, **params))

    return product


def _einsum(subscripts: str, *operands: Any, optimize: Any = False, **params: Any) -> Any:
    return symbolic_array(np.einsum(subscripts, *[np.asarray(numbers(x)) for x in operands]))


# ---- places: known only where relations are decided, at a point -----------------------------------------------------


def _order(row: list[Any], reverse: bool = False) -> list[int]:
    """The places of the elements, smallest (or largest) first, equal ones as they stand."""

    def compare(i: int, j: int) -> int:
        less, more = (row[j], row[i]) if reverse else (row[i], row[j])
        return -1 if decide(sympy.Lt(less, more)) else 1 if decide(sympy.Gt(less, more)) else 0

    return sorted(range(len(row)), key=functools.cmp_to_key(compare))


def _best(reverse: bool) -> Callable:
    def place(x: Any, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Any:
        x = np.asarray(x)
        rows = x.reshape(-1) if axis is None else np.moveaxis(x, axis, -1)
        places = np.empty(rows.shape[:-1], int)
        for i in np.ndindex(places.shape):
            places[i] = _order(list(rows[i]), reverse)[0]
        return np.expand_dims(places, axis) if keepdims and axis is not None else places[()]

    return place


def _argsort(x: Any, axis: int = -1, **params: Any) -> Any:
    rows = np.moveaxis(np.asarray(x), axis, -1)
    places = np.empty(rows.shape, int)
    for i in np.ndindex(rows.shape[:-1]):
        places[i] = _order(list(rows[i]))
    return np.moveaxis(places, -1, axis)


def _argpartition(x: Any, kth: Any, axis: int = -1, **params: Any) -> Any:
    return _argsort(x, axis)


def _searchsorted(x: Any, values: Any, side: str = "left", sorter: Any = None) -> Any:
    comes_before = sympy.Le if side == "right" else sympy.Lt
    places = [sum(decide(comes_before(e, v)) for e in np.ravel(x).tolist()) for v in np.ravel(values).tolist()]
    return np.reshape(places, np.shape(values)).astype(int)


def _sort(x: Any, axis: int = -1, **params: Any) -> Any:
    return np.take_along_axis(x, _argsort(x, axis), axis)


def _nonzero(x: Any) -> Any:
    known = np.array([decide(e) for e in np.ravel(x).tolist()], bool)
    return np.nonzero(known.reshape(np.shape(x)))


def _count_nonzero(x: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    return np.sum(over_elements(array.truth, x), axis=axis, keepdims=keepdims)


def _no_reading(name: str) -> Callable:
    def refuse(*args: Any, **params: Any) -> Any:
        raise NoReading(f"{name} has no reading on symbols")

    return refuse


FUNCTIONS |= {
    np.where: _where, np.clip: _clip, np.var: _var, np.std: _std, np.average: _average, np.linalg.norm: _norm,
    np.dot: _product(np.dot), np.inner: _product(np.inner), np.vdot: _product(np.vdot), np.outer: _product(np.outer),
    np.tensordot: _product(np.tensordot), np.convolve: _product(np.convolve), np.einsum: _einsum,
    np.argmax: _best(True), np.argmin: _best(False), np.argsort: _argsort, np.argpartition: _argpartition,
    np.searchsorted: _searchsorted, np.sort: _sort, np.nonzero: _nonzero, np.count_nonzero: _count_nonzero,
    np.sum: lambda x, axis=None, dtype=None, out=None, **params: np.add.reduce(x, axis=axis, **params),
    np.zeros_like: lambda x, dtype=None, order="K", subok=True, shape=None: _full(x, 0, shape),
    np.ones_like: lambda x, dtype=None, order="K", subok=True, shape=None: _full(x, 1, shape),
    np.full_like: lambda x, value, dtype=None, order="K", subok=True, shape=None: _full(x, value, shape),
    np.empty_like: lambda x, dtype=None, order="K", subok=True, shape=None: _full(x, 0, shape),
    np.round: _no_reading("np.round"), np.nan_to_num: lambda x, *args, **params: x,
    np.sinc: functools.partial(over_elements, sympy_function(CARDS["sinc"])),
    np.i0: functools.partial(over_elements, sympy_function(CARDS["i0"])),
} | {
    function: card.forward
    for function, card in NUMPY.items()
    if function.__module__ == "numpy.linalg" and isinstance(card, Op)
}  # fmt: skip


def _method(function: Callable) -> Callable:
    def method(self: SymbolicArray, *args: Any, **params: Any) -> Any:
        return FUNCTIONS[function](self, *args, **params)

    return method


for _function in (np.clip, np.var, np.std, np.dot, np.argmax, np.argmin, np.argsort, np.nonzero, np.round):
    setattr(SymbolicArray, _function.__name__, _method(_function))
