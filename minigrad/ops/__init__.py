"""The ops: cards grouped by kind. Adding an op touches one of these files only: its name goes into `__all__` there."""

from . import activations, elementwise, products, reduce, shape, special, trigonometry
from .activations import *
from .activations import nll_loss
from .card import CARDS, COMPOSITES, NUMPY, Op
from .elementwise import *
from .elementwise import identity
from .numpy import compare, numpy_function, numpy_ufunc
from .products import *
from .reduce import *
from .shape import *
from .shape import getitem, plain_key, scatter
from .special import *
from .trigonometry import *

# What `mg` offers under the same names.
__all__: list[str] = []
__all__ += activations.__all__
__all__ += elementwise.__all__
__all__ += products.__all__
__all__ += reduce.__all__
__all__ += shape.__all__
__all__ += special.__all__
__all__ += trigonometry.__all__
