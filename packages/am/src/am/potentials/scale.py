"""The scale of the data, which networks divide their inputs by."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from am.marginals.marginals import Marginals
from am.marginals.stray import without_stray


class ScaledNetwork(nn.Module):
    """A network that sees points of d coordinates as (x - m) / L, m being centre and L spread of the data."""

    centre: Tensor
    spread: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(dimension))
        self.register_buffer("spread", torch.ones(()))

    def fit_scale(self, points: Tensor) -> None:
        """Take centre and spread (root mean square of all coordinates) from (n, d) points that are not stray."""
        points = without_stray(points)
        self.centre.copy_(points.mean(0))
        self.spread.copy_((points - self.centre).square().mean().sqrt())

    def scaled(self, x: Tensor) -> Tensor:
        """(x - m) / L: (n, d) -> (n, d)."""
        return (x - self.centre) / self.spread


class FitsScale(Protocol):
    """A network that has a scale, or hands it on to its parts."""

    def fit_scale(self, points: Tensor) -> None:
        """Take centre and spread from (n, d) points."""


def fit_scale(network: FitsScale, marginals: Marginals, generator: torch.Generator) -> None:
    """Fit the scale of a network to 4,096 points of ``marginals`` at uniform times."""
    time = torch.rand(4096, generator=generator, device=generator.device)
    network.fit_scale(marginals.sample(time, generator).to("cpu"))
