"""Two moons: a net learns a curved boundary between two classes, and draws it.

The net gives one score to a point of the plane; its sign is the class, 1 or -1. The hinge loss, max(0, 1 - y *
score), asks for a score of at least 1 on the right side, and a small penalty on the squares of the parameters keeps
the boundary smooth. Half of the points are held out, and the accuracy on these is what counts: the others, a net can
learn by heart.

    python examples/moons.py [FOLDER]        the folder for the picture, runs/examples if none is given
"""

import sys
from pathlib import Path

import numpy as np

import minigrad as mg
from minigrad import pictures

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
folder.mkdir(parents=True, exist_ok=True)

moons = mg.data.moons(600, noise=0.2, seed=0)
sides = 2.0 * moons.y[:, None] - 1  # -1 or 1, one column
train, test = mg.data.split(moons.x, sides, test=0.5, seed=0)

mg.random.seed(0)
model = mg.nn.Sequential(
    mg.nn.Linear(2, 16), mg.nn.ReLU(),
    mg.nn.Linear(16, 16), mg.nn.ReLU(),
    mg.nn.Linear(16, 1),
)  # fmt: skip


def loss_fn(score, side):
    penalty = sum(mg.vdot(p, p) for p in model.parameters())
    return mg.nn.functional.hinge_loss(score, side) + 1e-4 * penalty


history = mg.fit(
    model,
    loss_fn,
    train,
    mg.optim.SGD(model.parameters(), lr=0.5),
    epochs=200,
    batch_size=100,
    validation=test,
    metric="accuracy",
    seed=0,
)
print(history)
print(f"held-out points on the right side: {history.metric[-1]:.1%}")


def scores(points):
    """For both classes: that of the second is the net's score."""
    score = model(points).data
    return np.hstack([-score, score])


figure = pictures.boundary(scores, moons.x, moons.y, moons.classes)
figure.savefig(folder / "moons.png", dpi=120)
print(f"saved {folder / 'moons.png'}")
