"""Random shapes: each path of the compiler that goes by the lengths of axes, beside the library itself.

The lengths are those around the widths of vectors, of rows that are worked on some at a time, and of narrow last axes.
"""

import numpy as np
import pytest
from catalogue import ELEMENTWISE, close, sample
from engines import compiled
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.nests import flatten, map_nest
from minigrad.ops.card import CARDS

SIZES = [1, 3, 15, 16, 17, 31, 33, 64, 65]
RTOL = {np.float64: 1e-11, np.float32: 1e-5}

KINDS = {
    "number": lambda n: (),
    "row": lambda n: (n(),),
    "long rows": lambda n: (n(1, 3, 5), n(200, 333)),
    "short rows": lambda n: (n(), n(17, 31, 33)),
    "narrow": lambda n: (n(16, 17, 33, 65), n(2, 3, 15)),
    "narrow, three axes": lambda n: (n(2, 3), n(16, 17, 33), n(2, 3, 15)),
    "ones between": lambda n: (n(3, 17), 1, n(1, 16, 33)),
    "three axes": lambda n: (n(2, 3), n(1, 3, 17), n(15, 16, 65)),
    "any": lambda n: tuple(n() for _ in range(n(1, 2, 3))),
}


def shape_of(kind, rng):
    return KINDS[kind](lambda *some: int(rng.choice(some or SIZES)))


def broadcast_from(shape, rng):
    """A shape that broadcasts to this one: some axes have length 1, the first may be missing."""
    shape = tuple(1 if rng.random() < 0.3 else n for n in shape)
    return shape[1:] if rng.random() < 0.2 else shape


def agree(functions, arrays, dtype, rng):
    """Values and gradients of functions of arrays, by name, compiled together; they run twice, on other numbers."""

    def together(groups):
        found = {}
        for name, xs in groups.items():
            values, pullback = mg.vjp(functions[name], *[mg.tensor(x) for x in xs])
            found[name] = values, pullback(map_nest(lambda y: 1 / (1 + y * y), values))
        return found

    ours = compiled("native", together)
    for turn in range(2):
        found, right = ours(arrays), together(arrays)
        for name in functions:
            for a, b in zip(flatten(found[name])[0], flatten(right[name])[0], strict=True):
                assert a.dtype == b.dtype, name
                what = f"{name} of {[x.shape for x in arrays[name]]}, {np.dtype(dtype)}, run {turn}"
                close(a, b.data, what, RTOL[dtype], RTOL[dtype])
        arrays = {name: [rng.permuted(x.ravel()).reshape(x.shape) for x in xs] for name, xs in arrays.items()}


def random_numbers(rng, *shapes, dtype):
    return [np.asarray(rng.uniform(-2, 2, s), dtype) for s in shapes]


# ---- elementwise -----------------------------------------------------------------------------------------------------

NUMBERS = [name for name in ELEMENTWISE if "bool" not in str(CARDS[name].domain)]
SOME = 17  # cards in a function


def elementwise(names, kind, dtype, seed):
    rng = np.random.default_rng(seed)
    whole, arrays = shape_of(kind, rng), {}
    for name in names:
        domains = CARDS[name].domain
        domains = domains if isinstance(domains, list) else [domains]
        shapes = [whole, *(broadcast_from(whole, rng) for _ in domains[1:])]
        rng.shuffle(shapes)
        arrays[name] = [sample(rng, d, s, dtype) for d, s in zip(domains, shapes, strict=True)]
    agree({name: CARDS[name] for name in names}, arrays, dtype, rng)


@pytest.mark.parametrize("i", range(0, len(NUMBERS), SOME))
def test_elementwise(i):
    """Every card."""
    turn = i // SOME
    elementwise(NUMBERS[i : i + SOME], list(KINDS)[turn % len(KINDS)], list(RTOL)[turn % 2], seed=i)


# ---- along axes ------------------------------------------------------------------------------------------------------

ALONG = {
    "sum": lambda x, axis: mg.sum(x, axis=axis, keepdims=True) * x,
    "mean": lambda x, axis: mg.mean(x, axis=axis),
    "max": lambda x, axis: mg.max(x, axis=axis, keepdims=True) - x,
    "min": lambda x, axis: mg.min(x, axis=axis),
    "prod": lambda x, axis: mg.prod(1 + x / 50, axis=axis),
    "logsumexp": lambda x, axis: mg.logsumexp(x, axis=axis),
    "var": lambda x, axis: mg.var(x, axis=axis),
    "softmax": lambda x, axis: mg.softmax(x, axis=one(x, axis)) if x.ndim else x,
    "standardize": lambda x, axis: x / mg.sqrt(1 + mg.mean(x * x, axis=axis, keepdims=True)),
    "cumsum": lambda x, axis: mg.cumsum(x, axis=one(x, axis)),
    "sums of both": lambda x, axis: (mg.sum(mg.tanh(x)), mg.sum(x * x, axis=one(x, axis))),
    "softmax of a row, then totals": lambda x, axis: mg.sum(mg.softmax(x, axis=-1), axis=0) if x.ndim else x,
}


def one(x, axis):
    return axis[0] if isinstance(axis, tuple) else axis


def any_axis(shape, rng):
    """None, one axis, or the first and the last."""
    choices = [None, *range(len(shape)), *([(0, -1)] if len(shape) > 1 else [])]
    return choices[rng.integers(len(choices))]


def along(names, kind, dtype, seed):
    rng = np.random.default_rng(seed)
    shape = shape_of(kind, rng)
    axes = {name: any_axis(shape, rng) for name in names}
    functions = {f"{name}, axis {axes[name]}": lambda x, name=name: ALONG[name](x, axes[name]) for name in names}
    agree(functions, {key: random_numbers(rng, shape, dtype=dtype) for key in functions}, dtype, rng)


@pytest.mark.parametrize("kind", KINDS)
def test_along_axes(kind):
    i = list(KINDS).index(kind)
    names = [*ALONG, *ALONG][i * 3 % len(ALONG) :][:3]
    along(names, kind, list(RTOL)[i % 2], seed=i)


# ---- products --------------------------------------------------------------------------------------------------------

STACKS = [((), ()), ((3,), ()), ((3,), (3,)), ((2, 1), (3,)), ((), (2,))]


def products(count, dtype, seed):
    rng = np.random.default_rng(seed)
    functions, arrays = {}, {}
    for i in range(count):
        m, k, n = (int(rng.choice(SIZES)) for _ in range(3))
        left, right = STACKS[rng.integers(len(STACKS))]
        shapes = [(*left, *((k, m) if i % 3 == 1 else (m, k))), (*right, *((n, k) if i % 3 == 2 else (k, n)))]
        turned = [i % 3 == 1, i % 3 == 2]
        functions[f"{i}"] = lambda a, b, t=turned: (
            (a.swapaxes(-1, -2) if t[0] else a) @ (b.swapaxes(-1, -2) if t[1] else b) / a.size**0.5
        )
        arrays[f"{i}"] = random_numbers(rng, *shapes, dtype=dtype)
    agree(functions, arrays, dtype, rng)


@pytest.mark.parametrize("dtype", RTOL)
def test_products(dtype):
    products(4, dtype, seed=0)


# ---- moves -----------------------------------------------------------------------------------------------------------

MOVES = {
    "transpose": lambda x, i: mg.tanh(mg.transpose(x)) * 2,
    "reshape": lambda x, i: mg.reshape(mg.transpose(x), (-1,)) * mg.ravel(x),
    "roll": lambda x, i: x * mg.roll(x, i, -1),
    "flip": lambda x, i: x - mg.flip(x),
    "repeat": lambda x, i: mg.repeat(x, 1 + i % 3, 0),
    "pad": lambda x, i: mg.pad(x, i % 3),
    "concatenate": lambda x, i: mg.concatenate([x, mg.sin(x), x[:1]], 0),
    "stack": lambda x, i: mg.stack([x, x * x], i % (x.ndim + 1)),
    "slices": lambda x, i: x[..., ::-1][:: 1 + i % 2] * 3,
    "picked": lambda x, i: mg.take(x, np.arange(i + 2) * 7 % x.shape[0], axis=0),
    "set": lambda x, i: mg.setitem(x * 1, (Ellipsis, i % x.shape[-1]), 0.5),
    "broadcast": lambda x, i: mg.broadcast_to(x, (2, *x.shape)) * mg.sum(x, axis=0),
    "triangle": lambda x, i: mg.tril(mg.atleast_2d(x), i - 1),
    "diagonal": lambda x, i: mg.diagonal(mg.atleast_2d(x)),
}


def moves(names, kind, dtype, seed):
    rng = np.random.default_rng(seed)
    shape = shape_of(kind, rng)
    i = int(rng.integers(5))
    functions = {f"{name} {i}": lambda x, name=name: MOVES[name](x, i) for name in names}
    agree(functions, {key: random_numbers(rng, shape, dtype=dtype) for key in functions}, dtype, rng)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "number"])
def test_moves(kind):
    i = list(KINDS).index(kind)
    moves([*MOVES, *MOVES][i * 3 % len(MOVES) :][:3], kind, list(RTOL)[i % 2], seed=i)


# ---- more of all -----------------------------------------------------------------------------------------------------


def some_of(names, count):
    return st.lists(st.sampled_from(list(names)), min_size=count, max_size=count, unique=True)


@pytest.mark.long
@settings(max_examples=60, phases=[Phase.reuse, Phase.generate], suppress_health_check=list(HealthCheck))
@given(
    cards=some_of(NUMBERS, 4), sums=some_of(ALONG, 2), moved=some_of(MOVES, 2),
    kind=st.sampled_from(list(KINDS)[1:]), dtype=st.sampled_from(list(RTOL)), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_more_shapes(cards, sums, moved, kind, dtype, seed):
    elementwise(cards, kind, dtype, seed)
    along(sums, kind, dtype, seed)
    moves(moved, kind, dtype, seed)
    products(2, dtype, seed)
