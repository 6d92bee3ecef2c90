"""Reductions that leave nan out, weighted means, sorting, medians and quantiles: beside torch and NumPy."""

import warnings

import numpy as np
import pytest
from catalogue import agree, axes_of, close, gradients, layouts, leaf, rngs, shapes, spaced, torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minigrad as mg

few, some = settings(max_examples=15), settings(max_examples=40)
full_shapes = array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4)
nan = np.nan


def axes(axis, ndim):
    """The reduced axes, as a tuple."""
    return tuple(range(ndim)) if axis is None else tuple(i % ndim for i in np.atleast_1d(axis).tolist())


def rowwise(f, axis=None, keepdims=False):
    """torch's f of the elements of each row, where a row is what lies along the axes."""

    def reduced(x):
        over = axes(axis, x.ndim)
        kept = [i for i in range(x.ndim) if i not in over]
        rows = x.permute([*kept, *over]).reshape(*[x.shape[i] for i in kept], -1)
        results = [f(r) for r in rows.reshape(-1, rows.shape[-1])]
        y = torch.stack(results) if results else x.sum()[None][:0]
        return y.reshape([1 if i in over else n for i, n in enumerate(x.shape) if keepdims or i not in over])

    return reduced


def quiet(f, *args, **params):
    """NumPy's value, without its warnings of empty rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return f(*args, **params)


# ---- nan left out --------------------------------------------------------------------------------------------------


def of_known(f, nothing):
    """torch's f of the elements that are not nan; nan elements have gradient 0."""

    def known(row):
        here = row[~row.isnan()]
        return f(here) if len(here) else torch.tensor(nothing, dtype=row.dtype) + 0 * row.nan_to_num().sum()

    return known


def _std(row, ddof):
    return row.var(correction=ddof).sqrt() if len(row) > 1 else 0 * row.sum()


LEAVE_OUT = {
    "nansum": (torch.sum, 0.0),
    "nanprod": (torch.prod, 1.0),
    "nanmean": (torch.mean, nan),
    "nanmax": (torch.amax, nan),
    "nanmin": (torch.amin, nan),
    "nanvar": (lambda row, ddof=0: row.var(correction=ddof), nan),
    "nanstd": (lambda row, ddof=0: _std(row, ddof), nan),
    "nanmedian": (lambda row: row.quantile(0.5), nan),
}


def with_nan(rng, shape, share=0.4):
    return np.where(rng.uniform(size=shape) < share, nan, spaced(rng, shape))


@pytest.mark.parametrize("name", LEAVE_OUT)
@some
@given(data=st.data(), shape=full_shapes, keepdims=st.booleans(), rng=rngs, layout=layouts)
def test_nan_is_left_out(name, data, shape, keepdims, rng, layout):
    axis, (f, nothing) = data.draw(axes_of(len(shape))), LEAVE_OUT[name]
    params, x = {"axis": axis, "keepdims": keepdims}, with_nan(rng, shape)
    ours = getattr(mg, name)
    agree(lambda x: ours(x, **params), rowwise(of_known(f, nothing), **params), [x], rng, layout)
    np.testing.assert_allclose(ours(x, **params).data, quiet(getattr(np, name), x, **params), rtol=1e-14)
    t = getattr(np, name)(leaf(x), **params)
    np.testing.assert_array_equal(t.data, ours(x, **params).data)


@pytest.mark.parametrize("name", LEAVE_OUT)
def test_where_all_are_nan_or_none(name):
    """NumPy's value, no warning, and no gradient for what is nan."""
    ours, params = getattr(mg, name), {"axis": 1}
    x = leaf([[nan, nan], [1.0, 3.0], [nan, 2.0]])
    y = ours(x, **params)
    np.testing.assert_array_equal(y.data, quiet(getattr(np, name), x.data, **params))
    (found,) = gradients(y, np.ones(3), [x])
    np.testing.assert_array_equal(found.data[np.isnan(x.data)], 0)
    assert np.isfinite(found.data).all()
    if name not in ("nanmax", "nanmin"):
        empty = np.ones((2, 0))
        np.testing.assert_array_equal(ours(empty, **params).data, quiet(getattr(np, name), empty, **params))
    whole = ours(np.array([[1, 2], [4, 7]]), **params)  # integers have no nan
    np.testing.assert_array_equal(whole.data, getattr(np, name)(np.array([[1, 2], [4, 7]]), **params))
    assert ours(np.float32([1, nan])).dtype == np.float32


@pytest.mark.parametrize("name", ["nanvar", "nanstd"])
@few
@given(shape=array_shapes(min_dims=1, max_dims=2, min_side=2, max_side=5), rng=rngs)
def test_ddof(name, shape, rng):
    x = with_nan(rng, shape, 0.2)
    np.testing.assert_allclose(
        getattr(mg, name)(x, axis=-1, ddof=1).data, quiet(getattr(np, name), x, axis=-1, ddof=1), rtol=1e-13
    )
    assume((np.sum(~np.isnan(x), axis=-1) > 1).all())
    agree(
        lambda x: getattr(mg, name)(x, axis=-1, ddof=1),
        rowwise(lambda row: LEAVE_OUT[name][0](row[~row.isnan()], 1), axis=-1),
        [x],
        rng,
    )


@pytest.mark.parametrize("name", ["nanmax", "nanmin"])
def test_equal_extrema_share_the_gradient(name):
    x = leaf([2.0, nan, 2.0, 2.0, nan])
    (found,) = gradients(getattr(mg, name)(x), 3.0, [x])
    np.testing.assert_array_equal(found.data, [1.0, 0.0, 1.0, 1.0, 0.0])
    x = leaf([-np.inf, nan])  # an infinite one is one, too
    (found,) = gradients(getattr(mg, name)(x), 1.0, [x])
    np.testing.assert_array_equal(found.data, [1.0, 0.0])
    with pytest.raises(ValueError, match=rf"{name}\(array \(2, 0\), axis=1\): zero-size array"):
        getattr(mg, name)(np.ones((2, 0)), axis=1)


# ---- ptp, extrema, variances, averages -----------------------------------------------------------------------------


@some
@given(data=st.data(), shape=full_shapes, keepdims=st.booleans(), rng=rngs, layout=layouts)
def test_ptp(data, shape, keepdims, rng, layout):
    axis = data.draw(axes_of(len(shape)))
    params, x = {"axis": axis, "keepdims": keepdims}, rng.integers(-2, 3, shape).astype(float)
    agree(lambda x: mg.ptp(x, **params), rowwise(lambda r: r.amax() - r.amin(), **params), [x], rng, layout)
    np.testing.assert_array_equal(np.ptp(mg.tensor(x), **params).data, np.ptp(x, **params))


def test_numpys_older_names_of_extrema():
    t = leaf([[1.0, 3.0], [2.0, 0.0]])
    np.testing.assert_array_equal(np.amax(t, axis=0).data, [2.0, 3.0])
    np.testing.assert_array_equal(np.amin(t, axis=1, keepdims=True).data, [[1.0], [0.0]])
    assert np.amax(t).requires_grad


@pytest.mark.parametrize("axis", [None, 0, -1, np.int64(1), (), (0,), (-1, 0), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("name", ["var", "std"])
def test_every_form_of_an_axis(name, axis):
    x = spaced(np.random.default_rng(0), (2, 3, 2))
    for keepdims in (False, True):
        y = getattr(mg, name)(x, axis=axis, keepdims=keepdims)
        np.testing.assert_allclose(y.data, getattr(np, name)(x, axis=axis, keepdims=keepdims), rtol=1e-14)


WEIGHTS = [
    ((3,), None, (3,)),
    ((2, 3), None, (2, 3)),
    ((2, 3), 1, (2, 3)),
    ((2, 3), -1, (3,)),
    ((2, 3, 4), (2, 0), (4, 2)),
    ((2, 3, 4), (0, 1), (2, 3, 4)),
    ((2, 3), (0, 1), (2, 3)),
    ((), None, ()),
]


@pytest.mark.parametrize(("shape", "axis", "weights"), WEIGHTS, ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_average(shape, axis, weights, keepdims):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(shape), rng.uniform(0.5, 2, weights)
    over = axes(axis, len(shape))

    def theirs(x, w):
        if w.shape != x.shape:
            w = w.permute(*np.argsort(over).tolist()).reshape([n if i in over else 1 for i, n in enumerate(shape)])
        w = w.expand(x.shape)
        return (x * w).sum(over, keepdim=keepdims) / w.sum(over, keepdim=keepdims)

    agree(lambda x, w: mg.average(x, axis, w, keepdims=keepdims), theirs, [x, w], rng)
    for ours, numpys in zip(
        np.average(mg.tensor(x), axis, w, True, keepdims=keepdims),
        np.average(x, axis, w, True, keepdims=keepdims),
        strict=True,
    ):
        close(ours, numpys, "values", 1e-14)
    for ours, numpys in zip(mg.average(x, axis, None, True), np.average(x, axis, None, True), strict=True):
        close(ours, numpys, "values", 1e-14)


def test_averages_of_float32_by_a_list():
    assert mg.average(np.float32([1, 2]), weights=[1.0, 2.0]).dtype == np.float32


# ---- sorting -------------------------------------------------------------------------------------------------------


@some
@given(data=st.data(), shape=shapes, rng=rngs, layout=layouts)
def test_sort(data, shape, rng, layout):
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1)) if shape else None
    x = rng.integers(-2, 3, shape).astype(float)  # with equal elements

    def theirs(x):
        return torch.sort(x.reshape(-1) if axis is None else x, dim=0 if axis is None else axis, stable=True).values

    agree(lambda x: mg.sort(x, axis), theirs, [x], rng, layout)
    for params in ({}, {"kind": "stable"}, {"stable": True}):
        np.testing.assert_array_equal(np.sort(leaf(x), axis, **params).data, np.sort(x, axis, **params))


def test_nan_is_sorted_last():
    x = leaf([nan, 2.0, -np.inf, 1.0])
    y = mg.sort(x)
    np.testing.assert_array_equal(y.data, np.sort(x.data))
    (found,) = gradients(y, [1.0, 2.0, 3.0, 4.0], [x])
    np.testing.assert_array_equal(found.data, [4.0, 3.0, 1.0, 2.0])


@some
@given(data=st.data(), shape=array_shapes(max_dims=3, max_side=6), rng=rngs)
def test_partition(data, shape, rng):
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    x = spaced(rng, shape)
    n = x.size if axis is None else shape[axis]
    kth = data.draw(st.integers(-n, n - 1) | st.lists(st.integers(-n, n - 1), min_size=1, max_size=3))
    t = leaf(x)
    y = np.partition(t, kth, axis)
    along, row = axis or 0, y.data
    ordered = np.sort(x, axis)
    for k in np.atleast_1d(kth) % n:
        at = np.take(ordered, [k], along)
        np.testing.assert_array_equal(np.take(row, [k], along), at)
        assert (np.take(row, range(k), along) < at).all()
        assert (np.take(row, range(k + 1, n), along) > at).all()
    (found,) = gradients((y * y).sum(), None, [t])
    np.testing.assert_array_equal(found.data, 2 * x)
    np.testing.assert_array_equal(np.sort(row, along), ordered)


def test_argsort():
    t = leaf([[3.0, 1.0, 2.0], [0.0, 5.0, -1.0]])
    np.testing.assert_array_equal(t.argsort(), [[1, 2, 0], [2, 0, 1]])
    np.testing.assert_array_equal(t.argsort(axis=0), [[1, 0, 1], [0, 1, 0]])
    assert type(t.argsort()) is np.ndarray


# ---- medians and quantiles -----------------------------------------------------------------------------------------


@some
@given(data=st.data(), shape=full_shapes, keepdims=st.booleans(), rng=rngs, layout=layouts)
def test_median(data, shape, keepdims, rng, layout):
    axis = data.draw(axes_of(len(shape)))
    params, x = {"axis": axis, "keepdims": keepdims}, spaced(rng, shape)
    agree(lambda x: mg.median(x, **params), rowwise(lambda r: r.quantile(0.5), **params), [x], rng, layout)
    np.testing.assert_allclose(np.median(mg.tensor(x), **params).data, np.median(x, **params), rtol=1e-14)


levels = st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 0.75, 0.9, 1.0])
TORCHS_METHODS = ["linear", "lower", "higher", "midpoint", "nearest"]
METHODS = [
    *TORCHS_METHODS, "inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf",
    "hazen", "weibull", "median_unbiased", "normal_unbiased",
]  # fmt: skip


@some
@given(
    data=st.data(),
    shape=full_shapes,
    keepdims=st.booleans(),
    q=levels | st.lists(levels, max_size=3),
    method=st.sampled_from(TORCHS_METHODS),
    holes=st.booleans(),
    rng=rngs,
    layout=layouts,
)
def test_quantile(data, shape, keepdims, q, method, holes, rng, layout):
    axis = data.draw(axes_of(len(shape)))
    params = {"axis": axis, "keepdims": keepdims}
    name = "nanquantile" if holes else "quantile"
    x = with_nan(rng, shape) if holes else spaced(rng, shape)

    def theirs(x):
        def at(level):
            f = lambda row: row.quantile(level, interpolation=method)  # noqa: E731
            return rowwise(of_known(f, nan), **params)(x)

        return torch.stack([at(level) for level in q]) if np.ndim(q) and q else at(q) if np.ndim(q) == 0 else None

    if np.ndim(q) == 0 or q:
        agree(lambda x: getattr(mg, name)(x, q, method=method, **params), theirs, [x], rng, layout)
    for suffix, whole in (("quantile", 1), ("percentile", 100)):
        function = name.replace("quantile", suffix)
        levels = np.multiply(q, whole)
        close(
            getattr(np, function)(leaf(x), levels, method=method, **params),
            quiet(getattr(np, function), x, levels, method=method, **params),
            function,
            1e-13,
        )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
@few
@given(n=st.integers(1, 7), q=st.floats(0, 1), rng=rngs)
def test_the_gradient_of_every_method(method, name, n, q, rng):
    """A quantile is linear as long as the order stays, so a difference of NumPy's values is exact but for rounding."""
    x = spaced(rng, (n,))
    if name == "nanquantile":
        x = np.insert(x, 1, nan)
    numpys = getattr(np, name)
    y, found = mg.value_and_grad(lambda x: getattr(mg, name)(x, q, method=method))(x)
    close(y, numpys(x, q, method=method), "value", 1e-13)
    h = 2.0**-6
    rises = [numpys(x + h * e, q, method=method) - numpys(x - h * e, q, method=method) for e in np.eye(len(x))]
    close(found, np.divide(rises, 2 * h), "gradient", 1e-10, 1e-12)


def test_the_halves_of_a_median():
    np.testing.assert_array_equal(mg.grad(mg.median)(np.array([5.0, 1.0, 3.0, 9.0])).data, [0.5, 0, 0.5, 0])
    found = mg.grad(mg.median)(np.array([2.0, 2.0, 2.0, 2.0])).data  # two of equal ones
    np.testing.assert_array_equal(np.sort(found), [0, 0, 0.5, 0.5])


def test_nan_is_what_a_median_is_where_there_is_one():
    x = leaf([[1.0, nan, 2.0], [1.0, 3.0, 2.0]])
    for f in (mg.median, lambda x, axis: mg.quantile(x, 0.3, axis), lambda x, axis: mg.quantile(x, [0, 1], axis)):
        y = f(x, axis=1)
        np.testing.assert_array_equal(np.isnan(y.data), np.broadcast_to([True, False], y.shape))
        (found,) = gradients(y, np.ones(y.shape), [x])
        assert np.isfinite(found.data).all()
        np.testing.assert_array_equal(found.data[0] != 0, [False, True, False])


def test_infinite_neighbours():
    """What has no share has no say."""
    x = np.array([-np.inf, 1.0, 2.0, np.inf])
    np.testing.assert_array_equal(mg.quantile(x, [0, 1 / 3, 0.5, 2 / 3, 1]).data, [-np.inf, 1.0, 1.5, 2.0, np.inf])
    y, found = mg.value_and_grad(lambda x: mg.quantile(x, 0.5))(np.array([1.0, 2.0, np.inf]))
    assert y.item() == 2.0
    np.testing.assert_array_equal(found.data, [0.0, 1.0, 0.0])


def test_no_elements():
    empty = mg.zeros((2, 0))
    for f in (mg.median, mg.nanmedian, lambda x, **p: mg.nanquantile(x, 0.5, **p)):
        np.testing.assert_array_equal(f(empty, axis=1).data, [nan, nan])
        assert f(empty, axis=0).shape == (0,)
    assert mg.quantile(empty, [0.1, 0.2], axis=0).shape == (2, 0)
    with pytest.raises(ValueError, match=r"quantile: of no elements, in an array of shape \(2, 0\), axis=1"):
        mg.quantile(empty, 0.5, axis=1)


@pytest.mark.parametrize("f", [mg.sort, mg.median, mg.nanmedian, mg.ptp, mg.nanmean, mg.nanstd, mg.nanmax])
def test_float32_stays(f):
    x = leaf(np.float32([[1, 3, 2, 5], [4, 0, 2, 1]]))
    y = f(x, axis=1)
    (first,) = gradients(y, np.ones(y.shape, np.float32), [x], create_graph=True)
    assert (y.dtype, first.dtype) == (np.float32, np.float32)
    assert mg.quantile(x, [0.1, 0.7]).dtype == np.float32


# ---- symbols: the order is that at a point -------------------------------------------------------------------------


def test_a_median_of_symbols():
    x = mg.symbols("x", (3,))
    a, b, c = x.data.tolist()
    with mg.symbolic.deciding({a: 3, b: 1, c: 2}) as path:
        y = mg.median(x)
        y.backward()
    assert y.item() == c
    assert x.grad.tolist() == [0, 0, 1]
    assert path
    with pytest.raises(TypeError, match="a symbol has no value"):
        mg.median(x)


# ---- bad arguments -------------------------------------------------------------------------------------------------

matrix = mg.ones((2, 3), requires_grad=True)
REFUSED = [
    (lambda: mg.sort(matrix, kind="bubble"), ValueError, r"sort: kind='bubble' is none of"),
    (lambda: mg.sort(matrix, kind="stable", stable=True), ValueError, r"sort: kind= and stable= say the same"),
    (lambda: mg.sort(matrix, 5), ValueError, r"sort: axis 5 is out of bounds"),
    (lambda: mg.sort(2.0), ValueError, r"sort: axis -1 is out of bounds"),
    (lambda: np.sort(matrix, order="x"), TypeError, r"sort\(\) got an unexpected keyword argument 'order'"),
    (lambda: mg.partition(matrix, 1, kind="sort"), ValueError, r"partition: kind='sort'"),
    (lambda: mg.partition(matrix, 1, 5), ValueError, r"partition: axis 5 is out of bounds"),
    (lambda: mg.partition(matrix, 7), ValueError, r"kth\(=7\) out of bounds"),
    (lambda: mg.median(matrix, 5), ValueError, r"median: axis 5 is out of bounds"),
    (lambda: np.median(matrix, out=np.zeros(())), TypeError, r"median\(\) got an unexpected keyword argument 'out'"),
    (lambda: mg.quantile(matrix, 0.5, (0, 0)), ValueError, r"repeated axis in `quantile`"),
    (lambda: mg.quantile(matrix, 2.0), ValueError, r"Quantiles must be in the range \[0, 1\]"),
    (lambda: mg.quantile(matrix, 0.5, method="guess"), ValueError, r"'guess' is not a valid method"),
    (lambda: mg.quantile(matrix, mg.tensor(0.5, requires_grad=True)), TypeError, r"quantile: no gradient flows to q"),
    (lambda: np.quantile(matrix, 0.5, weights=matrix), TypeError, r"quantile\(\) got an unexpected .*'weights'"),
    (lambda: mg.nanmean(matrix, 5), ValueError, r"axis 5 is out of bounds"),
    (lambda: np.nansum(matrix, dtype=int), TypeError, r"nansum\(\) got an unexpected keyword argument 'dtype'"),
    (lambda: np.nanmax(matrix, initial=0), TypeError, r"nanmax\(.*unexpected keyword argument 'initial'"),
    (lambda: mg.ptp(matrix, 5), ValueError, r"axis 5 is out of bounds"),
    (lambda: mg.average(matrix, weights=[1.0, 2.0]), TypeError, r"average: weights \(2,\) for an array \(2, 3\)"),
    (lambda: mg.average(matrix, 1, [1.0, 2.0]), ValueError, r"weights \(2,\) fit neither .*\(2, 3\) nor .*\(3,\)"),
    (lambda: mg.average(matrix, 0, [1.0, -1.0]), ZeroDivisionError, r"average: the weights add up to 0"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=[r[2][:40] for r in REFUSED])
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
