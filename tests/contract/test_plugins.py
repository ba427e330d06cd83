"""What holds of every method and every data set, found as the library finds them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from am import plugins
from am.config import ConfigError, Settings, parse

ATTRIBUTES = {"am.methods": "METHOD", "am.datasets": "DATASET"}
PLUGINS = [(package, name) for package in ATTRIBUTES for name in plugins.names(package)]
every_plugin = pytest.mark.parametrize(("package", "name"), PLUGINS)

LOAD_ALL = """
import importlib, json, sys, traceback
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ImportError("torch is hidden by a test")
sys.meta_path.insert(0, Hidden())
from am import plugins
failures = {}
for package, name in json.loads(sys.argv[1]):
    try:
        plugins.load(package, name)
    except ImportError:
        failures[f"{package}.{name}"] = traceback.format_exc()
try:
    import torch
except ImportError:
    print(json.dumps(failures))
"""


def kind(package: str, name: str) -> Any:
    return getattr(plugins.load(package, name), ATTRIBUTES[package])


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models_in(field.annotation)
    for argument in get_args(annotation):
        yield from models_in(argument)


@pytest.fixture(scope="module")
def failures() -> dict[str, str]:
    """What fails to load where there is no torch."""
    run = subprocess.run(
        [sys.executable, "-c", LOAD_ALL, json.dumps(PLUGINS)], capture_output=True, text=True, check=True
    )
    return dict(json.loads(run.stdout))


@every_plugin
def test_it_loads_without_torch(package: str, name: str, failures: dict[str, str]) -> None:
    assert f"{package}.{name}" not in failures, failures[f"{package}.{name}"]


@every_plugin
def test_it_says_what_it_is(package: str, name: str) -> None:
    for thing in (plugins.load(package, name), kind(package, name)):
        first, _, _ = (vars(thing)["__doc__"] or "").partition("\n")
        assert len(first.split()) > 1
        assert first.endswith(".")


def test_titles_tell_methods_apart() -> None:
    titles = [kind("am.methods", name).title for name in plugins.names("am.methods")]
    assert all(title.strip() == title and 0 < len(title) < 30 for title in titles)
    assert len(set(titles)) == len(titles)


@every_plugin
def test_every_setting_is_described(package: str, name: str) -> None:
    def described(field: FieldInfo) -> bool:
        """By its own words, or as a section by those of its class."""
        annotation = field.annotation
        section = isinstance(annotation, type) and issubclass(annotation, Settings) and annotation.__doc__
        return bool(field.description or section)

    for model in models_in(kind(package, name).settings_type):
        assert [field for field, info in model.model_fields.items() if not described(info)] == []


@every_plugin
def test_settings_have_defaults_and_are_closed(package: str, name: str) -> None:
    settings_type = kind(package, name).settings_type
    for model in models_in(settings_type):
        assert issubclass(model, Settings)
        assert model.model_config["extra"] == "forbid"
        assert model.model_config["frozen"]
    with pytest.raises(ConfigError, match=r"^here: no_such_setting: unknown key"):
        parse(settings_type, {"no_such_setting": 1}, "here")
    default = settings_type()
    assert parse(settings_type, json.loads(json.dumps(default.model_dump(mode="json"))), "here") == default
