"""Whatever is killed, cut or started twice while the workflow runs, one more run ends with the same tables.

The short form takes one of each; `pytest -m slow tests/dag/test_chaos.py` takes two hundred, at random moments.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest

from ..project import ProjectCopy

TABLES = ("tables/tiny.csv", "tables/tiny_times.csv", "tables/tiny_pairs.csv", "verdict.csv")
MEASURED = ["train_seconds", "sample_seconds"]
COMMAND = ["snakemake", "--profile", "workflow/profiles/local"]
LARGEST = 36
"""Kilobytes that a file may have on a "full" disk: Snakemake writes less for itself, and points need more."""


def tables(project: ProjectCopy) -> dict[str, pd.DataFrame]:
    """What a run ends with, but for what is measured anew each time."""
    read = {name: pd.read_csv(project.folder / "results/tiny" / name) for name in TABLES}
    return {name: table.drop(columns=MEASURED, errors="ignore") for name, table in read.items()}


def start(project: ProjectCopy, full: bool = False) -> subprocess.Popen[str]:
    """Start a whole run, in a process group of its own."""
    return subprocess.Popen(
        ["bash", "-c", f'ulimit -f {LARGEST if full else "unlimited"}; exec "$@"', "bash", *COMMAND],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(run: subprocess.Popen[str]) -> str:
    """What a run has printed at its end."""
    printed, _ = run.communicate(timeout=600)
    return printed


def jobs(run: subprocess.Popen[str]) -> list[psutil.Process]:
    """Processes of the library below a run."""
    found = []
    for child in psutil.Process(run.pid).children(recursive=True):
        try:
            line = child.cmdline()
        except psutil.Error:  # it has just ended
            continue
        if any(Path(word).name == "am" for word in line[:2]):
            found.append(child)
    return found


def kill_a_job(project: ProjectCopy, chance: random.Random) -> str:
    """Kill the first job that is seen after a moment."""
    run = start(project)
    until = time.monotonic() + chance.uniform(0, 3)
    while run.poll() is None:
        if time.monotonic() > until and (there := jobs(run)):
            victim = chance.choice(there)
            try:
                if victim.status() == psutil.STATUS_ZOMBIE:
                    continue
                victim.kill()
            except psutil.NoSuchProcess:
                continue
            break
        time.sleep(0.02)
    return ended(run)


def kill_everything(project: ProjectCopy, chance: random.Random) -> str:
    """Kill Snakemake and all below it, as a machine that goes down does."""
    run = start(project)
    until = time.monotonic() + chance.uniform(2, 12)
    while run.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    below = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
    for process in below:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
    return ended(run)


def start_twice(project: ProjectCopy, chance: random.Random) -> str:
    """Start a second run beside the first, which is stopped before its end."""
    first, locks = start(project), project.folder / ".snakemake/locks"
    while first.poll() is None and not (locks.is_dir() and any(locks.iterdir())):
        time.sleep(0.02)
    time.sleep(chance.uniform(0, 2))
    printed = ended(start(project))
    first.send_signal(signal.SIGTERM)
    return ended(first) + printed


def fill_the_disk(project: ProjectCopy, chance: random.Random) -> str:
    """Let no file become as large as weights are."""
    return ended(start(project, full=True))


def cut_a_result(project: ProjectCopy, chance: random.Random) -> str:
    """Cut off a file that later steps read, run, and remove it as everyone would who was told its name."""
    folder = project.folder / "results/tiny"
    there = sorted(file for file in folder.rglob("*") if file.suffix in (".h5ad", ".npz", ".safetensors"))
    if not there:
        return ""
    victim = chance.choice(there)
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    printed = ended(start(project))
    victim.unlink(missing_ok=True)
    return printed


ACTS: tuple[Callable[[ProjectCopy, random.Random], str], ...] = (
    kill_everything,
    start_twice,
    fill_the_disk,
    kill_a_job,
    cut_a_result,
)


def one_more_run(project: ProjectCopy) -> subprocess.CompletedProcess[str]:
    """What a user does: run again, after unlocking the folder where a dead Snakemake has left it locked."""
    again = project.call(*COMMAND)
    if "--unlock" in again.stdout:
        unlocked = project.call(*COMMAND, "--unlock")
        assert unlocked.returncode == 0, unlocked.stdout
        again = project.call(*COMMAND)
    return again


def wreck(project: ProjectCopy, act: Callable[[ProjectCopy, random.Random], str], chance: random.Random) -> str:
    """Do something to a run, in which nothing may end in a traceback of the library; returns what was printed."""
    if (project.folder / ".snakemake/locks").is_dir():
        project.call(*COMMAND, "--unlock")
    printed = act(project, chance)
    for log in (project.folder / "results/tiny/logs").rglob("*.log"):
        assert "Traceback" not in log.read_text(), log.read_text()
    return printed


def test_after_one_of_each_one_more_run_ends_with_the_same_tables(fresh: ProjectCopy, finished: ProjectCopy) -> None:
    chance = random.Random(7)
    printed = {}
    for act in ACTS:
        # Something to do must be left, or nothing is there to be killed.
        shutil.rmtree(fresh.folder / "results/tiny/tiny/am/seed0", ignore_errors=True)
        printed[act] = wreck(fresh, act, chance)
    for act in (kill_a_job, fill_the_disk, cut_a_result):
        assert "Error in rule" in printed[act], printed[act]
    assert "Complete log" not in printed[kill_everything], printed[kill_everything]
    assert "cannot be locked" in printed[start_twice], printed[start_twice]
    again = one_more_run(fresh)
    assert again.returncode == 0, again.stdout
    expected = tables(finished)
    for name, table in tables(fresh).items():
        pd.testing.assert_frame_equal(table, expected[name])


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
def test_two_hundred_times(tiny: ProjectCopy, finished: ProjectCopy, tmp_path: Path) -> None:
    expected = tables(finished)
    times = int(os.environ.get("AM_CHAOS", "200"))
    for first in range(0, times, 5):
        project = tiny.copy(tmp_path / f"{first}")
        chance = random.Random(first)
        acts = [chance.choice(ACTS) for _ in range(min(5, times - first))]
        for act in acts:
            wreck(project, act, chance)
        again = one_more_run(project)
        assert again.returncode == 0, (first, [act.__name__ for act in acts], again.stdout)
        for name, table in tables(project).items():
            pd.testing.assert_frame_equal(table, expected[name], obj=f"{name} after {first}")
