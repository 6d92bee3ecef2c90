"""Recurrent layers and cells, with PyTorch's names of weights and order of gates; `ops/recurrent.py` has the steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..names import known
from ..tensor import Tensor, as_tensor, warn_once
from . import init
from .dropout import _check_probability, dropout
from .module import InputError, Module, length, new_parameter

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]

NONLINEARITIES = ("tanh", "relu")


class _Recurrent(Module):
    """What layers and cells share: weights for the gates, and how a sequence goes through them."""

    gates = 1
    states = 1  # h, or h and c
    input_size: int
    hidden_size: int
    bias: bool
    nonlinearity = "tanh"

    def _add_weights(self, inputs: int, end: str = "") -> None:
        """Draw weights and biases from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size)); their names end in `end`."""
        height, bound = self.gates * self.hidden_size, 1 / math.sqrt(self.hidden_size)
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (height, inputs), "weight_hh": (height, self.hidden_size)}
        if self.bias:
            shapes |= {"bias_ih": (height,), "bias_hh": (height,)}
        for name, shape in shapes.items():
            setattr(self, name + end, init.uniform_(new_parameter(*shape), -bound, bound))

    def _run(self, x: Tensor, start: Any, end: str = "", backwards: bool = False) -> Tensor:
        """All states, from the start on, for x of shape (time, batch, inputs); (states, ...) where there are two."""
        w_ih, w_hh = getattr(self, "weight_ih" + end), getattr(self, "weight_hh" + end)
        b_ih, b_hh = (getattr(self, name + end) if self.bias else None for name in ("bias_ih", "bias_hh"))
        time, batch, inputs = x.shape
        flat = ops.reshape(x, (time * batch, inputs))  # one product for all steps
        if b_ih is None:
            gx = ops.matmul(flat, w_ih.T)
        else:
            gx = ops.linear(flat, w_ih, b_ih if self.gates == 3 else b_ih + b_hh)
        gx = ops.reshape(gx, (time, batch, w_ih.shape[0]))
        if backwards:
            gx = gx[::-1]
        if self.gates == 1:
            return ops.rnn(gx, start, w_hh, nonlinearity=self.nonlinearity)
        if self.gates == 4:
            return ops.lstm(gx, start, w_hh)
        return ops.gru(gx, start, w_hh, np.zeros(w_hh.shape[0], _dtype(w_hh)) if b_hh is None else b_hh)

    def _given(self, hx: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        """The states to start from, of this shape: an array of zeros, or one tensor or two."""
        if hx is None:
            return np.zeros(shape if self.states == 1 else (self.states, *shape), dtype)
        if self.states == 1:
            return self._fitting("the state", hx, shape)
        if not isinstance(hx, tuple | list) or len(hx) != 2:
            raise InputError(self, f"hx is a pair of states (h, c), not {type(hx).__name__}")
        return tuple(self._fitting(f"the state {name}", x, shape) for name, x in zip("hc", hx, strict=True))

    def _fitting(self, what: str, x: Any, shape: tuple[int, ...]) -> Tensor:
        if isinstance(x, tuple | list):
            raise InputError(self, f"{what} is one array of shape {shape}, not a {type(x).__name__}")
        x = as_tensor(x)
        if x.shape != shape:
            raise InputError(self, f"{what} has shape {x.shape}, and this input needs {shape}")
        return x

    def _check_width(self, shape: tuple[int, ...]) -> None:
        if shape[-1] != self.input_size:
            raise InputError(self, f"input {shape} has {shape[-1]} features in its last axis, "
                                   f"this layer expects {self.input_size}")  # fmt: skip


def _dtype(weight: Tensor) -> np.dtype:
    """The dtype of zeros beside this weight, which may hold symbols."""
    return weight.dtype if weight.dtype.kind == "f" else np.dtype(np.float64)


class _Layers(_Recurrent):
    """Recurrent layers one above the other, run over whole sequences."""

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False,
    ) -> None:  # fmt: skip
        self.input_size = length(self, "input_size", input_size)
        self.hidden_size = length(self, "hidden_size", hidden_size)
        self.num_layers = length(self, "num_layers", num_layers)
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        _check_probability(type(self).__name__, dropout)
        if dropout and num_layers == 1:
            name = type(self).__name__
            warn_once("dropout of one layer", f"{name}: dropout={dropout} is between layers, and there is only one")
        self.dropout = dropout
        for k in range(num_layers):
            for end in self._ends(k):
                self._add_weights(input_size if k == 0 else hidden_size * (1 + bidirectional), end)

    def _ends(self, k: int) -> tuple[str, ...]:
        """How the names of layer k's weights end, for each direction."""
        return (f"_l{k}", f"_l{k}_reverse") if self.bidirectional else (f"_l{k}",)

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Any]:
        x = as_tensor(input)
        batched = x.ndim == 3
        if x.ndim not in (2, 3):
            axes = "(batch, time, features)" if self.batch_first else "(time, batch, features)"
            raise InputError(self, f"input {x.shape} has {x.ndim} axes; {axes} is needed, or (time, features)")
        self._check_width(x.shape)
        x = ops.expand_dims(x, 1) if not batched else ops.swapaxes(x, 0, 1) if self.batch_first else x
        if not x.shape[0]:
            raise InputError(self, f"input {np.shape(input)} has no steps in time")
        n = self.num_layers * (1 + self.bidirectional)
        shape = (n, x.shape[1], self.hidden_size) if batched else (n, self.hidden_size)
        start = self._given(hx, shape, _dtype(next(self.parameters())))
        last: list[Tensor] = []  # the last states of every layer and direction
        for k in range(self.num_layers):
            outputs: list[Tensor] = []
            for end in self._ends(k):
                backwards = len(outputs) == 1
                states = self._run(x, self._start(start, len(last), batched), end, backwards)
                last.append(states[..., -1:, :, :])
                steps = slice(None, 0, -1) if backwards else slice(1, None)
                outputs.append(states[(0,) * (self.states - 1) + (steps,)])
            x = ops.concatenate(outputs, -1) if self.bidirectional else outputs[0]
            if self.dropout and k < self.num_layers - 1:
                x = dropout(x, self.dropout, self.training)
        end_states = last[0] if n == 1 else ops.concatenate(last, -3)
        if not batched:
            x, end_states = x[:, 0], end_states[..., 0, :]
        elif self.batch_first:
            x = ops.swapaxes(x, 0, 1)
        return x, end_states if self.states == 1 else (end_states[0], end_states[1])

    def _start(self, given: Any, i: int, batched: bool) -> Any:
        """What the i-th layer (or direction) starts from: (batch, width), or (2, batch, width) for h and c."""
        if isinstance(given, np.ndarray):  # zeros
            part = given[..., i, :, :] if batched else given[..., i, None, :]
            return np.ascontiguousarray(part)
        if self.states == 1:
            return given[i] if batched else given[i][None]
        return ops.stack([x[i] if batched else x[i][None] for x in given])

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (("num_layers", 1), ("nonlinearity", "tanh"), ("bias", True), ("batch_first", False),
                              ("dropout", 0.0), ("bidirectional", False)):  # fmt: skip
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)!r}"
        return text


class RNN(_Layers):
    """Run h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or relu, over a sequence (Elman, 1990).

    The input is (time, batch, input_size), with `batch_first` (batch, time, input_size), or (time, input_size) without
    a batch; `hx`, the states to start from, (num_layers, batch, hidden_size), zeros unless given. Returns the last
    layer's states, (time, batch, hidden_size), and all layers' last states. Each layer takes the states of the one
    below, of which `dropout` sets some to 0 in training. With `bidirectional` every layer also runs backwards, with
    weights of its own: outputs are then twice as wide, and states alternate between the directions.

    Weights have PyTorch's names, shapes and initial values: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, then
    those of "_l0_reverse" and "_l1", drawn from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size)).

    >>> output, h = mg.nn.RNN(3, 4)(np.zeros((5, 2, 3)))
    >>> output.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        self.nonlinearity = known("nonlinearity", nonlinearity, NONLINEARITIES)


class LSTM(_Layers):
    """Run a long short-term memory over a sequence (Hochreiter and Schmidhuber, 1997); the formula is at `ops.lstm`.

    Inputs, arguments and outputs are those of `RNN`, but that a state is a pair (h, c). The weights of the gates lie
    one below the other as input, forget, new, output. Raises ValueError for `proj_size`, which is not supported.

    >>> output, (h, c) = mg.nn.LSTM(3, 4, num_layers=2)(np.zeros((5, 2, 3)))
    >>> output.shape, h.shape, c.shape
    ((5, 2, 4), (2, 2, 4), (2, 2, 4))
    """

    gates, states = 4, 2

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
    ) -> None:  # fmt: skip
        if proj_size:
            raise ValueError(f"LSTM: proj_size={proj_size!r} is not supported; a Linear behind it projects the outputs")
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)


class GRU(_Layers):
    """Run a gated recurrent unit over a sequence (Cho et al., 2014); the formula is at `ops.gru`.

    Inputs, arguments and outputs are those of `RNN`. The weights of the gates lie one below the other as reset, update,
    new.

    >>> output, h = mg.nn.GRU(3, 4, bidirectional=True)(np.zeros((5, 2, 3)))
    >>> output.shape, h.shape
    ((5, 2, 8), (2, 2, 4))
    """

    gates = 3


class _Cell(_Recurrent):
    """One step of a recurrent layer."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        self.input_size = length(self, "input_size", input_size)
        self.hidden_size = length(self, "hidden_size", hidden_size)
        self.bias = bias
        self._add_weights(input_size)

    def forward(self, input: Any, hx: Any = None) -> Any:
        x = as_tensor(input)
        if x.ndim not in (1, 2):
            raise InputError(self, f"input {x.shape} has {x.ndim} axes; (batch, features) is needed, or (features,)")
        self._check_width(x.shape)
        start = self._given(hx, (*x.shape[:-1], self.hidden_size), _dtype(next(self.parameters())))
        if isinstance(start, tuple):
            start = ops.stack(start)
        if x.ndim == 1:
            x, start = x[None], start[..., None, :]
        y = self._run(ops.expand_dims(x, 0), start)[..., 1, :, :]
        y = y[..., 0, :] if np.ndim(input) == 1 else y
        return y if self.states == 1 else (y[0], y[1])

    def extra_repr(self) -> str:
        bias = "" if self.bias else ", bias=False"
        nonlinearity = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity!r}"
        return f"{self.input_size}, {self.hidden_size}{bias}{nonlinearity}"


class RNNCell(_Cell):
    """Take one step of an `RNN`: from x (batch, input_size) and h (batch, hidden_size) to the next h.

    >>> mg.nn.RNNCell(3, 4)(np.zeros((2, 3))).shape
    (2, 4)
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh") -> None:
        super().__init__(input_size, hidden_size, bias)
        self.nonlinearity = known("nonlinearity", nonlinearity, NONLINEARITIES)


class LSTMCell(_Cell):
    """Take one step of an `LSTM`: from x (batch, input_size) and a pair (h, c) to the next (h, c).

    >>> h, c = mg.nn.LSTMCell(3, 4)(np.zeros((2, 3)))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    gates, states = 4, 2


class GRUCell(_Cell):
    """Take one step of a `GRU`: from x (batch, input_size) and h (batch, hidden_size) to the next h.

    >>> mg.nn.GRUCell(3, 4)(np.zeros((2, 3))).shape
    (2, 4)
    """

    gates = 3
