"""Learning time: a user's times mapped to [0, 1] so that each interval between snapshots has an equal share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


@dataclass(frozen=True)
class LearningClock:
    """The monotone, piecewise linear map from a user's times to learning time t in [0, 1].

    Snapshot k of K is at t = k / (K - 1). For evenly spaced times this is the linear map.

    Raises
    ------
    ValueError
        Fewer than two times, or times that are not finite or do not increase.
    """

    times: Floats
    """(K,) of the snapshots, increasing, in the user's unit."""

    def __post_init__(self) -> None:
        times = np.array(self.times, np.float64)
        if times.ndim != 1 or len(times) < 2 or not np.isfinite(times).all() or not (np.diff(times) > 0).all():
            raise ValueError(f"a clock needs at least two times that increase, got {times.tolist()}")
        object.__setattr__(self, "times", times)

    @property
    def knots(self) -> Floats:
        """(K,) learning times of the snapshots."""
        return np.arange(len(self.times)) / (len(self.times) - 1)

    @property
    def paces(self) -> Floats:
        """(K - 1,) time in the user's unit per unit of learning time, for each interval."""
        return np.diff(self.times) * (len(self.times) - 1)

    def learning(self, time: ArrayLike) -> Floats:
        """Learning times of the user's times, any shape.

        Raises
        ------
        ValueError
            A time is before the first snapshot or after the last.
        """
        return _map(time, self.times, self.knots)

    def user(self, t: ArrayLike) -> Floats:
        """The user's times of learning times, any shape.

        Raises
        ------
        ValueError
            A learning time is outside [0, 1].
        """
        return _map(t, self.knots, self.times)

    def pace(self, time: float) -> float:
        """Time in the user's unit per unit of learning time; at a time between two intervals, the mean of both.

        The map has a kink there, and a continuous field, which a network gives, has the mean of its velocities in
        learning time before and after. With the mean of the paces a constant velocity is told as it is.

        Raises
        ------
        ValueError
            ``time`` is before the first snapshot or after the last.
        """
        self.learning(time)
        last = len(self.paces) - 1
        before, after = (int(np.searchsorted(self.times, time, side)) - 1 for side in _SIDES)
        return float((self.paces[max(before, 0)] + self.paces[min(after, last)]) / 2)


def _map(values: ArrayLike, known: Floats, image: Floats) -> Floats:
    values = np.asarray(values, np.float64)
    if not ((values >= known[0]) & (values <= known[-1])).all():
        raise ValueError(f"times must be between {known[0]:g} and {known[-1]:g}, got {values.tolist()}")
    return np.asarray(np.interp(values, known, image))
