"""The functions of networks: what the layers compute, given their parameters."""

from ..ops import elu, gelu, leaky_relu, log_softmax, relu, sigmoid, silu, softmax, softplus, tanh
from .linear import linear
from .losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge_loss,
    huber_loss,
    mse_loss,
)  # fmt: skip

__all__ = [
    "binary_cross_entropy_with_logits", "cross_entropy", "elu", "gelu", "hinge_loss", "huber_loss", "leaky_relu",
    "linear", "log_softmax", "mse_loss", "relu", "sigmoid", "silu", "softmax", "softplus", "tanh",
]  # fmt: skip
