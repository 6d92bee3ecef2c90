"""Scans beside torch's: running sums, products, extrema, and the recurrence that their gradients are."""

import tracemalloc

import numpy as np
import pytest
from catalogue import TORCH, agree, close, gradients, layouts, leaf, rngs, shapes, torch
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg

few, some = settings(max_examples=15), settings(max_examples=40)
inf, nan = np.inf, np.nan


def axis_of(data, shape):
    return data.draw(st.none() | st.integers(-len(shape), len(shape) - 1)) if shape else None


def with_zeros(rng, shape):
    return rng.uniform(0.5, 2, shape) * rng.choice([-1, 0, 1, 1], shape)


def with_ties(rng, shape):
    return rng.integers(-2, 3, shape).astype(float)


SCANS = {
    "cumprod": (np.cumprod, with_zeros),
    "cummax": (np.maximum.accumulate, with_ties),
    "cummin": (np.minimum.accumulate, with_ties),
    "logcumsumexp": (np.logaddexp.accumulate, lambda rng, shape: rng.uniform(-3, 3, shape)),
}


@pytest.mark.parametrize("name", SCANS)
@some
@given(data=st.data(), shape=shapes, rng=rngs, layout=layouts)
def test_scans(name, data, shape, rng, layout):
    axis, (numpy, values) = axis_of(data, shape), SCANS[name]
    x = values(rng, shape)
    agree(lambda x: getattr(mg, name)(x, axis=axis), lambda x: TORCH[name](x, axis), [x], rng, layout)
    flat = x.reshape(-1) if axis is None else x
    np.testing.assert_array_equal(getattr(mg, name)(x, axis).data, numpy(flat, axis=axis or 0))


@pytest.mark.parametrize("name", SCANS)
def test_a_number_has_one_element_to_run_along(name):
    for axis in (None, 0, -1):
        np.testing.assert_array_equal(getattr(mg, name)(2.0, axis).data, [2.0])
        y, x = mg.value_and_grad(lambda x, axis=axis: getattr(mg, name)(x, axis).sum())(mg.tensor(2.0))
        assert (y.item(), x.item()) == (2.0, 1.0)


@pytest.mark.parametrize("x", [[0.0, 0.0, 3.0, 0.0, 2.0], [2.0, 0.0, 3.0], [0.0]], ids=str)
def test_cumprod_is_exact_where_elements_are_zero(x):
    agree(mg.cumprod, lambda x: torch.stack([x[: i + 1].prod() for i in range(len(x))]), [np.array(x)],
          np.random.default_rng(0))  # fmt: skip


def test_the_third_derivative_of_cumprod_is_exact_where_elements_are_zero():
    third = mg.jacobian(mg.hessian(lambda x: mg.cumprod(x)[-1]))(np.array([0.0, 0.0, 0.0, 5.0])).data
    assert third[0, 1, 2] == third[2, 0, 1] == 5.0
    assert third[1, 2, 3] == third[0, 1, 3] == 0.0
    assert np.count_nonzero(third) == 6


@pytest.mark.parametrize("name", ["cummax", "cummin"])
@pytest.mark.parametrize("x", [[1.0, 1.0, 0.0, 1.0], [1.0, nan, 2.0, nan, 0.0], [nan], [inf, inf], [-inf, -inf, 0.0]])
def test_the_latest_of_equal_extrema_gets_the_gradient(name, x):
    agree(getattr(mg, name), lambda x: getattr(torch, name)(x, 0).values, [np.array(x)], np.random.default_rng(0))


ENDS = [[1000.0, 1001.0, -1000.0], [-inf, -inf, 0.0, -inf, 1.0], [-inf, -inf], [-1e4, 1e4, -1e4], [-745.0, -746.0, 745]]


@pytest.mark.parametrize("x", ENDS, ids=str)
def test_logcumsumexp_at_the_ends(x):
    t, g = leaf(x), np.arange(1.0, len(x) + 1)
    y = mg.logcumsumexp(t)
    close(y, torch.logcumsumexp(torch.tensor(x, dtype=torch.float64), 0), "value", 1e-13)
    (found,) = gradients(y, g, [t])  # torch's is nan where all so far are -inf, which have no weight
    expected = [sum(g[k] * np.exp(a - y.data[k]) for k in range(j, len(x)) if a > -inf) for j, a in enumerate(x)]
    close(found, expected, "gradient")


# ---- the recurrence ------------------------------------------------------------------------------------------------


@some
@given(data=st.data(), shape=shapes.filter(len), reverse=st.booleans(), rng=rngs, layout=layouts)
def test_recurrence(data, shape, reverse, rng, layout):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    agree(
        lambda a, b: mg.ops.recurrence(a, b, axis, reverse),
        lambda a, b: TORCH["recurrence"](a, b, axis, reverse),
        [rng.standard_normal(shape), rng.standard_normal(shape)],
        rng,
        layout,
    )


@few
@given(n=st.integers(60, 400), rest=st.sampled_from([(), (2,), (2, 3), (0,)]), reverse=st.booleans(), rng=rngs)
def test_long_recurrences_go_in_blocks(n, rest, reverse, rng):
    a, b = rng.uniform(-1.2, 1.2, (n, *rest)), rng.standard_normal((n, *rest))
    expected = np.zeros_like(b)
    last = 0
    for i in range(n)[:: -1 if reverse else 1]:
        last = expected[i] = b[i] + (0 if np.isscalar(last) else a[i + 1 if reverse else i] * last)
        last = np.asarray(last)
    close(mg.ops.recurrence(a, b, 0, reverse), expected, "value", 1e-12)
    single = mg.ops.recurrence(a.astype(np.float32), b.astype(np.float32), 0, reverse)
    assert single.dtype == np.float32


def test_what_overflows_in_a_block_does_not_spoil_what_gets_nothing():
    a, b = np.full(100, 1e200), np.zeros(100)
    np.testing.assert_array_equal(mg.ops.recurrence(a, b).data, b)


def test_recurrence_of_two_shapes_is_refused():
    with pytest.raises(ValueError, match=r"recurrence\(array \(2,\), array \(3,\)\): the two shapes differ"):
        mg.ops.recurrence(np.ones(2), np.ones(3))


@pytest.mark.parametrize("name", SCANS)
def test_memory_is_proportional_to_the_array(name):
    x = mg.tensor(np.random.default_rng(0).uniform(0.9, 1.1, 20000), requires_grad=True)
    tracemalloc.start()
    getattr(mg, name)(x).sum().backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * x.data.nbytes


# ---- the array API's names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
@some
@given(data=st.data(), shape=shapes, initial=st.booleans(), rng=rngs)
def test_cumulative(name, data, shape, initial, rng):
    axis = axis_of(data, shape) if len(shape) < 2 else data.draw(st.integers(-len(shape), len(shape) - 1))
    scan = torch.cumsum if name == "cumulative_sum" else torch.cumprod

    def theirs(x):
        y = scan(x.reshape(1) if x.ndim == 0 else x, axis or 0)
        one = [1 if i == (axis or 0) % y.ndim else n for i, n in enumerate(y.shape)]
        start = y.new_full(one, scan is torch.cumprod)
        return torch.cat([start, y], axis or 0) if initial else y

    x = rng.uniform(0.5, 2, shape)
    agree(lambda x: getattr(mg, name)(x, axis=axis, include_initial=initial), theirs, [x], rng)
    y = getattr(np, name)(mg.tensor(x), axis=axis, include_initial=initial)
    assert isinstance(y, mg.Tensor)
    np.testing.assert_array_equal(y.data, getattr(np, name)(x, axis=axis, include_initial=initial))


def test_without_an_axis_for_several_is_refused():
    with pytest.raises(ValueError, match=r"cumulative_sum: an array \(2, 3\) has several axes"):
        mg.cumulative_sum(np.ones((2, 3)))


@pytest.mark.parametrize("name", [*SCANS, "cumsum"])
def test_an_axis_out_of_range_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name}\(array \(2, 3\), axis=5\): axis 5 is out of bounds"):
        getattr(mg, name)(np.ones((2, 3)), axis=5)


def test_methods_and_numpys_functions():
    t = mg.tensor([[1.0, 2.0], [3.0, 4.0]])
    for y in (t.cumprod(axis=1), np.cumprod(t, axis=1), np.cumprod(t, 1)):
        assert isinstance(y, mg.Tensor)
        np.testing.assert_array_equal(y.data, [[1.0, 2.0], [3.0, 12.0]])
    for name in ("cumsum", "cumprod"):
        with pytest.raises(TypeError, match=rf"{name}\(.*unexpected keyword argument 'dtype'"):
            getattr(np, name)(t, dtype=np.float32)


@pytest.mark.parametrize("name", SCANS)
def test_float32_stays(name):
    for n in (5, 200):
        x = leaf(np.linspace(0.5, 1.5, n).astype(np.float32))
        y = getattr(mg, name)(x)
        assert y.dtype == np.float32
        (first,) = gradients(y, np.ones(n, np.float32), [x], create_graph=True)
        assert first.dtype == np.float32
