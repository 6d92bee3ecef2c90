"""What every op is compared with, and the tools of the comparison: torch for gradients, NumPy for values."""

from __future__ import annotations

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


# Recurrent layers, step by step by torch's cells: what comes from the inputs is all that their input weights give.


def _rnn(gx, start, w, nonlinearity="tanh"):
    cell = torch.rnn_tanh_cell if nonlinearity == "tanh" else torch.rnn_relu_cell
    states = [start]
    for x in gx:
        states.append(cell(x, states[-1], torch.eye(len(w), dtype=w.dtype), w))
    return torch.stack(states)


def _lstm(gx, start, w):
    h, c = [start[0]], [start[1]]
    for x in gx:
        h_next, c_next = torch.lstm_cell(x, (h[-1], c[-1]), torch.eye(len(w), dtype=w.dtype), w)
        h.append(h_next)
        c.append(c_next)
    return torch.stack([torch.stack(h), torch.stack(c)])


def _gru(gx, start, w, b):
    states = [start]
    for x in gx:
        states.append(torch.gru_cell(x, states[-1], torch.eye(len(w), dtype=w.dtype), w, torch.zeros_like(b), b))
    return torch.stack(states)


# torch's counterpart of an op that has a card, taking our parameters, where torch has it under another name or with
# other arguments. (torch.max would not do for max: along an axis it gives a tie's whole gradient to one element, where
# torch.amax shares it.)
OTHERWISE = {
    "bce": lambda x, t: F.binary_cross_entropy(*torch.broadcast_tensors(x, t), reduction="none"),
    "hardsigmoid": lambda x: F.relu6(x + 3) / 6,  # torch's own gradient has 1/6 in float32
    "gru": lambda gx, start, w, b: _gru(gx, start, w, b),
    "lstm": lambda gx, start, w: _lstm(gx, start, w),
    "prelu": lambda x, w: torch.where(x > 0, x, w * x),
    "rnn": lambda gx, start, w, nonlinearity="tanh": _rnn(gx, start, w, nonlinearity),
    "standardize": lambda x, axis=-1, eps=1e-5: (x - x.mean(axis, keepdim=True)) / torch.sqrt(
        x.var(axis, keepdim=True, unbiased=False) + eps
    ),
    "astype": lambda x, dtype: x.to(torch.from_numpy(np.zeros(0, dtype)).dtype),
    "broadcast_to": lambda x, shape: torch.broadcast_to(x, shape),
    "clip": lambda *xs: torch.clamp(*torch.broadcast_tensors(*xs)),  # clamp can't broadcast x
    "concatenate": lambda *xs, axis=0: torch.cat(xs, axis),
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
    "hardshrink": {"lambd": st.floats(0, 1)},
    "hardtanh": {"min_val": st.floats(-2, -0.5), "max_val": st.floats(0, 2)},
    "softshrink": {"lambd": st.floats(0, 1)},
    "threshold": {"threshold": st.floats(-1, 1), "value": st.floats(-2, 2)},
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
