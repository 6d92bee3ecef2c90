"""mg.symbolic.function: SymPy's expressions on tensors, against SymPy's own values and derivatives."""

import warnings

import numpy as np
import pytest
import sympy
from sympy import (
    Abs,
    And,
    E,
    Eq,
    Heaviside,
    I,
    LambertW,
    Matrix,
    MatrixSymbol,
    Max,
    Min,
    Mod,
    Ne,
    Not,
    Or,
    Piecewise,
    Rational,
    Trace,
    Xor,
    acos,
    acosh,
    acot,
    acoth,
    acsc,
    asec,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    ceiling,
    cos,
    cosh,
    cot,
    coth,
    csc,
    csch,
    erf,
    erfc,
    exp,
    floor,
    frac,
    gamma,
    log,
    pi,
    sec,
    sech,
    sign,
    sin,
    sinc,
    sinh,
    sqrt,
    symbols,
    tan,
    tanh,
)  # fmt: skip

import minigrad as mg
from minigrad.symbolic import function

x, y, z = symbols("x y z", real=True)
rng = np.random.default_rng(0)

EVERYWHERE, POSITIVE, UNIT, ABOVE = (-2.5, 2.5), (0.2, 2.5), (-0.95, 0.95), (1.1, 3.0)
EXPRESSIONS = [
    (x + y - 2 * z, EVERYWHERE),
    (-x * y / 3 + Rational(1, 7), EVERYWHERE),
    (x / (y * z**2) - x**-3 * y, POSITIVE),
    (x**3 + x**0 + (-x) ** 2 - x**4 / 4, EVERYWHERE),
    (sqrt(x) + 1 / sqrt(y) + x ** Rational(2, 3) + x**y + 2**z + pi**x + E**y, POSITIVE),
    (exp(-(x**2)) * log(1 + exp(y)) - log(2 + z**2), EVERYWHERE),
    (1 / (1 + exp(-x)) + y / (1 + exp(z)) + 3 / (1 + exp(x + y)) * 2, EVERYWHERE),
    (log(x) + log(1 + y) + log(x, 2), POSITIVE),
    (sin(x) * cos(y) + tan(z / 2) + sinh(x) - cosh(y) * tanh(z), EVERYWHERE),
    (asin(x) + acos(y) + atan(z) + asinh(3 * x) * atanh(y), UNIT),
    (acosh(x) + acot(y) + asec(z) + acsc(x) + acoth(y), ABOVE),
    (cot(x) + sec(y / 2) + csc(z) + coth(x) + sech(y) * csch(z), POSITIVE),
    (atan2(x, y) * z, EVERYWHERE),
    (erf(x) + erfc(y) * z, EVERYWHERE),
    (sympy.erfinv(x) * y, UNIT),
    (gamma(x) + sympy.loggamma(y) * sympy.digamma(z) + sympy.polygamma(2, x) + sympy.beta(y, z), POSITIVE),
    (sympy.besselj(0, x) * sympy.besseli(1, y) + sympy.besselj(3, z) + sympy.jn(2, x**2), POSITIVE),
    (Abs(x) + sign(y) * z + Abs(x - y) ** 3, EVERYWHERE),
    (Max(x, y, z) - Min(x * y, z, 1) + Max(0, x) ** 2, EVERYWHERE),
    (Heaviside(x) * y + Heaviside(z - x, 1) * x, EVERYWHERE),
    (floor(x) * y + ceiling(2 * z) * x + Mod(x, 1) + frac(y), EVERYWHERE),
    (Piecewise((x**2, x < 0), (sin(y), y > 1), (z, True)), EVERYWHERE),
    (Piecewise((log(x), And(x > 0, y > 0)), (x * y, Or(Not(x > 1), z < 0)), (-x, True)), EVERYWHERE),
    (Piecewise((sqrt(x), x > 0), (1 / (1 - x), True)) + Piecewise((1, Xor(x > y, y > z)), (0, True)) * x, EVERYWHERE),
    (sinc(x) * y, EVERYWHERE),
    (sympy.Integral(x * y, (y, 0, z)) + sympy.Sum(x**y, (y, 0, 3)) + sympy.Derivative(sin(x) * z, x), EVERYWHERE),
    ((x + y + z) ** 2 * exp(-(x + y + z)) + sin(x + y + z), EVERYWHERE),
    (sympy.diff(Max(x, y) * Abs(z), x) + sympy.diff(Piecewise((x**3, x > 0), (0, True)), x), EVERYWHERE),
]


def points(interval, n=6):
    return rng.uniform(*interval, (3, n)).round(3)


def values(expression, at):
    """SymPy's values, in 30 digits, at each column of points."""
    exactly = [dict(zip((x, y, z), (Rational(str(v)) for v in column), strict=True)) for column in at.T]
    return np.array([float(sympy.N(expression.doit().subs(point).doit(), 30)) for point in exactly])


@pytest.mark.parametrize(("expression", "interval"), EXPRESSIONS, ids=range(len(EXPRESSIONS)))
def test_values_and_derivatives_are_sympys(expression, interval):
    f = function(expression, [x, y, z])
    at = points(interval)
    assert np.allclose(f(*at).data, values(expression, at), rtol=1e-12, atol=1e-13)
    tensors = [mg.tensor(row, requires_grad=True) for row in at]
    f(*tensors).sum().backward(create_graph=True)
    for s, t in zip((x, y, z), tensors, strict=True):
        slope = sympy.diff(expression.doit(), s).replace(sympy.DiracDelta, lambda *a: sympy.S.Zero).doit()
        slope = slope.replace(sympy.Derivative, lambda *a: sympy.S.Zero)  # of floor and of Mod
        if expression.has(floor, ceiling, Mod, frac):
            slope = {x: ceiling(2 * z) + 1, y: floor(x) + 1, z: sympy.S.Zero}[s]
        ours = t.grad if t.grad is not None else mg.zeros(t.shape)
        assert np.allclose(ours.data, values(slope, at), rtol=1e-10, atol=1e-12), s


@pytest.mark.parametrize("expression", [e for e, i in EXPRESSIONS if not e.has(floor, ceiling, Mod, frac, sinc)])
def test_symbols_give_the_expression_back(expression):
    f = function(expression, [x, y, z])
    inputs = mg.symbols("x y z")
    back = f(*inputs).item()
    at = {x: Rational(1, 3), y: Rational(3, 4), z: Rational(2, 7)}
    for point in (at, {s: -v for s, v in at.items()}):
        ours, theirs = (sympy.N(e.subs(point).doit(), 30) for e in (back, expression.doit()))
        assert abs(ours - theirs) < 1e-20 or {ours, theirs} <= {sympy.nan, sympy.zoo}


def test_second_and_third_derivatives():
    expression = Piecewise((x**3 * exp(y), x > 0), (sin(x * y), True)) + Max(x, y) ** 2 * tanh(x)
    f = function(expression, [x, y])
    for at in ((0.5, 0.25), (-0.5, 0.75)):
        exactly = dict(zip((x, y), map(Rational, map(str, at)), strict=True))
        third = mg.grad(mg.grad(mg.grad(f)))(*at)
        assert np.isclose(third.item(), float(sympy.diff(expression, x, 3).subs(exactly).doit()))
        mixed = mg.grad(mg.grad(f), argnums=1)(*at)
        assert np.isclose(mixed.item(), float(sympy.diff(expression, x, y).subs(exactly).doit()))


def test_a_branch_that_is_not_chosen_does_no_harm():
    f = function(Piecewise((1, Eq(x, 0)), (sin(x) / x, True)), x)
    g = function(Piecewise((sqrt(x) * log(x), x > 0), (0, True)), x)
    h = function(Piecewise((1 / x, Ne(x, 0)), (exp(1 / (1 - x)), True)), x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert f(np.array([0.0, 1.0])).tolist() == [1.0, np.sin(1.0)]
        assert mg.grad(lambda x: f(x).sum())(np.zeros(2)).tolist() == [0, 0]
        assert mg.grad(lambda x: g(x).sum())(np.array([-1.0, 0.0, 1.0])).tolist() == [0, 0, 1]
        assert h(0.0).item() == np.e


def test_what_is_large_does_not_overflow():
    f = function(log(1 + exp(x)) + 1 / (1 + exp(-x)), x)
    assert f(np.array([800.0, -800.0])).tolist() == [801.0, 0.0]
    assert mg.grad(lambda x: f(x).sum())(np.array([800.0, -800.0])).tolist() == [1, 0]


def test_broadcasting_and_dtypes():
    f = function(x * y + 1, [x, y])
    assert f(np.ones((3, 1)), np.ones(4)).shape == (3, 4)
    assert f(np.float32([1, 2]), np.float32([1, 2])).dtype == np.float32
    assert f(1, 2).item() == 3
    assert function(sympy.Integer(3), [x])(np.zeros((2, 2))).tolist() == [[3, 3], [3, 3]]
    a = mg.tensor([[1.0], [2.0]], requires_grad=True)
    f(a, np.ones(3)).sum().backward()
    assert a.grad.tolist() == [[3], [3]]
    assert function(x > y, [x, y])(np.array([1.0, 3.0]), 2.0).tolist() == [False, True]


def test_matrices_are_the_last_axes():
    A, b = MatrixSymbol("A", 2, 2), Matrix([[x], [y]])
    a, v = rng.normal(size=(5, 2, 2)), rng.normal(size=(5, 2, 1))
    f = function(A * A * b + b, [A, b])
    assert np.allclose(f(a, v).data, a @ a @ v + v)
    assert np.allclose(f(a[0], v[0]).data, a[0] @ a[0] @ v[0] + v[0])
    assert np.allclose(function(Trace(A * A.T), A)(a).data, (a * a).sum((1, 2)))
    assert np.allclose(function(sympy.Determinant(A), A)(a).data, np.linalg.det(a))
    assert np.allclose(function(A[0, 1] * A[1, 0] + 1, [A])(a).data, a[:, 0, 1] * a[:, 1, 0] + 1)
    assert np.allclose(function(A.inv(), A)(a).data, np.linalg.inv(a))
    gradient = mg.grad(lambda a: function(A.T * A, A)(a).sum())(a[0])
    assert np.allclose(gradient.data, 2 * a[0].sum(1, keepdims=True) * np.ones(2))
    w = mg.symbols("w", (3,))
    assert np.allclose(function((w**2).sum().item(), w)(np.ones((4, 3))).data, 3)
    assert function([x, 1, x * y], [x, y])(np.ones(4), 2.0).shape == (4, 3)
    assert function(sympy.Array([[x, 1], [x, y]]), ["x", "y"])(1.0, 2.0).tolist() == [[1, 1], [1, 2]]


def test_shared_parts_are_computed_once():
    calls = []

    def counted(v):
        calls.append(1)
        return mg.exp(v)

    u = exp(x * y + z)
    function(sin(u) / (1 + u) + log(u + 2) ** u, [x, y, z], {"exp": counted})(0.5, 0.5, 0.5)
    assert len(calls) == 1


def test_functions_of_ones_own():
    from scipy.special import lambertw

    @mg.primitive(sympy=LambertW)
    def w(x):
        return lambertw(x).real

    w.vjp(lambda g, y, x: g * y / (x * (1 + y)))
    f = function(LambertW(x) ** 2, x, functions={LambertW: w})
    slope = sympy.diff(LambertW(x) ** 2, x).subs(x, 2).evalf()
    assert np.isclose(mg.grad(f)(2.0).item(), float(slope))
    unknown = sympy.Function("h")
    assert function(unknown(x) + 1, x, {"h": mg.tanh})(0.5).item() == np.tanh(0.5) + 1


def test_a_parameter_can_be_fitted():
    a, b, c = symbols("a b c")
    curve = function(a * exp(-b * x) + Piecewise((c * x, x > 1), (0, True)), [x, a, b, c])
    at = np.linspace(0, 3, 40)
    target = 2 * np.exp(-1.5 * at) + np.where(at > 1, 0.5 * at, 0)
    parameters = [mg.nn.Parameter(1.0) for _ in range(3)]
    optimizer = mg.optim.Adam(parameters, lr=0.05)
    for _ in range(400):
        loss = mg.mean((curve(at, *parameters) - target) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert np.allclose([p.item() for p in parameters], [2, 1.5, 0.5], atol=1e-2)


def test_a_function_has_a_formula_and_a_gradient_that_is_read():
    f = function(x**2 * y, [x, y])
    assert mg.symbolic.formula(f, (), ()).gradient == {"x": 2 * x * y, "y": x**2}
    assert repr(f) == "<function of x, y: x**2*y>"


FAULTS = [
    (lambda: function([], [x]), ValueError, "no expression"),
    (lambda: function(sympy.zeta(x), x), TypeError, "zeta has no op here"),
    (lambda: function(LambertW(x) + 1, x), TypeError, r"functions=\{'LambertW': op\}"),
    (lambda: function(sympy.Function("h")(x), x), TypeError, "h has no op"),
    (lambda: function(x + y, x), ValueError, r"y in the expression is none of the arguments \['x'\]"),
    (lambda: function(x, sympy.Symbol("x")), ValueError, "another x to SymPy, with other assumptions"),
    (lambda: function(x, [x, x]), ValueError, "x is an argument twice"),
    (lambda: function(x, [x + 1]), TypeError, "an argument is a symbol"),
    (lambda: function("x", x), TypeError, "an expression of SymPy's is needed, not str 'x'"),
    (lambda: function(I * x, x), TypeError, "no real number"),
    (lambda: function(x * y, [x, y])(1.0), TypeError, "function of x, y: 1 inputs were given"),
    (lambda: function(x * y, [x, y])(np.ones(2), np.ones(3)), ValueError, r"do not broadcast: x \(2,\), y \(3,\)"),
    (lambda: function(MatrixSymbol("A", 2, 2)[0, 0], MatrixSymbol("A", 2, 2))(np.ones(2)), ValueError, "A has shape"),
    (lambda: function(x, MatrixSymbol("A", symbols("n"), 2)), TypeError, "should be numbers"),
    (lambda: function(sympy.Integral(exp(sin(x * y)), (y, 0, 1)), x), TypeError, "has no op"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), FAULTS, ids=range(len(FAULTS)))
def test_faults_get_a_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
