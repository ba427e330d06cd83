"""What one run leaves: every file of the contract between steps, read here without the library."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray
from safetensors import safe_open

from ..project import ProjectCopy

TRAINED, CONTROL = ("am", "ald_ssm"), "no_dynamics"
SEEDS, TIMES, N = (0, 1), (0.5, 1.0), 50
RUNS = [(run, seed) for run in (*TRAINED, CONTROL) for seed in SEEDS]


@pytest.fixture(scope="module")
def results(finished: ProjectCopy) -> Path:
    return finished.folder / "results/tiny"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def judging_points(results: Path, seed: int, time: float) -> NDArray[np.float64]:
    data = anndata.read_h5ad(results / f"tiny/seed{seed}/data.h5ad")
    return np.asarray(data.X[(data.obs["split"] == "test") & (data.obs["time"] == time)], dtype=float)


def mmd(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """|unbiased MMD^2| with the kernel exp(-1e-4 d^2), pair by pair."""

    def kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(-1e-4 * np.sum((a[:, None] - b[None]) ** 2, axis=-1))

    n = len(x)
    within = sum((k.sum() - np.trace(k)) / (n * (n - 1)) for k in (kernel(x, x), kernel(y, y)))
    return abs(float(within - 2 * kernel(x, y).mean()))


def test_every_file_is_there_and_no_other(results: Path) -> None:
    run = {"samples.npz", "provenance.json", "metrics.csv", "blocks.csv", "draws.csv"}
    trained = run | {"model.safetensors", "snapshots.safetensors", "training.csv", "training.json", "history.csv"}
    shown = [
        f"figures/tiny_{name}.{kind}"
        for name in ("iterations", "times", "ranks", "losses", "histograms")
        for kind in ("pdf", "png")
    ]
    shown += ["figures/tiny_animation.gif", *(f"verdict.{kind}" for kind in ("html", "md", "csv"))]
    shown += [f"tables/tiny{part}.{kind}" for part in ("", "_times", "_pairs") for kind in ("csv", "md")]
    expected = {
        "tiny/config.yaml",
        "tiny/data.h5ad",
        "tiny/floor.csv",
        *shown,
        *(f"{s}.provenance.json" for s in shown),
    }
    expected |= {f"tiny/seed{seed}/data.h5ad" for seed in SEEDS}
    recorded = {"data.h5ad", "floor.csv", "metrics.csv", "blocks.csv", "draws.csv", "history.csv"}
    for name in (*TRAINED, CONTROL):
        files = trained if name in TRAINED else run
        expected |= {
            f"tiny/{name}/config.yaml",
            *(f"tiny/{name}/seed{seed}/{file}" for seed in SEEDS for file in files),
        }
    expected |= {f"{name}.provenance.json" for name in expected if name.rpartition("/")[2] in recorded}
    found = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith("logs/")} == expected


def test_training_points_hold_nothing_that_judges(results: Path) -> None:
    learned = anndata.read_h5ad(results / "tiny/data.h5ad")
    assert set(learned.obs["split"]) == {"train"}
    assert learned.obs["time"].value_counts().to_dict() == {0.0: 20, 1.0: 20}
    for seed in SEEDS:
        data = anndata.read_h5ad(results / f"tiny/seed{seed}/data.h5ad")
        mine, test = data[data.obs["split"] == "train"], data[data.obs["split"] == "test"]
        np.testing.assert_array_equal(mine.X, learned.X)
        assert set(test.obs["seed"]) == {seed}
        assert test.obs["time"].value_counts().to_dict() == {0.0: N, 0.5: N, 1.0: N}
        assert list(test.var_names) == ["x", "y", "z"]
    assert not np.isin(judging_points(results, 0, 1.0), judging_points(results, 1, 1.0)).any()


@pytest.mark.parametrize(("run", "seed"), RUNS)
def test_samples_have_their_shape_and_times(results: Path, run: str, seed: int) -> None:
    with np.load(results / f"tiny/{run}/seed{seed}/samples.npz") as file:
        assert set(file.files) == {"x", "time"}
        x, time = file["x"], file["time"]
    assert (x.shape, x.dtype) == ((len(TIMES) * N, 3), np.float32)
    np.testing.assert_array_equal(time, np.repeat(TIMES, N))
    start = judging_points(results, seed, 0.0)
    moved = [not np.allclose(x[time == t], start) for t in TIMES]
    assert moved == [run != CONTROL] * len(TIMES)


@pytest.mark.parametrize(("run", "seed"), RUNS)
def test_metrics_are_distances_between_samples_and_truth(results: Path, run: str, seed: int) -> None:
    table = pd.read_csv(results / f"tiny/{run}/seed{seed}/metrics.csv")
    assert list(table) == ["experiment", "method", "seed", "time", "metric", "value", "n_samples"]
    said = table[["experiment", "method", "seed", "metric", "n_samples"]].drop_duplicates()
    assert said.to_numpy().tolist() == [["tiny", run, seed, "mmd", N]]
    assert tuple(table["time"]) == TIMES
    with np.load(results / f"tiny/{run}/seed{seed}/samples.npz") as file:
        x, time = file["x"].astype(float), file["time"]
    expected = [mmd(x[time == t], judging_points(results, seed, t)) for t in TIMES]
    np.testing.assert_allclose(table["value"], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("run", TRAINED)
def test_training_leaves_weights_and_what_they_went_through(results: Path, run: str, seed: int) -> None:
    folder = results / f"tiny/{run}/seed{seed}"
    with (
        safe_open(folder / "model.safetensors", "np") as model,
        safe_open(folder / "snapshots.safetensors", "np") as kept,
    ):
        names = set(model.keys())
        assert set(kept.keys()) == {f"3/{name}" for name in names}
        assert all(np.isfinite(model.get_tensor(name)).all() for name in names)
        # The only snapshot is the end.
        assert all(np.array_equal(kept.get_tensor(f"3/{name}"), model.get_tensor(name)) for name in names)
    losses = pd.read_csv(folder / "training.csv")
    assert list(losses["step"]) == [1, 2, 3]
    assert {"seconds", "loss", "learning_rate", "gradient_norm"} < set(losses)
    history = pd.read_csv(folder / "history.csv")
    assert list(history) == ["experiment", "method", "seed", "iteration", "metric", "value", "n_samples"]
    assert history.drop(columns="value").to_numpy().tolist() == [["tiny", run, seed, 3, "mmd", 20]]


@pytest.mark.parametrize(("run", "seed"), RUNS)
def test_provenance_tells_what_was_read(results: Path, run: str, seed: int) -> None:
    folder = results / f"tiny/{run}/seed{seed}"
    records = {"provenance.json": results / f"tiny/seed{seed}/data.h5ad"}
    if run in TRAINED:
        records["training.json"] = results / "tiny/data.h5ad"
    for name, data in records.items():
        record = json.loads((folder / name).read_text())
        assert ("commit_unknown" in record) == (record["commit"] == "unknown")
        assert record.keys() - {"commit_unknown"} == {
            *("commit", "code_digest", "config_sha256", "data", "versions", "device", "seed", "started", "finished"),
            *("files", "train_seconds", "sample_seconds", "nfe", "peak_memory_bytes"),
        }
        trained = run in TRAINED
        read = [data, folder / "model.safetensors"] if name == "provenance.json" and trained else [data]
        assert record["data"] == {path.relative_to(results.parents[1]).as_posix(): sha256(path) for path in read}
        weights = ("model.safetensors", "snapshots.safetensors", "training.csv")
        written = ["samples.npz"] if name == "provenance.json" else weights
        assert record["files"] == {file: sha256(folder / file) for file in written}
        assert record["seed"] == seed
        assert {"python", "torch", "action-matching"} < record["versions"].keys()
        assert record["started"] <= record["finished"]
        assert (record["train_seconds"] is None) == (run not in TRAINED)
        assert record["peak_memory_bytes"] > 1e7


def test_tables_figures_and_verdict_tell_what_they_show(results: Path) -> None:
    shown = [*results.glob("tables/*.??*"), *results.glob("figures/*"), *results.glob("verdict.*")]
    shown = [path for path in shown if not path.name.endswith(".provenance.json")]
    assert len(shown) == 6 + 11 + 3
    for path in shown:
        origin = json.loads(path.with_name(f"{path.name}.provenance.json").read_text())
        assert origin["sha256"] == sha256(path)
        assert origin["inputs"]
        assert origin["inputs"] == {name: sha256(results.parents[1] / name) for name in origin["inputs"]}


def test_every_figure_table_and_verdict_is_explained_down_to_settings(finished: ProjectCopy, results: Path) -> None:
    shown = [*results.glob("tables/*.??*"), *results.glob("figures/*"), *results.glob("verdict.*")]
    for path in shown:
        if path.name.endswith(".provenance.json"):
            continue
        said = finished.call("am", "explain", str(path), "--json")
        assert said.returncode == 0, said.stdout
        nodes = json.loads(said.stdout)
        assert {name: node["findings"] for name, node in nodes.items() if node["findings"]} == {}
        assert {node["kind"] for node in nodes.values() if not node["made_from"]} == {"settings"}
        trained = {f"results/tiny/tiny/am/seed0/{name}" for name in ("model.safetensors", "snapshots.safetensors")}
        assert trained & nodes.keys() or "losses" in path.name


def test_the_verdict_compares_the_mean_with_what_was_published(results: Path) -> None:
    values = pd.concat(pd.read_csv(results / f"tiny/am/seed{seed}/metrics.csv") for seed in SEEDS)
    verdict = pd.read_csv(results / "verdict.csv").set_index("method").loc["am"]
    assert (verdict["published"], verdict["seeds"], verdict["confidence"]) == (500, len(SEEDS), "official")
    assert verdict["mean"] == pytest.approx(values["value"].mean())
    assert verdict["low"] < verdict["mean"] < verdict["high"]
    assert verdict["verdict"] == "better"


def test_settings_are_complete(results: Path) -> None:
    experiment, am = (
        yaml.safe_load((results / name).read_text()) for name in ("tiny/config.yaml", "tiny/am/config.yaml")
    )
    assert experiment["dataset"]["duration"] == 14000  # a default
    assert am["settings"]["training"]["iterations"] == 3  # the scale's
    assert am["settings"]["training"]["batch_size"] == 20  # the experiment's
    assert am["sampling"]["times"] == list(TIMES)


def test_every_job_has_its_log(results: Path) -> None:
    logs = {path.relative_to(results / "logs").as_posix() for path in (results / "logs").rglob("*.log")}
    assert {f"train_method/tiny/{run}/seed{seed}.log" for run in TRAINED for seed in SEEDS} < logs
    assert "step 3 of 3" in (results / "logs/train_method/tiny/am/seed0.log").read_text()
