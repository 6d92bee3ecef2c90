"""The orders of shuffled epochs: NumPy's to the bit, and the generator afterwards where NumPy leaves it."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler import shuffling
from minigrad.compiler.shuffling import permutations


def both(kind, seed=3):
    return (np.random.Generator(getattr(np.random, kind)(seed)) for _ in range(2))


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "Philox", "SFC64", "MT19937"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 63, 64, 65, 1000, 70_001])
def test_the_same_bits_as_numpy(kind, n):
    assert shuffling.compiled() is not None
    ours, theirs = both(kind)
    ours.integers(0, 9, 1, np.uint32), theirs.integers(0, 9, 1, np.uint32)  # half of a word of 64 bits is left
    order = permutations(ours, n, 3)
    assert order.dtype == np.int64
    assert np.array_equal(order, np.concatenate([theirs.permutation(n) for _ in range(3)]))
    assert np.array_equal(ours.integers(0, 1 << 40, 5), theirs.integers(0, 1 << 40, 5))
    assert ours.normal() == theirs.normal()


class Reversing(np.random.Generator):
    def permutation(self, x, axis=0):
        return np.arange(x)[::-1]


def test_a_generator_with_its_own_permutation_is_asked():
    assert permutations(Reversing(np.random.PCG64(0)), 3, 2).tolist() == [2, 1, 0, 2, 1, 0]


def test_where_numpy_shuffles_in_another_way_it_does_so_itself(monkeypatch):
    monkeypatch.setattr(shuffling, "compiled", lambda: None)
    ours, theirs = both("PCG64")
    assert np.array_equal(permutations(ours, 10, 2), [*theirs.permutation(10), *theirs.permutation(10)])


@pytest.mark.parametrize("line", ["place = number if fits else left", "left -= i8(fits)"])
def test_another_way_to_shuffle_is_noticed(monkeypatch, line):
    """As if NumPy's were not ours."""
    other = {"place = number if fits else left": "place = i8(0)", "left -= i8(fits)": "left -= 1"}[line]
    assert line in shuffling.SOURCE
    monkeypatch.setattr(shuffling, "SOURCE", shuffling.SOURCE.replace(line, other))
    assert shuffling.compiled.__wrapped__() is None


def test_a_run_is_the_same_whoever_shuffles(monkeypatch):
    def trained():
        mg.random.seed(0)
        model = mg.nn.Linear(2, 1)
        step = mg.compile_step(model, mg.nn.MSELoss(), mg.optim.SGD(model.parameters(), lr=0.1))
        return [step.run(x, x[:, :1], batch_size=5, epochs=4, seed=i).tolist() for i in range(3)]

    x = np.random.default_rng(0).normal(size=(20, 2))
    natively = trained()
    monkeypatch.setattr(shuffling, "compiled", lambda: None)
    assert natively == trained()
