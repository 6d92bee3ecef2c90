import copy
import gc
import pickle
import re
import sys
import weakref
from collections import OrderedDict

import numpy as np
import pytest

import minigrad as mg
from minigrad.nn import Linear, Module, ModuleList, Parameter, ReLU, Sequential, Tanh


class Net(Module):
    def __init__(self):
        super().__init__()
        self.scale = Parameter(2.0)
        self.body = Sequential(Linear(3, 4), Tanh(), Linear(4, 2))
        self.register_buffer("offset", np.arange(2.0))

    def forward(self, x):
        return self.scale * self.body(x) + self.offset


@pytest.fixture
def net():
    mg.random.seed(0)
    return Net()


def paths(pairs):
    return [path for path, _ in pairs]


# What belongs to a module


def test_attributes_are_registered_by_what_they_are(net):
    net.constant = mg.tensor([1.0])
    net.number = 3
    assert paths(net.named_parameters()) == ["scale", "body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias"]
    assert paths(net.named_modules()) == ["", "body", "body.0", "body.1", "body.2"]
    assert paths(net.named_children()) == ["body"]
    assert [type(m).__name__ for m in net.modules()] == ["Net", "Sequential", "Linear", "Tanh", "Linear"]
    assert list(net.children()) == [net.body]


def test_parameters_need_no_call_of_super():
    class Bare(Module):
        def __init__(self):
            self.w = Parameter([1.0])

    assert paths(Bare().named_parameters()) == ["w"]


def test_order_of_paths_is_torchs():
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")

    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh())
            self.register_buffer("mean", torch.zeros(2))
            self.w = torch.nn.Parameter(torch.zeros(2))
            self.head = torch.nn.Linear(4, 2)

    class Ours(Module):
        def __init__(self):
            self.body = Sequential(Linear(3, 4), Tanh())
            self.register_buffer("mean", np.zeros(2))
            self.w = Parameter(np.zeros(2))
            self.head = Linear(4, 2)

    assert list(Ours().state_dict()) == list(Theirs().state_dict())
    assert paths(Ours().named_parameters()) == paths(Theirs().named_parameters())
    assert paths(Ours().named_modules()) == paths(Theirs().named_modules())


def test_shared_parameters_and_modules_come_once_but_are_saved_under_each_path():
    model = Sequential(Linear(2, 2, bias=False), Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    assert paths(model.named_parameters()) == ["0.weight"]
    assert list(model.state_dict()) == ["0.weight", "1.weight"]
    layer = Tanh()
    assert paths(Sequential(layer, layer).named_modules()) == ["", "0"]


def test_replacing_and_deleting_attributes(net):
    net.body = Linear(3, 2)
    assert paths(net.named_parameters()) == ["scale", "body.weight", "body.bias"]
    net.body.bias = None
    del net.scale
    assert paths(net.named_parameters()) == ["body.weight"]
    with pytest.raises(AttributeError, match="scale"):
        net.scale  # noqa: B018


@pytest.mark.parametrize("recorded", [True, False])
def test_a_parameter_is_not_replaced_by_the_result_of_an_update(net, recorded):
    mg.mean(net(np.ones((1, 3)))).backward()
    before = net.scale
    updated = net.scale - 0.1 * net.scale.grad
    new = updated if recorded else updated.detach()
    with pytest.raises(TypeError, match=r"parameter 'scale' would be replaced.*self.scale.data -= lr"):
        net.scale = new
    with pytest.raises(TypeError, match="parameter 'scale'"):
        net.scale = 1.5
    assert net.scale is before
    net.scale = Parameter(3.0)
    assert net.scale.item() == 3


def test_buffers_stay_buffers_and_keep_no_graph(net):
    net.offset = [5.0, 6.0]
    assert net.state_dict()["offset"].tolist() == [5, 6]
    with pytest.raises(TypeError, match=r"buffer 'offset'.*detach"):
        net.offset = net.offset * net.scale
    net.offset = None
    assert "offset" not in net.state_dict()


def test_a_list_that_hides_modules_is_told_of(monkeypatch):
    monkeypatch.setattr(sys.modules["minigrad.tensor"], "_warned", set())
    module = Module()
    module.layers = []
    module.layers.append(Linear(1, 1))
    with pytest.warns(mg.MinigradWarning, match=r"Module\.layers is a plain list.*ModuleList"):
        assert paths(module.named_parameters()) == []
    module.layers = ModuleList([Linear(1, 1)])
    assert paths(module.named_parameters()) == ["layers.0.weight", "layers.0.bias"]


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Net2 has no forward"):
        type("Net2", (Module,), {})()(1.0)


def test_a_dropped_model_is_freed_without_the_garbage_collector():
    model = Net()
    layer = weakref.ref(model.body[0])
    mg.mean(model(np.ones((1, 3)))).backward()
    gc.disable()
    try:
        del model
        assert layer() is None
    finally:
        gc.enable()


# State


def test_state_dict_is_a_copy_and_loads_back(net):
    state = net.state_dict()
    other = Net()
    assert not np.array_equal(other.body[0].weight.numpy(), state["body.0.weight"])
    assert other.load_state_dict(state) == ([], [])
    x = np.ones((2, 3))
    assert other(x).tolist() == net(x).tolist()
    state["body.0.weight"][:] = 0
    assert other(x).tolist() == net(x).tolist()


def test_weights_of_a_torch_model_load_as_they_are():
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2)).double()
    ours = Sequential(Linear(3, 5), ReLU(), Linear(5, 2))
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(7, 3))
    np.testing.assert_allclose(ours(x).numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda s: s | {"body.0.wieght": s.pop("body.0.weight")}, ValueError, "0.wieght' .but 'body.0.weight'"),
        (lambda s: {k: v for k, v in s.items() if k != "scale"}, ValueError, "lacks 'scale'"),
        (lambda s: s | {"body.2.weight": np.zeros((4, 2))}, ValueError, r"2.weight' has shape \(4, 2\).*\(2, 4\)"),
        (lambda s: s | {"body.2.bias": np.zeros(2, "f4")}, TypeError, "'body.2.bias' is float32.*model.astype"),
        (lambda s: s | {"body.2.bias": np.zeros((2, 1))}, ValueError, "shape"),
        (lambda s: list(s.items()), TypeError, "mapping"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(net, change, error, sentence):
    before = net.state_dict()
    state = {path: array + 1 for path, array in before.items()}
    with pytest.raises(error, match=sentence):
        net.load_state_dict(change(state))
    after = net.state_dict()
    assert all(np.array_equal(before[path], after[path]) for path in before)


def test_loading_what_both_have(net):
    keys = net.load_state_dict({"scale": np.array(5.0), "other": np.zeros(1)}, strict=False)
    assert keys.unexpected == ["other"]
    assert "scale" not in keys.missing
    assert len(keys.missing) == 5
    assert net.scale.item() == 5


def test_loading_moves_values_into_the_tensors_that_an_optimizer_holds():
    model = Linear(2, 1)
    sgd = mg.optim.SGD(model.parameters(), lr=0.5)
    model.load_state_dict({"weight": np.array([[1.0, 2.0]]), "bias": np.array([3.0])})
    model(np.ones(2)).backward()
    sgd.step()
    assert model.weight.tolist() == [[0.5, 1.5]]
    assert model.bias.tolist() == [2.5]


def test_modes_and_gradients(net):
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())
    mg.mean(net(np.ones((1, 3)))).backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_frozen_parameters_stay_parameters(net):
    net.body.requires_grad_(False)
    mg.mean(net(np.ones((1, 3)))).backward()
    assert net.body[0].weight.grad is None
    assert net.scale.grad is not None
    assert len(list(net.parameters())) == 5
    net.requires_grad_()
    assert all(p.requires_grad for p in net.parameters())


def test_astype(net):
    net.register_buffer("count", np.arange(2))
    assert net.astype(np.float32) is net
    assert {path: str(array.dtype) for path, array in net.state_dict().items()} == dict.fromkeys(
        net.state_dict(), "float32"
    ) | {"count": "int64"}
    assert net(np.ones((2, 3), "f4")).dtype == np.float32
    with pytest.raises(TypeError, match="floating dtype"):
        net.astype(int)


def test_copies_and_pickles_are_independent(net):
    x = np.ones((2, 3))
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other(x).tolist() == net(x).tolist()
        assert paths(other.named_parameters()) == paths(net.named_parameters())
        other.scale.data = np.array(9.0)
        assert net.scale.item() == 2


# Messages


def test_an_input_that_does_not_fit_names_the_layers_path(net):
    with pytest.raises(ValueError, match=re.escape('Linear "body.0": input (5, 7) has 7 features in its last axis')):
        net(np.ones((5, 7)))
    with pytest.raises(ValueError, match=re.escape("Linear: input () has no features")):
        net.body[0](1.0)


def test_repr_is_torchs():
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")

    def build(nn):
        inner = nn.Sequential(nn.Linear(4, 4, bias=False), nn.LeakyReLU(), nn.GELU(), nn.ELU(), nn.Identity())
        return nn.Sequential(OrderedDict(first=nn.Linear(3, 4), act=nn.SiLU(), inner=inner))

    assert repr(build(mg.nn)) == repr(build(torch.nn))
