"""Losses: terms, factors and signs that get lost between the formula and the code."""

import numpy as np

from .specimen import loss, normal, op, positive, probabilities

LABELS = np.array([0, 2, 1, 2])


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@loss("factor", prediction=normal(4, 2), target=normal(4, 2), seen="jxgu1016/MNIST_center_loss_pytorch#9")
class mean_squared_error_without_n:
    """The loss is a mean, and the gradient that of a sum: it grows with the batch."""

    def f(prediction, target):
        return np.mean((prediction - target) ** 2)

    def right(prediction, target):
        return 2 * (prediction - target) / prediction.size, None

    def wrong(prediction, target):
        return 2 * (prediction - target), None


@loss("factor", prediction=normal(4), target=normal(4), seen="stdlib-js/stdlib#13111")
class squared_error_without_two:
    """The 2 of the square is missing: right for the loss with 1/2 in front, which this is not."""

    def f(prediction, target):
        return np.sum((prediction - target) ** 2)

    def right(prediction, target):
        return 2 * (prediction - target), None

    def wrong(prediction, target):
        return prediction - target, None


@loss("sign", w=normal(3), x=normal(5, 3), y=normal(5))
class least_squares_uphill:
    """The residual is taken as target minus prediction, so the descent goes up."""

    def f(w, x, y):
        return np.mean((x @ w - y) ** 2)

    def right(w, x, y):
        return 2 * x.T @ (x @ w - y) / len(y), None, None

    def wrong(w, x, y):
        return 2 * x.T @ (y - x @ w) / len(y), None, None


@loss("branch", prediction=[2.0, 1.5, 3.0, 0.7], target=[1.0, 1.0, 1.0, 0.5])
class absolute_error_without_sign:
    """The slope of |r| is taken to be 1: right as long as every prediction is too large."""

    def f(prediction, target):
        return np.mean(np.abs(prediction - target))

    def right(prediction, target):
        return np.sign(prediction - target) / prediction.size, None

    def wrong(prediction, target):
        return np.ones_like(prediction) / prediction.size, None


@loss("branch", "chain", prediction=normal(5), target=normal(5), seen="RubixML/ML#420")
class huber_outside:
    """Beyond delta the slope is +1 or -1 in place of +delta or -delta: right for delta = 1, and here it is 3/2."""

    def f(prediction, target):
        r = np.abs(prediction - target)
        return np.sum(np.where(r <= 1.5, r * r / 2, 1.5 * r - 1.125))

    def right(prediction, target):
        r = prediction - target
        return np.where(np.abs(r) <= 1.5, r, 1.5 * np.sign(r)), None

    def wrong(prediction, target):
        r = prediction - target
        return np.where(np.abs(r) <= 1.5, r, np.sign(r)), None


@loss("branch", score=normal(6), label=[1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
class hinge_without_margin:
    """Only what lies on the wrong side counts (score * label < 0), though the loss asks for a margin of 1."""

    def f(score, label):
        return np.mean(np.maximum(0, 1 - label * score))

    def right(score, label):
        return np.where(label * score < 1, -label, 0 * label) / score.size, None

    def wrong(score, label):
        return np.where(label * score < 0, -label, 0 * label) / score.size, None


@loss("chain", "branch", "sign", score=normal(5), label=[1.0, 1.0, -1.0, 1.0, -1.0])
class hinge_without_label:
    """The factor that the label brings along is missing: right for the positive class, the wrong way for the other."""

    def f(score, label):
        return np.sum(np.maximum(0, 1 - label * score))

    def right(score, label):
        return np.where(label * score < 1, -label, 0 * label), None

    def wrong(score, label):
        return np.where(label * score < 1, -np.ones_like(label), 0 * label), None


@loss("dropped", p=probabilities(5), target=[1.0, 0.0, 1.0, 1.0, 0.0])
class cross_entropy_one_term:
    """Of -t log p - (1 - t) log(1 - p), the second term is not differentiated."""

    def f(p, target):
        return np.mean(-target * np.log(p) - (1 - target) * np.log(1 - p))

    def right(p, target):
        return (-target / p + (1 - target) / (1 - p)) / p.size, None

    def wrong(p, target):
        return -target / p / p.size, None


@loss("chain", z=normal(5), target=[1.0, 0.0, 1.0, 1.0, 0.0])
class cross_entropy_with_logits_twice_sigmoid:
    """s - t is already the slope by the logit; it is multiplied by s (1 - s) once more, as for a squared error."""

    def f(z, target):
        return np.mean(np.log(1 + np.exp(z)) - target * z)

    def right(z, target):
        return (1 / (1 + np.exp(-z)) - target) / z.size, None

    def wrong(z, target):
        s = 1 / (1 + np.exp(-z))
        return (s - target) * s * (1 - s) / z.size, None


@loss("factor", logits=normal(4, 3), label=LABELS)
class softmax_cross_entropy_without_n:
    """p - onehot for each sample, and never divided by their number."""

    def f(logits, label):
        logp = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
        return -np.mean(logp[np.arange(len(label)), label])

    def right(logits, label):
        return (softmax(logits) - np.eye(3)[label]) / len(label), None

    def wrong(logits, label):
        return softmax(logits) - np.eye(3)[label], None


@loss("dropped", logits=normal(4, 3), label=LABELS)
class softmax_cross_entropy_without_onehot:
    """The 1 of the label's own column is not subtracted."""

    def f(logits, label):
        logp = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
        return -np.mean(logp[np.arange(len(label)), label])

    def right(logits, label):
        p = softmax(logits)
        p[np.arange(len(label)), label] -= 1
        return p / len(label), None

    def wrong(logits, label):
        p = softmax(logits)
        return p / len(label), None


@loss("other-input", p=probabilities(4), q=probabilities(4))
class divergence_arguments_swapped:
    """The gradients by p and by q come back in the wrong order; both have the same shape, so nothing complains."""

    def f(p, q):
        return np.sum(p * np.log(p / q))

    def right(p, q):
        return np.log(p / q) + 1, -p / q

    def wrong(p, q):
        return -p / q, np.log(p / q) + 1


@loss("regulariser", w=normal(3), x=normal(5, 3), y=[1.0, 0.0, 0.0, 1.0, 1.0])
class weight_decay_forgotten:
    """The penalty is in the loss, and not in the gradient."""

    def f(w, x, y):
        z = x @ w
        return np.mean(np.log(1 + np.exp(z)) - y * z) + 0.05 * np.sum(w**2)

    def right(w, x, y):
        return x.T @ (1 / (1 + np.exp(-(x @ w))) - y) / len(y) + 0.1 * w, None, None

    def wrong(w, x, y):
        return x.T @ (1 / (1 + np.exp(-(x @ w))) - y) / len(y), None, None


@loss("regulariser", w=normal(3), x=normal(5, 3), y=normal(5))
class weight_decay_halved:
    """lambda w for the penalty lambda w^2: the factor 2 is missing in this term only."""

    def f(w, x, y):
        return np.mean((x @ w - y) ** 2) + 0.3 * np.sum(w**2)

    def right(w, x, y):
        return 2 * x.T @ (x @ w - y) / len(y) + 0.6 * w, None, None

    def wrong(w, x, y):
        return 2 * x.T @ (x @ w - y) / len(y) + 0.3 * w, None, None


@loss("regulariser", "offset", "branch", "chain", w=positive(3), x=normal(5, 3), y=normal(5))
class lasso_without_sign:
    """The slope of lambda |w| is taken to be lambda, whichever side of zero w is on."""

    def f(w, x, y):
        return np.mean((x @ w - y) ** 2) + 0.2 * np.sum(np.abs(w))

    def right(w, x, y):
        return 2 * x.T @ (x @ w - y) / len(y) + 0.2 * np.sign(w), None, None

    def wrong(w, x, y):
        return 2 * x.T @ (x @ w - y) / len(y) + 0.2, None, None


@loss("regulariser", w=normal(3), b=normal(), x=normal(5, 3), y=normal(5))
class bias_decays_too:
    """The gradient decays the bias along with the weights; the loss leaves it alone."""

    def f(w, b, x, y):
        return np.mean((x @ w + b - y) ** 2) + 0.1 * np.sum(w**2)

    def right(w, b, x, y):
        r = x @ w + b - y
        return 2 * x.T @ r / len(y) + 0.2 * w, 2 * np.mean(r), None, None

    def wrong(w, b, x, y):
        r = x @ w + b - y
        return 2 * x.T @ r / len(y) + 0.2 * w, 2 * np.mean(r) + 0.2 * b, None, None


@loss("dropped", a=normal(4), b=normal(4))
class cosine_without_projection:
    """The lengths in the denominator are taken as constants, so the part along a itself is not subtracted."""

    def f(a, b):
        return np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))

    def right(a, b):
        lengths = np.sqrt(np.sum(a * a) * np.sum(b * b))
        return b / lengths - a * np.sum(a * b) / (lengths * np.sum(a * a)), None

    def wrong(a, b):
        return b / np.sqrt(np.sum(a * a) * np.sum(b * b)), None


@loss("dropped", p=probabilities(4))
class focal_weight_constant:
    """(1 - p)^2 weighs the logarithm, and depends on p as well: the product rule has two terms."""

    def f(p):
        return np.mean(-((1 - p) ** 2) * np.log(p))

    def right(p):
        return (2 * (1 - p) * np.log(p) - (1 - p) ** 2 / p) / p.size

    def wrong(p):
        return -((1 - p) ** 2) / p / p.size


@loss("dropped", "offset", mu=normal(3), s=normal(3), x=normal(3))
class gaussian_without_normaliser:
    """The logarithm of the width, which keeps it from growing without end, is forgotten in the slope by s."""

    def f(mu, s, x):
        return np.sum(s + (x - mu) ** 2 / 2 * np.exp(-2 * s))

    def right(mu, s, x):
        r = x - mu
        return -r * np.exp(-2 * s), 1 - r * r * np.exp(-2 * s), None

    def wrong(mu, s, x):
        r = x - mu
        return -r * np.exp(-2 * s), -r * r * np.exp(-2 * s), None


@loss("branch", w=[0.1, -0.2, 0.3])
class clipped_on_the_way:
    """The gradient is clipped to [-1, 1] where it is computed, and then it is no longer that of the loss."""

    def f(w):
        return np.sum(w**4 + w**2)

    def right(w):
        return 4 * w**3 + 2 * w

    def wrong(w):
        return np.clip(4 * w**3 + 2 * w, -1, 1)


@op("chain", x=normal(4), y=normal(4), seen="chainer/chainer#1178")
class loss_that_ignores_its_cotangent:
    """As if nothing ever came after a loss: the rule leaves out g, which is 1 until somebody weighs the loss."""

    def f(x, y):
        return np.mean((x - y) ** 2)

    def right(g, out, x, y):
        return g * 2 * (x - y) / x.size, -g * 2 * (x - y) / x.size

    def wrong(g, out, x, y):
        return 2 * (x - y) / x.size, -2 * (x - y) / x.size
