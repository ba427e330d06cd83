"""Epithelial-mesenchymal transition: 3,133 cells of a lung cancer line at four times, in ten components."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, field_validator, model_validator

from am.datasets.cells import CellDataset, Cells, CellSettings, Floats
from am.io.raw import find_raw
from am.io.snapshots import DataError

if TYPE_CHECKING:
    from pathlib import Path

FILE = ("emt", "emt.csv")
HOURS = (0, 8, 24, 72)
DIMENSIONS = 10


class Settings(CellSettings):
    """The clock, which time is held out, and how many cells judge."""

    clock: Literal["index", "hours"] = Field(
        default="index", description="index: equal distances between times, as peers have them; hours: 0, 8, 24 and 72"
    )
    dimensions: PositiveInt = Field(default=DIMENSIONS, le=DIMENSIONS, description="leading components that are used")
    judging: PositiveInt = Field(default=394, description="cells of each time that start particles and judge them")
    split_seed: int = Field(default=0, ge=0, description="chooses them")

    @property
    def observed(self) -> tuple[float, ...]:  # type: ignore[override]
        """The times, from 0 to 1."""
        last = len(HOURS) - 1
        return tuple(h / HOURS[last] if self.clock == "hours" else i / last for i, h in enumerate(HOURS))

    @field_validator("held_out")
    @classmethod
    def _inside(cls, held_out: float | None) -> float | None:
        return held_out  # the clock says what there is

    @model_validator(mode="after")
    def _observed_by_the_clock(self) -> Settings:
        inner = self.observed[1:-1]
        if self.held_out is not None and not any(abs(self.held_out - time) < 1e-9 for time in inner):
            raise ValueError(f"held_out: choose from {', '.join(f'{time:.10g}' for time in inner)}")
        return self


class Emt(CellDataset):
    """A549 cells after TGF-beta at 0 h, 8 h, 1 d and 3 d (Cook and Vanderhyden, Nature Communications 11, 2020).

    Components are those that peers published, in the units of their file. Where a time is held out, all cells of the
    others are learned from, those that start particles too: peers do so, and nothing but the held-out time is then
    predicted.
    """

    settings_type = Settings
    settings: Settings
    files = (FILE,)

    def fit(self, x: Floats) -> Callable[[Floats], Floats]:
        """The map into the units of the file, which it leaves alone."""
        return lambda cells: cells[:, : self.settings.dimensions]

    def read(self) -> Cells:
        """The components and times of the file; which cells judge is drawn once."""
        index, x = _read(find_raw(*FILE))
        rng = np.random.default_rng(self.settings.split_seed)
        order = rng.permutation(len(x))  # the file may be in order of something
        index, x = index[order], x[order]
        test = np.zeros(len(x), bool)
        for i in range(len(HOURS)):
            (cells,) = np.nonzero(index == i)
            if len(cells) <= self.settings.judging:
                raise DataError(f"{len(cells)} cells at index {i}: {self.settings.judging} that judge leave no truth")
            test[cells[: self.settings.judging]] = True
        train = np.ones_like(test) if self.settings.held_out is not None else ~test
        return Cells(x, np.array(self.settings.observed)[index], train, test)


def _read(path: Path) -> tuple[NDArray[np.int64], Floats]:
    try:
        table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    except ValueError as error:
        raise DataError(f"{path}: no table of numbers ({' '.join(str(error).split())})") from None
    if table.shape[1:] != (1 + DIMENSIONS,) or not np.isin(table[:, 0], range(len(HOURS))).all():
        raise DataError(f"{path}: expected an index from 0 to {len(HOURS) - 1} and {DIMENSIONS} components a row")
    return table[:, 0].astype(np.int64), table[:, 1:]


DATASET = Emt
