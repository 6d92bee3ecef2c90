"""The zoo of wrong gradients, before minigrad's verify and the checkers of PyTorch, Autograd and JAX.

    python benchmarks/verify.py [--only NAME ...] [--write docs/verify/zoo.md]

Each checker looks at the right and the wrong twin of every specimen, in a process of its own. The table says which
wrong gradients it caught, and which right ones it accuses. --write puts the tables into the page, between its marks.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from zoo import ZOO, Specimen
from zoo.checkers import ACCEPTED, CHECKERS, MENDED, RAISED, REFUTED, UNDECIDED, Outcome

Twins = dict[str, Outcome]  # "right" and "wrong"
Found = dict[str, dict[str, Twins]]  # by checker and specimen

LIMIT = 1800  # seconds for a checker
CAUGHT, MISSED, ACCUSED = "caught", "missed", "right one accused"
TITLES = {
    "minigrad": "mg.verify", "numbers": "by numbers", "torch": "torch", "autograd": "autograd",
    "jax": "jax",
}  # fmt: skip
MARK = re.compile(r"(<!-- zoo (?P<what>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


# ---- running -------------------------------------------------------------------------------------------------------


def run_here(checker: str, names: Iterable[str]) -> None:
    """Print what one checker says, a line of JSON for each specimen."""
    for name in names:
        found = {which: CHECKERS[checker](ZOO[name], which) for which in ("right", "wrong")}
        print(json.dumps([name, {which: dataclasses.asdict(outcome) for which, outcome in found.items()}]), flush=True)


def run_apart(checker: str, names: list[str]) -> tuple[dict[str, Twins], str]:
    """What one checker says, asked in a process of its own; and why it says nothing, where it does not."""
    command = [sys.executable, __file__, "--checker", checker, "--only", *names]
    started = time.perf_counter()
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
        out, why = result.stdout, result.stderr.strip().splitlines()[-1:] if result.returncode else []
    except subprocess.TimeoutExpired as error:
        out, why = (error.stdout or b"").decode(), [f"stopped after {LIMIT} s"]
    print(f"{checker}: {time.perf_counter() - started:.0f} s {' '.join(why)}", file=sys.stderr)
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("[")]
    found = {name: {which: Outcome(**said) for which, said in twins.items()} for name, twins in lines}
    return found, " ".join(why)


def run(names: list[str], checkers: Iterable[str] = CHECKERS) -> Found:
    """What every checker says of every specimen; two of them at a time."""
    checkers = list(checkers)
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda checker: run_apart(checker, names), checkers))
    return {checker: found for checker, (found, _) in zip(checkers, said, strict=True) if found}


# ---- what it comes to ----------------------------------------------------------------------------------------------


def outcome_of(twins: Twins | None) -> str:
    """One checker and one specimen, in a word or two."""
    if twins is None:
        return "not run"
    right, wrong = twins["right"], twins["wrong"]
    if right.status == RAISED:
        return "could not run"
    caught = wrong.status if wrong.status in (MENDED, UNDECIDED) else MISSED if wrong.status == ACCEPTED else CAUGHT
    return f"{caught}; {ACCUSED}" if right.status == REFUTED else caught


def named(specimen: Specimen, twins: Twins) -> bool:
    """Whether a diagnosis names the planted fault."""
    return any(kind in specimen.faults for kind in twins["wrong"].kinds)


def totals(found: Found, names: list[str]) -> list[list[str]]:
    """A row for each checker: wrong gradients caught, right gradients accused, and the rest."""
    rows = [["checker", "caught", "missed", "mended", "could not say", "right ones accused"]]
    for checker, said in found.items():
        words = [outcome_of(said.get(name)) for name in names]

        def count(*wanted: str, words: list[str] = words) -> str:
            return str(sum(word.split(";")[0] in wanted for word in words))

        accused = str(sum(ACCUSED in word for word in words))
        others = count(UNDECIDED, "could not run", "not run")
        rows.append([TITLES[checker], count(CAUGHT), count(MISSED), count(MENDED), others, accused])
    return rows


def particulars(found: Found, names: list[str]) -> list[list[str]]:
    """A row for each specimen."""
    rows = [["specimen", "fault", *(TITLES[checker] for checker in found), "diagnosis"]]
    for name in names:
        ours = found.get("minigrad", {}).get(name)
        kinds = ", ".join(dict.fromkeys(ours["wrong"].kinds)) if ours else ""
        rows.append([name, ZOO[name].faults[0], *(outcome_of(said.get(name)) for said in found.values()), kinds])
    return rows


def summary(found: Found, names: list[str]) -> list[str]:
    """What has to hold of our own check."""
    if "minigrad" not in found:
        return []
    ours = {name: found["minigrad"].get(name) for name in names}
    wrong = {name: twins["wrong"] for name, twins in ours.items() if twins and twins["wrong"].status == REFUTED}
    shown = sum(outcome.reproduced for outcome in wrong.values())
    told = sum(named(ZOO[name], ours[name]) for name in names if ours[name])
    verdicts = [twins["right"].verdict for twins in ours.values() if twins]
    return [
        f"{len(wrong)} of {len(names)} wrong gradients refuted by mg.verify; for {shown} of them the line to paste "
        "shows the wrong value",
        f"{told} of {len(names)} diagnoses name the planted fault ({told / len(names):.0%})",
        f"right gradients: {verdicts.count('proved')} proved, {verdicts.count('agrees')} agree, "
        f"{len(names) - verdicts.count('proved') - verdicts.count('agrees')} neither",
    ]


# ---- showing it ----------------------------------------------------------------------------------------------------


def plain(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def markdown(rows: list[list[str]]) -> str:
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])


def versions() -> str:
    def of(package: str) -> str:
        try:
            return f"{package} {version(package).split('+')[0]}"
        except PackageNotFoundError:
            return f"no {package}"

    return ", ".join(map(of, ("numpy", "sympy", "torch", "autograd", "jax")))


def page_totals(found: Found, names: list[str]) -> str:
    lines = "\n".join(f"- {line}" for line in summary(found, names))
    return f"\n{markdown(totals(found, names))}\n\n{lines}\n\nWith {versions()}.\n\n"


def page_specimens(found: Found, names: list[str]) -> str:
    """A section for each family: its table, and what is wrong with each specimen."""
    parts = []
    for family in dict.fromkeys(ZOO[name].family for name in names):
        members = [name for name in names if ZOO[name].family == family]
        rows = [[f"`{name}`" if i else name, *row] for i, (name, *row) in enumerate(particulars(found, members))]
        stories = "\n".join(f"- `{name}`: {ZOO[name].story}{source(ZOO[name])}" for name in members)
        parts.append(f"\n### {family}\n\n{lesson(family)}\n\n{markdown(rows)}\n\n{stories}\n")
    return "".join(parts) + "\n"


def lesson(family: str) -> str:
    """The first line of a family's module."""
    return (sys.modules[f"zoo.{family}"].__doc__ or "").splitlines()[0]


def source(specimen: Specimen) -> str:
    if not specimen.seen:
        return ""
    repository, number = specimen.seen.split("#")
    return f" Seen in [{specimen.seen}](https://github.com/{repository}/issues/{number})."


def filled(page: str, found: Found, names: list[str]) -> str:
    """The text of a page with everything between its marks written anew."""
    writers: dict[str, Callable[[Found, list[str]], str]] = {"totals": page_totals, "specimens": page_specimens}
    return MARK.sub(lambda mark: mark[1] + writers[mark["what"]](found, names) + mark[3], page)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(ZOO), default=list(ZOO), help="specimens")
    parser.add_argument("--checkers", nargs="+", choices=list(CHECKERS), default=list(CHECKERS), help="who checks")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="the page to write the tables into")
    parser.add_argument("--checker", choices=list(CHECKERS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.checker:
        run_here(args.checker, args.only)
        return 0
    found = run(args.only, args.checkers)
    print(plain(particulars(found, args.only)), plain(totals(found, args.only)), sep="\n\n", end="\n\n")
    print(*summary(found, args.only), f"with {versions()}", sep="\n")
    if args.write:
        args.write.write_text(filled(args.write.read_text(encoding="utf-8"), found, args.only), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
