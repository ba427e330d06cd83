"""Action Matching for a convex cost of velocity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from am.dynamics.settings import OdeSettings
from am.methods.contract import ActionMethod, ActionSettings, Loss

if TYPE_CHECKING:
    from am.dynamics.ode import Ode
    from am.marginals.marginals import Marginals
    from am.potentials.potential import Potential
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

    def loss(self, network: Potential, path: Marginals, stream: Stream) -> Loss:
        """The convex-cost objective on fresh points."""
        from am.objectives.convex_cost import convex_cost_action_matching
        from am.objectives.path import WEIGHTS

        weight = WEIGHTS[self.settings.weight]
        return convex_cost_action_matching(network, self.draw(network, path, stream), self.settings.p, weight)

    def dynamics(self, network: Potential) -> Ode:
        """Follow grad c*(grad s); nothing is random."""
        from am.dynamics.ode import Ode
        from am.objectives.convex_cost import velocity_from_gradient

        p = self.settings.p
        return Ode(lambda time, x: velocity_from_gradient(network.space(time, x), p), self.settings.sampling)


METHOD = ConvexCostActionMatching
