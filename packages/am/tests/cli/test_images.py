"""Every task on images, from the settings to a metric, by the command and through real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from am.config import read_yaml, write_yaml
from am.datasets.images import ImageSettings
from am.io.registry import find_file
from am.io.samples import read_samples
from am.io.snapshots import read_snapshots
from am.metrics.settings import COLOUR_METRICS

from ..conftest import Run

pytestmark = pytest.mark.trains

CONDITIONED = ("colorization", "superresolution", "inpainting")
FROM_NOISE = ("generation", "vp_diffusion")
TASKS = ImageSettings.model_json_schema()["properties"]["task"]["enum"]
PIXELS = 3 * 32 * 32
N = 20
SHORT = {"iterations": 3, "batch_size": 8, "boundary_batch_size": 8, "snapshots": 1}
NETWORK = {"width": 8, "depth": 2}


def project(folder: Path, task: str) -> dict[str, Any]:
    unet = {"kind": "unet", "unet": {"channels": 64, "multipliers": [1], "blocks": 1, "dropout": 0.1}}
    unet_training = {**SHORT, "iterations": 1, "batch_size": 2, "boundary_batch_size": 2}
    solver = {"method": "euler", "steps": 2}
    methods = {
        "am": {"settings": {"potential": NETWORK, "training": SHORT, "sampling": solver}},
        "no_dynamics": {},
        "oracle": {},
    }
    if task == "superresolution":
        methods["am"] = {"settings": {"potential": unet, "training": unet_training, "sampling": solver}}
    if task == "generation":
        methods["icfm"] = {"settings": {"network": NETWORK, "training": SHORT, "sampling": solver}}
    if task == "vp_diffusion":
        methods["vp_sde"] = {"settings": {"network": NETWORK, "training": SHORT, "sampling": solver}}
    metrics = [{"kind": "energy"}]
    if task in FROM_NOISE:
        metrics += [{"kind": "bits_per_dim", "images": 3, "tolerance": 0.1}, {"kind": "bits_per_dim_error"}]
        metrics += [{"kind": "median_bits_per_dim"}, {"kind": "incompressible"}]
    if task in CONDITIONED:
        methods["condition_only"] = {}
        metrics += [{"kind": "psnr"}, {"kind": "ssim"}]
    else:
        metrics += [{"kind": "efficientnet_kernel"}, {"kind": "nearest_training"}]
    experiment = {
        "title": task,
        "dataset": {"name": "natural_patches", "task": task, "stride": 32},
        "evaluation": {
            "times": [0.5, 1],
            "shown": [0.25],
            "n_samples": N,
            "metrics": metrics,
            "floor_repeats": 2,
            "history_samples": 10,
        },
        "methods": methods,
    }
    write_yaml({"scale": "tiny", "experiments": ["images"]}, folder / "config/config.yaml")
    write_yaml({"title": "tiny", "seeds": [0]}, folder / "config/scales/tiny.yaml")
    write_yaml(experiment, folder / "config/experiments/images.yaml")
    return methods


@pytest.mark.parametrize("task", TASKS)
def test_every_task_goes_from_settings_to_a_metric(
    task: str, am: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    about = ("--project", "config", "--scale", "tiny", "--experiment", "images")

    def run(*arguments: object) -> None:
        outcome = am(*arguments)
        assert outcome.code == 0, outcome

    methods = project(tmp_path, task)
    run("resolve", *about, "--out", "config.yaml")
    run("prepare", "--config", "config.yaml", "--out", "data.h5ad")
    run("floor", "--config", "config.yaml", "--out", "floor.csv")
    points = read_snapshots(Path("data.h5ad"))
    value = {}
    for name in methods:
        place = Path(name, "seed0")
        given = ("--run", Path(name, "config.yaml"), "--data", "data.h5ad", "--seed", 0)
        run("resolve", *about, "--run", name, "--out", Path(name, "config.yaml"))
        model: tuple[object, ...] = ()
        if name not in ("oracle", "no_dynamics", "condition_only"):
            model = ("--model", place / "model.safetensors")
            run("train", *given, "--accelerator", "cpu", "--out", model[1])
        run("sample", *given, *model, "--device", "cpu", "--out", place / "samples.npz")
        measured = ("--data", "data.h5ad", "--samples", place / "samples.npz", "--method", name, "--seed", 0)
        run("evaluate", "--config", "config.yaml", *measured, "--out", place / "metrics.csv")
        value[name] = pd.read_csv(place / "metrics.csv").query("time == 1").set_index("metric")["value"]
        if name == "am":
            x, _ = read_samples(place / "samples.npz").at(1.0)
            assert x.shape == (N, points.x.shape[1])
            # What an image is conditioned on stays where it is.
            np.testing.assert_array_equal(x[:, PIXELS:], points.test(0, 0.0)[:, PIXELS:])
            assert not np.array_equal(x[:, :PIXELS], points.test(0, 0.0)[:, :PIXELS])
            early, _ = read_samples(place / "samples.npz").at(0.25)  # shown, and judged by nothing
            assert not np.array_equal(early[:, :PIXELS], x[:, :PIXELS])
            assert set(pd.read_csv(place / "metrics.csv")["time"]) == {0.5, 1.0}
    if task in ("generation", "torus", "vp_diffusion"):  # others start from what the very images that judge look like
        for metric in ("energy", "efficientnet_kernel"):
            assert value["oracle"][metric] < value["no_dynamics"][metric]
        assert value["oracle"]["nearest_training"] < 1e-6
        assert value["no_dynamics"]["nearest_training"] > 1
        assert pd.read_csv("floor.csv").query("metric == 'nearest_training'")["value"].between(0.5, 2).all()
    for name, values in value.items():
        trained = name in ("am", "icfm", "vp_sde")
        bits = {"bits_per_dim", "bits_per_dim_error", "median_bits_per_dim", "incompressible"}
        assert (bits <= set(values.index)) == (trained and task in FROM_NOISE)
        if trained and task in FROM_NOISE:
            assert values["bits_per_dim"] > 2  # nothing has been learned
            told = pd.read_csv(Path(name, "seed0", "metrics.csv")).query("metric == 'bits_per_dim'")
            assert told["n_samples"].tolist() == [3]
    if task in CONDITIONED:
        assert set(pd.read_csv("floor.csv")["metric"]) == {"energy"}
        assert set(value["oracle"].index) == {"energy"}  # its images are others, with other conditions
        assert set(value["am"].index) == {"energy", "psnr", "ssim"}
        assert value["no_dynamics"]["psnr"] < value["condition_only"]["psnr"]
    for figure in ("paths", "panels"):
        run("draw", figure, "data.h5ad", "am/seed0/samples.npz", *about, "--out", f"{figure}.png")
        assert Path(f"{figure}.png.provenance.json").exists()


def test_without_inception_it_is_said_where_to_put_it(am: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AM_DATA", "elsewhere")
    project(tmp_path, "generation")
    experiment = read_yaml(tmp_path / "config/experiments/images.yaml")
    experiment["evaluation"]["metrics"] += [{"kind": "fid"}]
    write_yaml(experiment, tmp_path / "config/experiments/images.yaml")
    am("resolve", "--project", "config", "--scale", "tiny", "--experiment", "images", "--out", "config.yaml")
    weights = "weights-inception-2015-12-05-6726825d.pth"
    sentence = am("floor", "--config", "config.yaml", "--out", "floor.csv").sentence
    assert sentence.startswith(f"there is no {weights} of 'inception'; looked for it at data/raw/inception/{weights}, ")
    assert f"elsewhere/{weights}, elsewhere/inception/{weights}; fetch it with `am retrieve " in sentence
    assert f"--source inception --file {weights}" in sentence
    assert "or name a folder that holds it in the environment variable AM_DATA" in sentence
    assert not Path("floor.csv").exists()


def test_the_registry_knows_what_metrics_look_through() -> None:
    for file in {file for metric in COLOUR_METRICS for file in metric.files}:
        entry = find_file(Path(__file__).parents[4] / "data/registry.yaml", *file)
        assert entry.sha256 is not None
        assert entry.sha256.startswith("6726825d")  # which torch-fidelity puts into the file's name
        assert entry.bytes == 95_628_359
