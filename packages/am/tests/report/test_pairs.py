"""Pairs of methods: differences by seed, and no verdict where they could be luck."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from am.io.tidy import BLOCK_COLUMNS, METRIC_COLUMNS
from am.report.labels import Label
from am.report.pairs import compare_pairs, markdown_pairs

LABELS = [Label("am", "AM"), Label("cfm", "CFM"), Label("sf", "SF"), Label("none", "no dynamics", control=True)]


def table(shift: float, seeds: int = 4) -> pd.DataFrame:
    """The luck of a seed, which both share, is a hundred times what is between AM and CFM."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        luck = rng.normal()
        for time in (0.5, 1.0):
            for method, more in (("am", 0.0), ("cfm", shift), ("sf", rng.normal()), ("none", 9.0)):
                rows.append(("e", method, seed, time, "energy", luck + more + 0.001 * rng.normal(), 10))
    return pd.DataFrame(rows, columns=METRIC_COLUMNS)


def test_differences_are_those_of_the_same_seeds() -> None:
    frame = table(0.01)
    pairs = compare_pairs("e", frame, LABELS).set_index(["method", "other"])
    assert list(pairs.index) == [("am", "cfm"), ("am", "sf"), ("cfm", "sf")]
    a, b = (frame[frame["method"] == method].groupby("seed")["value"].mean().to_numpy() for method in ("am", "cfm"))
    row = pairs.loc[("am", "cfm")]
    assert row["difference"] == pytest.approx((a - b).mean())
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row["nearer"] == "am"
    assert pairs.loc[("am", "sf"), "nearer"] == ""


def test_the_nearer_one_is_named_whatever_the_order() -> None:
    pairs = compare_pairs("e", table(-0.01), LABELS)
    assert pairs["nearer"].tolist()[0] == "cfm"
    text = markdown_pairs(pairs, LABELS)
    (row,) = [line for line in text.splitlines() if line.startswith("| CFM")]
    assert row.split("|")[2].strip() == "AM"
    assert float(row.split("|")[3].split()[0]) > 0
    assert "Of 3 pairs, 1 are told apart" in text
    assert "together with 95 %, 1 are." in text


def test_what_rests_on_a_few_cells_is_not_told_apart() -> None:
    """AM is nearer by 0.01 with every seed; without the cells of one block it is farther by as much as 0.1."""
    frame = table(0.01)
    rows = [
        (*row, block)
        for block in range(10)
        for row in frame.assign(value=frame["value"] + 0.1 * ((frame["method"] == "am") & (block == 0))).itertuples(
            index=False
        )
    ]
    blocks = pd.DataFrame(rows, columns=BLOCK_COLUMNS)
    alike = blocks.assign(
        value=blocks["value"].where(blocks["block"] != 0, pd.concat([frame] * 10)["value"].to_numpy())
    )
    nearer = {
        name: compare_pairs("e", frame, LABELS, given).set_index(["method", "other"]).loc[("am", "cfm"), "nearer"]
        for name, given in {"none": None, "alike": alike, "a few": blocks}.items()
    }
    assert nearer == {"none": "am", "alike": "am", "a few": ""}


def test_one_seed_tells_nothing_apart() -> None:
    pairs = compare_pairs("e", table(5.0, seeds=1), LABELS)
    assert set(pairs["nearer"]) == {""}
    assert pairs["low"].isna().all()
    assert compare_pairs("other", table(1.0), LABELS).empty
    assert "no two methods" in markdown_pairs(compare_pairs("other", table(1.0), LABELS), LABELS)


def test_where_higher_is_better_the_nearer_one_has_the_higher_value() -> None:
    pairs = compare_pairs("e", table(0.01), LABELS, higher={"energy"})
    assert pairs.set_index(["method", "other"]).loc[("am", "cfm"), "nearer"] == "cfm"
    (row,) = [line.split(" | ") for line in markdown_pairs(pairs, LABELS).splitlines() if line.startswith("| CFM")]
    mean, low, high = (float(word.strip("[,]")) for word in row[2].rstrip(" |").split())
    assert 0 < low < mean < high
    assert row[1] == "AM"
