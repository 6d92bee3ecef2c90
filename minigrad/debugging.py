"""Where did the nan come from? `with mg.debug():` watches every value and every gradient."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from . import autodiff
from .batching import innermost_array
from .ops.card import Op
from .tensor import Tensor, describe

SAFE_BRANCH = "make the input of the branch safe first, as in mg.where(x > 0, mg.log(mg.where(x > 0, x, 1)), 0)"
_here = str(Path(__file__).parent)


@contextmanager
def debug() -> Iterator[None]:
    """Inside the block, stop at the first value or gradient that is not finite, and name the line it came from.

    It costs nothing outside the block, and a look at every array inside. Raises FloatingPointError.

    >>> import minigrad as mg
    >>> with mg.debug():
    ...     mg.log(mg.tensor([1.0, 0.0]))
    Traceback (most recent call last):
        ...
    FloatingPointError: log: the value at (1,) is -inf, from the input 0.0. Made by ...
    """
    call, check = Op.__call__, autodiff.check_gradient

    def watched(self: Op, *inputs: Any, **params: Any) -> Any:
        with np.errstate(all="ignore"):  # the error below says more than NumPy's warning would
            out = call(self, *inputs, **params)
        if isinstance(out, Tensor):
            out._where = _users_line()
            check_value(self, inputs, out)
        return out

    Op.__call__, autodiff.check_gradient = watched, check_gradient  # type: ignore[method-assign]
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        Op.__call__, autodiff.check_gradient = call, check  # type: ignore[method-assign]


def check_value(op: Op, inputs: tuple, out: Tensor) -> None:
    """Raise FloatingPointError where an op made something that is not finite out of finite inputs."""
    place = first_not_finite(out._data)
    if place is None or any(first_not_finite(x._data if isinstance(x, Tensor) else x) is not None for x in inputs):
        return
    given = [_values(x) for x in inputs]
    at = [str(x[place]) for x in given if x.shape == _values(out).shape]
    source = f", from the input {' and '.join(at)}" if at else ""
    raise FloatingPointError(
        f"{op.name}: the value{_at(place)} is {_values(out)[place]}{source}. Made by {out._where}. "
        f"If `where` leaves this element out, its gradient is still 0 * inf = nan: {SAFE_BRANCH}"
    )


def check_gradient(t: Tensor, x: Tensor, g: Any, gx: Any) -> None:
    """Raise FloatingPointError where a finite gradient g of t became one of x that is not finite."""
    g, gx = _values(g), _values(gx)
    place = first_not_finite(gx)
    if place is None or first_not_finite(g) is not None:
        return
    where = getattr(t, "_where", "a line that ran outside mg.debug()")
    sentence = f"{t._op.name}: the gradient of {describe(x)}{_at(place)} is {gx[place]}. The op ran in {where}"
    if g.shape == gx.shape and g[place] == 0:
        sentence += (
            f". The gradient that came in is 0, as from a branch that `where` did not choose, and {t._op.name} has no "
            f"finite slope there: {SAFE_BRANCH}"
        )
    raise FloatingPointError(sentence)


def first_not_finite(x: Any) -> tuple[int, ...] | None:
    """The index of the first element that is nan or infinite; inside `mg.vmap`, with that of the sample before it."""
    x = np.asarray(innermost_array(x))
    if x.dtype.kind != "f" or np.isfinite(x).all():
        return None
    return tuple(np.argwhere(~np.isfinite(x))[0].tolist())


def _values(x: Any) -> np.ndarray:
    return np.asarray(innermost_array(x._data if isinstance(x, Tensor) else x))


def _at(place: tuple[int, ...]) -> str:
    return f" at {place}" if place else ""


def _users_line() -> str:
    """The innermost line of code outside the library."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_here):
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    return f"{Path(file).name}, line {line}: {linecache.getline(file, line).strip()}"
