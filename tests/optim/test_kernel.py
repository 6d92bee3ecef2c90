"""The generated loops: they compute the rule, in the dtype of the parameters, on any number of threads."""

import functools
import os
import signal
import warnings
from math import sqrt

import numpy as np
import pytest

import minigrad as mg
from minigrad import native, parallel
from minigrad.optim import kernel, rules
from minigrad.optim.equations import RULES

OPTIONS = {
    "lr": 0.01, "weight_decay": 0.1, "momentum": 0.9, "dampening": 0.3, "lr_decay": 0.1, "eps": 1e-6, "rho": 0.9,
    "alpha": 0.95, "beta1": 0.9, "beta2": 0.99,
}  # fmt: skip


def optimizer_of(rule, options=OPTIONS):
    """An optimizer that runs `rule` itself, whatever the rule."""
    names = kernel.read(rule).hyper

    class Own(mg.optim.Optimizer):
        @staticmethod
        def rule(group):
            return rule

    return lambda params: Own(params, {name: options[name] for name in names}, {})


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (7, 5), (1000,)])
def test_a_kernel_computes_the_rule_on_every_element(name, shape):
    rng = np.random.default_rng(0)
    rule, reading = RULES[name], kernel.read(RULES[name])
    p = mg.tensor(rng.normal(size=shape), requires_grad=True)
    expected = [(x, *[0.0] * len(reading.state)) for x in p.data.ravel().tolist()]
    optimizer = optimizer_of(rule)([p])
    for t in range(1, 4):
        g = rng.normal(size=shape)
        p.grad = mg.tensor(g)
        optimizer.step()
        scalars = {key: t if key == "t" else OPTIONS[key] for key in reading.scalars}
        new = [rule(x, gx, *state, **scalars) for (x, *state), gx in zip(expected, g.ravel().tolist(), strict=True)]
        expected = [x if isinstance(x, tuple) else (x,) for x in new]
    np.testing.assert_allclose(p.data.ravel(), [x[0] for x in expected], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", RULES)
def test_the_loop_of_float32_holds_nothing_wider(name):
    """One float64 in it, or an integer, would make the whole loop float64 and several times slower."""
    import numba

    real = "CPointer(float32)"
    signature = f"void(int64, CPointer({real}), CPointer(float64), {real})"
    source = kernel.kernel_source(RULES[name], np.dtype("float32"))
    loop = source[source.index("for i in range") :]
    namespace = {}
    exec(source, namespace)
    llvm = numba.cfunc(signature, **native.OPTIONS)(namespace[name]).inspect_llvm()
    assert " x float>" in llvm
    assert " x double>" not in llvm
    assert not any(part.isdigit() for part in loop.replace("[i]", "").split())


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("size", [1 << 18, (1 << 18) + 1, 1_000_003])
def test_any_number_of_threads_gives_the_same_bits(monkeypatch, count, size):
    def train():
        rng = np.random.default_rng(0)
        p = mg.tensor(rng.normal(size=size).astype("f4"), requires_grad=True)
        optimizer = mg.optim.Adam([p])
        for _ in range(3):
            p.grad = mg.tensor(rng.normal(size=size).astype("f4"))
            optimizer.step()
        return p.data

    monkeypatch.setattr(parallel, "threads", lambda: 1)
    alone = train()
    monkeypatch.setattr(parallel, "threads", lambda: count)
    assert np.array_equal(train(), alone)


def test_nan_and_infinity_pass_through():
    p = mg.tensor([1.0, 1.0, 1.0], requires_grad=True)
    p.grad = mg.tensor([np.nan, np.inf, 0.0])
    mg.optim.SGD([p], lr=0.1).step()
    assert np.array_equal(p.data, [np.nan, -np.inf, 1.0], equal_nan=True)


def normalized(p, g, m, lr, beta):
    m = beta * m + (1 - beta) * g
    return p - lr * m / sqrt(m**2), m


def test_a_rule_of_ones_own_runs():
    p = mg.tensor([1.0, 1.0], requires_grad=True)
    p.grad = mg.tensor([3.0, -2.0])
    optimizer_of(normalized, {"lr": 0.25, "beta": 0.9})([p]).step()
    np.testing.assert_allclose(p.data, [0.75, 1.25])


def unnamed_state(p, g, m, lr):
    return p - lr * g, m + g


def no_return(p, g, lr):
    p = p - lr * g


@pytest.mark.parametrize("rule", [unnamed_state, no_return])
def test_a_function_that_is_no_rule_is_refused(rule):
    with pytest.raises(ValueError, match=f"rule {rule.__name__}: a rule takes p, g, its state and then scalars"):
        kernel.read(rule)


def test_what_a_rule_remembers_is_what_it_returns():
    reading = kernel.read(rules.adam)
    assert reading.state == ("m", "v")
    assert reading.scalars == ("t", "lr", "beta1", "beta2", "eps", "weight_decay")
    assert reading.hyper == ["lr", "beta1", "beta2", "eps", "weight_decay"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(parallel, "threads", lambda: 2)
    p = mg.tensor(np.ones(600_000), requires_grad=True)
    p.grad = mg.tensor(np.ones(600_000))
    optimizer = mg.optim.SGD([p], lr=0.5)
    optimizer.step()
    with warnings.catch_warnings():  # others in this process may mind, as JAX does where it has been imported
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        signal.alarm(60)  # rather than wait for ever for threads that are not there
        optimizer.step()
        os._exit(0 if (p.data == 0).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_ctrl_c_waits_for_the_end_of_a_large_step(monkeypatch):
    """The handler of the user's is called once the step is whole, and stands again afterwards."""
    p = mg.tensor(np.ones(600_000), requires_grad=True)
    p.grad = mg.tensor(np.ones(600_000))
    optimizer = mg.optim.SGD([p], lr=0.5)
    values_seen = []

    def handler(*event):
        values_seen.append(np.unique(p._data))

    first, *rest = optimizer._blocks[0].parts
    interrupted = functools.partial(lambda *args: (signal.raise_signal(signal.SIGINT), first(*args[3:])), *first.args)
    monkeypatch.setattr(optimizer._blocks[0], "parts", [interrupted, *rest])
    before = signal.signal(signal.SIGINT, handler)
    try:
        optimizer.step()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert [values.tolist() for values in values_seen] == [[0.5]]


def takes_a_counter(p, g, lr, i):
    return p - lr * g * i


def assigns_a_coefficient(p, g, lr):
    c0 = g * 2
    return p - lr * c0


@pytest.mark.parametrize(("rule", "name"), [(takes_a_counter, "i"), (assigns_a_coefficient, "c0")])
def test_names_of_the_loop_itself_are_refused(rule, name):
    with pytest.raises(ValueError, match=f"rule {rule.__name__}: {name} is a name in the loop"):
        kernel.read(rule)
