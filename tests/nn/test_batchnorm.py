"""Normalisation of channels: what the comparison with torch's in test_twins.py does not show."""

import numpy as np
import pytest
import sympy

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")


@pytest.mark.parametrize("momentum", [0.1, 1.0, None])
def test_running_statistics_over_several_batches_and_evaluation_are_torchs(momentum):
    rng = np.random.default_rng(0)
    ours, theirs = nn.BatchNorm1d(3, momentum=momentum), torch.nn.BatchNorm1d(3, momentum=momentum).double()
    for step in range(4):
        x = rng.normal(2, 3, (5, 3, 2))
        ours(x), theirs(torch.tensor(x))
        for name, values in theirs.state_dict().items():
            np.testing.assert_allclose(ours.state_dict()[name], values.numpy(), rtol=1e-13, err_msg=f"{name}, {step}")
    ours.eval(), theirs.eval()
    a, b = mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z, g = ours(a), theirs(b), rng.normal(size=x.shape)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-13)
    y.backward(g)
    z.backward(torch.tensor(g))
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-13)
    assert ours.state_dict()["num_batches_tracked"] == 4  # evaluation counts no batch
    assert ours(x[:1, :, :1]).shape == (1, 3, 1)  # and takes single values


def test_a_state_of_torchs_loads():
    theirs = torch.nn.BatchNorm2d(3).double()
    theirs(torch.randn(4, 3, 2, 2, dtype=torch.float64))
    ours = nn.BatchNorm2d(3)
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.num_batches_tracked.item() == 1
    assert [name for name, _ in ours.named_parameters()] == ["weight", "bias"]
    assert list(nn.BatchNorm1d(3, affine=False, track_running_stats=False).state_dict()) == []


def test_the_output_is_standard():
    x = np.random.default_rng(0).normal(5, 7, (200, 4, 3))
    y = nn.BatchNorm1d(4)(x).numpy()
    np.testing.assert_allclose(y.mean(axis=(0, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=(0, 2)), 1, rtol=1e-5)
    z = nn.GroupNorm(2, 4)(x).numpy().reshape(200, 2, 6)
    np.testing.assert_allclose(z.mean(axis=2), 0, atol=1e-12)
    v = nn.InstanceNorm1d(4, eps=0)(x).numpy()
    np.testing.assert_allclose(v.std(axis=2), 1, rtol=1e-12)


def test_a_constant_channel_has_finite_gradients():
    x = mg.tensor(np.full((4, 2), 3.0), requires_grad=True)
    y = nn.BatchNorm1d(2)(x)
    y.backward(np.arange(8.0).reshape(4, 2))
    assert not y.numpy().any()
    assert np.isfinite(x.grad.numpy()).all()


def test_second_derivatives_are_torchs():
    x = np.random.default_rng(0).normal(size=(4, 2))
    a, b = mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    (F.batch_norm(a, None, None, training=True) ** 3).sum().backward(create_graph=True)
    first = a.grad
    a.grad = None
    (first**2).sum().backward()
    z = (torch.nn.functional.batch_norm(b, None, None, training=True) ** 3).sum()
    (their_first,) = torch.autograd.grad(z, b, create_graph=True)
    (theirs,) = torch.autograd.grad((their_first**2).sum(), b)
    np.testing.assert_allclose(a.grad.numpy(), theirs.numpy(), rtol=1e-9)


def test_symbols_leave_the_running_statistics_alone():
    layer = nn.BatchNorm1d(1, affine=False, eps=0)
    y = layer(mg.symbols("x", (2, 1)))
    a, b = sympy.symbols("x_0_0 x_1_0", real=True)
    assert sympy.simplify(y[0].item() - (a - b) / 2 / sympy.sqrt((a - b) ** 2 / 4)) == 0
    assert layer.running_mean.tolist() == [0.0]
    assert layer.eval()(mg.symbols("x", (2, 1)))[0].item() == a


def test_float32_stays():
    layer = nn.BatchNorm1d(2).astype(np.float32)
    y = layer(np.ones((3, 2), np.float32))
    y.sum().backward()
    assert {y.dtype, layer.running_var.dtype, layer.weight.grad.dtype} == {np.dtype(np.float32)}
    assert layer.num_batches_tracked.dtype == np.int64


REFUSED = [
    (lambda: nn.Sequential(nn.BatchNorm1d(3))(np.zeros((1, 3))),
     r'BatchNorm1d "0": input \(1, 3\) has 1 value a channel, and training needs two or more'),
    (lambda: nn.BatchNorm1d(3)(np.zeros((4, 2))),
     r"BatchNorm1d: input \(4, 2\) has 2 channels in axis 1, this layer expects 3"),
    (lambda: nn.BatchNorm1d(3)(np.zeros((4, 3, 2, 2))),
     r"has 4 axes; \(batch, channels\) or \(batch, channels, length\)"),
    (lambda: nn.BatchNorm2d(3)(np.zeros((4, 3))), r"has 2 axes; \(batch, channels, height, width\) is needed"),
    (lambda: nn.GroupNorm(2, 3), r"GroupNorm: 3 channels cannot be cut into 2 groups"),
    (lambda: nn.GroupNorm(2, 4)(np.zeros((2, 3))), r"GroupNorm: input \(2, 3\) has 3 channels in axis 1, .* expects 4"),
    (lambda: F.group_norm(np.zeros((2, 3)), 2), r"group_norm: input \(2, 3\) cannot be cut into 2 groups"),
    (lambda: F.group_norm(np.zeros((2, 3)), 0), r"group_norm: input \(2, 3\) cannot be cut into 0 groups"),
    (lambda: F.batch_norm(np.zeros((2, 3)), None, None), r"batch_norm: without running_mean .* training=True"),
    (lambda: F.batch_norm(np.zeros((1, 3)), None, None, training=True), r"has 1 value a channel"),
    (lambda: nn.InstanceNorm1d(3, track_running_stats=True), r"track_running_stats is not supported"),
    (lambda: nn.InstanceNorm2d(3)(np.zeros((2, 3, 1, 1))), r"has 1 value a channel, and a variance needs two or more"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
