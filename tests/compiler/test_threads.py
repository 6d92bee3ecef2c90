"""Threads that share blocks: the same bits for any number of them, and no waiting for what never comes."""

import os
import queue
import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad import parallel

rng = np.random.default_rng(0)


@pytest.fixture
def processors(monkeypatch):
    """Sets how many there are."""

    def of(n):
        monkeypatch.setattr(parallel, "threads", lambda: n)
        parallel.helpers.cache_clear()

    yield of
    parallel.helpers.cache_clear()


def large(x, narrow, w):
    """Blocks of every kind that are large enough for threads."""

    def f(x, narrow, w):
        y = mg.tanh(x) * mg.exp(-x * x)
        rows = mg.softmax(y, axis=1)
        return (
            (mg.sum(rows * y, axis=0) + mg.mean(x, axis=0)) @ w,
            mg.max(narrow * narrow, axis=-1),
            mg.sum(mg.sin(x) @ w),
        )

    values, pullback = mg.vjp(f, x, narrow, w)
    return values, pullback(tuple(mg.cos(v) for v in values))


LARGE = rng.normal(size=(130, 257)), rng.normal(size=(3001, 9)), rng.normal(size=(257, 65))


@pytest.mark.parametrize("dtype", [pytest.param(np.float64, marks=pytest.mark.long), np.float32])
def test_the_same_bits_for_any_number(processors, dtype):
    arrays, found = [x.astype(dtype) for x in LARGE], []
    for n in (1, 2, 3, 7):
        processors(n)
        ours = mg.compile(large)
        ours(*arrays)
        assert threads(ours) == n
        found.append([t.data.tobytes() for t in mg.nests.flatten(ours(*[2 * x for x in arrays]))[0]])
    assert found[1:] == found[:1] * 3


BUSY = rng.normal(size=(300, 257))


def threads(ours):
    """How many work on what was compiled."""
    ((captured,),) = ours.captures.values()
    return captured.run.code.threads


def busy(x):
    return mg.sum(mg.tanh(mg.sin(x) * mg.exp(x)), axis=1)


def test_fewer_processors_than_when_it_was_compiled(processors):
    processors(3)
    ours = mg.compile(busy)
    right = ours(BUSY)
    assert threads(ours) == 3
    processors(1)
    np.testing.assert_array_equal(ours(BUSY).data, right.data)


def test_more_processors_than_when_the_first_threads_were_started(processors, monkeypatch):
    processors(1)
    parallel.run([lambda: None])
    monkeypatch.setattr(parallel, "threads", lambda: parallel.os.cpu_count())
    ours = mg.compile(busy)
    np.testing.assert_allclose(ours(BUSY).data, busy(BUSY).data, rtol=1e-12)
    assert threads(ours) == parallel.threads()


def test_compiled_functions_inside_what_python_computes_for_a_compiled_function(processors):
    processors(2)
    inner = mg.compile(busy)
    right = inner(BUSY).data
    assert threads(inner) == 2

    @mg.primitive
    def hosted(x):
        return np.asarray(inner(np.array(x)))

    outer = mg.compile(lambda x: hosted(mg.abs(mg.tanh(x) * mg.sin(x)) * 0 + x))
    for _ in range(2):
        np.testing.assert_array_equal(outer(BUSY).data, right)
    assert threads(outer) == 2


def test_what_python_computes_is_computed_in_the_callers_thread(processors, monkeypatch):
    """However soon others come: it may depend on what is a thread's own, as np.errstate is."""
    processors(2)
    caller = threading.get_ident()

    @mg.primitive
    def hosted(x):
        return np.array(x) * (threading.get_ident() == caller)

    class Eager:
        """A thread that takes a job before whoever gives it goes on."""

        def put(self, job):
            worker = threading.Thread(target=job)
            worker.start()
            worker.join(0.2)

    ours = mg.compile(lambda x: busy(hosted(x)))
    right = ours(BUSY).data
    assert threads(ours) == 2
    with monkeypatch.context() as patch:
        patch.setattr(parallel, "helpers", lambda process: Eager())
        np.testing.assert_array_equal(ours(BUSY).data, right)


def test_calls_from_several_threads_at_once(processors):
    processors(3)
    functions = [mg.compile(busy) for _ in range(3)]
    right, wrong = [f(BUSY).data for f in functions], []
    assert list(map(threads, functions)) == [3, 3, 3]

    def call(f, expected):
        wrong.extend(None for _ in range(50) if not np.array_equal(f(BUSY).data, expected))

    callers = [threading.Thread(target=call, args=pair, daemon=True) for pair in zip(functions, right, strict=True)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(120)
    assert not any(caller.is_alive() for caller in callers)
    assert wrong == []


def test_one_step_from_several_threads_with_batches_of_several_shapes():
    batches = [(rng.normal(size=(n, 50)), rng.normal(size=(n, 2))) for n in (64, 63)]
    model = mg.nn.Sequential(mg.nn.Linear(50, 100), mg.nn.Tanh(), mg.nn.Linear(100, 100), mg.nn.Linear(100, 2))
    step = mg.compile_step(model, mg.nn.MSELoss(), mg.optim.SGD(model.parameters(), lr=1e-300))  # which moves nothing
    right, wrong = [step(*batch).item() for batch in batches], []

    def call(i):
        wrong.extend(None for _ in range(300) if step(*batches[i]).item() != right[i])

    callers = [threading.Thread(target=call, args=(i,), daemon=True) for i in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(120)
    assert not any(caller.is_alive() for caller in callers)
    assert wrong == []


def one_for_both(params):
    return [mg.optim.Adam(params, lr=0.1)] * 2


def one_each(params):
    return [mg.optim.Adam(params, lr=0.1) for _ in range(2)]


def overlapping(params):
    """The second holds parameters of two others, which have nothing to do with each other."""
    apart = [mg.optim.Adam(params[i:][:1], lr=0.1) for i in range(len(params))]
    return apart[-1], mg.optim.Adam(params, lr=0.1)


@pytest.mark.parametrize("optimizers", [one_for_both, one_each, overlapping])
def test_steps_that_train_the_same_parameters_take_turns(optimizers):
    """While one is in the midst of its step, the other waits, and both leave what they leave one after the other."""
    x, y = rng.normal(size=(10, 3)), rng.normal(size=(10, 2))
    watched, inside, done, meanwhile = threading.Event(), threading.Event(), threading.Event(), queue.SimpleQueue()

    @mg.primitive
    def looked_at(y):
        if watched.is_set():
            inside.set()
            meanwhile.put(done.wait(0.2))
        return np.array(y)

    def steps():
        mg.random.seed(0)
        model, mse = mg.nn.Linear(3, 2), mg.nn.MSELoss()
        ours, theirs = optimizers(list(model.parameters()))
        first = mg.compile_step(model, lambda p, y: mse(p, looked_at(y)), ours)
        second = mg.compile_step(model, mse, theirs)
        first(x, y)
        second(x, y)
        return model, first, second

    def other():
        inside.wait()
        second(x, 2 * y)
        done.set()

    right, first, second = steps()
    first(x, y)
    second(x, 2 * y)
    model, first, second = steps()
    watched.set()
    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    first(x, y)
    thread.join(120)
    assert done.is_set()
    assert not meanwhile.get()
    for p, q in zip(model.parameters(), right.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_nobody_waits_for_threads_that_do_not_come(processors, monkeypatch):
    """The first does all the work by itself, and whoever comes too late finds nothing to do."""
    processors(3)
    ours = mg.compile(busy)
    right = ours(BUSY).data
    assert threads(ours) == 3
    monkeypatch.setattr(parallel, "run", lambda parts: [part() for part in parts])
    np.testing.assert_array_equal(ours(BUSY).data, right)
    monkeypatch.setattr(parallel, "run", lambda parts: parts[0]())
    np.testing.assert_array_equal(ours(2 * BUSY).data, mg.compile(busy)(2 * BUSY).data)


def test_little_work_is_not_shared(processors):
    processors(2)
    ours = mg.compile(lambda x: mg.tanh(mg.tanh(x)))
    ours(rng.normal(size=(100, 100)))
    assert threads(ours) == 1


def test_all_threads_leave_at_an_error(processors):
    processors(3)
    table, rows = rng.normal(size=(100, 3000)), np.arange(99)
    ours = mg.compile(lambda x, i: busy(mg.sin(x)[i] * mg.cos(x)[0]) + mg.sum(mg.exp(x)))
    right = ours(table, rows).data
    assert threads(ours) == 3
    for wrong in ([*rows[:-1], 100], [100, *rows[1:]]):
        with pytest.raises(IndexError):
            ours(table, np.array(wrong))
        np.testing.assert_array_equal(ours(table, rows).data, right)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child(processors):
    processors(2)
    ours = mg.compile(busy)
    right = ours(BUSY).data
    assert threads(ours) == 2
    child = os.fork()
    if not child:
        os._exit(not np.array_equal(ours(BUSY).data, right))
    assert os.waitpid(child, 0)[1] == 0
