"""Training by `mg.fit` as native code: the same history, parameters and reasons to stop as eagerly."""

import signal
import subprocess
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, train
from minigrad.compiler import CompiledDiffers, step_code
from minigrad.compiler import step as native
from minigrad.compiler.step import Epoch
from minigrad.tensor import _warned

MSE = nn.MSELoss()


@pytest.fixture(autouse=True)
def _compiling_pays(monkeypatch):
    """However short training is."""
    monkeypatch.setattr(train, "COMPILING", 0.0)


@pytest.fixture
def taken(monkeypatch):
    """How many steps are taken natively in each slice."""
    found = []
    advance = Epoch.advance

    def counting(self):
        before = self.done
        advance(self)
        found.append(self.done - before)

    monkeypatch.setattr(Epoch, "advance", counting)
    return found


def samples(n=23):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    return x, np.tanh(x @ np.array([[1.0], [-2.0], [0.5]]))


def net():
    mg.random.seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))


def fitted(compile, model=None, loss_fn=MSE, data=None, lr=0.05, **options):
    model = net() if model is None else model
    adam = mg.optim.Adam(model.parameters(), lr=lr)
    options = {"epochs": 6, "batch_size": 6, "seed": 1, "progress": False, **options}
    history = mg.fit(model, loss_fn, data or samples(), adam, compile=compile, **options)
    return history, model, adam


def agree(ours, theirs):
    (a, model, _), (b, eager, _) = ours, theirs
    assert a.stopped == b.stopped
    for name, column in vars(b).items():
        if name != "stopped":
            np.testing.assert_allclose(getattr(a, name), column, rtol=1e-10, err_msg=name)
    for path, value in eager.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[path], value, rtol=1e-10, atol=1e-12, err_msg=path)


# ---- the same as eagerly -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": None},
        {"shuffle": False},
        {"clip_norm": 0.05, "clip_value": 0.02},
        {"schedule": lambda epoch: 0.5**epoch},
        {"validation": samples(9), "metric": lambda p, y: float(np.abs(p - y).max())},
        {"stop": mg.Convergence(tol=0.5, patience=2)},
    ],
    ids=["mini-batch", "batch", "in order", "clipped", "schedule", "validation", "stop"],
)
def test_histories_agree(options, taken):
    ours = fitted(True, **options)
    assert taken
    taken.clear()
    agree(ours, fitted(False, **options))
    assert taken == []


def test_the_order_is_drawn_as_eagerly():
    results = []
    for compile in (True, False):
        model = net()
        mg.random.seed(7)
        results.append(fitted(compile, model, seed=None))
        results.append(mg.random.uniform().item())
    agree(results[0], results[2])
    assert results[1] == results[3]


def test_a_seed_fixes_every_bit_whatever_the_slices(monkeypatch):
    runs = []
    for length in (1, 3, 100):
        monkeypatch.setattr(Epoch, "length", lambda self, code, n=length: min(n, self.whole - self.done))
        history, model, _ = fitted(True)
        runs.append((history.loss, history.grad_norm, {k: v.tolist() for k, v in model.state_dict().items()}))
    assert runs[0] == runs[1] == runs[2]


def test_a_checkpoint_keeps_the_best(tmp_path):
    paths = tmp_path / "compiled.npz", tmp_path / "eager.npz"
    for compile, path in zip((True, False), paths, strict=True):
        fitted(compile, checkpoint=path)
    ours, theirs = map(np.load, paths)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-10)


def test_a_model_that_changes_between_epochs(taken):
    def thawing(model):
        def schedule(epoch):
            model[0].requires_grad_(epoch >= 3)
            return 1.0

        return schedule

    results = []
    for compile in (True, False):
        model = net()
        adam = mg.optim.Adam(model.named_parameters(), lr=0.05)
        options = {"epochs": 6, "batch_size": 6, "seed": 1, "progress": False, "schedule": thawing(model)}
        results.append((mg.fit(model, MSE, samples(), adam, compile=compile, **options), model, adam))
    agree(*results)
    assert sum(taken) == 24


def test_layers_may_be_others_in_validation():
    results = []
    for compile in (True, False):
        mg.random.seed(0)
        model = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5), nn.Linear(5, 1))
        mg.random.seed(3)
        results.append(fitted(compile, model, seed=None, validation=samples(9)))
    agree(*results)


# ---- the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lr", [1e4, 1e100])
def test_divergence_says_the_same(lr):
    def run(compile):
        model = nn.Linear(3, 1)
        model.load_state_dict({"weight": np.full((1, 3), 0.5), "bias": np.zeros(1)})
        sgd = mg.optim.SGD(model.parameters(), lr=lr)
        options = {"epochs": 50, "batch_size": 6, "seed": 1, "progress": False}
        with pytest.warns(mg.MinigradWarning, match="diverged: in epoch") as warned:
            history = mg.fit(model, MSE, samples(), sgd, compile=compile, **options)
        assert len(warned) == 1
        assert all(np.isfinite(p.data).all() for p in model.parameters())
        return history, model, sgd

    ours, theirs = run(True), run(False)
    assert ours[0].stopped == theirs[0].stopped
    np.testing.assert_allclose(ours[0].loss, theirs[0].loss, rtol=1e-6)


def test_ctrl_c_waits_for_the_end_of_a_slice(monkeypatch):
    monkeypatch.setattr(Epoch, "length", lambda self, code: 1)
    steps, slices = native.StepCode.steps, []

    def struck(self, *args):
        slices.append(None)
        if len(slices) == 6:  # the second of the second epoch
            signal.raise_signal(signal.SIGINT)
        steps(self, *args)

    monkeypatch.setattr(native.StepCode, "steps", struck)
    history, model, adam = fitted(True)
    assert history.stopped == "interrupted in epoch 2"
    assert len(history.loss) == 1
    assert adam.state_dict()["state"][0]["step"] == 6
    monkeypatch.setattr(native.StepCode, "steps", steps)
    eager, rng = net(), np.random.default_rng(1)
    other = mg.optim.Adam(eager.parameters(), lr=0.05)
    batches = [batch for _ in range(2) for batch in mg.data.batches(*samples(), 6, True, rng)]
    for x, y in batches[:6]:
        other.zero_grad()
        MSE(eager(mg.tensor(x)), y).backward()
        other.step()
    for path, value in eager.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[path], value, rtol=1e-10)


# ---- where it cannot be --------------------------------------------------------------------------------------------


class Looking(nn.Module):
    def __init__(self):
        mg.random.seed(0)
        self.layer = nn.Linear(3, 1)

    def forward(self, x):
        return self.layer(x) if mg.sum(x).item() > 0 else self.layer(2 * x)


def eagerly(match, taken, **options):
    """Training warns, once, and gives what compile=False gives."""
    _warned.clear()
    make = options.pop("make", net)
    with pytest.warns(mg.MinigradWarning, match=match) as warned:
        ours = fitted(options.pop("compile", True), make(), **options)
    assert len(warned) == 1
    assert "\n" not in str(warned[0].message)
    assert taken == []
    agree(ours, fitted(False, make(), **options))


def test_a_look_at_values_trains_eagerly(taken):
    eagerly("fit: training is eager, since it cannot be compiled: test_fit.py.*Python number", taken, make=Looking)


def test_python_that_counts_trains_eagerly(taken):
    seen = []

    def counting(prediction, y):
        seen.append(len(y))
        return MSE(prediction, y)

    eagerly("seen is changed by every call", taken, loss_fn=counting)


def test_hooks_train_eagerly(taken):
    def made():
        model = net()
        model[0].weight.register_hook(lambda g: g / 2)
        return model

    eagerly("has a hook", taken, make=made)


def test_debugging_trains_eagerly(taken):
    _warned.clear()
    with mg.debug(), pytest.warns(mg.MinigradWarning, match=r"inside mg.debug\(\)"):
        ours = fitted(True)
    assert taken == []
    agree(ours, fitted(False))


def test_an_optimizer_of_ones_own_trains_eagerly(taken):
    class Plain:
        def __init__(self, params):
            self.param_groups = [{"params": list(params), "lr": 0.1}]

        def zero_grad(self):
            for p in self.param_groups[0]["params"]:
                p.grad = None

        def step(self):
            for p in self.param_groups[0]["params"]:
                p.data -= 0.1 * p.grad.data

    _warned.clear()
    model = net()
    with pytest.warns(mg.MinigradWarning, match="the optimizer is none of mg.optim's"):
        history = mg.fit(model, MSE, samples(), Plain(model.parameters()), epochs=5, progress=False)
    assert history.loss[-1] < history.loss[0]
    assert taken == []


@pytest.mark.parametrize(
    "prepared",
    [
        lambda x: x * round(x.data[0, 0], 1),
        lambda x: x * {True: 1.0, False: 2.0}[x.data[0, 0] > 0],
        lambda x: np.fromiter(x.data.ravel(), float).reshape(x.shape),
    ],
)
def test_what_python_refuses_to_do_with_traced_arrays_trains_eagerly(prepared, taken):
    class Prepared(nn.Module):
        def __init__(self):
            mg.random.seed(0)
            self.layer = nn.Linear(3, 1)

        def forward(self, x):
            return self.layer(prepared(x))

    eagerly("fit: training is eager, since it cannot be compiled: (Type|Value)Error: ", taken, make=Prepared)


def test_errors_of_the_model_are_raised_as_they_are():
    with pytest.raises(nn.module.InputError, match="Linear"):
        fitted(True, data=(np.zeros((6, 4)), np.zeros((6, 1))))
    with pytest.raises(TypeError, match="loss_fn must return a scalar tensor"):
        fitted(True, loss_fn=lambda p, y: (p - y) ** 2)
    with pytest.raises(TypeError, match="loss_fn must return a scalar tensor.*not 0.5"):
        fitted(True, loss_fn=lambda p, y: 0.5)
    with pytest.raises(RuntimeError, match="was not computed from any tensor with requires_grad=True"):
        fitted(True, loss_fn=lambda p, y: mg.sum(y))


def test_a_difference_beyond_rounding_raises_unless_told_otherwise(monkeypatch, taken):
    def differing(*args):
        raise CompiledDiffers("the compiled code differs from NumPy's first in tanh")

    monkeypatch.setattr(step_code, "check", differing)
    with pytest.raises(CompiledDiffers, match="differs from NumPy's first in tanh"):
        fitted(True)
    eagerly("differs from NumPy's first in tanh", taken, compile="fallback")


def test_other_words_are_refused():
    with pytest.raises(ValueError, match="unknown value for fit.*'falback': did you mean 'fallback'"):
        fitted("falback")
    with pytest.raises(ValueError, match="unknown value for fit"):
        fitted(None)


# ---- when it pays --------------------------------------------------------------------------------------------------


def test_short_trainings_are_not_compiled(monkeypatch, taken):
    monkeypatch.undo()
    monkeypatch.setattr(Epoch, "advance", lambda self: taken.append(0))
    fitted(True)
    assert taken == []


def test_what_pays_goes_by_steps_and_sizes(monkeypatch):
    monkeypatch.undo()
    small, large = (mg.optim.SGD([mg.tensor(np.zeros(n), requires_grad=True)], lr=0.1) for n in (100, 100_000))
    assert not train._pays(small, n=1000, size=10, epochs=10)
    assert train._pays(small, n=1000, size=10, epochs=1000)
    assert not train._pays(small, n=1000, size=1000, epochs=100)
    assert train._pays(large, n=1000, size=1000, epochs=1000)
    assert not train._pays(small, n=1000, size=300, epochs=3000)  # the last batch needs code of its own
    assert train._pays(small, n=1200, size=300, epochs=3000)


def test_without_compiling_the_compiler_is_not_even_loaded():
    program = """
import sys, numpy as np, minigrad as mg
model = mg.nn.Linear(3, 1)
sgd = mg.optim.SGD(model.parameters(), lr=0.1)
x, y = np.zeros((20, 3)), np.zeros((20, 1))
mg.fit(model, mg.nn.MSELoss(), (x, y), sgd, epochs=20_000, batch_size=10, progress=False, compile=False, stop=repr)
print("minigrad.compiler" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
