"""Stochastic differential equations fitted to snapshots by simulation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from am.methods.contract import Prediction, TrainedMethod, TrainedSettings
from am.potentials.settings import DiffusionSettings, OTFlowSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from am.marginals.marginals import Marginals
    from am.objectives.legs import Legs
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


class NeuralSde(TrainedMethod):
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

    def build(self, marginals: Any, generator: torch.Generator) -> nn.Module:
        """A fresh potential and a fresh diffusion; time is counted in mean intervals, as published."""
        from am.potentials.neural_sde import NeuralSde
        from am.potentials.scale import fit_scale

        intervals = len(marginals.points) - 1
        network = NeuralSde(marginals.dimension, self.settings.potential, self.settings.diffusion, float(intervals))
        fit_scale(network, marginals, generator)
        return network

    def loss(self, network: Any, marginals: Any, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        """Sinkhorn divergence of simulated cells from those of the next snapshot, and what else the method wants."""
        import torch

        from am.dynamics.sde import diffuse
        from am.objectives.legs import Legs
        from am.objectives.sinkhorn import sinkhorn_loss

        legs = Legs(marginals, len(stream.times()), stream.generator)
        steps = math.ceil(self._rate(network) * float(legs.duration.max()) - 1e-3)
        clock = torch.linspace(0, 1, steps + 1)
        drift, sigma = legs.clocked(network.drift), legs.clocked(network.sigma, 0.5)
        path = diffuse(drift, sigma, legs.start, clock, steps, stream.generator).x
        spread = network.potential.spread
        transport = legs.compare(
            path[-1], lambda x, y: sinkhorn_loss(x / spread, y / spread, self.settings.blur)
        ).mean()
        rest, diagnostics = self.regularise(network, legs, clock[:-1], path[:-1])
        return transport + rest, {"transport": transport.detach(), **diagnostics}

    def regularise(self, network: Any, legs: Legs, clock: Tensor, path: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """More to be minimised, on a path whose (S, n, d) points are met when the clocks of its legs show (S,)."""
        return path.new_zeros(()), {}

    def sample(
        self,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """Simulate the diffusion."""
        import torch

        from am.dynamics.sde import diffuse

        with torch.no_grad():
            path = diffuse(network.drift, network.sigma, start, times, self._rate(network), generator)
        return Prediction(path.x, None, path.nfe)

    def velocity(self, network: Any, time: Tensor, x: Tensor) -> Tensor:
        """The drift."""
        return network.drift(time, x).detach()

    def _rate(self, network: Any) -> int:
        """Steps per unit of t."""
        return round(self.settings.steps * network.potential.rate)


METHOD = NeuralSde
