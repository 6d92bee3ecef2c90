"""What Python code reads beside its arguments, and may remember a call in: variables, attributes, items of containers.

A trace is right as long as they are what they were. So everything is watched that a function can come to by the names
in its lines and in those of the functions that it calls, except for those of installed libraries.
"""

from __future__ import annotations

import argparse
import builtins
import dis
import functools
import operator
import os
import random
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from types import BuiltinMethodType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from ..nn import Module
from ..nn.module import clock
from ..ops.card import each
from ..tensor import HERE, Tensor

MANY = 1000  # items or elements: of larger containers only the length is watched,
SAMPLED = 64  # and of larger arrays about so many elements

SIMPLE = frozenset({int, bool, str, bytes, complex, type(None), type(...), type(NotImplemented)})
PATHS = [sysconfig.get_paths()[p] for p in ("stdlib", "platstdlib", "purelib", "platlib")]
LIBRARIES = (*(path + os.sep for path in PATHS), HERE, "<frozen")
OURS = __name__.partition(".")[0] + "."
FREELY = frozenset({"vars", "__dict__", "getattr", "asdict", "astuple", "attrgetter"})  # read attributes without naming
IMPLICIT = frozenset({n for n in dir(operator) if n.startswith("__")} | {
    "__call__", "forward", "__getattr__", "__getattribute__", "__len__", "__iter__", "__next__", "__bool__",
    "__float__", "__enter__", "__exit__", "__get__", "__array__", "__array_ufunc__", "__array_function__",
    "__radd__", "__rsub__", "__rmul__", "__rtruediv__", "__rmatmul__", "__rpow__",
})  # fmt: skip
MADE = IMPLICIT | {"__init__", "__new__", "__post_init__"}  # of a class that is named, and perhaps called
END = object()


class Same:
    """Compares as the object itself, whatever the object compares by."""

    __slots__ = ("it",)

    def __init__(self, it: Any) -> None:
        self.it = it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.it is other.it

    def __hash__(self) -> int:
        return id(self.it)

    def __repr__(self) -> str:
        return f"{type(self.it).__name__} at {id(self.it):#x}"


class State:
    """What everything that is watched was: by path, what each thing is compared by."""

    __slots__ = ("found", "hash")

    def __init__(self, found: dict[str, Any]) -> None:
        self.found, self.hash = found, hash(tuple(found.items()))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, State) and self.hash == other.hash and self.found == other.found)

    def __hash__(self) -> int:
        return self.hash

    def changed(self, other: State) -> str | None:
        """The path of something that differs."""
        paths = chain(self.found, other.found)
        return next((p for p in paths if self.found.get(p, END) != other.found.get(p, END)), None)


class Watch:
    """Watches all that some functions and modules may read."""

    def __init__(self, *roots: Any) -> None:
        self.roots = list(roots)
        self.walk = self.look()

    def look(self) -> Walk:
        names: frozenset[str] = frozenset()
        while True:
            walk = Walk(names)
            for root in self.roots:
                walk.visit(getattr(root, "__name__", type(root).__name__), root)
            if walk.names <= names:
                walk.end()
                return walk
            names |= walk.names  # and there may be more that they lead to

    def add(self, modules: Any) -> None:
        """Watch these modules, too."""
        if new := [m for m in modules if m not in self.walk.modules]:
            self.roots += new
            self.walk = self.look()

    def state(self) -> State:
        """What everything is now."""
        if not self.walk.unchanged():
            self.walk = self.look()
        return self.walk.state


class Walk:
    """One walk over all that is to be watched, and what was found there."""

    def __init__(self, names: frozenset[str]) -> None:
        self.wanted = names  # attributes of these names
        self.freely = not names.isdisjoint(FREELY)
        self.names: set[str] = set()  # in the lines of the functions
        self.found: dict[str, Any] = {}
        self.cells: list[tuple[Any, Any]] = []  # of variables that functions share, and what they hold
        self.functions: list[tuple[Any, Any, Any, Any]] = []  # and what they are made of
        self.singles: list[tuple[Callable[[], Any], Any]] = []  # each gives what a variable or an attribute holds
        self.dicts: list[tuple[dict, list, list]] = []  # by texts: the keys and values
        self.containers: list[tuple[Any, list]] = []  # others, and their items
        self.of_modules: list[Callable[[], Any]] = []  # each gives the attributes of a module
        self.measures: list[tuple[Callable[[], Any], Any]] = []  # what is compared by value, and its value
        self.modules: dict[Module, None] = {}
        self.generators: list[tuple[str, Any]] = []  # of random numbers, and their paths
        self.seen: dict[int, Any] = {}  # by id; kept, so that no other object gets it

    def end(self) -> None:
        self.clock, self.state = clock[0], State(self.found)
        self.attributes_of_modules = list(self.attributes_now())

    def attributes_now(self) -> Iterator[Any]:
        return chain(chain.from_iterable([read() for read in self.of_modules]), (END,))

    def unchanged(self) -> bool:
        """Whether everything is what it was. (Asked before each call: it has to be quick.)"""
        if clock[0] != self.clock:
            if not all(map(operator.is_, self.attributes_now(), self.attributes_of_modules)):
                return False
            self.clock = clock[0]
        try:
            for cell, held in self.cells:
                if cell.cell_contents is not held:
                    return False
        except ValueError:  # one has no value yet
            if any(contents(cell) is not held for cell, held in self.cells):
                return False
        for f, code, defaults, by_name in self.functions:
            if f.__code__ is not code or f.__defaults__ is not defaults or f.__kwdefaults__ is not by_name:
                return False
        for read, before in self.singles:
            if read() is not before:
                return False
        for read, before in self.measures:
            if read() != before:
                return False
        for x, keys, values in self.dicts:
            if list(x) != keys or not all(map(operator.is_, x.values(), values)):
                return False
        return not self.containers or all(
            len(x) == len(parts) and all(map(operator.is_, x, parts)) for x, parts in self.containers
        )

    def read(self, path: str, read: Callable[[], Any]) -> None:
        """Watch what can be read at one place."""
        self.singles.append((read, read()))
        self.visit(path, self.singles[-1][1])

    def visit(self, path: str, x: Any) -> None:
        """Note what x is compared by, and go on to all that is in it."""
        while path in self.found:  # another variable of this name
            path += "'"
        if type(x) in SIMPLE:
            self.found[path] = type(x), x
        elif type(x) is float:
            self.found[path] = float, repr(x)  # since 0.0 == -0.0
        elif isinstance(x, np.generic):
            self.found[path] = type(x), x.tobytes()
        elif id(x) in self.seen or isinstance(x, Tensor):
            self.found[path] = Same(x)
        else:
            self.seen[id(x)] = x
            self.enter(path, x)

    def enter(self, path: str, x: Any) -> None:
        kind = type(x)
        self.found[path] = kind
        if is_generator(x):
            self.generators.append((path, x))
        if isinstance(x, FunctionType):
            self.function(path, x)
        elif isinstance(x, MethodType):
            self.visit(f"{path}.__self__", x.__self__)
            self.visit(path + "()", x.__func__)
        elif isinstance(x, functools.partial):
            for part in (x.func, x.args, x.keywords):
                self.visit(path + "()", part)
        elif isinstance(x, property):
            self.visit(path + "()", x.fget)
        elif isinstance(x, staticmethod | classmethod) or hasattr(kind, "cache_info"):
            self.visit(path + "()", x.__wrapped__)
        elif isinstance(x, Module):
            self.module(path, x)
        elif isinstance(x, dict | list | tuple | set | frozenset | deque):
            self.container(path, x)
        elif own_kind(kind) or isinstance(x, SimpleNamespace | argparse.Namespace):
            self.object(path, x)
        else:
            self.found[path] = Same(x)
            if isinstance(x, BuiltinMethodType) and is_generator(x.__self__):
                self.visit(f"{path}.__self__", x.__self__)
            elif isinstance(x, np.ndarray):
                self.measure(path, functools.partial(sample, x))
            elif isinstance(x, type):
                self.kind(path, x, MADE)
            elif isinstance(x, ModuleType):
                self.attributes(path, vars(x), self.wanted if theirs(getattr(x, "__file__", None)) else ())
            elif str(kind.__module__).startswith(OURS):  # an optimizer (Cython's may be no text)
                rules = {n for n, v in vars(x).items() if isinstance(v, FunctionType | each)} if has_dict(x) else set()
                self.attributes(path, getattr(x, "__dict__", {}), self.wanted | rules)

    def measure(self, path: str, read: Callable[[], Any]) -> None:
        """Watch something that is another object each time."""
        self.measures.append((read, read()))
        self.found[path] = self.found[path], self.measures[-1][1]

    def module(self, path: str, x: Module) -> None:
        self.modules[x] = None
        self.of_modules.append(vars(x).values)
        everything = self.freely or not all(own_kind(c) for c in type(x).__mro__ if c not in (Module, object))
        for name, value in vars(x).items():
            named = name in self.wanted or name in ("training", "forward") or isinstance(value, Module | Tensor)
            if (everything or named) and name != "_kinds":
                self.visit(f"{path}.{name}", value)
        self.kind(path, type(x))

    def container(self, path: str, x: Any) -> None:
        if len(x) > MANY:
            self.measure(path, functools.partial(len, x))
        else:
            self.found[path] = type(x), len(x)
            if isinstance(x, dict) and set(map(type, x)) <= {str}:
                self.dicts.append((x, list(x), list(x.values())))
            elif isinstance(x, dict):
                self.containers += [(x, list(x)), (x.values(), list(x.values()))]
            elif not isinstance(x, tuple | frozenset):
                self.containers.append((x, list(x)))
            for i, part in x.items() if isinstance(x, dict) else enumerate(x):
                self.visit(f"{path}[{i if isinstance(i, int) else repr(i)[:40]}]", part)
        if has_dict(x):
            self.object(path, x)

    def object(self, path: str, x: Any) -> None:
        """The attributes of an object that the lines name, and its methods."""
        attributes = getattr(x, "__dict__", {})
        self.attributes(path, attributes, attributes if self.freely else self.wanted)
        for name in {n for c in type(x).__mro__ for n in getattr(c, "__slots__", ())}:
            if self.freely or name in self.wanted:
                self.read(f"{path}.{name}", functools.partial(getattr, x, name, None))
        self.kind(path, type(x))

    def kind(self, path: str, kind: type, unnamed: frozenset[str] = IMPLICIT) -> None:
        """The attributes of a class that the lines name, and the methods that are called without being named."""
        for c in kind.__mro__:
            if own_kind(c):
                self.attributes(path, vars(c), self.wanted | (unnamed & vars(c).keys()))

    def attributes(self, path: str, variables: Any, names: Any) -> None:
        # By their number it is noticed when there are others, such as one that hides an attribute of the class.
        self.measures.append((variables.__len__, len(variables)))
        for name in sorted(n for n in names if n in variables):
            self.read(f"{path}.{name}", functools.partial(variables.get, name))

    def function(self, path: str, f: FunctionType) -> None:
        own = theirs(f.__code__.co_filename)
        self.found[path] = Same(f.__code__)
        self.functions.append((f, f.__code__, f.__defaults__, f.__kwdefaults__))
        if not own and hasattr(f, "__wrapped__"):  # as mg.grad(f) has
            self.visit(path + "()", f.__wrapped__)
            return
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            self.cells.append((cell, contents(cell)))
            self.visit(name, contents(cell))
        for given in ("__defaults__", "__kwdefaults__"):
            self.visit(f"{path}.{given}", getattr(f, given))
        if own:
            variables, names = named(f.__code__)
            self.names |= names
            for name in sorted(variables):
                if name in f.__globals__ or not hasattr(builtins, name):
                    self.read(name, functools.partial(f.__globals__.get, name))
            self.attributes(path, vars(f), self.wanted)


def is_generator(x: Any) -> bool:
    """Whether x is a source of random numbers that has a state."""
    kinds = np.random.Generator | np.random.RandomState | np.random.BitGenerator | random.Random
    return isinstance(x, kinds) and not isinstance(x, random.SystemRandom)


def has_dict(x: Any) -> bool:
    return hasattr(x, "__dict__")


def theirs(file: str | None) -> bool:
    """Whether a file is the user's own, and of no installed library."""
    return file is not None and not file.startswith(LIBRARIES)


def own_kind(kind: type) -> bool:
    """Whether a class is the user's own."""
    return kind.__module__ == "__main__" or theirs(getattr(sys.modules.get(kind.__module__), "__file__", None))


@functools.lru_cache(4096)
def named(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The global variables that a function's lines name, and all names (texts, too, which getattr may be given)."""
    variables = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    names = set(code.co_names) | {c for c in code.co_consts if isinstance(c, str)}
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            theirs = named(inner)
            variables |= theirs[0]
            names |= theirs[1]
    return frozenset(variables), frozenset(names)


def contents(cell: Any) -> Any:
    """The value of a variable, None if it has none yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def sample(array: np.ndarray) -> Any:
    """The elements of an array, of a large one some, as bytes."""
    if array.dtype.hasobject:
        return None
    if array.size > MANY:
        row = array.reshape(-1) if array.flags.c_contiguous else array.flat
        array = row[:: array.size // SAMPLED]
    return array.tobytes()
