"""Modules made of modules, and modules that hold parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, overload

from ..tensor import Tensor
from .module import InputError, Module, Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


def _module(container: Module, module: Any) -> Module:
    if not isinstance(module, Module):
        hint = f"; an instance is needed: {module.__name__}(...)" if isinstance(module, type) else ""
        raise TypeError(f"{type(container).__name__}: {module!r} is no Module{hint}")
    return module


def _parameter(container: Module, value: Any) -> Tensor:
    """A parameter: the tensor itself if it is one, else a new one of its values."""
    return value if isinstance(value, Tensor) and value.is_leaf and value.requires_grad else Parameter(value)


def _set(container: Any, name: Any, value: Any) -> Any:
    """Hold a module or parameter under a name; returns the container."""
    taken = isinstance(name, str) and name not in container._kinds and hasattr(container, name)
    if not isinstance(name, str) or not name or "." in name or taken:
        what = "module" if isinstance(value, Module) else "parameter"
        raise ValueError(f"{type(container).__name__}: {name!r} cannot name a {what}: it is empty, taken or has a dot")
    setattr(container, name, value)
    return container


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

    def extend(self, modules: Any) -> Any:
        """Add modules at the end; returns the container."""
        for module in modules:
            self.append(module)
        return self

    def _add(self, name: str, module: Any) -> Any:
        return _set(self, name, _module(self, module))

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


class _Named(Module):
    """A dict whose values are seen: what the two dicts below share."""

    def __init__(self, values: Any = None) -> None:
        self.update({} if values is None else values)

    def update(self, values: Any) -> None:
        """Set the values of a mapping, or of pairs of name and value."""
        for name, value in dict(values).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        _set(self, name, value)

    def __getitem__(self, name: str) -> Any:
        if name not in self._kinds:
            raise KeyError(f"{type(self).__name__} has no {name!r}; it has {', '.join(self._kinds) or 'nothing'}")
        return self.__dict__[name]

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def pop(self, name: str) -> Any:
        """Remove a name; returns what it stood for."""
        value = self[name]
        delattr(self, name)
        return value

    def keys(self) -> Iterator[str]:
        """The names, in the order in which they were set."""
        return iter(list(self._kinds))

    def values(self) -> Iterator[Any]:
        return (self[name] for name in self.keys())

    def items(self) -> Iterator[tuple[str, Any]]:
        return ((name, self[name]) for name in self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self._kinds

    def __iter__(self) -> Iterator[str]:
        return self.keys()

    def __len__(self) -> int:
        return len(self._kinds)


class ModuleDict(_Named):
    """Hold modules by name; a dict whose parameters are seen.

    >>> heads = mg.nn.ModuleDict({"mean": mg.nn.Linear(2, 1), "scale": mg.nn.Linear(2, 1)})
    >>> list(heads), heads["mean"]
    (['mean', 'scale'], Linear(in_features=2, out_features=1, bias=True))
    """

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, _module(self, value))


class ParameterDict(_Named):
    """Hold parameters by name; a dict that is seen. What is no parameter yet becomes one, with a copy of the values.

    >>> weights = mg.nn.ParameterDict({"w": np.ones((2, 3)), "b": np.zeros(3)})
    >>> [path for path, _ in weights.named_parameters()]
    ['w', 'b']
    """

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, _parameter(self, value))


class ParameterList(Module):
    """Hold parameters in order; a list that is seen. What is no parameter yet becomes one, with a copy of the values.

    >>> weights = mg.nn.ParameterList([np.ones((2, 3)), np.zeros(3)])
    >>> [path for path, _ in weights.named_parameters()]
    ['0', '1']
    """

    def __init__(self, values: Any = ()) -> None:
        for value in values:
            self.append(value)

    def append(self, value: Any) -> Any:
        """Add a parameter at the end; returns the container."""
        return _set(self, str(len(self)), _parameter(self, value))

    def extend(self, values: Any) -> Any:
        """Add parameters at the end; returns the container."""
        for value in values:
            self.append(value)
        return self

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[Tensor]:
        return (value for _, value in self._own("parameter"))

    def __getitem__(self, index: int) -> Tensor:
        return list(self)[index]


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
        before = None
        for module in self:
            if isinstance(x, tuple) and before is not None:
                raise InputError(
                    module,
                    f"a tuple of {len(x)} came, as {type(before).__name__} returns it, and this layer expects one "
                    "array: put a module between that takes one of them",
                )
            x, before = module(x), module
        return x
