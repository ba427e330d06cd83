"""A run in one file: everything that a reviewer needs is in it, and says the same when it is unpacked elsewhere."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from am.experiments import Project
from am.steps.archive import _carried

pytestmark = pytest.mark.trains

VALIDATOR = Path(__file__).with_name("crate_validator.py")
METADATA = "ro-crate-metadata.json"
RESULTS = "results/tiny"
OUT = "results/action-matching-tiny.zip"
ARCHIVE = ("archive", "--project", "config", "--scale", "tiny", "--results", RESULTS, "--out", OUT)
SEED = f"{RESULTS}/atom/am/seed0"
AM, ORACLE = f"{SEED}/metrics.csv", f"{RESULTS}/atom/oracle/seed1/metrics.csv"


def unpacked(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder)
    return folder


def entities(folder: Path) -> Mapping[str, dict[str, Any]]:
    return {one["@id"]: one for one in json.loads((folder / METADATA).read_text())["@graph"]}


def test_unpacked_elsewhere_it_gives_the_same_verdicts(
    am: Any, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = am("review", "--accept")
    assert told.code == 0, told.out + told.err
    verify = ("verify", "--project", "config", "--scale", "tiny", "--results", RESULTS)
    assert am(*verify, "--out", "results/verify/tiny/verdict.html").code == 0
    assert am(*ARCHIVE).code == 0
    elsewhere = unpacked(project / OUT, tmp_path / "elsewhere")
    monkeypatch.chdir(elsewhere)
    again = am("review")
    assert again.code == 0, again.out + again.err
    assert am(*verify, "--out", "results/verify/tiny/verdict.html").code == 0
    for name in ("verify/verdict.csv", "verify/tiny/verdict.csv", "verify/tiny/tables/atom.csv"):
        content = (elsewhere / "results" / name).read_text()
        assert "am" in content
        assert content == (project / "results" / name).read_text()


def test_it_holds_and_describes_all_that_a_reviewer_needs_and_no_data(am: Any, project: Path, tmp_path: Path) -> None:
    assert am(*ARCHIVE).code == 0
    folder = unpacked(project / OUT, tmp_path / "elsewhere")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    weights = {f"{SEED}/{name}" for name in ("model.safetensors", "snapshots.safetensors", "training.csv")}
    shown = {f"{RESULTS}/{name}" for name in ("verdict.html", "tables/atom.csv", "tables/atom_pairs.md")}
    settings = {"Snakefile", "workflow/rules/train.smk", "config/experiments/atom.yaml", "requirements.lock"}
    origins = {f"{SEED}/provenance.json", f"{AM}.provenance.json", f"{RESULTS}/atom/data.h5ad.provenance.json"}
    kept = {f"results/expected/{name}" for name in ("tiny/atom/metrics.csv", "tiny/atom/runs.csv", "environments.csv")}
    assert files >= {AM, ORACLE, f"{SEED}/samples.npz", *weights, *shown, *settings, *origins, *kept}
    assert not any(name.startswith(RESULTS) and name.endswith(".h5ad") for name in files)

    told = entities(folder)
    described = {name for name, one in told.items() if "File" in one["@type"]}
    assert described == files - {METADATA}
    for name in described:
        content = (folder / name).read_bytes()
        assert told[name]["sha256"] == sha256(content).hexdigest()
        assert told[name]["contentSize"] == str(len(content))
    assert {part["@id"] for part in told["./"]["hasPart"]} == described
    run = told["#run"]
    assert run["instrument"] == told["./"]["mainEntity"] == {"@id": "Snakefile"}
    assert {f"{SEED}/metrics.csv", f"{RESULTS}/verdict.csv"} <= {one["@id"] for one in run["result"]}
    record = json.loads((folder / SEED / "provenance.json").read_text())
    assert run["startTime"] <= record["started"] <= record["finished"] <= run["endTime"]
    software = {told[one["@id"]]["name"]: told[one["@id"]] for one in told["Snakefile"]["softwareRequirements"]}
    assert software["torch"]["softwareVersion"] == record["versions"]["torch"]
    data = told[f"#{RESULTS}/atom/data.h5ad"]
    assert data["sha256"] == sha256((project / RESULTS / "atom/data.h5ad").read_bytes()).hexdigest()
    assert data["@id"] in {one["@id"] for one in run["object"]}
    assert told["./"]["license"] == {"@id": "https://spdx.org/licenses/MIT"}
    assert told[told["./"]["author"]["@id"]]["name"] == "The Action Matching reproduction's contributors"


def test_the_same_run_makes_the_same_bytes(am: Any, project: Path) -> None:
    assert am(*ARCHIVE).code == 0
    first = (project / OUT).read_bytes()
    for path in project.rglob("*"):
        if path.is_file():
            path.touch()
    assert am(*ARCHIVE).code == 0
    assert (project / OUT).read_bytes() == first


def test_samples_that_are_too_large_stay_out_and_are_named(am: Any, project: Path, tmp_path: Path) -> None:
    assert am(*ARCHIVE, "--largest", "0.001").code == 0
    folder = unpacked(project / OUT, tmp_path / "elsewhere")
    assert not list(folder.rglob("samples.npz"))
    assert f"{SEED}/samples.npz" in entities(folder)["./"]["description"]
    digest = sha256((project / SEED / "samples.npz").read_bytes()).hexdigest()
    assert json.loads((folder / SEED / "provenance.json").read_text())["files"] == {"samples.npz": digest}


def test_what_was_edited_is_told(am: Any, project: Path, tmp_path: Path) -> None:
    with (project / RESULTS / "tables/atom.csv").open("a") as file:
        file.write("\n")
    assert am(*ARCHIVE).code == 0
    sentence = "1 of 14 figures, tables and verdicts are not as they were recorded"
    assert sentence in entities(unpacked(project / OUT, tmp_path / "elsewhere"))["#run"]["description"]


@pytest.mark.parametrize("missing", [f"{RESULTS}/verdict.csv", AM, ORACLE, f"{SEED}/model.safetensors"])
def test_an_unfinished_run_is_refused_and_nothing_is_written(am: Any, project: Path, missing: str) -> None:
    (project / missing).unlink()
    told = am(*ARCHIVE)
    assert told.sentence == f"{missing}: no such file; run the workflow to its verdict first"
    assert not (project / OUT).exists()


@pytest.mark.parametrize("file", ["provenance.json", "training.json", "metrics.csv.provenance.json"])
@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000, '{"data": {}}'], ids=["empty", "a list", "deep", "short"])
def test_a_record_that_is_none_is_one_sentence(am: Any, project: Path, file: str, content: str) -> None:
    (project / SEED / file).write_text(content)
    assert f"{SEED}/{file}: not a record of provenance (" in am(*ARCHIVE).sentence
    assert not (project / OUT).exists()


@pytest.mark.parametrize("name", ["a b.yaml", "$(touch x).yaml", "ü.yaml", "-rf.yaml", "a\nb.yaml"])
def test_names_that_are_not_safe_everywhere_are_refused(am: Any, project: Path, name: str) -> None:
    (project / "workflow" / name).write_text("")
    told = am(*ARCHIVE)
    assert "a file of an archive is named in letters, digits and . _ + -" in told.sentence
    assert not (project / OUT).exists()


def test_links_stay_out(am: Any, project: Path) -> None:
    (project / "workflow/link.yaml").symlink_to("/etc/passwd")
    (project / "workflow/folder").symlink_to("/etc")
    assert am(*ARCHIVE).code == 0
    with zipfile.ZipFile(project / OUT) as content:
        assert not [name for name in content.namelist() if "link" in name or "workflow/folder" in name]
        assert {stat.S_IFMT(entry.external_attr >> 16) for entry in content.infolist()} == {stat.S_IFREG}


@pytest.mark.slow
def test_the_validator_of_the_format_finds_it_valid(am: Any, project: Path, tmp_path: Path) -> None:
    """In an environment of its own: it needs a `rich` that is older than the one that all else here is locked with."""
    assert am(*ARCHIVE).code == 0
    python, uv = tmp_path / "validator/bin/python", Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, python.parents[1]], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes"]
    subprocess.run([*install, "--requirements", VALIDATOR.with_suffix(".lock")], check=True)

    def faults(crate: Path) -> list[str]:
        command = [python, VALIDATOR, crate]
        run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        told = json.loads(run.stdout)
        assert told["checks"] > 50
        return told["faults"]

    assert faults(project / OUT) == []
    broken = unpacked(project / OUT, tmp_path / "broken")
    graph = json.loads((broken / METADATA).read_text())
    next(one for one in graph["@graph"] if one["@id"] == "#run")["instrument"] = {"@id": "LICENSE"}
    (broken / METADATA).write_text(json.dumps(graph))
    assert any("MUST reference the root data entity's mainEntity" in fault for fault in faults(broken))


def test_cells_that_the_library_carries_are_told_with_their_licence() -> None:
    root = Path(__file__).parents[4]
    told = dict(_carried(Project(root / "config", {"experiments": ["myoblast"]}), root))
    (file,) = told
    assert (root / file).is_file()
    assert told[file]["license"] == "Artistic-2.0"
    assert not dict(_carried(Project(root / "config", {"experiments": ["hydrogen"]}), root))
