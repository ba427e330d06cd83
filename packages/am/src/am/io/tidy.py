"""The tables that steps hand to each other: one value a row."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from am.io.files import atomic

if TYPE_CHECKING:
    import pandas as pd

METRIC_COLUMNS = ("experiment", "method", "seed", "time", "metric", "value", "n_samples")
"""Of ``metrics.csv``; and of ``floor.csv``, where the method is ``floor`` and seeds count repeats."""
BLOCK_COLUMNS = (*METRIC_COLUMNS, "block")
"""Of ``blocks.csv``: as ``metrics.csv``, measured without the points of a block; there are none where each seed has
points of its own."""
BLOCKS = 10
"""Of points that all seeds share, left out one after another."""
DRAW_COLUMNS = (*METRIC_COLUMNS, "draw")
"""Of ``draws.csv``: as ``metrics.csv``, with the noise of one draw of particles; there are none where nothing was drawn
again."""
HISTORY_COLUMNS = ("experiment", "method", "seed", "iteration", "metric", "value", "n_samples")
"""Of ``history.csv``: values are means over times."""
FLOOR = "floor"
_WORDS = ("experiment", "method", "metric")


class TableError(RuntimeError):
    """A table that cannot be used; its text is one sentence for the user."""


def read_metrics(paths: Iterable[Path]) -> pd.DataFrame:
    """All rows of several ``metrics.csv`` or ``floor.csv``.

    Raises
    ------
    TableError
        A file is missing, is no table, lacks a column, has no rows, or has words where numbers belong.
    """
    return _read(paths, METRIC_COLUMNS)


def blocks_beside(metrics: Iterable[Path]) -> list[Path]:
    """The ``blocks.csv`` that lie beside ``metrics.csv`` files, where they do and have rows."""
    return _beside(metrics, "blocks.csv")


def draws_beside(metrics: Iterable[Path]) -> list[Path]:
    """The same of ``draws.csv``."""
    return _beside(metrics, "draws.csv")


def _beside(metrics: Iterable[Path], name: str) -> list[Path]:
    there = [file for path in metrics if (file := path.with_name(name)).exists()]
    return [file for file in there if file.read_bytes().count(b"\n") != 1]


def read_blocks(paths: Iterable[Path]) -> pd.DataFrame:
    """All rows of several ``blocks.csv``; errors as in :func:`read_metrics`."""
    return _read(paths, BLOCK_COLUMNS)


def read_draws(paths: Iterable[Path]) -> pd.DataFrame:
    """All rows of several ``draws.csv``; errors as in :func:`read_metrics`."""
    return _read(paths, DRAW_COLUMNS)


def read_history(paths: Iterable[Path]) -> pd.DataFrame:
    """All rows of several ``history.csv``; errors as in :func:`read_metrics`."""
    return _read(paths, HISTORY_COLUMNS)


def read_losses(path: Path) -> pd.DataFrame:
    """Columns ``step`` and ``loss`` of a ``training.csv``; errors as in :func:`read_metrics`."""
    return _read_one(path, ("step", "loss"))


def write_tidy(frame: pd.DataFrame, path: Path) -> None:
    """Write a table so that reading it gives the same numbers."""
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def _read(paths: Iterable[Path], columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    frames = [_read_one(path, columns) for path in paths]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(columns))


def _read_one(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_csv(
            path,
            float_precision="round_trip",
            dtype=dict.fromkeys(_WORDS, str),
            # Words are taken literally: a method may be called "none".
            keep_default_na=False,
            na_values={column: ["", "nan"] for column in columns if column not in _WORDS},
        )
    except FileNotFoundError:
        raise TableError(f"{path}: no such table") from None
    except (OSError, ValueError) as error:  # pandas' own parser errors are ValueErrors
        raise TableError(f"{path}: not a table ({' '.join(str(error).split())})") from None
    for column in columns:
        if column not in frame:
            raise TableError(f"{path}: the column '{column}' is missing")
    if not len(frame):
        raise TableError(f"{path}: the table has no rows")
    for column in columns:
        if column not in _WORDS and not pd.api.types.is_numeric_dtype(frame[column]):
            raise TableError(f"{path}: the column '{column}' holds something that is not a number")
    return frame[list(columns)]
