"""Conditional flow matching between independently drawn points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from am.dynamics.settings import OdeSettings
from am.methods.contract import Loss, TrainedMethod, TrainedSettings
from am.potentials.settings import VelocitySettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import nn

    from am.dynamics.dynamics import Dynamics
    from am.marginals.marginals import Marginals
    from am.training.stream import Stream


class Settings(TrainedSettings):
    """Settings of flow matching along straight lines."""

    network: VelocitySettings = VelocitySettings()
    sigma: NonNegativeFloat = Field(
        default=0.1, description="standard deviation of points around lines, in units of length at every time"
    )
    sampling: OdeSettings = OdeSettings()


class IndependentFlowMatching(TrainedMethod["nn.Module"]):
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

    def build(self, path: Marginals, generator: torch.Generator) -> nn.Module:
        """A fresh velocity network."""
        from am.potentials.velocity import build_velocity

        return build_velocity(self.settings.network, path, generator)

    def loss(self, network: nn.Module, path: Any, stream: Stream) -> Loss:
        """Conditional flow matching on fresh minibatches of each interval."""
        from am.objectives.flow_matching import ConditionalPaths, flow_matching

        return flow_matching(network, stream.draw(ConditionalPaths(path, self.matcher), boundary=False))

    def dynamics(self, network: nn.Module) -> Dynamics:
        """Follow the velocity; nothing is random."""
        from am.dynamics.ode import Ode

        return Ode(network, self.settings.sampling)


METHOD = IndependentFlowMatching
