"""Intervals over seeds, and over points that all seeds share."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from am.report.estimates import estimate, jackknife_error, next_value


def series(values: object) -> pd.Series:
    return pd.Series(np.asarray(values, dtype=float))


def test_over_seeds_alone_it_is_students_interval() -> None:
    values = [1.0, 2.0, 4.0]
    found = estimate(series(values))
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert found["mean"] == pytest.approx(7 / 3)
    assert found["seeds_sd"] == pytest.approx(np.std(values, ddof=1))
    assert math.isnan(found["cells_se"])


@pytest.mark.parametrize("blocks", [None, series([0.9, 1.1, 1.0])])
def test_one_seed_has_no_interval(blocks: pd.Series | None) -> None:
    found = estimate(series([1.0]), blocks)
    assert math.isnan(found["low"])
    assert math.isnan(found["high"])
    assert math.isnan(estimate(series([]))["mean"])


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=10)
    without = [(values.sum() - value) / 9 for value in values]
    assert jackknife_error(series(without)) == pytest.approx(stats.sem(values))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Cells that all seeds share, of spread 1, and seeds of spread 1/2: the mean over both is off by both."""
    rng, inside = np.random.default_rng(0), {"both": 0, "seeds alone": 0}
    for _ in range(1000):
        cells, luck = rng.normal(size=(10, 4)), rng.normal(size=3) / 2
        without = [np.delete(cells, block, 0).mean() + luck.mean() for block in range(10)]
        seeds = series(cells.mean() + luck)
        for name, blocks in (("both", series(without)), ("seeds alone", None)):
            found = estimate(seeds, blocks)
            inside[name] += found["low"] <= 0 <= found["high"]
    assert 940 < inside["both"] < 985
    assert inside["seeds alone"] < 930


def test_seeds_that_agree_leave_the_luck_of_the_cells() -> None:
    cells = np.random.default_rng(1).normal(size=10)
    without = series([np.delete(cells, block).mean() for block in range(10)])
    found = estimate(series([cells.mean()] * 3), without)
    expected = stats.ttest_1samp(cells, 0).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))


def test_what_does_not_vary_at_all_has_no_width() -> None:
    found = estimate(series([2.0, 2.0]), series([2.0] * 10))
    assert (found["low"], found["high"]) == (2.0, 2.0)


@pytest.mark.parametrize("shape", [1.0, 4.0, 100.0])
def test_what_cannot_be_negative_has_an_interval_above_zero_that_holds_the_truth(shape: float) -> None:
    """Three seeds, from exponential values, of which Student's interval reaches below zero, to nearly normal ones."""
    values, inside, below = np.random.default_rng(0).gamma(shape, 1 / shape, (1000, 3)), {True: 0, False: 0}, 0
    for row in values:
        for positive in inside:
            found = estimate(series(row), positive=positive)
            inside[positive] += found["low"] <= 1 <= found["high"]
            below += found["low"] <= 0 if positive else 0
    assert below == 0
    assert inside[True] / 1000 > 0.94
    assert inside[True] >= inside[False] - 10


def test_both_intervals_agree_where_they_are_narrow() -> None:
    values = series([1.0, 1.001, 0.999])
    narrow, plain = estimate(values, positive=True), estimate(values)
    for end in ("low", "high"):
        assert narrow[end] == pytest.approx(plain[end], abs=1e-5)
    assert estimate(series([0.0, 0.0]), positive=True)["high"] == 0


@pytest.mark.parametrize("count", [5, 20])
def test_one_more_value_falls_where_it_should(count: int) -> None:
    """Of normal values in 95 %; between the quantiles of as many, in far fewer."""
    values = np.random.default_rng(0).normal(size=(1000, count + 1))
    inside = between = 0
    for *before, new in values:
        low, high = next_value(series(before))
        inside += low <= new <= high
        between += np.quantile(before, 0.025) <= new <= np.quantile(before, 0.975)
    assert 930 < inside < 970
    assert between < 900
    assert math.isnan(next_value(series([1.0]))[0])
