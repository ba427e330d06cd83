"""Which groups of cells become which, from each time to the next, and how fast each of them grows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from am.io.snapshots import DataError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from am.cells.model import CellModel

    Floats = NDArray[np.float64]
    Rows = NDArray[np.intp]

NEIGHBOURS = 15
"""Cells of the later time whose groups a pushed cell is counted among."""
_Z = 1.959963984540054
"""Quantile of the normal distribution at 97.5 %."""


def transitions(model: CellModel, adata: AnnData, group_key: str) -> pd.DataFrame:
    """Shares of each group's cells that are in each group at the next time.

    Cells of a time are pushed to the next one. There each counts for the groups of the 15 cells that are nearest in the
    basis of the fit, with its weight where the method weighs cells. Intervals at 95 % are Wilson's, of as many cells as
    the weights are worth; they hold the sampling error of the cells, not that of the fit.

    Parameters
    ----------
    group_key
        Column of ``obs`` such as a cell type; cells without a value count for none.

    Returns
    -------
    A row for each interval and pair of groups: from_time, to_time, from_group, to_group, share, low, high, cells,
    and what share the later group has among the cells that were observed there.

    Raises
    ------
    DataError
        There is no such column, or a time has no cell with a value in it.

    Examples
    --------
    >>> import am
    >>> cells = am.datasets.load("myoblast", dimensions=3)
    >>> cells.obs["side"] = ["left" if x < 0 else "right" for x in cells.obsm["X_pca"][:, 0]]
    >>> model = am.fit(cells, time_key="time")
    >>> table = am.transitions(model, cells, "side")
    >>> bool((table.groupby(["from_time", "from_group"])["share"].sum().round(6) == 1).all())
    True
    """
    import pandas as pd

    cells = Grouped.of(model, adata, group_key)
    rows = []
    for begin, end in pairwise(model.units.clock.times.tolist()):
        here, later = cells.at(begin), cells.fates(end)
        future = model.predict(cells.x[here], begin, end)
        near = later.near(future.x)
        weights = future.weights_or_ones
        observed = later.groups.mean(0)
        for name in cells.names:
            mine = cells.group[here] == name
            if not weights[mine].sum() > 0:
                continue
            worth = weights[mine].sum() ** 2 / (weights[mine] ** 2).sum()
            shares = weighted(near[mine], weights[mine])
            for other, share, seen in zip(cells.names, shares.tolist(), observed.tolist(), strict=True):
                rows.append([begin, end, name, other, share, *_wilson(share, float(worth)), int(mine.sum()), seen])
    columns = ("from_time", "to_time", "from_group", "to_group", "share", "low", "high", "cells", "observed")
    return pd.DataFrame(rows, columns=list(columns))


def growth(adata: AnnData, group_key: str) -> pd.DataFrame:
    """Mean growth rate of the cells of each group at each time.

    It is of cells as they were observed, and holds death as well as division. Unless the fit was given masses, the mean
    of each time is zero: then only differences between groups of one time are told.

    Parameters
    ----------
    adata
        What :func:`am.fit` wrote into, by a method that weighs cells.
    group_key
        Column of ``obs`` such as a cell type; cells without a value count for none.

    Returns
    -------
    A row for each group and time: group, time, growth (per unit of the column of times), error, cells. The error is the
    mean of the standard errors of the cells, which is the most that of their mean can be: they come from the same few
    fits and do not average out. It is NaN where the fit tells none.

    Raises
    ------
    DataError
        There is no such column, or no growth was told.

    Examples
    --------
    >>> import am
    >>> from am.cells import growth
    >>> cells = am.datasets.load("myoblast", dimensions=3)
    >>> cells.obs["side"] = ["left" if x < 0 else "right" for x in cells.obsm["X_pca"][:, 0]]
    >>> model = am.fit(cells, time_key="time", method="uam_closed", held_out=0)
    >>> growth(cells, "side").columns.tolist()
    ['group', 'time', 'growth', 'error', 'cells']
    """
    _column(adata, group_key)
    if "am_growth" not in adata.obs:
        raise DataError("adata: obs has no 'am_growth'; am.fit of a method that weighs cells, such as uam, writes it")
    time_key = adata.uns["am"]["time_key"]
    table = adata.obs[[group_key, time_key, "am_growth"]].set_axis(["group", "time", "growth"], axis=1)
    table["error"] = adata.obs.get("am_growth_error", math.nan)
    found = table.groupby(["group", "time"], observed=True)
    return found.mean().assign(cells=found["growth"].count()).reset_index()


@dataclass(frozen=True, eq=False)
class Grouped:
    """Cells with a group each, in the basis of a fit."""

    x: Floats
    """(n, d)"""
    time: Floats
    """(n,) as numbers."""
    group: NDArray[Any]
    """(n,) names."""
    known: NDArray[np.bool_]
    """(n,) which cells have a group."""
    names: Sequence[str]
    key: str

    @classmethod
    def of(cls, model: CellModel, adata: AnnData, key: str) -> Grouped:
        """Raises DataError where there is no such column, or not what the fit was to."""
        groups, times = _column(adata, key), _column(adata, model.about["time_key"])
        known = groups.notna().to_numpy()
        x = np.asarray(entry(adata, "obsm", model.about["basis"]), np.float64)[:, : len(model.units.centre)]
        time = np.array([model.number(time) for time in times])
        return cls(x, time, groups.astype(str).to_numpy(), known, sorted(map(str, groups[known].unique())), key)

    def at(self, time: float) -> Rows:
        """Rows of the cells of a time that have a group; DataError where there are none."""
        (rows,) = (self.known & (self.time == time)).nonzero()
        if not len(rows):
            raise DataError(f"adata: no cell of time {time:g} has a '{self.key}'")
        return rows

    def fates(self, time: float) -> Fates:
        """What cells can have become at a time; errors as of :meth:`at`."""
        from scipy.spatial import cKDTree

        rows = self.at(time)
        return Fates(rows, self.group[rows][:, None] == self.names, cKDTree(self.x[rows]))


@dataclass(frozen=True, eq=False)
class Fates:
    """Cells of a later time, among which pushed cells are counted."""

    rows: Rows
    """(m,) of these cells."""
    groups: NDArray[np.bool_]
    """(m, groups) which group each is of."""
    tree: Any
    """For the nearest of them."""

    def near(self, x: Floats, without: Rows | Sequence[int] = ()) -> Floats:
        """Shares of the groups among the nearest cells of (n, d) points, some of them left out: (n, groups)."""
        count = min(NEIGHBOURS, len(self.rows) - len(without))
        _, index = self.tree.query(x, range(1, count + len(without) + 1))
        others = ~np.isin(self.rows[index], without)
        counted = others & (others.cumsum(1) <= count)
        return (counted[..., None] * self.groups[index]).sum(1) / count


def weighted(shares: Floats, weights: Floats) -> Floats:
    """Mean of (m, groups) shares by (m,) weights."""
    return ((weights[:, None] * shares).sum(0) / weights.sum()).clip(0, 1)


def entry(adata: AnnData, part: Literal["obsm", "varm"], key: str, what: str = "") -> Any:
    """An array of ``adata``; DataError with ``what`` it was to be where there is none."""
    held = getattr(adata, part)
    if key not in held:
        raise DataError(f"adata: {part} has no '{key}'{what}; it has: {', '.join(held) or 'none'}")
    return held[key]


def _column(adata: AnnData, key: str) -> pd.Series[Any]:
    if key not in adata.obs:
        raise DataError(f"adata: obs has no column '{key}'; it has: {', '.join(adata.obs)}")
    return adata.obs[key]


def _wilson(share: float, cells: float) -> Sequence[float]:
    """Wilson's interval of a share at 95 % (J. Am. Stat. Assoc. 22, 1927)."""
    z2 = _Z**2 / cells
    middle = (share + z2 / 2) / (1 + z2)
    half = _Z * math.sqrt(share * (1 - share) / cells + z2 / (4 * cells)) / (1 + z2)
    return min(max(0.0, middle - half), share), max(min(1.0, middle + half), share)
