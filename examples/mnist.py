"""A net of MNIST's size, 784-128-128-10, and what its first layer looks for.

With the folder of MNIST's four files it learns those 60,000 pictures of 28 x 28 pixels; without, the 1797 small
digits that come with scikit-learn, enlarged to that size. Each unit of the first layer has a weight for every pixel:
drawn as a picture, red where ink speaks for the unit and blue where it speaks against, it shows the stroke that the
unit looks for.

    python examples/mnist.py [FOLDER [MNIST]]    the folder for the picture (runs/examples), and that of MNIST's files
"""

import sys
from pathlib import Path

import numpy as np

import minigrad as mg
from minigrad import pictures

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
folder.mkdir(parents=True, exist_ok=True)

if len(sys.argv) > 2:
    train, test = (mg.data.mnist(sys.argv[2], part, np.float32) for part in ("train", "test"))
    (train_x, train_y), (test_x, test_y) = train, test
    scale, epochs = 255, 5
else:
    digits = mg.data.digits()
    small = digits.x.reshape(-1, 8, 8).astype(np.float32)
    large = np.pad(np.kron(small, np.ones((3, 3), np.float32)), ((0, 0), (2, 2), (2, 2)))
    (train_x, train_y), (test_x, test_y) = mg.data.split(large.reshape(-1, 784), digits.y, seed=0, stratify=True)
    scale, epochs = 16, 30

mg.random.seed(0)
model = mg.nn.Sequential(
    mg.nn.Linear(784, 128), mg.nn.Tanh(),
    mg.nn.Linear(128, 128), mg.nn.Tanh(),
    mg.nn.Linear(128, 10),
).astype(np.float32)  # fmt: skip
history = mg.fit(
    model,
    mg.nn.CrossEntropyLoss(),
    (train_x / scale, train_y),
    mg.optim.Adam(model.parameters(), lr=1e-3),
    epochs=epochs,
    batch_size=128,
    validation=(test_x / scale, test_y),
    metric="accuracy",
    seed=0,
)
print(history)
print(f"held-out digits read right: {history.metric[-1]:.1%}")

weights = model[0].weight.data
strongest = np.argsort(-np.linalg.norm(weights, axis=1))[:32]
pictures.images(weights[strongest], (28, 28), diverging=True).savefig(folder / "mnist.png", dpi=120)
print(f"saved {folder / 'mnist.png'}")
