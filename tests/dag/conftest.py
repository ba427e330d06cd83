"""A project so small that its whole DAG runs in a minute, and that project once everything has run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..project import ProjectCopy
from .forked import Forks


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first waits for the whole DAG."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ProjectCopy:
    """The project with an experiment and a scale ``tiny``, before anything has run. Look at it, and change nothing."""
    project = ProjectCopy.of_project(tmp_path_factory.mktemp("tiny") / "project")
    for kind in ("experiment", "scale"):
        shutil.copy(Path(__file__).with_name("tiny") / f"{kind}.yaml", project.folder / f"config/{kind}s/tiny.yaml")
    (project.folder / "config/config.yaml").write_text("scale: tiny\nexperiments: [tiny]\n")
    return project


@pytest.fixture(scope="session")
def finished(tiny: ProjectCopy, tmp_path_factory: pytest.TempPathFactory) -> ProjectCopy:
    """The same, after one run to the verdict. Look at it, and change nothing."""
    project = tiny.copy(tmp_path_factory.mktemp("finished") / "project")
    run = project.snakemake()
    assert run.returncode == 0, run.stdout
    return project


@pytest.fixture
def changed(finished: ProjectCopy, tmp_path: Path) -> ProjectCopy:
    """A copy of what has run, to be edited."""
    return finished.copy(tmp_path / "project")


@pytest.fixture
def fresh(tiny: ProjectCopy, tmp_path: Path) -> ProjectCopy:
    """A copy of what has not run, to be edited."""
    return tiny.copy(tmp_path / "project")


@pytest.fixture(scope="session")
def forks(tiny: ProjectCopy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """An ``am`` that takes a moment, for projects with the library of ``tiny``."""
    with Forks(tmp_path_factory.mktemp("forks"), tiny.environment) as forks:
        yield forks
