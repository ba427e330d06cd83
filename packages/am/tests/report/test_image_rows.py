"""Rows of images: every image in its place, under its title and beside its name."""

from __future__ import annotations

import numpy as np
import pytest

from am.report.figures.image_rows import image_rows


@pytest.mark.parametrize("shape", [(1, 2, 3), (3, 4, 4)])
def test_each_name_has_its_images_in_order(shape: tuple[int, int, int]) -> None:
    c, h, w = shape
    x = np.random.default_rng(0).uniform(-1.5, 1.5, (4, c * h * w + 5))  # five coordinates of a condition
    figure = image_rows([("input", x), ("AM", -x), ("truth", x / 2)], shape, ["t = 0", "t = 0.5", "t = 0.8", "t = 1"])
    panels = np.array(figure.axes).reshape(3, 4)
    assert [axes.get_ylabel() for axes in panels[:, 0]] == ["input", "AM", "truth"]
    assert [axes.get_title(loc="center") for axes in panels[0]] == ["t = 0", "t = 0.5", "t = 0.8", "t = 1"]
    for line, scale in zip(panels, (1, -1, 0.5), strict=True):
        for axes, point in zip(line, x, strict=True):
            image = np.clip((scale * point[: c * h * w].reshape(c, h, w) + 1) / 2, 0, 1).transpose(1, 2, 0)
            found = np.asarray(axes.images[0].get_array()).reshape(h, w, c)
            np.testing.assert_allclose(found, image)
    width, height = figure.get_size_inches()
    assert width <= 6.75
    assert height < 4
