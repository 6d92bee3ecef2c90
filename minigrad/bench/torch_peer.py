"""PyTorch, eager with its fused optimizers, and with the loss compiled."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

from .nets import OPTIMIZERS, C, Net, T
from .peer import Peer

FUSED = {"SGD", "Adam", "AdamW"}  # RMSprop has no fused form


def spoken(torch: Any) -> SimpleNamespace:
    F = torch.nn.functional
    mask = torch.full((T, T), float("-inf")).triu(1)

    def cross_entropy(scores: Any, y: Any) -> Any:
        return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))

    def lstm(e: Any, wx: Any, wh: Any, b: Any) -> Any:
        """Torch's own layer, four times as fast as a loop in Python."""
        start = torch.zeros(1, e.shape[0], C)
        options = (True, 1, 0.0, True, False, True)  # biases, layers, dropout, training, bidirectional, batch first
        return torch.lstm(e, (start, start), [wx.T, wh.T, b, torch.zeros_like(b)], *options)[0]

    def attention(q: Any, k: Any, v: Any) -> Any:
        return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + mask, -1) @ v

    return SimpleNamespace(
        relu=torch.relu, tanh=torch.tanh, transpose=torch.permute, lstm=lstm, attention=attention,
        embedding=F.embedding, gelu=lambda x: F.gelu(x, approximate="tanh"),
        hinge=lambda scores, y: torch.relu(1 - y * scores).mean(),
        cross_entropy=cross_entropy, squares=lambda w: (w * w).sum(),
        conv=F.conv2d, pool=lambda x: F.max_pool2d(x, 2),
        layer_norm=lambda x, gain, shift: F.layer_norm(x, (C,), gain, shift),
    )  # fmt: skip


class Torch(Peer):
    """Eager, as most people use it."""

    library = "torch"

    def __init__(self, net: Net, threads: int) -> None:
        super().__init__(net, threads)
        self.torch: Any = import_module("torch")
        self.torch.set_num_threads(threads)
        self.words = spoken(self.torch)

    def start(self) -> None:
        self.p = {k: self.torch.tensor(v, requires_grad=True) for k, v in self.net.parameters().items()}
        self.batch = self.torch.tensor(self.x), self.torch.tensor(self.y)
        name, options = OPTIMIZERS[self.net.optimizer]
        fused = {"fused": True} if name in FUSED else {}
        self.optimizer = getattr(self.torch.optim, name)(list(self.p.values()), **options, **fused)

    def step(self) -> Any:
        self.optimizer.zero_grad()
        loss = self.loss(self.p, *self.batch)
        loss.backward()
        self.optimizer.step()
        return loss

    def advance(self, steps: int) -> list[float]:
        return [self.step().item() for _ in range(steps)]

    def memory(self) -> int:
        """The peak of what torch's allocator reports to its profiler."""
        profiler = self.torch.profiler
        with profiler.profile(activities=[profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            self.start()
            self.run(3)
        events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
        held = most = 0
        for event in sorted(events, key=lambda e: e.start_ns()):
            held += event.nbytes()
            most = max(most, held)
        return most


class TorchCompile(Torch):
    """The forward and backward pass compiled."""

    def __init__(self, net: Net, threads: int) -> None:
        super().__init__(net, threads)
        self.words.lstm = self.lstm
        self.loss = self.torch.compile(self.loss)  # type: ignore[method-assign]

    def lstm(self, e: Any, wx: Any, wh: Any, b: Any) -> Any:
        """A loop: compiled, it is as fast as the layer, and compiles in a fifth of the time."""
        torch, gates = self.torch, e @ wx + b
        h = c = torch.zeros(e.shape[0], C)
        states = []
        for t in range(T):
            i, f, g, o = (gates[:, t] + h @ wh).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        return torch.stack(states, 1)
