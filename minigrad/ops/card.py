"""The op card: everything the library knows of one operation, in one place.

    forward   the values, by NumPy on plain arrays
    vjp       one gradient rule per input: `lambda g, y, x, ...: ...`, with g the gradient of the output y
    sympy     the formula: the name of a SymPy function, or a lambda in SymPy's words ("x: log(1 + x)"; as text,
              since SymPy is loaded only to read formulas); for other than elementwise ops, a function on arrays
    domain    where the tests and proofs sample each input of an elementwise op
    cases     what they run any other op on: shapes of the inputs, and parameters

A rule is NumPy code, or uses other ops. The backward walk calls it with plain arrays, with Tensors (then the gradient
is a graph again, and can be differentiated) or with arrays of symbols (then it writes the formula of the
gradient), and the rule never says which: NumPy's own dispatch finds the right reading.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
from numpy.exceptions import AxisError
from numpy.linalg import LinAlgError

from ..batching import Uneven, computed, innermost
from ..tensor import NO_PARAMS, PLAIN, READY, RECORD, Tensor, mode, operand, tick

CARDS: dict[str, Op] = {}  # every op by its name
COMPOSITES: dict[str, Composite] = {}  # every function composed of ops by its name
NUMPY: dict[Any, Callable] = {}  # NumPy's functions, and ours in their place
SCIPY: dict[str, Callable] = {}  # the same for SciPy's special functions, by name, since they are loaded late

_new = Tensor.__new__


class Op:
    """A card that can be called, on tensors, arrays and numbers alike; the result is a Tensor."""

    def __init__(
        self, name: str, forward: Callable, vjp: Any, *, sympy: Any = None, domain: Any = None, cases: Any = None,
        arity: int | None = 1, defaults: dict[str, Any] | None = None, kinks: tuple = (), note: str = "",
    ) -> None:  # fmt: skip
        self.name, self.forward, self.sympy, self.domain, self.cases = name, forward, sympy, domain, cases
        self.kinks, self.note = kinks, note  # where the slope jumps, and which one is taken there
        self.vjp = (vjp,) if callable(vjp) else vjp
        self.arity = arity  # how many inputs; None for any number
        self.defaults = defaults or {}  # the parameters, which no gradient flows into

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        if params or self.defaults or len(inputs) != self.arity:
            inputs, params = self.bind(inputs, params)
        arrays, recorded = [], False
        for x in inputs:
            if type(x) is Tensor:
                arrays.append(x._data)
                if x.requires_grad:
                    recorded = True
                if x._changed < 0:  # EXPOSED
                    x._settle()
            elif type(x) in READY:
                arrays.append(x)
            else:
                arrays.append(operand(x))
                inputs = tuple(arrays[-1] if z is x else z for z in inputs)
        try:
            y = self.forward(*arrays, **params) if params else self.forward(*arrays)
        except Exception as error:
            capture = mode.capture
            if capture is not None and capture.reads((arrays, params)):
                y = self.by_host(arrays, inputs, params, error)
            elif innermost((arrays, params)) is None:
                raise explained(self, inputs, params, error) from None
            else:
                y = self.by_sample(arrays, inputs, params, error)
        now = mode.now
        if now is PLAIN:
            return y
        out = _new(Tensor)
        out._data = y
        out._changed = 0
        out._grad = out.name = None
        out._keep = False
        if recorded and now is RECORD:
            out.requires_grad = True
            out._op, out._inputs, out._params, out._born = self, inputs, params or NO_PARAMS, tick()
            return out
        if type(y) in (float, int, bool):  # Python's operators on Python's numbers
            out._data = np.asarray(y)
        out.requires_grad = False
        out._op, out._inputs, out._params, out._born = None, (), NO_PARAMS, 0
        return out

    def bind(self, inputs: tuple, params: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """The inputs, and every parameter by name; parameters may be given by position, as NumPy allows."""
        if self.arity is not None:
            names = list(self.defaults)
            params.update(zip(names, inputs[self.arity :], strict=False))
            inputs = inputs[: self.arity] + inputs[self.arity + len(names) :]
            if len(inputs) != self.arity:
                s = "s" if self.arity > 1 else ""
                raise TypeError(f"{self.name} takes {self.arity} input{s}, and {len(inputs)} were given")
        return inputs, {**self.defaults, **params}

    def by_sample(self, arrays: list[Any], inputs: tuple, params: dict[str, Any], first: Exception) -> Any:
        """The values inside `mg.vmap` where the forward function does not take batched arrays."""
        try:
            return computed(self.forward, arrays, params)
        except Exception as error:
            uneven = isinstance(first, Uneven) and isinstance(error, Uneven)
            raise explained(self, inputs, params, first if uneven else error) from None

    def by_host(self, arrays: list[Any], inputs: tuple, params: dict[str, Any], first: Exception) -> Any:
        """The values in a function that is compiled, where `forward` does not take its arrays: it runs as one piece."""
        if getattr(first, "final", False):
            raise first
        mode.capture.handled()
        if any(isinstance(x, np.ndarray) for x in arrays):
            try:
                return self.forward(*mode.capture.alike(arrays), **params)
            except Exception:  # whatever it was: the function was not made for this
                mode.capture.handled()
        try:
            return mode.capture.host(self.values, arrays, params)
        except Exception as error:
            raise explained(self, inputs, params, error) from None

    def values(self, *arrays: Any, **params: Any) -> Any:
        """What `forward` gives for arrays, batched ones included."""
        try:
            return self.forward(*arrays, **params)
        except Exception:
            if innermost((arrays, params)) is None:
                raise
            return computed(self.forward, arrays, params)

    def __repr__(self) -> str:
        return f"<op {self.name}>"


def explained(op: Op, inputs: tuple, params: dict[str, Any], error: Exception) -> Exception:
    """The error with a sentence that names the op, its inputs and its parameters, once."""
    known = (ValueError, TypeError, IndexError, AxisError, LinAlgError)
    if type(error) not in known or getattr(error, "explained", False):
        return error
    shapes = ", ".join(describe_input(x) for x in inputs)
    given = "".join(f", {k}={v!r}" for k, v in params.items() if v is not op.defaults.get(k))
    kind = ValueError if type(error) is AxisError else type(error)
    sentence = kind(f"{op.name}({shapes}{given}): {error}")
    sentence.explained = True  # type: ignore[attr-defined]
    return sentence


def describe_input(x: Any) -> str:
    if isinstance(x, Tensor):
        return f"{x.name or 'tensor'} {x.shape}"
    shape = getattr(x, "shape", None)
    return f"array {shape}" if shape is not None else str(x)[:40]


class each:
    """The rules of an op with any number of inputs, from one rule that is told which input it is for."""

    def __init__(self, rule: Callable) -> None:
        self.rule = rule

    def __iter__(self) -> Iterator[Callable]:
        return (functools.partial(self.rule, i) for i in itertools.count())


class together(each):
    """The rules of an op whose inputs' gradients are computed at once, by one rule that returns all of them."""

    composed = False  # of ops: such a rule is captured, or not at all

    def __iter__(self) -> Iterator[Callable]:
        """For one node of one walk: the rules of its inputs, the first of which computes what all of them give."""
        given: tuple = ()
        found: Sequence[Any] = ()

        def of_input(i: int, *args: Any, **params: Any) -> Any:
            nonlocal given, found
            if not given or any(a is not b for a, b in zip(args, given, strict=True)):  # inside vmap, another sample
                given = args
                try:
                    found = self.rule(*args, **params)
                except Exception as error:
                    if self.composed:
                        error.final = True  # type: ignore[attr-defined]
                    if self.composed or mode.capture is None:
                        raise
                    found = mode.capture.rules(self.rule, args, params, error)
            return found[i]

        return (functools.partial(of_input, i) for i in itertools.count())


def parameters(forward: Callable) -> dict[str, Any]:
    """The parameters of a forward function, which follow its inputs and have defaults."""
    if not isinstance(forward, FunctionType):
        return {}
    return {p.name: p.default for p in inspect.signature(forward).parameters.values() if p.default is not p.empty}


def op(vjp: Any, *, arity: int | None = 1, numpy: Any = None, **fields: Any) -> Callable[[Callable], Op]:
    """Decorator: a card whose forward is the decorated function (its parameters, after the inputs, have defaults)."""

    def make(forward: Callable) -> Op:
        card = Op(forward.__name__.strip("_"), forward, vjp, arity=arity, defaults=parameters(forward), **fields)
        functools.update_wrapper(card, forward)
        if card.sympy is not None:
            card.forward = reads_symbols(card, forward)
        CARDS[card.name] = card
        if numpy is not None:
            NUMPY[numpy] = card
        return card

    return make


class Composite(NamedTuple):
    """A function composed of ops, so without a rule of its own: the NumPy function that it is, and how it is called."""

    function: Callable
    numpy: Callable | None
    cases: list[tuple[list, dict]]
    note: str


def composite(numpy: Callable | None = None, *, cases: Any = (), note: str = "") -> Callable[[Callable], Callable]:
    """Decorator: a function composed of ops; it stands in for `numpy` on tensors.

    `cases` are calls to test it with: pairs of a list of inputs and the parameters by name. A tuple of lengths stands
    for an array of that shape, a list for a list of such inputs; anything else is passed on as it is.
    """

    def register(function: Callable) -> Callable:
        COMPOSITES[function.__name__] = Composite(function, numpy, list(cases), note)
        if numpy is not None:
            NUMPY[numpy] = function
        return function

    return register


# ---- elementwise ops: their inputs broadcast ------------------------------------------------------------------------


def elementwise(
    name: str, forward: Callable, *, vjp: Any, sympy: Any, domain: Any, numpy: Any = None, **fields: Any
) -> Op:
    """A card for an op that maps each element. `numpy` is the ufunc it stands for, if `forward` is not that itself."""
    fields.setdefault("defaults", parameters(forward))
    is_ufunc = isinstance(forward, np.ufunc)
    card = Op(name, forward, vjp, sympy=sympy, domain=domain, arity=1 if callable(vjp) else len(vjp), **fields)
    if isinstance(forward, FunctionType):  # the others, NumPy's and Python's own, dispatch by themselves
        card.forward = reads_symbols(card, forward)
    card.__doc__ = f"Elementwise {name}."
    CARDS[name] = card
    for function in (numpy, forward if is_ufunc else None):
        if function is not None:
            NUMPY[function] = card
    return card


def reads_symbols(card: Op, forward: Callable) -> Callable:
    """`forward`, but for arrays of symbols their own reading of the card (NumPy's functions find it without this)."""

    def read(*inputs, **params):
        for x in inputs:
            if type(x) not in READY and hasattr(x, "read_card"):
                return x.read_card(card, inputs, params)
        return forward(*inputs, **params)

    read.__name__ = card.name
    return read
