"""The numpy benchmark against what is known of Gaussians."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from am.io.snapshots import Snapshots, write_snapshots

from ..project import ROOT

SCRIPT = ROOT / "workflow/benchmarks/affine_transport/affine_transport.py"


@pytest.mark.parametrize("start", ["first", "previous"])
def test_particles_get_the_mean_and_the_covariance_of_each_snapshot(tmp_path: Path, start: str) -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(400, 2))
    base = (base - base.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(base.T))).T  # exactly standard
    maps = [np.eye(2), np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[0.5, 0.0], [0.0, 3.0]])]
    x = np.concatenate([base @ a + [3.0 * k, -k] for k, a in enumerate(maps)]).astype(np.float32)
    time = np.repeat([0, 0.5, 1], 400)
    data = Snapshots(
        np.concatenate([x, x]), np.tile(time, 2), np.repeat(["train", "test"], 1200), np.repeat([-1, 0], 1200)
    )
    write_snapshots(data, ("a", "b"), tmp_path / "data.h5ad")
    (tmp_path / "config.yaml").write_text(f"evaluation: {{times: [0.25, 0.5, 1.0], start: {start}, n_samples: 400}}\n")
    command = [sys.executable, SCRIPT, "config.yaml", "data.h5ad", "0", "samples.npz"]
    subprocess.run(command, cwd=tmp_path, check=True)
    with np.load(tmp_path / "samples.npz") as file:
        half, one, two = file["x"].astype(float).reshape(3, 400, 2)
    for cells, a, k in ((half, (maps[0] + maps[1]) / 2, 0.5), (one, maps[1], 1), (two, maps[2], 2)):
        np.testing.assert_allclose(cells.mean(0), [3 * k, -k], atol=1e-4)
        np.testing.assert_allclose(np.cov(cells.T), a @ a, atol=1e-3)
