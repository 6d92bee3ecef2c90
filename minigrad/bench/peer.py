"""What a peer is: somebody who trains a net, and can be timed at it."""

from __future__ import annotations

import gc
import time
import tracemalloc
from typing import Any

import numpy as np

from .nets import Net


class Peer:
    """A library, in one way of using it. Subclasses say how the parts of a step are done."""

    library = ""  # to import, if it is there
    words: Any = None

    def __init__(self, net: Net, threads: int) -> None:
        self.net, self.threads = net, threads
        self.x, self.y = net.data()

    def start(self) -> None:
        """Begin anew, from the initial parameters."""
        raise NotImplementedError

    def step(self) -> Any:
        """Take a step; returns its loss, which need not be computed yet."""
        raise NotImplementedError

    def advance(self, steps: int) -> list[float]:
        """Take at least so many steps on the first batch; the losses of all that were taken."""
        return [float(self.step()) for _ in range(steps)]

    def run(self, steps: int) -> None:
        """Take exactly so many steps, in this peer's fastest way."""
        for _ in range(steps):
            self.step()

    def memory(self) -> int | None:
        """The most bytes in arrays that training needs at a time: parameters, state, batch, activations."""
        return None

    def loss(self, p: Any, x: Any, y: Any) -> Any:
        return self.net.loss(self.words, p, self.net.scores(self.words, p, x), y)

    def seconds(self, budget: float) -> float:
        """The best time of a step over as many runs as the budget allows: what it takes where nothing disturbs."""
        best, end = float("inf"), time.perf_counter() + budget
        while time.perf_counter() < end or best == float("inf"):
            start = time.perf_counter()
            self.run(self.net.steps)
            best = min(best, time.perf_counter() - start)
        return best / self.net.steps


def numpy_bytes(peer: Peer, steps: int = 3, besides: bool = True) -> int:
    """The bytes of NumPy's arrays that a training which begins now holds.

    With `besides`, and of what a step takes for a time: arrays, but also Python's objects, which nobody tells apart.
    """
    gc.collect()
    tracemalloc.start()
    try:
        peer.x, peer.y = peer.x.copy(), peer.y.copy()
        peer.start()
        peer.run(steps)
        gc.collect()
        arrays = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
        held = sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([arrays]).traces)
        if not besides:
            return held
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        peer.run(steps)
        return held + tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
