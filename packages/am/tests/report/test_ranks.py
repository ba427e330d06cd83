"""Ranks from pairs, and the figure of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from scipy import stats

from am.io.tidy import METRIC_COLUMNS
from am.report.figures.method_ranks import method_ranks
from am.report.labels import Label
from am.report.pairs import compare_pairs
from am.report.ranks import ranks, together

LEVELS = {"d": 4.0, "a": 1.0, "c": 2.03, "b": 2.0}
LABELS = [Label(name, name.upper()) for name in LEVELS]


def metrics(seeds: int = 3, noise: float = 0.02, draw: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(draw)
    rows = [
        ("e", method, seed, 1.0, "w1", level + noise * rng.normal(), 10)
        for method, level in LEVELS.items()
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows, columns=METRIC_COLUMNS)


def test_methods_that_nothing_tells_apart_hold_each_others_ranks() -> None:
    found = ranks(compare_pairs("e", metrics(), LABELS), "lower").set_index("method")
    assert {method: tuple(found.loc[method, ["low", "high"]]) for method in LEVELS} == {
        "a": (1, 1),
        "b": (2, 3),
        "c": (2, 3),
        "d": (4, 4),
    }
    means = metrics().groupby("method")["value"].mean()
    assert dict(found["rank"]) == dict(means.rank())
    turned = ranks(compare_pairs("e", metrics(), LABELS, higher={"w1"}), "higher").set_index("method")
    assert dict(turned["rank"]) == dict(means.rank(ascending=False))
    assert tuple(turned.loc["d", ["low", "high"]]) == (1, 1)


def test_one_seed_leaves_every_rank_open() -> None:
    found = ranks(compare_pairs("e", metrics(seeds=1), LABELS), "lower")
    assert set(found["low"]) == {1}
    assert set(found["high"]) == {4}
    assert sorted(found["rank"]) == [1, 2, 3, 4]


def test_intervals_that_hold_together_miss_the_true_rank_in_a_twentieth_of_all_cases_at_most() -> None:
    """With differences at the edge of what three seeds can tell; comparisons of 95 % each miss it more often."""
    truth = {"a": 1, "b": 2, "c": 3, "d": 4}
    missed = {"nearer": 0, "ranked": 0}
    draws = 150
    for draw in range(draws):
        pairs = compare_pairs("e", metrics(noise=0.15, draw=draw), LABELS)
        for told in missed:
            found = ranks(pairs, "lower", told).set_index("method")
            missed[told] += any(not found["low"][m] <= r <= found["high"][m] for m, r in truth.items() if m in "bc")
    assert missed["ranked"] <= stats.binom.ppf(0.999, draws, 0.05)
    assert missed["ranked"] < missed["nearer"]


@pytest.mark.parametrize("shift", [0.0, 0.6, 1.2])
def test_ranks_need_what_holds_for_all_comparisons_of_a_method_together(shift: float) -> None:
    frame = metrics(seeds=4, noise=0.2)
    frame["value"] -= shift * (frame["method"] == "a")
    a, b = (frame[frame["method"] == method]["value"].to_numpy() for method in "ab")
    row = compare_pairs("e", frame, LABELS).set_index(["method", "other"]).loc[("a", "b")]
    for told, level in (("nearer", 0.95), ("ranked", 1 - 0.05 / 3)):
        assert (row[told] == "a") is bool(stats.ttest_rel(a, b).confidence_interval(level).high < 0)
    assert together(2) == pytest.approx(0.95)
    assert together(6) == pytest.approx(0.99)


def bars(axes: Axes, y: int) -> list[tuple[float, list[float]]]:
    """Widths and ends of the bars of a row."""
    found = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 2 and line.get_ydata()[0] == y]  # type: ignore[index]
    return [(line.get_linewidth(), list(np.asarray(line.get_xdata(), float))) for line in found]


def test_the_figure_shows_the_rank_and_both_intervals_of_each_method() -> None:
    each = ranks(compare_pairs("e", metrics(), LABELS), "lower")
    both = each.assign(low=1, high=4)
    worse = each.assign(rank=each["rank"].to_numpy()[::-1])
    figure = method_ranks({"w1": (each, both), "mmd": (worse, both)}, LABELS, {"w1": "$W_1$", "mmd": "MMD"})
    first, second = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["$W_1$", "MMD"]
    order = [text.get_text().lower() for text in first.get_yticklabels()]
    assert order == list(each.sort_values("rank")["method"])
    assert first.get_ylim()[0] > first.get_ylim()[1]
    for axes, shown in ((first, each), (second, worse)):
        by_method = shown.set_index("method")
        for y, method in enumerate(order):
            marks = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 1 and line.get_ydata()[0] == y]  # type: ignore[index]
            assert {float(line.get_xdata()[0]) for line in marks} == {by_method["rank"][method]} | {  # type: ignore[index]
                both.set_index("method")["rank"][method]
            }
            thick, thin = bars(axes, y)
            assert thick[0] > thin[0]
            assert thick[1] == list(by_method.loc[method, ["low", "high"]])
            assert thin[1] == list(both.set_index("method").loc[method, ["low", "high"]])
