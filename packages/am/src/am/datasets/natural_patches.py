"""Colour patches of 32 x 32 pixels from seven photographs that scikit-learn and scikit-image ship; not CIFAR-10."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, field_validator

from am.datasets.images import ImageDataset, Images, ImageSettings
from am.extras import folder_of
from am.io.snapshots import DataError
from am.randomness import derive_seed

PHOTOGRAPHS = {
    "astronaut": ("scikit-image", "data/astronaut.png"),
    "chelsea": ("scikit-image", "data/chelsea.png"),
    "china": ("scikit-learn", "datasets/images/china.jpg"),
    "coffee": ("scikit-image", "data/coffee.png"),
    "flower": ("scikit-learn", "datasets/images/flower.jpg"),
    "motorcycle": ("scikit-image", "data/motorcycle_left.png"),
    "rocket": ("scikit-image", "data/rocket.jpg"),
}
"""Package and file of each photograph: a person, a cat, a palace, a cup, a flower, a machine, a launch."""
SIDE = 32

Pixels = NDArray[np.uint8]
Photograph = Literal["astronaut", "chelsea", "china", "coffee", "flower", "motorcycle", "rocket"]


class Settings(ImageSettings):
    """How patches are cut out."""

    flip: bool = Field(default=True, description="mirror half of the images that are learned from")
    short_side: int = Field(default=256, ge=SIDE, description="pixels that photographs are resized to")
    stride: PositiveInt = Field(default=8, description="pixels from one patch to the next")
    judging: tuple[Photograph, ...] = Field(
        default=("chelsea", "china"),
        min_length=1,
        description="photographs that judge; the others are learned from",
    )

    @field_validator("judging")
    @classmethod
    def _some_are_left(cls, judging: tuple[Photograph, ...]) -> tuple[Photograph, ...]:
        if set(judging) == set(PHOTOGRAPHS):
            raise ValueError("no photograph is left to learn from")
        return judging


class NaturalPatches(ImageDataset):
    """Patches of some photographs are learned from, those of others judge: no scene is in both."""

    settings_type = Settings
    settings: Settings
    image_shape = (3, SIDE, SIDE)

    def sources(self) -> tuple[Path, ...]:
        """The photographs, in the order of their names."""
        who = "the data set 'natural_patches'"
        return tuple(folder_of(package, who) / file for package, file in PHOTOGRAPHS.values())

    def read(self) -> Images:
        """Patches that are learned from, photograph after photograph; then those that judge, shuffled once for all."""
        parts = dict(zip(PHOTOGRAPHS, map(self._patches, self.sources()), strict=True))
        judging = np.concatenate([parts.pop(name) for name in PHOTOGRAPHS if name in self.settings.judging])
        learned = np.concatenate(list(parts.values()))
        order = np.random.default_rng(derive_seed("judging patches")).permutation(len(judging))
        pixels = np.concatenate([learned, judging[order]])
        return Images(pixels, np.arange(len(pixels)) < len(learned))

    def _patches(self, file: Path) -> Pixels:
        """(n, 3, 32, 32), row by row."""
        from PIL import Image

        try:
            with Image.open(file) as photograph:
                scale = self.settings.short_side / min(photograph.size)
                width, height = (round(side * scale) for side in photograph.size)
                pixels = np.asarray(photograph.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error}); install its package again") from None
        windows = np.lib.stride_tricks.sliding_window_view(pixels, (SIDE, SIDE), axis=(0, 1))
        step = self.settings.stride
        return windows[::step, ::step].reshape(-1, *self.image_shape).copy()


DATASET = NaturalPatches
