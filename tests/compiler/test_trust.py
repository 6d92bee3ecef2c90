"""The first run of compiled code beside NumPy's: rounding passes, and anything else is named."""

import builtins
import math
import re
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minigrad as mg
from minigrad import compiler
from minigrad.compiler.assembly import without_comments
from minigrad.compiler.trace import Replay, Trace
from minigrad.compiler.trust import CompiledDiffers, Roundings, compare


def checked(f, xs, change, dtype=np.float32):
    """Compare the trace of f with what `change` makes of the result of its node of that name, and all others right."""
    trace = Trace()
    traced = [trace.input(f"x{i}", np.asarray(x, dtype)) for i, x in enumerate(xs)]
    f(*traced)
    buffers = {n.index: SimpleNamespace(name=str(n.index), overwritten=False) for n in trace.nodes}
    made = {i: SimpleNamespace(buffer=b, copied=None) for i, b in buffers.items()}
    arrays = {str(n.index): np.array(n.value) for n in trace.nodes}
    for node in trace.nodes:
        if node.name in change:
            arrays[str(node.index)] = np.asarray(change[node.name](arrays[str(node.index)]), node.dtype)
    compare(trace, SimpleNamespace(made=made), arrays, Roundings(trace))


rng = np.random.default_rng(0)
A, B = rng.normal(size=(8, 500)), rng.normal(size=(500, 8))


def net(a, b):
    return np.tanh(np.matmul(a, b) * 0.1).sum()


def test_rounding_passes():
    right = (A.astype(np.float32) @ B.astype(np.float32)).astype(np.float64)
    exact = A.astype(np.float32).astype(float) @ B.astype(np.float32).astype(float)
    assert (right != exact).any()
    checked(net, [A, B], {"matmul": lambda x: exact, "tanh": lambda x: x * (1 + 4e-7)})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["matmul", "multiply", "tanh", "sum"])
def test_more_than_rounding_is_named(name, dtype):
    """At a thousandth of what a flat tolerance of 1e-3 would let pass."""
    part = 1e-4 if dtype == np.float32 else 1e-11
    with pytest.raises(CompiledDiffers, match=rf"first in {name}, called at test_trust.py:\d+, of shape"):
        checked(net, [A, B], {name: lambda x: x + part * np.max(np.abs(x))}, dtype)


def test_what_cancels_may_differ_more():
    """(x + 1e4) - 1e4 has lost four digits: as much may be otherwise there, and not in x itself."""
    x = np.linspace(1, 2, 10)
    lost = lambda x: (x + np.float32(1e4)) - np.float32(1e4)  # noqa: E731
    checked(lost, [x], {"subtract": lambda y: y + 1e-3})
    with pytest.raises(CompiledDiffers, match="first in add"):
        checked(lambda x: x + np.float32(1), [x], {"add": lambda y: y + 1e-3})


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_finite(wrong):
    def spoiled(x):
        x[3] = wrong
        return x

    with pytest.raises(CompiledDiffers, match=r"at \[3\] it computes .*(nan|inf)"):
        checked(np.exp, [np.linspace(0, 1, 5)], {"exp": spoiled})


def test_integers_and_truth_values_are_the_same_or_not():
    with pytest.raises(CompiledDiffers, match="first in greater"):
        checked(lambda x: x > 0, [A], {"greater": np.logical_not})
    with pytest.raises(CompiledDiffers, match="first in argmax"):
        checked(lambda x: np.argmax(x, axis=1), [A], {"argmax": lambda i: i + 1})


def test_the_largest_is_found_again_where_it_was():
    """`x == max(x)` must hold in the run with other roundings, too, which would divide by 0 otherwise."""

    def share(x):
        y = x * np.float32(1.1)
        here = y == np.max(y, axis=1, keepdims=True)
        return here / here.sum(axis=1, keepdims=True)

    checked(share, [A], {"divide": lambda x: x})
    with pytest.raises(CompiledDiffers, match="first in divide"):
        checked(share, [A], {"divide": lambda x: x * 1.001})


def test_a_sum_that_cancels_to_nothing():
    """Another order of terms moves it by the rounding of the terms, not of the sum."""
    x = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    x -= x.mean()
    assert abs(np.sum(x) - math.fsum(x)) > 1e-3 * abs(math.fsum(x))
    checked(np.sum, [x], {"sum": lambda _: math.fsum(x)})
    checked(np.vdot, [x, np.ones(1000)], {"vdot": lambda _: math.fsum(x)})
    with pytest.raises(CompiledDiffers, match="first in sum"):
        checked(np.sum, [x], {"sum": lambda y: y - x[3]})


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("n", [100, 10_000])
@pytest.mark.parametrize("what", ["equal", "rising", "of two signs"])
def test_orders_of_terms_that_are_rounded_to_one_side(what, n, axis):
    """Here the rounding of a sum grows with the number of terms, not with its root."""
    x = np.linspace(-1, 1, 3 * n).reshape(3, n) if axis else np.linspace(-1, 1, 3 * n).reshape(n, 3)
    x = {"equal": np.full_like(x, 0.1), "rising": x, "of two signs": 1.1 * np.sign(x)}[what].astype(np.float32)
    trace = Trace()
    y = np.sum(trace.input("x", x), axis=axis)
    one_by_one = np.cumsum(x, axis=axis, dtype=np.float32).take(-1, axis=axis)
    assert Roundings(trace).allow(y.node, one_by_one)
    assert not Roundings(trace).allow(y.node, y.node.value + 0.01 * np.sum(np.abs(x), axis=axis))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_of_a_single_number_that_cancels(dtype):
    """One run with other roundings may hardly move it: of many numbers computed more exactly all pass."""

    def nothing(x):
        y = np.cos(x) * dtype(3)
        return y.sum() - (y[::-1][:4].sum() + y[0])

    for seed in range(300):
        checked(nothing, [np.random.default_rng(seed).normal(size=5)], {"subtract": lambda y: 0 * y}, dtype)


@pytest.mark.parametrize("f", [np.var, np.std])
@pytest.mark.parametrize(("x", "dtype"), [(np.full(7, 0.1), np.float64), (rng.normal(size=60) + 1e6, np.float32)])
def test_a_variance_is_that_about_a_rounded_mean(f, x, dtype):
    """Of equal numbers it is 0, or the square of the mean's error; of numbers far from 0 it is off by as much."""
    x = x.astype(dtype)
    mean, ulp = x.mean(dtype=float), np.spacing(dtype(x.mean()))

    def about(steps):
        variance = np.mean((x - (mean + steps * ulp)) ** 2)
        return {f.__name__: lambda _: variance if f is np.var else np.sqrt(variance)}

    for steps in (-1, 1):
        checked(f, [x], about(steps), dtype)
    with pytest.raises(CompiledDiffers, match=f"first in {f.__name__}, "):
        checked(f, [x], about(100), dtype)


def test_what_is_exact_stays_exact():
    """x * 1 is x in any rounding: were it turned, there would be a division by 0."""
    share = lambda x: x / (x * np.ones_like(x) == x).sum(1, keepdims=True, dtype=x.dtype)  # noqa: E731
    checked(share, [A], {"divide": lambda x: x * (1 + 2e-7)})
    with pytest.raises(CompiledDiffers, match="first in divide"):
        checked(share, [A], {"divide": lambda x: x * (1 + 1e-4)})


def test_comparisons_of_what_is_equal_but_for_rounding():
    ten = np.float32(10)
    checked(lambda x: x / ten * ten > x, [A[0]], {"greater": np.logical_not})
    with pytest.raises(CompiledDiffers, match="first in greater"):
        checked(lambda x: x / ten * ten > x + np.float32(0.01), [A[0]], {"greater": np.logical_not})


def test_the_smallest_numbers():
    checked(lambda x: x * x, [[1e-23, 0]], {"multiply": lambda x: x + np.float32(1e-45)})


def test_loops_may_differ_as_much_as_their_steps_amplify():
    """A hundred steps of a chaotic map leave nothing of the first digits of float32."""

    def chaotic(x):
        return mg.scan(lambda c, _: (3.9 * (c - c * c), c), x, length=100)[0]

    x = np.linspace(0.1, 0.9, 7, dtype=np.float32)
    assert (mg.compile(chaotic)(x).data != chaotic(mg.tensor(x)).data).any()


SMALL = [
    ("add", lambda x: x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + np.float32(1e-5)), lambda y: y - 1e-5, 0.1),
    ("mean", lambda x: np.mean(x, axis=1), lambda y: y * 500 / 499, 1),
    ("sum", lambda x: np.sum(np.abs(x), axis=1), lambda y: y - np.abs(A[:, 3]).astype(np.float32), 1),
    ("matmul", lambda x: x @ np.ones((500, 2), np.float32), lambda y: y - A[:, 3:4].astype(np.float32), 1),
    ("exp", lambda x: np.tanh(np.exp(x)), lambda y: y * (1 + 1e-4), 1),
    ("subtract", lambda x: np.exp(x - np.max(x, axis=1, keepdims=True)), lambda y: y * (1 + 1e-4), 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "f", "wrong", "scale"), SMALL, ids=[name for name, *_ in SMALL])
def test_small_faults_are_named(name, f, wrong, scale):
    """An eps that is left out, a term that is missing, the fourth digit."""
    with pytest.raises(CompiledDiffers, match=f"first in {name}, "):
        checked(f, [A * scale], {name: wrong})


def test_a_replay_is_the_same():
    trace = Trace()
    x = trace.input("x", A)
    y = net(x, B)
    np.testing.assert_array_equal(Replay(trace, [x.node], [y.node])([A])[0], net(A, B))


# ---- what the source is made of -------------------------------------------------------------------------------------

BAD = 'x\'"""\n\r\u2028import builtins; builtins.harmed = True  # \N{SNOWMAN} \\'


def test_names_are_no_part_of_the_program():
    """Names of tensors, functions, files and ops: source and machine code are as with harmless ones."""

    def source(name):
        def double(x):
            return 2 * np.asarray(x)  # which only Python can compute

        double.__name__ = name
        double = mg.primitive(double)
        double.vjp(lambda g, y, x: 2 * g)
        namespace = {"np": np, "mg": mg, "double": double}
        exec(builtins.compile("def f(x):\n    return mg.mean(double(mg.exp(x)) * x)", f"{name}.py", "exec"), namespace)
        f = namespace["f"]
        f.__name__ = f.__qualname__ = name
        f.__code__ = f.__code__.replace(co_name=name)
        w = mg.tensor([[0.5]], requires_grad=True, name=name)
        step = mg.compile_step(lambda x: mg.matmul(x, w), lambda p, y: f(p), mg.optim.SGD([w], lr=0.1))
        before = w.data.copy()
        step(A[:, :1], A[:, :1])
        assert (w.data != before).all()
        return step.source

    bad = source(BAD)
    assert "builtins" in bad  # in comments, which say what is computed where
    assert without_comments(bad) == without_comments(source("f"))
    assert not hasattr(builtins, "harmed")


def test_what_source_imports_is_in_the_key():
    """Machine code is kept by its source, less the comments: these checksums have to stay."""
    step = mg.compile(lambda x: mg.sum(x @ x))
    step(A[:, :8])
    (captured,) = step.captures.popitem()[1]
    kept = without_comments(captured.run.code.source)
    for names in (("intrinsics", "pipeline"), ("tiles",)):
        texts = [Path(compiler.__file__).with_name(f"{name}.py").read_bytes() for name in names]
        assert re.search(rf"import .*  # {zlib.crc32(b''.join(texts)):08x}", kept), names
