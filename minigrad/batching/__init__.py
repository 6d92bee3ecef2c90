"""Arrays that hide an axis, so that code for one sample runs on many: what `mg.vmap` puts into tensors.

A BatchedArray has the shape of one sample and holds all samples, along an axis in front that nobody sees. It answers
NumPy's calls itself: an elementwise function lines the hidden axes up, a reduction reduces the axes behind, `np.matmul`
multiplies stacks. So the forward functions and gradient rules on the cards run on it unchanged, as they do on symbols.
All ufuncs (of the gufuncs matmul and vecdot), indexing, and the functions in the tables at the ends of these files are
computed for all samples at once; every other function is called for each sample, and the results are stacked.

Calls of vmap nest, and so do these arrays: each belongs to a `Level`, and inside one of an inner level there may be one
of an outer level. To an operation at one level, arrays of other levels are the same for all samples.
"""

from . import along, attributes, elements, indexing, matrices, moving  # which fill the tables of array.py
from .array import BatchedArray, Level, each_sample, innermost, innermost_array, sample
from .asking import NotBatched, Uneven, asked_by_the_library
from .levels import computed, hide, is_batched, show, visible
from .standin import StandIn, as_array, beneath

__all__ = [
    "BatchedArray", "Level", "NotBatched", "StandIn", "Uneven", "as_array", "asked_by_the_library", "beneath",
    "computed", "each_sample", "hide", "innermost", "innermost_array", "is_batched", "sample", "show", "visible",
]  # fmt: skip
