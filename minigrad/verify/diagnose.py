"""The gradient doctor: given a wrong gradient, say how it is wrong.

A hypothesis says what somebody may have computed in place of the gradient: twice of it, its transpose, the gradient
without the factor of tanh. It fits if that is what was claimed, in every entry at every point. Hypotheses are tried
from the simplest to the most particular, and the first that fits is the diagnosis. They are in `hypotheses.py`, and
those that need the graph of the function (backpropagation with one rule altered) in `altered.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import altered, graphs
from .hypotheses import PARTICULAR, SIMPLE, Finding
from .suspect import Case, Suspect, close, condition


class Diagnosis(NamedTuple):
    """What is wrong with the gradient by an input: the kind of mistake, and a sentence that says what to do.

    Kinds are factor, sign, transposed, permuted, broadcast, axis and shape; chain, dropped, branch, saved (a value of
    the forward pass in the place of another) and other-input; regulariser and offset; zero, precision, nan and kink;
    stale, aliasing; and partial, where some entries are right and nothing more is known.
    """

    kind: str
    sentence: str
    input: str = ""  # the name; "" for what concerns all of them


# ---- what concerns the function that computed the gradient ---------------------------------------------------------


def depends_on_the_past(case: Case) -> Finding:
    """Each claimed gradient is made of the right one and of that of the call before: c_k = a c_(k-1) + b r_k."""
    wrong = [s for s in suspects(case) if s.fitting and s.is_wrong]
    if len(case.points) < 3 or not wrong:
        return None
    claimed, right = (np.array([np.concatenate([s.of(what, k) for s in wrong]) for k in range(len(case.points))])
                      for what in ("claimed", "right"))  # fmt: skip
    if close(claimed[1:], right[:-1], wrong[0].tolerance):
        return "stale", "each gradient is that of the call before: a saved value is read before it is renewed"
    basis = np.stack([claimed[:-1].ravel(), right[1:].ravel()], axis=1)
    if not np.isfinite(basis).all() or len(basis) < 6 or np.linalg.matrix_rank(basis) < 2:
        return None
    (a, b), *_ = np.linalg.lstsq(basis, claimed[1:].ravel(), rcond=None)
    if abs(a) < 1e-6 or not close(claimed[1:].ravel(), basis @ [a, b], wrong[0].tolerance):
        return None
    if abs(b) < 1e-6:
        return None  # no gradient of these points at all
    if abs(a - 1) < 1e-6 and abs(b - 1) < 1e-6:
        return "stale", "each gradient is added to those of the calls before: set what is kept to zero first"
    mean = f"{a:.4g} times that of the call before, and {b:.4g} of the right one"
    return "stale", f"what is returned is a running mean: {mean}"


# ---- all together --------------------------------------------------------------------------------------------------


def suspects(case: Case) -> list[Suspect]:
    """The inputs for which a gradient was claimed."""
    n = len(case.names)
    return [Suspect(case, i) for i in range(n) if all(c[i] is not None for c in (*case.claimed, *case.right))]


def first(tests: Any, *arguments: Any) -> Finding:
    """What the first test finds that finds something."""
    return next((found for test in tests if (found := test(*arguments)) is not None), None)


def diagnose(case: Case) -> list[Diagnosis]:
    """What is wrong with a gradient: first what concerns all of it, then at most one diagnosis for each input.

    Each is true in all entries at all the points of the case (give several, of generic floats, so that none fits by
    chance). An empty list says that no hypothesis fits.

    >>> import minigrad as mg
    >>> from minigrad.verify.diagnose import diagnose
    >>> from minigrad.verify.suspect import Case
    >>> points = [[np.array([1.0, 2.0])], [np.array([-3.0, 0.5])]]
    >>> right = [[2 * x] for x, in points]
    >>> case = Case(lambda x: (x * x).sum(), ["x"], points, [[-2 * x] for x, in points], right)
    >>> diagnose(case)[0].kind
    'sign'
    """
    with np.errstate(all="ignore"):
        general = depends_on_the_past(case) or graphs.misbehaving_rule(case)
        if general:
            return [Diagnosis(*general)]
        wrong = [s for s in suspects(case) if s.is_wrong]
        found = {s: finding for s in wrong if (finding := first(SIMPLE, s)) is not None}
        rest = [s for s in wrong if s not in found]
        if rest:
            at_points = graphs.graphs(case)
            for s in rest:
                s.numbers = graphs.constants(at_points)
                s.values += [(name, v) for name, v in graphs.values(at_points, case) if name != s.name]
            explained = altered.explain(case, at_points, rest)
            for s in rest:
                finding = limited(s, *explained[s.name]) if s.name in explained else first(PARTICULAR, s)
                if finding is not None:
                    found[s] = finding
        return [Diagnosis(*found[s], s.name) for s in wrong if s in found]


def in_short(diagnoses: list[Diagnosis]) -> list[str]:
    """The sentences, those that say the same of several inputs said once."""
    alike: dict[str, list[Diagnosis]] = {}
    for d in diagnoses:
        alike.setdefault(d.sentence.replace(f"d{d.input} ", "", 1) if d.input else d.sentence, []).append(d)
    texts = []
    for first, *others in alike.values():
        same = ", ".join(f"d{d.input}" for d in others)
        texts.append(first.sentence + (f" (the same with {same})" if same else ""))
    return texts


def limited(s: Suspect, kind: str, sentence: str) -> Finding:
    """A finding, with the condition on which it makes a difference."""
    where = condition(s, s.wrong_entries(), strict=False) if kind in ("chain", "saved", "sign", "factor") else ""
    return ("branch", f"{sentence}; which is wrong where {where}") if where else (kind, sentence)
