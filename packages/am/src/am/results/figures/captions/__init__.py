"""What stands below figures wherever they are shown: a file each, of plain words that reStructuredText leaves alone."""

from __future__ import annotations

from pathlib import Path


def caption_file(figure: str) -> Path:
    """Where the caption of a figure is."""
    return Path(__file__).with_name(f"{figure}.rst")


def caption(figure: str) -> str:
    """The caption of a figure, on one line."""
    return " ".join(caption_file(figure).read_text(encoding="utf-8").split())
