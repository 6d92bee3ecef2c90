"""`mg.linalg`, as in NumPy."""

from .ops.linear import norm

__all__ = ["norm"]
