"""The compiler made wrong on purpose, in one place each time: the first call says so, and names the op."""

import copy

import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler import CompiledDiffers, assembly, contractions, indexing, lower, rules, update, values
from minigrad.compiler.blocks import IDENTITY, STEP, Loops
from minigrad.compiler.elementwise import COMPARISONS, FLOATS, LOGICAL, call, operator
from minigrad.compiler.indexing import Key
from minigrad.compiler.lower import Lowering
from minigrad.compiler.program import Program
from minigrad.compiler.rules import RULES
from minigrad.compiler.views import permuted

rng = np.random.default_rng(0)
X = rng.normal(size=(6, 6)).astype(np.float32)
I = np.array([1, 3, 3, 0])  # noqa: E741


def mutate(monkeypatch, where, name, wrong):
    """Put something wrong into a table, a class, or the module in which its name is looked up."""
    (monkeypatch.setitem if isinstance(where, dict) else monkeypatch.setattr)(where, name, wrong)


def computing(ufunc, write):
    """A function of floats that is written otherwise."""
    return FLOATS, ufunc, (write, 1)


def wrong_axis(self, ufunc, x, axis=0, *args, **kwargs):
    """Sums over the other axis, in a result of the same shape."""
    return KEPT["reduction"](self, ufunc, x, 1 - axis, *args, **kwargs)


def one_too_far(self, index):
    return [i + (not k) for k, i in enumerate(KEPT["move"](self, index))]


def one_term_less(self, node, x, axis=None, **kwargs):
    total = KEPT["mean"](self, node, x, axis, **kwargs)
    total.inputs[1].value -= 1
    return total


def transposed(x, y, shape, dtype):
    return KEPT["product"](permuted(x, [1, 0]), y, shape, dtype)


def put_for_added(self, node, negative, x, key, new):
    made = KEPT["add_at"](self, node, negative, x, key, new)
    made.add = False
    return made


def swapped_choice(self, node, condition, x, y):
    return rules.where(self, node, condition, y, x)


def unmoved(self, node, x, *args, **kwargs):
    return self.value(x)


def other_order(parts, axis, shape, what):
    return KEPT["joined"](parts[::-1], axis, shape, what)


def along_the_other(self, node, x, axis):
    return rules.running(self, node, np.add, x, 1 - axis)


def next_one(self, k, n):
    return KEPT["checked"](self, (k + 1) % n, n)


def all_in_one_place(self, fixed, rooms):
    places, total = KEPT["places"](self, fixed, rooms)
    return dict.fromkeys(places, (len(rooms), 0)), total


def whatever_is_read(self, s):
    """Also what is read elsewhere, or later."""
    return [r.buffer for r in self.reads_of(s) if r.buffer.size == s.size]


def lost_when_deep(self, index):
    """A function of a function of a function is left out."""
    inner = self.inputs[0].inputs[:1] if isinstance(self.inputs[0], values.Map) else []
    deep = self.inputs[0].buffer is None and inner and inner[0].buffer is None and isinstance(inner[0], values.Map)
    return self.inputs[0].at(index) if deep else KEPT["expression"](self, index)


class Rounded(values.Scalar):
    """A number of three digits."""

    def __init__(self, value, dtype):
        super().__init__(value * 1.001 if dtype.kind == "f" else value, dtype)


KEPT = {
    "reduction": Lowering.reduction, "move": Key.move, "mean": rules.mean, "product": contractions.product,
    "add_at": indexing.add_at, "joined": rules.joined, "checked": indexing.checked, "places": Program.places,
    "expression": values.Map.expression,
}  # fmt: skip

# What is made wrong; a function that needs it; the op that is to be named, which has no memory of its own in many.
MUTANTS = {
    "operator": (computing(np.add, operator("-")), lambda x: np.tanh(x + np.exp(x)), "add"),
    "function": (computing(np.exp, call("expm1_{}")), lambda x: np.tanh(np.exp(x) * 0.1), "exp"),
    "sign": (computing(np.negative, lambda x: x), lambda x: np.exp(-x) + 1, "negative"),
    "extremum": (computing(np.maximum, call("smallest")), lambda x: np.maximum(x, 0) + x, "maximum"),
    "comparison": ((COMPARISONS, np.greater, operator(">=")), lambda x: (x > x[0]) * x, "greater"),
    "and": ((LOGICAL, np.logical_and, operator("|")), lambda x: (x > 0) & (x < 1), "bitwise_and"),
    "choice": ((RULES, np.where, swapped_choice), lambda x: np.where(x > 0, x, 3 * x), "where"),
    "constant": ((lower, "Scalar", Rounded), lambda x: np.tanh(x * np.float32(0.1)) + x, "multiply"),
    "power": (computing(np.square, call("power3")), lambda x: np.exp(np.square(x)) * 3, "square"),
    "start of a sum": ((IDENTITY, np.add, 1.0), lambda x: np.exp(x.sum(1)), "sum"),
    "start of a product": ((IDENTITY, np.multiply, 2.0), lambda x: x.prod(0) + 1, "prod"),
    "accumulation": ((STEP, np.add, "{x}"), lambda x: np.exp((x * x).sum(0)), "sum"),
    "axis": ((Lowering, "reduction", wrong_axis), lambda x: np.tanh(x.sum(axis=0)), "sum"),
    "divisor": ((RULES, np.mean, one_term_less), lambda x: np.tanh(np.mean(x, axis=0)), "mean"),
    "slice": ((Key, "move", one_too_far), lambda x: np.exp(x[1:4]) * 2, "getitem"),
    "transpose": ((RULES, np.transpose, unmoved), lambda x: np.exp(x.T) + x, "transpose"),
    "flip": ((RULES, np.flip, unmoved), lambda x: np.flip(x, 0) * 2, "flip"),
    "product": ((contractions, "product", transposed), lambda x: np.tanh(x @ (x * 2)), "matmul"),
    "order": ((rules, "joined", other_order), lambda x: np.exp(np.concatenate([x, 2 * x])), "concatenate"),
    "running": ((RULES, np.cumsum, along_the_other), lambda x: np.cumsum(x, axis=0) * 2, "cumsum"),
    "index": ((indexing, "checked", next_one), lambda x: np.exp(np.take(x, I, axis=0)), "take"),
    "sum of picks": ((lower, "add_at", put_for_added), lambda x: [y := 0 * x, np.add.at(y, I, x[:4])][0] + 1, "at add"),
    "reuse of memory": ((Program, "places", all_in_one_place), lambda x: np.tanh(x @ x).sum(0) @ (x @ x.T), "matmul"),
    "overwriting": ((Loops, "overwritable", whatever_is_read), lambda x: np.tanh((x @ x).T) @ x, "tanh"),
    "fusion": ((values.Map, "expression", lost_when_deep), lambda x: np.exp(np.tanh(x) * 2), "exp"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_it_is_noticed_and_named(name, monkeypatch):
    mutant, f, op = MUTANTS[name]
    mutate(monkeypatch, *mutant)
    line = f.__code__.co_firstlineno
    sentence = rf"first in ({op}), called at test_wrong_compiler.py:{line}, of shape .* at \[.*\] it computes \S+ for "
    with pytest.raises(CompiledDiffers, match=sentence):
        mg.compile(f)(X)


def test_what_was_wrong_is_not_kept(monkeypatch):
    """Every call of wrong code raises, and a first run that ended in an error is none."""
    f = mg.compile(lambda x: np.exp(x) * 2)
    with monkeypatch.context() as wrong:
        mutate(wrong, *computing(np.exp, call("expm1_{}")))
        for x in (X, X + 1):
            with pytest.raises(CompiledDiffers, match="first in exp"):
                f(x)
    np.testing.assert_allclose(f(X + 1), np.exp(X + 1) * 2, rtol=1e-6)


def test_a_step_that_is_wrong_changes_nothing(monkeypatch):
    model = mg.nn.Linear(6, 1)
    optimizer = mg.optim.Adam(model.parameters())
    before = model.weight.data.copy()
    mutate(monkeypatch, *computing(np.subtract, operator("+")))
    with pytest.raises(CompiledDiffers, match=r"first in subtract, called at .*, of shape \(6, 1\)"):
        mg.compile_step(model, mg.nn.MSELoss(), optimizer)(X, X[:, :1])
    np.testing.assert_array_equal(model.weight.data, before)


# ---- what is around the trace in a step ------------------------------------------------------------------------------

UPDATES = {
    "a step that is 1e-4 too short": (("- c2 * b", "- f4(0.9999) * c2 * b"), "momentum", "parameter 0"),
    "no weight decay": (("g = g + c0 * p", "g = g"), "momentum", "parameter 0"),
    "a state that is not kept": (("v_[i] = v", "v_[i] = v_[i]"), "adam", "v of parameter 0"),
    "an eps that is left out": (("sqrt(v_hat) + c8", "sqrt(v_hat)"), "adam", "parameter 0"),
    "the last parameter": (("in range(lo, hi)", "in range(lo, hi - 1)"), "sgd", "parameter 1"),
}
OPTIMIZERS = {
    "sgd": lambda p: mg.optim.SGD(p, lr=0.1),
    "momentum": lambda p: mg.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: mg.optim.Adam(p, lr=0.1, eps=1e-4),
}


def small_step(optimizer, **options):
    model = mg.nn.Linear(6, 1).astype(np.float32)
    optimizer = OPTIMIZERS[optimizer](list(model.parameters()))
    return model, optimizer, mg.compile_step(model, mg.nn.MSELoss(), optimizer, **options)


@pytest.mark.parametrize("name", UPDATES)
def test_a_wrong_update_is_noticed_and_taken_back(name, monkeypatch):
    (right, wrong), rule, what = UPDATES[name]
    source = update.rule_source

    def mutated(i, block):
        assert right in source(i, block)
        return source(i, block).replace(right, wrong)

    model, optimizer, compiled = small_step(rule)
    before = copy.deepcopy(model.state_dict())
    mutate(monkeypatch, update, "rule_source", mutated)
    with pytest.raises(CompiledDiffers, match=rf"in the update by {rule} of {what}: at \[.*\] it computes \S+ for "):
        compiled(X, X[:, :1])
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
    assert not optimizer.state_dict()["state"]


@pytest.mark.parametrize("limit", [{"clip_norm": 0.1}, {"clip_value": 0.05}])
def test_wrong_clipping_is_noticed(limit, monkeypatch):
    model, _, compiled = small_step("sgd", **limit)
    mutate(monkeypatch, update, "NORM", update.NORM.replace("{real}(factor)", "{real}(1)").replace("-limit)", "-1e9)"))
    monkeypatch.setattr(update, "NORM", update.NORM.replace("limit)) if", "1e9)) if"))
    with pytest.raises(CompiledDiffers, match="in the update by sgd of parameter"):
        compiled(X, X[:, :1])


def test_a_batch_of_other_rows_is_noticed(monkeypatch):
    """Always the first batch, which the first use of the code does not show."""
    function = assembly.Stream.function
    model, _, compiled = small_step("sgd")
    before = model.weight.data.copy()
    mutate(
        monkeypatch, assembly.Stream, "function", lambda stream: function(stream).replace("order[s * ", "order[0 * ")
    )
    with pytest.raises(CompiledDiffers, match=r"gathers other rows of x: at \[.*\] it computes \S+ for "):
        compiled.run(X, X[:, :1], batch_size=2)
    np.testing.assert_array_equal(model.weight.data, before)
