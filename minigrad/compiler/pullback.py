"""Gradients through compiled functions: their results are part of the graph, as those of one op.

When a function is captured whose results require grad, backward is traced as well, with the gradients of the results
as inputs. It is compiled when a gradient is first asked for, and computes the function anew from what the call has
read, random numbers included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autodiff import below
from ..ops.whole import Whole
from ..tensor import RECORD, Tensor, mode, recording, tick
from ..transforms import inner, pull
from .capture import Capture
from .trace import Node, Trace, evaluate, forget, live, mapped, noded, tensor_of


class Pullback:
    """The gradients of some results by the tensors that they were computed from, as a trace that runs when asked to."""

    def __init__(self, capture: Capture, given: list[Any], outputs: list[Tensor]) -> None:
        outside = frozenset(t for t, _ in capture.inputs if t.requires_grad)
        arguments = {x: i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad}
        under = dict.fromkeys(t for y in outputs for t in below(y, outside))
        wanted = [t for t in under if t in outside or t in arguments]
        self.wanted: list[Any] = [arguments.get(t, t) for t in wanted]  # tensors, and places of arguments
        self.nodes: list[Any] = []
        self.seeds: list[Node] = []
        self.error: Exception | None = None
        self.run: Callable | None = None
        required, raised = len(capture.required), len(capture.raised)
        seeds = [capture.trace.input(f"gradient{i}", np.ones(y.shape, y.dtype)) for i, y in enumerate(outputs)]
        try:
            with recording():
                found = pull(*inner(outputs, list(map(tensor_of, seeds)), "compile"), wanted, False)
            self.nodes, self.seeds = [noded(g._data) for g in found], [seed.node for seed in seeds]
        except Exception as error:  # which concerns nobody who takes no gradient
            self.error = error.with_traceback(None)
        del capture.required[required:], capture.raised[raised:]
        self.outputs = list({node.index: node for node in self.nodes if isinstance(node, Node)}.values())
        self.live = live(self.outputs)
        self.inputs = [node for node in self.live if node.function == "input" and node not in self.seeds]
        self.engine: Any = None

    def forget(self) -> None:
        """Let go of the numbers of the capture."""
        forget(self.live)

    def __call__(self, arrays: Sequence[Any], seeds: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The gradients, from what the call has read and the gradients of its results."""
        if self.error is not None:
            raise self.error
        known: dict[Node, Any] = dict(zip([*self.inputs, *self.seeds], [*arrays, *seeds], strict=True))
        inputs = [node for node in self.live if node in known]
        if self.run is None:
            self.recall(known)
            trace = Trace()
            trace.nodes = self.live
            self.run = self.engine(trace, inputs, self.outputs)
        found = self.run([known[node] for node in inputs]) if self.outputs else []
        by_node = dict(zip(self.outputs, found, strict=True))
        return [np.array(by_node[node] if isinstance(node, Node) else node) for node in self.nodes]

    def recall(self, known: dict[Node, Any]) -> None:
        """Compute the numbers that new code is compared with."""
        found = dict(known)
        with np.errstate(all="ignore"):
            for node in self.live:
                if node not in found:
                    found[node] = evaluate(node, *mapped(found.__getitem__, Node, (node.args, node.kwargs)))
                value = found[node]
                node.value = value if isinstance(value, tuple) else np.asarray(value)


class Pulled(Whole):
    """One call of a compiled function."""

    def __init__(self, name: str, pullback: Pullback, read: list[Any], lock: Any) -> None:
        super().__init__(name)
        self.pullback, self.read, self.lock = pullback, read, lock
        self.made: list[np.ndarray] = []

    def of(self, inputs: list[Tensor], arrays: list[np.ndarray]) -> list[Tensor]:
        """The results as tensors of the graph.

        The inputs are those that gradients are wanted of, and then those without one that backward reads: it says so
        where one of them has changed meanwhile.
        """
        if len(arrays) > 1:
            self.made = arrays
            return self.results(inputs)
        for x in inputs:
            if x._changed < 0:  # somebody holds the array
                x._settle()
        y = Tensor(arrays[0], True)
        y._op, y._inputs, y._born = self, tuple(inputs), tick()
        return [y]

    def run(self, arrays: tuple) -> Any:
        made, self.made = self.made, []
        return made

    def gradients(self, g: Any, y: Any, inputs: tuple) -> list[Any]:
        if mode.now is RECORD:
            raise RuntimeError(
                f"a gradient of the gradient of {self.name}, which is compiled, would be needed here: take gradients "
                "inside the compiled function, as in mg.compile(mg.grad(f)), or call the function itself"
            )
        with self.lock:
            seeds = [g] if len(self.pullback.seeds) == 1 else self.apart(g)
            found = self.pullback(self.read, [np.asarray(part) for part in seeds])
        return found + [None] * (len(inputs) - len(found))
