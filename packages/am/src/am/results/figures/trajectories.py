"""Where particles go: lines over the first two coordinates, with the snapshots underneath."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from am.results.figures.planes import Population, first_plane
from am.results.figures.style import PAGE, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

Course = tuple["NDArray[np.floating]", "NDArray[np.floating]"]
"""(T,) times, and (T, n, d) positions of the same particles at them."""
_POINTS = 1000
_LINES = 100


def trajectories(
    snapshots: Population,
    models: Sequence[tuple[str, Sequence[Course]]],
    columns: Sequence[str],
    unit: str = "",
    time: str = "$t$",
) -> Figure:
    """A panel for each model: its particles as lines from ring to dot, above snapshots coloured by time.

    Rings and dots have the colour of their times too where particles start at several.

    Where there is one coordinate alone, it is drawn over time.

    Parameters
    ----------
    snapshots
        What was observed; at most a thousand points of each time are drawn.
    models
        Title, and one course or several: particles that start anew have one from each start. A hundred particles of all
        courses together are drawn.
    columns
        Names of the coordinates.
    unit
        Of all coordinates.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    # Times may be decimals that were written and read, in any unit: 0.30000000000000004 is 0.3.
    seen = np.unique(snapshots.time)
    nearby = 1e-9 * np.ptp(seen)
    times = seen[np.diff(seen, prepend=-np.inf) > nearby]
    shade = ScalarMappable(Normalize(times[0], times[-1]), "viridis")
    with styled():
        across = min(len(models), 3)
        down = -(-len(models) // across)
        side = (PAGE - 0.9) / max(across, 2)
        figure = Figure(figsize=(side * across + 0.9, side * down), layout="constrained")
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for axes in panels.flat[len(models) :]:
            axes.remove()
        for (title, courses), axes in zip(models, panels.flat, strict=False):
            for moment in times:
                there = np.abs(snapshots.time - moment) <= nearby
                points = first_plane(_thinned(snapshots.x[there]), np.full(1, moment))
                axes.scatter(*points.T, s=4, color=shade.to_rgba(moment), alpha=0.5, linewidths=0, rasterized=True)
            for moments, x in courses:
                shown = range(min(x.shape[1], max(1, _LINES // len(courses))))
                lines = np.stack([first_plane(x[:, i], moments) for i in shown], 1)
                axes.plot(lines[..., 0], lines[..., 1], color="0.15", linewidth=0.5, alpha=0.6)
                # Where particles start at several times, they lie on snapshots and have the colours of these.
                start, end = ("0.15", "0.15") if len(courses) == 1 else (shade.to_rgba(moments[k]) for k in (0, -1))
                axes.plot(*lines[0].T, "o", color=start, markerfacecolor="white", markersize=2.5, markeredgewidth=0.5)
                axes.plot(*lines[-1].T, "o", color=end, markersize=1.5)
            axes.set_title(title)
            axes.grid(visible=False)
        measured = [f"{name}{f' ({unit})' if unit else ''}" for name in columns]
        names = [time, measured[0]] if len(measured) == 1 else measured[:2]
        for axes in panels[:, 0]:
            axes.set_ylabel(names[1])
        for axes in panels.flat[len(models) - across : len(models)]:
            axes.set_xlabel(names[0])
            axes.tick_params(labelbottom=True)
        ticks = times if len(times) <= 8 else None
        figure.colorbar(
            shade, ax=panels.ravel()[: len(models)].tolist(), label=f"snapshot at {time}", ticks=ticks, aspect=30
        )
    return figure


def _thinned(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return x[:: -(-len(x) // _POINTS)]
