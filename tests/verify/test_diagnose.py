"""The gradient doctor names planted faults, and accuses nothing of what it did not do."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.ops.card import CARDS, Op
from minigrad.tensor import Tensor
from minigrad.verify.diagnose import diagnose, in_short
from minigrad.verify.suspect import Case

N = 5  # the batch


def numbers(seed, *shapes, n=4):
    """Generic inputs at several points; a shape may be an array, which is the same at all points."""
    rng = np.random.default_rng(seed)
    return [[s if isinstance(s, np.ndarray) else rng.normal(size=s) for s in shapes] for _ in range(n)]


def right_gradients(f, point, wanted):
    tensors = [mg.tensor(x, requires_grad=True) if w else x for x, w in zip(point, wanted, strict=True)]
    f(*tensors).backward()
    return [
        (np.zeros(t.shape) if t.grad is None else t.grad.data) if isinstance(t, Tensor) else None for t in tensors
    ]


def case(f, names, claimed, *shapes, seed=0, points=None):
    """`claimed(*inputs)` returns a dict: the gradients claimed by name."""
    names = names.split()
    points = numbers(seed, *shapes) if points is None else points

    def claim(*inputs):
        found = claimed(*inputs)
        return [found.get(name) for name in names]

    found = [claim(*map(np.copy, point)) for point in points]
    right = [right_gradients(f, p, [c is not None for c in found[0]]) for p in points]
    return Case(f, names, points, found, right)


def kinds(*args, **kwargs):
    return {d.input: d.kind for d in diagnose(case(*args, **kwargs))}


def sentence(*args, **kwargs):
    return " / ".join(d.sentence for d in diagnose(case(*args, **kwargs)))


# ---- linear regression ---------------------------------------------------------------------------------------------


def regression(w, b, x, y):
    return np.mean((x @ w + b - y) ** 2)


REGRESSION = ("w b x y", (3,), (), (N, 3), (N,))


def by_hand(change=lambda g, w, b, x, y: g):
    def claimed(w, b, x, y):
        e = x @ w + b - y
        return change({"w": 2 * x.T @ e / N, "b": np.asarray(2 * e.mean())}, w, b, x, y)

    return claimed


def regression_case(change):
    names, *shapes = REGRESSION
    return regression, names, by_hand(change), *shapes


def only_w(change):
    return regression_case(lambda g, w, b, x, y: {"w": change(g["w"], w, b, x, y)})


ONE_INPUT = [
    ("twice", lambda g, *_: 2 * g, "factor", "twice the right gradient"),
    ("half", lambda g, *_: g / 2, "factor", "half the right gradient"),
    ("batch", lambda g, *_: g * N, "factor", "the length of axis 0 of x"),
    ("mean of mean", lambda g, *_: g / N, "factor", "the length of axis 0 of x"),
    ("pi", lambda g, *_: g * np.pi, "factor", "pi times"),
    ("third", lambda g, *_: g / 7, "factor", "1/7"),
    ("strange", lambda g, *_: g * 0.123456, "factor", "0.123456"),
    ("sign", lambda g, *_: -g, "sign", "wrong sign"),
    ("sign and factor", lambda g, *_: -2 * g, "factor", "minus twice"),
    ("zero", lambda g, *_: 0 * g, "zero", "zero everywhere"),
    ("rounded", lambda g, *_: 0.9999 * g, "precision", "0.9999"),
    ("float32", lambda g, *_: g * (1 + 1e-7 * np.sin(1e8 * g)), "precision", "float32"),
    ("noisy", lambda g, *_: g * (1 + 1e-4 * np.sin(1e8 * g)), "precision", "close"),
    ("reversed", lambda g, *_: g[::-1], "permuted", "reverse order"),
    ("rolled", lambda g, *_: np.roll(g, 1), "permuted", "shifted"),
    ("L2", lambda g, w, *_: g + 0.1 * w, "regulariser", "0.1 w"),
    ("L1", lambda g, w, *_: g - 0.01 * np.sign(w), "regulariser", "sign(w)"),
    ("offset", lambda g, *_: g + 0.5, "offset", "+0.5"),
    ("column", lambda g, *_: g[:, None], "shape", "reshape"),
    ("one number", lambda g, *_: g.sum(), "axis", "summed"),
    ("one entry", lambda g, *_: g * [1, 1, 0], "zero", "[2]"),
    ("one entry's sign", lambda g, *_: g * [-1, 1, 1], "sign", "[0]"),
    ("own factors", lambda g, *_: g * [1, 2, 3], "factor", "factors of their own"),
    ("partial", lambda g, w, *_: g + np.array([0, 0, 1]) * np.sin(w + g), "partial", "[2]"),
    ("positive only", lambda g, w, *_: np.where(w > 0, g, -g), "branch", "wrong sign"),
    ("inside only", lambda g, w, *_: np.where(np.abs(w) < 1, g, g + np.sin(w)), "branch", "|w| > 1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "kind", "words"), ONE_INPUT, ids=[row[0] for row in ONE_INPUT])
def test_one_input(name, change, kind, words):
    found = diagnose(case(*only_w(change), seed=3))
    assert [d.kind for d in found] == [kind], found
    assert words in found[0].sentence
    assert "dw" in found[0].sentence
    assert found[0].input == "w"


def test_nothing_is_diagnosed_in_noise():
    rng = np.random.default_rng(7)
    assert not diagnose(case(*only_w(lambda g, *_: rng.normal(size=g.shape))))
    assert not diagnose(case(*only_w(lambda g, *_: g * rng.normal(size=g.shape))))
    [shape] = diagnose(case(*only_w(lambda g, *_: rng.normal(size=4))))
    assert shape.kind == "shape"


def test_a_coincidence_at_one_point_is_no_diagnosis():
    rng = np.random.default_rng(8)
    given = case(*only_w(lambda g, *_: 2 * g))
    claimed = [[rng.normal(size=3), *rest] if k else [g, *rest] for k, (g, *rest) in enumerate(given.claimed)]
    assert not diagnose(given._replace(claimed=claimed))


def test_right_inputs_are_not_mentioned():
    found = kinds(*regression_case(lambda g, *_: {**g, "b": -g["b"]}))
    assert found == {"b": "sign"}


# ---- shapes and broadcasting ---------------------------------------------------------------------------------------


def layer(w, b, x):
    return np.sum(np.sin(x @ w + b))


def layer_gradients(w, b, x):
    d = np.cos(x @ w + b)
    return x.T @ d, d


LAYER = ("w b x", (3, 3), (3,), (N, 3))
SHAPES = [
    ("unsummed", "b", lambda dw, d: d, "broadcast", "db.sum(axis=0)"),
    ("mean over the batch", "b", lambda dw, d: d.mean(axis=0), "factor", "1/5"),
    ("first row", "b", lambda dw, d: d[0], "broadcast", "first row"),
    ("last row", "b", lambda dw, d: d[-1], "broadcast", "last row"),
    ("kept axis", "b", lambda dw, d: d.sum(axis=0, keepdims=True), "shape", "reshape"),
    ("wrong axis", "b", lambda dw, d: d.sum(axis=1), "shape", "(5,)"),
    ("twice unsummed", "b", lambda dw, d: 2 * d, "broadcast", "twice"),
    ("transposed", "w", lambda dw, d: dw.T, "transposed", "transposed"),
    ("transposed, minus", "w", lambda dw, d: -dw.T, "transposed", "minus"),
    ("transposed, half", "w", lambda dw, d: dw.T / 2, "transposed", "half"),
    ("last row is zero", "w", lambda dw, d: dw * [[1], [1], [0]], "zero", "in the last row"),
    ("sum over rows", "w", lambda dw, d: dw.sum(axis=0), "axis", "axis 0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "input", "change", "kind", "words"), SHAPES, ids=[row[0] for row in SHAPES])
def test_shapes(name, input, change, kind, words):
    names, *shapes = LAYER
    [d] = diagnose(case(layer, names, lambda w, b, x: {input: change(*layer_gradients(w, b, x))}, *shapes))
    assert (d.kind, d.input) == (kind, input), d
    assert words in d.sentence, d


def test_a_square_sum_over_the_wrong_axis():
    names = "w b x"
    found = kinds(layer, names, lambda w, b, x: {"b": layer_gradients(w, b, x)[1].sum(axis=1)}, (3, 3), (3,), (3, 3))
    assert found == {"b": "axis"}


def test_transposed_of_a_matrix_that_is_not_square():
    found = kinds(layer, "w b x", lambda w, b, x: {"w": layer_gradients(w, b, x)[0].T}, (3, 2), (2,), (N, 3))
    assert found == {"w": "transposed"}


def test_an_outer_product_by_accident():
    def loss(w, x, y):
        return np.sum((x * w - y) ** 2)

    def claimed(w, x, y):
        return {"w": 2 * (x * w - y)[:, None] * x}

    [d] = diagnose(case(loss, "w x y", claimed, (4,), (4,), (4,)))
    assert d.kind == "broadcast"
    assert "diagonal" in d.sentence


# ---- two layers ----------------------------------------------------------------------------------------------------

ACTIVATIONS = {
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (mg.relu, lambda z: (z > 0) * 1.0),
    "sigmoid": (mg.sigmoid, lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
}
NET = ("W1 b1 W2 b2 x y", (3, 3), (3,), (3, 3), (3,), (N, 3))
LABELS = np.array([0, 2, 1, 1, 0])


def two_layers(act, loss, **fault):
    """A loss of a net of two layers, and its gradient by hand, with one line of it changed."""
    forward, slope = ACTIVATIONS[act]

    def f(W1, b1, W2, b2, x, y):
        z = forward(x @ W1 + b1) @ W2 + b2
        if loss == "squares":
            return np.mean((z - y) ** 2)
        return mg.nn.functional.cross_entropy(z, y)

    def claimed(W1, b1, W2, b2, x, y):
        do = {
            "d2": lambda z2: 2 * (z2 - y) / z2.size if loss == "squares" else (softmax(z2) - np.eye(3)[y]) / len(y),
            "dW2": lambda h, z, d2: h.T @ d2,
            "dh": lambda d2: d2 @ W2.T,
            "d1": lambda dh, h, z: dh * slope(z),
            "dW1": lambda d1: x.T @ d1,
        } | fault
        z = x @ W1 + b1
        h = np.asarray(forward(z).data if isinstance(forward(z), Tensor) else forward(z))
        d2 = do["d2"](h @ W2 + b2)
        d1 = do["d1"](do["dh"](d2), h, z)
        dW2 = do["dW2"](h, z, d2)
        return {"W1": do["dW1"](d1), "b1": d1.sum(axis=0), "W2": dW2, "b2": d2.sum(axis=0)}

    names, *shapes = NET
    target = LABELS if loss == "entropy" else (N, 3)
    return f, names, claimed, *shapes, target


def softmax(z):
    p = np.exp(z)
    return p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("loss", ["squares", "entropy"])
@pytest.mark.parametrize("act", list(ACTIVATIONS))
def test_two_layers_by_hand_are_right(act, loss):
    assert not diagnose(case(*two_layers(act, loss)))


@pytest.mark.parametrize("loss", ["squares", "entropy"])
@pytest.mark.parametrize("act", list(ACTIVATIONS))
def test_the_missing_factor_of_an_activation(act, loss):
    given = case(*two_layers(act, loss, d1=lambda dh, h, z: dh))
    found = diagnose(given)
    assert {d.input: d.kind for d in found} == {"W1": "chain", "b1": "chain"}
    assert all(f"the factor of {act}" in d.sentence for d in found)


TWO_LAYERS = [
    ("squared slope", {"d1": lambda dh, h, z: dh * (1 - h**2) ** 2}, "chain", "twice", "W1 b1"),
    ("saved input", {"d1": lambda dh, h, z: dh * (1 - z**2)}, "saved", "output is meant", "W1 b1"),
    ("unsquared", {"d1": lambda dh, h, z: dh * (1 - h)}, "chain", "1 - ", "W1 b1"),
    ("slope of sigmoid", {"d1": lambda dh, h, z: dh * h * (1 - h)}, "chain", "sigmoid", "W1 b1"),
    ("value", {"d1": lambda dh, h, z: dh * h}, "chain", "value", "W1 b1"),
    ("half the slope", {"d1": lambda dh, h, z: dh * (1 - h**2) / 2}, "factor", "half", "W1 b1"),
    ("lacks slope, half", {"d1": lambda dh, h, z: dh / 2}, "chain", "half", "W1 b1"),
    ("before the activation", {"dW2": lambda h, z, d2: z.T @ d2}, "saved", "tanh(x @ W1 + b1) is meant", "W2"),
    ("not transposed", {"dh": None}, "transposed", "transposed", "W1 b1"),
    ("sign of the error", {"d2": None}, "sign", "sign", "W1 b1 W2 b2"),
    ("transposed dW1", {"dW1": lambda d1: d1.T @ d1}, None, "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fault", "kind", "words", "inputs"), TWO_LAYERS, ids=[row[0] for row in TWO_LAYERS])
def test_two_layers_of_tanh(name, fault, kind, words, inputs):
    f, names, claimed, *shapes = two_layers("tanh", "squares", **{k: v for k, v in fault.items() if v})
    if name == "not transposed":

        def claimed(W1, b1, W2, b2, x, y):
            h = np.tanh(x @ W1 + b1)
            d1 = 2 * (h @ W2 + b2 - y) / y.size @ W2 * (1 - h**2)
            return {"W1": x.T @ d1, "b1": d1.sum(axis=0)}

    if name == "sign of the error":
        right = claimed

        def claimed(*inputs):
            return {k: -g for k, g in right(*inputs).items()}

    found = diagnose(case(f, names, claimed, *shapes))
    assert {d.input: d.kind for d in found} == dict.fromkeys(inputs.split(), kind)
    assert all(words in d.sentence for d in found), found


def test_the_mask_of_the_other_side():
    fault = lambda dh, h, z: dh * (z < 0)  # noqa: E731
    found = diagnose(case(*two_layers("relu", "squares", d1=fault)))
    assert {d.input: d.kind for d in found} == {"W1": "branch", "b1": "branch"}
    assert "wrong side" in found[0].sentence


def test_cross_entropy_without_the_mean():
    found = diagnose(case(*two_layers("tanh", "entropy", d2=lambda z: softmax(z) - np.eye(3)[LABELS])))
    assert {d.kind for d in found} == {"factor"}
    assert len(found) == 4
    assert all("5 times" in d.sentence for d in found)


def test_cross_entropy_with_the_slope_of_softmax_once_more():
    def d2(z):
        p = softmax(z)
        return (p - np.eye(3)[LABELS]) * p * (1 - p) / N

    found = diagnose(case(*two_layers("tanh", "entropy", d2=d2)))
    assert {d.kind for d in found} == {"chain"}, found


# ---- softmax, normalisation, attention -----------------------------------------------------------------------------

WEIGHTS = np.random.default_rng(5).normal(size=(N, 4))


def test_softmax_with_the_diagonal_only():
    def f(x):
        return np.sum(mg.softmax(x) * WEIGHTS)

    found = diagnose(case(f, "x", lambda x: {"x": WEIGHTS * softmax(x) * (1 - softmax(x))}, (N, 4)))
    assert [d.kind for d in found] == ["dropped"]
    assert "diagonal" in found[0].sentence


def test_softmax_written_out_is_softmax():
    def f(x):
        e = np.exp(x)
        return np.sum(e / np.sum(e, axis=1, keepdims=True) * WEIGHTS)

    found = diagnose(case(f, "x", lambda x: {"x": WEIGHTS * softmax(x)}, (N, 4)))
    assert [d.kind for d in found] == ["dropped"]
    assert "softmax(x): the term - s sum(g s) is missing" in found[0].sentence


def test_a_sum_as_a_constant():
    def f(x):
        return np.sum(x / np.sum(x, axis=1, keepdims=True) * WEIGHTS)

    found = diagnose(case(f, "x", lambda x: {"x": WEIGHTS / np.sum(x, axis=1, keepdims=True)}, (N, 4)))
    assert [d.kind for d in found] == ["dropped"]
    assert "sum(x) is treated as a constant there, and it depends on x too" in found[0].sentence


def test_softmax_of_the_wrong_axis():
    def f(x):
        return np.sum(mg.softmax(x, axis=1) * WEIGHTS)

    def claimed(x):
        p = softmax(x)
        return {"x": p * (WEIGHTS - (WEIGHTS * p).sum(axis=0, keepdims=True))}

    assert kinds(f, "x", claimed, (N, 4)) == {"x": "axis"}


def normalised(x):
    mean = np.mean(x, axis=1, keepdims=True)
    return (x - mean) / np.sqrt(np.mean((x - mean) ** 2, axis=1, keepdims=True) + 1e-5)


def layernorm(x, scale):
    return np.sum(normalised(x) * scale * WEIGHTS)


def layernorm_gradient(x, scale, mean=True, spread=True):
    y, g = normalised(x), scale * WEIGHTS
    std = np.sqrt(np.mean((x - x.mean(axis=1, keepdims=True)) ** 2, axis=1, keepdims=True) + 1e-5)
    g = g - mean * g.mean(axis=1, keepdims=True) - spread * y * np.mean(g * y, axis=1, keepdims=True)
    return {"x": g / std, "scale": np.sum(y * WEIGHTS, axis=0)}


def test_layernorm():
    assert not kinds(layernorm, "x scale", layernorm_gradient, (N, 4), (4,))
    for lost in ({"mean": False}, {"spread": False}, {"mean": False, "spread": False}):
        claimed = lambda x, s, lost=lost: layernorm_gradient(x, s, **lost)  # noqa: E731
        found = diagnose(case(layernorm, "x scale", claimed, (N, 4), (4,)))
        assert [(d.input, d.kind) for d in found] == [("x", "dropped")], (lost, found)
        assert "constant" in found[0].sentence


def attention(q, k, v):
    return np.sum(mg.softmax(q @ k.T / np.sqrt(4)) @ v * WEIGHTS[:3])


def attention_gradient(q, k, v, scale=0.5, diagonal=False, swap=False):
    p = softmax(q @ k.T * 0.5)
    dp = WEIGHTS[:3] @ v.T
    ds = p * (1 - p) * dp if diagonal else p * (dp - np.sum(dp * p, axis=1, keepdims=True))
    dq, dk = scale * ds @ k, scale * ds.T @ q
    return {"q": dk if swap else dq, "k": dq if swap else dk, "v": p.T @ WEIGHTS[:3]}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [({}, None), ({"scale": 1}, "factor"), ({"diagonal": True}, "dropped"), ({"swap": True}, "other-input")],
)
def test_attention(fault, kind):
    found = kinds(attention, "q k v", lambda q, k, v: attention_gradient(q, k, v, **fault), (3, 4), (3, 4), (3, 4))
    assert found == ({} if kind is None else {"q": kind, "k": kind})


# ---- other losses --------------------------------------------------------------------------------------------------


def test_an_input_used_twice():
    def f(w, x):
        return np.sum(np.tanh(np.tanh(x @ w) @ w))

    def claimed(w, x):
        h = np.tanh(x @ w)
        return {"w": h.T @ (1 - np.tanh(h @ w) ** 2)}

    [d] = diagnose(case(f, "w x", claimed, (3, 3), (N, 3)))
    assert d.kind == "dropped"
    assert "tanh(x @ w) is treated as a constant there, and it depends on w too" in d.sentence


def test_divergence_the_other_way_round():
    def f(p, q):
        return np.sum(p * np.log(p / q))

    points = [[np.abs(x) for x in point] for point in numbers(3, (4,), (4,))]
    found = kinds(f, "p q", lambda p, q: {"p": -q / p, "q": np.log(q / p) + 1}, points=points)
    assert found == {"p": "other-input", "q": "other-input"}


def test_a_factor_that_is_a_value():
    def f(p, y):
        return -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p))

    points = [[1 / (1 + np.exp(-x)) for x in point] for point in numbers(3, (4,), (4,))]
    [d] = diagnose(case(f, "p y", lambda p, y: {"p": p - y}, points=points))
    assert d.kind == "chain"
    assert "p (1 - p)" in d.sentence


def test_repeated_indices():
    index = np.array([0, 2, 2, 1, 2])
    weights = np.arange(1.0, 11).reshape(5, 2)

    def claimed(table):
        g = np.zeros_like(table)
        g[index] = weights * np.cos(table[index])
        return {"table": g}

    found = diagnose(case(lambda t: np.sum(np.sin(t[index]) * weights), "table", claimed, (4, 2)))
    assert [d.kind for d in found] == ["dropped"]
    assert "np.add.at" in found[0].sentence


def test_a_running_sum():
    weights = np.arange(1.0, 5)

    def claimed(x):
        return {"x": np.cumsum(weights * np.cos(np.cumsum(x)))}

    assert kinds(lambda x: np.sum(np.sin(np.cumsum(x)) * weights), "x", claimed, (4,)) == {"x": "axis"}


def test_wrong_at_a_kink():
    points = numbers(1, (6,))
    for x, *_ in points:
        x[2] = 0
    weights = np.arange(6)
    claimed = lambda x: {"x": weights * (x >= 0) * 1.0}  # noqa: E731
    found = diagnose(case(lambda x: np.sum(mg.relu(x) * weights), "x", claimed, points=points))
    assert [d.kind for d in found] == ["kink"]
    assert "x[2] = 0: there the slope is 0 on the left and 2 on the right, and 2 is claimed" in found[0].sentence


def test_a_power_by_hand():
    def f(x, w):
        return np.sum(w * (x + w) ** 3)

    def claimed(n, m):
        return lambda x, w: {"x": w * n * (x + w) ** m}

    assert kinds(f, "x w", claimed(3, 3), (4,), (4,)) == {"x": "chain"}
    assert kinds(f, "x w", claimed(1, 2), (4,), (4,)) == {"x": "factor"}


def test_functions_of_another_library():
    """No graph is to be had: what needs none is still found."""
    given = case(*only_w(lambda g, *_: 2 * g))

    def foreign(*inputs):
        raise TypeError("tensors are not taken here")

    assert [d.kind for d in diagnose(given._replace(f=foreign))] == ["factor"]


def test_a_clipped_gradient():
    f = lambda w: np.sum(w**4)  # noqa: E731
    [entries] = diagnose(case(f, "w", lambda w: {"w": np.clip(4 * w**3, -1, 1)}, (5,)))
    [norm] = diagnose(case(f, "w", lambda w: {"w": 4 * w**3 / max(1, np.linalg.norm(4 * w**3) / 3)}, (5,)))
    assert "[-1, 1]" in entries.sentence
    assert "the norm 3" in norm.sentence


def test_whole_numbers():
    [d] = diagnose(case(lambda w: np.sum(w**4), "w", lambda w: {"w": (4 * w**3).astype(int).astype(float)}, (5,)))
    assert d.kind == "precision"
    assert "whole numbers" in d.sentence


def test_a_weight_updated_too_early():
    def gradients(W1, W2, x, y):
        h = np.tanh(x @ W1)
        d2 = 2 * (h @ W2 - y) / y.size
        dW2 = h.T @ d2
        return {"W1": x.T @ (d2 @ (W2 - 0.1 * dW2).T * (1 - h * h)), "W2": dW2}

    def f(W1, W2, x, y):
        return np.mean((np.tanh(x @ W1) @ W2 - y) ** 2)

    [d] = diagnose(case(f, "W1 W2 x y", gradients, (2, 3), (3, 2), (N, 2), (N, 2)))
    assert (d.kind, d.input) == ("saved", "W1")
    assert "W2 after its update" in d.sentence


def test_a_kernel_turned_round():
    weights = np.array([1.0, -2.0, 0.5])

    def f(x, w):
        return np.sum(np.stack([np.sum(x[i : i + 3] * w) for i in range(3)]) * weights)

    def claimed(x, w):
        dx = np.zeros(5)
        for i in range(3):
            dx[i : i + 3] += weights[i] * w[::-1]
        return {"x": dx}

    assert kinds(f, "x w", claimed, (5,), (3,)) == {"x": "permuted"}


def test_a_mask_of_another_condition():
    label = np.array([1.0, -1, 1, 1, -1, -1])
    f = lambda score: np.sum(np.maximum(0, 1 - label * score))  # noqa: E731
    [d] = diagnose(case(f, "score", lambda score: {"score": np.where(label * score < 0, -label, 0)}, (6,)))
    assert d.kind == "branch"


def test_a_step_left_out():
    f = lambda x: np.sum(np.var(x, axis=1) * WEIGHTS[:, 0])  # noqa: E731
    [d] = diagnose(case(f, "x", lambda x: {"x": WEIGHTS[:, :1] * x / 2}, (N, 4)))
    assert "x in place of x - mean(x)" in d.sentence


def test_sentences_that_are_the_same_are_said_once():
    found = diagnose(case(*two_layers("tanh", "entropy", d2=lambda z: softmax(z) - np.eye(3)[LABELS])))
    assert len(found) == 4
    [text] = in_short(found)
    assert text.startswith("dW1 is 5 times the right gradient everywhere")
    assert text.endswith("(the same with db1, dW2, db2)")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("act", ["tanh", "relu"])
def test_nothing_is_diagnosed_in_the_noise_of_a_net(act, seed):
    rng = np.random.default_rng(seed)
    given = case(*two_layers(act, "entropy"), seed=seed)
    noisy = [[None if g is None else g * rng.normal(size=g.shape) for g in gs] for gs in given.right]
    assert not diagnose(given._replace(claimed=noisy))


# ---- gradients with a memory ---------------------------------------------------------------------------------------


def gradient_of_w(w, b, x, y):
    return 2 * x.T @ (x @ w + b - y) / N


def with_memory(change):
    """A gradient by w that is made of the right one and of what was kept from the calls before."""
    kept = {}
    names, *shapes = REGRESSION

    def claimed(*inputs):
        kept["g"] = change(kept.get("g"), gradient_of_w(*inputs), kept)
        return {"w": kept["g"].copy()}

    return diagnose(case(regression, names, claimed, *shapes))


def one_late(before, g, kept):
    late, kept["late"] = kept.get("late", g), g
    return late


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (one_late, "call before"),
        (lambda before, g, kept: g if before is None else before, "first call"),
        (lambda before, g, kept: g if before is None else before + g, "added"),
        (lambda before, g, kept: g if before is None else 0.9 * before + 0.1 * g, "running mean: 0.9 times"),
    ],
)
def test_memory(change, words):
    [d] = with_memory(change)
    assert d.kind == "stale"
    assert words in d.sentence


def users_op(forward, rule):
    """An op with a rule of its own, which no card knows."""
    op = Op("users_op", forward, rule)
    CARDS.pop("users_op", None)
    return op


def of_users_op(f, forward, rule, right, *shapes):
    """Diagnoses of the gradient of f(op, x) with this rule for the op."""
    op, names = users_op(forward, rule), "x z"[: 2 * len(shapes) - 1]
    points = numbers(2, *shapes)
    wrong = [right_gradients(lambda *xs: f(op, *xs), p, [True] * len(p)) for p in points]
    good = users_op(forward, right)
    right = [right_gradients(lambda *xs: f(good, *xs), p, [True] * len(p)) for p in points]
    return diagnose(Case(lambda *xs: f(op, *xs), names.split(), points, wrong, right))


def in_place(g, y, x):
    g *= 1 - y * y
    return g


BUFFER = np.zeros(4)


def in_a_buffer(g, y, x):
    BUFFER[...] = g * (1 - y * y)
    return BUFFER


class Layer:
    """Keeps its output for the way back."""

    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, g, y, x):
        y = self.y.data if isinstance(self.y, Tensor) else self.y
        return g * (1 - y * y)


LAYERED = Layer()


@pytest.mark.parametrize(
    ("forward", "rule", "kind", "words"),
    [
        (np.tanh, in_place, "aliasing", "changes the gradient"),
        (np.tanh, in_a_buffer, "aliasing", "the same array"),
        (LAYERED.forward, LAYERED.backward, "stale", "last call"),
        (np.tanh, lambda g, y, x: g, "chain", "the factor of"),
        (lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)), lambda g, y, x: g * (1 - y), "chain", "tanh"),
    ],
)
def test_the_rule_of_a_users_op(forward, rule, kind, words):
    def f(op, x, z):
        return np.sum(op(x) * WEIGHTS[0] + 3 * op(z) * WEIGHTS[1] + x)

    found = of_users_op(f, forward, rule, lambda g, y, x: g * (1 - y * y), (4,), (4,))
    assert {d.kind for d in found} == {kind}, found
    assert words in found[0].sentence


# ---- many faults at once -------------------------------------------------------------------------------------------


def test_the_search_is_bounded():
    """A graph of a thousand results is searched a little, and the simple hypotheses are tried all the same."""

    def f(w):
        y = w
        for _ in range(300):
            y = np.tanh(y * 1.01 + w)
        return np.sum(y)

    rng = np.random.default_rng(0)
    assert not kinds(f, "w", lambda w: {"w": rng.normal(size=3)}, (3,))
