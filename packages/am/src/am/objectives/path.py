"""Points drawn from a path of marginals, and how time is drawn and weighted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from am.marginals.marginals import Marginals, MovingMarginals


@dataclass(frozen=True)
class PathSample:
    """What an objective is estimated from."""

    time: Tensor
    """(n,) times in [0, 1]."""
    x: Tensor
    """(n, d) one point of q_t for each."""
    start: Tensor
    """(n0, d) points of q_0."""
    end: Tensor
    """(n1, d) points of q_1."""
    time_density: Tensor | None = None
    """(n,) density of the proposal that ``time`` was drawn from; None for the uniform one."""
    velocity: Tensor | None = None
    """(n, d) velocities of curves that carry q_t and go through ``x``; they take the place of ``start`` and ``end``."""
    mass: Tensor | None = None
    """(n,) mass that each of ``x`` stands for, where q_t is no probability between its ends; None for one."""
    observe: Callable[[Tensor, Tensor], None] | None = None
    """Told (n,) times and integrands by :meth:`integral`; None where nobody learns from them."""

    def shard(self, rank: int, world: int) -> PathSample:
        """Every ``world``-th point, from ``rank`` on: what one of several processes works on."""
        if world == 1:
            return self
        parts = (self.time, self.x, self.start, self.end, self.time_density, self.velocity, self.mass)
        shares = (None if part is None else part[rank::world] for part in parts)
        return PathSample(*shares, self.observe)  # type: ignore[arg-type,call-arg]

    def mean(self, integrand: Tensor) -> Tensor:
        """Estimate of the integral over t in [0, 1] of the integral of an (n,) integrand under q_t."""
        weighed = self._weighed(integrand)
        return (weighed if self.time_density is None else weighed / self.time_density).mean()

    def integral(self, integrand: Tensor) -> Tensor:
        """The same of what is learned from, which a proposal of times is told of."""
        if self.observe is not None:
            self.observe(self.time, self._weighed(integrand))
        return self.mean(integrand)

    def _weighed(self, integrand: Tensor) -> Tensor:
        return integrand if self.mass is None else self.mass * integrand


@dataclass(frozen=True)
class TimeWeight:
    """A weight w(t) of the objective in time, and its derivative."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]

    def of_mass(self, log_mass: Callable[[Tensor], Tensor]) -> TimeWeight:
        """The weight under which means over q_t become integrals over the mass that there is, whose logarithm is given.

        Its slope is w' m and not (w m)': what the mass gains is what the objective asks for.
        """
        return TimeWeight(
            lambda time: self.value(time) * log_mass(time).exp(), lambda time: self.slope(time) * log_mass(time).exp()
        )


WEIGHTS: dict[str, TimeWeight] = {
    "constant": TimeWeight(torch.ones_like, torch.zeros_like),
    "decreasing": TimeWeight(lambda t: 1 - t, lambda t: -torch.ones_like(t)),
    "decreasing_squared": TimeWeight(lambda t: (1 - t) ** 2, lambda t: -2 * (1 - t)),
    "parabolic": TimeWeight(lambda t: 6 * t * (1 - t), lambda t: 6 - 12 * t),
}
"""Weights by name: 1, 1 - t, (1 - t)^2, and 6 t (1 - t), which needs no boundary terms."""


def draw_path(
    marginals: Marginals,
    time: Tensor,
    boundary: int,
    generator: torch.Generator,
    time_density: Tensor | None = None,
) -> PathSample:
    """Draw a point at each entry of ``time`` and ``boundary`` points at each of t = 0 and t = 1."""
    ends = torch.arange(2, dtype=time.dtype, device=time.device).repeat_interleave(boundary)
    points = marginals.sample(torch.cat([time, ends]), generator)
    x, start, end = points.split([len(time), boundary, boundary])
    return PathSample(time, x, start, end, time_density)


def draw_moving(
    marginals: MovingMarginals, time: Tensor, generator: torch.Generator, time_density: Tensor | None = None
) -> PathSample:
    """Draw a point and its velocity at each entry of ``time``, and none at t = 0 and t = 1."""
    x, velocity = marginals.moving(time, generator)
    return PathSample(time, x, x[:0], x[:0], time_density, velocity)
