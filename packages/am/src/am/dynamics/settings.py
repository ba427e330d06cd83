"""Settings of solvers; nothing here imports torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from am.config import Settings


class OdeSettings(Settings):
    """An ordinary differential equation solver of torchdiffeq."""

    method: Literal["dopri5", "dopri8", "bosh3", "adaptive_heun", "rk4", "midpoint", "euler"] = Field(
        default="dopri5", description="adaptive: dopri5, dopri8, bosh3, adaptive_heun; fixed step: the others"
    )
    rtol: PositiveFloat = Field(default=1e-4, description="relative tolerance of adaptive methods")
    atol: PositiveFloat = Field(default=1e-4, description="absolute tolerance, in units of the start's spread")
    steps: PositiveInt = Field(default=100, description="steps per unit of time, for fixed-step methods")


class SdeSettings(Settings):
    """A stochastic differential equation solver."""

    method: Literal["euler", "heun"] = Field(default="euler", description="Euler-Maruyama, or stochastic Heun")
    steps: PositiveInt = Field(default=200, description="steps per unit of time")


class LangevinSettings(Settings):
    """Annealed Langevin dynamics along t."""

    time_steps: PositiveInt = Field(default=1000, description="time steps per unit of t")
    langevin_steps: PositiveInt = Field(default=5, description="Langevin steps at each time step")
    step_size: PositiveFloat = Field(default=15.0, description="epsilon: x += epsilon/2 score + sqrt(epsilon) noise")
