"""Imports run one way: a room of the house imports only from those above it in the table of docs/architecture.md."""

import ast
import re
from pathlib import Path

import minigrad

HOUSE = Path(minigrad.__file__).parent
PAGE = HOUSE.parent / "docs" / "architecture.md"
# The operators of tensors are ops, and ops need tensors; SymPy's expressions are turned to when they come.
ALLOWED = {("tensor", "autodiff"), ("tensor", "ops"), ("tensor", "symbolic")}


def table():
    """Each room, and how far down in the table it stands."""
    rows = PAGE.read_text(encoding="utf-8").split("| room |")[1].split("\n\n")[0].splitlines()[2:]
    return {room: i for i, row in enumerate(rows) for room in re.findall(r"`(\w+)(?:\.py|/)`", row.split("|")[1])}


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


def test_every_file_of_the_compiler_is_in_its_table():
    rows = PAGE.read_text(encoding="utf-8").split("| file |")[1].split("\n\n")[0].splitlines()[2:]
    listed = [name for row in rows for name in re.findall(r"`(\w+\.py)`", row.split("|")[1])]
    assert sorted(listed) == sorted(p.name for p in (HOUSE / "compiler").glob("*.py") if p.name != "__init__.py")


def test_rooms_import_from_above_only():
    rank = table()
    found = {(a, b) for a, b in imports() if a not in ("__init__", "__main__")}
    assert {(a, b) for a, b in found if rank[a] < rank[b]} == ALLOWED
