"""Populations as 2-D histograms on coordinate planes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from am.report.figures.style import PAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.text import Text
    from numpy.typing import NDArray

_MOST_BINS, _FEWEST_BINS = 50, 8
_OUTSIDE = 0.02
_EDGE, _LETTER = 0.06, 0.0095
"""Inches from the edge of a figure to the names of blocks; and of a bold letter, for each point of its size."""


class Population(Protocol):
    """Points at several times, as ``samples.npz`` keeps them."""

    @property
    def x(self) -> NDArray[np.floating]:
        """(n, d) points."""
        ...

    @property
    def time(self) -> NDArray[np.floating]:
        """(n,) times."""
        ...

    def at(self, time: float) -> tuple[NDArray[np.floating], NDArray[np.floating] | None]:
        """Points at a time, (m, d), and logarithms of their weights, (m,), if they are weighted; an error if none."""
        ...


@dataclass(frozen=True)
class Planes:
    """The planes of the first three coordinates, one square window and one colour scale for all of them.

    Made from the truth, so that every model is seen against it.
    """

    columns: tuple[str, ...]
    """Names of the coordinates."""
    low: float
    high: float
    """Ends of the window, the same for every coordinate."""
    peaks: tuple[float, ...]
    """Highest density of the truth on each plane, over all times."""
    bins: int
    """Of each coordinate: as many as points fill, the square root of their number, but from 8 to 50."""

    @classmethod
    def of(cls, truth: Population, times: Sequence[float], columns: Sequence[str]) -> Planes:
        """The window that holds 99.8 % of the coordinates of the truth at ``times``."""
        columns = tuple(columns[:3])
        clouds = [truth.at(time)[0][:, : len(columns)] for time in times]
        shown, fewest = np.concatenate(clouds), min(len(cloud) for cloud in clouds)
        bins = min(_MOST_BINS, max(_FEWEST_BINS, math.isqrt(fewest)))
        low, high = (float(end) for end in np.quantile(shown, (0.001, 0.999)))
        unscaled = cls(columns, low, high, (1.0,) * len(list(combinations(columns, 2))), bins)
        peaks = np.max([[plane.max() for plane in unscaled.densities(truth, time)] for time in times], axis=0)
        return cls(columns, low, high, tuple(peaks.tolist()), bins)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Coordinates across and up, plane by plane."""
        return list(combinations(range(len(self.columns)), 2))

    def densities(self, population: Population, time: float) -> list[NDArray[np.floating]]:
        """On each plane the density of the points at a time over the peak of the truth: (bins up, bins across)."""
        x, weight = _weighted(population, time)
        window = ((self.low, self.high),) * 2
        return [
            # Not numpy's density, which would hide what lies outside of the window.
            np.histogram2d(x[:, i], x[:, j], self.bins, window, weights=weight)[0].T / peak
            for (i, j), peak in zip(self.pairs, self.peaks, strict=True)
        ]

    def outside(self, population: Population, time: float) -> list[str]:
        """For each plane the share of points beyond its window, in words; nothing where it is below 2 %."""
        x, weight = _weighted(population, time)
        beyond = (x < self.low) | (x > self.high)
        shares = [np.average(beyond[:, i] | beyond[:, j], weights=weight) for i, j in self.pairs]
        return [f"{100 * share:.0f} % outside" if share >= _OUTSIDE else "" for share in shares]

    def draw(self, axes: Axes, density: NDArray[np.floating], outside: str) -> tuple[AxesImage, Text]:
        """Draw one plane; gives back the image and the note about points outside."""
        from matplotlib.colors import PowerNorm
        from matplotlib.ticker import MaxNLocator

        image = axes.imshow(
            blank_where_empty(density),
            extent=(self.low, self.high, self.low, self.high),
            origin="lower",
            interpolation="nearest",
            cmap="magma_r",
            # The square root shows tails beside peaks.
            norm=PowerNorm(0.5, 0, 1),
        )
        # None so close to a corner that it runs into those of the next panel.
        middle, reach = (self.low + self.high) / 2, 0.4 * (self.high - self.low)
        ticks = [tick for tick in MaxNLocator(4).tick_values(self.low, self.high) if abs(tick - middle) < reach]
        axes.set(xticks=ticks, yticks=ticks)
        axes.grid(visible=False)
        axes.spines[:].set_visible(True)
        note = axes.text(
            0.96,
            0.95,
            outside,
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=6,
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
        )
        return image, note


def _weighted(population: Population, time: float) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Points at a time, and their weights, which add up to one."""
    x, log_weight = population.at(time)
    weight = np.ones(len(x)) if log_weight is None else np.exp(log_weight - log_weight.max())
    return x, weight / weight.sum()


def first_plane(x: NDArray[np.floating], time: NDArray[np.floating]) -> NDArray[np.floating]:
    """First two coordinates of (n, d) points; time and the coordinate where there is one: (n, 2)."""
    if x.shape[1] > 1:
        return x[:, :2]
    return np.stack([np.broadcast_to(time, len(x)), x[:, 0]], 1)


def blank_where_empty(density: NDArray[np.floating]) -> NDArray[np.floating]:
    """NaN, which is drawn as paper, where there is no point."""
    return np.where(density > 0, density, np.nan)


@dataclass(frozen=True)
class Sheet:
    """A figure full of square panels in blocks of rows, with a colour bar below; all sizes are in inches."""

    blocks: int
    rows: int
    """Of each block."""
    columns: int
    left: float = 0.95
    right: float = 0.08
    top: float = 0.25
    bottom: float = 0.95
    gap: float = 0.05
    block_gap: float = 0.14

    def figure(self) -> tuple[Figure, NDArray[Any], Axes]:
        """The figure, its panels (blocks, rows, columns), and the axes of the colour bar."""
        from matplotlib.figure import Figure

        side = (PAGE - self.left - self.right + self.gap) / self.columns - self.gap
        block = self.rows * (side + self.gap) - self.gap + self.block_gap
        height = self.top + self.blocks * block - self.block_gap + self.bottom
        figure = Figure(figsize=(PAGE, height))
        panels = np.empty((self.blocks, self.rows, self.columns), dtype=object)
        for b, r, c in np.ndindex(panels.shape):
            x = self.left + c * (side + self.gap)
            y = height - self.top - b * block - r * (side + self.gap) - side
            panels[b, r, c] = figure.add_axes((x / PAGE, y / height, side / PAGE, side / height))
        bar = figure.add_axes((0.3, 0.38 / height, 0.4, 0.07 / height))
        return figure, panels, bar


def name_block(figure: Figure, block: Iterable[Axes], title: str) -> None:
    """Write ``title`` upright at the left edge of the figure, beside its block of panels; a long one in two lines."""
    places = [axes.get_position() for axes in block]
    low, high = min(place.y0 for place in places), max(place.y1 for place in places)
    words, size = _fitted(title, 8, (high - low) * figure.get_figheight())
    figure.text(
        _EDGE / figure.get_figwidth(),
        (low + high) / 2,
        words,
        rotation=90,
        ha="left",
        va="center",
        multialignment="center",
        weight="bold",
        fontsize=size,
    )


def name_above(axes: Axes, title: str) -> None:
    """Write ``title`` above a panel; a long one in two lines."""
    words, size = _fitted(title, 8, axes.get_window_extent().width / axes.figure.dpi)
    axes.set_title(words, loc="center", weight="bold", fontsize=size)


def name_plane(axes: Axes, across: str, up: str) -> None:
    """Write beside a panel which coordinates it shows."""
    words, size = _fitted(f"{up} over {across}", 7, axes.get_window_extent().height / axes.figure.dpi)
    axes.set_ylabel(words, fontsize=size)


def _fitted(words: str, size: int, room: float) -> tuple[str, int]:
    """Words in two lines at most, none longer than ``room`` inches, and the size of their letters: ``size`` or less."""
    for smaller in range(size, 3, -1):
        lines = wrap(words, max(1, int(room / (_LETTER * smaller))))
        if len(lines) <= 2:
            break
    return "\n".join(lines), smaller


def draw_scale(figure: Figure, bar: Axes, image: AxesImage) -> None:
    """Say what colours mean."""
    figure.colorbar(image, cax=bar, orientation="horizontal", ticks=[0, 0.1, 0.3, 0.6, 1])
    bar.grid(visible=False)
    bar.set_xlabel("density, over the highest of the truth on this plane", fontsize=7)
