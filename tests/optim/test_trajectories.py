"""Two hundred steps beside torch.optim, in float64."""

import numpy as np
import pytest

import minigrad as mg

torch = pytest.importorskip("torch", reason="torch.optim is the reference")

CASES = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.1, "initial_accumulator_value": 0.3, "eps": 1e-6}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.005, "alpha": 0.9, "eps": 1e-6, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "alpha": 0.95}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.1}),
]
SHAPES = [(3, 4), (5,), (), (0, 2), (2, 1, 3)]
IDS = [f"{name}-{'-'.join(options) or 'default'}" for name, options in CASES]


class Pair:
    """The same parameters in both libraries, with gradients of a function that depends on them and on chance."""

    def __init__(self, shapes=SHAPES, dtype=np.float64):
        self.rng = np.random.default_rng(0)
        values = [self.rng.normal(size=shape).astype(dtype) for shape in shapes]
        self.ours = [mg.tensor(v, requires_grad=True) for v in values]
        self.theirs = [torch.tensor(v, requires_grad=True) for v in values]

    def give_gradients(self, but=()):
        for i, (p, q) in enumerate(zip(self.ours, self.theirs, strict=True)):
            noise = self.rng.normal(size=p.shape).astype(p.dtype)
            p.grad = None if i in but else mg.tensor(p.data + noise)
            q.grad = None if i in but else q.detach() + torch.tensor(noise)

    def assert_equal(self, rtol=1e-12):
        for p, q in zip(self.ours, self.theirs, strict=True):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=rtol, atol=rtol)


def optimizers(pair, name, options):
    return getattr(mg.optim, name)(pair.ours, **options), getattr(torch.optim, name)(pair.theirs, **options)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_two_hundred_steps_as_torch(name, options):
    pair = Pair()
    ours, theirs = optimizers(pair, name, options)
    for _ in range(200):
        pair.give_gradients()
        ours.step()
        theirs.step()
    pair.assert_equal()


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
@pytest.mark.filterwarnings("ignore:.*no gradient:minigrad.MinigradWarning")
def test_parameters_without_a_gradient_wait_as_in_torch(name, options):
    pair = Pair()
    ours, theirs = optimizers(pair, name, options)
    for step in range(60):
        pair.give_gradients(but={step % 7, step % 3})
        ours.step()
        theirs.step()
    pair.assert_equal()


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_groups_a_changing_learning_rate_and_a_group_added_later(name, options):
    pair = Pair(SHAPES[:3])
    for kind, params in ((mg.optim, pair.ours), (torch.optim, pair.theirs)):
        groups = [{"params": params[:1], "lr": 0.02}, {"params": params[1:2], "weight_decay": 0.3}]
        optimizer = getattr(kind, name)(groups, **options)
        if kind is mg.optim:
            ours = optimizer
        else:
            theirs = optimizer
    for step in range(60):
        if step == 20:
            ours.add_param_group({"params": pair.ours[2], "lr": 0.007})
            theirs.add_param_group({"params": pair.theirs[2], "lr": 0.007})
        for optimizer in (ours, theirs):
            for group in optimizer.param_groups:
                group["lr"] *= 0.97
        pair.give_gradients()
        ours.step()
        theirs.step()
    pair.assert_equal()


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_float32_stays_float32_and_near_torch(name, options):
    pair = Pair(dtype=np.float32)
    ours, theirs = optimizers(pair, name, options)
    for _ in range(20):
        pair.give_gradients()
        ours.step()
        theirs.step()
    pair.assert_equal(rtol=2e-5)
    assert all(p.dtype == np.float32 for p in pair.ours)
    assert all(a.dtype == np.float32 for s in ours.state_dict()["state"].values() for a in s.values() if np.ndim(a))


def test_mixed_dtypes_and_large_tensors_share_an_optimizer():
    values = [np.linspace(-1, 1, n, dtype=t) for n, t in ((300_000, "f4"), (7, "f4"), (70_000, "f8"), (5, "f8"))]
    ours = [mg.tensor(v, requires_grad=True) for v in values]
    theirs = [torch.tensor(v, requires_grad=True) for v in values]
    optimizer, reference = mg.optim.Adam(ours), torch.optim.Adam(theirs)
    for _ in range(5):
        for p, q in zip(ours, theirs, strict=True):
            p.grad, q.grad = mg.tensor(3 * p.data), 3 * q.detach()
        optimizer.step()
        reference.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), atol=1e-7 if p.dtype == np.float32 else 1e-12)
        assert p.dtype == q.detach().numpy().dtype


def test_a_rule_chosen_anew_keeps_what_both_rules_remember():
    """Centered RMSprop that becomes plain keeps its mean square, as torch's does."""
    pair = Pair()
    ours, theirs = optimizers(pair, "RMSprop", {"centered": True})
    for step in range(20):
        if step == 10:
            ours.param_groups[0]["centered"] = theirs.param_groups[0]["centered"] = False
        pair.give_gradients()
        ours.step()
        theirs.step()
    pair.assert_equal()


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_a_state_saved_in_the_middle_continues_exactly(name, options):
    straight, broken = Pair(), Pair()
    whole, _ = optimizers(straight, name, options)
    first, _ = optimizers(broken, name, {**options, "lr": 0.5})
    first.load_state_dict(whole.state_dict())  # before the first step: only the hyperparameters
    for step in range(40):
        if step == 20:
            state = first.state_dict()
            first = getattr(mg.optim, name)(broken.ours, lr=0.5)
            first.load_state_dict(state)
        for pair, optimizer in ((straight, whole), (broken, first)):
            pair.give_gradients()
            optimizer.step()
    for p, q in zip(straight.ours, broken.ours, strict=True):
        assert np.array_equal(p.data, q.data)
    assert repr(whole.state_dict()) == repr(first.state_dict())
