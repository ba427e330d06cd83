"""The project itself on Slurm: ``snakemake --profile slurm`` ends with the tables of a local run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ..project import ProjectCopy
from .snakemake_run import SnakemakeRun

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(3600)]

SECONDS = ["train_seconds", "sample_seconds"]  # the only columns that may differ


def write_scale_of_one_training(config: Path) -> None:
    """Write scale ``one``: smoke with one seed, one method that trains and one control."""
    scale = yaml.safe_load((config / "scales/smoke.yaml").read_text())
    experiment = yaml.safe_load((config / "experiments/hydrogen.yaml").read_text())
    hydrogen = scale["experiments"]["hydrogen"]
    hydrogen["methods"] |= {method: None for method in experiment["methods"] if method not in ("am", "oracle")}
    hydrogen["figures"] = {"methods": ["am"]}
    (config / "scales/one.yaml").write_text(yaml.safe_dump({**scale, "seeds": [0]}))


@pytest.mark.parametrize("scale", ["one", pytest.param("smoke", marks=pytest.mark.slow)])
def test_slurm_and_this_machine_end_with_the_same_tables(
    project: ProjectCopy, scale: str, snakemake: Callable[..., SnakemakeRun]
) -> None:
    settings = ["--config", f"scale={scale}"]
    if scale == "one":
        write_scale_of_one_training(project.folder / "config")
        settings.append("experiments=[hydrogen]")

    on_slurm = snakemake(project.folder, *settings, PYTHONPATH=project.environment["PYTHONPATH"])
    on_slurm.must_succeed(timeout=1800)

    trained = on_slurm.jobs("train_method")
    assert {(job["JobState"], job["Partition"], job["TresPerJob"]) for job in trained} == {
        ("COMPLETED", "gpu", "gres:gpu:1")
    }
    assert len(list(project.folder.glob(f"results/{scale}/*/*/seed*/model.safetensors"))) == len(trained)

    on_this_machine = project.snakemake(*settings, "results=local")
    assert on_this_machine.returncode == 0, on_this_machine.stdout
    local = project.folder / "local" / scale
    tables = sorted(local.glob("tables/*.csv"))
    assert tables
    for path in [*tables, local / "verdict.csv"]:
        expected = pd.read_csv(path)
        actual = pd.read_csv(project.folder / "results" / scale / path.relative_to(local))
        pd.testing.assert_frame_equal(
            actual.drop(columns=SECONDS, errors="ignore"), expected.drop(columns=SECONDS, errors="ignore"), rtol=1e-9
        )
