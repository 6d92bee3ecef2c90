"""Right gradients that are hard to check: a kink nearby, large numbers, high frequencies, a flat place."""

import numpy as np

from .specimen import loss, normal, op

FREQUENCIES = np.pi * 2.0 ** np.arange(10)


@loss("factor", prediction=[0.3 + 1e-9, 1.2, -0.7 - 1e-8, 2.0], target=[0.3, 1.0, -0.7, 2.5])
class absolute_error_of_a_good_fit:
    """Two residuals are almost zero, so a difference quotient steps over the kink. The fault: no division by N."""

    def f(prediction, target):
        return np.mean(np.abs(prediction - target))

    def right(prediction, target):
        return np.sign(prediction - target) / prediction.size, None

    def wrong(prediction, target):
        return np.sign(prediction - target), None


@loss("factor", w=[2100.0, -340.0], x=[[120.0, 3.0], [85.0, 2.0], [240.0, 6.0]], y=[352000.0, 298000.0, 610000.0])
class prices_in_full:
    """House prices as they are: the loss is of the order of 10^10, and its last digits are lost. The fault: no 2."""

    def f(w, x, y):
        return np.mean((x @ w - y) ** 2)

    def right(w, x, y):
        return 2 * x.T @ (x @ w - y) / len(y), None, None

    def wrong(w, x, y):
        return x.T @ (x @ w - y) / len(y), None, None


@op("chain", "factor", x=normal(3))
class positions_without_frequency:
    """Fourier features up to 2^9 pi, as for pictures and radiance fields. The fault: no inner derivative."""

    def f(x):
        return np.sin(x[:, None] * FREQUENCIES)

    def right(g, y, x):
        return np.sum(g * FREQUENCIES * np.cos(x[:, None] * FREQUENCIES), axis=1)

    def wrong(g, y, x):
        return np.sum(g * np.cos(x[:, None] * FREQUENCIES), axis=1)


@loss("chain", "branch", w=normal(3, 2), x=[[0.0, 0.0, 0.0], [1.2, -0.4, 0.9], [-0.3, 0.8, 0.1]])
class padding_under_a_relu:
    """A row of padding gives zeros, on which the relu has its kink. The fault: no mask."""

    def f(w, x):
        return np.sum(np.maximum(x @ w, 0) ** 2 / 2 + np.maximum(x @ w, 0))

    def right(w, x):
        a = x @ w
        d = np.where(a > 0, a + 1, 0 * a)
        return x.T @ d, d @ w.T

    def wrong(w, x):
        a = x @ w
        d = np.maximum(a, 0) + 1
        return x.T @ d, d @ w.T


@loss("sign", z=[-12.0, 25.0, 14.0], target=[0.0, 1.0, 1.0])
class saturated_cross_entropy:
    """A net that is sure of itself: slopes of 10^-6 to 10^-11 are below absolute tolerances. The fault: the sign."""

    def f(z, target):
        return np.mean(np.logaddexp(0, z) - target * z)

    def right(z, target):
        return (1 / (1 + np.exp(-z)) - target) / z.size, None

    def wrong(z, target):
        return (target - 1 / (1 + np.exp(-z))) / z.size, None
