"""Action Matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from am.dynamics.settings import OdeSettings
from am.methods.contract import ActionMethod, ActionSettings, Prediction

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor

    from am.marginals.marginals import Marginals
    from am.training.stream import Stream


class Settings(ActionSettings):
    """Settings of Action Matching."""

    sampling: OdeSettings = OdeSettings()


class ActionMatching(ActionMethod):
    """The gradient field that moves q_0 along q_t: dx = grad s_t dt (Neklyudov et al., ICML 2023)."""

    settings_type = Settings
    settings: Settings
    title = "AM"

    def loss(self, network: Any, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        """The Action Matching objective on fresh points."""
        from am.objectives.action_matching import action_matching
        from am.objectives.path import WEIGHTS

        return action_matching(network, self.draw(network, marginals, stream), WEIGHTS[self.settings.weight])

    def sample(
        self,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """Follow grad s by an ordinary differential equation; nothing is random."""
        from am.dynamics.ode import integrate

        path = integrate(network.gradient, start, times, self.settings.sampling)
        return Prediction(path.x, None, path.nfe)

    def flow(self, network: Any) -> Callable[[Tensor, Tensor], Tensor]:
        """The gradient of the action."""
        field: Callable[[Tensor, Tensor], Tensor] = network.space
        return field


METHOD = ActionMatching
