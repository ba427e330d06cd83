"""Methods in pairs: which is nearer to the truth, by the same seeds on the same points."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from am.metrics.direction import Better, ahead
from am.report.estimates import estimate
from am.report.labels import Label
from am.report.numbers import interval
from am.report.ranks import together
from am.report.tables import by_run, markdown_table, means, over_blocks

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("experiment", "metric", "method", "other", "difference", "low", "high", "seeds", "nearer", "ranked")


def compare_pairs(
    experiment: str,
    metrics: pd.DataFrame,
    labels: Sequence[Label],
    blocks: pd.DataFrame | None = None,
    higher: Collection[str] = (),
) -> pd.DataFrame:
    """One row a metric and pair of methods, controls left out: the mean over seeds of the difference of their values.

    A seed's value is its mean over times, so a difference is between the same start, the same truth and the same
    times. Intervals are those of :func:`am.report.estimates.estimate`, each by itself: over seeds, and over cells
    where all seeds share them. ``nearer`` is the method of the better value where the interval does not hold zero, and
    empty where it does, or where there are fewer than two seeds. ``ranked`` is the same of a wider interval, with which
    all comparisons of a method hold at 95 % together (:func:`am.report.ranks.together`).

    Parameters
    ----------
    metrics
        Rows of ``metrics.csv``; those of other experiments are left out.
    blocks
        Rows of ``blocks.csv``.
    higher
        Metrics of which higher values are better.
    """
    import pandas as pd

    mine = metrics[metrics["experiment"] == experiment]
    of_run = by_run(experiment, blocks)
    competing = [label.method for label in labels if not label.control]
    rows = []
    for metric, values in mine.groupby("metric", sort=False):
        of_seeds = means(values.groupby(["method", "seed"])["value"]).unstack("seed")
        without = {str(name): over_blocks(of_run.get((metric, name)), own) for name, own in values.groupby("method")}
        better: Better = "higher" if metric in higher else "lower"
        there = [method for method in competing if method in of_seeds.index]
        for method, other in combinations(there, 2):
            differences = (of_seeds.loc[method] - of_seeds.loc[other]).dropna()
            if not len(differences):
                continue
            each, both = (
                estimate(pd.Series(differences.to_numpy(float)), without[method] - without[other], level)
                for level in (0.95, together(len(there)))
            )
            told = (_nearer(method, other, found["low"], found["high"], better) for found in (each, both))
            key = (experiment, metric, method, other)
            rows.append((*key, each["mean"], each["low"], each["high"], each["seeds"], *told))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _nearer(method: str, other: str, low: float, high: float, better: Better) -> str:
    return method if ahead(low, high, 0, 0, better) else other if ahead(0, 0, low, high, better) else ""


def markdown_pairs(pairs: pd.DataFrame, labels: Sequence[Label], protocol: str = "") -> str:
    """The pairs that the leading metric tells apart, and how many it does not."""
    titles = {label.method: label.title for label in labels}
    if pairs.empty:
        return "There are no two methods to compare.\n"
    experiment, metric = pairs.iloc[0][["experiment", "metric"]]
    leading = pairs[pairs["metric"] == metric]
    told = leading[leading["nearer"] != ""]
    held = int((leading["ranked"] != "").sum())
    rows = []
    for row in told.to_dict("records"):
        farther = row["other"] if row["nearer"] == row["method"] else row["method"]
        low, high = sorted((abs(row["low"]), abs(row["high"])))
        by = interval(abs(row["difference"]), low, high, row["seeds"])
        rows.append([titles[row["nearer"]], titles[farther], by])
    heading = f"**{experiment}, {metric}**" + f" (protocol {protocol})" * bool(protocol)
    table = markdown_table(["nearer to the truth", "than", "by [95 % interval]"], rows)
    return (
        f"{heading}\n\n{table}\nOf {len(leading)} pairs, {len(told)} are told apart by the same seeds on the same "
        "points; intervals are each by itself, and hold the luck of the points too where all seeds share them. "
        f"Where all comparisons of a method must hold together with 95 %, {held} are.\n"
    )
