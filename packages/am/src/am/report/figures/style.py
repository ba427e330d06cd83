"""How all figures look: sizes of a two-column page, and one look for a method wherever it appears."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from am.report.labels import Label

COLUMN, PAGE = 3.25, 6.75
"""Widths of a column and of a page, in inches."""

_SETTINGS: dict[str, Any] = {
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "figure.dpi": 100,
    "figure.titlesize": 8,
    "font.size": 8,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
    "xtick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 7,
    "ytick.major.width": 0.6,
    "ytick.minor.width": 0.4,
}
# Okabe and Ito's palette, which the colour-blind can tell apart, without black and yellow; and two dark ones of Tol's.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#882255")
_GREYS = ("0.25", "0.5", "0.65")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_SALT = 274718
"""Found by search: methods that are seen together differ in colour, up to six, and beyond in colour or marker."""
FLOOR: dict[str, Any] = {"color": "0.82", "linewidth": 0, "zorder": 0.5}
"""Of the band of the floor."""


@dataclass(frozen=True)
class Look:
    """Colour, and for print without colour a dash pattern and a marker."""

    colour: str
    dash: Any
    marker: str


def looks(labels: Sequence[Label]) -> dict[str, Look]:
    """The look of each method, by its name alone, so that it is the same in every figure; controls are grey."""
    return {label.method: _look(label.method, _GREYS if label.control else _COLOURS) for label in labels}


def _look(method: str, colours: Sequence[str]) -> Look:
    number = int.from_bytes(sha256(f"{_SALT} {method}".encode()).digest()[:4])
    number, colour = divmod(number, len(colours))
    number, dash = divmod(number, len(_DASHES))
    return Look(colours[colour], _DASHES[dash], _MARKERS[number % len(_MARKERS)])


def styled() -> AbstractContextManager[None]:
    """Draw and save in the project's style, whatever the user's own settings of matplotlib are."""
    import matplotlib.style

    return matplotlib.style.context(_SETTINGS, after_reset=True)
