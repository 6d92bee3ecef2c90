"""`minigrad verify`: gradient rules and optimizers are checked."""

from __future__ import annotations

import argparse
from typing import Any

import minigrad as mg
from minigrad.names import known

from .options import add_command, refusing

QUICK = {"order": 1, "numbers": False}  # of `mg.verify.rules`

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


def add(commands: Any) -> None:
    parser = add_command(commands, "verify", verify, "check gradient rules against SymPy", VERIFY)
    parser.add_argument("names", metavar="NAME", nargs="*",
                        help="ops and optimizers, by name; all is every op (default: everything)")  # fmt: skip
    parser.add_argument("--optimizers", action="store_true", help="all optimizers (and no op, unless named)")
    parser.add_argument("--quick", action="store_true", help="of the rules only the gradients, and these only proved")


def verify(args: argparse.Namespace) -> int:
    """Print what was found of the named ops and optimizers; the status is 1 where something is refuted."""
    from minigrad.verify.optimizer import SELECTED as optimizers

    names = args.names or ([] if args.optimizers else ["all", *optimizers])
    for name in names:
        refusing(known, "op or optimizer", name, ["all", *mg.ops.CARDS, *optimizers])
    ops = None if "all" in names else [name for name in names if name not in optimizers]
    rules = list(optimizers) if args.optimizers else [name for name in names if name in optimizers]
    tables = []
    if ops != []:
        tables.append(refusing(mg.verify.rules, ops, **(QUICK if args.quick else {"progress": True})))
        print(tables[-1])
    if rules:
        tables.append(mg.verify.optimizer(rules))
        print(*[""] * (len(tables) - 1), tables[-1], sep="\n")
    return 0 if all(report.ok for report in tables) else 1
