"""Every layer beside torch's of the same name: weights load as they are, outputs and all gradients agree."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
from twins import LAYERS, ROUGH, ROUNDING, TWINS, Constant  # noqa: E402


def test_every_layer_has_calls_to_test():
    assert sorted(set(LAYERS) - TWINS.keys()) == [], "say in tests/nn/twins.py how to call these"


def close(ours, theirs, tolerance, what):
    theirs = theirs.detach().numpy()
    scale = np.max(np.abs(theirs), initial=1)
    np.testing.assert_allclose(np.asarray(ours.detach()), theirs, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def outputs(y):
    """The tensors in a result (recurrent layers return nests), flat."""
    return [leaf for part in y for leaf in outputs(part)] if isinstance(y, tuple | list) else [] if y is None else [y]


def pair(x, dtype, rng):
    """An input for ours and theirs: floats require grad."""
    if isinstance(x, Constant):
        x = x.values.astype(dtype)
        return x, torch.tensor(x)
    if isinstance(x, tuple):
        x = rng.normal(size=x)
    if not isinstance(x, np.ndarray):
        return x, x
    if x.dtype.kind != "f":
        return x, torch.tensor(x)
    x = x.astype(dtype)
    return mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)], ids=["float64", "float32"])
@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=15)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_layers_are_torchs(name, dtype, tolerance, data, seed):
    tolerance *= ROUNDING.get(name, 1) if dtype == np.float32 else 1
    tolerance = max(tolerance, ROUGH.get(name, 0))
    call, rng = data.draw(TWINS[name]), np.random.default_rng(seed)
    torch.manual_seed(seed)
    theirs = getattr(torch.nn, name)(*call.torch_args, **call.torch_kwargs)
    theirs = theirs.double() if dtype == np.float64 else theirs
    ours = getattr(nn, name)(*call.args, **call.kwargs).astype(dtype)
    ours.load_state_dict({path: array.numpy() for path, array in theirs.state_dict().items()})
    pairs = [pair(x, dtype, rng) for x in call.inputs]
    ys, zs = outputs(ours(*[a for a, _ in pairs])), outputs(theirs(*[b for _, b in pairs]))
    assert len(ys) == len(zs)
    total, their_total = mg.tensor(np.zeros((), dtype)), torch.zeros((), dtype=zs[0].dtype)
    for i, (y, z) in enumerate(zip(ys, zs, strict=True)):
        assert y.dtype == dtype
        close(y, z, tolerance, f"output {i}")
        g = rng.normal(size=y.shape).astype(dtype)
        total, their_total = total + (y * g).sum(), their_total + (z * torch.tensor(g)).sum()
    if total.requires_grad:
        total.backward()
        their_total.backward()
    for i, (a, b) in enumerate(pairs):
        if isinstance(a, mg.Tensor) and b.grad is not None:
            close(a.grad, b.grad, tolerance, f"gradient by input {i}")
    named = dict(theirs.named_parameters())
    for path, p in ours.named_parameters():
        if named[path].grad is not None:
            close(p.grad, named[path].grad, tolerance, f"gradient by {path}")
    after = theirs.state_dict()
    for path, array in ours.state_dict().items():  # buffers too, as running means
        np.testing.assert_allclose(array, after[path].numpy(), rtol=tolerance, atol=tolerance, err_msg=path)


@pytest.mark.parametrize("name", LAYERS)
def test_arguments_have_torchs_names(name):
    """In torch's order; but for `dim`, which is `axis` here, and for what only a GPU or TorchScript needs."""
    left_out = {"device", "dtype", "inplace", "size_average", "reduce"}
    renamed = {"dim": "axis", "start_dim": "start_axis", "end_dim": "end_axis"}
    theirs = [renamed.get(p, p) for p in inspect.signature(getattr(torch.nn, name)).parameters if p not in left_out]
    ours = [p for p in inspect.signature(getattr(nn, name)).parameters if p not in ("args", "kwargs")]
    if "args" in theirs:
        return
    if name in ("CrossEntropyLoss", "NLLLoss"):
        ours.remove("axis")  # of the classes: always 1 for torch
    assert ours == [p for p in theirs if p in ours], f"torch's are {theirs}"
