"""The figure of growth rates: the same points in each row, coloured by what is told of them."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.axes import Axes

from am.report.figures.growth import growth

TIMES = (0.5, 1.0)
RNG = np.random.default_rng(0)
POINTS = [(time, RNG.normal(size=(200, 3))) for time in TIMES]
TRUTH = [RNG.normal(size=200) for _ in TIMES]
ROWS = [("truth", TRUTH), ("uAM", [3 * rate + 7 for rate in TRUTH])]


def drawn(axes: Axes) -> dict[tuple[float, ...], tuple[float, ...]]:
    """Colour of the point at each place."""
    (cloud,) = axes.collections
    places, colours = np.asarray(cloud.get_offsets()), np.asarray(cloud.get_facecolor())
    return {tuple(place): tuple(colour) for place, colour in zip(places.tolist(), colours.tolist(), strict=True)}


def test_points_have_the_colour_of_their_rate_less_its_mean_on_one_scale() -> None:
    figure = growth(POINTS, ROWS, "abc", "mm")
    *panels, bar = figure.axes
    reach = np.quantile(np.abs(np.concatenate([rate - rate.mean() for rate in TRUTH])), 0.98)
    assert bar.get_ylim() == pytest.approx((-reach, reach))
    for (_, of_times), line in zip(ROWS, (panels[:2], panels[2:]), strict=True):
        for (_, x), rate, axes in zip(POINTS, of_times, line, strict=True):
            share = np.clip((rate - rate.mean()) / reach, -1, 1) / 2 + 0.5
            expected = colormaps["PuOr_r"](share)
            found = drawn(axes)
            assert len(found) == 200
            for place, colour in zip(x[:, :2].tolist(), expected.tolist(), strict=True):
                assert found[tuple(place)] == pytest.approx(colour, abs=0.02)


def test_rows_and_columns_say_whose_and_when() -> None:
    figure = growth(POINTS, ROWS, "abc", "mm")
    panels = figure.axes[:4]
    titles = [axes.get_title(loc="left").split("\n") for axes in panels]
    assert titles == [["truth", "$t$ = 0.5"], [" ", "$t$ = 1"], ["uAM"], [" "]]
    assert [axes.get_ylabel() for axes in panels] == ["b (mm)", "", "b (mm)", ""]
    assert [axes.get_xlabel() for axes in panels] == ["", "", "a (mm)", "a (mm)"]


def test_a_method_alone_sets_the_scale_itself() -> None:
    *_, bar = growth(POINTS, ROWS[1:], "abc").axes
    reach = 3 * np.quantile(np.abs(np.concatenate([rate - rate.mean() for rate in TRUTH])), 0.98)
    assert bar.get_ylim() == pytest.approx((-reach, reach))
    assert growth(POINTS, [("still", [np.zeros(200)] * 2)], "abc").axes[-1].get_ylim() == (-1, 1)
