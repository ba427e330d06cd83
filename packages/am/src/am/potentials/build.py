"""From settings to an action: its kind, and what the space of the points asks of it.

Kinds are imported by name, not discovered as methods are: whether results are out of date depends on the code that a
method imports, which is found in its imports (:mod:`am.io.code_digest`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from am.marginals.images import CirclePoints, ImagePath, Torus
from am.marginals.marginals import Marginals
from am.potentials.potential import Derivatives, Potential
from am.potentials.scale import fit_scale
from am.potentials.settings import PotentialSettings


class ConditionalPotential(Potential):
    """An action of the first ``moving`` coordinates, given the others, which stay where they are."""

    def __init__(self, potential: Potential, moving: int) -> None:
        super().__init__()
        self.potential, self.moving = potential, moving

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        return self.potential(time, x)

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Those of the action, but for the gradient in the given coordinates, which is zero."""
        value, ds_dt, ds_dx = self.potential.derivatives(time, x)
        return Derivatives(value, ds_dt, self._moving(ds_dx))

    def space(self, time: Tensor, x: Tensor) -> Tensor:
        """The gradient of the action, zero in the given coordinates."""
        return self._moving(self.potential.space(time, x))

    def _moving(self, ds_dx: Tensor) -> Tensor:
        still = ds_dx.new_zeros(len(ds_dx), ds_dx.shape[1] - self.moving)
        return torch.cat([ds_dx[:, : self.moving], still], 1)


class PeriodicPotential(Potential):
    """An action on a torus, whose coordinates have period 2: it sees their cosines and sines.

    On a torus only a periodic action has a continuity equation without boundary terms.
    """

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        return self.potential(time, torch.cat([torch.cos(math.pi * x), torch.sin(math.pi * x)], 1))

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Value and gradients by the chain rule through those of the action."""
        cos, sin = torch.cos(math.pi * x), torch.sin(math.pi * x)
        value, ds_dt, inner = self.potential.derivatives(time, torch.cat([cos, sin], 1))
        by_cos, by_sin = inner.chunk(2, 1)
        return Derivatives(value, ds_dt, math.pi * (by_sin * cos - by_cos * sin))


def build_potential(settings: PotentialSettings, marginals: Marginals, generator: torch.Generator) -> Potential:
    """A fresh potential for ``marginals``; the scaled kind, patches and the guided kind look at points of them.

    Raises
    ------
    ValueError
        The kind is one of images, or of images with a condition, where points are none; or their size does not fit.
    """
    if isinstance(marginals, Torus):
        return PeriodicPotential(build_potential(settings, CirclePoints(marginals), generator))
    moving = marginals.size if isinstance(marginals, ImagePath) else marginals.dimension
    potential = _of_kind(settings, marginals, generator)
    return potential if moving == marginals.dimension else ConditionalPotential(potential, moving)


def _of_kind(settings: PotentialSettings, marginals: Marginals, generator: torch.Generator) -> Potential:
    match settings.kind:
        case "scaled":
            from am.potentials.scaled import ScaledPotential

            scaled = ScaledPotential(marginals.dimension, settings.width, settings.depth, settings.time_features)
            fit_scale(scaled, marginals, generator)
            return scaled
        case "residual":
            from am.potentials.residual import ResidualPotential

            return ResidualPotential(marginals.dimension, settings.width, settings.depth)
        case "patches":
            from am.potentials.patches import build_patches

            return build_patches(settings, marginals, generator)
        case "unet":
            from am.potentials.unet import ImagePotential, build_unet

            return ImagePotential(build_unet(settings.unet, marginals))
        case "guided":
            from am.potentials.guided import build_guided

            return build_guided(settings.convolution, settings.time_features, marginals, generator)
