"""A SymPy expression as a function on tensors: a short program of ops, each subexpression computed once."""

from __future__ import annotations

import functools
import inspect
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy

from .. import ops
from ..ops import special
from ..tensor import Tensor, as_tensor, plain
from .array import SymbolicArray

Env = dict[sympy.Basic, int]  # where the value of a symbol is


def function(expr: Any, args: Any, functions: Mapping[Any, Callable] | None = None) -> Function:
    """A SymPy expression (or a Matrix, Array or list of them) as a function of tensors, to compute with and to train.

    `args` are its arguments in order: symbols, or Matrices, MatrixSymbols, Arrays or tensors of symbols. Arguments
    broadcast: a symbol takes a tensor of any shape; one of shape (n, m) a tensor of which these are the last axes. A
    Matrix of expressions likewise gives a tensor with its axes last. The result can be differentiated to any order,
    and read on symbols again. floor, sign and Heaviside have slope 0; of a Piecewise, only the piece that holds counts.

    Raises ValueError for symbols that are no arguments, TypeError for what is no expression of real numbers, and for a
    function that has no op, unless `functions` has an op for it, by the SymPy function or its name.

    >>> import sympy
    >>> x, a = sympy.symbols("x a")
    >>> f = mg.symbolic.function(sympy.Piecewise((x**2, x < 1), (a * sympy.log(x) + 1, True)), [x, a])
    >>> f(np.array([0.5, 1.0, np.e]), 2.0)
    tensor([0.25, 1.  , 3.  ])
    >>> mg.grad(f, argnums=(0, 1))(0.5, 2.0)
    (tensor(1.), tensor(0.))
    >>> R = sympy.Matrix([[sympy.cos(x), -sympy.sin(x)], [sympy.sin(x), sympy.cos(x)]])
    >>> mg.symbolic.function(R, x)(np.zeros(5)).shape
    (5, 2, 2)
    """
    return Function(expr, args, functions or {})


class Function:
    """A SymPy expression that can be called: see `mg.symbolic.function`."""

    def __init__(self, expr: Any, args: Any, functions: Mapping[Any, Callable]) -> None:
        self.expr = expr
        elements, self.shape = _elements(expr)
        if not elements:
            raise ValueError("function: there is no expression to compute")
        free = set().union(*(e.free_symbols for e in elements))
        self.args = [_argument(a, free) for a in (args if isinstance(args, list | tuple) else [args])]
        known = [s for a in self.args for s in a.symbols]
        _check_known(free, known)
        replaced = {a.matrix: a.explicit for a in self.args if a.matrix is not None}
        elements = [e.xreplace(replaced).doit() for e in elements]
        self.program = Program({_name(k): f for k, f in functions.items()}, len(known))
        env = {s: i for i, s in enumerate(known)}
        if not any(e.has(sympy.Piecewise) for e in elements):  # whose pieces hold in their own places only
            shared, elements = sympy.cse(elements, order="none", list=True)
            for s, e in shared:
                env[s] = self.program.build(e, env)
        self.results = [self.program.build(e, env) for e in elements]
        names = [a.name if a.name.isidentifier() else f"x{i}" for i, a in enumerate(self.args)]
        kind = inspect.Parameter.POSITIONAL_ONLY
        self.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])

    def __call__(self, *inputs: Any) -> Any:
        """The value at these inputs, in the shape that they broadcast to and that of the expression."""
        if len(inputs) != len(self.args):
            needed = ", ".join(a.name for a in self.args)
            raise TypeError(f"function of {needed}: {len(inputs)} inputs were given")
        inputs = tuple(x if isinstance(x, Tensor | np.ndarray) else as_tensor(x) for x in inputs)
        values = [v for a, x in zip(self.args, inputs, strict=True) for v in a.take(x)]
        try:
            batch = np.broadcast_shapes(*(np.shape(plain(v)) for v in values))
        except ValueError:
            shapes = ", ".join(f"{a.name} {x.shape}" for a, x in zip(self.args, inputs, strict=True))
            raise ValueError(f"function: the inputs do not broadcast: {shapes}") from None
        found = self.program.run(values, any(isinstance(plain(x), SymbolicArray) for x in inputs))
        results = [_of_shape(found[i], batch) for i in self.results]
        if self.shape == ():
            return results[0]
        return ops.reshape(ops.stack(results, -1), batch + self.shape)

    def __repr__(self) -> str:
        return f"<function of {', '.join(a.name for a in self.args)}: {str(self.expr)[:80]}>"


def _of_shape(x: Any, shape: tuple[int, ...]) -> Any:
    if np.shape(plain(x)) == shape:
        return x if isinstance(x, Tensor) else ops.broadcast_to(x, shape)
    return ops.broadcast_to(x, shape)


# ---- the arguments --------------------------------------------------------------------------------------------------


class Argument:
    """One argument: its name, its shape, and its symbols."""

    def __init__(self, name: str, shape: tuple[int, ...], symbols: list[sympy.Symbol], matrix: Any = None) -> None:
        self.name, self.shape, self.symbols, self.matrix = name, shape, symbols, matrix
        self.explicit = sympy.ImmutableMatrix(*shape, symbols) if matrix is not None else None

    def take(self, x: Any) -> list[Any]:
        """The values of the symbols in a tensor of which the argument's axes are the last."""
        n = len(self.shape)
        if n == 0:
            return [x]
        if x.shape[len(x.shape) - n :] != self.shape:
            raise ValueError(f"function: {self.name} has shape {self.shape}, and a tensor of shape {x.shape} was given")
        return [ops.getitem(x, (..., *i)) for i in np.ndindex(self.shape)]


def _argument(a: Any, free: set[sympy.Symbol]) -> Argument:
    if isinstance(a, str):
        named = [s for s in free if s.name == a] or [sympy.Symbol(a)]
        a = named[0]
    if isinstance(a, sympy.MatrixSymbol):
        if not all(n.is_Integer for n in a.shape):
            raise TypeError(f"function: the shape of {a} should be numbers, not {a.shape}")
        shape = tuple(map(int, a.shape))
        symbols = [sympy.Dummy("_".join([a.name, *map(str, i)]), real=True) for i in np.ndindex(shape)]
        return Argument(a.name, shape, symbols, a)
    if isinstance(a, sympy.Symbol):
        return Argument(a.name, (), [a])
    name = a.name if isinstance(a, Tensor) and a.name else ""
    elements, shape = _elements(a)
    if not all(isinstance(s, sympy.Symbol) for s in elements):
        raise TypeError(f"function: an argument is a symbol, or a matrix or array of symbols, not {str(a)[:60]}")
    return Argument(name or f"[{', '.join(map(str, elements))}]"[:40], shape, elements)


def _elements(expr: Any) -> tuple[list[sympy.Basic], tuple[int, ...]]:
    """The expressions in a matrix, an array, a list or a tensor, and its shape."""
    expr = expr._data if isinstance(expr, Tensor) else expr
    if isinstance(expr, sympy.MatrixExpr) and not isinstance(expr, sympy.MatrixBase):
        expr = expr.as_explicit()
    if isinstance(expr, sympy.MatrixBase | sympy.NDimArray):
        return list(sympy.flatten(expr)), tuple(map(int, expr.shape))
    array = np.asarray(expr, dtype=object)
    elements = []
    for e in array.ravel().tolist():
        try:
            elements.append(sympy.sympify(e, strict=True))
        except sympy.SympifyError:
            what = f"{type(e).__name__} {str(e)[:40]!r}"
            raise TypeError(f"function: an expression of SymPy's is needed, not {what}") from None
    return elements, array.shape


def _check_known(free: set[sympy.Basic], known: list[sympy.Symbol]) -> None:
    names = [s.name for s in known]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"function: {twice} is an argument twice")
    unknown = sorted((s for s in free if s not in known and not isinstance(s, sympy.MatrixSymbol)), key=str)
    if unknown:
        sentence = f"function: {', '.join(map(str, unknown))} in the expression is none of the arguments {names}"
        if unknown[0].name in names:
            sentence += f"; the argument is another {unknown[0]} to SymPy, with other assumptions than real or positive"
        raise ValueError(sentence)


# ---- the program ----------------------------------------------------------------------------------------------------


class Program:
    """Instructions, each an op and the places of its inputs, or a number. The first values are the inputs."""

    def __init__(self, functions: dict[str, Callable], inputs: int) -> None:
        self.functions = functions
        self.inputs = inputs
        self.steps: list[Any] = []
        self.places: dict[Any, int] = {}  # of instructions, lest one be there twice

    def run(self, inputs: list[Any], symbolic: bool) -> list[Any]:
        """All values; numbers stay exact among symbols."""
        values = list(inputs)
        for step in self.steps:
            if isinstance(step, sympy.Basic):
                values.append(step if symbolic else _number(step))
            else:
                op, places = step
                picked = [values[i] for i in places]
                values.append(picked[1] if op is _shielded and symbolic else op(*picked))
        return values

    def put(self, step: Any) -> int:
        if step not in self.places:
            self.steps.append(step)
            self.places[step] = self.inputs + len(self.steps) - 1
        return self.places[step]

    def apply(self, op: Callable, *places: int) -> int:
        return self.put((op, places))

    def build(self, e: Any, env: Env) -> int:
        """Instructions for an expression, with the values of symbols where `env` says; the place of its value."""
        if e in env:
            return env[e]
        if e.is_number and not isinstance(e, sympy.Piecewise) or e in (sympy.true, sympy.false):
            return self.put(_checked(e))
        for kind, build in COMPOSED.items():
            if isinstance(e, kind):
                return build(self, e, env)
        name = _name(e.func)
        op = self.functions.get(name) or ELEMENTWISE.get(e.func)
        if op is None:
            raise TypeError(
                f"function: {name} has no op here, in {str(e)[:60]}; with an op of your own (see mg.primitive) say "
                f"functions={{{name!r}: op}}"
            )
        return self.apply(op, *[self.build(a, env) for a in e.args])

    def chain(self, op: Callable, places: list[int]) -> int:
        return functools.reduce(lambda a, b: self.apply(op, a, b), places)

    # ---- kinds of expressions ----------------------------------------------------------------------------------

    def add(self, e: sympy.Add, env: Env) -> int:
        positive = [a for a in e.args if not a.could_extract_minus_sign()]
        total = self.chain(ops.add, [self.build(a, env) for a in positive]) if positive else None
        for a in e.args:
            if a.could_extract_minus_sign():
                place = self.build(-a, env)
                total = self.apply(ops.negative, place) if total is None else self.apply(ops.subtract, total, place)
        return total  # type: ignore[return-value]

    def multiply(self, e: sympy.Mul, env: Env) -> int:
        if e.args[0] == -1:
            return self.apply(ops.negative, self.build(-e, env))
        below = [a for a in e.args if a.is_Pow and a.exp.is_number and a.exp.could_extract_minus_sign()]
        kept = [a for a in below if not _is_logistic(a)]
        above = [self.build(a, env) for a in e.args if a not in kept]
        top = self.chain(ops.multiply, above) if above else self.put(sympy.S.One)
        if not kept:
            return top
        return self.apply(ops.divide, top, self.chain(ops.multiply, [self.build(1 / a, env) for a in kept]))

    def power(self, e: sympy.Pow, env: Env) -> int:
        base, exponent = e.args
        if _is_logistic(e):
            return self.apply(ops.sigmoid, self.build(-_exponent(base), env))
        if exponent.is_number and exponent.could_extract_minus_sign():
            return self.apply(ops.reciprocal, self.build(base**-exponent, env))
        if exponent in ROOTS:
            return self.apply(ROOTS[exponent], self.build(base, env))
        place = self.build(base, env)
        if exponent.is_Integer:
            return self.apply(_to_the(int(exponent)), place)
        return self.apply(ops.power, place, self.build(exponent, env))

    def log(self, e: sympy.log, env: Env) -> int:
        inside = e.args[0]
        if inside.is_Add and inside.args[0] == 1:  # without the digits that the 1 would cost, and without overflow
            if _exponent(inside) is not None:
                return self.apply(ops.logaddexp, self.put(sympy.S.Zero), self.build(_exponent(inside), env))
            return self.apply(ops.log1p, self.build(inside - 1, env))
        return self.apply(ops.log, self.build(inside, env))

    def piecewise(self, e: sympy.Piecewise, env: Env) -> int:
        """Each piece is computed from inputs for which it holds, lest a pole of another piece give 0 * inf."""
        conditions, pieces, before = [], [], sympy.false
        for piece, condition in e.args:
            holds = self.build(sympy.And(condition, sympy.Not(before)), env)
            before = sympy.Or(before, condition)
            safe = _inside(piece, condition, env) if condition is not sympy.true or len(e.args) > 1 else {}
            shielded = {s: self.apply(_shielded, holds, env[s], self.put(c)) for s, c in safe.items()}
            pieces.append(self.build(piece, env | shielded))
            conditions.append(holds)
        value = self.put(sympy.nan)
        if e.args[-1].cond is sympy.true:
            value, conditions = pieces.pop(), conditions[:-1]
        for holds, piece in zip(reversed(conditions), reversed(pieces), strict=True):
            value = self.apply(ops.where, holds, piece, value)
        return value

    def many(self, e: sympy.Basic, env: Env) -> int:
        return self.chain(MANY[e.func], [self.build(a, env) for a in e.args])

    def rewritten(self, e: sympy.Basic, env: Env) -> int:
        return self.build(REWRITTEN[e.func](*e.args), env)


def _shielded(condition: Any, x: Any, safe: Any) -> Any:
    """x where the condition holds, else a number that does no harm."""
    return ops.where(condition, x, safe)


def _inside(piece: sympy.Expr, condition: Any, env: Env) -> dict[sympy.Symbol, sympy.Float]:
    """A point at which the piece and its slopes are finite numbers."""
    symbols = sorted((s for s in piece.free_symbols if s in env), key=str)
    rng = random.Random(0)
    for scale in (1, 1, 1, 4, 4, 4, 20, 20, 100, 100):
        at = {s: sympy.Rational(rng.randint(-127, 127) * 2 + 1, 256) * scale for s in symbols}
        values = [piece.xreplace(at), *(sympy.diff(piece, s).xreplace(at) for s in symbols)]
        if all(_is_finite(v) for v in values):
            return at
    return {}


def _is_finite(v: sympy.Expr) -> bool:
    try:
        v = v.doit().evalf(15)
    except Exception:  # SymPy's own, of many kinds: then this point is not used
        return False
    return bool(v.is_real and v.is_finite)


def _checked(e: sympy.Basic) -> sympy.Basic:
    """A number that floats can hold."""
    if e in (sympy.true, sympy.false, sympy.nan, sympy.oo, -sympy.oo):
        return e
    if not e.is_extended_real:
        raise TypeError(f"function: {e} is no real number")
    return e


def _number(e: sympy.Basic) -> Any:
    return bool(e) if e in (sympy.true, sympy.false) else float(e)


def _name(f: Any) -> str:
    return f if isinstance(f, str) else getattr(f, "__name__", str(f))


def _exponent(e: sympy.Expr) -> Any:
    """u of 1 + exp(u); None for anything else."""
    if e.is_Add and len(e.args) == 2 and e.args[0] == 1 and isinstance(e.args[1], sympy.exp):
        return e.args[1].args[0]
    return None


def _is_logistic(e: sympy.Expr) -> bool:
    return e.is_Pow and e.exp == -1 and _exponent(e.base) is not None


@functools.cache
def _to_the(n: int) -> Callable:
    return ops.square if n == 2 else lambda x: ops.power(x, n)


# ---- functions, by ops that there are -------------------------------------------------------------------------------


def _relation(ufunc: np.ufunc) -> Callable:
    return lambda a, b: ops.compare(ufunc, a, b)


ROOTS = {sympy.Rational(1, 2): ops.sqrt}
ELEMENTWISE: dict[Any, Callable] = {
    sympy.exp: ops.exp, sympy.sin: ops.sin, sympy.cos: ops.cos, sympy.tan: ops.tan, sympy.sinh: ops.sinh,
    sympy.cosh: ops.cosh, sympy.tanh: ops.tanh, sympy.asin: ops.arcsin, sympy.acos: ops.arccos, sympy.atan: ops.arctan,
    sympy.atan2: ops.arctan2, sympy.asinh: ops.arcsinh, sympy.acosh: ops.arccosh, sympy.atanh: ops.arctanh,
    sympy.sinc: lambda x: ops.sinc(x / np.pi), sympy.erf: ops.erf, sympy.erfc: special.erfc,
    sympy.erfinv: special.erfinv, sympy.erfcinv: special.erfcinv,
    sympy.gamma: special.gamma, sympy.loggamma: special.gammaln, sympy.digamma: special.digamma,
    sympy.polygamma: special.polygamma, sympy.beta: special.beta,
    sympy.besselj: special.jv, sympy.besseli: special.iv, sympy.jn: special.spherical_jn, sympy.Abs: ops.abs,
    sympy.sign: ops.sign, sympy.Heaviside: ops.heaviside, sympy.DiracDelta: lambda x, *order: 0 * x,
    sympy.floor: ops.floor, sympy.ceiling: ops.ceil, sympy.Mod: ops.mod, sympy.frac: lambda x: x - ops.floor(x),
    sympy.Not: lambda a: np.logical_not(plain(a)),
    sympy.Eq: _relation(np.equal), sympy.Ne: _relation(np.not_equal), sympy.Lt: _relation(np.less),
    sympy.Le: _relation(np.less_equal), sympy.Gt: _relation(np.greater), sympy.Ge: _relation(np.greater_equal),
    sympy.ITE: ops.where,
}  # fmt: skip
MANY: dict[Any, Callable] = {
    sympy.Max: ops.maximum, sympy.Min: ops.minimum, sympy.And: np.logical_and, sympy.Or: np.logical_or,
    sympy.Xor: np.logical_xor,
}  # fmt: skip
REWRITTEN: dict[Any, Callable] = {
    sympy.cot: lambda x: 1 / sympy.tan(x), sympy.sec: lambda x: 1 / sympy.cos(x),
    sympy.csc: lambda x: 1 / sympy.sin(x), sympy.coth: lambda x: 1 / sympy.tanh(x),
    sympy.sech: lambda x: 1 / sympy.cosh(x), sympy.csch: lambda x: 1 / sympy.sinh(x),
    sympy.acot: lambda x: sympy.atan(1 / x), sympy.asec: lambda x: sympy.acos(1 / x),
    sympy.acsc: lambda x: sympy.asin(1 / x), sympy.acoth: lambda x: sympy.atanh(1 / x),
}  # fmt: skip
COMPOSED: dict[Any, Callable[..., int]] = {
    sympy.Add: Program.add, sympy.Mul: Program.multiply, sympy.Pow: Program.power, sympy.log: Program.log,
    sympy.Piecewise: Program.piecewise, tuple(MANY): Program.many, tuple(REWRITTEN): Program.rewritten,
}  # fmt: skip
