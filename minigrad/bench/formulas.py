"""Optimizers as formulas on whole arrays, for the peers that bring none: autograd and PyTensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .nets import OPTIMIZERS

STATES = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2, "rmsprop": 1}  # arrays beside each parameter


def updated(name: str, t: Any, p: Any, g: Any, state: list[Any], sqrt: Callable[[Any], Any]) -> tuple[Any, list[Any]]:
    """The parameter after step t = 1, 2, ..., and what the optimizer remembers of it."""
    options = OPTIMIZERS[name][1]
    lr = options["lr"]
    if name == "sgd":
        return p - lr * g, []
    if name == "momentum":
        (b,) = state
        b = options["momentum"] * b + g
        return p - lr * b, [b]
    if name == "rmsprop":
        (v,) = state
        v = options["alpha"] * v + (1 - options["alpha"]) * g * g
        return p - lr * g / (sqrt(v) + 1e-8), [v]
    m, v = state
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    p = p * (1 - lr * options.get("weight_decay", 0))
    return p - lr / (1 - 0.9**t) * m / (sqrt(v / (1 - 0.999**t)) + 1e-8), [m, v]
