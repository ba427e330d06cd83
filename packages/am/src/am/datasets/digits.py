"""Handwritten digits of 8 x 8 pixels (Alpaydin and Kaynak 1998), as scikit-learn ships them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field, PositiveInt

from am.datasets.images import ImageDataset, Images, ImageSettings
from am.extras import folder_of
from am.io.snapshots import DataError
from am.randomness import derive_seed

COUNT = 1797


class Settings(ImageSettings):
    """How 1,797 digits are split."""

    test_images: PositiveInt = Field(default=500, lt=COUNT, description="images that judge")
    split_seed: int = Field(default=0, ge=0, description="chooses them")


class Digits(ImageDataset):
    """Ten classes in 17 levels of grey; they come with an installed package, so that nothing is fetched."""

    settings_type = Settings
    settings: Settings
    image_shape = (1, 8, 8)
    levels = 17

    def sources(self) -> tuple[Path, ...]:
        """The file of scikit-learn."""
        return (folder_of("scikit-learn", "the data set 'digits'") / "datasets" / "data" / "digits.csv.gz",)

    def read(self) -> Images:
        """The digits, split at random."""
        (file,) = self.sources()
        try:
            table = np.loadtxt(file, delimiter=",")
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: cannot be read ({error}); install scikit-learn again") from None
        if table.shape != (COUNT, 65) or table.min() < 0 or table[:, :64].max() >= self.levels:
            raise DataError(f"{file}: these are not the digits, {COUNT} of 64 pixels in {self.levels} levels")
        pixels = table[:, :64].astype(np.uint8).reshape(-1, *self.image_shape)
        order = np.random.default_rng(derive_seed("split", self.settings.split_seed)).permutation(COUNT)
        train = np.ones(COUNT, bool)
        train[order[: self.settings.test_images]] = False
        return Images(pixels, train, table[:, 64].astype(np.int64))


DATASET = Digits
