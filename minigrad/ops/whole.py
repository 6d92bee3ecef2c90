"""A whole function as one op: its graph is not kept, and its gradients are found in another way than by the walk."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..nests import flatten
from ..tensor import Tensor, plain
from .card import Op, together
from .elementwise import astype
from .picking import getitem
from .shape import reshape

SLOT = object()  # where in a nest a tensor goes


class Whole(Op):
    """The card of one call. Of several results, the op's output is all of them in one row, which is taken apart again.

    A subclass says in `run(arrays)` what the function returns (a nest of tensors), and in `gradients(g, y, inputs)`,
    with g and y such rows, a gradient for each input.
    """

    arity, defaults, sympy, domain, cases, kinks, note = None, {}, None, None, None, (), ""

    def __init__(self, name: str) -> None:
        self.name = name  # and no attribute that refers to the card itself: graphs have no cycles

    @property
    def vjp(self) -> together:  # type: ignore[override]
        rules = together(lambda g, y, *inputs: self.gradients(g, y, inputs))
        rules.composed = True
        return rules

    def run(self, arrays: tuple) -> Any:
        raise NotImplementedError

    def gradients(self, g: Any, y: Any, inputs: tuple) -> list[Any]:
        raise NotImplementedError

    def results(self, inputs: list[Any]) -> Any:
        """The nest of results on these inputs."""
        y = self(*inputs)
        return self.apart(y)

    def by_host(self, arrays: list[Any], inputs: tuple, params: dict[str, Any], first: Exception) -> Any:
        raise first  # of the user's function

    def forward(self, *arrays: Any) -> Any:
        leaves, self.rebuild = flatten(self.run(arrays))
        self.leaves = [SLOT if _is_float(x) else x for x in leaves]  # those without a gradient stay what they are
        values = [plain(x) for x in leaves if _is_float(x)]
        if not values:
            raise TypeError(f"the function returned no tensor of floating point numbers, but {str(leaves)[:60]}")
        self.parts = [(v.shape, v.dtype) for v in values]
        return self.row(values)

    def row(self, values: list[Any]) -> Any:
        """The op's output, from the results with a gradient, as arrays or as tensors."""
        return values[0] if len(values) == 1 else np.concatenate([np.reshape(v, (-1,)) for v in values])

    def apart(self, y: Any) -> Any:
        """The nest that stands in a row y (of values or gradients)."""
        pieces = iter([y] if len(self.parts) == 1 else self._pieces(y))
        return self.rebuild(iter([next(pieces) if leaf is SLOT else leaf for leaf in self.leaves]))

    def _pieces(self, y: Any) -> Iterator[Any]:
        start = 0
        for shape, dtype in self.parts:
            stop = start + math.prod(shape)
            piece = reshape(getitem(y, slice(start, stop)), shape)
            yield piece if piece.dtype == dtype else astype(piece, dtype)
            start = stop


def _is_float(x: Any) -> bool:
    x = x._data if isinstance(x, Tensor) else x
    return hasattr(x, "dtype") and x.dtype.kind in "fO"
