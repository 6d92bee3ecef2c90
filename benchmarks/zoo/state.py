"""Memory: values kept from another call, arrays that are shared or overwritten, and numbers that lose digits."""

import numpy as np

from .specimen import loss, normal, op


@op("stale", x=normal(4))
class mask_of_the_first_call:
    """The mask is computed at the first call, and kept for all others."""

    def f(x):
        return np.maximum(x, 0)

    def right(g, y, x):
        return np.where(x > 0, g, 0 * g)

    class wrong:
        mask = None

        def forward(self, x):
            if self.mask is None:
                self.mask = x > 0
            return np.maximum(x, 0)

        def backward(self, g):
            return np.where(self.mask, g, 0 * g)


@op("stale", x=normal(3), z=normal(3))
class layer_used_twice:
    """The layer keeps its output for the way back; used a second time, it keeps that one, for both."""

    def f(x):
        return np.tanh(x)

    def right(g, y, x):
        return g * (1 - y * y)

    class wrong:
        def forward(self, x):
            self.y = np.tanh(x)
            return self.y

        def backward(self, g):
            return g * (1 - self.y * self.y)

    def use(op, x, z):
        return op(x) * op(z)


@op("aliasing", "stale", x=normal(3), z=normal(3))
class buffer_returned_twice:
    """The gradient is written into the layer's own array, and that is handed out: the second overwrites the first."""

    def f(x):
        return x * x

    def right(g, y, x):
        return 2 * g * x

    class wrong:
        buffer = np.empty(3)

        def __call__(self, g, y, x):
            self.buffer[:] = 2 * g * x
            return self.buffer

    def use(op, x, z):
        return op(x) + 3 * op(z)


@op("aliasing", x=normal(4))
class cotangent_overwritten:
    """g[x <= 0] = 0 changes the caller's array, which others were still to read: here, the way past the relu."""

    def f(x):
        return np.maximum(x, 0)

    def right(g, y, x):
        g = g.copy()
        g[x <= 0] = 0
        return g

    def wrong(g, y, x):
        g[x <= 0] = 0
        return g

    def use(op, x):
        return op(x) + x


@loss("aliasing", x=normal(4), y=normal(4))
class residual_in_place:
    """x -= y saves an array, and the slope by the second input is computed from what is left of x."""

    def f(x, y):
        return np.sum((x - y) ** 2 * x)

    def right(x, y):
        r = x - y
        return 2 * r * x + r * r, -2 * r * x

    def wrong(x, y):
        r = x
        r -= y
        return 2 * r * x + r * r, -2 * r * x


@loss("stale", w=normal(3), x=normal(4, 3), y=normal(4))
class gradient_never_zeroed:
    """dw += ... into an array that is kept: the first call is right, and no other."""

    def f(w, x, y):
        return np.mean((x @ w - y) ** 2)

    def right(w, x, y):
        return 2 * x.T @ (x @ w - y) / len(y), None, None

    class wrong:
        dw = 0

        def __call__(self, w, x, y):
            self.dw = self.dw + 2 * x.T @ (x @ w - y) / len(y)
            return self.dw, None, None


@loss("stale", w=normal(3))
class momentum_for_gradient:
    """What is returned is the running mean that the optimizer wants, and not the gradient."""

    def f(w):
        return np.sum(w**4)

    def right(w):
        return 4 * w**3

    class wrong:
        mean = None

        def __call__(self, w):
            g = 4 * w**3
            self.mean = g if self.mean is None else 0.9 * self.mean + 0.1 * g
            return self.mean


@loss("precision", w=normal(3), x=normal(4, 3), y=normal(4))
class gradient_in_whole_numbers:
    """The array for the result takes the type of the labels, which were integers: what is behind the point is cut."""

    def f(w, x, y):
        return np.sum((x @ w - y) ** 2)

    def right(w, x, y):
        return 2 * x.T @ (x @ w - y), None, None

    def wrong(w, x, y):
        dw = np.zeros(3, dtype=int)
        dw[:] = 2 * x.T @ (x @ w - y)
        return dw.astype(float), None, None


@op("zero", x=normal(4))
class mean_by_whole_division:
    """1 // n is 0 for every n above 1."""

    def f(x):
        return np.mean(x * x)

    def right(g, y, x):
        return g * 2 * x / x.size

    def wrong(g, y, x):
        return g * 2 * x * (1 // x.size)


@loss("precision", x=1000 + np.arange(5.0) / 7, y=np.array([0.3, 0.1, -0.4, 0.2, 0.5]))
class single_precision_in_the_middle:
    """The data are cast to float32 before their mean is subtracted: what remains has four digits."""

    def f(x, y):
        return np.mean((x - np.mean(x) - y) ** 2)

    def right(x, y):
        r = x - np.mean(x) - y
        return 2 * (r - np.mean(r)) / x.size, None

    def wrong(x, y):
        x = x.astype(np.float32)
        r = x - np.mean(x) - y.astype(np.float32)
        return (2 * (r - np.mean(r)) / x.size).astype(float), None


@loss("zero", w=normal(3), x=normal(4, 3))
class zeros_returned:
    """The array is made, and the line that fills it is still to be written."""

    def f(w, x):
        return 1e-6 * np.sum(np.tanh(x @ w) ** 2)

    def right(w, x):
        t = np.tanh(x @ w)
        return 2e-6 * x.T @ (t * (1 - t * t)), None

    def wrong(w, x):
        return np.zeros_like(w), None


@loss("zero", "dropped", x=normal(5))
class last_element_left_out:
    """range(n - 1): the last element gets no gradient."""

    def f(x):
        return np.sum(np.exp(x))

    def right(x):
        return np.exp(x)

    def wrong(x):
        d = np.zeros_like(x)
        for i in range(len(x) - 1):
            d[i] = np.exp(x[i])
        return d


@loss("permuted", x=normal(5))
class shifted_by_one:
    """Neighbours share a term, and the gradient of each pair is written one place too far."""

    def f(x):
        return np.sum(x[:-1] * x[1:]) + np.sum(x**3)

    def right(x):
        d = 3 * x**2
        d[:-1] += x[1:]
        d[1:] += x[:-1]
        return d

    def wrong(x):
        d = 3 * x**2
        d[:-1] += x[1:]
        d[1:] += x[:-1]
        return np.roll(d, 1)
