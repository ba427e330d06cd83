"""A thousand cells of the embryoid-body time course: its validation split, which is small enough to be at hand."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from am.datasets.cells import CellDataset, Cells, SplitSettings, split
from am.datasets.embryoid import SOURCE
from am.io.embryoid import TIMES, read_embryoid
from am.io.raw import find_raw


class Settings(SplitSettings):
    """How 200 cells of each time are split."""

    observed = TIMES
    test_cells: PositiveInt = Field(default=100, description="cells of each time that judge, and start, particles")


class EmbryoidMini(CellDataset):
    """200 cells a time: some to learn from, some to judge by. Its numbers are those of no benchmark."""

    settings_type = Settings
    settings: Settings
    files = ((SOURCE, "val_rna.npz"),)

    def read(self) -> Cells:
        """The validation split, split again."""
        x, time = read_embryoid(find_raw(*self.files[0]))
        return Cells(x, time, *split(time, self.settings.test_cells, self.settings.split_seed))


DATASET = EmbryoidMini
