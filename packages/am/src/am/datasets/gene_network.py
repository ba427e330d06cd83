"""Three genes that inhibit each other, in cells that divide and die: growth is known."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from am.datasets.synthetic import SyntheticDataset, SyntheticSettings

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

    from am.marginals.branching import BranchingDiffusion


RESTING, WAKING = (3.0, 0.2, 0.0), (0.0, 0.5, 1.0)
"""Expression about which the two groups of cells start."""


class Settings(SyntheticSettings):
    """The network. Times are in its own unit; [0, 1] is ``duration`` of them."""

    duration: PositiveFloat = Field(default=20.0, description="what t = 1 is, in the unit of the rates")
    activation: PositiveFloat = Field(default=1.0, description="strength by which A and B keep themselves up")
    inhibition: PositiveFloat = Field(default=1.0, description="strength by which A and B keep each other down")
    suppression: NonNegativeFloat = Field(default=5.0, description="strength by which C keeps both down")
    basal: NonNegativeFloat = Field(default=0.05, description="expression that needs no activation")
    degradation: PositiveFloat = Field(default=0.25, description="rate at which each gene's product decays")
    division: NonNegativeFloat = Field(default=0.08, description="largest rate of division, where B is high")
    death: NonNegativeFloat = Field(default=0.02, description="rate of death, where B is low")
    resting: float = Field(default=0.5, ge=0, le=1, description="share of cells that start with A high, and stay there")
    spread: PositiveFloat = Field(default=0.15, description="standard deviation of both groups of cells at t = 0")
    noise: PositiveFloat = Field(default=0.05, description="of expression, per square root of the unit of time")
    particles: PositiveInt = Field(default=20_000, description="simulated, of which all points are drawn")
    steps: PositiveInt = Field(default=200, description="of the simulation")


class GeneNetwork(SyntheticDataset):
    """A toggle switch of A and B under C, where cells with much B multiply and others die out.

    The circuit is that of Sha et al., Nature Machine Intelligence 6, 2024 (TIGON), with parameters of our own.
    """

    settings_type = Settings
    settings: Settings
    columns = ("A", "B", "C")

    def truth(self, data: Path | None = None) -> BranchingDiffusion:
        """The simulated marginals, with their drift, growth and mass."""
        return _simulated(self.settings.model_dump_json(exclude={"learned_from", "time_points", "path"}))


@lru_cache(maxsize=2)
def _simulated(described: str) -> BranchingDiffusion:
    import torch

    from am.marginals.branching import BranchingDiffusion
    from am.randomness import generator

    s = Settings.model_validate_json(described)

    def drift(x: Tensor) -> Tensor:
        a, b, c = x.clamp(min=0).square().unbind(-1)
        down, up = s.suppression * c, s.activation
        made = torch.stack(
            [
                (up * a + s.basal) / (1 + up * a + s.inhibition * b + down + s.basal),
                (up * b + s.basal) / (1 + up * b + s.inhibition * a + down + s.basal),
                torch.zeros_like(c),
            ],
            -1,
        )
        return s.duration * (made - s.degradation * x)

    def rate(x: Tensor) -> Tensor:
        b = x[:, 1].clamp(min=0).square()
        return s.duration * ((s.division + s.death) * b / (1 + b) - s.death)

    def start(n: int, rng: torch.Generator) -> Tensor:
        resting = torch.rand(n, 1, generator=rng, device=rng.device) < s.resting
        centre = torch.where(resting, torch.tensor(RESTING).to(resting.device), torch.tensor(WAKING).to(resting.device))
        return centre + s.spread * torch.randn(n, 3, generator=rng, device=rng.device)

    sigma = s.noise * s.duration**0.5
    return BranchingDiffusion(drift, rate, sigma, start, s.particles, s.steps, generator("gene network", described))


DATASET = GeneNetwork
