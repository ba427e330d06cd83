"""JSON schemas of everything that can be set, for editors and reviewers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from am import plugins
from am.benchmarks import Benchmark
from am.config import Settings
from am.experiments import Experiment, Name, ProjectSettings, Scale
from am.io.files import atomic
from am.report.claims import Claims


class _ExperimentFile(Experiment):
    """A file of config/experiments: an experiment with its variants, or a preset."""

    model_config = ConfigDict(title="Experiment")

    preset: bool = Field(
        default=False, description="no experiment of its own: its variants, and files that extend it, build on it"
    )
    variants: dict[Name, Experiment] = Field(
        default={},
        description="experiments called <file>_<variant>: keys here go before those of what they extend, or the file",
    )


class _ScaleFile(Scale):
    """A file of config/scales: how much of everything."""

    model_config = ConfigDict(title="Scale")

    # Checked as a whole only after the merge, so the scale itself knows less of them.
    experiments: dict[str, Experiment] = Field(  # type: ignore[assignment]
        default={}, description="keys that go before those of experiments, by name of the experiment"
    )


def editor_schemas() -> dict[str, Any]:
    """JSON schemas of the configuration files of a project, by the name of the schema's file.

    In a file, any key may be left to what it extends, and null takes one away, so these schemas demand less than the
    models do.

    Examples
    --------
    >>> list(editor_schemas())
    ['config', 'scale', 'experiment', 'benchmark', 'claims']
    """
    experiment = _partial(_ExperimentFile)
    required = [name for name, one in Experiment.model_fields.items() if one.is_required()]
    experiment["anyOf"] = [{"required": required}, {"required": ["extends"]}, {"required": ["preset"]}]
    scale = _partial(_ScaleFile) | {"required": Scale.model_json_schema()["required"]}
    whole: dict[str, type[Settings]] = {"config": ProjectSettings, "benchmark": Benchmark, "claims": Claims}
    config, benchmark, claims = (model.model_json_schema() for model in whole.values())
    return {"config": config, "scale": scale, "experiment": experiment, "benchmark": benchmark, "claims": claims}


def schemas() -> dict[str, Any]:
    """The same, and those of the settings of every method and data set, by name.

    Examples
    --------
    >>> schemas()["datasets/hydrogen"]["properties"]["duration"]["default"]
    14000.0
    """
    found = editor_schemas()
    for package, attribute in (("am.methods", "METHOD"), ("am.datasets", "DATASET")):
        for name in plugins.names(package):
            kind = getattr(plugins.load(package, name), attribute)
            found[f"{package.rpartition('.')[2]}/{name}"] = kind.settings_type.model_json_schema()
    return found


def write_editor_schemas(folder: Path) -> list[Path]:
    """Write each of :func:`editor_schemas` into a file of its own, and return the files."""
    files = []
    for name, schema in editor_schemas().items():
        files.append(folder / f"{name}.json")
        with atomic(files[-1]) as temporary:
            temporary.write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
    return files


def _partial(model: type[Settings]) -> dict[str, Any]:
    """Schema of a model whose keys may all be missing or null, but for those in lists: lists are never merged."""
    schema = model.model_json_schema()
    definitions = schema["$defs"]
    listed = set(_named(schema, definitions, listed=False))
    for one in (schema, *(found for name, found in definitions.items() if name not in listed)):
        if one.get("type") == "object":
            one.pop("required", None)
            one["properties"] = {name: _or_null(value) for name, value in one["properties"].items()}
    return schema


def _named(node: Any, definitions: dict[str, Any], listed: bool) -> Iterator[str]:
    """Names of the definitions that lists hold, and of those inside them."""
    if isinstance(node, list):
        for one in node:
            yield from _named(one, definitions, listed)
    elif isinstance(node, dict):
        name = node.get("$ref", "").rpartition("/")[2]
        if name and listed:
            yield name
        if name:
            yield from _named(definitions[name], definitions, listed)
        for key, value in node.items():
            if key not in ("$defs", "discriminator"):
                yield from _named(value, definitions, listed or key in ("items", "prefixItems"))


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A value or null; rows of a mapping may be null as well."""
    rows = schema.get("patternProperties") or {}
    inner = {**schema, "patternProperties": {key: _or_null(row) for key, row in rows.items()}} if rows else {**schema}
    about: dict[str, Any] = {key: inner.pop(key) for key in ("title", "description", "default") if key in inner}
    null = {"type": "null"}
    choices = inner["anyOf"] if inner.keys() == {"anyOf"} else [inner]
    return {**about, "anyOf": choices if null in choices else [*choices, null]}
