"""Score networks, for the score-matching baselines."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from am.marginals.marginals import Marginals
from am.potentials.mlp import MLP
from am.potentials.settings import ImageScoreSettings, ScoreSettings

Score = Callable[[Tensor, Tensor], Tensor]
"""A score: (n,) times, (n, d) points -> (n, d)."""


class ScoreNetwork(nn.Module):
    """The published score network: output_scale * h(t, x), h an MLP on (t, x) as they come."""

    def __init__(self, dimension: int, settings: ScoreSettings) -> None:
        super().__init__()
        self.network = MLP(1 + dimension, dimension, settings.width, settings.depth)
        self.output_scale = settings.output_scale

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """Estimate of grad log q_t(x): (n,), (n, d) -> (n, d)."""
        return self.output_scale * self.network(torch.cat([time[:, None], x], -1))

    def with_pullback(self, time: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Score and the rows of its Jacobian in x, each (n, d), differentiable once more."""
        score, pullback = self.network.with_pullback(torch.cat([time[:, None], x], -1))
        rows = [self.output_scale * pullback(unit.expand_as(score))[:, 1:] for unit in torch.eye(x.shape[-1]).to(x)]
        return self.output_scale * score, rows


def build_score(settings: ImageScoreSettings, marginals: Marginals) -> nn.Module:
    """A fresh score network for points of ``marginals``.

    Raises
    ------
    ValueError
        A U-Net is asked for where points are no images.
    """
    if settings.kind == "unet":
        from am.potentials.unet import build_unet

        return build_unet(settings.unet, marginals)
    return ScoreNetwork(marginals.dimension, settings)
