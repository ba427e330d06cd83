"""Stochastic differential equations fitted to snapshots by simulation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from am.methods.contract import Loss, TrainedMethod, TrainedSettings
from am.potentials.settings import DiffusionSettings, OTFlowSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from am.dynamics.sde import Diffusion
    from am.objectives.legs import Legs
    from am.potentials import neural_sde
    from am.training.stream import Stream


class Settings(TrainedSettings):
    """Settings of a neural stochastic differential equation."""

    potential: OTFlowSettings = OTFlowSettings()
    diffusion: DiffusionSettings = DiffusionSettings()
    blur: PositiveFloat = Field(
        default=0.05, description="length below which the Sinkhorn divergence tells no points apart, in data spreads"
    )
    steps: PositiveInt = Field(
        default=20,
        description="steps per mean interval between snapshots, in training and in sampling (published: 100)",
    )


class NeuralSde(TrainedMethod["neural_sde.NeuralSde"]):
    """Cells of each snapshot, moved by dx = -grad Phi dt + sigma dW, must look like the next one.

    The Neural SDE of Koshizuka and Sato, ICLR 2023: a Sinkhorn divergence at the end of each interval, each of which
    starts from true cells; drift and noise are learned, and the gradient comes back through the simulation. Here the
    mean over intervals is taken, and lengths are in spreads of the data. Particles are sampled with the steps of
    training: strong noise that a strong drift holds together, which is what may be learned, depends on them.
    """

    settings_type = Settings
    settings: Settings
    title = "Neural SDE"
    learns_from: ClassVar[Literal["path", "snapshots"]] = "snapshots"
    needs: ClassVar[tuple[str, ...]] = ("geomloss",)
    simulates: ClassVar[bool] = True

    def build(self, path: Any, generator: torch.Generator) -> neural_sde.NeuralSde:
        """A fresh potential and a fresh diffusion; time is counted in mean intervals, as published."""
        from am.potentials.neural_sde import NeuralSde
        from am.potentials.scale import fit_scale

        intervals = len(path.points) - 1
        network = NeuralSde(path.dimension, self.settings.potential, self.settings.diffusion, float(intervals))
        fit_scale(network, path, generator)
        return network

    def loss(self, network: neural_sde.NeuralSde, path: Any, stream: Stream) -> Loss:
        """Sinkhorn divergence of simulated cells from those of the next snapshot, and what else the method wants."""
        import torch

        from am.dynamics.sde import diffuse
        from am.objectives.legs import Legs
        from am.objectives.sinkhorn import sinkhorn_loss

        legs = Legs(path, len(stream.times()), stream.generator)
        steps = math.ceil(self._rate(network) * float(legs.duration.max()) - 1e-3)
        clock = torch.linspace(0, 1, steps + 1)
        drift, sigma = legs.clocked(network.drift), legs.clocked(network.sigma, 0.5)
        moved = diffuse(drift, sigma, legs.start, clock, steps, stream.generator).x
        spread = network.potential.spread
        transport = legs.compare(
            moved[-1], lambda x, y: sinkhorn_loss(x / spread, y / spread, self.settings.blur)
        ).mean()
        rest, diagnostics = self.regularise(network, legs, clock[:-1], moved[:-1])
        return transport + rest, {"transport": transport.detach(), **diagnostics}

    def regularise(self, network: neural_sde.NeuralSde, legs: Legs, clock: Tensor, path: Tensor) -> Loss:
        """More to be minimised, on a path whose (S, n, d) points are met when the clocks of its legs show (S,)."""
        return path.new_zeros(()), {}

    def dynamics(self, network: neural_sde.NeuralSde) -> Diffusion:
        """Follow -grad Phi with the noise that was learned."""
        from am.dynamics.sde import Diffusion
        from am.dynamics.settings import SdeSettings

        return Diffusion(network.drift, network.sigma, SdeSettings(steps=self._rate(network)))

    def _rate(self, network: neural_sde.NeuralSde) -> int:
        """Steps per unit of t."""
        return round(self.settings.steps * network.potential.rate)


METHOD = NeuralSde
