"""The pages of the optimizers say what the code says."""

import importlib.util
from pathlib import Path

import pytest

import minigrad as mg

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "optimizers").glob("*.md"))


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_as_generated(generate, page):
    assert page.read_text() == generate.filled(page.read_text()), "run `python docs/generate.py`"


def test_every_optimizer_has_its_formula_and_its_options_on_a_page(generate):
    marks = {(mark["what"], mark["name"]) for page in PAGES for mark in generate.MARK.finditer(page.read_text())}
    classes = {name for name in mg.optim.__all__ if name[0].isupper()} - {"Optimizer"}
    assert {name for what, name in marks if what == "options"} == classes
    rules = {"sgd", "momentum", "dampened_momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw"}
    assert {name for what, name in marks if what == "formula"} == rules | {"rmsprop_centered_momentum"}


def test_what_stands_between_marks_is_written_anew(generate):
    page = "before\n<!-- formula sgd -->\nstale\n<!-- end -->\nafter\n"
    assert generate.filled(page) == f"before\n<!-- formula sgd -->\n{generate.formula('sgd')}<!-- end -->\nafter\n"
