"""Annealed Langevin dynamics on scores learned by sliced score matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from am.methods import ald_sm
from am.methods.contract import Loss
from am.potentials.settings import ImageScoreSettings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from am.marginals.marginals import Marginals
    from am.training.stream import Stream


class Settings(ald_sm.Settings):
    """Settings of a score learned along random directions, and of the dynamics that follow it."""

    score: ImageScoreSettings = ImageScoreSettings()
    weight: Literal["constant", "decreasing", "decreasing_squared", "parabolic"] = Field(
        default="constant", description="w(t) of the objective: 1, 1 - t, (1 - t)^2 or 6 t (1 - t)"
    )


class SlicedScoreMatchingLangevin(ald_sm.ScoreMatchingLangevin):
    """Sliced score matching (Song et al. 2019), sampled by annealed Langevin dynamics along t."""

    settings_type = Settings
    settings: Settings
    title = "ALD + SSM"

    def build(self, path: Marginals, generator: torch.Generator) -> nn.Module:
        """A fresh score network."""
        from am.potentials.score import build_score

        return build_score(self.settings.score, path)

    def loss(self, network: nn.Module, path: Marginals, stream: Stream) -> Loss:
        """Score matching with one random direction per point."""
        from am.objectives.path import WEIGHTS
        from am.objectives.sliced_score_matching import sliced_score_matching

        sample = stream.draw(path, boundary=False)
        return sliced_score_matching(network, sample, stream.normal(sample.x), WEIGHTS[self.settings.weight])


METHOD = SlicedScoreMatchingLangevin
