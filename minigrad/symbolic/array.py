"""Arrays of SymPy expressions that NumPy's functions understand.

`np.exp(x)` of an array of objects fails, since SymPy's symbols have no method `exp`. A SymbolicArray answers NumPy's
calls itself: an elementwise function maps the formula on the op's card over the elements, a reduction folds them, a
comparison gives relations, `np.where` makes Piecewise expressions. So the code that runs on numbers runs on symbols
unchanged, gradient rules included. Numbers become exact: 0.1 is one tenth.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy
from sympy.logic.boolalg import Boolean

from ..ops.card import NUMPY, Op
from ..tensor import Tensor


def _digits(x: float) -> str:
    return f"{x:.14e}"


# A rule is written in numbers: a float that agrees with one of these constants in 15 digits stands for it.
CONSTANTS = {
    _digits(float(c)): c
    for c in (
        sympy.pi, sympy.E, sympy.log(2), sympy.log(10), sympy.sqrt(2), sympy.sqrt(2) / 2, sympy.sqrt(sympy.pi),
        sympy.sqrt(2 * sympy.pi), sympy.sqrt(2 / sympy.pi), sympy.oo, -sympy.oo,
    )
}  # fmt: skip


def exact(x: Any) -> sympy.Basic:
    """A number or expression as SymPy has it exactly: a float is the decimal that Python prints for it."""
    if isinstance(x, sympy.Basic):
        return x
    if isinstance(x, bool | np.bool_):
        return sympy.true if x else sympy.false
    if isinstance(x, int | np.integer):
        return sympy.Integer(int(x))
    try:
        x = float(x)
    except (TypeError, ValueError):
        what = f"{type(x).__name__} {str(x)[:40]!r}"
        raise TypeError(f"an op takes tensors, arrays, numbers and SymPy expressions, not {what}") from None
    if _digits(x) in CONSTANTS:
        return CONSTANTS[_digits(x)]
    return sympy.nan if math.isnan(x) else sympy.Rational(repr(x))


def number(x: sympy.Basic) -> sympy.Basic:
    """A truth value as a number, 1 or 0, where arithmetic wants one; anything else as it is."""
    return sympy.Piecewise((1, x), (0, True)) if is_truth_value(x) else x


def is_truth_value(x: sympy.Basic) -> bool:
    """Whether x is true, false or a relation (SymPy's symbols can stand for either)."""
    return isinstance(x, Boolean) and not isinstance(x, sympy.Expr)


class SymbolicArray(np.ndarray):
    """An array of SymPy expressions."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **params: Any) -> Any:
        if any(isinstance(x, Tensor) for x in inputs):
            return NotImplemented  # and NumPy asks the tensor, which records what is done
        if method == "__call__" and ufunc in ELEMENTWISE:
            return _into(out, _map(ELEMENTWISE[ufunc], *inputs))
        if method == "reduce" and ufunc in FOLDS:
            return _into(out, _fold(FOLDS[ufunc], inputs[0], **params))
        if method == "__call__" and ufunc is np.matmul:
            return symbolic_array(np.matmul(*map(_exact_array, inputs)))
        if method == "at":  # np.add.at(array, key, values)
            array, key, values = inputs
            return ufunc.at(array.view(np.ndarray), key, _exact_array(values))
        raise TypeError(f"np.{ufunc.__name__} has no reading on symbols")

    def __array_function__(self, function: Callable, types: Any, args: Any, params: Any) -> Any:
        if Tensor in types:
            return NotImplemented
        if function in FUNCTIONS:
            return FUNCTIONS[function](*args, **params)
        return _symbolic(super().__array_function__(function, types, args, params))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, _exact_array(value)[()])  # the expression itself, where there is one only

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))  # which prints elements bare

    def read_card(self, card: Op, inputs: tuple, params: dict[str, Any]) -> Any:
        """The card's own formula on these inputs."""
        formula = sympy_function(card)
        if card.domain is None:
            return symbolic_array(formula(*map(_symbolic, inputs), **params))
        return _map(formula, *inputs, **{k: exact(v) for k, v in params.items()})

    def astype(self, dtype: Any, *args: Any, **params: Any) -> Any:
        """Symbols have no dtype to change."""
        return self if np.dtype(dtype).kind in "fO" else super().astype(dtype, *args, **params)


def symbolic_array(x: Any) -> SymbolicArray:
    """SymPy expressions and numbers (one, or nested lists, or an array) as a SymbolicArray."""
    if isinstance(x, SymbolicArray):
        return x
    if isinstance(x, sympy.MatrixBase):
        x = x.tolist()
    return _exact_array(x).view(SymbolicArray)


def _exact_array(x: Any) -> np.ndarray:
    array = np.asarray(x, dtype=object)
    exactly = np.empty(array.shape, object)
    for i in np.ndindex(array.shape):
        exactly[i] = exact(array[i])
    return exactly


def _symbolic(x: Any) -> Any:
    """What NumPy made of arrays of symbols: its arrays of objects and bare expressions as SymbolicArrays."""
    if isinstance(x, sympy.Basic) or (isinstance(x, np.ndarray) and x.dtype == object):
        return symbolic_array(x)
    return type(x)(map(_symbolic, x)) if type(x) in (tuple, list) else x


def _map(formula: Callable, *inputs: Any, **params: Any) -> SymbolicArray:
    """`formula` of each element of the inputs, broadcast together."""
    arrays = np.broadcast_arrays(*[_exact_array(x) for x in inputs])
    result = np.empty(arrays[0].shape, object)
    for i in np.ndindex(result.shape):
        result[i] = formula(*[number(a[i]) if formula not in LOGIC else a[i] for a in arrays], **params)
    return result.view(SymbolicArray)


def _fold(formula: Callable, x: Any, axis: Any = 0, keepdims: bool = False, **numeric: Any) -> SymbolicArray:
    """`formula` of all elements along the axes."""
    x = _exact_array(x)
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int | np.integer) else axis
    axes = sorted(i % x.ndim for i in axes)
    kept = [i for i in range(x.ndim) if i not in axes]
    rows = x.transpose(kept + axes).reshape([x.shape[i] for i in kept] + [-1])
    result = np.empty(rows.shape[:-1], object)
    for i in np.ndindex(result.shape):
        result[i] = formula(*map(number, rows[i]))
    shape = [1 if i in axes else n for i, n in enumerate(x.shape)]
    return (result.reshape(shape) if keepdims else result).view(SymbolicArray)


def _into(out: Any, result: SymbolicArray) -> SymbolicArray:
    if out is None:
        return result
    out[0][...] = result
    return out[0]


def _full(x: Any, shape: Any, value: sympy.Expr) -> SymbolicArray:
    return np.full(x.shape if shape is None else shape, value, object).view(SymbolicArray)


def _where(condition: Any, a: Any, b: Any) -> SymbolicArray:
    return _map(_piecewise, condition, a, b)


def _piecewise(condition: Any, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    holds = condition if is_truth_value(condition) else sympy.Ne(condition, 0)
    return sympy.Piecewise((number(a), holds), (number(b), True))


@functools.cache
def sympy_function(card: Op) -> Callable:
    """The formula on a card as a function: of expressions for elementwise ops, of arrays for others."""
    if not isinstance(card.sympy, str):
        return card.sympy
    return eval(f"lambda {card.sympy}" if ":" in card.sympy else card.sympy, dict(vars(sympy)))


LOGIC = {sympy.Eq, sympy.Ne, sympy.And, sympy.Or, sympy.Not, _piecewise}
ELEMENTWISE: dict[np.ufunc, Callable] = {
    ufunc: sympy_function(card)
    for ufunc, card in NUMPY.items()
    if isinstance(ufunc, np.ufunc) and isinstance(card, Op) and card.domain
} | {
    np.equal: sympy.Eq, np.not_equal: sympy.Ne, np.less: sympy.Lt, np.less_equal: sympy.Le, np.greater: sympy.Gt,
    np.greater_equal: sympy.Ge, np.logical_and: sympy.And, np.bitwise_and: sympy.And, np.logical_or: sympy.Or,
    np.bitwise_or: sympy.Or, np.logical_not: sympy.Not, np.invert: sympy.Not,
    np.isfinite: lambda x: sympy.true, np.isnan: lambda x: sympy.false,
}  # fmt: skip
FOLDS: dict[np.ufunc, Callable] = {
    np.add: sympy.Add, np.multiply: sympy.Mul, np.maximum: sympy.Max, np.minimum: sympy.Min,
}  # fmt: skip
FUNCTIONS: dict[Callable, Callable] = {
    np.where: _where,
    np.sum: lambda x, axis=None, keepdims=False: np.add.reduce(x, axis=axis, keepdims=keepdims),
    np.zeros_like: lambda x, shape=None: _full(x, shape, sympy.S.Zero),
    np.ones_like: lambda x, shape=None: _full(x, shape, sympy.S.One),
}
