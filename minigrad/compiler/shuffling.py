"""The orders of samples in shuffled epochs: NumPy's permutations to the bit, in a third of its time."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import numpy as np

from .. import native
from .assembly import REVISION

# The shuffle of Fisher and Yates as `Generator.permutation` has it: a place to swap with is drawn in the range of the
# next power of two, again until it is one of those that are left. Here, a number beyond these swaps a place with itself
# and the next round draws for the same place again: so the processor has no branch to guess.
SOURCE = f"""
from numba import int64 as i8, uint32 as u4
from minigrad.compiler.intrinsics import draw_uint32, shift  # {REVISION:08x}
from minigrad.compiler.pipeline import *

PIPELINE = Inner


def shuffle(orders, n, count, draw, state):
    for k in range(count):
        order = shift(orders, k * n)
        for i in range(n):
            order[i] = i
        left, mask = n - 1, u4(0xFFFFFFFF)
        while mask > u4(0):
            half = mask >> u4(1)
            while left > i8(half):
                number = i8(draw_uint32(draw, state) & mask)
                fits = number <= left
                place = number if fits else left
                order[left], order[place] = order[place], order[left]
                left -= i8(fits)
            mask = half
"""


def permutations(rng: np.random.Generator, n: int, count: int) -> np.ndarray:
    """So many permutations of range(n), one after the other, as `rng.permutation(n)` gives them.

    >>> a, b = np.random.default_rng(0), np.random.default_rng(0)
    >>> permutations(a, 3, 2).tolist() == [*b.permutation(3), *b.permutation(3)]
    True
    """
    if type(rng) is np.random.Generator and n < 1 << 32 and (ours := compiled()):
        return ours(rng, n, count)
    return np.concatenate([rng.permutation(n) for _ in range(count)])


@functools.cache
def compiled() -> Callable[[np.random.Generator, int, int], np.ndarray] | None:
    """The native function; None where NumPy shuffles in another way than that."""
    address = native.build(SOURCE, "shuffle", "void(CPointer(int64), int64, int64, int64, int64)")
    shuffle = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_int64] * 4)(address)

    def ours(rng: np.random.Generator, n: int, count: int) -> np.ndarray:
        orders, bits = np.empty(n * count, np.int64), rng.bit_generator
        draw = ctypes.cast(bits.ctypes.next_uint32, ctypes.c_void_p).value
        with bits.lock:
            shuffle(native.address_of(orders), n, count, draw, bits.ctypes.state_address)
        return orders

    a, b = np.random.default_rng(0), np.random.default_rng(0)
    same = np.array_equal(ours(a, 100, 1), b.permutation(100)) and a.bit_generator.state == b.bit_generator.state
    return ours if same else None
