"""Elementwise functions: the factor of the chain rule, the branch it is on, and the value it is computed from."""

import numpy as np

from .specimen import normal, op, positive

ROOT = float(np.sqrt(2 / np.pi))


@op("chain", x=normal(4))
class tanh_without_derivative:
    """The cotangent is handed on as it came: the factor 1 - tanh(x)^2 is missing."""

    def f(x):
        return np.tanh(x)

    def right(g, y, x):
        return g * (1 - y * y)

    def wrong(g, y, x):
        return g


@op("saved", x=normal(4))
class tanh_of_input:
    """1 - x^2 in place of 1 - y^2: the rule is written for the output, and given the input."""

    def f(x):
        return np.tanh(x)

    def right(g, y, x):
        return g * (1 - y * y)

    def wrong(g, y, x):
        return g * (1 - x * x)


@op("sign", x=normal(4), seen="gy910210/neural-network-from-scratch#2")
class tanh_mistaken_for_tan:
    """1 + y^2 is the derivative of the tangent; that of tanh has a minus."""

    def f(x):
        return np.tanh(x)

    def right(g, y, x):
        return g * (1 - y * y)

    def wrong(g, y, x):
        return g * (1 + y * y)


@op("precision", x=normal(4), seen="tenstorrent/tt-metal#55349")
class tanh_of_few_digits:
    """The derivative is scaled as it comes out of a fit that is right to three digits."""

    def f(x):
        return np.tanh(x)

    def right(g, y, x):
        return g * (1 - y * y)

    def wrong(g, y, x):
        return g * (1 - y * y) * 0.9992


@op("chain", "dropped", x=normal(4))
class sigmoid_half_derivative:
    """y (1 - y) lost its second factor."""

    def f(x):
        return 1 / (1 + np.exp(-x))

    def right(g, y, x):
        return g * y * (1 - y)

    def wrong(g, y, x):
        return g * y


@op("chain", "branch", x=positive(4))
class relu_without_mask:
    """The gradient passes where nothing passed forward; positive examples do not show it."""

    def f(x):
        return np.maximum(x, 0)

    def right(g, y, x):
        return np.where(x > 0, g, 0 * g)

    def wrong(g, y, x):
        return g


@op("kink", x=[-1.0, 0.0, 2.0])
class relu_doubled_at_zero:
    """Zero is counted with the positive side, and once more on its own: 2, where no slope is above 1."""

    def f(x):
        return np.maximum(x, 0)

    def right(g, y, x):
        return np.where(x > 0, g, 0 * g)

    def wrong(g, y, x):
        return np.where(x >= 0, g, 0 * g) + np.where(x == 0, g, 0 * g)


@op("branch", x=normal(5))
class leaky_relu_in_the_wrong_branch:
    """The small slope is applied to the positive side."""

    def f(x):
        return np.where(x > 0, x, 0.1 * x)

    def right(g, y, x):
        return np.where(x > 0, g, 0.1 * g)

    def wrong(g, y, x):
        return np.where(x > 0, 0.1 * g, g)


@op("saved", "branch", x=normal(5), seen="pytorch/pytorch#31938")
class leaky_relu_from_output:
    """The branch is read off the output, whose sign is the input's as long as the slope is positive; it is -0.3."""

    def f(x):
        return np.where(x > 0, x, -0.3 * x)

    def right(g, y, x):
        return np.where(x > 0, g, -0.3 * g)

    def wrong(g, y, x):
        return np.where(y > 0, g, -0.3 * g)


@op("saved", "branch", x=normal(5), seen="pytorch/pytorch#47671")
class elu_from_output:
    """Where the output is positive the slope is taken to be 1; with a negative alpha it is positive everywhere."""

    def f(x):
        return np.where(x > 0, x, -0.5 * (np.exp(x) - 1))

    def right(g, y, x):
        return np.where(x > 0, g, -0.5 * g * np.exp(x))

    def wrong(g, y, x):
        return np.where(y > 0, g, g * (y - 0.5))


@op("precision", x=normal(5))
class gelu_with_rounded_constant:
    """0.7978 for the square root of 2 / pi, in the rule only: wrong in the fourth digit."""

    def f(x):
        return 0.5 * x * (1 + np.tanh(ROOT * (x + 0.044715 * x**3)))

    def right(g, y, x):
        t = np.tanh(ROOT * (x + 0.044715 * x**3))
        return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * ROOT * (1 + 3 * 0.044715 * x**2))

    def wrong(g, y, x):
        t = np.tanh(0.7978 * (x + 0.044715 * x**3))
        return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978 * (1 + 3 * 0.044715 * x**2))


@op("dropped", x=normal(4))
class silu_half_product:
    """x sigmoid(x) is a product, of which only one factor is differentiated."""

    def f(x):
        return x / (1 + np.exp(-x))

    def right(g, y, x):
        s = 1 / (1 + np.exp(-x))
        return g * (s + x * s * (1 - s))

    def wrong(g, y, x):
        return g / (1 + np.exp(-x))


@op("branch", x=normal(5))
class softplus_linear_too_early:
    """Above 3 the function is taken for linear; its slope there is still 0.95, and 20 was the threshold meant."""

    def f(x):
        return np.log(1 + np.exp(x))

    def right(g, y, x):
        return g / (1 + np.exp(-x))

    def wrong(g, y, x):
        return np.where(x > 3, g, g / (1 + np.exp(-x)))


@op("branch", "sign", "saved", x=positive(4))
class square_by_root:
    """2 sqrt(y) saves keeping the input, and is |2 x|: right for positive x only."""

    def f(x):
        return x * x

    def right(g, y, x):
        return g * 2 * x

    def wrong(g, y, x):
        return g * 2 * np.sqrt(y)


@op("kink", x=[-2.0, 0.0, 3.0])
class absolute_nan_at_zero:
    """x / |x| is the sign, and 0 / 0 at zero."""

    def f(x):
        return np.abs(x)

    def right(g, y, x):
        return g * np.sign(x)

    def wrong(g, y, x):
        with np.errstate(invalid="ignore"):
            return g * (x / np.abs(x))


@op("kink", a=[1.0, 2.0, 3.0], b=[2.0, 2.0, 1.0])
class maximum_counts_ties_twice:
    """Where both are equal, both get the whole gradient: together twice what there is."""

    def f(a, b):
        return np.maximum(a, b)

    def right(g, y, a, b):
        share = np.where(a == b, 0.5 * g, 0 * g)
        return np.where(a > b, g, share), np.where(b > a, g, share)

    def wrong(g, y, a, b):
        return np.where(a >= b, g, 0 * g), np.where(b >= a, g, 0 * g)


@op("branch", "chain", x=[0.1, -0.5, 0.7])
class clip_passes_everything:
    """The gradient passes where the value was clipped: a straight-through estimator, if that had been meant."""

    def f(x):
        return np.clip(x, -1, 1)

    def right(g, y, x):
        return np.where(np.abs(x) <= 1, g, 0 * g)

    def wrong(g, y, x):
        return g


@op("chain", "dropped", x=positive(4), p=normal(4))
class power_without_logarithm:
    """By the exponent, x^p has the derivative x^p log x; the logarithm is missing."""

    def f(x, p):
        return x**p

    def right(g, y, x, p):
        return g * p * x ** (p - 1), g * y * np.log(x)

    def wrong(g, y, x, p):
        return g * p * x ** (p - 1), g * y


@op("sign", x=normal(4), y=positive(4))
class quotient_without_minus:
    """By the denominator the quotient falls: -x / y^2."""

    def f(x, y):
        return x / y

    def right(g, out, x, y):
        return g / y, -g * x / y**2

    def wrong(g, out, x, y):
        return g / y, g * x / y**2


@op("sign", x=normal(3), y=normal(3), seen="jax-ml/jax#3213")
class sine_times_y_with_minus:
    """In sin(x) y, the derivative by y gets the minus that belongs to the derivative of a cosine."""

    def f(x, y):
        return np.sin(x) * y

    def right(g, out, x, y):
        return g * np.cos(x) * y, g * np.sin(x)

    def wrong(g, out, x, y):
        return g * np.cos(x) * y, -g * np.sin(x)


@op("saved", x=normal(4))
class exponential_of_input:
    """g x in place of g y: the output is its own derivative, the input is not."""

    def f(x):
        return np.exp(x)

    def right(g, y, x):
        return g * y

    def wrong(g, y, x):
        return g * x


@op("saved", x=normal(4))
class cosine_of_output:
    """The derivative of the sine is the cosine of the input, here computed from the output."""

    def f(x):
        return np.sin(x)

    def right(g, y, x):
        return g * np.cos(x)

    def wrong(g, y, x):
        return g * np.cos(y)


@op("chain", "dropped", x=[0.0, 1.0, 1.0, 0.0])
class cube_at_usual_points:
    """3 x in place of 3 x^2, tried at 0 and at 1, where both are the same."""

    def f(x):
        return x**3

    def right(g, y, x):
        return g * 3 * x**2

    def wrong(g, y, x):
        return g * 3 * x
