"""Our side: minigrad eager, its compiled step called from Python, and its native loop over steps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg

from .nets import BATCHES, OPTIMIZERS, C, Net
from .peer import Peer, numpy_bytes

F: Any = mg.nn.functional


def lstm(e: Any, wx: Any, wh: Any, b: Any) -> Any:
    """All states of an LSTM, with batches first."""
    start = np.zeros((2, e.shape[0], C), np.float32)
    return mg.ops.lstm((e @ wx + b).swapaxes(0, 1), start, wh.T)[0, 1:].swapaxes(0, 1)


WORDS = SimpleNamespace(
    relu=mg.relu, tanh=mg.tanh, transpose=mg.transpose, embedding=F.embedding, lstm=lstm,
    gelu=lambda x: mg.gelu(x, approximate="tanh"),
    hinge=F.hinge_loss, cross_entropy=F.cross_entropy, squares=lambda w: mg.vdot(w, w),
    conv=F.conv2d, pool=lambda x: F.max_pool2d(x, 2),
    layer_norm=lambda x, gain, shift: F.layer_norm(x, (C,), gain, shift),
    attention=lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
)  # fmt: skip


class Eager(Peer):
    """NumPy, op by op."""

    words = WORDS

    def start(self) -> None:
        self.p = {name: mg.tensor(value, requires_grad=True) for name, value in self.net.parameters().items()}
        name, options = OPTIMIZERS[self.net.optimizer]
        self.optimizer = getattr(mg.optim, name)(list(self.p.values()), **options)

    def step(self) -> Any:
        self.optimizer.zero_grad()
        loss = self.loss(self.p, self.x, self.y)
        loss.backward()
        self.optimizer.step()
        return loss

    def advance(self, steps: int) -> list[float]:
        return [self.step().item() for _ in range(steps)]

    def memory(self) -> int:
        return numpy_bytes(self)


class Step(Eager):
    """The compiled step, a call from Python for each."""

    def start(self) -> None:
        super().start()
        p, net = self.p, self.net
        self.compiled = mg.compile_step(
            lambda x: net.scores(WORDS, p, x), lambda scores, y: net.loss(WORDS, p, scores, y), self.optimizer
        )

    def step(self) -> Any:
        return self.compiled(self.x, self.y)

    def memory(self) -> int:
        """That of arrays, as with torch and JAX: a call makes none, only a few objects of Python's."""
        return numpy_bytes(self, besides=False)


class Run(Step):
    """The compiled loop over a data set in shuffled batches, as one call."""

    def __init__(self, net: Net, threads: int) -> None:
        super().__init__(net, threads)
        self.data = net.data(BATCHES)

    def advance(self, steps: int) -> list[float]:
        again = (np.concatenate([array] * steps) for array in (self.x, self.y))
        return list(map(float, self.compiled.run(*again, batch_size=self.net.batch, shuffle=False)))

    def run(self, steps: int) -> None:
        self.compiled.run(*self.data, batch_size=self.net.batch, epochs=steps // BATCHES, shuffle=True)

    def memory(self) -> int:
        self.data = self.x, self.y  # the others hold one batch, too
        return numpy_bytes(self, BATCHES)
