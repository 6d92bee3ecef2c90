"""Recurrent layers: what the comparison with torch's in test_twins.py does not show."""

import gc
import sys

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn, ops
from minigrad.autodiff import below
from minigrad.ops import recurrent

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")

KINDS = ["RNN", "LSTM", "GRU"]
PARTS = {"RNN": 1, "LSTM": 4, "GRU": 3}


def twins(kind, *args, **kwargs):
    theirs = getattr(torch.nn, kind)(*args, **kwargs).double()
    ours = getattr(nn, kind)(*args, **kwargs)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def flat(states):
    return list(states) if isinstance(states, tuple) else [states]


def close(ours, theirs, rtol=1e-12):
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else np.asarray(theirs)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=rtol, atol=rtol * np.max(np.abs(theirs), initial=1))


# ---- states --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(layers=st.integers(1, 2), both=st.booleans(), batch=st.sampled_from([None, 1, 3]), first=st.booleans(),
       seed=st.integers(0, 99))  # fmt: skip
def test_given_states_and_their_gradients_are_torchs(kind, layers, both, batch, first, seed):
    ours, theirs = twins(kind, 2, 3, num_layers=layers, bidirectional=both, batch_first=first)
    rng = np.random.default_rng(seed)
    lengths = (4,) if batch is None else (batch, 4) if first else (4, batch)
    x = rng.normal(size=(*lengths, 2))
    shape = (layers * (1 + both), *(() if batch is None else (batch,)), 3)
    starts = [rng.normal(size=shape) for _ in range(1 + (kind == "LSTM"))]
    a = [mg.tensor(s, requires_grad=True) for s in starts]
    b = [torch.tensor(s, requires_grad=True) for s in starts]
    y, states = ours(x, tuple(a) if kind == "LSTM" else a[0])
    z, their_states = theirs(torch.tensor(x), tuple(b) if kind == "LSTM" else b[0])
    mine, other = [y, *flat(states)], [z, *flat(their_states)]
    for p, q in zip(mine, other, strict=True):
        close(p, q)
    gs = [rng.normal(size=p.shape) for p in mine]
    mg.sum(mg.stack([(p * g).sum() for p, g in zip(mine, gs, strict=True)])).backward()
    sum((q * torch.tensor(g)).sum() for q, g in zip(other, gs, strict=True)).backward()
    for p, q in zip([*a, *ours.parameters()], [*b, *theirs.parameters()], strict=True):
        close(p.grad, q.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_in_two_parts_is_the_whole(kind):
    layer, x = getattr(nn, kind)(2, 3, num_layers=2), np.random.default_rng(0).normal(size=(7, 4, 2))
    whole, last = layer(x)
    first, states = layer(x[:3])
    second, end = layer(x[3:], states)
    close(mg.concatenate([first, second]), whole.detach())
    for a, b in zip(flat(end), flat(last), strict=True):
        close(a, b.detach())


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_step_by_step_is_the_layer(kind):
    layer, cell = getattr(nn, kind)(2, 3), getattr(nn, kind + "Cell")(2, 3)
    cell.load_state_dict({name.removesuffix("_l0"): values for name, values in layer.state_dict().items()})
    x = np.random.default_rng(0).normal(size=(5, 4, 2))
    y, states = layer(x)
    state = None
    for t in range(5):
        state = cell(x[t], state)
        close(state[0] if kind == "LSTM" else state, y[t].detach())
    for a, b in zip(flat(states), flat(state), strict=True):
        close(a[0], b.detach())


def test_the_order_of_an_lstms_gates():
    """Input, forget, new, output: a gate's bias opens or closes it; the state is then known by hand."""
    cell = nn.LSTMCell(1, 1)
    for p in cell.parameters():
        p.data = np.zeros(p.shape)
    wide_open, shut = 50.0, -50.0
    cases = [  # biases, c before, c after, h after
        ((wide_open, shut, 0.5, wide_open), 3.0, np.tanh(0.5), np.tanh(np.tanh(0.5))),
        ((shut, wide_open, 0.5, wide_open), 3.0, 3.0, np.tanh(3.0)),
        ((wide_open, wide_open, 0.5, shut), 3.0, 3.0 + np.tanh(0.5), 0.0),
    ]
    for biases, before, after, h_after in cases:
        cell.bias_ih.data = np.array(biases)
        h, c = cell(np.zeros((1, 1)), (np.zeros((1, 1)), np.full((1, 1), before)))
        assert c.item() == pytest.approx(after, rel=1e-14)
        assert h.item() == pytest.approx(h_after, rel=1e-14, abs=1e-14)


def test_the_order_of_a_grus_gates():
    """Reset, update, new; the reset gate is behind the product, so it also shuts off the new gate's bias_hh."""
    cell = nn.GRUCell(1, 1)
    for p in cell.parameters():
        p.data = np.zeros(p.shape)
    cell.bias_hh.data = np.array([0.0, 0.0, 0.25])
    for biases, expected in [
        ((50.0, -50.0, 0.5), np.tanh(0.75)), ((-50.0, -50.0, 0.5), np.tanh(0.5)), ((50.0, 50.0, 0.5), 3.0),
    ]:  # fmt: skip
        cell.bias_ih.data = np.array(biases)
        assert cell(np.zeros((1, 1)), np.full((1, 1), 3.0)).item() == pytest.approx(expected, rel=1e-14)


def test_dropout_is_between_layers_and_in_training_only():
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    layer = nn.LSTM(3, 4, num_layers=2, dropout=1.0)
    upper = nn.LSTM(4, 4)
    state = layer.state_dict()
    upper.load_state_dict({name: state[name.replace("_l0", "_l1")] for name in upper.state_dict()})
    close(layer(x)[0], upper(np.zeros((5, 2, 4)))[0].detach())  # nothing reaches the upper layer
    lower = nn.LSTM(3, 4)
    lower.load_state_dict({name: state[name] for name in lower.state_dict()})
    close(layer.eval()(x)[0], upper(lower(x)[0])[0].detach())
    mg.random.seed(0)
    half = nn.LSTM(3, 4, num_layers=2, dropout=0.5)
    half.load_state_dict(state)
    mg.random.seed(1)
    y = half(x)[0]
    mg.random.seed(1)
    close(y, upper(nn.functional.dropout(lower(x)[0], 0.5))[0].detach())


# ---- kernels -------------------------------------------------------------------------------------------------------


def parts(kind, rng, shape, width, dtype):
    """Inputs of the op of this kind."""
    time, batch = shape
    n = PARTS[kind]
    gx, w = rng.normal(size=(time, batch, n * width)), rng.normal(size=(n * width, width))
    start = rng.normal(size=(2, batch, width) if kind == "LSTM" else (batch, width))
    arrays = [gx, start, w, *([rng.normal(size=n * width)] if kind == "GRU" else [])]
    return [x.astype(dtype) for x in arrays]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 2e-5)])
@pytest.mark.parametrize(("kind", "params"), [*((k, {}) for k in KINDS), ("RNN", {"nonlinearity": "relu"})])
@settings(max_examples=20)
@given(shape=st.tuples(st.integers(1, 4), st.integers(0, 3)), width=st.sampled_from([1, 3, 17]),
       seed=st.integers(0, 99), turned=st.booleans())  # fmt: skip
def test_kernels_compute_what_the_rules_say(kind, params, dtype, tolerance, shape, width, seed, turned):
    """On tensors the gradient is composed of ops, on arrays it is that of the kernels: to the last digits the same."""
    op, composed = getattr(ops, kind.lower()), getattr(recurrent, "_" + kind.lower())
    rng = np.random.default_rng(seed)
    arrays = parts(kind, rng, shape, width, dtype)
    if turned:
        arrays = [np.asfortranarray(x) for x in arrays]
    y = op.forward(*arrays, **params)
    expected = composed(*arrays, *params.values())
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
    g = rng.normal(size=y.shape).astype(dtype)
    found = []
    for create_graph in (False, True):
        leaves = [mg.tensor(x, requires_grad=True) for x in arrays]
        op(*leaves, **params).backward(mg.tensor(g), create_graph=create_graph)
        found.append([x.grad.numpy() for x in leaves])
    for ours, rule in zip(*found, strict=True):
        assert ours.dtype == dtype
        scale = np.max(np.abs(rule), initial=1)
        np.testing.assert_allclose(ours, rule, rtol=tolerance, atol=tolerance * scale)


def test_what_is_kept_for_backward_goes_with_the_result():
    gc.collect()
    before = len(recurrent.GATES.entries)
    layer = nn.LSTM(2, 3)
    y, _ = layer(np.ones((4, 1, 2)))
    y.sum().backward()
    assert len(recurrent.GATES.entries) == before + 1
    del y, _
    assert len(recurrent.GATES.entries) == before
    with mg.no_grad():
        y, _ = layer(np.ones((4, 1, 2)))
        assert len(recurrent.GATES.entries) == before


def test_backward_twice_with_other_gradients():
    """The backward pass that is shared among an op's inputs is that of this very gradient."""
    layer = nn.GRU(2, 3)
    y, _ = layer(np.ones((4, 1, 2)))
    y.backward(np.ones(y.shape))
    once = layer.weight_hh_l0.grad.numpy()
    layer.zero_grad()
    y.backward(np.full(y.shape, 3.0))
    np.testing.assert_allclose(layer.weight_hh_l0.grad.numpy(), 3 * once, rtol=1e-13)


def test_a_long_sequence_is_a_small_graph():
    y, _ = nn.LSTM(2, 3)(np.ones((1000, 1, 2)))
    assert len(below(y.sum())) < 20


# ---- symbols -------------------------------------------------------------------------------------------------------


def test_an_lstm_cell_of_width_one_is_proved():
    cell = nn.LSTMCell(1, 1).symbolic()
    x, h, c = mg.symbols("x", (1, 1)), mg.symbols("h", (1, 1)), mg.symbols("c", (1, 1))
    h_next, c_next = cell(x, (h, c))
    logistic = lambda z: 1 / (1 + sympy.exp(-z))  # noqa: E731
    w, u, a, b = (p.data.ravel().tolist() for p in cell.parameters())
    i, f, n, o = (w[k] * x.data.item() + u[k] * h.data.item() + a[k] + b[k] for k in range(4))
    c_formula = logistic(f) * c.data.item() + logistic(i) * sympy.tanh(n)
    assert sympy.simplify(c_next.data.item() - c_formula) == 0
    h_next.sum().backward()
    slope = sympy.diff(logistic(o) * sympy.tanh(c_formula), c.data.item())
    assert sympy.simplify(c.grad.data.item() - slope) == 0


def test_verify_proves_the_gradient_of_a_cell():
    cell = nn.LSTMCell(1, 1)
    report = mg.verify.gradient(lambda x, h, c: cell(x, (h, c))[1], np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)))
    assert report.verdict in ("proved", "agrees"), report
    assert report.ok


@pytest.mark.parametrize("kind", KINDS)
def test_layers_read_symbols(kind):
    model = getattr(nn, kind)(1, 1)
    x = mg.symbols("x", (2, 1, 1))
    y, _ = model(x)
    numbers = dict(zip(x.data.ravel().tolist(), (0.5, -1.5), strict=True))
    expected = model(np.array([[[0.5]], [[-1.5]]]))[0]
    assert [float(e.subs(numbers)) for e in y.data.ravel().tolist()] == pytest.approx(expected.numpy().ravel().tolist())


# ---- how they start, what they refuse ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_initial_values_and_names_are_torchs(kind):
    ours, theirs = (getattr(room, kind)(30, 100, 2, bidirectional=True) for room in (nn, torch.nn))
    shapes = {name: tuple(values.shape) for name, values in theirs.state_dict().items()}
    assert {name: values.shape for name, values in ours.state_dict().items()} == shapes
    assert list(ours.state_dict()) == list(shapes)
    for p in ours.parameters():
        assert 0.08 < np.abs(p.numpy()).max() <= 0.1  # 1 / sqrt(100)
        assert abs(p.numpy().mean()) < 5 * 0.1 / np.sqrt(3 * p.size)
    assert repr(nn.LSTM(2, 3, batch_first=True)) == "LSTM(2, 3, batch_first=True)"
    assert repr(nn.RNNCell(2, 3, bias=False, nonlinearity="relu")) == "RNNCell(2, 3, bias=False, nonlinearity='relu')"


class Model(nn.Module):
    def __init__(self):
        self.encoder = nn.Sequential(nn.LSTM(2, 3))

    def forward(self, *inputs):
        return self.encoder[0](*inputs)


REFUSED = [
    (lambda: nn.LSTM(2, 3)(np.zeros((5, 1, 4))),
     r"LSTM: input \(5, 1, 4\) has 4 features in its last axis, this layer expects 2"),
    (lambda: Model()(np.zeros((5, 1, 4))), r'LSTM "encoder.0": input \(5, 1, 4\) has 4 features'),
    (lambda: nn.GRU(2, 3)(np.zeros(2)), r"GRU: input \(2,\) has 1 axes; \(time, batch, features\) is needed"),
    (lambda: nn.RNN(2, 3, batch_first=True)(np.zeros((1, 2, 3, 2))), r"\(batch, time, features\) is needed"),
    (lambda: nn.RNN(2, 3)(np.zeros((0, 1, 2))), r"input \(0, 1, 2\) has no steps in time"),
    (lambda: nn.GRU(2, 3)(np.zeros((5, 4, 2)), np.zeros((1, 3, 3))),
     r"the state has shape \(1, 3, 3\), and this input needs \(1, 4, 3\)"),
    (lambda: nn.GRU(2, 3)(np.zeros((5, 4, 2)), (np.zeros((1, 4, 3)),) * 2),
     r"the state is one array of shape \(1, 4, 3\), not a tuple"),
    (lambda: nn.LSTM(2, 3)(np.zeros((5, 4, 2)), np.zeros((1, 4, 3))), r"hx is a pair of states \(h, c\), not ndarray"),
    (lambda: nn.LSTM(2, 3)(np.zeros((5, 4, 2)), (np.zeros((1, 4, 3)), np.zeros((1, 4)))),
     r"the state c has shape \(1, 4\), and this input needs \(1, 4, 3\)"),
    (lambda: nn.LSTMCell(2, 3)(np.zeros((5, 4, 2))), r"LSTMCell: input \(5, 4, 2\) has 3 axes"),
    (lambda: nn.RNNCell(2, 3)(np.zeros((4, 3))), r"has 3 features in its last axis, this layer expects 2"),
    (lambda: nn.LSTM(2, 3, proj_size=2), r"proj_size=2 is not supported"),
    (lambda: nn.LSTM(2, 3, 2, dropout=1.5), r"LSTM: p=1.5 is the probability of a zero"),
    (lambda: nn.RNN(2, 3, nonlinearity="sin"), r"unknown nonlinearity 'sin'"),
    (lambda: nn.GRU(2, 0), r"hidden_size must be a positive integer, not 0"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_dropout_of_one_layer_warns(monkeypatch):
    monkeypatch.setattr(sys.modules["minigrad.tensor"], "_warned", set())
    with pytest.warns(mg.MinigradWarning, match=r"LSTM: dropout=0.5 is between layers, and there is only one"):
        nn.LSTM(2, 3, dropout=0.5)
