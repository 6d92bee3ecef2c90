"""What answers NumPy's calls in the place of an array, and the functions that take either."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np


class StandIn(np.lib.mixins.NDArrayOperatorsMixin):
    """What answers NumPy's calls in the place of an array: a batched array, or one of a function that is compiled."""

    __slots__ = ()
    weak = False  # whether it stands for a number of Python's, which leaves arrays their dtype

    if TYPE_CHECKING:  # they have what arrays have

        def __getattr__(self, name: str) -> Any: ...


def as_array(x: Any, dtype: Any = None) -> Any:
    """np.asarray, which leaves what stands in for an array as it is."""
    if not isinstance(x, StandIn):
        return np.asarray(x, dtype)
    return x if dtype is None else x.astype(dtype, copy=False)


def beneath(function: Callable, x: Any) -> Any:
    """function(x), for one that is indifferent to further axes in front, by the values behind all levels."""
    return x.beneath(function) if isinstance(x, StandIn) else function(x)
