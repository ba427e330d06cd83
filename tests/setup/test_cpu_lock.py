"""The lock less a torch for GPUs, for `make environment TORCH_INDEX=...` with a torch from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def blocks(path: Path) -> dict[str, str]:
    """Text of each pin, by its first line."""
    return {block.splitlines()[0]: block for block in re.split(r"\n(?=\S)", path.read_text().strip())}


def name(pin: str) -> str:
    return canonicalize_name(Requirement(pin.removesuffix("\\").strip()).name)


@pytest.fixture(scope="module")
def cpu_lock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    venv = tmp_path_factory.mktemp("cpu") / "venv"
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    command = ["make", "--silent", f"VENV={venv}", f"{venv}/cpu.lock"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=60)
    return venv / "cpu.lock"


def test_it_lacks_the_torch_closure_and_nothing_else(cpu_lock: Path) -> None:
    whole, kept = blocks(ROOT / "requirements.lock"), blocks(cpu_lock)
    assert kept.items() <= whole.items()
    dropped = {name(pin) for pin in whole.keys() - kept.keys()}
    assert {"torch", "torchvision", "triton"} < dropped
    assert not any(re.match("nvidia|cuda|triton", name(pin)) for pin in kept)
    # Of what is kept, nothing but torch itself is needed from what is dropped.
    needed = {dependency for pin in kept for dependency in dependencies(name(pin))}
    assert needed & dropped <= {"torch", "torchvision"}


def test_pip_takes_it_and_finds_it_complete(cpu_lock: Path) -> None:
    """In an environment made from the whole lock there is nothing left to install."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps", "--require-hashes"]
    run = subprocess.run([*command, "-r", str(cpu_lock)], check=False, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "Would install" not in run.stdout


def dependencies(package: str) -> set[str]:
    """Names of what an installed package needs here; nothing for one that is not installed."""
    try:
        requirements = distribution(package).requires or []
    except ModuleNotFoundError:  # locked for another platform or Python
        return set()
    parsed = map(Requirement, requirements)
    return {canonicalize_name(r.name) for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})}
