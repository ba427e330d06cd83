"""Methods and data sets are found by themselves, in the library and in other packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from am import plugins
from am.config import ConfigError, Settings
from am.datasets.contract import Dataset
from am.methods.contract import Method, TrainedMethod
from am.runs import build_method, step_digest


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another distribution, installed: it brings a method "drift", and one that is called as one of ours."""
    (tmp_path / "elsewhere.py").write_text(
        "from am.methods.contract import Method\n"
        "class Drift(Method):\n"
        "    title = 'drift'\n"
        "    def dynamics(self, network):\n"
        "        from am.dynamics.ode import Ode\n"
        "        return Ode(lambda time, x: x * 0 + 1)\n"
        "METHOD = Drift\n"
    )
    info = tmp_path / "elsewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[am.methods]\ndrift = elsewhere\noracle = elsewhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "elsewhere", raising=False)
    return tmp_path


@pytest.mark.parametrize("package", ["am.methods", "am.datasets"])
def test_each_file_of_the_package_is_a_plugin(package: str) -> None:
    folder = Path(sys.modules[package].__file__ or "").parent
    shared = {"__init__", "cells", "closed_form", "contract", "images", "synthetic"}
    files = {path.stem for path in folder.glob("*.py")} - shared
    assert plugins.own_names(package) == files
    assert files <= set(plugins.names(package))
    assert plugins.names(package) == sorted(plugins.names(package))


@pytest.mark.parametrize("name", plugins.names("am.methods"))
def test_each_method_says_what_it_is(name: str) -> None:
    kind = plugins.load("am.methods", name).METHOD
    assert issubclass(kind, Method)
    assert kind.title
    assert kind.__doc__
    assert issubclass(kind.settings_type, Settings)
    method = build_method(name, {}, "here")  # all settings have defaults
    assert isinstance(method, TrainedMethod) == bool(
        {"training", "solving"} & type(method.settings).model_fields.keys()
    )


@pytest.mark.parametrize("name", plugins.names("am.datasets"))
def test_each_data_set_says_what_it_is(name: str) -> None:
    kind = plugins.load("am.datasets", name).DATASET
    assert issubclass(kind, Dataset)
    assert kind(kind.settings_type()).columns
    assert issubclass(kind.settings_type, Settings)


def test_the_nearest_name_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^methods: there is no 'orakle'; did you mean 'oracle'\?$"):
        plugins.load("am.methods", "orakle")
    for name in ("contract", "__init__", "..config", ""):
        with pytest.raises(ConfigError, match="there is no"):
            plugins.load("am.methods", name)


@pytest.mark.usefixtures("foreign")
def test_methods_of_other_packages_are_found() -> None:
    assert "drift" in plugins.names("am.methods")
    assert "drift" not in plugins.own_names("am.methods")
    assert "elsewhere" not in sys.modules  # found by its name, imported when it is needed
    assert build_method("drift", {}, "here").title == "drift"
    with pytest.raises(ConfigError, match=r"^here: speed: unknown key"):
        build_method("drift", {"speed": 1}, "here")
    with pytest.raises(ConfigError, match=r"did you mean 'drift'\?"):
        plugins.load("am.methods", "drfit")


@pytest.mark.usefixtures("foreign")
def test_a_method_of_ours_cannot_be_replaced() -> None:
    assert plugins.names("am.methods").count("oracle") == 1
    assert plugins.load("am.methods", "oracle").__name__ == "am.methods.oracle"


@pytest.mark.usefixtures("foreign")
def test_a_method_of_another_package_counts_by_its_name() -> None:
    digests = {step_digest("sample", f"am.methods.{name}") for name in ("drift", "oracle", "am")}
    assert len(digests) == 3
