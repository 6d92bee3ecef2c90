"""PyTensor: the step as one function of no arguments, with parameters and state in shared variables."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy

from .formulas import STATES, updated
from .nets import C, T
from .peer import Peer


def spoken(pt: Any) -> SimpleNamespace:
    special = import_module("pytensor.tensor.special")

    def cross_entropy(scores: Any, y: Any) -> Any:
        logs = special.log_softmax(scores.reshape((-1, scores.shape[-1])), axis=-1)
        return -logs[pt.arange(logs.shape[0]), y.reshape((-1,))].mean()

    def absent(*_: Any) -> NoReturn:
        raise NotImplementedError("PyTensor has no convolution of channels")

    def layer_norm(x: Any, gain: Any, shift: Any) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred / pt.sqrt((centred**2).mean(axis=-1, keepdims=True) + numpy.float32(1e-5)) * gain + shift

    def attention(q: Any, k: Any, v: Any) -> Any:
        mask = numpy.triu(numpy.full((T, T), -numpy.inf, numpy.float32), 1)
        return special.softmax(q @ k.swapaxes(-1, -2) / numpy.float32(q.type.shape[-1] ** 0.5) + mask, axis=-1) @ v

    def lstm(e: Any, wx: Any, wh: Any, b: Any) -> Any:
        def cell(gates: Any, h: Any, c: Any, wh: Any) -> Any:
            z = gates + h @ wh
            i, f, g, o = (z[:, j * C : (j + 1) * C] for j in range(4))
            c = pt.sigmoid(f) * c + pt.sigmoid(i) * pt.tanh(g)
            return pt.sigmoid(o) * pt.tanh(c), c

        zero = pt.zeros((e.type.shape[0], C), "float32")
        gates = (e @ wx + b).swapaxes(0, 1)
        scan = import_module("pytensor").scan
        (h, _) = scan(cell, sequences=[gates], outputs_info=[zero, zero], non_sequences=[wh], return_updates=False)
        return h.swapaxes(0, 1)

    return SimpleNamespace(
        relu=lambda x: pt.maximum(x, 0), tanh=pt.tanh, transpose=pt.transpose, lstm=lstm, attention=attention,
        embedding=lambda x, table: table[x],
        gelu=lambda x: 0.5 * x * (1 + pt.tanh((2 / numpy.pi) ** 0.5 * (x + 0.044715 * x**3))),
        hinge=lambda scores, y: pt.maximum(1 - y * scores, 0).mean(),
        cross_entropy=cross_entropy, squares=lambda w: (w * w).sum(), conv=absent, pool=absent, layer_norm=layer_norm,
    )  # fmt: skip


class PyTensor(Peer):
    """With its default linker."""

    library = "pytensor"

    def start(self) -> None:
        pytensor: Any = import_module("pytensor")
        pytensor.config.floatX = "float32"  # of constants such as 0.5
        pt = pytensor.tensor
        self.words = spoken(pt)
        p = {name: pytensor.shared(value, name, shape=value.shape) for name, value in self.net.parameters().items()}
        x, y = (pytensor.shared(array, shape=array.shape) for array in (self.x, self.y))
        loss = self.loss(p, x, y)
        t = pytensor.shared(numpy.float32(1), "t")
        updates = [(t, t + numpy.float32(1))]
        for w, g in zip(p.values(), pt.grad(loss, list(p.values())), strict=True):
            zero = numpy.zeros_like(w.get_value())
            state = [pytensor.shared(zero, shape=zero.shape) for _ in range(STATES[self.net.optimizer])]
            changed, remembered = updated(self.net.optimizer, t, w, g, state, pt.sqrt)
            updates += [(w, changed.astype("float32"))]
            updates += [(s, r.astype("float32")) for s, r in zip(state, remembered, strict=True)]
        self.compiled = pytensor.function([], loss, updates=updates)

    def step(self) -> Any:
        return self.compiled()
