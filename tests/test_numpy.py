"""NumPy's own functions and operators on tensors: differentiated, or refused with a sentence, never quietly cut off."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.tensor import Tensor

A = np.array([[0.3, 1.2], [0.8, 0.5]])

# The same code on an array and on a tensor.
CALLS = {
    "np.exp": np.exp,
    "np.abs": np.abs,
    "np.sqrt": np.sqrt,
    "np.power": lambda t: np.power(t, 2),
    "np.add": lambda t: np.add(1.0, t),
    "np.maximum": lambda t: np.maximum(t, 0.6),
    "np.mean": lambda t: np.mean(t, axis=0),
    "np.sum": np.sum,
    "np.sum keepdims": lambda t: np.sum(t, 1, keepdims=True),
    "np.prod": lambda t: np.prod(t, axis=-1),
    "np.max": lambda t: np.max(t, axis=1),
    "np.min": np.min,
    "np.var": lambda t: np.var(t, axis=0, ddof=1),
    "np.std": np.std,
    "np.cumsum": lambda t: np.cumsum(t, axis=0),
    "np.where": lambda t: np.where(t > 0.6, t, 0.0),
    "np.clip": lambda t: np.clip(t, 0.4, 1.0),
    "np.clip by keywords": lambda t: np.clip(t, a_min=0.4, a_max=1.0),
    "np.concatenate": lambda t: np.concatenate([t, A], axis=1),
    "np.stack": lambda t: np.stack([t, t * 2]),
    "np.split": lambda t: np.split(t, 2)[1],
    "np.reshape": lambda t: np.reshape(t, (4,)),
    "np.ravel": np.ravel,
    "np.transpose": np.transpose,
    "np.swapaxes": lambda t: np.swapaxes(t, 0, 1),
    "np.moveaxis": lambda t: np.moveaxis(t, 0, 1),
    "np.expand_dims": lambda t: np.expand_dims(t, 0),
    "np.squeeze": lambda t: np.squeeze(t[None]),
    "np.broadcast_to": lambda t: np.broadcast_to(t, (3, 2, 2)),
    "np.flip": lambda t: np.flip(t, 0),
    "np.repeat": lambda t: np.repeat(t, 2, axis=0),
    "np.tile": lambda t: np.tile(t, (2, 1)),
    "np.pad": lambda t: np.pad(t, 1),
    "np.take_along_axis": lambda t: np.take_along_axis(t, np.array([[1], [0]]), 1),
    "np.matmul": lambda t: np.matmul(A, t),
    "np.dot": lambda t: np.dot(t, A),
    "np.outer": lambda t: np.outer(t, [1.0, 2.0]),
    "np.einsum": lambda t: np.einsum("ij,kj->ik", A, t),
    "np.tensordot": lambda t: np.tensordot(t, A, 1),
    "np.linalg.norm": np.linalg.norm,
    "np.linalg.norm axis": lambda t: np.linalg.norm(t, 1, axis=0),
    "np.add.reduce": lambda t: np.add.reduce(t, axis=1),
    "np.maximum.reduce": np.maximum.reduce,
    "array @ t": lambda t: A @ t,
    "array * t": lambda t: A * t,
    "array - t": lambda t: A - t,
    "array / t": lambda t: A / t,
    "array ** t": lambda t: A**t,
    "np.float64 * t": lambda t: np.float64(2.0) * t,
    "np.int64 + t": lambda t: np.int64(2) + t,
    "list + t": lambda t: [1.0, 2.0] + t,
    "t / list": lambda t: t / [1.0, 2.0],
    "t.sum": lambda t: t.sum(axis=0),
    "t.T": lambda t: t.T @ t,
    "len": lambda t: t * len(t),
    "iteration": lambda t: sum(row * row for row in t),
    "normalised": lambda t: (t - np.mean(t, axis=0)) / np.sqrt(np.var(t, axis=0) + 1e-5),
}


@pytest.mark.parametrize("name", CALLS)
def test_numpy_code_as_it_stands(name):
    f, t = CALLS[name], mg.tensor(A, requires_grad=True)
    y = f(t)
    assert type(y) is Tensor
    assert y.requires_grad
    np.testing.assert_allclose(y.data, f(A), rtol=1e-14)
    g = np.arange(1.0, y.size + 1).reshape(y.shape)
    y.backward(g)
    step = 1e-6
    for i in np.ndindex(A.shape):  # central differences: nothing of ours
        e = np.zeros_like(A)
        e[i] = step
        slope = ((f(A + e) - f(A - e)) * g).sum() / (2 * step)
        assert t.grad.data[i] == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_functions_without_a_gradient_give_plain_values():
    t = mg.tensor(A, requires_grad=True)
    calls = [
        *(np.argmax, np.floor, np.isnan, np.isfinite, np.shape, np.ndim, np.size, np.round, np.any),
        lambda t: np.argsort(t, axis=0),
        lambda t: np.allclose(t, A),
        lambda t: np.array_equal(t, A),
        lambda t: np.less(A, t),
        lambda t: t > 0.5,
        lambda t: t == A,
    ]
    for f in calls:
        assert not isinstance(f(t), Tensor)
        np.testing.assert_array_equal(f(t), f(A))
    assert isinstance(np.zeros_like(t), Tensor)
    np.testing.assert_array_equal(np.zeros_like(t).data, np.zeros((2, 2)))


def test_operators_that_assign():
    """`t += 1` is `t = t + 1` for a result; a parameter may be updated under no_grad only."""
    t = mg.tensor(A, requires_grad=True)
    y = t * 1.0
    y += 1.0
    y -= A
    y *= t
    y /= 2.0
    y **= 2
    y.sum().backward()
    np.testing.assert_allclose(t.grad.data, 2 * ((A + 1 - A) * A / 2) * (2 * A + 1 - A) / 2)
    with pytest.raises(
        RuntimeError, match=r"requires grad, and a graph does not see writing into it.*with mg\.no_grad\(\)"
    ):
        t += 1.0
    with pytest.raises(RuntimeError, match="a graph does not see writing into it"):
        t[0] = 1.0
    with pytest.raises(RuntimeError, match="a graph does not see writing into it"):
        y[0] = 1.0


def test_updates_by_hand():
    w = mg.tensor(A, requires_grad=True)
    data = w.data
    (w * w).sum().backward()
    w.data -= 0.1 * w.grad  # a tensor
    w.data -= 0.1 * w.grad.data  # an array
    with mg.no_grad():
        w -= 0.1 * w.grad
        w[0] = 7.0
    assert w.data is data
    np.testing.assert_allclose(w.data, [[7.0, 7.0], A[1] * 0.4])
    assert w.requires_grad


REFUSED = [
    (lambda t: np.sort(t), r"numpy\.sort is not differentiable here: build it from ops that are, or call it on \.data"),
    (lambda t: np.hypot(t, t), r"np\.hypot is not differentiable here"),
    (lambda t: np.linalg.tensorinv(t), r"numpy\.linalg\.tensorinv is not differentiable here"),
    (lambda t: np.add.accumulate(t), r"np\.add\.accumulate is not differentiable here"),
    (lambda t: np.multiply.outer(t, t), r"np\.multiply\.outer is not differentiable here"),
    (lambda t: np.log(t, where=t > 0), r"np\.log with where is not differentiable here"),
    (lambda t: np.exp(t, out=np.zeros((2, 2))), r"np\.exp: .* would leave the graph through out=; call it without"),
    (lambda t: np.exp(np.ones((2, 2)), out=t), r"np\.exp: .* would leave the graph through out="),
    (lambda t: np.ones((2, 2)).__iadd__(t), r"would leave the graph through out="),
    (lambda t: np.sum(t, dtype=np.float32), r"sum\(tensor \(2, 2\), dtype=.*unexpected keyword argument 'dtype'"),
    (lambda t: np.asarray(t), r"would leave the graph here, and its gradient with it"),
    (lambda t: np.array([t, t]), r"would leave the graph here"),
    (lambda t: np.sum([t, t]), r"would leave the graph here"),
    (lambda t: np.copyto(np.zeros((2, 2)), t), r"numpy\.copyto is not differentiable here"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, sentence):
    with pytest.raises(TypeError, match=sentence):
        call(mg.tensor(A, requires_grad=True))


def test_a_tensor_without_gradient_is_an_array_to_numpy():
    t = mg.tensor(A)
    assert type(np.asarray(t)) is np.ndarray
    assert np.array(t, dtype=np.float32).dtype == np.float32
    out = np.zeros((2, 2))
    out += t
    np.add(t, t, out=out)
    np.testing.assert_array_equal(out, 2 * A)
    copy = np.array(t)
    copy[0] = 9.0
    np.testing.assert_array_equal(t.data, A)


def test_tensors_without_a_gradient_go_anywhere():
    """What mg.grad and mg.hessian return serves any NumPy function, since no gradient is lost."""
    hessian = mg.hessian(lambda x: (x**2).sum() + x[0] * x[1])(np.ones(2))
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian), [1.0, 3.0])
    gradient = mg.grad(lambda x: (x**3).sum())(np.array([2.0, 1.0]))
    np.testing.assert_array_equal(np.sort(gradient), [3.0, 12.0])
    np.testing.assert_array_equal(np.vstack([gradient, gradient]), [[12.0, 3.0], [12.0, 3.0]])
    with pytest.raises(TypeError, match="not differentiable here"):
        np.sort(mg.tensor([2.0, 1.0], requires_grad=True))


def test_nan_is_what_max_chooses():
    gradient = mg.grad(mg.max)(np.array([1.0, np.nan, 2.0]))
    np.testing.assert_array_equal(gradient.data, [0.0, 1.0, 0.0])
