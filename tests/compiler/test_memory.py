"""Memory that is used again: by results that overwrite what they are made of, and by what is not alive together."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.compiler.program import ALIGNMENT, Room, packed

nn = mg.nn


def native(f, *args):
    """The source of a compiled function, whose results on other numbers than the first are those of NumPy."""
    compiled = mg.compile(f)
    compiled(*args)
    for again in [[a[::-1].copy() for a in args], args]:
        for ours, theirs in zip(compiled(*again), f(*again), strict=True):
            np.testing.assert_allclose(ours.data, np.asarray(theirs), rtol=1e-13, atol=1e-13)
    ((captured,),) = compiled.captures.values()
    return captured.run.code.source


def overwrites(source):
    """The statements that read the element that they write."""
    return [line for line in source.splitlines() if re.match(r"\s*(t\d+\[[^]]*]) = .*\1", line)]


x, w = np.random.default_rng(0).normal(size=(2, 24, 24))


def test_a_result_overwrites_what_is_read_for_the_last_time():
    assert overwrites(native(lambda x, w: (mg.tanh(x @ w) @ w,), x, w))


@pytest.mark.parametrize(
    "f",
    [
        lambda x, w: ((a := x @ w), mg.tanh(a) @ w),  # an output
        lambda x, w: (mg.tanh(a := x @ w) @ w @ a,),  # read later
        lambda x, w: (mg.tanh(mg.flip(x @ w, axis=0)) @ w,),  # read elsewhere
        lambda x, w: (mg.tanh((x @ w).T) @ w,),
        lambda x, w: ((a := x @ w) * 2 @ w, mg.cumsum(a, axis=0)),
        lambda x, w: (mg.tanh(x) @ w,),  # an argument
    ],
)
def test_nothing_else_is_overwritten(f):
    assert not overwrites(native(f, x, w))


def test_what_is_computed_again_is_read_by_what_is_computed_again_later():
    def waves(y):
        for _ in range(30):
            y = mg.sin(y) * 1.01
        return y

    def f(x):
        first = mg.tanh(x)  # is read soon, and much later by `second`, and then once more
        y = waves(first)
        second = mg.exp(first * y[0])  # likewise
        return (waves(y + second) * second * x * first,)

    source = native(f, np.linspace(0.1, 1, 9000))
    assert source.count("tanh_f8(x0[j])") == 2


def test_what_python_computes_is_overwritten_in_another_shape():
    def f(x):
        return (mg.tanh(mg.linalg.solve(x, mg.tanh(mg.sum(x, axis=1)))[:, None]) @ x[:1],)

    native(f, x)


def test_an_element_is_read_before_it_is_overwritten_by_all_that_share_its_loops():
    def f(x, w):
        a = x @ w
        b, c = mg.exp(a - mg.max(a, axis=1, keepdims=True)), mg.tanh(a)
        return b @ w, c @ w, mg.sum(a * b, axis=0)

    native(f, x, w)


lives = st.tuples(st.integers(0, 12), st.integers(0, 6)).map(lambda t: (t[0], t[0] + t[1]))
takings = st.tuples(st.integers(0, 900), st.integers(1, 300), st.integers(0, 15)).map(
    lambda t: (t[0], t[0] + t[1], t[2], 99)
)


@given(
    st.lists(st.tuples(st.integers(0, 9), lives), max_size=12),
    st.lists(st.tuples(st.integers(0, 1000), st.lists(takings, max_size=3)), max_size=2),
)
def test_what_is_alive_at_the_same_time_lies_apart(buffers, given_rooms):
    sizes = {f"t{i}": n * ALIGNMENT for i, (n, _) in enumerate(buffers)}
    alive = {f"t{i}": life for i, (_, life) in enumerate(buffers)}
    rooms = [Room(size, taken) for size, taken in given_rooms]
    places, extra = packed(list(sizes), sizes, alive, rooms)
    limits = [*(r.size for r in rooms), extra]
    boxes = [(i, at, at + sizes[name], *alive[name]) for name, (i, at) in places.items() if sizes[name]]
    assert places.keys() == sizes.keys()
    assert all(at % ALIGNMENT == 0 and stop <= limits[i] for i, at, stop, *_ in boxes)
    taken = [(i, *t) for i, room in enumerate(rooms) for t in room.taken]
    for k, (i, start, stop, first, last) in enumerate(boxes):
        for other, begin, end, born, gone in boxes[k + 1 :] + taken:
            assert i != other or end <= start or stop <= begin or gone < first or last < born


def test_activations_lie_where_the_gradient_will_be():
    model = nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
    step = mg.compile_step(model, nn.MSELoss(), optimizer)
    step(np.ones((32, 256)), np.ones((32, 1)))
    code = step.codes[-1].code
    names = [name for name in code.arrays if name[0] == "t" and name not in (*code.outputs, "table")]
    (gradient,) = (block.joined_gradient for block in optimizer._blocks)
    inside = [name for name in names if np.may_share_memory(code.arrays[name], gradient)]
    assert len(inside) >= 2
