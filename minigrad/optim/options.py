"""Hyperparameters: what each may be."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

FLAGS = {"nesterov", "centered"}
Range = tuple[Callable[[float], bool], str]
NOT_NEGATIVE: Range = (lambda x: x >= 0, " 0 or above")
# What a number may be, where that is not the answer.
RANGES: dict[str, Range] = {
    "dampening": (lambda x: True, ""),
    "beta": (lambda x: 0 <= x < 1, " at least 0 and below 1"),
    "rho": (lambda x: 0 <= x <= 1, " between 0 and 1"),
    "alpha": (lambda x: 0 <= x <= 1, " between 0 and 1"),
}


def check_option(owner: str, name: str, value: Any, where: str = "") -> None:
    """Raise TypeError or ValueError for a hyperparameter out of range; `where` says which group has been given it."""
    what = f"{owner}: {name}{where}"
    if name in FLAGS:
        if not isinstance(value, bool):
            raise TypeError(f"{what} must be True or False, not {value!r}")
    elif name == "betas":
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise TypeError(f"{what} must be a pair such as (0.9, 0.999), not {value!r}")
        for beta in value:
            check_option(owner, "beta", beta, where)
    elif isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{what} must be a number, not {value!r}")
    else:
        within, words = RANGES.get(name, NOT_NEGATIVE)
        if not (math.isfinite(value) and within(float(value))):
            raise ValueError(f"{what} must be a finite number{words}, not {value!r}")
