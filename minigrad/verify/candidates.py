"""The gradients that are checked: what backpropagation gives, and what a user claims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..symbolic import SymbolicArray, on_symbols, symbolic_array
from ..tensor import Tensor
from ..transforms import leaves_like
from .problem import Problem, Values, copies, foreign_array


class Backpropagation:
    """Our gradient, of first order or (along a direction) of second."""

    title = "our gradient"

    def __init__(self, order: int = 1) -> None:
        self.order = order

    def __call__(self, problem: Problem, values: Values, directions: Any = ()) -> Values:
        return problem.gradients(values, directions)

    def line(self, problem: Problem, values: Values, leaf: int, index: tuple[int, ...], directions: Any = ()) -> str:
        """Python that shows one element of the gradient."""
        argument, key = place(problem, leaf)
        arguments = problem.arguments(values)
        names = [problem.names[i] for i in problem.positions]
        shown = [name if name in names else source(x) for name, x in zip(problem.names, arguments, strict=True)]
        f, given = name_of(problem.f, "f"), ", ".join(source(arguments[i]) for i in problem.positions)
        if directions or problem.weights and len(shown) > len(names):  # as a function of the active arguments alone
            f = f"{f}({', '.join(shown)})"
            if directions and problem.weights:
                f = f"({f} * {source(problem.weights[0])}).sum()"
            f = f"lambda {', '.join(names)}: {f}"
        place_among = problem.positions.index(argument)
        if directions:
            v = iter(directions)
            along = problem.arguments([next(v) if leaf.active else None for leaf in problem.leaves])
            seed = source(tuple(along[i] for i in problem.positions))
            by = tuple(range(len(names)))
            return f"mg.vjp(mg.grad({f}, {by}), {given})[1]({seed})[{place_among}]{key}{element(index)}"
        if problem.weights:
            weights = source(problem.weights[0] if len(problem.weights) == 1 else tuple(problem.weights))
            return f"mg.vjp({f}, {given})[1]({weights})[{place_among}]{key}{element(index)}"
        return f"mg.grad({f}, {argument})({inputs(problem, values)}){key}{element(index)}"


class Claim:
    """A gradient that somebody wrote: a function of the inputs, or its arrays at the example inputs."""

    title = "claimed gradient"
    order = 1

    def __init__(self, claimed: Any) -> None:
        self.claimed = claimed

    def __call__(self, problem: Problem, values: Values, directions: Any = ()) -> Values:
        if not callable(self.claimed):
            return by_leaf(problem, self.claimed)
        symbolic = any(isinstance(v, SymbolicArray) for v in values)
        claimed = on_symbols(self.claimed) if symbolic else self.claimed
        with np.errstate(all="ignore"):
            return by_leaf(problem, claimed(*problem.arguments(copies(values))))

    @property
    def name(self) -> str:
        return name_of(self.claimed, "claimed_grad")

    def line(self, problem: Problem, values: Values, leaf: int, index: tuple[int, ...], directions: Any = ()) -> str:
        """Python that shows one element of the claimed gradient."""
        if not callable(self.claimed):
            return f"{self.name}{self.which(problem, leaf)}{element(index)}"
        return f"{self.name}({inputs(problem, values)}){self.which(problem, leaf)}{element(index)}"

    def which(self, problem: Problem, leaf: int) -> str:
        """The subscripts of one leaf's gradient in what is claimed."""
        argument, key = place(problem, leaf)
        result = self.claimed
        if callable(result):
            result = result(*problem.arguments(copies(problem.values)))
        part = by_argument(problem, result)[argument]
        if part is result:
            return key
        if isinstance(result, dict):
            return f"[{problem.names[argument]!r}]{key}"
        return f"[{next(i for i, x in enumerate(result) if x is part)}]{key}"


def by_argument(problem: Problem, result: Any) -> dict[int, Any]:
    """What a claimed gradient returned, by the position of the argument."""
    positions, names = problem.positions, problem.names
    if isinstance(result, dict) and result and result.keys() <= set(names):
        return {names.index(name): part for name, part in result.items()}
    if isinstance(result, tuple | list):
        if len(result) == len(positions) and (len(positions) > 1 or isinstance(result, tuple)):
            return dict(zip(positions, result, strict=True))
        if len(result) == len(names) > 1:
            return dict(enumerate(result))
    parts = isinstance(result, tuple) and any(np.ndim(as_array(part)) for part in result)
    if len(positions) == 1 and (not parts or problem.counts[positions[0]] > 1):
        return {positions[0]: result}
    wanted = ", ".join(names[i] for i in positions)
    found = f"{len(result)} parts" if isinstance(result, tuple | list) else f"{type(result).__name__} {result!r:.60}"
    raise ValueError(
        f"verify.claim: the claimed gradient returned {found}, and one array for each of {wanted} is wanted: a tuple "
        "in this order (None where nothing is claimed), a dict by these names, or argnums= for what it is about"
    )


def by_leaf(problem: Problem, result: Any) -> Values:
    """What a claimed gradient returned, one array (or None) for each leaf of the inputs."""
    nests = by_argument(problem, result)
    forms = problem.arguments(problem.values)
    found: Values = []
    for i, count in enumerate(problem.counts):
        part = nests.get(i)
        if part is None:
            found += [None] * count
        elif isinstance(forms[i], dict | tuple | list):
            what = f"verify.claim: the claimed gradient by {problem.names[i]}"
            found += map(as_array, leaves_like(part, forms[i], what))
        else:
            found += map(as_array, [part] if count == 1 else leaves_like(part, [0] * count, "verify.claim"))
    return [g if leaf.active else None for g, leaf in zip(found, problem.leaves, strict=True)]


def as_array(x: Any) -> Any:
    """Anything that holds numbers or expressions as an array, a copy."""
    if x is None:
        return None
    x = x._data if isinstance(x, Tensor) else foreign_array(x) if hasattr(x, "detach") else x
    array = np.array(x, subok=True)
    if array.dtype.hasobject:
        return symbolic_array(array)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"verify.claim: a gradient is made of real numbers, and the claimed one of {array.dtype}")
    return array if array.dtype.kind == "f" else array.astype(float)


# ---- Python to paste -----------------------------------------------------------------------------------------------


def name_of(f: Callable, otherwise: str) -> str:
    """The name of a function, if it has one that can be called."""
    name = getattr(f, "__name__", "")
    return name if name.isidentifier() else otherwise


def inputs(problem: Problem, values: Values) -> str:
    """Python source of the arguments of a call; a network goes by its argument's name."""
    pairs = zip(problem.names, problem.arguments(values), strict=True)
    return ", ".join(name if hasattr(x, "named_parameters") else source(x) for name, x in pairs)


def place(problem: Problem, leaf: int) -> tuple[int, str]:
    """The argument that a leaf belongs to, and the key of the leaf in it."""
    start = 0
    for argument, count in enumerate(problem.counts):
        if leaf < start + count:
            form = problem.arguments(range(-start, len(problem.leaves) - start))
            return argument, path(form[argument], leaf - start) or ""
        start += count
    raise IndexError(leaf)


def path(nest: Any, mark: int) -> str | None:
    """The subscripts that lead to `mark` in a nest."""
    items = nest.items() if isinstance(nest, dict) else enumerate(nest) if isinstance(nest, tuple | list) else ()
    for key, child in items:
        below = "" if type(child) is int and child == mark else path(child, mark)
        if below is not None:
            return f"[{key!r}]{below}"
    return "" if type(nest) is int and nest == mark else None


def element(index: tuple[int, ...]) -> str:
    return str(list(index)) if index else ""


def source(x: Any) -> str:
    """Python source of an input: arrays, numbers, and nests of them."""
    if isinstance(x, dict):
        return "{" + ", ".join(f"{k!r}: {source(v)}" for k, v in x.items()) + "}"
    if isinstance(x, tuple | list):
        parts = ", ".join(map(source, x))
        return f"[{parts}]" if isinstance(x, list) else f"({parts},)" if len(x) == 1 else f"({parts})"
    if isinstance(x, np.ndarray):
        dtype = "" if x.dtype in (np.float64, np.int64, np.bool_) else f", np.{x.dtype}"
        return f"np.array({x.tolist()}{dtype})" if x.ndim or dtype else repr(x.item())
    return repr(x)
