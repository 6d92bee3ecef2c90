"""Random graphs of up to 50 ops: captured on some inputs, run on others, beside the library itself.

Compiling takes longer than anything else here, so some graphs at a time are compiled as one function, which also lets
them share loops. Where such a function fails, the graph that fails alone is named, cut to its shortest part.
"""

import numpy as np
import pytest
from catalogue import close
from engines import ENGINES, compiled
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import minigrad as mg

LARGEST = 300  # elements: results that are larger are added up

# Ops of one tensor and two small integers, which say what is left open. All keep numbers of moderate size.
UNARY = [
    lambda x, i, j: mg.tanh(x),
    lambda x, i, j: mg.sin(x) * mg.cos(x),
    lambda x, i, j: mg.sigmoid(x - 1),
    lambda x, i, j: mg.exp(-x * x),
    lambda x, i, j: mg.sqrt(x * x + 1),
    lambda x, i, j: mg.log(1 + x**2) / (1 + i),
    lambda x, i, j: mg.relu(x),
    lambda x, i, j: mg.abs(x),
    lambda x, i, j: mg.where(x > 0.1 * (j - 3), x, 0.5 * x),
    lambda x, i, j: mg.clip(x, -1.0 - i, 0.5 + j),
    lambda x, i, j: mg.softplus(x),
    lambda x, i, j: mg.gelu(x),
    lambda x, i, j: -x / 3.0,
    lambda x, i, j: mg.round(x) + x,
    # reductions and scans
    lambda x, i, j: mg.mean(x, axis=axis(x, i), keepdims=j % 2 == 0),
    lambda x, i, j: mg.max(x, axis=axis(x, i), keepdims=j % 2 == 0),
    lambda x, i, j: mg.min(x, axis=axis(x, i)),
    lambda x, i, j: mg.tanh(mg.sum(x, axis=axis(x, i))),
    lambda x, i, j: mg.var(x, axis=axis(x, i), keepdims=j % 2 == 0),
    lambda x, i, j: mg.logsumexp(x, axis=axis(x, i)),
    lambda x, i, j: mg.softmax(x, axis=axis(x, i)) if x.ndim else x,
    lambda x, i, j: mg.cumsum(x, axis=axis(x, i)) / (1 + j),
    lambda x, i, j: mg.tanh(mg.prod(x, axis=axis(x, i))),
    lambda x, i, j: mg.sort(x, axis=-1) if x.ndim else x,
    # shapes
    lambda x, i, j: mg.reshape(x, (-1,) if i % 2 else (1, *x.shape)),
    lambda x, i, j: mg.transpose(x),
    lambda x, i, j: mg.swapaxes(x, 0, -1) if x.ndim else x,
    lambda x, i, j: mg.expand_dims(x, i % (x.ndim + 1)),
    lambda x, i, j: mg.squeeze(x),
    lambda x, i, j: mg.broadcast_to(x, (1 + i % 3, *x.shape)),
    lambda x, i, j: mg.flip(x, axis(x, i)),
    lambda x, i, j: mg.roll(x, j, axis(x, i)),
    lambda x, i, j: mg.pad(x, i % 3),
    lambda x, i, j: mg.repeat(x, 1 + i % 2, axis(x, j)),
    lambda x, i, j: mg.tril(mg.atleast_2d(x), j - 3),
    lambda x, i, j: mg.diagonal(x) if x.ndim > 1 else x,
    # indexing
    lambda x, i, j: x[i % len(x)] if x.ndim else x,
    lambda x, i, j: x[..., j % 2 :: 1 + i % 2] if x.ndim and x.shape[-1] > 1 else x,
    lambda x, i, j: x[np.array([i, j, i]) % len(x)] if x.ndim else x,
    lambda x, i, j: x[None, ..., ::-1] if x.ndim else x[None],
    lambda x, i, j: mg.take_along_axis(x, np.expand_dims(x.argmax(-1), -1), -1) if x.ndim else x,
    lambda x, i, j: mg.setitem(x, i % len(x), 0.5) if x.ndim else x,
    lambda x, i, j: mg.stop_gradient(x) + x,
    lambda x, i, j: mg.checkpoint(lambda x: mg.tanh(mg.sin(x) + i))(x),
]
BINARY = [
    lambda x, y, i: x + y,
    lambda x, y, i: x - y,
    lambda x, y, i: x * y,
    lambda x, y, i: x / (1 + y * y),
    lambda x, y, i: mg.maximum(x, y),
    lambda x, y, i: mg.minimum(x, y),
    lambda x, y, i: mg.where(x < y, x, 2 * y),
    lambda x, y, i: mg.logaddexp(x, y),
    lambda x, y, i: mg.arctan2(x, 1 + y * y),
    lambda x, y, i: mg.hypot(x, 1 + mg.abs(y)),
]
PRODUCTS = [
    lambda x, y, i: mg.tanh(mg.outer(x, y)),
    lambda x, y, i: mg.tanh(mg.vdot(x, y if x.shape == y.shape else x)),
    lambda x, y, i: mg.tanh(matrix(x) @ fitting(y, matrix(x).shape[-1])),
    lambda x, y, i: mg.tanh(mg.einsum("ij,ij->j" if i % 2 else "ij,ij->i", matrix(x), matrix(x))),
    lambda x, y, i: mg.concatenate([mg.ravel(x), mg.ravel(y)]),
    lambda x, y, i: mg.stack([x, y], axis=-1) if x.shape == y.shape else mg.stack([x, x]),
]


def axis(x, i):
    """One of the axes, or None."""
    return None if i % (x.ndim + 1) == x.ndim else i % (x.ndim + 1)


def matrix(x):
    return mg.reshape(x, (-1, x.shape[-1] if x.ndim else 1))


def fitting(y, n):
    """A matrix of n rows made of y, which has at least one element."""
    row = mg.ravel(y)
    return mg.reshape(row[np.arange(2 * n) % row.size], (n, 2))


def broadcasts(x, y):
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return True


def graph(program):
    """The function of some tensors that a list of (which op, two operands, two integers) stands for."""

    def function(inputs):
        made = list(inputs)
        unused = dict.fromkeys(range(len(made)))
        for op, a, b, i, j in program:
            a, b = a % len(made), b % len(made)
            x, y = made[a], made[b]
            op %= len(UNARY) + len(BINARY) + len(PRODUCTS)
            if op < len(UNARY):
                z = UNARY[op](x, i, j)
            elif op < len(UNARY) + len(BINARY):
                y = y if broadcasts(x, y) else mg.mean(y)
                z = BINARY[op - len(UNARY)](x, y, i)
            else:
                z = PRODUCTS[op - len(UNARY) - len(BINARY)](x, y, i)
            for k in (a, b):
                unused.pop(k, None)
            unused[len(made)] = None
            made.append(z if z.size <= LARGEST else mg.mean(z, axis=0))
        return [made[k] for k in unused]

    return function


# Axes around the widths of vectors, narrow ones beside long ones, and hardly any.
SHAPES = [(), (1,), (3,), (2, 3), (3, 1), (2, 1, 3), (17,), (65,), (3, 33), (16, 5), (1, 15), (2, 20, 3), (4, 64)]
RTOL = {np.float64: 1e-9, np.float32: 1e-3}

small = st.integers(0, 6)
ops = st.tuples(st.integers(0, 59), st.integers(0, 60), st.integers(0, 60), small, small)
shapes = st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4)


def graphs_of(lengths):
    """As many graphs as lengths, each of so many ops at most."""
    return st.tuples(*[st.tuples(st.lists(ops, min_size=(n + 1) // 2, max_size=n), shapes) for n in lengths])


def everything(program, xs):
    """Values and gradients, of the sum of their sines."""
    values, pullback = mg.vjp(graph(program), [mg.tensor(x) for x in xs])
    (gradients,) = pullback([mg.cos(y + k) for k, y in enumerate(values)])
    return values, gradients


def agree(engine, graphs, dtype, seed):
    rng = np.random.default_rng(seed)
    first, other = (
        [[np.asarray(rng.uniform(-2, 2, s), dtype) for s in sizes] for _, sizes in graphs] for _ in range(2)
    )

    def together(arrays):
        return [everything(program, xs) for (program, _), xs in zip(graphs, arrays, strict=True)]

    ours = compiled(engine, together)
    ours(first)
    for (values, gradients), (right, slopes) in zip(ours(other), together(other), strict=True):
        for a, b in zip([*values, *gradients], [*right, *slopes], strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            if engine == "replay":
                np.testing.assert_array_equal(a.data, b.data)  # the same calls on the same numbers
            else:
                close(a, b.data, "value or gradient", RTOL[dtype], RTOL[dtype])


def shortest(engine, graphs, dtype, seed):
    """The shortest beginning of one of the graphs that fails by itself; None if they fail together only."""
    for program, sizes in graphs:
        for n in (len(program), *range(1, len(program))):
            try:
                agree(engine, [(program[:n], sizes)], dtype, seed)
            except Exception:
                if n < len(program):
                    return program[:n], sizes
            else:
                if n == len(program):
                    break
        else:
            return program, sizes
    return None


def batch_agrees(engine, graphs, dtype, seed):
    try:
        agree(engine, graphs, dtype, seed)
    except Exception as error:
        one = shortest(engine, graphs, dtype, seed)
        raise AssertionError(f"agree({engine!r}, {[one] if one else graphs}, np.{dtype.__name__}, {seed})") from error


def random_graphs(lengths, batches):
    """So many functions of graphs of these lengths. Nothing is shrunk: every attempt would compile again."""
    options = {"phases": [Phase.explicit, Phase.reuse, Phase.generate], "suppress_health_check": list(HealthCheck)}
    drawn = given(graphs=graphs_of(lengths), seed=st.integers(0, 99))
    return lambda test: settings(max_examples=batches, **options)(drawn(test))


each = pytest.mark.parametrize("engine", ENGINES)
each_dtype = pytest.mark.parametrize("dtype", RTOL, ids=["float64", "float32"])


@each
@each_dtype
@random_graphs([1, 2, 3] * 8 + [5], batches=4)
def test_random_graphs(engine, dtype, graphs, seed):
    batch_agrees(engine, graphs, dtype, seed)


@pytest.mark.long
@each
@each_dtype
@random_graphs([1, 2, 3, 4, 5, 7, 9] * 3 + [16, 50], batches=44)
def test_many_random_graphs(engine, dtype, graphs, seed):
    batch_agrees(engine, graphs, dtype, seed)


@each
def test_one_of_each(engine):
    batch_agrees(engine, [([(i, i, i + 1, i % 5, i % 3) for i in range(50)], SHAPES[:4])], np.float64, 0)
