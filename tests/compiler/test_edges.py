"""What vectors, threads and free orders of terms must not change."""

import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad import parallel
from minigrad.compiler import CaptureError


@pytest.mark.parametrize("shape", [(50_000,), (1, 50_000), (50_000, 1)])
def test_what_is_made_of_one_long_row_is_made_of_all_of_it(monkeypatch, shape):
    monkeypatch.setattr(parallel, "threads", lambda: 2)

    def f(x):
        return np.sum(x), np.max(np.tanh(x)), np.exp(x - np.max(x)).sum(), x / np.sqrt(np.sum(x * x))

    x, rng = np.linspace(-1, 3, 50_000).reshape(shape), np.random.default_rng(0)
    ours = mg.compile(f)
    for _ in range(20):
        x = rng.permutation(x.ravel()).reshape(shape)
        for a, b in zip(ours(x), f(x), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11)


def test_only_the_terms_of_sums_may_change_places():
    """In a block with a sum, what is beside it is computed as it is written."""

    def f(x, y):
        u = 1 + y
        return np.sum((x + 1e16) - 1e16), np.sum((x + np.inf) - np.inf), np.sum(np.log(u) * y / (u - 1)) / y.sum()

    with np.errstate(invalid="ignore"):
        zero, nothing, log1p = mg.compile(f)(np.full(64, 0.3), np.full(64, 1e-9))
    assert zero == 0
    assert np.isnan(nothing)
    np.testing.assert_allclose(log1p, np.log1p(1e-9) / 1e-9, rtol=1e-12)


def test_zeros_keep_their_signs():
    ours = mg.compile(lambda x: (1 / (x + 0.0), 1 / (0.0 - x), 1 / np.maximum(x, 0.0)))
    with np.errstate(divide="ignore"):
        for x in (np.array([1.0, 2.0]), np.array([-0.0, 0.0])):
            for a, b in zip(ours(x), (1 / (x + 0.0), 1 / (0.0 - x), 1 / np.maximum(x, 0.0)), strict=True):
                np.testing.assert_array_equal(a, b)


def test_a_loop_may_begin_with_a_number():
    def f(p):
        return mg.scan(lambda c, x: (c * 1.5 + x, mg.sort(c + x * np.ones(2))), 0.0, p)

    x = np.array([1.0, 2.0, 3.0])
    (last, ys), (right, theirs) = mg.compile(f)(x), f(x)
    assert last.item() == right.item()
    np.testing.assert_array_equal(ys.data, theirs.data)


@pytest.mark.parametrize("start", [lambda a, b: a @ b, lambda a, b: mg.tanh(a @ b), lambda a, b: mg.tanh(a) @ b * 2])
def test_a_loop_over_narrow_matrices(start):
    """Which lie column by column elsewhere."""

    def f(a, b, xs):
        first = start(a, b)
        return mg.scan(lambda c, x: (c * 0.5 + x + x @ (first.T @ first), mg.sum(c)), first, mg.tanh(first) * xs)

    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) / 8 for shape in ((32, 20), (20, 4), (5, 32, 4))]
    (last, ys), (right, theirs) = mg.compile(f)(*arrays), f(*arrays)
    np.testing.assert_allclose(last.data, right.data, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ys.data, theirs.data, rtol=1e-10, atol=1e-12)


def test_indices_in_a_list_are_not_those_in_a_tuple():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(mg.compile(lambda x: x[0, 1] * x[[0, 1]])(x), x[0, 1] * x[[0, 1]])


def test_draws_of_other_generators_are_refused():
    with pytest.raises(CaptureError, match=r"drawn from numpy\.random, .*draw them by mg\.random"):
        mg.compile(lambda x: x * np.random.normal())(np.ones(3))  # noqa: NPY002


def test_an_attribute_of_a_layer_is_noticed():
    dropout = mg.nn.Dropout(0.5)
    ours = mg.compile(lambda x: dropout(x))
    x = np.ones(1000)
    assert 300 < np.count_nonzero(ours(x)) < 700
    dropout.p = 0.0
    assert np.count_nonzero(ours(x)) == 1000


def test_threads_may_share_a_function():
    ours, wrong = mg.compile(lambda x: np.exp(x * 0) + x), []

    def call(k):
        x = np.full(60_000, float(k))
        wrong.extend(k for _ in range(30) if not (ours(x) == 1 + k).all())

    ours(np.ones(60_000))
    threads = [threading.Thread(target=call, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert not any(t.is_alive() for t in threads)
    assert wrong == []


def test_complex_numbers_are_left_to_python():
    x = np.array([1.0, 2.0, -0.5])
    for f in (lambda x: np.abs(np.fft.fft(np.tanh(x))), lambda x: np.real(np.exp(x * 1j)), lambda x: x * (1 + 2j)):
        compiled = mg.compile(f)
        for given in x, 3 * x:
            np.testing.assert_allclose(compiled(given).data, f(given), rtol=1e-12, atol=1e-12)


def test_texts_times_and_objects_are_left_to_python():
    for x in (np.array(["a", "b"]), np.array([1, None], object), np.array(["2020-01-01", "NaT"], "datetime64[D]")):
        f = lambda x: (x[::-1], np.equal(x, x[::-1]), np.stack([x, x]))  # noqa: E731
        compiled = mg.compile(f)
        for given in (x, x[::-1]):
            for ours, right in zip(compiled(given), f(given), strict=True):
                np.testing.assert_array_equal(ours, right)


@pytest.mark.parametrize("f", [None, 3, mg.nn.Linear])
def test_what_is_no_function_is_refused(f):
    with pytest.raises(TypeError, match="compile: give a function of tensors, or a model, not (None|3|the class Lin)"):
        mg.compile(f)


@pytest.mark.parametrize("x", [np.ma.masked_array([1.0, 2.0], [0, 1]), np.eye(2).view(np.matrix)])
def test_arrays_with_arithmetic_of_their_own_are_refused(x):
    with pytest.raises(TypeError, match="is a (MaskedArray|matrix), whose arithmetic is not that of arrays"):
        mg.compile(lambda x: x * x)(x)
