"""Proof that gradients are right: of any function, of a claim made by hand, of every op's rule, of the optimizers."""

from .gradient import claim, gradient
from .optimizer import optimizer
from .report import Counterexample, Entry, Report
from .rules import ops_of, rules

__all__ = ["Counterexample", "Entry", "Report", "claim", "gradient", "ops_of", "optimizer", "rules"]
