"""What a job costs on Slurm beside what it does: jobs that do nothing, on a Slurm of this machine and without one.

    python benchmarks/slurm.py [jobs]

Needs root and Debian's Slurm packages (`tests/slurm/install.sh`).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from machine import describe

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))

from tests.slurm.cluster import Cluster, running, why_not  # noqa: E402
from tests.slurm.snakemake_run import SnakemakeRun  # noqa: E402

SNAKEFILE = """\
rule all:
    input: expand("out/{job}", job=range(JOBS))
    localrule: True

rule do_nothing:
    output: "out/{job}"
    shell: "touch {output}"
"""


def workflow(folder: Path, jobs: int) -> Path:
    folder.mkdir()
    (folder / "Snakefile").write_text(f"JOBS = {jobs}\n\n{SNAKEFILE}")
    (folder / "slurm").symlink_to(PROJECT / "slurm")
    return folder


def on_this_machine(folder: Path) -> float:
    """Seconds that all jobs took, one after the other."""
    start = time.monotonic()
    snakemake = Path(sys.executable).with_name("snakemake")
    subprocess.run([snakemake, "--cores", "1", "--quiet", "all"], cwd=folder, check=True)
    return time.monotonic() - start


def on_slurm(cluster: Cluster, folder: Path) -> tuple[float, list[float]]:
    """Seconds until Snakemake ended, and those that Slurm gave to each job."""
    start = time.monotonic()
    run = SnakemakeRun(cluster, folder)
    run.must_succeed(timeout=1800)
    seconds = time.monotonic() - start
    times = [[datetime.fromisoformat(job[key]) for key in ("StartTime", "EndTime")] for job in run.jobs("do_nothing")]
    return seconds, [(end - begin).total_seconds() for begin, end in times]


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    print(describe())
    if reason := why_not():
        print(f"not measured: {reason}")
        return
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, running(Path(name) / "state") as cluster:
        local = on_this_machine(workflow(Path(name) / "local", jobs))
        total, each = on_slurm(cluster, workflow(Path(name) / "slurm", jobs))
    print(f"{jobs} jobs that do nothing: {local:.0f} s on one core without Slurm, {total:.0f} s with it")
    print(f"a job holds its CPU on Slurm for {statistics.median(each):.0f} s (median of {len(each)})")


if __name__ == "__main__":
    main()
