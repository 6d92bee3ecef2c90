"""Tensors from nothing: zeros, ones, ranges. Floats come in the default dtype unless another is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from .tensor import Tensor, check_differentiable, default_dtype


def _leaf(array: np.ndarray, requires_grad: bool) -> Tensor:
    if requires_grad:
        check_differentiable(array.dtype)
    return Tensor(array, requires_grad)


def zeros(shape: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros.

    >>> import minigrad as mg
    >>> mg.zeros((2, 2))
    tensor([[0., 0.],
            [0., 0.]])
    """
    return _leaf(np.zeros(shape, dtype or default_dtype()), requires_grad)


def ones(shape: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones.

    >>> import minigrad as mg
    >>> mg.ones(3)
    tensor([1., 1., 1.])
    """
    return _leaf(np.ones(shape, dtype or default_dtype()), requires_grad)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of one value: floats in the default dtype, others in their own.

    >>> import minigrad as mg
    >>> mg.full(2, 0.5)
    tensor([0.5, 0.5])
    """
    if dtype is None and isinstance(fill_value, float):
        dtype = default_dtype()
    return _leaf(np.full(shape, fill_value, dtype), requires_grad)


def zeros_like(x: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros in the shape and dtype of x."""
    return _leaf(np.zeros_like(x._data if isinstance(x, Tensor) else x, dtype), requires_grad)


def ones_like(x: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones in the shape and dtype of x."""
    return _leaf(np.ones_like(x._data if isinstance(x, Tensor) else x, dtype), requires_grad)


def arange(start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """The numbers from start (0 if one argument is given) up to, without, stop; integers stay integers.

    >>> import minigrad as mg
    >>> mg.arange(3)
    tensor([0, 1, 2])
    """
    start, stop = (0, start) if stop is None else (start, stop)
    if dtype is None and any(isinstance(v, float) for v in (start, stop, step)):
        dtype = default_dtype()
    bounds: Any = start, stop, step
    return _leaf(np.arange(*bounds, dtype=dtype), requires_grad)


def linspace(start: float, stop: float, num: int = 50, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """`num` numbers at equal distances from start to stop, both included.

    >>> import minigrad as mg
    >>> mg.linspace(0, 1, 3)
    tensor([0. , 0.5, 1. ])
    """
    return _leaf(np.linspace(start, stop, num, dtype=dtype or default_dtype()), requires_grad)


def eye(n: int, m: int | None = None, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """The identity matrix (n, n), or its first m columns.

    >>> import minigrad as mg
    >>> mg.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    return _leaf(np.eye(n, m, dtype=dtype or default_dtype()), requires_grad)
