"""Proof that gradients are right: `mg.verify.rules()` checks every op's card against SymPy."""

from .optimizer import optimizer
from .report import Entry, Report
from .rules import ops_of, rules

__all__ = ["Entry", "Report", "ops_of", "optimizer", "rules"]
