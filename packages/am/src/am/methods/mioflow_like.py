"""A neural ordinary differential equation fitted to snapshots by optimal transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from am.dynamics.settings import OdeSettings
from am.methods.contract import Loss, TrainedMethod, TrainedSettings
from am.potentials.settings import VelocitySettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from am.dynamics.ode import Ode
    from am.marginals.marginals import Marginals
    from am.potentials.velocity import VelocityNetwork
    from am.training.stream import Stream


class Settings(TrainedSettings):
    """Settings of transport by a neural ordinary differential equation."""

    network: VelocitySettings = VelocitySettings()
    solver: OdeSettings = Field(
        default=OdeSettings(method="rk4", steps=5), description="from a snapshot to the next in training, in unit time"
    )
    energy: NonNegativeFloat = Field(default=0.01, description="weight of the energy of motion, lambda_e")
    density: NonNegativeFloat = Field(default=0.01, description="weight of the density loss, lambda_d")
    neighbours: PositiveInt = Field(default=5, description="cells that the density loss draws a particle to")
    hinge: NonNegativeFloat = Field(
        default=0.01, description="distance below which they no longer do, in spreads of the data"
    )
    sampling: OdeSettings = OdeSettings()


class TransportOde(TrainedMethod["VelocityNetwork"]):
    """Cells of each snapshot, moved by dx = v dt, must look like the next one: Huguet et al., NeurIPS 2022, in part.

    Kept from MIOFlow are its three losses, exact optimal transport at the end of each interval, the energy of motion
    and the density loss, and its local training, which starts each interval from true cells. Left out are the
    geodesic autoencoder (particles move in the space of the data), roll-outs over several intervals, and noise.
    Lengths are in spreads of the data and time is in mean intervals.
    """

    settings_type = Settings
    settings: Settings
    title = "MIOFlow-like"
    learns_from: ClassVar[Literal["path", "snapshots"]] = "snapshots"
    simulates: ClassVar[bool] = True

    def build(self, path: Marginals, generator: torch.Generator) -> VelocityNetwork:
        """A fresh velocity network."""
        from am.potentials.scale import fit_scale
        from am.potentials.velocity import VelocityNetwork

        network = VelocityNetwork(path.dimension, self.settings.network)
        fit_scale(network, path, generator)
        return network

    def loss(self, network: VelocityNetwork, path: Any, stream: Stream) -> Loss:
        """Transport, energy and density of moved cells, averaged over intervals."""
        import torch

        from am.dynamics.ode import solve
        from am.objectives.legs import Legs
        from am.objectives.transport import density_loss, transport_loss

        settings, spread = self.settings, network.spread
        legs = Legs(path, len(stream.times()), stream.generator)
        velocity = legs.clocked(network)

        def slope(u: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            moved = velocity(u.expand(len(state[0])), state[0])
            return moved, (moved / spread).square().sum(-1)

        begin = (legs.start, torch.zeros_like(legs.duration))
        x, energy = (part[-1] for part in solve(slope, begin, torch.tensor([0.0, 1.0]).to(legs.start), settings.solver))
        transport = legs.compare(x, lambda a, b: transport_loss(a / spread, b / spread)).mean()
        density = legs.compare(
            x, lambda a, b: density_loss(a / spread, b / spread, settings.neighbours, settings.hinge)
        ).mean()
        intervals = len(legs.sizes)  # their mean, 1 / intervals, is the unit of time
        motion = legs.mean(energy / (intervals * legs.duration)).mean()
        loss = transport + settings.energy * motion + settings.density * density
        parts = {"transport": transport, "energy": motion, "density": density}
        return loss, {name: part.detach() for name, part in parts.items()}

    def dynamics(self, network: VelocityNetwork) -> Ode:
        """Follow the velocity; nothing is random."""
        from am.dynamics.ode import Ode

        return Ode(network, self.settings.sampling)


METHOD = TransportOde
