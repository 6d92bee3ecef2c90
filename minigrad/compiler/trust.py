"""Trust: what compiled code computes, beside what NumPy computed when it was captured.

How far the two may be apart is measured, not guessed: the trace runs again, with the last bits of every result turned
up or down at random, as rounding might have done it. What that does to a result shows how far rounding can move it
(M. La Porte and J. Vignes, "Etude statistique des erreurs dans l'arithmetique des ordinateurs", Numerische Mathematik
23, 1974); the compiled code gets a multiple of that, and of the rounding of the result's own sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..nn.utils import clip_grad_norm_, clip_grad_value_
from ..optim.block import Block, label
from ..optim.kernel import read
from ..tensor import Tensor
from .assembly import Code
from .loops import Loop
from .lower import Lowering
from .program import Program
from .trace import Node, Replay, Trace, evaluate, forget, mapped
from .values import Input

SLACK = 32  # times the rounding that was measured: the compiled code groups terms otherwise, and has its own exp
TURNED = 3  # ulp, at most, that a result is turned by: functions of the C library are off by as much
RUNS = 50  # with other roundings, before a result is called wrong
LANES = 64  # sums that a long one is taken in at a time, about: the roots of their lengths are what errors grow with

# Functions that add up products: their terms round, however small the sum is.
SUMS = frozenset({
    np.matmul, np.dot, np.vdot, np.vecdot, np.inner, np.outer, np.tensordot, np.kron, np.einsum, np.convolve, np.sum,
    np.mean, np.var, np.std, np.trace, np.prod, np.cumsum, np.cumprod,
    "convolution", "convolution_by_input", "convolution_by_weight",
})  # fmt: skip
# Others that round. So do ufuncs, but for those which only move, choose or cut off: these give the same bits, since
# others look for them.
ROUNDING = frozenset({np.sinc, np.diff, np.ptp, "window_put", "window_mean", "window_spread"})
EXACT = frozenset({
    np.maximum, np.minimum, np.fmax, np.fmin, np.negative, np.positive, np.conjugate, np.absolute, np.fabs, np.sign,
    np.copysign, np.ceil, np.floor, np.trunc, np.rint, np.heaviside, np.fmod, np.floor_divide,
})  # fmt: skip


class CompiledDiffers(RuntimeError):
    """Compiled code computed something else than NumPy."""


def check(trace: Trace, lowering: Lowering, code: Code, run: Callable[[], object]) -> None:
    """Run new code twice, and raise CompiledDiffers at the first result that is not NumPy's.

    The second time buffers share their memory, as from then on, so only outputs are left to be compared.
    """
    bounds = Roundings(trace)
    run()
    compare(trace, lowering, code.arrays, bounds)
    code.settle()
    run()
    compare(trace, lowering, {name: code.arrays[name] for name in code.outputs}, bounds)
    forget(trace.nodes)


def compare(trace: Trace, lowering: Lowering, arrays: dict[str, np.ndarray], bounds: Roundings) -> None:
    """Raise CompiledDiffers at the first result that the native code has computed and that is not NumPy's.

    `arrays` are the buffers by name after a run. Results without one, which are computed where they are read, are
    looked at when something that reads them is wrong.
    """
    made = {i: v if v.copied is None else v.copied for i, v in lowering.made.items()}
    buffers = {i: v.buffer for i, v in made.items() if v.buffer is not None and not v.buffer.overwritten}
    right: set[Node] = set()
    for node in trace.nodes:
        if node.index not in buffers or buffers[node.index].name not in arrays or node.function == "input":
            continue
        ours = arrays[buffers[node.index].name].reshape(node.shape)
        if not bounds.allow(node, ours):
            raise CompiledDiffers(named(node, ours, right, bounds))
        right.add(node)


def named(node: Node, ours: np.ndarray, right: set[Node], bounds: Roundings) -> str:
    """What to say of a wrong result: the first wrong op among those that it is computed in one with."""
    within = between(right, node)
    if len(within) == 1:
        return difference(node, ours)
    others = f", computed in one with {', '.join(dict.fromkeys(x.name for x in within[:-1]))}"
    try:
        results = alone(within)
    except Exception:  # which the wrong result matters more than
        return difference(node, ours, others)
    for x, found in zip(within, results, strict=True):
        if not bounds.allow(x, found):
            return difference(x, found)
    return difference(node, ours, f"{others}, which are right alone")


def between(right: set[Node], node: Node) -> list[Node]:
    """The node, and before it the nodes that it is computed from and that are not known to be right."""
    found, todo = {node.index: node}, [node]
    while todo:
        for x in todo.pop().inputs():
            if x.index not in found and x not in right and x.function not in ("input", "constant"):
                if not isinstance(x.value, np.ndarray):  # of several results, which are compared one by one
                    continue
                found[x.index] = x
                todo.append(x)
    return [found[i] for i in sorted(found)]


def alone(nodes: list[Node]) -> list[np.ndarray]:
    """The results of some nodes, by native code that gives each of them memory; all others are taken from NumPy."""
    lowering, inputs = Lowering(), []
    for node in nodes:
        for x in node.inputs():
            if x.index not in lowering.made and x not in nodes:
                lowering.made[x.index] = value = Input(x.shape, x.dtype, (), x.name)
                inputs.append((value, np.ascontiguousarray(x.value)))
    for node in nodes:
        lowering.lower(node)
    program = Program([lowering.value(node) for node in nodes], [value for value, _ in inputs])
    memory = {v.buffer: a for v, a in [*inputs, *lowering.constants] if v.buffer is not None}
    code = Code(program, memory, checks=lowering.checks, shown=lowering.shown)
    code.run()
    return [code.arrays[v.home.name].reshape(node.shape) for v, node in zip(program.outputs, nodes, strict=True)]


class Roundings:
    """How far rounding may move each result of a trace: as far as runs with other roundings show.

    Most results need one run, or none. A single run may by chance move a result by next to nothing, though, where terms
    cancel; so no result is called wrong before there have been RUNS.
    """

    def __init__(self, trace: Trace, runs: int = 0) -> None:
        self.trace, self.runs, self.rng = trace, 0, np.random.default_rng(0)
        self.bounds: dict[Node, Any] = {}  # of numbers one for all elements, of truth values one for each
        for _ in range(runs):
            self.run()

    def allow(self, node: Node, ours: np.ndarray) -> bool:
        """Whether a result is NumPy's but for rounding."""
        while not same(ours, node.value, self.bounds.get(node, 0)):
            if self.runs == RUNS:
                return False
            self.run()
        return True

    def run(self) -> None:
        nodes = [node for node in self.trace.nodes if isinstance(node.value, np.ndarray)]
        inputs = [node for node in nodes if node.function == "input"]
        shaken = Shaken(self.rng, self.runs > 0, self.trace, inputs, nodes)
        results = shaken([node.value.item() if node.weak else node.value for node in inputs])
        for node, result in zip(nodes, results, strict=True):
            moved: Any = apart(result, node.value)
            if node.dtype.kind != "b":
                moved = largest(moved)
            if node.dtype.kind in "fc":
                moved = SLACK * moved + shaken.own.get(node, SLACK * least(node.value))
            self.bounds[node] = np.maximum(self.bounds.get(node, 0), moved)
        self.runs += 1


class Shaken(Replay):
    """NumPy with other roundings: the last bits of all results are turned at random, and of the terms of sums.

    If it is `careful`, it counts with sums whose terms are all rounded to one side, as equal ones may be.
    """

    def __init__(self, rng: np.random.Generator, careful: bool, *trace: Any) -> None:
        super().__init__(*trace)
        self.rng, self.careful = rng, careful
        self.own: dict[Node, float] = {}  # how far the rounding of a result itself may move it

    def evaluate(self, node: Node, args: tuple, kwargs: dict[str, Any]) -> Any:
        if isinstance(node.function, Loop):
            carry, xs, outside = args
            return node.function(carry, xs, outside, partial(Shaken, self.rng, False))
        if not rounds(node):
            return evaluate(node, args, kwargs)
        n, by, own = terms(node) / LANES, float(TURNED), 0.0
        if adds(node):
            if self.careful:
                own = 4 * n * least(magnitude(node, args, kwargs))
            args, kwargs = mapped(partial(turned, self.rng, 1), np.ndarray, (args, kwargs))
            by = math.sqrt(1 + n)
        result = np.asarray(evaluate(node, args, kwargs), node.dtype)
        self.own[node] = own + SLACK * math.sqrt(1 + n) * least(result)
        other = turned(self.rng, by, result)
        if isinstance(node.function, np.ufunc) and not adds(node):  # x * 1 and x + 0 are x, and may be compared with it
            for x in args:
                np.copyto(other, result, where=np.abs(result) == np.abs(x))
        return other.item() if node.weak else other


def turned(rng: np.random.Generator, ulp: float, x: np.ndarray) -> np.ndarray:
    """An array with its last bits turned, by up to so many ulp; integers as they are."""
    if x.dtype.kind != "f":
        return x
    by = rng.random(x.shape, np.float32 if x.dtype == np.float32 else np.float64)
    return np.asarray(x * (1 + (2 * by - 1) * (ulp * np.finfo(x.dtype).eps)), x.dtype)


def rounds(node: Node) -> bool:
    """Whether the function of a node rounds its results."""
    if not isinstance(node.value, np.ndarray) or node.dtype.kind != "f":
        return False
    _, function = parts(node)
    return adds(node) or function in ROUNDING or (isinstance(function, np.ufunc) and function not in EXACT)


def adds(node: Node) -> bool:
    """Whether it adds up, or multiplies, many numbers."""
    kind, function = parts(node)
    return function in SUMS or bool(kind and function in (np.add, np.subtract, np.multiply))


def parts(node: Node) -> tuple[str | None, Any]:
    """The kind of a node's function, and which it is: by name, if it is a card."""
    kind, function = node.function if isinstance(node.function, tuple) else (None, node.function)
    return kind, function.__name__ if kind == "host" else function


def magnitude(node: Node, args: tuple, kwargs: dict[str, Any]) -> np.ndarray:
    """What a sum would be if no term were negative."""
    args, kwargs = mapped(lambda x: np.abs(x) if x.dtype.kind == "f" else x, np.ndarray, (args, kwargs))
    return np.asarray(evaluate(node, args, kwargs), node.dtype)


def terms(node: Node) -> float:
    """About how many terms go into an element of the result, where it is a sum."""
    if not adds(node):
        return 0.0
    sizes = [x.value.size for x in node.inputs() if isinstance(x.value, np.ndarray)]
    return float(math.prod(sizes) / max(node.value.size, 1)) ** (1 / max(len(sizes), 1))


def same(ours: np.ndarray, right: np.ndarray, bound: Any) -> bool:
    """Whether all elements are equal, or by no more than `bound` apart."""
    return bool(np.all(apart(ours, right) <= bound))


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far elements are apart: not at all if both are nan, and nan if one is."""
    with np.errstate(all="ignore"):
        alike = (a == b) | ((a != a) & (b != b))
        if b.dtype.kind not in "biufc":  # texts, times, and objects, which only Python computes with
            return np.where(alike, 0, np.inf)
        distance = np.abs(np.subtract(a, b, dtype=b.dtype if b.dtype.kind in "fc" else float))
        return np.where(alike, 0, distance)


def largest(a: np.ndarray) -> float:
    """The largest of the elements that are finite."""
    return float(np.max(a, initial=0, where=np.isfinite(a)))


def least(a: np.ndarray) -> float:
    """One ulp of the largest element."""
    kind = np.finfo(a.dtype)
    return float(kind.eps) * max(largest(np.abs(a)), float(kind.tiny))


REPORT = "Please report this; fit(compile=False), and functions and steps without mg.compile, do not depend on it"


def difference(node: Node, ours: np.ndarray, what: str = "") -> str:
    return (
        f"the compiled code differs from NumPy's first in {node.name}, called at {node.line}, of shape {node.shape}"
        f"{what}: {worst(ours, node.value)}. {REPORT}"
    )


def worst(ours: np.ndarray, right: np.ndarray) -> str:
    """Where two arrays are furthest apart, in words."""
    distance = apart(ours, right)
    at = np.unravel_index(np.argmax(np.where(np.isnan(distance), np.inf, distance)), right.shape)
    return f"at {[int(i) for i in at]} it computes {ours[at]} for {right[at]}"


# ---- what is around the trace in a training step ---------------------------------------------------------------------


def check_rows(name: str, ours: np.ndarray, right: np.ndarray) -> None:
    """Raise CompiledDiffers unless a batch that native code has gathered is made of the right rows."""
    if not same(ours, right, 0):
        raise CompiledDiffers(f"the compiled code gathers other rows of {name}: {worst(ours, right)}. {REPORT}")


Arrays = dict[tuple[int, str, int], np.ndarray]  # by block, name in the rule, and place among the block's parameters


class Updates:
    """What the eager optimizer makes of the gradients that native code has computed, to compare its own update with.

    `limits` are those of each element of the gradient and of its norm. Native code reads the same numbers and applies
    the same rule, so its roundings are few.
    """

    def __init__(self, blocks: list[Block], limits: np.ndarray) -> None:
        self.blocks, self.limits = blocks, limits
        self.before, self.gradients = held(blocks), [block.joined_gradient.copy() for block in blocks]
        self.right = self.eager(np.array)

    def eager(self, turned: Callable[[np.ndarray], np.ndarray]) -> Arrays:
        """The update of copies, from gradients and states as `turned` makes them."""
        blocks = []
        for block, gradient in zip(self.blocks, self.gradients, strict=True):
            params = [Tensor(np.array(p._data), requires_grad=True) for p in block.params]
            for p, g in zip(params, block.views(gradient), strict=True):
                p._grad = Tensor(turned(g))
            states = [{name: turned(array) for name, array in state.items()} for state in block.states()]
            blocks.append(Block(block.kind, block.group, block.number, params, block.t, states))
        every = [p for block in blocks for p in block.params]
        value, norm = map(float, self.limits)
        if value < math.inf:
            clip_grad_value_(every, value)
        if norm < math.inf:
            clip_grad_norm_(every, norm)
        for block in blocks:
            block.step()
        return held(blocks)

    def compare(self, found: Arrays) -> None:
        """Raise CompiledDiffers at the first array that native code has made something else of.

        All of them have to be as before again, since more updates of copies show how far rounding may move an element.
        """
        moved: dict[Any, Any] = dict.fromkeys(found, 0)
        rng = np.random.default_rng(0)
        ulp = {key: np.finfo(x.dtype).eps * (np.abs(x) + np.abs(self.before[key])) for key, x in self.right.items()}
        for runs in range(RUNS + 1):
            wrong = [key for key in found if not same(found[key], self.right[key], 4 * ulp[key] + 8 * moved[key])]
            if not wrong:
                return
            if runs < RUNS:
                for key, x in self.eager(partial(turned, rng, TURNED)).items():
                    moved[key] = np.fmax(moved[key], apart(x, self.right[key]))
        i, name, k = wrong[0]
        block = self.blocks[i]
        what = ("" if name == "p" else f"{name} of ") + label(block.group, block.params[k])
        raise CompiledDiffers(
            f"the compiled code differs from the eager optimizer in the update by {read(block.rule).name} of {what}: "
            f"{worst(found[i, name, k], self.right[i, name, k])}. {REPORT}"
        )


def held(blocks: list[Block]) -> Arrays:
    """Copies of the parameters of some blocks, and of their states."""
    return {
        (i, name, k): view
        for i, block in enumerate(blocks)
        for name, array in {"p": block.values, **block.state}.items()
        for k, view in enumerate(block.views(array.copy()))
    }
