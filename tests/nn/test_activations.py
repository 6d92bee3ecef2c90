"""Activations at their kinks and at the ends of the floats, beside torch's; what they refuse."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
TF = torch.nn.functional

KINKS = {  # the name, torch's function, and where the slope jumps
    "hardtanh": (TF.hardtanh, [-1.0, 1.0]),
    "relu6": (TF.relu6, [0.0, 6.0]),
    "hardsigmoid": (lambda x: TF.hardtanh(x + 3, 0.0, 6.0) / 6, [-3.0, 3.0]),
    "hardswish": (TF.hardswish, [-3.0, 3.0]),
    "softshrink": (TF.softshrink, [-0.5, 0.5]),
    "hardshrink": (TF.hardshrink, [-0.5, 0.5]),
    "softsign": (TF.softsign, [0.0]),
    "selu": (TF.selu, [0.0]),
    "celu": (TF.celu, [0.0]),
}
ENDS = [-np.inf, np.inf, np.nan, 1e300, -1e300, 1e-300, 800.0, -800.0]


@pytest.mark.parametrize("name", KINKS)
def test_kinks_are_torchs(name):
    theirs, points = KINKS[name]
    x = np.array([*points, *(p + d for p in points for d in (-1e-9, 1e-9))])
    a, b = mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = getattr(F, name)(a), theirs(b)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-14)
    y.sum().backward()
    z.sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-8, atol=1e-15)


def test_threshold_and_prelu_at_their_kinks():
    x = np.array([[0.5, 0.0, 1.0]])
    a, b = mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    for value in (-1.0, 2.0):
        F.threshold(a, 0.5, value).sum().backward()
        TF.threshold(b, 0.5, value).sum().backward()
        np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy())
        a.grad = b.grad = None
    w, v = mg.tensor([0.25], requires_grad=True), torch.tensor([0.25], dtype=torch.float64, requires_grad=True)
    F.prelu(a, w).sum().backward()
    TF.prelu(b, v).sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy())
    np.testing.assert_array_equal(w.grad.numpy(), v.grad.numpy())


AT_INFINITY = ["hardtanh", "hardsigmoid", "softshrink", "hardshrink", "logsigmoid", "tanhshrink"]  # not inf * 0


@pytest.mark.parametrize("name", [*AT_INFINITY, "hardswish", "softsign"])
def test_the_ends_of_the_floats(name):
    x = np.array(ENDS if name in AT_INFINITY else ENDS[2:])
    a, b = mg.tensor(x, requires_grad=True), torch.tensor(x)
    y = getattr(F, name)(a)
    np.testing.assert_allclose(y.numpy(), getattr(TF, name)(b).numpy(), rtol=1e-14, atol=1e-299)
    y.backward(np.ones(x.shape))
    assert np.isfinite(a.grad.numpy()[~np.isnan(x)]).all()


def test_digits_near_zero():
    """x - tanh(x) = x^3 / 3 - 2 x^5 / 15 + ..., where x and tanh(x) agree in all digits."""
    x = np.array([1e-5, -1e-3, 1e-100])
    expected = x**3 / 3 - 2 * x**5 / 15 + 17 * x**7 / 315
    np.testing.assert_allclose(F.tanhshrink(x).numpy(), expected, rtol=1e-14)
    np.testing.assert_allclose(F.logsigmoid([40.0, -1e-20]).numpy(), [-np.exp(-40.0), -np.log(2)], rtol=1e-14)


REFUSED = [
    (lambda: nn.Sequential(nn.GLU())(np.zeros((2, 3))), r'GLU "0": input \(2, 3\) has no two halves along axis -1'),
    (lambda: F.glu(np.zeros((2, 4)), 2), r"glu: x of shape \(2, 4\) has no two halves along axis 2"),
    (lambda: F.glu(np.zeros(())), r"glu: x of shape \(\) has no two halves"),
    (lambda: nn.PReLU(3)(np.zeros((2, 4))), r"PReLU: input \(2, 4\) has not 3 channels in axis 1"),
    (lambda: F.prelu(np.zeros((2, 4)), np.zeros(3)), r"prelu: x \(2, 4\) takes a weight of one number, or"),
    (lambda: nn.Hardtanh(1.0, 1.0), r"Hardtanh: min_val=1.0 must be below max_val=1.0"),
    (lambda: nn.Softshrink(-1.0), r"Softshrink: lambd=-1.0 must not be negative"),
    (lambda: F.celu(1.0, 0.0), r"celu: alpha=0.0 must be positive"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize("layer", [nn.Softsign(), nn.LogSigmoid(), nn.Hardtanh(), nn.Hardsigmoid(), nn.Hardswish(),
    nn.ReLU6(), nn.SELU(), nn.CELU(2.0), nn.Mish(), nn.Tanhshrink(), nn.Softshrink(), nn.Hardshrink(),
    nn.Threshold(0.5, 2.0), nn.PReLU(), nn.GLU(), nn.Softmin()], ids=repr)  # fmt: skip
def test_symbols_read_what_numbers_compute(layer):
    x = mg.symbols("x", (2, 4))
    values = np.linspace(-2, 3.5, 8)
    numbers = dict(zip(x.data.ravel().tolist(), values.tolist(), strict=True))
    found = [float(e.subs(numbers)) for e in layer(x).data.ravel().tolist()]
    assert found == pytest.approx(layer(values.reshape(2, 4)).numpy().ravel().tolist(), rel=1e-12, abs=1e-14)
