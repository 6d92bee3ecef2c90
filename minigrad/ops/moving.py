"""Ops that reverse, roll, repeat and pad, and windows that move over an array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..tensor import Tensor, as_tensor
from .card import composite, op
from .picking import getitem, plain_key, scatter
from .shape import along, broadcast_to, ravel, reshape, swapaxes

__all__ = [
    "flip", "fliplr", "flipud", "pad", "repeat", "roll", "rot90", "sliding_window_view", "tile",
]  # fmt: skip


@composite(np.flip, cases=[([(2, 3)], {}), ([(2, 3)], {"axis": 1})])
def flip(m: Any, axis: Any = None) -> Tensor:
    """The elements in reverse order along the axes (all, for None).

    >>> import minigrad as mg
    >>> mg.flip([1.0, 2.0, 3.0])
    tensor([3., 2., 1.])
    """
    ndim = np.ndim(m)
    axes = range(ndim) if axis is None else normalize_axis_tuple(axis, ndim, "flip")
    return getitem(m, tuple(slice(None, None, -1 if i in axes else None) for i in range(ndim)))


@composite(np.flipud, cases=[([(2, 3)], {})])
def flipud(m: Any) -> Tensor:
    """The elements in reverse order along axis 0.

    >>> import minigrad as mg
    >>> mg.flipud([1.0, 2.0])
    tensor([2., 1.])
    """
    return flip(m, 0)


@composite(np.fliplr, cases=[([(2, 3)], {})])
def fliplr(m: Any) -> Tensor:
    """The elements in reverse order along axis 1.

    >>> import minigrad as mg
    >>> mg.fliplr([[1.0, 2.0]])
    tensor([[2., 1.]])
    """
    return flip(m, 1)


@composite(np.rot90, cases=[([(2, 3)], {}), ([(2, 3)], {"k": 2}), ([(2, 1, 3)], {"k": -1, "axes": (0, 2)})])
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Tensor:
    """The array turned k times by 90 degrees in the plane of two axes, from the first towards the second.

    >>> import minigrad as mg
    >>> mg.rot90([[1.0, 2.0], [3.0, 4.0]])
    tensor([[2., 4.],
            [1., 3.]])
    """
    m = as_tensor(m)
    if len(axes) != 2:
        raise ValueError(f"rot90: axes={axes}; a plane has two axes")
    first, second = (normalize_axis_index(i, m.ndim, "rot90") for i in axes)
    if first == second:
        raise ValueError(f"rot90: axes={axes} are one and the same, and a plane has two")
    k = k % 4
    if k % 2 == 0:
        return flip(m, (first, second)) if k else m[...]
    turned = flip(m, second) if k == 1 else m
    turned = swapaxes(turned, first, second)
    return turned if k == 1 else flip(turned, second)


@op(numpy=np.roll, cases=[([(2, 3)], {"shift": 2}), ([(2, 3)], {"shift": -1, "axis": 1}),
                          ([(2, 3)], {"shift": (1, 2), "axis": (0, 1)})],
    vjp=lambda g, y, x, shift, axis: roll(g, np.negative(shift), axis))
def roll(a, shift=0, axis=None):
    """The elements moved on by `shift` places along an axis, those at the end to the beginning (flattened, for None).

    `shift` and `axis` may be tuples.

    >>> import minigrad as mg
    >>> mg.roll([1.0, 2.0, 3.0], 1)
    tensor([3., 1., 2.])
    """
    return np.roll(a, shift, axis)


# ---- repeating and padding -------------------------------------------------------------------------------------------


def _repeats_added_up(g, y, x, repeats, axis):
    rows = reshape(g, (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :]))
    if x.ndim == axis + 1:  # a product with ones takes less time than a sum along a short last axis
        return np.matmul(rows, np.ones(repeats, g.dtype))
    return np.add.reduce(rows, axis=axis + 1)


@op(cases=[([(2, 3)], {"repeats": 2, "axis": 1}), ([(2, 3)], {"repeats": 3, "axis": 0})], vjp=_repeats_added_up)
def repeat_(a, repeats=1, axis=0):
    return np.repeat(a, repeats, axis)


@composite(np.repeat, cases=[([(2, 3)], {"repeats": 2}), ([(2, 3)], {"repeats": [2, 0, 1], "axis": 1})])
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element repeated along an axis (of the flattened array, for None).

    >>> import minigrad as mg
    >>> mg.repeat([1.0, 2.0], 2)
    tensor([1., 1., 2., 2.])
    """
    a = as_tensor(a)
    if axis is None:
        a, axis = ravel(a), 0
    axis = normalize_axis_index(axis, a.ndim, "repeat")
    if isinstance(repeats, int | np.integer) and repeats > 0:
        return repeat_(a, repeats=int(repeats), axis=axis)
    return getitem(a, along(axis, np.repeat(np.arange(a.shape[axis]), plain_key(repeats))))


@composite(np.tile, cases=[([(2, 3)], {"reps": (2, 1)})])
def tile(A: Any, reps: Any) -> Tensor:
    """The whole array repeated `reps` times along each axis.

    >>> import minigrad as mg
    >>> mg.tile([1.0, 2.0], 2)
    tensor([1., 2., 1., 2.])
    """
    a = as_tensor(A)
    reps = tuple(int(r) for r in np.atleast_1d(reps))
    ndim = max(a.ndim, len(reps))
    lengths, reps = (1,) * (ndim - a.ndim) + a.shape, (1,) * (ndim - len(reps)) + reps
    apart = tuple(n for pair in zip([1] * ndim, lengths, strict=True) for n in pair)
    repeated = tuple(n for pair in zip(reps, lengths, strict=True) for n in pair)
    whole = broadcast_to(reshape(a, apart), repeated)
    return reshape(whole, tuple(r * n for r, n in zip(reps, lengths, strict=True)))


@composite(np.pad, cases=[([(2, 3)], {"pad_width": 1}), ([(2, 3)], {"pad_width": ((0, 1), (2, 1)), "mode": "reflect"})])
def pad(array: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0) -> Tensor:
    """The array with `pad_width` elements added before and after along each axis.

    `mode` is "constant", or "edge", "reflect", "symmetric", "wrap", which repeat elements of the array.

    >>> import minigrad as mg
    >>> mg.pad([1.0, 2.0], (1, 2))
    tensor([0., 1., 2., 0., 0.])
    >>> mg.pad([1.0, 2.0, 3.0], 1, mode="reflect")
    tensor([2., 1., 2., 3., 2.])
    """
    a = as_tensor(array)
    widths = _widths(pad_width, a.ndim)
    if mode == "constant":
        shape = tuple(n + before + after for n, (before, after) in zip(a.shape, widths, strict=True))
        inside = tuple(slice(before, before + n) for n, (before, after) in zip(a.shape, widths, strict=True))
        padded = scatter(a, inside, shape)
        if np.all(np.equal(constant_values, 0)):
            return padded
        return padded + np.pad(np.zeros(a.shape, a.dtype), widths, constant_values=constant_values)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ValueError(f'pad: mode {mode!r} is none of "constant", "edge", "reflect", "symmetric", "wrap"')
    for axis, width in enumerate(widths):
        if any(width):
            a = getitem(a, along(axis, np.pad(np.arange(a.shape[axis]), width, mode)))  # type: ignore[call-overload]
    return a if any(map(any, widths)) else a[...]


def _widths(pad_width, ndim):
    """How much is added before and after, for every axis."""
    if isinstance(pad_width, dict):
        pairs = [(0, 0)] * ndim
        for axis, width in pad_width.items():
            pairs[axis] = (width, width) if np.ndim(width) == 0 else tuple(width)
        pad_width = pairs or 0
    widths = np.asarray(pad_width)
    if widths.dtype.kind not in "iu":
        raise TypeError(f"pad: pad_width must be integers, not {widths.dtype}")
    try:
        widths = np.broadcast_to(widths, (ndim, 2))
    except ValueError:
        raise ValueError(f"pad: pad_width of shape {widths.shape} is no pair for each of {ndim} axes") from None
    if (widths < 0).any():
        raise ValueError("pad: pad_width has negative numbers; a slice makes an array smaller")
    return [(before, after) for before, after in widths.tolist()]


# ---- windows -------------------------------------------------------------------------------------------------------


@op(cases=[([(4,)], {"window": 2, "axis": 0}), ([(2, 4, 1)], {"window": 3, "axis": 1})],
    vjp=lambda g, y, x, window, axis: overlap(g, axis=axis))
def windows(x, window=1, axis=0):
    """Every window of so many neighbours along an axis, as a new last axis: a view, which cannot be written to."""
    return np.lib.stride_tricks.sliding_window_view(x, window, axis)


@op(cases=[([(3, 2)], {"axis": 0}), ([(2, 2, 1, 3)], {"axis": 1})],
    vjp=lambda g, y, x, axis: windows(g, window=x.shape[-1], axis=axis))
def overlap(x, axis=0):
    """Windows added up where they overlap: the transpose of `windows`."""
    n, window = x.shape[axis], x.shape[-1]
    y = np.zeros_like(x, shape=(*x.shape[:axis], n + window - 1, *x.shape[axis + 1 : -1]))
    if window <= n:
        for i in range(window):
            y[along(axis, slice(i, i + n))] += x[..., i]
    else:
        for i in range(n):
            y[along(axis, slice(i, i + window))] += np.moveaxis(x[along(axis, i)], -1, axis)
    return y


@composite(np.lib.stride_tricks.sliding_window_view,
    cases=[([(4,)], {"window_shape": 2}), ([(3, 4)], {"window_shape": (2, 3)}),
           ([(3, 4)], {"window_shape": 2, "axis": 1}), ([(2, 4)], {"window_shape": (2, 2), "axis": (1, 1)})])
def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Tensor:
    """Every window of this shape over the axes (all, for None), as new last axes; the values are not copied.

    They cannot be written to. The gradient of each element is the sum over the windows that it is in.

    >>> import minigrad as mg
    >>> mg.sliding_window_view([1.0, 2.0, 3.0], 2)
    tensor([[1., 2.],
            [2., 3.]])
    """
    if writeable:
        raise ValueError("sliding_window_view: the windows share their elements and cannot be written to")
    x = as_tensor(x)
    lengths = tuple(window_shape) if np.ndim(window_shape) else (window_shape,)
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim, "sliding_window_view", True)
    if len(lengths) != len(axes):
        raise ValueError(f"sliding_window_view: window_shape={lengths} needs a length for each of the axes {axes}")
    for i, n in zip(axes, lengths, strict=True):
        if not 0 <= n <= x.shape[i]:
            raise ValueError(f"sliding_window_view: no window of {n} fits into axis {i} of {x.shape}")
        x = windows(x, window=int(n), axis=i)
    return x
