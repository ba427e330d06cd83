"""Take results into the store of reference results: the only writer of its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from am.config import ConfigError, nearest
from am.experiments import Project, ResolvedExperiment
from am.io.provenance import ProvenanceError, changes, read_origin
from am.io.tidy import FLOOR, read_history
from am.report.measured import read_measured
from am.report.store import Kept, Key, environment, write_kept
from am.runs import TRAINED
from am.steps.explain import Node
from am.steps.recorded import Records, few, first_of, results_of, run_of

_TOLD = ("device", "train_seconds", "sample_seconds", "nfe", "peak_memory_bytes", "started", "finished")
_NOT_MORE = {*_TOLD, "commit", "code_digest", "config_sha256", "versions", "seed"}


def keep(
    project: Project, results: Path, kept: Path, named: Sequence[str] = (), history: bool = False
) -> dict[str, int]:
    """Take the results of runs into the store; rows of other runs and seeds stay.

    All is checked before anything is written. The floor of an experiment goes along with any of its runs.

    Parameters
    ----------
    results
        Folder of the scale's results. They go below the folder of this name in the store.
    kept
        The store.
    named
        Experiments, or ``<experiment>/<run>``; every run and seed that has results when empty.
    history
        Whether ``history.csv`` goes along.

    Returns
    -------
    How many runs and seeds were taken, by experiment.

    Raises
    ------
    ProvenanceError
        Code, settings or environment differ from the commit; or a result has no record, is not as recorded, or was
        made from what was not committed.
    ConfigError
        There is no such experiment or run, or there are no results of it.
    """
    if changed := changes():
        raise ProvenanceError(f"results are kept from a clean tree; commit these changes first: {few(changed)}")
    chosen = _chosen(project, named)
    records = Records({results / name: experiment for name, experiment in project.known.items()})
    new: list[tuple[Kept, dict[str, Mapping[str, str]]]] = []
    faults: list[str] = []
    for name, runs in chosen.items():
        experiment = project.experiments[name]
        files = [file for file in results_of(experiment, results / name) if run_of(file) in (*runs, FLOOR)]
        there = {run_of(file) for file in files}
        if missing := [run for run in runs if f"{name}/{run}" in named and run not in there]:
            raise ConfigError(f"{results / name}: there are no results of {few(missing)}")
        if there <= {FLOOR}:
            if name in named:
                raise ConfigError(f"{results / name}: there are no results of any run")
            continue
        if FLOOR not in there:
            raise ConfigError(f"{results / name}: there is no floor.csv beside its metrics")
        faults += (fault for found in records.faults_of_results(experiment, files).values() for fault in found)
        if not faults:
            folder = kept / results.name / experiment.file.stem
            new.append(_taken(experiment, records, files, folder, history))
            faults += (
                fault for key, record in new[-1][0].records.items() for fault in _not_clean(experiment, key, record)
            )
    if faults:
        raise ProvenanceError(f"{first_of(faults)}; nothing was kept")
    if not new:
        raise ConfigError(f"{results}: there are no results to keep")
    environments = {name: versions for _, told in new for name, versions in told.items()}
    write_kept([taken for taken, _ in new], environments)
    return {taken.experiment: len(taken.records) - 1 for taken, _ in new}


def _chosen(project: Project, named: Sequence[str]) -> dict[str, list[str]]:
    """The runs that are asked for, by experiment."""
    chosen: dict[str, list[str]] = {}
    for name, _, run in (one.partition("/") for one in named or project.experiments):
        runs = project.experiments[name].contestants
        if run and run not in runs:
            raise ConfigError(f"{name}: there is no run '{run}'; {nearest(run, runs)}")
        chosen.setdefault(name, []).extend([run] if run else runs)
    return chosen


def _taken(
    experiment: ResolvedExperiment, records: Records, files: Sequence[Path], folder: Path, history: bool
) -> tuple[Kept, dict[str, Mapping[str, str]]]:
    """What goes into the store, and the versions of packages by environment."""
    measured = read_measured(files)
    tables = {
        "metrics.csv": pd.concat([measured.metrics, measured.floor], ignore_index=True),
        "blocks.csv.gz": measured.blocks,
        "draws.csv.gz": measured.draws,
    }
    if history:
        along = [path for file in files if (path := file.with_name("history.csv")).is_file()]
        if faults := [fault for path in along for fault in records.faults(path)]:
            raise ProvenanceError(f"{faults[0]}; nothing was kept")
        tables["history.csv.gz"] = read_history(along)
    told: dict[Key, Mapping[str, str]] = {}
    environments: dict[str, Mapping[str, str]] = {}
    for file in files:
        key = (FLOOR, "") if run_of(file) == FLOOR else (run_of(file), file.parent.name.removeprefix("seed"))
        told[key], versions = _record(experiment, key, records.node(file))
        if versions:
            environments[environment(versions)] = versions
    there = {name: table for name, table in tables.items() if len(table)}
    return Kept(folder, experiment.name, there, told), environments


def _record(experiment: ResolvedExperiment, key: Key, evaluated: Node) -> tuple[dict[str, str], Mapping[str, str]]:
    """A row of ``runs.csv``, without what :func:`write_kept` adds; and the versions of packages."""
    sampled = _below(evaluated, "samples.npz")
    weights = _below(sampled, TRAINED[-1]) if sampled else None
    ran = sampled.record if sampled else {}
    trained = weights.record.get("trained", weights.record) if weights else {}
    read = {Path(name).name: digest for name, digest in read_origin(evaluated.path)["inputs"].items()}
    more = {name: value for name, value in ran.items() if name not in _NOT_MORE}
    row = {
        "experiment": experiment.name,
        "method": key[0],
        "seed": key[1],
        **{
            f"{step}_{column}": record.get(name)
            for step, record in (("train", trained), ("sample", ran), ("evaluate", evaluated.record))
            for column, name in (("commit", "commit"), ("code", "code_digest"))
        },
        "settings": ran.get("config_sha256"),
        "data": read.get("data.h5ad"),
        "weights": (weights.sha256 or weights.recorded) if weights else None,
        "samples": read.get("samples.npz"),
        "environment": environment(ran["versions"]) if "versions" in ran else None,
        **{name: ran.get(name) for name in _TOLD},
        "more": json.dumps(more, sort_keys=True) if more else None,
    }
    return {name: _words(value) for name, value in row.items()}, ran.get("versions", {})


def _below(node: Node, name: str) -> Node | None:
    return next((one for one in node.inputs if one.path.name == name), None)


def _words(value: Any) -> str:
    return "" if value is None else str(value)


def _not_clean(experiment: ResolvedExperiment, key: Key, record: Mapping[str, str]) -> Iterator[str]:
    """Whether each step ran from a commit; what ran another program, its own record tells."""
    for step in ("train", "sample", "evaluate"):
        commit = record[f"{step}_commit"]
        if (commit.endswith("+changes") or commit == "unknown") and (step == "evaluate" or key[0] in experiment.runs):
            seed = f", seed {key[1]}" * bool(key[1])
            yield f"{experiment.name}, {key[0]}{seed}: its record tells of no commit of 'am {step}', but of '{commit}'"
