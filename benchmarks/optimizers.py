"""The step of every optimizer beside torch's and beside the machine's memory bandwidth, from 100 to 10 million float32.

    python benchmarks/optimizers.py [--quick] [NAME ...]

Torch runs its fused implementation, and where it has none, its foreach one. Both sides use one thread up to 524,288
parameters and all processors above. Rounds of both alternate, and their medians are compared. Bandwidth counts
what the formula has to move (Adam: p, g, m and v read, p, m and v written, 28 bytes a parameter), beside np.copyto of
arrays far larger than the caches, on as many threads, read and written bytes counted.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np
import torch

import minigrad as mg
from minigrad.optim.block import THREADED
from minigrad.optim.kernel import read
from minigrad.parallel import threads

CASES = {  # name: (class, options, torch's implementation)
    "sgd": ("SGD", {"lr": 1e-3}, {"fused": True}),
    "momentum": ("SGD", {"lr": 1e-3, "momentum": 0.9}, {"fused": True}),
    "nesterov": ("SGD", {"lr": 1e-3, "momentum": 0.9, "nesterov": True}, {"fused": True}),
    "adagrad": ("Adagrad", {}, {"fused": True}),
    "adadelta": ("Adadelta", {}, {"foreach": True}),
    "rmsprop": ("RMSprop", {}, {"foreach": True}),
    "rmsprop centered": ("RMSprop", {"centered": True, "momentum": 0.9}, {"foreach": True}),
    "adam": ("Adam", {}, {"fused": True}),
    "adamw": ("AdamW", {}, {"fused": True}),
}
SIZES = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000]


def sample(step, seconds):
    """Seconds a step takes, from as many steps as fit into a share of time."""
    start = time.perf_counter()
    step()
    count = max(1, int(seconds / max(time.perf_counter() - start, 1e-6)))
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count


def interleaved(steps, rounds, seconds):
    """The median time of each step, over rounds in which they alternate."""
    for step in steps:
        step()
    times = [[sample(step, seconds) for step in steps] for _ in range(rounds)]
    return [median(column) for column in zip(*times, strict=True)]


def our_step(cls, options, values, gradient):
    p = mg.tensor(values, requires_grad=True)
    p.grad = mg.tensor(gradient)
    optimizer = getattr(mg.optim, cls)([p], **options)
    return optimizer.step, len(read(optimizer.rule(optimizer.param_groups[0])).state)


def torch_step(cls, options, values, gradient):
    p = torch.tensor(values, requires_grad=True)
    p.grad = torch.tensor(gradient)
    return getattr(torch.optim, cls)([p], **options).step


def copy_step():
    """A copy far beyond the caches, on all threads, and its bytes read and written."""
    source = np.ones(1 << 25, "f4")
    target = np.zeros_like(source)
    pairs = list(zip(np.array_split(target, threads()), np.array_split(source, threads()), strict=True))
    pool = ThreadPoolExecutor(threads())
    return lambda: list(pool.map(lambda pair: np.copyto(*pair), pairs)), 2 * source.nbytes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(CASES), metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and no more than a million parameters")
    arguments = parser.parse_args()
    rounds, seconds = (3, 0.01) if arguments.quick else (15, 0.05)
    copy, copied = copy_step()
    rng = np.random.default_rng(0)
    print(f"{threads()} processors; times in microseconds, bandwidth in GB/s\n")
    print(f"{'optimizer':18}{'parameters':>12}{'minigrad':>11}{'torch':>11}{'ratio':>8}{'bandwidth':>11}{'of copy':>9}")
    for name in arguments.names:
        cls, options, implementation = CASES[name]
        for size in SIZES[: -1 if arguments.quick else None]:
            values, gradient = rng.normal(size=(2, size)).astype("f4")
            torch.set_num_threads(threads() if size > THREADED else 1)
            ours, states = our_step(cls, options, values, gradient)
            theirs = torch_step(cls, options | implementation, values, gradient)
            large = size > THREADED
            times = interleaved([ours, theirs, *([copy] if large else [])], rounds, seconds)
            moved = size * 4 * (3 + 2 * states) / times[0] / 1e9
            share = f"{moved * 1e9 / (copied / times[2]):9.0%}" if large else ""
            print(
                f"{name:18}{size:12,}{times[0] * 1e6:11.2f}{times[1] * 1e6:11.2f}{times[1] / times[0]:8.2f}"
                f"{moved:11.1f}{share}",
                flush=True,
            )


if __name__ == "__main__":
    main()
