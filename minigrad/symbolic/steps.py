"""The way from the inputs to a result and back, in named steps: intermediate results as symbols of their own.

The graph of a result is computed anew, and each result that has a name becomes new symbols (h_0, h_1 for an array h),
so no formula grows beyond one step. Backpropagation then runs on that graph and leaves a graph of the gradient,
which is cut in the same way. The steps are thus what the engine does, and nothing is written by hand.
"""

from __future__ import annotations

import itertools
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import sympy

from ..autodiff import below, walk
from ..tensor import Tensor, recording
from .array import SymbolicArray, symbolic_array
from .latex import symbol
from .writer import LatexWriter, Writer, is_constant

# Results of the first stay part of a longer formula, unless they have a name. So do those of the second, unless they
# are used twice or go into a function of another kind. All others are steps.
TRIVIAL = {
    "negative", "transpose", "reshape", "getitem", "identity", "astype", "broadcast_to", "expand_dims", "squeeze",
}  # fmt: skip
INLINE = TRIVIAL | {
    "add", "subtract", "multiply", "divide", "power", "square", "reciprocal", "matmul", "linear", "vdot",
}  # fmt: skip
REDUCTIONS = {"sum", "mean"}


class Step(NamedTuple):
    """One line: `name` = `text`, in terms of earlier names; `symbols` and `exprs` are the same by element."""

    name: str
    text: str
    latex: str
    symbols: SymbolicArray
    exprs: SymbolicArray

    @property
    def equations(self) -> list[sympy.Eq]:
        """One equation for each element."""
        pairs = zip(self.symbols.ravel().tolist(), self.exprs.ravel().tolist(), strict=True)
        return [sympy.Eq(left, right, evaluate=False) for left, right in pairs]

    def __repr__(self) -> str:
        return f"{self.name} = {self.text}"


class Steps(Sequence[Step]):
    """The steps `forward` and `backward`; printed line by line, and as mathematics in a notebook."""

    def __init__(self, forward: list[Step], backward: list[Step]) -> None:
        self.forward, self.backward = forward, backward

    def __len__(self) -> int:
        return len(self.forward) + len(self.backward)

    def __getitem__(self, i: Any) -> Any:
        """The step at a place, or the one with a name."""
        every = [*self.forward, *self.backward]
        if isinstance(i, str):
            named = {step.name: step for step in every}
            if i not in named:
                raise KeyError(f"no step is called {i!r}; there are {', '.join(named)}")
            return named[i]
        return every[i]

    def __iter__(self) -> Iterator[Step]:
        return iter([*self.forward, *self.backward])

    @property
    def latex(self) -> str:
        """The steps as one aligned display."""
        blocks = [" \\\\\n".join(step.latex for step in steps) for steps in (self.forward, self.backward) if steps]
        return "\\begin{aligned}\n" + " \\\\[1ex]\n".join(blocks) + "\n\\end{aligned}"

    def _repr_latex_(self) -> str:
        return f"$${self.latex}$$"

    def __repr__(self) -> str:
        return "\n\n".join("\n".join(map(repr, steps)) for steps in (self.forward, self.backward) if steps)


def steps(
    y: Tensor, names: dict[Tensor, str], constants: dict[int, str], result: str, seed: Any, loss: str
) -> Steps:
    """The steps to `y`, called `result`, and back, with `names` for tensors and, by their id, for arrays.

    `seed` is the gradient of `loss` with respect to y.
    """
    if not y.requires_grad:
        return Steps([_step(y, result, _writers(names, constants), y._data)], [])
    with recording():
        named = _chosen(y, names, result)
        again, forward = _cut(list(reversed(below(y))), named, names, constants)
        for old in named:
            again[old]._keep = True  # so that the walk says what gradient came here
        start = Tensor(symbolic_array(seed), True)  # which requires grad, so that all of the gradient is recorded
        gradients = walk(below(again[y]), start, create_graph=True)
        letters = {again.get(old, old): name for old, name in {**names, **named}.items()}
        backward = _backward(gradients, letters, constants, again[y], loss)
    return Steps(forward, backward)


def _writers(names: dict[Tensor, str], constants: dict[int, str]) -> tuple[Writer, Writer]:
    return Writer(names, constants), LatexWriter(names, constants)


def _chosen(y: Tensor, names: dict[Tensor, str], result: str) -> dict[Tensor, str]:
    """The results that get a step, with their names: in the user's words where known, else z1, z2, ..."""
    order = [t for t in reversed(below(y)) if t._op is not None]
    uses = Counter(x for t in order for x in t._inputs if isinstance(x, Tensor))
    inputs = {x for t in order if t._op.name not in INLINE for x in t._inputs if isinstance(x, Tensor)}
    chosen: dict[Tensor, str] = {}
    taken = {result, *names.values()}
    for t in order:
        kind = t._op.name
        if t is y:
            chosen[t] = result
        elif t in names:
            chosen[t] = names[t]
        elif kind not in INLINE | REDUCTIONS or (kind not in TRIVIAL and (uses[t] > 1 or t in inputs)):
            i = next(i for i in itertools.count(1) if f"z{i}" not in taken)
            chosen[t] = unused(f"z{i}", taken)
    return chosen


def unused(name: str, taken: set[str]) -> str:
    """The name, or one like it if it is taken: x, x2, x3; W1, W1b, W1c. Now it is taken."""
    tails = ("", *string.ascii_lowercase[1:]) if name[-1].isdigit() else ("", *map(str, range(2, len(taken) + 3)))
    new = next(name + tail for tail in tails if name + tail not in taken)
    taken.add(new)
    return new


def _cut(
    order: list[Tensor], named: dict[Tensor, str], names: dict[Tensor, str], constants: dict[int, str]
) -> tuple[dict[Tensor, Tensor], list[Step]]:
    """The results in this order computed anew, those with a name as symbols; and the steps to these."""
    again: dict[Tensor, Tensor] = {}
    letters = {t: name for t, name in names.items() if t not in named}
    writers = _writers(letters, constants)
    meaning: dict[Any, Any] = {}  # the symbol in place of each expression
    made = []
    for t in order:
        if t._op is None:
            continue
        new = t._op(*[again.get(x, x) if isinstance(x, Tensor) else _in_symbols(x, meaning) for x in t._inputs],
                    **t._params)  # fmt: skip
        again[t] = new
        if t in named:
            made.append(_step(new, named[t], writers, new._data))
            meaning.update(zip(np.ravel(t._data).tolist(), made[-1].symbols.ravel().tolist(), strict=True))
            new._data = made[-1].symbols
            letters[new] = named[t]
    return again, made


def _in_symbols(x: Any, meaning: dict[Any, Any]) -> Any:
    """A condition on results, as one on the symbols that now stand for them."""
    if not isinstance(x, SymbolicArray):
        return x
    known = {expression: s for expression, s in meaning.items() if not expression.is_number}
    return symbolic_array(np.vectorize(lambda e: e.xreplace(known), otypes=[object])(np.asarray(x)))


def _step(t: Tensor, name: str, writers: tuple[Writer, Writer], exprs: Any) -> Step:
    """The step that gives t a name; what it is made of is not looked at if it has one already."""
    text, tex = (w.text(t) if t in w.names else w.definition(t)[0] for w in writers)
    left = symbol(name, t.ndim > 0)
    return Step(name, text, f"{left} &= {tex}", symbols_of(name, t.shape), symbolic_array(exprs))


def symbols_of(name: str, shape: tuple[int, ...]) -> SymbolicArray:
    """An array of real symbols name_i_j."""
    data = np.empty(shape, object)
    for i in np.ndindex(shape):
        data[i] = sympy.Symbol("_".join([name, *map(str, i)]), real=True)
    return data.view(SymbolicArray)


def _backward(
    gradients: dict[Tensor, Tensor], letters: dict[Tensor, str], constants: dict[int, str], y: Tensor, loss: str
) -> list[Step]:
    """The gradients of the named results, last first, and of the inputs, each in terms of those before it."""
    made: list[Step] = []
    known: dict[Tensor, Tensor] = {}  # what stands for a tensor of the gradient's graph now
    names = dict(letters)  # forward results, and gradients as they get their steps
    writers = _writers(names, constants)
    if y.size > 1:
        names[gradients[y]] = f"d{loss}/d{letters[y]}"
    for t in _reading_order(y, letters):
        if t is y or t not in gradients:
            continue
        gradient = gradients[t]
        for node in _graph(gradient, known, letters):
            inputs = [known.get(x, x) if isinstance(x, Tensor) else x for x in node._inputs]
            known[node] = node._op(*inputs, **node._params)
        new = known.get(gradient, gradient)
        step = _step(new, f"d{loss}/d{letters[t]}", writers, new._data)
        made.append(step)
        if new not in names and not writers[0].is_number(new):
            if not is_constant(new):
                new._data = step.symbols
            names[new] = step.name
    return made


def _reading_order(y: Tensor, letters: dict[Tensor, str]) -> list[Tensor]:
    """The named results, last first, each followed by the inputs that nothing before it was computed from."""
    blocks: list[list[Tensor]] = []
    placed: set[Tensor] = set()
    for t in reversed([t for t in below(y) if t._op is not None and t in letters]):
        inside = _graph(t, {}, {x: "" for x in letters if x is not t})
        own = {x for part in inside for x in part._inputs if isinstance(x, Tensor)} - placed
        blocks.append([t, *(x for x in letters if x in own and x._op is None)])
        placed |= own
    return [t for block in reversed(blocks) for t in block]


def _graph(root: Tensor, known: dict[Tensor, Tensor], ends: dict[Tensor, str]) -> list[Tensor]:
    """The results below `root`, oldest first, that are not computed anew yet; not looking below `ends`."""
    found, todo = set(), [root]
    while todo:
        t = todo.pop()
        if t._op is None or t in known or t in found or t in ends:
            continue
        found.add(t)
        todo += [x for x in t._inputs if isinstance(x, Tensor)]
    return sorted(found, key=lambda t: t._born)
