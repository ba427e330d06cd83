"""A metric against iterations of training, above its floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from am.report.estimates import next_value
from am.report.figures.metric_lines import draw_methods, panel, say_no_floor, scale
from am.report.figures.style import FLOOR, looks, styled
from am.report.labels import Label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def metric_over_iterations(
    history: pd.DataFrame,
    floor: pd.DataFrame,
    labels: Sequence[Label],
    metric: str,
    quantity: str,
    untrained: pd.DataFrame | None = None,
) -> Figure:
    """Mean over seeds of each method (thick) and its seeds (thin), the floor's 95 % range as a band.

    Parameters
    ----------
    history
        Rows of ``history.csv``.
    floor
        Rows of ``floor.csv``; those with other sizes than in ``history`` do not count.
    quantity
        What the metric is, for the axis, with its unit if it has one.
    untrained
        Rows of ``metrics.csv`` of methods that have no iterations: a level line each, at the mean
        over seeds and times.
    """
    from matplotlib.ticker import EngFormatter

    history = history[history["metric"] == metric]
    floor = floor[(floor["metric"] == metric) & floor["n_samples"].isin(history["n_samples"])]
    style = looks(labels)
    with styled():
        figure, axes = panel(quantity)
        draw_methods(axes, history, "iteration", labels)
        for label in labels:
            if untrained is None:
                break
            mine = untrained[(untrained["metric"] == metric) & (untrained["method"] == label.method)]
            if len(mine):
                look = style[label.method]
                axes.axhline(mine["value"].mean(), color=look.colour, linestyle=look.dash, label=label.title)
        if len(floor):
            low, high = next_value(floor.groupby("seed")["value"].mean())
            axes.axhspan(low, high, label="floor, 95 %", **FLOOR)
        else:
            say_no_floor(axes)
        scale(axes, history, floor)
        axes.set_xlabel("iteration")
        axes.margins(x=0.02)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        figure.legend(loc="outside lower center", ncols=2)
    return figure
