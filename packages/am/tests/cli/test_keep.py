"""Results go into the store from a clean tree and as recorded, or not at all; and a rerun is compared with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from am.config import merge, read_yaml, write_yaml
from am.io.provenance import Commit, ProvenanceError, file_sha256, sidecar
from am.report.store import RUN_COLUMNS, environment, read_environments, read_kept

pytestmark = pytest.mark.trains

RESULTS = Path("results/tiny")
ATOM, STORE = RESULTS / "atom", Path("results/expected/tiny/atom")
SEED = ATOM / "am/seed0"
ABOUT = ("--scale", "tiny")


@pytest.fixture(autouse=True)
def project(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a finished project, of a clean tree."""
    shutil.copytree(chain, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr("am.steps.keep.changes", list)
    return tmp_path / "project"


def record(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())


def change(file: Path, factor: float) -> None:
    """Other values, with a record of them."""
    table = pd.read_csv(file, float_precision="round_trip")
    table.assign(value=table["value"] * factor).to_csv(file, index=False)
    told = record(sidecar(file))
    sidecar(file).write_text(json.dumps(told | {"sha256": file_sha256(file)}))


def test_every_run_and_seed_goes_into_the_store_with_its_record(am: Any) -> None:
    told = am("keep", *ABOUT)
    assert (told.code, told.out) == (0, "atom: 4 runs and seeds, and the floor\n")
    assert sorted(path.name for path in STORE.iterdir()) == ["metrics.csv", "runs.csv"]  # each seed has its own points
    kept = read_kept(STORE)["atom"]
    assert kept.edited == []
    assert [*kept.records] == kept.keys
    measured = kept.measured([("am", 0), ("oracle", 1)])
    for file, rows in ((SEED / "metrics.csv", measured.metrics[:4]), (ATOM / "floor.csv", measured.floor)):
        pd.testing.assert_frame_equal(pd.read_csv(file, float_precision="round_trip"), rows)
    row = kept.records["am", "0"]
    assert tuple(row) == RUN_COLUMNS
    sampled, trained = record(SEED / "provenance.json"), record(SEED / "training.json")
    evaluated = record(sidecar(SEED / "metrics.csv"))
    assert [row[f"{step}_code"] for step in ("train", "sample", "evaluate")] == [
        one["code_digest"] for one in (trained, sampled, evaluated)
    ]
    assert {row[f"{step}_commit"] for step in ("train", "sample", "evaluate")} == {"c" * 40}
    assert row["settings"] == sampled["config_sha256"]
    digests = {"data": ATOM / "data.h5ad", "weights": SEED / "model.safetensors", "samples": SEED / "samples.npz"}
    assert {name: row[name] for name in digests} == {name: file_sha256(file) for name, file in digests.items()}
    for name in ("device", "train_seconds", "sample_seconds", "nfe", "peak_memory_bytes", "started", "finished"):
        assert row[name] == str(sampled[name])
    assert row["environment"] == environment(sampled["versions"])
    assert read_environments(STORE.parents[1] / "environments.csv") == {row["environment"]: sampled["versions"]}
    floor, control = kept.records["floor", ""], kept.records["oracle", "1"]
    assert floor["evaluate_code"] == record(sidecar(ATOM / "floor.csv"))["code_digest"]
    assert floor["sample_code"] == floor["seed"] == control["train_code"] == control["weights"] == ""


def test_what_was_kept_before_stays_but_for_the_runs_that_are_named(am: Any) -> None:
    assert am("keep", *ABOUT).code == 0
    before = read_kept(STORE)["atom"].written
    for run, seed in (("am", 0), ("oracle", 0), ("oracle", 1)):
        change(ATOM / f"{run}/seed{seed}/metrics.csv", 2.0)
    told = am("keep", *ABOUT, "atom/oracle")
    assert (told.code, told.out) == (0, "atom: 2 runs and seeds, and the floor\n")
    after = read_kept(STORE)["atom"]
    assert {key for key in before if before[key] != after.written[key]} == {("oracle", "0"), ("oracle", "1")}
    assert after.edited == []


def test_keeping_the_same_again_changes_no_byte(am: Any) -> None:
    assert am("keep", *ABOUT).code == 0
    before = {path: path.read_bytes() for path in STORE.parents[1].rglob("*.csv")}
    assert am("keep", *ABOUT, "atom").code == 0
    assert {path: path.read_bytes() for path in STORE.parents[1].rglob("*.csv")} == before


def test_a_variant_goes_into_the_folder_of_its_file(am: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path("config/experiments/atom.yaml")
    write_yaml(merge(read_yaml(file), {"variants": {"twin": {"title": "Twin"}}}), file)
    assert am("keep", *ABOUT, "atom").code == 0
    before = {path.name: path.read_text() for path in STORE.iterdir()}
    monkeypatch.setattr("am.io.provenance._commit_here", lambda: Commit("c" * 40))
    twin = RESULTS / "atom_twin"
    config, run, place = twin / "config.yaml", twin / "oracle/config.yaml", twin / "oracle/seed0"
    about = ("--project", "config", *ABOUT, "--experiment", twin.name)
    data = ("--data", twin / "data.h5ad")
    for step in (
        ("resolve", *about, "--out", config),
        ("prepare", "--config", config, "--out", data[1]),
        ("floor", "--config", config, "--out", twin / "floor.csv"),
        ("resolve", *about, "--run", "oracle", "--out", run),
        ("sample", "--run", run, *data, "--seed", 0, "--device", "cpu", "--out", place / "samples.npz"),
        (
            *("evaluate", "--config", config, *data, "--seed", 0, "--samples", place / "samples.npz"),
            *("--method", "oracle", "--out", place / "metrics.csv"),
        ),
    ):
        assert am(*step).code == 0, step
    told = am("keep", *ABOUT, twin.name)
    assert (told.code, told.out) == (0, "atom_twin: 1 runs and seeds, and the floor\n")
    assert [path.name for path in STORE.parent.iterdir()] == ["atom"]
    assert all((STORE / name).read_text().startswith(text) for name, text in before.items())
    found = read_kept(STORE)
    assert [(name, one.edited) for name, one in found.items()] == [("atom", []), ("atom_twin", [])]
    assert found["atom_twin"].keys == [("oracle", "0"), ("floor", "")]
    both = {path.name: path.read_text() for path in STORE.iterdir()}
    assert am("keep", *ABOUT, "atom", "atom_twin").out == (
        "atom: 4 runs and seeds, and the floor\natom_twin: 1 runs and seeds, and the floor\n"
    )
    assert {path.name: path.read_text() for path in STORE.iterdir()} == both


@pytest.mark.parametrize(("more", "files"), [((), False), (("--history",), True)])
def test_history_goes_along_where_it_is_asked_for(am: Any, more: tuple[str, ...], files: bool) -> None:
    assert am("keep", *ABOUT, *more).code == 0
    assert (STORE / "history.csv.gz").is_file() is files
    if files:
        ours = pd.read_csv(STORE / "history.csv.gz", float_precision="round_trip")
        theirs = [pd.read_csv(ATOM / f"am/seed{seed}/history.csv", float_precision="round_trip") for seed in (0, 1)]
        pd.testing.assert_frame_equal(ours, pd.concat(theirs, ignore_index=True))


def test_a_tree_with_changes_is_refused_and_told_by_file(am: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("am.steps.keep.changes", lambda: [f"config/{number}.yaml" for number in range(7)])
    assert am("keep", *ABOUT).sentence == (
        "results are kept from a clean tree; commit these changes first: config/0.yaml, config/1.yaml, config/2.yaml, "
        "config/3.yaml, config/4.yaml and 2 more"
    )
    assert not STORE.exists()


def edited() -> None:
    table = pd.read_csv(SEED / "metrics.csv")
    table.assign(value=table["value"] / 2).to_csv(SEED / "metrics.csv", index=False)


def unrecorded() -> None:
    (SEED / "provenance.json").unlink()


def no_metrics_record() -> None:
    sidecar(SEED / "metrics.csv").unlink()


def stale() -> None:
    file = SEED / "provenance.json"
    file.write_text(json.dumps(record(file) | {"code_digest": "0" * 64}))


def _of_commit(file: Path, commit: str) -> None:
    file.write_text(json.dumps(record(file) | {"commit": commit}))


def changed_when_trained() -> None:
    _of_commit(SEED / "training.json", "c" * 40 + "+changes")


def changed_when_evaluated() -> None:
    _of_commit(sidecar(SEED / "metrics.csv"), "c" * 40 + "+changes")


def unknown_commit_of_the_floor() -> None:
    _of_commit(sidecar(ATOM / "floor.csv"), "unknown")


@pytest.mark.parametrize(
    ("touch", "said"),
    [
        (edited, "atom/am/seed0/metrics.csv is edited"),
        (unrecorded, "atom/am/seed0/samples.npz is unrecorded: nothing tells what made it"),
        (no_metrics_record, "atom/am/seed0/metrics.csv is unrecorded: nothing tells what made it"),
        (stale, "atom/am/seed0/samples.npz is stale: the code has changed since"),
        (changed_when_trained, f"atom, am, seed 0: its record tells of no commit of 'am train', but of '{'c' * 40}+ch"),
        (changed_when_evaluated, "atom, am, seed 0: its record tells of no commit of 'am evaluate', but of 'cc"),
        (unknown_commit_of_the_floor, "atom, floor: its record tells of no commit of 'am evaluate', but of 'unknown'"),
    ],
)
def test_what_it_cannot_vouch_for_is_refused_and_nothing_is_written(
    am: Any, touch: Callable[[], None], said: str
) -> None:
    assert am("keep", *ABOUT).code == 0
    before = {path: path.read_bytes() for path in STORE.iterdir()}
    change(ATOM / "oracle/seed0/metrics.csv", 2.0)  # which alone would be taken
    touch()
    sentence = am("keep", *ABOUT).sentence
    assert said in sentence
    assert sentence.endswith("; nothing was kept")
    assert {path: path.read_bytes() for path in STORE.iterdir()} == before


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("atmo", "there is no experiment 'atmo' in config/experiments; did you mean 'atom'?"),
        ("atom/oracel", "atom: there is no run 'oracel'; did you mean 'oracle'?"),
        ("atom/am", "results/tiny/atom: there are no results of am"),
    ],
)
def test_what_there_is_not_is_one_sentence(am: Any, named: str, said: str) -> None:
    for seed in (0, 1):
        (ATOM / f"am/seed{seed}/metrics.csv").unlink()
    assert am("keep", *ABOUT, named).sentence == said


def test_an_experiment_gives_what_there_is_of_it(am: Any) -> None:
    shutil.rmtree(ATOM / "am")
    assert am("keep", *ABOUT, "atom").out == "atom: 2 runs and seeds, and the floor\n"
    (ATOM / "floor.csv").unlink()
    assert am("keep", *ABOUT, "atom").sentence == "results/tiny/atom: there is no floor.csv beside its metrics"
    shutil.rmtree(ATOM / "oracle")
    assert am("keep", *ABOUT, "atom").sentence == "results/tiny/atom: there are no results of any run"


def test_without_results_there_is_nothing_to_keep(am: Any) -> None:
    shutil.rmtree(ATOM)
    assert am("keep", *ABOUT).sentence == "results/tiny: there are no results to keep"


def test_without_a_commit_nothing_is_clean(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    from am.io import provenance

    monkeypatch.setattr(provenance, "_commit_here", lambda: provenance.Commit("unknown", "git is not installed"))
    with pytest.raises(ProvenanceError, match="the commit of this library is unknown: git is not installed"):
        provenance.changes()


# -- comparing -------------------------------------------------------------------------------------


def test_a_rerun_is_compared_with_the_store(am: Any) -> None:
    assert am("keep", *ABOUT).code == 0
    told = am("agree", *ABOUT)
    assert (told.code, told.out.splitlines()) == (
        0,
        [
            "Agreement with results/expected/tiny:",
            "16 values stand in both, and 16 of them are identical.",
            "Of 8 means over seeds, 8 are the same but for rounding, 0 differ within the spread over seeds, "
            "0 beyond it.",
        ],
    )
    for seed in (0, 1):
        change(ATOM / f"am/seed{seed}/metrics.csv", 1000.0)
    lines = am("agree", *ABOUT).out.splitlines()
    assert lines[1] == "16 values stand in both, and 8 of them are identical."
    assert all(line.startswith("  atom, am, ") for line in lines[3:])


def test_where_nothing_is_kept_of_a_scale_it_is_said(am: Any) -> None:
    told = am("agree", *ABOUT)
    assert told.out == "results/expected/tiny: there is no reference to compare these results with\n"
    assert told.code == 0
    shutil.rmtree(ATOM)
    assert am("agree", *ABOUT).sentence == "results/tiny: there are no results to compare"
