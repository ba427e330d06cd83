"""Colour patches of 32 x 32 pixels from two photographs (a palace, a flower) that scikit-learn ships; not CIFAR-10."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from am.data.snapshots import DataError
from am.datasets.images import ImageDataset, Images, ImageSettings

PHOTOGRAPHS = ("china.jpg", "flower.jpg")
SIDE = 32

Pixels = NDArray[np.uint8]


class Settings(ImageSettings):
    """How patches are cut out."""

    flip: bool = Field(default=True, description="mirror half of the images that are learned from")
    short_side: int = Field(default=256, ge=4 * SIDE, description="pixels that photographs are resized to")
    stride: PositiveInt = Field(default=8, description="pixels from one patch to the next")


class NaturalPatches(ImageDataset):
    """Patches from the left three quarters of each photograph are learned from, those from the rest judge.

    No pixel is both learned from and judged by, yet both parts show the same scene.
    """

    settings_type = Settings
    settings: Settings
    image_shape = (3, SIDE, SIDE)

    def sources(self) -> tuple[Path, ...]:
        """The photographs of scikit-learn."""
        package = find_spec("sklearn")
        if package is None or package.origin is None:
            raise DataError("the photographs come with scikit-learn, which is not installed")
        return tuple(Path(package.origin).parent / "datasets" / "images" / name for name in PHOTOGRAPHS)

    def read(self) -> Images:
        """The patches, photograph after photograph."""
        parts = [self._patches(file) for file in self.sources()]
        learned, judging = (np.concatenate(side) for side in zip(*parts, strict=True))
        return Images(np.concatenate([learned, judging]), np.arange(len(learned) + len(judging)) < len(learned))

    def _patches(self, file: Path) -> tuple[Pixels, Pixels]:
        from PIL import Image

        try:
            with Image.open(file) as photograph:
                scale = self.settings.short_side / min(photograph.size)
                width, height = (round(side * scale) for side in photograph.size)
                pixels = np.asarray(photograph.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error}); install scikit-learn again") from None
        border = width * 3 // 4
        return self._cut(pixels[:, :border]), self._cut(pixels[:, border:])

    def _cut(self, pixels: Pixels) -> Pixels:
        """(height, width, 3) -> (n, 3, 32, 32)."""
        windows = np.lib.stride_tricks.sliding_window_view(pixels, (SIDE, SIDE), axis=(0, 1))
        step = self.settings.stride
        return windows[::step, ::step].reshape(-1, *self.image_shape).copy()


DATASET = NaturalPatches
