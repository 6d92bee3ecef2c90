"""mg.primitive: a user's own op runs, is differentiated and is read like any card, and says what is wrong with it."""

import sys

import numpy as np
import pytest
import sympy

import minigrad as mg
from minigrad.ops.card import CARDS


@mg.primitive(sympy=lambda x, beta: sympy.log(1 + sympy.exp(beta * x)) / beta)
def soft(x, beta=1.0):
    """A softplus."""
    return np.logaddexp(0, beta * x) / beta


@soft.vjp
def _(g, y, x, beta):
    return g * mg.sigmoid(beta * x)


@mg.primitive
def hypotenuse(a, b):
    return np.sqrt(a * a + b * b)


CALLS = []


@hypotenuse.vjp
def _(g, y, a, b):
    CALLS.append(type(g))
    return g * a / y, g * b / y


@mg.primitive(sympy=lambda x: np.exp(x) / np.sum(np.exp(x)))
def gibbs(x):
    e = np.exp(x - x.max())
    return e / e.sum()


@gibbs.vjp
def _(g, y, x):
    return y * (g - np.sum(g * y))


def test_values_and_gradients_are_those_of_a_composition():
    x = np.array([-2.0, 0.0, 3.0])
    assert np.allclose(soft(x, beta=2.0).data, np.log1p(np.exp(2 * x)) / 2, rtol=1e-14)
    assert np.allclose(soft(x, 2.0).data, soft(x=x, beta=2.0).data)
    ours, theirs = lambda x: soft(x, 2.0).sum(), lambda x: mg.log(1 + mg.exp(2 * x)).sum() / 2
    for derivative in (mg.grad, lambda f: mg.grad(lambda x: mg.grad(f)(x).sum()), mg.hessian):
        assert np.allclose(derivative(ours)(x).data, derivative(theirs)(x).data, rtol=1e-12)
    assert np.allclose(mg.jvp(ours, (x,), (x,))[1].data, mg.jvp(theirs, (x,), (x,))[1].data)


def test_types_are_kept_and_the_name_is_not_taken():
    x = mg.tensor(np.float32([1, 2]), requires_grad=True)
    y = soft(x).sum()
    y.backward()
    assert y.dtype == x.grad.dtype == np.float32
    assert soft.__name__ == "soft"
    assert soft.__doc__ == "A softplus."
    assert not {"soft", "hypotenuse", "gibbs"} & CARDS.keys()
    assert soft(3).dtype == np.float64
    assert repr(soft(x)).endswith("op=soft)")


def test_rule_is_called_once_for_all_inputs_and_broadcasting_is_undone():
    a = mg.tensor([[1.0], [2.0]], requires_grad=True)
    b = mg.tensor([3.0, 4.0, 5.0], requires_grad=True)
    CALLS.clear()
    hypotenuse(a, b).sum().backward()
    assert len(CALLS) == 1
    r = np.sqrt(a.data**2 + b.data**2)
    assert np.allclose(a.grad.data, (a.data / r).sum(1, keepdims=True))
    assert np.allclose(b.grad.data, (b.data / r).sum(0))
    CALLS.clear()
    hypotenuse(a, 2.0).sum().backward(create_graph=True)
    assert all(kind is mg.Tensor for kind in CALLS)
    assert len(CALLS) == 1
    assert np.allclose(mg.hessian(lambda a: hypotenuse(a, 1.0))(0.0).data, 1.0)


def test_symbols_go_through_the_formula_or_the_code():
    x, y = mg.symbols("x y")
    soft(x, beta=0.5).backward()
    assert sympy.simplify(x.grad.item() - 1 / (1 + sympy.exp(-x.item() / 2))) == 0
    assert soft(x, beta=0.5).item() == 2 * sympy.log(1 + sympy.exp(x.item() / 2))
    assert hypotenuse(x, y).item() == sympy.sqrt(x.item() ** 2 + y.item() ** 2)
    assert hypotenuse(mg.symbols("v", (2,)), y).shape == (2,)


def test_whether_a_formula_is_by_element_is_found_by_trying():
    v = mg.symbols("v", (3,))
    p = gibbs(v)
    e = [sympy.exp(s) for s in v.data.tolist()]
    assert [sympy.simplify(a - b / sum(e)) for a, b in zip(p.data.tolist(), e, strict=True)] == [0, 0, 0]
    p[0].backward()
    assert sympy.simplify(v.grad.data[1] - sympy.diff(p.data[0], v.data[1])) == 0
    assert soft(v).data[2] == sympy.log(1 + sympy.exp(v.data[2]))

    @mg.primitive(sympy=lambda x: sympy.sin(x), elementwise=True)
    def wave(x):
        return np.sin(x)

    assert wave(v).data[1] == sympy.sin(v.data[1])


def test_rules_may_pick_elements_of_symbols():
    @mg.primitive
    def first(x):
        return x[:1] * x[1:2]

    first.vjp(lambda g, y, x: np.concatenate([g * x[1], g * np.tanh(np.arctanh(x[0]))]))
    x = mg.symbols("x", (2,))
    first(x).sum().backward()
    assert x.grad.tolist() == x.data[::-1].tolist()


def test_code_with_loops_and_elements_runs_on_symbols():
    @mg.primitive
    def horner(x):
        total = 0.0
        for i in range(len(x)):
            total = total + np.exp(x[i]) * i
        return total

    v = mg.symbols("v", (3,))
    assert horner(v).item() == sympy.exp(v.data[1]) + 2 * sympy.exp(v.data[2])
    assert np.isclose(horner(np.zeros(3)).item(), 3.0)


def test_a_ufunc_and_any_number_of_inputs():
    from scipy.special import gammaln, psi

    loggamma = mg.primitive(gammaln, sympy=sympy.loggamma)
    loggamma.vjp(lambda g, y, x: g * psi(x))
    assert np.isclose(mg.grad(loggamma)(3.0).item(), psi(3.0))
    assert loggamma(mg.symbols("x")).item().func is sympy.loggamma

    @mg.primitive
    def total(*xs):
        return np.asarray(sum(xs))

    total.vjp(lambda g, y, *xs: (g,) * len(xs))
    a, b = mg.tensor([1.0, 2.0], requires_grad=True), mg.tensor([3.0, 4.0], requires_grad=True)
    total(a, b, a).sum().backward()
    assert a.grad.tolist() == [2, 2]
    assert b.grad.tolist() == [1, 1]


def test_none_is_no_gradient():
    @mg.primitive
    def pick(x, scale):
        return x * np.round(scale)

    pick.vjp(lambda g, y, x, scale: (g * np.round(scale.data if isinstance(scale, mg.Tensor) else scale), None))
    assert mg.grad(lambda x, s: pick(x, s).sum(), argnums=(0, 1))(np.ones(2), np.float64(2.2))[1].item() == 0


def test_results_are_their_own_arrays():
    @mg.primitive
    def same(x):
        return x

    same.vjp(lambda g, y, x: g)
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    y = same(x)
    y.sum().backward()
    with mg.no_grad():
        x += 1
    assert y.tolist() == [1, 2]
    assert x.grad.tolist() == [1, 1]


def with_rule(function, rule):
    op = mg.primitive(function)
    op.vjp(rule)
    return op


def backward(op, *values, create_graph=False):
    inputs = [mg.tensor(v, requires_grad=True) for v in values]
    y = op(*inputs)
    y.backward(mg.tensor(np.ones(y.shape), requires_grad=create_graph), create_graph=create_graph)
    return [x.grad for x in inputs]


def double(x):
    return 2 * x


def writes(x):
    x += 1
    return x


def rule_that_writes(g, y, x):
    g *= 2
    return g


V = [1.0, 2.0]
FAULTS = {
    "no rule": (lambda: backward(mg.primitive(double), V), RuntimeError, "double has no gradient rule: .*@double.vjp"),
    "too few gradients": (
        lambda: backward(with_rule(lambda a, b: a * b, lambda g, y, a, b: g * b), V, V),
        TypeError, "should return 2 gradients, and returned 1"),
    "too many": (
        lambda: backward(with_rule(double, lambda g, y, x: (g, g)), V), TypeError, "1 gradient, and returned 2"),
    "another shape": (
        lambda: backward(with_rule(double, lambda g, y, x: np.sum(g)), V), TypeError,
        r"shape \(2,\), and returned \(\)"),
    "the input's shape transposed": (
        lambda: backward(with_rule(lambda a: a.T, lambda g, y, a: g), [V, V, V]), TypeError,
        r"shape \(3, 2\), and returned \(2, 3\)"),
    "integers": (lambda: backward(with_rule(double, lambda g, y, x: np.ones(2, int)), V), TypeError, "returned int64"),
    "a list": (lambda: backward(with_rule(lambda a, b: a, lambda g, y, a, b: ([1], g)), V, V), TypeError, "list"),
    "nothing": (lambda: backward(with_rule(double, lambda g, y, x: None), V), TypeError, "is there a `return`"),
    "left the graph": (
        lambda: backward(with_rule(double, lambda g, y, x: 2 * g.detach()), V, create_graph=True), TypeError,
        "left the graph"),
    "left as an array": (
        lambda: backward(with_rule(double, lambda g, y, x: 2 * g.numpy()), V, create_graph=True), TypeError,
        "left the graph"),
    "rule writes": (lambda: backward(with_rule(double, rule_that_writes), V), TypeError, "writes into what it is"),
    "function writes": (lambda: mg.primitive(writes)(np.ones(2)), TypeError, "writes into an input"),
    "returns a list": (lambda: mg.primitive(lambda x: [x])(np.ones(2)), TypeError, "returned list"),
    "returns nothing": (lambda: mg.primitive(lambda x: None)(np.ones(2)), TypeError, "returned nothing"),
    "returns integers": (lambda: mg.primitive(lambda x: np.argmax(x))(np.ones(2)), TypeError, "and returned int64"),
    "missing formula": (
        lambda: mg.primitive(lambda x: np.linalg.eigvals(x))(mg.symbols("x", (2, 2))), TypeError,
        r"SymPy formula is missing.*sympy=lambda x: \.\.\."),
    "failing formula": (
        lambda: mg.primitive(double, sympy=lambda x, y: x)(mg.symbols("x")), TypeError, "its SymPy formula fails"),
    "rule's arguments": (lambda: mg.primitive(double).vjp(lambda g, x: g), TypeError, r"called with \(g, y, x\)"),
    "rule is no function": (lambda: mg.primitive(double).vjp(3), TypeError, "decorates the rule"),
    "no function": (lambda: mg.primitive(3), TypeError, "decorates a function of arrays, not int '3'"),
    "no input": (lambda: mg.primitive(lambda x=1: x), TypeError, "has no input"),
    "keyword without default": (lambda: mg.primitive(lambda x, *, k: x), TypeError, "neither an input nor"),
    "tensor as a parameter": (
        lambda: soft(1.0, beta=mg.tensor(1.0, requires_grad=True)), TypeError, "beta is an input"),
    "unknown argument": (lambda: soft(1.0, gamma=2), TypeError, "no argument 'gamma'; its arguments are x, beta"),
    "too few inputs": (lambda: hypotenuse(1.0), TypeError, "hypotenuse takes 2 inputs, and 1 were given"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_get_a_sentence(fault):
    call, error, sentence = FAULTS[fault]
    with pytest.raises(error, match=sentence):
        call()


def test_a_number_in_a_rule_is_warned_of(monkeypatch):
    monkeypatch.setattr(sys.modules["minigrad.tensor"], "_warned", set())
    op = with_rule(lambda x: x * x, lambda g, y, x: g * (2 * float(x)))
    with pytest.warns(mg.MinigradWarning, match="no gradient flows"):
        backward(op, 3.0, create_graph=True)


def test_errors_of_the_users_own_code_come_as_they_are():
    def fails(x):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="^mine$"):
        mg.primitive(fails)(1.0)


def test_a_layer_with_a_primitive_can_be_trained():
    mg.random.seed(0)
    model = mg.nn.Sequential(mg.nn.Linear(1, 4), mg.nn.Linear(4, 1))
    x = np.linspace(-1, 1, 16)[:, None]
    optimizer = mg.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(120):
        loss = mg.mean((model[1](soft(model[0](x))) - x * x) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


@pytest.mark.parametrize("decorate", [mg.primitive, mg.custom_gradient])
def test_a_gradient_stays_what_it_was_when_the_rule_uses_its_array_again(decorate):
    buffer = np.empty(2)

    @decorate
    def double(x):
        return 2 * x

    @double.vjp
    def _(g, y, x):
        return np.multiply(getattr(g, "data", g), 2, out=buffer)

    x = mg.tensor([1.0, 2.0], requires_grad=True)
    pulled = [mg.vjp(double, x.data)[1](np.array([k, 0.0]))[0] for k in (1.0, 3.0)]
    double(x).backward(np.array([1.0, 0.0]))
    first = x.grad
    x.grad = None
    double(x).backward(np.array([3.0, 0.0]))
    assert [g.data[0] for g in (*pulled, first, x.grad)] == [2, 6, 2, 6]
