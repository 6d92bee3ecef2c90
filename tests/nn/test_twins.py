"""Every layer beside torch's of the same name: weights load as they are, outputs and all gradients agree."""

import copy
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
from twins import LAYERS, ROUGH, TWINS, Constant  # noqa: E402


def test_every_layer_has_calls_to_test():
    assert sorted(set(LAYERS) - TWINS.keys()) == [], "say in tests/nn/twins.py how to call these"


def outputs(y):
    """The tensors in a result (recurrent layers return nests), flat."""
    return [leaf for part in y for leaf in outputs(part)] if isinstance(y, tuple | list) else [] if y is None else [y]


def filled(x, dtype, rng):
    """An input of a call as an array (or what it is), and whether its gradient is wanted."""
    if isinstance(x, Constant):
        return x.values.astype(dtype), False
    if isinstance(x, tuple):
        x = rng.normal(size=x)
    floating = isinstance(x, np.ndarray) and x.dtype.kind == "f"
    return (x.astype(dtype) if floating else x), floating


def run(layer, inputs, weights):
    """By name: the outputs, the gradients of their weighted sum by inputs and parameters, and the state afterwards."""
    found = {}
    ys = outputs(layer(*inputs))
    total = sum((y * w).sum() for y, w in zip(ys, weights, strict=True))
    if total.requires_grad:
        total.backward()
    found |= {f"output {i}": y.detach() for i, y in enumerate(ys)}
    found |= {f"gradient by input {i}": x.grad for i, x in enumerate(inputs) if getattr(x, "requires_grad", False)}
    found |= {f"gradient by {path}": p.grad for path, p in layer.named_parameters()}
    found |= {f"{path} afterwards": array for path, array in layer.state_dict().items()}  # running means, too
    return {what: np.asarray(value) for what, value in found.items() if value is not None}


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=10)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_layers_are_torchs(name, dtype, data, seed):
    """In float64 to ten digits. In float32 to six, or as near to the result in float64 as torch's is in float32."""
    call, rng = data.draw(TWINS[name]), np.random.default_rng(seed)
    torch.manual_seed(seed)
    single = getattr(torch.nn, name)(*call.torch_args, **call.torch_kwargs)
    double = copy.deepcopy(single).double()
    theirs = double if dtype == np.float64 else single
    ours = getattr(nn, name)(*call.args, **call.kwargs).astype(dtype)
    ours.load_state_dict({path: array.numpy() for path, array in theirs.state_dict().items()})
    arrays = [filled(x, dtype, rng) for x in call.inputs]

    def tensors(kind):
        return [torch.tensor(x if x.dtype.kind != "f" else x.astype(kind), requires_grad=grad)
                if isinstance(x, np.ndarray) else x for x, grad in arrays]  # fmt: skip

    mine = [mg.tensor(x, requires_grad=True) if grad else x for x, grad in arrays]
    weights = [rng.normal(size=y.shape).astype(dtype) for y in outputs(double(*tensors(np.float64)))]
    double = double if dtype == np.float64 else copy.deepcopy(single).double()  # without what that run left in buffers
    if dtype == np.float64:
        double.load_state_dict({path: torch.tensor(array) for path, array in ours.state_dict().items()})
    exact = run(double, tensors(np.float64), [torch.tensor(w.astype(np.float64)) for w in weights])
    found = run(ours, mine, weights)
    rounded = exact if dtype == np.float64 else run(single, tensors(np.float32), [torch.tensor(w) for w in weights])
    assert found.keys() == exact.keys()
    for what, right in exact.items():
        assert found[what].dtype in (dtype, np.int64), what
        scale = np.max(np.abs(right), initial=1)
        tolerance = max(1e-10, ROUGH.get(name, 0)) if dtype == np.float64 else 1e-6
        rounding = np.max(np.abs(rounded[what] - right), initial=0)
        np.testing.assert_allclose(
            found[what], right, rtol=tolerance, atol=tolerance * scale + 3 * rounding, err_msg=what
        )


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
