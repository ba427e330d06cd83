"""A mean over seeds, and how far it could be off: by the luck of seeds, and by that of the cells that judge."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from am.io.tidy import BLOCKS

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def estimate(
    seeds: pd.Series[float], blocks: pd.Series[float] | None = None, level: float = 0.95, positive: bool = False
) -> dict[str, Any]:
    """Mean over seeds with an interval, undefined (NaN) for one seed: mean, low, high, seeds, seeds_sd, cells_se.

    Without ``blocks`` it is Student's interval over seeds. With them, so is the one over the points that all seeds
    share, and the squares of the half-widths of both are added. Of a ``positive`` quantity it is the interval of the
    logarithm, by the delta method: the half-width h becomes the factor exp(h / mean), so no end is below zero.

    Parameters
    ----------
    seeds
        One value a seed.
    blocks
        The mean over the same seeds, measured without one block of points after another.
    level
        Of the interval.
    positive
        Whether the quantity cannot be negative.
    """
    count = len(seeds)
    mean = float(seeds.mean(skipna=False)) if count else math.nan
    spread = float(seeds.to_numpy(float).std(ddof=1)) if count > 1 else math.nan
    half = student(count, level) * spread / math.sqrt(count) if count > 1 else math.nan
    shared = math.nan
    if blocks is not None and len(blocks) > 1:
        shared = jackknife_error(blocks)
        half = math.hypot(half, student(len(blocks), level) * shared)
    low, high = mean - half, mean + half
    if positive and mean > 0 and half >= 0:
        factor = math.exp(min(half / mean, _MOST))
        low, high = mean / factor, mean * factor
    return {
        "mean": mean,
        "low": low,
        "high": high,
        "seeds": count,
        "seeds_sd": spread,
        "cells_se": shared,
    }


def next_value(values: pd.Series[float], level: float = 0.95) -> tuple[float, float]:
    """Ends between which one more value like these falls; NaN where there are fewer than two.

    Student's prediction interval, m -+ t s sqrt(1 + 1 / n). Quantiles of a few values hold far less than they are
    called: those at 2.5 % and 97.5 % of five values, two of three.
    """
    count = len(values)
    if count < 2:
        return math.nan, math.nan
    mean, half = float(values.mean()), student(count, level) * float(values.std()) * math.sqrt(1 + 1 / count)
    return mean - half, mean + half


def seeds_needed(room: float, seeds_sd: float, cells_se: float) -> int | None:
    """The least number of seeds of which the interval reaches no further than ``room``; None above MOST_SEEDS.

    Parameters
    ----------
    room
        From the mean to where the interval must end.
    seeds_sd, cells_se
        As from :func:`estimate`; the part of the points that all seeds share stays what it is.
    """
    shared = 0.0 if math.isnan(cells_se) else student(BLOCKS, 0.95) * cells_se
    counts, reach = _reach()
    enough = np.hypot(reach * seeds_sd, shared) <= room
    return int(counts[enough.argmax()]) if enough.any() else None


@cache
def _reach() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Numbers of seeds, and the half-width of a 95 % interval of so many, whose spread is 1."""
    from scipy.special import stdtrit

    counts = np.arange(2, MOST_SEEDS + 1)
    return counts, stdtrit(counts - 1, 0.975) / np.sqrt(counts)


MOST_SEEDS = 1000
"""Beyond which a number of seeds is no advice."""
_MOST = 700.0
"""Of which the exponential is still a number."""


@cache
def student(count: int, level: float) -> float:
    """How many standard errors an interval reaches, where those come from so many values."""
    from scipy.special import stdtrit  # quantiles of Student's t; scipy.stats takes a second to import

    return float(stdtrit(count - 1, (1 + level) / 2))


def jackknife_error(blocks: pd.Series[float]) -> float:
    """Standard error of a statistic from its values without one of g equal blocks of points after another.

    sqrt((g - 1) / g sum_j (v_j - mean)^2), the delete-a-group jackknife; for a difference of two samples whose
    blocks are left out together, the error of both. Source: Wolter, Introduction to Variance Estimation, chapter 4.
    """
    values = blocks.to_numpy(float)
    g = len(values)
    return math.sqrt((g - 1) / g * float(((values - values.mean()) ** 2).sum()))
