"""Entropic Action Matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from am.dynamics.settings import SdeSettings
from am.methods.contract import ActionMethod, ActionSettings, Prediction

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor

    from am.marginals.marginals import Marginals
    from am.training.stream import Stream


class Settings(ActionSettings):
    """Settings of entropic Action Matching."""

    sigma: NonNegativeFloat = Field(default=1.0, description="noise, in units of length per square root of time")
    laplacian: Literal["exact", "hutchinson"] = Field(
        default="hutchinson", description="sum of d second derivatives, or one random direction per point"
    )
    sampling: SdeSettings = SdeSettings()


class EntropicActionMatching(ActionMethod):
    """The drift of a diffusion of given noise: dx = grad s_t dt + sigma dW (Neklyudov et al., ICML 2023)."""

    settings_type = Settings
    settings: Settings
    title = "eAM"
    dimensions: ClassVar[Mapping[str, tuple[float, float]]] = {"sigma": (1, -0.5)}
    reversible = False

    def loss(self, network: Any, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        """The entropic objective on fresh points."""
        from am.objectives.entropic import entropic_action_matching
        from am.objectives.path import WEIGHTS

        sample = self.draw(network, marginals, stream)
        probe = stream.rademacher(sample.x) if self.settings.laplacian == "hutchinson" else None
        return entropic_action_matching(network, sample, self.settings.sigma, WEIGHTS[self.settings.weight], probe)

    def sample(
        self,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """Simulate the diffusion."""
        from am.dynamics.sde import simulate

        path = simulate(network.gradient, self.settings.sigma, start, times, self.settings.sampling, generator)
        return Prediction(path.x, None, path.nfe)


METHOD = EntropicActionMatching
