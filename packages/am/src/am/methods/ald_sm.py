"""Annealed Langevin dynamics on scores learned by exact score matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from am.dynamics.settings import LangevinSettings
from am.methods.contract import Loss, TrainedMethod, TrainedSettings
from am.potentials.settings import ScoreSettings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from am.dynamics.langevin import Langevin
    from am.marginals.marginals import Marginals
    from am.potentials.score import ScoreNetwork
    from am.training.stream import Stream


class Settings(TrainedSettings):
    """Settings of a learned score and of the Langevin dynamics that follows it."""

    score: ScoreSettings = ScoreSettings()
    sampling: LangevinSettings = LangevinSettings()


class ScoreMatchingLangevin(TrainedMethod["nn.Module"]):
    """Score matching (Hyvarinen 2005) on every marginal, sampled by annealed Langevin dynamics along t."""

    settings_type = Settings
    settings: Settings
    title = "ALD + SM"

    def build(self, path: Marginals, generator: torch.Generator) -> nn.Module:
        """A fresh score network."""
        from am.potentials.score import ScoreNetwork

        return ScoreNetwork(path.dimension, self.settings.score)

    def loss(self, network: nn.Module, path: Marginals, stream: Stream) -> Loss:
        """Score matching with the exact divergence."""
        from am.objectives.score_matching import score_matching

        return score_matching(cast("ScoreNetwork", network), stream.draw(path, boundary=False))

    def dynamics(self, network: nn.Module) -> Langevin:
        """Langevin steps towards each marginal in turn."""
        from am.dynamics.langevin import Langevin

        return Langevin(network, self.settings.sampling)


METHOD = ScoreMatchingLangevin
