"""The functions of networks: what the layers compute, given their parameters."""

from ..ops import (
    elu,
    gelu,
    layer_norm,
    leaky_relu,
    log_softmax,
    relu,
    rms_norm,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)  # fmt: skip
from .attention import scaled_dot_product_attention
from .dropout import dropout
from .linear import bilinear, linear
from .losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge_loss,
    huber_loss,
    mse_loss,
)  # fmt: skip

__all__ = [
    "bilinear", "binary_cross_entropy_with_logits", "cross_entropy", "dropout", "elu", "gelu", "hinge_loss",
    "huber_loss", "layer_norm", "leaky_relu", "linear", "log_softmax", "mse_loss", "relu", "rms_norm",
    "scaled_dot_product_attention", "sigmoid", "silu", "softmax", "softplus", "tanh",
]  # fmt: skip
