"""Embryoid bodies in the splits of NLSB, without most of its training cells."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import Field, PositiveInt

from am.datasets.cells import CellDataset, Cells, CellSettings, Floats
from am.datasets.embryoid import SOURCE
from am.io.embryoid import TIMES
from am.io.npz import read_arrays, read_headers
from am.io.raw import RAW, local_folders
from am.io.snapshots import DataError

FILE = "eb_union_5pc.npz"
ARRAYS = ("pcs", "time", "source", "full_mean", "full_std")
CELLS = 16_819
"""Cells of the benchmark, which ``full_mean`` and ``full_std`` are of: 14,069 for training, the others in the file."""


class Settings(CellSettings):
    """Which of five principal components are used, and how the cells are joined to a path."""

    observed = TIMES
    dimensions: PositiveInt = Field(default=5, le=5, description="leading principal components that are used")


class EmbryoidPartial(CellDataset):
    """The benchmark's validation cells, and training cells of it that others published; judged by its test cells.

    Units are those of the benchmark: mean and spread of all its training cells. The file tells those of all cells, and
    holds each validation and test cell. Without these, the moments of the training cells are left. Cells of a time that
    is held out cannot be taken away so. The scaler then comes from the cells at hand.
    """

    settings_type = Settings
    settings: Settings

    def sources(self) -> tuple[Path, ...]:
        """The file, which no address has.

        Raises
        ------
        DataError
            It is not at hand: says where it was looked for.
        """
        places = [RAW / SOURCE / FILE, *(folder / FILE for folder in local_folders(SOURCE))]
        for place in places:
            if place.is_file():
                return (place,)
        raise DataError(
            f"there is no {FILE} of '{SOURCE}', which no address has; looked for it at {', '.join(map(str, places))}; "
            "name a folder that holds it in the environment variable AM_DATA"
        )

    def read(self) -> Cells:
        """All cells of the file; those of the test split judge, and all others are learned from."""
        file = self._file
        test = file["source"] == "test"
        return Cells(file["pcs"], np.array(TIMES)[file["time"]], ~test, test)

    def fit(self, x: Floats) -> Callable[[Floats], Floats]:
        """The map into units of the benchmark's training cells, or of all its cells; of ``x`` if a time is held out."""
        if self.settings.held_out is not None and not self.leaky:
            return super().fit(x)
        d = self.settings.dimensions
        centre, spread = (moment[:d] for moment in self._moments())
        return lambda cells: (cells[:, :d] - centre) / spread

    def _moments(self) -> tuple[Floats, Floats]:
        """Mean and spread, (5,) each, of the benchmark's training cells; of all its cells where these are asked for."""
        mean, spread = self._file["full_mean"], self._file["full_std"]
        if self.leaky:
            return mean, spread
        others = self._file["pcs"][np.isin(self._file["source"], ("val", "test"))]
        count = CELLS - len(others)
        centre = (CELLS * mean - others.sum(0)) / count
        variance = (CELLS * (spread**2 + mean**2) - (others**2).sum(0)) / count - centre**2
        if not (variance > 0).all():
            raise DataError(f"{self.sources()[0]}: full_mean and full_std are not of all {CELLS:,} cells")
        return centre, np.sqrt(variance)

    @cached_property
    def _file(self) -> dict[str, Floats]:
        """The arrays of the file."""
        (path,) = self.sources()
        headers = read_headers(path, ARRAYS).headers
        if missing := [name for name in ARRAYS if name not in headers]:
            raise DataError(f"{path}: no npz file with the array {missing[0]}")
        file = read_arrays(path, ARRAYS)
        n = len(file["pcs"])
        shapes = {"pcs": (n, 5), "time": (n,), "source": (n,), "full_mean": (5,), "full_std": (5,)}
        for name, shape in shapes.items():
            if file[name].shape != shape:
                raise DataError(f"{path}: {name} has the shape {file[name].shape}, expected {shape}")
        if not np.isin(file["time"], range(len(TIMES))).all():
            raise DataError(f"{path}: time must hold whole numbers from 0 to {len(TIMES) - 1}")
        return file


DATASET = EmbryoidPartial
