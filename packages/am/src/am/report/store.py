"""The store of reference results: tidy tables of all runs, and a record of each.

``<scale>/<file>/`` holds :data:`TABLES` and ``runs.csv`` of all experiments that ``config/experiments/<file>.yaml``
defines: the file's own and its variants. ``environments.csv`` above the scales lists the versions of packages once.
Each file is one table, its rows sorted by experiment, run and seed. The same rows give the same bytes.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

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
"""Tables of a folder, and their columns. Only the first must be there; it holds the floor too."""
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
_Key = tuple[str, str, str]
"""The same, after the experiment."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Kept:
    """What is kept of an experiment at a scale."""

    folder: Path
    """Its files hold rows of other experiments too."""
    experiment: str
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """Rows of the experiment by file, as :data:`TABLES` names them; of those files that have some."""
    records: Mapping[Key, Mapping[str, str]] = field(default_factory=dict)
    """Rows of ``runs.csv``."""
    written: Mapping[Key, str] = field(default_factory=dict)
    """Digest of the rows that lie in the tables, as ``rows`` of ``runs.csv`` should tell."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that hold rows of it."""
        there = [name for name in TABLES if name in self.tables]
        return tuple(self.folder / name for name in (*there, *([RUNS] if self.records else [])))

    @property
    def keys(self) -> list[Key]:
        """All runs and seeds that have metrics, sorted."""
        metrics = self._table("metrics.csv")
        return sorted(dict.fromkeys(_keys(metrics)), key=lambda key: _place(self.experiment, *key))

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

    def lines(self, name: str) -> list[str]:
        """The rows of a table as they are written."""
        return self._table(name).to_csv(index=False, header=False, lineterminator="\n").splitlines()

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
    """Whether a folder is one of the store, of a file of experiments at a scale."""
    return (folder / "metrics.csv").is_file()


def read_kept(folder: Path) -> dict[str, Kept]:
    """Read what is kept in a folder, by experiment; nothing where the folder is not there.

    Raises
    ------
    TableError
        A table is none, lacks a column, or has words where numbers belong.
    """
    tables: dict[str, dict[str, pd.DataFrame]] = {}
    lines: dict[str, list[str]] = {}
    for name in TABLES:
        if (path := folder / name).is_file():
            table, lines[name] = _read_table(path)
            for experiment, rows in table.groupby("experiment"):
                tables.setdefault(str(experiment), {})[name] = rows.reset_index(drop=True)
    records = _by_experiment(_read_records(folder / RUNS))
    written = _by_experiment(_digests(lines))
    return {
        name: Kept(folder, name, tables.get(name, {}), records.get(name, {}), written.get(name, {}))
        for name in sorted({*tables, *records})
    }


def write_kept(new: Collection[Kept], environments: Mapping[str, Mapping[str, str]]) -> None:
    """Write rows of runs and seeds into the store, in place of those of the same; the lines of all others stay.

    Files are replaced once all of them are written.

    Parameters
    ----------
    new
        Of one store. The ``rows`` of its records are made here.
    environments
        Versions of packages by the name of the environment, as from :func:`environment`. Those that a record of the
        store names are added to ``environments.csv``, and all others leave it.

    Raises
    ------
    TableError
        A table that is there cannot be read.
    """
    (store,) = {kept.folder.parents[1] for kept in new}
    contents: dict[Path, str] = {}
    records: list[Mapping[str, str]] = []
    for folder in sorted({kept.folder for kept in new}):
        tables, of_folder = _joined(folder, [kept for kept in new if kept.folder == folder])
        contents |= {**tables, folder / RUNS: _csv(RUN_COLUMNS, of_folder)}
        records += of_folder
    for path in store.glob(f"*/*/{RUNS}"):
        records += _read_records(path).values() if path not in contents else ()
    known = {**environments, **read_environments(store / ENVIRONMENTS)}
    versions = [
        dict(zip(ENVIRONMENT_COLUMNS, (name, *version), strict=True))
        for name in sorted({record["environment"] for record in records} & known.keys())
        for version in sorted(known[name].items())
    ]
    contents[store / ENVIRONMENTS] = _csv(ENVIRONMENT_COLUMNS, versions)
    with ExitStack() as stack:  # nothing takes its place before all is on disk
        for path, text in contents.items():
            if text and not (path.is_file() and _content(path) == text):
                stack.enter_context(atomic(path)).write_bytes(_packed(path, text))
    for path, text in contents.items():
        if not text:
            path.unlink(missing_ok=True)


def environment(versions: Mapping[str, str]) -> str:
    """Name of an environment: the beginning of a digest of its versions."""
    return sha256(json.dumps(versions, sort_keys=True).encode()).hexdigest()[:12]


def read_environments(path: Path) -> dict[str, dict[str, str]]:
    """Versions of packages by the name of the environment; nothing where the file is not there."""
    found: dict[str, dict[str, str]] = {}
    for row in _read_words(path, ENVIRONMENT_COLUMNS) if path.is_file() else ():
        found.setdefault(row["environment"], {})[row["package"]] = row["version"]
    return found


def _joined(folder: Path, new: Sequence[Kept]) -> tuple[dict[Path, str], list[Mapping[str, str]]]:
    """Tables of a folder, empty without rows, and its records: what lies there, with ``new`` in place of its like."""
    replaced = {(kept.experiment, *key) for kept in new for key in (*kept.keys, *kept.records)}
    ours = {name: [line for kept in new for line in kept.lines(name)] for name in TABLES}
    texts = {}
    for name, columns in TABLES.items():
        there = _read_table(path)[1] if (path := folder / name).is_file() else []
        lines = [*(line for line in there if _key(line) not in replaced), *ours[name]]
        lines.sort(key=lambda line: _place(*_key(line)))
        texts[path] = "\n".join([",".join(columns), *lines, ""]) if lines else ""
    records: dict[_Key, Mapping[str, str]] = {
        key: record for key, record in _read_records(folder / RUNS).items() if key not in replaced
    }
    rows = _digests(ours)
    for kept in new:
        for (run, seed), record in kept.records.items():
            key = kept.experiment, run, seed
            records[key] = {**dict.fromkeys(RUN_COLUMNS, ""), **record, "rows": rows.get(key, "")}
    return texts, [records[key] for key in sorted(records, key=lambda key: _place(*key))]


def _read_table(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Its rows, and the lines that they are written as."""
    import pandas as pd

    head, *lines = _content(path).splitlines() or [""]
    table = _READERS[path.name]([path])
    if not pd.api.types.is_integer_dtype(table["seed"]):
        raise TableError(f"{path}: the column 'seed' holds something that is not a whole number")
    if head != (expected := ",".join(TABLES[path.name])):
        raise TableError(f"{path}: its columns are not {expected}")
    return table, lines


def _read_records(path: Path) -> dict[_Key, dict[str, str]]:
    rows = _read_words(path, RUN_COLUMNS) if path.is_file() else []
    records = {(row["experiment"], row["method"], row["seed"]): row for row in rows}
    for (_, method, seed), row in records.items():
        if not (seed.isdecimal() or (method, seed) == (FLOOR, "")):
            raise TableError(f"{path}: '{seed}' is no seed of {method}")
        for column in COSTS:
            if row[column] and not _is_number(row[column]):
                raise TableError(f"{path}: the column '{column}' holds something that is not a number")
    return records


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


def _keys(table: pd.DataFrame) -> list[Key]:
    return [
        (method, "" if method == FLOOR else str(seed))
        for method, seed in zip(table["method"], table["seed"], strict=True)
    ]


def _place(experiment: str, run: str, seed: str) -> tuple[str, bool, str, int]:
    """Experiments and runs by name, seeds by number; the floor of an experiment last."""
    return experiment, run == FLOOR, run, int(seed or -1)


def _ordered(table: pd.DataFrame, place: Mapping[Any, int]) -> pd.DataFrame:
    """Rows of the runs and seeds that have a place, in that order; those of one stay in theirs."""
    places = [place.get(key, -1) for key in _keys(table)]
    order = sorted((place, row) for row, place in enumerate(places) if place >= 0)
    return table.iloc[[row for _, row in order]].reset_index(drop=True)


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


def _digests(lines: Mapping[str, Iterable[str]]) -> dict[_Key, str]:
    """Of the rows of each run and seed in all tables, as they are written."""
    found: dict[_Key, list[str]] = {}
    for name, of_table in lines.items():
        for line in of_table:
            found.setdefault(_key(line), []).append(f"{name} {line}\n")
    return {key: sha256("".join(of_run).encode()).hexdigest() for key, of_run in found.items()}


def _key(line: str) -> _Key:
    experiment, method, seed, *_ = (*line.split(",", 3), "", "", "")
    return experiment, method, "" if method == FLOOR else seed


def _by_experiment(found: Mapping[_Key, _T]) -> dict[str, dict[Key, _T]]:
    parts: dict[str, dict[Key, _T]] = {}
    for (experiment, run, seed), value in found.items():
        parts.setdefault(experiment, {})[run, seed] = value
    return parts
