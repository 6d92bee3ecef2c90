"""The ops: cards grouped by kind. Adding an op touches one of these files only: its name goes into `__all__` there."""

from . import activations, elementwise, products, recurrent, reduce, shape
from .activations import *
from .activations import (
    bce,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    logsigmoid,
    nll_loss,
    prelu,
    softshrink,
    softsign,
    tanhshrink,
    threshold,
)  # fmt: skip
from .card import CARDS, COMPOSITES, NUMPY, Op
from .elementwise import *
from .elementwise import identity
from .numpy import compare, numpy_function, numpy_ufunc
from .products import *
from .recurrent import gru, lstm, rnn
from .reduce import *
from .shape import *
from .shape import getitem, plain_key, scatter
from .standardize import standardize

# What `mg` offers under the same names.
__all__: list[str] = []
__all__ += activations.__all__
__all__ += elementwise.__all__
__all__ += products.__all__
__all__ += reduce.__all__
__all__ += shape.__all__
