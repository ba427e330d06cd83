"""A training that is killed in the middle of a run of the workflow goes on where it was."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil

from ..project import ProjectCopy

MODEL = "results/tiny/tiny/am/seed0/model.safetensors"


def training(process: subprocess.Popen[str]) -> psutil.Process | None:
    """The process, somewhere below ``process``, that trains."""
    for child in psutil.Process(process.pid).children(recursive=True):
        line = child.cmdline()
        if "train" in line and "--run" in line:
            return child
    return None


def kill_after_a_checkpoint(project: ProjectCopy) -> str:
    """Start Snakemake, kill the training once it has saved its state, and return what Snakemake then prints."""
    state = (project.folder / MODEL).parent / "state"
    command = ["snakemake", "--profile", "workflow/profiles/local", MODEL]
    with subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        while not list(state.glob("*/checkpoint.safetensors")):
            assert run.poll() is None, run.communicate()[0]
            time.sleep(0.01)
        victim = training(run)
        assert victim is not None
        os.kill(victim.pid, signal.SIGKILL)
        printed, _ = run.communicate()
    assert run.returncode == 1
    return printed


def test_after_an_interrupt_one_sentence_is_the_last_word_and_the_same_command_continues(fresh: ProjectCopy) -> None:
    planned = len(fresh.planned())
    ready = fresh.folder / "venv/.ready"
    ready.parent.mkdir()
    ready.touch()
    # What an outer make hands down would change how this one runs.
    inner = {key: value for key, value in fresh.environment.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    with subprocess.Popen(
        ["make", f"VENV={ready.parent}", "SCALE=tiny", "reproduce"],
        cwd=fresh.folder,
        env=inner,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        printed = []
        for line in run.stdout:
            printed.append(line)
            if re.match(r"[3-9] of \d+ jobs done, ", line):
                os.killpg(run.pid, signal.SIGINT)
                break
        printed += run.stdout
    assert run.returncode != 0
    told = "".join(printed)
    assert "rror" not in told.replace("Error 130", "")
    assert "Traceback" not in told
    assert "interrupted; the same command continues" in told.splitlines()[-2:][0]
    assert 0 < len(fresh.planned()) < planned


def test_a_killed_training_ends_with_the_bytes_of_one_that_was_not(fresh: ProjectCopy, tmp_path: Path) -> None:
    fresh.edit("config/scales/tiny.yaml", "am: {settings: {training: {iterations: 3}}}", "am: {}")
    fresh.environment["AM_CHECKPOINT_SECONDS"] = "0.2"

    assert "Error in rule train_method" in kill_after_a_checkpoint(fresh)
    assert not (fresh.folder / MODEL).exists()

    again = fresh.snakemake(MODEL)
    assert again.returncode == 0, again.stdout
    log = (fresh.folder / "results/tiny/logs/train_method/tiny/am/seed0.log").read_text()
    (step,) = re.findall(r"continuing from step (\d+)", log)
    assert 0 < int(step) < 900
    assert not (fresh.folder / MODEL).with_name("state").exists()

    data, run = "results/tiny/tiny/data.h5ad", "results/tiny/tiny/am/config.yaml"
    whole = tmp_path / "whole/model.safetensors"
    alone = fresh.call("am", "train", "--run", run, "--data", data, "--seed", "0", "--out", str(whole))
    assert alone.returncode == 0, alone.stdout
    assert "continuing" not in alone.stdout
    for name in ("model.safetensors", "snapshots.safetensors"):
        assert (fresh.folder / MODEL).with_name(name).read_bytes() == whole.with_name(name).read_bytes()
