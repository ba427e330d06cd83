"""OTP-FM in an environment of its own: what is installed, and what the package is given and gives."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from am.io.snapshots import Snapshots, write_snapshots

from ..project import ROOT, ProjectCopy

FOLDER = ROOT / "workflow/benchmarks/otp_fm"
TIMES, CENTRES, CELLS = (0.0, 0.4, 1.0), np.array([[0.0, 0.0], [3.0, 1.0], [0.0, 4.0]]), 150


def test_every_file_of_its_environment_is_pinned_and_checked() -> None:
    text = "\n".join((FOLDER / name).read_text().replace("\\\n", " ") for name in ("torch.lock", "requirements.lock"))
    pins = [line for line in text.splitlines() if line and not line.startswith(("#", "--extra-index-url "))]
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+( +--hash=sha256:[0-9a-f]{64})+ *", pin) for pin in pins), pins
    pinned = {pin.partition("==")[0] for pin in pins}
    asked = re.findall(r"^([a-z0-9-]+)", (FOLDER / "requirements.in").read_text(), re.MULTILINE)
    assert {*asked, "torch"} <= pinned
    assert "+cpu" in next(pin for pin in pins if pin.startswith("torch=="))
    assert not [name for name in pinned if name.startswith(("nvidia", "cuda", "triton"))]


def test_it_is_planned_with_its_environment_which_all_seeds_share(tmp_path: Path) -> None:
    project = ProjectCopy.of_project(tmp_path / "project")
    files = [f"results/laptop/myoblast/otp_fm/seed{seed}/metrics.csv" for seed in (0, 1, 2)]
    jobs = project.planned("--config", "experiments=[myoblast]", "benchmarks=[otp_fm]", "--", *files)
    assert [job["rule"] for job in jobs].count("make_otp_fm_environment") == 1
    sampled = [job for job in jobs if job["rule"] == "sample_otp_fm"]
    assert {job["seed"] for job in sampled} == {"0", "1", "2"}
    assert all("results/environments/otp_fm/made" in job["input"] for job in sampled)
    refused = project.snakemake("--dry-run", "--config", "experiments=[myoblast]", "--", *files)
    assert refused.returncode != 0
    assert "MissingRuleException" in refused.stdout
    assert files[0] in refused.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_its_package_carries_gaussians_takes_every_step_and_meets_every_cell(tmp_path: Path) -> None:
    project = ProjectCopy.of_project(tmp_path / "project")
    made = project.snakemake("--config", "benchmarks=[otp_fm]", "--", "results/environments/otp_fm/made")
    assert made.returncode == 0, made.stdout
    python = project.folder / "results/environments/otp_fm/bin/python"

    rng = np.random.default_rng(0)
    x = np.concatenate([centre + rng.normal(size=(CELLS, 2)) for centre in np.tile(CENTRES, (2, 1))])
    data = Snapshots(
        x.astype(np.float32),
        np.tile(np.repeat(TIMES, CELLS), 2),
        np.repeat(["train", "test"], 3 * CELLS),
        np.repeat([-1, 0], 3 * CELLS),
    )
    write_snapshots(data, ("a", "b"), tmp_path / "data.h5ad")
    (tmp_path / "config.yaml").write_text("evaluation: {times: [0.4, 1.0], start: previous, n_samples: 150}\n")
    command = [python, FOLDER / "otp_fm.py", "config.yaml", "data.h5ad", "0", "samples.npz"]
    run = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr

    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["steps"] == 1000
    assert record["cells"] == {"0": [CELLS] * 2, "0.4": [CELLS] * 2, "1": [CELLS] * 2}
    assert record["nfe"] == 2 * 50
    with np.load(tmp_path / "samples.npz") as file:
        predicted = file["x"].reshape(2, CELLS, 2)
    for particles, before, centre in zip(predicted, CENTRES[:-1], CENTRES[1:], strict=True):
        assert np.linalg.norm(particles.mean(0) - centre) < 0.25 * np.linalg.norm(centre - before)
        assert particles.std(0).mean() == pytest.approx(1, rel=0.35)
