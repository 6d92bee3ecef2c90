"""A user's own op: NumPy code with a gradient rule of its own, which runs, is differentiated and read like any card."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .batching import BatchedArray, StandIn, innermost_array
from .ops.card import Op, together
from .tensor import PLAIN, Tensor, as_tensor, mode, own_copy

Parameters = inspect.Parameter
Symbolic = Callable[..., Any]


def primitive(
    function: Callable | None = None, *, sympy: Symbolic | None = None, elementwise: bool | None = None,
    domain: Any = None, cases: Any = None, note: str = "",
) -> Any:  # fmt: skip
    """An op of your own: decorate its NumPy code, then give its gradient rule with `@name.vjp`.

    The function's arguments without a default are inputs, those with one are parameters, which get no gradient. It gets
    arrays and returns an array of floats. The rule gets the gradient g of the output, the output y, every input, and
    the parameters by name; it returns one gradient per input (several as a tuple; None where there is none), in the
    input's shape, or in the output's where the op is elementwise and the input was broadcast. It is written
    in NumPy's and mg's functions, so that it runs on arrays, on tensors (for higher orders) and on symbols (for
    proofs).

    `sympy` is the formula: by element, in SymPy's words, for elementwise ops, else a function of arrays in NumPy's.
    Which of the two is found by trying the op on numbers, unless `elementwise` says it. Without a formula, symbols go
    through the NumPy code itself. `domain` (an interval for each input) and `cases` (pairs of the inputs' shapes and
    the parameters) are where `mg.verify.rules` tries the op; `note` is what to know of its kinks.

    Raises TypeError for a function or a rule that does not fit the above, when that is noticed: a result that is no
    array of floats, an input changed in place, a wrong number of gradients or one of another shape, a gradient that
    left the graph. Raises RuntimeError where backward finds no rule.

    >>> import minigrad as mg
    >>> import sympy
    >>> @mg.primitive(sympy=lambda x: sympy.log(1 + sympy.exp(x)))
    ... def softplus(x):
    ...     return np.logaddexp(0, x)
    >>> @softplus.vjp
    ... def _(g, y, x):
    ...     return g * mg.sigmoid(x)
    >>> softplus(0.0), mg.grad(softplus)(0.0), mg.grad(mg.grad(softplus))(0.0)
    (tensor(0.69314718), tensor(0.5), tensor(0.25))
    >>> x = mg.symbols("x")
    >>> softplus(x).backward()
    >>> x.grad.item()
    1/(1 + exp(-x))
    """
    if function is None:
        return functools.partial(
            primitive, sympy=sympy, elementwise=elementwise, domain=domain, cases=cases, note=note
        )
    return Primitive(function, sympy, elementwise, domain=domain, cases=cases, note=note)


class RuleError(TypeError):
    """A user's gradient rule returned what is no gradient, or wrote into what it was given."""


class Primitive(Op):
    """The card of a user's own op; made by `mg.primitive`."""

    vjp: Rule

    def __init__(self, function: Callable, formula: Symbolic | None, elementwise: bool | None, **fields: Any) -> None:
        self.names, arity, defaults = arguments_of(function, "mg.primitive")
        super().__init__(function.__name__, self._forward, (), sympy=formula, arity=arity, defaults=defaults, **fields)
        self.function, self.elementwise, self.vjp = function, elementwise, Rule(self)
        functools.update_wrapper(self, function)
        self.__name__ = function.__name__

    def bind(self, inputs: tuple, params: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        by_name = [params.pop(name) for name in self.names[len(inputs) :] if name in params]
        inputs, params = super().bind((*inputs, *by_name), params)
        for name, value in params.items():
            if name not in self.defaults:
                raise TypeError(f"{self.name} has no argument {name!r}; its arguments are {', '.join(self._arguments)}")
            if isinstance(value, Tensor):
                if value.requires_grad:
                    raise TypeError(
                        f"{self.name}: {name} has a default, which makes it a parameter that gets no gradient, and was "
                        f"given a tensor that requires one: without the default, {name} is an input"
                    )
                params[name] = value._data
        return inputs, params

    @property
    def _arguments(self) -> list[str]:
        return [*self.names, *self.defaults]

    # ---- the values ------------------------------------------------------------------------------------------

    def _forward(self, *inputs: Any, **params: Any) -> Any:
        if any(hasattr(x, "read_card") for x in inputs):
            return self._read(inputs, params)
        return self._result(self._run(_locked(inputs), params), inputs)

    def _run(self, inputs: Any, params: dict[str, Any], function: Callable | None = None) -> Any:
        """The user's function, in which the ops of mg give bare arrays."""
        before, mode.now = mode.now, PLAIN
        try:
            y = (function or self.function)(*inputs, **params)
        except Exception as error:
            if isinstance(error, ValueError) and "read-only" in str(error):
                raise TypeError("the function writes into an input, which others still use: copy it first") from error
            error.explained = True  # type: ignore[attr-defined]  # it is the user's own, and says where it happened
            raise
        finally:
            mode.now = before
        return y._data if isinstance(y, Tensor) else y

    def _result(self, y: Any, inputs: tuple) -> Any:
        if isinstance(y, float | int):
            y = np.asarray(y)
        if not isinstance(y, np.ndarray | np.generic | StandIn):
            raise TypeError(f"the function should return an array, and returned {_what(y)}")
        if y.dtype.kind not in "f" and any(np.result_type(x).kind == "f" for x in inputs if x is not None):
            raise TypeError(
                f"the function should return floating point numbers, which have gradients, and returned {y.dtype}; "
                "a function without a gradient needs no mg.primitive"
            )
        shares = not isinstance(y, np.generic) and any(np.may_share_memory(y, x) for x in inputs if x is not None)
        return own_copy(y) if shares else y

    # ---- the formula -----------------------------------------------------------------------------------------

    def _read(self, inputs: tuple, params: dict[str, Any]) -> Any:
        """The formula of the result on arrays of symbols."""
        from .symbolic.array import exact, over_elements, symbolic_array
        from .symbolic.code import on_symbols
        from .symbolic.deciding import arrays_of_elements

        exactly = {k: exact(v) if isinstance(v, float | np.floating) else v for k, v in params.items()}
        symbols = [x if x is None else symbolic_array(x) for x in inputs]
        try:
            if self.sympy is not None and self._is_elementwise(inputs, params):
                return over_elements(self.sympy, *symbols, **exactly)
            with arrays_of_elements():
                if self.sympy is not None:
                    return symbolic_array(self.sympy(*symbols, **exactly))
                y = self._run(symbols, params, on_symbols(self.function))
                if not isinstance(y, np.ndarray) or y.dtype != object:
                    raise TypeError(f"the result is {_what(y)}")
                return symbolic_array(y)
        except Exception as error:
            if self.sympy is not None:
                raise TypeError(f"its SymPy formula fails: {type(error).__name__}: {error}") from error
            example = f"@mg.primitive(sympy=lambda {', '.join(self._arguments)}: ...)"
            raise TypeError(
                f"the SymPy formula is missing, and the NumPy code does not run on symbols ({error}): give the formula "
                f"with {example}"
            ) from error

    def _is_elementwise(self, inputs: tuple, params: dict[str, Any]) -> bool:
        """Whether each element of the result comes from the elements beside it alone, as far as numbers can show."""
        if self.elementwise is None:
            shapes = [np.shape(x) for x in inputs]
            return all(shape == () for shape in shapes) or self._tried(shapes, params)
        return self.elementwise

    def _tried(self, shapes: list[tuple[int, ...]], params: dict[str, Any]) -> bool:
        rng = np.random.default_rng(0)
        numbers = [rng.uniform(0.1, 0.9, shape) for shape in shapes]
        try:
            together = np.broadcast_arrays(*numbers)
            with np.errstate(all="ignore"):
                whole = self._run(numbers, params)
                one_by_one = [self._run(each, params) for each in zip(*map(np.ravel, together), strict=True)]
            return np.shape(whole) == together[0].shape and np.allclose(np.ravel(whole), one_by_one, equal_nan=True)
        except Exception:  # a function of whole arrays fails on one element in whatever way it likes
            return False

    # ---- the gradients ---------------------------------------------------------------------------------------

    def gradients(self, g: Any, y: Any, inputs: tuple, params: dict[str, Any]) -> list[Any]:
        """What the rule returns, one for each input."""
        mode.transforms += 1  # a tensor that becomes a number in the rule is worth a warning
        try:
            returned = self.vjp.rule(*_locked((g, y, *inputs)), **params)
        except ValueError as error:
            if "read-only" in str(error):
                raise RuleError(f"the rule of {self.name} writes into what it is given: copy it first") from error
            raise
        finally:
            mode.transforms -= 1
        several = returned if isinstance(returned, tuple | list) else (returned,)
        if len(several) != len(inputs):
            n, s = len(inputs), "s" if len(inputs) > 1 else ""
            raise RuleError(f"the rule of {self.name} should return {n} gradient{s}, and returned {len(several)}")
        if all(gx is None for gx in several):
            raise RuleError(
                f"the rule of {self.name} returned None for every input (is there a `return`?): where the slope is 0, "
                "return 0 * g"
            )
        return [self._checked(i, *pair, g, y) for i, pair in enumerate(zip(several, inputs, strict=True))]

    def _checked(self, i: int, gx: Any, x: Any, g: Any, y: Any) -> Any:
        """The gradient of input i in the form that the walk takes."""
        if gx is None:
            return None if x is None else np.zeros_like(x)
        gx = np.asarray(gx) if isinstance(gx, float | int) else gx
        name = f"the rule of {self.name} for {self.names[i] if i < len(self.names) else f'input {i}'}"
        if not isinstance(gx, Tensor | np.ndarray | np.generic | StandIn):
            raise RuleError(f"{name} should return an array, and returned {_what(gx)}")
        if gx.dtype.kind not in "fO":
            raise RuleError(f"{name} should return floating point numbers, and returned {gx.dtype}")
        shape, broadcast = np.shape(x), gx.shape == y.shape and _broadcasts(np.shape(x), y.shape)
        if gx.shape != shape and not broadcast:
            raise RuleError(f"{name} should return the input's shape {shape}, and returned {gx.shape}")
        if isinstance(g, Tensor):
            return self._in_graph(name, gx, g)
        gx = gx._data if isinstance(gx, Tensor) else gx
        return gx.view() if type(gx) is np.ndarray else gx  # the rule may keep the array: a leaf gets a copy of a view

    def _in_graph(self, name: str, gx: Any, g: Tensor) -> Tensor:
        """A gradient as a tensor. It is linear in g, so one that is not linked to g is zero, or has left the graph."""
        made_of_g = isinstance(gx, Tensor) and (gx.requires_grad or not g.requires_grad)
        values = innermost_array(gx._data if isinstance(gx, Tensor) else gx)
        if not made_of_g and any(e != 0 for e in np.ravel(values).tolist()):
            raise RuleError(
                f"{name} returned a gradient that has left the graph, so it cannot be differentiated again: use mg's "
                "or NumPy's functions on g, y and the inputs, and no .data, .numpy(), .detach() or float()"
            )
        return as_tensor(gx)


class Rule:
    """The gradient rule of a primitive: called as a decorator it takes the rule; the walk gets one rule per input."""

    def __init__(self, card: Primitive) -> None:
        self.card = card
        self.rule: Callable = self.missing

    def __call__(self, rule: Callable) -> Primitive:
        card = self.card
        inputs = ["g", "y", *(card.names if card.arity is not None else ["*inputs"])]
        wanted = f"({', '.join([*inputs, *card.defaults])})"
        if not callable(rule):
            raise TypeError(f"@{card.name}.vjp decorates the rule, a function of {wanted}, not {_what(rule)}")
        signature = inspect.signature(rule)
        try:
            signature.bind(*inputs, **card.defaults)
        except TypeError as error:
            sentence = f"the rule of {card.name} is called with {wanted}, and takes {signature}: {error}"
            raise TypeError(sentence) from None
        self.rule = rule
        return card  # so that the rule may even be called as the op is

    def __iter__(self) -> Iterator[Callable]:
        def rule(g: Any, y: Any, *inputs: Any, **params: Any) -> list[Any]:
            return self.card.gradients(g, y, inputs, params)

        return iter(together(rule))

    def missing(self, *args: Any, **params: Any) -> Any:
        name, arguments = self.card.name, ", ".join(["g", "y", *self.card._arguments])
        raise RuntimeError(f"{name} has no gradient rule: give it one with @{name}.vjp, def _({arguments}): ...")


def arguments_of(function: Any, what: str) -> tuple[list[str], int | None, dict[str, Any]]:
    """The names of a function's inputs, how many there are (None for any number), and its parameters' defaults."""
    if isinstance(function, np.ufunc):
        return [f"x{i + 1}" if function.nin > 1 else "x" for i in range(function.nin)], function.nin, {}
    if not callable(function) or isinstance(function, Op):
        raise TypeError(f"{what} decorates a function of arrays, not {_what(function)}")
    names: list[str] = []
    defaults: dict[str, Any] = {}
    any_number = False
    for p in inspect.signature(function).parameters.values():
        if p.kind is Parameters.VAR_POSITIONAL:
            any_number = True
        elif p.kind is Parameters.VAR_KEYWORD or (p.kind is Parameters.KEYWORD_ONLY and p.default is p.empty):
            raise TypeError(f"{what}: {p.name} of {function.__name__} is neither an input nor has it a default")
        elif p.default is p.empty:
            names.append(p.name)
        else:
            defaults[p.name] = p.default
    if not names and not any_number:
        raise TypeError(f"{what}: {function.__name__} has no input, that is, no argument without a default")
    return names, None if any_number else len(names), defaults


def _locked(values: Any) -> list[Any]:
    """Arrays that cannot be written into, in place of arrays and numbers; tensors and symbols as they are."""
    numbers = [x for x in values if isinstance(x, np.ndarray | np.generic | float | int)]
    dtype = np.result_type(*numbers) if numbers else None
    return [_lock(x, dtype) if isinstance(x, LOCKED) else x for x in values]


LOCKED = (np.ndarray, np.generic, float, int, BatchedArray)


def _lock(x: Any, dtype: Any) -> Any:
    if isinstance(x, BatchedArray):
        return BatchedArray(_lock(x.array, dtype), x.level)
    view = np.asanyarray(x, dtype if isinstance(x, float | int) and not isinstance(x, np.generic) else None).view()
    view.flags.writeable = False
    return view


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def _what(x: Any) -> str:
    return "nothing" if x is None else f"{type(x).__name__} {str(x)[:40]!r}"
