"""The ops: cards grouped by kind. Adding an op touches one of these files only: its name goes into `__all__` there."""

from . import activations, convolution, elementwise, pooling, products, reduce, shape
from .activations import *
from .activations import nll_loss
from .card import CARDS, COMPOSITES, NUMPY, Op
from .convolution import *
from .elementwise import *
from .elementwise import identity
from .numpy import compare, numpy_function, numpy_ufunc
from .pooling import *
from .products import *
from .reduce import *
from .shape import *
from .shape import getitem, plain_key, scatter

# What `mg` offers under the same names.
__all__: list[str] = []
__all__ += activations.__all__
__all__ += convolution.__all__
__all__ += elementwise.__all__
__all__ += pooling.__all__
__all__ += products.__all__
__all__ += reduce.__all__
__all__ += shape.__all__
