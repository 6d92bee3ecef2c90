"""From NumPy's functions to values: what each function of a trace means, element by element.

A function without a rule here is left to NumPy: the native code calls back (`Host`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..batching.standin import POWERS
from ..ops.card import CARDS
from . import windows
from .contractions import total
from .elementwise import CHEAP, COMPARISONS, DEAR, LOGICAL, MOST, OF_TRUTHS, ROOT, SCIPY, TABLES, WRAPPING, Write, call
from .indexing import add_at
from .loops import Loop
from .program import needed
from .rules import INTO, RULES, SEVERAL, running
from .trace import Node, evaluate, mapped, name_of, nodes_in
from .values import (
    TYPES,
    Host,
    Input,
    Kernel,
    Map,
    NoNative,
    Part,
    Reduce,
    Repeat,
    Required,
    Scalar,
    Steps,
    Value,
    is_spread,
    number_in,
    spread,
)  # fmt: skip
from .views import side_by_side

# What a reduction takes over truth values, as it would be over the numbers 0 and 1.
OVER_TRUTHS = dict.fromkeys((np.add, np.maximum, np.logical_or, np.bitwise_or), np.maximum) | dict.fromkeys(
    (np.multiply, np.minimum, np.logical_and, np.bitwise_and), np.minimum
)
REDUCTIONS = (np.add, np.multiply, np.maximum, np.minimum)
SMALL_POWERS = (1, 2, 3, 4)
ROOTS = () if POWERS else (0.5,)  # the powers that NumPy takes as square roots: that of -inf is nan


class Lowering:
    """The values of a trace's nodes, in order."""

    def __init__(self, around: Lowering | None = None) -> None:
        self.made: dict[int, Value] = {}
        self.around = around  # that of the trace in which this one is the body of a loop
        self.constants: list[tuple[Input, np.ndarray]] = []
        self.several: dict[int, list[Value]] = {}  # those of functions that give several
        self.known: dict[Any, Value] = {}  # what was computed before, by function and arguments
        self.checks: list[Callable[..., Exception]] = []  # the errors of what is checked, by its code from 1 on
        self.shown: list[list[Value]] = []  # the values that each of them shows
        if around is not None:
            self.constants, self.checks, self.shown = around.constants, around.checks, around.shown

    # ---- values of arguments ------------------------------------------------------------------------------------

    def value(self, x: Any, like: np.dtype | None = None) -> Value:
        """The value of a node, an array or a number (which takes the dtype that it meets)."""
        if isinstance(x, Node):
            return self.made[x.index]
        array = np.asarray(x)
        loose = isinstance(x, int | float) and not isinstance(x, np.generic)  # a Python number has no dtype of its own
        dtype = np.dtype(like if like is not None and loose else array.dtype)
        if array.ndim == 0:
            return Scalar(array.astype(dtype).item(), dtype) if native(dtype) else self.constant(array)
        if native(dtype) and array.size and (array == array.flat[0]).all() and same_zero(array):
            return spread(Scalar(array.flat[0], dtype), array.shape)
        if array.ndim == 1 and dtype.kind in "iu" and (array == np.arange(len(array))).all():
            return Steps(array.shape, dtype, (), "arange")
        return self.constant(array)

    def constant(self, array: np.ndarray) -> Value:
        key = ("constant", array.dtype.str, array.shape, array.tobytes())
        if key not in self.known:
            value = Input(array.shape, array.dtype, (), "constant")
            self.constants.append((value, np.ascontiguousarray(array)))
            self.known[key] = value
        return self.known[key]

    def input(self, node: Node) -> Input:
        self.made[node.index] = made = Input(node.shape, node.dtype, (), str(node.args[0]))
        return made

    def check(self, error: Callable[..., Exception], shown: Sequence[Value] = ()) -> int:
        """The code of a new check."""
        self.checks.append(error)
        self.shown.append(list(shown))
        return len(self.checks)

    def require(self, holds: Node, error: Callable[..., Exception], shown: Sequence[Node] = ()) -> list[Value]:
        """What has to be computed so that the error is raised, with what it shows, where a condition does not hold."""
        values = [self.value(x) for x in shown]
        required = Required(self.truth(self.value(holds)), self.check(error, values))
        read = {id(x) for x in needed([required]) if isinstance(x, Input)}  # they are in memory as it is
        return [required, *(v for v in values if id(v) not in read)]

    def floats(self, x: Any, dtype: np.dtype) -> Value:
        """The value of an argument in this dtype."""
        return self.cast(self.value(x, dtype), dtype)

    # ---- nodes --------------------------------------------------------------------------------------------------

    def lower(self, node: Node) -> None:
        """Make the value of a node; what an earlier one computed in the same way is not computed again."""
        if isinstance(node.value, tuple):
            self.lower_several(node)
            return
        if node.function == "part":
            whole, i = node.args
            parts, host = self.several.get(whole.index), self.made.get(whole.index)
            self.made[node.index] = parts[i] if parts else Part(host, node.shape, node.dtype, i)  # type: ignore[arg-type]
            return
        if node.function == "constant":
            self.made[node.index] = self.value(node.value)
            return
        key = self.key(node)
        value = self.known.get(key) if key is not None else None
        if value is None:
            value = self.attempted(self.native, node) or self.hosted(node)
            assert (value.shape, value.dtype) == (node.shape, node.dtype), (node, value, value.dtype)
            if key is not None:
                self.known[key] = value
        value.line = value.line or node.line
        if not isinstance(value, Input):
            value.names.append(value.what if isinstance(value, Kernel) else node.name)
        self.made[node.index] = value

    def attempted(self, rule: Callable[[Node], Any], node: Node) -> Any:
        """The native form of a node, None if it has none."""
        try:
            return rule(node)
        except (NoNative, OverflowError):  # a number that does not fit the dtype that it meets
            return None

    def lower_several(self, node: Node) -> None:
        """A function that gives several arrays."""
        if isinstance(node.function, Loop):
            self.made[node.index] = self.repeat(node)
            return
        rule = SEVERAL.get(node.function)
        parts = rule and self.attempted(lambda node: rule(self, node, *node.args, **node.kwargs), node)
        if parts is None:
            self.made[node.index] = self.host(node)
        else:
            self.several[node.index] = parts

    def key(self, node: Node) -> Any:
        """What two nodes share that compute the same."""
        if node.function == "input" or isinstance(node.function, tuple) and node.function[0] == "host":
            return None
        return (node.function, self.spelled(node.args), self.spelled(node.kwargs), node.dtype)

    def spelled(self, x: Any) -> Any:
        if isinstance(x, Node):
            return ("node", id(self.made.get(x.index)))
        if isinstance(x, np.ndarray):
            return (x.dtype.str, x.shape, x.tobytes()) if not x.dtype.hasobject else id(x)
        if type(x) in (tuple, list):
            return (type(x), *map(self.spelled, x))
        if type(x) is dict:
            return tuple((k, self.spelled(v)) for k, v in x.items())
        if type(x) is slice:
            return ("slice", self.spelled((x.start, x.stop, x.step)))
        if isinstance(x, int | float | np.generic):
            return (type(x), repr(x))
        return x if x is None or isinstance(x, str | type | np.dtype) or x is Ellipsis else id(x)

    def native(self, node: Node) -> Value | None:
        """The value of a node that has a native form."""
        if not native(node.dtype) or not all(native(x.dtype) for x in node.inputs()):
            return None
        if any(isinstance(x, np.ndarray | np.generic) and not native(x.dtype) for x in node.args):
            return None
        function, args, kwargs = node.function, node.args, node.kwargs
        if isinstance(function, np.ufunc) and function not in RULES:
            return self.ufunc(function, args, node) if set(kwargs) <= {"dtype"} else None
        kind, ufunc = function if isinstance(function, tuple) else (None, None)
        if kind == "reduce":
            return self.reduction(ufunc, *args, node=node, **kwargs)
        if kind == "accumulate" and ufunc in REDUCTIONS:
            return running(self, node, ufunc, *args, **kwargs)
        if kind == "at" and ufunc in (np.add, np.subtract):
            return add_at(self, node, ufunc is np.subtract, *args)
        if kind == "host":
            return self.card(node)
        rule = INTO.get(ufunc) if kind == "into" else RULES.get(function)
        return None if rule is None else rule(self, node, *args, **kwargs)

    def card(self, node: Node) -> Value | None:
        """The call of a card that has native code of its own."""
        card = getattr(node.function[1].function, "__self__", None)
        name = getattr(card, "name", None)
        if name not in windows.CARDS or CARDS.get(name) is not card or node.dtype.name not in ("float32", "float64"):
            return None
        if not all(isinstance(x, Node | np.ndarray) for x in node.args) or next(nodes_in(node.kwargs), None):
            return None
        inputs = [self.floats(x, node.dtype) for x in node.args]
        return windows.lowered(name, inputs, node.kwargs, node.shape)

    def hosted(self, node: Node) -> Value:
        """The value of a node that Python computes when its turn comes."""
        host = self.host(node)
        return Part(host, node.shape, node.dtype, 0)

    def host(self, node: Node) -> Host:
        """The call of a node's function on arrays."""
        found = list(dict.fromkeys(node.inputs()))

        def compute(*arrays: np.ndarray) -> Any:
            args, kwargs = mapped(dict(zip(found, arrays, strict=True)).__getitem__, Node, (node.args, node.kwargs))
            result = evaluate(node, args, kwargs)
            return result if isinstance(node.value, tuple) else (result,)

        inputs = [self.in_memory(self.made[x.index]) for x in found]
        host = Host(inputs, compute, node.name)
        host.line = node.line
        return host

    def in_memory(self, x: Value) -> Value:
        """A copy of what has no memory of its own, or lies elsewhere in each step of a loop."""
        if isinstance(x, Scalar) or type(x) is Input and self.around is not None:
            return Map(lambda a: a, [x], x.shape, x.dtype, "copy", 0)
        return x

    def repeat(self, node: Node) -> Repeat:
        """A loop whose body is native."""
        loop, inside = node.function, Lowering(self)
        given = [[inside.input(x) for x in group] for group in (loop.carry, loop.xs, loop.outside)]
        for x in loop.nodes:
            inside.lower(x)
        results = [inside.made[x.index] for x in [*loop.last, *loop.ys]]
        results = [inside.cast(x, i.dtype) for x, i in zip(results, given[0], strict=False)] + results[len(given[0]) :]
        like = [[x.dtype for x in group] for group in given]
        inputs = [
            self.floats(x, t) for xs, ts in zip(node.args, like, strict=True) for x, t in zip(xs, ts, strict=True)
        ]
        made = Repeat([self.in_memory(x) for x in inputs], given, results, loop)
        made.line = node.line
        return made

    # ---- elementwise --------------------------------------------------------------------------------------------

    def ufunc(self, ufunc: np.ufunc, args: tuple, node: Node) -> Value | None:
        kind, name, dtype = TYPES[node.dtype.name], name_of(ufunc), node.dtype
        if dtype.kind == "b" and ufunc in OF_TRUTHS:
            ufunc = OF_TRUTHS[ufunc]
        if ufunc in LOGICAL:
            return Map(LOGICAL[ufunc], [self.truth(self.value(x)) for x in args], node.shape, bool, name, CHEAP)
        if ufunc in COMPARISONS:
            return self.comparison(ufunc, args, node)
        known = TABLES.get(dtype.kind, {}).get(ufunc)
        if known is None and dtype.kind == "f" and getattr(np, name, None) is not ufunc:
            known = SCIPY.get(name)
        inputs = [self.floats(x, dtype) for x in args]
        if known is None:
            return simplified(ufunc, inputs, node)
        write, cost = known
        if dtype.kind != "f":
            write = whole(write, kind, ufunc in WRAPPING)
        return simplified(ufunc, inputs, node) or Map(
            lambda *xs: write(*xs).replace("{}", kind), inputs, node.shape, dtype, name, cost
        )

    def comparison(self, ufunc: np.ufunc, args: tuple, node: Node) -> Value | None:
        """Numbers are compared in the dtype in which they meet."""
        meeting = np.result_type(*[x.dtype.type(0).item() if is_weak(x) else x if loose(x) else x.dtype for x in args])
        if not native(meeting) or meeting.kind == "f" and all(d.kind in "iub" for d in dtypes(args)):
            return None  # integers of 64 bits are compared without rounding
        if len(args) == 1 and meeting.kind in "iub" and ufunc is not np.signbit:
            return spread(Scalar(ufunc is np.isfinite, bool), node.shape)
        inputs = [self.floats(x, meeting) for x in args]
        return Map(COMPARISONS[ufunc], inputs, node.shape, bool, name_of(ufunc), CHEAP)

    def truth(self, x: Value) -> Value:
        """Whether elements are not 0."""
        if x.dtype == bool:
            return x
        return Map(lambda a: f"({a} != 0)", [x], x.shape, bool, "nonzero", CHEAP)

    def cast(self, x: Value, dtype: Any) -> Value:
        """x in another dtype."""
        dtype = np.dtype(dtype)
        if x.dtype == dtype:
            return x
        if not native(dtype) or not native(x.dtype):
            raise NoNative(f"{x.dtype} as {dtype}")
        if isinstance(x, Scalar):
            return Scalar(np.asarray(x.value, x.dtype).astype(dtype).item(), dtype)
        if is_spread(x):
            return spread(self.cast(x.inputs[0], dtype), x.shape)
        if x.what == "astype" and x.inputs[0].dtype == dtype and np.can_cast(dtype, x.dtype, "safe"):
            return x.inputs[0]  # there and back
        if dtype.kind == "b":
            return self.truth(x)
        kind = TYPES[dtype.name]
        write = (lambda a: f"({kind}(1) if {a} else {kind}(0))") if x.dtype == bool else (lambda a: f"{kind}({a})")
        return Map(write, [x], x.shape, dtype, "astype", CHEAP)

    def reduction(
        self, ufunc: np.ufunc, x: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False,
        initial: Any = None, where: Any = True, *, node: Node,
    ) -> Value | None:  # fmt: skip
        base, kind = self.value(x), node.dtype
        if out is not None or (dtype is not None and np.dtype(dtype) != kind):
            return None
        if kind.kind == "b":  # whether any or all are true
            if ufunc not in OVER_TRUTHS:
                return None
            ufunc, kind, base = OVER_TRUTHS[ufunc], np.dtype(np.uint8), self.truth(base)
        if ufunc not in REDUCTIONS:
            return None
        axes = tuple(range(len(base.shape))) if axis is None else normalize_axis_tuple(axis, len(base.shape))
        base = self.cast(base, kind)
        nothing = Scalar(identity(ufunc, kind), kind)
        if where is not True:
            chosen = self.truth(self.value(where))
            if np.broadcast_shapes(chosen.shape, base.shape) != base.shape:
                return None
            base = self.chosen(chosen, base, nothing, base.shape)
        if base.size == 0:
            result = spread(nothing, node.shape)
        elif not axes or ufunc in (np.maximum, np.minimum) and is_spread(base) and isinstance(base.inputs[0], Scalar):
            result = base if not axes else spread(base.inputs[0], node.shape)
        elif ufunc is np.add:
            result = total(base, axes, node.shape)
        else:
            result = Reduce(ufunc, base, axes, node.shape, kind)
        if initial is not None:
            write, cost = TABLES[kind.kind][ufunc]
            text = TYPES[kind.name]
            inputs = [result, self.floats(initial, kind)]
            result = Map(lambda *xs: f"{text}({write(*xs)})", inputs, node.shape, kind, "initial", cost)
        return self.cast(result, node.dtype)

    def chosen(self, condition: Value, x: Value, y: Value, shape: tuple[int, ...]) -> Value:
        """x where a condition holds, else y."""
        known = number_in(condition)
        if known is not None:
            return spread(x if known.value else y, shape)
        return Map(lambda c, a, b: f"({a} if {c} else {b})", [condition, x, y], shape, x.dtype, "where", CHEAP)


def identity(ufunc: np.ufunc, dtype: np.dtype) -> Any:
    """What a sum (product, extremum) of nothing is."""
    if ufunc in (np.add, np.multiply):
        return 0 if ufunc is np.add else 1
    if dtype.kind == "f":
        return -np.inf if ufunc is np.maximum else np.inf
    return np.iinfo(dtype).min if ufunc is np.maximum else np.iinfo(dtype).max


def whole(write: Write, kind: str, wraps: bool) -> Write:
    """A function of integers, whose result is put into their dtype; without signs, it may wrap around."""
    return lambda *xs: f"{kind}({write(*[f'u8({x})' for x in xs] if wraps else xs)})"


def is_weak(x: Any) -> bool:
    return isinstance(x, Node) and x.weak


def dtypes(args: Sequence[Any]) -> list[np.dtype]:
    return [np.asarray(x).dtype if loose(x) else x.dtype for x in args]


def native(dtype: np.dtype) -> bool:
    return dtype.name in TYPES and dtype.isnative


def loose(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, np.generic)


def same_zero(array: np.ndarray) -> bool:
    """Whether all elements are the same, where 0 and -0 are not."""
    return array.dtype.kind != "f" or bool((np.signbit(array) == np.signbit(array.flat[0])).all())


def simplified(ufunc: np.ufunc, inputs: list[Value], node: Node) -> Value | None:
    """What is the same with less work, to the last bit; and a sigmoid, as the library computes it without overflow."""
    first, last = inputs[0], inputs[-1]
    number = number_in(last)
    if number is not None:
        if ufunc in (np.multiply, np.divide) and number.value == 1:
            return spread(first, node.shape)
        if ufunc is np.subtract and number.value == 0 and not np.signbit(number.value):
            return spread(first, node.shape)
        if ufunc is np.power:
            return small_power(spread(first, node.shape), number.value)
    number = number_in(first)
    if ufunc is np.multiply and number is not None and number.value == 1:
        return spread(last, node.shape)
    if ufunc is np.negative and isinstance(first, Map) and first.what == "negative":
        return first.inputs[0]
    if ufunc is np.logaddexp and number is not None and number.value == 0:
        return Map(call(f"softplus_{TYPES[node.dtype.name]}"), [last], node.shape, node.dtype, "softplus", 2 * DEAR)
    if ufunc is np.add and first.shape == last.shape:
        return side_by_side(first, last)
    return sigmoid(inputs, node) if ufunc is np.divide else None


def small_power(x: Value, n: Any) -> Value | None:
    """x to the power of a number, without a logarithm."""
    if n == 1:
        return x
    if n in SMALL_POWERS:
        write, cost = call(f"power{int(n)}"), int(n) - 1
        if x.dtype.kind != "f":
            write = whole(write, TYPES[x.dtype.name], wraps=True)
        return Map(write, [x], x.shape, x.dtype, "power", cost)
    if x.dtype.kind != "f":
        return None
    if n in (*ROOTS, -1):
        return Map(call("reciprocal" if n == -1 else "sqrt"), [x], x.shape, x.dtype, "power", ROOT)
    if n and abs(n) <= MOST and 2 * n % 1 == 0:
        power = call(f"power{int(abs(n))}" + ("_and_half" if n % 1 else ""))
        write = power if n > 0 else lambda x: f"reciprocal({power(x)})"
        return Map(write, [x], x.shape, x.dtype, "power", int(abs(n)) + ROOT)
    return None


def sigmoid(inputs: list[Value], node: Node) -> Value | None:
    """where(x >= 0, 1, e) / (1 + e) with e = exp(-abs(x))."""
    top, bottom = inputs
    if (top.what, bottom.what) != ("where", "add") or number_of(top.inputs[1]) != 1 or number_of(bottom.inputs[0]) != 1:
        return None
    above, _, e = top.inputs
    if above.what != "greater_equal" or number_of(above.inputs[1]) != 0 or e is not bottom.inputs[1]:
        return None
    x, inner = above.inputs[0], e
    for what in ("exp", "negative", "absolute"):
        if inner.what != what:
            return None
        inner = inner.inputs[0]
    if inner is not x or x.shape != node.shape:
        return None
    return Map(call(f"sigmoid_{TYPES[node.dtype.name]}"), [x], node.shape, node.dtype, "sigmoid", DEAR + ROOT)


def number_of(x: Value) -> Any:
    number = number_in(x)
    return None if number is None else number.value
