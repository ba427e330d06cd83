"""Unbalanced Action Matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveFloat

from am.dynamics.settings import OdeSettings
from am.methods.contract import ActionMethod, ActionSettings, Prediction

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor, nn

    from am.marginals.marginals import Marginals
    from am.training.stream import Stream


class Settings(ActionSettings):
    """Settings of unbalanced Action Matching."""

    growth: PositiveFloat = Field(default=1.0, description="lambda: how cheap growth is beside motion")
    sampling: OdeSettings = OdeSettings()


class UnbalancedActionMatching(ActionMethod):
    """Particles that move and change their weight (Neklyudov et al., ICML 2023).

    Where the path tells how much there is at each time, growth is absolute and weights add up to the mass; of
    probabilities, growth has mean zero.
    """

    settings_type = Settings
    settings: Settings
    title = "uAM"
    dimensions: ClassVar[Mapping[str, tuple[float, float]]] = {"growth": (-2, 0)}

    def build(self, marginals: Marginals, generator: torch.Generator) -> nn.Module:
        """A fresh action; errors as of all actions.

        Raises
        ------
        ValueError
            Velocities are asked for where mass changes, which they do not tell.
        """
        import torch

        from am.marginals.marginals import GrowingMarginals

        grows = isinstance(marginals, GrowingMarginals) and bool(marginals.log_mass(torch.linspace(0, 1, 101)).any())
        if grows and self.settings.estimator == "conditional":
            raise ValueError("'estimator: conditional' knows no masses; use 'marginal', or equal masses")
        return super().build(marginals, generator)

    def loss(self, network: Any, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        """The unbalanced objective on fresh points."""
        from am.marginals.marginals import GrowingMarginals
        from am.objectives.path import WEIGHTS
        from am.objectives.unbalanced import unbalanced_action_matching

        weight = WEIGHTS[self.settings.weight]
        if isinstance(marginals, GrowingMarginals):
            weight = weight.of_mass(marginals.log_mass)
        return unbalanced_action_matching(network, self.draw(network, marginals, stream), self.settings.growth, weight)

    def sample(
        self,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """Follow dx = grad s dt, d log w = lambda s dt."""
        from am.dynamics.weighted import integrate_weighted

        def field(time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            derivatives = network.derivatives(time, x)
            return derivatives.space, self.settings.growth * derivatives.value

        path = integrate_weighted(field, start, times, self.settings.sampling)
        return Prediction(path.x, path.log_weight, path.nfe)

    def growth_rate(self, network: Any, time: Tensor, x: Tensor) -> Tensor:
        """The action itself, times lambda."""
        import torch

        with torch.no_grad():
            return self.settings.growth * network(time, x)


METHOD = UnbalancedActionMatching
