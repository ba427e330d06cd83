"""Rank methods on every data set by the committed tables, as a page of the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from am.config import ConfigError
from am.results.direction import Better, in_words
from am.results.files import write_text
from am.results.numbers import interval, number
from am.results.pairs import COLUMNS
from am.results.ranks import ranks
from am.results.shown_tables import read_shown
from am.results.tables import markdown_table

_WORDS = ("experiment", "metric", "better", "method", "title")
_NUMBERS = ("mean", "low", "high", "seeds", "floor_mean", "nfe", "train_seconds")
_HEAD = ("rank", "method", "mean [95 % interval]", "seeds", "NFE", "training s")
_INTRODUCTION = """# Leaderboard

Made by `am leaderboard` from the tables of `results/expected/`; a test compares the two. Each experiment at each scale
is ranked by its leading metric, or by PSNR where each image has a truth; lower is better, unless it is said beside it.
Two methods are compared by the same seeds on the same points, beyond the luck of both. A method's rank is one more than
the number of methods that are nearer to the truth, to the number of methods that it is not nearer than, itself among
them: those that cannot be told apart share ranks. All comparisons of a method hold together with 95 %, and so does its
rank ([simulated](decisions/intervals.md)); tables of pairs tell more apart, where each comparison errs with 5 %. One
seed has no interval and no rank, controls bound the others and have none. NFE counts evaluations of the learned field
for all samples together; costs are empty where metrics have no record.
"""
_ACROSS = """## Across experiments

Methods that took part in several that had three methods or more: in how many of them no other is told to be nearer to
the truth, and their mean place by the means alone, from 0 for the first to 1 for the last. Experiments are few, some
share their cells, and settings of a method differ between them: this is a summary of what follows, no test of its own.

"""
_SUBMITTING = """## To submit a row

1. [Add the method](adding-a-method.md), and a row for it in the experiment under `config/experiments/`.
2. Run the experiment with the seeds of its scale: `make reproduce SCALE=laptop`.
3. From a clean commit, `am keep --scale laptop <experiment>/<run>` takes its results into `results/expected/`.
4. `am review --accept` writes the tables, `am leaderboard` this page. `make verify` must then end without a `FAULT:`.
5. Commit all of it: the difference shows what changed.
"""


def leaderboard(kept: Path, out: Path) -> None:
    """Write the page ``out`` from ``<scale>/tables/<experiment>.csv`` in ``kept``.

    Raises
    ------
    ConfigError
        There are no tables.
    TableError
        One cannot be read.
    """
    files = sorted(kept.glob("*/tables/*.csv"))
    pairs_of = {file.with_stem(f"{file.stem}_pairs"): file for file in files}
    means = {file: read_shown(file, _WORDS, _NUMBERS, ["control"]) for file in files if file not in pairs_of}
    pairs: dict[Path, pd.DataFrame | None] = dict.fromkeys(means)
    for file in (file for file in files if file in pairs_of):
        pairs[pairs_of[file]] = read_shown(file, COLUMNS[:4], COLUMNS[4:8], notes=COLUMNS[8:], empty=True)
    boards = [board(f"{file.stem} ({file.parents[1].name})", table, pairs[file]) for file, table in means.items()]
    if not boards:
        raise ConfigError(f"{kept}: there are no tables to rank methods by")
    write_text("\n".join([_INTRODUCTION, across(means, pairs), *boards, _SUBMITTING]), out)


def ranked_by(table: pd.DataFrame) -> tuple[str, Better]:
    """The metric that ranks, and which way it is better: the first of the table, or PSNR where there is one.

    PSNR is of images that have a truth each. Distances between such predictions and these very images are far below
    the mean of any floor, and tell a blurred image from a sharp one badly.
    """
    paired = table[table["metric"] == "psnr"]
    metric, better = (table if paired.empty else paired).iloc[0][["metric", "better"]]
    return metric, better


def board(title: str, table: pd.DataFrame, pairs: pd.DataFrame | None) -> str:
    """The part of the page about one experiment, from its table and its pairs, if it has some.

    See :func:`am.results.tables.summarise` and :func:`am.results.pairs.compare_pairs`.
    """
    metric, better = ranked_by(table)
    table = table[(table["metric"] == metric) & (table["seeds"] > 0)]
    table = table.sort_values("mean", kind="stable", ascending=better == "lower")
    leading = pairs[pairs["metric"] == metric] if pairs is not None else pd.DataFrame(columns=COLUMNS)
    places = ranks(leading, better).set_index("method")
    rows = [
        [
            _rank(row, places),
            f"*control: {row['title']}*" if row["control"] else row["title"],
            interval(row["mean"], row["low"], row["high"], row["seeds"]),
            str(row["seeds"]),
            number(row["nfe"]),
            number(row["train_seconds"]),
        ]
        for row in table.to_dict("records")
    ]
    floor = number(table["floor_mean"].iloc[0])
    return f"## {title}\n\nMetric: {metric}{in_words(better)}. Floor: {floor}.\n\n{markdown_table(_HEAD, rows)}"


def _rank(row: Any, places: pd.DataFrame) -> str:
    if row["control"] or pd.isna(row["low"]):
        return "—"
    if row["method"] not in places.index:
        return "1"  # there is no other
    low, high = places.loc[row["method"], ["low", "high"]]
    return f"{low}" if low == high else f"{low} to {high}"


def across(means: Mapping[Path, pd.DataFrame], pairs: Mapping[Path, pd.DataFrame | None]) -> str:
    """The part of the page about methods in several experiments, from the tables and pairs of each."""
    found: dict[str, list[tuple[bool, float]]] = {}
    titles: dict[str, str] = {}
    for name, table in means.items():
        metric, better = ranked_by(table)
        theirs = pairs[name]
        if theirs is None:
            continue
        told = theirs[(theirs["metric"] == metric) & theirs["low"].notna()]
        titles |= dict(zip(table["method"], table["title"], strict=True))
        places = ranks(told, better)
        if len(places) < 3:
            continue
        for row in places.to_dict("records"):
            found.setdefault(row["method"], []).append((row["low"] == 1, (row["rank"] - 1) / (len(places) - 1)))
    several = {method: places for method, places in found.items() if len(places) > 1}
    rows = sorted(
        [
            (fmean(place for _, place in places), titles[method], len(places), sum(first for first, _ in places))
            for method, places in several.items()
        ]
    )
    cells = [[title, str(count), str(first), f"{place:.2f}"] for place, title, count, first in rows]
    return _ACROSS + markdown_table(["method", "experiments", "none told to be nearer", "mean place"], cells)
