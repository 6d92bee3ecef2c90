"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, overload

from .module import Module

__all__ = ["ModuleList", "Sequential"]


class ModuleList(Module):
    """Hold modules in order, registered under "0", "1", ...; a list whose parameters are seen.

    >>> layers = mg.nn.ModuleList([mg.nn.Linear(2, 2) for _ in range(3)])
    >>> len(layers), len(list(layers.parameters()))
    (3, 6)
    """

    def __init__(self, modules: Any = ()) -> None:
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> Any:
        """Add a module at the end; returns the container."""
        return self._add(str(len(self)), module)

    def _add(self, name: str, module: Any) -> Any:
        if not isinstance(module, Module):
            hint = f"; an instance is needed: {module.__name__}(...)" if isinstance(module, type) else ""
            raise TypeError(f"{type(self).__name__}: {module!r} is no Module{hint}")
        if not name or "." in name or hasattr(self, name):
            raise ValueError(f"{type(self).__name__}: {name!r} cannot name a module: it is empty, taken or has a dot")
        setattr(self, name, module)
        return self

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Any: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            part = type(self)()
            for name, module in list(self.named_children())[index]:
                part._add(name, module)
            return part
        return list(self.children())[index]


class Sequential(ModuleList):
    """Apply modules one after another, each to the output of the one before.

    Takes the modules as arguments, or one ordered dict of name to module. A slice is a Sequential again, of the same
    modules. Raises TypeError for what is no module.

    >>> model = mg.nn.Sequential(mg.nn.Linear(2, 4), mg.nn.Tanh(), mg.nn.Linear(4, 1))
    >>> model(np.zeros((5, 2))).shape
    (5, 1)
    >>> model[1]
    Tanh()
    """

    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self._add(name, module)
        else:
            super().__init__(modules)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x
