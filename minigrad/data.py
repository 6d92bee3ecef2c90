"""Data sets, real and made, and what one does with them before training: split, standardise, batch.

Real ones come with scikit-learn and need no network; `mnist` reads the files it is pointed to; the made ones come from
a few lines of NumPy and a seed; a text comes with the library. Values are those of the source, unscaled.
"""

from __future__ import annotations

import gzip
import operator
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import random
from .names import known
from .tensor import Tensor

Array = np.ndarray
Seed = int | np.random.Generator


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs `x` (n, features), targets `y`, and what they mean; unpacks as `x, y = dataset`.

    `y` is (n,) int64 class labels, or (n, 1) values where there are no classes. `image` is the height and width
    where every row of `x` is a picture.

    >>> iris = mg.data.iris()
    >>> iris.x.shape, iris.y.shape, iris.classes
    ((150, 4), (150,), ('setosa', 'versicolor', 'virginica'))
    >>> x, y = iris
    """

    x: Array
    y: Array
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    image: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Array]:
        return iter((self.x, self.y))

    def __repr__(self) -> str:
        target = f"classes={', '.join(self.classes)}" if self.classes else f"targets {self.y.shape}"
        return f"Dataset(x {self.x.shape} {self.x.dtype}, {target})"


# Real data, shipped with scikit-learn


def digits() -> Dataset:
    """The 1797 handwritten digits, 8 x 8 pixels from 0 to 16, of UCI's optical recognition test set.

    >>> mg.data.digits()
    Dataset(x (1797, 64) float64, classes=0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
    """
    return _from_sklearn("digits", image=(8, 8))


def iris() -> Dataset:
    """Fisher's 150 irises: four measurements in centimetres, three species.

    >>> mg.data.iris().features[0]
    'sepal length (cm)'
    """
    return _from_sklearn("iris")


def wine() -> Dataset:
    """178 wines of three growers by 13 chemical measurements, of very different scales.

    >>> mg.data.wine()
    Dataset(x (178, 13) float64, classes=class_0, class_1, class_2)
    """
    return _from_sklearn("wine")


def breast_cancer() -> Dataset:
    """569 tumours of the Wisconsin diagnostic set, malignant or benign, by 30 measurements of cell nuclei.

    >>> mg.data.breast_cancer()
    Dataset(x (569, 30) float64, classes=malignant, benign)
    """
    return _from_sklearn("breast_cancer")


def diabetes() -> Dataset:
    """442 patients: ten measurements and the progression of the disease after a year, a regression.

    >>> mg.data.diabetes()
    Dataset(x (442, 10) float64, targets (442, 1))
    """
    return _from_sklearn("diabetes")


def _from_sklearn(name: str, image: tuple[int, int] | None = None) -> Dataset:
    try:
        import sklearn.datasets
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"mg.data.{name} comes with scikit-learn, which is not installed: pip install 'minigrad[data]'"
        ) from None
    raw = getattr(sklearn.datasets, f"load_{name}")()
    features = tuple(str(feature) for feature in raw.feature_names)
    if "target_names" not in raw:
        return Dataset(raw.data, raw.target.reshape(-1, 1), features=features, image=image)
    classes = tuple(str(label) for label in raw.target_names)
    return Dataset(raw.data, raw.target.astype(np.int64), classes, features, image)


# Made data, in the plane


def moons(n: int = 500, noise: float = 0.1, seed: Seed = 0) -> Dataset:
    """Two interleaved half circles of radius 1, the points of each spread by normal noise.

    >>> mg.data.moons(200, noise=0.05, seed=1)
    Dataset(x (200, 2) float64, classes=upper, lower)
    """
    rng, y = _labels("moons", n, 2, seed)
    angle = rng.uniform(0, np.pi, n)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x = np.where(y[:, None] == 0, upper, [1, 0.5] - upper)
    return _plane(x, y, noise, rng, ("upper", "lower"))


def circles(n: int = 500, noise: float = 0.1, factor: float = 0.5, seed: Seed = 0) -> Dataset:
    """A circle of radius 1 around one of radius `factor`, the points of each spread by normal noise.

    >>> mg.data.circles(200)
    Dataset(x (200, 2) float64, classes=outer, inner)
    """
    rng, y = _labels("circles", n, 2, seed)
    angle = rng.uniform(0, 2 * np.pi, n)
    radius = np.where(y == 0, 1, factor)
    return _plane(_polar(radius, angle), y, noise, rng, ("outer", "inner"))


def spirals(n: int = 500, noise: float = 0.02, arms: int = 3, turns: float = 0.75, seed: Seed = 0) -> Dataset:
    """Interleaved spiral arms from the centre to radius 1, each with `turns` turns and a class of its own.

    >>> mg.data.spirals(300)
    Dataset(x (300, 2) float64, classes=0, 1, 2)
    """
    rng, y = _labels("spirals", n, arms, seed)
    radius = rng.uniform(0.05, 1, n)
    angle = 2 * np.pi * (turns * radius + y / arms)
    return _plane(_polar(radius, angle), y, noise, rng, tuple(map(str, range(arms))))


def xor(n: int = 4, noise: float = 0.0, seed: Seed = 0) -> Dataset:
    """The corners of the unit square, in turn, labelled by the exclusive or of their coordinates.

    >>> x, y = mg.data.xor()
    >>> np.column_stack([x, y]).astype(int).tolist()
    [[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]
    """
    rng, corner = _labels("xor", n, 4, seed)
    a, b = corner // 2, corner % 2
    return _plane(np.stack([a, b], axis=1).astype(float), a ^ b, noise, rng, ("equal", "different"))


def _labels(name: str, n: int, classes: int, seed: Seed) -> tuple[np.random.Generator, Array]:
    """The generator of a seed, and n labels that go round the classes."""
    if n < classes:
        raise ValueError(f"{name}: n={n} is too few; at least {classes} points are needed, one for each kind")
    return np.random.default_rng(seed), np.arange(n) % classes


def _polar(radius: Array, angle: Array) -> Array:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _plane(x: Array, y: Array, noise: float, rng: np.random.Generator, classes: tuple[str, ...]) -> Dataset:
    return Dataset(x + noise * rng.normal(size=x.shape), y.astype(np.int64), classes, ("x", "y"))


# MNIST, and anything else in its format


def mnist(path: str | Path, part: str = "train", dtype: Any = np.float64) -> Dataset:
    """MNIST (or Fashion-MNIST ...) from its IDX files in the folder `path`, gzipped or not; `part` is train or test.

    The files are `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, for the test `t10k-...`, each also with the
    end `.gz`. Pixels are 0 to 255. Raises FileNotFoundError for a missing file, ValueError for one that is not what
    its header says. Format: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", 1998.
    """
    prefixes = {"train": "train", "test": "t10k"}
    prefix = prefixes[known("part", part, prefixes)]
    images_file = _find_idx(Path(path), f"{prefix}-images", "idx3-ubyte")
    labels_file = _find_idx(Path(path), f"{prefix}-labels", "idx1-ubyte")
    images, labels = _read_idx(images_file, ndim=3), _read_idx(labels_file, ndim=1)
    if len(images) != len(labels):
        raise ValueError(f"mnist: {images_file} holds {len(images)} images, but {labels_file} {len(labels)} labels")
    if labels.size and labels.max() > 9:
        raise ValueError(f"mnist: {labels_file} holds the label {labels.max()}; labels are 0 to 9")
    count, height, width = images.shape
    classes = tuple(map(str, range(10)))
    return Dataset(images.reshape(count, -1).astype(dtype), labels.astype(np.int64), classes, image=(height, width))


# Text, for models that write the next character


class Characters(NamedTuple):
    """A text as numbers: `ids` (n,) int64 are places in `alphabet`, the text's own characters in order."""

    ids: Array
    alphabet: str

    def encode(self, text: str) -> Array:
        """The numbers of another text. Raises ValueError for a character that is not in the alphabet."""
        unknown = sorted(set(text) - set(self.alphabet))
        if unknown:
            raise ValueError(f"encode: the alphabet {self.alphabet!r} lacks {', '.join(map(repr, unknown))}")
        return np.array([self.alphabet.index(character) for character in text], np.int64)

    def decode(self, ids: Array) -> str:
        """The text of these numbers."""
        return "".join(self.alphabet[i] for i in np.asarray(ids).ravel())


def characters(text: str) -> Characters:
    """A text as numbers, one for each character. Raises TypeError for what is no text, ValueError for an empty one.

    >>> mg.data.characters("hello")
    Characters(ids=array([1, 0, 2, 2, 3]), alphabet='ehlo')
    """
    if not isinstance(text, str):
        raise TypeError(f"characters: a text is needed, not {type(text).__name__}; open(path).read() gives a file's")
    if not text:
        raise ValueError("characters: the text is empty")
    alphabet = "".join(sorted(set(text)))
    places = {character: i for i, character in enumerate(alphabet)}
    return Characters(np.array([places[character] for character in text], np.int64), alphabet)


def windows(series: Array, length: int, step: int | None = None) -> Dataset:
    """Pieces of a series and, as targets, what follows each of their elements: y[i, j] comes right after x[i, j].

    The pieces (n, length, ...) begin `step` elements apart (`length`, if None, so that each element is in one piece).
    Raises ValueError for a series too short for one piece.

    >>> x, y = mg.data.windows(np.arange(7), 3)
    >>> x.tolist(), y.tolist()
    ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """
    series = np.asarray(series)
    step = length if step is None else step
    if length < 1 or step < 1 or not series.ndim:
        raise ValueError(f"windows: length {length} and step {step} should be 1 or more, and the series have an axis")
    starts = np.arange(0, len(series) - length, step)
    if not len(starts):
        raise ValueError(f"windows: {len(series)} elements hold no piece of {length} and the element that follows it")
    places = starts[:, None] + np.arange(length)
    return Dataset(series[places], series[places + 1])


def sonnets() -> str:
    """Sixteen of Shakespeare's sonnets, of 1609, in modern spelling and with a blank line between two.

    >>> mg.data.sonnets().splitlines()[0]
    "Shall I compare thee to a summer's day?"
    """
    return (Path(__file__).parent / "texts" / "sonnets.txt").read_text(encoding="utf-8")


def _find_idx(folder: Path, stem: str, kind: str) -> Path:
    names = [f"{stem}{joint}{kind}{end}" for joint in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    if not folder.is_dir():
        raise FileNotFoundError(f"mnist: there is no folder {folder}; give the one that holds the IDX files")
    raise FileNotFoundError(f"mnist: {folder} holds no {names[0]} (nor {', '.join(names[1:])})")


def _read_idx(file: Path, ndim: int) -> Array:
    """The unsigned bytes of an IDX file: magic 0, 0, 8, ndim; each size as a big-endian uint32; the values."""
    try:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"mnist: {file} is not a whole gzip file ({error}); fetch it again") from None
    magic, wanted = raw[:4].hex(" "), f"00 00 08 {ndim:02x}"
    if magic != wanted:
        raise ValueError(f"mnist: {file} starts with bytes {magic}, but an IDX file of {ndim}-d bytes with {wanted}")
    header = 4 + 4 * ndim
    if len(raw) < header:
        raise ValueError(f"mnist: {file} ends within its header of {header} bytes; fetch it again")
    shape = tuple(np.frombuffer(raw, ">u4", ndim, offset=4).tolist())
    if len(raw) != header + prod(shape):
        raise ValueError(
            f"mnist: {file} holds {len(raw) - header} values, but its header says {prod(shape)} {shape}; fetch it again"
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


# Before training


class Split(NamedTuple):
    """The two parts of a data set, each a pair of inputs and targets."""

    train: tuple[Array, Array]
    test: tuple[Array, Array]


def split(x: Array, y: Array, test: float | int = 0.2, seed: Seed = 0, stratify: bool = False) -> Split:
    """The samples dealt at random into a part to train on and a part to test on: `train, test = split(x, y)`.

    `test` is the share to hold out, or, as an int, how many samples. With `stratify` the classes `y` (n,) keep their
    proportions in both parts, to within one sample. Raises ValueError where a part would be empty.

    >>> train, test = mg.data.split(*mg.data.iris(), test=0.2, stratify=True)
    >>> np.bincount(train[1]), np.bincount(test[1])
    (array([40, 40, 40]), array([10, 10, 10]))
    """
    n = _same_length("split", x, y)
    held_out = test if isinstance(test, int) else round(test * n)
    if not 0 < held_out < n:
        raise ValueError(
            f"split: test={test} of {n} samples holds out {held_out}; both parts need at least one: "
            f"give a share between 0 and 1, or a number of samples from 1 to {n - 1}"
        )
    order = np.random.default_rng(seed).permutation(n)
    if stratify:
        order = _deal_by_class(order, y, held_out)
    test_rows, train_rows = order[:held_out], order[held_out:]
    return Split((x[train_rows], y[train_rows]), (x[test_rows], y[test_rows]))


def _deal_by_class(order: Array, y: Array, held_out: int) -> Array:
    """The same order, but with every class in proportion among the first `held_out`."""
    if y.ndim != 1:
        raise ValueError(f"split: stratify needs class labels of shape (n,), but y has shape {y.shape}")
    labels, counts = np.unique(y, return_counts=True)
    share = counts * held_out / y.size
    quota = np.floor(share).astype(int)
    most_cheated = np.argsort(quota - share, kind="stable")
    quota[most_cheated[: held_out - quota.sum()]] += 1
    first = np.zeros(y.size, bool)
    for label, count in zip(labels, quota, strict=True):
        first[order[y[order] == label][:count]] = True
    return np.concatenate([order[first[order]], order[~first[order]]])


class Scaler(NamedTuple):
    """The mean of each feature and the scale of each, or of all: a call standardises, and `inverse` undoes it."""

    mean: Array
    scale: Array

    def __call__(self, x: Array) -> Array:
        return (x - self.mean) / self.scale

    def inverse(self, z: Array) -> Array:
        return z * self.scale + self.mean


def standardise(train: Array, *others: Array, one_scale: bool = False) -> tuple[Any, ...]:
    """Every feature at mean 0 and standard deviation 1: `x, x_test, scaler = standardise(x, x_test)`.

    Mean and scale are those of `train` (n, features) alone, so that nothing of the test data leaks into training; the
    scaler that comes last keeps them for data yet to come. A feature that is constant in `train` becomes 0. With
    `one_scale` all features are divided by the same number: right for pixels, where one that is nearly always empty
    would otherwise be blown up to the size of the others. Raises ValueError where `train` has no samples.

    >>> x, x_test, scaler = mg.data.standardise(np.array([[1., 5.], [3., 5.]]), np.array([[4., 5.]]))
    >>> x, x_test
    (array([[-1.,  0.], [ 1.,  0.]]), array([[2., 0.]]))
    >>> scaler.inverse(x_test)
    array([[4., 5.]])
    """
    if len(train) == 0:
        raise ValueError("standardise: there are no samples to take mean and scale from")
    # The mean of a constant column may differ from the constant in its last digit, which the division would blow up.
    constant = train.min(axis=0) == train.max(axis=0)
    mean = np.where(constant, train[0], train.mean(axis=0))
    scale = np.sqrt(np.mean((train - mean) ** 2, axis=None if one_scale else 0))
    scaler = Scaler(mean, np.where(scale == 0, np.ones_like(scale), scale))
    return *(scaler(x) for x in (train, *others)), scaler


def batches(
    x: Array, y: Array, batch_size: int | None = None, shuffle: bool = True, seed: Seed | None = None
) -> Iterator[tuple[Array, Array]]:
    """One pass over the samples in batches (x, y): every sample once, the last batch as small as what is left.

    `batch_size=None` is a single batch of everything, 1 makes gradient descent stochastic. `seed` is a number, or a
    generator that goes on from pass to pass; None takes the one that `mg.random.seed` sets.

    >>> x = np.arange(5)
    >>> [batch.tolist() for batch, _ in mg.data.batches(x, x, 2, shuffle=False)]
    [[0, 1], [2, 3], [4]]
    """
    n = _same_length("batches", x, y)
    size = n if batch_size is None else operator.index(batch_size)
    if batch_size is not None and size < 1:
        raise ValueError(f"batches: batch_size={batch_size} is less than 1; None makes one batch of everything")
    rng = random.from_seed(seed)
    order = rng.permutation(n) if shuffle else np.arange(n)
    rows = (order[start : start + size] for start in range(0, n, size or 1))
    return ((x[chosen], y[chosen]) for chosen in rows)


def samples_of(what: str, given: Any) -> Array:
    """An argument as an array of numbers, its first axis the samples. Raises TypeError where it is none."""
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError(f"{what} is a masked array, whose mask would be lost: fill it, by .filled(...)")
    try:
        array = np.asarray(given._data if isinstance(given, Tensor) else given)
    except ValueError:  # of lists that are no array
        array = np.empty(0, object)
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        kind = f"{array.dtype} of shape {array.shape}" if array.dtype != object else type(given).__name__
        raise TypeError(f"{what} must be an array of numbers, its first axis the samples, not {kind}{columns(given)}")
    return array


def columns(given: Any) -> str:
    """What a sentence on samples adds where they are a tuple or list of arrays, which NumPy stacks as rows."""
    if not isinstance(given, tuple | list) or not any(isinstance(a, np.ndarray | Tensor) for a in given):
        return ""
    kind = type(given).__name__
    return f": np.stack(..., axis=1) makes one array, whose first axis is the samples, of a {kind} of columns"


def _same_length(function: str, x: Array, y: Array) -> int:
    if len(x) != len(y):
        raise ValueError(
            f"{function}: x {x.shape} and y {y.shape} have {len(x)} and {len(y)} samples; the first axis must agree"
        )
    return len(x)
