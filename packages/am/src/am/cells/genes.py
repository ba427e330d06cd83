"""What a fit to principal components tells of genes: only as much of each as these components hold.

A gene whose loadings are all zero, such as one that was not highly variable, is not known to stand still. Nothing is
known of it, and its numbers are NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from am.cells.fates import entry
from am.config import ConfigError
from am.io.snapshots import DataError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PCS = "PCs"
"""Where scanpy leaves loadings."""
CHUNK = 10_000
"""Cells of which a layer is computed at once."""
_SHOWN = 5
"""Names of genes that an error shows, of tens of thousands."""


def gene_velocity(
    adata: AnnData, genes: Sequence[str] | str | None = None, *, layer: str | None = None, loadings: str = PCS
) -> pd.DataFrame | None:
    r"""Velocity of genes, v L': that of the components, through the loadings that the components were made with.

    It is in units of the expression that the components were computed of, such as log counts, per unit of the column of
    times. It is no RNA velocity: of each gene it holds the part that the components hold, for which all genes that rise
    together look alike. A basis of another kind, such as that of scVI or Harmony, has no loadings.

    Parameters
    ----------
    adata
        What :func:`am.fit` wrote into.
    genes
        Names of which a table is returned; one name alone will do.
    layer
        Name of a layer that the velocity of all genes is written into: a number for each cell and gene, in single
        precision.
    loadings
        Key of ``varm``: (genes, components).

    Returns
    -------
    (n, genes), by names of cells and genes; None where a layer was written and no gene was named.

    Raises
    ------
    ConfigError
        Neither genes nor a layer are asked for; there is no fit in ``adata``; or there is no such gene.
    DataError
        There are no such loadings, or of fewer components than the fit has; or names of genes are not unique.

    Examples
    --------
    >>> import am, numpy as np
    >>> from am.cells import gene_velocity
    >>> cells = am.datasets.load("myoblast", dimensions=3)
    >>> model = am.fit(cells, "time", method="am_closed", held_out=0)
    >>> cells.varm["PCs"] = np.eye(cells.n_vars, 3)  # take those of scanpy.pp.pca
    >>> gene_velocity(cells, [cells.var_names[1]]).shape
    (271, 1)
    """
    import pandas as pd

    if genes is None and layer is None:
        raise ConfigError("name the genes that you want, or a layer for all of them")
    genes = [genes] if isinstance(genes, str) else genes
    velocity = _velocity(adata)
    known = _loadings(adata, velocity.shape[1], loadings)
    if layer is not None:
        whole = np.empty(adata.shape, np.float32)
        for begin in range(0, len(velocity), CHUNK):
            whole[begin : begin + CHUNK] = velocity[begin : begin + CHUNK] @ known.T
        adata.layers[layer] = whole
    if genes is None:
        return None
    return pd.DataFrame(velocity @ known[_numbers(adata, genes)].T, adata.obs_names, list(genes))


def drivers(adata: AnnData, *, loadings: str = PCS) -> pd.DataFrame:
    r"""Genes along which cells move fastest, and to which the action is most sensitive, the first of them first.

    The velocity is the gradient of the action. So the velocity of a gene is also what the action gains from a unit of
    it. In unbalanced Action Matching growth is a multiple of the action, and the same genes change it most. Of methods
    without an action, the score is of the velocity alone.

    "Drivers" move along with the cells. Nothing here says that they move them: genes that rise together share a score.

    Parameters
    ----------
    adata, loadings
        As of :func:`gene_velocity`; a part of the cells tells of these. Cells that were not fitted count for nothing.

    Returns
    -------
    A row for each gene: ``gene``; ``velocity``, its mean over cells; ``score``, the root mean square of its velocity
    over its standard deviation among cells of one time. Both are of the part that the components hold. The score is in
    standard deviations per unit of the column, so that genes of all units compare.

    Raises
    ------
    ConfigError, DataError
        As of :func:`gene_velocity`; or no cell was fitted.

    Examples
    --------
    >>> import am, numpy as np
    >>> from am.cells import drivers
    >>> cells = am.datasets.load("myoblast", dimensions=3)
    >>> model = am.fit(cells, "time", method="am_closed", held_out=0)
    >>> cells.varm["PCs"] = np.eye(cells.n_vars, 3)  # take those of scanpy.pp.pca
    >>> drivers(cells[cells.obs["time"] == 0]).columns.tolist()
    ['gene', 'velocity', 'score']
    """
    import pandas as pd

    velocity = _velocity(adata)
    told, d = adata.uns["am"], velocity.shape[1]
    known = _loadings(adata, d, loadings)
    fitted = np.isfinite(velocity).all(1)  # am fit --where leaves the others without numbers
    if not fitted.any():
        raise DataError("adata: no cell of it was fitted: their velocities are not numbers")
    velocity, x = velocity[fitted], np.asarray(adata.obsm[told["basis"]], np.float64)[fitted, :d]
    time = pd.factorize(adata.obs[told["time_key"]][fitted])[0]
    means = np.stack([np.bincount(time, column) for column in x.T], 1) / np.bincount(time)[:, None]
    within = x - means[time]

    def root_mean_square(of_components: Floats) -> Floats:
        """Of each gene, from the components alone: no cells times genes."""
        return np.sqrt(np.einsum("gi,ij,gj->g", known, of_components.T @ of_components / len(x), known))

    with np.errstate(divide="ignore", invalid="ignore"):  # one cell of each time
        score = root_mean_square(velocity) / root_mean_square(within)
    found = pd.DataFrame({"gene": adata.var_names, "velocity": known @ velocity.mean(0), "score": score})
    return found.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def gene_shift(adata: AnnData, genes: Mapping[str, float], d: int, loadings: str = PCS) -> Floats:
    """How the (d,) components change where genes change by so many units of expression; errors as above."""
    known = _loadings(adata, d, loadings)[_numbers(adata, list(genes))]
    if np.isnan(known).any():
        lost = [name for name, row in zip(genes, known, strict=True) if np.isnan(row).any()]
        raise DataError(f"adata: the components hold nothing of {', '.join(lost)}, so that no shift of it is known")
    return np.array(list(genes.values()), np.float64) @ known


def _velocity(adata: AnnData) -> Floats:
    if "am" not in adata.uns or "X_am_velocity" not in adata.obsm:
        raise ConfigError("adata: there is no fit in it; am.fit(adata, time_key=...) writes one")
    return np.asarray(adata.obsm["X_am_velocity"], np.float64)


def _loadings(adata: AnnData, d: int, key: str) -> Floats:
    """(genes, d), NaN of genes that no component holds."""
    known = entry(adata, "varm", key, ", the loadings of the components")
    known = np.asarray(known.toarray() if hasattr(known, "toarray") else known, np.float64)
    if known.ndim != 2 or known.shape[1] < d:
        raise DataError(f"adata: varm['{key}'] has the shape {known.shape}; the {d} components of the fit are needed")
    known = known[:, :d].copy()
    known[~known.any(1)] = np.nan
    return known


def _numbers(adata: AnnData, genes: Sequence[str]) -> NDArray[np.intp]:
    names = adata.var_names
    if not names.is_unique:
        again = names[names.duplicated()][0]
        raise DataError(f"adata: several genes are called '{again}'; adata.var_names_make_unique() makes names unique")
    found = names.get_indexer(list(genes))
    if (found < 0).any():
        name = next(name for name, number in zip(genes, found, strict=True) if number < 0)
        close = names[names.str.lower() == str(name).lower()].tolist() or get_close_matches(str(name), names, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"genes are called as {', '.join(names[:_SHOWN])}"
        raise ConfigError(f"adata: there is no gene '{name}'; {hint}")
    return found
