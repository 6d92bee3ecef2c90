"""Differences, slopes, integrals, interpolation, convolution and covariances, beside torch, jax and NumPy."""

import numpy as np
import pytest
from catalogue import F, agree, close, gradients, layouts, leaf, rngs, shapes, torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minigrad as mg

few, some = settings(max_examples=15), settings(max_examples=40)


def axis_of(data, shape):
    return data.draw(st.integers(-len(shape), len(shape) - 1))


# ---- differences and integrals -------------------------------------------------------------------------------------


@some
@given(data=st.data(), shape=shapes.filter(len), n=st.integers(1, 4), rng=rngs, layout=layouts)
def test_diff(data, shape, n, rng, layout):
    axis = axis_of(data, shape)
    ends = [
        data.draw(st.sampled_from([None, (), tuple(k if i == axis % len(shape) else m for i, m in enumerate(shape))]))
        for k in (1, 2)
    ]
    arrays = [rng.standard_normal(s) for s in (shape, *ends) if s is not None]
    names = [name for name, s in zip(("prepend", "append"), ends, strict=True) if s is not None]

    def theirs(x, *parts):
        one = [1 if i == axis % len(shape) else m for i, m in enumerate(shape)]
        given = {k: v.expand(one) if v.ndim == 0 else v for k, v in zip(names, parts, strict=True)}
        return torch.diff(x, n, axis, **given)

    def ours(x, *parts):
        return mg.diff(x, n, axis, **dict(zip(names, parts, strict=True)))

    agree(ours, theirs, arrays, rng, layout)
    y = np.diff(leaf(arrays[0]), n, axis, **dict(zip(names, arrays[1:], strict=True)))
    np.testing.assert_array_equal(y.data, np.diff(arrays[0], n, axis, **dict(zip(names, arrays[1:], strict=True))))


def test_diff_keeps_numpys_dtypes():
    for a in (np.array([1, 4, 2]), np.array([True, False, False]), np.float32([1, 2, 4])):
        assert mg.diff(a).dtype == np.diff(a).dtype
        np.testing.assert_array_equal(mg.diff(a).data, np.diff(a))
    assert mg.diff(np.float32([1, 2]), prepend=0.5, append=1).dtype == np.float32
    np.testing.assert_array_equal(mg.diff([1.0, 4.0], 0, prepend=7.0).data, np.diff([1.0, 4.0], 0, prepend=7.0))
    assert mg.diff([1, 2], prepend=0.5).tolist() == [0.5, 1.0]


@some
@given(data=st.data(), shape=shapes.filter(len), rng=rngs, layout=layouts)
def test_trapezoid(data, shape, rng, layout):
    axis = axis_of(data, shape)
    np.testing.assert_array_equal(mg.trapezoid(np.ones(shape), axis=axis).data, np.trapezoid(np.ones(shape), axis=axis))
    assume(shape[axis] > 0)  # torch has no gradient then
    y = rng.standard_normal(shape)
    for x in (rng.standard_normal(shape[axis]), rng.standard_normal(shape), np.array(rng.uniform(1, 2))):
        place = "x" if x.ndim else "dx"
        agree(
            lambda y, x, place=place: mg.trapezoid(y, axis=axis, **{place: x}),
            lambda y, x, place=place: (
                torch.trapezoid(
                    y, x.expand(y.shape) if x.ndim == 1 and axis % y.ndim == y.ndim - 1 else _laid(x, axis, y), dim=axis
                )
                if place == "x"
                else torch.trapezoid(y, dim=axis) * x
            ),
            [y, x],
            rng,
            layout,
        )
        numpys = np.trapezoid(y, axis=axis, **{place: x})
        close(np.trapezoid(leaf(y), axis=axis, **{place: x}), numpys, "value", 1e-13)
    close(mg.trapezoid(y, axis=axis), np.trapezoid(y, axis=axis), "value", 1e-13)


def _laid(x, axis, y):
    """Places for every element of y."""
    return x if x.ndim > 1 else x.reshape([-1 if i == axis % y.ndim else 1 for i in range(y.ndim)]).expand(y.shape)


@settings(max_examples=25)
@given(
    data=st.data(),
    shape=array_shapes(max_dims=3, min_side=3, max_side=5),
    edge_order=st.sampled_from([1, 2]),
    rng=rngs,
    layout=layouts,
)
def test_gradient(data, shape, edge_order, rng, layout):
    one = st.integers(-len(shape), len(shape) - 1)
    several = st.lists(one, min_size=1, max_size=len(shape), unique_by=lambda i: i % len(shape)).map(tuple)
    axis = data.draw(st.none() | one | several)
    over = list(range(len(shape))) if axis is None else np.atleast_1d(axis).tolist()
    form = data.draw(st.sampled_from(["none", "one", "numbers", "places"]))
    distances = {
        "none": [],
        "one": [0.75],
        "numbers": [0.5, 0.75, 1.25][: len(over)],  # which torch rounds to float32
        "places": [np.cumsum(rng.uniform(0.5, 2, shape[i])) for i in over],
    }[form]
    f, params = rng.standard_normal(shape), {"axis": axis, "edge_order": edge_order}

    def ours(f, *distances):
        y = mg.gradient(f, *distances, **params)
        return y if isinstance(y, mg.Tensor) else mg.stack(list(y))

    def theirs(f, *distances):
        spacing = {"none": [1.0] * len(over), "one": list(distances) * len(over)}.get(form, list(distances))
        spacing = [s.tolist() if torch.is_tensor(s) and s.ndim == 0 else s for s in spacing]
        y = torch.gradient(f, spacing=spacing, dim=over, edge_order=edge_order)
        return y[0] if len(over) == 1 else torch.stack(list(y))

    if form == "places":  # torch's second derivatives by places are beside the point
        agree(ours, theirs, [f, *distances], rng, layout, second=False)
    agree(lambda f: ours(f, *distances), lambda f: theirs(f, *map(torch.as_tensor, distances)), [f], rng, layout)
    numpys, y = np.gradient(f, *distances, **params), np.gradient(leaf(f), *distances, **params)
    assert isinstance(y, tuple) == isinstance(numpys, tuple)
    for a, b in zip(y if isinstance(y, tuple) else [y], numpys if isinstance(y, tuple) else [numpys], strict=True):
        close(a, b, "value", 1e-12)


def test_gradient_by_the_distance():
    """Slopes by a distance h are -slopes / h."""
    f, h = np.array([1.0, 4.0, 2.0, 3.0]), leaf(0.5)
    y = mg.gradient(f, h, edge_order=2)
    (found,) = gradients(y.sum(), None, [h])
    assert found.item() == pytest.approx(-np.gradient(f, 0.5, edge_order=2).sum() / 0.5, rel=1e-14)


def test_gradient_of_integers_and_few_samples():
    np.testing.assert_array_equal(mg.gradient(np.uint8([3, 1, 2])).data, np.gradient(np.uint8([3, 1, 2])))
    np.testing.assert_array_equal(mg.gradient([1.0, 3.0]).data, [2.0, 2.0])
    assert mg.gradient(1.0) == np.gradient(1.0) == ()
    for y in mg.gradient(np.ones((2, 3), np.float32), 0.5):
        assert y.dtype == np.float32


# ---- interpolation -------------------------------------------------------------------------------------------------


def _interp(x, xp, fp):
    """torch has none: the value of the straight line above x, the first and the last sample outside."""
    j = torch.searchsorted(xp.detach(), x.detach(), right=True).clamp(1, len(xp) - 1)
    share = (x - xp[j - 1]) / (xp[j] - xp[j - 1])
    inner = fp[j - 1] * (1 - share) + fp[j] * share
    return torch.where(x < xp[0], fp[0], torch.where(x > xp[-1], fp[-1], inner))


@some
@given(shape=shapes, n=st.integers(2, 6), rng=rngs, layout=layouts)
def test_interp(shape, n, rng, layout):
    xp, fp = np.cumsum(rng.uniform(0.5, 2, n)), rng.standard_normal(n)
    x = rng.uniform(0, xp[-1] + 1, shape)
    agree(mg.interp, _interp, [x, xp, fp], rng, layout)
    close(np.interp(leaf(x), xp, fp), np.interp(x, xp, fp), "value", 1e-12)
    close(mg.interp(x, xp, fp, -1.0, 2.0), np.interp(x, xp, fp, -1.0, 2.0), "value", 1e-12)
    close(mg.interp(x - 7, xp, fp, period=5.5), np.interp(x - 7, xp, fp, period=5.5), "value", 1e-10, 1e-12)


@pytest.mark.parametrize("period", [None, 3.0])
@few
@given(rng=rngs)
def test_interp_beside_jax(period, rng):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    xp, fp = np.cumsum(rng.uniform(0.1, 0.5, 5)), rng.standard_normal(5)
    x, g = rng.uniform(-4, 4, 5), rng.standard_normal(5)
    theirs = jax.grad(lambda *a: (jax.numpy.interp(*a, period=period) * g).sum(), (0, 1, 2))(x, xp, fp)
    ours = mg.grad(lambda *a: (mg.interp(*a, period=period) * g).sum(), (0, 1, 2))(x, xp, fp)
    for a, b in zip(ours, theirs, strict=True):
        close(a, np.asarray(b), "gradient", 1e-9, 1e-12)


def test_interp_at_the_samples_and_beyond():
    """At a sample the slope is that on the right, at the last one that on the left; outside there is none."""
    xp, fp = np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, -2.0])
    x = np.array([-np.inf, -1.0, 0.0, 1.0, 3.0, 4.0, np.inf])
    y, found = mg.value_and_grad(lambda x: mg.interp(x, xp, fp).sum())(x)
    assert y.item() == np.interp(x, xp, fp).sum()
    np.testing.assert_array_equal(found.data, [0, 0, 2, -2, -2, 0, 0])
    for found in gradients(mg.interp(x, *(leaves := [leaf(xp), leaf(fp)])), np.ones(7), leaves):
        assert np.isfinite(found.data).all()
    left, right = leaf(5.0), leaf(7.0)
    y = mg.interp(x, xp, fp, left, right)
    np.testing.assert_array_equal(y.data, np.interp(x, xp, fp, 5.0, 7.0))
    assert [g.item() for g in gradients(y.sum(), None, [left, right])] == [2.0, 2.0]
    assert np.isnan(mg.interp(np.nan, xp, fp).item())


def test_interp_of_one_sample_and_of_equal_places():
    for x in (0.0, 1.0, 2.0):
        assert mg.interp(x, [1.0], [5.0], -1.0, 9.0).item() == np.interp(x, [1.0], [5.0], -1.0, 9.0)
    xp, fp = [0.0, 1.0, 1.0, 2.0, 2.0], [0.0, 1.0, 5.0, 6.0, 8.0]
    for x in (0.0, 0.5, 1.0, 1.5, 2.0):
        assert mg.interp(x, xp, fp).item() == np.interp(x, xp, fp)


# ---- convolution ---------------------------------------------------------------------------------------------------

MODES = st.sampled_from(["full", "same", "valid"])


def _convolve(a, v, mode="full"):
    if len(v) > len(a):
        a, v = v, a
    pad = 0 if mode == "valid" else len(v) - 1
    y = F.conv1d(a[None, None], v.flip(0)[None, None], padding=pad)[0, 0]
    return y[(len(v) - 1) // 2 :][: len(a)] if mode == "same" else y


@some
@given(n=st.integers(1, 6), m=st.integers(1, 6), mode=MODES, rng=rngs, layout=layouts)
def test_convolve(n, m, mode, rng, layout):
    arrays = [rng.standard_normal(n), rng.standard_normal(m)]
    agree(lambda a, v: mg.convolve(a, v, mode), lambda a, v: _convolve(a, v, mode), arrays, rng, layout)
    close(np.convolve(leaf(arrays[0]), arrays[1], mode), np.convolve(*arrays, mode), "value", 1e-13)


@some
@given(n=st.integers(1, 6), m=st.integers(1, 6), mode=MODES, rng=rngs, layout=layouts)
def test_correlate(n, m, mode, rng, layout):
    arrays = [rng.standard_normal(n), rng.standard_normal(m)]

    def theirs(a, v):
        return _convolve(v, a.flip(0), mode).flip(0) if len(v) > len(a) else _convolve(a, v.flip(0), mode)

    agree(lambda a, v: mg.correlate(a, v, mode), theirs, arrays, rng, layout)
    close(np.correlate(leaf(arrays[0]), arrays[1], mode), np.correlate(*arrays, mode), "value", 1e-13)


def test_convolving_with_a_number():
    np.testing.assert_array_equal(mg.convolve(2.0, [1.0, 3.0]).data, np.convolve(2.0, [1.0, 3.0]))


# ---- covariances ---------------------------------------------------------------------------------------------------


@some
@given(
    shape=array_shapes(min_dims=1, max_dims=2, min_side=3, max_side=5),
    second=st.booleans(),
    rowvar=st.booleans(),
    correction=st.sampled_from([0, 1]),
    rng=rngs,
    layout=layouts,
)
def test_cov_and_corrcoef(shape, second, rowvar, correction, rng, layout):
    arrays = [rng.standard_normal(shape) for _ in range(1 + second)]

    def joined(*parts):
        parts = [x[None] if x.ndim == 1 else x if rowvar else x.T for x in parts]
        return torch.cat(parts)

    extra = [] if second else [None]
    agree(
        lambda *xs: mg.cov(*xs, *extra, rowvar, ddof=correction),
        lambda *xs: torch.cov(joined(*xs), correction=correction),
        arrays,
        rng,
        layout,
    )
    close(np.cov(*map(leaf, arrays), *extra, rowvar), np.cov(*arrays, *extra, rowvar), "value", 1e-13)
    close(mg.cov(*arrays, *extra, rowvar, True), np.cov(*arrays, *extra, rowvar, True), "value", 1e-13)
    agree(lambda *xs: mg.corrcoef(*xs, *extra, rowvar), lambda *xs: torch.corrcoef(joined(*xs)), arrays, rng, layout)
    close(np.corrcoef(*map(leaf, arrays), *extra, rowvar), np.corrcoef(*arrays, *extra, rowvar), "value", 1e-12)


# ---- symbols -------------------------------------------------------------------------------------------------------


def test_convolution_and_slopes_write_formulas():
    a, v = mg.symbols("a", (2,)), mg.symbols("v", (2,))
    (a0, a1), (v0, v1) = a.data.tolist(), v.data.tolist()
    y = mg.convolve(a, v)
    assert y.tolist() == [a0 * v0, a0 * v1 + a1 * v0, a1 * v1]
    y.sum().backward()
    assert a.grad.tolist() == [v0 + v1, v0 + v1]
    assert mg.diff(a).tolist() == [a1 - a0]
    assert mg.trapezoid(a, v).item().expand() == ((a0 + a1) * (v1 - v0) / 2).expand()


def test_float32_stays():
    x = leaf(np.float32([1, 3, 2, 5]))
    for f in (mg.diff, mg.trapezoid, mg.gradient, lambda x: mg.convolve(x, x), mg.cov,
              lambda x: mg.interp(x, np.float32([0, 4]), x[:2])):  # fmt: skip
        y = f(x)
        (first,) = gradients(y, np.ones(y.shape, np.float32), [x], create_graph=True)
        assert (y.dtype, first.dtype) == (np.float32, np.float32)


# ---- bad arguments -------------------------------------------------------------------------------------------------

matrix = mg.ones((2, 3), requires_grad=True)
REFUSED = [
    (lambda: mg.diff(matrix, -1), ValueError, r"diff: n=-1; it is how often"),
    (lambda: mg.diff(1.0), ValueError, r"diff: a number has no axis"),
    (lambda: mg.diff(matrix, axis=5), ValueError, r"diff: axis 5 is out of bounds"),
    (lambda: mg.diff(matrix, prepend=np.ones((3, 1))), ValueError, r"concatenate\("),
    (lambda: mg.trapezoid(matrix, axis=5), ValueError, r"trapezoid: axis 5 is out of bounds"),
    (lambda: mg.trapezoid(1.0), ValueError, r"trapezoid: axis -1 is out of bounds"),
    (lambda: mg.trapezoid(matrix, [1.0, 2.0]), ValueError, r"trapezoid: 2 places for 3 samples along axis 1"),
    (lambda: mg.gradient(matrix, edge_order=3), ValueError, r"gradient: edge_order=3 is neither 1 nor 2"),
    (lambda: mg.gradient(matrix, edge_order=2), ValueError, r"gradient: 2 samples along axis 0; edge_order=2 needs 3"),
    (lambda: mg.gradient(matrix, 1.0, 2.0, 3.0), TypeError, r"gradient: 3 distances for 2 axes"),
    (lambda: mg.gradient(matrix, [0.0, 1.0]), TypeError, r"gradient: 1 distances for 2 axes"),
    (lambda: mg.gradient(matrix, [0.0, 1.0], axis=1), ValueError, r"gradient: places \(2,\) for 3 samples"),
    (lambda: mg.gradient(matrix, axis=5), ValueError, r"gradient: axis 5 is out of bounds"),
    (lambda: mg.interp(1.0, [], []), ValueError, r"interp: places \(0,\) and samples \(0,\) must be two rows"),
    (lambda: mg.interp(1.0, [1.0, 2.0], [1.0]), ValueError, r"interp: places \(2,\) and samples \(1,\)"),
    (lambda: mg.interp(1.0, [2.0, 1.0], [1.0, 2.0]), ValueError, r"interp: the places xp must ascend"),
    (lambda: mg.interp(1.0, [1.0, 2.0], [1.0, 2.0], period=0), ValueError, r"interp: period=0"),
    (lambda: mg.convolve(matrix, matrix), ValueError, r"convolve: \(2, 3\) and \(2, 3\): it takes two rows"),
    (lambda: mg.correlate([], [1.0]), ValueError, r"correlate: \(0,\) and \(1,\): it takes two rows, neither empty"),
    (lambda: mg.convolve([1.0], [1.0], "whole"), ValueError, r"convolve: mode='whole' is none of"),
    (lambda: mg.cov(np.ones((2, 2, 2))), ValueError, r"cov: an array \(2, 2, 2\) has more"),
    (lambda: mg.cov(1.0), ValueError, r"cov: 1 observations leave 0 to divide by"),
    (lambda: mg.cov([1.0, 2.0], [1.0, 2.0, 3.0]), ValueError, r"cov: 2 observations in m, and 3 in y"),
    (lambda: np.cov(matrix, fweights=[1, 2, 3]), TypeError, r"cov\(\) got an unexpected keyword argument 'fweights'"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=[r[2][:40] for r in REFUSED])
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
