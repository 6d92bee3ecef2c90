"""mg.checkpoint: the values and gradients of the function itself, for less memory."""

import gc
import tracemalloc

import numpy as np
import pytest
from catalogue import close, torch

import minigrad as mg
from minigrad import nn

rng = np.random.default_rng(0)
X, W = rng.normal(size=(4, 5)), rng.normal(size=(5, 5))


def layers(n=3, width=5):
    mg.random.seed(0)
    return nn.Sequential(*[nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(n)])


def gradients(parameters, y, create_graph=False):
    for p in parameters:
        p.grad = None
    y.backward(create_graph=create_graph)
    return [p.grad for p in parameters]


def test_modules_and_their_parameters():
    model, x = layers(), mg.tensor(X, requires_grad=True)
    leaves = [x, *model.parameters()]
    expected = gradients(leaves, (model(x) ** 2).sum())
    y = x
    for layer in model:
        y = mg.checkpoint(layer)(y)
    assert [t.name for t in leaves] == [None] * len(leaves)
    for ours, theirs in zip(gradients(leaves, (y**2).sum()), expected, strict=True):
        np.testing.assert_array_equal(ours.data, theirs.data)
    whole = gradients(leaves, (mg.checkpoint(model)(x) ** 2).sum())
    for ours, theirs in zip(whole, expected, strict=True):
        np.testing.assert_array_equal(ours.data, theirs.data)


def test_against_torchs():
    from torch.utils.checkpoint import checkpoint

    x, w = mg.tensor(X, requires_grad=True), mg.tensor(W, requires_grad=True)
    tx, tw = torch.tensor(X, requires_grad=True), torch.tensor(W, requires_grad=True)
    y = mg.checkpoint(lambda x: mg.tanh(x @ w) * x)(mg.sin(x))
    ty = checkpoint(lambda x: torch.tanh(x @ tw) * x, torch.sin(tx), use_reentrant=False)
    (y**2).sum().backward()
    (ty**2).sum().backward()
    close(x.grad, tx.grad, "x")
    close(w.grad, tw.grad, "w")


def f(x, w, scale=1.0, nothing=None):
    return {"y": mg.tanh(x @ w["a"]) * scale, "n": [mg.sum(x * x), nothing, "text", x.argmax()]}


def number(r):
    return (r["y"] ** 2).sum() * r["n"][0]


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: mg.grad(f, argnums=(0, 1)),
        lambda f: mg.hessian(f, argnums=0),
        lambda f: lambda x, w: mg.hvp(lambda w: f(x, w), w, w),
        lambda f: lambda x, w: mg.jvp(f, (x, w), (x, w))[1],
        lambda f: lambda x, w: mg.grad(lambda x: (mg.grad(f)(x, w) ** 2).sum())(x),
        lambda f: lambda x, w: mg.vmap(mg.grad(f, argnums=1), (0, None))(x, w),
        lambda f: mg.grad(lambda x, w: mg.vmap(f, (0, None))(x, w).sum(), argnums=1),
        lambda f: lambda x, w: mg.hvp(lambda w: mg.vmap(f, (0, None))(x, w).sum(), w, w),
    ],
    ids=["grad", "hessian", "hvp", "jvp", "grad of grad", "in vmap", "through vmap", "twice through vmap"],
)
def test_every_transform_and_nests(transform):
    from minigrad.nests import flatten

    w = {"a": W}
    theirs = flatten(transform(lambda x, w: number(f(x, w, scale=2.0)))(X, w))[0]
    within = lambda x, w: f(x, {"a": mg.checkpoint(lambda a: mg.sin(a) * 1.0)(w["a"])}, 2.0)  # noqa: E731
    plain = lambda x, w: f(x, {"a": mg.sin(w["a"])}, 2.0)  # noqa: E731
    ours = flatten(transform(lambda x, w: number(mg.checkpoint(f)(x, w, scale=2.0, nothing=None)))(X, w))[0]
    for a, b in zip(ours, theirs, strict=True):
        close(a, b.data, "gradient", 1e-12)
    theirs = flatten(transform(lambda x, w: number(plain(x, w)))(X, w))[0]
    ours = flatten(transform(lambda x, w: number(mg.checkpoint(within)(x, w)))(X, w))[0]
    for a, b in zip(ours, theirs, strict=True):
        close(a, b.data, "nested", 1e-12)


def test_what_is_in_the_closure():
    """A leaf, a result from before, one that is an argument as well, and one that is returned as it is."""
    found = []
    for run in (lambda f: f, mg.checkpoint):
        w, x = mg.tensor(W, requires_grad=True), mg.tensor(X, requires_grad=True)
        before = mg.exp(w * 0.1)
        y, same = run(lambda t: ((t @ before) * x + w[0], before))(x * 2)  # noqa: B023
        loss = (y * y).sum() + (same * w).sum()
        first = gradients([w, x], loss, create_graph=True)
        second = gradients([w, x], sum((g * g).sum() for g in first))
        found.append([*first, *second])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12)


def test_a_closure_through_vmap_twice():
    """What is the same for all samples receives the sum of their gradients in the gradient's gradient, too."""
    found = []
    for run in (lambda f: f, mg.checkpoint):

        def total(w, run=run):
            return mg.vmap(lambda x: run(lambda x: mg.tanh(x @ w) @ W)(x).sum() ** 2)(X).sum()

        found.append(mg.hvp(total, W, np.ones((5, 5))).data)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_dropout_sees_the_same_mask_again():
    w = mg.tensor(W, requires_grad=True)

    def dropped(x):
        return (mg.tanh(x @ w)) * (mg.random.uniform(size=x.shape) > 0.5) + mg.random.normal(size=x.shape) * w[0]

    results = []
    for run in (lambda f: f, mg.checkpoint):
        mg.random.seed(7)
        y = run(dropped)(mg.tensor(X))
        after = mg.random.normal().item()
        (g,) = gradients([w], (y * y).sum())
        results.append((y.tolist(), after, g.tolist(), mg.random.normal().item()))  # the walk draws nothing for others
    assert results[0] == results[1]
    found = []
    for run in (lambda f: f, mg.checkpoint):
        mg.random.seed(7)
        y = mg.vmap(lambda x: run(lambda x: mg.random.normal() * (x @ w))(x).sum())(X)  # noqa: B023
        mg.random.seed(8)
        found.append(gradients([w], (y * y).sum())[0].data)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-13)


def test_symbols():
    x, w = mg.symbols("x", (2,)), mg.symbols("w", (2,))
    mg.checkpoint(lambda x: mg.sin(x) * w)(x).sum().backward()
    ours = [x.grad.tolist(), w.grad.tolist()]
    x.grad = w.grad = None
    (mg.sin(x) * w).sum().backward()
    assert ours == [x.grad.tolist(), w.grad.tolist()]


def test_no_gradient_is_no_op():
    calls = []

    def counted(x):
        calls.append(0)
        return x * 2

    with mg.no_grad():
        assert not mg.checkpoint(counted)(mg.tensor(X, requires_grad=True)).requires_grad
    y = mg.checkpoint(counted)(mg.tensor(X))
    assert y.is_leaf
    x = mg.tensor(X, requires_grad=True)
    mg.checkpoint(counted)(x).sum().backward()
    assert len(calls) == 4  # the last one twice
    assert x.grad.tolist() == np.full(X.shape, 2.0).tolist()
    x.data[0] = 5.0
    y = mg.checkpoint(counted)(x).sum()
    x.data[0] = 6.0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def peak(run):
    gc.collect()
    tracemalloc.start()
    run()
    top = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return top


def test_a_deep_chain_needs_less_memory():
    """64 layers in 8 parts keep 8 results and those of one part: 16 in place of 128 (two for each layer)."""
    w = mg.tensor(np.eye(100) * 0.5, requires_grad=True)
    x = mg.tensor(rng.normal(size=(500, 100)), requires_grad=True)

    def part(x, n=8):
        for _ in range(n):
            x = mg.tanh(x @ w)
        return x

    def train(f):
        y = x
        for _ in range(8):
            y = f(y)
        y.sum().backward()

    train(part)
    expected, w.grad, x.grad = w.grad.data, None, None
    train(mg.checkpoint(part))
    np.testing.assert_allclose(w.grad.data, expected, rtol=1e-12)
    size = x.data.nbytes
    plain, less = peak(lambda: train(part)), peak(lambda: train(mg.checkpoint(part)))
    assert plain > 128 * size
    assert less < 34 * size


def test_variables_of_a_loop_around_it():
    """When backward runs a layer again, they are those of the last layer."""

    def total(x, *weights, checkpoint):
        for w in weights:
            cell = lambda x: mg.tanh(x @ w)  # noqa: B023, E731
            x = checkpoint(lambda x: cell(x) * mg.sum(w))(x)  # noqa: B023
        return mg.sum(x)

    ours, plain = (
        mg.grad(lambda *xs, c=c: total(*xs, checkpoint=c), (0, 1, 2))(X, W, 2 * W)
        for c in (mg.checkpoint, lambda f: f)
    )  # fmt: skip
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_a_function_that_calls_itself():
    def nested(x, n):
        return mg.sin(nested(x, n - 1)) if n else x * later

    later = mg.tensor(2.0, requires_grad=True)
    mg.checkpoint(nested)(0.5, 3).backward()
    np.testing.assert_array_equal(later.grad.data, mg.grad(lambda t: mg.sin(mg.sin(mg.sin(0.5 * t))))(2.0).data)


def test_nothing_is_left_to_the_garbage_collector():
    model, x = layers(), mg.tensor(X, requires_grad=True)
    mg.checkpoint(model)(x).sum().backward()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        mg.checkpoint(model)(x).sum().backward()
        y = mg.checkpoint(model)(x)
        del y
        gc.collect()
        assert not [o for o in gc.garbage if isinstance(o, (mg.Tensor, np.ndarray))]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
