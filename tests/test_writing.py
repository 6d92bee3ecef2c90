"""Ops that write values into a copy of an array, by random arguments: against NumPy's assignment, and torch."""

import numpy as np
import pytest
from catalogue import agree, assert_moves, gradients, layouts, leaf, rngs, torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_moves import KEYS, arrays_of, keys, length, none_or_one, one

import minigrad as mg

some = settings(max_examples=40)
shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)


def assigned(x, key, value):
    y = np.array(x)
    y[key] = value
    return y


def numpy_takes(shape, key, value):
    """Whether NumPy assigns values of this shape there: those with more axes it takes in most cases only."""
    try:
        assigned(np.zeros(shape), key, np.zeros(value))
    except (ValueError, TypeError):
        return False
    return True


@st.composite
def fitting(draw, shape):
    """A shape that broadcasts to this one; also one with more axes, which NumPy allows where it assigns."""
    kept = tuple(draw(st.sampled_from([1, n])) for n in shape)
    fewer = kept[draw(st.integers(0, len(kept))) :]
    return fewer if fewer != kept else (1,) * draw(st.sampled_from([0, 0, 1, 2])) + kept


@settings(max_examples=200)
@given(data=st.data(), shape=shapes, rng=rngs, layout=layouts)
def test_setitem(data, shape, rng, layout):
    """With any key; where it names a place twice, both NumPy and the gradient keep to the last value."""
    key = data.draw(keys(shape))
    value = data.draw(fitting(np.empty(shape)[key].shape).filter(lambda value: numpy_takes(shape, key, value)))
    assert_moves(
        lambda x, v: mg.setitem(x, key, v), lambda x, v: assigned(x, key, v), [shape, value], rng, layout
    )


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_setitem_as_people_write_it(key):
    rng = np.random.default_rng(0)
    for value in ((), np.empty((3, 4))[key].shape):
        assert_moves(lambda x, v: mg.setitem(x, key, v), lambda x, v: assigned(x, key, v), [(3, 4), value], rng)


@pytest.mark.parametrize("order", ["C", "F"])
def test_of_several_values_for_one_place_the_last_remains(order):
    """In the order of the key, however key and values lie in memory."""
    key = np.array([[0, 1, 0], [1, 1, 2]], order=order)
    value = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], order=order)
    x, v = leaf(np.zeros(3)), mg.Tensor(value, True)
    y = mg.setitem(x, key, v)
    np.testing.assert_array_equal(y.data, [3.0, 5.0, 6.0])
    gx, gv = gradients(y, np.array([10.0, 20.0, 30.0]), [x, v])
    np.testing.assert_array_equal(gx.data, np.zeros(3))
    np.testing.assert_array_equal(gv.data, [[0, 0, 10], [0, 20, 30]])


@settings(max_examples=100)
@given(data=st.data(), shape=shapes, rng=rngs, layout=layouts)
def test_setitem_beside_torch(data, shape, rng, layout):
    """By keys that torch takes, and which name no place twice (there torch gives each value the gradient)."""
    key = data.draw(
        hnp.basic_indices(shape, allow_newaxis=True).filter(
            lambda key: all((getattr(k, "step", None) or 1) > 0 for k in (key if type(key) is tuple else (key,)))
        )
        | hnp.arrays(bool, shape, fill=st.nothing()).map(torch.from_numpy)
    )
    numpys = key.numpy() if isinstance(key, torch.Tensor) else key
    value = data.draw(fitting(np.empty(shape)[numpys].shape).filter(lambda value: numpy_takes(shape, numpys, value)))

    def torchs(x, v):
        y = x.clone()
        y[key] = v
        return y

    agree(lambda x, v: mg.setitem(x, numpys, v), torchs, [rng.standard_normal(s) for s in (shape, value)], rng, layout)


def test_setitem_leaves_x_alone():
    x = leaf(np.zeros(3))
    y = mg.setitem(x, 0, 1.0)
    np.testing.assert_array_equal(x.data, 0)
    np.testing.assert_array_equal(y.data, [1, 0, 0])
    assert not np.shares_memory(x.data, y.data)


def test_setitem_by_tensors():
    x, i = leaf(np.zeros(3)), mg.tensor([2, 0])
    np.testing.assert_array_equal(mg.setitem(x, i, [1.0, 2.0]).data, [2, 0, 1])
    np.testing.assert_array_equal(mg.setitem(x, (i,), 5).data, [5, 0, 5])
    np.testing.assert_array_equal(mg.setitem(mg.tensor(3.0), (), 4.0).data, 4)


def test_dtypes_of_what_is_written():
    """x keeps its dtype, as under NumPy's assignment, and each gradient comes in its own tensor's."""
    x, v = leaf(np.zeros(3, np.float32)), leaf(np.ones(2))
    y = mg.setitem(x, slice(2), v)
    gx, gv = gradients(y.sum(), None, [x, v])
    assert [t.dtype for t in (y, gx, gv)] == [np.float32, np.float32, np.float64]
    assert mg.setitem(x, 0, 1).dtype == mg.setitem(x, 0, 0.5).dtype == np.float32
    assert mg.setitem([1, 2], 0, 3).tolist() == [3, 2]
    assert mg.put_along_axis(x, [1], 0.5, 0).dtype == mg.insert(x, 1, 0.5).dtype == np.float32
    assert mg.index_add(x, 0, [1], np.ones(1, np.float32), alpha=0.5).dtype == np.float32


def test_symbols_and_numbers_in_one_array():
    a, b = mg.symbols("a b")
    x = mg.symbols("x", (2,))
    first, second = x.data.tolist()
    assert mg.setitem([1.0, 2.0, 3.0], 1, a).tolist() == [1, a.item(), 3]
    assert mg.setitem(x, 0, 5).tolist() == [5, second]
    assert mg.insert([1.0, 2.0], 1, a * b).tolist() == [1, a.item() * b.item(), 2]
    assert mg.insert(x, [0, 1], [7, 8]).tolist() == [7, first, 8, second]
    assert mg.put_along_axis(x, [1], a, 0).tolist() == [first, a.item()]
    assert mg.index_add(x, 0, [0, 0], [1, a.item()]).tolist() == [first + 1 + a.item(), second]
    assert mg.setitem(x, [1, 1], mg.stack([a, b])).tolist() == [first, b.item()]


@some
@given(data=st.data(), shape=shapes, rng=rngs, layout=layouts)
def test_put_along_axis(data, shape, rng, layout):
    """Without two values for one place, for which NumPy promises nothing."""
    axis = none_or_one(data.draw, len(shape))
    n = length(shape, axis)
    k = data.draw(st.integers(0, n))
    picked = [k] if axis is None else [k if i == axis % len(shape) else m for i, m in enumerate(shape)]
    indices = rng.permuted(np.broadcast_to(np.arange(n), (int(np.prod(picked)) // max(k, 1), n)), axis=1)[:, :k]
    if axis is None:
        indices = indices.reshape(picked) if k else np.zeros(0, int)
    else:
        others = [m for i, m in enumerate(picked) if i != axis % len(shape)]
        indices = np.moveaxis(indices.reshape(*others, k) if k else np.zeros((*others, 0), int), -1, axis)
    value = data.draw(fitting(indices.shape))[-len(picked) :]

    def numpy(x, v):
        y = np.array(x)
        np.put_along_axis(y, indices - n * (indices % 2), v, axis)
        return y

    assert_moves(
        lambda x, v: mg.put_along_axis(x, indices - n * (indices % 2), v, axis), numpy, [shape, value], rng, layout
    )


@some
@given(data=st.data(), shape=shapes, rng=rngs, layout=layouts, alpha=st.sampled_from([1, -2.5, 0]))
def test_index_add(data, shape, rng, layout, alpha):
    axis = data.draw(one(len(shape)))
    n = shape[axis]
    index = data.draw(hnp.arrays(int, st.integers(0, 5), elements=st.integers(0, n - 1), fill=st.nothing()))
    source = [len(index) if i == axis % len(shape) else m for i, m in enumerate(shape)]
    agree(
        lambda x, s: mg.index_add(x, axis, index - n * (index % 2), s, alpha),
        lambda x, s: torch.index_add(x, axis, torch.from_numpy(index), s, alpha=alpha),
        [rng.standard_normal(shape), rng.standard_normal(source)],
        rng,
        layout,
    )


def test_index_add_differentiates_alpha():
    alpha = leaf(np.array(2.0))
    y = mg.index_add(np.ones(3), 0, [0, 0], [1.0, 4.0], alpha)
    np.testing.assert_array_equal(y.data, [11, 1, 1])
    np.testing.assert_array_equal(gradients(y.sum(), None, [alpha])[0].data, 5)


@settings(max_examples=100)
@given(data=st.data(), shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), rng=rngs, layout=layouts)
def test_insert(data, shape, rng, layout):
    axis = none_or_one(data.draw, len(shape))
    n = length(shape, axis)
    place = st.integers(-n, n)
    obj = data.draw(place | st.lists(place, min_size=1, max_size=4) | st.slices(n) | arrays_of(bool, n))
    places = np.arange(n)[obj] if isinstance(obj, slice) else np.asarray(obj)
    places = np.flatnonzero(places) if places.dtype == bool else places
    count = data.draw(st.integers(0, 3)) if places.size == 1 else places.size
    if axis is None:
        whole = (count,)
    elif places.ndim == 0:  # the values' first axis is the one that they are inserted along
        others = [m for i, m in enumerate(shape) if i != axis % len(shape)]
        whole = (count, *others)
    else:
        whole = tuple(count if i == axis % len(shape) else m for i, m in enumerate(shape))
    value = data.draw(fitting(whole))[-len(whole) :]
    assert_moves(
        lambda x, v: mg.insert(x, obj, v, axis), lambda x, v: np.insert(x, obj, v, axis), [shape, value], rng, layout
    )


@pytest.mark.parametrize(
    ("obj", "value", "axis"),
    [
        *[(1, (3,), 0), (1, (2,), 1), (1, (4, 2), 1), ([1], (2, 4), 1), ([1], (), 1), (0, (), None)],
        *[([3, 1, 3, 0], (4,), 1), ([0, 2], (2, 3), 0), (-1, (), 1), ([], (), 1), (slice(None, None, -1), (2, 1), 1)],
        *[(np.array([True, False, True]), (2, 2), 1), (mg.tensor([0, 1]), (2,), 1), ([0, 0, 0], (3,), None)],
    ],
    ids=str,
)
def test_insert_as_people_write_it(obj, value, axis):
    plain = obj.data if isinstance(obj, mg.Tensor) else np.array(obj, int) if isinstance(obj, list) else obj
    rng = np.random.default_rng(0)
    assert_moves(
        lambda x, v: np.insert(x, obj, v, axis), lambda x, v: np.insert(x, plain, v, axis), [(2, 3), value], rng
    )


def test_a_functional_update_learns():
    """What __setitem__ refuses, in the words of its sentence."""
    w = mg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"mg\.setitem"):
        w[0] = 5.0
    with pytest.raises(RuntimeError, match=r"mg\.setitem\(tensor, key, value\) is a copy with the value in it"):
        mg.zeros(3)[0] = w[0]
    gradient = mg.grad(lambda w: (mg.setitem(w, slice(2), w[1:] ** 2) * [1.0, 10.0, 100.0]).sum())(w)
    np.testing.assert_array_equal(gradient.data, [0.0, 4.0, 160.0])


def test_numpys_functions_that_write_in_place():
    """They write into arrays, but say which function returns a new tensor."""
    t = mg.tensor([1.0, 2.0])
    needs_grad = mg.tensor([1.0], requires_grad=True)
    array = np.zeros(2)
    np.put_along_axis(array, np.array([1]), mg.tensor([5.0]), 0)
    np.put(array, [0], mg.tensor(4.0))
    np.testing.assert_array_equal(array, [4, 5])
    calls = [
        (lambda x, v: np.put_along_axis(x, np.array([1]), v, 0), r"mg\.put_along_axis, which returns a new tensor"),
        (lambda x, v: np.put(x, [0], v), r"np\.put: .* would leave the graph by writing in place; use mg\.setitem"),
        (lambda x, v: np.place(x, [True, False], v), r"np\.place: .*mg\.setitem"),
        (lambda x, v: np.putmask(x, [True, False], v), r"np\.putmask: .*mg\.where"),
    ]
    with pytest.raises(TypeError, match=r"np\.fill_diagonal: .*mg\.setitem"):
        np.fill_diagonal(t, 0.0)
    for call, sentence in calls:
        for x, v in ((t, 1.0), (array, needs_grad)):
            with pytest.raises(TypeError, match=sentence):
                call(x, v)
    np.testing.assert_array_equal(t.data, [1, 2])


matrix, symbols = mg.ones((2, 3), requires_grad=True), mg.symbols("x", (2,))
REFUSED = [
    (lambda: mg.setitem(matrix, 5, 0.0), IndexError, r"setitem\(tensor \(2, 3\), .*key=5\): index 5 is out of bounds"),
    (lambda: mg.setitem(matrix, 0, [1.0, 2.0]), ValueError, r"setitem\(tensor \(2, 3\), tensor \(2,\), key=0\)"),
    (lambda: mg.setitem(matrix, [0, 0], mg.ones((3, 3))), ValueError, r"setitem\(.*\): shape mismatch"),
    (lambda: mg.setitem([1, 2], 0, 0.5), TypeError, r"setitem: an array of int64 cannot hold values of float64"),
    (lambda: mg.setitem([True], 0, 2), TypeError, r"setitem: an array of bool cannot hold values of int64"),
    (lambda: mg.setitem(matrix, 0, None), TypeError, r"not NoneType 'None'"),
    (lambda: mg.setitem(symbols, symbols > 0, [1.0]), TypeError, r"setitem: how many elements symbols pick is unknown"),
    (lambda: mg.put_along_axis(matrix, [0], 1.0, 1), ValueError, r"put_along_axis: indices \(1,\) and array \(2, 3\)"),
    (lambda: mg.put_along_axis(matrix, [[0]], 1.0, 5), ValueError, r"put_along_axis: axis 5 is out of bounds"),
    (lambda: mg.index_add(matrix, 1, [0], [1.0]), ValueError, r"1 indices .* need a source of shape \(2, 1\)"),
    (lambda: mg.index_add(matrix, 1, [[0]], [[1.0]]), ValueError, r"index_add: index must be a row of integers"),
    (lambda: mg.index_add(matrix, 5, [0], [1.0]), ValueError, r"index_add: axis 5 is out of bounds"),
    (lambda: mg.index_add(matrix, 1, [0.5], matrix), TypeError, r"index_add: indices must be integers, not float64"),
    (lambda: mg.index_add(matrix, 1, [7], mg.ones((2, 1))), IndexError, r"index 7 is out of bounds"),
    (lambda: mg.insert(matrix, 4, 0.0, 1), IndexError, r"insert: 4 is out of bounds for an axis of length 3"),
    (lambda: mg.insert(matrix, [0, -4], 0.0, 1), IndexError, r"insert: \[0, -4\] is out of bounds"),
    (lambda: mg.insert(matrix, [[0]], 0.0, 1), ValueError, r"insert: the indices must be one integer or a row"),
    (lambda: mg.insert(matrix, 0.5, 0.0, 1), TypeError, r"insert: indices must be integers, not float64"),
    (lambda: mg.insert([1, 2], 0, 0.5), TypeError, r"insert: an array of int64 cannot hold values of float64"),
    (lambda: mg.insert(matrix, 0, [1.0, 2.0, 3.0], 1), ValueError, r"broadcast"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=[r[2][:40] for r in REFUSED])
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
