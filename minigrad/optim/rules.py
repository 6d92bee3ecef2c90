"""Every optimizer as its textbook formula, on scalars: the one place where the mathematics of an update is written.

A rule takes one parameter `p`, its gradient `g`, what the optimizer remembers about this parameter (its state), the
number of the step `t` (1 at the first one) if the formula needs it, and the hyperparameters. It returns the new `p` and
the new state, by name and in order, and that is how a reader (and `kernel.py`) knows which arguments are the state.

Nothing else is written down about an optimizer's mathematics: Numba compiles these functions into loops over
all parameters, and SymPy runs them on symbols to give the formulas of the documentation. State starts at zero unless
an optimizer says otherwise. Every rule begins by adding the gradient of the penalty `weight_decay / 2 * p**2`,
except `adamw`, whose point is not to.
"""

from math import sqrt


def sgd(p, g, lr, weight_decay):
    """Gradient descent, one step against the gradient. Cauchy 1847; stochastic: Robbins and Monro 1951.

    >>> sgd(p=1.0, g=2.0, lr=0.25, weight_decay=0.0)
    0.5
    """
    g = g + weight_decay * p
    return p - lr * g


def momentum(p, g, b, lr, momentum, weight_decay):
    """The heavy ball: steps along a decaying sum of gradients. Polyak 1964; Sutskever et al. 2013, eq. 1 and 2."""
    g = g + weight_decay * p
    b = momentum * b + g
    return p - lr * b, b


def dampened_momentum(p, g, b, t, lr, momentum, dampening, weight_decay):
    """The heavy ball with new gradients (all but the first) scaled down, as `torch.optim.SGD` defines `dampening`."""
    g = g + weight_decay * p
    damping = dampening * min(t - 1, 1)
    b = momentum * b + (1 - damping) * g
    return p - lr * b, b


def nesterov(p, g, b, lr, momentum, weight_decay):
    """Nesterov's accelerated gradient, seen from the point where the gradient is taken.

    Nesterov 1983; Sutskever et al. 2013, eq. 3 and 4, of which this is the form for p = theta + momentum * velocity.
    """
    g = g + weight_decay * p
    b = momentum * b + g
    return p - lr * (g + momentum * b), b


def adagrad(p, g, s, t, lr, lr_decay, eps, weight_decay):
    """Steps scaled by all gradients seen so far. Duchi, Hazan and Singer 2011, figure 1; `lr_decay` as in torch."""
    g = g + weight_decay * p
    s = s + g**2
    step_size = lr / (1 + (t - 1) * lr_decay)
    return p - step_size * g / (sqrt(s) + eps), s


def adadelta(p, g, v, u, lr, rho, eps, weight_decay):
    """Steps in the parameter's own units: running means of squared gradients and of squared steps. Zeiler 2012."""
    g = g + weight_decay * p
    v = rho * v + (1 - rho) * g**2
    delta = sqrt(u + eps) / sqrt(v + eps) * g
    u = rho * u + (1 - rho) * delta**2
    return p - lr * delta, v, u


def rmsprop(p, g, v, lr, alpha, eps, weight_decay):
    """Steps scaled by a running root mean square of the gradient. Tieleman and Hinton 2012, lecture 6e."""
    g = g + weight_decay * p
    v = alpha * v + (1 - alpha) * g**2
    return p - lr * g / (sqrt(v) + eps), v


def rmsprop_momentum(p, g, v, b, lr, alpha, eps, momentum, weight_decay):
    """RMSprop whose scaled gradients are accumulated as the heavy ball's are."""
    g = g + weight_decay * p
    v = alpha * v + (1 - alpha) * g**2
    b = momentum * b + g / (sqrt(v) + eps)
    return p - lr * b, v, b


def rmsprop_centered(p, g, v, m, lr, alpha, eps, weight_decay):
    """RMSprop that divides by the running standard deviation. Graves 2013, eq. 38 to 41 (eps under the root there)."""
    g = g + weight_decay * p
    v = alpha * v + (1 - alpha) * g**2
    m = alpha * m + (1 - alpha) * g
    return p - lr * g / (sqrt(v - m**2) + eps), v, m


def rmsprop_centered_momentum(p, g, v, m, b, lr, alpha, eps, momentum, weight_decay):
    """Centered RMSprop with the heavy ball, as `torch.optim.RMSprop` combines them."""
    g = g + weight_decay * p
    v = alpha * v + (1 - alpha) * g**2
    m = alpha * m + (1 - alpha) * g
    b = momentum * b + g / (sqrt(v - m**2) + eps)
    return p - lr * b, v, m, b


def adam(p, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """Momentum and RMSprop together, both corrected for their start at zero. Kingma and Ba 2015, algorithm 1."""
    g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return p - lr * m_hat / (sqrt(v_hat) + eps), m, v


def adamw(p, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """Adam with the decay outside the adaptive scaling. Loshchilov and Hutter 2019, algorithm 2."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return p - lr * (m_hat / (sqrt(v_hat) + eps) + weight_decay * p), m, v
