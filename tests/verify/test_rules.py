"""mg.verify.rules: every card passes, and planted faults of every kind are found, by symbols or in floats."""

import math
import re
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy

import minigrad as mg
from minigrad.ops.card import CARDS, elementwise, op
from minigrad.verify import ulp
from minigrad.verify.rules import Case, at_kinks, cases, rule

SOON = {"numbers": False}


@pytest.fixture(autouse=True)
def _cards_stay_as_they_are():
    before = dict(CARDS)
    yield
    CARDS.clear()
    CARDS.update(before)


def repeated(line, **names):
    """The value of a counterexample's line."""
    *statements, value = line.split("; ")
    names |= {"mg": mg, "np": np}
    exec("\n".join(statements), names)
    return eval(value, names)


# ---- the library's own ---------------------------------------------------------------------------------------------


# Whose second order takes seconds each: roots of sums of roots, and sums over states of states.
DEAR = {
    *("attention", "eigh", "expm", "gru", "layer_norm", "lstm", "qr", "rms_norm", "rnn", "standardize", "svd"),
}


def unproved(report, order):
    return {e.name: e.extra[order] for e in report.entries if e.extra[order] != "proved"}


def test_every_rule_is_proved_at_both_orders():
    report = mg.verify.rules([name for name in CARDS if name not in DEAR], numbers=False)
    assert {e.name for e in report.entries} | DEAR == CARDS.keys()
    assert unproved(report, "first") == {}
    assert set(unproved(report, "second").values()) <= {"agrees"}
    assert report.ok
    assert report.counterexample is None
    assert max(map(len, str(report).splitlines())) <= 110


def test_the_dear_rules_are_proved():
    report = mg.verify.rules(sorted(DEAR), order=1, numbers=False)
    # The singular values of a 2 x 2 matrix are roots of sums of roots, which do not simplify in time.
    assert {e.name: e.verdict for e in report.entries if e.verdict != "proved"} in ({}, {"svd": "agrees"})


@pytest.mark.long
def test_the_dear_rules_are_right_at_second_order():
    report = mg.verify.rules(sorted(DEAR), numbers=False)
    assert set(unproved(report, "second").values()) <= {"agrees"}
    assert report.ok


@pytest.mark.long
def test_the_numbers_of_every_op():
    """In floats of every size, no op and no gradient is anything but rounded at usual inputs, nor nan where it should
    be finite; x**b may be, for exponents so large that b - 1 is b, and with the smallest of floats; so may be what
    NumPy and SciPy compute as nan or inf, or with few digits near a zero; and the slope of entr at 0 is infinite.
    Where tanh or softmax is nearly 1, its slope is a difference from 1 with few digits, and with it that of a layer;
    so is what normalisation leaves of a gradient that mostly points along its input, and the logarithm of near-odds."""
    theirs = {"beta", "betaln", "erfcinv", "gammaln", "i0", "i1", "iv", "sinc"}
    report = mg.verify.rules(order=1)
    assert report.verdict in ("proved", "agrees")
    assert {e.name for e in report.entries if "none" in "".join(e.extra.values())} <= {"power", "entr"} | theirs
    assert {e.name for e in report.entries if usual(e, "value") > 40} <= {"gelu_tanh", "gammaln", "sinc"}
    assert {e.name for e in report.entries if usual(e, "gradient") > 40} <= {
        *("bce", "gelu_tanh", "jv", "sinc", "tanh", "attention", "gru", "layer_norm", "lstm", "rnn")
    }
    lines = str(report).splitlines()
    assert max(map(len, lines[: len(CARDS) + 2])) <= 110


def usual(entry, what):
    return float(entry.extra[f"{what}, ulp"].split(" / ")[0])


def test_numbers_are_part_of_the_table():
    report = mg.verify.rules(["tanh", "sum", "multiply"])
    assert report.verdict == "proved"
    tanh, total, product = report.entries
    assert usual(tanh, "value") < 2
    assert "has no digit right" in tanh.note  # 1 - y * y, where y is next to 1
    assert product.extra["value, ulp"] == "0.5 / 0.5"  # IEEE 754
    assert total.extra["gradient, ulp"] == "0.0 / 0.0"
    assert "ulp" in report.hint


def test_cases_cover_broadcasting_and_parameters():
    shapes = [shapes for shapes, _ in cases(CARDS["multiply"])]
    assert [(), ()] in shapes
    assert [(2,), (2, 1)] in shapes
    assert [(1,), (2,)] in shapes
    free = [params for _, params in cases(CARDS["softplus"])]
    assert free[0] == {}
    assert all(set(map(type, params.values())) == {sympy.Symbol} for params in free[1:])


def test_points_are_exact_in_floats_and_no_two_are_equal():
    import random

    case = Case(CARDS["where"], [(2,), (2,), (1,)], {})
    for seed in range(20):
        at = case.sample(random.Random(seed))
        assert all(Fraction(float(v)) == Fraction(int(v.p), int(v.q)) for v in at.values())
        assert len(set(at.values())) == len(at)


# ---- wrong rules ---------------------------------------------------------------------------------------------------


def cube(vjp=lambda g, y, x: 3 * g * x * x, forward=lambda x: x * x * x, formula="x: x**3", **fields):
    return elementwise("cube", forward, vjp=vjp, sympy=formula, domain=(-2, 2), **fields)


def test_the_right_twin_is_proved():
    report = mg.verify.rules(cube())
    assert report.verdict == "proved"
    assert report.entries[0].extra["second"] == "proved"


WRONG = {
    "a factor": (lambda g, y, x: 2 * g * x * x, "first"),
    "a sign": (lambda g, y, x: -3 * g * x * x, "first"),
    "a ten-thousandth": (lambda g, y, x: 3.0003 * g * x * x, "first"),
    "a millionth of a millionth": (lambda g, y, x: 3 * g * x * x + 1e-12 * g, "first"),
    "on one side only": (lambda g, y, x: 3 * g * x * np.abs(x), "first"),
    "by g": (lambda g, y, x: 3 * g * g * x * x, "first"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_refuted_and_its_line_shows_the_wrong_value(name):
    vjp, order = WRONG[name]
    report = mg.verify.rules(cube(vjp), **SOON)
    assert report.verdict == report.entries[0].extra[order] == "refuted"
    example = report.counterexample
    assert repeated(example.line) == pytest.approx(example.ours, rel=1e-12)
    x, g = (float(example.inputs[name]) for name in ("x", "g"))
    assert example.right == pytest.approx(3 * g * x * x, rel=1e-12)
    assert example.line in str(report)


def frozen(x):
    """x, cut from the graph."""
    return x.detach() if isinstance(x, mg.Tensor) else x


def test_a_rule_that_is_wrong_at_second_order_only():
    report = mg.verify.rules(cube(lambda g, y, x: 3 * g * x * frozen(x)), **SOON)
    entry = report.entries[0]
    assert (entry.verdict, entry.extra["first"], entry.extra["second"]) == ("refuted", "proved", "refuted")
    example = report.counterexample
    assert repeated(example.line) == pytest.approx(example.ours, rel=1e-12)
    x, g, h = (float(example.inputs[name]) for name in ("x", "g", "h_x"))
    assert example.right == pytest.approx(6 * g * h * x, rel=1e-12)
    assert mg.verify.rules(cube(lambda g, y, x: 3 * g * x * frozen(x)), order=1, **SOON).verdict == "proved"


def test_a_rule_that_loses_the_graph_altogether():
    report = mg.verify.rules(cube(lambda g, y, x: 3 * g * frozen(x) * frozen(x)), **SOON)
    assert report.entries[0].extra == {"first": "proved", "second": "refuted"}
    assert repeated(report.counterexample.line) is None  # no gradient, where there should be one


def test_a_rule_that_is_right_for_the_default_of_a_parameter_only():
    def card(vjp):
        return elementwise("scaled", lambda x, k=2.0: np.exp(k * x), vjp=vjp, sympy="x, k: exp(k * x)", domain=(-1, 1))

    assert mg.verify.rules(card(lambda g, y, x, k: g * y * k), **SOON).verdict == "proved"
    report = mg.verify.rules(card(lambda g, y, x, k: g * y * 2), **SOON)
    assert report.verdict == "refuted"
    assert repeated(report.counterexample.line) == pytest.approx(report.counterexample.ours)


def test_a_rule_that_is_wrong_where_inputs_are_broadcast_only():
    def fixed(g, y, a, b):
        return g * b if np.shape(a) == np.shape(b) else g * np.abs(b)

    card = elementwise("times", lambda a, b: a * b, vjp=(fixed, lambda g, y, a, b: g * a), sympy="a, b: a * b",
                       domain=[(-3, 3), (-3, 3)])  # fmt: skip
    report = mg.verify.rules(card, **SOON)
    assert report.verdict == "refuted"
    assert repeated(report.counterexample.line) == pytest.approx(report.counterexample.ours)


def test_a_wrong_rule_of_an_op_on_arrays():
    @op(cases=[([(2, 3)], {"axis": 0}), ([(2, 3)], {"axis": 1})],
        vjp=lambda g, y, x, axis: np.expand_dims(g, 0) + 0 * x if x.shape[0] != x.shape[1] and axis == 0 else 0 * x)
    def total(x, axis=0):
        return np.sum(x, axis=axis)

    report = mg.verify.rules("total", **SOON)
    assert report.verdict == "refuted"
    example = report.counterexample
    assert (example.ours, example.inputs["x"].shape, example.inputs["g"].shape) == (0, (2, 3), (2,))


def test_one_refuted_op_among_right_ones_is_named():
    cube(WRONG["a sign"][0])
    report = mg.verify.rules(["exp", "cube", "sum"], **SOON)
    assert [e.verdict for e in report.entries] == ["proved", "refuted", "proved"]
    assert report.verdict == "refuted"
    assert re.search(r"cube is refuted: the gradient by x is -", str(report))


# ---- wrong numbers -------------------------------------------------------------------------------------------------


def test_a_formula_that_is_not_what_is_computed():
    """The rule is the derivative of the formula, but the function is another one, if by little."""
    for forward in (lambda x: x * x * x * (1 + 1e-9), lambda x: np.abs(x * x * x)):
        card = cube(forward=forward)
        report = mg.verify.rules(card)
        assert report.verdict == "refuted"
        assert "its value is" in report.entries[0].note
        assert "and by the formula" in report.entries[0].note
        assert mg.verify.rules(card, **SOON).verdict == "proved"  # by symbols alone this cannot be seen


def test_a_rule_that_is_right_on_symbols_and_wrong_on_numbers():
    report = mg.verify.rules(cube(lambda g, y, x: 3 * g * x * x * (1 if x.dtype == object else 1.001)))
    assert report.entries[0].extra["first"] == "proved"
    assert report.verdict == "refuted"
    assert "its gradient is" in report.entries[0].note


def test_lost_digits_and_missing_numbers_are_told_and_not_refuted():
    card = elementwise("expm1_", lambda x: np.exp(x) - 1, vjp=lambda g, y, x: g * np.exp(x),
                       sympy="x: exp(x) - 1", domain=(-3, 3))  # fmt: skip
    entry = mg.verify.rules(card).entries[0]
    assert entry.verdict == "proved"
    assert "its value has no digit right" in entry.note
    card = elementwise("sigmoid_", lambda x: np.exp(x) / (1 + np.exp(x)), vjp=lambda g, y, x: g * y * (1 - y),
                       sympy="x: 1 / (1 + exp(-x))", domain=(-3, 3))  # fmt: skip
    entry = mg.verify.rules(card).entries[0]
    assert entry.verdict == "proved"
    assert entry.extra["value, ulp"].endswith("/ none")
    assert re.search(r"its value is no finite number, and should be, at x = 7\d\d|x = 1", entry.note)


@pytest.mark.parametrize(
    ("x", "right"),
    [(37.0, 1.0), (0.0, 0.5), (-40.0, 0.0), (-8.0, 0.0), (1e200, 1.0), (-1e200, 0.0), (1.7e308, 1.0)],
)
def test_gelus_have_slopes_everywhere(x, right):
    for card in (CARDS["gelu"], CARDS["gelu_tanh"]):
        t = mg.tensor(x, requires_grad=True)
        with np.errstate(all="ignore"):
            card(t).backward()
        assert t.grad.item() == pytest.approx(right, abs=1e-12)


def test_mended_tails_keep_their_digits():
    """Beside mpmath: gelu far to the left; the slopes of expm1, of log10, and of logaddexp at large inputs."""

    def near(ours, right, rel):
        assert ours == pytest.approx(float(right), rel=rel)

    with mpmath.workdps(400):
        for x in (-9.1, -20.0, -30.0):
            t = mg.tensor(x, requires_grad=True)
            y = mg.gelu(t)
            y.backward()
            near(y.item(), mpmath.mpf(x) * mpmath.erfc(-mpmath.mpf(x) / mpmath.sqrt(2)) / 2, 1e-13)
            near(t.grad.item(), mpmath.diff(lambda z: z * mpmath.erfc(-z / mpmath.sqrt(2)) / 2, mpmath.mpf(x)), 1e-12)
    near(mg.grad(mg.expm1)(-100.0).item(), math.exp(-100.0), 1e-15)
    near(mg.grad(mg.logaddexp)(1000.25, 1000.0).item(), 1 / (1 + math.exp(-0.25)), 1e-15)
    assert [mg.grad(mg.logaddexp, k)(np.inf, 0.0).item() for k in (0, 1)] == [1, 0]
    assert mg.grad(mg.log10)(1.7e308).item() == pytest.approx(2.5546732e-309, rel=1e-6)


# ---- kinks ---------------------------------------------------------------------------------------------------------


def test_kinks_are_reported_with_both_slopes():
    (kink,) = at_kinks(CARDS["relu"])
    assert (kink.left, kink.right, kink.ours) == (0, 1, 0)
    (kink,) = at_kinks(CARDS["abs"])
    assert (kink.left, kink.right, kink.ours) == (-1, 1, 0)
    assert [(k.left, k.right, k.ours) for k in at_kinks(CARDS["maximum"])] == [(0, 1, 0.5), (0, 1, 0.5)]
    assert {(k.left, k.right, k.ours) for k in at_kinks(CARDS["clip"])} >= {(0, 1, 1), (1, 0, 1)}
    assert at_kinks(CARDS["exp"]) == at_kinks(CARDS["multiply"]) == []
    note = mg.verify.rules("relu").entries[0].note
    assert "at x = 0 the slope is 0 to the left and 1 to the right, and 0 here" in note


@pytest.mark.parametrize(("slope", "verdict"), [(0.0, "proved"), (1.0, "proved"), (0.3, "proved"), (1.5, "refuted"),
                                                (-0.1, "refuted")])  # fmt: skip
def test_a_slope_at_a_kink_lies_between_those_beside_it(slope, verdict):
    card = elementwise("ramp", lambda x: np.maximum(x, 0), sympy="x: Max(x, 0)", domain=(-3, 3), kinks=(0,),
                       vjp=lambda g, y, x: np.where(x > 0, g, np.where(x == 0, slope * g, 0)))  # fmt: skip
    report = mg.verify.rules(card, **SOON)
    assert report.verdict == verdict
    if verdict == "refuted":
        assert f"and {slope:g} here" in report.entries[0].note


# ---- primitives ----------------------------------------------------------------------------------------------------


def softplus(slope):
    @mg.primitive(sympy=lambda x: sympy.log(1 + sympy.exp(x)), domain=(-3, 3))
    def softplus(x):
        return np.logaddexp(0, x)

    @softplus.vjp
    def _(g, y, x):
        return g * slope(x)

    return softplus


def test_a_primitive_is_checked_like_any_op():
    assert mg.verify.rules([softplus(mg.sigmoid)]).verdict == "proved"
    wrong = softplus(lambda x: mg.sigmoid(x) * 1.0001)
    report = mg.verify.rules(wrong)
    assert report.verdict == "refuted"
    example = report.counterexample
    assert repeated(example.line, softplus=wrong) == pytest.approx(example.ours, rel=1e-12)


def test_a_primitives_parameters_are_tried_at_two_values():
    @mg.primitive
    def stretched(x, k=2.0):
        return np.exp(k * x)

    @stretched.vjp
    def _(g, y, x, k):
        return g * y * 2

    assert mg.verify.rules(stretched, **SOON).verdict == "refuted"


# ---- truth and ulp -------------------------------------------------------------------------------------------------

X = sympy.Symbol("x", real=True)
F64, F32 = map(np.dtype, ("float64", "float32"))


@pytest.mark.parametrize(
    ("formula", "x", "right"),
    [
        (sympy.log(1 + X), 1e-300, 1e-300),
        (sympy.exp(X) - 1, 5e-324, 5e-324),
        (1 - sympy.tanh(X) ** 2, 300.0, 4 * math.exp(-600.0)),
        (1 + sympy.erf(X), -20.0, math.erfc(20.0)),
        (sympy.sin(X), 1e22, -0.8522008497671888018),
        (sympy.exp(X), -1e308, 0.0),
        (X * (1 + sympy.erf(X)), -1e150, 0.0),
        (sympy.sqrt(X), 2.0, math.sqrt(2)),
    ],
)
def test_true_values_have_more_digits_than_cancel(formula, x, right):
    (value,) = ulp.true_values(ulp.functions([X], [formula]), [x], F64)
    assert float(value) == pytest.approx(right, rel=1e-14, abs=0)


def test_what_has_no_true_value():
    for formula, x in ((sympy.log(X), -1.0), (1 / X, 0.0), (sympy.log(X), 0.0), (sympy.sqrt(X), -2.0)):
        assert ulp.true_values(ulp.functions([X], [formula]), [x], F64) == [None]


def test_ulp_is_the_distance_of_neighbours():
    rng = np.random.default_rng(0)
    for dtype in (F64, F32):
        for x in rng.uniform(-3, 3, 20).astype(dtype) * dtype.type(1e-3):
            for steps in (1, 3):
                y = x
                for _ in range(steps):
                    y = np.nextafter(y, dtype.type(10))
                assert ulp.ulps(float(y), mpmath.mpf(float(x)), dtype) == pytest.approx(steps, rel=0.51)
    assert ulp.ulps(1.0 + 2.0**-52, mpmath.mpf(1), F64) == 1
    assert ulp.ulps(5e-324, mpmath.mpf(0), F64) == 1


@pytest.mark.parametrize(
    ("ours", "true", "error"),
    [
        (math.inf, mpmath.mpf(10) ** 400, 0),
        (-math.inf, -mpmath.mpf(10) ** 400, 0),
        (math.inf, mpmath.mpf(10) ** 300, math.inf),
        (math.inf, -mpmath.mpf(10) ** 400, math.inf),
        (math.nan, mpmath.mpf(1), math.inf),
        (math.nan, mpmath.mpf(10) ** 400, math.inf),
        (1.7976931348623157e308, mpmath.mpf(10) ** 400, 1),
        (math.inf, mpmath.mpf(1.7976931348623157e308), 1),
    ],
)
def test_infinity_is_right_beyond_the_largest_float(ours, true, error):
    assert ulp.ulps(ours, true, F64) == error


def test_samples_reach_the_ends_of_the_floats():
    for dtype in (F64, F32):
        rows, usual = ulp.samples(CARDS["softplus"], dtype, np.random.default_rng(0), 40)
        x = rows[:, 0]
        info = np.finfo(dtype)
        assert x.dtype == dtype
        assert np.isfinite(x).all()
        assert {float(info.max), -float(info.max), 0.0, float(info.smallest_subnormal)} <= set(x.tolist())
        assert np.signbit(x[x == 0]).any()
        assert float(np.nextafter(dtype.type(20), dtype.type(30))) in x.tolist()
        assert (np.abs(x[usual]) <= 3).all()
        assert usual.sum() == 40


def test_where_terms_cancel_the_unit_is_what_rounding_the_inputs_would_change():
    f = ulp.functions(sympy.symbols("a b"), [sympy.Symbol("a") - sympy.Symbol("b")])
    (change,) = ulp.sensitivity(f, [3.0, 2.75])
    assert float(change) == pytest.approx(5.75)


# ---- requests that cannot be met -----------------------------------------------------------------------------------


def test_bad_requests_get_a_sentence():
    with pytest.raises(ValueError, match="unknown op 'softplu': did you mean 'softplus'"):
        mg.verify.rules("softplu")
    with pytest.raises(ValueError, match="order=3; it is 1, or 2"):
        mg.verify.rules("tanh", order=3)

    @mg.primitive
    def opaque(x):
        return np.array([float(v) for v in np.ravel(x)]).reshape(np.shape(x))

    @opaque.vjp
    def _(g, y, x):
        return g

    with pytest.raises(TypeError, match="the SymPy formula is missing"):
        mg.verify.rules(opaque)


def test_time_that_runs_out_never_refutes():
    entry = rule(CARDS["softmax"], order=2, seconds=1e-3)
    assert entry.verdict in ("proved", "agrees", "undecided")


def test_a_composed_op_has_no_rule_to_check():
    with pytest.raises(ValueError, match=r"rules: conv2d is composed of other ops.*mg\.verify\.gradient"):
        mg.verify.rules(["conv2d"])
