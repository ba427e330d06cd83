"""The loss of each method while it trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from am.report.figures.style import PAGE, looks, styled
from am.report.labels import Label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_BINS = 100


def training_losses(training: pd.DataFrame, labels: Sequence[Label]) -> Figure:
    """A panel a method, since losses of different methods cannot be compared.

    Steps are put in bins: a line a seed for the median of each, a band from the 10 to the 90 %
    quantile of all seeds. The axis covers the bands, but for those of the first steps.

    Parameters
    ----------
    training
        Rows of all ``training.csv``: method, seed, step, loss.
    """
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter
    from seaborn import lineplot

    shown = [label for label in labels if (training["method"] == label.method).any()]
    look = looks(labels)
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    with styled():
        figure = Figure(figsize=(PAGE, 0.3 + 1.5 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for label, axes in zip(shown, grid, strict=False):
            mine = training[training["method"] == label.method]
            width = max(1, math.ceil((mine["step"].max() + 1) / _BINS))
            mine = mine.assign(step=(mine["step"] // width + 0.5) * width)
            colour = look[label.method].colour
            band = mine.groupby("step")["loss"].quantile(np.array([0.1, 0.9])).unstack()
            axes.fill_between(band.index, band[0.1], band[0.9], color=colour, alpha=0.2, linewidth=0)
            seeds = mine.groupby(["seed", "step"], as_index=False)["loss"].median()
            lineplot(seeds, x="step", y="loss", units="seed", estimator=None, color=colour, linewidth=0.8, ax=axes)
            settled = band.iloc[len(band) // 20 :]
            low, high = np.nanmin(settled[0.1]), np.nanmax(settled[0.9])
            margin = 0.05 * (high - low) or 1.0
            axes.set(title=label.title, xlabel="", ylabel="", ylim=(low - margin, high + margin))
            axes.margins(x=0.01)
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        for axes in grid[len(shown) :]:
            axes.set_visible(False)
        figure.supxlabel("iteration", fontsize=8)
        figure.supylabel("loss", fontsize=8)
    return figure
