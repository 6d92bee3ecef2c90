"""Second derivatives: rules that give the right numbers, and cannot be differentiated once more."""

import numpy as np

from .specimen import constant, normal, op, positive


@op("second-order", order=2, x=normal(3), seen="pytorch/pytorch#58509")
class square_of_a_saved_value:
    """A value saved in forward counts as a constant in backward: its own slope is lost at second order."""

    def f(x):
        return (2 * x) ** 2

    def right(g, y, x):
        return g * 8 * x

    def wrong(g, y, x):
        return g * 8 * constant(x)


@op("second-order", order=2, x=normal(3))
class tanh_of_a_saved_output:
    """1 - y^2 with y as a number: the first derivative is right, the second is zero."""

    def f(x):
        return np.tanh(x)

    def right(g, y, x):
        t = np.tanh(x)
        return g * (1 - t * t)

    def wrong(g, y, x):
        t = constant(np.tanh(x))
        return g * (1 - t * t)


@op("second-order", order=2, x=positive(3))
class root_of_a_saved_output:
    """1 / (2 sqrt(x)) with the root kept as a number."""

    def f(x):
        return np.sqrt(x)

    def right(g, y, x):
        return g / (2 * np.sqrt(x))

    def wrong(g, y, x):
        return g / (2 * constant(np.sqrt(x)))


@op("second-order", order=2, x=normal(3))
class softmax_half_saved:
    """p (g - g.p), where the second p is a saved one: half of the second derivative is left."""

    def f(x):
        e = np.exp(x)
        return e / np.sum(e)

    def right(g, y, x):
        e = np.exp(x)
        p = e / np.sum(e)
        return p * (g - np.sum(g * p))

    def wrong(g, y, x):
        e = np.exp(x)
        p = e / np.sum(e)
        return p * (g - np.sum(g * constant(p)))


@op("second-order", order=2, x=normal(3))
class cotangent_as_number:
    """The cotangent is detached: the op's own curvature is there, and what lies above it is not."""

    def f(x):
        return np.exp(x)

    def right(g, y, x):
        return g * np.exp(x)

    def wrong(g, y, x):
        return constant(g) * np.exp(x)

    def use(op, x):
        return op(op(x) / 4)
