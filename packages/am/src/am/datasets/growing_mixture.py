"""Populations that stand still while some multiply and some die out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat

from am import config
from am.datasets.synthetic import SyntheticDataset, SyntheticSettings

if TYPE_CHECKING:
    from pathlib import Path

    from am.marginals.mixture import GaussianMixture


class Population(config.Settings):
    """A Gaussian whose mass changes exponentially."""

    centre: tuple[float, float] = Field(description="where it stands")
    mass: PositiveFloat = Field(description="at t = 0, relative to the others")
    rate: float = Field(description="of its growth, per unit of t")


class Settings(SyntheticSettings):
    """Which populations there are."""

    populations: tuple[Population, ...] = Field(
        default=(
            Population(centre=(-3.0, 0.0), mass=0.7, rate=-1.0),
            Population(centre=(3.0, 0.0), mass=0.1, rate=2.0),
            Population(centre=(0.0, 4.0), mass=0.2, rate=0.0),
        ),
        min_length=1,
        description="what the whole is made of",
    )
    scale: PositiveFloat = Field(default=0.5, description="standard deviation of each population, in each coordinate")


class GrowingMixture(SyntheticDataset):
    """Growth is known; lambda times the action of unbalanced Action Matching is that, where populations lie apart."""

    settings_type = Settings
    settings: Settings

    def truth(self, data: Path | None = None) -> GaussianMixture:
        """The exact marginals, with their growth rate."""
        import torch

        from am.marginals.mixture import GaussianMixture

        populations = self.settings.populations
        centres, masses, rates = (
            torch.tensor(values, dtype=torch.float64)
            for values in zip(*((p.centre, p.mass, p.rate) for p in populations), strict=True)
        )
        return GaussianMixture(
            lambda t: centres.to(t).expand(len(t), *centres.shape),
            lambda t: masses.to(t) * torch.exp(rates.to(t) * t[:, None]),
            self.settings.scale,
        )


DATASET = GrowingMixture
