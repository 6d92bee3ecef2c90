"""Optimizers side by side on three test functions of the plane, and which minimum each reaches.

    Rosenbrock   a curved valley: its floor is found at once, and the way along it is long. Minimum (1, 1).
    Beale        a plateau with a sharp hollow. Minimum (3, 0.5).
    Himmelblau   four minima, all of value 0: the start decides which one is reached, and so does the optimizer.

Every optimizer takes the same number of steps, at one fixed learning rate for each function, chosen by hand. So this is
no race: it shows how each one moves. Momentum gathers speed along a valley and overshoots in its bends; AdaGrad's
steps shrink with all gradients that it has met; AdaDelta has to find its pace first; the steps of RMSprop and Adam
hardly depend on how steep the slope is.

    python examples/optimizers.py [FOLDER]        the folder for the picture, runs/examples if none is given
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minigrad as mg

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
folder.mkdir(parents=True, exist_ok=True)

STEPS = 1000


def rosenbrock(x, y):
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def beale(x, y):
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def himmelblau(x, y):
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


# Each with its minima, the starts, and the part of the plane to draw.
FUNCTIONS = {
    rosenbrock: ([(1, 1)], [(-1.2, 1)], (-2, 2, -1, 2)),
    beale: ([(3, 0.5)], [(1, 1.5)], (-0.5, 4.5, -2.5, 2)),
    himmelblau: (
        [(3, 2), (-2.805118, 3.131313), (-3.779310, -3.283186), (3.584428, -1.848127)],
        [(0, 0), (-1, 0.5), (-0.3, -1), (1, -1)],
        (-5, 5, -5, 5),
    ),
}
OPTIMIZERS = {
    "gradient descent": (mg.optim.SGD, {}, {rosenbrock: 1e-3, beale: 1e-2, himmelblau: 1e-2}),
    "momentum": (mg.optim.SGD, {"momentum": 0.9}, {rosenbrock: 1e-3, beale: 5e-3, himmelblau: 5e-3}),
    "Nesterov": (mg.optim.SGD, {"momentum": 0.9, "nesterov": True}, {rosenbrock: 1e-3, beale: 5e-3, himmelblau: 5e-3}),
    "AdaGrad": (mg.optim.Adagrad, {}, {rosenbrock: 0.5, beale: 0.5, himmelblau: 0.5}),
    "AdaDelta": (mg.optim.Adadelta, {}, {rosenbrock: 1.0, beale: 1.0, himmelblau: 1.0}),
    "RMSprop": (mg.optim.RMSprop, {}, {rosenbrock: 1e-2, beale: 1e-2, himmelblau: 1e-2}),
    "Adam": (mg.optim.Adam, {}, {rosenbrock: 5e-2, beale: 5e-2, himmelblau: 5e-2}),
}


def descend(function, start, optimizer, options, lr):
    """All points from the start on, one for each step."""
    x, y = (mg.tensor(float(c), requires_grad=True) for c in start)
    optimizer = optimizer([x, y], lr=lr, **options)
    path = [start]
    for _ in range(STEPS):
        optimizer.zero_grad()
        function(x, y).backward()
        optimizer.step()
        path.append((x.item(), y.item()))
    return np.array(path)


def reached(point, minima):
    """The minimum that the point is in the hollow of, or None where it is still on its way."""
    nearest = min(minima, key=lambda minimum: np.linalg.norm(point - minimum))
    return nearest if np.linalg.norm(point - nearest) < 0.1 else None


figure, axes = plt.subplots(2, 3, figsize=(14, 9), layout="constrained")
panels = [(function, start) for function, (_, starts, _) in FUNCTIONS.items() for start in starts]
for axis, (function, start) in zip(axes.flat, panels, strict=True):
    minima, _, box = FUNCTIONS[function]
    print(f"\n{function.__name__} from {start}, {STEPS} steps")
    across, up = np.meshgrid(np.linspace(*box[:2], 200), np.linspace(*box[2:], 200))
    axis.contour(across, up, np.log1p(function(across, up)), levels=20, colors="0.85", zorder=0)
    for name, (optimizer, options, lrs) in OPTIMIZERS.items():
        path = descend(function, start, optimizer, options, lrs[function])
        goal = reached(path[-1], minima)
        where = f"reaches ({goal[0]:.3g}, {goal[1]:.3g})" if goal else f"is at ({path[-1][0]:.3g}, {path[-1][1]:.3g})"
        print(f"  {name:17} lr {lrs[function]:<6g} {where:24} f = {function(*path[-1]):.1e}")
        axis.plot(*path.T, linewidth=1, label=name)
    axis.plot(*np.transpose(minima), "k*", markersize=9)
    axis.plot(*start, "ko", markersize=4)
    axis.set(title=f"{function.__name__} from {start}", xlim=box[:2], ylim=box[2:])
axes[0, 0].legend(fontsize=8)
figure.savefig(folder / "optimizers.png", dpi=120)
print(f"\nsaved {folder / 'optimizers.png'}")
