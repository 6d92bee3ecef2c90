"""Every example runs, leaves its picture, and shows what its docstring says."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg

EXAMPLES = Path(__file__).parent.parent / "examples"
needs_matplotlib = pytest.mark.usefixtures("matplotlib")


@pytest.fixture
def matplotlib():
    yield pytest.importorskip("matplotlib", reason="the examples draw pictures with Matplotlib")
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """A function that runs an example, and returns its variables and what it printed."""

    def run(name):
        monkeypatch.setattr(sys, "argv", [name, str(tmp_path)])
        variables = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return variables, capsys.readouterr().out

    return run


def picture(tmp_path, name):
    """Whether the folder holds this one picture, with something on it."""
    from matplotlib.image import imread

    (file,) = tmp_path.iterdir()
    return file.name == f"{name}.png" and imread(file).std() > 0.05


def test_every_example_is_tested():
    here = Path(__file__).read_text()
    assert [e.stem for e in EXAMPLES.glob("*.py") if f'run("{e.stem}")' not in here] == []


def test_xor_is_twenty_lines_that_learn_it(run):
    variables, out = run("xor")
    assert out.splitlines()[-4:] == ["0 xor 0 = 0", "0 xor 1 = 1", "1 xor 0 = 1", "1 xor 1 = 0"]
    assert variables["loss"].item() < 0.01
    source = (EXAMPLES / "xor.py").read_text().split('"""')[2]
    assert len([line for line in source.splitlines() if line.strip()]) <= 20


@needs_matplotlib
def test_moons(run, tmp_path):
    variables, _ = run("moons")
    assert variables["history"].metric[-1] > 0.93
    assert picture(tmp_path, "moons")


@needs_matplotlib
def test_digits(run, tmp_path):
    variables, out = run("digits")
    assert variables["history"].metric[-1] > 0.95
    assert f"the picture shows the {len(variables['wrong'])} others" in out
    assert picture(tmp_path, "digits")


@needs_matplotlib
def test_mnist_with_small_digits_enlarged(run, tmp_path):
    variables, _ = run("mnist")
    assert variables["train_x"].shape[1] == 784
    assert variables["history"].metric[-1] > 0.95
    assert picture(tmp_path, "mnist")


@needs_matplotlib
def test_autoencoder_finds_that_equal_digits_are_alike(run, tmp_path):
    variables, _ = run("autoencoder")
    assert variables["history"].loss[-1] < 0.5 * variables["x"].var(axis=0).mean()
    assert variables["same"].mean() > 0.8  # by chance: a tenth
    assert picture(tmp_path, "autoencoder")


@needs_matplotlib
def test_lenet(run, tmp_path):
    variables, out = run("lenet")
    assert variables["history"].metric[-1] > 0.95
    assert "44426" in out  # parameters, counted by hand: 156 + 2416 + 30840 + 10164 + 850
    assert picture(tmp_path, "lenet")


@pytest.mark.parametrize("name", ["char_lstm", "char_gpt"])
def test_nets_that_write(run, name):
    run_it = {"char_lstm": lambda: run("char_lstm"), "char_gpt": lambda: run("char_gpt")}[name]
    variables, out = run_it()
    assert variables["loss"].item() < 2.2  # as likely each: log(36) = 3.6; by frequency alone: 2.9
    written = out.split("shall i ")[1]
    assert set(written) <= set(variables["text"].alphabet)
    words = set(re.findall(r"[a-z]+", mg.data.sonnets().lower()))
    found = re.findall(r"[a-z]+", written)
    assert sum(word in words for word in found) > 0.4 * len(found)


@needs_matplotlib
def test_linear_regression_comes_to_the_closed_form(run, tmp_path):
    variables, _ = run("linear_regression")
    off = {kind: np.linalg.norm(path[-1] - variables["exact"]) for kind, path in variables["paths"].items()}
    assert off["batch"] < 1e-3
    assert off["mini-batch of 10"] < 1e-2
    assert off["stochastic"] < 0.1
    assert picture(tmp_path, "linear_regression")


def arrived(panel):
    """The optimizers that reach a minimum, from lines such as "  Adam  lr 0.05  reaches (1, 1) ..."."""
    return {line.split(" lr ")[0].strip() for line in panel if " reaches " in line}


@needs_matplotlib
def test_optimizers_reach_these_minima(run, tmp_path):
    _, out = run("optimizers")
    rosenbrock, beale, *himmelblau = [panel.splitlines()[1:8] for panel in out.strip().split("\n\n")[:6]]
    assert {"momentum", "Nesterov"} <= arrived(rosenbrock) <= {"momentum", "Nesterov", "Adam"}
    assert {"gradient descent", "momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam"} <= arrived(beale)
    goals = [re.search(r"reaches \(.*\) ", line).group().strip() for panel in himmelblau for line in panel]
    four = {f"reaches ({x}, {y})" for x, y in [("3", "2"), ("-2.81", "3.13"), ("-3.78", "-3.28"), ("3.58", "-1.85")]}
    assert set(goals) == four
    assert len(set(goals[:7])) == 2  # from one start, momentum reaches another minimum than the rest
    assert picture(tmp_path, "optimizers")


@needs_matplotlib
def test_learning_rate_behaves_as_theory_says(run, tmp_path):
    _, out = run("learning_rate")
    bowl = out.splitlines()[1:4]
    plateau = out.splitlines()[5:7]
    for line, end in zip(bowl, ("all epochs done", "converged", "diverged"), strict=True):
        assert f"; {end}" in line
    small, right = (float(re.search(r"loss (\S+)", line).group(1)) for line in plateau)
    assert "; converged" in plateau[0]
    assert small > 0.9 > 0.01 > right
    assert picture(tmp_path, "learning_rate")


@needs_matplotlib
def test_local_minima(run, tmp_path):
    variables, out = run("local_minima")
    assert np.allclose(variables["rests"], np.sort(np.roots([4, 0, -6, 1])))
    ends = re.findall(r"from .* to .*, (.*)", out)
    assert [end == "the global minimum" for end in ends] == [True, True, False, False, True, True, False, True]
    assert picture(tmp_path, "local_minima")
