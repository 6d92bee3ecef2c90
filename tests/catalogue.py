"""What every op is compared with, and the tools of the comparison: torch for gradients, NumPy for values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

from minigrad.ops.card import CARDS
from minigrad.tensor import Tensor

torch = pytest.importorskip("torch", reason="torch is what gradients are compared with")
F = torch.nn.functional


def _all(x, axis):
    return tuple(range(x.ndim)) if axis is None else axis


def _prod(x, axis=None, keepdims=False):
    axes = _all(x, axis)
    axes = [i % x.ndim for i in ((axes,) if isinstance(axes, int) else axes)]
    for i in axes:
        x = x.prod(i, keepdim=True)
    return x if keepdims else x.reshape([n for i, n in enumerate(x.shape) if i not in axes])


def _nll_loss(x, target, reduction="mean"):
    picked = -x.gather(-1, target[..., None])[..., 0]
    return {"mean": picked.mean(), "sum": picked.sum(), "none": picked}[reduction]


def _convolution(x, w, *b, stride, padding, dilation, groups, size):
    """torch's convolution of x padded or cropped to what `size` outputs need."""
    each = zip(x.shape[2:], w.shape[2:], stride, padding, dilation, size, strict=True)
    widths = [(p, (m - 1) * s + (k - 1) * d + 1 - p - n) for n, k, s, p, d, m in each]
    x = F.pad(x, [v for pair in reversed(widths) for v in pair])
    return (F.conv1d, F.conv2d)[len(size) - 1](x, w, *b, stride=stride, dilation=dilation, groups=groups)


def _convolution_by_input(g, w, *, stride, padding, dilation, groups, size):
    """torch's transposed convolution, cropped."""
    transposed = (F.conv_transpose1d, F.conv_transpose2d)[len(size) - 1]
    x = transposed(g, w, stride=stride, dilation=dilation, groups=groups)
    widths = [(-p, m - n + p) for n, p, m in zip(x.shape[2:], padding, size, strict=True)]
    return F.pad(x, [v for pair in reversed(widths) for v in pair])


def _convolution_by_weight(x, g, *, size, groups, **params):
    w = torch.zeros((g.shape[1], x.shape[1] // groups, *size), dtype=x.dtype, requires_grad=True)
    y = _convolution(x, w, size=g.shape[2:], groups=groups, **params)
    return torch.autograd.grad(y, w, g, create_graph=True)[0]


def _over_windows(function, windows, *xs):
    """function of the elements of each window, which lie along the last axis."""
    keys = [tuple(slice(r.start, r.stop, r.step) for r in window) for window in itertools.product(*windows)]
    parts = [function(*[x[(..., *key)].flatten(2) for x in xs]) for key in keys]
    return torch.stack(parts, -1).reshape(*xs[0].shape[:2], *map(len, windows))


def _window_pick(values, x, windows):
    picked = _over_windows(lambda v, e: v.gather(-1, e.argmax(-1, keepdim=True))[..., 0], windows, values, x)
    return picked + 0 * x.sum()  # its gradient is 0, and not missing


def _window_put(g, x, windows):
    values = torch.zeros_like(x, requires_grad=True)
    return torch.autograd.grad(_window_pick(values, x, windows), values, g, create_graph=True)[0] + 0 * x


def _window_mean(x, windows, divisors, size):
    counts = torch.tensor([np.prod(d) for d in itertools.product(*divisors)]).reshape([len(d) for d in divisors])
    return _over_windows(lambda e: e.sum(-1), windows, x) / counts


def _window_spread(g, windows, divisors, size):
    x = torch.zeros((*g.shape[:2], *size), dtype=g.dtype, requires_grad=True)
    return torch.autograd.grad(_window_mean(x, windows, divisors, size), x, g, create_graph=True)[0]


# torch's counterpart of an op that has a card, taking our parameters, where torch has it under another name or with
# other arguments. (torch.max would not do for max: along an axis it gives a tie's whole gradient to one element, where
# torch.amax shares it.)
OTHERWISE = {
    "astype": lambda x, dtype: x.to(torch.from_numpy(np.zeros(0, dtype)).dtype),
    "broadcast_to": lambda x, shape: torch.broadcast_to(x, shape),
    "clip": lambda *xs: torch.clamp(*torch.broadcast_tensors(*xs)),  # clamp can't broadcast x
    "concatenate": lambda *xs, axis=0: torch.cat(xs, axis),
    "convolution": _convolution,
    "convolution_by_input": _convolution_by_input,
    "convolution_by_weight": _convolution_by_weight,
    "cumsum": lambda x, axis=None: x.reshape(-1).cumsum(0) if axis is None else x.cumsum(axis),
    "einsum": lambda *xs, subscripts: torch.einsum(subscripts, *xs),
    "expand_dims": lambda x, axis=0: x.unsqueeze(axis),
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "getitem": lambda x, key: x[key],
    "identity": torch.clone,
    "log_softmax": lambda x, axis=-1: torch.log_softmax(x, axis),
    "logsumexp": lambda x, axis=None, keepdims=False: torch.logsumexp(x, _all(x, axis), keepdims),
    "max": lambda x, axis=None, keepdims=False: torch.amax(x, _all(x, axis), keepdims),
    "mean": lambda x, axis=None, keepdims=False: torch.mean(x, _all(x, axis), keepdims),
    "min": lambda x, axis=None, keepdims=False: torch.amin(x, _all(x, axis), keepdims),
    "nll_loss": lambda log_p, target, reduction="mean": F.nll_loss(log_p, target, reduction=reduction),
    "power": torch.pow,
    "prod": _prod,
    "reshape": lambda x, shape: x.reshape(shape),
    "root": lambda x, n=2: torch.pow(x, 1 / n),
    "scatter": lambda x, key, shape: torch.zeros(shape, dtype=x.dtype).index_put(
        (torch.as_tensor(key),), x, accumulate=True
    ),
    "softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "squeeze": lambda x, axis=None: x.squeeze() if axis is None else x.squeeze(axis),
    "stack": lambda *xs, axis=0: torch.stack(xs, axis),
    "sum": lambda x, axis=None, keepdims=False: torch.sum(x, _all(x, axis), keepdims),
    "transpose": lambda x, axes=None: x.permute(axes or tuple(range(x.ndim))[::-1]),
    "vdot": lambda a, b: (a * b).sum(),
    "where_positive": lambda a, x: torch.where(x > 0, a, 0.0) + 0 * x,
    "window_max": lambda x, windows: _over_windows(lambda e: e.amax(-1), windows, x),
    "window_mean": _window_mean,
    "window_pick": _window_pick,
    "window_put": _window_put,
    "window_spread": _window_spread,
}


def torch_counterpart(name):
    """The function of torch that a card is compared with: the exception above, or torch's function of that name."""
    found = [getattr(room, name) for room in (torch, torch.special, torch.linalg, F) if hasattr(room, name)]
    return OTHERWISE.get(name) or (found[0] if found else None)


TORCH = {name: counterpart for name in CARDS if (counterpart := torch_counterpart(name))}

ELEMENTWISE = sorted(name for name, card in CARDS.items() if card.domain is not None)

# The parameters of elementwise ops, and the values that the tests draw.
PARAMETERS = {
    "leaky_relu": {"negative_slope": st.floats(0, 0.5)},
    "elu": {"alpha": st.floats(0.5, 2)},
    "root": {"n": st.sampled_from([1.5, 2, 3])},
    "softplus": {"beta": st.floats(0.5, 2), "threshold": st.floats(1, 20)},
}

# Random arguments --------------------------------------------------------------------------------------------------


def sample(rng, domain, shape, dtype=np.float64):
    """Random numbers of an op's domain: an interval, or "bool"."""
    if domain == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    return np.asarray(rng.uniform(*domain, shape), dtype)


LAYOUTS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: np.array(x.T, order="C").T,
    "strided": lambda x: np.repeat(x, 2, -1)[..., ::2] if x.ndim else x,
    "reversed": lambda x: np.array(x[::-1])[::-1] if x.ndim else x,
}
layouts = st.sampled_from(sorted(LAYOUTS))
rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)
shapes = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


def spaced(rng, shape):
    """Random numbers around 0, none nearly 0, no two nearly equal."""
    n = int(np.prod(shape))
    return (rng.permutation(n) - n // 2 + 0.5 + rng.uniform(-0.2, 0.2, n)).reshape(shape) / 2


def broadcastable(n):
    """The shapes of n arrays that broadcast together."""
    return mutually_broadcastable_shapes(num_shapes=n, min_dims=0, max_dims=3, min_side=0, max_side=3).map(
        lambda s: s.input_shapes
    )


@st.composite
def axes_of(draw, ndim):
    """One axis, several, or None for all; negative ones too."""
    one = st.integers(-ndim, ndim - 1)
    several = st.lists(one, min_size=1, max_size=ndim, unique_by=lambda i: i % ndim).map(tuple)
    return draw(st.none() | one | several) if ndim else None


# Comparing ---------------------------------------------------------------------------------------------------------


def leaf(x, layout="contiguous"):
    """A tensor over an array laid out in this way (mg.tensor would copy it); floats require grad."""
    x = LAYOUTS[layout](np.asarray(x))
    return Tensor(x, x.dtype.kind == "f")


def torch_leaf(x):
    t = torch.from_numpy(np.array(x))
    return t.requires_grad_() if t.is_floating_point() else t


def close(ours, theirs, what, rtol=1e-10, atol=1e-13):
    """Equal shapes, and equal values up to `rtol` relative, or `atol` beside the largest."""
    theirs = theirs.numpy(force=True) if isinstance(theirs, torch.Tensor) else np.asarray(theirs)
    ours = ours._data if isinstance(ours, Tensor) else ours
    assert np.shape(ours) == theirs.shape, f"{what}: shape {np.shape(ours)} for {theirs.shape}"
    scale = np.max(np.abs(theirs[np.isfinite(theirs)]), initial=1)
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol * scale, err_msg=what)


def gradients(y, g, xs, create_graph=False):
    """Ours: the gradients of y by the leaves xs, None for those that y does not depend on."""
    for x in xs:
        x.grad = None
    y.backward(g, create_graph=create_graph)
    return [x.grad for x in xs]


def torch_gradients(y, g, xs, create_graph=False):
    return torch.autograd.grad(y, xs, g, create_graph=create_graph, retain_graph=True, allow_unused=True)


def agree(ours, theirs, arrays, rng, layout="contiguous", second=True):
    """Assert that two functions agree on arrays: in value, gradient and (unless not `second`) second derivative."""
    xs, ts = [leaf(x, layout) for x in arrays], [torch_leaf(x) for x in arrays]
    y, ty = ours(*xs), theirs(*ts)
    close(y, ty, "value", rtol=1e-12)
    xs, ts = [x for x in xs if x.requires_grad], [t for t in ts if t.requires_grad]
    g = rng.standard_normal(y.shape)
    for i, (a, b) in enumerate(zip(gradients(y, g, xs), torch_gradients(ty, torch.from_numpy(g), ts), strict=True)):
        close(a, b, f"gradient by input {i}")
    if not second:
        return
    # The gradient of sum_i (gradient_i * v_i).sum(), by the inputs and by g.
    g, tg = leaf(g), torch_leaf(g)
    first, tfirst = gradients(y, g, xs, create_graph=True), torch_gradients(ty, tg, ts, create_graph=True)
    vs = [rng.standard_normal(x.shape) for x in xs]
    s = sum((a * v).sum() for a, v in zip(first, vs, strict=True))
    t = sum((b * torch.from_numpy(v)).sum() for b, v in zip(tfirst, vs, strict=True))
    xs, ts = [*xs, g], [*ts, tg]
    ttwice = torch_gradients(t, None, ts) if t.requires_grad else [None] * len(ts)
    for i, (x, a, b) in enumerate(zip(xs, gradients(s, None, xs), ttwice, strict=True)):
        zero = np.zeros(x.shape)
        close(zero if a is None else a, zero if b is None else b, f"second derivative by input {i}")
