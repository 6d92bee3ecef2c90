"""`minigrad bench`: training steps are timed beside those of other libraries."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from minigrad.bench import FLOOR, NETS, PEERS, SCALES, Row, measured, missing
from minigrad.names import known

from .options import Refused, add_command, count, one_of, refusing

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
GROWING = ("minigrad-run", "torch", "jax-scan")  # with --scaling, unless --peer says otherwise

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


def add(commands: Any) -> None:
    nets = "".join(f"  {name:8} {net.shape}, {net.optimizer}, batch {net.batch}\n" for name, net in NETS.items())
    summary, description = "time training steps beside other libraries", BENCH.format(nets=nets)
    parser = add_command(commands, "bench", bench, summary, description)
    peers = [name for name in PEERS if name != FLOOR]
    parser.add_argument("--net", nargs="+", action="extend", metavar="NET", type=one_of("net", NETS),
                        help="some of the nets above (default: all)")  # fmt: skip
    parser.add_argument("--peer", nargs="+", action="extend", metavar="PEER", type=one_of("peer", peers),
                        help="some of the peers above (default: all that are installed)")  # fmt: skip
    parser.add_argument("--scaling", metavar="MEASURE", type=one_of("measure", SCALES),
                        help=f"{' '.join(SCALES)}: an MLP that grows, in place of the nets")  # fmt: skip
    parser.add_argument("--rounds", type=count, help="turns that each peer gets (default: 5)")
    parser.add_argument("--quick", action="store_true", help="2 short rounds, and no memory: a first impression")
    parser.add_argument("--threads", type=count,
                        help="for all (default: peers have 1 at small nets, else all; ours as it likes)")  # fmt: skip
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="print JSON: all that was measured, each round of it")
    formats.add_argument("--csv", action="store_true", help="print comma-separated values")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the times, as PNG, PDF or SVG")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into a Markdown page")


def bench(args: argparse.Namespace) -> int:
    """Measure, and show a table; the status is 1 where peers did not do the same work."""
    from minigrad.bench import report

    if args.scaling and args.net:
        raise Refused("--net chooses among the six nets, and --scaling has a net of its own: give one of them")
    if args.plot:
        refusing(_check_picture, args.plot)
    page = refusing(args.write.read_text, encoding="utf-8") if args.write else ""
    what = args.scaling or "nets"
    if args.write:
        refusing(report.filled, page, what, [])

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
    file = found[refusing(known, "benchmark", args.name, found)]
    return subprocess.call([sys.executable, str(file), *args.arguments])
