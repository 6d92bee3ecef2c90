"""A graph written as text or as LaTeX: what a result was computed by, in terms of the tensors that have a name.

Arrays are written as wholes: `tanh(x @ W + b)` and not one line for each element.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import sympy
from sympy.core.relational import Relational

from ..ops.card import CARDS
from ..ops.reduce import kept
from ..tensor import Tensor, plain
from .array import exact_array, is_truth_value
from .latex import latex, symbol

SUM, PRODUCT, POWER, ATOM = range(4)  # how tightly an expression holds together
Written = tuple[str, int]


class Product(NamedTuple):
    """A number, times the factors above the line, divided by those below."""

    number: sympy.Expr
    above: list[Any]
    below: list[Any]


JOINED = {sympy.And: " & ", sympy.Or: " | "}
SUMS = {"add", "subtract"}
PRODUCTS = {"multiply", "divide", "negative", "reciprocal"}
UNSEEN = {"identity", "astype", "broadcast_to"}  # ops that change no value
RESHAPED = {"reshape", "expand_dims", "squeeze"}  # of a single number, which broadcasts anyway


class Writer:
    """Writes in Python's words."""

    plus, minus, times, apart, matrix_times = " + ", " - ", " * ", " / ", " @ "

    def __init__(self, names: dict[Tensor, str], constants: dict[int, str]) -> None:
        self.names = names
        self.constants = constants  # the names of arrays that are no tensors, by their id

    # ---- pieces that LaTeX writes in another way ---------------------------------------------------------------

    def name(self, name: str, array: bool) -> str:
        return name

    def value(self, x: Any) -> str:
        return str(x).replace("oo", "inf") if x in (sympy.oo, -sympy.oo) else str(x)

    def array(self, x: np.ndarray) -> str:
        return str(x.tolist())

    def ones(self, shape: tuple[int, ...]) -> str:
        return f"ones({shape})"

    def bracket(self, text: str) -> str:
        return f"({text})"

    def call(self, function: str, arguments: list[str]) -> str:
        return f"{function}({', '.join(arguments)})"

    def transposed(self, text: str) -> str:
        return f"{text}.T"

    def power(self, base: str, exponent: Written) -> str:
        return f"{base}**{self.at(POWER + 1, exponent)}"

    def quotient(self, a: Written, b: Written) -> Written:
        return self.at(PRODUCT, a) + self.apart + self.at(POWER, b), PRODUCT

    def where(self, condition: str, a: Any, b: Any) -> Written:
        return self.call("where", [condition, self.text(a), self.text(b)]), ATOM

    def item(self, text: str, key: str) -> str:
        return f"{text}[{key}]"

    # ---- the tree ----------------------------------------------------------------------------------------------

    def text(self, x: Any) -> str:
        """What an input of an op is."""
        return self.write(x)[0]

    def at(self, tightness: int, written: Written) -> str:
        """In brackets, if it does not hold together as tightly as this."""
        return written[0] if written[1] >= tightness else self.bracket(written[0])

    def write(self, x: Any) -> Written:
        if id(x) in self.constants:
            return self.name(self.constants[id(x)], np.ndim(x) > 0), ATOM
        if isinstance(x, Tensor) and x in self.names:
            return self.name(self.names[x], x.ndim > 0), ATOM
        return self.definition(x)

    def definition(self, x: Any) -> Written:
        """What x was made by: the op and what it was called with, or a constant."""
        op = x._op if isinstance(x, Tensor) else None
        if op is None or is_constant(x):
            return self.constant(plain(x))
        inputs, params = x._inputs, x._params
        ours = op.name in CARDS and CARDS[op.name] is op  # and not a user's op of the same name
        own = getattr(self, f"_{op.name}", None) if ours else None
        if own is not None:
            return own(*inputs, **params)
        if op.name in SUMS:
            return self.total(x)
        if op.name in PRODUCTS:
            return self.product(self.factors_of(x), x.shape)
        if self.seen(x) is not x:
            return self.write(self.seen(x))
        given = [f"{k}={v}" for k, v in params.items() if k not in op.defaults or np.any(v != op.defaults[k])]
        write = self.whole if op.domain is None else self.write
        return self.call(op.name, [*(write(x)[0] for x in inputs), *given]), ATOM

    def whole(self, x: Any) -> Written:
        """x where its shape matters, so that a number alone would not do for an array of equal ones."""
        if not self.is_number(x) or np.ndim(plain(x)) == 0:
            return self.write(x)
        number = exact_array(plain(x)).flat[0]
        return self.times_all(number, [], [self.ones(np.shape(plain(x)))])

    def seen(self, x: Any) -> Any:
        """x, or what it is a mere copy of."""
        while isinstance(x, Tensor) and x._op is not None and x not in self.names:
            inside = x._inputs[0]
            if x._op.name not in UNSEEN and not (x._op.name in RESHAPED and np.ndim(plain(inside)) == 0):
                break
            x = inside
        return x

    def constant(self, x: Any) -> Written:
        """A number, or an array of numbers, of expressions or of relations."""
        array = exact_array(x)
        elements = array.ravel().tolist()
        if elements and all(map(_counts, elements)):
            return self.name("ties", True), ATOM  # how many elements share a maximum
        condition = self.condition(array) if elements and is_truth_value(elements[0]) else None
        if condition is not None:
            return condition
        if elements and all(e == elements[0] for e in elements):
            tight = SUM if is_truth_value(elements[0]) else sympy_tightness(elements[0])
            return self.value(elements[0]), tight
        return self.array(array), ATOM

    def condition(self, array: np.ndarray) -> Written | None:
        """An array of relations as one relation of arrays that have names."""
        relations = array.ravel().tolist()
        kind = type(relations[0])
        if not all(type(r) is kind and len(r.args) == len(relations[0].args) for r in relations):
            return None
        if kind in JOINED:
            ordered = [sorted(r.args, key=lambda part: (type(part).__name__, str(part.args[1:]))) for r in relations]
            parts = [np.array(part, object).reshape(array.shape) for part in zip(*ordered, strict=True)]
            conditions = [self.condition(part) for part in parts]
            if None in conditions:
                return None
            return self.relation(JOINED[kind]).join(self.bracket(c[0]) for c in conditions if c), SUM
        if not isinstance(relations[0], Relational):
            return None
        sign = relations[0].rel_op
        sides = []
        for i in (0, 1):
            side = np.empty(array.shape, object)
            for place, r in zip(np.ndindex(array.shape), relations, strict=True):
                side[place] = r.args[i]
            if all(e == side.flat[0] for e in side.flat):
                sides.append(self.value(side.flat[0]))
            else:
                sides.append(next((text for t in self.names if (text := self.spread(t, side))), ""))
        return (f" {self.relation(sign)} ".join(sides), SUM) if all(sides) else None

    def spread(self, t: Tensor, to: np.ndarray) -> str:
        """How t is written where it broadcasts to this array; nothing, where it does not."""
        shapes = [t.shape] + [t.shape[:i] + (1,) + t.shape[i:] for i in range(t.ndim + 1) if t.ndim < to.ndim]
        for shape in shapes:
            if _spreads_to(t._data.reshape(shape), to):
                return self.text(t) if shape == t.shape else self.call("reshape", [self.text(t), str(shape)])
        return ""

    def relation(self, sign: str) -> str:
        return sign

    # ---- sums and products ---------------------------------------------------------------------------------------

    def terms(self, x: Any) -> Iterator[Product]:
        """The terms of a sum."""
        x = self.seen(x)
        if isinstance(x, Tensor) and x not in self.names and x._op is not None and x._op.name in SUMS:
            a, b = x._inputs
            sign = 1 if x._op.name == "add" else -1
            yield from self.terms(a)
            yield from (term._replace(number=sign * term.number) for term in self.terms(b))
        else:
            yield self.factors(x)

    def total(self, x: Tensor) -> Written:
        """A sum, in which terms that are the same are taken together."""
        found: dict[str, Product] = {}
        for term in self.terms(x):
            key = self.product(term._replace(number=sympy.S.One))[0]
            before = found.get(key, term._replace(number=sympy.S.Zero))
            found[key] = term._replace(number=before.number + term.number)
        kept = [term for term in found.values() if term.number != 0] or [Product(sympy.S.Zero, [], [])]
        first = next((term for term in kept if not term.number.could_extract_minus_sign()), kept[0])
        others = [term for term in kept if term is not first]
        text, tight = self.product(first)
        for term in others:
            minus = term.number.could_extract_minus_sign()
            written = self.at(PRODUCT, self.product(term._replace(number=-term.number) if minus else term))
            text, tight = text + (self.minus if minus else self.plus) + written, SUM
        return text, tight

    def factors(self, x: Any) -> Product:
        """x as a product: of a number, of what stands above the line and of what stands below it."""
        x = self.seen(x)
        if self.is_number(x):
            return Product(exact_array(plain(x)).flat[0], [], [])
        if not isinstance(x, Tensor) or x in self.names or x._op is None or x._op.name not in PRODUCTS:
            return Product(sympy.S.One, [x], [])
        return self.factors_of(x)

    def factors_of(self, x: Tensor) -> Product:
        a, b = [Product(sympy.S.One, [], []), *map(self.factors, x._inputs)][-2:]
        if x._op.name == "negative":
            return b._replace(number=-b.number)
        if x._op.name != "multiply":  # but divide, or reciprocal
            b = Product(1 / b.number, b.below, b.above)
        return Product(a.number * b.number, a.above + b.above, a.below + b.below)

    def product(self, x: Product, shape: tuple[int, ...] = ()) -> Written:
        """A product and quotient; ones of this shape are a factor where the product is larger than what is in it."""
        number, above, below = x
        shapes = [np.shape(plain(f)) for f in above + below]
        ones = [] if len(np.broadcast_shapes(*shapes)) >= len(shape) or not shapes else [self.ones(shape)]
        sign, number = ("-", -number) if number.could_extract_minus_sign() else ("", number)
        top, bottom = sympy.fraction(number)
        if below:
            written = self.quotient(self.times_all(top, above, ones), self.times_all(bottom, below, []))
        elif top == 1 and not ones and len(above) == 1 and bottom != 1:  # x / 2
            written = self.quotient(self.write(above[0]), (self.value(bottom), ATOM))
        else:
            written = self.times_all(number, above, ones)
        return (sign + self.at(PRODUCT, written), SUM) if sign else written

    def times_all(self, number: sympy.Expr, factors: list[Any], ones: list[str]) -> Written:
        if not factors and not ones:
            return self.value(number), sympy_tightness(number)
        if len(factors) == 1 and number == 1 and not ones:
            return self.write(factors[0])
        if len(factors) == 2 and not ones:
            for a, b in (factors, factors[::-1]):
                if self.expands(a, -1) and (self.expands(b, -2) or np.ndim(plain(b)) == 1):
                    row = b._inputs[0] if self.expands(b, -2) else b
                    return self.times_text(number, self.outer(a._inputs[0], row))
        parts = [self.write(f) for f in factors]
        uses = Counter(parts)
        powers = [self.power(self.at(ATOM, p), (str(n), ATOM)) if n > 1 else self.at(POWER, p) for p, n in uses.items()]
        first = [] if number == 1 else [self.at(PRODUCT, (self.value(number), sympy_tightness(number)))]
        written = first + powers + ones
        return self.join(number, factors, written), PRODUCT if len(written) > 1 else POWER

    def times_text(self, number: sympy.Expr, written: Written) -> Written:
        if number == 1:
            return written
        first = self.at(PRODUCT, (self.value(number), sympy_tightness(number)))
        return first + self.times + self.at(POWER, written), PRODUCT

    def expands(self, x: Any, axis: int) -> bool:
        """Whether x is a vector with a new axis there, and has no name."""
        if not isinstance(x, Tensor) or x in self.names or x._op is not CARDS["expand_dims"]:
            return False
        return x._params["axis"] == axis and np.ndim(plain(x._inputs[0])) == 1

    def outer(self, column: Any, row: Any) -> Written:
        return self.call("outer", [self.text(column), self.text(row)]), ATOM

    def join(self, number: sympy.Expr, factors: list[Any], written: list[str]) -> str:
        return self.times.join(written)

    def is_number(self, x: Any) -> bool:
        """Whether x is one number, or an array of equal ones."""
        if isinstance(x, Tensor) and (x in self.names or not is_constant(x)):
            return False
        elements = exact_array(plain(x)).ravel().tolist()
        return bool(elements) and elements[0].is_number is True and all(e == elements[0] for e in elements)

    # ---- one op each ---------------------------------------------------------------------------------------------

    def _square(self, x: Any) -> Written:
        return self._power(x, 2)

    def _power(self, x: Any, b: Any) -> Written:
        exponent = self.write(b)
        return self.write(x) if exponent[0] == "1" else (self.power(self.at(ATOM, self.write(x)), exponent), POWER)

    def _matmul(self, a: Any, b: Any) -> Written:
        if self.is_number(a) and np.ndim(plain(a)) == 1 and exact_array(plain(a)).flat[0] == 1:
            return self._sum(b, 0)  # as the walk sums over the rows that a bias was added to
        left = self.whole(a)
        first = isinstance(a, Tensor) and a._op is CARDS["matmul"]  # a @ b @ c needs no brackets
        left_text = left[0] if first else self.at(POWER, left)
        return left_text + self.matrix_times + self.at(POWER, self.whole(b)), PRODUCT

    def _linear(self, x: Any, w: Any, b: Any) -> Written:
        weight = self.transposed(self.at(ATOM, self.write(w)))
        product = self.at(POWER, self.write(x)) + self.matrix_times + weight
        return product + self.plus + self.at(SUM, self.write(b)), SUM

    def _transpose(self, x: Any, axes: Any = None) -> Written:
        if axes is None and isinstance(x, Tensor) and x not in self.names and x._op is CARDS["transpose"]:
            return self.write(x._inputs[0])  # twice is not at all
        if axes is not None and tuple(axes) != (1, 0):
            return self.call("transpose", [self.text(x), str(tuple(axes))]), ATOM
        return self.transposed(self.at(ATOM, self.write(x))), ATOM

    def _reshape(self, x: Any, shape: Any) -> Written:
        if isinstance(x, Tensor) and x not in self.names and x._op is CARDS["sum"]:
            inside, axis = x._inputs[0], x._params["axis"]
            if axis is not None and kept(plain(inside), axis) == tuple(shape):
                return self.reduction("sum", inside, axis, True)
        return self.call("reshape", [self.text(x), str(tuple(np.ravel(shape).tolist()))]), ATOM

    def _where(self, condition: Any, a: Any, b: Any) -> Written:
        known = exact_array(plain(condition)).ravel().tolist()
        if all(c is sympy.true for c in known):
            return self.write(a)
        return self.write(b) if all(c is sympy.false for c in known) else self.where(self.text(condition), a, b)

    def _where_positive(self, a: Any, x: Any) -> Written:
        return self.where(f"{self.text(x)} > 0", a, 0)

    def _sum(self, x: Any, axis: Any = None, keepdims: bool = False) -> Written:
        return self.reduction("sum", x, axis, keepdims)

    def _mean(self, x: Any, axis: Any = None, keepdims: bool = False) -> Written:
        return self.reduction("mean", x, axis, keepdims)

    def _max(self, x: Any, axis: Any = None, keepdims: bool = False) -> Written:
        return self.reduction("max", x, axis, keepdims)

    def _min(self, x: Any, axis: Any = None, keepdims: bool = False) -> Written:
        return self.reduction("min", x, axis, keepdims)

    def reduction(self, name: str, x: Any, axis: Any, keepdims: bool) -> Written:
        axis = axis[0] if isinstance(axis, tuple) and len(axis) == 1 else axis
        along = [f"axis={axis}"] if axis is not None else []
        return self.call(name, [self.text(x), *along, *(["keepdims=True"] if keepdims else [])]), ATOM

    def _expand_dims(self, x: Any, axis: Any) -> Written:
        if np.ndim(plain(x)) == 1 and axis in (-1, 1, -2, 0):
            return self.item(self.at(ATOM, self.write(x)), ":, None" if axis in (-1, 1) else "None, :"), ATOM
        return self.call("expand_dims", [self.text(x), f"axis={axis}"]), ATOM

    def _einsum(self, *xs: Any, subscripts: str) -> Written:
        return self.call("einsum", [f"'{subscripts}'", *(self.whole(x)[0] for x in xs)]), ATOM

    def _getitem(self, x: Any, key: Any) -> Written:
        if isinstance(x, Tensor) and x not in self.names and x._op is CARDS["matmul"]:  # of vectors as matrices
            a, b = x._inputs
            if key == (..., 0) and self.expands(b, -1):
                return self._matmul(a, b._inputs[0])
            if key == (..., 0, slice(None)) and self.expands(a, -2):
                return self._matmul(a._inputs[0], b)
        return self.item(self.at(ATOM, self.write(x)), _key(key)), ATOM

    def _scatter(self, x: Any, key: Any, shape: Any) -> Written:
        return self.call("scatter", [self.text(x), f"at=[{_key(key)}]", f"shape={tuple(shape)}"]), ATOM

    def _concatenate(self, *xs: Any, axis: int) -> Written:
        return self.joined("concatenate", xs, axis)

    def _stack(self, *xs: Any, axis: int) -> Written:
        return self.joined("stack", xs, axis)

    def joined(self, name: str, xs: Any, axis: int) -> Written:
        parts = [self.whole(x)[0] for x in xs]
        return self.call(name, [f"[{', '.join(parts)}]", *([f"axis={axis}"] if axis else [])]), ATOM


LETTERS = {"sigmoid": r"\sigma", "einsum": r"\operatorname{einsum}"}
NATIVE = {"cos", "cosh", "exp", "log", "max", "min", "sin", "sinh", "tan", "tanh"}
RELATIONS = {" & ": r" \land ", " | ": r" \lor ", "<=": r"\le", ">=": r"\ge", "==": "=", "!=": r"\ne"}


class LatexWriter(Writer):
    """Writes in LaTeX: elementwise products as a circled dot, matrix products side by side."""

    times, matrix_times, apart = r" \odot ", " ", " / "

    def name(self, name: str, array: bool) -> str:
        return symbol(name, array)

    def value(self, x: Any) -> str:
        return latex(x)

    def array(self, x: np.ndarray) -> str:
        return latex(x)

    def ones(self, shape: tuple[int, ...]) -> str:
        return r"\mathbf{1}_{" + r" \times ".join(map(str, shape)) + "}"

    def bracket(self, text: str) -> str:
        return rf"\left({text}\right)"

    def call(self, function: str, arguments: list[str]) -> str:
        arguments = [rf"\text{{{a.replace('_', chr(92) + '_')}}}" if re.match(r"\w+=", a) else a for a in arguments]
        native = rf"\{function}" if function in NATIVE else rf"\operatorname{{{function.replace('_', chr(92) + '_')}}}"
        if function == "sqrt":
            return rf"\sqrt{{{arguments[0]}}}"
        if function == "abs":
            return rf"\left|{arguments[0]}\right|"
        return LETTERS.get(function, native) + self.bracket(", ".join(arguments))

    def transposed(self, text: str) -> str:
        return (text if "^" not in text else f"{{{text}}}") + r"^{\top}"

    def power(self, base: str, exponent: Written) -> str:
        return (self.bracket(base) if "^" in base and not base.endswith(r"\right)") else base) + f"^{{{exponent[0]}}}"

    def quotient(self, a: Written, b: Written) -> Written:
        return rf"\frac{{{a[0]}}}{{{b[0]}}}", ATOM

    def join(self, number: sympy.Expr, factors: list[Any], written: list[str]) -> str:
        if number != 1 and len(written) > 1:
            written = [written[0] + r" \, " + written[1], *written[2:]]
        arrays = sum(np.ndim(plain(f)) > 0 for f in factors)
        return (self.times if arrays > 1 else r" \, ").join(written)

    def where(self, condition: str, a: Any, b: Any) -> Written:
        indicator = rf"\mathbb{{1}}\left[{condition}\right]"
        if self.is_number(b) and exact_array(plain(b)).flat[0] == 0:
            one = self.is_number(a) and exact_array(plain(a)).flat[0] == 1
            times = self.times if np.ndim(plain(a)) else r" \, "
            return (indicator if one else self.at(PRODUCT, self.write(a)) + times + indicator), PRODUCT
        cases = rf"{self.text(a)} & {condition} \\ {self.text(b)} & \text{{otherwise}}"
        return rf"\begin{{cases}} {cases} \end{{cases}}", ATOM

    def relation(self, sign: str) -> str:
        return RELATIONS.get(sign, sign)

    def outer(self, column: Any, row: Any) -> Written:
        return self.at(POWER, self.write(column)) + r" \, " + self.transposed(self.at(ATOM, self.write(row))), PRODUCT

    def item(self, text: str, key: str) -> str:
        return rf"{text}\left[{key}\right]"

    def reduction(self, name: str, x: Any, axis: Any, keepdims: bool) -> Written:
        axis = axis[0] if isinstance(axis, tuple) and len(axis) == 1 else axis
        sign = {"sum": r"\sum", "max": r"\max", "min": r"\min"}.get(name, rf"\operatorname{{{name}}}")
        along = rf"_{{\text{{axis }}{axis}}}" if axis is not None else ""
        inside = self.at(POWER, self.write(x)) if name == "sum" else self.bracket(self.text(x))
        return f"{sign}{along} {inside}", PRODUCT if name == "sum" else POWER


def is_constant(x: Tensor) -> bool:
    """Whether no symbol is in it."""
    return not any(e.free_symbols for e in exact_array(x._data).ravel().tolist())


def _spreads_to(x: np.ndarray, to: np.ndarray) -> bool:
    """Whether x broadcasts to this array."""
    try:
        return np.broadcast_to(np.asarray(x), to.shape).tolist() == to.tolist()
    except ValueError:
        return False


def _counts(x: sympy.Basic) -> bool:
    """Whether x is the number of equations that hold."""
    return isinstance(x, sympy.Piecewise | sympy.Add) and all(
        isinstance(part, sympy.Piecewise) and part.args[0].expr == 1 and isinstance(part.args[0].cond, sympy.Eq)
        for part in sympy.Add.make_args(x)
    )


def sympy_tightness(x: sympy.Expr) -> int:
    if x.is_Add or (x.is_number and x.is_negative):
        return SUM
    return PRODUCT if x.is_Mul or (x.is_Rational and not x.is_Integer) else POWER if x.is_Pow else ATOM


def _key(key: Any) -> str:
    """An index as one writes it."""
    if isinstance(key, tuple):
        return ", ".join(map(_key, key)) or "()"
    if isinstance(key, slice):
        step = "" if key.step is None else f":{key.step}"
        return f"{'' if key.start is None else key.start}:{'' if key.stop is None else key.stop}{step}"
    return "..." if key is ... else str(key.tolist() if isinstance(key, np.ndarray) else key)
