"""SciPy's special functions: to the third derivative against mpmath, at their edges against torch, under SciPy's names.

What all elementwise ops have in common is tested in test_ops.py and test_symbolic.py.
"""

from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
import scipy.special
import sympy
from catalogue import agree, close, gradients, leaf, sample, torch
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.ops.card import CARDS, SCIPY
from minigrad.ops.numpy import is_scipys
from minigrad.ops.special import ierfcx
from minigrad.tensor import Tensor

special = mg.special
inf = np.inf


# ---- derivatives in many digits ------------------------------------------------------------------------------------


def erfcx(x):
    return mpmath.exp(x * x) * mpmath.erfc(x)


def spherical(n):
    return lambda x: mpmath.sqrt(mpmath.pi / 2 / x) * mpmath.besselj(n + mpmath.mpf(1) / 2, x)


# The op, mpmath's function, and where; what is lost near a pole or a zero is not the op's to give.
DERIVATIVES = {
    "erf": (special.erf, mpmath.erf, [-2.5, -0.3, 0.0, 1.5]),
    "erfc": (special.erfc, mpmath.erfc, [-2.5, 0.3, 1.5, 6.0]),
    "erfinv": (special.erfinv, mpmath.erfinv, [-0.99, -0.3, 0.0, 0.7]),
    "erfcinv": (special.erfcinv, lambda x: mpmath.erfinv(1 - x), [1e-6, 0.3, 1.0, 1.8]),
    "erfcx": (special.erfcx, erfcx, [-3.0, -0.3, 0.0, 1.5, 5.0]),
    "ierfcx": (ierfcx, lambda x: 1 / mpmath.sqrt(mpmath.pi) - x * erfcx(x), [-3.0, -0.3, 0.0, 1.5, 5.0]),
    "ndtr": (special.ndtr, mpmath.ncdf, [-8.0, -0.3, 0.0, 2.0]),
    "log_ndtr": (special.log_ndtr, lambda x: mpmath.log(mpmath.ncdf(x)), [-6.0, -1.0, 0.0, 2.0, 6.0]),
    "ndtri": (special.ndtri, lambda p: mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1), [1e-6, 0.3, 0.5, 0.9]),
    "logit": (special.logit, lambda p: mpmath.log(p / (1 - p)), [1e-6, 0.3, 0.501, 0.9, 0.5 + 1e-9]),
    "expit": (special.expit, mpmath.sigmoid if hasattr(mpmath, "sigmoid") else lambda x: 1 / (1 + mpmath.exp(-x)),
              [-20.0, -0.5, 0.25, 3.0]),
    "entr": (special.entr, lambda x: -x * mpmath.log(x), [1e-6, 0.3, 1.0, 3.0]),
    "gamma": (special.gamma, mpmath.gamma, [-2.5, -0.3, 0.5, 1.25, 7.5]),
    "gammaln": (special.gammaln, mpmath.loggamma, [0.01, 0.5, 3.0, 40.0]),
    "digamma": (special.digamma, mpmath.digamma, [-2.5, -0.3, 0.5, 3.0, 40.0]),
    "polygamma 1": (lambda x: special.polygamma(1, x), lambda x: mpmath.psi(1, x), [-2.3, 0.5, 3.0, 40.0]),
    "polygamma 3": (lambda x: special.polygamma(3, x), lambda x: mpmath.psi(3, x), [-2.3, 0.5, 3.0, 40.0]),
    "i0": (special.i0, lambda x: mpmath.besseli(0, x), [-4.0, 0.0, 0.3, 9.0]),
    "i1": (special.i1, lambda x: mpmath.besseli(1, x), [-4.0, 0.0, 1e-3, 8e-3, 0.3, 9.0]),
    "iv": (lambda x: special.iv(2.5, x), lambda x: mpmath.besseli(2.5, x), [0.3, 4.0]),
    "iv -3": (lambda x: special.iv(-3, x), lambda x: mpmath.besseli(3, x), [-4.0, -0.3, 0.3]),
    "j0": (special.j0, lambda x: mpmath.besselj(0, x), [-4.0, 0.0, 0.3, 9.0]),
    "j1": (special.j1, lambda x: mpmath.besselj(1, x), [-4.0, 0.0, 0.3, 9.0]),
    "jv": (lambda x: special.jv(2.5, x), lambda x: mpmath.besselj(2.5, x), [0.3, 4.0]),
    "spherical_jn 0": (lambda x: special.spherical_jn(0, x), mpmath.sinc, [-4.0, 0.0, 1e-3, 9.0]),
    "spherical_jn 2": (lambda x: special.spherical_jn(2, x), spherical(2), [0.3, 0.999, 1.001, 4.0]),
    "sinc": (mg.sinc, mpmath.sincpi, [-0.7, 0.0, 0.31, 0.33, 2.25]),
}  # fmt: skip


def ours(f, x, order):
    for _ in range(order):
        f = mg.grad(f)
    return f(x).item()


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives(name, order):
    f, theirs, points = DERIVATIVES[name]
    with mpmath.workdps(60):
        for x in points:
            expected = theirs(mpmath.mpf(x)) if order == 0 else mpmath.diff(theirs, mpmath.mpf(x), order)
            assert ours(f, x, order) == pytest.approx(float(mpmath.re(expected)), rel=1e-11, abs=1e-14), x


@pytest.mark.parametrize("x", [0.0, 5e-324, 1e-300, 1e-9, 1e-5, -1e-5, 3.1e-5, 3.2e-5, 1e-3, 0.3, 0.32])
def test_sinc_keeps_its_digits_near_0(x):
    """Its derivatives there are those of its series: -pi^2 x / 3 + pi^4 x^3 / 30, and so on."""
    with mpmath.workdps(50):
        z = mpmath.pi * mpmath.mpf(x)
        series = [
            mpmath.pi**n * mpmath.nsum(lambda k, n=n: (-1) ** k * mpmath.rf(2 * k - n + 1, n) * z ** (2 * k - n) /
                                       mpmath.factorial(2 * k + 1), [(n + 1) // 2, 40])
            for n in (1, 2, 3)
        ]  # fmt: skip
    for n, expected in enumerate(series, 1):
        assert ours(mg.sinc, x, n) == pytest.approx(float(expected), rel=2e-14, abs=1e-322), n
    assert ours(mg.sinc, 0.0, 2) == pytest.approx(-(np.pi**2) / 3, rel=1e-15)


@pytest.mark.parametrize("x", [-8.0, -30.0, -1e3, -1e8, -1e200])
def test_log_ndtr_far_to_the_left(x):
    """The slope is -x there, or more by 1/-x, and the bend -1, or less by 1/x^2; neither is 0 / 0."""
    with mpmath.workdps(60):
        z = mpmath.mpf(x)
        ratio = -z / mpmath.mpf(1) if x < -1e7 else mpmath.npdf(z) / mpmath.ncdf(z)
        bend = -1 + 1 / z**2 if x < -1e7 else -ratio * (ratio + z)
    assert ours(special.log_ndtr, x, 1) == pytest.approx(float(ratio), rel=1e-14)
    if x > -1e150:
        assert ours(special.log_ndtr, x, 2) == pytest.approx(float(bend), rel=1e-13)


PAIRS = {
    "beta": (special.beta, mpmath.beta, [(0.5, 2.0), (3.0, 0.25), (2.0, 2.0)]),
    "betaln": (special.betaln, lambda a, b: mpmath.log(mpmath.beta(a, b)), [(0.5, 2.0), (3.0, 0.25), (30.0, 40.0)]),
    "xlogy": (special.xlogy, lambda x, y: x * mpmath.log(y), [(0.5, 2.0), (-3.0, 0.25), (0.0, 0.5)]),
    "xlog1py": (special.xlog1py, lambda x, y: x * mpmath.log1p(y), [(0.5, 2.0), (-3.0, 1e-9), (0.0, -0.5)]),
    "hypot": (mg.hypot, mpmath.hypot, [(3.0, 4.0), (-1e-3, 2.0), (1.0, 0.0)]),
    "arctan2": (mg.arctan2, mpmath.atan2, [(3.0, 4.0), (-1.0, -2.0), (1.0, 0.0), (-1.0, 0.0)]),
}


@pytest.mark.parametrize("orders", [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (2, 1)], ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_derivatives_by_both(name, orders):
    f, theirs, points = PAIRS[name]
    for i, n in enumerate(orders):
        for _ in range(n):
            f = mg.grad(f, argnums=i)
    with mpmath.workdps(60):
        for point in points:
            at = tuple(map(mpmath.mpf, point))
            expected = float(mpmath.diff(theirs, at, orders) if any(orders) else theirs(*at))
            assert f(*point).item() == pytest.approx(expected, rel=1e-11, abs=1e-13), point


# ---- edges ---------------------------------------------------------------------------------------------------------

EDGES = {
    "erfinv": (special.erfinv, torch.erfinv, [-1.0, 1.0, 2.0]),
    "erf": (special.erf, torch.erf, [-inf, inf, 30.0, np.nan]),
    "erfcx": (special.erfcx, torch.special.erfcx, [1e3, 1e8]),
    "ndtr": (special.ndtr, torch.special.ndtr, [-40.0, 40.0, inf, -inf]),
    "ndtri": (special.ndtri, torch.special.ndtri, [0.0, 1.0, 2.0]),
    "log_ndtr": (special.log_ndtr, torch.special.log_ndtr, [-40.0, 40.0, inf]),
    "gammaln": (special.gammaln, torch.lgamma, [1e300]),
    "xlogy": (lambda x: special.xlogy(x, [-1.0, 0.0, 2.0, np.nan]),
              lambda x: torch.xlogy(x, torch.tensor([-1.0, 0.0, 2.0, np.nan]).double()), [0.0, 0.0, 0.0, 1.0]),
    "xlogy by y": (lambda y: special.xlogy([0.0, 0.0, 2.0], y),
                   lambda y: torch.xlogy(torch.tensor([0.0, 0.0, 2.0]).double(), y), [-1.0, 2.0, 3.0]),
    "xlog1py": (lambda x: special.xlog1py(x, [-2.0, -1.0, 1.0]),
                lambda x: torch.special.xlog1py(x, torch.tensor([-2.0, -1.0, 1.0]).double()), [0.0, 0.0, 0.0]),
    "xlog1py by y": (lambda y: special.xlog1py([0.0, 0.0, 2.0], y),
                     lambda y: torch.special.xlog1py(torch.tensor([0.0, 0.0, 2.0]).double(), y), [-2.0, 2.0, 3.0]),
    "cbrt": (mg.cbrt, lambda x: x.sign() * x.abs() ** (1 / 3), [1e300, -1e-300]),
    "arcsinh": (mg.arcsinh, torch.asinh, [1e150, -1e150]),
    "arccosh": (mg.arccosh, torch.acosh, [1e8]),
    "logaddexp2": (lambda x: mg.logaddexp2(x, 0.0),
                   lambda x: torch.logaddexp(x * np.log(2), torch.tensor(0.0)) / np.log(2), [-2e3, 2e3]),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
def test_edges(name):
    f, theirs, x = EDGES[name]
    agree(f, theirs, [np.array(x)], np.random.default_rng(0), second=False)


def slope(f, x):
    """The gradient at each x, infinite ones without NumPy's warning."""
    x = leaf(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = f(x)
        return y.data, gradients(y, np.ones(y.shape), [x])[0].data


def test_entropy_at_the_edge_of_its_domain():
    values, slopes = slope(special.entr, [0.0, -1.0])
    np.testing.assert_array_equal(values, [0, -inf])
    np.testing.assert_array_equal(slopes, [inf, np.nan])


def test_0_log_0_has_no_slopes():
    """torch's slope by y is nan there."""
    for f, y in ((special.xlogy, 0.0), (special.xlog1py, -1.0)):
        by_x, by_y = mg.grad(f, argnums=(0, 1))(0.0, y)
        assert by_x.item() == by_y.item() == 0
        assert mg.hessian(lambda v, f=f: f(v[0], v[1]))(np.array([0.0, y])).data[1, 1] == 0


def test_slopes_at_the_ends_of_domains_are_infinite():
    for f, x, expected in [
        (lambda y: special.xlogy(2.0, y), 0.0, inf), (lambda y: special.xlog1py(2.0, y), -1.0, inf),
        (mg.cbrt, 0.0, inf), (mg.arcsin, 1.0, inf), (mg.arccos, -1.0, -inf), (mg.arccosh, 1.0, inf),
        (mg.arctanh, 1.0, inf), (special.logit, 0.0, inf), (special.erfcinv, 0.0, -inf),
    ]:  # fmt: skip
        assert slope(f, x)[1] == expected, f


def test_angles_and_distances_at_the_origin():
    """The slopes are 0, where torch's hypot has nan; but not the smallest step away from it."""
    for f in (mg.hypot, mg.arctan2):
        assert [g.item() for g in mg.grad(f, argnums=(0, 1))(0.0, 0.0)] == [0, 0]
        assert [g.item() for g in mg.grad(f, argnums=(0, 1))(-0.0, 0.0)] == [0, 0]
        assert np.isfinite(mg.hessian(lambda v, f=f: f(v[0], v[1]))(np.zeros(2)).data).all()
    assert [g.item() for g in mg.grad(mg.hypot, argnums=(0, 1))(5e-324, 0.0)] == [1, 0]
    assert [g.item() for g in mg.grad(mg.hypot, argnums=(0, 1))(3e200, 4e200)] == pytest.approx([0.6, 0.8], rel=1e-15)
    by_y, by_x = mg.grad(mg.arctan2, argnums=(0, 1))(3e200, 4e200)
    assert [by_y.item(), by_x.item()] == pytest.approx([4 / 25e200, -3 / 25e200], rel=1e-15)
    assert [g.item() for g in mg.grad(mg.arctan2, argnums=(0, 1))(3e-200, 4e-200)] == pytest.approx([16e198, -12e198])


@settings(max_examples=40)
@given(a=st.floats(-1e3, 1e3), b=st.floats(0.01, 1e3), sign=st.sampled_from([-1, 1]))
def test_remainders_fit_their_slopes(a, b, sign):
    """y = a + slope * b, for the slope by b, is the very remainder that NumPy gives, however a / b is rounded."""
    b *= sign
    for f, numpy in ((mg.mod, np.mod), (mg.fmod, np.fmod)):
        by_a, by_b = mg.grad(f, argnums=(0, 1))(a, b)
        assert by_a.item() == 1
        rest = mpmath.mpf(a) + mpmath.mpf(by_b.item()) * mpmath.mpf(b)
        assert float(rest) == pytest.approx(numpy(a, b), rel=1e-12, abs=1e-13 * (abs(a) + abs(b)))


def test_the_remainder_of_1_by_a_tenth():
    """0.1 is more than a tenth: it goes into 1 nine times, though 1 / 0.1 is rounded to 10."""
    assert mg.grad(mg.mod, argnums=1)(1.0, 0.1).item() == -9
    assert mg.grad(mg.fmod, argnums=1)(-1.0, 0.1).item() == 9


def test_steps_are_flat_at_infinity_too():
    ends = np.array([inf, -inf])
    for f in (mg.floor, mg.ceil, mg.trunc, mg.rint):
        assert slope(f, ends)[1].tolist() == [0, 0]
    for f, a, b in [
        (mg.heaviside, inf, 0.5), (mg.heaviside, 0.0, inf), (mg.copysign, inf, 1.0), (mg.copysign, 1.0, inf),
        (mg.floor_divide, 1.0, inf), (mg.floor_divide, inf, 1.0), (mg.floor_divide, 1e308, 1e-308),
    ]:  # fmt: skip
        with np.errstate(all="ignore"):
            by_a, by_b = mg.grad(f, argnums=(0, 1))(a, b)
        assert by_a.item() == (0 if f is not mg.copysign else 1), f
        assert by_b.item() == (0 if (f, a) != (mg.heaviside, 0.0) else 1), f


def test_heaviside_takes_its_middle_from_its_second_argument():
    x, middle = np.array([-1.0, 0.0, 2.0]), np.full(3, 0.5)
    by_x, by_middle = mg.grad(lambda x, h: mg.heaviside(x, h).sum(), argnums=(0, 1))(x, middle)
    assert by_x.tolist() == [0, 0, 0]
    assert by_middle.tolist() == [0, 1, 0]


def test_numbers_for_what_is_none():
    x = np.array([0.5, np.nan, inf, -inf])
    for params in ({}, {"nan": 1.0}, {"posinf": 7.0, "neginf": -7.0}):
        y = mg.nan_to_num(leaf(x), **params)
        np.testing.assert_array_equal(y.data, np.nan_to_num(x, **params))
    x32 = leaf(x.astype(np.float32))
    y = np.nan_to_num(x32, nan=2.0)
    assert y.dtype == np.float32
    assert gradients(y, np.full(4, 3.0, np.float32), [x32])[0].tolist() == [3, 0, 0, 0]
    assert mg.nan_to_num(mg.symbols("x")).item() == mg.symbols("x").item()


# ---- integers, single numbers, broadcasting ------------------------------------------------------------------------


def test_integers():
    """As NumPy has it: whole numbers where nothing else is needed, floats for what has a fraction."""
    n = mg.tensor([7, -7, 5])
    for y, expected in [
        (n % 3, np.array([7, -7, 5]) % 3), (n // 2, np.array([7, -7, 5]) // 2), (17 % n, 17 % np.array([7, -7, 5])),
        (-17 // n, -17 // np.array([7, -7, 5])), (np.fmod(n, 3), np.fmod([7, -7, 5], 3)),
        (mg.hypot(n, 1), np.hypot([7, -7, 5], 1)), (mg.fabs(n), np.fabs([7, -7, 5])),
        (mg.special.gamma(n * n), scipy.special.gamma([49, 49, 25])), (mg.round(n, -1), np.round([7, -7, 5], -1)),
        (mg.special.iv(2, n), scipy.special.iv(2, [7, -7, 5])), (mg.float_power(n, -1), np.float_power([7, -7, 5], -1)),
        (mg.special.spherical_jn(1, n * n), scipy.special.spherical_jn(1, [49, 49, 25])),
    ]:  # fmt: skip
        assert type(y) is Tensor
        assert y.dtype == expected.dtype
        np.testing.assert_allclose(y.data, expected, rtol=1e-15)


def test_a_float_that_meets_integers():
    x = leaf([7.5, -7.5])
    y = x % np.array([2, 3]) + x // np.array([2, 3])
    np.testing.assert_array_equal(y.data, [1.5 + 3, 1.5 - 3])
    assert gradients(y, np.ones(2), [x])[0].tolist() == [1, 1]


@pytest.mark.parametrize("f", [mg.hypot, mg.arctan2, mg.mod, mg.fmod, special.beta, special.xlogy, mg.fmax])
def test_two_inputs_broadcast(f):
    a, b, g = leaf([[1.5], [2.5]]), leaf([0.5, 1.75, 3.25]), np.arange(1.0, 7).reshape(2, 3)
    y = f(a, b)
    by_a, by_b = gradients(y, g, [a, b])
    assert (y.shape, by_a.shape, by_b.shape) == ((2, 3), (2, 1), (3,))
    for i in range(2):
        for j in range(3):  # one at a time, as numbers
            slopes = mg.grad(f, argnums=(0, 1))(a.data[i, 0], b.data[j])
            by_a.data[i, 0] -= g[i, j] * slopes[0].item()
            by_b.data[j] -= g[i, j] * slopes[1].item()
    np.testing.assert_allclose(by_a.data, 0, atol=1e-13)
    np.testing.assert_allclose(by_b.data, 0, atol=1e-13)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: special.xlogy(x, 2.0), lambda x: special.xlogy(2.0, x), lambda x: special.xlog1py(x, 2.0),
        lambda x: special.beta(x, 2.0), lambda x: special.beta(2, x), lambda x: special.betaln(2.0, x),
        lambda x: special.polygamma(3, x), lambda x: special.iv(2.5, x), lambda x: special.jv(1, x),
        lambda x: special.spherical_jn(2, x), lambda x: mg.hypot(x, 2.0), lambda x: mg.arctan2(1.5, x),
        lambda x: x % 0.3, lambda x: 2.5 % x, lambda x: mg.fmod(2.5, x), lambda x: mg.copysign(x, -1.0),
        lambda x: mg.round(x, 1), lambda x: mg.heaviside(x, 0.5), lambda x: mg.fmax(x, 0.5), lambda x: x // 0.3,
        lambda x: mg.logaddexp2(x, 1.0),
    ],
    ids=range(21),
)  # fmt: skip
@pytest.mark.parametrize("shape", [(), (2,)], ids=str)
def test_float32_beside_numbers(f, shape):
    x = leaf(np.full(shape, 0.75, np.float32))
    y = f(x)
    assert y.dtype == np.float32
    assert gradients(y, np.ones(shape, np.float32), [x])[0].dtype == np.float32


def test_operators_that_assign():
    y = leaf([7.5, 5.25]) * 1.0
    y %= 4.0
    y //= 1.0
    np.testing.assert_array_equal(y.data, [3, 1])
    w = leaf([7.5])
    with pytest.raises(RuntimeError, match="a graph does not see writing into it"):
        w %= 2.0
    with mg.no_grad():
        w %= 2.0
    assert w.tolist() == [1.5]
    assert w.requires_grad


# ---- SciPy's own functions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SCIPY.keys() - {"iv", "jv"}))
def test_scipys_functions_on_tensors(name):
    ufunc, op = getattr(scipy.special, name), SCIPY[name]
    domains = op.domain if isinstance(op.domain, list) else [op.domain]
    arrays = [sample(np.random.default_rng(0), d, (3,)) for d in domains]
    leaves = [leaf(x) for x in arrays]
    y = ufunc(*leaves)
    assert type(y) is Tensor
    np.testing.assert_allclose(y.data, ufunc(*arrays), rtol=1e-15)
    found = gradients(y, np.ones(3), leaves)
    for i, x in enumerate(arrays):  # differences of SciPy's values
        h = 1e-5 * np.maximum(np.abs(x), 0.1)
        up, down = ([*arrays[:i], x + s * h, *arrays[i + 1 :]] for s in (1, -1))
        close(found[i], (ufunc(*up) - ufunc(*down)) / (2 * h), name, rtol=1e-6)


def test_orders_come_first():
    x = leaf([0.5, 2.0])
    for ufunc, f in ((scipy.special.jv, special.jv), (scipy.special.iv, special.iv)):
        y = ufunc(1.5, x)
        np.testing.assert_allclose(y.data, ufunc(1.5, x.data), rtol=1e-15)
        np.testing.assert_array_equal(y.data, f(np.array(1.5), x).data)
        assert gradients(y, np.ones(2), [x])[0] is not None
    np.testing.assert_array_equal(special.polygamma(0, x).data, scipy.special.psi(x.data))
    np.testing.assert_allclose(special.polygamma(np.int64(2), x).data, scipy.special.polygamma(2, x.data), rtol=1e-15)


def test_a_function_of_that_name_need_not_be_scipys():
    assert is_scipys(scipy.special.gamma)
    assert not is_scipys(SimpleNamespace(__name__="gamma"))
    assert not is_scipys(np.exp2)  # SciPy's is another one


def test_what_is_not_differentiable_yet_says_so():
    with pytest.raises(TypeError, match=r"k0 is not differentiable here"):
        scipy.special.k0(leaf([1.0]))
    np.testing.assert_array_equal(scipy.special.k0(mg.tensor([1.0])), scipy.special.k0([1.0]))


def test_names():
    """What has two names is one function; `mg` itself has what NumPy calls by that name."""
    assert special.expit is mg.sigmoid
    assert special.psi is special.digamma
    assert special.erf is mg.erf
    assert special.i0 is mg.i0
    assert mg.remainder is mg.mod
    assert (mg.degrees, mg.radians) == (mg.rad2deg, mg.deg2rad)
    assert sorted(special.__all__) == special.__all__
    assert not hasattr(mg, "gamma")


@pytest.mark.parametrize(
    "name", ["erf", "gamma", "i0", "iv", "ierfcx", "polygamma", "spherical_jn", "sinc", "arctan2", "fmod", "beta"]
)
@pytest.mark.parametrize("shape", [(0,), (2, 0), ()], ids=str)
def test_nothing_and_one_number(name, shape):
    card = CARDS[name]
    xs = [leaf(np.full(shape, 0.5)) for _ in range(card.arity)]
    y = card(*xs)
    assert [g.shape for g in gradients(y, np.ones(shape), xs)] == [shape] * card.arity


# ---- symbols -------------------------------------------------------------------------------------------------------


def test_formulas():
    x = sympy.Symbol("x", real=True)
    t = mg.symbols("x")
    assert special.polygamma(2, t).item() == sympy.polygamma(2, x)
    assert mg.grad(special.gammaln)(t).item() == sympy.digamma(x)
    assert mg.grad(mg.grad(special.gammaln))(t).item() == sympy.polygamma(1, x)
    assert special.jv(3, t).item() == sympy.besselj(3, x)
    assert mg.grad(special.i0)(t).item() == sympy.besseli(1, x)
    assert special.spherical_jn(0, t).item() == sympy.sin(x) / x
    assert scipy.special.j0(t.data).item() == sympy.besselj(0, x)
    assert scipy.special.i0(t.data).item() == np.i0(t.data).item() == sympy.besseli(0, x)
    assert np.sinc(t).item() == sympy.sinc(sympy.pi * x)
    assert (t % 3).item() == sympy.Mod(x, 3)
    assert mg.round(mg.tensor(sympy.Rational(5, 2))).item() == 2
    halves = [sympy.Rational(n, 2) for n in range(-5, 6)]
    np.testing.assert_array_equal(np.array(mg.rint(halves).tolist(), float), np.rint(np.arange(-5, 6) / 2))
    assert special.xlogy(mg.tensor(sympy.Integer(0)), mg.tensor(sympy.Integer(0))).item() == 0


REFUSED = [
    (lambda: special.polygamma(-1, 1.0), ValueError, "polygamma: its order is a whole number from 0 on, not -1"),
    (lambda: special.polygamma(1.5, 1.0), ValueError, "polygamma: its order is a whole number from 0 on, not 1.5"),
    (lambda: special.spherical_jn(-2, 1.0), ValueError, "spherical_jn: its order is a whole number"),
    (lambda: special.polygamma([1, 2], 1.0), TypeError, "polygamma: its order is one number"),
    (lambda: special.jv(leaf(1.0), 1.0), TypeError, "jv: its order is one number, and no gradient flows to it"),
    (lambda: scipy.special.iv(leaf([1.0, 2.0]), 1.0), TypeError, "iv: its order is one number"),
    (lambda: mg.nan_to_num([1.0], copy=False), TypeError, "nan_to_num: copy=False would write into its input"),
    (lambda: scipy.special.polygamma(1, leaf([1.0])), TypeError, "would leave the graph"),
    (lambda: np.round(leaf([1.0]), out=np.zeros(1)), TypeError, "unexpected keyword argument 'out'"),
    (lambda: np.arctan2(leaf([1.0]), 1.0, where=[True]), TypeError, "np.arctan2 with where is not differentiable here"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
