"""Curves between snapshots that a network bends, and the path that they make."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from am.marginals.snapshots import SnapshotPath
from am.potentials.mlp import MLP
from am.potentials.potential import Derivatives, Potential
from am.potentials.scale import ScaledNetwork
from am.potentials.settings import InterpolantSettings


class Interpolant(ScaledNetwork):
    r"""Curves from cells of a snapshot to cells of the next, each with a mass.

    .. math::
        x_t = (1 - u) x_k + u x_{k+1} + \sigma \sqrt{h\, u (1 - u)}\, z + 4 u (1 - u)\, L\, f, \quad
        \log m_t = 4 u (1 - u) \min(1, \lambda L^2)\, g

    u is the share of interval k, of length h, that has passed, and z is standard normal. f and g come out of one MLP,
    which sees cosines of u, which interval it is, (x_k - m) / L, (x_{k+1} - m) / L, and z where there is noise; m and L
    are centre and spread of the data. They are zero before training. At the ends of an interval x_t is a cell, of mass
    one, whatever the network says.

    Parameters
    ----------
    intervals
        Number of intervals between snapshots.
    noise
        sigma, in units of length per square root of time.
    growth
        lambda, one over length squared: actions that are of order L^2 make mass at rates of order lambda L^2, which is
        how fast masses learn too. With 0 there is no g, and all masses are one.
    """

    frequencies: Tensor

    def __init__(
        self, dimension: int, intervals: int, settings: InterpolantSettings, noise: float = 0.0, growth: float = 0.0
    ) -> None:
        super().__init__(dimension)
        self.dimension, self.intervals, self.noise, self.growth = dimension, intervals, noise, growth
        inputs = settings.time_features + intervals + (3 if noise else 2) * dimension
        self.network = MLP(inputs, dimension + bool(growth), settings.width, settings.depth)
        nn.init.zeros_(self.network.last.weight)
        nn.init.zeros_(self.network.last.bias)
        frequencies = math.pi * torch.arange(1, settings.time_features + 1)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, snapshots: SnapshotPath, time: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A point of a curve of its own at each time, and the logarithm of its mass: (n,) -> (n, d), (n,).

        Any cell may be joined with any of the next snapshot.
        """
        interval, passed = snapshots.locate(time)
        start, end = (time.new_empty(len(time), self.dimension) for _ in range(2))
        for k in interval.unique().tolist():
            here = interval == k
            n = int(here.sum())
            start[here], end[here] = (snapshots.draw(s, n, generator).to(start) for s in (k, k + 1))
        u = passed[:, None]
        arch = u * (1 - u)
        seen = [torch.cos(u * self.frequencies), one_hot(interval, self.intervals).to(u)]
        seen += [self.scaled(x) for x in (start, end)]
        x = torch.lerp(start, end, u)
        if self.noise:
            z = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            duration = snapshots.times.diff().to(x)[interval, None]
            x = x + self.noise * (duration * arch).sqrt() * z
            seen.append(z)
        bend = 4 * arch * self.network(torch.cat(seen, -1))
        x = x + self.spread * bend[:, : self.dimension]
        if not self.growth:
            return x, torch.zeros_like(passed)
        return x, (self.growth * self.spread**2).clamp(max=1) * bend[:, -1]


class OpposedPath:
    """The path that an interpolant makes of snapshots: where an action descends on it, the curves climb.

    A "point" of it is a row of d + 1 numbers, place and mass. Gradients come back through it with their sign turned, so
    that one backward pass serves both sides of a saddle (Ganin et al., JMLR 17, 2016).
    """

    def __init__(self, interpolant: Interpolant, snapshots: SnapshotPath) -> None:
        self.interpolant, self.snapshots = interpolant, snapshots
        self.dimension = snapshots.dimension + 1

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """Place and mass for each entry of ``time``: (n,) in [0, 1] -> (n, d + 1)."""
        x, log_mass = self.interpolant(self.snapshots, time, generator)
        rows = torch.cat([x, log_mass.exp()[:, None]], -1)
        return 2 * rows.detach() - rows


class LagrangianFlow(Potential):
    """An action, and the interpolant of the path that it is learned from."""

    def __init__(self, action: Potential, interpolant: Interpolant) -> None:
        super().__init__()
        self.action, self.interpolant = action, interpolant

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        return self.action(time, x)

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Those of the action."""
        return self.action.derivatives(time, x)
