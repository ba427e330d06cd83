"""A Slurm for the tests of this folder, and Snakemake runs that end with their test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .cluster import Cluster, running, wait_until, why_not
from .snakemake_run import SnakemakeRun


@pytest.fixture(scope="session")
def slurm_here() -> None:
    """Skip where there can be no Slurm, or fail if AM_REQUIRE_SLURM is 1; root on Debian gets it installed."""
    if why_not() and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run([Path(__file__).with_name("install.sh")], check=False)
    if reason := why_not():
        if os.environ.get("AM_REQUIRE_SLURM") == "1":
            pytest.fail(f"AM_REQUIRE_SLURM=1, but {reason}")
        pytest.skip(f"NOT TESTED ON SLURM: {reason}")


@pytest.fixture(scope="session")
def slurm_cluster(slurm_here: None, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """One node of Slurm for all tests. Its logs stay where a test failed."""
    # Not below pytest's own folder: its path may be too long for a socket.
    state = Path(tempfile.mkdtemp(prefix="slurm-"))
    with running(state) as cluster:
        yield cluster
    if not request.session.testsfailed:
        shutil.rmtree(state)


@pytest.fixture
def snakemake(slurm_cluster: Cluster) -> Iterator[Callable[..., SnakemakeRun]]:
    """Start ``snakemake --profile slurm`` as :class:`SnakemakeRun` does. Nothing of it outlives the test."""
    started = []

    def start(folder: Path, *arguments: str, **variables: str) -> SnakemakeRun:
        started.append(SnakemakeRun(slurm_cluster, folder, *arguments, **variables))
        return started[-1]

    yield start
    for run in started:
        run.kill()
    slurm_cluster.call("scancel", "--user=root")
    wait_until(lambda: not slurm_cluster.call("squeue", "--noheader"), 30, "an empty queue")
