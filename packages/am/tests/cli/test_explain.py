"""Where results come from: everything that a tiny project leaves, and what is said once something was touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from am.config import merge, read_yaml, write_yaml
from am.io.provenance import sidecar

pytestmark = pytest.mark.trains

RESULTS = "results/tiny"
FIGURES = ("iterations.png", "times.png", "losses.png", "histograms.png", "animation.gif")
SHOWN = [f"figures/{name}" for name in FIGURES]
SHOWN += ["tables/atom.csv", "tables/atom.md", "tables/atom_times.csv", "tables/atom_times.md"]
SHOWN += ["verdict.html", "verdict.csv", "verdict.md"]
SEED = f"{RESULTS}/atom/am/seed0"
METRICS = f"{SEED}/metrics.csv"

Explain = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def project(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project after every step, in another place than where it was made."""
    folder = tmp_path / "elsewhere"
    shutil.copytree(chain, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def explain(am: Any) -> Explain:
    def call(file: object) -> dict[str, dict[str, Any]]:
        outcome = am("explain", file, "--json")
        nodes: dict[str, dict[str, Any]] = json.loads(outcome.out)
        assert outcome.code == int(any(node["findings"] for node in nodes.values())), outcome.err
        return nodes

    return call


def findings(nodes: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    return {name: node["findings"] for name, node in nodes.items() if node["findings"]}


@pytest.mark.parametrize("shown", SHOWN)
def test_all_that_is_shown_is_explained_down_to_data_and_settings(project: Path, explain: Explain, shown: str) -> None:
    nodes = explain(f"{RESULTS}/{shown}")
    assert next(iter(nodes)) == f"{RESULTS}/{shown}"
    assert findings(nodes) == {}
    for name, node in nodes.items():
        assert (project / name).is_file()
        assert set(node["made_from"]) <= nodes.keys()
        # Whatever has no origin is settings: the points of an atom are drawn from nothing else.
        assert (node["kind"] == "settings") == (not node["made_from"]) == (not node["record"])
    assert {f"{RESULTS}/atom/config.yaml", f"{RESULTS}/atom/data.h5ad", f"{RESULTS}/atom/am/config.yaml"} <= set(nodes)
    trained = [node["record"] for name, node in nodes.items() if name.endswith(("model.safetensors", "training.csv"))]
    assert len(trained) == (1 if "histograms" in shown or "animation" in shown else 2)
    for record in trained:
        assert record["device"] == "cpu"
        assert record["train_seconds"] > 0
        assert {"commit", "code_digest", "versions", "seed"} <= record.keys()


def test_a_whole_folder_is_explained_at_once(project: Path, am: Any) -> None:
    told = am("explain", RESULTS)
    shown = [path for folder in ("figures", "tables") for path in (project / RESULTS / folder).iterdir()]
    shown += (project / RESULTS).glob("verdict.*")
    names = {path.relative_to(project).as_posix() for path in shown if path.suffix != ".json"}
    assert told.code == 0
    assert set(told.out.splitlines()[:-1]) == {f"{name}: as it was recorded" for name in names}
    assert told.out.splitlines()[-1] == f"{len(names)} of {len(names)} are as they were recorded"


def test_a_folder_in_which_something_was_touched_fails_and_says_what(project: Path, am: Any) -> None:
    table, figure = f"{RESULTS}/tables/atom.csv", f"{RESULTS}/figures/of_my_own.png"
    (project / table).write_text("made up\n")
    (project / figure).write_bytes(b"made up")
    told = am("explain", RESULTS)
    assert told.code == 1
    lines = dict(line.split(": ", 1) for line in told.out.splitlines()[:-1])
    assert lines[table].startswith("edited: it is not the file that was written")
    assert lines[figure] == "nothing tells where it comes from"
    assert lines[f"{RESULTS}/tables/atom.md"] == "as it was recorded"
    assert am("explain", "config").err.startswith("am: config: there is no figure, table or verdict below it")


def test_the_chain_has_its_order(project: Path, explain: Explain) -> None:
    nodes, at = explain(f"{RESULTS}/tables/atom.csv"), f"{RESULTS}/tables/atom.csv"
    for step in (METRICS, f"{SEED}/samples.npz", f"{SEED}/model.safetensors", f"{RESULTS}/atom/data.h5ad"):
        assert step in nodes[at]["made_from"]
        at = step
    assert nodes[at]["made_from"] == [f"{RESULTS}/atom/config.yaml"]


def test_people_see_a_tree(project: Path, am: Any) -> None:
    lines = am("explain", f"{RESULTS}/figures/times.png").out.splitlines()
    where = {name: next(i for i, line in enumerate(lines) if line.endswith(name)) for name in (METRICS, "samples.npz")}
    assert lines[0] == f"{RESULTS}/figures/times.png"
    assert lines[where[METRICS]].index(METRICS) < lines[where["samples.npz"]].index(SEED)
    assert where[METRICS] < where["samples.npz"]
    assert "seed 0" in lines[where["samples.npz"] + 1]
    assert "\x1b" not in "".join(lines)
    assert lines[-1].endswith("all as they were recorded.")


@pytest.mark.parametrize("name", ["figures/times.png", "figures/animation.gif", "figures/times.pdf"])
def test_a_figure_that_was_moved_tells_it_by_what_is_inside(
    project: Path, explain: Explain, am: Any, name: str
) -> None:
    about = ("--project", "config", "--scale", "tiny", "--experiment", "atom")
    if name.endswith(".pdf"):
        inputs = [METRICS, f"{RESULTS}/atom/floor.csv"]
        assert am("draw", "times", *inputs, *about, "--out", f"{RESULTS}/{name}").code == 0
    moved = project.parent / f"a copy (1){Path(name).suffix}"
    shutil.copy(project / RESULTS / name, moved)
    here, there = explain(f"{RESULTS}/{name}"), explain(moved)
    assert next(iter(there)) == str(moved)
    assert set(here) - {f"{RESULTS}/{name}"} == set(there) - {str(moved)}
    assert findings(there) == {}


def test_a_file_that_was_touched_is_edited_and_what_was_made_of_it_stale(project: Path, explain: Explain) -> None:
    table = pd.read_csv(METRICS)
    table.assign(value=table["value"] / 2).to_csv(METRICS, index=False)
    (project / SEED / "samples.npz").write_bytes(b"0")
    found = findings(explain(f"{RESULTS}/verdict.html"))
    assert found.keys() == {f"{RESULTS}/verdict.html", METRICS, f"{SEED}/samples.npz"}
    assert found[f"{RESULTS}/verdict.html"][0].startswith(f"stale: {METRICS} has changed since")
    assert [finding.split(":")[0] for finding in found[METRICS]] == ["edited", "stale"]
    assert [finding.split(":")[0] for finding in found[f"{SEED}/samples.npz"]] == ["edited"]


@pytest.mark.parametrize("name", [f"{SEED}/model.safetensors", f"{RESULTS}/atom/data.h5ad", METRICS])
def test_an_input_that_is_gone_is_missing(project: Path, explain: Explain, name: str) -> None:
    (project / name).unlink()
    nodes = explain(f"{RESULTS}/figures/times.png")
    assert findings(nodes) == {name: ["missing: there is no such file"]}
    assert nodes[name]["made_from"]  # what is beside it still tells


def change(file: Path, changes: dict[str, Any]) -> None:
    write_yaml(merge(read_yaml(file), changes), file)


@pytest.mark.parametrize(
    ("file", "changes", "stale"),
    [
        (f"{RESULTS}/atom/am/config.yaml", {"settings": {"training": {"iterations": 13}}}, {"model", "samples"}),
        (f"{RESULTS}/atom/am/config.yaml", {"sampling": {"solver": {"method": "euler"}}}, {"samples"}),
        (f"{RESULTS}/atom/am/config.yaml", {"about": {"title": "Another"}}, set()),
        (f"{RESULTS}/atom/config.yaml", {"seeds": [0, 1, 2]}, set()),
        (f"{RESULTS}/atom/config.yaml", {"evaluation": {"metrics": [{"kind": "mmd"}]}}, {"metrics", "floor"}),
        (f"{RESULTS}/atom/config.yaml", {"evaluation": {"floor_repeats": 3}}, {"floor"}),
        (f"{RESULTS}/atom/config.yaml", {"evaluation": {"snapshot_size": 3}}, {"data"}),
        ("config/experiments/atom.yaml", {"title": "An atom of hydrogen"}, set()),
        ("config/experiments/atom.yaml", {"methods": {"am": {"title": "AM!"}}}, {"atom"}),
        ("config/scales/tiny.yaml", {"experiments": {"atom": {"published": []}}}, {"atom"}),
    ],
)
def test_settings_that_changed_make_stale_what_depends_on_them_and_nothing_else(
    project: Path, explain: Explain, file: str, changes: dict[str, Any], stale: set[str]
) -> None:
    change(project / file, changes)
    found = findings(explain(f"{RESULTS}/tables/atom.csv"))
    assert {Path(name).stem for name in found} - {"provenance"} == stale
    assert all(finding.startswith("stale: what counts of ") for said in found.values() for finding in said)


def test_settings_are_those_of_the_experiment_that_a_record_names_and_of_the_file_in_older_records(
    project: Path, explain: Explain
) -> None:
    variants = {"renamed": {"methods": {"am": {"title": "AM!"}}}}
    change(project / "config/experiments/atom.yaml", {"variants": variants})
    beside = sidecar(project / f"{RESULTS}/tables/atom.csv")
    record = json.loads(beside.read_text())
    (asked,) = record["settings"]
    assert asked["experiment"] == "atom"
    for name, stale in (("atom", False), ("atom_renamed", True), (None, False)):
        told = {key: value for key, value in {**asked, "experiment": name}.items() if value is not None}
        beside.write_text(json.dumps({**record, "settings": [told]}))
        assert bool(findings(explain(f"{RESULTS}/tables/atom.csv"))) == stale


def test_the_metric_along_training_depends_on_how_samples_are_drawn(project: Path, explain: Explain) -> None:
    change(project / f"{RESULTS}/atom/am/config.yaml", {"sampling": {"solver": {"method": "euler"}}})
    assert f"{SEED}/history.csv" in findings(explain(f"{RESULTS}/figures/iterations.png"))


def test_code_that_changed_makes_stale(project: Path, explain: Explain) -> None:
    """As seen from a record of other code, which is what the code of then is now."""
    beside = sidecar(project / METRICS)
    beside.write_text(json.dumps(json.loads(beside.read_text()) | {"code_digest": "0" * 64}))
    record = project / SEED / "training.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"code_digest": "0" * 64}))
    found = findings(explain(f"{RESULTS}/tables/atom.md"))
    assert found == {name: ["stale: the code has changed since"] for name in (METRICS, f"{SEED}/model.safetensors")}


def test_samples_from_elsewhere_are_unrecorded(project: Path, explain: Explain) -> None:
    (project / SEED / "provenance.json").unlink()
    assert findings(explain(METRICS)) == {f"{SEED}/samples.npz": ["unrecorded: nothing tells what made it"]}


def test_cells_of_ones_own_are_a_source(project: Path, explain: Explain, am: Any) -> None:
    import numpy as np
    from anndata import AnnData

    rng = np.random.default_rng(0)
    cells = AnnData(rng.normal(size=(40, 2)).astype(np.float32))
    cells.obs["day"], cells.obsm["X_pca"] = np.repeat([0.0, 1.0], 20), np.asarray(cells.X)
    cells.write_h5ad("my.h5ad")
    assert (
        am("fit", "my.h5ad", "--method", "am", "--time-key", "day", "--iterations", 2, "--accelerator", "cpu").code == 0
    )
    names = ["my_am.h5ad", "model.safetensors", "trajectories.png", "trajectories.pdf", "training.csv"]
    for name in names:
        nodes = explain(f"my_am/{name}")
        assert nodes[f"my_am/{name}"]["made_from"] == ["my.h5ad", "my_am/settings.yaml"]
        assert [node["kind"] for node in nodes.values()] == ["file", "source", "settings"]
        assert findings(nodes) == {}
    change(project / "my_am/settings.yaml", {"seed": 1})
    for name in names:
        assert findings(explain(f"my_am/{name}")).keys() == {f"my_am/{name}"}


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("absent.png", None, "absent.png: there is no such file"),
        ("alone.csv", "a,b\n", "alone.csv: nothing tells where it comes from, neither inside it nor beside it"),
        ("broken.png", "\x89PNG\r\n", "broken.png: nothing tells where it comes from, neither inside it nor beside it"),
        ("empty.pdf", "", "empty.pdf: nothing tells where it comes from, neither inside it nor beside it"),
        ("config/config.yaml", None, "config/config.yaml: nothing tells where it comes from"),
    ],
)
def test_what_is_not_known_is_one_sentence(
    project: Path, am: Any, name: str, content: str | None, sentence: str
) -> None:
    if content is not None:
        (project / name).write_text(content)
    assert am("explain", name).sentence.startswith(sentence)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"inputs": {}}',
        "[" * 100_000 + "]" * 100_000,
        '{"inputs": {}, "commit": "", "code_digest": "", "code": []}',
        '{"inputs": {}, "commit": "", "code_digest": NaN, "sha256": ""}',
        '{"inputs": [1], "code_digest": ""}',
        '{"inputs": {"a": 1}, "code_digest": ""}',
        '{"inputs": {}, "code_digest": "", "settings": [{"file": "config/config.yaml"}]}',
    ],
)
def test_a_record_that_is_none_is_one_sentence(project: Path, am: Any, content: str) -> None:
    sidecar(project / METRICS).write_text(content)
    assert f"{METRICS}.provenance.json: not a record of provenance (" in am("explain", METRICS).sentence


def test_records_that_point_anywhere_do_no_harm(project: Path, explain: Explain) -> None:
    made_of = {"../../../etc/passwd": "0", "/dev/null": "0", METRICS: "0"}
    settings = [{"file": "/dev/zero", "keys": ["x"], "sha256": ""}, {"file": METRICS, "keys": [], "sha256": ""}]
    codes: list[list[str]] = [["../../x", "am.nothing"], ["fit", "nothing"], [""]]
    for code in codes:
        record = {"inputs": made_of, "commit": "", "code_digest": "", "sha256": "", "code": code, "settings": settings}
        sidecar(project / METRICS).write_text(json.dumps(record))
        assert "stale: the code has changed since" in findings(explain(METRICS))[METRICS]


def test_a_record_may_list_no_code_and_no_settings(project: Path, explain: Explain) -> None:
    record = json.loads(sidecar(project / METRICS).read_text())
    sidecar(project / METRICS).write_text(json.dumps(record | {"code": [], "settings": []}))
    assert findings(explain(METRICS)) == {}


def test_faults_have_the_same_exit_status_of_a_file_and_of_a_folder(project: Path, am: Any) -> None:
    for shown in (f"{RESULTS}/tables/atom.csv", RESULTS):
        assert am("explain", shown).code == 0
    Path(METRICS).write_text("made up\n")
    for shown in ([f"{RESULTS}/tables/atom.csv"], [f"{RESULTS}/tables/atom.csv", "--json"], [RESULTS]):
        assert am("explain", *shown).code == 1


def test_results_are_explained_from_within_their_folder(
    project: Path, explain: Explain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / SEED)
    assert findings(explain("samples.npz")) == {}


def test_what_never_ends_is_refused_at_once(project: Path, am: Any) -> None:
    os.mkfifo("pipe")
    assert am("explain", "pipe").sentence == "pipe: it is no plain file"
    assert am("explain", "/dev/zero").sentence == "/dev/zero: it is no plain file"
    beside = sidecar(project / METRICS)
    beside.unlink()
    os.mkfifo(beside)
    assert "it is no plain file" in am("explain", METRICS).sentence


def test_tables_refuse_costs_that_are_none(project: Path, am: Any) -> None:
    file = project / SEED / "provenance.json"
    whole = json.loads(file.read_text())
    tables = ("tabulate", METRICS, "--project", "config", "--scale", "tiny", "--experiment", "atom")
    for changes in ({"nfe": "many"}, {"train_seconds": 10**400}, {"peak_memory_bytes": -1}):
        file.write_text(json.dumps(whole | changes))
        told = am(*tables, "--floor", f"{RESULTS}/atom/floor.csv", "--out", "table.csv")
        assert f"provenance.json: not a record of provenance ('{next(iter(changes))}" in told.sentence


def test_a_folder_that_am_fit_wrote_is_explained(project: Path, am: Any) -> None:
    import numpy as np
    from anndata import AnnData

    cells = AnnData(np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32))
    cells.obs["day"], cells.obsm["X_pca"] = np.repeat([0.0, 1.0], 20), np.asarray(cells.X)
    cells.write_h5ad("my.h5ad")
    fit = (
        "fit",
        "my.h5ad",
        "--method",
        "am",
        "--time-key",
        "day",
        "--iterations",
        2,
        "--accelerator",
        "cpu",
        "--out",
        "fitted",
    )
    assert am(*fit).code == 0
    told = am("explain", "fitted")
    files = json.loads(Path("fitted/provenance.json").read_text())["files"]
    assert told.code == 0
    assert set(told.out.splitlines()[:-1]) == {f"fitted/{name}: as it was recorded" for name in files}
    assert {"trajectories.png", "my_am.h5ad"} <= files.keys()
    Path("fitted/trajectories.png").unlink()
    told = am("explain", "fitted")
    assert told.code == 1
    assert "fitted/trajectories.png: missing: there is no such file" in told.out


def test_what_am_review_makes_of_committed_metrics_is_as_recorded(
    project: Path, am: Any, stored: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a benchmark that is opt-in, which `am review` takes part of and the settings do not name."""
    benchmark = project / "workflow/benchmarks/extra"
    benchmark.mkdir(parents=True)
    about = {"title": "Extra", "citation": "none", "licence": "MIT", "experiments": ["atom"], "opt_in": True}
    write_yaml(about, benchmark / "benchmark.yaml")
    (benchmark / "rules.smk").touch()
    metrics = stored(project) / "tiny/atom/metrics.csv"
    assert am("review", "--accept").code == 0
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    told = am("explain", "results/verify")
    assert told.code == 0, told.out  # unpacked, without git
    for arguments in (["init"], ["add", "results/expected"], ["commit", "-m", "kept"]):
        names = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *names, *arguments], check=True, capture_output=True)
    assert am("explain", "results/verify").code == 0
    table = pd.read_csv(metrics)
    table.assign(value=table["value"] / 2).to_csv(metrics, index=False)
    am("review", "--accept")
    told = am("explain", "results/verify/verdict.csv")
    assert told.code == 1
    assert told.out.splitlines()[-1].endswith("metrics.csv: edited: it is not the file that was committed")
