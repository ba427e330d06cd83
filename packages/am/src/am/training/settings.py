"""Settings of training; nothing here imports torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from am.config import Settings


class TrainingSettings(Settings):
    """How a network is trained: Adam on a loss whose every step draws fresh points."""

    iterations: PositiveInt = Field(default=3000, description="optimiser steps")
    batch_size: PositiveInt = Field(default=512, description="points of a step at times inside (0, 1)")
    boundary_batch_size: PositiveInt = Field(default=512, description="points of a step at t = 0, and as many at t = 1")
    times: Literal["even", "learned"] = Field(
        default="even",
        description="even: spread evenly over [0, 1], without gaps from step to step; learned: more of them where the "
        "integrand of the loss spreads more, which is divided by their density",
    )
    accumulate: PositiveInt = Field(
        default=1,
        description="parts that the points of a step are worked through in, one after another, to save memory",
    )
    learning_rate: PositiveFloat = Field(default=1e-3, description="Adam's step size after warm-up")
    warmup: NonNegativeInt = Field(default=100, description="steps over which the learning rate rises linearly")
    schedule: Literal["constant", "cosine"] = Field(default="cosine", description="learning rate after warm-up")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Adam's beta_1, decay of the averaged gradient")
    clip: PositiveFloat = Field(default=1.0, description="largest norm of a gradient")
    ema: float = Field(default=0.999, ge=0, lt=1, description="decay of the averaged weights that are kept")
    snapshots: NonNegativeInt = Field(default=6, description="averaged weights kept along the way, equally spaced")
    matmul_precision: Literal["highest", "high", "medium"] = Field(
        default="highest", description="torch.set_float32_matmul_precision while training"
    )
    precision: Literal["32-true", "bf16-mixed"] = Field(
        default="32-true",
        description="of products and convolutions in networks and their first derivatives; weights, averages, steps of "
        "Adam and sums over points are in single precision either way",
    )
    log_every: PositiveInt = Field(default=50, description="steps between rows of training.csv")


class SaddleSettings(TrainingSettings):
    """The same, where one part of a network climbs while the other descends: with momentum they circle."""

    momentum: float = Field(default=0.0, ge=0, lt=1, description="Adam's beta_1, decay of the averaged gradient")
