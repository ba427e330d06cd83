"""The figure of trajectories: where lines begin and end, and what lies under them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from am.io.samples import Samples
from am.report.figures.trajectories import trajectories

TIMES = np.array([0.0, 1.0, 4.0])
COLOURS = [tuple(colormaps["viridis"](place)[:3]) for place in (0.0, 0.5, 1.0)]
"""Of the snapshots: evenly apart, though their times are not."""


def snapshots(d: int, n: int = 50) -> Samples:
    x = np.random.default_rng(0).normal(size=(n * len(TIMES), d)).astype(np.float32)
    return Samples(x, np.repeat(TIMES, n))


def paths(d: int, n: int = 7) -> tuple[np.ndarray, np.ndarray]:
    moments = np.linspace(0, 4, 9)
    return moments, np.random.default_rng(1).normal(size=(9, n, d))


def clouds(axes: Any) -> list[np.ndarray]:
    """Points of each snapshot, in order of time, by their colours; each in order of its rows."""
    (points, *_) = axes.collections
    places, colours = np.asarray(points.get_offsets()), points.get_facecolors()[:, :3]
    found = [places[np.abs(colours - shade).max(1) < 1e-6] for shade in COLOURS]
    assert sum(map(len, found)) == len(places)
    return [in_order(cloud) for cloud in found]


def in_order(x: np.ndarray) -> np.ndarray:
    return x[np.lexsort(x.T)]


@pytest.mark.parametrize("d", [2, 5])
def test_lines_run_from_ring_to_dot_over_the_snapshots(d: int) -> None:
    moments, x = paths(d)
    figure = trajectories(snapshots(d), [("AM", [(moments, x)]), ("eAM", [(moments, x + 1)])], "abcde", "mm", "day")
    *panels, bar = figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == ["AM", "eAM"]
    assert [axes.get_xlabel() for axes in panels] == ["a (mm)"] * 2
    assert panels[0].get_ylabel() == "b (mm)"
    assert bar.get_ylabel() == "snapshot at day"
    for axes, shift in zip(panels, (0, 1), strict=True):
        *lines, rings, dots = axes.lines
        for i, line in enumerate(lines):
            np.testing.assert_allclose(line.get_xydata(), x[:, i, :2] + shift)
        np.testing.assert_allclose(rings.get_xydata(), x[0, :, :2] + shift)
        np.testing.assert_allclose(dots.get_xydata(), x[-1, :, :2] + shift)
        assert len(lines) == 7
        for cloud, time in zip(clouds(axes), TIMES, strict=True):
            np.testing.assert_allclose(cloud, in_order(snapshots(d).at(time)[0][:, :2]))


def test_one_coordinate_is_drawn_over_time() -> None:
    moments, x = paths(1)
    figure = trajectories(snapshots(1), [("AM", [(moments, x)])], ["a"])
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$t$", "a")
    np.testing.assert_allclose(axes.lines[0].get_xydata(), np.stack([moments, x[:, 0, 0]], -1))
    for cloud, time in zip(clouds(axes), TIMES, strict=True):
        assert set(cloud[:, 0]) == {time}


@pytest.mark.parametrize("unit", [1e-20, 1e-3, 1.0, 1e9, 1e20])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_times_may_have_any_unit_and_are_the_same_up_to_rounding(unit: float, shift: float) -> None:
    given, (moments, x) = snapshots(2), paths(2)
    time = (given.time + shift) * unit
    time[::2] = np.nextafter(time[::2], np.inf)
    figure = trajectories(Samples(given.x, time), [("AM", [((moments + shift) * unit, x)])], "ab")
    for cloud, moment in zip(clouds(figure.axes[0]), TIMES, strict=True):
        np.testing.assert_allclose(cloud, in_order(given.at(moment)[0]))


def test_what_is_drawn_is_bounded() -> None:
    moments, x = paths(2, n=500)
    (axes, _) = trajectories(snapshots(2, n=5001), [("AM", [(moments, x)])], "ab").axes
    assert len(axes.lines) == 102
    for cloud in clouds(axes):
        assert 800 < len(cloud) <= 1000


@pytest.mark.parametrize(("models", "shape"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 3)), (7, (3, 3))])
def test_panels_stand_in_rows_of_three(models: int, shape: tuple[int, int]) -> None:
    moments, x = paths(2)
    figure = trajectories(snapshots(2), [(f"m{i}", [(moments, x)]) for i in range(models)], "ab")
    panels = figure.axes[:-1]
    assert len(panels) == models
    figure.draw_without_rendering()
    places = [axes.get_position() for axes in panels]
    assert (len({round(p.y0, 3) for p in places}), len({round(p.x0, 3) for p in places})) == shape
    below = [axes for axes in panels if axes.get_xlabel()]
    assert below == panels[-min(models, 3) :]


def test_particles_that_start_anew_have_a_course_from_each_start() -> None:
    starts = np.random.default_rng(2).normal(size=(2, 80, 2))
    courses = [
        (np.array([0.0, 1.0]), np.stack([starts[0], starts[0] + 1])),
        (np.array([1.0, 4.0]), np.stack([starts[1], starts[1] - 1])),
    ]
    (axes, _) = trajectories(snapshots(2), [("AM", courses)], "ab").axes
    per_course = [axes.lines[:52], axes.lines[52:]]
    for k, (*lines, rings, dots) in enumerate(per_course):
        assert len(lines) == 50  # a hundred of both together
        for i, line in enumerate(lines):
            np.testing.assert_allclose(line.get_xydata(), courses[k][1][:, i])
        np.testing.assert_allclose(rings.get_xydata(), courses[k][1][0, :50])
        np.testing.assert_allclose(dots.get_xydata(), courses[k][1][-1, :50])
        assert to_rgb(rings.get_markeredgecolor()) == pytest.approx(COLOURS[k])
        assert to_rgb(dots.get_color()) == pytest.approx(COLOURS[k + 1])
