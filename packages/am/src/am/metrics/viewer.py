"""How metrics look at points that stand for images."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from am.metrics.samples import MetricError
from am.metrics.settings import Fid

if TYPE_CHECKING:
    from am.metrics.classifier import Classifier
    from am.metrics.features import EfficientNet, Inception


class ImageSource(Protocol):
    """Where images come from: a data set of them."""

    image_shape: tuple[int, int, int] | None
    levels: int

    def pictures(self, points: Tensor) -> Tensor:
        """The images that points at t = 1 stand for: (n, d) -> (n, c h w), of values in [-1, 1]."""

    def images(self, split: Literal["train", "test"], mirrored: bool = False) -> NDArray[np.float32]:
        """All images of a split, (n, c h w); with those that are mirrored, where such are learned from."""

    def labelled_images(self) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Training images (n, d) and the class of each (n,); None where there are no classes."""


class Viewer:
    """Points as images, and networks to look at them through, each made when it is first asked for.

    Parameters
    ----------
    source
        The images that were learned from, and others.
    find
        Where a file of the registry lies, by source and name.

    Raises
    ------
    MetricError
        In all that it is asked for: the points are no images, or not of the kind that is needed.
    """

    def __init__(self, source: ImageSource, find: Callable[[str, str], Path]) -> None:
        self._source, self._find = source, find
        self._seen: tuple[Tensor, tuple[Tensor, Tensor]] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        if self._source.image_shape is None:
            raise MetricError("this metric needs images, and these points are none")
        return self._source.image_shape

    def pictures(self, points: Tensor) -> Tensor:
        """The images that points at t = 1 stand for: (n, d) -> (n, c h w)."""
        return self._source.pictures(points)

    def given(self, points: Tensor) -> Tensor:
        """What images are conditioned on: (n, d) -> (n, rest)."""
        channels, height, width = self.shape
        return points[:, channels * height * width :]

    def eight_bit(self, images: Tensor) -> Tensor:
        """Images as they are shown, each channel from 0 to 255: (n, c h w) -> (n, c, h, w) of uint8."""
        return _level(images, 256).byte().view(len(images), *self.shape)

    def rounded(self, images: Tensor) -> Tensor:
        """Images in the middle of the levels that the data have: (n, c h w) -> (n, c h w)."""
        levels = self._source.levels
        return (2 * _level(images, levels) + 1) / levels - 1

    @cached_property
    def learned(self) -> Tensor:
        """All images that methods may see, mirrored ones too: (n, c h w)."""
        return torch.from_numpy(self._source.images("train", mirrored=True)).double()

    @cached_property
    def fresh(self) -> Tensor:
        """Those that no method may see: (n, c h w)."""
        return torch.from_numpy(self._source.images("test")).double()

    @cached_property
    def classifier(self) -> Classifier:
        """A classifier of the training images."""
        from am.metrics.classifier import Classifier

        labelled = self._source.labelled_images()
        if labelled is None:
            raise MetricError("this metric needs labelled images, and the data set has none")
        return Classifier(*labelled)

    @cached_property
    def _efficientnet(self) -> EfficientNet:
        from am.metrics.features import EfficientNet

        return EfficientNet()

    def through_efficientnet(self, points: Tensor) -> Tensor:
        """Features of points at t = 1: (n, d) -> (n, 1280)."""
        return self._efficientnet(self.eight_bit(self.pictures(points)))

    @cached_property
    def _inception(self) -> Inception:
        from am.metrics.features import Inception

        return Inception(self._find(*Fid.files[0]))

    def inception(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits of (n, c h w) images: (n, 2048), (n, 1008). The last are kept for the next metric."""
        if self._seen is None or not _same(self._seen[0], images):
            self._seen = images, self._inception(self.eight_bit(images))
        return self._seen[1]

    @cached_property
    def training_features(self) -> Tensor:
        """Features of all training images, none of them mirrored, as published statistics are: (n, 2048)."""
        return self._inception(self.eight_bit(torch.from_numpy(self._source.images("train"))))[0]


def _level(images: Tensor, levels: int) -> Tensor:
    """Levels that values in [-1, 1] belong to, from 0 to ``levels`` - 1; what is beyond is clipped."""
    return ((images.double().clamp(-1, 1) + 1) * levels / 2).floor().clamp(max=levels - 1)


def _same(x: Tensor, y: Tensor) -> bool:
    """Whether both are views of the same numbers."""
    return (x.data_ptr(), x.shape, x.stride()) == (y.data_ptr(), y.shape, y.stride())
