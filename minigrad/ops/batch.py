"""Ops that take tensors into `mg.vmap` and out again, and what the walk does on the way back.

An axis is hidden (`enter`) and shown again (`leave`); each is the other's gradient rule. A tensor that is the same for
all samples receives the sum of their gradients, once vmap is over: then `share` stands between it and what used it,
and its rule is `total`, whose rule is `share` in turn. These cards are of use to vmap only, and not among the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..batching import Level, hide, innermost, is_batched, sample, show
from ..tensor import Tensor, plain
from .card import Op
from .joining import stack


def _batched(x: Any, level: Level) -> bool:
    return is_batched(x._data if isinstance(x, Tensor) else x, level)


enter = Op("enter vmap", lambda x, level: hide(x, level), defaults={"level": None},
    vjp=lambda g, y, x, level: leave(g, level=level))

leave = Op("leave vmap", lambda x, level: show(x, level), defaults={"level": None},
    vjp=lambda g, y, x, level: enter(g, level=level) if _batched(x, level) else np.add.reduce(g, axis=0))

share = Op("share", lambda x, level: x, defaults={"level": None},
    vjp=lambda g, y, x, level: total(g, level=level))


def _total(x, level):
    return np.add.reduce(show(x, level), axis=0) if is_batched(x, level) else x * level.size


total = Op("total", _total, defaults={"level": None},
    vjp=lambda g, y, x, level: share(g, level=level) if _batched(x, level) else g * level.size)


def each_sample(function: Callable, args: tuple, params: dict[str, Any]) -> Any:
    """The function of every sample by itself, on arrays or tensors, and the results put together by ops."""
    level = innermost(([plain(x) for x in args], params))
    assert level is not None
    shown = [leave(x, level=level) if _batched(x, level) else None for x in args]
    rows = []
    for i in range(max(level.size, 1)):
        one = [x if whole is None else _row(whole, i) for x, whole in zip(args, shown, strict=True)]
        its = sample(params, i, level)
        try:
            rows.append(function(*one, **its))
        except Exception:
            if innermost(([plain(x) for x in one], its)) is None:
                raise
            rows.append(each_sample(function, tuple(one), its))
    return enter(stack(rows)[: level.size], level=level)


def _row(whole: Any, i: int) -> Any:
    return whole[i] if len(whole) else np.zeros_like(whole, shape=whole.shape[1:])


def separate(outputs: list[Tensor], level: Level, since: int) -> None:
    """End a level: what is not batched in the graph above the outputs is to receive the samples' gradients summed.

    Only results born after `since` can be of this level.
    """
    todo = [y for y in outputs if y.requires_grad]
    seen = set(todo)
    users: dict[Tensor, list[Tensor]] = {}
    while todo:
        t = todo.pop()
        if t._op is None or t._born <= since:
            continue
        inside = is_batched(t._data, level) and not (t._op is enter and t._params["level"] is level)
        for x in t._inputs:
            if type(x) is not Tensor or not x.requires_grad:
                continue
            if inside and not is_batched(x._data, level):
                users.setdefault(x, []).append(t)
            if x not in seen:
                seen.add(x)
                todo.append(x)
    for x, results in users.items():
        between = Tensor(x._data, True)
        between._op, between._inputs, between._params = share, (x,), {"level": level}
        between._born = min(t._born for t in results) - 0.5  # type: ignore[assignment]  # after x, before all of them
        for t in results:
            t._inputs = tuple(between if z is x else z for z in t._inputs)
