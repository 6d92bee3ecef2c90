"""Sums, extremes and the moving of elements: where each part of the gradient goes."""

import numpy as np

from .specimen import normal, op


def shares(x, largest):
    """Which elements are the largest along the last axis; several that are equal share it."""
    hit = np.where(x == largest, 1.0, 0.0)
    return hit / np.sum(hit, axis=-1, keepdims=True)


@op("axis", "transposed", x=normal(3, 3))
class sum_spread_over_the_wrong_axis:
    """The sums of the rows are spread over the columns: NumPy broadcasts a vector along the last axis by itself."""

    def f(x):
        return np.sum(x * x, axis=1)

    def right(g, y, x):
        return 2 * x * g[:, None]

    def wrong(g, y, x):
        return 2 * x * g


@op("factor", x=normal(4, 3))
class mean_as_sum:
    """The cotangent goes to every element of the row, and is not divided by their number."""

    def f(x):
        return np.mean(x, axis=1)

    def right(g, y, x):
        return g[:, None] * np.ones_like(x) / x.shape[1]

    def wrong(g, y, x):
        return g[:, None] * np.ones_like(x)


@op("dropped", "offset", x=normal(2, 4))
class variance_about_zero:
    """2 x / n in place of 2 (x - mean) / n: right for data that are centred."""

    def f(x):
        return np.var(x, axis=1)

    def right(g, y, x):
        return 2 * g[:, None] * (x - np.mean(x, axis=1, keepdims=True)) / x.shape[1]

    def wrong(g, y, x):
        return 2 * g[:, None] * x / x.shape[1]


@op("chain", "factor", x=normal(2, 3))
class logsumexp_without_sum:
    """exp(x), and not divided by its sum."""

    def f(x):
        return np.log(np.sum(np.exp(x), axis=1))

    def right(g, y, x):
        return g[:, None] * np.exp(x - y[:, None])

    def wrong(g, y, x):
        return g[:, None] * np.exp(x)


@op("axis", x=normal(3, 3))
class maximum_of_the_other_axis:
    """The largest of each row forward, and of each column in the rule."""

    def f(x):
        return np.max(x, axis=1)

    def right(g, y, x):
        return g[:, None] * shares(x, y[:, None])

    def wrong(g, y, x):
        return g[:, None] * shares(x.T, np.max(x, axis=0)[:, None]).T


@op("kink", x=[[0.0, 0.0, -1.0, 0.0], [1.0, 0.5, 2.0, 2.0]], seen="Theano/Theano#5248")
class max_pool_pays_ties_twice:
    """After a relu, whole windows are zero: every element of such a window gets the full gradient."""

    def f(x):
        return np.max(x.reshape(2, 2, 2), axis=2)

    def right(g, y, x):
        return (g[:, :, None] * shares(x.reshape(2, 2, 2), y[:, :, None])).reshape(2, 4)

    def wrong(g, y, x):
        windows = x.reshape(2, 2, 2)
        return np.where(windows == y[:, :, None], g[:, :, None], 0).reshape(2, 4)


@op("chain", "branch", "dropped", x=normal(2, 4))
class max_pool_as_average:
    """The gradient is shared out over the window, as for average pooling; it belongs to the largest alone."""

    def f(x):
        return np.max(x.reshape(2, 2, 2), axis=2)

    def right(g, y, x):
        return (g[:, :, None] * shares(x.reshape(2, 2, 2), y[:, :, None])).reshape(2, 4)

    def wrong(g, y, x):
        return (g[:, :, None] * np.ones((2, 2, 2)) / 2).reshape(2, 4)


@op("branch", x=[2.0, 0.0, 3.0, 4.0], seen="pymc-devs/pytensor#1911")
class product_by_division:
    """The product of the others as the whole product divided by x: 0 / 0 for a zero."""

    def f(x):
        return np.prod(x)

    def right(g, y, x):
        return g * np.stack([np.prod(np.concatenate([x[:i], x[i + 1 :]])) for i in range(len(x))])

    def wrong(g, y, x):
        with np.errstate(invalid="ignore"):
            return g * (y / x)


@op("permuted", "axis", x=normal(4))
class cumulative_sum_forward:
    """An element is part of all later sums, so the rule sums from the end; here it sums from the start."""

    def f(x):
        return np.cumsum(x)

    def right(g, y, x):
        return np.cumsum(g[::-1])[::-1]

    def wrong(g, y, x):
        return np.cumsum(g)


@op("permuted", x=normal(4))
class sort_not_undone:
    """The gradients come back in sorted order, and not in the order of the inputs."""

    def f(x):
        return np.sort(x)

    def right(g, y, x):
        return g[np.argsort(np.argsort(x))]

    def wrong(g, y, x):
        return g


@op("permuted", x=normal(2, 3))
class flip_not_undone:
    """What was turned round has to be turned back."""

    def f(x):
        return np.exp(x[:, ::-1])

    def right(g, y, x):
        return (g * y)[:, ::-1]

    def wrong(g, y, x):
        return g * y


@op("other-input", "permuted", a=normal(2), b=normal(2))
class concatenation_split_in_the_wrong_order:
    """The halves of the gradient go to the wrong inputs; both are of one length."""

    def f(a, b):
        return np.concatenate([a, b])

    def right(g, y, a, b):
        return g[:2], g[2:]

    def wrong(g, y, a, b):
        return g[2:], g[:2]


@op("dropped", x=normal(3))
class repeat_keeps_the_first:
    """Each element was used twice, and only its first use sends a gradient back."""

    def f(x):
        return np.concatenate([x, x])

    def right(g, y, x):
        return g[:3] + g[3:]

    def wrong(g, y, x):
        return g[:3]


@op("dropped", table=normal(3, 2), index=np.array([0, 2, 0, 1]), seen="pytorch/pytorch#1528")
class embedding_assigned_for_added:
    """A word that occurs twice gets the gradient of its last occurrence: d[index] += g does not add up repeats."""

    def f(table, index):
        return table[index]

    def right(g, y, table, index):
        d = np.zeros_like(table)
        np.add.at(d, index, g)
        return d, None

    def wrong(g, y, table, index):
        d = np.zeros_like(table)
        d[index] += g
        return d, None


@op("other-input", "branch", a=normal(4), b=normal(4), mask=np.array([True, False, True, True]))
class where_with_one_mask:
    """Both inputs get the gradient where the mask holds; the second is due where it does not."""

    def f(a, b, mask):
        return np.where(mask, a, b)

    def right(g, y, a, b, mask):
        return np.where(mask, g, 0 * g), np.where(mask, 0 * g, g), None

    def wrong(g, y, a, b, mask):
        return np.where(mask, g, 0 * g), np.where(mask, g, 0 * g), None


@op("sign", x=normal(4))
class differences_reversed:
    """x[i + 1] - x[i] forward, and the gradient of x[i] - x[i + 1]."""

    def f(x):
        return x[1:] - x[:-1]

    def right(g, y, x):
        d = np.zeros_like(x)
        d[1:] += g
        d[:-1] -= g
        return d

    def wrong(g, y, x):
        d = np.zeros_like(x)
        d[1:] -= g
        d[:-1] += g
        return d
