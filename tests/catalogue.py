"""What every op is compared with, and the tools of the comparison: torch for gradients, NumPy for values."""

from __future__ import annotations

import itertools
from math import factorial

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


def _in_row(x, axis):
    """What a scan runs along: torch's take no axis None, and no numbers."""
    return (x.reshape(-1), 0) if axis is None else (x, axis)


def _scan(name):
    def scan(x, axis=None):
        y = getattr(torch, name)(*_in_row(x, axis))
        return y if torch.is_tensor(y) else y.values

    return scan


def _recurrence(a, b, axis=0, reverse=False):
    """Written out, since torch has none."""
    n, rows = b.shape[axis], {}
    for i in reversed(range(n)) if reverse else range(n):
        j, c = (i + 1, i + 1) if reverse else (i - 1, i)
        rows[i] = b.select(axis, i) + (a.select(axis, c) * rows[j] if j in rows else 0)
    return torch.stack([rows[i] for i in range(n)], axis) + 0 * a if n else a * b


def _extremum_of_known(extremum, worst):
    def reduced(x, axis=None, keepdims=False):
        return extremum(torch.where(x.isnan(), worst, x), _all(x, axis), keepdims)

    return reduced


def _convolve(a, v, mode="full"):
    pad = len(v) - 1 if mode == "full" else 0
    return F.conv1d(a[None, None], v.flip(0)[None, None], padding=pad)[0, 0]


def _nll_loss(x, target, reduction="mean"):
    picked = -x.gather(-1, target[..., None])[..., 0]
    return {"mean": picked.mean(), "sum": picked.sum(), "none": picked}[reduction]


def _bessel(sign, scale, first):
    """scale(x, n) sum_k sign^k (x/2)^2k / (k! gamma(first + n + k)): the power series of Bessel functions, in torch."""

    def series(x, **order):
        (n,) = order.values()
        k = torch.arange(30, dtype=torch.float64)
        terms = sign**k / torch.exp(torch.lgamma(k + 1) + torch.lgamma(first + n + k))
        return scale(x, n) * ((x[..., None] / 2) ** (2 * k) * terms).sum(-1)

    return series


ROOT_PI = float(np.sqrt(np.pi))
BERNOULLI = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510]  # B_2, B_4, ...


def _lgamma(x):
    """The series of Stirling, in torch, whose own trigamma has ten digits only."""
    z = x + 12
    tail = sum(b / (2 * j * (2 * j - 1)) / z ** (2 * j - 1) for j, b in enumerate(BERNOULLI, 1))
    return (z - 0.5) * z.log() - z + np.log(2 * np.pi) / 2 + tail - sum((x + k).log() for k in range(12))


def _polygamma(x, n=0):
    """Its n-th derivative but one, in torch."""
    z, sign = x + 12, (-1) ** (n + 1)
    start = z.log() - 1 / (2 * z) if n == 0 else sign * (factorial(n - 1) / z**n + factorial(n) / (2 * z ** (n + 1)))
    steps = sum(b * factorial(2 * j + n - 1) / factorial(2 * j) / z ** (2 * j + n) for j, b in enumerate(BERNOULLI, 1))
    return start + sign * (steps + sum(factorial(n) / (x + k) ** (n + 1) for k in range(12)))


def _linspace(start, stop, num, endpoint, axis):
    steps = max(num - endpoint, 1)
    return torch.stack([torch.lerp(start, stop, i / steps) for i in range(num)], axis)


def _overlap(x, axis):
    """F.fold, which adds up overlapping windows, on rows (as pictures of height 1)."""
    rows = x.moveaxis(axis, -2)
    n, window = rows.shape[-2:]
    added = F.fold(rows.reshape(-1, n, window).mT, (1, n + window - 1), (1, window))
    return added.reshape(*rows.shape[:-2], -1).moveaxis(-1, axis)


def _setitem(x, value, key):
    y = x.clone()
    y[key] = value
    return y


def _columns(b):
    """A right-hand side as a matrix, and whether it was a vector (for NumPy: only if it has one axis)."""
    return (b[:, None], True) if b.ndim == 1 else (b, False)


def _solve(a, b):
    b, vector = _columns(b)
    y = torch.linalg.solve(a, b)
    return y[..., 0] if vector else y


def _solve_triangular(a, b, trans=0, lower=False, unit_diagonal=False):
    b, vector = _columns(b)
    a, upper = (a.mT, bool(lower)) if trans else (a, not lower)
    y = torch.linalg.solve_triangular(a, b, upper=upper, unitriangular=bool(unit_diagonal))
    return y[..., 0] if vector else y


def _signs(x, positive):
    """What makes the diagonal positive, in a row."""
    diagonal = x.diagonal(dim1=-2, dim2=-1)[..., None, :]
    return torch.where((diagonal < 0) & positive, -1.0, 1.0).to(x.dtype).detach()


def _eigh(a, positive=False):
    w, v = torch.linalg.eigh((a + a.mT) / 2)
    return torch.cat([w[..., None, :], v * _signs(v, positive)], -2)


def _svd(a, positive=False):
    u, s, vh = torch.linalg.svd(a, full_matrices=False)
    signs = _signs(u, positive)
    return torch.cat([u * signs, s[..., None, :], vh.mT * signs], -2)


def _qr(a, positive=False):
    q, r = torch.linalg.qr(a)
    signs = _signs(r, positive)
    return torch.cat([q * signs, r.mT * signs], -2)
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
    "attention": lambda q, k, v, mask=None, is_causal=False, scale=1.0: F.scaled_dot_product_attention(
        q, k, v, mask if mask is None else torch.from_numpy(mask), is_causal=is_causal, scale=scale
    ),
    "layer_norm": lambda x, weight, bias, eps=1e-5: F.layer_norm(x, weight.shape, weight, bias, eps),
    "rms_norm": lambda x, weight, eps=1e-5: F.rms_norm(x, weight.shape, weight, eps),
    "safe_softmax": lambda x: torch.softmax(x, -1),
    # Written out: F.binary_cross_entropy adds 1e-12 to what its second derivatives are divided by, and loses digits.
    "bce": lambda x, t: -(t * x.log().clamp(min=-100) + (1 - t) * (-x).log1p().clamp(min=-100)),
    "hardsigmoid": lambda x: F.relu6(x + 3) / 6,  # torch's own gradient has 1/6 in float32
    "gru": lambda gx, start, w, b: _gru(gx, start, w, b),
    "lstm": lambda gx, start, w: _lstm(gx, start, w),
    "prelu": lambda x, w: torch.where(x > 0, x, w * x),
    "rnn": lambda gx, start, w, nonlinearity="tanh": _rnn(gx, start, w, nonlinearity),
    "standardize": lambda x, axis=-1, eps=1e-5: (x - x.mean(axis, keepdim=True)) / torch.sqrt(
        x.var(axis, keepdim=True, unbiased=False) + eps
    ),
    "astype": lambda x, dtype: x.to(torch.from_numpy(np.zeros(0, dtype)).dtype),
    "beta": lambda a, b: torch.exp(_lgamma(a) + _lgamma(b) - _lgamma(a + b)),  # torch has none
    "betaln": lambda a, b: _lgamma(a) + _lgamma(b) - _lgamma(a + b),
    "broadcast_to": lambda x, shape: torch.broadcast_to(x, shape),
    "cbrt": lambda x: x.sign() * x.abs() ** (1 / 3),  # torch has none
    "cholesky": lambda a, upper=False: torch.linalg.cholesky((a + a.mT) / 2, upper=upper),
    "clip": lambda *xs: torch.clamp(*torch.broadcast_tensors(*xs)),  # clamp can't broadcast x
    "cofactors": lambda a: torch.linalg.det(a)[..., None, None] * torch.linalg.inv(a).mT,
    "concatenate": lambda *xs, axis=0: torch.cat(xs, axis),
    "cross": lambda a, b: torch.linalg.cross(*torch.broadcast_tensors(a, b)),
    "digamma": _polygamma,
    "convolve": _convolve,
    "cummax": _scan("cummax"),
    "cummin": _scan("cummin"),
    "cumprod": _scan("cumprod"),
    "cumsum": _scan("cumsum"),
    "eigh": _eigh,
    "convolution": _convolution,
    "convolution_by_input": _convolution_by_input,
    "convolution_by_weight": _convolution_by_weight,
    "einsum": lambda *xs, subscripts: torch.einsum(subscripts, *xs),
    "erfcinv": lambda x: torch.erfinv(1 - x),
    "expand_dims": lambda x, axis=0: x.unsqueeze(axis),
    "fabs": torch.abs,
    "floor_divide": lambda a, b: torch.floor(a / b),  # torch's own has no gradient
    "gamma": lambda x: torch.exp(_lgamma(x)),  # for positive x
    "gammaln": _lgamma,
    "expm": torch.linalg.matrix_exp,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "getitem": lambda x, key: x[key],
    "heaviside": lambda x, h: torch.where(x == 0, h, (x.sign() + 1) / 2),  # torch's has no gradient
    "identity": torch.clone,
    "i1": lambda x: _bessel(1, lambda x, v: x / 2, 1)(x, v=1),  # torch's second derivative loses digits near 0
    "ierfcx": lambda x: 1 / ROOT_PI - x * torch.special.erfcx(x),
    "iv": _bessel(1, lambda x, v: (x / 2) ** v, 1),
    "j0": lambda x: _bessel(-1, lambda x, v: 1, 1)(x, v=0),  # torch's has no gradient
    "j1": lambda x: _bessel(-1, lambda x, v: x / 2, 1)(x, v=1),
    "jv": _bessel(-1, lambda x, v: (x / 2) ** v, 1),
    "linspace": lambda start, stop, num=50, endpoint=True, axis=0: _linspace(start, stop, num, endpoint, axis),
    "log_softmax": lambda x, axis=-1: torch.log_softmax(x, axis),
    "logcumsumexp": _scan("logcumsumexp"),
    "logsumexp": lambda x, axis=None, keepdims=False: torch.logsumexp(x, _all(x, axis), keepdims),
    "logaddexp2": lambda a, b: torch.logaddexp(a * np.log(2), b * np.log(2)) / np.log(2),
    "max": lambda x, axis=None, keepdims=False: torch.amax(x, _all(x, axis), keepdims),
    "mean": lambda x, axis=None, keepdims=False: torch.mean(x, _all(x, axis), keepdims),
    "min": lambda x, axis=None, keepdims=False: torch.amin(x, _all(x, axis), keepdims),
    "mod": torch.remainder,
    "nanmax": _extremum_of_known(torch.amax, -np.inf),
    "nanmin": _extremum_of_known(torch.amin, np.inf),
    "nll_loss": lambda log_p, target, reduction="mean": F.nll_loss(log_p, target, reduction=reduction),
    "polygamma": lambda x, n=2: _polygamma(x, n),
    "power": torch.pow,
    "prod": _prod,
    "overlap": lambda x, axis=0: _overlap(x, axis),
    "repeat": lambda x, repeats=1, axis=0: x.repeat_interleave(repeats, axis),
    "recurrence": _recurrence,
    "over_gaps": torch.div,
    "pinv": lambda a, rcond=None: torch.linalg.pinv(a, rtol=1e-15 if rcond is None else rcond),
    "qr": _qr,
    "reshape": lambda x, shape: x.reshape(shape),
    "rint": torch.round,
    "roll": lambda x, shift, axis=None: torch.roll(x, shift, axis),
    "root": lambda x, n=2: torch.pow(x, 1 / n),
    "scatter": lambda x, key, shape: torch.zeros(shape, dtype=x.dtype).index_put(
        (torch.as_tensor(key),), x, accumulate=True
    ),
    "setitem": lambda x, value, key: _setitem(x, value, key),
    "softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "spherical_jn": _bessel(-1, lambda x, n: ROOT_PI / 2 * (x / 2) ** n, 1.5),
    "slogdet": lambda a: torch.linalg.slogdet(a).logabsdet,
    "solve": _solve,
    "solve_triangular": _solve_triangular,
    "squeeze": lambda x, axis=None: x.squeeze() if axis is None else x.squeeze(axis),
    "stack": lambda *xs, axis=0: torch.stack(xs, axis),
    "sum": lambda x, axis=None, keepdims=False: torch.sum(x, _all(x, axis), keepdims),
    "svd": _svd,
    "transpose": lambda x, axes=None: x.permute(axes or tuple(range(x.ndim))[::-1]),
    "vdot": lambda a, b: (a * b).sum(),
    "windows": lambda x, window=1, axis=0: x.unfold(axis, window, 1),
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
    "iv": {"v": st.sampled_from([0, 0.5, 1, 2, 3.7])},
    "jv": {"v": st.sampled_from([0, 0.5, 1, 2, 3.7])},
    "polygamma": {"n": st.integers(1, 4)},
    "root": {"n": st.sampled_from([1.5, 2, 3])},
    "spherical_jn": {"n": st.integers(0, 4)},
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


def assert_moves(ours, numpy, shapes, rng, layout="contiguous"):
    """Assert that a function moves the elements of arrays (beside zeros) as NumPy's does, and its gradients move back.

    Each gradient has to bring the elements of g back to where they came from. Where that is, NumPy itself tells when it
    moves arrays of positions. `shapes` is that of one array, or a list of several.
    """
    shapes = shapes if isinstance(shapes, list) else [shapes]
    arrays = [rng.standard_normal(s) for s in shapes]
    ends = np.cumsum([0] + [x.size for x in arrays])
    spans = list(zip(ends + 1, ends[1:] + 1, strict=False))  # position 0 is that of zeros from elsewhere
    moved = numpy(*[np.arange(*span).reshape(s) for span, s in zip(spans, shapes, strict=True)])
    ts = [leaf(x, layout) for x in arrays]
    y = ours(*ts)
    np.testing.assert_array_equal(y.data, numpy(*arrays))
    g = leaf(rng.standard_normal(y.shape))
    received = np.bincount(np.ravel(moved), g.data.ravel(), minlength=ends[-1] + 1)
    first = gradients(y, g, ts, create_graph=True)
    for i, (span, s, by) in enumerate(zip(spans, shapes, first, strict=True)):
        close(by, received[slice(*span)].reshape(s), f"gradient by input {i}")
    vs = [rng.standard_normal(s) for s in shapes]
    total = sum((by * v).sum() for by, v in zip(first, vs, strict=True))
    (second,) = gradients(total, None, [g])  # the gradient is linear in g, and its transpose is the op
    close(second, numpy(*vs), "gradient of the gradient")
    for by, without_graph in zip(first, gradients(y, g.data, ts), strict=True):
        np.testing.assert_array_equal(without_graph.data, by.data)


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
