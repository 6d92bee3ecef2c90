"""Sorting and order statistics: which elements are picked is found on the values, and picking is what has a gradient.

On symbols, the order is known where relations are decided: inside `with mg.symbolic.deciding(at):`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..batching import beneath, innermost_array, visible
from ..tensor import Tensor, as_tensor, plain
from .card import composite
from .elementwise import where
from .picking import take_along_axis
from .shape import moveaxis, ravel, reshape

__all__ = [
    "median", "nanmedian", "nanpercentile", "nanquantile", "partition", "percentile", "quantile", "sort",
]  # fmt: skip

TIES = "sorting moves elements, and equal ones stay in their order"
HALVES = "the median of an even number gives each of the two in the middle half of the gradient"
AXES = [([(5,)], {}), ([(2, 4)], {"axis": -1}), ([(2, 3, 2)], {"axis": (0, 2), "keepdims": True})]
LEVELS = [([(4,), 0.3], {}), ([(2, 3), [0.0, 0.4, 1.0]], {"axis": 1, "method": "hazen"})]
PERCENTS = [([(4,), 30], {}), ([(2, 3), [0.0, 40.0, 100.0]], {"axis": 1, "method": "hazen"})]


@composite(np.sort, cases=[([(4,)], {}), ([(2, 3)], {"axis": 0}), ([(2, 2)], {"axis": None, "kind": "stable"})],
    note=TIES)
def sort(a: Any, axis: int | None = -1, kind: str | None = None, *, stable: bool | None = None) -> Tensor:
    """The elements in ascending order along an axis (of the flattened array, for None), nan last.

    The sort is stable whatever `kind` and `stable` say: the gradient of equal elements is in their order too.

    >>> import minigrad as mg
    >>> x = mg.tensor([3.0, 1.0, 2.0], requires_grad=True)
    >>> y = mg.sort(x)
    >>> y.backward([10.0, 20.0, 30.0])
    >>> y, x.grad
    (tensor([1., 2., 3.], op=getitem), tensor([30., 10., 20.]))
    """
    if kind not in (None, "quicksort", "mergesort", "heapsort", "stable"):
        raise ValueError(f'sort: kind={kind!r} is none of "quicksort", "mergesort", "heapsort", "stable"')
    if kind is not None and stable is not None:
        raise ValueError("sort: kind= and stable= say the same thing: give one of them")
    a, axis = _in_row(as_tensor(a), axis, "sort")
    return take_along_axis(a, np.argsort(a._data, axis=axis, kind="stable"), axis)


@composite(np.partition, cases=[([(3,)], {"kth": 1}), ([(2, 3)], {"kth": (0, 1), "axis": -1})],
    note="which elements stand on which side is NumPy's choice")
def partition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect") -> Tensor:
    """Elements `kth` as they would be after sorting, with smaller ones before and larger ones after, in any order.

    >>> import minigrad as mg
    >>> mg.partition([3.0, 1.0, 2.0], 1)
    tensor([1., 2., 3.])
    """
    if kind != "introselect":
        raise ValueError(f'partition: kind={kind!r}; "introselect" is the only one')
    a, axis = _in_row(as_tensor(a), axis, "partition")
    return take_along_axis(a, np.argpartition(a._data, kth, axis=axis), axis)


def _in_row(a: Tensor, axis: int | None, name: str) -> tuple[Tensor, int]:
    """The flattened array for axis None, and the axis that is meant."""
    if axis is None:
        return ravel(a), 0
    return a, normalize_axis_index(axis, a.ndim, name)


# ---- order statistics ----------------------------------------------------------------------------------------------


@composite(np.median, cases=AXES, note=HALVES)
def median(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The element in the middle over the axes; of an even number, the mean of the two in the middle.

    It is nan where an element is, and for no elements.

    >>> import minigrad as mg
    >>> mg.grad(mg.median)(np.array([5.0, 1.0, 3.0, 9.0]))
    tensor([0.5, 0. , 0.5, 0. ])
    """
    return _quantile("median", a, 0.5, axis, "linear", keepdims)


@composite(np.nanmedian, cases=AXES, note=HALVES)
def nanmedian(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The median over the axes of the elements that are not nan; nan where there is none.

    >>> import minigrad as mg
    >>> mg.nanmedian([5.0, np.nan, 3.0])
    tensor(4.)
    """
    return _quantile("nanmedian", a, 0.5, axis, "linear", keepdims)


@composite(np.quantile, cases=LEVELS)
def quantile(a: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False) -> Tensor:
    """What a share q of the elements over the axes lies below; for an array q, its shape precedes the result's.

    The value is interpolated between the two elements beside it, and the gradient flows to these by the same weights.
    The `method` is any of NumPy's, after R. J. Hyndman and Y. Fan, "Sample quantiles in statistical packages", The
    American Statistician 50 (1996). The result is nan where an element is. No gradient flows to q. Raises ValueError
    for no elements.

    >>> import minigrad as mg
    >>> mg.quantile([1.0, 2.0, 4.0], [0.5, 0.75])
    tensor([2., 3.])
    """
    return _quantile("quantile", a, q, axis, method, keepdims)


@composite(np.nanquantile, cases=LEVELS)
def nanquantile(a: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False) -> Tensor:
    """The quantile over the axes of the elements that are not nan; nan where there is none.

    >>> import minigrad as mg
    >>> mg.nanquantile([1.0, np.nan, 3.0], 0.25)
    tensor(1.5)
    """
    return _quantile("nanquantile", a, q, axis, method, keepdims)


@composite(np.percentile, cases=PERCENTS)
def percentile(a: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False) -> Tensor:
    """What q percent of the elements over the axes lie below: `quantile` of q / 100.

    >>> import minigrad as mg
    >>> mg.percentile([1.0, 2.0, 4.0], 75)
    tensor(3.)
    """
    return _quantile("percentile", a, q, axis, method, keepdims, 100)


@composite(np.nanpercentile, cases=PERCENTS)
def nanpercentile(a: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False) -> Tensor:
    """The percentile over the axes of the elements that are not nan; nan where there is none.

    >>> import minigrad as mg
    >>> mg.nanpercentile([1.0, np.nan, 3.0], 25)
    tensor(1.5)
    """
    return _quantile("nanpercentile", a, q, axis, method, keepdims, 100)


def _quantile(name: str, a: Any, q: Any, axis: Any, method: str, keepdims: bool, whole: int = 1) -> Tensor:
    """All of the above; those that leave nan out are known by their name."""
    if isinstance(q, Tensor) and q.requires_grad:
        raise TypeError(f"{name}: no gradient flows to q, which says where to look: pass q.detach()")
    x, q = as_tensor(a), np.true_divide(plain(q), whole)
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim, name)
    kept = [i for i in range(x.ndim) if i not in axes]
    n = math.prod(x.shape[i] for i in axes)
    rows = reshape(moveaxis(x, kept, range(len(kept))), (*(x.shape[i] for i in kept), n))
    shape = (*q.shape, *(1 if i in axes else m for i, m in enumerate(x.shape) if keepdims or i not in axes))
    if n == 0:
        if not name.endswith("median") and not name.startswith("nan"):
            raise ValueError(f"{name}: of no elements, in an array of shape {x.shape}, axis={axis}, there is none")
        return Tensor(np.full(shape, np.nan, x.dtype if x.dtype.kind == "f" else float))
    lower, upper, share, none = _neighbours(rows._data, q.ravel(), method, name.startswith("nan"))
    below, above = take_along_axis(rows, lower, -1), take_along_axis(rows, upper, -1)
    y = (1 - share) * below + share * where(share == 0, 0, above)  # an infinite one without a share has no say
    if none is not None:
        y = where(none[..., None], np.nan, y)
    return reshape(moveaxis(y, -1, 0), shape)


def _neighbours(rows: Any, q: np.ndarray, method: Any, leave_nan: bool) -> tuple:
    """Of each row (the last axis), where the elements below and above each quantile are, and the share of the latter.

    And which rows have nothing but nan, if these are to be left out (None if no row has).
    """
    n = rows.shape[-1]
    is_nan = np.isnan(rows) if rows.dtype.kind == "f" else np.zeros((1,) * rows.ndim, bool)
    counts = np.broadcast_to(n - np.count_nonzero(is_nan, axis=-1), rows.shape[:-1])
    if leave_nan:
        places = beneath(lambda counts: _places(counts, q, method), counts)
    else:  # nan is sorted behind all others, and is the result
        places = np.where(counts[..., None] < n, n - 1, _places(np.array(n), q, method))
    floor = np.floor(places)
    share = (places - floor).astype(rows.dtype if rows.dtype.kind == "f" else float)
    lower, upper = floor.astype(int), np.ceil(places).astype(int)
    if visible(rows) and visible(lower):
        wanted = np.unique(np.concatenate([*(innermost_array(i).ravel() for i in (lower, upper)), [n - 1]]))
        order = np.argpartition(rows, wanted, axis=-1)
    else:
        order = np.argsort(rows, axis=-1)
    lower, upper = (np.take_along_axis(order, i, -1) for i in (lower, upper))
    some_empty = not visible(counts) or not innermost_array(counts).all()
    return lower, upper, share, (counts == 0) if leave_nan and some_empty else None


def _places(counts: np.ndarray, q: np.ndarray, method: Any) -> np.ndarray:
    """Where the quantiles of so many sorted elements are; they are along an axis behind."""
    many, which = np.unique(counts, return_inverse=True)
    # Among the numbers 0, 1, 2, ..., NumPy's own quantile is the place.
    table = np.array([np.quantile(np.arange(max(m, 1)), q, method=method) for m in many]).reshape(len(many), len(q))
    return table[which.reshape(counts.shape)]
