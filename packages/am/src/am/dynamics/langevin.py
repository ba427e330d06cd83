"""Annealed Langevin dynamics: follow a path of marginals by its scores."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from am.dynamics.dynamics import Dynamics
from am.dynamics.settings import LangevinSettings
from am.dynamics.trajectory import CountedField, Field, Trajectory, check_finite, check_times, step_count

_CACHED = 1000
"""Particles at a time: activations of 256 numbers each take 1 MB."""


@torch.no_grad()
def anneal(
    score: Field, start: Tensor, times: Tensor, settings: LangevinSettings, generator: torch.Generator
) -> Trajectory:
    """Unadjusted Langevin steps towards q_t while t advances.

    At each time step t moves on, and each particle then makes ``langevin_steps`` steps
    x += epsilon / 2 score_t(x) + sqrt(epsilon) noise. Source: Song and Ermon, NeurIPS 2019,
    algorithm 1, with the paper's marginals in place of noise levels.

    Parameters
    ----------
    score
        (n,) times, (n, d) points -> (n, d) gradient of log q_t.
    start, times
        (n, d) positions at ``times[0]``; (T,) increasing times.

    Raises
    ------
    DynamicsError
        Times that do not increase, or a particle that left the finite numbers.
    """
    check_times(times)
    field = CountedField(_in_cache(score) if start.device.type == "cpu" else score)
    x, path = start, [start]
    step, kick = settings.step_size / 2, math.sqrt(settings.step_size)
    for begin, end in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        time_steps = step_count(begin, end, settings.time_steps)
        for i in range(1, time_steps + 1):
            time = x.new_tensor(begin + (end - begin) * i / time_steps)
            for _ in range(settings.langevin_steps):
                noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
                x = x + step * field(time, x) + kick * noise
        path.append(x)
    check_finite(x)
    return Trajectory(torch.stack(path), field.nfe)


def _in_cache(score: Field) -> Field:
    """The same score, asked about ``_CACHED`` particles at a time: a CPU's cache then holds what a network works on."""
    return lambda time, x: torch.cat([score(*part) for part in zip(time.split(_CACHED), x.split(_CACHED), strict=True)])


@dataclass(frozen=True)
class Langevin(Dynamics):
    """Particles that follow the scores of a path while it moves on; no field tells how fast.

    Examples
    --------
    >>> import torch
    >>> from am.dynamics.langevin import Langevin
    >>> from am.dynamics.settings import LangevinSettings
    >>> towards_zero = Langevin(lambda time, x: -x, LangevinSettings(time_steps=50, step_size=0.1))
    >>> x = towards_zero.move(torch.ones(5000, 1), torch.tensor([0.0, 1.0]), torch.Generator().manual_seed(0)).x
    >>> abs(float(x[-1].mean())) < 0.1
    True
    """

    score: Field
    """Gradient of log q_t, (n,), (n, d) -> (n, d)."""
    solver: LangevinSettings = field(default_factory=LangevinSettings)

    def move(self, start: Tensor, times: Tensor, generator: torch.Generator) -> Trajectory:
        """Langevin steps towards each marginal in turn."""
        return anneal(self.score, start, times, self.solver, generator)
