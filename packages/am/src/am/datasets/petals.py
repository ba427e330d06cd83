"""A flower: a population that leaves its centre along both edges of every petal, and meets again at the tips."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat

from am.datasets.synthetic import SyntheticDataset, SyntheticSettings

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from am.marginals.mixture import GaussianMixture


class Settings(SyntheticSettings):
    """The shape of the flower."""

    petals: int = Field(default=4, ge=1, description="petals, at equal angles")
    length: PositiveFloat = Field(default=4.0, description="distance of the tips from the centre")
    width: PositiveFloat = Field(default=0.8, description="largest distance of an edge from the middle of its petal")
    scale: PositiveFloat = Field(default=0.2, description="standard deviation around an edge, in each coordinate")


class Petals(SyntheticDataset):
    """Edges lie at (l t, +-w sin(pi t)) along and across each petal, and are equally populated.

    After the data that Huguet et al. (MIOFlow, NeurIPS 2022) and Neklyudov et al. (ICML 2023) compare methods on,
    whose marginals are not known in closed form: here they are.
    """

    settings_type = Settings
    settings: Settings

    def truth(self, data: Path | None = None) -> GaussianMixture:
        """The exact marginals."""
        import torch

        from am.marginals.mixture import GaussianMixture

        s = self.settings
        angle = 2 * math.pi * torch.arange(s.petals, dtype=torch.float64).repeat(2) / s.petals
        side = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat_interleave(s.petals)
        along = torch.stack([torch.cos(angle), torch.sin(angle)], -1)
        across = side[:, None] * torch.stack([-torch.sin(angle), torch.cos(angle)], -1)

        def means(time: Tensor) -> Tensor:
            out, aside = s.length * time, s.width * torch.sin(math.pi * time)
            return out[:, None, None] * along.to(time) + aside[:, None, None] * across.to(time)

        return GaussianMixture(means, lambda time: time.new_ones(len(time), len(angle)), s.scale)


DATASET = Petals
