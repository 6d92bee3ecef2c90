"""Tensors from nothing: zeros, ones, ranges. Floats come in the default dtype unless another is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import ops
from .tensor import Tensor, check_differentiable, default_dtype, plain


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

    `fill_value` may be an array that broadcasts to the shape, and a tensor, which gets its gradient.

    >>> import minigrad as mg
    >>> mg.full(2, 0.5)
    tensor([0.5, 0.5])
    >>> mg.grad(lambda value: mg.full(3, value).sum())(2.0)
    tensor(3.)
    """
    if isinstance(fill_value, Tensor):
        filled = ops.broadcast_to(fill_value, tuple(shape) if np.ndim(shape) else (shape,))
        filled = filled if dtype is None else filled.astype(dtype)
        return filled.requires_grad_() if requires_grad and filled.is_leaf else filled
    if dtype is None and isinstance(fill_value, float):
        dtype = default_dtype()
    return _leaf(np.full(shape, fill_value, dtype), requires_grad)


def zeros_like(x: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros in the shape and dtype of x."""
    return _leaf(np.zeros_like(x._data if isinstance(x, Tensor) else x, dtype), requires_grad)


def ones_like(x: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones in the shape and dtype of x."""
    return _leaf(np.ones_like(x._data if isinstance(x, Tensor) else x, dtype), requires_grad)


def full_like(x: Any, fill_value: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of one value in the shape and dtype of x; a tensor as `fill_value` gets its gradient.

    >>> import minigrad as mg
    >>> mg.full_like(mg.zeros(2), 3)
    tensor([3., 3.])
    """
    x = plain(x)
    return full(np.shape(x), fill_value, dtype=dtype or np.asarray(x).dtype, requires_grad=requires_grad)


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


def eye(n: int, m: int | None = None, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """The identity matrix (n, n), or its first m columns.

    >>> import minigrad as mg
    >>> mg.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    return _leaf(np.eye(n, m, dtype=dtype or default_dtype()), requires_grad)
