"""Hooks on tensors: called with complete gradients, in order, and what they return takes the gradient's place."""

import gc
import weakref

import numpy as np
import pytest
from catalogue import torch

import minigrad as mg
from minigrad.tensor import Tensor

X = np.array([1.0, -2.0, 3.0])


def leaf(x=X):
    return mg.tensor(x, requires_grad=True)


def test_the_complete_gradient_of_leaves_and_results():
    x, seen = leaf(), []
    y = x * x
    x.register_hook(lambda g: seen.append(("x", g.tolist())))
    y.register_hook(lambda g: seen.append(("y", g.tolist())))
    (y.sum() + (3 * y).sum() + x.sum()).backward()
    assert seen == [("y", [4.0] * 3), ("x", (8 * X + 1).tolist())]
    assert x.grad.tolist() == (8 * X + 1).tolist()


def against_torch(lib, x):
    """The same hooks in both libraries: replaced, looked at, and removed ones, on leaves and results."""
    seen = []
    y = x * x
    kept = lib.sin(y)
    kept.retain_grad()
    kept.register_hook(lambda g: g * 2)
    removed = y.register_hook(lambda g: g * 100)
    y.register_hook(lambda g: seen.append(g.sum().item()))
    y.register_hook(lambda g: g + 1)
    y.register_hook(lambda g: g * g)
    x.register_hook(lambda g: -g)
    removed.remove()
    removed.remove()
    (kept * y).sum().backward()
    return seen[0], np.asarray(kept.grad.detach()), np.asarray(x.grad.detach())


def test_as_torch_has_them():
    ours = against_torch(mg, leaf())
    theirs = against_torch(torch, torch.tensor(X, requires_grad=True))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_without_a_hook_left_nothing_is_kept():
    x = leaf()
    y = x * x
    y.register_hook(lambda g: g).remove()
    y.sum().backward()
    with pytest.warns(mg.MinigradWarning, match="no leaf"):
        assert y.grad is None
    y.retain_grad()
    y.sum().backward()
    assert y.grad.tolist() == [1, 1, 1]


def test_with_create_graph():
    """The hook's function is differentiated with the rest."""
    for create_graph in (False, True):
        x, kinds = leaf(), []
        y = x**3
        y.register_hook(lambda g, kinds=kinds: kinds.append(g.requires_grad))
        y.register_hook(lambda g, x=x: g * mg.sin(x))
        y.sum().backward(create_graph=create_graph)
        np.testing.assert_allclose(x.grad.data, 3 * X**2 * np.sin(X))
        if create_graph:
            g, x.grad = x.grad, None
            g.sum().backward()
            np.testing.assert_allclose(x.grad.data, 6 * X * np.sin(X) + 3 * X**2 * np.cos(X))
    x = leaf()
    x.register_hook(lambda g: g * g)
    assert mg.grad(lambda x: (x * x).sum())(x).tolist() == (2 * X).tolist()  # of another tensor, whose hook it is not


def test_ops_in_hooks_give_tensors_and_record_nothing():
    x, kinds = leaf(), []

    def hook(g):
        y = mg.clip(g, -1, 1) * x
        kinds.append((type(g), type(y), y.requires_grad))
        return y

    x.register_hook(hook)
    (x * x).sum().backward()
    assert kinds == [(Tensor, Tensor, False)]
    np.testing.assert_array_equal(x.grad.data, np.clip(2 * X, -1, 1) * X)
    assert (x * x).requires_grad


def test_a_hook_cannot_spoil_other_gradients():
    a, b = leaf(), leaf()

    def spoil(g):
        g.data[...] = 0

    a.register_hook(spoil)
    (a + b).sum().backward()
    assert a.grad.tolist() == b.grad.tolist() == [1, 1, 1]


def test_arrays_numbers_and_dtypes():
    x = mg.tensor(X.astype(np.float32), requires_grad=True)
    x.register_hook(lambda g: g.numpy() * np.float64(2))
    (x * x).sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == (4 * X).tolist()
    y = leaf(2.0)
    y.register_hook(lambda g: 7.0)
    (y * y).backward()
    assert y.grad.item() == 7


def test_refused():
    x = leaf()
    (x * 2).register_hook(lambda g: g)
    with pytest.raises(RuntimeError, match=r"register_hook: tensor of shape \(3,\) does not require grad"):
        mg.tensor(X).register_hook(lambda g: g)
    with pytest.raises(TypeError, match="register_hook takes a function of the gradient, not int"):
        x.register_hook(3)
    handle = x.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match=r"hook of tensor of shape \(3,\) returned a gradient of shape \(\): it must"):
        x.sum().backward()
    handle.remove()
    x.sum().backward()
    assert x.grad.tolist() == [1, 1, 1]
    x.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        x.sum().backward()
    assert (x * 2).requires_grad  # the mode is what it was


def test_symbols_and_samples():
    x = mg.symbols("x", (2,))
    y = x * x
    y.register_hook(lambda g: g * 3)
    y.sum().backward()
    assert x.grad.tolist() == [6 * s for s in x.data.tolist()]

    def f(x):
        y = x * x
        y.register_hook(lambda g: g * x)
        return y.sum()

    xs = np.stack([X, 2 * X])
    np.testing.assert_array_equal(mg.vmap(mg.grad(f))(xs).data, 2 * xs * xs)
    np.testing.assert_array_equal(mg.grad(lambda v: mg.vmap(f)(v).sum())(xs).data, 2 * xs * xs)


def test_a_hook_keeps_no_graph_alive():
    x = leaf()
    y = x * x
    handle = y.register_hook(lambda g: g)
    gone = weakref.ref(y)
    gc.disable()
    try:
        del y
        assert gone() is None
    finally:
        gc.enable()
    handle.remove()


def test_what_a_hook_returns_stays_its_own():
    mine = mg.tensor([5.0, 5.0])
    w = mg.tensor([3.0, 4.0], requires_grad=True)
    w.register_hook(lambda g: mine)
    (w * 2).sum().backward()
    w.grad.data[:] = 0
    assert mine.tolist() == [5.0, 5.0]
