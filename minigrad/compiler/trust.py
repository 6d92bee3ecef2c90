"""Trust: what compiled code computes, beside what NumPy computed when it was captured.

How far the two may be apart is measured, not guessed: the trace runs once more, with the last bit of every result
turned up or down at random, as rounding might have done it. What that does to a result shows how far rounding can move
it (M. La Porte and J. Vignes, "Etude statistique des erreurs dans l'arithmetique des ordinateurs", Numerische
Mathematik 23, 1974); the compiled code gets a multiple of that, and of the rounding of the result's own sum.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .assembly import Code
from .lower import Lowering
from .program import Program
from .trace import Node, Trace, evaluate, forget, mapped
from .values import Input

SLACK = 32  # times the rounding that was measured: the compiled code groups terms otherwise, and has its own exp

# Ufuncs that round; what only moves, chooses or compares elements must give the same bits, since others look for them.
ROUNDING = frozenset({
    np.add, np.subtract, np.multiply, np.divide, np.power, np.sqrt, np.exp, np.log, np.expm1, np.log1p, np.exp2,
    np.log2, np.log10, np.tanh, np.sin, np.cos, np.tan, np.sinh, np.cosh, np.arctan, np.arcsin, np.arccos, np.logaddexp,
    np.hypot, np.square, np.reciprocal, np.cbrt, np.matmul,
})  # fmt: skip
SUMS = frozenset({
    np.dot, np.vdot, np.sum, np.mean, np.prod, np.cumsum, np.cumprod, np.einsum, np.inner, np.outer, np.tensordot,
})  # fmt: skip


class CompiledDiffers(RuntimeError):
    """Compiled code computed something else than NumPy."""


def check(trace: Trace, lowering: Lowering, code: Code, run: Callable[[], object]) -> None:
    """Run new code twice, and raise CompiledDiffers at the first result that is not NumPy's.

    The second time buffers share their memory, as from then on, so only outputs are left to be compared.
    """
    bounds = functools.cache(lambda: roundings(trace))
    run()
    compare(trace, lowering, code.arrays, bounds)
    code.settle()
    run()
    compare(trace, lowering, {name: code.arrays[name] for name in code.outputs}, bounds)
    forget(trace.nodes)


Bounds = Callable[[], dict[Node, float]]  # they take a run, which is not needed where every bit is the same


def compare(trace: Trace, lowering: Lowering, arrays: dict[str, np.ndarray], bounds: Bounds) -> None:
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
        if not same(ours, node.value, 0) and not same(ours, node.value, bounds().get(node, 0.0)):
            raise CompiledDiffers(named(node, ours, right, bounds()))
        right.add(node)


def named(node: Node, ours: np.ndarray, right: set[Node], bounds: dict[Node, float]) -> str:
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
        if not same(found, x.value, bounds.get(x, 0.0)):
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


def same(ours: np.ndarray, right: np.ndarray, bound: float) -> bool:
    """Whether all elements are equal, or by no more than `bound` apart."""
    with np.errstate(all="ignore"):
        equal = (ours == right) | ((ours != ours) & (right != right))
        if right.dtype.kind == "f":
            equal |= np.abs(ours - right) <= bound
    return bool(equal.all())


def roundings(trace: Trace) -> dict[Node, float]:
    """How far rounding may move each result of the trace, as far as one more run with other roundings shows."""
    rng = np.random.default_rng(0)
    found: dict[Node, Any] = {}
    bounds: dict[Node, float] = {}
    with np.errstate(all="ignore"):
        for node in trace.nodes:
            if node.function in ("input", "constant"):
                found[node] = node.value.item() if node.weak else node.value
                continue
            args, kwargs = mapped(found.__getitem__, Node, (node.args, node.kwargs))
            result = evaluate(node, args, kwargs)
            if isinstance(node.value, np.ndarray) and node.dtype.kind == "f":
                eps = np.finfo(node.dtype).eps
                if rounds(node):
                    result = np.asarray(result * (1 + eps * rng.uniform(-3, 3, node.shape)), node.dtype)
                scale = np.max(np.abs(node.value), initial=0, where=np.isfinite(node.value))
                moved = np.abs(result - node.value)
                moved = np.max(moved, initial=0, where=np.isfinite(moved))
                bounds[node] = SLACK * (float(moved) + float(eps * scale) * math.sqrt(terms(node)))
            found[node] = float(result) if node.weak else result
    return bounds


def rounds(node: Node) -> bool:
    function = node.function[1] if isinstance(node.function, tuple) else node.function
    return isinstance(node.function, str) is False and (function in ROUNDING or function in SUMS)


def terms(node: Node) -> float:
    """About how many terms go into an element of the result, where it is a sum."""
    if isinstance(node.function, str) or not rounds(node):
        return 1.0
    sizes = [math.prod(x.shape) for x in node.inputs() if isinstance(x.value, np.ndarray)]
    return max(1.0, max(sizes, default=1) / max(math.prod(node.shape), 1))


def difference(node: Node, ours: np.ndarray, what: str = "") -> str:
    right = node.value
    with np.errstate(all="ignore"):
        apart = np.where((ours == right) | ((ours != ours) & (right != right)), 0, np.abs(ours - 1.0 * right))
        worst = np.unravel_index(np.argmax(np.where(np.isnan(apart), np.inf, apart)), node.shape)
    return (
        f"the compiled code differs from NumPy's first in {node.name}, called at {node.line}, of shape {node.shape}"
        f"{what}: at {[int(i) for i in worst]} it computes {ours[worst]} for {right[worst]}. Please report this; "
        "fit(compile=False), and functions and steps without mg.compile, do not depend on it"
    )
