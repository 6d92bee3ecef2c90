"""Is a smooth formula zero?"""

from __future__ import annotations

import sympy


def vanishes(expr: sympy.Expr) -> bool:
    ways = (sympy.expand, sympy.cancel, lambda e: sympy.cancel(sympy.expand(e.rewrite(sympy.exp))))
    return expr == 0 or any(way(expr) == 0 for way in ways)


def is_zero(expr: sympy.Expr) -> bool:
    """Whether a smooth formula simplifies to zero."""
    return vanishes(expr) or bool(sympy.simplify(expr) == 0)
