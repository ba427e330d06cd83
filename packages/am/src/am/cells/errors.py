"""Standard errors of what is told of every cell: a jackknife over groups of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from am.cells.population import fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from am.cells.population import Dynamics, Population
    from am.io.time_course import Floats, Points, TimeCourse

LEAST = 3
"""Fits that lack a fold of the cells; two would tell an error to within a factor of two at best."""
TOLD_APART = 2.0
"""Standard errors that a velocity must be long."""


class Jackknife:
    """Velocity and growth rate of every cell by fits that lack one fold of the cells each.

    With G folds and the standard deviation s of what k of these fits tell, the standard error of the fit to all cells
    is (G - 1) / sqrt(G) s. Each fit has couplings, and where cells choose it a setup, of its own. What all fits miss
    alike, as a motion that no feature can tell, is no part of it.

    Source: Tukey, Annals of Mathematical Statistics 29, 1958, with groups of cells for cells.

    Parameters
    ----------
    population
        All cells.
    """

    def __init__(self, population: Population) -> None:
        self._course: TimeCourse = population.course
        self._absolute = population.path.masses is not None
        self._found: list[dict[str, Floats]] = []
        self._folds: list[float] = []

    def add(self, part: Population, dynamics: Dynamics) -> None:
        """One more fit, to the cells that a fold leaves."""
        self._folds.append(len(self._course.x) / (len(self._course.x) - len(part.course.x)))
        self._found.append(fields(self._course, part.units, dynamics, absolute=self._absolute))

    @property
    def folds(self) -> float:
        """Into how many folds the cells are cut."""
        return float(np.mean(self._folds))

    def errors(self) -> dict[str, Points]:
        """``X_am_velocity_error`` (n, d), and where cells are weighed ``am_growth_error`` (n,), in units of what they
        are errors of; nothing of fewer than :data:`LEAST` fits.
        """
        if len(self._found) < LEAST:
            return {}
        names = set.intersection(*map(set, self._found))  # a setup that a fold chose may weigh no cells
        told = {name: np.stack([each[name] for each in self._found]) for name in sorted(names)}
        return {f"{name}_error": standard_error(each, self.folds).astype(np.float32) for name, each in told.items()}


def standard_error(found: Floats, folds: float) -> Floats:
    """Of what a fit to all cells tells, from what k fits tell that lack one of so many folds each: (k, ...) -> (...).

    Examples
    --------
    >>> import numpy as np
    >>> float(standard_error(np.array([1.0, 2.0, 3.0]), 4.0))
    1.5
    """
    return (folds - 1) / folds**0.5 * np.std(found, axis=0, ddof=1)


def unclear(obsm: Mapping[str, Points]) -> str:
    """A sentence where most velocities are less than two standard errors long; nothing elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> velocity = np.ones((4, 2))
    >>> unclear({"X_am_velocity": velocity, "X_am_velocity_error": 0.1 * velocity})
    ''
    >>> unclear({"X_am_velocity": velocity, "X_am_velocity_error": 0.9 * velocity})
    'the velocities of 100 % of the cells are less than two standard errors long: do not read single arrows'
    """
    if "X_am_velocity_error" not in obsm:
        return ""
    length, error = (np.linalg.norm(obsm[f"X_am_velocity{end}"], axis=1) for end in ("", "_error"))
    short = float((length < TOLD_APART * error).mean())
    if short <= 1 / 2:
        return ""
    return (
        f"the velocities of {100 * short:.0f} % of the cells are less than two standard errors long: "
        "do not read single arrows"
    )
