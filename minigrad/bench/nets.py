"""The nets that all peers train, written once: in words that every peer says in its own way.

A peer brings the words (`k.relu`, `k.conv`, `k.attention` and so on; see `ours.py` or `jax_peer.py`), and gets from
here the same data, initial parameters, formulas and optimizer as all others. Everything is float32. The data are
noise: what is learnt does not matter here, only that all learn the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
Parameters = dict[str, Array]

BATCHES = 20  # in the data set, for those who train on one; the others train on the first batch
V, T, C, HEADS = 32, 32, 64, 4  # of the nets that read sequences: vocabulary, length, width, heads of attention

# Under torch's names, with all that its defaults and those of others differ in.
OPTIMIZERS: dict[str, tuple[str, dict[str, float]]] = {
    "sgd":      ("SGD", {"lr": 1e-2}),
    "momentum": ("SGD", {"lr": 1e-2, "momentum": 0.9}),
    "adam":     ("Adam", {"lr": 1e-3}),
    "adamw":    ("AdamW", {"lr": 1e-3, "weight_decay": 1e-2}),
    "rmsprop":  ("RMSprop", {"lr": 1e-3, "alpha": 0.99}),
}  # fmt: skip


class Net(NamedTuple):
    """What is trained, how, and on what."""

    shape: str
    batch: int
    steps: int  # in a timed run, some hundredths of a second; a multiple of BATCHES
    optimizer: str
    parameters: Callable[[], Parameters]
    sample: tuple[int, ...]  # the shape of one sample of the input
    scores: Callable[[Any, Any, Any], Any]  # of words, parameters and a batch of inputs
    target: str = "class"  # or "sign" or "tokens"
    classes: int = 10
    small: bool = False  # too small for a second thread
    checked: int = 10  # first steps whose losses all peers must agree on

    def loss(self, k: Any, p: Mapping[str, Any], scores: Any, y: Any) -> Any:
        """Cross-entropy, or for signs the hinge loss with a penalty on all parameters."""
        if self.target == "sign":
            return k.hinge(scores, y) + 1e-4 * sum(k.squares(w) for w in p.values())
        return k.cross_entropy(scores, y)

    def data(self, batches: int = 1) -> tuple[Array, Array]:
        """Inputs and targets; the first batch is the same however many there are."""
        inputs, targets, n = np.random.default_rng(1), np.random.default_rng(2), batches * self.batch
        if self.target == "tokens":
            return inputs.integers(0, V, (n, T)), targets.integers(0, V, (n, T))
        x = inputs.standard_normal((n, *self.sample), np.float32)
        if self.target == "sign":
            return x, np.sign(targets.standard_normal((n, 1), np.float32))
        return x, targets.integers(0, self.classes, n)


# Initial parameters


class Drawn(dict[str, Array]):
    """Parameters by name, drawn from one seed in the order in which they are added."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def noise(self, name: str, *shape: int, scale: float | None = None) -> None:
        """A weight whose first axis is that of its inputs, which `scale` goes by unless it is given."""
        factor = np.float32(shape[0] ** -0.5 if scale is None else scale)
        self[name] = self.rng.standard_normal(shape, np.float32) * factor

    def linear(self, i: int, inputs: int, outputs: int, gain: float = 1) -> None:
        self.noise(f"w{i}", inputs, outputs, scale=(gain / inputs) ** 0.5)
        self[f"b{i}"] = np.zeros(outputs, np.float32)

    def norm(self, i: object) -> None:
        self[f"gain{i}"], self[f"shift{i}"] = np.ones(C, np.float32), np.zeros(C, np.float32)


def layers(*widths: int, after: Drawn | None = None, gain: float = 1) -> Parameters:
    """Linear layers of these widths; with gain 2, relu keeps the scale of what passes through, however deep."""
    p = Drawn() if after is None else after
    for i, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
        p.linear(i, inputs, outputs, gain)
    return p


def lenet_parameters() -> Parameters:
    p = Drawn()
    for i, (outputs, inputs, scale) in enumerate([(6, 1, 0.2), (16, 6, 0.08)]):
        p.noise(f"kernel{i}", outputs, inputs, 5, 5, scale=scale)
        p[f"offset{i}"] = np.zeros(outputs, np.float32)
    return layers(256, 120, 84, 10, after=p)


def lstm_parameters() -> Parameters:
    p = Drawn()
    p.noise("embedding", V, C, scale=1)
    p.noise("from_input", C, 4 * C)
    p.noise("from_state", C, 4 * C)
    p["gates"] = np.zeros(4 * C, np.float32)
    p.linear(0, C, V)
    return p


def gpt_parameters() -> Parameters:
    p = Drawn()
    p.noise("embedding", V, C, scale=0.1)
    p.noise("places", T, C, scale=0.1)
    for i in range(2):
        p.norm(f"_attention{i}")
        p.noise(f"qkv{i}", C, 3 * C)
        p.noise(f"mix{i}", C, C)
        p.norm(f"_mlp{i}")
        p.noise(f"up{i}", C, 4 * C)
        p.noise(f"down{i}", 4 * C, C)
    p.norm("")
    p.noise("out", C, V)
    return p


# The formulas


def dense(k: Any, p: Mapping[str, Any], h: Any, activation: Callable[[Any], Any]) -> Any:
    """Linear layers with an activation between them."""
    i = 0
    while f"w{i + 1}" in p:
        h = activation(h @ p[f"w{i}"] + p[f"b{i}"])
        i += 1
    return h @ p[f"w{i}"] + p[f"b{i}"]


def relu_net(k: Any, p: Mapping[str, Any], x: Any) -> Any:
    return dense(k, p, x, k.relu)


def tanh_net(k: Any, p: Mapping[str, Any], x: Any) -> Any:
    return dense(k, p, x, k.tanh)


def lenet(k: Any, p: Mapping[str, Any], x: Any) -> Any:
    for i in range(2):
        x = k.pool(k.relu(k.conv(x, p[f"kernel{i}"], p[f"offset{i}"])))
    return dense(k, p, x.reshape((x.shape[0], 256)), k.relu)


def lstm(k: Any, p: Mapping[str, Any], x: Any) -> Any:
    e = k.embedding(x, p["embedding"])
    h = k.lstm(e, p["from_input"], p["from_state"], p["gates"])
    return h @ p["w0"] + p["b0"]


def gpt(k: Any, p: Mapping[str, Any], x: Any) -> Any:
    def norm(h: Any, i: str) -> Any:
        return k.layer_norm(h, p[f"gain{i}"], p[f"shift{i}"])

    samples = x.shape[0]
    h = k.embedding(x, p["embedding"]) + p["places"]
    for i in range(2):
        qkv = (norm(h, f"_attention{i}") @ p[f"qkv{i}"]).reshape((samples, T, 3, HEADS, C // HEADS))
        q, key, v = (k.transpose(qkv, (2, 0, 3, 1, 4))[j] for j in range(3))
        mixed = k.transpose(k.attention(q, key, v), (0, 2, 1, 3)).reshape((samples, T, C))
        h = h + mixed @ p[f"mix{i}"]
        h = h + k.gelu(norm(h, f"_mlp{i}") @ p[f"up{i}"]) @ p[f"down{i}"]
    return norm(h, "") @ p["out"]


NETS = {
    "moons": Net("2-16-16-1, relu, hinge loss and penalty", 100, 2000, "sgd", lambda: layers(2, 16, 16, 1), (2,),
                 relu_net, "sign", small=True),
    "digits": Net("64-64-10, relu", 32, 2000, "adam", lambda: layers(64, 64, 10), (64,), relu_net, small=True),
    "mnist": Net("784-128-128-10, tanh", 128, 100, "adam", lambda: layers(784, 128, 128, 10), (784,), tanh_net),
    "lenet": Net("two convolutions, 256-120-84-10, relu", 64, 20, "momentum", lenet_parameters, (1, 28, 28), lenet),
    "lstm": Net("LSTM of width 64 on 32 characters", 16, 20, "rmsprop", lstm_parameters, (T,), lstm, "tokens", V),
    "gpt": Net("GPT, two blocks of width 64, 32 characters", 16, 20, "adamw", gpt_parameters, (T,), gpt, "tokens", V),
}  # fmt: skip

# How far each measure of an MLP goes while the others stay at their middle.
SCALES = {
    "batch": (1, 4, 16, 64, 256, 1024, 4096),
    "width": (8, 16, 32, 64, 128, 256, 512, 1024),
    "depth": (1, 2, 4, 8, 16, 32, 64),
}
MIDDLE = {"batch": 64, "width": 64, "depth": 2}


def scaled(**measures: int) -> Net:
    """An MLP with `depth` hidden layers of `width` units and as many inputs, trained by Adam.

    >>> scaled(depth=3).shape
    '64-64-64-64-10, relu'
    """
    batch, width, depth = (measures.get(name, middle) for name, middle in MIDDLE.items())
    widths = [width] * (depth + 1) + [10]
    products = batch * sum(a * b for a, b in zip(widths, widths[1:], strict=False))  # multiplications, one of three
    guess = 1e-5 + 6 * products / 3e10  # seconds a step
    steps = BATCHES * min(100, max(1, round(0.02 / guess / BATCHES)))
    shape = f"{'-'.join(map(str, widths))}, relu"
    small = batch * width * width < 2**20
    return Net(shape, batch, steps, "adam", lambda: layers(*widths, gain=2), (width,), relu_net, small=small,
               checked=3)  # a deep net makes much of the last digits, and its losses part after some steps  # fmt: skip
