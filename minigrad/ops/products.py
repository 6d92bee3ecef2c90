"""Products: matmul, dot, outer, einsum, tensordot and kin, and norms."""

from __future__ import annotations

import math
import string
from builtins import abs as builtin_abs
from builtins import max as builtin_max
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..tensor import Tensor, as_tensor, plain
from .card import NUMPY, composite, each, op
from .decompositions import svdvals
from .elementwise import abs, power
from .joining import concatenate
from .reduce import max, min, root, sum
from .shape import expand_dims, moveaxis, reshape, transpose

__all__ = [
    "cross", "dot", "einsum", "inner", "kron", "linear", "matmul", "matvec", "outer", "tensordot", "vdot", "vecdot",
    "vecmat",
]  # fmt: skip


def _matmul_by_a(g, y, a, b):
    if a.ndim == b.ndim == 2:
        return np.dot(g, b.T)
    if b.ndim == 1:
        return np.expand_dims(g, -1) * b
    if b.ndim == 2 < a.ndim:
        return np.dot(rows(g), b.T).reshape(a.shape)
    if a.ndim == 1:
        return np.matmul(np.expand_dims(g, -2), np.swapaxes(b, -1, -2))[..., 0, :]
    return np.matmul(g, np.swapaxes(b, -1, -2))


def _matmul_by_b(g, y, a, b):
    if a.ndim == b.ndim == 2:
        return np.dot(a.T, g)
    if a.ndim == 1:
        return np.expand_dims(a, -1) * np.expand_dims(g, -2) if b.ndim > 1 else a * g
    if b.ndim == 1:
        return np.matmul(np.swapaxes(a, -1, -2), np.expand_dims(g, -1))[..., 0]
    if b.ndim == 2 < a.ndim:
        return np.dot(rows(a).T, rows(g))
    return np.matmul(np.swapaxes(a, -1, -2), g)


@op(arity=2, numpy=np.matmul, vjp=(_matmul_by_a, _matmul_by_b),
    cases=[([(2, 3), (3, 2)], {}), ([(3,), (3,)], {}), ([(3,), (3, 2)], {}), ([(2, 3), (3,)], {}),
           ([(2, 1, 2, 3), (2, 3, 1)], {}), ([(2,), (2, 2, 3)], {})])
def matmul(a, b):
    """The matrix product a @ b, with NumPy's rules for vectors and stacks of matrices.

    >>> import minigrad as mg
    >>> mg.matmul([[1.0, 2.0]], [[3.0], [4.0]])
    tensor([[11.]])
    """
    try:
        if b.ndim == 2 <= a.ndim:  # one product of matrices, in place of one for each matrix of a stack
            return np.dot(a, b) if a.ndim == 2 else np.dot(rows(a), b).reshape(*a.shape[:-1], b.shape[-1])
        return np.matmul(a, b)
    except (ValueError, AttributeError):  # a bare number has no axes
        raise ValueError(mismatch(np.shape(a), np.shape(b))) from None


def mismatch(a: tuple[int, ...], b: tuple[int, ...]) -> str:
    """Why matrices of these shapes have no product, and what would."""
    if not a or not b:
        return "a matrix product needs at least one axis on each side; * multiplies by a number"
    inner = b[-2] if len(b) > 1 else b[0]
    if a[-1] == inner:
        return f"the leading axes {a[:-2]} and {b[:-2]} do not broadcast"
    sentence = f"{a[-1]} and {inner} differ"
    if len(b) > 1 and a[-1] == b[-1]:
        sentence += f"; the second one transposed has shape {(*b[:-2], b[-1], b[-2])} and would fit"
    elif len(a) > 1 and a[-2] == inner:
        sentence += f"; the first one transposed has shape {(*a[:-2], a[-1], a[-2])} and would fit"
    return sentence


@op(arity=3, cases=[([(2, 3), (4, 3), (4,)], {}), ([(3,), (2, 3), (2,)], {}), ([(2, 1, 3), (2, 3), (2,)], {})],
    vjp=(lambda g, y, x, w, b: np.dot(g, w) if g.ndim == 2 else np.dot(rows(g), w).reshape(x.shape),
         lambda g, y, x, w, b: np.dot(rows(g).T, rows(x)),
         lambda g, y, x, w, b: rows(g)))
def linear(x, w, b):
    """x @ w.T + b: one op, since every network consists of it. w has shape (out, in).

    >>> import minigrad as mg
    >>> mg.linear([1.0, 2.0], mg.tensor([[3.0, 4.0]]), mg.tensor([5.0]))
    tensor([16.])
    """
    try:
        if x.ndim == 2:
            y = np.dot(x, w.T)
        else:
            y = np.dot(rows(x), w.T).reshape(*x.shape[:-1], len(w)) if x.ndim > 2 else np.matmul(x, w.T)
    except (ValueError, AttributeError):  # a bare number has no axes at all
        raise ValueError(f"the input's last axis has {np.shape(x)[-1:]} elements, the weight {w.shape[1:]}") from None
    if getattr(b, "dtype", None) != y.dtype:
        return y + b
    y += b
    return y


def rows(x):
    """x as a matrix, its last axis kept."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


@composite(np.dot, cases=[([(2, 3), (3,)], {}), ([(2,), (2, 2, 3)], {})])
def dot(a: Any, b: Any) -> Tensor:
    """The inner product over the last axis of a and the last but one of b (its only one, for a vector).

    >>> import minigrad as mg
    >>> mg.dot([1.0, 2.0], [3.0, 4.0])
    tensor(11.)
    """
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if b.ndim <= 2:
        return matmul(a, b)
    return tensordot(a, b, ((-1,), (-2,)))


@op(arity=2, numpy=np.vdot, cases=[([(2, 2), (2, 2)], {})],
    vjp=(lambda g, y, a, b: g * b,
         lambda g, y, a, b: g * a))
def vdot(a, b):
    """The sum of all products of two arrays of one shape; `vdot(w, w)` is the penalty of weight decay.

    >>> import minigrad as mg
    >>> mg.vdot([[1.0, 2.0]], [[3.0, 4.0]])
    tensor(11.)
    """
    if a.shape != b.shape:
        raise ValueError("the two shapes differ")
    return np.vdot(a, b)


@composite(np.outer, cases=[([(2,), (3,)], {})])
def outer(a: Any, b: Any) -> Tensor:
    """The matrix of all products of an element of a with an element of b.

    >>> import minigrad as mg
    >>> mg.outer([1.0, 2.0], [3.0, 4.0])
    tensor([[3., 4.],
            [6., 8.]])
    """
    return reshape(a, (-1, 1)) * reshape(b, (1, -1))


@composite(np.tensordot, cases=[([(2, 3), (3, 2)], {"axes": 1}), ([(2, 3), (3, 2)], {"axes": ([0], [1])})])
def tensordot(a: Any, b: Any, axes: Any = 2) -> Tensor:
    """The sum of products over pairs of axes: the last n of a with the first n of b, or (axes of a, axes of b).

    >>> import minigrad as mg
    >>> mg.tensordot(mg.ones((2, 3)), mg.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    a, b = as_tensor(a), as_tensor(b)
    if isinstance(axes, int | np.integer):
        over_a, over_b = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        pairs = zip((a, b), axes, strict=True)
        over_a, over_b = (list(normalize_axis_tuple(ax, x.ndim, "tensordot")) for x, ax in pairs)
    lengths = [a.shape[i] for i in over_a]
    if lengths != [b.shape[i] for i in over_b]:
        raise ValueError(f"tensordot: axes {over_a} of {a.shape} and axes {over_b} of {b.shape} differ in length")
    free_a, free_b = ([i for i in range(x.ndim) if i not in over] for x, over in ((a, over_a), (b, over_b)))
    shape = [a.shape[i] for i in free_a] + [b.shape[i] for i in free_b]
    n = int(np.prod(lengths, dtype=int))
    left = reshape(transpose(a, tuple(free_a + over_a)), (int(np.prod([a.shape[i] for i in free_a], dtype=int)), n))
    right = reshape(transpose(b, tuple(over_b + free_b)), (n, int(np.prod([b.shape[i] for i in free_b], dtype=int))))
    return reshape(matmul(left, right), tuple(shape))


@composite(np.inner, cases=[([(3,), (3,)], {}), ([(2, 3), (4, 3)], {}), ([(2, 1, 3), (3,)], {}), ([(2,), ()], {})])
def inner(a: Any, b: Any, /) -> Tensor:
    """The sums of products over the last axes of both.

    >>> import minigrad as mg
    >>> mg.inner([[1.0, 2.0], [3.0, 4.0]], [5.0, 6.0])
    tensor([17., 39.])
    """
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"inner: the last axes of {a.shape} and {b.shape} differ in length")
    return matmul(a, transpose(b)) if b.ndim <= 2 else tensordot(a, b, (-1, -1))


@op(arity=2, cases=[([(2, 3), (2, 3)], {}), ([(2, 1, 3), (2, 3)], {})],
    sympy=lambda a, b: np.sum(a * b, axis=-1),
    vjp=(lambda g, y, a, b: np.expand_dims(g, -1) * b,
         lambda g, y, a, b: np.expand_dims(g, -1) * a))
def vecdot_(a, b):
    return np.vecdot(a, b)


@composite(np.vecdot, cases=[([(2, 3), (3,)], {}), ([(3, 2), (3, 2)], {"axis": 0})])
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The inner products of the vectors along an axis; the other axes broadcast.

    >>> import minigrad as mg
    >>> mg.vecdot([[1.0, 2.0], [3.0, 4.0]], [5.0, 6.0])
    tensor([17., 39.])
    """
    x1, x2 = as_tensor(x1), as_tensor(x2)
    if axis != -1:
        x1, x2 = moveaxis(x1, axis, -1), moveaxis(x2, axis, -1)
    if not x1.ndim or not x2.ndim or x1.shape[-1] != x2.shape[-1]:
        raise ValueError(f"vecdot: in {x1.shape} and {x2.shape}, the last axes must hold vectors of one length")
    return vecdot_(x1, x2)


@composite(np.matvec, cases=[([(2, 3), (3,)], {}), ([(2, 2, 3), (2, 3)], {})])
def matvec(x1: Any, x2: Any, /) -> Tensor:
    """The matrices in the last two axes times the vectors in the last axis; the axes before them broadcast.

    >>> import minigrad as mg
    >>> mg.matvec([[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]])
    tensor([[1., 3.],
            [2., 4.]])
    """
    return matmul(x1, expand_dims(x2, -1))[..., 0]


@composite(np.vecmat, cases=[([(3,), (3, 2)], {}), ([(2, 3), (2, 3, 2)], {})])
def vecmat(x1: Any, x2: Any, /) -> Tensor:
    """The vectors in the last axis times the matrices in the last two axes; the axes before them broadcast.

    >>> import minigrad as mg
    >>> mg.vecmat([[1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    return matmul(expand_dims(x1, -2), x2)[..., 0, :]


@composite(np.kron, cases=[([(2, 2), (1, 3)], {}), ([(2,), (2, 1, 2)], {}), ([(), (2,)], {})])
def kron(a: Any, b: Any) -> Tensor:
    """Kronecker's product: every element of a in turn times the whole of b.

    >>> import minigrad as mg
    >>> mg.kron([1.0, 10.0], [1.0, 2.0])
    tensor([ 1.,  2., 10., 20.])
    """
    a, b = as_tensor(a), as_tensor(b)
    ndim = builtin_max(a.ndim, b.ndim)
    of_a, of_b = ((1,) * (ndim - x.ndim) + x.shape for x in (a, b))
    products = reshape(matmul(reshape(a, (a.size, 1)), reshape(b, (1, b.size))), of_a + of_b)
    blocks = transpose(products, tuple(j for i in range(ndim) for j in (i, i + ndim)))
    return reshape(blocks, tuple(i * j for i, j in zip(of_a, of_b, strict=True)))


@op(arity=2, cases=[([(3,), (3,)], {}), ([(2, 3), (2, 3)], {}), ([(2, 1, 3), (2, 3)], {})],
    vjp=(lambda g, y, a, b: cross_(b, g),  # g . (da x b) = da . (b x g)
         lambda g, y, a, b: cross_(g, a)))
def cross_(a, b):
    a0, a1, a2, b0, b1, b2 = (x[..., i] for x in (a, b) for i in range(3))
    return np.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], -1)


@composite(np.cross, cases=[([(3,), (2, 3)], {}), ([(3, 2), (2, 3)], {"axisa": 0, "axisc": 0}),
                            ([(3, 2), (3, 2)], {"axis": 0})])
def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Tensor:  # fmt: skip
    """The cross products of the vectors along an axis of each; the other axes broadcast.

    A vector of two elements has 0 as its third; of two such vectors, only the third element of the product is returned.

    >>> import minigrad as mg
    >>> mg.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    tensor([0., 0., 1.])
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = moveaxis(a, axisa, -1), moveaxis(b, axisb, -1)
    if a.shape[-1] not in (2, 3) or b.shape[-1] not in (2, 3):
        raise ValueError(f"cross: vectors of {a.shape[-1]} and {b.shape[-1]} elements; they must have 2 or 3")
    product = cross_(_in_space(a), _in_space(b))
    if a.shape[-1] == b.shape[-1] == 2:
        return product[..., 2]
    return moveaxis(product, -1, axisc)


def _in_space(x):
    """Vectors of two elements with 0 as their third."""
    return x if x.shape[-1] == 3 else concatenate([x, np.zeros((*x.shape[:-1], 1), x.dtype)], -1)


# ---- what np.linalg has under the same names, stricter -------------------------------------------------------------


def _linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    x1, x2 = as_tensor(x1), as_tensor(x2)
    if {x.shape[axis] if x.ndim else 0 for x in (x1, x2)} != {3}:
        raise ValueError(f"np.linalg.cross: along axis {axis}, {x1.shape} and {x2.shape} must have 3 elements")
    return cross(x1, x2, axis=axis)


def _linalg_outer(x1: Any, x2: Any, /) -> Tensor:
    if not np.ndim(x1) == np.ndim(x2) == 1:
        raise ValueError(f"np.linalg.outer: it takes two vectors, not {np.shape(x1)} and {np.shape(x2)}; np.outer does")
    return outer(x1, x2)


NUMPY |= {
    np.linalg.cross: _linalg_cross, np.linalg.outer: _linalg_outer, np.linalg.matmul: matmul,
    np.linalg.vecdot: vecdot, np.linalg.tensordot: tensordot,
}  # fmt: skip


# ---- einsum --------------------------------------------------------------------------------------------------------


def _einsum_rule(i, g, y, *xs, subscripts):
    terms, out = subscripts.split("->")
    terms = terms.split(",")
    others = [(t, x) for j, (t, x) in enumerate(zip(terms, xs, strict=True)) if j != i] + [(out, g)]
    present = {axis for t, x in others for axis in zip(t, x.shape, strict=True)}
    # An index that only this input has (in full: others may be broadcast) was summed over: the gradient is the same
    # all along that axis.
    lengths = zip(terms[i], xs[i].shape, strict=True)
    others += [(c, np.ones_like(xs[i], shape=(n,))) for c, n in lengths if (c, n) not in present]
    back = f"{','.join(t for t, _ in others)}->{terms[i]}"
    return einsum_(*[x for _, x in others], subscripts=back)


@op(arity=None, vjp=each(_einsum_rule),
    cases=[([(2, 3), (3, 2)], {"subscripts": "ij,jk->ik"}), ([(2, 3)], {"subscripts": "ij->j"}),
           ([(2,), (2,), (2,)], {"subscripts": "i,i,i->i"})])
def einsum_(*operands, subscripts=""):
    return np.einsum(subscripts, *operands, optimize=len(operands) > 2)


@composite(np.einsum, cases=[(["ij,j->i", (2, 3), (3,)], {}), (["ii", (2, 2)], {})])
def einsum(subscripts: str, *operands: Any, optimize: Any = None) -> Tensor:
    """Sums of products in Einstein's notation, as np.einsum's (with "..." and repeated indices).

    >>> import minigrad as mg
    >>> mg.einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    tensor([3., 7.])
    """
    if not isinstance(subscripts, str):
        raise TypeError('einsum: write the indices as text, as in einsum("ij,jk->ik", a, b)')
    inputs = list(map(as_tensor, operands))
    terms, out = _explicit(subscripts, [x.ndim for x in inputs])
    unused = (c for c in string.ascii_letters if c not in "".join(terms))
    eyes = []
    for i, term in enumerate(terms):  # a repeated index is a product with the identity matrix: ii -> ij,ij
        for k, c in enumerate(term):
            if c in term[:k]:
                fresh = next(unused)
                terms[i] = terms[i][:k] + fresh + terms[i][k + 1 :]
                eyes.append((c + fresh, np.eye(inputs[i].shape[k], dtype=inputs[i].dtype)))
    every = [t for t, _ in eyes]
    return einsum_(*inputs, *[e for _, e in eyes], subscripts=",".join(terms + every) + "->" + out)


def _explicit(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """The index letters of each input and of the output, with "..." written out."""
    left, arrow, out = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f'einsum: "{subscripts}" has {len(terms)} inputs, and {len(ndims)} were given')
    letters = [c for c in string.ascii_letters if c not in left][::-1]
    longest = builtin_max([n - len(t) + 3 for t, n in zip(terms, ndims, strict=True) if "..." in t], default=0)
    dots = "".join(letters[:longest])
    named = sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1)
    for i, (t, n) in enumerate(zip(terms, ndims, strict=True)):
        hidden = n - len(t) + 3 if "..." in t else 0
        terms[i] = t.replace("...", dots[len(dots) - hidden :])
        if len(terms[i]) != n or not all(c.isalpha() for c in terms[i]):
            raise ValueError(f'einsum: "{t}" in "{subscripts}" does not name the {n} axes of input {i}')
    out = out.replace("...", dots) if arrow else dots + "".join(named)
    return terms, out


# ---- norms ---------------------------------------------------------------------------------------------------------


@composite(np.linalg.norm, cases=[([(2, 3)], {}), ([(2, 3)], {"ord": 3, "axis": 1}), ([(2, 3)], {"ord": 1}),
    ([(2, 3)], {"ord": 2}), ([(2, 2, 2)], {"ord": -2, "axis": (2, 0)}), ([(2, 2)], {"ord": "nuc", "keepdims": True})])
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The norm of vectors or matrices, as np.linalg.norm's; the gradient of a 2-norm at 0 is 0.

    For a vector `ord` is any number, inf or -inf; for a matrix None, "fro", 1, -1, inf or -inf, or 2, -2 or "nuc": the
    largest of its singular values, the smallest, their sum. Raises ValueError for another `ord`.

    >>> import minigrad as mg
    >>> mg.linalg.norm([3.0, 4.0])
    tensor(5.)
    """
    x = as_tensor(x)
    if axis is None and (ord is None or x.ndim == 1):
        axes = tuple(range(x.ndim))
    else:
        axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim, "norm")
    if len(axes) == 1 or ord in (None, "fro"):
        return _vector_norm(x, 2 if ord in (None, "fro") else ord, axes, keepdims)
    if len(axes) != 2:
        raise ValueError(f"norm: ord={ord!r} over the {len(axes)} axes {axes}; a norm is over one axis or two")
    if ord in (2, -2, "nuc"):
        s = svdvals(moveaxis(x, axes, (-2, -1)))
        y = sum(s, axis=-1) if ord == "nuc" else (max if ord > 0 else min)(s, axis=-1)
        return reshape(y, tuple(1 if i in axes else n for i, n in enumerate(x.shape))) if keepdims else y
    if ord not in (1, -1, np.inf, -np.inf):
        raise ValueError(f'norm: ord={ord!r} of a matrix is none of None, "fro", "nuc", 1, -1, 2, -2, inf, -inf')
    along, across = axes if builtin_abs(ord) == 1 else axes[::-1]
    sums = sum(abs(x), axis=along, keepdims=True)
    y = (max if ord > 0 else min)(sums, axis=across, keepdims=True)
    return y if keepdims else reshape(y, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def _vector_norm(x, ord, axis, keepdims):
    if ord == 2:
        return root(sum(x * x, axis=axis, keepdims=keepdims))
    if ord in (np.inf, -np.inf):
        return (max if ord > 0 else min)(abs(x), axis=axis, keepdims=keepdims)
    if ord == 1:
        return sum(abs(x), axis=axis, keepdims=keepdims)
    if ord == 0:
        return sum((plain(x) != 0).astype(x.dtype), axis=axis, keepdims=keepdims)
    if isinstance(ord, str):
        raise ValueError(f"norm: ord={ord!r} is for matrices; a vector's is a number, as in ord=1")
    powers = root(abs(x), 1 / ord) if 0 < ord < 1 else power(abs(x), ord)
    total = sum(powers, axis=axis, keepdims=keepdims)
    return root(total, ord) if ord > 1 else power(total, 1 / ord)
