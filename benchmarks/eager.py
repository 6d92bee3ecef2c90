"""The eager training step beside torch's: forward, backward, optimizer, one batch over and over, float32.

    python benchmarks/eager.py [--rounds 5] [NET ...]

Each side runs in a process of its own, in turn, so that both see the same machine; the table gives the median over the
rounds of each side's best time for a step, and of the ratio. Torch uses its fused optimizers, one thread for moons and
digits, as more make it slower there, and two for mnist.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

STEPS = {"moons": 50, "digits": 50, "mnist": 20}  # in a run
BATCH = {"moons": 100, "digits": 32, "mnist": 128}
WIDTHS = {"moons": (2, 16, 16, 1), "digits": (64, 64, 10), "mnist": (784, 128, 128, 10)}
THREADS = {"moons": 1, "digits": 1, "mnist": 2}


def batch(net: str) -> tuple[np.ndarray, np.ndarray]:
    """One batch of noise: the time of a step does not depend on the values."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH[net], WIDTHS[net][0])).astype(np.float32)
    if net == "moons":
        return x, np.sign(rng.normal(size=(BATCH[net], 1))).astype(np.float32)
    return x, rng.integers(0, 10, BATCH[net])


def parameters(net: str) -> list[np.ndarray]:
    """Weights (in, out) and biases, in turn."""
    rng = np.random.default_rng(1)
    params = []
    for a, b in zip(WIDTHS[net], WIDTHS[net][1:], strict=False):
        params += [(rng.normal(size=(a, b)) / np.sqrt(a)).astype(np.float32), np.zeros(b, np.float32)]
    return params


def forward(x, params, activation):
    """The same line for both sides."""
    for i in range(0, len(params), 2):
        x = x @ params[i] + params[i + 1]
        if i < len(params) - 2:
            x = activation(x)
    return x


def training_step(optimizer, loss) -> Callable[[], object]:
    """What both sides repeat."""

    def step():
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def minigrad_step(net: str) -> Callable[[], object]:
    import minigrad as mg
    from minigrad.nn import functional as F

    params = [mg.tensor(p, requires_grad=True) for p in parameters(net)]
    optimizer = mg.optim.SGD(params, lr=1e-2) if net == "moons" else mg.optim.Adam(params, lr=1e-3)
    activation = mg.tanh if net == "mnist" else mg.relu
    x, y = batch(net)

    def loss():
        scores = forward(x, params, activation)
        if net == "moons":
            return F.hinge_loss(scores, y) + 1e-4 * sum(mg.vdot(p, p) for p in params)
        return F.cross_entropy(scores, y)

    return training_step(optimizer, loss)


def torch_step(net: str) -> Callable[[], object]:
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(THREADS[net])
    params = [torch.nn.Parameter(torch.tensor(p)) for p in parameters(net)]
    make = torch.optim.SGD if net == "moons" else torch.optim.Adam
    optimizer = make(params, lr=1e-3, fused=True)
    activation = torch.tanh if net == "mnist" else torch.relu
    x, y = map(torch.tensor, batch(net))

    def loss():
        scores = forward(x, params, activation)
        if net == "moons":
            return torch.relu(1 - y * scores).mean() + 1e-4 * sum((p * p).sum() for p in params)
        return F.cross_entropy(scores, y)

    return training_step(optimizer, loss)


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
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS[net]), "OPENBLAS_NUM_THREADS": str(THREADS[net])}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", default=list(STEPS), metavar="NET", help=", ".join(STEPS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        make = minigrad_step if options.worker == "minigrad" else torch_step
        print(microseconds(make(options.nets[0]), STEPS[options.nets[0]]))
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
