"""Module: a function with parameters, made of smaller modules.

A module is an ordinary object whose attributes are watched as they are set: a leaf Tensor that requires grad is a
parameter, a Module is a child, everything else is left alone. Parents know their children and never the
reverse, so a model is freed as soon as it is dropped.
"""

from __future__ import annotations

import copy
import difflib
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from ..tensor import Tensor, as_tensor, default_dtype, describe, mode, tensor, warn_once

if TYPE_CHECKING:
    from .summary import Summary

M = TypeVar("M", bound="Module")
clock = [0]  # how many attributes of modules have been set: who relies on a model asks whether it may have changed


class Keys(NamedTuple):
    """The paths that a state and a model do not share."""

    missing: list[str]
    unexpected: list[str]


class InputError(ValueError):
    """An input that a layer cannot take; the message gains the layer's path on its way up through the model."""

    def __init__(self, layer: Module, message: str, path: str = "") -> None:
        super().__init__(message)
        self.layer, self.path = layer, path

    def __str__(self) -> str:
        path = f' "{self.path}"' if self.path else ""
        return f"{type(self.layer).__name__}{path}: {self.args[0]}"


def Parameter(data: Any, *, dtype: Any = None, name: str | None = None) -> Tensor:
    """Make a leaf tensor that requires grad: what a Module registers as a parameter.

    The values of `data` are copied. Raises TypeError for integers, which have no gradient.

    >>> mg.nn.Parameter([1.0, 2.0])
    tensor([1., 2.], requires_grad=True)
    """
    return tensor(data, requires_grad=True, dtype=dtype, name=name)


def new_parameter(*shape: int) -> Tensor:
    """A parameter of zeros in the default dtype, to be filled by a function of `init`."""
    return Parameter(np.zeros(shape), dtype=default_dtype())


class Module:
    """The base of all layers and models: subclass it, set parameters and modules as attributes, define `forward`.

    `super().__init__()` may be called, and need not be. Raises TypeError where an assignment would lose a parameter
    (see `__setattr__`).

    >>> class Scale(mg.nn.Module):
    ...     def __init__(self, n):
    ...         self.factor = mg.nn.Parameter(np.ones(n))
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> model = Scale(2)
    >>> model(np.array([3.0, 4.0])).tolist()
    [3.0, 4.0]
    >>> [path for path, _ in model.named_parameters()]
    ['factor']
    """

    training: bool
    _kinds: dict[str, str]  # of every attribute that is a "parameter", a "buffer" or a "module"

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        module = super().__new__(cls)
        if mode.capture is not None:
            mode.capture.own.add(module)
        module.__dict__.update(training=True, _kinds={})
        return module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every module defines its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward: define `def forward(self, x): ...`")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if mode.capture is not None:
            mode.capture.modules[self] = self.training
        try:
            return self.forward(*args, **kwargs)
        except InputError as error:
            error.path = next((path for path, module in self.named_modules() if module is error.layer), "")
            raise

    # ---- what belongs to a module ----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, registering parameters and modules.

        A parameter is replaced by another parameter or by None only: `self.w = self.w - lr * self.w.grad` makes an
        ordinary tensor, which no optimizer holds and no state_dict saves, and raises TypeError.
        """
        clock[0] += 1
        if mode.capture is not None:
            mode.capture.assigns(self, name)
        before = self._kinds.get(name)
        kind: str | None
        if before == "buffer" and value is not None:
            kind, value = before, _outside_graph(name, value)
        else:
            kind = _kind(value)
        if before == "parameter" and kind != before and value is not None:
            raise TypeError(
                f"parameter {name!r} would be replaced by something that is no parameter: update it in place, by an "
                f"optimizer's step or `self.{name}.data -= lr * self.{name}.grad.data`"
            )
        if kind is not None:
            self._kinds[name] = kind
        elif before is not None:
            del self._kinds[name]
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        clock[0] += 1
        super().__delattr__(name)
        self._kinds.pop(name, None)

    def register_buffer(self, name: str, value: Any) -> None:
        """Add a tensor that state_dict and astype include, and no optimizer: state that is not learnt by gradients.

        >>> model = mg.nn.Module()
        >>> model.register_buffer("mean", np.zeros(2))
        >>> sorted(model.state_dict())
        ['mean']
        """
        self._kinds[name] = "buffer"
        setattr(self, name, value)

    def _own(self, kind: str) -> Iterator[tuple[str, Any]]:
        return ((name, self.__dict__[name]) for name, its in self._kinds.items() if its == kind)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules right below this one, with their names."""
        return self._own("module")

    def children(self) -> Iterator[Module]:
        """The modules right below this one."""
        own = self.__dict__
        return iter([own[name] for name, kind in self._kinds.items() if kind == "module"])  # faster than generators

    def named_modules(self, path: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, with their paths from here, parents first and each module once."""
        return _unique(self._walk(path))

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters of this module and all below it, with their paths; a shared one once.

        >>> [path for path, _ in mg.nn.Sequential(mg.nn.Linear(2, 3)).named_parameters()]
        ['0.weight', '0.bias']
        """
        return _unique(self._named("parameter"))

    def parameters(self) -> Iterator[Tensor]:
        """The parameters of this module and all below it, a shared one once."""
        return (parameter for _, parameter in self.named_parameters())

    def _walk(self, path: str = "") -> Iterator[tuple[str, Module]]:
        """Every path to every module from here down, parents first; a shared module comes once for each path."""
        yield path, self
        for name, child in self.named_children():
            yield from child._walk(_join(path, name))

    def _named(self, *kinds: str) -> Iterator[tuple[str, Tensor]]:
        """Every path to every tensor of these kinds, module by module."""
        for path, module in self._walk():
            _warn_of_hidden(module)
            for kind in kinds:
                for name, value in module._own(kind):
                    yield _join(path, name), value

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call `fn` on every module below this one and then on this one, as to initialise them; returns the module.

        >>> def small(module):
        ...     if isinstance(module, mg.nn.Linear):
        ...         mg.nn.init.normal_(module.weight, std=0.01)
        >>> model = mg.nn.Sequential(mg.nn.Linear(2, 3), mg.nn.Tanh()).apply(small)
        """
        for module in reversed(list(self.modules())):
            fn(module)
        return self

    # ---- state -----------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers by path, in PyTorch's layout; a shared one under each of its paths.

        >>> {path: array.shape for path, array in mg.nn.Linear(2, 3).state_dict().items()}
        {'weight': (3, 2), 'bias': (3,)}
        """
        return {path: value.numpy() for path, value in self._named("parameter", "buffer")}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Keys:
        """Set parameters and buffers from arrays by path: all of them, or none if it fails.

        The state may be a torch model's.
        Returns the missing and the unexpected paths, which unless `strict` is False are refused. Raises ValueError
        for those and for another shape, TypeError for another dtype: nothing is cast or broadcast.

        >>> a, b = mg.nn.Linear(2, 3), mg.nn.Linear(2, 3)
        >>> a.load_state_dict(b.state_dict())
        Keys(missing=[], unexpected=[])
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict: a mapping of path to array is needed, not {type(state).__name__}")
        own = dict(self._named("parameter", "buffer"))
        keys = Keys([path for path in own if path not in state], [path for path in state if path not in own])
        if strict and (keys.missing or keys.unexpected):
            raise ValueError(_sentence(keys))
        arrays = {path: np.asarray(state[path]) for path in own if path in state}
        for path, array in arrays.items():
            _check_fits(path, array, own[path])
        for path, array in arrays.items():
            own[path].data = array.copy()
        return keys

    def train(self: M, mode: bool = True) -> M:
        """Set training mode in this module and all below it; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Set evaluation mode in this module and all below it; returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Freeze (False) or unfreeze all parameters; they stay parameters. Returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def astype(self: M, dtype: Any) -> M:
        """Turn all parameters and floating buffers into `dtype`, in place, and forget gradients; returns the module.

        Raises TypeError unless `dtype` is a floating dtype. Call it before the optimizer is made.

        >>> mg.nn.Linear(2, 3).astype(np.float32).weight.dtype
        dtype('float32')
        """
        dtype = np.dtype(dtype)
        if dtype.kind != "f":
            raise TypeError(f"astype: parameters need a floating dtype such as np.float32, not {dtype}")
        for _, value in _unique(self._named("parameter", "buffer")):
            if value.dtype.kind == "f":
                value.data = value.numpy().astype(dtype, copy=False)
                value.grad = None
        return self

    # ---- as formulas -----------------------------------------------------------------------------------------

    def symbolic(self: M) -> M:
        """A copy whose parameters are symbols, named by their path; on symbols it gives formulas, gradients included.

        Dots become underscores and numbers go behind a name, so that names are those of Python: "0.weight" is weight0,
        with elements weight0_0_1, and "layers.2.bias" is layers2_bias. Buffers keep their numbers, and the original its
        parameters. Raises ValueError for a model of more than 20000 parameters, whose formulas nobody could read.

        >>> model = mg.nn.Sequential(mg.nn.Linear(2, 1), mg.nn.Tanh())
        >>> y = model.symbolic()(mg.symbols("x", (2,)))
        >>> y[0].item()
        tanh(bias0_0 + weight0_0_0*x_0 + weight0_0_1*x_1)
        """
        from ..symbolic import symbols_of

        size = sum(parameter.size for parameter in self.parameters())
        if size > 20000:
            raise ValueError(f"symbolic: {size} parameters are too many for formulas; take a smaller model of its kind")
        model = copy.deepcopy(self)
        for path, parameter in model.named_parameters():
            parameter.name = _identifier(path)
            parameter.grad = None
            parameter.data = symbols_of(parameter.name, parameter.shape)
        return model

    # ---- as a table ------------------------------------------------------------------------------------------

    def summary(self, input_shape: Any, dtype: Any = None) -> Summary:
        """What each layer makes of an input of this shape, how many parameters it has, and what it costs.

        `input_shape` is a full shape, the batch included, or an example array, or a tuple of those for a model of
        several inputs; shapes stand for zeros of `dtype`, by default that of the parameters. See `nn.summary.Summary`.

        >>> mg.nn.Sequential(mg.nn.Linear(8, 4), mg.nn.ReLU()).summary((32, 8))
        layer  class   output   parameters  operations  activations
        0      Linear  (32, 4)          36        1024       1.0 KB
        1      ReLU    (32, 4)           0         128       1.0 KB
        total                           36        1152       2.0 KB
        36 parameters (36 trainable), 288 B; 1152 multiply-adds forward
        """
        from .summary import summary

        return summary(self, input_shape, dtype)

    # ---- as text ---------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the brackets of the module's repr."""
        return ""

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        inside = "".join(f"\n  {line}" for line in [self.extra_repr(), *children] if line) + "\n"
        return f"{type(self).__name__}({inside if children else self.extra_repr()})"


def _kind(value: Any) -> str | None:
    """What an attribute of this value is to a module."""
    if isinstance(value, Tensor):
        return "parameter" if value.is_leaf and value.requires_grad else None
    if isinstance(value, Module):
        return "module"
    return None


def _warn_of_hidden(module: Module) -> None:
    """Warn of modules and parameters in an attribute that is a plain list, tuple or dict."""
    for name, value in vars(module).items():
        items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
        if any(_kind(item) for item in items):
            warn_once(
                "modules in a list",
                f"{type(module).__name__}.{name} is a plain {type(value).__name__}, which hides the modules and "
                "parameters in it from parameters(), so they are not trained: use mg.nn.ModuleList or "
                "mg.nn.Sequential, or set each as an attribute",
            )


def _outside_graph(name: str, value: Any) -> Tensor:
    """The value of a buffer."""
    value = as_tensor(value)
    if value.requires_grad:
        raise TypeError(f"buffer {name!r}: {describe(value)} would keep its graph alive; .detach() it first")
    return value


def _identifier(path: str) -> str:
    """A path as a name: numbers follow the name before them, or where there is none, the one after.

    >>> [_identifier(path) for path in ("weight", "0.weight", "layers.2.bias", "0.1.weight")]
    ['weight', 'weight0', 'layers2_bias', 'weight0x1']
    """
    numbers, names = [], []
    for part in path.split("."):
        if not part.isdigit():
            names.append(part)
        elif names:
            names[-1] += ("x" if names[-1][-1].isdigit() else "") + part
        else:
            numbers.append(part)
    return "_".join(names) + "x".join(numbers)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


T = TypeVar("T")


def _unique(pairs: Iterator[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """The pairs whose value has not come before."""
    seen: set[int] = set()
    for path, value in pairs:
        if id(value) not in seen:
            seen.add(id(value))
            yield path, value


def _sentence(keys: Keys) -> str:
    """What is wrong with the keys of a state, and which key was perhaps meant."""
    parts = []
    for path in keys.unexpected:
        near = difflib.get_close_matches(path, keys.missing, 1)
        parts.append(f"the model has no {path!r}" + (f" (but {near[0]!r}, which the state lacks)" if near else ""))
    if keys.missing:
        parts.append(f"the state lacks {', '.join(map(repr, keys.missing))}")
    return f"load_state_dict: {'; '.join(parts)}; strict=False loads what both have"


def _check_fits(path: str, array: np.ndarray, own: Tensor) -> None:
    if array.shape != own.shape:
        raise ValueError(f"load_state_dict: {path!r} has shape {array.shape}, and the model's {own.shape}")
    if array.dtype != own.dtype:
        raise TypeError(
            f"load_state_dict: {path!r} is {array.dtype}, and the model's {own.dtype}: "
            f"model.astype({str(array.dtype)!r}) first, or convert the arrays"
        )


def length(layer: Module, name: str, n: Any) -> int:
    """An argument of a layer that is a positive integer; raises TypeError or ValueError for anything else."""
    try:
        width = operator.index(n)
    except TypeError:
        width = None
    if width is None or width < 1:
        kind = TypeError if width is None else ValueError
        raise kind(f"{type(layer).__name__}: {name} must be a positive integer, not {n!r}")
    return width
