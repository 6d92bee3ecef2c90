"""`minigrad train`: a net is trained on a data set, and every gradient that it used is checked."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import data
from minigrad.data import Dataset
from minigrad.train import accuracy

from .options import Refused, add_command, batch_size, count, one_of, positive, refusing, seed, widths
from .verify import QUICK


class Recipe(NamedTuple):
    """How a data set is trained unless the options say otherwise."""

    load: Callable[..., Dataset]
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int


RECIPES = {
    "digits":        Recipe(data.digits, (64,), epochs=30, batch_size=32),
    "iris":          Recipe(data.iris, (16,), epochs=60, batch_size=16),
    "wine":          Recipe(data.wine, (16,), epochs=40, batch_size=16),
    "breast_cancer": Recipe(data.breast_cancer, (16,), epochs=30, batch_size=32),
    "diabetes":      Recipe(data.diabetes, (16,), epochs=30, batch_size=32),
    "moons":         Recipe(data.moons, (16, 16), epochs=60, batch_size=32),
    "circles":       Recipe(data.circles, (16, 16), epochs=60, batch_size=32),
    "spirals":       Recipe(data.spirals, (32, 32), epochs=150, batch_size=32),
    "xor":           Recipe(lambda: data.xor(400, noise=0.15), (8,), epochs=60, batch_size=32),
    "mnist":         Recipe(data.mnist, (128, 128), epochs=10, batch_size=128),
}  # fmt: skip

ACTIVATIONS = {
    "relu": "ReLU", "leaky_relu": "LeakyReLU", "elu": "ELU", "gelu": "GELU", "silu": "SiLU", "sigmoid": "Sigmoid",
    "tanh": "Tanh", "softplus": "Softplus",
}  # fmt: skip

# The class of `mg.optim`, its arguments, and a learning rate that suits the data sets above.
OPTIMIZERS: dict[str, tuple[str, dict[str, Any], float]] = {
    "sgd":      ("SGD", {}, 0.1),
    "momentum": ("SGD", {"momentum": 0.9}, 0.02),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}, 0.02),
    "adagrad":  ("Adagrad", {}, 0.03),
    "adadelta": ("Adadelta", {}, 1.0),
    "rmsprop":  ("RMSprop", {}, 0.002),
    "adam":     ("Adam", {}, 0.003),
}  # fmt: skip

TRAIN = """\
Train a fully connected net on a data set, check the gradient rule of every op that it used against SymPy's derivative,
and leave the parameters, the history and pictures in a new folder, runs/DATASET-1, runs/DATASET-2 and so on.

A fifth of the data is held out, always the same fifth, so that runs can be compared; MNIST has its own test set.
Features are brought to mean 0 and standard deviation 1 (pixels: mean 0 each, one scale for all).

data sets:
  digits breast_cancer iris wine    real, to be classified (they come with scikit-learn)
  diabetes                          real, a regression
  moons circles spirals xor         made, in the plane: leaves a picture of the decision boundary
  mnist                             from the IDX files in the folder --path

examples:
  minigrad train digits
  minigrad train digits --optimizer sgd --lr 0.1 --epochs 100 --seed 1
  minigrad train moons --hidden 8 --activation tanh --batch-size full --epochs 500
  minigrad train mnist --path ~/mnist --hidden 300,100 --out runs/big
"""


def add(commands: Any) -> None:
    parser = add_command(commands, "train", train, "train a net, check its gradients, save what it learnt", TRAIN)
    default = "(default: %(default)s)"
    parser.add_argument("dataset", metavar="DATASET", type=one_of("data set", RECIPES), help="one of those below")
    parser.add_argument("--path", type=Path, help="the folder of the IDX files, for mnist")
    parser.add_argument("--hidden", type=widths, help="widths of the hidden layers, as 64,64; or none")
    parser.add_argument("--activation", type=one_of("activation", ACTIVATIONS), default="relu",
                        help=f"{' '.join(ACTIVATIONS)} {default}")  # fmt: skip
    parser.add_argument("--optimizer", type=one_of("optimizer", OPTIMIZERS), default="adam",
                        help=f"{' '.join(OPTIMIZERS)} {default}")  # fmt: skip
    parser.add_argument("--lr", type=positive, help="learning rate (default: one that suits the optimizer)")
    parser.add_argument("--batch-size", type=batch_size, help="samples in a step: a number, 1 for stochastic, or full")
    parser.add_argument("--epochs", type=count, help="passes over the data (default: enough for the data set)")
    parser.add_argument("--seed", type=seed, default=0, help=f"of the first weights and the shuffling {default}")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True,
                        help="run epochs as native code where that pays, or not; equal to rounding")  # fmt: skip
    parser.add_argument("--out", type=Path, help="the folder to make (default: the next runs/DATASET-NUMBER)")


class Problem(NamedTuple):
    """A data set ready for training: split and scaled, and how success on it is measured."""

    dataset: Dataset
    raw: data.Split
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    scaler: data.Scaler
    outputs: int
    loss: Callable[[Any, Any], mg.Tensor]
    metric: Callable[[np.ndarray, np.ndarray], float]
    measure: str


def train(args: argparse.Namespace) -> int:
    """Train a net as the options say, check the gradients that it used, and save everything in a new folder."""
    problem = refusing(_prepare, args)
    settings = _settings(args)
    folder = _new_folder(args.out, args.dataset, settings)
    mg.random.seed(args.seed)
    model = _net(problem, settings)
    print(_describe(problem, model, settings))

    history = _fit(model, problem, settings)
    result = _result(model, problem, history)
    saved = _save(folder, model, problem, history, settings | result)
    for key, value in result.items():
        print(f"{key}: {value}")
    print(f"saved in {folder}: {' '.join(saved)}")
    if history.stopped.startswith("interrupted"):
        return 130
    if history.stopped.startswith("diverged"):
        return 1

    x, y = problem.train[0][:2], problem.train[1][:2]
    report = mg.verify.rules(mg.verify.ops_of(problem.loss(model(mg.tensor(x)), y)), **QUICK)
    (folder / "gradients.txt").write_text(f"{report}\n", encoding="utf-8")
    print(f"\nThe gradient of each op of this net, by our rule and by SymPy (also in {folder / 'gradients.txt'}):\n")
    print(report)
    return 0 if report.ok else 1


def _prepare(args: argparse.Namespace) -> Problem:
    dataset, raw = _load(args.dataset, args.path)
    x, x_test, scaler = data.standardise(raw.train[0], raw.test[0], one_scale=dataset.image is not None)
    y, y_test = raw.train[1], raw.test[1]
    if dataset.classes:
        classes = len(dataset.classes)
        return Problem(dataset, raw, (x, y), (x_test, y_test), scaler, classes, mg.nn.functional.cross_entropy,
                       accuracy, "accuracy")  # fmt: skip
    y, y_test, _ = data.standardise(y, y_test)
    return Problem(dataset, raw, (x, y), (x_test, y_test), scaler, y.shape[1], mg.nn.functional.mse_loss,
                   _explained, "R2")  # fmt: skip


def _load(name: str, path: Path | None) -> tuple[Dataset, data.Split]:
    load = RECIPES[name].load
    if name == "mnist":
        if path is None:
            raise Refused("mnist needs --path FOLDER, the folder that holds its IDX files")
        whole, test = (load(path, part, np.float32) for part in ("train", "test"))
        return whole, data.Split((whole.x, whole.y), (test.x, test.y))
    if path is not None:
        raise Refused(f"--path is for mnist; {name} needs none")
    dataset = load()
    return dataset, data.split(dataset.x, dataset.y, stratify=bool(dataset.classes))


def _explained(prediction: np.ndarray, target: np.ndarray) -> float:
    """R2, the share of the target's variance that the prediction explains."""
    return float(1 - np.sum((prediction - target) ** 2) / np.sum((target - target.mean(axis=0)) ** 2))


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """Every option, with the value it takes for this data set and optimizer where it was not given."""
    recipe = RECIPES[args.dataset]
    defaults = {
        "hidden": recipe.hidden,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "lr": OPTIMIZERS[args.optimizer][2],
    }
    given = {name: getattr(args, name) for name in ("dataset", "activation", "optimizer", "seed", "compile")}
    return given | {key: value if (own := getattr(args, key)) is None else own for key, value in defaults.items()}


def _new_folder(out: Path | None, dataset: str, settings: dict[str, Any]) -> Path:
    """A folder of its own for this run, with the settings in it: `out`, or the next free runs/DATASET-NUMBER."""
    if out is None:
        numbered = (Path("runs") / f"{dataset}-{number}" for number in itertools.count(1))
        out = next(folder for folder in numbered if not folder.exists())
    try:
        out.mkdir(parents=True, exist_ok=True)
        empty = not any(out.iterdir())
        if empty:
            _save_settings(out, settings)
    except OSError as error:
        raise Refused(f"cannot write into a folder {out}: {error.strerror}; --out FOLDER takes another") from error
    if not empty:
        raise Refused(f"--out {out} is not empty, and no run overwrites another: give a new folder")
    return out


def _save_settings(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "settings.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _net(problem: Problem, settings: dict[str, Any]) -> mg.nn.Sequential:
    x = problem.train[0]
    widths = (x.shape[1], *settings["hidden"], problem.outputs)
    activation = getattr(mg.nn, ACTIVATIONS[settings["activation"]])
    layers = [layer for pair in itertools.pairwise(widths) for layer in (mg.nn.Linear(*pair), activation())]
    return mg.nn.Sequential(*layers[:-1]).astype(x.dtype)


def _describe(problem: Problem, model: mg.nn.Sequential, settings: dict[str, Any]) -> str:
    widths = "-".join(map(str, (problem.train[0].shape[1], *settings["hidden"], problem.outputs)))
    size = sum(parameter.size for parameter in model.parameters())
    batch = "full batch" if settings["batch_size"] == "full" else f"batches of {settings['batch_size']}"
    return (
        f"{settings['dataset']}: {len(problem.train[0])} samples to train on, {len(problem.test[0])} held out\n"
        f"net {widths}, {settings['activation']}, {size} parameters; {settings['optimizer']}, lr {settings['lr']:g}, "
        f"{batch}, {settings['epochs']} epochs, seed {settings['seed']}"
    )


def _fit(model: mg.nn.Sequential, problem: Problem, settings: dict[str, Any]) -> mg.History:
    name, arguments, _ = OPTIMIZERS[settings["optimizer"]]
    batch = settings["batch_size"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "diverged", mg.MinigradWarning)  # which is part of the result
        return mg.fit(
            model,
            problem.loss,
            problem.train,
            getattr(mg.optim, name)(model.parameters(), lr=settings["lr"], **arguments),
            epochs=settings["epochs"],
            batch_size=None if batch == "full" else batch,
            validation=problem.test,
            metric=problem.metric,
            seed=settings["seed"],
            compile=settings["compile"],
        )


def _predict(model: mg.nn.Sequential, x: np.ndarray) -> np.ndarray:
    with mg.no_grad():
        return model(mg.tensor(x)).numpy()


def _result(model: mg.nn.Sequential, problem: Problem, history: mg.History) -> dict[str, str]:
    """What was reached, in words."""
    x, y = problem.test
    with np.errstate(all="ignore"):  # after a divergence there is nothing to measure
        value = problem.metric(_predict(model, x), y)
    shown = f"{value:.3f}"
    if problem.measure == "accuracy":
        shown = f"{value:.2%} ({round(value * len(y))} of {len(y)} right)"
    return {f"held-out {problem.measure}": shown, "training": history.stopped}


def _save(
    folder: Path, model: mg.nn.Sequential, problem: Problem, history: mg.History, settings: dict[str, Any]
) -> list[str]:
    """Fill the folder of a run; returns the names of the files."""
    _save_settings(folder, settings)
    parameters: dict[str, Any] = model.state_dict()
    np.savez(folder / "parameters.npz", **parameters)
    np.savez(folder / "scaler.npz", **problem.scaler._asdict())
    history.save_csv(folder / "history.csv")
    try:
        _draw(folder, model, problem, history)
    except ModuleNotFoundError as error:
        print(f"no pictures: {error}", file=sys.stderr)
    return sorted(file.name for file in folder.iterdir())


def _draw(folder: Path, model: mg.nn.Sequential, problem: Problem, history: mg.History) -> None:
    curves = history.plot()  # where Matplotlib is missing, this says what to install
    for axis in curves.axes:
        if axis.get_ylabel() == "metric":
            axis.set_ylabel(f"held-out {problem.measure}")
    curves.savefig(folder / "curves.png")

    from matplotlib import pyplot

    from minigrad import pictures

    pyplot.close(curves)
    dataset, (x, y) = problem.dataset, problem.raw.test
    if dataset.image is not None:
        weights = model.state_dict()["0.weight"][:64]
        figure = pictures.images(weights, dataset.image, diverging=True)
        figure.suptitle("first-layer weights, a unit each: red raises it, blue lowers it")
        figure.savefig(folder / "weights.png", dpi=150)
        read = _predict(model, problem.test[0]).argmax(axis=1)
        wrong = np.flatnonzero(read != y)[:32]
        titles = [f"{dataset.classes[y[i]]} read as {dataset.classes[read[i]]}" for i in wrong]
        if titles:
            pictures.images(x[wrong], dataset.image, titles).savefig(folder / "misread.png", dpi=150)
    elif x.shape[1] == 2:
        plane = pictures.boundary(lambda points: _predict(model, problem.scaler(points)), x, y, dataset.classes)
        plane.savefig(folder / "boundary.png", dpi=150)
