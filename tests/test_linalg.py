"""Linear algebra: values, gradients and second derivatives against torch, degenerate matrices, refusals.

Vectors of decompositions are compared through what does not depend on their signs.
"""

import warnings

import numpy as np
import pytest
import sympy
from catalogue import agree, close, gradients, layouts, leaf, rngs, torch
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import linalg as la
from minigrad.ops.determinants import cofactors

many, some = settings(max_examples=40), settings(max_examples=12)
LinAlgError = np.linalg.LinAlgError
tl = torch.linalg
stacks = st.sampled_from([(), (), (2,), (0,), (2, 1)])
orders = st.integers(0, 5)


def matrices(rng, stack, m, n):
    """Random matrices whose singular values are between 0.5 and 3, and not close to each other."""
    k = min(m, n)
    u = np.linalg.qr(rng.standard_normal((*stack, m, k)))[0]
    v = np.linalg.qr(rng.standard_normal((*stack, n, k)))[0]
    s = 0.5 + 2.5 * (np.arange(k) + rng.uniform(0.2, 0.8, (*stack, k))) / max(k, 1)
    return (u * s[..., None, :]) @ np.swapaxes(v, -1, -2)


def definite(rng, stack, n):
    a = matrices(rng, stack, n, n)
    return a @ np.swapaxes(a, -1, -2)


def mirrored(a):
    return (a + np.swapaxes(a, -1, -2)) / 2


STACKS = [((), ()), ((2,), ()), ((), (2,)), ((2, 1), (3,)), ((0,), (1,)), ((2,), (2,))]  # of a and b


# ---- square matrices ------------------------------------------------------------------------------------------------

SQUARE = {
    "det": (la.det, tl.det),
    "inv": (la.inv, tl.inv),
    "slogdet": (lambda a: la.slogdet(a).logabsdet, lambda a: tl.slogdet(a).logabsdet),
    "pinv": (la.pinv, tl.pinv),
    "expm": (la.expm, tl.matrix_exp),
    "cofactors": (cofactors, lambda a: tl.det(a)[..., None, None] * tl.inv(a).mT),
    "third power": (lambda a: la.matrix_power(a, 3), lambda a: tl.matrix_power(a, 3)),
    "inverse square": (lambda a: la.matrix_power(a, -2), lambda a: tl.matrix_power(a, -2)),
    "tenth power": (lambda a: la.matrix_power(a, 10), lambda a: tl.matrix_power(a, 10)),
    "cond": (la.cond, tl.cond),
    "cond, -2": (lambda a: la.cond(a, -2), lambda a: tl.cond(a, -2)),
    "cond, fro": (lambda a: la.cond(a, "fro"), lambda a: tl.matrix_norm(a) * tl.matrix_norm(tl.inv(a))),
    "cond, nuc": (
        lambda a: la.cond(a, "nuc"), lambda a: tl.matrix_norm(a, "nuc") * tl.matrix_norm(tl.inv(a), "nuc")),
}


@pytest.mark.parametrize("name", SQUARE)
@some
@given(stack=stacks, n=orders, rng=rngs, layout=layouts)
def test_functions_of_square_matrices(name, stack, n, rng, layout):
    if name.startswith("cond") and (n == 0 or 0 in stack):
        return  # refused below
    ours, theirs = SQUARE[name]
    agree(ours, theirs, [matrices(rng, stack, n, n)], rng, layout)


def test_the_sign_of_a_determinant():
    a = np.stack([np.eye(2), [[0.0, 1.0], [1.0, 0.0]], np.zeros((2, 2))])
    sign, logabsdet = la.slogdet(a)
    assert sign.tolist() == [1, -1, 0]
    assert logabsdet.tolist() == [0, 0, -np.inf]
    x = leaf(a[:2])
    assert not la.slogdet(x).sign.requires_grad
    assert type(la.slogdet(x))._fields == type(np.linalg.slogdet(a))._fields


@some
@given(data=st.data(), n=st.integers(0, 4), k=st.integers(0, 3), rng=rngs, layout=layouts)
def test_solve(data, n, k, rng, layout):
    stack, other = data.draw(st.sampled_from(STACKS))

    def theirs(a, b):
        stack = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return tl.solve(a, b.expand(*stack, *b.shape[-2:]))  # where b has fewer axes than a, it may pass for vectors

    a = matrices(rng, stack, n, n)
    agree(la.solve, theirs, [a, rng.standard_normal((*other, n, k))], rng, layout)
    vector = rng.standard_normal(n)
    agree(la.solve, lambda a, b: theirs(a, b[:, None])[..., 0], [a, vector], rng, layout)


@many
@given(data=st.data(), n=st.integers(0, 4), k=st.integers(0, 3), rng=rngs, lower=st.booleans(), unit=st.booleans())
def test_solve_triangular(data, n, k, rng, lower, unit):
    trans = data.draw(st.sampled_from([0, 1, "N", "T"]))
    stack, other = data.draw(st.sampled_from(STACKS))
    a = rng.uniform(-1, 1, (*stack, n, n)) + 2 * np.eye(n)

    def theirs(a, b):
        if trans in (1, "T"):
            return tl.solve_triangular(a.mT, b, upper=lower, unitriangular=unit)
        return tl.solve_triangular(a, b, upper=not lower, unitriangular=unit)

    def ours(a, b):
        return la.solve_triangular(a, b, trans, lower, unit)

    agree(ours, theirs, [a, rng.standard_normal((*other, n, k))], rng)
    agree(ours, lambda a, b: theirs(a, b[:, None])[..., 0], [a, rng.standard_normal(n)], rng)


def test_solve_triangular_is_scipys():
    from scipy.linalg import solve_triangular

    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 3)), rng.standard_normal(3)
    for params in ({}, {"lower": True}, {"trans": "T"}, {"unit_diagonal": True}):
        np.testing.assert_array_equal(la.solve_triangular(a, b, **params).data, solve_triangular(a, b, **params))


# ---- determinants of singular matrices ------------------------------------------------------------------------------


def minors_of(a):
    n = len(a)
    sub = [[np.delete(np.delete(a, i, 0), j, 1) for j in range(n)] for i in range(n)]
    return np.array([[(-1.0) ** (i + j) * np.linalg.det(sub[i][j]) for j in range(n)] for i in range(n)])


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_the_gradient_of_a_singular_determinant_is_exact(n, missing):
    """Of first and second order; n - missing is the rank."""
    rng = np.random.default_rng(n)
    k = max(n - missing, 0)
    a = rng.integers(-3, 4, (n, k)) @ rng.integers(-3, 4, (k, n)) * 1.0
    x, v = leaf(a), rng.standard_normal((n, n))
    (first,) = gradients(la.det(x), None, [x], create_graph=True)
    size = max(np.linalg.norm(a, 2), 1) ** (n - 1)
    close(first, minors_of(a), "gradient", 1e-9, 1e-14 * size)
    (second,) = gradients((first * v).sum(), None, [x])
    expected = np.empty((n, n))
    for i in np.ndindex(n, n):  # minors are linear in each element, so the difference is the slope
        e = np.zeros((n, n))
        e[i] = 1
        expected[i] = (v * (minors_of(a + e) - minors_of(a - e))).sum() / 2
    close(second, expected, "second derivative", 1e-9, 1e-13 * size)


def test_the_third_derivative_of_a_determinant():
    """Along a line it is a polynomial."""
    for n in (3, 4, 5):
        rng = np.random.default_rng(n)
        a, d = rng.standard_normal((2, n, n))
        along = [np.linalg.det(a + t * d) for t in np.arange(n + 1) / 2 - 1]
        polynomial = np.polynomial.Polynomial.fit(np.arange(n + 1) / 2 - 1, along, n)
        f = lambda t, a=a, d=d: la.det(a + t * d)  # noqa: E731
        for order in (1, 2, 3):
            f = mg.grad(f)
            assert f(0.0).item() == pytest.approx(polynomial.deriv(order)(0.0), rel=1e-9), (n, order)


# ---- pseudo-inverses, least squares ---------------------------------------------------------------------------------


@some
@given(stack=stacks, m=st.integers(0, 4), n=st.integers(0, 4), rng=rngs, layout=layouts)
def test_pinv(stack, m, n, rng, layout):
    a = matrices(rng, stack, m, n)
    agree(la.pinv, tl.pinv, [a], rng, layout)
    np.testing.assert_array_equal(la.pinv(a).data, np.linalg.pinv(a))


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (2, 4), (2, 4, 3)])
def test_pinv_where_the_rank_is_not_full(shape):
    """Among matrices of this rank: a = b @ c moves within them, and only such moves have a derivative."""
    rng = np.random.default_rng(0)
    *stack, m, n = shape
    rank = min(m, n) - 1
    b, c = rng.standard_normal((*stack, m, rank)), rng.standard_normal((*stack, rank, n))
    agree(lambda b, c: la.pinv(b @ c, 1e-10), lambda b, c: tl.pinv(c) @ tl.pinv(b), [b, c], rng)
    agree(lambda b, c: la.pinv(b @ c, rtol=1e-10), lambda b, c: tl.pinv(c) @ tl.pinv(b), [b, c], rng)


def test_the_bounds_of_pinv():
    a = np.diag([1.0, 1e-3])
    assert la.pinv(a, 1e-2).data[1, 1] == 0
    assert la.pinv(a, rtol=1e-2).data[1, 1] == 0
    np.testing.assert_array_equal(la.pinv(a, rtol=None).data, np.linalg.pinv(a, rtol=None))
    np.testing.assert_array_equal(la.pinv(np.stack([a, a]), np.array([1e-2, 1e-4])).data[:, 1, 1] == 0, [True, False])
    agree(lambda a: la.pinv(a, hermitian=True), lambda a: tl.inv((a + a.mT) / 2), [a + 0.1], np.random.default_rng(0))


@pytest.mark.parametrize("shape", [(4, 2), (3, 3), (2, 4)])
@pytest.mark.parametrize("columns", [(), (2,), (0,)])
def test_lstsq(shape, columns):
    rng = np.random.default_rng(0)
    a, b = matrices(rng, (), *shape), rng.standard_normal((shape[0], *columns))
    x, residuals, rank, s = la.lstsq(a, b)
    expected = np.linalg.lstsq(a, b, rcond=None)
    for ours, theirs in zip((x, residuals, s), (expected[0], expected[1], expected[3]), strict=True):
        close(ours, theirs, "lstsq", 1e-12, 1e-13)
    assert rank == expected[2]
    agree(lambda a, b: la.lstsq(a, b)[0], lambda a, b: tl.pinv(a) @ b, [a, b], rng)
    if shape == (4, 2):
        agree(
            lambda a, b: la.lstsq(a, b)[1],
            lambda a, b: ((a @ (tl.pinv(a) @ b) - b) ** 2).sum(0, keepdim=not columns), [a, b], rng)  # fmt: skip


def test_lstsq_where_the_rank_is_not_full():
    a, b = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]), np.array([1.0, 0.0, 2.0])
    x, residuals, rank, _ = la.lstsq(a, b)
    expected = np.linalg.lstsq(a, b, rcond=None)
    close(x, expected[0], "the shortest solution")
    assert (rank, residuals.shape) == (1, (0,))
    np.testing.assert_array_equal(la.lstsq(np.diag([1.0, 1e-3]), np.ones(2), rcond=1e-2)[2], 1)
    assert la.lstsq([[1, 0], [0, 2]], [1, 2])[0].tolist() == pytest.approx([1, 1])


# ---- decompositions -------------------------------------------------------------------------------------------------


@some
@given(stack=stacks, n=orders, rng=rngs, layout=layouts, upper=st.booleans())
def test_cholesky(stack, n, rng, layout, upper):
    a = definite(rng, stack, n)
    agree(lambda a: la.cholesky(a, upper=upper), lambda a: tl.cholesky((a + a.mT) / 2, upper=upper), [a], rng, layout)
    np.testing.assert_array_equal(la.cholesky(mirrored(a)).data, np.linalg.cholesky(mirrored(a)))


def test_the_gradient_of_a_cholesky_factor_is_torchs_on_a_leaf():
    a, rng = definite(np.random.default_rng(0), (), 3), np.random.default_rng(1)
    agree(la.cholesky, tl.cholesky, [mirrored(a)], rng)


def of_vectors(w, v, weights, f=lambda v: v.swapaxes(-1, -2)):
    """What does not depend on the signs of vectors: their squares, and a matrix that has them."""
    return v * v * weights + (v * (w * w)[..., None, :]) @ f(v)


@some
@given(stack=stacks, n=orders, rng=rngs, layout=layouts)
def test_eigh(stack, n, rng, layout):
    a, weights = matrices(rng, stack, n, n), rng.standard_normal((n, n))
    a = mirrored(a @ np.swapaxes(a, -1, -2)) + np.triu(rng.standard_normal((n, n)), 1)  # the upper triangle counts, too
    a -= np.tril(np.swapaxes(np.triu(a - np.swapaxes(a, -1, -2), 1), -1, -2))
    agree(lambda a: of_vectors(*la.eigh(a), weights),
          lambda a: of_vectors(*tl.eigh((a + a.mT) / 2), torch.from_numpy(weights)), [a], rng, layout)  # fmt: skip
    agree(la.eigvalsh, lambda a: tl.eigvalsh((a + a.mT) / 2), [a], rng, layout)


def test_the_gradient_of_eigenvalues_is_torchs_on_a_leaf():
    agree(la.eigvalsh, tl.eigvalsh, [definite(np.random.default_rng(0), (), 3)], np.random.default_rng(1), second=False)


@pytest.mark.parametrize("uplo", ["L", "U", "l"])
def test_a_triangle_of_eigh(uplo):
    a, rng = np.random.default_rng(0).standard_normal((2, 3, 3)), np.random.default_rng(0)
    for ours, theirs in zip(la.eigh(a, uplo), np.linalg.eigh(a, uplo), strict=True):
        close(np.abs(ours.data), np.abs(theirs), "values", 1e-12)

    def theirs(a):
        a = a if uplo.upper() == "L" else a.mT
        return tl.eigvalsh(torch.tril(a) + torch.tril(a, -1).mT)

    agree(lambda a: la.eigvalsh(a, UPLO=uplo), theirs, [a], rng)


def test_numbers_have_lapacks_signs():
    rng = np.random.default_rng(0)
    for n in range(1, 5):
        a = mirrored(rng.standard_normal((3, n, n)))
        np.testing.assert_array_equal(la.eigh(a).eigenvectors.data, np.linalg.eigh(a).eigenvectors)
        for ours, theirs in zip(la.svd(a), np.linalg.svd(a), strict=True):
            close(ours, theirs, "svd", 1e-12)
        for ours, theirs in zip(la.qr(a), np.linalg.qr(a), strict=True):
            np.testing.assert_array_equal(ours.data, theirs)


def of_singular(u, s, vh, weights):
    return (u * s[..., None, :] ** 2) @ vh + (u * u) @ (vh * vh) * weights


@some
@given(stack=stacks, m=st.integers(0, 4), n=st.integers(0, 4), rng=rngs, layout=layouts)
def test_svd(stack, m, n, rng, layout):
    a, weights = matrices(rng, stack, m, n), rng.standard_normal((m, n))
    agree(lambda a: of_singular(*la.svd(a, full_matrices=False), weights),
          lambda a: of_singular(*tl.svd(a, full_matrices=False), torch.from_numpy(weights)),
          [a], rng, layout)  # fmt: skip
    agree(la.svdvals, tl.svdvals, [a], rng, layout)
    agree(lambda a: la.svd(a, compute_uv=False), tl.svdvals, [a], rng, layout)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (2, 3, 1), (3, 3), (2, 0)])
def test_the_further_vectors_of_full_matrices(shape):
    """Their projector is what the others leave."""
    rng = np.random.default_rng(0)
    a, (m, n) = matrices(rng, shape[:-2], *shape[-2:]), shape[-2:]
    k = min(m, n)
    for ours, theirs in zip(la.svd(a), np.linalg.svd(a), strict=True):
        assert ours.shape == theirs.shape
    agree(lambda a: la.svd(a).U[..., k:] @ la.svd(a).U[..., k:].swapaxes(-1, -2),
          lambda a: torch.eye(m, dtype=a.dtype) - a @ tl.pinv(a), [a], rng)  # fmt: skip
    agree(lambda a: la.svd(a).Vh[..., k:, :].swapaxes(-1, -2) @ la.svd(a).Vh[..., k:, :],
          lambda a: torch.eye(n, dtype=a.dtype) - tl.pinv(a) @ a, [a], rng)  # fmt: skip
    if m > n:
        agree(lambda a: la.qr(a, "complete").Q[..., n:] @ la.qr(a, "complete").Q[..., n:].swapaxes(-1, -2),
              lambda a: torch.eye(m, dtype=a.dtype) - a @ tl.pinv(a), [a], rng)  # fmt: skip


def test_svd_of_symmetric_matrices():
    rng = np.random.default_rng(0)
    a = np.diag([1.0, -3.0, 2.0]) + 0.2 * mirrored(rng.standard_normal((3, 3)))
    u, s, vh = la.svd(a, hermitian=True)
    close(u @ (s[:, None] * vh), a, "the product", 1e-12)
    close(s, np.linalg.svd(a, compute_uv=False, hermitian=True), "values", 1e-12)
    close(la.svd(a, True, False, True), s, "values alone")
    agree(lambda a: of_singular(*la.svd(a, hermitian=True), 1.0),
          lambda a: of_singular(*tl.svd((a + a.mT) / 2), 1.0), [a], rng)  # fmt: skip


@some
@given(stack=stacks, m=st.integers(0, 4), n=st.integers(0, 4), rng=rngs, layout=layouts)
def test_qr(stack, m, n, rng, layout):
    a = matrices(rng, stack, m, n)
    for i in (0, 1):
        agree(lambda a, i=i: la.qr(a)[i] ** 2, lambda a, i=i: tl.qr(a)[i] ** 2, [a], rng, layout)
    agree(lambda a: la.qr(a, "r") ** 2, lambda a: tl.qr(a)[1] ** 2, [a], rng, layout)
    for ours, theirs in zip(la.qr(a, "complete"), np.linalg.qr(a, "complete"), strict=True):
        close(ours, theirs, "complete", 1e-12)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (3, 3), (2, 2, 3), (2, 4, 2)])
@pytest.mark.parametrize("i", [0, 1])
def test_qr_of_every_form(shape, i):
    rng = np.random.default_rng(0)
    agree(lambda a: la.qr(a)[i] ** 3, lambda a: tl.qr(a)[i] ** 3, [matrices(rng, shape[:-2], *shape[-2:])], rng)


@pytest.mark.parametrize("order", [2, -2, "nuc"])
@pytest.mark.parametrize("axis", [None, (0, 1), (2, 0), (-1, -3)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_norms_by_singular_values(order, axis, keepdims):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 2, 4) if axis else (3, 2))
    axis = axis or (0, 1)
    agree(lambda x: la.norm(x, order, axis, keepdims), lambda x: tl.matrix_norm(x, order, axis, keepdims), [x], rng)
    close(la.norm(x, order, axis, keepdims), np.linalg.norm(x, order, axis, keepdims), "value", 1e-13)


def test_multi_dot():
    rng = np.random.default_rng(0)
    chains = [((2, 3), (3, 1), (1, 4), (4, 2)), ((3,), (3, 2), (2,)), ((3,), (3, 2), (2, 4)), ((2, 3), (3,))]
    for shapes in [*chains, ((0, 2), (2, 1))]:
        arrays = [rng.standard_normal(s) for s in shapes]
        close(la.multi_dot(arrays), np.linalg.multi_dot(arrays), "value", 1e-12)
        agree(lambda *xs: la.multi_dot(xs), lambda *xs: torch.linalg.multi_dot(xs), arrays, rng)
    a, b, c = (leaf(np.ones(s)) for s in [(9, 2), (2, 9), (9, 1)])
    assert la.multi_dot([a, b, c])._inputs[1]._inputs == (b, c), "which takes 36 multiplications, not 243"


# ---- degenerate cases -----------------------------------------------------------------------------------------------


def test_equal_eigenvalues_have_gradients():
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    for a in (np.eye(4), q @ np.diag([1.0, 1.0, 2.0, 2.0]) @ q.T, np.zeros((4, 4))):
        x = leaf(mirrored(a))
        (g,) = gradients((la.eigvalsh(x) ** 3).sum(), None, [x])  # the trace of the third power
        close(g, 3 * a @ a, "gradient", 1e-9, 1e-12)
        (g,) = gradients((la.svdvals(x) ** 2).sum(), None, [x])
        close(g, 2 * a, "gradient of the squares", 1e-9, 1e-12)


def test_a_second_derivative_beside_equal_eigenvalues():
    """That of a single eigenvalue exists; h.T f'' h is 2 sum_j h_0j^2 / (w_0 - w_j)."""
    h, a = mirrored(np.random.default_rng(0).standard_normal((3, 3))), np.diag([3.0, 1.0, 1.0])
    for f, twice in [
        (lambda a: la.eigvalsh(a)[-1], h[0, 1] ** 2 + h[0, 2] ** 2),
        (lambda a: la.eigvalsh(a)[-1] ** 2, 2 * 3 * (h[0, 1] ** 2 + h[0, 2] ** 2) + 2 * h[0, 0] ** 2),
    ]:
        assert (mg.hvp(f, a, h).data * h).sum() == pytest.approx(twice, rel=1e-12)
    w, dw = mg.jvp(la.eigvalsh, (np.eye(3),), (np.eye(3),))
    assert dw.tolist() == [1, 1, 1]


def test_a_vector_beside_equal_eigenvalues():
    x = leaf(np.diag([3.0, 1.0, 1.0]))
    (g,) = gradients((la.eigh(x)[1][:, -1] ** 2 * [1.0, 2.0, 3.0]).sum(), None, [x])
    assert np.isfinite(g.data).all()


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("gap", [0, 1e-15])
@pytest.mark.parametrize("sign", [1, -1])
def test_no_gradient_through_the_vectors_of_equal_values(sign, gap, n):
    x = leaf(sign * np.diag([1.0, 1.0 + gap, 3.0][:n]))
    weights = np.random.default_rng(0).standard_normal((n, n))
    sentence = "^eigh or svd: the vectors of equal eigenvalues or singular values .* are no function of the matrix"
    with pytest.raises(LinAlgError, match=sentence):
        (la.eigh(x)[1] * weights).sum().backward()
    with pytest.raises(LinAlgError, match=sentence):  # one of the two is enough
        (la.eigh(x)[1][:, 1] * weights[0]).sum().backward()
    with pytest.raises(LinAlgError, match=sentence):
        (la.svd(x).U * weights).sum().backward()
    with pytest.raises(LinAlgError, match=sentence):  # f'' of the eigenvalues turns their vectors
        mg.hvp(lambda a: (la.eigvalsh(a) ** 2).sum(), x.data, np.ones((n, n)))
    with pytest.raises(LinAlgError, match=sentence):
        mg.jvp(lambda a: la.eigh(a)[1], (x.data,), (np.ones((n, n)),))


def test_whether_values_are_equal_depends_on_no_unit():
    """Far apart for small matrices too: the vectors of c A are those of A, so their slope is 1/c times as large."""
    a, weights = A * 1e-20, np.random.default_rng(0).standard_normal((3, 3))
    for vectors in (lambda a: la.eigh(a)[1], lambda a: la.svd(a).U):
        one, small = (gradients((vectors(x) * weights).sum(), None, [x])[0] for x in (leaf(A), leaf(a)))
        close(small.data * 1e-20, one, "gradient", 1e-12)


def test_a_singular_value_zero():
    """Its slope is u v.T, as torch's; through its vectors there is none unless the matrix is square."""
    a = np.diag([2.0, 0.0])
    x, t = leaf(a), torch.tensor(a, requires_grad=True)
    (g,) = gradients(la.svdvals(x).sum(), None, [x])
    tl.svdvals(t).sum().backward()
    close(np.abs(g.data), np.abs(t.grad.numpy()), "slope")
    assert np.isfinite(gradients((la.svd(x).U ** 2 * a).sum(), None, [x])[0].data).all()
    x = leaf(np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(LinAlgError, match="a singular value 0"):
        (la.svd(x, False).U * np.arange(6.0).reshape(3, 2)).sum().backward()
    x = leaf(np.zeros((2, 2)))
    assert np.isfinite(gradients(la.norm(x, "nuc"), None, [x])[0].data).all()
    for a in (np.eye(3, 2), np.eye(2, 3)):  # beside a singular value 0, others have the slope u v.T too
        x = leaf(a * [[2.0], *[[0.0]] * (len(a) - 1)])
        close(gradients(la.svdvals(x)[0], None, [x])[0], a * [[1.0], *[[0.0]] * (len(a) - 1)], "slope", 1e-12)


def test_the_condition_of_a_singular_matrix_is_infinite():
    a = np.array([[1.0, 2.0], [2.0, 4.0]])
    assert la.cond(a * 0 + np.diag([1.0, 0.0])).item() == np.inf
    assert la.cond(a, 1).item() == np.linalg.cond(a, 1) == np.inf


def test_the_gradient_of_expm_is_linear_in_what_comes_in():
    x, g = leaf(A), np.random.default_rng(0).uniform(1, 2, (3, 3))
    one, *others = (gradients(la.expm(x), g * scale, [x])[0] for scale in (1, 1e150, -1e150, 1e-150))
    for scale, other in zip((1e150, -1e150, 1e-150), others, strict=True):
        close(other.data / scale, one, "gradient", 1e-12)
    assert not gradients(la.expm(x), g * 0, [x])[0].data.any()


# ---- dispatch, dtypes, shapes ---------------------------------------------------------------------------------------

A = np.array([[2.0, 0.5, 0.25], [0.5, 1.5, -0.5], [0.25, -0.5, 1.0]])
B = np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]])
CALLS = {
    "det": lambda a, b: np.linalg.det(a), "inv": lambda a, b: np.linalg.inv(a), "pinv": lambda a, b: np.linalg.pinv(b),
    "solve": lambda a, b: np.linalg.solve(a, b), "slogdet": lambda a, b: np.linalg.slogdet(a),
    "cholesky": lambda a, b: np.linalg.cholesky(a), "eigh": lambda a, b: np.linalg.eigh(a),
    "eigh U": lambda a, b: np.linalg.eigh(a, UPLO="U"), "eigvalsh": lambda a, b: np.linalg.eigvalsh(a),
    "svd": lambda a, b: np.linalg.svd(b, full_matrices=False), "svd full": lambda a, b: np.linalg.svd(b),
    "svdvals": lambda a, b: np.linalg.svdvals(b), "qr": lambda a, b: np.linalg.qr(b),
    "qr r": lambda a, b: np.linalg.qr(b, "r"), "matrix_power": lambda a, b: np.linalg.matrix_power(a, 3),
    "zeroth power": lambda a, b: np.linalg.matrix_power(a, 0), "multi_dot": lambda a, b: np.linalg.multi_dot([a, a, b]),
    "lstsq": lambda a, b: np.linalg.lstsq(b, a[:, 0], rcond=None), "cond": lambda a, b: np.linalg.cond(a, 1),
    "norm": lambda a, b: np.linalg.norm(a, 2), "matrix_rank": lambda a, b: np.linalg.matrix_rank(a),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpys_own_functions(name, dtype):
    """The same results in the same dtypes, with the same fields, from NumPy's functions on tensors."""
    arrays = A.astype(dtype), B.astype(dtype)
    leaves = [leaf(x) for x in arrays]
    found, expected = CALLS[name](*leaves), CALLS[name](*arrays)
    assert getattr(type(found), "_fields", None) == getattr(type(expected), "_fields", None)
    found, expected = ((y,) if not isinstance(y, tuple) else y for y in (found, expected))
    assert len(found) == len(expected)
    for y, right in zip(found, expected, strict=True):
        if isinstance(y, mg.Tensor):
            assert y.dtype == right.dtype
            close(np.abs(y.data), np.abs(right), name, *((1e-4, 1e-5) if dtype is np.float32 else (1e-12, 1e-13)))
            if y.requires_grad:
                for g in gradients((y * y).sum(), None, leaves):
                    assert g is None or g.dtype == dtype
        else:
            assert y == right


@pytest.mark.parametrize(
    "f", [la.expm, lambda a: la.solve_triangular(a, a[0]), lambda a: la.solve_triangular(a[None], a)], ids=range(3)
)
def test_float32_in_scipys_functions(f):
    x = leaf(A.astype(np.float32))
    y = f(x)
    assert y.dtype == np.float32
    assert gradients((y * y).sum(), None, [x])[0].dtype == np.float32


def test_integers_are_floats_to_linear_algebra():
    a = [[2, 1], [1, 2]]
    assert la.inv(a).dtype == la.det(a).dtype == la.eigvalsh(a).dtype == la.cholesky(a).dtype == np.float64
    assert la.matrix_power(a, 2).tolist() == [[5, 4], [4, 5]]
    assert la.pinv(a, rtol=1e-10).dtype == la.svdvals(a).dtype == la.expm(a).dtype == np.float64


def test_solve_of_mixed_symbols_and_numbers():
    x = mg.symbols("x", (2,))
    y = la.solve([[2.0, 0.0], [0.0, 4.0]], x)
    assert y.tolist() == [x[0].item() / 2, x[1].item() / 4]


def test_users_numpy_code_reads_symbols():
    """np.linalg's functions inside of a function that knows nothing of tensors."""
    f = mg.primitive(lambda a, b: np.linalg.solve(a, b) * np.linalg.det(a))
    a, b = mg.symbols("a", (2, 2)), mg.symbols("b", (2,))
    (p, q), (r, s) = a.data.tolist()
    u, v = b.data.tolist()
    assert [sympy.simplify(e) for e in f(a, b).tolist()] == [sympy.expand(s * u - q * v), sympy.expand(p * v - r * u)]


def test_the_exponential_of_symbols_built_of_blocks():
    """As the rule of expm meets them; at numbers."""
    rng = np.random.default_rng(0)
    a, e = mg.symbols("a", (2, 2)), mg.symbols("e", (2, 2))
    zero = np.zeros((2, 2))
    block = lambda a, e: np.concatenate([np.concatenate([a, e], 1), np.concatenate([zero, a], 1)])  # noqa: E731
    numbers = np.array([[0.5, 1.0], [0.75, -0.5]]), rng.standard_normal((2, 2))
    at = {s: v for x, n in zip((a, e), numbers, strict=True) for s, v in zip(x.data.ravel(), n.ravel(), strict=True)}
    found = [float(sympy.sympify(y).subs(at)) for y in la.expm(block(a, e)).data.ravel()]
    np.testing.assert_allclose(found, la.expm(block(*numbers)).data.ravel(), rtol=1e-12)
    triangle = la.expm(mg.tensor([[a[0, 0].item(), a[0, 1].item()], [0, a[0, 0].item()]]))
    assert sympy.simplify(triangle[0, 1].item() - a[0, 1].item() * sympy.exp(a[0, 0].item())) == 0


def test_every_name_is_offered_and_described():
    for name in la.__all__:
        assert getattr(la, name).__doc__, name
    assert not set(la.__all__) - {"norm"} & set(mg.ops.__all__)


def test_no_warning_escapes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = leaf(np.diag([1.0, 1.0]))
        la.eigvalsh(x).sum().backward()


# ---- what is refused ------------------------------------------------------------------------------------------------

S = np.array([[1.0, 2.0], [2.0, 4.0]])
WIDE = np.ones((2, 3))
NAN = np.full((2, 2), np.nan)
X33, X44, X32, X55 = (mg.symbols("x", s) for s in ((3, 3), (4, 4), (3, 2), (5, 5)))
REFUSED = {
    "singular": (
        lambda: la.inv(S), LinAlgError, r"inv\(array \(2, 2\)\): the matrix is singular: .*pinv and lstsq.*ridge"),
    "one of a stack": (lambda: la.inv(np.stack([np.eye(2), S])), LinAlgError, r"the matrix at \[1\] is singular"),
    "equations": (lambda: la.solve(mg.tensor(S, name="K"), [1.0, 1.0]), LinAlgError, r"solve\(K \(2, 2\), .*singular"),
    "triangular": (lambda: la.solve_triangular(np.zeros((2, 2)), np.ones(2)), LinAlgError, "singular"),
    "negative power": (lambda: la.matrix_power(S, -1), LinAlgError, "singular"),
    "vector": (lambda: la.inv([1.0, 2.0]), LinAlgError, r"a matrix has two axes.*shape \(2,\)"),
    "not square": (lambda: la.det(WIDE), LinAlgError, "2 rows and 3 columns is not square"),
    "not square, inv": (lambda: la.inv(WIDE), LinAlgError, "not square"),
    "not square, slogdet": (lambda: la.slogdet(WIDE), LinAlgError, "not square"),
    "not square, eigh": (lambda: la.eigh(WIDE), LinAlgError, "not square"),
    "not square, UPLO": (lambda: la.eigh(WIDE, "L"), LinAlgError, "not square"),
    "not square, cholesky": (lambda: la.cholesky(WIDE), LinAlgError, "not square"),
    "not square, expm": (lambda: la.expm(WIDE), LinAlgError, "not square"),
    "not square, power": (lambda: la.matrix_power(WIDE, 2), LinAlgError, "square matrices"),
    "not square, cond": (lambda: la.cond(WIDE, 1), LinAlgError, "not square"),
    "not square, symbols": (lambda: la.det(mg.symbols("x", (2, 3))), LinAlgError, "not square"),
    "right-hand side": (lambda: la.solve(np.eye(2), np.ones(3)), LinAlgError, r"2 equations need as many rows.*\(3,\)"),
    "no right-hand side": (lambda: la.solve(np.eye(2), 1.0), LinAlgError, "as many rows"),
    "not definite": (lambda: la.cholesky(-np.eye(2)), LinAlgError, "not positive definite.*ridge"),
    "nan, svd": (lambda: la.svd(NAN), LinAlgError, "nan or infinite"),
    "nan, pinv": (lambda: la.pinv(NAN), LinAlgError, "nan or infinite"),
    "eig": (lambda: la.eig(S), TypeError, "complex numbers.*eigh"),
    "eigvals": (lambda: np.linalg.eigvals(leaf(S)), TypeError, "complex numbers.*eigh"),
    "np.linalg.eig": (lambda: np.linalg.eig(leaf(S)), TypeError, "complex numbers.*eigh"),
    "UPLO": (lambda: la.eigh(S, "X"), ValueError, "neither"),
    "raw": (lambda: la.qr(S, "raw"), ValueError, "reflections"),
    "mode": (lambda: la.qr(S, "reduce"), ValueError, "did you mean 'reduced'"),
    "qr of a vector": (lambda: la.qr(np.ones(2)), LinAlgError, "two axes"),
    "svd of a vector": (lambda: la.svd(np.ones(2)), LinAlgError, "svd: a matrix has two axes"),
    "svdvals of a vector": (lambda: la.svdvals(np.ones(2)), LinAlgError, "two axes"),
    "pinv of a vector": (lambda: la.pinv(np.ones(2)), LinAlgError, "two axes"),
    "cond of nothing": (lambda: la.cond(np.zeros((0, 0))), LinAlgError, "without elements"),
    "dependent columns": (
        lambda: la.qr(leaf(np.zeros((2, 2)))).Q.sum().backward(), LinAlgError, "independent columns.*pinv may do$"),
    "slope of -inf": (
        lambda: la.slogdet(leaf(S))[1].backward(), LinAlgError, "slogdet: the matrix is singular.*det is exact there$"),
    "two bounds": (lambda: la.pinv(S, 0.1, rtol=0.1), ValueError, "rcond and rtol"),
    "exponent": (lambda: la.matrix_power(S, 0.5), TypeError, "an integer, not 0.5"),
    "one factor": (lambda: la.multi_dot([S]), ValueError, "at least two"),
    "stacked factor": (lambda: la.multi_dot([S, np.ones((2, 2, 2)), S]), LinAlgError, r"\(2, 2, 2\)"),
    "factors": (lambda: la.multi_dot([S, WIDE, S]), ValueError, "3 and 2 differ"),
    "trans": (lambda: la.solve_triangular(S, S, trans=2), ValueError, "trans=2"),
    "lstsq": (lambda: la.lstsq(S, np.ones(3)), LinAlgError, r"as many rows.*\(3,\)"),
    "norm": (lambda: la.norm(S, 3), ValueError, r'norm: ord=3 of a matrix is none of .*"nuc"'),
    "large det": (lambda: la.det(X55), TypeError, "det.*up to 4 x 4 only"),
    "large inv": (lambda: la.inv(X44), TypeError, "inv.*up to 3 x 3 only"),
    "large eigh": (lambda: la.eigh(X33), TypeError, "up to 2 x 2 only"),
    "large svd": (lambda: la.svd(X33), TypeError, "one or two rows of symbols"),
    "large qr": (lambda: la.qr(X33), TypeError, "two rows or columns"),
    "large expm": (lambda: la.expm(X33), TypeError, "up to 2 x 2 only"),
    "full matrices of symbols": (lambda: la.svd(mg.symbols("x", (1, 2))), TypeError, "full_matrices=False"),
    "complete QR of symbols": (lambda: la.qr(X32, "complete"), TypeError, 'mode="reduced"'),
    "float16": (lambda: la.inv(np.eye(2, dtype=np.float16)), TypeError, "float16"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    call, error, sentence = REFUSED[name]
    with pytest.raises(error, match=sentence):
        call()
