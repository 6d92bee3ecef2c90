"""Code that asks for the value of one sample, where there are many: the errors, and whose code it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

_here = Path(__file__).parent.parent
_between = (str(_here / "batching") + os.sep, str(_here / "tensor.py"))  # through which everybody asks for values

SHARED = (
    "a value for each sample would be written into an array that all samples share: write `a = a + b` for `a += b`, "
    "and make arrays to write into by np.zeros_like(x) of an x that vmap passes in"
)


class NotBatched(TypeError):
    """The value of one sample was asked for where there are many."""

    __module__ = "minigrad.batching"  # where users find it, and read its name


class Uneven(NotBatched):
    """The results for different samples have different shapes, or lengths that differ are asked for."""

    __module__ = "minigrad.batching"


def asks_in_the_library() -> bool:
    """Whether the line that asks for a value is in the library's code, and not in the user's."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(_between):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(str(_here))


def asked_by_the_library(error: NotBatched) -> bool:
    """Whether it was a line of the library's code that needed the value of one sample."""
    trace, last = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        last, trace = last if file.startswith(_between) else file, trace.tb_next
    return last.startswith(str(_here)) and not isinstance(error, Uneven)
