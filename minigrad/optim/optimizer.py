"""The optimizers: torch.optim's interface, names and defaults around the rules of `rules.py`."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any

import numpy as np

from ..names import known
from ..tensor import Tensor, warn_once
from . import rules
from .block import SMALL, Block, label
from .locks import lock_of
from .options import check_option

Params = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]


class Optimizer:
    """What all optimizers share: groups of parameters, steps, and the state between steps.

    A subclass says which hyperparameters there are (by its `__init__`), which rule they select (`rule`), and where the
    rule's state starts if not at zero (`initial`). `params` are tensors, pairs of name and tensor as
    `named_parameters()` gives them, or dicts with a list `"params"` and the hyperparameters of that group. Each
    parameter is a leaf that requires grad, of dtype float32 or float64; its values move into memory of the optimizer.
    `param_groups` holds the hyperparameters, to be changed between steps: `optimizer.param_groups[0]["lr"] = 0.01`.
    A learning rate may be 0, where a warm-up starts and a schedule ends.

    Raises TypeError or ValueError for what is no parameter, and for hyperparameters that are unknown or out of range.
    """

    def __init__(self, params: Params, defaults: dict[str, Any], unknown: dict[str, Any]) -> None:
        self.defaults = defaults
        self.check({**defaults, **unknown})
        self.param_groups: list[dict[str, Any]] = []
        self._blocks: list[Block] = []
        for group in as_groups(params, type(self).__name__):
            self.add_param_group(group)

    # ---- what a subclass says ------------------------------------------------------------------------------------

    @staticmethod
    def rule(group: dict[str, Any]) -> Callable:
        """The formula that these hyperparameters select."""
        raise NotImplementedError

    @staticmethod
    def scalars(group: dict[str, Any]) -> dict[str, float]:
        """The hyperparameters under the names that the rules use."""
        return group

    @staticmethod
    def initial(group: dict[str, Any], name: str) -> float:
        """What the state of this name starts at."""
        return 0.0

    def check(self, options: dict[str, Any]) -> None:
        """Raise TypeError or ValueError for the first of these hyperparameters that is unknown or out of range."""
        for name, value in options.items():
            known(f"option of {type(self).__name__}", name, self.defaults)
            check_option(type(self).__name__, name, value)

    # ---- parameters ----------------------------------------------------------------------------------------------

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters with hyperparameters of their own; what the group does not say is as in the first call."""
        owner = type(self).__name__
        options = {name: value for name, value in group.items() if name != "params"}
        names, params = as_params(group["params"], owner)
        self.check({**self.defaults, **options})
        held = {id(p) for other in self.param_groups for p in other["params"]}
        full = {"params": params, **self.defaults, **options}
        if any(names):
            full["param_names"] = names
        for p in params:
            check_parameter(p, f"{owner}: {label(full, p)}")
            if id(p) in held:
                raise ValueError(f"{owner}: {label(full, p)} is given twice, and would be updated twice a step")
            held.add(id(p))
        self.param_groups.append(full)
        self._blocks += self._pack(full, [{}] * len(params))
        self._lock = lock_of([p for group in self.param_groups for p in group["params"]])

    def _pack(self, group: dict[str, Any], states: list[dict[str, Any]]) -> list[Block]:
        """Share out a group's parameters: small ones of one dtype and step count go together, large ones alone."""
        shares: dict[tuple, list[int]] = {}
        for i, (p, state) in enumerate(zip(group["params"], states, strict=True)):
            shares.setdefault((p.dtype, state.get("step", 0), i if p.size > SMALL else None), []).append(i)
        number = next(i for i, other in enumerate(self.param_groups) if other is group)
        return [
            Block(type(self), group, number, [group["params"][i] for i in share], step, [states[i] for i in share])
            for (_, step, _), share in shares.items()
        ]

    def _label(self, group: dict[str, Any], p: Tensor) -> str:
        """How messages call a parameter; one without a name by its group too, where there are several."""
        number = next(i for i, other in enumerate(self.param_groups) if other is group)
        return label(group, p, f" of param_groups[{number}]" if len(self.param_groups) > 1 else "")

    # ---- steps ---------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Update every parameter that has a gradient. The others keep their values, state and count of steps."""
        complete = True
        for block in self._blocks:
            complete = block.step() and complete
        if not complete:
            self._step_the_rest()

    def _step_the_rest(self) -> None:
        """Step what has gradients in the blocks that are short of some."""
        before = list(self._blocks)
        for block in self._apart({p for group in self.param_groups for p in group["params"] if p._grad is not None}):
            if block not in before:
                block.step()

    def _apart(self, ready: Container[Tensor]) -> list[Block]:
        """The blocks of the parameters that are `ready` with a gradient, split from others; tell of those without."""
        for block in list(self._blocks):
            here = [p in ready for p in block.params]
            if any(here) and not all(here):
                self._blocks.remove(block)
                self._blocks += block.split(here)
        every = [(group, p) for group in self.param_groups for p in group["params"] if p.requires_grad]
        lost = [self._label(group, p) for group, p in every if p not in ready]
        owner = type(self).__name__
        if len(lost) == len(every):
            warn_once(
                f"{owner}: no gradient",
                f"{owner}: no parameter has a gradient, so step() changed nothing. Call loss.backward() before it; and "
                "if a parameter was rebound, as by `w = w - lr * w.grad`, the optimizer still holds the old tensor",
            )
        elif lost:
            warn_once(
                f"{owner}: no gradient for {lost}",
                f"{owner}: no gradient for {', '.join(lost)}, though for others: the loss does not depend on it, or it "
                "left the graph on the way (through .data, .numpy() or a rebound name)",
            )
        return [block for block in self._blocks if block.params[0] in ready]

    def zero_grad(self) -> None:
        """Forget all gradients; call it once a step, since backward() adds to them."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    # ---- keeping -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that the next steps depend on, as numbers, strings and ndarrays (copies), laid out as torch does."""
        index = {id(p): i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        state = {
            index[id(p)]: {"step": block.t, **{name: array.copy() for name, array in kept.items()}}
            for block in self._blocks
            if block.t
            for p, kept in zip(block.params, block.states(), strict=True)
        }
        groups = [{**group, "params": [index[id(p)] for p in group["params"]]} for group in self.param_groups]
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict()` was taken, the hyperparameters included.

        Raises ValueError unless it comes from an optimizer of this kind with as many parameters of the same shapes.
        """
        owner = type(self).__name__
        saved = state_dict["param_groups"]
        ours, theirs = ([len(group["params"]) for group in groups] for groups in (self.param_groups, saved))
        if ours != theirs:
            raise ValueError(f"{owner}: the state is of groups of {theirs} parameters; here they are of {ours}")
        options = [{name: group[name] for name in group if name not in ("params", "param_names")} for group in saved]
        states = [[state_dict["state"].get(i, {}) for i in group["params"]] for group in saved]
        for group, changed, kept in zip(self.param_groups, options, states, strict=True):
            self.check(changed)
            for p, state in zip(group["params"], kept, strict=True):
                for name, array in state.items():
                    if name != "step" and np.shape(array) != p.shape:
                        raise ValueError(
                            f"{owner}: {name!r} of {self._label(group, p)} has shape {np.shape(array)} in the state; "
                            f"the parameter has shape {p.shape}"
                        )
        self._blocks = []
        for group, changed, kept in zip(self.param_groups, options, states, strict=True):
            group.update(changed)
            self._blocks += self._pack(group, kept)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied, since it shares memory with its parameters: keep "
            "state_dict(), and give it to load_state_dict() of an optimizer made anew"
        )

    def __repr__(self) -> str:
        sizes = [sum(p.size for p in group["params"]) for group in self.param_groups]
        options = ", ".join(f"{name}={value}" for name, value in self.defaults.items())
        return f"{type(self).__name__}({' + '.join(map(str, sizes))} parameters, {options})"


# ---- what may be optimized -------------------------------------------------------------------------------------------


def as_groups(params: Any, owner: str) -> list[dict[str, Any]]:
    """The groups that the first argument of an optimizer stands for."""
    if isinstance(params, Tensor | dict):
        kind = type(params).__name__
        raise TypeError(f"{owner}: give a list of tensors, such as [w, b] or model.parameters(), not one {kind}")
    if not isinstance(params, Iterable):
        kind = "a function" if callable(params) and not hasattr(params, "parameters") else type(params).__name__
        raise TypeError(f"{owner}: give a list of tensors, such as [w, b] or model.parameters(), not {kind}")
    items = list(params)
    if not items:
        raise ValueError(f"{owner}: there are no parameters (a generator such as model.parameters() serves only once)")
    if not isinstance(items[0], dict):
        return [{"params": items}]
    for group in items:
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(f'{owner}: every group is a dict with its tensors under "params", not {group!r}')
    return items


def as_params(items: Any, owner: str) -> tuple[list[str | None], list[Tensor]]:
    """Names, where given, and tensors of one group."""
    items = [items] if isinstance(items, Tensor) else items
    pairs = [item if isinstance(item, tuple) else (None, item) for item in items]
    for _, p in pairs:
        if not isinstance(p, Tensor):
            kind = type(p).__name__
            raise TypeError(f"{owner}: a parameter is a Tensor, such as mg.tensor(..., requires_grad=True), not {kind}")
    return [name for name, _ in pairs], [p for _, p in pairs]


def check_parameter(p: Tensor, what: str) -> None:
    if not p.is_leaf:
        raise ValueError(
            f"{what} is the result of {p._op.name}, no leaf. A line such as `w = w - lr * w.grad` makes a new tensor: "
            "give the tensor from before it and let step() update it, or use .detach() and requires_grad=True"
        )
    if p.dtype not in (np.float32, np.float64):
        raise TypeError(f"{what} is of dtype {p.dtype}; optimizers update float32 and float64")
    if not p.requires_grad:
        raise ValueError(f"{what} does not require grad, so it would never change: mg.tensor(..., requires_grad=True)")


# ---- the optimizers --------------------------------------------------------------------------------------------------


class SGD(Optimizer):
    """Gradient descent: plain, with momentum, or with Nesterov's momentum.

    Batch, stochastic or mini-batch descent is not chosen here: it depends on how many examples each gradient is of.
    Raises ValueError for `nesterov` without momentum or with dampening. Formulas: `rules.sgd`, `rules.momentum`,
    `rules.dampened_momentum`, `rules.nesterov`, with their sources.

    >>> w = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = mg.optim.SGD([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5, 1. ], requires_grad=True)
    """

    def __init__(
        self, params: Params, lr: float = 1e-3, momentum: float = 0, *, dampening: float = 0, nesterov: bool = False,
        weight_decay: float = 0, **unknown: Any,
    ) -> None:  # fmt: skip
        options = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "nesterov": nesterov, "weight_decay": weight_decay,
        }  # fmt: skip
        super().__init__(params, options, unknown)

    def check(self, options: dict[str, Any]) -> None:
        super().check(options)
        options = {**self.defaults, **options}
        if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
            raise ValueError("SGD: nesterov=True needs momentum above 0, such as 0.9, and dampening=0")

    @staticmethod
    def rule(group: dict[str, Any]) -> Callable:
        if group["momentum"] == 0:
            return rules.sgd
        if group["nesterov"]:
            return rules.nesterov
        return rules.momentum if group["dampening"] == 0 else rules.dampened_momentum


class Adagrad(Optimizer):
    """AdaGrad: each parameter's steps shrink with the gradients it has seen. Formula and source: `rules.adagrad`.

    >>> w = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = mg.optim.Adagrad([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5, 1.5], requires_grad=True)
    """

    def __init__(
        self, params: Params, lr: float = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
        initial_accumulator_value: float = 0, eps: float = 1e-10, **unknown: Any,
    ) -> None:  # fmt: skip
        options = {
            "lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "eps": eps,
        }  # fmt: skip
        super().__init__(params, options, unknown)

    @staticmethod
    def rule(group: dict[str, Any]) -> Callable:
        return rules.adagrad

    @staticmethod
    def initial(group: dict[str, Any], name: str) -> float:
        return group["initial_accumulator_value"]


class Adadelta(Optimizer):
    """AdaDelta: the size of recent steps stands in for a learning rate. Formula and source: `rules.adadelta`.

    >>> w = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = mg.optim.Adadelta([w])
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> print(w.data.round(4))
    [0.9968 1.9968]
    """

    def __init__(
        self, params: Params, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0,
        **unknown: Any,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}, unknown)

    @staticmethod
    def rule(group: dict[str, Any]) -> Callable:
        return rules.adadelta


class RMSprop(Optimizer):
    """RMSprop: gradients divided by their running root mean square, or (`centered`) standard deviation.

    Formulas: `rules.rmsprop`, `rules.rmsprop_momentum`, `rules.rmsprop_centered`, `rules.rmsprop_centered_momentum`,
    with their sources.

    >>> w = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = mg.optim.RMSprop([w])
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9, 1.9], requires_grad=True)
    """

    def __init__(
        self, params: Params, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0,
        momentum: float = 0, centered: bool = False, **unknown: Any,
    ) -> None:  # fmt: skip
        options = {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum,
            "centered": centered,
        }  # fmt: skip
        super().__init__(params, options, unknown)

    @staticmethod
    def rule(group: dict[str, Any]) -> Callable:
        if group["centered"]:
            return rules.rmsprop_centered_momentum if group["momentum"] else rules.rmsprop_centered
        return rules.rmsprop_momentum if group["momentum"] else rules.rmsprop


class Adam(Optimizer):
    """Adam: momentum, scaled as in RMSprop, both without bias from their start. Formula and source: `rules.adam`.

    >>> w = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = mg.optim.Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5, 1.5], requires_grad=True)
    """

    def __init__(
        self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, **unknown: Any,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}, unknown)

    @staticmethod
    def rule(group: dict[str, Any]) -> Callable:
        return rules.adam

    @staticmethod
    def scalars(group: dict[str, Any]) -> dict[str, float]:
        return {**group, "beta1": group["betas"][0], "beta2": group["betas"][1]}


class AdamW(Adam):
    """Adam whose weight decay bypasses the scaling, so that it acts alike on all weights. Formula: `rules.adamw`.

    >>> w = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = mg.optim.AdamW([w], lr=0.5, weight_decay=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.45, 1.4 ], requires_grad=True)
    """

    def __init__(
        self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, **unknown: Any,
    ) -> None:  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, **unknown)

    @staticmethod
    def rule(group: dict[str, Any]) -> Callable:
        return rules.adamw
