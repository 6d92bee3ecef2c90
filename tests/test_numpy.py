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
    "np.exp2": np.exp2,
    "np.cbrt": np.cbrt,
    "np.fabs": np.fabs,
    "np.positive": np.positive,
    "np.float_power": lambda t: np.float_power(t, 2),
    "np.logaddexp2": lambda t: np.logaddexp2(t, 1.0),
    "np.arcsin": lambda t: np.arcsin(t / 2),
    "np.arccos": lambda t: np.arccos(t / 2),
    "np.arctan2": lambda t: np.arctan2(t, A[0]),
    "np.hypot": lambda t: np.hypot(A[:, :1], t),
    "np.arcsinh": np.arcsinh,
    "np.arccosh": lambda t: np.arccosh(1 + t),
    "np.arctanh": lambda t: np.arctanh(t / 2),
    "np.sinc": np.sinc,
    "np.i0": np.i0,
    "np.degrees": np.degrees,
    "np.rad2deg": np.rad2deg,
    "np.radians": np.radians,
    "np.deg2rad": np.deg2rad,
    "np.fmax": lambda t: np.fmax(t, 0.6),
    "np.fmin": lambda t: np.fmin(0.6, t),
    "np.copysign": lambda t: np.copysign(t, -A),
    "np.heaviside": lambda t: np.heaviside(t - 0.7, 0.5),
    "np.nan_to_num": np.nan_to_num,
    "np.mod": lambda t: np.mod(t, 0.35),
    "np.remainder": lambda t: np.remainder(A + 1.03, t),
    "np.fmod": lambda t: np.fmod(-A - 1.03, t),
    "np.floor_divide": lambda t: np.floor_divide(t, 0.35),
    "np.floor": np.floor,
    "np.ceil": np.ceil,
    "np.trunc": np.trunc,
    "np.rint": lambda t: np.rint(t * 1.1),
    "np.round": lambda t: np.round(t * 1.11, 1),
    "np.around": lambda t: np.around(t * 1.1),
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
    "np.take": lambda t: np.take(t, [1, 0, 1], axis=1),
    "np.compress": lambda t: np.compress([False, True], t, axis=0),
    "np.extract": lambda t: np.extract(A > 0.6, t),
    "np.select": lambda t: np.select([t > 1, t > 0.6], [t, t * t], 0.5),
    "np.choose": lambda t: np.choose([1, 0], [t, t * t]),
    "np.roll": lambda t: np.roll(t, 1, axis=0),
    "np.rot90": np.rot90,
    "np.fliplr": np.fliplr,
    "np.flipud": np.flipud,
    "np.rollaxis": lambda t: np.rollaxis(t, 1),
    "np.diag": np.diag,
    "np.diagflat": lambda t: np.diagflat(t, 1),
    "np.diagonal": np.diagonal,
    "np.tril": np.tril,
    "np.triu": lambda t: np.triu(t, 1),
    "np.insert": lambda t: np.insert(t, 1, 0.5, axis=0),
    "np.delete": lambda t: np.delete(t, 0, axis=1),
    "np.append": lambda t: np.append(t, A),
    "np.vstack": lambda t: np.vstack([t, A]),
    "np.hstack": lambda t: np.hstack([A, t]),
    "np.dstack": lambda t: np.dstack([A, t]),
    "np.column_stack": lambda t: np.column_stack([A[0], t]),
    "np.block": lambda t: np.block([[t, A], [A, t]]),
    "np.array_split": lambda t: np.array_split(t, 3, axis=1)[1],
    "np.hsplit": lambda t: np.hsplit(t, 2)[1],
    "np.meshgrid": lambda t: np.meshgrid(t[0], t[1])[0],
    "np.atleast_3d": np.atleast_3d,
    "np.copy": np.copy,
    "np.ediff1d": np.ediff1d,
    "np.permute_dims": lambda t: np.permute_dims(t, (1, 0)),
    "np.concat": lambda t: np.concat([t, A]),
    "np.matrix_transpose": np.matrix_transpose,
    "np.trace": np.trace,
    "np.kron": lambda t: np.kron(A, t),
    "np.cross": lambda t: np.cross([1.0, 2.0, 3.0], np.pad(t, ((0, 0), (0, 1)))),
    "np.inner": lambda t: np.inner(A, t),
    "np.vecdot": lambda t: np.vecdot(t, A),
    "np.linspace": lambda t: np.linspace(t, 1.0, 3),
    "np.logspace": lambda t: np.logspace(0.0, t, 3),
    "np.geomspace": lambda t: np.geomspace(t, 4.0, 3),
    "sliding windows": lambda t: np.lib.stride_tricks.sliding_window_view(t, 2, axis=1),
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
    "t % number": lambda t: t % 0.35,
    "array % t": lambda t: (A + 1.03) % t,
    "number % t": lambda t: 1.53 % t,
    "t // number": lambda t: t // 0.35,
    "array // t": lambda t: A // (t * 1.1),
    "t.round": lambda t: (t * 1.11).round(1),
    "array ** t": lambda t: A**t,
    "np.float64 * t": lambda t: np.float64(2.0) * t,
    "np.int64 + t": lambda t: np.int64(2) + t,
    "list + t": lambda t: [1.0, 2.0] + t,
    "t / list": lambda t: t / [1.0, 2.0],
    "t.sum": lambda t: t.sum(axis=0),
    "t.T": lambda t: t.T @ t,
    "t.mT": lambda t: t.mT @ t,
    "t.take": lambda t: t.take([3, 0]),
    "t.compress": lambda t: t.compress([True, False], 1),
    "t.diagonal": lambda t: t.diagonal(),
    "t.trace": lambda t: t.trace(),
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
        *(np.argmax, np.isnan, np.isfinite, np.shape, np.ndim, np.size, np.any),
        *(np.argwhere, np.flatnonzero, np.triu_indices_from, np.diag_indices_from),
        *(lambda t: np.argsort(t, axis=0), lambda t: t.argsort(), lambda t: (t > 0.6).any(0), lambda t: t.all()),
        *(lambda t: t.any(axis=1, keepdims=True), lambda t: t.all(0)),
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
    (lambda t: np.nextafter(t, t), r"np\.nextafter is not differentiable here"),
    (lambda t: np.unwrap(t), r"numpy\.unwrap is not differentiable here: build it from ops that .* on \.data"),
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
        np.unwrap(mg.tensor([2.0, 1.0], requires_grad=True))


def test_nan_is_what_max_chooses():
    gradient = mg.grad(mg.max)(np.array([1.0, np.nan, 2.0]))
    np.testing.assert_array_equal(gradient.data, [0.0, 1.0, 0.0])


# ---- where NumPy's functions would cut a gradient off, or read another part of a matrix ----------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.bincount([0, 1, 0], weights=x),
        lambda x: np.bincount([0, 1, 0], x),
        lambda x: np.unique(x),
        lambda x: np.histogram(x, bins=2, weights=x)[0],
    ],
)
def test_no_gradient_is_cut_off_by_functions_of_values(f):
    """Beside a term that has a gradient, nobody would notice."""
    with pytest.raises(TypeError, match="is not differentiable here"):
        mg.grad(lambda x: f(x).sum() + x.sum())(np.array([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("call", ["cholesky", "eigvalsh", "eigh"])
def test_numpys_functions_read_the_lower_triangle(call):
    a = np.array([[4.0, -9.0], [1.0, 3.0]])
    ours, theirs = getattr(np.linalg, call)(mg.tensor(a)), getattr(np.linalg, call)(a)
    if call == "eigh":
        ours, theirs = ours.eigenvalues, theirs.eigenvalues
    np.testing.assert_allclose(ours.data, theirs, rtol=1e-14)
    if call == "cholesky":
        np.testing.assert_allclose(np.linalg.cholesky(mg.tensor(a.T), upper=True).data, theirs.T, rtol=1e-14)
