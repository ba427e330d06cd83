"""A method that fails is a row that says so, and costs the others nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from ..project import ProjectCopy

TRAINS_NOT = '''"""Learns nothing."""

from __future__ import annotations

from typing import Any

from am.methods.am import ActionMatching


class TrainsNot(ActionMatching):
    """A method whose training breaks down."""

    title = "trains not"

    def loss(self, network: Any, marginals: Any, stream: Any) -> Any:
        return super().loss(network, marginals, stream)[0] * float("nan"), {}


METHOD = TrainsNot
'''
MOVES_NOT = '''"""Moves nothing."""

from __future__ import annotations

from typing import Any

import torch

from am.dynamics.dynamics import Explicit
from am.methods.contract import Method


class MovesNot(Method[None]):
    """A method whose particles are nowhere, but for one seed."""

    title = "moves not"

    def dynamics(self, network: None) -> Explicit:
        def positions(start: Any, times: Any, generator: Any) -> Any:
            scale = torch.nan if bool(((start - torch.tensor(FIRST)).abs().max(1).values < 1e-5).any()) else 1.0
            return start.expand(len(times), *start.shape) * scale

        return Explicit(positions)


METHOD = MovesNot
'''


@pytest.fixture(scope="module")
def broken(finished: ProjectCopy, tmp_path_factory: pytest.TempPathFactory) -> ProjectCopy:
    """What has run, with two more methods: one breaks down in training, one of whose two seeds in sampling."""
    project = finished.copy(tmp_path_factory.mktemp("broken") / "project")
    data = anndata.read_h5ad(finished.folder / "results/tiny/tiny/seed1/data.h5ad")
    first = np.asarray(data.X)[(data.obs["split"] == "test") & (data.obs["time"] == 0)][0].tolist()
    methods = project.folder / "packages/am/src/am/methods"
    (methods / "trains_not.py").write_text(TRAINS_NOT)
    (methods / "moves_not.py").write_text(MOVES_NOT.replace("FIRST", str(first)))
    project.edit(
        "config/experiments/tiny.yaml",
        "  no_dynamics: {}\n",
        "  no_dynamics: {}\n  trains_not:\n    settings:\n      potential: {width: 8, depth: 1}\n"
        "      training: {<<: *short, iterations: 3}\n  moves_not: {}\n",
    )
    return project


@pytest.fixture(scope="module")
def first(broken: ProjectCopy) -> subprocess.CompletedProcess[str]:
    return broken.snakemake()


@pytest.fixture(scope="module")
def second(broken: ProjectCopy, first: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    del first
    return broken.snakemake("--config", "partial=true")


def table(project: ProjectCopy, name: str = "tables/tiny.csv") -> pd.DataFrame:
    return pd.read_csv(project.folder / "results/tiny" / name, float_precision="round_trip").set_index("method")


def test_who_runs_it_sees_why(first: subprocess.CompletedProcess[str]) -> None:
    assert first.returncode != 0
    assert "moves not: x is not finite for" in first.stdout


def test_what_failed_is_shown_as_failed_with_its_reason(
    broken: ProjectCopy, second: subprocess.CompletedProcess[str]
) -> None:
    assert second.returncode == 0, second.stdout
    rows = table(broken)
    assert rows.loc["trains_not", "seeds"] == 0
    assert rows.loc["trains_not", "failed"].startswith("seed 0: ")
    assert "seed 1: " in rows.loc["trains_not", "failed"]
    text = (broken.folder / "results/tiny/tables/tiny.md").read_text()
    assert "| trains not | *failed* |" in text
    assert "- *failed*: moves not, seed 1: moves not: x is not finite for 50 of 50 particles at t = 0" in text


def test_a_method_of_which_one_seed_failed_has_no_verdict(
    broken: ProjectCopy, second: subprocess.CompletedProcess[str]
) -> None:
    del second
    assert table(broken).loc["moves_not", "seeds"] == 1
    verdicts = table(broken, "verdict.csv")
    for method in ("trains_not", "moves_not"):
        assert verdicts.loc[method, "verdict"] == "failed"
        assert verdicts.loc[method, "why"].startswith("A run of it failed. seed ")


def test_the_others_have_the_numbers_that_they_have_without_it(
    broken: ProjectCopy, second: subprocess.CompletedProcess[str], finished: ProjectCopy
) -> None:
    del second
    before, after = table(finished), table(broken)
    columns = ["mean", "low", "high", "seeds", "floor_mean"]
    pd.testing.assert_frame_equal(after.loc[before.index, columns], before[columns])
    figures = {path.name for path in (finished.folder / "results/tiny/figures").iterdir()}
    assert {path.name for path in (broken.folder / "results/tiny/figures").iterdir()} == figures


def test_after_a_mend_the_same_command_runs_only_what_failed(
    broken: ProjectCopy, second: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    del second
    project = broken.copy(tmp_path / "project")
    project.edit("packages/am/src/am/methods/moves_not.py", "scale = torch.nan if", "scale = 1.0 if")
    project.edit("packages/am/src/am/methods/trains_not.py", '[0] * float("nan"), {}', "")
    jobs = [job for job in project.planned() if job["rule"] in ("train_method", "sample_method")]
    assert {job["run"] for job in jobs} == {"trains_not", "moves_not"}
    run = project.snakemake()
    assert run.returncode == 0, run.stdout
    assert "failed" not in table(project)
    assert (table(project, "verdict.csv")["verdict"] != "failed").all()
