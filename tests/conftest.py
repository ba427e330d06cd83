"""What tests of several folders use."""

from __future__ import annotations

from pathlib import Path

import pytest

from .project import ProjectCopy

WORKFLOW = {"dag", "notebooks", "slurm"}
"""Folders of tests that run the workflow."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of these folders train."""
    for item in items:
        if item.path.parent.name in WORKFLOW:
            item.add_marker("trains")


@pytest.fixture
def project(tmp_path: Path) -> ProjectCopy:
    """A copy of the project as it is, without what git ignores."""
    return ProjectCopy.of_project(tmp_path / "project")
