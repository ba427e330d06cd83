"""An action that sees points and times in units of the data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from am.potentials.mlp import MLP
from am.potentials.potential import Derivatives, Potential
from am.potentials.scale import ScaledNetwork


class ScaledPotential(ScaledNetwork, Potential):
    """A well-conditioned action: s_t(x) = L^2 h(cos(pi t), ..., cos(k pi t), (x - m) / L).

    m is the centre of the data and L its spread, so that h sees and gives numbers of order one:
    its gradient is a displacement in units of L per unit of t.
    """

    frequencies: Tensor

    def __init__(self, dimension: int, width: int, depth: int, time_features: int) -> None:
        super().__init__(dimension)
        self.network = MLP(time_features + dimension, 1, width, depth)
        self.register_buffer("frequencies", math.pi * torch.arange(1, time_features + 1), persistent=False)

    def _inputs(self, time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        angles = time[:, None] * self.frequencies
        return torch.cat([torch.cos(angles), self.scaled(x)], -1), angles

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        return self.spread**2 * self.network(self._inputs(time, x)[0])[:, 0]

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Value and gradients through the network's own pullback."""
        inputs, angles = self._inputs(time, x)
        value, pullback = self.network.with_pullback(inputs)
        pulled = pullback(torch.ones_like(value))
        features = len(self.frequencies)
        ds_dt = -(pulled[:, :features] * torch.sin(angles) * self.frequencies).sum(-1)
        return Derivatives(self.spread**2 * value[:, 0], self.spread**2 * ds_dt, self.spread * pulled[:, features:])
