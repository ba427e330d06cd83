"""Entropic Action Matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from am.dynamics.settings import SdeSettings
from am.methods.contract import ActionMethod, ActionSettings, Loss

if TYPE_CHECKING:
    from collections.abc import Mapping

    from am.dynamics.dynamics import Dynamics
    from am.marginals.marginals import Marginals
    from am.potentials.potential import Potential
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

    def loss(self, network: Potential, path: Marginals, stream: Stream) -> Loss:
        """The entropic objective on fresh points."""
        from am.objectives.entropic import entropic_action_matching
        from am.objectives.path import WEIGHTS

        sample = self.draw(network, path, stream)
        probe = stream.rademacher(sample.x) if self.settings.laplacian == "hutchinson" else None
        return entropic_action_matching(network, sample, self.settings.sigma, WEIGHTS[self.settings.weight], probe)

    def dynamics(self, network: Potential) -> Dynamics:
        """Follow grad s with noise."""
        from am.dynamics.sde import Diffusion

        return Diffusion(network.gradient, self.settings.sigma, self.settings.sampling)


METHOD = EntropicActionMatching
