"""What is done to all parameters or all gradients of a model at once, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np

from .. import ops
from ..tensor import Tensor, plain

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters"]

Parameters = Tensor | Iterable[Tensor]


def clip_grad_norm_(
    parameters: Parameters, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients, in place, such that their norm is at most `max_norm`; return the norm that they had.

    The norm is that of all gradients as one vector: (sum |g|^norm_type)^(1 / norm_type), the largest |g| for inf. The
    factor is min(1, max_norm / (norm + 1e-6)) (Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063, algorithm 1, and
    PyTorch's small number). Parameters without a gradient are passed over. A norm that is inf or nan spoils all
    gradients, or with `error_if_nonfinite` raises RuntimeError and leaves them alone. Raises ValueError for a negative
    `max_norm`. Call it between backward() and step().

    >>> w = mg.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w / 2).sum().backward()
    >>> mg.nn.utils.clip_grad_norm_([w], 1.0)
    tensor(5.)
    >>> w.grad.numpy().round(4).tolist()
    [0.6, 0.8]
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm must be 0 or above, not {max_norm!r}")
    gradients = _gradients(parameters)
    norm = total_norm(gradients, float(norm_type))
    if error_if_nonfinite and not np.isfinite(norm):
        raise RuntimeError(
            f"clip_grad_norm_: the norm of the gradients is {norm}, and clipping by it would spoil all of them; "
            "`with mg.debug():` shows where the first value that is not finite came from"
        )
    factor = float(max_norm / (norm + 1e-6))
    if not factor >= 1:
        for g in gradients:
            _put(g, g._data * factor)
    return Tensor(np.asarray(norm))


def total_norm(gradients: list[Tensor], norm_type: float) -> Any:
    """The norm of all gradients as one vector, in their dtype."""
    if not gradients:
        return 0.0
    if not norm_type > 0:
        raise ValueError(f"clip_grad_norm_: norm_type must be a positive number or inf, not {norm_type!r}")
    norms = [_norm(g._data.ravel(), norm_type) for g in gradients if g.size]
    return _norm(np.array(norms or [0.0], np.result_type(*(g.dtype for g in gradients))), norm_type)


def _norm(x: np.ndarray, norm_type: float) -> Any:
    if norm_type == 2:
        largest = np.max(np.abs(x))  # squares of what is scaled by it neither overflow nor vanish
        if largest == 0 or not np.isfinite(largest):
            return largest
        return largest * np.sqrt(np.vdot(x / largest, x / largest))
    return np.linalg.norm(x, norm_type)


def clip_grad_value_(parameters: Parameters, clip_value: float) -> None:
    """Limit every element of every gradient, in place, to [-clip_value, clip_value].

    Raises ValueError for a negative `clip_value`. Call it between backward() and step().

    >>> w = mg.tensor([3.0, -4.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> mg.nn.utils.clip_grad_value_([w], 7.0)
    >>> w.grad
    tensor([ 6., -7.])
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value must be 0 or above, not {clip_value!r}")
    for g in _gradients(parameters):
        _put(g, np.clip(g._data, -float(clip_value), float(clip_value)))


def check_limits(owner: str, clip_norm: Any, clip_value: Any) -> None:
    """Raise TypeError or ValueError for limits of the gradient that are neither None nor positive numbers."""
    for name, limit in (("clip_norm", clip_norm), ("clip_value", clip_value)):
        if limit is None:
            continue
        if isinstance(limit, bool) or not isinstance(limit, Real):
            raise TypeError(f"{owner}: {name} must be a positive number or None, not {limit!r}")
        if not float(limit) > 0:
            raise ValueError(f"{owner}: {name} must be a positive number, not {limit!r}")


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters in one row; gradients flow through.

    >>> model = mg.nn.Linear(2, 3)
    >>> mg.nn.utils.parameters_to_vector(model.parameters()).shape
    (9,)
    """
    return ops.concatenate([ops.ravel(p) for p in parameters])


def vector_to_parameters(vec: Any, parameters: Iterable[Tensor]) -> None:
    """Set all parameters from one row of numbers, as `parameters_to_vector` has them. Raises ValueError if they differ
    in size.

    >>> w, b = mg.zeros((2, 2)), mg.zeros(2)
    >>> mg.nn.utils.vector_to_parameters(np.arange(6.0), [w, b])
    >>> w.tolist(), b.tolist()
    ([[0.0, 1.0], [2.0, 3.0]], [4.0, 5.0])
    """
    params, row = list(parameters), np.asarray(plain(vec))
    size = sum(p.size for p in params)
    if row.shape != (size,):
        raise ValueError(f"vector_to_parameters: the parameters have {size} elements, the vector has shape {row.shape}")
    at = 0
    for p in params:
        p.data = row[at : at + p.size].reshape(p.shape).astype(p.dtype)
        at += p.size


def _gradients(parameters: Parameters) -> list[Tensor]:
    params = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p._grad for p in params if p._grad is not None]


def _put(gradient: Tensor, values: Any) -> None:
    gradient._data[...] = values
    gradient._touch()
