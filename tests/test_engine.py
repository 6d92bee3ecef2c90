"""The engine: what backward leaves where, for how much memory, and what it refuses because something has changed."""

import copy
import gc
import pickle
import sys
import tracemalloc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

import minigrad as mg
from minigrad.autodiff import unbroadcast
from minigrad.ops.card import Op, together
from minigrad.tensor import Tensor


def leaf(*values):
    return mg.tensor(values[0] if len(values) == 1 else list(values), requires_grad=True)


# ---- gradients -----------------------------------------------------------------------------------------------------


def test_leaves_are_reached_in_one_order():
    """Not in that of where they lie in memory, which is another one in each process."""
    leaves, reached = [leaf(float(i)) for i in range(40)], []
    leaves = [leaves[i] for i in np.random.default_rng(0).permutation(40)]
    for i, t in enumerate(leaves):
        t.register_hook(lambda g, i=i: reached.append(i))
    mg.stack(leaves).sum().backward()
    assert reached == list(range(40))


def test_a_gradient_by_every_leaf_and_none_elsewhere():
    a, b, c = leaf(2.0), leaf(3.0), mg.tensor(4.0)
    y = a * b + c
    y.backward()
    assert (a.grad.item(), b.grad.item(), c.grad) == (3.0, 2.0, None)
    assert a.is_leaf
    assert not y.is_leaf
    assert y.requires_grad
    assert not a.grad.requires_grad


def test_gradients_that_are_computed_together_are_so_for_each_sample():
    """NumPy code that takes no batched arrays runs for one sample after the other, and so does the rule."""
    product = Op("product", lambda a, b: np.asarray(a, float) * np.asarray(b, float), arity=2,
                 vjp=together(lambda g, y, a, b: (g * np.asarray(b, float), g * np.asarray(a, float))))  # fmt: skip
    a, b = np.random.default_rng(0).normal(size=(2, 4, 3))
    by_a, by_b = mg.vmap(mg.grad(lambda a, b: product(a, b).sum(), argnums=(0, 1)))(a, b)
    np.testing.assert_array_equal(by_a.data, b)
    np.testing.assert_array_equal(by_b.data, a)


def test_shared_subgraphs_are_exact():
    """A diamond of n layers has 2^n paths; the walk takes each edge once, and every contribution is exact."""
    x = leaf(1.5)
    y = x
    for _ in range(50):
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**50


def test_a_result_is_complete_before_it_is_passed_on():
    """The short way to b must not be sent further down before the long way has arrived."""
    x = leaf(3.0)
    b = x * x
    long = b
    for _ in range(10):
        long = long + 1.0
    (b * long).backward()  # x^2 (x^2 + 10)
    assert x.grad.item() == 4 * 27 + 20 * 3


BROADCAST = [
    *[((), (3,)), ((1,), (3,)), ((), (2, 3)), ((3,), (2, 3)), ((3,), (3, 3)), ((3,), (2000, 3)), ((1,), (2, 3))],
    *[((1,), (3, 1)), ((2, 1), (2, 3)), ((1, 3), (2, 3)), ((1, 1), (2, 3)), ((2, 1), (4, 2, 3)), ((3,), (4, 2, 3))],
    *[((1, 2, 1), (4, 2, 3)), ((2, 3), (5, 1, 2, 3)), ((1,), (0,)), ((3,), (0, 3)), ((1, 0), (2, 0)), ((0,), (2, 0))],
]


@pytest.mark.parametrize(("shape", "large"), BROADCAST, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_broadcasting_is_undone(shape, large, dtype):
    """Every element of g goes where NumPy's broadcasting took the element of x from."""
    size = int(np.prod(shape))
    places = np.broadcast_to(np.arange(size).reshape(shape), large)
    g = np.random.default_rng(0).integers(-9, 9, large).astype(dtype)  # whole numbers add up exactly
    summed = unbroadcast(g, shape)
    expected = np.bincount(places.ravel(), g.ravel(), minlength=size).reshape(shape).astype(dtype)
    np.testing.assert_array_equal(summed, expected, strict=True)


def test_gradients_accumulate_exactly():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    for n in (1, 2, 3):  # a second walk over the same graph is as good as the first
        y.backward()
        np.testing.assert_array_equal(x.grad.data, n * np.array([2.0, 4.0]))
    (3 * x).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [9.0, 15.0])
    x.grad = None
    y.backward()
    np.testing.assert_array_equal(x.grad.data, [2.0, 4.0])


def test_a_leaf_is_its_own_gradients_start():
    x = leaf(2.0)
    x.backward()
    assert x.grad.item() == 1.0


def test_the_gradient_given_to_backward():
    x = leaf(1.0, 2.0)
    (x * x).backward([1.0, 10.0])
    np.testing.assert_array_equal(x.grad.data, [2.0, 40.0])
    x.grad = None
    (x * x).backward(mg.tensor([1, 10]))
    assert x.grad.dtype == np.float64


def test_no_gradient_belongs_to_two():
    """Leaves, the seed, kept gradients: changing one in place changes no other."""
    a, b, c = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf([5.0, 6.0])
    seed = np.ones(2)
    kept = b + c
    kept.retain_grad()
    y = a + kept + a.reshape(2, 1).reshape(2) + mg.concatenate([b[:1], c[1:]]) + a.T
    y.backward(seed)
    arrays = [a.grad.data, b.grad.data, c.grad.data, kept.grad.data, seed]
    for i, one in enumerate(arrays):
        assert not any(np.shares_memory(one, other) for other in arrays[i + 1 :])
        assert one.flags.writeable


def test_the_gradient_does_not_share_memory_with_values():
    x = leaf(1.0, 2.0)
    w = mg.tensor([3.0, 4.0])
    (x * w).sum().backward()
    x.grad.data[...] = 0
    np.testing.assert_array_equal(w.data, [3.0, 4.0])


def test_retain_grad():
    x = leaf(2.0)
    y = x * x
    y.retain_grad()
    (y * 3).backward()
    assert y.grad.item() == 3.0
    assert x.grad.item() == 12.0


def test_detach():
    x = leaf(2.0)
    y = x * x
    (y.detach() * x).backward()
    assert x.grad.item() == 4.0
    assert y.detach().is_leaf
    assert not y.detach().requires_grad


def test_no_grad_nests_and_ends_with_an_error():
    x = leaf(2.0)
    with mg.no_grad():
        with mg.no_grad():
            pass
        assert not (x * x).requires_grad
    with pytest.raises(ZeroDivisionError), mg.no_grad():
        raise ZeroDivisionError
    assert (x * x).requires_grad


def test_a_rule_that_fails_leaves_everything_as_it_was():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    x.data[0] = 3.0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
    assert x.grad is None
    assert type(x * x) is Tensor
    assert (x * x).requires_grad


def test_create_graph():
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    first = x.grad
    assert first.requires_grad
    x.grad = None
    first.backward(create_graph=True)
    assert x.grad.item() == 12.0
    second, x.grad = x.grad, None
    second.backward()
    assert x.grad.item() == 6.0
    assert not x.grad.requires_grad


def test_create_graph_accumulates_as_a_graph():
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    (x**2).backward(create_graph=True)
    g, x.grad = x.grad, None
    assert g.item() == 12.0 + 4.0
    g.backward()
    assert x.grad.item() == 12.0 + 2.0


def test_lists_and_arrays_among_the_inputs_of_a_differentiable_gradient():
    calls = [
        lambda x: x @ [1.0, 2.0],
        lambda x: (x ** [2.0, 3.0]).sum(),
        lambda x: mg.linear([1.0, 2.0], x.reshape(1, 2), [0.5]).sum(),
        lambda x: mg.concatenate([x, [1.0]]).prod(),
        lambda x: mg.stack([x, [1.0, 2.0]]).prod(),
        lambda x: ([1.0, 2.0] / x).sum(),
    ]
    for f in calls:
        x = leaf(3.0, 4.0)
        f(x).backward()
        plain, x.grad = x.grad, None
        f(x).backward(create_graph=True)
        np.testing.assert_array_equal(plain.data, x.grad.data)


# ---- size ----------------------------------------------------------------------------------------------------------


def test_a_chain_of_a_million_nodes():
    """Built, walked and freed without recursion."""
    x = y = leaf(1.0)
    for _ in range(1_000_000):
        y = y + 0.0
    y.backward()
    assert x.grad.item() == 1.0
    del y


def test_a_long_chain_with_a_differentiable_gradient():
    x = y = leaf(1.0)
    for _ in range(20_000):
        y = y * 1.0
    (y * y).backward(create_graph=True)
    g, x.grad = x.grad, None
    g.backward()
    assert x.grad.item() == 2.0


def make_net():
    rng = np.random.default_rng(0)
    net = SimpleNamespace(
        w=mg.tensor(rng.normal(size=(4, 3)), requires_grad=True), b=mg.tensor(np.zeros(4), requires_grad=True)
    )
    x, target = rng.normal(size=(8, 3)), rng.integers(0, 4, 8)

    def step():
        loss = mg.nn.functional.cross_entropy(mg.tanh(mg.linear(x, net.w, net.b)), target) + 1e-3 * (net.w**2).sum()
        loss.backward()
        for p in (net.w, net.b):
            p.data -= 0.1 * p.grad.data
            p.grad = None
        return mg.grad(lambda w: (w * w).sum())(net.w.data)

    return step


@pytest.fixture
def _collector_off():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_collector_off")
def test_training_leaves_no_garbage():
    """No reference cycles: reference counting alone frees every graph."""
    step = make_net()
    step()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(300):
        step()
    assert len(gc.get_objects()) - before < 50
    assert gc.collect() == 0


@pytest.mark.usefixtures("_collector_off")
@pytest.mark.parametrize(
    "use",
    [
        lambda x: (x**3).sum().backward(create_graph=False),
        lambda x: mg.grad(mg.grad(lambda x: x**3))(2.0),
        lambda x: mg.hessian(lambda x: (x**3).sum())(x),
        lambda x: mg.jvp(mg.sin, (x,), (x.data,)),
        lambda x: mg.vjp(mg.sin, x)[1](np.ones(2)),
        lambda x: mg.hvp(lambda x: (x**3).sum(), x, np.ones(2)),
    ],
    ids=["backward", "grad of grad", "hessian", "jvp", "vjp", "hvp"],
)
def test_nothing_is_left_to_the_garbage_collector(use):
    x = leaf(1.0, 2.0)
    use(x)
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        use(x)
        gc.collect()
        assert not [o for o in gc.garbage if isinstance(o, (Tensor, np.ndarray))]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


@pytest.mark.long
@pytest.mark.usefixtures("_collector_off")
def test_ten_thousand_steps_leave_memory_where_it_was():
    step = make_net()
    for _ in range(100):
        step()
    tracemalloc.start()
    step()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(10_000):
        step()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 20_000


# ---- changes in place ----------------------------------------------------------------------------------------------


def touch_element(x):
    x.data[0] = 5.0


def touch_by_operator(x):
    x.data += 1.0


def touch_by_assignment(x):
    x.data = np.array([5.0, 6.0])


def touch_by_index(x):
    with mg.no_grad():
        x[0] = 5.0


def touch_under_no_grad(x):
    with mg.no_grad():
        x -= 1.0


def touch_by_numpy(x):
    np.multiply(x.data, 2, out=x.data)


def touch_through_a_view(x):
    x.data[1:].fill(7.0)


CHANGES = [
    touch_element,
    touch_by_operator,
    touch_by_assignment,
    touch_by_index,
    touch_under_no_grad,
    touch_by_numpy,
    touch_through_a_view,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_after_the_forward_pass_is_found(change):
    x = mg.tensor([1.0, 2.0], requires_grad=True, name="w")
    y = (x * x).sum()
    change(x)
    with pytest.raises(
        RuntimeError,
        match=(
            r"tensor 'w' of shape \(2,\) was changed in place after tensor of shape \(2,\) made by "
            r"multiply had used it.*compute the result anew"
        ),
    ):
        y.backward()
    x.grad = None
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad.data, 2 * x.data)


@pytest.mark.parametrize("change", [c for c in CHANGES if c is not touch_under_no_grad])  # which rebinds such a tensor
def test_a_change_of_an_input_that_needs_no_gradient_is_found(change):
    x, w = mg.tensor([1.0, 2.0], name="input"), leaf(3.0, 4.0)
    y = (x * w).sum()
    change(x)
    with pytest.raises(RuntimeError, match="'input'.* was changed in place"):
        y.backward()


@pytest.mark.parametrize("change", [touch_element, touch_by_operator, touch_by_numpy])
def test_a_change_of_an_intermediate_result_is_found(change):
    x = leaf(1.0, 2.0)
    y = mg.exp(x)
    z = y.sum()
    change(y)
    with pytest.raises(RuntimeError, match="made by exp.* was changed in place"):
        z.backward()


def test_a_change_between_two_walks_is_found():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    x.data[0] = 9.0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_an_array_held_from_before_is_watched():
    x = leaf(1.0, 2.0)
    held = x.data
    y = (x * x).sum()
    held[0] = 5.0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
    (x * x).sum().backward()
    held[1] = 7.0
    x.grad = None
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [10.0, 14.0])


@pytest.mark.parametrize("alias", [lambda x: x.data, np.asarray], ids=["data", "asarray"])
def test_a_change_through_an_alias_is_found(alias):
    x, w = mg.tensor([1.0, 2.0]), leaf(3.0, 4.0)
    held = alias(x)
    y = (x * w).sum()
    held[0] = 5.0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
    y = (x * w).sum()
    alias(x)[0] = 6.0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_an_optimizer_step_before_backward_is_found():
    w = leaf(1.0, 2.0)
    optimizer = mg.optim.SGD([w], lr=0.1)
    (w * w).sum().backward()
    loss = (w * w).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"before optimizer\.step\(\)"):
        loss.backward()


def test_no_false_alarm_where_data_is_only_read():
    x = leaf(1.0, 2.0)
    held = x.data
    y = x * x
    assert x.data.sum() == 3.0
    assert y.data.sum() == held[0] + 4.0
    assert float(y.sum()) == 5.0
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.data, [2.0, 4.0])


@pytest.mark.parametrize("change", CHANGES)
def test_no_false_alarm_where_the_change_was_before(change):
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    x.grad = None
    change(x)
    y = (x * x).sum()
    y.backward()
    np.testing.assert_array_equal(x.grad.data, 2 * x.data)


def update_by_data(w, lr):
    w.data -= lr * w.grad.data


def update_by_tensor(w, lr):
    w.data -= lr * w.grad


def update_under_no_grad(w, lr):
    with mg.no_grad():
        w -= lr * w.grad


def update_by_assignment(w, lr):
    w.data = w.data - lr * w.grad.data


@pytest.mark.parametrize("update", [update_by_data, update_by_tensor, update_under_no_grad, update_by_assignment])
def test_no_false_alarm_in_training_by_hand(update):
    w = mg.tensor([1.0, -2.0], requires_grad=True)
    for _ in range(20):
        ((w - 3.0) ** 2).sum().backward()
        update(w, 0.25)
        w.grad = None
    np.testing.assert_allclose(w.data, 3.0, atol=1e-5)
    assert w.is_leaf
    assert w.requires_grad


# ---- Python's protocols --------------------------------------------------------------------------------------------


def test_what_a_tensor_says_of_itself():
    x = mg.tensor([[1.0, 2.0]], requires_grad=True, name="x")
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((1, 2), 2, 2, np.float64, 1)
    assert repr(x) == "tensor([[1., 2.]], name='x', requires_grad=True)"
    assert repr(mg.tensor([1.0], dtype=np.float32)) == "tensor([1.], dtype=float32)"
    assert repr(x + 1) == "tensor([[2., 3.]], op=add)"
    assert f"{x.sum():.2f}" == "3.00"
    assert [t.item() for t in x[0]] == [1.0, 2.0]
    assert (x > 1.5).tolist() == [[False, True]]
    assert type(x == x) is np.ndarray
    assert float(x.sum()) == 3.0
    assert bool(x.sum())


def test_numpy_is_a_copy_and_data_is_not():
    x = mg.tensor([1.0, 2.0])
    x.numpy()[0] = 9.0
    assert x.data[0] == 1.0
    x.data[0] = 9.0
    assert x.tolist() == [9.0, 2.0]


def test_a_tensor_copies_what_it_is_made_of():
    array = np.ones(2)
    x = mg.tensor(array)
    array[0] = 5.0
    assert x.tolist() == [1.0, 1.0]


def test_copies_and_pickles():
    x = mg.tensor([1.0, 2.0], requires_grad=True, name="x")
    for y in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert (y.tolist(), y.requires_grad, y.name) == ([1.0, 2.0], True, "x")
        assert not np.shares_memory(x.data, y.data)
    for act in (copy.deepcopy, pickle.dumps):
        with pytest.raises(RuntimeError, match=r"part of a graph.*detach\(\) it first"):
            act(x * 2)


def test_no_grad_within_itself_and_as_a_decorator():
    quiet = mg.no_grad()
    with quiet, quiet:
        pass
    x = leaf(1.0)
    assert (x * 2).requires_grad

    @mg.no_grad()
    def evaluate():
        return x * 2

    assert not evaluate().requires_grad
    assert (x * 2).requires_grad


def test_differentiable_gradients_belong_to_one_leaf():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).sum().backward(create_graph=True)
    a.grad.data[...] = 0
    np.testing.assert_array_equal(b.grad.data, [1.0, 1.0])


def test_a_glance_at_the_data_costs_one_fingerprint(monkeypatch):
    engine = sys.modules["minigrad.tensor"]
    calls = []
    monkeypatch.setattr(engine, "fingerprint", lambda array: calls.append(array.shape) or 0)
    x, w = mg.tensor(np.ones((3, 2))), leaf(1.0, 2.0)
    assert x.data.shape == (3, 2)
    for _ in range(5):
        (x @ w).sum().backward()
    assert len(calls) == 2  # when it was lent, and when it was found returned


@pytest.mark.parametrize(
    "change",
    [
        lambda w, held: held.__setitem__(0, 50.0),
        lambda w, held: w.data.__isub__(1.0),
        lambda w, held: setattr(w, "data", w.data * 2),
    ],
)
def test_a_held_array_stays_watched_over_steps(change):
    w = leaf(1.0, 2.0)
    optimizer = mg.optim.SGD([w], lr=0.1)
    held = w.data
    for _ in range(2):
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()
    loss = (w**3).sum()
    change(w, held)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_failed_op_frees_its_graph():
    x = leaf(1.0, 2.0)
    result = weakref.ref(y := x * 2)
    gc.disable()
    try:
        with pytest.raises(ValueError, match="multiply"):
            y * np.ones(3)
        del y
        assert result() is None
    finally:
        gc.enable()
