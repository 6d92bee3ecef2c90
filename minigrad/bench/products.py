"""The floor under any training step of an MLP: its matrix products alone, in the fastest way that is to be had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg

from .nets import Net
from .peer import Peer


def native() -> Callable[..., None]:
    """Rounds of np.dot in native code, without Python between them."""
    import numba

    @numba.njit(error_model="numpy")
    def rounds(xs, ws, gs, ys, dxs, dws, count):
        for _ in range(count):
            for i in range(len(ws)):
                np.dot(xs[i], ws[i], ys[i])
            for i in range(len(ws) - 1, -1, -1):
                np.dot(xs[i].T, gs[i], dws[i])
                if i:  # nobody asks for the gradient of the data
                    np.dot(gs[i], ws[i].T, dxs[i])

    return rounds


def products(xs: Any, ws: Any, gs: Any) -> Any:
    """The same for `mg.compile`."""
    forward = [x @ w for x, w in zip(xs, ws, strict=True)]
    weights = [x.T @ g for x, g in zip(xs, gs, strict=True)]
    return forward, weights, [g @ w.T for g, w in zip(gs[1:], ws[1:], strict=True)]


class Products(Peer):
    """Of each layer: input by weight, and in the backward pass both gradients."""

    library = "numba"

    def __init__(self, net: Net, threads: int) -> None:
        super().__init__(net, threads)
        rng = np.random.default_rng(0)
        self.ws = tuple(w for name, w in net.parameters().items() if name.startswith("w"))
        self.xs = tuple(rng.standard_normal((net.batch, len(w)), np.float32) for w in self.ws)
        self.gs = tuple(rng.standard_normal((net.batch, w.shape[1]), np.float32) for w in self.ws)

    def start(self) -> None:
        self.outputs = [tuple(map(np.empty_like, arrays)) for arrays in (self.gs, self.xs, self.ws)]
        rounds = native()
        self.ways: list[Callable[[int], Any]] = [lambda n: rounds(self.xs, self.ws, self.gs, *self.outputs, n)]
        try:
            compiled = mg.compile(products)
            compiled(self.xs, self.ws, self.gs)
        except TypeError:  # no native form
            return
        self.ways.append(lambda n: [compiled(self.xs, self.ws, self.gs) for _ in range(n)])

    def advance(self, steps: int) -> list[float]:
        for way in self.ways:
            way(steps)
        return []

    def seconds(self, budget: float) -> float:
        found = []
        for way in self.ways:
            self.run = way  # type: ignore[method-assign, assignment]
            found.append(super().seconds(budget / len(self.ways)))
        return min(found)
