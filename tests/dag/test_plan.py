"""The whole DAG is planned without torch, at every scale."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ..project import ROOT, ProjectCopy

SCALES = sorted(file.stem for file in Path(ROOT, "config/scales").glob("*.yaml"))


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_is_planned_without_torch(project: ProjectCopy, scale: str) -> None:
    project.hide("torch")
    assert project.call("python", "-c", "import torch").returncode != 0
    jobs = project.planned("--config", f"scale={scale}")

    rules = Counter(job["rule"].partition("_0")[0].partition("_3")[0] for job in jobs)
    assert rules["verify_claims"] == rules["all"] == 1
    sampled = rules["sample_method"] + len(
        {job["experiment"] for job in jobs if job["rule"] == "sample_affine_transport"}
    )
    assert sampled == rules["evaluate_samples"] > rules["sample_method"] > rules["measure_history"] > 0
    assert rules["train_method"] >= rules["measure_history"]
    asking = {job["rule"] for job in jobs if "gpu=1" in job["resources"].split(", ")}
    assert asking == {"train_method"}
    assert {path.name for path in (project.folder / "results").glob("*")} <= {"expected"}
