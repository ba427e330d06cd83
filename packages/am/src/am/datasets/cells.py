"""Data sets of cells: finitely many at a few times, which are fixed once for all methods and seeds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator, model_validator

from am import config
from am.config import Settings
from am.datasets.contract import Dataset, Time, path_through
from am.io.snapshots import Array, DataError, Snapshots
from am.randomness import derive_seed

if TYPE_CHECKING:
    from am.marginals.finite import FiniteMarginals
    from am.marginals.snapshots import SnapshotPath

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class PathSettings(Settings):
    """What lies between two snapshots."""

    coupling: Literal["optimal", "unbalanced", "independent"] = Field(
        default="optimal", description="which cells of two snapshots are joined by lines"
    )
    relaxation: PositiveFloat = Field(
        default=1.0, description="unbalanced: what making or losing mass costs, as the square of a distance"
    )
    smoothing: NonNegativeFloat = Field(
        default=0.0, description="noise around lines, sigma of a Brownian bridge of duration 1"
    )
    masses: Literal["equal", "counts", "known"] | tuple[PositiveFloat, ...] = Field(
        default="equal",
        description="how much there is at each observed time, for methods that weigh particles: equal, so that growth "
        "is relative to the mean; counts of the points that are learned from; known, where the truth is; or numbers",
    )


class CellSettings(config.Settings):
    """What all data sets of cells share."""

    observed: ClassVar[tuple[float, ...]]
    """Times at which cells were seen, from 0 to 1."""

    dimensions: PositiveInt = Field(default=5, description="leading principal components that are used")
    scaler: Literal["training", "all"] = Field(
        default="training",
        description="cells that centre and spread come from; all lets held-out ones and tests into training, as most "
        "published code does",
    )
    held_out: Time | None = Field(default=None, description="an observed time that training must never see")
    path: PathSettings = PathSettings()

    @field_validator("held_out")
    @classmethod
    def _inside(cls, held_out: float | None) -> float | None:
        if held_out is not None and not any(abs(held_out - time) < 1e-9 for time in cls.observed[1:-1]):
            inside = ", ".join(f"{time:.10g}" for time in cls.observed[1:-1])
            raise ValueError(f"only a time between the first and the last can be held out; choose from: {inside}")
        return held_out

    @model_validator(mode="after")
    def _one_mass_a_time(self) -> CellSettings:
        if self.path.masses == "known":
            raise ValueError("path.masses: nobody knows those of cells; choose from: equal, counts, or give numbers")
        check_masses(self.path.masses, self.observed)
        return self


class SplitSettings(CellSettings):
    """Cells that come without a split."""

    test_cells: PositiveInt = Field(description="cells of each time that judge, and start, particles")
    split_seed: int = Field(default=0, ge=0, description="chooses them")


@dataclass(frozen=True)
class Cells:
    """Measured cells, before any scaling."""

    x: Floats
    """(n, p)"""
    time: Floats
    """(n,) observed times in [0, 1]"""
    train: Flags
    """(n,) cells that methods may learn from"""
    test: Flags
    """(n,) cells that judge; those that are neither serve as truth only"""


class CellDataset(Dataset):
    """Cells in the coordinates of their training cells.

    What is learned from is chosen before anything is fitted: a held-out time cannot reach the scaler, unless one of all
    cells is asked for.
    """

    settings_type = CellSettings
    settings: CellSettings
    shared_test_points = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.columns = tuple(f"PC{i + 1}" for i in range(self.settings.dimensions))

    @abstractmethod
    def read(self) -> Cells:
        """The measured cells.

        Raises
        ------
        DataError
            They are not to be found, or not what they should be.
        """

    def fit(self, x: Floats) -> Callable[[Floats], Floats]:
        """The map into ``dimensions`` coordinates that gives ``x``, (n, p) training cells, unit variance."""
        d = self.settings.dimensions
        if d > x.shape[1]:
            raise DataError(f"{d} dimensions asked for, the cells have {x.shape[1]}")
        centre, spread = x[:, :d].mean(0), x[:, :d].std(0)
        if not spread.all():
            raise DataError(f"{self.columns[int(spread.argmin())]} is the same for all training cells")
        return lambda cells: (cells[:, :d] - centre) / spread

    @property
    def leaky(self) -> bool:
        """Whether the scaler has seen all cells."""
        return self.settings.scaler == "all"

    @property
    def observed(self) -> tuple[float, ...]:
        """Times at which cells were seen."""
        return self.settings.observed

    def marginals(self, data: Path) -> SnapshotPath:
        """A path through the training cells of ``data``."""
        return self.snapshots(data)

    def snapshots(self, data: Path) -> SnapshotPath:
        """The same."""
        path = self.settings.path.model_dump()
        held_out = self.settings.held_out
        if isinstance(path["masses"], tuple) and held_out is not None:
            there = zip(self.observed, path["masses"], strict=True)
            path["masses"] = tuple(mass for time, mass in there if abs(time - held_out) > 1e-9)
        return path_through(data, **path)

    def truth(self, data: Path | None = None) -> FiniteMarginals:
        """The cells that judge nothing, of a held-out time too."""
        return self._finite(~self._cells.test)

    def population(self) -> FiniteMarginals:
        """All cells."""
        return self._finite(np.ones(len(self._cells.x), bool))

    def training_points(self, times: int, size: int, key: str) -> Iterator[tuple[float, Array]]:
        """All training cells of each time that is not held out, however many points are asked for."""
        for time in self.observed:
            chosen = self._learned & (self._cells.time == time)
            if chosen.any():
                yield time, self._coordinates[chosen]

    def points(self, times: int, size: int, key: str) -> Snapshots:
        """All cells; those that methods may not learn from are called test."""
        split = np.where(self._learned, "train", "test")
        return Snapshots(self._coordinates, self._cells.time, split, np.where(self._learned, -1, 0))

    def test_points(self, time: float, size: int, seed: int, key: str) -> Array:
        """The first ``size`` test cells of a time, the same for every seed."""
        chosen = self._cells.test & np.isclose(self._cells.time, time, rtol=0, atol=1e-9)
        if chosen.sum() < size:
            raise DataError(f"{size} test cells asked for at time {time:g}, there are {chosen.sum()}")
        return self._coordinates[chosen][:size]

    @cached_property
    def _cells(self) -> Cells:
        cells = self.read()
        if not np.isfinite(cells.x).all():
            raise DataError(f"{(~np.isfinite(cells.x).all(1)).sum()} of {len(cells.x)} cells are not finite")
        for time in self.observed:
            if not (cells.train & (cells.time == time)).any():
                raise DataError(f"time {time:g} has no cell to learn from")
        return cells

    @cached_property
    def _learned(self) -> Flags:
        held_out = self.settings.held_out
        train = self._cells.train
        return train if held_out is None else train & ~np.isclose(self._cells.time, held_out, rtol=0, atol=1e-9)

    @cached_property
    def _coordinates(self) -> Array:
        transform = self.fit(self._cells.x if self.leaky else self._cells.x[self._learned])
        return transform(self._cells.x).astype(np.float32)

    def _finite(self, chosen: Flags) -> FiniteMarginals:
        import torch

        from am.marginals.finite import FiniteMarginals

        return FiniteMarginals(
            {t: torch.from_numpy(self._coordinates[chosen & (self._cells.time == t)]) for t in self.observed}
        )


def check_masses(masses: str | tuple[float, ...], observed: Sequence[float]) -> None:
    """Numbers must be one for each observed time; a validator's ValueError where they are not."""
    if isinstance(masses, tuple) and len(masses) != len(observed):
        times = ", ".join(f"{time:.10g}" for time in observed)
        raise ValueError(f"path.masses: {len(masses)} numbers for {len(observed)} observed times: {times}")


def split(time: Floats, test_cells: int, seed: int) -> tuple[Flags, Flags]:
    """Which of the cells with these times, (n,), are for training and which for tests, so many at each time.

    Raises
    ------
    DataError
        A time has too few cells to leave one for training.
    """
    test = np.zeros(len(time), bool)
    for moment in np.unique(time).tolist():
        (cells,) = np.nonzero(time == moment)
        if len(cells) <= test_cells:
            raise DataError(f"time {moment:g} has {len(cells)} cells: {test_cells} for tests leave none to learn from")
        test[np.random.default_rng(derive_seed("split", seed, moment)).permutation(cells)[:test_cells]] = True
    return ~test, test
