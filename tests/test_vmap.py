"""mg.vmap: the same as one call for each sample, stacked: for every card, every composite, layers, and all transforms.

The oracle is the library itself without vmap, sample by sample; where torch.func has the same, torch.
"""

import sys

import numpy as np
import pytest
from catalogue import close, sample, spaced, torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view as windows

import minigrad as mg
from minigrad import nn
from minigrad.batching import BatchedArray, Level, each_sample
from minigrad.nests import flatten, map_nest
from minigrad.nn import functional as F
from minigrad.ops.card import CARDS, COMPOSITES, Op, together

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
        ys = flatten(f(*put(args, arrays), **params))[0]
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


# ---- arrays: every function in the tables, and indexing, beside a loop ----------------------------------------------

LEVEL = Level(N)


def each(f, *args):
    """f of each sample, stacked; arguments marked as batched have the samples in front."""
    return np.stack([f(*[x.array[i] if isinstance(x, BatchedArray) else x for x in args]) for i in range(N)])


def batched(*shape):
    return BatchedArray(rng.normal(size=(N, *shape)), LEVEL)


def same(f, *args):
    ours = f(*args)
    assert type(ours) is BatchedArray
    expected = each(f, *args)
    assert ours.shape == expected.shape[1:]
    assert ours.dtype == expected.dtype
    np.testing.assert_allclose(ours.array, expected, rtol=1e-12, atol=1e-14)


X1, X2, X3, SQUARE, ROW = batched(4), batched(2, 3), batched(2, 3, 4), batched(3, 3), rng.normal(size=3)
INTEGERS = BatchedArray(rng.integers(0, 2, (N, 2, 1)), LEVEL)
POSITIVE = BatchedArray(np.stack([np.eye(3) * (2 + i) + 0.1 for i in range(N)]), LEVEL)
STACKS = BatchedArray(POSITIVE.array[:, None, :2, :2] + np.arange(5.0).reshape(5, 1, 1), LEVEL)
FUNCTIONS = {
    "where": lambda: same(lambda x: np.where(x > 0, x, -1), X2),
    "where, mixed": lambda: same(lambda x, r: np.where(r > 0, x[0], r), X2, ROW),
    "clip": lambda: same(lambda x: np.clip(x, -0.5, 0.5), X2),
    "clip by arrays": lambda: same(lambda x, r: x.clip(-r * r, None), X2, ROW),
    "reshape": lambda: same(lambda x: x.reshape(3, -1), X2),
    "reshape by a tuple": lambda: same(lambda x: np.reshape(x, (6,)), X2),
    "ravel": lambda: same(np.ravel, X3),
    "flatten": lambda: same(lambda x: x.flatten(), X3),
    "transpose": lambda: same(lambda x: x.transpose(1, -1, 0), X3),
    "T": lambda: same(lambda x: x.T, X3),
    "matrix_transpose": lambda: same(np.matrix_transpose, X3),
    "moveaxis": lambda: same(lambda x: np.moveaxis(x, (0, 1), (-1, 0)), X3),
    "swapaxes": lambda: same(lambda x: x.swapaxes(0, -1), X3),
    "expand_dims": lambda: same(lambda x: np.expand_dims(x, (0, -1)), X2),
    "squeeze": lambda: same(np.squeeze, batched(1, 2, 1)),
    "squeeze axis": lambda: same(lambda x: np.squeeze(x, -1), batched(1, 2, 1)),
    "broadcast_to": lambda: same(lambda x: np.broadcast_to(x, (2, 2, 3)), X2),
    "concatenate": lambda: same(lambda x, r: np.concatenate([x, r[None], x]), X2, ROW),
    "concatenate flat": lambda: same(lambda x, y: np.concatenate([x, y], axis=None), X2, X1),
    "stack": lambda: same(lambda x, y: np.stack([x, y, x], -1), X2, X2),
    "vstack, one by one": lambda: same(lambda x: np.vstack([x, x]), X2),
    "repeat": lambda: same(lambda x: np.repeat(x, [1, 0, 2], axis=-1), X2),
    "repeat flat": lambda: same(lambda x: x.repeat(2), X2),
    "pad": lambda: same(lambda x: np.pad(x, ((0, 1), (2, 0))), X2),
    "pad, reflected": lambda: same(lambda x: np.pad(x, 1, mode="reflect"), X2),
    "take_along_axis": lambda: same(lambda x, i: np.take_along_axis(x, i, 1), X2, INTEGERS),
    "take_along_axis, the same places": lambda: same(lambda x: np.take_along_axis(x, np.array([[2], [0]]), 1), X2),
    "take": lambda: same(lambda x: np.take(x, [[0, 2]], axis=1), X2),
    "take by sample": lambda: same(lambda x, i: np.take(x, i), X2, INTEGERS),
    "roll": lambda: same(lambda x: np.roll(x, 1), X2),
    "roll axis": lambda: same(lambda x: np.roll(x, 1, -1), X2),
    "flip": lambda: same(np.flip, X3),
    "flip axis": lambda: same(lambda x: np.flip(x, 1), X3),
    "diff": lambda: same(lambda x: np.diff(x, axis=0), X3),
    "tile, one by one": lambda: same(lambda x: np.tile(x, 2), X2),
    "copy": lambda: same(np.copy, X2),
    "round": lambda: same(lambda x: np.round(x, 1), X2),
    "sinc": lambda: same(np.sinc, X2),
    "nan_to_num": lambda: same(np.nan_to_num, X2),
    "astype": lambda: same(lambda x: x.astype(np.float32), X2),
    "tril": lambda: same(np.tril, SQUARE),
    "trace": lambda: same(np.trace, X3),
    "diagonal": lambda: same(lambda x: x.diagonal(1, 1, 2), X3),
    "median": lambda: same(lambda x: np.median(x, axis=-1), X2),
    "partition": lambda: same(lambda x: np.partition(x, 1), X2),
    "argpartition, flat": lambda: same(lambda x: np.argpartition(x, (0, 3), axis=None)[[0, 3]], X2),
    "vecdot": lambda: same(np.vecdot, X2, ROW),
    "vecdot by sample": lambda: same(np.vecdot, X1, X3),
    "windows": lambda: same(lambda x: windows(x, (2, 3), (2, 0)), batched(3, 2, 4)),
    "windows of all axes": lambda: same(lambda x: windows(x, (1, 2)), X2),
    "dots for no axis": lambda: same(lambda x: x[:, [0, 2], ..., [1, 1]], X3),
    "dots for no axis, by sample": lambda: same(lambda x, i: x[:, i[:, 0], ..., [1, 1]], X3, INTEGERS),
    "isneginf": lambda: same(lambda x: np.isneginf(np.where(x > 0, x, -np.inf)), X2),
    "sum of another dtype": lambda: same(lambda x: np.add.reduce(x, 1, dtype=np.float32), X2),
    "sort": lambda: same(np.sort, X2),
    "argsort": lambda: same(lambda x: x.argsort(0), X2),
    "argmax": lambda: same(np.argmax, X2),
    "argmin axis": lambda: same(lambda x: x.argmin(1), X2),
    "argmax keepdims": lambda: same(lambda x: np.argmax(x, keepdims=True), X2),
    "cumsum": lambda: same(np.cumsum, X2),
    "cumprod axis": lambda: same(lambda x: x.cumprod(1), X2),
    "accumulate": lambda: same(lambda x: np.maximum.accumulate(x, axis=1), X2),
    "reduce of a number": lambda: same(lambda x: np.add.reduce(x, axis=-1, keepdims=True), batched()),
    "reduceat, one by one": lambda: same(lambda x: np.add.reduceat(x, [0, 2]), X1),
    "ufunc.outer": lambda: same(lambda x, r: np.subtract.outer(x, r), X2, ROW),
    "modf": lambda: same(lambda x: np.modf(x)[1], X2),
    "a ufunc with where": lambda: same(lambda x: np.sqrt(x, where=x > 0, out=np.zeros_like(x)), X2),
    "count_nonzero": lambda: same(lambda x: np.count_nonzero(x > 0, axis=1), X2),
    "inv": lambda: same(np.linalg.inv, POSITIVE),
    "det": lambda: same(np.linalg.det, POSITIVE),
    "cholesky": lambda: same(np.linalg.cholesky, POSITIVE),
    "eigh": lambda: same(lambda x: np.linalg.eigh(x)[0], POSITIVE),
    "solve for a vector": lambda: same(lambda a, b: np.linalg.solve(a, b[0]), POSITIVE, X2),
    "solve for a matrix": lambda: same(lambda a, b: np.linalg.solve(a, b.T), POSITIVE, X2),
    "solve of stacks": lambda: same(np.linalg.solve, STACKS, X2),
    "solve of stacks, a vector": lambda: same(lambda a, b: np.linalg.solve(a, b[:, 0]), STACKS, X2),
    "solve, one matrix": lambda: same(lambda a, b: np.linalg.solve(a, b[0]), POSITIVE.array[0], X2),
    "norm": lambda: same(np.linalg.norm, X3),
    "norm of rows": lambda: same(lambda x: np.linalg.norm(x, 1, axis=1), X2),
    "norm of a matrix": lambda: same(lambda x: np.linalg.norm(x, 2), X2),
    "cross, one by one": lambda: same(lambda x, r: np.cross(x, r), X2, ROW),
    "interp, one by one": lambda: same(lambda x: np.interp(x, [-1, 1], [0, 1]), X2),
    "dot": lambda: same(np.dot, X2, SQUARE),
    "dot of more axes": lambda: same(lambda x, y: np.dot(x, y), X2, batched(2, 3, 2)),
    "inner, one by one": lambda: same(np.inner, X2, X2),
    "outer": lambda: same(np.outer, X1, X2),
    "vdot": lambda: same(np.vdot, X2, X2),
    "vdot, mixed": lambda: same(np.vdot, ROW, batched(3)),
    "einsum": lambda: same(lambda x, y: np.einsum("ij,jk->ik", x, y), X2, SQUARE),
    "einsum, implicit": lambda: same(lambda x, y: np.einsum("ij,j", x, y), X2, ROW),
    "einsum, dots": lambda: same(lambda x, y: np.einsum("...j,j->...", x, y), X3, X1),
    "tensordot, one by one": lambda: same(lambda x, y: np.tensordot(x, y, 1), X2, SQUARE),
    "zeros_like": lambda: same(lambda x: np.zeros_like(x, shape=(2, 2)), X2),
    "full_like": lambda: same(lambda x: np.full_like(x, 3.0), X2),
    "full_like by sample": lambda: same(lambda x, y: np.full_like(x, y[0]), X2, X1),
    "view": lambda: same(lambda i: i.view("u8"), INTEGERS),
    "indices apart": lambda: same(lambda x: x[[0, 1], :, [3, 0]], X3),
    'indices apart by "..." for no axes': lambda: same(lambda x: x[:, [0, 0], ..., [2, -3]], X3),
    "any, all": lambda: same(lambda x: np.any(x > 1, axis=0) | np.all(x > -1), X2),
    "isclose, one by one": lambda: same(lambda x, r: np.isclose(x, r), X2, ROW),
    "var": lambda: same(lambda x: x.var(axis=(0, -1), ddof=1), X3),
    "mean keepdims": lambda: same(lambda x: x.mean(keepdims=True), X3),
    "iteration": lambda: same(lambda x: sum(row * row for row in x), X2),
    "len": lambda: same(lambda x: x * len(x), X2),
    "power of a number": lambda: same(lambda x: 2.0**x + x**2 - x // 2, X2),
    "floats on the left": lambda: same(lambda x: np.float64(2) * x - np.float32(1) / x, X2),
    "accumulate dtype": lambda: same(lambda x: np.add.accumulate(x, 1, np.float32), X2),
    "reduce from a start": lambda: same(lambda x, s: np.add.reduce(x, initial=s), X2, batched()),
    "take mode": lambda: same(lambda x: np.take(x, [4, -5], 0, mode="clip"), X2),
    "roll, each its own way": lambda: same(lambda x, i: np.roll(x, i[0, 0], 1), X2, INTEGERS),
    "clip casting": lambda: same(lambda x: np.clip(x, min=0, dtype="f4", casting="same_kind"), X2),
    "clip one side": lambda: same(lambda x: np.clip(x, max=0), X2),
    "trace dtype": lambda: same(lambda x: np.trace(x, dtype=np.float32), SQUARE),
    "copy order": lambda: same(lambda x: np.copy(x, order="C"), X2),
    "comparisons": lambda: same(lambda x, r: (x < r) ^ (r >= x) | (x == x) & ~(x != r), X2, ROW),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_batched_arrays(name):
    FUNCTIONS[name]()


shapes_of_factors = st.sampled_from(
    [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((4, 3), (3, 2)), ((5, 2, 3), (3, 2)), ((5, 2, 3), (3,)),
     ((2, 3), (5, 3, 2)), ((3,), (5, 3, 2)), ((5, 2, 3), (5, 3, 2)), ((4, 1, 2, 3), (5, 3, 2)), ((2, 1), (1, 3))]
)  # fmt: skip


@settings(max_examples=40)
@given(shapes=shapes_of_factors, which=st.sampled_from(["both", "first", "second"]))
def test_products(shapes, which):
    pairs = zip(shapes, ("first", "second"), strict=True)
    same(np.matmul, *[batched(*shape) if which in (w, "both") else rng.normal(size=shape) for shape, w in pairs])


@st.composite
def keys(draw, shape):
    """A key for an array of this shape: slices, integers, None, "...", masks, and index arrays, some batched."""
    parts, axis = [], 0
    several = draw(st.sampled_from([(), (2,), (2, 1)]))
    while axis < len(shape) and (not parts or draw(st.integers(0, 5))):
        n = shape[axis]
        kind = draw(st.sampled_from(["slice", "integer", "none", "array", "batched", "mask", "dots"]))
        if kind == "dots" and any(p is ... for p in parts):
            kind = "slice"
        if kind == "none":
            parts.append(None)
            continue
        if kind == "dots":
            parts.append(...)
            axis += draw(st.integers(0, len(shape) - axis))
            continue
        if kind == "slice":
            parts.append(slice(draw(st.integers(0, n - 1)), None, draw(st.sampled_from([1, 2, -1]))))
        elif kind == "integer":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "array":
            parts.append(np.array(rng.integers(-n, n, several)))
        elif kind == "batched":
            parts.append(BatchedArray(rng.integers(-n, n, (N, *several)), LEVEL))
        else:
            parts.append(np.arange(n) % 2 == 0 if n == 4 and several == (2,) else slice(None))
        axis += 1
    return tuple(parts) if len(parts) != 1 else parts[0]


def taken(key, i):
    if type(key) is tuple:
        return tuple(taken(k, i) for k in key)
    return key.array[i] if isinstance(key, BatchedArray) else key


@settings(max_examples=40)
@given(data=st.data())
def test_indexing(data):
    """Reading, writing, and adding at places, beside the same on each sample."""
    shape = data.draw(st.sampled_from([(3,), (4, 3), (2, 4, 3)]))
    key = data.draw(keys(shape))
    x = batched(*shape)
    try:
        expected = [x.array[i][taken(key, i)] for i in range(N)]
    except IndexError:
        return  # NumPy refuses this combination
    ours = x[key]
    assert ours.shape == np.shape(expected[0])
    np.testing.assert_array_equal(ours.array, np.stack(expected))
    values = BatchedArray(rng.normal(size=(N, *ours.shape)), LEVEL)
    for write in (lambda a, k, v: a.__setitem__(k, v), np.add.at, lambda a, k, v: np.add.at(a, k, 2.0)):
        changed, rows = x.copy(), x.array.copy()
        write(changed, key, values)
        for i in range(N):
            write(rows[i], taken(key, i), values.array[i])
        np.testing.assert_allclose(changed.array, rows, rtol=1e-13)


def test_masks():
    x = BatchedArray(np.array([[1.0, -2, 3], [-1, 2, 3], [1, 2, -3]]), LEVEL)
    np.testing.assert_array_equal(x[x > 0].array, [[1, 3], [2, 3], [1, 2]])
    same(lambda x: x[np.array([True, False, True])], x)
    with pytest.raises(TypeError, match=r"x\[mask\] picks 1 elements of one sample and 2 of another.*mg\.where"):
        x[x > 1]
    with pytest.raises(TypeError, match="truth value"):
        x[True]


def test_arrays_are_written_in_place():
    x = batched(2, 3)
    y, before = x, x.array
    y += 1.0
    y *= x
    y -= ROW
    y /= 2
    assert y is x
    assert y.array is before
    with pytest.raises(TypeError, match="written into an array that all samples share.*np.zeros_like"):
        np.add(x, 1.0, out=np.zeros((2, 3)))
    with pytest.raises(TypeError, match="one for each sample"):
        np.zeros((2, 3))[...] = x
    with pytest.raises(TypeError, match="all samples share"):
        np.add.at(np.zeros(3), 0, x[0, 0])
    total = np.zeros(3)
    with pytest.raises(TypeError, match="all samples share"):
        total += x


def test_levels_inside_each_other():
    """An array of an outer level meets one of an inner level, in either order of making."""
    outer, inner = Level(3), Level(2)
    a, b = rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
    x, y = BatchedArray(a, outer), BatchedArray(b, inner)
    for z in (x * y, y * x):
        assert z.level is inner
        assert z.array.level is outer
        np.testing.assert_array_equal(z.array.array, a[:, None] * b)
    np.testing.assert_allclose((x @ y).array.array, a @ b.T)
    np.testing.assert_allclose(np.concatenate([x, y]).array.array[2, 1], [*a[2], *b[1]])
    np.testing.assert_allclose(np.where(y > 0, x, y).array.array, np.where(b > 0, a[:, None], b))
    i = BatchedArray(np.array([0, 3]), inner)
    np.testing.assert_array_equal(x[i].array.array, a[:, [0, 3]])
    np.testing.assert_array_equal(np.add.reduce(each_sample(np.sort, (x * y,), {}).array.array, -1).shape, (3, 2))


# ---- vmap itself ---------------------------------------------------------------------------------------------------

A, B, V = rng.normal(size=(N, 4)), rng.normal(size=(5, 4)), rng.normal(size=4)
T4 = torch.from_numpy(A)


def test_axes():
    f = lambda x, y: mg.outer(x, y)[:2]  # noqa: E731
    expected = np.stack([np.outer(a, V)[:2] for a in A])
    assert mg.vmap(f, in_axes=(0, None))(A, V).tolist() == expected.tolist()
    for in_axes in ((1, None), (-1, None), [1, None]):
        assert mg.vmap(f, in_axes=in_axes)(A.T, V).tolist() == expected.tolist()
    for out in (1, 2, -1, -2):
        ours = mg.vmap(f, in_axes=(0, None), out_axes=out)(A, V)
        np.testing.assert_array_equal(ours.data, np.moveaxis(expected, 0, out))
    theirs = torch.func.vmap(lambda x, y: torch.outer(x, y)[:2], in_dims=(1, None), out_dims=2)
    close(mg.vmap(f, in_axes=(1, None), out_axes=2)(A.T, V), theirs(T4.T, torch.from_numpy(V)), "torch")


def test_nests_of_axes():
    def f(p, x, scale=1.0):
        return {"y": p["a"] @ x * scale, "z": (p["b"][0], p["b"][1] + x.sum())}

    p = {"a": B[:3].T, "b": (V, A)}
    ours = mg.vmap(f, in_axes=({"a": 1, "b": (None, 0)}, None), out_axes={"y": 0, "z": (1, 0)})(p, V)
    np.testing.assert_allclose(ours["y"].data, B[:3] @ V)
    np.testing.assert_array_equal(ours["z"][0].data, np.stack([V] * N, 1))
    np.testing.assert_allclose(ours["z"][1].data, A + V.sum())
    ours = mg.vmap(f, in_axes=(None, 0))({"a": V, "b": (V, V)}, A, scale=np.arange(3.0))
    np.testing.assert_allclose(ours["y"].data, A @ V * np.arange(3))
    assert mg.vmap(lambda x, how=None: mg.sum(x) if how == "sum" else x)(A, how="sum").shape == (N,)
    assert mg.vmap(lambda x: (x, None, 1.5))(A)[1] is None
    assert mg.vmap(lambda x: (x, None, 1.5))(A)[2].tolist() == [1.5] * N


def test_within_itself():
    ours = mg.vmap(mg.vmap(lambda a, b: mg.tanh(a) @ b, (None, 0)), (0, None))(A, B)
    np.testing.assert_allclose(ours.data, np.tanh(A) @ B.T)
    one = mg.vmap(lambda a, b, c: (a * b * c).sum(), (0, None, None))
    three = mg.vmap(mg.vmap(one, (None, 0, None)), (None, None, 0))
    np.testing.assert_allclose(three(A, B, A).data, np.einsum("ai,bi,ci->cba", A, B, A))
    # one by one, inside and outside
    slow = mg.vmap(mg.vmap(lambda a, b: mg.tensor(np.sort((a * b).detach())), (None, 0)), (0, None))(A, B)
    np.testing.assert_array_equal(slow.data, np.sort(A[:, None] * B))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_closure_over_the_outer_call():
    ours = mg.vmap(lambda a: mg.vmap(lambda b: a @ b - a.sum())(B))(A)
    np.testing.assert_allclose(ours.data, A @ B.T - A.sum(1, keepdims=True))
    penalty = lambda w: (mg.vmap(lambda a: mg.vmap(lambda b: mg.sin(a * w) @ b)(B))(A) ** 2).sum()  # noqa: E731
    theirs = lambda w: ((torch.sin(T4 * w) @ torch.from_numpy(B).T) ** 2).sum()  # noqa: E731
    close(mg.grad(penalty)(V), torch.func.grad(theirs)(torch.from_numpy(V)), "gradient")
    close(mg.hessian(penalty)(V), torch.func.hessian(theirs)(torch.from_numpy(V)), "hessian", 1e-9)
    per = mg.vmap(lambda a: mg.grad(lambda v: mg.vmap(lambda b: mg.sin(a * v) @ b)(B).sum())(a))(A)
    np.testing.assert_allclose(per.data, np.cos(A * A) * A * B.sum(0))


def f_of(lib):
    return lambda x: lib.tanh(x * x[0]).sum() * lib.exp(x[1] * 0.3) + (x**3).prod()


def g_of(lib):
    return lambda x: lib.sin(x * x[1]) + x.sum()


FUNC = torch.func
TRANSFORMS = {
    "grad": (lambda v: mg.vmap(mg.grad(f_of(mg)))(v), lambda v: FUNC.vmap(FUNC.grad(f_of(torch)))(v)),
    "value_and_grad": (
        lambda v: mg.vmap(mg.value_and_grad(f_of(mg)))(v)[0], lambda v: FUNC.vmap(f_of(torch))(v)),
    "hessian": (lambda v: mg.vmap(mg.hessian(f_of(mg)))(v), lambda v: FUNC.vmap(FUNC.hessian(f_of(torch)))(v)),
    "jacobian": (lambda v: mg.vmap(mg.jacobian(g_of(mg)))(v), lambda v: FUNC.vmap(FUNC.jacrev(g_of(torch)))(v)),
    "jacobian, forward": (
        lambda v: mg.vmap(mg.jacobian(g_of(mg), mode="forward"))(v), lambda v: FUNC.vmap(FUNC.jacrev(g_of(torch)))(v)),
    "jacobian of vmap": (
        lambda v: mg.jacobian(mg.vmap(g_of(mg)))(v), lambda v: FUNC.jacrev(FUNC.vmap(g_of(torch)))(v)),
    "hessian of vmap": (
        lambda v: mg.hessian(lambda v: mg.vmap(f_of(mg))(v).sum())(v),
        lambda v: FUNC.hessian(lambda v: FUNC.vmap(f_of(torch))(v).sum())(v)),
    "vjp in vmap": (
        lambda v: mg.vmap(lambda x: mg.vjp(g_of(mg), x)[1](x * 2)[0])(v),
        lambda v: FUNC.vmap(lambda x: FUNC.vjp(g_of(torch), x)[1](x * 2)[0])(v)),
    "pullback of vmap": (
        lambda v: mg.vjp(mg.vmap(g_of(mg)), v)[1](v * 2)[0],
        lambda v: FUNC.vjp(FUNC.vmap(g_of(torch)), v)[1](v * 2)[0]),
    "pullback of vmap in vmap": (  # where the inner level is older than the outer one
        lambda v: mg.vmap(mg.vjp(mg.vmap(g_of(mg)), v)[1])(np.stack([v, 2 * v]))[0],
        lambda v: FUNC.vmap(FUNC.vjp(FUNC.vmap(g_of(torch)), v)[1])(torch.stack([v, 2 * v]))[0]),
    "jvp in vmap": (
        lambda v: mg.vmap(lambda x: mg.jvp(g_of(mg), (x,), (x * 2,))[1])(v),
        lambda v: FUNC.vmap(lambda x: FUNC.jvp(g_of(torch), (x,), (x * 2,))[1])(v)),
    "jvp of vmap": (
        lambda v: mg.jvp(mg.vmap(g_of(mg)), (v,), (v * 2,))[1],
        lambda v: FUNC.jvp(FUNC.vmap(g_of(torch)), (v,), (v * 2,))[1]),
    "hvp in vmap": (
        lambda v: mg.vmap(lambda x: mg.hvp(f_of(mg), x, x))(v),
        lambda v: FUNC.vmap(lambda x: FUNC.hessian(f_of(torch))(x) @ x)(v)),
    "grad of grad in vmap": (
        lambda v: mg.grad(lambda v: (mg.vmap(mg.grad(f_of(mg)))(v) ** 2).sum())(v),
        lambda v: FUNC.grad(lambda v: (FUNC.vmap(FUNC.grad(f_of(torch)))(v) ** 2).sum())(v)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("recording", [True, False])
def test_with_the_other_transforms(name, recording):
    ours, theirs = TRANSFORMS[name]
    expected = theirs(T4)
    if recording:
        close(ours(A), expected, name)
    else:
        with mg.no_grad():
            y = ours(A)
        assert not y.requires_grad
        close(y, expected, name)


def test_backward_through_it():
    """By leaves: one that is mapped, one that is not, and one in the closure, used before vmap and inside."""
    x, w, c = (mg.tensor(v, requires_grad=True) for v in (A, V, V * 2))
    before = mg.exp(c * 0.1)
    (mg.vmap(lambda x, w: (x * w * before + mg.sin(c * 2)).sum() * x[0], (0, None))(x, w) ** 2).sum().backward()
    tx, tw, tc = (torch.tensor(v, requires_grad=True) for v in (A, V, V * 2))
    (((tx * tw * torch.exp(tc * 0.1) + torch.sin(tc * 2)).sum(1) * tx[:, 0]) ** 2).sum().backward()
    for ours, theirs in ((x, tx), (w, tw), (c, tc)):
        close(ours.grad, theirs.grad, "gradient")
    w.data -= 1.0  # after the graph has used it
    y = mg.vmap(lambda x: x @ w)(A).sum()
    w.data -= 1.0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_float32_stays():
    x = A.astype(np.float32)
    assert mg.vmap(mg.grad(f_of(mg)))(x).dtype == np.float32
    assert mg.vmap(mg.hessian(f_of(mg)))(x).dtype == np.float32


@pytest.mark.parametrize("n", [2, 0.5, np.float64(2), np.float64(0.5)])
def test_powers_are_those_of_arrays(n):
    """They depend on NumPy's version: in their dtype, and for the root of -inf."""
    x = np.array([[-np.inf, 4.0], [-0.0, 2.0]], np.float32)
    with np.errstate(invalid="ignore"):
        y, expected = mg.vmap(lambda x: x**n)(x).data, x**n
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)


def test_no_samples():
    x = np.zeros((0, 4))
    assert mg.vmap(mg.grad(f_of(mg)))(x).shape == (0, 4)
    assert mg.vmap(lambda x: x.reshape(2, -1).T @ x[:2])(x).shape == (0, 2)
    assert mg.vmap(lambda x: mg.tensor(np.cross(x.detach()[:3], x[1:])))(x).shape == (0, 3)
    g = mg.grad(lambda w: mg.vmap(lambda x: x @ w)(x).sum())(V)
    np.testing.assert_array_equal(g.data, np.zeros(4))


def test_numbers_of_a_generator_are_others_for_each_sample():
    mg.random.seed(0)
    ours = mg.vmap(lambda x: x * mg.random.uniform(size=4) + mg.random.normal())(A)
    mg.random.seed(0)
    uniform = np.stack([mg.random.uniform(size=4).data for _ in range(N)])
    normal = np.stack([mg.random.normal().data for _ in range(N)])
    np.testing.assert_array_equal(ours.data, A * uniform + normal[:, None])
    mg.random.seed(0)
    inside = mg.vmap(lambda x: mg.vmap(lambda x: mg.random.generator().random() + 0 * x)(x))(A)
    assert len(set(np.ravel(inside.data).tolist())) == inside.size
    places = mg.vmap(lambda x: x[mg.random.permutation(4)] + 0 * mg.random.integers(5))(A)
    np.testing.assert_array_equal(np.sort(places.data), np.sort(A))
    once = np.random.default_rng(0)
    assert np.ptp(mg.vmap(lambda x: once.random() + 0 * x[0])(A).data) == 0


def test_symbols():
    x, w = mg.symbols("x", (2, 3)), mg.symbols("w", (3,))
    f = lambda w, x: mg.sigmoid(w @ x) + mg.softmax(x).max()  # noqa: E731
    ours = mg.vmap(mg.grad(f), (None, 0))(w, x)
    assert ours.tolist() == [mg.grad(f)(w, row).tolist() for row in x]
    y = mg.vmap(f, (None, 0))(w, x).sum()
    y.backward()
    expected = sum(mg.grad(f)(w, row) for row in x)
    at = {s: 0.1 * i for i, s in enumerate([*np.ravel(x.data).tolist(), *w.data.tolist()])}
    for a, b in zip(w.grad.tolist(), expected.tolist(), strict=True):
        assert abs((a - b).subs(at)) < 1e-14


# ---- what is not NumPy's ---------------------------------------------------------------------------------------------


@mg.primitive
def native(x, w):
    """A function that wants memory, and decides by values: only arrays will do."""
    assert x.ctypes.data
    return x * 2 * w if float(x.sum()) > 0 else -x * w


@native.vjp
def _(g, y, x, w):
    if isinstance(g, mg.Tensor):
        up = np.where(x.sum() > 0, 2.0, -1.0)
    else:
        assert g.ctypes.data
        up = 2.0 if x.sum() > 0 else -1.0
    return g * up * w, (g * up * x)


@mg.primitive
def choosy(x, w):
    return x * x * w if float(x.sum()) > 0 else -x * w


@choosy.vjp
def _(g, y, x, w):
    """A rule that decides by values, on tensors too: it is run for each sample, at every order."""
    values = x.detach() if isinstance(x, mg.Tensor) else x
    return (g * 2 * x * w, g * x * x) if float(values.sum()) > 0 else (-g * w, -g * x)


@mg.primitive(elementwise=True)
def swish(x, beta=1.0):
    return x / (1 + np.exp(-beta * x))


@swish.vjp
def _(g, y, x, beta):
    s = mg.sigmoid(beta * x)
    return g * (s + beta * y * (1 - s))


USERS = [lambda x: native(x, V), lambda x: native(V, x), lambda x: choosy(x, V), lambda x: choosy(V, x),
         lambda x: choosy(x, x), lambda x: swish(x, beta=2.0)]  # fmt: skip


@pytest.mark.parametrize("op", USERS)
def test_a_users_own_op(op):
    f = lambda x: mg.sin(op(x)).sum()  # noqa: E731
    for transform in (lambda f: f, mg.grad, mg.hessian):
        rows = np.stack([transform(f)(a).data for a in A])
        np.testing.assert_allclose(mg.vmap(transform(f))(A).data, rows, rtol=1e-12)
    of_sum = mg.grad(lambda x: mg.vmap(f)(x).sum())(A)
    np.testing.assert_allclose(of_sum.data, np.stack([mg.grad(f)(a).data for a in A]))
    size = lambda x: (mg.grad(f)(x) ** 2).sum()  # noqa: E731
    second = mg.grad(lambda x: mg.vmap(size)(x).sum())(A)
    np.testing.assert_allclose(second.data, np.stack([mg.grad(size)(a).data for a in A]), rtol=1e-12)
    nested = mg.vmap(mg.vmap(mg.grad(f)))(np.stack([A, -A]))
    np.testing.assert_allclose(nested.data[1], [mg.grad(f)(a).data for a in -A])


def test_rules_that_compute_all_gradients_at_once_do_so_for_each_sample():
    """Where such a rule is run for one sample after the other, its results are those of this sample."""

    def one(x):
        return np.array(x)  # which batched arrays refuse

    rules = together(lambda g, y, a, b: (g * one(b), g * one(a)))
    product = Op("product", lambda a, b: one(a) * one(b), rules, arity=2)
    by_a, by_b = mg.vmap(mg.grad(lambda a, b: product(a, b).sum(), argnums=(0, 1)))(A, -A)
    np.testing.assert_array_equal(by_a.data, -A)
    np.testing.assert_array_equal(by_b.data, A)


WITH_NAN = np.array([[1.0, 5, 2, 4], [np.nan, 3, 1, 2], [np.nan, 0, np.nan, 7]])
MASKS = np.array([[[1, 0, 1], [1, 1, 0]], [[1, 0, 0], [0, 0, 1]], [[1, 1, 1], [1, 1, 1]]], bool)
PLACES = np.array([[2, 0, 0], [1, 1, 1], [0, 2, -1]])
CUBE = rng.normal(size=(N, 3, 4))
BY_VALUES = {
    "median": (mg.median, WITH_NAN),
    "nanmedian": (mg.nanmedian, WITH_NAN),
    "nanquantile": (lambda x: mg.nanquantile(x, [0.2, 0.9]), WITH_NAN),
    "sort": (mg.sort, A),
    "partition": (lambda x: mg.partition(x, 2)[2], A),
    "take": (lambda x, i: mg.take(x, i, axis=0), CUBE, PLACES),
    "take, wrapped": (lambda x, i: mg.take(x, i * 5, axis=1, mode="wrap"), CUBE, PLACES),
    "take one": (lambda x, i: mg.take(x, i[0]), CUBE, PLACES),
    "select": (lambda x: mg.select([x < -0.5, x < 0.5], [-x, x * x], 1.0), A),
    "choose": (lambda x, i: mg.choose(abs(i), [x[:3], x[1:] * 2, x[:1]]), A, PLACES),
    "index_add": (lambda x, i: mg.index_add(x, 0, i, x[::-1] * 2), CUBE, PLACES),
    "put_along_axis": (lambda x, i: mg.put_along_axis(x, i[:, None] * 0 + i[:1], x[:, :1] * 3, 1), CUBE, PLACES),
    "embedding": (lambda x, i: F.embedding(abs(i), x), CUBE, PLACES),
    "embedding, padded": (lambda x, i: F.embedding(abs(i), x, padding_idx=0), CUBE, PLACES),
    "nll_loss": (lambda x, i: F.nll_loss(mg.log_softmax(x), i + 1), CUBE, PLACES),
    "attention": (lambda x, m: F.scaled_dot_product_attention(x[:2], x, x, m), CUBE, MASKS),
}


@pytest.mark.parametrize("name", BY_VALUES)
def test_what_is_picked_differs_for_each_sample(name):
    """For all at once: a fall back to one sample after the other would warn. Gradients, too; places may be shared."""
    f, x, *others = BY_VALUES[name]
    total = lambda x, *others: mg.sin(f(x, *others)).sum()  # noqa: E731
    for transform, g in ((lambda g: g, f), (mg.grad, total)):
        rows = [transform(g)(*row).data for row in zip(x, *others, strict=True)]
        np.testing.assert_allclose(mg.vmap(transform(g))(x, *others).data, np.stack(rows), rtol=1e-12)
    of_sum = mg.grad(lambda x: mg.vmap(total)(x, *others).sum())(x)
    np.testing.assert_allclose(of_sum.data, np.stack(rows), rtol=1e-12)
    if others:
        axes = (None, *[0] * len(others))
        rows = [f(x[0], *row).data for row in zip(*others, strict=True)]
        np.testing.assert_allclose(mg.vmap(f, axes)(x[0], *others).data, np.stack(rows), rtol=1e-12)
        shared = mg.grad(lambda s: mg.vmap(total, axes)(s, *others).sum())(x[0])
        rows = [mg.grad(total)(x[0], *row).data for row in zip(*others, strict=True)]
        np.testing.assert_allclose(shared.data, np.sum(rows, 0), rtol=1e-12)


def test_a_users_op_may_not_write_into_samples():
    @mg.primitive
    def writes(x):
        x += 1
        return x

    with pytest.raises(TypeError, match="copy it first"):
        mg.vmap(writes)(A)


def test_code_that_needs_one_array_is_run_for_each_sample(monkeypatch):
    """A function of the library, not of the user, which asks for values: everything is right, and a warning says so."""
    monkeypatch.setattr(sys.modules["minigrad.tensor"], "_warned", set())
    source = "import numpy as np\ndef values(x): return np.asarray(x.detach()).tolist()"
    space = {}
    exec(compile(source, sys.modules["minigrad.ops"].__file__, "exec"), space)
    with pytest.warns(mg.MinigradWarning, match="run for one sample after the other"):
        y = mg.vmap(lambda x, s: (x * space["values"](x)).sum() * s, (0, None), out_axes=-1)(A, 2.0)
    np.testing.assert_allclose(y.data, 2 * (A * A).sum(1))


def test_debug_names_the_sample():
    x = np.ones((N, 2))
    x[2, 1] = 0
    with mg.debug():
        mg.vmap(lambda x: mg.log(x + 1).sum())(x)
        with pytest.raises(FloatingPointError, match=r"log: the value at \(2, 1\) is -inf, from the input 0.0"):
            mg.vmap(lambda x: mg.log(x).sum())(x)


# ---- gradients for each sample of networks ---------------------------------------------------------------------------


def mlp():
    mg.random.seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6, bias=False), nn.ReLU(), nn.Linear(6, 3))


@pytest.mark.parametrize("loss", ["cross_entropy", "cross_entropy of probabilities", "mse_loss", "huber_loss"])
def test_gradients_of_a_network_for_each_sample(loss):
    model, x = mlp(), rng.normal(size=(8, 4))
    t = rng.integers(0, 3, 8) if loss == "cross_entropy" else mg.softmax(rng.normal(size=(8, 3))).data
    function = getattr(F, loss.split()[0])

    def objective(p, x, t):
        return function(nn.functional_call(model, p, x), t)

    parameters = dict(model.named_parameters())
    ours = mg.vmap(mg.grad(objective), in_axes=(None, 0, 0))(parameters, x, t)
    rows = stacked([mg.grad(objective)(parameters, a, b) for a, b in zip(x, t, strict=True)])
    twin = torch.nn.Sequential(
        torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 6, bias=False), torch.nn.ReLU(),
        torch.nn.Linear(6, 3),
    ).double()  # fmt: skip
    twin.load_state_dict({path: torch.from_numpy(v) for path, v in model.state_dict().items()})
    of_torch = getattr(torch.nn.functional, loss.split()[0])

    def theirs(p, x, t):
        return of_torch(torch.func.functional_call(twin, p, x), t)

    expected = torch.func.vmap(torch.func.grad(theirs), (None, 0, 0))(
        {path: p.detach() for path, p in twin.named_parameters()}, torch.from_numpy(x), torch.from_numpy(t)
    )
    assert list(ours) == list(parameters)
    for path, g in ours.items():
        assert g.requires_grad  # the parameters do, so it is part of their graph
        close(g, rows[path], path)
        close(g, expected[path], path)
    total = mg.grad(lambda p: mg.vmap(objective, (None, 0, 0))(p, x, t).sum())(parameters)
    for path, g in total.items():
        close(g, rows[path].sum(0), path)


def test_a_module_in_a_closure():
    """Its parameters are the same for all samples, and backward gives them the sum."""
    model, x, t = mlp(), rng.normal(size=(8, 4)), rng.integers(0, 3, 8)
    F.cross_entropy(model(x), t).backward()
    expected = [p.grad.data for p in model.parameters()]
    model.zero_grad()
    mg.vmap(lambda x, t: F.cross_entropy(model(x), t))(x, t).mean().backward()
    for p, g in zip(model.parameters(), expected, strict=True):
        close(p.grad, g, "gradient")


def test_functional_call():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, shared)
    before = model(V).data
    other = {"0.weight": np.eye(4), "0.bias": np.zeros(4)}
    np.testing.assert_array_equal(nn.functional_call(model, other, V).data, V)
    np.testing.assert_array_equal(model(V).data, before)
    with pytest.raises(ValueError, match=r"unknown parameter '0.wieght': did you mean '0.weight'"):
        nn.functional_call(model, {"0.wieght": V}, V)
    with pytest.raises(ValueError, match=r"'0.bias' has shape \(4,\), and was given \(1,\)"):
        nn.functional_call(model, {"0.weight": np.eye(4), "0.bias": [1.0]}, (V,))
    np.testing.assert_array_equal(model(V).data, before)


# ---- refused -------------------------------------------------------------------------------------------------------


def branch(x):
    return x if x[0] > 0 else -x


REFUSED = [
    (lambda: mg.vmap(branch)(A), TypeError, r"an `if` .* needs one truth value.*choose by mg\.where"),
    (lambda: mg.vmap(branch)(np.abs(A)), TypeError, r"an `if`"),  # though all would go the same way
    (lambda: mg.vmap(lambda x: x if x.sum() else x)(A), TypeError, r"an `if`"),
    (lambda: mg.vmap(lambda x: mg.sin(float(x[0])))(A), TypeError, r"item\(\) needs one number.*mg\.sin for math\.sin"),
    (lambda: mg.vmap(lambda x: x * x[0].item())(A), TypeError, r"item\(\) needs one number"),
    (lambda: mg.vmap(lambda x: x.tolist())(A), TypeError, r"tolist\(\) needs one number"),
    (lambda: mg.vmap(lambda x: V[int(x[0])] * x)(A), TypeError, r"item\(\) needs one number"),
    (lambda: mg.vmap(lambda x: mg.tensor(V)[:x])(np.arange(3)), TypeError, r"an index needs one number"),
    (lambda: mg.vmap(lambda x: np.asarray(x))(A), TypeError, r"there is one for each sample.*rather than np\.asarray"),
    (lambda: mg.vmap(lambda x: x[x > 0].sum())(A), TypeError, r"x\[mask\] picks"),
    (lambda: mg.vmap(lambda x: np.nonzero(x > 0)[0])(A), TypeError, r"different shapes for different samples"),
    (lambda: mg.vmap(lambda x: mg.ones(2) @ x)(A), ValueError, r"\(tensor \(2,\), tensor \(4,\)\): 2 and 4 differ"),
    (lambda: mg.vmap(lambda x, y: x)(A, B), ValueError, r"numbers of samples: 3 in the one of shape \(3, 4\)"),
    (lambda: mg.vmap(lambda x: x)(3.0), ValueError, r"shape \(\) has no axis 0 to map over: in_axes=None is for"),
    (lambda: mg.vmap(lambda x: x)([1.0, 2.0]), ValueError, r"a list is a nest of numbers: make it an array"),
    (lambda: mg.vmap(lambda x: x, in_axes=2)(A), ValueError, r"shape \(3, 4\) has no axis 2"),
    (lambda: mg.vmap(lambda x: x, in_axes=None)(A), ValueError, r"no argument is mapped over"),
    (lambda: mg.vmap(lambda x, y: x, in_axes=(0,))(A, B), ValueError, r"in_axes=\(0,\) does not have the.*2 entries"),
    (lambda: mg.vmap(lambda x: x, in_axes=({"a": 0},))({"b": A}), ValueError, r"in_axes=.*does not have the form"),
    (lambda: mg.vmap(lambda x: x, in_axes="0")(A), TypeError, r"in_axes is an axis, None or a nest.* not '0'"),
    (lambda: mg.vmap(lambda x: x, out_axes=3)(A), ValueError, r"out_axes=3 is no axis of a result of shape \(3, 4\)"),
    (lambda: mg.vmap(lambda x: (x, x), out_axes=(0, None))(A), ValueError, r"out_axes=None is no axis"),
    (lambda: mg.vmap(lambda x: "text")(A), TypeError, r"the function returned str 'text', and no array"),
    (lambda: mg.vmap(lambda x: backward_inside(x))(A), RuntimeError, r"backward inside vmap.*vmap\(mg\.grad\(loss\)"),
]  # fmt: skip


def backward_inside(x):
    w = mg.tensor(V, requires_grad=True)
    (w * x).sum().backward()
    return w.grad


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_what_is_printed_inside(capsys):
    mg.vmap(lambda x: print(x, x.data, f"{x}") or x)(A)
    assert capsys.readouterr().out.count("3 samples, each an array (4,) of float64") == 3


def test_nothing_is_left_behind():
    """Errors inside leave modes and levels as they were; results do not depend on the level."""
    for call, error, _ in REFUSED[:6]:
        with pytest.raises(error):
            call()
    assert mg.random.generator().__class__ is np.random.Generator
    assert (mg.tensor(V, requires_grad=True) * 2).requires_grad
    assert type(mg.vmap(lambda x: x * 2)(A).data) is np.ndarray
