"""HIPS autograd: NumPy, op by op, with the optimizer as formulas on arrays."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy

from .formulas import STATES, updated
from .nets import C, Net, T
from .peer import Peer, numpy_bytes


def spoken() -> SimpleNamespace:
    np: Any = import_module("autograd.numpy")
    convolve = import_module("autograd.scipy.signal").convolve

    def cross_entropy(scores: Any, y: Any) -> Any:
        scores = scores.reshape((-1, scores.shape[-1]))
        shifted = scores - scores.max(axis=1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return -np.mean(logs[numpy.arange(y.size), y.reshape(-1)])

    def conv(x: Any, kernel: Any, offset: Any) -> Any:
        """Autograd has a convolution that flips its kernel."""
        y = convolve(x, kernel[:, :, ::-1, ::-1], axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid")
        return y + offset[:, None, None]

    def pool(x: Any) -> Any:
        n, channels, height, width = x.shape
        return x.reshape((n, channels, height // 2, 2, width // 2, 2)).max(axis=(3, 5))

    def layer_norm(x: Any, gain: Any, shift: Any) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * gain + shift

    def attention(q: Any, k: Any, v: Any) -> Any:
        mask = numpy.triu(numpy.full((T, T), -numpy.inf, numpy.float32), 1)
        scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5 + mask
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True) @ v

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def lstm(e: Any, wx: Any, wh: Any, b: Any) -> Any:
        gates = e @ wx + b
        h = c = numpy.zeros((e.shape[0], C), numpy.float32)
        states = []
        for t in range(T):
            z = gates[:, t] + h @ wh
            i, f, g, o = (z[:, j * C : (j + 1) * C] for j in range(4))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            states.append(h)
        return np.stack(states, axis=1)

    return SimpleNamespace(
        relu=lambda x: np.maximum(x, 0), tanh=np.tanh, transpose=np.transpose, lstm=lstm, attention=attention,
        embedding=lambda x, table: table[x],
        gelu=lambda x: 0.5 * x * (1 + np.tanh((2 / numpy.pi) ** 0.5 * (x + 0.044715 * x**3))),
        hinge=lambda scores, y: np.mean(np.maximum(1 - y * scores, 0)),
        cross_entropy=cross_entropy, squares=lambda w: np.sum(w * w), conv=conv, pool=pool, layer_norm=layer_norm,
    )  # fmt: skip


class Autograd(Peer):
    """As its examples use it."""

    library = "autograd"

    def __init__(self, net: Net, threads: int) -> None:
        super().__init__(net, threads)
        self.words = spoken()
        self.differentiated = import_module("autograd").value_and_grad(self.loss)

    def start(self) -> None:
        self.p = dict(self.net.parameters())
        states = range(STATES[self.net.optimizer])
        self.state = {name: [numpy.zeros_like(value) for _ in states] for name, value in self.p.items()}
        self.t = 0

    def step(self) -> Any:
        self.t += 1
        loss, gradient = self.differentiated(self.p, self.x, self.y)
        for name, g in gradient.items():
            changed = updated(self.net.optimizer, self.t, self.p[name], g, self.state[name], numpy.sqrt)
            self.p[name], self.state[name] = changed
        return loss

    def memory(self) -> int:
        return numpy_bytes(self)
