"""Networks: modules, layers and losses, under PyTorch's names. Adding a layer touches one of these files only."""

from . import activations, calls, containers, functional, init, linear, losses
from .activations import *
from .calls import *
from .containers import *
from .linear import *
from .losses import *
from .module import Module, Parameter

__all__ = ["Module", "Parameter", "functional", "init"]
__all__ += activations.__all__
__all__ += calls.__all__
__all__ += containers.__all__
__all__ += linear.__all__
__all__ += losses.__all__
