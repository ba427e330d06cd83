"""Action Matching for a convex cost of velocity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from am.dynamics.settings import OdeSettings
from am.methods.contract import ActionMethod, ActionSettings, Prediction

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from am.marginals.marginals import Marginals
    from am.training.stream import Stream


class Settings(ActionSettings):
    """Settings of Action Matching for the cost |v|^p / p."""

    p: float = Field(default=1.5, gt=1, description="exponent of the cost of velocity; 2 is Action Matching")
    sampling: OdeSettings = OdeSettings()


class ConvexCostActionMatching(ActionMethod):
    """The field of least cost |v|^p / p that moves q_0 along q_t (Neklyudov et al., ICML 2023)."""

    settings_type = Settings
    settings: Settings
    title = "cAM"

    def loss(self, network: Any, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        """The convex-cost objective on fresh points."""
        from am.objectives.convex_cost import convex_cost_action_matching
        from am.objectives.path import WEIGHTS

        weight = WEIGHTS[self.settings.weight]
        return convex_cost_action_matching(network, self.draw(network, marginals, stream), self.settings.p, weight)

    def sample(
        self,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """Follow grad c*(grad s) by an ordinary differential equation; nothing is random."""
        from am.dynamics.ode import integrate

        path = integrate(lambda time, x: self.velocity(network, time, x), start, times, self.settings.sampling)
        return Prediction(path.x, None, path.nfe)

    def velocity(self, network: Any, time: Tensor, x: Tensor) -> Tensor:
        """Grad c*(grad s)."""
        from am.objectives.convex_cost import velocity_from_gradient

        return velocity_from_gradient(network.gradient(time, x), self.settings.p)


METHOD = ConvexCostActionMatching
