"""The figure of distances at each time: every mark stands where the tables say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from am.io.tidy import METRIC_COLUMNS
from am.report.figures.bars import bars
from am.report.figures.style import looks
from am.report.labels import Label
from am.report.published import Published
from am.report.tables import summarise, summarise_times

LABELS = [Label("am", "AM"), Label("cfm", "CFM"), Label("none", "no dynamics", control=True)]
TIMES = (0.25, 1.0)
LEVELS = {"am": 0.5, "cfm": 1.0, "none": 2.0, "floor": 0.4}


def rows(methods: tuple[str, ...], seeds: int, metric: str, level: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(len(methods))
    return pd.DataFrame(
        [
            ("e", method, seed, time, metric, level * LEVELS[method] * rng.uniform(0.9, 1.1), 10)
            for method in methods
            for seed in range(seeds)
            for time in TIMES
        ],
        columns=METRIC_COLUMNS,
    )


METRICS = pd.concat([rows(("am", "cfm", "none"), 3, metric) for metric in ("w1", "energy")])
FLOOR = pd.concat([rows(("floor",), 40, "w1"), rows(("floor",), 40, "energy", 0.01)])


def published(method: str, value: float, confidence: str, at_times: tuple[float, ...] = ()) -> Published:
    entry = {"method": method, "metric": "w1", "value": value, "confidence": confidence, "at_times": at_times}
    return Published.model_validate({**entry, "source": "s", "claim": "c"})


@pytest.fixture(scope="module")
def figure() -> Figure:
    theirs = [published("am", 0.6, "unverified"), published("other", 0.7, "restated", (0.6, 0.8))]
    tables = [table("e", METRICS, FLOOR, LABELS) for table in (summarise, summarise_times)]
    return bars(*tables, LABELS, [("w1", "$W_1$"), ("energy", "energy distance")], TIMES, theirs)


def panels(figure: Figure) -> list[list[Axes]]:
    return [figure.axes[:3], figure.axes[3:6]]


def marks(axes: Axes, marker: str) -> list[tuple[float, float]]:
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return [(float(np.asarray(line.get_xdata())[0]), float(np.asarray(line.get_ydata())[0])) for line in lines]


def interval(axes: Axes, y: int) -> list[float]:
    (line,) = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 2 and line.get_ydata()[0] == y]  # type: ignore[index]
    return list(np.asarray(line.get_xdata(), float))


def test_rows_are_methods_and_say_who_was_not_run(figure: Figure) -> None:
    names = [[text.get_text() for text in line[0].get_yticklabels()] for line in panels(figure)]
    assert names == [["no dynamics", "AM", "CFM", "other (not run)"], ["no dynamics", "AM", "CFM"]]
    titles = [axes.get_title(loc="left").split("\n")[-1] for axes in panels(figure)[0]]
    assert titles == ["$t$ = 0.25", "$t$ = 1", "mean over times"]
    for line, quantity in zip(panels(figure), ("$W_1$", "energy distance"), strict=True):
        assert line[0].get_title(loc="left").startswith(quantity)
        upper, lower = line[0].get_ylim()[::-1]
        assert upper < 0 < len(line[0].get_yticks()) - 1 < lower  # the first row is on top


def test_marks_and_intervals_are_those_of_the_tables(figure: Figure) -> None:
    style = looks(LABELS)
    summary, over_time = (table("e", METRICS, FLOOR, LABELS) for table in (summarise, summarise_times))
    for metric, line in zip(("w1", "energy"), panels(figure), strict=True):
        for time, axes in zip((*TIMES, None), line, strict=True):
            table = summary if time is None else over_time[over_time["time"] == time]
            table = table[table["metric"] == metric].set_index("method")
            for y, method in enumerate(("none", "am", "cfm")):
                row = table.loc[method]
                (mark,) = [at for at in marks(axes, style[method].marker) if at[1] == y and at[0] == row["mean"]]
                assert mark == (row["mean"], y)
                assert interval(axes, y) == [row["low"], row["high"]]
            (band,) = axes.patches
            assert isinstance(band, Rectangle)
            ends = (table["floor_low"].iloc[0], table["floor_high"].iloc[0])
            assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx(ends)


def test_published_values_are_hollow_and_doubt_is_shown(figure: Figure) -> None:
    first, last, mean = panels(figure)[0]
    assert [marks(axes, "s")[-1] for axes in (first, last, mean)] == [(0.6, 3), (0.8, 3), (0.7, 3)]
    assert marks(mean, "$?$") == [(0.6, 1)]
    assert (0.6, 1.0) in marks(mean, "o")
    assert marks(first, "$?$") == []  # of it, only the mean is known
    hollow = [line for line in mean.lines if line.get_markerfacecolor() == "none"]
    assert len(hollow) == 2
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["mean, 95 % interval", "floor, 95 %", "published, restated", "published, unverified"]
    assert not any(isinstance(line, Line2D) and line.get_markerfacecolor() == "none" for line in figure.axes[5].lines)


def test_the_axis_is_logarithmic_only_far_beyond_the_floor(figure: Figure) -> None:
    near, far = (line[0] for line in panels(figure))
    assert (near.get_xscale(), far.get_xscale()) == ("linear", "symlog")
    assert all(axes.get_xlim() == far.get_xlim() for axes in panels(figure)[1])
    assert far.get_xlim()[1] > 2.1
    assert far.get_xticks().tolist() == [0.01, 0.1, 1]
