"""What the metrics of a tiny project say again, and what is said once one of them, or a reference, is another."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from am.config import merge, read_yaml, write_yaml
from am.report.store import read_kept

pytestmark = pytest.mark.trains

METRICS, RUNS = "kept/tiny/atom/metrics.csv", "kept/tiny/atom/runs.csv"
PUBLISHED = {"method": "am", "metric": "mmd", "confidence": "restated", "source": "a page", "claim": "It works."}


@pytest.fixture(scope="module")
def finished(chain: Path, stored: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project with its results in a store."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(chain, folder)
    stored(folder, "kept")
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings, and the results that would be committed."""
    for name in ("kept", "config"):
        shutil.copytree(finished / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    publish(tmp_path, value=mean())
    return tmp_path


def metrics() -> pd.DataFrame:
    return pd.read_csv(METRICS, float_precision="round_trip")


def rows(run: str, seed: int | None = None) -> Any:
    """Of a run, and of one of its seeds, in the table of metrics."""
    table = metrics()
    return table[(table["method"] == run) & (True if seed is None else table["seed"] == seed)].index


def mean() -> float:
    table = metrics().loc[rows("am")]
    return float(table[table["metric"] == "mmd"]["value"].mean())


def change(file: str, rows: Any, vouch: bool = True, **cells: Any) -> None:
    """Write other cells into rows of a table; a value may be a function of the one that was there."""
    words = {"dtype": str, "keep_default_na": False} if file == RUNS else {"float_precision": "round_trip"}
    table = pd.read_csv(file, **words)
    for column, value in cells.items():
        table.loc[rows, column] = table.loc[rows, column].map(value) if callable(value) else value
    table.to_csv(file, index=False)
    if vouch and file == METRICS:
        vouch_for_rows()


def drop(run: str, seed: int | None = None) -> None:
    """Take a run out of the store, with its records."""
    metrics().drop(index=rows(run, seed)).to_csv(METRICS, index=False)
    records = pd.read_csv(RUNS, dtype=str, keep_default_na=False)
    gone = (records["method"] == run) & (seed is None or (records["seed"] == str(seed)))
    records[~gone].to_csv(RUNS, index=False)


def vouch_for_rows() -> None:
    """Write the records so that they tell of the rows as they are."""
    kept = read_kept(Path(METRICS).parent)["atom"]
    records = pd.read_csv(RUNS, dtype=str, keep_default_na=False)
    keys = zip(records["method"], records["seed"], strict=True)
    records.assign(rows=[kept.written.get(key, "") for key in keys]).to_csv(RUNS, index=False)


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
    # As the workflow's own steps made them.
    ours, theirs = (
        pd.read_csv(file).drop(columns=["published", "published_spread", "confidence"])
        for file in ("made/tiny/tables/atom.csv", chain / "results/tiny/tables/atom.csv")
    )
    pd.testing.assert_frame_equal(ours, theirs)
    made = {path.relative_to(project / "made").as_posix() for path in (project / "made").rglob("*.??*")}
    assert {"verdict.html", "verdict.md", "tiny/figures/atom_times.png", "tiny/tables/atom_times.md"} <= made


def test_what_an_opt_in_benchmark_has_left_is_shown_though_nobody_names_it(project: Path, am: Any) -> None:
    folder = project / "workflow/benchmarks/theirs"
    folder.mkdir(parents=True)
    about = {"title": "Theirs", "experiments": ["atom"], "citation": "a paper", "licence": "MIT", "opt_in": True}
    write_yaml(about, folder / "benchmark.yaml")
    (folder / "rules.smk").write_text("")
    table = metrics()
    pd.concat([table, table.loc[rows("am")].assign(method="theirs")]).to_csv(METRICS, index=False)
    assert review(am, "--accept")[:2] == (0, [])
    assert "| Theirs |" in (project / "made/tiny/tables/atom.md").read_text()


def test_nothing_to_compare_with_is_a_fault(project: Path, am: Any) -> None:
    code, faults, _ = review(am)
    assert code == 1
    assert [fault.split(": ", 1)[0] for fault in faults] == [
        "kept/tiny/tables.csv",
        "kept/tiny/pairs.csv",
        "kept/verdict.csv",
    ]


@pytest.mark.parametrize(("factor", "noticed"), [(1 + 1e-9, False), (1.001, True)])
def test_one_number_that_is_another_is_named(project: Path, am: Any, factor: float, noticed: bool) -> None:
    review(am, "--accept")
    first = rows("am", 1)[:1]
    change(METRICS, first, value=lambda value: value * factor)
    code, faults, _ = review(am)
    assert code == noticed
    assert bool(faults) is noticed
    found = differences()
    assert bool(found) is noticed
    if noticed:
        metric = metrics().loc[first[0], "metric"]
        assert any(number.startswith(f"atom, am, {metric}: mean is ") for number in found)
        assert all(", am, " in number for number in found)  # and no other method
        assert faults == [
            f"atom (tiny): {len(found)} numbers not as in the reference; git tracks none of the 5 files of it"
        ]


@pytest.mark.parametrize(
    ("file", "column", "row"),
    [
        (METRICS, "value", -1),  # of the floor, which stands last
        ("kept/tiny/tables.csv", "high", 2),
        ("kept/verdict.csv", "low", 0),
    ],
)
def test_neither_the_floor_nor_a_reference_may_change(project: Path, am: Any, file: str, column: str, row: int) -> None:
    review(am, "--accept")
    change(file, pd.read_csv(file).index[[row]], **{column: lambda value: value * 1.01})
    assert review(am)[0] == 1
    assert differences()
    assert all(column in number or "floor" in number for number in differences())


def test_a_run_that_is_gone_is_named(project: Path, am: Any) -> None:
    review(am, "--accept")
    drop("am")
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
    twin = metrics().loc[rows("am", 1), "value"].to_numpy() * 1.001
    change(METRICS, rows("am", 0), value=twin)
    publish(project, value=mean() * factor, **({"expect": expect} if expect else {}))
    code, faults, _ = review(am, "--accept")
    assert code == (not holds)
    assert bool(faults) is not holds
    assert all("the claim needs" in fault for fault in faults)


def test_one_seed_is_told(project: Path, am: Any) -> None:
    drop("am", 0)
    publish(project, value=mean(), source="[a page]")
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
        "kept/tiny/atmo: there is no file of experiments 'atmo'; did you mean 'atom'?"
    )
    assert am("review", "--kept", "nothing", "--out", "made").sentence == "nothing: there are no results to review"
    shutil.rmtree("kept/tiny/atmo")
    drop("floor")
    assert am("review", "--kept", "kept", "--out", "made").sentence == "atom: there is no floor among its metrics"


@pytest.fixture
def variant(project: Path) -> str:
    """The atom's twin in its file and folder: as many rows and records, of the experiment ``atom_twin``."""
    file = project / "config/experiments/atom.yaml"
    write_yaml(merge(read_yaml(file), {"variants": {"twin": {"title": "Twin"}}}), file)
    rename = ("atom,", "atom_twin,")
    there = Path(METRICS).parent
    texts = {path: path.read_text().splitlines(keepends=True) for path in there.glob("*.csv")}
    for path, (head, *lines) in texts.items():
        path.write_text("".join([head, *lines, *(line.replace(*rename, 1) for line in lines)]))
    records = pd.read_csv(RUNS, dtype=str, keep_default_na=False)
    found = read_kept(there)
    keys = zip(records["experiment"], records["method"], records["seed"], strict=True)
    records.assign(rows=[found[name].written[run, seed] for name, run, seed in keys]).to_csv(RUNS, index=False)
    return "atom_twin"


def test_variants_of_a_file_are_reviewed_from_one_folder(
    variant: str, am: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert review(am, "--accept")[:2] == (0, [])
    told = [line.partition(" files")[0] for line in caplog.messages if " files with sha256 " in line]
    assert told == ["1 of 2: atom (tiny), 2", f"2 of 2: {variant} (tiny), 2"]
    ours, theirs = (pd.read_csv(f"made/tiny/tables/{name}.csv") for name in ("atom", variant))
    pd.testing.assert_frame_equal(ours[["metric", "mean"]], theirs[["metric", "mean"]])
    commit(Path.cwd())
    table = metrics()
    change(METRICS, table.index[(table["experiment"] == variant) & (table["method"] == "am")][:1], False, value=7.0)
    code, faults, _ = review(am)
    assert code == 1
    assert faults[0] == f"{variant} (tiny): rows that are not those that their record tells: am, seed 0"
    assert faults[1].startswith(f"{variant} (tiny): 1 file differs from what was committed: {METRICS} (sha256 ")
    assert len(faults) == 2


def test_a_folder_that_is_called_as_a_variant_is_refused(variant: str, am: Any) -> None:
    """As the store had it once: nobody would read it."""
    Path(METRICS).parent.rename(f"kept/tiny/{variant}")
    assert am("review", "--kept", "kept", "--out", "made").sentence == (
        f"kept/tiny/{variant}: there is no file of experiments '{variant}'; "
        f"results of its variant '{variant}' belong into kept/tiny/atom"
    )


def commit(project: Path) -> None:
    git = ("git", "-c", "user.email=a@example.org", "-c", "user.name=A")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "kept"]):
        subprocess.run([*git, *words], cwd=project, check=True, capture_output=True)


def test_each_experiment_is_told_of_with_the_hash_of_its_files(
    project: Path, am: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        review(am, "--accept")
    files = [Path(METRICS), Path(RUNS)]
    lines = "".join(f"{sha256(file.read_bytes()).hexdigest()}  {file}\n" for file in files)
    printed = f"1 of 1: atom (tiny), {len(files)} files with sha256 {sha256(lines.encode()).hexdigest()[:12]}, "
    assert [line for line in caplog.messages if line.startswith(printed)]


def test_tampering_is_told_by_file(project: Path, am: Any) -> None:
    review(am, "--accept")
    commit(project)
    assert review(am)[:2] == (0, [])
    for run in ("am", "oracle"):
        change(METRICS, rows(run, 1)[:1], value=lambda value: value / 2)
    code, faults, printed = review(am)
    assert code == 1
    hashes = [f"{file} (sha256 {sha256(Path(file).read_bytes()).hexdigest()[:12]})" for file in (METRICS, RUNS)]
    start = f"atom (tiny): 2 files differ from what was committed: {', '.join(hashes)} -> {len(differences())} numbers"
    assert faults == [start]
    assert [f"    {number}" in printed for number in differences()] == [i < 5 for i in range(len(differences()))]
    assert f"    and {len(differences()) - 5} more, in made/differences.txt" in printed


@pytest.mark.parametrize("run", ["am", "floor"])
def test_rows_that_are_not_those_of_their_record_are_a_fault_without_git_too(project: Path, am: Any, run: str) -> None:
    change(METRICS, rows(run, 1)[:1], vouch=False, value=lambda value: value * (1 + 1e-12))
    name = {"am": "am, seed 1", "floor": "floor"}[run]
    told = f"atom (tiny): rows that are not those that their record tells: {name}"
    assert review(am, "--accept")[:2] == (1, [told])


def test_a_record_without_its_rows_is_a_fault(project: Path, am: Any) -> None:
    """A seed with a bad value cannot be left out unseen."""
    metrics().drop(index=rows("am", 0)).to_csv(METRICS, index=False)
    told = "atom (tiny): rows that are not those that their record tells: am, seed 0"
    assert review(am, "--accept")[:2] == (1, [told])


def notes(printed: str) -> list[str]:
    return [line.removeprefix("NOTE: ") for line in printed.splitlines() if line.startswith("NOTE: ")]


def test_fresh_results_are_vouched_for_and_nothing_is_noted(project: Path, am: Any) -> None:
    assert notes(review(am, "--accept")[2]) == []


def test_rows_without_a_record_are_noted_and_no_fault(project: Path, am: Any) -> None:
    records = pd.read_csv(RUNS, dtype=str, keep_default_na=False)
    records[(records["method"] != "am") | (records["seed"] != "1")].to_csv(RUNS, index=False)
    code, faults, printed = review(am, "--accept")
    assert (code, faults) == (0, [])
    assert notes(printed) == ["no record: atom (tiny): am"]
    assert Path("made/records.txt").read_text() == "no record: atom (tiny): am\n"


@pytest.mark.parametrize(
    ("run", "column", "what"),
    [
        ("am", "train_code", "train"),
        ("am", "sample_code", "sample"),
        ("oracle", "evaluate_code", "evaluate"),
        ("floor", "evaluate_code", "evaluate"),
        ("am", "settings", "settings"),
    ],
)
def test_a_digest_that_is_not_of_the_code_is_noted_and_no_fault(
    project: Path, am: Any, run: str, column: str, what: str
) -> None:
    records = pd.read_csv(RUNS, dtype=str)
    change(RUNS, records["method"] == run, **{column: "0" * 64})
    code, faults, printed = review(am, "--accept")
    assert (code, faults) == (0, [])
    assert notes(printed) == [f"digest differs from the code: {what}: atom (tiny): {run}"]


def test_other_settings_of_a_run_are_noted(project: Path, am: Any) -> None:
    file = project / "config/experiments/atom.yaml"
    write_yaml(merge(read_yaml(file), {"methods": {"am": {"settings": {"training": {"iterations": 13}}}}}), file)
    assert notes(review(am, "--accept")[2]) == ["digest differs from the code: settings: atom (tiny): am"]


def test_a_reference_or_a_published_value_that_was_changed_is_told_apart_from_metrics(project: Path, am: Any) -> None:
    review(am, "--accept")
    commit(project)
    file = "kept/tiny/tables.csv"
    whole = Path(file).read_text()
    table = pd.read_csv(file)
    table.loc[2, "high"] *= 1.01
    table.to_csv(file, index=False)
    (fault,) = review(am)[1]
    assert fault.startswith(f"atom (tiny): 1 file differs from what was committed: {file} (sha256 ")
    assert fault.endswith(") -> 1 number")
    Path(file).write_text(whole)
    publish(project, value=2 * mean())
    (fault,) = [one for one in review(am)[1] if "the claim needs" not in one]
    assert fault.endswith("not as in the reference, though its 5 files are as committed")


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("seed", 0, "a value of atom, am, seed 0 twice"),
        ("method", "oracle", "a value of atom, oracle, seed 1 twice"),
        ("experiment", "other", "rows of the experiment 'other'"),
    ],
)
def test_metrics_of_something_else_have_no_verdict(project: Path, am: Any, column: str, value: Any, said: str) -> None:
    review(am, "--accept")
    change(METRICS, rows("am", 1), **{column: value})
    code, faults, printed = review(am)
    assert code == 1
    assert faults[0] == f"{METRICS} is misplaced: it holds {said}"
    if column == "seed":
        assert "not as recorded" in printed


def test_metrics_that_nothing_asks_for_are_a_fault(project: Path, am: Any) -> None:
    review(am, "--accept")
    table = metrics()
    pd.concat([table, table.loc[rows("am", 1)].assign(seed=5)]).to_csv(METRICS, index=False)
    told = "rows are not read, since atom has no such run and seed at the scale 'tiny': am, seed 5"
    assert review(am)[:2] == (1, [f"kept/tiny/atom: {told}"])


@pytest.mark.parametrize("content", [b"", b"\0\0", b"a,b\n1,2\n", b"\xff\xfe,\n"])
@pytest.mark.parametrize("file", [METRICS, RUNS, "kept/tiny/atom/blocks.csv.gz", "kept/tiny/atom/draws.csv.gz"])
def test_a_store_that_is_no_table_is_one_sentence(project: Path, am: Any, file: str, content: bytes) -> None:
    Path(file).write_bytes(content)
    assert am("review", "--kept", "kept", "--out", "made").sentence.startswith(f"{file}: ")


@pytest.mark.parametrize("content", ["", "\0\0", "a,b\n1,2\n", "experiment,metric\n,\n"])
@pytest.mark.parametrize("file", ["kept/verdict.csv", "kept/tiny/tables.csv"])
def test_a_reference_that_is_no_table_is_one_sentence(project: Path, am: Any, file: str, content: str) -> None:
    review(am, "--accept")
    Path(file).write_text(content)
    told = am("review", "--kept", "kept", "--out", "made")
    assert told.code == 1
    assert told.err.splitlines()[-1].startswith(f"am: {file}: ")
    if file.endswith("atom.csv"):
        Path("page.md").write_text("It is <!--v tiny/atom am mmd-->?<!--/v-->.\n")
        assert am("pages", "page.md", "--kept", "kept").sentence.startswith(f"{file}: ")
