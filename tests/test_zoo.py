"""The zoo of wrong gradients: every one is refuted, every right twin is accepted, and the page shows the whole zoo."""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "benchmarks"))

import verify as bench  # noqa: E402
from zoo import KINDS, ZOO  # noqa: E402
from zoo.checkers import ACCEPTED, REFUTED, Outcome, minigrad, minigrad_numbers  # noqa: E402
from zoo.specimen import as_tuple  # noqa: E402

PAGE = ROOT / "docs" / "verify" / "zoo.md"


# The specimens themselves, by difference quotients of our own


def loss_and_gradients(specimen, which, seed=0):
    """A specimen as a loss of its inputs: the value, and the gradients by the active ones."""
    f, gradient = specimen.twin(which)
    weights = []

    def value(*xs):
        y = np.asarray(f(*[x.copy() for x in xs]))
        if not specimen.is_op:
            return y.item()
        if not weights:
            weights.append(np.asarray(np.random.default_rng(seed).normal(size=y.shape)))
        return np.sum(weights[0] * y).item()

    def gradients(*xs):
        if not specimen.is_op:
            return as_tuple(gradient(*[x.copy() for x in xs]))
        value(*xs)
        return as_tuple(gradient(weights[0].copy(), np.asarray(f(*xs)), *[x.copy() for x in xs]))

    return value, gradients


def quotient(value, xs, i, k, h):
    """The derivative by one element: central differences at h and h / 2, extrapolated."""

    def at(step):
        moved = [np.array(x) for x in xs]
        moved[i][k] += step
        return value(*moved)

    coarse, fine = ((at(step) - at(-step)) / (2 * step) for step in (h, h / 2))
    return (4 * fine - coarse) / 3


def at_kink(specimen):
    return "kink" in specimen.faults or specimen.name in ("absolute_error_of_a_good_fit", "padding_under_a_relu")


@pytest.mark.parametrize("specimen", [s for s in ZOO.values() if not hasattr(s.code, "use")], ids=lambda s: s.name)
def test_the_right_twin_is_right(specimen):
    rng = np.random.default_rng(0)
    moved = 0.1 if at_kink(specimen) else 0
    xs = [
        np.asarray(x + moved * rng.normal(size=x.shape)) if i in specimen.active else x
        for i, x in enumerate(specimen.inputs.values())
    ]
    value, gradients = loss_and_gradients(specimen, "right")
    found = gradients(*xs)
    for i in specimen.active:
        assert np.shape(found[i]) == xs[i].shape
        scale = np.max(np.abs(found[i]))
        for k in np.ndindex(xs[i].shape):
            h = 1e-5 if specimen.family == "awkward" and specimen.is_op else 1e-4
            assert quotient(value, xs, i, k, h) == pytest.approx(found[i][k], rel=2e-5, abs=2e-6 * scale + 1e-12)


def shows_at_once(specimen):
    """Whether the first value is wrong: faults of second order and of memory lie elsewhere."""
    return specimen.order == 1 and "stale" not in specimen.faults and not hasattr(specimen.code, "use")


@pytest.mark.parametrize("specimen", list(filter(shows_at_once, ZOO.values())), ids=lambda s: s.name)
def test_the_wrong_twin_is_wrong_somewhere(specimen):
    """At the example inputs, or in the neighbourhood."""
    rng, wrong = np.random.default_rng(0), []
    for spread in (0, 0, 1, 2, 4):
        xs = [
            np.asarray(x + spread * rng.normal(size=x.shape)) if i in specimen.active else x
            for i, x in enumerate(specimen.inputs.values())
        ]
        with np.errstate(all="ignore"):
            pair = [loss_and_gradients(specimen, which)[1](*xs) for which in ("right", "wrong")]
        for i in specimen.active:
            same = np.shape(pair[0][i]) == np.shape(pair[1][i]) and np.allclose(pair[0][i], pair[1][i], atol=0)
            wrong.append(not same or not np.isfinite(pair[1][i]).all())
    assert any(wrong)


def test_the_zoo_is_large_and_varied():
    assert len(ZOO) >= 60
    assert {specimen.faults[0] for specimen in ZOO.values()} >= set(KINDS) - {"shape", "offset"}
    assert all(specimen.story.endswith(".") and len(specimen.story) > 20 for specimen in ZOO.values())


# What our checkers say of them


@pytest.mark.parametrize("name", ZOO)
def test_the_right_gradient_is_accepted(name):
    outcome = minigrad(ZOO[name], "right")
    assert outcome.status == ACCEPTED, outcome


@pytest.mark.parametrize("name", ZOO)
def test_the_wrong_gradient_is_refuted(name):
    outcome = minigrad(ZOO[name], "wrong")
    assert outcome.status == REFUTED, outcome
    assert outcome.reproduced, outcome


@pytest.mark.long
@pytest.mark.parametrize("name", ZOO)
def test_numbers_alone_accuse_no_right_gradient(name):
    assert minigrad_numbers(ZOO[name], "right").status != REFUTED


# The benchmark and its page


def outcomes(right, wrong, kinds=()):
    return {"right": Outcome(right, verdict="proved"), "wrong": Outcome(wrong, kinds=kinds, reproduced=True)}


def test_totals_and_particulars():
    names = ["tanh_of_input", "relu_doubled_at_zero", "zeros_returned"]

    def by_name(*found):
        return dict(zip(names, found, strict=True))

    found = {
        "minigrad": by_name(*[outcomes(ACCEPTED, REFUTED, ("saved",))] * 2, outcomes(ACCEPTED, "undecided")),
        "torch": by_name(outcomes(ACCEPTED, "raised"), outcomes(REFUTED, REFUTED), outcomes(ACCEPTED, ACCEPTED)),
    }
    assert bench.totals(found, names)[1:] == [
        ["mg.verify", "2", "0", "0", "1", "0"],
        ["torch", "2", "1", "0", "0", "1"],
    ]
    assert bench.particulars(found, names)[2] == [
        "relu_doubled_at_zero", "kink", "caught", "caught; right one accused", "saved",
    ]  # fmt: skip
    assert bench.summary(found, names)[:2] == [
        "2 of 3 wrong gradients refuted by mg.verify; for 2 of them the line to paste shows the wrong value",
        "1 of 3 diagnoses name the planted fault (33%)",
    ]


def test_a_page_is_filled_between_its_marks():
    page = "before\n<!-- zoo totals -->\nold\n<!-- end -->\nafter\n"
    new = bench.filled(page, {"torch": {"tanh_of_input": outcomes(ACCEPTED, ACCEPTED)}}, ["tanh_of_input"])
    assert new.startswith("before\n<!-- zoo totals -->\n")
    assert new.endswith("<!-- end -->\nafter\n")
    assert "| torch | 0 | 1 | 0 | 0 | 0 |" in new
    assert "old" not in new


def test_the_page_shows_the_whole_zoo():
    page = PAGE.read_text(encoding="utf-8")
    for name, specimen in ZOO.items():
        assert f"| `{name}` | {specimen.faults[0]} |" in page, "run `minigrad bench verify --write docs/verify/zoo.md`"
        assert f"- `{name}`: {specimen.story}" in page
