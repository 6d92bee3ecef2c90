from collections import OrderedDict

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")

LAYERS = [  # ours, theirs, the shape of the input
    (nn.ReLU(), torch.nn.ReLU(), (5, 4)),
    (nn.LeakyReLU(), torch.nn.LeakyReLU(), (5, 4)),
    (nn.LeakyReLU(0.2), torch.nn.LeakyReLU(0.2), (5, 4)),
    (nn.ELU(), torch.nn.ELU(), (5, 4)),
    (nn.ELU(0.5), torch.nn.ELU(0.5), (5, 4)),
    (nn.GELU(), torch.nn.GELU(), (5, 4)),
    (nn.GELU("tanh"), torch.nn.GELU("tanh"), (5, 4)),
    (nn.SiLU(), torch.nn.SiLU(), (5, 4)),
    (nn.Sigmoid(), torch.nn.Sigmoid(), (5, 4)),
    (nn.Tanh(), torch.nn.Tanh(), (5, 4)),
    (nn.Softplus(), torch.nn.Softplus(), (5, 4)),
    (nn.Softplus(2.0, 1.0), torch.nn.Softplus(2.0, 1.0), (5, 4)),
    (nn.Softmax(), torch.nn.Softmax(-1), (5, 4)),
    (nn.Softmax(axis=0), torch.nn.Softmax(0), (5, 4)),
    (nn.LogSoftmax(axis=1), torch.nn.LogSoftmax(1), (5, 4, 3)),
    (nn.Identity(), torch.nn.Identity(), (5, 4)),
    (nn.Flatten(), torch.nn.Flatten(), (5, 4, 3)),
    (nn.Flatten(0, 1), torch.nn.Flatten(0, 1), (5, 4, 3)),
    (nn.Flatten(-2), torch.nn.Flatten(-2), (5, 4, 3)),
    (nn.Flatten(), torch.nn.Flatten(), (5, 4)),
]

LOSSES = [  # ours, theirs, a target for predictions of shape (6, 4)
    (nn.MSELoss, torch.nn.MSELoss, np.linspace(-1, 1, 24).reshape(6, 4)),
    (nn.HuberLoss, torch.nn.HuberLoss, np.linspace(-1, 1, 24).reshape(6, 4)),
    (nn.CrossEntropyLoss, torch.nn.CrossEntropyLoss, np.array([0, 3, 1, 2, 2, 0])),
    (nn.CrossEntropyLoss, torch.nn.CrossEntropyLoss, np.full((6, 4), 0.25)),
    (nn.BCEWithLogitsLoss, torch.nn.BCEWithLogitsLoss, np.arange(24).reshape(6, 4) % 2.0),
]


def agree(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours), theirs.detach().numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("ours", "theirs", "shape"), LAYERS, ids=lambda value: repr(value))
def test_layers_and_their_gradients_are_torchs(ours, theirs, shape):
    rng = np.random.default_rng(0)
    x, g = rng.normal(scale=2, size=shape), rng.normal(size=np.prod(shape))
    a, b = mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a), theirs(b)
    agree(y.detach(), z)
    y.backward(g.reshape(y.shape))
    z.backward(torch.tensor(g.reshape(z.shape)))
    agree(a.grad, b.grad)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("ours", "theirs", "target"), LOSSES)
def test_losses_and_their_gradients_are_torchs(ours, theirs, target, reduction):
    x = np.random.default_rng(0).normal(scale=2, size=(6, 4))
    a, b = mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(reduction=reduction)(a, target), theirs(reduction=reduction)(b, torch.tensor(target))
    agree(y.detach(), z)
    mg.sum(y).backward()
    z.sum().backward()
    agree(a.grad, b.grad)


def test_hinge_and_the_corner_of_huber():
    scores, target = mg.tensor([2.0, 0.5, -1.0]), np.array([1.0, 1.0, 1.0])
    assert nn.HingeLoss(reduction="none")(scores, target).tolist() == [0, 0.5, 2]
    assert nn.HingeLoss()(scores, target).item() == pytest.approx(2.5 / 3)
    # d^2 / 2 up to delta, delta (|d| - delta / 2) beyond
    assert nn.HuberLoss(delta=2.0, reduction="none")(mg.tensor([1.0, 4.0]), np.zeros(2)).tolist() == [0.5, 6.0]


@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_torchs(bias):
    ours, theirs = nn.Linear(4, 3, bias=bias), torch.nn.Linear(4, 3, bias=bias).double()
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(5, 2, 4))
    a, b = mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a), theirs(b)
    agree(y.detach(), z)
    mg.sum(y * y).backward()
    (z * z).sum().backward()
    agree(a.grad, b.grad)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        agree(p.grad, q.grad)


def test_linear_starts_as_torchs_does():
    bound = 1 / np.sqrt(400)  # torch.nn.Linear.reset_parameters: kaiming_uniform_(a=sqrt(5)), and U(-1/sqrt(in), ..)
    layer = nn.Linear(400, 200)
    for parameter in layer.parameters():
        values = parameter.numpy()
        assert np.abs(values).max() <= bound
        n = values.size  # the standard error of the mean is the deviation / sqrt(n), and U's deviation bound / sqrt(3)
        assert abs(values.mean()) < 5 * bound / np.sqrt(3 * n)
        assert np.abs(values).max() > bound * (1 - 20 / n)


def test_linear_takes_its_randomness_and_dtype_from_the_library():
    mg.random.seed(3)
    a = nn.Linear(2, 2)
    mg.random.seed(3)
    b = nn.Linear(2, 2)
    assert a.weight.tolist() == b.weight.tolist()
    mg.set_default_dtype(np.float32)
    try:
        assert nn.Linear(2, 2).weight.dtype == np.float32
    finally:
        mg.set_default_dtype(np.float64)


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: nn.Linear(2.0, 3), TypeError, "in_features must be a positive integer, not 2.0"),
        (lambda: nn.Linear(2, 0), ValueError, "out_features must be a positive integer, not 0"),
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU), TypeError, r"an instance is needed: ReLU\(...\)"),
        (lambda: nn.Sequential(nn.Linear(2, 2), np.tanh), TypeError, "is no Module"),
        (lambda: nn.Sequential(OrderedDict({"a.b": nn.ReLU()})), ValueError, "'a.b' cannot name a module"),
        (lambda: nn.Sequential(OrderedDict(forward=nn.ReLU())), ValueError, "'forward' cannot name a module"),
        (lambda: nn.Flatten(2, 1)(np.zeros((2, 3, 4))), ValueError, r"\(2, 3, 4\) has no axes 2 to 1"),
        (lambda: nn.Sequential(nn.Flatten())(np.zeros(3)), ValueError, r'Flatten "0": input \(3,\) has no axes 1'),
        (lambda: nn.MSELoss()(mg.zeros((3, 1)), np.zeros(3)), ValueError, "broadcast"),
        (lambda: nn.MSELoss(reduction="men")(mg.zeros(3), np.zeros(3)), ValueError, "men"),
    ],
)
def test_messages(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


def test_sequential_is_a_container():
    layers = [nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)]
    model = nn.Sequential(*layers)
    assert list(model) == layers
    assert len(model) == 3
    assert model[-1] is layers[2]
    assert model.append(nn.ReLU()) is model
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    tail = model[2:]
    assert isinstance(tail, nn.Sequential)
    assert list(tail.state_dict()) == ["2.weight", "2.bias"]
    assert tail[0].weight is model[2].weight
    with pytest.raises(IndexError):
        model[4]


def test_sequential_of_names():
    model = nn.Sequential(OrderedDict(inner=nn.Linear(2, 3), act=nn.ReLU()))
    assert model.inner is model[0]
    assert list(model.state_dict()) == ["inner.weight", "inner.bias"]
    assert nn.Sequential()(3) == 3


def test_flatten_of_nothing():
    assert nn.Flatten()(np.zeros((0, 3, 4))).shape == (0, 12)


def test_float32_stays():
    model = nn.Sequential(nn.Linear(4, 4), *(ours for ours, _, _ in LAYERS[:16])).astype(np.float32)
    assert model(np.ones((2, 3, 4), "f4")).dtype == np.float32


def test_layers_run_on_symbols():
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.Tanh())
    x = mg.symbols("x", (1, 2))
    y = model(x)
    numbers = dict(zip(x.data.ravel().tolist(), (0.5, -1.5), strict=True))
    assert float(y.tolist()[0][0].subs(numbers)) == pytest.approx(model(np.array([[0.5, -1.5]])).item())


def test_a_tuple_between_two_layers_is_refused_by_name():
    model = nn.Sequential(nn.Sequential(nn.GRU(3, 4), nn.Linear(4, 2)))
    with pytest.raises(nn.module.InputError, match=r'Linear "0.1": a tuple of 2 came, as GRU returns it'):
        model(np.ones((5, 2, 3)))
