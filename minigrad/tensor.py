"""The Tensor: an array, its gradient, and the op and inputs that made it.

Every result of an op remembers the op (`_op`) and what it was called with (`_inputs`, `_params`). These links
*are* the graph; there is no other structure. They point from results to inputs only, so a graph has no
reference cycles and is freed as soon as its last result is. The walk back over the links is in `autodiff.py`, the
mathematics of each op is on its card in `ops/`.
"""

from __future__ import annotations

import itertools
import sys
import threading
import warnings
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator
from typing import Any, final

import numpy as np

from .batching import StandIn
from .hooks import Handle, Hooks


class MinigradWarning(UserWarning):
    """A program that runs, and probably does not do what was meant."""


HERE = __file__.rpartition("tensor.py")[0]  # the library's folder
_warned: set[str] = set()


def warn_once(key: str, message: str) -> None:
    """Warn with `message`, once a process for each `key`."""
    if key not in _warned:
        _warned.add(key)
        warnings.warn(message, MinigradWarning, stacklevel=_users_level())


def _users_level() -> int:
    """How far up the first line is that is not the library's own, as seen from who warns."""
    frame, level = sys._getframe(2), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(HERE):
        frame, level = frame.f_back, level + 1
    return level


# What an op does beside computing: RECORD links its result into the graph, FREE does not, and PLAIN (inside the
# backward walk) does not even make a Tensor, so that gradient rules run on bare arrays.
RECORD, FREE, PLAIN = "record", "free", "plain"


class _Mode(threading.local):
    now = RECORD
    transforms = 0  # how many transforms are running the user's functions
    levels: tuple = ()  # the calls of vmap that are running, those further in last
    capture: Any = None  # the capture of a function that is being compiled


mode = _Mode()


class _ModeContext(ContextDecorator):
    """Ops run in mode `self.what` inside the block, or inside the function that it decorates."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.before: list[str] = []  # a stack, since a block may be entered within itself

    def __enter__(self) -> None:
        self.before.append(mode.now)
        mode.now = self.what

    def __exit__(self, *exc: object) -> None:
        mode.now = self.before.pop()


def no_grad() -> _ModeContext:
    """Record no graph inside the block, or the function it decorates: to evaluate, or to update parameters by hand.

    >>> import minigrad as mg
    >>> w = mg.tensor(2.0, requires_grad=True)
    >>> with mg.no_grad():
    ...     y = w * w
    >>> y.requires_grad
    False
    """
    return _ModeContext(FREE)


def recording() -> _ModeContext:
    """Record the graph inside the block, whatever the mode outside: transforms differentiate under `no_grad` too."""
    return _ModeContext(RECORD)


_default_dtype = np.dtype(np.float64)


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype of what layers and creation functions make (float64 at the start).

    Raises TypeError unless `dtype` is a floating dtype.
    """
    global _default_dtype
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        raise TypeError(f"set_default_dtype: {dtype} is no floating dtype; np.float32 or np.float64 would do")
    _default_dtype = dtype


def default_dtype() -> np.dtype:
    """The dtype of what layers and creation functions make."""
    return _default_dtype


# One clock orders everything that happens to tensors: `_born` is when a result was made, `_changed` when data was last
# changed in place. Results in order of birth are in topological order, and a tensor changed after a result
# that used it was born makes the gradient of that result wrong.
tick = itertools.count(1).__next__
NO_PARAMS: dict[str, Any] = {}
EXPOSED = -1  # `_changed` of a tensor whose array a user holds: compare fingerprints to know


def fingerprint(array: np.ndarray) -> int:
    """A checksum of an array's values."""
    if array.dtype.hasobject:
        return hash(tuple(array.ravel().tolist()))
    return zlib.crc32(np.ascontiguousarray(array).data.cast("B")) if array.size else 0


@final
class Tensor:
    """An array of numbers or symbols that remembers how it was made. Made by `mg.tensor` and by every op.

    >>> import minigrad as mg
    >>> w = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> loss = (w * w).sum()
    >>> loss.backward()
    >>> w.grad
    tensor([2., 4.])
    """

    __slots__ = (
        "__weakref__", "_born", "_changed", "_data", "_grad", "_grad_used", "_inputs", "_keep", "_lent", "_op",
        "_params",
        "_print", "_where", "name", "requires_grad",
    )  # fmt: skip

    def __init__(self, data: np.ndarray, requires_grad: bool = False, name: str | None = None) -> None:
        if not hasattr(data, "dtype"):
            raise TypeError(f"Tensor holds an array, not {type(data).__name__}: use mg.tensor for lists and numbers")
        self._data: Any = data  # an ndarray, or a NumPy scalar where an op reduced everything
        self.requires_grad = requires_grad
        self.name = name
        self._op: Any = None  # the card of the op that made this tensor; None for a leaf
        self._inputs: tuple = ()
        self._params = NO_PARAMS
        self._born = 0
        self._changed = 0
        self._grad: Tensor | None = None
        self._keep: Any = False  # whether backward leaves the gradient here; and the hooks, where there are any
        self._lent: Any = None  # a weak reference to the view that a user has of the data
        self._where = ""  # the line that made it, under mg.debug()

    # ---- the array -------------------------------------------------------------------------------------------

    @property
    def data(self) -> np.ndarray:
        """The values, an ndarray. Changing them in place after a graph has used them makes `backward` raise."""
        if not isinstance(self._data, np.ndarray):  # full reductions hold NumPy scalars, which are faster
            if isinstance(self._data, StandIn):
                return self._data  # type: ignore[return-value]  # it is not watched
            self._data = np.asarray(self._data)
        view = self._lent() if self._changed == EXPOSED else None
        if view is None:  # a view of its own for the user, so that we know when nobody holds it any more
            changed, view = self._settle(), self._data.view()
            self._print, self._lent = (fingerprint(view), changed), weakref.ref(view)
            self._changed = EXPOSED
        return view

    @data.setter
    def data(self, value: Any) -> None:
        value = value._data if isinstance(value, Tensor) else value
        value = value if isinstance(value, StandIn) else np.asanyarray(value)
        if value.shape != self.shape:
            raise ValueError(f"{describe(self)}: data of shape {value.shape} cannot replace data of shape {self.shape}")
        if self.requires_grad:
            check_differentiable(value.dtype)
        ours = self._lent() if self._changed == EXPOSED else self._data
        if value is not ours:  # as it is after `t.data -= 1`
            self._data = own_copy(value)
        self._touch()

    def _touch(self) -> None:
        """Say that the data has changed."""
        if self._changed == EXPOSED:
            self._print = fingerprint(self._data), tick()
        else:
            self._changed = tick()

    def _settle(self) -> int:
        """When the data was last changed, once the array that a user may have written to has been looked at."""
        if self._changed != EXPOSED:
            return self._changed
        before, changed = self._print
        now = fingerprint(self._data)
        if now != before:
            changed = tick()
        self._print = now, changed
        if self._lent() is None:
            self._changed = changed
        return changed

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def size(self) -> int:
        return self._data.size

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    def item(self) -> Any:
        """The value of a tensor of one element, as a Python number (or a SymPy expression)."""
        if self.size != 1:
            raise ValueError(f"item: a tensor of shape {self.shape} has {self.size} elements; index one first")
        return self._data.item()

    def numpy(self) -> np.ndarray:
        """A copy of the values, outside the graph."""
        return own_copy(self._data)

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self._data.tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad and mode.now == RECORD:
            raise TypeError(
                "a tensor that requires grad would leave the graph here, and its gradient with it: use mg's or NumPy's "
                "functions on the tensor itself, or .detach() or .numpy() where no gradient is meant to flow"
            )
        return np.array(self._data, dtype=dtype, copy=bool(copy), subok=True) if copy else np.asarray(self.data, dtype)

    # ---- the gradient ----------------------------------------------------------------------------------------

    @property
    def is_leaf(self) -> bool:
        """Whether this tensor was made by the user rather than by a recorded op."""
        return self._op is None

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` has accumulated here, or None."""
        if self._grad is None and self._op is not None and not keeps(self):
            warn_once(
                "grad of a non-leaf",
                f"{describe(self)} is no leaf, so backward leaves no gradient on it. If a parameter was rebound by "
                "`w = w - lr * w.grad`, update it in place: `w.data -= lr * w.grad.data`. If the gradient of an "
                "intermediate result is wanted, call retain_grad() on it before backward",
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            value = as_tensor(value)
            if value.shape != self.shape:
                raise ValueError(f"{describe(self)}: its shape is {self.shape}, a gradient's shape {value.shape}")
        self._grad = value
        self._grad_used = False

    def retain_grad(self) -> None:
        """Have `backward` keep the gradient of this intermediate result in `.grad`."""
        if isinstance(self._keep, Hooks):
            self._keep.keep = True
        else:
            self._keep = True

    def register_hook(self, hook: Callable[[Tensor], Any]) -> Handle:
        """Have `hook(g)` called with the complete gradient g of this tensor, whenever a walk comes by.

        It may return another gradient of the same shape (a tensor, array or number), which takes the place of g for
        all that follows, further hooks included; they are called in the order of registration. With `create_graph` g is
        part of the graph, and so may be what replaces it. `remove()` of what is returned takes the hook off. Raises
        RuntimeError where no gradient will ever come, and ValueError in the walk for a gradient of another shape.

        >>> import minigrad as mg
        >>> w = mg.tensor([3.0, 4.0], requires_grad=True)
        >>> handle = w.register_hook(lambda g: g / mg.linalg.norm(g))
        >>> (w * w).sum().backward()
        >>> w.grad
        tensor([0.6, 0.8])
        >>> handle.remove()
        """
        if not self.requires_grad:
            raise RuntimeError(f"register_hook: {describe(self)} does not require grad, so no gradient will come by")
        if not callable(hook):
            raise TypeError(f"register_hook takes a function of the gradient, not {type(hook).__name__}")
        if not isinstance(self._keep, Hooks):
            self._keep = Hooks(self._keep)
        return self._keep.add(hook)

    def detach(self) -> Tensor:
        """A copy of the values as a tensor outside the graph."""
        return Tensor(own_copy(self._data))

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switch on (or off) gradients for a leaf; returns the tensor."""
        if self._op is not None:
            raise RuntimeError(f"{describe(self)} is no leaf: detach() it first to change requires_grad")
        if requires_grad:
            check_differentiable(self._data.dtype)
        self.requires_grad = requires_grad
        return self

    def backward(self, gradient: Any = None, create_graph: bool = False) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf that it was computed from.

        `gradient` is the gradient of some later scalar with respect to this tensor, in its shape; a tensor of one
        element needs none. With `create_graph` the gradients are themselves differentiable.
        """
        autodiff.backward(self, gradient, create_graph)

    # ---- NumPy's protocols: np.exp(t), np.mean(t, axis=0), ndarray @ t ---------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **params: Any) -> Any:
        return ops.numpy_ufunc(ufunc, method, inputs, params)

    def __array_function__(self, function: Any, types: Any, args: Any, params: Any) -> Any:
        return ops.numpy_function(function, args, params)

    # ---- operators and methods: the cards, under NumPy's names -----------------------------------------------

    def __add__(self, other): return ops.add(self, other)
    def __radd__(self, other): return ops.add(other, self)
    def __sub__(self, other): return ops.subtract(self, other)
    def __rsub__(self, other): return ops.subtract(other, self)
    def __mul__(self, other): return ops.multiply(self, other)
    def __rmul__(self, other): return ops.multiply(other, self)
    def __truediv__(self, other): return ops.divide(self, other)
    def __rtruediv__(self, other): return ops.divide(other, self)
    def __floordiv__(self, other): return ops.floor_divide(self, other)
    def __rfloordiv__(self, other): return ops.floor_divide(other, self)
    def __mod__(self, other): return ops.mod(self, other)
    def __rmod__(self, other): return ops.mod(other, self)
    def __pow__(self, other): return ops.power(self, other)
    def __rpow__(self, other): return ops.power(other, self)
    def __matmul__(self, other): return ops.matmul(self, other)
    def __rmatmul__(self, other): return ops.matmul(other, self)
    def __neg__(self): return ops.negative(self)
    def __pos__(self): return self
    def __abs__(self): return ops.abs(self)
    def __getitem__(self, key): return ops.getitem(self, key)

    def __eq__(self, other): return ops.compare(np.equal, self, other)
    def __ne__(self, other): return ops.compare(np.not_equal, self, other)
    def __lt__(self, other): return ops.compare(np.less, self, other)
    def __le__(self, other): return ops.compare(np.less_equal, self, other)
    def __gt__(self, other): return ops.compare(np.greater, self, other)
    def __ge__(self, other): return ops.compare(np.greater_equal, self, other)
    __hash__ = object.__hash__

    def __iadd__(self, other): return self._in_place(ops.add, other)
    def __isub__(self, other): return self._in_place(ops.subtract, other)
    def __ipow__(self, other): return self._in_place(ops.power, other)
    def __imul__(self, other): return self._in_place(ops.multiply, other)
    def __itruediv__(self, other): return self._in_place(ops.divide, other)
    def __ifloordiv__(self, other): return self._in_place(ops.floor_divide, other)
    def __imod__(self, other): return self._in_place(ops.mod, other)

    @property
    def T(self): return ops.transpose(self)
    @property
    def mT(self): return ops.matrix_transpose(self)
    def sum(self, axis=None, keepdims=False): return ops.sum(self, axis=axis, keepdims=keepdims)
    def mean(self, axis=None, keepdims=False): return ops.mean(self, axis=axis, keepdims=keepdims)
    def prod(self, axis=None, keepdims=False): return ops.prod(self, axis=axis, keepdims=keepdims)
    def max(self, axis=None, keepdims=False): return ops.max(self, axis=axis, keepdims=keepdims)
    def min(self, axis=None, keepdims=False): return ops.min(self, axis=axis, keepdims=keepdims)
    def var(self, axis=None, ddof=0, keepdims=False): return ops.var(self, axis=axis, ddof=ddof, keepdims=keepdims)
    def std(self, axis=None, ddof=0, keepdims=False): return ops.std(self, axis=axis, ddof=ddof, keepdims=keepdims)
    def cumsum(self, axis=None): return ops.cumsum(self, axis=axis)
    def cumprod(self, axis=None): return ops.cumprod(self, axis=axis)
    def argmax(self, axis=None): return self._data.argmax(axis)
    def argmin(self, axis=None): return self._data.argmin(axis)
    def argsort(self, axis=-1): return np.argsort(self._data, axis)
    def any(self, axis=None, keepdims=False): return np.any(self._data, axis, keepdims=keepdims)
    def all(self, axis=None, keepdims=False): return np.all(self._data, axis, keepdims=keepdims)
    def clip(self, min=None, max=None): return ops.clip(self, min, max)
    def round(self, decimals=0): return ops.round(self, decimals)
    def dot(self, other): return ops.dot(self, other)
    def reshape(self, *shape): return ops.reshape(self, shape[0] if len(shape) == 1 else shape)
    def ravel(self): return ops.ravel(self)
    def flatten(self): return ops.ravel(self)
    def squeeze(self, axis=None): return ops.squeeze(self, axis)
    def transpose(self, *axes): return ops.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)
    def swapaxes(self, axis1, axis2): return ops.swapaxes(self, axis1, axis2)
    def repeat(self, repeats, axis=None): return ops.repeat(self, repeats, axis)
    def take(self, indices, axis=None, mode="raise"): return ops.take(self, indices, axis, mode=mode)
    def compress(self, condition, axis=None): return ops.compress(condition, self, axis)
    def diagonal(self, offset=0, axis1=0, axis2=1): return ops.diagonal(self, offset, axis1, axis2)
    def trace(self, offset=0, axis1=0, axis2=1): return ops.trace(self, offset, axis1, axis2)
    def astype(self, dtype): return ops.astype(self, dtype)

    # ---- in place --------------------------------------------------------------------------------------------

    def _in_place(self, op: Any, other: Any) -> Tensor:
        """`t += other`: an ordinary op, but for a parameter, which only `no_grad` may update (then truly in place)."""
        if not (self._op is None and self.requires_grad):
            return op(self, other)
        self._forbid_writing()
        self._data[...] = op(self, other)._data
        self._touch()
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        self._forbid_writing()
        if isinstance(value, Tensor) and value.requires_grad and mode.now == RECORD:
            raise RuntimeError(
                f"{describe(value)} would leave the graph by being written into another tensor, and its gradient with "
                "it: mg.setitem(tensor, key, value) is a copy with the value in it; or collect the parts in a list and "
                "join them with mg.stack or mg.concatenate"
            )
        self.data[ops.plain_key(key)] = value._data if isinstance(value, Tensor) else value
        self._touch()

    def _forbid_writing(self) -> None:
        if self.requires_grad and mode.now == RECORD:
            raise RuntimeError(
                f"{describe(self)} requires grad, and a graph does not see writing into it: build a new tensor "
                "(mg.setitem, mg.where, mg.concatenate), or write inside `with mg.no_grad():` where no gradient is "
                "meant to flow"
            )

    # ---- Python's protocols ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("a 0-d tensor has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._data)

    def __float__(self) -> float:
        self._warn_of_leaving()
        return float(self._data) if self.dtype.hasobject else float(self.item())

    def __int__(self) -> int:
        self._warn_of_leaving()
        return int(self._data) if self.dtype.hasobject else int(self.item())

    def _warn_of_leaving(self) -> None:
        """Outside of transforms, `float(loss)` is how one looks at a loss; inside, the graph ends here."""
        if mode.transforms and self.requires_grad:
            warn_once(
                "number in a transform",
                f"{describe(self)} becomes a plain number inside a function that is being differentiated, and no "
                "gradient flows through that number: use mg's or NumPy's functions, such as mg.sin for math.sin",
            )

    def __index__(self) -> int:
        return self._data.__index__()

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __repr__(self) -> str:
        batched = isinstance(self._data, StandIn)  # which holds many arrays, and prints their shape
        array = self._data if batched else np.asarray(self._data)
        values = repr(array) if batched else np.array2string(array, separator=", ", prefix="tensor(", threshold=200)
        name = f", name={self.name!r}" if self.name else ""
        name = name if self.size else f", shape={self.shape}{name}"
        dtype = "" if self.dtype in (np.float64, np.int64, np.bool_, object) else f", dtype={self.dtype}"
        made = f", op={self._op.name}" if self._op is not None else ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({values}{dtype}{name}{made})"

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict) -> Tensor:
        if self._op is not None:
            raise RuntimeError(f"{describe(self)} is part of a graph and cannot be copied; detach() it first")
        copy = Tensor(self.numpy(), self.requires_grad, self.name)
        memo[id(self)] = copy
        return copy

    def __reduce__(self) -> tuple:
        if self._op is not None:
            raise RuntimeError(f"{describe(self)} is part of a graph and cannot be pickled; detach() it first")
        return Tensor, (self.numpy(), self.requires_grad, self.name)


def keeps(t: Tensor) -> bool:
    """Whether backward is to leave the gradient of an intermediate result on it."""
    return t._keep.keep if isinstance(t._keep, Hooks) else t._keep


def require(holds: Any, error: Callable[..., Exception], *shown: Any) -> None:
    """Raise error(*shown) unless all of a condition holds; in a function that is compiled, once it has run."""
    if mode.capture is not None and mode.capture.reads(holds):
        mode.capture.require(holds, error, shown)
    elif not np.all(holds):
        raise error(*shown)


def own_copy(array: Any) -> Any:
    """A copy of an array of any kind."""
    return np.array(array, subok=True) if isinstance(array, np.ndarray | np.generic | float | int) else array.copy()


def describe(t: Tensor) -> str:
    """How an error names a tensor."""
    made = f" made by {t._op.name}" if t._op is not None else ""
    return f"tensor{f' {t.name!r}' if t.name else ''} of shape {t.shape}{made}"


def check_differentiable(dtype: np.dtype) -> None:
    """Raise TypeError unless gradients exist for arrays of this dtype."""
    if dtype.kind not in "fO":
        raise TypeError(
            f"gradients need floating point numbers, and these are {dtype}: write 2.0 for 2, or pass dtype=float"
        )


def tensor(data: Any, *, requires_grad: bool = False, dtype: Any = None, name: str | None = None) -> Tensor:
    """Make a leaf tensor from numbers, nested lists, an array or SymPy expressions; the values are copied.

    The dtype is the one NumPy infers. Raises TypeError where gradients are asked for integers, and where `data` holds
    tensors (which would leave the graph: use `mg.stack`) or something that is no array of numbers.

    >>> import minigrad as mg
    >>> mg.tensor([[1, 2], [3, 4]]).dtype
    dtype('int64')
    >>> mg.tensor([1.0, 2.0], requires_grad=True, name="w")
    tensor([1., 2.], name='w', requires_grad=True)
    """
    if isinstance(data, Tensor):
        if data._op is not None:
            warn_once(
                "tensor of a tensor",
                f"mg.tensor copies {describe(data)} out of its graph, and no gradient flows through the copy; say "
                ".detach() if that is meant",
            )
        data = data._data
    array = operand(data)
    if isinstance(array, StandIn):
        array = array.astype(array.dtype if dtype is None else dtype)
    else:
        array = np.array(array, dtype=dtype, subok=True)
    if requires_grad:
        check_differentiable(array.dtype)
    return Tensor(array, requires_grad, name)


def as_tensor(x: Any) -> Tensor:
    """`x` itself if it is a tensor, else a leaf that holds it (an array is not copied)."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, StandIn):
        return Tensor(x.astype(x.dtype) if x.weak else x)  # type: ignore[arg-type]
    return Tensor(x) if type(x) is np.ndarray and x.dtype.kind == "f" else tensor(x)


READY = frozenset({np.ndarray, float, int, bool, np.float64, np.float32, np.int64, np.bool_, type(None)})


def plain(x: Any) -> Any:
    """The array or number that an input of an op holds."""
    return x._data if type(x) is Tensor else x if type(x) in READY else operand(x)


def operand(x: Any) -> Any:
    """Anything an op accepts beside tensors (lists, numbers, arrays, SymPy expressions) as an array."""
    if isinstance(x, StandIn) or (isinstance(x, np.ndarray) and x.dtype.kind in "biufc"):
        return x
    if isinstance(x, np.ndarray) and x.dtype.hasobject and all(isinstance(e, float | int) for e in x.ravel().tolist()):
        return x.astype(float)
    if hasattr(x, "free_symbols") or (isinstance(x, np.ndarray) and x.dtype.hasobject):
        from .symbolic.array import symbolic_array

        return symbolic_array(x)
    array = np.asarray(x)
    if array.dtype.hasobject and array.size:
        from .symbolic.array import symbolic_array

        return symbolic_array(array)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"an op takes tensors, arrays and numbers, not {type(x).__name__} {str(x)[:40]!r}")
    return array


from . import autodiff, ops  # noqa: E402  (the operators above need the cards, and the cards need Tensor)
