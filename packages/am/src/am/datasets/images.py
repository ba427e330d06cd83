"""Data sets of images: a path from noise, or from what is left of an image, to the image."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from am.config import Settings
from am.datasets.contract import Dataset
from am.io.snapshots import Array, DataError, read_snapshots

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

    from am.marginals.images import ImagePath
    from am.marginals.snapshots import SnapshotPath


class ImageSettings(Settings):
    """What all data sets of images share."""

    task: Literal["generation", "colorization", "superresolution", "inpainting", "torus", "vp_diffusion"] = Field(
        default="generation", description="the path that ends in the images"
    )
    dequantise: bool = Field(default=True, description="uniform noise between the levels of a pixel")
    flip: bool = Field(default=False, description="mirror half of the images that are learned from")


@dataclass(frozen=True)
class Images:
    """Images as they were stored, and how they are split."""

    pixels: NDArray[np.uint8]
    """(N, c, h, w)"""
    train: NDArray[np.bool_]
    """(N,) images that methods may learn from; the others judge"""
    label: NDArray[np.int64] | None = None
    """(N,) classes"""


class ImageDataset(Dataset):
    """Finitely many images, split once for all seeds and methods, and the path of ``task`` that ends in them."""

    settings_type = ImageSettings
    settings: ImageSettings
    image_shape: tuple[int, int, int]

    @abstractmethod
    def read(self) -> Images:
        """The images.

        Raises
        ------
        DataError
            They are not to be found, or not what they should be.
        """

    @cached_property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Channel, row and column of each pixel; conditions are further channels."""
        channels, height, width = self.image_shape
        channels += self._path(np.zeros((0, math.prod(self.image_shape)), np.float32)).condition_channels
        return tuple(f"c{c}y{y}x{x}" for c in range(channels) for y in range(height) for x in range(width))

    def marginals(self, data: Path) -> ImagePath:
        """The path that ends in the training images of ``data``."""
        import torch

        points = read_snapshots(data)
        images = self.pictures(torch.from_numpy(points.x[points.split == "train"]))
        return self._path(images.contiguous().numpy(), flip=self.settings.flip)

    @property
    def has_density(self) -> bool:  # type: ignore[override]
        """Whether points at t = 1 are spread over all space, and those at t = 0 standard normal."""
        return self.settings.dequantise and self._from_noise

    @property
    def _from_noise(self) -> bool:
        return self.settings.task in ("generation", "vp_diffusion")

    @property
    def conditioned(self) -> bool:  # type: ignore[override]
        """Whether points hold what an image is conditioned on."""
        return self.settings.task in ("colorization", "superresolution", "inpainting")

    def pictures(self, points: Tensor) -> Tensor:
        """The images that points at t = 1 stand for: (n, d) -> (n, c h w)."""
        return self._path(np.zeros((0, math.prod(self.image_shape)), np.float32)).pictures(points)

    def wrapped(self, x: Tensor) -> Tensor:
        """Points of the torus in [-1, 1), those of other tasks as they are: (..., d)."""
        return (x + 1).remainder(2) - 1 if self.settings.task == "torus" else x

    def snapshots(self, data: Path) -> SnapshotPath:
        """Both ends of that path, for tasks that start from noise.

        Raises
        ------
        DataError
            The task starts from the images.
        """
        from am.marginals.images import ImageEnds

        if not self._from_noise:
            raise DataError(
                f"task {self.settings.task}: methods that join both ends by straight lines work from noise alone; "
                f"choose from: generation, vp_diffusion"
            )
        return ImageEnds(self.marginals(data))

    def truth(self, data: Path | None = None) -> ImagePath:
        """The path that ends in images that judge nothing."""
        return self._path(self._pixels[self._images.train])

    def population(self) -> ImagePath:
        """The path that ends in all images."""
        return self._path(self._pixels)

    def images(self, split: Literal["train", "test"], mirrored: bool = False) -> Array:
        """All images of a split, (n, c h w); with those that are mirrored, where such are learned from."""
        images = self._pixels[self._images.train if split == "train" else ~self._images.train]
        if not (mirrored and self.settings.flip):
            return images
        other = images.reshape(-1, *self.image_shape)[..., ::-1].reshape(images.shape)
        return np.concatenate([images, other])

    def dequantised(self, count: int, generator: torch.Generator) -> Tensor:
        """The first test images, with noise between their levels if so set: (count, c h w)."""
        import torch

        images = self.images("test")
        if len(images) < count:
            raise DataError(f"likelihoods of {count} test images asked for, there are {len(images)}")
        return self._path(images[:0]).prepared(torch.from_numpy(images[:count]), generator)

    def labelled_images(self) -> tuple[Array, NDArray[np.int64]] | None:
        """Training images (n, c h w) and the class of each (n,); None where there are no classes."""
        label = self._images.label
        return None if label is None else (self._pixels[self._images.train], label[self._images.train])

    def training_points(self, times: int, size: int, key: str) -> Iterator[tuple[float, Array]]:
        """All training images, however many are asked for, as they stand at t = 1."""
        yield 1.0, self._points(self._pixels[self._images.train], 1.0, key, "train")

    def test_points(self, time: float, size: int, seed: int, key: str) -> Array:
        """Points from the first ``size`` test images, in the same order and with the same noise at every time."""
        images = self._pixels[self.judging]
        if len(images) < size:
            raise DataError(f"{size} test images asked for, there are {len(images)}")
        return self._points(images[:size], time, key, "test", seed)

    @property
    def judging(self) -> NDArray[np.bool_]:
        """(N,) images that start particles and judge them."""
        return ~self._images.train

    def _points(self, images: Array, time: float, *key: object) -> Array:
        import torch

        from am.randomness import generator

        path, rng = self._path(images), generator(*key)
        x = torch.from_numpy(images)
        if "test" in key:
            x = path.prepared(x, rng)
        return path.at(torch.full((len(x),), time), x, rng).numpy().astype(np.float32)

    @cached_property
    def _images(self) -> Images:
        images = self.read()
        found = images.pixels.shape[1:]
        if found != self.image_shape:
            raise DataError(f"images of shape {found}, expected {self.image_shape}")
        if images.train.all() or not images.train.any():
            raise DataError(f"{len(images.train)} images, of which {images.train.sum()} are to learn from")
        return images

    @cached_property
    def _pixels(self) -> Array:
        """(N, c h w) in [-1, 1], each value in the middle of its level."""
        pixels = self._images.pixels.reshape(len(self._images.pixels), -1)
        return ((2 * pixels.astype(np.float32) + 1) / self.levels - 1).astype(np.float32)

    def _path(self, images: Array, flip: bool = False) -> ImagePath:
        import torch

        from am.marginals.images import PATHS

        s = self.settings
        return PATHS[s.task](torch.from_numpy(images), self.image_shape, self.levels, s.dequantise, flip)
