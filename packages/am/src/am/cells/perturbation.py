"""What becomes of cells that are shifted: along components, or along genes through their loadings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from am.cells.errors import LEAST, standard_error
from am.cells.fates import Grouped, weighted
from am.cells.genes import PCS, gene_shift
from am.cells.quality import OUTSIDE
from am.config import ConfigError
from am.io.snapshots import DataError
from am.report.estimates import student

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import ArrayLike, NDArray

    from am.cells.model import CellModel, Time

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Perturbation:
    """Cells, and the same cells shifted, pushed to a later time."""

    x: Floats
    shifted: Floats
    """(n, d) where both are there."""
    table: pd.DataFrame
    """A row for each later group: group, share, shifted, difference, error, low, high."""
    outside: float
    """Share of the shifted cells that begin farther from all cells of their time than 99 % of these from each other."""


def perturb(
    model: CellModel,
    adata: AnnData,
    shift: Mapping[str, float] | ArrayLike,
    group_key: str,
    from_time: Time,
    to_time: Time,
    *,
    cells: ArrayLike | None = None,
    loadings: str = PCS,
) -> Perturbation:
    """Shift cells of a time, push them, and compare their fates with those that they would have had.

    It asks the learned field what cells do that are in another place. A gene that is knocked out changes the field
    itself, which no snapshot of other cells tells. A shift that leaves the data asks the field where nothing was
    learned, so look at ``outside`` first.

    Intervals are a jackknife over fits that lack a fold of the cells, as of velocities. Each fit pushes both, so that
    what they share cancels. They hold the error of the fit, not the sampling error of the cells that are shifted and
    counted: where all fits agree they have no width. They are NaN where the fit held out fewer than three folds, or was
    loaded.

    Parameters
    ----------
    shift
        (d,) in the basis of the fit; or by how many units of expression genes rise, by their names, through
        ``loadings`` in ``varm``.
    group_key
        Column of ``obs`` such as a cell type, by which fates are counted as in :func:`am.transitions`.
    from_time, to_time
        Two times of the column, the first of them earlier.
    cells
        (n,) which cells to shift; of these, those of ``from_time`` are. All when None.

    Raises
    ------
    DataError
        No such cell is there, ``cells`` are no (n,) truth values, or the shift is not of d components.
    ConfigError
        There is no such time or gene, or ``to_time`` is no later.

    Examples
    --------
    >>> import am
    >>> from am.cells import perturb
    >>> cells = am.datasets.load("myoblast", dimensions=3)
    >>> cells.obs["side"] = ["left" if x < 0 else "right" for x in cells.obsm["X_pca"][:, 0]]
    >>> model = am.fit(cells, "time", method="am_closed")
    >>> found = perturb(model, cells, [0.5, 0, 0], "side", 0, 1)
    >>> found.table.columns.tolist()
    ['group', 'share', 'shifted', 'difference', 'error', 'low', 'high']
    """
    import pandas as pd

    known, d = Grouped.of(model, adata, group_key), len(model.units.centre)
    begin, end = model.number(from_time), model.number(to_time)
    delta = gene_shift(adata, shift, d, loadings) if isinstance(shift, Mapping) else _numbers(shift, d)
    if delta.shape != (d,) or not np.isfinite(delta).all():
        raise DataError(f"the shift has the shape {delta.shape}; {d} finite components are needed")
    if not begin < end:
        raise ConfigError(f"cells are pushed forward, and {end:g} is no later than {begin:g}")
    mask = np.ones(len(known.x), bool) if cells is None else np.asarray(cells)
    if mask.dtype != bool or mask.shape != known.time.shape:
        raise DataError(f"cells are chosen by {len(known.x)} times yes or no; got {mask.dtype} of shape {mask.shape}")
    chosen = mask & (known.time == begin)
    if not chosen.any():
        raise DataError(f"no cell of time {begin:g} was chosen to be shifted")
    later, x = known.fates(end), known.x[chosen]

    def fates(fitted: CellModel) -> tuple[list[Floats], Floats]:
        """Where cells are, as they were and shifted; and (2, groups) shares."""
        futures = [fitted.predict(start, begin, end) for start in (x, x + delta)]
        shares = [weighted(later.near(future.x), future.weights_or_ones) for future in futures]
        return [future.x for future in futures], np.stack(shares)

    (stayed, moved), (share, shifted) = fates(model)
    difference, error, reach = shifted - share, np.full(len(share), math.nan), math.nan
    if len(model.parts) >= LEAST:
        error = standard_error(np.stack([np.diff(fates(part)[1], axis=0)[0] for part in model.parts]), model.folds)
        reach = student(len(model.parts), 0.95)
    table = pd.DataFrame({"group": known.names, "share": share, "shifted": shifted, "difference": difference})
    table = table.assign(error=error, low=difference - reach * error, high=difference + reach * error)
    return Perturbation(stayed, moved, table, _outside(x + delta, known.x[known.time == begin]))


def _numbers(shift: ArrayLike, d: int) -> Floats:
    try:
        return np.asarray(shift, np.float64)
    except ValueError:  # words, such as genes alone, or rows of several lengths
        raise DataError(f"the shift is no {d} numbers; of genes say by how much, as {{'GATA1': 1.0}}") from None


def _outside(x: Floats, cells: Floats) -> float:
    from scipy.spatial import cKDTree

    tree = cKDTree(cells)
    among = np.asarray(tree.query(cells, [2])[0])
    return float(np.mean(np.asarray(tree.query(x, [1])[0]) > np.quantile(among, OUTSIDE)))
