"""Particles move along the lines of an optimal plan, from snapshot to snapshot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from am.config import Settings, write_yaml
from am.dynamics.trajectory import DynamicsError
from am.io.samples import read_samples
from am.io.snapshots import read_snapshots
from am.marginals.snapshots import SnapshotPath
from am.methods.ot_interpolation import OptimalTransportInterpolation
from am.randomness import generator

from ..conftest import Run

METHOD = OptimalTransportInterpolation(Settings())


def cloud(n: int, *centre: float) -> Tensor:
    return torch.randn(n, 2, generator=generator("cloud", *centre)) + torch.tensor(centre)


def assigned(x: Tensor, y: Tensor) -> Tensor:
    """The partner in ``y`` of each row of ``x``, by the Hungarian method."""
    return y[linear_sum_assignment(cdist(x.numpy(), y.numpy(), "sqeuclidean"))[1]]


def moved(path: SnapshotPath, start: Tensor, *times: float) -> Tensor:
    return METHOD.sample(path, start, torch.tensor(times), generator("sample")).x


def test_lines_lead_to_the_partners_and_from_there_to_theirs() -> None:
    start, middle, end = cloud(30, 0.0, 0.0), cloud(30, 3.0, 0.0), cloud(30, 0.0, 5.0)
    x = moved(SnapshotPath([cloud(30, 0.5, 0.0), middle, end], [0, 0.25, 1]), start, 0, 0.1, 0.25, 0.5, 1)
    first = assigned(start, middle)
    second = assigned(first, end)
    for found, expected in zip(
        x, [start, 0.6 * start + 0.4 * first, first, first * 2 / 3 + second / 3, second], strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("moment", [1 / 3, 0.1, 1 / 7])
def test_a_start_at_a_snapshot_heads_for_the_next(moment: float) -> None:
    """However its time is rounded: 1/3 is rounded up, 1/7 too, 0.1 up; their nearest neighbours below count as well."""
    start, end = cloud(20, 0.0, 0.0), cloud(20, 4.0, 0.0)
    path = SnapshotPath([cloud(20, -4.0, 0.0), cloud(20, 0.0, 1.0), end], [0, moment, 1])
    for rounded in (np.float32(moment), np.nextafter(np.float32(moment), np.float32(0))):
        half = (float(rounded) + 1) / 2
        x = moved(path, start, float(rounded), half, 1)
        torch.testing.assert_close(x[1], (start + assigned(start, end)) / 2, rtol=0, atol=1e-5)


def test_a_start_between_snapshots_goes_on_to_the_next() -> None:
    start, end = cloud(20, 0.0, 0.0), cloud(20, 4.0, 0.0)
    x = moved(SnapshotPath([cloud(20, -4.0, 0.0), end], [0, 1]), start, 0.4, 0.7, 1)
    torch.testing.assert_close(x[1], (start + assigned(start, end)) / 2, rtol=0, atol=1e-5)


def test_split_mass_is_shared_out_by_lot() -> None:
    """Two particles, three cells: the first brings 2/3 of its mass to its own cell and 1/3 to that between them."""
    cells = torch.tensor([[0.0], [1.0], [2.0]])
    start = torch.tensor([[0.1], [1.9]])
    path = SnapshotPath([cells, cells], [0, 1])
    rng = generator("lot")
    ends = torch.stack([METHOD.sample(path, start, torch.tensor([0.0, 1.0]), rng).x[1, :, 0] for _ in range(3000)])
    for particle, own in ((0, 0.0), (1, 2.0)):
        assert set(ends[:, particle].tolist()) == {own, 1.0}
        # A share of 3000 draws has a standard deviation of 0.0086.
        assert float((ends[:, particle] == own).double().mean()) == pytest.approx(2 / 3, abs=0.035)


def test_a_held_out_time_is_found_between_its_neighbours() -> None:
    start, held_out, end = cloud(400, 0.0, 0.0), cloud(400, 2.0, 1.0), cloud(400, 4.0, 2.0)
    x = moved(SnapshotPath([cloud(400, 0.0, 0.1), end], [0, 1]), start, 0, 0.5)[1]
    torch.testing.assert_close(x.mean(0), held_out.mean(0), rtol=0, atol=0.15)
    assert float((start.mean(0) - held_out.mean(0)).norm()) > 2


def test_times_must_increase() -> None:
    with pytest.raises(DynamicsError, match="increasing"):
        moved(SnapshotPath([cloud(5, 0.0), cloud(5, 1.0)], [0, 1]), cloud(5, 0.0), 0.5, 0.5)


def test_the_command_gives_it_the_training_cells(am: Run, tmp_path: Path) -> None:
    write_yaml({"scale": "tiny", "experiments": ["cells"]}, tmp_path / "config/config.yaml")
    write_yaml({"title": "tiny", "seeds": [0]}, tmp_path / "config/scales/tiny.yaml")
    experiment = {
        "title": "Cells",
        "dataset": {"name": "myoblast", "held_out": "1/3"},
        "evaluation": {"times": ["1/3", 1], "n_samples": 20, "metrics": [{"kind": "energy"}]},
        "methods": {"ot_interpolation": {}},
    }
    write_yaml(experiment, tmp_path / "config/experiments/cells.yaml")
    about = ("--project", tmp_path / "config", "--scale", "tiny", "--experiment", "cells")
    config, run, data = tmp_path / "config.yaml", tmp_path / "run.yaml", tmp_path / "data.h5ad"
    assert am("resolve", *about, "--out", config).code == 0
    assert am("resolve", *about, "--run", "ot_interpolation", "--out", run).code == 0
    assert am("prepare", "--config", config, "--seed", 0, "--out", data).code == 0
    outcome = am("sample", "--run", run, "--data", data, "--seed", 0, "--device", "cpu", "--out", tmp_path / "s.npz")
    assert outcome.code == 0, outcome.err

    points, samples = read_snapshots(data), read_samples(tmp_path / "s.npz")
    cells = {tuple(x) for x in points.x[(points.split == "train") & (points.time == 1)].tolist()}
    assert {tuple(x) for x in samples.x[samples.time == 1].tolist()} <= cells
    # The held-out time lies halfway to the next time that is known.
    start = torch.from_numpy(points.test(0, 0.0)[:20])
    later = torch.from_numpy(samples.x[samples.time < 1])
    ends = torch.from_numpy(points.x[(points.split == "train") & np.isclose(points.time, 2 / 3)])
    assert float(torch.cdist((2 * later - start).double(), ends.double()).min(1).values.max()) < 1e-4
