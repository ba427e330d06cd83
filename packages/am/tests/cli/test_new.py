"""`am new`: skeletons that are found by themselves, and mistakes that overwrite nothing."""

from __future__ import annotations

import ast
import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders of a project that skeletons are written into."""
    for folder in ("packages/am/src/am/methods", "packages/am/tests/methods"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copytree(ROOT / "workflow/benchmarks/_template", tmp_path / "workflow/benchmarks/_template")
    (tmp_path / "config/experiments").mkdir(parents=True)
    (tmp_path / "config/experiments/myoblast.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_method_is_a_module_that_binds_its_class_and_a_test(am: Any, project: Path) -> None:
    told = am("new", "method", "my_method")
    assert told.code == 0, told.err
    module, test = (
        project / f"packages/am/{path}" for path in ("src/am/methods/my_method.py", "tests/methods/test_my_method.py")
    )
    assert told.out.split() == ["wrote", str(module.relative_to(project)), "wrote", str(test.relative_to(project))]
    spec = importlib.util.spec_from_file_location("my_method", module)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert (made.METHOD.__name__, made.METHOD.title, made.METHOD.control) == ("MyMethod", "my_method", True)
    assert "from am.methods.my_method import METHOD" in test.read_text()
    ast.parse(test.read_text())


def test_a_benchmark_is_a_folder_without_a_trace_of_its_template(am: Any, project: Path) -> None:
    assert am("new", "benchmark", "mine").code == 0
    folder = project / "workflow/benchmarks/mine"
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "benchmark.yaml",
        "environment.yml",
        "mine.py",
        "rules.smk",
    }
    assert not any(word in path.read_text() for path in folder.iterdir() for word in ("NAME", "EXPERIMENT"))
    named, _, schema = (folder / "benchmark.yaml").read_text().partition("\n")[0].partition("=")
    assert named == "# yaml-language-server: $schema"
    assert (folder / schema).resolve() == project / "config/schema/benchmark.json"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("method", "My-Method"), "'My-Method' cannot be a name"),
        (("method", "lambda"), "'lambda' cannot be a name"),
        (("benchmark", "a/../b"), "'a/../b' cannot be a name"),
        (("method", "taken"), "taken.py exists already"),
        (("benchmark", "taken"), "taken exists already"),
        (("benchmark", "mine", "--experiment", "myoblasts"), "did you mean 'myoblast'?"),
    ],
)
def test_mistakes_are_told_and_nothing_is_overwritten(
    am: Any, project: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (project / "packages/am/src/am/methods/taken.py").write_text("mine")
    (project / "workflow/benchmarks/taken").mkdir()
    before = sorted(project.rglob("*"))
    told = am("new", *arguments)
    assert told.code == 1
    assert sentence in told.err
    assert sorted(project.rglob("*")) == before


def test_elsewhere_it_says_where_to_call_it(am: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = am("new", "method", "mine")
    assert told.code == 1
    assert "call this from the top folder of the project" in told.err
