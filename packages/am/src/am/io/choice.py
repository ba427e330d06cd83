"""Which cells of a file are fitted: those with certain values in columns of ``obs``, and groups of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from am.config import nearest
from am.io.cell_files import read_columns, reading
from am.io.snapshots import DataError

if TYPE_CHECKING:
    import pandas as pd

    from am.io.cell_files import Source

Rows = NDArray[np.bool_]
"""(n,) which cells of the file."""

_POPULATION = re.compile(
    r"condition|treat|genotype|perturb|drug|dose|stimul|knock|mutant|batch|replicate|donor|patient|animal|mouse|strain"
    r"|(^|[_. ])(ko|rep|sex|line|group|cell_?line)([_. ]|$)",
    re.IGNORECASE,
)
"""Names of columns whose values may be populations of their own."""
_MOST_POPULATIONS = 20


def choose(path: Path, where: Mapping[str, str]) -> Rows | None:
    """The cells that have one of the given values in every given column; None where no column is given.

    Parameters
    ----------
    where
        By column: a value, or several with commas between them.

    Raises
    ------
    DataError
        The file cannot be read, lacks a column, or no cell has a value: names the nearest one.
    """
    if not where:
        return None
    table = read_columns(path, list(where))
    chosen = np.ones(len(table), bool)
    for name, text in where.items():
        words = _words(table[name])
        chosen &= np.isin(words, _values(text, words, f"{path}: the column '{name}' of obs"))
    if not chosen.any():
        conditions = " and ".join(f"{name}={text}" for name, text in where.items())
        raise DataError(f"{path}: no cell has {conditions} together")
    return chosen


def groups(path: Path, column: str, rows: Rows | None) -> dict[str, Rows]:
    """The cells of each value of a column, among ``rows``, in the order of the values; cells without one are in none.

    Raises
    ------
    DataError
        The file cannot be read, lacks the column, or all of it is missing.
    """
    values = read_columns(path, [column])[column]
    words, kept = _words(values), (~values.isna()).to_numpy() & (True if rows is None else rows)
    if not kept.any():
        raise DataError(f"{path}: the column '{column}' of obs is missing for all cells")
    return {word: kept & (words == word) for word in _in_order(words[kept])}


def populations(path: Source, time_key: str) -> str | None:
    """A column that looks like conditions, batches or replicates, two of which at least are there at every time."""
    with reading(path) as file:
        names = [name for name in file.columns() if _POPULATION.search(name) and name != time_key]
    if not names:
        return None
    table = read_columns(path, [time_key, *names])
    times = _words(table[time_key])
    for name in names:
        words, known = _words(table[name]), (~table[name].isna()).to_numpy()
        if 2 <= len(np.unique(words[known])) <= _MOST_POPULATIONS:
            at_each = [set(words[known & (times == time)].tolist()) for time in np.unique(times)]
            if len(set.intersection(*at_each)) >= 2:
                return name
    return None


def _words(column: pd.Series) -> NDArray[Any]:
    """Values as text, whole numbers without a point, so that 1.0 is called 1."""
    values = column.astype(object)
    return np.array(
        [f"{value:g}" if isinstance(value, float | np.floating) else str(value) for value in values], dtype=object
    )


def _values(text: str, words: NDArray[Any], what: str) -> list[str]:
    known = set(words.tolist())
    parts = [text] if text in known else [part.strip() for part in text.split(",")]
    for part in parts:
        if part not in known:
            raise DataError(f"{what} has no '{part}'; {nearest(part, known)}")
    return parts


def _in_order(words: NDArray[Any]) -> Sequence[str]:
    def place(word: str) -> tuple[float, str]:
        try:
            return float(word), word
        except ValueError:
            return np.inf, word

    return sorted(set(words.tolist()), key=place)
