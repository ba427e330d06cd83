"""Rank methods on every data set by the committed tables, for docs/leaderboard.md."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import pandas as pd

from am.metrics.direction import Better, in_words
from am.report.numbers import interval, number
from am.report.ranks import ranks
from am.report.tables import markdown_table

_HEAD = ("rank", "method", "mean [95 % interval]", "seeds", "NFE", "training s")


def ranked_by(table: pd.DataFrame) -> tuple[str, Better]:
    """The metric that ranks, and which way it is better: the first of the table, or PSNR where there is one.

    PSNR is of images that have a truth each. Distances between such predictions and these very images are far below
    the mean of any floor, and tell a blurred image from a sharp one badly.
    """
    paired = table[table["metric"] == "psnr"]
    metric, better = (table if paired.empty else paired).iloc[0][["metric", "better"]]
    return metric, better


def board(title: str, table: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """The part of the page about one experiment, from its table and its pairs.

    See :func:`am.report.tables.summarise` and :func:`am.report.pairs.compare_pairs`.
    """
    metric, better = ranked_by(table)
    table = table[(table["metric"] == metric) & (table["seeds"] > 0)]
    table = table.sort_values("mean", kind="stable", ascending=better == "lower")
    places = ranks(pairs[pairs["metric"] == metric], better).set_index("method")
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


def across(means: Mapping[str, pd.DataFrame], pairs: Mapping[str, pd.DataFrame]) -> str:
    """The table of methods that took part in several experiments, from the tables and pairs of each."""
    found: dict[str, list[tuple[bool, float]]] = {}
    titles: dict[str, str] = {}
    for name, table in means.items():
        metric, better = ranked_by(table)
        told = pairs[name][(pairs[name]["metric"] == metric) & pairs[name]["low"].notna()]
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
    return markdown_table(["method", "experiments", "none significantly closer", "mean place"], cells)
