"""The command line: `minigrad train` trains a net and checks its gradients, `minigrad verify` is that check alone."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

import minigrad as mg
from minigrad.names import known

from . import bench, train, verify
from .options import Refused, refusing

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


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message} (see `{self.prog} --help`)")


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser("minigrad", description=OVERVIEW, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"minigrad {mg.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (train, verify, bench):
        command.add(commands)
    if argv[:1] == ["bench"] and argv[1:] and not argv[1].startswith("-"):  # its options are the script's own
        return argparse.Namespace(command=bench.script, name=argv[1], arguments=argv[2:])
    if argv and not argv[0].startswith("-"):  # argparse does not name the nearest
        refusing(known, "command", argv[0], commands.choices)
    args, surplus = parser.parse_known_args(argv)
    if surplus:
        options = [f"--{name.replace('_', '-')}" for name in vars(args) if name not in ("command", "dataset", "names")]
        refusing(known, "argument", surplus[0].split("=")[0], [*options, "--help"])
    return args
