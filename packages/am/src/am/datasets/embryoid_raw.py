"""Embryoid bodies from their raw counts (Moon et al. 2019): filtered, normalised and projected here, step by step."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from am.datasets.cells import CellDataset, Cells, Floats, SplitSettings, split
from am.extras import brought_by
from am.io.embryoid import TIMES
from am.io.raw import RAW, local_folders
from am.io.snapshots import DataError

if TYPE_CHECKING:
    from anndata import AnnData

SAMPLES = ("T0_1A", "T2_3B", "T4_5C", "T6_7D", "T8_9E")
"""Folder of each time point in the archive of Mendeley Data, v6n743h5ng."""

Percentile = float


class Settings(SplitSettings):
    """Every step from counts to coordinates, with the numbers that were published for these cells.

    Filters as in Moon et al., Nature Biotechnology 37, 2019, which Tong et al., ICML 2020, take over.
    """

    observed = TIMES
    test_cells: PositiveInt = Field(default=350, description="cells of each time that judge, and start, particles")
    library_percentiles: tuple[Percentile, Percentile] = Field(
        default=(20, 80), description="cells of a time are kept whose number of counts lies between these percentiles"
    )
    mitochondrial_percentile: Percentile = Field(
        default=90, gt=0, le=100, description="and whose share of mitochondrial counts is below this percentile"
    )
    min_cells: PositiveInt = Field(default=10, description="genes are kept that so many training cells express")
    components: PositiveInt = Field(default=100, description="principal components of the square roots")

    @model_validator(mode="after")
    def _ordered(self) -> Settings:
        low, high = self.library_percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"library_percentiles must increase within 0 and 100, got {low:g} and {high:g}")
        if self.dimensions > self.components:
            raise ValueError(f"{self.dimensions} dimensions asked for, of {self.components} components")
        return self


class EmbryoidRaw(CellDataset):
    """The five 10x folders of the measurement, in the square roots of normalised counts.

    Cells are filtered time by time. Genes, the size that cells are normalised to and the components come from the
    training cells without a held-out time, so nothing of it reaches training.
    """

    settings_type = Settings
    settings: Settings

    def sources(self) -> tuple[Path, ...]:
        """The files of the five folders."""
        return tuple(path for folder in _folders() for path in sorted(folder.iterdir()) if path.is_file())

    def read(self) -> Cells:
        """Components (n, p) of the cells that pass the filters."""
        parts = [self._kept(_counts(folder), folder) for folder in _folders()]
        time = np.repeat(TIMES, [part.n_obs for part in parts])
        train, test = split(time, self.settings.test_cells, self.settings.split_seed)
        held_out = self.settings.held_out
        learned = train if held_out is None else train & (np.abs(time - held_out) > 1e-9)
        return Cells(self._components(parts, learned), time, train, test)

    def _kept(self, cells: AnnData, folder: Path) -> AnnData:
        """The cells of a time that pass both filters."""
        size = np.asarray(cells.X.sum(1)).ravel()
        low, high = np.percentile(size, self.settings.library_percentiles)
        mitochondrial = cells.var_names.str.upper().str.startswith("MT-")
        share = np.asarray(cells.X[:, mitochondrial].sum(1)).ravel() / np.maximum(size, 1)
        kept = (size > 0) & (size >= low) & (size <= high)
        kept &= share <= np.percentile(share[kept], self.settings.mitochondrial_percentile) if kept.any() else False
        if kept.sum() <= self.settings.test_cells:
            raise DataError(
                f"{folder}: {kept.sum()} of {len(kept)} cells pass the filters, and {self.settings.test_cells} are "
                "for tests; lower test_cells or widen the percentiles"
            )
        return cells[kept]

    def _components(self, parts: list[AnnData], learned: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
        import anndata
        import scanpy

        cells = anndata.concat(parts, index_unique="-")
        genes, _ = scanpy.pp.filter_genes(cells[learned], min_cells=self.settings.min_cells, inplace=False)
        cells = cells[:, genes].copy()
        if min(cells[learned].shape) <= self.settings.components:
            raise DataError(
                f"{self.settings.components} components asked for, there are {learned.sum()} training cells with "
                f"{cells.n_vars} genes"
            )
        size = np.asarray(cells.X.sum(1)).ravel()
        scanpy.pp.normalize_total(cells, target_sum=float(np.median(size[learned])))
        cells.X = cells.X.sqrt()
        fitted = cells[learned].copy()
        scanpy.pp.pca(fitted, n_comps=self.settings.components, svd_solver="arpack", random_state=0, dtype="float64")
        axes = fitted.varm["PCs"]
        centre = np.asarray(fitted.X.mean(0)).ravel()
        return np.asarray(cells.X @ axes - centre @ axes, np.float64)


def _folders() -> list[Path]:
    """The folder of each time point.

    Raises
    ------
    DataError
        One is missing: says where it was looked for, and where it is to be had.
    """
    found = []
    roots = [RAW / "embryoid_raw", *local_folders("embryoid_raw")]
    for sample in SAMPLES:
        places = [root / inner / sample for root, inner in product(roots, ("", "scRNAseq"))]
        folder = next((place for place in places if place.is_dir()), None)
        if folder is None:
            raise DataError(
                f"there is no folder {sample} of raw counts; looked for it at {', '.join(map(str, places))}; unpack "
                f"scRNAseq.zip of https://data.mendeley.com/datasets/v6n743h5ng at {roots[0]}, or name a folder that "
                "holds it in the environment variable AM_DATA"
            )
        found.append(folder)
    return found


def _counts(folder: Path) -> AnnData:
    """Counts of a 10x folder, cells by genes.

    Raises
    ------
    DataError
        It is no such folder.
    """
    with brought_by("cells", "the data set 'embryoid_raw'"):
        import scanpy

    try:
        cells = scanpy.read_10x_mtx(folder, var_names="gene_symbols", make_unique=True)
    except Exception as error:  # scanpy, pandas and scipy raise many kinds
        raise DataError(f"{folder}: no whole 10x folder ({' '.join(str(error).split())})") from None
    cells.X = cells.X.tocsr()
    return cells


DATASET = EmbryoidRaw
