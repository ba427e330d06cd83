"""Say, number by number, whether the published result holds."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from am.config import ConfigError
from am.experiments import Project, ResolvedExperiment
from am.io.provenance import Asked, committed, origin
from am.io.tidy import FLOOR, blocks_beside
from am.report.measured import Measured, read_measured
from am.report.store import Kept, read_kept
from am.report.tables import summarise
from am.report.verdicts import Judgement, Verdict, judge, write_verdicts
from am.runs import step_digest
from am.steps.failed import by_run, failures
from am.steps.recorded import Records, faults_of_kept, left_over, left_over_rows, results_of, run_of, seed_of

log = logging.getLogger(__name__)

_NOT_READ = "is not read, since the settings ask for no such run and seed"


def verify(project: Project, results: Path, kept: Path, out: Path) -> tuple[list[Judgement], list[str]]:
    """Judge every published number of the project.

    Only the runs and seeds that the settings ask for count. Each result is checked against its record, down to data and
    settings; a row that rests on anything else has no verdict.

    Parameters
    ----------
    results
        Folder of the scale's results.
    kept
        The store of reference results, as :mod:`am.report.store` has it: numbers of scales that cannot be made again
        in minutes are judged beside those of this one, as their own scale would.
    out
        The page; the same as CSV and Markdown appear beside it.

    Returns
    -------
    The judgements, and a sentence for each thing that is not as recorded.

    Raises
    ------
    ConfigError
        There is not a single result, or metrics are kept of a scale that there is not.
    ProvenanceError
        A record is not one.
    """
    judgements: list[Judgement] = []
    of_others: list[Judgement] = []  # which follow those of the scale that was asked for
    told: list[str] = []
    inputs: list[Path] = []
    asked: list[Asked] = []
    records = Records({results / name: experiment for name, experiment in project.known.items()})
    tracked = committed(kept.absolute()) if kept.is_dir() else None
    read = cache(read_kept)
    for name, experiment in project.experiments.items():
        files = results_of(experiment, results / name)
        _tell_of(left_over(experiment, results / name), _NOT_READ)
        found = records.faults_of_results(experiment, files)
        failed = by_run(failures(experiment, results).values())
        told += (fault for of_run in found.values() for fault in of_run)
        faults = borne(found, map(run_of, files))
        trusted = read_measured([file for file in files if run_of(file) not in faults])
        judgements += judged(experiment, trusted, faults, failed)
        inputs += [*files, *blocks_beside(files)]
        asked.append(experiment.asked("labels", "published"))
        for folder in sorted(kept.glob(f"*/{experiment.file.stem}")):
            scale = folder.parent.name
            if scale != project.scale and (reference := read(folder).get(name)):
                theirs = project.at(scale).experiments[name]
                not_asked = [seed_of(*key) for key in left_over_rows(theirs, reference)]
                _tell_of(not_asked, f"of {name} in {folder} {_NOT_READ}")
                found = faults_of_kept(reference, tracked)
                told += (fault for of_run in found.values() for fault in of_run)
                of_others += [one for one in judged_kept(theirs, reference, found)[0] if one.was_run]
                inputs += reference.files
                asked.append(theirs.asked("labels", "published"))
    judgements += of_others
    if not inputs:
        raise ConfigError(f"there are no results of {' or '.join(project.experiments)} to judge")
    _tell_of(sorted(records.gone), "is gone, and was checked by its record alone")
    made_of = origin(dict.fromkeys(inputs), step_digest("verify"), ["verify"], asked)
    write_verdicts(judgements, out.with_suffix(".csv"), out.with_suffix(".md"), out, made_of)
    return judgements, list(dict.fromkeys(told))


def judged_kept(
    experiment: ResolvedExperiment, kept: Kept, faults: Mapping[str, Sequence[str]]
) -> tuple[list[Judgement], Measured]:
    """The same of reference results; and those of them that were judged: without a fault, and asked for."""
    faults = borne(faults, (run for run, _ in kept.keys))
    trusted = kept.measured([(run, seed) for run, seed in experiment.configured if run not in faults])
    return judged(experiment, trusted, faults), trusted


def borne(faults: Mapping[str, Sequence[str]], runs: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Faults by run, where those of the floor are those of every one of ``runs``: without it there is no verdict."""
    return {**dict.fromkeys(runs, faults[FLOOR]), **faults} if FLOOR in faults else faults


def judged(
    experiment: ResolvedExperiment,
    measured: Measured,
    faults: Mapping[str, Sequence[str]] | None = None,
    failed: Mapping[str, str] | None = None,
) -> list[Judgement]:
    """A judgement for each number that was published about an experiment.

    Parameters
    ----------
    measured
        Of runs without a fault.
    faults
        What is not as recorded, by run, as from :func:`borne`. These runs have no verdict.
    failed
        Why runs failed, by run. They have no verdict, other seeds or not: the mean would be of the lucky ones.
    """
    faults, failed = faults or {}, failed or {}
    title = f"{experiment.name} ({experiment.scale})"
    values, floor, blocks = (
        table.assign(experiment=title) for table in (measured.metrics, measured.floor, measured.blocks)
    )
    asked = {entry.metric for entry in experiment.published}
    values = values[values["metric"].isin(asked)]
    labels = experiment.labels()
    about = experiment.data.evaluation
    summary = summarise(
        title, values, floor, labels, experiment.published, None, blocks, about.higher, positive=about.positive
    )
    judgements = judge(title, summary, labels, experiment.published, experiment.scale)
    controls = [label.title for label in labels if label.control and label.method in faults]
    shown = [replace(one, controls=_said(one.controls, controls, Verdict.NOT_AS_RECORDED)) for one in judgements]
    controls = [label.title for label in labels if label.control and label.method in failed]
    shown = [replace(one, controls=_said(one.controls, controls, Verdict.FAILED)) for one in shown]
    networks = {metric.label: metric.files[0][0].capitalize() for metric in about.metrics if metric.files}
    sampled = set(measured.metrics["method"])

    def final(one: Judgement) -> Judgement:
        if one.method in faults:
            return _without_verdict(one, faults[one.method])
        if one.method in failed:
            return replace(one, verdict=Verdict.FAILED, why=f"A run of it failed. {failed[one.method]}")
        if one.verdict is Verdict.NOT_RUN and one.method in sampled and one.metric in networks:
            lacking = f"It needs the weights of {networks[one.metric]}, which were not at hand."
            return replace(one, verdict=Verdict.CANNOT_SAY, why=lacking)
        return one

    return [final(one) for one in shown]


def _tell_of(files: Sequence[object], what: str) -> None:
    if files:
        log.warning("%s %s", files[0], what + f" (and {len(files) - 1} more like it)" * (len(files) > 1))


def _without_verdict(one: Judgement, faults: Sequence[str]) -> Judgement:
    more = f" And {len(faults) - 1} more like it." if len(faults) > 1 else ""
    return replace(one, verdict=Verdict.NOT_AS_RECORDED, why=f"{faults[0]}.{more}")


def _said(shown: str, controls: Sequence[str], verdict: Verdict) -> str:
    for title in controls:
        shown = shown.replace(f"{title} not run", f"{title} {verdict}")
    return shown
