"""Formulas and steps: what is printed is run as NumPy code, and must give the numbers of the function and its gradient.

The gradients to compare with are autograd's, or central differences where autograd has no such function.
"""

import re

import numpy as np
import pytest
import scipy.special
import sympy

import minigrad as mg
from minigrad.nn import functional as nf
from minigrad.symbolic import formula, latex

rng = np.random.default_rng(0)


def two_layers(x, W1, b1, W2, b2, y):
    h = mg.tanh(x @ W1 + b1)
    p = h @ W2 + b2
    return mg.mean((p - y) ** 2)


def relu_net(x, W1, b1, W2, b2):
    h = mg.relu(x @ W1.T + b1)
    scores = h @ W2.T + b2
    return nf.cross_entropy(scores, np.array([0, 1]))


def own_softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return p


def layer_norm(x, g, b):
    mu = mg.mean(x, axis=-1, keepdims=True)
    centred = x - mu
    var = mg.mean(centred * centred, axis=-1, keepdims=True)
    return centred / mg.sqrt(var + 0.5) * g + b


def attention(q, k, v):
    s = q @ k.T / 2**0.5
    a = mg.softmax(s, axis=-1)
    return a @ v


def rebound(x):
    for _ in range(3):
        x = mg.sin(x * x)
    return x


def leaky(w):
    m = np.where(w > 0, w, 0.1 * w)
    return m.sum() + 0.5 * (w * w).sum()


def shared(x):
    return x[1:] * x[:-1] - x[0] + mg.concatenate([x, -x])[1]


def reductions(x):
    a = x.sum(axis=0)
    b = x.max(axis=1)
    return a.mean() * b.min() / x.mean(axis=(0, 1)) + x.reshape((3, 2)).T[0, 1] - (-x).sum() / x.sum()


def signs(a, b):
    return a - (b - a) - (-b) * (a - b) * -2 - a / b / a - (a + b) ** 2 / (a * a * b) + 3 * (a - 1) * b**-1


def powers(a, b):
    return (a * b) ** 2 * a * a - (-a) ** 2 + (a**2) ** 3 + 2 ** (a * b)


def linear_layer(x, w, b):
    return mg.sigmoid(mg.linear(x, w, b)).sum(axis=1)


def hinge(w, x):
    return mg.maximum(0, 1 - x @ w).sum() + 0.1 * (w * w).sum()


def logistic(w, b, x, y):
    p = mg.sigmoid(x @ w + b)
    return -mg.mean(y * mg.log(p) + (1 - y) * mg.log(1 - p))


def vector_layers(x, W, V, b):
    h = mg.tanh(W @ x + b)
    return (h @ V) ** 2 * 3


def picked(E, v):
    e = E[np.array([0, 0, 1])]
    return mg.cumsum(e.sum(axis=0) * v) + mg.stack([v[0], v[1] * 2])


def limited(x):
    return mg.clip(x, -0.5, 0.5) * mg.linalg.norm(x) + mg.where((x > 0) | (x < -1), x, 2 * x)


def contracted(a, b):
    return mg.einsum("ij,jk->ik", a, b) * mg.logsumexp(a, axis=1, keepdims=True)


def matrix_with_ones(a, b):
    return (a.sum(axis=1) @ mg.ones((2, 3)) + mg.concatenate([b, mg.ones(1)])) / (1 / b.sum())


def gelu(x):
    return mg.gelu(x) * mg.exp(-x) - mg.abs(x)


CASES = {
    hinge: [(2,), (2, 2)],
    logistic: [(2,), (), (3, 2), (3,)],
    vector_layers: [(2,), (3, 2), (3, 2), (3,)],
    picked: [(2, 2), (2,)],
    limited: [(3,)],
    contracted: [(2, 2), (2, 2)],
    matrix_with_ones: [(2, 3), (2,)],
    gelu: [(2,)],
    two_layers: [(2, 2), (2, 3), (3,), (3, 1), (1,), (2, 1)],
    relu_net: [(2, 2), (3, 2), (3,), (2, 3), (2,)],
    own_softmax: [(2, 3)],
    layer_norm: [(2, 3), (3,), (3,)],
    attention: [(2, 2), (2, 2), (2, 2)],
    rebound: [()],
    leaky: [(3,)],
    shared: [(3,)],
    reductions: [(2, 3)],
    signs: [(), (2,)],
    powers: [(2,), (2,)],
    linear_layer: [(2, 3), (2, 3), (2,)],
}


def scatter(x, at, shape):
    y = np.zeros(shape)
    np.add.at(y, at, x)
    return y


def softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


WORDS = {name: getattr(np, name) for name in dir(np) if callable(getattr(np, name))} | {
    "relu": lambda x: np.maximum(x, 0), "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "softmax": softmax, "ties": 1,
    "log_softmax": lambda x: np.log(softmax(x)), "scatter": scatter, "s_": np.s_, "pi": np.pi,
    "nll_loss": lambda x, y: -x[np.arange(len(y)), y].mean(), "sum": np.sum, "max": np.max, "min": np.min,
    "root": np.sqrt, "inf": np.inf, "sqrt": np.sqrt, "erfc": scipy.special.erfc, "abs": np.abs,
    "gelu": lambda x: x * scipy.special.ndtr(x), "erf": scipy.special.erf,
    "logsumexp": lambda x, axis=None, keepdims=False: scipy.special.logsumexp(x, axis=axis, keepdims=keepdims),
}  # fmt: skip


def python(text):
    """A printed line as Python: names of gradients are no names there, nor has a list of numbers axes."""
    text = re.sub(r"\bd([A-Za-z]\w*)/d(\w+)", r"d\1_d\2", text)
    text = re.sub(r"at=\[((?:\[[^\]]*\]|[^\[\]])*)\], shape", r"at=s_[\1], shape", text)
    return re.sub(r"(?<![\w\]])\[\[.*?\]\]", r"array(\g<0>)", text)


def run(steps, values):
    values = dict(values)
    for step in steps:
        values[python(step.name)] = np.broadcast_to(eval(python(step.text), WORDS, values), step.symbols.shape)
    return values


@pytest.mark.parametrize("f", CASES, ids=lambda f: f.__name__)
def test_printed_steps_compute_the_function_and_its_gradient(f):
    found = formula(f, *CASES[f])
    arrays = [rng.normal(size=shape) for shape in CASES[f]]
    if f is logistic:
        arrays[3] = np.array([0.25, 1.0, 0.5])
    weights = rng.normal(size=found.shape)
    start = dict(zip(found.inputs, arrays, strict=True)) | {f"dL_d{found.letter}": weights}
    if found.shape == ():
        weights = 1.0
    values = run(found.steps, start)
    assert np.allclose(values[found.letter], f(*map(mg.tensor, arrays)).data)
    for i, name in enumerate(found.inputs):
        for at in np.ndindex(arrays[i].shape):

            def moved(h, i=i, at=at):
                x = [a.copy() for a in arrays]
                x[i][at] += h
                return np.sum(f(*map(mg.tensor, x)).data * weights)

            slope = (8 * (moved(1e-3) - moved(-1e-3)) - moved(2e-3) + moved(-2e-3)) / 12e-3
            assert np.isclose(values[f"d{found.top}_d{name}"][at], slope, rtol=1e-6, atol=1e-8), name


@pytest.mark.parametrize("f", CASES, ids=lambda f: f.__name__)
def test_equations_of_the_steps_lead_to_the_whole_formula(f):
    """The symbols of each step, replaced by what they stand for, give the formula; and sympy.diff its gradient."""
    found = formula(f, *CASES[f])
    symbols = every(found.symbols.values())
    at = {s: sympy.Rational(int(n), 128) for s, n in zip(symbols, rng.permutation(200), strict=False)}
    weights = [s for s in every([found.seed]) if s.is_Symbol]
    at |= {s: sympy.Rational(int(n), 64) for s, n in zip(weights, rng.permutation(100), strict=False)}
    values = dict(at)
    for step in found.steps:
        for equation in step.equations:
            values[equation.lhs] = sympy.N(equation.rhs.xreplace(values), 30)
    total = sum(e * g for e, g in zip(every([found.expr]), every([found.seed]), strict=True))
    for e in zip(every([found.steps[found.letter].symbols]), every([found.expr]), strict=True):
        assert abs(values[e[0]] - e[1].xreplace(at)) < 1e-20
    for name, symbols in found.symbols.items():
        ours = every([found.gradient[name]])
        stepwise = every([found.steps[f"d{found.top}/d{name}"].symbols])
        for s, g, step in zip(every([symbols]), ours, stepwise, strict=True):
            expected = sympy.N(sympy.diff(total, s).xreplace(at).doit(), 30)
            assert abs(expected - sympy.N(g.xreplace(at), 30)) < 1e-15, (name, s)
            assert abs(expected - values[step]) < 1e-15, (name, s)


def every(nests):
    """All elements of arrays, matrices and expressions."""
    return [e for x in nests for e in np.ravel(np.array(getattr(x, "tolist", lambda x=x: x)(), object)).tolist()]


def test_a_page_of_a_textbook():
    assert repr(formula(two_layers, *CASES[two_layers]).steps) == (
        "z1 = x @ W1 + b1\n"
        "h = tanh(z1)\n"
        "p = h @ W2 + b2\n"
        "z2 = (p - y)**2\n"
        "L = mean(z2)\n"
        "\n"
        "dL/dz2 = 1/2\n"
        "dL/dy = -(p - y)\n"
        "dL/dp = p - y\n"
        "dL/dW2 = h.T @ dL/dp\n"
        "dL/db2 = sum(dL/dp, axis=0)\n"
        "dL/dh = dL/dp @ W2.T\n"
        "dL/dz1 = dL/dh * (1 - h**2)\n"
        "dL/dx = dL/dz1 @ W1.T\n"
        "dL/dW1 = x.T @ dL/dz1\n"
        "dL/db1 = sum(dL/dz1, axis=0)"
    )


def test_latex_of_the_steps():
    steps = formula(relu_net, *CASES[relu_net]).steps
    assert steps["h"].latex == r"h &= \operatorname{relu}\left(z^{(1)}\right)"
    assert steps["z1"].latex == r"z^{(1)} &= x {W^{(1)}}^{\top} + b^{(1)}"
    assert steps["dL/dz1"].latex == (
        r"\frac{\partial L}{\partial z^{(1)}} &= \frac{\partial L}{\partial h} \odot \mathbb{1}\left[h > 0\right]"
    )
    assert steps.latex.startswith("\\begin{aligned}\nz^{(1)} &= ")
    assert steps.latex.count("&=") == len(steps) == len(steps.forward) + len(steps.backward)
    assert steps.latex.count("{") == steps.latex.count("}")
    assert steps._repr_latex_().startswith("$$")


def test_equations_stay_small():
    steps = formula(two_layers, *CASES[two_layers]).steps
    assert str(steps["h"].equations[0].rhs) == "tanh(z1_0_0)"
    assert str(steps["z1"].equations[0].rhs) == "W1_0_0*x_0_0 + W1_1_0*x_0_1 + b1_0"
    assert str(steps["dL/dz1"].equations[0].rhs) == "dL/dh_0_0*(1 - h_0_0**2)"
    with pytest.raises(KeyError, match="no step is called 'dL/dq'"):
        steps["dL/dq"]


def test_formulas_are_printed_on_a_line_or_in_steps():
    f = formula(lambda w, x: (w * x - 1) ** 2)
    assert repr(f) == "f(w, x) = (w*x - 1)**2"
    assert f.latex.splitlines()[1] == r"f\left(w, x\right) &= \left(w x - 1\right)^{2} \\"
    assert r"\frac{\partial L}{\partial w} &= " in f.latex
    assert f._repr_latex_() == f"$${f.latex}$$"
    long = formula(two_layers, *CASES[two_layers])
    assert repr(long) == repr(long.steps)
    assert long._repr_latex_() == long.steps._repr_latex_()


def test_results_have_sympys_types():
    assert isinstance(formula(lambda x: x + 1, ()).expr, sympy.Expr)
    assert formula(lambda x: x + 1, (2, 2)).expr.shape == (2, 2)
    assert isinstance(formula(lambda x: x + 1, (2, 2)).expr, sympy.MatrixBase)
    assert isinstance(formula(lambda x: x + 1, 2).expr, sympy.NDimArray)
    f = formula(lambda x: 2 * x, (2, 1))
    assert str(f.gradient["x"]) == "Matrix([[2*dL/dy_0_0], [2*dL/dy_1_0]])"


def test_inputs_may_be_shapes_or_examples():
    labels = np.array([1, 0])

    def loss(scores, labels, scale=2.0):
        return scale * nf.cross_entropy(scores, labels)

    f = formula(loss, np.zeros((2, 2)), labels)
    assert list(f.symbols) == list(f.gradient) == ["scores"]
    assert "nll_loss(z1, labels)" in repr(f.steps)
    assert list(formula(loss, mg.zeros((2, 2)), labels, ()).symbols) == ["scores", "scale"]
    assert list(formula(lambda *xs: xs[0] * xs[1], 2, 2).symbols) == ["xs1", "xs2"]
    own = mg.symbols("a", (2,))
    assert formula(lambda x: x.sum(), own).symbols["x"].tolist() == own.data.tolist()


def test_constants_and_unused_inputs():
    f = formula(lambda x: mg.tensor(3.0), ())
    assert (f.expr, f.gradient, repr(f.steps)) == (3, {"x": 0}, "L = 3")
    f = formula(lambda x, y: 2 * x, (), (2,))
    assert f.gradient["y"].tolist() == [0, 0]
    assert repr(f.steps) == "L = 2 * x\n\ndL/dx = 2"


def test_a_primitive_has_a_step():
    @mg.primitive
    def cube(x):
        return x * x * x

    cube.vjp(lambda g, y, x: g * 3 * x**2)
    assert repr(formula(lambda x: cube(2 * x), ()).steps) == (
        "z1 = 2 * x\nL = cube(z1)\n\ndL/dz1 = 3 * z1**2\ndL/dx = 2 * dL/dz1"
    )


FAULTS = [
    (lambda: formula(3), "a function is needed"),
    (lambda: latex(None), "NoneType 'None' has no formula"),
    (lambda: latex(mg.tanh), "Op '<op tanh>' has no formula"),
    (lambda: latex("x"), "str 'x' has no formula"),
    (lambda: formula(lambda x: x, (), ()), "needs 1 shape, and 2 were given"),
    (lambda: formula(lambda x, y: x, ()), "needs 2 shapes, and 1 were given"),
    (lambda: formula(lambda x: x, "ab"), "the shape of x should be numbers"),
    (lambda: formula(lambda x: x, (2.0,)), "the shape of x should be numbers"),
    (lambda: formula(lambda x: (x, x), ()), "should return one tensor, and returned tuple"),
    (lambda: formula(lambda x: None, ()), "returned NoneType"),
    (lambda: formula(lambda x: x if x > 0 else -x, ()), "neither `if` nor `while`"),
]


@pytest.mark.parametrize(("call", "sentence"), FAULTS, ids=range(len(FAULTS)))
def test_faults_get_a_sentence(call, sentence):
    with pytest.raises(TypeError, match=sentence):
        call()


def test_latex_of_symbols_arrays_and_results():
    W, x = mg.symbols("W", (2, 2)), mg.symbols("x")
    assert latex(W) == r"\begin{bmatrix}W_{0,0} & W_{0,1}\\W_{1,0} & W_{1,1}\end{bmatrix}"
    assert latex(mg.symbols("v", (2,))) == r"\begin{bmatrix}v_{0}\\v_{1}\end{bmatrix}"
    assert latex(mg.symbols("t", (2, 1, 1))).count("bmatrix") == 6
    assert latex(x**2) == latex(x.data**2) == latex(x.item() ** 2) == "x^{2}"
    assert latex(mg.symbols("W1", (1,))[0] ** 2) == r"\left(W^{(1)}_{0}\right)^{2}"
    assert latex(mg.tensor([1.0, 2.5])) == r"\begin{bmatrix}1.0\\2.5\end{bmatrix}"
    assert latex(sympy.Matrix([[x.item()]])) == r"\begin{bmatrix}x\end{bmatrix}"
    assert latex(mg.symbols("alpha_0")) == r"\alpha_{0}"
    assert latex(mg.symbols("learning_rate")) == r"\mathrm{learning\_rate}"
    assert latex(formula(lambda x: x, ())).startswith(r"\begin{aligned}")
    assert latex(mg.optim.formula("sgd")) == mg.optim.formula("sgd").latex
