"""`mg.linalg`, as in NumPy."""

from .ops.products import norm

__all__ = ["norm"]
