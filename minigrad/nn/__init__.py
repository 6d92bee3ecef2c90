"""Networks: modules, layers, losses and their functions, under PyTorch's names."""

from . import functional, init
from .layers import (
    ELU,
    GELU,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    Flatten,
    HingeLoss,
    HuberLoss,
    Identity,
    LeakyReLU,
    Linear,
    LogSoftmax,
    ModuleList,
    MSELoss,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .module import Module, Parameter

__all__ = [
    "ELU", "GELU", "BCEWithLogitsLoss", "CrossEntropyLoss", "Flatten", "HingeLoss", "HuberLoss", "Identity",
    "LeakyReLU", "Linear", "LogSoftmax", "MSELoss", "Module", "ModuleList", "Parameter", "ReLU", "Sequential",
    "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh", "functional", "init",
]  # fmt: skip
