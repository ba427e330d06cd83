"""How metrics look at points that stand for images."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from am.metrics.samples import MetricError

if TYPE_CHECKING:
    from am.metrics.classifier import Classifier


class ImageSource(Protocol):
    """Where images come from: a data set of them."""

    image_shape: tuple[int, int, int] | None

    def pictures(self, points: Tensor) -> Tensor:
        """The images that points at t = 1 stand for: (n, d) -> (n, c h w), of values in [-1, 1]."""

    def labelled_images(self) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Training images (n, d) and the class of each (n,); None where there are no classes."""


class Viewer:
    """Points as images, and what was fitted to images of the same data set, each made when it is first asked for.

    Raises
    ------
    MetricError
        In all that it is asked for: the points are no images, or not of the kind that is needed.
    """

    def __init__(self, source: ImageSource) -> None:
        self._source = source

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        if self._source.image_shape is None:
            raise MetricError("this metric needs images, and these points are none")
        return self._source.image_shape

    @cached_property
    def classifier(self) -> Classifier:
        """A classifier of the training images."""
        from am.metrics.classifier import Classifier

        labelled = self._source.labelled_images()
        if labelled is None:
            raise MetricError("this metric needs labelled images, and the data set has none")
        return Classifier(*labelled)

    def eight_bit(self, points: Tensor) -> Tensor:
        """Images as they are stored, each channel from 0 to 255: (n, d) at t = 1 -> (n, c, h, w) of uint8."""
        values = (self._source.pictures(points).double().clamp(-1, 1) + 1) * 128
        return values.floor().clamp(max=255).byte().view(len(points), *self.shape)

    def given(self, points: Tensor) -> Tensor:
        """What images are conditioned on: (n, d) -> (n, rest)."""
        channels, height, width = self.shape
        return points[:, channels * height * width :]
