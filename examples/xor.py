"""XOR: the four points that no straight line separates, learnt by a net with one hidden layer.

A training step is four lines: forget the old gradients, compute the loss, send its gradient back through the net,
and let the optimizer move the parameters. Everything else in this library makes these four lines fast, or checks them.
"""

import minigrad as mg

x, y = mg.data.xor()  # the corners of the unit square, and whether their two coordinates differ
mg.random.seed(0)
model = mg.nn.Sequential(mg.nn.Linear(2, 8), mg.nn.Tanh(), mg.nn.Linear(8, 2))
optimizer = mg.optim.Adam(model.parameters(), lr=0.05)

for step in range(101):
    optimizer.zero_grad()
    loss = mg.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(f"step {step:3}   loss {loss.item():.4f}")

for (a, b), answer in zip(x.astype(int), model(x).argmax(axis=1), strict=True):
    print(f"{a} xor {b} = {answer}")
