"""Which rank each method has, and which it could have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from am.report.figures.style import PAGE, looks, styled
from am.report.labels import Label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_ROW = 0.14
"""Of a method, in inches."""


def method_ranks(
    ranks: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]], labels: Sequence[Label], quantities: Mapping[str, str]
) -> Figure:
    """A panel for each metric, a line for each method: marks are ranks by mean, bars the intervals of ranks.

    Thick bars rest on comparisons of 95 % each, as tables of pairs do; thin ones on comparisons that hold together.
    Methods stand in the order of the first metric, with those it does not rank below.

    Parameters
    ----------
    ranks
        For each metric, what :func:`am.report.ranks.ranks` makes of pairs of 95 % each, and of pairs together.
    quantities
        What each metric is.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    style, titles = looks(labels), {label.method: label.title for label in labels}
    methods: dict[str, None] = {}
    for each, _ in ranks.values():
        methods |= dict.fromkeys(each.sort_values("rank", kind="stable")["method"])
    order = list(methods)
    with styled():
        figure = Figure(figsize=(PAGE, _ROW * len(order) + 0.85), layout="constrained")
        panels = figure.subplots(1, len(ranks), squeeze=False, sharey=True).ravel()
        for (metric, found), axes in zip(ranks.items(), panels, strict=True):
            for rows, width in zip(found, (2.4, 0.8), strict=True):
                for row in rows.to_dict("records"):
                    look, y = style[row["method"]], order.index(row["method"])
                    axes.plot([row["low"], row["high"]], [y, y], color=look.colour, linewidth=width, alpha=0.6)
                    axes.plot(row["rank"], y, look.marker, color=look.colour, markersize=4, markeredgewidth=0)
            axes.set_title(quantities[metric], fontsize=7)
            axes.set_xlim(0.5, len(found[0]) + 0.5)
            axes.set_xticks([1, *range(5, len(found[0]) + 1, 5)])
            axes.grid(axis="x")
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
            axes.set_xlabel("rank", fontsize=7)
        panels[0].set_yticks(range(len(order)), [titles[method] for method in order])
        panels[0].set_ylim(len(order) - 0.4, -0.6)
        parts = (
            Line2D([], [], color="0.3", marker="o", markersize=4, linestyle="none", label="by mean"),
            Line2D([], [], color="0.3", linewidth=2.4, alpha=0.6, label="interval, comparisons of 95 % each"),
            Line2D([], [], color="0.3", linewidth=0.8, alpha=0.6, label="of 95 % together"),
        )
        figure.legend(handles=parts, loc="outside lower center", ncols=3, handlelength=1.6)
    return figure
