"""Proof that gradients are right: `mg.verify.rules()` checks every op's card against SymPy."""

from .report import Entry, Report
from .rules import ops_of, rules

__all__ = ["Entry", "Report", "ops_of", "rules"]
