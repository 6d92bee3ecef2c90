"""Draws are judged by their moments and bounds, from the papers' formulas, within five standard errors."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad.nn import init

OUT, IN = 300, 500
N = OUT * IN


def draw(function, *shape, **options):
    return function(mg.zeros(shape or (OUT, IN)), **options).numpy()


def assert_uniform(values, bound):
    assert np.abs(values).max() <= bound
    assert np.abs(values).max() > bound * (1 - 20 / N)
    assert abs(values.mean()) < 5 * bound / math.sqrt(3 * N)
    # The variance is bound^2 / 3, and its estimate's deviation bound^2 sqrt(4 / 45) / sqrt(n).
    assert abs(values.var() - bound**2 / 3) < 5 * bound**2 * math.sqrt(4 / 45 / N)


def assert_normal(values, std):
    assert abs(values.mean()) < 5 * std / math.sqrt(N)
    assert abs(values.var() - std**2) < 5 * std**2 * math.sqrt(2 / N)
    # Kurtosis tells a normal (3) from a uniform distribution (1.8); its estimate's deviation is sqrt(24 / n).
    assert abs(((values - values.mean()) ** 4).mean() / values.var() ** 2 - 3) < 5 * math.sqrt(24 / N)


def test_xavier_is_glorot_and_bengio_2010():
    assert_uniform(draw(init.xavier_uniform_), math.sqrt(6) / math.sqrt(IN + OUT))  # eq. 16
    assert_normal(draw(init.xavier_normal_), math.sqrt(2 / (IN + OUT)))  # eq. 12
    assert_uniform(draw(init.xavier_uniform_, gain=2.0), 2 * math.sqrt(6) / math.sqrt(IN + OUT))
    assert_normal(draw(init.xavier_normal_, gain=0.5), 0.5 * math.sqrt(2 / (IN + OUT)))


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", IN), ("fan_out", OUT)])
def test_kaiming_is_he_et_al_2015(mode, fan):
    assert_normal(draw(init.kaiming_normal_, mode=mode), math.sqrt(2 / fan))  # eq. 10 and 14
    assert_normal(draw(init.kaiming_normal_, mode=mode, a=0.25), math.sqrt(2 / ((1 + 0.25**2) * fan)))  # eq. 15
    # A uniform distribution of the same variance has sqrt(3) times the standard deviation as its bound.
    assert_uniform(draw(init.kaiming_uniform_, mode=mode, nonlinearity="relu"), math.sqrt(3) * math.sqrt(2 / fan))


def test_linears_default_is_kaiming_with_slope_root_5():
    assert_uniform(draw(init.kaiming_uniform_, a=math.sqrt(5)), 1 / math.sqrt(IN))


def test_a_kernel_sums_over_its_window():
    values = draw(init.kaiming_normal_, 20, 30, 10, 25)  # fan in 30 * 10 * 25
    assert_normal(values, math.sqrt(2 / 7500))


def test_plain_distributions_and_constants():
    values = draw(init.uniform_, a=2.0, b=4.0)
    assert_uniform(values - 3, 1)
    assert_normal(draw(init.normal_, mean=5.0, std=0.1) - 5, 0.1)
    assert draw(init.zeros_, 2).tolist() == [0, 0]
    assert draw(init.ones_, 2).tolist() == [1, 1]
    assert init.constant_(mg.zeros((1, 2)), 0.25).tolist() == [[0.25, 0.25]]


def test_values_go_into_the_tensor_itself_in_its_dtype():
    w = mg.nn.Parameter(np.ones((2, 2)), dtype=np.float32)
    assert init.normal_(w) is w
    assert w.dtype == np.float32
    assert w.requires_grad
    assert w.is_leaf


def test_randomness_is_the_librarys_or_the_generators():
    mg.random.seed(1)
    a = draw(init.normal_, 3)
    mg.random.seed(1)
    assert draw(init.normal_, 3).tolist() == a.tolist()
    given = [draw(init.xavier_uniform_, 3, 3, generator=np.random.default_rng(7)).tolist() for _ in range(2)]
    assert given[0] == given[1]


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains_are_torchs(name):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name), rel=1e-15)
    if name == "leaky_relu":
        assert init.calculate_gain(name, 0.3) == pytest.approx(torch.nn.init.calculate_gain(name, 0.3), rel=1e-15)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: init.calculate_gain("relo"), "unknown nonlinearity 'relo': did you mean 'relu'"),
        (lambda: init.kaiming_normal_(mg.zeros((2, 2)), mode="fan"), "unknown mode 'fan'"),
        (lambda: init.xavier_normal_(mg.zeros(3)), r"shape \(3,\) has no fan in"),
    ],
)
def test_messages(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
