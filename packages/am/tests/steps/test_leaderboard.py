"""A page of ranks from committed tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from am.config import ConfigError
from am.steps.leaderboard import across, board, leaderboard

ROOT = Path(__file__).parents[4]
NAN = float("nan")


def table() -> pd.DataFrame:
    rows = [
        ("mmd", "far", False, 9.0, 8.0, 10.0, 3),
        ("mmd", "near", False, 1.0, 0.5, 1.5, 3),
        ("mmd", "alike", False, 1.2, 0.6, 1.8, 3),
        ("mmd", "once", False, 3.0, NAN, NAN, 1),
        ("mmd", "unrun", False, NAN, NAN, NAN, 0),
        ("mmd", "oracle", True, 0.1, 0.05, 0.15, 3),
        ("energy", "far", False, 0.0, 0.0, 0.0, 3),
    ]
    frame = pd.DataFrame(rows, columns=["metric", "title", "control", "mean", "low", "high", "seeds"])
    return frame.assign(
        method=frame["title"].str.upper(), better="lower", floor_mean=0.05, nfe=100.0, train_seconds=NAN
    )


def pairs() -> pd.DataFrame:
    rows = [
        ("mmd", "FAR", "NEAR", "NEAR"),
        ("mmd", "FAR", "ALIKE", "ALIKE"),
        ("mmd", "NEAR", "ALIKE", NAN),
        ("energy", "NEAR", "ALIKE", "ALIKE"),
    ]
    frame = pd.DataFrame(rows, columns=["metric", "method", "other", "ranked"])
    signs = (frame["ranked"] == frame["other"]).map({True: 1.0, False: -1.0})
    return frame.assign(difference=signs, low=signs - 0.5, high=signs + 0.5)


def test_methods_that_cannot_be_told_apart_share_a_rank() -> None:
    lines = [
        line.split(" | ")[:2] for line in board("e (laptop)", table(), pairs()).splitlines() if line.startswith("| ")
    ][2:]
    assert [(rank.strip("| "), title) for rank, title in lines] == [
        ("—", "*control: oracle*"),
        ("1 to 2", "near"),
        ("1 to 2", "alike"),
        ("—", "once"),
        ("3", "far"),
    ]


def test_the_best_stands_first_whichever_way_is_better() -> None:
    page = board("e (laptop)", table().assign(better="higher"), pairs())
    assert "Metric: mmd, higher is better." in page
    assert [line.split(" | ")[1] for line in page.splitlines() if line.startswith("| ")][2:] == [
        "far",
        "once",
        "alike",
        "near",
        "*control: oracle*",
    ]


def test_images_that_have_a_truth_each_are_ranked_by_psnr() -> None:
    decibels = table().replace({"metric": {"energy": "psnr"}})
    decibels.loc[decibels["metric"] == "psnr", ["better", "mean"]] = ["higher", 26.0]
    page = board("e (laptop)", decibels, pairs())
    assert "Metric: psnr, higher is better." in page
    assert [line.split(" | ")[1] for line in page.splitlines() if line.startswith("| ")][2:] == ["far"]


def test_places_are_counted_across_experiments() -> None:
    other = pairs().replace({"FAR": "NEAR", "NEAR": "FAR"})[:2]  # where FAR is the nearest, and ALIKE and NEAR are not
    two = pairs()[2:3].assign(other="ONCE")  # methods, whose places say little
    files = [Path(name) for name in "abc"]
    text = across(dict.fromkeys(files, table()), dict(zip(files, (pairs(), other, two), strict=True)))
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert rows == [
        ["alike", "2", "2", "0.25"],
        ["far", "2", "1", "0.50"],
        ["near", "2", "1", "0.50"],
    ]


def test_no_tables_are_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no tables"):
        leaderboard(tmp_path, tmp_path / "page.md")


def test_page_is_what_the_committed_tables_give(tmp_path: Path) -> None:
    leaderboard(ROOT / "results/expected", tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text() == (ROOT / "docs/leaderboard.md").read_text(), "run `am leaderboard`"
