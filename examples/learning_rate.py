"""The learning rate: too small, right, too large.

A bowl. The squared error of a linear model is a bowl, and its steepest curvature L is the largest eigenvalue of its
Hessian. Along that direction a step of gradient descent multiplies the distance to the minimum by 1 - lr L. So descent
converges for every learning rate below 2 / L. Above it each step takes that direction farther from the minimum, until
the loss overflows; `fit` stops there, before the parameters are lost. Far below 2 / L it converges too, after very many
steps.

A plateau. One neuron with a sigmoid starts where the sigmoid is nearly flat, on the wrong side. Its gradient is tiny,
and a small learning rate makes hardly any headway. What is worse: nothing seems to change any more, so a rule that
stops at convergence takes the plateau for the minimum.

    python examples/learning_rate.py [FOLDER]        the folder for the picture, runs/examples if none is given
"""

import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minigrad as mg

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
folder.mkdir(parents=True, exist_ok=True)


EPOCHS = 1000
warnings.simplefilter("ignore", mg.MinigradWarning)  # of the divergence, which the report tells


def train(model, samples, lr):
    """Batch gradient descent, until the loss no longer changes."""
    optimizer = mg.optim.SGD(model.parameters(), lr=lr)
    stop = mg.Convergence(tol=1e-3, patience=5)
    return mg.fit(model, mg.nn.MSELoss(), samples, optimizer, epochs=EPOCHS, stop=stop, progress=False)


def report(verdict, lr, history):
    loss, steps = history.loss[-1], len(history.loss)
    print(f"  {verdict:9}  lr {lr:<8.3g}  loss {loss:<8.3g} after {steps:4} steps; {history.stopped}")


rng = np.random.default_rng(0)
x = rng.normal(size=(100, 3)) * [1, 2, 3]  # features of different scales: a long and narrow bowl
y = x @ [[1.0], [-2.0], [0.5]] + 0.1 * rng.normal(size=(100, 1))
hessian = mg.hessian(lambda w: mg.nn.functional.mse_loss(x @ w, y))(np.zeros((3, 1)))
steepest = np.linalg.eigvalsh(hessian.data.reshape(3, 3)).max()
print(f"A bowl: L = {steepest:.1f}, so the learning rate must stay below 2 / L = {2 / steepest:.3f}")

figure, (bowl, plateau) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for verdict, lr in {"too small": 0.01 / steepest, "right": 1 / steepest, "too large": 2.5 / steepest}.items():
    model = mg.nn.Linear(3, 1, bias=False)
    mg.nn.init.zeros_(model.weight)
    history = train(model, (x, y), lr)
    report(verdict, lr, history)
    bowl.plot(history.loss[:100], label=f"{verdict}, lr = {lr:.3g}")
bowl.set(title="a bowl", xlabel="step", ylabel="loss", yscale="log", ylim=(1e-3, 1e6))
bowl.legend()

print("A plateau: a neuron that says 1, and is to say 0")
for verdict, lr in {"too small": 0.02, "right": 5.0}.items():
    model = mg.nn.Sequential(mg.nn.Linear(1, 1), mg.nn.Sigmoid())
    mg.nn.init.constant_(model[0].weight, 2.0)
    mg.nn.init.constant_(model[0].bias, 2.0)
    history = train(model, (np.ones((1, 1)), np.zeros((1, 1))), lr)
    report(verdict, lr, history)
    plateau.plot(history.loss[:30], "o-", markersize=3, label=f"{verdict}, lr = {lr:.3g}")
plateau.set(title="a plateau", xlabel="step")
plateau.legend()
figure.savefig(folder / "learning_rate.png", dpi=120)
print(f"saved {folder / 'learning_rate.png'}")
