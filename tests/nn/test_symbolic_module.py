"""model.symbolic(): a copy with symbols as parameters, whose formulas are those of the model."""

import copy
import pickle

import numpy as np
import pytest
import sympy

import minigrad as mg
from minigrad import nn


class Net(nn.Module):
    def __init__(self):
        self.layers = nn.ModuleList([nn.Linear(2, 3), nn.Linear(3, 2)])
        self.scale = nn.Parameter(np.ones(2))
        self.register_buffer("shift", np.array([0.5, 0.25]))

    def forward(self, x):
        h = mg.tanh(self.layers[0](x))
        return self.layers[1](h) * self.scale + self.shift


def values_of(model, copy):
    pairs = zip(model.parameters(), copy.parameters(), strict=True)
    return {s: v for p, q in pairs for s, v in zip(q.data.ravel().tolist(), p.data.ravel().tolist(), strict=True)}


def test_formulas_are_those_of_the_model():
    model, x = Net(), np.array([[0.5, -1.0], [2.0, 0.25]])
    symbolic = model.symbolic()
    assert str(symbolic(x)[0, 1].item()).count("tanh") == 3
    values = values_of(model, symbolic)
    numbers = [float(e.subs(values)) for e in symbolic(x).data.ravel().tolist()]
    assert np.allclose(numbers, model(x).data.ravel())
    loss, exact = mg.mean(model(x) ** 2), mg.mean(symbolic(x) ** 2)
    loss.backward()
    exact.backward()
    for p, q in zip(model.parameters(), symbolic.parameters(), strict=True):
        assert np.allclose([float(e.subs(values)) for e in q.grad.data.ravel().tolist()], p.grad.data.ravel())


def test_names_are_paths_as_python_writes_them():
    names = {path: p.name for path, p in Net().symbolic().named_parameters()}
    assert names == {
        "scale": "scale", "layers.0.weight": "layers0_weight", "layers.0.bias": "layers0_bias",
        "layers.1.weight": "layers1_weight", "layers.1.bias": "layers1_bias",
    }  # fmt: skip
    symbolic = Net().symbolic()
    assert symbolic.layers[0].weight.data[2, 1] == sympy.Symbol("layers0_weight_2_1", real=True)
    nested = nn.Sequential(nn.Sequential(nn.Linear(1, 1)), nn.Linear(1, 1)).symbolic()
    assert [p.name for p in nested.parameters()] == ["weight0x0", "bias0x0", "weight1", "bias1"]


def test_the_original_is_left_alone():
    model = Net()
    before = model.state_dict()
    symbolic = model.symbolic()
    assert type(symbolic) is Net
    symbolic(np.ones((1, 2))).sum().backward()
    assert all(p.grad is None and p.dtype == np.float64 for p in model.parameters())
    assert all(np.array_equal(before[path], array) for path, array in model.state_dict().items())


def test_shared_frozen_and_evaluated_stay_so():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).eval()
    model[1].weight = model[0].weight
    model[0].bias.requires_grad_(False)
    symbolic = model.symbolic()
    assert symbolic[1].weight is symbolic[0].weight
    assert not symbolic[0].bias.requires_grad
    assert not symbolic.training


def test_what_modules_can_do_symbolic_ones_can_too():
    symbolic = Net().symbolic()
    state = symbolic.state_dict()
    assert state["layers.0.bias"].tolist() == symbolic.layers[0].bias.data.tolist()
    assert state["shift"].tolist() == [0.5, 0.25]
    assert symbolic.load_state_dict(state) == ([], [])
    assert symbolic.astype(np.float32).layers[0].weight.dtype == object
    symbolic.zero_grad()
    for again in (copy.deepcopy(symbolic), pickle.loads(pickle.dumps(symbolic)), symbolic.symbolic()):
        assert again.scale.data.tolist() == symbolic.scale.data.tolist()
    assert repr(symbolic) == repr(Net())
    with pytest.raises(TypeError, match="float64"):
        symbolic.load_state_dict(Net().state_dict())


def test_a_formula_of_a_model_has_its_parameters():
    f = mg.symbolic.formula(Net(), (1, 2))
    assert set(f.gradient) == {"x", *(p.name for p in Net().symbolic().parameters())}
    assert f.steps["h"].text == "tanh(z1)"
    assert f.steps["dL/dh"].text.endswith("@ layers1_weight")
    two = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    assert repr(mg.symbolic.formula(two, (2, 2)).steps).splitlines()[:2] == [
        "x2 = x @ weight0.T + bias0", "y = tanh(x2)",
    ]  # fmt: skip


def test_large_models_are_refused():
    with pytest.raises(ValueError, match="are too many for formulas"):
        nn.Linear(200, 200).symbolic()
