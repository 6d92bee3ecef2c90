import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import cli
from minigrad.optim.equations import RULES


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *argv):
    status = cli.main([str(word) for word in argv])
    out, err = capsys.readouterr()
    return status, out, err


# What it teaches


@pytest.mark.parametrize(
    ("argv", "lesson"),
    [
        (["--help"], "minigrad train digits"),
        (["train", "--help"], "minigrad train moons --hidden 8 --activation tanh --batch-size full"),
        (["verify", "--help"], "minigrad verify softplus"),
    ],
)
def test_help_teaches_by_example(capsys, argv, lesson):
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    assert end.value.code == 0
    assert lesson in capsys.readouterr().out


def examples():
    """Every command line that the help shows."""
    lines = "\n".join([cli.OVERVIEW, cli.train.TRAIN, cli.verify.VERIFY]).splitlines()
    commands = [line.strip().split("  ")[0] for line in lines if line.startswith("  minigrad ")]
    assert len(commands) > 8
    return sorted(set(commands))


@pytest.mark.parametrize("command", examples())
def test_the_examples_of_the_help_are_understood(command):
    assert callable(cli._parse(command.split()[1:]).command)


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"minigrad {mg.__version__}\n"


# What it refuses, in one line


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("", "required: COMMAND"),
        ("trian digits", "unknown command 'trian': did you mean 'train'?"),
        ("train", "required: DATASET"),
        ("train digit", "unknown data set 'digit': did you mean 'digits'?"),
        ("train iris --activation rleu", "--activation: unknown activation 'rleu': did you mean 'relu'?"),
        ("train iris --optimizer adams", "--optimizer: unknown optimizer 'adams': did you mean 'adam'?"),
        ("train iris --lr fast", "--lr: 'fast' is not a positive number such as 0.01"),
        ("train iris --lr 0", "--lr: '0' is not a positive number such as 0.01"),
        ("train iris --lr nan", "--lr: 'nan' is not a positive number such as 0.01"),
        ("train iris --lr inf", "--lr: 'inf' is not a positive number such as 0.01"),
        ("train iris --epochs 0", "--epochs: '0' is not a whole number from 1 up"),
        ("train iris --epochs 2.5", "--epochs: '2.5' is not a whole number from 1 up"),
        ("train iris --batch-size all", "--batch-size: 'all' is not a whole number from 1 up, or full"),
        ("train iris --seed -1", "--seed: '-1' is not a whole number from 0 up"),
        ("train iris --hidden 8,x", "--hidden: 'x' is not a list of widths such as 64 or 64,64, or none"),
        ("train iris --hiden 8", "unknown argument '--hiden': did you mean '--hidden'?"),
        ("train iris --epoch=8 --sed=1", "unknown argument '--sed': did you mean '--seed'?"),
        ("train iris now", "unknown argument 'now'"),
        ("verify --lr 1", "unknown argument '--lr'"),
        ("train iris --path somewhere", "--path is for mnist; iris needs none"),
        ("train mnist", "mnist needs --path FOLDER"),
        ("train mnist --path nowhere", "mnist: there is no folder nowhere; give the one that holds the IDX files"),
        ("train iris --out file/in/it", "cannot write into a folder file/in/it: Not a directory; --out"),
        ("train iris --out file", "cannot write into a folder file: File exists"),
        ("train iris --out full", "--out full is not empty, and no run overwrites another: give a new folder"),
        ("verify --quik", "unknown argument '--quik': did you mean '--quick'?"),
        ("verify tanhh", "unknown op or optimizer 'tanhh': did you mean 'tanh'?"),
    ],
)
def test_bad_input_is_refused_in_one_line(capsys, command, sentence):
    Path("file").touch()
    Path("full").mkdir()
    Path("full/of").touch()
    status, out, err = run(capsys, *command.split())
    assert status == 2
    assert out == ""
    assert err.startswith("minigrad: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert not Path("runs").exists()


def test_without_scikit_learn_the_pip_line_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    status, _, err = run(capsys, "train", "iris")
    assert status == 2
    assert err.endswith("pip install 'minigrad[data]'\n")


# train


def test_digits_the_main_job(capsys):
    status, out, _ = run(capsys, "train", "digits")
    assert status == 0
    assert "net 64-64-10, relu, 4810 parameters; adam, lr 0.003, batches of 32, 30 epochs, seed 0" in out
    folder = Path("runs/digits-1")
    files = "curves.png gradients.txt history.csv misread.png parameters.npz scaler.npz settings.json weights.png"
    assert sorted(file.name for file in folder.iterdir()) == files.split()

    table = (folder / "gradients.txt").read_text(encoding="utf-8")
    assert table in out
    for words in ("linear ", "relu ", "softmax", " proved, 0 agrees, 0 refuted, 0 undecided"):
        assert words in table

    # The accuracy again, from the files alone and in plain NumPy.
    parameters, scaler = np.load(folder / "parameters.npz"), np.load(folder / "scaler.npz")
    digits = mg.data.digits()
    x, y = mg.data.split(digits.x, digits.y, stratify=True).test
    hidden = (x - scaler["mean"]) / scaler["scale"] @ parameters["0.weight"].T + parameters["0.bias"]
    scores = np.maximum(hidden, 0) @ parameters["2.weight"].T + parameters["2.bias"]
    right = int((scores.argmax(axis=1) == y).sum())
    assert right / len(y) >= 0.97
    assert f"held-out accuracy: {right / len(y):.2%} ({right} of {len(y)} right)" in out

    with open(folder / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 31))
    assert float(rows[-1]["metric"]) == right / len(y)


@pytest.mark.parametrize("dataset", sorted(set(cli.train.RECIPES) - {"digits", "mnist"}))
def test_every_data_set_trains(capsys, dataset):
    status, out, _ = run(capsys, "train", dataset, "--epochs", 2)
    assert status == 0
    saved = {file.name for file in Path(f"runs/{dataset}-1").iterdir()}
    assert {"curves.png", "gradients.txt", "history.csv", "parameters.npz", "scaler.npz", "settings.json"} <= saved
    assert ("boundary.png" in saved) == (dataset in {"moons", "circles", "spirals", "xor"})
    assert ("held-out R2: " in out) == (dataset == "diabetes")


def test_r2_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics", reason="the oracle is scikit-learn")
    rng = np.random.default_rng(0)
    prediction, target = rng.normal(size=(2, 20, 1))
    assert cli.train._explained(prediction, target) == pytest.approx(metrics.r2_score(target, prediction))


def test_mnist_trains_in_float32_on_its_own_test_set(capsys, tmp_path):
    rng = np.random.default_rng(0)
    for prefix, n in (("train", 50), ("t10k", 20)):
        for kind, array in (("images-idx3", rng.integers(0, 256, (n, 4, 3))), ("labels-idx1", rng.integers(0, 10, n))):
            sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
            header = bytes([0, 0, 8, array.ndim]) + sizes
            (tmp_path / f"{prefix}-{kind}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    status, out, _ = run(capsys, "train", "mnist", "--path", tmp_path, "--epochs", 1, "--hidden", "5")
    assert status == 0
    assert "mnist: 50 samples to train on, 20 held out\nnet 12-5-10, " in out
    assert np.load("runs/mnist-1/parameters.npz")["0.weight"].dtype == np.float32


def test_the_options_are_followed(capsys):
    options = "--hidden 5,6 --activation tanh --optimizer nesterov --lr 0.05 --batch-size full --epochs 3 --seed 7"
    status, out, _ = run(capsys, "train", "iris", *options.split(), "--out", "a/b")
    assert status == 0
    assert "net 4-5-6-3, tanh, 82 parameters; nesterov, lr 0.05, full batch, 3 epochs, seed 7" in out
    with open("a/b/settings.json") as file:
        settings = json.load(file)
    assert settings == settings | {
        "dataset": "iris", "hidden": [5, 6], "activation": "tanh", "optimizer": "nesterov", "lr": 0.05,
        "batch_size": "full", "epochs": 3, "seed": 7, "compile": True,
    }  # fmt: skip
    assert not Path("runs").exists()


@pytest.mark.parametrize(("options", "compile"), [([], True), (["--compile"], True), (["--no-compile"], False)])
def test_whether_to_compile_is_passed_on(capsys, monkeypatch, options, compile):
    fit, seen = mg.fit, []

    def watched(*args, **kwargs):
        seen.append(kwargs["compile"])
        return fit(*args, **kwargs)

    monkeypatch.setattr(mg, "fit", watched)
    assert run(capsys, "train", "iris", "--epochs", 1, *options)[0] == 0
    assert seen == [compile]


@pytest.mark.parametrize("optimizer", cli.train.OPTIMIZERS)
def test_every_optimizer_learns_at_its_own_rate(capsys, optimizer):
    status, out, _ = run(capsys, "train", "wine", "--optimizer", optimizer)
    assert status == 0
    assert float(out.split("held-out accuracy: ")[1].split("%")[0]) > 90


@pytest.mark.parametrize("activation", cli.train.ACTIVATIONS)
def test_every_activation_trains_and_is_checked(capsys, activation):
    status, out, _ = run(capsys, "train", "iris", "--activation", activation, "--epochs", 1)
    assert status == 0
    assert f"net 4-16-3, {activation}, " in out


def test_without_hidden_layers_it_is_a_linear_model(capsys):
    status, out, _ = run(capsys, "train", "iris", "--hidden", "none", "--epochs", 1)
    assert status == 0
    assert "net 4-3, relu, 15 parameters" in out


def test_a_run_is_repeated_by_its_seed_and_overwrites_none(capsys):
    for seed in (1, 1, 2):
        assert run(capsys, "train", "iris", "--epochs", 1, "--seed", seed)[0] == 0
    first, again, other = (np.load(f"runs/iris-{number}/parameters.npz")["0.weight"] for number in (1, 2, 3))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_divergence_is_told_and_ends_with_status_1(capsys):
    status, out, _ = run(capsys, "train", "diabetes", "--optimizer", "sgd", "--lr", 1e6)
    assert status == 1
    assert "training: diverged: in epoch 1, step " in out
    assert Path("runs/diabetes-1/parameters.npz").exists()


def test_without_matplotlib_only_the_pictures_are_missing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, err = run(capsys, "train", "iris", "--epochs", 1)
    assert status == 0
    assert "no pictures: " in err
    assert "pip install 'minigrad[plot]'" in err
    assert {file.suffix for file in Path("runs/iris-1").iterdir()} == {".csv", ".json", ".npz", ".txt"}


def test_ctrl_c_keeps_what_was_reached(tmp_path):
    command = [sys.executable, "-m", "minigrad", "train", "moons", "--epochs", "1000000"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        progress = b""
        while b"loss=" not in progress:  # until the first epochs are through
            byte = process.stderr.read(1)
            assert byte, progress
            progress += byte
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert b"training: interrupted in epoch " in out
    assert b"Traceback" not in err
    assert "0.weight" in np.load(tmp_path / "runs/moons-1/parameters.npz")


def test_ctrl_c_before_there_is_anything_to_keep(capsys, monkeypatch):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.train, "_prepare", interrupted)
    assert run(capsys, "train", "iris") == (130, "", "minigrad: interrupted\n")


# verify


def test_verify_prints_the_tables_of_what_is_named(capsys):
    status, out, _ = run(capsys, "verify", "tanh", "momentum", "exp")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines() if "proved  proved" in line] == ["tanh", "exp"]
    assert [line.split()[0] for line in out.splitlines() if "float" in line and "agrees" in line] == ["momentum"] * 2
    assert max(map(len, out.splitlines())) <= 120


def test_verify_quick_only_proves_the_gradient(capsys):
    status, out, _ = run(capsys, "verify", "--quick", "tanh")
    assert status == 0
    assert "g*(1 - tanh(x)**2)" in out
    assert "ulp" not in out
    assert "second" not in out


def test_verify_takes_everything_by_default(capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(mg.verify, "rules", lambda ops, **how: asked.append((ops, how)) or RIGHT)
    monkeypatch.setattr(mg.verify, "optimizer", lambda names: asked.append(names) or RIGHT)
    everything = sorted(RULES)
    quick = {"order": 1, "numbers": False}
    for command, wanted in {
        "verify": [(None, {"progress": True}), everything],
        "verify all": [(None, {"progress": True})],
        "verify all adam": [(None, {"progress": True}), ["adam"]],
        "verify --quick": [(None, quick), everything],
        "verify --optimizers": [everything],
        "verify --optimizers --quick exp": [(["exp"], quick), everything],
        "verify adam": [["adam"]],
    }.items():
        asked.clear()
        assert run(capsys, *command.split())[0] == 0
        assert [sorted(x) if isinstance(x, list) else x for x in asked] == wanted, command


@pytest.mark.parametrize(("rules", "optimizer"), [(False, True), (True, False), (False, False)])
def test_verify_ends_with_status_1_where_something_is_refuted(capsys, monkeypatch, rules, optimizer):
    monkeypatch.setattr(mg.verify, "rules", lambda ops, **how: RIGHT if rules else REFUTED)
    monkeypatch.setattr(mg.verify, "optimizer", lambda names: RIGHT if optimizer else REFUTED)
    assert run(capsys, "verify")[0] == 1


class RIGHT:
    """A report in which all is well."""

    ok = True


class REFUTED:
    """A report of a rule that is wrong."""

    ok = False


def test_it_is_a_program():
    refused = subprocess.run([sys.executable, "-m", "minigrad", "train", "iris", "--lr", "x"], capture_output=True)
    assert (refused.returncode, refused.stdout) == (2, b"")
    script = Path(sys.executable).with_name("minigrad")
    version = subprocess.run([script, "--version"], capture_output=True, text=True)
    assert version.stdout == f"minigrad {mg.__version__}\n"
