"""Numbers between ends that are tensors: values against NumPy, gradients against torch's lerp and powers."""

import numpy as np
import pytest
import sympy
from catalogue import OTHERWISE, agree, gradients, leaf, rngs, torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg

some = settings(max_examples=40)
linspace = OTHERWISE["linspace"]
ends = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, min_side=0, max_side=3).map(lambda s: s.input_shapes)


def axis_of_result(draw, shapes):
    n = len(np.broadcast_shapes(*shapes)) + 1
    return draw(st.integers(-n, n - 1))


@some
@given(shapes=ends, num=st.integers(1, 5), endpoint=st.booleans(), data=st.data(), rng=rngs)
def test_linspace(shapes, num, endpoint, data, rng):
    axis = axis_of_result(data.draw, shapes)
    arrays = [rng.standard_normal(s) for s in shapes]
    params = {"endpoint": endpoint, "axis": axis}
    agree(
        lambda a, b: mg.linspace(a, b, num, **params),
        lambda a, b: linspace(*torch.broadcast_tensors(a, b), num, **params),
        arrays,
        rng,
    )
    y = np.linspace(*map(leaf, arrays), num, **params)
    np.testing.assert_array_equal(y.data, np.linspace(*arrays, num, **params))


@some
@given(shapes=ends, num=st.integers(1, 5), endpoint=st.booleans(), data=st.data(), rng=rngs)
def test_logspace_and_geomspace(shapes, num, endpoint, data, rng):
    axis = axis_of_result(data.draw, shapes)
    arrays = [rng.uniform(0.5, 3, s) for s in shapes]
    sign = data.draw(st.sampled_from([1, -1]))
    params = {"endpoint": endpoint, "axis": axis}

    def between(a, b):
        return linspace(*torch.broadcast_tensors(a, b), num, **params)

    agree(lambda a, b: np.logspace(a, b, num, **params), lambda a, b: 10 ** between(a, b), arrays, rng)
    agree(lambda a, b: np.logspace(a, b, num, base=0.5, **params), lambda a, b: 0.5 ** between(a, b), arrays, rng)
    agree(
        lambda a, b: np.geomspace(a * sign, b * sign, num, **params),
        lambda a, b: sign * between(a.log(), b.log()).exp(),
        arrays,
        rng,
    )
    arrays = [sign * x for x in arrays]
    for ours, numpys in ((mg.logspace, np.logspace), (mg.geomspace, np.geomspace)):
        np.testing.assert_allclose(ours(*arrays, num, **params).data, numpys(*arrays, num, **params), rtol=1e-14)


def test_the_base_gets_its_gradient():
    agree(
        lambda base: mg.logspace(0.0, 2.0, 3, base=base),
        lambda base: base ** torch.arange(3.0, dtype=torch.float64),
        [np.array(1.5)],
        np.random.default_rng(0),
    )


def test_ends_are_exact():
    for stop in (1e300, 7.0, 3e-5):
        y = mg.geomspace(0.3, stop, 7).data
        assert (y[0], y[-1]) == (0.3, stop)
    assert mg.linspace(0.1, 0.7, 4).data[-1] == 0.7


def test_nothing_between():
    for f in (mg.linspace, mg.logspace, mg.geomspace):
        a = leaf(np.array(2.0))
        y = f(a, 3.0, 0)
        assert y.shape == (0,)
        np.testing.assert_array_equal(gradients(y, np.zeros(0), [a])[0].data, 0)


def test_dtypes():
    single = leaf(np.array(1.0, np.float32))
    for f in (mg.linspace, mg.logspace, mg.geomspace):
        y = f(single, 2.0, 4)
        assert y.dtype == gradients(y.sum(), None, [single])[0].dtype == np.float32
        assert f(1, 2, 3).dtype == np.float64
        assert f(1, 2, 3, dtype=np.float32).dtype == np.float32
        mg.set_default_dtype(np.float32)
        try:
            assert f(1, 2.0, 3).dtype == np.float32
            assert f(np.array(1.0), 2.0, 3).dtype == np.float64
        finally:
            mg.set_default_dtype(np.float64)
    np.testing.assert_array_equal(mg.linspace(-1, 1, 4, dtype=int).data, np.linspace(-1, 1, 4, dtype=int))
    assert mg.linspace(0, 1, 3, requires_grad=True).requires_grad


def test_symbols():
    a, b = mg.symbols("a b")
    assert mg.linspace(a, b, 3)[1].item() == sympy.expand((a.item() + b.item()) / 2)
    assert mg.linspace(0.1, b, 3, endpoint=False).tolist()[0] == sympy.Rational(1, 10)
    assert sympy.simplify(mg.logspace(a, b, 2, base=2).tolist()[1] - 2 ** b.item()) == 0
    assert mg.full(2, a).tolist() == [a.item()] * 2
    assert mg.full_like([1.0, 2.0], b).tolist() == [b.item()] * 2


def test_full():
    v = leaf(np.array([1.0, 2.0], np.float32))
    y = mg.full((3, 2), v)
    np.testing.assert_array_equal(y.data, np.full((3, 2), v.data))
    np.testing.assert_array_equal(gradients(y, np.arange(6.0).reshape(3, 2), [v])[0].data, [6, 9])
    assert y.dtype == np.float32
    assert mg.full(3, mg.tensor(1.0), dtype=np.float32).dtype == np.float32
    assert mg.full(3, mg.tensor(1.0), requires_grad=True).requires_grad
    like = mg.full_like(mg.zeros((2, 2), dtype=np.float32), mg.tensor(1.5, requires_grad=True))
    assert (like.dtype, like.shape, like.requires_grad) == (np.float32, (2, 2), True)
    assert mg.full_like([1, 2], 7).tolist() == [7, 7]
    with pytest.raises(TypeError, match=r"np\.full_like would cut off the gradient of the value: mg\.full_like"):
        np.full_like(v, v[0])
    np.testing.assert_array_equal(np.full_like(v, 2.0).data, [2, 2])


REFUSED = [
    (lambda t: np.linspace(t, 1.0, retstep=True), TypeError, r"linspace: retstep= is not supported"),
    (lambda t: mg.linspace(t, 1.0, device="gpu"), TypeError, r"linspace: device= is not supported"),
    (lambda t: mg.linspace(t, 1.0, -1), ValueError, r"linspace\(.*num=-1\): Number of samples, -1, must"),
    (lambda t: mg.linspace(t, mg.ones(2)[:, None] * mg.ones(3), axis=5), ValueError, r"axis 5 is out of bounds"),
    (lambda t: mg.geomspace(t, -1.0), ValueError, r"geomspace: neither end may be 0, and both must have one sign"),
    (lambda t: mg.geomspace(t, 0.0), ValueError, r"geomspace: neither end may be 0"),
    (lambda t: mg.logspace(t, 1.0, base=[2.0]), ValueError, r"logspace: the base must be one number, .* \(1,\)"),
    (lambda t: mg.full((2, 2), mg.ones(3)), ValueError, r"broadcast_to\(tensor \(3,\), shape=\(2, 2\)\)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=[r[2][:40] for r in REFUSED])
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call(mg.tensor(1.0, requires_grad=True))
