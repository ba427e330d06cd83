"""docs/architecture.md draws the house as it is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable

import pandas as pd
import pytest
import typer.main

from am.cli import app
from am.io.provenance import Provenance
from am.io.samples import Samples
from am.io.snapshots import Snapshots
from am.io.tidy import HISTORY_COLUMNS, METRIC_COLUMNS
from am.report.labels import Label
from am.report.store import RUN_COLUMNS
from am.report.tables import summarise, summarise_times
from am.report.verdicts import Judgement
from am.runs import DataConfig, RunConfig

from ..project import ROOT
from .pages import first_cells, section

PAGE = ROOT / "docs/architecture.md"
TEXT = PAGE.read_text()
SEED = "<experiment>/<run>/seed<k>"


def table_columns(times: bool) -> Iterable[str]:
    rows = [("e", "m", seed, 0.5, "mmd", 1.0 + seed, 10) for seed in range(2)]
    metrics = pd.DataFrame(rows, columns=list(METRIC_COLUMNS))
    floor = metrics.assign(method="floor")
    return (summarise_times if times else summarise)("e", metrics, floor, [Label("m", "M")]).columns


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("<experiment>/config.yaml", DataConfig.model_fields),
        ("<experiment>/<run>/config.yaml", RunConfig.model_fields),
        ("<experiment>/data.h5ad", [name for name in Snapshots.__dataclass_fields__ if name != "x"]),
        (f"{SEED}/samples.npz", Samples.__dataclass_fields__),
        (f"{SEED}/metrics.csv", METRIC_COLUMNS),
        (f"{SEED}/history.csv", HISTORY_COLUMNS),
        (f"{SEED}/provenance.json", Provenance.__annotations__),
        ("results/expected/<scale>/<file>/runs.csv", RUN_COLUMNS),
        ("tables/<experiment>.csv", table_columns(times=False)),
        ("tables/<experiment>_times.csv", table_columns(times=True)),
        ("verdict.csv", Judgement.__dataclass_fields__),
    ],
)
def test_files_hold_what_it_says(file: str, names: Iterable[str]) -> None:
    assert first_cells(section(PAGE, f"### `{file}`")) == list(names)


def test_layers_are_those_that_are_held() -> None:
    (drawn,) = re.findall(r"^```layers\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    (contract,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert drawn.splitlines() == contract["layers"]


def test_every_rule_and_command_has_its_place() -> None:
    way = section(PAGE, "## The way data goes")
    sources = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    rules = set(re.findall(r"^rule (\w+):", sources, re.MULTILINE))
    rules |= set(re.findall(r'^ +batch\.rule\("(\w+)", SEEDS\)', sources, re.MULTILINE))
    assert set(first_cells(way)) == rules | {"draw_<figure>"}
    commands = typer.main.get_command(app).commands.keys()  # type: ignore[attr-defined]
    assert set(re.findall(r"`am (\w+)`", way + section(PAGE, "### Commands beside the workflow"))) == commands


def test_every_room_exists_and_has_its_line() -> None:
    project, library = re.findall(r"^```text\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    for line in project.splitlines():
        assert (ROOT / line.split()[0]).exists(), line
    home = ROOT / "packages/am/src"
    drawn = {line.split()[0].rstrip("/") for line in library.splitlines()}
    found = {
        str(path.relative_to(home))
        for path in (home / "am").iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path.is_dir() and any(path.glob("*.py")))
    }
    assert drawn == found


def test_every_decision_is_listed() -> None:
    listed = re.findall(r"^- \[.*\]\(decisions/(.*)\)$", section(PAGE, "## Decisions"), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs/decisions").glob("*.md"))
