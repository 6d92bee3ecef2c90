"""Ops that join arrays, and cut them into parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..tensor import Tensor, as_tensor
from .card import composite, each, op
from .shape import along, ravel

__all__ = [
    "concatenate", "split", "stack",
]  # fmt: skip


def _part(i, g, y, *xs, axis):
    start = 0
    for x in xs[:i]:
        start += x.shape[axis]
    return g[along(axis % g.ndim, slice(start, start + xs[i].shape[axis]))]


@op(arity=None, vjp=each(_part), cases=[([(2, 3), (2, 1)], {"axis": 1}), ([(1, 2), (2, 2), (1, 2)], {})])
def concatenate_(*arrays, axis=0):
    return np.concatenate(arrays, axis)


@composite(np.concatenate, cases=[([[(2, 3), (2, 1)]], {"axis": 1}), ([[(2,), (3,)]], {})])
def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Tensor:
    """The arrays one after another along an axis (flattened, for None).

    >>> import minigrad as mg
    >>> mg.concatenate([[1.0, 2.0], mg.tensor([3.0])])
    tensor([1., 2., 3.])
    """
    if axis is None:
        arrays, axis = [ravel(a) for a in arrays], 0
    return concatenate_(*arrays, axis=axis)


@op(arity=None, cases=[([(2,), (2,)], {}), ([(2, 3), (2, 3)], {"axis": -1})],
    vjp=each(lambda i, g, y, *xs, axis: g[along(axis % g.ndim, i)]))
def stack_(*arrays, axis=0):
    return np.stack(arrays, axis)


@composite(np.stack, cases=[([[(2, 3), (2, 3)]], {"axis": 1})])
def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Arrays of one shape joined along a new axis.

    >>> import minigrad as mg
    >>> mg.stack([[1.0, 2.0], [3.0, 4.0]], axis=1)
    tensor([[1., 3.],
            [2., 4.]])
    """
    return stack_(*arrays, axis=axis)


@composite(np.split,
    cases=[([(4, 2)], {"indices_or_sections": 2}), ([(3, 4)], {"indices_or_sections": [1], "axis": 1})])
def split(a: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """The array cut along an axis: into equal parts, or before each of the given indices.

    >>> import minigrad as mg
    >>> mg.split([1.0, 2.0, 3.0, 4.0], 2)
    [tensor([1., 2.]), tensor([3., 4.])]
    """
    a = as_tensor(a)
    axis = normalize_axis_index(axis, a.ndim, "split")
    n = a.shape[axis]
    if isinstance(indices_or_sections, int | np.integer):
        if indices_or_sections < 1 or n % indices_or_sections:
            parts = f"{indices_or_sections} equal parts"
            raise ValueError(f"split: {n} elements along axis {axis} cannot be cut into {parts}")
        cuts = list(range(0, n + 1, n // indices_or_sections)) if n else [0] * (indices_or_sections + 1)
    else:
        cuts = [0, *(int(i) for i in indices_or_sections), n]
    return [a[along(axis, slice(i, j))] for i, j in zip(cuts, cuts[1:], strict=False)]
