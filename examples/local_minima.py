"""Local minima: gradient descent walks downhill, and stops in the first hollow.

f(x) = x^4 - 3 x^2 + x has two hollows, and only the left one is the global minimum. Run on a symbol, the same
backpropagation that gradient descent uses writes the derivative as a formula; its roots are the points where
descent can come to rest, and the sign of the second derivative tells the hollows from the hilltop between them.

Which hollow is reached depends on the start. Momentum can carry a descent over the hill, but nothing makes sure that
the next hollow is the deeper one. The usual remedy is plain: start from several points, and keep the best.

    python examples/local_minima.py [FOLDER]        the folder for the picture, runs/examples if none is given
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sympy

import minigrad as mg

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
folder.mkdir(parents=True, exist_ok=True)


def f(x):
    return x**4 - 3 * x**2 + x


slope = mg.grad(f)(mg.symbols("x")).item()
curvature = mg.grad(mg.grad(f))
print(f"f'(x) = {sympy.expand(slope)}, which is zero at")
rests = [float(root) for root in sympy.Poly(slope).nroots()]
for rest in rests:
    kind = "minimum" if curvature(rest).item() > 0 else "maximum"
    print(f"  x = {rest:7.4f}   f = {f(rest):7.4f}   f'' = {curvature(rest).item():7.3f}   {kind}")
best = min(rests, key=f)


def descend(start, momentum):
    """All points from the start on, one for each step."""
    x = mg.tensor(start, requires_grad=True)
    optimizer = mg.optim.SGD([x], lr=0.01, momentum=momentum)
    path = [start]
    for _ in range(300):
        optimizer.zero_grad()
        f(x).backward()
        optimizer.step()
        path.append(x.item())
    return np.array(path)


figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
across = np.linspace(-2.1, 2.1, 200)
for axis, momentum in zip(axes, (0.0, 0.9), strict=True):
    print(f"\ngradient descent with momentum {momentum:g}")
    axis.plot(across, f(across), color="0.7")
    for start in (-2.0, 0.0, 0.5, 2.0):
        path = descend(start, momentum)
        verdict = "the global minimum" if abs(path[-1] - best) < 1e-3 else "a local minimum"
        print(f"  from {start:4} to {path[-1]:7.4f}, {verdict}")
        axis.plot(path, f(path), ".-", markersize=4, linewidth=0.7, label=f"from {start}")
    axis.set(title=f"momentum {momentum:g}", xlabel="x")
axes[0].set_ylabel("f(x)")
axes[0].legend()
figure.savefig(folder / "local_minima.png", dpi=120)
print(f"\nsaved {folder / 'local_minima.png'}")
