"""Ops that move elements unchanged, by random arguments: against NumPy, which also tells where they came from."""

import numpy as np
import pytest
from catalogue import agree, assert_moves, axes_of, gradients, layouts, leaf, rngs, shapes, torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg

some = settings(max_examples=40)


def one(n):
    """An axis of n; of none there is none."""
    return st.integers(-n, n - 1) if n else st.nothing()


def two(n):
    """Two different axes of n, in any order and sign."""
    return st.permutations(range(n)).flatmap(lambda p: st.tuples(*[st.sampled_from([i, i - n]) for i in p[:2]]))


def axes_and(values, n):
    """Some axes of n and as many values, or one of each, or no axis and one value."""
    several = st.permutations(range(n)).flatmap(
        lambda p: st.integers(1, n).flatmap(
            lambda k: st.tuples(st.tuples(*[values] * k), st.just(tuple(i - n * (i % 2) for i in p[:k])))
        )
    )
    return st.tuples(values, st.none()) | (st.tuples(values, one(n)) | several if n else st.nothing())


def arrays_of(dtype, shape):
    return hnp.arrays(dtype, shape, fill=st.nothing())


def indices_into(draw, n, shape):
    """Integers that index n elements; for n = 0 an empty array."""
    assume(n or 0 in shape)
    return draw(hnp.arrays(int, shape, elements=st.integers(-n, n - 1) if n else st.just(0), fill=st.nothing()))


def length(shape, axis):
    return int(np.prod(shape)) if axis is None else shape[axis]


def none_or_one(draw, n):
    return draw(st.none() | one(n)) if n else None


def transpose(draw, shape):
    return (draw(st.none() | st.permutations(range(len(shape))).map(tuple)),)


def swapaxes(draw, shape):
    return draw(one(len(shape))), draw(one(len(shape)))


def moveaxis(draw, shape):
    n = len(shape)
    k = draw(st.integers(0, n))
    places = [i - draw(st.sampled_from([0, n])) for i in draw(st.permutations(range(n)))[:k]]
    return draw(st.permutations(range(n)))[:k], places


def rollaxis(draw, shape):
    return draw(one(len(shape))), draw(st.integers(-len(shape), len(shape)))


def matrix_transpose(draw, shape):
    assume(len(shape) > 1)
    return ()


def reshape(draw, shape):
    return (draw(st.sampled_from([(-1,), (1, *shape), shape[::-1], (*shape, 1)])),)


def nothing(draw, shape):
    return ()


def expand_dims(draw, shape):
    n = len(shape)
    return (draw(st.integers(-n - 1, n) | st.sampled_from([(0, n + 1)])),)


def squeeze(draw, shape):
    ones = [i for i, n in enumerate(shape) if n == 1]
    return (draw(st.none() | st.sampled_from([tuple(ones), *ones])),)


def broadcast_to(draw, shape):
    n = len(shape)
    args = (draw(hnp.broadcastable_shapes(shape, min_dims=n, max_dims=n + 1, min_side=0, max_side=3)),)
    assume(np.broadcast_shapes(shape, *args) == args[0])
    return args


def flip(draw, shape):
    return (draw(axes_of(len(shape))),)


def flipud(draw, shape):
    assume(len(shape) > 0)
    return ()


def fliplr(draw, shape):
    assume(len(shape) > 1)
    return ()


def rot90(draw, shape):
    assume(len(shape) > 1)
    return draw(st.integers(-5, 5)), draw(two(len(shape)))


def roll(draw, shape):
    return draw(axes_and(st.integers(-7, 7), len(shape)))


def repeat(draw, shape):
    axis = none_or_one(draw, len(shape))
    n = length(shape, axis)
    return draw(st.integers(0, 3) | st.lists(st.integers(0, 2), min_size=n, max_size=n)), axis


def tile(draw, shape):
    return (draw(st.integers(0, 3) | st.lists(st.integers(0, 2), max_size=4).map(tuple)),)


def take(draw, shape):
    axis = none_or_one(draw, len(shape))
    return indices_into(draw, length(shape, axis), draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=4))), axis


def take_along_axis(draw, shape):
    axis = none_or_one(draw, len(shape))
    assume(shape)
    k = draw(st.integers(0, 4))
    picked = [k] if axis is None else [k if i == axis % len(shape) else n for i, n in enumerate(shape)]
    return indices_into(draw, length(shape, axis), tuple(picked)), axis


def delete(draw, shape):
    axis = none_or_one(draw, len(shape))
    n = length(shape, axis)
    obj = draw(st.slices(n) | arrays_of(bool, n) | (one(n) | st.lists(one(n), min_size=1) if n else st.nothing()))
    return obj, axis


def diagonal(draw, shape):
    assume(len(shape) > 1)
    return draw(st.integers(-4, 4)), *draw(two(len(shape)))


def diag(draw, shape):
    assume(len(shape) in (1, 2))
    return (draw(st.integers(-4, 4)),)


def diagflat(draw, shape):
    return (draw(st.integers(-2, 2)),)


def tril(draw, shape):
    assume(shape)
    return (draw(st.integers(-4, 4)),)


def concatenate(draw, shape):
    assume(shape)
    return (none_or_one(draw, len(shape)),)


def stack(draw, shape):
    return (draw(st.integers(-len(shape) - 1, len(shape))),)


ARGUMENTS = {
    f.__name__: f
    for f in (
        *(transpose, swapaxes, moveaxis, rollaxis, matrix_transpose, reshape, expand_dims, squeeze, broadcast_to),
        *(flip, flipud, fliplr, rot90, roll, repeat, tile, take, take_along_axis, delete, diagonal, diag, diagflat),
        *(tril, concatenate, stack),
    )
} | {"triu": tril}
ARGUMENTS |= dict.fromkeys(("ravel", "copy", "atleast_1d", "atleast_2d", "atleast_3d"), nothing)
NAMES = sorted(ARGUMENTS.keys() - {"concatenate", "stack"})


@pytest.mark.parametrize("name", NAMES)
@some
@given(data=st.data(), shape=shapes, rng=rngs, layout=layouts)
def test_moves(name, data, shape, rng, layout):
    args = ARGUMENTS[name](data.draw, shape)
    assert_moves(lambda x: getattr(mg, name)(x, *args), lambda x: getattr(np, name)(x, *args), shape, rng, layout)


@pytest.mark.parametrize("name", NAMES)
def test_numpys_functions_on_float32(name):
    """The dtype stays, and NumPy's own function on a tensor is ours."""
    calls = {
        "transpose": (), "swapaxes": (0, 1), "moveaxis": (0, 1), "rollaxis": (1,), "reshape": ((-1,),),
        "expand_dims": (0,), "squeeze": (), "broadcast_to": ((2, 3, 3),), "repeat": (2,), "tile": (2,), "roll": (1,),
        "take": ([0, 1, 1],), "take_along_axis": (np.zeros((3, 3), int), 1), "delete": (1,),
    }  # fmt: skip
    x = leaf(np.arange(9, dtype=np.float32).reshape(3, 3))
    y = getattr(np, name)(x, *calls.get(name, ()))
    assert isinstance(y, mg.Tensor)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.data, getattr(np, name)(x.data, *calls.get(name, ())))
    (gradient,) = gradients(y, np.ones(y.shape), [x])
    assert gradient.dtype == np.float32


@pytest.mark.parametrize("axis", [0, 1, 2, -3, None])
def test_repeat_along_every_axis(axis):
    for repeats in (3, np.int64(2), 1, [2, 0] if axis in (0, -3) else 2):
        assert_moves(
            lambda x, r=repeats: mg.repeat(x, r, axis),
            lambda x, r=repeats: np.repeat(x, r, axis),
            (2, 3, 4),
            np.random.default_rng(0),
        )


# ---- joining and cutting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["concatenate", "stack"])
@some
@given(data=st.data(), shape=shapes, rng=rngs, layout=layouts)
def test_joining_an_array_with_itself(name, data, shape, rng, layout):
    args = ARGUMENTS[name](data.draw, shape)
    ours, numpy = getattr(mg, name), getattr(np, name)
    assert_moves(lambda x: ours([x, x, -x * -1.0], *args), lambda x: numpy([x, x, x], *args), shape, rng, layout)


JOINED = {
    "concatenate": [[(2, 3), (2, 0), (2, 1)]],
    "vstack": [[(3,), (2, 3)], [(), ()], [(2, 2, 1), (1, 2, 1)], [(0,), (2, 0)]],
    "hstack": [[(3,), (), (0,)], [(2, 3), (2, 1)], [(2, 0, 2), (2, 1, 2)], [()]],
    "dstack": [[(3,), (1, 3)], [(2, 2), (2, 2, 3)], [(), ()], [(2, 0), (2, 0)]],
    "column_stack": [[(3,), (3, 2)], [(), (1,)], [(2, 0), (2,)], [(0,), (0,)]],
    "stack": [[(2, 3), (2, 3)], [(), ()], [(0, 2), (0, 2)]],
}


@pytest.mark.parametrize(("name", "shapes"), [(n, s) for n, cases in JOINED.items() for s in cases], ids=str)
def test_joining(name, shapes):
    axis = (1,) if (name, shapes[0]) == ("concatenate", (2, 3)) else ()
    ours, numpy = getattr(mg, name), getattr(np, name)
    for layout in ("contiguous", "transposed"):
        assert_moves(
            lambda *xs: ours(xs, *axis), lambda *xs: numpy(xs, *axis), shapes, np.random.default_rng(0), layout
        )
    assert_moves(lambda *xs: numpy(list(xs), *axis), lambda *xs: numpy(xs, *axis), shapes, np.random.default_rng(0))


def test_concatenate_flattens_for_no_axis():
    arrays = [np.random.default_rng(0).standard_normal((2, n)) for n in (3, 0, 1)]
    agree(
        lambda *xs: mg.concatenate(xs, None),
        lambda *xs: torch.cat([x.reshape(-1) for x in xs]),
        arrays,
        np.random.default_rng(0),
    )


def test_vstack_of_an_array_joins_its_rows():
    assert_moves(mg.vstack, np.vstack, (2, 3, 1), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("a", "b", "axis"), [((2, 3), (2, 1), 1), ((2, 3), (2,), None), ((3,), (), None), ((2, 0), (1, 0), -2)], ids=str
)
def test_append(a, b, axis):
    assert_moves(
        lambda x, y: mg.append(x, y, axis), lambda x, y: np.append(x, y, axis), [a, b], np.random.default_rng(0)
    )


BLOCKS = {
    "2 by 2": (lambda a, b, c, d: [[a, b], [c, d]], [(2, 2), (2, 1), (1, 2), (1, 1)]),
    "row": (lambda a, b: [a, b], [(2,), (3,)]),
    "row of numbers": (lambda a, b: [a, b], [(), ()]),
    "numbers and vectors": (lambda a, b, c: [[a, b], [c]], [(2,), (), (3,)]),
    "deeper than the arrays": (lambda a, b: [[[a]], [[b]]], [(2,), (2,)]),
    "more axes than lists": (lambda a, b: [a, b], [(2, 1, 2), (2, 1, 1)]),
    "no list": (lambda a: a, [(2, 1)]),
    "nothing": (lambda a, b: [a, b], [(0,), (2,)]),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_block(name):
    nest, shapes = BLOCKS[name]
    assert_moves(
        lambda *xs: mg.block(nest(*xs)), lambda *xs: np.block(nest(*xs)), shapes, np.random.default_rng(0)
    )


def sections(n):
    """How an axis of n elements is cut: into parts, or at indices, also beyond its ends."""
    at = st.lists(st.integers(-n - 1, n + 2), max_size=4)
    return st.integers(1, 5) | at | at.map(np.array).map(lambda a: a.astype(int))


@pytest.mark.parametrize("name", ["array_split", "split", "hsplit", "vsplit", "dsplit"])
@some
@given(data=st.data(), shape=shapes, rng=rngs, layout=layouts)
def test_splits(name, data, shape, rng, layout):
    assume(len(shape) >= {"vsplit": 2, "dsplit": 3}.get(name, 1))
    axis = {"hsplit": min(len(shape) - 1, 1), "vsplit": 0, "dsplit": 2}.get(name)
    args = () if axis is not None else (data.draw(one(len(shape))),)
    n = shape[axis if axis is not None else args[0]]
    where = data.draw(sections(n))
    assume(name == "array_split" or not isinstance(where, int) or n % where == 0)
    ours, numpy = getattr(mg, name), getattr(np, name)
    parts = len(numpy(np.zeros(shape), where, *args))
    assert len(ours(mg.zeros(shape), where, *args)) == parts
    i = data.draw(st.integers(0, parts - 1))
    assert_moves(lambda x: ours(x, where, *args)[i], lambda x: numpy(x, where, *args)[i], shape, rng, layout)


@some
@given(data=st.data(), shape=shapes, rng=rngs)
def test_unstack(data, shape, rng):
    assume(shape)
    axis = data.draw(one(len(shape)))
    parts = mg.unstack(mg.ones(shape), axis=axis)
    assert isinstance(parts, tuple)
    assert len(parts) == shape[axis]
    for i in range(shape[axis]):
        assert_moves(
            lambda x, i=i: mg.unstack(x, axis=axis)[i], lambda x, i=i: np.moveaxis(x, axis, 0)[i], shape, rng
        )


@some
@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=2, min_side=0, max_side=3).map(lambda s: s[0]),
    i=st.integers(0, 2),
    rng=rngs,
)
def test_broadcast_arrays(shapes, i, rng):
    others = [np.zeros(s) for s in shapes]

    def with_x(f, x):
        return f(*[x if j == i else other for j, other in enumerate(others)])[i]

    assert isinstance(mg.broadcast_arrays(*others), tuple)
    assert_moves(lambda x: with_x(mg.broadcast_arrays, x), lambda x: with_x(np.broadcast_arrays, x), shapes[i], rng)


@some
@given(
    lengths=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    data=st.data(),
    indexing=st.sampled_from(["xy", "ij"]),
    sparse=st.booleans(),
    rng=rngs,
)
def test_meshgrid(lengths, data, indexing, sparse, rng):
    i = data.draw(st.integers(0, len(lengths) - 1))
    others = [np.zeros(n) for n in lengths]

    def with_x(f, x):
        xs = [x if j == i else other for j, other in enumerate(others)]
        return f(*xs, indexing=indexing, sparse=sparse)[i]

    assert_moves(lambda x: with_x(mg.meshgrid, x), lambda x: with_x(np.meshgrid, x), (lengths[i],), rng)


def test_meshgrid_of_nothing():
    assert mg.meshgrid() == tuple(np.meshgrid()) == ()


def test_several_arrays_of_at_least_some_axes():
    for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
        ours, numpy = getattr(mg, name)(1.0, [2.0, 3.0]), getattr(np, name)(1.0, [2.0, 3.0])
        assert isinstance(ours, tuple)
        for a, b in zip(ours, numpy, strict=True):
            np.testing.assert_array_equal(a.data, b)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (1,), (0,), ()], ids=str)
def test_ediff1d(shape):
    """torch has it as diff."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in (shape, (2,), ())]
    agree(
        mg.ediff1d,
        lambda x, end, begin: torch.cat([begin[None], torch.diff(x.reshape(-1)), end]),
        arrays,
        rng,
    )
    agree(mg.ediff1d, lambda x: torch.diff(x.reshape(-1)), arrays[:1], rng)
    np.testing.assert_array_equal(mg.ediff1d(*arrays).data, np.ediff1d(*arrays))


# ---- padding and windows -------------------------------------------------------------------------------------------

WIDTHS = [1, 0, (1, 2), ((1, 2),), ((0, 1), (2, 0)), ((1,), (2,))]
WIDTHS_BY_AXIS = {1: (0, 2), -2: 1}  # as NumPy takes them since 2.4


@pytest.mark.parametrize("width", WIDTHS, ids=str)
@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric", "wrap"])
def test_pad_by_elements(width, mode):
    assert_moves(lambda x: mg.pad(x, width, mode), lambda x: np.pad(x, width, mode), (3, 4), np.random.default_rng(0))


@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric", "wrap"])
def test_pad_by_more_elements_than_there_are(mode):
    assert_moves(lambda x: mg.pad(x, 5, mode), lambda x: np.pad(x, 5, mode), (2, 3), np.random.default_rng(0))


@pytest.mark.parametrize("width", WIDTHS, ids=str)
@pytest.mark.parametrize("fill", [0, 2.5, (1, 2), ((1, 2), (3, 4))], ids=str)
@pytest.mark.parametrize("shape", [(2, 3), (0, 2)], ids=str)
def test_pad_with_constants(width, fill, shape):
    t = leaf(np.random.default_rng(0).standard_normal(shape))
    y = mg.pad(t, width, constant_values=fill)
    np.testing.assert_array_equal(y.data, np.pad(t.data, width, constant_values=fill))
    g = np.random.default_rng(1).standard_normal(y.shape)
    (gradient,) = gradients(y, g, [t])
    np.testing.assert_array_equal(gradient.data.ravel(), g[np.pad(np.ones(shape, bool), width)])


def test_pad_by_axis():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(mg.pad(x, WIDTHS_BY_AXIS).data, np.pad(x, ((1, 1), (0, 2))))
    np.testing.assert_array_equal(mg.pad(x, {}).data, x)
    np.testing.assert_array_equal(mg.pad(1.0, 0).data, 1.0)


@some
@given(data=st.data(), shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), rng=rngs, layout=layouts)
def test_sliding_windows(data, shape, rng, layout):
    """Also several times along one axis."""
    axes = data.draw(st.none() | st.lists(one(len(shape)), max_size=2).map(tuple)) if shape else None
    over = range(len(shape)) if axes is None else axes
    left, window = list(shape), []
    for i in over:
        window.append(data.draw(st.integers(0, left[i])))
        left[i] -= window[-1] - 1
    numpy = np.lib.stride_tricks.sliding_window_view
    assert_moves(
        lambda x: mg.sliding_window_view(x, tuple(window), axes),
        lambda x: numpy(x, tuple(window), axes),
        shape,
        rng,
        layout,
    )


@pytest.mark.parametrize("window", [1, 2, 5, 6])
def test_sliding_windows_along_one_axis(window):
    numpy = np.lib.stride_tricks.sliding_window_view
    rng = np.random.default_rng(0)
    assert_moves(lambda x: mg.sliding_window_view(x, window), lambda x: numpy(x, window), (6,), rng)
    assert_moves(lambda x: numpy(x, window, axis=1), lambda x: numpy(x, window, 1), (2, 6, 1), rng)


def test_sliding_windows_are_a_view():
    x = mg.zeros(1000)
    y = mg.sliding_window_view(x, 500)
    assert np.shares_memory(x.data, y.data)
    with pytest.raises(ValueError, match="read-only"):
        y.data[0] = 1.0


# ---- indexing ------------------------------------------------------------------------------------------------------


def keys(shape):
    """Any of NumPy's keys into an array."""
    return (
        hnp.basic_indices(shape, allow_newaxis=True)
        | hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, min_side=0, max_side=4))
        | hnp.integer_array_indices(shape[:1], result_shape=hnp.array_shapes(max_dims=2, max_side=5))
        | arrays_of(bool, shape)
        | arrays_of(bool, shape[:1])
        | mixed_keys(shape)
    )


@st.composite
def mixed_keys(draw, shape):
    """Integers, slices, integer arrays, a mask and new axes beside each other, and perhaps an ellipsis for some."""
    parts, picked = [], draw(hnp.array_shapes(min_dims=1, max_dims=1, min_side=0, max_side=4))
    mask = draw(arrays_of(bool, shape[:1])) if draw(st.booleans()) else None
    if mask is not None:
        parts, picked = [mask], (int(mask.sum()),)
    for n in shape[len(parts) :]:
        part = draw(st.sampled_from(["slice", "integer", "array", "column"]))
        if part == "slice":
            parts.append(draw(st.slices(n)))
        elif part == "integer":
            parts.append(draw(one(n)))
        else:
            column = part == "column" and mask is None
            indices = draw(hnp.arrays(int, (2, 1) if column else picked, elements=one(n), fill=st.nothing()))
            parts.append(indices)
    start, end = sorted([draw(st.integers(0, len(parts))), draw(st.integers(0, len(parts)))])
    if draw(st.booleans()):
        parts[start:end] = [...]
    else:
        del parts[max(end, 1) :]
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    return tuple(parts)


@settings(max_examples=200)
@given(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4), rng=rngs, layout=layouts)
def test_indexing(data, shape, rng, layout):
    key = data.draw(keys(shape))
    assert_moves(lambda x: x[key], lambda x: x[key], shape, rng, layout)


KEYS = [
    [0, 0, 2],
    [],
    ([0, 0], [1, 1]),
    ([1, 1], slice(None)),
    (slice(None), [2, 2, 0]),
    (slice(None, None, -1), [0]),
    ([0, 2], None, ...),
    (..., np.array([[0, 1], [1, 1]])),
    (1, [0, 0]),
    [True, False, True],
    np.int64(1),
    (np.array([True, False, True]), 1),
    (np.array([True, False, True]), [1, 1]),
    (slice(None), [True, False, False, True]),
    ([0, -3], [True, False, False, True]),
    (True, [0, 0]),
    np.True_,
    False,
    np.array(2),
    (0, 0),
    (),
    ...,
    None,
    [[0, 1], [2, 0]],
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_indexing_as_people_write_it(key):
    assert_moves(lambda x: x[key], lambda x: x[key], (3, 4), np.random.default_rng(0))


MASK = [[True, False, True], [False, True, True]]


@pytest.mark.parametrize(
    "key",
    [
        *[(MASK, [3, 0, 0, 1]), (MASK, 1), (..., [1, 1]), ([1, 1], ..., [2, 2]), (1, ..., [2, 0, 2])],
        *[(None, [0, 0], None, slice(1)), (slice(None), [0, 0], slice(1, 3)), ([[0], [0]], slice(None), [1, 1])],
    ],
    ids=str,
)
def test_indexing_of_more_axes(key):
    assert_moves(lambda x: x[key], lambda x: x[key], (2, 3, 4), np.random.default_rng(0))


def test_indexing_by_tensors():
    x, i = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), mg.tensor([1, 1, 0])
    (x[i] + x[:, mg.tensor([0])][i] + x[x.data[:, 0] > 2.0]).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [[1 + 2 * 1, 1], [2 + 2 * 2 + 3, 2 + 3]])


def test_the_gradient_of_repeated_rows_keeps_its_dtype_and_its_memory():
    """Rows of a table, as an embedding picks them; what is added up is one row of places, and no table of them."""
    table = leaf(np.zeros((1000, 3), np.float32))
    i = np.array([[5, 5], [999, 5]])
    (gradient,) = gradients(table[i].sum(), None, [table])
    assert gradient.dtype == np.float32
    np.testing.assert_array_equal(gradient.data[[5, 999, 0]], [[3] * 3, [1] * 3, [0] * 3])


@pytest.mark.parametrize("mode", ["wrap", "clip"])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_take_beyond_the_ends(mode, axis):
    indices = np.array([[-9, -1], [3, 100]])
    rng = np.random.default_rng(0)
    assert_moves(
        lambda x: mg.take(x, indices, axis, mode=mode), lambda x: np.take(x, indices, axis, mode=mode), (2, 3), rng
    )


def test_take_as_people_write_it():
    x = np.arange(6.0).reshape(2, 3)
    t = leaf(x)
    for indices in (1, np.int64(-1), [True, False], np.array(2, np.uint8), mg.tensor([0, 1])):
        plain = indices.data if isinstance(indices, mg.Tensor) else indices
        np.testing.assert_array_equal(np.take(t, indices, 1).data, np.take(x, plain, 1))
        np.testing.assert_array_equal(t.take(indices, 1).data, x.take(plain, 1))
    np.testing.assert_array_equal(mg.take(x[:, :0], [], 1).data, np.zeros((2, 0)))


@some
@given(data=st.data(), shape=shapes, rng=rngs, layout=layouts)
def test_compress(data, shape, rng, layout):
    axis = none_or_one(data.draw, len(shape))
    n = data.draw(st.integers(0, length(shape, axis)))
    condition = data.draw(arrays_of(bool, n))
    ours, numpys = (lambda x, f=f: f(condition, x, axis) for f in (mg.compress, np.compress))
    assert_moves(ours, numpys, shape, rng, layout)
    longer = np.append(condition, [False] * 9)  # where it does not hold, it may be longer than the axis
    assert_moves(lambda x: x.compress(longer, axis), lambda x: x.compress(longer, axis), shape, rng)


@some
@given(data=st.data(), shape=shapes, rng=rngs)
def test_extract(data, shape, rng):
    condition = data.draw(arrays_of(bool, shape))
    assert_moves(lambda x: mg.extract(condition, x), lambda x: np.extract(condition, x), shape, rng)


def test_sorting_by_argsort():
    """Beside x sorted, its gradient is g back in the order of x."""
    x = leaf(np.random.default_rng(0).standard_normal((3, 4)))
    for axis in (0, 1, -1):
        order = x.argsort(axis)
        y = mg.take_along_axis(x, order, axis)
        np.testing.assert_array_equal(y.data, np.sort(x.data, axis))
        g = np.random.default_rng(1).standard_normal((3, 4))
        (gradient,) = gradients(y, g, [x])
        np.testing.assert_array_equal(np.take_along_axis(gradient.data, order, axis), g)
        np.testing.assert_array_equal(np.take_along_axis(x, np.argsort(x, axis), axis).data, y.data)
        np.testing.assert_array_equal(np.take_along_axis(x, mg.tensor(order), axis).data, y.data)
    row = leaf(np.array([3.0, 1.0, 2.0]))
    (gradient,) = gradients(row[np.argsort(row)], np.array([10.0, 20.0, 30.0]), [row])
    np.testing.assert_array_equal(gradient.data, [30.0, 10.0, 20.0])


# ---- choosing ------------------------------------------------------------------------------------------------------


@some
@given(data=st.data(), n=st.integers(1, 3), rng=rngs, layout=layouts)
def test_select(data, n, rng, layout):
    shapes = data.draw(
        hnp.mutually_broadcastable_shapes(num_shapes=2 * n + 1, max_dims=2, min_side=0, max_side=3)
    ).input_shapes
    conditions = [data.draw(arrays_of(bool, s)) for s in shapes[:n]]
    assert_moves(
        lambda default, *xs: mg.select(conditions, xs, default),
        lambda default, *xs: np.select(conditions, xs, default),
        list(shapes[n:]),
        rng,
        layout,
    )


@some
@given(data=st.data(), n=st.integers(1, 4), mode=st.sampled_from(["raise", "wrap", "clip"]), rng=rngs)
def test_choose(data, n, mode, rng):
    shapes = data.draw(
        hnp.mutually_broadcastable_shapes(num_shapes=n + 1, max_dims=2, min_side=0, max_side=3)
    ).input_shapes
    numbers = st.integers(0, n - 1) if mode == "raise" else st.integers(-9, 9)
    a = data.draw(hnp.arrays(int, shapes[0], elements=numbers, fill=st.nothing()))
    assert_moves(
        lambda *xs: mg.choose(a, xs, mode=mode), lambda *xs: np.choose(a, xs, mode=mode), list(shapes[1:]), rng
    )


def test_what_is_not_chosen_may_be_infinite():
    x = leaf(np.array([0.0, 4.0]))
    with np.errstate(divide="ignore"):
        y = mg.select([x > 0], [mg.log(mg.where(x > 0, x, 1.0))], x)
        (gradient,) = gradients(y.sum(), None, [x])
    np.testing.assert_array_equal(gradient.data, [1.0, 0.25])


def test_choose_from_the_rows_of_an_array():
    assert_moves(lambda x: mg.choose([1, 0, 1], x), lambda x: np.choose([1, 0, 1], x), (2, 3), np.random.default_rng(0))


# ---- bad arguments -------------------------------------------------------------------------------------------------

matrix = mg.ones((2, 3), requires_grad=True)
vector = mg.ones(3, requires_grad=True)
REFUSED = [
    (lambda: mg.take(matrix, [0.5]), TypeError, r"take: indices must be integers, not float64"),
    (lambda: mg.take_along_axis(matrix, [[3]], 1), IndexError, r"take_along_axis: index 3 is out of bounds for axis 1"),
    (lambda: mg.take_along_axis(matrix, [[-4]], 1), IndexError, r"take_along_axis: index -4 is out of bounds"),
    (lambda: mg.take_along_axis(matrix, [[0.5]], 1), TypeError, r"take_along_axis: indices must be integers"),
    (lambda: mg.take(matrix, [9]), IndexError, r"index 9 is out of bounds for axis 0 with size 6"),
    (lambda: mg.take(matrix, [0], 5), ValueError, r"take: axis 5 is out of bounds"),
    (lambda: mg.take(mg.zeros((2, 0)), [0], 1), IndexError, r"take: there is nothing to take from"),
    (lambda: mg.take(matrix, 0, mode="wrong"), ValueError, r'take: mode=.wrong. is none of "raise", "wrap", "clip"'),
    (lambda: np.take(matrix, 0, out=np.zeros(())), TypeError, r"take: out= is not supported: assign the result"),
    (lambda: np.compress([True], matrix, out=np.zeros(1)), TypeError, r"compress: out= is not supported"),
    (lambda: np.choose([0], [matrix], out=np.zeros((2, 3))), TypeError, r"choose: out= is not supported"),
    (lambda: np.trace(matrix, dtype=np.float32), TypeError, r"trace: dtype= is not supported: call \.astype\(dtype\)"),
    (lambda: np.vstack([matrix], dtype=np.float32), TypeError, r"vstack: dtype= is not supported"),
    (lambda: np.hstack([matrix], casting="unsafe"), TypeError, r"hstack: casting= is not supported: leave it out"),
    (lambda: mg.compress([[True]], matrix), ValueError, r"compress: the condition must have one axis.*\(1, 1\)"),
    (lambda: mg.compress([True] * 4, matrix, 1), IndexError, r"compress: the condition holds at 3, and axis 1 has 3"),
    (lambda: mg.select([], []), ValueError, r"select: there are 0 conditions for 0 choices"),
    (lambda: mg.select([vector > 0], []), ValueError, r"select: there are 1 conditions for 0 choices"),
    (lambda: mg.select([[1, 0, 1]], [vector]), TypeError, r"select: a condition must be of bool, not int64"),
    (lambda: mg.choose([3], [1.0, 2.0]), ValueError, r"choose: with 2 choices, the numbers must be from 0 to 1"),
    (lambda: mg.choose([-1], [1.0, 2.0]), ValueError, r"choose: with 2 choices, the numbers must be from 0 to 1"),
    (lambda: mg.delete(matrix, 3, 1), IndexError, r"delete: along axis 1 of \(2, 3\), index 3 is out of bounds"),
    (lambda: mg.delete(matrix, [True], 1), IndexError, r"delete: along axis 1 of \(2, 3\), boolean index did"),
    (lambda: mg.rot90(matrix, axes=(0, 0)), ValueError, r"rot90: axes=\(0, 0\) are one and the same"),
    (lambda: mg.rot90(matrix, axes=(0, -2)), ValueError, r"rot90: axes=\(0, -2\) are one and the same"),
    (lambda: mg.rot90(matrix, axes=(0, 1, 2)), ValueError, r"rot90: axes=\(0, 1, 2\); a plane has two axes"),
    (lambda: mg.fliplr(vector), ValueError, r"axis 1 is out of bounds"),
    (lambda: mg.roll(matrix, 1, 5), ValueError, r"roll\(tensor \(2, 3\), shift=1, axis=5\): axis 5 is out of bounds"),
    (lambda: mg.rollaxis(matrix, 0, 3), ValueError, r"rollaxis: start=3 is none of the places -2 to 2"),
    (lambda: mg.matrix_transpose(vector), ValueError, r"matrix_transpose: .* \(3,\) holds no matrices"),
    (lambda: vector.mT, ValueError, r"matrix_transpose: .* \(3,\) holds no matrices"),
    (lambda: mg.diag(mg.ones((2, 2, 2))), ValueError, r"diag: it takes a vector or a matrix"),
    (lambda: mg.diagonal(vector), ValueError, r"diagonal: an array of shape \(3,\) holds no matrices"),
    (lambda: mg.diagonal(matrix, 0, 1, -1), ValueError, r"diagonal: axis1=1 and axis2=-1 are one and the same"),
    (lambda: mg.tril(mg.tensor(1.0)), ValueError, r"tril: a number has no triangle"),
    (lambda: mg.triu(mg.tensor(1.0)), ValueError, r"triu: a number has no triangle"),
    (lambda: mg.sliding_window_view(matrix, 2), ValueError, r"window_shape=\(2,\) needs a length for each of the axes"),
    (lambda: mg.sliding_window_view(vector, 4), ValueError, r"no window of 4 fits into axis 0 of \(3,\)"),
    (lambda: mg.sliding_window_view(vector, -1), ValueError, r"no window of -1 fits"),
    (lambda: mg.sliding_window_view(vector, 2, writeable=True), ValueError, r"cannot be written to"),
    (lambda: mg.pad(matrix, -1), ValueError, r"pad: pad_width has negative numbers; a slice makes an array smaller"),
    (lambda: mg.pad(matrix, 1.5), TypeError, r"pad: pad_width must be integers, not float64"),
    (lambda: mg.pad(matrix, [(1, 1)] * 3), ValueError, r"pad: pad_width of shape \(3, 2\) is no pair for each"),
    (lambda: mg.repeat(matrix, -1), ValueError, r"negative"),
    (lambda: mg.block([[matrix], matrix]), ValueError, r"block: every array must be in equally many lists.*\[1, 2\]"),
    (lambda: mg.block([matrix, []]), ValueError, r"block: a list of blocks is empty"),
    (lambda: mg.block((matrix,)), TypeError, r"block: a tuple is no list of blocks"),
    (lambda: mg.array_split(matrix, 0), ValueError, r"array_split: 0 parts; there must be one or more"),
    (lambda: mg.split(matrix, 0), ValueError, r"split: 2 elements along axis 0 cannot be cut into 0 equal parts"),
    (lambda: mg.array_split(matrix, 1.5), TypeError, r"integer"),
    (lambda: mg.hsplit(mg.tensor(1.0), 1), ValueError, r"hsplit: an array of shape \(\) has fewer than 1 axis"),
    (lambda: mg.vsplit(vector, 1), ValueError, r"vsplit: an array of shape \(3,\) has fewer than 2 axes"),
    (lambda: mg.dsplit(matrix, 1), ValueError, r"dsplit: an array of shape \(2, 3\) has fewer than 3 axes"),
    (lambda: mg.unstack(mg.tensor(1.0)), ValueError, r"unstack: axis 0 is out of bounds"),
    (lambda: mg.broadcast_arrays(vector, mg.ones(2)), ValueError, r"broadcast_arrays: .* \(3,\), \(2,\) do not"),
    (lambda: mg.meshgrid(vector, indexing="yx"), ValueError, r'meshgrid: indexing=.yx. is neither "xy" nor "ij"'),
    (lambda: mg.ediff1d(mg.tensor([1, 2]), 0.5), TypeError, r"ediff1d: an array of int64 cannot hold values of"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=[r[2][:40] for r in REFUSED])
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
