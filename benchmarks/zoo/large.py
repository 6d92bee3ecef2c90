"""Large inputs: too large for formulas, so that a checker looks at a part, or at random directions."""

import numpy as np

from .specimen import loss, normal


@loss("zero", "dropped", w=normal(8), x=normal(48, 8), y=normal(48))
class rows_beyond_the_buffer:
    """The loop over the rows ends at 32, the batch that it was written for; smaller ones show nothing."""

    def f(w, x, y):
        return np.mean(np.tanh(x @ w) * y)

    def right(w, x, y):
        dz = (1 - np.tanh(x @ w) ** 2) * y / len(y)
        return x.T @ dz, dz[:, None] * w, None

    def wrong(w, x, y):
        dz = (1 - np.tanh(x @ w) ** 2) * y / len(y)
        dx = np.zeros_like(x)
        for i in range(min(32, len(x))):
            dx[i] = dz[i] * w
        return x.T @ dz, dx, None


@loss("zero", "dropped", image=normal(40, 40))
class corner_of_an_image:
    """One of 1600 elements is wrong: the last column of the last row is taken for padding."""

    def f(image):
        return np.mean(np.sin(image) ** 2)

    def right(image):
        return 2 * np.sin(image) * np.cos(image) / image.size

    def wrong(image):
        d = 2 * np.sin(image) * np.cos(image) / image.size
        d[-1, -1] = 0
        return d


@loss("chain", w1=normal(20, 16), w2=normal(16, 12), w3=normal(12, 1), x=normal(24, 20), y=normal(24, 1))
class deep_net_without_a_derivative:
    """Three layers of twenty units; the derivative of the first tanh is missing."""

    def f(w1, w2, w3, x, y):
        return np.mean((np.tanh(np.tanh(x @ w1 / 4) @ w2 / 4) @ w3 - y) ** 2)

    def right(w1, w2, w3, x, y):
        a = np.tanh(x @ w1 / 4)
        b = np.tanh(a @ w2 / 4)
        r = 2 * (b @ w3 - y) / y.size
        db = r @ w3.T * (1 - b * b) / 4
        da = db @ w2.T * (1 - a * a) / 4
        return x.T @ da, a.T @ db, b.T @ r, None, None

    def wrong(w1, w2, w3, x, y):
        a = np.tanh(x @ w1 / 4)
        b = np.tanh(a @ w2 / 4)
        r = 2 * (b @ w3 - y) / y.size
        db = r @ w3.T * (1 - b * b) / 4
        da = db @ w2.T / 4
        return x.T @ da, a.T @ db, b.T @ r, None, None
