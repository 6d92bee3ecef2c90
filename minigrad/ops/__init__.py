"""The ops: cards grouped by kind. Adding an op touches one of these files only: its name goes into `__all__` there."""

from . import (
    activations,
    attention,
    convolution,
    decompositions,
    determinants,
    diagonals,
    elementwise,
    joining,
    moving,
    normalization,
    order,
    picking,
    pooling,
    products,
    recurrent,
    reduce,
    scans,
    shape,
    signals,
    solving,
    spacing,
    special,
    trigonometry,
    writing,
)
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
from .convolution import *
from .diagonals import *
from .elementwise import *
from .elementwise import identity
from .joining import *
from .moving import *
from .normalization import *
from .normalization import standardize
from .numpy import compare, numpy_function, numpy_ufunc
from .order import *
from .picking import *
from .picking import getitem, plain_key, scatter
from .pooling import *
from .products import *
from .recurrent import gru, lstm, rnn
from .reduce import *
from .scans import *
from .scans import recurrence
from .shape import *
from .signals import *
from .spacing import *
from .special import *
from .trigonometry import *
from .writing import *

# What `mg` offers under the same names. (`mg.linalg` has the names of the files on matrices.)
__all__: list[str] = []
__all__ += activations.__all__
__all__ += convolution.__all__
__all__ += diagonals.__all__
__all__ += elementwise.__all__
__all__ += joining.__all__
__all__ += moving.__all__
__all__ += normalization.__all__
__all__ += order.__all__
__all__ += picking.__all__
__all__ += pooling.__all__
__all__ += products.__all__
__all__ += reduce.__all__
__all__ += scans.__all__
__all__ += shape.__all__
__all__ += signals.__all__
__all__ += spacing.__all__
__all__ += special.__all__
__all__ += trigonometry.__all__
__all__ += writing.__all__
