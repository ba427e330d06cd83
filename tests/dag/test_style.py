"""The workflow's own language is kept clean."""

from __future__ import annotations

from ..project import ProjectCopy


def test_lint_finds_nothing(project: ProjectCopy) -> None:
    run = project.call("snakemake", "--lint")
    assert run.returncode == 0, run.stdout


def test_snakefmt_changes_nothing(project: ProjectCopy) -> None:
    run = project.call("snakefmt", "--check", "Snakefile", "workflow")
    assert run.returncode == 0, run.stdout
