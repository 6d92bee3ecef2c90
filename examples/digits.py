"""Digits: a net with one hidden layer reads handwriting, and shows what it got wrong.

The input is a row of 64 grey values, the output a score for each of the ten digits. That is all a net needs to
read nineteen digits of twenty: no picture is known to it as a picture. (`examples/lenet.py` sees in two dimensions.)

    python examples/digits.py [FOLDER]        the folder for the picture, runs/examples if none is given
"""

import sys
from pathlib import Path

import numpy as np

import minigrad as mg
from minigrad import pictures

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
folder.mkdir(parents=True, exist_ok=True)

digits = mg.data.digits()
x = (digits.x / 16).astype(np.float32)
train, (test_x, test_y) = mg.data.split(x, digits.y, test=0.2, seed=0, stratify=True)

mg.random.seed(0)
model = mg.nn.Sequential(mg.nn.Linear(64, 64), mg.nn.ReLU(), mg.nn.Linear(64, 10)).astype(np.float32)
history = mg.fit(
    model,
    mg.nn.CrossEntropyLoss(),  # takes scores: softmax is part of it
    train,
    mg.optim.Adam(model.parameters(), lr=0.003),
    epochs=30,
    batch_size=32,
    validation=(test_x, test_y),
    metric="accuracy",
    seed=0,
)
print(history)

answer = model(test_x).argmax(axis=1)
wrong = np.flatnonzero(answer != test_y)
print(f"held-out digits read right: {history.metric[-1]:.1%}; the picture shows the {len(wrong)} others")
titles = [f"{test_y[i]} read as {answer[i]}" for i in wrong[:32]]
pictures.images(test_x[wrong[:32]], digits.image, titles).savefig(folder / "digits.png", dpi=120)
print(f"saved {folder / 'digits.png'}")
