"""What the steps compute, beside what the command's tests show of their files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from am.config import ConfigError, merge, read_yaml, write_yaml
from am.experiments import Project
from am.io.samples import Samples, write_samples
from am.io.snapshots import DataError, Snapshots, read_snapshots, write_snapshots
from am.marginals.snapshots import SnapshotPath
from am.methods.am import ActionMatching
from am.metrics.energy import energy_distance
from am.steps import evaluate, sample
from am.steps.prepare import prepare
from am.steps.train import train
from am.steps.verify import verify


@pytest.fixture
def atom(chain: Path) -> Path:
    return chain / "results" / "tiny" / "atom"


def changed(path: Path, to: Path, change: dict[str, Any]) -> Path:
    write_yaml(merge(read_yaml(path), change), to)
    return to


def rows(points: Snapshots, seed: int) -> dict[float, Any]:
    mine = points.seed == seed
    return {float(time): points.x[mine & (points.time == time)].tolist() for time in np.unique(points.time[mine])}


def test_points_do_not_depend_on_which_others_are_drawn(atom: Path, tmp_path: Path) -> None:
    change = {"seeds": [7, 1], "evaluation": {"times": [0.25, 1.0], "snapshot_times": 5}}
    prepare(changed(atom / "config.yaml", tmp_path / "config.yaml", change), tmp_path / "data.h5ad")
    ours, theirs = read_snapshots(atom / "data.h5ad"), read_snapshots(tmp_path / "data.h5ad")
    assert rows(theirs, 1)[1.0] == rows(ours, 1)[1.0]
    assert rows(theirs, 1)[0.0] == rows(ours, 1)[0.0]
    assert rows(theirs, 7)[1.0] != rows(ours, 1)[1.0]
    assert set(rows(theirs, -1)) == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert rows(theirs, -1)[0.5] == rows(ours, -1)[0.5]


def test_the_floor_at_a_time_does_not_depend_on_other_times(atom: Path, tmp_path: Path) -> None:
    change = {"evaluation": {"times": [1.0], "floor_repeats": 1}}
    evaluate.floor(changed(atom / "config.yaml", tmp_path / "config.yaml", change), tmp_path / "floor.csv")
    ours, theirs = (pd.read_csv(path) for path in (atom / "floor.csv", tmp_path / "floor.csv"))
    ours = ours[(ours["time"] == 1.0) & (ours["seed"] == 0)].reset_index(drop=True)
    assert theirs["metric"].tolist() == ["mmd", "mmd", "energy"]  # the first of histories too, which are smaller
    pd.testing.assert_frame_equal(theirs, ours)


def test_samples_of_a_method_in_any_language_count_with_their_weights(atom: Path, tmp_path: Path) -> None:
    """In double precision, at times in any order, more particles than asked for, with weights."""
    rng = np.random.default_rng(0)
    time = rng.permutation(np.repeat([1.0, 0.5, 0.75], 60))
    x, log_weight = rng.normal(size=(180, 3)) * 50, rng.normal(size=180)
    write_samples(Samples(x, time, log_weight), tmp_path / "samples.npz")
    evaluate.evaluate(
        atom / "config.yaml", atom / "data.h5ad", tmp_path / "samples.npz", tmp_path / "metrics.csv", "theirs", 1
    )
    assert pd.read_csv(tmp_path / "blocks.csv").empty  # each seed has points of its own
    table = pd.read_csv(tmp_path / "metrics.csv").set_index(["time", "metric"])
    assert len(table) == 4
    assert set(table["n_samples"]) == {60}
    truth = read_snapshots(atom / "data.h5ad")
    for moment in (0.5, 1.0):
        chosen = time == moment
        parts = (torch.from_numpy(x[chosen]), torch.from_numpy(truth.test(1, moment)))
        expected = energy_distance(*parts, torch.from_numpy(log_weight[chosen]))
        assert table.loc[(moment, "energy"), "value"] == pytest.approx(expected, rel=1e-6)
        assert abs(expected - energy_distance(*parts)) > 1e-3


def test_metrics_of_fewer_points_say_so(atom: Path, tmp_path: Path) -> None:
    metrics = [{"kind": "mmd", "max_points": 15}, {"kind": "energy"}]
    config = changed(atom / "config.yaml", tmp_path / "config.yaml", {"evaluation": {"metrics": metrics}})
    folder = atom / "am" / "seed0"
    evaluate.evaluate(config, atom / "data.h5ad", folder / "samples.npz", tmp_path / "metrics.csv", "am", 0)
    evaluate.floor(config, tmp_path / "floor.csv")
    snapshots, run = folder / "snapshots.safetensors", atom / "am" / "config.yaml"
    evaluate.history(config, run, atom / "data.h5ad", snapshots, tmp_path / "history.csv", 0, "cpu")
    for name, sizes in (("metrics", {15}), ("history", {15}), ("floor", {15})):
        table = pd.read_csv(tmp_path / f"{name}.csv")
        assert set(table[table["metric"] == "mmd"]["n_samples"]) == sizes, name


@pytest.mark.parametrize(("milestones", "iterations"), [(1, [12]), (2, [6, 12]), (9, [6, 12])])
def test_the_last_of_the_weights_kept_along_training_is_always_measured(
    atom: Path, tmp_path: Path, milestones: int, iterations: list[int]
) -> None:
    config = changed(atom / "config.yaml", tmp_path / "config.yaml", {"evaluation": {"history_milestones": milestones}})
    place = atom / "am" / "seed0"
    evaluate.history(
        config,
        atom / "am" / "config.yaml",
        atom / "data.h5ad",
        place / "snapshots.safetensors",
        tmp_path / "history.csv",
        0,
        "cpu",
    )
    ours, all_ = pd.read_csv(tmp_path / "history.csv"), pd.read_csv(place / "history.csv")
    pd.testing.assert_frame_equal(ours, all_[all_["iteration"].isin(iterations)].reset_index(drop=True))


def test_the_controls_predict_what_they_are_called(atom: Path, tmp_path: Path) -> None:
    run = changed(atom / "oracle" / "config.yaml", tmp_path / "config.yaml", {"run": "still", "method": "no_dynamics"})
    data = read_snapshots(atom / "data.h5ad")
    sample.sample(run, atom / "data.h5ad", tmp_path / "samples.npz", 1, device="cpu")
    with np.load(tmp_path / "samples.npz") as still, np.load(atom / "oracle" / "seed1" / "samples.npz") as fresh:
        for moment in (0.5, 1.0):
            assert np.array_equal(still["x"][still["time"] == moment], data.test(1, 0.0))
            drawn = {tuple(point) for point in fresh["x"][fresh["time"] == moment].tolist()}
            assert not drawn & {tuple(point) for point in data.test(1, moment).tolist()}


def test_numbers_kept_from_other_scales_are_judged_as_theirs(
    chain: Path, stored: Callable[..., Path], tmp_path: Path
) -> None:
    """At a scale that leaves a method out, those of a scale that has it still count."""
    shutil.copytree(chain, tmp_path, dirs_exist_ok=True)
    kept = stored(tmp_path, "kept")
    shutil.copytree(kept / "tiny", kept / "paper")
    write_yaml({"title": "paper", "seeds": [0]}, tmp_path / "config/scales/paper.yaml")
    write_yaml(
        {"title": "few", "seeds": [0, 1], "experiments": {"atom": {"methods": {"am": None, "no_dynamics": {}}}}},
        tmp_path / "config/scales/few.yaml",
    )

    def judged(scale: str) -> list[tuple[str, str, int]]:
        project = Project(tmp_path / "config", {"scale": scale})
        judgements, faults = verify(project, chain / "results/tiny", kept, tmp_path / "verdict.html")
        assert faults == []
        return [(one.experiment, one.method, one.seeds) for one in judgements if one.seeds]

    assert judged("tiny") == [("atom (tiny)", "am", 2), ("atom (paper)", "am", 1)]
    assert judged("few") == [("atom (paper)", "am", 1), ("atom (tiny)", "am", 2)]
    project = Project(tmp_path / "config", {"scale": "tiny"})
    with pytest.raises(ConfigError, match="no results of atom"):
        verify(project, tmp_path / "none", tmp_path / "nothing", tmp_path / "verdict.html")


def test_methods_that_learn_from_snapshots_are_given_the_training_points_and_no_more(
    atom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On exact marginals too: the atom's are known at every time."""
    given = []
    loss = ActionMatching.loss

    def watched(self: ActionMatching, network: Any, marginals: Any, stream: Any) -> Any:
        given.append(marginals)
        return loss(self, network, marginals, stream)

    monkeypatch.setattr(ActionMatching, "loss", watched)
    arguments = (atom / "am" / "config.yaml", atom / "data.h5ad")
    train(*arguments, tmp_path / "path" / "model.safetensors", 0, accelerator="cpu")
    assert not isinstance(given.pop(), SnapshotPath)
    monkeypatch.setattr(ActionMatching, "learns_from", "snapshots")
    model = tmp_path / "snapshots" / "model.safetensors"
    train(*arguments, model, 0, accelerator="cpu")
    path = given.pop()
    assert isinstance(path, SnapshotPath)
    data = read_snapshots(atom / "data.h5ad")
    assert path.times.tolist() == [0.0, 0.5, 1.0]
    for time, points in zip(path.times.tolist(), path.points, strict=True):
        np.testing.assert_array_equal(points.numpy(), data.x[(data.split == "train") & (data.time == time)])
    monkeypatch.setattr("am.marginals.snapshots.transport_plan", None)  # sampling joins no points
    sample.sample(*arguments, tmp_path / "samples.npz", 0, model, "cpu")
    few = Snapshots(*(part[data.time == 0] for part in (data.x, data.time, data.split, data.seed)))
    write_snapshots(few, ("x", "y", "z"), tmp_path / "few.h5ad")
    with pytest.raises(DataError, match=r"few\.h5ad: a path needs two snapshots or more"):
        train(arguments[0], tmp_path / "few.h5ad", model, 1, accelerator="cpu")


@pytest.mark.trains
def test_a_training_imports_neither_a_compiler_nor_what_starts_processes(atom: Path, tmp_path: Path) -> None:
    given = atom / "am/config.yaml", atom / "data.h5ad", tmp_path / "model.safetensors"
    check = (
        "import sys, am.steps.sample, am.steps.evaluate; from pathlib import Path; from am.steps.train import train;"
        "train(*map(Path, sys.argv[1:]), 0, accelerator='cpu');"
        "sys.exit(' '.join({'lightning_fabric', 'torch._dynamo', 'scipy.stats', 'matplotlib'} & {*sys.modules}) or 0)"
    )
    subprocess.run([sys.executable, "-c", check, *given], check=True)
