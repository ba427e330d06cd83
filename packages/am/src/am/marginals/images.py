"""Paths that end in images, one class each: t = 0 is where particles start, t = 1 the images."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Self, cast

import torch
from torch import Tensor
from torch.func import jvp
from torch.nn.functional import interpolate, pad

from am.marginals.snapshots import SnapshotPath
from am.marginals.vp import VarianceSchedule
from am.randomness import generator as named_generator

GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in luma (ITU-R BT.601)."""


class ImagePath(ABC):
    """q_t for images: each point comes from one of them.

    A point has c h w coordinates in this order, then those of what the image is conditioned on, which are the same at
    all times.

    Parameters
    ----------
    images
        (N, c h w) with values in [-1, 1].
    shape
        (c, h, w).
    levels
        Different values of a pixel, equally spaced; with ``dequantise``, uniform noise fills the gaps between them.
    flip
        Mirror half of the images.
    """

    condition_channels: int = 0

    def __init__(
        self, images: Tensor, shape: tuple[int, int, int], levels: int, dequantise: bool = False, flip: bool = False
    ) -> None:
        self.images, self.image_shape, self.levels = images, shape, levels
        self.dequantise, self.flip = dequantise, flip
        _, height, width = shape
        self.size = math.prod(shape)
        """c h w, the coordinates that move."""
        self.dimension = self.size + self.condition_channels * height * width

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """One point of q_t for each entry of ``time``, from different images while there are any: (n,) -> (n, d)."""
        return self.at(time, self._drawn(len(time), generator).to(time), generator)

    def moving(self, time: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same points, and their velocities while image and noise stay what they are: (n,) -> (n, d), (n, d)."""
        images = self._drawn(len(time), generator).to(time)
        moved = jvp(lambda t: self.at(t, images, generator), (time,), (torch.ones_like(time),))
        return cast("tuple[Tensor, Tensor]", moved)

    @abstractmethod
    def at(self, time: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
        """A point of q_t for each of ``images``: (n,), (n, c h w) -> (n, d)."""

    def prepared(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images as they are learned from: dequantised and flipped, if so set; (n, c h w) -> (n, c h w)."""
        device = generator.device
        if self.dequantise:
            noise = torch.rand(images.shape, generator=generator, device=device, dtype=images.dtype)
            images = images + (2 * noise - 1) / self.levels
        if self.flip:
            mirrored = torch.rand(len(images), generator=generator, device=device) < 0.5
            images = torch.where(mirrored[:, None], self.folded(images).flip(-1).flatten(1), images)
        return images

    def pictures(self, points: Tensor) -> Tensor:
        """The images that points at t = 1 stand for: (n, d) -> (n, c h w)."""
        return points[:, : self.size]

    def folded(self, images: Tensor) -> Tensor:
        """(n, c h w) -> (n, c, h, w)."""
        return images.view(len(images), *self.image_shape)

    def _drawn(self, n: int, generator: torch.Generator) -> Tensor:
        device = generator.device
        if self.images.device != device:
            self.images = self.images.to(device)
        total = len(self.images)
        rounds = [torch.randperm(total, generator=generator, device=device) for _ in range(math.ceil(n / total))]
        return self.prepared(self.images[torch.cat(rounds)[:n]] if rounds else self.images[:0], generator)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


class Generation(ImagePath):
    """x_t = (1 - t) eps + t x, from standard normal noise."""

    def at(self, time: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
        """A point of q_t for each of ``images``: (n,), (n, c h w) -> (n, d)."""
        t = time[:, None]
        return (1 - t) * _normal(images, generator) + t * images


class VpDiffusion(ImagePath):
    """The variance-preserving diffusion run backwards: of age 1 - t."""

    schedule = VarianceSchedule()

    def at(self, time: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
        """A point of q_t for each of ``images``: (n,), (n, c h w) -> (n, d)."""
        age = 1 - time[:, None]
        return self.schedule.mean(age) * images + self.schedule.scale(age) * _normal(images, generator)


class Torus(ImagePath):
    """y_t = (x / 2 + (1 - t) eps) modulo 2, in [-1, 1): images in the middle of a circle, spread out over it.

    At t = 0 the noise has a standard deviation of half a turn, and what is left of the image in it is less than 1 %
    of a first harmonic.
    """

    def at(self, time: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
        """A point of q_t for each of ``images``: (n,), (n, c h w) -> (n, d)."""
        return torch.remainder(images / 2 + (1 - time[:, None]) * _normal(images, generator) + 1, 2) - 1

    def pictures(self, points: Tensor) -> Tensor:
        """The images that points at t = 1 stand for: (n, d) -> (n, c h w)."""
        return 2 * (torch.remainder(points + 1, 2) - 1)


class CirclePoints:
    """Points of a torus as points of circles: cosines, then sines, of their pi-fold."""

    def __init__(self, torus: Torus) -> None:
        channels, height, width = torus.image_shape
        self.torus, self.dimension = torus, 2 * torus.dimension
        self.image_shape = (2 * channels, height, width)

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """One point for each entry of ``time``: (n,) -> (n, 2 d)."""
        angles = math.pi * self.torus.sample(time, generator)
        return torch.cat([torch.cos(angles), torch.sin(angles)], 1)


class GuessedPath(ImagePath):
    """A path of images that are conditioned on something, which suggests what they may be without anything learned."""

    @abstractmethod
    def guess(self, x: Tensor) -> Tensor:
        """What the condition suggests, with known pixels as they are: (n, d) -> (n, c h w)."""

    def free(self, x: Tensor) -> Tensor:
        """1 where a pixel is not known, else 0: (n, d) -> (n, c h w), or (1, c h w) where all points are alike."""
        return x.new_ones(1, self.size)

    def shown(self, x: Tensor) -> Tensor:
        """The condition as a picture: (n, d) -> (n, c h w)."""
        return x[:, self.size : 2 * self.size]

    def from_condition(self, x: Tensor, guessed: bool = True) -> Tensor:
        """The guess, or the condition as it is, beside the condition: (n, d) -> (n, d)."""
        return torch.cat([self.guess(x) if guessed else self.shown(x), x[:, self.size :]], 1)

    def without_images(self) -> Self:
        """The path without what it ends in: how its points are laid out."""
        return type(self)(self.images[:0].cpu(), self.image_shape, self.levels)


class Colorization(GuessedPath):
    """From grey + 0.1 eps to colours along straight lines, given grey."""

    condition_channels = 1

    def at(self, time: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
        """A point of q_t for each of ``images``: (n,), (n, c h w) -> (n, d)."""
        t, colours = time[:, None], self.folded(images)
        grey = torch.einsum("nchw,c->nhw", colours, colours.new_tensor(GREY)).flatten(1)
        start = grey.repeat(1, self.image_shape[0]) + 0.1 * _normal(images, generator)
        return torch.cat([(1 - t) * start + t * images, grey], 1)

    def guess(self, x: Tensor) -> Tensor:
        """Grey in all channels: (n, d) -> (n, c h w)."""
        return x[:, self.size :].repeat(1, self.image_shape[0])

    def shown(self, x: Tensor) -> Tensor:
        """The same: (n, d) -> (n, c h w)."""
        return self.guess(x)


class Superresolution(GuessedPath):
    """The upper left pixel of each 2 x 2 block stays, the others come from noise; given the blocks, interpolated."""

    def __init__(
        self, images: Tensor, shape: tuple[int, int, int], levels: int, dequantise: bool = False, flip: bool = False
    ) -> None:
        self.condition_channels = shape[0]
        super().__init__(images, shape, levels, dequantise, flip)

    def at(self, time: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
        """A point of q_t for each of ``images``: (n,), (n, c h w) -> (n, d)."""
        pictures, t = self.folded(images), time[:, None, None, None]
        x = (1 - t) * _normal(pictures, generator) + t * pictures
        kept = pictures[..., ::2, ::2]
        x[..., ::2, ::2] = kept
        given = interpolate(kept, size=self.image_shape[1:], mode="bilinear", align_corners=False)
        return torch.cat([x.flatten(1), given.flatten(1)], 1)

    def guess(self, x: Tensor) -> Tensor:
        """Kept pixels where they stand, and means of their neighbours between them: (n, d) -> (n, c h w).

        The condition has the same pixels in the middle of their blocks, half a pixel off.
        """
        _, height, width = self.image_shape
        kept = pad(self.folded(x[:, : self.size])[..., ::2, ::2], (0, 1, 0, 1), mode="replicate")
        size = [2 * side - 1 for side in kept.shape[-2:]]
        between = interpolate(kept, size=size, mode="bilinear", align_corners=True)
        return between[..., :height, :width].flatten(1)

    def free(self, x: Tensor) -> Tensor:
        """1 but for the upper left pixel of each 2 x 2 block: (n, d) -> (1, c h w)."""
        free = x.new_ones(1, *self.image_shape)
        free[..., ::2, ::2] = 0
        return free.flatten(1)


class Inpainting(GuessedPath):
    """The left, right, upper or lower half comes from noise, each as often; given the other half, and which it is."""

    def __init__(
        self, images: Tensor, shape: tuple[int, int, int], levels: int, dequantise: bool = False, flip: bool = False
    ) -> None:
        self.condition_channels = shape[0] + 1
        super().__init__(images, shape, levels, dequantise, flip)

    def at(self, time: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
        """A point of q_t for each of ``images``: (n,), (n, c h w) -> (n, d)."""
        pictures, t = self.folded(images), time[:, None, None, None]
        known = self._halves(pictures)[torch.randint(4, (len(images),), generator=generator, device=images.device)]
        noised = (1 - t) * _normal(pictures, generator) + t * pictures
        x = torch.where(known > 0, pictures, noised)
        return torch.cat([x.flatten(1), (known * pictures).flatten(1), known.flatten(1)], 1)

    def guess(self, x: Tensor) -> Tensor:
        """The known half, and its last row or column repeated over the other: (n, d) -> (n, c h w)."""
        channels, height, width = self.image_shape
        given = self.folded(x[:, self.size : 2 * self.size])
        known = x[:, 2 * self.size :].view(-1, 1, height, width)
        row, column = height // 2, width // 2
        filled = [
            given[..., column - 1 : column],
            given[..., column : column + 1],
            given[..., row - 1 : row, :],
            given[..., row : row + 1, :],
        ]
        which = (known * self._halves(x)[:, 0]).flatten(2).sum(-1).argmax(1)
        filling = torch.stack([part.expand(-1, channels, height, width) for part in filled])
        return torch.where(known > 0, given, filling[which, torch.arange(len(x), device=x.device)]).flatten(1)

    def free(self, x: Tensor) -> Tensor:
        """1 in the half that is not known: (n, d) -> (n, c h w)."""
        return (1 - x[:, 2 * self.size :]).repeat(1, self.image_shape[0])

    def _halves(self, like: Tensor) -> Tensor:
        _, height, width = self.image_shape
        halves = like.new_zeros(4, 1, height, width)
        halves[0, ..., : width // 2] = halves[1, ..., width // 2 :] = 1
        halves[2, :, : height // 2] = halves[3, :, height // 2 :] = 1
        return halves


class ImageEnds(SnapshotPath):
    """The two ends of a path as snapshots for methods that draw lines between them: fresh points at each draw."""

    def __init__(self, path: ImagePath) -> None:
        self.path, self.image_shape = path, path.image_shape
        rng = named_generator("ends of a path of images")
        first = [path.sample(torch.full((len(path.images),), time), rng) for time in (0.0, 1.0)]
        super().__init__(first, [0.0, 1.0], "independent")

    def draw(self, snapshot: int, n: int, generator: torch.Generator) -> Tensor:
        """``n`` fresh points of an end: (n, d)."""
        return self.path.sample(torch.full((n,), float(snapshot), device=generator.device), generator)


PATHS: dict[str, type[ImagePath]] = {
    "generation": Generation,
    "colorization": Colorization,
    "superresolution": Superresolution,
    "inpainting": Inpainting,
    "torus": Torus,
    "vp_diffusion": VpDiffusion,
}
"""Paths by the name of their task."""
