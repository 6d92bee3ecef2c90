"""Native loops beside the NumPy code of the same cards, which the other tests compare with torch and SymPy."""

import subprocess
import sys

import numpy as np
import pytest
from catalogue import LAYOUTS, layouts, rngs
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.nn import functional as F
from minigrad.ops import loops
from minigrad.ops.attention import safe_softmax
from minigrad.tensor import Tensor

DTYPES = [np.float32, np.float64]


def by(small, f, arrays, g=None):
    """Values and gradients where arrays of `small` elements or more go through native loops."""
    before, loops.SMALL = loops.SMALL, small
    try:
        leaves = [Tensor(x, True) for x in arrays]
        y = f(*leaves)
        y.backward(np.ones(y.shape, y.dtype) if g is None else g.astype(y.dtype))
        return [y._data, *(x.grad._data for x in leaves)]
    finally:
        loops.SMALL = before


def the_same(f, arrays, rng):
    """Values and gradients agree up to the last digits: those of NumPy's code and those of the loops."""
    shape = f(*arrays).shape
    g = rng.standard_normal(shape)
    dtype = arrays[0].dtype
    for i, (a, b) in enumerate(zip(by(1, f, arrays, g), by(10**9, f, arrays, g), strict=True)):
        assert a.dtype == b.dtype == dtype
        scale = np.max(np.abs(b), initial=1, where=np.isfinite(b))
        tolerance = 40 * np.finfo(dtype).eps
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, err_msg=f"result {i}")


ROWS = {
    "softmax": mg.softmax, "log_softmax": mg.log_softmax, "safe_softmax": safe_softmax, "gelu": mg.gelu,
    "erf": mg.erf,
    "gelu_tanh": lambda x: mg.gelu(x, "tanh"), "softmax of other axes": lambda x: mg.softmax(x, 0) + mg.softmax(x, 1),
    "log_softmax of other axes": lambda x: mg.log_softmax(x, 0) + mg.log_softmax(x, 1),
    "softmax beside x, with one gradient for both": lambda x: mg.softmax(x) + x,
    "safe_softmax beside x, with one gradient for both": lambda x: safe_softmax(x) + x,
    "layer_norm": lambda x: mg.layer_norm(x, x.shape[-1]),
    "layer_norm of two axes": lambda x: mg.layer_norm(x, x.shape[-2:]),
    "rms_norm": lambda x: mg.rms_norm(x, x.shape[-1]),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=20)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3) | st.sampled_from([(1, 130, 3), (1, 2, 300)]), layout=layouts, rng=rngs
)
def test_rows(name, dtype, shape, layout, rng):
    shape = (*shape[:-1], max(shape[-1], 4))  # of one or two numbers less their mean, rounding is what is left
    the_same(ROWS[name], [LAYOUTS[layout](rng.standard_normal(shape).astype(dtype) * 3)], rng)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=20)
@given(rows=st.integers(1, 200), n=st.integers(4, 20), rng=rngs)
def test_weight_and_bias(dtype, rows, n, rng):
    """Their gradients are sums over samples, which loops take in blocks."""
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in [(rows, n), (n,), (n,)]]
    the_same(lambda x, w, b: mg.layer_norm(x, n, w, b), arrays, rng)
    the_same(lambda x, w: mg.rms_norm(x, n, w), arrays[:2], rng)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in [(rows, 2, n), (2, n), (2, n)]]
    the_same(lambda x, w, b: mg.layer_norm(x, (2, n), w, b), arrays, rng)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=20)
@given(
    lead=st.sampled_from([(), (2,), (2, 3)]), lengths=st.tuples(*[st.integers(1, 7)] * 4), rng=rngs, layout=layouts,
    kind=st.sampled_from(["none", "causal", "boolean", "floats"]), shared=st.booleans(),
)  # fmt: skip
def test_attention(dtype, lead, lengths, rng, layout, kind, shared):
    """Where all stacks of queries share their keys, the scores lie in memory as the queries do, in whatever order."""
    rows, columns, width, out = lengths
    masks = {
        "none": {}, "causal": {"is_causal": True}, "boolean": {"attn_mask": rng.random((rows, columns)) > 0.5},
        "floats": {"attn_mask": np.where(rng.random((rows, columns)) > 0.5, rng.standard_normal((rows, columns)),
                                         -np.inf)},
    }  # fmt: skip
    of_keys = () if shared else lead
    shapes = [(*lead, rows, width), (*of_keys, columns, width), (*of_keys, columns, out)]
    arrays = [LAYOUTS[layout](rng.standard_normal(shape).astype(dtype)) for shape in shapes]
    the_same(lambda *qkv: F.scaled_dot_product_attention(*qkv, **masks[kind]), arrays, rng)


@pytest.mark.parametrize("mask", [{}, {"is_causal": True}, {"attn_mask": np.tri(4, k=1) > 0}, {"attn_mask": np.tri(4)}])
def test_few_large_queries(mask):
    """Their scores are few, and stay with NumPy."""
    arrays = list(np.random.default_rng(0).standard_normal((3, 4, 64)))
    for a, b in zip(*(by(n, lambda *qkv: F.scaled_dot_product_attention(*qkv, **mask), arrays) for n in (100, 10**9)),
                    strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14)


def test_large_queries_without_keys():
    arrays = [np.ones((4, 7)), np.ones((0, 7)), np.ones((0, 2))]
    y, *gradients = by(1, F.scaled_dot_product_attention, arrays)
    assert not y.any()
    assert [g.shape for g in gradients] == [x.shape for x in arrays]
    assert not gradients[0].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "safe_softmax", "gelu", "gelu_tanh", "erf"])
def test_values_that_are_no_numbers(name, dtype):
    """nan, infinities and rows of -inf give the same as NumPy's code, in whatever place."""
    rows = np.zeros((40, 6))
    for i, value in enumerate([np.nan, np.inf, -np.inf, 1e30, -1e30]):
        for j in range(6):
            rows[6 * i + j, j] = value
    rows[30] = -np.inf
    rows[31], rows[31, 2] = -np.inf, np.nan
    rows[32] = np.nan
    rows[33, :2] = np.inf
    with np.errstate(all="ignore"):
        native, plain = (by(small, ROWS[name], [rows.astype(dtype)])[0] for small in (1, 10**9))
    np.testing.assert_allclose(native, plain, rtol=1e-5 if dtype == np.float32 else 1e-13, atol=1e-37)


def test_small_arrays_other_dtypes_and_symbols_stay_with_numpy():
    x = np.ones((loops.SMALL // 4, 4))
    assert loops.native(x, x.ravel())
    assert loops.native(x.astype(np.float32))
    for other in (x[1:], x.astype(np.float16), x.astype(int), mg.tensor(x), mg.symbols("x", (2,)).data, 1.0, None):
        assert not loops.native(other)
    assert not loops.native(x, x.astype(np.float32))


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told to keep memory")
def test_memory_that_a_step_frees_is_kept_for_the_next():
    """Arrays of a megabyte are made and freed 100 times without the system handing out their pages anew."""
    code = """if True:
        import resource, numpy as np, minigrad
        def faults(n):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(n):
                a = np.ones(1 << 17) + 1
                del a
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        faults(3)
        print(faults(100))
    """
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 200, "256 pages and more an array, otherwise"
