"""A name that a user gives, checked against the known ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def known(what: str, name: object, choices: Iterable[str]) -> str:
    """Return `name` if it is one of the choices, else raise ValueError with the nearest.

    >>> known("reduction", "men", ["mean", "sum", "none"])
    Traceback (most recent call last):
        ...
    ValueError: unknown reduction 'men': did you mean 'mean'? Known are mean, sum, none
    """
    choices = list(choices)
    if isinstance(name, str) and name in choices:
        return name
    near = difflib.get_close_matches(str(name), choices, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"unknown {what} {name!r}: {hint}Known are {', '.join(choices)}")
