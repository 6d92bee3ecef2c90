"""The formula of a function, and of its gradient, which backpropagation writes."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy

from ..autodiff import below, walk
from ..ops.card import Op
from ..tensor import Tensor, as_tensor, recording
from .array import SymbolicArray, symbolic_array
from .latex import latex, symbol
from .steps import Steps, steps, symbols_of, unused

WIDTH = 110  # of a printed line; what is longer is better read in steps


def formula(f: Callable, *shapes: Any) -> Formula:
    """The formula of a function of tensors, with a shape for each argument: its value, its gradient, and the steps.

    A shape is () or a number or a tuple of numbers; an array or tensor stands for its shape, but integers and truth
    values (labels, masks) are passed on as they are. Symbols are named as f names its arguments. A module's parameters
    become symbols as well. Without shapes, all arguments are scalars.

    The result is printed as text and shown in a notebook as mathematics. It has `expr` (one SymPy expression, a Matrix
    or an Array), `symbols` (by argument), `gradient` (by argument, as `backward` writes it; for a result y that is not
    a scalar, that of a later loss L, in terms of the symbols dL/dy), `latex`, and `steps`, in which intermediate
    results have names of their own: the names of f's variables where it has some.

    Raises TypeError for a function of other arguments, or with another result than one tensor.

    >>> import minigrad as mg
    >>> def neuron(w, x, b):
    ...     a = mg.tanh(w @ x + b)
    ...     return (a - 1) ** 2
    >>> f = mg.symbolic.formula(neuron, (2,), (2,), ())
    >>> f
    neuron(w, x, b) = (tanh(b + w_0*x_0 + w_1*x_1) - 1)**2
    >>> f.gradient["b"]
    (1 - tanh(b + w_0*x_0 + w_1*x_1)**2)*(2*tanh(b + w_0*x_0 + w_1*x_1) - 2)
    >>> f.steps
    z1 = w @ x + b
    a = tanh(z1)
    L = (a - 1)**2
    <BLANKLINE>
    dL/da = 2 * (a - 1)
    dL/dz1 = dL/da * (1 - a**2)
    dL/dw = dL/dz1 * x
    dL/dx = w * dL/dz1
    dL/db = dL/dz1
    """
    return Formula(f, shapes)


class Formula:
    """A function as a formula: see `mg.symbolic.formula`."""

    def __init__(self, f: Callable, shapes: tuple) -> None:
        if not callable(f):
            raise TypeError(f"formula: a function is needed, and the shapes of its arguments, not {type(f).__name__}")
        if hasattr(f, "named_parameters") and hasattr(f, "symbolic"):
            f = f.symbolic()
        self.name, names = _name(f), _argument_names(f, shapes)
        shapes = shapes or ((),) * len(names)
        self.inputs = {name: _input(name, shape) for name, shape in zip(names, shapes, strict=True)}
        self.result, found = _run(f, list(self.inputs.values()))
        self.names: dict[Tensor, str] = {}  # of every tensor that has one
        taken: set[str] = set()
        given = {x: name for name, x in self.inputs.items() if isinstance(x, Tensor)}
        made = [t for t in reversed(below(self.result)) if t._op is not None] if self.differentiable else []
        leaves = {x: x.name for t in made for x in t._inputs if isinstance(x, Tensor) and x.is_leaf and x.name}
        for t, name in {**given, **leaves, **found}.items():
            if t not in self.names and t is not self.result:
                self.names[t] = unused(name, taken)
        letter = self.result.name or found.get(self.result, "")
        default = "L" if self.result.size == 1 else "y"
        self.letter = unused(default if letter in ("", *self.inputs) else letter, taken)

    @property
    def differentiable(self) -> bool:
        return self.result.requires_grad

    @property
    def symbols(self) -> dict[str, Any]:
        """The symbols by the name of the input or parameter: arrays of them, or one for a scalar."""
        tensors = [t for t in self.names if t.is_leaf and t.requires_grad]
        return {self.names[t]: t._data if t.ndim else t._data.item() for t in tensors}

    @functools.cached_property
    def expr(self) -> Any:
        """The result: an expression, a Matrix, or an Array."""
        return as_sympy(self.result._data)

    @functools.cached_property
    def seed(self) -> SymbolicArray:
        """The gradient of the result: 1, or symbols if it is no scalar."""
        if self.result.size == 1:
            return symbolic_array(np.ones_like(self.result._data))
        return symbols_of(f"dL/d{self.letter}", self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.result.shape

    @functools.cached_property
    def gradient(self) -> dict[str, Any]:
        """The gradient by the name of the input or parameter, each in its shape."""
        found = walk(below(self.result), self.seed, create_graph=False) if self.differentiable else {}
        leaves = [t for t in self.names if t.is_leaf and t.requires_grad]
        return {self.names[t]: as_sympy(found.get(t, np.zeros(t.shape, object))) for t in leaves}

    @functools.cached_property
    def steps(self) -> Steps:
        """Forward and backward, one line for each result that has a name or deserves one."""
        constants = {id(x): name for name, x in self.inputs.items() if not isinstance(x, Tensor)}
        return steps(self.result, self.names, constants, self.letter, self.seed, self.top)

    @property
    def latex(self) -> str:
        """The formula and its gradient as one aligned display."""
        inside = ", ".join(symbol(name, x.ndim > 0) for name, x in self.inputs.items() if isinstance(x, Tensor))
        lines = [rf"{symbol(self.name)}\left({inside}\right) &= {latex(self.expr)}"]
        for name, g in self.gradient.items():
            lines.append(f"{symbol(f'd{self.top}/d{name}', np.ndim(self.symbols[name]) > 0)} &= {latex(g)}")
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    @property
    def top(self) -> str:
        """What the gradient is of."""
        return self.letter if self.result.size == 1 else "L"

    def _repr_latex_(self) -> str:
        return f"$${self.steps.latex if len(repr(self)) > WIDTH else self.latex}$$"

    def __repr__(self) -> str:
        line = f"{self.name}({', '.join(self.inputs)}) = {self.expr}"
        return line if len(line) <= WIDTH else repr(self.steps)


def as_sympy(x: Any) -> Any:
    """An array of symbols as SymPy has it: an expression, a Matrix for two axes, else an Array."""
    array = np.asarray(symbolic_array(x))
    if array.ndim == 0:
        return array.item()
    return sympy.Matrix(*array.shape, array.ravel().tolist()) if array.ndim == 2 else sympy.Array(array.tolist())


def _name(f: Callable) -> str:
    name = getattr(f, "__name__", "f")
    return name if name.isidentifier() else "f"


def _argument_names(f: Callable, shapes: tuple) -> list[str]:
    """A name for each shape: the arguments of f."""
    try:
        code = getattr(f, "forward", f) if hasattr(f, "named_parameters") else f
        parameters = list(inspect.signature(code).parameters.values())
    except (TypeError, ValueError):  # a function that is not written in Python
        parameters = [inspect.Parameter("x", inspect.Parameter.VAR_POSITIONAL)]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p.name for p in parameters if p.name in names and p.default is p.empty]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    if not shapes and not rest:
        return needed
    if rest:
        rest = "x" if isinstance(f, Op) else rest
        more = len(shapes) - len(names)
        names += [rest] if more == 1 and isinstance(f, Op) else [f"{rest}{i + 1}" for i in range(more)]
    if not len(needed) <= len(shapes) <= len(names):
        call, n = f"{_name(f)}({', '.join(names)})", len(needed)
        raise TypeError(f"formula: {call} needs {n} shape{'s' if n != 1 else ''}, and {len(shapes)} were given")
    return names[: len(shapes)]


def _input(name: str, shape: Any) -> Any:
    """A tensor of symbols of this shape, or in place of this example."""
    if isinstance(shape, Tensor):
        if shape.dtype.hasobject:
            return shape
        shape = shape._data
    if isinstance(shape, np.ndarray | np.generic):
        if shape.dtype.kind in "iub":
            return shape
        shape = shape.shape
    shape = (shape,) if isinstance(shape, int) else shape
    if not isinstance(shape, tuple | list) or not all(isinstance(n, int | np.integer) and n >= 0 for n in shape):
        raise TypeError(f"formula: the shape of {name} should be numbers such as (2, 3), or (), not {shape!r}")
    return Tensor(symbols_of(name, tuple(shape)), True, name)


def _run(f: Callable, inputs: list[Any]) -> tuple[Tensor, dict[Tensor, str]]:
    """The result of f, and the names of f's own variables for the tensors that they held first."""
    code = getattr(getattr(f, "forward", f), "__code__", None)
    names: dict[Tensor, str] = {}

    def look(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code is not code:
            return None
        for name, value in frame.f_locals.items():
            if isinstance(value, Tensor) and not name.startswith("_"):
                names.setdefault(value, name)
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        with recording():
            y = f(*inputs)
    finally:
        sys.settrace(before)
    if isinstance(y, tuple | list | dict) or y is None:
        raise TypeError(f"formula: {_name(f)} should return one tensor, and returned {type(y).__name__}")
    y = as_tensor(y)
    return (y if y.dtype.hasobject else Tensor(symbolic_array(y._data))), names
