"""Embryoid bodies, cells by single-cell RNA sequencing over 27 days (Moon et al. 2019), in the splits of NLSB."""

from __future__ import annotations

import numpy as np

from am.datasets.cells import CellDataset, Cells, CellSettings
from am.io.embryoid import TIMES, read_embryoid
from am.io.raw import find_raw

SOURCE = "embryoid"


class Settings(CellSettings):
    """Which of 100 principal components are used, and how the cells are joined to a path."""

    observed = TIMES


class Embryoid(CellDataset):
    """All cells: trained on the benchmark's training split, judged by its test split of 350 cells a time.

    The validation split serves as truth only. The principal components come with the file, and were taken over all
    cells; only the scaler is ours.
    """

    settings_type = Settings
    files = tuple((SOURCE, f"{split}_rna.npz") for split in ("train", "val", "test"))

    def read(self) -> Cells:
        """The three files of the benchmark."""
        parts = [read_embryoid(find_raw(*file)) for file in self.files]
        x, time = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        split = np.repeat(range(3), [len(part[0]) for part in parts])
        return Cells(x, time, split == 0, split == 2)


DATASET = Embryoid
