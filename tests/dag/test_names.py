"""Whatever folders are called, commands mean what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..project import ROOT, ProjectCopy
from .forked import Forks

HOSTILE = """a b'c"d;$(touch ran)`touch ran`&é*"""
RULES = sorted((ROOT / "workflow").rglob("*.smk"))
SAFE = {"threads", "wildcards.seed", "resources.gpu"}
"""Numbers."""


@pytest.mark.parametrize("file", RULES, ids=lambda file: str(file.relative_to(ROOT / "workflow")))
def test_all_that_a_command_is_given_is_quoted(file: Path) -> None:
    commands = re.findall(r"^ +shell:\n((?: +['\"].*\n)+)", file.read_text(), re.MULTILINE)
    assert len(commands) == len(re.findall(r"^ *shell:", file.read_text(), re.MULTILINE))
    for command in commands:
        for given in re.findall(r"{(.*?)}", command):
            assert given in SAFE or given.endswith(":q"), f"{file.name}: {{{given}}} is not quoted: {{{given}:q}}"


def test_folders_of_any_name_reach_every_step(tiny: ProjectCopy, forks: Forks, tmp_path: Path) -> None:
    project = tiny.copy(tmp_path / HOSTILE / "project")
    forks.serve(project)
    project.edit(
        "config/scales/tiny.yaml", "      ald_ssm: {settings: {training: {iterations: 3}}}", "      ald_ssm: null"
    )
    project.edit("config/scales/tiny.yaml", "[0, 1]", "[0]")
    run = project.snakemake("--config", f"results={HOSTILE}", "--jobs", "1")
    assert run.returncode == 0, run.stdout
    made = project.folder / HOSTILE / "tiny"
    assert (made / "verdict.html").is_file()
    assert (made / "tiny/am/seed0/model.safetensors").is_file()
    assert (made / "logs/train_method/tiny/am/seed0.log").is_file()
    assert not list(tmp_path.rglob("ran"))
