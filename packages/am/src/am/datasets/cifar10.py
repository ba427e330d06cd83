"""CIFAR-10 (Krizhevsky 2009): 60,000 colour photographs of 32 x 32 pixels in ten classes."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from am.datasets.images import ImageDataset, Images, ImageSettings
from am.io.cifar import MD5, SHAPE, read_batches, read_cifar10
from am.io.raw import RAW, find_raw, local_folders
from am.io.snapshots import DataError

SOURCE, ARCHIVE = "cifar10", "cifar-10-python.tar.gz"


class Settings(ImageSettings):
    """What is learned from, and what judges."""

    flip: bool = Field(default=True, description="mirror half of the images that are learned from")
    judged_by: Literal["test", "train"] = Field(
        default="test",
        description="test: the 10,000 test images; train: the 50,000 that are learned from, as published distances are",
    )
    partial: bool = Field(
        default=False, description="learn from the binary batches that there are, where others of the five are missing"
    )


class Cifar10(ImageDataset):
    """The images in their published split: of the archive for Python, or of a folder of binary batches.

    A folder need not hold the test images, where none are asked for.
    """

    settings_type = Settings
    settings: Settings
    image_shape = SHAPE

    @property
    def files(self) -> tuple[tuple[str, str], ...]:  # type: ignore[override]
        """The archive, unless there are batches."""
        return () if self._batches else ((SOURCE, ARCHIVE),)

    def sources(self) -> tuple[Path, ...]:
        """The archive, or the batches."""
        return self._batches or super().sources()

    def read(self) -> Images:
        """All images that are at hand.

        Raises
        ------
        DataError
            There are none, no test images although they judge, or something else.
        """
        batches, partial = self._batches, self.settings.partial
        pixels, label, learned = (
            read_batches(batches[0].parent, partial) if batches else read_cifar10(find_raw(SOURCE, ARCHIVE))
        )
        if learned == len(pixels) and self.settings.judged_by == "test":
            raise DataError(
                f"{batches[0].parent}: there is no test_batch.bin, whose images judge; "
                "with 'judged_by: train' training images do, as in published distances"
            )
        return Images(pixels, np.arange(len(pixels)) < learned, label)

    @property
    def _batches(self) -> tuple[Path, ...]:
        """Binary batches, where the first folder that holds any images has these and no archive."""
        for folder in (RAW / SOURCE, *local_folders(SOURCE)):
            if (folder / ARCHIVE).is_file():
                return ()
            there = {name for name in MD5 if (folder / name).is_file()}
            learned = {name for name in MD5 if name.startswith("data")}
            if there & learned:
                needed = there if self.settings.partial else there | learned
                return tuple(folder / name for name in MD5 if name in needed)
        return ()

    @cached_property
    def _images(self) -> Images:
        """Test images may be missing where none judge."""
        return self.read() if self.settings.judged_by == "train" else super()._images

    @property
    def judging(self) -> NDArray[np.bool_]:
        """(N,) images that start particles and judge them."""
        return self._images.train if self.settings.judged_by == "train" else ~self._images.train


DATASET = Cifar10
