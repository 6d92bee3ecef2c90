"""Where a compiled function could do something else than the function itself, without a word."""

import copy
import functools
import queue
import random
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from engines import ENGINES, compiled

import minigrad as mg
from minigrad import nn, train
from minigrad.compiler import CaptureError, CompiledDiffers, function
from minigrad.compiler.elementwise import FLOATS, call
from minigrad.tensor import Tensor

X = np.array([1.0, -2.0, 3.0])


# ---- other threads ---------------------------------------------------------------------------------------------------


def elsewhere(work):
    """What a function returns in another thread, or the exception that it raises there."""
    found = []
    thread = threading.Thread(target=lambda: found.append(raised_or(work)))
    thread.start()
    thread.join(60)
    return found[0]


def raised_or(work):
    try:
        return work()
    except Exception as error:
        return error


def test_other_threads_see_nothing_of_a_capture():
    w, other = mg.tensor(X, requires_grad=True), mg.tensor(2 * X)
    seen = queue.SimpleQueue()  # which is not watched, as a list would be

    def work():
        """Reads, a graph, a gradient, and changes of both kinds."""
        loss = (mg.tanh(w) * other).sum()
        loss.backward()
        gradient, w.grad = w.grad, None
        other.data[0] += 1
        other.data = other.data * 1
        return type(w.data), w.tolist(), loss.item(), gradient.numpy()

    def f(x):
        y = x * w + other  # both are traced by now
        seen.put(elsewhere(work))
        return y

    result = mg.compile(f)(X)
    np.testing.assert_array_equal(result.data, X * X + other.data)  # as it was when the native code ran
    kind, values, loss, gradient = seen.get()
    assert kind is np.ndarray
    assert values == X.tolist()
    np.testing.assert_allclose(loss, np.sum(np.tanh(X) * 2 * X), 1e-15)
    np.testing.assert_allclose(gradient, (1 - np.tanh(X) ** 2) * 2 * X, 1e-12)
    assert other.tolist() == [3.0, -4.0, 6.0]
    assert type(vars(Tensor)["_data"]).__name__ == "member_descriptor"  # all is as it was


def test_threads_may_capture_at_the_same_time():
    w, both, results = mg.tensor(X), threading.Barrier(2, timeout=60), {}

    def work(factor):
        def f(x):
            y = w * x
            both.wait()
            w.data = w.data * factor  # of which the other capture sees nothing
            both.wait()
            y = y * w
            w.data = w.data / factor
            return y

        results[factor] = mg.compile(f)(X)

    threads = [threading.Thread(target=work, args=(k,)) for k in (2.0, 3.0)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    for k in (2.0, 3.0):
        np.testing.assert_allclose(results[k].data, k * X**3, 1e-15)


def test_work_that_a_function_gives_to_other_threads_is_refused():
    w = mg.tensor(X)

    def argument(x):
        return raised(elsewhere(lambda: x * 2))

    def outside(x):
        return x + raised(elsewhere(lambda: w * 2))

    def raised(result):
        if isinstance(result, Exception):
            raise result
        return result

    with pytest.raises(CaptureError, match=r"test_silent.py:\d+: a value .* is used in another thread"):
        mg.compile(argument)(X)
    with pytest.raises(CaptureError, match=r"test_silent.py:\d+: a tensor is used that another thread has made"):
        mg.compile(outside)(X)


def test_tensors_that_are_made_while_another_thread_captures():
    began, made, used = (threading.Event() for _ in range(3))
    late = SimpleNamespace(tensor=None)

    def slow(x):
        began.set()
        assert used.wait(60)
        return x * 2

    def uses_what_is_made_now(x):
        elsewhere(lambda: setattr(late, "tensor", mg.tensor(X)))
        return x * late.tensor

    thread = threading.Thread(target=lambda: mg.compile(slow)(X))
    thread.start()
    try:
        assert began.wait(60)
        w, theirs = mg.tensor(X), elsewhere(lambda: mg.tensor(2 * X))
        equal(mg.compile(lambda x: x * w * theirs)(X), 2 * X**3)
        with pytest.raises(CaptureError, match="a tensor is used that another thread has made while this function"):
            mg.compile(uses_what_is_made_now)(X)
    finally:
        used.set()
        thread.join(60)


def test_fits_in_threads_have_nothing_to_do_with_each_other(monkeypatch):
    monkeypatch.setattr(train, "COMPILING", 0.0)
    x, together, left = np.random.default_rng(0).normal(size=(8, 3)), threading.Barrier(3, timeout=60), {}

    def fit():
        """Each makes tensors, and captures a model that reads them, while the others are still captured."""
        loss = lambda y, t: [together.wait(), ((y - t) ** 2).mean()][1]  # noqa: E731
        scales = [mg.tensor(2.0)]

        def model(x):
            return linear(x) * scales[-1]

        for _ in range(3):
            together.wait()
            linear = nn.Linear(3, 1)
            scales[:] = [mg.tensor(2.0)]
            optimizer = mg.optim.SGD(linear.parameters(), lr=0.01)
            history = mg.fit(model, loss, (x, x[:, :1]), optimizer, epochs=20, progress=False)
        return history.loss

    def run(i):
        left[i] = raised_or(fit)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert all(len(losses) == 20 for losses in left.values()), left  # or an exception; warnings are errors


def test_flags_of_tensors_outside():
    w = mg.tensor(X)

    def f(x):
        w.requires_grad_()
        return x * w

    with pytest.raises(CaptureError, match="requires_grad_.* would take effect once only: call it before"):
        mg.compile(f)(X)
    assert not w.requires_grad


# ---- code that looks at what it is given -----------------------------------------------------------------------------


def swallowing(x):
    try:
        return x * float(x.sum())
    except Exception:
        return x * 0


SWALLOWED = {
    "float": swallowing,
    "hasattr": lambda x: x * 2 if hasattr(x.data if isinstance(x, Tensor) else x, "partition") else x,
    "getattr": lambda x: getattr(x.data if isinstance(x, Tensor) else x, "byteswap", lambda: 3)() * x,
}


@pytest.mark.parametrize("wrap", [mg.tensor, np.array], ids=["tensor", "array"])
@pytest.mark.parametrize("name", SWALLOWED)
def test_errors_of_a_capture_that_the_function_catches(name, wrap):
    with pytest.raises(CaptureError, match=r"test_silent.py:\d+: "):
        mg.compile(SWALLOWED[name])(wrap(X))


def test_errors_that_are_not_about_the_capture_may_be_caught():
    def f(x):
        try:
            return x @ np.ones(7)
        except ValueError:
            return mg.linalg.expm(mg.outer(x, x))  # one piece, since SciPy's code looks at values

    np.testing.assert_allclose(mg.compile(f)(X / 4).data, f(X / 4).data, 1e-12)


def kinds(x, t, scale):
    asked = isinstance(x, np.ndarray), isinstance(t.data, np.ndarray), isinstance(scale, float), isinstance(x, float)
    asked += isinstance(np.sum(x), np.floating), isinstance(np.sum(x), float), isinstance(scale * 2, float)
    return x * np.array([2.0**-i * a for i, a in enumerate(asked)]).sum() + t + mg.linspace(0.0, scale, 3)


def test_isinstance_says_what_it_would_say_of_arrays():
    ours = mg.compile(kinds)(X, mg.tensor(X), 0.5)
    np.testing.assert_allclose(ours.data, kinds(X, mg.tensor(X), 0.5).data, 1e-15)
    mg.set_default_dtype(np.float32)
    try:
        assert mg.compile(lambda p: mg.linspace(0.0, p, 3))(0.5).dtype == np.float32
    finally:
        mg.set_default_dtype(np.float64)


# ---- what a function reads beside its arguments ----------------------------------------------------------------------

FACTOR = 2.0
SETTINGS = {"scale": 2.0}


def helper(x):
    return x * FACTOR


def deeper(x):
    return [helper(part) for part in (x,)][0]


class Config:
    factor = 3.0

    def __init__(self):
        self.scale, self.unused, self.parts = 2.0, 0, [1.0, [2.0]]

    def scaled(self, x):
        return x * self.scale * self.factor

    def __call__(self, x):
        return self.scaled(x) + self.parts[1][0]


class Child(Config):
    pass


class Slotted:
    __slots__ = ("scale",)


class Squared(nn.Module):
    def __init__(self):
        self.options = {"power": 2.0}

    def forward(self, x):
        return helper(x) ** self.options["power"]


def assign(target, name, value):
    """What changes something, and what changes it back."""
    get, put = (dict.get, dict.__setitem__) if isinstance(target, dict) else (getattr, setattr)
    if isinstance(target, list | np.ndarray):
        get, put = type(target).__getitem__, type(target).__setitem__
    before = get(target, name)
    return lambda: put(target, name, value), lambda: put(target, name, before)


def hide(target, name, value):
    return lambda: setattr(target, name, value), lambda: name in vars(target) and delattr(target, name)


def of_closure():
    scale = 2.0

    def change(to):
        nonlocal scale
        scale = to

    return (lambda x: x * scale), (lambda: change(3.0), lambda: change(2.0))


def cases():
    config, slotted, squared, array = Config(), Slotted(), Squared(), np.array([1.0, 2.0, 3.0])
    slotted.scale, namespace, numbers = 2.0, SimpleNamespace(scale=2.0), [1.0, 2.0]
    nested, zeros = {"a": (1.0, [2.0])}, [0.0]

    def default(x, scale=2.0):
        return x * scale

    return {
        "attribute": (lambda x: x * namespace.scale, assign(namespace, "scale", 3.0)),
        "zeros of two signs": (lambda x: np.copysign(x, zeros[0]), assign(zeros, 0, -0.0)),
        "slot": (lambda x: x * slotted.scale, assign(slotted, "scale", 3.0)),
        "bound method": (config.scaled, assign(config, "scale", 3.0)),
        "class attribute": (config.scaled, assign(Config, "factor", 4.0)),
        "attribute that hides the class's": (config.scaled, hide(config, "factor", 4.0)),
        "method that hides the class's": (config, hide(config, "scaled", lambda x: x)),
        "class attribute that hides the base's": (Child().scaled, hide(Child, "factor", 4.0)),
        "callable object": (config, assign(config.parts[1], 0, 5.0)),
        "method of a class": (config, assign(Config, "scaled", lambda self, x: x)),
        "attribute by name": (lambda x: x * getattr(config, "sca" + "le"), assign(config, "scale", 3.0)),
        "list": (lambda x: x * numbers[1], assign(numbers, 1, 3.0)),
        "nest": (lambda x: x * nested["a"][1][0], assign(nested["a"][1], 0, 3.0)),
        "closure": of_closure(),
        "global": (lambda x: x * SETTINGS["scale"], assign(SETTINGS, "scale", 3.0)),
        "global of a helper": (deeper, assign(globals(), "FACTOR", 3.0)),
        "a helper itself": (deeper, assign(globals(), "helper", lambda x: x - 1)),
        "default": (default, assign(default, "__defaults__", (3.0,))),
        "partial": (functools.partial(deeper), assign(globals(), "FACTOR", 3.0)),
        "inside grad": (mg.grad(lambda x: (deeper(x) ** 2).sum()), assign(globals(), "FACTOR", 3.0)),
        "inside checkpoint": (mg.checkpoint(deeper), assign(globals(), "FACTOR", 3.0)),
        "array": (lambda x: x * array + np.sin(array), assign(array, 1, 7.0)),
        "container of a layer": (squared, assign(squared.options, "power", 3.0)),
        "global of a layer": (squared, assign(globals(), "FACTOR", 3.0)),
    }


@pytest.mark.parametrize("name", cases())
def test_what_is_read_by_name_is_watched(name):
    f, (change, back) = cases()[name]
    ours = compiled("replay", f)
    try:
        first = f(X)
        equal(ours(X), first)
        equal(ours(2 * X), f(2 * X))
        assert len(ours.captures) == 1
        change()
        second = f(X)
        assert not np.array_equal(np.asarray(second), np.asarray(first))
        equal(ours(X), second)
        assert len(ours.captures) == 2
        back()
        equal(ours(X), first)
        assert len(ours.captures) == 2
    finally:
        back()


def equal(ours, theirs):
    ours, theirs = (x.numpy() if isinstance(x, Tensor) else x for x in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, 1e-12)


def test_what_is_not_read_is_not_watched():
    config = Config()
    ours = compiled("replay", config)
    for config.unused in range(3):
        equal(ours(X), config(X))
    assert len(ours.captures) == 1
    model = Squared()
    ours = compiled("replay", model)
    for model.epoch in range(3):
        equal(ours(X), model(X))
    assert len(ours.captures) == 1
    layer = type("Own", (nn.Dropout,), {})(0.0)  # whose attributes are named in the library
    ours = compiled("replay", layer)
    for layer.p in (0.0, 1.0):
        equal(ours(X), layer(X))
    assert len(ours.captures) == 2


def test_objects_that_are_arguments_are_watched():
    config = Config()
    ours = compiled("replay", Config.scaled)
    for config.scale in (2.0, 3.0, 2.0):
        equal(ours(config, X), config.scaled(X))
    assert len(ours.captures) == 2


def test_tensors_outside_in_another_dtype():
    w = mg.tensor(X)
    ours = compiled("replay", lambda x: x * w)
    for dtype in (np.float64, np.float32, np.float64):
        w.data = X.astype(dtype)
        assert ours(np.ones(3, np.float32)).dtype == dtype
    assert sum(map(len, ours.captures.values())) == 2


def test_python_that_gives_another_dtype_than_when_it_was_captured():
    @mg.primitive
    def hosted(x):
        return np.asarray(x, np.float32 if x[0] > 0 else np.float64)

    ours = mg.compile(lambda x: hosted(x) * 1)
    ours(X)
    with pytest.raises(ValueError, match=r"gave float64 of shape \(3,\), and when it was captured float32"):
        ours(-X)


CALLS = []


def counting(x):
    CALLS.append(1)
    return x * len(CALLS)


def test_state_that_every_call_changes_is_refused():
    count = SimpleNamespace(n=0)

    def counts(x):
        count.n += 1
        return x * count.n

    model = Squared()
    model.forward = lambda x: setattr(model, "seen", (x,)) or x

    for f, name in ((counts, "count.n"), (counting, "CALLS"), (model, "Squared.seen")):
        with pytest.raises(CaptureError, match=rf"{name}.* is changed by every call, .*: keep it in a tensor"):
            mg.compile(f)(X)


def test_what_the_first_call_prepares_may_be_changed_by_it():
    cache, model = {}, nn.Sequential(nn.Dropout(0.5))

    def f(x):
        if "sines" not in cache:
            cache["sines"] = np.sin(np.arange(3.0))
        model.eval()
        return model(x * cache["sines"])

    ours = mg.compile(f)
    for k in (1, 2):
        equal(ours(k * X), f(k * X))
    assert len(ours.captures) == 1


def test_a_step_watches_what_its_model_and_loss_read():
    def losses(compile):
        config, model = Config(), nn.Linear(3, 1)
        model.load_state_dict({"weight": np.ones((1, 3)), "bias": np.zeros(1)})
        loss = lambda y, t: helper(((y - t) ** 2).mean()) * config.parts[1][0]  # noqa: E731
        optimizer = mg.optim.SGD(model.parameters(), lr=0.01)
        step = mg.compile_step(model, loss, optimizer)

        def plainly(x, t):
            optimizer.zero_grad()
            value = loss(model(x), t)
            value.backward()
            optimizer.step()
            return value

        found = []
        for config.parts[1][0] in (2.0, 3.0, 2.0):
            found.append((step if compile else plainly)(np.stack([X, X * X]), np.ones((2, 1))).item())
        return found, len(step.codes)

    ours, codes = losses(True)
    np.testing.assert_allclose(ours, losses(False)[0], 1e-12)
    assert codes == 2


# ---- gradients -------------------------------------------------------------------------------------------------------


def both(x, w):
    return mg.tanh(x * w) * V, (w * V).sum(), x


V = mg.tensor([2.0, 1.0, 0.5], requires_grad=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_flow_through_a_compiled_function(engine):
    ours, w = compiled(engine, both), mg.tensor(X, requires_grad=True)
    for k in (1.0, 0.5):
        found = []
        for f in (both, ours):
            w.grad = V.grad = None
            a, b, _ = f(k * X, w)
            ((a * a).sum() * b + (w * w).sum()).backward()
            found.append((w.grad, V.grad, mg.grad(lambda w, f=f, k=k: f(k * X, w)[0].sum())(X)))
        for mine, right in zip(*found, strict=True):
            equal(mine, right)
    with mg.no_grad():
        assert not ours(X, w)[0].requires_grad


def test_gradients_of_gradients_are_refused_in_the_end():
    w = mg.tensor(X, requires_grad=True)
    y = mg.compile(lambda w: mg.sin(w).sum())(w)
    with pytest.raises(RuntimeError, match=r"take gradients inside .* mg.compile\(mg.grad\(f\)\)"):
        y.backward(create_graph=True)
    slope = mg.grad(mg.grad(mg.compile(lambda w: mg.sin(w).sum())))  # where the function runs itself
    equal(slope(0.5), -np.sin(0.5))


def test_gradients_are_those_of_the_numbers_of_the_call():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 2))
    twin, rng = copy.deepcopy(model), np.random.default_rng(0)
    ours, state = mg.compile(model), mg.tensor(2.0)

    def accumulates(x, w):
        state.data[...] = state.data * 3
        return (x * w * state).sum()

    for seed in range(3):
        x = rng.normal(size=(6, 3))
        for net, run in ((model, ours), (twin, twin)):
            net.zero_grad()
            mg.random.seed(seed)
            (run(x) ** 2).sum().backward()
        for a, b in zip(model.parameters(), twin.parameters(), strict=True):
            np.testing.assert_allclose(a.grad.data, b.grad.data, 1e-9, atol=1e-13)
        for name, value in twin.state_dict().items():
            np.testing.assert_allclose(model.state_dict()[name], value, 1e-12)
    second, w = mg.compile(accumulates), mg.tensor(X, requires_grad=True)
    for k in (6.0, 18.0):
        w.grad = None
        y = second(X, w)
        state.data[...] = state.data * 1.0
        y.backward()
        equal(w.grad, k * X)
    y = second(X, w)
    with mg.no_grad():
        w.data[0] = 7.0
    with pytest.raises(RuntimeError, match="was changed in place after"):
        y.backward()


@pytest.mark.parametrize("results", [1, 2])
def test_what_backward_reads_must_not_change_meanwhile(results):
    w, factor, x = mg.tensor(X, requires_grad=True), mg.tensor(2.0), mg.tensor(X)
    ours = mg.compile(lambda x: [(w * x * factor).sum(), w + factor][:results])
    for t in (factor, x):
        y = ours(x)[0]
        before = t.numpy()
        t.data[...] = 5.0
        with pytest.raises(RuntimeError, match="was changed in place after"):
            y.backward()
        t.data[...] = before
    ours(x)[0].backward()
    equal(w.grad, 2 * X)


def test_gradients_by_one_tensor_that_is_two_arguments_or_is_detached():
    w, v, found = mg.tensor(X, requires_grad=True), mg.tensor(2 * X, requires_grad=True), []
    f = lambda a, b: (a * b * w * v.detach()).sum()  # noqa: E731
    for run in (f, mg.compile(f)):
        for b in (w, mg.tensor(X)):
            w.grad = v.grad = None
            run(w, b).backward()
            found.append(w.grad.data)
            assert v.grad is None
    np.testing.assert_allclose(found[2:], found[:2], 1e-12)


def test_gradients_are_compared_with_numpys_when_they_are_first_taken(monkeypatch):
    w = mg.tensor(X, requires_grad=True)
    monkeypatch.setitem(FLOATS, np.cos, (call("sin_{}"), 1))
    y = mg.compile(lambda w: (mg.sin(w) * 3).sum())(w)
    with pytest.raises(CompiledDiffers, match="first in cos"):
        y.backward()
    monkeypatch.setitem(FLOATS, np.sin, (call("tanh_{}"), 1))
    with pytest.raises(CompiledDiffers, match="first in sin"):
        mg.compile(lambda w: mg.sin(w) * 3)(w)


def test_backward_on_an_argument():
    w = mg.tensor(X, requires_grad=True)

    def f(w):
        (w * w).sum().backward()

    with pytest.raises(CaptureError, match=r"would leave a gradient in \.grad of .*: return mg.grad"):
        mg.compile(f)(w)
    assert w.grad is None


def test_gradients_that_are_read():
    w = mg.tensor(X, requires_grad=True)

    def descend():
        w.data = w.data - 0.1 * w.grad.data

    def whole(x):
        ((x * w) ** 2).sum().backward()
        descend()
        w.grad = None
        return w * 1

    (w * w).sum().backward()
    for f, given in ((descend, ()), (lambda w: w * w.grad, (w,)), (whole, (X,))):
        with pytest.raises(CaptureError, match=r"test_silent.py:\d+: the .grad of tensor .* is looked at or added to"):
            mg.compile(f)(*given)
    w.grad = None
    twin, ours = X.copy(), mg.compile(whole)
    for _ in range(2):  # a step of descent by hand has its own
        equal(ours(X).detach(), twin := twin - 0.1 * 2 * X * X * twin)
    (w * w).sum().backward()
    with pytest.raises(CaptureError, match="is looked at or added to"):
        ours(X)


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_arguments_that_share_memory():
    def f(a, b):
        a[0] = 10.0
        return a * b

    ours, x = mg.compile(f), X.copy()
    equal(ours(x, X), [10.0, 4.0, 9.0])
    for a, b in ((x, x[:]), (x[:2], x[1:]), (mg.tensor(X), None)):
        b = Tensor(a._data[::-1]) if b is None else b
        with pytest.raises(ValueError, match="f writes into argument 0, which shares its memory with argument 1.*copy"):
            ours(a, b)
    equal(ours(x, x), f(X.copy(), np.array([10.0, -2.0, 3.0])))
    equal(ours(x[:1], x[1:2]), [-20.0])
    w = mg.tensor(X)
    with pytest.raises(ValueError, match=r"shares its memory with tensor of shape \(3,\)"):
        mg.compile(lambda a: f(a, w))(w._data)


# ---- sentences -------------------------------------------------------------------------------------------------------


def test_a_step_says_which_labels_are_wrong():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 2)), np.array([0, 1, 2, 0, 1, 2])
    model = nn.Linear(2, 3)
    step = mg.compile_step(model, nn.CrossEntropyLoss(), mg.optim.SGD(model.parameters(), lr=0.1))
    step(x, y)
    before = model.weight.numpy()
    says = "cross_entropy: classes are 0 to 2, and the targets run from"
    for wrong in (-1, 3, 7):
        labels = np.where(np.arange(6) == 4, wrong, y)
        for run in (step, step.run):
            with pytest.raises(
                ValueError, match=r"cross_entropy: classes are 0 to 2, and the targets run from"
            ) as error:
                run(x, labels)
            with pytest.raises(ValueError, match=says) as plainly:
                nn.functional.cross_entropy(model(x), labels)
            assert str(error.value) == str(plainly.value)
    np.testing.assert_array_equal(model.weight.data, before)


def test_sentences_of_the_library_show_what_is_not_known():
    with pytest.raises(TypeError, match=r"^jv: its order is one number.* it came as tensor\(<array of shape \(3,\)>\)"):
        mg.compile(lambda v, z: mg.special.jv(v, z))(mg.tensor(X), X)


# ---- random numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, 3, 7, None])
@pytest.mark.parametrize("drops", [True, False])
def test_a_run_that_ends_early_has_drawn_no_more_than_its_steps(bad, drops):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 1))
    if bad is not None:
        x[bad] = np.nan
    found = []
    for compile in (False, True):
        mg.random.seed(5)
        model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5) if drops else nn.Tanh(), nn.Linear(4, 1))
        optimizer = mg.optim.SGD(model.parameters(), lr=0.01)
        if compile:
            step = mg.compile_step(model, nn.MSELoss(), optimizer)
            step.run(x, y, batch_size=4, epochs=3)
        else:
            eagerly(model, optimizer, x, y)
        found.append((mg.random.normal(size=3).numpy(), model[0].weight.numpy()))
    np.testing.assert_array_equal(found[1][0], found[0][0])
    np.testing.assert_allclose(found[1][1], found[0][1], 1e-12)


def eagerly(model, optimizer, x, y):
    for _ in range(3):
        order = mg.random.generator().permutation(12)
        for i in range(0, 12, 4):
            optimizer.zero_grad()
            with np.errstate(all="ignore"):
                loss = nn.MSELoss()(model(x[order[i : i + 4]]), y[order[i : i + 4]])
            if not np.isfinite(loss.item()):
                return
            loss.backward()
            optimizer.step()


def test_a_label_that_is_wrong_ends_a_run_where_it_is():
    x, y = np.random.default_rng(0).normal(size=(12, 3)), np.arange(12) % 2
    y[9] = 5
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    step = mg.compile_step(model, nn.CrossEntropyLoss(), mg.optim.SGD(model.parameters(), lr=0.1))
    mg.random.seed(5)
    for _ in range(3):
        mg.random.generator().random((4, 4))
    expected = mg.random.normal(size=3).numpy()
    mg.random.seed(5)
    with pytest.raises(ValueError, match="classes are 0 to 1, and the targets run from 0 to 5"):
        step.run(x, y, batch_size=4, shuffle=False)
    np.testing.assert_array_equal(mg.random.normal(size=3).numpy(), expected)


class Noisy(nn.Module):
    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.linear = nn.Linear(3, 1)

    def forward(self, x):
        return self.linear(x + self.rng.normal(size=x.shape))


R = np.random.default_rng(0)
LEGACY = np.random.RandomState(0)
PYTHON = random.Random(0)
BITS = np.random.PCG64(0)
OURS = mg.random.generator()
HOLDER = SimpleNamespace(rngs={"noise": [np.random.default_rng(0)]})
BOUND, PYTHON_BOUND = R.normal, PYTHON.random
DRAWING = {
    "R": lambda x: x + R.normal(size=3),
    "LEGACY": lambda x: x + LEGACY.normal(size=3),
    "PYTHON": lambda x: x + PYTHON.gauss(0.0, 1.0),
    "BITS": lambda x: x + np.random.Generator(BITS).normal(size=3),
    "OURS": lambda x: x + OURS.normal(size=3),
    "HOLDER.rngs['noise'][0]": lambda x: x + HOLDER.rngs["noise"][0].normal(size=3),
    "BOUND": lambda x: x + BOUND(size=3),
    "PYTHON_BOUND": lambda x: x + PYTHON_BOUND(),
    "__kwdefaults__['rng']": lambda x, *, rng=np.random.default_rng(0): x + rng.normal(size=3),  # noqa: B008
    "spawned": lambda x: x + R.spawn(1)[0].normal(size=3),
    "mixed": lambda x: x + R.normal(size=3) + mg.random.normal(size=3, generator=R),
    "Noisy.rng": Noisy(),
}


def where_they_stand():
    return [R.bit_generator.state, LEGACY.get_state(legacy=False), PYTHON.getstate(), BITS.state]


@pytest.mark.parametrize("name", DRAWING)
def test_draws_that_mg_random_does_not_know_are_refused(name):
    before = str(where_they_stand())
    said = name if name not in ("spawned", "mixed") else "R"
    with pytest.raises(CaptureError) as error:
        mg.compile(DRAWING[name])(X)
    assert said in str(error.value).partition(", which would be the same in every call: draw them by mg.random")[0]
    assert str(where_they_stand()) == before


def test_a_normal_number_that_randomstate_has_kept_is_a_draw_too():
    rng = np.random.RandomState(0)
    rng.normal()  # it makes two
    with pytest.raises(CaptureError, match="numbers are drawn from rng, which"):
        mg.compile(lambda x: x + rng.normal())(X)


def test_a_generator_that_is_an_argument():
    with pytest.raises(CaptureError, match="numbers are drawn from Generator, which"):
        mg.compile(lambda x, rng: x + rng.normal(size=3))(X, np.random.default_rng(0))


@pytest.mark.parametrize("name", ["spawn", "shuffle"])
def test_what_a_generator_of_mg_random_does_without_drawing_numbers(name):
    with pytest.raises(
        CaptureError, match=rf"test_silent.py:\d+: .{name} of a generator .* would take effect once only"
    ):
        mg.compile(lambda x: [x, getattr(mg.random.generator(), name)(1)][0])(X)


def test_what_another_thread_draws_meanwhile_is_refused_once():
    """Nobody can see whose draw it was."""
    asked, drawn = queue.SimpleQueue(), queue.SimpleQueue()

    def f(x):
        asked.put("draw")
        drawn.get()
        return 2 * x

    def draw():
        asked.get()
        drawn.put(np.random.normal())  # noqa: NPY002
        asked.get()
        drawn.put("nothing")

    thread, ours = threading.Thread(target=draw), mg.compile(f)
    thread.start()
    with pytest.raises(CaptureError, match=r"numbers are drawn from numpy\.random, .* another thread .*, call again"):
        ours(X)
    np.testing.assert_array_equal(ours(X).data, 2 * X)
    thread.join(60)


@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState])
def test_draws_that_are_right(make):
    """By mg.random, from a generator that is made inside, and of generators that are only named."""
    idle, found = R, []
    for compile in (lambda f: f, mg.compile):
        rng = make(0)

        def f(x, rng=rng):
            noise = mg.random.normal(size=3, generator=rng) + mg.random.uniform(size=3, generator=rng)
            return x + noise + np.random.default_rng(1).normal(size=3) if idle is not None else x

        run = compile(f)
        found.append([run(X).numpy() for _ in range(3)] + [rng.normal()])
    for ours, right in zip(*found, strict=True):
        np.testing.assert_allclose(ours, right, 1e-14)


def test_fit_trains_eagerly_on_what_another_generator_draws(monkeypatch):
    monkeypatch.setattr(train, "COMPILING", 0.0)
    x, found = np.random.default_rng(0).normal(size=(8, 3)), []
    for compile in (False, True):
        mg.random.seed(0)
        model = Noisy()
        optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
        fit = functools.partial(mg.fit, model, nn.MSELoss(), (x, x[:, :1]), optimizer, epochs=5, progress=False)
        if compile:
            with pytest.warns(mg.MinigradWarning, match=r"numbers are drawn from Noisy\.rng, which"):
                fit(compile=True)
        else:
            fit(compile=False)
        found.append((model.linear.weight.numpy(), model.rng.normal()))
    np.testing.assert_array_equal(found[1][0], found[0][0])
    assert found[1][1] == found[0][1]


# ---- what is kept ----------------------------------------------------------------------------------------------------


def test_only_so_many_captures_are_kept(monkeypatch):
    monkeypatch.setattr(function, "KEPT", 3)
    scale = SimpleNamespace(by=1.0)
    ours = compiled("replay", lambda x: x * scale.by)
    for scale.by in (1.0, 2.0, 3.0):
        ours(X)
    scale.by = 1.0
    ours(X)
    kept, scale.by = list(ours.captures), 4.0
    with pytest.warns(mg.MinigradWarning, match=r"compiled 3 times.*scale.by .*1.0.* and now .*4.0"):
        equal(ours(X), 4 * X)
    assert len(ours.captures) == 3
    assert set(kept) - set(ours.captures) == {kept[1]}  # that of 2.0


def test_the_source_of_a_function():
    ours = mg.compile(lambda x: mg.tanh(x) * 2)
    assert ours.source == ""
    ours(X)
    assert "tanh" in ours.source
    ours(np.stack([X, X]))
    assert "(2, 3)" in ours.source
