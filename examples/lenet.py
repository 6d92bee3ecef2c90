"""LeNet: a small convolutional net reads digits, and shows what its first layer makes of one.

A convolution looks for one pattern everywhere in the picture, so a shifted digit is the same digit to it: its first
layer has 156 parameters, where a linear layer with as many outputs would have 2.7 million. Pooling then keeps the
strongest answer of each 2 x 2 places. The net is that of LeCun, Bottou, Bengio and Haffner, "Gradient-based learning
applied to document recognition", Proceedings of the IEEE 86, 1998, with today's max pooling and rectifiers.

The pictures are the small digits of scikit-learn, enlarged to 28 x 28, or MNIST's from the folder of its files.

    python examples/lenet.py [FOLDER [MNIST]]    the folder for the picture (runs/examples), and that of MNIST's files
"""

import sys
from pathlib import Path

import numpy as np

import minigrad as mg
from minigrad import nn, pictures

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
folder.mkdir(parents=True, exist_ok=True)

if len(sys.argv) > 2:
    train, test = (mg.data.mnist(sys.argv[2], part, np.float32) for part in ("train", "test"))
    (train_x, train_y), (test_x, test_y) = ((part.x.reshape(-1, 1, 28, 28) / 255, part.y) for part in (train, test))
else:
    digits = mg.data.digits()
    small = digits.x.reshape(-1, 1, 8, 8).astype(np.float32) / 16
    large = np.pad(np.kron(small, np.ones((3, 3), np.float32)), ((0, 0), (0, 0), (2, 2), (2, 2)))
    (train_x, train_y), (test_x, test_y) = mg.data.split(large, digits.y, seed=0, stratify=True)

mg.random.seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),  # 28 x 28 -> 24 x 24 -> 12 x 12
    nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),  # -> 8 x 8 -> 4 x 4
    nn.Flatten(),
    nn.Linear(256, 120), nn.ReLU(),
    nn.Linear(120, 84), nn.ReLU(),
    nn.Linear(84, 10),
).astype(np.float32)  # fmt: skip
print(model.summary((64, 1, 28, 28)))
history = mg.fit(
    model,
    nn.CrossEntropyLoss(),
    (train_x, train_y),
    mg.optim.SGD(model.parameters(), lr=0.02, momentum=0.9),
    epochs=15,
    batch_size=64,
    validation=(test_x, test_y),
    metric="accuracy",
    seed=0,
)
print(history)
print(f"held-out digits read right: {history.metric[-1]:.1%}")

chosen = test_x[[np.flatnonzero(test_y == digit)[0] for digit in range(4)]]
maps = model[:2](chosen).data  # what the first convolution and the rectifier make of four digits
maps = maps / (maps.max(axis=(0, 2, 3), keepdims=True) + 1e-6)
rows = np.concatenate([np.concatenate([chosen[i, :, 2:26, 2:26], maps[i]]) for i in range(4)])
titles = [title for _ in range(4) for title in ("the digit", *(f"map {k}" for k in range(6)))]
pictures.images(rows.reshape(len(rows), -1), (24, 24), titles, columns=7).savefig(folder / "lenet.png", dpi=120)
print(f"saved {folder / 'lenet.png'}")
