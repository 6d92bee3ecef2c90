"""Softmax and the normalisations: what is divided by depends on the input too."""

import numpy as np

from .specimen import normal, op, positive

EPS = 1e-5


def spread(x, axis):
    """The standard deviation that normalisation divides by."""
    return np.sqrt(np.var(x, axis=axis, keepdims=True) + EPS)


def normalised(x, axis):
    return (x - np.mean(x, axis=axis, keepdims=True)) / spread(x, axis)


def normalised_back(g, y, x, axis):
    """The gradient through `normalised`: less its mean, and less its part along y."""
    along = np.mean(g * y, axis=axis, keepdims=True)
    return (g - np.mean(g, axis=axis, keepdims=True) - y * along) / spread(x, axis)


@op("dropped", "chain", x=normal(2, 3), seen="deeplearning4j/libnd4j#440")
class softmax_diagonal_only:
    """y (1 - y), as for the sigmoid: the pull of each output on the other inputs is left out."""

    def f(x):
        e = np.exp(x)
        return e / np.sum(e, axis=1, keepdims=True)

    def right(g, y, x):
        return y * (g - np.sum(g * y, axis=1, keepdims=True))

    def wrong(g, y, x):
        return g * y * (1 - y)


@op("axis", x=normal(3, 3))
class softmax_summed_over_the_other_axis:
    """The rows are normalised, and the rule sums over the columns; the matrix is square, so the shapes agree."""

    def f(x):
        e = np.exp(x)
        return e / np.sum(e, axis=1, keepdims=True)

    def right(g, y, x):
        return y * (g - np.sum(g * y, axis=1, keepdims=True))

    def wrong(g, y, x):
        return y * (g - np.sum(g * y, axis=0, keepdims=True))


@op("dropped", "chain", x=normal(2, 3))
class log_softmax_for_one_class:
    """g - softmax is right where the cotangents of a row add up to 1, as one class's do; elsewhere their sum is due."""

    def f(x):
        return x - np.log(np.sum(np.exp(x), axis=1, keepdims=True))

    def right(g, y, x):
        return g - np.exp(y) * np.sum(g, axis=1, keepdims=True)

    def wrong(g, y, x):
        return g - np.exp(y)


@op("dropped", x=normal(4, 2), seen="mlpack/mlpack#1923")
class batch_norm_mean_constant:
    """The mean of the batch is taken for a constant."""

    def f(x):
        return normalised(x, 0)

    def right(g, y, x):
        return normalised_back(g, y, x, 0)

    def wrong(g, y, x):
        return (g - y * np.mean(g * y, axis=0, keepdims=True)) / spread(x, 0)


@op("dropped", x=normal(4, 2))
class batch_norm_variance_constant:
    """The variance of the batch is taken for a constant."""

    def f(x):
        return normalised(x, 0)

    def right(g, y, x):
        return normalised_back(g, y, x, 0)

    def wrong(g, y, x):
        return (g - np.mean(g, axis=0, keepdims=True)) / spread(x, 0)


@op("factor", "axis", "chain", x=normal(3, 2))
class batch_norm_sum_for_mean:
    """The gradient that flows through the mean is not divided by the size of the batch."""

    def f(x):
        return normalised(x, 0)

    def right(g, y, x):
        return normalised_back(g, y, x, 0)

    def wrong(g, y, x):
        return (g - np.sum(g, axis=0, keepdims=True) - y * np.mean(g * y, axis=0, keepdims=True)) / spread(x, 0)


@op("dropped", x=normal(2, 3))
class layer_norm_as_a_scale:
    """Mean and variance are both taken for constants: only the division is left."""

    def f(x):
        return normalised(x, 1)

    def right(g, y, x):
        return normalised_back(g, y, x, 1)

    def wrong(g, y, x):
        return g / spread(x, 1)


@op("axis", x=normal(3, 3))
class layer_norm_over_the_batch:
    """The rule is that of batch normalisation: it averages over axis 0; and the batch is as large as the layer."""

    def f(x):
        return normalised(x, 1)

    def right(g, y, x):
        return normalised_back(g, y, x, 1)

    def wrong(g, y, x):
        means = np.mean(g, axis=0, keepdims=True), np.mean(g * y, axis=0, keepdims=True)
        return (g - means[0] - y * means[1]) / spread(x, 1)


@op("precision", x=normal(2, 3))
class rms_norm_epsilon_outside:
    """sqrt(m + eps) forward, sqrt(m) + eps in the rule: an error in the fourth digit."""

    def f(x):
        return x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-4)

    def right(g, y, x):
        return (g - y * np.mean(g * y, axis=1, keepdims=True)) / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-4)

    def wrong(g, y, x):
        return (g - y * np.mean(g * y, axis=1, keepdims=True)) / (np.sqrt(np.mean(x * x, axis=1, keepdims=True)) + 1e-4)


@op("factor", x=normal(5))
class deviation_of_a_sample:
    """Divided by n - 1 forward, and by n in the rule."""

    def f(x):
        return np.sqrt(np.sum((x - np.mean(x)) ** 2) / (x.size - 1))

    def right(g, y, x):
        return g * (x - np.mean(x)) / (y * (x.size - 1))

    def wrong(g, y, x):
        return g * (x - np.mean(x)) / (y * x.size)


@op("kink", x=[[3.0, 4.0], [0.0, 0.0]], seen="pytorch/pytorch#2421")
class norm_nan_at_zero:
    """x / |x| for a row of zeros, as padding leaves them, is 0 / 0; one such row spoils all parameters above."""

    def f(x):
        return np.linalg.norm(x, axis=1)

    def right(g, y, x):
        length = y[:, None]
        return g[:, None] * np.where(length > 0, x / np.where(length > 0, length, 1), 0)

    def wrong(g, y, x):
        with np.errstate(invalid="ignore"):
            return g[:, None] * x / y[:, None]


@op("factor", x=normal(4), mask=np.array([1.0, 0.0, 1.0, 1.0]))
class dropout_without_scale:
    """Forward divides by the share that is kept, and the rule does not: gradients shrink as the share does."""

    def f(x, mask):
        return x * mask / 0.75

    def right(g, y, x, mask):
        return g * mask / 0.75, None

    def wrong(g, y, x, mask):
        return g * mask, None


@op("dropped", x=positive(4))
class share_of_total:
    """x / sum(x), differentiated as if the sum stayed when x changes."""

    def f(x):
        return x / np.sum(x)

    def right(g, y, x):
        return (g - np.sum(g * y)) / np.sum(x)

    def wrong(g, y, x):
        return g / np.sum(x)
