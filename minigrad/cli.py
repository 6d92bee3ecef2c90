"""The command line: `minigrad train` trains a net and checks its gradients, `minigrad verify` is that check alone."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

import minigrad as mg
from minigrad import data
from minigrad.bench import FLOOR, NETS, PEERS, SCALES, Row, measured, missing
from minigrad.data import Dataset
from minigrad.names import known
from minigrad.train import accuracy


class Refused(Exception):
    """What the user asked for cannot be done; the message says what would be right."""


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

QUICK = {"order": 1, "numbers": False}  # of `mg.verify.rules`

OVERVIEW = """\
Toy networks trained by backpropagation that proves its own gradients.

  minigrad train digits               train 64-64-10 on handwritten digits, check every gradient used, save pictures
  minigrad train spirals --hidden 64,64 --activation tanh
  minigrad train iris --optimizer sgd --batch-size full       batch gradient descent
  minigrad train iris --optimizer sgd --batch-size 1 --lr 0.01      stochastic gradient descent
  minigrad verify                     check the gradient rule of every op against SymPy, and the optimizers
  minigrad verify tanh matmul         ... of these two ops
  minigrad bench                      the speed of six small nets, beside every other library that is installed

`minigrad train --help` lists the data sets and all options.
"""

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

VERIFY = """\
Check gradient rules and optimizers, and show what was found in a table.

Rules: each op's own rule runs on symbols, and the result is compared with what SymPy derives from the op's formula,
for the gradient and for the gradient of the gradient. The verdict is "proved" where the difference simplifies to zero,
"agrees" where it is zero to 50 digits wherever it was tried, "refuted" with numbers that show it. Then op and rule run
in floats of every size, and their errors are given in ulp, the distance of neighbouring floats: at usual inputs / at
all.

Optimizers: steps of the compiled code are compared with the formula in exact arithmetic.

Functions of yours are checked from Python: by mg.verify.gradient, mg.verify.claim and mg.verify.compiled.

All of it takes about a minute. Ends with status 1 where something is refuted, or can be neither proved nor refuted.

examples:
  minigrad verify
  minigrad verify softplus
  minigrad verify matmul adam
  minigrad verify --quick
  minigrad verify --optimizers
"""

BENCH = """\
Time a training step (forward, backward, optimizer) of six small nets, by minigrad and by every other library here.

All do the same work in float32: the same data, initial parameters, formulas and optimizer. That is checked: a peer
whose first losses differ from those of the others is marked. Each has a process of its own, and they take turns, so
that all see the same machine. A table shows

  us/step   microseconds a step: the best of a round, and of the rounds the median
  ratio     to the fastest of the other libraries, in the same rounds: below 1, nobody else is as fast
  first s   seconds that the first call takes besides its step, for tracing and compiling, with empty caches
  kB        memory that training needs: parameters, optimizer's state, batch and activations (not the libraries)

nets:
{nets}
peers:
  minigrad                  eager: NumPy, op by op
  minigrad-step             mg.compile_step, called from Python for each step
  minigrad-run              its loop over a data set of 20 shuffled batches, in one call
  torch torch-compile       PyTorch eager with fused optimizers, and compiled
  jax jax-scan              JAX jit with a call for each step, and with lax.scan over steps
  autograd pytensor         HIPS autograd on NumPy; PyTensor with shared variables

With --scaling the net is an MLP that grows in batch (1 to 4096), width (8 to 1024) or depth (1 to 64 hidden layers),
beside the floor that its matrix products alone set.

examples:
  minigrad bench
  minigrad bench --net moons digits --peer minigrad-run jax-scan
  minigrad bench --quick --json
  minigrad bench --plot speed.png
  minigrad bench --scaling depth --plot depth.png

In a checkout, two more benchmarks, which know --help:
  minigrad bench optimizers           the step of each optimizer, beside torch's and the memory's bandwidth
  minigrad bench verify               wrong gradients, and which checkers catch them
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command line, given without the program's name, and return its exit status.

    It is 0, or 1 where a gradient was refuted or the training diverged, 2 for a request that cannot be carried out, and
    130 after Ctrl-C.
    """
    try:
        args = _parse(sys.argv[1:] if argv is None else argv)
        return args.command(args)
    except Refused as error:
        print(f"minigrad: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"minigrad: out of memory ({error}); try a narrower --hidden or a smaller --batch-size", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minigrad: interrupted", file=sys.stderr)
        return 130


# The options


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message} (see `{self.prog} --help`)")


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser("minigrad", description=OVERVIEW, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"minigrad {mg.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_train(commands)
    _add_verify(commands)
    _add_bench(commands)
    if argv[:1] == ["bench"] and argv[1:] and not argv[1].startswith("-"):  # its options are the script's own
        return argparse.Namespace(command=script, name=argv[1], arguments=argv[2:])
    if argv and not argv[0].startswith("-"):  # argparse does not name the nearest
        _refusing(known, "command", argv[0], commands.choices)
    args, surplus = parser.parse_known_args(argv)
    if surplus:
        options = [f"--{name.replace('_', '-')}" for name in vars(args) if name not in ("command", "dataset", "names")]
        _refusing(known, "argument", surplus[0].split("=")[0], [*options, "--help"])
    return args


def _add_train(commands: Any) -> None:
    parser = _add_command(commands, "train", train, "train a net, check its gradients, save what it learnt", TRAIN)
    default = "(default: %(default)s)"
    parser.add_argument("dataset", metavar="DATASET", type=_one_of("data set", RECIPES), help="one of those below")
    parser.add_argument("--path", type=Path, help="the folder of the IDX files, for mnist")
    parser.add_argument("--hidden", type=_widths, help="widths of the hidden layers, as 64,64; or none")
    parser.add_argument("--activation", type=_one_of("activation", ACTIVATIONS), default="relu",
                        help=f"{' '.join(ACTIVATIONS)} {default}")  # fmt: skip
    parser.add_argument("--optimizer", type=_one_of("optimizer", OPTIMIZERS), default="adam",
                        help=f"{' '.join(OPTIMIZERS)} {default}")  # fmt: skip
    parser.add_argument("--lr", type=_positive, help="learning rate (default: one that suits the optimizer)")
    parser.add_argument("--batch-size", type=_batch_size, help="samples in a step: a number, 1 for stochastic, or full")
    parser.add_argument("--epochs", type=_count, help="passes over the data (default: enough for the data set)")
    parser.add_argument("--seed", type=_seed, default=0, help=f"of the first weights and the shuffling {default}")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True,
                        help="run epochs as native code where that pays, or not; equal to rounding")  # fmt: skip
    parser.add_argument("--out", type=Path, help="the folder to make (default: the next runs/DATASET-NUMBER)")


def _add_verify(commands: Any) -> None:
    parser = _add_command(commands, "verify", verify, "check gradient rules against SymPy", VERIFY)
    parser.add_argument("names", metavar="NAME", nargs="*",
                        help="ops and optimizers, by name; all is every op (default: everything)")  # fmt: skip
    parser.add_argument("--optimizers", action="store_true", help="all optimizers (and no op, unless named)")
    parser.add_argument("--quick", action="store_true", help="of the rules only the gradients, and these only proved")


def _add_bench(commands: Any) -> None:
    nets = "".join(f"  {name:8} {net.shape}, {net.optimizer}, batch {net.batch}\n" for name, net in NETS.items())
    summary, description = "time training steps beside other libraries", BENCH.format(nets=nets)
    parser = _add_command(commands, "bench", bench, summary, description)
    peers = [name for name in PEERS if name != FLOOR]
    parser.add_argument("--net", nargs="+", action="extend", metavar="NET", type=_one_of("net", NETS),
                        help="some of the nets above (default: all)")  # fmt: skip
    parser.add_argument("--peer", nargs="+", action="extend", metavar="PEER", type=_one_of("peer", peers),
                        help="some of the peers above (default: all that are installed)")  # fmt: skip
    parser.add_argument("--scaling", metavar="MEASURE", type=_one_of("measure", SCALES),
                        help=f"{' '.join(SCALES)}: an MLP that grows, in place of the nets")  # fmt: skip
    parser.add_argument("--rounds", type=_count, help="turns that each peer gets (default: 5)")
    parser.add_argument("--quick", action="store_true", help="2 short rounds, and no memory: a first impression")
    parser.add_argument("--threads", type=_count,
                        help="for all (default: peers have 1 at small nets, else all; ours as it likes)")  # fmt: skip
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="print JSON: all that was measured, each round of it")
    formats.add_argument("--csv", action="store_true", help="print comma-separated values")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the times, as PNG, PDF or SVG")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into a Markdown page")


def _add_command(commands: Any, name: str, run: Callable[..., int], summary: str, description: str) -> Any:
    parser = commands.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(command=run)
    return parser


def _one_of(what: str, choices: Iterable[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        try:
            return known(what, text, choices)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def _number(kind: Callable[[str], Any], fits: Callable[[Any], bool], wanted: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return parse


_positive = _number(float, lambda x: 0 < x < math.inf, "a positive number such as 0.01")
_count = _number(int, lambda n: n > 0, "a whole number from 1 up")
_seed = _number(int, lambda n: n >= 0, "a whole number from 0 up")
_width = _number(int, lambda n: n > 0, "a list of widths such as 64 or 64,64, or none")


def _batch_size(text: str) -> int | str:
    return text if text == "full" else _number(int, lambda n: n > 0, "a whole number from 1 up, or full")(text)


def _widths(text: str) -> tuple[int, ...]:
    return () if text == "none" else tuple(map(_width, text.split(",")))


def _refusing(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The function's result; what it says against its input is the user's to read."""
    try:
        return function(*args, **kwargs)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        raise Refused(error) from error


# verify


def verify(args: argparse.Namespace) -> int:
    """Print what was found of the named ops and optimizers; the status is 1 where something is refuted."""
    from minigrad.verify.optimizer import SELECTED as optimizers

    names = args.names or ([] if args.optimizers else ["all", *optimizers])
    for name in names:
        _refusing(known, "op or optimizer", name, ["all", *mg.ops.CARDS, *optimizers])
    ops = None if "all" in names else [name for name in names if name not in optimizers]
    rules = list(optimizers) if args.optimizers else [name for name in names if name in optimizers]
    tables = []
    if ops != []:
        tables.append(_refusing(mg.verify.rules, ops, **(QUICK if args.quick else {"progress": True})))
        print(tables[-1])
    if rules:
        tables.append(mg.verify.optimizer(rules))
        print(*[""] * (len(tables) - 1), tables[-1], sep="\n")
    return 0 if all(report.ok for report in tables) else 1


# bench

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
GROWING = ("minigrad-run", "torch", "jax-scan")  # with --scaling, unless --peer says otherwise


def bench(args: argparse.Namespace) -> int:
    """Measure, and show a table; the status is 1 where peers did not do the same work."""
    from minigrad.bench import report

    if args.scaling and args.net:
        raise Refused("--net chooses among the six nets, and --scaling has a net of its own: give one of them")
    if args.plot:
        _refusing(_check_picture, args.plot)
    page = _refusing(args.write.read_text, encoding="utf-8") if args.write else ""
    what = args.scaling or "nets"
    if args.write:
        _refusing(report.filled, page, what, [])

    rows: list[Row] = []
    as_table = not (args.json or args.csv)
    if as_table:
        print(report.conditions())
        print(report.HEAD)
    for block in _measured(args):
        rows += block
        if as_table:
            print(*report.lines(block), sep="\n", flush=True)
    if args.json or args.csv:
        print(report.as_json(rows) if args.json else report.as_csv(rows))
    elif args.scaling:
        print(f"\n{report.text(rows)}")
    if args.plot:
        (report.curves(rows, what) if args.scaling else report.dots(rows)).savefig(args.plot, dpi=150)
    if args.write:
        args.write.write_text(report.filled(page, what, rows), encoding="utf-8")
    return 1 if any(row.agrees is False for row in rows) else 0


def _measured(args: argparse.Namespace) -> Iterator[list[Row]]:
    """What the options ask for, a net at a time."""
    usual = GROWING if args.scaling else [name for name in PEERS if name != FLOOR]
    peers = []
    for peer in dict.fromkeys(args.peer or usual):
        if library := missing(peer):
            print(f"{peer} is left out: {library} is not installed (pip install {library})", file=sys.stderr)
        else:
            peers.append(peer)
    if not peers:
        raise Refused("nobody is left to measure")
    specs: list[dict[str, Any]] = [{"net": net} for net in dict.fromkeys(args.net or NETS)]
    if args.scaling:
        specs, peers = [{args.scaling: size} for size in SCALES[args.scaling]], [*peers, FLOOR]
    seen = sys.stderr.isatty()
    return measured(
        specs, peers, rounds=args.rounds or (2 if args.quick else 5), seconds=0.05 if args.quick else 0.3,
        threads=args.threads, memory=not args.quick,
        say=lambda text: print(f"\r{text:60}\r", end="", file=sys.stderr, flush=True) if seen else None,
    )  # fmt: skip


def _check_picture(file: Path) -> None:
    """Say before measuring what would go wrong after it."""
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError("--plot needs Matplotlib: pip install 'minigrad[plot]'")
    if file.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ValueError(f"--plot {file}: its name must end in .png, .pdf or .svg")
    if not file.parent.is_dir():
        raise ValueError(f"--plot {file}: there is no folder {file.parent}")


def script(args: argparse.Namespace) -> int:
    """Run a benchmark of the checkout in a process of its own, and return its status."""
    found = {file.stem: file for file in sorted(BENCHMARKS.glob("*.py"))}
    if not found:
        raise Refused(
            f"no benchmarks in {BENCHMARKS}: they come with the source, not with an installed package; "
            "`minigrad bench` without a name is there always"
        )
    file = found[_refusing(known, "benchmark", args.name, found)]
    return subprocess.call([sys.executable, str(file), *args.arguments])


# train


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
    problem = _refusing(_prepare, args)
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
