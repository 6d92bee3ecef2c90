"""Products of matrices in native code: as right as rounding allows, and nothing outside of the arrays touched."""

import ctypes
import functools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minigrad import native
from minigrad.compiler.products import PRELUDE, Processor, Product, processor

PROCESSORS = [None, Processor(64, 32, True), Processor(32, 16, True), Processor(16, 16, False), Processor(16, 32, True)]
GUARD = 7.5  # what stands around the elements of c


def function(source, dtype):
    """The function `run` of a module's text as a C function."""
    pointer = f"CPointer({dtype})"
    address = native.build(source, "run", f"void({f'{pointer}, int64, ' * 3}int64, int64, {pointer})")
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    return ctypes.CFUNCTYPE(None, *[pointer, integer] * 3, integer, integer, pointer)(address)


@functools.cache
def compiled(product):
    arguments = "c, at_c, a, at_a, b, at_b, lo, hi, scratch"
    source = f"{PRELUDE}{product.source()}\ndef run({arguments}):\n    {product.name}({arguments})\n"
    return function(source, product.dtype)


class Matrix:
    """A matrix in memory of its own, with these distances between its elements, and `values` as a view of it."""

    def __init__(self, shape, strides, dtype, fill, before=0):
        self.strides = strides
        reach = [(n - 1) * s if n else 0 for n, s in zip(shape, strides, strict=True)]
        self.start = before - sum(r for r in reach if r < 0)
        self.memory = fill(self.start + max(sum(r for r in reach if r > 0), 0) + 1 + before).astype(dtype)
        step = self.memory.itemsize
        self.values = np.lib.stride_tricks.as_strided(
            self.memory[self.start :], shape, [s * step for s in strides], writeable=True
        )

    @property
    def argument(self):
        return self.memory.ctypes.data, self.start


def run(product, c, a, b, *bounds):
    """Compute the rows between each pair of neighbouring bounds."""
    scratch = np.full(product.scratch, np.nan, product.dtype)
    for lo, hi in zip(bounds, bounds[1:], strict=False):
        compiled(product)(*c.argument, *a.argument, *b.argument, lo, hi, scratch.ctypes.data)


def matrices(product, seed):
    rng = np.random.default_rng(seed)
    p = product
    c = Matrix((p.m, p.n), (p.row, 1), p.dtype, lambda n: np.full(n, GUARD), before=40)
    c.values[:] = rng.normal(size=(p.m, p.n))
    a = Matrix((p.m, p.k), p.a_strides, p.dtype, lambda n: rng.normal(size=n), before=3)
    b = Matrix((p.k, p.n), p.b_strides, p.dtype, lambda n: rng.normal(size=n), before=5)
    return c, a, b


def check(product, seed, cuts=()):
    """Compare with NumPy in twice the precision, and with the same product in parts."""
    p = product
    c, a, b = matrices(p, seed)
    before = c.memory.copy()
    old = c.values.copy()
    wide = np.longdouble if p.dtype == "float64" else np.float64
    x, y = a.values.astype(wide), b.values.astype(wide)
    right, size = x @ y, abs(x) @ abs(y)
    if p.add:
        right, size = right + old, size + abs(old)
    run(p, c, a, b, 0, p.m)
    unit = np.finfo(p.dtype).eps / 2  # Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1
    terms = p.k + p.add
    assert np.all(abs(c.values - right) <= terms * unit / (1 - terms * unit) * size)
    whole = c.values.copy()
    if p.m and p.n:
        c.values[:] = old
    assert np.array_equal(c.memory, before), "something beside c was written"
    run(p, c, a, b, 0, *sorted(min(cut, p.m) for cut in cuts), p.m)
    assert np.array_equal(c.values, whole), "rows differ with the part they are computed in"


dtypes = st.sampled_from(["float32", "float64"])


@st.composite
def products(draw):
    size = st.one_of(st.integers(1, 20), st.integers(1, 70))
    m, n, k = draw(size), draw(size), draw(st.one_of(st.integers(0, 4), size))

    def strides(rows, columns):
        gap = draw(st.integers(0, 3))
        usual, turned = (columns + gap, 1), (1, rows + gap)
        return draw(st.sampled_from([usual, turned, (2 * columns, 2), (-columns - gap, 1), (0, 1), (1, 0), (1, -rows)]))

    return Product(
        m, n, k, strides(m, k), strides(k, n), n + draw(st.integers(0, 3)), draw(dtypes),
        draw(st.booleans()), draw(st.sampled_from(PROCESSORS)),
    )  # fmt: skip


@settings(max_examples=40)
@given(products(), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 70), max_size=3))
@example(Product(5, 3, 0), 0, [2])
@example(Product(5, 3, 0, b=(1, 4), add=True), 0, [2])
@example(Product(0, 3, 4), 0, [])
@example(Product(3, 0, 4), 0, [])
@example(Product(1, 1, 1), 0, [])
def test_any_product(product, seed, cuts):
    check(product, seed, cuts)


# Sizes around those of tiles: every way to compute a product, with and without a rest along each axis.
@pytest.mark.parametrize("how", PROCESSORS[1:4], ids=lambda how: f"{how.bytes} bytes")
@pytest.mark.parametrize("b", ["rows", "columns"])
@pytest.mark.parametrize("shape", [(8, 32, 16), (9, 33, 17), (17, 70, 3), (3, 100, 40), (1, 40, 33), (20, 1, 37)])
def test_sizes_around_a_tile(shape, b, how):
    m, n, k = shape
    for add in (False, True):
        check(Product(m, n, k, b=(n, 1) if b == "rows" else (1, k), add=add, processor=how), 0, [1, m // 2])


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("b", [(40, 1), (1, 3000), (80, 2)])
@pytest.mark.parametrize("k", [1023, 1024, 2100])
def test_many_terms(k, b, add):
    check(Product(12, 40, k, b=b, add=add), 1, [7])
    check(Product(12, 40, k, a=(1, 12), b=b, add=add), 1, [7])


def test_every_way_to_compute_a_product():
    how = Processor(64, 32, True)
    ways = {
        Product(32, 64, 64, processor=how): ("n", False),
        Product(32, 64, 64, b=(1, 64), processor=how): ("n", True),
        Product(64, 40, 9, b=(1024, 1), processor=how): ("n", True),
        Product(64, 40, 9, b=(2050, 2), processor=how): ("n", True),
        Product(1, 64, 64, b=(1, 64), processor=how): ("k", False),
        Product(64, 10, 32, a=(1, 64), processor=how): ("m", False),
        Product(40, 20, 64, a=(1, 50), b=(1, 64), add=True, processor=how): ("m", False),
        Product(40, 10, 2100, a=(1, 40), processor=how): ("m", False),
    }
    for product, way in ways.items():
        assert (product.plan.along, product.plan.packed) == way
        check(product, 2, [5])


def test_functions_that_reorder_sums_share_a_product_which_does_not():
    """Two callers that may reorder their sums, one for the first rows and one for the others."""
    product = Product(11, 3, 70, b=(1, 70), processor=Processor(32, 16, False))
    assert product.plan.along == "k"
    arguments = "c, at_c, a, at_a, b, at_b, lo, hi, scratch"
    lines = ["from numba import njit", PRELUDE, product.source()]
    for caller in ("first", "second"):
        lines += ["@njit(error_model='numpy', fastmath={'reassoc', 'contract', 'nsz', 'arcp', 'afn'})"]
        lines += [f"def {caller}({arguments}):", f"    {product.name}({arguments})"]
    lines += [f"def run({arguments}):", f"    first({arguments.replace('hi', 'lo + 5')})"]
    lines += [f"    second({arguments.replace('lo', 'lo + 5')})"]
    c, a, b = matrices(product, 0)
    run(product, c, a, b, 0, 11)
    whole = c.values.copy()
    c.values[:] = 0
    function("\n".join(lines), "float32")(*c.argument, *a.argument, *b.argument, 0, 11, None)
    assert np.array_equal(c.values, whole)


def test_infinity_and_nan_stay_in_their_rows_and_columns():
    for b in ((21, 1), (1, 19)):
        product = Product(10, 21, 19, b=b)
        c, a, b = matrices(product, 0)
        a.values[3, 4], b.values[:, 20] = np.inf, np.nan
        run(product, c, a, b, 0, 10)
        assert np.isnan(c.values[:, 20]).all()
        assert np.isinf(c.values[3, :20]).all()
        c.values[3], c.values[:, 20] = 0, 0
        assert np.isfinite(c.values).all()


def test_names_tell_products_apart():
    base = Product(2, 3, 4)
    others = [
        base, Product(3, 2, 4), Product(2, 3, 4, a=(1, 2)), Product(2, 3, 4, b=(1, 2)), Product(2, 3, 4, c=12),
        Product(2, 3, 4, a=(5, 1)), Product(2, 3, 4, a=(-4, 1)), Product(2, 3, 4, dtype="float64"),
        Product(2, 3, 4, add=True), Product(2, 3, 4, processor=Processor(16, 16, True)),
        Product(2, 3, 4, processor=Processor(16, 16, False)),
    ]  # fmt: skip
    assert len({p.name for p in others}) == len(others)
    assert all(p.name.isidentifier() for p in others)
    assert Product(2, 3, 4, (4, 1), (3, 1), 3).name == base.name
    assert Product(2, 3, 4, (4, 1), (3, 1), 3).source() == base.source()


def test_this_processor_has_a_vector_register():
    how = processor()
    assert how.bytes in (16, 32, 64)
    assert how.registers in (16, 32)


# Fills pages up to their very end, or from their very beginning, next to pages that nobody may touch.
FENCED = """
import ctypes, mmap, sys
import numpy as np
from minigrad.compiler.products import Processor, Product
from test_tiles import compiled

libc = ctypes.CDLL(None)
page = mmap.PAGESIZE
keep = []

def fenced(size, dtype, at_end):
    step = np.dtype(dtype).itemsize
    pages = -(-max(size, 1) * step // page)
    area = mmap.mmap(-1, (pages + 2) * page)
    keep.append(area)
    memory = np.frombuffer(area, np.uint8)
    for fence in (0, pages + 1):
        assert libc.mprotect(ctypes.c_void_p(memory.ctypes.data + fence * page), ctypes.c_size_t(page), 0) == 0
    inside = memory[page : (pages + 1) * page].view(dtype)
    x = inside[len(inside) - size :] if at_end else inside[:size]
    x[:] = 1
    return x

for how in (Processor(64, 32, True), Processor(32, 16, True), Processor(16, 16, True)):
    for m, n, k in ((9, 33, 17), (3, 5, 40), (1, 19, 7), (18, 1, 21)):
        for b in ((n, 1), (1, k)):
            product = Product(m, n, k, b=b, processor=how)
            for at_end in (False, True):
                sizes = m * n, m * k, k * n, product.scratch
                c, a, b, scratch = (fenced(size, product.dtype, at_end) for size in sizes)
                at = lambda x: (ctypes.c_void_p(x.ctypes.data), 0)
                compiled(product)(*at(c), *at(a), *at(b), 0, m, scratch.ctypes.data)
                assert (c == k).all(), product
print("done")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is protected as Linux does it")
def test_nothing_outside_of_the_arrays_is_touched():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", FENCED], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
