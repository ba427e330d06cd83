"""Annealed Langevin dynamics on the true score: what the sampler alone can reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from am import config
from am.config import ConfigError
from am.dynamics.settings import LangevinSettings
from am.methods.contract import TruthMethod

if TYPE_CHECKING:
    from am.dynamics.langevin import Langevin
    from am.marginals.marginals import Marginals


class Settings(config.Settings):
    """Settings of the Langevin dynamics."""

    sampling: LangevinSettings = LangevinSettings()


class TrueScoreLangevin(TruthMethod):
    """Annealed Langevin dynamics along t, following the score of the truth."""

    settings_type = Settings
    settings: Settings
    title = "ALD + true score"

    def dynamics(self, network: Marginals) -> Langevin:
        """Langevin steps towards each marginal in turn.

        Raises
        ------
        ConfigError
            The data set knows no score.
        """
        from am.dynamics.langevin import Langevin
        from am.marginals.marginals import ScoredMarginals

        if not isinstance(network, ScoredMarginals):
            raise ConfigError("ald_true_score: the score of this data set is not known; leave this method out")
        return Langevin(network.score, self.settings.sampling)


METHOD = TrueScoreLangevin
