"""The light Schroedinger bridge: a mixture of Gaussians as potential, and no simulation in training."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from am.dynamics.settings import SdeSettings
from am.methods.contract import Loss, TrainedMethod, TrainedSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from am.dynamics.dynamics import Dynamics
    from am.potentials.light_bridge import LightBridge
    from am.training.stream import Stream


class Settings(TrainedSettings):
    """Settings of light Schroedinger bridges."""

    sigma: PositiveFloat = Field(
        default=1.0, description="noise of the reference process, in units of length per square root of time"
    )
    components: PositiveInt = Field(default=10, description="Gaussians of the potential, on each interval")
    sampling: SdeSettings = SdeSettings()


class LightSchroedingerBridge(TrainedMethod["LightBridge"]):
    """The Schroedinger bridge between each two snapshots, followed as dx = grad s dt + sigma dW.

    LightSB: Korotin, Gushchin and Burnaev, ICLR 2024. A step draws ``batch_size`` cells of each snapshot. Covariances
    are diagonal, and the Gaussians begin at cells of the later snapshot, as published for cells.
    """

    settings_type = Settings
    settings: Settings
    title = "LightSB"
    dimensions: ClassVar[Mapping[str, tuple[float, float]]] = {"sigma": (1, -0.5)}
    learns_from: ClassVar[Literal["path", "snapshots"]] = "snapshots"

    def build(self, path: Any, generator: torch.Generator) -> LightBridge:
        """A potential whose Gaussians lie at cells of the snapshot that each interval ends with."""
        import torch

        from am.potentials.light_bridge import LightBridge
        from am.potentials.scale import fit_scale

        components = self.settings.components
        network = LightBridge(path.dimension, components, path.times, self.settings.sigma)
        fit_scale(network, path, generator)
        cells = [path.draw(k, components, generator) for k in range(1, len(path.points))]
        network.begin_at(torch.stack(cells).to(network.mean))
        return network

    def loss(self, network: LightBridge, path: Any, stream: Stream) -> Loss:
        """E log c(x_0) - E log v(x_1), up to a constant: a Kullback-Leibler divergence; the mean over intervals."""
        import torch

        n, rng = len(stream.times()), stream.generator
        knots = network.knots.tolist()
        ends = []
        for side in (0, 1):
            values = []
            for k in range(len(knots) - 1):
                x = path.draw(k + side, n, rng).to(network.mean)
                values.append(network(x.new_full((n,), knots[k + side]), x, interval=k).mean())
            ends.append(torch.stack(values).mean() / self.settings.sigma**2)
        return ends[0] - ends[1], {"start": ends[0].detach(), "end": ends[1].detach()}

    def dynamics(self, network: LightBridge) -> Dynamics:
        """Follow the drift with noise; each interval has a drift of its own to its very end."""
        from am.dynamics.dynamics import Piecewise
        from am.dynamics.sde import Diffusion

        sigma, solver = self.settings.sigma, self.settings.sampling
        return Piecewise(
            Diffusion(network.space, sigma, solver),
            network.knots,
            lambda k: Diffusion(partial(network.space, interval=k), sigma, solver),
        )


METHOD = LightSchroedingerBridge
