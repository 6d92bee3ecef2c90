"""What a specimen is: a function, its right gradient, and a wrong one as somebody might write it.

Two decorators turn a class into a specimen; the class is only a place to put the functions side by side. Everything is
plain NumPy. A loss returns one number, and its gradients return one array for each input (None for labels, targets and
whatever else is not differentiated by):

    @loss("factor", w=normal(3), x=normal(4, 3), y=normal(4))
    class mean_squared_error_without_n:
        '''What is wrong, in a sentence.'''
        def f(w, x, y): ...
        def right(w, x, y): ...
        def wrong(w, x, y): ...

An op returns an array, and its rules take the cotangent g and the output y before the inputs:

    @op("chain", x=normal(4))
    class tanh_without_derivative:
        def f(x): ...
        def right(g, y, x): ...
        def wrong(g, y, x): ...

What is planted comes first in the decorator, as one of the kinds of fault that a diagnosis knows; where a fault can
truly be named in two ways (g @ b in place of g.T @ b is the wrong axis, or a matrix not transposed), both are given.

A gradient with a memory is a class, of which every check makes a new object: it is called as the function would be, or
it is a layer with methods forward and backward. `use` says how an op is used, where that matters: `use(op, x)`.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ZOO: dict[str, Specimen] = {}
KINDS = (
    "factor", "sign", "transposed", "broadcast", "chain", "other-input", "regulariser", "kink", "dropped", "branch",
    "zero", "permuted", "stale", "aliasing", "random", "shape", "saved", "second-order", "precision", "axis", "offset",
)  # fmt: skip

Draw = Callable[[np.random.Generator], np.ndarray]


def normal(*shape: int) -> Draw:
    """What one writes first: np.random.randn."""
    return lambda rng: rng.normal(size=shape)


def positive(*shape: int) -> Draw:
    """Numbers in (0.5, 2)."""
    return lambda rng: rng.uniform(0.5, 2, shape)


def probabilities(*shape: int) -> Draw:
    """Numbers in (0.1, 0.9)."""
    return lambda rng: rng.uniform(0.1, 0.9, shape)


@dataclass(frozen=True)
class Specimen:
    """A function with a right and a wrong gradient, and the inputs that its author would test it with."""

    name: str
    family: str
    story: str
    faults: tuple[str, ...]  # the planted one, and its other names
    inputs: dict[str, np.ndarray]
    code: Any = field(repr=False)
    is_op: bool = False
    order: int = 1  # of the derivative that is wrong
    seen: str = ""  # where a fault of this kind was reported

    @property
    def active(self) -> list[int]:
        """The positions of the inputs to differentiate by."""
        xs = [x.copy() for x in self.inputs.values()]
        if hasattr(self.code, "use"):
            return [i for i, x in enumerate(xs) if x.dtype.kind == "f"]
        f, right = self.twin("right")
        given = right(np.ones_like(y := f(*xs)), y, *xs) if self.is_op else right(*xs)
        return [i for i, g in enumerate(as_tuple(given)) if g is not None]

    def twin(self, which: str) -> tuple[Callable, Callable]:
        """The function, and its gradient: "right" or "wrong". Those with a memory have nothing in it yet."""
        given = getattr(self.code, which)
        if not inspect.isclass(given):
            return self.code.f, given
        made = given()
        if not hasattr(made, "forward"):
            return self.code.f, named(made, which)

        def rule(g: Any, y: Any, *xs: Any) -> Any:
            return made.backward(g)

        return named(made.forward, "f"), rule

    def use(self, op: Callable) -> Callable:
        """The function of the inputs that is checked: the op itself, or something made of it."""
        made_of = getattr(self.code, "use", None)

        def f(*xs: Any) -> Any:
            return made_of(op, *xs) if made_of else op(*xs)

        return with_signature(f, self.inputs)


def named(method: Callable, name: str) -> Callable:
    """A method, or an object that can be called, as a function with a name."""

    def call(*args: Any) -> Any:
        return method(*args)

    call.__name__ = name
    return with_signature(call, inspect.signature(method).parameters)


def with_signature(f: Callable, names: Any) -> Callable:
    """The function with names for its arguments."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    f.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    return f


def as_tuple(gradients: Any) -> tuple:
    return gradients if isinstance(gradients, tuple) else (gradients,)


def constant(x: Any) -> Any:
    """x as a number to which nobody differentiates: `detach` in PyTorch, `stop_gradient` in JAX."""
    return x.detach() if hasattr(x, "detach") else x


def loss(*faults: str, seen: str = "", **inputs: Any) -> Callable[[type], type]:
    """Make a specimen of a class that holds a loss and its gradients."""
    return _specimen(faults, inputs, is_op=False, seen=seen)


def op(*faults: str, order: int = 1, seen: str = "", **inputs: Any) -> Callable[[type], type]:
    """Make a specimen of a class that holds an op and its rules."""
    return _specimen(faults, inputs, is_op=True, order=order, seen=seen)


def _specimen(faults: tuple[str, ...], inputs: dict[str, Any], **more: Any) -> Callable[[type], type]:
    unknown = set(faults) - set(KINDS)
    if unknown or not faults:
        raise ValueError(f"a specimen has one of these faults: {', '.join(KINDS)}; not {', '.join(unknown) or 'none'}")

    def add(code: type) -> type:
        rng = np.random.default_rng(zlib.crc32(code.__name__.encode()))
        drawn = {name: np.asarray(x(rng) if callable(x) else x) for name, x in inputs.items()}
        family = code.__module__.rpartition(".")[2]
        story = " ".join((code.__doc__ or "").split())
        ZOO[code.__name__] = Specimen(code.__name__, family, story, faults, drawn, code, **more)
        return code

    return add
