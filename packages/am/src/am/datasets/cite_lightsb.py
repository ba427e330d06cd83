"""CITE of LightSB: 29,394 cells at four days, of which a day between two others is predicted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, PositiveInt, field_validator

from am.datasets.cells import CellDataset, Cells, CellSettings, Flags, Floats
from am.io.raw import find_raw
from am.io.snapshots import DataError

SOURCE = "cite_lightsb"


class Settings(CellSettings):
    """Three days, of which the middle one is never learned from."""

    days: Literal["2 3 4", "3 4 7"] = Field(default="2 3 4", description="t = 0, the day that is predicted, and t = 1")
    dimensions: Literal[50, 100] = Field(default=50, description="principal components, each number from its own files")
    judging: PositiveInt = Field(default=3000, description="cells of each day that start particles and judge them")
    learning: PositiveInt = Field(
        default=2000, description="cells of the first and of the last day that are learned from, at most"
    )
    split_seed: int = Field(default=0, ge=0, description="chooses them")

    @property
    def observed(self) -> tuple[float, ...]:  # type: ignore[override]
        """The days, from 0 to 1."""
        first, middle, last = map(int, self.days.split())
        return 0.0, (middle - first) / (last - first), 1.0

    @field_validator("held_out")
    @classmethod
    def _inside(cls, held_out: float | None) -> float | None:
        if held_out is not None:
            raise ValueError("the day between is held out already: choose 'days'")
        return held_out


class CiteLightsb(CellDataset):
    """Cells of the Open Problems competition of 2022, in the components and the units of LightSB (ICLR 2024).

    The protocol is published: learn from the days before and after, predict the day between. Cells that start particles
    may be among those that are learned from, as there; those that judge a prediction never are. Components were taken
    over all days by those who published them. All methods see the units of the files, in which distances are published.
    """

    settings_type = Settings
    settings: Settings

    @property
    def files(self) -> tuple[tuple[str, str], ...]:  # type: ignore[override]
        """One file a day."""
        days = self.settings.days.split()
        return tuple((SOURCE, f"full_cite_pcas_{self.settings.dimensions}_day_{day}.npy") for day in days)

    def fit(self, x: Floats) -> Callable[[Floats], Floats]:
        """The map into the units of the files, which it leaves alone."""
        return lambda cells: cells

    def read(self) -> Cells:
        """The three days."""
        parts = [_read(find_raw(*file), self.settings.dimensions) for file in self.files]
        time = np.repeat(self.observed, [len(part) for part in parts])
        train, test = np.zeros((2, len(time)), bool)
        rng = np.random.default_rng(self.settings.split_seed)
        for t in self.observed:
            cells = rng.permutation(np.flatnonzero(time == t))
            if len(cells) <= self.settings.judging:
                raise DataError(f"{len(cells)} cells at time {t:g}: {self.settings.judging} that judge leave no truth")
            test[cells[: self.settings.judging]] = True
            train[rng.permutation(cells)[: self.settings.learning]] = True
        return Cells(np.concatenate(parts), time, train, test)

    @cached_property
    def _learned(self) -> Flags:
        """Of the days around the one that is predicted."""
        return self._cells.train & np.isin(self._cells.time, (0, 1))


def _read(path: Path, dimensions: int) -> Floats:
    try:
        x = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: no whole npy file ({' '.join(str(error).split())})") from None
    if x.ndim != 2 or x.shape[1] != dimensions or x.dtype.kind != "f":
        raise DataError(f"{path}: an array of {x.dtype} and shape {x.shape}, expected (n, {dimensions}) of floats")
    return x.astype(np.float64)


DATASET = CiteLightsb
