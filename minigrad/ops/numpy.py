"""NumPy's own functions on Tensors: `np.exp(t)`, `np.mean(t, axis=0)`, `array @ t`.

NumPy hands every call with a Tensor among its arguments to us; the cards say which op stands for which function.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import Tensor, describe, plain
from . import reduce
from .card import NUMPY, SCIPY

REDUCTIONS = {np.add: reduce.sum, np.multiply: reduce.prod, np.maximum: reduce.max, np.minimum: reduce.min}

# Functions without a gradient, or whose gradient is zero: they look at the values, and give plain arrays.
PLAIN_UFUNCS = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isnan, np.isfinite, np.isinf,
    np.signbit, np.logical_and, np.logical_or, np.logical_not, np.logical_xor, np.bitwise_and, np.bitwise_or,
    np.bitwise_xor, np.invert,
}  # fmt: skip
PLAIN_FUNCTIONS = {
    np.shape, np.ndim, np.size, np.argmax, np.argmin, np.argsort, np.allclose, np.isclose, np.array_equal, np.any,
    np.all, np.nonzero, np.count_nonzero, np.searchsorted, np.result_type, np.array2string, np.array_repr,
    np.array_str, np.may_share_memory, np.shares_memory, np.bincount, np.isin, np.iscomplexobj,
    np.isrealobj, np.can_cast, np.save, np.savez, np.savetxt, np.savez_compressed, np.array_equiv, np.argwhere,
    np.flatnonzero, np.argpartition, np.lexsort, np.digitize, np.histogram, np.ravel_multi_index, np.unravel_index,
    np.diag_indices_from, np.tril_indices_from, np.triu_indices_from, np.ix_, np.min_scalar_type, np.common_type,
    np.isneginf, np.isposinf, np.isreal, np.iscomplex, np.nanargmax, np.nanargmin,
}  # fmt: skip


def compare(ufunc: np.ufunc, a: Any, b: Any) -> np.ndarray:
    """A comparison: a plain boolean array (of SymPy relations, for symbols)."""
    return ufunc(plain(a), plain(b))


def numpy_ufunc(ufunc: np.ufunc, method: str, inputs: tuple, params: dict[str, Any]) -> Any:
    """What a NumPy ufunc gives on inputs of which at least one is a Tensor."""
    if "out" in params or method == "at":
        return _into_array(ufunc, method, inputs, params)
    if method == "__call__" and not params:
        if ufunc in NUMPY:
            return NUMPY[ufunc](*inputs)
        if ufunc in PLAIN_UFUNCS:
            return ufunc(*map(plain, inputs))
        if is_scipys(ufunc) and ufunc.__name__ in SCIPY:
            return SCIPY[ufunc.__name__](*inputs)
    if method == "__call__" and ufunc.signature is not None and params.keys() == {"axis"} and ufunc in NUMPY:
        return NUMPY[ufunc](*inputs, **params)
    if method == "reduce" and ufunc in REDUCTIONS:
        x, *rest = inputs
        params = {**dict(zip(("axis",), rest, strict=False)), **params}
        params.setdefault("axis", 0)
        if params.keys() <= {"axis", "keepdims"}:
            return REDUCTIONS[ufunc](x, **params)
    if not any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
        return getattr(ufunc, method)(*map(plain, inputs), **params)  # no gradient is lost
    call = f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else "")
    given = f" with {', '.join(params)}" if params else ""
    raise TypeError(f"{call}{given} is not differentiable here: {_remedy()}")


def is_scipys(ufunc: np.ufunc) -> bool:
    """Whether it is one of scipy.special's, which somebody else has loaded then."""
    return getattr(sys.modules.get("scipy.special"), ufunc.__name__, None) is ufunc


def _into_array(ufunc: np.ufunc, method: str, inputs: tuple, params: dict[str, Any]) -> Any:
    """`array -= tensor`: NumPy writes into the array, which no graph sees."""
    out = params.get("out", inputs[:1])
    for x in (*inputs, *out):
        if isinstance(x, Tensor) and (x.requires_grad or any(x is array for array in out)):
            raise TypeError(f"np.{ufunc.__name__}: {describe(x)} would leave the graph through out=; call it without")
    return getattr(ufunc, method)(*map(plain, inputs), **params)


def numpy_function(function: Callable, args: tuple, params: dict[str, Any]) -> Any:
    """What a NumPy function gives on arguments of which at least one is a Tensor."""
    if function in NUMPY:
        return NUMPY[function](*args, **params)
    if function is np.full_like and _any_requires_grad((args[1:], params)):
        raise TypeError(f"np.full_like would cut off the gradient of the value: {FULL_LIKE}")
    if function in LIKE:
        return Tensor(function(*map(plain, args), **params))
    weighted = function in WEIGHTED and _any_requires_grad(params.get("weights", args[WEIGHTED[function] :]))
    if (function in PLAIN_FUNCTIONS and not weighted) or not _any_requires_grad((args, params)):
        return function(*map(_plain_nest, args), **{k: _plain_nest(v) for k, v in params.items()})
    raise TypeError(f"{function.__module__}.{function.__name__} is not differentiable here: {_remedy()}")


WEIGHTED = {np.bincount: 1, np.histogram: 4}  # where the argument `weights` stands, in which the result is smooth
FULL_LIKE = "mg.full_like and mg.full pass it on"
LIKE = {np.zeros_like, np.ones_like, np.empty_like, np.full_like}


def _any_requires_grad(x: Any) -> bool:
    if isinstance(x, Tensor):
        return x.requires_grad
    items = x.values() if type(x) is dict else x if type(x) in (tuple, list) else ()
    return any(map(_any_requires_grad, items))


def _plain_nest(x: Any) -> Any:
    return type(x)(map(_plain_nest, x)) if type(x) in (tuple, list) else plain(x) if isinstance(x, Tensor) else x


def _remedy() -> str:
    return "build it from ops that are, or call it on .data where no gradient is meant to flow"

