"""The published action."""

from __future__ import annotations

import torch
from torch import Tensor

from am.potentials.mlp import MLP
from am.potentials.potential import Derivatives, Potential


class ResidualPotential(Potential):
    """The published action s_t(x) = |x - h(t, x)|^2 / 2, h an MLP on (t, x) as they come."""

    def __init__(self, dimension: int, width: int, depth: int) -> None:
        super().__init__()
        self.network = MLP(1 + dimension, dimension, width, depth)

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        return (x - self.network(torch.cat([time[:, None], x], -1))).square().sum(-1) / 2

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Value and gradients through the network's own pullback."""
        h, pullback = self.network.with_pullback(torch.cat([time[:, None], x], -1))
        residual = x - h
        pulled = pullback(residual)
        return Derivatives(residual.square().sum(-1) / 2, -pulled[:, 0], residual - pulled[:, 1:])
