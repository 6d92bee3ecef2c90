"""Linear regression: three kinds of gradient descent, each compared with the exact answer.

The squared error of a straight line is a bowl, and its lowest point is known in closed form (np.linalg.lstsq finds it).
So one can see how near gradient descent comes, and on what path. The rule is the same for all three kinds,

    w  <-  w - lr * gradient,

and only the number of samples that each gradient is the mean of differs: all of them (batch), some (mini-batch) or one
(stochastic). With few, a step is cheap and its direction rough; in an epoch one takes many. A rough direction is no
longer right at the bottom, where a fixed learning rate keeps the parameters trembling: hence the smaller and smaller
steps here (Robbins and Monro, "A stochastic approximation method", Annals of Mathematical Statistics 22, 1951).

`mg.fit(..., batch_size=None | n | 1)` is this loop with everything around it.

    python examples/linear_regression.py [FOLDER]        the folder for the picture, runs/examples if none is given
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minigrad as mg

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
folder.mkdir(parents=True, exist_ok=True)

EPOCHS = 30
rng = np.random.default_rng(0)
x = rng.uniform(-1, 2, (100, 1))
y = 2 * x - 1 + 0.5 * rng.normal(size=x.shape)
exact = np.linalg.lstsq(np.hstack([x, np.ones_like(x)]), y, rcond=None)[0].ravel()


def descend(batch_size):
    """The path of slope and intercept, from (0, 0), over all steps of all epochs."""
    model = mg.nn.Linear(1, 1)
    mg.nn.init.zeros_(model.weight)
    mg.nn.init.zeros_(model.bias)
    optimizer = mg.optim.SGD(model.parameters(), lr=0.3)
    rng = np.random.default_rng(0)
    path = [(0.0, 0.0)]
    for epoch in range(EPOCHS):
        if batch_size is not None:
            optimizer.param_groups[0]["lr"] = 0.3 / (1 + epoch)
        for batch_x, batch_y in mg.data.batches(x, y, batch_size, seed=rng):
            optimizer.zero_grad()
            mg.nn.functional.mse_loss(model(batch_x), batch_y).backward()
            optimizer.step()
            path.append((model.weight.item(), model.bias.item()))
    return np.array(path)


paths = {"batch": descend(None), "mini-batch of 10": descend(10), "stochastic": descend(1)}

print(f"{EPOCHS} epochs of          steps    slope  intercept   off by")
for kind, path in paths.items():
    (slope, intercept), off = path[-1], np.linalg.norm(path[-1] - exact)
    print(f"{kind:20} {len(path) - 1:6}  {slope:7.4f}    {intercept:7.4f}  {off:.1e}")
print(f"{'closed form':20}         {exact[0]:7.4f}    {exact[1]:7.4f}")

slopes, intercepts = np.meshgrid(np.linspace(-1, 5, 120), np.linspace(-3, 1.5, 120))
errors = np.mean((x.ravel() * slopes[..., None] + intercepts[..., None] - y.ravel()) ** 2, axis=-1)
figure, axes = plt.subplots(1, 3, figsize=(12, 4), sharex=True, sharey=True, layout="constrained")
for axis, (kind, path) in zip(axes, paths.items(), strict=True):
    axis.contour(slopes, intercepts, errors, levels=np.geomspace(0.3, 30, 14), colors="0.8")
    axis.plot(*path.T, ".-", markersize=3, linewidth=0.7, label=f"{len(path) - 1} steps")
    axis.plot(*exact, "k*", markersize=10, label="closed form")
    axis.set(title=kind, xlabel="slope")
    axis.legend()
axes[0].set_ylabel("intercept")
figure.savefig(folder / "linear_regression.png", dpi=120)
print(f"saved {folder / 'linear_regression.png'}")
