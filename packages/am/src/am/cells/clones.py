"""Whether fates that were predicted are those of clone mates, which no fit here has seen."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from am.cells.fates import Fates, Grouped, entry, weighted
from am.io.snapshots import DataError
from am.report.estimates import estimate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from am.cells.model import CellModel

    Floats = NDArray[np.float64]
    Members = Sequence[NDArray[np.signedinteger[Any]]]
    """Rows of the cells of each clone."""

_SCORED = ("predicted", "neighbours", "all_cells")
"""A prediction, and the two that it must beat."""


def clone_fates(model: CellModel, adata: AnnData, group_key: str, clone_key: str = "X_clone") -> pd.DataFrame:
    """How near predicted fates of cells come to the observed ones of their clone mates, beside the nearest neighbours.

    Cells of a clone at one time are pushed to the next, where they count for the groups of the cells around them, as in
    :func:`am.transitions`. Observed are the groups of the clone's own cells there, which are not counted among
    neighbours. The score is Brier's, the sum over groups of squared differences of shares: 0 is right, 2 is all wrong.

    No clone was used by the fit, but its cells were. Clones have cells of several fates, and few of them are seen, so
    that no prediction has the score 0. The score tells which prediction is better.

    Source of the score: Brier, Monthly Weather Review 78, 1950.

    Parameters
    ----------
    group_key
        Column of ``obs`` such as a cell type; cells without a value count for none.
    clone_key
        Key of ``obsm``: (n, clones), not zero where a cell is of a clone; sparse or not.

    Returns
    -------
    A row for each interval: from_time, to_time, clones (how many have cells at both), and mean scores: predicted;
    neighbours, of cells that are not pushed; all_cells, of the shares among all later cells. Then by how much predicted
    is below each of these two, over_neighbours and over_all_cells, with 95 % intervals over clones: names with _low and
    _high. A prediction that does not beat both is worth nothing. Intervals hold the sampling error
    of the clones, not that of the fit.

    Raises
    ------
    DataError
        There are no such clones, or none has cells at two neighbouring times.

    Examples
    --------
    >>> import am, numpy as np
    >>> from am.cells import clone_fates
    >>> cells = am.datasets.load("myoblast", dimensions=3)
    >>> cells.obs["side"] = ["left" if x < 0 else "right" for x in cells.obsm["X_pca"][:, 0]]
    >>> cells.obsm["X_clone"] = np.eye(20)[np.arange(cells.n_obs) % 20]  # take those that were measured
    >>> model = am.fit(cells, "time", method="am_closed", held_out=0)
    >>> clone_fates(model, cells, "side")["clones"].tolist()
    [20, 20, 20]
    """
    import pandas as pd
    from scipy.sparse import csc_matrix

    of_cells = entry(adata, "obsm", clone_key)
    cells = Grouped.of(model, adata, group_key)
    members = csc_matrix(of_cells)
    members.eliminate_zeros()
    of_clone = [members.indices[a:b] for a, b in pairwise(members.indptr.tolist())]
    rows = []
    for begin, end in pairwise(model.units.clock.times.tolist()):
        scores = np.array([*_scores(model, cells, of_clone, begin, end)])
        if len(scores):
            row: dict[str, float] = {"from_time": begin, "to_time": end, "clones": len(scores)}
            row |= zip(_SCORED, scores.mean(0).tolist(), strict=True)
            for number, name in enumerate(_SCORED[1:], 1):
                gained = estimate(pd.Series(scores[:, number] - scores[:, 0]))
                over = f"over_{name}"
                row |= {over: gained["mean"], f"{over}_low": gained["low"], f"{over}_high": gained["high"]}
            rows.append(row)
    if not rows:
        raise DataError(f"adata: no clone of '{clone_key}' has cells of a '{group_key}' at two neighbouring times")
    return pd.DataFrame(rows)


def _scores(model: CellModel, cells: Grouped, of_clone: Members, begin: float, end: float) -> Iterator[list[float]]:
    """For each clone that was seen at both times, scores by the order of :data:`_SCORED`."""
    here, later = cells.at(begin), cells.fates(end)
    future = model.predict(cells.x[here], begin, end)
    weights = future.weights_or_ones
    for members in of_clone:
        early, mates = np.isin(here, members), np.isin(later.rows, members)
        if not weights[early].sum() > 0 or not mates.any() or mates.all():
            continue
        without = later.rows[mates]
        guesses = (
            weighted(later.near(future.x[early], without), weights[early]),
            later.near(cells.x[here[early]], without).mean(0),
            later.groups[~mates].mean(0),
        )
        yield [_brier(guess, later, mates) for guess in guesses]


def _brier(guess: Floats, later: Fates, mates: NDArray[np.bool_]) -> float:
    return float(np.square(guess - later.groups[mates].mean(0)).sum())
