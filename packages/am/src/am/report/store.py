"""The store of reference results: a folder an experiment, with tidy tables of all runs and a record of each.

``<scale>/<experiment>/`` holds :data:`TABLES` and ``runs.csv``; ``environments.csv`` above the scales lists the
versions of packages once. Each file is one table, its rows sorted by run and seed. The same rows give the same bytes.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from am.io.files import atomic
from am.io.provenance import open_plain
from am.io.tidy import (
    BLOCK_COLUMNS,
    DRAW_COLUMNS,
    FLOOR,
    HISTORY_COLUMNS,
    METRIC_COLUMNS,
    TableError,
    read_blocks,
    read_draws,
    read_history,
    read_metrics,
)
from am.report.measured import Measured
from am.report.tables import COSTS

if TYPE_CHECKING:
    import pandas as pd

TABLES = {
    "metrics.csv": METRIC_COLUMNS,
    "blocks.csv.gz": BLOCK_COLUMNS,
    "draws.csv.gz": DRAW_COLUMNS,
    "history.csv.gz": HISTORY_COLUMNS,
}
"""Tables of an experiment, and their columns. Only the first must be there; it holds the floor too."""
RUNS = "runs.csv"
RUN_COLUMNS = (
    *("experiment", "method", "seed"),
    *("train_commit", "train_code", "sample_commit", "sample_code", "evaluate_commit", "evaluate_code"),
    *("settings", "data", "weights", "samples", "device", "environment"),
    *("train_seconds", "sample_seconds", "nfe", "peak_memory_bytes", "started", "finished", "more", "rows"),
)
"""Of ``runs.csv``: a row a run and seed that has a record, and one of the floor, whose seed is empty.

Commit and digest of the code of each step; digests of the settings that samples depend on, and of the files that were
read and written; ``more`` is what else the record tells, as JSON; ``rows`` is the digest of the rows in the tables. A
cell is empty where nothing is told.
"""
ENVIRONMENTS = "environments.csv"
ENVIRONMENT_COLUMNS = ("environment", "package", "version")

_READERS = dict(zip(TABLES, (read_metrics, read_blocks, read_draws, read_history), strict=True))
Key = tuple[str, str]
"""A run and its seed, as they are written; the seed of the floor is empty, as its seeds count repeats."""


@dataclass(frozen=True)
class Kept:
    """What is kept of an experiment at a scale."""

    folder: Path
    tables: Mapping[str, pd.DataFrame]
    """By file, as :data:`TABLES` names them; of those that there are."""
    records: Mapping[Key, Mapping[str, str]]
    """Rows of ``runs.csv``."""
    written: Mapping[Key, str] = field(default_factory=dict)
    """Digest of the rows that lie in the tables, as ``rows`` of ``runs.csv`` should tell."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that it was read from."""
        return tuple(path for name in (*TABLES, RUNS) if (path := self.folder / name).is_file())

    @property
    def keys(self) -> list[Key]:
        """All runs and seeds that have metrics, sorted."""
        metrics = self._table("metrics.csv")
        return sorted(dict.fromkeys(_keys(metrics)), key=_place)

    @property
    def edited(self) -> list[Key]:
        """Runs and seeds whose rows are not those that their record tells of."""
        return [key for key, record in self.records.items() if record["rows"] != self.written.get(key, "")]

    def measured(self, wanted: Sequence[tuple[str, int]]) -> Measured:
        """What tables and verdicts are made of, of those runs and seeds, in their order; and the floor."""
        place = {(run, str(seed)): number for number, (run, seed) in enumerate(wanted)}
        metrics, blocks, draws = (self._table(name) for name in ("metrics.csv", "blocks.csv.gz", "draws.csv.gz"))
        return Measured(
            files=self.files,
            metrics=_ordered(metrics, place),
            floor=_ordered(metrics, {(FLOOR, ""): 0}),
            blocks=_ordered(blocks, place),
            draws=_ordered(draws, place),
            costs=self._costs(place),
        )

    def with_(self, new: Kept) -> Kept:
        """The same, with all rows of the runs and seeds of ``new`` in place of its own."""
        import pandas as pd

        gone = {*new.keys, *new.records}
        tables = {}
        for name in TABLES:
            mine, theirs = self._table(name), new._table(name)
            mine = mine.iloc[[row for row, key in enumerate(_keys(mine)) if key not in gone]]
            both = [table for table in (mine, theirs) if len(table)]
            if both:
                tables[name] = pd.concat(both, ignore_index=True)
        records = {key: row for key, row in self.records.items() if key not in gone} | dict(new.records)
        return replace(self, tables=tables, records=records)

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd

        return self.tables[name] if name in self.tables else pd.DataFrame(columns=list(TABLES[name]))

    def _costs(self, place: Mapping[Key, int]) -> pd.DataFrame:
        import pandas as pd

        there = sorted((place[key], key) for key in set(_keys(self._table("metrics.csv"))) if key in place)
        rows = [
            {"experiment": record["experiment"], "method": key[0], "seed": int(key[1])}
            | {name: float(record[name] or math.nan) for name in COSTS}
            for _, key in there
            if (record := self.records.get(key)) and record["sample_code"]
        ]
        columns = ["experiment", "method", "seed", *COSTS]
        return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(COSTS, float))


def holds_results(folder: Path) -> bool:
    """Whether a folder is one of the store, of an experiment at a scale."""
    return (folder / "metrics.csv").is_file()


def read_kept(folder: Path) -> Kept:
    """Read what is kept of an experiment at a scale; nothing where the folder is not there.

    Raises
    ------
    TableError
        A table is none, lacks a column, or has words where numbers belong.
    """
    tables, texts = {}, {}
    for name in TABLES:
        if (path := folder / name).is_file():
            texts[name] = _content(path).splitlines()[1:]
            tables[name] = _whole_seeds(_READERS[name]([path]), path)
    return Kept(folder, tables, _read_records(folder / RUNS), _digests(texts))


def write_kept(kept: Kept, environments: Mapping[str, Mapping[str, str]]) -> None:
    """Write what is kept of an experiment: all of its files are replaced once all are written.

    Parameters
    ----------
    kept
        Its ``rows`` are made here.
    environments
        Versions of packages by the name of the environment, as from :func:`environment`. Those that a record of the
        store names are added to ``environments.csv``, and all others leave it.
    """
    texts = {name: _text(kept.tables[name]) for name in TABLES if name in kept.tables}
    rows = _digests({name: text.splitlines()[1:] for name, text in texts.items()})
    records = [
        {**dict.fromkeys(RUN_COLUMNS, ""), **kept.records[key], "rows": rows.get(key, "")}
        for key in sorted(kept.records, key=_place)
    ]
    texts[RUNS] = _csv(RUN_COLUMNS, records)
    above = kept.folder.parents[1] / ENVIRONMENTS
    used = {record["environment"] for record in records} | _environments_of_others(kept.folder)
    known = {name: told for name, told in {**environments, **read_environments(above)}.items() if name in used}
    versions = [
        dict(zip(ENVIRONMENT_COLUMNS, (name, *version), strict=True))
        for name in sorted(known)
        for version in sorted(known[name].items())
    ]
    contents = {above: _csv(ENVIRONMENT_COLUMNS, versions)} | {kept.folder / name: texts[name] for name in texts}
    with ExitStack() as stack:  # nothing takes its place before all is on disk
        for path, text in contents.items():
            if not path.is_file() or _content(path) != text:
                stack.enter_context(atomic(path)).write_bytes(_packed(path, text))
    for name in TABLES:
        if name not in texts:
            (kept.folder / name).unlink(missing_ok=True)


def environment(versions: Mapping[str, str]) -> str:
    """Name of an environment: the beginning of a digest of its versions."""
    return sha256(json.dumps(versions, sort_keys=True).encode()).hexdigest()[:12]


def read_environments(path: Path) -> dict[str, dict[str, str]]:
    """Versions of packages by the name of the environment; nothing where the file is not there."""
    found: dict[str, dict[str, str]] = {}
    for row in _read_words(path, ENVIRONMENT_COLUMNS) if path.is_file() else ():
        found.setdefault(row["environment"], {})[row["package"]] = row["version"]
    return found


def _read_records(path: Path) -> dict[Key, dict[str, str]]:
    records = {(row["method"], row["seed"]): row for row in _read_words(path, RUN_COLUMNS)} if path.is_file() else {}
    for (method, seed), row in records.items():
        if not (seed.isdecimal() or (method, seed) == (FLOOR, "")):
            raise TableError(f"{path}: '{seed}' is no seed of {method}")
        for column in COSTS:
            if row[column] and not _is_number(row[column]):
                raise TableError(f"{path}: the column '{column}' holds something that is not a number")
    return records


def _environments_of_others(folder: Path) -> set[str]:
    """Environments that records of the other experiments in the store name."""
    others = (path for path in folder.parents[1].glob(f"*/*/{RUNS}") if path.parent != folder)
    return {record["environment"] for path in others for record in _read_records(path).values()}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_words(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    import pandas as pd

    try:
        with open_plain(path) as file:
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' own parser errors are ValueErrors
        raise TableError(f"{path}: not a table ({' '.join(str(error).split())})") from None
    for column in columns:
        if column not in table:
            raise TableError(f"{path}: the column '{column}' is missing")
    return [{str(name): str(cell) for name, cell in row.items()} for row in table[list(columns)].to_dict("records")]


def _whole_seeds(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    import pandas as pd

    if not pd.api.types.is_integer_dtype(table["seed"]):
        raise TableError(f"{path}: the column 'seed' holds something that is not a whole number")
    return table


def _keys(table: pd.DataFrame) -> list[Key]:
    return [
        (method, "" if method == FLOOR else str(seed))
        for method, seed in zip(table["method"], table["seed"], strict=True)
    ]


def _place(key: Key) -> tuple[bool, str, int]:
    """Runs by name, their seeds by number; the floor last."""
    return key[0] == FLOOR, key[0], int(key[1] or -1)


def _ordered(table: pd.DataFrame, place: Mapping[Any, int]) -> pd.DataFrame:
    """Rows of the runs and seeds that have a place, in that order; those of one stay in theirs."""
    places = [place.get(key, -1) for key in _keys(table)]
    order = sorted((place, row) for row, place in enumerate(places) if place >= 0)
    return table.iloc[[row for _, row in order]].reset_index(drop=True)


def _text(table: pd.DataFrame) -> str:
    keys = _keys(table)
    order = sorted(range(len(keys)), key=lambda row: _place(keys[row]))
    return str(table.iloc[order].to_csv(index=False, lineterminator="\n"))


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    import pandas as pd

    return str(pd.DataFrame(list(rows), columns=list(columns)).to_csv(index=False, lineterminator="\n"))


def _packed(path: Path, text: str) -> bytes:
    """In gzip where the name says so, without a time and a name in its header."""
    return gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode()


def _content(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise TableError(f"{path}: not a table ({' '.join(str(error).split())})") from None


def _digests(lines: Mapping[str, Iterable[str]]) -> dict[Key, str]:
    """Of the rows of each run and seed in all tables, as they are written."""
    found: dict[Key, list[str]] = {}
    for name, of_table in lines.items():
        for key, line in _of_runs(of_table):
            found.setdefault(key, []).append(f"{name} {line}\n")
    return {key: sha256("".join(of_run).encode()).hexdigest() for key, of_run in found.items()}


def _of_runs(lines: Iterable[str]) -> Iterator[tuple[Key, str]]:
    for line in lines:
        _, method, seed, *_ = (*line.split(",", 3), "", "", "")
        yield (method, "" if method == FLOOR else seed), line
