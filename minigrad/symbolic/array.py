"""Arrays of SymPy expressions that NumPy's functions understand.

`np.exp(x)` of an array of objects fails, since SymPy's symbols have no method `exp`. A SymbolicArray answers NumPy's
calls itself: an elementwise function maps the formula on the op's card over the elements, a reduction folds them, a
comparison gives relations, `np.where` makes Piecewise expressions. So the code that runs on numbers runs on symbols
unchanged, gradient rules included. Numbers become exact: 0.1 is one tenth. What each function of NumPy's means on
symbols is in the tables below, which numpy.py fills.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import sympy
from numpy._globals import _NoValue
from sympy.logic.boolalg import Boolean

from ..batching import BatchedArray
from ..ops.card import Op
from ..ops.numpy import is_scipys
from ..tensor import PLAIN, Tensor, mode
from .deciding import NoReading, decide, deciding, state  # noqa: F401  (deciding is to be found here too)

ELEMENTWISE: dict[Any, Callable] = {}  # ufuncs, and what they make of expressions
FOLDS: dict[Any, Callable] = {}  # ufuncs that reduce, and what they make of any number of expressions
FUNCTIONS: dict[Callable, Callable] = {}  # other functions of NumPy's, and what stands for them on arrays of symbols
SCIPY: dict[str, Callable] = {}  # scipy.special's ufuncs by name


def _digits(x: float) -> str:
    return f"{x:.14e}"


# A rule is written in numbers: a float that agrees with one of these constants in 15 digits stands for it.
CONSTANTS = {
    _digits(float(c)): c
    for c in (
        sympy.pi, sympy.E, sympy.log(2), sympy.log(10), sympy.sqrt(2), sympy.sqrt(2) / 2, sympy.sqrt(sympy.pi),
        sympy.sqrt(2 * sympy.pi), sympy.sqrt(2 / sympy.pi), sympy.oo,
    )
}  # fmt: skip


def exact(x: Any) -> sympy.Basic:
    """A number or expression as SymPy has it exactly: a float is the decimal that Python prints for it."""
    if isinstance(x, sympy.Basic):
        return x
    if isinstance(x, np.ndarray) and x.ndim == 0:
        return exact(x.item())
    if isinstance(x, bool | np.bool_):
        return sympy.true if x else sympy.false
    if isinstance(x, int | np.integer):
        return sympy.Integer(int(x))
    try:
        x = float(x)
    except (TypeError, ValueError):
        what = f"{type(x).__name__} {str(x)[:40]!r}"
        raise TypeError(f"an op takes tensors, arrays, numbers and SymPy expressions, not {what}") from None
    if _digits(abs(x)) in CONSTANTS:
        return CONSTANTS[_digits(abs(x))] * (1 if x > 0 else -1)
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
        if any(isinstance(x, Tensor | BatchedArray) for x in inputs):
            return NotImplemented  # and NumPy asks the tensor, which records what is done
        if any(isinstance(x, Picked) for x in inputs):
            return NotImplemented
        params = {k: v for k, v in params.items() if k not in ("dtype", "casting", "subok", "order")}
        formula = ELEMENTWISE.get(ufunc) or SCIPY.get(ufunc.__name__ if is_scipys(ufunc) else "")
        if method == "__call__" and formula is not None and params.get("where", True) is True:
            return _into(out, over_elements(formula, *inputs))
        if method == "reduce" and ufunc in FOLDS:
            return _into(out, fold(FOLDS[ufunc], *inputs, **params))
        if method == "accumulate" and formula is not None:
            return _into(out, _accumulate(formula, *inputs, **params))
        if method == "outer" and formula is not None:
            a, b = map(symbolic_array, inputs)
            return over_elements(formula, a.reshape(a.shape + (1,) * b.ndim), b)
        if method == "__call__" and ufunc is np.matmul:
            return _into(out, symbolic_array(np.matmul(*[np.asarray(numbers(x)) for x in inputs])))
        if method == "at":  # np.add.at(array, key, values)
            array, key, *values = inputs
            _check_writable(array)
            return ufunc.at(array.view(np.ndarray), key, *map(exact_array, values))
        called = f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else "")
        raise NoReading(f"{called} has no reading on symbols" + "".join(f", with {k}=" for k in params))

    def __array_function__(self, function: Callable, types: Any, args: Any, params: Any) -> Any:
        if Tensor in types or BatchedArray in types:
            return NotImplemented
        if function in FUNCTIONS:
            return FUNCTIONS[function](*args, **params)
        return _symbolic(super().__array_function__(function, types, args, params))

    # ---- elements --------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        key = plain_key(key)
        if is_mask(key):
            return Picked(self, key)
        element = super().__getitem__(key)
        stays = state.arrays_of_elements or mode.now is PLAIN  # as for gradient rules, which get arrays
        return symbolic_array(element) if stays and isinstance(element, sympy.Basic) else element

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __setitem__(self, key: Any, value: Any) -> None:
        key = plain_key(key)
        if is_mask(key):
            self[...] = _chosen(key, value, self)
        else:
            super().__setitem__(key, exact_array(value)[()])  # the expression itself, where there is one only

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError("the truth value of an array of several elements is ambiguous: say .any() or .all()")
        return decide(self.item())

    def __float__(self) -> float:
        return float(self._value("float"))

    def __int__(self) -> int:
        return int(self._value("int"))

    def __index__(self) -> int:
        if not self._value("index").is_Integer:
            raise TypeError(f"{self.item()} is no integer, as an index must be")
        return int(self.item())

    def _value(self, what: str) -> sympy.Expr:
        if self.size == 1 and number(self.item()).is_number:
            return number(self.item())
        raise NoReading(
            f"{what}() of {str(self.tolist())[:60]}: a symbol has no value. Use NumPy's or mg's functions, such as "
            "np.exp for math.exp, and write results into np.zeros_like(x) rather than np.zeros(shape)"
        )

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))  # which prints elements bare

    @property
    def is_mask(self) -> bool:
        """Whether these are relations, which pick elements."""
        return is_mask(self)

    # ---- readings --------------------------------------------------------------------------------------------

    def read_card(self, card: Op, inputs: tuple, params: dict[str, Any]) -> Any:
        """The card's own formula on these inputs."""
        formula = sympy_function(card)
        if card.domain is None:
            return symbolic_array(formula(*map(_symbolic, inputs), **params))
        return over_elements(formula, *inputs, **{k: exact(v) for k, v in params.items()})

    def astype(self, dtype: Any, *args: Any, **params: Any) -> Any:
        """Symbols have no dtype to change, but truth values become numbers, where numbers are asked for."""
        kind = np.dtype(dtype).kind
        if kind in "iu" and not all(is_truth_value(e) or e.is_integer for e in self.ravel().tolist()):
            raise NoReading(f"astype({np.dtype(dtype)}): the fraction of a symbol cannot be cut off")
        return numbers(self) if kind in "fiu" else over_elements(truth, self) if kind == "b" else self.copy()


class Picked(np.lib.mixins.NDArrayOperatorsMixin):
    """`x[mask]` for a mask of relations: how many elements that are, nobody knows, but they can be computed with.

    It keeps the whole array beside the mask; elementwise functions, a sum and an assignment to the same mask are all
    that makes sense.
    """

    def __init__(self, whole: SymbolicArray, mask: SymbolicArray) -> None:
        self.whole, self.mask = whole, mask

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **params: Any) -> Any:
        if method != "__call__":
            return NotImplemented
        wholes = [x.whole_for(self.mask) if isinstance(x, Picked) else _without_axes(x) for x in inputs]
        return Picked(ufunc(*wholes), self.mask)

    def whole_for(self, mask: SymbolicArray) -> SymbolicArray:
        """The whole array, if it was picked from by this mask."""
        if mask.shape != self.mask.shape or mask.tolist() != self.mask.tolist():
            raise NoReading("elements picked by one mask meet those picked by another, and symbols do not say which")
        return self.whole

    def sum(self) -> Any:
        return np.where(_over(self.mask, self.whole), self.whole, 0).sum()

    def __getattr__(self, name: str) -> Any:
        raise NoReading(f"{name}: it is unknown which elements x[mask] picks from symbols; np.where keeps all in place")


def plain_key(key: Any) -> Any:
    """An index, with integers and truth values that are known as NumPy has them."""
    if type(key) is tuple:
        return tuple(map(plain_key, key))
    if not isinstance(key, SymbolicArray):
        return key
    elements = key.ravel().tolist()
    if all(e in (sympy.true, sympy.false) for e in elements):
        return np.asarray(key.view(np.ndarray), dtype=bool)
    if all(getattr(e, "is_Integer", False) for e in elements):
        return np.asarray(key.view(np.ndarray), dtype=int)
    return key


def is_mask(key: Any) -> bool:
    return isinstance(key, SymbolicArray) and key.size > 0 and all(map(is_truth_value, key.ravel().tolist()))


def _chosen(mask: SymbolicArray, value: Any, other: SymbolicArray) -> SymbolicArray:
    """`other` after `other[mask] = value`."""
    value = value.whole_for(mask) if isinstance(value, Picked) else _without_axes(value)
    return over_elements(piecewise, _over(mask, other), value, other)


def _over(mask: SymbolicArray, x: SymbolicArray) -> SymbolicArray:
    """A mask of the first axes of x, to broadcast with x."""
    if mask.shape != x.shape[: mask.ndim]:
        raise IndexError(f"a mask of shape {mask.shape} does not fit an array of shape {x.shape}")
    return symbolic_array(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)))


def _without_axes(x: Any) -> Any:
    if np.ndim(x):
        raise NoReading("x[mask] = array: it is unknown how many elements the mask picks from symbols; use np.where")
    return x


def symbolic_array(x: Any) -> SymbolicArray:
    """SymPy expressions and numbers (one, or nested lists, or an array) as a SymbolicArray."""
    if isinstance(x, SymbolicArray):
        return x
    if isinstance(x, sympy.MatrixBase):
        x = x.tolist()
    return exact_array(x).view(SymbolicArray)


def exact_array(x: Any) -> np.ndarray:
    array = np.asarray(x, dtype=object)
    exactly = np.empty(array.shape, object)
    for i in np.ndindex(array.shape):
        exactly[i] = exact(array[i])
    return exactly


def numbers(x: Any) -> SymbolicArray:
    """An array of symbols in which truth values are 1 or 0."""
    return over_elements(lambda e: e, x)


def _symbolic(x: Any) -> Any:
    """What NumPy made of arrays of symbols: its arrays of objects and bare expressions as SymbolicArrays."""
    if isinstance(x, sympy.Basic) or (isinstance(x, np.ndarray) and x.dtype == object):
        return symbolic_array(x)
    return type(x)(map(_symbolic, x)) if type(x) in (tuple, list) else x


def over_elements(formula: Callable, *inputs: Any, **params: Any) -> SymbolicArray:
    """`formula` of each element of the inputs, broadcast together."""
    arrays = np.broadcast_arrays(*[exact_array(x) for x in inputs])
    result = np.empty(arrays[0].shape, object)
    for i in np.ndindex(result.shape):
        result[i] = exact(formula(*[number(a[i]) if formula not in LOGIC else a[i] for a in arrays], **params))
    return result.view(SymbolicArray)


def fold(
    formula: Callable, x: Any, axis: Any = 0, keepdims: bool = False, initial: Any = None, where: Any = True
) -> SymbolicArray:
    """`formula` of all elements along the axes."""
    if where is not True:
        raise NoReading("a reduction with where= has no reading on symbols: put np.where inside")
    x = exact_array(x)
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int | np.integer) else axis
    axes = sorted(i % x.ndim for i in axes)
    kept = [i for i in range(x.ndim) if i not in axes]
    rows = x.transpose(kept + axes).reshape([x.shape[i] for i in kept] + [math.prod(x.shape[i] for i in axes)])
    first = [] if initial is None or initial is _NoValue else [exact(initial)]
    result = np.empty(rows.shape[:-1], object)
    for i in np.ndindex(result.shape):
        result[i] = formula(*first, *map(truth if formula in LOGIC else number, rows[i]))
    shape = [1 if i in axes else n for i, n in enumerate(x.shape)]
    return (result.reshape(shape) if keepdims else result).view(SymbolicArray)


def _accumulate(formula: Callable, x: Any, axis: int = 0) -> SymbolicArray:
    """Along an axis, `formula` of each element and the result for the one before."""
    result = numbers(x)
    rows = np.moveaxis(result.view(np.ndarray), axis, 0)
    for i in range(1, len(rows)):
        rows[i] = over_elements(formula, rows[i - 1], rows[i]).view(np.ndarray)[()]
    return result


def _into(out: Any, result: SymbolicArray) -> Any:
    if out is None:
        return result
    _check_writable(out[0])
    out[0][...] = result
    return out[0]


def _check_writable(array: Any) -> None:
    if array.dtype != object:
        raise NoReading(
            f"symbols cannot be written into an array of {array.dtype}: make it by np.zeros_like(x) of an x that holds "
            "symbols, or write `a = a + b` for `a += b`"
        )


def piecewise(condition: Any, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    """What np.where chooses."""
    return sympy.Piecewise((number(a), truth(condition)), (number(b), True))


def truth(x: sympy.Basic) -> sympy.Basic:
    """An expression as a condition: a number is true where it is not 0."""
    return x if is_truth_value(x) else sympy.Ne(x, 0)


@functools.cache
def sympy_function(card: Op) -> Callable:
    """The formula on a card as a function: of expressions for elementwise ops, of arrays for others."""
    if not isinstance(card.sympy, str):
        return card.sympy
    return eval(f"lambda {card.sympy}" if ":" in card.sympy else card.sympy, dict(vars(sympy)))


# These take truth values as they are; to all others, true is 1 and false is 0.
LOGIC: set[Callable] = {sympy.Eq, sympy.Ne, sympy.And, sympy.Or, sympy.Not, sympy.Xor, piecewise, truth}
