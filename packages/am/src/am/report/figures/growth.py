"""How fast cells multiply, over the first two coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from am.report.figures.planes import first_plane
from am.report.figures.style import PAGE, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_SIDE, _MARGIN = 1.45, 1.1


def growth(
    points: Sequence[tuple[float, NDArray[np.floating]]],
    rates: Sequence[tuple[str, Sequence[NDArray[np.floating]]]],
    columns: Sequence[str],
    unit: str = "",
) -> Figure:
    """A row for each who tells a growth rate, a column for each time: the same points, coloured by their rate.

    Rates are shown less their mean over the points of a time: those of probabilities are known up to a function of time
    alone. One colour scale serves all; it ends where 98 % of the rates of the first row do, what is beyond has the
    colour of the end.

    Parameters
    ----------
    points
        Times, and (n, d) points at each.
    rates
        Title, and (n,) rates per unit of t at the points of each time; the truth first, where it is known.
    columns
        Names of the coordinates.
    unit
        Of all coordinates.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    centred = [(title, [rate - rate.mean() for rate in of_times]) for title, of_times in rates]
    reach = float(np.quantile(np.abs(np.concatenate(centred[0][1])), 0.98)) or 1.0
    shade = ScalarMappable(TwoSlopeNorm(0, -reach, reach), "PuOr_r")
    with styled():
        width = min(PAGE, _SIDE * len(points) + _MARGIN)
        side = (width - _MARGIN) / len(points)
        figure = Figure(figsize=(width, 0.9 * side * len(rates) + 0.75), layout="constrained")
        panels = figure.subplots(len(rates), len(points), sharex=True, sharey=True, squeeze=False)
        measured = [f"{name}{f' ({unit})' if unit else ''}" for name in columns]
        names = ["$t$", measured[0]] if len(measured) == 1 else measured[:2]
        for row, ((title, of_times), line) in enumerate(zip(centred, panels, strict=True)):
            for column, ((time, x), rate, axes) in enumerate(zip(points, of_times, line, strict=True)):
                # The fastest and the slowest on top: they are few, and what is asked for.
                order = np.argsort(np.abs(rate))
                axes.scatter(
                    *first_plane(x, np.full(1, time))[order].T,
                    s=5,
                    c=shade.to_rgba(rate[order]),
                    linewidths=0.15,
                    edgecolors="0.4",
                    rasterized=True,
                )
                axes.grid(visible=False)
                # Whose, and below that when.
                words = title if column == 0 else " "
                axes.set_title(f"{words}\n$t$ = {time:.3g}" if row == 0 else words)
            line[0].set_ylabel(names[1])
        for axes in panels[-1]:
            axes.set_xlabel(names[0])
        beyond = max(float(np.abs(rate).max()) for _, of_times in centred for rate in of_times) > reach
        figure.colorbar(
            shade,
            ax=panels,
            label="growth rate less its mean,\nper unit of $t$",
            aspect=30,
            extend="both" if beyond else "neither",
        )
    return figure
