"""Particles that cannot be drawn afresh."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from am.io.snapshots import DataError

_SAME_TIME = 1e-6  # times come in float32


class FiniteMarginals:
    """All the particles that there are, at the times that they were seen.

    Parameters
    ----------
    points
        For each time in [0, 1], (n, d).
    """

    def __init__(self, points: Mapping[float, Tensor]) -> None:
        self.points = dict(points)
        self.dimension = int(next(iter(self.points.values())).shape[1])

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """One particle for each entry of ``time``, none of them twice: (n,) -> (n, d).

        Raises
        ------
        DataError
            A time was not observed, or has fewer particles than are asked for.
        """
        x = time.new_empty(len(time), self.dimension)
        for moment in time.unique().tolist():
            here = time == moment
            particles = self._at(moment)
            n = int(here.sum())
            if n > len(particles):
                raise DataError(f"{n} different cells asked for at time {moment:g}, there are {len(particles)}")
            order = torch.randperm(len(particles), generator=generator, device=generator.device)
            x[here] = particles.to(x)[order[:n].to(x.device)]
        return x

    def _at(self, moment: float) -> Tensor:
        nearest = min(self.points, key=lambda time: abs(time - moment))
        if abs(nearest - moment) > _SAME_TIME:
            times = ", ".join(f"{time:g}" for time in self.points)
            raise DataError(f"nothing was observed at time {moment:g}; observed times: {times}")
        return self.points[nearest]
