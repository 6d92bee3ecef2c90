"""Cross, Kronecker's and inner products, by random shapes: values against NumPy, gradients against torch."""

import numpy as np
import pytest
from catalogue import agree, gradients, layouts, leaf, rngs, shapes, torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg

some = settings(max_examples=40)


def broadcast_pair(max_dims=2):
    """Two shapes that broadcast together."""
    pairs = hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=0, max_dims=max_dims, min_side=0, max_side=3)
    return pairs.map(lambda s: s.input_shapes)


def place(draw, shape, n):
    """An axis of n elements somewhere among those of a shape: the axis, and the shape with it."""
    i = draw(st.integers(0, len(shape)))
    return i - draw(st.sampled_from([0, len(shape) + 1])), (*shape[:i], n, *shape[i:])


@some
@given(pair=broadcast_pair(), data=st.data(), rng=rngs, layout=layouts)
def test_cross(pair, data, rng, layout):
    """Of vectors of 2 or 3 elements, along axes anywhere."""
    lengths = data.draw(st.sampled_from([(3, 3), (3, 3), (2, 3), (3, 2), (2, 2)]))
    (axisa, a), (axisb, b) = (place(data.draw, s, n) for s, n in zip(pair, lengths, strict=True))
    axisc = data.draw(st.integers(-1, len(np.broadcast_shapes(*pair))))
    arrays = [rng.standard_normal(s) for s in (a, b)]

    def torchs(x, y):
        x, y = x.moveaxis(axisa, -1), y.moveaxis(axisb, -1)
        x, y = (torch.nn.functional.pad(v, (0, 3 - v.shape[-1])) for v in (x, y))
        z = torch.linalg.cross(*torch.broadcast_tensors(x, y))
        return z[..., 2] if lengths == (2, 2) else z.moveaxis(-1, axisc)

    agree(lambda x, y: mg.cross(x, y, axisa, axisb, axisc), torchs, arrays, rng, layout)
    if lengths == (3, 3):  # NumPy takes no others from 2.5 on
        expected = np.cross(*arrays, axisa, axisb, axisc)
        np.testing.assert_allclose(mg.cross(*arrays, axisa, axisb, axisc).data, expected, rtol=1e-14, atol=1e-15)


def test_cross_along_one_axis():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((3, 2)) for _ in range(2)]
    for f in (lambda a, b: np.cross(a, b, axis=0), lambda a, b: np.linalg.cross(a, b, axis=0)):
        agree(f, lambda a, b: torch.linalg.cross(a, b, dim=0), arrays, rng)
    np.testing.assert_array_equal(mg.cross(*arrays, axis=0).data, np.cross(*arrays, axis=0))


@some
@given(pair=broadcast_pair(), n=st.integers(0, 3), data=st.data(), rng=rngs, layout=layouts)
def test_vecdot(pair, n, data, rng, layout):
    i = data.draw(st.integers(0, min(map(len, pair))))  # counted from the end, where the axes of both are the same
    shapes = [(*s[: len(s) - i], n, *s[len(s) - i :]) for s in pair]
    arrays = [rng.standard_normal(s) for s in shapes]
    agree(
        lambda a, b: mg.vecdot(a, b, axis=-1 - i),
        lambda a, b: (a.moveaxis(-1 - i, -1) * b.moveaxis(-1 - i, -1)).sum(-1),
        arrays,
        rng,
        layout,
    )
    np.testing.assert_allclose(mg.vecdot(*arrays, axis=-1 - i).data, np.vecdot(*arrays, axis=-1 - i), atol=1e-14)
    agree(
        lambda a, b: np.vecdot(a, b, axis=-1 - i), lambda a, b: torch.linalg.vecdot(a, b, dim=-1 - i), arrays, rng
    )


@some
@given(pair=broadcast_pair(), n=st.integers(0, 3), m=st.integers(0, 3), rng=rngs, layout=layouts)
def test_matvec_and_vecmat(pair, n, m, rng, layout):
    a, b = pair
    arrays = [rng.standard_normal(s) for s in ((*a, m, n), (*b, n))]
    agree(mg.matvec, lambda x, v: (x @ v[..., None])[..., 0], arrays, rng, layout)
    arrays = [rng.standard_normal(s) for s in ((*a, n), (*b, n, m))]
    agree(mg.vecmat, lambda v, x: (v[..., None, :] @ x)[..., 0, :], arrays, rng, layout)


def test_numpys_matvec_and_vecmat():
    rng = np.random.default_rng(0)
    matrices, vectors = rng.standard_normal((2, 3, 3)), rng.standard_normal((2, 3))
    for name in ("matvec", "vecmat"):
        ours, numpys = getattr(mg, name), getattr(np, name)
        arrays = (matrices, vectors) if name == "matvec" else (vectors, matrices)
        np.testing.assert_allclose(ours(*arrays).data, numpys(*arrays), rtol=1e-14)
        assert isinstance(numpys(leaf(arrays[0]), arrays[1]), mg.Tensor)


@some
@given(data=st.data(), shapes=st.tuples(shapes, shapes), rng=rngs)
def test_kron(data, shapes, rng):
    arrays = [rng.standard_normal(s) for s in shapes]
    agree(mg.kron, torch.kron, arrays, rng, data.draw(layouts))
    np.testing.assert_array_equal(mg.kron(*arrays).data, np.kron(*arrays))


@some
@given(
    data=st.data(),
    shapes=st.tuples(shapes, shapes),
    n=st.integers(0, 3),
    rng=rngs,
)
def test_inner(data, shapes, n, rng):
    arrays = [rng.standard_normal((*s, n)) for s in shapes]
    agree(mg.inner, torch.inner, arrays, rng, data.draw(layouts))
    np.testing.assert_allclose(mg.inner(*arrays).data, np.inner(*arrays), rtol=1e-13, atol=1e-15)


def test_inner_of_numbers():
    rng = np.random.default_rng(0)
    for a, b in (((), (2, 3)), ((2,), ()), ((), ())):
        agree(np.inner, torch.inner, [rng.standard_normal(a), rng.standard_normal(b)], rng)


@pytest.mark.parametrize("args", [(), (1,), (-1, 2, 0), (0, -1, -2), (5,)], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 3), (3, 1, 2), (2, 0, 3)], ids=str)
def test_trace(shape, args):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    offset, axis1, axis2 = (*args, *(0, 0, 1)[len(args) :])
    agree(
        lambda x: np.trace(x, *args), lambda x: torch.diagonal(x, offset, axis1, axis2).sum(-1), [x], rng, "transposed"
    )
    np.testing.assert_allclose(leaf(x).trace(*args).data, x.trace(*args), rtol=1e-14)


LINALG = {
    "outer": (lambda a, b: np.linalg.outer(a[0], b[0]), (2, 3), (1, 3)),
    "matmul": (lambda a, b: np.linalg.matmul(a, b), (2, 3), (3, 2)),
    "tensordot": (lambda a, b: np.linalg.tensordot(a, b, axes=1), (2, 3), (3, 2)),
    "vecdot": (lambda a, b: np.linalg.vecdot(a, b, axis=0), (2, 3), (2, 3)),
    "trace": (lambda a, b: np.linalg.trace(a * b, offset=1), (2, 3, 3), (3, 3)),
    "diagonal": (lambda a, b: np.linalg.diagonal(a * b, offset=-1), (2, 3, 3), (3, 3)),
    "matrix_transpose": (lambda a, b: np.linalg.matrix_transpose(a) * b, (2, 3, 1), (1, 3)),
}


@pytest.mark.parametrize("name", LINALG)
def test_what_numpy_calls_so_in_linalg(name):
    call, a, b = LINALG[name]
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(a), rng.standard_normal(b)
    x = leaf(a)
    y = call(x, b)
    np.testing.assert_allclose(y.data, call(a, b), rtol=1e-14)
    g = rng.standard_normal(y.shape)
    (gradient,) = gradients(y, g, [x])
    for i in np.ndindex(a.shape):  # linear in a, so a difference of any size is exact
        e = np.zeros(a.shape)
        e[i] = 1.0
        np.testing.assert_allclose(gradient.data[i], (call(e, b) * g).sum(), rtol=1e-12, atol=1e-14)


REFUSED = [
    (lambda a: mg.cross(a, mg.ones(4)), r"cross: vectors of 3 and 4 elements; they must have 2 or 3"),
    (lambda a: np.linalg.cross(a, mg.ones(2)), r"np\.linalg\.cross: along axis -1, \(3,\) and \(2,\) must"),
    (lambda a: np.linalg.outer(a, mg.ones((1, 2))), r"np\.linalg\.outer: it takes two vectors, not \(3,\) and"),
    (lambda a: mg.inner(a, mg.ones(2)), r"inner: the last axes of \(3,\) and \(2,\) differ in length"),
    (lambda a: mg.vecdot(a, mg.ones(2)), r"vecdot: in \(3,\) and \(2,\), the last axes must hold"),
    (lambda a: mg.vecdot(a, 2.0), r"vecdot: in \(3,\) and \(\), the last axes must hold vectors"),
    (lambda a: mg.matvec(mg.ones((2, 2)), a), r"matmul\(.*2 and 3 differ"),
    (lambda a: mg.trace(a), r"diagonal: an array of shape \(3,\) holds no matrices"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "sentence"), REFUSED, ids=[r[1][:40] for r in REFUSED])
def test_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(mg.ones(3, requires_grad=True))
