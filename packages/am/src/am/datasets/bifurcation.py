"""One population that becomes two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat

from am.datasets.synthetic import SyntheticDataset, SyntheticSettings

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from am.marginals.mixture import GaussianMixture


class Settings(SyntheticSettings):
    """The shape of the fork."""

    split_time: float = Field(default=0.3, ge=0, lt=1, description="when the branches part")
    share: float = Field(default=0.7, gt=0, lt=1, description="of the population that takes the upper branch")
    length: PositiveFloat = Field(default=4.0, description="way along the fork, at constant speed")
    height: PositiveFloat = Field(default=2.0, description="distance of each branch from the middle at t = 1")
    scale: PositiveFloat = Field(default=0.3, description="standard deviation of each branch, in each coordinate")


class Bifurcation(SyntheticDataset):
    """Branches lie at (l t, +-h u^2), with u = (t - t_s) / (1 - t_s) after the split and 0 before it."""

    settings_type = Settings
    settings: Settings

    def truth(self, data: Path | None = None) -> GaussianMixture:
        """The exact marginals."""
        import torch

        from am.marginals.mixture import GaussianMixture

        s = self.settings

        def means(time: Tensor) -> Tensor:
            away = s.height * ((time - s.split_time).clamp(min=0) / (1 - s.split_time)) ** 2
            return torch.stack([torch.stack([s.length * time, side * away], -1) for side in (1, -1)], 1)

        shares = torch.tensor([s.share, 1 - s.share], dtype=torch.float64)
        return GaussianMixture(means, lambda time: shares.to(time).expand(len(time), 2), s.scale)


DATASET = Bifurcation
