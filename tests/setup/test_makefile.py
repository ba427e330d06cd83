"""The Makefile: the environment is made once, its targets explain themselves, and what they need is said plainly."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
PHONY = re.findall(r"^\.PHONY: (\S+)$", MAKEFILE, re.MULTILINE)


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # What an outer make hands down would change how this one runs.
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An environment that looks finished, younger than all that it depends on."""
    ready = tmp_path / "venv/.ready"
    ready.parent.mkdir()
    ready.touch()
    return ready


def wants_installing(environment: Path, *arguments: str) -> bool:
    """Whether make would install anything."""
    answer = make("--dry-run", f"VENV={environment.parent}", "environment", *arguments)
    assert answer.returncode == 0, answer.stderr
    return "pip" in answer.stdout


def test_a_finished_environment_is_not_made_again(environment: Path) -> None:
    assert not wants_installing(environment)


@pytest.mark.parametrize("changed", ["requirements.lock", "packages/am/pyproject.toml"])
def test_it_is_made_again_when_what_it_was_made_from_changes(environment: Path, changed: str) -> None:
    before = (ROOT / changed).stat().st_mtime - 1
    os.utime(environment, (before, before))
    assert wants_installing(environment)


def test_hashes_are_required_and_builds_download_nothing(environment: Path) -> None:
    environment.unlink()
    printed = make("--dry-run", f"VENV={environment.parent}", "environment").stdout
    installs = [line for line in printed.splitlines() if " pip " in line and " install " in line]
    locked, library = installs[:-1], installs[-1]
    assert library.endswith("--no-build-isolation -e packages/am")
    assert locked
    assert all("--require-hashes" in line for line in locked)
    assert all("--no-build-isolation" in line for line in installs[1:])
    assert all("--no-deps" in line for line in installs)


def test_another_torch_comes_first_and_the_rest_from_the_lock_without_it(environment: Path) -> None:
    environment.unlink()
    index = "https://torch.example/cpu"
    answer = make("--dry-run", f"VENV={environment.parent}", "environment", f"TORCH_INDEX={index}")
    torch, rest = (answer.stdout.index(part) for part in (f"--index-url {index}", f"-r {environment.parent}/cpu.lock"))
    assert torch < rest


def test_without_python_it_says_so_in_a_sentence(environment: Path) -> None:
    environment.unlink()
    answer = make(f"VENV={environment.parent}", "PYTHON=python3.11-absent", "environment")
    assert answer.returncode != 0
    assert "Python 3.11 is needed, and there is no python3.11-absent here" in answer.stderr
    assert not environment.exists()


def test_help_is_the_default_and_lists_every_target() -> None:
    listed = re.findall(r"^  make (\S+) +\S", make().stdout, re.MULTILINE)
    assert sorted(listed) == sorted(PHONY)


def test_commits_and_ci_run_the_same_checks() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in repository["hooks"]] == ["make lint"]
    jobs = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]
    last = {name: job["steps"][-1]["run"] for name, job in jobs.items()}
    assert {name: last[name] for name in ("lint", "test")} == {"lint": "make lint", "test": ".ci/run"}
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == "make test"


def test_ci_tries_wheel_and_sdist_in_a_fresh_environment(tmp_path: Path) -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["package"]
    steps = [step["run"] for step in job["steps"] if "run" in step]
    assert job["strategy"]["matrix"] == {"distribution": ["*.whl", "*.tar.gz"]}
    (taken,) = (step for step in steps if step.startswith("awk"))
    subprocess.run(["bash", "-c", taken], cwd=ROOT, env={**os.environ, "RUNNER_TEMP": str(tmp_path)}, check=True)
    page = (ROOT / "packages/am/README.md").read_text()
    assert (tmp_path / "first.py").read_text() == page.partition("```python\n")[2].partition("```")[0]
    assert steps[-1].endswith("fresh/bin/python first.py")
