"""What optimizers do beside the arithmetic: parameters, groups, warnings, errors."""

import copy
import gc
import pickle
import re
import subprocess
import sys
import weakref
from functools import partial

import numpy as np
import pytest

import minigrad as mg

ALL = ["SGD", "Adagrad", "Adadelta", "RMSprop", "Adam", "AdamW"]


def parameter(values=(1.0, 2.0), name=None, dtype=None):
    return mg.tensor(values, requires_grad=True, name=name, dtype=dtype)


def give(p, gradient=1.0):
    p.grad = mg.tensor(np.full(p.shape, gradient, p.dtype))


@pytest.fixture(autouse=True)
def _warn_again(monkeypatch):
    monkeypatch.setattr(sys.modules["minigrad.tensor"], "_warned", set())


# ---- construction ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("lr", [-1, -0.1, float("nan"), float("inf"), -float("inf")])
def test_a_learning_rate_that_cannot_be_is_refused(name, lr):
    with pytest.raises(ValueError, match=f"^{name}: lr must be a finite number 0 or above, not {lr}$"):
        getattr(mg.optim, name)([parameter()], lr=lr)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("lr", [True, "0.1", None, [0.1], 1j])
def test_a_learning_rate_that_is_no_number_is_refused(name, lr):
    with pytest.raises(TypeError, match=f"^{name}: lr must be a number, not "):
        getattr(mg.optim, name)([parameter()], lr=lr)


@pytest.mark.parametrize("lr", [np.float32(0.5), np.float64(0.5), 1, 0, 0.0])  # with 0 a warm-up may start
def test_any_real_number_is_a_learning_rate(lr):
    p = parameter()
    optimizer = mg.optim.SGD([p], lr=lr)
    give(p)
    optimizer.step()
    np.testing.assert_allclose(p.data, [1 - float(lr), 2 - float(lr)])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("SGD", {"momentum": -0.1}, "SGD: momentum must be a finite number 0 or above, not -0.1"),
        ("SGD", {"weight_decay": float("nan")}, "SGD: weight_decay must be a finite number 0 or above, not nan"),
        ("SGD", {"dampening": float("inf")}, "SGD: dampening must be a finite number, not inf"),
        ("SGD", {"nesterov": True}, "SGD: nesterov=True needs momentum above 0, such as 0.9, and dampening=0"),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "SGD: nesterov=True needs momentum above 0"),
        ("Adam", {"betas": (0.9, 1.0)}, "Adam: beta must be a finite number at least 0 and below 1, not 1.0"),
        ("AdamW", {"betas": (-0.1, 0.9)}, "AdamW: beta must be a finite number at least 0 and below 1, not -0.1"),
        ("Adam", {"eps": -1e-8}, "Adam: eps must be a finite number 0 or above, not -1e-08"),
        ("Adadelta", {"rho": 1.1}, "Adadelta: rho must be a finite number between 0 and 1, not 1.1"),
        ("RMSprop", {"alpha": -0.1}, "RMSprop: alpha must be a finite number between 0 and 1, not -0.1"),
        ("Adagrad", {"lr_decay": -1}, "Adagrad: lr_decay must be a finite number 0 or above, not -1"),
        ("Adagrad", {"initial_accumulator_value": -1}, "Adagrad: initial_accumulator_value must be a finite number 0"),
        ("Adam", {"learning_rate": 0.1}, "unknown option of Adam 'learning_rate'"),
        ("SGD", {"momentun": 0.9}, "unknown option of SGD 'momentun': did you mean 'momentum'"),
    ],
)
def test_hyperparameters_out_of_range_or_unknown(name, options, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        getattr(mg.optim, name)([parameter()], **options)
    with pytest.raises(ValueError, match="^" + re.escape(message)):  # and the same in a group
        getattr(mg.optim, name)([{"params": [parameter()], **options}])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Adam", {"betas": 0.9}, "Adam: betas must be a pair such as (0.9, 0.999), not 0.9"),
        ("SGD", {"nesterov": 1}, "SGD: nesterov must be True or False, not 1"),
        ("RMSprop", {"centered": "yes"}, "RMSprop: centered must be True or False, not 'yes'"),
    ],
)
def test_hyperparameters_of_another_kind(name, options, message):
    with pytest.raises(TypeError, match="^" + re.escape(message) + "$"):
        getattr(mg.optim, name)([parameter()], **options)


def rebound():
    w = parameter()
    return w - 0.1 * w


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (list, ValueError, "SGD: there are no parameters (a generator such as model.parameters() serves only once)"),
        (parameter, TypeError, "SGD: give a list of tensors, such as [w, b] or model.parameters(), not one Tensor"),
        (
            lambda: {"w": parameter()},
            TypeError,
            "SGD: give a list of tensors, such as [w, b] or model.parameters(), not",
        ),
        (
            lambda: [np.ones(2)],
            TypeError,
            "SGD: a parameter is a Tensor, such as mg.tensor(..., requires_grad=True), not",
        ),
        (lambda: [rebound()], ValueError, "SGD: parameter 0 is the result of subtract, no leaf. A line such as `w = w"),
        (lambda: [parameter(), mg.tensor([1.0], name="b")], ValueError, "SGD: parameter 'b' does not require grad, so"),
        (lambda: [mg.tensor([1, 2])], TypeError, "SGD: parameter 0 is of dtype int64; optimizers update float32 and"),
        (lambda: [parameter(dtype=np.float16)], TypeError, "SGD: parameter 0 is of dtype float16; optimizers update"),
        (
            lambda: [{"params": [parameter()]}, 3],
            TypeError,
            'SGD: every group is a dict with its tensors under "params"',
        ),
        (lambda: [{"lr": 0.1}], TypeError, 'SGD: every group is a dict with its tensors under "params", not'),
    ],
)
def test_what_is_no_parameter_is_refused(params, error, message):
    params = params()
    with pytest.raises(error, match="^" + re.escape(message)):
        mg.optim.SGD(params, lr=0.1)


def test_a_parameter_given_twice_is_refused():
    p = parameter(name="w")
    with pytest.raises(ValueError, match="parameter 'w' is given twice, and would be updated twice a step"):
        mg.optim.SGD([p, p], lr=0.1)
    optimizer = mg.optim.SGD([p], lr=0.1)
    with pytest.raises(ValueError, match="parameter 'w' is given twice"):
        optimizer.add_param_group({"params": [p]})


def test_named_parameters_are_called_by_their_names():
    model = mg.nn.Linear(2, 1)
    optimizer = mg.optim.SGD(model.named_parameters(), lr=0.1)
    model.weight.grad = mg.tensor(np.ones((1, 2)))
    with pytest.warns(mg.MinigradWarning, match="^SGD: no gradient for parameter 'bias', though for others"):
        optimizer.step()


@pytest.mark.parametrize("compile", [False, True])
def test_a_parameter_without_a_name_is_called_by_its_group_where_there_are_several(compile):
    p, q, named = parameter(), parameter(), parameter(name="w")
    optimizer = mg.optim.SGD([{"params": [p]}, {"params": [q, named]}], lr=0.1)
    loss = lambda x, y: mg.sum((p * x - y) ** 2)  # noqa: E731
    x = y = np.ones((1, 2))
    loss(x, y).backward()
    step = partial(mg.compile_step(lambda x: x, loss, optimizer), x, y) if compile else optimizer.step
    lost = r"no gradient for parameter 0 of param_groups\[1\], parameter 'w', though"
    with pytest.warns(mg.MinigradWarning, match=lost):
        step()


# ---- steps -----------------------------------------------------------------------------------------------------------


def test_a_step_without_any_gradient_warns_once_and_changes_nothing():
    p = parameter()
    optimizer = mg.optim.Adam([p])
    with pytest.warns(mg.MinigradWarning, match=r"no parameter has a gradient.*loss.backward\(\).*rebound"):
        optimizer.step()
    optimizer.step()  # without a warning, which would be an error
    assert p.data.tolist() == [1, 2]
    assert optimizer.state_dict()["state"] == {}


def test_a_frozen_parameter_is_no_reason_to_warn():
    frozen, free = parameter(), parameter()
    optimizer = mg.optim.SGD([frozen, free], lr=0.1)
    frozen.requires_grad_(False)
    give(free)
    optimizer.step()
    assert frozen.data.tolist() == [1, 2]


def test_zero_grad_forgets_and_step_marks_as_used():
    p = parameter()
    optimizer = mg.optim.SGD([p], lr=0.1)
    (p * p).sum().backward()
    optimizer.step()
    with pytest.warns(mg.MinigradWarning, match="zero_grad"):
        (p * p).sum().backward()
    optimizer.zero_grad()
    assert p.grad is None


def test_a_graph_older_than_a_step_is_not_walked():
    p = parameter()
    optimizer = mg.optim.SGD([p], lr=0.1)
    loss = (p * p).sum()
    loss.backward()
    optimizer.step()
    with pytest.raises(RuntimeError):
        loss.backward()


@pytest.mark.parametrize("shapes", [[(2,)], [(2,), (3, 2)]])
def test_values_that_the_user_sets_between_steps_count(shapes):
    params = [parameter(np.ones(shape)) for shape in shapes]
    optimizer = mg.optim.SGD(params, lr=0.5)
    for p in params:
        p.data = np.full(p.shape, 7.0)
        give(p)
    optimizer.step()
    for p in params:
        assert (p.data == 6.5).all()
        p.data[...] = 3.0
    optimizer.step()
    for p in params:
        assert (p.data == 2.5).all()


def test_two_optimizers_may_share_a_parameter():
    p, q = parameter(), parameter()
    first, second = mg.optim.SGD([p, q], lr=0.5), mg.optim.SGD([p], lr=0.25)
    give(p), give(q)
    first.step()
    second.step()
    first.step()
    assert p.data.tolist() == [-0.25, 0.75]
    assert q.data.tolist() == [0, 1]


def test_a_parameter_that_changes_dtype_is_told():
    p = parameter(name="w")
    optimizer = mg.optim.SGD([p], lr=0.5)
    p.data = p.data.astype(np.float32)
    p.grad = mg.tensor([1.0, 1.0])
    with pytest.raises(TypeError, match="parameter 'w' was float64 of shape .2,. and has become float32"):
        optimizer.step()


def test_a_gradient_of_another_dtype_is_told():
    p = parameter(name="w")
    p.grad = mg.tensor(np.ones(2, "f4"))
    with pytest.raises(ValueError, match="gradient of parameter 'w' is float32 of shape .2,., the parameter float64"):
        mg.optim.SGD([p], lr=0.5).step()
    assert p.data.tolist() == [1, 2]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("order", ["strided", "transposed", "read-only"])
def test_gradients_need_not_be_contiguous(count, order):
    params = [parameter(np.zeros((3, 2))) for _ in range(count)]
    g = {
        "strided": np.arange(24.0).reshape(6, 4)[::2, ::2],
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "read-only": np.broadcast_to(np.arange(2.0), (3, 2)),
    }[order]
    optimizer = mg.optim.SGD(params, lr=1.0)
    for p in params:
        p.grad = mg.Tensor(g)
    optimizer.step()
    for p in params:
        assert np.array_equal(p.data, -g)


def test_parameters_need_not_be_contiguous():
    p = mg.Tensor(np.arange(6.0).reshape(2, 3).T, requires_grad=True)
    give(p)
    mg.optim.SGD([p], lr=1.0).step()
    assert p.data.tolist() == [[-1, 2], [0, 3], [1, 4]]


def test_a_learning_rate_may_fall_to_zero_later_but_not_to_nan():
    p = parameter()
    give(p)
    optimizer = mg.optim.SGD([p], lr=0.5)
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert p.data.tolist() == [1, 2]
    optimizer.param_groups[0]["lr"] = float("nan")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^SGD: lr of param_groups\[0\] must be a finite number .*, not nan$"):
            optimizer.step()
    assert p.data.tolist() == [1, 2]


BAD_LATER = {
    "text": ("lr", "a", r"lr of param_groups\[1\] must be a number, not 'a'"),
    "array": ("lr", np.array([0.1, 0.2]), r"lr of param_groups\[1\] must be a number, not array\(\[0.1, 0.2\]\)"),
    "array of one": ("lr", np.array(0.1), r"lr of param_groups\[1\] must be a number, not array\(0.1\)"),
    "negative": ("lr", -0.1, r"lr of param_groups\[1\] must be a finite number 0 or above, not -0.1"),
    "one beta": ("betas", (0.9,), r"betas of param_groups\[1\] must be a pair such as \(0.9, 0.999\), not \(0.9,\)"),
    "large beta": ("betas", (2, 0.9), r"beta of param_groups\[1\] must be .* at least 0 and below 1, not 2"),
    "None": ("eps", None, r"eps of param_groups\[1\] must be a number, not None"),
    "gone": ("eps", ..., r"eps of param_groups\[1\] is gone; every group needs one"),
}


@pytest.mark.parametrize("bad", BAD_LATER)
@pytest.mark.parametrize("compile", [False, True])
def test_bad_hyperparameters_that_a_group_is_given_later(bad, compile):
    name, value, message = BAD_LATER[bad]
    p, q = parameter(), parameter()
    optimizer = mg.optim.Adam([{"params": [p]}, {"params": [q]}], lr=0.5)
    loss = lambda x, y: mg.sum((p * x - 2 * q * y) ** 2)  # noqa: E731
    compiled = mg.compile_step(lambda x: x, loss, optimizer)
    x, y = np.ones((1, 2)), np.ones((1, 2))

    def step():
        if compile:
            return compiled(x, y)
        optimizer.zero_grad()
        loss(x, y).backward()
        return optimizer.step()

    step()
    before, right = q.data.copy(), optimizer.param_groups[1][name]
    if value is ...:
        del optimizer.param_groups[1][name]
    else:
        optimizer.param_groups[1][name] = value
    for _ in range(2):
        with pytest.raises((TypeError, ValueError), match=f"^Adam: {message}$"):
            step()
    np.testing.assert_array_equal(q.data, before)
    optimizer.param_groups[1][name] = right
    step()
    assert (q.data != before).all()


def test_a_list_of_betas_cannot_be_changed_unnoticed():
    optimizer = mg.optim.Adam([parameter()], betas=[0.9, 0.999])
    with pytest.raises(TypeError, match="does not support item assignment"):
        optimizer.param_groups[0]["betas"][0] = 0.5


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,)])
def test_a_parameter_of_any_shape_may_be_alone(shape):
    p = parameter(np.ones(shape))
    optimizer = mg.optim.Adam([p], lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        (3 * p).sum().backward()
        optimizer.step()
    assert p.shape == shape
    np.testing.assert_allclose(p.data, np.zeros(shape), atol=1e-7)


# ---- state -----------------------------------------------------------------------------------------------------------


def test_the_state_is_laid_out_as_in_torch():
    p, q = parameter(), parameter([3.0])
    optimizer = mg.optim.Adam([{"params": [p], "lr": 0.1}, {"params": [q]}])
    give(p)
    give(q)
    optimizer.step()
    state = optimizer.state_dict()
    assert set(state) == {"state", "param_groups"}
    assert [group["params"] for group in state["param_groups"]] == [[0], [1]]
    assert state["param_groups"][0]["lr"] == 0.1
    assert state["state"][0]["step"] == 1
    assert set(state["state"][0]) == {"step", "m", "v"}
    assert type(state["state"][0]["m"]) is np.ndarray
    kept = copy.deepcopy(state)
    optimizer.step()
    assert repr(kept) == repr(state)  # a copy, not the optimizer's own memory


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (
            lambda: mg.optim.SGD([parameter()]),
            lambda: mg.optim.SGD([parameter(), parameter()]),
            "the state is of groups of",
        ),
        (lambda: mg.optim.SGD([parameter()]), lambda: mg.optim.Adam([parameter()]), "unknown option of SGD 'betas'"),
        (
            lambda: mg.optim.Adam([parameter(name="w")]),
            lambda: mg.optim.Adam([parameter([1.0])]),
            "Adam: 'm' of parameter 'w' has shape (1,) in the state; the parameter has shape (2,)",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(ours, theirs, message):
    other = theirs()
    for group in other.param_groups:
        for p in group["params"]:
            give(p)
    other.step()
    optimizer = ours()
    before = repr(optimizer.state_dict())
    state = other.state_dict()
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer.load_state_dict(state)
    assert repr(optimizer.state_dict()) == before


# ---- resources -------------------------------------------------------------------------------------------------------


def test_an_optimizer_is_freed_without_the_collector():
    gc.disable()
    try:
        p = parameter()
        optimizer = mg.optim.Adam([p])
        give(p)
        optimizer.step()
        gone = weakref.ref(optimizer._blocks[0])
        del optimizer
        assert gone() is None
    finally:
        gc.enable()


def test_importing_loads_neither_numba_nor_sympy():
    code = "import minigrad as mg, sys; mg.optim.Adam; print({'numba', 'sympy', 'llvmlite'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("copying", [copy.deepcopy, pickle.dumps])
def test_copying_an_optimizer_points_to_its_state(copying):
    optimizer = mg.optim.SGD([mg.tensor([1.0], requires_grad=True)], lr=0.1)
    with pytest.raises(TypeError, match=r"SGD cannot be pickled or copied.*state_dict\(\)"):
        copying(optimizer)
