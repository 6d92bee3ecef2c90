"""A zoo of wrong gradients, each with its right twin: `ZOO` holds the specimens by name."""

from . import activations, awkward, large, linear, losses, networks, normalisation, reductions, second, state
from .specimen import KINDS, ZOO, Specimen

__all__ = ["KINDS", "ZOO", "Specimen"]
