"""The wheel in a fresh environment that has what core needs and nothing else: no network, no second torch."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from am.extras import EXTRAS

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "packages/am"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def needed(package: str, extras: frozenset[str] = frozenset()) -> set[tuple[str, frozenset[str]]]:
    """What an installed package asks for here, with the extras that it asks for."""
    parsed = map(Requirement, distribution(package).requires or [])
    return {
        (canonicalize_name(r.name), frozenset(r.extras))
        for r in parsed
        if r.marker is None or any(r.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    }


def closure(requirements: list[str]) -> set[str]:
    """Installed packages that come with those that are asked for."""
    found: set[tuple[str, frozenset[str]]] = set()
    left = {(canonicalize_name(r.name), frozenset(r.extras)) for r in map(Requirement, requirements) if not r.marker}
    while left:
        found |= left
        left = {more for package in left for more in needed(*package)} - found
    return {package for package, _ in found}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library as it is published, built from a copy."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("tests", "build", "*.egg-info", "__pycache__", "sitecustomize.py")
    shutil.copytree(LIBRARY, folder / "am", ignore=ignored)
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", *offline, "--wheel-dir", folder, folder / "am"]
    subprocess.run(command, check=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of the fresh environment, whose packages are links to those of this one."""
    home = tmp_path_factory.mktemp("core") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True, timeout=120)
    python = home / "bin/python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    with zipfile.ZipFile(wheel) as content:
        (about,) = (name for name in content.namelist() if name.endswith(".dist-info/METADATA"))
        asked = re.findall(r"^Requires-Dist: (.*)$", content.read(about).decode(), re.MULTILINE)
    for package in closure(asked):
        found = distribution(package)
        for top in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            link = site / top
            if not link.exists():
                link.symlink_to(str(found.locate_file(top)))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True, timeout=300)
    subprocess.run([*pip, "check"], check=True, timeout=300)
    return python


def run(python: Path, folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run something of the environment, away from the project."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        [python.with_name(str(arguments[0])), *arguments[1:]],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_core_needs_no_package_of_an_extra(python: Path, tmp_path: Path) -> None:
    code = "import importlib.metadata as m, json; print(json.dumps([d.name for d in m.distributions()]))"
    told = run(python, tmp_path, "python", "-c", code)
    names = set(map(canonicalize_name, json.loads(told.stdout)))
    assert {"action-matching", "numpy", "torch"} <= names
    assert names & {package for packages in EXTRAS.values() for package in packages} == set()


def test_the_example_that_the_page_opens_with_runs(python: Path, tmp_path: Path) -> None:
    page = (LIBRARY / "README.md").read_text()
    example = page.partition("```python\n")[2].partition("```")[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    assert page.index(example) < page.index("\n## ")
    code = f"{example}print((moved.x[-1].mean(0) - torch.tensor([2.0, -1.0])).abs().max() < 0.3)\n"
    told = run(python, tmp_path, "python", "-c", code)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[0] == "torch.Size([3, 1000, 2])"
    assert told.stdout.splitlines()[-1] == "tensor(True)"


@pytest.mark.parametrize(
    ("call", "extra"),
    [
        ("am.datasets.load('myoblast')", "cells"),
        ("am.OptimalTransportFlowMatching()", "rivals"),
        ("am.metrics.sinkhorn_divergence([[0.0]], [[1.0]])", "rivals"),
        ("plugins.load('am.datasets', 'digits').DATASET(None).sources()", "images"),
    ],
)
def test_what_is_not_there_is_one_sentence_with_a_command(python: Path, tmp_path: Path, call: str, extra: str) -> None:
    told = run(python, tmp_path, "python", "-c", f"import am; from am import plugins\n{call}")
    assert told.returncode == 1
    last = told.stderr.splitlines()[-1]
    assert last.startswith("am.extras.MissingExtraError: ")
    assert last.endswith(f"not installed: pip install 'action-matching[{extra}]'")


@pytest.mark.parametrize("arguments", [("am", "methods"), ("python", "-m", "am", "fit", "my.h5ad")])
def test_so_it_is_of_the_command(python: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    told = run(python, tmp_path, *arguments)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == (
        "am: the command am needs typer, which is not installed: pip install 'action-matching[cli]'\n"
    )
