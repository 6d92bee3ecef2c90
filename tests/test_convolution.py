"""Convolution and pooling beside torch: values, gradients, second derivatives, layouts, ties, memory, errors."""

import itertools
import tracemalloc

import numpy as np
import pytest
from catalogue import F, agree, close, gradients, layouts, leaf, rngs, torch, torch_gradients, torch_leaf
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import parallel
from minigrad.ops import convolution, pooling
from minigrad.ops.card import CARDS

some = settings(max_examples=25)


# ---- convolution ---------------------------------------------------------------------------------------------------


@st.composite
def convolutions(draw):
    """Shapes of input, weight and bias, and parameters, with one or two spatial axes."""
    n, groups = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    channels, outputs = (groups * draw(st.integers(1, 3)) for _ in range(2))
    kernel, stride, dilation = (tuple(draw(st.integers(1, 3)) for _ in range(n)) for _ in range(3))
    padding = tuple(draw(st.integers(0, 2)) for _ in range(n))
    spans = [(k - 1) * d + 1 - 2 * p for k, d, p in zip(kernel, dilation, padding, strict=True)]
    lengths = [max(1, span) + draw(st.integers(0, 5)) for span in spans]
    batch = draw(st.sampled_from([(), (1,), (2,), (5,)]))
    if set(stride) == {1}:
        padding = draw(st.sampled_from([padding, "same"]))
    params = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return n, (*batch, channels, *lengths), (outputs, channels // groups, *kernel), params


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # torch copies then
@some
@given(call=convolutions(), with_bias=st.booleans(), layout=layouts, rng=rngs)
def test_convolutions(call, with_bias, layout, rng):
    n, x, w, params = call
    arrays = [rng.standard_normal(s) for s in ([x, w, w[:1]] if with_bias else [x, w])]
    ours, theirs = getattr(mg, f"conv{n}d"), getattr(F, f"conv{n}d")
    agree(lambda *xs: ours(*xs, **params), lambda *xs: theirs(*xs, **params), arrays, rng, layout)


@some
@given(call=convolutions(), data=st.data(), layout=layouts, rng=rngs)
def test_transposed_convolutions(call, data, layout, rng):
    n, x, w, params = call
    params["padding"] = tuple(data.draw(st.integers(0, 2)) for _ in range(n))
    most = [max(s, d) - 1 for s, d in zip(params["stride"], params["dilation"], strict=True)]
    params["output_padding"] = tuple(data.draw(st.integers(0, m)) for m in most)
    lengths = [1 + 2 * p + data.draw(st.integers(0, 2)) for p in params["padding"]]
    channels = w[1] * params["groups"]
    shapes = [(*x[: -n - 1], channels, *lengths), (channels, *w[1:]), (w[1] * params["groups"],)]
    arrays = [rng.standard_normal(s) for s in shapes]
    ours, theirs = getattr(mg, f"conv_transpose{n}d"), getattr(F, f"conv_transpose{n}d")
    agree(lambda *xs: ours(*xs, **params), lambda *xs: theirs(*xs, **params), arrays, rng, layout)


BIG = {  # rows longer than a tile; several images in a row, and some left over; parts of a batch; batches of one
    "long rows": ((1, 2, 5000), (3, 2, 3), {"padding": 1}),
    "large images": ((2, 2, 40, 60), (5, 2, 3, 3), {"padding": 1, "stride": (1, 2)}),
    "small images": ((37, 3, 6, 5), (4, 3, 5, 5), {"padding": 1}),
    "one output": ((70, 2, 4, 4), (3, 2, 4, 4), {}),
    "depthwise": ((6, 8, 9, 9), (8, 1, 3, 3), {"groups": 8, "padding": "same"}),
    "pointwise": ((3, 16, 9, 9), (7, 16, 1, 1), {"stride": 2}),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", BIG)
def test_large_convolutions(monkeypatch, name, threads):
    monkeypatch.setattr(parallel, "threads", lambda: threads)
    monkeypatch.setattr(convolution, "GRAIN", 1)
    x, w, params = BIG[name]
    rng, n = np.random.default_rng(0), len(x) - 2
    arrays = [rng.standard_normal(s) for s in (x, w, w[:1])]
    ours, theirs = getattr(mg, f"conv{n}d"), getattr(F, f"conv{n}d")
    agree(lambda *xs: ours(*xs, **params), lambda *xs: theirs(*xs, **params), arrays, rng, second=False)


def test_the_result_is_the_same_on_any_number_of_processors(monkeypatch):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((9, 4, 12, 12), (6, 4, 3, 3)))
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(parallel, "threads", lambda threads=threads: threads)
        monkeypatch.setattr(convolution, "GRAIN", 1)
        a, b = leaf(x), leaf(w)
        y = mg.conv2d(a, b)
        found.append([y.data, *(g.data for g in gradients(y, np.ones(y.shape), [a, b]))])
    for other in found[1:]:
        for p, q in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_convolutions_keep_their_dtype(dtype):
    rng = np.random.default_rng(0)
    x, w, b = (leaf(rng.standard_normal(s).astype(dtype)) for s in ((3, 2, 8, 8), (4, 2, 3, 3), (4,)))
    y = mg.conv2d(x, w, b, padding=1)
    tx, tw, tb = (torch_leaf(t.data) for t in (x, w, b))
    ty = F.conv2d(tx, tw, tb, padding=1)
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    close(y, ty, "value", rtol=rtol, atol=rtol)
    g = rng.standard_normal(y.shape).astype(dtype)
    theirs = torch_gradients(ty, torch.from_numpy(g), [tx, tw, tb])
    for a, c in zip(gradients(y, g, [x, w, b], create_graph=True), theirs, strict=True):
        assert a.dtype == dtype
        close(a, c, "gradient", rtol=rtol, atol=rtol)


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.longdouble])
def test_other_dtypes_are_computed_in_numpys_words(dtype):
    x = np.arange(2 * 2 * 5).reshape(2, 2, 5).astype(dtype)
    w = (np.arange(3 * 2 * 2).reshape(3, 2, 2) - 5).astype(dtype)
    y = mg.conv1d(x, w, stride=2, padding=1)
    assert y.dtype == dtype
    close(y.data.astype(float), F.conv1d(*map(torch.tensor, map(np.float64, (x, w))), stride=2, padding=1), "value")


@pytest.mark.parametrize("call", [
    lambda x: mg.conv2d(x, np.ones((3, 2, 2, 2))), lambda x: mg.conv_transpose2d(x, np.ones((2, 3, 2, 2))),
    lambda x: mg.max_pool2d(x, 2), lambda x: mg.avg_pool2d(x, 2), lambda x: mg.adaptive_avg_pool2d(x, 1),
])  # fmt: skip
def test_an_empty_batch(call):
    x = leaf(np.zeros((0, 2, 4, 4)))
    y = call(x)
    assert y.shape[0] == 0
    (g,) = gradients(y, np.zeros(y.shape), [x])
    assert g.shape == x.shape


def test_the_weights_gradient_of_an_empty_batch_is_zero():
    w = leaf(np.ones((3, 2, 2, 2)))
    y = mg.conv2d(np.zeros((0, 2, 4, 4)), w)
    (g,) = gradients(y, np.zeros(y.shape), [w])
    np.testing.assert_array_equal(g.data, np.zeros(w.shape))


@pytest.mark.parametrize("pool", [mg.avg_pool2d, mg.max_pool2d])
def test_pools_of_bytes_in_the_other_order(pool):
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    one, other = mg.tensor(x, requires_grad=True), mg.tensor(x.astype(x.dtype.newbyteorder()), requires_grad=True)
    for x_ in (one, other):
        y = pool(x_, 2)
        np.testing.assert_array_equal(y.data, pool(x, 2).data)
        y.backward(y.detach())
    np.testing.assert_array_equal(other.grad.data, one.grad.data)


def test_nan_and_infinity_come_through():
    x = np.ones((1, 1, 4, 4))
    x[0, 0, 0, 0], x[0, 0, 3, 3] = np.nan, np.inf
    y = mg.conv2d(x, np.ones((1, 1, 2, 2))).data[0, 0]
    assert np.isnan(y[0, 0])
    assert np.isinf(y[2, 2])
    assert np.isfinite(y).sum() == 7


# ---- pooling -------------------------------------------------------------------------------------------------------


@st.composite
def pools(draw):
    n = draw(st.integers(1, 2))
    kernel, dilation = (tuple(draw(st.integers(1, 3)) for _ in range(n)) for _ in range(2))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    lengths = [7 + draw(st.integers(0, 3)) for _ in range(n)]
    stride = draw(st.none() | st.tuples(*[st.integers(1, 3)] * n))
    batch = draw(st.sampled_from([(), (1,), (3,)]))
    params = {"stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}
    return n, (*batch, draw(st.integers(1, 3)), *lengths), kernel, dilation, params


@some
@given(call=pools(), ties=st.booleans(), layout=layouts, rng=rngs)
def test_max_pools(call, ties, layout, rng):
    """With ties: torch gives the whole gradient to the first of the largest elements."""
    n, shape, kernel, dilation, params = call
    x = rng.integers(0, 3, shape).astype(float) if ties else rng.standard_normal(shape)
    ours, theirs = getattr(mg, f"max_pool{n}d"), getattr(F, f"max_pool{n}d")
    agree(lambda x: ours(x, kernel, dilation=dilation, **params),
          lambda x: theirs(x, kernel, dilation=dilation, **params), [x], rng, layout)  # fmt: skip


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("lengths", [(6, 8), (7, 9)])
@pytest.mark.parametrize("values", ["ties", "nan", "-inf"])
def test_tiles_of_two_by_two(monkeypatch, values, lengths, threads):
    """They have loops of their own; of several nan in a window, torch takes the last."""
    monkeypatch.setattr(parallel, "threads", lambda: threads)
    monkeypatch.setattr(pooling, "GRAIN", 1)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (2, 3, *lengths)).astype(float)
    if values != "ties":
        x[rng.random(x.shape) < 0.6] = float(values)
    a, b = leaf(x), torch_leaf(x)
    y, ty = mg.max_pool2d(a, 2), F.max_pool2d(b, 2)
    np.testing.assert_array_equal(y.data, ty.detach().numpy())
    g = rng.standard_normal(y.shape)
    np.testing.assert_array_equal(
        gradients(y, g, [a])[0].data, torch_gradients(ty, torch.from_numpy(g), [b])[0].numpy()
    )  # fmt: skip


def test_second_derivatives_of_a_max_pool_pick_and_put():
    """d/dx of sum(v * gradient of sum(max_pool(x)**2)) is 2 v where the largest elements are."""
    x = leaf(np.array([[1.0, 3.0, 2.0, 2.0]]))
    y = mg.max_pool1d(x, 2)
    (first,) = gradients((y * y).sum(), None, [x], create_graph=True)
    np.testing.assert_array_equal(first.data, [[0, 6, 4, 0]])
    (second,) = gradients((first * np.array([[1.0, 10.0, 100.0, 1000.0]])).sum(), None, [x])
    np.testing.assert_array_equal(second.data, [[0, 20, 200, 0]])


@some
@given(call=pools(), inside=st.booleans(), divisor=st.sampled_from([None, 3]), layout=layouts, rng=rngs)
def test_avg_pools(call, inside, divisor, layout, rng):
    n, shape, kernel, _, params = call
    params["count_include_pad"] = inside
    if n == 2:
        params["divisor_override"] = divisor
    ours, theirs = getattr(mg, f"avg_pool{n}d"), getattr(F, f"avg_pool{n}d")
    agree(lambda x: ours(x, kernel, **params), lambda x: theirs(x, kernel, **params), [rng.standard_normal(shape)], rng,
          layout)  # fmt: skip


@some
@given(n=st.integers(1, 2), kind=st.sampled_from(["avg", "max"]), data=st.data(), layout=layouts, rng=rngs)
def test_adaptive_pools(n, kind, data, layout, rng):
    size = data.draw(st.integers(1, 6) | st.tuples(*[st.integers(1, 6) | st.none()] * n)) if n == 2 else 3
    shape = (*data.draw(st.sampled_from([(), (2,)])), 2, *data.draw(st.tuples(*[st.integers(3, 8)] * n)))
    ours, theirs = getattr(mg, f"adaptive_{kind}_pool{n}d"), getattr(F, f"adaptive_{kind}_pool{n}d")
    agree(lambda x: ours(x, size), lambda x: theirs(x, size), [rng.standard_normal(shape)], rng, layout)


POOLS = {
    "max": lambda x: mg.max_pool2d(x, 2), "max, overlapping": lambda x: mg.max_pool2d(x, 3, 2, 1),
    "avg": lambda x: mg.avg_pool2d(x, 2), "adaptive": lambda x: mg.adaptive_avg_pool2d(x, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", POOLS)
def test_pools_keep_float32(name):
    x = leaf(np.random.default_rng(0).standard_normal((2, 2, 8, 8)).astype(np.float32))
    y = POOLS[name](x)
    (first,) = gradients(y, mg.tensor(np.ones(y.shape, np.float32), requires_grad=True), [x], create_graph=True)
    assert y.dtype == first.dtype == np.float32


@pytest.mark.parametrize("name", ["max", "avg", "adaptive"])
def test_pools_of_float16_are_computed_in_numpys_words(name):
    x = np.random.default_rng(0).integers(0, 9, (1, 2, 6, 6))
    half, double = leaf(x.astype(np.float16)), leaf(x.astype(float))
    y, z = POOLS[name](half), POOLS[name](double)
    np.testing.assert_array_equal(y.data, z.data.astype(np.float16))
    (a,), (b,) = (gradients(t, np.ones(t.shape, t.dtype), [u]) for t, u in ((y, half), (z, double)))
    np.testing.assert_allclose(a.data, b.data, rtol=1e-3)


# ---- relu's gradient -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_where_positive_is_where(dtype):
    special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40], dtype)
    pairs = np.array(list(itertools.product(special, special)), dtype).T
    y = CARDS["where_positive"](*pairs)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.data, np.where(pairs[1] > 0, pairs[0], 0))


# ---- memory --------------------------------------------------------------------------------------------------------


def peak(f):
    """The most memory that is in use at a time during f(), in bytes, its result included."""
    tracemalloc.start()
    try:
        f()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("batch", [1, 16])
def test_no_op_allocates_more_than_three_times_its_arrays(batch):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((batch, 16, 96, 96), (16, 16, 3, 3)))
    where = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    g = rng.standard_normal(x.shape).astype(np.float32)
    calls = {
        "convolution": lambda: CARDS["convolution"].forward(x, w, size=(96, 96), **where),
        "by input": lambda: CARDS["convolution_by_input"].forward(g, w, size=(96, 96), **where),
        "by weight": lambda: CARDS["convolution_by_weight"].forward(x, g, size=(3, 3), **where),
        "max_pool": lambda: mg.max_pool2d(x, 2),
        "avg_pool": lambda: mg.avg_pool2d(x, 2),
    }
    for name, call in calls.items():
        call()  # compiled before
        out = w if name == "by weight" else x
        assert peak(call) < 3 * (x.nbytes + w.nbytes + out.nbytes), name


# ---- errors --------------------------------------------------------------------------------------------------------

images, kernels = mg.ones((8, 3, 32, 32)), mg.ones((16, 3, 5, 5))
REFUSED = [
    (lambda: mg.conv2d(images, mg.ones((4, 16, 3, 3))),
     r"conv2d: input \(8, 3, 32, 32\) has 3 channels in axis 1, weight \(4, 16, 3, 3\) with groups=1 expects 16"),
    (lambda: mg.conv2d(mg.ones((32, 32)), kernels),
     r"conv2d: input \(32, 32\) has 2 axes, where \(batch, channels, height, width\) or \(channels, height, width\)"),
    (lambda: mg.conv1d(mg.ones((2, 3, 4)), mg.ones(3)), r"conv1d: weight \(3,\) has 1 axes, and 3 are expected"),
    (lambda: mg.conv2d(mg.ones((3, 3, 9)), kernels, padding=(0, 1)),
     r"input \(3, 3, 9\) has spatial lengths \(3, 11\) with its padding, and the kernel \(5, 5\) spans \(5, 5\)"),
    (lambda: mg.conv2d(images, kernels, mg.ones(3)), r"conv2d: bias \(3,\) is to have shape \(16,\)"),
    (lambda: mg.conv2d(mg.ones((9, 4, 4)), mg.ones((4, 3, 1, 1)), groups=3),
     r"conv2d: axis 0 of weight \(4, 3, 1, 1\) cannot be cut into 3 groups"),
    (lambda: mg.conv2d(images, kernels, stride=0), "conv2d: stride must be an integer from 1 on, or 2 of them, not 0"),
    (lambda: mg.conv2d(images, kernels, padding=(1, 2, 3)), r"conv2d: padding must be an integer from 0 on, or 2"),
    (lambda: mg.conv2d(images, kernels, padding="full"), r"conv2d: padding='full' is neither"),
    (lambda: mg.conv2d(images, kernels, padding="same", stride=2), r'padding="same" keeps the lengths'),
    (lambda: mg.conv_transpose2d(images, kernels), r"conv_transpose2d: input \(8, 3, 32, 32\) has 3 channels"),
    (lambda: mg.conv_transpose1d(mg.ones((1, 4)), mg.ones((1, 1, 2)), output_padding=1),
     r"conv_transpose1d: output_padding=1 must be less than stride or dilation"),
    (lambda: mg.conv_transpose1d(mg.ones((1, 2)), mg.ones((1, 1, 1)), padding=1),
     r"conv_transpose1d: input \(1, 2\) would have an output of spatial lengths \(0,\)"),
    (lambda: mg.max_pool2d(images, 40),
     r"max_pool2d: input \(8, 3, 32, 32\) has spatial lengths \(32, 32\) with its padding, and the kernel spans \(40"),
    (lambda: mg.max_pool2d(images, 2, padding=2), r"max_pool2d: padding=\(2, 2\) is more than half of the \(2, 2\)"),
    (lambda: mg.max_pool2d(images, 2, return_indices=True), "max_pool2d: return_indices is not supported"),
    (lambda: mg.adaptive_max_pool1d(images[0], 2, True), "adaptive_max_pool1d: return_indices is not supported"),
    (lambda: mg.avg_pool2d(images, 2, divisor_override=0), "avg_pool2d: divisor_override=0 must be an integer other"),
    (lambda: mg.avg_pool1d(mg.ones(3), 2), r"avg_pool1d: input \(3,\) has 1 axes, where \(batch, channels, length\)"),
    (lambda: mg.adaptive_avg_pool2d(images, (1, 2, 3)), r"adaptive_avg_pool2d: output_size must be an integer from 1"),
    (lambda: mg.adaptive_avg_pool1d(mg.zeros((1, 2, 0)), 1), r"\(1, 2, 0\) has a spatial axis without elements"),
    (lambda: mg.nn.Conv2d(3, 4, 2, groups=2), r"Conv2d: in_channels=3 cannot be cut into groups=2"),
    (lambda: mg.nn.Conv2d(3, 4, (1, 2, 3)), r"Conv2d: kernel_size must be an integer from 1 on, or 2 of them"),
    (lambda: mg.nn.Conv2d(3, 4, 2, padding_mode="mirror"), r"Conv2d: padding_mode='mirror' is none of"),
    (lambda: mg.nn.Conv1d(3, 4, 2, padding="full"), r"Conv1d: padding='full' is neither"),
    (lambda: mg.nn.Conv1d(3, 4, 2, stride=2, padding="same"), r'Conv1d: padding="same" keeps the lengths'),
    (lambda: mg.nn.Conv1d(1, 1, 9, padding=4, padding_mode="reflect")(mg.ones((1, 4))),
     r"Conv1d: input \(1, 4\) is too small for reflect padding \(4, 4\)"),
    (lambda: mg.nn.ConvTranspose2d(3, 4, 2, padding_mode="reflect"), r"ConvTranspose2d: padding_mode='reflect' is not"),
    (lambda: mg.nn.MaxPool2d(2, return_indices=True), "MaxPool2d: return_indices is not supported"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


class Net(mg.nn.Module):
    def __init__(self, *layers):
        self.features = mg.nn.Sequential(*layers)

    def forward(self, x):
        return self.features(x)


LAYERS = [
    (mg.nn.Conv2d(16, 4, 3), (8, 3, 32, 32),
     'Conv2d "features.1": input (8, 3, 32, 32) has 3 channels in axis 1, this layer expects 16'),
    (mg.nn.Conv2d(3, 4, 5), (3, 2, 9), 'Conv2d "features.1": input (3, 2, 9) has spatial lengths (2, 9) with its '
     "padding, and the kernel (5, 5) spans (5, 5)"),
    (mg.nn.Conv1d(3, 4, 5), (8, 8), 'Conv1d "features.1": input (8, 8) has 8 channels in axis 0, this layer expects 3'),
    (mg.nn.ConvTranspose2d(1, 4, 2), (4, 4), 'ConvTranspose2d "features.1": input (4, 4) has 2 axes, expected is '
     "(batch, channels, height, width) or (channels, height, width)"),
    (mg.nn.MaxPool2d(4), (1, 3, 3), 'MaxPool2d "features.1": input (1, 3, 3) has spatial lengths (3, 3) with its '
     "padding, and the kernel spans (4, 4)"),
    (mg.nn.AdaptiveAvgPool2d(1), (3,), 'AdaptiveAvgPool2d "features.1": input (3,) has 1 axes, expected is '
     "(batch, channels, height, width) or (channels, height, width)"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape", "sentence"), LAYERS, ids=range(len(LAYERS)))
def test_layers_say_what_they_expect(layer, shape, sentence):
    with pytest.raises(mg.nn.module.InputError) as caught:
        Net(mg.nn.ReLU(), layer)(np.zeros(shape))
    assert str(caught.value) == sentence


def test_symbols_go_through_a_small_network():
    """The formula of the gradient, evaluated, is the numeric one."""
    model = mg.nn.Sequential(mg.nn.Conv2d(1, 1, 2), mg.nn.MaxPool2d((1, 2)), mg.nn.Flatten(0))
    x = np.array([[[1.0, -2.0, 3.0], [-1.0, 0.5, 2.0]]])
    model(x)[0].backward()
    symbolic = model.symbolic()
    symbolic(x)[0].backward()
    at = {s: v for p, q in zip(symbolic.parameters(), model.parameters(), strict=True)
          for s, v in zip(np.ravel(p.data).tolist(), q.data.ravel().tolist(), strict=True)}  # fmt: skip
    for p, q in zip(symbolic.parameters(), model.parameters(), strict=True):
        values = [float(e.subs(at)) for e in np.ravel(p.grad.data).tolist()]
        np.testing.assert_allclose(values, q.grad.data.ravel(), rtol=1e-12)
