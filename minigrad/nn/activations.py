"""The nonlinear functions as modules; what they compute is in `ops/activations.py`."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..tensor import Tensor, as_tensor
from .init import constant_
from .module import InputError, Module, length, new_parameter

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "SELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU",
    "LogSigmoid", "LogSoftmax", "Mish", "PReLU", "ReLU", "ReLU6", "SiLU", "Sigmoid", "Softmax", "Softmin", "Softplus",
    "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold",
]  # fmt: skip

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # the fixed point of Klambauer et al., 2017


def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha * (exp(x / alpha) - 1), elementwise (Barron, 2017, arXiv:1704.07483).

    >>> import minigrad as mg
    >>> mg.nn.functional.celu([1.0, -2.0], 2.0)
    tensor([ 1.        , -1.26424112])
    """
    if not alpha > 0:
        raise ValueError(f"celu: alpha={alpha!r} must be positive")
    return alpha * ops.elu(as_tensor(x) / alpha)


def selu(x: Any) -> Tensor:
    """A multiple of `elu` that keeps mean 0 and variance 1 (Klambauer et al., 2017, arXiv:1706.02515).

    >>> import minigrad as mg
    >>> mg.nn.functional.selu([1.0, -1.0])
    tensor([ 1.05070099, -1.11133074])
    """
    return SELU_SCALE * ops.elu(x, SELU_ALPHA)


def mish(x: Any) -> Tensor:
    """x * tanh(log(1 + exp(x))), elementwise (Misra, 2019, arXiv:1908.08681).

    >>> import minigrad as mg
    >>> mg.nn.functional.mish(1.0)
    tensor(0.86509839)
    """
    x = as_tensor(x)
    return x * ops.tanh(ops.softplus(x))


def relu6(x: Any) -> Tensor:
    """min(max(x, 0), 6), elementwise; the slope at 0 and at 6 is 0.

    >>> import minigrad as mg
    >>> mg.nn.functional.relu6([-1.0, 2.0, 7.0])
    tensor([0., 2., 6.])
    """
    return ops.hardtanh(x, 0.0, 6.0)


def softmin(x: Any, axis: int = -1) -> Tensor:
    """softmax(-x) along an axis.

    >>> import minigrad as mg
    >>> mg.nn.functional.softmin([1.0, 1.0])
    tensor([0.5, 0.5])
    """
    return ops.softmax(-as_tensor(x), axis)


def glu(x: Any, axis: int = -1) -> Tensor:
    """a * sigmoid(b), a and b the two halves of x along an axis (Dauphin et al., 2017, arXiv:1612.08083).

    Raises ValueError for an odd number of elements along the axis.

    >>> import minigrad as mg
    >>> mg.nn.functional.glu([3.0, 0.0])
    tensor([1.5])
    """
    x = as_tensor(x)
    if not -x.ndim <= axis < x.ndim or x.shape[axis] % 2:
        raise ValueError(f"glu: x of shape {x.shape} has no two halves along axis {axis}")
    a, b = ops.split(x, 2, axis)
    return a * ops.sigmoid(b)


def prelu(x: Any, weight: Any) -> Tensor:
    """x where x > 0, else weight * x; the weight holds one number, or one for each channel (axis 1 of x).

    >>> import minigrad as mg
    >>> mg.nn.functional.prelu([[1.0, -1.0]], mg.tensor([0.5, 0.25]))
    tensor([[ 1.  , -0.25]])
    """
    x, weight = as_tensor(x), as_tensor(weight)
    if weight.ndim > 1 or (weight.size != 1 and (x.ndim < 2 or x.shape[1] != weight.size)):
        raise ValueError(f"prelu: x {x.shape} takes a weight of one number, or of one for each channel of axis 1, "
                         f"and this has shape {weight.shape}")  # fmt: skip
    each = weight.size != 1
    return ops.prelu(x, ops.reshape(weight, (-1,) + (1,) * (x.ndim - 2)) if each else ops.reshape(weight, ()))


class ReLU(Module):
    """Apply max(x, 0) to each element.

    >>> mg.nn.ReLU()(np.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def forward(self, x: Any) -> Tensor:
        return ops.relu(x)


class LeakyReLU(Module):
    """Apply x where x > 0, else negative_slope * x, to each element (Maas et al., 2013)."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Tensor:
        return ops.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """Apply x where x > 0, else alpha * (exp(x) - 1), to each element (Clevert et al., 2016)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Tensor:
        return ops.elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class GELU(Module):
    """Apply x * Phi(x), Phi the normal distribution function, to each element (Hendrycks and Gimpel, 2016).

    `approximate="tanh"` takes the paper's approximation of Phi by tanh.
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Any) -> Tensor:
        return ops.gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """Apply x * sigmoid(x) to each element (Elfwing et al., 2018)."""

    def forward(self, x: Any) -> Tensor:
        return ops.silu(x)


class Sigmoid(Module):
    """Apply 1 / (1 + exp(-x)) to each element."""

    def forward(self, x: Any) -> Tensor:
        return ops.sigmoid(x)


class Tanh(Module):
    """Apply tanh(x) to each element."""

    def forward(self, x: Any) -> Tensor:
        return ops.tanh(x)


class Softplus(Module):
    """Apply log(1 + exp(beta * x)) / beta to each element; x itself where beta * x > threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Any) -> Tensor:
        return ops.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softmax(Module):
    """Apply exp(x) / sum(exp(x)) along an axis.

    >>> mg.nn.Softmax()(np.zeros((1, 4))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        return ops.softmax(x, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class LogSoftmax(Softmax):
    """Apply x - log(sum(exp(x))) along an axis."""

    def forward(self, x: Any) -> Tensor:
        return ops.log_softmax(x, self.axis)


class Softmin(Softmax):
    """Apply softmax(-x) along an axis."""

    def forward(self, x: Any) -> Tensor:
        return softmin(x, self.axis)


class LogSigmoid(Module):
    """Apply log(1 / (1 + exp(-x))) to each element, without overflow.

    >>> mg.nn.LogSigmoid()(np.array([0.0, -1000.0])).data.round(3).tolist()
    [-0.693, -1000.0]
    """

    def forward(self, x: Any) -> Tensor:
        return ops.logsigmoid(x)


class Softsign(Module):
    """Apply x / (1 + |x|) to each element."""

    def forward(self, x: Any) -> Tensor:
        return ops.softsign(x)


class Tanhshrink(Module):
    """Apply x - tanh(x) to each element."""

    def forward(self, x: Any) -> Tensor:
        return ops.tanhshrink(x)


class Mish(Module):
    """Apply x * tanh(log(1 + exp(x))) to each element (Misra, 2019)."""

    def forward(self, x: Any) -> Tensor:
        return mish(x)


class SELU(Module):
    """Apply a multiple of ELU that keeps mean 0 and variance 1 to each element (Klambauer et al., 2017)."""

    def forward(self, x: Any) -> Tensor:
        return selu(x)


class CELU(Module):
    """Apply x where x > 0, else alpha * (exp(x / alpha) - 1), to each element (Barron, 2017)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Tensor:
        return celu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class Hardtanh(Module):
    """Apply min(max(x, min_val), max_val) to each element; the slope at both bounds is 0."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        if not min_val < max_val:
            raise ValueError(f"{type(self).__name__}: min_val={min_val!r} must be below max_val={max_val!r}")
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: Any) -> Tensor:
        return ops.hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class ReLU6(Module):
    """Apply min(max(x, 0), 6) to each element."""

    def forward(self, x: Any) -> Tensor:
        return relu6(x)


class Hardsigmoid(Module):
    """Apply min(max(x + 3, 0), 6) / 6 to each element."""

    def forward(self, x: Any) -> Tensor:
        return ops.hardsigmoid(x)


class Hardswish(Module):
    """Apply x * min(max(x + 3, 0), 6) / 6 to each element (Howard et al., 2019)."""

    def forward(self, x: Any) -> Tensor:
        return ops.hardswish(x)


class Softshrink(Module):
    """Apply x - lambd where x > lambd, x + lambd where x < -lambd, else 0, to each element."""

    def __init__(self, lambd: float = 0.5) -> None:
        if lambd < 0:
            raise ValueError(f"{type(self).__name__}: lambd={lambd!r} must not be negative")
        self.lambd = lambd

    def forward(self, x: Any) -> Tensor:
        return ops.softshrink(x, self.lambd)

    def extra_repr(self) -> str:
        return f"lambd={self.lambd}"


class Hardshrink(Softshrink):
    """Apply x where |x| > lambd, else 0, to each element."""

    def forward(self, x: Any) -> Tensor:
        return ops.hardshrink(x, self.lambd)


class Threshold(Module):
    """Apply x where x > threshold, else value, to each element."""

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold, self.value = threshold, value

    def forward(self, x: Any) -> Tensor:
        return ops.threshold(x, self.threshold, self.value)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}"


class PReLU(Module):
    """Apply x where x > 0, else weight * x, with a weight that is learnt (He et al., 2015, arXiv:1502.01852).

    One for all channels, or one for each of `num_parameters` channels, which lie along axis 1; `init` at the start.

    >>> mg.nn.PReLU()(np.array([-4.0, 1.0])).tolist()
    [-1.0, 1.0]
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        self.num_parameters = length(self, "num_parameters", num_parameters)
        self.init = init
        self.weight = constant_(new_parameter(num_parameters), init)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if self.num_parameters > 1 and (x.ndim < 2 or x.shape[1] != self.num_parameters):
            raise InputError(self, f"input {x.shape} has not {self.num_parameters} channels in axis 1")
        return prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class GLU(Module):
    """Apply a * sigmoid(b), a and b the two halves of x along an axis (Dauphin et al., 2017)."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if not -x.ndim <= self.axis < x.ndim or x.shape[self.axis] % 2:
            raise InputError(self, f"input {x.shape} has no two halves along axis {self.axis}")
        return glu(x, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"
