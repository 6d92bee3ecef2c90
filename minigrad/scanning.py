"""`mg.scan`: a loop in which each step needs what the step before has left."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from . import ops
from .nests import flatten, leaves_like
from .ops.card import Op, each
from .ops.steps import kept, loop, order
from .ops.whole import Whole
from .recompute import _outside, frozen
from .tensor import RECORD, Tensor, as_tensor, mode, no_grad, recording, tick
from .transforms import pull, variable


def scan(f: Callable, init: Any, xs: Any = None, length: int | None = None, reverse: bool = False) -> tuple[Any, Any]:
    """Take `carry, y = f(carry, x)` through every x along the first axis of `xs`; returns the last carry and all y.

    `init`, the first carry, and `xs` are nests (tuples, lists, dicts) of tensors, arrays and numbers; f gets tensors,
    x without the axis that is gone along. The carry that f returns must have the form, shapes and dtypes of the one
    that it was given. The y, a nest or None, are stacked along a new first axis. With `reverse` the last x comes first,
    and the y of each is where its x was. Without `xs`, f gets None and `length` says how many steps there are; if there
    are none, f is called once on zeros to learn the shapes of y. The meaning is that of `jax.lax.scan`.

    Otherwise it is what a Python loop is, and has gradients of any order by `init`, `xs` and all that f uses. But
    `mg.compile` and `mg.compile_step` compile f once and keep the loop, where they would compile every step of a Python
    loop; its gradient is a loop back, which computes the steps again from the carries. f must then do the same in every
    step, and can't draw random numbers: draw them before, as one of the xs. Inside `mg.vmap` all steps are compiled.

    Raises TypeError where f does not return a pair or changes the carry's dtype, ValueError for other shapes, and where
    there is no such axis or lengths disagree.

    >>> import minigrad as mg
    >>> def step(balance, paid):
    ...     balance = balance * 1.5 + paid
    ...     return balance, balance
    >>> mg.scan(step, 0.0, np.array([1.0, 2.0, 4.0]))
    (tensor(9.25), tensor([1.  , 3.5 , 9.25]))
    >>> mg.grad(lambda paid: mg.scan(step, 0.0, paid)[0])(np.ones(3))
    tensor([2.25, 1.5 , 1.  ])
    """
    carry, rows = Nest(init), Nest(xs)
    n = _length(rows.tensors, length)
    step = Step(f, carry, rows)
    if n == 0:
        return _no_steps(step, carry, rows)
    if not kept(_arrays(carry.tensors + rows.tensors)):
        return _loop(step, carry, rows, n, reverse)
    return Kept(step, carry.tensors, rows.tensors, n, reverse).value(carry.tensors + rows.tensors)


class Nest:
    """A nest as its tensors, and how they are put together again; None in it stays None."""

    def __init__(self, nest: Any) -> None:
        self.leaves, self.rebuild = flatten(nest)
        self.leaves = [x if x is None else as_tensor(x) for x in self.leaves]
        self.tensors = [x for x in self.leaves if x is not None]

    def build(self, tensors: Iterable[Any]) -> Any:
        """The nest with others in place of the tensors."""
        new = iter(tensors)
        return self.rebuild(iter([None if x is None else next(new) for x in self.leaves]))

    def form(self) -> Any:
        """The nest with shapes in place of the tensors."""
        return self.build(map(Shape, self.tensors))

    def in_order_of(self, other: Nest) -> Nest:
        """The nest with its dicts in the order of those of another nest, of the same form."""
        whole = self.rebuild(iter(self.leaves))
        return Nest(other.rebuild(iter(leaves_like(whole, other.rebuild(iter(other.leaves)), "scan"))))


class Shape:
    """The shape and dtype of a tensor, to compare and to print."""

    def __init__(self, x: Tensor) -> None:
        self.shape, self.dtype = x.shape, x.dtype

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shape) and self.shape == other.shape and self.dtype_fits(other)

    def dtype_fits(self, other: Shape) -> bool:
        return self.dtype == other.dtype or self.dtype.hasobject or other.dtype.hasobject  # numbers become symbols


def _length(rows: list[Tensor], length: Any) -> int:
    """The number of steps, which all xs and `length` agree on."""
    if length is not None and (not isinstance(length, int | np.integer) or isinstance(length, bool) or length < 0):
        raise ValueError(f"scan: length={length!r} should be the number of steps, an integer from 0 on")
    for x in rows:
        if not x.ndim:
            raise ValueError("scan: xs has a number in it, which has no axis to go along; what is the same in all "
                             "steps can be used by f as it is, or be part of the carry")  # fmt: skip
    lengths = sorted({len(x) for x in rows})
    if len(lengths) > 1:
        shapes = ", ".join(str(x.shape) for x in rows)
        raise ValueError(f"scan: the arrays in xs should be equally long along axis 0, and have shapes {shapes}")
    if not lengths and length is None:
        raise ValueError("scan: without xs, length= says how many steps there are")
    if lengths and length is not None and length != lengths[0]:
        raise ValueError(f"scan: length={length}, and xs has {lengths[0]} rows: leave length out, or cut xs")
    return int(lengths[0] if length is None else length)


class Step:
    """f, from lists of tensors to nests of tensors, with its results checked."""

    def __init__(self, f: Callable, carry: Nest, rows: Nest) -> None:
        self.f, self.carry, self.rows, self.form = f, carry, rows, carry.form()

    def __call__(self, carry: list[Tensor], x: list[Tensor]) -> tuple[Nest, Nest]:
        pair = self.f(self.carry.build(carry), self.rows.build(x))
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            returned = f"{len(pair)} values" if isinstance(pair, tuple | list) else type(pair).__name__
            raise TypeError(f"scan: f should return a pair, the next carry and y (which may be None), not {returned}")
        new, y = map(Nest, pair)
        form = new.form()
        if form != self.form:
            raise self.changed(new, form)
        return new.in_order_of(self.carry), y

    def changed(self, new: Nest, form: Any) -> Exception:
        """The error for a carry of another form."""
        what = f"scan: f was given the carry {self.form} and returned {form}"
        before, after = ([x.shape for x in nest.tensors] for nest in (self.carry, new))
        if before == after and new.build(after) == self.carry.build(before):
            return TypeError(f"{what}: its dtypes must stay the same; let init have those, or .astype what f returns")
        return ValueError(f"{what}: its form and shapes must stay the same, so init should have them from the start")


def _no_steps(step: Step, carry: Nest, rows: Nest) -> tuple[Any, Any]:
    with no_grad():
        _, y = step(
            carry.tensors,
            [Tensor(np.zeros(x.shape[1:], float if x.dtype.hasobject else x.dtype)) for x in rows.tensors],
        )
    return carry.build(carry.tensors), y.build([Tensor(np.zeros((0, *t.shape), t.dtype)) for t in y.tensors])


def _loop(step: Step, carry: Nest, rows: Nest, length: int, reverse: bool) -> tuple[Any, Any]:
    """The loop in Python."""
    parts = [_cut(x) for x in rows.tensors]
    ys: list[Any] = [None] * length
    now = carry
    for t in order(length, reverse):
        now, ys[t] = step(now.tensors, [part[t] for part in parts])
    for t, y in enumerate(ys):
        if y.form() != ys[0].form():
            raise ValueError(f"scan: y is {ys[0].form()} in step 0 and {y.form()} in step {t}, and can't be stacked")
    columns = zip(*[y.in_order_of(ys[0]).tensors for y in ys], strict=True)
    return now.build(now.tensors), ys[0].build([ops.stack(column) for column in columns])


def _cut(x: Tensor) -> list[Tensor]:
    """The rows of x, by halves, since the gradient of a part fills an array as large as what it was taken from."""
    n = len(x)
    return [x[0]] if n == 1 else _cut(x[: n // 2]) + _cut(x[n // 2 :])


# ---- where the loop is kept ------------------------------------------------------------------------------------------


class Kept(Whole):
    """One scan as one op: forward a loop, and backward a loop."""

    def __init__(self, step: Step, init: list[Tensor], rows: list[Tensor], length: int, reverse: bool) -> None:
        super().__init__("scan")
        self.step, self.length, self.reverse = step, length, reverse
        self.outside: list[Tensor] = []  # what f uses besides, and has gradients
        self.record = mode.now is RECORD
        # which of what a step is given has gradients: of the xs those that are wanted, of the carry all that can
        self.needed = [[self.record and has_gradient(x) for x in init], [self.record and x.requires_grad for x in rows]]
        last, ys = loop(self.body, _arrays(init), _arrays(rows), length, reverse)
        self.step = Step(frozen(step.f), step.carry, step.rows)
        n = len(self.y.tensors)
        self.carries = ys[n:]  # what each step was given
        self.first: Any = step.carry.build(map(Tensor, last)), self.y.build(map(Tensor, ys[:n]))

    def body(self, carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        """A step on arrays; if a gradient may follow, what it was given is stacked, too."""
        since = tick()
        variables = [list(map(Tensor, *pair)) for pair in zip((carry, x), self.needed, strict=True)]
        with recording():
            new, self.y = self.step(*variables)
        if not self.record:
            return _arrays(new.tensors), _arrays(self.y.tensors)
        self.outside = _outside(new.tensors + self.y.tensors, since, variables[0] + variables[1])
        return _arrays(new.tensors), _arrays(self.y.tensors) + carry

    def value(self, inputs: list[Tensor]) -> Any:
        """The results, as those of one op."""
        inputs = inputs + self.outside
        return self.results(inputs) if self.record and any(x.requires_grad for x in inputs) else self.first

    def run(self, arrays: tuple) -> Any:
        first, self.first = self.first, None
        return first

    def gradients(self, g: Any, y: Any, inputs: tuple) -> list[Any]:
        """The loop back: it carries the gradients of the carry, and the sums of those of what f uses besides."""
        create_graph = mode.now is RECORD
        tensors = iter([x if isinstance(x, Tensor) else Tensor(x) for x in inputs])
        init, rows = ([next(tensors) for _ in nest.tensors] for nest in (self.step.carry, self.step.rows))
        parts = [g] if len(self.parts) == 1 else self._pieces(g)
        given = [x if isinstance(x, Tensor) else Tensor(x) for x in parts]
        n = len(_floats(init))
        with recording() if create_graph else no_grad():
            carries = self.carries_of(init, rows) if create_graph else list(map(Tensor, self.carries))
            sums = [Tensor(np.zeros(w.shape, w.dtype)) for w in self.outside]
            back = functools.partial(self.back, create_graph)
            start, along = (given[:n], sums), (carries, rows, given[n:])
            (by_init, by_outside), by_rows = scan(back, start, along, self.length, not self.reverse)
        found = iter([*by_init, *by_rows, *by_outside])
        gradients = [next(found) if it else None for it in [*self.needed[0], *self.needed[1], *[True] * len(sums)]]
        return gradients if create_graph else [x if x is None else x._data for x in gradients]

    def carries_of(self, init: list[Tensor], rows: list[Tensor]) -> list[Tensor]:
        """What each step was given, computed once more, as part of a graph."""
        return scan(lambda c, x: (self.step(c, x)[0].tensors, c), init, rows, self.length, self.reverse)[1]

    def back(self, create_graph: bool, carry: Any, x: Any) -> Any:
        """A step back: the gradients by what the step was given, and by what it used besides."""
        (by_new, sums), (given, row, by_y) = carry, x
        with recording():
            variables = [
                [variable(t, "scan") if it else t for t, it in zip(ts, its, strict=True)]
                for ts, its in zip((given, row), self.needed, strict=True)
            ]
            new, y = self.step(*variables)
            seeds = by_new + by_y if create_graph else _arrays(by_new + by_y)
            end = ends(*_floats(new.tensors), *_floats(y.tensors), seeds=seeds)
            wanted = [list(itertools.compress(*pair)) for pair in zip(variables, self.needed, strict=True)]
            found = iter(pull(end, None, [*wanted[0], *wanted[1], *self.outside], create_graph))
            by_given, by_row = ([next(found) for _ in ts] for ts in wanted)
            return (by_given, [total + g for total, g in zip(sums, found, strict=True)]), by_row


# Where a walk starts that goes back from several results, with a gradient for each.
ends = Op("ends", lambda *ys, seeds: ys[0].dtype.type(0), each(lambda i, g, y, *ys, seeds: seeds[i]),
    arity=None, defaults={"seeds": ()})  # fmt: skip


def has_gradient(x: Any) -> bool:
    return x.dtype.kind in "fO"


def _floats(tensors: list[Tensor]) -> list[Tensor]:
    return [x for x in tensors if has_gradient(x)]


def _arrays(tensors: list[Tensor]) -> list[Any]:
    return [x._data for x in tensors]
