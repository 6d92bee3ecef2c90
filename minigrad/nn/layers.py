"""The layers and losses as modules, under PyTorch's names; what they compute is in `functional`."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping
from typing import Any, overload

import numpy as np

from .. import ops
from ..tensor import Tensor, default_dtype
from . import functional as F
from . import init
from .module import InputError, Module, Parameter


class Linear(Module):
    """Apply the affine map y = x W^T + b to the last axis.

    x has shape (..., in_features), y (..., out_features); `weight` is (out_features, in_features), `bias`
    (out_features,) or None. Both are drawn as PyTorch draws them, from U(-1/sqrt(in_features), 1/sqrt(in_features)),
    which for the weight is `kaiming_uniform_` with a = sqrt(5).
    Raises ValueError for an input of other width, TypeError for a width that is no integer.

    >>> layer = mg.nn.Linear(3, 2)
    >>> layer(np.zeros((5, 3))).shape
    (5, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.in_features, self.out_features = _width("in_features", in_features), _width("out_features", out_features)
        bound = 1 / math.sqrt(self.in_features)
        self.weight = init.uniform_(_new(self.out_features, self.in_features), -bound, bound)
        self.bias = init.uniform_(_new(self.out_features), -bound, bound) if bias else None

    def forward(self, x: Any) -> Tensor:
        try:
            return F.linear(x, self.weight, self.bias)
        except ValueError:
            shape = np.shape(x)
            if shape[-1:] == (self.in_features,):
                raise
            raise InputError(
                self,
                f"input {shape} has {shape[-1] if shape else 'no'} features in its last axis, "
                f"this layer expects {self.in_features}",
            ) from None

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def _new(*shape: int) -> Tensor:
    return Parameter(np.zeros(shape), dtype=default_dtype())


def _width(name: str, n: Any) -> int:
    try:
        width = operator.index(n)
    except TypeError:
        raise TypeError(f"Linear: {name} must be a positive integer, not {n!r}") from None
    if width < 1:
        raise ValueError(f"Linear: {name} must be a positive integer, not {n!r}")
    return width


class ModuleList(Module):
    """Hold modules in order, registered under "0", "1", ...; a list whose parameters are seen.

    >>> layers = mg.nn.ModuleList([mg.nn.Linear(2, 2) for _ in range(3)])
    >>> len(layers), len(list(layers.parameters()))
    (3, 6)
    """

    def __init__(self, modules: Any = ()) -> None:
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> Any:
        """Add a module at the end; returns the container."""
        return self._add(str(len(self)), module)

    def _add(self, name: str, module: Any) -> Any:
        if not isinstance(module, Module):
            hint = f"; an instance is needed: {module.__name__}(...)" if isinstance(module, type) else ""
            raise TypeError(f"{type(self).__name__}: {module!r} is no Module{hint}")
        if not name or "." in name or hasattr(self, name):
            raise ValueError(f"{type(self).__name__}: {name!r} cannot name a module: it is empty, taken or has a dot")
        setattr(self, name, module)
        return self

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Any: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            part = type(self)()
            for name, module in list(self.named_children())[index]:
                part._add(name, module)
            return part
        return list(self.children())[index]


class Sequential(ModuleList):
    """Apply modules one after another, each to the output of the one before.

    Takes the modules as arguments, or one ordered dict of name to module. A slice is a Sequential again, of the same
    modules. Raises TypeError for what is no module.

    >>> model = mg.nn.Sequential(mg.nn.Linear(2, 4), mg.nn.Tanh(), mg.nn.Linear(4, 1))
    >>> model(np.zeros((5, 2))).shape
    (5, 1)
    >>> model[1]
    Tanh()
    """

    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self._add(name, module)
        else:
            super().__init__(modules)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x


class Flatten(Module):
    """Merge the axes from `start_axis` to `end_axis`, both included; by default all but the first.

    Raises ValueError where the input has no such axes.

    >>> mg.nn.Flatten()(np.zeros((32, 8, 8))).shape
    (32, 64)
    """

    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        self.start_axis, self.end_axis = start_axis, end_axis

    def forward(self, x: Any) -> Tensor:
        shape = np.shape(x)
        start, end = (axis + len(shape) * (axis < 0) for axis in (self.start_axis, self.end_axis))
        if not 0 <= start <= end < len(shape):
            raise InputError(self, f"input {shape} has no axes {self.start_axis} to {self.end_axis} to merge")
        return ops.reshape(x, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))

    def extra_repr(self) -> str:
        return f"start_axis={self.start_axis}, end_axis={self.end_axis}"


# ---- activations ---------------------------------------------------------------------------------------------------


class Identity(Module):
    """Return the input as it is."""

    def forward(self, x: Any) -> Any:
        return x


class ReLU(Module):
    """Apply max(x, 0) to each element.

    >>> mg.nn.ReLU()(np.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def forward(self, x: Any) -> Tensor:
        return F.relu(x)


class LeakyReLU(Module):
    """Apply x where x > 0, else negative_slope * x, to each element (Maas et al., 2013)."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """Apply x where x > 0, else alpha * (exp(x) - 1), to each element (Clevert et al., 2016)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Tensor:
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class GELU(Module):
    """Apply x * Phi(x), Phi the normal distribution function, to each element (Hendrycks and Gimpel, 2016).

    `approximate="tanh"` takes the paper's approximation of Phi by tanh.
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Any) -> Tensor:
        return F.gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """Apply x * sigmoid(x) to each element (Elfwing et al., 2018)."""

    def forward(self, x: Any) -> Tensor:
        return F.silu(x)


class Sigmoid(Module):
    """Apply 1 / (1 + exp(-x)) to each element."""

    def forward(self, x: Any) -> Tensor:
        return F.sigmoid(x)


class Tanh(Module):
    """Apply tanh(x) to each element."""

    def forward(self, x: Any) -> Tensor:
        return F.tanh(x)


class Softplus(Module):
    """Apply log(1 + exp(beta * x)) / beta to each element; x itself where beta * x > threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Any) -> Tensor:
        return F.softplus(x, self.beta, self.threshold)

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
        return F.softmax(x, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class LogSoftmax(Softmax):
    """Apply x - log(sum(exp(x))) along an axis."""

    def forward(self, x: Any) -> Tensor:
        return F.log_softmax(x, self.axis)


# ---- losses: (prediction, target) -> a scalar, or with reduction="none" one value a sample ---------------------------


class _Loss(Module):
    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = reduction


class MSELoss(_Loss):
    """Compute the squared error, its mean unless `reduction` is "sum" or "none"; see `functional.mse_loss`.

    >>> mg.nn.MSELoss()(mg.tensor([1.0, 2.0]), np.array([0.0, 0.0])).item()
    2.5
    """

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return F.mse_loss(prediction, target, reduction=self.reduction)


class CrossEntropyLoss(_Loss):
    """Compute the cross-entropy of logits with class indices or probabilities; see `functional.cross_entropy`."""

    def forward(self, logits: Any, target: Any) -> Tensor:
        return F.cross_entropy(logits, target, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Compute the cross-entropy of yes-or-no logits; see `functional.binary_cross_entropy_with_logits`."""

    def forward(self, logits: Any, target: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, target, reduction=self.reduction)


class HingeLoss(_Loss):
    """Compute max(0, 1 - target * score), the target being -1 or 1; see `functional.hinge_loss`."""

    def forward(self, score: Any, target: Any) -> Tensor:
        return F.hinge_loss(score, target, reduction=self.reduction)


class HuberLoss(_Loss):
    """Compute the squared error up to `delta` and the absolute error beyond; see `functional.huber_loss`."""

    def __init__(self, *, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return F.huber_loss(prediction, target, delta=self.delta, reduction=self.reduction)
