"""Images: the truth above models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from am.report.figures.style import PAGE, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

ROWS, COLUMNS = 3, 20


def grid(blocks: Sequence[tuple[str, NDArray[np.floating]]], shape: tuple[int, int, int]) -> Figure:
    """A block of images for each title, the first :data:`ROWS` x :data:`COLUMNS` of them, row by row.

    Parameters
    ----------
    blocks
        Title, and (n, d) images as points: their first c h w coordinates, from -1 to 1, beyond which they are clipped.
    shape
        (c, h, w), of one channel (grey) or three (colours).
    """
    from matplotlib.figure import Figure

    with styled():
        height = ROWS * PAGE / COLUMNS * shape[1] / shape[2]
        figure = Figure(figsize=(PAGE, len(blocks) * (height + 0.2)), layout="constrained")
        panels = figure.subplots(len(blocks), 1, squeeze=False)[:, 0]
        for axes, (title, x) in zip(panels, blocks, strict=True):
            axes.imshow(_montage(x, shape), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(title)
            axes.set_axis_off()
    return figure


def _montage(x: NDArray[np.floating], shape: tuple[int, int, int]) -> NDArray[np.floating]:
    """(n, d) points as one picture (ROWS (h + 1), COLUMNS (w + 1), c or nothing), white between images."""
    c, h, w = shape
    images = np.clip((x[: ROWS * COLUMNS, : c * h * w] + 1) / 2, 0, 1).reshape(-1, c, h, w).transpose(0, 2, 3, 1)
    sheet = np.ones((ROWS, COLUMNS, h + 1, w + 1, c))
    for i, image in enumerate(images):
        sheet[i // COLUMNS, i % COLUMNS, :h, :w] = image
    picture = sheet.transpose(0, 2, 1, 3, 4).reshape(ROWS * (h + 1), COLUMNS * (w + 1), c)
    return picture[..., 0] if c == 1 else picture
