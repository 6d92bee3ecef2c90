"""Matrix products, biases, convolution and attention: transposes, broadcasting and scales."""

import numpy as np

from .specimen import loss, normal, op


def softmax(z):
    e = np.exp(z)
    return e / np.sum(e, axis=-1, keepdims=True)


def softmax_back(g, p):
    return p * (g - np.sum(g * p, axis=-1, keepdims=True))


@op("transposed", a=normal(2, 2), b=normal(2, 2))
class product_without_transpose:
    """g @ b in place of g @ b.T: square matrices hide it."""

    def f(a, b):
        return a @ b

    def right(g, y, a, b):
        return g @ b.T, a.T @ g

    def wrong(g, y, a, b):
        return g @ b, a.T @ g


@op("transposed", w=normal(3, 3), x=normal(2, 3))
class weight_gradient_transposed:
    """x.T @ g for weights that are kept as (out, in): the transposed of what is due."""

    def f(w, x):
        return x @ w.T

    def right(g, y, w, x):
        return g.T @ x, g @ w

    def wrong(g, y, w, x):
        return x.T @ g, g @ w


@loss(
    "broadcast", w=normal(3, 2), b=normal(2), x=normal(4, 3), y=normal(4, 2), seen="deeplearning4j/nd4j#2424"
)  # fmt: skip
class bias_not_summed:
    """The bias was added to every row, and its gradient comes back with a row for each sample."""

    def f(w, b, x, y):
        return np.mean((x @ w + b - y) ** 2)

    def right(w, b, x, y):
        r = 2 * (x @ w + b - y) / y.size
        return x.T @ r, np.sum(r, axis=0), None, None

    def wrong(w, b, x, y):
        r = 2 * (x @ w + b - y) / y.size
        return x.T @ r, r, None, None


@loss("factor", "broadcast", w=normal(3, 2), b=normal(2), x=normal(4, 3), y=normal(4, 2))
class bias_averaged:
    """db is the mean over the batch where the sum is due: the division by N was done before."""

    def f(w, b, x, y):
        return np.sum((x @ w + b - y) ** 2) / len(x)

    def right(w, b, x, y):
        r = 2 * (x @ w + b - y) / len(x)
        return x.T @ r, np.sum(r, axis=0), None, None

    def wrong(w, b, x, y):
        r = 2 * (x @ w + b - y) / len(x)
        return x.T @ r, np.mean(r, axis=0), None, None


@loss("axis", w=normal(2, 3), b=normal(3), x=normal(3, 2), y=normal(3, 3))
class bias_summed_over_the_wrong_axis:
    """Summed over the units in place of the samples; three of each."""

    def f(w, b, x, y):
        return np.mean((x @ w + b - y) ** 2)

    def right(w, b, x, y):
        r = 2 * (x @ w + b - y) / y.size
        return x.T @ r, np.sum(r, axis=0), None, None

    def wrong(w, b, x, y):
        r = 2 * (x @ w + b - y) / y.size
        return x.T @ r, np.sum(r, axis=1), None, None


@op("broadcast", "dropped", x=normal(4, 3), scale=normal(3))
class scale_of_the_first_row:
    """To get back to the shape of the scale, the first row is taken, and not the sum of all rows."""

    def f(x, scale):
        return x * scale

    def right(g, y, x, scale):
        return g * scale, np.sum(g * x, axis=0)

    def wrong(g, y, x, scale):
        return g * scale, (g * x)[0]


@loss("dropped", "transposed", x=normal(3), a=[[2.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 2.0]])
class quadratic_form_of_symmetric:
    """2 a x for x.T a x is right for a symmetric matrix, such as everybody tries; else it is (a + a.T) x."""

    def f(x, a):
        return np.sum(x * (a @ x))

    def right(x, a):
        return (a + a.T) @ x, np.outer(x, x)

    def wrong(x, a):
        return 2 * a @ x, np.outer(x, x)


@op("transposed", "axis", a=normal(3), b=normal(3))
class outer_product_mixed_up:
    """g.T @ b for the gradient of the first vector: it runs over the wrong index of g."""

    def f(a, b):
        return np.outer(a, b)

    def right(g, y, a, b):
        return g @ b, g.T @ a

    def wrong(g, y, a, b):
        return g.T @ b, g @ a


@op("saved", "other-input", a=normal(4), b=normal(4))
class dot_product_with_itself:
    """By a the dot product has the slope b; here every input is given itself."""

    def f(a, b):
        return np.sum(a * b)

    def right(g, y, a, b):
        return g * b, g * a

    def wrong(g, y, a, b):
        return g * a, g * b


@loss("transposed", x=normal(2, 2))
class determinant_without_transpose:
    """The adjugate is due transposed: Jacobi's formula."""

    def f(x):
        return x[0, 0] * x[1, 1] - x[0, 1] * x[1, 0]

    def right(x):
        return np.stack([np.stack([x[1, 1], -x[1, 0]]), np.stack([-x[0, 1], x[0, 0]])])

    def wrong(x):
        return np.stack([np.stack([x[1, 1], -x[0, 1]]), np.stack([-x[1, 0], x[0, 0]])])


@op("permuted", x=normal(5), w=normal(3))
class convolution_not_flipped:
    """Back through a correlation goes a convolution: the kernel turned round. Here it is applied as it stands."""

    def f(x, w):
        return np.stack([np.sum(x[i : i + 3] * w) for i in range(3)])

    def right(g, y, x, w):
        dx = np.zeros_like(x)
        for i in range(3):
            dx[i : i + 3] += g[i] * w
        return dx, np.stack([np.sum(g * x[i : i + 3]) for i in range(3)])

    def wrong(g, y, x, w):
        dx = np.zeros_like(x)
        for i in range(3):
            dx[i : i + 3] += g[i] * w[::-1]
        return dx, np.stack([np.sum(g * x[i : i + 3]) for i in range(3)])


@op("factor", q=normal(2, 4), k=normal(3, 4), v=normal(3, 2))
class attention_without_scale:
    """The scores are divided by sqrt(d) forward, and their gradient is not."""

    def f(q, k, v):
        return softmax(q @ k.T / 2) @ v

    def right(g, y, q, k, v):
        p = softmax(q @ k.T / 2)
        ds = softmax_back(g @ v.T, p) / 2
        return ds @ k, ds.T @ q, p.T @ g

    def wrong(g, y, q, k, v):
        p = softmax(q @ k.T / 2)
        ds = softmax_back(g @ v.T, p)
        return ds @ k, ds.T @ q, p.T @ g


@op("transposed", q=normal(2, 4), k=normal(2, 4), v=normal(2, 3))
class attention_values_without_transpose:
    """The values get p @ g in place of p.T @ g; as many queries as keys hide it."""

    def f(q, k, v):
        return softmax(q @ k.T / 2) @ v

    def right(g, y, q, k, v):
        p = softmax(q @ k.T / 2)
        ds = softmax_back(g @ v.T, p) / 2
        return ds @ k, ds.T @ q, p.T @ g

    def wrong(g, y, q, k, v):
        p = softmax(q @ k.T / 2)
        ds = softmax_back(g @ v.T, p) / 2
        return ds @ k, ds.T @ q, p @ g


@loss("dropped", w=normal(3, 3), x=normal(2, 3))
class residual_without_skip:
    """x + tanh(x w): the gradient by x goes through the layer, and the way round it is forgotten."""

    def f(w, x):
        return np.sum((x + np.tanh(x @ w)) ** 2)

    def right(w, x):
        h = np.tanh(x @ w)
        dy = 2 * (x + h)
        dz = dy * (1 - h * h)
        return x.T @ dz, dy + dz @ w.T

    def wrong(w, x):
        h = np.tanh(x @ w)
        dy = 2 * (x + h)
        dz = dy * (1 - h * h)
        return x.T @ dz, dz @ w.T
