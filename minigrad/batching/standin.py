"""What answers NumPy's calls in the place of an array, and the functions that take either."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

# What arrays make of x**n before NumPy 2.3, where n is one number. np.power differs: that of -inf and 0.5 is inf, not
# nan, and a float32 to the power of np.float64(2) is a float64.
POWERS: dict[float, Callable] = {}
if np.lib.NumpyVersion(np.__version__) < "2.3.0":
    POWERS = {-1: np.reciprocal, 0: np.ones_like, 0.5: np.sqrt, 1: np.positive, 2: np.square}


class StandIn(np.lib.mixins.NDArrayOperatorsMixin):
    """What answers NumPy's calls in the place of an array: a batched array, or one of a function that is compiled."""

    __slots__ = ()
    weak = False  # whether it stands for a number of Python's, which leaves arrays their dtype
    kind = property(lambda self: np.ndarray if self.ndim else np.generic)  # what it stands for

    def __pow__(self, n: Any) -> Any:
        special = self._special_power(n)
        return special(self) if special else super().__pow__(n)

    def __ipow__(self, n: Any) -> Any:
        special = self._special_power(n)
        if special is None:
            return super().__ipow__(n)
        self[...] = special(self)
        return self

    def _special_power(self, n: Any) -> Callable | None:
        if not POWERS or self.kind is not np.ndarray or self.dtype.kind != "f" or isinstance(n, StandIn) or np.ndim(n):
            return None
        return POWERS.get(float(n))

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
