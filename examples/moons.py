"""Two moons: a net learns a curved boundary between two classes, and draws it.

Half of the points are held out, and the accuracy on these is what counts: the others, a net can learn by heart. (Watch
the two losses in the progress bar: one goes on falling when the other has begun to rise.) The picture shows the plane
in the colours of the classes that the net gives to its points.

    python examples/moons.py [FOLDER]        the folder for the picture, runs/examples if none is given
"""

import sys
from pathlib import Path

import minigrad as mg
from minigrad import pictures

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
folder.mkdir(parents=True, exist_ok=True)

moons = mg.data.moons(600, noise=0.2, seed=0)
train, test = mg.data.split(moons.x, moons.y, test=0.5, stratify=True)

mg.random.seed(0)
model = mg.nn.Sequential(mg.nn.Linear(2, 16), mg.nn.Tanh(), mg.nn.Linear(16, 16), mg.nn.Tanh(), mg.nn.Linear(16, 2))
history = mg.fit(
    model,
    mg.nn.CrossEntropyLoss(),  # takes scores: softmax is part of it
    train,
    mg.optim.Adam(model.parameters(), lr=0.01),
    epochs=60,
    batch_size=20,
    validation=test,
    metric="accuracy",
    seed=0,
)
print(history)
print(f"held-out points on the right side: {history.metric[-1]:.1%}")

figure = pictures.boundary(lambda points: model(points).data, moons.x, moons.y, moons.classes)
figure.savefig(folder / "moons.png", dpi=120)
print(f"saved {folder / 'moons.png'}")
