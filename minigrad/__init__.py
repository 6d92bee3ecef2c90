"""minigrad: tiny symbolic autodiff. One graph, run by NumPy, read by SymPy, compiled by Numba."""

from importlib import import_module
from typing import Any

from . import random
from .create import arange, eye, full, full_like, ones, ones_like, zeros, zeros_like
from .mapping import vmap
from .ops import *
from .tensor import MinigradWarning, Tensor, no_grad, set_default_dtype, tensor
from .transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

__version__ = "0.1.0"

# Loaded when first used, since they load SymPy, Numba or other libraries, or are not needed by everyone.
_LATE = {
    "Convergence": "train", "History": "train", "checkpoint": "recompute", "compile": "compiler",
    "compile_step": "compiler", "count_parameters": "nn.summary",
    "custom_gradient": "custom", "data": "data", "debug": "debugging", "fit": "train", "linalg": "linalg", "nn": "nn",
    "optim": "optim", "pictures": "pictures", "primitive": "primitives", "scan": "scanning", "special": "special",
    "stop_gradient": "custom", "symbolic": "symbolic", "symbols": "symbolic", "verify": "verify",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        from difflib import get_close_matches

        near = get_close_matches(name, __dir__(), 1)
        hint = f"; did you mean mg.{near[0]}?" if near else ""
        raise AttributeError(f"module 'minigrad' has no attribute {name!r}{hint}")
    module = import_module(f".{_LATE[name]}", __name__)
    return module if _LATE[name] == name and name not in vars(module) else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATE])
