"""Write the numbers of pages from the store of reference results.

A page is Markdown. Comments, which no reader sees, say what is written between them::

    The energy distance of eAM is <!--v embryoid_mini eam energy-->9.01e-03<!--/v-->.

    <!-- table: methods "myoblast:energy=one step" "myoblast_all_step:energy=all steps" rows=am,eam -->
    (a table)
    <!-- end -->

    <!-- holds: embryoid_mini eam energy < embryoid_mini am energy -->

A value is named by ``EXPERIMENT METHOD METRIC [SHOWN]``:

- the experiment, at laptop scale, or with its scale, as ``paper/hydrogen``;
- the method, by the name of its run; ``floor``; or ``eam-am``, the difference of two, with an interval where they are
  compared in pairs;
- the metric, or ``nfe`` or ``train_seconds``;
- ``mean`` (the default), ``interval``, ``percent``, or a column of the table, as ``low``, ``high`` or ``seeds``.

``verdicts [VERDICT]`` counts comparisons with published numbers, and ``claims [VERDICT]`` rows of the page of claims;
``claims decided`` are those that are reproduced, better or worse. :data:`TABLES` are the kinds of tables. ``holds``
compares two values, or a value with a number, for a sentence that rests on it.
"""

from __future__ import annotations

import csv
import math
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from am.config import ConfigError, nearest, read_yaml
from am.io.files import write_text
from am.io.registry import read_registry
from am.report.numbers import interval, number, with_spread
from am.report.pairs import COLUMNS as PAIR_COLUMNS
from am.report.shown_tables import read_shown
from am.report.store import Kept, read_kept
from am.report.tables import COSTS, markdown_table
from am.steps import claims
from am.steps.leaderboard import across, board

if TYPE_CHECKING:
    import pandas as pd

_VALUE = re.compile(r"<!--v (.*?)-->(.*?)<!--/v-->")
_TABLE = re.compile(r"^<!-- table: ([^\n]*) -->\n(.*?)^<!-- end -->$", re.MULTILINE | re.DOTALL)
_HOLDS = re.compile(r"^<!-- holds: (.*?) ([<>]) (.*) -->$", re.MULTILINE)
_OPEN = re.compile(r"<!--v |<!-- table:|<!-- holds:")
_WORDS = ("experiment", "metric", "better", "method", "title")
_NUMBERS = ("mean", "low", "high", "seeds", "floor_mean", "floor_sd", *COSTS)
_COUNTED = ("verdicts", "claims")
_NONE = "—"


class Page(NamedTuple):
    """A page with its numbers as they are in the store."""

    text: str
    broken: list[str]
    """What the page says to hold, and does not."""


class Store:
    """The tables of ``results/expected/``, by experiment."""

    def __init__(self, kept: Path) -> None:
        self.kept = kept
        self._read: dict[Path, pd.DataFrame] = {}
        self.folder = cache(read_kept)
        """What is kept in a folder, by experiment; each is read once."""

    def means(self, experiment: str) -> pd.DataFrame:
        """A row a metric and method; see :func:`am.report.tables.summarise`."""
        scale, name = _scaled(experiment)
        table = self._table(self.kept / scale / "tables.csv", _WORDS, _NUMBERS, ["control"])
        mine = table[table["experiment"] == name]
        if mine.empty:
            known = table["experiment"].unique().tolist()
            raise ConfigError(f"{self.kept}: there is no experiment '{name}' at scale {scale}; {nearest(name, known)}")
        return mine.reset_index(drop=True)

    def pairs(self, experiment: str) -> pd.DataFrame:
        """A row a metric and pair of methods; see :func:`am.report.pairs.compare_pairs`."""
        self.means(experiment)  # of one method there are no pairs
        scale, name = _scaled(experiment)
        table = self._table(self.kept / scale / "pairs.csv", PAIR_COLUMNS[:4], PAIR_COLUMNS[4:8])
        return table[table["experiment"] == name].reset_index(drop=True)

    def experiments(self) -> dict[str, str]:
        """All that there are, ``<scale>/<name>``, by a title with the scale."""
        found: dict[str, str] = {}
        for file in sorted(self.kept.glob("*/tables.csv")):
            names = sorted(self._table(file, _WORDS, _NUMBERS, ["control"])["experiment"].unique())
            found |= {f"{name} ({file.parent.name})": f"{file.parent.name}/{name}" for name in names}
        return found

    def verdicts(self) -> pd.DataFrame:
        """A row a comparison with a published number."""
        table = self.judgements()
        return table[table["published"].notna()]

    def judgements(self) -> pd.DataFrame:
        """The same, and a row for each number that was not recovered."""
        table = self._table(self.kept / "verdict.csv", ("experiment", "title", "verdict"), ("published", "mean"))
        return table[table["claim"].notna()] if "claim" in table else table

    def over_time(self, experiment: str, metric: str, method: str) -> dict[float, float]:
        """Means over seeds by time."""
        rows = _where(self.results(experiment).tables["metrics.csv"], "metric", metric, experiment)
        rows = _where(rows, "method", method, experiment).astype({"time": float})
        return {float(time): float(values.mean()) for time, values in rows.groupby("time")["value"]}  # type: ignore[arg-type]

    def results(self, experiment: str) -> Kept:
        """All rows and records; none where nothing is kept."""
        scale, name = _scaled(experiment)
        # A variant lies in the folder of its file, whose name its own begins with: the longest such name comes first.
        for folder in sorted((self.kept / scale).glob("*"), reverse=True):
            if f"{name}_".startswith(f"{folder.name}_") and name in (found := self.folder(folder)):
                return found[name]
        return Kept(self.kept / scale / name, name)

    def row(self, experiment: str, method: str, metric: str) -> dict[str, Any]:
        """What is known of a method by a metric: mean, low, high, seeds, and the other columns of its table."""
        table = self.means(experiment)
        if metric in COSTS:
            table = table.assign(mean=table[metric], low=math.nan, high=math.nan)
        else:
            table = _where(table, "metric", metric, experiment)
        if method == "floor":
            known = table[table["seeds"] > 0].iloc[0]
            return {"mean": known["floor_mean"], "sd": known["floor_sd"]}
        first, _, second = method.partition("-")
        if not second:
            return dict(_where(table, "method", method, experiment).iloc[0])
        pairs = _where(self.pairs(experiment), "metric", metric, experiment)
        for sign, (a, b) in ((1, (first, second)), (-1, (second, first))):
            for row in pairs[(pairs["method"] == a) & (pairs["other"] == b)].to_dict("records"):
                ends = sorted([sign * row["low"], sign * row["high"]])
                return {"mean": sign * row["difference"], "low": ends[0], "high": ends[1], "seeds": row["seeds"]}
        mine, theirs = (self.row(experiment, name, metric) for name in (first, second))
        return {"mean": mine["mean"] - theirs["mean"], "low": math.nan, "high": math.nan, "seeds": mine["seeds"]}

    def _table(
        self, path: Path, words: Sequence[str], numbers: Sequence[str], flags: Sequence[str] = ()
    ) -> pd.DataFrame:
        if path not in self._read:
            self._read[path] = read_shown(path, words, numbers, flags, empty=True)
        return self._read[path]


def pages(files: Iterable[Path], kept: Path) -> tuple[list[Path], list[str]]:
    """Write the numbers of pages, in place.

    Parameters
    ----------
    files
        Pages, or folders of pages.
    kept
        The store of reference results.

    Returns
    -------
    The pages that changed, and a sentence for each thing that a page says to hold, and that does not.

    Raises
    ------
    ConfigError
        A page names something that is not in the store.
    TableError
        A table of the store cannot be read.
    """
    store = Store(kept)
    changed, broken = [], []
    for file in (page for path in files for page in ([path] if path.suffix else sorted(path.rglob("*.md")))):
        old = file.read_text(encoding="utf-8")
        try:
            new = render(old, store)
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from None
        broken += [f"{file}: {sentence}" for sentence in new.broken]
        if new.text != old:
            write_text(new.text, file)
            changed.append(file)
    return changed, broken


def render(text: str, store: Store) -> Page:
    """A page with the numbers of the store, and what it says to hold and does not.

    Raises
    ------
    ConfigError
        The page names something that is not in the store, or a comment is not as it should be.
    """
    prose = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)
    if prose != text:  # blocks of code stay as they are
        parts = re.split(r"(^ *```.*?^ *```$)", text, flags=re.MULTILINE | re.DOTALL)
        rendered = [render(part, store) if i % 2 == 0 else Page(part, []) for i, part in enumerate(parts)]
        return Page("".join(part.text for part in rendered), [one for part in rendered for one in part.broken])
    found = sum(len(pattern.findall(text)) for pattern in (_VALUE, _TABLE, _HOLDS))
    if found != len(_OPEN.findall(text)):
        raise ConfigError("a comment that asks for a number has no end, or is not written as am.steps.pages says")
    if re.search(r"^ *<!--v", text, re.MULTILINE):
        raise ConfigError("a line begins with <!--v, which would end its paragraph: break the line elsewhere")
    text = _VALUE.sub(lambda found: f"<!--v {found[1]}-->{_shown(found[1].split(), store)}<!--/v-->", text)
    text = _TABLE.sub(lambda found: f"<!-- table: {found[1]} -->\n{_table(found[1], store)}<!-- end -->", text)
    broken = []
    for left, sign, right in _HOLDS.findall(text):
        a, b = (_number(side.split(), store) for side in (left, right))
        if not (a < b if sign == "<" else a > b):
            broken.append(f"it no longer holds that {left} ({number(a)}) {sign} {right} ({number(b)})")
    return Page(text, broken)


def _shown(words: Sequence[str], store: Store) -> str:
    if words[0] in _COUNTED:
        return str(_counted(words, store))
    row, how = _found(words, store)
    return _cell(row, how)


def _number(words: Sequence[str], store: Store) -> float:
    if words[0] in _COUNTED:
        return _counted(words, store)
    if len(words) == 1:
        return float(words[0])
    row, how = _found(words, store)
    return float(row[how])


def _counted(words: Sequence[str], store: Store) -> int:
    if words[0] == "claims":
        return claims.counted(store, " ".join(words[1:]))
    verdicts = store.verdicts()["verdict"]
    return len(verdicts) if len(words) == 1 else int((verdicts == " ".join(words[1:])).sum())


def _found(words: Sequence[str], store: Store) -> tuple[dict[str, Any], str]:
    """The row of a value, and which of its columns is meant."""
    if not 3 <= len(words) <= 4:
        raise ConfigError(f"'{' '.join(words)}' is not EXPERIMENT METHOD METRIC [SHOWN]")
    row = store.row(*words[:3])
    how = words[3] if len(words) == 4 else "mean"
    known = [*row, "interval", "percent"]
    if how not in known:
        raise ConfigError(f"'{' '.join(words)}': there is no '{how}'; {nearest(how, known)}")
    return row, how


def _cell(row: dict[str, Any], how: str) -> str:
    if how == "seeds":
        return str(row[how])
    if how == "percent":
        share = 100 * row["mean"]
        return f"{share:.{0 if abs(share) >= 10 else 1}f} %"
    if how == "interval" and "sd" in row:
        return f"{_rounded(row, 'mean')} ± {_rounded(row, 'sd')}"
    if how == "interval" and row["low"] < row["high"]:
        return f"{_rounded(row, 'mean')} [{_rounded(row, 'low')}, {_rounded(row, 'high')}]"
    return _rounded(row, "mean" if how == "interval" else how)


def _rounded(row: Mapping[str, Any], name: str) -> str:
    """A number of a row: to the second digit of its error, four digits at most; three where there is no error."""
    error = row["sd"] if "sd" in row else (row["high"] - row["low"]) / 2
    hides_the_mean = row.get("low", 0) > 0 and error > 100 * row["mean"]
    if not error > 0 or hides_the_mean:  # or NaN
        return number(row[name])
    size = max(abs(row["mean"]), error)
    if not 1e-3 <= size < 1e5:
        return number(row[name], size)
    decimals = max(0, min(1 - math.floor(math.log10(error)), 3 - math.floor(math.log10(size))))
    return f"{round(row[name], decimals) + 0.0:.{decimals}f}"


# -- tables ----------------------------------------------------------------------------------------


def _table(command: str, store: Store) -> str:
    kind, *words = shlex.split(command)
    if kind not in TABLES:
        raise ConfigError(f"there is no table '{kind}'; {nearest(kind, TABLES)}")
    rows = next((word.removeprefix("rows=").split(",") for word in words if word.startswith("rows=")), [])
    return TABLES[kind](store, [word for word in words if not word.startswith("rows=")], rows)


class _Column(NamedTuple):
    """``EXPERIMENT:METRIC[:SHOWN][=heading]``."""

    experiment: str
    metric: str
    how: str
    heading: str


def _column(word: str) -> _Column:
    what, _, heading = word.partition("=")
    experiment, _, rest = what.partition(":")
    metric, _, how = rest.partition(":")
    if not metric:
        raise ConfigError(f"'{word}' is not EXPERIMENT:METRIC[:SHOWN][=heading]")
    return _Column(experiment, metric, how or "interval", heading or f"{experiment}, {metric}")


def _methods(store: Store, words: Sequence[str], rows: Sequence[str]) -> str:
    """A row a method, a column a metric of an experiment, and the floor."""
    columns = [_column(word) for word in words]
    titles: dict[str, str] = {}
    for column in columns:
        table = store.means(column.experiment)
        titles = {**titles, **dict(_titles(table)), **titles}
        if column.metric not in COSTS:
            _where(table, "metric", column.metric, column.experiment)
    if unknown := [name for name in rows if name not in (*titles, "floor")]:
        raise ConfigError(f"there is no method '{unknown[0]}'; {nearest(unknown[0], titles)}")

    def cell(name: str, column: _Column) -> str:
        try:
            row = store.row(column.experiment, name, column.metric)
        except ConfigError:  # the method has no part in this experiment
            return ""
        if math.isnan(row["mean"]) or (name == "floor" and column.metric in COSTS):
            return ""
        return _cell(row, "interval" if name == "floor" else "mean" if column.metric in COSTS else column.how)

    titles["floor"] = "*noise floor*"
    body = [[titles[name], *(cell(name, column) for column in columns)] for name in rows or titles]
    return markdown_table(["", *(column.heading for column in columns)], [row for row in body if any(row[1:])])


def _times(store: Store, words: Sequence[str], rows: Sequence[str]) -> str:
    """A row a metric and method, a column a time."""
    experiment, *metrics = words
    titles = dict(_titles(store.means(experiment)))
    body, times = [], dict[float, float]()
    for metric, _, heading in (word.partition("=") for word in metrics):
        for name in rows or titles:
            times = store.over_time(experiment, metric, name)
            body.append([f"{heading or metric}, {titles[name]}", *map(number, times.values())])
    return markdown_table(["", *(f"t = {time:.3g}" for time in times)], body)


def _pairs(store: Store, words: Sequence[str], rows: Sequence[str]) -> str:
    """A row an experiment and method: which others it is significantly closer to the truth than, and farther."""
    metric, *experiments = words
    body = []
    for word in experiments:
        experiment, _, heading = word.partition("=")
        titles = dict(_titles(store.means(experiment)))
        pairs = _where(store.pairs(experiment), "metric", metric, experiment)
        for name in rows:
            mine = pairs[(pairs["method"] == name) | (pairs["other"] == name)]
            others = [b if a == name else a for a, b in mine[["method", "other"]].itertuples(index=False)]
            winners = list(mine["nearer"])
            closer = [titles[other] for other, won in zip(others, winners, strict=True) if won == name]
            farther = [titles[other] for other, won in zip(others, winners, strict=True) if won == other]
            lists = (_list(found, len(others)) for found in (closer, farther))
            body.append([heading or experiment, titles[name], *lists])
    return markdown_table(["", "method", "significantly closer than", "significantly farther than"], body)


def _list(titles: Sequence[str], others: int) -> str:
    return f"all {others} others" if len(titles) == others > 1 else "; ".join(titles) or _NONE


def _verdicts(store: Store, words: Sequence[str], rows: Sequence[str]) -> str:
    """A row a comparison with a published number that was run; of the experiments that are named, or of all."""
    table = store.verdicts()
    if named := [word for word in words if word != "why"]:
        table = table[table["experiment"].str.rpartition(" (")[0].isin(named)]
    body = [
        [
            row["experiment"],
            row["title"],
            with_spread(row["published"], row["published_spread"]),
            interval(row["mean"], row["low"], row["high"], row["seeds"]),
            str(row["seeds"]),
            number(row["floor_mean"]),
            f"**{row['verdict']}**" if row["verdict"] == "reproduced" else row["verdict"],
            *([row["why"] + _noted(row)] if "why" in words else []),
        ]
        for row in table[table["seeds"] > 0].to_dict("records")
    ]
    head = ["experiment", "method", "published", "ours, mean [95 % interval]", "seeds", "noise floor", "verdict"]
    return markdown_table([*head, *(["why"] if "why" in words else [])], body)


def _noted(row: Mapping[Any, Any]) -> str:
    return f" Note: {row['note']}." if isinstance(row.get("note"), str) else ""


def _leaderboard(store: Store, words: Sequence[str], rows: Sequence[str]) -> str:
    """The table across experiments, or that of each of them."""
    names = store.experiments()
    means = {title: store.means(name) for title, name in names.items()}
    pairs = {title: store.pairs(name) for title, name in names.items()}
    if words == ["across"]:
        return across(means, pairs)
    return "\n" + "\n".join(board(title, means[title], pairs[title]) for title in names) + "\n"


def _csv(store: Store, words: Sequence[str], rows: Sequence[str]) -> str:
    """A table of measurements that are not in the store, from a file; its path begins at the project's root."""
    with Path(words[0]).open(encoding="utf-8", newline="") as file:
        head, *body = csv.reader(file)
    return markdown_table(head, body)


def _claims(store: Store, words: Sequence[str], rows: Sequence[str]) -> str:
    """A row for each claim of the sections that are named, or what the kept runs took, or by what they were made."""
    made = {"compute": claims.compute_table, "environments": claims.environments_table}
    return made[words[0]](store) if words and words[0] in made else claims.claims_table(store, words)


def _licences(store: Store, words: Sequence[str], rows: Sequence[str]) -> str:
    """A row for each source of the registry, and for each method that runs other programs."""
    registry = read_registry(Path("data/registry.yaml"))
    body = [[source.title, source.licence, source.citation.strip()] for source in registry.values()]
    for file in sorted(Path("workflow/benchmarks").glob("[!_]*/benchmark.yaml")):
        told = read_yaml(file)
        body.append([f"method {told['title']}", told["licence"], told["citation"]])
    return markdown_table(["asset", "licence", "source"], body)


TABLES: dict[str, Callable[[Store, Sequence[str], Sequence[str]], str]] = {
    "methods": _methods,
    "times": _times,
    "pairs": _pairs,
    "verdicts": _verdicts,
    "leaderboard": _leaderboard,
    "csv": _csv,
    "claims": _claims,
    "licences": _licences,
}
"""By kind: makes a table of the store from the words behind the kind, and from the methods of ``rows=a,b``."""


def _titles(table: pd.DataFrame) -> list[tuple[str, str]]:
    rows = table[["method", "title", "control"]].drop_duplicates("method").itertuples(index=False)
    return [(name, f"*control: {title}*" if control else title) for name, title, control in rows]


def _where(table: pd.DataFrame, column: str, name: str, experiment: str) -> pd.DataFrame:
    """Rows of a table about something, which must be there."""
    rows = table[table[column] == name]
    if rows.empty:
        raise ConfigError(f"{experiment} has no {column} '{name}'; {nearest(name, set(table[column]))}")
    return rows


def _scaled(experiment: str) -> tuple[str, str]:
    scale, _, name = experiment.rpartition("/")
    return scale or "laptop", name
