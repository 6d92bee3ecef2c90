"""JAX with optax: a step compiled by XLA, called from Python or repeated by `lax.scan`."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

from .nets import OPTIMIZERS, C, Net, T
from .peer import Peer


def spoken(jax: Any) -> SimpleNamespace:
    np, nn, lax = jax.numpy, jax.nn, jax.lax

    def cross_entropy(scores: Any, y: Any) -> Any:
        return -np.take_along_axis(nn.log_softmax(scores), y[..., None], -1).mean()

    def conv(x: Any, kernel: Any, offset: Any) -> Any:
        return lax.conv(x, kernel, (1, 1), "VALID") + offset[:, None, None]

    def pool(x: Any) -> Any:
        return lax.reduce_window(x, -np.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def layer_norm(x: Any, gain: Any, shift: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gain + shift

    def attention(q: Any, k: Any, v: Any) -> Any:
        mask = np.triu(np.full((T, T), -np.inf), 1)
        return nn.softmax(q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5 + mask) @ v

    def lstm(e: Any, wx: Any, wh: Any, b: Any) -> Any:
        def cell(state: Any, gates: Any) -> Any:
            h, c = state
            i, f, g, o = np.split(gates + h @ wh, 4, -1)
            c = nn.sigmoid(f) * c + nn.sigmoid(i) * np.tanh(g)
            h = nn.sigmoid(o) * np.tanh(c)
            return (h, c), h

        zero = np.zeros((e.shape[0], C))
        return lax.scan(cell, (zero, zero), (e @ wx + b).swapaxes(0, 1))[1].swapaxes(0, 1)

    return SimpleNamespace(
        relu=nn.relu, tanh=np.tanh, transpose=np.transpose, lstm=lstm, attention=attention,
        embedding=lambda x, table: table[x], gelu=nn.gelu,
        hinge=lambda scores, y: nn.relu(1 - y * scores).mean(),
        cross_entropy=cross_entropy, squares=lambda w: (w * w).sum(), conv=conv, pool=pool, layer_norm=layer_norm,
    )  # fmt: skip


def optimizer(optax: Any, name: str) -> Any:
    """Torch's formula, where optax has another by default."""
    kind, options = OPTIMIZERS[name]
    lr = options["lr"]
    if kind == "SGD":
        return optax.sgd(lr, options.get("momentum"))
    if kind == "RMSprop":
        return optax.rmsprop(lr, decay=options["alpha"], eps_in_sqrt=False)
    return optax.adamw(lr, weight_decay=options["weight_decay"]) if kind == "AdamW" else optax.adam(lr)


class Jax(Peer):
    """A call of the compiled step from Python for each."""

    library = "jax"

    def __init__(self, net: Net, threads: int) -> None:
        super().__init__(net, threads)
        self.jax: Any = import_module("jax")
        self.optax: Any = import_module("optax")
        self.words = spoken(self.jax)
        self.rule = optimizer(self.optax, net.optimizer)
        self.batch = self.jax.numpy.array(self.x), self.jax.numpy.array(self.y)
        self.compiled = self.jax.jit(self.updated, donate_argnums=0)

    def updated(self, state: Any, _: Any = None) -> Any:
        p, memory = state
        loss, gradient = self.jax.value_and_grad(self.loss)(p, *self.batch)
        change, memory = self.rule.update(gradient, memory, p)
        return (self.optax.apply_updates(p, change), memory), loss

    def start(self) -> None:
        p = {name: self.jax.numpy.array(value) for name, value in self.net.parameters().items()}
        self.state = p, self.rule.init(p)

    def step(self) -> Any:
        self.state, loss = self.compiled(self.state)
        return loss

    def run(self, steps: int) -> None:
        for _ in range(steps):
            loss = self.step()
        self.jax.block_until_ready(loss)

    def memory(self) -> int:
        """What XLA plans: arguments, results in other places than these, and temporary arrays; and the batch."""
        plan = self.compiled.lower(self.state).compile().memory_analysis()
        places = plan.argument_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
        return places + plan.temp_size_in_bytes + sum(array.nbytes for array in self.batch)


class JaxScan(Jax):
    """All steps of a run inside one compiled function."""

    def __init__(self, net: Net, threads: int) -> None:
        super().__init__(net, threads)
        self.compiled = self.jax.jit(lambda state: self.jax.lax.scan(self.updated, state, None, length=net.steps))

    def advance(self, steps: int) -> list[float]:
        self.state, losses = self.jax.block_until_ready(self.compiled(self.state))
        return list(map(float, losses))

    def run(self, steps: int) -> None:
        self.state, _ = self.jax.block_until_ready(self.compiled(self.state))
