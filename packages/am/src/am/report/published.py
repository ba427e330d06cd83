"""Values that others have published, and how far they can be trusted."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, model_validator

from am.config import ConfigError, Settings, nearest

Confidence = Literal["official", "restated", "unverified", "not recovered"]
"""official: printed or set by the authors; restated: quoted by others; unverified: never seen in a source."""


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


_ROUNDING = 0.02
"""Relative: published means are rounded."""
_ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Outcome = Literal["reproduced", "better", "worse"]
"""What a comparison with a published number can come to."""


class Published(Settings):
    """One published number: a row of ``config/published/<experiment>.csv``, whose columns these are."""

    method: str = Field(description="name of the method in this project")
    metric: str = Field(description="name of the metric in metrics.csv")
    value: float | None = Field(default=None, description="absent only where it was not recovered")
    at_times: tuple[float, ...] = Field(
        default=(), description="the value at each time that the experiment asks for, if known; ``value`` is their mean"
    )
    spread: float | None = Field(default=None, ge=0, description="one standard deviation, if one was published")
    spread_of: str | None = Field(default=None, description="what the spread is over: checkpoints, seeds, ...")
    confidence: Confidence
    source: str = Field(description="where the number stands")
    claim: str = Field(description="what it claims, in one sentence")
    scale: Annotated[tuple[str, ...], BeforeValidator(_as_tuple), WithJsonSchema(_ONE_OR_MORE)] = Field(
        default=(), description="scale, or list of them, at which ours may be compared with it; all if absent"
    )
    expect: Annotated[tuple[Outcome, ...], BeforeValidator(_as_tuple), WithJsonSchema(_ONE_OR_MORE)] = Field(
        default=("reproduced", "better"),
        min_length=1,
        description="outcomes under which the claim holds; a claim of failure does not where ours is better",
    )
    protocol: str | None = Field(
        default=None, description="id of the protocol it was measured under; must be the experiment's"
    )
    note: str = Field(default="", description="what else to know before comparing")

    @model_validator(mode="after")
    def _consistent(self) -> Published:
        if (self.value is None) != (self.confidence == "not recovered"):
            raise ValueError("a value is given unless, and only unless, the confidence is 'not recovered'")
        if (self.spread is None) != (self.spread_of is None):
            raise ValueError("spread and spread_of are given together or not at all")
        if self.at_times and (
            self.value is None or not math.isclose(fmean(self.at_times), self.value, rel_tol=_ROUNDING)
        ):
            raise ValueError(f"the mean of at_times is {fmean(self.at_times):.4g}, the value is {self.value}")
        return self


_LISTS = ("at_times", "scale", "expect")
"""Columns that hold several words or numbers, with spaces between them."""


def read_published(file: Path) -> list[tuple[int, Published]]:
    r"""Read a table of published numbers: CSV whose columns are the fields of :class:`Published`.

    Columns may stand in any order, and one that no row needs may be missing. An empty cell is a value that was not
    given. Cells of ``at_times``, ``scale`` and ``expect`` hold their values with spaces between them.

    Returns
    -------
    Each number with its line in the file, in the order of the file; the header is line 1.

    Raises
    ------
    ConfigError
        The file is no such table; names the line, the column and, where it can, the nearest that may stand there.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file, header = Path(folder, "hydrogen.csv"), "method,metric,value,confidence,source,claim,scale"
    ...     _ = file.write_text(f"{header}\nam,mmd,5e-4,official,their notebook,it works,laptop paper\n")
    ...     [(line, number)] = read_published(file)
    >>> line, number.value, number.scale
    (2, 0.0005, ('laptop', 'paper'))
    """
    columns, rows = _cells(file)
    fields = Published.model_fields
    for column in columns:
        if column not in fields:
            raise ConfigError(f"{file}: line 1, column {column}: unknown column; {nearest(column, fields)}")
        if columns.count(column) > 1:
            raise ConfigError(f"{file}: line 1, column {column}: this column is given twice")
    for column in fields:
        if fields[column].is_required() and column not in columns:
            raise ConfigError(f"{file}: line 1: the column '{column}' is missing")
    return [(line, _entry(dict(zip(columns, cells, strict=True)), f"{file}: line {line}")) for line, cells in rows]


def _cells(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row with its line."""
    rows, line = [], 1
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            for cells in reader:
                if cells:
                    rows.append((line, cells))
                line = reader.line_num + 1
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    except csv.Error as error:
        raise ConfigError(f"{file}: line {line}: not valid CSV: {error}") from None
    if not rows:
        raise ConfigError(f"{file}: line 1: there is no header")
    (_, columns), *others = rows
    for line, cells in others:
        if len(cells) != len(columns):
            raise ConfigError(
                f"{file}: line {line}: the header has {len(columns)} columns, this row has {len(cells)}; text with a "
                "comma stands in double quotes"
            )
    return columns, others


def _entry(cells: dict[str, str], where: str) -> Published:
    given = {
        column: cell.split() if column in _LISTS else cell.strip() for column, cell in cells.items() if cell.strip()
    }
    try:
        return Published.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        column = f", column {first['loc'][0]}" if first["loc"] else ""
        if first["type"] == "missing":
            raise ConfigError(f"{where}{column}: a value is required") from None
        if first["type"] == "literal_error":
            choices = get_args(Confidence if first["loc"][0] == "confidence" else Outcome)
            hint = nearest(first["input"], choices)
            raise ConfigError(f"{where}{column}: '{first['input']}' may not stand here; {hint}") from None
        reason = first["msg"].removeprefix("Value error, ")
        got = f" (got {first['input']!r})" if column else ""
        raise ConfigError(f"{where}{column}: {reason[0].lower() + reason[1:]}{got}") from None


_TRUST: tuple[Confidence, ...] = ("official", "restated", "unverified", "not recovered")


def most_trusted(entries: Sequence[Published], method: str, metric: str) -> Published | None:
    """The entry for a number with the best confidence, the first of equals."""
    mine = [entry for entry in entries if (entry.method, entry.metric) == (method, metric)]
    return min(mine, key=lambda entry: _TRUST.index(entry.confidence), default=None)
