"""The same histograms in motion: the truth above models, frame by frame in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from am.report.figures.planes import Planes, Population, Sheet, blank_where_empty, draw_scale, name_above, name_block
from am.report.figures.style import styled

if TYPE_CHECKING:
    from PIL.Image import Image

ABREAST = 4
"""Blocks of one plane in a row, at most."""
_COLOURS = 128
_DPI = 100


def animation(
    truth: Population,
    models: Sequence[tuple[str, Population]],
    columns: Sequence[str],
    unit: str = "",
    time: str = "t",
) -> list[Image]:
    """2-D histograms on the coordinate planes, a frame for each time of ``truth``: a row a block, a column a plane.

    Points with two coordinates have one plane: their blocks stand side by side, :data:`ABREAST` in a row.

    The parameters are those of :func:`am.report.figures.histograms.histograms`. The frames share one
    small palette, which keeps the file small.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    times = np.unique(truth.time.round(9)).tolist()
    planes = Planes.of(truth, times, columns)
    blocks = [("truth", truth), *models]
    frames = []
    with styled():
        one_plane, wide = len(planes.pairs) == 1, len(planes.pairs)
        across = min(ABREAST, len(blocks)) if one_plane else wide
        head = 0.3 * one_plane
        sheet = Sheet(-(-len(blocks) * wide // across), 1, across, gap=0.6, block_gap=0.45 + head, top=0.35 + head)
        figure, panels, bar = sheet.figure()
        there = panels.ravel()
        for axes in there[len(blocks) * wide :]:
            axes.remove()
        figure.set_dpi(_DPI)
        canvas = FigureCanvasAgg(figure)
        artists = []
        for k, (title, samples) in enumerate(blocks):
            row = there[k * wide : (k + 1) * wide]
            densities, notes = planes.densities(samples, times[0]), planes.outside(samples, times[0])
            for axes, (i, j), density, note in zip(row, planes.pairs, densities, notes, strict=True):
                artists.append(planes.draw(axes, density, note))
                ends = [f"{planes.columns[k]}{f' ({unit})' if unit else ''}" for k in (i, j)]
                axes.set(xlabel=ends[0], ylabel=ends[1])
            if one_plane:
                name_above(row[0], title)
            else:
                name_block(figure, row, title)
        draw_scale(figure, bar, artists[0][0])
        clock = figure.text(0.5, 1 - 0.08 / figure.get_figheight(), "", ha="center", va="top", fontsize=9)
        for moment in times:
            clock.set_text(f"{time} = {moment:.2f}")
            shown = iter(artists)
            for _, samples in blocks:
                for density, note in zip(
                    planes.densities(samples, moment), planes.outside(samples, moment), strict=True
                ):
                    image, text = next(shown)
                    image.set_data(blank_where_empty(density))
                    text.set_text(note)
            canvas.draw()
            frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))
    palette = frames[0].quantize(_COLOURS, method=Image.Quantize.MAXCOVERAGE)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
