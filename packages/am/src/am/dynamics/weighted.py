"""Weighted particles: dx = v_t(x) dt, d log w = g_t(x) dt."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from am.dynamics.dynamics import Dynamics
from am.dynamics.ode import solve, spread
from am.dynamics.settings import OdeSettings
from am.dynamics.trajectory import Field, Trajectory, check_times

VelocityAndGrowth = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(n,) times, (n, d) points -> (n, d) velocities and (n,) growth rates."""


@torch.no_grad()
def integrate_weighted(
    field: VelocityAndGrowth, start: Tensor, times: Tensor, settings: OdeSettings, log_weight: Tensor | None = None
) -> Trajectory:
    """Move particles and grow their weights together.

    Parameters
    ----------
    log_weight
        (n,) log-weights at ``times[0]``; zeros when None.

    Returns
    -------
    Trajectory
        With log-weights as they grew: :func:`self_normalised` makes them a distribution.

    Raises
    ------
    DynamicsError
        Times that do not increase, or a field that the solver cannot follow.
    """
    check_times(times)
    unit = spread(start)
    nfe = 0

    def slope(time: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        nonlocal nfe
        nfe += 1
        velocity, growth = field(time.to(start).expand(len(start)), state[0] * unit)
        return velocity / unit, growth

    first = start.new_zeros(len(start)) if log_weight is None else log_weight
    x, log_w = solve(slope, (start / unit, first), times.to(start), settings)
    return Trajectory(torch.cat([start[None], x[1:] * unit]), nfe, log_w)


@dataclass(frozen=True)
class WeightedOde(Dynamics):
    """Particles that follow a field and change their weight: dx = v_t(x) dt, d log w = g_t(x) dt.

    Examples
    --------
    >>> import torch
    >>> from am.dynamics.weighted import WeightedOde
    >>> growing = WeightedOde(lambda time, x: torch.zeros_like(x), lambda time, x: x[:, 0])
    >>> growing.move(torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, 1.0]), torch.Generator()).log_weight[-1]
    tensor([1., 2.])
    """

    velocity: Field
    """v, (n,), (n, d) -> (n, d)."""
    growth: Field
    """g, (n,), (n, d) -> (n,)."""
    solver: OdeSettings = field(default_factory=OdeSettings)
    both: VelocityAndGrowth | None = None
    """v and g at once, where that costs less."""

    def move(self, start: Tensor, times: Tensor, generator: torch.Generator) -> Trajectory:
        """Solve both equations together; nothing is random."""
        both = self.both or (lambda time, x: (self.velocity(time, x), self.growth(time, x)))
        return integrate_weighted(both, start, times, self.solver)

    @property
    def mean_velocity(self) -> Field:
        """That of each particle, whatever its weight."""
        return self.velocity

    @property
    def growth_rate(self) -> Field:
        """The growth."""
        return self.growth


def self_normalised(log_weight: Tensor) -> Tensor:
    """Log-weights shifted so that the weights have mean one: (..., n) -> (..., n)."""
    n = log_weight.shape[-1]
    return log_weight - torch.logsumexp(log_weight, -1, keepdim=True) + math.log(n)


def effective_sample_size(log_weight: Tensor) -> Tensor:
    """(sum w)^2 / sum w^2, between 1 and n: (..., n) -> (...). Kish 1965."""
    return torch.exp(2 * torch.logsumexp(log_weight, -1) - torch.logsumexp(2 * log_weight, -1))
