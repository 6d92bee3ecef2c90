"""What the commands share: how an option is read, and how a request is refused."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable
from typing import Any

from minigrad.names import known


class Refused(Exception):
    """What the user asked for cannot be done; the message says what would be right."""


def add_command(commands: Any, name: str, run: Callable[..., int], summary: str, description: str) -> Any:
    parser = commands.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(command=run)
    return parser


def one_of(what: str, choices: Iterable[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        try:
            return known(what, text, choices)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def number(kind: Callable[[str], Any], fits: Callable[[Any], bool], wanted: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return parse


positive = number(float, lambda x: 0 < x < math.inf, "a positive number such as 0.01")
count = number(int, lambda n: n > 0, "a whole number from 1 up")
seed = number(int, lambda n: n >= 0, "a whole number from 0 up")
width = number(int, lambda n: n > 0, "a list of widths such as 64 or 64,64, or none")


def batch_size(text: str) -> int | str:
    return text if text == "full" else number(int, lambda n: n > 0, "a whole number from 1 up, or full")(text)


def widths(text: str) -> tuple[int, ...]:
    return () if text == "none" else tuple(map(width, text.split(",")))


def refusing(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The function's result; what it says against its input is the user's to read."""
    try:
        return function(*args, **kwargs)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        raise Refused(error) from error
