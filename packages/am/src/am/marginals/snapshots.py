"""A path through snapshots: what lies between the time points of a data set of particles."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

FULL_PLAN = 25_000_000
"""Entries of the largest cost matrix that is solved as a whole; above it, minibatches are coupled."""


class SnapshotPath:
    r"""Particles seen at a few times, and a path q_t through them.

    Between neighbouring snapshots k and k + 1,

    .. math:: x_t = (1 - u) x_k + u x_{k+1} + \sigma \sqrt{u (1 - u)}\, \epsilon, \quad u = (t - t_k) / (t_{k+1} - t_k)

    with (x_k, x_{k+1}) from a coupling of the two. At observed times q_t is the snapshot itself.

    Parameters
    ----------
    points
        For each snapshot, (n_k, d).
    times
        (K,) increasing, from 0 to 1, at least two.
    coupling
        ``optimal``: an optimal-transport plan for squared Euclidean cost, of the whole snapshots while their cost
        matrix has at most :data:`FULL_PLAN` entries, of each minibatch above that; ``independent``: any pair.
    smoothing
        sigma, in the units of the points.

    Raises
    ------
    ValueError
        Fewer than two snapshots, an empty one, one of another dimension, times that do not increase from 0 to 1, or
        numbers that are not finite.
    """

    def __init__(
        self,
        points: Sequence[Tensor],
        times: Sequence[float],
        coupling: Literal["optimal", "independent"] = "optimal",
        smoothing: float = 0.0,
    ) -> None:
        if len(points) < 2 or len(points) != len(times):
            raise ValueError(f"a path needs two snapshots or more, each with its time; got {len(points)}, {len(times)}")
        if times[0] != 0 or times[-1] != 1 or any(b <= a for a, b in pairwise(times)):
            raise ValueError(f"times of snapshots must increase from 0 to 1, got {list(times)}")
        for time, x in zip(times, points, strict=True):
            if not len(x) or not bool(torch.isfinite(x).all()):
                raise ValueError(f"the snapshot at time {time:g} is empty or holds numbers that are not finite")
            if x.ndim != 2 or x.shape[1] != points[0].shape[1]:
                raise ValueError(
                    f"snapshots must be (n, d) with one d: {tuple(x.shape)} at time {time:g}, "
                    f"{tuple(points[0].shape)} at time 0"
                )
        self.points = tuple(points)
        """For each snapshot, (n_k, d)."""
        self.times = torch.tensor(times, dtype=torch.float64)
        """(K,) float64"""
        self.coupling, self.smoothing = coupling, smoothing
        self.dimension = int(points[0].shape[1])
        self._plans: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def draw(self, snapshot: int, n: int, generator: torch.Generator) -> Tensor:
        """``n`` particles of a snapshot, with replacement: (n, d)."""
        x = self.points[snapshot]
        return _to(x, generator)[torch.randint(len(x), (n,), generator=generator, device=generator.device)]

    def pairs(self, snapshot: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """``n`` coupled particles of a snapshot and of the next: (n, d) and (n, d)."""
        size = len(self.points[snapshot]) * len(self.points[snapshot + 1])
        if self.coupling == "optimal" and size <= FULL_PLAN:
            return self._from_plan(snapshot, n, generator)
        x, y = self.draw(snapshot, n, generator), self.draw(snapshot + 1, n, generator)
        if self.coupling == "optimal":
            i, j, _ = transport_plan(x, y)
            order = torch.randperm(n, generator=generator, device=generator.device)
            x, y = x[i.to(x.device)[order]], y[j.to(y.device)[order]]
        return x, y

    def locate(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Index of the interval that each time lies in, and u, how much of it has passed: (n,) -> (n,), (n,)."""
        knots = self.times.to(time.device)
        interval = (torch.searchsorted(knots, time.double(), right=True) - 1).clamp(0, len(knots) - 2)
        u = (time.double() - knots[interval]) / (knots[interval + 1] - knots[interval])
        return interval, u.to(time.dtype)

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """One point of q_t for each entry of ``time``: (n,) in [0, 1] -> (n, d)."""
        interval, passed = self.locate(time)
        x = time.new_empty(len(time), self.dimension)
        for k in interval.unique().tolist():
            here = interval == k
            start, end = (x_k.to(x) for x_k in self.pairs(k, int(here.sum()), generator))
            u = passed[here, None]
            x[here] = (1 - u) * start + u * end
            if self.smoothing:
                noise = torch.randn(start.shape, generator=generator, dtype=start.dtype, device=start.device)
                x[here] += self.smoothing * (u * (1 - u)).sqrt() * noise
        return x

    def _from_plan(self, snapshot: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if snapshot not in self._plans:
            i, j, mass = transport_plan(self.points[snapshot], self.points[snapshot + 1])
            self._plans[snapshot] = i, j, mass.cumsum(0)
        i, j, level = (part.to(generator.device) for part in self._plans[snapshot])
        u = torch.rand(n, generator=generator, device=generator.device, dtype=level.dtype)
        chosen = torch.searchsorted(level, u * level[-1], right=True).clamp(max=len(level) - 1)
        return tuple(_to(self.points[snapshot + s], generator)[index[chosen]] for s, index in enumerate((i, j)))  # type: ignore[return-value]


def transport_plan(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Optimal transport of equal masses for squared Euclidean cost: (n, d), (m, d) -> rows, columns and masses.

    At most n + m - 1 pairs carry mass, and between equal numbers of points each point has one partner.
    Computed by POT (Flamary et al., JMLR 22, 2021).
    """
    import ot

    cost = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist").square().cpu()
    plan = torch.from_numpy(ot.emd([], [], cost.numpy(), numItermax=100_000_000))
    i, j = plan.nonzero(as_tuple=True)
    return i, j, plan[i, j]


def _to(x: Tensor, generator: torch.Generator) -> Tensor:
    return x.to(generator.device)
