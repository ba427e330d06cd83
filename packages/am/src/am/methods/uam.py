"""Unbalanced Action Matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveFloat

from am.dynamics.settings import OdeSettings
from am.methods.contract import ActionMethod, ActionSettings, Prediction

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from am.marginals.marginals import Marginals
    from am.training.stream import Stream


class Settings(ActionSettings):
    """Settings of unbalanced Action Matching."""

    growth: PositiveFloat = Field(default=1.0, description="lambda: how cheap growth is beside motion")
    sampling: OdeSettings = OdeSettings()


class UnbalancedActionMatching(ActionMethod):
    """Particles that move and change their weight (Neklyudov et al., ICML 2023)."""

    settings_type = Settings
    settings: Settings
    title = "uAM"

    def loss(self, network: Any, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        """The unbalanced objective on fresh points."""
        from am.objectives.path import WEIGHTS
        from am.objectives.unbalanced import unbalanced_action_matching

        weight = WEIGHTS[self.settings.weight]
        return unbalanced_action_matching(network, self.draw(marginals, stream), self.settings.growth, weight)

    def sample(
        self,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """Follow dx = grad s dt, d log w = lambda s dt; weights have mean one at each time."""
        from am.dynamics.weighted import integrate_weighted, self_normalised

        def field(time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            derivatives = network.derivatives(time, x)
            return derivatives.space, self.settings.growth * derivatives.value

        path = integrate_weighted(field, start, times, self.settings.sampling)
        weight = None if path.log_weight is None else self_normalised(path.log_weight)
        return Prediction(path.x, weight, path.nfe)

    def growth_rate(self, network: Any, time: Tensor, x: Tensor) -> Tensor:
        """The action itself, times lambda."""
        import torch

        with torch.no_grad():
            return self.settings.growth * network(time, x)


METHOD = UnbalancedActionMatching
