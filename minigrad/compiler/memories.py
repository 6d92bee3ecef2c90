"""What Python code could remember a call in: a step that is captured once must not count on being called again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from ..nn import Module
from ..tensor import fingerprint

MANY = 1000  # elements: of larger containers only the length is watched


def memories(*functions: Callable) -> dict[str, tuple[Any, Any]]:
    """By name, what the functions can write to, and a mark that a change in it would change."""
    return {name: (value, mark(value)) for f in functions for name, value in around(f)}


def changed_memory(before: dict[str, tuple[Any, Any]], *functions: Callable) -> str | None:
    """The name of something that is not as `memories(*functions)` found it before."""
    for name, (value, marked) in memories(*functions).items():
        if name not in before or value is not before[name][0] or marked != before[name][1]:
            return name
    return None


class Variables:
    """The variables that functions see, as far as their own lines name them."""

    def __init__(self, *functions: Any) -> None:
        plain = [f for f in (getattr(f, "__func__", f) for f in functions) if isinstance(f, FunctionType)]
        self.names = [(f.__globals__, n, f.__globals__.get(n)) for f in plain for n in f.__code__.co_names]
        self.cells = [(cell, contents(cell)) for f in plain for cell in f.__closure__ or ()]

    def values(self) -> list[Any]:
        return [value for *_, value in (*self.names, *self.cells)]

    def unchanged(self) -> bool:
        """Whether they are the same objects as in the beginning. (Asked before each call: it has to be quick.)"""
        try:
            for variables, name, before in self.names:
                if variables.get(name) is not before:
                    return False
            for cell, before in self.cells:
                if cell.cell_contents is not before:
                    return False
        except ValueError:  # one has no value
            return all(contents(cell) is before for cell, before in self.cells)
        return True


def contents(cell: Any) -> Any:
    """The value of a variable, None if it has none yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def around(f: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of an object, the variables around a function and the globals that it names."""
    if isinstance(f, Module):
        for path, module in f.named_modules():
            for name, value in vars(module).items():
                yield f"the attribute {f'{path}.{name}' if path else name}", value
            yield from around(type(module).forward)
    elif isinstance(f, FunctionType):
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            try:
                yield from variable(name, cell.cell_contents)
            except ValueError:  # it has no value yet
                continue
        for name in f.__code__.co_names:
            if name in f.__globals__:
                yield from variable(name, f.__globals__[name])
    elif isinstance(f, MethodType):
        yield from around(f.__self__)
        yield from around(f.__func__)
    elif not isinstance(f, type) and hasattr(f, "__dict__"):
        for name, value in vars(f).items():
            yield f"the attribute {name}", value
        yield from around(vars(type(f)).get("__call__"))


def variable(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    yield f"the variable {name}", value
    if isinstance(value, Module):
        yield from around(value)


def mark(value: Any) -> Any:
    """What a change inside a container or an array changes."""
    if isinstance(value, np.ndarray):
        return fingerprint(value) if value.size <= MANY else None
    if isinstance(value, dict):
        return len(value), tuple(map(id, value.values())) if len(value) <= MANY else None
    if isinstance(value, list | set):
        return len(value), tuple(map(id, value)) if len(value) <= MANY else None
    return None
