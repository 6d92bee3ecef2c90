"""Parameters that are updated together: side by side in one array, by one call of native code."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import parallel
from ..native import DATA, pointer_at, zeros
from ..tensor import Tensor, tick
from .kernel import kernel, read
from .options import check_option

if TYPE_CHECKING:
    from .optimizer import Optimizer

SMALL = 1 << 16  # elements: copying a gradient of this size costs no more than a call of its own
THREADED = 1 << 19  # elements: above this size waking a thread costs less than it brings
PART = 1 << 17  # elements that a thread takes at a time, so that none waits long for the last one


def label(group: dict[str, Any], p: Tensor, where: str = "") -> str:
    """How messages call a parameter."""
    i = next(i for i, q in enumerate(group["params"]) if q is p)
    name = group["param_names"][i] if "param_names" in group else p.name
    return f"parameter {name!r}" if name else f"parameter {i}{where}"


class Block:
    """Parameters of one group (by its number), dtype and step count, with their state.

    The parameters become views of one array, so that one call updates them all. `t` counts the steps taken;
    `state` holds for each parameter, by name, what the rule remembers (what is missing starts afresh).
    """

    def __init__(
        self, kind: type[Optimizer], group: dict[str, Any], number: int, params: list[Tensor], t: int,
        state: list[dict[str, Any]],
    ) -> None:  # fmt: skip
        self.kind, self.group, self.number, self.params = kind, group, number, params
        self.dtype = params[0].dtype
        self.size = sum(p.size for p in params)
        in_place = len(params) == 1 and params[0]._data.flags.carray
        self.values = params[0]._data.reshape(-1) if in_place else zeros(self.size, self.dtype)
        self.shapes = [p.shape for p in params]
        self.joined_gradient = zeros(self.size, self.dtype)  # takes no memory until written to
        self.joined = pointer_at(id(self.joined_gradient) + DATA)
        views, places = self.views(self.values), self.views(self.joined_gradient)
        self.members = [(p, v, g, v.shape, v.strides) for p, v, g in zip(params, views, places, strict=True)]
        for p, view, *_ in self.members:
            self.adopt(p, view)
        self.direct = len(params) == 1 and params[0].ndim > 0  # a gradient without axes may be a NumPy scalar
        self.names = [name for name in group if name not in ("params", "param_names")]
        self.hyper = itemgetter(*self.names)
        self.follow(kind.rule(group), t, state)
        self.configure()

    def views(self, flat: np.ndarray) -> list[np.ndarray]:
        """The part of a flat array that belongs to each parameter, in its shape."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        return [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), self.shapes, strict=True)]

    def adopt(self, p: Tensor, view: np.ndarray) -> None:
        """Make the parameter a view of the block again, with the values that somebody has given it meanwhile."""
        if p.dtype != view.dtype or p.shape != view.shape:
            raise TypeError(
                f"{self.kind.__name__}: {label(self.group, p)} was {view.dtype} of shape {view.shape} and has "
                f"become {p.dtype} of shape {p.shape}; make the optimizer after such a change"
            )
        view[...] = p._data
        p._data = view

    def follow(self, rule: Callable, t: int, known: list[dict[str, Any]]) -> None:
        """Allocate the state of a rule, filled with what is known of it, and bind its kernel to the arrays."""
        self.rule = rule
        self.state = {}
        for name in read(rule).state:
            self.state[name] = zeros(self.size, self.dtype)
            self.state[name][:] = self.kind.initial(self.group, name)
            for view, values in zip(self.views(self.state[name]), known, strict=True):
                if name in values:
                    view[...] = values[name]
        run = kernel(rule, self.dtype, self.size > THREADED)
        arrays = [self.values, *self.state.values()]
        self.parts = []
        part = PART if self.size > THREADED else max(self.size, 1)
        for start in range(0, max(self.size, 1), part):
            size = ctypes.c_int64(min(part, self.size - start))
            pointers = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data + start * a.itemsize for a in arrays))
            scalars = (ctypes.c_double * (1 + len(read(rule).hyper)))(t)
            self.parts.append(partial(run, size, pointers, scalars))

    def refresh(self) -> None:
        """Take over the group's hyperparameters if they have changed."""
        try:
            if self.hyper(self.group) == self.settings:
                return
        except (KeyError, ValueError):  # one is gone, or is an array
            pass
        self.configure()

    def configure(self) -> None:
        """Take over the group's hyperparameters, which may also select another rule.

        Raises ValueError or TypeError, and takes over nothing, where one is none.
        """
        where = f" of param_groups[{self.number}]"
        for name in self.names:
            if name not in self.group:
                raise ValueError(f"{self.kind.__name__}: {name}{where} is gone; every group needs one")
            check_option(self.kind.__name__, name, self.group[name], where)
            if isinstance(self.group[name], list):
                self.group[name] = tuple(self.group[name])  # which nobody can change unnoticed
        rule, named = self.kind.rule(self.group), self.kind.scalars(self.group)
        if rule is not self.rule:
            self.follow(rule, self.t, self.states())
        for i, name in enumerate(read(rule).hyper, 1):
            for part in self.parts:
                part.args[2][i] = named[name]
        self.settings = self.hyper(self.group)

    @property
    def t(self) -> int:
        """How many steps have been taken; the kernels count them."""
        return int(self.parts[0].args[2][0])

    def states(self) -> list[dict[str, np.ndarray]]:
        """What the rule remembers about each parameter, by name."""
        flat = {name: self.views(array) for name, array in self.state.items()}
        return [{name: flat[name][i] for name in flat} for i in range(len(self.params))]

    def split(self, here: list[bool]) -> tuple[Block, Block]:
        """The same parameters as two blocks."""
        states = self.states()

        def half(which: bool) -> Block:
            chosen = [i for i, flag in enumerate(here) if flag is which]
            params = [self.params[i] for i in chosen]
            return Block(self.kind, self.group, self.number, params, self.t, [states[i] for i in chosen])

        return half(True), half(False)

    def step(self) -> bool:
        """Update all parameters; False, with nothing done, unless every one has a gradient."""
        gradient, dtype, direct = self.joined, self.dtype, self.direct
        for p, view, place, shape, strides in self.members:
            if p._grad is None:
                return False
            g = p._grad._data
            if g.dtype is not dtype or g.shape != shape:
                self.check_gradient(p, view, g)
            if p._data is not view:
                self.adopt(p, view)
            if direct and g.strides == strides:
                gradient = pointer_at(id(g) + DATA)  # one contiguous array: used where it lies
            else:
                place[...] = g
        self.refresh()
        if len(self.parts) == 1:
            self.parts[0](gradient)
        else:
            stride = PART * dtype.itemsize
            places = (ctypes.c_void_p((gradient.value or 0) + i * stride) for i in range(len(self.parts)))
            parallel.run([partial(part, place) for part, place in zip(self.parts, places, strict=True)])
        now = tick()
        for p in self.params:
            p._grad_used = True
            if p._changed < 0:  # somebody holds the array
                p._touch()
            else:
                p._changed = now
        return True

    def check_gradient(self, p: Tensor, view: np.ndarray, g: Any) -> None:
        if g.dtype != view.dtype or g.shape != view.shape:
            raise ValueError(
                f"{self.kind.__name__}: the gradient of {label(self.group, p)} is {g.dtype} of shape {g.shape}, the "
                f"parameter {view.dtype} of shape {view.shape}"
            )
