"""Numbers at equal distances, or equal ratios, between ends that may be tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor, as_tensor, default_dtype, plain, require
from .card import composite, op
from .elementwise import abs, astype, log10, power, sign
from .joining import broadcast_arrays
from .shape import along, expand_dims, unsupported
from .writing import setitem

__all__ = [
    "geomspace", "linspace", "logspace",
]  # fmt: skip


def _steps(g, num, endpoint, axis):
    """How many steps lead from start to stop, and along `axis` how many lead to each number."""
    axis %= g.ndim
    shape = tuple(num if i == axis else 1 for i in range(g.ndim))
    return max(num - endpoint, 1), np.arange(num, dtype=g.dtype).reshape(shape)


def _by_start(g, y, start, stop, num, endpoint, axis):
    n, i = _steps(g, num, endpoint, axis)
    return np.add.reduce(g * (n - i) / n, axis=axis)


def _by_stop(g, y, start, stop, num, endpoint, axis):
    n, i = _steps(g, num, endpoint, axis)
    return np.add.reduce(g * i / n, axis=axis)


def _formula(start, stop, num, endpoint, axis):
    step = (stop - start) / max(num - endpoint, 1)
    return np.stack([start + i * step for i in range(num)], axis)


@op(arity=2, sympy=_formula, vjp=(_by_start, _by_stop),
    cases=[([(), ()], {"num": 3}), ([(2,), (2,)], {"num": 4, "endpoint": False, "axis": -1}),
           ([(2,), (2,)], {"num": 1})])
def linspace_(start, stop, num=50, endpoint=True, axis=0):
    return np.linspace(start, stop, num, endpoint, axis=axis)


@composite(np.linspace, cases=[([(), ()], {"num": 4}), ([(2,), ()], {"num": 3, "endpoint": False, "axis": 1})])
def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
    axis: int = 0, *, device: None = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """`num` numbers at equal distances from start to stop, which is included unless `endpoint` is False.

    The ends may be arrays, for a new axis `axis` of numbers between each pair, and tensors, which get their gradient.
    Between plain numbers the result is in the default dtype.

    >>> import minigrad as mg
    >>> mg.linspace(0, 1, 3)
    tensor([0. , 0.5, 1. ])
    >>> mg.grad(lambda stop: mg.linspace(0.0, stop, 3).sum())(1.0)
    tensor(1.5)
    """
    unsupported("linspace", retstep=retstep or None, device=device)
    if dtype is not None and np.dtype(dtype).kind in "iu":  # rounded down, so without a gradient
        return Tensor(np.linspace(plain(start), plain(stop), num, endpoint, dtype=dtype, axis=axis))
    y = _in_dtype(linspace_(start, stop, num=num, endpoint=bool(endpoint), axis=axis), dtype, start, stop)
    return y.requires_grad_() if requires_grad else y


@composite(np.logspace, cases=[([(), ()], {"num": 3}), ([(2,), ()], {"num": 3, "base": 2.0, "axis": -1})])
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0,
) -> Tensor:  # fmt: skip
    """`num` numbers at equal ratios from base**start to base**stop; the base is one number.

    >>> import minigrad as mg
    >>> mg.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    if np.ndim(base):
        raise ValueError(f"logspace: the base must be one number, and has the shape {np.shape(base)}")
    return _in_dtype(power(base, linspace(start, stop, num, endpoint, axis=axis)), dtype, start, stop)


@composite(np.geomspace, cases=[([np.array(0.5), np.array(8.0)], {"num": 3}),
                                ([np.array([-1.0, 2.0]), np.array([-5.0, 0.25])], {"num": 3, "endpoint": False})])
def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Tensor:  # fmt: skip
    """`num` numbers at equal ratios from start to stop, which must have one sign; neither may be 0.

    >>> import minigrad as mg
    >>> mg.geomspace(1.0, 100.0, 3)
    tensor([  1.,  10., 100.])
    """
    given, plains = (start, stop), (plain(start), plain(stop))
    start, stop = as_tensor(start), as_tensor(stop)
    if not start.dtype.hasobject and not stop.dtype.hasobject:
        sentence = "geomspace: neither end may be 0, and both must have one sign"
        require(np.sign(start._data) * np.sign(stop._data) == 1, lambda: ValueError(sentence))
        start, stop = (astype(x, np.result_type(*plains, 1.0)) for x in (start, stop))
    start, stop = broadcast_arrays(start, stop)
    y = expand_dims(sign(start), axis) * logspace(log10(abs(start)), log10(abs(stop)), num, endpoint, axis=axis)
    first = along(axis % y.ndim, 0)
    if num > 0:  # the ends themselves, which rounding may have missed
        y = setitem(y, first, start)
    if num > 1 and endpoint:
        y = setitem(y, (*first[:-1], -1), stop)
    return _in_dtype(y, dtype, *given)


def _in_dtype(y, dtype, *ends):
    """The numbers in the dtype asked for: between ends that are plain numbers, by default, in the default dtype."""
    if dtype is None and all(isinstance(x, int | float | np.integer) or getattr(x, "weak", False) for x in ends):
        dtype = default_dtype()
    return y if dtype is None or y.dtype == dtype else astype(y, dtype)
