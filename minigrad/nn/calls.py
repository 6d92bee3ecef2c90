"""A module as a function of its parameters, for the transforms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..names import known
from ..tensor import as_tensor
from .module import Module

__all__ = ["functional_call"]


def functional_call(module: Module, parameters: Mapping[str, Any], args: Any = (), kwargs: Any = None) -> Any:
    """What the module returns with other tensors in place of parameters and buffers, named by their paths.

    `args` is a tuple, or the only argument. Those that are not named stay the module's own, and the module is
    afterwards as it was; where a parameter is shared, naming one of its paths replaces it everywhere. So a module
    becomes a function of its parameters, which `mg.grad`, `mg.vmap` and the others take. Raises ValueError for an
    unknown path, and for another shape.

    >>> model = mg.nn.Linear(2, 1)
    >>> def loss(parameters, x, t):
    ...     return ((mg.nn.functional_call(model, parameters, x) - t) ** 2).sum()
    >>> each = mg.vmap(mg.grad(loss), in_axes=(None, 0, 0))
    >>> {path: g.shape for path, g in each(dict(model.named_parameters()), np.zeros((5, 2)), np.zeros((5, 1))).items()}
    {'weight': (5, 1, 2), 'bias': (5, 1)}
    """
    places: dict[int, list[tuple[Module, str]]] = {}
    own = {}
    for path, part in module._walk():
        for name, kind in part._kinds.items():
            value = vars(part)[name]
            if kind != "module" and value is not None:
                own[f"{path}.{name}" if path else name] = value
                places.setdefault(id(value), []).append((part, name))
    before = []
    try:
        for path, value in parameters.items():
            old, value = own[known("parameter", path, own)], as_tensor(value)
            if old.shape != value.shape:
                raise ValueError(f"functional_call: {path!r} has shape {old.shape}, and was given {value.shape}")
            for part, name in places[id(old)]:
                before.append((part, name, vars(part)[name]))
                vars(part)[name] = value
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        for part, name, old in reversed(before):
            vars(part)[name] = old
