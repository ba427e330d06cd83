"""What the pages say of experiments: the examples resolve, and every column of published numbers is explained."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from am.config import read_yaml
from am.experiment_files import ExperimentFiles
from am.experiments import Project
from am.report.published import Published

from ..project import ROOT
from .pages import first_cells

PAGE = ROOT / "docs/adding-an-experiment.md"
BLOCKS = re.findall(r"^```(?:yaml|text) title=(\S+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The project's configuration, and the files of the page in it."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    for name, text in BLOCKS:
        assert not (tmp_path / name).exists(), f"the page would overwrite {name}"
        (tmp_path / name).write_text(text)
    return tmp_path / "config"


def test_the_examples_are_the_experiments_that_the_page_says(config: Path) -> None:
    names = sorted(set(ExperimentFiles(config)) - set(ExperimentFiles(ROOT / "config")))
    assert names == [
        *("blobs", "blobs_10", "blobs_coupled", "few_blobs_early", "few_blobs_late", "more_blobs", "more_blobs_10")
    ]
    found = Project(config, {"experiments": names}).experiments
    asked = {name: (one.data.dataset["time_points"], one.data.evaluation.n_samples) for name, one in found.items()}
    assert asked == {
        **{"blobs": (5, 500), "blobs_10": (10, 500), "blobs_coupled": (5, 500)},
        **{"few_blobs_early": (5, 100), "few_blobs_late": (5, 100)},
        **{"more_blobs": (5, 1000), "more_blobs_10": (10, 1000)},
    }
    assert {name: len(one.runs) for name, one in found.items() if len(one.runs) != 3} == {"blobs_coupled": 4}
    assert [name for name, one in found.items() if one.published] == ["blobs"]


@pytest.mark.parametrize("name", [name for name, _ in BLOCKS if name.endswith(".yaml")])
def test_the_examples_keep_to_the_schema_that_they_name(config: Path, name: str) -> None:
    file = config.parent / name
    schema = file.parent / file.read_text().partition("\n")[0].partition("=")[2]
    Draft202012Validator(json.loads(schema.read_text())).validate(read_yaml(file))


def test_every_column_of_published_numbers_is_explained_in_their_order() -> None:
    explained = first_cells((ROOT / "config/published/README.md").read_text())
    assert sorted(explained) == sorted(Published.model_fields)
    for file in (ROOT / "config/published").glob("*.csv"):
        columns = file.read_text().partition("\n")[0].split(",")
        assert columns == [column for column in explained if column in columns], file.name
