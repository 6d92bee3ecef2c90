"""Training steps of small nets, ours beside those of other libraries: what `minigrad bench` runs.

`measured` gives rows, `report` makes tables and pictures of them. The nets are in `nets.py`, a file for each library
says how it trains them, and `worker.py` gives each a process of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from .nets import NETS, SCALES, scaled
from .worker import PEERS, Spec, Worker, net_of

__all__ = ["NETS", "PEERS", "SCALES", "Row", "compared", "measured", "missing", "scaled"]

AGREEMENT = 1e-3  # of losses, relative: orders of summing differ, and Adam makes much of a small gradient
FLOOR = "products"


@dataclass
class Row:
    """One peer at one net. Without a figure, `error` says why."""

    net: str
    peer: str
    size: int | None = None  # of the measure that grows, where one does
    microseconds: float | None = None  # a step, the median of `rounds`
    ratio: float | None = None  # to the fastest of other libraries, in the same rounds
    first_seconds: float | None = None  # what the first call takes besides a step: tracing and compiling
    memory_bytes: int | None = None
    agrees: bool | None = None  # its losses are those of the others
    error: str = ""
    rounds: list[float] = field(default_factory=list)  # microseconds
    losses: list[float] = field(default_factory=list)  # of the first steps


def missing(peer: str) -> str:
    """The library that a peer needs and that is not there, or nothing."""
    module, kind = PEERS[peer]
    if peer.startswith("minigrad"):
        return ""
    needed = [getattr(import_module(f"{__name__}.{module}"), kind).library, *(["optax"] if "jax" in peer else [])]
    return next((name for name in needed if find_spec(name) is None), "")


def measured(
    specs: Iterable[Spec], peers: Iterable[str], rounds: int = 5, seconds: float = 0.3, threads: int | None = None,
    memory: bool = True, say: Callable[[str], object] = lambda text: None,
) -> Iterator[list[Row]]:  # fmt: skip
    """For each net, a row for each peer. All peers of a net take turns, `seconds` at a time, for some rounds.

    `threads` is for all; without it, peers take one thread where the net is small and otherwise all processors, and
    minigrad chooses for itself. `say` is told what is going on.
    """
    peers = list(peers)
    for spec in specs:
        name = spec["net"] if "net" in spec else " ".join(f"{key} {value}" for key, value in spec.items())
        size = None if "net" in spec else next(iter(spec.values()))
        rows = [Row(name, peer, size) for peer in peers]
        with ExitStack() as stack:
            caches = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            workers = []
            for row in rows:
                (folder := caches / row.peer).mkdir(mode=0o700)
                workers.append(Worker(row.peer, spec, threads, folder))
                stack.callback(workers[-1].close)
                say(f"{name}: {row.peer} compiles")
                take(row, workers[-1].ask("prepare"))
            for i in range(rounds):
                say(f"{name}: round {i + 1} of {rounds}")
                for row, worker in zip(rows, workers, strict=True):
                    if not row.error:
                        take(row, worker.ask("round", seconds))
            for row, worker in zip(rows, workers, strict=True):
                if memory and not row.error:
                    say(f"{name}: memory of {row.peer}")
                    take(row, worker.ask("memory"))
        compared(rows)
        yield rows


def take(row: Row, answer: dict[str, Any]) -> None:
    """Put a worker's answer into its row."""
    if "error" in answer:
        row.error = answer["error"]
    elif "seconds" in answer:
        row.rounds.append(answer["seconds"] * 1e6)
    elif "bytes" in answer:
        row.memory_bytes = answer["bytes"]
    else:
        row.first_seconds, row.losses = answer["first_seconds"], answer["losses"]


def compared(rows: list[Row]) -> None:
    """Fill in what follows from the rounds and losses of all peers of a net together.

    >>> ours, theirs = Row("xor", "minigrad", rounds=[1.0, 2.0, 3.0]), Row("xor", "torch", rounds=[3.0, 4.0, 9.0])
    >>> compared([ours, theirs])
    >>> ours.microseconds, ours.ratio
    (2.0, 0.3333333333333333)
    """
    timed = [row for row in rows if row.rounds and not row.error]
    for row in timed:
        row.microseconds = median(row.rounds)
    others = [row for row in timed if not row.peer.startswith("minigrad") and row.peer != FLOOR]
    if others:
        fastest = min(others, key=lambda row: median(row.rounds))
        for row in timed:
            row.ratio = median(a / b for a, b in zip(row.rounds, fastest.rounds, strict=True))
    told = [row for row in rows if row.losses]
    if len(told) > 1:
        losses = np.array([row.losses for row in told])
        with np.errstate(invalid="ignore"):  # a loss that is not finite agrees with nothing
            usual = np.median(losses, axis=0)
            near = (np.abs(losses - usual) <= AGREEMENT * np.maximum(np.abs(usual), 1e-3)).all(axis=1)
        for row, agrees in zip(told, near, strict=True):
            row.agrees = bool(agrees)
