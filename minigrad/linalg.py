"""`mg.linalg`, as in NumPy; and `solve_triangular` and `expm`, as in SciPy."""

from .ops import decompositions, determinants, solving
from .ops.decompositions import *  # noqa: F403
from .ops.determinants import *  # noqa: F403
from .ops.products import norm
from .ops.solving import *  # noqa: F403

__all__ = ["norm"]
__all__ += decompositions.__all__
__all__ += determinants.__all__
__all__ += solving.__all__
