"""Annealed Langevin dynamics on scores learned by exact score matching, in closed form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from am.dynamics.settings import LangevinSettings
from am.methods.ald_sm import ScoreMatchingLangevin
from am.methods.closed_form import SolvedMethod, SolvedSettings

if TYPE_CHECKING:
    import torch

    from am.marginals.marginals import Marginals
    from am.potentials.linear import LinearField
    from am.training.solve import Form


class Settings(SolvedSettings):
    """Settings of a score in closed form and of the Langevin dynamics that follows it."""

    sampling: LangevinSettings = LangevinSettings()


class ClosedFormScoreMatching(SolvedMethod, ScoreMatchingLangevin):  # type: ignore[misc]  # piece by piece of time
    """Score matching of an exponential family (Hyvarinen 2005): log q_t is linear in features, up to a constant."""

    settings_type = Settings  # type: ignore[assignment]
    settings: Settings  # type: ignore[assignment]
    title = "ALD + SM, closed form"

    def linear(self, dimension: int, knots: torch.Tensor, generator: torch.Generator) -> LinearField:
        """The gradient of an action."""
        from am.potentials.linear import LinearField, SpaceFeatures

        features = self.settings.features
        return LinearField(SpaceFeatures(dimension, features, generator), features, knots, generator)

    def form(self, marginals: Marginals) -> Form:
        """The entropic loss of particles that do not move, whose drift sigma^2 / 2 grad log q is the score."""
        from am.objectives.path import WEIGHTS
        from am.training.solve import Form

        return Form(WEIGHTS["constant"], sigma=math.sqrt(2), still=True)


METHOD = ClosedFormScoreMatching
