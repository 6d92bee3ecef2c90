"""mg.vmap: the same as one call for each sample, stacked: for every card, every composite, layers, and all transforms.

The oracle is the library itself without vmap, sample by sample; where torch.func has the same, torch.
"""

import sys

import numpy as np
import pytest
from catalogue import close, sample, spaced, torch
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad.batching import BatchedArray, Level, each_sample
from minigrad.nests import flatten, map_nest
from minigrad.nn import functional as F
from minigrad.ops.card import CARDS, COMPOSITES

rng = np.random.default_rng(0)
N = 3  # samples


# ---- every card and every composite --------------------------------------------------------------------------------


def calls():
    """Functions of float arrays, and the shapes (or one sample's values) of these."""
    for name, card in sorted(CARDS.items()):
        if card.domain is not None:
            domains = card.domain if isinstance(card.domain, list) else [card.domain]
            yield name, card, [Domain(d, (2, 3)) for d in domains], {}
            if len(domains) > 1:  # of different shapes, which broadcast
                shapes = [(3,), (2, 1), (), (2, 3)]
                yield name, card, [Domain(d, s) for d, s in zip(domains, shapes, strict=False)], {}
        else:
            for inputs, params in card.cases or [([(2, 3)], {})]:
                yield name, card, list(inputs), params
    for name, composite in sorted(COMPOSITES.items()):
        for inputs, params in composite.cases:
            yield name, composite.function, list(inputs), params


class Domain:
    def __init__(self, domain, shape):
        self.domain, self.shape = domain, shape


def samples(x, n):
    """n samples of an input: arrays of floats are drawn, anything else is the same for all, and marked so."""
    if isinstance(x, Domain):
        return sample(np.random.default_rng(n), x.domain, (n, *x.shape)), 0
    if isinstance(x, tuple) and all(isinstance(k, int) for k in x):
        return np.stack([spaced(np.random.default_rng(i), x) for i in range(n)]), 0
    if isinstance(x, list):
        pairs = [samples(part, n) for part in x]
        return [a for a, _ in pairs], [axis for _, axis in pairs]
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":
        return np.stack([x * (1 + 0.05 * i) for i in range(n)]), 0
    return x, None


CALLS = [pytest.param(f, inputs, params, id=f"{name}-{i}") for i, (name, f, inputs, params) in enumerate(calls())]


def one_of(args, axes, i):
    """Sample i of the arguments."""
    if isinstance(axes, (tuple, list)):
        return type(args)([one_of(a, axis, i) for a, axis in zip(args, axes, strict=True)])
    return args if axes is None else args[i]


def floats(args):
    return [x for x in flatten(args)[0] if isinstance(x, np.ndarray) and x.dtype.kind == "f"]


def put(args, arrays):
    """The arguments with these in place of their float arrays."""
    new = iter(arrays)
    return map_nest(lambda x: next(new) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x, args)


def scalar(f, args, params):
    """All results of a call as one number, of the float arrays."""

    def total(arrays):
        ys = [y for y in flatten(f(*put(args, arrays), **params))[0]]
        return sum((mg.sin(y + k) * (k + 1)).sum() for k, y in enumerate(ys))

    return total


def mapped_inputs(inputs):
    pairs = [samples(x, N) for x in inputs]
    return [a for a, _ in pairs], [axis for _, axis in pairs]


def agree(ours, theirs, what, rtol=1e-10):
    ours, theirs = flatten(ours)[0], flatten(theirs)[0]
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        close(a, b.data if isinstance(b, mg.Tensor) else b, what, rtol, 1e-12)


def stacked(results):
    """A nest of stacks, from one nest for each sample."""
    columns = zip(*[flatten(r)[0] for r in results], strict=True)
    stacks = [np.stack([y.data if isinstance(y, mg.Tensor) else y for y in column]) for column in columns]
    return flatten(results[0])[1](iter(stacks))


@pytest.mark.parametrize(("f", "inputs", "params"), CALLS)
def test_values(f, inputs, params):
    args, axes = mapped_inputs(inputs)
    if not floats(args):
        pytest.skip("nothing to map over")
    expected = stacked([f(*one_of(args, axes, i), **params) for i in range(N)])
    agree(mg.vmap(lambda *xs: f(*xs, **params), in_axes=tuple(axes))(*args), expected, "all mapped")
    for k, axis in enumerate(axes):  # one input for each sample, the others the same for all
        if axis == 0 and len(axes) > 1:
            alone = tuple(0 if i == k else None for i in range(len(axes)))
            fixed = [a if i == k else one_of(a, axes[i], 0) for i, a in enumerate(args)]
            expected = stacked([f(*one_of(fixed, list(alone), i), **params) for i in range(N)])
            agree(mg.vmap(lambda *xs: f(*xs, **params), in_axes=alone)(*fixed), expected, f"input {k} mapped")


@pytest.mark.parametrize(("f", "inputs", "params"), CALLS)
def test_gradients_and_second_derivatives(f, inputs, params):
    args, axes = mapped_inputs(inputs)
    arrays = floats(args)
    if not arrays:
        pytest.skip("nothing to map over")
    one = [scalar(f, one_of(args, axes, i), params) for i in range(N)]  # differ in what is no float array, only
    rows = [[x[i] for x in arrays] for i in range(N)]

    def total(arrays):
        return mg.vmap(one[0])(arrays)

    values, per_sample = mg.vmap(mg.value_and_grad(one[0]))(arrays)
    agree(values, np.array([one[0](row).item() for row in rows]), "value")
    expected = stacked([mg.grad(one[0])(row) for row in rows])
    agree(per_sample, expected, "the gradient for each sample")
    agree(mg.grad(lambda xs: total(xs).sum())(arrays), expected, "the gradient of the sum")

    def size(arrays):
        return sum((g * g).sum() for g in mg.grad(one[0])(arrays))

    second = stacked([mg.grad(size)(row) for row in rows])
    agree(mg.vmap(mg.grad(size))(arrays), second, "the second derivative for each sample", 1e-9)
    agree(mg.grad(lambda xs: mg.vmap(size)(xs).sum())(arrays), second, "the second derivative of the sum", 1e-9)

    # What is the same for all samples receives the sum.
    if len(arrays) > 1:
        shared = [x[0] for x in arrays[1:]]

        def by_shared(shared):
            return mg.vmap(lambda x: one[0]([x, *shared]))(arrays[0]).sum()

        expected = [0] * len(shared)
        for x in arrays[0]:
            g = mg.grad(lambda s, x=x: one[0]([x, *s]))(shared)
            expected = [a + b.data for a, b in zip(expected, g, strict=True)]
        agree(mg.grad(by_shared)(shared), expected, "the gradient by what is shared")

        def penalty(shared, vmap=True):
            each = lambda x, s: one[0]([x, *s])  # noqa: E731
            if vmap:
                return sum((g * g).sum() for g in mg.vmap(mg.grad(each, 1), (0, None))(arrays[0], shared))
            return sum((g * g).sum() for x in arrays[0] for g in mg.grad(each, 1)(x, shared))

        theirs = mg.grad(lambda s: penalty(s, vmap=False))(shared)
        agree(mg.grad(penalty)(shared), theirs, "the gradient of a penalty on each sample's gradient", 1e-9)
