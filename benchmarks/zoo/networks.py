"""Whole networks with backpropagation written by hand, as in a course."""

import numpy as np

from .specimen import loss, normal

LABELS = np.array([0, 1, 1])


def layers(w1, b1, w2, b2, x):
    """Hidden values and class probabilities of a two-layer net."""
    h = np.tanh(x @ w1 + b1)
    z = h @ w2 + b2
    e = np.exp(z)
    return h, e / np.sum(e, axis=1, keepdims=True)


def cross_entropy(w1, b1, w2, b2, x, label):
    z = np.tanh(x @ w1 + b1) @ w2 + b2
    logp = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    return -np.mean(logp[np.arange(len(label)), label])


def backpropagation(w1, b1, w2, b2, x, label):
    h, p = layers(w1, b1, w2, b2, x)
    dz = (p - np.eye(2)[label]) / len(label)
    dh = dz @ w2.T
    da = dh * (1 - h * h)
    return x.T @ da, np.sum(da, axis=0), h.T @ dz, np.sum(dz, axis=0), None, None


NET = {"w1": normal(2, 3), "b1": normal(3), "w2": normal(3, 2), "b2": normal(2), "x": normal(3, 2), "label": LABELS}


@loss("chain", **NET)
class net_without_tanh:
    """dh goes on into the first layer, past the activation."""

    f, right = cross_entropy, backpropagation

    def wrong(w1, b1, w2, b2, x, label):
        h, p = layers(w1, b1, w2, b2, x)
        dz = (p - np.eye(2)[label]) / len(label)
        dh = dz @ w2.T
        return x.T @ dh, np.sum(dh, axis=0), h.T @ dz, np.sum(dz, axis=0), None, None


@loss("factor", **NET)
class net_divided_twice:
    """Divided by N at the loss, and once more at the weights."""

    f, right = cross_entropy, backpropagation

    def wrong(w1, b1, w2, b2, x, label):
        h, p = layers(w1, b1, w2, b2, x)
        n = len(label)
        dz = (p - np.eye(2)[label]) / n
        da = dz @ w2.T * (1 - h * h)
        return x.T @ da / n, np.sum(da, axis=0), h.T @ dz / n, np.sum(dz, axis=0), None, None


@loss("saved", "stale", **NET, seen="CodingTrain/Toy-Neural-Network-JS#72")
class net_updated_on_the_way:
    """The second layer has made its step when the first layer's gradient is computed with it."""

    f, right = cross_entropy, backpropagation

    def wrong(w1, b1, w2, b2, x, label):
        h, p = layers(w1, b1, w2, b2, x)
        dz = (p - np.eye(2)[label]) / len(label)
        dw2, db2 = h.T @ dz, np.sum(dz, axis=0)
        w2 = w2 - 0.01 * dw2
        da = dz @ w2.T * (1 - h * h)
        return x.T @ da, np.sum(da, axis=0), dw2, db2, None, None


@loss("random", **NET)
class net_with_noise_in_the_gradient:
    """Gradient noise, which helps some trainings, is left switched on."""

    f, right = cross_entropy, backpropagation

    class wrong:
        def __init__(self):
            self.rng = np.random.default_rng(0)

        def __call__(self, *inputs):
            return tuple(
                None if d is None else d + 1e-3 * self.rng.normal(size=d.shape) for d in backpropagation(*inputs)
            )


@loss("branch", "chain", w1=normal(2, 3), w2=normal(3), x=normal(4, 2), y=normal(4))
class relu_masked_by_gradient:
    """The mask is where the gradient is positive, and not where the input was: guided backpropagation."""

    def f(w1, w2, x, y):
        return np.mean((np.maximum(x @ w1, 0) @ w2 - y) ** 2)

    def right(w1, w2, x, y):
        a = x @ w1
        h = np.maximum(a, 0)
        r = 2 * (h @ w2 - y) / len(y)
        dh = np.outer(r, w2)
        return x.T @ np.where(a > 0, dh, 0), h.T @ r, None, None

    def wrong(w1, w2, x, y):
        a = x @ w1
        h = np.maximum(a, 0)
        r = 2 * (h @ w2 - y) / len(y)
        dh = np.outer(r, w2)
        return x.T @ np.where(dh > 0, dh, 0), h.T @ r, None, None


@loss("other-input", b1=normal(3), b2=normal(3), x=normal(2, 3))
class biases_mixed_up:
    """The two biases get each other's gradient."""

    def f(b1, b2, x):
        return np.sum((np.tanh(x + b1) + b2) ** 2)

    def right(b1, b2, x):
        h = np.tanh(x + b1)
        d = 2 * (h + b2)
        return np.sum(d * (1 - h * h), axis=0), np.sum(d, axis=0), None

    def wrong(b1, b2, x):
        h = np.tanh(x + b1)
        d = 2 * (h + b2)
        return np.sum(d, axis=0), np.sum(d * (1 - h * h), axis=0), None


@loss("dropped", w=normal(3, 2), x=normal(2, 3), seen="karpathy/micrograd#2")
class tied_weights_used_twice:
    """An autoencoder with one matrix for both ways: only the way back sends a gradient."""

    def f(w, x):
        return np.sum((np.tanh(x @ w) @ w.T - x) ** 2)

    def right(w, x):
        h = np.tanh(x @ w)
        r = 2 * (h @ w.T - x)
        return x.T @ (r @ w * (1 - h * h)) + r.T @ h, None

    def wrong(w, x):
        h = np.tanh(x @ w)
        r = 2 * (h @ w.T - x)
        return r.T @ h, None


@loss("dropped", a=normal(3), b=normal(3), w=normal(2, 3))
class siamese_with_one_branch:
    """Two inputs go through the same weights, and the gradient comes back through the first only."""

    def f(a, b, w):
        return np.sum((w @ a - np.tanh(w @ b)) ** 2)

    def right(a, b, w):
        t = np.tanh(w @ b)
        d = 2 * (w @ a - t)
        db = -d * (1 - t * t)
        return w.T @ d, w.T @ db, np.outer(d, a) + np.outer(db, b)

    def wrong(a, b, w):
        t = np.tanh(w @ b)
        d = 2 * (w @ a - t)
        db = -d * (1 - t * t)
        return w.T @ d, w.T @ db, np.outer(d, a)


def recurrent_states(w, x):
    h = [np.tanh(x[0])]
    for t in (1, 2):
        h.append(np.tanh(x[t] + h[-1] @ w))
    return h


def recurrent_loss(w, x):
    return np.sum(recurrent_states(w, x)[-1] ** 2)


def recurrent_back(w, x, steps=2, carry=True, add=True):
    """Backpropagation through time, with the ways in which it is cut short."""
    h = recurrent_states(w, x)
    dw, dx = 0 * w, 0 * x
    dh = 2 * h[2]
    for t in (2, 1, 0)[: steps + 1]:
        da = dh * (1 - h[t] * h[t])
        dx[t] = da
        if t:
            part = np.outer(h[t - 1], da)
            dw = dw + part if add else part
            dh = da @ w.T if carry else 0 * dh
    return dw, dx


@loss("dropped", w=normal(2, 2), x=normal(3, 2))
class recurrent_assigned_for_added:
    """dW = ... in the loop over time, where dW += ... is due: the earliest step is what remains."""

    def f(w, x):
        return recurrent_loss(w, x)

    def right(w, x):
        return recurrent_back(w, x)

    def wrong(w, x):
        return recurrent_back(w, x, add=False)


@loss("dropped", w=normal(2, 2), x=normal(3, 2))
class recurrent_without_memory:
    """Only the last step is differentiated; what it inherits is taken for a constant."""

    def f(w, x):
        return recurrent_loss(w, x)

    def right(w, x):
        return recurrent_back(w, x)

    def wrong(w, x):
        return recurrent_back(w, x, carry=False)
