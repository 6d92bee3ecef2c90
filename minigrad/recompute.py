"""Gradient checkpointing: values that are not kept for the backward pass, but computed again when it comes by."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import CellType, FunctionType
from typing import Any

from . import ops, random
from .nests import flatten
from .ops.whole import SLOT, Whole
from .tensor import RECORD, Tensor, as_tensor, mode, recording, tick
from .transforms import pull


def checkpoint(f: Callable) -> Callable:
    """`f`, but what it computes on the way is not kept for backward, which runs f again when it gets there.

    So a deep net needs the memory of one of its parts at a time, and of the inputs of all, at the price of one more
    forward pass: a chain of n layers in parts of sqrt(n) keeps 2 sqrt(n) results in place of n (Chen, Xu, Zhang and
    Guestrin, "Training deep nets with sublinear memory cost", 2016, arXiv:1604.06174). f is a function or a module; its
    arguments and results may be nests, and parameters that it uses without having them as arguments get their gradients
    too. It nests, and gradients can be differentiated again.

    f must do the same both times: numbers from `mg.random`'s own generator (dropout's masks) are drawn again the same;
    from any other generator they are not. What f does besides, such as moving a running mean, is done twice.

    >>> import minigrad as mg
    >>> w = mg.tensor(2.0, requires_grad=True)
    >>> y = mg.checkpoint(lambda x: mg.exp(mg.sin(w * x)))(3.0)
    >>> y.backward()
    >>> w.grad, mg.grad(lambda w: mg.exp(mg.sin(w * 3.0)))(2.0)
    (tensor(2.17831613), tensor(2.17831613))
    """

    def run(*args: Any, **kwargs: Any) -> Any:
        return _Run(f, args, kwargs).value() if mode.now is RECORD else f(*args, **kwargs)

    return functools.update_wrapper(run, f, updated=())


class _Run(Whole):
    """One run of a function, to be repeated in the backward walk."""

    def __init__(self, f: Callable, args: tuple, kwargs: dict) -> None:
        super().__init__("checkpoint")
        leaves, self.build = flatten((args, kwargs))
        self.f, self.others = f, [SLOT if isinstance(x, Tensor) else x for x in leaves]
        self.levels, self.random, since = mode.levels, random.state(), tick()
        self.arguments = [x for x in leaves if isinstance(x, Tensor)]
        self.needed = [x.requires_grad for x in self.arguments]
        variables = [Tensor(x._data, x.requires_grad) for x in self.arguments]
        self.first = self.again(variables)
        self.f = frozen(f)
        self.outside = _outside(self.first, since, variables)

    def value(self) -> Any:
        """The results, as those of one op."""
        inputs, self.arguments = [*self.arguments, *self.outside], []
        return self.results(inputs) if any(x.requires_grad for x in inputs) else self.first

    def run(self, arrays: tuple) -> Any:
        first, self.first = self.first, None
        return first

    def again(self, variables: list[Tensor]) -> Any:
        """What f returns for these tensors in place of those that it was called with."""
        new = iter(variables)
        args, kwargs = self.build(iter([next(new) if x is SLOT else x for x in self.others]))
        with recording():
            return self.f(*args, **kwargs)

    def gradients(self, g: Any, y: Any, inputs: tuple) -> list[Any]:
        create_graph, n = mode.now is RECORD, len(self.needed)
        variables = [
            x if not it else ops.identity(x) if create_graph else Tensor(x, True)
            for x, it in zip(inputs, self.needed, strict=False)
        ]
        since, before = tick(), (random.state(), mode.levels)
        random.resume(self.random)
        mode.levels = self.levels
        try:
            again = self.again([as_tensor(x) for x in variables])
        finally:
            random.resume(before[0])
            mode.levels = before[1]
        outside = self.outside
        if create_graph:  # where vmap is over, `share` stands between them and this op
            outside = list(inputs[n:])
            _replace(again, dict(zip(self.outside, outside, strict=True)), since)
        wanted = [x for x, it in zip(variables, self.needed, strict=True) if it] + outside
        with recording():
            leaves = zip(flatten(again)[0], self.leaves, strict=True)
            row = self.row([as_tensor(t) for t, other in leaves if other is SLOT])
            found = iter(pull(row, g, wanted, create_graph))
        gradients = [next(found) if it else None for it in [*self.needed, *[True] * len(outside)]]
        return [gx if gx is None or create_graph else gx._data for gx in gradients]


def frozen(f: Any, made: dict[Any, Any] | None = None) -> Any:
    """A function to be run again later, whose variables then are what they are now: a loop around it may set others."""
    made = {} if made is None else made
    if not isinstance(f, FunctionType) or not f.__closure__:
        return f
    if f in made:
        return made[f]
    cells = tuple(CellType() for _ in f.__closure__)
    again = made[f] = FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, cells)
    again.__kwdefaults__ = f.__kwdefaults__
    for cell, now in zip(cells, f.__closure__, strict=True):
        with suppress(ValueError):  # of a variable that is not set yet
            cell.cell_contents = frozen(now.cell_contents, made)
    return again


def _above(y: Any, since: int) -> Iterator[Tensor]:
    """The results in the nest y and above it that were born after `since`."""
    todo = [t for t in flatten(y)[0] if isinstance(t, Tensor) and t.requires_grad]
    seen = set(todo)
    while todo:
        t = todo.pop()
        if t._op is None or t._born <= since:
            continue
        yield t
        new = {x for x in t._inputs if type(x) is Tensor and x.requires_grad} - seen
        seen |= new
        todo += new


def _outside(y: Any, since: int, variables: list[Tensor]) -> list[Tensor]:
    """The tensors that y was computed from beside the variables: parameters, and results from before."""
    new = set(_above(y, since))
    found: dict[Tensor, None] = {}
    own = new | set(variables)
    for x in [*flatten(y)[0], *[x for t in new for x in t._inputs]]:
        if type(x) is Tensor and x.requires_grad and x not in own:
            found[x] = None
    return list(found)


def _replace(y: Any, others: dict[Tensor, Tensor], since: int) -> None:
    """Put other tensors in place of inputs of the results above y."""
    for t in list(_above(y, since)):
        t._inputs = tuple(others.get(x, x) if type(x) is Tensor else x for x in t._inputs)
