"""model.summary: its numbers beside ones counted by hand, torch's counts of parameters, and that nothing changes."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")


def rows(summary):
    return {row.path: row for row in summary.rows}


def test_a_network_counted_by_hand():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3, bias=False)).astype(np.float32)
    s = model.summary((5, 2, 3))
    found = {path: (r.kind, r.output, r.parameters, r.operations, r.activation_bytes) for path, r in rows(s).items()}
    assert found == {
        "0": ("Flatten", (5, 6), 0, 0, 0),  # a view
        "1": ("Linear", (5, 4), 6 * 4 + 4, 5 * 4 * 6, 4 * 5 * 4),
        "2": ("Tanh", (5, 4), 0, 5 * 4, 4 * 5 * 4),
        "3": ("Linear", (5, 3), 4 * 3, 5 * 3 * 4, 4 * 5 * 3),
    }
    assert (s.parameters, s.trainable, s.operations) == (40, 40, 120 + 20 + 60)
    assert s.parameter_bytes == 160
    assert s.activation_bytes == 80 + 80 + 60


def test_the_table():
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
    model[0].bias.requires_grad_(False)
    assert repr(model.summary((1024, 8))).splitlines() == [
        "layer  class   output     parameters  trainable  operations  activations",
        "0      Linear  (1024, 4)          36         32       32768      32.0 KB",
        "1      ReLU    (1024, 4)           0          0        4096      32.0 KB",
        "total                             36         32       36864      64.0 KB",
        "36 parameters (32 trainable), 288 B; 36864 multiply-adds forward",
    ]


class Tokens(nn.Module):
    """A transformer over tokens, with ops of its own, a shared layer and one that is never called."""

    def __init__(self):
        self.table = nn.Parameter(np.zeros((10, 8)))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.spare = nn.Linear(3, 3)
        self.head = nn.Linear(8, 10)
        self.head.weight = self.table

    def forward(self, tokens):
        h = self.table[tokens]
        h = self.block(self.block(h, is_causal=True), is_causal=True)
        return self.head(h), h


def test_a_transformer_counted_by_hand():
    model = Tokens()
    s = model.summary((3, 5), dtype=int)
    n, d = 3 * 5, 8
    found = rows(s)
    assert found["head"].output == (3, 5, 10)
    assert found[""].output == [(3, 5, 10), (3, 5, 8)]
    assert found[""].parameters == 80
    assert found["head"].parameters == 10, "the weight is counted where it occurs first"
    assert found["head"].operations == n * 8 * 10
    attention = found["block.self_attn"]
    # twice (calls): three projections, and for each of 2 heads and 3 samples 5 x 5 scores of 4 features, as many for
    # the values, and a softmax
    assert attention.operations == 2 * (3 * n * d * d + 3 * 2 * 25 * (4 + 4 + 1))
    assert attention.calls == 2
    assert found["block.self_attn.out_proj"].operations == 2 * n * d * d
    assert found["block.linear1"].operations == 2 * n * d * 16
    assert found["block.norm1"].operations == 2 * n * d
    assert found["block"].operations == 2 * (2 * n * d + n * 16), "two residuals, and relu"
    assert found["spare"].output is None
    assert found["spare"].parameters == 12
    assert "not called" in repr(s)
    assert "x 2" in repr(s)
    assert s.parameters == mg.count_parameters(model) == sum(p.size for p in model.parameters())


def test_parameters_are_torchs():
    make = {"d_model": 8, "nhead": 2, "dim_feedforward": 16}
    ours, theirs = nn.TransformerDecoderLayer(**make), torch.nn.TransformerDecoderLayer(**make)
    s = ours.summary(((3, 2, 8), np.zeros((4, 2, 8))))
    assert s.parameters == sum(p.numel() for p in theirs.parameters())
    by_layer = {path: sum(p.numel() for p in m.parameters(recurse=False)) for path, m in theirs.named_modules()}
    found = {path: r.parameters for path, r in rows(s).items()}
    assert {path: n for path, n in found.items() if n} == {path: n for path, n in by_layer.items() if n}


class Noisy(nn.Module):
    """Draws random numbers and writes to its buffer whenever it is called."""

    def __init__(self):
        self.register_buffer("calls", np.zeros(()))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        self.calls.data = self.calls.data + 1
        return self.dropout(x) + mg.random.normal(size=np.shape(x))


def test_nothing_changes():
    model = nn.Sequential(Noisy(), nn.Dropout(0.5).eval(), nn.Linear(2, 2))
    modes, state = [m.training for m in model.modules()], model.state_dict()
    mg.random.seed(3)
    expected = mg.random.normal(size=4).tolist()
    mg.random.seed(3)
    model.summary((5, 2))
    assert mg.random.normal(size=4).tolist() == expected
    assert [m.training for m in model.modules()] == modes
    assert all(np.array_equal(array, state[path]) for path, array in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_failure_leaves_nothing_behind():
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout())
    with pytest.raises(ValueError, match=r'Linear "0": input \(5, 4\) has 4 features'):
        model.summary((5, 4))
    assert model.training
    assert model(np.ones((5, 3))).requires_grad, "graphs are recorded again"


@pytest.mark.parametrize("example", [np.zeros((2, 3), np.float32), mg.zeros((2, 3)), (2, 3), [2, 3], [(2, 3)]])
def test_inputs(example):
    s = nn.Linear(3, 1).astype(np.float32).summary(example)
    assert s.rows[0].output == (2, 1)
    assert s.rows[0].path == ""
    assert "(model)" in repr(s)


@pytest.mark.parametrize("shape", ["ab", None, 5, (2.0, 3), ((-1, 3),), ()])
def test_refused(shape):
    with pytest.raises((TypeError, ValueError), match=r"summary: .* shape|Linear: input \(\)"):
        nn.Linear(3, 1).summary(shape)


def test_count_parameters():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    assert mg.count_parameters(model) == 13
    assert mg.count_parameters(model, trainable=True) == 4
    assert mg.count_parameters(model, trainable=False) == 9
