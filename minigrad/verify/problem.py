"""A function and its inputs, taken apart: so that it can be run on other numbers, in other shapes, and on symbols."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..autodiff import below
from ..ops.card import CARDS, Op
from ..symbolic import SymbolicArray, on_symbols
from ..tensor import Tensor, mode, recording
from ..transforms import flatten, inner, pull, results

Values = list[Any]  # one for each leaf of the inputs


@dataclass
class Leaf:
    """One array among the inputs, or anything else that is handed to the function as it is."""

    name: str
    value: Any
    active: bool = False  # whether the gradient by it is looked at
    made: bool = False  # whether the value is ours, from a shape

    @property
    def is_float(self) -> bool:
        return isinstance(self.value, np.ndarray) and self.value.dtype.kind == "f"


@dataclass
class Problem:
    """A function with example inputs. Its leaves can be exchanged; `arguments` puts the inputs together again."""

    what: str  # the name of the check, for errors
    f: Callable
    names: list[str]  # of the arguments
    leaves: list[Leaf]
    counts: list[int]  # how many leaves each argument has
    rebuild: Callable[[Iterator[Any]], tuple]
    positions: list[int]  # of the arguments to differentiate by
    seed: int = 0
    weights: list[np.ndarray] = field(default_factory=list)  # of the outputs; none if the output is one number

    @property
    def active(self) -> list[int]:
        """The places of the leaves to differentiate by."""
        return [i for i, leaf in enumerate(self.leaves) if leaf.active]

    @property
    def values(self) -> Values:
        return [leaf.value for leaf in self.leaves]

    def arguments(self, values: Sequence[Any]) -> tuple:
        """The arguments of f with these values as the leaves."""
        return self.rebuild(iter(values))

    def with_values(self, values: Values) -> Problem:
        """The same function at other examples."""
        new = copy.copy(self)
        new.leaves = [replace(leaf, value=v) for leaf, v in zip(self.leaves, values, strict=True)]
        rng = np.random.default_rng([self.seed, 1])
        outputs = new.run(new.tensors(values))
        one = len(outputs) == 1 and np.size(outputs[0]) == 1
        new.weights = [] if one and not foreign_ops(outputs) else [example(rng, np.shape(y)) for y in outputs]
        return new

    def weighted(self, weights: list[Any]) -> Problem:
        """The same problem with other weights of the outputs."""
        new = copy.copy(self)
        new.weights = weights
        return new

    def tensors(self, values: Sequence[Any]) -> Values:
        """The values as tensors to differentiate by, or as plain ones; copies, so that nobody's array is written to."""
        pairs = zip(self.leaves, values, strict=True)
        return [
            Tensor(np.array(v, subok=True), leaf.active, leaf.name) if leaf.is_float else copy.copy(v)
            for leaf, v in pairs
        ]

    def run(self, values: Sequence[Any]) -> list[Any]:
        """What f returns at these values, taken apart; nobody is warned of points outside the domain of f."""
        mode.transforms += 1
        try:
            with recording(), np.errstate(all="ignore"):
                f = on_symbols(self.f) if any(isinstance(v, SymbolicArray) for v in values) else self.f
                return flatten(f(*self.arguments(values)))[0]
        finally:
            mode.transforms -= 1

    def scalar(self, values: Sequence[Any]) -> Any:
        """What f returns as one number: a sum of the outputs, each times its weight."""
        outputs = self.run(values)
        if not self.weights:
            return outputs[0]
        parts = [(y * w).sum() for y, w in zip(outputs, self.weights, strict=True)]
        return sum(parts[1:], parts[0])

    def gradients(self, values: Sequence[Any], directions: Sequence[Any] = ()) -> Values:
        """By backpropagation, the gradient of `scalar` by each leaf (None for those not differentiated by).

        With directions v, one for each active leaf: the gradient of the inner product of the gradient with v.
        """
        tensors = self.tensors(values)
        outputs = results(self.run(tensors), self.what)
        by = [tensors[i] for i in self.active]
        with recording(), np.errstate(all="ignore"):
            y, seed = inner(outputs, self.weights, self.what) if self.weights else (outputs[0], None)
            found = pull(y, seed, by, create_graph=bool(directions))
            if directions:
                along = [(g * v).sum() for g, v in zip(found, directions, strict=True)]
                found = pull(sum(along[1:], along[0]), None, by, create_graph=False)
        by_leaf = dict(zip(self.active, (g._data for g in found), strict=True))
        return [by_leaf.get(i) for i in range(len(self.leaves))]


def foreign_ops(outputs: list[Any]) -> dict[str, tuple[Tensor, Op]]:
    """The ops of users (see `mg.primitive`) that results were computed by, each with one of its results.

    Their rules may do anything, such as forgetting the gradient that comes in, which is 1 where nobody weighs.
    """
    graph = [t for y in outputs if isinstance(y, Tensor) for t in below(y) if t._op is not None]
    return {t._op.name: (t, t._op) for t in graph if CARDS.get(t._op.name) is not t._op}


# ---- taking inputs apart -------------------------------------------------------------------------------------------


def problem(what: str, f: Callable, inputs: tuple, argnums: Any = None, seed: int = 0) -> Problem:
    """The problem that a user poses: example inputs (or shapes), and the arguments to differentiate by (all, for None).

    An input is an array, a tensor, a number, a shape (a tuple of integers), a module, or a nest of these. Gradients are
    looked at for floating point numbers. Raises TypeError where there are none.
    """
    if not callable(f):
        raise TypeError(f"{what}: the first argument is the function, not {type(f).__name__} {str(f)[:40]!r}")
    names = argument_names(f, len(inputs))
    if argnums is None:
        positions = list(range(len(inputs)))
    else:
        positions = [argnums] if isinstance(argnums, int) else list(argnums)
        if not all(isinstance(i, int) and -len(inputs) <= i < len(inputs) for i in positions):
            raise ValueError(f"{what}: argnums={argnums!r}, and {len(inputs)} inputs were given")
        positions = [i % len(inputs) for i in positions]
    rng = np.random.default_rng(seed)
    parts = [take_apart(name, x, rng) for name, x in zip(names, inputs, strict=True)]
    leaves = []
    for i, (found, _) in enumerate(parts):
        for leaf in found:
            leaf.active = i in positions and leaf.is_float
            leaves.append(leaf)
        if argnums is not None and i in positions and not any(leaf.active for leaf in found):
            raise TypeError(f"{what}: gradients need floating point numbers, and {names[i]} is {kind_of(found)}")
    if not any(leaf.active for leaf in leaves):
        given = ", ".join(f"{leaf.name} ({kind_of([leaf])})" for leaf in leaves) or "none"
        raise TypeError(
            f"{what}: among the inputs is no array of floating point numbers to differentiate by: {given}. Give "
            "examples, such as np.ones((2, 3)), or shapes, such as (2, 3)"
        )
    positions = [i for i, (found, _) in enumerate(parts) if any(leaf.active for leaf in found)]

    def rebuild(values: Iterator[Any]) -> tuple:
        return tuple(build(values) for _, build in parts)

    return Problem(what, f, names, leaves, [len(found) for found, _ in parts], rebuild, positions, seed)


def argument_names(f: Callable, n: int) -> list[str]:
    """The names of the first n arguments of f, or x0, x1 ... where it does not tell."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        names = [p.name.strip("_") or "x" for p in inspect.signature(f).parameters.values() if p.kind in kinds][:n]
    except (TypeError, ValueError):  # a function written in C
        names = []
    return [*names, *(f"x{i}" for i in range(len(names), n))] if n > 1 or names else ["x"] * n


def take_apart(name: str, x: Any, rng: np.random.Generator) -> tuple[list[Leaf], Callable[[Iterator[Any]], Any]]:
    """The leaves of one input, and the function that puts it together from others."""
    if isinstance(x, tuple) and all(type(n) is int and n >= 0 for n in x):
        return [Leaf(name, example(rng, x), made=True)], next
    if hasattr(x, "named_parameters"):
        return take_module_apart(name, x)
    if isinstance(x, dict | tuple | list):
        items = x.items() if isinstance(x, dict) else enumerate(x)
        parts = [take_apart(f"{name}_{key}", child, rng) for key, child in items]
        _, rebuild_nest = flatten(map_children(x))

        def rebuild(values: Iterator[Any]) -> Any:
            return rebuild_nest(iter([build(values) for _, build in parts]))

        return [leaf for leaves, _ in parts for leaf in leaves], rebuild
    if isinstance(x, Tensor):
        x = x._data
    if isinstance(x, np.ndarray | np.generic) and x.dtype.hasobject:
        return [Leaf(name, example(rng, np.shape(x)), made=True)], next
    if isinstance(x, float | np.floating | np.ndarray):
        return [Leaf(name, np.array(x))], next
    if hasattr(x, "detach") or hasattr(x, "__jax_array__") or type(x).__module__.startswith("jax"):
        return [Leaf(name, foreign_array(x))], next
    return [Leaf(name, x)], next


def map_children(x: Any) -> Any:
    """A nest of one level, of the same form."""
    if isinstance(x, dict):
        return dict.fromkeys(x, 0)
    return type(x)(*x) if hasattr(x, "_fields") else type(x)([0] * len(x))


def take_module_apart(name: str, module: Any) -> tuple[list[Leaf], Callable[[Iterator[Any]], Any]]:
    """A network's parameters as leaves; rebuilding makes a copy that holds others."""
    parameters = list(module.named_parameters())

    def rebuild(values: Iterator[Any]) -> Any:
        return copy.deepcopy(module, {id(p): next(values) for _, p in parameters})

    return [Leaf(f"{name}_{path}".replace(".", "_"), np.array(p._data)) for path, p in parameters], rebuild


def foreign_array(x: Any) -> np.ndarray:
    """Another library's array as NumPy's."""
    return np.array(x.detach().cpu().numpy() if hasattr(x, "detach") else x)


def array_of(x: Any) -> np.ndarray:
    """The numbers of a tensor, of another library's array, or of a number."""
    return np.asarray(x._data if isinstance(x, Tensor) else foreign_array(x))


def copies(values: Values) -> Values:
    """The values, with arrays that may be written to."""
    return [np.array(v, subok=True) if isinstance(v, np.ndarray) else v for v in values]


def example(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in (-2, 2) that nobody would choose: no zeros, ones or equal pairs, and exact in few bits."""
    return grid(rng.uniform(-2, 2, shape))


def grid(x: Any) -> np.ndarray:
    """The nearest numbers of seven binary digits, the last of them odd: short as fractions, exact in every dtype."""
    x = np.asarray(x, float)
    mantissa, exponent = np.frexp(np.where(x == 0, 1, x))
    return np.asarray(np.ldexp(2 * np.floor(mantissa * 64) + 1, exponent - 7))


def kind_of(leaves: list[Leaf]) -> str:
    return ", ".join(str(getattr(leaf.value, "dtype", type(leaf.value).__name__)) for leaf in leaves) or "empty"


# ---- other examples ------------------------------------------------------------------------------------------------


def draw(problem: Problem, rng: np.random.Generator, spread: int) -> Values:
    """Other values: near the examples (spread 0), of the same signs (1), or anywhere in (-3, 3) (2).

    Zeros, such as first biases, are replaced too.
    """

    def one(x: Any) -> Any:
        near = x * rng.uniform(0.6, 1.6, x.shape)
        far = rng.uniform(-3, 3, x.shape)
        if spread == 2:
            return far
        signed = np.where(x == 0, far / 3, np.copysign(far, x))
        return np.where(x == 0, far / 3, near) if spread == 0 else signed

    return [grid(one(leaf.value)).astype(leaf.value.dtype) if leaf.is_float else leaf.value for leaf in problem.leaves]


def smaller(problem: Problem) -> Iterator[Problem]:
    """The same problem in smaller shapes, where the function runs in them: equal lengths are cut to equal lengths."""
    lengths = sorted({n for leaf in problem.leaves for n in np.shape(leaf.value) if isinstance(leaf.value, np.ndarray)})
    long = [n for n in lengths if n > 3]
    if not long:
        return
    for short in dict.fromkeys([tuple(range(2, 2 + len(long))), (2,) * len(long), (3,) * len(long)]):
        cut = dict(zip(long, short, strict=True))
        values = [
            v[tuple(slice(cut.get(n)) for n in v.shape)] if isinstance(v, np.ndarray) else v for v in problem.values
        ]
        for labels in (lambda x: x, lambda x: x % 2):
            try:
                small = problem.with_values([labels(v) if is_integers(v) else v for v in values])
            except Exception:  # whatever the user's function says of shapes that it was not made for
                continue
            yield small
            break


def is_integers(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind in "iu"
