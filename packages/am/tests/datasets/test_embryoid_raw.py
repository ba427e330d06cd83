"""Raw counts: 10x folders, filtered and projected as said, by training cells alone."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import mmwrite
from scipy.sparse import csc_matrix

from am.config import ConfigError
from am.datasets.cells import CellDataset
from am.datasets.embryoid_raw import SAMPLES
from am.io.embryoid import TIMES
from am.io.snapshots import DataError
from am.runs import build_dataset

EACH, GENES = 60, 40
Counts = list[NDArray[np.int64]]
SETTINGS: dict[str, Any] = {"name": "embryoid_raw", "components": 6, "dimensions": 3, "test_cells": 8, "min_cells": 3}


def write_folder(folder: Path, counts: NDArray[np.int64]) -> None:
    """Cells by genes, as 10x writes them: genes by cells."""
    folder.mkdir(parents=True, exist_ok=True)
    mmwrite(folder / "matrix.mtx", csc_matrix(counts.T))
    (folder / "matrix.mtx.gz").write_bytes(gzip.compress((folder / "matrix.mtx").read_bytes()))
    names = ["MT-CO1", *(f"G{i}" for i in range(1, counts.shape[1]))]
    rows = "".join(f"ENSG{i}\t{name}\tGene Expression\n" for i, name in enumerate(names))
    (folder / "features.tsv.gz").write_bytes(gzip.compress(rows.encode()))
    barcodes = "".join(f"CELL{i}-1\n" for i in range(len(counts)))
    (folder / "barcodes.tsv.gz").write_bytes(gzip.compress(barcodes.encode()))


@pytest.fixture
def counts() -> Counts:
    rng = np.random.default_rng(0)
    means = rng.uniform(1, 8, (len(SAMPLES), GENES))
    return [rng.poisson(mean * rng.uniform(0.5, 2, (EACH, 1))) for mean in means]


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: Counts) -> Callable[..., CellDataset]:
    """The data set of these counts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AM_DATA", raising=False)

    def made(table: Counts = counts, **settings: Any) -> CellDataset:
        for sample, part in zip(SAMPLES, table, strict=True):
            write_folder(tmp_path / "data/raw/embryoid_raw/scRNAseq" / sample, part)
        dataset = build_dataset(SETTINGS | settings, "here")
        assert isinstance(dataset, CellDataset)
        return dataset

    return made


def kept(table: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The published filters, written out again."""
    size = table.sum(1)
    low, high = np.percentile(size, [20, 80])
    inside = (size >= low) & (size <= high)
    share = table[:, 0] / size
    return inside & (share <= np.percentile(share[inside], 90))


def test_cells_are_filtered_by_the_size_of_their_library_and_by_mitochondria(
    raw: Callable[..., CellDataset], counts: Counts
) -> None:
    cells = raw().read()
    for time, table in zip(TIMES, counts, strict=True):
        assert (cells.time == time).sum() == kept(table).sum() < EACH * 0.6
    assert cells.x.shape == (len(cells.time), 6)


def test_components_are_those_of_the_square_roots_of_normalised_counts(
    raw: Callable[..., CellDataset], counts: Counts
) -> None:
    cells = raw().read()
    table = np.concatenate([part[kept(part)] for part in counts]).astype(float)
    often = (table[cells.train] > 0).sum(0) >= 3
    table = table[:, often]
    size = table.sum(1, keepdims=True)
    root = np.sqrt(table / size * np.median(size[cells.train]))
    centred = root - root[cells.train].mean(0)
    _, _, axes = np.linalg.svd(centred[cells.train], full_matrices=False)
    expected = centred @ axes[:6].T
    sign = np.sign((expected * cells.x).sum(0))
    np.testing.assert_allclose(cells.x, expected * sign, atol=1e-4)


def test_a_held_out_time_reaches_no_training_cell(raw: Callable[..., CellDataset], counts: Counts) -> None:
    def training(table: Counts) -> Any:
        return [x for _, x in raw(table, held_out=0.5).training_points(0, 0, "any")]

    changed = [part * (7 if i == 2 else 1) for i, part in enumerate(counts)]  # the library sizes of this time
    changed[2] = changed[2][:, ::-1].copy()
    before, after = training(counts), training(changed)
    assert len(before) == len(after) == 4
    for x, y in zip(before, after, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.usefixtures("raw")
def test_a_missing_folder_is_named_with_where_to_have_it() -> None:
    with pytest.raises(DataError, match=r"no folder T0_1A.*scRNAseq.*mendeley.*AM_DATA"):
        build_dataset(SETTINGS, "here").training_points(0, 0, "any").__next__()


def test_a_folder_that_is_cut_short_is_named(raw: Callable[..., CellDataset], tmp_path: Path) -> None:
    dataset = raw()
    (tmp_path / "data/raw/embryoid_raw/scRNAseq/T4_5C/barcodes.tsv.gz").write_bytes(b"not a table")
    with pytest.raises(DataError, match="T4_5C: no whole 10x folder"):
        dataset.read()


def test_too_few_cells_and_too_many_components_are_told(raw: Callable[..., CellDataset]) -> None:
    with pytest.raises(DataError, match=r"T0_1A: \d+ of 60 cells pass.*50 are for tests"):
        raw(test_cells=50).read()
    with pytest.raises(DataError, match="90 components asked for"):
        raw(components=90).read()
    with pytest.raises(ConfigError, match="7 dimensions asked for, of 6 components"):
        raw(dimensions=7)
    with pytest.raises(ConfigError, match="must increase within 0 and 100"):
        raw(library_percentiles=[80, 20])
