"""Imports run one way: a room of the house imports only from those above it in the table of docs/architecture.md."""

import ast
import re
from pathlib import Path

import pytest

import minigrad

HOUSE = Path(minigrad.__file__).parent
PAGE = HOUSE.parent / "docs" / "architecture.md"
# The operators of tensors are ops, and ops need tensors; SymPy's expressions are turned to when they come.
ALLOWED = {("tensor", "autodiff"), ("tensor", "ops"), ("tensor", "symbolic")}


def table():
    """Each room, and how far down in the table it stands."""
    rows = PAGE.read_text(encoding="utf-8").split("| room |")[1].split("\n\n")[0].splitlines()[2:]
    return {room: i for i, row in enumerate(rows) for room in re.findall(r"`(\w+)(?:\.py|/)`", row.split("|")[1])}


def modules(file):
    """The modules of its own package that a file imports from."""
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 1]


def imports():
    """Pairs of rooms, the first of which imports from the second, in whatever function."""
    for file in HOUSE.rglob("*.py"):
        package = ("minigrad", *file.relative_to(HOUSE).parent.parts)
        room = file.relative_to(HOUSE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                module = node.module.split(".") if node.module else []
                path = [*package[: len(package) + 1 - node.level], *module][1:]
                names = path[:1] or [alias.name for alias in node.names]
                yield from ((room, name) for name in names if not name.startswith("__"))


def test_every_room_is_in_the_table():
    rooms = {path.stem for path in HOUSE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - {"__init__", "__main__"} == set(table())


def files(section):
    """The files in the table of a section of the page, in its order."""
    rest = PAGE.read_text(encoding="utf-8").split(f"# {section}\n")[1]
    rows = rest.split("| file |")[1].split("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`(\w+)\.py`", row.split("|")[1])]


@pytest.mark.parametrize(
    ("package", "section"), [("batching", "Batched arrays"), ("compiler", "From a function to native code")]
)
def test_every_file_of_a_package_is_in_its_table(package, section):
    assert sorted(files(section)) == sorted(p.stem for p in (HOUSE / package).glob("*.py") if p.stem != "__init__")


def test_files_of_batching_import_from_above_only():
    order = files("Batched arrays")
    found = {(file, name) for file in order for name in modules(HOUSE / "batching" / f"{file}.py")}
    assert len(found) > len(order)
    assert {(file, name) for file, name in found if order.index(file) <= order.index(name)} == set()


def test_rooms_import_from_above_only():
    rank = table()
    found = {(a, b) for a, b in imports() if a not in ("__init__", "__main__")}
    assert {(a, b) for a, b in found if rank[a] < rank[b]} == ALLOWED
