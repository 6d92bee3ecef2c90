"""The checkers: each turns a specimen into its library's own form, and checks it as its documentation suggests.

A checker is a function of a specimen and of which twin to look at ("right" or "wrong"). It returns an Outcome. Every
checker gets the same example inputs in float64, its own defaults for step sizes and tolerances, and reverse mode; where
a fault is one of the second derivative, it is asked for second order.
"""

from __future__ import annotations

import functools
import inspect
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .specimen import Specimen, as_tuple

ACCEPTED, REFUTED, RAISED, UNDECIDED, MENDED = "accepted", "refuted", "raised", "undecided", "mended"


@dataclass
class Outcome:
    """What a checker said of a gradient; "raised" stands for an error that is not its verdict.

    "mended" is a wrong gradient that does no harm in this library, which makes it right by itself.
    """

    status: str
    note: str = ""
    verdict: str = ""  # in the checker's own words
    kinds: tuple[str, ...] = ()  # of the diagnoses
    reproduced: bool = False  # whether the line to paste shows the wrong value


def brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:160]


def as_rule(specimen: Specimen, gradient: Callable) -> Callable:
    """The rule of an op; that of a loss is g times its gradient."""
    if specimen.is_op:
        return gradient

    def rule(g: Any, y: Any, *xs: Any) -> Any:
        return tuple(None if d is None else g * d for d in as_tuple(gradient(*xs)))

    return rule


def rebound(function: Callable, numpy: Any, constant: Callable) -> Callable:
    """The function with another library's module in place of NumPy's, and its own way to hold a value constant."""
    names = {**function.__globals__, "np": numpy, "constant": constant}
    return types.FunctionType(function.__code__, names, function.__name__)


def judged(check: Callable[[], Any], wrong: type[BaseException]) -> Outcome:
    """The outcome of a check that raises `wrong` where it finds a gradient wrong."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            check()
    except wrong as error:
        return Outcome(REFUTED, brief(error))
    except Exception as error:
        return Outcome(RAISED, brief(error))
    return Outcome(ACCEPTED)


# ---- minigrad ------------------------------------------------------------------------------------------------------


def minigrad(specimen: Specimen, which: str, method: str = "auto") -> Outcome:
    """`mg.verify.claim` for a loss; for an op, `mg.primitive` and `mg.verify.gradient`."""
    import minigrad as mg

    f, gradient = specimen.twin(which)
    xs = [x.copy() for x in specimen.inputs.values()]
    names: dict[str, Any] = {"np": np, "mg": mg}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            if specimen.is_op:
                made = mg.primitive(f)
                made.vjp(gradient)
                names["f"] = specimen.use(made)
                report = mg.verify.gradient(
                    names["f"], *xs, argnums=specimen.active, order=specimen.order, method=method
                )
            else:
                names |= {"f": f, gradient.__name__: gradient}
                report = mg.verify.claim(f, gradient, *xs, argnums=specimen.active, method=method)
            return reported(report, names, remembers=inspect.isclass(getattr(specimen.code, which)))
    except Exception as error:
        return Outcome(RAISED, brief(error))


def reported(report: Any, names: dict[str, Any], remembers: bool) -> Outcome:
    """A report as an outcome."""
    said = " ".join((" ".join(d.sentence for d in report.diagnoses) or report.hint).split())[:300]
    outcome = Outcome(UNDECIDED, said, report.verdict, tuple(d.kind for d in report.diagnoses))
    if report.verdict in ("proved", "agrees"):
        outcome.status = ACCEPTED
    elif report.verdict == "refuted":
        outcome.status = REFUTED
        try:
            outcome.reproduced = reproduced(report, names, remembers)
        except Exception as error:
            outcome.reproduced = str(error) in str(report)  # it announced that the rule stops with this error
            outcome.note = said if outcome.reproduced else f"the line to paste fails: {brief(error)}"
    return outcome


def reproduced(report: Any, names: dict[str, Any], remembers: bool) -> bool:
    """Whether the counterexample's line, pasted beside the functions, gives the wrong value that it announces.

    A gradient that remembers is another at each call: there, any wrong value will do.
    """
    found = report.counterexample
    if found is None or not found.line:
        return False
    shown = np.asarray(eval(found.line, dict(names)))
    if np.shape(found.ours) != np.shape(found.right):
        return shown.shape == np.shape(found.ours)
    shown = shown[found.index] if shown.ndim > np.ndim(found.right) else shown
    wrong = not np.allclose(shown, found.right, rtol=1e-9, atol=0)
    return wrong and (remembers or np.allclose(shown, found.ours, rtol=1e-6, atol=0, equal_nan=True))


def minigrad_numbers(specimen: Specimen, which: str) -> Outcome:
    """The numeric check alone."""
    return minigrad(specimen, which, method="numbers")


# ---- the peers -----------------------------------------------------------------------------------------------------


class Trial(NamedTuple):
    """A specimen in another library's form."""

    check: Callable[[], Any]  # raises `wrong` for a wrong gradient
    wrong: type[BaseException]
    pull: Callable[[list[np.ndarray]], list[Any]]  # the library's gradients of a weighted sum, at these inputs


def peer(trial: Callable[[Specimen, str], Trial]) -> Callable[[Specimen, str], Outcome]:
    """The checker of a library, of a function that puts a specimen into its form."""

    @functools.wraps(trial)
    def checker(specimen: Specimen, which: str) -> Outcome:
        made = trial(specimen, which)
        outcome = judged(made.check, made.wrong)
        if which == "wrong" and outcome.status == ACCEPTED and specimen.order == 1 and mended(trial, specimen):
            return Outcome(MENDED, "in this library the gradient comes out right all the same")
        return outcome

    return checker


def mended(trial: Callable[[Specimen, str], Trial], specimen: Specimen) -> bool:
    """Whether the library makes the wrong gradient right: by a copy, or by a sum over what was broadcast."""
    rng = np.random.default_rng(0)
    right, wrong = trial(specimen, "right"), trial(specimen, "wrong")
    for spread in (0, 0.5, 3, 6, 6):
        xs = [
            np.array(x + spread * rng.normal(size=x.shape)) if i in specimen.active else x.copy()
            for i, x in enumerate(specimen.inputs.values())
        ]
        with np.errstate(all="ignore"):
            pairs = zip(right.pull(xs), wrong.pull(xs), strict=True)
            if not all(np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-12, equal_nan=True) for a, b in pairs):
                return False
    return True


def weights(shape: tuple[int, ...]) -> np.ndarray:
    """Cotangents that are all different."""
    return np.cos(1.0 + np.arange(np.prod(shape, dtype=int))).reshape(shape)


# PyTorch


@peer
def torch(specimen: Specimen, which: str) -> Trial:
    """`torch.autograd.gradcheck` of a torch.autograd.Function; `gradgradcheck` at second order."""
    import torch as library
    from torch.autograd.gradcheck import GradcheckError

    f, gradient = specimen.twin(which)
    rule = as_rule(specimen, gradient)
    library.manual_seed(0)
    differentiable = specimen.order == 2
    if differentiable:
        f, rule = (rebound(code, _torch_numpy(), lambda x: x.detach()) for code in (f, rule))

    def array(x: Any) -> Any:
        return x if differentiable else x.detach().numpy()

    def tensor(x: Any) -> Any:
        return x if x is None or differentiable else library.as_tensor(np.asarray(x, order="C"))

    class Function(library.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *xs: Any) -> Any:
            y = tensor(f(*map(array, xs)))
            ctx.save_for_backward(*xs, y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            *xs, y = ctx.saved_tensors
            return tuple(map(tensor, as_tuple(rule(array(g), array(y), *map(array, xs)))))

    def tensors(xs: Any) -> list[Any]:
        made = [library.tensor(x) for x in xs]
        return [x.requires_grad_(i in specimen.active) for i, x in enumerate(made)]

    def pull(xs: list[np.ndarray]) -> list[Any]:
        inputs = tensors(xs)
        y = used(*inputs)
        return list(library.autograd.grad(y, [x for x in inputs if x.requires_grad], library.tensor(weights(y.shape))))

    used = specimen.use(Function.apply)
    check = library.autograd.gradgradcheck if differentiable else library.autograd.gradcheck
    return Trial(lambda: check(used, tensors(specimen.inputs.values())), GradcheckError, pull)


def _torch_numpy() -> Any:
    """The few functions of NumPy that rules of second order are written in, from torch."""
    import torch as library

    return types.SimpleNamespace(exp=library.exp, sqrt=library.sqrt, tanh=library.tanh, sum=library.sum)


# Autograd


@peer
def autograd(specimen: Specimen, which: str) -> Trial:
    """`autograd.test_util.check_grads` of a primitive, by all its inputs."""
    import autograd as library
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads
    from autograd.tracer import getval

    f, gradient = specimen.twin(which)
    rule = as_rule(specimen, gradient)
    np.random.seed(0)  # noqa: NPY002 (it is what the checker draws from)
    if specimen.order == 2:
        rule = rebound(rule, library.numpy, getval)
    made = primitive(lambda *xs: f(*xs))

    def vjp(i: int) -> Callable:
        return lambda y, *xs: lambda g: as_tuple(rule(g, y, *xs))[i]

    defvjp(made, *map(vjp, range(len(specimen.inputs))))
    used, by = specimen.use(made), tuple(specimen.active)

    def plain(xs: Any) -> list[Any]:
        return [x.copy() if x.ndim else x.item() for x in xs]

    def pull(xs: list[np.ndarray]) -> list[Any]:
        back, y = library.make_vjp(used, by)(*plain(xs))
        return list(back(weights(np.shape(y))))

    def check() -> None:
        check_grads(used, by, modes=["rev"], order=specimen.order)(*plain(specimen.inputs.values()))

    return Trial(check, AssertionError, pull)


# JAX


@peer
def jax(specimen: Specimen, which: str) -> Trial:
    """`jax.test_util.check_grads` of a custom_vjp, whose NumPy code runs in a callback."""
    import jax as library
    from jax.test_util import check_grads

    library.config.update("jax_enable_x64", True)
    f, gradient = specimen.twin(which)
    rule = as_rule(specimen, gradient)
    if specimen.order == 2:
        f, rule = (rebound(code, library.numpy, library.lax.stop_gradient) for code in (f, rule))
        forward, back = f, rule
    else:
        forward, back = _in_callback(library, f), _rule_in_callback(library, rule)

    made = library.custom_vjp(forward)
    made.defvjp(lambda *xs: (y := forward(*xs), (y, xs)), lambda saved, g: as_tuple(back(g, saved[0], *saved[1])))
    used = specimen.use(made)

    def split(xs: Any) -> tuple[Callable, list[Any]]:
        """The function of the inputs to differentiate by alone, and these."""
        xs = list(map(library.numpy.asarray, xs))

        def of_active(*chosen: Any) -> Any:
            by_place = dict(zip(specimen.active, chosen, strict=True))
            return used(*[by_place.get(i, x) for i, x in enumerate(xs)])

        return of_active, [xs[i] for i in specimen.active]

    def pull(xs: list[np.ndarray]) -> list[Any]:
        y, back = library.vjp(split(xs)[0], *split(xs)[1])
        return list(back(library.numpy.asarray(weights(y.shape))))

    def check() -> None:
        check_grads(*split(specimen.inputs.values()), order=specimen.order, modes=["rev"])

    return Trial(check, AssertionError, pull)


def _in_callback(library: Any, f: Callable) -> Callable:
    def forward(*xs: Any) -> Any:
        like = np.asarray(f(*[np.ones(x.shape, x.dtype) for x in xs]))
        shape = library.ShapeDtypeStruct(like.shape, np.float64)
        return library.pure_callback(lambda *xs: np.asarray(f(*map(np.asarray, xs)), np.float64), shape, *xs)

    return forward


def _rule_in_callback(library: Any, rule: Callable) -> Callable:
    def back(g: Any, y: Any, *xs: Any) -> Any:
        given = [i for i, x in enumerate(xs) if x.dtype == np.float64]
        shapes = [library.ShapeDtypeStruct(xs[i].shape, np.float64) for i in given]

        def host(g: Any, y: Any, *xs: Any) -> Any:
            found = as_tuple(rule(*map(np.asarray, (g, y, *xs))))
            return [np.zeros(xs[i].shape) if found[i] is None else np.asarray(found[i], np.float64) for i in given]

        found = dict(zip(given, library.pure_callback(host, shapes, g, y, *xs), strict=True))
        return tuple(found.get(i) for i in range(len(xs)))

    return back


CHECKERS: dict[str, Callable[[Specimen, str], Outcome]] = {
    "minigrad": minigrad,
    "numbers": minigrad_numbers,
    "torch": torch,
    "autograd": autograd,
    "jax": jax,
}
