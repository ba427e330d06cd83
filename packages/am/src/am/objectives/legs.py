"""Particles on their way from the cells of each snapshot to the next one, all at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from am.marginals.snapshots import SnapshotPath

Field = Callable[[Tensor, Tensor], Tensor]
"""(n,) times, (n, d) points -> (n, d)."""


class Legs:
    """A leg for each interval between snapshots: true cells of its beginning, which are to become cells of its end.

    All legs are followed together, each by a clock u of its own that goes from 0 to 1. All processes that train one
    network draw the same legs and none has a share of them: a loss of whole samples does not split.

    Parameters
    ----------
    snapshots
        From each, as many cells as the legs' share of ``n``, or all, are drawn without replacement for the leg that
        begins there and once more for the one that ends there.
    n
        Number of particles, shared by the legs.
    """

    def __init__(self, snapshots: SnapshotPath, n: int, generator: torch.Generator) -> None:
        share = max(2, n // (len(snapshots.points) - 1))
        starts = [some(x, share, generator) for x in snapshots.points[:-1]]
        self.cells = tuple(some(x, share, generator) for x in snapshots.points[1:])
        """For each leg, (m_k, d) cells of its end."""
        self.sizes = [len(x) for x in starts]
        """Particles of each leg."""
        self.start = torch.cat(starts)
        """(n, d) cells that particles start as, leg by leg."""
        self.begin = self._each(snapshots.times[:-1])
        """(n,) time at which a particle starts."""
        self.duration = self._each(snapshots.times.diff())
        """(n,) how long its leg takes."""

    def _each(self, values: Tensor) -> Tensor:
        return values.to(self.start).repeat_interleave(torch.tensor(self.sizes, device=self.start.device))

    def time(self, u: Tensor) -> Tensor:
        """Time of each particle when its clock shows u: (n,) -> (n,)."""
        return self.begin + u * self.duration

    def clocked(self, field: Field, power: float = 1.0) -> Field:
        """A field in units of the clocks: ``power`` is 1 for velocities and 1/2 for noise."""
        factor = self.duration[:, None] ** power
        return lambda u, x: factor * field(self.time(u), x)

    def mean(self, numbers: Tensor) -> Tensor:
        """Mean over the particles of each leg: (n,) -> (legs,)."""
        return torch.stack([part.mean() for part in numbers.split(self.sizes)])

    def compare(self, x: Tensor, distance: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Distance of particles, where they are now, (n, d), from the cells of each leg's end: (legs,)."""
        pairs = zip(x.split(self.sizes), self.cells, strict=True)
        return torch.stack([distance(moved, cells) for moved, cells in pairs])


def some(x: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """``n`` of the cells of a snapshot, or all if it has no more, without replacement: (m, d) -> (min(n, m), d)."""
    x = x.to(generator.device)
    return x[torch.randperm(len(x), generator=generator, device=generator.device)[:n]]
