"""The ops: cards grouped by kind. Adding an op touches one of these files only."""

from .activations import (
    elu, erf, gelu, leaky_relu, log_softmax, nll_loss, relu, sigmoid, silu, softmax, softplus,
)
from .card import CARDS, NUMPY, Op
from .elementwise import (
    abs, add, arctan, astype, clip, cos, cosh, divide, exp, expm1, identity, log, log1p, log2, log10, logaddexp, maximum,
    minimum, multiply, negative, power, reciprocal, sign, sin, sinh, sqrt, square, subtract, tan, tanh, where,
)
from .linear import dot, einsum, linear, matmul, norm, outer, tensordot, vdot
from .numpy import compare, numpy_function, numpy_ufunc
from .reduce import cumsum, logsumexp, max, mean, min, prod, std, sum, var
from .shape import (
    broadcast_to, concatenate, expand_dims, flip, getitem, moveaxis, pad, plain_key, ravel, repeat, reshape, scatter, split,
    squeeze, stack, swapaxes, take_along_axis, tile, transpose,
)  # fmt: skip
