"""Annealed Langevin dynamics on scores learned by exact score matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from am.dynamics.settings import LangevinSettings
from am.methods.contract import Prediction, TrainedMethod, TrainedSettings
from am.potentials.settings import ScoreSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from am.marginals.marginals import Marginals
    from am.training.stream import Stream


class Settings(TrainedSettings):
    """Settings of a learned score and of the Langevin dynamics that follows it."""

    score: ScoreSettings = ScoreSettings()
    sampling: LangevinSettings = LangevinSettings()


class ScoreMatchingLangevin(TrainedMethod):
    """Score matching (Hyvarinen 2005) on every marginal, sampled by annealed Langevin dynamics along t."""

    settings_type = Settings
    settings: Settings
    title = "ALD + SM"

    def build(self, marginals: Marginals, generator: torch.Generator) -> nn.Module:
        """A fresh score network."""
        from am.potentials.score import ScoreNetwork

        return ScoreNetwork(marginals.dimension, self.settings.score)

    def loss(self, network: Any, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        """Score matching with the exact divergence."""
        from am.objectives.score_matching import score_matching

        return score_matching(network, stream.draw(marginals, boundary=False))

    def sample(
        self,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """Langevin steps towards each marginal in turn."""
        from am.dynamics.langevin import anneal

        path = anneal(network, start, times, self.settings.sampling, generator)
        return Prediction(path.x, None, path.nfe)


METHOD = ScoreMatchingLangevin
