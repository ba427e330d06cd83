"""Flow matching of the geodesics of Wasserstein-Fisher-Rao geometry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat

from am.dynamics.settings import OdeSettings
from am.methods.contract import Loss, TrainedMethod, TrainedSettings
from am.potentials.settings import VelocitySettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from am.dynamics.dynamics import Dynamics
    from am.objectives.unbalanced_flow_matching import ConicPaths, VelocityAndGrowth
    from am.training.loop import Trained
    from am.training.stream import Stream


class Settings(TrainedSettings):
    """Settings of Wasserstein-Fisher-Rao flow matching."""

    network: VelocitySettings = VelocitySettings()
    delta: PositiveFloat = Field(
        default=1.0,
        description="length that growth is weighed by, as by 1 / delta^2 = lambda of uAM; mass beyond pi delta "
        "is made and lost",
    )
    sampling: OdeSettings = OdeSettings()


class FisherRaoFlowMatching(TrainedMethod["VelocityAndGrowth"]):
    """The mean velocity and the mean growth rate of travelling Diracs between snapshots.

    WFR-FM: Peng et al., ICLR 2026, arXiv 2601.06810; its abstract was at hand. Diracs and coupling are written from the
    geometry: :class:`am.objectives.unbalanced_flow_matching.ConicPaths`. The errors of both are weighed as the geometry
    weighs motion and growth, which is our choice. Masses are those of the path.
    """

    settings_type = Settings
    settings: Settings
    title = "WFR-FM"
    weighs = True
    dimensions: ClassVar[Mapping[str, tuple[float, float]]] = {"delta": (1, 0)}
    learns_from: ClassVar[Literal["path", "snapshots"]] = "snapshots"

    def geodesics(self, path: Any) -> ConicPaths:
        """Those between the snapshots of a path."""
        from am.objectives.unbalanced_flow_matching import ConicPaths

        return path if isinstance(path, ConicPaths) else ConicPaths(path, self.settings.delta)

    def build(self, path: Any, generator: torch.Generator) -> VelocityAndGrowth:
        """Two fresh networks of the same size."""
        from am.objectives.unbalanced_flow_matching import VelocityAndGrowth
        from am.potentials.scale import fit_scale

        network = VelocityAndGrowth(path.dimension, self.settings.network)
        fit_scale(network, path, generator)
        return network

    def train(self, network: VelocityAndGrowth, path: Any, *, key: str, state: Path, **options: Any) -> Trained:
        """The weights that ``network`` should have; each two snapshots are coupled once."""
        return super().train(network, self.geodesics(path), key=key, state=state, **options)

    def loss(self, network: VelocityAndGrowth, path: Any, stream: Stream) -> Loss:
        """Velocity and growth matching on fresh points of the geodesics."""
        from am.objectives.unbalanced_flow_matching import velocity_and_growth_matching

        sample = stream.draw(self.geodesics(path), boundary=False)
        return velocity_and_growth_matching(network, sample, self.settings.delta)

    def dynamics(self, network: VelocityAndGrowth) -> Dynamics:
        """Follow dx = v dt, d log w = g dt."""
        from am.dynamics.weighted import WeightedOde

        return WeightedOde(
            lambda time, x: network(time, x)[0], lambda time, x: network(time, x)[1], self.settings.sampling, network
        )


METHOD = FisherRaoFlowMatching
