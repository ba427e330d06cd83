"""Annealed Langevin dynamics on the true score: what the sampler alone can reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from am import config
from am.config import ConfigError
from am.dynamics.settings import LangevinSettings
from am.methods.contract import Method, Prediction

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from am.marginals.marginals import Marginals


class Settings(config.Settings):
    """Settings of the Langevin dynamics."""

    sampling: LangevinSettings = LangevinSettings()


class TrueScoreLangevin(Method):
    """Annealed Langevin dynamics along t, following the score of the truth."""

    settings_type = Settings
    settings: Settings
    title = "ALD + true score"
    uses_truth = True

    def sample(
        self,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """Langevin steps towards each marginal in turn.

        Raises
        ------
        ConfigError
            The data set knows no score.
        """
        from am.dynamics.langevin import anneal
        from am.marginals.marginals import ScoredMarginals

        if not isinstance(truth, ScoredMarginals):
            raise ConfigError("ald_true_score: the score of this data set is not known; leave this method out")
        path = anneal(truth.score, start, times, self.settings.sampling, generator)
        return Prediction(path.x, None, path.nfe)


METHOD = TrueScoreLangevin
