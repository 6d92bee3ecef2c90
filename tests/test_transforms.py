"""grad, vjp, jvp, jacobian, hessian, hvp, and nests of them: against torch.func, and against each other."""

from collections import namedtuple

import numpy as np
import pytest

import minigrad as mg
from minigrad.tensor import Tensor

torch = pytest.importorskip("torch", reason="torch.func is what transforms are compared with")
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, in forward mode

rng = np.random.default_rng(0)
W, X, V, S = rng.normal(size=(3, 2)), rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(3, 3))
Point = namedtuple("Point", "x y")


def scalar(lib):
    """A smooth function of a vector (3,), in mg's words or torch's."""
    return lambda x: lib.tanh(lib.tensor(S) @ x).sum() * lib.exp(x[0] * 0.3) + (x**3).prod()


def vector(lib):
    return lambda x: lib.sin(lib.tensor(S) @ x) * x[1] + x**2


def close(ours, theirs):
    assert isinstance(ours, Tensor)
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-10, atol=1e-13)


TRANSFORMS = {
    "grad": (lambda f, x: mg.grad(f)(x), lambda f, x: torch.func.grad(f)(x), scalar),
    "jacobian": (lambda f, x: mg.jacobian(f)(x), lambda f, x: torch.func.jacrev(f)(x), vector),
    "hessian": (lambda f, x: mg.hessian(f)(x), lambda f, x: torch.func.hessian(f)(x), scalar),
    "vjp": (lambda f, x: mg.vjp(f, x)[1](V)[0], lambda f, x: torch.func.vjp(f, x)[1](torch.tensor(V))[0], vector),
    "jvp": (lambda f, x: mg.jvp(f, (x,), (V,))[1], lambda f, x: torch.func.jvp(f, (x,), (torch.tensor(V),))[1], vector),
    "hvp": (lambda f, x: mg.hvp(f, x, V), lambda f, x: torch.func.hessian(f)(x) @ torch.tensor(V), scalar),
    "jacobian of jacobian": (
        lambda f, x: mg.jacobian(mg.jacobian(f))(x),
        lambda f, x: torch.func.jacrev(torch.func.jacrev(f))(x),
        vector,
    ),
    "jacobian of hessian": (
        lambda f, x: mg.jacobian(mg.hessian(f))(x),
        lambda f, x: torch.func.jacrev(torch.func.hessian(f))(x),
        scalar,
    ),
    "grad of sum of grad": (
        lambda f, x: mg.grad(lambda x: (mg.grad(f)(x) ** 2).sum())(x),
        lambda f, x: torch.func.grad(lambda x: (torch.func.grad(f)(x) ** 2).sum())(x),
        scalar,
    ),
    "grad through jvp": (
        lambda f, x: mg.grad(lambda x: mg.jvp(f, (x,), (x * 2,))[1].sum())(x),
        lambda f, x: torch.func.grad(lambda x: torch.func.jvp(f, (x,), (x * 2,))[1].sum())(x),
        vector,
    ),
    "grad through vjp": (
        lambda f, x: mg.grad(lambda x: (mg.vjp(f, x)[1](x * 2)[0] ** 2).sum())(x),
        lambda f, x: torch.func.grad(lambda x: (torch.func.vjp(f, x)[1](x * 2)[0] ** 2).sum())(x),
        vector,
    ),
    "jvp of grad": (
        lambda f, x: mg.jvp(mg.grad(f), (x,), (V,))[1],
        lambda f, x: torch.func.hessian(f)(x) @ torch.tensor(V),
        scalar,
    ),
    "jacobian of hvp": (
        lambda f, x: mg.jacobian(lambda x: mg.hvp(f, x, V))(x),
        lambda f, x: torch.func.jacrev(lambda x: torch.func.hessian(f)(x) @ torch.tensor(V))(x),
        scalar,
    ),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize(
    "given", [np.array, mg.tensor, lambda x: mg.tensor(x, requires_grad=True)], ids=["array", "tensor", "leaf"]
)
@pytest.mark.parametrize("recording", [True, False], ids=["recording", "no_grad"])
def test_transforms(name, given, recording):
    ours, theirs, f = TRANSFORMS[name]
    x = rng.normal(size=3)
    expected = theirs(f(torch), torch.tensor(x))
    if recording:
        result = ours(f(mg), given(x))
    else:
        with mg.no_grad():
            result = ours(f(mg), given(x))
        assert not result.requires_grad
    close(result, expected)


def test_the_original_is_left_alone():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    value, gradient = mg.value_and_grad(lambda x: (x**2).sum())(x)
    assert x.grad is None
    assert value.item() == 5.0
    np.testing.assert_array_equal(gradient.data, [2.0, 4.0])
    plain = mg.tensor([1.0, 2.0])
    value, gradient = mg.value_and_grad(lambda x: (x**2).sum())(plain)
    assert not value.requires_grad
    assert not gradient.requires_grad
    assert not plain.requires_grad


def test_a_transform_inside_a_graph_is_differentiable():
    """A gradient penalty: backward through a gradient, by a leaf that is x itself, and one in the closure."""
    x, w = mg.tensor([1.0, 2.0], requires_grad=True), mg.tensor([3.0, 4.0], requires_grad=True)
    penalty = (mg.grad(lambda x: (w * x**3).sum())(x) ** 2).sum()  # sum of (3 w x^2)^2
    penalty.backward()
    np.testing.assert_allclose(x.grad.data, 36 * w.data**2 * x.data**3)
    np.testing.assert_allclose(w.grad.data, 18 * w.data * x.data**4)


def test_closures_over_outer_variables():
    """An outer variable is not taken for the inner one (perturbation confusion)."""
    assert mg.grad(lambda x: x * mg.grad(lambda y: x + y)(2.0))(3.0).item() == 1.0
    assert mg.grad(lambda x: mg.grad(lambda y: x**2 * y**3)(2.0))(5.0).item() == 2 * 5 * 3 * 4
    assert mg.grad(lambda x: x * mg.grad(lambda y: x * y)(x))(3.0).item() == 6.0
    assert mg.jvp(lambda x: x * mg.jvp(lambda y: x * y, (2.0,), (1.0,))[1], (3.0,), (1.0,))[1].item() == 6.0
    assert mg.hessian(lambda x: mg.grad(lambda y: (x * y) ** 2)(x))(2.0).item() == 12 * 2.0


def test_deep_nesting():
    f = lambda x: x**6  # noqa: E731
    for expected in (6 * 2**5, 30 * 2**4, 120 * 2**3, 360 * 2**2, 720 * 2, 720, 0):
        f = mg.grad(f)
        assert f(2.0).item() == expected


def test_hvp_is_the_hessian_times_v():
    def f(p):
        return (mg.tanh(p["w"] @ p["x"]) ** 2).sum() * p["b"]

    p = {"w": W.T, "x": V, "b": 0.7}
    v = {"w": rng.normal(size=(2, 3)), "x": rng.normal(size=3), "b": -1.3}
    hessian, product = mg.hessian(f)(p), mg.hvp(f, p, v)
    for i in p:
        expected = sum(np.tensordot(hessian[i][j].data, v[j], np.ndim(v[j])) for j in p)
        np.testing.assert_allclose(product[i].data, expected, rtol=1e-10, atol=1e-14)


# ---- arguments -----------------------------------------------------------------------------------------------------


def test_nests():
    def f(p):
        return (p["a"] * p["b"][0] + p["b"][1].x * p["b"][1].y[0]).sum()

    p = {"a": np.array([1.0, 2.0]), "b": (3.0, Point(mg.tensor(4.0), [5.0]))}
    value, g = mg.value_and_grad(f)(p)
    assert value.item() == 3 * 3 + 2 * 20
    assert list(g) == ["a", "b"]
    assert type(g["b"]) is tuple
    assert type(g["b"][1]) is Point
    assert type(g["b"][1].y) is list
    np.testing.assert_array_equal(g["a"].data, [3.0, 3.0])
    assert (g["b"][0].item(), g["b"][1].x.item(), g["b"][1].y[0].item()) == (3.0, 10.0, 8.0)


def test_argnums():
    f = lambda a, b, scale=1.0: a * b**2 * scale  # noqa: E731
    assert mg.grad(f)(2.0, 3.0).item() == 9.0
    assert mg.grad(f, argnums=1)(2.0, 3.0, scale=2.0).item() == 24.0
    assert [g.item() for g in mg.grad(f, argnums=(0, 1))(2.0, 3.0)] == [9.0, 12.0]
    assert [g.item() for g in mg.grad(f, argnums=(1, 0))(2.0, 3.0)] == [12.0, 9.0]
    assert mg.grad(f, argnums=-1)(2.0, 3.0).item() == 12.0
    assert mg.grad(f, argnums=1)(2, 3.0).item() == 12.0  # an argument that is not differentiated may be anything
    rows = mg.hessian(f, argnums=(0, 1))(2.0, 3.0)
    assert [[h.item() for h in row] for row in rows] == [[0.0, 6.0], [6.0, 4.0]]


def test_jacobian_of_nests():
    jacobian = mg.jacobian(lambda p: {"sum": p[0] + p[1], "product": (p[0] * p[1],)})(
        (np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    )
    np.testing.assert_array_equal(jacobian["sum"][1].data, np.eye(2))
    np.testing.assert_array_equal(jacobian["product"][0][0].data, np.diag([3.0, 4.0]))


def spread_out(lib):
    """Many outputs, few inputs."""
    return lambda x: lib.sin(lib.tensor(WIDE) @ x) * x[0]


WIDE = np.random.default_rng(1).normal(size=(150, 3))


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
@pytest.mark.parametrize(
    "f", [vector, spread_out, lambda lib: lambda x: x.sum() * x[0], lambda lib: lambda x: x[:2] * x[2]]
)
@pytest.mark.parametrize("recording", [True, False])
def test_jacobians_in_either_mode(f, mode, recording, monkeypatch):
    """Forward and reverse, all rows at once and in parts: the same numbers, and derivatives of them too."""
    expected = torch.func.jacrev(f(torch))(torch.tensor(V))
    second = torch.func.jacfwd(torch.func.jacrev(f(torch)))(torch.tensor(V))
    for together in (1 << 22, 5 * expected.numel(), 0):
        monkeypatch.setattr("minigrad.transforms.TOGETHER", together)
        if recording:
            close(mg.jacobian(f(mg), mode=mode)(V), expected)
            close(mg.jacobian(mg.jacobian(f(mg), mode=mode), mode="forward")(V), second)
            close(mg.jacobian(mg.jacobian(f(mg), mode="forward"), mode=mode)(V), second)
        else:
            with mg.no_grad():
                close(mg.jacobian(f(mg), mode=mode)(V), expected)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_jacobians_of_nests_in_either_mode(mode):
    f = lambda p: {"sum": p[0] * p[1], "product": (p[0].sum(), p[1][:1], mg.ones(2))}  # noqa: E731
    p = (np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    jacobian = mg.jacobian(f, mode=mode)(p)
    np.testing.assert_array_equal(jacobian["sum"][0].data, np.diag(p[1]))
    np.testing.assert_array_equal(jacobian["sum"][1].data, np.diag(p[0]))
    np.testing.assert_array_equal(jacobian["product"][0][0].data, [1, 1])
    np.testing.assert_array_equal(jacobian["product"][0][1].data, [0, 0])
    np.testing.assert_array_equal(jacobian["product"][1][1].data, [[1, 0]])
    np.testing.assert_array_equal(jacobian["product"][2][0].data, np.zeros((2, 2)))
    assert mg.jacobian(lambda x: x[:0], mode=mode)(V).shape == (0, 3)
    assert mg.jacobian(lambda x: x * 2, mode=mode)(np.zeros((0, 2))).shape == (0, 2, 0, 2)


def test_jacobians_in_a_graph():
    """A leaf in the closure receives the gradient of the Jacobian, in either mode."""
    found = []
    for mode in ("forward", "reverse"):
        w = mg.tensor(WIDE, requires_grad=True)
        (mg.jacobian(lambda x: mg.sin(w @ x), mode=mode)(V) ** 2).sum().backward()  # noqa: B023
        found.append(w.grad)
    tw = torch.tensor(WIDE, requires_grad=True)
    (torch.func.jacrev(lambda x: torch.sin(tw @ x))(torch.tensor(V)) ** 2).sum().backward()
    for g in found:
        close(g, tw.grad)


def test_jacobians_of_symbols_and_of_a_users_op():
    x = mg.symbols("x", (2,))
    for mode in ("forward", "reverse"):
        y = mg.jacobian(lambda x: mg.sin(x) * x[0], mode=mode)(x)
        at = dict(zip(x.tolist(), (0.3, 0.7), strict=True))
        numbers = mg.jacobian(lambda x: mg.sin(x) * x[0])(np.array([0.3, 0.7]))
        assert [float(e.subs(at)) for row in y.tolist() for e in row] == pytest.approx(np.ravel(numbers.data).tolist())

    @mg.primitive
    def twice(x):
        return np.concatenate([x] * 200)

    twice.vjp(lambda g, y, x: mg.tensor(g.numpy().reshape(200, -1).sum(0)) if isinstance(g, Tensor)
              else g.reshape(200, -1).sum(0))  # fmt: skip
    np.testing.assert_array_equal(mg.jacobian(twice)(V).data, np.tile(np.eye(3), (200, 1)))  # whose rule goes one way


def test_shapes_of_jacobians():
    assert mg.jacobian(lambda x: mg.outer(x, x))(V).shape == (3, 3, 3)
    assert mg.jacobian(lambda x: x.sum())(X).shape == (4, 3)
    assert mg.jacobian(lambda x: x * 2)(1.0).shape == ()
    assert mg.hessian(lambda x: (x**2).sum())(X).shape == (4, 3, 4, 3)
    assert mg.jacobian(lambda x: x * 2)(np.zeros((0, 2))).shape == (0, 2, 0, 2)
    assert mg.jacobian(lambda x: x[:0])(V).shape == (0, 3)


def test_several_outputs():
    y, pullback = mg.vjp(lambda a, b: (a * b, {"sum": a + b}), V, V * 2)
    np.testing.assert_array_equal(y[1]["sum"].data, V * 3)
    a, b = pullback((np.ones(3), {"sum": 2 * np.ones(3)}))
    np.testing.assert_allclose(a.data, V * 2 + 2)
    np.testing.assert_allclose(b.data, V + 2)
    y, dy = mg.jvp(lambda a, b: (a * b, a + b), (V, V * 2), (np.ones(3), np.zeros(3)))
    np.testing.assert_allclose(dy[0].data, V * 2)
    np.testing.assert_allclose(dy[1].data, np.ones(3))


def test_a_pullback_may_be_called_again():
    _, pullback = mg.vjp(lambda x: x**2, V)
    for scale in (1.0, 2.0):
        np.testing.assert_allclose(pullback(np.full(3, scale))[0].data, 2 * V * scale)


def test_arguments_that_do_not_matter_have_gradient_0():
    for f in (lambda x: mg.tensor(1.0), lambda x: (x.detach() ** 2).sum(), lambda x: (mg.sign(x) * 0).sum()):
        np.testing.assert_array_equal(mg.grad(f)(V).data, np.zeros(3))
    np.testing.assert_array_equal(mg.jacobian(lambda x: mg.ones(2))(V).data, np.zeros((2, 3)))
    y, dy = mg.jvp(lambda x: mg.ones(2), (V,), (V,))
    np.testing.assert_array_equal(dy.data, np.zeros(2))
    np.testing.assert_array_equal(mg.hvp(lambda x: x.sum(), V, V).data, np.zeros(3))


def test_an_argument_returned_as_it_is():
    assert mg.grad(lambda x: x)(2.0).item() == 1.0
    np.testing.assert_array_equal(mg.jacobian(lambda x: x)(V).data, np.eye(3))
    assert mg.jvp(lambda x: x, (2.0,), (3.0,))[1].item() == 3.0
    x = mg.tensor(2.0, requires_grad=True)
    mg.value_and_grad(lambda x: x)(x)[0].backward()
    assert x.grad.item() == 1.0


def test_one_tensor_as_two_arguments():
    x = mg.tensor(3.0, requires_grad=True)
    assert [g.item() for g in mg.grad(lambda a, b: a * b**2, argnums=(0, 1))(x, x)] == [9.0, 18.0]


def test_float32_stays_float32():
    x = X[0].astype(np.float32)
    f, v = (lambda x: (mg.tanh(x) ** 3).sum()), np.array([1.0, 2.0, 3.0])
    results = [
        mg.grad(f)(x),
        mg.hessian(f)(x),
        mg.hvp(f, x, v),
        mg.jvp(mg.sin, (x,), (v,))[1],
        mg.vjp(mg.sin, x)[1](v)[0],
        mg.value_and_grad(f)(x)[0],
    ]
    assert {y.dtype for y in results} == {np.dtype(np.float32)}


def test_against_jax():
    jax = pytest.importorskip("jax", reason="a second opinion on forward mode")
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    ours = mg.jvp(lambda w, x: mg.tanh(x @ w), (W, X), (W * 2, X + 1))
    theirs = jax.jvp(lambda w, x: jnp.tanh(x @ w), (W, X), (W * 2, X + 1))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.data, b, rtol=1e-12)


# ---- refused -------------------------------------------------------------------------------------------------------

REFUSED = [
    (
        lambda: mg.grad(lambda x: x)(3),
        TypeError,
        r"grad: gradients need floating point numbers, and these are int64: write 2\.0 for 2",
    ),
    (lambda: mg.jacobian(lambda x: x)(np.array([1, 2])), TypeError, r"jacobian: gradients need floating point"),
    (lambda: mg.grad(lambda x: x * x)([1, 2.0]), TypeError, r"grad: gradients need floating point"),
    (
        lambda: mg.grad(lambda x: x * 2)(V),
        ValueError,
        r"grad: the function must return one number, not \(3,\); use mg\.jacobian, or reduce it",
    ),
    (
        lambda: mg.grad(lambda x: (x * x).item())(3.0),
        TypeError,
        r"grad: the function returned float '9\.0', without a gradient",
    ),
    (lambda: mg.grad(lambda x: (x * x).data)(3.0), TypeError, r"returned ndarray"),
    (lambda: mg.grad(lambda x: None)(3.0), TypeError, r"returned NoneType"),
    (
        lambda: mg.grad(lambda x: (x, x))(3.0),
        ValueError,
        r"grad: the function must return one number, not tuple",
    ),
    (
        lambda: mg.grad(lambda x: x, argnums=1)(3.0),
        ValueError,
        r"grad: argnums=1, and the function was called with 1 arguments",
    ),
    (lambda: mg.grad(lambda x: x)(None), TypeError, r"not NoneType"),
    (lambda: mg.grad(lambda x: x)("a"), TypeError, r"not str 'a'"),
    (lambda: mg.jacobian(mg.sin, mode="forwards"), ValueError, r"unknown mode 'forwards': did you mean 'forward'\?"),
    (lambda: mg.jvp(mg.sin, 1.0, 2.0), TypeError, r"jvp: primals and tangents are tuples of the same length"),
    (lambda: mg.jvp(mg.add, (1.0, 2.0), (1.0,)), TypeError, r"jvp: primals and tangents are tuples"),
    (lambda: mg.jvp(mg.sin, (V,), (np.ones(2),)), ValueError, r"needs that shape too, not \(2,\)"),
    (lambda: mg.vjp(mg.sin, V)[1](np.ones(2)), ValueError, r"needs that shape too, not \(2,\)"),
    (
        lambda: mg.vjp(lambda x: (x, x), V)[1](V),
        ValueError,
        r"vjp: array\(.* should be a nest of the same form as \(tensor",
    ),
    (lambda: mg.hvp(lambda x: (x**2).sum(), V, np.ones(2)), ValueError, r"needs that shape too, not \(2,\)"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_nests_are_matched_by_key():
    """5 a^2 + b^2 has the Hessian diag(10, 2), in whatever order a direction names a and b."""
    point, along_a = {"a": 1.0, "b": 1.0}, {"b": 0.0, "a": 1.0}
    hv = mg.hvp(lambda p: 5 * p["a"] ** 2 + p["b"] ** 2, point, along_a)
    assert (hv["a"].item(), hv["b"].item()) == (10.0, 0.0)
    assert mg.jvp(lambda p: 10 * p["a"] + p["b"], (point,), (along_a,))[1].item() == 10.0
    _, pullback = mg.vjp(lambda x: {"a": 10 * x, "b": x}, 1.0)
    assert pullback(along_a)[0].item() == 10.0


def test_no_graph_is_kept_under_no_grad():
    w = mg.tensor(2.0, requires_grad=True)
    with mg.no_grad():
        value, gradient = mg.value_and_grad(lambda x: w * x * x)(3.0)
    assert (value.item(), gradient.item()) == (18.0, 12.0)
    assert not value.requires_grad
    assert not gradient.requires_grad
