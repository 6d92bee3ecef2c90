"""exp, log, tanh and their kin beside NumPy's in more digits and mpmath's, as kernels and as generated code."""

import ctypes
import re

import mpmath
import numpy as np
import pytest
from scipy import special

from minigrad import approximations, kernels, native
from minigrad.approximations import fast_erf, fast_log
from minigrad.compiler.assembly import PRELUDE

DTYPES = {"f4": np.float32, "f8": np.float64}
INF, NAN = np.inf, np.nan
# Of each function: NumPy's or SciPy's, mpmath's, the worst error in ulp, the values at 0, inf, -inf and nan, and the
# ends between which the values lie.
CASES = {
    "exp": (np.exp, mpmath.exp, 2, [1, INF, 0, NAN], (0, INF)),
    "expm1": (np.expm1, mpmath.expm1, 2, [0, INF, -1, NAN], (-1, INF)),
    "sigmoid": (special.expit, lambda x: 1 / (1 + mpmath.exp(-x)), 3, [0.5, 1, 0, NAN], (0, 1)),
    "tanh": (np.tanh, mpmath.tanh, 3, [0, 1, -1, NAN], (-1, 1)),
    "erf": (special.erf, mpmath.erf, 3, [0, 1, -1, NAN], (-1, 1)),
    "erfc": (special.erfc, mpmath.erfc, 9, [1, 0, 2, NAN], (0, 2)),
    "log": (np.log, mpmath.log, 2, [-INF, INF, NAN, NAN], (-INF, INF)),
    "log1p": (np.log1p, mpmath.log1p, 2, [0, INF, NAN, NAN], (-INF, INF)),
    "softplus": (lambda x: np.logaddexp(0, x), lambda x: mpmath.log1p(mpmath.exp(x)), 2, [np.log(2), INF, 0, NAN],
                 (0, INF)),
}  # fmt: skip
TINY = {"f4": 2.0**-125, "f8": 2.0**-1021}  # below, a result may be 0
each_function = pytest.mark.parametrize("name", CASES)
each_kind = pytest.mark.parametrize("kind", DTYPES)


def compiled(names, kind, value):
    """A function of arrays x and y, compiled as the compiler does its blocks: y[i] = value, which reads x[i]."""
    real = np.dtype(DTYPES[kind]).name
    text = f"""{PRELUDE}
BLOCK = {{**OPTIONS, 'fastmath': {{**OPTIONS['fastmath'], 'reassoc': True, 'nsz': True}}}}
{approximations.source([f"fast_{name}" for name in names], kind)}

@njit(pipeline_class=Apart, **BLOCK)
def block(x, y, total, n):
    sum = {kind}(0)
    for i in range(n):
        t = {value}
        sum += t
        y[i] = t
    total[0] = sum

def run(x, y, total, n):
    block(x, y, total, n)
"""
    address = native.build(text, "run", f"void({3 * f'CPointer({real}), '}int64)")
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64)(address)

    def function(x):
        y, total = np.empty_like(x), np.empty(1, x.dtype)
        run(*map(native.address_of, (x, y, total)), x.size)
        return y, total[0]

    return function


def function(name, kind):
    f = compiled([name], kind, f"fast_{name}_{kind}(x[i])")
    return lambda x: f(x)[0]


def check(name, x, y, exact):
    """Whether y is `exact`, in more digits, to a few units in the last place."""
    rounded = exact.astype(y.dtype)
    usual = np.isfinite(rounded) & (np.abs(rounded) >= TINY[f"f{y.dtype.itemsize}"])
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(rounded))
    errors = np.abs((y[usual] - exact[usual]) / np.spacing(np.abs(rounded[usual]))).astype(float)
    worst = np.argmax(errors)
    assert errors[worst] <= CASES[name][2], f"{errors[worst]:.2f} ulp at {x[usual][worst]}"
    assert np.all(np.abs(y[~usual & np.isfinite(rounded)]) <= TINY[f"f{y.dtype.itemsize}"])


@each_function
def test_float32_over_all_its_numbers(name):
    x = np.arange(0, 2**32, 997, dtype=np.uint32).view(np.float32)
    x = x[np.isfinite(x)]
    with np.errstate(all="ignore"):
        exact = CASES[name][0](x.astype(np.float64))
        check(name, x, function(name, "f4")(x), np.where(np.abs(exact) > np.finfo(np.float32).max, np.inf, exact))


@each_function
def test_float64_beside_forty_digits(name):
    rng = np.random.default_rng(0)
    n = 500
    near = [rng.normal(size=n) * 4, rng.uniform(-1.5, 1.5, n), 1 + rng.normal(size=n) * 10.0 ** rng.uniform(-16, 0, n)]
    far = [rng.uniform(-709, 709, n), rng.normal(size=n) * 10.0 ** rng.uniform(-20, 2.8, n)]
    small = rng.normal(size=n) * 10.0 ** rng.uniform(-307, 0, n)
    x = np.concatenate([*near, *far, small])
    x = x[(x < 709) & ((x > 0) | (name != "log")) & ((x > -1) | (name != "log1p"))]
    with mpmath.workdps(40):
        exact = np.array([more_than_double(CASES[name][1](mpmath.mpf(float(a)))) for a in x])
    check(name, x, function(name, "f8")(x), exact)


def more_than_double(x):
    """x as a longdouble, which has more digits than a double on most machines."""
    return np.longdouble(float(x)) + np.longdouble(float(x - mpmath.mpf(float(x))))


@each_function
@each_kind
def test_the_ends_of_the_floats(name, kind):
    x = np.array([0, INF, -INF, NAN], DTYPES[kind])
    f, few = function(name, kind), 4 * np.finfo(x.dtype).eps
    np.testing.assert_allclose(f(x), np.array(CASES[name][3], x.dtype), rtol=few)
    huge = np.array([np.finfo(x.dtype).max, np.finfo(x.dtype).min], x.dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(f(huge), CASES[name][0](huge), rtol=few)


@pytest.mark.parametrize("name", ["tanh", "erf"])
@each_kind
def test_odd_functions_keep_the_sign_of_zero(name, kind):
    y = function(name, kind)(np.array([0.0, -0.0], DTYPES[kind]))
    np.testing.assert_array_equal(np.signbit(y), [False, True])


@each_kind
def test_logarithms_of_the_smallest_floats(kind):
    tiny = np.finfo(DTYPES[kind]).smallest_subnormal
    x = (tiny * np.array([1, 2, 3, 1000, 2.0**22])).astype(DTYPES[kind])
    np.testing.assert_array_max_ulp(function("log", kind)(x), np.log(x), 2)


@each_function
@each_kind
def test_values_stay_between_the_ends(name, kind):
    x = np.linspace(-120, 120, 100_001).astype(DTYPES[kind])
    y = function(name, kind)(x)
    low, high = CASES[name][4]
    y = y[~np.isnan(y)]
    assert np.all((y >= low) & (y <= high))


@each_kind
def test_logaddexp(kind):
    a = np.random.default_rng(0).normal(size=1000).astype(DTYPES[kind]) * 30
    a[:6], a[-6:] = [INF, -INF, NAN, 0, INF, -3], [0, -3, NAN, 0, -INF, INF]
    few = 4 * np.finfo(a.dtype).eps
    with np.errstate(invalid="ignore"):
        others, itself = np.logaddexp(a, a[::-1]), np.logaddexp(a, a)
    f = compiled(["logaddexp"], kind, f"fast_logaddexp_{kind}(x[i], x[n - 1 - i])")
    np.testing.assert_allclose(f(a)[0], others, rtol=few, atol=few)  # absolute: the logarithm of about 1 is about 0
    f = compiled(["logaddexp"], kind, f"fast_logaddexp_{kind}(x[i], x[i])")
    np.testing.assert_allclose(f(a)[0], itself, rtol=few)


# ---- in a block of the compiler, whose own terms may be taken in any order ------------------------------------------


@each_kind
def test_a_block_may_reorder_its_own_terms_but_not_those_of_a_function(kind):
    x = np.random.default_rng(0).normal(size=10_000).astype(DTYPES[kind]) * 5
    few = 4 * np.finfo(x.dtype).eps
    y, total = compiled(["exp"], kind, f"fast_exp_{kind}(x[i] - x[0])")(x)
    exact = np.exp((x - x[0]).astype(np.longdouble))
    np.testing.assert_allclose(y, exact.astype(x.dtype), rtol=few)
    np.testing.assert_allclose(total, exact.sum(), rtol=few)  # in vectors: better than one by one
    y, _ = compiled(["log1p", "tanh"], kind, f"fast_log1p_{kind}(x[i] * x[i]) - fast_tanh_{kind}(x[i] + {kind}(1))")(x)
    z = x.astype(np.longdouble)
    exact = np.log1p(z * z) - np.tanh((x + x.dtype.type(1)).astype(np.longdouble))
    np.testing.assert_allclose(y, exact.astype(x.dtype), rtol=few, atol=few)


@each_kind
def test_a_loop_of_all_functions_is_vectorised(kind):
    numba = pytest.importorskip("numba")
    terms = " + ".join(f"fast_{name}_{kind}(x[i])" for name in CASES)
    text = f"""{PRELUDE}
{approximations.source([f"fast_{name}" for name in CASES], kind)}

def run(x, y, n):
    for i in range(n):
        y[i] = {terms}
"""
    namespace = {}
    exec(text, namespace)
    real = np.dtype(DTYPES[kind]).name
    made = numba.cfunc(f"void(CPointer({real}), CPointer({real}), int64)", **native.OPTIONS)(namespace["run"])
    width = {"f4": "float", "f8": "double"}[kind]
    assert re.search(rf"fdiv [a-z ]*<\d+ x {width}>", made.inspect_llvm())


@each_kind
def test_ranks_are_in_the_order_of_floats(kind):
    tiny, huge = np.finfo(DTYPES[kind]).smallest_subnormal, np.finfo(DTYPES[kind]).max
    x = np.array([-INF, -huge, -2.0, -tiny, 0, tiny, 1, 1 + 1e-6, huge, INF, NAN], DTYPES[kind])
    text = f"""{PRELUDE}
{approximations.source(["ranked", "of_rank"], kind)}
def run(x, y, n):
    m = ranked_{kind}(x[0])
    for i in range(n):
        y[i] = of_rank_{kind}(ranked_{kind}(x[i]))
        m = max(m, ranked_{kind}(x[i]))
    y[n] = of_rank_{kind}(m)
"""
    real = np.dtype(DTYPES[kind]).name
    address = native.build(text, "run", f"void(CPointer({real}), CPointer({real}), int64)")
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(address)
    y = np.empty(len(x) + 1, x.dtype)
    for n in range(1, len(x) + 1):
        for some in (x[:n].copy(), x[:n][::-1].copy(), -x[:n], np.roll(x[:n], n // 2)):
            run(native.address_of(some), native.address_of(y), n)
            np.testing.assert_array_equal(y[:n], some)
            np.testing.assert_array_equal(y[n], some.max())


# ---- as text and as kernels -----------------------------------------------------------------------------------------


def test_both_kinds_in_one_text():
    both = PRELUDE + approximations.source(["fast_exp"], "f4") + approximations.source(["fast_exp"], "f8")
    text = f"{both}\ndef run(x):\n    return f8(fast_exp_f4(f4(x))) - fast_exp_f8(x)\n"
    run = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(native.build(text, "run", "float64(float64)"))
    assert 0 < abs(run(1.0)) < 3e-7


def test_source_holds_what_is_called_and_nothing_else():
    text = approximations.source(["fast_exp", "fast_sigmoid"], "f4")
    defined = re.findall(r"^def (\w+)_f4\(", text, re.MULTILINE)
    assert sorted(defined) == sorted(["bits", "floating", "bounded", "split", "fast_exp", "fast_sigmoid"])
    assert defined[-1] == "fast_sigmoid"
    assert "float64" not in text
    assert "single" not in text


def test_source_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="no approximation of fast_gamma; there are fast_erf, "):
        approximations.source(["fast_gamma"], "f4")
    with pytest.raises(ValueError, match='kind=.f2. is neither "f4" nor "f8"'):
        approximations.source(["fast_exp"], "f2")


@kernels.kernel
def erfs(x, y):
    for i in range(x.shape[0]):
        y[i] = fast_erf(x[i])


@kernels.kernel
def logs(x, y):
    for i in range(x.shape[0]):
        y[i] = fast_log(x[i])


@each_kind
@pytest.mark.parametrize(("ours", "name"), [(erfs, "erf"), (logs, "log")])
def test_kernels_call_them_too(ours, name, kind):
    x = np.linspace(0.01, 5, 1000).astype(DTYPES[kind])
    y = np.empty_like(x)
    ours(x, y)
    np.testing.assert_array_equal(y, function(name, kind)(x))
