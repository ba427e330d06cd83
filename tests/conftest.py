"""What tests of several folders use."""

from __future__ import annotations

from pathlib import Path

import pytest

from .project import ProjectCopy


@pytest.fixture
def project(tmp_path: Path) -> ProjectCopy:
    """A copy of the project as it is, without what git ignores."""
    return ProjectCopy.of_project(tmp_path / "project")
