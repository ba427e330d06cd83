"""Whatever is killed, cut or started twice while the workflow runs, one more run ends with the same tables.

The short form takes one of each; `pytest -m slow tests/dag/test_chaos.py` takes two hundred, at random moments.
Jobs are processes of their own, but forked from one that has imported torch (:mod:`forked`).
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from am.config import write_yaml
from am.io.embryoid import TIMES

from ..project import ProjectCopy
from .forked import Forks

TABLES = [f"tables/{name}{kind}.csv" for name in ("tiny", "tiny_cells") for kind in ("", "_times", "_pairs")]
MEASURED = ["train_seconds", "sample_seconds"]
COMMAND = ["snakemake", "--profile", "workflow/profiles/local"]
LARGEST = 36
"""Kilobytes that a file may have on a "full" disk: Snakemake writes less for itself, and points need more."""
FETCHED = "data/raw/embryoid/val_rna.npz"


class Source(ThreadingHTTPServer):
    """Where the experiment ``tiny_cells`` fetches its cells; it may break off each answer after so many bytes."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.content = content
        self.most: int | None = None


class _Answer(BaseHTTPRequestHandler):
    server: Source

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        content, asked = self.server.content, self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        with suppress(OSError):  # whoever asked may have been killed
            self.wfile.write(content[start:][: self.server.most])
        return None


class House:
    """The tiny project with a second experiment, of cells that are fetched; and all that its runs need."""

    def __init__(self, tiny: ProjectCopy, folder: Path, source: Source, forks: Forks) -> None:
        self.source, self.forks = source, forks
        self._first = tiny.copy(folder / "project")
        home = self._first.folder
        shutil.rmtree(home / "results/expected/laptop")  # Snakemake writes down all inputs, on a full disk too
        registry = {
            "title": "Points that are called cells",
            "licence": "none",
            "citation": "this test",
            "files": {
                Path(FETCHED).name: {
                    "urls": [f"http://127.0.0.1:{source.server_port}/{Path(FETCHED).name}"],
                    "sha256": hashlib.sha256(source.content).hexdigest(),
                }
            },
        }
        cells = {
            "title": "Cells that are fetched",
            "dataset": {"name": "embryoid_mini", "test_cells": 10},
            "evaluation": {
                "times": [0.5, 1.0],
                "n_samples": 10,
                "history_samples": 10,
                "floor_repeats": 2,
                "metrics": [{"kind": "energy"}],
            },
            "methods": {"no_dynamics": {}},
        }
        write_yaml({"embryoid": registry}, home / "data/registry.yaml")
        write_yaml(cells, home / "config/experiments/tiny_cells.yaml")
        (home / "config/config.yaml").write_text("scale: tiny\nexperiments: [tiny, tiny_cells]\n")

    def project(self, folder: Path) -> ProjectCopy:
        """A copy in which nothing has run."""
        project = self._first.copy(folder)
        self.forks.serve(project)
        project.environment |= {"AM_DATA": "", "NO_PROXY": "127.0.0.1"}
        return project


@pytest.fixture(scope="module")
def house(tiny: ProjectCopy, forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Everything that serves the runs of this module."""
    folder = tmp_path_factory.mktemp("chaos")
    rng = np.random.default_rng(0)
    cells = folder / "cells.npz"
    np.savez(cells, X=rng.normal(size=(150, 100)), ts=np.repeat(range(len(TIMES)), 30))
    source = Source(cells.read_bytes())
    serving = threading.Thread(target=source.serve_forever)
    serving.start()
    yield House(tiny, folder, source, forks)
    source.shutdown()
    source.server_close()
    serving.join()


@pytest.fixture(scope="module")
def expected(house: House, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """What a run that nobody disturbs ends with."""
    project = house.project(tmp_path_factory.mktemp("undisturbed") / "project")
    run = project.call(*COMMAND)
    assert run.returncode == 0, run.stdout
    return tables(project)


def tables(project: ProjectCopy) -> dict[str, pd.DataFrame]:
    """What a run ends with, but for what is measured anew each time."""
    read = {name: pd.read_csv(project.folder / "results/tiny" / name) for name in (*TABLES, "verdict.csv")}
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


def kill_a_job(house: House, project: ProjectCopy, chance: random.Random) -> str:
    """Kill the first job that is seen after a moment."""
    run = start(project)
    until = time.monotonic() + chance.uniform(0, 3)
    while run.poll() is None:
        if time.monotonic() > until and (there := house.forks.of(project)):
            with suppress(psutil.NoSuchProcess):
                chance.choice(there).kill()
                break
        time.sleep(0.01)
    return ended(run)


def kill_everything(house: House, project: ProjectCopy, chance: random.Random) -> str:
    """Kill Snakemake and all below it, as a machine that goes down does."""
    run = start(project)
    until = time.monotonic() + chance.uniform(2, 12)
    while run.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
    for process in house.forks.of(project):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return ended(run)


def start_twice(house: House, project: ProjectCopy, chance: random.Random) -> str:
    """Start a second run beside the first, which is stopped before its end."""
    first = start(project)
    while first.poll() is None and not locked(project):
        time.sleep(0.02)
    time.sleep(chance.uniform(0, 2))
    printed = ended(start(project))
    first.send_signal(signal.SIGTERM)
    return ended(first) + printed


def fill_the_disk(house: House, project: ProjectCopy, chance: random.Random) -> str:
    """Let no file become as large as weights are."""
    return ended(start(project, full=True))


def cut_a_result(house: House, project: ProjectCopy, chance: random.Random) -> str:
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


def cut_a_download(house: House, project: ProjectCopy, chance: random.Random) -> str:
    """Lose a file that was fetched, and what was made of it; break off every answer of the server that has it."""
    (project.folder / FETCHED).unlink(missing_ok=True)
    shutil.rmtree(project.folder / "results/tiny/tiny_cells", ignore_errors=True)
    house.source.most = chance.randrange(len(house.source.content) // 4)
    printed = ended(start(project))
    house.source.most = None
    return printed


Act = Callable[[House, ProjectCopy, random.Random], str]
ACTS: tuple[Act, ...] = (
    kill_everything,
    start_twice,
    cut_a_download,
    fill_the_disk,
    kill_a_job,
    cut_a_result,
)


def locked(project: ProjectCopy) -> bool:
    """Whether Snakemake holds the folder, or has died while it did."""
    locks = project.folder / ".snakemake/locks"
    return locks.is_dir() and any(locks.iterdir())


def one_more_run(project: ProjectCopy) -> subprocess.CompletedProcess[str]:
    """What a user does: run again, after unlocking the folder where a dead Snakemake has left it locked."""
    again = project.call(*COMMAND)
    if "--unlock" in again.stdout:
        unlocked = project.call(*COMMAND, "--unlock")
        assert unlocked.returncode == 0, unlocked.stdout
        again = project.call(*COMMAND)
    return again


def wreck(house: House, project: ProjectCopy, act: Act, chance: random.Random) -> str:
    """Do something to a run, in which nothing may end in a traceback of the library; returns what was printed."""
    if locked(project):
        project.call(*COMMAND, "--unlock")
    printed = act(house, project, chance)
    for log in (project.folder / "results/tiny/logs").rglob("*.log"):
        assert "Traceback" not in log.read_text(), log.read_text()
    return printed


def test_after_one_of_each_one_more_run_ends_with_the_same_tables(
    house: House, expected: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    project, chance = house.project(tmp_path / "project"), random.Random(7)
    printed = {}
    for act in ACTS:
        # Something to do must be left, or nothing is there to be killed.
        shutil.rmtree(project.folder / "results/tiny/tiny/am/seed0", ignore_errors=True)
        printed[act] = wreck(house, project, act, chance)
    for act in (kill_a_job, fill_the_disk, cut_a_result):
        assert "Error in rule" in printed[act], printed[act]
    assert "Error in rule retrieve_file" in printed[cut_a_download], printed[cut_a_download]
    assert "Complete log" not in printed[kill_everything], printed[kill_everything]
    assert "cannot be locked" in printed[start_twice], printed[start_twice]
    again = one_more_run(project)
    assert again.returncode == 0, again.stdout
    for name, table in tables(project).items():
        pd.testing.assert_frame_equal(table, expected[name])


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
def test_two_hundred_times(house: House, expected: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    times = int(os.environ.get("AM_CHAOS", "200"))
    for first in range(0, times, 5):
        project, chance = house.project(tmp_path / f"{first}"), random.Random(first)
        acts = [chance.choice(ACTS) for _ in range(min(5, times - first))]
        for act in acts:
            wreck(house, project, act, chance)
        again = one_more_run(project)
        assert again.returncode == 0, (first, [act.__name__ for act in acts], again.stdout)
        for name, table in tables(project).items():
            pd.testing.assert_frame_equal(table, expected[name], obj=f"{name} after {first}")
        print(f"{first + len(acts)} of {times}: {', '.join(act.__name__ for act in acts)}", flush=True)
        shutil.rmtree(project.folder)
