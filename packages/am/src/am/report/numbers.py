"""Numbers as readers see them: three digits, short whatever their size."""

from __future__ import annotations

import math


def number(value: float | None, like: float | None = None) -> str:
    """``value`` with three digits, plain or scientific as suits ``like`` (itself by default)."""
    if value is None or math.isnan(value):
        return "—"
    if value == 0:
        return "0"
    size = abs(value if like is None or math.isnan(like) else like)
    if size and not 1e-2 <= size < 1e5:
        return f"{value:.2e}"
    decimals = max(0, 2 - math.floor(math.log10(size))) if size else 0
    return f"{value:.{decimals}f}"


def interval(mean: float, low: float, high: float, count: int) -> str:
    """A mean over ``count`` seeds with its 95 % interval, which one seed alone does not have."""
    if not count:
        return "not run"
    if math.isnan(low) or math.isnan(high):
        return f"{number(mean)} [no interval: {count} seed{'s' * (count > 1)}]"
    return f"{number(mean)} [{number(low, mean)}, {number(high, mean)}]"


def with_spread(value: float | None, spread: float | None, over: str | None = None) -> str:
    """A value plus or minus its spread, and what the spread is over."""
    if spread is None or math.isnan(spread):
        return number(value)
    return f"{number(value)} ± {number(spread, value)}" + (f" over {over}" if over else "")
