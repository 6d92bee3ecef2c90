"""Convolutions in one and two dimensions, with PyTorch's arguments, and their native loops.

With s the stride, p the padding and d the dilation, along each spatial axis

    y[n, o, i] = sum over c, k of x[n, c, i s + k d - p] w[o, c, k]

where elements of x outside of it are 0. This is linear in x and in w, and so are its gradients, which again are such
sums: over o and k by x, over n and i by w. So the three cards below are each other's rules, to every order.

The loops read a copy of one image, padded and, for a stride above 1, split into images of every s-th element, each laid
out as one long row. There the elements that one k of the kernel meets, for all i at once, lie side by side: the sum is
one of shifted rows, which processors are best at. At the end of each line, the row has some elements that belong to no
output; they are computed with the others and left out. The gradient by x is a sum of shifted rows of g, with the
kernel turned round, so the same loop computes it.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from .. import parallel
from ..kernels import in_any_order, index, kernel, real
from ..tensor import Tensor, as_tensor
from .card import composite, op
from .shape import reshape

__all__ = ["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"]

TILE = 1024  # elements of a row that are summed up at a time, near enough to stay there
WIDE = 512  # elements: shorter rows are filled up by several images, one beside the other
SLACK = 32  # elements: rows are summed up in steps of these, so that no elements are left over for slower code
GRAIN = 1 << 17  # products: fewer than these are not worth a second thread
PARTS = 4  # sums over the images of a batch are taken in so many parts, on any number of processors

# ---- native loops ---------------------------------------------------------------------------------------------------


def lay_out(row, x, n, images, c, channels, height, width, sh, sw, ph, pw):
    """Copy images into one row: for each channel and each offset of the stride, `height` lines of `width` places.

    Place (a, b) of offset (i, j) is element (a sh + i - ph, b sw + j - pw), or 0 where there is none. The images lie
    side by side in each place.
    """
    at = index(0)
    for channel in range(c, c + channels):
        for i in range(sh):
            for j in range(sw):
                low = min(width, max(0, (pw - j + sw - 1) // sw))
                high = min(width, max(low, (x.shape[3] + pw - j + sw - 1) // sw))
                for a in range(height):
                    line = a * sh + i - ph
                    if line < 0 or line >= x.shape[2]:
                        for b in range(index(width * images)):
                            row[at + b] = real(0)
                    elif images == 1 and sw == 1:
                        for b in range(index(low)):
                            row[at + b] = real(0)
                        for b in range(high - low):
                            row[at + index(low + b)] = x[n, channel, line, index(low - pw) + index(b)]
                        for b in range(index(high), index(width)):
                            row[at + b] = real(0)
                    else:
                        for b in range(width):
                            for k in range(images):
                                inside = low <= b < high
                                value = x[n + k, channel, line, b * sw + j - pw] if inside else real(0)
                                row[at + index(b * images + k)] = value
                    at += index(width * images)
    for b in range(index(SLACK)):
        row[at + b] = real(0)


def put_back(y, row, start, length, n, images, m, width, i, j, sh, sw, ph, pw):
    """The reverse for one channel and offset, from `length` places of the row that begin with place `start`."""
    done = 0
    while done < length:
        a, b = (start + done) // width, (start + done) % width
        count = min(width - b, length - done)
        line = a * sh + i - ph
        if 0 <= line < y.shape[2]:
            column = b * sw + j - pw
            first = min(count, max(0, (-column + sw - 1) // sw))
            last = min(count, max(first, (y.shape[3] - column + sw - 1) // sw))
            if images == 1 and sw == 1:
                for k in range(last - first):
                    y[n, m, line, index(column + first) + index(k)] = row[index(done + first) + index(k)]
            else:
                for k in range(first, last):
                    for image in range(images):
                        y[n + image, m, line, column + k * sw] = row[index((done + k) * images + image)]
        done += count


def add_three(sums, size, n, x, p, q, r, a0, a1, a2, b0, b1, b2):
    """Add three rows of x, each times a factor, to the first row of sums, and times another to the second."""
    for i in range(n):
        u, v, w = x[p + i], x[q + i], x[r + i]
        sums[i] = sums[i] + a0 * u + a1 * v + a2 * w
        sums[size + i] = sums[size + i] + b0 * u + b1 * v + b2 * w


def add_one(sums, size, n, x, p, a, b):
    for i in range(n):
        sums[i] += a * x[p + i]
        sums[size + i] += b * x[p + i]


@kernel
def sum_of_shifted_rows(
    start, stop, room, x, w, taps, firsts, bias, y, images, channels, outputs,
    height, width, length, sh, sw, ph, pw, ysh, ysw, yph, ypw, tile,
):  # fmt: skip
    """y[n, m] = bias[m] + the sum over t of w[m, t] times the row of x[n], moved on by taps[t].

    `start` to `stop` count the channels of y, block of images by block. Of x and y, `channels` and `outputs` make a
    group. The places of y have offsets of a stride, too; that with number f sums over firsts[f] <= t < firsts[f + 1].
    """
    size = index(tile * images)  # `room` holds two rows of sums, and behind them the row of x
    now = start
    while now < stop:
        n, m0 = now // y.shape[1] * images, now % y.shape[1]
        block = min(images, x.shape[0] - n)
        group = m0 // outputs
        m1 = min((group + 1) * outputs, m0 + stop - now)
        row = room[2 * tile * images :]
        lay_out(row, x, n, block, group * channels, channels, height, width, sh, sw, ph, pw)
        for f in range(ysh * ysw):
            if firsts[f] == firsts[f + 1]:
                continue
            for part in range((length + tile - 1) // tile):
                at = part * tile
                places = min(tile, length - at)
                count, shift = index((places * block + SLACK - 1) // SLACK * SLACK), index(at * block)
                for m in range(m0, m1, 2):  # in pairs, the last one perhaps with itself
                    other = min(m + 1, m1 - 1)
                    for i in range(count):
                        room[i] = bias[m]
                        room[size + i] = bias[other]
                    t, end = firsts[f], firsts[f + 1]
                    while t + 3 <= end:
                        p, q, r = index(taps[t] * block), index(taps[t + 1] * block), index(taps[t + 2] * block)
                        add_three(
                            room, size, count, row, p + shift, q + shift, r + shift, w[m, t], w[m, t + 1], w[m, t + 2],
                            w[other, t], w[other, t + 1], w[other, t + 2],
                        )  # fmt: skip
                        t += 3
                    while t < end:
                        add_one(room, size, count, row, index(taps[t] * block) + shift, w[m, t], w[other, t])
                        t += 1
                    for k in range(other - m + 1):
                        sums = room[k * tile * images :]
                        put_back(y, sums, at, places, n, block, m + k, width, f // ysw, f % ysw, ysh, ysw, yph, ypw)
        now += m1 - m0


@in_any_order
def dot_three(sums, o, other, t, g, h, at, n, x, p, q, r):
    """Add to sums[o] and sums[other] the products of the rows g and h with three rows of x."""
    a0 = a1 = a2 = b0 = b1 = b2 = real(0)
    for i in range(n):
        u, v = g[at + i], h[at + i]
        a0 += u * x[p + i]
        b0 += v * x[p + i]
        a1 += u * x[q + i]
        b1 += v * x[q + i]
        a2 += u * x[r + i]
        b2 += v * x[r + i]
    a0, a1, a2 = sums[o, t] + a0, sums[o, t + 1] + a1, sums[o, t + 2] + a2
    sums[other, t] += b0
    sums[other, t + 1] += b1
    sums[other, t + 2] += b2
    sums[o, t], sums[o, t + 1], sums[o, t + 2] = a0, a1, a2  # last, since `other` may be o itself


@kernel
def products_of_shifted_rows(
    start, stop, room, x, g, taps, w, images, channels, outputs, height, width, length, sh, sw, ph, pw, tile
):
    """w[part, m] += the sum over n of the product of the row of g[n, m] with the row of x[n], moved on by taps[t].

    `start` to `stop` count the channels of g, part of the images by part. The taps are a multiple of three.
    """
    size = g.shape[2] * width * images + 2 * SLACK  # `room` holds two rows of g, and behind them the row of x
    row = room[2 * size :]
    now = start
    while now < stop:
        part, m0 = now // g.shape[1], now % g.shape[1]
        group = m0 // outputs
        m1 = min((group + 1) * outputs, m0 + stop - now)
        n, last = x.shape[0] * part // w.shape[0], x.shape[0] * (part + 1) // w.shape[0]
        while n < last:
            block = min(images, last - n)
            lay_out(row, x, n, block, group * channels, channels, height, width, sh, sw, ph, pw)
            for m in range(m0, m1, 2):
                other = min(m + 1, m1 - 1)
                for k in range(other - m + 1):
                    lay_out(room[k * size :], g, n, block, m + k, 1, g.shape[2], width, 1, 1, 0, 0)
                second = room[(other - m) * size :]
                for piece in range((length + tile - 1) // tile):
                    at = piece * tile
                    count = index((min(tile, length - at) * block + SLACK - 1) // SLACK * SLACK)
                    shift = index(at * block)
                    for t in range(0, len(taps), 3):
                        p, q, r = index(taps[t] * block), index(taps[t + 1] * block), index(taps[t + 2] * block)
                        dot_three(
                            w[part], m, other, t, room, second, shift, count, row, p + shift, q + shift, r + shift
                        )
            n += block
        now += m1 - m0


# ---- where everything lies ------------------------------------------------------------------------------------------


class Rows(NamedTuple):
    """How the loops lay out their input, and which rows they sum up."""

    height: int  # lines and places in a line of one laid out image
    width: int
    length: int  # places that are computed
    taps: np.ndarray  # how far each row is moved on
    order: np.ndarray | None  # which weight goes with each tap, where that is not the next one
    firsts: np.ndarray  # the first tap of each offset of the stride, and the end


@functools.lru_cache(1024)
def rows_of_input(channels: int, kernel: tuple, stride: tuple, dilation: tuple, size: tuple) -> Rows:
    """To compute `size` outputs: the rows are those of the input, one for each channel and offset of the stride."""
    moves = [divmod(np.arange(k) * d, s) for k, d, s in zip(kernel, dilation, stride, strict=True)]
    height, width = (n + int(move[-1]) for n, (move, _) in zip(size, moves, strict=True))
    (a, i), (b, j) = moves
    offset = (np.arange(channels)[:, None, None] * stride[0] + i[:, None]) * stride[1] + j
    taps = offset * height * width + a[:, None] * width + b
    length = (size[0] - 1) * width + size[1] if min(size) > 0 else 0
    return Rows(height, width, length, taps.ravel(), None, np.array([0, taps.size]))


@functools.lru_cache(1024)
def rows_of_gradient(channels: int, kernel: tuple, stride: tuple, dilation: tuple, size: tuple) -> Rows:
    """To compute the input's gradient: the rows are those of the output's, `size`, with zeros all around."""
    moves = [divmod(np.arange(k) * d, s) for k, d, s in zip(kernel, dilation, stride, strict=True)]
    (a, i), (b, j) = moves
    height, width = size[0] + int(a[-1]), size[1] + int(b[-1])
    lines = height + int(a[-1]) + 1  # the last one for the end of the row moved on furthest
    moved = (a[-1] - a)[:, None] * width + (b[-1] - b)
    taps = np.arange(channels)[:, None] * (lines * width) + moved.ravel()
    offset = np.broadcast_to((i[:, None] * stride[1] + j).ravel(), taps.shape).ravel()
    order = np.argsort(offset, kind="stable")
    firsts = np.searchsorted(offset[order], np.arange(math.prod(stride) + 1))
    taps = np.ascontiguousarray(taps.ravel()[order])
    return Rows(lines, width, height * width, taps, None if math.prod(stride) == 1 else order, firsts)


def blocks(rows: Rows, x: np.ndarray) -> tuple[int, int]:
    """How many images are laid out together, and how many places are summed up at a time."""
    images = max(1, min(len(x), -(-WIDE // max(rows.length, 1))))
    return images, max(SLACK, TILE // images // SLACK * SLACK)


def rooms(size: int, *arrays: np.ndarray) -> list[np.ndarray]:
    """Working space for each thread, but altogether no more than the arrays have."""
    most = sum(x.size for x in arrays) // size
    return [np.empty(size, arrays[0].dtype) for _ in range(max(1, min(parallel.threads(), most)))]


def sum_rows(x, w, bias, y, rows, groups, stride, padding, ystride, ypadding):
    """Run `sum_of_shifted_rows`: x and y have four axes, w one row of weights for each channel of y."""
    if not (y.size and x.size):
        return
    images, tile = blocks(rows, x)
    channels, outputs = x.shape[1] // groups, y.shape[1] // groups
    row = channels * math.prod(stride) * rows.height * rows.width * images
    own = rooms(2 * tile * images + row + SLACK, x, y)
    grain = GRAIN // (w.shape[1] * rows.length * images) + 1
    sum_of_shifted_rows.over(
        -(-len(x) // images) * y.shape[1], grain, x, w, rows.taps, rows.firsts, bias, y, images, channels, outputs,
        rows.height, rows.width, rows.length, *stride, *padding, *ystride, *ypadding, tile, own=own,
    )  # fmt: skip


def for_loops(*xs):
    """The arrays as loops take them: of one dtype, in order, with two spatial axes (where there are any)."""
    dtype = np.result_type(*xs)
    return [np.ascontiguousarray(x[:, :, None] if x.ndim == 3 else x, dtype) for x in xs]


def have_loops(*xs):
    return np.result_type(*xs) in (np.float32, np.float64)


def in_two(stride, padding, dilation, size):
    """Parameters for two spatial axes, the first one of length 1 where there is one only."""
    if len(stride) == 2:
        return stride, padding, dilation, size
    return (1, *stride), (0, *padding), (1, *dilation), (1, *size)


# ---- the same in NumPy's words: for symbols, and for dtypes that have no loops --------------------------------------


def places(lengths, kernel, stride, padding, dilation, size):
    """For each output and element of the kernel, where the element of x is, x's axes joined; at the end if nowhere."""
    found: Any = np.zeros((1, 1), int)
    outside: Any = np.zeros((1, 1), bool)
    for n, k, s, p, d, m in zip(lengths, kernel, stride, padding, dilation, size, strict=True):
        at = np.arange(m)[:, None] * s + np.arange(k) * d - p
        found = (found[:, None, :, None] * n + at[:, None]).reshape(len(found) * m, -1)
        outside = (outside[:, None, :, None] | ((at < 0) | (at >= n))[:, None]).reshape(found.shape)
    return np.where(outside, math.prod(lengths), found)


def windows(x, groups, kernel, **where):
    """What each output sees of x: axes image, group, channel, output, element of the kernel."""
    n, channels, *lengths = x.shape
    x = x.reshape(n, groups, channels // groups, math.prod(lengths))
    padded = np.concatenate([x, np.zeros_like(x, shape=(*x.shape[:3], 1))], -1)
    return padded[..., places(lengths, kernel, **where)]


def grouped(w, groups):
    """Weights with axes group, output, channel, element of the kernel."""
    return w.reshape(groups, len(w) // groups, w.shape[1], math.prod(w.shape[2:]))


def read_convolution(x, w, *bias, groups, **where):
    y = np.einsum("ngcpk,gock->ngop", windows(x, groups, w.shape[2:], **where), grouped(w, groups))
    y = y.reshape(len(x), len(w), *where["size"])
    return y + bias[0].reshape(-1, *[1] * len(where["size"])) if bias else y


def read_by_input(g, w, *, groups, size, **where):
    gs = g.reshape(len(g), groups, len(w) // groups, math.prod(g.shape[2:]))
    parts = np.einsum("ngop,gock->ngcpk", gs, grouped(w, groups))
    x = np.zeros_like(parts, shape=(*parts.shape[:3], math.prod(size) + 1))
    key: Any = (..., places(size, w.shape[2:], size=g.shape[2:], **where))
    np.add.at(x, key, parts)
    return x[..., :-1].reshape(len(g), w.shape[1] * groups, *size)


def read_by_weight(x, g, *, groups, size, **where):
    gs = g.reshape(len(g), groups, g.shape[1] // groups, math.prod(g.shape[2:]))
    seen = windows(x, groups, size, size=g.shape[2:], **where)
    return np.einsum("ngcpk,ngop->gock", seen, gs).reshape(g.shape[1], x.shape[1] // groups, *size)


# ---- the cards ------------------------------------------------------------------------------------------------------
# In all three, x is (image, channel, ...), w (output, channel of the group, ...) and the output (image, output, ...).
# `padding` says how many zeros come before x, `size` the spatial lengths of the result, from which the rest follows.

WHERE = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
STRIDED = {"stride": (2,), "padding": (1,), "dilation": (2,), "groups": 2}


def _by_input(g, y, x, w, *bias, size, **where):
    return convolution_by_input(g, w, size=x.shape[2:], **where)


def _by_weight(g, y, x, w, *bias, size, **where):
    return convolution_by_weight(x, g, size=w.shape[2:], **where)


def _by_bias(g, y, x, w, b, **where):
    return np.add.reduce(g, axis=(0, *range(2, g.ndim)))


@op(arity=None, sympy=read_convolution, vjp=(_by_input, _by_weight, _by_bias),
    cases=[([(1, 1, 3, 2), (2, 1, 2, 2), (2,)], {**WHERE, "size": (2, 1)}),
           ([(1, 2, 3), (2, 1, 2)], {**STRIDED, "size": (2,)})])
def convolution(x, w, *bias, stride=(), padding=(), dilation=(), groups=1, size=()):
    """The sum over c, k of x[n, c, i s + k d - p] w[o, c, k], plus bias[o] if there is one."""
    if not have_loops(x, w, *bias):
        return read_convolution(
            x, w, *bias, stride=stride, padding=padding, dilation=dilation, groups=groups, size=size
        )  # fmt: skip
    x, w, *bias = for_loops(x, w, *bias)
    stride, padding, dilation, lengths = in_two(stride, padding, dilation, size)
    rows = rows_of_input(w.shape[1], w.shape[2:], stride, dilation, lengths)
    y = np.empty((len(x), len(w), *lengths), x.dtype)
    start = bias[0] if bias else np.zeros(len(w), x.dtype)
    sum_rows(x, w.reshape(len(w), -1), start, y, rows, groups, stride, padding, (1, 1), (0, 0))
    return y.reshape(len(x), len(w), *size)


@op(arity=2, sympy=read_by_input,
    vjp=(lambda g, y, z, w, size, **where: convolution(g, w, size=z.shape[2:], **where),
         lambda g, y, z, w, size, **where: convolution_by_weight(g, z, size=w.shape[2:], **where)),
    cases=[([(1, 2, 2, 1), (2, 1, 2, 2)], {**WHERE, "size": (3, 2)}),
           ([(1, 2, 2), (2, 1, 2)], {**STRIDED, "size": (4,)})])
def convolution_by_input(g, w, stride=(), padding=(), dilation=(), groups=1, size=()):
    """The gradient of a convolution by its input, of the spatial lengths `size`: a transposed convolution."""
    if not have_loops(g, w):
        return read_by_input(g, w, stride=stride, padding=padding, dilation=dilation, groups=groups, size=size)
    g, w = for_loops(g, w)
    stride, padding, dilation, lengths = in_two(stride, padding, dilation, size)
    rows = rows_of_gradient(len(w) // groups, w.shape[2:], stride, dilation, g.shape[2:])
    turned = grouped(w, groups).swapaxes(1, 2).reshape(w.shape[1] * groups, -1)
    turned = turned if rows.order is None else turned[:, rows.order]
    x = np.zeros((len(g), len(turned), *lengths), g.dtype)
    reach = tuple((k - 1) * d // s for k, d, s in zip(w.shape[2:], dilation, stride, strict=True))
    start = np.zeros(len(turned), g.dtype)
    sum_rows(g, np.ascontiguousarray(turned), start, x, rows, groups, (1, 1), reach, stride, padding)
    return x.reshape(len(g), len(turned), *size)


@op(arity=2, sympy=read_by_weight,
    vjp=(lambda g, y, x, z, size, **where: convolution_by_input(z, g, size=x.shape[2:], **where),
         lambda g, y, x, z, size, **where: convolution(x, g, size=z.shape[2:], **where)),
    cases=[([(2, 1, 3, 2), (2, 1, 2, 1)], {**WHERE, "size": (2, 2)}),
           ([(1, 2, 4), (1, 2, 2)], {**STRIDED, "size": (2,)})])
def convolution_by_weight(x, g, stride=(), padding=(), dilation=(), groups=1, size=()):
    """The gradient of a convolution by its weight, of the spatial lengths `size`."""
    if not have_loops(x, g):
        return read_by_weight(x, g, stride=stride, padding=padding, dilation=dilation, groups=groups, size=size)
    x, g = for_loops(x, g)
    stride, padding, dilation, kernel = in_two(stride, padding, dilation, size)
    channels, outputs = x.shape[1] // groups, g.shape[1] // groups
    rows = rows_of_input(channels, kernel, stride, dilation, g.shape[2:])
    taps = np.pad(rows.taps, (0, -len(rows.taps) % 3))  # what they are filled up with gives sums that are left out
    shape = (g.shape[1], len(taps))
    parts = PARTS if len(x) >= PARTS and PARTS * math.prod(shape) <= x.size + g.size else 1
    w = np.zeros((parts, *shape), x.dtype)
    if x.size and g.size:
        images, tile = blocks(rows, x)
        line = g.shape[2] * rows.width * images
        size_of_row = channels * math.prod(stride) * rows.height * rows.width * images
        own = rooms(2 * (line + 2 * SLACK) + size_of_row + SLACK, x, g)
        grain = GRAIN * parts // (len(rows.taps) * rows.length * len(x)) + 1
        products_of_shifted_rows.over(
            parts * g.shape[1], grain, x, g, taps, w, images, channels, outputs, rows.height, rows.width,
            rows.length, *stride, *padding, tile, own=own,
        )  # fmt: skip
    total = w[0] if parts == 1 else np.add.reduce(w, axis=0)
    return np.ascontiguousarray(total[:, : len(rows.taps)]).reshape(g.shape[1], channels, *size)


# ---- PyTorch's functions --------------------------------------------------------------------------------------------


def per_axis(what: str, value: Any, n: int, least: int) -> tuple[int, ...]:
    """An argument that is one integer for all spatial axes, or one for each, as a tuple."""
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    values = values * n if len(values) == 1 else values
    if len(values) != n or not all(isinstance(v, int | np.integer) and v >= least for v in values):
        each = f"an integer from {least} on" + (f", or {n} of them" if n > 1 else "")
        raise ValueError(f"{what} must be {each}, not {value!r}")
    return tuple(map(int, values))


def counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def batched(name: str, x: Tensor, n: int) -> Tensor:
    """The input with an axis for the batch, which PyTorch lets one leave out."""
    if x.ndim not in (n + 1, n + 2):
        axes = ", ".join(("length",) if n == 1 else ("height", "width"))
        raise ValueError(
            f"{name}: input {x.shape} has {x.ndim} axes, where (batch, channels, {axes}) or (channels, {axes}) is "
            "expected"
        )
    return x if x.ndim == n + 2 else reshape(x, (1, *x.shape))


def _prepared(name, n, input, weight, bias, channels, outputs, groups):
    """Input, weight and bias as tensors whose shapes fit. `channels` and `outputs` give those of the layer."""
    x, w = as_tensor(input), as_tensor(weight)
    x = batched(name, x, n)
    if w.ndim != n + 2:
        raise ValueError(f"{name}: weight {w.shape} has {w.ndim} axes, and {n + 2} are expected")
    (groups,) = per_axis(f"{name}: groups", groups, 1, 1)
    if x.shape[1] != channels(w.shape, groups):
        raise ValueError(
            f"{name}: input {np.shape(input)} has {counted(x.shape[1], 'channel')} in axis {np.ndim(input) - n - 1}, "
            f"weight {w.shape} with groups={groups} expects {channels(w.shape, groups)}"
        )
    if w.shape[0] % groups:
        raise ValueError(f"{name}: axis 0 of weight {w.shape} cannot be cut into {groups} groups")
    if bias is not None and (bias := as_tensor(bias)).shape != (outputs(w.shape, groups),):
        raise ValueError(f"{name}: bias {bias.shape} is to have shape ({outputs(w.shape, groups)},)")
    return x, w, bias


def _conv(name, n, input, weight, bias, stride, padding, dilation, groups):
    x, w, bias = _prepared(name, n, input, weight, bias, lambda w, g: w[1] * g, lambda w, g: w[0], groups)
    stride = per_axis(f"{name}: stride", stride, n, 1)
    dilation = per_axis(f"{name}: dilation", dilation, n, 1)
    spans = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    if padding == "same":
        if set(stride) != {1}:
            raise ValueError(f'{name}: padding="same" keeps the lengths of the input, and stride={stride} does not')
        padding, size = tuple((m - 1) // 2 for m in spans), x.shape[2:]
    else:
        if isinstance(padding, str) and padding != "valid":
            raise ValueError(f'{name}: padding={padding!r} is neither "same", "valid" nor a number')
        padding = per_axis(f"{name}: padding", 0 if padding == "valid" else padding, n, 0)
        padded = [m + 2 * p for m, p in zip(x.shape[2:], padding, strict=True)]
        if any(a < b for a, b in zip(padded, spans, strict=True)) or 0 in w.shape[2:]:
            raise ValueError(
                f"{name}: input {np.shape(input)} has spatial lengths {tuple(padded)} with its padding, and the kernel "
                f"{tuple(w.shape[2:])} spans {tuple(spans)}"
            )
        size = tuple((a - b) // s + 1 for a, b, s in zip(padded, spans, stride, strict=True))
    given = () if bias is None else (bias,)
    y = convolution(x, w, *given, stride=stride, padding=padding, dilation=dilation, groups=int(groups), size=size)
    return y if np.ndim(input) == n + 2 else reshape(y, y.shape[1:])


def _conv_transpose(name, n, input, weight, bias, stride, padding, output_padding, groups, dilation):
    x, w, bias = _prepared(name, n, input, weight, bias, lambda w, g: w[0], lambda w, g: w[1] * g, groups)
    stride = per_axis(f"{name}: stride", stride, n, 1)
    dilation = per_axis(f"{name}: dilation", dilation, n, 1)
    padding = per_axis(f"{name}: padding", padding, n, 0)
    more = per_axis(f"{name}: output_padding", output_padding, n, 0)
    if any(m >= max(s, d) for m, s, d in zip(more, stride, dilation, strict=True)):
        raise ValueError(f"{name}: output_padding={output_padding!r} must be less than stride or dilation")
    each = zip(x.shape[2:], w.shape[2:], stride, padding, dilation, more, strict=True)
    size = tuple((m - 1) * s - 2 * p + d * (k - 1) + a + 1 for m, k, s, p, d, a in each)
    if min(size) < 1 or 0 in x.shape[2:]:
        raise ValueError(f"{name}: input {np.shape(input)} would have an output of spatial lengths {size}")
    y = convolution_by_input(x, w, stride=stride, padding=padding, dilation=dilation, groups=int(groups), size=size)
    if bias is not None:
        y = y + reshape(bias, (-1, *[1] * n))
    return y if np.ndim(input) == n + 2 else reshape(y, y.shape[1:])


@composite(cases=[([(2, 2, 5), (3, 2, 3), (3,)], {"stride": 2, "padding": 1}),
                  ([(2, 4), (2, 1, 2)], {"groups": 2, "padding": "same"})])
def conv1d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1) -> Tensor:  # fmt: skip
    """`conv2d` with one spatial axis: input (batch, channels, length), weight (out, channels / groups, k).

    >>> import minigrad as mg
    >>> mg.conv1d([[[1.0, 2.0, 4.0]]], [[[-1.0, 1.0]]])
    tensor([[[1., 2.]]])
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@composite(cases=[([(2, 1, 3, 4), (2, 1, 2, 2), (2,)], {"padding": (1, 0)}),
                  ([(1, 2, 4, 4), (2, 2, 2, 2)], {"stride": (1, 2), "dilation": 2})])
def conv2d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1) -> Tensor:  # fmt: skip
    """The cross-correlation of images with kernels, as torch.nn.functional.conv2d.

    input is (batch, channels, height, width), or without batch; weight (out, channels / groups, kh, kw), bias (out,).
    y[n, o, i, j] = bias[o] + sum over c, k, l of x[n, c, i s + k d - p, j s + l d - p] w[o, c, k, l] (Dumoulin and
    Visin 2016, arXiv:1603.07285). `padding` is a number, "valid" (none) or "same" (the input's lengths; where the
    zeros are odd in number, the odd one is behind). `stride`, `padding` and `dilation` are for both axes, or one each.
    Works in a copy of one padded image at a time (several small ones). Raises ValueError where shapes do not fit.

    >>> import minigrad as mg
    >>> mg.conv2d(mg.ones((1, 1, 3, 3)), mg.ones((1, 1, 2, 2)), padding="same")
    tensor([[[[4., 4., 2.],
              [4., 4., 2.],
              [2., 2., 1.]]]])
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@composite(cases=[([(1, 2, 2), (2, 2, 3), (2,)], {"stride": 2, "output_padding": 1})])
def conv_transpose1d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                     output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Tensor:  # fmt: skip
    """`conv_transpose2d` with one spatial axis: weight (channels, out / groups, k).

    >>> import minigrad as mg
    >>> mg.conv_transpose1d([[[1.0, 2.0]]], [[[1.0, 10.0]]], stride=2)
    tensor([[[ 1., 10.,  2., 20.]]])
    """
    return _conv_transpose(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )  # fmt: skip


@composite(cases=[([(1, 1, 2, 2), (1, 2, 2, 2), (2,)], {"stride": 2, "padding": 1}),
                  ([(2, 2, 2), (2, 1, 1, 2)], {"groups": 2, "dilation": 2})])
def conv_transpose2d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                     output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Tensor:  # fmt: skip
    """The gradient of `conv2d` by its input, as a layer: images become larger (Zeiler et al. 2010).

    input is (batch, channels, height, width), or without batch; weight (channels, out / groups, kh, kw), bias (out,).
    The output's lengths are (n - 1) s - 2 p + d (k - 1) + output_padding + 1. Raises ValueError where shapes do not
    fit.

    >>> import minigrad as mg
    >>> mg.conv_transpose2d(mg.ones((1, 1, 1, 2)), mg.ones((1, 1, 1, 2)))
    tensor([[[[1., 2., 1.]]]])
    """
    return _conv_transpose(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )  # fmt: skip
