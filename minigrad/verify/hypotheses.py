"""What may have happened to the gradient by one input, as hypotheses: it is twice of it, its transpose, clipped.

Each is a function of a suspect that gives the kind and a sentence where it fits. Those that need the graph of the
function (backpropagation with one rule altered) are in `altered.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from . import altered
from .suspect import Arrays, Suspect, condition, constant_factor, largest, near, spreads
from .wording import factor_in_words, places

Finding = tuple[str, str] | None  # kind and sentence


# ---- hypotheses on one input, from the simplest --------------------------------------------------------------------


def not_finite(s: Suspect) -> Finding:
    if all(np.isfinite(c).all() for c in s.claimed) or not s.fitting:
        return None
    if not any(np.isfinite(c).any() for c in s.claimed):
        return "nan", f"{s.d} is not finite anywhere: look for a division by zero, a log of 0 or an overflow of exp"
    where = condition(s, [~np.isfinite(c) for c in s.claimed])
    if where:
        return "branch", f"{s.d} is not finite where {where}: a division by zero, a log of 0 or an overflow of exp"
    return "nan", f"{s.d} is not finite in some entries: a division by zero, a log of 0 or an overflow of exp"


def all_zero(s: Suspect) -> Finding:
    if any(c.any() for c in s.claimed) or not s.fitting:
        return None
    return "zero", f"{s.d} is zero everywhere: no gradient was written for {s.name}, or what was computed is lost"


def off_by_a_factor(s: Suspect) -> Finding:
    k = s.factor(s.right)
    if k is None:
        return None
    if abs(k + 1) < 1e-8:
        return "sign", f"{s.d} has the wrong sign everywhere: negate it (as in d/db (a - b)^2 = -2 (a - b))"
    words, advice = factor_in_words(s.case, k, s.tolerance)
    if abs(k - 1) < 1e-2 and advice.startswith("multiply"):
        return "precision", f"{s.d} is {k:.8g} times the right gradient everywhere: a constant that was rounded?"
    also = f", and the sign is wrong: {advice}" if k < 0 else f": {advice}"
    return "factor", f"{s.d} is {words} the right gradient everywhere{also}"


def clipped(s: Suspect) -> Finding:
    """The right gradient, limited in each entry or in its norm."""
    if not s.fitting:
        return None
    c = max(map(largest, s.claimed))
    if s.fits(s.each(lambda r: np.clip(r, -c, c))):
        return "branch", f"{s.d} is clipped to [-{c:.6g}, {c:.6g}]: clip it afterwards, for the optimizer's step alone"
    norms = [float(np.linalg.norm(r)) for r in s.right]
    c = max(float(np.linalg.norm(a)) for a in s.claimed)
    if s.fits([r * min(1, c / n) if n else r for r, n in zip(s.right, norms, strict=True)]):
        return "branch", f"{s.d} is scaled down to the norm {c:.6g}: do that afterwards, for the optimizer's step alone"
    if s.fits([r / n if n else r for r, n in zip(s.right, norms, strict=True)]):
        return "factor", f"{s.d} is divided by its norm: it is a direction, and no longer the gradient"
    return None


def rearrangements(shape: tuple[int, ...]) -> Iterator[tuple[str, str, Callable]]:
    """Ways to put the same numbers in another order and the same shape."""
    ndim = len(shape)
    for i, j in itertools.combinations(range(ndim), 2):
        if shape[i] == shape[j]:
            what = "transposed" if ndim == 2 else f"transposed in axes {i} and {j}"
            yield "transposed", what, lambda r, i=i, j=j: np.swapaxes(r, i, j)
    if ndim > 2:
        yield "transposed", "transposed (all axes reversed)", lambda r: r.T
    for i in range(ndim):
        yield "permuted", f"in reverse order along axis {i}", lambda r, i=i: np.flip(r, i)
    if ndim > 1:
        yield "permuted", "in reverse order along all axes", np.flip
        yield "transposed", (
            "read in the other order of elements (a reshape where a transpose is meant)"
        ), lambda r: r.T.reshape(r.shape)
        yield "transposed", (
            "read in the other order of elements (a reshape where a transpose is meant)"
        ), lambda r: r.reshape(r.T.shape).T
    for i, step in itertools.product(range(ndim), (1, -1)):
        yield "permuted", f"shifted by one along axis {i}", lambda r, i=i, step=step: np.roll(r, step, i)


def rearranged(s: Suspect) -> Finding:
    if not s.fitting:
        return None
    found = []
    for kind, what, way in rearrangements(s.shape):
        candidate = s.each(way)
        if candidate[0].shape != s.shape or s.same(candidate, s.right):
            continue
        k = s.factor(candidate)
        if k is not None and abs(k - 1) < 1e-8:
            return kind, f"{s.d} is the right gradient {what}"
        if k is not None:
            words, advice = ("minus", "") if abs(k + 1) < 1e-8 else factor_in_words(s.case, k, s.tolerance)
            found.append((kind, f"{s.d} is {words} the right gradient, {what}" + (f": {advice}" if advice else "")))
    if not found and s.x[0].size > 2 and s.same(list(map(in_order, s.claimed)), s.each(in_order)):
        found.append(("permuted", f"{s.d} has the right values in the wrong order"))
    return found[0] if found else None


def in_order(a: np.ndarray) -> np.ndarray:
    return np.sort(a, axis=None)


def misshapen(s: Suspect) -> Finding:
    """The right numbers, or what they are the sum of, in another shape."""
    if s.fitting:
        return None
    shape = s.claimed[0].shape
    for what, candidate in reductions(s):
        k = constant_factor(candidate, s.right, s.tolerance)
        if k is None and s.same(candidate, s.right):
            k = 1.0
        if k is None:
            continue
        kind, text = what
        if abs(k - 1) < 1e-8:
            return kind, text
        words, advice = ("minus", "the sign") if abs(k + 1) < 1e-8 else factor_in_words(s.case, k, s.tolerance)
        return kind, f"{text}; and even then it is {words} the right gradient: {advice}"
    for axes in subsets(len(s.shape)):
        for keep in (False, True):
            if s.fits([r.sum(axis=axes, keepdims=keep) for r in s.right]):
                over = axes_in_words(axes)
                return "axis", f"{s.d} is the right gradient summed over {over}, and nothing is to be summed there"
    return "shape", f"{s.d} has the shape {shape}, and {s.name} has {s.shape}: the gradient needs that shape"


def subsets(ndim: int) -> Iterator[tuple[int, ...]]:
    for n in range(1, ndim + 1):
        yield from itertools.combinations(range(ndim), n)


def axes_in_words(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"


def reductions(s: Suspect) -> Iterator[tuple[tuple[str, str], Arrays]]:
    """What could be made of a claimed gradient of the wrong shape, and the sentence if that is right."""
    shape = s.claimed[0].shape
    if any(c.shape != shape for c in s.claimed):
        return
    size, ndim = math.prod(s.shape), len(shape)
    if math.prod(shape) == size:
        text = f"{s.d} has the right values in the shape {shape}, and {s.name} has {s.shape}: reshape it"
        yield ("shape", text), [c.reshape(s.shape) for c in s.claimed]
    for axes in itertools.permutations(range(ndim)) if ndim < 5 else ():
        if tuple(shape[i] for i in axes) == s.shape and axes != tuple(range(ndim)):
            text = f"{s.d} is transposed: it has the shape {shape}, and {s.name} has {s.shape}"
            yield ("transposed", text), [c.transpose(axes) for c in s.claimed]
    for axes in subsets(ndim):
        for keep in (False, True):
            reduced = [c.sum(axis=axes, keepdims=keep) for c in s.claimed]
            if reduced[0].shape == s.shape:
                kept = ", keepdims=True" if keep else ""
                sum_over = axes[0] if len(axes) == 1 else axes
                where = axes_in_words(axes) + (" (the batch)" if axes == (0,) else "")
                text = (
                    f"{s.d} is the right gradient before the sum over {where}, along which {s.name} was broadcast: "
                    f"{s.d}.sum(axis={sum_over}{kept})"
                )
                yield ("broadcast", text), reduced
                text = f"{s.d} has the shape {shape}, and {s.name} has {s.shape}: the same gradient, repeated"
                yield ("broadcast", text), [c.mean(axis=axes, keepdims=keep) for c in s.claimed]
    try:
        text = f"{s.d} has the shape {shape}: it is to be spread over the entries of {s.name}, {s.shape}"
        yield ("broadcast", text), [np.broadcast_to(c, s.shape) for c in s.claimed]
    except ValueError:
        pass
    if ndim == 2 and shape[0] == shape[1] == size:
        text = (
            f"{s.d} of shape {shape} has the right gradient on its diagonal: ({size}, 1) met ({size},), and both were "
            "broadcast"
        )
        yield ("broadcast", text), [np.diagonal(c).reshape(s.shape) for c in s.claimed]


def of_another_input(s: Suspect) -> Finding:
    """The right gradient of another input."""
    for j, other in enumerate(s.case.names):
        if j == s.i or any(right[j] is None for right in s.case.right):
            continue
        for what, way in ((other, np.asarray), (f"{other}, transposed", np.transpose)):
            candidate = [way(np.asarray(right[j], float)) for right in s.case.right]
            k = s.factor(candidate)
            if s.fits(candidate) or (k is not None and abs(k - 1) < 1e-8):
                return "other-input", f"{s.d} is the gradient by {what}: were the two exchanged?"
            if k is not None:
                words = "minus" if abs(k + 1) < 1e-8 else factor_in_words(s.case, k, s.tolerance)[0]
                return "other-input", f"{s.d} is {words} the gradient by {what}: were the two exchanged?"
    return None


PENALTIES: list[tuple[str, str, Callable]] = [
    ("regulariser", "{x}: the gradient of an L2 penalty {half} {x}^2", lambda x: x),
    ("regulariser", "sign({x}): the gradient of an L1 penalty {k} |{x}|", np.sign),
    ("offset", "1, the same in every entry", np.ones_like),
]


def lacks_a_penalty(s: Suspect) -> Finding:
    """The difference is a multiple of x, of its sign, or of 1."""
    if not s.fitting:
        return None
    for kind, text, basis in PENALTIES:
        k = s.excess_factor([basis(x) for x in s.x])
        if k is None or s.x[0].size * len(s.x) < 4:
            continue
        size = f"{abs(k):.6g}"
        words = text.format(x=s.name, k=size, half=f"{abs(k) / 2:.6g}")
        if kind == "offset":
            return kind, f"{s.d} is off by {k:+.6g} in every entry"
        verb = "lacks" if k < 0 else "has in excess"
        return kind, f"{s.d} {verb} {size} {words} {'is forgotten' if k < 0 else 'is counted once too often'}"
    return None


# ---- hypotheses on one input, tried when no altered rule explains it -----------------------------------------------


def off_by_a_value(s: Suspect) -> Finding:
    """The right gradient times a value that is known (an input, or a step of the function), or divided by it."""
    if not s.fitting or len(s.pooled(s.right)) < 4:
        return None
    for (name, v), (text, function) in itertools.product(s.values, altered.FACTORS):
        if not np.size(v[0]) or not spreads(v[0], s.shape):
            continue
        factors = [function(np.asarray(a, float)) for a in v]
        if all(np.allclose(a, factors[0].flat[0]) for a in factors) or not all(np.isfinite(a).all() for a in factors):
            continue
        term = text.format(v=name)
        kind = "branch" if text == "sign({v})" else "chain"
        lacking = constant_factor([c * a for c, a in zip(s.claimed, factors, strict=True)], s.right, s.tolerance)
        if lacking is not None:
            return kind, f"{s.d} lacks the factor {term}: multiply by it{also_off(s, lacking)}"
        excess = s.factor([r * a for r, a in zip(s.right, factors, strict=True)])
        if excess is not None:
            return kind, f"{s.d} has the factor {term} in excess: leave it out{also_off(s, excess)}"
    return None


def also_off(s: Suspect, k: float) -> str:
    words = factor_in_words(s.case, k, s.tolerance)[0]
    return "" if abs(k - 1) < 1e-8 else f"; and even then it is {words} the right one"


def only_where(s: Suspect) -> Finding:
    """Right or wrong by a condition on the input, or on a step of the function."""
    if not s.fitting:
        return None
    wrong = s.wrong_entries()
    where = condition(s, wrong)
    if not where:
        return None
    c, r = (s.pooled(a)[s.pooled(wrong)] for a in (s.claimed, s.right))
    how = "it is wrong"
    if not c.any():
        how = "it is zero"
    elif not r.any():
        how = "it should be zero"
    elif np.all(near(c, -r, s.tolerance)):
        how = "it has the wrong sign"
    elif (k := constant_factor([c], [r], s.tolerance)) is not None:
        how = f"it is {factor_in_words(s.case, k)[0]} the right one"
    return "branch", f"{s.d} is right except where {where}: there {how}"


def at_kinks(s: Suspect) -> Finding:
    """Wrong only where the function has a kink."""
    if not s.fitting:
        return None
    found = [(k, tuple(map(int, index))) for k, mask in enumerate(s.wrong_entries()) for index in np.argwhere(mask)]
    if not found or len(found) > 50:
        return None
    try:
        slopes = [one_sided_slopes(s, k, index) for k, index in found]
    except Exception:  # a function of tensors only, or one that objects
        return None
    if not all(abs(left - right) > 1e-3 * max(abs(left), abs(right)) for left, right in slopes):
        return None
    (k, index), (left, right) = found[0], slopes[0]
    entry = s.name + (str(list(index)) if index else "")
    return "kink", (
        f"{s.d} is right except at kinks of the function, as at {entry} = {s.x[k][index]:g}: there the slope is "
        f"{left:.4g} on the left and {right:.4g} on the right, and {s.claimed[k][index]:.4g} is claimed"
    )


def one_sided_slopes(s: Suspect, k: int, index: tuple[int, ...]) -> tuple[float, float]:
    """The slopes of the function along one entry of the input, on the left and on the right."""

    def f(step: float) -> float:
        x = s.x[k].copy()
        x[index] += step
        y = s.case.f(*[x if i == s.i else v for i, v in enumerate(s.case.points[k])])
        return float(np.asarray(getattr(y, "_data", y)).reshape(()))

    h = 1e-6 * max(1.0, abs(float(s.x[k][index])))
    y = f(0)
    return (y - f(-h)) / h, (f(h) - y) / h


def stays_the_same(s: Suspect) -> Finding:
    """At every point the right gradient of the first."""
    if not s.fitting or len(s.x) < 2 or s.same(s.right, [s.right[0]] * len(s.x)):
        return None
    if not s.fits([s.right[0]] * len(s.x)):
        return None
    return "stale", f"{s.d} is the gradient of the first call at every call: a saved value is never renewed"


def in_some_entries(s: Suspect) -> Finding:
    """Some entries are right at every point, or off by a factor of their own."""
    if not s.fitting or len(s.x) < 2:
        return None
    mask = np.any(s.wrong_entries(), axis=0)
    moving = np.std(s.right, axis=0) > 1e-6 * np.max(np.abs(s.right))  # a constant gradient fits too much
    with np.errstate(all="ignore"):
        ratios = np.divide(s.claimed, s.right)
    if np.all(moving | ~mask) and np.all(near(ratios, ratios[0], 10 * s.tolerance) | ~mask):
        distinct = np.unique(np.round(ratios[0][mask], 7))
        where = "" if mask.all() else f" {places(mask)}"
        if len(distinct) == 1:
            k = float(distinct[0])
            if k == 0:
                return "zero", f"{s.d} is zero{where}, and right elsewhere"
            if k == -1:
                return "sign", f"{s.d} has the wrong sign{where}, and is right elsewhere"
            words, advice = factor_in_words(s.case, k, 1e-7)
            return "factor", f"{s.d} is {words} the right gradient{where}, and right elsewhere: {advice}"
        if mask.any() and s.x[0].size > 1:
            text = np.array2string(ratios[0], precision=4, threshold=12)
            return "factor", f"the entries of {s.d} are off by factors of their own, the same at every point: {text}"
    if mask.all():
        return None
    return "partial", f"{s.d} is wrong {places(mask)}, and right elsewhere"


def imprecise(s: Suspect) -> Finding:
    """Close, and not right."""
    if not s.fitting:
        return None
    if all(np.array_equal(c, np.round(c)) for c in s.claimed) and s.same(s.claimed, s.each(np.trunc)):
        return "precision", f"{s.d} is cut to whole numbers: an array of integers holds it on the way"
    error = max(largest(c - r) / largest(r) for c, r in zip(s.claimed, s.right, strict=True))
    if not error < 1e-3:
        return None
    why = "a rounded constant, a small number added for safety, or a step in float32?"
    if error < 1e-6:
        why = "a step computed in float32?"
    return "precision", f"{s.d} is close, and off by {error:.1g} of its size: {why}"


SIMPLE: list[Callable[[Suspect], Finding]] = [
    all_zero, at_kinks, not_finite, off_by_a_factor, clipped, misshapen, rearranged, of_another_input, lacks_a_penalty,
    only_where,
]  # fmt: skip
PARTICULAR: list[Callable[[Suspect], Finding]] = [
    only_where, off_by_a_value, imprecise, in_some_entries, stays_the_same,
]  # fmt: skip
