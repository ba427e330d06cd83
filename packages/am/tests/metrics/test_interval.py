"""Intervals, against scipy and by how often they cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from am.metrics.interval import bootstrap, mean_interval


def test_against_scipy() -> None:
    values = [1.0, 2.5, 2.0, 7.0]
    interval = mean_interval(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert (interval.mean, interval.n) == (3.125, 4)


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    interval = mean_interval([2.0])
    assert interval.mean == 2
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])


def test_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [mean_interval(rng.normal(1, 2, size=5).tolist()) for _ in range(2000)]
    assert np.mean([i.low < 1 < i.high for i in intervals]) == pytest.approx(0.95, abs=0.015)


def test_the_bootstrap_covers_the_difference_of_means() -> None:
    rng = torch.Generator().manual_seed(0)

    def statistic(x: torch.Tensor, y: torch.Tensor) -> float:
        return float(x.mean() - y.mean())

    covered = []
    for _ in range(150):
        x, y = (torch.randn(40, 1, generator=rng) for _ in range(2))
        interval = bootstrap(statistic, x, y, 200, rng)
        assert interval.low < interval.mean < interval.high
        covered.append(interval.low < 0 < interval.high)
    assert np.mean(covered) == pytest.approx(0.94, abs=0.05)
