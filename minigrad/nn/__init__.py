"""Networks: modules, layers and losses, under PyTorch's names. Adding a layer touches one of these files only."""

from . import activations, containers, convolution, functional, init, linear, losses, pooling
from .activations import *
from .containers import *
from .convolution import *
from .linear import *
from .losses import *
from .module import Module, Parameter
from .pooling import *

__all__ = ["Module", "Parameter", "functional", "init"]
__all__ += activations.__all__
__all__ += containers.__all__
__all__ += convolution.__all__
__all__ += linear.__all__
__all__ += losses.__all__
__all__ += pooling.__all__
