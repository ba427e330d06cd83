"""The figure of images: every image in its place, whatever its numbers are."""

from __future__ import annotations

import numpy as np
import pytest

from am.report.figures.grid import COLUMNS, ROWS, grid


@pytest.mark.parametrize("shape", [(1, 2, 3), (3, 4, 4)])
def test_images_stand_row_by_row_with_white_between_them(shape: tuple[int, int, int]) -> None:
    c, h, w = shape
    x = np.random.default_rng(0).uniform(-1.5, 1.5, (COLUMNS + 3, c * h * w + 5))  # five coordinates of a condition
    figure = grid([("truth", x), ("AM", -x)], shape)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["truth", "AM"]
    for axes, sign in zip(figure.axes, (1, -1), strict=True):
        picture = np.asarray(axes.images[0].get_array()).reshape(ROWS * (h + 1), COLUMNS * (w + 1), c)
        for i in (0, 1, COLUMNS - 1, COLUMNS, COLUMNS + 2):
            row, column = i // COLUMNS * (h + 1), i % COLUMNS * (w + 1)
            image = np.clip((sign * x[i, : c * h * w].reshape(c, h, w) + 1) / 2, 0, 1)
            np.testing.assert_allclose(picture[row : row + h, column : column + w], image.transpose(1, 2, 0))
        assert (picture[h] == 1).all()
        assert (picture[:, w] == 1).all()
        assert (picture[2 * (h + 1) :] == 1).all()
