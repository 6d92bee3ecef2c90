"""Proof that gradients are right: of any function, of a claim, of every op's rule, of optimizers, of compiled code."""

from .compiled import compiled
from .gradient import claim, gradient
from .optimizer import optimizer
from .report import Counterexample, Entry, Report
from .rules import ops_of, rules

__all__ = ["Counterexample", "Entry", "Report", "claim", "compiled", "gradient", "ops_of", "optimizer", "rules"]
