"""What the rules make of NumPy's functions, beside NumPy: on numbers that are special, and of all dtypes.

Each group is one compiled function, since compiling takes long, and runs on other numbers than those it was captured
on. None of it may call back into Python.
"""

import operator
import warnings

import numpy as np
import pytest
from engines import compiled
from scipy import special

import minigrad as mg
from minigrad.compiler.assembly import Code

TINY = {np.float32: 1e-5, np.float64: 1e-12}  # relative
FLOATS = [np.float32, np.float64]


def each(functions):
    """The results of all functions on the same arguments."""
    return lambda *args: [f(*args) for f in functions]


def run(f, *samples, rtol=0.0):
    """The results, natively and by NumPy, of a function on samples of its arguments."""
    ours = compiled("native", f)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of NumPy's variance of nan
        for args in samples:
            for i, (a, b) in enumerate(zip(ours(*args), f(*args), strict=True)):
                assert type(a) is type(b), i
                assert (np.asarray(a).dtype, np.shape(a)) == (np.asarray(b).dtype, np.shape(b)), i
                np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, err_msg=str(i))
    ((captured,),) = ours.captures.values()
    code = captured.run.code
    assert [host.what for host in code.hosts] == []
    return code


def special_numbers(dtype, seed=0):
    """All pairs of special and ordinary floats."""
    rng = np.random.default_rng(seed)
    ends = np.finfo(dtype)
    found = [0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 7, -3, 1e10, ends.max, ends.tiny]
    found = np.array([*found, *rng.normal(size=5) * 3], dtype)
    return np.repeat(found, len(found)), np.tile(found, len(found))


def others(arrays):
    """The same numbers in another order, to be computed by code that was captured on the first."""
    return [np.ascontiguousarray(x[::-1]) for x in arrays]


# ---- elementwise -----------------------------------------------------------------------------------------------------

EXACT = [
    np.floor, np.ceil, np.trunc, np.rint, np.sign, np.absolute, np.fabs, np.negative, np.positive, np.square, np.isnan,
    np.isinf, np.isfinite, np.signbit, np.conjugate, np.round, np.nan_to_num, np.real, np.copy,
]  # fmt: skip
EXACT_PAIRS = [
    np.maximum, np.minimum, np.fmax, np.fmin, np.copysign, np.heaviside, np.less, np.less_equal, np.greater,
    np.greater_equal, np.equal, np.not_equal, np.logical_and, np.logical_or, np.logical_xor, np.fmod, np.remainder,
    np.floor_divide, np.add, np.subtract, np.multiply, np.divide, np.isclose,
]  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
def test_exact_functions_of_floats(dtype):
    a, b = special_numbers(dtype)
    functions = [lambda a, b, f=f: f(a) for f in EXACT] + EXACT_PAIRS
    functions += [
        lambda a, b: np.nan_to_num(a, nan=1.0, posinf=2.0, neginf=-2.0),
        lambda a, b: np.isclose(a, b, rtol=0.3, atol=0.1, equal_nan=True),
        lambda a, b: np.clip(a, -1.0, 2.0),
        lambda a, b: np.clip(a, b, None),
        lambda a, b: np.where(a < b, a, 1.0),
        lambda a, b: np.where(np.isnan(a), b, a),
        lambda a, b: a.view(np.int64 if dtype is np.float64 else np.int32) & 255,
        lambda a, b: (a < b).view(np.int8),
        lambda a, b: (a < b).astype(dtype) * 2,
        lambda a, b: a.astype(np.float64).astype(dtype),
        lambda a, b: a**2 + a**1,
        lambda a, b: a - 0.0,
    ]
    run(each(functions), (a, b), others((a, b)))


@pytest.mark.parametrize("dtype", FLOATS)
def test_signs_of_zero(dtype):
    """Where a remainder is zero it has the sign of the divisor, and so on."""
    a, b = special_numbers(dtype)
    pairs = np.copysign, np.remainder, np.fmod, np.floor_divide
    ours = compiled("native", lambda a, b: [f(a, b) for f in pairs] + [f(a) for f in (np.floor, np.ceil, np.rint)])
    with np.errstate(all="ignore"):
        right = [f(a, b) for f in pairs] + [f(a) for f in (np.floor, np.ceil, np.rint)]
        for x, y in zip(ours(a, b), right, strict=True):
            number = ~np.isnan(y)
            assert (np.signbit(x) == np.signbit(y))[number].all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_rounded_functions_of_floats(dtype):
    a, b = special_numbers(dtype)
    usual = (np.abs(a) < 80) | ~np.isfinite(a)  # no overflow in between
    a, b = a[usual], b[usual]
    ones = np.exp2, np.log2, np.log10, np.cbrt, np.sinc, np.deg2rad, np.degrees, special.erf, special.expit
    ones += special.log_expit, special.entr
    pairs = np.hypot, np.arctan2, np.logaddexp, np.logaddexp2, special.xlogy, special.xlog1py
    functions = [lambda a, b, f=f: f(a) for f in ones] + list(pairs)
    functions += [
        lambda a, b: np.logaddexp(0, a),
        lambda a, b: np.round(a, 1),
        lambda a, b: np.round(a, -1),
        lambda a, b: a**0.5,
        lambda a, b: a**-1,
        lambda a, b: a ** np.float64(2),  # whose dtype depends on NumPy's version, as the powers of -inf do
        lambda a, b: a[0] ** np.float64(2),
        lambda a, b: operator.ipow(a * 1, 0.5),
        lambda a, b: np.power(a, 0.5),
        lambda a, b: np.power(a, -1),
    ]
    run(each(functions), (a, b), others((a, b)), rtol=TINY[dtype])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_functions_of_integers(dtype):
    """They wrap around in their own size, whatever that of the processor's numbers."""
    ends = np.iinfo(dtype)
    found = np.array([0, 1, 2, 3, 7, 100, ends.max, ends.min, ends.max - 1, ends.min + 1], dtype)
    a, b = np.repeat(found, len(found)), np.tile(found, len(found))
    ones = np.negative, np.absolute, np.square, np.sign, np.invert, np.floor, np.isnan, np.isfinite
    pairs = [
        np.add, np.subtract, np.multiply, np.floor_divide, np.remainder, np.maximum, np.minimum, np.bitwise_and,
        np.bitwise_or, np.bitwise_xor, np.less, np.greater_equal, np.equal, np.logical_and,
    ]  # fmt: skip
    functions = [lambda a, b, f=f: f(a) for f in ones] + pairs
    functions += [
        lambda a, b: a + b > a,
        lambda a, b: a * 3 // 2,
        lambda a, b: a**3,
        lambda a, b: np.clip(a, 1, 5),
        lambda a, b: np.where(a > b, a, 5),
        lambda a, b: a.astype(np.float64) * 0.5,
        lambda a, b: a.astype(bool) | (b > 3),
        lambda a, b: a.reshape(10, 10).max(0) - b.reshape(10, 10).min(1),
        lambda a, b: a.reshape(10, 10).sum(0),
        lambda a, b: a.reshape(10, 10).prod(0),
        lambda a, b: np.argmax(a.reshape(10, 10), 0),
        lambda a, b: np.cumsum(a),
    ]
    run(each(functions), (a, b), others((a, b)))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_integers_of_few_bytes_along_many_axes(dtype):
    """A loop along the second axis leaves the name of the integers of one byte alone, and so on."""

    def swapped(x):
        y = x * x
        y[np.array([0, 1])] = y[np.array([1, 0])] * x[0]
        return y

    x = np.random.default_rng(0).integers(-9, 9, (2, 3, 4, 5, 6)).astype(dtype)
    functions = [
        swapped, lambda x: np.maximum.accumulate(x * x), lambda x: np.concatenate([x * x, x + x]),
        lambda x: (x * x).sum(axis=1, dtype=dtype),
    ]  # fmt: skip
    run(each(functions), (x,), (-x,))


def test_truth_values_that_are_added_at_one_place_many_times():
    def found(x, i):
        y = x & False
        np.add.at(y, i, x)
        return [y]

    x = np.ones(256, bool)
    run(found, (x, np.zeros(256, int)), (x, np.arange(256) % 3))


def test_truth_values():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (2, 4, 5)).astype(bool)
    functions = [np.add, np.multiply, np.maximum, np.minimum, np.bitwise_xor, np.logical_xor, np.equal, np.less]
    functions += [
        lambda a, b: ~a,
        lambda a, b: a.sum(0),
        lambda a, b: a.any(1),
        lambda a, b: np.all(a, axis=0, keepdims=True),
        lambda a, b: np.any(a),
        lambda a, b: np.max(a, 0),
        lambda a, b: np.logical_or.reduce(a, axis=1),
        lambda a, b: np.any(a, axis=1, where=b),
        lambda a, b: np.all(a, axis=1, where=b),
        lambda a, b: np.count_nonzero(a, axis=1),
        lambda a, b: np.argmax(a, axis=1),
        lambda a, b: a.mean(0),
        lambda a, b: np.cumsum(a, 0),
        lambda a, b: np.where(a, b, True),
        lambda a, b: a.view(np.int8) * np.float32(2),
    ]
    run(each(functions), (a, b), (b, ~a), rtol=1e-15)


# ---- sums and their kin ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [0, 3, 5, 16, 17, -2, -3, -5, 1.5, 2.5, 7.5, 17.5, -0.5, -1.5, -2.5, -4.5, 0.25, -1 / 3])
def test_powers_of_special_numbers(n, dtype):
    """LLVM would write some as square roots, which are nan at 0 and infinity."""
    x = np.array([-np.inf, np.inf, np.nan, 0.0, -0.0, 1.0, -1.0, -2.5, 0.7, 3.0, 1e-20, 1e30], dtype)
    ours = mg.compile(lambda x: x**n)
    ours(np.ones_like(x))
    with np.errstate(all="ignore"):
        found, right = np.asarray(ours(x)), x**n
    np.testing.assert_allclose(found, right, rtol=10 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)
    assert (np.signbit(found) == np.signbit(right))[right == right].all()



def test_reductions():
    def sample(seed):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(4, 5, 6)).round(1).astype(np.float32)
        y = x.copy()
        y[1, 2], y[2, 3, 1], y[3, 0, 2] = np.nan, np.inf, np.nan
        return x, y, x > 0.1

    functions = [
        lambda x, y, m: np.sum(x, axis=(0, -1), where=m),
        lambda x, y, m: np.sum(x, axis=1, initial=3.0),
        lambda x, y, m: np.prod(x, axis=1, where=m, initial=2.0, keepdims=True),
        lambda x, y, m: np.max(x, axis=1, where=m, initial=-1.0),
        lambda x, y, m: np.maximum.reduce(y, axis=2),
        lambda x, y, m: np.maximum.reduce(x, axis=(), initial=0.5),
        lambda x, y, m: np.min(y, axis=None),
        lambda x, y, m: np.sum(x[:0], axis=0),
        lambda x, y, m: np.prod(x[:, :0], axis=1),
        lambda x, y, m: np.sum(np.ones_like(x), 1),
        lambda x, y, m: np.var(x, axis=(0, 2)),
        lambda x, y, m: np.std(x, axis=1, ddof=1, keepdims=True),
        lambda x, y, m: np.var(y),
        lambda x, y, m: np.mean(m, axis=0),
        lambda x, y, m: np.mean(x, axis=(0, 1)),
        lambda x, y, m: np.ptp(x, axis=1),
        lambda x, y, m: np.any(x > 1, axis=2),
        lambda x, y, m: np.count_nonzero(x),  # a number of Python's before NumPy 2.3
        lambda x, y, m: np.count_nonzero(x) * 2 > 7,
        lambda x, y, m: np.sum(x) / np.count_nonzero(m),
        lambda x, y, m: y - np.count_nonzero(y),
        lambda x, y, m: np.diff(x, axis=1),
        lambda x, y, m: np.diff(x, n=2),
        lambda x, y, m: np.trace(x, offset=1, axis1=1, axis2=2),
        lambda x, y, m: np.trace(x[0], offset=-7),
        lambda x, y, m: np.cumprod(x, axis=-1),
        lambda x, y, m: np.cumsum(x),
        lambda x, y, m: x.sum((), keepdims=True),
        lambda x, y, m: x[0, 0, 0].sum(),
    ]
    run(each(functions), sample(0), sample(1), rtol=TINY[np.float32])


def test_places_of_extrema():
    """The first of several that are the same; the first nan; also of sums that two loops might round in two ways."""

    def sample(seed):
        rng = np.random.default_rng(seed)
        x = rng.integers(-3, 3, (4, 5, 6)).astype(float)
        y = x.copy()
        y[1, 2], y[2, 3, 1], y[3, 0, 2] = np.nan, np.inf, np.nan
        return x, y, rng.normal(size=(4, 5, 6)).astype(float)

    functions = [
        lambda x, y, z: np.argmax(x, axis=0),
        lambda x, y, z: np.argmin(x, axis=-1),
        lambda x, y, z: np.argmax(y, axis=1, keepdims=True),
        lambda x, y, z: np.argmin(y),
        lambda x, y, z: np.argmax(x[0, 0]),
        lambda x, y, z: np.argmin(np.full_like(y, np.nan), axis=1),
        lambda x, y, z: np.argmax(z * z + z, axis=1),
        lambda x, y, z: np.argmax(z.T * z.T + z.T, axis=1),
        lambda x, y, z: np.argmin(np.swapaxes(z * z + z, 0, 1), axis=2),
        lambda x, y, z: np.take_along_axis(z, np.argmax(z, axis=1, keepdims=True), axis=1),
    ]
    run(each(functions), sample(0), sample(1))


# ---- views, joining, indexing ----------------------------------------------------------------------------------------


def moves(x, v, i):
    """Results that hold elements of the arguments, and nothing new."""
    a, b, c = np.split(x, 3, axis=2)
    d, e, f = np.array_split(x, [1, -1], axis=1)
    zeros = np.zeros_like(x)
    zeros[:, 1:3] = x[:, 1:3]
    z = zeros.copy()
    z[1] = x[0]
    filled = x[0].copy()
    np.fill_diagonal(filled, v[0])
    tall = x[:, 0].copy()
    np.fill_diagonal(tall, v[:4])
    copied = x.copy()
    np.copyto(copied, v, where=x > 0)
    put = x.copy()
    np.put_along_axis(put, i[None, :, None], v, axis=1)
    masked = x.copy()
    masked[x > 0] = 7.0
    rows = x.copy()
    rows[v[:4] > 0] = 2.0
    added = x.copy()
    np.subtract.at(added, (slice(None), i), v)
    windows = np.lib.stride_tricks.sliding_window_view
    return [
        a, b, c, d, e, f, zeros, z, filled, tall, copied, put, masked, rows, added, zeros[:, 1:3], zeros[:, 2],
        z[1, 1:3], z[:, 3], z[::2, 1],
        np.concatenate([a, b, c], axis=2), np.concatenate([c, b, a], axis=2), np.concatenate([x, x], None),
        np.concatenate([a, b, c], axis=2)[:, :, 2:4], np.concatenate([c, a], axis=2)[1:, 2],
        np.stack([x[k] for k in range(4)]), np.stack([x[:, k] for k in range(5)], 1),
        np.stack([x[:, k] for k in range(5)]), np.stack([x, -x], 1)[:, 1],
        np.pad(x, 1)[1:-1, 1:-1, 1:-1], np.pad(x, ((0, 1), (2, 0), (0, 0)), constant_values=3.0),
        np.vstack([x[0], v]), np.vstack([v, v]), np.hstack([v, v]), np.hstack([x, x]),
        np.roll(x, 2, axis=1), np.roll(x, -7), np.roll(x, (1, 2), (0, 2)), np.roll(x, 0, 0),
        np.tile(v, (3, 1)), np.tile(x, (2, 1, 3)), np.repeat(x, 3, axis=1), np.repeat(v, 2),
        np.rot90(x), np.rot90(x, 2), np.rot90(x, -1, (1, 2)), np.flip(x), np.flip(x, 1), np.flipud(x), np.fliplr(x),
        np.diagonal(x), np.diagonal(x, 1, 1, 2), np.diagonal(x, -2), np.diag(v), np.diag(v, 2), np.diag(v, -1),
        np.diag(x[0], -1), np.diag(x[0], 1), np.triu(x, 1), np.tril(x[0]),
        np.transpose(x.T), np.transpose(np.transpose(x, (1, 2, 0)), (1, 2, 0)), np.swapaxes(x, -1, 0),
        np.moveaxis(x, 0, -1), x.reshape(-1)[3:9].reshape(2, 3), x.reshape(20, 6).reshape(2, 60),
        np.expand_dims(x, (0, -1)), np.squeeze(x[:, :1]), np.atleast_2d(v), np.atleast_1d(v[0]),
        x[..., None, 1:3], x[1, ::-2], x[-1, -2:], x[1:1], x[i], x[:, i, 1], x[i, i], x[i][:, i],
        x[np.arange(4) > 1], x[:, [True, False, True, True, False]], np.take(x, i, axis=1), np.take(x, i),
        windows(x, 2, axis=1), windows(x, (2, 3), (0, 2)),
        np.where(np.ones((4, 1, 1), bool), x, 0.0), np.where(np.arange(5)[:, None] > 2, x, v),
        np.broadcast_to(v, (2, 6)), np.zeros_like(x).T[1:], np.ones_like(v).reshape(2, 3),
    ]  # fmt: skip


def test_moving_elements():
    def sample(seed):
        rng = np.random.default_rng(seed)
        return (*(rng.normal(size=s) for s in ((4, 5, 6), (6,))), rng.permutation(4)[:3])

    run(moves, sample(0), sample(1))


def test_what_is_put_together_and_taken_apart_is_not_written():
    """Neither concatenated slices that make up an array, nor the parts of an array that is put together."""

    def f(x, y):
        a, b = np.split(x, 2, axis=1)
        both = np.concatenate([y, x], axis=1)
        steps = np.stack([x[i] for i in range(4)])
        return np.concatenate([a, b], axis=1) + both[:, :6] + np.stack([x, y])[1] + steps

    x, y = np.random.default_rng(0).normal(size=(2, 4, 6))
    code = run(lambda x, y: [f(x, y)], (x, y), (y, x), rtol=1e-15)
    assert code.source.count("def block") == 1


def test_gradients_of_slices_are_put_side_by_side(monkeypatch):
    monkeypatch.setattr(Code, "settle", lambda self: None)  # after which the program is gone

    def f(x):
        def total(x):
            return mg.sum(mg.sin(x[0]) * mg.exp(x[1]) + x[2] ** 2)

        def some(x):
            return mg.sum(x[:2, 1:3] ** 3) + mg.sum(mg.cos(x[2:, :2])) + mg.sum(x[1:2, 2:] * x[0, 0])

        return [mg.grad(g)(x).data for g in (total, some)]

    samples = np.random.default_rng(0).normal(size=(2, 3, 4))
    code = run(f, *[(x,) for x in samples], rtol=1e-14)
    kinds = [s.what for block in code.program.blocks for s in block.statements]
    assert kinds.count("side by side") == 2


# ---- products --------------------------------------------------------------------------------------------------------


def products(a, b, c, v, d, s):
    return [
        *[np.einsum(text, a, b) for text in ("ij,jk->ik", "ij,jk", "ij,jk->ki", "ij,kl->ijkl", "ij,jk->k")],
        *[np.einsum(text, c, d) for text in ("nij,nji->n", "nij,njk->nik", "nij,mjk->nmik")],
        *[np.einsum(text, s) for text in ("ii->i", "ii", "ij->ji", "ij->j", "ij->", "...->...")],
        *[np.einsum(text, v, v) for text in ("i,i->", "i,j->ij", "i,j->")],
        np.einsum("nij,jk->nik", c, b), np.einsum("...ij,jk->...ik", c, b), np.einsum("...i,i", c, v),
        np.einsum("ij,j,jk->ik", a, v, b), np.einsum("ij,jk,kl->il", a, s, b), np.einsum("ij,ij->ij", a, a),
        np.einsum("nij,ij->n", c, a), np.einsum("ii,i->i", s, v),
        np.tensordot(c, b, 1), np.tensordot(c, a, ([1, 2], [0, 1])), np.tensordot(c, d, ((0, 1), (0, 2))),
        np.tensordot(v, v, 0), np.inner(c, a), np.inner(v, v), np.inner(a, 2.0), np.outer(a, v), np.vdot(a, a),
        np.vecdot(c, v), np.kron(a, b), np.kron(v, a), np.matmul(c, d), c @ v, v @ d, v @ v, np.dot(c, b),
        np.dot(c, d), np.dot(a, v), np.dot(v, d), a[:, :1] @ b[:1], a[:1] @ b[:, :1], a @ b[:, :1], a[:1] @ b,
        b.T[:, :2] @ s[:2, :1], a[:, :0] @ b[:0], np.ones_like(a) @ b, np.ones(4, a.dtype) @ b,
        *[np.convolve(v, a[0, :3], mode) for mode in ("full", "same", "valid")], np.convolve(a[0, :2], v),
    ]  # fmt: skip


def test_products():
    def sample(seed):
        rng = np.random.default_rng(seed)
        return [rng.normal(size=s) for s in ((3, 4), (4, 5), (2, 3, 4), (4,), (2, 4, 3), (4, 4))]

    run(products, sample(0), sample(1), rtol=1e-13)


# ---- what is recognised ----------------------------------------------------------------------------------------------


def test_a_sigmoid_and_a_softplus_are_one_function_each():
    @mg.compile
    def f(x):
        return mg.sigmoid(x), mg.softplus(x), mg.grad(lambda x: mg.sum(mg.sigmoid(x)))(x)

    x = np.array([-800.0, -40, -1, 0, 0.3, 40, 800])
    for given in x, -x:
        for a, b in zip(f(given), (special.expit(given), np.logaddexp(0, given)), strict=False):
            np.testing.assert_allclose(a.data, b, rtol=1e-14, atol=1e-300)
    ((captured,),) = f.captures.values()
    kinds = [v.what for v in captured.run.lowering.made.values()]
    assert "sigmoid" in kinds
    assert "= exp of" not in captured.run.code.source


@pytest.mark.parametrize("dtype", FLOATS)
def test_stacks_of_matrices_that_are_broadcast(dtype):
    """The axes of a shorter stack are the last ones of the longer."""
    rng = np.random.default_rng(0)
    stacks = [((2, 1), (3,)), ((3,), (2, 1)), ((2, 3), (3,)), ((), (2, 3)), ((4, 1, 3), (2, 1))]
    for a, b in stacks:
        xs = [(rng.normal(size=(*a, 15, 9)).astype(dtype), rng.normal(size=(*b, 9, 7)).astype(dtype)) for _ in range(2)]
        run(lambda x, y: [x @ y], *xs, rtol=TINY[dtype])


def test_sums_along_rows_beside_whole_arrays():
    """What is the same along all axes still has so many terms as its own axis is long."""

    def sums(x, y):
        s = np.sum(x)
        return np.cos(y + s), np.sum(np.broadcast_to(np.cos(s), (2,))), np.prod(np.broadcast_to(np.sin(s), (2,)))

    rng = np.random.default_rng(0)
    run(sums, *[(rng.normal(size=4), rng.normal(size=(2, 5))) for _ in range(2)], rtol=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(33, 5), (33, 17)])
def test_an_extremum_is_found_among_the_numbers_that_it_was_taken_of(shape, dtype):
    """A product that is added to may be rounded once or twice: numbers that are computed again might differ."""

    def extrema(a, b, c):
        p = a * b
        x = p + c
        m = np.max(x, axis=1, keepdims=True)
        return p * dtype(2), (x == m).sum(axis=1), np.where(np.min(x, axis=0) == x, a, 0)

    rng = np.random.default_rng(0)
    run(extrema, *[[rng.normal(size=shape).astype(dtype) for _ in "abc"] for _ in range(2)], rtol=TINY[dtype])
