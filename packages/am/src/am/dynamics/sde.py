"""Stochastic dynamics: dx = b_t(x) dt + sigma dW."""

from __future__ import annotations

import math

import torch
from torch import Tensor

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
