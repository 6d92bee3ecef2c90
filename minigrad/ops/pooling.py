"""Pooling in one and two dimensions, with PyTorch's arguments, and its native loops.

A window is a range of places along each spatial axis, so pooling of every kind says only which ranges there are. The
largest element of a window is picked from it: the gradient by it is put back where it came from, and the
gradient of that is picked from there again. A mean is spread over its window, and the gradient of that is a mean.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np

from ..kernels import index, kernel, real
from ..tensor import Tensor, as_tensor
from .card import composite, op
from .convolution import batched, have_loops, per_axis
from .shape import reshape

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "avg_pool1d",
    "avg_pool2d", "max_pool1d", "max_pool2d",
]  # fmt: skip

GRAIN = 1 << 15  # elements: fewer than these are not worth a second thread

# ---- native loops: over matrices, images and channels joined --------------------------------------------------------


def largest(x, n, a, a1, da, b0, b1, db):
    """Where the first of the largest elements of a window is (the last nan, if there are any), as PyTorch has it."""
    found = a * x.shape[2] + b0
    most = x[n, a, b0]
    while a < a1:
        b = b0
        while b < b1:
            value = x[n, index(a), index(b)]
            better = larger(value, most)
            most = value if better else most
            found = a * x.shape[2] + b if better else found
            b += db
        a += da
    return found


def larger(value, than):
    """Whether a later element of a window takes the place of the one found so far."""
    return (value > than) | (value != value)  # `or` would be a jump, and a guess at which way it goes


@kernel
def pick_largest(start, stop, values, x, y, rows, columns, da, db, tiled):
    """y[n, i, j] = values[n, p], with x[n, p] the largest element of window (i, j).

    `tiled` says that the windows are of 2 by 2 elements, side by side, as they most often are: no loop looks for p.
    """
    for n in range(start, stop):
        if tiled:
            for i in range(y.shape[1]):
                upper, lower = index(2 * i * x.shape[2]), index((2 * i + 1) * x.shape[2])
                for j in range(index(y.shape[2])):
                    k = j + j
                    a, b = x[n, 2 * i, k], x[n, 2 * i, k + index(1)]
                    c, d = x[n, 2 * i + 1, k], x[n, 2 * i + 1, k + index(1)]
                    right, under = larger(b, a), larger(d, c)
                    above, below = b if right else a, d if under else c
                    va, vb = values[n, upper + k], values[n, upper + k + index(1)]
                    vc, vd = values[n, lower + k], values[n, lower + k + index(1)]
                    first, second = vb if right else va, vd if under else vc
                    y[n, i, j] = second if larger(below, above) else first
            continue
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                if rows[0, i] < rows[1, i] and columns[0, j] < columns[1, j]:
                    p = largest(x, n, rows[0, i], rows[1, i], da, columns[0, j], columns[1, j], db)
                    y[n, i, j] = values[n, index(p)]
                else:
                    y[n, i, j] = -math.inf


@kernel
def put_to_largest(start, stop, g, x, y, rows, columns, da, db, tiled):
    """y[n, p] = the sum of g[n, i, j] over the windows in which x[n, p] is the largest element."""
    for n in range(start, stop):
        if not tiled or x.shape[1] % 2 or x.shape[2] % 2:
            for p in range(y.shape[1]):
                y[n, p] = 0
        if tiled:
            for i in range(g.shape[1]):
                upper, lower = index(2 * i * x.shape[2]), index((2 * i + 1) * x.shape[2])
                for j in range(index(g.shape[2])):
                    k = j + j
                    a, b = x[n, 2 * i, k], x[n, 2 * i, k + index(1)]
                    c, d = x[n, 2 * i + 1, k], x[n, 2 * i + 1, k + index(1)]
                    right, under = larger(b, a), larger(d, c)
                    above, below = b if right else a, d if under else c
                    value = g[n, i, j]
                    first = real(0) if larger(below, above) else value
                    second = value if larger(below, above) else real(0)
                    y[n, upper + k] = real(0) if right else first
                    y[n, upper + k + index(1)] = first if right else real(0)
                    y[n, lower + k] = real(0) if under else second
                    y[n, lower + k + index(1)] = second if under else real(0)
            continue
        for i in range(g.shape[1]):
            for j in range(g.shape[2]):
                if rows[0, i] < rows[1, i] and columns[0, j] < columns[1, j]:
                    p = largest(x, n, rows[0, i], rows[1, i], da, columns[0, j], columns[1, j], db)
                    y[n, index(p)] += g[n, i, j]


@kernel
def means_of_windows(start, stop, x, y, rows, columns):
    for n in range(start, stop):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                total = real(0)
                for a in range(rows[0, i], rows[1, i]):
                    for b in range(columns[0, j], columns[1, j]):
                        total += x[n, a, b]
                y[n, i, j] = total / real(rows[2, i] * columns[2, j])


@kernel
def spread_over_windows(start, stop, g, y, rows, columns):
    for n in range(start, stop):
        for a in range(y.shape[1]):
            for b in range(y.shape[2]):
                y[n, a, b] = 0
        for i in range(g.shape[1]):
            for j in range(g.shape[2]):
                share = g[n, i, j] / real(rows[2, i] * columns[2, j])
                for a in range(rows[0, i], rows[1, i]):
                    for b in range(columns[0, j], columns[1, j]):
                        y[n, a, b] += share


@functools.lru_cache(1024)
def bounds(windows: tuple, divisors: tuple | None = None) -> list[np.ndarray]:
    """For two spatial axes: the starts, stops and divisors of the windows."""
    divisors = divisors or tuple((1,) * len(axis) for axis in windows)
    pairs = list(zip(windows, divisors, strict=True))
    pairs = pairs if len(pairs) == 2 else [((range(1),), (1,)), *pairs]
    return [np.array([[r.start for r in axis], [r.stop for r in axis], d]) for axis, d in pairs]


@functools.lru_cache(1024)
def steps(windows: tuple) -> tuple[int, int, int]:
    """The dilation along two spatial axes; and 1 if the windows are tiles of 2 by 2 elements, else 0."""
    found = [axis[0].step for axis in windows]
    tiled = all(axis == tuple(range(2 * i, 2 * i + 2) for i in range(len(axis))) for axis in windows)
    return (found[0], found[1], int(tiled)) if len(found) == 2 else (1, found[0], 0)


def matrices(x, dtype):
    """The images of all channels, one after another, in order."""
    height, width = x.shape[2:] if x.ndim == 4 else (1, x.shape[2])
    return np.ascontiguousarray(x, dtype).reshape(math.prod(x.shape[:2]), height, width)


def run(loops, large, *arguments):
    """Run a kernel over all images of all channels; `large` is the larger one of its arrays."""
    if large.size:
        loops.over(len(arguments[0]), GRAIN * len(arguments[0]) // large.size + 1, *arguments)


# ---- the same in NumPy's words: for symbols, and for dtypes that have no loops --------------------------------------


def read_windows(x, windows):
    """For each window: where its elements are in the flat images, and what they are, elements along the last axis."""
    flat = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
    for window in itertools.product(*windows):
        at = np.zeros(1, int)
        for r, n in zip(window, x.shape[2:], strict=True):
            at = (at[:, None] * n + np.array(r, int)).ravel()
        yield at, flat[..., at]


def is_largest(x):
    """For each element along the last axis, whether it is the first of the largest."""
    n = x.shape[-1]
    for i in range(n):
        yield functools.reduce(
            np.logical_and,
            [x[..., i] > x[..., j] if j < i else x[..., i] >= x[..., j] for j in range(n) if j != i],
            x[..., i] == x[..., i],
        )


def joined(parts, x, windows):
    return np.stack(parts, -1).reshape(*x.shape[:2], *map(len, windows))


def read_max(x, windows):
    return joined([np.maximum.reduce(part, axis=-1) for _, part in read_windows(x, windows)], x, windows)


def read_pick(values, x, windows):
    pairs = zip(read_windows(values, windows), read_windows(x, windows), strict=True)
    parts = [
        sum(np.where(here, v[..., i], 0) for i, here in enumerate(is_largest(part))) for (_, v), (_, part) in pairs
    ]
    return joined(parts, x, windows)


def read_put(g, x, windows):
    y = np.zeros_like(g, shape=(*x.shape[:2], math.prod(x.shape[2:])))
    g = g.reshape(*g.shape[:2], math.prod(g.shape[2:]))
    for p, (at, part) in enumerate(read_windows(x, windows)):
        for i, here in zip(at.tolist(), is_largest(part), strict=True):
            y[..., i] = y[..., i] + np.where(here, g[..., p], 0)
    return y.reshape(x.shape)


def read_mean(x, windows, divisors, size=()):
    counts = map(math.prod, itertools.product(*divisors))
    pairs = zip(read_windows(x, windows), counts, strict=True)
    return joined([np.add.reduce(part, axis=-1) / count for (_, part), count in pairs], x, windows)


def read_spread(g, windows, divisors, size):
    y = np.zeros_like(g, shape=(*g.shape[:2], math.prod(size)))
    g = g.reshape(*g.shape[:2], math.prod(g.shape[2:]))
    counts = map(math.prod, itertools.product(*divisors))
    found = read_windows(y.reshape(*g.shape[:2], *size), windows)
    for p, ((at, _), count) in enumerate(zip(found, counts, strict=True)):
        for i in at.tolist():
            y[..., i] = y[..., i] + g[..., p] / count
    return y.reshape(*g.shape[:2], *size)


# ---- the cards: x is (image, channel, ...), `windows` has a tuple of ranges for each spatial axis -------------------

PAIRS = {"windows": ((range(2), range(2, 4)),)}
OVERLAPPING = {"windows": ((range(2), range(1, 2)), (range(0, 3, 2),))}
NOTE = "of equal maxima, the first one has the gradient"


@op(sympy=read_max, note=NOTE, cases=[([(1, 2, 4)], PAIRS), ([(1, 1, 2, 3)], OVERLAPPING)],
    vjp=lambda g, y, x, windows: window_put(g, x, windows=windows))
def window_max(x, windows=()):
    """The largest element of each window."""
    if not have_loops(x):
        return read_max(x, windows)
    return picked(x, x, windows)


def picked(values, x, windows):
    dtype = np.result_type(values, x)
    y = np.empty((*x.shape[:2], *map(len, windows)), dtype)
    flat = matrices(values, dtype).reshape(math.prod(x.shape[:2]), -1) if x.size else x
    run(pick_largest, x, flat, matrices(x, dtype), matrices(y, dtype), *bounds(windows), *steps(windows))
    return y


@op(arity=2, sympy=read_pick, cases=[([(1, 2, 4), (1, 2, 4)], PAIRS), ([(1, 1, 2, 3), (1, 1, 2, 3)], OVERLAPPING)],
    vjp=(lambda g, y, values, x, windows: window_put(g, x, windows=windows),
         lambda g, y, values, x, windows: np.zeros_like(x)))
def window_pick(values, x, windows=()):
    """The element of `values` where x has the largest element of each window."""
    if not have_loops(values, x):
        return read_pick(values, x, windows)
    return picked(values, x, windows)


@op(arity=2, sympy=read_put, cases=[([(1, 2, 2), (1, 2, 4)], PAIRS), ([(1, 1, 2, 1), (1, 1, 2, 3)], OVERLAPPING)],
    vjp=(lambda g, y, z, x, windows: window_pick(g, x, windows=windows),
         lambda g, y, z, x, windows: np.zeros_like(x)))
def window_put(g, x, windows=()):
    """Zeros, to which g is added where x has the largest element of each window."""
    if not have_loops(g, x):
        return read_put(g, x, windows)
    y = np.empty(x.shape, np.result_type(g, x))
    flat = y.reshape(math.prod(x.shape[:2]), -1) if y.size else y
    run(put_to_largest, y, matrices(g, y.dtype), matrices(x, y.dtype), flat, *bounds(windows), *steps(windows))
    return y


MEANS = [{**PAIRS, "divisors": ((2, 2),), "size": (4,)}, {"windows": ((range(2), range(1, 2)), (range(3),)),
                                                          "divisors": ((2, 1), (4,)), "size": (2, 3)}]


@op(sympy=read_mean, cases=[([(1, 2, 4)], MEANS[0]), ([(1, 1, 2, 3)], MEANS[1])],
    vjp=lambda g, y, x, windows, divisors, size: window_spread(g, windows=windows, divisors=divisors, size=size))
def window_mean(x, windows=(), divisors=(), size=()):
    """The sum of each window, by the product of its divisors; `size` is that of the images."""
    if not have_loops(x):
        return read_mean(x, windows, divisors)
    y = np.empty((*x.shape[:2], *map(len, windows)), np.result_type(x))  # in the machine's order of bytes
    run(means_of_windows, x, matrices(x, y.dtype), matrices(y, y.dtype), *bounds(windows, divisors))
    return y


@op(sympy=read_spread, cases=[([(1, 2, 2)], MEANS[0]), ([(1, 1, 2, 1)], MEANS[1])],
    vjp=lambda g, y, z, windows, divisors, size: window_mean(g, windows=windows, divisors=divisors, size=size))
def window_spread(g, windows=(), divisors=(), size=()):
    """Images in which each element of g, by the product of its divisors, is added to all of its window."""
    if not have_loops(g):
        return read_spread(g, windows, divisors, size)
    y = np.empty((*g.shape[:2], *size), np.result_type(g))
    run(spread_over_windows, y, matrices(g, y.dtype), matrices(y, y.dtype), *bounds(windows, divisors))
    return y


# ---- PyTorch's functions --------------------------------------------------------------------------------------------


def _pool(name, n, input, card, windows, *arguments):
    """The card on a batch, with the parameters that windows(name, n, shape, *arguments) gives."""
    x = as_tensor(input)
    batch = batched(name, x, n)
    y = card(batch, **windows(name, n, x.shape, *[tuple(a) if isinstance(a, list) else a for a in arguments]))
    return y if x.ndim == n + 2 else reshape(y, y.shape[1:])


def _sliding(name, n, shape, kernel_size, stride, padding, dilation, ceil_mode):
    """For each spatial axis: its length, where the windows of a kernel begin, their span, padding and dilation."""
    kernel_size = per_axis(f"{name}: kernel_size", kernel_size, n, 1)
    stride = kernel_size if stride is None else per_axis(f"{name}: stride", stride, n, 1)
    padding = per_axis(f"{name}: padding", padding, n, 0)
    dilation = per_axis(f"{name}: dilation", dilation, n, 1)
    spans = tuple((k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True))
    if any(2 * p > span for p, span in zip(padding, spans, strict=True)):
        raise ValueError(f"{name}: padding={padding} is more than half of the {spans} that the kernel spans")
    for m, k, s, p, d in zip(shape[-n:], spans, stride, padding, dilation, strict=True):
        count = (m + 2 * p - k + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= m + p:
            count -= 1  # a window that would begin behind the image
        if count < 1 or m < 1:
            padded = tuple(m + 2 * p for m, p in zip(shape[-n:], padding, strict=True))
            raise ValueError(
                f"{name}: input {shape} has spatial lengths {padded} with its padding, and the kernel spans {spans}"
            )
        yield m, [i * s - p for i in range(count)], k, p, d


@functools.lru_cache(1024)
def _max_windows(*arguments):
    return {"windows": tuple(
        tuple(range(i if i >= 0 else i % d, min(i + span, m), d) for i in starts)
        for m, starts, span, _, d in _sliding(*arguments)
    )}  # fmt: skip


@functools.lru_cache(1024)
def _mean_windows(name, n, shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor):
    windows: list = []
    divisors: list = []
    for m, starts, span, p, _ in _sliding(name, n, shape, kernel_size, stride, padding, 1, ceil_mode):
        windows.append(tuple(range(max(i, 0), min(i + span, m)) for i in starts))
        counts = [min(i + span, m + p) - i for i in starts] if count_include_pad else map(len, windows[-1])
        divisors.append(tuple(counts))
    if divisor is not None:
        if not isinstance(divisor, int | np.integer) or divisor == 0:
            raise ValueError(f"{name}: divisor_override={divisor!r} must be an integer other than 0")
        divisors = [tuple((1 if i else divisor) for _ in axis) for i, axis in enumerate(windows)]
    return {"windows": tuple(windows), "divisors": tuple(divisors), "size": shape[-n:]}


@functools.lru_cache(1024)
def _adaptive_windows(name, n, shape, output_size):
    """Windows of nearly equal length that cover the image: from i m / k, rounded down, to (i + 1) m / k, rounded up."""
    sizes = output_size if isinstance(output_size, tuple) else (output_size,) * n
    if len(sizes) == n:
        sizes = tuple(m if k is None else k for m, k in zip(shape[-n:], sizes, strict=True))
    sizes = per_axis(f"{name}: output_size", sizes, n, 1)
    if 0 in shape[-n:]:
        raise ValueError(f"{name}: input {shape} has a spatial axis without elements")
    return {"windows": tuple(
        tuple(range(i * m // k, -(-(i + 1) * m // k)) for i in range(k)) for m, k in zip(shape[-n:], sizes, strict=True)
    )}  # fmt: skip


def _adaptive_means(name, n, shape, output_size):
    windows = _adaptive_windows(name, n, shape, output_size)["windows"]
    return {"windows": windows, "divisors": tuple(tuple(map(len, axis)) for axis in windows), "size": shape[-n:]}


def _without_indices(name, return_indices):
    if return_indices:
        raise ValueError(f"{name}: return_indices is not supported; the result has the largest elements alone")


@composite(cases=[([(2, 2, 5)], {"kernel_size": 2}), ([(2, 6)], {"kernel_size": 3, "stride": 1, "padding": 1})])
def max_pool1d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Tensor:  # fmt: skip
    """`max_pool2d` with one spatial axis.

    >>> import minigrad as mg
    >>> mg.max_pool1d([[1.0, 3.0, 2.0, 5.0]], 2)
    tensor([[3., 5.]])
    """
    _without_indices("max_pool1d", return_indices)
    return _pool(
        "max_pool1d", 1, input, window_max, _max_windows, kernel_size, stride, padding, dilation, ceil_mode
    )  # fmt: skip


@composite(cases=[([(1, 2, 4, 5)], {"kernel_size": 2}), ([(1, 5, 4)], {"kernel_size": (3, 2), "stride": 2, "padding": 1,
                                                                       "ceil_mode": True, "dilation": (1, 2)})])
def max_pool2d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Tensor:  # fmt: skip
    """The largest element of each window of the images, as torch.nn.functional.max_pool2d.

    input is (batch, channels, height, width), or without batch. The windows are `stride` apart (their own size, for
    None); what they have of the `padding` counts as -inf. With `ceil_mode` the last window may be cut off by the end of
    the image. Of equal maxima, the first one has the gradient. Raises ValueError where no window fits.

    >>> import minigrad as mg
    >>> mg.max_pool2d([[[1.0, 3.0, 2.0, 5.0], [0.0, 7.0, 4.0, 1.0]]], 2)
    tensor([[[7., 5.]]])
    """
    _without_indices("max_pool2d", return_indices)
    return _pool(
        "max_pool2d", 2, input, window_max, _max_windows, kernel_size, stride, padding, dilation, ceil_mode
    )  # fmt: skip


@composite(cases=[([(2, 2, 5)], {"kernel_size": 2}), ([(2, 6)], {"kernel_size": 3, "stride": 2, "padding": 1})])
def avg_pool1d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Tensor:  # fmt: skip
    """`avg_pool2d` with one spatial axis.

    >>> import minigrad as mg
    >>> mg.avg_pool1d([[1.0, 3.0, 2.0, 6.0]], 2)
    tensor([[2., 4.]])
    """
    return _pool(
        "avg_pool1d", 1, input, window_mean, _mean_windows, kernel_size, stride, padding, ceil_mode, count_include_pad,
        None,
    )  # fmt: skip


@composite(cases=[([(1, 2, 4, 5)], {"kernel_size": 2}), ([(1, 5, 4)], {"kernel_size": (3, 2), "stride": 2, "padding": 1,
                                                                       "ceil_mode": True, "count_include_pad": False})])
def avg_pool2d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Tensor:  # fmt: skip
    """The mean of each window of the images, as torch.nn.functional.avg_pool2d.

    Windows are as those of `max_pool2d`; what they have of the `padding` counts as 0, or with `count_include_pad` false
    not at all. `divisor_override` divides the sums in place of the number of elements.

    >>> import minigrad as mg
    >>> mg.avg_pool2d([[[1.0, 3.0, 2.0, 5.0], [0.0, 8.0, 4.0, 1.0]]], 2)
    tensor([[[3., 3.]]])
    """
    return _pool(
        "avg_pool2d", 2, input, window_mean, _mean_windows, kernel_size, stride, padding, ceil_mode, count_include_pad,
        divisor_override,
    )  # fmt: skip


@composite(cases=[([(1, 2, 5)], {"output_size": 2})])
def adaptive_avg_pool1d(input: Any, output_size: Any) -> Tensor:
    """`adaptive_avg_pool2d` with one spatial axis.

    >>> import minigrad as mg
    >>> mg.adaptive_avg_pool1d([[1.0, 3.0, 2.0, 6.0]], 1)
    tensor([[3.]])
    """
    return _pool("adaptive_avg_pool1d", 1, input, window_mean, _adaptive_means, output_size)


@composite(cases=[([(2, 2, 3, 5)], {"output_size": 2}), ([(1, 4, 3)], {"output_size": (None, 2)})])
def adaptive_avg_pool2d(input: Any, output_size: Any) -> Tensor:
    """The means of `output_size` windows (one number, or one for each axis) that together cover each image.

    Window i of k along an axis of m elements is from i m / k, rounded down, to (i + 1) m / k, rounded up. None for an
    axis keeps its length.

    >>> import minigrad as mg
    >>> mg.adaptive_avg_pool2d([[[1.0, 3.0, 2.0], [0.0, 8.0, 4.0]]], (1, 2))
    tensor([[[3.  , 4.25]]])
    """
    return _pool("adaptive_avg_pool2d", 2, input, window_mean, _adaptive_means, output_size)


@composite(cases=[([(1, 2, 5)], {"output_size": 2})])
def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Tensor:
    """The largest element of each window of `adaptive_avg_pool1d`.

    >>> import minigrad as mg
    >>> mg.adaptive_max_pool1d([[1.0, 3.0, 2.0, 6.0]], 2)
    tensor([[3., 6.]])
    """
    _without_indices("adaptive_max_pool1d", return_indices)
    return _pool("adaptive_max_pool1d", 1, input, window_max, _adaptive_windows, output_size)


@composite(cases=[([(1, 1, 3, 5)], {"output_size": (2, 3)})])
def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Tensor:
    """The largest element of each window of `adaptive_avg_pool2d`.

    >>> import minigrad as mg
    >>> mg.adaptive_max_pool2d([[[1.0, 3.0, 2.0], [0.0, 8.0, 4.0]]], (1, 2))
    tensor([[[8., 8.]]])
    """
    _without_indices("adaptive_max_pool2d", return_indices)
    return _pool("adaptive_max_pool2d", 2, input, window_max, _adaptive_windows, output_size)
