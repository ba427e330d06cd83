"""The page of claims: each row from the typed file, the verdicts and the store, and nothing from elsewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from am.config import ConfigError, write_yaml
from am.experiment_files import ExperimentFiles
from am.experiments import Project
from am.plan import FIGURE_KINDS
from am.report.claims import read_claims
from am.report.pairs import COLUMNS as PAIR_COLUMNS
from am.report.store import RUN_COLUMNS
from am.report.verdicts import Verdict
from am.steps.claims import HEADINGS, Row, claims, claims_table, compute_table, counted, environments_table
from am.steps.pages import Store, render

ROOT = Path(__file__).parents[4]
NAN = float("nan")
ABOUT = {"where": "table 1", "section": "petals"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store of a project: experiment ``e`` with two methods, two seeds each; and its published numbers."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "store/laptop/e"
    folder.mkdir(parents=True)
    values = [
        ("e", method, seed, time, metric, level + time + 0.1 * seed, 10)
        for metric in ("mmd", "w2")
        for method, level in (("am", 1.0), ("other", 2.0 if metric == "mmd" else 1.2))
        for seed in (0, 1)
        for time in (0.5, 1.0)
    ]
    metrics = pd.DataFrame(values, columns=["experiment", "method", "seed", "time", "metric", "value", "n_samples"])
    crossed = (metrics["metric"] == "w2") & (metrics["method"] == "other") & (metrics["time"] == 0.5)
    metrics.loc[crossed, "value"] = 0.1  # less than am there, and more on the mean
    metrics.to_csv(folder / "metrics.csv", index=False)
    runs = pd.DataFrame(
        [("e", method, str(seed)) for method in ("am", "other") for seed in (0, 1)] + [("e", "floor", "")],
        columns=["experiment", "method", "seed"],
    )
    runs = runs.reindex(columns=list(RUN_COLUMNS)).assign(train_seconds=90.0, sample_seconds=30.0, environment="abc")
    runs["device"], runs["peak_memory_bytes"] = ["cpu", "cpu", "H100", "H100", "cpu"], [1e9, 2e9, 3e9, 4e9, 9e9]
    runs.to_csv(folder / "runs.csv", index=False)
    pd.DataFrame({"environment": ["abc"], "package": ["torch"], "version": ["2.0"]}).to_csv(
        tmp_path / "store/environments.csv", index=False
    )
    rows = [("e", metric, m, m.upper(), False, 1.0, 2) for metric in ("mmd", "w2", "odd") for m in ("am", "other")]
    means = pd.DataFrame(rows, columns=["experiment", "metric", "method", "title", "control", "mean", "seeds"])
    means = means.assign(better="lower", low=0.9, high=1.1, floor_mean=0.1, floor_sd=0.1)
    means = means.assign(nfe=1.0, train_seconds=1.0, sample_seconds=1.0)
    means.to_csv(tmp_path / "store/laptop/tables.csv", index=False)
    pairs = [
        ("e", "mmd", "am", "other", -1.0, -1.5, -0.5, 2, "am", "am"),
        ("e", "w2", "am", "other", -0.5, -0.9, -0.1, 2, "am", "am"),
        ("e", "odd", "am", "other", -0.5, -1.5, 0.5, 2, NAN, NAN),
    ]
    pd.DataFrame(pairs, columns=list(PAIR_COLUMNS)).to_csv(tmp_path / "store/laptop/pairs.csv", index=False)
    verdicts = [
        ("e (laptop)", "am", "AM", "It works.", "reproduced", 1.0, 0.1, 1.0, 2, "Within.", "of fewer cells"),
        ("e (laptop)", "am", "AM", "It looks good.", "cannot say", 10.07, NAN, NAN, 0, "It needs the weights.", NAN),
        ("f (laptop)", "am", "AM", "It works.", "not run", 1.0, 0.1, NAN, 0, "No run.", NAN),
        ("f (laptop)", "other", "Other", "It works.", "not run", NAN, NAN, NAN, 0, "No run.", NAN),
        ("e (laptop)", "other", "Other", NAN, "cannot say", NAN, NAN, 1.0, 2, "Nothing published.", NAN),
    ]
    names = ["experiment", "method", "title", "claim", "verdict", "published", "published_spread"]
    table = pd.DataFrame(verdicts, columns=[*names, "mean", "seeds", "why", "note"])
    table = table.assign(metric="mmd", confidence="official", low=table["mean"] - 0.05, high=table["mean"] + 0.05)
    table.to_csv(tmp_path / "store/verdict.csv", index=False)
    return Store(tmp_path / "store")


@pytest.fixture
def rows(store: Store) -> Callable[..., list[Row]]:
    def made(*entries: dict[str, Any]) -> list[Row]:
        write_yaml({"claims": [ABOUT | entry for entry in entries]}, Path("config/claims.yaml"))
        return claims(store)

    return made


def test_a_published_number_has_its_verdict_its_note_and_what_it_took(rows: Callable[..., list[Row]]) -> None:
    works, looks = rows({"numbers": "e", "page": "e.md"})
    assert (works.claim, works.expected, works.found) == (
        "It works. AM, mmd.",
        "1.00 ± 0.10 (official)",
        "1.00 [0.95, 1.05]",
    )
    assert (works.verdict, works.why) == (Verdict.REPRODUCED, "Note: of fewer cells.")
    assert works.seconds == 2 * (90 + 30)
    assert works.cells()[HEADINGS.index("machine min")] == "4"
    assert works.cells()[HEADINGS.index("ours")] == "[e](e.md)"
    assert works.cells()[-1] == "**reproduced**. Note: of fewer cells."
    assert (looks.expected, looks.found) == ("10.07 (official)", "—")
    assert looks.cells()[-1] == "cannot say. It needs the weights."


def test_a_number_that_was_run_elsewhere_is_not_told_as_not_run(rows: Callable[..., list[Row]]) -> None:
    both = rows({"numbers": "f", "needs": "a file"}, {"numbers": "e"})
    assert [(row.claim, str(row.verdict)) for row in both] == [
        ("It works. Other, mmd.", "not run"),
        ("It works. AM, mmd.", "reproduced"),
        ("It looks good. AM, mmd.", "cannot say"),
    ]
    assert (both[0].why, both[0].expected) == ("It needs a file.", "(official)")


def test_what_was_not_run_names_the_scale_that_it_may_be_compared_at(rows: Callable[..., list[Row]]) -> None:
    published = Path("config/published/f.csv")
    published.parent.mkdir(parents=True)
    published.write_text("method,metric,value,scale,confidence,source,claim\nam,mmd,1,paper,official,s,It works.\n")
    commands = [row.command for row in rows({"numbers": "f"})]
    assert [re.findall(r"scale=(\w+) ", command) for command in commands] == [["paper"], ["laptop"]]


@pytest.mark.parametrize(
    ("less", "more", "metric", "verdict", "why"),
    [
        ("am", "other", "mmd", Verdict.REPRODUCED, ""),
        ("other", "am", "mmd", Verdict.WORSE, ""),
        ("am", "other", "w2", Verdict.CANNOT_SAY, "not at each of them"),
        ("am", "other", "odd", Verdict.CANNOT_SAY, "holds 0"),
        ("am", "third", "mmd", Verdict.NOT_RUN, "needs a day"),
        ("am", "other", "none", Verdict.NOT_RUN, "needs a day"),
    ],
)
def test_an_order_is_judged_by_the_interval_and_by_each_time(
    rows: Callable[..., list[Row]], store: Store, less: str, more: str, metric: str, verdict: Verdict, why: str
) -> None:
    odd = pd.read_csv("store/laptop/e/metrics.csv")
    odd = pd.concat([odd, odd[odd["metric"] == "mmd"].assign(metric="odd")])
    odd.to_csv("store/laptop/e/metrics.csv", index=False)
    ordered = {"experiments": ["e"], "metrics": [metric], "less": less, "more": more}
    (row,) = rows({"claim": "Less.", "ordered": ordered, "needs": "a day"})
    assert (row.verdict, row.expected) == (verdict, f"{less} < {more}")
    assert why in row.why


def test_orders_of_an_experiment_that_is_not_kept_are_not_run(rows: Callable[..., list[Row]]) -> None:
    ordered = {"experiments": ["e", "g"], "metrics": ["mmd"], "less": "am", "more": "other"}
    found = rows({"claim": "Less.", "ordered": ordered})
    assert [row.verdict for row in found] == [Verdict.REPRODUCED, Verdict.NOT_RUN]
    assert [row.claim for row in found] == ["Less. `e`, mmd.", "Less. `g`, mmd."]


def test_figures_tests_and_needs_have_rows_too(rows: Callable[..., list[Row]], store: Store) -> None:
    found = rows(
        {"claim": "A.", "figure": "e_times"},
        {"claim": "B.", "figure": "g_times"},
        {"claim": "C.", "test": "tests/test_it.py::test_that"},
        {"claim": "D.", "needs": "a GPU", "human_minutes": 5},
    )
    assert [str(row.verdict) for row in found] == ["cannot say", "not run", "reproduced", "not run"]
    made = "--config scale=laptop experiments=[e] -- results/laptop/figures/e_times.png"  # only then is e known
    assert found[0].command == f"snakemake --profile workflow/profiles/local {made}"
    assert found[0].seconds == 4 * (90 + 30)  # not of the floor
    assert found[2].command == "pytest tests/test_it.py"
    assert found[3].cells()[-1] == "not run. It needs a GPU."
    assert found[3].cells()[HEADINGS.index("human min")] == "5"
    assert [counted(store, word) for word in ("", "decided", "not run", "better")] == [4, 1, 2, 0]
    with pytest.raises(ConfigError, match="did you mean 'better'"):
        counted(store, "beter")
    assert claims_table(store, ["cells"]).count("\n") == 2
    page = "It has <!--v claims-->?<!--/v-->.\n<!-- table: claims petals -->\n<!-- end -->\n"
    text = render(page, store).text
    assert text.startswith("It has <!--v claims-->4<!--/v-->.")
    assert text.count("table 1") == 4


def test_compute_is_that_of_all_kept_runs_by_device(store: Store) -> None:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in compute_table(store).splitlines()[2:]]
    assert lines == [
        ["H100", "2", "0.1", "0.0", "0.1", "4.0"],
        ["cpu", "2", "0.1", "0.0", "0.1", "2.0"],
        ["all", "4", "0.1", "0.0", "0.1", "4.0"],
    ]
    assert environments_table(store).splitlines()[2] == "| `abc` | — | 2.0 | — | — | 4 |"


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"claim": "A."}, "nothing judges it"),
        ({"claim": "A.", "numbers": "e"}, "unless, and only unless"),
        ({"needs": "a GPU"}, "unless, and only unless"),
        ({"claim": "A.", "test": "t", "numbers": "e"}, "judge it both"),
        ({"claim": "A.", "needs": "a GPU", "section": "cell"}, "section"),
        ({"claim": "A.", "needs": "a GPU", "pages": "e.md"}, "pages"),
    ],
)
def test_a_claim_that_is_none_is_one_sentence(rows: Callable[..., list[Row]], entry: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        rows(entry)


def test_what_the_file_names_exists() -> None:
    """Tests, pages, figures, experiments and methods; and each experiment with published numbers has its claim."""
    entries = read_claims(ROOT / "config/claims.yaml")
    known = ExperimentFiles(ROOT / "config")
    for name, function in (entry.test.split("::") for entry in entries if entry.test):
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, function
    for entry in entries:
        assert entry.page is None or (ROOT / "docs" / entry.page).is_file()
        experiment, _, figure = (entry.figure or "hydrogen_times").rpartition("_")
        assert experiment in known
        assert figure in FIGURE_KINDS
    numbers = {entry.numbers for entry in entries if entry.numbers}
    assert numbers == {file.stem for file in (ROOT / "config/published").glob("*.csv")}
    for of in (entry.ordered for entry in entries if entry.ordered):
        project = Project(ROOT / "config", {"scale": "laptop", "experiments": list(of.experiments)}, opt_in=True)
        for one in project.experiments.values():
            assert {of.less, of.more} <= set(one.runs)
            assert set(of.metrics) <= {metric.label for metric in one.data.evaluation.metrics}


def test_every_section_of_the_page_is_asked_for_once() -> None:
    page = (ROOT / "docs/claims.md").read_text(encoding="utf-8")
    asked = re.findall(r"^<!-- table: claims (\w+) -->$", page, re.MULTILINE)
    sections = {entry.section for entry in read_claims(ROOT / "config/claims.yaml")}
    assert sorted(asked) == sorted([*sections, "compute", "environments"])
    assert np.unique(asked).size == len(asked)
