"""The variance-preserving diffusion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class VarianceSchedule:
    """dx = -beta(r) x / 2 dr + sqrt(beta(r)) dW with beta linear in the age r, from 0 (data) to 1 (noise).

    Source: Song et al., ICLR 2021, equations 32 and 33.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def beta(self, age: Tensor) -> Tensor:
        """Rate at which the data are forgotten, elementwise."""
        return self.beta_min + age * (self.beta_max - self.beta_min)

    def mean(self, age: Tensor) -> Tensor:
        """What a point of the data is multiplied by, elementwise."""
        return torch.exp(-self._integral(age) / 2)

    def scale(self, age: Tensor) -> Tensor:
        """Standard deviation of the noise that is added to it, elementwise."""
        return torch.sqrt(-torch.expm1(-self._integral(age)))

    def _integral(self, age: Tensor) -> Tensor:
        return self.beta_min * age + (self.beta_max - self.beta_min) * age.square() / 2
