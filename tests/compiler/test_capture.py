"""What a compiled function means: the same as the function, called again and again while the world changes."""

import copy
import pickle
import queue
import warnings
import weakref
from collections import deque
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from catalogue import LAYOUTS
from engines import ENGINES, compiled

import minigrad as mg
from minigrad import nn
from minigrad.compiler import function
from minigrad.compiler.trace import CaptureError, Replay, Trace, UnevenError
from minigrad.tensor import MinigradWarning

rng = np.random.default_rng(0)
X = rng.normal(size=(4, 3))

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def equal(ours, theirs, rtol=1e-12):
    """The same nest of the same values."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        ours, theirs = list(ours.values()), list(theirs.values())
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            equal(a, b, rtol)
    elif isinstance(theirs, mg.Tensor):
        equal(ours.numpy(), theirs.numpy(), rtol)
    elif isinstance(theirs, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(ours, theirs, rtol)
    else:
        assert ours == theirs


# ---- what goes in and comes out -------------------------------------------------------------------------------------


class Pair(NamedTuple):
    a: object
    b: object


def nested(x, p, *, scale=2.0, name="y"):
    y = mg.tanh(x * scale) + p["w"][0]
    return {name: (y, [y.sum(), p["w"][1] * scale]), "pair": Pair(y, 3), "text": "done", "none": None, "size": x.size}


@pytest.mark.parametrize("scale", [2.0, 0.5])
def test_nests(engine, scale):
    ours = compiled(engine, nested)
    for x in (X, 2 * X):
        args = mg.tensor(x), {"w": [mg.tensor(x[0]), x[1]]}
        equal(ours(*args, scale=scale), nested(*args, scale=scale))
    assert len(ours.captures) == 1
    equal(ours(*args, name="z"), nested(*args, name="z"))
    assert len(ours.captures) == 2


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int32, bool, ">f8", ">i4", np.float16])
def test_arrays_of_every_kind(engine, layout, dtype):
    def f(x):
        return x * 2 + x.sum(axis=0), x[1:], mg.where(x > 0, x, 0)

    ours = compiled(engine, f)
    for x in (X * 4, X * -3):
        for wrap in (mg.tensor, lambda x: x):
            x = wrap(LAYOUTS[layout](x.astype(dtype)))
            native = x if isinstance(x, mg.Tensor) or x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))
            if isinstance(x, mg.Tensor) and not x.dtype.isnative:
                native = mg.tensor(x.numpy().astype(x.dtype.newbyteorder("=")))
            rounding = 4 * np.finfo(dtype).eps if np.dtype(dtype).kind == "f" else 0  # sums in another order
            equal(ours(x), f(native), max(rounding, 1e-12))


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1,)])
def test_small_and_empty_arrays(engine, shape):
    def f(x):
        return mg.exp(x).sum(), x + 1, mg.grad(lambda x: (x * x).sum())(x)

    ours = compiled(engine, f)
    for k in (1, 2):
        x = np.full(shape, 0.5 * k)
        equal(ours(x), f(x))


def test_numbers_of_python_leave_arrays_their_dtype(engine):
    def f(x, lr, n):
        return x * (1 - lr) ** n, -lr, x + lr * n, mg.tensor(lr) * x

    ours = compiled(engine, f)
    for lr in (0.5, 0.25):
        equal(ours(X.astype(np.float32), lr, 2), f(X.astype(np.float32), lr, 2))
    assert len(ours.captures) == 1


def test_floats_can_be_differentiated_by(engine):
    f = mg.grad(lambda x: x**3 * mg.sin(x))
    ours = compiled(engine, f)
    for x in (0.5, 0.7):
        equal(ours(x), f(x))


def test_arguments_and_results_that_are_one(engine):
    w = mg.tensor([1.0, 2.0], requires_grad=True)

    def f(x, y):
        z = x + y
        return x, z, z, w, [z]

    ours = compiled(engine, f)
    for _ in range(2):
        x = mg.tensor([3.0, 4.0])
        a, z, again, theirs, (third,) = ours(x, x)
        assert a is x
        assert z is again is third
        assert theirs is w
        equal(z, mg.tensor([6.0, 8.0]))
    equal(ours(x, mg.tensor([1.0, 1.0]))[1], mg.tensor([4.0, 5.0]))  # two arguments, which were one
    assert w.requires_grad


def test_results_are_new_each_time(engine):
    ours = compiled(engine, lambda x: (x * 2, mg.ones(2)))
    (a, one), (b, other) = ours(mg.tensor(X)), ours(mg.tensor(X))
    a.data[:] = 0
    one.data[:] = 0
    equal(b, mg.tensor(X * 2))
    equal(other, mg.ones(2))
    equal(ours(X)[1], mg.ones(2))


def test_no_arguments_at_all(engine):
    w = mg.tensor([1.0, 2.0])
    ours = compiled(engine, lambda: (w * 2, mg.arange(3).sum(), 5))
    equal(ours(), (mg.tensor([2.0, 4.0]), mg.tensor(3), 5))
    w.data[0] = 7.0
    equal(ours()[0], mg.tensor([14.0, 4.0]))


def test_methods_and_decorated_functions(engine):
    class Model:
        def __init__(self):
            self.w = mg.tensor([1.0, 2.0, 3.0])

        def predict(self, x):
            """What it does."""
            return x @ self.w

    model = Model()
    ours = compiled(engine, model.predict)
    equal(ours(X), model.predict(X))
    assert ours.__name__ == "predict"
    assert ours.__doc__ == "What it does."

    Model.predict = (lambda f: compiled(engine, f))(Model.predict)
    equal(model.predict(X), mg.tensor(X @ [1.0, 2.0, 3.0]))
    other = Model()
    other.w.data[:] = 1
    equal(other.predict(X), mg.tensor(X.sum(1)))  # another self, another capture


# ---- what changes between calls -------------------------------------------------------------------------------------


@pytest.mark.parametrize("requires_grad", [True, False])
def test_tensors_outside_are_read_anew(engine, requires_grad):
    w, mask = mg.tensor([1.0, -2.0, 3.0], requires_grad=requires_grad), mg.tensor([True, False, True])
    rows = mg.tensor([0, 2])

    def f(x):
        return mg.where(mask, x * w, 0), mg.argmax(w) if hasattr(mg, "argmax") else w.argmax(), np.asarray([1.0]) * w

    def g(x):
        return mg.grad(lambda x: (mg.sin(x * w)[rows] ** 2).sum())(x)

    ours, slope = compiled(engine, f), compiled(engine, g)
    for k in range(3):
        equal(ours(X), f(X))
        equal(slope(X), g(X))
        w.data = w.data * -1.5 + k
        mask.data[k % 3] ^= True
        rows.data[0] = k
    assert len(ours.captures) == 1


SCALE = 2.0
TABLE = mg.tensor([1.0, 2.0])


def test_variables_outside_that_are_bound_anew(engine, monkeypatch):
    def f(x):
        return x * SCALE * TABLE[0] * shift

    shift = 1.0
    ours = compiled(engine, f)
    equal(ours(X), f(X))
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    equal(ours(X), f(X))
    monkeypatch.setitem(globals(), "TABLE", mg.tensor([5.0, 6.0]))
    equal(ours(X), f(X))
    shift = 4.0
    equal(ours(X), f(X))
    assert len(ours.captures) == 4


def test_layers_in_training_and_in_evaluation(engine):
    model = nn.Sequential(
        nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(5, momentum=None)
    )
    twin = copy.deepcopy(model)
    ours = compiled(engine, model)
    for i, training in enumerate([True, True, False, True, False]):
        model.train(training)
        twin.train(training)
        mg.random.seed(i)
        expected, after = twin(X + i), mg.random.normal()
        mg.random.seed(i)
        equal(ours(X + i), expected.detach())
        equal(mg.random.normal(), after)  # as many numbers were drawn
        for path, value in twin.state_dict().items():
            np.testing.assert_allclose(model.state_dict()[path], value, 1e-12, err_msg=path)
    assert sum(map(len, ours.captures.values())) == 2


def test_what_is_drawn(engine):
    own = np.random.default_rng(5)

    def f(x):
        a = mg.random.normal(size=3) + mg.random.integers(0, 10, 3)
        b = mg.checkpoint(lambda x: nn.functional.dropout(mg.sin(x), 0.5))(x)
        return a, mg.grad(lambda x: (b * nn.functional.dropout(x) * a).sum())(x), mg.random.uniform(generator=own)

    ours = compiled(engine, f)
    start = own.bit_generator.state
    mg.random.seed(3)
    expected = [f(X) for _ in range(3)]
    own.bit_generator.state = start
    mg.random.seed(3)
    for e in expected:
        equal(ours(X), e)


def test_gradients_through_what_is_drawn_and_drawn_again(engine):
    f = mg.grad(lambda x: mg.checkpoint(lambda x: nn.functional.dropout(mg.sin(x), 0.5) * mg.random.normal())(x).sum())
    ours = compiled(engine, f)
    mg.random.seed(3)
    expected = [f(X) for _ in range(3)]
    mg.random.seed(3)
    for e in expected:
        equal(ours(X), e)


def test_changes_are_written_back(engine):
    count, total = mg.tensor(0), mg.zeros(3)
    view = total.data

    def f(x):
        count.data = count.data + 1
        with mg.no_grad():
            total[0] = x[0].sum()
            total.data[1:] += x[1, 1:]
        x[0, 0] = 9.0
        return total * count

    def outside():
        return count.item(), total.tolist(), view.tolist()

    found = []
    for g in (f, compiled(engine, f)):
        count.data, total.data[:] = np.array(0), 0
        steps = []
        for k in range(3):
            x = X * k
            steps.append((g(x).tolist(), x.tolist(), *outside()))
        found.append(steps)
    assert found[0] == found[1]


def test_an_optimizer_by_hand(engine):
    w = mg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    twin = copy.deepcopy(w)

    def step(w):
        def f(x):
            loss, g = mg.value_and_grad(lambda w: (mg.tanh(x @ w) ** 2).sum())(w)
            w.data -= 0.1 * g.data
            return loss

        return f

    ours, theirs = compiled(engine, step(w)), step(twin)
    for k in range(4):
        equal(ours(X + k), theirs(X + k))
        equal(w.detach(), twin.detach())


# ---- transforms, inside and outside ---------------------------------------------------------------------------------

W = mg.tensor(rng.normal(size=(3, 3)), requires_grad=True)


def energy(x):
    return mg.sum(mg.tanh(W @ x) ** 2) * mg.linalg.norm(x)


@mg.primitive
def choosy(x):
    return np.where(x > 0, x, np.expm1(x)) if x.sum() > 0 else x


@choosy.vjp
def _(g, y, x):
    if np.sum(x) > 0:
        return g * mg.where(x > 0, 1.0, y + 1)
    return g


@mg.custom_gradient
def clipped(x):
    return mg.sin(x)


@clipped.vjp
def _(g, y, x):
    return mg.clip(g, -0.1, 0.1) * y


INSIDE = {
    "grad": mg.grad(energy),
    "third": lambda x: mg.grad(mg.grad(mg.grad(mg.tanh)))(x[0]),
    "hessian": mg.hessian(energy),
    "jacobian": mg.jacobian(lambda x: mg.sort(W @ x)),
    "hvp": lambda x: mg.hvp(energy, x, np.ones(3)),
    "jvp": lambda x: mg.jvp(energy, (x,), (np.ones(3),)),
    "vmap": lambda x: mg.vmap(energy)(mg.stack([x, 2 * x])),
    "vmap of a hosted card": lambda x: mg.vmap(mg.grad(lambda a: mg.linalg.expm(a).sum()))(mg.stack([x * W, W])),
    "vmap of grad": lambda x: mg.vmap(mg.grad(energy))(mg.stack([x, 2 * x])),
    "vmap of vmap": lambda x: mg.vmap(mg.vmap(mg.grad(mg.tanh)))(mg.stack([x, 2 * x])),
    "checkpoint": mg.grad(lambda x: mg.checkpoint(energy)(mg.sin(x))),
    "no_grad": mg.no_grad()(energy),
    "custom_gradient": mg.grad(lambda x: (clipped(x) * x).sum()),
    "primitive": mg.value_and_grad(lambda x: (choosy(x) * x).sum()),
    "primitive, twice": mg.grad(lambda x: (mg.grad(lambda x: (choosy(x) ** 2).sum())(x) * x).sum()),
    "backward": lambda x: leaf_gradient(x),
    "compiled": compiled("replay", energy),
    "numpy": lambda x: np.linalg.norm(np.cumsum(x)) + np.einsum("ij,j->i", W.detach(), x),
    "kernel sized": lambda x: mg.grad(lambda x: mg.relu(mg.broadcast_to(x, (3000, 3))).sum())(x),
}


def leaf_gradient(x):
    leaf = mg.tensor(x, requires_grad=True)
    (mg.tanh(leaf) ** 2).sum().backward()
    return leaf.grad


@pytest.mark.parametrize("name", INSIDE)
def test_inside(engine, name):
    f = INSIDE[name]
    ours = compiled(engine, f)
    for x in (X[0], X[1], -X[2]):
        theirs = f(x)
        equal(ours(x), mg.nests.map_nest(lambda t: t.detach() if isinstance(t, mg.Tensor) else t, theirs))


OUTSIDE = {
    "grad": mg.grad, "hessian": mg.hessian, "jacobian": mg.jacobian,
    "vmap": lambda f: lambda x: mg.vmap(f)(mg.stack([x, x])),
    "symbols": lambda f: lambda x: f(mg.symbols("x", (3,))).item(),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_outside(engine, name):
    """There the function itself runs, so that nothing is lost."""
    ours, theirs = (OUTSIDE[name](f)(X[0]) for f in (compiled(engine, energy), energy))
    equal(ours, theirs)


def test_debug_runs_the_function_itself(engine):
    ours = compiled(engine, lambda x: mg.log(x).sum())
    ours(np.array([1.0, 2.0]))
    with mg.debug(), pytest.raises(FloatingPointError, match="log: the value at"):
        ours(np.array([1.0, 0.0]))


# ---- what cannot be captured ----------------------------------------------------------------------------------------


def branching(x):
    if x.sum() > 0:
        return x
    return -x


@mg.custom_gradient
def branching_rule(x):
    return mg.sin(x)


@branching_rule.vjp
def _(g, y, x):
    return g if x.sum() > 0 else -g


REFUSED = {
    "if": (branching, "truth value"),
    "while": (lambda x: [x for _ in iter(lambda: x > 0, None) if x], "truth value"),
    "float": (lambda x: x * float(x.sum()), "Python number"),
    "int": (lambda x: mg.ones(int(x[0])), "Python number"),
    "item": (lambda x: x.sum().item(), "Python number"),
    "tolist": (lambda x: x.tolist(), "Python number"),
    "range": (lambda x: list(range(x[0].astype(int))), "Python integer"),
    "asarray": (lambda x: np.asarray(x) + 1, "NumPy array"),
    "written into an array": (lambda x: np.zeros((3, 3)).__setitem__(0, x), "NumPy array"),
    "in place": (lambda x: np.add(x, 1, out=np.zeros(3)), "written into an array"),
    "add.at": (lambda x: np.add.at(np.zeros(3), [0, 0, 2], x), "written into an array"),
    "print": (lambda x: f"{x}", "printed"),
    "pickle": (lambda x: pickle.dumps(x), "pickled"),
    "format": (lambda x: f"{x.sum():.3f}", "Python number|printed"),
    "mask": (lambda x: x[x > 0], "x\\[mask\\] has a shape that depends on values"),
    "nonzero": (lambda x: np.nonzero(x), "shape"),
    "unique": (lambda x: np.unique(x), "shape"),
    "repeat": (lambda x: np.repeat(x, np.abs(x).astype(int)), "shape|NumPy array"),
    "compress": (lambda x: mg.compress(x > 0, x), "NumPy array"),
    "allclose": (lambda x: x if np.allclose(x, 0) else -x, "looked at by np.allclose"),
    "if in checkpoint": (lambda x: mg.grad(lambda x: mg.checkpoint(branching)(x).sum())(x), "truth value"),
    "if in a rule": (lambda x: mg.grad(lambda x: branching_rule(x).sum())(x), "truth value"),
    "if in vmap": (lambda x: mg.vmap(lambda y: branching(x) + y)(X), "truth value"),
}


@pytest.mark.parametrize("wrap", [mg.tensor, np.array], ids=["tensor", "array"])
@pytest.mark.parametrize("name", REFUSED)
def test_refused(engine, name, wrap):
    f, sentence = REFUSED[name]
    with pytest.raises(CaptureError, match=sentence) as error:
        compiled(engine, f)(wrap(X[0]))
    assert str(error.value).startswith("test_capture.py:")
    assert "mg.where" in str(error.value)
    for way in ("y = mg.setitem(y, np.s_[1:3], x)", "y = mg.index_add(y, 0, i, x)"):
        assert (way in str(error.value)) == ("written into" in str(error.value))


def test_what_refused_writing_is_told_to_do_compiles(engine):
    def f(x):
        y = np.zeros(5)
        y = mg.setitem(y, np.s_[1:3], x[0, :2])
        return mg.index_add(y, 0, np.array([0, 0, 4]), x[1])

    equal(compiled(engine, f)(X), mg.tensor([X[1, 0] + X[1, 1], *X[0, :2], 0, X[1, 2]]))


@pytest.mark.parametrize("wrap", [mg.tensor, np.array], ids=["tensor", "array"])
@pytest.mark.parametrize("f", [
    lambda x: SimpleNamespace(y=[2 * x]), lambda x: lambda: 2 * x, lambda x: (a * x for a in (1, 2)),
    lambda x: {"y": map(mg.exp, [x])}, lambda x: [deque([2 * x])],
], ids=["SimpleNamespace", "function", "generator", "map", "deque"])  # fmt: skip
def test_results_that_calls_would_not_make_anew(engine, f, wrap, request):
    kind = request.node.callspec.id.split("-")[0]
    with pytest.raises(CaptureError, match=rf"^<lambda> returns a {kind}, which .* return tensors, arrays, numbers"):
        compiled(engine, f)(wrap(X[0]))


def test_an_object_from_outside_may_be_returned(engine):
    model = nn.Linear(3, 2)
    ours = compiled(engine, lambda x: (model(x), model))
    for k in (1.0, 2.0):
        equal(ours(k * X)[0], model(k * X))
        assert ours(k * X)[1] is model


def copies(x, a):
    deep, shallow, (first, second) = copy.deepcopy(x), copy.copy(x), copy.deepcopy([x, 2 * x])
    for part in (deep, shallow, first, second):
        part[0] = a
    return x, deep, shallow, first, second, copy.deepcopy(a) * x


def test_copies(engine):
    """They are changed without the original, and the other way round."""
    ours = compiled(engine, copies)
    for k in (1.0, 2.0):
        equal(ours(k * X, 5 * k), copies(k * X, 5 * k))


def test_the_line_is_the_users(engine):
    with pytest.raises(CaptureError) as error:
        compiled(engine, branching)(X[0])
    assert str(error.value).startswith(f"test_capture.py:{branching.__code__.co_firstlineno + 1}: ")


def test_gradients_that_would_be_left_behind(engine):
    w = mg.tensor([1.0, 2.0, 3.0], requires_grad=True)

    def f(x):
        (x * w).sum().backward()

    with pytest.raises(CaptureError, match=r"would leave a gradient in \.grad of .* return mg.grad"):
        compiled(engine, f)(X)
    assert w.grad is None


def test_seeding_inside(engine):
    def f():
        mg.random.seed(0)
        return mg.random.normal()

    with pytest.raises(CaptureError, match="seed inside a compiled function"):
        compiled(engine, f)()


def test_views_that_are_written_into(engine):
    """A slice that is written into changes the array that it is of; other views are refused once they are stale."""

    def f(x):
        y = x * 1.0
        row = y[0]
        row[1:] = 5.0
        copied = row * 1
        y[1][0] += 1
        y.reshape(-1)[3] = 7.0
        return y, copied

    ours = compiled(engine, f)
    for k in (1, 2):
        equal(ours(X * k), f(X * k))

    def stale(x):
        y = x * 1.0
        turned = y.T
        y[0] = 1.0
        return turned * 2

    with pytest.raises(CaptureError, match="shares its memory"):
        compiled(engine, stale)(X)


def test_what_is_wrong_with_values_is_said_when_it_has_run(engine):
    ours = compiled(engine, lambda p, t: nn.functional.binary_cross_entropy(p, t))
    ours(np.array([0.5]), np.array([1.0]))
    with pytest.raises(ValueError, match=r"the input runs from 2 to 2, and probabilities are in \[0, 1\]"):
        ours(np.array([2.0]), np.array([1.0]))
    table = np.arange(6.0).reshape(3, 2)
    ours = compiled(engine, mg.vmap(lambda i: nn.functional.embedding(i, table)))
    np.testing.assert_array_equal(ours(np.array([[2, 0]])).data, table[[[2, 0]]])
    with pytest.raises(ValueError, match="^embedding: the table has rows 0 to 2, and the indices run from -1 to 2$"):
        ours(np.array([[2, -1]]))
    ours = compiled(engine, lambda x, i: mg.take_along_axis(x, i, 0))
    ours(np.ones(3), np.array([0, -1]))
    with pytest.raises(IndexError):
        ours(np.ones(3), np.array([0, 3]))


OPTIONS = [
    {}, {"weight": np.array([1.0, 2.0, 3.0])}, {"label_smoothing": 0.1}, {"reduction": "sum"}, {"reduction": "none"},
    {"ignore_index": 1}, {"weight": np.array([1.0, 0.0, 3.0]), "label_smoothing": 0.2, "ignore_index": 2},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
def test_classes_that_are_ignored_now_and_then(engine, options):
    def f(x, t):
        loss = lambda x: nn.functional.cross_entropy(x, t, **options)  # noqa: E731
        return loss(x), mg.grad(lambda x: loss(x).sum())(x)

    ours, ignored = compiled(engine, f), options.get("ignore_index", -100)
    for t in ([0, 1, 2, 0], [0, ignored, ignored, 1], [2, 2, 0, ignored]):
        equal(ours(X, np.array(t)), f(X, np.array(t)))


def test_constants_at_places_that_are_not(engine):
    """No array of the function's own keeps it from being captured op by op."""
    table = rng.normal(size=(5, 3))

    def f(i, v):
        return (
            mg.take(table, i, axis=0), mg.tensor(table)[i, 1], nn.functional.embedding(i, table),
            mg.setitem(table, (i, 0), v), mg.where(i > 2, table[0, 0], v), mg.index_add(table, 0, i, table[:3]),
        )  # fmt: skip

    ours = compiled(engine, f)
    for k in ([0, 1, 4], [3, 2, 3]):
        equal(ours(np.array(k), X[0]), f(np.array(k), X[0]))
    if engine == "replay":
        ((captured,),) = ours.captures.values()
        assert not any("host" in node.name for node in captured.run.nodes)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_classes_that_are_none(engine, wrong):
    loss = lambda x, t: nn.functional.cross_entropy(x, t)  # noqa: E731
    ours = compiled(engine, loss)
    equal(ours(X, np.array([0, 1, 2, 1])), loss(X, np.array([0, 1, 2, 1])))
    equal(ours(X, np.array([0, -100, 2, -100])), loss(X, np.array([0, -100, 2, -100])))  # ignored
    low, high = min(wrong, 0), max(wrong, 2)
    with pytest.raises(ValueError, match=f"classes are 0 to 2, and the targets run from {low} to {high}"):
        ours(X, np.array([0, 1, 2, wrong]))


@pytest.mark.parametrize("part", [lambda t: t[:, 0], lambda t: t[:, 0] + 0, lambda t: t.reshape(-1)[::2]])
def test_classes_that_are_part_of_an_array(engine, part):
    loss = lambda x, t: nn.functional.cross_entropy(x, part(t))  # noqa: E731
    ours, t = compiled(engine, loss), np.array([[0, 7], [1, 7], [2, 7], [0, 7]])
    equal(ours(X, t), loss(X, t))
    t[2, 0] = 5
    with pytest.raises(ValueError, match="classes are 0 to 2, and the targets run from 0 to 5"):
        ours(X, t)


def test_an_exception_leaves_everything_as_it_was(engine):
    w = mg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    mg.random.seed(0)
    expected = mg.random.normal()
    mg.random.seed(0)

    def f(x):
        w.data = w.data * 2
        mg.random.normal(size=5)
        return x @ mg.ones(7)

    with pytest.raises(ValueError, match=r"matmul\(.*\(4, 3\).*\(7,\)"):
        compiled(engine, f)(X)
    equal(w.detach(), mg.tensor([1.0, 2.0, 3.0]))
    assert type(w._data) is np.ndarray
    assert mg.tensor(1.0).dtype == float
    equal(mg.random.normal(), expected)
    equal((w * 2).detach(), mg.tensor([2.0, 4.0, 6.0]))


def test_a_warning_for_many_captures_names_what_changed(engine, monkeypatch):
    monkeypatch.setattr(function, "KEPT", 3)
    ours = compiled(engine, lambda x: x.sum())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(1, 7):
            ours(np.ones(n))
    (warning,) = [w for w in caught if w.category is MinigradWarning]
    assert "has been compiled 3 times" in str(warning.message)
    assert "arguments (tuple, (ndarray, (3,), dtype('float64'))) and now (tuple, (ndarray, (4,)," in str(
        warning.message
    )


def test_nothing_is_kept_alive(engine):
    """Neither tensors that the function does not use, nor the graph of the capture."""
    other, middle = mg.tensor(np.ones(1000), requires_grad=True), queue.SimpleQueue()

    def f(x):
        t = mg.sin(x)
        middle.put(weakref.ref(t))
        return t * 2

    ours = compiled(engine, f)
    ours(mg.tensor(X, requires_grad=True))
    alive = weakref.ref(other)
    del other
    assert alive() is None
    assert middle.get()() is None
    equal(ours(mg.tensor(X, requires_grad=True)), mg.tensor(2 * np.sin(X)))


def test_tensors_that_a_capture_left_behind(engine):
    kept = queue.SimpleQueue()

    def f(x):
        kept.put(x * 2)
        return kept.get() + x if kept.qsize() > 1 else x

    ours = compiled(engine, f)
    ours(X)
    with pytest.raises(CaptureError, match="an earlier capture"):
        ours(X.astype(np.float32))


def test_replay_by_itself(engine):
    trace = Trace()
    x = trace.input("x", X)
    y = np.exp(x) @ X.T + x.sum()
    np.testing.assert_array_equal(Replay(trace, [x.node], [y.node])([2 * X])[0], np.exp(2 * X) @ X.T + (2 * X).sum())
    with pytest.raises(UnevenError):
        x[x > 0]


def test_results_are_nobody_elses(engine):
    ours = compiled(engine, lambda x: (mg.exp(x), x[0]))
    first, row = ours(mg.tensor(X))
    second, _ = ours(mg.tensor(2 * X))
    equal(first, mg.exp(mg.tensor(X)))
    equal(row, mg.tensor(X)[0])
    second.data[...] = 0.0
    equal(first, mg.exp(mg.tensor(X)))
    equal(ours(mg.tensor(2 * X))[0], mg.exp(mg.tensor(2 * X)))


def test_a_variable_that_is_assigned_later(engine):
    def f(x, scaled):
        return x * factor if scaled else x

    ours = compiled(engine, f)
    equal(ours(X, None), X)
    factor = 3.0
    equal(ours(X, True), 3.0 * X)
    factor = 4.0
    equal(ours(X, True), 4.0 * X)
