"""Linear equations: inverses, solutions, pseudo-inverses, powers and the exponential of matrices.

All of these take stacks of matrices (..., n, n). Their rules are the classic ones of matrix calculus, as in M. Giles,
"Collected matrix derivative results for forward and reverse mode algorithmic differentiation" (2008). Formulas on
symbols are written out for small matrices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy._globals import _NoValue
from numpy.linalg import LinAlgError

from ..batching import as_array, beneath
from ..tensor import Tensor, as_tensor, plain
from .card import composite, op

__all__ = ["expm", "inv", "matrix_power", "multi_dot", "pinv", "solve", "solve_triangular"]

SINGULAR = (
    "is singular: it has no inverse, and equations with it have no unique solution. pinv and lstsq give the nearest "
    "there is, and a + r * eye with a small r (a ridge) is regular"
)


REGULAR = np.array([[2.0, 0.5], [-0.5, 1.5]])  # tests take differences, which a bad condition would spoil


@functools.cache
def _scipy():
    from scipy import linalg  # SciPy takes a tenth of a second to load

    return linalg


def square(a):
    """Raise LinAlgError unless `a` is a square matrix, or a stack of them."""
    shape = np.shape(a)
    if len(shape) < 2:
        raise LinAlgError(f"a matrix has two axes, a stack of them more; this has shape {shape}")
    if shape[-1] != shape[-2]:
        raise LinAlgError(f"a matrix of {shape[-2]} rows and {shape[-1]} columns is not square")


def each_matrix(function: Callable, a: Any, *others: Any, wrong: str) -> Any:
    """`function` of stacks of matrices; where it fails, the error says which matrix is wrong, and how."""
    try:
        return function(a, *others)
    except LinAlgError:
        for i in np.ndindex(a.shape[:-2]):
            try:
                function(a[i], *[x[i] if np.shape(x)[:-2] == a.shape[:-2] else x for x in others])
            except LinAlgError:
                break
        else:
            raise
        which = f"the matrix at {list(i)}" if i else "the matrix"
        if not np.isfinite(a[i]).all():
            wrong = "has elements that are nan or infinite"
        raise LinAlgError(f"{which} {wrong}") from None


def transposed(a):
    return np.swapaxes(a, -1, -2)


# ---- on symbols ----------------------------------------------------------------------------------------------------


def written_out(what, a, largest):
    """Raise TypeError for a matrix of symbols that is too large for a formula."""
    if max(a.shape[-2:]) > largest:
        sizes = f"{largest} x {largest}"
        raise TypeError(f"the formula of {what} is written out for matrices of symbols up to {sizes} only")


def others(n):
    """Indices [i, j, :, :] of the elements of a matrix that are neither in row i nor in column j."""
    rest = np.array([[k for k in range(n) if k != i] for i in range(n)], int).reshape(n, max(n - 1, 0))
    return rest[:, None, :, None], rest[None, :, None, :]


def minors(a):
    """Each matrix without row i and column j, at [..., i, j, :, :]."""
    return a[(...,) + others(a.shape[-1])]


def signs(a):
    """The signs of the minors: 1 and -1, as on a chessboard."""
    i = np.arange(a.shape[-1])
    return (1 - 2 * ((i[:, None] + i) % 2)).astype(a.dtype)


def written_det(a):
    """The determinant by Laplace's expansion along the first row."""
    square(a)
    written_out("a determinant", a, 4)
    n = a.shape[-1]
    if n == 0:
        return np.ones_like(a, shape=a.shape[:-2])
    columns = [np.delete(np.arange(n), j) for j in range(n)]
    parts = [(-1) ** j * a[..., 0, j] * written_det(a[..., 1:, columns[j]]) for j in range(n)]
    return functools.reduce(np.add, parts)


def written_inv(a):
    """The inverse by Cramer's rule."""
    square(a)
    written_out("an inverse", a, 3)
    return transposed(signs(a) * written_det(minors(a))) / written_det(a)[..., None, None]


# ---- inverses and equations ----------------------------------------------------------------------------------------


def _inv_rule(g, y, a):
    return -np.matmul(np.matmul(transposed(y), g), transposed(y))


@op(numpy=np.linalg.inv, sympy=written_inv, vjp=_inv_rule, cases=[([(2, 2)], {}), ([(2, 1, 1)], {})])
def inv(a):
    """The inverse of a square matrix, or of each in a stack.

    Raises LinAlgError for a singular matrix. With y the inverse, the gradient is -y.T g y.T (Giles 2008, 2.2.3).

    >>> import minigrad as mg
    >>> mg.linalg.inv([[2.0, 0.0], [0.0, 4.0]])
    tensor([[0.5 , 0.  ],
            [0.  , 0.25]])
    """
    square(a)
    return each_matrix(np.linalg.inv, a, wrong=SINGULAR)


def _solved_back(g, a, b):
    """The solution h of a.T @ h = g, which is the gradient by b."""
    if b.ndim == 1:
        return solve(transposed(a), g[..., None])[..., 0]
    return solve(transposed(a), g)


def _by_matrix(g, y, a, b):
    h = _solved_back(g, a, b)
    return -h[..., None] * y[..., None, :] if b.ndim == 1 else -np.matmul(h, transposed(y))


def _written_solution(a, b):
    return np.matmul(written_inv(a), b)


@op(arity=2, numpy=np.linalg.solve, sympy=_written_solution,
    vjp=(_by_matrix, lambda g, y, a, b: _solved_back(g, a, b)),
    cases=[([(2, 2), (2, 1)], {}), ([(2, 2), (2,)], {}), ([(2, 1, 1), (1, 2)], {})])
def solve(a, b):
    """The solution x of a @ x = b for square matrices a; b is a vector, or a (stack of) matrices of right-hand sides.

    Only where b has one axis is it a vector, as for NumPy 2. Raises LinAlgError for a singular matrix. With
    h = solve(a.T, g), the gradients are h by b, and -h x.T by a (Giles 2008, 2.3.1).

    >>> import minigrad as mg
    >>> mg.linalg.solve([[2.0, 0.0], [1.0, 1.0]], [4.0, 5.0])
    tensor([2., 3.])
    """
    return _solved(np.linalg.solve, a, b)


def _solved(function, a, b):
    square(a)
    a, b = as_array(a), as_array(b)
    if b.ndim == 0 or b.shape[-2:][0] != a.shape[-1]:
        raise LinAlgError(f"{a.shape[-1]} equations need as many rows on the right-hand side, whose shape is {b.shape}")
    return each_matrix(function, a, b, wrong=SINGULAR)


# ---- triangular matrices -------------------------------------------------------------------------------------------


def triangle(a, lower, strict=False):
    """The lower or upper triangle of each matrix, zeros elsewhere; without the diagonal, if `strict`."""
    n = a.shape[-1]
    mask = np.tri(n, k=-1 if strict else 0, dtype=bool)
    return np.where(mask if lower else mask.T, a, 0)


def _triangular_back(g, a, b, trans, lower, unit_diagonal):
    other = {0: 1, 1: 0}[trans]
    if b.ndim == 1:
        return solve_triangular_(a, g[..., None], other, lower, unit_diagonal)[..., 0]
    return solve_triangular_(a, g, other, lower, unit_diagonal)


def _triangular_by_a(g, y, a, b, trans, lower, unit_diagonal):
    h = _triangular_back(g, a, b, trans, lower, unit_diagonal)
    ga = -h[..., None] * y[..., None, :] if b.ndim == 1 else -np.matmul(h, transposed(y))
    return triangle(transposed(ga) if trans else ga, lower, unit_diagonal)


def _written_triangular(a, b, trans, lower, unit_diagonal):
    a = triangle(a, lower, unit_diagonal) + (np.eye(a.shape[-1], dtype=int) if unit_diagonal else 0)
    return _written_solution(transposed(a) if trans else a, b)


@op(arity=2, sympy=_written_triangular,
    vjp=(_triangular_by_a, lambda g, y, a, b, **form: _triangular_back(g, a, b, **form)),
    cases=[([(2, 2), (2, 1)], {}), ([(2, 2), (2,)], {"lower": True, "trans": 1}),
           ([(2, 2), (2, 2)], {"unit_diagonal": True})])
def solve_triangular_(a, b, trans=0, lower=False, unit_diagonal=False):
    def one(a, b):
        return _scipy().solve_triangular(a, b, trans=trans, lower=lower, unit_diagonal=unit_diagonal)

    def stacked(a, b):
        if a.ndim == 2 and b.ndim <= 2:
            return one(a, b) if a.size and b.size else np.linalg.solve(a, b)
        vector = b.ndim == 1
        b = b[:, None] if vector else b
        shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a = np.broadcast_to(a, shape + a.shape[-2:])
        b = np.broadcast_to(b, shape + b.shape[-2:])
        y = np.empty_like(b, dtype=np.result_type(a, b, np.float32))
        for i in np.ndindex(shape):
            y[i] = stacked(a[i], b[i])
        return y[..., 0] if vector else y

    return _solved(stacked, a, b)


@composite(cases=[([REGULAR, (2,)], {"lower": True})])
def solve_triangular(
    a: Any, b: Any, trans: int | str = 0, lower: bool = False, unit_diagonal: bool = False
) -> Tensor:
    """The solution of a @ x = b for triangular a, with the arguments of SciPy's function; stacks as for `solve`.

    Only the triangle that `lower` names is read, and without its diagonal if `unit_diagonal` says that this is all
    ones; the gradient is 0 elsewhere. With `trans` = 1 (or "T") the equations are a.T @ x = b. Raises LinAlgError where
    the diagonal has a zero.

    >>> import minigrad as mg
    >>> mg.linalg.solve_triangular([[2.0, 0.0], [1.0, 1.0]], [4.0, 5.0], lower=True)
    tensor([2., 3.])
    """
    if trans not in (0, 1, "N", "T"):
        raise ValueError(f'solve_triangular: trans={trans!r} is none of 0, 1, "N", "T"')
    return solve_triangular_(a, b, trans=int(trans in (1, "T")), lower=bool(lower), unit_diagonal=bool(unit_diagonal))


# ---- the pseudo-inverse --------------------------------------------------------------------------------------------


def _pinv_rule(g, y, a, rcond):
    if a.shape[-2] < a.shape[-1]:  # so that no matrix is larger than the smaller side allows
        return transposed(_pinv_rule(transposed(g), transposed(y), transposed(a), rcond))
    z = np.matmul(y, transposed(g))
    inside = z - transposed(z) - np.matmul(z, np.matmul(y, a))
    outside = transposed(g) - np.matmul(a, z)
    return np.matmul(outside, np.matmul(y, transposed(y))) + np.matmul(transposed(y), inside)


def _written_pinv(a, rcond):
    t = transposed(a)
    if a.shape[-2] == a.shape[-1]:
        return written_inv(a)
    if a.shape[-2] > a.shape[-1]:
        return np.matmul(written_inv(np.matmul(t, a)), t)
    return np.matmul(t, written_inv(np.matmul(a, t)))


@op(sympy=_written_pinv, vjp=_pinv_rule,
    cases=[([(2, 2)], {}), ([(2, 1)], {}), ([(1, 2)], {})])
def pinv_(a, rcond=None):
    return each_matrix(lambda a: np.linalg.pinv(a, rcond), a, wrong="has singular values that do not converge")


@composite(np.linalg.pinv, cases=[([(2, 3)], {}), ([REGULAR], {"rcond": 1e-12})])
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = _NoValue) -> Tensor:
    """The Moore-Penrose pseudo-inverse; singular values up to `rcond` (or `rtol`) times the largest count as 0.

    The gradient is that among matrices of the same rank, which is the only one there is where the rank is not full
    (Golub and Pereyra 1973, "The differentiation of pseudo-inverses and nonlinear least squares problems whose
    variables separate"). With `hermitian`, the symmetric part of a is taken.

    >>> import minigrad as mg
    >>> mg.linalg.pinv([[2.0, 0.0], [0.0, 0.0]])
    tensor([[0.5, 0. ],
            [0. , 0. ]])
    """
    a = as_tensor(a)
    matrix("pinv", a)
    if rtol is not _NoValue:
        if rcond is not None:
            raise ValueError("pinv: rcond and rtol are two names for the same bound; give one")
        rcond = np.finfo(a.dtype).eps * max(a.shape[-2:]) if rtol is None else rtol
    return pinv_(symmetric(a) if hermitian else a, rcond=plain(rcond))


def matrix(name: str, a: Any) -> None:
    """Raise LinAlgError, for the function of this name, unless `a` has the axes of a matrix."""
    if np.ndim(a) < 2:
        raise LinAlgError(f"{name}: a matrix has two axes, a stack of them more; this has shape {np.shape(a)}")


def symmetric(a):
    """The symmetric part of each matrix: itself, if it is symmetric."""
    return a * 0.5 + transposed(a) * 0.5


# ---- powers, chains and the exponential ----------------------------------------------------------------------------


@composite(np.linalg.matrix_power, cases=[([REGULAR], {"n": n}) for n in (-2, 0, 1, 3)])
def matrix_power(a: Any, n: int) -> Tensor:
    """The n-th power of a square matrix, by repeated squaring; of its inverse, for negative n.

    >>> import minigrad as mg
    >>> mg.linalg.matrix_power([[1.0, 1.0], [0.0, 1.0]], 3)
    tensor([[1., 3.],
            [0., 1.]])
    """
    if not isinstance(n, int | np.integer):
        raise TypeError(f"matrix_power: the exponent is an integer, not {n!r}; expm and eigh lead to other powers")
    a = as_tensor(a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise LinAlgError(f"matrix_power: a power is one of square matrices, and this has shape {a.shape}")
    if n < 0:
        a, n = inv(a), -n
    if n == 0:
        return a * 0 + np.eye(a.shape[-1], dtype=None if a.dtype == object else a.dtype)
    result = None
    while True:
        if n % 2:
            result = a if result is None else np.matmul(result, a)
        n //= 2
        if not n:
            return result  # type: ignore[return-value]
        a = np.matmul(a, a)


@composite(np.linalg.multi_dot, cases=[([[(2, 3), (3, 1), (1, 2)]], {}), ([[(2,), (2, 3), (3,)]], {})])
def multi_dot(arrays: Sequence[Any]) -> Tensor:
    """The product of several matrices, in the order that needs the fewest multiplications.

    The first and the last may be vectors.

    >>> import minigrad as mg
    >>> mg.linalg.multi_dot([mg.ones((2, 3)), mg.ones((3, 4)), mg.ones(4)])
    tensor([12., 12.])
    """
    factors = [as_tensor(a) for a in arrays]
    n = len(factors)
    if n < 2:
        raise ValueError(f"multi_dot: a product has at least two factors, and {n} are given")
    wrong = [a.shape for i, a in enumerate(factors) if a.ndim != 2 and not (a.ndim == 1 and i in (0, n - 1))]
    if wrong:
        raise LinAlgError(f"multi_dot: factors are matrices (the first and last also vectors), not of shape {wrong[0]}")
    first = [factors[0].shape[0] if factors[0].ndim == 2 else 1]
    sizes = first + [a.shape[0] for a in factors[1:]] + [factors[-1].shape[1] if factors[-1].ndim == 2 else 1]
    # The cheapest way to multiply factors i to j, from that for fewer factors (Cormen et al., section 15.2).
    cost, cut = {(i, i): 0 for i in range(n)}, {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            ways = [(cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]
            cost[i, j], cut[i, j] = min(ways)

    def product(i: int, j: int) -> Any:
        return factors[i] if i == j else np.matmul(product(i, cut[i, j]), product(cut[i, j] + 1, j))

    return product(0, n - 1)


def _expm_rule(g, y, a):
    # The derivative of expm at a.T in direction g is a block of expm([[a.T, g], [0, a.T]]) (Van Loan 1978, "Computing
    # integrals involving the matrix exponential"). It is linear in g, which is scaled lest its size spoil the digits.
    n, t = a.shape[-1], transposed(a)
    scale = 1 if g.dtype == object else np.max(np.abs(plain(g)), initial=1)
    g = g / scale
    zero = np.zeros_like(a)
    rows = [np.concatenate([t, g], -1), np.concatenate([zero, t], -1)]
    return expm(np.concatenate(rows, -2))[..., :n, n:] * scale


def _written_expm(a):
    """exp of a matrix A of order 1 or 2, or of a matrix built of blocks [[A, B], [0, A]], repeatedly.

    Such a matrix is m + C with m half the trace of A, and C^2 = d + D, where d is the square of half the difference of
    A's eigenvalues, and D is nilpotent. exp(C) = f(C^2) + C h(C^2) with f(d) = cosh(sqrt(d)), h(d) =
    sinh(sqrt(d))/sqrt(d), whose Taylor series in D ends.
    """
    n, core = a.shape[-1], a
    while core.shape[-1] > 2 or _is_block(core):
        half = core.shape[-1] // 2
        if not _is_block(core):
            raise TypeError("the formula of expm is written out for matrices of symbols up to 2 x 2 only")
        core = core[..., :half, :half]
    eye = np.eye(n, dtype=int)
    if n == 0:
        return a
    if core.shape[-1] == 1:
        m = core[..., 0, 0][..., None, None]
        return np.exp(m) * _series([1] * n, a - m * eye, eye)
    m = ((core[..., 0, 0] + core[..., 1, 1]) / 2)[..., None, None]
    d = ((core[..., 0, 0] - core[..., 1, 1]) ** 2 / 4 + core[..., 0, 1] * core[..., 1, 0])[..., None, None]
    c = a - m * eye
    nilpotent = np.matmul(c, c) - d * eye
    even, odd = _derivatives(d, n // 2)
    return np.exp(m) * (_series(even, nilpotent, eye) + np.matmul(c, _series(odd, nilpotent, eye)))


def _is_block(a):
    """Whether a matrix of symbols is [[A, B], [0, A]], or [[A, 0], [B, A]]."""
    n = a.shape[-1]
    if n % 2 or not n:
        return False
    first, second = slice(n // 2), slice(n // 2, n)
    corners = [a[..., first, second], a[..., second, first]]
    empty = any(all(e == 0 for e in corner.ravel().tolist()) for corner in corners)
    return empty and a[..., first, first].tolist() == a[..., second, second].tolist()


def _derivatives(d, n):
    """Half the work of _written_expm: the n first derivatives of f and h at d, from 2 f' = h and 2 d h' = f - h."""
    root = np.sqrt(d)
    even, odd = [np.cosh(root)], [np.sinh(root) / root]
    for j in range(n - 1):
        odd.append((even[j] - (2 * j + 1) * odd[j]) / (2 * d))
        even.append(odd[j] / 2)
    return even, odd


def _series(derivatives, x, eye):
    """The Taylor series with these derivatives, of a nilpotent matrix."""
    total, power, factorial = derivatives[0] * eye, eye, 1
    for j, slope in enumerate(derivatives[1:], 1):
        power, factorial = np.matmul(power, x), factorial * j
        total = total + slope * power / factorial
    return total


@op(sympy=_written_expm, vjp=_expm_rule,
    cases=[([np.array([[0.5, 0.25], [0.75, -0.5]])], {}), ([np.array([[[0.5]], [[-1.0]]])], {})])
def expm(a):
    """The exponential of a square matrix, I + a + a @ a / 2 + ...; each for a stack. Values are SciPy's.

    The gradient takes the exponential of matrices of twice the size, which are four times as large.

    >>> import minigrad as mg
    >>> mg.linalg.expm([[0.0, 1.0], [0.0, 0.0]])
    tensor([[1., 1.],
            [0., 1.]])
    """
    square(a)
    return beneath(_scipy().expm, a)
