"""Losses: functions (prediction, target) -> a number, and modules of the same names in capitals.

A loss takes predictions first and targets second. Its shapes must agree exactly: (n, 1) against (n,) would broadcast to
(n, n) and train towards nonsense, so it is refused. `reduction` is "mean", "sum" or "none" (one value a sample).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from .. import ops
from ..batching import as_array, visible
from ..names import known
from ..ops import log_softmax, relu
from ..tensor import Tensor, as_tensor, mode, plain, require, warn_once
from .module import Module

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "GaussianNLLLoss", "HingeLoss", "HuberLoss", "KLDivLoss",
    "L1Loss", "MSELoss", "NLLLoss", "PoissonNLLLoss", "SmoothL1Loss", "SoftMarginLoss",
]  # fmt: skip

REDUCTIONS = ("mean", "sum", "none")


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return ops.mean(loss)
    return loss if known("reduction", reduction, REDUCTIONS) == "none" else ops.sum(loss)


def _same_shape(name: str, prediction: Tensor, target: Any) -> None:
    a, b = prediction.shape, target.shape
    if a != b:
        fits = prediction.size == target.size
        remedy = f"reshape the target to {a}" if fits else "one of each is needed for every element"
        raise ValueError(f"{name}: the prediction has shape {a} and the target {b}; they would broadcast: {remedy}")


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared error (input - target)^2, for two arrays of one shape. Raises ValueError where the shapes differ.

    >>> import minigrad as mg
    >>> mg.nn.functional.mse_loss(mg.tensor([1.0, 2.0]), mg.tensor([0.0, 0.0]))
    tensor(2.5)
    """
    input, target = as_tensor(input), as_tensor(target)
    _same_shape("mse_loss", input, target)
    return _reduce(ops.square(input - target), reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """The squared error for small differences, linear beyond `delta` (Huber, Ann. Math. Statist. 35, 1964).

    With d = input - target: d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2). Raises ValueError where the
    shapes differ.

    >>> import minigrad as mg
    >>> mg.nn.functional.huber_loss(mg.tensor([0.5, 3.0]), mg.tensor([0.0, 0.0]), reduction="none")
    tensor([0.125, 2.5  ])
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta={delta!r} must be positive")
    input, target = as_tensor(input), as_tensor(target)
    _same_shape("huber_loss", input, target)
    inside = ops.clip(input - target, -delta, delta)  # d itself, or delta with d's sign
    return _reduce(inside * (input - target - inside / 2), reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The absolute error |input - target|, for two arrays of one shape. Raises ValueError where the shapes differ.

    >>> import minigrad as mg
    >>> mg.nn.functional.l1_loss(mg.tensor([1.0, 2.0]), mg.tensor([0.0, 0.0]))
    tensor(1.5)
    """
    input, target = as_tensor(input), as_tensor(target)
    _same_shape("l1_loss", input, target)
    return _reduce(ops.abs(input - target), reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """`huber_loss` with delta = beta, divided by beta: |d| - beta / 2 beyond it (Girshick, 2015).

    beta = 0 is `l1_loss`. Raises ValueError where the shapes differ.

    >>> import minigrad as mg
    >>> mg.nn.functional.smooth_l1_loss(mg.tensor([0.5, 3.0]), mg.tensor([0.0, 0.0]), reduction="none")
    tensor([0.125, 2.5  ])
    """
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta={beta!r} must not be negative")
    input, target = as_tensor(input), as_tensor(target)
    _same_shape("smooth_l1_loss", input, target)
    if beta == 0:
        return l1_loss(input, target, reduction)
    inside = ops.clip(input - target, -beta, beta)
    return _reduce(inside * (input - target - inside / 2) / beta, reduction)


# ---- classes -------------------------------------------------------------------------------------------------------


def cross_entropy(
    input: Any, target: Any, reduction: str = "mean", *, weight: Any = None, ignore_index: int = -100,
    label_smoothing: float = 0.0, axis: int = -1,
) -> Tensor:  # fmt: skip
    """-log softmax(input)[target]: the loss of a classifier that gives a score (logit) to each class.

    `input` holds scores of shape (..., classes); softmax is part of the loss and must not be applied before.
    `target` holds the index of the right class, integers of shape (...), or a probability for each class, of the
    input's shape. The mean is over all targets. Classes lie along the last axis here; where they lie along axis 1 of
    more than two, as PyTorch's do, say `axis=1`.

    `weight` holds a factor for each class: the mean over indices is then a weighted one. Targets that are
    `ignore_index` do not count. `label_smoothing` takes that share of the probability from the target and spreads it
    over all classes (Szegedy et al., 2016). Raises ValueError for other shapes, for indices that name no class and for
    a mean over none.

    >>> import minigrad as mg
    >>> mg.nn.functional.cross_entropy(mg.tensor([[0.0, 0.0]]), [1])
    tensor(0.69314718)
    """
    input = as_tensor(input)
    if input._op is ops.softmax:
        warn_once(
            "softmax before cross_entropy",
            "cross_entropy: its input was made by softmax, which the loss applies itself: give it the scores (logits)",
        )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing={label_smoothing!r} is a share of the probability, in [0, 1]")
    wanted = target
    target = plain(target)
    target = target if hasattr(target, "dtype") else np.asarray(target)
    if target.dtype.kind in "iu":
        return _of_classes("cross_entropy", log_softmax, input, target, reduction, weight, ignore_index,
                           label_smoothing, axis)  # fmt: skip
    if target.shape != input.shape:
        raise ValueError(
            f"cross_entropy: the target of dtype {target.dtype} and shape {target.shape} is neither integers of shape "
            f"{_without(axis, input)} nor probabilities of shape {input.shape}"
        )
    if ignore_index >= 0:
        raise ValueError(f"cross_entropy: ignore_index={ignore_index} goes with indices, and these are probabilities")
    log_p = log_softmax(input, axis)
    if label_smoothing:
        wanted = (1 - label_smoothing) * as_tensor(wanted) + label_smoothing / input.shape[axis]
    if weight is not None:
        factors = _class_weights("cross_entropy", weight, input.shape[axis], log_p.dtype)
        wanted = wanted * factors.reshape([-1 if i == axis % input.ndim else 1 for i in range(input.ndim)])
    return _reduce(-ops.sum(wanted * log_p, axis=axis), reduction)


def nll_loss(
    input: Any, target: Any, reduction: str = "mean", *, weight: Any = None, ignore_index: int = -100, axis: int = -1
) -> Tensor:  # fmt: skip
    """-input[target], for log-probabilities of classes along `axis`: what `log_softmax` gives.

    `cross_entropy` does both, and explains the arguments. Warns once where the input holds numbers above 0, which are
    no log-probabilities.

    >>> import minigrad as mg
    >>> mg.nn.functional.nll_loss(mg.log_softmax([[0.0, 0.0]]), [1])
    tensor(0.69314718)
    """
    input, target = as_tensor(input), as_array(plain(target))
    _warn_unless_logarithms("nll_loss", input)
    if target.dtype.kind not in "iu":
        raise ValueError(f"nll_loss: targets are the indices of classes, integers, and these are {target.dtype}")
    return _of_classes("nll_loss", None, input, target, reduction, weight, ignore_index, 0.0, axis)


def _of_classes(
    name: str, logarithm: Any, input: Tensor, target: np.ndarray, reduction: str, weight: Any, ignore_index: int,
    label_smoothing: float, axis: int,
) -> Tensor:  # fmt: skip
    """The loss of log-probabilities (made by `logarithm` of the input, if there is one) for indices of classes."""
    known("reduction", reduction, REDUCTIONS)
    if axis != -1 and input.ndim:
        axis = normalize_axis_index(axis, input.ndim, name)
    if input.ndim and axis % input.ndim != input.ndim - 1:
        _check_classes(name, input, target, axis)
        input = ops.moveaxis(input, axis, -1)
    elif target.shape != input.shape[:-1] or not input.ndim:
        _check_classes(name, input, target, axis)
    classes = input.shape[-1]
    # Negative ones are huge, seen unsigned.
    counted = None
    if not visible(target):
        counted = target != ignore_index
        wrong, other = (target < 0) | (target >= classes), classes  # which is refused where it picks
        if mode.capture is not None:
            require(~(counted & wrong), _no_classes(name, classes), counted, target)
            other = 0
        target = np.where(wrong, other, target)
    elif target.size and target.view(f"u{target.itemsize}").max() >= classes:
        counted = target != ignore_index
        if ((target < 0) | (target >= classes))[counted].any():
            raise _no_classes(name, classes)(counted, target)
    elif 0 <= ignore_index < classes:
        counted = target != ignore_index
    log_p = logarithm(input) if logarithm is not None else input
    if counted is None and weight is None and not label_smoothing:
        return ops.nll_loss(log_p, target, reduction=reduction)
    return _weighted(name, log_p, target, counted, reduction, weight, label_smoothing)


def _no_classes(name: str, classes: int) -> Callable[..., Exception]:
    """The error for targets that are no classes."""

    def error(counted: np.ndarray, target: np.ndarray) -> Exception:
        low, high = target[counted].min(), target[counted].max()
        return ValueError(f"{name}: classes are 0 to {classes - 1}, and the targets run from {low} to {high}")

    return error


def _weighted(
    name: str, log_p: Tensor, target: np.ndarray, counted: np.ndarray | None, reduction: str, weight: Any,
    label_smoothing: float,
) -> Tensor:  # fmt: skip
    """The loss of log-probabilities where targets differ in what they count."""
    dtype, classes = log_p.dtype if log_p.dtype.kind == "f" else np.dtype(np.float64), log_p.shape[-1]
    factors = np.ones(classes, dtype) if weight is None else _class_weights(name, weight, classes, dtype)
    counts = np.ones(target.shape, dtype) if counted is None else counted.astype(dtype)
    place = target if counted is None else np.where(counted, target, 0)
    share = counts if weight is None else plain(ops.getitem(factors, place)) * counts
    loss = ops.nll_loss(log_p, place, reduction="none") * share
    if label_smoothing:
        over_all = -ops.sum(log_p * factors, axis=-1) * counts
        loss = (1 - label_smoothing) * loss + label_smoothing / classes * over_all
    if reduction != "mean":
        return _reduce(loss, reduction)
    total = share.sum()
    sentence = f"{name}: no target counts (all are ignored, or of weight 0), so there is no mean"
    require(total != 0, lambda: ValueError(sentence))
    return ops.sum(loss) / total


def _check_classes(name: str, input: Tensor, target: np.ndarray, axis: int) -> None:
    if not input.ndim or target.shape != _without(axis, input):
        raise ValueError(
            f"{name}: scores of shape {input.shape} need class indices of shape {_without(axis, input)}, and "
            f"these have shape {target.shape}"
            + ("; axis=1 says that the classes are there" if target.shape == _without(1, input) else "")
        )


def _without(axis: int, input: Tensor) -> tuple[int, ...]:
    """The input's shape but for the axis of the classes."""
    shape = input.shape
    return shape[: axis % len(shape)] + shape[axis % len(shape) + 1 :] if shape else ()


def _class_weights(name: str, weight: Any, classes: int, dtype: np.dtype) -> np.ndarray:
    factors = as_array(plain(weight))
    if factors.shape != (classes,):
        raise ValueError(f"{name}: the weight has shape {factors.shape}, and {classes} classes need ({classes},)")
    return factors.astype(dtype)


def _warn_unless_logarithms(name: str, input: Tensor) -> None:
    if input.dtype.kind == "f" and input.size and visible(input._data) and input._data.max() > 1e-3:
        warn_once(
            f"no logarithms in {name}",
            f"{name}: its input holds numbers above 0, which are no log-probabilities: give it log_softmax of the "
            "scores, or the scores themselves to cross_entropy",
        )


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target * (log(target) - input), for log-probabilities `input` and probabilities `target` of one shape.

    With `log_target` the target holds log-probabilities too. Summed over the classes it is the divergence of Kullback
    and Leibler (1951), so "batchmean", the sum divided by the length of axis 0, is what training wants; "mean" divides
    by the number of classes as well. Raises ValueError where shapes differ or probabilities are negative.

    >>> import minigrad as mg
    >>> mg.nn.functional.kl_div(mg.log_softmax([[0.0, 0.0]]), [[1.0, 0.0]], reduction="batchmean")
    tensor(0.69314718)
    """
    input, target = as_tensor(input), as_tensor(target)
    _same_shape("kl_div", input, target)
    _warn_unless_logarithms("kl_div", input)
    if log_target:
        loss = ops.exp(target) * (target - input)
    else:
        if target.dtype.kind == "f":
            sentence = "kl_div: probabilities are not negative: are these their logarithms (log_target=True)?"
            require(~(target._data < 0), lambda: ValueError(sentence))
        loss = target * ops.log(ops.where(target > 0, target, 1)) - target * input
    if reduction == "batchmean":
        return ops.sum(loss) / (input.shape[0] if input.ndim else 1)
    return _reduce(loss, known("reduction", reduction, (*REDUCTIONS, "batchmean")))


# ---- yes or no -----------------------------------------------------------------------------------------------------


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Tensor:
    """-(t log x + (1 - t) log(1 - x)) for probabilities x and targets t in [0, 1]; log(0) counts as -100.

    `binary_cross_entropy_with_logits` takes scores, and keeps more digits. `weight` holds factors that broadcast to
    the input. Raises ValueError where the shapes differ, and for numbers outside [0, 1].

    >>> import minigrad as mg
    >>> mg.nn.functional.binary_cross_entropy(mg.tensor([0.5]), mg.tensor([1.0]))
    tensor(0.69314718)
    """
    name, input, target = "binary_cross_entropy", as_tensor(input), as_tensor(target)
    _same_shape(name, input, target)
    _check_probabilities(name, "input", input, ": scores are for binary_cross_entropy_with_logits")
    _check_probabilities(name, "target", target)
    return _reduce(_factored(name, ops.bce(input, target), weight), reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, reduction: str = "mean", *, weight: Any = None, pos_weight: Any = None
) -> Tensor:  # fmt: skip
    """-(t log s(x) + (1 - t) log(1 - s(x))), s the sigmoid, which is part of the loss; targets t in [0, 1].

    Computed as log(1 + exp(x)) - x t, without overflow. `weight` and `pos_weight` hold factors that broadcast to the
    input, for the whole and for the first term. Raises ValueError where the shapes differ, and for other targets.

    >>> import minigrad as mg
    >>> mg.nn.functional.binary_cross_entropy_with_logits(mg.tensor([0.0]), mg.tensor([1.0]))
    tensor(0.69314718)
    """
    name, input, target = "binary_cross_entropy_with_logits", as_tensor(input), as_tensor(target)
    _same_shape(name, input, target)
    if input._op is ops.sigmoid:
        warn_once(
            "sigmoid before binary_cross_entropy_with_logits",
            "binary_cross_entropy_with_logits: its input was made by sigmoid, which the loss applies itself: give it "
            "the scores",
        )
    _check_probabilities(name, "target", target)
    if pos_weight is None:
        loss = ops.logaddexp(0, input) - input * target
    else:
        first = _factored(name, target, pos_weight) - target + 1  # since log(1 - s(x)) = log s(x) - x
        loss = (1 - target) * input + first * ops.logaddexp(0, -input)
    return _reduce(_factored(name, loss, weight), reduction)


def _check_probabilities(name: str, what: str, x: Tensor, hint: str = "") -> None:
    if x.dtype.kind != "O" and x.size:
        low, high = x._data.min(), x._data.max()

        def error(low: Any, high: Any) -> Exception:
            found = f"the {what} runs from {low:.4g} to {high:.4g}"
            return ValueError(f"{name}: {found}, and probabilities are in [0, 1]{hint}")

        require(~((low < 0) | (high > 1)), error, low, high)


def _factored(name: str, loss: Tensor, weight: Any) -> Tensor:
    """The loss times factors that broadcast to its shape."""
    if weight is None:
        return loss
    factors = as_tensor(weight)
    if np.broadcast_shapes(factors.shape, loss.shape) != loss.shape:
        raise ValueError(f"{name}: a weight of shape {factors.shape} does not broadcast to {loss.shape}")
    return loss * factors


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target * input)), for targets -1 and 1 in the input's shape. Raises ValueError for other shapes.

    >>> import minigrad as mg
    >>> mg.nn.functional.soft_margin_loss(mg.tensor([0.0]), mg.tensor([1.0]))
    tensor(0.69314718)
    """
    input, target = as_tensor(input), as_tensor(target)
    _same_shape("soft_margin_loss", input, target)
    return _reduce(ops.logaddexp(0, -target * input), reduction)


# ---- likelihoods ---------------------------------------------------------------------------------------------------


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:  # fmt: skip
    """(log v + (input - target)^2 / v) / 2, with v = max(var, eps): a mean and a variance for each target.

    From Nix and Weigend (1994). `full` adds log(2 pi) / 2. `var` has the input's shape, or one number for each row: 1
    in the last axis, or that axis left out. The gradient passes to `var` below eps too. Raises ValueError for other
    shapes and for negative variances.

    >>> import minigrad as mg
    >>> mg.nn.functional.gaussian_nll_loss(mg.tensor([0.0]), mg.tensor([2.0]), mg.tensor([1.0]))
    tensor(2.)
    """
    input, target, var = as_tensor(input), as_tensor(target), as_tensor(var)
    _same_shape("gaussian_nll_loss", input, target)
    if var.shape == input.shape[:-1] and input.ndim:
        var = ops.expand_dims(var, -1)
    if var.shape not in (input.shape, (*input.shape[:-1], 1)):
        raise ValueError(f"gaussian_nll_loss: var has shape {var.shape}, and the input {input.shape}")
    if var.dtype.kind == "f":
        sentence = "gaussian_nll_loss: a variance is negative; exp or softplus of a net's output is not"
        require(~(var._data < 0), lambda: ValueError(sentence))
        var = var + np.maximum(eps - var._data, 0)
    loss = 0.5 * (ops.log(var) + ops.square(input - target) / var)
    return _reduce(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean"
) -> Tensor:  # fmt: skip
    """exp(input) - target * input, for counts `target` and the logarithms of their expectations, of one shape.

    Without `log_input` the input holds the expectations: input - target * log(input + eps). `full` adds Stirling's
    log(target!), t log t - t + log(2 pi t) / 2, for t > 1. Raises ValueError where the shapes differ.

    >>> import minigrad as mg
    >>> mg.nn.functional.poisson_nll_loss(mg.tensor([0.0]), mg.tensor([3.0]))
    tensor(1.)
    """
    input, target = as_tensor(input), as_tensor(target)
    _same_shape("poisson_nll_loss", input, target)
    loss = ops.exp(input) - target * input if log_input else input - target * ops.log(input + eps)
    if full:
        t = ops.where(target > 1, target, 1)
        loss = loss + ops.where(target > 1, t * ops.log(t) - t + 0.5 * ops.log(2 * math.pi * t), 0)
    return _reduce(loss, reduction)


def hinge_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """max(0, 1 - target * input), for targets -1 and 1 in the input's shape. Raises ValueError where the shapes differ.

    >>> import minigrad as mg
    >>> mg.nn.functional.hinge_loss(mg.tensor([0.5, -2.0]), mg.tensor([1.0, -1.0]), reduction="none")
    tensor([0.5, 0. ])
    """
    input, target = as_tensor(input), target if isinstance(target, Tensor) else plain(target)
    _same_shape("hinge_loss", input, target)
    return _reduce(relu(1 - input * target), reduction)


# ---- as modules ----------------------------------------------------------------------------------------------------


class _Loss(Module):
    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = reduction


class MSELoss(_Loss):
    """Compute the squared error, its mean unless `reduction` is "sum" or "none"; see `functional.mse_loss`.

    >>> mg.nn.MSELoss()(mg.tensor([1.0, 2.0]), np.array([0.0, 0.0])).item()
    2.5
    """

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return mse_loss(prediction, target, reduction=self.reduction)


class L1Loss(_Loss):
    """Compute the absolute error; see `functional.l1_loss`."""

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return l1_loss(prediction, target, reduction=self.reduction)


class _Weighted(_Loss):
    """A loss with factors, kept as a buffer."""

    weight: Any
    pos_weight: Any

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self._keep("weight", weight)

    def _keep(self, name: str, factors: Any) -> None:
        if factors is None:
            setattr(self, name, None)
        else:
            self.register_buffer(name, factors)


class CrossEntropyLoss(_Weighted):
    """Compute the cross-entropy of logits with class indices or probabilities; see `functional.cross_entropy`.

    >>> mg.nn.CrossEntropyLoss()(mg.tensor([[0.0, 0.0]]), np.array([1]))
    tensor(0.69314718)
    """

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:  # fmt: skip
        super().__init__(weight, reduction=reduction)
        self.ignore_index, self.label_smoothing, self.axis = ignore_index, label_smoothing, axis

    def forward(self, logits: Any, target: Any) -> Tensor:
        return cross_entropy(
            logits, target, self.reduction, weight=self.weight, ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing, axis=self.axis,
        )  # fmt: skip


class NLLLoss(_Weighted):
    """Compute minus the log-probability of the right class; see `functional.nll_loss`."""

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", axis: int = -1
    ) -> None:  # fmt: skip
        super().__init__(weight, reduction=reduction)
        self.ignore_index, self.axis = ignore_index, axis

    def forward(self, log_probabilities: Any, target: Any) -> Tensor:
        return nll_loss(
            log_probabilities, target, self.reduction, weight=self.weight, ignore_index=self.ignore_index,
            axis=self.axis,
        )  # fmt: skip


class KLDivLoss(_Loss):
    """Compute the divergence of a distribution from the one wanted; see `functional.kl_div`."""

    def __init__(self, *, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.log_target = log_target

    def forward(self, log_probabilities: Any, target: Any) -> Tensor:
        return kl_div(log_probabilities, target, self.reduction, self.log_target)


class BCELoss(_Weighted):
    """Compute the cross-entropy of yes-or-no probabilities; see `functional.binary_cross_entropy`."""

    def forward(self, probabilities: Any, target: Any) -> Tensor:
        return binary_cross_entropy(probabilities, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_Weighted):
    """Compute the cross-entropy of yes-or-no logits; see `functional.binary_cross_entropy_with_logits`."""

    def __init__(self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(weight, reduction=reduction)
        self._keep("pos_weight", pos_weight)

    def forward(self, logits: Any, target: Any) -> Tensor:
        return binary_cross_entropy_with_logits(
            logits, target, self.reduction, weight=self.weight, pos_weight=self.pos_weight
        )  # fmt: skip


class SoftMarginLoss(_Loss):
    """Compute log(1 + exp(-target * score)), the target being -1 or 1; see `functional.soft_margin_loss`."""

    def forward(self, score: Any, target: Any) -> Tensor:
        return soft_margin_loss(score, target, reduction=self.reduction)


class GaussianNLLLoss(_Loss):
    """Compute minus the log-likelihood of normally distributed targets; see `functional.gaussian_nll_loss`."""

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full, self.eps = full, eps

    def forward(self, mean: Any, target: Any, var: Any) -> Tensor:
        return gaussian_nll_loss(mean, target, var, self.full, self.eps, self.reduction)


class PoissonNLLLoss(_Loss):
    """Compute minus the log-likelihood of counts, up to a constant; see `functional.poisson_nll_loss`."""

    def __init__(
        self, log_input: bool = True, full: bool = False, eps: float = 1e-8, *, reduction: str = "mean"
    ) -> None:  # fmt: skip
        super().__init__(reduction=reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_rate: Any, target: Any) -> Tensor:
        return poisson_nll_loss(log_rate, target, self.log_input, self.full, self.eps, self.reduction)


class HingeLoss(_Loss):
    """Compute max(0, 1 - target * score), the target being -1 or 1; see `functional.hinge_loss`."""

    def forward(self, score: Any, target: Any) -> Tensor:
        return hinge_loss(score, target, reduction=self.reduction)


class HuberLoss(_Loss):
    """Compute the squared error up to `delta` and the absolute error beyond; see `functional.huber_loss`."""

    def __init__(self, *, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return huber_loss(prediction, target, delta=self.delta, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """Compute `HuberLoss` divided by its delta, here called `beta`; see `functional.smooth_l1_loss`."""

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.beta = beta

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return smooth_l1_loss(prediction, target, beta=self.beta, reduction=self.reduction)
