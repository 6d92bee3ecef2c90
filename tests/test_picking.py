"""The gradient of picking many elements, which a kernel adds up."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import ops
from minigrad.ops import loops

rng = np.random.default_rng(0)
SHAPE = (40, 5, 30)
KEYS = {
    "rows": rng.integers(0, 40, 300),
    "rows from the end": rng.integers(-40, 40, (20, 30)),
    "two axes": (rng.integers(0, 40, 400), rng.integers(-5, 5, 400)),
    "broadcast": (rng.integers(0, 40, (50, 1)), rng.integers(0, 5, (1, 10))),
    "behind a slice": (slice(1, None, 2), rng.integers(0, 5, 50)),
    "around a slice": (rng.integers(0, 40, 1000), slice(None), rng.integers(0, 30, 1000)),
    "after an ellipsis": (..., rng.integers(0, 30, 100)),
    "with a mask": (rng.integers(0, 2, 40).astype(bool), slice(None), rng.integers(0, 30, 1)),
    "unsigned": rng.integers(0, 40, 300).astype(np.uint8),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", KEYS)
def test_many_elements_are_added_as_by_numpy(name, dtype):
    key = KEYS[name]
    x = rng.normal(size=np.zeros(SHAPE)[key].shape).astype(dtype)
    assert x.size >= loops.SMALL or name == "with a mask"
    expected = np.zeros(SHAPE, dtype)
    np.add.at(expected, key, x)
    found = ops.scatter(mg.tensor(x), key=key, shape=SHAPE)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.numpy(), expected)  # to the last bit: in the same order
    turned = np.asfortranarray(x)
    np.testing.assert_array_equal(ops.scatter(turned, key=key, shape=SHAPE).numpy(), expected)


def test_gradients_of_picking_pass_through_twice():
    x = mg.tensor(rng.normal(size=(40, 30)), requires_grad=True)
    key = rng.integers(0, 40, 300)
    (x[key] ** 3).sum().backward(create_graph=True)
    first = x.grad
    x.grad = None
    first.sum().backward()
    counts = np.bincount(key, minlength=40)[:, None]
    np.testing.assert_allclose(first.detach().numpy(), 3 * counts * x.numpy() ** 2, rtol=1e-12)
    np.testing.assert_allclose(x.grad.numpy(), 6 * counts * x.numpy(), rtol=1e-12)


def test_an_index_beyond_the_end_is_an_error_and_no_crash():
    with pytest.raises(IndexError, match=r"index 40 is out of bounds"):
        ops.scatter(np.ones((300, 5, 30)), key=np.full(300, 40), shape=SHAPE)
    with pytest.raises(ValueError, match="broadcast"):
        ops.scatter(np.ones((300, 5, 29)), key=np.zeros(300, int), shape=SHAPE)
