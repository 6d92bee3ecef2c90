import csv
import gc
import math
import signal
import sys
import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.train import accuracy

MSE = nn.MSELoss()


@pytest.fixture
def regression():
    """Targets that a linear map hits exactly, so that the gradient of every single sample vanishes at the solution."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    return x, x @ [[1.0], [-2.0], [0.5]] + 0.7


def linear(seed=0):
    mg.random.seed(seed)
    return nn.Linear(3, 1)


def least_squares(x, y):
    """The closed form, by SVD: (weights, bias)."""
    return np.linalg.lstsq(np.hstack([x, np.ones((len(x), 1))]), y, rcond=None)[0].ravel()


def solution(model):
    return np.concatenate([model.weight.numpy().ravel(), model.bias.numpy()])


def train(model, samples, lr=0.05, loss_fn=MSE, **options):
    return mg.fit(model, loss_fn, samples, mg.optim.SGD(model.parameters(), lr=lr), **{"progress": False, **options})


class Bowl(nn.Module):
    """The quadratic sum(curvature * w^2) / 2, whose gradient is curvature * w; its input does not matter."""

    CURVATURE = np.array([1.0, 10.0])
    START = np.array([1.0, -1.0])

    def __init__(self):
        self.w = nn.Parameter(self.START)

    def forward(self, x):
        return mg.sum(self.CURVATURE * self.w * self.w) / 2

    def descend(self, lr, epochs, **options):
        return train(self, (np.zeros((1, 1)), np.zeros(1)), lr, lambda y, _: y, epochs=epochs, **options)


# The three kinds of gradient descent


@pytest.mark.parametrize("batch_size", [None, 1, 8, 100])
def test_every_batch_size_reaches_the_closed_form(regression, batch_size):
    model = linear()
    history = train(model, regression, epochs=800, batch_size=batch_size, seed=1)
    np.testing.assert_allclose(solution(model), least_squares(*regression), rtol=1e-10)
    assert history.loss[-1] < 1e-20


def test_batch_gradient_descent_reaches_the_closed_form_of_noisy_data(regression):
    x, y = regression
    y = y + np.random.default_rng(1).normal(size=y.shape)
    model = linear()
    train(model, (x, y), lr=0.1, epochs=1000)
    np.testing.assert_allclose(solution(model), least_squares(x, y), rtol=1e-10)


def test_steps_per_epoch_and_what_each_sees():
    ids = np.arange(10.0).reshape(-1, 1)
    seen = []

    def watching(prediction, target):
        seen.append(target.ravel().tolist())
        return MSE(prediction, target)

    x = np.zeros((10, 3))
    train(linear(), (x, ids), loss_fn=watching, epochs=2, batch_size=4, seed=0)
    assert [len(batch) for batch in seen] == [4, 4, 2] * 2
    first, second = sum(seen[:3], []), sum(seen[3:], [])
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    seen.clear()
    train(linear(), (x, ids), loss_fn=watching, epochs=1, batch_size=4, shuffle=False)
    assert sum(seen, []) == list(range(10))
    seen.clear()
    train(linear(), (x, ids), loss_fn=watching, epochs=2)
    assert [len(batch) for batch in seen] == [10, 10]


def test_a_seed_fixes_every_bit(regression):
    def run(seed, library_seed=0):
        mg.random.seed(0)
        model = nn.Linear(3, 1)
        mg.random.seed(library_seed)
        history = train(model, regression, epochs=3, batch_size=4, seed=seed)
        return history.loss, solution(model).tolist()

    assert run(5) == run(5)
    assert run(5) != run(6)
    assert run(None, 7) == run(None, 7)
    assert run(None, 7) != run(None, 8)


def test_a_run_follows_torch_for_fifty_steps():
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 6)), rng.integers(0, 4, 50)
    theirs = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4)).double()
    ours = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    ours.load_state_dict(theirs.state_dict())
    adam = mg.optim.Adam(ours.parameters(), lr=0.01)
    history = mg.fit(ours, nn.CrossEntropyLoss(), (x, y), adam, epochs=10, batch_size=10, seed=3, progress=False)

    adam, order, losses, norms = torch.optim.Adam(theirs.parameters(), lr=0.01), np.random.default_rng(3), [], []
    for _ in range(10):
        for rows in order.permutation(50).reshape(5, 10):
            adam.zero_grad()
            loss = torch.nn.functional.cross_entropy(theirs(torch.tensor(x[rows])), torch.tensor(y[rows]))
            loss.backward()
            norms.append(math.sqrt(sum((p.grad**2).sum().item() for p in theirs.parameters())))
            losses.append(loss.item())
            adam.step()
    np.testing.assert_allclose(history.loss, np.reshape(losses, (10, 5)).mean(1), rtol=1e-10)
    np.testing.assert_allclose(history.grad_norm, np.reshape(norms, (10, 5)).mean(1), rtol=1e-10)
    for path, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[path], value.numpy(), rtol=1e-10, atol=1e-10)


def test_handwritten_digits_are_read():
    x, y = mg.data.digits()
    trained, held_out = mg.data.split(x / 16, y, test=0.2, seed=0)
    mg.random.seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    adam = mg.optim.Adam(model.parameters(), lr=3e-3)
    history = mg.fit(
        model, nn.CrossEntropyLoss(), trained, adam, epochs=40, batch_size=32, validation=held_out, metric="accuracy",
        progress=False, seed=0,
    )  # fmt: skip
    assert history.metric[-1] >= 0.97


# The learning rate


@pytest.mark.parametrize("lr", [0.001, 0.1, 0.19, 0.21])
def test_descent_in_a_bowl_is_geometric(lr):
    bowl = Bowl()
    bowl.descend(lr, epochs=30)
    np.testing.assert_allclose(bowl.w.numpy(), (1 - lr * bowl.CURVATURE) ** 30 * bowl.START, rtol=1e-12)


def test_learning_rate_too_small_right_and_too_large():
    limit = 2 / Bowl.CURVATURE.max()  # gradient descent contracts below 2 / L, L the largest curvature
    losses = {scale: Bowl().descend(scale * limit, epochs=100).loss for scale in (0.001, 0.5, 0.99, 1.01)}
    assert losses[0.001][-1] > 0.5 * losses[0.001][0]
    assert losses[0.5][-1] < 1e-8
    assert losses[0.99][-1] < losses[0.99][0]
    assert losses[1.01][-1] > losses[1.01][0]


def test_a_schedule_may_give_numbers_of_numpys(regression):
    """Of less precision, too, which does not become that of the rate."""
    model = linear()
    sgd = mg.optim.SGD(model.parameters(), lr=0.1)
    history = mg.fit(model, MSE, regression, sgd, epochs=2, schedule=lambda e: np.float32(0.5) ** e, progress=False)
    assert history.lr == [0.1, 0.05]


def test_a_schedule_scales_each_groups_rate_and_is_undone(regression):
    model = linear()
    sgd = mg.optim.SGD([{"params": [model.weight]}, {"params": [model.bias], "lr": 0.01}], lr=0.1)
    seen = []

    def halving(epoch):
        seen.append(epoch)
        return 0.5**epoch

    history = mg.fit(model, MSE, regression, sgd, epochs=3, schedule=halving, progress=False)
    assert seen == [0, 1, 2]
    assert history.lr == [0.1, 0.05, 0.025]
    assert [group["lr"] for group in sgd.param_groups] == [0.1, 0.01]


# The end


def test_convergence_of_the_loss_ends_training():
    history = Bowl().descend(0.05, epochs=1000, stop=mg.Convergence(tol=0.2, patience=3))
    changes = [abs(b - a) <= 0.2 * max(a, b) for a, b in zip(history.loss, history.loss[1:], strict=False)]
    assert changes[-3:] == [True] * 3
    assert not any(all(changes[i : i + 3]) for i in range(len(changes) - 3))  # and not before
    assert history.stopped == "converged: for 3 epochs the loss has changed by at most 0.2 of itself"


def test_convergence_of_the_gradient_ends_training():
    history = Bowl().descend(0.1, epochs=1000, stop=mg.Convergence(tol=1e-3, patience=2, on="gradient"))
    small = [norm <= 1e-3 for norm in history.grad_norm]
    assert small.index(True) == len(small) - 2
    assert history.stopped == "converged: for 2 epochs the norm of the gradient was at most 0.001"


def test_patience_needs_as_many_epochs_as_it_says():
    rule = mg.Convergence(patience=3)
    assert rule(mg.History(loss=[1.0] * 3)) is None
    assert rule(mg.History(loss=[1.0] * 4)) is not None
    assert mg.Convergence(patience=2)(mg.History(loss=[0.0] * 3)) is not None


def test_several_rules_and_rules_of_ones_own():
    stop = [mg.Convergence(1e-30), lambda history: "enough" if history.loss[-1] < 0.1 else None]
    history = Bowl().descend(0.1, epochs=1000, stop=stop)
    assert history.stopped == "enough"
    assert history.loss[-1] < 0.1 <= history.loss[-2]
    assert Bowl().descend(0.1, epochs=4).stopped == "all epochs done"


def test_a_loss_that_is_not_finite_ends_training_before_it_spoils_the_parameters(regression):
    model, states = linear(), []

    def failing(prediction, target):
        states.append(solution(model))
        return MSE(prediction, target) * (math.nan if len(states) == 8 else 1.0)

    with pytest.warns(mg.MinigradWarning, match="in epoch 2, step 3, the loss became nan.*smaller learning rate"):
        history = train(model, regression, loss_fn=failing, batch_size=8, epochs=5)
    assert history.stopped.startswith("diverged")
    assert len(history.loss) == 1
    assert len(states) == 8
    assert solution(model).tolist() == states[-1].tolist()
    assert np.isfinite(states[-1]).all()


def test_a_gradient_that_is_not_finite_ends_training_too():
    model = nn.Sequential()
    model.w = nn.Parameter([0.0, 1.0])
    with pytest.warns(mg.MinigradWarning, match="step 1, the norm of the gradient became inf"):
        train(model, (np.zeros((1, 1)), np.zeros(1)), loss_fn=lambda *_: mg.sum(mg.sqrt(model.w)))
    assert model.w.tolist() == [0, 1]


def test_a_rate_far_too_large_overflows_into_one_sentence():
    bowl = Bowl()
    with pytest.warns(mg.MinigradWarning) as warnings:
        history = bowl.descend(100.0, epochs=1000)
    assert len(warnings) == 1
    assert history.stopped.startswith("diverged")
    assert np.isfinite(bowl.w.numpy()).all()


# Ctrl-C


@pytest.mark.parametrize("where", ["loss", "metric"])
def test_ctrl_c_ends_with_the_whole_epochs_so_far(regression, where):
    model, calls = linear(), {"loss": 0, "metric": 0}

    def called(name):
        calls[name] += 1
        if name == where and calls[name] == 3:
            raise KeyboardInterrupt

    def loss_fn(prediction, target):
        called("loss")
        return MSE(prediction, target)

    def metric(prediction, target):
        called("metric")
        return 0.0

    history = train(model, regression, loss_fn=loss_fn, metric=metric, epochs=10)
    assert history.stopped == "interrupted in epoch 3"
    assert [len(column) for column in (history.loss, history.lr, history.grad_norm, history.metric)] == [2] * 4
    assert len(history.rows()) == 2


def test_ctrl_c_inside_a_step_waits_for_its_end(regression):
    model, whole = linear(), linear()
    train(whole, regression, epochs=3)
    sgd = mg.optim.SGD(model.parameters(), lr=0.05)
    step, taken = sgd.step, []

    def struck():
        taken.append(None)
        if len(taken) == 3:
            signal.raise_signal(signal.SIGINT)
        step()

    sgd.step = struck
    handler = signal.getsignal(signal.SIGINT)
    history = mg.fit(model, MSE, regression, sgd, epochs=10, progress=False)
    assert history.stopped == "interrupted in epoch 3"
    assert solution(model).tolist() == solution(whole).tolist()
    assert signal.getsignal(signal.SIGINT) is handler


def test_training_in_another_thread(regression):
    histories = []
    thread = threading.Thread(target=lambda: histories.append(train(linear(), regression, epochs=3)))
    thread.start()
    thread.join()
    assert len(histories[0].loss) == 3


# Validation and metric


def test_validation_and_metric_are_those_of_the_held_out_samples(regression):
    x, y = regression
    model = linear()
    held_out = (x[30:], y[30:])
    history = train(
        model, (x[:30], y[:30]), epochs=3, validation=held_out, metric=lambda p, t: float(np.abs(p - t).max())
    )
    error = x[30:] @ model.weight.numpy().T + model.bias.numpy() - y[30:]
    assert history.validation_loss[-1] == pytest.approx((error**2).mean(), rel=1e-12)
    assert history.metric[-1] == pytest.approx(np.abs(error).max(), rel=1e-12)
    assert len(history.validation_loss) == len(history.metric) == 3


def test_metric_without_validation_is_that_of_the_training_samples(regression):
    x, y = regression
    model = linear()
    history = train(model, regression, epochs=2, batch_size=8, metric=lambda p, t: float(((p - t) ** 2).mean()))
    error = x @ model.weight.numpy().T + model.bias.numpy() - y
    assert history.metric[-1] == pytest.approx((error**2).mean(), rel=1e-12)
    assert history.validation_loss == []


def test_modes_are_those_of_the_moment_and_put_back(regression):
    class Watch(nn.Module):
        def forward(self, x):
            seen.append((self.training, len(x)))
            return x

    seen = []
    model = nn.Sequential(Watch(), linear()).eval()
    model[1].train()
    x, y = regression
    train(model, (x[:30], y[:30]), epochs=1, batch_size=15, validation=(x[30:], y[30:]))
    assert seen == [(True, 15), (True, 15), (False, 10)]
    assert [module.training for module in model.modules()] == [False, False, True]


@pytest.mark.parametrize(
    ("prediction", "target", "share"),
    [
        ([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], [1, 1, 1], 2 / 3),
        ([[0.1, 0.9], [0.8, 0.2]], [[0.0, 1.0], [0.0, 1.0]], 1 / 2),
        ([[1.5], [-0.5], [2.0]], [[1], [0], [0]], 2 / 3),
        ([1.5, -0.5, 2.0, 1.0], [1, -1, -1, 1], 3 / 4),
    ],
)
def test_accuracy(prediction, target, share):
    assert accuracy(np.array(prediction), np.array(target)) == share


def test_accuracy_refuses_to_broadcast():
    with pytest.raises(ValueError, match=r"predictions \(3, 1\) do not go with targets \(3,\)"):
        accuracy(np.zeros((3, 1)), np.zeros(3))


# History


def test_the_norm_of_the_gradient_is_that_of_all_parameters(regression):
    x, y = regression
    model = linear()
    error = x @ model.weight.numpy().T + model.bias.numpy() - y
    gradient = 2 * np.append(x.T @ error, error.sum()) / len(x)
    history = train(model, regression, epochs=1)
    assert history.grad_norm == [pytest.approx(np.linalg.norm(gradient), rel=1e-12)]


def test_the_loss_of_an_epoch_is_the_mean_over_samples(regression):
    x, y = regression
    losses = []

    def watching(prediction, target):
        loss = MSE(prediction, target)
        losses.append((loss.item(), len(target)))
        return loss

    history = train(linear(), regression, loss_fn=watching, epochs=1, batch_size=16)
    assert [n for _, n in losses] == [16, 16, 8]
    assert history.loss == [pytest.approx(sum(loss * n for loss, n in losses) / 40, rel=1e-14)]


def test_history_as_rows_csv_picture_and_text(regression, tmp_path):
    history = train(linear(), regression, epochs=3, validation=regression)
    assert list(history.rows()[0]) == ["epoch", "loss", "lr", "grad_norm", "validation_loss"]
    history.save_csv(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows == history.rows()
    assert repr(history) == f"History(3 epochs, loss {history.loss[0]:.4g} to {history.loss[2]:.4g}, all epochs done)"
    pytest.importorskip("matplotlib", reason="plot draws with it")
    history.plot(tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    figure = history.plot()
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss", "grad_norm"]  # the learning rate was constant
    varied = train(linear(), regression, epochs=3, schedule=lambda epoch: 0.5**epoch).plot()
    assert [axis.get_ylabel() for axis in varied.axes] == ["loss", "grad_norm", "lr"]
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [history.loss, history.validation_loss]


def test_plot_without_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'minigrad\[plot\]'"):
        mg.History().plot()


def test_progress(regression, capsys):
    train(linear(), regression, epochs=2)
    assert capsys.readouterr() == ("", "")
    history = train(linear(), regression, epochs=2, progress=True, metric=lambda p, t: 0.125)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert f"loss={history.loss[-1]:.4g}" in shown
    assert "metric=0.125" in shown


# Checkpoints


def test_the_checkpoint_is_the_state_of_the_best_epoch(regression, tmp_path):
    path = tmp_path / "best.npz"
    model, states = linear(), []

    def metric(prediction, target):
        states.append(solution(model))
        return 0.0

    rate = [1, 1, 60, 1]  # the third epoch's step is far too long
    history = train(
        model, regression, epochs=4, validation=regression, metric=metric, schedule=rate.__getitem__, checkpoint=path
    )
    assert np.argmin(history.validation_loss) == 1
    best = linear(1)
    best.load_state_dict(np.load(path))
    assert solution(best).tolist() == states[1].tolist()
    assert [file.name for file in tmp_path.iterdir()] == ["best.npz"]


def test_a_checkpoint_is_written_also_after_a_loss_that_was_no_number(regression, tmp_path):
    path, losses = tmp_path / "best.npz", iter([math.nan, 2.0, 3.0])

    def loss_fn(prediction, target):
        return MSE(prediction, target) if prediction.requires_grad else mg.tensor(next(losses))

    model = linear()
    train(model, regression, loss_fn=loss_fn, epochs=2, validation=regression, checkpoint=path)
    assert np.load(path)["weight"].tolist() == model.weight.tolist()


# Costs


def test_steps_leave_no_reference_cycles(regression):
    def cycles(epochs):
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        gc.collect()
        gc.disable()
        try:
            train(model, regression, epochs=epochs, batch_size=4, validation=regression)
            return gc.collect()
        finally:
            gc.enable()

    cycles(1)
    assert cycles(50) == cycles(5)


# Messages


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, not 0"),
        ({"epochs": 2.5}, TypeError, "epochs must be a positive integer, not 2.5"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0"),
        ({"batch_size": "all"}, TypeError, "batch_size must be a positive integer, not 'all'"),
        ({"batch_size": True}, TypeError, "batch_size must be a positive integer, not True"),
        ({"metric": "acuracy"}, ValueError, "unknown metric 'acuracy': did you mean 'accuracy'"),
        ({"validation": np.zeros((3, 3))}, TypeError, r"validation must be a pair \(X, Y\) of arrays, not ndarray"),
        ({"samples": (np.zeros((3, 3)),)}, TypeError, r"samples must be a pair"),
        ({"samples": (np.zeros((3, 3)), np.zeros((4, 1)))}, ValueError, r"Y \(4, 1\) have 3 and 4 samples"),
        ({"samples": ([np.zeros(4)] * 2, np.zeros(4))}, ValueError, r"must agree: np\.stack\(\.\.\., axis=1\) makes"),
        ({"samples": (np.zeros((0, 3)), np.zeros((0, 1)))}, ValueError, r"no samples in samples: X has shape \(0, 3\)"),
        ({"samples": (["a"], ["b"])}, TypeError, "X of samples must be an array of numbers"),
        ({"samples": (np.ma.zeros((3, 3)), np.zeros(3))}, TypeError, "X of samples is a masked array"),
        ({"shuffle": "no"}, TypeError, "shuffle must be True or False, not 'no'"),
        ({"seed": "a"}, TypeError, "seed must be an integer of at least 0"),
        ({"clip_norm": "a"}, TypeError, "fit: clip_norm must be a positive number or None, not 'a'"),
        ({"samples": (np.zeros((2, 3), "f4"), np.zeros((2, 1)))}, TypeError, "are float32 and parameters float64"),
        ({"stop": mg.Convergence}, TypeError, r"stop takes mg.Convergence\(...\)"),
        ({"stop": ["loss"]}, TypeError, "stop takes"),
        ({"schedule": lambda epoch: None}, ValueError, "schedule must return a factor.* not None"),
        ({"checkpoint": "no/such/folder/best.npz"}, FileNotFoundError, "there is no folder no/such/folder"),
        ({"loss_fn": lambda p, t: p - t}, TypeError, "loss_fn must return a scalar tensor"),
        ({"loss_fn": lambda p, t: 0.5}, TypeError, "loss_fn must return a scalar tensor.* not 0.5"),
        ({"optimizer": mg.optim.SGD(linear().parameters(), lr=0.1)}, ValueError, "none of the model's parameters"),
    ],
)
def test_messages(regression, options, error, sentence):
    model = linear()
    arguments = {
        "model": model, "loss_fn": MSE, "samples": regression, "optimizer": mg.optim.SGD(model.parameters(), lr=0.1),
    }  # fmt: skip
    before = solution(model)
    with pytest.raises(error, match=sentence):
        mg.fit(**arguments | {"progress": False} | options)
    assert solution(model).tolist() == before.tolist()


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"on": "los"}, ValueError, "did you mean 'loss'"),
        ({"patience": 0}, ValueError, "patience must be at least 1"),
        ({"tol": 0.0}, ValueError, "tol must be a positive number, not 0.0"),
    ],
)
def test_messages_of_convergence(options, error, sentence):
    with pytest.raises(error, match=sentence):
        mg.Convergence(**options)


def test_the_model_may_be_any_function_and_samples_tensors_or_lists():
    w = mg.tensor([[0.0]], requires_grad=True)
    sgd = mg.optim.SGD([w], lr=0.1)
    mg.fit(lambda x: x @ w, MSE, (mg.tensor([[1.0], [2.0]]), [[3.0], [6.0]]), sgd, epochs=200, progress=False)
    assert w.item() == pytest.approx(3, rel=1e-12)


def test_a_loss_that_goes_to_zero_converges():
    """Relative to itself it never would: from some epoch on it halves and halves, far below what anyone can use."""
    x = np.linspace(-1, 1, 20).reshape(-1, 1)
    model = mg.nn.Linear(1, 1)
    sgd = mg.optim.SGD(model.parameters(), lr=0.5)
    history = mg.fit(model, MSE, (x, 3 * x + 1), sgd, epochs=5000, stop=mg.Convergence(tol=1e-4), progress=False)
    assert history.stopped.startswith("converged")
    assert history.loss[-1] < 1e-8 * history.loss[0]
