"""What the metrics of a tiny project say again, and what is said once one of them, or a reference, is another."""

from __future__ import annotations

import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from am.config import merge, read_yaml, write_yaml

METRICS = "kept/tiny/atom/am/seed1/metrics.csv"
PUBLISHED = {"method": "am", "metric": "mmd", "confidence": "restated", "source": "a page", "claim": "It works."}


@pytest.fixture
def project(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings, and the metrics that would be committed."""
    for file in (chain / "results/tiny/atom").rglob("*.csv"):
        if file.name in ("metrics.csv", "floor.csv"):
            kept = tmp_path / "kept/tiny/atom" / file.relative_to(chain / "results/tiny/atom")
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, kept)
    shutil.copytree(chain / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    publish(tmp_path, value=mean(tmp_path))
    return tmp_path


def mean(project: Path) -> float:
    frames = [pd.read_csv(file) for file in (project / "kept/tiny/atom/am").rglob("metrics.csv")]
    every = pd.concat(frames)
    return float(every[every["metric"] == "mmd"]["value"].mean())


def publish(project: Path, **changes: Any) -> None:
    file = project / "config/experiments/atom.yaml"
    write_yaml(merge(read_yaml(file), {"published": [{**PUBLISHED, **changes}]}), file)


def review(am: Any, *more: str) -> tuple[int, list[str], str]:
    """Exit status, what it found wrong, and all that it printed."""
    outcome = am("review", "--kept", "kept", "--out", "made", *more)
    faults = [line.removeprefix("FAULT: ") for line in outcome.out.splitlines() if line.startswith("FAULT: ")]
    return outcome.code, faults, outcome.out


def differences() -> list[str]:
    """Each number that is not the one of its reference."""
    return Path("made/differences.txt").read_text().splitlines()


def test_the_same_metrics_give_the_same_tables_and_verdicts(project: Path, chain: Path, am: Any) -> None:
    assert review(am, "--accept")[:2] == (0, [])
    code, faults, printed = review(am)
    assert (code, faults) == (0, [])
    for part in (
        "It works.",
        "a page",
        "(restated)",
        "published numbers reproduced",
        "cannot say",
        "floor ",
        "oracle ",
    ):
        assert part in printed
    # As the workflow's own steps made them, but for what runs cost, which is not among the metrics.
    costs = ["nfe", "train_seconds", "sample_seconds", "published", "published_spread", "confidence"]
    ours, theirs = (
        pd.read_csv(file).drop(columns=costs)
        for file in ("made/tiny/tables/atom.csv", chain / "results/tiny/tables/atom.csv")
    )
    pd.testing.assert_frame_equal(ours, theirs)
    made = {path.relative_to(project / "made").as_posix() for path in (project / "made").rglob("*.??*")}
    assert {"verdict.html", "verdict.md", "tiny/figures/atom_times.pdf", "tiny/tables/atom_times.md"} <= made


def test_what_an_opt_in_benchmark_has_left_is_shown_though_nobody_names_it(project: Path, am: Any) -> None:
    folder = project / "workflow/benchmarks/theirs"
    folder.mkdir(parents=True)
    about = {"title": "Theirs", "experiments": ["atom"], "citation": "a paper", "licence": "MIT", "opt_in": True}
    write_yaml(about, folder / "benchmark.yaml")
    (folder / "rules.smk").write_text("")
    for seed in (0, 1):
        metrics = pd.read_csv(project / f"kept/tiny/atom/am/seed{seed}/metrics.csv").assign(method="theirs")
        (project / f"kept/tiny/atom/theirs/seed{seed}").mkdir(parents=True)
        metrics.to_csv(project / f"kept/tiny/atom/theirs/seed{seed}/metrics.csv", index=False)
    assert review(am, "--accept")[:2] == (0, [])
    assert "| Theirs |" in (project / "made/tiny/tables/atom.md").read_text()


def test_nothing_to_compare_with_is_a_fault(project: Path, am: Any) -> None:
    code, faults, _ = review(am)
    assert code == 1
    assert [fault.split(": ", 1)[0] for fault in faults] == [
        "kept/tiny/tables/atom.csv",
        "kept/tiny/tables/atom_pairs.csv",
        "kept/verdict.csv",
    ]


@pytest.mark.parametrize(("factor", "noticed"), [(1 + 1e-9, False), (1.001, True)])
def test_one_number_that_is_another_is_named(project: Path, am: Any, factor: float, noticed: bool) -> None:
    review(am, "--accept")
    table = pd.read_csv(METRICS)
    table.loc[0, "value"] *= factor
    table.to_csv(METRICS, index=False)
    code, faults, _ = review(am)
    assert code == noticed
    assert bool(faults) is noticed
    found = differences()
    assert bool(found) is noticed
    if noticed:
        assert any(number.startswith(f"atom, am, {table.loc[0, 'metric']}: mean is ") for number in found)
        assert all(", am, " in number for number in found)  # and no other method
        assert faults == [
            f"atom (tiny): {len(found)} numbers not as in the reference; git tracks none of the 8 files of it"
        ]


@pytest.mark.parametrize(
    ("file", "column", "row"),
    [
        ("kept/tiny/atom/floor.csv", "value", -1),
        ("kept/tiny/tables/atom.csv", "high", 2),
        ("kept/verdict.csv", "low", 0),
    ],
)
def test_neither_the_floor_nor_a_reference_may_change(project: Path, am: Any, file: str, column: str, row: int) -> None:
    review(am, "--accept")
    table = pd.read_csv(file)
    table.loc[table.index[row], column] *= 1.01
    table.to_csv(file, index=False)
    assert review(am)[0] == 1
    assert differences()
    assert all(column in number or "floor" in number for number in differences())


def test_a_run_that_is_gone_is_named(project: Path, am: Any) -> None:
    review(am, "--accept")
    shutil.rmtree(project / "kept/tiny/atom/am")
    code, faults, printed = review(am)
    assert code == 1
    assert "not run" in printed
    assert len(faults) == 1
    assert any(number.startswith("atom, am, mmd: seeds is 0") for number in differences())
    assert any("verdict is not run" in number for number in differences())


@pytest.mark.parametrize(
    ("factor", "expect", "holds"),
    [
        (1e-6, "reproduced", False),
        (1e-6, ["reproduced", "worse"], True),
        (1e6, None, True),  # better, as far as anybody claims
        (1e6, ["reproduced", "worse"], False),
        (1.0, ["better"], False),
    ],
)
def test_a_claim_that_does_not_hold_is_a_fault(project: Path, am: Any, factor: float, expect: Any, holds: bool) -> None:
    # Of two seeds, so near to each other that the interval is narrow.
    shutil.copy(METRICS, "kept/tiny/atom/am/seed0/metrics.csv")
    table = pd.read_csv(METRICS).assign(seed=0)
    table.assign(value=table["value"] * 1.001).to_csv("kept/tiny/atom/am/seed0/metrics.csv", index=False)
    publish(project, value=mean(project) * factor, **({"expect": expect} if expect else {}))
    code, faults, _ = review(am, "--accept")
    assert code == (not holds)
    assert bool(faults) is not holds
    assert all("the claim needs" in fault for fault in faults)


def test_one_seed_is_told(project: Path, am: Any) -> None:
    shutil.rmtree(project / "kept/tiny/atom/am/seed0")
    publish(project, value=mean(project), source="[a page]")
    printed = review(am, "--accept")[2]
    assert "[no interval: 1 seed]" in printed
    assert "[a page]" in printed


def test_what_was_never_run_is_told_and_is_no_fault(project: Path, am: Any) -> None:
    publish(project, method="of others", value=1.0)
    code, faults, printed = review(am, "--accept")
    assert (code, faults) == (0, [])
    assert "not run" in printed


def test_results_of_what_there_is_not_are_refused(project: Path, am: Any) -> None:
    shutil.copytree("kept/tiny/atom", "kept/tiny/atmo")
    assert am("review", "--kept", "kept", "--out", "made").sentence == (
        "kept: there is no experiment 'atmo'; did you mean 'atom'?"
    )
    assert am("review", "--kept", "nothing", "--out", "made").sentence == "nothing: there are no results to review"
    shutil.rmtree("kept/tiny/atmo")
    Path("kept/tiny/atom/floor.csv").unlink()
    assert am("review", "--kept", "kept", "--out", "made").sentence == "atom: there is no floor.csv beside its metrics"


def commit(project: Path) -> None:
    git = ("git", "-c", "user.email=a@example.org", "-c", "user.name=A")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "kept"]):
        subprocess.run([*git, *words], cwd=project, check=True, capture_output=True)


def halve(file: str, row: int) -> None:
    table = pd.read_csv(file)
    table.loc[row, "value"] /= 2
    table.to_csv(file, index=False)


def test_each_experiment_is_told_of_with_the_hash_of_its_files(
    project: Path, am: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        review(am, "--accept")
    files = sorted(Path("kept/tiny/atom").rglob("*.csv"))
    lines = "".join(f"{sha256(file.read_bytes()).hexdigest()}  {file}\n" for file in files)
    printed = f"1 of 1: atom (tiny), {len(files)} files with sha256 {sha256(lines.encode()).hexdigest()[:12]}, "
    assert [line for line in caplog.messages if line.startswith(printed)]


def test_tampering_is_told_by_file(project: Path, am: Any) -> None:
    review(am, "--accept")
    commit(project)
    assert review(am)[:2] == (0, [])
    both = [METRICS, METRICS.replace("/am/", "/oracle/")]
    for file in both:
        halve(file, 0)
    code, faults, printed = review(am)
    assert code == 1
    hashes = [f"{file} (sha256 {sha256(Path(file).read_bytes()).hexdigest()[:12]})" for file in both]
    start = f"atom (tiny): 2 files differ from what was committed: {', '.join(hashes)} -> {len(differences())} numbers"
    assert faults == [start]
    assert [f"    {number}" in printed for number in differences()] == [i < 5 for i in range(len(differences()))]
    assert f"    and {len(differences()) - 5} more, in made/differences.txt" in printed


def test_a_reference_or_a_published_value_that_was_changed_is_told_apart_from_metrics(project: Path, am: Any) -> None:
    review(am, "--accept")
    commit(project)
    file = "kept/tiny/tables/atom.csv"
    whole = Path(file).read_text()
    table = pd.read_csv(file)
    table.loc[2, "high"] *= 1.01
    table.to_csv(file, index=False)
    (fault,) = review(am)[1]
    assert fault.startswith(f"atom (tiny): 1 file differs from what was committed: {file} (sha256 ")
    assert fault.endswith(") -> 1 number")
    Path(file).write_text(whole)
    publish(project, value=2 * mean(project))
    (fault,) = [one for one in review(am)[1] if "the claim needs" not in one]
    assert fault.endswith("not as in the reference, though its 8 files are as committed")


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [("seed", 0, "rows of seed0"), ("method", "oracle", "the run 'oracle'"), ("experiment", "other", "'other'")],
)
def test_metrics_of_something_else_have_no_verdict(project: Path, am: Any, column: str, value: Any, said: str) -> None:
    review(am, "--accept")
    pd.read_csv(METRICS).assign(**{column: value}).to_csv(METRICS, index=False)
    code, faults, printed = review(am)
    assert code == 1
    assert faults[0].startswith(f"{METRICS} is misplaced: it holds ")
    assert said in faults[0]
    assert "not as recorded" in printed


def test_metrics_that_nothing_asks_for_are_a_fault(project: Path, am: Any) -> None:
    review(am, "--accept")
    shutil.copytree("kept/tiny/atom/am/seed1", "kept/tiny/atom/am/seed5")
    told = "it is not read, since atom has no such run and seed at the scale 'tiny'"
    assert review(am)[:2] == (1, [f"kept/tiny/atom/am/seed5/metrics.csv: {told}"])


@pytest.mark.parametrize("content", ["", "\0\0", "a,b\n1,2\n", "experiment,metric\n,\n"])
@pytest.mark.parametrize("file", ["kept/verdict.csv", "kept/tiny/tables/atom.csv"])
def test_a_reference_that_is_no_table_is_one_sentence(project: Path, am: Any, file: str, content: str) -> None:
    review(am, "--accept")
    Path(file).write_text(content)
    told = am("review", "--kept", "kept", "--out", "made")
    assert told.code == 1
    assert told.err.splitlines()[-1].startswith(f"am: {file}: ")
    if file.endswith("atom.csv"):
        assert am("leaderboard", "--kept", "kept", "--out", "page.md").sentence.startswith(f"{file}: ")
