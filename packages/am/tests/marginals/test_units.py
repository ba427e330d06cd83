"""Units of a time course: which cells they leave out, and how they tell what a network says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from am.io.time_course import TimeCourse
from am.marginals.units import Units


def course(x: np.ndarray, times: list[float], names: bool = True) -> TimeCourse:
    called = [f"cell{i}" for i in range(len(x))] if names else None
    return TimeCourse(x, np.repeat(times, len(x) // len(times)), "X_pca", names=called)


def cells(n: int = 200) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 3)) * [4, 2, 1] + 7


def test_without_stray_cells_they_are_mean_and_standard_deviation() -> None:
    x = cells()
    units = Units.of(course(x, [0, 1]))
    np.testing.assert_array_equal(units.centre, x.mean(0))
    assert units.spread == pytest.approx(np.sqrt(x.var(0).mean()), rel=1e-12)
    assert units.warning(course(x, [0, 1])) is None


def test_stray_cells_are_left_out_and_named() -> None:
    x = cells(1000)
    clean = Units.of(course(x, [0, 1]))
    x[[3, 900]] = [[900, -800, 0], [-9e4, 0, 0]]
    units = Units.of(course(x, [0, 1]))
    assert units.spread == pytest.approx(clean.spread, rel=0.01)
    assert units.stray.nonzero()[0].tolist() == [3, 900]
    assert [len(points) for points in units.path(course(x, [0, 1])).points] == [499, 499]
    sentence = units.warning(course(x, [0, 1]))
    assert sentence is not None
    assert sentence.startswith("2 of 1000 cells lie up to ")
    assert sentence.endswith("'cell3', 'cell900'; nothing is learned from them")
    assert "row 3, row 900" in str(units.warning(course(x, [0, 1], names=False)))


def test_what_may_be_a_population_or_the_place_of_a_time_is_not_left_out() -> None:
    x = cells(1000)
    x[:15] += 500
    assert not Units.of(course(x, [0, 1])).stray.any()
    x = cells(1000)
    times = np.repeat([0.0, 1.0], [10, 990])
    x[:3] += 500
    assert not Units.of(TimeCourse(x, times, "X_pca")).stray.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f8"])
def test_positions_velocities_and_rates_are_told_in_the_units_of_the_file(dtype: str) -> None:
    x = cells().astype(dtype)
    mine = course(x, [0, 10, 1000, 1030])
    units = Units.of(mine)
    np.testing.assert_allclose(units.positions(units.seen(mine, 10)), x[50:100], rtol=1e-5)
    v = torch.ones(2, 3)
    for time, pace in ((0, 30), (10, 3 * 500), (1000, 3 * 510), (1030, 90)):
        np.testing.assert_allclose(units.velocities(v, time), units.spread / pace)
        np.testing.assert_allclose(units.rates(v[:, 0], time), 1 / pace)
    told = units.plain({"sigma": 0.5, "growth": 2.0}, {"sigma": (1, -0.5), "growth": (-2, 0)})["intervals"]
    assert [interval["to"] for interval in told] == [10, 1000, 1030]
    assert told[1]["sigma"] == pytest.approx(0.5 * units.spread / 2970**0.5)
    assert told[1]["growth"] == pytest.approx(2 / units.spread**2)
