"""Pictures of what a net has learnt. Each function returns a matplotlib Figure: `figure.savefig("net.png")`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray


def images(
    rows: Array, image: tuple[int, int], titles: Sequence[str] = (), diverging: bool = False, columns: int = 8
) -> Figure:
    """The rows (n, height * width) of an array as pictures of size `image` on a grid, each under its title.

    They share one scale, which with `diverging` has 0 in its middle, as suits weights.

    >>> digits = mg.data.digits()
    >>> len(mg.pictures.images(digits.x[:10], digits.image, digits.y[:10].astype(str)).axes)
    10
    """
    columns = min(columns, len(rows))
    figure, axes = _grid(-(-len(rows) // columns), columns, height=1.3 if len(titles) else 1.05)
    high = np.abs(rows).max()
    style = {"cmap": "RdBu_r", "vmin": -high} if diverging else {"cmap": "gray_r", "vmin": rows.min()}
    for row, axis in zip(rows, axes, strict=False):
        axis.imshow(row.reshape(image), vmax=high, **style)
    for title, axis in zip(titles, axes, strict=False):
        axis.set_title(title, fontsize=8)
    for axis in axes[len(rows) :]:
        axis.remove()
    return figure


def _grid(rows: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes:
        axis.set_axis_off()
    return figure, axes


def boundary(scores: Callable[[Array], Array], x: Array, y: Array, classes: Sequence[str], points: int = 400) -> Figure:
    """The plane coloured by the class that gets the highest score, with the samples x (n, 2) of classes y (n,) on it.

    `scores` takes points (m, 2) and gives (m, classes), as a classifier's logits.

    >>> x, y = mg.data.xor()
    >>> figure = mg.pictures.boundary(lambda p: np.stack([p[:, 0], 1 - p[:, 0]], axis=1), x, y, ("right", "left"))
    >>> figure.axes[0].get_xlabel()
    'x'
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    margin = 0.1 * (x.max(axis=0) - x.min(axis=0))
    (left, bottom), (right, top) = x.min(axis=0) - margin, x.max(axis=0) + margin
    across, up = np.meshgrid(np.linspace(left, right, points), np.linspace(bottom, top, points))
    winner = scores(np.column_stack([across.ravel(), up.ravel()])).argmax(axis=1).reshape(across.shape)

    figure = Figure(figsize=(6, 5), layout="constrained")
    axis = figure.subplots()
    colours = [f"C{label}" for label in range(len(classes))]
    axis.imshow(
        winner, ListedColormap(colours), vmin=0, vmax=len(classes) - 1, alpha=0.25,
        extent=(left, right, bottom, top), origin="lower", aspect="auto",
    )  # fmt: skip
    for label, (name, colour) in enumerate(zip(classes, colours, strict=True)):
        axis.scatter(x[y == label, 0], x[y == label, 1], s=12, color=colour, label=name)
    axis.set(xlabel="x", ylabel="y")
    axis.legend()
    return figure
