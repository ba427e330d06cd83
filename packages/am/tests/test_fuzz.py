"""Settings and records that were changed at random are valid or one sentence, and never anything else."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from am.config import ConfigError, read_yaml, write_yaml
from am.experiment_files import ExperimentFiles
from am.experiments import Project
from am.io.provenance import (
    ProvenanceError,
    collect,
    file_sha256,
    origin,
    read_origin,
    read_provenance,
    sidecar,
    write_origin,
    write_provenance,
)
from am.steps.explain import as_json, explain, explain_all, summary

pytestmark = pytest.mark.trains

COMMITTED = Path(__file__).parents[3] / "config"
EXPERIMENTS = list(ExperimentFiles(COMMITTED))
SCALES = sorted(path.stem for path in (COMMITTED / "scales").glob("*.yaml"))
FILES = [f"experiments/{path.stem}" for path in sorted((COMMITTED / "experiments").glob("*.yaml"))]
FILES += [f"scales/{name}" for name in SCALES] + ["config"]

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
            around[last] = copy.deepcopy(draw(ODD))  # which a later change may reach into
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
        overrides["experiments"] = [name for name in EXPERIMENTS if name.startswith(stem)]
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


def run_folder(folder: Path) -> None:
    """A figure made of samples that a run wrote, each with its record."""
    settings_file, samples, figure = folder / "settings.yaml", folder / "samples.npz", folder / "figures/a.png"
    write_yaml({"method": "am", "seed": 0}, settings_file)
    samples.write_bytes(b"samples")
    figure.parent.mkdir()
    figure.write_bytes(b"figure")
    about: dict[str, Any] = {"code_digest": "", "config_sha256": "", "device": "cpu", "seed": 0, "nfe": 3}
    record = collect(data=[settings_file], files=[samples], started=datetime.now(UTC), **about)
    write_provenance(record, folder / "provenance.json")
    asked: Any = {"file": str(settings_file), "keys": ["method"], "sha256": ""}
    write_origin(figure, origin([samples], "", ["draw"], [asked]))


def told_or_refused(tell: Callable[[], object]) -> None:
    try:
        tell()
    except ProvenanceError as error:
        sentence = str(error)
    else:
        return
    assert len(sentence.splitlines()) == 1
    assert len(sentence) < 1000


def check_records(folder: Path, profile: settings) -> None:
    run_folder(folder)
    figure, record = folder / "figures/a.png", folder / "provenance.json"
    texts = {file: file.read_text(encoding="utf-8") for file in (record, sidecar(figure))}
    before = {path: file_sha256(path) for path in folder.rglob("*") if path.is_file()}

    @profile
    @given(st.data())
    def check(data: st.DataObject) -> None:
        file = data.draw(st.sampled_from(list(texts)))
        try:
            if data.draw(st.booleans()):
                file.write_text(json.dumps(data.draw(mutated(json.loads(texts[file]))), default=str), encoding="utf-8")
            else:
                file.write_text(data.draw(torn(texts[file])), encoding="utf-8", errors="surrogatepass")
            told_or_refused(lambda: read_provenance(record))
            told_or_refused(lambda: read_origin(figure))
            told_or_refused(lambda: (json.dumps(as_json(explain(figure)), indent=2), summary(explain(figure)).encode()))
            told_or_refused(lambda: explain_all(folder))
        finally:
            file.write_text(texts[file], encoding="utf-8")

    check()
    assert {path: file_sha256(path) for path in folder.rglob("*") if path.is_file()} == before


def test_a_changed_record_is_valid_or_one_sentence(tmp_path: Path) -> None:
    check_records(tmp_path, settings(few, max_examples=200))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_changed_record_is_valid_or_one_sentence_many_times(tmp_path: Path) -> None:
    check_records(tmp_path, many)
