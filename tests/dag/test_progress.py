"""What who runs it sees: progress in a line, and errors whole."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path

from ..project import ROOT

SCRIPT = ROOT / "workflow/progress.py"
SNAKEFILE = """
rule all:
    input: "a", "b", "c"

rule good:
    output: "{name}"
    wildcard_constraints: name="[ab]"
    shell: "touch {output}"

rule bad:
    output: "c"
    log: "c.log"
    shell: "echo 'am: this went wrong' > {log}; exit 1"
"""


def run(folder: Path, *targets: str) -> list[str]:
    (folder / "Snakefile").write_text(SNAKEFILE)
    command = [Path(sys.executable).with_name("snakemake"), "--cores", "1", "--keep-going", "--show-failed-logs"]
    said = subprocess.run(
        [*command, *targets], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    shown = subprocess.run(
        [sys.executable, SCRIPT], input=said.stdout, capture_output=True, text=True, check=True, cwd=folder
    )
    return shown.stdout.splitlines()


def test_jobs_that_go_well_are_a_line_of_progress_each(tmp_path: Path) -> None:
    lines = run(tmp_path, "a", "b")
    assert [line.partition(",")[0] for line in lines[:2]] == ["1 of 2 jobs done", "2 of 2 jobs done"]
    assert len(lines) == 3
    assert lines[2].startswith("Complete log")


def test_what_went_wrong_is_shown_with_its_log(tmp_path: Path) -> None:
    lines = run(tmp_path)
    assert "Error in rule bad:" in lines
    assert "am: this went wrong" in lines
    assert "At least one job did not complete successfully." in lines
    assert not [line for line in lines if "Finished jobid" in line or "rule good" in line]


def test_a_mistake_before_any_job_is_shown(tmp_path: Path) -> None:
    assert any("MissingRuleException" in line for line in run(tmp_path, "no_such_file"))


def test_the_time_left_is_that_of_the_jobs_so_far() -> None:
    spec = importlib.util.spec_from_file_location("progress", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    said = ["1 of 4 steps (25%) done", "2 of 4 steps (50%) done", "4 of 4 steps (100%) done"]
    shown = list(module.shown(said, itertools.count(0, 600)))
    assert shown == [
        (True, "1 of 4 jobs done, about 30 min left"),
        (True, "2 of 4 jobs done, about 20 min left"),
        (True, "4 of 4 jobs done"),
    ]
