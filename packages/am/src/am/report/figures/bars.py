"""Distances at each time, method by method, beside what others have published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from am.report.figures.style import FLOOR, PAGE, Look, looks, styled
from am.report.labels import Label, controls_first
from am.report.published import Confidence, Published, most_trusted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.105
"""Of a method, in inches."""
_HOLLOW: dict[Confidence, str] = {"official": "D", "restated": "s", "unverified": "o"}
_MARK: dict[str, Any] = {"markerfacecolor": "none", "linestyle": "none", "markeredgewidth": 0.6, "color": "black"}


def bars(
    summary: pd.DataFrame,
    over_time: pd.DataFrame,
    labels: Sequence[Label],
    metrics: Sequence[tuple[str, str]],
    times: Sequence[float],
    published: Sequence[Published] = (),
) -> Figure:
    """A row of panels for each metric, a panel for each time and one for the mean over all; in each, a line a method.

    Marks are means over seeds, bars their 95 % intervals, the band is the 95 % range of the floor. Controls come first,
    in grey. Hollow marks are published values, by confidence: diamonds official, squares restated, circles with a
    question mark unverified. Methods that have only such a value have a row too, and it says that they were not run.

    The scale is linear, unless a mean lies beyond ten times the floor: it is linear up to the floor's end then, and
    logarithmic beyond, for distances without bias are negative now and then.

    Parameters
    ----------
    summary, over_time
        As from :func:`am.report.tables.summarise` and :func:`am.report.tables.summarise_times`.
    metrics
        Name of each, and what it is, for the axis.
    times
        Those that have a panel; the mean is over all that there are.
    published
        What ours may be compared with.
    """
    from matplotlib.figure import Figure

    style = looks(labels)
    rows = {metric: _rows(labels, [entry for entry in published if entry.metric == metric]) for metric, _ in metrics}
    heights = [len(methods) for methods in rows.values()]
    with styled():
        figure = Figure(figsize=(PAGE, _ROW * sum(heights) + 0.36 * len(heights) + 0.5), layout="constrained")
        panels = figure.subplots(
            len(metrics), len(times) + 1, squeeze=False, sharex="row", sharey="row", height_ratios=heights
        )
        for (metric, quantity), line in zip(metrics, panels, strict=True):
            methods = rows[metric]
            mine = over_time[over_time["metric"] == metric]
            parts = [(f"$t$ = {t:.3g}", mine[(mine["time"] - t).abs() < 1e-9]) for t in times]
            parts.append(("mean over times", summary[summary["metric"] == metric]))
            for k, ((title, values), axes) in enumerate(zip(parts, line, strict=True)):
                _draw_methods(axes, values, list(methods), style)
                for y, method in enumerate(methods):
                    if entry := most_trusted(published, method, metric):
                        value = entry.value if k == len(times) else _at(entry, mine, times[k])
                        _draw_published(axes, value, y, entry.confidence)
                # Below each other where both stand: what is shown, and when.
                words = quantity if k == 0 else " "
                axes.set_title(f"{words}\n{title}" if metric == metrics[0][0] else words, fontsize=7)
                axes.grid(axis="x")
                axes.grid(visible=False, axis="y")
                axes.tick_params(axis="y", length=0, labelsize=6)
                axes.tick_params(axis="x", labelsize=6)
            line[0].set_yticks(range(len(methods)), list(methods.values()))
            line[0].set_ylim(len(methods) - 0.4, -0.6)
            _scale(line[0], summary[summary["metric"] == metric], mine)
        _legend(figure, published)
    return figure


def _rows(labels: Sequence[Label], published: Sequence[Published]) -> dict[str, str]:
    """What stands beside the row of each method."""
    ours = {label.method: label.title for label in controls_first(labels)}
    others = {entry.method: f"{entry.method} (not run)" for entry in published if entry.value is not None}
    return ours | {method: words for method, words in others.items() if method not in ours}


def _draw_methods(axes: Axes, values: pd.DataFrame, methods: Sequence[str], style: dict[str, Look]) -> None:
    if values[["floor_low", "floor_high"]].notna().all(axis=None) and len(values):
        axes.axvspan(values["floor_low"].iloc[0], values["floor_high"].iloc[0], **FLOOR)
    for row in values[values["seeds"] > 0].to_dict("records"):
        look, y = style[row["method"]], methods.index(row["method"])
        axes.plot([row["low"], row["high"]], [y, y], color=look.colour, linewidth=1.4, alpha=0.55)
        axes.plot(row["mean"], y, look.marker, color=look.colour, markersize=3.2, markeredgewidth=0)


def _draw_published(axes: Axes, value: float | None, y: int, confidence: Confidence) -> None:
    if value is None:
        return
    axes.plot(value, y, _HOLLOW[confidence], markersize=5, **_MARK)
    if confidence == "unverified":
        axes.plot(value, y, marker="$?$", color="black", markersize=3, markeredgewidth=0)


def _at(entry: Published, mine: pd.DataFrame, time: float) -> float | None:
    every = sorted(mine["time"].unique())
    return entry.at_times[every.index(min(every, key=lambda t: abs(t - time)))] if entry.at_times else None


def _scale(axes: Axes, summary: pd.DataFrame, over_time: pd.DataFrame) -> None:
    from math import ceil, floor, log10

    farthest = max(summary["mean"].max(), over_time["mean"].max())
    end = float(over_time[["floor_low", "floor_high"]].abs().to_numpy().max())
    if not farthest > 10 * end:
        return
    axes.set_xscale("symlog", linthresh=end, linscale=0.7)
    axes.autoscale_view()
    low, high = axes.get_xlim()
    decades = [10.0**k for k in range(ceil(log10(end)), floor(log10(high)) + 1)]
    ticks = [tick for tick in (*(-decade for decade in decades), 0, *decades) if low < tick < high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def _legend(figure: Figure, published: Sequence[Published]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Any] = [
        Line2D([], [], color="0.3", marker="o", markersize=3.2, linewidth=1.4, label="mean, 95 % interval"),
        Patch(**FLOOR, label="floor, 95 %"),
    ]
    there = {entry.confidence for entry in published if entry.value is not None}
    for confidence, marker in _HOLLOW.items():
        if confidence in there:
            entries.append(Line2D([], [], marker=marker, markersize=5, **_MARK, label=f"published, {confidence}"))
    if "unverified" in there:
        hollow = entries.pop()
        inside = Line2D([], [], color="black", marker="$?$", markersize=3, markeredgewidth=0, linestyle="none")
        entries.append((hollow, inside))
    words = [entry.get_label() if not isinstance(entry, tuple) else entry[0].get_label() for entry in entries]
    figure.legend(entries, words, loc="outside lower center", ncols=len(entries), handlelength=1.6)
