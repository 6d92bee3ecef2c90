"""exp, tanh and the sigmoid for kernels, as sums and products: what a processor does on many elements at once.

The machine's own exp and tanh take one number at a time, and a loop that calls them is no faster than Python's. These
are written without a branch, so that a compiler can run the loop around them on whole vectors. They are for kernels
only (see `kernels.py`), and compute in the dtype of the kernel's arrays.

With x = k log 2 + r, k whole and |r| <= log(2) / 2, it is exp(x) = 2^k exp(r) (Cody and Waite, Software Manual for the
Elementary Functions, 1980, chapter 6). exp(r) - 1 = r + r^2 q(r), where q is the polynomial through the exact values at
the Chebyshev nodes: of degree 4 for float32 (an error of 2.5e-8 of the result) and 9 for float64 (4.1e-17).

Errors, as far as tests/test_approximations.py finds: at most 2 ulp for exp, 4 for tanh, 3 for the sigmoid. Where
the exact result is below 2^-125 (2^-1021 in float64), which is twice the smallest normal number, it may be 0.
"""

from __future__ import annotations

from typing import Any

from .kernels import real, whole

__all__ = ["fast_exp", "fast_sigmoid", "fast_tanh"]

INVERSE = 1.4426950408889634  # 1 / log(2)


def fast_exp(x: Any) -> Any:
    """exp(x); inf from log of the largest number on, nan for nan."""
    p, scale = split(x, real(1))
    return (p + real(1)) * scale * real(2)  # 2^k itself would overflow for the largest x, where p < 0


def fast_sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return real(1) / (real(1) + fast_exp(-x))


def fast_tanh(x: Any) -> Any:
    """tanh(x) = -m / (m + 2) with m = exp(-2x) - 1, for x > 0: no digits are lost near 0."""
    p, scale = split(real(-2) * abs(x), real(0))
    m = p * scale + (scale - real(1))
    y = -m / (m + real(2))
    return -y if x < real(0) else y


def split(x: Any, less: Any) -> tuple[Any, Any]:
    """The parts of exp(x): exp(r) - 1, and 2^(k - less).

    Adding 1.5 * 2^23 (2^52) makes the last bits of a float those of a whole number, and shifts that number's bits to
    where a float has its exponent.
    """
    if single():
        x = bounded(x, real(-87.33654475), real(89))
        shifted = x * real(INVERSE) + real(12582912)
        k = shifted - real(12582912)
        r = (x - k * real(0.693359375)) + k * real(0.00021219444005469057)
        q = real(0.0013926213466332443)
        q = q * r + real(0.008363202971575855)
        q = q * r + real(0.04166655443768594)
        q = q * r + real(0.16666576845993976)
        q = q * r + real(0.5)
        bits = real(shifted - less).view(whole)
        scale = whole((bits << 23) + 0x3F800000).view(real)
    else:
        x = bounded(x, real(-708.3964185322641), real(710))
        shifted = x * real(INVERSE) + real(6755399441055744)
        k = shifted - real(6755399441055744)
        r = (x - k * real(0.6931471804855391)) - k * real(7.440617110012397e-11)
        q = real(2.5100424157005067e-8)
        q = q * r + real(2.7620138719733996e-7)
        q = q * r + real(2.7557268378683942e-6)
        q = q * r + real(2.4801521190217728e-5)
        q = q * r + real(1.9841269863105969e-4)
        q = q * r + real(1.3888888917281793e-3)
        q = q * r + real(8.333333333330051e-3)
        q = q * r + real(0.04166666666662399)
        q = q * r + real(0.16666666666666667)
        q = q * r + real(0.5)
        bits = real(shifted - less).view(whole)
        scale = whole((bits << 52) + 0x3FF0000000000000).view(real)
    return r + r * r * q, scale


def single() -> Any:
    """Whether the kernel computes in float32 (known when it is compiled, so no branch is left of it)."""
    return real(1) + real(1e-10) == real(1)


def bounded(x: Any, low: Any, high: Any) -> Any:
    """x limited to [low, high]; nan stays nan."""
    x = high if x > high else x
    return low if x < low else x
