"""Velocity networks, for flow matching."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from am.marginals.marginals import Marginals
from am.potentials.mlp import MLP
from am.potentials.scale import ScaledNetwork, fit_scale
from am.potentials.settings import VelocitySettings


class VelocityNetwork(ScaledNetwork):
    """A field v_t(x) = L h(cos(pi t), ..., cos(k pi t), (x - m) / L), h an MLP.

    It sees what a :class:`am.potentials.potential.ScaledPotential` sees, m and L being centre and spread of the
    data, and gives what the gradient of one does: a displacement in units of L per unit of t.
    """

    frequencies: Tensor

    def __init__(self, dimension: int, settings: VelocitySettings) -> None:
        super().__init__(dimension)
        self.network = MLP(settings.time_features + dimension, dimension, settings.width, settings.depth)
        frequencies = math.pi * torch.arange(1, settings.time_features + 1)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """v_t(x): (n,), (n, d) -> (n, d)."""
        features = torch.cos(time[:, None] * self.frequencies)
        return self.spread * self.network(torch.cat([features, self.scaled(x)], -1))


class BridgeNetwork(nn.Module):
    """The drift v_t(x) + g_t(x) of a diffusion: a velocity, and a score g = sigma^2 / 2 grad log q_t."""

    def __init__(self, dimension: int, settings: VelocitySettings) -> None:
        super().__init__()
        self.velocity = VelocityNetwork(dimension, settings)
        self.score = VelocityNetwork(dimension, settings)

    def fit_scale(self, points: Tensor) -> None:
        """Take centre and spread of both from (n, d) points."""
        self.velocity.fit_scale(points)
        self.score.fit_scale(points)

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """v_t(x) + g_t(x): (n,), (n, d) -> (n, d)."""
        return self.velocity(time, x) + self.score(time, x)


def build_velocity(settings: VelocitySettings, marginals: Marginals, generator: torch.Generator) -> nn.Module:
    """A fresh velocity network for points of ``marginals``.

    Raises
    ------
    ValueError
        A U-Net is asked for where points are no images.
    """
    if settings.kind == "unet":
        from am.potentials.unet import build_unet

        return build_unet(settings.unet, marginals)
    network = VelocityNetwork(marginals.dimension, settings)
    fit_scale(network, marginals, generator)
    return network
