"""Every function composed of ops, called as its registration says: values, gradients, second derivatives, symbols.

Values are compared with NumPy's function where there is one. Gradients are compared with differences of its values: six
points around each element give ten digits and more.
"""

import numpy as np
import pytest
import sympy
from catalogue import close, leaf, spaced

import minigrad as mg
from minigrad import ops
from minigrad.ops.card import CARDS, COMPOSITES
from minigrad.transforms import flatten, map_nest

STENCIL = {-3: -1 / 60, -2: 3 / 20, -1: -3 / 4, 1: 3 / 4, 2: -3 / 20, 3: 1 / 60}  # the slope, to the sixth order
H = 0.005
CALLS = [
    pytest.param(composite, inputs, params, id=f"{name}-{i}")
    for name, composite in sorted(COMPOSITES.items())
    for i, (inputs, params) in enumerate(composite.cases)
]


def test_every_op_is_registered_and_has_calls_to_test():
    """`test_ops.py` goes over the cards; this file over everything else that `mg` offers as an op."""
    cards = list(CARDS.values())
    names = {name for name in ops.__all__ if getattr(ops, name) not in cards}  # a card may have several
    assert sorted(names - CARDS.keys() - COMPOSITES.keys()) == []
    assert sorted(name for name, composite in COMPOSITES.items() if not composite.cases) == [], "give them cases"


def filled(x, rng, dtype=np.float64):
    """An input of a case: arrays in place of shapes."""
    if isinstance(x, tuple) and all(isinstance(n, int) for n in x):
        return np.asarray(spaced(rng, x), dtype)
    if isinstance(x, list):
        return [filled(part, rng, dtype) for part in x]
    return x.astype(dtype) if is_variable(x) else x


def is_variable(x):
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def joined(y):
    """All the results of a call (a nest of them) in one row."""
    return np.concatenate([np.ravel(part) for part in flatten(y)[0]])


def joined_tensor(y):
    return mg.concatenate([mg.ravel(part) for part in flatten(y)[0]])


def values_of(y):
    return map_nest(lambda t: t.data if isinstance(t, mg.Tensor) else t, y)


def differences(f, inputs, arrays):
    """The Jacobian of f's joined results by each array among the inputs, which is moved in place."""
    rows = []
    for x in arrays:
        for i in np.ndindex(x.shape):
            at, slope = x[i], 0
            for step, weight in STENCIL.items():
                x[i] = at + step * H
                slope = slope + weight * joined(f(*inputs)) / H
            x[i] = at
            rows.append(slope)
    return np.array(rows)


def gradient(f, inputs, arrays, weights, create_graph=False):
    """Ours: the gradients of the weighted sum of f's results, and the leaves that they are by."""
    leaves = [leaf(x) for x in arrays]
    by_array = {id(x): t for x, t in zip(arrays, leaves, strict=True)}
    total = (joined_tensor(f(*map_nest(lambda x: by_array.get(id(x), x), inputs))) * weights).sum()
    if not total.requires_grad:
        return [np.zeros(x.shape) for x in arrays], leaves
    total.backward(create_graph=create_graph)
    return [np.zeros(t.shape) if t.grad is None else t.grad if create_graph else t.grad.data for t in leaves], leaves


@pytest.mark.parametrize(("composite", "inputs", "params"), CALLS)
def test_values_gradients_and_second_derivatives(composite, inputs, params):
    rng = np.random.default_rng(0)
    inputs = [filled(x, rng) for x in inputs]
    arrays = [x for x in flatten(inputs)[0] if is_variable(x)]

    def ours(*xs):
        return composite.function(*xs, **params)

    def reference(*xs):
        return composite.numpy(*xs, **params) if composite.numpy is not None else values_of(ours(*xs))

    values, expected = values_of(ours(*inputs)), reference(*inputs)
    assert [np.shape(x) for x in flatten(values)[0]] == [np.shape(x) for x in flatten(expected)[0]]
    np.testing.assert_allclose(joined(values), joined(expected), rtol=1e-13, atol=1e-14)
    weights = rng.uniform(0.5, 2, joined(values).shape)
    found, _ = gradient(ours, inputs, arrays, weights)
    close(joined(found), differences(reference, inputs, arrays) @ weights, "gradient", 1e-9, 1e-11)

    # The second derivative: the gradient of sum(v * gradient), beside differences of our gradient, checked above.
    first, leaves = gradient(ours, inputs, arrays, weights, create_graph=True)
    vs = [rng.uniform(0.5, 2, x.shape) for x in arrays]
    total = sum((g * v).sum() for g, v in zip(first, vs, strict=True) if isinstance(g, mg.Tensor))
    for t in leaves:
        t.grad = None
    if isinstance(total, mg.Tensor) and total.requires_grad:
        total.backward()
    second = [np.zeros(t.shape) if t.grad is None else t.grad.data for t in leaves]
    slopes = differences(lambda *xs: gradient(ours, xs, arrays, weights)[0], inputs, arrays)
    close(joined(second), slopes @ joined(vs), "second derivative", 1e-8, 1e-11)


@pytest.mark.parametrize(("composite", "inputs", "params"), CALLS)
def test_float32_stays(composite, inputs, params):
    rng = np.random.default_rng(0)
    inputs = [filled(x, rng, np.float32) for x in inputs]
    arrays = [x for x in flatten(inputs)[0] if is_variable(x)]
    results = flatten(composite.function(*inputs, **params))[0]
    if composite.function is ops.float_power:
        return  # which is there to make them wider
    assert {y.dtype for y in results} == {np.dtype(np.float32)}
    weights = np.ones(joined(values_of(results)).shape, np.float32)
    found, _ = gradient(lambda *xs: composite.function(*xs, **params), inputs, arrays, weights)
    assert all(g.dtype == np.float32 for g in found if g.any())


@pytest.mark.parametrize(("composite", "inputs", "params"), CALLS)
def test_symbols_read_what_numbers_compute(composite, inputs, params):
    """The formulas of values and gradients, at the numbers."""
    rng = np.random.default_rng(0)
    inputs = [filled(x, rng) for x in inputs]
    arrays = [x for x in flatten(inputs)[0] if is_variable(x)]
    symbols = [mg.symbols(f"x{i}", x.shape) for i, x in enumerate(arrays)]
    by_array = {id(x): s for x, s in zip(arrays, symbols, strict=True)}
    at = {
        e: sympy.Rational(v)
        for s, x in zip(symbols, arrays, strict=True)
        for e, v in zip(np.ravel(s.data).tolist(), np.ravel(x).tolist(), strict=True)
    }
    with mg.symbolic.deciding(at):  # which element is larger, for those that sort
        y = joined_tensor(composite.function(*map_nest(lambda x: by_array.get(id(x), x), inputs), **params))
        y.sum().backward()

    def numbers(expressions):
        return np.array([float(sympy.sympify(e).subs(at).evalf(20)) for e in np.ravel(expressions).tolist()])

    values = values_of(composite.function(*inputs, **params))
    close(numbers(y.data), joined(values), "value", rtol=1e-12)
    found, _ = gradient(lambda *xs: composite.function(*xs, **params), inputs, arrays, np.ones(y.shape))
    formulas = np.concatenate([np.zeros(s.size) if s.grad is None else numbers(s.grad.data) for s in symbols])
    close(formulas, joined(found), "gradient", rtol=1e-11)
