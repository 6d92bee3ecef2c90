"""Decompositions of matrices: Cholesky, QR, eigenvalues of symmetric matrices, singular values.

An op has one result, so a card gives all parts of a decomposition in one array, below each other, and the public
function cuts it. So the gradients of all parts arrive in one rule. Every function takes stacks of matrices.

Vectors are determined up to their sign only, and a loss must not depend on it. Numbers have the signs that LAPACK
chooses. Formulas on symbols (and the parameter `positive` of the cards) choose them such that the diagonal of the
matrix of eigenvectors, or of U, or of R, is positive.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.linalg import LinAlgError

from ..names import known
from ..tensor import Tensor, as_tensor, plain
from .card import NUMPY, composite, op
from .picking import take_along_axis
from .solving import each_matrix, matrix, pinv_, solve, square, symmetric, transposed, triangle

__all__ = [
    "EighResult", "QRResult", "SVDResult", "cholesky", "eig", "eigh", "eigvals", "eigvalsh", "lstsq", "matrix_rank",
    "qr", "svd", "svdvals",
]  # fmt: skip


class EighResult(NamedTuple):
    """The eigenvalues, smallest first, and the eigenvectors, one in each column."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    """The orthonormal columns Q and the upper triangle R."""

    Q: Tensor
    R: Tensor


class SVDResult(NamedTuple):
    """The left vectors in the columns of U, the singular values, largest first, the right vectors in the rows of Vh."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def signs_of_diagonal(x):
    """1 and -1 in a row, by which the columns (or rows) are multiplied to make the diagonal positive."""
    return np.where(np.diagonal(x, axis1=-2, axis2=-1) < 0, -1, 1).astype(x.dtype)[..., None, :]


# ---- Cholesky ------------------------------------------------------------------------------------------------------


def _cholesky_rule(g, y, a, upper):
    # With l the factor: g_a = sym(l^-T phi(l.T g) l^-1), where phi takes the lower triangle and half the diagonal
    # (I. Murray 2016, "Differentiation of the Cholesky decomposition", arXiv:1602.07527).
    g, u = (transposed(g), y) if upper else (g, transposed(y))
    inside = np.matmul(u, g)
    phi = (triangle(inside, lower=True) + triangle(inside, lower=True, strict=True)) * 0.5
    return symmetric(solve(u, transposed(solve(u, phi))))


def _written_cholesky(a, upper):
    square(a)
    a = symmetric(a)
    y = np.zeros_like(a)
    for j in range(a.shape[-1]):
        row = y[..., j, :j]
        y[..., j, j] = np.sqrt(a[..., j, j] - np.sum(row * row, axis=-1))
        for i in range(j + 1, a.shape[-1]):
            y[..., i, j] = (a[..., i, j] - np.sum(y[..., i, :j] * row, axis=-1)) / y[..., j, j]
    return transposed(y) if upper else y


@op(numpy=np.linalg.cholesky, sympy=_written_cholesky, vjp=_cholesky_rule,
    cases=[([np.array([[2.0, 0.5], [0.5, 1.0]])], {"upper": upper}) for upper in (False, True)],
    note="of the symmetric part: the gradient is symmetric")
def cholesky(a, upper=False):
    """The lower triangle l with l @ l.T = a, for a symmetric positive definite matrix; or its transpose, if `upper`.

    What is decomposed is the symmetric part (a + a.T) / 2, so the gradient is symmetric, as torch's. (For a symmetric
    matrix this is the matrix itself. Of another one, NumPy reads the lower triangle only.) Raises LinAlgError for a
    matrix that is not positive definite.

    >>> import minigrad as mg
    >>> mg.linalg.cholesky([[4.0, 2.0], [2.0, 2.0]])
    tensor([[2., 0.],
            [1., 1.]])
    """
    square(a)
    wrong = "is not positive definite: some eigenvalue is 0 or negative. a + r * eye with a larger r (a ridge) is"
    y = each_matrix(np.linalg.cholesky, symmetric(a), wrong=wrong)
    return transposed(y).copy() if upper else y


# ---- QR ------------------------------------------------------------------------------------------------------------


def _qr_parts(y, a):
    """Q and R of what the card gives: the rows of Q, and below them those of the transpose of R."""
    m = a.shape[-2]
    return y[..., :m, :], transposed(y[..., m:, :])


def _qr_rule(g, y, a, positive):
    # S. Walter and L. Lehmann 2010, "Algorithmic differentiation of linear algebra functions with application in
    # optimum experimental design" (arXiv:1001.1654), for at least as many rows as columns. Otherwise a = [x, z] with x
    # square, R = [u, v]: v = Q.T z is a product, and Q, u are those of x. What comes from Q and what from R are kept
    # apart as long as they can be, since their sizes may differ much.
    (q, r), (gq, gr) = _qr_parts(y, a), _qr_parts(g, a)
    k = q.shape[-1]
    wide = a.shape[-1] > k
    if wide:
        gv, z = gr[..., k:], a[..., k:]
        gq, gr, r = gq + np.matmul(z, transposed(gv)), gr[..., :k], r[..., :k]
    _regular(r)
    turn, m = np.matmul(transposed(q), gq), np.matmul(r, transposed(gr))
    inside = triangle(turn - transposed(turn) + m, lower=True) + transposed(triangle(m, lower=True, strict=True))
    gx = np.matmul(q, inside)
    if a.shape[-2] > k:
        gx = gx + gq - np.matmul(q, turn)
    gx = transposed(solve(r, transposed(gx)))
    return np.concatenate([gx, np.matmul(q, gv)], -1) if wide else gx


def _regular(r):
    r = plain(r)
    if r.dtype != object and (np.diagonal(r, axis1=-2, axis2=-1) == 0).any():
        raise LinAlgError(
            "qr: its gradient needs independent columns, and R has a zero on its diagonal here; svd or pinv may do"
        )


def _written_qr(a, positive):
    """Gram and Schmidt's way."""
    columns: list[Any] = []
    for j in range(min(a.shape[-2:])):
        v = a[..., j]
        for q in columns:
            v = v - q * np.sum(q * a[..., j], axis=-1, keepdims=True)
        columns.append(v / np.sqrt(np.sum(v * v, axis=-1, keepdims=True)))
    if len(columns) > 2:
        raise TypeError("the formula of qr is written out for up to two rows or columns of symbols only")
    q = np.stack(columns, -1)
    r = np.matmul(transposed(q), a)
    r = np.concatenate([triangle(r[..., : len(columns)], lower=False), r[..., len(columns) :]], -1)
    return np.concatenate([q, transposed(r)], -2)


@op(sympy=_written_qr, vjp=_qr_rule,
    cases=[([shape], {"positive": True}) for shape in ((2, 2), (2, 1), (1, 2))])
def qr_(a, positive=False):
    q, r = np.linalg.qr(a)
    if positive:
        signs = signs_of_diagonal(r)
        q, r = q * signs, r * transposed(signs)
    return np.concatenate([q, transposed(r)], -2)


def qr(a: Any, mode: str = "reduced") -> QRResult | Tensor:
    """Orthonormal columns Q and an upper triangle R with Q @ R = a, as a namedtuple (Q, R).

    `mode` is "reduced", "complete" (Q is square), or "r" (R alone). The gradient exists where the first columns of a
    (as many as it has rows, if it has more columns) are independent, else it raises LinAlgError. With "complete", the
    loss must not depend on which basis the further columns of Q are.

    >>> import minigrad as mg
    >>> q, r = mg.linalg.qr([[0.0, 2.0], [1.0, 0.0]])
    >>> q @ r
    tensor([[0., 2.],
            [1., 0.]])
    """
    if mode == "raw":
        raise ValueError('qr: mode="raw" gives LAPACK\'s reflections, which have no gradient; "reduced" gives Q and R')
    known("mode of qr", mode, ["reduced", "complete", "r"])
    a = as_tensor(a)
    matrix("qr", a)
    q, r = _qr_parts(qr_(a), a)
    m, n = a.shape[-2:]
    if mode == "complete" and m > n:
        values = numbers_of("qr", a, 'mode="reduced"')
        q = completed(q, np.linalg.qr(values, "complete")[0][..., n:])
        r = np.concatenate([r, np.zeros((*r.shape[:-2], m - n, n), r.dtype)], -2)
    return r if mode == "r" else QRResult(q, r)


NUMPY[np.linalg.qr] = qr


def numbers_of(name: str, a: Tensor, instead: str) -> np.ndarray:
    """The values of a tensor that holds numbers."""
    if a.dtype == object:
        raise TypeError(f"{name}: symbols have no basis of the space that is left; {instead} needs none")
    return a._data


def completed(u: Any, others: np.ndarray) -> Any:
    """The columns of u, followed by these others, which complete them to a basis for the values of u.

    They turn as u does, so that losses that do not depend on the choice of the basis have the right gradient (to
    the third order): the part of each that is orthogonal to u, made orthonormal by one step of Newton's.
    """
    rest = others - np.matmul(u, np.matmul(transposed(u), others))
    eye = np.eye(others.shape[-1], dtype=others.dtype)
    rest = np.matmul(rest, 1.5 * eye - 0.5 * np.matmul(transposed(rest), rest))
    return np.concatenate([u, rest], -1)


# ---- what the gradients of vectors are divided by -----------------------------------------------------------------


@op(arity=2, cases=[([(2,), (2,)], {})],
    vjp=(lambda g, y, k, gap: over_gaps(g, gap),
         lambda g, y, k, gap: -over_gaps(g * y, gap)))
def over_gaps(k, gap):
    """k / gap, where no gap is 0 (even for k = 0: in a second derivative k may be 0 because the gap is)."""
    if gap.dtype != object and (gap == 0).any():
        error = LinAlgError(
            "eigh or svd: the vectors of equal eigenvalues or singular values (or of a singular value 0) are no "
            "function of the matrix, so there is no gradient through them. Through the values there is one, but it "
            "turns the vectors, so it has none itself. Without either, there are inv, pinv, det, expm and matrix_power"
        )
        error.explained = True  # type: ignore[attr-defined]  # nobody called this op by its name
        raise error
    return k / gap


def columns_of(*gradients):
    """Which columns, that is, which vectors, get a gradient at all."""
    found = [(plain(g) != 0).any(axis=-2) for g in gradients if g.dtype != object]
    return functools.reduce(np.logical_or, found) if found else None


def apart(x, values, used):
    """Differences of eigenvalues or singular values, to divide by: 0 where they are 0 up to rounding.

    Where moreover no gradient comes to the vectors (`used` is false), they are set to infinity: as if far apart.
    """
    sizes = np.abs(plain(values))
    if sizes.dtype == object:
        return x
    largest = np.max(sizes, axis=-1, initial=0).reshape(sizes.shape[:-1] + (1,) * (x.ndim - sizes.ndim + 1))
    bound = largest * (10 * sizes.shape[-1] * np.finfo(sizes.dtype).eps)
    return np.where(np.abs(plain(x)) <= bound, np.where(used, 0, np.inf).astype(sizes.dtype), x)


def apart_in_pairs(x, values, used):
    """The same for pairs [i, j] of values, with ones on the diagonal."""
    pairs = None if used is None else used[..., None, :] | used[..., :, None]
    return np.where(np.eye(values.shape[-1], dtype=bool), 1, apart(x, values, pairs))


def diagonal(x):
    """Matrices with x on their diagonals."""
    return np.where(np.eye(x.shape[-1], dtype=bool), x[..., None, :], 0)


def skew(x):
    return (x - transposed(x)) * 0.5


# ---- symmetric matrices: eigenvalues -------------------------------------------------------------------------------


def _eigh_rule(g, y, a, positive):
    # Giles 2008, 3.1, for the symmetric part of a.
    w, v = y[..., 0, :], y[..., 1:, :]
    gw, gv = g[..., 0, :], g[..., 1:, :]
    gaps = apart_in_pairs(w[..., None, :] - w[..., :, None], w, columns_of(gv))
    turned = over_gaps(skew(np.matmul(transposed(v), gv)), gaps)
    return np.matmul(np.matmul(v, diagonal(gw) + turned), transposed(v))


def _written_eigh(a, positive):
    square(a)
    a = symmetric(a)
    n = a.shape[-1]
    if n > 2:
        raise TypeError("the formula of eigenvalues is written out for matrices of symbols up to 2 x 2 only")
    if n < 2:
        return np.concatenate([a, np.ones_like(a)], -2) if n else np.zeros_like(a, shape=(*a.shape[:-2], 1, 0))
    mean, half, b = (a[..., 0, 0] + a[..., 1, 1]) / 2, (a[..., 0, 0] - a[..., 1, 1]) / 2, a[..., 0, 1]
    r = np.sqrt(half * half + b * b)
    v = _rotation(r - half, -b, np.sqrt(2 * r * (r - half)))
    return np.concatenate([np.stack([mean - r, mean + r], -1)[..., None, :], v], -2)


def _rotation(c, s, length):
    """[[c, -s], [s, c]] / length."""
    rows = [np.stack([c, -s], -1), np.stack([s, c], -1)]
    return np.stack(rows, -2) / length[..., None, None]


@op(sympy=_written_eigh, vjp=_eigh_rule,
    cases=[([np.array([[2.0, 0.5], [0.5, -1.0]])], {"positive": True}), ([(1, 1)], {"positive": True})],
    note="of the symmetric part: the gradient is symmetric; none through the vectors of equal eigenvalues")
def eigh_(a, positive=False):
    square(a)
    w, v = each_matrix(np.linalg.eigh, symmetric(a), wrong="has eigenvalues that do not converge")
    if positive:
        v = v * signs_of_diagonal(v)
    return np.concatenate([w[..., None, :], v], -2)


def eigh(a: Any, UPLO: str | None = None) -> EighResult:
    """The eigenvalues of a symmetric matrix, smallest first, and its eigenvectors in the columns of a matrix.

    What is decomposed is the symmetric part (a + a.T) / 2, so the gradient is symmetric, as torch's; or, if `UPLO` is
    "L" or "U", the symmetric matrix with that triangle of a, which alone has a gradient then. (For a symmetric matrix
    all of these are the same. Of another one, NumPy reads the lower triangle.)

    A gradient through the eigenvectors needs distinct eigenvalues, else it raises LinAlgError; one through the
    eigenvalues alone does not, but its own gradient does. The loss must not depend on the signs of the vectors.

    >>> import minigrad as mg
    >>> w, v = mg.linalg.eigh([[2.0, 1.0], [1.0, 2.0]])
    >>> w
    tensor([1., 3.])
    >>> v @ mg.tensor([[1.0, 0.0], [0.0, 3.0]]) @ v.T
    tensor([[2., 1.],
            [1., 2.]])
    """
    a = as_tensor(a)
    if UPLO is not None:
        if str(UPLO).upper() not in ("L", "U"):
            raise ValueError(f'eigh: UPLO={UPLO!r} is neither "L" nor "U", for the lower or the upper triangle')
        matrix("eigh", a)
        square(a)
        lower = np.tri(a.shape[-1]) == 1
        a = np.where(lower if str(UPLO).upper() == "L" else lower.T, a, transposed(a))
    y = eigh_(a)
    return EighResult(y[..., 0, :], y[..., 1:, :])


def _lower_cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """`cholesky` as NumPy has it, which reads one triangle."""
    a = as_tensor(a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        return cholesky(a, upper=upper)
    lower = np.tri(a.shape[-1]) == 1
    return cholesky(np.where(lower.T if upper else lower, a, transposed(a)), upper=upper)


NUMPY[np.linalg.cholesky] = _lower_cholesky


def _of_lower_triangle(function: Callable) -> Callable:
    """NumPy's function of this name, which reads the lower triangle unless it is told otherwise."""

    @functools.wraps(function)
    def called(a: Any, UPLO: str = "L") -> Any:
        return function(a, UPLO)

    return called


NUMPY[np.linalg.eigh] = _of_lower_triangle(eigh)


@composite(np.linalg.eigvalsh, cases=[([(2, 2)], {"UPLO": "L"}), ([(2, 2, 2)], {"UPLO": "U"})])
def eigvalsh(a: Any, UPLO: str | None = None) -> Tensor:
    """The eigenvalues of a symmetric matrix, smallest first: those of `eigh`; they may be equal.

    >>> import minigrad as mg
    >>> x = mg.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    >>> mg.linalg.eigvalsh(x).sum().backward()
    >>> x.grad
    tensor([[1., 0.],
            [0., 1.]])
    """
    return eigh(a, UPLO).eigenvalues


NUMPY[np.linalg.eigvalsh] = _of_lower_triangle(eigvalsh)


def eig(a: Any) -> Any:
    """Refused: the eigenvalues of a matrix that is not symmetric are complex numbers."""
    raise TypeError(
        "eig: the eigenvalues of a matrix that is not symmetric are complex numbers, which have no gradient here; eigh "
        "and eigvalsh are for symmetric matrices, svd is for all"
    )


eigvals = eig
NUMPY[np.linalg.eig] = NUMPY[np.linalg.eigvals] = eig


# ---- singular values -----------------------------------------------------------------------------------------------


def svd_parts(y, a):
    """U, S and V of what the card gives: the rows of U, S, the rows of V."""
    m = a.shape[-2]
    return y[..., :m, :], y[..., m, :], y[..., m + 1 :, :]


def _svd_rule(g, y, a, positive):
    # J. Townsend 2016, "Differentiating the singular value decomposition", with the quotients in partial fractions:
    # where two singular values are equal, only what would turn both their vectors at once is divided by 0.
    (u, s, v), (gu, gs, gv) = svd_parts(y, a), svd_parts(g, a)
    turn_u, turn_v = skew(np.matmul(transposed(u), gu)), skew(np.matmul(transposed(v), gv))
    used = columns_of(gu, gv)
    gaps = apart_in_pairs(s[..., None, :] - s[..., :, None], s, used)
    sums = apart_in_pairs(s[..., None, :] + s[..., :, None], s, used)
    core = diagonal(gs) + over_gaps(turn_u + turn_v, gaps) + over_gaps(turn_u - turn_v, sums)
    ga = np.matmul(np.matmul(u, core), transposed(v))
    s = apart(s, s, used)[..., None, :]
    if u.shape[-2] > u.shape[-1]:
        ga = ga + np.matmul(over_gaps(gu - np.matmul(u, np.matmul(transposed(u), gu)), s), transposed(v))
    if v.shape[-2] > v.shape[-1]:
        ga = ga + np.matmul(u, transposed(over_gaps(gv - np.matmul(v, np.matmul(transposed(v), gv)), s)))
    return ga


def _written_svd(a, positive):
    m, n = a.shape[-2:]
    if not 0 < m <= min(n, 2):
        raise TypeError(
            "the formula of singular values is written out for one or two rows of symbols and at least as many "
            f"columns only, not for {m} x {n}"
        )
    t = transposed(a)
    product = np.matmul(a, t)
    if m == 1:
        u, s = np.ones_like(product), np.sqrt(product)
    else:
        mean, half = (product[..., 0, 0] + product[..., 1, 1]) / 2, (product[..., 0, 0] - product[..., 1, 1]) / 2
        b = product[..., 0, 1]
        r = np.sqrt(half * half + b * b)
        u = _rotation(r + half, b, np.sqrt(2 * r * (r + half)))
        s = np.stack([np.sqrt(mean + r), np.sqrt(mean - r)], -1)[..., None, :]
    return np.concatenate([u, s, np.matmul(t, u) / s], -2)


@op(sympy=_written_svd, vjp=_svd_rule, cases=[([shape], {"positive": True}) for shape in ((2, 2), (1, 2), (1, 1))],
    note="a singular value 0 has the slope u v.T; no gradient through the vectors of equal singular values")
def svd_(a, positive=False):
    function = lambda a: np.linalg.svd(a, full_matrices=False)  # noqa: E731
    u, s, vh = each_matrix(function, a, wrong="has singular values that do not converge")
    v = transposed(vh)
    if positive:
        signs = signs_of_diagonal(u)
        u, v = u * signs, v * signs
    return np.concatenate([u, s[..., None, :], v], -2)


def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> SVDResult | Tensor:
    """The singular value decomposition U @ diag(S) @ Vh = a, as a namedtuple (U, S, Vh); S alone, if not `compute_uv`.

    With `full_matrices`, U and Vh are square; the loss must not depend on which basis their further vectors are. With
    `hermitian`, the symmetric part of a is decomposed by `eigh`. A gradient through U or Vh needs distinct singular
    values (and none of them 0, unless a is square), else it raises LinAlgError; one through S alone does not, but its
    own gradient does. The loss must not depend on the common sign of a column of U and a row of Vh.

    >>> import minigrad as mg
    >>> u, s, vh = mg.linalg.svd([[0.0, 2.0], [1.0, 0.0]])
    >>> s
    tensor([2., 1.])
    >>> u @ mg.tensor([[2.0, 0.0], [0.0, 1.0]]) @ vh
    tensor([[0., 2.],
            [1., 0.]])
    """
    a = as_tensor(a)
    matrix("svd", a)
    if hermitian:
        return _svd_of_symmetric(a, compute_uv)
    u, s, v = svd_parts(svd_(a), a)
    if not compute_uv:
        return s
    m, n = a.shape[-2:]
    if full_matrices and m != n:
        full = np.linalg.svd(numbers_of("svd", a, "full_matrices=False"))
        if m > n:
            u = completed(u, full.U[..., n:])
        else:
            v = completed(v, transposed(full.Vh)[..., m:])
    return SVDResult(u, s, transposed(v))


def _svd_of_symmetric(a: Tensor, compute_uv: bool) -> SVDResult | Tensor:
    w, v = eigh(a)
    order = np.argsort(-np.abs(w._data), axis=-1)
    w = take_along_axis(w, order, -1)
    if not compute_uv:
        return abs(w)
    u = take_along_axis(v, order[..., None, :], -1)
    signs = np.where(w._data < 0, -1, 1).astype(w.dtype)
    return SVDResult(u, abs(w), transposed(u * signs[..., None, :]))


NUMPY[np.linalg.svd] = svd


@composite(np.linalg.svdvals, cases=[([(2, 3)], {}), ([(2, 2, 2)], {})])
def svdvals(x: Any) -> Tensor:
    """The singular values, largest first; they may be equal. The slope of one that is 0 is u v.T, as torch's.

    >>> import minigrad as mg
    >>> mg.linalg.svdvals([[3.0, 0.0], [0.0, -4.0]])
    tensor([4., 3.])
    """
    x = as_tensor(x)
    matrix("svdvals", x)
    return svd_parts(svd_(x), x)[1]


# ---- least squares, rank -------------------------------------------------------------------------------------------


def lstsq(a: Any, b: Any, rcond: float | None = None) -> tuple[Tensor, Tensor, int, Tensor]:
    """The x that makes |a @ x - b| least, and of these the shortest: pinv(a) @ b.

    Returns, as NumPy, x, the sums of squared residuals (none, unless a has full rank and more rows than columns), the
    rank of a, and its singular values; those up to `rcond` (by default, the larger side of a times the
    precision) times the largest count as 0. The gradient is that among matrices of the same rank, as for `pinv`.

    >>> import minigrad as mg
    >>> x, residuals, rank, s = mg.linalg.lstsq([[1.0], [1.0]], [1.0, 3.0])
    >>> x, residuals, rank
    (tensor([2.]), tensor([2.]), 1)
    """
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim != 2 or b.ndim not in (1, 2) or b.shape[0] != a.shape[0]:
        raise LinAlgError(
            f"lstsq: a is a matrix, b a vector or matrix with as many rows; their shapes are {a.shape} and {b.shape}"
        )
    m, n = a.shape
    if a.dtype != object:
        a = a if a.dtype.kind == "f" else a.astype(float)
        rcond = float(np.finfo(a.dtype).eps) * max(m, n) if rcond is None or rcond < 0 else rcond
    x = np.matmul(pinv_(a, rcond=rcond), b)
    s = svdvals(a)
    rank = min(m, n) if a.dtype == object else int((s._data > rcond * s._data.max(initial=0)).sum())
    if rank < n or m <= n:
        return x, Tensor(np.empty(0, x.dtype)), rank, s
    residuals = np.sum((np.matmul(a, x) - b) ** 2, axis=0, keepdims=b.ndim == 1)
    return x, residuals, rank, s


NUMPY[np.linalg.lstsq] = lstsq


def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The rank of a matrix, a plain integer: a number that jumps has no gradient.

    >>> import minigrad as mg
    >>> int(mg.linalg.matrix_rank([[1.0, 2.0], [2.0, 4.0]]))
    1
    """
    return np.linalg.matrix_rank(plain(A), plain(tol), hermitian, rtol=plain(rtol))


NUMPY[np.linalg.matrix_rank] = matrix_rank
