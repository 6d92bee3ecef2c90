"""The page on the compiler says what the code says."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from test_approximations import CASES

from minigrad.compiler import trust
from minigrad.native import DAY, KEPT_FOR

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "compiler.md").read_text()


def test_the_source_is_as_generated():
    spec = spec_from_file_location("generate", DOCS / "generate.py")
    generate = module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert "largest(" in generate.block("maximum")
    assert generate.filled(PAGE) == PAGE, "run `python docs/generate.py`"


def test_errors_and_limits_are_those_of_tests_and_code():
    table = {name: int(ulp) for name, ulp in re.findall(r"^\| `(\w+)` \| (\d+) \|$", PAGE, re.M)}
    assert table == {name: case[2] for name, case in CASES.items()}
    assert f"{trust.SLACK} times what that moves" in re.sub(r"\s+", " ", PAGE)
    assert f"for {KEPT_FOR / DAY:.0f} days" in PAGE
