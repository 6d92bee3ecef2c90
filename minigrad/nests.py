"""Nests of tuples, lists and dicts: taken apart into their leaves, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def flatten(nest: Any) -> tuple[list[Any], Callable[[Iterator[Any]], Any]]:
    """The leaves of a nest, and the function that rebuilds the nest from an iterator over new leaves."""
    if not isinstance(nest, (dict, tuple, list)):
        return [nest], next
    children = [flatten(child) for child in (nest.values() if isinstance(nest, dict) else nest)]

    def rebuild(leaves: Iterator[Any]) -> Any:
        return like(nest, [build(leaves) for _, build in children])

    return [leaf for leaves, _ in children for leaf in leaves], rebuild


def like(nest: Any, parts: list[Any]) -> Any:
    """The parts in a tuple, list or dict like `nest`."""
    if isinstance(nest, dict):
        return dict(zip(nest, parts, strict=True))
    return type(nest)(*parts) if hasattr(nest, "_fields") else type(nest)(parts)  # a namedtuple has _fields


def leaves_like(nest: Any, form: Any, what: str) -> list[Any]:
    """The leaves of a nest in the order of those of `form`. Raises ValueError unless the two have the same form."""
    if not isinstance(form, (dict, tuple, list)):
        return [nest]
    keys: Any = form if isinstance(form, dict) else range(len(form))
    same = (
        isinstance(nest, dict) and nest.keys() == form.keys()
        if isinstance(form, dict)
        else isinstance(nest, (tuple, list)) and len(nest) == len(form)
    )
    if not same:
        raise ValueError(f"{what}: {nest!r:.60} should be a nest of the same form as {form!r:.60}")
    return [leaf for k in keys for leaf in leaves_like(nest[k], form[k], what)]


def map_nest(function: Callable, nest: Any) -> Any:
    """`function` of every leaf of a nest."""
    leaves, rebuild = flatten(nest)
    return rebuild(iter([function(leaf) for leaf in leaves]))
