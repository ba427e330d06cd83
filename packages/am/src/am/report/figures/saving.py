"""Figures on disk: whole, with their origin inside and beside them, the same bytes for the same content."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from am.io.files import atomic
from am.io.provenance import Origin, write_origin
from am.report.figures.style import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


def save_figure(figure: Figure, path: Path, made_of: Origin) -> None:
    """Write a figure as PDF or PNG, by its suffix, with a sidecar.

    The origin stands as JSON in the keywords of a PDF, in the text chunk ``Provenance`` of a PNG.

    Raises
    ------
    ValueError
        The suffix is of another format.
    """
    about = json.dumps(made_of, sort_keys=True)
    formats = {
        ".pdf": {"Title": path.stem, "Keywords": about, "CreationDate": None},
        ".png": {"Title": path.stem, "Provenance": about},
    }
    if path.suffix not in formats:
        raise ValueError(f"{path}: figures are written as {' or '.join(formats)}")
    with styled(), atomic(path) as temporary:
        figure.savefig(temporary, metadata=formats[path.suffix])
    write_origin(path, made_of)


def save_animation(frames: Sequence[Image], milliseconds: int, path: Path, made_of: Origin) -> None:
    """Write frames as a GIF that loops, each shown for ``milliseconds``, with the origin as its comment."""
    with atomic(path) as temporary:
        frames[0].save(
            temporary,
            save_all=True,
            append_images=frames[1:],
            duration=milliseconds,
            loop=0,
            optimize=True,
            comment=json.dumps(made_of, sort_keys=True).encode(),
        )
    write_origin(path, made_of)
