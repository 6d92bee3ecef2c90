"""A character GPT: a small transformer reads sonnets, and then writes some lines of its own.

Where the LSTM of `examples/char_lstm.py` has to remember what it read, attention looks back at it: at every place,
each of four heads weighs all earlier characters by how well their keys fit its query, and takes the weighted mean of
their values. The causal mask keeps it from looking ahead, so all 32 places of a piece are predicted at once. This is
a decoder as in Radford et al., "Language models are unsupervised multitask learners", 2019, with two blocks of width
64.
"""

import numpy as np

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F

LENGTH, BATCH, WIDTH, HEADS, STEPS = 32, 16, 64, 4, 400

text = mg.data.characters(mg.data.sonnets().lower())
x, y = mg.data.windows(text.ids, LENGTH, step=3)


class Attention(nn.Module):
    """Every place takes from the places before it what fits its query."""

    def __init__(self):
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, h):
        batch, length, _ = h.shape
        q, k, v = self.qkv(h).reshape(batch, length, 3, HEADS, -1).transpose(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.swapaxes(1, 2).reshape(batch, length, WIDTH))


class Block(nn.Module):
    """Attention, then a net at each place by itself; both add to what is there."""

    def __init__(self):
        self.norm1, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.net = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU("tanh"), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, h):
        h = h + self.attention(self.norm1(h))
        return h + self.net(self.norm2(h))


class GPT(nn.Module):
    """Scores for the next character, at each place."""

    def __init__(self, alphabet):
        self.characters = nn.Embedding(alphabet, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.Sequential(Block(), Block())
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, alphabet, bias=False)

    def forward(self, ids):
        h = self.characters(ids) + self.places(np.arange(ids.shape[1]))
        return self.head(self.norm(self.blocks(h)))


mg.random.seed(0)
model = GPT(len(text.alphabet)).astype(np.float32)
print(f"{mg.count_parameters(model)} parameters")
optimizer = mg.optim.AdamW(model.parameters(), lr=0.003)
rng = np.random.default_rng(0)
for step in range(STEPS + 1):
    rows = rng.integers(0, len(x), BATCH)
    loss = F.cross_entropy(model(x[rows]), y[rows])
    if step % 100 == 0:
        print(f"step {step:4}   loss {loss.item():.3f}")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def write(start, length, temperature=0.6):
    """The start, and what the net makes of it. A low temperature prefers what is likely."""
    ids = text.encode(start)
    with mg.no_grad():
        for _ in range(length):
            scores = model(ids[None, -LENGTH:])[0, -1]
            likely = mg.softmax(scores.astype(np.float64) / temperature).data
            ids = np.append(ids, rng.choice(len(likely), p=likely))
    return text.decode(ids)


print()
print(write("shall i ", 300))
