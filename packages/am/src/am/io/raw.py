"""Files from outside, where they lie."""

from __future__ import annotations

import os
from pathlib import Path

from am.io.snapshots import DataError

RAW = Path("data/raw")
"""Folder that the workflow retrieves files into, from where it runs."""


def local_folders(source: str) -> list[Path]:
    """Where files of a source may lie: each folder that the environment variable AM_DATA names, and its ``source``."""
    named = [Path(folder) for folder in os.environ.get("AM_DATA", "").split(os.pathsep) if folder]
    return [place for folder in named for place in (folder, folder / source)]


def find_raw(source: str, file: str) -> Path:
    """The file of a source: as it was retrieved, or in a folder of AM_DATA.

    Raises
    ------
    DataError
        It is in none of them: names them, and what to do.
    """
    places = [RAW / source / file, *(folder / file for folder in local_folders(source))]
    for place in places:
        if place.is_file():
            return place
    raise DataError(
        f"there is no {file} of '{source}'; looked for it at {', '.join(map(str, places))}; fetch it with `am retrieve "
        f"--source {source} --file {file} --out {places[0]}`, or name a folder that holds it in the environment "
        f"variable AM_DATA"
    )
