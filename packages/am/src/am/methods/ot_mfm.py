"""Metric flow matching: flow matching on curves that stay near cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from am.dynamics.settings import OdeSettings
from am.methods.contract import Loss, TrainedMethod, TrainedSettings
from am.potentials.settings import InterpolantSettings, VelocitySettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from am.dynamics.dynamics import Dynamics
    from am.marginals.snapshots import SnapshotPath
    from am.objectives.metric_flow_matching import MetricFlow
    from am.training.loop import Trained
    from am.training.stream import Stream


class Settings(TrainedSettings):
    """Settings of metric flow matching."""

    network: VelocitySettings = VelocitySettings()
    interpolant: InterpolantSettings = Field(
        default=InterpolantSettings(width=64, depth=3), description="what bends curves"
    )
    kernel: PositiveFloat = Field(
        default=0.125, description="width of the kernel of the metric, in spreads of the data"
    )
    floor: PositiveFloat = Field(default=1e-3, description="epsilon of the metric, in squared spreads of the data")
    cells: PositiveInt = Field(default=2000, description="cells of all times that the metric is made of, at most")
    sigma: NonNegativeFloat = Field(
        default=0.1, description="standard deviation of points around curves, in units of length at every time"
    )
    sampling: OdeSettings = OdeSettings()


class MetricFlowMatching(TrainedMethod["MetricFlow"]):
    """The mean velocity of curves between cells that optimal transport joins, bent so that they stay near cells.

    OT-MFM: Kapusniak et al., NeurIPS 2024, with the metric of LAND. Curves and velocity learn at once, each by its own
    loss; they do so one after the other in the paper. Kernel and floor are ours: published settings were not at hand.
    In tens of dimensions cells lie farther apart than the kernel. Curves are straight there unless it is wider.
    """

    settings_type = Settings
    settings: Settings
    title = "OT-MFM"
    dimensions: ClassVar[Mapping[str, tuple[float, float]]] = {"sigma": (1, 0)}
    learns_from: ClassVar[Literal["path", "snapshots"]] = "snapshots"

    def lines(self, path: SnapshotPath) -> SnapshotPath:
        """The path through the same snapshots that optimal transport joins."""
        from am.marginals.snapshots import SnapshotPath

        return path if path.coupling == "optimal" else SnapshotPath(path.points, path.times.tolist())

    def build(self, path: Any, generator: torch.Generator) -> MetricFlow:
        """Fresh networks: curves are straight."""
        import torch

        from am.objectives.legs import some
        from am.objectives.metric_flow_matching import LandMetric, MetricFlow
        from am.potentials.scale import fit_scale

        settings = self.settings
        cells = some(torch.cat(path.points), settings.cells, generator).cpu()
        metric = LandMetric(cells, settings.kernel, settings.floor)
        network = MetricFlow(path, settings.network, settings.interpolant, metric)
        fit_scale(network, path, generator)
        return network

    def train(self, network: MetricFlow, path: Any, *, key: str, state: Path, **options: Any) -> Trained:
        """The weights that ``network`` should have; each two snapshots are coupled once."""
        return super().train(network, self.lines(path), key=key, state=state, **options)

    def loss(self, network: MetricFlow, path: Any, stream: Stream) -> Loss:
        """Energy of the curves and error of the velocity, on fresh pairs."""
        from am.objectives.metric_flow_matching import CoupledPairs, metric_flow_matching

        lines = self.lines(path)
        return metric_flow_matching(
            network, lines, stream.draw(CoupledPairs(lines), boundary=False), self.settings.sigma
        )

    def dynamics(self, network: MetricFlow) -> Dynamics:
        """Follow the velocity; nothing is random."""
        from am.dynamics.ode import Ode

        return Ode(network.velocity, self.settings.sampling)


METHOD = MetricFlowMatching
