"""A character LSTM: a recurrent net reads sonnets letter by letter, and then writes some lines of its own.

After each character the net says how likely each character is to come next; what it has read so far is only in its
state (h, c), 128 numbers that it carries from one character to the next. To write, one draws from what it says, feeds
the drawn character back, and so on. Ten thousand characters are little: it learns spelling, line breaks and the sound
of the sonnets, and no sense.
"""

import numpy as np

import minigrad as mg
from minigrad import nn

LENGTH, BATCH, STEPS = 32, 16, 400

text = mg.data.characters(mg.data.sonnets().lower())
x, y = mg.data.windows(text.ids, LENGTH, step=3)


class Writer(nn.Module):
    """Scores for the next character, after each of the given ones; and the state after the last."""

    def __init__(self, alphabet, width=64):
        self.embedding = nn.Embedding(alphabet, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, alphabet)

    def forward(self, ids, state=None):
        h, state = self.lstm(self.embedding(ids), state)
        return self.head(h), state


mg.random.seed(0)
model = Writer(len(text.alphabet)).astype(np.float32)
optimizer = mg.optim.RMSprop(model.parameters(), lr=0.003)
rng = np.random.default_rng(0)
for step in range(STEPS + 1):
    rows = rng.integers(0, len(x), BATCH)
    scores, _ = model(x[rows])
    loss = nn.functional.cross_entropy(scores, y[rows])
    if step % 100 == 0:
        print(f"step {step:4}   loss {loss.item():.3f}")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def write(start, length, temperature=0.6):
    """The start, and what the net makes of it. A low temperature prefers what is likely."""
    ids, state = text.encode(start), None
    written = start
    with mg.no_grad():
        for _ in range(length):
            scores, state = model(ids[None], state)
            likely = mg.softmax(scores[0, -1].astype(np.float64) / temperature).data
            ids = rng.choice(len(likely), size=1, p=likely)
            written += text.decode(ids)
    return written


print()
print(write("shall i ", 300))
