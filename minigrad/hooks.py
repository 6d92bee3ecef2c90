"""Functions that look at the gradient of a tensor as it passes, and may replace it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

_number = itertools.count().__next__


class Hooks(dict):
    """The hooks of one tensor, in the order in which they were registered, and whether its gradient is kept as well."""

    def __init__(self, keep: bool) -> None:
        super().__init__()
        self.keep = keep

    def add(self, function: Callable[[Any], Any]) -> Handle:
        """Register a hook."""
        handle = Handle(self, _number())
        self[handle.number] = function
        return handle


class Handle:
    """What `register_hook` returns: `remove()` takes the hook off again."""

    def __init__(self, hooks: Hooks, number: int) -> None:
        self.hooks, self.number = hooks, number

    def remove(self) -> None:
        """Take the hook off its tensor; a second time changes nothing."""
        self.hooks.pop(self.number, None)
