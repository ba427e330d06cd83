"""Human skeletal muscle myoblasts that differentiate: 271 cells over three days (Trapnell et al. 2014)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
from pydantic import Field, PositiveInt

from am.datasets.cells import CellDataset, Cells, Floats, SplitSettings, split
from am.io.snapshots import DataError

HOURS = (0, 24, 48, 72)
FILE = Path(__file__).with_suffix(".h5ad")
"""Log expression of 500 genes; `myoblast.md` beside it says where it comes from.

:meta hide-value:
"""
SHA256 = "d3c29597d54a561427a6b787b208e8cb9b3db6ef4027c04ad25fd92e91d6c261"  # so that the code's digest covers the data


class Settings(SplitSettings):
    """How 69, 74, 79 and 49 cells are split."""

    observed = tuple(hour / HOURS[-1] for hour in HOURS)
    test_cells: PositiveInt = Field(default=24, description="cells of each time that judge, and start, particles")


class Myoblast(CellDataset):
    """A real time course that needs no network; so small that its floors are high and its intervals wide.

    The principal components are those of the training cells.
    """

    settings_type = Settings
    settings: Settings

    def sources(self) -> tuple[Path, ...]:
        """The file that comes with the library."""
        return (FILE,)

    def read(self) -> Cells:
        """The cells by their genes."""
        from anndata import read_h5ad

        try:
            content = FILE.read_bytes()
        except OSError as error:
            raise DataError(f"{FILE}: cannot be read: {error.strerror}") from None
        if sha256(content).hexdigest() != SHA256:
            raise DataError(f"{FILE}: is not the file that this library was made with; install the library again")
        table = read_h5ad(FILE)
        time = table.obs["hours"].to_numpy(float) / HOURS[-1]
        return Cells(
            np.asarray(table.X, np.float64), time, *split(time, self.settings.test_cells, self.settings.split_seed)
        )

    def fit(self, x: Floats) -> Callable[[Floats], Floats]:
        """Leading principal components of ``x``, each of unit variance, with the largest loading positive."""
        d = self.settings.dimensions
        centre = x.mean(0)
        _, strength, axes = np.linalg.svd(x - centre, full_matrices=False)
        if d >= len(strength):
            raise DataError(f"{d} dimensions asked for, the training cells span {len(strength) - 1}")
        sign = np.sign(axes[np.arange(d), np.abs(axes[:d]).argmax(1)])
        axes = axes[:d] * (sign * np.sqrt(len(x)) / strength[:d])[:, None]
        return lambda cells: (cells - centre) @ axes.T


DATASET = Myoblast
