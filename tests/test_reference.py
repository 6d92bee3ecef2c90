"""The reference of ops says what the ops say."""

import importlib.util
import re
from pathlib import Path

import pytest

from minigrad.ops.card import CARDS, COMPOSITES
from minigrad.verify.rules import is_elementwise

DOCS = Path(__file__).parents[1] / "docs"
ROWS = {
    match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*$", (DOCS / "reference" / "ops.md").read_text(), re.M)
}


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_op_is_in_the_reference_and_none_is_refuted():
    assert sorted((CARDS.keys() | COMPOSITES.keys()) ^ ROWS.keys()) == [], "run `python docs/reference.py`"
    assert [name for name, row in ROWS.items() if "refuted" in row or "undecided" in row] == []


@pytest.mark.parametrize("name", sorted(name for name, card in CARDS.items() if is_elementwise(card)))
def test_formulas_are_as_generated(reference, name):
    case = reference.smallest(CARDS[name])
    assert f"| `{name}` | {reference.formula(case)} | {reference.gradients(case)} |" in ROWS[name], (
        "run `python docs/reference.py`"
    )


@pytest.mark.long
def test_the_page_is_as_generated(reference):
    assert reference.PAGE.read_text() == reference.page(), "run `python docs/reference.py`"
