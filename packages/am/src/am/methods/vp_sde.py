"""Denoising diffusion: the variance-preserving diffusion of the data, run backwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from am.dynamics.settings import OdeSettings, SdeSettings
from am.methods.contract import Loss, TrainedMethod, TrainedSettings
from am.potentials.settings import VelocitySettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from am.dynamics.dynamics import Dynamics
    from am.marginals.marginals import Marginals
    from am.marginals.vp import VarianceSchedule
    from am.training.stream import Stream


class Sampling(OdeSettings):
    """How noise becomes data."""

    dynamics: Literal["flow", "diffusion"] = Field(
        default="flow", description="flow: the probability-flow equation; diffusion: the reverse-time one, with noise"
    )
    diffusion_steps: PositiveInt = Field(default=1000, description="Euler steps of the diffusion, per unit of time")


class Settings(TrainedSettings):
    """Settings of denoising diffusion."""

    network: VelocitySettings = VelocitySettings()
    beta_min: PositiveFloat = Field(default=0.1, description="rate at which data are forgotten, at age 0")
    beta_max: PositiveFloat = Field(default=20.0, description="the same at age 1")
    youngest: PositiveFloat = Field(default=1e-3, lt=1, description="age from which on the score counts as known")
    sampling: Sampling = Sampling()


class VpSde(TrainedMethod["nn.Module"]):
    """A network that tells the noise in noised data, and the diffusion that takes it out.

    VP-SDE: Song et al., ICLR 2021, equations 6, 13 and 32; the loss is that of Ho et al. 2020, unweighted. It
    learns from the data at t = 1 alone, takes standard normal noise for the start, and data of order one.
    """

    settings_type = Settings
    settings: Settings
    title = "VP-SDE"

    @property
    def schedule(self) -> VarianceSchedule:
        """How fast data are forgotten."""
        from am.marginals.vp import VarianceSchedule

        return VarianceSchedule(self.settings.beta_min, self.settings.beta_max)

    def build(self, path: Marginals, generator: torch.Generator) -> nn.Module:
        """A fresh network for the noise in a point."""
        from am.potentials.velocity import build_velocity

        return build_velocity(self.settings.network, path, generator)

    def loss(self, network: nn.Module, path: Marginals, stream: Stream) -> Loss:
        """Squared error of the noise in freshly noised data."""
        from dataclasses import replace

        from am.objectives.denoising_score_matching import NoisedData, denoising_score_matching

        noised = NoisedData(path, self.schedule, self.settings.youngest)
        sample = stream.draw(noised, boundary=False)
        x, noise = sample.x.chunk(2, -1)
        scale = self.schedule.scale(noised.age(sample.time))
        return denoising_score_matching(
            lambda time, x: -network(time, x) / scale[:, None], replace(sample, x=x), noise, scale
        )

    def dynamics(self, network: nn.Module) -> Dynamics:
        """The probability flow, which has the law of the diffusion where the score is true, or the diffusion."""
        from am.dynamics.ode import Ode
        from am.dynamics.sde import Diffusion

        def flow(time: Tensor, x: Tensor) -> Tensor:
            return self._drift(network, time, x, 0.5)

        def drift(time: Tensor, x: Tensor) -> Tensor:
            return self._drift(network, time, x, 1.0)

        def noise(time: Tensor, x: Tensor) -> Tensor:
            return self.schedule.beta(1 - time).sqrt()[:, None].expand_as(x)

        solver = self.settings.sampling
        if solver.dynamics == "flow":
            return Ode(flow, solver)
        return Diffusion(drift, noise, SdeSettings(steps=solver.diffusion_steps), flow)

    def _drift(self, network: nn.Module, time: Tensor, x: Tensor, share: float) -> Tensor:
        """What follows from the score, per unit of t, in which age runs backwards: beta (x / 2 + share * score)."""
        age = (1 - time).clamp(min=self.settings.youngest)[:, None]
        score = -network(time, x) / self.schedule.scale(age)
        return self.schedule.beta(age) * (x / 2 + share * score)


METHOD = VpSde
