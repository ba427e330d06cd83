"""Data sets that are drawn: their truth is known at every time, whatever methods learn from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from am.config import Settings
from am.datasets.cells import PathSettings, check_masses
from am.datasets.contract import Dataset, path_through
from am.io.snapshots import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from am.io.snapshots import Array
    from am.marginals.marginals import Marginals
    from am.marginals.snapshots import SnapshotPath


class SyntheticSettings(Settings):
    """What all synthetic data sets share."""

    learned_from: Literal["snapshots", "path"] = Field(
        default="snapshots", description="snapshots: points at a few times; path: fresh points at every time"
    )
    time_points: int = Field(default=5, ge=2, description="equal times, from 0 to 1, that there are snapshots of")
    path: PathSettings = PathSettings()

    @model_validator(mode="after")
    def _one_mass_a_time(self) -> SyntheticSettings:
        check_masses(self.path.masses, np.linspace(0, 1, self.time_points).tolist())
        return self


class SyntheticDataset(Dataset):
    """An exact path, or snapshots of it, to learn from; the exact path to be judged against."""

    settings_type = SyntheticSettings
    settings: SyntheticSettings
    columns: tuple[str, ...] = ("x", "y")
    fields_known = True

    @abstractmethod
    def truth(self, data: Path | None = None) -> Marginals:
        """The exact marginals."""

    @property
    def observed(self) -> tuple[float, ...] | None:
        """Times of snapshots; None where every time is learned from."""
        if self.settings.learned_from == "path":
            return None
        return tuple(np.linspace(0, 1, self.settings.time_points).tolist())

    def marginals(self, data: Path) -> Marginals:
        """The exact marginals, or a path through the snapshots in ``data``."""
        return self.truth(data) if self.settings.learned_from == "path" else self.snapshots(data)

    def snapshots(self, data: Path) -> SnapshotPath:
        """A path through the snapshots in ``data``.

        Raises
        ------
        DataError
            Masses are asked for that the truth does not tell.
        """
        path = self.settings.path.model_dump()
        if path["masses"] == "known":
            path["masses"] = self._true_masses()
        return path_through(data, **path)

    def _true_masses(self) -> list[float]:
        import torch

        from am.marginals.marginals import GrowingMarginals

        truth = self.truth()
        if not isinstance(truth, GrowingMarginals):
            raise DataError("path.masses: the truth of this data set tells no mass; choose from: equal, counts")
        times = torch.linspace(0, 1, self.settings.time_points, dtype=torch.float64)
        return [float(mass) for mass in truth.log_mass(times).exp()]

    def training_points(self, times: int, size: int, key: str) -> Iterator[tuple[float, Array]]:
        """``size`` points at each of the data set's own time points, however many ``times`` are asked for."""
        return super().training_points(self.settings.time_points, size, key)
