"""Recurrent layers: one op runs a layer over a whole sequence.

Each op takes what the inputs give to every step, computed before by one product for all steps: `gx` of shape (time,
batch, gates * width). Its result holds the states from the start on, (time + 1, batch, width). So a sequence adds one
node to the graph, however long it is.

On plain arrays, a step is a product by BLAS and a kernel for all that is elementwise, forward and backward. Each rule
is also written in operators and NumPy's functions, as a `loop`. That is what runs on tensors (so that gradients have
gradients), on symbols, and in functions that are compiled, and what the kernels are tested against.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from ..approximations import fast_sigmoid, fast_tanh
from ..batching import BatchedArray
from ..kernels import kernel, real
from ..tensor import FREE, Tensor, mode
from .card import op, together
from .elementwise import sigmoid
from .loops import of_one_kind
from .products import rows
from .steps import loop

__all__: list[str] = []  # the layers in nn/recurrent.py are the public face


class Beside:
    """Arrays that are kept beside another one, for as long as that lives."""

    def __init__(self) -> None:
        self.entries: dict[int, tuple] = {}

    def put(self, array: Any, *what: Any) -> None:
        key = id(array)
        self.entries[key] = (weakref.ref(array, lambda _: self.entries.pop(key, None)), what)

    def of(self, array: Any) -> tuple:
        """What was put beside this very array; nothing for any other."""
        reference, what = self.entries.get(id(array), (lambda: None, ()))
        return what if reference() is array else ()


GATES = Beside()  # beside states: what else the kernels computed, in one array
PARTS = Beside()  # beside states: what else a loop computed, gate by gate


def keep(store: Beside, y: Any, *gates: Any) -> None:
    """Keep the gates of all steps for the rule, unless none will follow. (A batched array can't be referred to.)"""
    if mode.now is not FREE and type(y) is not BatchedArray:
        store.put(y, *gates)


def compact(*arrays: Any) -> list[Any]:
    """The arrays as kernels take them."""
    return [np.ascontiguousarray(x) for x in arrays]


def split(z: Any, parts: int) -> list[Any]:
    """z cut into equal parts along its last axis, a part for each gate."""
    n = z.shape[-1] // parts
    return [z[..., i * n : (i + 1) * n] for i in range(parts)]


# ---- the plain recurrent layer (Elman, Cognitive Science 14, 1990) ---------------------------------------------------


def _rnn(gx, start, w, nonlinearity="tanh"):
    def body(carry, x):
        a = x[0] + np.matmul(carry[0], w.T)
        h = np.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0)
        return [h], [h]

    return from_start([start], loop(body, [start], [gx])[1])[0]


def from_start(start, states):
    """The states of all steps behind those that they start from."""
    return [np.concatenate([first[None], later]) for first, later in zip(start, states, strict=True)]


@kernel
def tanh_step(gx, y, t):
    for n in range(gx.shape[1]):
        for j in range(gx.shape[2]):
            y[t + 1, n, j] = fast_tanh(gx[t, n, j] + y[t + 1, n, j])


@kernel
def relu_step(gx, y, t):
    for n in range(gx.shape[1]):
        for j in range(gx.shape[2]):
            a = gx[t, n, j] + y[t + 1, n, j]
            y[t + 1, n, j] = real(0) if a < real(0) else a  # nan stays


@kernel
def tanh_step_back(g, y, dh, dz, t):
    for n in range(dz.shape[1]):
        for j in range(dz.shape[2]):
            h = y[t + 1, n, j]
            dz[t, n, j] = (g[t + 1, n, j] + dh[n, j]) * (real(1) - h * h)


@kernel
def relu_step_back(g, y, dh, dz, t):
    for n in range(dz.shape[1]):
        for j in range(dz.shape[2]):
            d = g[t + 1, n, j] + dh[n, j]
            dz[t, n, j] = d if y[t + 1, n, j] > real(0) else real(0)


def _rnn_back(g, y, gx, start, w, nonlinearity):
    """The gradients of every step's sum before the nonlinearity, and of the start."""
    if of_one_kind(y, gx, start, w):
        g, y, w = compact(g.astype(y.dtype, copy=False), y, w)
        dz, dh = np.empty_like(gx, order="C"), np.zeros_like(start, order="C")
        step = (tanh_step_back if nonlinearity == "tanh" else relu_step_back).repeated(g, y, dh, dz)
        for t in reversed(range(len(dz))):
            step(t)
            np.dot(dz[t], w, dh)
        return dz, dh + g[0]

    def body(carry, x):
        (d,), (g, h) = carry, x
        dz = d * (1 - h * h) if nonlinearity == "tanh" else np.where(h > 0, d, 0)
        return [g + np.matmul(dz, w)], [dz]

    (d,), (dz,) = loop(body, [g[-1]], [g[:-1], y[1:]], reverse=True)
    return dz, d


def _rnn_rule(g, y, gx, start, w, nonlinearity):
    dz, by_start = _rnn_back(g, y, gx, start, w, nonlinearity)
    return dz, by_start, _by_recurrent_weight(dz, y[:-1])


@op(arity=3, sympy=_rnn,
    cases=[([(2, 1, 2), (1, 2), (2, 2)], {}), ([(1, 2, 1), (2, 1), (1, 1)], {"nonlinearity": "relu"})],
    vjp=together(_rnn_rule))
def rnn(gx, start, w, nonlinearity="tanh"):
    """h_t = tanh(gx_t + h_{t-1} w^T), or relu of it: all h from the start on.

    gx is (time, batch, width), start (batch, width), w (width, width); the result (time + 1, batch, width).
    """
    if not of_one_kind(gx, start, w):
        return _rnn(gx, start, w, nonlinearity)
    gx, w = compact(gx, w.T)
    y = np.empty((len(gx) + 1, *gx.shape[1:]), gx.dtype)
    y[0] = start
    step = (tanh_step if nonlinearity == "tanh" else relu_step).repeated(gx, y)
    for t in range(len(gx)):
        np.dot(y[t], w, y[t + 1])
        step(t)
    return y


def _by_recurrent_weight(dz, h):
    """The gradient of the weight in h @ w.T, summed over all steps."""
    return np.dot(rows(dz).T, rows(h))


# ---- long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000) --------------


def _lstm(gx, start, w):
    def body(carry, x):
        h, c = carry
        gates = i, f, n, o = _lstm_gates(x[0] + np.matmul(h, w.T))
        c = f * c + i * n
        bounded = np.tanh(c)
        h = o * bounded
        return [h, c], [h, c, *gates, bounded]

    _, (h, c, *gates) = loop(body, [start[0], start[1]], [gx])
    y = np.stack(from_start(start, [h, c]))
    keep(PARTS, y, *gates)
    return y


def _lstm_gates(z):
    i, f, n, o = split(z, 4)
    return _logistic(i), _logistic(f), np.tanh(n), _logistic(o)


def _logistic(x):
    return sigmoid(x) if isinstance(x, Tensor) else sigmoid.forward(x)


@kernel
def lstm_step(gx, gates, y, t):
    """Of `gates` what the product gave becomes what the gates let through. (Short loops are what LLVM vectorises.)"""
    width = y.shape[3]
    for n in range(gx.shape[1]):
        for j in range(2 * width):
            gates[t, n, j] = fast_sigmoid(gx[t, n, j] + gates[t, n, j])
        for j in range(width):
            gates[t, n, 2 * width + j] = fast_tanh(gx[t, n, 2 * width + j] + gates[t, n, 2 * width + j])
        for j in range(width):
            gates[t, n, 3 * width + j] = fast_sigmoid(gx[t, n, 3 * width + j] + gates[t, n, 3 * width + j])
        for j in range(width):
            kept = gates[t, n, width + j] * y[1, t, n, j]
            y[1, t + 1, n, j] = kept + gates[t, n, j] * gates[t, n, 2 * width + j]
        for j in range(width):
            y[0, t + 1, n, j] = gates[t, n, 3 * width + j] * fast_tanh(y[1, t + 1, n, j])


@kernel
def lstm_step_back(g, y, gates, dh, dc, dz, t):
    """dh and dc come from the step after, and dc is left for the step before."""
    width = y.shape[3]
    for n in range(dz.shape[1]):
        for j in range(width):
            dh[n, j] += g[0, t + 1, n, j]
        for j in range(width):
            dc[n, j] += g[1, t + 1, n, j]
        for j in range(width):
            o, bounded = gates[t, n, 3 * width + j], fast_tanh(y[1, t + 1, n, j])
            dz[t, n, 3 * width + j] = dh[n, j] * bounded * o * (real(1) - o)
            dc[n, j] += dh[n, j] * o * (real(1) - bounded * bounded)
        for j in range(width):
            i = gates[t, n, j]
            dz[t, n, j] = dc[n, j] * gates[t, n, 2 * width + j] * i * (real(1) - i)
        for j in range(width):
            f = gates[t, n, width + j]
            dz[t, n, width + j] = dc[n, j] * y[1, t, n, j] * f * (real(1) - f)
        for j in range(width):
            new = gates[t, n, 2 * width + j]
            dz[t, n, 2 * width + j] = dc[n, j] * gates[t, n, j] * (real(1) - new * new)
        for j in range(width):
            dc[n, j] *= gates[t, n, width + j]


def _lstm_back(g, y, gx, start, w):
    """The gradients of every step's sums before the gates, and of the start."""
    kept = GATES.of(y)
    if kept and of_one_kind(y, gx, start, w):
        g, w = compact(g.astype(y.dtype, copy=False), w)
        dz = np.empty_like(gx, order="C")
        d = np.zeros_like(start, order="C")
        step = lstm_step_back.repeated(g, y, kept[0], d[0], d[1], dz)
        for t in reversed(range(len(dz))):
            step(t)
            np.dot(dz[t], w, d[0])
        return dz, d + g[:, 0]
    gates = PARTS.of(y) or (*_lstm_gates(gx + np.matmul(y[0, :-1], w.T)), np.tanh(y[1, 1:]))

    def body(carry, x):
        (dh, dc), (gh, gc, before, i, f, n, o, bounded) = carry, x
        dc = dc + dh * o * (1 - bounded * bounded)
        parts = dc * n * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - n * n), dh * bounded * o * (1 - o)
        dz = np.concatenate(parts, -1)
        return [gh + np.matmul(dz, w), gc + dc * f], [dz]

    d, (dz,) = loop(body, [g[0, -1], g[1, -1]], [g[0, :-1], g[1, :-1], y[1, :-1], *gates], reverse=True)
    return dz, np.stack(d)


def _lstm_rule(g, y, gx, start, w):
    dz, by_start = _lstm_back(g, y, gx, start, w)
    return dz, by_start, _by_recurrent_weight(dz, y[0, :-1])


@op(arity=3, sympy=_lstm, cases=[([(1, 2, 4), (2, 2, 1), (4, 1)], {}), ([(2, 1, 4), (2, 1, 1), (4, 1)], {})],
    vjp=together(_lstm_rule))
def lstm(gx, start, w):
    """The states h and c of a long short-term memory, from the start on.

    gx is (time, batch, 4 * width), the gates in PyTorch's order: input, forget, new, output; start (2, batch, width)
    holds h and c, w is (4 * width, width). The result is (2, time + 1, batch, width). With z = gx_t + h_{t-1} w^T:

        c_t = sigmoid(z_f) c_{t-1} + sigmoid(z_i) tanh(z_n)
        h_t = sigmoid(z_o) tanh(c_t)
    """
    if not of_one_kind(gx, start, w):
        return _lstm(gx, start, w)
    gx, w = compact(gx, w.T)
    y = np.empty((2, len(gx) + 1, *start.shape[1:]), gx.dtype)
    y[:, 0] = start
    gates = np.empty_like(gx)
    step = lstm_step.repeated(gx, gates, y)
    for t in range(len(gx)):
        np.dot(y[0, t], w, gates[t])
        step(t)
    keep(GATES, y, gates)
    return y


# ---- gated recurrent unit (Cho et al. 2014, arXiv:1406.1078, with the reset gate behind the product) -----------------


def _gru(gx, start, w, b):
    def body(carry, x):
        gates = _, u, n, _ = _gru_gates(x[0], np.matmul(carry[0], w.T) + b)
        h = n + u * (carry[0] - n)
        return [h], [h, *gates]

    _, (h, *gates) = loop(body, [start], [gx])
    (y,) = from_start([start], [h])
    keep(PARTS, y, *gates)
    return y


def _gru_gates(z, p):
    (zr, zu, zn), (pr, pu, pn) = split(z, 3), split(p, 3)
    r, u = _logistic(zr + pr), _logistic(zu + pu)
    return r, u, np.tanh(zn + r * pn), pn


@kernel
def gru_step(gx, p, b, gates, y, t):
    """`gates` gets r, u, n and what r is applied to."""
    width = y.shape[2]
    for n in range(gx.shape[1]):
        for j in range(2 * width):
            gates[t, n, j] = fast_sigmoid(gx[t, n, j] + (p[n, j] + b[j]))
        for j in range(width):
            gates[t, n, 3 * width + j] = p[n, 2 * width + j] + b[2 * width + j]
        for j in range(width):
            new = gx[t, n, 2 * width + j] + gates[t, n, j] * gates[t, n, 3 * width + j]
            gates[t, n, 2 * width + j] = fast_tanh(new)
        for j in range(width):
            new = gates[t, n, 2 * width + j]
            y[t + 1, n, j] = new + gates[t, n, width + j] * (y[t, n, j] - new)


@kernel
def gru_step_back(g, y, gates, dh, dz, dp, carried, t):
    """dh comes through the product of the step after, `carried` past it."""
    width = y.shape[2]
    for n in range(dz.shape[1]):
        for j in range(width):
            dh[n, j] += g[t + 1, n, j]
        for j in range(width):
            dh[n, j] += carried[n, j]
        for j in range(width):
            u, new = gates[t, n, width + j], gates[t, n, 2 * width + j]
            dz[t, n, width + j] = dh[n, j] * (y[t, n, j] - new) * u * (real(1) - u)
        for j in range(width):
            u, new = gates[t, n, width + j], gates[t, n, 2 * width + j]
            dz[t, n, 2 * width + j] = dh[n, j] * (real(1) - u) * (real(1) - new * new)
        for j in range(width):
            carried[n, j] = dh[n, j] * gates[t, n, width + j]
        for j in range(width):
            r = gates[t, n, j]
            dz[t, n, j] = dz[t, n, 2 * width + j] * gates[t, n, 3 * width + j] * r * (real(1) - r)
        for j in range(2 * width):
            dp[t, n, j] = dz[t, n, j]
        for j in range(width):
            dp[t, n, 2 * width + j] = dz[t, n, 2 * width + j] * gates[t, n, j]


def _gru_back(g, y, gx, start, w, b):
    """The gradients of what the inputs give to each step, of the start, and of what the states give to each step."""
    kept = GATES.of(y)
    if kept and of_one_kind(y, gx, start, w, b):
        g, w = compact(g.astype(y.dtype, copy=False), w)
        dz, dp = np.empty_like(gx, order="C"), np.empty_like(gx, order="C")
        dh, carried = np.zeros_like(start, order="C"), np.zeros_like(start, order="C")
        step = gru_step_back.repeated(g, y, kept[0], dh, dz, dp, carried)
        for t in reversed(range(len(dz))):
            step(t)
            np.dot(dp[t], w, dh)
        return dz, dh + carried + g[0], dp
    gates = PARTS.of(y) or _gru_gates(gx, np.matmul(y[:-1], w.T) + b)

    def body(carry, x):
        (d,), (g, h, r, u, n, reset) = carry, x
        by_n, by_u = d * (1 - u) * (1 - n * n), d * (h - n) * u * (1 - u)
        by_r = by_n * reset * r * (1 - r)
        dz, dp = np.concatenate([by_r, by_u, by_n], -1), np.concatenate([by_r, by_u, by_n * r], -1)
        return [g + d * u + np.matmul(dp, w)], [dz, dp]

    (d,), (dz, dp) = loop(body, [g[-1]], [g[:-1], y[:-1], *gates], reverse=True)
    return dz, d, dp


def _gru_rule(g, y, gx, start, w, b):
    dz, by_start, dp = _gru_back(g, y, gx, start, w, b)
    return dz, by_start, _by_recurrent_weight(dp, y[:-1]), np.add.reduce(dp, axis=(0, 1))


@op(arity=4, sympy=_gru,
    cases=[([(1, 2, 3), (2, 1), (3, 1), (3,)], {}), ([(2, 1, 3), (1, 1), (3, 1), (3,)], {})],
    vjp=together(_gru_rule))
def gru(gx, start, w, b):
    """The states of a gated recurrent unit, from the start on.

    gx is (time, batch, 3 * width), the gates in PyTorch's order: reset, update, new; start (batch, width), w
    (3 * width, width), b (3 * width,). The result is (time + 1, batch, width). With p = h_{t-1} w^T + b:

        r = sigmoid(gx_r + p_r),  u = sigmoid(gx_u + p_u),  n = tanh(gx_n + r p_n)
        h_t = (1 - u) n + u h_{t-1}
    """
    if not of_one_kind(gx, start, w, b):
        return _gru(gx, start, w, b)
    gx, w, b = compact(gx, w.T, b)
    y = np.empty((len(gx) + 1, *start.shape), gx.dtype)
    y[0] = start
    p, gates = np.empty(gx.shape[1:], gx.dtype), np.empty((*gx.shape[:2], 4 * start.shape[-1]), gx.dtype)
    step = gru_step.repeated(gx, p, b, gates, y)
    for t in range(len(gx)):
        np.dot(y[t], w, p)
        step(t)
    keep(GATES, y, gates)
    return y
