"""Transforms: functions of functions, built on the walk: gradients, products with Jacobians, Jacobians, Hessians.

Arguments and results may be nests of tuples, lists and dicts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import ops
from .autodiff import below, starting_gradient, walk
from .batching import BatchedArray
from .mapping import vmap
from .names import known
from .nests import flatten, leaves_like, map_nest
from .tensor import FREE, RECORD, Tensor, as_tensor, check_differentiable, mode, own_copy, recording


def variable(x: Any, what: str) -> Tensor:
    """A tensor to differentiate by: `x` as a leaf of its own or, where x is part of a graph, as a new result in it."""
    if isinstance(x, Tensor) and x.requires_grad and mode.now is RECORD:
        return ops.identity(x)
    t = as_tensor(x)
    try:
        check_differentiable(t.dtype)
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from None
    return Tensor(t._data, True, t.name)


def pull(y: Tensor, seed: Any, inputs: list[Tensor], create_graph: bool | None = None) -> list[Tensor]:
    """The gradients of `y` (times the seed) by `inputs`, zeros where y does not depend on one.

    Unless `create_graph` says, they are part of a graph where something else needs them to be: see `open_ended`.
    """
    wanted = frozenset(inputs)
    order = below(y, stop=wanted) if y.requires_grad else []
    if create_graph is None:
        create_graph = open_ended(order, wanted) or (isinstance(seed, Tensor) and seed.requires_grad)
    needed: set[Tensor] = set()
    for t in reversed(order):  # oldest first: leave out what does not lead to an input
        if t in wanted or any(type(x) is Tensor and x in needed for x in t._inputs):
            needed.add(t)
    found: dict[Tensor, Any] = {}
    given: set[int] = set()
    if y in needed:
        start = starting_gradient(y, seed, create_graph)
        given.add(id(start.array if type(start) is BatchedArray else start))
        found = walk([t for t in order if t in needed], start, create_graph, wanted)
    return [as_gradient(found[x], given) if x in found else Tensor(np.zeros_like(x._data)) for x in inputs]


def open_ended(order: list[Tensor], wanted: frozenset[Tensor]) -> bool:
    """Whether a result depends on other variables too (those of an outer transform, or parameters)."""
    return any(t._op is not None if t in wanted else t._op is None for t in order)


def as_gradient(g: Any, given: set[int]) -> Tensor:
    """A gradient from the walk as a tensor with an array of its own: `given` are those that others hold."""
    if isinstance(g, Tensor):
        return g
    array = g.array if type(g) is BatchedArray else g
    if type(array) is not np.ndarray or array.base is not None or id(array) in given:
        return Tensor(own_copy(g))
    given.add(id(array))
    return Tensor(g)


def results(y: Any, what: str) -> list[Tensor]:
    """The tensors in the nest that a user's function returned."""
    leaves, _ = flatten(y)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise TypeError(
                f"{what}: the function returned {type(leaf).__name__} {str(leaf)[:40]!r}, without a gradient; return "
                "what mg's or NumPy's functions make of the arguments, without .data, .item() or float() on the way"
            )
    return leaves


class Call:
    """One call of a user's function on fresh variables in place of the arguments that a transform differentiates by."""

    def __init__(self, what: str, f: Callable, args: tuple, argnums: int | tuple[int, ...], kwargs: dict) -> None:
        positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        n = len(args)
        if not all(-n <= i < n for i in positions) or len({i % n for i in positions}) < len(positions):
            raise ValueError(f"{what}: argnums={argnums}, and the function was called with {n} arguments")
        chosen = args[argnums] if isinstance(argnums, int) else tuple(args[i] for i in positions)
        leaves, self.rebuild = flatten(chosen)
        self.variables = [variable(x, what) for x in leaves]
        nest = self.rebuild(iter(self.variables))
        args = list(args)  # type: ignore[assignment]
        for i, x in zip(positions, (nest,) if isinstance(argnums, int) else nest, strict=True):
            args[i] = x  # type: ignore[index]
        self.free = mode.now == FREE
        mode.transforms += 1
        try:
            with recording():
                self.value = f(*args, **kwargs)
        finally:
            mode.transforms -= 1
        self.outputs = results(self.value, what)

    def gradients(self, y: Tensor, seed: Any = None, create_graph: bool | None = None) -> Any:
        """The gradients of one output, as a nest like the arguments."""
        if create_graph is None and self.free:
            create_graph = False
        with recording():
            return self.rebuild(iter(pull(y, seed, self.variables, create_graph)))

    def open_ended(self) -> bool:
        """Whether the outputs depend on other variables than those of this call (which `no_grad` makes constants)."""
        if self.free:
            return False
        wanted = frozenset(self.variables)
        return any(y.requires_grad and open_ended(below(y, wanted), wanted) for y in self.outputs)

    def result(self) -> Any:
        """The function's value, cut off from the variables of this call."""
        return self.value if self.open_ended() else map_nest(Tensor.detach, self.value)

    def close(self) -> None:
        """End the variables' life as variables: what is differentiated later takes them for constants."""
        for x in self.variables:
            if x._op is None:
                x.requires_grad = False


def value_and_grad(f: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """The function that returns the value of `f` and its gradient by argument `argnums`.

    `f` returns a tensor of one element. The differentiated arguments are tensors, arrays, floats, or nests (tuples,
    lists, dicts) of them, and the gradient has the same form, its leaves Tensors. Raises TypeError where such an
    argument is not made of floating point numbers, or where `f` returns anything but a tensor.

    >>> import minigrad as mg
    >>> mg.value_and_grad(lambda p: p["a"] * mg.exp(p["b"]))({"a": 3.0, "b": 0.0})
    (tensor(3.), {'a': tensor(1.), 'b': tensor(3.)})
    """

    @functools.wraps(f)
    def with_gradient(*args, **kwargs):
        call = Call("grad", f, args, argnums, kwargs)
        if not isinstance(call.value, Tensor) or call.value.size != 1:
            shape = getattr(call.value, "shape", type(call.value).__name__)
            raise ValueError(f"grad: the function must return one number, not {shape}; use mg.jacobian, or reduce it")
        gradient, value = call.gradients(call.value), call.result()
        call.close()
        return value, gradient

    return with_gradient


def grad(f: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """The gradient of `f` by argument `argnums`, as a function of the same arguments: see `value_and_grad`.

    >>> import minigrad as mg
    >>> mg.grad(lambda x: x**3)(2.0)
    tensor(12.)
    >>> mg.grad(mg.grad(lambda x: x**3))(2.0)
    tensor(12.)
    """
    both = value_and_grad(f, argnums)

    @functools.wraps(f)
    def gradient(*args, **kwargs):
        return both(*args, **kwargs)[1]

    return gradient


def vjp(f: Callable, *args: Any) -> tuple[Any, Callable]:
    """The value of `f` at `args`, and the function that pulls a gradient of the value back to the arguments.

    The pullback takes a nest like f's value and returns a tuple, one nest for each argument: v -> v^T J.

    >>> import minigrad as mg
    >>> y, pullback = mg.vjp(lambda a, b: a * b, mg.tensor([1.0, 2.0]), mg.tensor([3.0, 4.0]))
    >>> pullback(np.ones(2))
    (tensor([3., 4.]), tensor([1., 2.]))
    """
    call = Call("vjp", f, args, tuple(range(len(args))), {})

    def pullback(v):
        with recording():
            return call.gradients(*inner(call.outputs, leaves_like(v, call.value, "vjp"), "vjp"))

    return call.result(), pullback


def inner(outputs: list[Tensor], seeds: list[Any], what: str) -> tuple[Tensor, Any]:
    """A tensor and a gradient of it that stand for the outputs and their gradients: of several, all in one row.

    (The sum of the products would do but for seeds that depend on the variables, which are no part of the derivative.)
    """
    if len(outputs) == 1:
        return outputs[0], seeds[0]
    for y, seed in zip(outputs, seeds, strict=True):
        if np.shape(seed) != y.shape:
            raise ValueError(f"{what}: an output has shape {y.shape}, and its gradient shape {np.shape(seed)}")
    rows = [ops.concatenate([ops.reshape(x, (-1,)) for x in xs]) for xs in (outputs, seeds)]
    return rows[0], rows[1]


def jvp(f: Callable, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    """The value of `f` at `primals`, and its derivative along `tangents`: (y, J v), v of the form of the primals.

    Forward mode from reverse mode: the pullback u -> u^T J is linear, and its own pullback is v -> J v.

    >>> import minigrad as mg
    >>> mg.jvp(mg.sin, (0.0,), (2.0,))
    (tensor(0.), tensor(2.))
    """
    if not all(isinstance(v, (tuple, list)) for v in (primals, tangents)) or len(primals) != len(tangents):
        raise TypeError("jvp: primals and tangents are tuples of the same length, one entry for each argument of f")
    call = Call("jvp", f, tuple(primals), tuple(range(len(primals))), {})
    us = [variable(np.ones_like(y._data), "jvp") for y in call.outputs]
    create_graph = call.open_ended() or any(isinstance(v, Tensor) and v.requires_grad for v in flatten(tangents)[0])
    with recording():
        pulled, _ = flatten(call.gradients(*inner(call.outputs, us, "jvp"), create_graph=True))
        along = inner(pulled, leaves_like(tuple(tangents), tuple(primals), "jvp"), "jvp")
        derivative = flatten(call.value)[1](iter(pull(*along, us, create_graph)))
    value = call.result()
    call.close()
    return value, derivative


def jacobian(f: Callable, argnums: int | tuple[int, ...] = 0, mode: str = "auto") -> Callable:
    """The function that returns the Jacobian of `f` by argument `argnums`, shape y.shape + x.shape.

    For nests: a nest like f's value, of nests like the argument. `mode` says how it is found, and not what it is:
    "reverse" pulls one unit vector for each element of y back, "forward" pushes one for each element of x on, and
    "auto" takes the cheaper way, forward where f has many more outputs than inputs. Either way the vectors go together,
    by vmap.

    >>> import minigrad as mg
    >>> mg.jacobian(lambda x: x**2)(mg.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    known("mode", mode, ("auto", "forward", "reverse"))

    @functools.wraps(f)
    def with_jacobian(*args, **kwargs):
        call = Call("jacobian", f, args, argnums, kwargs)
        forward = mode == "forward" or (mode == "auto" and forward_is_cheaper(call))
        rows = jacobian_forward(call) if forward else [jacobian_of(call, y) for y in call.outputs]
        _, rebuild = flatten(call.value)
        call.close()
        return rebuild(iter(rows))

    return with_jacobian


def forward_is_cheaper(call: Call) -> bool:
    """Whether the derivatives by all inputs cost less than those of all outputs.

    Forward mode goes through a graph some three times as long, and through the rules as tensors, which a user's own
    rule may not be written for.
    """
    inputs, outputs = (sum(x.size for x in xs) for xs in (call.variables, call.outputs))
    if outputs < 2 * inputs + 100 or any(y.dtype.hasobject for y in call.outputs):
        return False
    return all(t._op is None or type(t._op) is ops.Op for y in call.outputs if y.requires_grad for t in below(y))


TOGETHER = 1 << 22  # elements of the largest result that are computed at once, for some of the rows


def jacobian_of(call: Call, y: Tensor) -> Any:
    """The Jacobian of one output, as a nest like the arguments: a row for each element of the output."""

    def row(seed: Any) -> list[Tensor]:
        return flatten(call.gradients(y, seed))[0]

    rows = of_units(row, y, below(y) if y.requires_grad else [])
    with recording():
        blocks = [
            ops.reshape(rows[i], y.shape + x.shape) if rows else Tensor(np.zeros(y.shape + x.shape, x.dtype))
            for i, x in enumerate(call.variables)
        ]
    return call.rebuild(iter(blocks))


def jacobian_forward(call: Call) -> list[Any]:
    """The Jacobians of all outputs, as nests like the arguments: a column for each element of the arguments.

    As in `jvp`, the pullback is linear, and its pullback takes a direction on to the outputs.
    """
    us = [variable(np.ones_like(y._data), "jacobian") for y in call.outputs]
    create_graph = call.open_ended()
    blocks: list[list[Tensor]] = [[] for _ in call.outputs]
    with recording():
        pulled, _ = flatten(call.gradients(*inner(call.outputs, us, "jacobian"), create_graph=True))
        for x, back in zip(call.variables, pulled, strict=True):

            def column(v: Any, back: Tensor = back) -> list[Tensor]:
                return pull(back, v, us, create_graph)

            columns = of_units(column, x, below(back) if back.requires_grad else [])
            for i, (u, of_output) in enumerate(zip(us, blocks, strict=True)):
                if columns:
                    of_output.append(ops.reshape(ops.moveaxis(columns[i], 0, -1), u.shape + x.shape))
                else:
                    of_output.append(Tensor(np.zeros(u.shape + x.shape, u.dtype)))
    for u in us:
        u.requires_grad = u._op is not None
    return [call.rebuild(iter(parts)) for parts in blocks]


def of_units(f: Callable, y: Tensor, graph: list[Tensor]) -> list[Tensor]:
    """f of each unit vector in the shape of y: stacks of the tensors that it returns, or nothing if y has no elements.

    As many at once as the graph's largest result allows, lest they take more memory than one after the other would.
    """
    units = np.eye(y.size, dtype=int if y.dtype.hasobject else y.dtype).reshape(y.size, *y.shape)
    together = TOGETHER // max([1, *[t.size for t in graph]])
    with recording():
        if y.size < 4 or together < 4 or y.dtype.hasobject:
            rows = [f(Tensor(unit)) for unit in units]
            return [ops.stack(parts) for parts in zip(*rows, strict=True)]
        parts = [vmap(f)(Tensor(units[i : i + together])) for i in range(0, y.size, together)]
        return parts[0] if len(parts) == 1 else [ops.concatenate(part) for part in zip(*parts, strict=True)]


def hessian(f: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """The function that returns the matrix of second derivatives of a scalar `f`: shape x.shape + x.shape.

    >>> import minigrad as mg
    >>> mg.hessian(lambda x: x[0] * x[1] ** 2)(mg.tensor([1.0, 2.0]))
    tensor([[0., 4.],
            [4., 2.]])
    """
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Callable, x: Any, v: Any) -> Any:
    """The Hessian of a scalar `f` at `x` times `v` (both of x's form), without building the Hessian.

    The gradient of the inner product of f's gradient with v (Pearlmutter, "Fast exact multiplication by the Hessian",
    Neural Computation 6, 1994).

    >>> import minigrad as mg
    >>> mg.hvp(lambda x: x[0] * x[1] ** 2, mg.tensor([1.0, 2.0]), mg.tensor([1.0, 0.0]))
    tensor([0., 4.])
    """
    _, pullback = vjp(grad(f), x)
    return pullback(v)[0]
