"""Every layer beside torch's of the same name: how it is made, and what goes in."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from minigrad import nn

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

ALONE |= {"Dropout", "ModuleDict", "ParameterDict", "ParameterList", "PositionalEncoding"}


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


# Each normalisation of a few numbers divides by what may be a small deviation, and their rounding errors with it: in
# float32 a stack of them agrees to fewer digits.
ROUNDING = {"TransformerEncoderLayer": 30, "TransformerDecoderLayer": 100, "TransformerEncoder": 300, "LayerNorm": 10}

TWINS |= {
    "LayerNorm": sample_norms(bias=st.booleans()), "RMSNorm": sample_norms(),
    "MultiheadAttention": attentions(),
    "TransformerEncoderLayer": transformers(), "TransformerDecoderLayer": transformers(memory=True),
    "TransformerEncoder": transformers(stack=True),
    "Bilinear": st.builds(lambda n, m, k, bias, lead: Call(n, m, k, bias=bias, inputs=[(*lead, n), (*lead, m)]),
                          widths, widths, widths, st.booleans(), st.sampled_from([(), (3,), (2, 3)])),
}  # fmt: skip

LAYERS = sorted(name for name in nn.__all__ if isinstance(getattr(nn, name), type) and name not in ALONE)
