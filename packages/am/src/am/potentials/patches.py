"""An action of images that is a sum over their patches."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from am.marginals.marginals import Marginals
from am.potentials.potential import Derivatives, Potential
from am.potentials.scaled import ScaledPotential
from am.potentials.settings import PotentialSettings


class PatchPotential(Potential):
    """A sum over the square patches of an image of one action of a patch, with what the patch is conditioned on.

    Small enough for processors, and blind to what lies beyond a patch.
    """

    def __init__(self, potential: Potential, size: tuple[int, int], side: int) -> None:
        super().__init__()
        self.potential, self.size, self.side = potential, size, side

    def patches(self, x: Tensor) -> Tensor:
        """(n, c h w) -> (n k, c side side), k patches of each image in a row."""
        (height, width), side = self.size, self.side
        grid = x.view(len(x), -1, height // side, side, width // side, side)
        return grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, grid.shape[1] * side**2)

    def _images(self, patches: Tensor, n: int) -> Tensor:
        """What :meth:`patches` undoes."""
        (height, width), side = self.size, self.side
        grid = patches.view(n, height // side, width // side, -1, side, side)
        return grid.permute(0, 3, 1, 4, 2, 5).reshape(n, -1)

    def _times(self, time: Tensor) -> Tensor:
        return time.repeat_interleave(math.prod(self.size) // self.side**2)

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        return self.potential(self._times(time), self.patches(x)).view(len(x), -1).sum(1)

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Sums of, or images put together from, those of the patches."""
        n = len(x)
        value, ds_dt, ds_dx = self.potential.derivatives(self._times(time), self.patches(x))
        return Derivatives(value.view(n, -1).sum(1), ds_dt.view(n, -1).sum(1), self._images(ds_dx, n))


def build_patches(settings: PotentialSettings, marginals: Marginals, generator: torch.Generator) -> PatchPotential:
    """A fresh sum over patches, each seen by a scaled potential whose scale is that of all patches.

    Raises
    ------
    ValueError
        Points are no images, or of a size that does not divide into such patches.
    """
    shape, side = getattr(marginals, "image_shape", None), settings.patch
    if shape is None:
        raise ValueError("there are patches of images only, and these points are none; choose another kind of network")
    _, height, width = shape
    if height % side or width % side:
        raise ValueError(f"images of {height} x {width} pixels do not divide into patches of {side} x {side}")
    dimension = marginals.dimension // (height * width) * side**2
    inner = ScaledPotential(dimension, settings.width, settings.depth, settings.time_features)
    potential = PatchPotential(inner, (height, width), side)
    time = torch.rand(512, generator=generator, device=generator.device)
    inner.fit_scale(potential.patches(marginals.sample(time, generator).to("cpu")))
    return potential
