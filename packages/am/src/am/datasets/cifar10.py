"""CIFAR-10 (Krizhevsky 2009): 60,000 colour photographs of 32 x 32 pixels in ten classes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from am.datasets.images import ImageDataset, Images, ImageSettings
from am.io.cifar import SHAPE, read_cifar10
from am.io.raw import find_raw


class Settings(ImageSettings):
    """What is learned from, and what judges."""

    flip: bool = Field(default=True, description="mirror half of the images that are learned from")
    judged_by: Literal["test", "train"] = Field(
        default="test",
        description="test: the 10,000 test images; train: the 50,000 that are learned from, as published distances are",
    )


class Cifar10(ImageDataset):
    """The images in their published split."""

    settings_type = Settings
    settings: Settings
    image_shape = SHAPE
    files = (("cifar10", "cifar-10-python.tar.gz"),)

    def read(self) -> Images:
        """The archive."""
        pixels, label, learned = read_cifar10(find_raw(*self.files[0]))
        return Images(pixels, np.arange(len(pixels)) < learned, label)

    @property
    def judging(self) -> NDArray[np.bool_]:
        """(N,) images that start particles and judge them."""
        return self._images.train if self.settings.judged_by == "train" else ~self._images.train


DATASET = Cifar10
