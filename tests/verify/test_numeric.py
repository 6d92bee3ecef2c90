"""The numeric check: derivatives in closed form, right gradients that look wrong, and wrong ones that look right."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.verify.numeric import check
from minigrad.verify.slopes import complex_step, derivative, slope

single = np.float32

# ---- derivative ----------------------------------------------------------------------------------------------------

# name: the function of h, its derivative at 0, and how far off the error may admit to be
SMOOTH = {
    "exp": (lambda h: np.exp(0.7 + h), math.exp(0.7), 1e-10),
    "linear": (lambda h: 2 + 3 * h, 3, 1e-12),
    "constant": (lambda h: 3.0, 0, 1e-12),
    "zero": (lambda h: 0.0, 0, 0),
    "square at 0": (lambda h: 1 + h * h, 0, 1e-12),
    "steep": (lambda h: np.exp(300 * h), 300, 1e-6),
    "oscillating": (lambda h: np.sin(1e4 * (0.7 + h)), 1e4 * math.cos(7e3), 1e-2),
    "fast": (lambda h: np.sin(1e5 * (0.7 + h)), 1e5 * math.cos(7e4), 1e3),
    "plus 1e8": (lambda h: 1e8 + (0.7 + h) ** 2, 1.4, 1e-5),
    "1e8 come and gone": (lambda h: 1e8 + (0.7 + h) ** 2 - 1e8, 1.4, 1e-4),
    "1e10 come and gone": (lambda h: 1e10 + (0.7 + h) ** 2 - 1e10, 1.4, 1e-2),
    "1e13 come and gone": (lambda h: 1e13 + (0.7 + h) ** 2 - 1e13, 1.4, 1),
    "float32": (lambda h: np.exp(single(0.7 + h)), math.exp(0.7), 1e-3),
    "float32 inside": (lambda h: float(single(0.5 + h * 0.5)) * 3, 1.5, 1e-4),
    "float16 inside": (lambda h: float(np.float16(0.5 + h * 0.5)) ** 2, 0.5, 0.1),
    "huge": (lambda h: 1e200 * (0.7 + h) ** 3, 1.47e200, 1e190),
    "tiny": (lambda h: 1e-200 * (0.7 + h) ** 3, 1.47e-200, 1e-210),
    "scales apart": (lambda h: 1 + 1e-12 * h, 1e-12, 1e-12),
    "near a pole": (lambda h: np.log(1e-12 * (1 + h)), 1, 1e-6),
    "far below 1": (lambda h: 1 + np.sin(1e-12 * (1 + h)), 1e-12, 1e-12),
    "kink far off": (lambda h: max(h - 1e-3, 0) + 0.3 * h, 0.3, 1e-8),
    "kink near": (lambda h: max(h - 1e-4, 0) + 0.3 * h, 0.3, 1e-6),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_derivative_keeps_to_its_error(name):
    phi, right, admitted = SMOOTH[name]
    for shift in (1, 0.61):
        found = derivative(phi, shift)
        assert not found.kink
        assert abs(found.value - right) <= found.error <= admitted


@pytest.mark.parametrize(("left", "right"), [(-1, 1), (0, 1), (0.01, 1), (0, 1e-3), (-1e9, 0)])
@pytest.mark.parametrize("smooth", [lambda h: 0.0, lambda h: np.exp(h), lambda h: 1e6 + h])
def test_a_kink_is_no_derivative_but_two_slopes(left, right, smooth):
    found = derivative(lambda h: smooth(h) + (right if h > 0 else left) * h)
    assert found.kink
    assert found.error == math.inf
    base = derivative(smooth).value
    assert found.right - found.left == pytest.approx(right - left, rel=0.05)
    assert found.left == pytest.approx(base + left, abs=0.05 * (abs(right - left) + abs(base)))


@pytest.mark.parametrize("distance", [1e-5, 1e-6, 1e-8, 1e-10, 1e-11, 1e-12, 1e-13, 1e-15, 1e-18])
def test_a_kink_too_near_to_see_past_accuses_nobody(distance):
    for phi, right in ((lambda h: max(h - distance, 0) + 1 + 0.3 * h, 0.3), (lambda h: abs(h - distance), -1)):
        found = derivative(phi)
        assert math.isnan(found.value) or abs(found.value - right) <= found.error


@pytest.mark.parametrize(
    "phi",
    [
        lambda h: np.sqrt(h),
        lambda h: abs(h) ** 0.5,
        lambda h: float(h > 0),
        lambda h: math.nan,
        lambda h: 1 / 0,
        lambda h: np.ones(2),
        lambda h: "1",
    ],
)
def test_where_nothing_can_be_measured_the_error_is_infinite(phi):
    assert derivative(phi).error == math.inf


@pytest.mark.parametrize("frequency", [1e8, 1e10, 1e13, 1e15])
def test_oscillation_that_floats_cannot_follow_is_noise(frequency):
    found = derivative(lambda h: np.sin(frequency * (0.7 + h)))
    assert found.error > 1e-3 * frequency


def test_no_step_beyond_reach():
    asked = []
    derivative(lambda h: asked.append(abs(h)) or 1 + 1e-9 * h)
    assert max(asked) < 1
    derivative(lambda h: asked.append(abs(h)) or 1 + 1e-9 * h, reach=100)
    assert 10 < max(asked) < 100


# ---- the complex step and the Taylor test --------------------------------------------------------------------------

X, V = np.array([0.3, -1.2, 2.0]), np.array([1.0, 0.5, -0.7])
ANALYTIC = {
    "exp": (lambda x: np.exp(x).sum(), np.exp(X) @ V),
    "plus 1e8": (lambda x: 1e8 + np.sin(x).sum(), np.cos(X) @ V),
    "our ops": (lambda x: mg.sum(mg.tanh(mg.tensor(x)) ** 2), 2 * np.tanh(X) / np.cosh(X) ** 2 @ V),
    "logsumexp": (lambda x: mg.logsumexp(x), np.exp(X) / np.exp(X).sum() @ V),
}


@pytest.mark.parametrize("name", ANALYTIC)
def test_complex_step_is_right_to_rounding(name):
    f, right = ANALYTIC[name]
    assert complex_step(f, [X], [V]) == pytest.approx(right, rel=1e-14)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.abs(x).sum(),
        lambda x: (x * np.conj(x)).sum(),
        lambda x: np.exp(x).real.sum(),
        lambda x: np.sin(x.astype(np.float64)).sum(),
        lambda x: sum(math.exp(t) for t in x),
        lambda x: np.sqrt(np.vdot(x, x)) + 0j,
        lambda x: np.heaviside(x, 0).sum(),
    ],
)
def test_complex_step_knows_where_it_does_not_apply(f):
    assert complex_step(f, [X], [V]) is None


def test_complex_step_moves_only_the_inputs_with_a_direction():
    f = lambda a, b, n: (a * b).sum() * n  # noqa: E731
    assert complex_step(f, [X, V, 3], [None, X, None]) == pytest.approx(3 * X @ X)


@pytest.mark.parametrize("name", ["exp", "oscillating", "steep", "tiny", "huge", "float32", "plus 1e8"])
def test_slope_is_two_when_right_and_drifts_to_one_when_wrong(name):
    phi, right, _ = SMOOTH[name]
    assert slope(phi, right).order > 1.8
    wrong = slope(phi, right * 1.1)
    assert wrong.order < 1.3
    assert wrong.error == pytest.approx(abs(right) * 0.1, rel=0.3)


def test_slope_of_a_linear_function_has_no_remainder():
    assert slope(lambda h: 1 + 3 * h, 3).exact
    assert slope(lambda h: 1 + 3 * h, 3.001).order == pytest.approx(1, abs=0.01)
    assert math.isnan(slope(lambda h: math.nan, 1).order)


# ---- whole gradients -----------------------------------------------------------------------------------------------

rng = np.random.default_rng(0)
A, B, C = rng.normal(size=(4, 3)), rng.normal(size=(3, 5)), rng.normal(size=(3, 3))


def net(x, w):
    return np.sum(np.tanh(x @ w) ** 2)


def net_gradient(x, w):
    y = np.tanh(x @ w)
    d = 2 * y * (1 - y * y)
    return d @ w.T, x.T @ d


def elementwise(f, df):
    return lambda x: np.sum(f(x)), lambda x: [df(x)]


def relu(x):
    return np.maximum(x, 0)


RIGHT = {
    "net": (net, net_gradient, (A, B)),
    "net in float32": (net, net_gradient, (A.astype(single), B.astype(single))),
    "net in its own float32": (
        lambda x, w: net(x.astype(single), w.astype(single)),
        lambda x, w: net_gradient(x.astype(single), w.astype(single)),
        (A, B),
    ),
    "steep": (*elementwise(lambda x: np.exp(30 * x), lambda x: 30 * np.exp(30 * x)), (A,)),
    "oscillating": (*elementwise(lambda x: np.sin(1e4 * x), lambda x: 1e4 * np.cos(1e4 * x)), (A,)),
    "plus 1e8": (lambda x: 1e8 + np.sin(x).sum(), lambda x: [np.cos(x)], (A,)),
    "1e8 come and gone": (lambda x: 1e8 + np.sin(x).sum() - 1e8, lambda x: [np.cos(x)], (A,)),
    "tiny inputs": (*elementwise(lambda x: x * x, lambda x: 2 * x), (A * 1e-12,)),
    "huge inputs": (*elementwise(lambda x: x * x, lambda x: 2 * x), (A * 1e12,)),
    "tiny inputs to a steep function": (
        *elementwise(lambda x: np.sin(1e12 * x), lambda x: 1e12 * np.cos(1e12 * x)),
        (A * 1e-12,),
    ),
    "tiny outputs": (*elementwise(lambda x: 1e-12 * np.sin(x), lambda x: 1e-12 * np.cos(x)), (A,)),
    "huge outputs": (*elementwise(lambda x: 1e12 * np.sin(x), lambda x: 1e12 * np.cos(x)), (A,)),
    "positive inputs of all sizes": (*elementwise(np.log, np.reciprocal), (np.array([1e-12, 1e-3, 1, 1e12]),)),
    "the edge of a domain": (
        *elementwise(np.arcsin, lambda x: 1 / np.sqrt(1 - x * x)),
        (np.array([0.999, -0.9999, 0]),),
    ),
    "relu": (*elementwise(relu, lambda x: (x > 0) * 1.0), (A,)),
    "relu at 0, slope 0": (*elementwise(relu, lambda x: (x > 0) * 1.0), (np.zeros(4),)),
    "relu at 0, slope 1": (*elementwise(relu, lambda x: (x >= 0) * 1.0), (np.zeros(4),)),
    "a kink very near": (*elementwise(np.abs, np.sign), (np.array([1e-13, -1e-9, 1e-6, 1.0, -2.0]),)),
    "steps": (*elementwise(lambda x: np.floor(10 * x) * x, lambda x: np.floor(10 * x)), (A,)),
    "norm at 0": (lambda x: np.sqrt((x * x).sum()), lambda x: [x / (np.sqrt((x * x).sum()) or 1)], (np.zeros(3),)),
    "a gradient of 0": (lambda x: (np.exp(x) / np.exp(x).sum()).sum(), lambda x: [np.zeros_like(x)], (A,)),
    "labels": (lambda x, k: x[np.arange(4), k].sum(), lambda x, k: [np.eye(3)[k]], (A, np.array([0, 2, 1, 1]))),
    "one number": (lambda x: x * x, lambda x: [2 * x], (3.0,)),
    "nothing": (lambda x: np.sum(x), lambda x: [x], (np.zeros((0, 2)),)),
    "minigrad": (lambda x: mg.sum(mg.sigmoid(x)), lambda x: [mg.grad(lambda x: mg.sum(mg.sigmoid(x)))(x)], (A,)),
    "a gradient in float32": (net, lambda x, w: [g.astype(single) for g in net_gradient(x, w)], (A, B)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_gradients_agree(name):
    f, gradients, inputs = RIGHT[name]
    for result in check(f, gradients, inputs):
        assert result.verdict == "agrees", result
        assert result.digits >= 2


def wrong_net(change):
    """The gradients of the net, each changed."""
    return (net, lambda x, w: [change(g) for g in net_gradient(x, w)], (A, B))


def changed(index, change):
    def apply(g):
        g = g.copy()
        g[index] = change(g[index])
        return g

    return apply


WRONG = {
    "sign": wrong_net(lambda g: -g),
    "zeros": wrong_net(lambda g: 0 * g),
    "double": wrong_net(lambda g: 2 * g),
    "factor 1.001": wrong_net(lambda g: g * 1.001),
    "factor 1.000001": wrong_net(lambda g: g * 1.000001),
    "one element": wrong_net(changed((1, 2), lambda v: v + 1e-4)),
    "one element is nan": wrong_net(changed((1, 2), lambda v: np.nan)),
    "one element is infinite": wrong_net(changed((1, 2), lambda v: np.inf)),
    "rows exchanged": wrong_net(lambda g: g[::-1]),
    "transposed": (*elementwise(lambda x: np.exp(x) * C, lambda x: (np.exp(x) * C).T), (C,)),
    "factor 1.1 in its own float32": (
        RIGHT["net in its own float32"][0], lambda x, w: [g * 1.1 for g in net_gradient(x, w)], (A, B)
    ),
    "float32 inputs": (net, lambda x, w: [g * 1.001 for g in net_gradient(x, w)], (A.astype(single), B.astype(single))),
    "oscillating": (*elementwise(lambda x: np.sin(1e4 * x), lambda x: 1.001e4 * np.cos(1e4 * x)), (A,)),
    "plus 1e8": (lambda x: 1e8 + np.sin(x).sum(), lambda x: [1.01 * np.cos(x)], (A,)),
    "huge inputs": (*elementwise(lambda x: x * x, lambda x: 2.002 * x), (A * 1e12,)),
    "tiny inputs": (*elementwise(lambda x: x * x, lambda x: 2.002 * x), (A * 1e-12,)),
    "relu on the wrong side": (*elementwise(relu, lambda x: (x < 0) * 1.0), (A,)),
    "only for positive inputs": (*elementwise(np.abs, np.ones_like), (A,)),
    "hidden by zeros": (*elementwise(lambda x: x**3, lambda x: x**2), (np.zeros(3),)),
    "hidden by ones": (*elementwise(lambda x: x**3, lambda x: 3 * x), (np.ones(3),)),
    "hidden by equal inputs": (lambda x: np.prod(x), lambda x: [np.prod(x) / x[::-1]], (np.full(3, 2.0),)),
    "a small element beside large ones": (
        lambda x: x @ np.array([1, 1e6, 1e12]), lambda x: [np.array([1.1, 1e6, 1e12])], (X,)
    ),
    "forgotten regulariser": (lambda x: np.sin(x).sum() + 1e-4 * (x * x).sum(), lambda x: [np.cos(x)], (A,)),
    "where there is no gradient": (lambda x: (x[1:] ** 2).sum(), lambda x: [2 * x], (X,)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_gradients_are_refuted_with_the_place_and_the_value(name):
    f, gradients, inputs = WRONG[name]
    for result in check(f, gradients, inputs):
        assert result.verdict == "refuted", result
        claimed = gradients(*result.at)[result.argnum][result.index]
        assert claimed == pytest.approx(result.claimed, nan_ok=True)
        assert not abs(result.claimed - result.right) <= 3 * result.error
        # The derivative by that element once more, by a formula of our own: central differences of order 4.
        x = result.at[result.argnum]

        def moved(h, result=result, x=x):
            new = x.copy()
            new[result.index] += h
            return float(f(*[new if i == result.argnum else value for i, value in enumerate(result.at)]))

        h = 1e-3 * abs(x[result.index]) / (1e4 if name == "oscillating" else 1)
        if h and "float32" not in name and name not in ("plus 1e8", "a small element beside large ones"):
            once_more = (8 * (moved(h) - moved(-h)) - moved(2 * h) + moved(-2 * h)) / (12 * h)
            assert result.right == pytest.approx(once_more, rel=1e-4, abs=1e-9)


def test_one_wrong_element_among_ten_thousand_is_found():
    weights = rng.normal(size=(100, 100))
    f = lambda x: np.sum(np.sin(x) * weights)  # noqa: E731
    x = rng.normal(size=(100, 100))
    assert check(f, lambda x: [np.cos(x) * weights], [x])[0].verdict == "agrees"
    for factor in (2, 1.001):
        (result,) = check(f, lambda x, k=factor: [changed((3, 7), lambda v: k * v)(np.cos(x) * weights)], [x])
        assert (result.verdict, result.index) == ("refuted", (3, 7))


def test_a_large_gradient_does_not_hide_a_small_one():
    size = np.where(np.arange(1000) == 500, 1, 1e9)
    f = lambda x: np.sum(np.sin(x) * size)  # noqa: E731
    x = rng.uniform(0.5, 1, 1000)
    assert check(f, lambda x: [np.cos(x) * size], [x])[0].verdict == "agrees"
    (result,) = check(f, lambda x: [changed(500, lambda v: 2 * v)(np.cos(x) * size)], [x])
    assert (result.verdict, result.index) == ("refuted", (500,))


# ---- what cannot be judged -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (lambda x: np.sum(x * np.random.default_rng().normal(size=3)), "called twice"),
        (lambda x: int(x.sum()), "int"),
        (lambda x: x * 2, r"shape \(3,\)"),
        (lambda x: x / None, "TypeError"),
        (lambda x: np.sum(x) * np.nan, "nan"),
        (lambda x: np.sum(np.sin(1e14 * x)), "rounding"),
        (lambda x: np.sum(x * 1e-12) + 1e8, "rounding"),
    ],
)
def test_functions_that_cannot_be_judged_are_undecided_and_it_says_why(f, reason):
    (result,) = check(f, lambda x: [np.full(3, 1e-12)], [X])
    assert result.verdict == "undecided"
    assert re.search(reason, result.note), result.note


def test_a_gradient_that_is_not_claimed_is_undecided_and_a_wrong_shape_is_refuted():
    nothing, shape = check(lambda a, b: a.sum() * b.sum(), lambda a, b: [None, np.ones(4)], [X, V])
    assert nothing.verdict == "undecided"
    assert shape.verdict == "refuted"
    assert "(4,)" in shape.note
    assert "(3,)" in shape.note


def test_only_the_asked_inputs_are_looked_at():
    results = check(lambda a, b: (a * b).sum(), lambda a, b: [a], [X, V], argnums=[1])
    assert [(r.argnum, r.verdict) for r in results] == [(1, "agrees")]


def test_functions_that_want_single_precision_get_it():
    def f(x):
        if x.dtype != single:
            raise TypeError("float32, please")
        return np.sin(x).sum()

    assert check(f, lambda x: [np.cos(x)], [X.astype(single)])[0].verdict == "agrees"
    assert check(f, lambda x: [1.1 * np.cos(x)], [X.astype(single)])[0].verdict == "refuted"


def test_inputs_are_left_as_they_were_and_a_seed_gives_the_same_again():
    def f(x):
        x *= 2  # in place
        return np.exp(x).sum()

    x = X.copy()
    right = check(f, lambda x: [2 * np.exp(2 * x)], [x])
    assert right[0].verdict == "agrees"
    assert (x == X).all()
    wrong = [check(f, lambda x: [np.exp(2 * x)], [x], seed=7)[0] for _ in range(2)]
    assert wrong[0].verdict == "refuted"
    assert repr(wrong[0]) == repr(wrong[1])


def test_when_time_is_up_it_says_so():
    (result,) = check(lambda x: x.sum(), lambda x: [np.ones(3)], [X], seconds=0)
    assert (result.verdict, "time was up" in result.note) == ("undecided", True)


def test_functions_of_other_libraries():
    torch = pytest.importorskip("torch")

    def f(x):
        return torch.logsumexp(torch.as_tensor(x), 0)

    def gradients(x):
        x = torch.as_tensor(x).requires_grad_()
        return torch.autograd.grad(f(x), [x])

    assert check(f, gradients, [X])[0].verdict == "agrees"
    assert check(f, lambda x: [1.001 * g for g in gradients(x)], [X])[0].verdict == "refuted"


# ---- no right gradient is ever accused -----------------------------------------------------------------------------

LAYERS = {
    "sin": (np.sin, np.cos),
    "tanh": (np.tanh, lambda u: 1 - np.tanh(u) ** 2),
    "exp": (np.exp, np.exp),
    "square": (lambda u: u * u, lambda u: 2 * u),
    "cube": (lambda u: u**3, lambda u: 3 * u * u),
    "relu": (relu, lambda u: u > 0),
    "abs": (np.abs, np.sign),
    "atan": (np.arctan, lambda u: 1 / (1 + u * u)),
    "root": (lambda u: np.sqrt(1 + u * u), lambda u: u / np.sqrt(1 + u * u)),
    "log": (lambda u: np.log(np.abs(u)), lambda u: 1 / u),
    "inverse": (lambda u: 1 / u, lambda u: -1 / u**2),
}
size = st.sampled_from([1, 1, 1, -1, 0.5, 3, 30, 1e-3, 1e3, 1e-6, 1e-12])
layers = st.lists(
    st.tuples(st.sampled_from(sorted(LAYERS)), size, st.sampled_from([0, 0, 0.3, -1.7])), min_size=1, max_size=4
)
inputs = st.lists(st.sampled_from([0, 1, -1, 0.3, -2.5, 0.77, 1e-3, 1e-9, 100]), min_size=1, max_size=4)


def composition(chain, constant, outer, dtype):
    """Functions of functions of a * x + b, summed; and the derivative by the chain rule."""

    def walk(x):
        u = x.astype(dtype)
        du = np.ones_like(u)
        for name, a, b in chain:
            f, df = LAYERS[name]
            u = dtype(a) * u + dtype(b)
            u, du = f(u), (du * dtype(a) * df(u)).astype(dtype)
        return u, du

    return lambda x: dtype(constant) + dtype(outer) * walk(x)[0].sum(), lambda x: [dtype(outer) * walk(x)[1]]


@settings(max_examples=60)
@given(
    layers,
    inputs,
    st.sampled_from([0, 1, 1e8]),
    st.sampled_from([1, 1e-12, 1e12]),
    st.sampled_from([single, np.float64]),
)
def test_right_compositions_are_never_accused(chain, x, constant, outer, dtype):
    f, gradients = composition(chain, constant, outer, dtype)
    (result,) = check(f, gradients, [np.array(x, float)])
    # 0 * inf in the chain rule is nan, and then the claim is wrong indeed.
    assert result.verdict != "refuted" or not math.isfinite(result.claimed), result


@settings(max_examples=40)
@given(
    st.lists(st.integers(-300, 300).map(lambda n: n / 100), min_size=2, max_size=6),
    st.floats(0.1, 2),
    st.sampled_from([1.001, 0.9, -1, 0]),
)
def test_polynomials_agree_and_wrong_ones_are_refuted(coefficients, x, factor):
    p = np.polynomial.Polynomial(coefficients)
    slopes = p.deriv()
    f = lambda x: p(x).sum()  # noqa: E731
    at = np.array([x, -x, 2 * x])
    (right,) = check(f, lambda x: [slopes(x)], [at])
    assert right.verdict == "agrees"
    if np.abs(slopes(at)).max() > 1e-3:
        (wrong,) = check(f, lambda x: [factor * slopes(x)], [at])
        assert wrong.verdict == "refuted"
