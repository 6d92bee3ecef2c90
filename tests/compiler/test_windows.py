"""Convolutions and pools in compiled functions: what the cards give, and in native code."""

import ctypes
import functools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import native
from minigrad.compiler import windows
from minigrad.compiler.products import PRELUDE, Processor
from minigrad.compiler.windows import Axis, Geometry
from minigrad.ops import convolution as cards

F = mg.nn.functional
PROCESSORS = [None, Processor(32, 16, True), Processor(16, 16, False), Processor(64, 32, True)]
GUARD, AROUND = 7.5, 24  # what stands around the elements of a result, and how many of them

# ---- kernels by themselves, beside the same sums in NumPy's words and twice the precision ---------------------------


@functools.cache
def compiled(kernel):
    pointer = f"CPointer({kernel.dtype})"
    source = f"{PRELUDE}{windows.PRELUDE}{kernel.source()}\ndef run(y, a, b, c, lo, hi, scratch):\n"
    source += f"    {kernel.name}(y, a, 0, b, 0, c, 0, lo, hi, scratch)\n"
    address = native.build(source, "run", f"void({', '.join([pointer] * 4)}, int64, int64, {pointer})")
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 2, ctypes.c_void_p)(address)


def run(kernel, shape, inputs, *bounds):
    """The result, computed for each pair of neighbouring bounds in turn."""
    size = int(np.prod(shape))
    memory = np.full(size + 2 * AROUND, GUARD, kernel.dtype)
    scratch = np.full(kernel.scratch + AROUND, np.nan, kernel.dtype)
    scratch[kernel.scratch :] = GUARD
    y = memory[AROUND : size + AROUND]
    a, b, c = [x.ctypes.data for x in (inputs * 3)[:3]]
    for lo, hi in zip(bounds, bounds[1:], strict=False):
        compiled(kernel)(y.ctypes.data, a, b, c, lo, hi, scratch.ctypes.data)
    around = [*memory[:AROUND], *memory[size + AROUND :], *scratch[kernel.scratch :]]
    assert around == [GUARD] * len(around), "something beside the result was written"
    return y.reshape(shape).copy()


def check(kernel, inputs, read, terms, cut):
    wide = [x.astype(np.longdouble if kernel.dtype == "float64" else np.float64) for x in inputs]
    right, size = read(*wide), read(*map(abs, wide))
    y = run(kernel, right.shape, inputs, 0, kernel.extent)
    unit = np.finfo(kernel.dtype).eps / 2  # Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1
    assert np.all(abs(y - right) <= terms * unit / (1 - terms * unit) * size)
    grain = getattr(kernel, "grain", 1)
    middle = min(cut * grain, kernel.extent)
    parts = run(kernel, right.shape, inputs, 0, middle, kernel.extent)
    assert np.array_equal(y, parts), "results differ with the part they are computed in"


@st.composite
def geometries(draw):
    def axis():
        k, s, p, d = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(0, 3)), draw(st.integers(1, 3))
        length = max(1, (k - 1) * d + 1 - 2 * p) + draw(st.integers(0, 30))
        return Axis(length, (length + 2 * p - (k - 1) * d - 1) // s + 1, k, s, p, d)

    images, groups = draw(st.one_of(st.integers(1, 4), st.integers(1, 40))), draw(st.integers(1, 3))
    return Geometry(images, groups, draw(st.integers(1, 5)), draw(st.integers(1, 9)), axis(), axis())


def plain(n, size, kernel):
    return Axis(n, size, kernel, 1, 0, 1)


LENET = Geometry(64, 1, 6, 16, plain(12, 8, 5), plain(12, 8, 5))
BEYOND = Geometry(3, 1, 2, 3, Axis(2, 6, 3, 1, 3, 1), Axis(5, 2, 2, 3, 0, 1))  # rows that meet padding alone, and gaps


@settings(max_examples=12)
@given(geometries(), st.booleans(), st.sampled_from(["float32", "float64"]), st.sampled_from(PROCESSORS),
       st.integers(0, 2**32 - 1), st.integers(0, 3))  # fmt: skip
@example(LENET, True, "float32", None, 0, 1)
@example(BEYOND, False, "float64", None, 0, 1)
def test_any_convolution(g, bias, dtype, how, seed, cut):
    if how is not None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(windows, "processor", lambda: how)
            kernels = made(g, bias, dtype, windows.sums.__wrapped__, windows.by_weight.__wrapped__)
    else:
        kernels = made(g, bias, dtype, windows.sums, windows.by_weight)
    rng = np.random.default_rng(seed)
    axes = list(zip(*(g.rows, g.columns), strict=True))
    length, size, kernel, stride, padding, dilation = axes
    where = {"stride": stride, "padding": padding, "dilation": dilation, "groups": g.groups}
    x = rng.normal(size=(g.images, g.groups * g.channels, *length)).astype(dtype)
    w = rng.normal(size=(g.groups * g.outputs, g.channels, *kernel)).astype(dtype)
    y = rng.normal(size=(g.images, g.groups * g.outputs, *size)).astype(dtype)
    b = [rng.normal(size=len(w)).astype(dtype)] * bias
    forward, by_input, by_weight = kernels
    read = functools.partial(cards.read_convolution, size=size, **where)
    check(forward, [x, w, *b], read, g.channels * g.taps + 2, cut)
    check(by_input, [y, w], functools.partial(cards.read_by_input, size=length, **where), g.outputs * g.taps + 1, cut)
    terms = g.images * size[0] * size[1] + 1
    check(by_weight, [x, y], functools.partial(cards.read_by_weight, size=kernel, **where), terms, cut)


def made(g, bias, dtype, sums, by_weight):
    return sums(g, False, bias, dtype), sums(g, True, False, dtype), by_weight(g, dtype)


# ---- cards in compiled functions ------------------------------------------------------------------------------------


def sources(f):
    """The source of all that a compiled function has captured."""
    return "".join(c.run.code.source for captures in f.captures.values() for c in captures)


def compare(f, *xs, rtol=0.0, scaled=0.0):
    """Values and gradients of a compiled function beside those of the eager one; the source.

    They may differ by `scaled` times the largest element, which sums of products are as exact as.
    """
    slopes = mg.grad(lambda *xs: f(*xs).sum(), argnums=tuple(range(len(xs))))

    def both(*xs):
        return f(*xs), *slopes(*xs)

    quick = mg.compile(both)
    pairs = list(zip(both(*xs), quick(*xs), strict=True))
    for a, b in [(x.data, y.data) for x, y in pairs]:
        assert a.dtype == b.dtype
        assert np.allclose(a, b, rtol, scaled and scaled * abs(a).max(), equal_nan=True)
        if not rtol and not scaled:
            assert np.array_equal(np.signbit(a[a == 0]), np.signbit(b[b == 0]))
    return sources(quick)


def normal(*shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


CONVOLUTIONS = {
    "lenet": (F.conv2d, (20, 2, 12, 12), (3, 2, 5, 5), {}),
    "strided": (F.conv2d, (5, 4, 9, 8), (6, 2, 3, 2), {"stride": (2, 3), "padding": 1, "dilation": 2, "groups": 2}),
    "same": (F.conv2d, (17, 3, 6, 20), (4, 3, 3, 3), {"padding": "same"}),
    "depthwise": (F.conv2d, (8, 3, 5, 5), (3, 1, 3, 3), {"groups": 3}),
    "points": (F.conv2d, (4, 8, 4, 4), (8, 8, 1, 1), {}),
    "one axis": (F.conv1d, (3, 2, 20), (4, 2, 3), {"padding": 2}),
    "transposed": (F.conv_transpose2d, (6, 3, 4, 5), (3, 2, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.long)])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, dtype):
    conv, x, w, params = CONVOLUTIONS[name]
    outputs = w[1] if name == "transposed" else w[0]
    arrays = normal(*x, dtype=dtype), normal(*w, dtype=dtype, seed=1), normal(outputs, dtype=dtype, seed=2)
    bias = name not in ("depthwise", "points")

    def f(x, w, b):
        return mg.tanh(conv(x, w, b if bias else None, **params)) + b.sum()

    assert "call_host" not in compare(f, *arrays, scaled=1e-5 if dtype == "float32" else 1e-13)


def test_gradients_of_gradients():
    x, w = normal(4, 2, 6, 6), normal(3, 2, 3, 3, seed=1)

    def slope(x, w):
        return (mg.grad(lambda x: mg.tanh(F.conv2d(x, w, padding=1)).sum())(x) ** 2).sum()

    assert "call_host" not in compare(slope, x, w, scaled=1e-13)


def test_views_and_constants_as_inputs():
    x, w = normal(6, 8, 20, 3), normal(2, 3, 3, 3, seed=1)

    def f(x, w):
        turned = F.conv2d(mg.tanh(x).transpose(1, 3, 2, 0), np.ones((2, 3, 3, 3)), padding=1)
        return turned.sum() + mg.tanh(F.conv2d(mg.exp(x).reshape(6, 3, 8, 20), w[::-1])).sum()

    assert "call_host" not in compare(f, x, w, scaled=1e-13)


def test_in_the_body_of_a_loop():
    x, w = normal(3, 2, 4, 6, 6), normal(4, 4, 3, 3, seed=1) / 10

    def f(x, w):
        def step(h, x):
            h = mg.tanh(F.conv2d(h + x, w, padding=1))
            return h, F.max_pool2d(h, 2)

        h, pools = mg.scan(step, mg.zeros((2, 4, 6, 6)), x)
        return h.sum() + pools

    assert "call_host" not in compare(f, x, w, scaled=1e-13)


def test_dtypes_that_meet():
    x, w = normal(3, 1, 5, 5, dtype="float32"), normal(2, 1, 3, 3, seed=1)
    compare(lambda x, w: F.conv2d(x, w), x, w, scaled=1e-6)


def test_samples_of_vmap():
    x, w = normal(3, 4, 2, 6, 6), normal(3, 2, 3, 3, seed=1)
    compare(lambda x, w: mg.vmap(lambda x: mg.tanh(F.conv2d(x, w)))(x), x, w, scaled=1e-13)


# Ties, nan and signed zeros: everything that asks which one is the largest.
POOLS = {
    "two by two": (F.max_pool2d, (3, 2, 6, 8), (2,)),
    "a rest": (F.max_pool2d, (2, 2, 7, 9), (2,)),
    "three": (F.max_pool2d, (2, 2, 7, 70), ((2, 3),)),
    "one axis": (F.max_pool1d, (2, 3, 40), (4,)),
    "wide": (F.max_pool2d, (1, 2, 4, 66), (2,)),
    "means": (F.avg_pool2d, (3, 2, 6, 8), (2,)),
    "means, a rest": (F.avg_pool2d, (3, 2, 7, 10), (3,)),
    "adaptive": (F.adaptive_avg_pool2d, (3, 2, 6, 8), ((2, 4),)),
    "whole images": (F.adaptive_avg_pool2d, (3, 2, 6, 8), (1,)),
    "large windows": (F.avg_pool2d, (3, 2, 10, 15), (5,)),
    "large windows, a rest": (F.avg_pool2d, (3, 2, 11, 15), (5,)),
    "another divisor": (lambda x: F.avg_pool2d(x, 2, divisor_override=7), (3, 2, 6, 8), ()),
}


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.long), "float64"])
@pytest.mark.parametrize("name", POOLS)
def test_pools(name, dtype):
    pool, shape, arguments = POOLS[name]
    rng = np.random.default_rng(0)
    exact = pool in (F.max_pool1d, F.max_pool2d)
    rtol = 0.0 if exact else 4 * np.finfo(dtype).eps  # a division, or a product with the reciprocal
    for values in ([-1.0, -0.0, 0.0, 1.0, 2.0], [-np.inf, 0.0, np.inf, np.nan], [0.25, 3.0, 0.1]):
        x = rng.choice(values, size=shape).astype(dtype)
        weights = rng.normal(size=pool(x, *arguments).shape).astype(dtype)
        with np.errstate(invalid="ignore"):
            source = compare(lambda x, weights=weights: pool(x, *arguments) * weights, x, rtol=rtol)
        assert ("call_host" in source) == (name == "large windows, a rest")


@pytest.mark.parametrize("params", [{"stride": 1}, {"padding": 1}, {"dilation": 2}, {"ceil_mode": True}])
def test_windows_that_are_left_to_python(params):
    x = normal(2, 2, 7, 7)
    compare(lambda x: F.max_pool2d(x, 2, **params), x)


def test_a_step_of_a_net():
    """Steps of a small convolutional net, compiled and eager: the same losses and parameters."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 1, 14, 14)).astype("float32"), rng.integers(0, 3, 20)

    def net():
        mg.random.seed(0)
        layers = mg.nn.Conv2d(1, 4, 3), mg.nn.ReLU(), mg.nn.MaxPool2d(2), mg.nn.Conv2d(4, 5, 3), mg.nn.ReLU()
        model = mg.nn.Sequential(*layers, mg.nn.AvgPool2d(2), mg.nn.Flatten(), mg.nn.Linear(20, 3)).astype("float32")
        return model, mg.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    (model, optimizer), (other, by_hand) = net(), net()
    step = mg.compile_step(model, F.cross_entropy, optimizer)
    for _ in range(5):
        loss = F.cross_entropy(other(x), y)
        by_hand.zero_grad()
        loss.backward()
        by_hand.step()
        assert np.allclose(step(x, y).item(), loss.item(), rtol=1e-5)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert np.allclose(a.data, b.data, rtol=0, atol=1e-5)
    assert "call_host" not in step.source
