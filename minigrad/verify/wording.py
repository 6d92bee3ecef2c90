"""Numbers and places in the words of a diagnosis: "1/4 of", and why; "in the last row"."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from .suspect import Case

Factor = tuple[float, str, str]  # its value, its name, and what to do where a gradient is off by it
CONSTANTS = {
    "pi": math.pi, "2 pi": 2 * math.pi, "sqrt(2)": math.sqrt(2), "sqrt(pi)": math.sqrt(math.pi),
    "sqrt(2 pi)": math.sqrt(2 * math.pi), "e": math.e, "log(2)": math.log(2), "log(10)": math.log(10),
}  # fmt: skip


def lengths(case: Case) -> dict[int, str]:
    """The lengths of the inputs' axes, each with its name: those of the data first, then those of the parameters."""
    found: dict[int, str] = {}
    is_data = [all(claimed[i] is None for claimed in case.claimed) for i in range(len(case.names))]
    inputs = sorted(zip(is_data, case.names, case.points[0], strict=True), key=lambda triple: not triple[0])
    for _, name, x in inputs:
        for axis, n in enumerate(np.shape(x)):
            found.setdefault(n, f"the length of axis {axis} of {name}")
    for _, name, x in inputs:
        found.setdefault(int(np.size(x)), f"the number of elements of {name}")
    return {n: text for n, text in found.items() if n > 1}


def usual_factors(case: Case) -> Iterator[Factor]:
    """Constants by which gradients are wrong every day."""
    yield 2, "twice", "a factor 1/2 is missing, as in the derivative of (1/2) e^2, or a term is counted twice"
    yield 1 / 2, "half", "the factor 2 of the derivative of a square is missing, or one of two equal terms"
    for n, what in lengths(case).items():
        yield n, f"{n} times", f"{n} is {what}: divide by it, as a mean does"
        yield 1 / n, f"1/{n} of", f"{n} is {what}: do not divide by it once more, as where a mean is taken for a sum"


def other_factors(case: Case) -> Iterator[Factor]:
    for n, what in lengths(case).items():
        yield 2 * n, f"{2 * n} times", f"{n} is {what}: neither the 1/{n} of the mean nor a factor 1/2 is there"
        yield n / 2, f"{n / 2:g} times", f"{n} is {what}: the 1/{n} of the mean is missing, and a factor 2 as well"
        yield 2 / n, f"2/{n} of", f"{n} is {what}: a factor 1/2 is missing, and there is a mean too many"
        yield 1 / (2 * n), f"1/{2 * n} of", f"{n} is {what}: a mean too many, and a factor 2 is missing"
        yield math.sqrt(n), f"sqrt({n}) times", f"{n} is {what}: divide by its root"
        yield 1 / math.sqrt(n), f"1/sqrt({n}) of", f"{n} is {what}: do not divide by its root"
    for n, what in lengths(case).items():
        yield n / (n - 1), f"{n}/{n - 1} of", f"{n} is {what}, and divided by is {n - 1} (ddof = 1?)"
        yield (n - 1) / n, f"{n - 1}/{n} of", f"{n} is {what}, and {n - 1} is to be divided by (ddof = 1?)"
    for name, value in CONSTANTS.items():
        yield value, f"{name} times", f"divide by {name}"
        yield 1 / value, f"1/({name}) of", f"multiply by {name}"


def factor_in_words(case: Case, k: float, tolerance: float = 1e-9) -> tuple[str, str]:
    """A factor as what stands before "the right gradient", and what to do."""
    size, minus = abs(k), "minus " if k < 0 else ""
    tolerance = max(10 * tolerance, 1e-8)
    for known, most in ((usual_factors, 2), (other_factors, 1)):
        texts = [(name, advice) for value, name, advice in known(case) if abs(value / size - 1) < tolerance]
        if texts:
            return minus + texts[0][0], ", or ".join(advice for _, advice in texts[:most])
    if abs(size - 1) < tolerance:
        return minus.strip(), "change the sign"
    fraction = Fraction(size).limit_denominator(20)
    if abs(float(fraction) / size - 1) < tolerance:
        return f"{minus}{fraction} {'of' if fraction < 1 else 'times'}", f"multiply by {1 / fraction}"
    return f"{minus}{size:.6g} times", f"multiply by {1 / size:.6g}"


def places(mask: np.ndarray) -> str:
    """Which entries of an array are marked."""
    for axis, n in enumerate(mask.shape if mask.ndim > 1 else ()):
        lines = np.moveaxis(mask, axis, 0).reshape(n, -1)
        whole = np.flatnonzero(lines.all(axis=1))
        if 0 < len(whole) < n and len(whole) == np.count_nonzero(lines.any(axis=1)):
            name = ("row", "column")[axis] if mask.ndim == 2 else f"index of axis {axis}"
            if len(whole) == 1:
                return f"in the last {name}" if whole[0] == n - 1 else f"in {name} {whole[0]}"
            return f"in {name}s {', '.join(map(str, whole[:4]))}{' ...' if len(whole) > 4 else ''}"
    if mask.ndim == 2 and mask.shape[0] == mask.shape[1]:
        eye = np.eye(len(mask), dtype=bool)
        for part, name in ((eye, "on the diagonal"), (~eye, "off the diagonal")):
            if np.array_equal(mask, part):
                return name
    found = [str(list(map(int, index))) for index in np.argwhere(mask)]
    return f"at {', '.join(found[:3])}" + (f" and {len(found) - 3} more" if len(found) > 3 else "")
