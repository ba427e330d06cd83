"""Every step of a tiny project, through real files."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from am.io.samples import read_samples
from am.io.snapshots import read_snapshots
from am.metrics.evaluate import evaluate
from am.metrics.settings import Energy, Mmd
from am.training.checkpoint import read_tensors

pytestmark = pytest.mark.trains


@pytest.fixture
def results(chain: Path) -> Path:
    return chain / "results" / "tiny"


@pytest.fixture
def atom(results: Path) -> Path:
    return results / "atom"


def test_every_step_leaves_what_the_next_one_reads_and_nothing_else(results: Path) -> None:
    files = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}
    shown = [
        *(f"figures/{name}.png" for name in ("iterations", "times", "losses", "histograms")),
        "figures/animation.gif",
    ]
    shown += [f"tables/atom{name}" for name in (".csv", ".md", "_times.csv", "_times.md", "_pairs.csv", "_pairs.md")]
    shown += ["verdict.html", "verdict.csv", "verdict.md"]
    each = ["samples.npz", "provenance.json", "metrics.csv", "blocks.csv", "draws.csv"]
    trained = ["model.safetensors", "snapshots.safetensors", "training.csv", "training.json", "history.csv"]
    shown += ["atom/data.h5ad", "atom/floor.csv"]
    shown += [
        f"atom/{run}/seed{seed}/{table}.csv"
        for run in ("am", "oracle")
        for seed in (0, 1)
        for table in ("metrics", "blocks", "draws")
    ]
    shown += [f"atom/am/seed{seed}/history.csv" for seed in (0, 1)]
    expected = {"config.yaml", "data.h5ad", "floor.csv", "am/config.yaml", "oracle/config.yaml"}
    expected |= {f"{run}/seed{seed}/{name}" for run in ("am", "oracle") for seed in (0, 1) for name in each}
    expected |= {f"am/seed{seed}/{name}" for seed in (0, 1) for name in trained}
    made = {f"atom/{name}" for name in expected} | set(shown) | {f"{name}.provenance.json" for name in shown}
    assert files == made


def test_points_are_those_of_the_experiment(atom: Path) -> None:
    points = read_snapshots(atom / "data.h5ad")
    frame = pd.DataFrame({"split": points.split, "seed": points.seed, "time": points.time})
    sizes = frame.groupby(["split", "seed", "time"]).size().to_dict()
    test = {("test", seed, time): 40 for seed in (0, 1) for time in (0.0, 0.5, 1.0)}
    assert sizes == test | {("train", -1, time): 20 for time in (0.0, 0.5, 1.0)}
    assert len(np.unique(points.x, axis=0)) == len(points.x)


def test_samples_start_where_the_data_do_and_stand_at_the_times_asked_for(atom: Path) -> None:
    for run in ("am", "oracle"):
        for seed in (0, 1):
            samples = read_samples(atom / run / f"seed{seed}" / "samples.npz")
            assert samples.x.shape == (80, 3)
            assert samples.time.tolist() == [0.5] * 40 + [1.0] * 40
            assert samples.log_weight is None
    start = read_snapshots(atom / "data.h5ad").test(0, 0.0)
    early = read_samples(atom / "am" / "seed0" / "samples.npz").at(0.5)[0]
    # 12 steps of training teach next to nothing: particles are near where they began, one by one.
    assert np.corrcoef(start[:, 0], early[:, 0])[0, 1] > 0.99


def test_metrics_are_those_between_the_samples_and_the_truth_of_the_seed(atom: Path) -> None:
    truth = read_snapshots(atom / "data.h5ad")
    for run in ("am", "oracle"):
        for seed in (0, 1):
            folder = atom / run / f"seed{seed}"
            table = pd.read_csv(folder / "metrics.csv").set_index(["time", "metric"])
            assert set(table.index) == {(time, metric) for time in (0.5, 1.0) for metric in ("mmd", "energy")}
            assert set(zip(table["experiment"], table["method"], table["seed"], table["n_samples"], strict=True)) == {
                ("atom", run, seed, 40)
            }
            for time in (0.5, 1.0):
                x = torch.from_numpy(read_samples(folder / "samples.npz").at(time)[0])
                y = torch.from_numpy(truth.test(seed, time))
                for metric in (Mmd(), Energy()):
                    value = evaluate(metric, x, y, torch.Generator())
                    assert table.loc[(time, metric.label), "value"] == pytest.approx(value)


def test_the_floor_has_repeats_of_both_sizes_and_history_a_row_a_snapshot(atom: Path) -> None:
    floor = pd.read_csv(atom / "floor.csv")
    assert floor.groupby(["n_samples", "time", "metric"]).size().to_dict() == {
        (n, time, metric): 2
        for n, metric in ((40, "mmd"), (40, "energy"), (20, "mmd"))  # history is of the first metric alone
        for time in (0.5, 1.0)
    }
    assert floor["value"].nunique() == len(floor)
    for seed in (0, 1):
        history = pd.read_csv(atom / "am" / f"seed{seed}" / "history.csv")
        assert history["iteration"].tolist() == [6, 12]
        assert history[["method", "seed", "metric", "n_samples"]].drop_duplicates().to_numpy().tolist() == [
            ["am", seed, "mmd", 20]
        ]


def test_the_last_snapshot_is_the_model_and_seeds_differ(atom: Path) -> None:
    models = []
    for seed in (0, 1):
        folder = atom / "am" / f"seed{seed}"
        model, about = read_tensors(folder / "model.safetensors")
        snapshots, _ = read_tensors(folder / "snapshots.safetensors")
        assert about["run"] == f"atom/am/{seed}"
        assert {name.split("/")[0] for name in snapshots} == {"6", "12"}
        assert all(torch.equal(snapshots[f"12/{name}"], weight) for name, weight in model.items())
        assert pd.read_csv(folder / "training.csv")["step"].tolist() == [4, 8, 12]
        models.append(model["network.last.weight"])
    assert not torch.equal(*models)


def test_provenance_tells_what_was_read_and_what_it_cost(chain: Path, atom: Path) -> None:
    def of(path: Path) -> Any:
        return json.loads(path.read_text())

    def hashes(*paths: Path) -> dict[str, str]:
        return {path.relative_to(chain).as_posix(): sha256(path.read_bytes()).hexdigest() for path in paths}

    folder = atom / "am" / "seed1"
    trained, sampled = of(folder / "training.json"), of(folder / "provenance.json")
    written = [folder / name for name in ("model.safetensors", "snapshots.safetensors", "training.csv")]
    assert trained["data"] == hashes(atom / "data.h5ad")
    assert trained["files"] == {Path(path).name: digest for path, digest in hashes(*written).items()}
    assert sampled["data"] == hashes(atom / "data.h5ad", folder / "model.safetensors")
    assert list(sampled["files"].items()) == [("samples.npz", *hashes(folder / "samples.npz").values())]
    assert trained["device"] == sampled["device"] == "cpu"
    assert trained["seed"] == sampled["seed"] == 1
    assert trained["nfe"] is None
    assert sampled["nfe"] > 5
    assert sampled["train_seconds"] == trained["train_seconds"] > 0
    assert trained["versions"]["torch"] == torch.__version__.split("+")[0]
    oracle = of(atom / "oracle" / "seed1" / "provenance.json")
    assert (oracle["train_seconds"], oracle["nfe"], oracle["data"]) == (None, 0, trained["data"])


def test_tables_figures_and_verdict_show_the_runs(results: Path) -> None:
    table = pd.read_csv(results / "tables" / "atom.csv")
    values = pd.concat(pd.read_csv(path) for path in (results / "atom" / "am").glob("seed*/metrics.csv"))
    expected = values[values["metric"] == "mmd"].groupby("seed")["value"].mean().mean()
    shown = table[(table["method"] == "am") & (table["metric"] == "mmd")]
    assert shown["mean"].tolist() == [pytest.approx(expected)]
    assert set(table["method"]) == {"am", "oracle"}
    for name in ("iterations", "times", "losses", "histograms"):
        with Image.open(results / "figures" / f"{name}.png") as image:
            assert np.asarray(image.convert("L")).std() > 5
    with Image.open(results / "figures" / "animation.gif") as image:
        assert image.n_frames == 2  # type: ignore[attr-defined]
    verdict = pd.read_csv(results / "verdict.csv")
    assert verdict[["method", "metric"]].to_numpy().tolist() == [["am", "mmd"]]


def test_the_same_step_makes_the_same_file(chain: Path, tmp_path: Path, am: Any) -> None:
    atom = chain / "results" / "tiny" / "atom"
    about = ("--project", chain / "config", "--scale", "tiny", "--experiment", "atom", "--out")
    run, data = ("--run", atom / "am" / "config.yaml"), ("--data", atom / "data.h5ad")
    model = tmp_path / "seed0" / "model.safetensors"
    samples = tmp_path / "seed0" / "samples.npz"
    for arguments in (
        ("resolve", *about, tmp_path / "config.yaml"),
        ("floor", "--config", tmp_path / "config.yaml", "--out", tmp_path / "floor.csv"),
        ("train", *run, *data, "--seed", 0, "--accelerator", "cpu", "--out", model),
        ("sample", *run, *data, "--seed", 0, "--device", "cpu", "--model", model, "--out", samples),
    ):
        assert am(*arguments).code == 0
    for name in ("config.yaml", "floor.csv", "seed0/model.safetensors", "seed0/snapshots.safetensors"):
        theirs = atom / "am" / name if "/" in name else atom / name
        assert (tmp_path / name).read_bytes() == theirs.read_bytes(), name
    assert np.array_equal(read_samples(samples).x, read_samples(atom / "am" / "seed0" / "samples.npz").x)


def test_schemas_are_written_for_everything_that_can_be_set(am: Any, tmp_path: Path) -> None:
    assert am("schema", "--out", tmp_path / "schema.json").code == 0
    found = json.loads((tmp_path / "schema.json").read_text())
    assert {"config", "scale", "experiment", "methods/am", "datasets/hydrogen"} <= set(found)
    assert found["methods/am"]["$defs"]["TrainingSettings"]["properties"]["iterations"]["exclusiveMinimum"] == 0


def test_schemas_for_editors_are_a_file_for_each_kind_of_configuration_file(am: Any, tmp_path: Path) -> None:
    assert am("schema", "--out", tmp_path / "all.json", "--editors", tmp_path / "schema").code == 0
    everything = json.loads((tmp_path / "all.json").read_text())
    files = sorted((tmp_path / "schema").iterdir())
    assert [file.stem for file in files] == ["benchmark", "claims", "config", "experiment", "scale"]
    assert all(json.loads(file.read_text()) == everything[file.stem] for file in files)
    assert am("schema").sentence == "nothing says where to write: give --out, --editors, or both"
