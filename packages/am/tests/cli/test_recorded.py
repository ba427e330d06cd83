"""Only what is asked for and as recorded goes into verdicts, tables, figures and reports: results that were touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from am.config import merge, read_yaml, write_yaml
from am.io.provenance import file_sha256, origin, sidecar, write_origin

pytestmark = pytest.mark.trains

RESULTS = Path("results/tiny")
ATOM = RESULTS / "atom"
SEED = ATOM / "am/seed0"
ABOUT = ("--project", "config", "--scale", "tiny")
FLOOR = ("--floor", ATOM / "floor.csv")
Change = Callable[[], None]


@pytest.fixture(autouse=True)
def project(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a finished project, to be touched."""
    shutil.copytree(chain, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def verdict(am: Any, *more: object) -> tuple[int, pd.DataFrame, str]:
    """Exit status, the published number's row for each experiment, and what was said of faults."""
    told = am("verify", *ABOUT, "--results", RESULTS, "--kept", "kept", "--out", "made/verdict.html", *more)
    return told.code, pd.read_csv("made/verdict.csv").set_index("method"), told.err


def halve(file: Path) -> None:
    table = pd.read_csv(file)
    table.assign(value=table["value"] / 2).to_csv(file, index=False)


def record_anew(file: Path, **changes: Any) -> None:
    """Write the record of a file so that it tells the file's hash."""
    told = json.loads(sidecar(file).read_text())
    sidecar(file).write_text(json.dumps(told | {"sha256": file_sha256(file)} | changes))


def edited() -> None:
    halve(SEED / "metrics.csv")


def edited_blocks() -> None:
    (SEED / "blocks.csv").write_text((SEED / "blocks.csv").read_text() + "atom,am,0,0.5,mmd,0.1,40,0\n")


def blocks_gone() -> None:
    (SEED / "blocks.csv").unlink()
    sidecar(SEED / "blocks.csv").unlink()


def metrics_of_another_seed() -> None:
    for name in ("metrics.csv", "metrics.csv.provenance.json"):
        shutil.copy(ATOM / "am/seed1" / name, SEED / name)


def metrics_of_another_run() -> None:
    for name in ("metrics.csv", "metrics.csv.provenance.json"):
        shutil.copy(ATOM / "oracle/seed0" / name, SEED / name)


def samples_of_another_seed() -> None:
    shutil.copy(ATOM / "am/seed1/samples.npz", SEED)


def samples_of_another_seed_with_their_record() -> None:
    for name in ("samples.npz", "provenance.json"):
        shutil.copy(ATOM / "am/seed1" / name, SEED)


def samples_of_another_run_with_their_record() -> None:
    for name in ("samples.npz", "provenance.json"):
        shutil.copy(ATOM / "oracle/seed0" / name, SEED)


def no_record() -> None:
    edited()
    sidecar(SEED / "metrics.csv").unlink()


def settings_of_the_results() -> None:
    """After a change, but for what is made anew: the files of settings alone."""
    file = ATOM / "am/config.yaml"
    write_yaml(merge(read_yaml(file), {"settings": {"training": {"iterations": 13}}}), file)
    change_settings()


def change_settings() -> None:
    file = Path("config/experiments/atom.yaml")
    write_yaml(merge(read_yaml(file), {"methods": {"am": {"settings": {"training": {"iterations": 13}}}}}), file)


def weights() -> None:
    with (SEED / "model.safetensors").open("ab") as file:
        file.write(b"0")


TOUCHED: list[tuple[Change, str]] = [
    (edited, "seed0/metrics.csv is edited"),
    (edited_blocks, "seed0/blocks.csv is edited"),
    (blocks_gone, "seed0/blocks.csv is missing"),
    (metrics_of_another_seed, "seed0/metrics.csv is misplaced: it "),
    (metrics_of_another_run, "seed0/metrics.csv is misplaced: it "),
    (samples_of_another_seed, "seed0/samples.npz is edited"),
    (samples_of_another_seed_with_their_record, "seed0/samples.npz is misplaced: its record is of seed 1"),
    (samples_of_another_run_with_their_record, "am/config.yaml has changed since"),
    (no_record, "seed0/metrics.csv is unrecorded"),
    (settings_of_the_results, "am/config.yaml has changed since"),
    (change_settings, "am/config.yaml has changed since"),
    (weights, "seed0/model.safetensors is edited"),
]


def test_what_is_as_recorded_has_a_verdict(am: Any) -> None:
    code, rows, err = verdict(am)
    assert (code, err) == (0, "")
    assert rows.loc["am", "verdict"] != "not as recorded"
    assert rows.loc["am", "seeds"] == 2


def test_a_verdict_lies_with_the_results_unless_it_is_told_where(am: Any) -> None:
    _, rows, _ = verdict(am)
    for kind in ("html", "csv", "md"):
        (RESULTS / f"verdict.{kind}").unlink()
    assert am("verify", *ABOUT, "--kept", "kept").code == 0
    pd.testing.assert_frame_equal(pd.read_csv(RESULTS / "verdict.csv").set_index("method"), rows)
    assert (RESULTS / "verdict.html").is_file()


@pytest.mark.parametrize(("touch", "said"), TOUCHED, ids=[touch.__name__ for touch, _ in TOUCHED])
def test_a_row_that_is_not_as_recorded_says_so_and_has_no_verdict(am: Any, touch: Change, said: str) -> None:
    touch()
    code, rows, err = verdict(am)
    assert code == 1
    assert rows.loc["am", "verdict"] == "not as recorded"
    assert rows.loc["am", "seeds"] == 0
    assert pd.isna(rows.loc["am", "mean"])
    assert said in err
    assert err.splitlines()[-1].startswith("am: not all is as recorded")
    assert "not as recorded" in Path("made/verdict.html").read_text()


@pytest.mark.parametrize(("touch", "said"), TOUCHED, ids=[touch.__name__ for touch, _ in TOUCHED])
def test_no_table_is_made_of_it(am: Any, touch: Change, said: str) -> None:
    touch()
    told = am("tabulate", SEED / "metrics.csv", *ABOUT, "--experiment", "atom", *FLOOR, "--out", "made/atom.csv")
    assert said in told.sentence
    assert not Path("made").exists()


@pytest.mark.parametrize(
    ("figure", "inputs", "touched"),
    [
        ("times", [SEED / "metrics.csv", ATOM / "floor.csv"], ATOM / "floor.csv"),
        ("losses", [SEED / "training.csv"], SEED / "training.csv"),
        ("iterations", [SEED / "history.csv", ATOM / "floor.csv"], SEED / "history.csv"),
        ("iterations", [SEED / "history.csv", ATOM / "floor.csv"], SEED / "snapshots.safetensors"),
        ("histograms", [ATOM / "data.h5ad", SEED / "samples.npz"], SEED / "samples.npz"),
        ("histograms", [ATOM / "data.h5ad", SEED / "samples.npz"], ATOM / "data.h5ad"),
    ],
)
def test_no_figure_is_drawn_of_it(am: Any, figure: str, inputs: list[Path], touched: Path) -> None:
    with touched.open("ab") as file:
        file.write(b"\n")
    told = am("draw", figure, *inputs, *ABOUT, "--experiment", "atom", "--out", "made/figure.png")
    assert f"{touched} is edited: it is not the file that was written" in told.sentence
    assert not Path("made").exists()


@pytest.mark.parametrize("name", ["snapshots.safetensors", "data.h5ad"])
def test_no_history_is_measured_of_it(am: Any, name: str) -> None:
    touched = ATOM / name if name == "data.h5ad" else SEED / name
    with touched.open("ab") as file:
        file.write(b"\n")
    about = ("--config", ATOM / "config.yaml", "--run", ATOM / "am/config.yaml", "--data", ATOM / "data.h5ad")
    told = am("history", *about, "--snapshots", SEED / "snapshots.safetensors", "--seed", 0, "--out", "made/h.csv")
    assert f"{touched} is edited" in told.sentence


def test_samples_of_another_seed_that_were_measured_are_not_taken_for_its_own(am: Any) -> None:
    """By the command itself, so that every hash is right."""
    about = ("--config", ATOM / "config.yaml", "--data", ATOM / "data.h5ad", "--method", "am", "--seed", 0)
    samples = ("--samples", ATOM / "am/seed1/samples.npz")
    assert am("evaluate", *about, *samples, "--out", SEED / "metrics.csv").code == 0
    code, rows, err = verdict(am)
    assert (code, rows.loc["am", "verdict"]) == (1, "not as recorded")
    assert "seed0/metrics.csv is misplaced: it measures " in err


def test_the_floor_bears_every_verdict(am: Any) -> None:
    halve(ATOM / "floor.csv")
    code, rows, err = verdict(am)
    assert code == 1
    assert set(rows["verdict"]) == {"not as recorded"}
    assert "atom/floor.csv is edited" in err


def test_a_control_that_is_not_as_recorded_is_not_shown(am: Any) -> None:
    before = verdict(am)[1].loc["am"]
    halve(ATOM / "oracle/seed0/metrics.csv")
    code, rows, _ = verdict(am)
    assert code == 1
    assert rows.loc["am", ["mean", "verdict"]].tolist() == before[["mean", "verdict"]].tolist()
    assert rows.loc["am", "controls"].endswith("not as recorded")


def test_a_seed_that_nothing_asks_for_is_not_read(am: Any) -> None:
    before = verdict(am)[1].loc["am"]
    shutil.copytree(SEED, ATOM / "am/seed5")
    halve(ATOM / "am/seed5/metrics.csv")
    code, rows, _ = verdict(am)
    assert code == 0
    pd.testing.assert_series_equal(rows.loc["am"], before)
    metrics = [ATOM / f"am/seed{seed}/metrics.csv" for seed in (0, 1, 5)]
    told = am("tabulate", *metrics, *ABOUT, "--experiment", "atom", *FLOOR, "--out", "made/atom.csv")
    assert "seed5/metrics.csv is edited" in told.sentence


def test_a_whole_seed_that_nothing_asks_for_is_no_row_of_a_table(am: Any) -> None:
    write_yaml({"title": "tiny", "seeds": [0]}, Path("config/scales/tiny.yaml"))
    code, rows, _ = verdict(am)
    assert (code, rows.loc["am", "seeds"]) == (0, 1)
    metrics = [ATOM / f"am/seed{seed}/metrics.csv" for seed in (0, 1)]
    told = am("tabulate", *metrics, *ABOUT, "--experiment", "atom", *FLOOR, "--out", "made/atom.csv")
    assert "am/seed1/metrics.csv is not asked for" in told.sentence


def test_a_run_that_was_taken_out_is_not_read(am: Any) -> None:
    file = Path("config/experiments/atom.yaml")
    write_yaml(merge(read_yaml(file), {"methods": {"oracle": None}}), file)
    halve(ATOM / "oracle/seed0/metrics.csv")
    code, rows, _ = verdict(am)
    assert code == 0
    assert rows.loc["am", "seeds"] == 2
    assert pd.isna(rows.loc["am", "controls"])


def test_what_is_gone_is_checked_by_its_record(am: Any) -> None:
    """An archive holds neither points nor large samples."""
    (ATOM / "data.h5ad").unlink()
    (SEED / "samples.npz").unlink()
    assert verdict(am)[0] == 0
    record = json.loads((SEED / "provenance.json").read_text())
    record["files"]["samples.npz"] = "0" * 64
    (SEED / "provenance.json").write_text(json.dumps(record))
    code, rows, err = verdict(am)
    assert (code, rows.loc["am", "verdict"]) == (1, "not as recorded")
    assert "samples.npz has changed since" in err


def test_samples_of_another_program_need_no_record(am: Any) -> None:
    folder = Path("workflow/benchmarks/theirs")
    folder.mkdir(parents=True)
    about = {"title": "Theirs", "experiments": ["atom"], "citation": "a paper", "licence": "MIT"}
    write_yaml(about, folder / "benchmark.yaml")
    (folder / "rules.smk").write_text("")
    for seed in (0, 1):
        place = ATOM / f"theirs/seed{seed}"
        place.mkdir(parents=True)
        shutil.copy(ATOM / f"am/seed{seed}/samples.npz", place)
        given = ("--config", ATOM / "config.yaml", "--data", ATOM / "data.h5ad", "--samples", place / "samples.npz")
        assert am("evaluate", *given, "--method", "theirs", "--seed", seed, "--out", place / "metrics.csv").code == 0
    assert verdict(am)[0] == 0
    shutil.copy(ATOM / "am/seed1/samples.npz", ATOM / "theirs/seed0")
    code, _, err = verdict(am)
    assert code == 1
    assert "theirs/seed0/samples.npz has changed since" in err


def test_a_chain_of_records_without_end_is_followed(am: Any) -> None:
    files = [Path(f"chain/{number}.csv") for number in range(3000)]
    files[0].parent.mkdir()
    for file in files:
        file.write_text("a,b\n")
    for file, below in zip(files, [*files[1:], files[0]], strict=True):
        write_origin(file, origin([below], "0"))
    told = am("explain", files[0])
    assert (told.code, told.err) == (0, "")
    assert told.out.splitlines()[-1] == "3000 files, all as they were recorded."
