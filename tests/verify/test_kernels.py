"""mg.verify.optimizer: the machine code agrees with the formulas, and a kernel that is slightly wrong is refuted."""

import math
from fractions import Fraction
from math import sqrt

import mpmath
import numpy as np
import pytest

import minigrad as mg
from minigrad.optim import rules
from minigrad.optim.equations import RULES
from minigrad.verify import optimizer as verify_optimizer
from minigrad.verify.optimizer import SELECTED, Rounded, series
from minigrad.verify.optimizer import sqrt as rounded_sqrt


def test_every_rule_agrees_in_both_dtypes():
    report = verify_optimizer()
    assert report.verdict == "agrees"
    assert report.ok
    found = {(e.name, e.extra["dtype"]) for e in report.entries}
    assert found == {(name, dtype) for name in RULES for dtype in ("float64", "float32")}
    assert max(len(line) for line in str(report).splitlines()) <= 110


def test_the_selected_options_lead_to_the_rule_of_that_name():
    w = mg.tensor([1.0], requires_grad=True)
    for name, (kind, options) in SELECTED.items():
        assert kind.rule(kind([w], **options).param_groups[0]) is RULES[name]
    assert set(SELECTED) == set(RULES)


# ---- kernels compiled from wrong rules ------------------------------------------------------------------------------


def beta2_slightly_off(p, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * (1 + 1e-6) * v + (1 - beta2) * g**2
    return p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps), m, v


def no_bias_correction(p, g, m, v, lr, beta1, beta2, eps, weight_decay):
    g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return p - lr * m / (sqrt(v) + eps), m, v


def eps_inside_the_root(p, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return p - lr * (m / (1 - beta1**t)) / sqrt(v / (1 - beta2**t) + eps), m, v


def decay_forgotten(p, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps), m, v


def counts_from_zero(p, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return p - lr * (m / (1 - beta1 ** (t + 1))) / (sqrt(v / (1 - beta2 ** (t + 1))) + eps), m, v


def only_the_state_is_wrong(p, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    p = p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)
    v = v * (1 + 1e-12)
    return p, m, v


WRONG = [beta2_slightly_off, no_bias_correction, eps_inside_the_root, decay_forgotten, counts_from_zero,
         only_the_state_is_wrong]  # fmt: skip


class Wrong(mg.optim.Adam):
    """Adam, but for its rule."""

    taken = None

    @staticmethod
    def rule(group):
        return Wrong.taken


@pytest.mark.parametrize("rule", WRONG, ids=lambda rule: rule.__name__)
def test_a_kernel_of_a_wrong_rule_is_refuted(rule, monkeypatch):
    monkeypatch.setattr(Wrong, "taken", rule)
    report = verify_optimizer(Wrong, formula=rules.adam)
    found = {e.extra["dtype"]: e for e in report.entries}
    assert report.verdict == found["float64"].verdict == "refuted"
    example = found["float64"].counterexample
    assert example.ours != example.right
    assert example.name == ("v" if rule in (beta2_slightly_off, only_the_state_is_wrong) else example.name)


@pytest.mark.parametrize("rule", [eps_inside_the_root, only_the_state_is_wrong], ids=lambda rule: rule.__name__)
def test_the_line_of_a_counterexample_takes_the_wrong_step_again(rule, monkeypatch):
    monkeypatch.setattr(Wrong, "taken", rule)
    for entry in verify_optimizer(Wrong, formula=rules.adam).entries:
        if entry.verdict == "refuted":
            *statements, value = entry.counterexample.line.split("; ")
            names = {"mg": mg, "Wrong": Wrong}
            exec("\n".join(statements), names)
            assert float(eval(value, names)) == pytest.approx(entry.counterexample.ours, rel=1e-15)
            assert entry.counterexample.line in str(entry.counterexample)


def test_the_kernel_of_a_right_rule_of_ones_own_agrees(monkeypatch):
    """The wrong kernels above are refuted for being wrong, not for being strangers."""
    monkeypatch.setattr(Wrong, "taken", rules.adam)
    assert verify_optimizer(Wrong, formula=rules.adam).verdict == "agrees"
    monkeypatch.setattr(Wrong, "taken", eps_inside_the_root)
    assert verify_optimizer(Wrong).verdict == "agrees"


# ---- what is measured -----------------------------------------------------------------------------------------------


def test_steps_start_fresh_and_late_and_meet_zeros():
    kind, options = SELECTED["adam"]
    steps = list(series(kind, options, np.dtype("float32"), 3, np.random.default_rng(0)))
    assert [s.scalars["t"] for s in steps] == [1, 2, 3, 1001, 1002]
    assert not steps[0].before["v"].any()
    assert (steps[3].before["v"] == steps[2].after["v"]).all()
    assert all((s.before["g"] == 0).any() for s in steps)
    assert (steps[1].before["p"] == steps[0].after["p"]).all()


def test_the_bound_holds_for_float_arithmetic_and_is_near():
    """Random expressions in float32 and float64: never off by more than the bound, and sometimes by a third of it."""
    rng = np.random.default_rng(0)
    shares = []
    for real, u in ((np.float32, 2.0**-24), (np.float64, 2.0**-53)):
        for _ in range(300):
            numbers = [real(x) for x in rng.uniform(0.5, 2, 4)]
            a, b, c, d = numbers
            w, x, y, z = (Rounded(mpmath.mpf(float(n)), unit=u) for n in numbers)
            with mpmath.workprec(300):
                exact = (w * x - y / z) * rounded_sqrt(x + z) + w**2 - abs(-y)
                float_ = (a * b - c / d) * np.sqrt(b + d) + a * a - abs(-c)
                shares.append(float(abs(mpmath.mpf(float(float_)) - exact.value) / exact.bound))
    assert max(shares) <= 1
    assert max(shares) > 1 / 3


def test_exact_values_are_exact():
    """Beside Python's fractions: sums, products and quotients of floats, without any rounding."""
    with mpmath.workprec(400):
        x, y = 0.1, 1e-30
        got = ((Rounded(mpmath.mpf(x)) + 3) * Rounded(mpmath.mpf(y)) - 1) / 7
        exact = ((Fraction(x) + 3) * Fraction(y) - 1) / 7
        assert abs(got.value - mpmath.mpf(exact.numerator) / exact.denominator) < mpmath.mpf(10) ** -100
        assert 0 < got.bound < 1e-15


def test_a_root_of_almost_nothing_and_a_quotient_by_it():
    nothing = Rounded(mpmath.mpf(0), mpmath.mpf(1e-20))
    assert float(rounded_sqrt(nothing).bound) == pytest.approx(1e-10)
    assert math.isinf(float((Rounded(mpmath.mpf(1)) / nothing).bound))


# ---- requests that cannot be met ------------------------------------------------------------------------------------


def test_bad_requests_get_a_sentence():
    with pytest.raises(ValueError, match="unknown optimizer 'adm': did you mean 'adam'"):
        verify_optimizer("adm")
    with pytest.raises(TypeError, match="give the name of a rule, such as 'adam', or an Optimizer class, not 3"):
        verify_optimizer(3)
    with pytest.raises(ValueError, match="steps must be a whole number from 1 up, not 0"):
        verify_optimizer("sgd", steps=0)
    with pytest.raises(ValueError, match="adam has state m, v .* and the formula sgd state none"):
        verify_optimizer("adam", formula=rules.sgd)
