"""Where particles go: lines over the first two coordinates, with the snapshots underneath."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from am.report.figures.planes import Population, first_plane
from am.report.figures.style import PAGE, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from numpy.typing import NDArray

Course = tuple["NDArray[np.floating]", "NDArray[np.floating]"]
"""(T,) times, and (T, n, d) positions of the same particles at them."""
_POINTS = 1000
_LINES = 100
_TICKS = 8
"""At most, of the colour bar."""
_DOT = 1.5
"""Diameter of a dot, in points, of a particle whose weight is the mean."""


def trajectories(
    snapshots: Population,
    models: Sequence[tuple[str, Sequence[Course]]],
    columns: Sequence[str],
    unit: str = "",
    time: str = "$t$",
    weights: NDArray[np.floating] | None = None,
) -> Figure:
    """A panel for each model: its particles as lines from ring to dot, above snapshots coloured by time.

    Rings and dots have the colour of their times too where particles start at several. Colours run evenly from
    snapshot to snapshot, however uneven the times are. No snapshot hides another: their points are drawn in random
    order.

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
    weights
        (n,) of the particles at the end, of mean one, where there is one course alone: areas of their dots.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    # Times may be decimals that were written and read, in any unit: 0.30000000000000004 is 0.3.
    seen = np.unique(snapshots.time)
    nearby = 1e-9 * np.ptp(seen)
    times = seen[np.diff(seen, prepend=-np.inf) > nearby]
    places = np.arange(len(times))
    shade = ScalarMappable(Normalize(0, max(places[-1], 1)), "viridis")

    def coloured(moment: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.asarray(shade.to_rgba(np.interp(moment, times, places)))

    clouds = [_thinned(snapshots.x[np.abs(snapshots.time - moment) <= nearby]) for moment in times]
    seen_at = np.repeat(times, [len(cloud) for cloud in clouds])
    order = np.random.default_rng(0).permutation(len(seen_at))
    points = first_plane(np.concatenate(clouds)[order], seen_at[order])
    with styled():
        across = min(len(models), 3)
        down = -(-len(models) // across)
        side = (PAGE - 0.9) / max(across, 2)
        figure = Figure(figsize=(side * across + 0.9, side * down), layout="constrained")
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for axes in panels.flat[len(models) :]:
            axes.remove()
        for (title, courses), axes in zip(models, panels.flat, strict=False):
            axes.scatter(*points.T, s=4, c=coloured(seen_at[order]), alpha=0.5, linewidths=0, rasterized=True)
            for moments, x in courses:
                shown = range(min(x.shape[1], max(1, _LINES // len(courses))))
                lines = np.stack([first_plane(x[:, i], moments) for i in shown], 1)
                axes.plot(lines[..., 0], lines[..., 1], color="0.15", linewidth=0.5, alpha=0.6)
                # Where particles start at several times, they lie on snapshots and have the colours of these.
                start, end = ("0.15", "0.15") if len(courses) == 1 else (coloured(moments[k]) for k in (0, -1))
                axes.plot(*lines[0].T, "o", color=start, markerfacecolor="none", markersize=2.5, markeredgewidth=0.5)
                if weights is None:
                    axes.plot(*lines[-1].T, "o", color=end, markersize=_DOT)
                else:
                    areas = _DOT**2 * weights[: len(shown)]
                    axes.scatter(*lines[-1].T, s=areas, color="0.15", linewidths=0, zorder=2)
            axes.set_title(title)
            axes.grid(visible=False)
        measured = [f"{name}{f' ({unit})' if unit else ''}" for name in columns]
        names = [time, measured[0]] if len(measured) == 1 else measured[:2]
        for axes in panels[:, 0]:
            axes.set_ylabel(names[1])
        for axes in panels.flat[len(models) - across : len(models)]:
            axes.set_xlabel(names[0])
            axes.tick_params(labelbottom=True)
        every = -(-len(times) // _TICKS)
        bar = figure.colorbar(
            shade,
            ax=panels.ravel()[: len(models)].tolist(),
            label=f"snapshot at {time}",
            aspect=30,
            ticks=places[::every],
        )
        bar.ax.set_yticklabels([f"{moment:g}" for moment in times[::every]])
        bar.ax.minorticks_off()
        figure.legend(
            handles=_keys(weighted=weights is not None), loc="outside lower center", ncols=3 if across > 1 else 1
        )
    return figure


def _keys(*, weighted: bool) -> list[Line2D]:
    """What dots and rings mean."""
    from matplotlib.lines import Line2D

    size = " (area: weight)" if weighted else ""
    looks: list[tuple[str, dict[str, Any]]] = [
        ("observed, coloured by time", {"color": "0.6", "markersize": 3, "markeredgewidth": 0}),
        ("start of a path", {"color": "0.15", "markerfacecolor": "none", "markersize": 2.5, "markeredgewidth": 0.5}),
        (f"end of a path{size}", {"color": "0.15", "markersize": _DOT, "markeredgewidth": 0}),
    ]
    return [Line2D([], [], marker="o", linestyle="none", label=label, **look) for label, look in looks]


def _thinned(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return x[:: -(-len(x) // _POINTS)]
