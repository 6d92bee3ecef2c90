"""Every layer beside torch's of the same name: how it is made, and what goes in."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from minigrad import nn

# Where torch itself is less exact than float64 (its gradient of hardsigmoid has 1/6 in float32).
ROUGH = {"Hardsigmoid": 1e-7}

# Layers without a counterpart in torch, or whose tests stand elsewhere in full.
ALONE = {"HingeLoss", "Module", "ModuleList", "Sequential"}


class Call:
    """A layer's arguments, for ours and, where they differ, for torch's, and the inputs: shapes (floats) or arrays."""

    def __init__(self, *args, inputs, torch_args=None, torch_kwargs=None, **kwargs):
        self.args, self.kwargs, self.inputs = args, kwargs, inputs
        self.torch_args = args if torch_args is None else torch_args
        self.torch_kwargs = kwargs if torch_kwargs is None else torch_kwargs

    def __repr__(self):
        return f"Call({self.args}, {self.kwargs}, inputs={self.inputs})"


def elementwise(*arguments):
    """A strategy for activations: any shape, one of these argument tuples."""
    shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
    return st.builds(lambda args, shape: Call(*args, inputs=[shape]), st.sampled_from(arguments or [()]), shapes)


def softmaxes():
    return st.builds(
        lambda n, axis: Call(axis=axis % n, torch_kwargs={"dim": axis % n}, inputs=[(2, 3, 4)[:n]]),
        st.integers(1, 3), st.integers(0, 2),
    )  # fmt: skip


def regression(**kwargs):
    """A strategy for losses of two arrays of one shape."""
    options = {"reduction": st.sampled_from(["mean", "sum", "none"]), **kwargs}
    return st.builds(lambda shape, options: Call(inputs=[shape, shape], **options),
                     st.sampled_from([(3,), (2, 3), (2, 3, 2)]), st.fixed_dictionaries(options))  # fmt: skip


def classes(rng_seed, reduction):
    rng = np.random.default_rng(rng_seed)
    return Call(inputs=[(4, 3), rng.integers(0, 3, 4)], reduction=reduction)


def zero_one(seed, reduction):
    return Call(inputs=[(4, 3), np.random.default_rng(seed).integers(0, 2, (4, 3)).astype(float)], reduction=reduction)


seeds, reductions = st.integers(0, 99), st.sampled_from(["mean", "sum", "none"])
widths = st.integers(1, 5)

# A layer's name, and a strategy for its calls.
TWINS = {
    "ReLU": elementwise(), "SiLU": elementwise(), "Sigmoid": elementwise(), "Tanh": elementwise(),
    "Identity": elementwise(), "ELU": elementwise((), (0.5,)), "LeakyReLU": elementwise((), (0.2,)),
    "GELU": elementwise((), ("tanh",)), "Softplus": elementwise((), (2.0, 1.0)),
    "Softmax": softmaxes(), "LogSoftmax": softmaxes(),
    "Flatten": st.sampled_from([Call(*args, inputs=[(2, 3, 4)]) for args in [(), (0, 1), (-2,), (0,)]]),
    "Linear": st.builds(lambda n, m, bias, batch: Call(n, m, bias=bias, inputs=[(*batch, n)]), widths, widths,
                        st.booleans(), st.sampled_from([(), (3,), (2, 3)])),
    "MSELoss": regression(), "HuberLoss": regression(delta=st.sampled_from([0.5, 1.0, 2.0])),
    "CrossEntropyLoss": st.builds(classes, seeds, reductions),
    "BCEWithLogitsLoss": st.builds(zero_one, seeds, reductions),
}  # fmt: skip

# ---- normalisation of samples, attention, the transformer ------------------------------------------------------------

ALONE |= {"ModuleDict", "ParameterDict", "ParameterList", "PositionalEncoding"}


@st.composite
def sample_norms(draw, **more):
    """Samples of one axis or two, the shape as an integer, too; enough elements for native loops once in a while."""
    shape = draw(st.sampled_from([(4,), (3, 2), (64,)]))
    options = {"eps": draw(st.sampled_from([1e-5, 0.1])), "elementwise_affine": draw(st.booleans())}
    options |= {name: draw(values) for name, values in more.items()}
    lead = draw(st.sampled_from([(), (3,), (2, 3), (65,)]))
    return Call(shape[0] if len(shape) == 1 and draw(st.booleans()) else shape, inputs=[(*lead, *shape)], **options)


@st.composite
def attentions(draw):
    heads, width = draw(st.sampled_from([(1, 3), (2, 4), (3, 6)]))
    kdim, vdim = draw(st.sampled_from([(None, None), (3, 5), (None, 2)]))
    batch_first, unbatched = draw(st.booleans()), draw(st.integers(0, 3)) == 0
    n, rows, columns = draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    shapes = [(rows, width), (columns, kdim or width), (columns, vdim or width)]
    if not unbatched:
        shapes = [(n, *s) if batch_first else (s[0], n, s[1]) for s in shapes]
    return Call(width, heads, bias=draw(st.booleans()), kdim=kdim, vdim=vdim, batch_first=batch_first, inputs=shapes)


def a_layer(kind, width, heads, norm_first, activation, bias, batch_first):
    """An encoder's or decoder's layer, ours or theirs."""
    return kind(width, heads, 5, dropout=0.0, activation=activation, norm_first=norm_first, bias=bias,
                batch_first=batch_first)  # fmt: skip


@st.composite
def transformers(draw, stack=False, memory=False):
    batch_first = draw(st.booleans())
    width, n, rows, columns = 4, draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    options = {"norm_first": draw(st.booleans()), "activation": draw(st.sampled_from(["relu", "gelu"])),
               "bias": draw(st.booleans()), "batch_first": batch_first}  # fmt: skip
    shapes = [(n, m, width) if batch_first else (m, n, width) for m in (rows, columns)[: 1 + memory]]
    if not stack:
        return Call(width, 2, 5, 0.0, inputs=shapes, **options)
    import torch

    depth, final = draw(st.integers(1, 2)), draw(st.booleans())
    ours = a_layer(nn.TransformerEncoderLayer, width, 2, **options)
    theirs = a_layer(torch.nn.TransformerEncoderLayer, width, 2, **options)
    return Call(ours, depth, nn.LayerNorm(width) if final else None, inputs=shapes,
                torch_args=(theirs, depth, torch.nn.LayerNorm(width) if final else None),
                torch_kwargs={"enable_nested_tensor": False})  # fmt: skip


TWINS |= {
    "LayerNorm": sample_norms(bias=st.booleans()), "RMSNorm": sample_norms(),
    "MultiheadAttention": attentions(),
    "TransformerEncoderLayer": transformers(), "TransformerDecoderLayer": transformers(memory=True),
    "TransformerEncoder": transformers(stack=True),
    "Bilinear": st.builds(lambda n, m, k, bias, lead: Call(n, m, k, bias=bias, inputs=[(*lead, n), (*lead, m)]),
                          widths, widths, widths, st.booleans(), st.sampled_from([(), (3,), (2, 3)])),
}  # fmt: skip

# ---- recurrent layers, normalisation, embedding, dropout, and the losses of torch.nn --------------------------------


def recurrent(**kwargs):
    """A strategy for recurrent layers: any depth and direction, with a batch first, second or left out."""

    def build(n, m, layers, bias, batch_first, bidirectional, lengths, options):
        shape = {"batch": lengths, "reversed": lengths[::-1], "single": lengths[:1]}[options.pop("form")]
        return Call(n, m, num_layers=layers, bias=bias, batch_first=batch_first, bidirectional=bidirectional,
                    inputs=[(*shape, n)], **options)  # fmt: skip

    options = st.fixed_dictionaries({"form": st.sampled_from(["batch", "reversed", "single"]), **kwargs})
    return st.builds(build, widths, widths, st.integers(1, 2), st.booleans(), st.booleans(), st.booleans(),
                     st.tuples(st.integers(1, 4), st.integers(1, 3)), options)  # fmt: skip


def cells(**kwargs):
    def build(n, m, bias, batch, options):
        return Call(n, m, bias=bias, inputs=[(*batch, n)], **options)

    return st.builds(build, widths, widths, st.booleans(), st.sampled_from([(), (3,)]), st.fixed_dictionaries(kwargs))


def norms(*shapes, **kwargs):
    """Normalisation of the channels of axis 1 of these shapes."""

    def build(shape, options):
        return Call(shape[1], inputs=[shape], **options)

    return st.builds(build, st.sampled_from(shapes), st.fixed_dictionaries(
        {"eps": st.sampled_from([1e-5, 0.1]), "affine": st.booleans(), **kwargs}))  # fmt: skip


batch_options = {"momentum": st.sampled_from([0.1, 0.5, None]), "track_running_stats": st.booleans()}


def embeddings():
    def build(n, width, padding, shape, seed):
        index = np.random.default_rng(seed).integers(0, n, shape)
        return Call(n, width, padding_idx=padding and min(padding, n - 1), inputs=[index])

    return st.builds(build, widths, widths, st.sampled_from([None, 0, 2, -1]),
                     st.sampled_from([(), (4,), (2, 3), (0,)]), seeds)  # fmt: skip


def class_losses(probabilities=True):
    """Scores (or, unless `probabilities`, their logarithms) and classes, some ignored, with weights."""

    def build(seed, reduction, weighted, ignore, smoothing, axes):
        rng = np.random.default_rng(seed)
        x = np.log(rng.dirichlet(np.ones(3), (4, *axes)))
        target = np.asarray(rng.integers(0, 3, (4, *axes)))
        if ignore is not None:
            target.ravel()[::3] = ignore
            target.ravel()[1] = 1 if ignore != 1 else 0
        kwargs = {"reduction": reduction} | ({} if ignore is None else {"ignore_index": ignore})
        if probabilities:
            kwargs["label_smoothing"] = smoothing
            if seed % 3 == 0 and ignore != 1:  # of classes
                target = rng.dirichlet(np.ones(3), (4, *axes))
        weight = rng.uniform(0.5, 2, 3) if weighted else None
        if target.dtype == float:
            target = np.moveaxis(target, -1, 1)
        x = np.ascontiguousarray(np.moveaxis(x, -1, 1))  # torch's nll_loss wants that
        return Call(weight, inputs=[x, np.ascontiguousarray(target)], axis=1, torch_kwargs=dict(kwargs),
                    torch_args=(None if weight is None else torch_tensor(weight),), **kwargs)  # fmt: skip

    return st.builds(build, seeds, reductions, st.booleans(), st.sampled_from([None, -100, 1]),
                     st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([(), (2,), (2, 3)]))  # fmt: skip


def torch_tensor(x):
    import torch

    return torch.tensor(x, dtype=torch.float32)  # the test makes it float64, where it wants that


def yes_or_no(logits):
    def build(seed, reduction, weighted, pos_weighted):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(4, 3)) if logits else rng.uniform(0.01, 0.99, (4, 3))
        factors = {"weight": rng.uniform(0.5, 2, (4, 3))} if weighted else {}
        if logits and pos_weighted:
            factors["pos_weight"] = rng.uniform(0.5, 2, 3)
        theirs = {name: torch_tensor(values) for name, values in factors.items()} | {"reduction": reduction}
        return Call(inputs=[x, rng.uniform(size=(4, 3))], reduction=reduction, **factors, torch_kwargs=theirs)

    return st.builds(build, seeds, reductions, st.booleans(), st.booleans())


def divergences(seed, reduction, log_target):
    rng = np.random.default_rng(seed)
    x, target = np.log(rng.dirichlet(np.ones(3), 4)), rng.dirichlet(np.ones(3), 4)
    if not log_target:
        target = np.where(target < 0.2, 0, target)
    return Call(inputs=[x, np.log(target) if log_target else Constant(target)], reduction=reduction,
                log_target=log_target)  # fmt: skip


class Constant:
    """An input that no gradient is asked by: torch has none, or nan, or takes no gradient."""

    def __init__(self, values):
        self.values = values


def signs(*shapes, **kwargs):
    """A strategy for losses of arrays of these shapes and a target of 1 and -1."""

    def build(seed, options):
        rng = np.random.default_rng(seed)
        return Call(inputs=[*shapes[:-1], Constant(rng.choice([-1.0, 1.0], shapes[-1]))], **options)

    return st.builds(build, seeds, st.fixed_dictionaries({"reduction": reductions, **kwargs}))


def likelihoods(form, **kwargs):
    """A strategy for losses of a prediction, counts or values, and, if `form` says so, variances."""

    def build(seed, var, options):
        rng = np.random.default_rng(seed)
        target = Constant(np.asarray(rng.poisson(2.0, (4, 3)), float))
        if form == "poisson":
            return Call(inputs=[rng.uniform(0.1, 2, (4, 3)), target], **options)
        return Call(inputs=[(4, 3), (4, 3), rng.choice([1e-9, 0.5, 2.0], var)], **options)

    shapes = st.sampled_from([(4, 3), (4, 1), (4,)])
    return st.builds(build, seeds, shapes, st.fixed_dictionaries({"reduction": reductions, **kwargs}))


def along_axis(strategy, **kwargs):
    """Calls whose argument `axis` is torch's `dim`."""

    def build(axis, options):
        return Call(axis=axis, torch_kwargs={"dim": axis, **options}, inputs=strategy(axis), **options)

    return st.builds(build, st.integers(-3, 2), st.fixed_dictionaries(kwargs))


TWINS |= {
    **{name: elementwise() for name in ("Softsign", "LogSigmoid", "Hardsigmoid", "Hardswish", "ReLU6", "SELU", "Mish",
                                        "Tanhshrink")},
    "Hardtanh": elementwise((), (-0.5, 2.0)), "CELU": elementwise((), (0.5,)), "Softshrink": elementwise((), (0.2,)),
    "Hardshrink": elementwise((), (0.2,)), "Threshold": elementwise((0.1, 20.0), (-1.0, 0.0)),
    "Softmin": softmaxes(),
    "PReLU": st.sampled_from([Call(inputs=[(3,)]), Call(1, 0.1, inputs=[(2, 3)]), Call(3, inputs=[(2, 3)]),
                              Call(3, inputs=[(2, 3, 4)])]),
    "GLU": along_axis(lambda axis: [(2, 4, 6)]),
    "RNN": recurrent(nonlinearity=st.sampled_from(["tanh", "relu"])), "LSTM": recurrent(), "GRU": recurrent(),
    "RNNCell": cells(nonlinearity=st.sampled_from(["tanh", "relu"])), "LSTMCell": cells(), "GRUCell": cells(),
    "BatchNorm1d": norms((4, 3), (2, 3, 4), **batch_options), "BatchNorm2d": norms((2, 3, 2, 2), **batch_options),
    "InstanceNorm1d": norms((2, 3, 4)), "InstanceNorm2d": norms((2, 3, 2, 3)),
    "GroupNorm": st.sampled_from([Call(g, c, affine=a, inputs=[(2, c, *rest)])
                                  for g, c in [(1, 4), (2, 4), (4, 4)] for a in (True, False) for rest in [(), (3, 2)]
                                  if g < c or rest]),
    "Embedding": embeddings(),
    "Dropout": st.just(Call(0.0, inputs=[(2, 3)])), "Dropout1d": st.just(Call(0.0, inputs=[(2, 3, 4)])),
    "Dropout2d": st.just(Call(0.0, inputs=[(2, 3, 4, 2)])),
    "L1Loss": regression(), "SmoothL1Loss": regression(beta=st.sampled_from([0.0, 0.5, 2.0])),
    "CrossEntropyLoss": st.one_of(st.builds(classes, seeds, reductions), class_losses()),
    "NLLLoss": class_losses(False), "BCEWithLogitsLoss": yes_or_no(True), "BCELoss": yes_or_no(False),
    "KLDivLoss": st.builds(divergences, seeds, st.sampled_from(["batchmean", "sum", "none"]), st.booleans()),
    "SoftMarginLoss": signs((4, 3), (4, 3)), "GaussianNLLLoss": likelihoods("gaussian", full=st.booleans()),
    "PoissonNLLLoss": likelihoods("poisson", full=st.booleans(), log_input=st.booleans()),
    "CosineSimilarity": along_axis(lambda axis: [(2, 3, 4), (2, 3, 4)]),
    "PairwiseDistance": st.builds(lambda p, keepdim: Call(p, keepdim=keepdim, inputs=[(2, 3), (2, 3)]),
                                  st.sampled_from([1.0, 2.0, 3.0]), st.booleans()),
    "CosineEmbeddingLoss": signs((4, 3), (4, 3), (4,), margin=st.sampled_from([0.0, 0.3])),
    "MarginRankingLoss": signs((4, 3), (4, 3), (4, 3), margin=st.sampled_from([0.0, 0.3])),
    "TripletMarginLoss": st.builds(lambda options: Call(inputs=[(4, 3)] * 3, **options), st.fixed_dictionaries(
        {"reduction": reductions, "swap": st.booleans(), "margin": st.sampled_from([0.5, 1.0])})),
}  # fmt: skip

# ---- convolution and pooling ---------------------------------------------------------------------------------------


@st.composite
def convolutions(draw, n, transposed=False):
    """A strategy for convolutions with n spatial axes, also of an input without batch."""
    groups = draw(st.integers(1, 2))
    channels, outputs = (groups * draw(st.integers(1, 2)) for _ in range(2))
    kernel, stride, dilation = (tuple(draw(st.integers(1, 3)) for _ in range(n)) for _ in range(3))
    mode = "zeros" if transposed else draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    padding = tuple(draw(st.integers(0, 2)) for _ in range(n))
    if transposed:
        most = [max(s, d) - 1 for s, d in zip(stride, dilation, strict=True)]
        more = {"output_padding": tuple(draw(st.integers(0, m)) for m in most)}
        lengths = [1 + 2 * p for p in padding]
    else:
        more = {"padding_mode": mode}
        lengths = [max(3, (k - 1) * d + 1) + draw(st.integers(0, 2)) for k, d in zip(kernel, dilation, strict=True)]
        if set(stride) == {1}:
            even = all((k - 1) * d % 2 == 0 for k, d in zip(kernel, dilation, strict=True))  # else torch warns
            padding = draw(st.sampled_from([padding, "valid", *(["same"] if even or mode != "zeros" else [])]))
            lengths = [4 + m for m in lengths]  # "same" may ask for more than PyTorch's reflection has
    batch = draw(st.sampled_from([(), (1,), (3,)]))
    return Call(channels, outputs, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups,
                bias=draw(st.booleans()), inputs=[(*batch, channels, *lengths)], **more)  # fmt: skip


@st.composite
def pools(draw, n, **options):
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(n))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    lengths = [5 + draw(st.integers(0, 3)) for _ in range(n)]
    stride = draw(st.none() | st.tuples(*[st.integers(1, 3)] * n))
    more = {name: draw(values) for name, values in {"ceil_mode": st.booleans(), **options}.items()}
    batch = draw(st.sampled_from([(), (1,), (3,)]))
    return Call(kernel, stride, padding, inputs=[(*batch, 2, *lengths)], **more)


def adaptive_pools(n):
    sizes = st.integers(1, 4) if n == 1 else st.integers(1, 4) | st.tuples(st.integers(1, 7), st.none())
    return st.builds(lambda size, batch: Call(size, inputs=[(*batch, 2, *(5, 7)[:n])]), sizes,
                     st.sampled_from([(), (3,)]))  # fmt: skip


TWINS |= {
    "Conv1d": convolutions(1), "Conv2d": convolutions(2), "ConvTranspose1d": convolutions(1, transposed=True),
    "ConvTranspose2d": convolutions(2, transposed=True), "MaxPool1d": pools(1, dilation=st.integers(1, 2)),
    "MaxPool2d": pools(2, dilation=st.integers(1, 2)), "AvgPool1d": pools(1, count_include_pad=st.booleans()),
    "AvgPool2d": pools(2, count_include_pad=st.booleans(), divisor_override=st.sampled_from([None, 3])),
    "AdaptiveAvgPool1d": adaptive_pools(1), "AdaptiveAvgPool2d": adaptive_pools(2),
    "AdaptiveMaxPool1d": adaptive_pools(1), "AdaptiveMaxPool2d": adaptive_pools(2),
}  # fmt: skip

LAYERS = sorted(name for name in nn.__all__ if isinstance(getattr(nn, name), type) and name not in ALONE)
