"""Optimizers: each one textbook formula, compiled by Numba, printed by SymPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .optimizer import SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop

if TYPE_CHECKING:
    from .equations import Formula

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "formula"]


def formula(name: str | Callable) -> Formula:
    r"""The formula of an optimizer, made from the function that is compiled; `name` may be a rule of your own too.

    Returns a `Formula` with `.steps` (SymPy equations, one for each line of the rule), `.update` (the new parameter as
    one SymPy expression), `.symbols` (the rule's arguments by name) and `.latex`. Raises ValueError for an unknown
    name.

    >>> mg.optim.formula("momentum")
    g_t = grad + weight_decay*theta_{t-1}
    b_t = momentum*b_{t-1} + g_t
    theta_t = theta_{t-1} - lr*b_t
    >>> print(mg.optim.formula("sgd").latex)
    \begin{aligned}
    g_t &= \nabla f(\theta_{t-1}) + \lambda \theta_{t-1} \\
    \theta_t &= \theta_{t-1} - \eta g_t
    \end{aligned}
    """
    from . import equations

    return equations.formula(name)
