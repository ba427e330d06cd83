"""Conditional flow matching between independently drawn points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from am.dynamics.settings import OdeSettings
from am.methods.contract import Prediction, TrainedMethod, TrainedSettings
from am.potentials.settings import VelocitySettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch import Tensor, nn

    from am.marginals.marginals import Marginals
    from am.training.stream import Stream


class Settings(TrainedSettings):
    """Settings of flow matching along straight lines."""

    network: VelocitySettings = VelocitySettings()
    sigma: NonNegativeFloat = Field(
        default=0.1, description="standard deviation of points around lines, in units of length at every time"
    )
    sampling: OdeSettings = OdeSettings()


class IndependentFlowMatching(TrainedMethod):
    """The mean velocity of straight lines between snapshots (I-CFM: Tong et al., TMLR 2024, equations 14 and 15)."""

    settings_type = Settings
    settings: Settings
    title = "I-CFM"
    dimensions: ClassVar[Mapping[str, tuple[float, float]]] = {"sigma": (1, 0)}
    learns_from: ClassVar[Literal["path", "snapshots"]] = "snapshots"
    needs: ClassVar[tuple[str, ...]] = ("torchcfm",)

    def matcher(self, duration: float) -> Any:
        """What draws points between two snapshots; lines do not depend on how long they take."""
        from torchcfm import ConditionalFlowMatcher

        return ConditionalFlowMatcher(self.settings.sigma)

    def build(self, marginals: Marginals, generator: torch.Generator) -> nn.Module:
        """A fresh velocity network."""
        from am.potentials.velocity import build_velocity

        return build_velocity(self.settings.network, marginals, generator)

    def loss(self, network: Any, marginals: Any, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        """Conditional flow matching on fresh minibatches of each interval."""
        from am.objectives.flow_matching import ConditionalPaths, flow_matching

        return flow_matching(network, stream.draw(ConditionalPaths(marginals, self.matcher), boundary=False))

    def sample(
        self,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """Follow the velocity by an ordinary differential equation; nothing is random."""
        from am.dynamics.ode import integrate

        path = integrate(network, start, times, self.settings.sampling)
        return Prediction(path.x, None, path.nfe)

    def flow(self, network: Any) -> Callable[[Tensor, Tensor], Tensor]:
        """What the network gives."""
        field: Callable[[Tensor, Tensor], Tensor] = network
        return field

    def velocity(self, network: Any, time: Tensor, x: Tensor) -> Tensor:
        """What the network gives."""
        return network(time, x).detach()


METHOD = IndependentFlowMatching
