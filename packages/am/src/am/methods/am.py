"""Action Matching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from am.dynamics.settings import OdeSettings
from am.methods.contract import ActionMethod, ActionSettings, Loss

if TYPE_CHECKING:
    from am.dynamics.dynamics import Dynamics
    from am.marginals.marginals import Marginals
    from am.potentials.potential import Potential
    from am.training.stream import Stream


class Settings(ActionSettings):
    """Settings of Action Matching."""

    sampling: OdeSettings = OdeSettings()


class ActionMatching(ActionMethod):
    """The gradient field that moves q_0 along q_t: dx = grad s_t dt (Neklyudov et al., ICML 2023)."""

    settings_type = Settings
    settings: Settings
    title = "AM"

    def loss(self, network: Potential, path: Marginals, stream: Stream) -> Loss:
        """The Action Matching objective on fresh points."""
        from am.objectives.action_matching import action_matching
        from am.objectives.path import WEIGHTS

        return action_matching(network, self.draw(network, path, stream), WEIGHTS[self.settings.weight])

    def dynamics(self, network: Potential) -> Dynamics:
        """Follow grad s; nothing is random."""
        from am.dynamics.ode import Ode

        return Ode(network.space, self.settings.sampling)


METHOD = ActionMatching
