"""Figures of a fit to cells, each on matplotlib axes: on the basis of the fit, or on any other such as ``X_umap``.

Examples
--------
>>> import am
>>> cells = am.datasets.load("myoblast", dimensions=3)
>>> model = am.fit(cells, time_key="time")
>>> am.pl.quality(cells).get_xlabel()
'energy distance to the later snapshot (X_pca)'
>>> axes = am.pl.trajectories(model, cells)
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from am.config import ConfigError, nearest
from am.extras import require

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from am.cells.comparison import Comparison, Task
    from am.cells.model import CellModel

    Floats = NDArray[np.float64]

_NEIGHBOURS = 15
"""Cells whose mean place on another basis is that of a point of the basis of the fit."""
_GRID = 25
"""Nodes of the grid of stream lines along each axis."""


def quality(adata: AnnData, ax: Axes | None = None) -> Axes:
    """How near held-out cells come to each later snapshot, beside no dynamics and the noise floor.

    Parameters
    ----------
    adata
        What :func:`am.fit` wrote into.

    Raises
    ------
    ConfigError
        There is no fit in it.
    """
    table, told = _told(adata)["quality"], _told(adata)
    ax = _axes(ax)
    from am.cells.page import draw  # _axes has said which extra is missing

    draw(table, str(told["time_key"]), str(told["basis"]), ax)
    return ax


def trajectories(
    model: CellModel, adata: AnnData, basis: str | None = None, lines: int = 100, ax: Axes | None = None
) -> Axes:
    """Cells of the first time on their way to the last, above all cells coloured by time.

    Parameters
    ----------
    adata
        Cells with the basis of the fit, its column of times, and ``basis``.
    basis
        Key of ``obsm``, of which two columns are drawn: that of the fit when None. On another, a point lies at the mean
        of the cells that are nearest to it in the basis of the fit.
    lines
        Cells that are followed.
    """
    times = model.units.clock.times
    x, place = _fitted(model, adata), _Place.of(model, adata, basis)
    at = np.array([model.number(time) for time in adata.obs[model.about["time_key"]]])
    first = x[at == times[0]]
    chosen = np.random.default_rng(0).permutation(len(first))[:lines]
    moments = np.concatenate([np.linspace(a, b, 9)[1:] for a, b in pairwise(times)])
    moved = model.predict(first[chosen], times[0], moments.tolist()).x
    path = np.stack([place(points) for points in [first[chosen], *moved]])
    ax = _axes(ax)
    dots = ax.scatter(place.cells[:, 0], place.cells[:, 1], c=at, s=4, cmap="viridis", linewidths=0)
    ax.plot(path[..., 0], path[..., 1], color="0.1", linewidth=0.6, alpha=0.6)
    ax.plot(path[-1, :, 0], path[-1, :, 1], ".", color="0.1", markersize=3)
    _named(ax, place.basis)
    ax.figure.colorbar(dots, ax=ax, label=str(model.about["time_key"]))
    return ax


def streamlines(model: CellModel, adata: AnnData, basis: str | None = None, ax: Axes | None = None) -> Axes:
    """Stream lines of the velocity of each cell at its own time; parameters as of :func:`trajectories`.

    On another basis than that of the fit, an arrow leads from the place of a cell to its place a little later.
    """
    x, place = _fitted(model, adata), _Place.of(model, adata, basis)
    at = np.array([model.number(time) for time in adata.obs[model.about["time_key"]]])
    velocity = np.empty_like(x)
    for time in np.unique(at):
        velocity[at == time] = model.velocity(x[at == time], time)
    size = np.linalg.norm(x - x.mean(0), axis=1).mean()
    step = 0.1 * size / (np.linalg.norm(velocity, axis=1).mean() or 1.0)
    arrows = (place(x + step * velocity) - place(x)) / step
    nodes, flow = _smoothed(place.cells, arrows)
    ax = _axes(ax)
    dots = ax.scatter(place.cells[:, 0], place.cells[:, 1], c=at, s=4, cmap="viridis", linewidths=0)
    ax.streamplot(
        nodes[0], nodes[1], flow[..., 0], flow[..., 1], color="0.1", linewidth=0.7, arrowsize=0.8, density=1.2
    )
    _named(ax, place.basis)
    ax.figure.colorbar(dots, ax=ax, label=str(model.about["time_key"]))
    return ax


def growth(adata: AnnData, basis: str | None = None, ax: Axes | None = None) -> Axes:
    """Growth rates of cells in colour, white where there is none.

    Raises
    ------
    ConfigError
        There is no fit in ``adata``, or none of a method that weighs cells; or ``obsm`` has no such basis.
    """
    told = _told(adata)
    if "am_growth" not in adata.obs:
        raise ConfigError(f"adata: the method '{told['method']}' tells no growth; uam_closed and uam do")
    key, rates = basis or told["basis"], adata.obs["am_growth"].to_numpy(float)
    points = _embedding(adata, key)[:, :2]
    most = float(np.nanmax(np.abs(rates))) or 1.0
    ax = _axes(ax)
    dots = ax.scatter(points[:, 0], points[:, 1], c=rates, s=4, cmap="RdBu_r", vmin=-most, vmax=most, linewidths=0)
    _named(ax, key)
    ax.figure.colorbar(dots, ax=ax, label=f"growth rate (per unit of {told['time_key']})")
    return ax


def comparison(found: Comparison, held_out: Task = "cells", ax: Axes | None = None) -> Axes:
    """How near each method comes to what was held out, the nearest first, as the mean over intervals.

    A whisker is the 95 % interval of the difference to the best method: where it reaches the dotted line, the two
    cannot be told apart. Hollow dots were cut short.

    Parameters
    ----------
    found
        What :func:`am.compare` returned.
    held_out
        ``cells``, or ``time``.

    Raises
    ------
    ConfigError
        Nothing of that kind was held out.
    """
    table = found.table
    rows = table[(table["held_out"] == held_out) & table["from"].isna() & table["distance"].notna()]
    if rows.empty:
        raise ConfigError(f"nothing is known of {held_out} held out: {nearest(held_out, table['held_out'].unique())}")
    rows = rows.sort_values("distance")
    ax = _axes(ax)
    ax.axvspan(min(0.0, rows["distance"].min()), rows["noise_floor"].iloc[0], color="0.9", lw=0, label="noise floor")
    ax.axvline(rows.loc[~rows["control"], "distance"].min(), color="0.4", linestyle=":", linewidth=0.8)
    names = []
    for place, row in enumerate(rows.to_dict("records")):
        names.append(f"{row['method']} (control)" if row["control"] else str(row["method"]))
        colour = "0.5" if row["control"] else "#0072B2"
        face = "white" if row["cut_short"] else colour
        reach = row["behind_high"] - row["behind"]
        ax.errorbar(row["distance"], place, xerr=reach, color=colour, fmt="o", markersize=4, mfc=face, elinewidth=1)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.set_xlabel(f"energy distance to the later cells ({found.basis})")
    ax.set_title("cells held out" if held_out == "cells" else "times held out")
    return ax


class _Place:
    """Where points of the basis of a fit lie on two axes."""

    def __init__(self, fitted: Floats, cells: Floats, basis: str, same: bool) -> None:
        self.fitted, self.cells, self.basis, self.same = fitted, cells, basis, same

    @classmethod
    def of(cls, model: CellModel, adata: AnnData, basis: str | None) -> _Place:
        key = basis or str(model.about["basis"])
        return cls(_fitted(model, adata), _embedding(adata, key)[:, :2], key, key == model.about["basis"])

    def __call__(self, x: Floats) -> Floats:
        """(n, d) points, to (n, 2)."""
        if self.same:
            return x[:, :2]
        from scipy.spatial import cKDTree

        known = np.isfinite(self.cells).all(1)
        count = min(_NEIGHBOURS, int(known.sum()))
        distance, index = cKDTree(self.fitted[known]).query(x, range(1, count + 1))
        weight = np.exp(-((distance / np.median(distance)) ** 2)) + 1e-12
        return (weight[..., None] * self.cells[known][index]).sum(1) / weight.sum(1, keepdims=True)


def _smoothed(cells: Floats, arrows: Floats) -> tuple[tuple[Floats, Floats], Floats]:
    """Nodes of a grid along both axes, and means of arrows around them, NaN far from all cells: (rows, columns, 2)."""
    from scipy.spatial import cKDTree

    low, high = cells.min(0), cells.max(0)
    x, y = (np.linspace(a, b, _GRID) for a, b in zip(low, high, strict=True))
    nodes = np.stack(np.meshgrid(x, y), -1)
    width = float(np.max(high - low)) / _GRID
    count = min(30, len(cells))
    distance, index = cKDTree(cells).query(nodes, range(1, count + 1))
    weight = np.exp(-0.5 * (distance / width) ** 2)
    total = weight.sum(-1)
    flow = (weight[..., None] * arrows[index]).sum(-2) / np.maximum(total, 1e-12)[..., None]
    flow[total < 0.5] = math.nan
    return (x, y), flow


def _told(adata: AnnData) -> Any:
    if "am" not in adata.uns or "quality" not in adata.uns["am"]:
        raise ConfigError("adata: there is no fit in uns['am']; am.fit(adata, time_key=...) writes it")
    return adata.uns["am"]


def _fitted(model: CellModel, adata: AnnData) -> Floats:
    return _embedding(adata, str(model.about["basis"]))[:, : len(model.units.centre)]


def _embedding(adata: AnnData, key: str) -> Floats:
    if key not in adata.obsm:
        raise ConfigError(f"adata: obsm has no '{key}'; {nearest(key, adata.obsm.keys())}")
    points = np.asarray(adata.obsm[key], np.float64)
    if points.ndim != 2 or points.shape[1] < 2:
        raise ConfigError(f"adata: obsm['{key}'] has the shape {points.shape}; two columns are needed for a figure")
    return points


def _named(ax: Axes, basis: str) -> None:
    for axis, number in ((ax.xaxis, 1), (ax.yaxis, 2)):
        axis.set_label_text(f"{basis.removeprefix('X_')} {number}")


def _axes(ax: Axes | None) -> Axes:
    require("am.pl", "report")
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]
