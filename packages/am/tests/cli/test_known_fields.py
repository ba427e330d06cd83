"""What methods say of points whose velocity and growth are known, through the steps, by the command."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from am.config import write_yaml
from am.io.samples import read_samples
from am.io.snapshots import read_snapshots
from am.metrics.settings import VelocityError
from am.runs import build_dataset, read_run
from am.steps.sample import Sampler
from am.training.checkpoint import read_tensors

from ..conftest import Run

TRAINING = {"iterations": 20, "batch_size": 32, "boundary_batch_size": 32, "snapshots": 1}
ACTION = {"potential": {"width": 8, "depth": 2}, "training": TRAINING}
EVALUATION: dict[str, Any] = {
    "times": [0.5, 1],
    "n_samples": 30,
    "history_samples": 10,
    "floor_repeats": 2,
    "snapshot_size": 50,
    "metrics": [{"kind": "energy"}, {"kind": "velocity_error"}, {"kind": "velocity_cosine"}],
}


def made(am: Run, folder: Path, dataset: dict[str, Any], methods: dict[str, Any], evaluation: dict[str, Any]) -> Path:
    """The results of an experiment, one seed."""
    known = {"title": "Known", "dataset": dataset, "evaluation": evaluation, "methods": methods}
    (folder / "config/experiments").mkdir(parents=True)
    (folder / "config/scales").mkdir()
    write_yaml({"scale": "tiny", "experiments": ["known"]}, folder / "config/config.yaml")
    write_yaml({"title": "tiny", "seeds": [0]}, folder / "config/scales/tiny.yaml")
    write_yaml(known, folder / "config/experiments/known.yaml")
    out = folder / "known"
    about = ("--project", folder / "config", "--scale", "tiny", "--experiment", "known")
    config, data = ("--config", out / "config.yaml"), ("--data", out / "seed0/data.h5ad")

    def step(*arguments: object) -> None:
        outcome = am(*arguments)
        assert outcome.code == 0, outcome.err

    step("resolve", *about, "--out", config[1])
    step("prepare", *config, "--no-test", "--out", out / "data.h5ad")
    step("prepare", *config, "--seed", 0, "--out", data[1])
    step("floor", *config, "--out", out / "floor.csv")
    for method, about_run in methods.items():
        run, place = out / method / "config.yaml", out / method / "seed0"
        step("resolve", *about, "--run", method, "--out", run)
        weights: tuple[object, ...] = ()
        if about_run:
            weights = ("--model", place / "model.safetensors")
            training = ("--data", out / "data.h5ad", "--seed", 0, "--accelerator", "cpu", "--out", weights[1])
            step("train", "--run", run, *training)
        samples = place / "samples.npz"
        step("sample", "--run", run, *data, "--seed", 0, *weights, "--device", "cpu", "--out", samples)
        measured = ("--samples", samples, "--method", method, "--seed", 0, "--out", place / "metrics.csv")
        step("evaluate", *config, *data, *measured)
    return out


def test_errors_and_cosines_are_those_of_the_field_at_the_test_points(tmp_path: Path, am: Run) -> None:
    methods: dict[str, Any] = {"eam": {"settings": ACTION}, "no_dynamics": {}}
    out = made(am, tmp_path, {"name": "ornstein_uhlenbeck"}, methods, {**EVALUATION, "shown": [0.25]})
    rows = pd.read_csv(out / "eam/seed0/metrics.csv").set_index(["metric", "time"])["value"]
    assert {time for _, time in rows.index} == {0.5, 1}, "a time that is only shown is judged"
    run = read_run(out / "eam/config.yaml")
    sampler = Sampler(run, out / "seed0/data.h5ad", 0, torch.device("cpu"), "test")
    sampler.load(read_tensors(out / "eam/seed0/model.safetensors")[0], "test")
    truth: Any = build_dataset({"name": "ornstein_uhlenbeck"}, "test").truth()
    for time in (0.5, 1.0):
        x = torch.from_numpy(read_snapshots(out / "seed0/data.h5ad").test(0, time)[:30])
        velocity = sampler.method.velocity(sampler.network, torch.full((30,), time), x)
        assert velocity is not None
        expected = ((velocity + 2 * x).square().sum() / (2 * x).square().sum()).sqrt()  # the drift is -2 x
        assert rows["velocity_error", time] == pytest.approx(float(expected), rel=1e-4)
        cosine = torch.cosine_similarity(velocity, -2 * x).mean()
        assert rows["velocity_cosine", time] == pytest.approx(float(cosine), abs=1e-5)
        torch.testing.assert_close(truth.drift(torch.full((30,), time), x), -2 * x)
    assert set(pd.read_csv(out / "no_dynamics/seed0/metrics.csv")["metric"]) == {"energy"}
    assert set(pd.read_csv(out / "floor.csv")["metric"]) == {"energy"}


def test_growth_and_lost_sample_size_are_those_of_methods_that_weigh(tmp_path: Path, am: Run) -> None:
    kinds = ("energy", "growth_error", "growth_correlation", "mass_error", "sample_size_lost")
    metrics = [{"kind": kind} for kind in kinds]
    methods: dict[str, Any] = {"uam": {"settings": ACTION}, "am": {"settings": ACTION}}
    out = made(am, tmp_path, {"name": "growing_mixture"}, methods, EVALUATION | {"metrics": metrics})
    table = pd.read_csv(out / "uam/seed0/metrics.csv")
    rows = table.set_index(["metric", "time"])["value"]
    assert 0.1 < rows["growth_error", 1.0] < 2  # hardly trained
    assert 0 < rows["sample_size_lost", 1.0] < 1
    (correlation,) = table[table["metric"] == "growth_correlation"].to_dict("records")
    assert np.isnan(correlation["time"])
    assert correlation["n_samples"] == 2 * 30
    truth: Any = build_dataset({"name": "growing_mixture"}, "test").truth()
    rates = []
    for time in (0.5, 1.0):
        x = torch.from_numpy(read_snapshots(out / "seed0/data.h5ad").test(0, time)[:30])
        found = read_samples(out / "uam/seed0/samples.npz").fields_at(time)[1]
        assert found is not None
        rates.append([found, truth.rate(torch.full((30,), time), x).numpy()])
    assert correlation["value"] == pytest.approx(np.corrcoef(*np.concatenate(rates, 1))[0, 1], rel=1e-4)
    log_weight = read_samples(out / "uam/seed0/samples.npz").at(1.0)[1]
    assert log_weight is not None
    mass = 0.7 * math.exp(-1) + 0.1 * math.exp(2) + 0.2
    assert rows["mass_error", 1.0] == pytest.approx(abs(np.exp(log_weight).mean() / mass - 1), rel=1e-4)
    assert set(pd.read_csv(out / "am/seed0/metrics.csv")["metric"]) == {"energy"}


def test_mass_is_counted_from_where_particles_start(tmp_path: Path, am: Run) -> None:
    dataset = {"name": "growing_mixture", "time_points": 3, "path": {"coupling": "unbalanced", "masses": "known"}}
    evaluation = EVALUATION | {"metrics": [{"kind": "energy"}, {"kind": "mass_error"}], "start": "previous"}
    out = made(am, tmp_path, dataset, {"uam": {"settings": ACTION}}, evaluation)
    rows = pd.read_csv(out / "uam/seed0/metrics.csv").set_index(["metric", "time"])["value"]
    half, whole = (0.7 * math.exp(-t) + 0.1 * math.exp(2 * t) + 0.2 for t in (0.5, 1))
    samples = read_samples(out / "uam/seed0/samples.npz")
    for time, gained in ((0.5, half), (1.0, whole / half)):
        log_weight = samples.at(time)[1]
        assert log_weight is not None
        assert rows["mass_error", time] == pytest.approx(abs(np.exp(log_weight).mean() / gained - 1), rel=1e-3)


def test_what_a_data_set_does_not_know_is_not_compared_with(tmp_path: Path, am: Run) -> None:
    evaluation = EVALUATION | {"metrics": [{"kind": "energy"}, {"kind": "growth_error"}]}
    with pytest.raises(AssertionError, match="the truth of this data set tells no growth"):
        made(am, tmp_path, {"name": "ornstein_uhlenbeck"}, {"no_dynamics": {}}, evaluation)


def test_the_leading_metric_is_one_that_all_have(tmp_path: Path, am: Run) -> None:
    evaluation = EVALUATION | {"metrics": [VelocityError().model_dump(exclude_none=True)]}
    with pytest.raises(AssertionError, match="the first metric must be a distance that all methods have"):
        made(am, tmp_path, {"name": "ornstein_uhlenbeck"}, {"no_dynamics": {}}, evaluation)
