"""The eager training step beside torch's: forward, backward, optimizer, one batch over and over, float32.

    python benchmarks/eager.py [--rounds 5] [NET ...]

Each side runs in a process of its own, in turn, so that both see the same machine; the table gives the median over the
rounds of each side's best time for a step, and of the ratio. Torch uses its fused optimizers, one thread for moons and
digits, as more make it slower there, and two for the others.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Net(NamedTuple):
    """What both sides train, and on how many threads. The values do not matter for the time: they are noise."""

    steps: int  # in a run
    threads: int
    optimizer: str  # a name in `optimizers`
    batch: Callable[[], tuple[np.ndarray, np.ndarray]]
    parameters: Callable[[], dict[str, np.ndarray]]


rng = np.random.default_rng(0)


def noise(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (rng.normal(size=shape) * scale).astype(np.float32)


def classified(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    """A batch with one of ten classes for each."""
    return noise(*shape), rng.integers(0, 10, shape[0])


def mlp(*widths: int) -> dict[str, np.ndarray]:
    """Weights (in, out) and biases of linear layers."""
    layers: dict[str, np.ndarray] = {}
    for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
        layers |= {f"w{i}": noise(a, b, scale=a**-0.5), f"b{i}": np.zeros(b, np.float32)}
    return layers


def lenet_parameters() -> dict[str, np.ndarray]:
    first = {"k0": noise(6, 1, 5, 5, scale=0.2), "c0": np.zeros(6, np.float32)}
    second = {"k1": noise(16, 6, 5, 5, scale=0.08), "c1": np.zeros(16, np.float32)}
    return first | second | mlp(256, 120, 84, 10)


V, T, C = 32, 32, 64  # vocabulary, length and width of the nets that read sequences


def tokens() -> tuple[np.ndarray, np.ndarray]:
    """A batch of 16 sequences, and what follows each of their elements."""
    return rng.integers(0, V, (16, T)), rng.integers(0, V, (16, T))


def lstm_parameters() -> dict[str, np.ndarray]:
    """An embedding, an LSTM in torch's layout, and a linear layer."""
    p = {"e": noise(V, C), "wx": noise(4 * C, C, scale=C**-0.5), "wh": noise(4 * C, C, scale=C**-0.5)}
    return p | {"b": np.zeros(4 * C, np.float32), "wo": noise(C, V, scale=C**-0.5), "bo": np.zeros(V, np.float32)}


def gpt_parameters() -> dict[str, np.ndarray]:
    """Embeddings of tokens and places, two blocks, a last normalisation and a linear layer."""
    p = {"e": noise(V, C, scale=0.1), "pos": noise(T, C, scale=0.1), "wo": noise(C, V, scale=C**-0.5)}
    for i in ("0", "1", ""):
        p |= {f"g1{i}": np.ones(C, np.float32), f"n1{i}": np.zeros(C, np.float32)}
    for i in (0, 1):
        p |= {f"g2{i}": np.ones(C, np.float32), f"n2{i}": np.zeros(C, np.float32)}
        p |= {f"qkv{i}": noise(C, 3 * C, scale=C**-0.5), f"pr{i}": noise(C, C, scale=C**-0.5)}
        p |= {f"up{i}": noise(C, 4 * C, scale=C**-0.5), f"dn{i}": noise(4 * C, C, scale=0.5 * C**-0.5)}
    return p


NETS = {
    "moons": Net(50, 1, "sgd", lambda: (noise(100, 2), np.sign(noise(100, 1))), lambda: mlp(2, 16, 16, 1)),
    "digits": Net(50, 1, "adam", lambda: classified(32, 64), lambda: mlp(64, 64, 10)),
    "mnist": Net(20, 2, "adam", lambda: classified(128, 784), lambda: mlp(784, 128, 128, 10)),
    "lenet": Net(5, 2, "momentum", lambda: classified(64, 1, 28, 28), lenet_parameters),
    "lstm": Net(5, 2, "rmsprop", tokens, lstm_parameters),
    "gpt": Net(5, 2, "adamw", tokens, gpt_parameters),
}


def dense(p, x, layers, activation):
    """The same line for both sides."""
    for i in range(layers):
        x = x @ p[f"w{i}"] + p[f"b{i}"]
        if i < layers - 1:
            x = activation(x)
    return x


class Minigrad:
    """Our side: for each net, the loss of a batch, given the parameters by name."""

    def __init__(self) -> None:
        import minigrad as mg

        self.mg, self.F = mg, mg.nn.functional

    def tensors(self, net: Net) -> tuple[dict[str, Any], Any, Any]:
        p = {name: self.mg.tensor(value, requires_grad=True) for name, value in net.parameters().items()}
        return p, *net.batch()

    def optimizer(self, name: str, params: list[Any]) -> Any:
        optim = self.mg.optim
        return {
            "sgd": lambda: optim.SGD(params, lr=1e-2),
            "momentum": lambda: optim.SGD(params, lr=1e-2, momentum=0.9),
            "adam": lambda: optim.Adam(params, lr=1e-3),
            "adamw": lambda: optim.AdamW(params, lr=1e-3),
            "rmsprop": lambda: optim.RMSprop(params, lr=1e-3),
        }[name]()

    def moons(self, p, x, y):
        scores = dense(p, x, 3, self.mg.relu)
        return self.F.hinge_loss(scores, y) + 1e-4 * sum(self.mg.vdot(w, w) for w in p.values())

    def digits(self, p, x, y):
        return self.F.cross_entropy(dense(p, x, 2, self.mg.relu), y)

    def mnist(self, p, x, y):
        return self.F.cross_entropy(dense(p, x, 3, self.mg.tanh), y)

    def lenet(self, p, x, y):
        h = self.F.max_pool2d(self.mg.relu(self.F.conv2d(x, p["k0"], p["c0"])), 2)
        h = self.F.max_pool2d(self.mg.relu(self.F.conv2d(h, p["k1"], p["c1"])), 2)
        return self.F.cross_entropy(dense(p, h.reshape(len(x), -1), 3, self.mg.relu), y)

    def lstm(self, p, x, y):
        e = (p["e"][x] @ p["wx"].T + p["b"]).swapaxes(0, 1)
        h = self.mg.ops.lstm(e, np.zeros((2, len(x), C), np.float32), p["wh"])[0, 1:].swapaxes(0, 1)
        return self.F.cross_entropy(h @ p["wo"] + p["bo"], y)

    def gpt(self, p, x, y):
        F, mg = self.F, self.mg
        h = p["e"][x] + p["pos"]
        for i in range(2):
            a = F.layer_norm(h, (C,), p[f"g1{i}"], p[f"n1{i}"])
            q, k, v = (a @ p[f"qkv{i}"]).reshape(len(x), T, 3, 4, C // 4).transpose(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            h = h + mixed.swapaxes(1, 2).reshape(len(x), T, C) @ p[f"pr{i}"]
            a = F.layer_norm(h, (C,), p[f"g2{i}"], p[f"n2{i}"])
            h = h + mg.gelu(a @ p[f"up{i}"], approximate="tanh") @ p[f"dn{i}"]
        return F.cross_entropy(F.layer_norm(h, (C,), p["g1"], p["n1"]) @ p["wo"], y)


class Torch:
    """The other side: the same losses in torch's words."""

    def __init__(self) -> None:
        import torch

        self.torch, self.F = torch, torch.nn.functional

    def tensors(self, net: Net) -> tuple[dict[str, Any], Any, Any]:
        self.torch.set_num_threads(net.threads)
        p = {name: self.torch.tensor(value, requires_grad=True) for name, value in net.parameters().items()}
        return p, *map(self.torch.tensor, net.batch())

    def optimizer(self, name: str, params: list[Any]) -> Any:
        optim = self.torch.optim
        return {
            "sgd": lambda: optim.SGD(params, lr=1e-2, fused=True),
            "momentum": lambda: optim.SGD(params, lr=1e-2, momentum=0.9, fused=True),
            "adam": lambda: optim.Adam(params, lr=1e-3, fused=True),
            "adamw": lambda: optim.AdamW(params, lr=1e-3, fused=True),
            "rmsprop": lambda: optim.RMSprop(params, lr=1e-3),  # of which torch has no fused one
        }[name]()

    def moons(self, p, x, y):
        scores = dense(p, x, 3, self.torch.relu)
        return self.torch.relu(1 - y * scores).mean() + 1e-4 * sum((w * w).sum() for w in p.values())

    def digits(self, p, x, y):
        return self.F.cross_entropy(dense(p, x, 2, self.torch.relu), y)

    def mnist(self, p, x, y):
        return self.F.cross_entropy(dense(p, x, 3, self.torch.tanh), y)

    def lenet(self, p, x, y):
        h = self.F.max_pool2d(self.torch.relu(self.F.conv2d(x, p["k0"], p["c0"])), 2)
        h = self.F.max_pool2d(self.torch.relu(self.F.conv2d(h, p["k1"], p["c1"])), 2)
        return self.F.cross_entropy(dense(p, h.flatten(1), 3, self.torch.relu), y)

    def lstm(self, p, x, y):
        """Step by step, as one writes it; torch.nn.LSTM is one call: see `lstm_layer`."""
        torch = self.torch
        e = p["e"][x] @ p["wx"].T + p["b"]
        h = c = torch.zeros(len(x), C)
        states = []
        for t in range(T):
            i, f, g, o = (e[:, t] + h @ p["wh"].T).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        scores = torch.stack(states, 1) @ p["wo"] + p["bo"]
        return self.F.cross_entropy(scores.reshape(-1, V), y.reshape(-1))

    def lstm_layer(self, p, x, y):
        start = self.torch.zeros(1, len(x), C)
        weights = [p["wx"], p["wh"], p["b"], self.torch.zeros_like(p["b"])]
        options = (True, 1, 0.0, True, False, True)  # biases, layers, dropout, training, bidirectional, batch first
        h = self.torch.lstm(p["e"][x], (start, start), weights, *options)[0]
        return self.F.cross_entropy((h @ p["wo"] + p["bo"]).reshape(-1, V), y.reshape(-1))

    def gpt(self, p, x, y):
        torch, F = self.torch, self.F
        h = p["e"][x] + p["pos"]
        mask = torch.full((T, T), float("-inf")).triu(1)
        for i in range(2):
            a = F.layer_norm(h, (C,), p[f"g1{i}"], p[f"n1{i}"])
            q, k, v = (a @ p[f"qkv{i}"]).reshape(len(x), T, 3, 4, C // 4).permute(2, 0, 3, 1, 4)
            w = torch.softmax(q @ k.transpose(-1, -2) / (C // 4) ** 0.5 + mask, -1)
            h = h + (w @ v).transpose(1, 2).reshape(len(x), T, C) @ p[f"pr{i}"]
            a = F.layer_norm(h, (C,), p[f"g2{i}"], p[f"n2{i}"])
            h = h + F.gelu(a @ p[f"up{i}"], approximate="tanh") @ p[f"dn{i}"]
        scores = F.layer_norm(h, (C,), p["g1"], p["n1"]) @ p["wo"]
        return F.cross_entropy(scores.reshape(-1, V), y.reshape(-1))


SIDES: dict[str, Any] = {"minigrad": Minigrad, "torch": Torch}


# The same net by torch's own layer, for comparison: our LSTM is one op, too.
NETS["lstm_layer"] = NETS["lstm"]
Minigrad.lstm_layer = Minigrad.lstm  # type: ignore[attr-defined]


def training_step(side: Any, name: str) -> Callable[[], object]:
    """What both sides repeat."""
    p, x, y = side.tensors(NETS[name])
    optimizer, loss = side.optimizer(NETS[name].optimizer, list(p.values())), getattr(side, name)

    def step():
        optimizer.zero_grad()
        loss(p, x, y).backward()
        optimizer.step()

    return step


def microseconds(step: Callable[[], object], steps: int) -> float:
    """The best time of a step over many short runs: what it takes where nothing else disturbs."""
    best = float("inf")
    for _ in range(100):
        start = time.perf_counter()
        for _ in range(steps):
            step()
        best = min(best, (time.perf_counter() - start) / steps)
    return best * 1e6


def measure(net: str, side: str) -> float:
    """The time of one side's step, from a process of its own."""
    command = [sys.executable, __file__, "--worker", side, net]
    threads = str(NETS[net].threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", default=list(NETS), metavar="NET", help=", ".join(NETS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        (net,) = options.nets
        print(microseconds(training_step(SIDES[options.worker](), net), NETS[net].steps))
        return
    print(f"microseconds a step, medians of {options.rounds} rounds")
    print(f"{'net':8} {'minigrad':>10} {'torch':>10}   torch / minigrad")
    for net in options.nets:
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(measure(net, "minigrad"))
            theirs.append(measure(net, "torch"))
        ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        print(f"{net:8} {statistics.median(ours):10.1f} {statistics.median(theirs):10.1f}   {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
