"""An Ornstein-Uhlenbeck process: a population that falls towards a centre while noise spreads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat

from am.datasets.synthetic import SyntheticDataset, SyntheticSettings

if TYPE_CHECKING:
    from pathlib import Path

    from am.marginals.ornstein_uhlenbeck import OrnsteinUhlenbeck


class Settings(SyntheticSettings):
    """dx = -rate x dt + sigma dW."""

    start: tuple[float, ...] = Field(default=(3.0, 0.0), min_length=1, description="mean at t = 0")
    spread: PositiveFloat = Field(default=0.3, description="standard deviation at t = 0")
    rate: PositiveFloat = Field(default=2.0, description="of the fall, per unit of t")
    sigma: PositiveFloat = Field(default=1.0, description="noise, in units of length per square root of t")


class OrnsteinUhlenbeckDataset(SyntheticDataset):
    """Drift and noise are known: what entropic Action Matching of that noise has to find."""

    settings_type = Settings
    settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.columns = tuple(f"x{i + 1}" for i in range(len(settings.start)))

    def truth(self, data: Path | None = None) -> OrnsteinUhlenbeck:
        """The exact marginals, with their drift."""
        from am.marginals.ornstein_uhlenbeck import OrnsteinUhlenbeck

        s = self.settings
        return OrnsteinUhlenbeck(s.start, s.spread, s.rate, s.sigma)


DATASET = OrnsteinUhlenbeckDataset
