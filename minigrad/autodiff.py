"""Backpropagation: the walk from a result back to what it was computed from.

The chain rule, read backwards: a result y = f(a, b) that receives the gradient g of the loss passes
g * df/da on to a and g * df/db on to b, and a tensor used several times receives the sum. Walking the results newest
first (each was born after its inputs) makes sure that a tensor's gradient is complete before it is passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np

from .batching import innermost
from .hooks import Hooks
from .tensor import (
    FREE,
    PLAIN,
    RECORD,
    Tensor,
    as_tensor,
    check_differentiable,
    describe,
    keeps,
    mode,
    own_copy,
    plain,
    warn_once,
)  # fmt: skip

# Every step makes and frees the same arrays. The C library would return those from 128 KB on to the system each time,
# and the system would hand them out page by page, filled with zeros, which takes longer than what is computed in them.
# glibc keeps freed memory of the sizes that it has once seen freed (mallopt(3), M_MMAP_THRESHOLD: up to 32 MB), so this
# array, of which no page is ever touched, has it keep up to 64 MB. Elsewhere it does nothing.
np.empty((1 << 25) - (1 << 16), np.uint8)

check_gradient: Callable[[Tensor, Tensor, Any, Any], None] | None = None  # set by mg.debug()


def below(root: Tensor, stop: frozenset[Tensor] = frozenset()) -> list[Tensor]:
    """Every tensor that requires grad and that `root` was computed from, newest first; not looking below `stop`.

    Leaves, which are all of one age, come in the order in which they are met, so that it is the same in each process.
    """
    seen, todo = {root: None}, [root]
    while todo:
        t = todo.pop()
        if stop and t in stop:
            continue
        for x in t._inputs:
            if type(x) is Tensor and x.requires_grad and x not in seen:
                seen[x] = None
                if x._op is not None:
                    todo.append(x)
    return sorted(seen, key=attrgetter("_born"), reverse=True)


def walk(
    order: list[Tensor], seed: Any, create_graph: bool, stop: frozenset[Tensor] = frozenset()
) -> dict[Tensor, Any]:
    """Send the gradient `seed` of order[0] down through `order`; return the gradients of its ends: leaves and `stop`.

    The gradients are plain arrays, and rules run on plain arrays; with `create_graph` both are Tensors.
    """
    gradients = {order[0]: seed}  # complete for a tensor when its turn comes
    kept = {}
    before, mode.now = mode.now, RECORD if create_graph else PLAIN
    try:
        for t in order:
            g = gradients.pop(t, None)
            if g is None:
                continue
            op, ended = t._op, t._op is None or (stop and t in stop)
            keep = t._keep
            if keep is not False:
                g, keep = after_hooks(t, g, create_graph), keeps(t)
            if ended or keep:
                kept[t] = g if g.dtype is t._data.dtype else g.astype(t._data.dtype)  # float32 may have met float64
                if ended:
                    continue
            inputs, params, born = t._inputs, t._params, t._born
            y: Any = t if create_graph else t._data
            values: Any = inputs if create_graph else [x._data if type(x) is Tensor else plain(x) for x in inputs]
            if t._changed and t._settle() > born:
                raise changed_in_place(t, t)
            for x, rule in zip(inputs, op.vjp):  # noqa: B905  (`each` gives rules without end; strict= costs time)
                if type(x) is not Tensor:
                    continue
                if x._changed and x._settle() > born:
                    raise changed_in_place(t, x)
                if x.requires_grad:
                    try:
                        gx = rule(g, y, *values, **params) if params else rule(g, y, *values)
                    except Exception as error:
                        gx = rule_by_sample(rule, (g, y, *values), params, error)
                    if gx.shape != x._data.shape:
                        gx = unbroadcast(gx, x._data.shape)
                    if check_gradient is not None:
                        check_gradient(t, x, g, gx)
                    earlier = gradients.get(x)
                    gradients[x] = gx if earlier is None else earlier + gx
    finally:
        mode.now = before
    return kept


def rule_by_sample(rule: Callable, args: tuple, params: dict[str, Any], error: Exception) -> Any:
    """What a rule gives that has raised an error: inside `mg.vmap` for each sample by itself, elsewhere the error.

    In a function that is compiled, what it computes becomes one piece.
    """
    if mode.capture is not None:
        return mode.capture.rule(rule, args, params, error)
    if innermost(([x._data if type(x) is Tensor else x for x in args], params)) is None:
        raise error
    from .ops.batch import each_sample

    return each_sample(rule, args, params)


def after_hooks(t: Tensor, g: Any, create_graph: bool) -> Any:
    """The gradient g of t, as the hooks of t leave it."""
    if not isinstance(t._keep, Hooks):
        return g
    for hook in list(t._keep.values()):
        before, mode.now = mode.now, RECORD if create_graph else FREE
        try:
            other = hook(g if create_graph else Tensor(own_copy(g)))
        finally:
            mode.now = before
        if other is None:
            continue
        other = as_tensor(other)
        if other.shape != t.shape:
            raise ValueError(
                f"a hook of {describe(t)} returned a gradient of shape {other.shape}: it must have the tensor's shape, "
                "or be None for no change"
            )
        if not create_graph:
            g = own_copy(other._data) if other.dtype == t.dtype else other._data.astype(t.dtype)  # the hook may keep it
        else:
            g = other if other.dtype == t.dtype else other.astype(t.dtype)
    return g


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum `g` over the axes along which an array of this shape was broadcast when it was used."""
    extra = g.ndim - len(shape)
    if len(shape) == extra == 1 and g.shape[1] == shape[0]:  # a bias: a product with ones takes half the time of a sum
        return np.dot(np.ones(len(g), g.dtype), g) if len(g) < 1024 else np.add.reduce(g, axis=0)
    axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 != g.shape[i + extra])
    return np.add.reduce(g, axis=axes).reshape(shape)


def changed_in_place(result: Tensor, x: Tensor) -> RuntimeError:
    return RuntimeError(
        f"backward: {describe(x)} was changed in place after {describe(result)} had used it, so this gradient "
        "would be that of other values: call backward before the change (or before optimizer.step()), or compute the "
        "result anew"
    )


def backward(y: Tensor, gradient: Any = None, create_graph: bool = False) -> None:
    """Accumulate the gradient of `y` into `.grad` of the leaves below it: see `Tensor.backward`."""
    if not y.requires_grad:
        raise RuntimeError(
            f"backward: {describe(y)} was not computed from any tensor with requires_grad=True. A tensor leaves "
            "the graph through .data, .numpy(), .item(), .detach() and no_grad()"
        )
    if mode.levels and innermost(y._data) is not None:
        raise RuntimeError(
            "backward inside vmap would add the gradients of all samples to one .grad: use mg.grad(f) on a function of "
            "what the gradients are wanted by, as in mg.vmap(mg.grad(loss), in_axes=(None, 0, 0))(params, X, Y)"
        )
    seed = starting_gradient(y, gradient, create_graph)
    given = {id(seed)}  # gradients that somebody else holds: a leaf gets a copy
    for t, g in walk(below(y), seed, create_graph).items():
        if create_graph:
            g = g * 1 if id(g) in given else g
            given.add(id(g))
        else:
            if type(g) is not np.ndarray or g.base is not None or id(g) in given:
                g = own_copy(g)
            given.add(id(g))
            g = Tensor(g)
        if t._grad is None:
            t._grad = g
            t._grad_used = False
        else:
            accumulate(t, g, create_graph)


def accumulate(t: Tensor, g: Tensor, create_graph: bool) -> None:
    if t._grad_used:
        warn_once(
            "gradient carried over",
            f"{describe(t)} still holds the gradient that the optimizer used in its last step, and backward now adds "
            "to it: call optimizer.zero_grad() before backward",
        )
    t._grad = t._grad + g if create_graph else Tensor(t._grad._data + g._data)  # type: ignore[union-attr]


def starting_gradient(y: Tensor, gradient: Any, create_graph: bool = False) -> Any:
    """The gradient that the walk starts with, in y's shape and dtype: 1 for a scalar."""
    check_differentiable(y.dtype)
    if gradient is None:
        if y.size != 1:
            raise RuntimeError(
                f"backward: {describe(y)} has {y.size} elements, and a gradient is that of one number: reduce it first "
                "(.sum() or .mean()), or pass the gradient of what comes after it, in its shape"
            )
        bare = y.ndim == 0 and not y.dtype.hasobject
        seed = y.dtype.type(1) if bare else np.ones_like(y._data)  # which would take ten times as long for a number
    else:
        gradient = as_tensor(gradient)
        if gradient.shape != y.shape:
            raise ValueError(f"backward: the gradient of {describe(y)} needs that shape too, not {gradient.shape}")
        if create_graph:
            return gradient
        seed = gradient._data if gradient.dtype == y.dtype else gradient._data.astype(y.dtype)
    return Tensor(seed) if create_graph else seed
