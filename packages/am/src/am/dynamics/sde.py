"""Stochastic dynamics: dx = b_t(x) dt + sigma dW, with a number or a field for sigma."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from am.dynamics.dynamics import Dynamics
from am.dynamics.settings import SdeSettings
from am.dynamics.trajectory import CountedField, Field, Trajectory, check_finite, check_times, step_count


@torch.no_grad()
def simulate(
    drift: Field,
    sigma: float,
    start: Tensor,
    times: Tensor,
    settings: SdeSettings,
    generator: torch.Generator,
) -> Trajectory:
    """Move particles along a drift with constant, isotropic noise.

    Euler-Maruyama has strong order 1 for such noise; the Heun step, whose predictor and corrector
    share the noise, has weak order 2 (Kloeden and Platen 1992, chapter 15).

    Parameters
    ----------
    drift
        (n,) times, (n, d) points -> (n, d).
    sigma
        Strength of the noise, units of length per square root of time.
    start, times
        (n, d) positions at ``times[0]``; (T,) increasing times.
    settings
        Solver and its number of equal steps per unit of time.

    Raises
    ------
    DynamicsError
        Times that do not increase, or a particle that left the finite numbers.
    """
    check_times(times)
    field = CountedField(drift)
    x, path = start, [start]
    for begin, end in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        steps = step_count(begin, end, settings.steps)
        dt = (end - begin) / steps
        for i in range(steps):
            time = x.new_tensor(begin + i * dt)
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            kick = sigma * math.sqrt(dt) * noise
            slope = field(time, x)
            if settings.method == "heun":
                slope = (slope + field(time + dt, x + dt * slope + kick)) / 2
            x = x + dt * slope + kick
        path.append(x)
    check_finite(x)
    return Trajectory(torch.stack(path), field.nfe)


def diffuse(
    drift: Field, sigma: Field, start: Tensor, times: Tensor, steps: int, generator: torch.Generator
) -> Trajectory:
    """Move particles along a drift with noise that is independent in each coordinate, as strong as a field says.

    Euler-Maruyama; Ito's sense of the noise, and weak order 1 (Kloeden and Platen 1992, chapter 14). The result can
    be differentiated in ``start`` and in whatever both fields depend on, while gradients are enabled.

    Parameters
    ----------
    drift, sigma
        (n,) times, (n, d) points -> (n, d); sigma in units of length per square root of time.
    start, times
        (n, d) positions at ``times[0]``; (T,) increasing times.
    steps
        Equal steps per unit of time.

    Raises
    ------
    DynamicsError
        Times that do not increase, or a particle that left the finite numbers.
    """
    check_times(times)
    field = CountedField(drift)
    x, path = start, [start]
    for begin, end in pairwise(times.tolist()):
        count = step_count(begin, end, steps)
        dt = (end - begin) / count
        for i in range(count):
            time = x.new_tensor(begin + i * dt)
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            x = x + dt * field(time, x) + math.sqrt(dt) * sigma(time.expand(len(x)), x) * noise
        path.append(x)
    check_finite(x)
    return Trajectory(torch.stack(path), field.nfe)


@dataclass(frozen=True)
class Diffusion(Dynamics):
    """Particles with noise: dx = b_t(x) dt + sigma dW.

    Raises
    ------
    ValueError
        The noise is a field, and the solver is not Euler-Maruyama.

    Examples
    --------
    >>> import torch
    >>> from am.dynamics.sde import Diffusion
    >>> brownian = Diffusion(drift=lambda time, x: torch.zeros_like(x), sigma=0.5)
    >>> x = brownian.move(torch.zeros(5000, 1), torch.tensor([0.0, 1.0]), torch.Generator().manual_seed(0)).x
    >>> round(float(x[-1].std()), 1)
    0.5
    """

    drift: Field
    """b, (n,), (n, d) -> (n, d)."""
    sigma: float | Field
    """A number, or a field (n,), (n, d) -> (n, d): length per square root of time."""
    solver: SdeSettings = field(default_factory=SdeSettings)
    probability_flow: Field | None = None
    """Velocity of the deterministic flow of the same law, where it is known; it is then told in place of the drift."""

    def __post_init__(self) -> None:
        if callable(self.sigma) and self.solver.method != "euler":
            raise ValueError(f"noise that is a field is not followed by 'method: {self.solver.method}'; use 'euler'")

    def move(self, start: Tensor, times: Tensor, generator: torch.Generator) -> Trajectory:
        """Simulate the diffusion."""
        if callable(self.sigma):
            with torch.no_grad():
                return diffuse(self.drift, self.sigma, start, times, self.solver.steps, generator)
        return simulate(self.drift, self.sigma, start, times, self.solver, generator)

    @property
    def mean_velocity(self) -> Field:
        """The probability flow where it is known, else the drift."""
        return self.probability_flow or self.drift

    @property
    def flow(self) -> Field | None:
        """The probability flow."""
        return self.probability_flow
