"""A metric over the time of the dynamics, above its floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from am.report.estimates import next_value
from am.report.figures.metric_lines import draw_methods, panel, say_no_floor, scale
from am.report.figures.style import FLOOR, styled
from am.report.labels import Label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def metric_over_time(
    metrics: pd.DataFrame,
    floor: pd.DataFrame,
    labels: Sequence[Label],
    metric: str,
    quantity: str,
    time: str = "time $t$",
) -> Figure:
    """Mean over seeds of each method (markers), its seeds (thin), and where one more repeat of the floor falls (band).

    Parameters
    ----------
    metrics, floor
        Rows of ``metrics.csv`` and ``floor.csv``; those of the floor with other times or sizes do not count.
    quantity, time
        What stands on the axes, with units.
    """
    # Times are decimals that were written and read: 0.30000000000000004 is 0.3.
    metrics, floor = (
        rows[rows["metric"] == metric].assign(time=lambda rows: rows["time"].round(9)) for rows in (metrics, floor)
    )
    floor = floor.merge(metrics[["time", "n_samples"]].drop_duplicates())
    with styled():
        figure, axes = panel(quantity)
        draw_methods(axes, metrics, "time", labels)
        if len(floor):
            by_time = floor.groupby("time")["value"]
            low, high = by_time.agg(lambda of: next_value(of)[0]), by_time.agg(lambda of: next_value(of)[1])
            axes.fill_between(low.index, low, high, label="floor, 95 %", **FLOOR)
        else:
            say_no_floor(axes)
        scale(axes, metrics, floor)
        axes.set_xlabel(time)
        axes.margins(x=0.02)
        figure.legend(loc="outside lower center", ncols=2)
    return figure
