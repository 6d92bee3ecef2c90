"""Embeddings and one-hot vectors: what the comparison with torch's in test_twins.py does not show."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")


def test_initial_values_are_normal_and_the_padding_zero():
    values = nn.Embedding(500, 40, padding_idx=-1).weight.numpy()
    assert not values[-1].any()
    assert abs(values.mean()) < 5 / np.sqrt(values.size)
    assert abs(values[:-1].std() - 1) < 5 / np.sqrt(2 * values.size)


def test_large_tables_and_their_gradients_are_torchs():
    """Large enough for the kernel that adds up rows."""
    rng = np.random.default_rng(0)
    table, index = rng.normal(size=(50, 64)), rng.integers(0, 50, (16, 32))
    a, b = mg.tensor(table, requires_grad=True), torch.tensor(table, requires_grad=True)
    g = rng.normal(size=(16, 32, 64))
    y = F.embedding(index, a, padding_idx=3)
    y.backward(g)
    z = torch.nn.functional.embedding(torch.tensor(index), b, padding_idx=3)
    z.backward(torch.tensor(g))
    np.testing.assert_array_equal(y.numpy(), z.detach().numpy())
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-13, atol=1e-14)
    assert not a.grad.numpy()[3].any()


def test_second_derivatives_pass_through():
    table = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    rows = F.embedding([1, 1, 0], table)
    (rows**3).sum().backward(create_graph=True)
    first = table.grad
    table.grad = None
    first.sum().backward()
    assert table.grad.tolist() == [[6.0, 12.0], [36.0, 48.0]]  # 6 x, once and twice


def test_symbols():
    layer = nn.Embedding(3, 2).symbolic()
    assert str(layer(np.array([2, 0])).data.tolist()) == "[[weight_2_0, weight_2_1], [weight_0_0, weight_0_1]]"


def test_one_hot_is_torchs():
    index = np.array([[0, 3], [1, 1]])
    for classes in (-1, 4, 6):
        theirs = torch.nn.functional.one_hot(torch.tensor(index), classes).numpy()
        np.testing.assert_array_equal(F.one_hot(index, classes), theirs)
    assert F.one_hot(mg.tensor([1]), 2).dtype == np.int64


REFUSED = [
    (lambda: nn.Sequential(nn.Embedding(5, 2))(np.array([0, 5])), ValueError,
     r'Embedding "0": the table has rows 0 to 4, and the indices run from 0 to 5'),
    (lambda: nn.Embedding(5, 2)(np.array([-1])), ValueError, r"rows 0 to 4, and the indices run from -1 to -1"),
    (lambda: nn.Embedding(5, 2)(np.array([1.0])), ValueError, r"Embedding: indices are integers, not float64: .astype"),
    (lambda: F.embedding([1.0], np.zeros((2, 2))), TypeError, r"embedding: indices are integers, not float64"),
    (lambda: F.embedding([2], np.zeros((2, 2))), ValueError, r"embedding: the table has rows 0 to 1"),
    (lambda: nn.Embedding(5, 2, max_norm=1.0), ValueError, r"Embedding: max_norm=1.0 is not supported"),
    (lambda: nn.Embedding(5, 2, sparse=True), ValueError, r"Embedding: sparse=True is not supported"),
    (lambda: nn.Embedding(5, 2, padding_idx=5), ValueError, r"padding_idx=5 is no row of 5"),
    (lambda: F.one_hot([0.5]), TypeError, r"one_hot: classes are integers, not float64"),
    (lambda: F.one_hot([2], 2), ValueError, r"one_hot: classes are 0 to 1, and the indices run from 2 to 2"),
    (lambda: F.one_hot(np.zeros(0, int)), ValueError, r"one_hot: .* give num_classes"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
