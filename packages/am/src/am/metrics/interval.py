"""Intervals of a mean and of a statistic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Interval:
    """A mean, or a statistic, with the interval around it."""

    mean: float
    low: float
    high: float
    n: int
    """How many values, or resamples, it comes from."""


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's t interval of the mean of independent values; its ends are nan for a single one."""
    from scipy.stats import t

    n = len(values)
    if not n:
        raise ValueError("an interval needs at least one value")
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(t.ppf((1 + level) / 2, n - 1)) * deviation / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def bootstrap(
    statistic: Callable[[Tensor, Tensor], float],
    x: Tensor,
    y: Tensor,
    resamples: int,
    generator: torch.Generator,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of ``statistic(x, y)`` under resampling of the points of both samples."""

    def resampled(points: Tensor) -> Tensor:
        return points[torch.randint(len(points), (len(points),), generator=generator)]

    values = torch.tensor([statistic(resampled(x), resampled(y)) for _ in range(resamples)], dtype=torch.float64)
    low, high = torch.quantile(values, torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)).tolist()
    return Interval(statistic(x, y), low, high, resamples)
