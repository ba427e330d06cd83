"""A diffusion whose particles multiply, simulated once with weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Field = Callable[[Tensor], Tensor]


class BranchingDiffusion:
    r"""q_t of particles that move by dx = f(x) dt + sigma dW and multiply at the rate g(x).

    .. math:: \partial_t \rho = -\nabla \cdot (\rho f) + \sigma^2 / 2\, \Delta \rho + g \rho, \quad q = \rho / |\rho|

    ``particles`` are moved by Euler-Maruyama and weighed by d log w = g dt. A point of q_t is one of them, drawn by
    its weight at the step before t and moved on to t by noise of its own, so that no two points are equal.

    Parameters
    ----------
    drift
        f, (n, d) -> (n, d), per unit of t.
    rate
        g, (n, d) -> (n,), per unit of t.
    sigma
        Noise per square root of a unit of t.
    start
        (n, d) points of q_0 from a generator.
    """

    def __init__(
        self,
        drift: Field,
        rate: Field,
        sigma: float,
        start: Callable[[int, torch.Generator], Tensor],
        particles: int,
        steps: int,
        generator: torch.Generator,
    ) -> None:
        self._drift, self._rate, self.sigma, self._start = drift, rate, sigma, start
        self.steps = steps
        x, log_weight = start(particles, generator), torch.zeros(particles)
        states, weights = [x], [log_weight]
        for _ in range(steps):
            growing = rate(x)
            x = self._moved(x, torch.full((particles,), 1 / steps), generator)
            log_weight = log_weight + (growing + rate(x)) / 2 / steps
            states.append(x)
            weights.append(log_weight)
        self._states = torch.stack(states)
        self._log_weight = torch.stack(weights)
        share = torch.softmax(self._log_weight.double(), -1).cumsum(-1)
        # One increasing sequence for all steps: k + u finds the particle of step k below which a share u lies.
        self._levels = (share / share[:, -1:] + torch.arange(steps + 1)[:, None]).flatten()
        self.dimension = x.shape[1]

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """One point of q_t for each entry of ``time``: (n,) -> (n, d)."""
        n, device = len(time), time.device
        before = (torch.ceil(time * self.steps - 1e-4) - 1).clamp(0, self.steps - 1).long()
        u = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
        found = torch.searchsorted(self._levels.to(device), before + u, right=True)
        particles = self._states.shape[1]
        x = self._states.to(device)[before, (found - before * particles).clamp(0, particles - 1)]
        moved = self._moved(x, (time - before / self.steps).clamp(min=0), generator)
        first = time <= 0
        if bool(first.any()):
            moved[first] = self._start(int(first.sum()), generator).to(moved)
        return moved.to(time.dtype)

    def drift(self, time: Tensor, x: Tensor) -> Tensor:
        """Drift f at x, whatever the time: (n,), (n, d) -> (n, d)."""
        return self._drift(x)

    def growth(self, time: Tensor, x: Tensor) -> Tensor:
        """Rate at which mass grows at x, relative to the whole, per unit of t: (n,), (n, d) -> (n,)."""
        share = torch.softmax(self._log_weight, -1)
        mean = (share * self._rate(self._states.flatten(0, 1)).view_as(share)).sum(-1).to(x)
        place = (time * self.steps).clamp(0, self.steps)
        low = place.floor().long().clamp(max=self.steps - 1)
        return self._rate(x) - torch.lerp(mean[low], mean[low + 1], (place - low).to(x))

    def rate(self, time: Tensor, x: Tensor) -> Tensor:
        """Rate g at which mass grows at x, whatever the time: (n,), (n, d) -> (n,)."""
        return self._rate(x)

    def log_mass(self, time: Tensor) -> Tensor:
        """Logarithm of the whole mass, 0 at t = 0: (n,) -> (n,)."""
        total = (torch.logsumexp(self._log_weight.double(), -1) - math.log(self._states.shape[1])).to(time)
        return total[(time * self.steps).round().long()]

    def _moved(self, x: Tensor, step: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return x + self._drift(x) * step[:, None].to(x) + self.sigma * step.to(x).sqrt()[:, None] * noise
