"""Which groups of cells become which, from each time to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from am.io.snapshots import DataError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from am.cells.model import CellModel

    Floats = NDArray[np.float64]

NEIGHBOURS = 15
"""Cells of the later time whose groups a pushed cell is counted among."""
_Z = 1.959963984540054
"""Quantile of the normal distribution at 97.5 %."""


def transitions(model: CellModel, adata: AnnData, group_key: str) -> pd.DataFrame:
    """Shares of each group's cells that are in each group at the next time.

    Cells of a time are pushed to the next one. There each counts for the groups of the 15 cells that are nearest in the
    basis of the fit, with its weight where the method weighs cells. Intervals at 95 % are Wilson's, of as many cells as
    the weights are worth; they hold the luck of the cells, not that of the fit.

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
    from scipy.spatial import cKDTree

    if group_key not in adata.obs:
        raise DataError(f"adata: obs has no column '{group_key}'; it has: {', '.join(adata.obs)}")
    groups = adata.obs[group_key]
    known = groups.notna().to_numpy()
    x = np.asarray(adata.obsm[model.about["basis"]], np.float64)[:, : len(model.units.centre)]
    at = np.array([model.number(time) for time in adata.obs[model.about["time_key"]]])
    names = sorted(map(str, groups[known].unique()))
    of_cell = groups.astype(str).to_numpy()
    rows = []
    for begin, end in pairwise(model.units.clock.times.tolist()):
        here, there = known & (at == begin), known & (at == end)
        if not here.any() or not there.any():
            raise DataError(f"adata: no cell of time {begin if not here.any() else end:g} has a '{group_key}'")
        future = model.predict(x[here], begin, end)
        count = min(NEIGHBOURS, int(there.sum()))
        _, index = cKDTree(x[there]).query(future.x, range(1, count + 1))
        later = of_cell[there]
        near = np.stack([(later[index] == name).mean(1) for name in names], 1)
        weights = np.ones(len(near)) if future.weights is None else future.weights
        for name in names:
            mine = of_cell[here] == name
            if not weights[mine].sum() > 0:
                continue
            worth = weights[mine].sum() ** 2 / (weights[mine] ** 2).sum()
            shares = (weights[mine, None] * near[mine]).sum(0) / weights[mine].sum()
            for other, share in zip(names, shares.clip(0, 1).tolist(), strict=True):
                observed = float((later == other).mean())
                rows.append([begin, end, name, other, share, *_wilson(share, float(worth)), int(mine.sum()), observed])
    columns = ("from_time", "to_time", "from_group", "to_group", "share", "low", "high", "cells", "observed")
    return pd.DataFrame(rows, columns=list(columns))


def _wilson(share: float, cells: float) -> Sequence[float]:
    """Wilson's interval of a share at 95 % (J. Am. Stat. Assoc. 22, 1927)."""
    z2 = _Z**2 / cells
    middle = (share + z2 / 2) / (1 + z2)
    half = _Z * math.sqrt(share * (1 - share) / cells + z2 / (4 * cells)) / (1 + z2)
    return min(max(0.0, middle - half), share), max(min(1.0, middle + half), share)
