"""Does the tool that checks the tests notice what they miss?"""

import subprocess
import sys
from pathlib import Path

import mutants
import pytest

WEAK = """
import minigrad as mg

def test_square():
    assert mg.grad(mg.square)(3.0).item() == 6.0

def test_relu():
    mg.grad(mg.relu)(3.0)
"""


def score(*arguments):
    """The exit status and the output of the command."""
    command = [sys.executable, mutants.__file__, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(mutants.__file__).parent.parent)
    return run.returncode, run.stdout + run.stderr


def of(name):
    (rule,) = [rule for rule in mutants.targets() if rule.name == name]
    return {mutant.line for mutant in mutants.mutants_of(rule)}


def test_the_mutants_of_a_rule():
    assert of("square") == {
        *("x * (2 * x)", "y * (2 * x)", "g * (2 * g)", "g * (2 * y)", "g / (2 * x)", "g * (2 / x)"),
        *("g * (3 * x)", "g * (0 * x)", "g * (-2 * x)"),
    }
    assert {"g * y * (0 - y)", "g * y * (1 + y)", "g / y * (1 - y)"} <= of("sigmoid")
    where = {"np.where(x >= threshold, g, 0)", "np.where(x <= threshold, g, 0)", "np.where(x > threshold, g, 1)"}
    assert where <= of("threshold")
    assert {"g = kept(x, axis)", "if keepdims:", "return g * x"} <= of("spread")


def test_every_rule_and_what_it_calls_is_found():
    names = {rule.name for rule in mutants.targets()}
    assert {"add[0]", "tanh", "_nll_rule", "_einsum_rule", "stack", "unbroadcast", "spread", "kept", "scatter"} <= names
    assert not {"sum_", "flip", "moveaxis", "getitem_"} & names, "what users may call has tests of its own"


def test_a_wrong_rule_is_killed_and_an_untested_one_survives(tmp_path):
    file = tmp_path / "test_weak.py"
    file.write_text(WEAK)
    status, output = score("--only", "square", "relu", "tanh", "--tests", file)
    survivors = {line for line in output.split("\n") if line.startswith(("square: ", "relu: ", "tanh: "))}
    assert status == 1
    assert {line for line in survivors if line.startswith("square: ")} == set(), output
    assert "relu: where_positive(g, g)" in survivors
    assert len([line for line in survivors if line.startswith("tanh: ")]) == len(of("tanh"))
    assert "survived 0 tests" in output, "nothing tests tanh"
    assert "%" in output


def test_tests_that_fail_anyway_prove_nothing(tmp_path):
    file = tmp_path / "test_broken.py"
    file.write_text("def test():\n    assert False")
    status, output = score("--only", "square", "--tests", file)
    assert status == 2
    assert "1 tests fail on the rules as they are:" in output
    status, output = score("--only", "squares")
    assert status == 2
    assert "no rule is called squares" in output


@pytest.mark.long
def test_no_mutant_of_a_sample_survives():
    pytest.importorskip("torch", reason="torch is what the tests compare with")
    status, output = score("--sample", 60)
    assert status == 0, output
