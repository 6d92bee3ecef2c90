"""`mg.verify.gradient`: what it proves, what it refutes, and what it says where it can do neither."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.nn import functional as nf

LABELS = np.array([0, 1])


def tanh_net(x, W1, b1, W2, b2):
    return nf.cross_entropy(mg.tanh(x @ W1 + b1) @ W2 + b2, LABELS)


def softmax_by_hand(z):
    e = np.exp(z - np.max(z, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def newton_root(x):
    y = x
    while (y * y - x) ** 2 > 1e-3:
        y = (y + x / y) / 2
    return y


def bent(x):
    return x**2 if x > 1 else 2 * x - 1


RIGHT = {
    "a scalar": (lambda x: mg.exp(-x * x), ((),)),
    "the 2-3-2 net": (tanh_net, ((2, 2), (2, 3), (3,), (3, 2), (2,))),
    "an array": (lambda x: mg.sin(x) * x, ((2, 2),)),
    "two outputs": (lambda x: (mg.sin(x), {"b": mg.cos(x)}), ((2,),)),
    "NumPy code": (softmax_by_hand, ((2, 3),)),
    "broadcasting": (lambda a, b: (a * b).sum(), ((3,), (2, 1))),
    "used twice": (lambda x: x * x + x, ((2,),)),
    "indices that repeat": (lambda x: x[np.array([0, 0, 1])] ** 2, ((3,),)),
    "nests": (lambda p, q: p["w"] @ q[0] + p["b"], ({"w": np.ones((2, 2)), "b": np.zeros(2)}, [np.ones(2)])),
    "a domain to be found": (lambda x: mg.log(x) + mg.sqrt(1 - x), ((),)),
    "labels": (lambda z, y: nf.cross_entropy(z, y), ((2, 3), np.array([0, 2]))),
    "a standard deviation": (lambda x: mg.std(x), ((3,),)),
    "kinks": (lambda x: mg.relu(x) + mg.abs(x) * mg.maximum(x, 1.0), ((2,),)),
    "an if": (bent, (np.array(1.7),)),
    "an option": (lambda x, axis: mg.sum(x**2, axis=axis), ((2, 2), 1)),
    "independent": (lambda x, y: x * 2.0, ((2,), (2,))),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_gradients_are_proved(name):
    f, inputs = RIGHT[name]
    report = mg.verify.gradient(f, *inputs)
    assert report.verdict == "proved", report


@pytest.mark.parametrize("name", ["a scalar", "an array", "broadcasting", "kinks"])
def test_second_derivatives(name):
    f, inputs = RIGHT[name]
    report = mg.verify.gradient(f, *inputs, order=2)
    assert report.verdict in ("proved", "agrees"), report
    assert any("second order" in entry.name for entry in report.entries)


def test_a_network_is_an_input():
    net = mg.nn.Sequential(mg.nn.Linear(2, 2), mg.nn.Tanh(), mg.nn.Linear(2, 1))
    before = net.state_dict()
    report = mg.verify.gradient(lambda net, x: (net(x) ** 2).mean(), net, (2, 2))
    assert report.verdict == "proved", report
    assert [e.name for e in report.entries] == ["net_0_weight", "net_0_bias", "net_2_weight", "net_2_bias", "x"]
    assert all(np.array_equal(net.state_dict()[k], v) for k, v in before.items())
    assert all(p.grad is None for p in net.parameters())


def test_both_branches_of_an_if_are_looked_at():
    report = mg.verify.gradient(bent, np.array(1.7))
    assert "branches" in report.hint


def test_argnums():
    report = mg.verify.gradient(lambda w, x: (w * x).sum(), (2,), (2,), argnums=0)
    assert [e.name for e in report.entries] == ["w"]


# ---- wrong gradients -----------------------------------------------------------------------------------------------


def op_with(rule, forward=np.tanh):
    return mg.primitive(lambda x: forward(x)).vjp(rule)


WRONG = {
    "a factor": lambda g, y, x: 2 * g * (1 - y * y),
    "a sign": lambda g, y, x: -g * (1 - y * y),
    "x for y": lambda g, y, x: g * (1 - x * x),
    "a constant": lambda g, y, x: g * (1 - y * y * 1.0001),
    "nothing": lambda g, y, x: 0 * g,
    "one branch": lambda g, y, x: np.where(x > 0, g * (1 - y * y), -g * (1 - y * y)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rules_are_refuted_with_a_line_that_shows_it(name):
    wrong = op_with(WRONG[name])
    report = mg.verify.gradient(lambda x: (wrong(x) * x).sum(), (3,))
    assert report.verdict == "refuted"
    example = report.counterexample

    def shown(tanh):
        return eval(example.line, {"mg": mg, "np": np, "f": lambda x: (tanh(x) * x).sum()}).item()

    assert shown(wrong) == pytest.approx(example.ours)
    assert shown(mg.tanh) == pytest.approx(example.right)
    assert example.ours != pytest.approx(example.right, rel=1e-7)


def test_wrong_at_second_order_only():
    def detached(g, y, x):
        return g * np.cos(x._data if isinstance(x, mg.Tensor) else x)

    wrong = op_with(detached, np.sin)
    f = lambda x: wrong(x)  # noqa: E731
    assert mg.verify.gradient(f, ()).verdict == "proved"
    report = mg.verify.gradient(f, (), order=2)
    assert report.verdict == "refuted"
    assert report.diagnoses[0].kind == "second-order"


# ---- large ---------------------------------------------------------------------------------------------------------


def test_large_inputs_are_reduced_where_the_function_allows_it():
    report = mg.verify.gradient(lambda x, W: mg.tanh(x @ W).mean(), (64, 50), (50, 20))
    assert report.verdict == "proved"
    assert "smaller shapes" in report.hint


def test_what_cannot_be_reduced_is_checked_op_by_op_and_by_numbers():
    fixed = np.linspace(-1, 1, 40 * 30).reshape(40, 30)
    report = mg.verify.gradient(lambda x: mg.tanh(mg.softmax(fixed @ x)).sum(), (30, 20))
    assert report.verdict == "agrees", report
    assert {"tanh", "softmax", "matmul"} <= {e.name.removeprefix("op ") for e in report.entries}


def test_numbers_refute_too():
    wrong = op_with(WRONG["a factor"])
    report = mg.verify.gradient(lambda x: wrong(x).sum(), (3,), method="numbers")
    assert report.verdict == "refuted"


# ---- bad input -----------------------------------------------------------------------------------------------------


def writes(x):
    x._data[...] = 0
    return x.sum()


REFUSED = [
    (lambda: mg.verify.gradient(3.0, (2,)), TypeError, "the first argument is the function"),
    (lambda: mg.verify.gradient(mg.sum), TypeError, "no array of floating point numbers.*shapes"),
    (lambda: mg.verify.gradient(mg.sum, np.array([1, 2])), TypeError, "no array of floating point numbers.*int64"),
    (lambda: mg.verify.gradient(lambda x: mg.tensor(x.data > 0), (2,)), TypeError, "returns bool"),
    (lambda: mg.verify.gradient(lambda x: float(x.sum().detach()), (2,)), TypeError, "without a gradient"),
    (lambda: mg.verify.gradient(lambda x: x * np.random.default_rng().normal(), (2,)), ValueError, "random numbers"),
    (lambda: mg.verify.gradient(writes, (2,)), ValueError, "changes its input x in place"),
    (lambda: mg.verify.gradient(lambda x: mg.log(x - x), (2,)), ValueError, "returns -inf at the example inputs"),
    (lambda: mg.verify.gradient(lambda x: [], (2,)), ValueError, "returns nothing"),
    (lambda: mg.verify.gradient(mg.sum, (2,), argnums=1), ValueError, "argnums=1"),
    (lambda: mg.verify.gradient(mg.sum, (2,), order=3), ValueError, "order=3"),
    (lambda: mg.verify.gradient(mg.sum, (2,), method="number"), ValueError, "did you mean 'numbers'"),
    (lambda: mg.verify.gradient(mg.sum, (2,), seconds=0), ValueError, "positive number of seconds"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_a_proof_that_takes_too_long_is_given_up():
    report = mg.verify.gradient(tanh_net, (2, 2), (2, 3), (3,), (3, 2), (2,), seconds=0.01)
    assert report.verdict in ("agrees", "undecided", "proved")
