"""Intervals over seeds, and over points that all seeds share."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from am.results.estimates import estimate, jackknife_error


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
