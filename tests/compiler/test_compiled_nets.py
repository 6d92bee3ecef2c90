"""The six nets of the benchmark: compiled training beside eager training, and the same bits however it is cut up."""

import numpy as np
import pytest

from minigrad import parallel
from minigrad.bench.nets import BATCHES, NETS
from minigrad.bench.ours import Eager, Run
from minigrad.compiler.step import Epoch

STEPS = 100


def of_dtype(name, dtype, batch):
    """The net, its parameters and inputs in this dtype; `batch` is the size of a batch, or None for the benchmark's."""
    net = NETS[name]
    net = net._replace(batch=batch or net.batch)

    def parameters():
        return {name: value.astype(dtype) for name, value in net.parameters().items()}

    x, y = net.data(BATCHES)
    return net._replace(parameters=parameters), (x if x.dtype.kind == "i" else x.astype(dtype)), y


def eager(name, dtype, batch=None):
    net, x, y = of_dtype(name, dtype, batch)
    peer, losses = Eager(net, 1), []
    peer.start()
    for i in range(STEPS):
        at = slice(i % BATCHES * net.batch, (i % BATCHES + 1) * net.batch)
        peer.x, peer.y = x[at], y[at]
        losses.append(peer.step().item())
    return np.array(losses), {name: p.numpy() for name, p in peer.p.items()}


def compiled(name, dtype, batch=None, shuffle=False, epochs=STEPS // BATCHES):
    net, x, y = of_dtype(name, dtype, batch)
    peer = Run(net, 1)
    peer.start()
    losses = peer.compiled.run(x, y, batch_size=net.batch, epochs=epochs, shuffle=shuffle, seed=0)
    return np.array(losses), {name: p.numpy() for name, p in peer.p.items()}


LARGE = [pytest.param(name, marks=pytest.mark.long) if name in ("lenet", "gpt") else name for name in NETS]


@pytest.mark.parametrize("batch", [6, pytest.param(None, marks=pytest.mark.long)], ids=["small batches", "as it is"])
@pytest.mark.parametrize("name", LARGE)
def test_training_agrees(name, batch):
    (losses, parameters), (right, theirs) = compiled(name, np.float64, batch), eager(name, np.float64, batch)
    assert losses.dtype == np.float64
    np.testing.assert_allclose(losses, right, rtol=1e-9)
    for key, value in theirs.items():
        assert parameters[key].dtype == np.float64
        np.testing.assert_allclose(parameters[key], value, rtol=1e-8, atol=1e-8 * np.abs(value).max(), err_msg=key)


@pytest.mark.long
@pytest.mark.parametrize("name", NETS)
def test_training_in_single_precision_is_as_near_to_double_precision_as_eager_training_is(name):
    ours, theirs, right = (run(name, dtype) for run, dtype in (
        (compiled, np.float32), (eager, np.float32), (eager, np.float64)))  # fmt: skip
    for a, b, exact in [(ours[0], theirs[0], right[0]), *((ours[1][k], theirs[1][k], right[1][k]) for k in right[1])]:
        assert a.dtype == b.dtype or a.ndim == 1
        scale = 1e-6 * np.abs(exact).max()
        assert np.abs(a - exact).max() <= 8 * np.abs(b - exact).max() + scale


def bits(monkeypatch, name, threads, length):
    """What training gives, as bytes, with so many threads and slices of so many steps."""
    with monkeypatch.context() as patch:
        patch.setattr(parallel, "threads", lambda: threads)
        patch.setattr(Epoch, "length", lambda self, code: min(length, self.whole - self.done))
        parallel.helpers.cache_clear()
        losses, parameters = compiled(name, np.float32, shuffle=True, epochs=1)
    parallel.helpers.cache_clear()
    return losses.tobytes(), {key: value.tobytes() for key, value in parameters.items()}


@pytest.mark.parametrize(
    "name", ["mnist", *(pytest.param(name, marks=pytest.mark.long) for name in NETS if name != "mnist")]
)
def test_every_bit_is_the_same_for_any_slices_and_threads(monkeypatch, name):
    one, *others = (bits(monkeypatch, name, *how) for how in [(1, 1), (1, 100), (2, 7), (3, 100)])
    assert all(other == one for other in others)
