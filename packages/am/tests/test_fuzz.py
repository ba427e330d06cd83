"""A project whose files were changed at random is a valid project or one sentence, and never anything else."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from am.config import ConfigError, read_yaml, write_yaml
from am.experiments import Project

COMMITTED = Path(__file__).parents[3] / "config"
EXPERIMENTS = sorted(path.stem for path in (COMMITTED / "experiments").glob("*.yaml"))
SCALES = sorted(path.stem for path in (COMMITTED / "scales").glob("*.yaml"))
FILES = [f"experiments/{name}" for name in EXPERIMENTS] + [f"scales/{name}" for name in SCALES] + ["config"]

few = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)
many = settings(few, max_examples=10_000, derandomize=False, phases=[Phase.generate])

NUMBERS = [0, 1, -1, 10**30, 0.5, 1e-4, 1e308, float("nan"), float("inf"), True, False, None]
WORDS = ["", "~", "am", "mmd", "1e5", "../x", "a\nb", "\u202e"]
MORE = [[], [[]], [None], [0.5, 1.0], {}, {"": {}}, {1: 2}, {None: None}, {"kind": "mmd"}]
ODD: st.SearchStrategy[Any] = st.sampled_from([*NUMBERS, *WORDS, *MORE]) | st.text(max_size=5)


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value below ``data``, as keys and indices."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


@st.composite
def mutated(draw: st.DrawFn, data: dict[str, Any]) -> dict[str, Any]:
    """Plain data with a few values replaced, removed, renamed, doubled or put elsewhere."""
    data = copy.deepcopy(data)
    for _ in range(draw(st.integers(1, 3))):
        there = list(places(data))
        if not there:
            break
        *above, last = draw(st.sampled_from(there))
        around: Any = data
        for step in above:
            around = around[step]
        how = draw(st.sampled_from(["replace", "remove", "rename", "another", "add"]))
        if how == "remove":
            del around[last]
        elif how == "rename" and isinstance(around, dict):
            around[draw(st.text(max_size=3) | st.just(f"{last}s") | st.none() | st.integers())] = around.pop(last)
        elif how == "add" and isinstance(around, list):
            around.append(copy.deepcopy(around[last]))
        elif how == "another":
            other: Any = data
            for step in draw(st.sampled_from(there)):
                other = other[step]
            around[last] = copy.deepcopy(other)
        else:
            around[last] = draw(ODD)
    return data


@st.composite
def torn(draw: st.DrawFn, text: str) -> str:
    """A text with a piece of it cut out, doubled, or replaced by something that means something in YAML."""
    start = draw(st.integers(0, len(text)))
    end = min(len(text), start + draw(st.integers(0, 20)))
    piece = draw(
        st.sampled_from(["", text[start:end] * 2, "&a ", "*a", "<<: ", "!!python/name:os.system ", "\t", "\0"])
    )
    piece += draw(st.sampled_from(["", "{", "[", ": ", "- ", "\n", "\n---\n", "'", '"', "#", "|", "%", "? ", "\ud7ff"]))
    return text[:start] + piece + text[end:]


def resolved(folder: Path, name: str) -> None:
    """Read the project with the experiment that was changed, or with all of those that a scale could change."""
    kind, _, stem = name.partition("/")
    overrides: dict[str, Any] = {"scale": "smoke"}
    if kind == "scales":
        overrides = {"scale": stem, "experiments": EXPERIMENTS}
    elif kind == "experiments":
        overrides["experiments"] = [stem]
    try:
        project = Project(folder, overrides if kind != "config" else None)
    except ConfigError:
        return
    for experiment in project.experiments.values():
        assert experiment.labels()
        for run in experiment.runs.values():
            assert run.training_digest
            assert run.sampling_digest


def check_mutations(folder: Path, profile: settings) -> None:
    shutil.copytree(COMMITTED, folder, dirs_exist_ok=True)
    whole = {name: read_yaml(COMMITTED / f"{name}.yaml") for name in FILES}
    texts = {name: (COMMITTED / f"{name}.yaml").read_text(encoding="utf-8") for name in FILES}

    @profile
    @given(st.data())
    def check(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(FILES))
        file = folder / f"{name}.yaml"
        try:
            if data.draw(st.booleans()):
                write_yaml(data.draw(mutated(whole[name])), file)
            else:
                file.write_text(data.draw(torn(texts[name])), encoding="utf-8")
            resolved(folder, name)
        finally:
            shutil.copy(COMMITTED / f"{name}.yaml", file)

    check()


def test_a_changed_project_is_valid_or_one_sentence(tmp_path: Path) -> None:
    check_mutations(tmp_path, few)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_changed_project_is_valid_or_one_sentence_many_times(tmp_path: Path) -> None:
    check_mutations(tmp_path, many)
