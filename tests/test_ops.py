"""Every op: values against NumPy, gradients and second derivatives against torch, float32, kinks, bad arguments."""

import numpy as np
import pytest
from catalogue import (
    ELEMENTWISE,
    OTHERWISE,
    PARAMETERS,
    TORCH,
    F,
    agree,
    axes_of,
    broadcastable,
    gradients,
    layouts,
    leaf,
    rngs,
    sample,
    shapes,
    spaced,
    torch,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad.ops.card import CARDS

few, some = settings(max_examples=15), settings(max_examples=40)


def test_every_card_has_a_counterpart():
    assert sorted(CARDS.keys() - TORCH.keys()) == [], "name torch's counterpart of these ops in tests/catalogue.py"
    assert sorted(OTHERWISE.keys() - CARDS.keys()) == []


# ---- elementwise ops -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ELEMENTWISE)
@few
@given(data=st.data(), rng=rngs, layout=layouts)
def test_elementwise(name, data, rng, layout):
    card = CARDS[name]
    domains = card.domain if isinstance(card.domain, list) else [card.domain]
    params = data.draw(st.fixed_dictionaries(PARAMETERS.get(name, {})))
    arrays = [sample(rng, d, s) for d, s in zip(domains, data.draw(broadcastable(card.arity)), strict=True)]
    agree(lambda *xs: card(*xs, **params), lambda *xs: TORCH[name](*xs, **params), arrays, rng, layout)


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if hasattr(np, n)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_are_numpys(name, dtype):
    card, rng = CARDS[name], np.random.default_rng(0)
    domains = card.domain if isinstance(card.domain, list) else [card.domain]
    arrays = [sample(rng, d, (3, 4), dtype if d != "bool" else bool) for d in domains]
    nearly = 2e-7 if (name, dtype) == ("i0", np.float32) else 0  # SciPy's, which is nearer to the truth
    np.testing.assert_allclose(card(*arrays).data, getattr(np, name)(*arrays), rtol=nearly, atol=0)
    np.testing.assert_allclose(getattr(mg, name)(*arrays).data, getattr(np, name)(*arrays), rtol=nearly, atol=0)


@pytest.mark.parametrize("name", sorted(CARDS.keys() - ELEMENTWISE))
def test_the_cases_of_every_other_card(name):
    """What the cards themselves are checked on; the properties below go further."""
    rng = np.random.default_rng(0)
    for inputs, params in CARDS[name].cases or [([(2, 3)], {})]:
        arrays = [s if isinstance(s, np.ndarray) else rng.standard_normal(s) for s in inputs]
        agree(lambda *xs, p=params: CARDS[name](*xs, **p), lambda *xs, p=params: TORCH[name](*xs, **p), arrays, rng)


def arguments_of(card, rng, dtype):
    """What the card itself is checked on, as (arrays, parameters), floats in this dtype."""
    if card.domain is None:
        cases = card.cases or [([(2, 3)], {})]
        for inputs, params in cases:
            yield [s if isinstance(s, np.ndarray) else rng.standard_normal(s).astype(dtype) for s in inputs], params
    else:
        domains = card.domain if isinstance(card.domain, list) else [card.domain]
        yield [sample(rng, d, (2, 3), bool if d == "bool" else dtype) for d in domains], {}
    if card.name == "power":
        yield from (([np.full(2, 0.7, dtype), b], {}) for b in (3, 2.5, 0))


@pytest.mark.parametrize("name", sorted(CARDS))
def test_rules_by_themselves(name):
    """Their gradient has the input's dtype and, but for broadcasting, its shape; and where g is 0, it is 0.

    The walk sees to that for leaves, so only here a gradient shows that is wider than needed on its way.
    """
    card = CARDS[name]
    for arrays, params in arguments_of(card, np.random.default_rng(0), np.float32):
        y = card.forward(*arrays, **{**card.defaults, **params})
        for x, rule in zip(arrays, card.vjp, strict=False):
            if rule is None or getattr(x, "dtype", None) != np.float32:
                continue
            nothing = rule(np.zeros_like(y), y, *arrays, **{**card.defaults, **params})
            assert nothing.dtype == np.float32
            np.testing.assert_array_equal(nothing, np.zeros(nothing.shape))
            if name not in ("linear", "broadcast_to") and max(map(np.ndim, arrays)) <= 2:  # stacks broadcast, too
                assert nothing.shape == x.shape


# ---- reductions ----------------------------------------------------------------------------------------------------


def _var(x, axis=None, ddof=0, keepdims=False):
    return torch.var(x, tuple(range(x.ndim)) if axis is None else axis, correction=ddof, keepdim=keepdims)


def _norm(x, axis=None, keepdims=False):
    return torch.linalg.vector_norm(x, 2, axis, keepdims)


NEED_ELEMENTS = {"max", "min", "mean", "var", "std"}  # raise, or are nan, for none
REDUCTIONS = {name: (getattr(mg, name), TORCH[name]) for name in ("sum", "mean", "prod", "max", "min", "logsumexp")} | {
    "var": (mg.var, _var),
    "std": (mg.std, lambda x, **params: _var(x, **params).sqrt()),
    "norm": (mg.linalg.norm, _norm),
}


@pytest.mark.parametrize("name", REDUCTIONS)
@some
@given(data=st.data(), shape=shapes, keepdims=st.booleans(), rng=rngs, layout=layouts)
def test_reductions(name, data, shape, keepdims, rng, layout):
    ours, theirs = REDUCTIONS[name]
    axis = data.draw(axes_of(len(shape)))
    n = np.ones(shape).sum(axis).max(initial=0)  # elements in one reduction
    assume(n > 0 or name not in NEED_ELEMENTS)
    assume(name != "norm" or np.size(axis) <= 2)  # np.linalg.norm's own limit
    params = {"axis": axis, "keepdims": keepdims}
    if name in ("var", "std"):
        assume(n > 1)
        params["ddof"] = data.draw(st.sampled_from([0, 1]))
    agree(lambda x: ours(x, **params), lambda x: theirs(x, **params), [spaced(rng, shape)], rng, layout)
    if hasattr(np, name):
        x = spaced(rng, shape)
        np.testing.assert_allclose(ours(x, **params).data, getattr(np, name)(x, **params), rtol=1e-14)


@pytest.mark.parametrize("name", ["sum", "prod", "logsumexp"])
def test_reductions_of_nothing(name):
    """The neutral element, as torch gives it."""
    ours, theirs = REDUCTIONS[name]
    for shape, axis in [((0,), None), ((2, 0), 1), ((2, 0), 0), ((0, 3), 0)]:
        agree(
            lambda x, axis=axis: ours(x, axis=axis),
            lambda x, axis=axis: theirs(x, axis=axis),
            [np.ones(shape)],
            np.random.default_rng(0),
            second=False,
        )


@pytest.mark.parametrize("name", ["max", "min"])
def test_extrema_of_nothing_are_refused(name):
    with pytest.raises(ValueError, match=rf"{name}\(tensor \(2, 0\), axis=1\): zero-size array"):
        getattr(mg, name)(mg.zeros((2, 0)), axis=1)


@some
@given(data=st.data(), shape=shapes, rng=rngs, layout=layouts)
def test_cumsum(data, shape, rng, layout):
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1)) if shape else None
    x = rng.standard_normal(shape)
    agree(lambda x: mg.cumsum(x, axis=axis), lambda x: TORCH["cumsum"](x, axis), [x], rng, layout)
    np.testing.assert_array_equal(mg.cumsum(x, axis).data, np.cumsum(x, axis))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@some
@given(data=st.data(), shape=shapes, rng=rngs, layout=layouts)
def test_softmax(name, data, shape, rng, layout):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1)) if shape else -1
    agree(
        lambda x: getattr(mg, name)(x, axis),
        lambda x: getattr(torch, name)(x, axis),
        [rng.uniform(-3, 3, shape)],
        rng,
        layout,
    )


@pytest.mark.parametrize("order", [None, 0.5, 1, 1.5, 2, 3, np.inf, -np.inf])
@few
@given(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=3, max_side=3), keepdims=st.booleans(), rng=rngs)
def test_norms_of_vectors(order, data, shape, keepdims, rng):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = rng.uniform(0.5, 2, shape) * rng.choice([-1, 1], shape)
    smooth = order not in (np.inf, -np.inf)
    agree(
        lambda x: mg.linalg.norm(x, order, axis, keepdims),
        lambda x: torch.linalg.vector_norm(x, 2 if order is None else order, axis, keepdims),
        [x],
        rng,
        second=smooth,
    )
    np.testing.assert_allclose(
        mg.linalg.norm(x, order, axis, keepdims).data, np.linalg.norm(x, order, axis, keepdims), rtol=1e-14
    )


@pytest.mark.parametrize("order", ["fro", 1, -1, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [(0, 1), (2, 0), (-1, -3)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_norms_of_matrices(order, axis, keepdims):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 2, 4))
    agree(
        lambda x: mg.linalg.norm(x, order, axis, keepdims),
        lambda x: torch.linalg.matrix_norm(x, order, axis, keepdims),
        [x],
        rng,
        second=order == "fro",
    )
    np.testing.assert_allclose(
        mg.linalg.norm(x, order, axis, keepdims).data, np.linalg.norm(x, order, axis, keepdims), rtol=1e-14
    )


# ---- products ------------------------------------------------------------------------------------------------------


@some
@given(
    shapes=hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, min_side=0, max_side=3),
    rng=rngs,
    layout=layouts,
)
def test_matmul(shapes, rng, layout):
    arrays = [rng.standard_normal(s) for s in shapes.input_shapes]
    agree(mg.matmul, torch.matmul, arrays, rng, layout)
    np.testing.assert_array_equal(mg.matmul(*arrays).data, np.matmul(*arrays))


LEFT = [(2,), (3, 2), (4, 3, 2), (5, 1, 3, 2)]
RIGHT = [(2,), (2, 3), (4, 2, 3), (5, 1, 2, 3)]


@pytest.mark.parametrize("a", LEFT, ids=str)
@pytest.mark.parametrize("b", RIGHT, ids=str)
def test_matmul_of_vectors_matrices_and_stacks(a, b):
    rng = np.random.default_rng(0)
    agree(mg.matmul, torch.matmul, [rng.standard_normal(a), rng.standard_normal(b)], rng)


@some
@given(
    batch=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    n=st.integers(0, 3),
    m=st.integers(0, 3),
    rng=rngs,
    layout=layouts,
)
def test_linear(batch, n, m, rng, layout):
    arrays = [rng.standard_normal(s) for s in [(*batch, n), (m, n), (m,)]]
    agree(mg.linear, F.linear, arrays, rng, layout)
    agree(mg.nn.functional.linear, F.linear, arrays[:2], rng, layout)


DOTS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((), (2, 3)),
    ((2,), ()),
    ((2, 3), (2, 3, 2)),
    ((3,), (2, 3, 1)),
    ((2, 0), (0, 3)),
]


@pytest.mark.parametrize("shapes", DOTS, ids=str)
def test_dot(shapes):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s) for s in shapes)
    letters = "abc"[: a.ndim], "defg"[: b.ndim]
    if a.ndim and b.ndim:  # the last axis of a is summed with the last but one of b
        letters = (
            letters[0],
            "".join(letters[0][-1] if i == max(b.ndim - 2, 0) else c for i, c in enumerate(letters[1])),
        )
    out = [c for c in "".join(letters) if not (a.ndim and b.ndim) or c != letters[0][-1]]
    agree(mg.dot, lambda a, b: torch.einsum(f"{letters[0]},{letters[1]}->{''.join(out)}", a, b), [a, b], rng)
    np.testing.assert_allclose(mg.dot(a, b).data, np.dot(a, b), rtol=1e-14)


@pytest.mark.parametrize("shapes", [((2,), (3,)), ((), (3,)), ((2, 2), (3, 1)), ((0,), (2,))], ids=str)
def test_outer(shapes):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in shapes]
    agree(mg.outer, lambda a, b: torch.outer(a.reshape(-1), b.reshape(-1)), arrays, rng)
    np.testing.assert_array_equal(mg.outer(*arrays).data, np.outer(*arrays))


TENSORDOTS = [
    ((2, 3), (3, 4), 1),
    ((2, 3), (2, 3), 2),
    ((2,), (3,), 0),
    ((2, 3, 4), (4, 3, 2), ([1, 2], [1, 0])),
    ((2, 3), (3, 2), (-1, 0)),
    ((2, 0), (0, 3), 1),
]


@pytest.mark.parametrize(("a", "b", "axes"), TENSORDOTS, ids=str)
def test_tensordot(a, b, axes):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(a), rng.standard_normal(b)]
    paired = axes if isinstance(axes, int) else [np.atleast_1d(x).tolist() for x in axes]
    agree(lambda a, b: mg.tensordot(a, b, axes), lambda a, b: torch.tensordot(a, b, paired), arrays, rng)
    np.testing.assert_allclose(mg.tensordot(*arrays, axes).data, np.tensordot(*arrays, axes), rtol=1e-14)


EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ij->", (2, 3)),
    ("ij->ji", (2, 3)),
    ("ba", (2, 3)),
    ("ii->i", (3, 3)),
    ("ii", (3, 3)),
    ("iij->j", (2, 2, 3)),
    ("i,i->", (3,), (3,)),
    ("i,j,k->kij", (2,), (3,), (4,)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 1)),
    ("...ij,...jk->...ik", (2, 2, 3), (3, 2)),
    ("i...,i...->...", (2, 3), (2, 3)),
    ("i...", (2, 3)),
    (",i->i", (), (3,)),
    ("i,i,i->i", (3,), (3,), (3,)),
    ("ijk,k->ij", (2, 0, 3), (3,)),
    ("ij,kl->", (2, 3), (1, 2)),
    ("i,i->", (3,), (1,)),
    ("ij,ij->i", (2, 3), (2, 1)),
    ("...i,...i->...", (3, 1, 2), (4, 2)),
    ("Aa,aA", (2, 3), (3, 2)),
    ("ii,i->i", (2, 2), (2,)),
]


@pytest.mark.parametrize(("subscripts", "shapes"), [(s, shapes) for s, *shapes in EINSUMS], ids=str)
def test_einsum(subscripts, shapes):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in shapes]
    agree(lambda *xs: mg.einsum(subscripts, *xs), lambda *xs: torch.einsum(subscripts, *xs), arrays, rng)
    np.testing.assert_allclose(mg.einsum(subscripts, *arrays).data, np.einsum(subscripts, *arrays), rtol=1e-13)


# ---- float32 stays float32 -----------------------------------------------------------------------------------------

# Calls on any tensor, and calls on a square matrix.
ANY = {
    "x + 1.5": lambda x: x + 1.5,
    "1.5 - x": lambda x: 1.5 - x,
    "x * 2": lambda x: x * 2,
    "2.5 / x": lambda x: 2.5 / x,
    "x**2": lambda x: x**2,
    "x**0.5": lambda x: x**0.5,
    "x**-1": lambda x: x**-1,
    "1.5**x": lambda x: 1.5**x,
    "x**x": lambda x: x**x,
    "maximum": lambda x: mg.maximum(x, 0.5),
    "minimum": lambda x: mg.minimum(0.5, x),
    "clip": lambda x: mg.clip(x, 0.2, 0.8),
    "clip below": lambda x: mg.clip(x, 0.2),
    "where": lambda x: mg.where(x.data > 0.5, x, 0.0),
    "logaddexp": lambda x: mg.logaddexp(x, 0.0),
    "leaky_relu": lambda x: mg.leaky_relu(x, 0.1),
    "elu": lambda x: mg.elu(x, 0.7),
    "softplus": lambda x: mg.softplus(x, 2.0),
    "gelu": mg.gelu,
    "gelu, tanh": lambda x: mg.gelu(x, "tanh"),
    "astype": lambda x: x.astype(np.float32),
    "sum": lambda x: x.sum(-1),
    "mean": lambda x: x.mean(-1),
    "prod": lambda x: x.prod(-1),
    "max": lambda x: x.max(-1),
    "min": lambda x: x.min(-1),
    "var": lambda x: x.var(-1),
    "std": lambda x: x.std(-1),
    "logsumexp": lambda x: mg.logsumexp(x, -1),
    "cumsum": lambda x: x.cumsum(),
    "norm": mg.linalg.norm,
    "repeat": lambda x: mg.repeat(x, 2),
    "stack": lambda x: mg.stack([x, x]),
    "broadcast_to": lambda x: mg.broadcast_to(x, (2, *x.shape)),
    "outer": lambda x: mg.outer(x, x),
    "dot": lambda x: mg.dot(x, x),
}
SQUARE = {
    "var, ddof": lambda x: x.var(-1, ddof=1),
    "norm 3": lambda x: mg.linalg.norm(x, 3, -1),
    "norm 1/2": lambda x: mg.linalg.norm(x, 0.5, -1),
    "norm inf": lambda x: mg.linalg.norm(x, np.inf, -1),
    "softmax": mg.softmax,
    "log_softmax": mg.log_softmax,
    "pad": lambda x: mg.pad(x, 1, constant_values=2.5),
    "index": lambda x: x[[0, 0]],
    "take_along_axis": lambda x: mg.take_along_axis(x, np.zeros(x.shape, int), -1),
    "matmul": lambda x: x @ x,
    "einsum": lambda x: mg.einsum("ii,ij->j", x, x),
    "tensordot": lambda x: mg.tensordot(x, x),
    "vdot": lambda x: mg.ops.vdot(x, x),
    "linear": lambda x: mg.linear(x, x, x[0]),
    "concatenate": lambda x: mg.concatenate([x, x]),
    "cross_entropy": lambda x: mg.nn.functional.cross_entropy(x, [0, 1, 2]),
}
UNARY = [n for n in ELEMENTWISE if CARDS[n].arity == 1]


def assert_stays_float32(f, x):
    y = f(x)
    assert y.dtype == np.float32, "value"
    (first,) = gradients(y, np.ones(y.shape), [x])
    assert first.dtype == np.float32, "gradient"
    (first,) = gradients(y, mg.tensor(np.ones(y.shape, np.float32), requires_grad=True), [x], create_graph=True)
    assert first.dtype == np.float32, "gradient with create_graph"
    (second,) = gradients((first * first).sum(), None, [x])
    assert second is None or second.dtype == np.float32, "second derivative"


@pytest.mark.parametrize("shape", [(), (3, 3)], ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_elementwise_stays_float32(name, shape):
    assert_stays_float32(CARDS[name], leaf(sample(np.random.default_rng(0), CARDS[name].domain, shape, np.float32)))


@pytest.mark.parametrize("shape", [(), (3, 3)], ids=str)
@pytest.mark.parametrize("name", ANY)
def test_calls_stay_float32(name, shape):
    assert_stays_float32(ANY[name], leaf(np.random.default_rng(0).uniform(0.1, 1, shape).astype(np.float32)))


@pytest.mark.parametrize("name", SQUARE)
def test_calls_on_matrices_stay_float32(name):
    assert_stays_float32(SQUARE[name], leaf(np.random.default_rng(0).uniform(0.1, 1, (3, 3)).astype(np.float32)))


def test_a_float32_leaf_that_meets_float64_has_a_float32_gradient():
    for f in (lambda x: x * np.ones(2), lambda x: np.ones(2) - x, lambda x: x.astype(np.float64) * 2):
        x = leaf(np.ones(2, np.float32))
        (first,) = gradients(f(x).sum(), None, [x])
        (second,) = gradients(f(x).sum(), None, [x], create_graph=True)
        assert f(x).dtype == np.float64
        assert first.dtype == second.dtype == np.float32


def test_linear_has_numpys_dtype():
    """The bias is added in place, but not into a narrower array."""
    for x, w, b in [(np.float32, np.float32, np.float64), (np.float64, np.float32, np.float32), (int, int, np.float64)]:
        arrays = np.full((2, 3), 2, x), np.full((4, 3), 3, w), np.full(4, 0.1, b)
        expected = arrays[0] @ arrays[1].T + arrays[2]
        y = mg.linear(*arrays)
        assert y.dtype == expected.dtype
        np.testing.assert_array_equal(y.data, expected)


# ---- kinks: follow torch -------------------------------------------------------------------------------------------

inf = np.inf


def number(x):
    return torch.tensor(x, dtype=torch.float64)


KINKS = {
    "abs": (mg.abs, torch.abs, [0.0, -1.0]),
    "sign": (mg.sign, torch.sign, [0.0, 2.0]),
    "relu": (mg.relu, F.relu, [0.0, 1.0]),
    "leaky_relu": (lambda x: mg.leaky_relu(x, 0.3), lambda x: F.leaky_relu(x, 0.3), [0.0, 1.0]),
    "leaky_relu that falls": (lambda x: mg.leaky_relu(x, -0.3), lambda x: F.leaky_relu(x, -0.3), [-1.0, 1.0]),
    "elu": (lambda x: mg.elu(x, 0.7), lambda x: F.elu(x, 0.7), [0.0, 1.0]),
    "elu that falls": (lambda x: mg.elu(x, -0.7), lambda x: F.elu(x, -0.7), [-1.0, 1.0]),
    "max": (mg.max, torch.amax, [1.0, 3.0, 3.0, 3.0]),
    "min": (mg.min, torch.amin, [1.0, 3.0, 1.0]),
    "maximum": (lambda x: mg.maximum(x, 1.0), lambda x: torch.maximum(x, torch.tensor(1.0)), [1.0, 0.0, 2.0]),
    "minimum": (lambda x: mg.minimum(x, 1.0), lambda x: torch.minimum(x, torch.tensor(1.0)), [1.0, 0.0, 2.0]),
    "maximum of the same": (lambda x: mg.maximum(x, x), lambda x: torch.maximum(x, x), [1.0, 0.0]),
    "clip": (lambda x: mg.clip(x, -1.0, 1.0), lambda x: x.clamp(-1.0, 1.0), [-1.0, 1.0, 0.0, 2.0]),
    "clip to one value": (lambda x: mg.clip(x, 1.0, 1.0), lambda x: x.clamp(1.0, 1.0), [1.0, 0.0]),
    "fabs": (mg.fabs, torch.abs, [0.0, -1.0]),
    "fmax": (lambda x: mg.fmax(x, 1.0), lambda x: torch.fmax(x, number(1.0)), [1.0, 0.0, 2.0, np.nan]),
    "fmin": (lambda x: mg.fmin(x, 1.0), lambda x: torch.fmin(x, number(1.0)), [1.0, 0.0, 2.0, np.nan]),
    "fmax of the other": (lambda x: mg.fmax(1.0, x), lambda x: torch.fmax(number(1.0), x), [1.0, 0.0, 2.0, np.nan]),
    "fmin of the other": (lambda x: mg.fmin(1.0, x), lambda x: torch.fmin(number(1.0), x), [1.0, 0.0, 2.0, np.nan]),
    "fmax with nan": (lambda x: mg.fmax(x, np.nan), lambda x: torch.fmax(x, number(np.nan)), [1.0, np.nan]),
    "fmin with nan": (lambda x: mg.fmin(x, np.nan), lambda x: torch.fmin(x, number(np.nan)), [1.0, np.nan]),
    "copysign": (lambda x: mg.copysign(x, -1.0), lambda x: torch.copysign(x, number(-1.0)), [0.0, -0.0, 2.0, -2.0]),
    "copysign by zeros": (
        lambda x: mg.copysign(x, [0.0, -0.0]), lambda x: torch.copysign(x, torch.tensor([0.0, -0.0])), [2.0, 2.0]
    ),
    "copysign by the other": (
        lambda x: mg.copysign([1.0, 2.0], x), lambda x: torch.copysign(number([1.0, 2.0]), x), [0.0, -2.0]
    ),
    "steps": (
        lambda x: mg.floor(x) + mg.ceil(x) + mg.trunc(x) + mg.rint(x),
        lambda x: torch.floor(x) + torch.ceil(x) + torch.trunc(x) + torch.round(x), [0.0, 2.0, -1.0, 0.5, -1.5],
    ),
    "mod": (lambda x: mg.mod(x, [1.0, -1.0, 0.1]), lambda x: x % number([1.0, -1.0, 0.1]), [2.0, 2.0, 1.0]),
    "mod by": (lambda x: mg.mod([2.0, -2.0, 0.7], x), lambda x: number([2.0, -2.0, 0.7]) % x, [1.0, 1.0, -0.2]),
    "fmod by": (
        lambda x: mg.fmod([2.0, -2.0, 0.7, -0.7], x), lambda x: torch.fmod(number([2.0, -2.0, 0.7, -0.7]), x),
        [1.0, 1.0, -0.2, 0.2],
    ),
    "nan_to_num": (mg.nan_to_num, torch.nan_to_num, [1.0, np.nan, inf, -inf]),
    "sinc": (mg.sinc, torch.sinc, [0.0, 1.0, -1.0, 0.5]),
    "norm": (mg.linalg.norm, torch.linalg.vector_norm, [0.0, 0.0]),
    "norm 3": (lambda x: mg.linalg.norm(x, 3), lambda x: torch.linalg.vector_norm(x, 3), [0.0, 0.0]),
    "norm 1/2": (lambda x: mg.linalg.norm(x, 0.5), lambda x: torch.linalg.vector_norm(x, 0.5), [0.0, 2.0]),
    "norm 1": (lambda x: mg.linalg.norm(x, 1), lambda x: torch.linalg.vector_norm(x, 1), [0.0, 2.0]),
    "norm inf": (lambda x: mg.linalg.norm(x, inf), lambda x: torch.linalg.vector_norm(x, inf), [2.0, -2.0]),
    "prod": (mg.prod, torch.prod, [2.0, 0.0, 3.0]),
    "prod of two zeros": (mg.prod, torch.prod, [2.0, 0.0, 0.0, 3.0]),
    "x**0": (lambda x: x**0, lambda x: x**0, [0.0, 2.0, inf, np.nan]),
    "x**1": (lambda x: x**1, lambda x: x**1, [0.0, 2.0]),
    "x**2": (lambda x: x**2, lambda x: x**2, [0.0, -2.0]),
    "x**0 by arrays": (lambda x: x ** np.zeros(3), lambda x: x ** torch.zeros(3), [0.0, 2.0, inf]),
    "0**[0 1 2]": (lambda x: x ** np.arange(3.0), lambda x: x ** torch.arange(3.0), [0.0, 0.0, 0.0]),
    "0**x": (lambda x: 0.0**x, lambda x: 0.0**x, [0.0, 2.0]),
    "logsumexp of -inf": (
        lambda x: mg.logsumexp(mg.where([True, False], x, -inf)),
        lambda x: torch.where(torch.tensor([True, False]), x, -inf).logsumexp(0),
        [1.0, 2.0],
    ),
    "huber": (
        lambda x: mg.nn.functional.huber_loss(x, [0.0] * 3),
        lambda x: F.huber_loss(x, torch.zeros(3, dtype=x.dtype)),
        [1.0, -1.0, 0.0],
    ),
}


# Where the second derivative is that of the chosen side here, and 0 or nan in torch.
ONE_SIDED = {
    *("elu", "huber", "clip to one value", "norm", "norm 3", "norm 1/2", "x**0 by arrays", "0**x", "0**[0 1 2]"),
    *("copysign", "sinc"),
}


@pytest.mark.parametrize("name", KINKS)
def test_kinks(name):
    ours, theirs, x = KINKS[name]
    agree(ours, theirs, [np.array(x)], np.random.default_rng(0), second=name not in ONE_SIDED)


BOUNDS = [(x, lo, hi) for x in (-1.0, 0.0, 1.0) for lo in (-1.0, 0.0, 1.0) for hi in (-1.0, 0.0, 1.0)]


@pytest.mark.parametrize("name", ["clip", "maximum", "minimum"])
def test_ties(name):
    """In whatever order the arguments are, and wherever they meet."""
    arrays = [np.array(column) for column in zip(*BOUNDS, strict=True)][: CARDS[name].arity]
    agree(CARDS[name], TORCH[name], arrays, np.random.default_rng(0))


def test_sign_is_flat_everywhere():
    x = leaf([-inf, -1.0, 0.0, inf])
    (gradient,) = gradients(mg.sign(x), np.ones(4), [x])
    np.testing.assert_array_equal(gradient.data, 0)


def test_the_exponent_of_zero():
    """0**b is inf where b < 0, and falls from there; from b = 0 on it is flat."""
    with np.errstate(divide="ignore"):
        agree(lambda b: 0.0**b, lambda b: 0.0**b, [np.array([-1.0, 0.0, 2.0])], np.random.default_rng(0), second=False)


def test_the_mixed_derivative_of_a_power_at_exponent_0():
    """d/db d/dx x**b = x**(b - 1) (1 + b log x), which is 1 / x at b = 0."""
    x, b = leaf([2.0, 4.0]), leaf([0.0, 0.0])
    (slope,) = gradients((x**b).sum(), None, [x], create_graph=True)
    (mixed,) = gradients(slope.sum(), None, [b])
    np.testing.assert_array_equal(mixed.data, [0.5, 0.25])


def test_std_of_a_constant_has_gradient_0():
    """torch's is nan here."""
    for x in (leaf([2.0, 2.0]), leaf([0.1, 0.1, 0.1])):
        (gradient,) = gradients(mg.std(x), None, [x])
        np.testing.assert_allclose(gradient.data, 0, atol=1e-15)


def test_third_derivative_of_prod_is_exact_where_elements_are_zero():
    x = leaf([0.0, 0.0, 0.0, 5.0])
    third = mg.jacobian(mg.hessian(mg.prod))(x).data
    assert third[0, 1, 2] == third[2, 0, 1] == 5.0
    assert third[1, 2, 3] == third[0, 1, 3] == 0.0
    assert np.count_nonzero(third) == 6


def test_fully_masked_rows():
    """-inf everywhere: no weight anywhere, as where a whole row of attention is masked."""
    x = leaf(np.full((2, 3), -inf))
    y = mg.logsumexp(x, axis=1)
    np.testing.assert_array_equal(y.data, [-inf, -inf])
    (gradient,) = gradients(y.sum(), None, [x])
    np.testing.assert_array_equal(gradient.data, 0)


EXTREMES = [-1e4, -745.0, -40.0, 0.0, 40.0, 745.0, 1e4]


@pytest.mark.parametrize(
    "name", ["sigmoid", "softplus", "silu", "tanh", "elu", "gelu", "gelu_tanh", "logsumexp", "softmax", "log_softmax"]
)
def test_extreme_arguments_neither_overflow_nor_lose_their_gradient(name):
    params = {"axis": 0} if CARDS[name].domain is None else {}
    agree(
        lambda x: CARDS[name](x, **params),
        lambda x: TORCH[name](x, **params),
        [np.array(EXTREMES)],
        np.random.default_rng(0),
        second=False,
    )


# ---- bad arguments -------------------------------------------------------------------------------------------------

matrix = mg.ones((2, 3), requires_grad=True)
OUT_OF_RANGE = {
    "flip": lambda: mg.flip(matrix, 5),
    "repeat": lambda: mg.repeat(matrix, 2, 5),
    "take_along_axis": lambda: mg.take_along_axis(matrix, [[0]], 5),
    "norm": lambda: mg.linalg.norm(matrix, axis=5),
    "tensordot": lambda: mg.tensordot(matrix, matrix, (5, 5)),
    "swapaxes": lambda: mg.swapaxes(matrix, 0, 5),
    "split": lambda: mg.split(matrix, 1, 5),
    "sum": lambda: mg.sum(matrix, 5),
    "mean": lambda: mg.mean(matrix, 5),
    "max": lambda: mg.max(matrix, 5),
    "var": lambda: mg.var(matrix, 5),
    "std": lambda: matrix.std(5),
    "prod": lambda: mg.prod(matrix, 5),
    "cumsum": lambda: mg.cumsum(matrix, 5),
    "softmax": lambda: mg.softmax(matrix, 5),
    "log_softmax": lambda: mg.log_softmax(matrix, 5),
    "logsumexp": lambda: mg.logsumexp(matrix, 5),
    "concatenate": lambda: mg.concatenate([matrix], 5),
    "stack": lambda: mg.stack([matrix], 5),
    "expand_dims": lambda: mg.expand_dims(matrix, 5),
    "squeeze": lambda: mg.squeeze(matrix, 5),
    "moveaxis": lambda: mg.moveaxis(matrix, 0, 5),
    "transpose": lambda: mg.transpose(matrix, (0, 5)),
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_an_axis_out_of_range_is_refused(name):
    with pytest.raises((ValueError, IndexError), match=r"axis 5 is out of bounds|axis: axis 5|axes"):
        OUT_OF_RANGE[name]()


REFUSED = [
    (
        lambda: matrix @ matrix,
        ValueError,
        r"matmul\(tensor \(2, 3\), tensor \(2, 3\)\): 3 and 2 differ; the second one "
        r"transposed has shape \(3, 2\) and would fit",
    ),
    (lambda: mg.tensor(1.0, requires_grad=True) @ matrix, ValueError, r"\* multiplies by a number"),
    (lambda: mg.ones((2, 2, 3)) @ mg.ones((3, 3, 2)), ValueError, r"leading axes \(2,\) and \(3,\) do not broadcast"),
    (lambda: matrix + mg.ones(2), ValueError, r"add\(tensor \(2, 3\), tensor \(2,\)\): .*broadcast"),
    (
        lambda: mg.linear(matrix, mg.ones((4, 2)), mg.ones(4)),
        ValueError,
        r"linear\(.*\): the input's last axis has \(3,\) elements, the weight \(2,\)",
    ),
    (lambda: mg.einsum("ij,jk->ik", matrix), ValueError, r'einsum: "ij,jk->ik" has 2 inputs, and 1 were given'),
    (lambda: mg.einsum("ijk->i", matrix), ValueError, r'"ijk" in "ijk->i" does not name the 2 axes of input 0'),
    (lambda: mg.einsum(matrix, [0, 1]), TypeError, r"einsum: write the indices as text"),
    (
        lambda: mg.tensordot(matrix, matrix, 1),
        ValueError,
        r"tensordot: axes \[1\] of \(2, 3\) and axes \[0\] of \(2, 3\) differ in length",
    ),
    (lambda: mg.split(matrix, 2, 1), ValueError, r"split: 3 elements along axis 1 cannot be cut"),
    (lambda: mg.pad(matrix, 1, mode="mirror"), ValueError, r'pad: mode .mirror. is none of "constant"'),
    (lambda: mg.gelu(matrix, "erf"), ValueError, r'gelu: approximate=.erf. is neither "none" nor "tanh"'),
    (lambda: mg.where(matrix.data > 0), TypeError, r"where: it takes a condition and two branches"),
    (lambda: mg.linalg.norm(matrix, 3), ValueError, r"norm: ord=3 of a matrix is none of"),
    (lambda: mg.linalg.norm(matrix, 1, (0, 1, 2)), ValueError, r"out of bounds"),
    (lambda: mg.linalg.norm(mg.ones(2), "fr"), ValueError, r"norm: ord='fr' is for matrices"),
    (lambda: mg.take_along_axis(matrix, [0], 1), ValueError, r"take_along_axis: indices \(1,\)"),
    (lambda: matrix["a"], (TypeError, IndexError), r"getitem\(tensor \(2, 3\)"),
    (lambda: matrix[5], IndexError, r"getitem\(tensor \(2, 3\), key=5\): index 5 is out of bounds"),
    (lambda: matrix.reshape(4, -1), ValueError, r"reshape\(tensor \(2, 3\), shape=\(4, -1\)\): cannot reshape"),
    (lambda: matrix + None, TypeError, r"add\(tensor \(2, 3\), None\)"),
    (lambda: matrix + "a", TypeError, r"an op takes tensors, arrays and numbers, not str 'a'"),
    (lambda: mg.tensor(None), TypeError, r"not NoneType 'None'"),
    (lambda: mg.tensor("a"), TypeError, r"not str 'a'"),
    (lambda: mg.tensor([1.0, [2.0]]), ValueError, r"inhomogeneous"),
    (lambda: mg.tensor([matrix, matrix]), TypeError, r"mg\.stack|would leave the graph"),
    (lambda: mg.sum(matrix, 0, False, 7), TypeError, r"sum"),
    (lambda: mg.exp(matrix, matrix), TypeError, r"exp"),
    (lambda: mg.exp(matrix, foo=1), TypeError, r"exp\(tensor \(2, 3\), foo=1\)"),
    (lambda: mg.add(matrix), TypeError, r"add"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=[r[2][:40] for r in REFUSED])
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
