"""How far the numbers are from the truth: an op's value and its rule's gradient beside its formula, in ulp.

An ulp is the distance of two neighbouring floats at the true value, so a result that is rounded once is off by at most
half. Truth is the card's formula and what `sympy.diff` makes of it, in so many digits that nothing cancels. Elementwise
ops are measured over all floats, the others at random arrays of usual size, tiny and huge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np
import sympy

from ..ops.card import Op
from ..symbolic.array import exact, symbolic_array, sympy_function
from ..tensor import Tensor
from .cells import derived

DTYPES = (np.dtype("float64"), np.dtype("float32"))
IN = {"float64": "", "float32": " in float32"}
TRUSTED = 8  # ulp up to which our result and the true one, computed so differently, confirm each other
OTHER = 1e4  # more than so many ulp (of the largest value) at usual inputs is no rounding: it is another function

# Where functions change their ways: the ends of the floats, where exp overflows, where 1 + x is 1, and round numbers.
MAGNITUDES = (
    0.0, 5e-324, 1e-310, 2.3e-308, 1e-300, 1e-200, 1.4e-154, 1e-100, 1e-45, 1e-40, 1.2e-38, 1e-30, 1e-20, 1e-17, 1e-16,
    1e-13, 1e-10, 6e-8, 1e-8, 1e-5, 1e-3, 0.01, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5707963267948966, 2.0, 3.0,
    3.141592653589793, 4.0, 5.5, 6.5, 8.3, 9.1, 10.0, 13.3, 17.0, 18.5, 20.0, 27.0, 34.0, 36.9, 37.5, 38.4, 50.0, 88.0,
    89.0, 100.0, 103.5, 300.0, 700.0, 708.3, 709.7, 710.5, 740.0, 745.0, 750.0, 1e4, 1e5, 1e8, 1e10, 1e16, 1e19, 1e22,
    1e30, 3e38, 1e100, 1.3e154, 1.4e154, 1e200, 1e300, 1.7e308,
)  # fmt: skip


def _polygamma(n: Any, x: Any) -> Any:
    """The function, but for large negative numbers, from which mpmath counts up one by one."""
    if x < -1000:
        raise ValueError("out of reach")
    return mpmath.psi(n, x)


NAMESPACE = {
    "polygamma_in_reach": _polygamma,
    "Heaviside": lambda x, half=0.5: half if x == 0 else int(x > 0), "DiracDelta": lambda x, k=0: 0,
    "Max": max, "Min": min,
}  # fmt: skip


@dataclass
class Leg:
    """The worst error of a value or gradient, in ulp, at usual inputs and at all inputs, and where that is.

    `faults` are the places of results that are no number, or infinite, where the true one is finite. `other` is a place
    among the usual inputs where so much is wrong that this is not the function of the formula.
    """

    what: str
    usual: float = 0.0
    worst: float = 0.0
    place: str = ""
    faults: list[str] = field(default_factory=list)
    other: str = ""

    def add(self, error: float, usual: bool, place: str) -> None:
        if usual:
            self.usual = max(self.usual, error)
        if math.isinf(error):
            self.faults.append(place)
        elif error > self.worst:
            self.worst, self.place = error, place

    def check(self, ours: float, right: Any, allowed: Any, place: str) -> None:
        """Note a result that is further off than any rounding."""
        if not self.other and not abs(mpmath.mpf(ours) - right) <= allowed:
            self.other = f"{ours:.12g}, and by the formula {mpmath.nstr(right, 12)}, at {place}"

    def joined(self, others: Iterable[Leg]) -> Leg:
        """The worst of several."""
        for leg in others:
            self.usual = max(self.usual, leg.usual)
            self.faults += leg.faults
            self.other = self.other or leg.other
            if leg.worst > self.worst:
                self.worst, self.place = leg.worst, leg.place
        return self

    def __str__(self) -> str:
        return f"{_figure(self.usual)} / {_figure(math.inf if self.faults else self.worst)}"


def _figure(error: float) -> str:
    if math.isinf(error):
        return "none"
    return f"{error:.1f}" if error < 99.95 else f"{error:.0e}".replace("e+0", "e").replace("e+", "e")


# ---- truth ---------------------------------------------------------------------------------------------------------


def functions(symbols: Sequence[sympy.Symbol], expressions: Sequence[sympy.Expr]) -> Callable:
    """The expressions as one function from mpmath's numbers to a list of them."""
    reached = [sympy.sympify(e).replace(sympy.polygamma, sympy.Function("polygamma_in_reach")) for e in expressions]
    f = sympy.lambdify(symbols, reached, [NAMESPACE, "mpmath"], cse=True)
    f.width = len(expressions)
    return f


def rough_values(f: Callable, row: Sequence[float], dtype: np.dtype) -> list:
    """f at floats, to far more digits than a float has, unless something unforeseen cancels; None where not real.

    So many bits are taken that after any cancellation down to the smallest float enough are left. What lies below that
    counts as 0.
    """
    least = least_exponent(dtype)
    values = _evaluate(f, row, 300 - least)
    return [mpmath.mpf(0) if y is not None and abs(y) < mpmath.ldexp(1, least) else y for y in values]


def true_values(f: Callable, row: Sequence[float], dtype: np.dtype) -> list:
    """f at floats, to far more digits than a float has; None where it is not a finite real number, or not known.

    Two precisions must agree; where they do not, a third one decides with the second. They are far apart: tiny numbers
    may be squared in denominators, and the noise of two precisions that are near each other may be the same.
    """
    least = least_exponent(dtype)
    bits = 300 - least
    rough, fine = _evaluate(f, row, bits), _evaluate(f, row, 3 * bits)
    values = [_agreed(a, b, least) for a, b in zip(rough, fine, strict=True)]
    if any(v is None and b is not None for v, b in zip(values, fine, strict=True)):
        finest = _evaluate(f, row, 5 * bits)
        values = [_agreed(a, b, least) for a, b in zip(fine, finest, strict=True)]
    return values


def least_exponent(dtype: np.dtype) -> int:
    """The exponent of a number far enough below the smallest float to count as 0."""
    return int(np.finfo(dtype).minexp) - int(np.finfo(dtype).nmant) - 6


def _evaluate(f: Callable, row: Sequence[float], bits: int) -> list:
    with mpmath.workprec(bits):
        try:
            return [_real(mpmath.mpmathify(y)) for y in f(*map(mpmath.mpf, row))]
        except (ZeroDivisionError, ValueError, OverflowError, TypeError):  # poles; complex numbers have no order
            return [None] * f.width  # type: ignore[attr-defined]


def _real(y: Any) -> Any:
    return y if isinstance(y, mpmath.mpf) and mpmath.isfinite(y) else None


def _agreed(rough: Any, fine: Any, least: int) -> Any:
    """The finer of two values, if the other one is the same in all digits that matter."""
    if rough is None or fine is None:
        return None
    if abs(fine) < mpmath.ldexp(1, least):
        return mpmath.mpf(0)
    return fine if abs(rough - fine) <= mpmath.ldexp(abs(fine), -100) else None


def ulps(ours: float, true: Any, dtype: np.dtype, scale: Any = 0) -> float:
    """The error in ulp of the true value (or of `scale`, if that is larger); inf where ours is a fault.

    Infinity is right where the true value is beyond the largest float, and stands for the first number beyond it.
    """
    info = np.finfo(dtype)
    beyond = mpmath.ldexp(1, int(info.maxexp))
    clipped = max(-beyond, min(beyond, true))
    if math.isnan(ours) or (math.isinf(ours) and (abs(clipped) < beyond / 2 or (ours > 0) != (clipped > 0))):
        return math.inf
    mine = math.copysign(1, ours) * beyond if math.isinf(ours) else mpmath.mpf(ours)
    size = min(max(abs(clipped), abs(scale)), beyond * 0.75)
    exponent = max(int(mpmath.frexp(size)[1]) - 1 if size else int(info.minexp), int(info.minexp))
    return float(mpmath.ldexp(abs(mine - clipped), int(info.nmant) - exponent))


# ---- elementwise ops: over all floats ------------------------------------------------------------------------------


def elementwise_legs(card: Op, n: int = 80, seed: int = 0) -> list[Leg]:
    """The value and the gradient of an elementwise op beside its formula, for both dtypes together.

    The gradient is not measured where there may be none: at kinks (and where inputs are equal, which may be one), and
    where the value is not a real number.
    """
    value, slopes = formulas(card)
    legs = [Leg("value"), Leg("gradient")]
    for dtype in DTYPES:
        rng = np.random.default_rng(seed)
        rows, usual = samples(card, dtype, rng, n)
        places = [place(input_names(card, rows.shape[1]), row, dtype) for row in rows]
        truth = Truth(value, rows.tolist(), dtype)
        kink = [x[0] in card.kinks if len(x) == 1 else len(set(x)) < len(x) for x in rows.tolist()]
        smooth = [not k and t is not None for k, t in zip(kink, truth.values, strict=True)]
        differentiable = [row if ok else None for row, ok in zip(rows.tolist(), smooth, strict=True)]
        steep = [Truth(slope, differentiable, dtype) for slope in slopes]
        for g in (np.ones(len(rows), dtype), rng.uniform(1, 2, len(rows)).astype(dtype)):
            y, gradients = run(card, rows, g)
            compare(legs[0], y, truth, usual, places)
            for gradient, true in zip(gradients, steep, strict=True):
                compare(legs[1], gradient, true, usual, places, factors=g.tolist())
    return legs


class Truth:
    """The true values of one formula at rows of inputs. A row that is None has none."""

    def __init__(self, f: Callable, rows: list, dtype: np.dtype) -> None:
        self.f, self.rows, self.dtype = f, rows, dtype
        self.values = [None if row is None else rough_values(f, row, dtype)[0] for row in rows]
        self.confirmed: set[int] = set()

    def confirm(self, i: int) -> Any:
        """The value again, with more care: for use where it speaks against ours."""
        if i not in self.confirmed:
            self.values[i] = true_values(self.f, self.rows[i], self.dtype)[0]
            self.confirmed.add(i)
        return self.values[i]


def input_names(card: Op, n: int) -> list[str]:
    """What the inputs of an op are called: as in its formula, or as in a primitive's function."""
    if isinstance(card.sympy, str) and ":" in card.sympy:
        return card.sympy.partition(":")[0].replace(" ", "").split(",")[:n]
    names = list(getattr(card, "names", []))
    return names if len(names) == n else ["x"] if n == 1 else list("abcdefhijk"[:n])


def formulas(card: Op) -> tuple[Callable, list[Callable]]:
    """An elementwise card's formula and its derivative by each input but a condition, as functions."""
    symbols = [sympy.Symbol(name, real=True) for name in input_names(card, card.arity or 1)]
    is_condition = [d == "bool" for d in intervals(card)]
    given = [s > 0 if c else s for s, c in zip(symbols, is_condition, strict=True)]
    y = sympy_function(card)(*given, *map(exact, card.defaults.values()))
    slopes = [functions(symbols, [derivative(y, s)]) for s, c in zip(symbols, is_condition, strict=True) if not c]
    return functions(symbols, [y]), slopes


def derivative(y: sympy.Expr, s: sympy.Symbol) -> sympy.Expr:
    """That of the smooth pieces, where SymPy leaves the slope of a step standing."""
    return y.diff(s).replace(lambda e: isinstance(e, sympy.Derivative | sympy.Subs), derived)


def place(names: Sequence[str], row: Iterable[float], dtype: np.dtype) -> str:
    """Where something was measured, in words."""
    at = ", ".join(f"{name} = {value:.9g}" for name, value in zip(names, row, strict=True))
    return at + IN[dtype.name]


def intervals(card: Op) -> list[Any]:
    """Where each input of an elementwise op is sampled: (low, high), or "bool"."""
    domains = card.domain if isinstance(card.domain, list) else [card.domain] * (card.arity or 1)
    return [d if d else (-3, 3) for d in domains]


def samples(card: Op, dtype: np.dtype, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of inputs, and which of them are usual: inside the card's intervals."""
    edges = special(card, dtype)
    low, high = np.array([(-1, 1) if d == "bool" else d for d in intervals(card)], float).T
    inner = rng.uniform(low, high, (n, len(low)))
    if len(low) == 1:
        wild = np.concatenate([edges, scattered(dtype, rng, n // 2)])[:, None]
    else:
        pool = np.concatenate([edges, scattered(dtype, rng, n // 2), inner.ravel()])
        wild = rng.choice(pool, (3 * n, len(low)))
    rows = np.concatenate([inner, wild]).astype(dtype)
    return rows, np.arange(len(rows)) < len(inner)


def special(card: Op, dtype: np.dtype) -> np.ndarray:
    """The floats that are likely to be trouble, with their neighbours, of both signs."""
    with np.errstate(over="ignore"):
        x = np.array([*MAGNITUDES, *map(float, card.kinks), np.finfo(dtype).max, np.finfo(dtype).tiny]).astype(dtype)
        near = np.array([0, 1, 20, *map(float, card.kinks)], dtype)
        x = np.concatenate([x, np.nextafter(near, dtype.type(np.inf)), np.nextafter(near, dtype.type(-np.inf))])
    x = np.concatenate([x, -x])
    return x[np.isfinite(x)]


def scattered(dtype: np.dtype, rng: np.random.Generator, n: int) -> np.ndarray:
    """Floats of every size that there is, each exponent as likely as any."""
    info = np.finfo(dtype)
    exponents = rng.integers(int(info.minexp) - int(info.nmant), int(info.maxexp), n)
    return np.ldexp(rng.choice([-1, 1], n) * rng.uniform(1, 2, n), exponents).astype(dtype)


def run(card: Op, rows: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The op's values at the rows of inputs, and the gradients that backward() gives."""
    columns = [np.ascontiguousarray(column) for column in rows.T]
    inputs = [x > 0 if d == "bool" else Tensor(x, True) for x, d in zip(columns, intervals(card), strict=True)]
    return backward(card, inputs, g, {})


def backward(card: Op, inputs: list, g: np.ndarray, params: dict[str, Any]) -> tuple[np.ndarray, list[np.ndarray]]:
    with np.errstate(all="ignore"):
        y = card(*inputs, **params)
        y.backward(g)
    leaves = [x for x in inputs if isinstance(x, Tensor)]
    return y.data, [np.zeros(x.shape, x.dtype) if x.grad is None else x.grad.data for x in leaves]


def compare(
    leg: Leg, ours: np.ndarray, truth: Truth, usual: np.ndarray, places: Sequence[str],
    factors: Sequence[float] | None = None,
) -> None:  # fmt: skip
    """Add the errors of these results to the leg; the truth is to be multiplied by the factors."""
    factors = factors or [1.0] * len(places)
    known = [abs(t) * abs(k) for t, k, u in zip(truth.values, factors, usual, strict=True) if u and t is not None]
    allowed = max(known, default=0) * float(np.finfo(truth.dtype).eps) * OTHER
    for i, (mine, true) in enumerate(zip(ours.ravel().tolist(), truth.values, strict=True)):
        if true is None:
            continue
        error = ulps(mine, times(true, factors[i]), truth.dtype)
        if error > TRUSTED and truth.confirm(i) is not None:
            error = ulps(mine, times(truth.values[i], factors[i]), truth.dtype)
        if truth.values[i] is not None:
            right = times(truth.values[i], factors[i])
            leg.add(error, bool(usual[i]), places[i])
            if usual[i]:
                leg.check(mine, right, allowed, places[i])


def times(x: Any, factor: float) -> Any:
    with mpmath.workprec(300):
        return x * factor


# ---- other ops: at random arrays -----------------------------------------------------------------------------------

NEAR = 0.25  # how far an input is from the values that a case gives for it
SCALES = {"float64": (1.0, 1e-150, 1e150), "float32": (1.0, 1e-15, 1e15)}


def array_legs(card: Op, shapes: list, params: dict[str, Any], n: int = 3, seed: int = 0) -> list[Leg]:
    """The value and the gradient of an op on arrays, at n random inputs of usual size, one tiny and one huge.

    Where terms cancel, no sum can be good to an ulp of itself; so the unit is an ulp of the result, or of what rounding
    the inputs would change in it, if that is more. Where the case gives values, all inputs are near these.
    """
    rng = np.random.default_rng(seed)
    given = [
        x if _is_constant(x) else symbolic_array(_letters(f"x{i}", x.shape if isinstance(x, np.ndarray) else x))
        for i, x in enumerate(shapes)
    ]
    inputs = [Tensor(x, True) if x.dtype == object else x for x in given]
    y = card(*inputs, **params)
    g = _letters("g", y.shape)
    total = sympy.Add(*[a * b for a, b in zip(y._data.ravel().tolist(), g.ravel().tolist(), strict=True)])
    symbols = [s for x in given if x.dtype == object for s in x.ravel().tolist()]
    f = functions([*symbols, *g.ravel().tolist()], [*y._data.ravel().tolist(), *(total.diff(s) for s in symbols)])
    legs = [Leg("value"), Leg("gradient")]
    anywhere = not any(isinstance(x, np.ndarray) and not _is_constant(x) for x in shapes)
    for dtype in DTYPES:
        for scale in [1.0] * (n - 1) + list(SCALES[dtype.name][: None if anywhere else 1]):
            where = "random inputs" + (f" times {scale:g}" if scale != 1 else "") + IN[dtype.name]
            xs = [x if _is_constant(x) else _near(x, scale, rng).astype(dtype) for x in shapes]
            cotangent = rng.uniform(0.5, 2, y.shape).astype(dtype)
            leaves = [Tensor(x, True) if s.dtype == object else x for x, s in zip(xs, given, strict=True)]
            row = [v for x in [*leaves, cotangent] if x.dtype.kind == "f" for v in np.asarray(x.data).ravel().tolist()]
            value, gradients = backward(card, leaves, cotangent, params)
            truth, scales = true_values(f, row, dtype), sensitivity(f, row)
            split = value.size
            slopes = np.concatenate([s.ravel() for s in gradients]) if gradients else np.zeros(0)
            for leg, ours, part in zip(legs, (value, slopes), (slice(split), slice(split, None)), strict=True):
                known = [abs(t) for t in truth[part] if t is not None]
                allowed = max(known, default=0) * float(np.finfo(dtype).eps) * OTHER
                for mine, true, unit in zip(ours.ravel().tolist(), truth[part], scales[part], strict=True):
                    if true is not None:
                        leg.add(ulps(mine, true, dtype, unit), scale == 1, where)
                        if scale == 1:
                            leg.check(mine, true, allowed, where)
    return legs


def _is_constant(x: Any) -> bool:
    """Whether a case gives an input without a gradient, as an array of integers or truth values."""
    return isinstance(x, np.ndarray) and x.dtype.kind != "f"


def _near(x: Any, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Random numbers in this shape, or near these values."""
    if isinstance(x, np.ndarray):
        return x + rng.uniform(-NEAR, NEAR, x.shape)
    return scale * rng.uniform(-3, 3, x)


def sensitivity(f: Callable, row: list[float]) -> list:
    """For each result, the sum over the inputs of |slope * input|."""
    at, changes = _evaluate(f, row, 400), [mpmath.mpf(0)] * f.width  # type: ignore[attr-defined]
    for j, x in enumerate(row):
        with mpmath.workprec(400):
            nudged = mpmath.mpf(x) * (1 + mpmath.ldexp(1, -100))
        moved = _evaluate(f, [*row[:j], nudged, *row[j + 1 :]], 400)
        for k, (before, after) in enumerate(zip(at, moved, strict=True)):
            if before is not None and after is not None:
                changes[k] += mpmath.ldexp(abs(after - before), 100)
    return changes


def _letters(name: str, shape: tuple[int, ...]) -> np.ndarray:
    data = np.empty(shape, object)
    for i in np.ndindex(data.shape):
        data[i] = sympy.Symbol("_".join([name, *map(str, i)]), real=True)
    return data
