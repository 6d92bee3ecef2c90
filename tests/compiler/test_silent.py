"""Where a compiled function could do something else than the function itself, without a word."""

import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler import CaptureError
from minigrad.tensor import Tensor

X = np.array([1.0, -2.0, 3.0])


# ---- other threads ---------------------------------------------------------------------------------------------------


def elsewhere(work):
    """What a function returns in another thread, or the exception that it raises there."""
    found = []

    def run():
        try:
            found.append(work())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    return found[0]


def test_other_threads_see_nothing_of_a_capture():
    w, other = mg.tensor(X, requires_grad=True), mg.tensor(2 * X)
    seen = []

    def work():
        """Reads, a graph, a gradient, and changes of both kinds."""
        loss = (mg.tanh(w) * other).sum()
        loss.backward()
        gradient, w.grad = w.grad, None
        other.data[0] += 1
        other.data = other.data * 1
        return type(w.data), w.tolist(), loss.item(), gradient.numpy()

    def f(x):
        y = x * w + other  # both are traced by now
        seen.append(elsewhere(work))
        return y

    result = mg.compile(f)(X)
    np.testing.assert_array_equal(result.data, X * X + other.data)  # as it was when the native code ran
    kind, values, loss, gradient = seen[0]
    assert kind is np.ndarray
    assert values == X.tolist()
    np.testing.assert_allclose(loss, np.sum(np.tanh(X) * 2 * X), 1e-15)
    np.testing.assert_allclose(gradient, (1 - np.tanh(X) ** 2) * 2 * X, 1e-12)
    assert other.tolist() == [3.0, -4.0, 6.0]
    assert type(vars(Tensor)["_data"]).__name__ == "member_descriptor"  # all is as it was


def test_threads_may_capture_at_the_same_time():
    w, both, results = mg.tensor(X), threading.Barrier(2, timeout=60), {}

    def work(factor):
        def f(x):
            y = w * x
            both.wait()
            w.data = w.data * factor  # of which the other capture sees nothing
            both.wait()
            y = y * w
            w.data = w.data / factor
            return y

        results[factor] = mg.compile(f)(X)

    threads = [threading.Thread(target=work, args=(k,)) for k in (2.0, 3.0)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    for k in (2.0, 3.0):
        np.testing.assert_allclose(results[k].data, k * X**3, 1e-15)


def test_work_that_a_function_gives_to_other_threads_is_refused():
    w = mg.tensor(X)

    def argument(x):
        return raised(elsewhere(lambda: x * 2))

    def outside(x):
        return x + raised(elsewhere(lambda: w * 2))

    def raised(result):
        if isinstance(result, Exception):
            raise result
        return result

    with pytest.raises(CaptureError, match=r"test_silent.py:\d+: a value .* is used in another thread"):
        mg.compile(argument)(X)
    with pytest.raises(CaptureError, match=r"test_silent.py:\d+: a tensor is used that another thread has made"):
        mg.compile(outside)(X)


def test_flags_of_tensors_outside():
    w = mg.tensor(X)

    def f(x):
        w.requires_grad_()
        return x * w

    with pytest.raises(CaptureError, match="requires_grad_.* would take effect once only: call it before"):
        mg.compile(f)(X)
    assert not w.requires_grad


# ---- code that looks at what it is given -----------------------------------------------------------------------------


def swallowing(x):
    try:
        return x * float(x.sum())
    except Exception:
        return x * 0


SWALLOWED = {
    "float": swallowing,
    "hasattr": lambda x: x * 2 if hasattr(x.data if isinstance(x, Tensor) else x, "partition") else x,
    "getattr": lambda x: getattr(x.data if isinstance(x, Tensor) else x, "byteswap", lambda: 3)() * x,
}


@pytest.mark.parametrize("wrap", [mg.tensor, np.array], ids=["tensor", "array"])
@pytest.mark.parametrize("name", SWALLOWED)
def test_errors_of_a_capture_that_the_function_catches(name, wrap):
    with pytest.raises(CaptureError, match=r"test_silent.py:\d+: "):
        mg.compile(SWALLOWED[name])(wrap(X))


def test_errors_that_are_not_about_the_capture_may_be_caught():
    def f(x):
        try:
            return x @ np.ones(7)
        except ValueError:
            return mg.linalg.expm(mg.outer(x, x))  # one piece, since SciPy's code looks at values

    np.testing.assert_allclose(mg.compile(f)(X / 4).data, f(X / 4).data, 1e-12)


def kinds(x, t, scale):
    asked = isinstance(x, np.ndarray), isinstance(t.data, np.ndarray), isinstance(scale, float), isinstance(x, float)
    asked += isinstance(np.sum(x), np.floating), isinstance(np.sum(x), float), isinstance(scale * 2, float)
    return x * np.array([2.0**-i * a for i, a in enumerate(asked)]).sum() + t + mg.linspace(0.0, scale, 3)


def test_isinstance_says_what_it_would_say_of_arrays():
    ours = mg.compile(kinds)(X, mg.tensor(X), 0.5)
    np.testing.assert_allclose(ours.data, kinds(X, mg.tensor(X), 0.5).data, 1e-15)
    mg.set_default_dtype(np.float32)
    try:
        assert mg.compile(lambda p: mg.linspace(0.0, p, 3))(0.5).dtype == np.float32
    finally:
        mg.set_default_dtype(np.float64)
