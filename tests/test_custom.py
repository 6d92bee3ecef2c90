"""mg.custom_gradient and mg.stop_gradient, beside compositions with the same gradients, and torch."""

import numpy as np
import pytest
from catalogue import close, torch

import minigrad as mg

X = np.array([-1.5, -0.5, 0.25, 2.0])
rng = np.random.default_rng(0)


@mg.custom_gradient
def sign(x):
    """The sign, whose slope is taken for 1 between -1 and 1 (a straight-through estimator)."""
    return mg.sign(x)


@sign.vjp
def _(g, y, x):
    return np.where(np.abs(x) <= 1, g, 0)


@mg.custom_gradient
def reversal(x, scale=1.0):
    return x * 1.0


@reversal.vjp
def _(g, y, x, scale):
    return -scale * g


@mg.custom_gradient
def mixed(a, p, power=2):
    """Several results of several inputs, nests both; its gradients are the true ones, in other words."""
    return {"s": a * p["w"], "t": [(a**power).sum(), mg.exp(p["v"][0])]}


@mixed.vjp
def _(g, y, a, p, power):
    s, (t, e) = g["s"], g["t"]
    return s * p["w"] + t * power * a ** (power - 1), {"w": s * a, "v": (e * y["t"][1],)}


def composed(a, p, power=2):
    return {"s": a * p["w"], "t": [(a**power).sum(), mg.exp(p["v"][0])]}


def straight_through_in_torch():
    class Sign(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.sign(x)

        @staticmethod
        def backward(ctx, g):
            return g * (ctx.saved_tensors[0].abs() <= 1)

    return Sign.apply


def test_a_straight_through_estimator():
    x = torch.tensor(X, requires_grad=True)
    (straight_through_in_torch()(x * 0.9) * torch.sin(x)).sum().backward()
    f = lambda x: (sign(x * 0.9) * mg.sin(x)).sum()  # noqa: E731
    close(mg.grad(f)(X), x.grad, "gradient")
    assert sign(X).tolist() == np.sign(X).tolist()
    assert repr(sign) == "<sign, with a gradient of its own>"
    assert sign.__doc__.startswith("The sign")
    by_stopping = lambda x: ((x * 0.9 + mg.stop_gradient(mg.sign(x * 0.9) - x * 0.9)) * mg.sin(x)).sum()  # noqa: E731
    inside = np.abs(X * 0.9) <= 1
    np.testing.assert_allclose(mg.grad(by_stopping)(X).data[inside], x.grad.numpy()[inside])


def test_a_reversed_gradient():
    f = lambda x: reversal(mg.sin(x), scale=3.0).sum()  # noqa: E731
    np.testing.assert_allclose(mg.grad(f)(X).data, -3 * np.cos(X))
    np.testing.assert_allclose(mg.hessian(f)(X).data, np.diag(3 * np.sin(X)))
    assert reversal(X, 2.0).tolist() == X.tolist()


def number(r):
    return (r["s"] ** 2).sum() * r["t"][0] + r["t"][1] * r["s"][0]


P = {"w": rng.normal(size=4), "v": (np.array(0.3),)}


@pytest.mark.parametrize("power", [2, 3])
@pytest.mark.parametrize(
    "transform",
    [
        lambda f: mg.grad(f, argnums=(0, 1)),
        mg.hessian,
        lambda f: mg.hessian(f, argnums=1),
        lambda f: lambda a, p: mg.hvp(lambda a: f(a, p), a, a),
        lambda f: lambda a, p: mg.jvp(f, (a, p), (a, p))[1],
        lambda f: lambda a, p: mg.vmap(mg.grad(f), (0, None))(np.stack([a, 2 * a]), p),
        lambda f: mg.grad(lambda a, p: mg.vmap(f, (0, None))(mg.stack([a, 2 * a]), p).sum(), argnums=(0, 1)),
    ],
    ids=["grad", "hessian", "hessian by the second", "hvp", "jvp", "in vmap", "through vmap"],
)
def test_nests_and_every_transform(transform, power):
    ours = transform(lambda a, p: number(mixed(a, p, power=power)))(X, P)
    theirs = transform(lambda a, p: number(composed(a, p, power=power)))(X, P)
    from minigrad.nests import flatten

    for a, b in zip(flatten(ours)[0], flatten(theirs)[0], strict=True):
        close(a, b.data, "gradient", 1e-12)


def test_symbols():
    x, w, v = mg.symbols("x", (2,)), mg.symbols("w", (2,)), mg.symbols("v")
    formulas = []
    for f in (mixed, composed):
        for t in (x, w, v):
            t.grad = None
        number(f(x, {"w": w, "v": (v,)})).backward()
        formulas.append([e for t in (x, w, v) for e in np.ravel(t.grad.data).tolist()])
    assert [(a - b).expand() for a, b in zip(*formulas, strict=True)] == [0] * 5
    assert str(reversal(mg.symbols("x")).item()) == "x"


def test_rules_are_called_once_and_on_arrays():
    calls = []

    @mg.custom_gradient
    def product(a, b):
        return a * b

    @product.vjp
    def _(g, y, a, b):
        calls.append(type(g))
        return g * b, g * a

    mg.grad(product, argnums=(0, 1))(2.0, 3.0)
    assert len(calls) == 1
    assert calls[0] is not mg.Tensor
    mg.grad(mg.grad(product), argnums=1)(2.0, 3.0)
    assert calls[1] is mg.Tensor


def test_no_gradient_where_the_rule_has_none():
    @mg.custom_gradient
    def scaled(x, k, label):
        assert label == 3
        return x * k

    scaled.vjp(lambda g, y, x, k, label: (g * k, None, None))
    gx, gk = mg.grad(lambda x, k: scaled(x, k, 3).sum(), argnums=(0, 1))(X, 2.0)
    assert gx.tolist() == [2.0] * 4
    assert gk.item() == 0
    x = mg.tensor(X.astype(np.float32), requires_grad=True)
    scaled(x, 2.0, label=3).sum().backward()
    assert x.grad.dtype == np.float32


def test_integers_among_the_results():
    @mg.custom_gradient
    def largest(x):
        return x.max(), x.argmax()

    largest.vjp(lambda g, y, x: g[0] * (x == y[0]))
    value, place = largest(mg.tensor(X, requires_grad=True))
    assert (value.item(), int(place)) == (2.0, 3)
    assert mg.grad(lambda x: largest(x)[0] ** 2)(X).tolist() == [0, 0, 0, 4.0]


def test_stop_gradient():
    nest = {"a": mg.tensor(X, requires_grad=True), "b": (3, "text", None)}
    stopped = mg.stop_gradient(nest)
    assert not stopped["a"].requires_grad
    assert stopped["a"].tolist() == X.tolist()
    assert stopped["b"] == (3, "text", None)
    np.testing.assert_array_equal(mg.grad(lambda x: (x * mg.stop_gradient(x * x)).sum())(X).data, X * X)
    np.testing.assert_array_equal(mg.hessian(lambda x: (x * mg.stop_gradient(x)).sum())(X).data, np.zeros((4, 4)))
    f = lambda x: x * mg.stop_gradient(x)  # noqa: E731
    assert mg.jvp(f, (3.0,), (2.0,))[1].item() == 6
    np.testing.assert_array_equal(mg.vmap(mg.grad(f))(X).data, X)
    x = mg.symbols("x")
    (x * mg.stop_gradient(x)).backward()
    assert x.grad.item() == x.item()


def with_rule(rule):
    op = mg.custom_gradient(lambda x, y: x * y)
    return mg.grad(op.vjp(rule), argnums=(0, 1))(2.0, 3.0)


W = mg.tensor(2.0, requires_grad=True)
REFUSED = [
    (lambda: mg.grad(mg.custom_gradient(lambda x: x))(2.0), RuntimeError, r"no gradient rule: .*vjp, def _\(g, y, x\)"),
    (lambda: mg.custom_gradient(lambda x: x * W)(2.0), TypeError, "requires grad and is no argument.*pass it as an"),
    (lambda: with_rule(lambda g, y, a, b: g), TypeError, "should return 2 gradients, and returned 1"),
    (lambda: with_rule(lambda g, y, a, b: (g, g, g)), TypeError, "should return 2 gradients, and returned 3"),
    (lambda: with_rule(lambda g, y, a, b: (None, None)), TypeError, "None for every input"),
    (lambda: with_rule(lambda g, y, a, b: (g, np.ones(2))), TypeError, r"return the input's shape \(\), not \(2,\)"),
    (lambda: with_rule(lambda g, y, a, b: (g, np.ones((), int))), TypeError, "arrays of floats, and returned '1'"),
    (lambda: with_rule(lambda g, y, a, b: (g, "text")), TypeError, "return arrays of floats, and returned 'text'"),
    (lambda: mg.custom_gradient(lambda x: x).vjp(lambda g, x: g), TypeError, r"is called with \(g, y, x\)"),
    (lambda: mg.custom_gradient(3), TypeError, "mg.custom_gradient decorates a function of arrays, not int"),
    (lambda: mg.custom_gradient(lambda *x: x), TypeError, "as one argument, a list"),
    (lambda: mg.custom_gradient(lambda x: 3)(2.0), TypeError, "returned no tensor of floating point numbers"),
    (lambda: mg.custom_gradient(lambda x: x)(), TypeError, "missing a required argument: 'x'"),
    (
        lambda: mg.grad(mg.custom_gradient(lambda p: p["a"]).vjp(lambda g, y, p: {"b": g}))({"a": 1.0}),
        ValueError, "the rule of <lambda> for p: .* should be a nest of the same form"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
