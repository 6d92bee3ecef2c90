"""Determinants, exact where the matrix is singular, and the condition number."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.linalg import LinAlgError

from ..tensor import Tensor, as_tensor, plain
from .card import composite, op
from .decompositions import svd_, svd_parts, svdvals
from .picking import scatter
from .products import norm
from .reduce import _product_of_the_others as product_of_the_others
from .solving import REGULAR, inv, matrix, minors, others, signs, square, transposed, written_det

__all__ = ["SlogdetResult", "cond", "det", "slogdet"]


SMALL = 4  # up to this order, a cofactor is computed as a determinant; beyond it, by singular values


class SlogdetResult(NamedTuple):
    """The sign of a determinant, and the logarithm of its absolute value."""

    sign: Tensor
    logabsdet: Tensor


# ---- the determinant -----------------------------------------------------------------------------------------------


@op(numpy=np.linalg.det, sympy=written_det, vjp=lambda g, y, a: g[..., None, None] * cofactors(a),
    cases=[([(2, 2)], {}), ([(3, 3)], {}), ([(2, 1, 1)], {})])
def det(a):
    """The determinant of a square matrix, or of each in a stack.

    The gradient is the matrix of cofactors (Jacobi's formula), of singular matrices too.

    >>> import minigrad as mg
    >>> mg.linalg.det([[1.0, 2.0], [3.0, 5.0]])
    tensor(-1.)
    >>> mg.grad(mg.linalg.det)(mg.tensor([[1.0, 2.0], [2.0, 4.0]]))
    tensor([[ 4., -2.],
            [-2.,  1.]])
    """
    square(a)
    return np.linalg.det(a)


def _cofactors_rule(g, y, a):
    if a.shape[-1] <= SMALL:
        slopes = (g * signs(a))[..., None, None] * cofactors(minors(a))
        return scatter(slopes, (..., *others(a.shape[-1])), a.shape)
    # With a = u s v.T, det'' = det(u) det(v) times that of the diagonal matrix s, whose second derivative by the
    # elements ii and jj is the product p_ij of all other singular values, and by ij and ji it is -p_ij.
    u, s, v = svd_parts(svd_(a), a)
    sign = np.sign(np.linalg.det(plain(u)) * np.linalg.det(plain(v)))[..., None, None]
    products = products_of_the_others(s)
    h = np.matmul(np.matmul(transposed(u), g), v)
    eye = np.eye(s.shape[-1], dtype=bool)
    sums = np.matmul(products, np.add.reduce(np.where(eye, h, 0), axis=-1)[..., None])
    core = np.where(eye, sums, 0) - products * transposed(h)
    return sign * np.matmul(np.matmul(u, core), transposed(v))


def products_of_the_others(s):
    """At [i, j] the product of all s but those two, and zeros on the diagonal."""
    eye = np.eye(s.shape[-1], dtype=bool)
    rows = np.where(eye, 1, s[..., None, :])
    return np.where(eye, 0, product_of_the_others(np.ones_like(plain(s)), None, rows, -1, False))


def _written_cofactors(a):
    return signs(a) * written_det(minors(a))


@op(sympy=_written_cofactors, vjp=_cofactors_rule, cases=[([(2, 2)], {}), ([(3, 3)], {})])
def cofactors(a):
    """The gradient of the determinant: det(a) inv(a).T where that exists, and the same polynomials elsewhere."""
    if a.shape[-1] <= SMALL:
        return signs(a) * np.linalg.det(minors(a))
    u, s, vh = np.linalg.svd(a)
    products = plain(product_of_the_others(np.ones_like(s[..., 0]), None, s, -1, False))
    sign = np.sign(np.linalg.det(u) * np.linalg.det(vh))
    return np.matmul(u * (sign[..., None] * products)[..., None, :], vh)


def _slogdet_rule(g, y, a):
    if y.dtype != object and np.isneginf(plain(y)).any():
        raise LinAlgError(
            "slogdet: the matrix is singular: the logarithm of its determinant is -inf, which has no slope; the "
            "gradient of det is exact there"
        )
    return g[..., None, None] * transposed(inv(a))


def _written_slogdet(a):
    return np.log(np.abs(written_det(a)))


@op(sympy=_written_slogdet, vjp=_slogdet_rule, cases=[([(2, 2)], {}), ([(2, 1, 1)], {})])
def slogdet_(a):
    square(a)
    return np.linalg.slogdet(a).logabsdet


@composite(np.linalg.slogdet, cases=[([REGULAR], {}), ([np.stack([REGULAR, -REGULAR.T])], {})])
def slogdet(a: Any) -> SlogdetResult:
    """The sign of the determinant, and the logarithm of its absolute value, which cannot overflow: a namedtuple.

    The sign has no gradient, the logarithm has inv(a).T. For a singular matrix they are 0 and -inf, without a gradient
    (LinAlgError).

    >>> import minigrad as mg
    >>> mg.linalg.slogdet([[0.0, 1.0], [1.0, 0.0]])
    SlogdetResult(sign=tensor(-1.), logabsdet=tensor(0.))
    """
    a = as_tensor(a)
    logabsdet = slogdet_(a)
    values = plain(a)
    sign = np.sign(written_det(values)) if values.dtype == object else np.linalg.slogdet(values).sign
    return SlogdetResult(Tensor(sign), logabsdet)


# ---- the condition number ------------------------------------------------------------------------------------------


@composite(np.linalg.cond, cases=[([REGULAR], {"p": p}) for p in (None, -2, 1, "fro", np.inf)])
def cond(x: Any, p: Any = None) -> Tensor:
    """The condition number norm(x, p) * norm(inv(x), p); for p None or 2, the ratio of the extreme singular values.

    It is infinite for a singular matrix, and then has no gradient. For other p than None, 2 and -2, x is square.

    >>> import minigrad as mg
    >>> mg.linalg.cond([[2.0, 0.0], [0.0, 8.0]])
    tensor(4.)
    """
    x = as_tensor(x)
    matrix("cond", x)
    if not x.size:
        raise LinAlgError(f"cond: a matrix without elements, of shape {x.shape}, has no condition number")
    if p in (None, 2, -2):
        s = svdvals(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    try:
        inverse = inv(x)
    except LinAlgError:
        square(x)
        return Tensor(np.linalg.cond(x._data, p))  # inf there
    return norm(x, p, axis=(-2, -1)) * norm(inverse, p, axis=(-2, -1))
