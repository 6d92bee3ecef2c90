"""`mg.verify.claim`: gradients written by hand, right and wrong, in every form that they come in."""

import re

import numpy as np
import pytest

import minigrad as mg


def loss(W1, b1, W2, X, y):
    h = np.tanh(X @ W1 + b1)
    return np.mean((h @ W2 - y) ** 2)


def backprop(W1, b1, W2, X, y):
    h = np.tanh(X @ W1 + b1)
    d = 2 * (h @ W2 - y) / len(y)
    da = np.outer(d, W2) * (1 - h**2)
    return X.T @ da, da.sum(axis=0), h.T @ d


INPUTS = ((3, 2), (2,), (2,), (4, 3), (4,))
WEIGHTS = (0, 1, 2)


def test_a_two_layer_net_by_hand_is_proved():
    report = mg.verify.claim(loss, backprop, *INPUTS, argnums=WEIGHTS)
    assert report.verdict == "proved", report


def relu_loss(w, X, y):
    return np.sum((np.maximum(X @ w, 0) - y) ** 2) + 0.1 * np.sum(w**2)


def relu_masked(w, X, y):
    z = X @ w
    d = 2 * (np.maximum(z, 0) - y)
    d[z <= 0] = 0
    return X.T @ d + 0.2 * w


def softmax_loss(W, X, y):
    z = X @ W
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.mean(np.log(p[np.arange(len(y)), y]))


def softmax_gradient(W, X, y):
    z = X @ W
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    return X.T @ p / len(y)


@pytest.mark.parametrize(
    ("f", "claimed", "inputs"),
    [
        (relu_loss, relu_masked, ((2,), (3, 2), (3,))),
        (softmax_loss, softmax_gradient, ((2, 3), (2, 2), np.array([2, 0]))),
    ],
)
def test_code_that_writes_into_its_arrays(f, claimed, inputs):
    report = mg.verify.claim(f, claimed, *inputs, argnums=0)
    assert report.ok, report


FORMS = {
    "a tuple": lambda w, b: (2 * w, np.ones(2)),
    "a list": lambda w, b: [2 * w, np.ones(2)],
    "a dict": lambda w, b: {"b": np.ones(2), "w": 2 * w},
    "tensors": lambda w, b: (mg.tensor(2 * w), mg.ones(2)),
    "integers": lambda w, b: (2 * w, np.ones(2, int)),
    "one only": lambda w, b: (2 * w, None),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_claim(form):
    report = mg.verify.claim(lambda w, b: np.sum(w**2) + np.sum(b), FORMS[form], (3,), (2,))
    assert report.ok, report
    assert len(report.entries) == (1 if form == "one only" else 2)


def test_a_claim_may_be_a_nest():
    def f(p, x):
        return np.sum((x @ p["w"] + p["b"]) ** 2)

    def claimed(p, x):
        r = 2 * (x @ p["w"] + p["b"])
        return {"w": x.T @ r, "b": r.sum()}

    assert mg.verify.claim(f, claimed, {"w": np.ones(2), "b": 0.5}, (3, 2), argnums=0).verdict == "proved"


def test_a_claim_may_be_arrays():
    x = np.array([1.0, 2.0, -0.5])
    assert mg.verify.claim(lambda x: np.sum(x**2), 2 * x, x).verdict == "agrees"
    report = mg.verify.claim(lambda x: np.sum(x**2), 3 * x, x)
    assert report.verdict == "refuted"
    assert report.diagnoses[0].kind == "factor"


# ---- wrong ---------------------------------------------------------------------------------------------------------


def altered(**changes):
    """backprop with parts of it replaced."""
    parts = {"d": lambda e, y: 2 * e / len(y), "slope": lambda h, a: 1 - h**2, "b1": lambda da: da.sum(axis=0),
             "W1": lambda X, da: X.T @ da, "W2": lambda h, d: h.T @ d} | changes  # fmt: skip

    def claimed(W1, b1, W2, X, y):
        a = X @ W1 + b1
        h = np.tanh(a)
        d = parts["d"](h @ W2 - y, y)
        da = np.outer(d, W2) * parts["slope"](h, a)
        return parts["W1"](X, da), parts["b1"](da), parts["W2"](h, d)

    return claimed


WRONG = {
    "factor": altered(d=lambda e, y: e / len(y)),
    "sign": altered(d=lambda e, y: -2 * e / len(y)),
    "chain": altered(slope=lambda h, a: 1.0),
    "saved": altered(slope=lambda h, a: 1 - a**2),
    "broadcast": altered(b1=lambda da: da),
    "zero": altered(W2=lambda h, d: 0 * (h.T @ d)),
    "transposed": altered(W1=lambda X, da: (X.T @ da).T),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_claims_are_refuted_and_diagnosed(kind):
    claimed = WRONG[kind]
    report = mg.verify.claim(loss, claimed, *INPUTS, argnums=WEIGHTS)
    assert report.verdict == "refuted"
    assert kind in [d.kind for d in report.diagnoses], report.diagnoses
    assert report.hint
    example = report.counterexample
    shown = eval(example.line, {"np": np, "claimed": claimed})
    np.testing.assert_allclose(shown, example.ours)


def test_the_right_formula_stands_beside_the_claimed_one():
    text = str(mg.verify.claim(lambda x: np.sum(x**3), lambda x: 2 * x**2, (2,)))
    assert re.search(r"claimed gradient +2\*x_(\d)\*\*2\n +SymPy's gradient +3\*x_\1\*\*2", text)


def test_wrong_in_smaller_shapes_only_is_not_held_against_a_claim():
    """A constant 1/50 is right for 50 rows, though not for two."""
    f, claimed = lambda w, X: np.sum(X @ w) / len(X), lambda w, X: X.sum(axis=0) / 5000
    report = mg.verify.claim(f, claimed, (3,), (5000, 3), argnums=0)
    assert report.verdict == "agrees"
    assert "another function" in report.hint


# ---- claims that are no functions ----------------------------------------------------------------------------------


def changes_its_input(x):
    x *= 2
    return x


class Buffer:
    __name__ = "buffer"

    def __init__(self, adds=False):
        self.total, self.adds = np.zeros(2), adds

    def __call__(self, x):
        self.total[...] = 2 * x + (self.total if self.adds else 0)
        return self.total if not self.adds else self.total.copy()


@pytest.mark.parametrize(
    ("claimed", "kind"),
    [
        (changes_its_input, "aliasing"),
        (Buffer(), "aliasing"),
        (Buffer(adds=True), "stale"),
        (lambda x: 2 * x + np.random.default_rng().normal(size=2), "random"),
    ],
)
def test_claims_that_are_no_functions(claimed, kind):
    report = mg.verify.claim(lambda x: np.sum(x**2), claimed, (2,))
    assert report.verdict == "refuted"
    assert report.diagnoses[0].kind == kind


# ---- other libraries -----------------------------------------------------------------------------------------------


def test_a_claim_from_torch():
    torch = pytest.importorskip("torch", reason="torch is where the claim comes from")

    def claimed(w, X, y):
        t = torch.tensor(w, requires_grad=True)
        ((torch.tensor(X) @ t).tanh() - torch.tensor(y)).pow(2).mean().backward()
        return t.grad

    f = lambda w, X, y: np.mean((np.tanh(X @ w) - y) ** 2)  # noqa: E731
    assert mg.verify.claim(f, claimed, (3,), (4, 3), (4,), argnums=0).verdict == "agrees"
    half = lambda w, X, y: claimed(w, X, y) / 2  # noqa: E731
    report = mg.verify.claim(f, half, (3,), (4, 3), (4,), argnums=0)
    assert (report.verdict, report.diagnoses[0].kind) == ("refuted", "factor")


def test_a_claim_from_jax_in_float32():
    jax = pytest.importorskip("jax", reason="jax is where the claim comes from")
    claimed = jax.grad(lambda w, x: jax.numpy.sum(jax.numpy.exp(-(w**2)) * x))
    f = lambda w, x: np.sum(np.exp(-(w**2)) * x)  # noqa: E731
    assert mg.verify.claim(f, claimed, (3,), (3,), argnums=0).verdict == "agrees"
    report = mg.verify.claim(f, lambda w, x: claimed(w, x) * 1.001, (3,), (3,), argnums=0)
    assert report.verdict == "refuted"


# ---- bad input -----------------------------------------------------------------------------------------------------

REFUSED = [
    (lambda: mg.verify.claim(np.exp, np.exp, (2,)), ValueError, r"exp returns \(2,\).*reduce it"),
    (lambda: mg.verify.claim(np.sum, lambda x: (x, x, x), (2,)), ValueError, "returned 3 parts"),
    (lambda: mg.verify.claim(lambda a, b: np.sum(a * b), lambda a, b: b, (2,), (2,)), ValueError, "each of a, b"),
    (lambda: mg.verify.claim(np.sum, lambda x: "dx", (2,)), TypeError, "real numbers"),
    (lambda: mg.verify.claim(np.sum, lambda x: x + 1j, (2,)), TypeError, "real numbers.*complex128"),
    (lambda: mg.verify.claim(np.sum, lambda x: 1 / 0, (2,)), ZeroDivisionError, "division"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
