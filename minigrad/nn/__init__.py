"""Networks: modules, layers and losses, under PyTorch's names. Adding a layer touches one of these files only."""

from . import (
    activations,
    attention,
    batchnorm,
    calls,
    containers,
    convolution,
    distances,
    dropout,
    embedding,
    functional,
    init,
    linear,
    losses,
    normalization,
    pooling,
    recurrent,
    utils,
)
from .activations import *
from .attention import *
from .batchnorm import *
from .calls import *
from .containers import *
from .convolution import *
from .distances import *
from .dropout import *
from .embedding import *
from .linear import *
from .losses import *
from .module import Module, Parameter
from .normalization import *
from .pooling import *
from .recurrent import *

__all__ = ["Module", "Parameter", "functional", "init", "utils"]
__all__ += activations.__all__
__all__ += attention.__all__
__all__ += batchnorm.__all__
__all__ += calls.__all__
__all__ += containers.__all__
__all__ += convolution.__all__
__all__ += distances.__all__
__all__ += dropout.__all__
__all__ += embedding.__all__
__all__ += linear.__all__
__all__ += losses.__all__
__all__ += normalization.__all__
__all__ += pooling.__all__
__all__ += recurrent.__all__
