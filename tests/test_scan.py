"""mg.scan: JAX's meaning, gradients of any order, and a loop that stays one when it is captured."""

import itertools

import numpy as np
import pytest
from catalogue import close

import minigrad as mg
from minigrad.nests import flatten

rng = np.random.default_rng(0)
T, N, M = 6, 4, 3
GIVEN = {
    "h0": rng.normal(size=N), "X": rng.normal(size=(T, M)),
    "W": rng.normal(size=(N, N)) / 2, "U": rng.normal(size=(N, M)),
}  # fmt: skip
ARRAYS = tuple(GIVEN.values())


def run(np_, scan, h0, X, W, U, reverse=False):
    """Nests in all places, with a counter among the carry, and weights that the step uses without being given them."""

    def step(carry, x):
        row, t = x["row"], x["t"]
        h = np_.tanh(W @ carry["h"] + U @ row)
        return {"h": h, "n": carry["n"] + 1}, (h * row.sum(), [(h + carry["n"] + t).sum(), None])

    return scan(step, {"h": h0, "n": 0}, {"row": X, "t": np.arange(len(X))}, reverse=reverse)


def loss(np_, scan, *arrays, reverse=False):
    carry, (ys, (sums, _)) = run(np_, scan, *arrays, reverse=reverse)
    weights = np.linspace(1, 2, len(ys))  # what comes out tells the steps apart
    return (carry["h"] ** 2).sum() * carry["n"] + (np_.sin(ys).sum(1) * weights).sum() + (sums**2 * weights).sum()


def ours(reverse=False):
    return lambda *arrays: loss(mg, mg.scan, *arrays, reverse=reverse)


def squared(gradients):
    """The sum of the squares of all gradients, whose gradient is of second order."""
    return sum((g**2).sum() for g in gradients)


def theirs(jax, reverse=False):
    return lambda *arrays: loss(jax.numpy, jax.lax.scan, *arrays, reverse=reverse)


@pytest.fixture
def jax():
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("reverse", [False, True])
def test_values_and_gradients_are_jaxs(jax, reverse):
    mine, its = run(mg, mg.scan, *ARRAYS, reverse=reverse), run(jax.numpy, jax.lax.scan, *ARRAYS, reverse=reverse)
    assert mine[0]["n"].item() == T
    assert mine[1][1][1] is None
    for a, b in zip([mine[0]["h"], *flatten(mine[1])[0][:2]], [its[0]["h"], its[1][0], its[1][1][0]], strict=True):
        close(a, b, "value")
    every = (0, 1, 2, 3)
    f, g = mg.grad(ours(reverse), every), jax.grad(theirs(jax, reverse), every)
    for name, a, b in zip(GIVEN, f(*ARRAYS), g(*ARRAYS), strict=True):
        close(a, b, name)
    second = mg.grad(lambda *xs: squared(f(*xs)), every)(*ARRAYS)
    for name, a, b in zip(GIVEN, second, jax.grad(lambda *xs: squared(g(*xs)), every)(*ARRAYS), strict=True):
        close(a, b, f"second {name}")


def test_length_in_place_of_xs(jax):
    mine = mg.scan(lambda c, x: (c * 1.5 + (x is None), c), 2.0, length=4)
    its = jax.lax.scan(lambda c, x: (c * 1.5 + (x is None), c), 2.0, None, length=4)
    close(mine[0], its[0], "carry")
    close(mine[1], its[1], "ys")
    assert mg.scan(lambda c, x: (c, x), 1.0, np.arange(3), length=3)[1].tolist() == [0, 1, 2]


def test_no_steps(jax):
    for scan in (mg.scan, jax.lax.scan):
        carry, (a, b) = scan(lambda c, x: (c + x[0], (x, {"s": x.sum() > c.sum()})), np.ones(2), np.zeros((0, 3, 2)))
        assert carry.tolist() == [1, 1]
        assert (a.shape, b["s"].shape) == ((0, 3, 2), (0,))
        assert (a.dtype, b["s"].dtype) == (float, bool)
    w = mg.tensor([1.0, 2.0], requires_grad=True)
    (mg.scan(lambda c, x: (c * 2, c), w, length=0)[0] ** 2).sum().backward()
    assert w.grad.tolist() == [2, 4]


def test_dicts_in_another_order():
    def step(carry, x):
        flipped = {"b": carry["b"] + 10, "a": carry["a"] + x}
        return flipped, flipped if carry["b"].item() else carry

    carry, ys = mg.scan(step, {"a": 0.0, "b": 0.0}, np.ones(3))
    assert (carry["a"].item(), carry["b"].item()) == (3, 30)
    assert (ys["b"].tolist(), ys["a"].tolist()) == ([0, 20, 30], [0, 2, 3])


def test_symbols():
    x, w = mg.symbols("x", (3,)), mg.symbols("w")
    last, ys = mg.scan(lambda c, x: (c * w + x, c), 0.0, x)
    import sympy

    x0, x1, x2 = x.data.tolist()
    w0 = w.data.item()
    assert sympy.expand(last.item() - (x0 * w0**2 + x1 * w0 + x2)) == 0
    assert sympy.expand(ys.data[2] - (x0 * w0 + x1)) == 0
    last.backward()
    assert sympy.expand(w.grad.item() - (2 * x0 * w0 + x1)) == 0


def test_vmap_over_each_of_the_inputs():
    f = mg.grad(ours(), argnums=(0, 1, 2, 3))
    for i in range(4):
        many = np.stack([ARRAYS[i] * k for k in (1.0, 0.5, -0.3)])
        axes = tuple(0 if j == i else None for j in range(4))
        rows = mg.vmap(f, in_axes=axes)(*[many if j == i else x for j, x in enumerate(ARRAYS)])
        for k, row in enumerate(many):
            alone = f(*[row if j == i else x for j, x in enumerate(ARRAYS)])
            for a, b in zip(rows, alone, strict=True):
                close(a.data[k], b.data, f"sample {k} of {i}")


def test_the_gradient_of_many_rows_takes_no_square_of_them():
    """Each row's gradient in an array as large as all rows would be 800 MB here."""
    import tracemalloc

    x = mg.tensor(np.ones((10_000, 1)), requires_grad=True)
    y = mg.scan(lambda c, x: (c + x, None), np.zeros(1), x)[0].sum()
    tracemalloc.start()
    y.backward()
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    np.testing.assert_array_equal(x.grad.data, 1)


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: mg.scan(lambda c, x: c, 0.0, np.ones(3)), TypeError, "return a pair.*not Tensor"),
        (lambda: mg.scan(lambda c, x: (c, x, x), 0.0, np.ones(3)), TypeError, "return a pair.*not 3 values"),
        (
            lambda: mg.scan(lambda c, x: (c + x, c), 0.0, np.ones((3, 2))),
            ValueError,
            r"float64\[\] .*float64\[2\]: its",
        ),
        (lambda: mg.scan(lambda c, x: ((c, c), c), 0.0, np.ones(3)), ValueError, r"form and shapes must stay the same"),
        (lambda: mg.scan(lambda c, x: ([c[0]], 0.0), (0.0,), np.ones(3)), ValueError, "form and shapes must stay"),
        (
            lambda: mg.scan(lambda c, x: (c + x, c), 0, np.ones(3)),
            TypeError,
            r"int64\[\] and .*float64\[\]: its dtypes",
        ),
        (
            lambda: mg.scan(lambda c, x: (c, x), 0.0, (np.ones(3), np.ones(4))),
            ValueError,
            r"equally long.*\(3,\), \(4,\)",
        ),
        (lambda: mg.scan(lambda c, x: (c, x), 0.0, np.ones(3), length=4), ValueError, "length=4, and xs has 3 rows"),
        (lambda: mg.scan(lambda c, x: (c, x), 0.0), ValueError, "length= says how many"),
        (lambda: mg.scan(lambda c, x: (c, x), 0.0, length=-1), ValueError, "length=-1 should be"),
        (lambda: mg.scan(lambda c, x: (c, x), 0.0, length=2.0), ValueError, "length=2.0 should be"),
        (lambda: mg.scan(lambda c, x: (c, x), 0.0, {"a": 1.0}), ValueError, "no axis to go along"),
    ],
)
def test_errors(call, error, says):
    with pytest.raises(error, match=f"^scan: .*{says}"):
        call()


def test_ys_that_do_not_stack():
    count = itertools.count(1)
    with pytest.raises(ValueError, match=r"float64\[1\] in step 0 and float64\[2\] in step 1"):
        mg.scan(lambda c, x: (c, np.ones(next(count))), 0.0, np.ones(3))


# ---- captured -------------------------------------------------------------------------------------------------------


class Captured:
    """A function as its trace, read by NumPy."""

    def __init__(self, f, *arrays):
        from minigrad.compiler.capture import capturing
        from minigrad.compiler.trace import Replay, tensor_of

        with capturing() as capture:
            inputs = [capture.trace.input(f"x{i}", x) for i, x in enumerate(arrays)]
            outputs = [y._data for y in flatten(f(*map(tensor_of, inputs)))[0]]
            self.required = capture.required
            self.first = [y.node.value for y in outputs]
            self.replay = Replay(capture.trace, [x.node for x in inputs], [y.node for y in outputs])
        self.draws = capture.draws

    def __call__(self, *arrays):
        return self.replay(arrays)

    def loops(self):
        from minigrad.compiler.loops import Loop

        return [node.function for node in self.replay.nodes if isinstance(node.function, Loop)]


def others(arrays):
    fresh = np.random.default_rng(1)
    return [fresh.normal(size=x.shape).astype(x.dtype) for x in arrays]


def agrees(f, *arrays):
    """What is captured gives what f does: on the arrays of the capture, and on others."""
    captured = Captured(f, *arrays)
    for given, got in ((arrays, captured.first), (others(arrays), captured(*others(arrays)))):
        for a, b in zip(got, flatten(f(*given))[0], strict=True):
            assert a.dtype == b.dtype
            close(a, b.data, "captured", 1e-9, 1e-11)
    return captured


EVERY = (0, 1, 2, 3)


@pytest.mark.parametrize("reverse", [False, True])
def test_captured_is_eager(reverse):
    assert len(agrees(lambda *xs: run(mg, mg.scan, *xs, reverse=reverse)[1][0], *ARRAYS).loops()) == 1
    assert len(agrees(mg.grad(ours(reverse), EVERY), *ARRAYS).loops()) == 2
    once = mg.grad(ours(reverse), EVERY)
    agrees(mg.grad(lambda *xs: squared(once(*xs)), EVERY), *ARRAYS)


def test_captured_in_float32():
    agrees(mg.grad(lambda h, w: (mg.scan(lambda h, _: (mg.tanh(w @ h), h), h, length=3)[1] ** 2).sum(), (0, 1)),
           np.ones(2, np.float32), np.eye(2, dtype=np.float32))  # fmt: skip


def test_the_trace_does_not_grow_with_the_steps():
    def sizes(length):
        h0, _, W, U = ARRAYS
        found = []
        for f in (ours(), mg.grad(ours(), EVERY), lambda *xs: mg.grad(lambda *xs: squared(mg.grad(ours())(*xs)))(*xs)):
            captured = Captured(f, h0, rng.normal(size=(length, M)), W, U)
            found.append((len(captured.replay.nodes), [len(loop.nodes) for loop in captured.loops()]))
        return found

    assert sizes(2) == sizes(40)


def test_captured_where_only_the_step_uses_what_is_given():
    """Neither the first carry nor the xs are traced; and a y that was computed outside."""
    f = mg.grad(lambda w: (mg.scan(lambda h, x: (mg.tanh(w @ h) + x, None), np.ones(2), np.arange(3.0))[0]).sum())
    assert len(agrees(f, rng.normal(size=(2, 2))).loops()) == 2
    assert len(agrees(lambda w: mg.scan(lambda n, _: (n + 1, w * 2), 0, length=3)[1], np.ones(2)).loops()) == 1


def test_captured_layers_whose_steps_use_the_variables_of_a_loop():
    """Which are those of the last layer when the gradient computes the steps again."""

    def total(x, *weights):
        for w, scale in zip(weights, (1.0, 2.0), strict=True):
            act = lambda h: mg.tanh(scale * (w @ h))  # noqa: B023, E731
            x = mg.scan(lambda h, row: (act(h) + row, act(h) * row), np.zeros(N), x)[1]  # noqa: B023
        return (x**2).sum()

    agrees(mg.grad(total, (0, 1, 2)), rng.normal(size=(T, N)), *rng.normal(size=(2, N, N)))


def test_captured_loop_in_a_loop():
    def total(a, w):
        def outer(c, row):
            inner = lambda d, x: (mg.sin(d * w) + x * c.sum(), d * row[0])  # noqa: E731
            last, ys = mg.scan(inner, c, row, reverse=True)
            return mg.tanh(last), ys

        c, ys = mg.scan(outer, w * 1.0, a)
        return (c * c).sum() + (ys**2).sum()

    a, w = rng.normal(size=(3, 4)), rng.normal(size=2)
    captured = agrees(mg.grad(total, (0, 1)), a, w)
    assert len(captured.loops()) == 2  # the loops inside are among the nodes of these
    agrees(mg.grad(lambda *xs: squared(mg.grad(total, (0, 1))(*xs)), (0, 1)), a, w)


def test_captured_inside_vmap_is_captured_step_by_step():
    f = lambda w, X: mg.vmap(lambda x: mg.scan(lambda h, x: (mg.tanh(h * x + w), h), 0.5, x)[1])(X)  # noqa: E731
    assert not agrees(f, np.array(0.3), rng.normal(size=(3, 4))).loops()


def test_captured_with_integers_to_look_up():
    E, tokens = rng.normal(size=(5, 2)), np.array([1, 4, 4, 0])

    def total(E, w):
        return (mg.scan(lambda h, t: (mg.tanh(h * w + E[t]), h), np.zeros(2), tokens)[1] ** 2).sum()

    assert len(agrees(mg.grad(total, (0, 1)), E, np.array(0.7)).loops()) == 2


def test_checks_in_the_body_are_made_for_all_steps():
    """What a step asks of values is asked of all steps, when the whole has run."""

    def means(weights):
        return mg.scan(lambda h, w: (h + mg.average(np.arange(2.0), weights=w), None), 0.0, weights)[0]

    captured = Captured(means, rng.uniform(1, 2, (3, 2)))
    ((shown, error),) = captured.required
    assert shown[0].value.tolist() == [True, True, True]
    assert type(error()) is ZeroDivisionError


def test_what_can_not_be_captured():
    from minigrad.compiler import CaptureError

    def draws(x):
        return mg.scan(lambda h, x: (h + x * mg.random.normal(), None), 0.0, x)[0]

    with pytest.raises(CaptureError, match="numbers are drawn at random in the body of a loop.*as one of the xs"):
        Captured(draws, np.ones(3))
    kept = []

    def leaks(x):
        mg.scan(lambda h, x: (h + x, kept.append(h * 2)), 0.0, x)
        return kept[0] + 1

    with pytest.raises(CaptureError, match="a value of one step of a loop is used after the loop"):
        Captured(leaks, np.ones(3))
    with pytest.raises(ValueError, match=r"^scan: .*its form and shapes must stay the same"):
        Captured(lambda x: mg.scan(lambda h, x: (h + x, None), 0.0, x)[0], np.ones((3, 2)))


def test_a_tensor_that_the_body_changes():
    from minigrad.compiler import CaptureError
    from minigrad.compiler.capture import capturing

    mean = mg.zeros(2)

    def step(h, x):
        mean.data = mean.data + x.data
        return h, None

    with (
        pytest.raises(
            CaptureError, match=r"tensor of shape \(2,\) is changed in the body of a loop.*part of the carry"
        ),
        capturing() as capture,
    ):
        mg.scan(step, 0.0, mg.tensor(capture.trace.input("x", np.ones((3, 2)))))
    np.testing.assert_array_equal(mean.data, 0)


# ---- recurrent layers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gates", "params"),
    [("rnn", 1, {}), ("rnn", 1, {"nonlinearity": "relu"}), ("lstm", 4, {}), ("gru", 3, {})],
    ids=["rnn", "rnn relu", "lstm", "gru"],
)
def test_recurrent_cards_are_one_loop_each_way(name, gates, params):
    def arrays(length, n=3):
        start = (2, 2, n) if name == "lstm" else (2, n)
        shapes = [(length, 2, gates * n), start, (gates * n, n), *([(gates * n,)] if name == "gru" else [])]
        return [rng.normal(size=shape) for shape in shapes]

    def total(*xs):
        return (getattr(mg.ops, name)(*xs, **params) ** 3).sum()

    short, long = (agrees(mg.grad(total, tuple(range(len(arrays(1))))), *arrays(n)) for n in (1, 9))
    assert len(short.loops()) == len(long.loops()) == 2
    assert len(short.replay.nodes) == len(long.replay.nodes)
    products = [[node.name for node in loop.nodes].count("matmul") for loop in long.loops()]
    assert products == [1, 1]  # no gate is computed again


def test_a_recurrent_layer_within_a_loop():
    def total(w, X):
        def step(h, x):
            h = mg.ops.rnn(x, h, w)[-1]
            return h, h

        return (mg.scan(step, np.zeros((2, 3)), X)[1] ** 2).sum()

    agrees(mg.grad(total, (0, 1)), rng.normal(size=(3, 3)), rng.normal(size=(4, 5, 2, 3)))
