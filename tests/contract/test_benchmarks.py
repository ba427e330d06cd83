"""What holds of every folder of workflow/benchmarks, in a project so small that each runs in seconds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from anndata import read_h5ad

from am import plugins
from am.benchmarks import FOLDER, Benchmark, read_benchmarks
from am.config import ConfigError

from ..project import ROOT, ProjectCopy

pytestmark = pytest.mark.trains

NAMES = sorted(path.parent.name for path in (ROOT / FOLDER).glob("[!_]*/benchmark.yaml"))
OPT_IN = {name for name in NAMES if yaml.safe_load((ROOT / FOLDER / name / "benchmark.yaml").read_text()).get("opt_in")}
every_benchmark = pytest.mark.parametrize("name", NAMES)
every_run = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in OPT_IN else []) for name in NAMES]
)
TINY = ROOT / "tests/dag/tiny"
POINTS, TIMES = 50, [0.5, 1.0]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> ProjectCopy:
    """The project, where every benchmark takes part in the experiment ``tiny`` alone."""
    project = ProjectCopy.of_project(tmp_path_factory.mktemp("benchmarks") / "project")
    for kind in ("experiment", "scale"):
        shutil.copy(TINY / f"{kind}.yaml", project.folder / f"config/{kind}s/tiny.yaml")
    (project.folder / "config/config.yaml").write_text(f"scale: tiny\nexperiments: [tiny]\nbenchmarks: {NAMES}\n")
    for name in NAMES:
        file = project.folder / FOLDER / name / "benchmark.yaml"
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"experiments": ["tiny"]}))
    return project


def made(project: ProjectCopy, name: str, file: str, seed: int = 0) -> Path:
    path = Path(f"results/tiny/tiny/{name}/seed{seed}/{file}")
    run = project.snakemake(str(path))
    assert run.returncode == 0, run.stdout
    return project.folder / path


def samples(project: ProjectCopy, name: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(made(project, name, "samples.npz")) as file:
        return file["x"], file["time"]


@every_run
def test_it_predicts_every_particle_at_every_time_and_moves_them(project: ProjectCopy, name: str) -> None:
    x, time = samples(project, name)
    assert x.shape == (POINTS * len(TIMES), 3)
    assert np.isfinite(x).all()
    np.testing.assert_allclose(time, np.repeat(TIMES, POINTS))
    control = Benchmark.model_validate(yaml.safe_load((project.folder / FOLDER / name / "benchmark.yaml").read_text()))
    assert control.control or not np.array_equal(x[:POINTS], x[POINTS:])


@every_run
def test_it_has_the_same_numbers_again_whatever_later_test_points_are(project: ProjectCopy, name: str) -> None:
    x, _ = samples(project, name)
    data = project.folder / "results/tiny/tiny/seed0/data.h5ad"
    stat, table = data.stat(), read_h5ad(data)
    later = ((table.obs["split"] == "test") & (table.obs["time"] > 0)).to_numpy()
    assert later.any()
    table.X[later] = 1e3
    table.write_h5ad(data)
    os.utime(data, (stat.st_atime, stat.st_mtime))
    made(project, name, "samples.npz").unlink()
    again, _ = samples(project, name)
    np.testing.assert_array_equal(again, x)
    data.unlink()


@every_run
def test_it_is_measured_and_shown_like_any_method(project: ProjectCopy, name: str) -> None:
    metrics = made(project, name, "metrics.csv", seed=1)
    rows = metrics.read_text().splitlines()
    assert len(rows) == 1 + len(TIMES)
    assert all(row.split(",")[:3] == ["tiny", name, "1"] for row in rows[1:])
    metrics.unlink()
    planned = {(job["rule"], job.get("run")) for job in project.planned()}
    assert ("evaluate_samples", name) in planned
    assert ("sample_method", name) not in planned


@every_benchmark
def test_it_says_what_it_is(name: str) -> None:
    folder = ROOT / FOLDER / name
    about = Benchmark.model_validate(yaml.safe_load((folder / "benchmark.yaml").read_text()))
    titles = [plugins.load("am.methods", method).METHOD.title for method in plugins.names("am.methods")]
    assert 0 < len(about.title) < 30
    assert about.title not in titles
    assert len(about.citation.split()) > 1
    assert about.licence
    rules = (folder / "rules.smk").read_text()
    for needed in ("conda:", "settings=asked("):
        assert needed in rules, f"{folder}/rules.smk has no {needed}"
    assert len((folder / "README.md").read_text().split()) > 5
    environment = yaml.safe_load((folder / "environment.yml").read_text())
    assert environment["dependencies"]


@pytest.mark.parametrize("name", sorted(OPT_IN))
def test_what_is_opt_in_is_planned_only_where_it_is_named(project: ProjectCopy, name: str) -> None:
    def runs(*more: str) -> set[str | None]:
        return {job.get("run") for job in project.planned("--config", *more) if job["rule"] == "evaluate_samples"}

    assert name not in runs("benchmarks=[]")
    assert name in runs(f"benchmarks=[{name}]")


def test_linting_finds_nothing(project: ProjectCopy) -> None:
    run = project.snakemake("--lint")
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize(
    ("change", "named", "sentence"),
    [
        ({"titel": "x"}, [], r"benchmark.yaml: titel: unknown key; did you mean 'title'\?"),
        ({"experiments": ["tinny"]}, [], r"experiments: there is no experiment 'tinny'; did you mean 'tiny'\?"),
        ({}, ["onee"], r"benchmarks: there is no 'onee' in .*; did you mean 'one'\?"),
        (None, [], "needs a rules.smk beside its benchmark.yaml"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(tmp_path: Path, change: object, named: list[str], sentence: str) -> None:
    whole = {"title": "One", "experiments": ["tiny"], "citation": "none", "licence": "MIT"}
    (tmp_path / "one").mkdir()
    (tmp_path / "one/benchmark.yaml").write_text(yaml.safe_dump(whole | dict(change or {})))  # type: ignore[call-overload]
    if change is not None:
        (tmp_path / "one/rules.smk").write_text("")
    with pytest.raises(ConfigError, match=sentence):
        read_benchmarks(tmp_path, ["tiny"], named)


def test_an_opt_in_benchmark_runs_where_it_is_named_alone(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/rules.smk").write_text("")
    (tmp_path / "one/benchmark.yaml").write_text(
        yaml.safe_dump({"title": "1", "experiments": ["a"], "citation": "c", "licence": "l", "opt_in": True})
    )
    assert not read_benchmarks(tmp_path, ["a"], [])
    assert list(read_benchmarks(tmp_path, ["a"], ["one"])) == ["one"]
