"""Rows of images, each with a name: what becomes of the same image in several hands, or at several times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from am.report.figures.style import PAGE, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

LABEL = 1.2
"""Inches for the names of rows."""
LARGEST = 0.7
"""Inches on a side of an image, at most."""


def image_rows(
    rows: Sequence[tuple[str, NDArray[np.floating]]], shape: tuple[int, int, int], columns: Sequence[str] = ()
) -> Figure:
    """One row of images for each name; ``columns`` are titles above the first.

    Parameters
    ----------
    rows
        Name, and (n, d) images as points, of the same n: their first c h w coordinates, from -1 to 1, beyond which they
        are clipped.
    shape
        (c, h, w), of one channel (grey) or three (colours).
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    c, h, w = shape
    count = len(rows[0][1])
    side = min(LARGEST, (PAGE - LABEL) / count)
    with styled():
        close = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
        figure = Figure(figsize=(LABEL + count * side, len(rows) * side * h / w + 0.25), layout=close)
        panels = figure.subplots(len(rows), count, squeeze=False)
        for line, (name, x) in zip(panels, rows, strict=True):
            images = np.clip((x[:, : c * h * w] + 1) / 2, 0, 1).reshape(-1, c, h, w).transpose(0, 2, 3, 1)
            for axes, image in zip(line, images, strict=True):
                axes.imshow(image[..., 0] if c == 1 else image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.grid(visible=False)
                axes.spines[:].set_visible(False)
            line[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for axes, title in zip(panels[0], columns, strict=False):
            axes.set_title(title, loc="center")
    return figure
