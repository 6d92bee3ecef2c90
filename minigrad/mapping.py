"""`mg.vmap`: a function of one sample, run on many at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import ops
from .batching import BatchedArray, Level, NotBatched, asked_by_the_library, is_batched
from .nests import flatten, leaves_like
from .ops.batch import enter, leave, separate
from .tensor import Tensor, as_tensor, mode, tick, warn_once


def vmap(f: Callable, in_axes: Any = 0, out_axes: Any = 0) -> Callable:
    """The function that maps `f` over an axis of its arguments, and stacks the results along a new axis.

    `f` is written for one sample and run once, on all samples: its arguments have the shape of one, and every op works
    on all. `in_axes` is the axis to map over, the same for all arguments, or a tuple with an entry for each: an axis,
    None for an argument that is the same for all samples, or a nest of these like the argument, a nest of tuples, lists
    and dicts. Arrays among keyword arguments are mapped over their first axis. `out_axes` says, in the same way, where
    the new axis of the results is.

    It composes with all transforms, and with itself: `vmap(grad(loss), in_axes=(None, 0, 0))` gives a gradient for
    each sample, and the result of vmap can be differentiated. Inside, no `if` and no float() can depend on a sample's
    values: `mg.where` chooses. Functions of `mg.random` draw numbers of its own for each sample, a generator of
    NumPy's that f uses itself draws once for all. What cannot be computed for all samples at once is computed for one
    after the other: right, and slow (see `minigrad/batching/` for what can be, and docs/transforms.md).

    Raises ValueError where axes or lengths do not fit, TypeError where f asks for the value of one sample.

    >>> import minigrad as mg
    >>> mg.vmap(mg.dot)(np.ones((3, 2)), np.arange(6.0).reshape(3, 2))
    tensor([1., 5., 9.])
    >>> loss = lambda w, x, t: (w @ x - t) ** 2
    >>> w, X, T = np.array([1.0, 2.0]), np.eye(2), np.zeros(2)
    >>> mg.vmap(mg.grad(loss), in_axes=(None, 0, 0))(w, X, T)
    tensor([[2., 0.],
            [0., 4.]])
    """

    @functools.wraps(f)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves, rebuild = flatten((args, kwargs))
        axes = [*_axes(in_axes, args, "in_axes"), *[0 if _is_array(x) else None for x in flatten(kwargs)[0]]]
        arrays = [x if axis is None else as_tensor(x) for x, axis in zip(leaves, axes, strict=True)]
        size = _samples(arrays, axes)
        fronted = [x if axis is None else _in_front(x, axis) for x, axis in zip(arrays, axes, strict=True)]
        level = Level(size)
        entered = [x if axis is None else enter(x, level=level) for x, axis in zip(fronted, axes, strict=True)]
        since = tick()
        before, mode.levels = mode.levels, (*mode.levels, level)
        try:
            args, kwargs = rebuild(iter(entered))
            y = f(*args, **kwargs)
        except NotBatched as error:
            if not asked_by_the_library(error):
                raise
            mode.levels = before
            return _one_by_one(f, fronted, axes, rebuild, size, out_axes, error)
        finally:
            mode.levels = before
        outputs, rebuild = flatten(y)
        outputs = [_result(x) for x in outputs]
        separate([t for t in outputs if t is not None], level, since)
        shown = [None if t is None else _shown(t, level) for t in outputs]
        return rebuild(iter(_moved(shown, _axes(out_axes, y, "out_axes"))))

    return mapped


def _is_array(x: Any) -> bool:
    return isinstance(x, Tensor | np.ndarray | BatchedArray)


def _axes(axes: Any, nest: Any, what: str) -> list[int | None]:
    """The axis for each leaf of a nest, where `axes` says it for the leaf or for a part of the nest above it."""
    if axes is None or isinstance(axes, int | np.integer):
        return [axes] * len(flatten(nest)[0])  # type: ignore[list-item]
    if not isinstance(axes, tuple | list | dict):
        raise TypeError(f"vmap: {what} is an axis, None or a nest of these, not {axes!r}")
    keys: Any = nest if isinstance(nest, dict) else range(len(nest)) if isinstance(nest, tuple | list) else ()
    fits = isinstance(axes, dict) == isinstance(nest, dict) and isinstance(nest, tuple | list | dict)
    if not fits or len(axes) != len(nest) or (isinstance(axes, dict) and axes.keys() != nest.keys()):
        form = f"{len(nest)} entries" if isinstance(nest, tuple | list | dict) else type(nest).__name__
        raise ValueError(f"vmap: {what}={axes!r} does not have the form of what it is for, which has {form}")
    return [axis for k in keys for axis in _axes(axes[k], nest[k], what)]


def _samples(arrays: list[Any], axes: list[int | None]) -> int:
    """How many samples there are, which all mapped arrays agree on."""
    lengths = {}
    for x, axis in zip(arrays, axes, strict=True):
        if axis is None:
            continue
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(
                f"vmap: an argument of shape {x.shape} has no axis {axis} to map over: in_axes=None is for what is the "
                "same for all samples (and a list is a nest of numbers: make it an array)"
            )
        lengths[x.shape[axis]] = x.shape
    if not lengths:
        raise ValueError("vmap: no argument is mapped over: in_axes names an axis for at least one array")
    if len(lengths) > 1:
        (a, first), (b, second), *_ = lengths.items()
        raise ValueError(
            f"vmap: the arguments have different numbers of samples: {a} in the one of shape {first}, {b} in that of "
            f"shape {second}"
        )
    return next(iter(lengths))


def _in_front(x: Tensor, axis: int) -> Tensor:
    return x if axis % x.ndim == 0 else ops.moveaxis(x, axis, 0)


def _result(y: Any) -> Tensor | None:
    """What f returned in one place, as a tensor."""
    if y is None or isinstance(y, Tensor):
        return y
    try:
        return as_tensor(y)
    except TypeError:
        raise TypeError(f"vmap: the function returned {type(y).__name__} {str(y)[:40]!r}, and no array") from None


def _shown(t: Tensor, level: Level) -> Tensor:
    """A result with the samples along its first axis."""
    if is_batched(t._data, level):
        return leave(t, level=level)
    return ops.broadcast_to(ops.expand_dims(t, 0), (level.size, *t.shape))


def _moved(results: list[Tensor | None], axes: list[int | None]) -> list[Tensor | None]:
    """The results with their samples along the axes that were asked for."""
    for t, axis in zip(results, axes, strict=True):
        if t is not None and (axis is None or not -t.ndim <= axis < t.ndim):
            raise ValueError(f"vmap: out_axes={axis} is no axis of a result of shape {t.shape}")
    return [t if t is None or axis == 0 else ops.moveaxis(t, 0, axis) for t, axis in zip(results, axes, strict=True)]


def _one_by_one(
    f: Callable, arrays: list[Any], axes: list, rebuild: Callable, size: int, out_axes: Any, error: Exception
) -> Any:
    """The last resort: f of each sample, and the results stacked."""
    if not size:
        raise error
    name = getattr(f, "__name__", "f")
    warn_once(f"vmap of {name}", f"vmap: {name} is run for one sample after the other, which is slow: {error}")
    ys = []
    for i in range(size):
        one = [x if axis is None else x[i] for x, axis in zip(arrays, axes, strict=True)]
        args, kwargs = rebuild(iter(one))
        ys.append(f(*args, **kwargs))
    columns = zip(*[leaves_like(y, ys[0], "vmap") for y in ys], strict=True)
    results = [None if column[0] is None else ops.stack([as_tensor(y) for y in column]) for column in columns]
    return flatten(ys[0])[1](iter(_moved(results, _axes(out_axes, ys[0], "out_axes"))))
