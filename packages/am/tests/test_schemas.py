"""JSON schemas: what they accept, what they refuse, and that the committed ones are those of the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from am.config import merge, read_yaml
from am.experiment_files import ExperimentFiles
from am.schemas import editor_schemas, schemas

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "config"
FILES = sorted([*COMMITTED.rglob("*.yaml"), *(ROOT / "workflow/benchmarks").glob("*/benchmark.yaml")])

EXPERIMENT: dict[str, Any] = {
    "title": "An atom",
    "dataset": {"name": "hydrogen"},
    "evaluation": {"times": [0.5, 1.0], "n_samples": 10, "metrics": [{"kind": "mmd"}]},
    "methods": {"am": {"settings": {"training": {"iterations": 10}}}},
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_names_its_schema_in_the_first_line_and_keeps_to_it(file: Path) -> None:
    first, _, _ = file.read_text(encoding="utf-8").partition("\n")
    said, _, name = first.partition("=")
    assert said == "# yaml-language-server: $schema"
    schema = file.parent / name
    assert schema.resolve().parent == COMMITTED / "schema"
    Draft202012Validator(json.loads(schema.read_text())).validate(read_yaml(file))


def test_the_committed_schemas_are_those_of_the_models() -> None:
    """Where this fails, `am schema --editors config/schema` writes them anew."""
    committed = {file.stem: json.loads(file.read_text()) for file in (COMMITTED / "schema").glob("*.json")}
    assert committed == json.loads(json.dumps(editor_schemas()))


def test_the_schemas_accept_the_settings_of_every_committed_experiment() -> None:
    found = schemas()
    for schema in found.values():
        Draft202012Validator.check_schema(schema)
    files = ExperimentFiles(COMMITTED)
    for name in files:
        experiment = files.read(name).data
        dataset = dict(experiment["dataset"])
        Draft202012Validator(found[f"datasets/{dataset.pop('name')}"]).validate(dataset)
        for row, run in experiment["methods"].items():
            Draft202012Validator(found[f"methods/{run.get('method', row)}"]).validate(run.get("settings", {}))


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ("experiment", EXPERIMENT),
        ("experiment", {"extends": "hydrogen", "methods": {"am": None}, "evaluation": {"protocol": None}}),
        ("experiment", {"preset": True, "methods": {"am": {"seeds": 3}}}),
        ("experiment", {**EXPERIMENT, "variants": {"10": {"dataset": {"n": 10}, "evaluation": {"times": ["1/3"]}}}}),
        ("scale", {"title": "t", "seeds": 1, "experiments": {"atom": {"evaluation": {"n_samples": 3}}}}),
    ],
)
def test_a_file_may_leave_to_others_what_it_extends(schema: str, data: Any) -> None:
    Draft202012Validator(editor_schemas()[schema]).validate(data)


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ("config", {"experiments": ["a"], "scael": "paper"}),
        ("config", {"experiments": []}),
        ("scale", {"title": "t", "seeds": []}),
        ("scale", {"title": "t", "seeds": [-1]}),
        ("scale", {"title": "t", "seeds": 0}),
        ("scale", {"title": "t"}),
        ("scale", {"title": "t", "seeds": 1, "experiments": {"atom": {"evaluation": {"n_sample": 3}}}}),
        ("experiment", {**EXPERIMENT, "titel": "t"}),
        ("experiment", {key: value for key, value in EXPERIMENT.items() if key != "dataset"}),
        ("experiment", merge(EXPERIMENT, {"evaluation": {"metrics": [{"kind": "mmdd"}]}})),
        ("experiment", merge(EXPERIMENT, {"evaluation": {"metrics": [{"kind": "energy", "blur": 1}]}})),
        ("experiment", merge(EXPERIMENT, {"evaluation": {"metrics": [{}]}})),
        ("experiment", {**EXPERIMENT, "variants": {"long": {"evaluation": {"n_sample": 3}}}}),
        ("experiment", {**EXPERIMENT, "variants": {"long": {"variants": {}}}}),
        ("benchmark", {"title": "t", "experiments": [], "citation": "c", "licence": "l"}),
        ("methods/am", {"training": {"iterations": 0}}),
        ("methods/am", {"potential": {"kind": "other"}}),
        ("datasets/hydrogen", {"states": [{"n": 0, "l": 0, "m": 0}]}),
    ],
)
def test_the_schemas_refuse_mistakes(schema: str, data: Any) -> None:
    assert not Draft202012Validator(schemas()[schema]).is_valid(data)


def test_the_schemas_name_every_key_with_what_it_means() -> None:
    training = schemas()["methods/am"]["$defs"]["TrainingSettings"]["properties"]
    assert training["iterations"]["default"] == 3000
    assert all(entry["description"] for entry in training.values())
