"""The pages on adding something, followed to the letter in a copy of the project: files written, commands run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from ..project import ROOT, ProjectCopy

pytestmark = pytest.mark.trains


class Block(NamedTuple):
    language: str
    path: str | None
    """Where the prose says that it belongs; None for commands."""
    text: str
    before: str
    """The paragraph that introduces it."""


def blocks(page: str) -> Iterator[Block]:
    text = (ROOT / "docs" / page).read_text()
    for match in re.finditer(r"^```(\w+)(?: title=(\S+))?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        introduction = text[: match.start()].strip().rpartition("\n\n")[2]
        yield Block(match[1], match[2], match[3], introduction)


def run(command: str, project: ProjectCopy) -> str:
    done = project.call("bash", "-euo", "pipefail", "-c", command)
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def means(table: str) -> dict[str, float]:
    """The leading metric of each method that a table in Markdown has numbers of."""
    header, _, *rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("|")]
    mean = [cell.strip() for cell in header].index("mean [95 % interval]")
    measured = [row for row in rows if re.match(r" *-?\d", row[mean])]
    return {row[0].strip().strip("*"): float(row[mean].split()[0]) for row in reversed(measured)}


def test_a_benchmark_gets_from_nothing_to_a_row_in_a_table(project: ProjectCopy) -> None:
    project.environment["COLUMNS"] = "200"
    run("git init --quiet", project)  # as a clone is: tests copy what git lists
    written, _, tests, table = (run(block.text, project) for block in blocks("adding-a-benchmark.md"))
    assert "wrote workflow/benchmarks/shifted/rules.smk" in written
    assert re.search(r"\b4 passed", tests)
    values = means(table)
    assert values.keys() == {"shifted", "control: no dynamics"}
    assert values["shifted"] < values["control: no dynamics"]
    run("snakefmt --check workflow/benchmarks/shifted", project)


def test_tutorial_leads_to_a_row_in_a_table(project: ProjectCopy) -> None:
    project.environment["COLUMNS"] = "200"  # so that tables are not wrapped
    printed: list[str] = []
    written: list[str] = []
    for block in blocks("adding-a-method.md"):
        if block.language == "bash":
            printed.append(run(block.text, project))
            continue
        assert block.path is not None, block.text
        assert block.before.endswith(f"`{block.path}`:")
        target = project.folder / block.path
        assert not target.exists(), f"the page would overwrite {block.path}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text)
        written.append(block.path)
    methods, tests, table, checks = printed

    assert re.search(r"am_affine\W+AM \(affine\)\W+Action Matching among affine fields", methods)
    assert "1 passed" in tests
    assert re.search(r"\b\d\d passed", checks)
    values = means(table)
    assert values.keys() == {"AM (affine)", "control: no dynamics"}
    # It learned: what moves is nearer to the truth than what stands still.
    assert 0 < values["AM (affine)"] < values["control: no dynamics"]

    python = [path for path in written if path.endswith(".py")]
    run(f"ruff check {' '.join(python)} && ruff format --check {' '.join(python)}", project)
