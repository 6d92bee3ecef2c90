"""What is found out before any mathematics: that a function, or a claimed gradient, is a function of its inputs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..primitives import RuleError
from ..transforms import results
from .candidates import Claim, by_leaf, element, inputs, place
from .diagnose import Diagnosis
from .problem import Problem, Values, array_of, copies, grid
from .prove import REFUTED
from .reading import samples
from .report import Counterexample, Entry, Report


def examined(given: Problem, claimed: bool) -> Problem:
    """The problem after a run on numbers, which raises the error that says why it cannot be checked, if it cannot.

    A function with a claimed gradient may return a plain number, from any library; one without returns tensors.

    An example made from shapes is exchanged where the function is not finite there.
    """
    what, name = given.what, getattr(given.f, "__name__", "the function").replace("<lambda>", "the function")
    for exchanged in finite_examples(given):
        tensors = exchanged.tensors(exchanged.values)
        returned = exchanged.run(tensors)
        outputs = list(map(array_of, returned))
        if all(y.dtype.kind != "f" or np.isfinite(y).all() for y in outputs):
            break
    for leaf, before, after in zip(exchanged.leaves, exchanged.values, tensors, strict=True):
        if isinstance(before, np.ndarray) and not same(before, array_of(after)):
            raise ValueError(f"{what}: {name} changes its input {leaf.name} in place: work on a copy")
    if not outputs:
        raise ValueError(f"{what}: {name} returns nothing to differentiate")
    if not claimed:
        results(returned, what)
    for y in outputs:
        if y.dtype.kind != "f":
            raise TypeError(f"{what}: {name} returns {y.dtype}, and a derivative needs real floating point numbers")
        if not np.isfinite(y).all():
            raise ValueError(f"{what}: {name} returns {y[~np.isfinite(y)][0]} at the example inputs: give others")
    again = map(array_of, exchanged.run(exchanged.tensors(exchanged.values)))
    if not all(map(same, outputs, again)):
        raise ValueError(
            f"{what}: {name} returns something else at every call: it depends on random numbers, or on what it keeps "
            "from call to call. Draw random numbers once, outside, and pass them in"
        )
    if claimed and (len(outputs) > 1 or outputs[0].size != 1):
        shapes = " and ".join(str(y.shape) for y in outputs)
        raise ValueError(f"{what}: {name} returns {shapes}; a gradient is that of one number: reduce it, as by np.sum")
    return exchanged.with_values(exchanged.values)


def finite_examples(given: Problem) -> Any:
    """The problem with its own examples, and then with those made from shapes drawn from other intervals."""
    yield given
    rng = np.random.default_rng(given.seed)
    if any(leaf.made for leaf in given.leaves):
        for low, high in ((0.2, 1.8), (0.05, 0.95), (1.1, 2.9)):
            new = [grid(rng.uniform(low, high, x.value.shape)) if x.made else x.value for x in given.leaves]
            yield given.with_values(new)


def same(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def refused_rule(given: Problem, candidate: Any) -> Report | None:
    """The report on a gradient that a user's op refuses to compute, since its rule does what no rule may."""
    try:
        candidate(given, given.values, next(samples(given, candidate.order, given.seed)).directions)
    except RuleError as error:
        said = str(error)
        kind = "aliasing" if "writes into" in said else "second-order" if "left the graph" in said else "shape"
        leaf = given.active[0]
        line = candidate.line(given, given.values, leaf, ())
        values = dict(zip(given.names, given.arguments(given.values), strict=True))
        example = Counterexample(values, given.leaves[leaf].name, (), np.nan, np.nan, line)
        entry = Entry(given.leaves[leaf].name, REFUTED, note=str(error), counterexample=example)
        return Report([entry], str(error), diagnoses=[Diagnosis(kind, str(error))])
    return None


def misbehaviour(given: Problem, claim: Claim) -> Report | None:
    """The report on a claimed gradient that is no function: it changes inputs or results, or is never the same."""
    if not callable(claim.claimed):
        return None

    def call(values: Values) -> Any:
        with np.errstate(all="ignore"):
            return claim.claimed(*given.arguments(values))

    a = given.values
    b = next(itertools.islice(samples(given, 1, given.seed), 1, None)).values
    args_a, args_b, name = inputs(given, a), inputs(given, b), claim.name
    written = copies(a)
    result = call(written)
    first = by_leaf(given, result)
    for i, (leaf, before, after) in enumerate(zip(given.leaves, a, written, strict=True)):
        if isinstance(before, np.ndarray) and not same(before, after):
            argument, key = place(given, i)
            line = f"(lambda *inputs: ({name}(*inputs), inputs)[1])({args_a})[{argument}]{key}"
            why = f"The claimed gradient changes its input {leaf.name} in place: work on a copy of it."
            return refuted(given, i, after, before, line, Diagnosis("aliasing", why, leaf.name))
    second = by_leaf(given, call(copies(a)))
    call(copies(b))
    overwritten = by_leaf(given, result)
    third, fourth = (by_leaf(given, call(copies(a))) for _ in range(2))
    for i in given.active:
        if first[i] is None:
            continue
        key, about = claim.which(given, i), given.leaves[i].name
        if not same(first[i], overwritten[i]):
            line = f"(lambda first, second: first)({name}({args_a}), {name}({args_b})){key}"
            why = "An array that the claimed gradient returned is overwritten by a later call: return a copy."
            return refuted(given, i, overwritten[i], first[i], line, Diagnosis("aliasing", why, about))
        if not nearly(first[i], third[i]):
            line = f"[{name}({args_a}){key}, {name}({args_b}), {name}({args_a}){key}][2]"
            steps = (second[i] - first[i], fourth[i] - third[i])
            kept = nearly(first[i], second[i]) or nearly(third[i], fourth[i]) or nearly(*steps)
            why = "it keeps something from call to call, such as a buffer" if kept else "it uses random numbers"
            sentence = f"The claimed gradient is another when it is called again on the same input: {why}."
            fault = Diagnosis("stale" if kept else "random", sentence, about)
            return refuted(given, i, third[i], first[i], line, fault)
    return None


def nearly(a: Any, b: Any) -> bool:
    """Whether two results are the same but for the order in which threads may add."""
    size = np.nan_to_num(np.abs(a)).max(initial=0.0)
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-12 * size, equal_nan=True)


def refuted(given: Problem, leaf: int, now: Any, right: Any, line: str, fault: Diagnosis) -> Report:
    """The report on a fault that needs no mathematics; `now` and `right` are arrays."""
    name = given.leaves[leaf].name
    differ = now.shape == right.shape
    index = tuple(int(i) for i in np.unravel_index(np.argmax(np.abs(now - right)), now.shape)) if differ else ()
    values = dict(zip(given.names, given.arguments(given.values), strict=True))
    line += element(index)
    example = Counterexample(values, name, index, now[index].item() if differ else now, right[index].item(), line)
    return Report([Entry(name, REFUTED, counterexample=example)], fault.sentence, diagnoses=[fault])
