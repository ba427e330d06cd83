"""Tables that people may have edited, read again to be shown: what is missing or misplaced is one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from am.io.provenance import open_plain
from am.io.tidy import TableError

if TYPE_CHECKING:
    import pandas as pd


def read_shown(
    path: Path,
    words: Sequence[str],
    numbers: Sequence[str],
    flags: Sequence[str] = (),
    notes: Sequence[str] = (),
    empty: bool = False,
) -> pd.DataFrame:
    """A ``verdict.csv``, or a table of ``tables/``.

    Parameters
    ----------
    words, numbers, flags, notes
        Columns that must be there: text, numbers, True or False, and text again. Cells of numbers and notes may be
        empty.
    empty
        Whether there may be no rows.

    Returns
    -------
    All columns of the file.

    Raises
    ------
    TableError
        The file is missing, is no table, lacks a column, has no rows, or holds in a column what does not belong there.
    """
    import pandas as pd

    try:
        with open_plain(path) as file:
            table = pd.read_csv(file, float_precision="round_trip", keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise TableError(f"{path}: no such table") from None
    except (OSError, ValueError) as error:  # pandas' own parser errors are ValueErrors
        raise TableError(f"{path}: not a table ({' '.join(str(error).split())})") from None
    for column in (*words, *numbers, *flags, *notes):
        if column not in table:
            raise TableError(f"{path}: the column '{column}' is missing")
    if not len(table) and not empty:
        raise TableError(f"{path}: the table has no rows")
    for column in words:
        if table[column].isna().any():
            raise TableError(f"{path}: the column '{column}' has an empty cell")
    for column in (*words, *notes):  # a title may be "7", and a column without any word is one of numbers
        table[column] = table[column].map(str, na_action="ignore").astype(object)
    if not len(table):  # columns without cells are of no type
        return table
    for column in numbers:
        if not pd.api.types.is_numeric_dtype(table[column]) or pd.api.types.is_bool_dtype(table[column]):
            raise TableError(f"{path}: the column '{column}' holds something that is not a number")
        if table[column].abs().eq(math.inf).any():
            raise TableError(f"{path}: the column '{column}' holds a number that is not finite")
    for column in flags:
        if not pd.api.types.is_bool_dtype(table[column]):
            raise TableError(f"{path}: the column '{column}' holds something else than True or False")
    return table
