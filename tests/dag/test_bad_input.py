"""A mistake in the settings ends Snakemake with one sentence, before anything is written."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ..project import ProjectCopy

CONFIG = "config/config.yaml"
SCALE = "config/scales/tiny.yaml"
EXPERIMENT = "config/experiments/tiny.yaml"
BOTH = f"{EXPERIMENT} with {SCALE}"

EDITS = {
    "a key of config.yaml": (CONFIG, "scale:", "scael:", f"{CONFIG}: scael: unknown key; did you mean 'scale'?"),
    "a key of a scale": (SCALE, "seeds:", "seed:", f"{SCALE}: seed: unknown key; did you mean 'seeds'?"),
    "a key of an experiment": (
        EXPERIMENT,
        "  n_samples:",
        "  n_sample:",
        f"{BOTH}: evaluation.n_sample: unknown key; did you mean 'n_samples'?",
    ),
    "a key of a method": (
        SCALE,
        "am: {settings: {training: {iterations: 3}}}",
        "am: {settings: {training: {iteration: 3}}}",
        f"{BOTH}: methods.am.settings: training.iteration: unknown key; did you mean 'iterations'?",
    ),
    "a number that is a word": (
        EXPERIMENT,
        "batch_size: 20",
        "batch_size: twenty",
        f"{BOTH}: methods.am.settings: training.batch_size: input should be a valid integer, "
        "unable to parse string as an integer (got 'twenty')",
    ),
    "a number out of range": (
        SCALE,
        "[0, 1]",
        "[0, -1]",
        f"{SCALE}: seeds.1: input should be greater than or equal to 0 (got -1)",
    ),
    "a method": (
        EXPERIMENT,
        "no_dynamics: {}",
        "no_dynamic: {}",
        "methods: there is no 'no_dynamic'; did you mean 'no_dynamics'?",
    ),
    "an experiment of a scale": (
        SCALE,
        "  tiny:",
        "  tyni:",
        f"{SCALE}: experiments.tyni: there is no such experiment; choose from: ",
    ),
    "a key given twice": (CONFIG, "scale: tiny", "scale: tiny\nscale: tiny", f"{CONFIG}: line 2: the key 'scale' is"),
    "no YAML": (CONFIG, "[tiny]", "[tiny", f"{CONFIG}: not valid YAML"),
}
OVERRIDES = {
    "scale=laptpo": "there is no scale 'laptpo' in config/scales; did you mean 'laptop'?",
    "experiments=[hydrogn]": "there is no experiment 'hydrogn' in config/experiments; did you mean 'hydrogen'?",
    "scael=smoke": "the command line: scael: unknown key; did you mean 'scale'?",
    "experiments=tiny": "the command line: experiments: input should be a valid tuple (got 'tiny')",
}


def files(project: ProjectCopy) -> set[Path]:
    """All but Snakemake's own notes and Python's caches."""
    found = project.folder.rglob("*")
    return {path for path in found if not {".snakemake", "__pycache__"} & set(path.parts)}


def refusal(project: ProjectCopy, *arguments: str) -> str:
    """The one line with which Snakemake refuses, having left everything as it is."""
    before = files(project)
    run = project.snakemake(*arguments)
    assert run.returncode == 1
    lines = [line for line in run.stdout.splitlines() if not line.startswith("Using profile")]
    assert len(lines) == 1, run.stdout
    assert files(project) == before
    return lines[0]


@pytest.mark.parametrize("mistake", EDITS)
def test_a_mistake_in_a_file_is_one_sentence(fresh: ProjectCopy, mistake: str) -> None:
    name, old, new, told = EDITS[mistake]
    fresh.edit(name, old, new)
    assert refusal(fresh).startswith(f"am: {told}")


@pytest.mark.parametrize("setting", OVERRIDES)
def test_a_mistake_on_the_command_line_is_one_sentence(fresh: ProjectCopy, setting: str) -> None:
    assert refusal(fresh, "--config", setting) == f"am: {OVERRIDES[setting]}"


def test_a_missing_file_is_one_sentence(fresh: ProjectCopy) -> None:
    os.rename(fresh.folder / CONFIG, fresh.folder / "config/configs.yaml")
    assert refusal(fresh) == f"am: {CONFIG}: no such file; did you mean 'configs.yaml'?"


def test_results_that_cannot_be_written_are_one_sentence(fresh: ProjectCopy) -> None:
    for _ in range(2):  # the second time, nothing of the first is in the way
        run = fresh.snakemake("--config", "results=/sys/am")  # where nobody can make a folder
        assert run.returncode == 1
        assert re.search(r"^am: .+ while writing /sys/am/tiny/tiny/config\.yaml$", run.stdout, re.MULTILINE), run.stdout
        assert "Traceback" not in run.stdout
