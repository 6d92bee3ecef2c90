import gzip
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad import data

MADE = [data.moons, data.circles, data.spirals, data.xor]


# Real data


@pytest.mark.parametrize(
    ("load", "shape", "count_by_class"),
    [  # as the sources publish them
        (data.digits, (1797, 64), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]),
        (data.iris, (150, 4), [50, 50, 50]),
        (data.wine, (178, 13), [59, 71, 48]),
        (data.breast_cancer, (569, 30), [212, 357]),
    ],
)
def test_classification_sets(load, shape, count_by_class):
    dataset = load()
    assert dataset.x.shape == shape
    assert dataset.x.dtype == np.float64
    assert dataset.y.dtype == np.int64
    assert np.bincount(dataset.y).tolist() == count_by_class
    assert len(dataset.classes) == len(count_by_class)
    assert len(dataset.features) == shape[1]


def test_diabetes_is_a_regression():
    dataset = data.diabetes()
    assert dataset.x.shape == (442, 10)
    assert dataset.y.shape == (442, 1)
    assert (dataset.y.min(), dataset.y.max()) == (25, 346)
    assert dataset.classes == ()


def test_a_digit_is_a_picture():
    dataset = data.digits()
    assert dataset.image == (8, 8)
    first = dataset.x[0].reshape(dataset.image)  # a zero: ink around an empty middle
    assert dataset.y[0] == 0
    assert first[3:5, 3:5].sum() == 0 < first[1:7, [2, 5]].min()
    assert (dataset.x.min(), dataset.x.max()) == (0, 16)


def test_without_scikit_learn_the_pip_line_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"^mg\.data\.iris .*scikit-learn.*: pip install 'minigrad\[data\]'$"):
        data.iris()


def test_a_data_set_is_a_pair_for_fit():
    iris = data.iris()
    trained = []
    for samples in (iris, (iris.x, iris.y)):
        mg.random.seed(0)
        model = mg.nn.Linear(4, 3)
        sgd = mg.optim.SGD(model.parameters(), lr=0.01)
        mg.fit(model, mg.nn.CrossEntropyLoss(), samples, sgd, epochs=2, progress=False)
        trained.append(model.weight.numpy())
    np.testing.assert_array_equal(*trained)


# Made data


@pytest.mark.parametrize("make", MADE)
def test_made_sets_follow_their_seed(make):
    first, again, other = (make(60, noise=0.1, seed=seed) for seed in (1, 1, 2))
    assert first.x.shape == (60, 2)
    assert first.x.dtype == np.float64
    assert first.y.dtype == np.int64
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.y, again.y)
    assert not np.array_equal(first.x, other.x)


@pytest.mark.parametrize("make", MADE)
def test_made_sets_are_balanced(make):
    counts = np.bincount(make(120).y)
    assert set(counts) == {120 // len(make(120).classes)}


@pytest.mark.parametrize("make", MADE)
def test_made_sets_refuse_too_few_points(make):
    with pytest.raises(ValueError, match=f"{make.__name__}: n=1 is too few"):
        make(1)


def test_moons_lie_on_two_half_circles():
    x, y = data.moons(100, noise=0)
    upper, lower = x[y == 0], x[y == 1]
    np.testing.assert_allclose(np.hypot(*upper.T), 1)
    np.testing.assert_allclose(np.hypot(*(lower - [1, 0.5]).T), 1)
    assert upper[:, 1].min() >= 0
    assert lower[:, 1].max() <= 0.5


def test_circles_have_their_radii():
    x, y = data.circles(100, noise=0, factor=0.3)
    np.testing.assert_allclose(np.hypot(*x.T), np.where(y == 0, 1, 0.3))


def test_spiral_arms_are_the_same_curve_rotated():
    x, y = data.spirals(90, noise=0, arms=3, turns=0.75)
    radius, angle = np.hypot(*x.T), np.arctan2(x[:, 1], x[:, 0])
    turn = (angle / (2 * np.pi) - 0.75 * radius - y / 3) % 1
    np.testing.assert_allclose(np.minimum(turn, 1 - turn), 0, atol=1e-12)


def test_xor_spreads_its_corners_by_the_noise():
    x, y = data.xor(4000, noise=0.1)
    corners = data.xor(4000).x
    np.testing.assert_array_equal(y, (corners[:, 0] != corners[:, 1]).astype(int))
    assert np.std(x - corners) == pytest.approx(0.1, rel=0.05)


# IDX files

IMAGES = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4)
LABELS = np.array([7, 0, 9], dtype=np.uint8)


def idx(array, sizes=None):
    """The bytes of an IDX file of unsigned bytes."""
    sizes = array.shape if sizes is None else sizes
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in sizes) + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(IMAGES))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
    return tmp_path


def test_mnist_reads_its_files(folder):
    dataset = data.mnist(folder)
    np.testing.assert_array_equal(dataset.x, IMAGES.reshape(3, 8))
    np.testing.assert_array_equal(dataset.y, LABELS)
    assert dataset.x.dtype == np.float64
    assert dataset.y.dtype == np.int64
    assert dataset.image == (2, 4)
    assert len(dataset.classes) == 10


def test_mnist_reads_gzipped_files_in_the_type_asked_for(tmp_path):
    (tmp_path / "t10k-images.idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES)))
    (tmp_path / "t10k-labels.idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS)))
    dataset = data.mnist(str(tmp_path), part="test", dtype=np.float32)
    np.testing.assert_array_equal(dataset.x, IMAGES.reshape(3, 8))
    assert dataset.x.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("train-images-idx3-ubyte", idx(LABELS), "starts with bytes 00 00 08 01, but an IDX file of 3-d bytes"),
        ("train-images-idx3-ubyte", b"", "starts with bytes , but"),
        ("train-images-idx3-ubyte", idx(IMAGES)[:9], "ends within its header of 16 bytes"),
        ("train-images-idx3-ubyte", idx(IMAGES)[:-1], r"holds 23 values, but its header says 24 \(3, 2, 4\)"),
        ("train-images-idx3-ubyte", idx(IMAGES, (4, 2, 4)), r"holds 24 values, but its header says 32 \(4, 2, 4\)"),
        ("train-labels-idx1-ubyte", idx(LABELS[:2]), "train-images-idx3-ubyte holds 3 images, but .* 2 labels"),
    ],
)
def test_mnist_refuses_a_file_that_is_not_what_it_should_be(folder, name, content, sentence):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"^mnist: .*{sentence}"):
        data.mnist(folder)


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-6], lambda raw: b"not gzip at all", lambda raw: raw[:12] + b"\xff\xff" + raw[14:]]
)
def test_mnist_refuses_a_damaged_gzip_file(folder, damage):
    (folder / "train-labels-idx1-ubyte").unlink()
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(damage(gzip.compress(idx(LABELS))))
    with pytest.raises(ValueError, match=r"^mnist: .*labels-idx1-ubyte\.gz is not a whole gzip file"):
        data.mnist(folder)


def test_mnist_says_which_file_is_missing(folder):
    with pytest.raises(FileNotFoundError, match=r"^mnist: there is no folder .*nowhere; give the one that holds"):
        data.mnist(folder / "nowhere")
    with pytest.raises(FileNotFoundError, match=rf"^mnist: {folder} holds no t10k-images-idx3-ubyte \(nor "):
        data.mnist(folder, part="test")
    with pytest.raises(ValueError, match="unknown part 'valid': Known are train, test"):
        data.mnist(folder, part="valid")


# Split

labels = hnp.arrays(np.int64, st.integers(2, 80), elements=st.integers(0, 4))


@given(y=labels, share=st.floats(0.01, 0.99), seed=st.integers(0, 9), stratify=st.booleans())
def test_split_deals_every_sample_once(y, share, seed, stratify):
    x = np.arange(len(y))
    held_out = round(share * len(y))
    if not 0 < held_out < len(y):
        with pytest.raises(ValueError, match="both parts need at least one"):
            data.split(x, y, share, seed, stratify)
        return
    train, test = data.split(x, y, share, seed, stratify)
    assert len(test[0]) == held_out
    assert sorted([*train[0], *test[0]]) == x.tolist()
    for part_x, part_y in (train, test):
        np.testing.assert_array_equal(part_y, y[part_x])


@given(y=labels, seed=st.integers(0, 9), data_=st.data())
def test_stratified_parts_keep_the_proportions(y, seed, data_):
    held_out = data_.draw(st.integers(1, len(y) - 1))
    _, (_, y_test) = data.split(y, y, held_out, seed, stratify=True)
    share = np.bincount(y, minlength=5) * held_out / len(y)
    assert np.abs(np.bincount(y_test, minlength=5) - share).max() < 1


def test_split_follows_its_seed():
    x = np.arange(50)
    first, again, other = (data.split(x, x, seed=seed).test[0].tolist() for seed in (3, 3, 4))
    assert first == again != other


def test_split_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"split: x \(3, 1\) and y \(2,\) have 3 and 2 samples"):
        data.split(np.zeros((3, 1)), np.zeros(2))
    with pytest.raises(ValueError, match=r"stratify needs class labels of shape \(n,\), but y has shape \(4, 1\)"):
        data.split(np.zeros((4, 1)), np.zeros((4, 1)), stratify=True)
    with pytest.raises(ValueError, match="test=1.5 of 4 samples holds out 6; .* from 1 to 3"):
        data.split(np.zeros(4), np.zeros(4), test=1.5)


# Standardise

columns = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8),
    elements=st.floats(-1e6, 1e6, allow_subnormal=False),
)


@given(x=columns)
def test_standardise_agrees_with_scikit_learn(x):
    sklearn = pytest.importorskip("sklearn.preprocessing", reason="the oracle is scikit-learn")
    spread = x.max(axis=0) - x.min(axis=0)
    x = np.where(spread > 1e-6 * np.abs(x).max(axis=0), x, x[0])  # scikit-learn takes nearly constant for constant
    z, scaler = data.standardise(x)
    np.testing.assert_allclose(z, sklearn.StandardScaler().fit_transform(x), atol=1e-9)
    np.testing.assert_allclose(scaler.inverse(z), x, rtol=1e-12, atol=1e-9)


@given(value=st.floats(-1e6, 1e6), n=st.integers(1, 50))
def test_a_constant_column_becomes_exactly_zero(value, n):
    z, z_test, _ = data.standardise(np.full((n, 1), value), np.full((3, 1), value))
    assert not z.any()
    assert not z_test.any()


def test_standardise_learns_from_the_training_part_alone():
    train, test = np.array([[0.0], [2.0]]), np.array([[10.0]])
    _, z_test, scaler = data.standardise(train, test)
    assert (scaler.mean, scaler.scale, z_test) == (1, 1, 9)


def test_one_scale_keeps_the_proportions_of_the_features():
    z, z_test, _ = data.standardise(np.array([[0.0, 0.0], [4.0, 2.0]]), np.array([[6.0, 1.0]]), one_scale=True)
    assert np.mean(z**2) == pytest.approx(1)
    np.testing.assert_allclose(z, np.array([[-2, -1], [2, 1]]) / np.sqrt(2.5))
    np.testing.assert_allclose(z_test, np.array([[4, 0]]) / np.sqrt(2.5))


def test_standardise_keeps_float32():
    z, scaler = data.standardise(np.array([[1, 2], [3, 2]], np.float32))
    assert z.dtype == scaler.mean.dtype == scaler.scale.dtype == np.float32


def test_standardise_needs_samples():
    with pytest.raises(ValueError, match="standardise: there are no samples"):
        data.standardise(np.zeros((0, 3)))


# Batches


@given(n=st.integers(0, 40), size=st.none() | st.integers(1, 50), shuffle=st.booleans(), seed=st.integers(0, 9))
def test_batches_cover_every_sample_once(n, size, shuffle, seed):
    x = np.arange(n)
    seen = list(data.batches(x, -x, size, shuffle, seed))
    sizes = [len(batch) for batch, _ in seen]
    assert all(np.array_equal(batch_x, -batch_y) for batch_x, batch_y in seen)
    assert sorted(i for batch, _ in seen for i in batch) == x.tolist()
    assert all(count == (size or n) for count in sizes[:-1])
    assert all(0 < count <= (size or n) for count in sizes[-1:])


def test_batches_keep_the_order_or_shuffle_it_by_the_seed():
    x = np.arange(100)

    def order(**options):
        return [i for batch, _ in data.batches(x, x, 7, **options) for i in batch.tolist()]

    assert order(shuffle=False) == x.tolist()
    assert order(seed=1) == order(seed=1) != order(seed=2)
    generator = np.random.default_rng(1)
    assert order(seed=generator) == order(seed=1) != order(seed=generator)


def test_batches_take_the_global_seed():
    x = np.arange(100)
    orders = []
    for seed in (5, 5, 6):
        mg.random.seed(seed)
        orders.append(next(data.batches(x, x))[0].tolist())
    assert orders[0] == orders[1] != orders[2]


def test_batches_refuse_at_once_what_does_not_fit():
    x = np.zeros((3, 1))
    with pytest.raises(ValueError, match=r"batches: x \(3, 1\) and y \(2,\) have 3 and 2 samples"):
        data.batches(x, np.zeros(2), 2)
    with pytest.raises(ValueError, match="batch_size=0 is less than 1; None makes one batch of everything"):
        data.batches(x, x, 0)
    with pytest.raises(TypeError, match="integer"):
        data.batches(x, x, 2.5)


# ---- text ----------------------------------------------------------------------------------------------------------


def test_a_text_as_numbers_and_back():
    text = mg.data.sonnets()
    ids, alphabet = characters = mg.data.characters(text)
    assert characters.decode(ids) == text
    assert list(alphabet) == sorted(set(text))
    assert characters.decode(characters.encode("love")) == "love"
    assert characters.encode("").shape == (0,)
    assert len([stanza for stanza in text.split("\n\n") if stanza.count("\n") >= 13]) == 16


def test_windows_are_followed_by_their_targets():
    x, y = mg.data.windows(np.arange(10), 4, step=1)
    assert x.tolist() == [list(range(i, i + 4)) for i in range(6)]
    assert (y == x + 1).all()
    x, y = mg.data.windows(np.arange(12).reshape(6, 2), 2)
    assert x.tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert (y == x + 2).all()


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: mg.data.characters(b"abc"), TypeError, "characters: a text is needed, not bytes"),
        (lambda: mg.data.characters(""), ValueError, "characters: the text is empty"),
        (lambda: mg.data.characters("ab").encode("abc"), ValueError, "encode: the alphabet 'ab' lacks 'c'"),
        (lambda: mg.data.windows(np.arange(3), 3), ValueError, "windows: 3 elements hold no piece of 3"),
        (lambda: mg.data.windows(np.arange(3), 0), ValueError, "windows: length 0 and step 0 should be 1 or more"),
    ],
)
def test_text_that_cannot_be_used_is_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
