"""Gradients other than the true ones: a function with a rule of its own, and one with no gradient at all."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .batching import StandIn
from .nests import flatten, leaves_like, map_nest
from .ops.whole import Whole
from .primitives import RuleError, arguments_of
from .tensor import Tensor, describe, plain, recording


def stop_gradient(x: Any) -> Any:
    """The same values, as constants to whatever differentiates: no gradient flows back through them.

    x is a tensor, or a nest of tuples, lists and dicts with tensors in it; anything else in it stays as it is.

    >>> import minigrad as mg
    >>> mg.grad(lambda x: x * mg.stop_gradient(x))(3.0)
    tensor(3.)
    """
    return map_nest(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, x)


def custom_gradient(function: Callable) -> CustomGradient:
    """Decorator: a function of tensors whose gradient you give yourself, with `@name.vjp`.

    The function's arguments without a default are inputs, those with one are parameters, which get no gradient. Inputs
    and result may be nests of tuples, lists and dicts. The rule gets the gradient g of the result y, y itself, every
    input, and the parameters by name; it returns a gradient for each input (several as a tuple; None where there is
    none), in the input's form and shapes. Written in mg's or NumPy's functions, it runs on arrays, on tensors (so that
    it can be differentiated in turn) and on symbols.

    It is for gradients that are not those of the values, or are better computed in another way; what NumPy code alone
    can compute is a case for `mg.primitive`, whose rule can be proved. Raises TypeError for a rule that does not fit,
    and where a tensor that requires grad comes into the function by another way than its arguments.

    >>> import minigrad as mg
    >>> @mg.custom_gradient
    ... def straight_through(x):
    ...     return mg.sign(x)
    >>> @straight_through.vjp
    ... def _(g, y, x):
    ...     return g * (np.abs(x) <= 1)
    >>> mg.grad(lambda x: straight_through(x).sum())(np.array([-0.5, 0.5, 2.0]))
    tensor([1., 1., 0.])
    """
    return CustomGradient(function)


class CustomGradient:
    """A function with a gradient rule of its own; made by `mg.custom_gradient`."""

    def __init__(self, function: Callable) -> None:
        self.inputs, arity, self.defaults = arguments_of(function, "mg.custom_gradient")
        if arity is None:
            raise TypeError("mg.custom_gradient: take any number of inputs as one argument, a list")
        self.function, self.signature = function, inspect.signature(function)
        self.rule: Callable | None = None
        functools.update_wrapper(self, function)
        self.name = getattr(function, "__name__", "the function")

    def vjp(self, rule: Callable) -> CustomGradient:
        """Decorator: the gradient rule."""
        wanted = ["g", "y", *self.inputs]
        try:
            inspect.signature(rule).bind(*wanted, **self.defaults)
        except TypeError as error:
            called = f"({', '.join([*wanted, *self.defaults])})"
            raise TypeError(f"the rule of {self.name} is called with {called}: {error}") from None
        self.rule = rule
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        inputs = {name: bound.arguments[name] for name in self.inputs}
        params = {name: bound.arguments[name] for name in self.defaults}
        leaves, _ = flatten(inputs)
        return _Call(self, inputs, params).results(leaves)

    def __repr__(self) -> str:
        return f"<{self.name}, with a gradient of its own>"


class _Call(Whole):
    """One call of a function with its own rule."""

    def __init__(self, custom: CustomGradient, inputs: dict[str, Any], params: dict[str, Any]) -> None:
        super().__init__(custom.name)
        self.custom, self.given = custom, params
        self.form = map_nest(lambda leaf: None, inputs)
        self.build = flatten(self.form)[1]

    def run(self, arrays: tuple) -> Any:
        with recording():
            inputs = self.build(iter([Tensor(x) if hasattr(x, "dtype") else x for x in arrays]))
            y = self.custom.function(**inputs, **self.given)
        for t in flatten(y)[0]:
            if isinstance(t, Tensor) and t.requires_grad:
                raise TypeError(
                    f"{describe(t)} depends on a tensor that requires grad and is no argument of {self.name}, so its "
                    "rule could not give it a gradient: pass it as an argument, or mg.stop_gradient(it)"
                )
        return y

    def gradients(self, g: Any, y: Any, inputs: tuple) -> list[Any]:
        rule = self.custom.rule
        if rule is None:
            given = ", ".join(["g", "y", *self.custom.inputs, *self.custom.defaults])
            how = f"@{self.name}.vjp, def _({given}): ..."
            raise RuntimeError(f"{self.name} has no gradient rule: give it one with {how}")
        by_name = self.build(iter(inputs))
        returned = rule(self.apart(g), self.apart(y), *by_name.values(), **self.given)
        if len(by_name) == 1 and not (isinstance(returned, tuple) and len(returned) == 1):
            returned = (returned,)
        if not isinstance(returned, tuple | list) or len(returned) != len(by_name):
            n = len(returned) if isinstance(returned, tuple | list) else 1
            raise RuleError(f"the rule of {self.name} should return {len(by_name)} gradients, and returned {n}")
        if all(part is None for part in returned):
            raise RuleError(f"the rule of {self.name} returned None for every input (is there a `return`?)")
        found: list[Any] = []
        for (name, form), part in zip(self.form.items(), returned, strict=True):
            leaves = flatten(form)[0]
            what = f"the rule of {self.name} for {name}"
            found += [None] * len(leaves) if part is None else leaves_like(part, form, what)
        return [self._checked(gx, x) for gx, x in zip(found, inputs, strict=True)]

    def _checked(self, gx: Any, x: Any) -> Any:
        """The gradient of one input in the form that the walk takes."""
        if gx is None:
            return None if x is None else np.zeros_like(x)
        gx = np.asarray(gx, np.result_type(plain(x))) if isinstance(gx, float | int) else gx
        if not isinstance(gx, Tensor | np.ndarray | np.generic | StandIn) or gx.dtype.kind not in "fO":
            raise RuleError(f"the rule of {self.name} should return arrays of floats, and returned {str(gx)[:40]!r}")
        if gx.shape != np.shape(x):
            raise RuleError(f"the rule of {self.name} should return the input's shape {np.shape(x)}, not {gx.shape}")
        return gx.view() if type(gx) is np.ndarray else gx  # the rule may keep the array: a leaf gets a copy of a view
