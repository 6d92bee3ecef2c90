import numpy as np
import pytest

from minigrad import pictures

pytest.importorskip("matplotlib", reason="pictures are drawn by Matplotlib")


def test_images_show_their_pixels_on_one_scale():
    rows = np.arange(18.0).reshape(3, 6)
    figure = pictures.images(rows, (2, 3), ["a", "b", "c"])
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c"]
    for row, axis in zip(rows, figure.axes, strict=True):
        (image,) = axis.images
        np.testing.assert_array_equal(image.get_array(), row.reshape(2, 3))
        assert image.get_clim() == (0, 17)


def test_diverging_images_have_zero_in_the_middle():
    figure = pictures.images(np.array([[-3.0, 1.0], [2.0, 0.0]]), (1, 2), diverging=True)
    assert [axis.images[0].get_clim() for axis in figure.axes] == [(-3, 3), (-3, 3)]


def test_images_fill_rows_of_eight():
    figure = pictures.images(np.zeros((10, 4)), (2, 2))
    assert len(figure.axes) == 10
    assert figure.axes[9].get_subplotspec().get_geometry()[:2] == (2, 8)


def test_boundary_colours_the_plane_by_the_highest_score():
    x = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 2.0]])

    def scores(points):
        a, b = points.T
        return np.stack([-a, a, 10 * (b - 1)], axis=1)

    (axis,) = pictures.boundary(scores, x, np.array([0, 1, 2]), ("left", "right", "top"), points=50).axes
    winner = axis.images[0].get_array()
    assert winner.shape == (50, 50)
    assert (winner[0, 0], winner[0, -1], winner[-1, 25]) == (0, 1, 2)  # its first row is the lowest
    assert axis.images[0].get_extent() == [-1.2, 1.2, -0.2, 2.2]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["left", "right", "top"]
    np.testing.assert_array_equal(np.concatenate([dots.get_offsets() for dots in axis.collections]), x)
