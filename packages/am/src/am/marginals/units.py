"""Units of a time course: what networks see of it, and how what they say is told in the user's units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from am.io.clock import Floats, LearningClock
from am.io.snapshots import DataError
from am.io.time_course import Points, TimeCourse
from am.marginals.snapshots import Masses, SnapshotPath, masses_of
from am.marginals.stray import is_stray

_NAMED = 5
"""Stray cells that are called by their names."""

_FEW, _ALWAYS_FEW = 0.01, 3
"""Share of all cells, or number, up to which those far away are stray, and not a population."""
_OF_ONE_TIME = 0.1
"""Share of the cells of a time up to which those far away are stray, and not the time's own place."""


@dataclass(frozen=True)
class Units:
    """What a network sees: components less their centre, over one spread; learning times from 0 to 1.

    Few cells that lie absurdly far away (:func:`am.marginals.stray.is_stray`) count for neither centre nor spread, and
    are not on the path: what is learned is what would be learned without them.
    """

    centre: Floats
    """(d,) means of the components."""
    spread: float
    """Root mean square of all components around the centre."""
    clock: LearningClock
    """Between times of the column and learning times."""
    stray: NDArray[np.bool_]
    """(n,) cells that are left out."""

    @classmethod
    def of(cls, course: TimeCourse) -> Units:
        """Those of a time course."""
        stray = _few_stray(course)
        x = course.x[~stray] if stray.any() else course.x
        variances = [column.var(dtype=np.float64) for column in x.T]  # one by one: a million cells fit once
        return cls(x.mean(0, dtype=np.float64), float(np.sqrt(np.mean(variances))), LearningClock(course.times), stray)

    @classmethod
    def from_plain(cls, units: Mapping[str, Any]) -> Units:
        """Those that :meth:`plain` told; no cell is known to be stray."""
        intervals = units["intervals"]
        times = [intervals[0]["from"], *(interval["to"] for interval in intervals)]
        clock = LearningClock(np.array(times, np.float64))
        return cls(np.array(units["centre"], np.float64), float(units["spread"]), clock, np.zeros(0, bool))

    def warning(self, course: TimeCourse) -> str | None:
        """A sentence that names the stray cells; None where there are none."""
        (rows,) = self.stray.nonzero()
        if not len(rows):
            return None
        cells = [f"'{course.names[row]}'" if course.names else f"row {row}" for row in rows[:_NAMED].tolist()]
        more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
        far = np.linalg.norm(course.x[rows].astype(np.float64) - self.centre, axis=1).max() / self.spread
        return (
            f"{len(rows)} of {len(course.x)} cells lie up to {far:.3g} times the spread of the others away from them: "
            f"{', '.join(cells)}{more}; nothing is learned from {'them' if len(rows) > 1 else 'it'}"
        )

    def path(self, course: TimeCourse, masses: Masses = "equal") -> SnapshotPath:
        """The path through the cells, in these units.

        Raises
        ------
        DataError
            Masses are not one positive number for each time.
        """
        points = [self.scaled(course.x[(course.time == time) & ~self.stray]) for time in course.times]
        try:
            return SnapshotPath(points, self.clock.knots.tolist(), masses=masses_of(points, masses))
        except ValueError as error:
            raise DataError(str(error)) from None

    def seen(self, course: TimeCourse, time: float) -> Tensor:
        """The cells of a time, in these units: (m, d)."""
        return self.scaled(course.x[course.time == time])

    def scaled(self, x: Points) -> Tensor:
        """(n, d) components of the basis, in these units."""
        return torch.from_numpy(((x - self.centre) / self.spread).astype(np.float32))

    def positions(self, x: Tensor) -> Floats:
        """(..., d) positions as components of the basis."""
        return x.cpu().numpy().astype(np.float64) * self.spread + self.centre

    def velocities(self, v: Tensor, time: float) -> Floats:
        """(n, d) velocities at a time of the column, as components of the basis per unit of the column."""
        return v.cpu().numpy().astype(np.float64) * self.spread / self.clock.pace(time)

    def actions(self, action: Tensor, time: float) -> Floats:
        """(n,) values of an action at a time of the column, whose gradient in the basis is the velocity."""
        return action.cpu().numpy().astype(np.float64) * self.spread**2 / self.clock.pace(time)

    def rates(self, rate: Tensor, time: float) -> Floats:
        """(n,) rates at a time of the column, per unit of the column."""
        return rate.cpu().numpy().astype(np.float64) / self.clock.pace(time)

    def plain(self, settings: Mapping[str, Any], dimensions: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
        """For a file of settings: these units, and in those of the column what has a dimension, for each interval.

        Parameters
        ----------
        settings
            Of the method: numbers by name, in these units.
        dimensions
            Powers of length and of time in the unit of some of them.
        """
        intervals = []
        for (begin, end), pace in zip(pairwise(self.clock.times.tolist()), self.clock.paces.tolist(), strict=True):
            told = {
                name: settings[name] * self.spread**length * pace**time for name, (length, time) in dimensions.items()
            }
            intervals.append({"from": begin, "to": end, "time_per_t": pace, **told})
        return {
            "centre": self.centre.tolist(),
            "spread": self.spread,
            "learning_times": self.clock.knots.tolist(),
            "intervals": intervals,
        }


def _few_stray(course: TimeCourse) -> NDArray[np.bool_]:
    """(n,) cells far away from all others, unless they are so many that they may be a population."""
    stray = is_stray(torch.from_numpy(np.ascontiguousarray(course.x, course.x.dtype.newbyteorder("=")))).numpy()
    for time in course.times if stray.any() else ():
        here = course.time == time
        if stray[here].mean() > _OF_ONE_TIME:
            stray = stray & ~here
    return stray if stray.sum() <= max(_ALWAYS_FEW, _FEW * len(stray)) else np.zeros_like(stray)
