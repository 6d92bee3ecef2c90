"""The formula of an optimizer in SymPy: the very function that Numba compiles, run on symbols."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from types import FunctionType

import sympy

from ..names import known
from . import rules
from .kernel import read

RULES = dict(inspect.getmembers(rules, inspect.isfunction))
FUNCTIONS = {"sqrt": sympy.sqrt, "min": sympy.Min, "max": sympy.Max}
LETTERS = {
    "alpha": r"\alpha", "beta1": r"\beta_1", "beta2": r"\beta_2", "damping": r"\tau", "dampening": r"\tau",
    "delta": r"\delta", "eps": r"\epsilon", "g": "g", "lr": r"\eta", "lr_decay": r"\kappa", "momentum": r"\mu",
    "p": r"\theta", "rho": r"\rho", "step_size": r"\eta", "weight_decay": r"\lambda",
}  # fmt: skip


class Formula:
    """An optimizer's update as equations; printed line by line, and as mathematics in a notebook.

    `symbols` are the arguments of the rule by name, `steps` its lines as SymPy equations, `update` the new parameter as
    one expression of the symbols, `latex` the steps as one aligned display. All numbers are exact.
    """

    def __init__(self, rule: Callable) -> None:
        self.reading = read(rule)
        self.name = self.reading.name
        self.letters: dict[sympy.Symbol, str] = {}
        self.symbols = {
            "p": self.symbol("p", "{t-1}"),
            "g": self.symbol("grad", letter=r"\nabla f(\theta_{t-1})"),
            **{name: self.symbol(name, "{t-1}") for name in self.reading.state},
            **{name: self.symbol(name) for name in self.reading.scalars},
        }
        on_symbols = FunctionType(rule.__code__, rule.__globals__ | FUNCTIONS)
        new = on_symbols(**self.symbols)
        self.update = new[0] if self.reading.state else new
        self.steps = [sympy.Eq(left, right, evaluate=False) for left, right in self.lines()]

    def symbol(self, name: str, time: str = "", letter: str = "") -> sympy.Symbol:
        """The symbol of a variable at a time, and how LaTeX writes it."""
        base, hat, _ = name.partition("_hat")
        letter = letter or LETTERS.get(name) or (rf"\hat{{{base}}}" if hat else name)
        symbol = sympy.Symbol(("theta" if name == "p" else name) + (time and f"_{time}"))
        self.letters[symbol] = letter + (time and f"_{time}")
        return symbol

    def lines(self) -> list[tuple[sympy.Symbol, sympy.Expr]]:
        """Each line of the rule: what is assigned, and what to it."""
        now, lines = dict(self.symbols), []
        assignments = [(line.targets[0].id, line.value) for line in self.reading.lines]
        for name, value in [*assignments, ("p", self.reading.new_p)]:
            right = eval(ast.unparse(value), FUNCTIONS, now)
            now[name] = self.symbol(name, "t")
            lines.append((now[name], right))
        return lines

    @property
    def as_written(self) -> list[tuple[sympy.Symbol, sympy.Expr]]:
        """The lines in the author's order of terms and factors, which SymPy would sort."""
        with sympy.evaluate(False):
            return self.lines()

    @property
    def latex(self) -> str:
        def write(expression: sympy.Expr) -> str:
            return sympy.latex(expression, order="none", symbol_names=self.letters)

        lines = [f"{write(left)} &= {write(right)}" for left, right in self.as_written]
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def _repr_latex_(self) -> str:
        return f"$${self.latex}$$"

    def __repr__(self) -> str:
        return "\n".join(f"{left} = {sympy.sstr(right, order='none')}" for left, right in self.as_written)


def formula(name: str | Callable) -> Formula:
    """The formula of the optimizer called `name`, or of a rule of your own; see `minigrad.optim.formula`."""
    return Formula(RULES[known("optimizer", name, RULES)] if isinstance(name, str) else name)
