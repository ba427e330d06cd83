"""Haematopoietic stem and progenitor cells at four days, by CITE-seq: the data set that peers call CITE."""

from __future__ import annotations

import numpy as np
from pydantic import Field, PositiveInt

from am.datasets.cells import CellDataset, Cells, SplitSettings, split
from am.io.raw import find_raw
from am.io.snapshots import DataError
from am.io.time_course import read_time_course

DAYS = (2, 3, 4, 7)


class Settings(SplitSettings):
    """How the cells are split. Times count the days of measurement, as peers have them: day 7 is as far as day 3."""

    observed = tuple(i / (len(DAYS) - 1) for i in range(len(DAYS)))
    test_cells: PositiveInt = Field(default=350, description="cells of each time that judge, and start, particles")


class Cite(CellDataset):
    """Cells of the Open Problems competition of 2022, as Tong et al. (AISTATS 2024) prepared them.

    The principal components come with the file, and were taken over all cells; only the scaler and the split are ours.
    """

    settings_type = Settings
    settings: Settings
    files = (("open_problems", "op_cite_inputs_0.h5ad"),)

    def read(self) -> Cells:
        """The components and days of the file."""
        path = find_raw(*self.files[0])
        course = read_time_course(path, "day", "X_pca")
        if tuple(course.times) != DAYS:
            raise DataError(f"{path}: cells of days {course.times.tolist()}, expected {list(DAYS)}")
        time = np.array(self.settings.observed)[np.searchsorted(DAYS, course.time)]
        return Cells(
            course.x.astype(np.float64), time, *split(time, self.settings.test_cells, self.settings.split_seed)
        )


DATASET = Cite
