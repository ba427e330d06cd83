"""A mean over seeds, and how far it could be off: by the luck of seeds, and by that of the cells that judge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def estimate(seeds: pd.Series[float], blocks: pd.Series[float] | None = None, level: float = 0.95) -> dict[str, Any]:
    """Mean over seeds with an interval, undefined (NaN) for one seed: mean, low, high, seeds, seeds_sd, cells_se.

    Without ``blocks`` it is Student's interval over seeds. With them, so is the one over the points that all seeds
    share, and the squares of the half-widths of both are added.

    Parameters
    ----------
    seeds
        One value a seed.
    blocks
        The mean over the same seeds, measured without one block of points after another.
    level
        Of the interval.
    """
    count = len(seeds)
    mean = float(seeds.mean(skipna=False)) if count else math.nan
    spread = float(seeds.to_numpy(float).std(ddof=1)) if count > 1 else math.nan
    half = _student(count, level) * spread / math.sqrt(count) if count > 1 else math.nan
    shared = math.nan
    if blocks is not None and len(blocks) > 1:
        shared = jackknife_error(blocks)
        half = math.hypot(half, _student(len(blocks), level) * shared)
    return {
        "mean": mean,
        "low": mean - half,
        "high": mean + half,
        "seeds": count,
        "seeds_sd": spread,
        "cells_se": shared,
    }


def _student(count: int, level: float) -> float:
    """How many standard errors an interval reaches, where those come from so many values."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, count - 1))


def jackknife_error(blocks: pd.Series[float]) -> float:
    """Standard error of a statistic from its values without one of g equal blocks of points after another.

    sqrt((g - 1) / g sum_j (v_j - mean)^2), the delete-a-group jackknife; for a difference of two samples whose
    blocks are left out together, the error of both. Source: Wolter, Introduction to Variance Estimation, chapter 4.
    """
    values = blocks.to_numpy(float)
    g = len(values)
    return math.sqrt((g - 1) / g * float(((values - values.mean()) ** 2).sum()))
