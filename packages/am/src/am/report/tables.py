"""From the metrics of all runs to the tables that people read."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from am.io.files import write_text
from am.io.provenance import Origin, read_provenance, write_origin
from am.io.tidy import TableError, write_tidy
from am.metrics.direction import ahead, in_words
from am.report.estimates import estimate, next_value
from am.report.labels import Label, controls_first
from am.report.numbers import interval, number, with_spread
from am.report.published import Published, most_trusted

if TYPE_CHECKING:
    import pandas as pd
    from pandas.core.groupby import SeriesGroupBy

COSTS = ("nfe", "train_seconds", "sample_seconds")
"""Columns that tell what a run cost."""
BEYOND_FLOOR = " (!)"
"""Behind a mean that is better than one more repeat of the floor would be."""


def costs_of(metrics: Mapping[Path, pd.DataFrame]) -> pd.DataFrame:
    """What runs cost, from the ``provenance.json`` beside each ``metrics.csv`` that has one.

    Parameters
    ----------
    metrics
        Rows of each file.

    Returns
    -------
    A row a run: experiment, method, seed, nfe, train_seconds, sample_seconds.
    """
    import pandas as pd

    rows = []
    for path, table in metrics.items():
        record = path.with_name("provenance.json")
        if record.exists():
            provenance = read_provenance(record)
            runs = table[["experiment", "method", "seed"]].drop_duplicates()
            costs = {name: provenance[name] for name in COSTS}  # type: ignore[literal-required]
            rows += [{**run, **costs} for run in runs.to_dict("records")]
    return pd.DataFrame(rows, columns=["experiment", "method", "seed", *COSTS]).astype(dict.fromkeys(COSTS, float))


def summarise(
    experiment: str,
    metrics: pd.DataFrame,
    floor: pd.DataFrame,
    labels: Sequence[Label],
    published: Sequence[Published] = (),
    costs: pd.DataFrame | None = None,
    blocks: pd.DataFrame | None = None,
    higher: Collection[str] = (),
    draws: pd.DataFrame | None = None,
    positive: Collection[str] = (),
) -> pd.DataFrame:
    """One row a metric and method: the mean over seeds of each seed's mean over times.

    Intervals are those of :func:`am.report.estimates.estimate`. The floor is taken at the same
    times and sizes as the method's values; per repeat it is a mean over times too. A method without
    runs has a row with no seeds. A metric that is NaN anywhere is NaN.

    Parameters
    ----------
    metrics, floor
        Rows of ``metrics.csv`` and ``floor.csv``; those of other experiments are left out.
    costs
        As from :func:`costs_of`.
    blocks
        Rows of ``blocks.csv``.
    higher
        Metrics of which higher values are better.
    draws
        Rows of ``draws.csv``.
    positive
        Metrics that cannot be negative, whose intervals are those of the logarithm.

    Raises
    ------
    TableError
        Seeds of a method were evaluated at different times or sizes, a value stands twice, or a method
        has no label.
    """
    import pandas as pd

    metrics, floor = _of(experiment, metrics), _of(experiment, floor)
    _check_labels(metrics, labels)
    blocks_of, draws_of, floor_of = by_run(experiment, blocks), by_run(experiment, draws), _Floors(floor)
    rows = []
    for metric in dict.fromkeys([*metrics["metric"], *(entry.metric for entry in published)]):
        for label in controls_first(labels):
            mine = metrics[(metrics["metric"] == metric) & (metrics["method"] == label.method)]
            design = _design(mine)
            entry = most_trusted(published, label.method, metric)
            rows.append(
                {
                    **_key(experiment, metric, label, higher),
                    **estimate(
                        means(mine.groupby("seed")["value"]),
                        over_blocks(blocks_of.get((metric, label.method)), mine),
                        positive=metric in positive,
                    ),
                    "sampler_sd": over_draws(draws_of.get((metric, label.method)), mine),
                    "times": len(design),
                    "n_samples_min": design["n_samples"].min(),
                    "n_samples_max": design["n_samples"].max(),
                    **floor_of(metric, design),
                    **_cost(costs, experiment, label),
                    "published": entry and entry.value,
                    "published_spread": entry and entry.spread,
                    "published_spread_of": entry and entry.spread_of,
                    "confidence": entry and entry.confidence,
                }
            )
    return _flagged(pd.DataFrame(rows))


def summarise_times(
    experiment: str,
    metrics: pd.DataFrame,
    floor: pd.DataFrame,
    labels: Sequence[Label],
    blocks: pd.DataFrame | None = None,
    higher: Collection[str] = (),
    draws: pd.DataFrame | None = None,
    positive: Collection[str] = (),
) -> pd.DataFrame:
    """One row a metric, method and time: the mean over seeds, its interval and the floor; see :func:`summarise`.

    Metrics without a time are left out.
    """
    import pandas as pd

    metrics, floor = _of(experiment, metrics), _of(experiment, floor)
    _check_labels(metrics, labels)
    blocks_of, draws_of, floor_of = by_run(experiment, blocks), by_run(experiment, draws), _Floors(floor)
    rows = []
    for metric in metrics["metric"].unique():
        for label in controls_first(labels):
            mine = metrics[(metrics["metric"] == metric) & (metrics["method"] == label.method)]
            for _, design in _design(mine).groupby("time"):
                here = mine.merge(design, on=["time", "n_samples"])
                rows.append(
                    {
                        **_key(experiment, metric, label, higher),
                        "time": design["time"].item(),
                        **estimate(
                            here.set_index("seed")["value"],
                            over_blocks(blocks_of.get((metric, label.method)), here),
                            positive=metric in positive,
                        ),
                        "sampler_sd": over_draws(draws_of.get((metric, label.method)), here),
                        "n_samples": design["n_samples"].item(),
                        **floor_of(metric, design),
                    }
                )
    return _flagged(pd.DataFrame(rows))


def markdown(summary: pd.DataFrame, protocol: str = "") -> str:
    """The table of :func:`summarise`, a part a metric, controls first; headings name the ``protocol`` followed."""
    luck = "sd: seeds, sampler, cells"
    head = ["method", "mean [95 % interval]", "seeds", luck, "samples", "floor", "NFE", "training s", "published"]
    parts = []
    for _, rows in summary.groupby(["experiment", "metric"], sort=False):
        cells = [
            [
                _title(row),
                _ours(row),
                str(row["seeds"]),
                _luck(row),
                _sizes(row),
                with_spread(row["floor_mean"], row["floor_sd"]),
                number(row["nfe"]),
                number(row["train_seconds"]),
                _published(row),
            ]
            for row in rows.to_dict("records")
        ]
        parts.append(f"{_heading(rows, protocol)}\n\n{markdown_table(head, cells)}{_failures(rows)}")
    return "\n".join([*parts, _LEGEND])


def markdown_times(over_time: pd.DataFrame, protocol: str = "") -> str:
    """The table of :func:`summarise_times`: methods down, times across, the floor below.

    Intervals are given as ± their half-width.
    """
    parts = []
    for _, rows in over_time.groupby(["experiment", "metric"], sort=False):
        times = sorted(rows["time"].unique())
        cells = []
        for _, mine in rows.groupby("method", sort=False):
            by_time = {row["time"]: row for row in mine.to_dict("records")}
            seeds = str(mine["seeds"].iloc[0])
            cells.append(
                [_title(mine.iloc[0]), seeds, *(_briefly(by_time[t]) if t in by_time else "—" for t in times)],
            )
        floors = rows.groupby("time")[["floor_mean", "floor_sd"]].first()
        cells.append(["*floor*", "", *(with_spread(*floors.loc[t]) for t in times)])
        head = ["method", "seeds", *(f"t = {t:g}" for t in times)]
        parts.append(f"{_heading(rows, protocol)}\n\n{markdown_table(head, cells)}")
    return "\n".join([*parts, f"± of methods: half of the interval. {_LEGEND}"])


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; what the cells hold cannot break it."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(_cell(cell) for cell in line) + " |\n" for line in lines)


def write_table(frame: pd.DataFrame, text: str, csv: Path, markdown: Path, made_of: Origin) -> None:
    """Write a table as CSV and as the Markdown ``text``, each with its sidecar."""
    write_tidy(frame, csv)
    write_origin(csv, made_of)
    write_text(text, markdown)
    write_origin(markdown, made_of)


_LEGEND = (
    "Means over seeds with 95 % intervals over seeds, and over cells too where all seeds share them; of metrics that "
    "cannot be negative, they are intervals of the logarithm. Standard "
    "deviations tell their luck apart: between seeds; between draws of particles from the same weights, where there "
    "are several; and the standard error over shared cells. Controls bound the methods. The floor is the distance "
    "of two samples of the truth at the same times and sizes, ± its standard deviation over repeats; a mean on "
    "the better side of all that one more repeat would be with 95 % is marked (!) and is a bug until explained.\n"
)


def _of(experiment: str, frame: pd.DataFrame) -> pd.DataFrame:
    # Times are decimals that were written and read: 0.30000000000000004 is 0.3.
    mine = frame[frame["experiment"] == experiment].copy()
    mine["time"] = mine["time"].astype(float).round(9)
    return mine


def _check_labels(metrics: pd.DataFrame, labels: Sequence[Label]) -> None:
    if unknown := sorted(set(metrics["method"]) - {label.method for label in labels}):
        raise TableError(f"there are metrics of the method '{unknown[0]}', which has no label")


def _key(experiment: str, metric: str, label: Label, higher: Collection[str]) -> dict[str, Any]:
    return {
        "experiment": experiment,
        "metric": metric,
        "better": "higher" if metric in higher else "lower",
        "method": label.method,
        "title": label.title,
        "control": label.control,
    }


def _design(rows: pd.DataFrame) -> pd.DataFrame:
    """Times and sizes at which every seed of a method was evaluated."""
    columns = ["time", "n_samples"]
    design = rows[columns].drop_duplicates()
    if len(rows) != len(design) * rows["seed"].nunique() or rows.duplicated(["seed", "time"]).any():
        where = " of ".join(rows.iloc[0][["metric", "method"]])
        raise TableError(f"{where}: seeds differ in times or sizes, or a value stands twice")
    return design


def means(values: SeriesGroupBy[Any, Any]) -> pd.Series[float]:
    """Mean of each group; NaN where one of its values is."""
    return values.mean().where(values.count() == values.size())


def over_blocks(blocks: pd.DataFrame | None, rows: pd.DataFrame) -> pd.Series[float]:
    """For each block, the mean over those ``rows`` that were measured without it too; empty where none were.

    ``rows`` and ``blocks``, as from :func:`by_run`, are of one metric and method.
    """
    import pandas as pd

    if blocks is None or blocks.empty or rows.empty:
        return pd.Series(dtype=float)
    return means(_about(rows, blocks).groupby("block")["value"])


def over_draws(draws: pd.DataFrame | None, rows: pd.DataFrame) -> float:
    """Standard deviation of the mean over ``rows`` between draws of particles from the same weights; NaN without some.

    The root of the mean over seeds of the variance within each: the luck of the sampler in one draw, and nothing of the
    luck of training or of points, which all draws of a seed share.
    """
    if draws is None or draws.empty or rows.empty:
        return math.nan
    of_draws = means(_about(rows, draws).groupby(["seed", "draw"])["value"])
    return math.sqrt(of_draws.groupby("seed").var().mean())


def _about(rows: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Those of ``more``, which are of the same metric and method, that measure the same as one of ``rows``."""
    wanted = {*zip(rows["seed"], rows["time"].round(9), strict=True)}
    return more[[one in wanted for one in zip(more["seed"], more["time"], strict=True)]]


def by_run(experiment: str, more: pd.DataFrame | None) -> dict[Any, pd.DataFrame]:
    """Rows of an experiment by metric and method, which is sooner than to look through all of them for each."""
    return {} if more is None else dict(iter(_of(experiment, more).groupby(["metric", "method"])))


class _Floors:
    """Looks up the floor of a metric at the times and sizes of a method; once for all methods that share them."""

    def __init__(self, floor: pd.DataFrame) -> None:
        self._of = dict(iter(floor.groupby("metric")))
        self._none = floor.iloc[:0]
        self._known: dict[Any, dict[str, Any]] = {}

    def __call__(self, metric: str, design: pd.DataFrame) -> dict[str, Any]:
        key = (metric, *map(tuple, design.to_numpy()))
        if key not in self._known:
            self._known[key] = _floor(self._of.get(metric, self._none), design)
        return self._known[key]


def _floor(floor: pd.DataFrame, design: pd.DataFrame) -> dict[str, Any]:
    """Mean and standard deviation, and where one more repeat falls; NaN where not all of ``design`` was measured."""
    matching = floor.merge(design, on=["time", "n_samples"])
    values = matching.groupby("seed")["value"]
    repeats = means(values)[values.size() == len(design)]
    low, high = next_value(repeats)
    return {
        "floor_mean": repeats.mean(),
        "floor_sd": repeats.std(),
        "floor_low": low,
        "floor_high": high,
        "floor_repeats": len(repeats),
    }


def _cost(costs: pd.DataFrame | None, experiment: str, label: Label) -> dict[str, float]:
    if costs is None:
        return dict.fromkeys(COSTS, math.nan)
    mine = costs[(costs["experiment"] == experiment) & (costs["method"] == label.method)]
    return {name: float(mine[name].mean()) for name in COSTS}


def _flagged(table: pd.DataFrame) -> pd.DataFrame:
    ends = ["mean", "mean", "floor_low", "floor_high", "better"]
    return table.assign(beyond_floor=[ahead(*row) for row in table[ends].to_numpy()]) if len(table) else table


def _heading(rows: pd.DataFrame, protocol: str) -> str:
    experiment, metric, better = rows.iloc[0][["experiment", "metric", "better"]]
    return f"**{experiment}, {metric}**{in_words(better)}" + f" (protocol {protocol})" * bool(protocol)


def _title(row: Any) -> str:
    return f"*control: {row['title']}*" if row["control"] else str(row["title"])


def _failures(rows: pd.DataFrame) -> str:
    """A line for each method with a run that failed."""
    if "failed" not in rows:
        return ""
    lines = [f"- *failed*: {row['title']}, {row['failed']}\n" for row in rows.to_dict("records") if row["failed"]]
    return "\n" + "".join(lines) if lines else ""


def _ours(row: Any) -> str:
    if not row["seeds"] and row.get("failed"):
        return "*failed*"
    return interval(row["mean"], row["low"], row["high"], row["seeds"]) + BEYOND_FLOOR * bool(row["beyond_floor"])


def _briefly(row: Any) -> str:
    return with_spread(row["mean"], (row["high"] - row["low"]) / 2) + BEYOND_FLOOR * bool(row["beyond_floor"])


def _luck(row: Any) -> str:
    parts = [number(row[part], row["mean"]) for part in ("seeds_sd", "sampler_sd", "cells_se")]
    return ", ".join(parts) if row["seeds"] else "—"


def _sizes(row: Any) -> str:
    low, high = row["n_samples_min"], row["n_samples_max"]
    if math.isnan(low):
        return "—"
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


def _published(row: Any) -> str:
    if not isinstance(row["confidence"], str):
        return "—"
    if row["confidence"] == "not recovered":
        return "not recovered"
    return f"{with_spread(row['published'], row['published_spread'], row['published_spread_of'])} ({row['confidence']})"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
