"""A drift that is a gradient, and noise that depends on time and place."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from am.potentials.mlp import MLP
from am.potentials.ot_flow_potential import OTFlowPotential
from am.potentials.settings import DiffusionSettings, OTFlowSettings


class NeuralSde(nn.Module):
    """dx = -grad Phi_t(x) dt + sigma_t(x) dW, with one sigma for each coordinate.

    sigma = L sqrt(r) tanh h(r t, (x - m) / L), h an MLP: noise is at most L per square root of a unit of time. L, m and
    r are those of the potential: centre and spread of the data, and units of time in [0, 1].
    Source: Koshizuka and Sato, ICLR 2023, with the potential of OT-Flow.
    """

    def __init__(
        self, dimension: int, potential: OTFlowSettings, diffusion: DiffusionSettings, rate: float = 1.0
    ) -> None:
        super().__init__()
        self.potential = OTFlowPotential(dimension, potential, rate)
        self.diffusion = MLP(1 + dimension, dimension, diffusion.width, diffusion.depth)

    def fit_scale(self, points: Tensor) -> None:
        """Take centre and spread (root mean square of all coordinates) from (n, d) points."""
        self.potential.fit_scale(points)

    def drift(self, time: Tensor, x: Tensor) -> Tensor:
        """-grad Phi_t(x), which can be differentiated: (n,), (n, d) -> (n, d)."""
        return -self.potential.derivatives(time, x).space

    def sigma(self, time: Tensor, x: Tensor) -> Tensor:
        """Noise in each coordinate, of any sign: (n,), (n, d) -> (n, d), length per square root of time."""
        scale, rate = self.potential.spread, self.potential.rate
        inputs = torch.cat([self.potential.scaled(x), rate * time[:, None]], -1)
        return scale * math.sqrt(rate) * torch.tanh(self.diffusion(inputs))
