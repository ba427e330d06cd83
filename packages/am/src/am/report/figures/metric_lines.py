"""What figures of a metric have in common: methods as lines over their seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from am.report.figures.style import COLUMN, Look, looks
from am.report.labels import Label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def panel(quantity: str) -> tuple[Figure, Axes]:
    """A figure one column wide with one panel; ``quantity`` is what its upright axis shows, with units."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(COLUMN, 2.8), layout="constrained")
    axes = figure.subplots()
    # Above the axis, where long words have room.
    axes.set_title(quantity)
    return figure, axes


def draw_methods(axes: Axes, rows: pd.DataFrame, over: str, labels: Sequence[Label]) -> None:
    """Draw each method: seeds as thin lines, their mean as a thick one where every seed has a value."""
    style = looks(labels)
    for label in labels:
        mine = rows[rows["method"] == label.method]
        if len(mine):
            _draw(axes, mine.pivot(index=over, columns="seed", values="value"), label, style[label.method])


def scale(axes: Axes, rows: pd.DataFrame, floor: pd.DataFrame) -> None:
    """Make the upright axis logarithmic, unless a value is not positive.

    It ends a factor of three below the lowest mean: what single seeds and repeats do deeper down is
    noise about zero.
    """
    if (rows["value"] <= 0).any() or (floor["value"] <= 0).any():
        return
    over = "time" if "time" in rows else "iteration"
    lowest = min(
        rows.groupby(["method", over])["value"].mean().min(), floor["value"].mean() if len(floor) else math.inf
    )
    axes.set_yscale("log")
    axes.set_ylim(bottom=lowest / 3)


def say_no_floor(axes: Axes) -> None:
    """Put into the legend that no floor belongs to what is shown."""
    axes.plot([], [], " ", label="(no floor at these sizes)")


def _draw(axes: Axes, seeds: pd.DataFrame, label: Label, look: Look) -> None:
    if len(seeds.columns) > 1:
        axes.plot(seeds.index, seeds, color=look.colour, linewidth=0.5, alpha=0.5)
    mean = seeds.dropna().mean(axis=1)
    axes.plot(
        mean.index,
        mean,
        color=look.colour,
        linestyle=look.dash,
        marker=look.marker,
        markersize=3.2,
        markevery=max(1, len(mean) // 10),
        markeredgecolor="white",
        markeredgewidth=0.3,
        label=label.title,
    )
