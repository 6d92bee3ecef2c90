"""A compiled training step beside the eager one: the same losses, parameters, states and buffers."""

import copy
import re
import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.compiler import CaptureError, NoNative
from minigrad.compiler import step as native
from minigrad.compiler.step import Epoch
from minigrad.tensor import _warned

MSE = nn.MSELoss()
OPTIMIZERS = {
    "sgd": lambda p: mg.optim.SGD(p, lr=0.1, weight_decay=0.01),
    "momentum": lambda p: mg.optim.SGD(p, lr=0.05, momentum=0.9),
    "dampened": lambda p: mg.optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.5),
    "nesterov": lambda p: mg.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adagrad": lambda p: mg.optim.Adagrad(p, lr=0.05, lr_decay=0.01, initial_accumulator_value=0.1),
    "adadelta": lambda p: mg.optim.Adadelta(p, lr=1.0),
    "rmsprop": lambda p: mg.optim.RMSprop(p, lr=0.01),
    "rmsprop, momentum": lambda p: mg.optim.RMSprop(p, lr=0.01, momentum=0.9),
    "rmsprop, centered": lambda p: mg.optim.RMSprop(p, lr=0.01, centered=True),
    "rmsprop, both": lambda p: mg.optim.RMSprop(p, lr=0.01, centered=True, momentum=0.5),
    "adam": lambda p: mg.optim.Adam(p, lr=0.02, weight_decay=0.01),
    "adamw": lambda p: mg.optim.AdamW(p, lr=0.02),
}
TOLERANCE = {"float64": 1e-10, "float32": 2e-5}


def data(n=23, dtype=np.float64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3)).astype(dtype)
    return x, np.tanh(x @ np.array([[1.0], [-2.0], [0.5]], dtype))


def net(dtype=np.float64, seed=0):
    mg.random.seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).astype(dtype)


def eager_step(model, loss_fn, optimizer, x, y):
    optimizer.zero_grad()
    loss = loss_fn(model(mg.tensor(x)), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def eager_run(model, loss_fn, optimizer, X, Y, size, epochs, seed):
    rng = np.random.default_rng(seed)
    return [
        eager_step(model, loss_fn, optimizer, x, y)
        for _ in range(epochs)
        for x, y in mg.data.batches(X, Y, size, True, rng)
    ]


def agree(ours, theirs, dtype="float64"):
    """State dicts of two models or optimizers."""
    assert ours.keys() == theirs.keys()
    for path, value in theirs.items():
        if path == "param_groups":
            assert ours[path] == value
        elif isinstance(value, dict):
            agree(ours[path], value, dtype)
        else:
            assert np.asarray(ours[path]).dtype == np.asarray(value).dtype
            near = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype], "err_msg": str(path)}
            np.testing.assert_allclose(ours[path], value, **near)


# ---- the same as eager ---------------------------------------------------------------------------------------------


def in_single_precision(name):
    """All in the long run: here, each optimizer and dtype is compiled anew."""
    return pytest.param(name, "float32", marks=[] if name == "adam" else pytest.mark.long)


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "float64") for name in OPTIMIZERS), *map(in_single_precision, OPTIMIZERS)]
)
def test_epochs_agree_with_the_eager_loop(name, dtype):
    X, Y = data(23 if name == "adam" else 24, dtype)
    ours, theirs = net(dtype), net(dtype)
    a, b = OPTIMIZERS[name](ours.parameters()), OPTIMIZERS[name](theirs.parameters())
    step = mg.compile_step(ours, MSE, a)
    losses = step.run(X, Y, batch_size=6, epochs=8, seed=1)  # four steps an epoch, the last perhaps of five samples
    np.testing.assert_allclose(losses, eager_run(theirs, MSE, b, X, Y, 6, 8, seed=1), rtol=TOLERANCE[dtype])
    agree(ours.state_dict(), theirs.state_dict(), dtype)
    agree(a.state_dict()["state"], b.state_dict()["state"], dtype)
    assert len(step.codes) == (2 if name == "adam" else 1)


def test_steps_from_python_agree_with_eager_ones():
    X, Y = data(40)
    ours, theirs = net(), net()
    a, b = (mg.optim.Adam(m.parameters(), lr=0.05) for m in (ours, theirs))
    step = mg.compile_step(ours, MSE, a)
    for x, y in mg.data.batches(X, Y, 8, shuffle=False):
        loss = step(x, mg.tensor(y))
        assert isinstance(loss, mg.Tensor)
        assert loss.item() == pytest.approx(eager_step(theirs, MSE, b, x, y), rel=1e-12)
    agree(ours.state_dict(), theirs.state_dict())
    assert step(X[:8].tolist(), Y[:8].tolist()).shape == ()
    assert step(X[:16:2], np.asfortranarray(Y[:8])).shape == ()
    assert len(step.codes) == 1


def test_steps_and_runs_in_turn():
    X, Y = data(24)
    before = X.copy(), Y.copy()
    X.flags.writeable = Y.flags.writeable = False
    ours, theirs = dropping(), dropping()
    a, b = (mg.optim.SGD(m.parameters(), lr=0.1) for m in (ours, theirs))
    step = mg.compile_step(ours, MSE, a)
    mg.random.seed(3)
    losses = []
    for _ in range(2):
        losses += [step(X[i : i + 8], Y[i : i + 8]).item() for i in (16, 0)]
        losses += step.run(X, Y, batch_size=8, shuffle=False).tolist()
    mg.random.seed(3)
    places = (16, 0, 0, 8, 16) * 2
    right = [eager_step(theirs, MSE, b, X[i : i + 8], Y[i : i + 8]) for i in places]
    np.testing.assert_allclose(losses, right, rtol=1e-12)
    agree(ours.state_dict(), theirs.state_dict())
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])


def test_the_loss_has_the_dtype_of_the_eager_one():
    X, Y = data(8, np.float32)
    model = net(np.float32)
    step = mg.compile_step(model, MSE, mg.optim.SGD(model.parameters(), lr=0.1))
    assert step(X, Y).dtype == np.float32


def test_a_step_follows_the_default_dtype():
    X, Y = data(8, np.float32)
    model = net(np.float32)
    step = mg.compile_step(
        model, lambda p, y: MSE(p + mg.zeros(1), y), mg.optim.SGD(model.parameters(), lr=0.1)
    )  # fmt: skip
    found = []
    try:
        for dtype in (np.float32, np.float64, np.float32):
            mg.set_default_dtype(dtype)
            found.append(step(X, Y).dtype)
    finally:
        mg.set_default_dtype(np.float64)
    assert found == [np.float32, np.float64, np.float32]
    assert len(step.codes) == 2


def test_eager_compiled_and_eager_steps_share_one_state():
    x, y = data(12)
    ours, theirs = net(), net()
    a, b = (mg.optim.Adam(m.parameters(), lr=0.05) for m in (ours, theirs))
    step = mg.compile_step(ours, MSE, a)
    for turn in (0, 1, 0, 1, 1, 0):
        for _ in range(5):
            if turn:
                step(x, y)
            else:
                eager_step(ours, MSE, a, x, y)
            eager_step(theirs, MSE, b, x, y)
        agree(ours.state_dict(), theirs.state_dict())
        agree(a.state_dict(), b.state_dict())
    a.load_state_dict(b.state_dict())
    step(x, y)
    eager_step(theirs, MSE, b, x, y)
    agree(ours.state_dict(), theirs.state_dict())


def test_batch_descent_takes_all_samples_in_their_order():
    X, Y = data()
    ours, theirs = net(), net()
    a, b = (mg.optim.SGD(m.parameters(), lr=0.1) for m in (ours, theirs))
    mg.random.seed(3)
    losses = mg.compile_step(ours, MSE, a).run(X, Y, epochs=10)
    assert mg.random.uniform().item() == np.random.default_rng(3).uniform()  # and no order is drawn
    np.testing.assert_allclose(losses, [eager_step(theirs, MSE, b, X, Y) for _ in range(10)], rtol=1e-12)


def test_groups_have_their_own_settings_which_may_change_between_steps():
    x, y = data(10)

    def made(model):
        first, _, last = model
        return mg.optim.SGD([{"params": first.parameters()}, {"params": last.parameters(), "lr": 0.01}], lr=0.1)

    ours, theirs = net(), net()
    a, b = made(ours), made(theirs)
    step = mg.compile_step(ours, MSE, a)
    for change in ({}, {"lr": 0.05}, {"weight_decay": 0.1}, {"momentum": 0.9}, {"lr": 0.2}, {"momentum": 0.0}):
        for optimizer in (a, b):
            optimizer.param_groups[1].update(change)
        for _ in range(3):
            assert step(x, y).item() == pytest.approx(eager_step(theirs, MSE, b, x, y), rel=1e-12)
    agree(ours.state_dict(), theirs.state_dict())


def test_frozen_and_unused_parameters_stay_as_they_are():
    class Partly(nn.Module):
        def __init__(self):
            self.used, self.frozen, self.unused = (nn.Linear(3, 3) for _ in range(3))

        def forward(self, x):
            return mg.sum(self.frozen(self.used(x)), axis=1, keepdims=True)

    x, y = data(10)
    models = []
    for _ in range(2):
        mg.random.seed(0)
        models.append(Partly())
    ours, theirs = models
    a, b = (mg.optim.Adam(m.named_parameters(), lr=0.1) for m in models)
    for m in models:
        m.frozen.requires_grad_(False)
    before = ours.state_dict()
    step = mg.compile_step(ours, MSE, a)
    lost = "no gradient for parameter 'unused.weight', parameter 'unused.bias'"
    with pytest.warns(mg.MinigradWarning, match=lost):
        step(x, y)
    _warned.discard("Adam: no gradient for [\"parameter 'unused.weight'\", \"parameter 'unused.bias'\"]")
    with pytest.warns(mg.MinigradWarning, match=lost):
        eager_step(theirs, MSE, b, x, y)
    for _ in range(10):
        step(x, y)
        eager_step(theirs, MSE, b, x, y)
    agree(ours.state_dict(), theirs.state_dict())
    agree(a.state_dict()["state"], b.state_dict()["state"])
    kept = {k: v for k, v in ours.state_dict().items() if not k.startswith("used")}
    agree(kept, {k: before[k] for k in kept})
    for m in models:
        m.frozen.requires_grad_(True)
    for _ in range(3):
        step(x, y)
        eager_step(theirs, MSE, b, x, y)
    agree(ours.state_dict(), theirs.state_dict())
    assert not np.array_equal(ours.frozen.weight.data, before["frozen.weight"])


def test_parameters_with_one_gradient_between_them():
    pair = [mg.tensor([1.0, 2.0], requires_grad=True), mg.tensor([3.0, 4.0], requires_grad=True)]
    a, b = pair
    step = mg.compile_step(lambda x: a + b, lambda s, y: mg.sum(s * s), mg.optim.SGD(pair, lr=0.1))
    step(np.zeros((1, 1)), np.zeros(1))
    np.testing.assert_allclose(a.data, [1 - 0.8, 2 - 1.2], rtol=1e-14)
    np.testing.assert_allclose(b.data, [3 - 0.8, 4 - 1.2], rtol=1e-14)


def test_the_gradient_of_the_input_itself():
    w = mg.tensor([[0.5], [0.5], [0.5]], requires_grad=True)
    step = mg.compile_step(lambda x: mg.sum(x.T * w), lambda s, y: s, mg.optim.SGD([w], lr=1.0))
    x = np.array([[1.0, 2.0, 3.0]])
    step(x, np.zeros(1))
    np.testing.assert_array_equal(w.data, 0.5 - x.T)


def test_tensors_that_others_train_are_read_anew():
    ours, others = mg.tensor(2.0, requires_grad=True), mg.tensor(3.0, requires_grad=True)
    step = mg.compile_step(lambda x: ours * others, lambda s, y: s, mg.optim.SGD([ours], lr=1e-300))
    batch = np.zeros((1, 1)), np.zeros(1)
    assert step(*batch).item() == 6
    others.data = np.array(5.0)
    assert step(*batch).item() == 10
    others.data[...] = 7.0
    assert step(*batch).item() == 14
    assert len(step.codes) == 1


def test_samples_with_several_axes_and_integers():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 2, 3)), rng.integers(0, 4, (12, 2))

    def made():
        mg.random.seed(1)
        return nn.Linear(3, 4)

    def loss_fn(scores, y):
        return mg.mean((scores - y[:, :, None]) ** 2)

    ours, theirs = made(), made()
    a, b = (mg.optim.SGD(m.parameters(), lr=0.1) for m in (ours, theirs))
    losses = mg.compile_step(ours, loss_fn, a).run(x, y, batch_size=4, epochs=5, seed=0)
    np.testing.assert_allclose(losses, eager_run(theirs, loss_fn, b, x, y, 4, 5, seed=0), rtol=1e-12)


@pytest.mark.parametrize(("model_dtype", "data_dtype"), [("float64", "float32"), ("float32", "float64")])
def test_dtypes_meet_as_in_eager_steps(model_dtype, data_dtype):
    x, y = data(10, data_dtype)
    ours, theirs = net(model_dtype), net(model_dtype)
    a, b = (mg.optim.SGD(m.parameters(), lr=0.1) for m in (ours, theirs))
    step = mg.compile_step(ours, MSE, a)
    for _ in range(10):
        assert step(x, y).item() == pytest.approx(eager_step(theirs, MSE, b, x, y), rel=1e-5)
    agree(ours.state_dict(), theirs.state_dict(), "float32")


@pytest.mark.parametrize(("norm", "value"), [(0.05, None), (None, 0.01), (0.02, 0.01), (1e9, 1e9)])
def test_clipping(norm, value):
    x, y = data(10)
    ours, theirs = net(), net()
    a, b = (mg.optim.SGD(m.parameters(), lr=0.5) for m in (ours, theirs))
    step = mg.compile_step(ours, MSE, a, clip_norm=norm, clip_value=value)
    for _ in range(20):
        step(x, y)
        b.zero_grad()
        MSE(theirs(mg.tensor(x)), y).backward()
        if value is not None:
            nn.utils.clip_grad_value_(theirs.parameters(), value)
        if norm is not None:
            nn.utils.clip_grad_norm_(theirs.parameters(), norm)
        b.step()
    agree(ours.state_dict(), theirs.state_dict())


# ---- buffers and random numbers ------------------------------------------------------------------------------------


class Running(nn.Module):
    """A buffer that follows the mean of the inputs, and another that counts."""

    def __init__(self):
        self.layer = nn.Linear(3, 1)
        self.register_buffer("mean", np.zeros(3))
        self.register_buffer("steps", np.array(0))

    def forward(self, x):
        if self.training:
            self.mean.data = self.mean._data * 0.9 + 0.1 * mg.mean(x, axis=0)._data
            self.steps.data = self.steps._data + 1
        return self.layer(x - self.mean)


def test_buffers_are_written_back():
    X, Y = data()
    models = []
    for _ in range(2):
        mg.random.seed(0)
        models.append(Running())
    ours, theirs = models
    a, b = (mg.optim.SGD(m.parameters(), lr=0.1) for m in models)
    step = mg.compile_step(ours, MSE, a)
    step.run(X, Y, batch_size=6, epochs=3, seed=0)
    eager_run(theirs, MSE, b, X, Y, 6, 3, seed=0)
    agree(ours.state_dict(), theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())  # other arrays from here on
    eager_step(ours, MSE, a, X[:6], Y[:6])
    eager_step(theirs, MSE, b, X[:6], Y[:6])
    step(X[:6], Y[:6])
    eager_step(theirs, MSE, b, X[:6], Y[:6])
    agree(ours.state_dict(), theirs.state_dict())
    assert ours.steps.item() == 14


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_normalisation_and_class_indices(momentum):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(22, 3)), rng.integers(0, 4, 22)

    def made():
        mg.random.seed(0)
        return nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6, momentum=momentum), nn.ReLU(), nn.Linear(6, 4))

    ours, theirs = made(), made()  # (Adam would make much of the rounding that is the gradient of the first bias)
    a, b = (mg.optim.SGD(m.parameters(), lr=0.5) for m in (ours, theirs))
    loss_fn = nn.CrossEntropyLoss()
    losses = mg.compile_step(ours, loss_fn, a).run(X, Y, batch_size=6, epochs=5, seed=0)
    np.testing.assert_allclose(losses, eager_run(theirs, loss_fn, b, X, Y, 6, 5, seed=0), rtol=1e-10)
    agree(ours.state_dict(), theirs.state_dict())
    assert ours[1].num_batches_tracked.item() == 20


def test_a_class_index_out_of_range_raises_and_changes_nothing():
    model = nn.Linear(3, 4)
    step = mg.compile_step(model, nn.CrossEntropyLoss(), mg.optim.SGD(model.parameters(), lr=0.1))
    x = np.zeros((2, 3))
    step(x, np.array([0, 3]))
    before = model.state_dict()
    for call in (step, step.run):
        with pytest.raises((IndexError, ValueError)):
            call(x, np.array([0, 4]))
    agree(model.state_dict(), before)
    right = nn.functional.cross_entropy(model(x), np.array([0, 3])).item()
    assert step(x, np.array([0, 3])).item() == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("bad", [[[3, 4], [7, 5]], [[3, 4], [4, -1]]])
def test_an_index_without_a_row_raises_the_eager_error_and_changes_nothing(bad):
    model = nn.Sequential(nn.Sequential(nn.Embedding(5, 2), nn.Flatten()), nn.Linear(4, 1))
    step = mg.compile_step(model, MSE, mg.optim.SGD(model.parameters(), lr=0.1))
    x, bad, y = np.array([[0, 1], [4, 2]]), np.array(bad), np.ones((2, 1))
    with pytest.raises(ValueError, match='^Embedding "0.0": the table has rows 0 to 4, and the indices run') as eager:
        model(bad)
    before = model.state_dict()
    for first in (True, False):
        for call in (step, step.run):
            with pytest.raises(type(eager.value), match=f"^{re.escape(str(eager.value))}$"):
                call(bad, y)
            agree(model.state_dict(), before)
        if first:
            step(x, y)
            before = model.state_dict()


def dropping(p=0.5):
    mg.random.seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(p), nn.Linear(5, 4), nn.Dropout(p), nn.Linear(4, 1))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_dropout_draws_the_same_numbers(dtype):
    X, Y = data(dtype=dtype)
    ours, theirs = dropping().astype(dtype), dropping().astype(dtype)
    a, b = (mg.optim.SGD(m.parameters(), lr=0.1) for m in (ours, theirs))
    mg.random.seed(5)
    losses = mg.compile_step(ours, MSE, a).run(X, Y, batch_size=6, epochs=6)
    after = mg.random.uniform().item()
    mg.random.seed(5)
    right = [eager_step(theirs, MSE, b, x, y) for _ in range(6) for x, y in mg.data.batches(X, Y, 6)]
    assert mg.random.uniform().item() == after
    np.testing.assert_allclose(losses, right, rtol=TOLERANCE[dtype])
    agree(ours.state_dict(), theirs.state_dict(), dtype)


def test_slices_are_short_where_much_is_drawn(monkeypatch):
    monkeypatch.setattr(native, "DRAWN", 1000)
    X, Y = data(60)
    model = dropping()
    step = mg.compile_step(model, MSE, mg.optim.SGD(model.parameters(), lr=0.1))
    code = step.ready(X, Y, 6)
    code.seconds = 0.0
    assert code.drawn == 6 * (5 + 4) * 8
    assert Epoch(step, X, Y, 6, np.arange(60)).length(code) == 2


# ---- slices --------------------------------------------------------------------------------------------------------


def trained(monkeypatch, length, make=net):
    monkeypatch.setattr(Epoch, "length", lambda self, code: min(length, self.whole - self.done))
    X, Y = data()
    model = make()
    mg.random.seed(1)
    step = mg.compile_step(model, MSE, mg.optim.Adam(model.parameters(), lr=0.05))
    return step.run(X, Y, batch_size=4, epochs=5).tolist(), {k: v.tolist() for k, v in model.state_dict().items()}


@pytest.mark.parametrize("make", [net, dropping])
def test_the_result_is_the_same_to_the_bit_whatever_the_slices(monkeypatch, make):
    one, three, whole = (trained(monkeypatch, length, make) for length in (1, 3, 100))
    assert one == three == whole


def test_parameters_of_several_dtypes_are_updated_in_their_own():
    """To the bit, as the eager optimizer does: a rule that computes in float64 rounds otherwise."""
    found = []
    for compile in (False, True):
        ps = [mg.tensor(np.linspace(0.1, 1, 50).astype(d), requires_grad=True) for d in ("f4", "f8", "f4")]
        sgd, x = mg.optim.SGD([{"params": [p]} for p in ps], lr=0.1), np.full((1, 1), 0.3)
        loss = lambda x, y, ps=ps: mg.sum(mg.stack([mg.sum(p * x) for p in ps]))  # noqa: E731
        if compile:
            mg.compile_step(lambda x: x, loss, sgd)(x, x)
        else:
            loss(x, x).backward()
            sgd.step()
        found.append([p.data for p in ps])
    for ours, right in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, right)


def test_several_epochs_at_a_time_are_the_same(monkeypatch):
    X, Y = data(24)
    results = []
    for together in (1, 50, 10**6):
        monkeypatch.setattr(native, "TOGETHER", together)
        model = net()
        step = mg.compile_step(model, MSE, mg.optim.Adam(model.parameters(), lr=0.05))
        results.append(step.run(X, Y, batch_size=4, epochs=7, seed=2).tolist())
    assert results[0] == results[1] == results[2]
    assert len(results[0]) == 42


def test_ctrl_c_between_slices_leaves_whole_steps(monkeypatch):
    X, Y = data(24)
    ours, theirs = net(), net()
    a, b = (mg.optim.Adam(m.parameters(), lr=0.05) for m in (ours, theirs))
    step = mg.compile_step(ours, MSE, a)
    monkeypatch.setattr(Epoch, "length", lambda self, code: 2)
    advance, slices = Epoch.advance, []

    def struck(self):
        slices.append(None)
        if len(slices) == 3:
            raise KeyboardInterrupt
        advance(self)

    monkeypatch.setattr(Epoch, "advance", struck)
    with pytest.raises(KeyboardInterrupt):
        step.run(X, Y, batch_size=4, epochs=2, seed=0)
    for i, (x, y) in enumerate(mg.data.batches(X, Y, 4, seed=0)):
        if i < 4:
            eager_step(theirs, MSE, b, x, y)
    agree(ours.state_dict(), theirs.state_dict())
    agree(a.state_dict()["state"], b.state_dict()["state"])


# ---- what is not finite --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 3, 100])
def test_a_loss_that_is_not_finite_stops_before_its_step(monkeypatch, length):
    monkeypatch.setattr(Epoch, "length", lambda self, code: min(length, self.whole - self.done))
    X, Y = data(24)
    X[17] = 1e200  # (its square overflows)
    ours, theirs = nn.Linear(3, 1), nn.Linear(3, 1)
    theirs.load_state_dict(ours.state_dict())
    a, b = (mg.optim.SGD(m.parameters(), lr=0.01) for m in (ours, theirs))
    with np.errstate(all="ignore"):
        losses = mg.compile_step(ours, MSE, a).run(X, Y, batch_size=4, shuffle=True, seed=0)
        right = []
        for x, y in mg.data.batches(X, Y, 4, seed=0):
            loss = MSE(theirs(mg.tensor(x)), y)
            right.append(loss.item())
            if not np.isfinite(loss.item()):
                break
            eager_step(theirs, MSE, b, x, y)
    assert 1 < len(right) < 6
    np.testing.assert_allclose(losses, right, rtol=1e-12)
    agree(ours.state_dict(), theirs.state_dict())
    agree(a.state_dict()["state"], b.state_dict()["state"])


def test_a_gradient_that_is_not_finite_changes_nothing():
    w = mg.tensor([0.0, 1.0], requires_grad=True)
    adam = mg.optim.Adam([w], lr=0.1)
    step = mg.compile_step(lambda x: mg.sum(mg.sqrt(w)), lambda s, y: s, adam)
    with np.errstate(all="ignore"):
        assert step(np.zeros((1, 1)), np.zeros(1)).item() == 1
    assert w.tolist() == [0, 1]
    assert adam.state_dict()["state"] == {}


def test_a_norm_beyond_the_dtype_stops_as_it_does_eagerly():
    w = mg.tensor(np.float32([1e-3]), requires_grad=True)
    step = mg.compile_step(lambda x: w * np.float32(1e25), lambda s, y: mg.sum(s), mg.optim.SGD([w], lr=0.1))
    step(np.zeros((1, 1)), np.zeros(1))
    assert w.tolist() == [np.float32(1e-3)]


# ---- changes of the model ------------------------------------------------------------------------------------------


def test_modes_and_attributes_are_noticed():
    x, y = data(6)
    model = dropping(0.9)
    step = mg.compile_step(model, MSE, mg.optim.SGD(model.parameters(), lr=1e-300))
    noisy = {step(x, y).item() for _ in range(5)}
    assert len(noisy) == 5
    model.eval()
    quiet = {step(x, y).item() for _ in range(5)}
    assert len(quiet) == 1
    assert quiet.pop() == pytest.approx(MSE(model(x), y).item(), rel=1e-12)
    assert len(step.codes) == 2
    model.train()
    assert len({step(x, y).item() for _ in range(5)}) == 5
    assert len(step.codes) == 2
    for layer in (model[2], model[4]):
        layer.p = 0.0
    np.testing.assert_allclose([step(x, y).item() for _ in range(2)], MSE(model.eval()(x), y).item(), rtol=1e-12)
    assert len(step.codes) == 3


FACTOR = 1.0


def test_variables_around_are_noticed():
    global FACTOR
    x, y = data(6)
    model, shift = net(), 0.0
    step = mg.compile_step(model, lambda p, y: FACTOR * MSE(p, y) + shift, mg.optim.SGD(model.parameters(), lr=1e-300))
    first = step(x, y).item()
    shift = 3.0
    assert step(x, y).item() == pytest.approx(first + 3, rel=1e-12)
    FACTOR = 2.0
    assert step(x, y).item() == pytest.approx(2 * first + 3, rel=1e-12)
    FACTOR = 1.0


def test_a_parameter_that_is_replaced_is_noticed():
    x, y = data(6)
    model = net()
    sgd = mg.optim.SGD(model.parameters(), lr=0.1)
    step = mg.compile_step(model, MSE, sgd)
    step(x, y)
    model[2].weight = nn.Parameter(np.full((1, 5), 0.25))
    expected = MSE(model(x), y).item()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mg.MinigradWarning)  # the optimizer still holds the old one
        assert step(x, y).item() == pytest.approx(expected, rel=1e-12)
    assert model[2].weight.tolist() == [[0.25] * 5]


def test_values_given_to_parameters_are_taken_over():
    x, y = data(6)
    model = net()
    step = mg.compile_step(model, MSE, mg.optim.SGD(model.parameters(), lr=0.1))
    state = model.state_dict()
    first = [step(x, y).item() for _ in range(3)]
    model.load_state_dict(state)
    assert [step(x, y).item() for _ in range(3)] == first
    model[2].weight.data[...] = 0.0
    model[2].bias.data[...] = 0.0
    assert step(x, y).item() == pytest.approx(np.mean(y**2), rel=1e-12)
    assert len(step.codes) == 1


def test_another_dtype_is_refused_as_by_the_optimizer():
    x, y = data(6)
    model = net()
    step = mg.compile_step(model, MSE, mg.optim.SGD(model.parameters(), lr=0.1))
    step(x, y)
    model.astype(np.float32)
    with pytest.raises(TypeError, match="make the optimizer after such a change"):
        step(x.astype(np.float32), y.astype(np.float32))


def test_a_graph_from_before_a_compiled_step_is_known_to_be_old():
    x, y = data(6)
    model = net()
    step = mg.compile_step(model, MSE, mg.optim.SGD(model.parameters(), lr=0.1))
    loss = MSE(model(x), y)
    step(x, y)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()
    MSE(model(x), y).backward()
    assert model[0].weight.grad is not None
    step(x, y)
    assert model[0].weight.grad is None


# ---- what cannot be captured ---------------------------------------------------------------------------------------


def refused(model, loss_fn=MSE, optimizer=None):
    x, y = data(6)
    held = list(model.parameters()) if isinstance(model, nn.Module) else []
    step = mg.compile_step(model, loss_fn, optimizer or mg.optim.SGD(held, lr=0.1))
    with pytest.raises((CaptureError, NoNative)) as error:
        step(x, y)
    return str(error.value)


def test_a_look_at_values_is_refused_and_leaves_everything_as_it_was():
    class Looking(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(3, 1)
            self.register_buffer("calls", np.array(0.0))

        def forward(self, x):
            self.calls.data = self.calls._data + 1
            x = nn.functional.dropout(x)
            return self.layer(x) if mg.sum(x).item() > 0 else self.layer(-x)

    model = Looking()
    before = copy.deepcopy(model.state_dict())
    mg.random.seed(4)
    assert "Python number" in refused(model)
    assert mg.random.uniform().item() == np.random.default_rng(4).uniform()
    agree(model.state_dict(), before)


def test_python_that_remembers_its_calls_is_refused():
    class Counting(nn.Module):
        def __init__(self):
            self.layer, self.calls = nn.Linear(3, 1), 0

        def forward(self, x):
            self.calls += 1
            return self.layer(x)

    model = Counting()
    says = r"^test_step\.py:\d+: Counting\.calls is changed by every call, .* by self\.calls\.data\[\.\.\.\] \+= 1"
    assert re.search(says, refused(model))
    assert model.calls == 0
    seen = []

    def noting(prediction, y):
        seen.append(prediction.shape)
        return MSE(prediction, y)

    assert "seen is changed by every call" in refused(net(), noting)
    numbers = {"calls": 0}

    def numbering(prediction, y):
        numbers["calls"] += 1
        return MSE(prediction, y)

    assert "numbers['calls'] is changed" in refused(net(), numbering)


class Centred(nn.Module):
    """Less a running mean, which is replaced, or written in place."""

    def __init__(self, in_place):
        self.layer, self.in_place = nn.Linear(3, 1), in_place
        self.register_buffer("m", np.zeros(1))
        self.register_buffer("n", np.array(0))

    def forward(self, x):
        h = self.layer(x)
        m = 0.9 * self.m.data + 0.1 * h.detach().data.mean(axis=0)
        if self.in_place:
            self.m.data[...] = m
            self.n.data[...] += 1
        else:
            self.m = m
        return h - self.m


def test_a_buffer_that_is_replaced_is_refused_with_the_line_and_what_to_write():
    """Who holds the tensor from before keeps its values in eager steps, which native code could only overwrite."""
    model = Centred(in_place=False)
    before = vars(model).copy()
    says = r"^test_step\.py:\d+: Centred\.m is changed by every call, .* by self\.m\.data\[\.\.\.\] = "
    assert re.search(says, refused(nn.Sequential(model)))
    with pytest.raises(CaptureError, match=says):
        mg.compile(model)(data(6)[0])
    assert vars(model) == before
    assert np.isfinite(model(data(6)[0]).data).all()


def test_a_buffer_that_is_written_in_place_is_that_of_eager_steps():
    X, Y = data(24)
    mg.random.seed(0)
    ours = Centred(in_place=True)
    theirs = copy.deepcopy(ours)
    a, b = (mg.optim.SGD(m.parameters(), lr=0.1) for m in (ours, theirs))
    losses = mg.compile_step(ours, MSE, a).run(X, Y, batch_size=6, epochs=3, seed=0)
    np.testing.assert_allclose(losses, eager_run(theirs, MSE, b, X, Y, 6, 3, seed=0), rtol=1e-10)
    agree(ours.state_dict(), theirs.state_dict())
    assert ours.n.item() == 12


def test_a_module_that_the_function_makes_may_hold_what_is_traced():
    mg.random.seed(0)
    ours = mg.compile(lambda x: nn.Linear(3, 2)(x))
    x = data(4)[0]
    mg.random.seed(1)
    found = ours(x)
    mg.random.seed(1)
    np.testing.assert_allclose(found.data, nn.Linear(3, 2)(x).data, rtol=1e-12)


def test_what_forward_keeps_does_not_leak():
    class Keeping(nn.Module):
        def __init__(self):
            self.layer, self.last = nn.Linear(3, 1), None

        def forward(self, x):
            self.last = self.layer(x)
            return self.last

    model = Keeping()
    assert "Keeping.last is changed" in refused(model)
    assert model.last is None


def test_hooks_are_refused_also_those_that_come_later():
    model, calls = net(), []
    x, y = data(6)
    step = mg.compile_step(model, MSE, mg.optim.SGD(model.parameters(), lr=0.1))
    step(x, y)
    handle = model[0].weight.register_hook(lambda g: calls.append(g.shape))
    with pytest.raises(CaptureError, match="has a hook"):
        step(x, y)
    handle.remove()
    step(x, y)
    assert calls == []


def test_debugging_and_own_steps_are_refused():
    model = net()
    x, y = data(6)
    step = mg.compile_step(model, MSE, mg.optim.SGD(model.parameters(), lr=0.1))
    step(x, y)
    with mg.debug(), pytest.raises(CaptureError, match=r"inside mg.debug\(\)"):
        step(x, y)
    step(x, y)

    class Own(mg.optim.SGD):
        def step(self):
            super().step()

    assert "the optimizer has its own step" in refused(model, optimizer=Own(model.parameters(), lr=0.1))


# ---- bad arguments -------------------------------------------------------------------------------------------------


def test_bad_parts_are_refused():
    model = net()
    sgd = mg.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match="optimizer must be one of mg.optim's"):
        mg.compile_step(model, MSE, model)
    with pytest.raises(TypeError, match="optimizer must be one of mg.optim's"):
        mg.compile_step(model, MSE, mg.optim.SGD)
    with pytest.raises(TypeError, match="loss_fn must be something to call.*the class MSELoss itself"):
        mg.compile_step(model, nn.MSELoss, sgd)
    with pytest.raises(TypeError, match="model must be something to call"):
        mg.compile_step(None, MSE, sgd)
    with pytest.raises(ValueError, match="the optimizer holds none of the model's parameters"):
        mg.compile_step(net(), MSE, sgd)
    with pytest.raises(ValueError, match="clip_norm must be a positive number, not -1"):
        mg.compile_step(model, MSE, sgd, clip_norm=-1)
    with pytest.raises(TypeError, match="compile_step: clip_value must be a positive number or None, not 'a'"):
        mg.compile_step(model, MSE, sgd, clip_value="a")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((4, 3)), np.zeros((3, 1)), r"x \(4, 3\) and y \(3, 1\) have 4 and 3 samples"),
        (
            (np.zeros(4), np.zeros(4)),
            np.zeros((4, 1)),
            r"x \(2, 4\) and y \(4, 1\) have 2 and 4 samples; the first axis must agree: np\.stack\(\.\.\., axis=1\) "
            "makes one array, whose first axis is the samples, of a tuple of columns$",
        ),
        (
            [np.zeros(4), np.zeros((4, 2))],
            np.zeros((4, 1)),
            r"its first axis the samples, not list: np\.stack\(\.\.\., axis=1\) makes one array",
        ),
        ([[0.0] * 4, [0.0] * 4], np.zeros((4, 1)), "the first axis must agree$"),
        (np.zeros((0, 3)), np.zeros((0, 1)), r"no samples: x has shape \(0, 3\)"),
        (np.array("text"), np.zeros(1), "x must be an array of numbers"),
        (["a", "b"], np.zeros(2), "x must be an array of numbers"),
        (np.zeros((2, 3)), 1.0, "y must be an array of numbers, its first axis the samples"),
        (np.zeros((2, 3), complex), np.zeros(2), "not complex128"),
        ([[1.0], [1.0, 2.0]], np.zeros(2), "x must be an array of numbers, its first axis the samples, not list"),
        (np.zeros((2, 3)), {1, 2}, "y must be an array of numbers, its first axis the samples, not set"),
        (np.zeros((2, 3), np.float16), np.zeros(2), "x is float16, and native code reads float32 and float64"),
        (np.zeros((2, 3), np.longdouble), np.zeros(2), "x is .*, and native code reads float32 and float64"),
        (np.zeros((2, 3)), np.ma.zeros(2), r"y is a masked array, whose mask would be lost: fill it, by \.filled"),
    ],
)
def test_bad_batches_are_refused(x, y, message):
    model = net()
    step = mg.compile_step(model, MSE, mg.optim.SGD(model.parameters(), lr=0.1))
    for call in (step, step.run):
        with pytest.raises((TypeError, ValueError), match=message):
            call(x, y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an integer, not 2.5"),
        ({"epochs": -1}, ValueError, "epochs must be at least 0, not -1"),
        ({"epochs": "ten"}, TypeError, "epochs must be an integer, not 'ten'"),
        ({"shuffle": "no"}, TypeError, "shuffle must be True or False, not 'no'"),
        ({"seed": "a"}, TypeError, "seed must be an integer of at least 0, a generator, or None, not 'a'"),
        ({"seed": -1}, ValueError, "seed must be an integer of at least 0, a generator, or None, not -1"),
    ],
)
def test_bad_options_of_a_run_are_refused(options, error, message):
    model = net()
    step = mg.compile_step(model, MSE, mg.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(error, match=message):
        step.run(*data(), **options)


def test_samples_in_another_order_of_bytes():
    model, x, y = net(), *data(6)
    step = mg.compile_step(model, MSE, mg.optim.SGD(model.parameters(), lr=0.1))
    right = MSE(model(mg.tensor(x)), y).item()
    assert step(x.astype(">f8"), y).item() == pytest.approx(right, rel=1e-12)
    assert step.run(x.astype(">f8"), y.astype(">f8"))[0] < right


def test_bad_losses_are_refused():
    model = net()
    sgd = mg.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match=r"must return a scalar tensor.*not a tensor of shape \(6, 1\)"):
        mg.compile_step(model, lambda p, y: (p - y) ** 2, sgd)(*data(6))
    with pytest.raises(TypeError, match="must return a scalar tensor.*not float"):
        mg.compile_step(model, lambda p, y: 0.5, sgd)(*data(6))
    with pytest.raises(RuntimeError, match="was not computed from any tensor with requires_grad=True"):
        mg.compile_step(model, lambda p, y: mg.sum(y), sgd)(*data(6))
    other = mg.tensor(1.0, requires_grad=True)
    with pytest.raises(CaptureError, match="no parameter of the optimizer gets a gradient: the loss depends on none"):
        mg.compile_step(model, lambda p, y: other * other, sgd)(*data(6))


def test_no_epochs_and_no_source():
    model = net()
    step = mg.compile_step(model, MSE, mg.optim.SGD(model.parameters(), lr=0.1))
    assert step.run(*data(), epochs=0).shape == (0,)
    with pytest.raises(RuntimeError, match="nothing is compiled before the first step"):
        step.source  # noqa: B018
    step(*data(6))
    assert "def run(" in step.source
