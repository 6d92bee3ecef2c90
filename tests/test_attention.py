"""Attention and the transformer: masks beside torch's, second derivatives, proofs on symbols, refusals."""

import math

import numpy as np
import pytest
from catalogue import agree, close, leaf, rngs, torch
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F


def torchs(*qkv, **options):
    """torch's attention, by formulas that it can differentiate twice."""
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return torch.nn.functional.scaled_dot_product_attention(*qkv, **options)


# ---- scaled_dot_product_attention ------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    lead=st.sampled_from([(), (2,), (2, 1)]), lengths=st.tuples(*[st.integers(1, 4)] * 4), rng=rngs,
    kind=st.sampled_from(["none", "causal", "boolean", "floats", "of keys"]), scale=st.sampled_from([None, 0.3]),
)  # fmt: skip
def test_attention_is_torchs(lead, lengths, rng, kind, scale):
    """With every kind of mask, also where a query sees no key; to the second derivative."""
    rows, columns, width, out = lengths
    seen = rng.random((rows, columns)) > 0.5
    mask = {
        "boolean": seen, "floats": np.where(seen, rng.standard_normal(seen.shape), -np.inf),
        "of keys": rng.random((*lead, 1, columns)) > 0.5,
    }.get(kind)  # fmt: skip
    options = {"is_causal": kind == "causal", "scale": scale}
    arrays = [rng.standard_normal((*lead, *s)) for s in [(rows, width), (columns, width), (columns, out)]]
    agree(lambda *qkv: F.scaled_dot_product_attention(*qkv, attn_mask=mask, **options),
          lambda *qkv: torchs(*qkv, attn_mask=None if mask is None else torch.from_numpy(mask), **options),
          arrays, rng)  # fmt: skip


@settings(max_examples=20)
@given(rng=rngs, shape=st.sampled_from([(3, 4), (2, 3, 4), (2, 1, 1), (4,)]))
def test_a_mask_may_be_learnt(rng, shape):
    mask = rng.standard_normal(shape)
    mask.flat[0] = -np.inf
    arrays = [rng.standard_normal(s) for s in [(2, 3, 2), (2, 4, 2), (2, 4, 3)]]
    agree(lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m),
          lambda q, k, v, m: torchs(q, k, v, attn_mask=m), [*arrays, mask], rng)  # fmt: skip


def test_a_query_that_sees_nothing_gets_zeros_and_no_nan():
    q, k, v = (leaf(np.random.default_rng(i).standard_normal((3, 2))) for i in range(3))
    seen = np.array([[True, True, True], [False, False, False], [True, False, True]])
    for mask in (seen, np.array([[0.0], [-np.inf], [0.0]])):
        for t in (q, k, v):
            t.grad = None
        y = F.scaled_dot_product_attention(q, k, v, mask)
        y.sum().backward()
        assert not y._data[1].any()
        assert not q.grad._data[1].any()
        assert all(np.isfinite(t.grad._data).all() for t in (q, k, v))


def test_no_keys_or_no_queries():
    for rows, columns in ((0, 3), (2, 0)):
        q, k, v = (leaf(np.ones(s)) for s in [(rows, 2), (columns, 2), (columns, 3)])
        y = F.scaled_dot_product_attention(q, k, v)
        y.sum().backward()
        assert y.shape == (rows, 3)
        assert not y._data.any()
        assert q.grad.shape == (rows, 2)
        assert v.grad.shape == (columns, 3)


def test_heads_may_share_keys():
    """Leading axes broadcast: many queries' heads to one of keys."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in [(2, 3, 4, 2), (2, 1, 5, 2), (5, 3)]]
    agree(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
          lambda q, k, v: torchs(q, k.expand(2, 3, 5, 2), v.expand(2, 3, 5, 3), is_causal=True),
          arrays, rng)  # fmt: skip


def test_dropout_drops_weights():
    """With values that are a basis, the output is the weights: dropped, or divided by 1 - p."""
    mg.random.seed(0)
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((20, 4)), rng.standard_normal((30, 4)), np.eye(30)
    whole = F.scaled_dot_product_attention(q, k, v).numpy()
    dropped = F.scaled_dot_product_attention(q, k, v, dropout_p=0.25).numpy()
    kept = dropped != 0
    assert 0.7 < kept.mean() < 0.8
    np.testing.assert_allclose(dropped[kept], whole[kept] / 0.75)


def test_tiny_attention_is_proved():
    """From the formula of the output, differentiated by SymPy."""
    def attend(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    report = mg.verify.gradient(attend, mg.symbols("q", (2, 1)), mg.symbols("k", (2, 1)), mg.symbols("v", (2, 1)))
    assert report.verdict == "proved", report


# ---- MultiheadAttention ----------------------------------------------------------------------------------------------


def twins(*args, **kwargs):
    """Ours and torch's, with the same parameters."""
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(*args, **kwargs).double()
    ours = nn.MultiheadAttention(*args, **kwargs)
    ours.load_state_dict({path: array.numpy() for path, array in theirs.state_dict().items()})
    return ours, theirs


def as_torch(x):
    return torch.from_numpy(x) if isinstance(x, np.ndarray) else x


def floats(mask):
    return np.where(mask, -np.inf, 0.5)


HIDDEN = np.array([[False, True, False], [False, False, True]])  # what two queries do not see of three keys
EACH = np.stack([HIDDEN, HIDDEN[::-1], ~HIDDEN[:, ::-1], np.zeros_like(HIDDEN)])  # for two heads of a batch of two
PADDED = np.array([[False, False, True], [False, False, False]])
MASKS = {
    "attention": {"attn_mask": HIDDEN}, "floats": {"attn_mask": floats(HIDDEN)}, "each head": {"attn_mask": EACH},
    "padding": {"key_padding_mask": PADDED}, "padding as floats": {"key_padding_mask": floats(PADDED)},
    "both": {"attn_mask": HIDDEN[:, ::-1].copy(), "key_padding_mask": PADDED},
    "both as floats": {"attn_mask": floats(HIDDEN[:, ::-1]), "key_padding_mask": floats(PADDED)},
}


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
def test_masks_are_torchs(masks, need_weights, average):
    """In MultiheadAttention, True is for what is not seen."""
    ours, theirs = twins(4, 2, batch_first=True)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in [(2, 2, 4), (2, 3, 4), (2, 3, 4)]]
    options = {"need_weights": need_weights, "average_attn_weights": average}
    y, weights = ours(*arrays, **masks, **options)
    z, their_weights = theirs(*map(as_torch, arrays), **{k: as_torch(m) for k, m in masks.items()}, **options)
    unseen = np.isnan(z.detach().numpy()).any(-1)  # where torch's weights are nan, ours are zeros
    close(y.detach().numpy()[~unseen], z[~unseen], "output")
    assert (weights is None) is (their_weights is None)
    if need_weights:
        expected = np.nan_to_num(their_weights.detach().numpy())
        close(weights, expected, "weights")
    y.sum().backward()
    assert all(np.isfinite(p.grad._data).all() for p in ours.parameters())


def test_causal():
    ours, theirs = twins(4, 2)
    x = np.random.default_rng(0).standard_normal((3, 2, 4))
    later = np.triu(np.ones((3, 3), bool), 1)
    z, weights = theirs(*[torch.from_numpy(x)] * 3, attn_mask=torch.from_numpy(later), is_causal=True)
    for options in ({"is_causal": True}, {"attn_mask": later}, {"attn_mask": later, "is_causal": True}):
        y, ours_weights = ours(x, x, x, **options)
        close(y, z, "output")
        close(ours_weights, weights, "weights")
        close(ours(x, x, x, need_weights=False, **options)[0], z, "output without weights")
    padded = np.array([[False, True, False], [False, False, False]])
    y, _ = ours(x, x, x, key_padding_mask=padded, is_causal=True)
    masks = {"key_padding_mask": torch.from_numpy(padded), "attn_mask": torch.from_numpy(later)}
    z, _ = theirs(*[torch.from_numpy(x)] * 3, **masks)
    close(y, z, "output with both")


def test_unbatched_with_padding():
    ours, theirs = twins(4, 2)
    x, padded = np.random.default_rng(0).standard_normal((3, 4)), np.array([False, True, False])
    y, weights = ours(x, x, x, padded)
    z, their_weights = theirs(*[torch.from_numpy(x)] * 3, torch.from_numpy(padded))
    close(y, z, "output")
    close(weights, their_weights, "weights")


def test_attention_in_float32_on_symbols_and_with_dropout():
    layer = nn.MultiheadAttention(2, 1, batch_first=True)
    y, _ = layer.symbolic()(*[mg.symbols("x", (1, 2, 2))] * 3)
    assert y.shape == (1, 2, 2)
    layer = nn.MultiheadAttention(4, 2, dropout=0.5).astype(np.float32)
    x = np.ones((3, 2, 4), np.float32)
    mask = np.zeros((3, 3))
    mask[0, 1] = -np.inf
    for need_weights in (True, False):
        y, _ = layer(x, x, x, attn_mask=mask, key_padding_mask=np.zeros((2, 3), bool), need_weights=need_weights)
        y.sum().backward()
        assert y.dtype == np.float32
        assert {p.grad.dtype for p in layer.parameters()} == {np.dtype(np.float32)}
    assert np.unique(layer(x, x, x)[1]._data).size > 1, "the weights of equal keys differ by dropout only"
    assert np.unique(layer.eval()(x, x, x)[1]._data.round(6)).size == 1


# ---- the transformer -------------------------------------------------------------------------------------------------


def test_masks_reach_every_layer():
    torch.manual_seed(0)
    make = {"d_model": 4, "nhead": 2, "dim_feedforward": 5, "dropout": 0.0, "batch_first": True}
    layer = torch.nn.TransformerEncoderLayer(**make)
    theirs = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double()
    ours = nn.TransformerEncoder(nn.TransformerEncoderLayer(**make), 2)
    ours.load_state_dict({path: array.numpy() for path, array in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    later, padded = np.triu(np.ones((3, 3), bool), 1), np.array([[False, False, True], [False, False, False]])
    z = theirs(torch.from_numpy(x), torch.from_numpy(later), torch.from_numpy(padded))
    close(ours(x, later, padded), z, "masks")
    close(ours(x, src_key_padding_mask=padded, is_causal=True), z, "is_causal")


def test_masks_of_the_decoder():
    torch.manual_seed(0)
    make = {"d_model": 4, "nhead": 2, "dim_feedforward": 5, "dropout": 0.0, "batch_first": True}
    theirs, ours = torch.nn.TransformerDecoderLayer(**make).double(), nn.TransformerDecoderLayer(**make)
    ours.load_state_dict({path: array.numpy() for path, array in theirs.state_dict().items()})
    x, memory = (np.random.default_rng(i).standard_normal((2, n, 4)) for i, n in enumerate((2, 3)))
    masks = {
        "tgt_mask": np.triu(np.ones((2, 2), bool), 1), "memory_mask": HIDDEN,
        "tgt_key_padding_mask": np.array([[False, True], [False, False]]),
        "memory_key_padding_mask": PADDED[:, ::-1].copy(),
    }  # fmt: skip
    z = theirs(torch.from_numpy(x), torch.from_numpy(memory), **{k: torch.from_numpy(m) for k, m in masks.items()})
    close(ours(x, memory, **masks), z, "decoder")
    assert not np.allclose(ours(x, memory).detach(), z.detach())


def test_a_transformer_is_causal():
    """What comes later changes nothing before it: exact zeros in the Jacobian, in front of which all is dense."""
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True, norm_first=True, activation="gelu")
    x = np.random.default_rng(0).standard_normal((3, 4))
    slopes = mg.jacobian(lambda x: layer(x, is_causal=True).sum(axis=-1))(x)._data
    dense = np.abs(slopes).sum(-1) > 0
    np.testing.assert_array_equal(dense, np.tril(np.ones((3, 3), bool)))


def test_dropout_acts_in_training_only():
    mg.random.seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5)
    x = np.random.default_rng(0).standard_normal((3, 2, 4))
    a, b = layer(x).numpy(), layer(x).numpy()
    assert not np.array_equal(a, b)
    layer.eval()
    np.testing.assert_array_equal(layer(x).numpy(), layer(x).numpy())


def test_a_function_as_activation_and_copies_of_their_own():
    layer = nn.TransformerEncoderLayer(4, 2, 8, activation=mg.tanh, dropout=0.0)
    encoder = nn.TransformerEncoder(layer, 2)
    first, second = encoder.layers
    assert first.linear1.weight is not second.linear1.weight
    np.testing.assert_array_equal(first.linear1.weight.numpy(), layer.linear1.weight.numpy())
    x = np.ones((2, 1, 4))
    np.testing.assert_array_equal(encoder(x).numpy(), layer(layer(x)).numpy())


def test_second_derivatives_of_a_block():
    """The Hessian of the loss by the input, beside torch's."""
    torch.manual_seed(0)
    make = {"d_model": 2, "nhead": 1, "dim_feedforward": 3, "dropout": 0.0, "activation": "gelu"}
    theirs, ours = torch.nn.TransformerEncoderLayer(**make).double(), nn.TransformerEncoderLayer(**make)
    ours.load_state_dict({path: array.numpy() for path, array in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((2, 1, 2))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        expected = torch.autograd.functional.hessian(lambda x: (theirs(x) ** 3).sum(), torch.from_numpy(x))
    close(mg.hessian(lambda x: (ours(x) ** 3).sum())(x), expected, "Hessian", rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("d", [4, 5])
def test_positions(d):
    """The formula of the paper, one element at a time."""
    code = nn.PositionalEncoding(d, max_len=7)(np.zeros((7, d))).numpy()
    for p in range(7):
        for i in range(d):
            angle = p / 10000 ** (2 * (i // 2) / d)
            assert code[p, i] == pytest.approx(math.cos(angle) if i % 2 else math.sin(angle), abs=1e-14)
    assert nn.PositionalEncoding(d).state_dict() == {}


def test_positions_are_counted_along_their_axis():
    code = nn.PositionalEncoding(4)(np.zeros((5, 4))).numpy()
    batch = nn.PositionalEncoding(4)(np.zeros((3, 5, 4), np.float32))
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch.numpy()[1], code, rtol=1e-6)
    along_first = nn.PositionalEncoding(4, batch_first=False)(np.zeros((5, 3, 4))).numpy()
    np.testing.assert_array_equal(along_first[:, 1], code)
    with_dropout = nn.PositionalEncoding(4, dropout=0.9)
    assert (with_dropout(np.ones((5, 4))).numpy() == 0).any()
    np.testing.assert_array_equal(with_dropout.eval()(np.zeros((5, 4))).numpy(), code)


# ---- refusals --------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self):
        self.attn = nn.MultiheadAttention(4, 2)

    def forward(self, x, **masks):
        return self.attn(x, x, x, **masks)[0]


class Net(nn.Module):
    def __init__(self):
        self.blocks = nn.ModuleList([Block()])

    def forward(self, x, **masks):
        return self.blocks[0](x, **masks)


def sdpa(*shapes, **options):
    return lambda: F.scaled_dot_product_attention(*map(np.ones, shapes), **options)


REFUSED = [
    (sdpa((2, 3), (2, 4), (2, 3)), ValueError, r"query \(2, 3\) and key \(2, 4\) differ in their last axis, 3 and 4"),
    (sdpa((2, 3), (2, 3), (4, 3)), ValueError, r"key \(2, 3\) and value \(4, 3\) differ in their last but"),
    (sdpa((3,), (2, 3), (2, 3)), ValueError, r"query \(3,\), key .* need two axes or more"),
    (sdpa(*[(2, 3)] * 3, attn_mask=np.ones((3, 2), bool)), ValueError, r"a mask of shape \(3, 2\) does not broad"),
    (sdpa(*[(2, 3)] * 3, attn_mask=np.ones((5, 2, 2), bool)), ValueError, r"mask .* does not broadcast .* \(2, 2\)"),
    (sdpa(*[(2, 3)] * 3, attn_mask=np.ones((2, 2), int)), TypeError, r"a mask is boolean, or .* not int64"),
    (sdpa(*[(2, 3)] * 3, attn_mask=np.ones((2, 2), bool), is_causal=True), ValueError, r"not both"),
    (lambda: nn.MultiheadAttention(5, 2), ValueError, r"embed_dim 5 is not a multiple of num_heads 2"),
    (lambda: nn.MultiheadAttention(4, 0), ValueError, r"num_heads must be a positive integer"),
    (lambda: nn.MultiheadAttention(4, 2, kdim=2.5), TypeError, r"kdim must be a positive integer, not 2.5"),
    (lambda: Net()(np.ones((3, 2, 5))), ValueError, r'MultiheadAttention "blocks.0.attn": query \(3, 2, 5\) has 5'),
    (lambda: Net()(np.ones(4)), ValueError, r'"blocks.0.attn": query \(4,\), .* three axes'),
    (lambda: Net()(np.ones((3, 2, 4)), attn_mask=np.ones((2, 2), bool)), ValueError,
     r'"blocks.0.attn": attn_mask has shape \(2, 2\); \(3, 3\) or \(4, 3, 3\) would fit'),
    (lambda: Net()(np.ones((3, 2, 4)), key_padding_mask=np.ones((3, 2), bool)), ValueError,
     r"key_padding_mask has shape \(3, 2\); \(2, 3\) would fit"),
    (lambda: Net()(np.ones((3, 2, 4)), attn_mask=np.ones((3, 3), int)), ValueError, r"attn_mask is boolean .* not int"),
    (lambda: nn.MultiheadAttention(4, 2)(np.ones((3, 2, 4)), np.ones((3, 1, 4)), np.ones((3, 1, 4))), ValueError,
     r"differ in the batch, which is axis 1"),
    (lambda: nn.MultiheadAttention(4, 2)(np.ones((3, 4)), np.ones((3, 4)), np.ones((2, 4))), ValueError,
     r"every key has a value"),
    (lambda: nn.TransformerEncoderLayer(4, 2, activation="rely"), ValueError, r"activation.*rely.*relu"),
    (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 0), ValueError, r"num_layers must be a positive"),
    (lambda: nn.PositionalEncoding(4, max_len=3)(np.ones((5, 4))), ValueError, r"has 5 positions, more than max_len=3"),
    (lambda: nn.PositionalEncoding(4)(np.ones((5, 3))), ValueError, r"input \(5, 3\) is not \(..., positions, 4\)"),
    (lambda: nn.Sequential(nn.LayerNorm((2, 3)))(np.ones((2, 2))), ValueError,
     r'LayerNorm "0": input \(2, 2\) does not end in normalized_shape \(2, 3\); \(..., 2, 3\) is expected'),
    (lambda: nn.RMSNorm(()), ValueError, r"normalized_shape is empty"),
    (lambda: nn.LayerNorm(0), ValueError, r"normalized_shape must be a positive integer, not 0"),
    (lambda: nn.Bilinear(2, 3, 1)(np.ones((5, 2)), np.ones((5, 2))), ValueError, r"\(..., 2\) and \(..., 3\)"),
    (lambda: nn.Bilinear(2, 3, 1)(np.ones((5, 2)), np.ones((4, 3))), ValueError, r"alike in all but the last axis"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=[r[2][:40] for r in REFUSED])
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
