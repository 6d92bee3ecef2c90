"""Six nets beside torch's: from the same weights and batches, the losses of 50 steps are the same."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
STEPS = 50
V, T, C, HEADS = 32, 32, 64, 4  # vocabulary, length, width and heads of the nets for sequences
rng = np.random.default_rng(0)


def mlp(lib, activation, *widths):
    layers = []
    for n, m in zip(widths, widths[1:], strict=False):
        layers += [lib.Linear(n, m), activation()]
    return lib.Sequential(*layers[:-1])


def lenet(lib):
    return lib.Sequential(
        lib.Conv2d(1, 6, 5), lib.ReLU(), lib.MaxPool2d(2),
        lib.Conv2d(6, 16, 5), lib.ReLU(), lib.MaxPool2d(2), lib.Flatten(),
        lib.Linear(256, 120), lib.ReLU(), lib.Linear(120, 84), lib.ReLU(), lib.Linear(84, 10),
    )  # fmt: skip


def recurrent(lib):
    class Net(lib.Module):
        def __init__(self):
            super().__init__()
            self.embedding = lib.Embedding(V, C)
            self.lstm = lib.LSTM(C, C, batch_first=True)
            self.head = lib.Linear(C, V)

        def forward(self, ids):
            return self.head(self.lstm(self.embedding(ids))[0])

    return Net()


def gpt(lib):
    class Block(lib.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = lib.LayerNorm(C), lib.LayerNorm(C)
            self.qkv, self.out = lib.Linear(C, 3 * C, bias=False), lib.Linear(C, C, bias=False)
            self.up, self.down = lib.Linear(C, 4 * C, bias=False), lib.Linear(4 * C, C, bias=False)

        def forward(self, h):
            qkv = self.qkv(self.norm1(h)).reshape(-1, T, 3, HEADS, C // HEADS)
            mixed = lib.functional.scaled_dot_product_attention(
                *(qkv[:, :, i].swapaxes(1, 2) for i in range(3)), is_causal=True
            )
            h = h + self.out(mixed.swapaxes(1, 2).reshape(-1, T, C))
            return h + self.down(lib.functional.gelu(self.up(self.norm2(h)), approximate="tanh"))

    class Net(lib.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.places = lib.Embedding(V, C), lib.Embedding(T, C)
            self.blocks = lib.Sequential(Block(), Block())
            self.norm, self.head = lib.LayerNorm(C), lib.Linear(C, V, bias=False)

        def forward(self, ids):
            places = np.arange(T) if lib is nn else torch.arange(T)
            return self.head(self.norm(self.blocks(self.embedding(ids) + self.places(places))))

    return Net()


def sides(n):
    return rng.normal(size=(n, 2)), np.sign(rng.normal(size=(n, 1)))


def classes(shape, k=10):
    return rng.normal(size=shape), rng.integers(0, k, shape[0])


def tokens():
    return rng.integers(0, V, (16, T)), rng.integers(0, V, (16, T))


def hinge(lib, model, score, side):
    if lib is nn:
        return F.hinge_loss(score, side) + 1e-4 * sum(mg.vdot(p, p) for p in model.parameters())
    return torch.relu(1 - side * score).mean() + 1e-4 * sum((p * p).sum() for p in model.parameters())


def cross_entropy(lib, model, scores, target):
    classes_last = scores.reshape(-1, scores.shape[-1])
    return lib.functional.cross_entropy(classes_last, target.reshape(-1))


# The net, its loss, how a batch is drawn, the optimizer and its settings.
NETS = {
    "moons": (lambda lib: mlp(lib, lib.ReLU, 2, 16, 16, 1), hinge, lambda: sides(100), "SGD", {"lr": 1e-2}),
    "digits": (lambda lib: mlp(lib, lib.ReLU, 64, 64, 10), cross_entropy, lambda: classes((32, 64)), "Adam", {}),
    "mnist": (
        lambda lib: mlp(lib, lib.Tanh, 784, 128, 128, 10), cross_entropy, lambda: classes((128, 784)), "Adam", {},
    ),
    "lenet": (lenet, cross_entropy, lambda: classes((64, 1, 28, 28)), "SGD", {"lr": 1e-2, "momentum": 0.9}),
    "lstm": (recurrent, cross_entropy, tokens, "RMSprop", {"lr": 1e-3}),
    "gpt": (gpt, cross_entropy, tokens, "AdamW", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_fifty_steps_follow_torch(name):
    make, loss_fn, draw, optimizer, settings = NETS[name]
    torch.manual_seed(0)
    theirs, ours = make(torch.nn).double(), make(nn)
    ours.load_state_dict({path: array.numpy() for path, array in theirs.state_dict().items()})
    their_optimizer = getattr(torch.optim, optimizer)(theirs.parameters(), **settings)
    our_optimizer = getattr(mg.optim, optimizer)(ours.parameters(), **settings)
    batches = [draw() for _ in range(4)]  # several, so that the nets cannot learn them by heart at once
    losses = []
    for step in range(STEPS):
        x, y = batches[step % len(batches)]
        our_optimizer.zero_grad()
        ours_now = loss_fn(nn, ours, ours(x), y)
        ours_now.backward()
        our_optimizer.step()
        their_optimizer.zero_grad()
        theirs_now = loss_fn(torch.nn, theirs, theirs(torch.tensor(x)), torch.tensor(y))
        theirs_now.backward()
        their_optimizer.step()
        losses.append((ours_now.item(), theirs_now.item()))
    found, expected = np.array(losses).T
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    assert expected[-4:].mean() < expected[:4].mean(), "it should have learnt something"
