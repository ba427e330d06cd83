"""Where particles are: the truth above models, at several times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from am.report.figures.planes import Planes, Population, Sheet, draw_scale, name_block, name_plane
from am.report.figures.style import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def histograms(
    truth: Population,
    models: Sequence[tuple[str, Population]],
    times: Sequence[float],
    columns: Sequence[str],
    unit: str = "",
    time: str = "$t$",
) -> Figure:
    """2-D histograms on the coordinate planes: a column a time, a block of rows for the truth and each model.

    Parameters
    ----------
    truth, models
        Points at ``times`` at least; models by title. Log weights count.
    columns
        Names of the coordinates; the first three are used.
    unit
        Of all coordinates.
    """
    planes = Planes.of(truth, times, columns)
    blocks = [("truth", truth), *models]
    with styled():
        figure, panels, bar = Sheet(len(blocks), len(planes.pairs), len(times)).figure()
        for (title, samples), block in zip(blocks, panels, strict=True):
            for moment, column in zip(times, block.T, strict=True):
                densities, notes = planes.densities(samples, moment), planes.outside(samples, moment)
                for axes, density, note in zip(column, densities, notes, strict=True):
                    image, _ = planes.draw(axes, density, note)
                    first, last = axes in block[:, 0], axes in panels[-1, -1]
                    axes.tick_params(left=first, labelleft=first, bottom=last, labelbottom=last)
            for axes, (i, j) in zip(block[:, 0], planes.pairs, strict=True):
                name_plane(axes, planes.columns[i], planes.columns[j])
            name_block(figure, block[:, 0], title)
        for moment, axes in zip(times, panels[0, 0], strict=True):
            axes.set_title(f"{time} = {moment:g}", loc="center")
        panels[-1, -1, len(times) // 2].set_xlabel(f"position{f' ({unit})' if unit else ''}")
        draw_scale(figure, bar, image)
    return figure
