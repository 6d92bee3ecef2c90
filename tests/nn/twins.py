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
