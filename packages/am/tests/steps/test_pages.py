"""Pages whose numbers come from a store."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from am.config import ConfigError
from am.report.pairs import COLUMNS as PAIR_COLUMNS
from am.steps.leaderboard import across, board
from am.steps.pages import Store, _cell, pages, render

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
    text = across(dict.fromkeys("abc", table()), dict(zip("abc", (pairs(), other, two), strict=True)))
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert rows == [
        ["alike", "2", "2", "0.25"],
        ["far", "2", "1", "0.50"],
        ["near", "2", "1", "0.50"],
    ]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One experiment, ``e``: two methods and a control by two metrics, their pairs, and values at two times."""
    tables = tmp_path / "laptop"
    tables.mkdir(parents=True)
    rows = [
        ("mmd", "am", "AM", False, 3.2e-4, 2.3e-4, 4.4e-4, 15),
        ("mmd", "eam", "eAM", False, 4.4e-4, 3.3e-4, 5.8e-4, 3),
        ("mmd", "still", "no dynamics", True, 0.0878, 0.0835, 0.0924, 3),
        ("energy", "am", "AM", False, 0.2612, 0.0098, 0.5127, 15),
        ("energy", "eam", "eAM", False, 0.0094, -0.0309, 0.0496, 3),
        ("energy", "still", "no dynamics", True, 3.822, 3.804, 3.840, 3),
        ("share", "am", "AM", False, 0.281, 0.252, 0.312, 15),
    ]
    columns = ["metric", "method", "title", "control", "mean", "low", "high", "seeds"]
    costs = {"nfe": 63.6, "train_seconds": 149.8, "sample_seconds": NAN}
    means = pd.DataFrame(rows, columns=columns).assign(experiment="e", better="lower", **costs)
    means = means.assign(floor_mean=0.00144, floor_sd=0.0481)
    means.to_csv(tables / "tables.csv", index=False)
    pair = ("e", "energy", "am", "eam", 0.2518, 0.1, 0.4, 3, "eam", "eam")
    pd.DataFrame([pair], columns=list(PAIR_COLUMNS)).to_csv(tables / "pairs.csv", index=False)
    values = [("e", m, seed, t, "energy", seed + t, 10) for m in ("am", "eam") for seed in (0, 1) for t in (0.5, 1.0)]
    (tmp_path / "laptop/e").mkdir()
    names = ["experiment", "method", "seed", "time", "metric", "value", "n_samples"]
    pd.DataFrame(values, columns=names).to_csv(tmp_path / "laptop/e/metrics.csv", index=False)
    verdicts = [
        ("e (laptop)", "AM", "reproduced", 5.66e-4, 3.06e-4, 3.2e-4, 2.3e-4, 4.4e-4, 15, 2.5e-4, "It lies within."),
        ("e (laptop)", "eAM", "not run", 5e-4, NAN, NAN, NAN, NAN, 0, NAN, "No run."),
        ("e (laptop)", "eAM", "cannot say", NAN, NAN, 4.4e-4, 3.3e-4, 5.8e-4, 3, 2.5e-4, "Nothing is published."),
    ]
    names = ["experiment", "title", "verdict", "published", "published_spread"]
    names += ["mean", "low", "high", "seeds", "floor_mean", "why"]
    pd.DataFrame(verdicts, columns=names).to_csv(tmp_path / "verdict.csv", index=False)
    return Store(tmp_path)


def test_an_experiment_is_found_in_the_folder_of_its_file(store: Store) -> None:
    metrics = pd.read_csv(store.kept / "laptop/e/metrics.csv")
    for folder, names in (("e", ("e", "e_late")), ("e_quarter", ("e_quarter", "e_quarter_late")), ("e_q", ("e_q",))):
        (store.kept / "laptop" / folder).mkdir(exist_ok=True)
        rows = pd.concat([metrics.assign(experiment=name) for name in names])
        rows.to_csv(store.kept / "laptop" / folder / "metrics.csv", index=False)
    found = {name: store.results(name) for name in ("e", "e_late", "e_quarter", "laptop/e_quarter_late", "e_q")}
    assert [kept.folder.name for kept in found.values()] == ["e", "e", "e_quarter", "e_quarter", "e_q"]
    assert [f"laptop/{kept.experiment}".endswith(name) for name, kept in found.items()] == [True] * 5
    assert all(set(kept.tables["metrics.csv"]["experiment"]) == {kept.experiment} for kept in found.values())
    assert [store.results(name).keys for name in ("e_never", "paper/e")] == [[], []]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("e am mmd", "3.20e-04"),
        ("laptop/e am mmd interval", "3.20e-04 [2.30e-04, 4.40e-04]"),
        ("e am energy interval", "0.26 [0.01, 0.51]"),  # to the second digit of the error
        ("e eam energy interval", "0.009 [-0.031, 0.050]"),
        ("e still energy interval", "3.822 [3.804, 3.840]"),
        ("e floor energy interval", "0.001 ± 0.048"),
        ("e am energy seeds", "15"),
        ("e am share percent", "28 %"),
        ("e am train_seconds", "150"),
        ("e am-eam energy interval", "0.25 [0.10, 0.40]"),
        ("e eam-am energy interval", "-0.25 [-0.40, -0.10]"),
        ("e still-am energy", "3.56"),  # controls have no pairs
        ("verdicts", "2"),
        ("verdicts not run", "1"),
    ],
)
def test_values_are_written_where_they_stand(store: Store, value: str, shown: str) -> None:
    page = f"It is <!--v {value}-->any<!--/v--> here."
    assert render(page, store).text == f"It is <!--v {value}-->{shown}<!--/v--> here."


def made(store: Store, table: str) -> list[list[str]]:
    """Cells of a table, but for the line below its head."""
    begin = f"<!-- table: {table} -->\n"
    text = render(f"Before.\n\n{begin}| old |\n<!-- end -->\n\nAfter.\n", store).text
    assert text.startswith(f"Before.\n\n{begin}|")
    assert text.endswith("|\n<!-- end -->\n\nAfter.\n")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]


def test_a_table_of_methods(store: Store) -> None:
    assert made(store, 'methods "e:energy=how far" e:share:mean e:nfe rows=still,am,floor') == [
        ["", "how far", "e, share", "e, nfe"],
        ["*control: no dynamics*", "3.822 [3.804, 3.840]", "", "63.6"],
        ["AM", "0.26 [0.01, 0.51]", "0.281", "63.6"],
        ["*noise floor*", "0.001 ± 0.048", "0.001 ± 0.048", ""],
    ]


def test_tables_of_times_pairs_and_verdicts(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert made(store, "times e energy=far rows=eam") == [["", "t = 0.5", "t = 1"], ["far, eAM", "1.00", "1.50"]]
    head = ["", "method", "significantly closer than", "significantly farther than"]
    assert made(store, "pairs energy e=cells rows=am,eam") == [
        head,
        ["cells", "AM", "—", "eAM"],
        ["cells", "eAM", "AM", "—"],
    ]
    verdict = made(store, "verdicts why")[1:]
    assert [row[1:4] + row[-2:] for row in verdict] == [
        ["AM", "5.66e-04 ± 3.06e-04", "3.20e-04 [2.30e-04, 4.40e-04]", "**reproduced**", "It lies within."]
    ]
    assert made(store, "verdicts other")[1:] == []
    (tmp_path / "m.csv").write_text('a,b\n"x, y",1\n')
    monkeypatch.chdir(tmp_path)
    assert made(store, "csv m.csv") == [["a", "b"], ["x, y", "1"]]


def test_what_no_longer_holds_is_told(store: Store) -> None:
    page = "<!-- holds: e am mmd < e eam mmd -->\n<!-- holds: e am-eam energy low < 0 -->\n"
    assert render(page, store).broken == ["it no longer holds that e am-eam energy low (0.100) < 0 (0)"]


def test_code_shows_how_a_page_is_written(store: Store) -> None:
    page = "```markdown\n<!--v e am mmd-->?<!--/v-->\n```\nIt is <!--v e am mmd-->?<!--/v-->.\n"
    assert render(page, store).text == page[:40] + page[40:].replace("?", "3.20e-04")


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("It is <!--v f am mmd-->?<!--/v-->", "there is no experiment 'f'"),
        ("It is <!--v e amm mmd-->?<!--/v-->", "did you mean 'am'"),
        ("It is <!--v e am mdd-->?<!--/v-->", "did you mean 'mmd'"),
        ("It is <!--v e am mmd lo-->?<!--/v-->", "did you mean 'low'"),
        ("It is <!--v e am-->?<!--/v-->", "is not EXPERIMENT METHOD METRIC"),
        ("It is <!--v e am mmd-->?", "has no end"),
        ("It\n<!--v e am mmd-->?<!--/v-->", "would end its paragraph"),
        ("<!-- table: method e:mmd -->\n<!-- end -->", "did you mean 'methods'"),
        ("<!-- table: methods e:mdd -->\n<!-- end -->", "did you mean 'mmd'"),
        ("<!-- table: methods e:mmd rows=amm -->\n<!-- end -->", "did you mean 'am'"),
        ("<!-- table: methods e:mmd -->\n", "has no end"),
        ("<!-- holds: e am mmd = 1 -->", "has no end, or is not written"),
    ],
)
def test_a_page_that_names_nothing_is_one_sentence(store: Store, page: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        render(page, store)


def test_only_pages_that_change_are_written(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs/deep"
    docs.mkdir(parents=True)
    (docs / "a.md").write_text("It is <!--v e am energy seeds-->15<!--/v-->.\n")
    (docs / "b.md").write_text("It is <!--v e am energy seeds-->14<!--/v-->.\n<!-- holds: e am mmd > 1 -->\n")
    changed, broken = pages([tmp_path / "docs"], tmp_path)
    assert changed == [docs / "b.md"]
    assert (docs / "b.md").read_text().startswith("It is <!--v e am energy seeds-->15<!--/v-->.\n")
    assert broken == [f"{docs / 'b.md'}: it no longer holds that e am mmd (3.20e-04) > 1 (1.00)"]
    assert pages([docs / "b.md"], tmp_path)[0] == []
    (docs / "c.md").write_text("It is <!--v f am mmd-->?<!--/v-->.\n")
    with pytest.raises(ConfigError, match=f"^{docs / 'c.md'}: "):
        pages([tmp_path / "docs"], tmp_path)


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(8.7e-7, 0.36, "5.56e-04 [8.70e-07, 0.360]"), (-0.36, 0.36, "0.00 [-0.36, 0.36]")],
)
def test_an_interval_of_two_seeds_leaves_the_digits_of_the_mean(low: float, high: float, shown: str) -> None:
    """Where all of it is positive, as of squared distances; a difference has its error's digits."""
    assert _cell({"mean": 5.56e-4, "low": low, "high": high}, "interval") == shown
