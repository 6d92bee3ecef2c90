"""NumPy code as people write it, on arrays of symbols: its formulas have the values that it has on numbers."""

import math

import numpy as np
import pytest
import scipy.special
import sympy
from numpy import zeros

import minigrad as mg
from minigrad.symbolic import NoReading, deciding

rng = np.random.default_rng(0)
A = rng.normal(size=(3, 4)).round(3)
B = rng.normal(size=(3, 4)).round(3)
V = rng.normal(size=4).round(3)
K = np.array([2, 0, 3])


def masked_assignment(a, b, v):
    d = b.copy()
    d[a <= 0] = 0
    return d


def masked_rows(a, b, v):
    d = b.copy()
    d[a[:, 0] > 0] = 1.0
    return d


def masked_scaling(a, b, v):
    d = b.copy()
    d[a < 0] *= 0.1
    return d


def masked_copy(a, b, v):
    d = b.copy()
    d[a > 0] = np.tanh(a[a > 0]) + 1
    return d


def softmax_gradient(a, b, v):
    z = a - a.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    p[np.arange(3), K] -= 1
    p /= 3
    return p


def in_place(a, b, v):
    a = a * 1.0
    a += b
    a -= v
    a *= 2
    a /= 4
    a **= 2
    return a


def element_loop(a, b, v):
    out = np.zeros_like(a)
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = np.tanh(a[i, j]) * b[i, j]
    return out


def rows_loop(a, b, v):
    total = np.zeros_like(v)
    for x, y in zip(a, b, strict=True):
        total += np.outer(x, y).sum(axis=0)
    return total


def accumulate_at(a, b, v):
    d = np.zeros_like(a)
    np.add.at(d, (slice(None), [0, 0, 1]), b[:, :3])
    return d


def batch_norm(a, b, v):
    mu, var = a.mean(axis=0), a.var(axis=0)
    hat = (a - mu) / np.sqrt(var + 1e-5)
    n = a.shape[0]
    return (n * b - b.sum(axis=0) - hat * np.sum(b * hat, axis=0)) / (n * np.sqrt(var + 1e-5))


def sigmoid_by_sign(a, b, v):
    return np.where(a >= 0, 1 / (1 + np.exp(-np.abs(a))), np.exp(-np.abs(a)) / (1 + np.exp(-np.abs(a))))


CODE = {
    "max": lambda a, b, v: a.max(axis=1, keepdims=True),
    "amax": lambda a, b, v: np.amax(a, axis=0),
    "min": lambda a, b, v: np.min(a),
    "max initial": lambda a, b, v: np.max(a, axis=0, initial=0.0),
    "sum": lambda a, b, v: a.sum(axis=0),
    "sum all": lambda a, b, v: np.sum(a),
    "sum keywords": lambda a, b, v: np.sum(a, axis=(0, 1), keepdims=True, dtype=float),
    "mean": lambda a, b, v: a.mean(axis=-1),
    "np.mean": lambda a, b, v: np.mean(a, axis=0, keepdims=True),
    "std": lambda a, b, v: a.std(axis=0),
    "np.std": lambda a, b, v: np.std(a),
    "var": lambda a, b, v: a.var(axis=1, ddof=1, keepdims=True),
    "np.var": lambda a, b, v: np.var(a, axis=0),
    "average": lambda a, b, v: np.average(a, axis=0),
    "average weights": lambda a, b, v: np.average(a, axis=1, weights=v),
    "prod": lambda a, b, v: a.prod(axis=1),
    "cumsum": lambda a, b, v: a.cumsum(axis=1),
    "np.cumsum": lambda a, b, v: np.cumsum(a),
    "cumprod": lambda a, b, v: np.cumprod(v),
    "maximum.reduce": lambda a, b, v: np.maximum.reduce(a, axis=1),
    "maximum.accumulate": lambda a, b, v: np.maximum.accumulate(v),
    "add.outer": lambda a, b, v: np.add.outer(v, v),
    "dot": lambda a, b, v: a.dot(v),
    "np.dot": lambda a, b, v: np.dot(a.T, b),
    "matmul": lambda a, b, v: a.T @ b @ v,
    "matmul with numbers": lambda a, b, v: np.arange(6.0).reshape(2, 3) @ a,
    "matmul stacked": lambda a, b, v: np.stack([a, b]) @ v,
    "truth @": lambda a, b, v: (a > 0) @ v,
    "inner": lambda a, b, v: np.inner(a, v),
    "vdot": lambda a, b, v: np.vdot(a, b),
    "outer": lambda a, b, v: np.outer(v, v),
    "einsum": lambda a, b, v: np.einsum("ij,kj->ik", a, b),
    "einsum optimize": lambda a, b, v: np.einsum("ij,ij,j->i", a, b, v, optimize=True),
    "tensordot": lambda a, b, v: np.tensordot(a, b, axes=([1], [1])),
    "kron": lambda a, b, v: np.kron(v, v),
    "trace": lambda a, b, v: np.trace(a[:, :3]),
    "diag": lambda a, b, v: np.diag(v),
    "diag of": lambda a, b, v: np.diag(a[:, :3]),
    "triu": lambda a, b, v: np.triu(a),
    "norm": lambda a, b, v: np.linalg.norm(v),
    "norm axis": lambda a, b, v: np.linalg.norm(a, axis=1, keepdims=True),
    "norm one": lambda a, b, v: np.linalg.norm(a, 1, axis=0),
    "norm of a matrix": lambda a, b, v: np.linalg.norm(a) ** 2,
    "T": lambda a, b, v: a.T,
    "reshape": lambda a, b, v: a.reshape(-1, 2).reshape((4, 3)),
    "ravel": lambda a, b, v: a.ravel() + a.flatten(),
    "copy": lambda a, b, v: np.copy(a) + a.copy(),
    "transpose": lambda a, b, v: np.transpose(a, (1, 0)) * a.transpose().swapaxes(0, 1).T,
    "moveaxis": lambda a, b, v: np.moveaxis(a[None], 0, -1),
    "squeeze": lambda a, b, v: np.squeeze(a[:, None]),
    "expand_dims": lambda a, b, v: np.expand_dims(v, 1) * v[np.newaxis, :],
    "stack": lambda a, b, v: np.stack([a, b], axis=1),
    "concatenate": lambda a, b, v: np.concatenate([a, b, np.ones((1, 4))]),
    "hstack": lambda a, b, v: np.hstack([a, b]),
    "vstack": lambda a, b, v: np.vstack([a, v]),
    "column_stack": lambda a, b, v: np.column_stack([v, v]),
    "append": lambda a, b, v: np.append(v, 1.0),
    "split": lambda a, b, v: np.split(a, 2, axis=1)[1],
    "pad": lambda a, b, v: np.pad(a, ((1, 1), (0, 2))),
    "roll": lambda a, b, v: np.roll(a, 1, axis=0),
    "flip": lambda a, b, v: np.flip(a, 0) + a[::-1],
    "tile": lambda a, b, v: np.tile(v, (2, 1)),
    "repeat": lambda a, b, v: np.repeat(v, 2),
    "broadcast_to": lambda a, b, v: np.broadcast_to(v, (3, 4)) * a,
    "take": lambda a, b, v: np.take(v, [0, 2]),
    "take_along_axis": lambda a, b, v: np.take_along_axis(a, K[:, None], axis=1),
    "fancy": lambda a, b, v: a[np.arange(3), K],
    "boolean": lambda a, b, v: a[np.array([True, False, True])],
    "diff": lambda a, b, v: np.diff(v),
    "clip": lambda a, b, v: np.clip(a, -0.5, 0.5),
    "a.clip": lambda a, b, v: a.clip(min=0) + a.clip(-1, 1),
    "zeros_like": lambda a, b, v: np.zeros_like(a, dtype=float) + np.ones_like(a) * np.full_like(v, 2),
    "eye": lambda a, b, v: np.eye(4) * v,
    "jacobian of softmax": lambda a, b, v: np.diag(np.exp(v)) - np.outer(np.exp(v), np.exp(v)),
    "exp log": lambda a, b, v: np.log(np.exp(a) + 1) + np.log1p(np.exp(b)) - np.expm1(v),
    "sqrt": lambda a, b, v: np.sqrt(np.square(a) + 1) + np.power(np.abs(a), 1.5) + (a * a) ** 0.25,
    "hyperbolic": lambda a, b, v: np.tanh(a) + np.sinh(b) * np.cosh(a) + np.arcsinh(a),
    "trigonometric": lambda a, b, v: np.sin(a) * np.cos(b) + np.tan(v) + np.arctan(a) + np.arctan2(a, b),
    "signs": lambda a, b, v: np.sign(a) + np.abs(b) + np.fabs(v) + np.heaviside(a, 0.5),
    "rounding": lambda a, b, v: np.floor(a) + np.ceil(b) + np.trunc(3 * a) + 2.5 * a % 1,
    "maximum": lambda a, b, v: np.maximum(0, a) - np.minimum(b, v) + np.fmax(a, b),
    "hypot": lambda a, b, v: np.hypot(a, b) + np.cbrt(a) + np.exp2(b) + np.logaddexp(a, b),
    "scipy": lambda a, b, v: scipy.special.expit(a) + scipy.special.erf(b) - scipy.special.erfc(a),
    "where": lambda a, b, v: np.where(a > b, a * a, np.where(v > 0, b, 0)),
    "truth *": lambda a, b, v: (a > 0) * b + 1.0 * (b < v),
    "truth astype": lambda a, b, v: (a > 0).astype(float) * b + (a < b).astype(int).sum(axis=0),
    "truth mean": lambda a, b, v: np.mean(a > 0) + np.sum(b > 0) + np.count_nonzero(a > 0),
    "logic": lambda a, b, v: np.where((a > 0) & ~(b > 0) | np.logical_xor(a > b, b > v), 1.0, -1.0),
    "any all": lambda a, b, v: np.where(np.any(a > 1, axis=1) | (b > -2).all(axis=1), 1.0, 0.0),
    "astype": lambda a, b, v: a.astype(np.float64) * np.float64(2) + np.float32(0.5),
    "left": lambda a, b, v: 1 - a + 2 / (3 + a * a) - np.array([1.0, 2, 3, 4]) * a,
    "ndarray +=": lambda a, b, v: sum([a, b, v]) / 3,
    "isfinite": lambda a, b, v: np.where(np.isfinite(a), a, 0),
    "masked sum": lambda a, b, v: v[v > 0].sum() + (v * v)[v < 0].sum(),
    "hinge": lambda a, b, v: np.maximum(0, 1 - a).sum() + ((a > 0) * b).T.dot(np.ones(3)),
    "nested lists": lambda a, b, v: mg.tanh(np.stack([v[0] * v[1], v[2] - v[3]])).data,
}  # fmt: skip
CODE |= {
    f.__name__: f
    for f in (
        masked_assignment, masked_rows, masked_scaling, masked_copy, softmax_gradient, in_place, element_loop,
        rows_loop, accumulate_at, batch_norm, sigmoid_by_sign,
    )
}  # fmt: skip


def symbols_and_values():
    arrays = {name: mg.symbols(name, x.shape).data.copy() for name, x in zip("abv", (A, B, V), strict=True)}
    values = {
        s: sympy.Rational(repr(float(e)))
        for array, x in zip(arrays.values(), (A, B, V), strict=True)
        for s, e in zip(np.ravel(array).tolist(), np.ravel(x).tolist(), strict=True)
    }
    return list(arrays.values()), values


def assert_same(symbolic, numeric, values):
    assert np.shape(symbolic) == np.shape(numeric)
    numbers = [float(mg.symbolic.exact(e).subs(values)) for e in np.ravel(np.asarray(symbolic, dtype=object)).tolist()]
    assert np.allclose(numbers, np.ravel(numeric).astype(float), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", CODE)
def test_code_on_symbols_is_code_on_numbers(name):
    symbols, values = symbols_and_values()
    with mg.symbolic.arrays_of_elements():
        formula = CODE[name](*symbols)
    assert isinstance(formula, mg.symbolic.SymbolicArray)
    assert_same(formula, CODE[name](A.copy(), B.copy(), V.copy()), values)


# ---- decisions ------------------------------------------------------------------------------------------------------


def branch(a, b, v):
    return v * 2 if v[0] > 0 else v - 1


def any_of(a, b, v):
    return a if (a > b).any() and not np.all(v > 0) else b


def loop(a, b, v):
    total, i = 0 * v[0], 0
    while total < 1 and i < 20:
        total, i = total + v[i % 4] ** 2, i + 1
    return total


def largest(a, b, v):
    return max(v) + 10 * min(a[0]) + 100 * sorted(v)[1] + 1000 * max(v[0], 0.0)


def by_index(a, b, v):
    i = np.argmax(a, axis=1)
    return a[np.arange(3), i] + np.argmin(v) + v[np.argsort(v)[0]] + np.sort(v)[::-1]


def places(a, b, v):
    return b[np.nonzero(a > 0)] * 2


DECIDED = {f.__name__: f for f in (branch, any_of, loop, largest, places)}


@pytest.mark.parametrize("name", DECIDED)
def test_python_decides_at_a_point(name):
    symbols, values = symbols_and_values()
    with deciding(values) as path:
        formula = DECIDED[name](*symbols)
    assert_same(formula, DECIDED[name](A, B, V), values)
    assert path
    for condition, outcome in path:
        assert condition.subs(values) == outcome
    with pytest.raises(NoReading, match="neither `if` nor `while`"), mg.symbolic.arrays_of_elements():
        DECIDED[name](*symbols)


def test_places_are_decided_too():
    symbols, values = symbols_and_values()
    symbols[2] = symbols[2][:3]
    with deciding(values) as path:
        assert_same(by_index(*symbols), by_index(A, B, V[:3]), values)
    assert path


def test_tensors_decide():
    x = mg.symbols("x")
    s = x.item()

    def f(x):
        y = abs(x) if x < -1 else max(x * x, 1.0 + 0 * x)
        return y if bool(y > 0) else -y

    for at, value, conditions in ((-2, sympy.Abs(s), [s < -1, sympy.Abs(s) > 0]), (3, s**2, None)):
        with deciding({s: sympy.Integer(at)}) as path:
            assert f(x).item() == value
        assert conditions is None or [condition for condition, _ in path] == conditions


def test_decisions_about_functions_are_made_in_many_digits_and_noted_once():
    x = mg.symbols("x").item()
    at = {x: sympy.Rational(1, 3)}
    array = mg.symbolic.symbolic_array(x)
    with deciding(at) as path:
        for _ in range(3):
            assert np.exp(array) > sympy.Rational("1.39561242508608952")  # e**(1/3) = 1.395612425086089528...
            assert not np.exp(array) > sympy.Rational("1.39561242508608953")
        assert not np.sqrt(-array) > 0  # as nan compares
        assert bool(array == x)  # true whatever x is: no decision
    assert len(path) == 3
    with deciding({}), pytest.raises(NoReading, match="not decided by the values"):
        bool(array > 0)


def test_decisions_nest_and_end():
    x = mg.symbols("x")
    with deciding({x.item(): 1}) as outer:
        with deciding({x.item(): -1}) as inner:
            assert not x > 0
        assert x > 0
    with deciding({x.item(): -0.5}):
        assert not x > 0
    assert (inner[0][1], outer[0][1]) == (False, True)
    with pytest.raises(NoReading):
        bool(x > 0)
    assert isinstance(mg.symbols("v", (2,)).data[0], sympy.Symbol)


# ---- what cannot be read says so ------------------------------------------------------------------------------------


def into_numbers(a, b, v):
    out = np.zeros(4)
    out += v
    return out


def into_numbers_at(a, b, v):
    out = np.zeros(4)
    np.add.at(out, [0, 0], v[:2])
    return out


def element_into_numbers(a, b, v):
    out = np.zeros(4)
    out[0] = v[0]
    return out


def two_masks(a, b, v):
    v[v > 0] = v[v < 1]


def array_into_mask(a, b, v):
    v[v > 0] = np.ones(3)


REFUSED = {
    "argmax": (lambda a, b, v: np.argmax(v), "neither `if` nor"),
    "nonzero": (lambda a, b, v: np.nonzero(v > 0), "neither `if` nor"),
    "where alone": (lambda a, b, v: np.where(v > 0), "where with a condition alone"),
    "float": (lambda a, b, v: float(v[0]), "a symbol has no value"),
    "int": (lambda a, b, v: int(v[0]), "a symbol has no value"),
    "index": (lambda a, b, v: [1, 2][v[0]], "a symbol has no value"),
    "tensor": (lambda a, b, v: float(mg.symbols("x")), "a symbol has no value"),
    "truncation": (lambda a, b, v: a.astype(int), "cannot be cut off"),
    "unknown ufunc": (lambda a, b, v: np.nextafter(a, b), "np.nextafter has no reading"),
    "unknown special function": (lambda a, b, v: scipy.special.k0(a), "k0 has no reading"),
    "reduction": (lambda a, b, v: np.sum(a, where=a > 0), "where= has no reading"),
    "round": (lambda a, b, v: a.round(2), "no reading"),
    "mask's length": (lambda a, b, v: len(v[v > 0]), None),
    "mask's mean": (lambda a, b, v: v[v > 0].mean(), "which elements"),
    "norm": (lambda a, b, v: np.linalg.norm(a, 2), "ord=2"),
    "eigenvalues": (lambda a, b, v: np.linalg.eigvals(a[:, :3]), None),
    "random": (lambda a, b, v: np.random.default_rng(0).normal(v), None),
    "into numbers": (into_numbers, "symbols cannot be written into an array of float64"),
    "into numbers at": (into_numbers_at, "symbols cannot be written into an array of float64"),
    "element into numbers": (element_into_numbers, "Cannot convert expression to float|a symbol has no value"),
    "two masks": (two_masks, "another"),
    "array into a mask": (array_into_mask, "how many elements"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_reading_is_refused(name):
    code, sentence = REFUSED[name]
    symbols, _ = symbols_and_values()
    with pytest.raises(TypeError, match=sentence), mg.symbolic.arrays_of_elements():
        code(*symbols)


def test_random_numbers_and_negative_constants_are_exact():
    exact = mg.symbolic.exact
    assert exact(-float(np.sqrt(0.5))) == -sympy.sqrt(2) / 2
    assert exact(-np.inf) == -sympy.oo
    assert exact(np.float32(0.5)) == sympy.Rational(1, 2)
    assert exact(np.array(0.1)) == sympy.Rational(1, 10)


# ---- code that makes its own arrays ---------------------------------------------------------------------------------


def helper(row, v):
    out = np.empty(4)
    for i in range(4):
        out[i] = row[i] * v[i] if i else math.exp(row[i])
    return out


def loops(a, b, v):
    d = np.zeros((3, 4))
    total = np.full(4, 0.5)
    for i in range(3):
        d[i] = helper(a[i], v)
        total += np.array([a[i, 0], 2 * b[i, 1], 1.0, math.sqrt(4.0)])
    one_hot = np.zeros((3, 4))
    one_hot[np.arange(3), K] = 1.0
    return d * total - np.asarray(one_hot, dtype=float) + np.asarray(a)


def convolution(a, b, v):
    kernel, out = v.reshape(2, 2), np.zeros((2, 3))
    for i in range(2):
        for j in range(3):
            out[i, j] = np.sum(a[i : i + 2, j : j + 2] * kernel)
    back = np.zeros(a.shape)
    for i in range(2):
        for j in range(3):
            back[i : i + 2, j : j + 2] += out[i, j] * kernel
    return back


def scan(a, b, v):
    h, kept = zeros(4), []
    for row in a:
        h = np.tanh(row + h * v)
        kept.append(h)
    return np.array(kept)


def recursion(a, b, v, depth=2):
    return recursion(a, b, v, depth - 1) + np.ones(4) * a if depth else zeros(4)


def closed_over():
    offset = np.ones(4)
    inner = math.tanh

    def f(a, b, v):
        d = zeros(4)
        d[0] = inner(v[0])
        return d + offset * v

    return f


class Layer:
    def backward(self, a, b, v):
        d = np.zeros_like(v, dtype=float) + np.zeros(4)
        d[1] = a[0, 0]
        return d


MAKING = {
    "loops": loops, "convolution": convolution, "scan": scan, "recursion": recursion, "closed over": closed_over(),
    "method": Layer().backward, "lambda": lambda a, b, v: np.zeros(4) + np.array([v[i] for i in range(4)]),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKING)
def test_code_that_makes_arrays_runs_on_symbols(name):
    symbols, values = symbols_and_values()
    code = mg.symbolic.on_symbols(MAKING[name])
    with mg.symbolic.arrays_of_elements():
        assert_same(code(*symbols), MAKING[name](A, B, V), values)
    assert np.allclose(np.asarray(code(A, B, V), dtype=float), MAKING[name](A, B, V))
    assert type(np.zeros(2)) is np.ndarray  # and nothing has changed outside


def test_what_is_no_code_of_the_users_is_left_alone():
    for f in (np.tanh, mg.tanh, mg.nn.functional.mse_loss, sum, Layer, np.mean, 3):
        assert mg.symbolic.on_symbols(f) is f


def test_integers_and_truth_values_stay():
    f = mg.symbolic.on_symbols(lambda: (np.zeros(2, int), np.ones(2, bool), np.array([1.0])))
    assert [type(x) for x in f()] == [np.ndarray] * 3


def test_gradients_in_loops_are_proved():
    def by_hand(x, k):
        dx, dk = np.zeros(4), np.zeros(2)
        y = np.array([x[i] * k[0] + x[i + 1] * k[1] for i in range(3)])
        for i in range(3):
            dx[i : i + 2] += 2 * y[i] * k
            dk += 2 * y[i] * x[i : i + 2]
        return dx, dk

    def loss(x, k):
        return ((x[:-1] * k[0] + x[1:] * k[1]) ** 2).sum()

    assert mg.verify.claim(loss, by_hand, V, V[:2]).verdict == "proved"
    assert mg.verify.claim(loss, lambda x, k: by_hand(x, k + 1e-6), V, V[:2]).verdict == "refuted"
