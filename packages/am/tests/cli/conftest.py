"""A tiny project that has run, with all that a project has."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from am.steps.archive import PROJECT_FILES

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="session")
def whole(chain: Path, stored: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project with all that a project has beside its settings, and its results in the store."""
    folder = tmp_path_factory.mktemp("whole") / "project"
    shutil.copytree(chain, folder)
    for name in PROJECT_FILES:
        if (ROOT / name).is_dir() and name not in ("config", "tests", "docs", "notebooks", "benchmarks"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
        elif (ROOT / name).is_dir():
            (folder / name).mkdir(exist_ok=True)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    shutil.rmtree(folder / "workflow/benchmarks")
    stored(folder)
    return folder


@pytest.fixture
def project(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to change; the command is called from there."""
    shutil.copytree(whole, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"
