"""Which way a metric is better."""

from __future__ import annotations

from typing import Literal

Better = Literal["lower", "higher"]
"""Lower values are better, unless a metric says otherwise."""


def ahead(low: float, high: float, other_low: float, other_high: float, better: Better) -> bool:
    """Whether the interval [low, high] lies wholly on the better side of the other; never where an end is NaN."""
    return high < other_low if better == "lower" else low > other_high


def in_words(better: Better) -> str:
    """What to put behind the name of a metric: nothing where lower is better, as it mostly is."""
    return "" if better == "lower" else ", higher is better"
