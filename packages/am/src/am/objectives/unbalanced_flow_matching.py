"""Flow matching where mass is made and lost: relaxed couplings, curves with masses, and the growth rate beside them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from am.marginals.snapshots import (
    ENTROPY,
    FULL_PLAN,
    LOST,
    NEGLIGIBLE,
    SnapshotPath,
    relaxed_potentials,
    squared_distances,
)
from am.objectives.path import PathSample
from am.potentials.mlp import MLP
from am.potentials.scale import ScaledNetwork
from am.potentials.settings import VelocitySettings


def relaxed_log_plan(cost: Tensor, relaxation: float) -> Tensor:
    """Logarithm of the entropic plan of unbalanced transport of equal masses, up to a constant: (n, m) -> (n, m).

    It pays ``relaxation`` times the Kullback-Leibler divergence of each marginal. There is so little entropy that it
    hardly changes the marginals; see :func:`am.marginals.snapshots.relaxed_potentials`.
    """
    f, g = relaxed_potentials(cost, relaxation)
    return (f[:, None] + g - cost) / (ENTROPY * min(relaxation, float(cost.mean()) or relaxation))


Joined = TypeVar("Joined")
"""What is known of two snapshots that are coupled."""


class RelaxedPaths(ABC, Generic[Joined]):
    """Curves between neighbouring snapshots that unbalanced transport joins.

    Parameters
    ----------
    snapshots
        Cells, and the masses of each time. Two snapshots are coupled as a whole and once, or minibatches of them where
        their cost matrix has more than :data:`am.marginals.snapshots.FULL_PLAN` entries.
    """

    not_fingerprinted: ClassVar[frozenset[str]] = frozenset({"_joined"})
    dimension: int

    def __init__(self, snapshots: SnapshotPath) -> None:
        self.snapshots = snapshots
        self._joined: dict[int, Joined] = {}

    @abstractmethod
    def join(self, x: Tensor, y: Tensor, first: float, second: float) -> Joined:
        """The coupling of two snapshots of such masses: (n, d), (m, d) in double precision on the processor."""

    @abstractmethod
    def rows(self, joined: Joined, u: Tensor, duration: float, generator: torch.Generator) -> Tensor:
        """A point for each share of an interval that has passed: (n,) -> (n, dimension)."""

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """A point for each entry of ``time``: (n,) in [0, 1] -> (n, dimension)."""
        interval, passed = self.snapshots.locate(time)
        rows = time.new_empty(len(time), self.dimension)
        for k in interval.unique().tolist():
            here = interval == k
            joined = self._between(k, int(here.sum()), generator)
            duration = float(self.snapshots.times[k + 1] - self.snapshots.times[k])
            rows[here] = self.rows(joined, passed[here].double(), duration, generator).to(rows)
        return rows

    def _between(self, k: int, n: int, generator: torch.Generator) -> Joined:
        snapshots = self.snapshots
        first, second = (snapshots.masses or [1.0] * len(snapshots.points))[k : k + 2]
        x, y = snapshots.points[k : k + 2]
        if len(x) * len(y) > FULL_PLAN:
            x, y = (snapshots.draw(side, max(n, 2), generator) for side in (k, k + 1))
            return self.join(x.double().cpu(), y.double().cpu(), first, second)
        if k not in self._joined:
            self._joined[k] = self.join(x.double().cpu(), y.double().cpu(), first, second)
        return self._joined[k]


class Lines(NamedTuple):
    """Pairs of points, and how likely each is."""

    start: Tensor
    end: Tensor
    """(P, d) each."""
    mass: Tensor
    """(P,), which add up to one."""


class RelaxedLines(RelaxedPaths[Lines]):
    """Lines between pairs that are as likely as an unbalanced plan says; a point far from any partner is left out.

    A "point" is a row of 3 d numbers, as those of :class:`am.objectives.flow_matching.ConditionalPaths`: place,
    velocity per unit of t, and the standard normal noise that moved the place off its line.

    Parameters
    ----------
    relaxation
        What it costs to leave a point out, in squared units of the points.
    sigma
        Standard deviation of places around lines, in units of the points.
    """

    def __init__(self, snapshots: SnapshotPath, relaxation: float, sigma: float) -> None:
        super().__init__(snapshots)
        self.relaxation, self.sigma = relaxation, sigma
        self.dimension = 3 * snapshots.dimension

    def join(self, x: Tensor, y: Tensor, first: float, second: float) -> Lines:
        """The plan of both; masses change it by a factor alone."""
        plan = relaxed_log_plan(squared_distances(x, y), self.relaxation).flatten().softmax(0).view(len(x), len(y))
        i, j = plan.gt(NEGLIGIBLE / max(plan.shape)).nonzero(as_tuple=True)
        return Lines(x[i], y[j], plan[i, j])

    def rows(self, joined: Lines, u: Tensor, duration: float, generator: torch.Generator) -> Tensor:
        """Places, velocities and noise."""
        pair = _pairs(joined.mass.to(u), len(u), generator)
        start, end = (points.to(u)[pair] for points in (joined.start, joined.end))
        noise = torch.randn(start.shape, generator=generator, dtype=u.dtype, device=u.device)
        x = torch.lerp(start, end, u[:, None]) + self.sigma * noise
        return torch.cat([x, (end - start) / duration, noise], -1)


def _pairs(mass: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Indices of pairs, each as likely as its mass: (P,) -> (n,)."""
    level = mass.cumsum(0)
    share = torch.rand(n, generator=generator, dtype=mass.dtype, device=mass.device)
    return torch.searchsorted(level, share * level[-1], right=True).clamp(max=len(mass) - 1)


class Cone(NamedTuple):
    """Pairs of points that exchange mass, as points of a cone: the root of a mass is its radius, places are angles."""

    start: Tensor
    end: Tensor
    """(P, d) each."""
    angle: Tensor
    """(P,) distance over 2 delta; pi / 2 and more is out of reach."""
    first: Tensor
    second: Tensor
    """(P,) mass of each pair as the interval begins, and as it ends."""

    @property
    def shared(self) -> Tensor:
        """(P,) geometric mean of both masses times the cosine of the angle, zero where that is out of reach."""
        near = torch.where(self.angle < math.pi / 2, self.angle.cos(), 0)
        return (self.first * self.second).sqrt() * near

    def mass(self, u: Tensor) -> Tensor:
        """Mass of each pair when a share (P,) of the interval has passed: (P,)."""
        return (1 - u) ** 2 * self.first + u**2 * self.second + 2 * u * (1 - u) * self.shared

    def at(self, u: Tensor, late: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Place (P, d), velocity (P, d) and growth rate (P,) of each pair, by share (P,) of the interval.

        Pairs are travelling Diracs, straight lines on the cone: Chizat et al., Foundations of Computational Mathematics
        18, 2018, section 4.1; Liero, Mielke and Savare, Inventiones Mathematicae 211, 2018. Out of reach, mass is lost
        at the start and made at the end; (P,) ``late`` tells which of the two.
        """
        r, s = self.first.sqrt(), self.second.sqrt()
        turned = torch.atan2(u * s * self.angle.sin(), (1 - u) * r + u * s * self.angle.cos())
        mass, shared = self.mass(u), self.shared
        gain = -2 * (1 - u) * self.first + 2 * u * self.second + 2 * (1 - 2 * u) * shared
        way = (self.end - self.start) / self.angle.clamp(min=torch.finfo(u.dtype).tiny)[:, None]
        near = (self.angle < math.pi / 2)[:, None]
        still = torch.where(late[:, None], self.end, self.start)
        x = torch.where(near, self.start + turned[:, None] * way, still)
        velocity = torch.where(near, (r * s * self.angle.sin() / mass)[:, None] * way, 0)
        alone = torch.where(late, 2 / u, -2 / (1 - u))
        return x, velocity, torch.where(near[:, 0], gain / mass, alone)


class ConicPaths(RelaxedPaths[Cone]):
    r"""Geodesics of Wasserstein-Fisher-Rao geometry between neighbouring snapshots.

    They minimise the integral over time and mass of |v|^2 + delta^2 g^2, g being the growth rate. Which cells are
    joined is a static problem of unbalanced transport, of the cost -log cos^2 of a distance over 2 delta. A "point" is
    a row of d + d + 1 numbers: place, velocity and growth rate, per unit of t. Points at a time are drawn in proportion
    to the mass that they stand for.

    Parameters
    ----------
    delta
        Length; mass that lies further apart than pi delta is made and lost, never moved.
    """

    def __init__(self, snapshots: SnapshotPath, delta: float) -> None:
        super().__init__(snapshots)
        self.delta = delta
        self.dimension = 2 * snapshots.dimension + 1

    def join(self, x: Tensor, y: Tensor, first: float, second: float) -> Cone:
        """The optimal pairs of two snapshots of such masses."""
        angle = squared_distances(x, y).sqrt() / (2 * self.delta)
        cosine = torch.where(angle < math.pi / 2, angle.cos(), 0)
        plan = relaxed_log_plan(-cosine.square().clamp(min=LOST).log(), 1.0)
        shares = plan.softmax(1), plan.softmax(0)
        i, j = torch.maximum(*shares).gt(NEGLIGIBLE).nonzero(as_tuple=True)
        masses = (total * share[i, j] / share[i, j].sum() for total, share in zip((first, second), shares, strict=True))
        return Cone(x[i], y[j], angle[i, j], *masses)

    def rows(self, joined: Cone, u: Tensor, duration: float, generator: torch.Generator) -> Tensor:
        """Places, velocities and growth rates.

        The mass of a pair is a sum of three parts, of its beginning, of its end and of both: one of them is drawn for
        each point, and then a pair by this part.
        """
        joined = Cone(*(part.to(u) for part in joined))
        levels = torch.stack([joined.first, joined.second, joined.shared])
        bounds = (levels.sum(1) * torch.stack([(1 - u) ** 2, u**2, 2 * u * (1 - u)], -1)).cumsum(-1)
        share = torch.rand(u.shape, generator=generator, dtype=u.dtype, device=u.device)[:, None]
        part = (share * bounds[:, -1:] >= bounds).sum(-1).clamp(max=2)
        pair = torch.empty_like(part)
        for k in part.unique().tolist():
            here = part == k
            pair[here] = _pairs(levels[k], int(here.sum()), generator)
        x, velocity, growth = Cone(*(each[pair] for each in joined)).at(u, part == 1)
        return torch.cat([x, velocity / duration, growth[:, None] / duration], -1)


class VelocityAndGrowth(ScaledNetwork):
    """A velocity v_t(x) and a growth rate g_t(x), each a network of its own that sees what a velocity network sees."""

    frequencies: Tensor

    def __init__(self, dimension: int, settings: VelocitySettings) -> None:
        super().__init__(dimension)
        inputs = settings.time_features + dimension
        self.velocity = MLP(inputs, dimension, settings.width, settings.depth)
        self.growth = MLP(inputs, 1, settings.width, settings.depth)
        frequencies = math.pi * torch.arange(1, settings.time_features + 1)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """v_t(x) and g_t(x): (n,), (n, d) -> (n, d), (n,)."""
        seen = torch.cat([torch.cos(time[:, None] * self.frequencies), self.scaled(x)], -1)
        return self.spread * self.velocity(seen), self.growth(seen)[:, 0]


def velocity_and_growth_matching(
    network: nn.Module, sample: PathSample, delta: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """E |v_t(x) - v|^2 + delta^2 (g_t(x) - g)^2 on points of :class:`ConicPaths`."""
    d = (sample.x.shape[-1] - 1) // 2
    x, velocity, growth = sample.x.split([d, d, 1], -1)
    v, g = network(sample.time, x)
    moving, growing = (v - velocity).square().sum(-1), delta**2 * (g - growth[:, 0]).square()
    parts = {"velocity": sample.mean(moving.detach()), "growth": sample.mean(growing.detach())}
    return sample.integral(moving + growing), parts
