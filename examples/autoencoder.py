"""An autoencoder: digits squeezed through two numbers, and the map of digits that comes of it.

The encoder makes two numbers of a picture, the decoder makes a picture of two numbers, and both learn to give the first
picture back. Nobody tells them what the digits are, and yet equal ones come to lie together: what is alike is
cheap to describe alike (Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks",
Science 313, 2006). The picture shows what the decoder draws all over the square of the two numbers.

    python examples/autoencoder.py [FOLDER]        the folder for the picture, runs/examples if none is given
"""

import sys
from pathlib import Path

import numpy as np

import minigrad as mg
from minigrad import nn, pictures

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
folder.mkdir(parents=True, exist_ok=True)

digits = mg.data.digits()
x = (digits.x / 16).astype(np.float32)

mg.random.seed(0)
encoder = nn.Sequential(
    nn.Linear(64, 64), nn.Tanh(),
    nn.Linear(64, 32), nn.Tanh(),
    nn.Linear(32, 2), nn.Tanh(),
)  # fmt: skip
decoder = nn.Sequential(
    nn.Linear(2, 32), nn.Tanh(),
    nn.Linear(32, 64), nn.Tanh(),
    nn.Linear(64, 64), nn.Sigmoid(),
)  # fmt: skip
model = nn.Sequential(encoder, decoder).astype(np.float32)
history = mg.fit(
    model, nn.MSELoss(), (x, x), mg.optim.Adam(model.parameters(), lr=0.003), epochs=100, batch_size=64, seed=0
)
print(history)

# How far the two numbers tell the digits apart: is a digit's nearest neighbour in the plane of the same kind?
codes = encoder(x).data
distance = np.linalg.norm(codes[:, None] - codes, axis=-1)
np.fill_diagonal(distance, np.inf)
same = digits.y[distance.argmin(axis=1)] == digits.y
print(f"error {history.loss[-1]:.4f} (always the mean picture: {x.var(axis=0).mean():.4f}); "
      f"nearest neighbours of the same digit: {same.mean():.0%}")  # fmt: skip

across, up = np.meshgrid(np.linspace(-1, 1, 16), np.linspace(1, -1, 16))
drawn = decoder(np.stack([across.ravel(), up.ravel()], axis=1).astype(np.float32)).data
pictures.images(drawn, digits.image, columns=16).savefig(folder / "autoencoder.png", dpi=120)
print(f"saved {folder / 'autoencoder.png'}")
