"""`mg.verify.compiled`: right code agrees with SymPy, wrong code is refuted, with the right value from elsewhere."""

import re

import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler import CaptureError
from minigrad.compiler.elementwise import FLOATS, call
from minigrad.compiler.rules import RULES

rng = np.random.default_rng(0)
NET = mg.nn.Sequential(mg.nn.Linear(2, 3), mg.nn.Tanh(), mg.nn.Linear(3, 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_right_code_agrees_within_few_ulp(dtype):
    x, w = rng.normal(size=(2, 3)).astype(dtype), rng.normal(size=(3, 2)).astype(dtype)
    report = mg.verify.compiled(lambda x, w: (mg.softmax(x @ w), mg.mean(mg.log1p(x * x))), x, w, gradients=True)
    assert report.verdict == "agrees"
    assert report.ok
    assert report.counterexample is None
    assert [e.name for e in report.entries] == ["value 0", "value 1", "gradient by x", "gradient by w"]
    assert all(0 <= float(e.ours) < 3 for e in report.entries[:2])
    assert all(float(e.ours) <= 5 * float(e.right) + 1 for e in report.entries)  # where terms cancel, for both
    assert "native, ulp" in str(report)
    assert "log(x_0_0**2 + 1)" in report.entries[1].formula


def test_networks_labels_and_numbers():
    report = mg.verify.compiled(lambda net, x: net(x), NET, (3, 2), gradients=True)
    assert [e.name for e in report.entries[1:]] == [
        "gradient by net_0_weight", "gradient by net_0_bias", "gradient by net_2_weight", "gradient by net_2_bias",
        "gradient by x",
    ]  # fmt: skip
    assert report.verdict == "agrees"
    loss = mg.nn.CrossEntropyLoss()
    report = mg.verify.compiled(lambda x, y: loss(x, y), (2, 3), np.array([2, 0]), gradients=True)
    assert report.verdict == "agrees"
    report = mg.verify.compiled(lambda a, x: a * mg.exp(x), 0.5, (2,), gradients=True, argnums=0)
    assert [e.name for e in report.entries] == ["value", "gradient by a"]
    assert report.verdict == "agrees"


def test_wrong_values_are_refuted_where_they_are_wrong(monkeypatch):
    """The right value is NumPy's, and the op is named."""
    x = np.array([0.5, -1.5, 2.0])
    for name, function in (("sin", np.sin), ("exp", np.exp)):
        monkeypatch.setitem(FLOATS, np.tanh, (call(f"{name}_{{}}"), 1))
        report = mg.verify.compiled(lambda x: mg.tanh(x) * 3, x)
        assert report.verdict == "refuted"
        assert not report.ok
        found = report.counterexample
        np.testing.assert_array_equal(found.inputs["x"], x)
        assert found.right == pytest.approx(3 * np.tanh(x[found.index]), rel=1e-14)
        assert found.ours == pytest.approx(3 * function(x[found.index]))
        assert re.search(r"differs from NumPy's first in tanh, called at test_verify_compiled.py:\d+", report.hint)
        assert f"the value[{found.index[0]}] is " in str(report)


def test_a_wrong_gradient_alone_is_refuted(monkeypatch):
    """exp is right where it is a value, and cos, which only the gradient needs, is wrong."""
    monkeypatch.setitem(FLOATS, np.cos, (call("sin_{}"), 1))
    report = mg.verify.compiled(lambda x: mg.sin(x) + mg.exp(x), (3,), gradients=True)
    assert [e.verdict for e in report.entries] == ["agrees", "refuted"]
    assert "first in cos" in report.hint


def test_a_difference_of_some_ulp_is_refuted(monkeypatch):
    """A constant of the formula that is off in the tenth digit."""
    monkeypatch.setitem(FLOATS, np.multiply, (lambda a, b: f"({a} * {b} * f8(1.0000000001))", 1))
    report = mg.verify.compiled(lambda x: x * 3.0, (3,))
    assert report.verdict == "refuted"
    assert float(report.entries[0].ours) == pytest.approx(1e-10 * 2**52, rel=1)


def test_numpy_is_blamed_where_it_is_as_wrong():
    @mg.primitive(sympy=lambda x: x**2)
    def cube(x):
        return x**3

    cube.vjp(lambda g, y, x: 3 * g * x**2)
    report = mg.verify.compiled(cube, np.array([2.0, 3.0]))
    assert report.verdict == "refuted"
    assert (report.counterexample.ours, report.counterexample.right) in [(8, 4), (27, 9)]
    assert "NumPy's values are as wrong" in report.hint


def test_points_beyond_the_given_one_are_looked_at(monkeypatch):
    """A branch that the given inputs do not take."""

    def wrong(self, node, condition, x, y):
        return self.value(x)

    monkeypatch.setitem(RULES, np.where, wrong)

    def f(x):
        return mg.where(x < 1.01, x, 2 - x)

    x = np.array([1.0])
    assert mg.compile(f)(x).item() == 1.0  # where the first run is right
    assert mg.verify.compiled(f, x, points=1).verdict == "agrees"
    report = mg.verify.compiled(f, x, points=8)
    assert report.verdict == "refuted"
    assert report.counterexample.inputs["x"].item() > 1.01


def test_large_shapes_are_made_smaller():
    report = mg.verify.compiled(lambda x, w: mg.tanh(mg.tanh(x @ w) @ w), (40, 30), (30, 30))
    assert report.verdict == "agrees"
    assert "smaller shapes, x (3, 2), w (2, 2)" in report.hint


def test_without_a_formula_it_is_undecided():
    @mg.primitive
    def opaque(x):
        return np.frombuffer(np.asarray(x).tobytes()) * 2.0  # which symbols are not

    opaque.vjp(lambda g, y, x: 2 * g)
    report = mg.verify.compiled(opaque, (2,))
    assert report.verdict == "undecided"
    assert "no formula" in str(report)


def test_what_cannot_be_compiled_or_checked():
    with pytest.raises(CaptureError, match="truth value"):
        mg.verify.compiled(lambda x: x if (x > 0).all() else -x, (2,))
    with pytest.raises(ValueError, match="points=0"):
        mg.verify.compiled(mg.exp, (2,), points=0)
    with pytest.raises(TypeError, match="first argument is the function"):
        mg.verify.compiled(3, (2,))
    with pytest.raises(ValueError, match="random numbers"):
        mg.verify.compiled(lambda x: x * np.random.default_rng().random(), (2,))


def test_the_oracle_does_not_see_what_the_compiler_checks(monkeypatch):
    """Its native reading runs without the comparison with NumPy that compiled code starts with."""
    monkeypatch.setattr("minigrad.compiler.function.check", lambda *args: pytest.fail("compared with NumPy"))
    assert mg.verify.compiled(lambda x: mg.exp(x), (2,)).verdict == "agrees"
