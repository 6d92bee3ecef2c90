"""Every card, composed function and layer: captured on one sample, run on another, beside the library itself.

So nothing of the first sample's values may have got into the trace: in value, gradient and second derivative.
"""

import copy

import numpy as np
import pytest
from catalogue import close
from engines import compiled
from hypothesis import given, settings
from hypothesis import strategies as st
from test_vmap import CALLS, floats, mapped_inputs, one_of, put, scalar
from twins import LAYERS, TWINS, Constant

import minigrad as mg
from minigrad import nn
from minigrad.nests import flatten
from minigrad.ops.card import CARDS

RTOL = {np.float64: 1e-12, np.float32: 2e-6}


def both_samples(inputs, dtype):
    """The float arrays of two samples of the inputs, and the inputs themselves to put them into."""
    args, axes = mapped_inputs(inputs)
    first, other = (one_of(args, axes, i) for i in (0, 2))
    return first, *([np.array(x, dtype) for x in floats(sample)] for sample in (first, other))


def same(ours, theirs, what, rtol, exact=None):
    """The same but for rounding; where `exact` is given, at most twice as far from it as theirs."""
    ours, theirs = flatten(ours)[0], flatten(theirs)[0]
    assert len(ours) == len(theirs)
    for a, b, e in zip(ours, theirs, theirs if exact is None else flatten(exact)[0], strict=True):
        assert type(a) is type(b), what
        if isinstance(b, mg.Tensor):
            assert (a.dtype, a.shape) == (b.dtype, b.shape), what
            a, b, e = a.data, b.data, e.data
        finite = np.isfinite(b)
        if not np.array_equal(finite, np.isfinite(e)):  # too large for a float32
            e = b
        e, b = np.asarray(e), np.asarray(b, float)
        lost = np.abs(b - e)[finite].max(initial=0) / np.abs(e)[finite].max(initial=1)
        close(a, e, what, rtol, rtol + 2 * lost)


def orders(f, args, params, second):
    """The function of the float arrays that gives value, gradient and, if wanted, second derivative."""
    total = scalar(f, args, params)

    def size(arrays):
        return sum((g * g).sum() for g in mg.grad(total)(arrays))

    def everything(arrays):
        found = [f(*put(args, arrays), **params), mg.grad(total)(arrays)]
        return [*found, mg.grad(size)(arrays)] if second else found

    return everything


def agree(engine, calls, second):
    """Some calls as one function, since to compile is what takes long; a failure names the call."""
    functions, first, other = {}, {}, {}
    for call, dtype in calls:
        f, inputs, params = call.values
        args, one, two = both_samples(inputs, dtype)
        if one:
            name = f"{call.id}, {dtype.__name__}"
            functions[name] = orders(f, args, params, second)
            first[name], other[name] = one, two

    def together(arrays):
        return {name: functions[name](xs) for name, xs in arrays.items()}

    ours = compiled(engine, together)
    try:
        ours(first)
    except Exception as error:
        if len(calls) == 1:
            raise AssertionError(calls[0][0].id) from error
        for pair in calls:
            agree(engine, [pair], second)
        raise
    found, right = ours(other), together(other)
    for name, f in functions.items():
        exact = f([x.astype(float) for x in other[name]])  # a second derivative in float32 may have lost many digits
        rtol, results = RTOL[np.float64 if name.endswith("64") else np.float32], (found[name], right[name], exact)
        for what, a, b, e in zip(("value", "gradient", "second derivative"), *results, strict=False):
            same(a, b, f"{name}: {what}", rtol, e)


def batches(calls, swapped=False, size=24):
    """The calls, some at a time, with dtypes that take turns."""
    turns = list(RTOL)[::-1] if swapped else list(RTOL)
    pairs = [(call, turns[i % 2]) for i, call in enumerate(calls)]
    return [pytest.param(pairs[i : i + size], id=pairs[i][0].id) for i in range(0, len(pairs), size)]


# Elementwise cards are in test_shapes.py. Every call natively, with second derivatives, in the long run.
ONE_EACH = [
    call for call in CALLS if call.id.rsplit("-", 1)[0] in CARDS and getattr(call.values[0], "domain", 0) is None
]
ONE_EACH = list({call.id.rsplit("-", 1)[0]: call for call in reversed(ONE_EACH)}.values())


@pytest.mark.parametrize("calls", batches(CALLS))
def test_nothing_of_the_first_sample_is_kept(calls):
    agree("replay", calls, second=True)


@pytest.mark.parametrize("calls", batches(ONE_EACH))
def test_cards_natively(calls):
    agree("native", calls, second=False)


@pytest.mark.long
@pytest.mark.parametrize("calls", batches(CALLS) + batches(CALLS, swapped=True))
def test_all_calls_natively(calls):
    agree("native", calls, second=True)


HOSTED = {
    "convolution", "convolution_by_input", "convolution_by_weight", "expm", "over_gaps", "solve_triangular",
    "spherical_jn", "window_max", "window_mean", "window_pick", "window_put", "window_spread",
}  # fmt: skip


@pytest.mark.long
def test_which_cards_run_as_one_piece():
    """Only those whose values come from kernels, from SciPy or by a look at values."""
    found = set()
    for call in CALLS:
        f, inputs, params = call.values
        _, first, _ = both_samples(inputs, np.float64)
        if f in CARDS.values() and first:
            args = one_of(*mapped_inputs(inputs), 0)
            ours = compiled("replay", lambda xs, f=f, args=args, params=params: f(*put(args, xs), **params))
            ours(first)
            ((captured,),) = ours.captures.values()
            kinds = [n.function[0] for n in captured.run.nodes if isinstance(n.function, tuple)]
            if "host" in kinds:
                assert kinds.count("host") == 1, f.name
                found.add(f.name)
    assert found == HOSTED


EXAMPLES = ("BatchNorm1d", "Conv2d", "Dropout", "Embedding", "LSTM", "MultiheadAttention")  # natively in the short run


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=1)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_layers(name, data, seed):
    in_training_and_in_evaluation(name, "replay", data, seed)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in EXAMPLES else pytest.mark.long) for n in LAYERS])
@settings(max_examples=1)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_native_layers(name, data, seed):
    in_training_and_in_evaluation(name, "native", data, seed)


def in_training_and_in_evaluation(name, engine, data, seed):
    """Outputs, gradients by inputs and parameters, and buffers."""
    call, rng = data.draw(TWINS[name]), np.random.default_rng(seed)
    ours = getattr(nn, name)(*call.args, **call.kwargs)
    theirs = copy.deepcopy(ours)

    def inputs():
        arrays = [x.values if isinstance(x, Constant) else x for x in call.inputs]
        return [rng.normal(size=x) if isinstance(x, tuple) else x for x in arrays]

    def objective(layer):
        def total(variables, others):
            params, xs = variables
            given = [xs.get(i, x) for i, x in enumerate(others)]
            leaves = [y for y in flatten(nn.functional_call(layer, params, tuple(given)))[0] if y is not None]
            return sum((mg.sin(y + k) * (k + 1)).sum() for k, y in enumerate(leaves)), leaves

        def run(variables, others):
            gradient = mg.grad(lambda v: total(v, others)[0])(variables)
            return total(variables, others)[1], gradient

        return run

    rtol = 1e-12 if engine == "replay" else 1e-10  # another order of terms
    run, right = compiled(engine, objective(ours)), objective(theirs)
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        given = inputs()
        xs = {i: x for i, x in enumerate(given) if isinstance(x, np.ndarray) and x.dtype.kind == "f"
              and not isinstance(call.inputs[i], Constant)}  # fmt: skip
        others = [None if i in xs else x for i, x in enumerate(given)]
        variables = {path: p.numpy() for path, p in ours.named_parameters()}, xs
        mg.random.seed(seed)
        expected = right(variables, others)
        mg.random.seed(seed)
        same(run(variables, others), expected, name, rtol)
        for path, value in theirs.state_dict().items():
            close(ours.state_dict()[path], value, path, rtol)
