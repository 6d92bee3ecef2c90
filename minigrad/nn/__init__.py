"""Networks: modules, layers and losses, under PyTorch's names. Adding a layer touches one of these files only."""

from . import (
    activations,
    batchnorm,
    containers,
    distances,
    dropout,
    embedding,
    functional,
    init,
    linear,
    losses,
    recurrent,
)  # fmt: skip
from .activations import *
from .batchnorm import *
from .containers import *
from .distances import *
from .dropout import *
from .embedding import *
from .linear import *
from .losses import *
from .module import Module, Parameter
from .recurrent import *

__all__ = ["Module", "Parameter", "functional", "init"]
__all__ += activations.__all__
__all__ += batchnorm.__all__
__all__ += containers.__all__
__all__ += distances.__all__
__all__ += dropout.__all__
__all__ += embedding.__all__
__all__ += linear.__all__
__all__ += losses.__all__
__all__ += recurrent.__all__
