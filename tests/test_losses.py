"""The losses of mg.nn.functional: values and gradients against torch.nn.functional, reductions, refused shapes."""

import sys

import numpy as np
import pytest
from catalogue import F, agree, gradients, leaf, rngs, torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minigrad as mg
from minigrad.nn import functional as nf

reductions = st.sampled_from(["mean", "sum", "none"])
shapes = array_shapes(min_dims=0, max_dims=3, max_side=4)


def hinge(x, target, reduction="mean"):
    """torch's hinge_embedding_loss is another; this is the definition of Cortes and Vapnik (1995)."""
    loss = torch.clamp_min(1 - target * x, 0)
    return {"mean": loss.mean(), "sum": loss.sum(), "none": loss}[reduction]


ELEMENTWISE = {
    "mse_loss": (F.mse_loss, lambda rng, shape: rng.normal(size=shape)),
    "huber_loss": (F.huber_loss, lambda rng, shape: rng.normal(size=shape)),
    "binary_cross_entropy_with_logits": (
        F.binary_cross_entropy_with_logits,
        lambda rng, shape: rng.uniform(0, 1, shape),
    ),
    "hinge_loss": (hinge, lambda rng, shape: rng.choice([-1.0, 1.0], shape)),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@settings(max_examples=30)
@given(shape=shapes, reduction=reductions, rng=rngs)
def test_elementwise_losses(name, shape, reduction, rng):
    theirs, targets = ELEMENTWISE[name]
    x = np.asarray(3 * rng.normal(size=shape))
    target = np.asarray(targets(rng, shape))
    agree(
        lambda *a: getattr(nf, name)(*a, reduction=reduction),
        lambda *a: theirs(*a, reduction=reduction),
        [x, target],
        rng,
    )


@pytest.mark.parametrize("delta", [0.3, 1.0, 2.5])
def test_huber_delta(delta):
    rng = np.random.default_rng(0)
    agree(
        lambda *a: nf.huber_loss(*a, delta=delta),
        lambda *a: F.huber_loss(*a, delta=delta),
        [3 * rng.normal(size=20), rng.normal(size=20)],
        rng,
    )


@settings(max_examples=40)
@given(shape=array_shapes(min_dims=1, max_dims=3, max_side=4), reduction=reductions, rng=rngs)
def test_cross_entropy_with_classes(shape, reduction, rng):
    x, target = 3 * rng.normal(size=shape), np.asarray(rng.integers(0, shape[-1], shape[:-1]))

    def theirs(x):  # torch's classes are the second axis
        loss = F.cross_entropy(
            x.reshape(-1, shape[-1]), torch.from_numpy(target).reshape(-1), reduction="none"
        ).reshape(target.shape)
        return {"mean": loss.mean(), "sum": loss.sum(), "none": loss}[reduction]

    for classes in (target, mg.tensor(target), target.tolist(), target.astype(np.uint8)):
        agree(lambda x, classes=classes: nf.cross_entropy(x, classes, reduction), theirs, [x], rng)


@settings(max_examples=30)
@given(n=st.integers(1, 4), classes=st.integers(1, 4), reduction=reductions, rng=rngs)
def test_cross_entropy_with_probabilities(n, classes, reduction, rng):
    x, target = 3 * rng.normal(size=(n, classes)), rng.dirichlet(np.ones(classes), n)
    agree(
        lambda *a: nf.cross_entropy(*a, reduction=reduction),
        lambda *a: F.cross_entropy(*a, reduction=reduction),
        [x, target],
        rng,
    )
    agree(
        lambda *a: nf.cross_entropy(*a, reduction=reduction),
        lambda *a: F.cross_entropy(*a, reduction=reduction),
        [x[0], target[0]],
        rng,
    )


def test_classes_and_certain_probabilities_are_the_same():
    x, target = leaf(np.random.default_rng(0).normal(size=(4, 3))), np.array([2, 0, 1, 1])
    a, b = nf.cross_entropy(x, target), nf.cross_entropy(x, np.eye(3)[target])
    assert a.item() == pytest.approx(b.item(), rel=1e-15)
    (ga,), (gb,) = gradients(a, None, [x]), gradients(b, None, [x])
    np.testing.assert_allclose(ga.data, gb.data, rtol=1e-13, atol=1e-16)


EXTREME = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [0.0, 1e4, 1e4]])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_of_extreme_scores(reduction):
    rng = np.random.default_rng(0)
    target = np.array([1, 2, 0])
    agree(
        lambda x: nf.cross_entropy(x, target, reduction),
        lambda x: F.cross_entropy(x, torch.from_numpy(target), reduction=reduction),
        [EXTREME],
        rng,
    )
    probabilities = np.array([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    agree(
        lambda *a: nf.cross_entropy(*a, reduction),
        lambda *a: F.cross_entropy(*a, reduction=reduction),
        [EXTREME, probabilities],
        rng,
    )


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_binary_cross_entropy_of_extreme_scores(target):
    targets = np.full(3, target)
    theirs = lambda *a: F.binary_cross_entropy_with_logits(*a, reduction="none")  # noqa: E731
    agree(
        lambda *a: nf.binary_cross_entropy_with_logits(*a, reduction="none"),
        theirs,
        [EXTREME[0], targets],
        np.random.default_rng(0),
        second=False,
    )


def test_the_slope_by_the_target_of_certain_probabilities():
    """The loss is linear in the target, so its slope is what torch's loss rises by from 0 to 1, at most by 100."""
    x, target = np.array([0.0, 1.0, 0.5, 1e-30]), leaf(np.full(4, 0.25))
    (slope,) = gradients(nf.binary_cross_entropy(x, target, reduction="sum"), None, [target])
    low, high = (F.binary_cross_entropy(*map(torch.from_numpy, (x, t)), reduction="none") for t in (x * 0, x * 0 + 1))
    np.testing.assert_allclose(slope.data, high - low, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", [*ELEMENTWISE, "cross_entropy"])
def test_float32_stays_float32(name):
    x = leaf(np.ones((2, 3), np.float32))
    target = [0, 1] if name == "cross_entropy" else np.ones((2, 3), np.float32)
    loss = getattr(nf, name)(x, target)
    loss.backward()
    assert loss.dtype == x.grad.dtype == np.float32


# ---- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize(
    ("a", "b", "remedy"),
    [
        ((4, 1), (4,), r"reshape the target to \(4, 1\)"),
        ((4,), (4, 1), r"reshape the target to \(4,\)"),
        ((4,), (), "one of each"),
        ((2, 3), (3,), "one of each"),
    ],
)
def test_shapes_that_would_broadcast_are_refused(name, a, b, remedy):
    """(n, 1) against (n,) trains towards nonsense without a word in other libraries."""
    with pytest.raises(ValueError, match=rf"{name}: the prediction has shape .* and the target .*: {remedy}"):
        getattr(nf, name)(mg.zeros(a, requires_grad=True), np.zeros(b))


def test_modules_refuse_them_too():
    with pytest.raises(ValueError, match=r"reshape the target to \(4, 1\)"):
        mg.nn.MSELoss()(mg.zeros((4, 1)), mg.zeros(4))


scores = mg.zeros((4, 3), requires_grad=True)
REFUSED = [
    (
        lambda: nf.cross_entropy(scores, np.zeros((4, 1), int)),
        r"cross_entropy: scores of shape \(4, 3\) need class indices of shape \(4,\), and these have shape \(4, 1\)",
    ),
    (lambda: nf.cross_entropy(scores, np.zeros(3, int)), r"class indices of shape \(4,\), and these have shape \(3,\)"),
    (
        lambda: nf.cross_entropy(scores, [0, 1, 2, 3]),
        r"cross_entropy: classes are 0 to 2, and the targets run from 0 to 3",
    ),
    (
        lambda: nf.cross_entropy(scores, [0, -1, 2, 1]),
        r"cross_entropy: classes are 0 to 2, and the targets run from -1 to 2",
    ),
    (
        lambda: nf.cross_entropy(scores, np.zeros(4)),
        r"cross_entropy: the target of dtype float64 and shape \(4,\) is neither integers of "
        r"shape \(4,\) nor probabilities of shape \(4, 3\)",
    ),
    (lambda: nf.mse_loss(scores, scores, reduction="men"), r"reduction"),
    (lambda: nf.cross_entropy(scores, [0, 1, 2, 1], reduction=None), r"reduction"),
    (lambda: nf.huber_loss(scores, scores, delta=0), r"huber_loss: delta=0 must be positive"),
    (lambda: nf.huber_loss(scores, scores, delta=float("nan")), r"huber_loss: delta=nan must be positive"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


# ---- the rest of torch.nn's losses: values and gradients are compared in nn/test_twins.py ---------------------------

MORE = [
    (lambda: nf.nll_loss(np.zeros((2, 3)), [0.0, 1.0]), r"nll_loss: targets are .* integers, and these are float64"),
    (lambda: nf.nll_loss(np.zeros((2, 3)), [0, 3]), r"nll_loss: classes are 0 to 2, and the targets run from 0 to 3"),
    (lambda: nf.cross_entropy(np.zeros((2, 3, 4)), np.zeros((2, 3), int), axis=1),
     r"scores of shape \(2, 3, 4\) need class indices of shape \(2, 4\), and these have shape \(2, 3\)"),
    (lambda: nf.cross_entropy(scores, [0, 1, 2, 0], axis=3), r"cross_entropy: axis 3 is out of bounds"),
    (lambda: nf.cross_entropy(scores, [0, -100, 5, 1]), r"classes are 0 to 2, and the targets run from 0 to 5"),
    (lambda: nf.cross_entropy(scores, [-100] * 4), r"cross_entropy: no target counts .* so there is no mean"),
    (lambda: nf.cross_entropy(scores, [0, 1, 2, 0], weight=[1.0, 2.0]),
     r"the weight has shape \(2,\), and 3 classes need \(3,\)"),
    (lambda: nf.cross_entropy(scores, [0, 1, 2, 0], label_smoothing=1.5), r"label_smoothing=1.5 is a share"),
    (lambda: nf.cross_entropy(scores, np.full((4, 3), 1 / 3), ignore_index=1), r"ignore_index=1 goes with indices"),
    (lambda: nf.binary_cross_entropy([1.5], [1.0]),
     r"binary_cross_entropy: the input runs from 1.5 to 1.5, .*: scores are for binary_cross_entropy_with_logits"),
    (lambda: nf.binary_cross_entropy([0.5], [-1.0]), r"the target runs from -1 to -1, and probabilities are in \[0, 1"),
    (lambda: nf.binary_cross_entropy_with_logits([0.5, 1.0], [-1.0, 1.0]), r"the target runs from -1 to 1"),
    (lambda: nf.binary_cross_entropy_with_logits(scores, np.ones((4, 3)), weight=np.ones((2, 4, 3))),
     r"a weight of shape \(2, 4, 3\) does not broadcast to \(4, 3\)"),
    (lambda: nf.kl_div(np.zeros(2), [-0.5, 0.5]), r"kl_div: probabilities are not negative: .* \(log_target=True\)"),
    (lambda: nf.kl_div(np.zeros(2), np.zeros(2), reduction="batch"), r"unknown reduction 'batch'.*batchmean"),
    (lambda: nf.mse_loss(np.zeros(2), np.zeros(2), reduction="batchmean"), r"unknown reduction 'batchmean'"),
    (lambda: nf.smooth_l1_loss(scores, scores, beta=-1), r"smooth_l1_loss: beta=-1 must not be negative"),
    (lambda: nf.gaussian_nll_loss([0.0], [1.0], [-1.0]), r"a variance is negative; exp or softplus"),
    (lambda: nf.gaussian_nll_loss(scores, scores, np.ones(3)), r"var has shape \(3,\), and the input \(4, 3\)"),
    (lambda: nf.cosine_embedding_loss(scores, scores, np.zeros(4)), r"targets are 1 and -1, and these run from 0"),
    (lambda: nf.cosine_embedding_loss(scores, scores, np.ones(3)), r"the target has shape \(3,\), .* need \(4,\)"),
    (lambda: nf.margin_ranking_loss(scores, np.ones((4, 1)), np.ones((4, 3))),
     r"margin_ranking_loss: input1 \(4, 3\), input2 \(4, 1\) would broadcast"),
    (lambda: nf.triplet_margin_loss(scores, scores, np.ones((1, 3))), r"negative \(1, 3\) would broadcast"),
    (lambda: nf.pairwise_distance(scores, np.ones((4, 2))), r"x1 \(4, 3\) and x2 \(4, 2\) differ in their last axis"),
    *((lambda name=name: getattr(nf, name)(np.full((4, 1), 0.5), np.ones(4)), rf"{name}: .* the target to \(4, 1\)")
      for name in ("l1_loss", "smooth_l1_loss", "kl_div", "binary_cross_entropy", "soft_margin_loss",
                   "poisson_nll_loss")),
]  # fmt: skip


@pytest.mark.parametrize(("call", "sentence"), MORE, ids=range(len(MORE)))
def test_more_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize("name", ["nll_loss", "kl_div"])
def test_what_is_no_logarithm_warns_once(name, monkeypatch):
    monkeypatch.setattr(sys.modules["minigrad.tensor"], "_warned", set())
    target = [0, 1] if name == "nll_loss" else np.full((2, 2), 0.5)
    with pytest.warns(mg.MinigradWarning, match=f"{name}: its input holds numbers above 0"):
        getattr(nf, name)(mg.ones((2, 2)), target)
    getattr(nf, name)(mg.ones((2, 2)), target)


def test_classes_in_another_axis_and_ignored_ones():
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(2, 3, 4)), rng.integers(0, 3, (2, 4))
    target[0, :2] = -1
    agree(lambda x: nf.cross_entropy(x, target, axis=1, ignore_index=-1),
          lambda x: F.cross_entropy(x, torch.from_numpy(target), ignore_index=-1), [x], rng)  # fmt: skip
    agree(lambda x: nf.cross_entropy(x.swapaxes(1, 2), target, ignore_index=-1),
          lambda x: F.cross_entropy(x, torch.from_numpy(target), ignore_index=-1), [x], rng)  # fmt: skip


def test_binary_cross_entropy_at_its_ends():
    x, t = leaf(np.array([0.0, 0.0, 1.0, 1.0])), np.array([0.0, 1.0, 0.0, 1.0])
    y = nf.binary_cross_entropy(x, t, reduction="sum")
    a, b = torch.tensor(x.numpy(), requires_grad=True), torch.tensor(t)
    z = F.binary_cross_entropy(a, b, reduction="sum")
    z.backward()
    y.backward()
    assert y.item() == z.item() == 200
    np.testing.assert_allclose(x.grad.numpy(), a.grad.numpy(), rtol=1e-8)  # torch has its 1e12 in float32


def test_kl_div_where_a_probability_is_zero():
    x, t = leaf(np.log([0.5, 0.5])), leaf(np.array([1.0, 0.0]))
    y = nf.kl_div(x, t, reduction="batchmean")
    assert y.item() == pytest.approx(np.log(2) / 2)
    y.backward()
    assert x.grad.tolist() == [-0.5, 0.0]
    assert np.isfinite(t.grad.numpy()).all()


def test_weights_are_buffers_of_the_loss():
    loss = mg.nn.BCEWithLogitsLoss(pos_weight=np.array([2.0]))
    assert {name: values.tolist() for name, values in loss.state_dict().items()} == {"pos_weight": [2.0]}
    assert loss.astype(np.float32)(leaf(np.ones((3, 1), np.float32)), np.ones((3, 1), np.float32)).dtype == np.float32
    assert not list(loss.parameters())
